# What BigQuery bills for calls that are canceled, fail or are rolled back is in the ledger,
# so that a cap acts also on a client that reconnects and tries again.
use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Session;

my $f = Contratos::Fixture->new(standin => { csv => '' });
my $bq = $f->bq;
my $run = q(SELECT status FROM contratos_run('2026-11-20'));
my ($mb, $gb) = (1 << 20, 1 << 30);

# The rows that only have a cost, as "day status cause bytes", oldest job first.
my $costs = q(SELECT coalesce(string_agg(concat_ws(' ', to_char(day, 'DD'), status, cause, bytes_billed / 1048576), ', ' ORDER BY day), '')
	FROM contratos_runs WHERE only_cost);

sub clear { $bq->reset(tables => 0); $f->query('DELETE FROM contratos_runs'); return; }

# Cancel the call that runs in a session of its own, once BigQuery is asked.
sub cancel_when
{
	my ($rule, $state, $sql) = @_;
	my $session = $f->begin($sql);
	$bq->wait(rule => $rule, state => $state);
	$f->query(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT %contratos_%' AND pid <> pg_backend_pid() AND state = 'active'));
	return ($f->finish($session))[2];
}

$f->query('SELECT contratos_setup()');
$f->day("2026-11-$_", 50) for 16 .. 20;

# ---- a job whose answer was lost, and that is then asked for in vain: it is there, and costs

for my $case ([ 'is not answered', { status => 503, reason => 'backendError' } ], [ 'is refused', { status => 403, reason => 'accessDenied' } ])
{
	my ($what, $answer) = @$case;
	# twice: libcurl itself repeats a request once, if a connection that was kept open is closed
	$bq->rule({ kind => 'insert', times => 2 }, { lost_answer => JSON::PP::true, bill_failed => JSON::PP::true });
	$bq->rule({ kind => 'insert', nth => 3, times => 0 }, $answer);
	$f->fails("SET contratos.request_timeout = '5s'; $run");
	is($f->eventually($costs, '20 canceled manual 10'), '20 canceled manual 10', "a lost answer, and the request $what again: the ledger has what BigQuery billed");
	is(scalar $bq->requests('cancel'), 1, "a lost answer, and the request $what again: the job is canceled");
	clear();
}

# ---- a job that is canceled

my $pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
like(cancel_when($pending, 'answered', $run), qr/ERROR:  57014/, 'a load is canceled while its job runs');
is($f->eventually($costs, '20 canceled manual 10'), '20 canceled manual 10', 'a canceled job that is billed: the ledger has what BigQuery says');
is($f->query(q(SELECT concat_ws('|', attempt, bytes_processed > 0, started_at, finished_at >= started_at, rows_loaded IS NULL, first_day IS NULL)
	FROM contratos_runs)), '0|t|2026-11-21 06:00:00+00|t|t|t', 'a canceled job: its row is no attempt');
my ($job) = $bq->requests('insert');
is($f->query('SELECT job_id FROM contratos_runs'), $job->{body}{jobReference}{jobId}, 'a canceled job: its row has its id');
is($f->query(q(SELECT state, attempts, error IS NULL FROM contratos_days WHERE day = '2026-11-20')), 'missing|0|t', 'a canceled job: the day is as it was');
is($f->query('SELECT bytes_billed_this_month, missing_days, last_error IS NULL FROM _contratos_status'), 10 * $mb . '|1|t', 'a canceled job: the status has its bytes, and no other trace');
clear();

$pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true });
like(cancel_when($pending, 'answered', $run), qr/ERROR:  57014/, 'a load is canceled while another job runs');
is(scalar(grep { $_->{cancel_requested} } $bq->jobs), 1, 'that job is canceled');
# each bill is written after those before it, and this one is written
$pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, hide_cost => JSON::PP::true });
like(cancel_when($pending, 'answered', q(SELECT status FROM contratos_backfill_range('2026-11-19', '2026-11-20'))), qr/ERROR:  57014/, 'a backfill is canceled while its job runs');
is($f->eventually($costs, '19 canceled backfill 1024'), '19 canceled backfill 1024',
	'a canceled job of unknown cost counts as the byte cap, and one that costs nothing leaves no row');
is($f->query('SELECT bytes_processed IS NULL FROM contratos_runs'), 't', 'an unknown cost is marked by bytes_processed');
clear();

# BigQuery says that the job still runs, and then that it does not
$pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
$bq->rule({ kind => 'cancel' }, { envelope => { job => { status => { state => 'RUNNING' } } } });
like(cancel_when($pending, 'answered', $run), qr/ERROR:  57014/, 'a load is canceled whose job does not end at once');
is($f->eventually($costs, '20 canceled manual 10'), '20 canceled manual 10', 'BigQuery is asked for the cost of a canceled job until it has ended');
is(scalar($bq->requests('get')), 1, 'once is enough when it has');
clear();
$pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true });
$bq->rule({ kind => 'cancel' }, { stall => 'before_work' });
like(cancel_when($pending, 'answered', $run), qr/ERROR:  57014/, 'a load is canceled, and BigQuery does not answer');
is($f->eventually($costs, '20 canceled manual 1024'), '20 canceled manual 1024', 'an unanswered cancel: the cost is unknown');
$bq->release;
clear();

# ---- caps

$bq->rule({ kind => 'insert', times => 0 }, { job_pending => JSON::PP::true, hide_cost => JSON::PP::true });
for my $case (
	[ q(ALTER SERVER bigquery OPTIONS (ADD max_bytes_billed '300MB')), 'the server', 300 ],
	[ q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (ADD max_bytes_billed '20MB')), 'the table', 20 ])
{
	$f->query($case->[0]);
	like($f->fails("SET statement_timeout = '1s'; $run"), qr/ERROR:  57014/, "a load is stopped by statement_timeout with a cap of $case->[1]");
	is($f->eventually($costs, "20 canceled manual $case->[2]"), "20 canceled manual $case->[2]", "an unknown cost counts as the cap of $case->[1]");
	$f->query('DELETE FROM contratos_runs');
}
$f->query(q(ALTER SERVER bigquery OPTIONS (DROP max_bytes_billed); ALTER FOREIGN TABLE bigquery_tokens OPTIONS (DROP max_bytes_billed)));
for my $case ([ q(SET contratos.max_bytes_per_day = '70MB'; ), 70 ], [ q(SET contratos.max_bytes_per_day_total = '80MB'; ), 80 ], [ '', '' ])
{
	like($f->fails("LOAD 'contratos'; SET contratos.max_bytes_billed = 0; $case->[0] SET statement_timeout = '1s'; $run"), qr/ERROR:  57014/,
		'a load is stopped by statement_timeout without a cap');
	my $wanted = "20 canceled manual $case->[1]" =~ s/ $//r;
	is($f->eventually($costs, $wanted), $wanted, 'an unknown cost without a cap counts as the budget of the day, if there is one');
	$f->query('DELETE FROM contratos_runs');
}
clear();

# ---- days that were loaded, and taken back

like($f->fails(qq(BEGIN; $run; ROLLBACK; SELECT 1/0)), qr/22012/, 'a load is rolled back');
is($f->eventually($costs, '20 canceled manual 10'), '20 canceled manual 10', 'a load that is rolled back: the ledger has its cost');
clear();
$f->query("BEGIN; SAVEPOINT s; $run; ROLLBACK TO s; COMMIT");
is($f->eventually($costs, '20 canceled manual 10'), '20 canceled manual 10', 'a load that is rolled back to a savepoint: the ledger has its cost');
clear();
$f->query("BEGIN; SAVEPOINT s; $run; RELEASE s; COMMIT");
$f->query("DO \$\$ BEGIN PERFORM contratos_run('2026-11-19'); PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN END \$\$");
is($f->eventually($costs, '19 canceled manual 10'), '19 canceled manual 10', 'a load that an exception block takes back: the ledger has its cost');
is($f->query(q(SELECT day, status FROM contratos_runs WHERE NOT only_cost)), '2026-11-20|succeeded', 'a load in a subtransaction that commits has its own row only');
clear();

my $third = $bq->rule({ kind => 'insert', nth => 3 }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
like(cancel_when($third, 'answered', q(SELECT status FROM contratos_backfill_range('2026-11-16', '2026-11-20'))), qr/ERROR:  57014/, 'a backfill is canceled in its third day');
my $three = join ', ', map { "$_ canceled backfill 10" } 16 .. 18;
is($f->eventually($costs, $three), $three, 'a backfill that is canceled: the ledger has the cost of each job');
clear();

# ---- calls that fail

$f->query(q(SELECT contratos_run('2026-11-20')));
$f->query('DELETE FROM contratos_runs WHERE false');
$f->day('2026-11-20', 5);
like($f->fails($run), qr/ERROR:  55000/, 'a day that has shrunk is refused');
is($f->eventually($costs, '20 canceled manual 10'), '20 canceled manual 10', 'a load that is refused: the ledger has its cost, not the cap');
is($f->query(q(SELECT state FROM contratos_days WHERE day = '2026-11-20')), 'provisional', 'a load that is refused: the day is as it was');
$f->day('2026-11-20', 50);
clear();
$f->query(q(CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
	CREATE TRIGGER no BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION no()));
like($f->fails($run), qr/ERROR:  P0001: no/, 'a trigger of the target ends a load');
is($f->eventually($costs, '20 canceled manual 10'), '20 canceled manual 10', 'a load that a trigger ends: the ledger has its cost');
clear();
is($f->query(q(SELECT status FROM contratos_backfill(1))), 'failed', 'a trigger fails a day of a backfill');
is($f->query(q(SELECT string_agg(concat_ws(' ', status, bytes_billed, only_cost), ', ') FROM contratos_runs)), 'failed 10485760 f', 'a failed day of a backfill has its cost once');
$f->query('DROP TRIGGER no ON tokens');
clear();

$bq->rule({ kind => 'insert' }, { job_error => { reason => 'invalidQuery', at => 'results' } });
like($f->fails($run), qr/ERROR:  42000/, 'a job fails');
like($f->fails(q(LOAD 'contratos'; SET contratos.endpoint = 'http://127.0.0.1:9'; SET contratos.request_timeout = '1s'; ) . $run), qr/ERROR:  08001/, 'BigQuery cannot be reached');
my $stall = $bq->rule({ kind => 'token' }, { stall => 'before_headers' });
like($f->fails(q(LOAD 'contratos'; SET statement_timeout = '1s'; ) . $run), qr/ERROR:  57014/, 'a load is canceled before its job is requested');
$bq->release;
$f->query("BEGIN; $run; ROLLBACK");
is($f->eventually($costs, '20 canceled manual 10'), '20 canceled manual 10', 'jobs that fail, or were never requested, leave no row');
clear();

# ---- a job that has succeeded, and whose result is refused

$bq->rule({ kind => 'results' }, { status => 403, reason => 'accessDenied' });
like($f->fails($run), qr/ERROR:  42501/, 'the result of a job is refused');
is($f->eventually($costs, '20 canceled manual 10'), '20 canceled manual 10', 'a job whose result is refused: the ledger has what BigQuery billed');
clear();
$bq->rule({ kind => 'results' }, { status => 403, reason => 'accessDenied' });
$bq->rule({ kind => 'get' }, { status => 403, reason => 'accessDenied' });
like($f->fails($run), qr/ERROR:  42501/, 'the result of a job is refused, and its cost');
is($f->eventually($costs, '20 canceled manual 1024'), '20 canceled manual 1024', 'a job whose cost is refused, too, counts as the byte cap');
clear();
$bq->rule({ kind => 'insert' }, { job_error => { reason => 'accessDenied', at => 'results' } });
like($f->fails($run), qr/ERROR:  42501/, 'a job fails because access is denied');
$f->query("BEGIN; SELECT status FROM contratos_run('2026-11-19'); ROLLBACK");
is($f->eventually($costs, '19 canceled manual 10'), '19 canceled manual 10', 'a job that has failed leaves no row');
clear();

# ---- a session that ends

my $session = Contratos::Session->new($f->node);
$pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true });
$session->send($run);
$bq->wait(rule => $pending, state => 'answered');
$f->query('SELECT pg_terminate_backend(' . $session->pid . ')');
$session->finish;
is($f->eventually($costs, '20 canceled manual 1024'), '20 canceled manual 1024', 'a session is terminated: the cost of its job is unknown, and in the ledger');
$bq->release;
clear();

# ---- the cap acts on a client that reconnects

$f->query(q(LOAD 'contratos'; ALTER SYSTEM SET contratos.max_bytes_per_day = '40MB'));
$f->query('SELECT pg_reload_conf()');
my ($tries, $error) = (0, '');
for ($tries = 1; $tries <= 20; $tries++)
{
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'insert', nth => 2 }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
	$error = $f->fails(q(SET statement_timeout = '3s'; SELECT status FROM contratos_backfill_range('2026-11-19', '2026-11-20')));
	last if $error =~ /53400/;
	$f->eventually('SELECT count(*) FROM contratos_runs WHERE only_cost', 2 * $tries);
}
like($error, qr/ERROR:  53400: daily byte budget of source "tokens" is exhausted\nDETAIL:  \d+ bytes were billed, and contratos\.max_bytes_per_day allows 41943040/,
	'the cap stops new sessions that are canceled again and again');
is($tries, 3, 'after as many as it allows');
is($f->query('SELECT count(*), count(DISTINCT job_id), sum(bytes_billed)::bigint / 1048576 FROM contratos_runs'), '4|4|40', 'the ledger has each job once');
$f->query(q(LOAD 'contratos'; ALTER SYSTEM RESET contratos.max_bytes_per_day));
$f->query('SELECT pg_reload_conf()');
clear();

# ---- who calls

$f->query(q(CREATE ROLE loader; GRANT USAGE ON SCHEMA public TO loader;
	GRANT EXECUTE ON FUNCTION contratos_run(date, text, boolean, boolean), contratos_verify(date, date, text) TO loader;
	CREATE TABLE own (LIKE tokens); ALTER TABLE own OWNER TO loader; GRANT USAGE ON FOREIGN SERVER bigquery TO loader;
	ALTER FOREIGN TABLE bigquery_tokens OWNER TO loader; ALTER TABLE tokens OWNER TO loader));
$f->query("BEGIN; SET ROLE loader; $run; ROLLBACK");
is($f->eventually($costs, '20 canceled manual 10'), '20 canceled manual 10', 'a role without rights on the ledger: the ledger has the cost');
unlike($f->fails('SET ROLE loader; SELECT FROM contratos_runs'), qr/^$/, 'that role may not read the ledger');

unlike(slurp_file($f->node->logfile), qr/recording that/, 'no worker has failed');
$f->stop;
done_testing();
