--
-- The extension's own objects, and the built-in source that contratos_setup()
-- makes.  Needs no network.  The schema is not in search_path on purpose.
--
\set VERBOSITY terse
CREATE SCHEMA contratos_test;
CREATE EXTENSION contratos SCHEMA contratos_test;
SHOW search_path;
-- "now" stands still
SET contratos.now = '2026-11-20 00:30:00+00';

-- what a statement is refused by: the constraint's name, or the SQLSTATE
CREATE FUNCTION pg_temp.refused_by(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = 'ZZ000';
EXCEPTION
	WHEN SQLSTATE 'ZZ000' THEN
		RETURN 'NOT REFUSED';
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS name = CONSTRAINT_NAME;
		RETURN coalesce(nullif(name, ''), SQLSTATE);
END $$;

-- members of an extension, and columns of those, without a comment: none
CREATE FUNCTION pg_temp.without_comment() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_describe_object(d.classid, d.objid, 0)
	FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'contratos' AND d.deptype = 'e' AND obj_description(d.objid, d.classid::regclass::name) IS NULL
		AND d.classid <> 'pg_type'::regclass -- row types
	UNION ALL
	SELECT pg_describe_object('pg_class'::regclass, a.attrelid, a.attnum)
	FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
		JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind <> 'S' AND c.relname !~ '^_'
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE e.extname = 'contratos' AND d.deptype = 'e' AND col_description(a.attrelid, a.attnum) IS NULL
$$;
SELECT * FROM pg_temp.without_comment();

-- what is for users begins with contratos_; what is not, with _contratos_, as
-- does all that says so in its comment; arguments have names
SELECT o.name FROM (
	SELECT p.proname AS name, obj_description(p.oid, 'pg_proc') LIKE 'internal: %' AS internal,
		p.prorettype IN ('trigger'::regtype, 'fdw_handler'::regtype) AS never_called,
		p.pronargs = 0 OR array_length(array_remove(p.proargnames, ''), 1) >= p.pronargs AS named
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'contratos'
	UNION ALL
	SELECT c.relname, obj_description(c.oid, 'pg_class') LIKE 'internal: %', false, true
	FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'contratos') o
WHERE o.named IS NOT TRUE OR o.name !~ (CASE WHEN o.internal OR o.never_called THEN '^_contratos_' ELSE '^_?contratos_' END);

-- what pg_dump takes along, and that the script put nothing in
SELECT c::regclass, coalesce(condition, '') AS condition
FROM pg_extension, unnest(extconfig, extcondition) AS u (c, condition)
WHERE extname = 'contratos' ORDER BY c::regclass::text;
SELECT count(*) FROM contratos_test.contratos_sources;
SELECT count(*) FROM contratos_test.contratos_runs;

-- what anybody may call; the rest reaches the network, costs money or writes
SELECT p.proname
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON d.refobjid = e.oid
WHERE e.extname = 'contratos' AND has_function_privilege('public', p.oid, 'EXECUTE')
ORDER BY p.proname;
-- and nobody is granted anything else, but pg_monitor the views
SELECT c.relname, acl.grantee::regrole, acl.privilege_type FROM pg_class c, aclexplode(c.relacl) acl
WHERE relnamespace = 'contratos_test'::regnamespace AND acl.grantee <> c.relowner
ORDER BY c.relname COLLATE "C";
SELECT fdwname, fdwacl FROM pg_foreign_data_wrapper WHERE fdwname = 'contratos' AND fdwacl IS NOT NULL;

--
-- Yesterday, in UTC whatever the session's settings
--
SET contratos.now = '2026-11-20 00:30:00+00';
SET TimeZone = 'America/Sao_Paulo';
SELECT contratos_test.contratos_yesterday() = date '2026-11-19' AS right_day;
SET TimeZone = 'Pacific/Kiritimati';
SET DateStyle = 'SQL, DMY';
SELECT contratos_test.contratos_yesterday() = date '2026-11-19' AS right_day;
SET contratos.now = '2026-11-20 23:59:59.999999+00';
SELECT contratos_test.contratos_yesterday() = date '2026-11-19' AS right_day;
SET contratos.now = '1999-12-31 00:00:00+00';
SELECT contratos_test.contratos_yesterday() = date '1999-12-30' AS right_day;
SET contratos.now = '1970-01-01 00:00:00+00';
SELECT contratos_test.contratos_yesterday() = date '1969-12-31' AS right_day;
SET contratos.now = '1999-12-31 23:59:59.999999+00';
SELECT contratos_test.contratos_yesterday() = date '1999-12-30' AS right_day;
SET contratos.now = '2026-11-20 00:30:00+00';
RESET TimeZone;
RESET DateStyle;

--
-- The built-in source
--
SELECT contratos_test.contratos_setup();
-- what is there is kept
SELECT contratos_test.contratos_setup();
SELECT name, remote_table, target_table, timestamp_column, start_date = '2026-11-19' AS starts_yesterday,
	run_at = '08:00' AS run_at, enabled, catchup_days, recheck_days, ready_timeout = '12h' AS ready_timeout, ready_interval = '15min' AS ready_interval,
	max_shrink, allow_empty, after_load, on_failure
FROM contratos_test.contratos_sources;
SELECT c.relname, c.relkind, pg_get_userbyid(c.relowner) = current_user AS mine,
	obj_description(c.oid, 'pg_class') AS description
FROM pg_class c
WHERE c.relnamespace = 'contratos_test'::regnamespace
	AND (c.relname LIKE 'tokens%' OR c.relname = 'bigquery_tokens')
ORDER BY c.relname;
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull, a.attgenerated,
	a.attfdwoptions, col_description(a.attrelid, a.attnum) IS NOT NULL AS commented
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'contratos_test'::regnamespace AND c.relname IN ('tokens', 'bigquery_tokens')
ORDER BY c.relname, a.attnum;
SELECT ftoptions FROM pg_foreign_table WHERE ftrelid = 'contratos_test.bigquery_tokens'::regclass;
SELECT srvname, srvoptions, pg_get_userbyid(srvowner) = current_user AS mine,
	obj_description(oid, 'pg_foreign_server') AS description
FROM pg_foreign_server WHERE srvname = 'bigquery';
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'contratos_test.tokens'::regclass ORDER BY 1;
-- they are the user's: nothing of it depends on being a member, and tokens on a function of the user's only
SELECT count(*) FROM pg_depend
WHERE deptype = 'e' AND objid IN ('contratos_test.tokens'::regclass, 'contratos_test.bigquery_tokens'::regclass);
SELECT pg_describe_object(d.refclassid, d.refobjid, 0), pg_get_userbyid(p.proowner) = current_user AS mine FROM pg_depend d
LEFT JOIN pg_proc p ON p.oid = d.refobjid
WHERE d.objid IN (SELECT 'contratos_test.tokens'::regclass::oid UNION ALL
				  SELECT oid FROM pg_attrdef WHERE adrelid = 'contratos_test.tokens'::regclass)
	AND d.refclassid IN ('pg_extension'::regclass, 'pg_proc'::regclass);

-- `block`: cut to the second, in UTC, whatever the settings
SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'iso_8601';
INSERT INTO contratos_test.tokens (address, block_timestamp, block_number, block_hash) VALUES
	('1', '2023-11-09 11:12:47+00', 18534012, '0x5e07'),
	('2', '2023-11-09 23:59:59.999999+00', 18534013, '0x5e08'),
	('3', '0001-01-01 00:00:00+00', 0, '0x1'),
	('4', '9999-12-31 23:59:59.999999+00', 9223372036854775807, ''),
	('5', '1969-12-31 23:59:59.5+00', 1, 'a_b'),
	('6', '1900-02-28 00:00:00.000001+00', 2, '0x2'),
	('7', '2024-02-29 00:00:00+00', 3, '0x3');
SELECT address, block FROM contratos_test.tokens ORDER BY address;
RESET TimeZone;
RESET DateStyle;
RESET IntervalStyle;
UPDATE contratos_test.tokens SET block_number = 5 WHERE address = '7' RETURNING block;

-- a source that was changed or a table that was dropped: only what is missing is made
UPDATE contratos_test.contratos_sources SET enabled = false, max_shrink = 0.5;
ALTER SERVER bigquery OPTIONS (ADD project 'some-project');
DROP FOREIGN TABLE contratos_test.bigquery_tokens;
SELECT contratos_test.contratos_setup();
SELECT enabled, max_shrink FROM contratos_test.contratos_sources;
SELECT count(*) FROM contratos_test.tokens;
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'bigquery';

--
-- What the private tables refuse
--
SELECT change, pg_temp.refused_by('UPDATE contratos_test.contratos_sources SET ' || change)
FROM unnest(ARRAY[
	$$name = 'Tokens'$$, $$name = '1token'$$, $$name = ''$$, $$name = 'a b'$$, $$name = E'a\nb'$$,
	$$name = repeat('a', 64)$$, $$name = NULL$$,
	$$remote_table = NULL$$, $$target_table = NULL$$, $$timestamp_column = ''$$, $$snapshot = NULL$$, $$snapshot = true$$,
	$$start_date = NULL$$, $$start_date = 'infinity'$$, $$start_date = '-infinity'$$,
	$$run_at = '24:00'$$, $$run_at = NULL$$,
	$$catchup_days = -1$$, $$catchup_days = 3661$$, $$recheck_days = -1$$, $$recheck_days = 3661$$,
	$$ready_timeout = '-1s'$$, $$ready_timeout = '31 days'$$, $$ready_interval = '999ms'$$, $$ready_interval = '25h'$$,
	$$max_shrink = -0.1$$, $$max_shrink = 1.1$$, $$max_shrink = 'NaN'$$,
	$$allow_empty = NULL$$, $$enabled = NULL$$, $$after_load = ''$$, $$on_failure = ''$$,
	-- and what they take
	$$name = 'a_1'$$, $$timestamp_column = NULL, snapshot = true$$, $$run_at = '00:00'$$, $$max_shrink = 0$$
]) AS change;
INSERT INTO contratos_test.contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded)
VALUES ('tokens', '2026-11-19', 'manual', 'succeeded', '2026-11-20 08:00+00', '2026-11-20 08:01+00', 3);
SELECT change, pg_temp.refused_by('UPDATE contratos_test.contratos_runs SET ' || change)
FROM unnest(ARRAY[
	$$source = NULL$$, $$day = NULL$$, $$day = 'infinity'$$, $$cause = 'whim'$$, $$cause = NULL$$,
	$$status = 'done'$$, $$status = NULL$$, $$attempt = -1$$, $$rows_loaded = -1$$, $$rows_replaced = -1$$,
	$$rows_inserted = -1$$, $$values_altered = -1$$, $$bytes_processed = -1$$, $$bytes_billed = -1$$, $$pages = -1$$,
	$$target_rows = -1$$, $$finished_at = '2026-11-20 07:59+00'$$, $$sqlstate = '4250'$$, $$sqlstate = 'abcde'$$,
	$$rows_loaded = NULL$$, $$finished_at = NULL$$, $$id = 5$$,
	$$sqlstate = '42501'$$, $$status = 'failed', rows_loaded = NULL$$
]) AS change;
-- one open attempt a day
INSERT INTO contratos_test.contratos_runs (source, day, cause, status) VALUES ('tokens', '2026-11-19', 'queue', 'queued');
SELECT pg_temp.refused_by($$INSERT INTO contratos_test.contratos_runs (source, day, cause, status)
	VALUES ('tokens', '2026-11-19', 'schedule', 'running')$$);
SELECT pg_temp.refused_by($$INSERT INTO contratos_test.contratos_runs (source, day, cause, status)
	VALUES ('other', '2026-11-19', 'schedule', 'running')$$);
SELECT run, row_number, column_name, reason,
	pg_temp.refused_by(format('INSERT INTO contratos_test.contratos_rejects (run, row_number, column_name, reason)
		VALUES (%L, %L, %L, %L)', run, row_number, column_name, reason))
FROM (VALUES (NULL, 1, 'symbol', 'why'), (1, 0, 'symbol', 'why'), (1, 1, NULL, 'why'), (1, 1, 'symbol', NULL),
	(1, 1, 'symbol', 'why')) AS r (run, row_number, column_name, reason);
-- pg_restore -j fills these tables in any order: no foreign key may be in its way
SELECT conrelid::regclass, conname FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'contratos_test'::regnamespace;
DELETE FROM contratos_test.contratos_runs;

--
-- Names in contratos_sources are kept as schema.table
--
CREATE SCHEMA "contratos Test 2";
CREATE TABLE "contratos Test 2"."Odd.Table" (a int);
CREATE TABLE "contratos Test 2".plain (a int);
CREATE TEMPORARY TABLE fleeting (a int);
SET search_path = "contratos Test 2", public;
INSERT INTO contratos_test.contratos_sources (name, remote_table, target_table)
VALUES ('names', '"Odd.Table"', 'PLAIN') RETURNING remote_table, target_table;
SET search_path = public;
UPDATE contratos_test.contratos_sources SET remote_table = 'Contratos_Test . "tokens"' WHERE name = 'names'
RETURNING remote_table, target_table;
\set VERBOSITY default
-- not there yet: as a restore may have it
UPDATE contratos_test.contratos_sources SET target_table = 'Elsewhere.Soon' WHERE name = 'names' RETURNING target_table;
-- without a schema it would mean something else to each reader
UPDATE contratos_test.contratos_sources SET target_table = 'plain' WHERE name = 'names';
UPDATE contratos_test.contratos_sources SET target_table = 'fleeting' WHERE name = 'names';
UPDATE contratos_test.contratos_sources SET target_table = '' WHERE name = 'names';
UPDATE contratos_test.contratos_sources SET target_table = 'a..b' WHERE name = 'names';
\set VERBOSITY terse
RESET search_path;
DROP TABLE fleeting;

--
-- Who lacks a right is told which
--
SET client_min_messages = warning;
DROP SERVER bigquery CASCADE;
DROP TABLE contratos_test.tokens;
DELETE FROM contratos_test.contratos_sources;
RESET client_min_messages;
CREATE ROLE regress_contratos_loader;
CREATE ROLE regress_contratos_other;
GRANT USAGE ON SCHEMA contratos_test TO regress_contratos_loader, regress_contratos_other;
SET ROLE regress_contratos_loader;
SELECT contratos_test.contratos_setup();
SELECT contratos_test.contratos_run('2026-11-19');
SELECT contratos_test.contratos_backfill(1);
SELECT contratos_test.contratos_backfill_range('2026-11-19', '2026-11-19');
SELECT count(*) FROM contratos_test.contratos_sources;
RESET ROLE;
GRANT EXECUTE ON FUNCTION contratos_test.contratos_setup() TO regress_contratos_loader, regress_contratos_other;
SET ROLE regress_contratos_loader;
\set VERBOSITY default
SELECT contratos_test.contratos_setup();
RESET ROLE;
GRANT CREATE ON SCHEMA contratos_test TO regress_contratos_loader;
CREATE SERVER bigquery FOREIGN DATA WRAPPER contratos;
SET ROLE regress_contratos_loader;
SELECT contratos_test.contratos_setup();
RESET ROLE;
DROP SERVER bigquery;
GRANT USAGE ON FOREIGN DATA WRAPPER contratos TO regress_contratos_loader;
SET ROLE regress_contratos_loader;
\set VERBOSITY terse
-- the transaction goes on as whoever he was, with the settings he had
BEGIN;
SELECT contratos_test.contratos_setup();
SELECT current_user, current_setting('search_path') AS search_path, current_setting('row_security') AS row_security;
COMMIT;
RESET ROLE;
SELECT c.relname, pg_get_userbyid(c.relowner) FROM pg_class c
WHERE c.oid IN ('contratos_test.tokens'::regclass, 'contratos_test.bigquery_tokens'::regclass)
ORDER BY c.relname;
SELECT name, remote_table, target_table FROM contratos_test.contratos_sources;
-- a table of another's is not made a target behind his back
DELETE FROM contratos_test.contratos_sources;
SET ROLE regress_contratos_other;
\set VERBOSITY default
SELECT contratos_test.contratos_setup();
\set VERBOSITY terse
RESET ROLE;

--
-- A table tokens that was there before
--
SET client_min_messages = warning;
DROP TABLE contratos_test.tokens;
ALTER FOREIGN TABLE contratos_test.bigquery_tokens OWNER TO CURRENT_USER;
RESET client_min_messages;
CREATE TABLE contratos_test.tokens (
	address varchar(42), symbol text GENERATED ALWAYS AS ('x') STORED, decimals boolean, total_supply json,
	block_timestamp text, block_number int GENERATED ALWAYS AS IDENTITY, block_hash bytea,
	loaded_by text NOT NULL, loaded_at timestamptz NOT NULL DEFAULT now(), id bigserial);
\set VERBOSITY default
SELECT contratos_test.contratos_setup();
DROP TABLE contratos_test.tokens;
CREATE TABLE contratos_test.tokens (
	block_hash text, name text, gone int NOT NULL, symbol varchar, decimals numeric(3), block_timestamp timestamp,
	total_supply double precision, address text, block_number bigint GENERATED BY DEFAULT AS IDENTITY,
	id bigserial, note text NOT NULL DEFAULT '', id2 int GENERATED ALWAYS AS IDENTITY, twice text NOT NULL GENERATED ALWAYS AS (address || address) STORED);
ALTER TABLE contratos_test.tokens DROP COLUMN gone;
CREATE INDEX ON contratos_test.tokens (block_number, block_timestamp);
CREATE INDEX ON contratos_test.tokens (block_timestamp) WHERE decimals > 1;
INSERT INTO contratos_test.tokens (address) VALUES ('kept');
SELECT contratos_test.contratos_setup();
SELECT address FROM contratos_test.tokens;
-- the columns of a foreign table that was changed are what counts
DELETE FROM contratos_test.contratos_sources;
ALTER FOREIGN TABLE contratos_test.bigquery_tokens ALTER COLUMN total_supply TYPE text;
SELECT contratos_test.contratos_setup();
ALTER FOREIGN TABLE contratos_test.bigquery_tokens ALTER COLUMN total_supply TYPE numeric;
CREATE INDEX ON contratos_test.tokens (block_timestamp, address);
SELECT contratos_test.contratos_setup();
DELETE FROM contratos_test.contratos_sources;
-- a view; also one that cannot be written to
ALTER TABLE contratos_test.tokens RENAME TO tokens_before;
CREATE VIEW contratos_test.tokens AS SELECT DISTINCT * FROM contratos_test.tokens_before;
SELECT contratos_test.contratos_setup();
CREATE OR REPLACE VIEW contratos_test.tokens AS SELECT * FROM contratos_test.tokens_before;
SELECT contratos_test.contratos_setup();
DELETE FROM contratos_test.contratos_sources;
DROP VIEW contratos_test.tokens;
-- partitioned
CREATE TABLE contratos_test.tokens (LIKE contratos_test.tokens_before) PARTITION BY RANGE (block_timestamp);
SELECT contratos_test.contratos_setup();
ALTER TABLE contratos_test.tokens ALTER COLUMN id DROP NOT NULL, ALTER COLUMN note DROP NOT NULL,
	ALTER COLUMN id2 DROP NOT NULL, ALTER COLUMN twice DROP NOT NULL;
SELECT contratos_test.contratos_setup();
DELETE FROM contratos_test.contratos_sources;
DROP TABLE contratos_test.tokens;
-- neither
CREATE SEQUENCE contratos_test.tokens;
SELECT contratos_test.contratos_setup();
DROP SEQUENCE contratos_test.tokens;
-- an index that has kept its name does not stand in the way
CREATE INDEX tokens_address_idx ON contratos_test.tokens_before (address);
SELECT contratos_test.contratos_setup();
SELECT indexrelid::regclass, obj_description(indexrelid, 'pg_class')
FROM pg_index WHERE indrelid = 'contratos_test.tokens'::regclass ORDER BY 1;

--
-- Names that are taken by something else
--
SET client_min_messages = warning;
DROP FOREIGN TABLE contratos_test.bigquery_tokens;
DROP SERVER bigquery;
RESET client_min_messages;
CREATE FOREIGN DATA WRAPPER regress_contratos_wrapper;
CREATE SERVER bigquery FOREIGN DATA WRAPPER regress_contratos_wrapper;
SELECT contratos_test.contratos_setup();
CREATE FOREIGN TABLE contratos_test.bigquery_tokens (a int) SERVER bigquery;
ALTER SERVER bigquery RENAME TO regress_contratos_server;
SELECT contratos_test.contratos_setup();
DROP FOREIGN TABLE contratos_test.bigquery_tokens;
CREATE TABLE contratos_test.bigquery_tokens (a int);
SELECT contratos_test.contratos_setup();
DROP TABLE contratos_test.bigquery_tokens;
DROP FOREIGN DATA WRAPPER regress_contratos_wrapper CASCADE;
\set VERBOSITY terse

--
-- DROP EXTENSION takes the wrapper's server along, never the rows
--
DELETE FROM contratos_test.contratos_sources;
SELECT contratos_test.contratos_setup();
INSERT INTO contratos_test.tokens (address, block_timestamp, block_number, block_hash)
VALUES ('1', '2023-11-09 11:12:47+00', 18534012, '0x5e07');
DROP EXTENSION contratos;
SET client_min_messages = warning;
DROP EXTENSION contratos CASCADE;
SET client_min_messages = notice;
SELECT address, block FROM contratos_test.tokens;
INSERT INTO contratos_test.tokens (address, block_timestamp, block_number, block_hash)
VALUES ('2', '2023-11-09 11:12:48+00', 18534013, '0x5e08') RETURNING block;
SELECT count(*) FROM pg_foreign_server WHERE srvname = 'bigquery';

--
-- A schema whose name needs quoting and looks like a format (PostgreSQL refuses
-- quotes in the name of a schema whose extension says @extschema@)
--
CREATE SCHEMA "contratos %s Schema";
CREATE EXTENSION contratos SCHEMA "contratos %s Schema";
SELECT "contratos %s Schema".contratos_setup();
SELECT remote_table, target_table FROM "contratos %s Schema".contratos_sources;
INSERT INTO "contratos %s Schema".tokens (address, block_timestamp, block_number, block_hash)
VALUES ('1', '2023-11-09 11:12:47+00', 18534012, '0x5e07') RETURNING block;
-- not relocatable: names in contratos_sources would no longer be right
ALTER EXTENSION contratos SET SCHEMA public;

SET client_min_messages = warning;
DROP EXTENSION contratos CASCADE;
DROP SCHEMA "contratos %s Schema" CASCADE;
DROP SCHEMA "contratos Test 2" CASCADE;
DROP SCHEMA contratos_test CASCADE;
DROP ROLE regress_contratos_loader, regress_contratos_other;
