# Whose code a statement of ours may have run: what others may hang on the target
# and on the tables around it, on the ledger's own tables, and what a registrar may
# have called.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new();
my $bq = $f->bq;
my $run = q(SELECT status, rows_loaded, rows_replaced FROM public.contratos_run('2026-11-20', 'x'));
my $remote = q((address text OPTIONS (type 'STRING'), block_timestamp timestamptz OPTIONS (type 'TIMESTAMP'))
	SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens'));
my $columns = '(address text, block_timestamp timestamptz)';
$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->day('2026-11-20', 20);

# Guest: what he is given on a table of others, and what he makes of it.  His code
# takes what it can get, at once or at commit.
my $heard = qr/code of his as (?:postgres|owner)/;
my $as_guest = 'SET SESSION AUTHORIZATION guest;';
$f->query(
	qq(CREATE ROLE guest LOGIN; CREATE ROLE owner LOGIN; CREATE SCHEMA own AUTHORIZATION guest; GRANT USAGE ON SCHEMA own TO PUBLIC;
	   $as_guest
	   CREATE FUNCTION own.evil() RETURNS text LANGUAGE plpgsql VOLATILE AS \$\$
	   BEGIN
		RAISE LOG 'code of his as %', current_user;
		IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE guest SUPERUSER'; END IF;
		RETURN 'a';
	   END \$\$;
	   CREATE FUNCTION own.spy(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \$\$ DECLARE r text; BEGIN SELECT own.evil() INTO r; RETURN r; END \$\$;
	   CREATE FUNCTION own.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM own.evil(); RETURN COALESCE(NEW, OLD); END';
	   CREATE FUNCTION own.definer() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM own.evil(); RETURN COALESCE(NEW, OLD); END'));

# Source x: x.t from x.ft, after these statements, which make x.t.
sub source
{
	my ($sql) = @_;
	$f->query(
		qq(DELETE FROM contratos_runs WHERE source = 'x'; DELETE FROM contratos_sources WHERE name = 'x';
		   DROP SCHEMA IF EXISTS x CASCADE; CREATE SCHEMA x; GRANT USAGE ON SCHEMA x TO PUBLIC; CREATE FOREIGN TABLE x.ft $remote;
		   $sql;
		   INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled, start_date, catchup_days)
			VALUES ('x', 'x.ft', 'x.t', 'block_timestamp', false, '2026-11-20', 0)));
	$bq->reset(tables => 0);
	return;
}

sub innocent
{
	my ($what) = @_;
	is($f->logged($heard), 0, "$what: no code of the guest runs");
	is($f->query(q(SELECT rolsuper FROM pg_roles WHERE rolname = 'guest')), 'f', "$what: the guest is not a superuser");
	return;
}

# Refused in each path, before BigQuery is asked, until $mend.
sub refused
{
	my ($what, $error, $mend) = @_;
	like($f->fails($run), qr/ERROR:  42501: $error/s, "$what: a call is refused");
	for my $call (q(contratos_estimate('2026-11-20', '2026-11-20', 'x')), q(contratos_verify('2026-11-20', '2026-11-20', 'x')))
	{
		like($f->fails("SELECT * FROM $call"), qr/ERROR:  42501: $error/s, "$what: $call is refused");
	}
	$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', 'x'); UPDATE contratos_sources SET enabled = true WHERE name = 'x'));
	ok($f->poll(q(SELECT count(*) > 0 FROM contratos_runs WHERE source = 'x' AND status = 'failed' AND sqlstate = '42501')), "$what: the worker is refused");
	$f->query(q(UPDATE contratos_sources SET enabled = false WHERE name = 'x'));
	is($f->requests, '', "$what: BigQuery is not asked");
	is($f->query(q(SELECT status FROM contratos_check('x') WHERE check_name = 'target')), 'failed', "$what: contratos_check() fails target");
	innocent($what);
	$f->query($mend) if defined $mend;
	like($f->query($run), qr/^succeeded\|20\|/, "$what: the day is loaded after the hint's cure") if defined $mend;
	return;
}

# ---- triggers on the target: of who has TRIGGER on it

my $table = "CREATE TABLE x.t $columns";
for my $function ('fires', 'definer')
{
	source("$table; GRANT TRIGGER ON x.t TO guest; $as_guest CREATE TRIGGER his BEFORE INSERT OR DELETE ON x.t FOR EACH ROW EXECUTE FUNCTION own.$function(); RESET SESSION AUTHORIZATION");
	refused("a guest's trigger, $function()",
		qr/trigger "his" of table x\.t may not be fired as role postgres\nDETAIL:  Its function own\.$function belongs to role guest, .*\nHINT:  DROP TRIGGER his ON x\.t; and, .*REVOKE TRIGGER ON x\.t FROM/,
		'DROP TRIGGER his ON x.t');
}
source("$table; GRANT TRIGGER ON x.t TO guest; $as_guest CREATE CONSTRAINT TRIGGER his AFTER INSERT ON x.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION own.fires(); RESET SESSION AUTHORIZATION");
refused("a guest's deferred constraint trigger", qr/trigger "his"/, 'ALTER TABLE x.t DISABLE TRIGGER his');

# of a target that is not a superuser's
source("$table; ALTER TABLE x.t OWNER TO owner; ALTER FOREIGN TABLE x.ft OWNER TO owner; GRANT USAGE ON FOREIGN SERVER bigquery TO owner;
	GRANT TRIGGER ON x.t TO guest; $as_guest CREATE TRIGGER his BEFORE INSERT ON x.t FOR EACH ROW EXECUTE FUNCTION own.fires(); RESET SESSION AUTHORIZATION");
refused("a guest's trigger on the owner's table", qr/trigger "his" of table x\.t may not be fired as role owner/, 'DROP TRIGGER his ON x.t');

# those of whoever has the owner's privileges are the owner's business
source("$table; CREATE FUNCTION x.hers() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN COALESCE(NEW, OLD); END';
	ALTER TABLE x.t OWNER TO owner; ALTER FOREIGN TABLE x.ft OWNER TO owner; CREATE TRIGGER ours BEFORE INSERT OR DELETE ON x.t FOR EACH ROW EXECUTE FUNCTION x.hers()");
is($f->query($run), 'succeeded|20|0', "a trigger with a superuser's function is fired on another's target");
$f->query('ALTER FUNCTION x.hers() OWNER TO owner');
is($f->query($run), 'succeeded|20|20', "a trigger with the owner's function is fired");

# hung there while BigQuery is asked
source("$table; GRANT TRIGGER ON x.t TO guest");
my $slow = $bq->rule({ kind => 'results' }, { stall => 'before_headers' });
$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', 'x', false); UPDATE contratos_sources SET enabled = true WHERE name = 'x'));
ok($bq->wait(rule => $slow, state => 'stalled'), 'a load asks BigQuery while a guest creates a trigger');
$f->query("$as_guest CREATE TRIGGER his BEFORE INSERT OR DELETE ON x.t FOR EACH ROW EXECUTE FUNCTION own.fires()");
$bq->release;
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'x' AND sqlstate = '42501')), 'a trigger created while BigQuery is asked fails the day');
$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->settle;
innocent("a guest's trigger created while BigQuery is asked");

# while a load is at it, nobody can make one
source("$table; GRANT TRIGGER ON x.t TO guest; GRANT REFERENCES ON x.t TO guest; ALTER TABLE x.t ADD UNIQUE (address, block_timestamp)");
my $session = Contratos::Session->new($f->node);
$session->query("BEGIN; $run");
for my $sql (q(CREATE TRIGGER his BEFORE INSERT ON x.t FOR EACH ROW EXECUTE FUNCTION own.fires()),
	"CREATE TABLE own.r (address text, block_timestamp timestamptz, FOREIGN KEY (address, block_timestamp) REFERENCES x.t (address, block_timestamp) ON DELETE CASCADE)")
{
	like($f->fails("SET lock_timeout = 100; $as_guest $sql"), qr/55P03/, 'a guest\'s trigger or foreign key waits until the load is committed');
}
$session->query('ROLLBACK');
$session->quit;

# ---- a table of his that references the target

my $references = "CREATE TABLE own.r (address text, block_timestamp timestamptz, FOREIGN KEY (address, block_timestamp) REFERENCES x.t (address, block_timestamp) ON DELETE CASCADE);
	INSERT INTO own.r VALUES ('0xold', '2026-11-20 12:00Z');
	CREATE CONSTRAINT TRIGGER his AFTER DELETE ON own.r DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION own.fires();";
source("$table; ALTER TABLE x.t ADD UNIQUE (address, block_timestamp); INSERT INTO x.t VALUES ('0xold', '2026-11-20 12:00Z'); GRANT REFERENCES ON x.t TO guest;
	$as_guest $references RESET SESSION AUTHORIZATION");
refused("a guest's foreign key to the target",
	qr/table own\.r may not be touched by a statement on x\.t\nDETAIL:  .*as role postgres; but it belongs to role guest,.*\nHINT:  Drop the foreign key, .*ALTER TABLE own\.r OWNER TO postgres;/,
	'DROP TABLE own.r');

# a table of the owner's that references it, and has a trigger of his
source("$table; ALTER TABLE x.t ADD UNIQUE (address, block_timestamp); INSERT INTO x.t VALUES ('0xold', '2026-11-20 12:00Z');
	CREATE TABLE x.r (address text, block_timestamp timestamptz, FOREIGN KEY (address, block_timestamp) REFERENCES x.t (address, block_timestamp) ON DELETE CASCADE);
	INSERT INTO x.r VALUES ('0xold', '2026-11-20 12:00Z'); GRANT TRIGGER ON x.r TO guest;
	$as_guest CREATE TRIGGER his BEFORE DELETE ON x.r FOR EACH ROW EXECUTE FUNCTION own.fires(); RESET SESSION AUTHORIZATION");
refused("a guest's trigger beyond a foreign key", qr/trigger "his" of table x\.r/, 'DROP TRIGGER his ON x.r');
is($f->query('SELECT count(*) FROM x.r'), 0, 'rows that reference the day are deleted with it');

# ---- tables of his below the target, and above

my $partitioned = "CREATE TABLE x.t $columns PARTITION BY RANGE (block_timestamp);
	CREATE TABLE x.p PARTITION OF x.t FOR VALUES FROM ('2026-11-01Z') TO ('2026-12-01Z'); CREATE TABLE x.q PARTITION OF x.t DEFAULT";
source("$partitioned; ALTER TABLE x.p OWNER TO guest; $as_guest CREATE TRIGGER his BEFORE INSERT ON x.p FOR EACH ROW EXECUTE FUNCTION own.fires(); RESET SESSION AUTHORIZATION");
refused("a guest's partition", qr/table x\.p may not be touched by a statement on x\.t/, 'DROP TRIGGER his ON x.p; ALTER TABLE x.p OWNER TO postgres');
source("$partitioned; GRANT TRIGGER ON x.p TO guest; $as_guest CREATE TRIGGER his BEFORE INSERT ON x.p FOR EACH ROW EXECUTE FUNCTION own.fires(); RESET SESSION AUTHORIZATION");
refused("a guest's trigger on the owner's partition", qr/trigger "his" of table x\.p/, 'DROP TRIGGER his ON x.p');
source("$table; CREATE TABLE x.child () INHERITS (x.t); ALTER TABLE x.child OWNER TO guest; $as_guest CREATE STATISTICS own.st ON (own.spy('constant') || address) FROM x.child; RESET SESSION AUTHORIZATION");
refused("a guest's child table", qr/table x\.child may not be touched by a statement on x\.t/, 'ALTER TABLE x.child NO INHERIT x.t');
source("CREATE TABLE x.above $columns PARTITION BY RANGE (block_timestamp); CREATE TABLE x.t PARTITION OF x.above DEFAULT;
	CREATE TABLE x.beside PARTITION OF x.above FOR VALUES FROM ('2020-01-01') TO ('2021-01-01'); ALTER TABLE x.beside OWNER TO guest; ALTER TABLE x.above OWNER TO guest");
refused("a guest's table that the target is a partition of", qr/table x\.above may not be touched by a statement on x\.t/, 'ALTER TABLE x.above OWNER TO postgres');

# ---- what a view or a rule names

source("CREATE TABLE x.below $columns; ALTER TABLE x.below OWNER TO guest; CREATE VIEW x.t AS SELECT * FROM x.below;
	$as_guest CREATE TRIGGER his BEFORE INSERT ON x.below FOR EACH ROW EXECUTE FUNCTION own.fires(); RESET SESSION AUTHORIZATION");
refused("a guest's table below a view", qr/table x\.below may not be touched by a statement on x\.t/, 'DROP TRIGGER his ON x.below; ALTER TABLE x.below OWNER TO postgres');
source("CREATE TABLE x.base $columns; GRANT TRIGGER ON x.base TO guest; CREATE VIEW x.below AS SELECT * FROM x.base; CREATE VIEW x.t AS SELECT * FROM x.below;
	$as_guest CREATE TRIGGER his BEFORE INSERT ON x.base FOR EACH ROW EXECUTE FUNCTION own.fires(); RESET SESSION AUTHORIZATION");
refused("a guest's trigger below two views", qr/trigger "his" of table x\.base/, 'DROP TRIGGER his ON x.base');
source("$table; CREATE TABLE x.copy $columns; GRANT TRIGGER ON x.copy TO guest; CREATE RULE copies AS ON INSERT TO x.t DO ALSO INSERT INTO x.copy VALUES (NEW.*);
	$as_guest CREATE TRIGGER his BEFORE INSERT ON x.copy FOR EACH ROW EXECUTE FUNCTION own.fires(); RESET SESSION AUTHORIZATION");
like($f->fails($run), qr/ERROR:  42501: trigger "his" of table x\.copy/,
	"a guest's trigger on a table that a rule writes is refused");
innocent("a guest's trigger on a table that a rule writes");

# ---- statistics on the target stay their maker's

source("$table; INSERT INTO x.t SELECT 'a', '2026-11-20Z'; ALTER TABLE x.t OWNER TO guest; $as_guest CREATE STATISTICS own.st ON (own.spy('constant') || address) FROM x.t; RESET SESSION AUTHORIZATION; ALTER TABLE x.t OWNER TO postgres");
refused("a guest's statistics on the target", qr/table x\.t has statistics that may not be used by a load: own\.st\n.*\nHINT:  DROP STATISTICS own\.st;/, 'DROP STATISTICS own.st');

# ---- the ledger's own tables

source($table);
is($f->query($run), 'succeeded|20|0', 'a day is loaded before triggers are on the ledger\'s tables');
for my $its (qw(contratos_runs contratos_sources contratos_rejects _contratos_housekeeping))
{
	my $event = $its eq 'contratos_sources' ? 'UPDATE' : 'INSERT OR UPDATE OR DELETE';
	$f->query("GRANT TRIGGER ON public.$its TO guest; $as_guest CREATE TRIGGER his BEFORE $event ON public.$its FOR EACH ROW EXECUTE FUNCTION own.fires()");
	# what writes there: a load, and the worker's daily pruning
	like($f->fails($run), qr/ERROR:  42501: trigger "his" of table public\.$its may not be fired as role postgres/, "$its: a guest's trigger fails the load") if $its eq 'contratos_runs';
	innocent("$its: a guest's trigger");
	$f->query("DROP TRIGGER his ON public.$its; REVOKE TRIGGER ON public.$its FROM guest");
}
$f->query("GRANT TRIGGER ON contratos_rejects TO guest; $as_guest CREATE TRIGGER his BEFORE DELETE ON public.contratos_rejects FOR EACH STATEMENT EXECUTE FUNCTION own.fires()");
$f->at('2026-11-23 06:00');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_check() WHERE check_name = 'housekeeping' AND status = 'warning' AND translate(found, chr(10), '') ~ 'pruning failed.*trigger "his" of table public.contratos_rejects')),
	'a guest\'s trigger fails the pruning, which contratos_check() reports');
innocent("a guest's trigger on pruned rows");
$f->query('DROP TRIGGER his ON contratos_rejects');
$f->query("GRANT REFERENCES ON contratos_runs TO guest; $as_guest CREATE TABLE own.r (run bigint REFERENCES public.contratos_runs ON DELETE CASCADE ON UPDATE CASCADE)");
like($f->fails($run), qr/ERROR:  42501: table own\.r may not be touched by a statement on public\.contratos_runs/, 'a guest\'s table that references the ledger fails the load');
$f->query('DROP TABLE own.r; REVOKE REFERENCES ON contratos_runs FROM guest');
is($f->query($run), 'succeeded|20|20', 'a load succeeds without the guest\'s table that references the ledger');

# ---- a registrar has called what he may call himself

source("$table; CREATE SCHEMA jobs; GRANT USAGE ON SCHEMA jobs TO PUBLIC; CREATE FUNCTION jobs.closes(text, date) RETURNS void LANGUAGE sql AS 'SELECT';
	CREATE FUNCTION jobs.tells(text, date, text) RETURNS void LANGUAGE sql AS 'SELECT'; REVOKE EXECUTE ON FUNCTION jobs.closes, jobs.tells FROM PUBLIC;
	GRANT SELECT, UPDATE, INSERT ON contratos_sources TO guest");
for my $set ("after_load = 'jobs.closes'", "on_failure = 'jobs.tells'")
{
	my ($column, $function) = $set =~ /(\w+) = '(.*)'/;
	like($f->fails("$as_guest UPDATE public.contratos_sources SET $set WHERE name = 'x'"),
		qr/ERROR:  42501: permission denied to register function $function as $column\nDETAIL:  .*role "guest" is not\.\nHINT:  GRANT EXECUTE ON ROUTINE \Q$function\E\(text, date.*\) TO guest;/,
		"$column: a function that the registrar may not call is refused");
	$f->query("UPDATE contratos_sources SET $set WHERE name = 'x'");
	is($f->query("$as_guest UPDATE public.contratos_sources SET enabled = enabled WHERE name = 'x' RETURNING $column"), $function, "$column: a function that is registered already stays");
}
like($f->fails("$as_guest SET search_path = jobs; UPDATE public.contratos_sources SET after_load = 'closes' WHERE name = 'x'"), qr/42501: permission denied to register/, 'after_load: a function that the registrar may not call is refused under any search_path');
$f->query('UPDATE contratos_sources SET after_load = NULL; GRANT EXECUTE ON FUNCTION jobs.closes TO guest');
is($f->query("$as_guest UPDATE public.contratos_sources SET after_load = 'jobs.closes' WHERE name = 'x' RETURNING after_load"), 'jobs.closes', 'after_load: a function that the registrar may call is registered');

# ---- a row of the ledger that somebody holds: the activity says what is waited for

source($table);
$slow = $bq->rule({ kind => 'results' }, { stall => 'before_headers' });
$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', 'x', false); UPDATE contratos_sources SET enabled = true WHERE name = 'x'));
ok($bq->wait(rule => $slow, state => 'stalled'), 'a day is loaded before its row of the ledger is locked');
$session = Contratos::Session->new($f->node);
$session->query(q(BEGIN; SELECT contratos_cancel(max(id)) FROM contratos_runs WHERE source = 'x' AND NOT only_cost));
$bq->release;
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND query = 'x 2026-11-20: recording the load' AND wait_event_type = 'Lock')),
	'pg_stat_activity shows that a load waits for its row of the ledger');
$session->query('ROLLBACK');
$session->quit;
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'x' AND status = 'succeeded')), 'a load that waited for its row of the ledger succeeds');

$f->stop;
done_testing;
