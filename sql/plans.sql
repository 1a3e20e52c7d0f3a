--
-- Which conditions are pushed, and as what.  EXPLAIN reaches no network, so
-- none is needed here.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS contratos;
SET TimeZone = 'America/Sao_Paulo';
SET DateStyle = 'ISO, DMY';
CREATE SERVER plans FOREIGN DATA WRAPPER contratos OPTIONS (project 'p', dataset_project 'd');
CREATE FOREIGN TABLE many (
	i2 smallint OPTIONS (type 'INT64'), i4 integer OPTIONS (type 'INT64'), i8 bigint OPTIONS (type 'INT64'),
	flag boolean OPTIONS (type 'BOOL'), day date OPTIONS (type 'DATE'),
	at timestamptz OPTIONS (type 'TIMESTAMP'), clock timestamp OPTIONS (type 'DATETIME'),
	amount numeric OPTIONS (type 'NUMERIC'), big numeric OPTIONS (type 'BIGNUMERIC'),
	name text OPTIONS (type 'STRING'), label varchar OPTIONS (type 'STRING')
) SERVER plans OPTIONS ("table" 'x.many');
-- the condition and the parameters of a query on it
CREATE FUNCTION pushed(condition text, relation text DEFAULT 'many') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	result text := '-';
BEGIN
	FOR line IN EXECUTE format('EXPLAIN (VERBOSE, COSTS OFF) SELECT 1 FROM %s WHERE %s', relation, condition) LOOP
		IF line ~ 'GoogleSQL: .* WHERE ' THEN
			result := regexp_replace(line, '.* WHERE ', '');
		ELSIF line ~ 'Parameter @' THEN
			result := result || regexp_replace(line, ' *Parameter (@\w+):', ' | \1');
		ELSIF line ~ 'One-Time Filter: false' THEN
			result := 'no rows';
		END IF;
	END LOOP;
	RETURN result;
END $$;
\pset format unaligned
\pset tuples_only on

-- every operator on every type, constants
SELECT format('%s %s %s: %s', name, op, value, pushed(format('%I %s %s', name, op, value)))
FROM (VALUES (1, 'i2', '-32768'), (2, 'i4', '7'), (3, 'i8', '9223372036854775807'), (4, 'day', '''2026-02-28'''),
	(5, 'at', '''2026-11-20 00:00:00.000001Z'''), (6, 'clock', '''2026-11-20 23:59:59.999999'''),
	(7, 'amount', '-1.50'), (8, 'big', '1e-38')) v(n, name, value),
	(VALUES (1, '='), (2, '<'), (3, '<='), (4, '>'), (5, '>=')) o(m, op) ORDER BY n, m;
SELECT pushed($$name = 'it''s'$$);
SELECT pushed($$label = ''$$);
SELECT pushed('i4 BETWEEN 1 AND 9 AND flag AND amount > 0');
SELECT pushed('7 = i4 AND 8 > i8');
SELECT pushed('i8 = i8 AND i8 <> 5');

-- booleans
SELECT format('%s: %s', c, pushed(c)) FROM unnest(ARRAY['flag', 'NOT flag', 'flag = true', 'flag = false', 'flag <> true',
	'flag IS TRUE', 'flag IS FALSE', 'flag IS UNKNOWN', 'flag IS NOT UNKNOWN', 'flag IS NOT TRUE', 'flag IS NOT FALSE',
	'flag IS NULL', 'flag < true', 'flag IN (true, false)']) c;

-- lists: one parameter, in order, each once, without NULL
SELECT format('%s: %s', c, pushed(c)) FROM unnest(ARRAY['i2 IN (3, 1, 2, 1)', 'i4 IN (1, 5000000000)', 'i8 = ANY (ARRAY[2, NULL, 10])',
	$$day IN ('2026-01-01', '0001-01-01', '9999-12-31')$$, $$at IN ('2026-01-01Z', '2026-01-02Z')$$, $$clock IN ('2026-01-01', '2026-01-02')$$,
	'amount IN (1.0, 1.00, 2)', 'big IN (1, 2)', $$name IN ('b', 'a', '', 'it''s, this')$$, $$label IN ('b', 'a')$$, 'flag = ANY (ARRAY[true, NULL])',
	$$name = ANY (ARRAY['x', 'y']::varchar[])$$, 'i8 = ANY (ARRAY[]::bigint[])', 'i8 = ANY (NULL::bigint[])', 'i8 NOT IN (1, 2)',
	'i8 = ALL (ARRAY[1, 2])', 'i8 < ANY (ARRAY[1, 2])', $$day IN ('infinity', '2026-01-01')$$, 'i4 = ANY ((SELECT array_agg(g) FROM generate_series(1, 3) g)::int[])']) c;
SELECT left(pushed('i4 = ANY (''{' || string_agg(g::text, ',') || '}'')'), 150) FROM generate_series(1, 10000) g;
SELECT pushed('i4 = ANY (''{' || string_agg(g::text, ',') || '}'')') FROM generate_series(1, 10001) g;
SELECT pushed(format('name IN (%L, %L)', repeat('x', 1100000), repeat('y', 1100000)));

-- NULL tests
SELECT format('%s: %s', c, pushed(c)) FROM unnest(ARRAY['i2 IS NULL', 'day IS NOT NULL', 'name IS NULL AND label IS NOT NULL',
	'at IS NULL AND i4 = 1 AND clock IS NOT NULL AND amount = 2', 'NOT i8 IS NULL', 'many IS NULL']) c;

-- other types of constants
SELECT format('%s: %s', c, pushed(c)) FROM unnest(ARRAY['i2 = 40000', 'i4 < 5000000000', 'i8 > 7::smallint', 'i8 = 7.0', 'i8 < 7.5', 'i8 < 9223372036854775808',
	'i4 >= -9223372036854775808.00', $$i8 < 'NaN'::numeric$$, 'i8 = 7::float8', 'i8 IN (1.0, 2.0)', 'amount = 7', 'amount < 7::bigint', 'amount < 7.5::float8',
	$$day >= timestamp '2026-01-01 00:00'$$, $$day < timestamp '2026-01-01 00:00'$$, $$day < timestamp '2026-01-01 00:00:00.000001'$$, $$day > timestamp '2026-01-01 12:00'$$,
	$$day = timestamp '1999-12-31 12:00'$$, $$day >= timestamptz '2026-01-01 00:00'$$,
	$$clock >= date '2026-01-01'$$, $$clock >= timestamptz '2026-01-01 00:00'$$, $$at >= date '2026-01-01'$$, $$at < timestamp '2026-01-01 12:00'$$,
	$$name = 'x'::varchar$$, $$name = 'x'::name$$, $$name = 'x'::bpchar$$, $$label = 'x'::text$$]) c;

-- what BigQuery cannot express is not sent
SELECT format('%s: %s', c, pushed(c)) FROM unnest(ARRAY[$$day < 'infinity'$$, $$day > '-infinity'$$, $$day > '0001-01-01 BC'$$, $$day < '10000-01-01'$$,
	$$day >= '0001-01-01'$$, $$day <= '9999-12-31'$$, $$at < 'infinity'$$, $$at < '10000-01-01Z'$$, $$at >= '0001-01-01Z'$$, $$at <= '9999-12-31 23:59:59.999999Z'$$,
	$$clock > '-infinity'$$, $$clock <= '9999-12-31 23:59:59.999999'$$, $$amount < 'NaN'$$, $$amount < 'infinity'$$, 'amount < 1.0000000001', 'amount < 1.0000000010',
	'amount < 99999999999999999999999999999.999999999', 'amount < 1e29', 'amount > -1e28', 'big < 1e38', 'big < 1e37', 'big > 1e-39']) c;

-- what is not pushed by its form
SELECT format('%s: %s', c, pushed(c)) FROM unnest(ARRAY['i4 = 1 OR i8 = 2', 'NOT (i4 = 1 AND i8 = 2)', 'i4 + 0 = 1', 'i4 = i8', $$name < 'x'$$, $$name LIKE 'x%'$$,
	$$name ~ '^x'$$, $$name <> 'x'$$, $$name COLLATE "C" = 'x'$$, 'i4 = random()', $$day = now()$$, 'coalesce(flag, true)', 'i4 IS DISTINCT FROM 1', '(i4, i8) = (1, 2)', '(i4, i8) < (1, 2)']) c;

-- domains, typmods, and columns that stand for another type
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE FOREIGN TABLE other (
	d positive OPTIONS (type 'INT64'), short varchar(5) OPTIONS (type 'STRING'), c char(5) OPTIONS (type 'STRING'), cents numeric(10, 2) OPTIONS (type 'NUMERIC'),
	millis timestamptz(3) OPTIONS (type 'TIMESTAMP'), digits numeric OPTIONS (type 'STRING'), day text OPTIONS (type 'DATE'), num text OPTIONS (type 'INT64'),
	at date OPTIONS (type 'TIMESTAMP')
) SERVER plans OPTIONS ("table" 'x.other');
SELECT format('%s: %s', c, pushed(c, 'other')) FROM unnest(ARRAY['d = 1', $$short = 'x'$$, $$c = 'x'$$, 'cents = 1', $$millis = '2026-01-01Z'$$, 'digits = 1',
	$$day = '2026-01-01'$$, $$num = '1'$$, $$at = '2026-01-01'$$, 'digits IS NULL']) c;

-- on_bad_value 'null': NULL here may be a value there
CREATE FOREIGN TABLE nulled (
	i2 smallint OPTIONS (type 'INT64'), name text OPTIONS (type 'STRING')
) SERVER plans OPTIONS ("table" 'x.nulled', on_bad_value 'null');
SELECT format('%s: %s', c, pushed(c, 'nulled')) FROM unnest(ARRAY['i2 = 1', 'i2 IS NULL', 'i2 IS NOT NULL', $$name = 'ab'$$, 'name IS NULL', 'name IS NOT NULL']) c;

-- aggregates: the select list of the query for BigQuery
CREATE FUNCTION asked(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	queries text[];
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
		IF line ~ 'GoogleSQL: ' THEN
			queries := queries || regexp_replace(line, '.*GoogleSQL: SELECT (.*) FROM `d\.x\.\w+`', '\1');
		END IF;
	END LOOP;
	RETURN array_to_string(queries, ' | ');
END $$;
CREATE FOREIGN TABLE strict (
	i8 bigint OPTIONS (type 'INT64') NOT NULL, at timestamptz NOT NULL, cents numeric(10, 2) OPTIONS (type 'NUMERIC'), millis timestamptz(3),
	far timestamp OPTIONS (type 'TIMESTAMP'), x double precision, clock time, list bigint[]
) SERVER plans OPTIONS ("table" 'x.strict');
SELECT format('%s: %s', q, asked('SELECT ' || q)) FROM unnest(ARRAY['count(*) FROM many', 'count(1), count(*) + 1 FROM many', 'min(day), max(day), count(day) FROM many',
	'max(at)::date - min(at)::date FROM many', 'min(clock), max(amount), max(big), count(flag) FROM many', 'max(i8) FROM many WHERE flag AND i8 > 7 HAVING count(*) > 1 LIMIT 3',
	'count(*) FROM many WHERE i8 IN (1, 2) AND day IS NULL', 'max(at) FROM strict', 'max(at) FROM strict WHERE at < now()', 'max(at), count(*) FROM strict WHERE i8 = 7',
	'count(x), count(clock) FROM strict', $$'a', max(i8) FROM many UNION ALL SELECT 'b', max(i8) FROM strict$$, 'count(*) FROM (SELECT * FROM many WHERE i8 > 1) s WHERE i8 < 9',
	'count(*) FROM many WHERE i8 > (SELECT max(i8) FROM strict)', '(SELECT count(*) + g FROM many) FROM generate_series(1, 3) g']) q;
-- … not sent
SELECT format('%s: %s', q, asked('SELECT ' || q)) FROM unnest(ARRAY['max(i4) FROM many', 'count(i2) FROM many', 'max(name) FROM many', 'count(label) FROM many', 'max(cents) FROM strict', 'max(millis) FROM strict',
	'max(far) FROM strict', 'max(x) FROM strict', 'max(clock) FROM strict', 'count(list) FROM strict', 'count(DISTINCT i8) FROM many', 'count(*) FILTER (WHERE flag) FROM many', 'max(i8 ORDER BY i4) FROM many',
	'sum(i8), max(i8) FROM many', 'bool_or(flag) FROM many', 'count(*) FROM many GROUP BY i8', 'count(*), count(*) OVER () FROM many', 'max(i8 + 1) FROM many', 'count(many) FROM many', 'count(tableoid) FROM many', 'count(NULL) FROM many',
	'count(*) FROM many WHERE i4 = 1', 'count(*) FROM many WHERE i8 = 1 OR i8 = 2', $$count(*) FROM many WHERE name = 'x'$$, $$count(*) FROM many WHERE day < 'infinity'$$, 'count(*) FROM many WHERE i8 < 1.5',
	'count(*) FROM many WHERE i8 = random()', 'count(*) FROM many WHERE (SELECT true)', 'count(*) FROM many m JOIN strict s USING (i8)', 'count(*) FROM (SELECT * FROM many LIMIT 1) s', 'count(*), unnest(ARRAY[1, 2]) FROM many',
	'(SELECT count(*) FROM many WHERE i8 > g) FROM generate_series(1, 3) g', '1 FROM many HAVING true']) q;
\pset tuples_only off
EXPLAIN (VERBOSE, COSTS OFF) SELECT 'x', max(at)::date, count(*) FROM many WHERE at >= '2026-01-01Z' HAVING count(*) > 0;
EXPLAIN (COSTS OFF) SELECT count(*) FROM many;
\pset tuples_only on

-- generic plans: parameters of every type, known at execution
SET plan_cache_mode = force_generic_plan;
PREPARE every(smallint, integer, bigint, boolean, date, timestamptz, timestamp, numeric, text, bigint[], text[], date[]) AS
	SELECT 1 FROM many WHERE i2 = $1 AND i4 < $2 AND i8 > $3 AND flag = $4 AND day >= $5 AND at < $6 AND clock > $7 AND amount <= $8
	AND name = $9 AND i8 = ANY ($10) AND label = ANY ($11) AND day = ANY ($12);
\pset tuples_only off
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE every(1, 2, 3, true, '2026-01-01', '2026-01-01Z', '2026-01-01', 1.5, 'x', '{1,2}', '{a,b}', '{2026-01-01}');
RESET plan_cache_mode;

-- require_filter wants something to run, nothing to be looked at
ALTER FOREIGN TABLE many OPTIONS (ADD partition_column 'day', ADD require_filter 'true');
EXPLAIN (COSTS OFF) SELECT * FROM many;

-- read only, and already so when planned
EXPLAIN INSERT INTO many (i4) VALUES (1);
INSERT INTO many (i4) SELECT 1;
UPDATE many SET i4 = 1 WHERE false;
DELETE FROM many;
TRUNCATE many;
COPY many (i4) FROM STDIN;
1
\.
SELECT is_insertable_into FROM information_schema.tables WHERE table_name = 'many';
SELECT pg_relation_is_updatable('many', true);
CREATE VIEW looks AS SELECT i4 FROM many;
INSERT INTO looks VALUES (1);
CREATE TABLE parted (i4 integer) PARTITION BY LIST (i4);
CREATE FOREIGN TABLE part PARTITION OF parted FOR VALUES IN (1) SERVER plans OPTIONS ("table" 'x.part');
INSERT INTO parted VALUES (1);
-- a transaction that has only prepared to write can look
BEGIN;
PREPARE w AS INSERT INTO many (i4) VALUES (1);
SELECT is_insertable_into FROM information_schema.tables WHERE table_name = 'many';
COMMIT;
SET client_min_messages = warning;
ANALYZE many;
SET client_min_messages = error;
DROP SERVER plans CASCADE;
DROP TABLE parted;
DROP DOMAIN positive;
DROP FUNCTION pushed, asked;
