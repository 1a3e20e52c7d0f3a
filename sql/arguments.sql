-- What a call refuses before it asks anybody anything.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS contratos CASCADE;
CREATE SCHEMA contratos_arguments;
CREATE EXTENSION contratos SCHEMA contratos_arguments;
SET search_path = contratos_arguments, public;
RESET client_min_messages;
SET contratos.now = '2026-11-20 00:30:00+00';
SET client_min_messages = warning;
-- whatever the server's own settings are
SET contratos.endpoint = 'https://bigquery.googleapis.com';
SET contratos.credentials_file = '';
SELECT contratos_setup();

-- nothing is taken for something when it is NULL
SELECT * FROM contratos_run(NULL);
SELECT * FROM contratos_run('2026-11-19', NULL);
SELECT * FROM contratos_run('2026-11-19', 'tokens', NULL);
SELECT * FROM contratos_run('2026-11-19', allow_empty => NULL);
SELECT * FROM contratos_backfill(NULL);
SELECT * FROM contratos_backfill(7, NULL);
SELECT * FROM contratos_backfill(7, only_missing => NULL);
SELECT * FROM contratos_backfill(7, allow_shrink => NULL);
SELECT * FROM contratos_backfill(7, allow_empty => NULL);
SELECT * FROM contratos_backfill_range(NULL, '2026-11-19');
SELECT * FROM contratos_backfill_range('2026-11-19', NULL);

-- days that are not over, in UTC, or cannot be
SET timezone = 'Pacific/Kiritimati';
SET datestyle = 'SQL, DMY';
SELECT contratos_yesterday();
SELECT * FROM contratos_run('2026-11-20');
SELECT * FROM contratos_run('2026-11-21');
SELECT * FROM contratos_run('infinity');
SELECT * FROM contratos_run('-infinity');
SELECT * FROM contratos_run('0001-01-01 BC');
RESET timezone;
RESET datestyle;
SELECT * FROM contratos_backfill_range('2026-11-19', '2026-11-20');
SELECT * FROM contratos_backfill_range('2026-11-19', '2026-11-18');
SELECT * FROM contratos_backfill(0);
SELECT * FROM contratos_backfill(-1);
SELECT * FROM contratos_backfill(3661);
SELECT * FROM contratos_backfill_range('1970-01-01', '2026-11-19');
SELECT * FROM contratos_estimate('1970-01-01', '2026-11-19');

-- sources that are not there; names are not folded
SELECT * FROM contratos_run('2026-11-19', 'nobody');
SELECT * FROM contratos_run('2026-11-19', 'TOKENS');
SELECT * FROM contratos_run('2026-11-19', '');

-- transactions that could not see what another session loads meanwhile
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM contratos_run('2026-11-19');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM contratos_backfill(7);
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM contratos_run('2026-11-19');
ROLLBACK;

-- a source whose tables do not fit is refused before BigQuery is asked
BEGIN;
ALTER TABLE tokens DROP COLUMN symbol;
SELECT * FROM contratos_run('2026-11-19');
ROLLBACK;
BEGIN;
UPDATE contratos_sources SET timestamp_column = 'nothing';
SELECT * FROM contratos_run('2026-11-19');
ROLLBACK;
BEGIN;
UPDATE contratos_sources SET timestamp_column = 'block_number';
SELECT * FROM contratos_run('2026-11-19');
ROLLBACK;
BEGIN;
UPDATE contratos_sources SET timestamp_column = NULL, snapshot = true;
SELECT * FROM contratos_run('2026-11-18');
ROLLBACK;
-- neither days nor a snapshot: stored, so that an older dump can be restored, and never loaded
BEGIN;
UPDATE contratos_sources SET timestamp_column = NULL;
SELECT * FROM contratos_run('2026-11-19');
ROLLBACK;
BEGIN;
UPDATE contratos_sources SET timestamp_column = NULL;
SELECT contratos_enqueue('2026-11-19', '2026-11-19');
ROLLBACK;

-- no credentials: said before anything is sent
SELECT * FROM contratos_run('2026-11-19');

-- nothing of all this is in the ledger
SELECT count(*) FROM contratos_runs;

-- EXPLAIN needs neither network nor credentials
EXPLAIN (VERBOSE, COSTS OFF)
SELECT address, total_supply FROM bigquery_tokens
WHERE block_timestamp >= '2026-11-19 00:00+00' AND block_timestamp < '2026-11-20 00:00+00' AND symbol = 'DAI';
EXPLAIN (VERBOSE, COSTS OFF)
SELECT count(*) FROM bigquery_tokens WHERE '2026-11-19 00:00+00' <= block_timestamp AND block_timestamp <> 'infinity';
PREPARE by_day(timestamptz) AS SELECT address FROM bigquery_tokens WHERE block_timestamp = $1;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE by_day('2026-11-19');
RESET plan_cache_mode;
DEALLOCATE by_day;
-- a whole table is seldom meant
SET contratos.endpoint = 'http://127.0.0.1:1';
SET contratos.request_timeout = '100ms';
SELECT count(*) FROM bigquery_tokens;
SELECT count(*) FROM bigquery_tokens WHERE block_number > 1;
RESET contratos.endpoint;
RESET contratos.request_timeout;
EXPLAIN (COSTS OFF) SELECT count(*) FROM bigquery_tokens WHERE block_number > 1;
INSERT INTO bigquery_tokens (address) VALUES ('0x');
DELETE FROM bigquery_tokens;

SELECT component FROM contratos_version();

DROP SCHEMA contratos_arguments CASCADE;
