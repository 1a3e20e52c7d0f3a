# ALTER EXTENSION UPDATE from each version that was released: the objects
# become those of CREATE EXTENSION, property by property; data, privileges and
# ledger are kept; until then the worker waits, and calls warn; among objects that
# others have laid into the extension's schema, too.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Catalog;
use Contratos::Traps;
use Contratos::Worker;

my ($share) = run_command([ $ENV{PG_CONFIG} || 'pg_config', '--sharedir' ]);
my ($current) = slurp_file("$share/extension/contratos.control") =~ /^default_version = '(.*)'/m;
my @released = grep { $_ ne $current } map { /--([\d.]+)\.sql$/ } sort glob "$share/extension/contratos--*.sql";
my ($first, $last) = @released[ 0, -1 ];
cmp_ok(scalar @released, '>', 0, "there are released versions: @released");

my $f = Contratos::Worker->new(unsettled => 1, version => $last);
my ($bq, $node) = ($f->bq, $f->node);

# A database with the extension, in `public` or another schema.
sub database
{
	my ($name, $version, $schema) = @_;
	$f->query("CREATE DATABASE $name");
	$f->use_database($name);
	$f->query(($schema ? "CREATE SCHEMA $schema; " : '') . 'CREATE EXTENSION contratos' . ($schema ? " SCHEMA $schema" : '') . " VERSION '$version'");
	return;
}

sub catalog { return Contratos::Catalog->new($node, @_); }

# ---- the objects

database('fresh', $current);
my $fresh = catalog('fresh');
cmp_ok(scalar $fresh->lines, '>', 5000, 'the extension has thousands of properties');
database('fresh_elsewhere', $current, '"the House"');
my $elsewhere = catalog('fresh_elsewhere');
my $number = 0;
for my $from (@released)
{
	database('updated_' . ++$number, $from);
	$f->query('ALTER EXTENSION contratos UPDATE');
	is($fresh->difference(catalog("updated_$number")), '', "an update from $from makes what CREATE EXTENSION makes");
	database('moved_' . $number, $from, '"the House"');
	$f->query('ALTER EXTENSION contratos UPDATE');
	is($elsewhere->difference(catalog("moved_$number")), '', "an update from $from in another schema makes what CREATE EXTENSION makes");
}

# ---- the comparison finds what it should

my @changes = (
	[ 'a comment that is missing', 'COMMENT ON COLUMN contratos_runs.day IS NULL', qr/^- column day of table \S+ \| comment \| the UTC day$/m ],
	[ 'a comment on a function', q(COMMENT ON FUNCTION contratos_cancel(bigint) IS 'another'), qr/^\+ function \S+ \| comment \| another$/m ],
	[ 'a privilege of PUBLIC', 'GRANT EXECUTE ON FUNCTION contratos_setup() TO PUBLIC', qr/^\+ function \S+ \| privilege \| EXECUTE for PUBLIC by \w+$/m ],
	[ 'a privilege that is missing', 'REVOKE SELECT ON contratos_status FROM pg_monitor', qr/^- view \S+ \| privilege \| SELECT for pg_monitor by \w+$/m ],
	[ 'a privilege on a column', 'GRANT SELECT (day) ON contratos_runs TO pg_monitor', qr/^\+ column day of table \S+ \| privilege \| SELECT for pg_monitor by \w+$/m ],
	[ 'a default', 'ALTER TABLE contratos_sources ALTER recheck_days SET DEFAULT 8', qr/^\+ default value for column \S+ of table \S+ \| adbin \| 8\n/m ],
	[ 'a type', 'ALTER TABLE contratos_runs ALTER pages TYPE bigint', qr/^\+ column \d+ of table public\.contratos_runs \| atttypid \| type bigint\n/m ],
	[ 'NOT NULL', 'ALTER TABLE contratos_runs ALTER cause DROP NOT NULL', qr/^\+ column 4 of table \S+ \| attnotnull \| false\n/m ],
	[ 'a column in another place', 'ALTER TABLE contratos_rejects DROP reason; ALTER TABLE contratos_rejects ADD reason text NOT NULL', qr/^\+ column 6 of table \S+ \| attname \| reason\n/m ],
	[ 'a column of a view in another place',
		'ALTER VIEW contratos_problems RENAME COLUMN found TO x; ALTER VIEW contratos_problems RENAME COLUMN hint TO found; ALTER VIEW contratos_problems RENAME COLUMN x TO hint',
		qr/^\+ column 4 of view public\.contratos_problems \| attname \| found\n/m ],
	[ 'the query of a view', q(CREATE OR REPLACE VIEW contratos_days AS SELECT * FROM _contratos_days WHERE false), qr/^\+ rule _RETURN on view \S+contratos_days \| ev_action/m ],
	[ 'an option of a view', 'ALTER VIEW contratos_days SET (security_barrier)', qr/^\+ view \S+ \| reloptions \| \{security_barrier=true\}$/m ],
	[ 'a constraint', q(ALTER TABLE contratos_runs DROP CONSTRAINT contratos_runs_attempt_check, ADD CONSTRAINT contratos_runs_attempt_check CHECK (attempt >= -1)),
		qr/^\+ constraint contratos_runs_attempt_check on table \S+ \| conbin \| CHECK/m ],
	[ 'an index', 'DROP INDEX contratos_rejects_run_idx', qr/^- index public\.contratos_rejects_run_idx \| indkey \| 1/m ],
	[ 'a trigger that is off', 'ALTER TABLE contratos_sources DISABLE TRIGGER ALL', qr/^\+ trigger \w+ on table \S+ \| tgenabled \| D\n/m ],
	[ 'a default of an argument', q(CREATE OR REPLACE FUNCTION contratos_check(source text DEFAULT 'other') RETURNS TABLE (source text, check_name text, status text, found text, hint text)
		AS '$libdir/contratos', 'contratos_check' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 25), qr/^\+ function \S+ \| proargdefaults \| source text DEFAULT 'other'::text/m ],
	[ 'the symbol of a function', q(CREATE OR REPLACE FUNCTION contratos_yesterday() RETURNS date AS '$libdir/contratos', 'contratos_version' LANGUAGE C), qr/^\+ function \S+ \| prosrc \| contratos_version\n/m ],
	[ 'volatility', 'ALTER FUNCTION contratos_yesterday() VOLATILE', qr/^\+ function \S+ \| provolatile \| v\n/m ],
	[ 'a cost', 'ALTER FUNCTION contratos_yesterday() COST 7', qr/^\+ function \S+ \| procost \| 7\n/m ],
	[ 'parallel safety', 'ALTER FUNCTION contratos_check(text) PARALLEL SAFE', qr/^\+ function \S+ \| proparallel \| s\n/m ],
	[ 'a setting of a function', 'ALTER FUNCTION contratos_check(text) SET jit = off', qr/^\+ function \S+ \| proconfig \| \{jit=off\}$/m ],
	[ 'an owner', 'CREATE ROLE somebody; ALTER VIEW contratos_days OWNER TO somebody', qr/^\+ view \S+ \| relowner \| role somebody\n/m ],
	[ 'what pg_dump leaves out', q(UPDATE pg_extension SET extcondition[1] = 'WHERE false' WHERE extname = 'contratos'), qr/^\+ extension contratos \| extcondition \| /m ],
	[ 'initial privileges', q(DELETE FROM pg_init_privs WHERE objoid = 'contratos_days'::regclass), qr/^- view \S+ \| initial privilege \| /m ],
	[ 'an object that is not a member', 'ALTER EXTENSION contratos DROP VIEW contratos_progress', qr/^- column 1 of view public\.contratos_progress \| /m ],
	[ 'an object more', 'CREATE FUNCTION public.more() RETURNS int LANGUAGE sql RETURN 1; ALTER EXTENSION contratos ADD FUNCTION public.more()', qr/^\+ function public\.more\(\) \| prosqlbody \| RETURN 1\n/m ],
	[ 'an operator', 'CREATE OPERATOR public.<-> (LEFTARG = date, RIGHTARG = date, FUNCTION = pg_catalog.date_mi); ALTER EXTENSION contratos ADD OPERATOR public.<-> (date, date)', qr/^\+ operator \S+ \| oprcode \| function date_mi/m ],
	[ 'an event trigger',
		q(CREATE FUNCTION public.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER fired ON sql_drop EXECUTE FUNCTION public.fired();
		  ALTER EXTENSION contratos ADD FUNCTION public.fired(); ALTER EXTENSION contratos ADD EVENT TRIGGER fired), qr/^\+ event trigger fired \| evtevent \| sql_drop\n/m ],
	[ 'a handler', 'ALTER FOREIGN DATA WRAPPER contratos NO HANDLER', qr/^- foreign-data wrapper contratos \| fdwhandler \| function/m ]);
my $found = $fresh->difference(catalog('fresh', join ';', map { $_->[1] } @changes));
like($found, $_->[2], "the comparison sees $_->[0]") for @changes;
is($fresh->difference(catalog('fresh')), '', 'the comparison changes nothing');

# ---- a database in use

database('used', $last);
my $seen = $f->messages('SELECT contratos_setup(); SELECT contratos_run($$2026-11-20$$)');
my $warning = qr/WARNING:  55000: extension "contratos" is of version \Q$last\E, but the library is of version \Q$current\E\nHINT:  .*ALTER EXTENSION contratos UPDATE;/;
is(() = $seen =~ /$warning/g, 2, 'before the update, each call warns once');
like($f->messages("CALL contratos_load('2026-11-17', '2026-11-18')"), qr/\A(?:(?!WARNING).)*$warning(?!.*WARNING)/s, '… and so does one of many days');
for my $call ("contratos_enqueue('2026-11-19', '2026-11-19')", 'contratos_cancel(0)', "contratos_estimate('2026-11-20', '2026-11-20')",
	"contratos_verify('2026-11-20', '2026-11-20')", 'contratos_backfill(1)', 'contratos_version()')
{
	like($f->messages("SELECT * FROM $call"), $warning, "before the update, $call warns");
}
like($f->fails(q(SELECT * FROM contratos_run('2027-01-01'))), qr/$warning.*ERROR:  22023/s, '… and one that fails');
is($f->query(q(SELECT status FROM contratos_check() WHERE check_name = 'extension')), 'failed', 'before the update, contratos_check() has a row about it');
like($f->messages(q(SELECT contratos_mirror('bigquery-public-data.crypto_ethereum.tokens', 'public.copied'))), $warning, 'before the update, contratos_mirror() warns');

$bq->table(undef, append => 1, rows => [ $f->row(decimals => '0x12', block_timestamp => '2026-11-19 12:00:00+00:00') ]);
$f->query(q(SET client_min_messages = error; SELECT contratos_run('2026-11-19')));
$f->query(
	q(CREATE ROLE loader LOGIN; CREATE ROLE watcher LOGIN;
	  GRANT EXECUTE ON FUNCTION contratos_run(date, text, boolean, boolean) TO loader;
	  GRANT SELECT ON contratos_status TO watcher WITH GRANT OPTION;
	  GRANT SELECT (day, status), UPDATE (why) ON contratos_runs TO watcher;
	  REVOKE SELECT ON contratos_problems FROM pg_monitor;
	  GRANT USAGE ON FOREIGN DATA WRAPPER contratos TO loader;
	  GRANT SELECT ON contratos_sources TO PUBLIC; GRANT SELECT ON contratos_runs TO loader;
	  COMMENT ON TABLE contratos_runs IS 'ours';
	  CREATE VIEW late AS SELECT source, s FROM contratos_status s;
	  CREATE FUNCTION newest(r contratos_runs) RETURNS bigint LANGUAGE sql RETURN r.id;
	  CREATE INDEX ours ON contratos_runs (sqlstate);
	  CREATE PROCEDURE alert(source text, day date, error text) LANGUAGE sql AS '';
	  UPDATE contratos_sources SET recheck_days = 3, run_at = '09:30', on_failure = 'alert', late_checks = true, max_shrink = 0.5 WHERE name = 'tokens';
	  ALTER SERVER bigquery OPTIONS (ADD project 'our-project');
	  CREATE USER MAPPING FOR loader SERVER bigquery OPTIONS (credentials_file '/nowhere/key.json');
	  ALTER FOREIGN TABLE bigquery_tokens OPTIONS (ADD row_filter 'block_number > 0');
	  INSERT INTO contratos_runs (source, day, cause, status, finished_at, sqlstate, error) VALUES ('tokens', '2026-11-02', 'schedule', 'failed', '2026-11-03 08:00Z', '08006', 'no answer');
	  SELECT contratos_accept('2026-11-02', why => 'it was a Sunday')));

# What is in the tables, what users' objects show, and what roles may.
my $state = q(SELECT count(*), md5(string_agg(r::text, ',' ORDER BY id)) FROM contratos_runs r;
	SELECT count(*), md5(string_agg(r::text, ',' ORDER BY run, row_number)) FROM contratos_rejects r;
	SELECT count(*), md5(string_agg(s::text, ',' ORDER BY name)) FROM contratos_sources s;
	SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM tokens t;
	SELECT last_value FROM contratos_runs_id_seq;
	SELECT source, (s).last_success, (s).failed_days FROM late;
	SELECT max(newest(r)) FROM contratos_runs r;
	SELECT has_function_privilege('loader', 'contratos_run(date, text, boolean, boolean)', 'EXECUTE'), has_table_privilege('watcher', 'contratos_status', 'SELECT WITH GRANT OPTION'),
		has_column_privilege('watcher', 'contratos_runs', 'day', 'SELECT'), has_column_privilege('watcher', 'contratos_runs', 'error', 'SELECT'),
		has_table_privilege('pg_monitor', 'contratos_problems', 'SELECT');
	SELECT obj_description('contratos_runs'::regclass));
my ($help) = run_command([ 'pg_dump', '--help' ]);
my @same_key = $help =~ /--restrict-key/ ? ('--restrict-key=contratos') : ();
sub dumped { return (run_command([ 'pg_dump', @same_key, '-d', $node->connstr('used') ]))[0]; }

my %before = (state => $f->query($state), dump => dumped(), catalog => catalog('used'));
like($before{state}, qr/\A9\|.*^3\|.*^t\|t\|t\|f\|f\nours\z/ms, 'the database in use has runs, a reject and privileges');
like($before{dump}, qr/^GRANT ALL ON FUNCTION public\.contratos_run\(.* TO loader;$/m, '… which pg_dump has');
database('fresh_before', $last);
my $ours = catalog('fresh_before')->difference($before{catalog});
like($ours, qr/\| privilege \| EXECUTE for loader by/, '… and the catalogs');

$f->use_database('used');
is($f->messages('ALTER EXTENSION contratos UPDATE'), '', 'the update of a database in use says nothing');
is($f->query($state), $before{state}, 'after the update, rows, privileges and views of users are as before');
is(dumped(), $before{dump}, 'after the update, pg_dump writes the same');
is($fresh->difference(catalog('used')), $ours, 'after the update, all that differs from CREATE EXTENSION is what users had changed');

is($f->messages("DO 'BEGIN PERFORM contratos_version(); END'"), '', 'after the update, calls do not warn');
$f->query(q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (DROP row_filter); ALTER SERVER bigquery OPTIONS (DROP project)));
is($f->query(q(SET client_min_messages = error; SELECT status, rows_loaded > 0, rows_loaded = rows_replaced FROM contratos_run('2026-11-20'))), 'succeeded|t|t', 'after the update, a day is loaded again');
is($f->query(q(SELECT check_name FROM contratos_check() WHERE status = 'failed')), '', 'after the update, contratos_check() finds nothing that is wrong');

# ---- the worker

$f->use_database('postgres');
my $says = qr/LOG:  database "postgres": extension "contratos" is of version \Q$last\E, but the library is of version \Q$current\E\n/;
ok($node->wait_for_log($says), 'before the update, the worker says that it waits');
my $pid = $f->worker;
$f->query(q(SET client_min_messages = error; SELECT contratos_setup(); SELECT contratos_enqueue('2026-11-16', '2026-11-16')));
ok($f->settle, 'before the update, the worker looks when it is woken');
is($f->runs, '16 queue queued', 'before the update, the worker loads nothing');
is($f->logged($says), 1, 'before the update, the worker says so once');
$f->query('ALTER EXTENSION contratos UPDATE');
ok($f->poll(q(SELECT status = 'succeeded' FROM contratos_runs WHERE day = '2026-11-16' AND cause = 'queue')), 'the update wakes the worker, which loads what is queued');
ok($f->settle, 'after the update, the worker comes to rest');
is($f->worker, $pid, 'the update keeps the worker\'s process');
$bq->table(undef, replace_day => '2026-11-21', generate => { day => '2026-11-21', rows => 30 });
ok($f->at('2026-11-22 08:00'), 'after the update, the worker goes on');
is($f->runs(q(day = '2026-11-21')), '21 schedule succeeded', 'after the update, the worker loads the next day');

# ---- among traps

database('hostile', $first);
my ($operators, $functions) = Contratos::Traps::lay($f);
cmp_ok($operators + $functions, '>', 4000, 'the schema has operators and functions as traps');
$f->query('TRUNCATE trapped; SET search_path = public, pg_catalog; SELECT 1::bigint * interval $$1 day$$');
is($f->query('SELECT DISTINCT who FROM trapped'), 'postgres', 'a session that searches the schema is trapped');
$f->query('TRUNCATE trapped');
is($f->messages('SET search_path = public, pg_catalog; ALTER EXTENSION contratos UPDATE'), '', 'an update among traps says nothing');
is($fresh->difference(catalog('hostile')), '', 'an update among traps makes what CREATE EXTENSION makes');
is($f->query('SELECT * FROM trapped'), '', 'an update calls no trap');
$f->query('SET client_min_messages = error; SELECT contratos_setup(); SELECT * FROM contratos_status; SELECT * FROM contratos_problems; SELECT * FROM contratos_days; SELECT * FROM contratos_progress');
is($f->query('SELECT * FROM trapped'), '', 'what an update has made calls no trap');

$f->stop;
done_testing();
