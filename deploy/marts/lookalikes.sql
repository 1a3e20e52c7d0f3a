-- lookalikes.sql - tokens that pretend to be a well-known one, day by day.
--
--   psql -d analytics -f deploy/marts/lookalikes.sql
--
-- It can be run again: tables and what is in them stay, functions are replaced.

\ir begin.sql

-- The symbols that are worth imitating; yours to edit. address: the contract that the symbol belongs to,
-- in lower case. With it, another contract with exactly this symbol is found, too.
SELECT pg_catalog.to_regclass('marts.well_known') IS NULL AS first_time \gset
CREATE TABLE IF NOT EXISTS marts.well_known (
	symbol text PRIMARY KEY CHECK (symbol <> ''),
	address text CHECK (address = pg_catalog.lower(address)));
\if :first_time
INSERT INTO marts.well_known VALUES
	('USDT', '0xdac17f958d2ee523a2206206994597c13d831ec7'), ('USDC', '0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48'),
	('DAI', '0x6b175474e89094c44da98b954eedeac495271d0f'), ('WETH', '0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2'),
	('WBTC', '0x2260fac5e5542a773aa44fbcfedf7c193bc2c599'), ('BUSD', '0x4fabb145d64652a948d72533023f6e7a623c7c53'),
	('TUSD', '0x0000000000085d4780b73119b644ae5ecd22b376'), ('FRAX', '0x853d955acef822db058eb8505911ed77f175b99e'),
	('LINK', '0x514910771af9ca656af840dff83e8264ecf986ca'), ('UNI', NULL), ('AAVE', '0x7fc66500c84a76ad7e9c93437bfc5ac33e2ddae9'),
	('MKR', '0x9f8f72aa9304c8b593d555f12ef6589cc3a579a2'), ('stETH', '0xae7ab96520de3a18e5e111b5eaab095312d7fe84'),
	('SHIB', '0x95ad61b0a150d79219dcf64e1e6cc01f0b64c4ce'), ('BNB', '0xb8c77482e45f1f44de1745f52c74426c631bdd52'),
	('PEPE', NULL), ('ETH', NULL), ('BTC', NULL);
\endif
COMMENT ON TABLE marts.well_known IS 'symbols that others imitate; yours to edit';

-- No index has a symbol in it: anybody can make a contract whose symbol is too long for one, and would stop the day's load.
CREATE TABLE IF NOT EXISTS marts.lookalikes (
	day date NOT NULL, address text NOT NULL, symbol text NOT NULL, name text, looks_like text NOT NULL, how text[] NOT NULL);
CREATE INDEX IF NOT EXISTS lookalikes_day ON marts.lookalikes (day);
COMMENT ON TABLE marts.lookalikes IS 'tokens whose symbols look like well-known ones, by the UTC day that was loaded';
COMMENT ON COLUMN marts.lookalikes.how IS 'in what the symbol differs; {same symbol}: in nothing, but it is another contract';

-- A symbol on its way to what the eye sees, one step each. The first 1000 characters are enough to see it.
-- Without characters that have no width: soft hyphen, marks of direction, joiners, variation selectors, controls.
CREATE OR REPLACE FUNCTION marts.visible(symbol text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(left(symbol, 1000),
	U&'[\0001-\0008\000E-\001F\007F\00AD\034F\061C\115F\1160\17B4\17B5\180B-\180E\200B-\200F\202A-\202E\2060-\206F\3164\FE00-\FE0F\FEFF\FFA0\+0E0000-\+0E01EF]', '', 'g');

-- Without spaces of any kind.
CREATE OR REPLACE FUNCTION marts.without_spaces(symbol text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(symbol, U&'[\0009-\000D\0020\0085\00A0\1680\2000-\200A\2028\2029\202F\205F\3000\2800]', '', 'g');

-- Letters of other alphabets, wide, styled and accented ones as the Latin letters that they look like.
CREATE OR REPLACE FUNCTION marts.latin(symbol text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN translate(regexp_replace(normalize(symbol, NFKD), U&'[\0300-\036F]', '', 'g'),
	'АВЕКМНОРСТУХЅІЈԚԜԌасеорхуѕіјԁԛԝһкмнтв' || 'ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορτυχ' || 'ՍՏօսց' || 'ᎠᎡᎢᎪᎫᎬᎳᎷᎻᏀᏃᏒᏚᏞᏟᏢᏦᏴ'
		|| 'ꓐꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴ' || 'ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢıøØđĐłŁ',
	'ABEKMHOPCTYXSIJQWGaceopxysijdqwhkmhtb' || 'ABEZHIKMNOPTYXaikvoptux' || 'USoug' || 'DRTAJEWMHGZRSLCPKB'
		|| 'BDTGKJCZFMNLSRVHWXYAEIOU' || 'ABCDEFGHIJKLMNOPRSTUVWYZioOdDlL');

-- Digits and signs as the letters that they look like, and nothing else but letters. L and I become one, as in DAl.
CREATE OR REPLACE FUNCTION marts.letters(symbol text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(translate(symbol, '013458$₮€₿|!@lL', 'OIEASBSTEBIIAII'), '[^A-Za-z]', '', 'g');

CREATE OR REPLACE FUNCTION marts.skeleton(symbol text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN upper(marts.letters(marts.latin(marts.without_spaces(marts.visible(symbol)))) COLLATE "C");

CREATE OR REPLACE PROCEDURE marts.refresh_lookalikes(the_day date) LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	DELETE FROM marts.lookalikes WHERE day = the_day;
	INSERT INTO marts.lookalikes (day, address, symbol, name, looks_like, how)
	SELECT the_day, t.address, t.symbol, t.name, w.symbol,
		CASE WHEN t.symbol = w.symbol THEN ARRAY['same symbol'] ELSE array_remove(ARRAY[
			CASE WHEN v.visible <> left(t.symbol, 1000) THEN 'invisible characters' END,
			CASE WHEN s.close <> v.visible THEN 'spaces' END,
			CASE WHEN l.latin <> s.close THEN 'other letters' END,
			CASE WHEN upper(l.latin COLLATE "C") <> upper(w.symbol COLLATE "C") THEN 'digits or signs' END,
			CASE WHEN l.latin <> w.symbol AND upper(l.latin COLLATE "C") = upper(w.symbol COLLATE "C") THEN 'case' END], NULL) END
	FROM :target t
		JOIN marts.well_known w ON marts.skeleton(t.symbol) = marts.skeleton(w.symbol)
		CROSS JOIN LATERAL (SELECT marts.visible(t.symbol) AS visible) v
		CROSS JOIN LATERAL (SELECT marts.without_spaces(v.visible) AS close) s
		CROSS JOIN LATERAL (SELECT marts.latin(s.close) AS latin) l
	WHERE t.block_timestamp >= the_day::timestamp AT TIME ZONE 'UTC' AND t.block_timestamp < (the_day + 1)::timestamp AT TIME ZONE 'UTC'
		AND lower(t.address COLLATE "C") IS DISTINCT FROM w.address
		AND (t.symbol <> w.symbol OR w.address IS NOT NULL)
		AND marts.skeleton(w.symbol) <> '';
END;
COMMENT ON PROCEDURE marts.refresh_lookalikes(date) IS 'replaces a day in marts.lookalikes';

\ir end.sql
