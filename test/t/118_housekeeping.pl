# What a round does besides loading: set-up, recovery, choosing, pruning.  Each
# fails for itself, is logged once, and keeps neither the others nor the loads
# from going on; and an end that could not be recorded is recorded later.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.retries = 0\nlog_error_verbosity = default");
my ($bq, $node) = ($f->bq, $f->node);
$f->query('UPDATE contratos_sources SET recheck_days = 0');
$f->settle;

# Has the worker look, as a change of a source does.
sub wake { return $f->query('DELETE FROM contratos_sources WHERE false'); }
sub status_of { return $f->query("SELECT string_agg(concat_ws(' ', status, sqlstate), ', ' ORDER BY id) FROM contratos_runs WHERE day = '2026-11-$_[0]'"); }

# ---- set-up

$f->query('CREATE DATABASE second');
$f->use_database('second');
$f->query(
	q(CREATE FOREIGN DATA WRAPPER other; CREATE SERVER bigquery FOREIGN DATA WRAPPER other;
	  CREATE EXTENSION contratos));
ok($f->at('2026-11-21 06:01', 'contratos.databases' => 'postgres, second'),
	'the worker starts in a database whose set-up fails');
my $server = qr/ERROR:  server "bigquery" exists and belongs to another foreign-data wrapper\n/;
is($f->logged($server), 1, 'a failed set-up is logged once');
is($f->logged(qr/CONTEXT:  contratos worker, set-up\n/), 1, 'a failed set-up is logged with its context');
my $told = q(SELECT status, translate(found, chr(10), '') FROM contratos_check(NULL) WHERE check_name = 'housekeeping');
like($f->query($told), qr/^warning\|set-up failed at .*: server "bigquery" exists and belongs to another foreign-data wrapper HINT: /, 'contratos_check() reports a failed set-up');
wake();
$f->query('BEGIN; ALTER SERVER bigquery RENAME TO mine; CREATE SEQUENCE tokens; COMMIT');
wake();
my $sequence = qr/ERROR:  public\.tokens exists and is not a table that can be loaded\n/;
ok($node->wait_for_log($sequence), 'another error of set-up is logged');
wake();
$f->query('DROP SEQUENCE tokens');
wake();
ok($f->await_source, 'when the cause is removed, the source is there');
is($f->query($told), 'ok|the worker has no errors other than those of loads', 'and the check is content');
is($f->logged($sequence), 1, 'that has been logged once');
is($f->logged($server), 1, 'as has what was before');
$f->use_database('postgres');
ok($f->at('2026-11-21 06:02', 'contratos.databases' => 'postgres'), 'the worker starts without the second database');

# an event trigger whose function does not name its tables by their schema
$f->query('CREATE DATABASE third');
$f->use_database('third');
$f->query(
	q(CREATE EXTENSION contratos;
	  CREATE TABLE audit (what text);
	  CREATE FUNCTION audits() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (tg_tag); END $$;
	  CREATE EVENT TRIGGER audits ON ddl_command_end EXECUTE FUNCTION audits()));
my $cure = qr/Function public\.audits\(\) runs with search_path pg_catalog, pg_temp then: .*ALTER FUNCTION public\.audits\(\) SET search_path = \.\.\.;/;
my $blamed = qr/event trigger "audits", function public\.audits\(\), failed while source "tokens" was set up: relation "audit" does not exist/;
like($f->fails('SELECT contratos_setup()'), qr/ERROR:  42P01: $blamed\n.*HINT:  $cure\n/s, 'an event trigger that does not find its table is named');
like($f->query(q(SELECT translate(found, chr(10), '') || ' ' || translate(hint, chr(10), '') FROM contratos_check() WHERE check_name = 'source')), qr/doing it will fire event trigger "audits" $cure/, 'also by the check, before');
ok($f->at('2026-11-21 06:01', 'contratos.databases' => 'postgres, third'), 'the worker');
like($f->query($told), qr/^warning\|set-up failed at .*: $blamed HINT: +$cure/, 'says the same');
$f->query('ALTER FUNCTION audits() SET search_path = public');
wake();
ok($f->await_source, 'the source is set up when the event trigger\'s function has a search_path');
cmp_ok($f->query('SELECT count(*) FROM audit'), '>', 5, 'the event trigger\'s function has run in set-up');
$f->use_database('postgres');
ok($f->at('2026-11-21 06:02', 'contratos.databases' => 'postgres'), 'the worker starts without the third database');

# ---- recovery: a row that cannot be ended

$f->query(
	q(BEGIN;
	  CREATE SEQUENCE tries;
	  CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
	  $$ BEGIN PERFORM nextval('public.tries'); RAISE 'not this one' USING ERRCODE = 'P0077'; END $$;
	  CREATE TRIGGER refuse BEFORE UPDATE ON contratos_runs FOR EACH ROW WHEN (NEW.status = 'interrupted') EXECUTE FUNCTION refuse();
	  CREATE TABLE others (LIKE tokens);
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
	  VALUES ('others', 'bigquery_tokens', 'others', 'block_timestamp');
	  INSERT INTO contratos_runs (source, day, cause, status, attempt, started_at) VALUES ('tokens', '2026-11-10', 'queue', 'running', 1, now());
	  COMMIT));
my $tries = sub { return $f->query('SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM tries'); };
ok($f->poll('SELECT is_called FROM tries') && $f->settle, 'recovery of a stale run fails');
is($f->logged(qr/ERROR:  not this one\n/), 1, 'a failed recovery is logged');
my $before = $tries->();
$f->day('2026-11-20', 50);
$f->day('2026-11-09', 50);
ok($f->at('2026-11-21 08:00'), 'the worker starts at run_at while recovery fails');
is($f->query(q(SELECT string_agg(concat_ws(' ', source, day, status), ', ' ORDER BY source) FROM contratos_runs WHERE day = '2026-11-20')),
	'others 2026-11-20 succeeded, tokens 2026-11-20 succeeded', 'days are loaded while recovery fails');
is($f->logged(qr/ERROR:  not this one\n/), 2, 'a failed recovery is logged once by each worker');
cmp_ok($tries->(), '>', $before + 1, 'a failed recovery is tried in later rounds');

# a wake-up, stray or not, is no reason to hurry
$before = $tries->();
my $began = time;
wake() for 1 .. 20;
cmp_ok($tries->(), '<=', $before + 2 + (time - $began) / 5, 'a failed recovery is not tried at each wake-up');
is($f->query(q(SELECT contratos_enqueue('2026-11-09', '2026-11-09', 'others'))), 1,
	'a day is queued while recovery fails');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-09' AND status = 'succeeded')), 'a queued day is loaded while recovery fails');
$f->query('DROP TRIGGER refuse ON contratos_runs');
wake();
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE status = 'interrupted')), 'the stale run is recovered when the cause is removed');

# ---- pruning

$f->query(
	q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at)
	  VALUES ('tokens', '2025-01-01', 'manual', 'failed', '2025-01-02 08:00Z', '2025-01-02 08:00Z');
	  CREATE TRIGGER refuse BEFORE DELETE ON contratos_runs FOR EACH ROW EXECUTE FUNCTION refuse()));
$f->day('2026-11-21', 50);
my $log = slurp_file($node->logfile);
ok($f->at('2026-11-22 08:00'), 'the worker starts while pruning fails');
is(status_of(21), 'succeeded, succeeded', 'days are loaded while pruning fails');
wake();
$f->query(q(UPDATE contratos_sources SET run_at = '08:01'));
$f->settle;
my $since = substr slurp_file($node->logfile), length $log;
is(scalar(() = $since =~ /ERROR:  not this one\n/g), 1, 'a failed pruning is logged once');
like($since, qr/2026-11-21 succeeded .*2026-11-21 succeeded .*CONTEXT: .*contratos worker, pruning\n/s, 'a failed pruning is logged after the loads');
is($f->query(q(SELECT DISTINCT worker_error FROM _contratos_status)), 'pruning: not this one', 'contratos_status reports a failed pruning');
$f->query('DROP TRIGGER refuse ON contratos_runs');
wake();
ok($f->poll(q(SELECT count(*) = 0 FROM contratos_runs WHERE day = '2025-01-01')),
	'old rows are pruned when the cause is removed');
ok($f->poll(q(SELECT bool_and(worker_error IS NULL) FROM _contratos_status)),
	'contratos_status reports no trouble after pruning');

# ---- choosing

$f->query(
	q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at)
	  VALUES ('tokens', '2025-01-01', 'manual', 'failed', '2025-01-02 08:00Z', '2025-01-02 08:00Z');
	  ALTER TABLE contratos_sources RENAME COLUMN run_at TO at_run));
$log = slurp_file($node->logfile);
ok($f->at('2026-11-22 08:02'), 'the worker starts while sources cannot be read');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE day = '2025-01-01')), 0, 'old rows are pruned while sources cannot be read');
$since = substr slurp_file($node->logfile), length $log;
is(scalar(() = $since =~ /ERROR:  column "run_at" does not exist/g), 1, 'sources that cannot be read are logged once');
$f->query('ALTER TABLE contratos_sources RENAME COLUMN at_run TO run_at');
wake();

# ---- an end that cannot be recorded

$f->query(
	q(CREATE TABLE told (day date, error text);
	  CREATE FUNCTION tell(source text, day date, error text) RETURNS void LANGUAGE sql AS 'INSERT INTO public.told VALUES ($2, $3)';
	  CREATE TRIGGER refuse BEFORE UPDATE ON contratos_runs FOR EACH ROW WHEN (NEW.status = 'failed') EXECUTE FUNCTION refuse();
	  UPDATE contratos_sources SET on_failure = 'public.tell', enabled = (name = 'tokens')));
$f->settle;
$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'Access Denied: no' });
$f->query(q(SELECT contratos_enqueue('2026-11-08', '2026-11-08')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-08' AND status = 'running')) && $node->wait_for_log(qr/ERROR:  BigQuery: Access Denied: no/),
	'a day fails whose end cannot be recorded');
ok($f->settle, 'the worker goes on when an end cannot be recorded');
is(status_of('08'), 'running', 'a run whose end cannot be recorded stays running');
is($f->query('SELECT count(*) FROM told'), 0, 'on_failure is not called for a failure that is not recorded');
$f->query('DROP TRIGGER refuse ON contratos_runs');
wake();
ok($f->poll('SELECT count(*) = 1 FROM told'), 'on_failure is called when the failure is recorded');
is(status_of('08'), 'failed 42501', 'a failure recorded late has its own SQLSTATE');
is($f->query(q(SELECT reason, attempt, next_attempt_at FROM contratos_runs WHERE day = '2026-11-08')), 'accessDenied|1|', 'a failure recorded late has its reason, and no further attempt');
is($f->query('SELECT day, error FROM told'), "2026-11-08|BigQuery: Access Denied: no\nDETAIL:  BigQuery's reason: accessDenied, HTTP status 403.",
	'on_failure gets the error of a failure recorded late');

# ---- a day that cannot even begin

$f->day('2026-11-07', 5);
$f->query('CREATE TRIGGER refuse BEFORE UPDATE ON contratos_runs FOR EACH ROW EXECUTE FUNCTION refuse()');
$f->query(q(SELECT contratos_enqueue('2026-11-07', '2026-11-07')));
ok($f->poll(q(SELECT worker_error LIKE 'recording: %' FROM _contratos_status WHERE source = 'tokens')), 'contratos_status reports that recording failed');
like($f->query($told), qr/^warning\|recording failed at /, 'contratos_check() reports that recording failed');
is(status_of('07'), 'queued', 'a day whose start cannot be recorded stays queued');
is($f->logged(qr/contratos worker, recording\n/), 1, 'recording that failed is logged once');
$f->query('DROP TRIGGER refuse ON contratos_runs');
wake();
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-07' AND status <> 'queued')), 'a queued day is tried when its start can be recorded');
ok($f->poll(q(SELECT worker_error IS NULL FROM _contratos_status WHERE source = 'tokens')), 'contratos_status reports no trouble after recording');

# ---- nobody to be told as

$f->settle;
$f->query('ALTER TABLE tokens RENAME TO away');
my $gone = qr/ERROR:  relation "public\.tokens" does not exist/;
my $logged = $f->logged($gone);
$f->query(q(SELECT contratos_enqueue('2026-11-08', '2026-11-08')));
ok($f->poll(q(SELECT count(*) = 2 FROM contratos_runs WHERE day = '2026-11-08' AND status = 'failed')) && $f->settle, 'a day fails whose target does not exist');
is(status_of('08'), 'failed 42501, failed 42P01', 'a day whose target does not exist has its SQLSTATE');
is($f->query('SELECT count(*) FROM told'), 1, 'on_failure is not called without a target\'s owner');
is($f->logged($gone), $logged + 2, 'an on_failure without a target\'s owner is logged');

$f->stop;
done_testing();
