-- new_tokens.sql - the tokens that a day has brought, those of an unusual supply, and blocks and minutes with unusually many.
--
--   psql -d analytics -f deploy/marts/new_tokens.sql
--
-- It can be run again: tables and what is in them stay, functions are replaced.

\ir begin.sql

-- From where on something is unusual; yours to edit.
CREATE TABLE IF NOT EXISTS marts.limits (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	supply_score double precision NOT NULL DEFAULT 3.5 CHECK (supply_score > 0),
	burst_score double precision NOT NULL DEFAULT 3.5 CHECK (burst_score > 0),
	burst_contracts integer NOT NULL DEFAULT 3 CHECK (burst_contracts > 1));
INSERT INTO marts.limits DEFAULT VALUES ON CONFLICT DO NOTHING;
COMMENT ON TABLE marts.limits IS 'one row: scores from which a supply or a burst is unusual, and the contracts that a burst has at least; yours to edit';

CREATE TABLE IF NOT EXISTS marts.new_tokens (
	day date, address text, symbol text, name text, decimals numeric, total_supply numeric,
	block_timestamp timestamptz NOT NULL, block_number bigint NOT NULL,
	magnitude double precision, score double precision, unusual_supply boolean NOT NULL, PRIMARY KEY (day, address));
COMMENT ON TABLE marts.new_tokens IS 'contracts that no earlier day in the target has, by the UTC day that was loaded';
COMMENT ON COLUMN marts.new_tokens.magnitude IS 'log10 of the supply in whole tokens; NULL where decimals or supply are missing or out of range';
COMMENT ON COLUMN marts.new_tokens.score IS 'distance of magnitude from the median of the day, in robust standard deviations (1.4826 MAD)';

CREATE TABLE IF NOT EXISTS marts.bursts (
	day date NOT NULL, per text NOT NULL CHECK (per IN ('block', 'minute')), starts timestamptz NOT NULL, block_number bigint,
	contracts bigint NOT NULL, usual double precision NOT NULL, score double precision NOT NULL);
CREATE INDEX IF NOT EXISTS bursts_day ON marts.bursts (day);
COMMENT ON TABLE marts.bursts IS 'blocks and minutes with unusually many new contracts';
COMMENT ON COLUMN marts.bursts.usual IS 'median of the day''s blocks (minutes) that have any';

CREATE OR REPLACE PROCEDURE marts.refresh_new_tokens(the_day date) LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	DELETE FROM marts.new_tokens WHERE day = the_day;
	DELETE FROM marts.bursts WHERE day = the_day;

	-- decimals is a uint8 and total_supply a uint256, where a contract keeps to ERC-20
	INSERT INTO marts.new_tokens
	WITH fresh AS (
		SELECT DISTINCT ON (t.address) t.address, t.symbol, t.name, t.decimals, t.total_supply, t.block_timestamp, t.block_number,
			CASE WHEN t.decimals BETWEEN 0 AND 255 AND t.total_supply > 0 AND t.total_supply < 2::numeric ^ 256
				THEN log(t.total_supply)::double precision - t.decimals::double precision END AS magnitude
		FROM :target t
		WHERE t.block_timestamp >= the_day::timestamp AT TIME ZONE 'UTC' AND t.block_timestamp < (the_day + 1)::timestamp AT TIME ZONE 'UTC'
			AND NOT EXISTS (SELECT FROM :target e WHERE e.address = t.address AND e.block_timestamp < the_day::timestamp AT TIME ZONE 'UTC')
		ORDER BY t.address, t.block_timestamp),
	middle AS (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY magnitude) AS median FROM fresh),
	spread AS (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(f.magnitude - m.median)) * 1.4826 AS deviation FROM fresh f, middle m)
	SELECT the_day, f.address, f.symbol, f.name, f.decimals, f.total_supply, f.block_timestamp, f.block_number, f.magnitude,
		(f.magnitude - m.median) / nullif(s.deviation, 0),
		coalesce(abs((f.magnitude - m.median) / nullif(s.deviation, 0)) > l.supply_score, false)
	FROM fresh f, middle m, spread s, marts.limits l;

	-- Most blocks have one contract, so that the MAD is often 0; the square root of the median, the deviation of
	-- events that come at random, is the least that counts.
	INSERT INTO marts.bursts
	WITH unit AS (
		SELECT 'block' AS per, min(block_timestamp) AS starts, block_number, count(*) AS contracts
		FROM marts.new_tokens WHERE day = the_day GROUP BY block_number
		UNION ALL
		SELECT 'minute', date_trunc('minute', block_timestamp, 'UTC'), NULL, count(*)
		FROM marts.new_tokens WHERE day = the_day GROUP BY 2),
	middle AS (SELECT per, percentile_cont(0.5) WITHIN GROUP (ORDER BY contracts) AS median FROM unit GROUP BY per),
	spread AS (SELECT u.per, m.median, greatest(percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(u.contracts - m.median)) * 1.4826, sqrt(m.median)) AS deviation
		FROM unit u JOIN middle m USING (per) GROUP BY u.per, m.median)
	SELECT the_day, u.per, u.starts, u.block_number, u.contracts, s.median, (u.contracts - s.median) / s.deviation
	FROM unit u JOIN spread s USING (per), marts.limits l
	WHERE u.contracts >= l.burst_contracts AND (u.contracts - s.median) / s.deviation > l.burst_score;
END;
COMMENT ON PROCEDURE marts.refresh_new_tokens(date) IS 'replaces a day in marts.new_tokens and marts.bursts';

\ir end.sql
