# Code of strangers in a load, and what targets, triggers and foreign tables do
# to a day that is loaded a second time.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new;
my $bq = $f->bq;
$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->day("2026-11-$_", 20) for 18 .. 20;
my $run = q(SELECT status, rows_loaded, rows_replaced FROM public.contratos_run('2026-11-20', 'x'));

my $remote = q((address text OPTIONS (type 'STRING'), block_timestamp timestamptz OPTIONS (type 'TIMESTAMP'))
	SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens'));

# Source x: x.t from x.ft, after these statements.
sub source
{
	my ($sql) = @_;
	$f->query(
		qq(DELETE FROM contratos_runs WHERE source = 'x'; DELETE FROM contratos_sources WHERE name = 'x';
		   DROP SCHEMA IF EXISTS x CASCADE; CREATE SCHEMA x; CREATE FOREIGN TABLE x.ft $remote;
		   CREATE TABLE x.t (address text, block_timestamp timestamptz); $sql;
		   INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled, start_date, catchup_days)
			VALUES ('x', 'x.ft', 'x.t', 'block_timestamp', false, '2026-11-20', 0)));
	$bq->reset(tables => 0);
	return;
}

# ---- who may register sources gets no further than that, by his own foreign table

source(
	q(CREATE ROLE registrar LOGIN; CREATE SCHEMA own AUTHORIZATION registrar; GRANT USAGE ON SCHEMA own, x TO PUBLIC;
	  GRANT USAGE ON FOREIGN SERVER bigquery TO registrar; GRANT SELECT, UPDATE ON contratos_sources TO registrar;
	  GRANT EXECUTE ON FUNCTION contratos_run(date, text, boolean) TO registrar));
my $as_registrar = 'SET SESSION AUTHORIZATION registrar;';
$f->query(
	qq($as_registrar
	   CREATE FUNCTION own.spy(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS \$\$
	   BEGIN RAISE WARNING 'code of his as %', current_user; RETURN true; END \$\$;
	   CREATE DOMAIN own.address AS text CHECK (own.spy(VALUE));
	   CREATE FOREIGN TABLE own.ft $remote; GRANT SELECT ON own.ft TO PUBLIC; UPDATE public.contratos_sources SET remote_table = 'own.ft' WHERE name = 'x'));
is($f->query("$as_registrar $run"), "succeeded|20|0", 'his own foreign table may be loaded from');
$f->query("$as_registrar ALTER FOREIGN TABLE own.ft ALTER address TYPE own.address");
$bq->reset(tables => 0);
for my $who ($as_registrar, '')
{
	my $error = $f->fails("$who $run");
	like($error, qr/ERROR:  42501: type own\.address of column "address" of foreign table own\.ft may not be used by a load\nDETAIL:  .*as role "postgres", the owner of x\.t, but the type belongs to role "registrar"\.\nHINT:  .*ALTER TYPE own\.address OWNER TO postgres;/,
		'not one whose type has code of his');
	unlike($error, qr/code of his/, 'which is not called');
}
is($f->requests, '', 'BigQuery is not asked');
$f->query('ALTER TABLE x.t ALTER address TYPE own.address');
is($f->query("SET client_min_messages = error; $run"), 'succeeded|20|20', 'a type that the owner of the target uses himself is his');
$f->query('ALTER TABLE x.t ALTER address TYPE text; ALTER TYPE own.address OWNER TO postgres');
is($f->query("SET client_min_messages = error; $run"), 'succeeded|20|20', 'or that belongs to him');
$f->query("$as_registrar ALTER FOREIGN TABLE own.ft ALTER address TYPE text, ADD CHECK (own.spy('constant') AND address <> '')");
my (undef, undef, $said) = $f->psql("$as_registrar SET constraint_exclusion = on; SELECT set_config('search_path', 'public', false); $run");
unlike($said, qr/code of his as postgres/, 'nor is what the planner makes of a CHECK');

# ---- what a trigger sets does not outlast the load

source(
	q(CREATE FUNCTION x.sets() RETURNS trigger LANGUAGE plpgsql AS
	  $$ BEGIN PERFORM set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', '1s', false); RETURN NULL; END $$;
	  CREATE TRIGGER sets AFTER INSERT ON x.t FOR EACH STATEMENT EXECUTE FUNCTION x.sets()));
is($f->query("$run; SHOW default_transaction_read_only; SHOW statement_timeout"), "succeeded|20|0\noff\n0", 'a setting that a trigger changes is put back');
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-20', 'x', false); UPDATE contratos_sources SET enabled = true WHERE name = 'x'));
ok($f->poll(q(SELECT count(*) = 3 FROM contratos_runs WHERE source = 'x' AND cause = 'queue' AND status <> 'queued' AND finished_at IS NOT NULL)), 'in the worker');
is($f->runs(q(source = 'x' AND cause = 'queue')), '18 queue succeeded, 19 queue succeeded, 20 queue succeeded', 'too: the loads after it are none the worse');
$f->query(q(UPDATE contratos_sources SET enabled = false));

# ---- another table under the target's name, while BigQuery is asked

source(
	q(GRANT USAGE, CREATE ON SCHEMA x TO registrar; CREATE TABLE heard (who name);
	  ALTER DEFAULT PRIVILEGES IN SCHEMA x GRANT ALL ON TABLES TO PUBLIC));
my $slow = $bq->rule({ kind => 'results' }, { stall => 'before_headers' });
$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', 'x', false); UPDATE contratos_sources SET enabled = true WHERE name = 'x'));
ok($bq->wait(rule => $slow, state => 'stalled'), 'the worker waits');
$f->query(
	qq(DROP TABLE x.t; $as_registrar CREATE TABLE x.t (address text, block_timestamp timestamptz);
	   CREATE FUNCTION own.hears() RETURNS trigger LANGUAGE plpgsql SECURITY INVOKER AS \$\$
	   BEGIN INSERT INTO public.heard VALUES (current_user); RETURN NULL; END \$\$;
	   CREATE TRIGGER hears AFTER INSERT ON x.t FOR EACH STATEMENT EXECUTE FUNCTION own.hears()));
$bq->release;
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'x' AND sqlstate IS NOT NULL)), 'the day fails');
is($f->query(q(SELECT status, error, next_attempt_at IS NOT NULL FROM contratos_runs WHERE source = 'x')),
	"failed|table x.t has become another while BigQuery was asked\nDETAIL:  It was made anew, or given to another owner.|t", 'for now');
is($f->query('SELECT * FROM heard'), '', 'its triggers did not run as the owner there was before');
$f->query(q(UPDATE contratos_sources SET enabled = false; DROP TABLE x.t CASCADE));

# ---- rows that are not let go are not loaded a second time

my $kept = qr/ERROR:  55000: table x\.t keeps rows of 2026-11-20 that a load has deleted\nDETAIL:  A trigger or rule of the table/;
for my $case (
	[ 'a trigger', q(CREATE FUNCTION x.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER keep BEFORE DELETE ON x.t FOR EACH ROW EXECUTE FUNCTION x.keep()) ],
	[ 'a rule', 'CREATE RULE keep AS ON DELETE TO x.t DO INSTEAD NOTHING' ])
{
	source($case->[1]);
	is($f->query($run), 'succeeded|20|0', "$case->[0] that keeps rows");
	like($f->fails($run), $kept, 'lets nothing be doubled');
	is($f->query('SELECT count(*) FROM x.t'), 20, 'the day is as it was');
}
source(
	q(ALTER TABLE x.t RENAME TO all_of_it; ALTER TABLE x.all_of_it ADD gone boolean DEFAULT false;
	  CREATE VIEW x.t AS SELECT address, block_timestamp FROM x.all_of_it WHERE NOT gone;
	  CREATE RULE hide AS ON DELETE TO x.t DO INSTEAD UPDATE x.all_of_it SET gone = true WHERE NOT gone AND address = OLD.address));
is($f->query("$run; $run; SELECT count(*) FROM x.t; SELECT count(*) FROM x.all_of_it"), "succeeded|20|0\nsucceeded|20|0\n20\n40",
	'a view whose rows are hidden instead');

# ---- a foreign column that rounds

source('ALTER FOREIGN TABLE x.ft ALTER block_timestamp TYPE timestamptz(0)');
like($f->fails($run), qr/ERROR:  42804: column "block_timestamp" of table x\.ft rounds a day's last rows.*HINT:  ALTER FOREIGN TABLE x\.ft ALTER COLUMN block_timestamp TYPE timestamp with time zone;/s,
	'a foreign column that keeps no fraction is known');
is($f->requests, '', 'before BigQuery is asked');

# ---- a source's bytes of a day bound the loads by call as well

source('SELECT 1');
my $cap = q(SET contratos.max_bytes_per_day = '20MB'; SELECT day, status FROM contratos_backfill(3, 'x'));
is($f->query($cap), "2026-11-18|succeeded\n2026-11-19|succeeded\n2026-11-20|failed", 'a backfill ends where the bytes are used up');
is(scalar($bq->requests('insert')), 2, 'BigQuery is not asked again');
like($f->fails($cap), qr/ERROR:  53400: source "x" has used up its bytes of today/, 'nor by another');
like($f->fails("SET contratos.max_bytes_per_day = '20MB'; $run"), qr/ERROR:  53400: .*HINT:  Raise contratos\.max_bytes_per_day/s, 'or for one day');

$f->stop;
done_testing();
