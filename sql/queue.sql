-- Days that are left to the worker.  No worker is needed: what is tested here
-- is what calls write, refuse and say.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS contratos CASCADE;
CREATE SCHEMA contratos_queue;
CREATE EXTENSION contratos SCHEMA contratos_queue;
SET search_path = contratos_queue, public;
SET contratos.now = '2026-11-20 00:30:00+00';

-- nobody has set anything up yet
SELECT contratos_enqueue('2026-11-19', '2026-11-19');
SELECT contratos_setup();
CREATE VIEW runs AS
	SELECT row_number() OVER (ORDER BY id) AS nr, source, day, cause, status, attempt,
		   started_at IS NOT NULL AS started, finished_at IS NOT NULL AS finished, next_attempt_at IS NOT NULL AS again
	FROM contratos_runs;
CREATE FUNCTION cancel(which date) RETURNS SETOF boolean LANGUAGE sql AS
	'SELECT contratos_queue.contratos_cancel(id) FROM contratos_queue.contratos_runs WHERE day = which ORDER BY id';

-- days in order, each once
SELECT contratos_enqueue('2026-11-10', '2026-11-12');
SELECT contratos_enqueue('2026-11-08', '2026-11-13');
SELECT contratos_enqueue('2026-11-08', '2026-11-13', 'tokens', false);
SELECT contratos_enqueue('2026-11-19', '2026-11-19');
SELECT * FROM runs ORDER BY nr;
INSERT INTO contratos_runs (source, day, cause, status) VALUES ('tokens', '2026-11-10', 'schedule', 'running');

-- the same days of another source are other days
CREATE TABLE other_tokens (LIKE tokens);
INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
VALUES ('other', 'bigquery_tokens', 'other_tokens', 'block_timestamp');
SELECT contratos_enqueue('2026-11-10', '2026-11-12', 'other');
SELECT contratos_enqueue(source => 'other', last => '2026-11-13', first => '2026-11-12', only_missing => false);

-- only_missing leaves out what has a success, and nothing else
TRUNCATE contratos_runs;
INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded) VALUES
	('tokens', '2026-11-01', 'backfill', 'succeeded', '2026-11-02 08:00+00', '2026-11-02 08:01+00', 0),
	('tokens', '2026-11-02', 'backfill', 'failed', '2026-11-03 08:00+00', '2026-11-03 08:01+00', NULL),
	('other', '2026-11-03', 'backfill', 'succeeded', '2026-11-04 08:00+00', '2026-11-04 08:01+00', 1),
	('tokens', '2026-11-04', 'schedule', 'waiting', '2026-11-05 08:00+00', NULL, NULL),
	('tokens', '2026-11-05', 'schedule', 'running', '2026-11-06 08:00+00', NULL, NULL),
	('tokens', '2026-11-06', 'schedule', 'succeeded', '2026-11-07 08:00+00', '2026-11-07 08:01+00', 1),
	('tokens', '2026-11-06', 'recheck', 'failed', '2026-11-08 08:00+00', '2026-11-08 08:01+00', NULL);
SELECT contratos_enqueue('2026-11-01', '2026-11-06');
SELECT day FROM runs WHERE status = 'queued' ORDER BY nr;
SELECT contratos_enqueue('2026-11-01', '2026-11-06', only_missing => false);
SELECT day FROM runs WHERE status = 'queued' ORDER BY nr;

-- nothing is taken for something when it is NULL
SELECT contratos_enqueue(NULL, '2026-11-19');
SELECT contratos_enqueue('2026-11-19', NULL);
SELECT contratos_enqueue('2026-11-19', '2026-11-19', NULL);
SELECT contratos_enqueue('2026-11-19', '2026-11-19', 'tokens', NULL);
SELECT contratos_cancel(NULL);

-- days that are not over in UTC, or cannot be
SET timezone = 'Pacific/Kiritimati';
SELECT contratos_enqueue('2026-11-19', '2026-11-20');
SELECT contratos_enqueue('2026-11-21', '2026-11-21');
RESET timezone;
SELECT contratos_enqueue('-infinity', '2026-11-19');
SELECT contratos_enqueue('2026-11-19', 'infinity');
SELECT contratos_enqueue('0001-01-01 BC', '2026-11-19');
SELECT contratos_enqueue('2026-11-19', '2026-11-18');
SELECT contratos_enqueue('1926-08-30', '2026-11-19');
SELECT contratos_enqueue('2026-11-19', '2026-11-19', 'nobody');
SELECT contratos_enqueue('2026-11-19', '2026-11-19', 'TOKENS');
BEGIN;
UPDATE contratos_sources SET timestamp_column = NULL, snapshot = true WHERE name = 'other';
SELECT contratos_enqueue('2026-11-19', '2026-11-19', 'other');
SELECT contratos_enqueue('2026-11-18', '2026-11-19', 'other');
ROLLBACK;
BEGIN READ ONLY;
SELECT contratos_enqueue('2026-11-19', '2026-11-19');
ROLLBACK;
BEGIN READ ONLY;
SELECT contratos_cancel(1);
ROLLBACK;

-- a day may be queued before the source's start_date, and while it is disabled
UPDATE contratos_sources SET enabled = false WHERE name = 'other';
SELECT contratos_enqueue('2015-07-30', '2015-07-31', 'other');

-- what is rolled back has not been queued
BEGIN;
SELECT contratos_enqueue('2026-11-19', '2026-11-19');
ROLLBACK;
SELECT count(*) FROM runs WHERE day = '2026-11-19';

-- canceling: what is open or to be tried again, once
TRUNCATE contratos_runs;
INSERT INTO contratos_runs (source, day, cause, status, attempt, started_at, finished_at, rows_loaded, next_attempt_at) VALUES
	('tokens', '2026-11-01', 'queue', 'queued', 0, NULL, NULL, NULL, NULL),
	('tokens', '2026-11-02', 'schedule', 'waiting', 1, '2026-11-03 08:00+00', NULL, NULL, '2026-11-03 08:15+00'),
	('tokens', '2026-11-03', 'schedule', 'running', 2, '2026-11-04 08:00+00', NULL, NULL, NULL),
	('tokens', '2026-11-04', 'schedule', 'succeeded', 1, '2026-11-05 08:00+00', '2026-11-05 08:01+00', 1, NULL),
	('tokens', '2026-11-05', 'schedule', 'failed', 1, '2026-11-06 08:00+00', '2026-11-06 08:01+00', NULL, '2026-11-06 08:02+00'),
	-- the clock has been set back since
	('tokens', '2026-11-06', 'schedule', 'running', 1, '2999-01-01 00:00+00', NULL, NULL, NULL);
SELECT cancel(day) FROM runs ORDER BY day;
SELECT cancel(day) FROM runs ORDER BY day;
SELECT contratos_cancel(0), contratos_cancel(-1), contratos_cancel(9223372036854775807);
SELECT * FROM runs ORDER BY nr;
SELECT started_at, finished_at FROM contratos_runs WHERE day = '2026-11-06';
-- and may be queued again
SELECT contratos_enqueue('2026-11-01', '2026-11-05');
-- in a subtransaction that is rolled back, nothing has been canceled
BEGIN;
SAVEPOINT s;
SELECT cancel('2026-11-05');
ROLLBACK TO s;
COMMIT;
SELECT status FROM runs WHERE day = '2026-11-05' ORDER BY nr;

-- both are for whom they are granted to, and need no right on the ledger
CREATE ROLE regress_contratos_queue;
GRANT USAGE ON SCHEMA contratos_queue TO regress_contratos_queue;
SET ROLE regress_contratos_queue;
SELECT contratos_enqueue('2026-11-19', '2026-11-19');
SELECT contratos_cancel(1);
RESET ROLE;
GRANT EXECUTE ON FUNCTION contratos_enqueue(date, date, text, boolean), contratos_cancel(bigint) TO regress_contratos_queue;
TRUNCATE contratos_runs RESTART IDENTITY;
SET ROLE regress_contratos_queue;
SELECT contratos_enqueue('2026-11-19', '2026-11-19');
SELECT contratos_cancel(1);
SELECT * FROM contratos_runs;
-- the triggers' functions are for the triggers
SELECT _contratos_sources_changed();
RESET ROLE;
CREATE TABLE another (name text);
CREATE TRIGGER t AFTER INSERT ON another EXECUTE FUNCTION _contratos_sources_changed();
INSERT INTO another VALUES ('x');
DROP TABLE another;
SELECT count(*) FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE p.pronamespace = 'contratos_queue'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;

DROP OWNED BY regress_contratos_queue;
DROP ROLE regress_contratos_queue;
DROP SCHEMA contratos_queue CASCADE;
