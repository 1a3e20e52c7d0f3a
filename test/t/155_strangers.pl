# Code of strangers in a load, and what targets, triggers and foreign tables do
# to a day that is loaded a second time.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
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

# Code of a registrar, which says as whom it runs, and takes what it can get.
my $heard = qr/code of his as postgres/;
my $as_registrar = 'SET SESSION AUTHORIZATION registrar;';
$f->query(
	qq(CREATE ROLE registrar LOGIN; CREATE ROLE owner LOGIN; CREATE SCHEMA own AUTHORIZATION registrar; GRANT USAGE ON SCHEMA own TO PUBLIC;
	   GRANT CREATE ON DATABASE postgres TO registrar;
	   GRANT USAGE ON FOREIGN SERVER bigquery TO registrar; GRANT SELECT, UPDATE ON contratos_sources TO registrar;
	   GRANT EXECUTE ON FUNCTION contratos_run TO registrar;
	   $as_registrar
	   CREATE FUNCTION own.evil() RETURNS text LANGUAGE plpgsql VOLATILE AS \$\$
	   BEGIN
		RAISE WARNING 'code of his as %', current_user;
		IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE registrar SUPERUSER'; END IF;
		RETURN 'a';
	   END \$\$;
	   CREATE FUNCTION own.spy(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \$\$ DECLARE r text; BEGIN SELECT own.evil() INTO r; RETURN r; END \$\$;
	   CREATE FUNCTION own.spies(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN own.spy(\$1) IS NOT NULL; END';
	   CREATE FUNCTION own.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM own.evil(); RETURN NULL; END';
	   CREATE DOMAIN own.address AS text));

# What the registrar hangs on a table: all that PostgreSQL may look at when it plans or runs a statement on it.
sub traps
{
	my ($table, $is_foreign) = @_;
	my $name = $table =~ tr/./_/r;
	my $more = $is_foreign ? '' : "ALTER TABLE $table ALTER block_timestamp SET DEFAULT now() + (length(own.spy('constant')) * interval '0');
		CREATE INDEX ON $table ((own.spy('constant') || address));
		CREATE TRIGGER fires AFTER INSERT OR DELETE ON $table FOR EACH STATEMENT EXECUTE FUNCTION own.fires();";
	return "CREATE STATISTICS own.st_$name ON (own.spy('constant') || address) FROM $table;
		ALTER TABLE $table ADD CHECK (own.spies('constant')); $more";
}

# Code of his has run as postgres so often, at this test's own doing.
my $spied = 0;

sub innocent
{
	my ($what) = @_;
	is($f->logged($heard), $spied, "$what: no code of the registrar runs");
	is($f->query(q(SELECT rolsuper FROM pg_roles WHERE rolname = 'registrar')), 'f',
		"$what: the registrar is not a superuser");
	return;
}

# ---- who may register sources gets no further than that, by his own foreign table

source('GRANT USAGE ON SCHEMA x TO PUBLIC');
$f->query(
	"$as_registrar CREATE FOREIGN TABLE own.ft $remote; GRANT SELECT ON own.ft TO PUBLIC;" . traps('own.ft', 1) . q(
	 UPDATE public.contratos_sources SET remote_table = 'own.ft' WHERE name = 'x'));
my $refused = qr/42501: foreign table own\.ft may not be loaded into x\.t\nDETAIL:  A load reads it as role postgres, the owner of x\.t.*belongs to role registrar, which does not have the privileges of role postgres\.\nHINT:  ALTER FOREIGN TABLE own\.ft OWNER TO postgres;\n/;
for my $who ($as_registrar, '')
{
	like($f->fails("$who $run"), qr/ERROR:  $refused/, "the registrar's foreign table may not be loaded from" . ($who ? ' by the registrar' : ' by a superuser'));
}
for my $call (q(contratos_backfill(1, 'x')), q(contratos_estimate('2026-11-20', '2026-11-20', 'x')), q(contratos_verify('2026-11-20', '2026-11-20', 'x')))
{
	like($f->fails("SELECT * FROM $call"), qr/ERROR:  $refused/, "$call refuses the registrar's foreign table");
}
is($f->requests, '', 'the registrar\'s foreign table: BigQuery is not asked');
is($f->query(q(SELECT check_name, status, translate(hint, chr(10), '') FROM contratos_check('x') WHERE status = 'failed')),
	'target|failed|ALTER FOREIGN TABLE own.ft OWNER TO postgres;',
		'contratos_check() reports the registrar\'s foreign table');
$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', 'x'); UPDATE contratos_sources SET enabled = true WHERE name = 'x'));
ok($f->poll(q(SELECT count(*) > 0 FROM contratos_runs WHERE source = 'x' AND status = 'failed' AND sqlstate = '42501')), 'the worker does not load from the registrar\'s foreign table');
$f->query(q(UPDATE contratos_sources SET enabled = false WHERE name = 'x'));
innocent("a registrar's foreign table");

# the traps would work
like($f->messages(q(BEGIN; SELECT count(*) FROM own.ft WHERE block_timestamp >= '2026-11-20Z' AND address = 'x'; ROLLBACK)), $heard,
	'the planner runs code that hangs on a table');
$spied = $f->logged($heard);

# given away, with what he has hung on it
$f->query('ALTER FOREIGN TABLE own.ft OWNER TO postgres');
like($f->fails($run), qr/ERROR:  42501: foreign table own\.ft has statistics that may not be used by a load: own\.st_own_ft\n.*they belong to role "registrar".*\nHINT:  DROP STATISTICS own\.st_own_ft;/s,
	'statistics of the registrar on a foreign table are refused');
$f->query('DROP STATISTICS own.st_own_ft');
is($f->query("SET constraint_exclusion = on; $run"), 'succeeded|20|0', 'a foreign table given away by the registrar is loaded without its statistics, its CHECK not evaluated');
innocent('a foreign table given away by the registrar');

# ---- the rule is that of rights: of a member, of an owner of both, of a superuser's table

$f->query(qq(DROP FOREIGN TABLE own.ft; $as_registrar CREATE FOREIGN TABLE own.ft $remote; GRANT SELECT ON own.ft TO PUBLIC));
$f->query('ALTER TABLE x.t OWNER TO owner; GRANT USAGE ON SCHEMA x TO owner');
like($f->fails($run), qr/ERROR:  42501: foreign table own\.ft .*HINT:  ALTER FOREIGN TABLE own\.ft OWNER TO owner; or, if role registrar may do all that role owner may: GRANT owner TO registrar;/s,
	"the registrar's foreign table is refused for the target of another owner");
$f->query('GRANT owner TO registrar');
is($f->query($run), 'succeeded|20|20', 'the foreign table of a member of the target\'s owner is loaded');
$f->query($f->node->pg_version < 16 ? 'ALTER ROLE registrar NOINHERIT' : 'GRANT owner TO registrar WITH INHERIT FALSE');
like($f->fails($run), qr/ERROR:  42501: foreign table own\.ft may not/, 'a membership without INHERIT does not allow the foreign table');
$f->query('ALTER ROLE registrar INHERIT; REVOKE owner FROM registrar; ALTER FOREIGN TABLE own.ft OWNER TO owner');
is($f->query($run), 'succeeded|20|20', 'the foreign table of the target\'s owner is loaded');
$f->query('ALTER FOREIGN TABLE own.ft OWNER TO postgres');
is($f->query($run), 'succeeded|20|20', "the foreign table of a superuser is loaded");

# rights are those of the moment at which it is planned
my $slow = $bq->rule({ kind => 'results' }, { stall => 'before_headers' });
$f->query('ALTER FOREIGN TABLE own.ft OWNER TO registrar; GRANT owner TO registrar');
my $session = $f->begin($run);
ok($bq->wait(rule => $slow, state => 'stalled'), 'a load waits for BigQuery while a membership ends');
$f->query('REVOKE owner FROM registrar');
$bq->release;
my (undef, undef, $err) = $f->finish($session);
like($err, qr/ERROR:  42501: foreign table own\.ft may not/,
	'a membership that ends while BigQuery is asked does not allow the foreign table');

# ---- types of his, in a foreign table that is not

source('');
$f->query('ALTER FOREIGN TABLE x.ft ALTER address TYPE own.address; ALTER DOMAIN own.address ADD CHECK (own.spies(VALUE))');
for my $who ($as_registrar, '')
{
	like($f->fails("$who $run"), qr/ERROR:  42501: type own\.address of column "address" of foreign table x\.ft may not be used by a load\nDETAIL:  .*as role "postgres", the owner of x\.t, but the type belongs to role "registrar"\.\nHINT:  .*ALTER TYPE own\.address OWNER TO postgres;/,
		"the registrar's type in a foreign table is refused to " . ($who ? 'the registrar' : 'a superuser'));
}
is($f->requests, '', 'the registrar\'s type: BigQuery is not asked');
innocent("a registrar's type");
$f->query('ALTER DOMAIN own.address DROP CONSTRAINT address_check; ALTER TABLE x.t ALTER address TYPE own.address');
is($f->query("SET client_min_messages = error; $run"), 'succeeded|20|0', 'the registrar\'s type that the target uses, too, is allowed');
$f->query('ALTER TABLE x.t ALTER address TYPE text; ALTER TYPE own.address OWNER TO postgres');
is($f->query("SET client_min_messages = error; $run"), 'succeeded|20|20',
	'a type given to the owner of the target is allowed');
$f->query('ALTER TYPE own.address OWNER TO registrar');

# ---- what inherits from the foreign table is not of BigQuery

source(q(CREATE TABLE x.child () INHERITS (x.ft); INSERT INTO x.child VALUES ('0xchild', '2026-11-20 12:00Z'); ALTER TABLE x.child OWNER TO registrar));
$f->query('GRANT USAGE ON SCHEMA x TO registrar;' . $as_registrar . traps('x.child', 0) =~ s/CREATE INDEX.*?;//r);
is($f->query("$run; SELECT count(*) FROM x.t WHERE address = '0xchild'"), "succeeded|20|0\n0", 'rows of a child of the foreign table are not loaded');
is($f->query("SELECT status, translate(found, chr(10), '') FROM contratos_check('x') WHERE check_name = 'writable'"), 'ok|by its owner, postgres', 'contratos_check() ignores a child of the foreign table');
innocent('a child of the foreign table');

# ---- what a trigger sets does not outlast the load

source(
	q(CREATE FUNCTION x.sets() RETURNS trigger LANGUAGE plpgsql AS
	  $$ BEGIN PERFORM set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', '1s', false); RETURN NULL; END $$;
	  CREATE TRIGGER sets AFTER INSERT ON x.t FOR EACH STATEMENT EXECUTE FUNCTION x.sets()));
is($f->query("$run; SHOW default_transaction_read_only; SHOW statement_timeout"), "succeeded|20|0\noff\n0", 'a setting that a trigger changes is put back after a call');
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-20', 'x', false); UPDATE contratos_sources SET enabled = true WHERE name = 'x'));
ok($f->poll(q(SELECT count(*) = 3 FROM contratos_runs WHERE source = 'x' AND cause = 'queue' AND status <> 'queued' AND finished_at IS NOT NULL)), 'the worker loads three days whose trigger changes settings');
is($f->runs(q(source = 'x' AND cause = 'queue')), '18 queue succeeded, 19 queue succeeded, 20 queue succeeded', 'a setting that a trigger changes does not harm the worker\'s next days');
$f->query(q(UPDATE contratos_sources SET enabled = false));

# ---- other tables under the same names, while BigQuery is asked

# The registrar owns the schema: he can rename it, and drop what is in it.
my $away = "$as_registrar ALTER SCHEMA x RENAME TO away; CREATE SCHEMA x; GRANT USAGE ON SCHEMA x TO PUBLIC;
	ALTER DEFAULT PRIVILEGES IN SCHEMA x GRANT ALL ON TABLES TO PUBLIC;";
my $his_table = 'CREATE TABLE x.t (address text, block_timestamp timestamptz);' . traps('x.t', 0);
my $his_remote = "CREATE FOREIGN TABLE x.ft $remote;" . traps('x.ft', 1);
my $bring_back = 'DROP SCHEMA x CASCADE; DROP STATISTICS IF EXISTS own.st_x_t, own.st_x_ft; ALTER SCHEMA away RENAME TO x';
my %swap = (
	'the target' => [ $his_table, 'FOREIGN TABLE', 'ft', 'x.t' ],
	'the foreign table' => [ $his_remote, 'TABLE', 't', 'x.ft' ],
	'both' => [ "$his_table $his_remote", undef, undef, 'x.t' ]);
for my $what (sort keys %swap)
{
	# what he puts there, and what stays the same table: it is moved by its owner
	my ($his, $kind, $stays, $named) = @{ $swap{$what} };
	my $message = "table $named was replaced while the query was running";
	my $put = sub
	{
		$f->query("$away $his");
		$f->query("ALTER $kind away.$stays SET SCHEMA x") if $kind;
	};
	my $back = sub
	{
		$f->query("ALTER $kind x.$stays SET SCHEMA away") if $kind;
		$f->query($bring_back);
	};
	source('ALTER SCHEMA x OWNER TO registrar; GRANT USAGE ON SCHEMA x TO PUBLIC');

	# the tables of a call are locked, their schema's name is not
	if (!$kind)
	{
		$slow = $bq->rule({ kind => 'results' }, { stall => 'before_headers' });
		$session = $f->begin($run);
		ok($bq->wait(rule => $slow, state => 'stalled'), "$what replaced, in a call: BigQuery is asked");
		$put->();
		$bq->release;
		(undef, undef, $err) = $f->finish($session);
		like($err, qr/ERROR:  55006: $message\nDETAIL:  Its name now stands for another table/,
			"$what replaced, in a call: the error says so");
		$back->();
	}

	$slow = $bq->rule({ kind => 'results' }, { stall => 'before_headers' });
	$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', 'x', false); UPDATE contratos_sources SET enabled = true WHERE name = 'x'));
	ok($bq->wait(rule => $slow, state => 'stalled'), "$what replaced, in the worker: BigQuery is asked");
	$put->();
	$bq->release;
	ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'x' AND sqlstate IS NOT NULL)), "$what replaced, in the worker: the day fails");
	is($f->query(q(SELECT status, split_part(error, E'\n', 1), next_attempt_at IS NOT NULL FROM contratos_runs WHERE source = 'x' AND NOT only_cost)),
		"failed|$message|t", "$what replaced, in the worker: the day is to be tried again");
	$f->query(q(UPDATE contratos_sources SET enabled = false));
	$f->settle;
	$back->();
	is($f->query($run), 'succeeded|20|0', "$what replaced: the old tables can be loaded afterwards");
	innocent("$what replaced");
}

# a recheck looks at the target as well
source('ALTER SCHEMA x OWNER TO registrar; GRANT USAGE ON SCHEMA x TO PUBLIC');
is($f->query($run), 'succeeded|20|0', 'a day is loaded before a recheck');
$slow = $bq->rule({ kind => 'results' }, { stall => 'before_headers' });
$f->query(q(UPDATE contratos_sources SET enabled = true WHERE name = 'x'));
$f->set('contratos.now' => '2026-11-21 14:00+00');
ok($bq->wait(rule => $slow, state => 'stalled'), 'a recheck asks BigQuery while the target is replaced');
$f->query("$away $his_table $his_remote");
$bq->release;
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'x' AND cause = 'recheck' AND sqlstate = '55006')),
	'a recheck fails when the target was replaced');
$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->at('2026-11-21 06:00');
$f->query($bring_back);
innocent('tables replaced in a recheck');

# in the middle of a load, between its DELETE and its INSERT
source('ALTER SCHEMA x OWNER TO registrar; GRANT USAGE ON SCHEMA x TO PUBLIC');
is($f->query($run), 'succeeded|20|0', 'a day is loaded before it is replaced');
my $holder = Contratos::Session->new($f->node);
$holder->query('BEGIN; SELECT FROM x.t FOR UPDATE');
$session = $f->begin($run);
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'contratos_run')), 'the DELETE of a load waits for a row');
$f->query("$away $his_table $his_remote");
$holder->query('ROLLBACK');
$holder->quit;
(undef, undef, $err) = $f->finish($session);
like($err, qr/ERROR:  55006: relation "t" was replaced while a statement was prepared/, 'a target replaced before the INSERT is planned is an error');
$f->query($bring_back);
innocent('tables replaced between two statements of a load');

# dropped and made anew
source('GRANT USAGE, CREATE ON SCHEMA x TO registrar; ALTER DEFAULT PRIVILEGES IN SCHEMA x GRANT ALL ON TABLES TO PUBLIC');
$slow = $bq->rule({ kind => 'results' }, { stall => 'before_headers' });
$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', 'x', false); UPDATE contratos_sources SET enabled = true WHERE name = 'x'));
ok($bq->wait(rule => $slow, state => 'stalled'), 'the worker asks BigQuery while the target is dropped and created');
$f->query("DROP TABLE x.t; $as_registrar $his_table");
$bq->release;
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'x' AND sqlstate IS NOT NULL)),
	'a target dropped and created fails the day');
is($f->query(q(SELECT status, error, next_attempt_at IS NOT NULL FROM contratos_runs WHERE source = 'x' AND NOT only_cost)),
	"failed|table x.t was replaced while the query was running\nDETAIL:  Its name now stands for another table, or it was given to another owner.|t", 'a target dropped and created: the day is to be tried again');
$f->query(q(UPDATE contratos_sources SET enabled = false; DROP TABLE x.t CASCADE));
innocent('a target dropped and created');

# ---- another function under the name of after_load

source(q(CREATE SCHEMA hooks AUTHORIZATION registrar; GRANT USAGE ON SCHEMA hooks TO PUBLIC; CREATE FUNCTION hooks.after(text, date) RETURNS void LANGUAGE sql AS ''));
$f->query(q(UPDATE contratos_sources SET after_load = 'hooks.after' WHERE name = 'x'));
$slow = $bq->rule({ kind => 'results' }, { stall => 'before_headers' });
$session = $f->begin($run);
ok($bq->wait(rule => $slow, state => 'stalled'), 'a load asks BigQuery while after_load is replaced');
$f->query("$as_registrar ALTER SCHEMA hooks RENAME TO gone; CREATE SCHEMA hooks; GRANT USAGE ON SCHEMA hooks TO PUBLIC;
	CREATE FUNCTION hooks.after(text, date) RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM own.evil(); END'");
$bq->release;
(undef, undef, $err) = $f->finish($session);
like($err, qr/ERROR:  42501: hooks\.after may not be after_load of source "x"/, 'an after_load replaced during the load is checked again');
innocent('after_load replaced');

# ---- rows that are not let go are not loaded a second time

my $kept = qr/ERROR:  55000: table x\.t keeps rows of 2026-11-20 that a load has deleted\nDETAIL:  A trigger or rule of the table/;
for my $case (
	[ 'a trigger', q(CREATE FUNCTION x.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER keep BEFORE DELETE ON x.t FOR EACH ROW EXECUTE FUNCTION x.keep()) ],
	[ 'a rule', 'CREATE RULE keep AS ON DELETE TO x.t DO INSTEAD NOTHING' ])
{
	source($case->[1]);
	is($f->query($run), 'succeeded|20|0', "$case->[0] that keeps rows: the first load succeeds");
	like($f->fails($run), $kept, "$case->[0] that keeps rows: the second load is an error");
	is($f->query('SELECT count(*) FROM x.t'), 20, "$case->[0] that keeps rows: no row is doubled");
}
source(
	q(ALTER TABLE x.t RENAME TO all_of_it; ALTER TABLE x.all_of_it ADD gone boolean DEFAULT false;
	  CREATE VIEW x.t AS SELECT address, block_timestamp FROM x.all_of_it WHERE NOT gone;
	  CREATE RULE hide AS ON DELETE TO x.t DO INSTEAD UPDATE x.all_of_it SET gone = true WHERE NOT gone AND address = OLD.address));
is($f->query("$run; $run; SELECT count(*) FROM x.t; SELECT count(*) FROM x.all_of_it"), "succeeded|20|0\nsucceeded|20|20\n20\n40",
	'a view whose rule hides rows instead of deleting them is loaded twice');

# ---- a foreign column that rounds

source('ALTER FOREIGN TABLE x.ft ALTER block_timestamp TYPE timestamptz(0)');
like($f->fails($run), qr/ERROR:  42804: column "block_timestamp" of table x\.ft rounds a day's last rows.*HINT:  ALTER FOREIGN TABLE x\.ft ALTER COLUMN block_timestamp TYPE timestamp with time zone;/s,
	'a foreign column that rounds is refused');
is($f->requests, '', 'a foreign column that rounds: BigQuery is not asked');

# ---- a source's bytes of a day bound the loads by call as well

source('SELECT 1');
my $cap = q(SET contratos.max_bytes_per_day = '20MB'; SELECT day, status FROM contratos_backfill(3, 'x'));
is($f->query($cap), "2026-11-18|succeeded\n2026-11-19|succeeded\n2026-11-20|failed", 'a backfill ends where the bytes are used up');
is(scalar($bq->requests('insert')), 2, 'BigQuery is not asked again');
like($f->fails($cap), qr/ERROR:  53400: daily byte budget of source "x" is exhausted/, 'nor by another');
like($f->fails("SET contratos.max_bytes_per_day = '20MB'; $run"), qr/ERROR:  53400: .*HINT:  Raise contratos\.max_bytes_per_day/s, 'or for one day');

innocent('all tests');

$f->stop;
done_testing();
