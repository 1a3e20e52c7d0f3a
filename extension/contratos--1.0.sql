/* extension/contratos--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION contratos" to load this file. \quit

-- Nothing here may be found in a schema that somebody else can write to, and
-- CREATE EXTENSION puts the extension's own schema first: an operator or function
-- there that fits better than PostgreSQL's would be bound into a constraint or a
-- view, and run as whoever uses that.  So only pg_catalog is searched, and what is
-- ours is named by its schema.  The same holds for update scripts.
SET LOCAL search_path = pg_catalog, pg_temp;

-- What begins with contratos_ is for users; what nobody should call begins with
-- _contratos_, so that psql does not offer it.

-- ---------------------------------------------------------------------------
-- The foreign-data wrapper
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@._contratos_fdw_handler() RETURNS fdw_handler
AS 'MODULE_PATHNAME', 'contratos_fdw_handler'
LANGUAGE C STRICT;
COMMENT ON FUNCTION @extschema@._contratos_fdw_handler() IS
'internal: what PostgreSQL asks when a foreign table of BigQuery is queried; not to be called';

CREATE FUNCTION @extschema@._contratos_fdw_validator(options text[], catalog oid) RETURNS void
AS 'MODULE_PATHNAME', 'contratos_fdw_validator'
LANGUAGE C STRICT;
COMMENT ON FUNCTION @extschema@._contratos_fdw_validator(text[], oid) IS
'internal: checks the OPTIONS of servers, user mappings, foreign tables and columns; not to be called';

CREATE FOREIGN DATA WRAPPER contratos
	HANDLER @extschema@._contratos_fdw_handler
	VALIDATOR @extschema@._contratos_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER contratos IS
'reads BigQuery tables: CREATE SERVER ... FOREIGN DATA WRAPPER contratos, then IMPORT FOREIGN SCHEMA';

-- ---------------------------------------------------------------------------
-- Private tables.  They are empty here and only ever hold what users put in:
-- a row put in by this script would come twice in a restored dump.
-- ---------------------------------------------------------------------------

CREATE TABLE @extschema@.contratos_sources (
	name text PRIMARY KEY,
	remote_table text NOT NULL,
	target_table text NOT NULL,
	timestamp_column text,
	snapshot boolean NOT NULL DEFAULT false,
	start_date date NOT NULL,
	run_at time NOT NULL DEFAULT '08:00',
	enabled boolean NOT NULL DEFAULT true,
	catchup_days integer NOT NULL DEFAULT 31,
	recheck_days integer NOT NULL DEFAULT 7,
	late_checks boolean NOT NULL DEFAULT false,
	ready_timeout interval NOT NULL DEFAULT '12 hours',
	ready_interval interval NOT NULL DEFAULT '15 minutes',
	max_shrink double precision NOT NULL DEFAULT 0.1,
	allow_empty boolean NOT NULL DEFAULT false,
	after_load text,
	on_failure text,
	registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	CONSTRAINT contratos_sources_name_check CHECK (name ~ '^[a-z_][a-z0-9_]*$' AND length(name) <= 63),
	CONSTRAINT contratos_sources_timestamp_column_check CHECK (timestamp_column <> ''),
	CONSTRAINT contratos_sources_snapshot_check CHECK (timestamp_column IS NULL OR NOT snapshot),
	CONSTRAINT contratos_sources_start_date_check CHECK (isfinite(start_date)),
	CONSTRAINT contratos_sources_run_at_check CHECK (run_at < '24:00'),
	CONSTRAINT contratos_sources_catchup_days_check CHECK (catchup_days BETWEEN 0 AND 3660),
	CONSTRAINT contratos_sources_recheck_days_check CHECK (recheck_days BETWEEN 0 AND 3660),
	CONSTRAINT contratos_sources_ready_timeout_check
		CHECK (ready_timeout BETWEEN '0' AND '30 days'),
	CONSTRAINT contratos_sources_ready_interval_check
		CHECK (ready_interval BETWEEN '1 second' AND '1 day'),
	CONSTRAINT contratos_sources_max_shrink_check CHECK (max_shrink BETWEEN 0 AND 1),
	CONSTRAINT contratos_sources_after_load_check CHECK (after_load <> ''),
	CONSTRAINT contratos_sources_on_failure_check CHECK (on_failure <> '')
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.contratos_sources', '');
COMMENT ON TABLE @extschema@.contratos_sources IS
'what is kept equal to what: a row for each local table mirrored from BigQuery';
COMMENT ON COLUMN @extschema@.contratos_sources.name IS
'the name by which functions and views call it: lower-case letters, digits and _';
COMMENT ON COLUMN @extschema@.contratos_sources.remote_table IS
'the foreign table that stands for the BigQuery table, kept as schema.table';
COMMENT ON COLUMN @extschema@.contratos_sources.target_table IS
'the local table that is filled, kept as schema.table; a load runs as its owner';
COMMENT ON COLUMN @extschema@.contratos_sources.timestamp_column IS
'the column that days are cut by, in UTC; a load of a day replaces the rows of that day; null: see snapshot';
COMMENT ON COLUMN @extschema@.contratos_sources.snapshot IS
'true, and no timestamp_column: each load replaces the whole table; with neither, nothing is loaded';
COMMENT ON COLUMN @extschema@.contratos_sources.start_date IS
'the first UTC day that the worker loads; by default the day before the source was made';
COMMENT ON COLUMN @extschema@.contratos_sources.run_at IS
'the time of day in UTC at which yesterday is loaded';
COMMENT ON COLUMN @extschema@.contratos_sources.enabled IS
'whether the worker loads it; calls of functions work either way';
COMMENT ON COLUMN @extschema@.contratos_sources.catchup_days IS
'how many days back the worker looks for missing days, to load them; 0: none';
COMMENT ON COLUMN @extschema@.contratos_sources.recheck_days IS
'how many days back the worker compares loaded days with BigQuery, once a day; 0: none';
COMMENT ON COLUMN @extschema@.contratos_sources.late_checks IS
'whether days older than recheck_days are rechecked 14, 30 and 60 days after their end: three more queries for each day, each of which costs as much as any other recheck of it';
COMMENT ON COLUMN @extschema@.contratos_sources.ready_timeout IS
'how long the worker waits for a day that is still empty in BigQuery, before it has failed';
COMMENT ON COLUMN @extschema@.contratos_sources.ready_interval IS
'how often the worker tries a day that BigQuery has not, or whose table is locked';
COMMENT ON COLUMN @extschema@.contratos_sources.max_shrink IS
'the part of a day''s rows that may be gone when it is loaded again, 0 to 1; with fewer rows it is refused';
COMMENT ON COLUMN @extschema@.contratos_sources.allow_empty IS
'whether a day that is empty in BigQuery is loaded as such; otherwise it is waited for, or refused';
COMMENT ON COLUMN @extschema@.contratos_sources.after_load IS
'function or procedure (source text, day date), called in each load''s transaction, kept as schema.function; null: none';
COMMENT ON COLUMN @extschema@.contratos_sources.on_failure IS
'function or procedure (source text, day date, error text), called when the worker gives a day up, kept as schema.function; null: none';
COMMENT ON COLUMN @extschema@.contratos_sources.registered_at IS
'when the row was inserted; of two sources with one target only the older one is loaded';

CREATE TABLE @extschema@.contratos_runs (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source text NOT NULL,
	day date NOT NULL,
	cause text NOT NULL,
	status text NOT NULL,
	attempt integer NOT NULL DEFAULT 1,
	started_at timestamptz,
	finished_at timestamptz,
	rows_loaded bigint,
	rows_replaced bigint,
	rows_inserted bigint,
	values_altered bigint,
	bytes_processed bigint,
	bytes_billed bigint,
	pages integer,
	job_id text,
	source_max_timestamp timestamptz,
	target_rows bigint,
	target_max_timestamp timestamptz,
	fingerprint text,
	confirmed_at timestamptz,
	next_attempt_at timestamptz,
	sqlstate text,
	reason text,
	error text,
	accepted_by text,
	why text,
	unreported boolean NOT NULL DEFAULT false,
	only_cost boolean NOT NULL DEFAULT false,
	first_day date,
	CONSTRAINT contratos_runs_day_check CHECK (isfinite(day)),
	CONSTRAINT contratos_runs_cause_check
		CHECK (cause IN ('schedule', 'catchup', 'recheck', 'reload', 'queue', 'manual', 'backfill', 'verify')),
	CONSTRAINT contratos_runs_status_check
		CHECK (status IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'refused',
						  'interrupted', 'canceled', 'unchanged', 'differs', 'accepted')),
	CONSTRAINT contratos_runs_attempt_check CHECK (attempt >= 0),
	CONSTRAINT contratos_runs_counts_check
		CHECK (rows_loaded >= 0 AND rows_replaced >= 0 AND rows_inserted >= 0 AND values_altered >= 0
			   AND bytes_processed >= 0 AND bytes_billed >= 0 AND pages >= 0 AND target_rows >= 0),
	CONSTRAINT contratos_runs_times_check CHECK (finished_at >= started_at),
	CONSTRAINT contratos_runs_sqlstate_check CHECK (sqlstate ~ '^[0-9A-Z]{5}$'),
	CONSTRAINT contratos_runs_succeeded_check
		CHECK (status <> 'succeeded' OR (rows_loaded IS NOT NULL AND finished_at IS NOT NULL)),
	CONSTRAINT contratos_runs_accepted_check CHECK ((status = 'accepted') = (accepted_by IS NOT NULL))
);
CREATE UNIQUE INDEX contratos_runs_open_idx ON @extschema@.contratos_runs (source, day)
	WHERE status IN ('queued', 'running', 'waiting');
CREATE INDEX contratos_runs_source_day_idx ON @extschema@.contratos_runs (source, day, id);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.contratos_runs', '');
SELECT pg_catalog.pg_extension_config_dump(
	pg_catalog.pg_get_serial_sequence('@extschema@.contratos_runs', 'id')::pg_catalog.regclass, '');
COMMENT ON SEQUENCE @extschema@.contratos_runs_id_seq IS 'numbers of runs: contratos_runs.id';
COMMENT ON TABLE @extschema@.contratos_runs IS
'the ledger: a row for each attempt to load or recheck a day';
COMMENT ON COLUMN @extschema@.contratos_runs.id IS 'number of the attempt; contratos_cancel() takes it';
COMMENT ON COLUMN @extschema@.contratos_runs.source IS 'the source: a name in contratos_sources';
COMMENT ON COLUMN @extschema@.contratos_runs.day IS 'the UTC day';
COMMENT ON COLUMN @extschema@.contratos_runs.cause IS
'why: schedule, catchup, recheck, reload (a recheck has found a difference) or queue (contratos_enqueue), by the worker; manual (contratos_run, contratos_accept), backfill or verify, by a call';
COMMENT ON COLUMN @extschema@.contratos_runs.status IS
'queued; running; waiting for rows; succeeded; failed; refused by the guard; interrupted by a crash or shutdown; canceled; of rechecks and comparisons unchanged or differs; accepted by contratos_accept';
COMMENT ON COLUMN @extschema@.contratos_runs.attempt IS 'which attempt at the day this was, from 1; 0: none, it is queued, only_cost, or the bytes of the day were used up';
COMMENT ON COLUMN @extschema@.contratos_runs.started_at IS 'when it began';
COMMENT ON COLUMN @extschema@.contratos_runs.finished_at IS 'when it ended, well or not';
COMMENT ON COLUMN @extschema@.contratos_runs.rows_loaded IS 'rows received from BigQuery';
COMMENT ON COLUMN @extschema@.contratos_runs.rows_replaced IS 'rows of the day that the target had, and that were deleted';
COMMENT ON COLUMN @extschema@.contratos_runs.rows_inserted IS
'rows the target took; fewer than rows_loaded only where its triggers or rules said so';
COMMENT ON COLUMN @extschema@.contratos_runs.values_altered IS
'values that could not be kept as they were: how many; contratos_rejects has the first 1,000';
COMMENT ON COLUMN @extschema@.contratos_runs.bytes_processed IS 'bytes that BigQuery read for the query';
COMMENT ON COLUMN @extschema@.contratos_runs.bytes_billed IS
'bytes that BigQuery bills: as it says, or else by its rule (whole MB, 10 MB at least, 0 for a cached result); where bytes_processed is null they are not known, and this is the byte cap';
COMMENT ON COLUMN @extschema@.contratos_runs.pages IS 'pages of rows fetched';
COMMENT ON COLUMN @extschema@.contratos_runs.job_id IS 'id of the BigQuery job, in the project that is billed';
COMMENT ON COLUMN @extschema@.contratos_runs.source_max_timestamp IS 'latest value of the timestamp column received from BigQuery';
COMMENT ON COLUMN @extschema@.contratos_runs.target_rows IS 'rows of the day in the target at the end of the load';
COMMENT ON COLUMN @extschema@.contratos_runs.target_max_timestamp IS
'latest value of the timestamp column of the day in the target at the end of the load';
COMMENT ON COLUMN @extschema@.contratos_runs.fingerprint IS 'a short text that is the same for the same rows, in whatever order; BigQuery can compute it, too';
COMMENT ON COLUMN @extschema@.contratos_runs.confirmed_at IS
'when it was confirmed: by a recheck, 24 hours or more after the day''s end, or at once if the load began as late as that; null: the day is provisional';
COMMENT ON COLUMN @extschema@.contratos_runs.next_attempt_at IS 'when the worker tries again; null: not by itself';
COMMENT ON COLUMN @extschema@.contratos_runs.sqlstate IS 'the error''s SQLSTATE; docs/errors.md has them';
COMMENT ON COLUMN @extschema@.contratos_runs.reason IS
'BigQuery''s word for the error, such as accessDenied; unreachable: the server did not answer, or only that it is not available (HTTP status 502 to 504 without a reason); schemaDrift: the column error tells which columns are new there, or changed';
COMMENT ON COLUMN @extschema@.contratos_runs.error IS
'the error, in words; of a recheck that ended well, what has become of the columns there';
COMMENT ON COLUMN @extschema@.contratos_runs.accepted_by IS 'of an accepted day: the session''s role';
COMMENT ON COLUMN @extschema@.contratos_runs.why IS 'of an accepted day: the reason given';
COMMENT ON COLUMN @extschema@.contratos_runs.unreported IS
'true: on_failure is still to be called for it';
COMMENT ON COLUMN @extschema@.contratos_runs.only_cost IS
'true: no attempt at the day, the row only has what BigQuery bills: of a comparison by contratos_verify, or of a call that was canceled, failed or was rolled back';
COMMENT ON COLUMN @extschema@.contratos_runs.first_day IS
'of a comparison of several days: the first of them, day being the last';

-- No foreign key on `run`: pg_restore -j fills an extension's tables in any
-- order, and would now and then fail on it.
CREATE TABLE @extschema@.contratos_rejects (
	run bigint NOT NULL,
	row_number bigint NOT NULL,
	column_name text NOT NULL,
	raw_value text,
	reason text NOT NULL,
	CONSTRAINT contratos_rejects_row_number_check CHECK (row_number > 0)
);
CREATE INDEX contratos_rejects_run_idx ON @extschema@.contratos_rejects (run);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.contratos_rejects', '');
-- A publication of all tables would refuse to delete old rejects otherwise.  No
-- primary key: one cell of an ARRAY may give several rejects.
ALTER TABLE @extschema@.contratos_rejects REPLICA IDENTITY FULL;
COMMENT ON TABLE @extschema@.contratos_rejects IS
'values of a load that could not be kept as they were: the first 1,000 of a run';
COMMENT ON COLUMN @extschema@.contratos_rejects.run IS 'number of the load: contratos_runs.id';
COMMENT ON COLUMN @extschema@.contratos_rejects.row_number IS 'which of the rows received, from 1';
COMMENT ON COLUMN @extschema@.contratos_rejects.column_name IS 'its column in the foreign table';
COMMENT ON COLUMN @extschema@.contratos_rejects.raw_value IS
'the value as BigQuery sent it, cut at 8 kB; U+0000 shown as U+FFFD';
COMMENT ON COLUMN @extschema@.contratos_rejects.reason IS 'why the column could not hold it';

-- What the worker could not do besides loading, a row for each step that has failed
-- and not been done since.  Not dumped: it is about this server.
CREATE TABLE @extschema@._contratos_housekeeping (
	step text PRIMARY KEY,
	sqlstate text NOT NULL,
	error text NOT NULL,
	failed_at timestamptz NOT NULL
);
COMMENT ON TABLE @extschema@._contratos_housekeeping IS
'internal: what contratos_status and contratos_check tell of the worker''s troubles';

-- Names are kept as schema.table, so that they mean the same whatever the
-- search_path, and as text, so that a restore brings back names, not numbers.
CREATE FUNCTION @extschema@._contratos_sources_normalize() RETURNS trigger
AS 'MODULE_PATHNAME', 'contratos_sources_normalize'
LANGUAGE C;
COMMENT ON FUNCTION @extschema@._contratos_sources_normalize() IS
'internal: the trigger contratos_sources_normalize; not to be called';
CREATE TRIGGER contratos_sources_normalize
	BEFORE INSERT OR UPDATE ON @extschema@.contratos_sources
	FOR EACH ROW EXECUTE FUNCTION @extschema@._contratos_sources_normalize();

-- What is registered is held against the tables it names.  Errors: 23505 the target
-- is another source's.  Everything else is a WARNING or a NOTICE, as the tables may
-- still change, and nothing but the row itself is needed to restore a dump: columns
-- that do not fit or that a load does not fill, rows that are in the target already.
CREATE FUNCTION @extschema@._contratos_sources_registered() RETURNS trigger
AS 'MODULE_PATHNAME', 'contratos_sources_registered'
LANGUAGE C;
COMMENT ON FUNCTION @extschema@._contratos_sources_registered() IS
'internal: the trigger contratos_sources_registered; not to be called';
CREATE TRIGGER contratos_sources_registered
	AFTER INSERT OR UPDATE OF remote_table, target_table, timestamp_column, snapshot ON @extschema@.contratos_sources
	FOR EACH ROW EXECUTE FUNCTION @extschema@._contratos_sources_registered();

-- The worker sleeps until something is due; what is due has changed.
CREATE FUNCTION @extschema@._contratos_sources_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'contratos_sources_changed'
LANGUAGE C;
COMMENT ON FUNCTION @extschema@._contratos_sources_changed() IS
'internal: the trigger contratos_sources_changed; not to be called';
CREATE TRIGGER contratos_sources_changed
	AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.contratos_sources
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@._contratos_sources_changed();

-- ---------------------------------------------------------------------------
-- What users call
-- ---------------------------------------------------------------------------

-- The last complete day, in UTC.
CREATE FUNCTION @extschema@.contratos_yesterday() RETURNS date
AS 'MODULE_PATHNAME', 'contratos_yesterday'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.contratos_yesterday() IS
'yesterday in UTC: the last complete day, and the default of contratos_run()';

ALTER TABLE @extschema@.contratos_sources ALTER COLUMN start_date SET DEFAULT @extschema@.contratos_yesterday();

-- No arguments; nothing comes back.  42501 when the caller lacks a right
-- (the message says which), 42804 when an existing table `tokens` does not fit.
CREATE FUNCTION @extschema@.contratos_setup() RETURNS void
AS 'MODULE_PATHNAME', 'contratos_setup'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.contratos_setup() IS
'makes what is missing of the built-in source: server bigquery, foreign table bigquery_tokens, table tokens, source tokens';

-- One complete UTC day, now, in this transaction; an error is an error.
-- day: before today in UTC; source: a name in contratos_sources; allow_shrink:
-- load the day even when it has far fewer rows than it had last time; allow_empty:
-- even when BigQuery has no rows of it (with allow_shrink where it had some).
-- Errors: 22023 or 22004 a bad argument, 42704 unknown source, 25000 isolation
-- level, 55000 refused by the guard, 54000 over the byte cap, 28000 key or
-- token, 08001 and 08006 not reached, 42P01 and 42703 what is not there.
CREATE FUNCTION @extschema@.contratos_run(
	day date DEFAULT @extschema@.contratos_yesterday(),
	source text DEFAULT 'tokens',
	allow_shrink boolean DEFAULT false,
	allow_empty boolean DEFAULT false)
RETURNS TABLE (day date, status text, rows_loaded bigint, rows_replaced bigint, message text, run bigint)
AS 'MODULE_PATHNAME', 'contratos_run'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.contratos_run(date, text, boolean, boolean) IS
'loads one complete UTC day now (default: yesterday), in this transaction: the target''s rows of that day are replaced; allow_shrink: even by far fewer; allow_empty: even by none';

-- The last `days` complete days, oldest first, each in a subtransaction: a bad
-- day is a row `failed`, not an error.  days: 1 to 3660; only_missing: skip
-- days that have a success.  Errors as above, when nothing has succeeded yet
-- and every day would fail alike.
CREATE FUNCTION @extschema@.contratos_backfill(
	days integer,
	source text DEFAULT 'tokens',
	only_missing boolean DEFAULT false,
	allow_shrink boolean DEFAULT false,
	allow_empty boolean DEFAULT false)
RETURNS TABLE (day date, status text, rows_loaded bigint, rows_replaced bigint, message text, run bigint)
AS 'MODULE_PATHNAME', 'contratos_backfill'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 7;
COMMENT ON FUNCTION @extschema@.contratos_backfill(integer, text, boolean, boolean, boolean) IS
'loads the last complete UTC days (contratos_backfill(7): a week), oldest first; a row a day tells how it went; only_missing: only days without a success; allow_shrink: even by far fewer rows; allow_empty: days without rows, too';

-- The same for any days: first and last included, both before today in UTC.
CREATE FUNCTION @extschema@.contratos_backfill_range(
	first date,
	last date,
	source text DEFAULT 'tokens',
	only_missing boolean DEFAULT false,
	allow_shrink boolean DEFAULT false,
	allow_empty boolean DEFAULT false)
RETURNS TABLE (day date, status text, rows_loaded bigint, rows_replaced bigint, message text, run bigint)
AS 'MODULE_PATHNAME', 'contratos_backfill_range'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 7;
COMMENT ON FUNCTION @extschema@.contratos_backfill_range(date, date, text, boolean, boolean, boolean) IS
'loads the UTC days from first to last, both included, oldest first; a row a day tells how it went; only_missing: only days without a success; allow_shrink: even by far fewer rows; allow_empty: days without rows, too';

-- As contratos_backfill_range(), but each day is committed: the days that are
-- loaded stay when the call is canceled.  Each day claims and resolves the source anew; a day
-- that another session has loaded meanwhile is left out (only_missing).  It commits
-- first what its caller has done.  statement_timeout counts the whole CALL.
-- Errors: 2D000, before BigQuery is asked, in a transaction block, a function or a
-- subtransaction; 55000 when every day that is not empty has failed; otherwise those
-- of contratos_backfill_range(), and the days loaded before stay.
CREATE PROCEDURE @extschema@.contratos_load(
	first date,
	last date,
	source text DEFAULT 'tokens',
	only_missing boolean DEFAULT true)
AS 'MODULE_PATHNAME', 'contratos_load'
LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.contratos_load(date, date, text, boolean) IS
'loads the UTC days from first to last, both included, oldest first, and commits each, so that loaded days stay when it is canceled; only_missing: only days without a success';

-- What loads of the days from first to last, both before today in UTC, would
-- cost, a row a day: the bytes BigQuery would process and bill (whole MB, 10 MB
-- at least) and their price, to eight places, at price_per_tib (0 to 1e9, in
-- whatever currency; the default is the list price of the US in dollars).  A load
-- of a clustered table may be billed less.  Dry runs of the loads' own
-- queries: free, nothing is read or written; a NOTICE tells of a day that the
-- byte cap would refuse.  Where BigQuery hides the bytes (row access policies) they
-- and the price are null, and a NOTICE says so.  The sum: SELECT sum(price) FROM contratos_estimate(...).
-- Errors: those of contratos_backfill_range() up to BigQuery's answer.
CREATE FUNCTION @extschema@.contratos_estimate(
	first date,
	last date,
	source text DEFAULT 'tokens',
	price_per_tib double precision DEFAULT 6.25)
RETURNS TABLE (day date, bytes_processed bigint, bytes_billed bigint, price numeric)
AS 'MODULE_PATHNAME', 'contratos_estimate'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 7;
COMMENT ON FUNCTION @extschema@.contratos_estimate(date, date, text, double precision) IS
'what loads of the UTC days from first to last would cost: bytes, and their price at price_per_tib; asking is free';

-- A source for another BigQuery table in one call: foreign table imported, target
-- made with its index, source registered; nothing is loaded before it is enabled or
-- run.  A row with the names and the estimate of a load of yesterday.
-- remote: 'project.dataset.table'; target: 'schema.table', by default the table in
-- lower case in the current schema; the foreign table is bigquery_<target>, in the
-- same schema; timestamp_column: by default the column that BigQuery partitions by;
-- snapshot: no days, the whole table is replaced; name: by default the target's.
-- Needs CREATE on the schema and USAGE on the server; both tables are the caller's.
-- Errors: 42710 a name is taken, 22023 the column for days is not known, 42501 a
-- privilege is missing, 42704 no such server, and those of IMPORT FOREIGN SCHEMA.
CREATE FUNCTION @extschema@.contratos_mirror(
	remote text,
	target text DEFAULT NULL,
	timestamp_column text DEFAULT NULL,
	snapshot boolean DEFAULT false,
	enabled boolean DEFAULT false,
	server text DEFAULT 'bigquery',
	name text DEFAULT NULL)
RETURNS TABLE (source text, remote_table text, target_table text, timestamp_column text, bytes_billed bigint, price numeric)
AS 'MODULE_PATHNAME', 'contratos_mirror'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.contratos_mirror(text, text, text, boolean, boolean, text, text) IS
'makes a source for a BigQuery table: foreign table, target with its index, row of contratos_sources; loads nothing; tells what a day would cost';

-- Leaves the days from first to last, both before today in UTC, to the worker;
-- returns how many were queued newly.  Days that are queued, waiting or running
-- are left out, and with only_missing those that have a success.  The worker
-- takes them in the order they were queued in, each in a transaction of its
-- own; it is woken when this transaction commits.  At most 36,600 days a call.
-- Errors: 22023 or 22004 a bad argument, 42704 unknown source.
CREATE FUNCTION @extschema@.contratos_enqueue(
	first date,
	last date,
	source text DEFAULT 'tokens',
	only_missing boolean DEFAULT true)
RETURNS integer
AS 'MODULE_PATHNAME', 'contratos_enqueue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.contratos_enqueue(date, date, text, boolean) IS
'leaves the UTC days from first to last to the worker; returns how many days were queued newly; only_missing: only days without a success';

-- run: contratos_runs.id.  What is queued, waiting or to be tried again (it has a
-- next_attempt_at) is taken off; what the worker is loading is stopped, and its BigQuery job canceled, once this
-- transaction commits.  The row becomes `canceled` either way.  False when the
-- run is over, or there is none of that number.  Error: 22004 run is null.
CREATE FUNCTION @extschema@.contratos_cancel(run bigint) RETURNS boolean
AS 'MODULE_PATHNAME', 'contratos_cancel'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.contratos_cancel(bigint) IS
'takes a day off that is queued or to be tried again, or stops the one that the worker is loading; run: contratos_runs.id; false when it is over already';

-- day: a UTC day that is over.  why: for the ledger; null: no reason is given.
-- The day is to stay as it is in the target, with rows or without: the worker does
-- not load it any more, and its next recheck stores what BigQuery has then as the
-- baseline of later ones.  Waits for a load of the source that is running.  Returns
-- the number of the ledger's row.  Errors: 22004 an argument other than why is
-- null; 22023 the day is not over, or out of range; 42704 no such source; 25000 in
-- REPEATABLE READ or SERIALIZABLE; 25006 in a read-only transaction; 55000 the day
-- is loaded, and nothing is wrong with it; and those of a SELECT from the target.
CREATE FUNCTION @extschema@.contratos_accept(day date, source text DEFAULT 'tokens', why text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'contratos_accept'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.contratos_accept(date, text, text) IS
'accepts a refused, failed, differing or empty day as it is in the target; returns the number of the row in contratos_runs';

-- A row each for extension (in this database), library (loaded in this session),
-- libcurl, OpenSSL and jansson.  A WARNING when extension and library differ,
-- with what to do; the worker loads nothing then.
CREATE FUNCTION @extschema@.contratos_version()
RETURNS TABLE (component text, version text)
AS 'MODULE_PATHNAME', 'contratos_version'
LANGUAGE C STABLE PARALLEL SAFE ROWS 5;
COMMENT ON FUNCTION @extschema@.contratos_version() IS
'versions of extension, library, libcurl, OpenSSL and jansson; warns when extension and library differ';

-- ---------------------------------------------------------------------------
-- How it stands, for people.  The views read the private tables with their
-- owner's rights, and write nothing: they work on a standby and in a read-only
-- transaction.  Members of pg_monitor may read them.  `error` holds the message of
-- an error and not its detail, which may quote a row's values: that is in
-- contratos_runs, for those who may read it.
-- ---------------------------------------------------------------------------

-- What the worker would do next for a source, by its own rules, and when:
-- contratos.now if it is due already; nulls when the source is disabled or
-- unknown, or nothing is ever due, or the caller may not read contratos_status.  A
-- view's functions are called with the rights of whoever reads it, so that this one
-- is executable by all.
CREATE FUNCTION @extschema@._contratos_next(source text, OUT next_wake timestamptz, OUT next_day date)
AS 'MODULE_PATHNAME', 'contratos_next'
LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@._contratos_next(text) IS
'internal: for contratos_status: what the worker does next for a source';

-- The process id of this database's worker; null: none, or the caller may not read
-- contratos_status.
CREATE FUNCTION @extschema@._contratos_worker() RETURNS integer
AS 'MODULE_PATHNAME', 'contratos_worker'
LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@._contratos_worker() IS
'internal: for contratos_status: process id of the worker of this database';

-- Each day with the runs that decide: its last load and its last check, which are
-- never mixed (cause `recheck`: a check).  As for the worker, the number of a run
-- and not its times tells what came later, and a loaded day that was taken off the
-- queue before it began stays what it was.  docs/reference.md has each state and
-- what changes it.
CREATE VIEW @extschema@._contratos_days AS
SELECT d.source, d.day,
	CASE
		WHEN decides.open THEN latest.status
		WHEN latest.status = 'refused' AND decides.fails AND success.status IS DISTINCT FROM 'accepted' THEN 'refused'
		-- rows that stand, and that no check has found wrong, are what the day is
		WHEN latest.status IN ('failed', 'interrupted') AND decides.fails AND latest.next_attempt_at IS NULL
			AND (decides.success IS NULL OR decides.differs) THEN 'failed'
		WHEN decides.success IS NULL THEN
			CASE
				WHEN latest.status IN ('failed', 'interrupted') THEN 'waiting'
				WHEN latest.status = 'canceled' THEN 'canceled'
				ELSE 'missing'
			END
		WHEN decides.differs THEN 'differs'
		WHEN success.status = 'accepted' THEN 'accepted'
		WHEN success.confirmed_at IS NOT NULL THEN 'confirmed'
		ELSE 'provisional'
	END AS state,
	CASE WHEN success.status = 'accepted' THEN success.target_rows ELSE success.rows_loaded END AS rows,
	coalesce(decides.attempts, 0) AS attempts,
	CASE WHEN success.status = 'succeeded' THEN success.finished_at END AS last_loaded,
	success.confirmed_at,
	latest.next_attempt_at,
	-- the DETAIL may quote a row of a table that the view's readers may not read; a path
	-- may be that of a key
	regexp_replace(split_part(split_part(latest.error, E'\nDETAIL:  ', 1), E'\nCONTEXT:  ', 1), '"/[^"]*"', '"..."', 'g') AS error,
	checked.finished_at AS checked_at,
	regexp_replace(split_part(split_part(checked.error, E'\nDETAIL:  ', 1), E'\nCONTEXT:  ', 1), '"/[^"]*"', '"..."', 'g') AS check_error,
	latest.id AS run,
	coalesce(latest.finished_at, latest.started_at) AS error_at
FROM (
	SELECT s.name AS source, s.start_date + i AS day
	FROM @extschema@.contratos_sources s, generate_series(0, @extschema@.contratos_yesterday() - s.start_date) i
	WHERE s.timestamp_column IS NOT NULL
	UNION
	SELECT s.name, r.day
	FROM @extschema@.contratos_sources s JOIN @extschema@.contratos_runs r ON r.source = s.name
	WHERE s.timestamp_column IS NOT NULL AND (r.day < s.start_date OR r.day > (SELECT @extschema@.contratos_yesterday()))
		AND NOT r.only_cost
	UNION
	-- of a snapshot there is only what was loaded last, and yesterday to be loaded
	SELECT s.name, @extschema@.contratos_yesterday()
	FROM @extschema@.contratos_sources s
	WHERE s.timestamp_column IS NULL AND s.start_date <= @extschema@.contratos_yesterday()
	UNION
	SELECT s.name, newest.day
	FROM @extschema@.contratos_sources s, LATERAL (
		SELECT r.day FROM @extschema@.contratos_runs r
		WHERE r.source = s.name AND r.status IN ('succeeded', 'accepted')
		ORDER BY r.day DESC LIMIT 1) newest
	WHERE s.timestamp_column IS NULL
	UNION
	SELECT s.name, r.day
	FROM @extschema@.contratos_sources s JOIN @extschema@.contratos_runs r ON r.source = s.name
	WHERE s.timestamp_column IS NULL AND r.status IN ('queued', 'running', 'waiting')
) d
LEFT JOIN (
	SELECT source, day, open IS NOT NULL AS open, success, attempts,
		coalesce(differs > good, false) AS differs,
		coalesce(load > coalesce(good, 0), false) AS fails,
		CASE WHEN checked > success THEN checked END AS checked,
		coalesce(open, CASE WHEN success IS NULL THEN greatest(load, taken_off) ELSE load END) AS latest
	FROM (
		SELECT r.source, r.day,
			max(r.id) FILTER (WHERE r.cause <> 'recheck' AND r.status IN ('queued', 'running', 'waiting')) AS open,
			max(r.id) FILTER (WHERE r.status IN ('succeeded', 'accepted')) AS success,
			max(r.id) FILTER (WHERE r.status IN ('succeeded', 'accepted', 'unchanged')) AS good,
			max(r.id) FILTER (WHERE r.status = 'differs') AS differs,
			max(r.id) FILTER (WHERE r.cause <> 'recheck' AND r.status NOT IN ('queued', 'running', 'waiting')
							  AND (r.status <> 'canceled' OR r.started_at IS NOT NULL)) AS load,
			max(r.id) FILTER (WHERE r.status = 'canceled' AND r.started_at IS NULL) AS taken_off,
			max(r.id) FILTER (WHERE r.cause = 'recheck' AND r.status NOT IN ('running', 'waiting')) AS checked,
			(count(*) FILTER (WHERE r.started_at IS NOT NULL AND r.attempt > 0
							  AND r.cause <> 'recheck' AND r.status <> 'accepted'))::integer AS attempts
		FROM @extschema@.contratos_runs r WHERE NOT r.only_cost GROUP BY r.source, r.day) by_day
) decides ON decides.source = d.source AND decides.day = d.day
-- (their sources are the same anyway; but so that one source's are found by it)
LEFT JOIN @extschema@.contratos_runs latest ON latest.id = decides.latest AND latest.source = d.source
LEFT JOIN @extschema@.contratos_runs success ON success.id = decides.success AND success.source = d.source
LEFT JOIN @extschema@.contratos_runs checked ON checked.id = decides.checked AND checked.source = d.source;
COMMENT ON VIEW @extschema@._contratos_days IS
'internal: what contratos_days and contratos_status are made from';
COMMENT ON COLUMN @extschema@._contratos_days.source IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.day IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.state IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.rows IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.attempts IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.last_loaded IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.confirmed_at IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.next_attempt_at IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.error IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.checked_at IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.check_error IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_days.run IS 'the load that decides';
COMMENT ON COLUMN @extschema@._contratos_days.error_at IS 'when it ended, or began';

CREATE VIEW @extschema@.contratos_days AS
SELECT source, day, state, rows, attempts, last_loaded, confirmed_at, next_attempt_at, error, checked_at, check_error
FROM @extschema@._contratos_days;
COMMENT ON VIEW @extschema@.contratos_days IS
'a row for each day of each source, from its start_date (and earlier days that the ledger knows) to yesterday in UTC; of a snapshot: the day it was loaded last, yesterday, and what is queued or running';
COMMENT ON COLUMN @extschema@.contratos_days.source IS 'name in contratos_sources';
COMMENT ON COLUMN @extschema@.contratos_days.day IS 'the UTC day';
COMMENT ON COLUMN @extschema@.contratos_days.state IS
'missing (never loaded), queued, running, waiting (for upstream, or to be tried again), provisional (loaded, not yet confirmed), confirmed, differs (a check found a difference that loading does not cure), failed (its last load failed, and its rows are not in the target or known to be wrong), refused (by the guard; the rows loaded before still stand), accepted, canceled';
COMMENT ON COLUMN @extschema@.contratos_days.rows IS
'rows of its last load, or of an accepted day those that the target had; null: neither';
COMMENT ON COLUMN @extschema@.contratos_days.attempts IS
'loads of it in the ledger that were begun; contratos.history_days limits how far back';
COMMENT ON COLUMN @extschema@.contratos_days.last_loaded IS 'when its last load ended; null: it was not loaded, or accepted since';
COMMENT ON COLUMN @extschema@.contratos_days.confirmed_at IS
'when its last load was found equal to BigQuery a day or more after the day''s end';
COMMENT ON COLUMN @extschema@.contratos_days.next_attempt_at IS 'when the worker tries again a load that has not worked';
COMMENT ON COLUMN @extschema@.contratos_days.error IS
'the message of its latest load: its error, or changes of the columns in BigQuery; contratos_runs.error has the detail as well';
COMMENT ON COLUMN @extschema@.contratos_days.checked_at IS 'when the last recheck of these rows ended, however; null: there was none';
COMMENT ON COLUMN @extschema@.contratos_days.check_error IS
'the difference that this recheck found, or its error; a failed recheck is repeated, and is not a failed day';

-- All figures of a source; contratos_status has those that fit a terminal.
CREATE VIEW @extschema@._contratos_status AS
SELECT s.name AS source, s.enabled,
	(SELECT @extschema@._contratos_worker()) AS worker,
	next.next_wake, next.next_day,
	days.last_success, days.last_day,
	@extschema@.contratos_yesterday() - days.last_day AS lag_days,
	days.running_day,
	coalesce(month.rows, 0) AS rows_this_month,
	coalesce(month.bytes_billed, 0) AS bytes_billed_this_month,
	coalesce(days.missing, 0) AS missing_days,
	coalesce(days.provisional, 0) AS provisional_days,
	coalesce(days.failed, 0) AS failed_days,
	coalesce(days.queued, 0) AS queued_days,
	coalesce(days.waiting, 0) AS waiting_days,
	days.last_error[1] AS last_error,
	days.last_error_at[1] AS last_error_at,
	(SELECT string_agg(format('%s: %s', h.step, split_part(h.error, E'\n', 1)), '; ' ORDER BY h.failed_at)
	 FROM @extschema@._contratos_housekeeping h) AS worker_error
FROM @extschema@.contratos_sources s
LEFT JOIN (
	SELECT d.source,
		max(d.last_loaded) AS last_success,
		max(d.day) FILTER (WHERE d.last_loaded IS NOT NULL OR d.state = 'accepted') AS last_day,
		max(d.day) FILTER (WHERE d.state = 'running') AS running_day,
		(count(*) FILTER (WHERE d.state = 'missing'))::integer AS missing,
		(count(*) FILTER (WHERE d.state = 'provisional'))::integer AS provisional,
		(count(*) FILTER (WHERE d.state IN ('failed', 'refused')))::integer AS failed,
		(count(*) FILTER (WHERE d.state = 'queued'))::integer AS queued,
		(count(*) FILTER (WHERE d.state = 'waiting'))::integer AS waiting,
		array_agg(concat(to_char(d.day, 'YYYY-MM-DD: '), d.error) ORDER BY d.run DESC)
			FILTER (WHERE d.state IN ('failed', 'refused')) AS last_error,
		array_agg(d.error_at ORDER BY d.run DESC) FILTER (WHERE d.state IN ('failed', 'refused')) AS last_error_at
	FROM @extschema@._contratos_days d GROUP BY d.source) days ON days.source = s.name
LEFT JOIN (
	SELECT r.source,
		sum(r.rows_loaded)::bigint AS rows,
		sum(r.bytes_billed)::bigint AS bytes_billed
	FROM @extschema@.contratos_runs r,
		(SELECT date_trunc('month', (@extschema@.contratos_yesterday() + 1)::timestamp) AS first) m
	WHERE coalesce(r.finished_at, r.started_at) >= m.first AT TIME ZONE 'UTC'
		AND coalesce(r.finished_at, r.started_at) < (m.first + interval '1 month') AT TIME ZONE 'UTC'
	GROUP BY r.source) month ON month.source = s.name
LEFT JOIN LATERAL @extschema@._contratos_next(s.name) next ON true;

-- A text in lines of `width` characters at most (1 and more), for columns of views in
-- psql: only line feeds are added.  Executable by all, as are the functions of views.
CREATE FUNCTION @extschema@._contratos_fold(text text, width integer) RETURNS text
AS 'MODULE_PATHNAME', 'contratos_fold_text'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._contratos_fold(text, integer) IS
'internal: for contratos_status and contratos_problems: a text in lines of a width';

-- At most 120 columns in psql with the names of sources that are usual: times to the
-- second, and the error as wide as these and the names let it.
CREATE VIEW @extschema@.contratos_status AS
SELECT source,
	date_trunc('second', last_success) AS last_success,
	date_trunc('second', next_wake) AS next_wake,
	missing_days, failed_days,
	@extschema@._contratos_fold(last_error, greatest(12, 80
		- (SELECT max(length(s.name)) FROM @extschema@.contratos_sources s)
		- 2 * length(date_trunc('second', now())::text))) AS last_error
FROM @extschema@._contratos_status;
COMMENT ON VIEW @extschema@._contratos_status IS
'internal: what contratos_status is made from';
COMMENT ON VIEW @extschema@.contratos_status IS
'a row for each source: how it stands; the days are those of contratos_days';
COMMENT ON COLUMN @extschema@.contratos_status.source IS 'name in contratos_sources';
COMMENT ON COLUMN @extschema@._contratos_status.enabled IS 'whether the worker loads it';
COMMENT ON COLUMN @extschema@._contratos_status.worker IS
'process id of the worker of this database; null: none runs, and nothing is loaded by itself';
COMMENT ON COLUMN @extschema@.contratos_status.next_wake IS
'when the worker next does something for the source, if it runs: now if it is due already, or a day is running; null: disabled, or nothing is ever due';
COMMENT ON COLUMN @extschema@._contratos_status.next_day IS 'which day that is for, a load or a recheck';
COMMENT ON COLUMN @extschema@.contratos_status.last_success IS 'when a load last ended well, to the second';
COMMENT ON COLUMN @extschema@._contratos_status.last_day IS 'newest day that is loaded';
COMMENT ON COLUMN @extschema@._contratos_status.lag_days IS
'days from last_day to yesterday in UTC: 0 when yesterday is there; null: nothing is';
COMMENT ON COLUMN @extschema@._contratos_status.running_day IS
'day that the worker is loading or rechecking; calls show in contratos_progress';
COMMENT ON COLUMN @extschema@._contratos_status.rows_this_month IS
'rows loaded in this UTC month, days that were loaded again included';
COMMENT ON COLUMN @extschema@._contratos_status.bytes_billed_this_month IS
'bytes billed for loads and comparisons that ended in this UTC month, failed ones included';
COMMENT ON COLUMN @extschema@.contratos_status.missing_days IS
'days that are missing; yesterday is one until it is loaded';
COMMENT ON COLUMN @extschema@._contratos_status.provisional_days IS 'days that are loaded and not confirmed yet';
COMMENT ON COLUMN @extschema@.contratos_status.failed_days IS 'days in state failed or refused';
COMMENT ON COLUMN @extschema@._contratos_status.queued_days IS 'days that wait in the queue';
COMMENT ON COLUMN @extschema@._contratos_status.waiting_days IS
'days in state waiting: for upstream, or to be tried again, as when the bytes of the day are used up';
COMMENT ON COLUMN @extschema@.contratos_status.last_error IS
'of the days that are failed or refused now, the one that was tried last: the day and its error''s message, in lines';
COMMENT ON COLUMN @extschema@._contratos_status.last_error IS 'as in contratos_status, in one line';
COMMENT ON COLUMN @extschema@._contratos_status.last_error_at IS
'when that attempt ended';
COMMENT ON COLUMN @extschema@._contratos_status.worker_error IS
'what the worker cannot do besides loading, such as setting up the built-in source or removing old attempts; the same for all sources; null: nothing';
COMMENT ON COLUMN @extschema@._contratos_status.source IS 'as in contratos_status';
COMMENT ON COLUMN @extschema@._contratos_status.last_success IS 'as in contratos_status';
COMMENT ON COLUMN @extschema@._contratos_status.next_wake IS 'as in contratos_status';
COMMENT ON COLUMN @extschema@._contratos_status.missing_days IS 'as in contratos_status';
COMMENT ON COLUMN @extschema@._contratos_status.failed_days IS 'as in contratos_status';

-- The loads' own numbers, in the slots of core's COPY progress that core does
-- not use; src/load/progress.c fills them.
CREATE VIEW @extschema@.contratos_progress AS
SELECT p.pid, s.name AS source, p.day, p.phase, p.rows, p.rows_total,
	CASE WHEN p.rows_total > 0 THEN round(least(100.0 * p.rows / p.rows_total, 100), 1) END AS percent,
	p.pages,
	round(p.bytes / 1e6, 1) AS mb,
	round(p.rows / p.seconds, 1) AS rows_per_second,
	CASE WHEN p.phase = 'receiving' AND p.rows > 0
		-- years at most: what BigQuery says of its rows is not checked here
		THEN clock_timestamp() + least(greatest(p.rows_total - p.rows, 0) * p.seconds / p.rows, 1e8) * interval '1 second'
	END AS eta,
	p.started_at
FROM (
	SELECT i.pid,
		i.param12 AS source_hash,
		date '2000-01-01' + i.param13::integer AS day,
		CASE i.param14 WHEN 1 THEN 'asking' WHEN 2 THEN 'deleting' WHEN 3 THEN 'receiving' ELSE 'finishing' END AS phase,
		i.param3 AS rows,
		CASE WHEN i.param14 > 1 THEN i.param15 END AS rows_total,
		i.param16 AS pages,
		i.param1 AS bytes,
		nullif(greatest(0, CASE
			WHEN i.param19 > 0 THEN (i.param19 - i.param18) / 1e6
			WHEN i.param18 > 0 THEN extract(epoch FROM clock_timestamp()) - extract(epoch FROM timestamptz '2000-01-01 00:00:00+00') - i.param18 / 1e6
		END), 0) AS seconds,
		timestamptz '2000-01-01 00:00:00+00' + i.param17 * interval '1 microsecond' AS started_at
	FROM pg_stat_get_progress_info('COPY') i
	WHERE i.param11 = 427071272050 AND i.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
) p
LEFT JOIN @extschema@.contratos_sources s ON hashtextextended(s.name COLLATE "C", 0) = p.source_hash;
COMMENT ON VIEW @extschema@.contratos_progress IS
'a row for each load that is running in this database, in whichever session (with track_activities on); core''s pg_stat_progress_copy shows its rows and bytes as well';
COMMENT ON COLUMN @extschema@.contratos_progress.pid IS 'process id: the worker''s, or that of the session that called';
COMMENT ON COLUMN @extschema@.contratos_progress.source IS
'name in contratos_sources; null: made in a transaction that is not committed yet, or deleted meanwhile';
COMMENT ON COLUMN @extschema@.contratos_progress.day IS 'the UTC day';
COMMENT ON COLUMN @extschema@.contratos_progress.phase IS
'asking (waiting for BigQuery), deleting (what the target had of the day), receiving, finishing (after_load and what is recorded)';
COMMENT ON COLUMN @extschema@.contratos_progress.rows IS 'rows received so far, told every 256 rows';
COMMENT ON COLUMN @extschema@.contratos_progress.rows_total IS 'rows that BigQuery has promised; null while it is asked';
COMMENT ON COLUMN @extschema@.contratos_progress.percent IS 'rows of rows_total';
COMMENT ON COLUMN @extschema@.contratos_progress.pages IS 'pages begun';
COMMENT ON COLUMN @extschema@.contratos_progress.mb IS 'megabytes received, of the answers as BigQuery writes them (before compression)';
COMMENT ON COLUMN @extschema@.contratos_progress.rows_per_second IS 'since the first page was asked for; sinks while nothing comes';
COMMENT ON COLUMN @extschema@.contratos_progress.eta IS 'when all rows will be there at that rate; null when it cannot be told';
COMMENT ON COLUMN @extschema@.contratos_progress.started_at IS 'when the load of the day began';

GRANT SELECT ON @extschema@.contratos_status, @extschema@.contratos_days, @extschema@.contratos_progress TO pg_monitor;

-- ---------------------------------------------------------------------------
-- What a person should look at now.  No detail of an error, which may quote values of
-- rows, and no path of a file, which may be that of a key.
-- ---------------------------------------------------------------------------

-- The time by which the worker goes: the real one, but in tests.
CREATE FUNCTION @extschema@._contratos_now() RETURNS timestamptz
AS 'MODULE_PATHNAME', 'contratos_now'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._contratos_now() IS
'internal: for contratos_problems: the time by which the worker goes';

-- Whether the launcher has just started a worker that does not serve this database yet,
-- as after each reload of the configuration; false, too, if the caller may not read the
-- view.
CREATE FUNCTION @extschema@._contratos_worker_is_starting() RETURNS boolean
AS 'MODULE_PATHNAME', 'contratos_worker_is_starting'
LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@._contratos_worker_is_starting() IS
'internal: for contratos_problems: whether a worker of this database is being started';

CREATE VIEW @extschema@.contratos_problems AS
WITH here AS (
	SELECT CASE WHEN pg_table_is_visible('@extschema@.contratos_runs'::regclass) THEN '' ELSE '@extschema@.' END AS schema
), days AS (
	SELECT d.source, d.day, d.state, d.is_empty, d.is_empty OR d.rows = 0 AS is_none, d.next_attempt_at,
		split_part(CASE WHEN d.state = 'differs' THEN d.check_error ELSE d.error END, E'\n', 1) AS error,
		d.error LIKE 'daily byte budget of %' AS is_capped, d.check_error LIKE 'daily byte budget of %' AS is_check_capped,
		max(d.day) FILTER (WHERE d.rows > 0) OVER source AS newest,
		-- BigQuery was asked for a day of the last three, and had nothing
		bool_or((d.is_empty OR d.rows = 0) AND d.day > @extschema@.contratos_yesterday() - 3) OVER source AS is_silent
	FROM (SELECT source, day, state, rows, error, check_error, next_attempt_at,
			coalesce(error LIKE 'BigQuery has no rows of %', false) AS is_empty
		FROM @extschema@._contratos_days) d
	WINDOW source AS (PARTITION BY d.source)
), found AS (
	SELECT source, problem, (count(*))::integer AS days,
		to_char(min(day), 'YYYY-MM-DD') AS first, to_char(max(day), 'YYYY-MM-DD') AS last,
		to_char(min(newest), 'YYYY-MM-DD') AS newest,
		(array_agg(error ORDER BY day DESC))[1] AS error
	FROM (
		SELECT d.source, d.day, d.error, d.newest,
			CASE
				WHEN d.is_silent AND d.is_none AND d.day > d.newest AND d.newest < @extschema@.contratos_yesterday() - 2 THEN 'upstream'
				WHEN d.is_check_capped OR d.is_capped AND (d.state IN ('failed', 'waiting') OR d.next_attempt_at > @extschema@._contratos_now()) THEN 'budget'
				WHEN d.is_empty AND d.state IN ('failed', 'refused') THEN 'empty'
				WHEN d.state IN ('failed', 'refused', 'differs') THEN d.state
				WHEN d.state = 'missing' AND d.day <= @extschema@.contratos_yesterday() - greatest(s.catchup_days, 1) THEN 'missing'
				WHEN d.state IN ('missing', 'waiting') AND d.day = @extschema@.contratos_yesterday()
					AND @extschema@._contratos_now() >= (d.day + 1 + s.run_at) AT TIME ZONE 'UTC' + interval '4 hours' THEN 'late'
			END AS problem
		FROM days d JOIN @extschema@.contratos_sources s ON s.name = d.source AND s.enabled) kinds
	WHERE problem IS NOT NULL
	GROUP BY source, problem
), checks AS (
	SELECT DISTINCT ON (r.source) r.id, r.source, r.status, r.error
	FROM @extschema@.contratos_runs r
	JOIN @extschema@.contratos_sources s ON s.name = r.source AND s.enabled
	WHERE r.cause = 'recheck' AND r.finished_at IS NOT NULL
	ORDER BY r.source, r.id DESC
), problems AS (
	SELECT NULL::text AS source, 'worker' AS problem, 0 AS rank,
		'no worker is running in this database' AS found,
		format('SELECT found, hint FROM %scontratos_check() WHERE status <> ''ok'';', here.schema) AS hint
	FROM here
	WHERE EXISTS (SELECT 1 FROM @extschema@.contratos_sources s WHERE s.enabled)
		AND (SELECT NOT @extschema@._contratos_worker_is_starting() AND @extschema@._contratos_worker() IS NULL)
		AND NOT pg_is_in_recovery()
	UNION ALL
	SELECT NULL, 'housekeeping', 1,
		format('%s fails: %s', h.step, regexp_replace(split_part(h.error, E'\n', 1), '"/[^"]*"', '"..."', 'g')),
		format('SELECT found, hint FROM %scontratos_check() WHERE check_name = ''housekeeping'';', here.schema)
	FROM here, @extschema@._contratos_housekeeping h
	UNION ALL
	SELECT f.source, f.problem, 2,
		concat(CASE WHEN f.problem = 'upstream' THEN format('BigQuery has no rows since %s', f.newest)
			WHEN f.days = 1 THEN f.last ELSE format('%s days, %s to %s', f.days, f.first, f.last) END,
			CASE WHEN f.problem IN ('failed', 'refused', 'differs') OR f.problem = 'late' AND f.error IS NOT NULL THEN format(': %s', f.error) END),
		CASE f.problem
			WHEN 'upstream' THEN 'Ask who fills the BigQuery table; if nobody does any more, disable the source.'
			WHEN 'budget' THEN 'Raise contratos.max_bytes_per_day, or wait until tomorrow (UTC).'
			WHEN 'empty' THEN format('/* if it is really empty: */ UPDATE %scontratos_sources SET allow_empty = true WHERE name = %L;', here.schema, f.source)
			WHEN 'failed' THEN format('SELECT found, hint FROM %scontratos_check(%L) WHERE status <> ''ok'';', here.schema, f.source)
			WHEN 'refused' THEN format('/* if BigQuery is right: */ SELECT * FROM %scontratos_run(%L, %L, allow_shrink => true);', here.schema, f.last, f.source)
			WHEN 'differs' THEN format('SELECT * FROM %scontratos_verify(%L, %L, %L);', here.schema, f.first, f.last, f.source)
			WHEN 'missing' THEN format('SELECT %scontratos_enqueue(%L, %L, %L);', here.schema, f.first, f.last, f.source)
			ELSE format('SELECT found, hint FROM %scontratos_check(%L) WHERE status <> ''ok'';', here.schema, f.source)
		END
	FROM here, found f
	UNION ALL
	SELECT c.source, 'checks', 3,
		concat('loaded days are not compared: ', regexp_replace(split_part(c.error, E'\n', 1), '"/[^"]*"', '"..."', 'g')),
		format('SELECT found, hint FROM %scontratos_check(%L) WHERE status <> ''ok'';', here.schema, c.source)
	FROM here, checks c
	WHERE c.status IN ('failed', 'interrupted')
		AND NOT EXISTS (SELECT 1 FROM @extschema@.contratos_runs r WHERE r.source = c.source
			AND NOT r.only_cost AND r.status IN ('unchanged', 'differs', 'succeeded')
			AND (r.id > c.id OR r.cause = 'recheck' AND r.finished_at > @extschema@._contratos_now() - interval '24 hours'))
)
SELECT p.source, p.problem,
	@extschema@._contratos_fold(CASE WHEN length(p.found) > 160 THEN left(p.found, 157) || '...' ELSE p.found END,
		greatest(24, 57 - (SELECT max(length(s.name)) FROM @extschema@.contratos_sources s))) AS found,
	@extschema@._contratos_fold(p.hint, 40) AS hint
FROM problems p ORDER BY p.source NULLS FIRST, p.rank, p.problem;
COMMENT ON VIEW @extschema@.contratos_problems IS
'a row for each thing that a person should look at now, of enabled sources; none: all is well';
COMMENT ON COLUMN @extschema@.contratos_problems.source IS 'name in contratos_sources; null: it is about the worker';
COMMENT ON COLUMN @extschema@.contratos_problems.problem IS
'worker (none runs), housekeeping (a step of the worker fails), upstream (BigQuery has had nothing for three days), late (yesterday is not loaded four hours after run_at), failed, refused, empty (at BigQuery), differs, missing (further back than catchup_days), budget (the bytes of the day are used up), checks (comparisons have failed for a day)';
COMMENT ON COLUMN @extschema@.contratos_problems.found IS
'which days, and the message of the newest error, without the path of a file; in lines';
COMMENT ON COLUMN @extschema@.contratos_problems.hint IS 'what to do: a statement, where there is one; in lines';
GRANT SELECT ON @extschema@.contratos_problems TO pg_monitor;

-- ---------------------------------------------------------------------------
-- A page to look at: contratos_page() gives one HTML document of how a source stands.
-- It runs with the rights of whoever calls it, who may read the views above; what it
-- reads besides comes from views of numbers.  Error messages and names are others'
-- text: all that is not written here goes through _contratos_html().
-- ---------------------------------------------------------------------------

-- The name itself, if there is a source of that name.  Errors: 22004 source is null;
-- 42704 there is none, with the names that there are.
CREATE FUNCTION @extschema@._contratos_source(source text) RETURNS text
AS 'MODULE_PATHNAME', 'contratos_known_source'
LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@._contratos_source(text) IS
'internal: for contratos_page: the name of a source, or the error that there is none';
REVOKE ALL ON FUNCTION @extschema@._contratos_source(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@._contratos_source(text) TO pg_monitor;

CREATE VIEW @extschema@._contratos_page_sources AS
SELECT s.name AS source, s.enabled, s.timestamp_column IS NULL AS is_snapshot, s.start_date
FROM @extschema@.contratos_sources s;
COMMENT ON VIEW @extschema@._contratos_page_sources IS 'internal: for contratos_page: what it shows of contratos_sources';
COMMENT ON COLUMN @extschema@._contratos_page_sources.source IS 'name in contratos_sources';
COMMENT ON COLUMN @extschema@._contratos_page_sources.enabled IS 'whether the worker loads it';
COMMENT ON COLUMN @extschema@._contratos_page_sources.is_snapshot IS 'whether it has no days';
COMMENT ON COLUMN @extschema@._contratos_page_sources.start_date IS 'the first day that the worker loads';

CREATE VIEW @extschema@._contratos_page_months AS
SELECT r.source, date_trunc('month', coalesce(r.finished_at, r.started_at) AT TIME ZONE 'UTC')::date AS month,
	sum(r.bytes_billed)::bigint AS bytes_billed
FROM @extschema@.contratos_runs r
WHERE coalesce(r.finished_at, r.started_at) IS NOT NULL AND r.bytes_billed IS NOT NULL
GROUP BY 1, 2;
COMMENT ON VIEW @extschema@._contratos_page_months IS 'internal: for contratos_page: what the ledger knows of the cost of a month';
COMMENT ON COLUMN @extschema@._contratos_page_months.source IS 'as in contratos_runs';
COMMENT ON COLUMN @extschema@._contratos_page_months.month IS 'first day of the UTC month in which loads, rechecks and comparisons ended';
COMMENT ON COLUMN @extschema@._contratos_page_months.bytes_billed IS 'what they were billed, failed ones included';
GRANT SELECT ON @extschema@._contratos_page_sources, @extschema@._contratos_page_months TO pg_monitor;

-- Text for HTML, between tags and in attributes with either kind of quotes.  Control
-- characters are no characters of HTML.
CREATE FUNCTION @extschema@._contratos_html(text text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT regexp_replace(
		replace(replace(replace(replace(replace(text, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
		'[\x01-\x08\x0B\x0C\x0E-\x1F\x7F]', '&#xFFFD;', 'g')
$$;
COMMENT ON FUNCTION @extschema@._contratos_html(text) IS 'internal: for contratos_page: a text escaped for HTML';

CREATE FUNCTION @extschema@._contratos_page_time(moment timestamptz) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_time(timestamptz) IS 'internal: for contratos_page: a time in UTC';

CREATE FUNCTION @extschema@._contratos_page_count(number bigint) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT to_char(number, 'FM9,999,999,999,999,999,990')
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_count(bigint) IS 'internal: for contratos_page: a number with commas';

-- BigQuery's units: a MB has 1024 kB.
CREATE FUNCTION @extschema@._contratos_page_bytes(bytes bigint) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN bytes >= 1099511627776 THEN to_char(bytes / 1099511627776.0, 'FM999,990.0') || ' TB'
		WHEN bytes >= 1073741824 THEN to_char(bytes / 1073741824.0, 'FM999,990.0') || ' GB'
		ELSE to_char(bytes / 1048576.0, 'FM999,990') || ' MB' END
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_bytes(bigint) IS 'internal: for contratos_page: a number of bytes for people';

-- The states in the order of the legend, and what they mean in few words.
CREATE VIEW @extschema@._contratos_page_states AS
SELECT s.state, s.rank, s.meaning
FROM (VALUES
	('confirmed', 1, 'equal to BigQuery a day after its end'),
	('provisional', 2, 'loaded; may still change at BigQuery'),
	('accepted', 3, 'to stay as it is'),
	('running', 4, 'being loaded'),
	('queued', 5, 'left to the worker'),
	('waiting', 6, 'for BigQuery or a lock, or to be tried again'),
	('missing', 7, 'not tried yet'),
	('canceled', 8, 'taken off before it was loaded'),
	('refused', 9, 'empty or shrunk; rows loaded before still stand'),
	('differs', 10, 'not equal to BigQuery, and loading does not cure it'),
	('failed', 11, 'its last load failed')) AS s (state, rank, meaning);
COMMENT ON VIEW @extschema@._contratos_page_states IS 'internal: for contratos_page: the states of a day';
COMMENT ON COLUMN @extschema@._contratos_page_states.state IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_page_states.rank IS 'the order in which the page has them';
COMMENT ON COLUMN @extschema@._contratos_page_states.meaning IS 'in few words';
GRANT SELECT ON @extschema@._contratos_page_states TO pg_monitor;

-- Text is ink, soft or bad, on ground or panel: each of these pairs has a contrast of 4.5
-- or more in both schemes (test/t/221_page.pl).
CREATE FUNCTION @extschema@._contratos_page_style() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT $css$
:root{color-scheme:light dark;--ground:#fdfdfc;--panel:#f3f5f2;--ink:#1b2420;--soft:#55615b;--bad:#a8261c;--line:#d5dbd7;
--done:#2f7d5b;--busy:#2b6cb0;--wait:#8a6100;--alarm:#c23a2e;--odd:#7a4bb3;--idle:#7d8983;--bar:#6f9c88}
@media (prefers-color-scheme:dark){:root{--ground:#131816;--panel:#1c2320;--ink:#e4eae6;--soft:#9fada6;--bad:#ff9a8d;--line:#303a35;
--done:#4fae86;--busy:#6aa9e9;--wait:#d9a63a;--alarm:#f0695c;--odd:#b690ea;--idle:#7f8d86;--bar:#4d7f6a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:992px;margin:0 auto;padding:28px 16px 40px}
h1,h2,h3,p,figure,ul,dl{margin:0;padding:0}
h1{font-size:26px;line-height:1.2;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:15px;font-weight:650;margin:34px 0 10px}
h3{font-size:14px;font-weight:650;display:inline}
a{color:inherit}
svg{display:block}
bdi{overflow-wrap:anywhere}
.soft{color:var(--soft)}
.hidden{position:absolute;width:0;height:0}
.mark{width:16px;height:16px;flex:none}
.kind{color:var(--soft);font-size:13px}
.verdict{margin-top:10px;max-width:56em}
.verdict strong{font-weight:650}
.standing{display:inline-flex;align-items:center;gap:6px;font-size:13px;font-weight:650}
.standing.alarm{color:var(--bad)}
.top{display:flex;flex-wrap:wrap;align-items:baseline;justify-content:space-between;gap:2px 24px}
.year+.year{margin-top:22px}
.year .soft{font-size:13px}
summary{cursor:pointer}
.months{display:grid;grid-template-columns:repeat(auto-fill,minmax(128px,1fr));gap:16px 28px;margin-top:10px}
.month figcaption{font-size:13px;color:var(--soft);margin-bottom:5px}
.month svg{width:100%;height:auto;max-width:170px;overflow:visible}
.legend{list-style:none;display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr));gap:4px 28px;margin-top:20px;font-size:13px}
.legend li{display:flex;gap:8px;align-items:flex-start}
.legend .mark{margin-top:2px}
.problems{list-style:none;display:grid;gap:10px}
.problems li{background:var(--panel);border-left:3px solid var(--alarm);border-radius:3px;padding:10px 14px}
.problems b{color:var(--bad);font-weight:650}
.problems p{margin-top:2px;overflow-wrap:anywhere}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
.run{margin-bottom:12px}
.run svg{width:100%;height:6px;margin-top:6px}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:0 40px}
.two section{display:flex;flex-direction:column}
.bars{width:100%;height:112px;flex:1 0 112px;max-height:240px;border-bottom:1px solid var(--line)}
.ends{display:flex;justify-content:space-between;font-size:13px;color:var(--soft);margin-top:4px}
.note{font-size:13px;color:var(--soft);margin-top:8px}
table{width:100%;border-collapse:collapse;font-size:13px;line-height:1.4}
caption{text-align:left;color:var(--soft);padding-bottom:6px}
th,td{text-align:left;vertical-align:baseline;padding:5px 10px 5px 0;border-top:1px solid var(--line);font-weight:400}
thead th,thead td{color:var(--soft);border-top:0}
th.n,td.n{text-align:right}
tbody th,.keep{white-space:nowrap}
.days .n{padding-right:28px}
th:last-child,td:last-child{padding-right:0}
td .mark{display:inline-block;vertical-align:-3px;margin-right:6px;width:14px;height:14px}
.said td{border-top:0;padding-top:0;color:var(--soft);overflow-wrap:anywhere}
.cost td svg{width:100%;height:9px}
.cost td.fill{width:45%}
footer{margin-top:36px;padding-top:10px;border-top:1px solid var(--line);font-size:13px;color:var(--soft)}
.fill-done{fill:var(--done)}.fill-alarm{fill:var(--alarm)}.fill-wait{fill:var(--wait)}.fill-odd{fill:var(--odd)}.fill-busy{fill:var(--busy)}
.fill-bar{fill:var(--bar)}.fill-line{fill:var(--line)}
.edge-done,.edge-busy,.edge-wait,.edge-idle,.cut,.none{fill:none;stroke-width:1.6}
.edge-done{stroke:var(--done)}.edge-busy{stroke:var(--busy)}.edge-wait{stroke:var(--wait)}.edge-idle{stroke:var(--idle)}
.cut{stroke:var(--ground);stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.none{stroke:var(--line);stroke-width:3;stroke-linecap:round}
@media (max-width:480px){main{padding-top:18px}.months{gap:14px 24px}.days .n{padding-right:12px}.tries{display:none}}
@media print{.problems li,tr,.month{break-inside:avoid}}
$css$
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_style() IS 'internal: for contratos_page: its style sheet';

-- A mark for each state: they differ in shape, and not only in color.
CREATE FUNCTION @extschema@._contratos_page_marks() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT $svg$<svg class="hidden" aria-hidden="true"><defs>
<symbol id="m-confirmed" viewBox="0 0 16 16"><rect class="fill-done" width="16" height="16" rx="3"/></symbol>
<symbol id="m-provisional" viewBox="0 0 16 16"><rect class="edge-done" x="1" y="1" width="14" height="14" rx="2.5"/><path class="fill-done" d="M14.5 2.5v10.2q0 1.8-1.8 1.8h-10.2z"/></symbol>
<symbol id="m-accepted" viewBox="0 0 16 16"><rect class="fill-done" width="16" height="16" rx="3"/><path class="cut" d="M4 8.4l2.8 2.8 5.2-6"/></symbol>
<symbol id="m-running" viewBox="0 0 16 16"><rect class="edge-busy" x="1" y="1" width="14" height="14" rx="2.5"/><path class="fill-busy" d="M6 4.2v7.6l6-3.8z"/></symbol>
<symbol id="m-queued" viewBox="0 0 16 16"><rect class="edge-busy" x="1" y="1" width="14" height="14" rx="2.5"/><circle class="fill-busy" cx="8" cy="8" r="2.6"/></symbol>
<symbol id="m-waiting" viewBox="0 0 16 16"><rect class="edge-wait" x="1" y="1" width="14" height="14" rx="2.5"/><path class="fill-wait" d="M4.4 3.8h7.2l-2.9 4.2 2.9 4.2h-7.2l2.9-4.2z"/></symbol>
<symbol id="m-missing" viewBox="0 0 16 16"><rect class="edge-idle" x="1" y="1" width="14" height="14" rx="2.5" stroke-dasharray="2.5 2.4"/></symbol>
<symbol id="m-canceled" viewBox="0 0 16 16"><rect class="edge-idle" x="1" y="1" width="14" height="14" rx="2.5"/><path class="edge-idle" d="M3.5 12.5l9-9"/></symbol>
<symbol id="m-refused" viewBox="0 0 16 16"><rect class="fill-wait" width="16" height="16" rx="3"/><path class="cut" d="M4 8h8"/></symbol>
<symbol id="m-differs" viewBox="0 0 16 16"><rect class="fill-odd" width="16" height="16" rx="3"/><path class="cut" d="M4 6h8M4 10h8M10 3.4l-4 9.2"/></symbol>
<symbol id="m-failed" viewBox="0 0 16 16"><rect class="fill-alarm" width="16" height="16" rx="3"/><path class="cut" d="M4.6 4.6l6.8 6.8M11.4 4.6l-6.8 6.8"/></symbol>
</defs></svg>
$svg$
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_marks() IS 'internal: for contratos_page: the shapes of the states';

CREATE FUNCTION @extschema@._contratos_page_mark(state text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('<svg class="mark" viewBox="0 0 16 16" aria-hidden="true"><use href="#m-%s"/></svg>', @extschema@._contratos_html(state))
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_mark(text) IS 'internal: for contratos_page: the shape of a state';

-- Of the newest 3,660 days: a year a section, older ones folded; a month an image, whose
-- columns are Monday to Sunday; a day a mark with a tooltip.
CREATE FUNCTION @extschema@._contratos_page_calendar(source text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH shown AS (
		SELECT d.day, date_trunc('month', d.day::timestamp)::date AS month, extract(year FROM d.day)::integer AS year, k.state,
			concat_ws(E'\n',
				concat(to_char(d.day, 'YYYY-MM-DD: '), k.state),
				concat(CASE WHEN d.rows IS NULL THEN 'no rows loaded' ELSE to_char(d.rows, 'FM"rows "9,999,999,999,999,999,990') END, ', attempts ', d.attempts),
				coalesce(to_char(d.checked_at AT TIME ZONE 'UTC', '"last check "YYYY-MM-DD HH24:MI" UTC"'), 'never checked'),
				@extschema@._contratos_html(left(CASE WHEN d.state = 'differs' THEN d.check_error ELSE d.error END, 200))) AS tip
		FROM @extschema@.contratos_days d JOIN @extschema@._contratos_page_states k ON k.state = d.state
		WHERE d.source = _contratos_page_calendar.source AND d.day > @extschema@.contratos_yesterday() - 3660
	), counts AS (
		SELECT s.year, s.month, string_agg(concat(s.days, ' ', s.state), ', ' ORDER BY k.rank) AS states
		FROM (SELECT year, month, state, count(*) AS days FROM shown GROUP BY GROUPING SETS ((year, state), (year, month, state))) s
		JOIN @extschema@._contratos_page_states k ON k.state = s.state
		GROUP BY s.year, s.month
	), cells AS (
		SELECT m.month, m.month + i AS day, s.state, s.tip,
			20 * (extract(isodow FROM m.month + i)::integer - 1) AS x,
			20 * ((i + extract(isodow FROM m.month)::integer - 1) / 7) AS y
		FROM (SELECT DISTINCT month FROM shown) m
		CROSS JOIN LATERAL generate_series(0, (m.month + interval '1 month')::date - m.month - 1) i
		LEFT JOIN shown s ON s.day = m.month + i
	), months AS (
		SELECT c.month, extract(year FROM c.month)::integer AS year,
			format('<figure class="month"><figcaption>%s</figcaption><svg viewBox="0 0 136 %s" role="img" aria-label="%s: %s">%s%s</svg></figure>',
				to_char(c.month, 'FMMonth'), max(c.y) + 16, to_char(c.month, 'FMMonth YYYY'), max(n.states),
				'<path class="none" d="' || string_agg(format('M%s %sh0', c.x + 8, c.y + 8), '') FILTER (WHERE c.state IS NULL) || '"/>',
				string_agg(format(E'\n<use href="#m-%s" x="%s" y="%s" width="16" height="16"><title>%s</title></use>',
					c.state, c.x, c.y, c.tip), '' ORDER BY c.day)
					FILTER (WHERE c.state IS NOT NULL)) AS html
		FROM cells c JOIN counts n ON n.month = c.month
		GROUP BY c.month
	), years AS (
		SELECT m.year, format('<h3>%s</h3> <span class="soft">%s</span>', m.year, CASE WHEN count(*) OVER () > 1 THEN max(n.states) END) AS title,
			format(E'<div class="months">%s</div>', string_agg(m.html, E'\n' ORDER BY m.month)) AS html,
			m.year >= extract(year FROM @extschema@.contratos_yesterday()) - 1 AS is_open
		FROM months m JOIN counts n ON n.year = m.year AND n.month IS NULL
		GROUP BY m.year
	)
	SELECT concat(
		(SELECT string_agg(CASE WHEN y.is_open THEN format('<section class="year">%s%s</section>', y.title, y.html)
				ELSE format('<details class="year"><summary>%s</summary>%s</details>', y.title, y.html) END, E'\n' ORDER BY y.year DESC)
			FROM years y),
		(SELECT format('<p class="note">%s earlier days are not shown.</p>', @extschema@._contratos_page_count(count(*)))
			FROM @extschema@.contratos_days d
			WHERE d.source = _contratos_page_calendar.source AND d.day <= @extschema@.contratos_yesterday() - 3660
			HAVING count(*) > 0),
		(SELECT format(E'\n<ul class="legend">%s</ul>', string_agg(format('<li>%s<span>%s <span class="soft">%s</span></span></li>',
				@extschema@._contratos_page_mark(k.state), k.state, k.meaning), E'\n' ORDER BY k.rank))
			FROM @extschema@._contratos_page_states k WHERE k.state IN (SELECT s.state FROM shown s)
			HAVING count(*) > 0))
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_calendar(text) IS 'internal: for contratos_page: the days of a source, and the legend';

-- What is wrong with a source or the worker: how many problems, whether no worker runs,
-- and all of them with what to do.
CREATE FUNCTION @extschema@._contratos_page_problems(source text, OUT problems bigint, OUT is_alone boolean, OUT html text)
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT count(*), coalesce(bool_or(p.problem = 'worker'), false),
		CASE WHEN count(*) = 0 THEN
			CASE WHEN EXISTS (SELECT FROM @extschema@._contratos_page_sources s WHERE s.source = _contratos_page_problems.source AND NOT s.enabled)
				THEN '<p>The source is disabled: nobody looks for problems.</p>' ELSE '<p>Nothing is wrong.</p>' END
		ELSE format('<ul class="problems">%s</ul>', string_agg(
			format('<li><b>%s</b> <bdi>%s</bdi><p>%s</p></li>',
				@extschema@._contratos_html(p.problem),
				@extschema@._contratos_html(replace(p.found, E'\n', '')),
				format(CASE WHEN p.hint LIKE '%;' THEN '<code>%s</code>' ELSE '%s' END, @extschema@._contratos_html(replace(p.hint, E'\n', '')))), E'\n')) END
	FROM @extschema@.contratos_problems p
	WHERE p.source = _contratos_page_problems.source OR p.source IS NULL
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_problems(text) IS 'internal: for contratos_page: what is wrong, and what to do';

-- How a source stands: a few words, and one sentence.  problems: how many there are;
-- is_alone: no worker runs.
CREATE FUNCTION @extschema@._contratos_page_verdict(source text, problems bigint, is_alone boolean) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH days AS (
		-- a day that is loaded again has the rows of its last load until then
		SELECT d.day, d.state, d.state IN ('confirmed', 'provisional', 'accepted')
			OR d.state IN ('queued', 'running', 'waiting') AND d.last_loaded IS NOT NULL AS is_here
		FROM @extschema@.contratos_days d WHERE d.source = _contratos_page_verdict.source
	), counts AS (
		SELECT count(*) AS days, count(*) FILTER (WHERE is_here) AS here, max(day) FILTER (WHERE is_here) AS newest,
			(SELECT string_agg(concat(o.days, '&#xA0;', k.state), ', ' ORDER BY k.rank DESC)
				FROM (SELECT state, count(*) AS days FROM days WHERE NOT is_here GROUP BY state) o
				JOIN @extschema@._contratos_page_states k ON k.state = o.state) AS others
		FROM days
	), said AS (
		SELECT
			CASE WHEN NOT s.enabled THEN 'canceled' WHEN problems > 0 THEN 'failed' WHEN c.days = 0 OR c.here < c.days THEN 'waiting' ELSE 'accepted' END AS mark,
			CASE WHEN NOT s.enabled THEN 'Disabled' WHEN problems = 1 THEN '1 problem' WHEN problems > 1 THEN concat(problems, ' problems')
				WHEN c.days = 0 THEN 'No days yet' WHEN c.here < c.days THEN 'Not complete' ELSE 'All is well' END AS standing,
			CASE WHEN s.is_snapshot AND c.newest IS NULL THEN 'The table has not been loaded yet'
				WHEN s.is_snapshot THEN format('The whole table of %s is here', to_char(c.newest, 'YYYY-MM-DD'))
				WHEN c.days = 0 THEN format('There are no days yet: the first is %s', to_char(s.start_date, 'YYYY-MM-DD'))
				WHEN c.days = 1 THEN CASE c.here WHEN 1 THEN 'The one day is here' ELSE 'The one day is not here' END
				ELSE format('%s of %s days are here', @extschema@._contratos_page_count(c.here), @extschema@._contratos_page_count(c.days)) END AS first,
			CASE WHEN NOT s.is_snapshot THEN ' (' || c.others || ')' END AS others,
			coalesce('last success <span class="keep">' || @extschema@._contratos_page_time(t.last_success) || '</span>', 'no load has succeeded yet') AS success,
			CASE WHEN NOT s.enabled THEN 'the source is disabled'
				WHEN is_alone THEN 'no worker is running'
				WHEN t.next_wake IS NULL THEN 'nothing is due'
				WHEN t.next_wake <= @extschema@._contratos_now() THEN 'next wake now'
				ELSE format('next wake <span class="keep">%s</span>', @extschema@._contratos_page_time(t.next_wake)) END AS wake
		FROM @extschema@._contratos_page_sources s
		JOIN @extschema@.contratos_status t ON t.source = s.source
		CROSS JOIN counts c
		WHERE s.source = _contratos_page_verdict.source
	)
	SELECT format(E'<p class="standing%s">%s%s</p></div>\n<p class="verdict"><strong>%s</strong>%s; %s; %s.</p>',
		CASE WHEN mark = 'failed' THEN ' alarm' END,
		@extschema@._contratos_page_mark(mark),
		CASE WHEN mark = 'failed' THEN format('<a href="#problems">%s</a>', standing) ELSE standing END,
		first, others, success, wake)
	FROM said
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_verdict(text, bigint, boolean) IS 'internal: for contratos_page: the end of its header';

CREATE FUNCTION @extschema@._contratos_page_progress(source text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format(E'<section><h2>Running now</h2>\n%s</section>', string_agg(
		format('<div class="run"><p>%s: %s</p><svg viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="%s percent"><rect class="fill-line" width="100" height="6"/><rect class="fill-busy" width="%s" height="6"/></svg></div>',
			to_char(p.day, 'YYYY-MM-DD'),
			concat_ws(', ', @extschema@._contratos_html(p.phase),
				CASE WHEN p.rows_total IS NOT NULL THEN format('%s of %s rows', @extschema@._contratos_page_count(p.rows), @extschema@._contratos_page_count(p.rows_total)) END,
				CASE WHEN p.rows_per_second IS NOT NULL THEN @extschema@._contratos_page_count(p.rows_per_second::bigint) || ' rows a second' END,
				'done at about ' || @extschema@._contratos_page_time(p.eta),
				'since ' || @extschema@._contratos_page_time(p.started_at)),
			coalesce(p.percent, 0), coalesce(p.percent, 0)), E'\n' ORDER BY p.day))
	FROM @extschema@.contratos_progress p
	WHERE p.source = _contratos_page_progress.source
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_progress(text) IS 'internal: for contratos_page: the loads that are running';

-- Of the last 90 days, or as many as there are, but at least 30.
CREATE FUNCTION @extschema@._contratos_page_rows(source text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH span AS (
		SELECT y.yesterday, greatest(30, least(90, y.yesterday - min(d.day) + 1)) AS length
		FROM @extschema@.contratos_days d, (SELECT @extschema@.contratos_yesterday() AS yesterday) y
		WHERE d.source = _contratos_page_rows.source
		GROUP BY y.yesterday
	), days AS (
		SELECT d.day, d.state, d.rows, d.day - s.yesterday + s.length - 1 AS x, nullif(max(d.rows) OVER (), 0) AS most
		FROM @extschema@.contratos_days d, span s
		WHERE d.source = _contratos_page_rows.source AND d.day > s.yesterday - s.length
	)
	SELECT format(E'<section><h2>Rows per day</h2>\n<svg class="bars" viewBox="0 0 %s 100" preserveAspectRatio="none" role="img" aria-label="rows per day: at most %s, median %s">%s</svg>\n'
			'<p class="ends"><span>%s</span><span>%s</span></p><p class="note">At most %s, median %s. A line at the bottom: no rows are loaded.</p></section>',
		max(s.length) * 10,
		coalesce(@extschema@._contratos_page_count(max(d.rows)), 'none'), coalesce(@extschema@._contratos_page_count(percentile_disc(0.5) WITHIN GROUP (ORDER BY d.rows)), 'none'),
		string_agg(format(E'\n<rect class="%s" x="%s" y="%s" width="8" height="%s"><title>%s: %s</title></rect>',
			CASE WHEN d.rows > 0 THEN 'fill-bar' ELSE 'fill-line' END, d.x * 10 + 1,
			100 - h.height, h.height, to_char(d.day, 'YYYY-MM-DD'),
			CASE WHEN d.rows IS NULL THEN @extschema@._contratos_html(d.state) ELSE to_char(d.rows, 'FM9,999,999,999,999,999,990" rows"') END), '' ORDER BY d.day),
		to_char(max(s.yesterday - s.length + 1), 'YYYY-MM-DD'), to_char(max(s.yesterday), 'YYYY-MM-DD'),
		coalesce(@extschema@._contratos_page_count(max(d.rows)), 'none'), coalesce(@extschema@._contratos_page_count(percentile_disc(0.5) WITHIN GROUP (ORDER BY d.rows)), 'none'))
	FROM days d CROSS JOIN span s
	CROSS JOIN LATERAL (SELECT CASE WHEN d.rows > 0 THEN greatest(2, round(100.0 * d.rows / d.most, 1)) ELSE 2 END AS height) h
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_rows(text) IS 'internal: for contratos_page: bars of the rows of the last days';

CREATE FUNCTION @extschema@._contratos_page_costs(source text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH months AS (
		SELECT m.month, m.bytes_billed, nullif(max(m.bytes_billed) OVER (), 0) AS most
		FROM (SELECT month, bytes_billed FROM @extschema@._contratos_page_months m
			WHERE m.source = _contratos_page_costs.source ORDER BY month DESC LIMIT 13) m
	)
	SELECT format(E'<section><h2>Cost by month</h2>\n<table class="cost"><thead><tr><th scope="col">Month</th><td></td><th scope="col" class="n">Billed</th><th scope="col" class="n">Price</th></tr></thead><tbody>\n%s\n</tbody></table>'
			'<p class="note">Of loads, rechecks and comparisons, as long as the ledger keeps them; in dollars at 6.25 a TiB, BigQuery&#39;s list price in the US.</p></section>',
		string_agg(format('<tr><th scope="row">%s</th><td class="fill"><svg viewBox="0 0 100 9" preserveAspectRatio="none" aria-hidden="true"><rect class="fill-bar" width="%s" height="9"/></svg></td><td class="n">%s</td><td class="n">%s</td></tr>',
			to_char(m.month, 'YYYY-MM'), coalesce(round(100.0 * m.bytes_billed / m.most, 1), 0), @extschema@._contratos_page_bytes(m.bytes_billed),
			CASE WHEN p.price > 0 AND p.price < 0.005 THEN '&lt; 0.01' ELSE to_char(p.price, 'FM999,999,990.00') END), E'\n' ORDER BY m.month DESC))
	FROM months m CROSS JOIN LATERAL (SELECT m.bytes_billed / 1099511627776.0 * 6.25 AS price) p
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_costs(text) IS 'internal: for contratos_page: what the months cost';

-- The days that the calendar begins with, for screen readers and for print.
CREATE FUNCTION @extschema@._contratos_page_table(source text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format(E'<section><h2>The last 30 days</h2>\n<table class="days"><thead><tr><th scope="col">Day</th><th scope="col">State</th><th scope="col" class="n">Rows</th><th scope="col" class="n tries">Attempts</th><th scope="col">Last check</th></tr></thead><tbody>\n%s\n</tbody></table></section>',
		string_agg(concat(
			format('<tr><th scope="row">%s</th><td class="keep">%s%s</td><td class="n">%s</td><td class="n tries">%s</td><td>%s</td></tr>',
				to_char(d.day, 'YYYY-MM-DD'), @extschema@._contratos_page_mark(d.state), @extschema@._contratos_html(d.state),
				@extschema@._contratos_page_count(d.rows), d.attempts,
				coalesce(regexp_replace(@extschema@._contratos_page_time(d.checked_at), '(.*) (.*) UTC', '<span class="keep">\1</span> \2'), 'never')),
			CASE WHEN d.said <> '' THEN format(E'\n<tr class="said"><td></td><td colspan="4"><bdi>%s</bdi></td></tr>', @extschema@._contratos_html(d.said)) END), E'\n' ORDER BY d.day DESC))
	FROM (SELECT d.day, d.state, d.rows, d.attempts, d.checked_at,
			left(concat_ws('; ', d.error, 'check: ' || d.check_error, 'next attempt ' || @extschema@._contratos_page_time(d.next_attempt_at)), 500) AS said
		FROM @extschema@.contratos_days d
		WHERE d.source = _contratos_page_table.source AND d.day > @extschema@.contratos_yesterday() - 30) d
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_table(text) IS 'internal: for contratos_page: the last days as a table';

-- Nothing in the page comes from elsewhere or is run: its policy forbids all but its
-- own style sheet.  JIT would compile for seconds what runs for milliseconds.  Errors:
-- 22004 source is null; 42704 no such source; 42501 the caller may not read the views.
CREATE FUNCTION @extschema@.contratos_page(source text DEFAULT 'tokens') RETURNS text
LANGUAGE sql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	SELECT concat(
		E'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n',
		E'<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''"/>\n',
		E'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n<meta name="color-scheme" content="light dark"/>\n<title>',
		name, E' - contratos</title>\n<style>', @extschema@._contratos_page_style(), E'</style>\n</head>\n<body>\n',
		@extschema@._contratos_page_marks(),
		E'<main>\n<header>\n<p class="kind">contratos source</p>\n<div class="top"><h1>', name, '</h1>',
		@extschema@._contratos_page_verdict(contratos_page.source, problems, is_alone),
		E'\n</header>\n<section><h2>Days</h2>\n', @extschema@._contratos_page_calendar(contratos_page.source),
		E'</section>\n<section id="problems"><h2>What is wrong now, and what to do</h2>\n', html, E'</section>\n',
		@extschema@._contratos_page_progress(contratos_page.source),
		E'\n<div class="two">\n', @extschema@._contratos_page_rows(contratos_page.source), E'\n', @extschema@._contratos_page_costs(contratos_page.source), E'\n</div>\n',
		@extschema@._contratos_page_table(contratos_page.source),
		E'\n<footer>As of ', @extschema@._contratos_page_time(@extschema@._contratos_now()), E'. Days and times are in UTC; weeks begin on Monday.</footer>\n</main>\n</body>\n</html>')
	FROM (SELECT @extschema@._contratos_html(@extschema@._contratos_source(contratos_page.source)) AS name) n
	CROSS JOIN LATERAL @extschema@._contratos_page_problems(contratos_page.source)
$$;
COMMENT ON FUNCTION @extschema@.contratos_page(text) IS
'how a source stands, as one HTML document without scripts: a calendar of its days, problems, progress, rows, cost';
REVOKE ALL ON FUNCTION @extschema@.contratos_page(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.contratos_page(text) TO pg_monitor;

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

-- The days from first to last, both before today in UTC, there (BigQuery now),
-- here (the target now) and in the ledger (the day's last success): a row a day,
-- oldest first, by one query for all of them.
--
-- Columns: rows of the day and its latest timestamp, as the time of day in UTC (null
-- without rows, and of a source without timestamp_column); those of the ledger are
-- null for a day that was never loaded.
--
-- agrees, which is never null, is true when a recheck would leave the day alone:
-- BigQuery has the rows, latest timestamp and fingerprint (if both are known)
-- that the ledger says were loaded, and the target has the rows and the latest
-- timestamp that it had at the end of the load: fewer than BigQuery where the
-- target's triggers, rules or after_load let rows go.  A day that was never loaded agrees when the target has as many rows
-- as BigQuery and the same latest timestamp, or neither has any.  A value that
-- was changed in the target, and left rows and latest timestamp as they were, is
-- not seen.
--
-- first, last: at most 36,600 days; a source without timestamp_column has only
-- yesterday, and the ledger's newest load stands for it.  BigQuery reads, and
-- bills, the source's columns of these days, once: as much as loading them.  A row
-- of the ledger has that (cause verify, only_cost, status unchanged when all days
-- agree, else differs).  It also works in a read-only transaction and on a
-- standby: there nothing is written, and a NOTICE tells the bytes.
-- contratos.max_bytes_billed and the like cap the one query;
-- contratos.max_bytes_per_day refuses it once it is used up.
-- Errors: those of contratos_backfill_range() up to BigQuery's answer, 22023 too
-- many days, 53400 over the bytes of the day, 42501 and others of reading the
-- target as its owner.
CREATE FUNCTION @extschema@.contratos_verify(
	first date,
	last date,
	source text DEFAULT 'tokens')
RETURNS TABLE (day date, remote_rows bigint, target_rows bigint, ledger_rows bigint,
	remote_max time, target_max time, ledger_max time, agrees boolean)
AS 'MODULE_PATHNAME', 'contratos_verify'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 7;
COMMENT ON FUNCTION @extschema@.contratos_verify(date, date, text) IS
'compares the UTC days from first to last in BigQuery, in the target and in the ledger: a row a day, and whether they agree; billed like a load';
REVOKE ALL ON FUNCTION @extschema@.contratos_verify(date, date, text) FROM PUBLIC;

-- Whether days can be loaded: a row for each thing that can be wrong, from the
-- server (source null in the row) up to the days missing.  source: a name in
-- contratos_sources, or null for all.  status: ok, warning (works, but ...),
-- failed (no day can be loaded like this), skipped (cannot be told, because of
-- something above).  found: what there is; hint: what to do, null for nothing.
-- What is wrong is a row and no error, also a source that does not exist; errors
-- are those of the session alone (a cancel, a serialization failure).  Reads
-- only, also in a read-only transaction and on a standby; asks BigQuery for what
-- is free, and where nobody answers waits 15 s at most for each question.
CREATE FUNCTION @extschema@.contratos_check(source text DEFAULT 'tokens')
RETURNS TABLE (source text, check_name text, status text, found text, hint text)
AS 'MODULE_PATHNAME', 'contratos_check'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 25;
COMMENT ON FUNCTION @extschema@.contratos_check(text) IS
'whether days of a source (null: of all) can be loaded: what was checked, what was found, and what to do about it; free';
REVOKE ALL ON FUNCTION @extschema@.contratos_check(text) FROM PUBLIC;

-- What reaches the network, costs money or writes is for whom the
-- administrator grants it to.
REVOKE ALL ON FUNCTION @extschema@.contratos_setup() FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.contratos_run(date, text, boolean, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.contratos_backfill(integer, text, boolean, boolean, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.contratos_backfill_range(date, date, text, boolean, boolean, boolean) FROM PUBLIC;
REVOKE ALL ON PROCEDURE @extschema@.contratos_load(date, date, text, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.contratos_estimate(date, date, text, double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.contratos_mirror(text, text, text, boolean, boolean, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.contratos_enqueue(date, date, text, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.contratos_cancel(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.contratos_accept(date, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@._contratos_sources_normalize() FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@._contratos_sources_registered() FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@._contratos_sources_changed() FROM PUBLIC;

-- A worker that is waiting for the extension looks at once: the statement
-- trigger fires although there is nothing to delete.
DELETE FROM @extschema@.contratos_sources;
