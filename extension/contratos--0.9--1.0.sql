/* extension/contratos--0.9--1.0.sql */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION contratos UPDATE TO '1.0'" to load this file. \quit

-- As in the script that creates the extension: see there.
SET LOCAL search_path = pg_catalog, pg_temp;

-- In the order in which a load comes to them, or the two could deadlock.
LOCK TABLE @extschema@.contratos_sources, @extschema@.contratos_runs, @extschema@.contratos_rejects IN ACCESS EXCLUSIVE MODE;

-- What comes below stands in contratos--1.0.sql as well; test/t/220_update_from.pl
-- compares the two, object by object.

-- ---------------------------------------------------------------------------
-- For monitoring systems: numbers, and no text but the names of sources and the words of
-- reasons.  What is counted is counted per UTC day: the ledger is pruned, so that a sum
-- of all of it would shrink now and then.
-- ---------------------------------------------------------------------------

-- The caps of a day in bytes, as this session has them; null: no cap.
CREATE FUNCTION @extschema@._contratos_byte_caps(OUT of_source bigint, OUT of_all bigint)
AS 'MODULE_PATHNAME', 'contratos_byte_caps'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._contratos_byte_caps() IS
'internal: for contratos_metrics: contratos.max_bytes_per_day and contratos.max_bytes_per_day_total';

-- The states are those of _contratos_days, of which this is a faster way: the ledger is
-- read once, without the rechecks that found nothing, which are most of it; and jit
-- would take longer than all the rest.  test/t/222_metrics.pl compares the two.  The
-- settings need a function, and it runs with its owner's rights as a view would.
CREATE FUNCTION @extschema@._contratos_metrics()
RETURNS TABLE (source text, enabled integer, worker_up integer, failing_steps integer,
	newest_day_age_seconds double precision, upstream_age_seconds double precision, late_seconds double precision, waiting_seconds double precision,
	last_success_age_seconds double precision, last_check_age_seconds double precision, missing_days bigint, queued_days bigint,
	running_days bigint, waiting_days bigint, provisional_days bigint, confirmed_days bigint,
	differs_days bigint, failed_days bigint, empty_days bigint, last_load_rows bigint,
	last_load_seconds double precision, last_load_bytes_billed bigint, last_load_rejects bigint, loads_today bigint,
	checks_today bigint, failures_today bigint, rows_today bigint, load_seconds_today double precision,
	bytes_billed_today bigint, confirmed_changed_today bigint, budget_used_ratio double precision)
LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER ROWS 10
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
WITH clock AS MATERIALIZED (
	SELECT @extschema@._contratos_now() AS now, y.yesterday, (y.yesterday + 1)::timestamp AT TIME ZONE 'UTC' AS midnight
	FROM (SELECT @extschema@.contratos_yesterday() AS yesterday) y
), runs AS MATERIALIZED (
	SELECT r.id, r.source, r.day, r.cause, r.status, r.attempt, r.started_at, r.finished_at, r.next_attempt_at,
		r.confirmed_at, r.rows_loaded, r.values_altered, r.bytes_billed, r.only_cost,
		coalesce(r.finished_at, r.started_at) >= (SELECT c.midnight FROM clock c)
			AND coalesce(r.finished_at, r.started_at) < (SELECT c.midnight FROM clock c) + interval '24 hours' AS is_today,
		CASE r.status WHEN 'accepted' THEN r.target_rows ELSE r.rows_loaded END AS rows,
		r.error LIKE 'BigQuery has no rows of %' AS is_empty, r.cause <> 'recheck' AS is_load,
		r.status IN ('queued', 'running', 'waiting') AS is_open, r.status IN ('succeeded', 'accepted') AS is_success,
		r.status IN ('failed', 'interrupted') AS is_failed
	FROM @extschema@.contratos_runs r
	WHERE r.status <> 'unchanged' OR coalesce(r.finished_at, r.started_at) >= (SELECT c.midnight FROM clock c)
), by_day AS MATERIALIZED (
	-- a run is of a kind if it is the newest of that kind
	SELECT r.source, r.day,
		bool_or(r.is_open) AS is_open,
		max(r.status) FILTER (WHERE r.is_load AND r.is_open) AS open,
		max(r.id) FILTER (WHERE r.is_load AND r.is_open) AS open_id,
		max(r.id) FILTER (WHERE r.is_success) AS success,
		max(r.id) FILTER (WHERE r.status = 'accepted') AS accepted,
		max(r.id) FILTER (WHERE r.status = 'succeeded' AND r.confirmed_at IS NOT NULL) AS confirmed,
		max(r.id) FILTER (WHERE r.is_success AND r.rows > 0) AS with_rows,
		max(r.id) FILTER (WHERE r.is_success AND r.rows = 0) AS without_rows,
		max(r.id) FILTER (WHERE r.status = 'differs') AS differs,
		max(r.id) FILTER (WHERE r.is_load AND NOT r.is_open
						  AND (r.status <> 'canceled' OR r.started_at IS NOT NULL)) AS load,
		max(r.id) FILTER (WHERE r.status = 'canceled' AND r.started_at IS NULL) AS taken_off,
		max(r.id) FILTER (WHERE r.is_load AND r.status = 'refused') AS refused,
		max(r.id) FILTER (WHERE r.is_load AND r.is_failed) AS failed,
		max(r.id) FILTER (WHERE r.is_load AND r.is_failed AND r.next_attempt_at IS NULL) AS given_up,
		max(r.id) FILTER (WHERE r.is_load AND r.is_empty) AS empty
	FROM runs r WHERE NOT r.only_cost AND r.status <> 'unchanged' GROUP BY r.source, r.day
), disputed AS MATERIALIZED (
	-- a later recheck that found nothing ends a difference, and what a failed load means
	SELECT b.source, b.day, max(u.id) AS unchanged
	FROM by_day b
	JOIN @extschema@.contratos_runs u ON u.source = b.source AND u.day = b.day AND u.status = 'unchanged' AND NOT u.only_cost
	WHERE b.differs > b.success OR greatest(b.refused, b.failed) > b.success
	GROUP BY b.source, b.day
), days AS (
	SELECT d.source, d.day, d.is_open, d.success,
		CASE
			WHEN d.open IS NOT NULL THEN d.open
			WHEN d.refused = d.latest AND d.fails AND (d.success IS NULL OR d.accepted IS DISTINCT FROM d.success) THEN 'failed'
			WHEN d.given_up = d.latest AND d.fails AND (d.success IS NULL OR d.differs) THEN 'failed'
			WHEN d.success IS NULL THEN
				CASE
					WHEN d.failed = d.latest THEN 'waiting'
					WHEN d.latest IS NOT NULL THEN 'canceled'
					ELSE 'missing'
				END
			WHEN d.differs THEN 'differs'
			WHEN d.accepted = d.success THEN 'accepted'
			WHEN d.confirmed = d.success THEN 'confirmed'
			ELSE 'provisional'
		END AS state,
		coalesce(d.with_rows = d.success, false) AS has_rows,
		d.without_rows = d.success OR d.empty = d.latest AS is_empty
	FROM (SELECT b.source, b.day, b.is_open, b.open, b.success, b.accepted, b.confirmed, b.with_rows, b.without_rows,
			b.refused, b.failed, b.given_up, b.empty,
			coalesce(b.differs > greatest(b.success, u.unchanged), false) AS differs,
			coalesce(b.load > coalesce(greatest(b.success, u.unchanged), 0), false) AS fails,
			coalesce(b.open_id, CASE WHEN b.success IS NULL THEN greatest(b.load, b.taken_off) ELSE b.load END) AS latest
		FROM by_day b LEFT JOIN disputed u ON u.source = b.source AND u.day = b.day) d
), known AS (
	-- of a snapshot there is only what was loaded last, and yesterday
	SELECT d.source, d.day, d.success, d.state, d.is_empty, s.first,
		max(d.day) FILTER (WHERE d.has_rows) OVER source AS newest_with_rows
	FROM (SELECT x.source, x.day, x.is_open, x.success, x.state, x.has_rows, x.is_empty,
			max(x.day) FILTER (WHERE x.success IS NOT NULL) OVER (PARTITION BY x.source) AS newest
		FROM days x) d
	JOIN (SELECT s.name, s.timestamp_column IS NULL AS is_whole,
			CASE WHEN s.timestamp_column IS NULL THEN greatest(s.start_date, clock.yesterday) ELSE s.start_date END AS first
		FROM @extschema@.contratos_sources s, clock) s ON s.name = d.source
	CROSS JOIN clock
	WHERE NOT s.is_whole OR d.day IN (clock.yesterday, d.newest) OR d.is_open
	WINDOW source AS (PARTITION BY d.source)
), counted AS (
	SELECT k.source,
		max(k.day) FILTER (WHERE k.success IS NOT NULL) AS newest,
		min(k.newest_with_rows) AS newest_with_rows,
		bool_or(k.day = clock.yesterday AND k.success IS NOT NULL) AS is_there,
		count(*) FILTER (WHERE k.day BETWEEN k.first AND clock.yesterday) AS in_range,
		count(*) FILTER (WHERE k.state = 'missing') AS missing,
		count(*) FILTER (WHERE k.state = 'queued') AS queued,
		count(*) FILTER (WHERE k.state = 'running') AS running,
		count(*) FILTER (WHERE k.state = 'waiting') AS waiting,
		count(*) FILTER (WHERE k.state = 'provisional') AS provisional,
		count(*) FILTER (WHERE k.state = 'confirmed') AS confirmed,
		count(*) FILTER (WHERE k.state = 'differs') AS differs,
		count(*) FILTER (WHERE k.state = 'failed') AS failed,
		count(*) FILTER (WHERE k.day > k.newest_with_rows AND k.is_empty) AS empty,
		min(CASE WHEN k.state = 'waiting' THEN (
			SELECT min(r.started_at) FROM @extschema@.contratos_runs r
			WHERE r.source = k.source AND r.day = k.day AND r.id > coalesce(k.success, 0)
				AND r.cause <> 'recheck' AND NOT r.only_cost) END) AS waiting_since
	FROM known k, clock GROUP BY k.source
), today AS (
	SELECT r.source,
		count(*) FILTER (WHERE r.is_attempt AND r.cause <> 'recheck') AS loads,
		count(*) FILTER (WHERE r.is_attempt AND r.cause = 'recheck') AS checks,
		count(*) FILTER (WHERE r.is_attempt AND r.status IN ('failed', 'refused', 'interrupted')) AS failures,
		coalesce(sum(r.rows_loaded) FILTER (WHERE r.status = 'succeeded'), 0)::bigint AS rows,
		coalesce(sum(extract(epoch FROM r.finished_at - r.started_at)) FILTER (WHERE r.is_attempt AND r.cause <> 'recheck'), 0)::double precision AS seconds,
		coalesce(sum(r.bytes_billed), 0)::bigint AS bytes_billed,
		count(*) FILTER (WHERE r.cause = 'recheck' AND r.status = 'differs' AND (
			SELECT s.confirmed_at IS NOT NULL FROM @extschema@.contratos_runs s
			WHERE s.source = r.source AND s.day = r.day AND s.id < r.id AND s.status = 'succeeded'
			ORDER BY s.id DESC LIMIT 1)) AS confirmed_changed
	FROM (SELECT t.id, t.source, t.day, t.cause, t.status, t.started_at, t.finished_at, t.rows_loaded, t.bytes_billed,
			t.finished_at IS NOT NULL AND t.started_at IS NOT NULL AND NOT t.only_cost
				AND t.status IN ('succeeded', 'failed', 'refused', 'interrupted', 'canceled', 'unchanged', 'differs') AS is_attempt
		FROM runs t WHERE t.is_today) r
	GROUP BY r.source
), ended AS (
	SELECT r.source, max(r.finished_at) AS last_success, max(r.id) AS last_load
	FROM runs r WHERE r.status = 'succeeded' GROUP BY r.source
)
SELECT s.name AS source,
	s.enabled::integer AS enabled,
	CASE WHEN pg_is_in_recovery() THEN NULL
		ELSE ((SELECT @extschema@._contratos_worker()) IS NOT NULL
			OR (SELECT @extschema@._contratos_worker_is_starting()))::integer END AS worker_up,
	(SELECT count(*) FROM @extschema@._contratos_housekeeping)::integer AS failing_steps,
	extract(epoch FROM clock.now - greatest(least(coalesce(counted.newest + 1, s.start_date), clock.yesterday + 1),
		date '0001-01-01')::timestamp AT TIME ZONE 'UTC')::double precision AS newest_day_age_seconds,
	extract(epoch FROM clock.now - greatest(least(coalesce(counted.newest_with_rows + 1, s.start_date), clock.yesterday + 1),
		date '0001-01-01')::timestamp AT TIME ZONE 'UTC')::double precision AS upstream_age_seconds,
	CASE WHEN counted.is_there OR s.start_date > clock.yesterday THEN 0
		ELSE greatest(extract(epoch FROM clock.now - (clock.yesterday + 1 + s.run_at) AT TIME ZONE 'UTC'), 0) END::double precision
		AS late_seconds,
	coalesce(extract(epoch FROM clock.now - counted.waiting_since), 0)::double precision AS waiting_seconds,
	extract(epoch FROM clock.now - ended.last_success)::double precision AS last_success_age_seconds,
	-- older days are not rechecked, and the index finds these
	(SELECT extract(epoch FROM clock.now - max(r.finished_at)) FROM @extschema@.contratos_runs r
	 WHERE r.source = s.name AND r.day > clock.yesterday - greatest(s.recheck_days, 60)
		AND r.cause = 'recheck' AND r.status IN ('unchanged', 'differs'))::double precision AS last_check_age_seconds,
	greatest(CASE WHEN s.timestamp_column IS NOT NULL THEN clock.yesterday - s.start_date + 1
		ELSE (s.start_date <= clock.yesterday)::integer END, 0) - coalesce(counted.in_range, 0) + coalesce(counted.missing, 0) AS missing_days,
	coalesce(counted.queued, 0) AS queued_days,
	coalesce(counted.running, 0) AS running_days,
	coalesce(counted.waiting, 0) AS waiting_days,
	coalesce(counted.provisional, 0) AS provisional_days,
	coalesce(counted.confirmed, 0) AS confirmed_days,
	coalesce(counted.differs, 0) AS differs_days,
	coalesce(counted.failed, 0) AS failed_days,
	coalesce(counted.empty, 0) AS empty_days,
	last_load.rows_loaded AS last_load_rows,
	extract(epoch FROM last_load.finished_at - last_load.started_at)::double precision AS last_load_seconds,
	last_load.bytes_billed AS last_load_bytes_billed,
	CASE WHEN last_load.id IS NOT NULL THEN coalesce(last_load.values_altered, 0) END AS last_load_rejects,
	coalesce(today.loads, 0) AS loads_today,
	coalesce(today.checks, 0) AS checks_today,
	coalesce(today.failures, 0) AS failures_today,
	coalesce(today.rows, 0) AS rows_today,
	coalesce(today.seconds, 0) AS load_seconds_today,
	coalesce(today.bytes_billed, 0) AS bytes_billed_today,
	coalesce(today.confirmed_changed, 0) AS confirmed_changed_today,
	greatest(coalesce(today.bytes_billed, 0)::double precision / caps.of_source,
		(SELECT coalesce(sum(t.bytes_billed), 0) FROM today t)::double precision / caps.of_all) AS budget_used_ratio
FROM @extschema@.contratos_sources s
CROSS JOIN clock
CROSS JOIN @extschema@._contratos_byte_caps() caps
LEFT JOIN counted ON counted.source = s.name
LEFT JOIN today ON today.source = s.name
LEFT JOIN ended ON ended.source = s.name
LEFT JOIN @extschema@.contratos_runs last_load ON last_load.id = ended.last_load
$$;
COMMENT ON FUNCTION @extschema@._contratos_metrics() IS
'internal: what contratos_metrics shows';
REVOKE ALL ON FUNCTION @extschema@._contratos_metrics() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@._contratos_metrics() TO pg_monitor;

CREATE VIEW @extschema@.contratos_metrics AS
SELECT m.source, m.enabled, m.worker_up, m.failing_steps, m.newest_day_age_seconds,
	m.upstream_age_seconds, m.late_seconds, m.waiting_seconds, m.last_success_age_seconds, m.last_check_age_seconds,
	(SELECT greatest(extract(epoch FROM n.next_wake - @extschema@._contratos_now()), 0)
	 FROM @extschema@._contratos_next(m.source) n WHERE n.next_wake IS NOT NULL)::double precision AS next_wake_seconds,
	m.missing_days, m.queued_days, m.running_days, m.waiting_days,
	m.provisional_days, m.confirmed_days, m.differs_days, m.failed_days, m.empty_days,
	m.last_load_rows, m.last_load_seconds, m.last_load_bytes_billed, m.last_load_rejects, m.loads_today,
	m.checks_today, m.failures_today, m.rows_today, m.load_seconds_today, m.bytes_billed_today,
	m.confirmed_changed_today, m.budget_used_ratio
FROM @extschema@._contratos_metrics() m;
COMMENT ON VIEW @extschema@.contratos_metrics IS
'a row for each source, in numbers, for monitoring systems; null: not known yet, or there is no such thing';
COMMENT ON COLUMN @extschema@.contratos_metrics.source IS
'name in contratos_sources';
COMMENT ON COLUMN @extschema@.contratos_metrics.enabled IS
'1: the worker loads it; 0: calls only';
COMMENT ON COLUMN @extschema@.contratos_metrics.worker_up IS
'1: a worker of this database runs, or is being started; 0: none; null: this is a standby, which needs none';
COMMENT ON COLUMN @extschema@.contratos_metrics.failing_steps IS
'steps of the worker, other than loading, that fail; the same for all sources';
COMMENT ON COLUMN @extschema@.contratos_metrics.newest_day_age_seconds IS
'time since the end of the newest day that is loaded or accepted; before there is one, since the beginning of start_date';
COMMENT ON COLUMN @extschema@.contratos_metrics.upstream_age_seconds IS
'time since the end of the newest day that BigQuery is known to have rows of; before there is one, since the beginning of start_date';
COMMENT ON COLUMN @extschema@.contratos_metrics.late_seconds IS
'how long yesterday has been due (at run_at) and is not loaded; 0: it is loaded or accepted, or not due yet';
COMMENT ON COLUMN @extschema@.contratos_metrics.waiting_seconds IS
'how long the day that has waited longest has waited, since its first attempt; 0: none waits';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_success_age_seconds IS
'time since a load last succeeded; null: none has';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_check_age_seconds IS
'time since a recheck last came to a result, whichever; null: none has';
COMMENT ON COLUMN @extschema@.contratos_metrics.next_wake_seconds IS
'time until the worker next does something for the source, if it runs; 0: it is due; null: never';
COMMENT ON COLUMN @extschema@.contratos_metrics.missing_days IS
'days in state missing; yesterday is one until it is loaded';
COMMENT ON COLUMN @extschema@.contratos_metrics.queued_days IS
'days in state queued';
COMMENT ON COLUMN @extschema@.contratos_metrics.running_days IS
'days that the worker is loading';
COMMENT ON COLUMN @extschema@.contratos_metrics.waiting_days IS
'days in state waiting';
COMMENT ON COLUMN @extschema@.contratos_metrics.provisional_days IS
'days in state provisional';
COMMENT ON COLUMN @extschema@.contratos_metrics.confirmed_days IS
'days in state confirmed';
COMMENT ON COLUMN @extschema@.contratos_metrics.differs_days IS
'days in state differs';
COMMENT ON COLUMN @extschema@.contratos_metrics.failed_days IS
'days in state failed or refused';
COMMENT ON COLUMN @extschema@.contratos_metrics.empty_days IS
'days after the newest one with rows that BigQuery was asked for, and has none of';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_load_rows IS
'rows of the load that succeeded last; null: none has';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_load_seconds IS
'how long it took, with what it waited for BigQuery to have the day';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_load_bytes_billed IS
'bytes that it was billed';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_load_rejects IS
'its values that could not be kept as they were';
COMMENT ON COLUMN @extschema@.contratos_metrics.loads_today IS
'attempts to load a day that have ended in this UTC day, well or not';
COMMENT ON COLUMN @extschema@.contratos_metrics.checks_today IS
'the same of rechecks';
COMMENT ON COLUMN @extschema@.contratos_metrics.failures_today IS
'attempts of both kinds that have failed, were refused or interrupted in this UTC day';
COMMENT ON COLUMN @extschema@.contratos_metrics.rows_today IS
'rows loaded in this UTC day';
COMMENT ON COLUMN @extschema@.contratos_metrics.load_seconds_today IS
'how long the loads that have ended in this UTC day took, together';
COMMENT ON COLUMN @extschema@.contratos_metrics.bytes_billed_today IS
'bytes billed in this UTC day, as contratos.max_bytes_per_day counts them';
COMMENT ON COLUMN @extschema@.contratos_metrics.confirmed_changed_today IS
'rechecks of this UTC day that found a day different that was confirmed before';
COMMENT ON COLUMN @extschema@.contratos_metrics.budget_used_ratio IS
'bytes billed in this UTC day, by the cap of a day: the sources, or that of all sources if that is nearer; null: there is no cap';

CREATE VIEW @extschema@.contratos_metrics_failures AS
SELECT f.source, f.reason, count(*) AS failures_today
FROM (
	SELECT r.source,
		-- a word of BigQuery's, whatever else answers in its place
		CASE WHEN r.reason ~ '^[A-Za-z]{1,40}$' THEN r.reason WHEN r.status = 'failed' THEN coalesce(r.sqlstate, 'unknown') ELSE r.status END AS reason
	FROM @extschema@.contratos_runs r, (SELECT (@extschema@.contratos_yesterday() + 1)::timestamp AT TIME ZONE 'UTC' AS midnight) clock
	WHERE r.status IN ('failed', 'refused', 'interrupted') AND NOT r.only_cost AND r.started_at IS NOT NULL
		AND r.finished_at >= clock.midnight AND r.finished_at < clock.midnight + interval '24 hours'
) f
JOIN @extschema@.contratos_sources s ON s.name = f.source
GROUP BY f.source, f.reason;
COMMENT ON VIEW @extschema@.contratos_metrics_failures IS
'a row for each source and reason for which attempts have failed in this UTC day; together they are failures_today of contratos_metrics';
COMMENT ON COLUMN @extschema@.contratos_metrics_failures.source IS 'name in contratos_sources';
COMMENT ON COLUMN @extschema@.contratos_metrics_failures.reason IS
'BigQuery''s word, or unreachable or schemaDrift; without one refused, interrupted, or the SQLSTATE';
COMMENT ON COLUMN @extschema@.contratos_metrics_failures.failures_today IS 'attempts to load or to recheck';

GRANT SELECT ON @extschema@.contratos_metrics, @extschema@.contratos_metrics_failures TO pg_monitor;

-- A worker that is waiting for this version looks at once: the statement trigger
-- fires although there is nothing to delete.
DELETE FROM @extschema@.contratos_sources WHERE false;
