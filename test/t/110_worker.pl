# The launcher and its workers: which databases are served, what wakes a worker,
# what it does then, and what it looks like from outside.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.databases = 'postgres, nowhere'");
my $bq = $f->bq;
my $node = $f->node;

# What a session has heard since it was last asked: "20 succeeded 50, ...".
sub heard
{
	my ($session) = @_;
	my $out = $session->query('SELECT')->{out};
	my @payloads = $out =~ /notification "contratos" with payload "(.*)" received from/g;
	return join ', ', map { join ' ', substr($_->{day}, 8), $_->{status}, $_->{rows} // '-' } map { decode_json($_) } @payloads;
}

sub rows_of { return $f->query("SELECT count(*) FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = '$_[0]'"); }

# ---- who is there

is($f->query(q(SELECT count(*), min(datname) FROM pg_stat_activity WHERE backend_type = 'contratos launcher')),
	'1|', 'there is a launcher, in no database');
is($f->query(q(SELECT count(*), min(datname), min(application_name) FROM pg_stat_activity WHERE backend_type = 'contratos worker')),
	'1|postgres|contratos worker', 'and a worker in the database that exists');
my $missing = qr/LOG:  database "nowhere" of contratos\.databases does not exist/;
is($f->logged($missing), 1, 'the one that does not is said');
is($f->logged(qr/LOG:  contratos worker started for database "postgres"\n.*DETAIL:  BigQuery project: test-project/),
	1, 'who starts tells database and project');
is($f->query('SELECT name, start_date FROM contratos_sources'), 'tokens|2026-11-20', 'CREATE EXTENSION has woken it: the source is set up');

# ---- a database that is made later

$node->reload;
ok($f->at('2026-11-21 07:00'), 'a worker that follows');
is($f->logged($missing), 1, 'what does not exist is said once');
$f->query('CREATE DATABASE nowhere');
my $absent = qr/LOG:  extension "contratos" is not installed in database "nowhere"/;
$node->reload;
ok($f->settle('nowhere'), 'a database that was made meanwhile is found');
is($f->logged($absent), 1, 'one without the extension is said');
$f->use_database('nowhere');
$f->query('CREATE EXTENSION contratos');
ok($f->poll('SELECT count(*) = 1 FROM contratos_sources'), 'CREATE EXTENSION wakes the worker');
ok($f->settle, 'which then sleeps');
is($f->logged($absent), 1, 'and has said once that it was not there');

# ---- every morning, in both

$f->day('2026-11-20', 50);
$f->use_database('postgres');
my $listener = Contratos::Session->new($node);
$listener->query('LISTEN contratos');
ok($f->at('2026-11-21 07:59:59'), 'a second before run_at');
is($f->runs, '', 'nothing has been done');
is($f->requests, '', 'nor asked');
ok($f->at('2026-11-21 08:00'), 'at run_at');
is($f->runs, '20 schedule succeeded', 'yesterday is loaded');
is(rows_of('2026-11-20'), 50, 'its rows are there');
is(heard($listener), '20 succeeded 50', 'who listens is told');
$f->use_database('nowhere');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE status = 'succeeded')), 'the other database has it, too');
$f->settle;

# ---- the list changes

$f->use_database('postgres');
$f->set('contratos.databases' => 'postgres');
ok($f->poll(q(SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'nowhere')), 'a database off the list is left');
ok($f->settle, 'the other has its worker');
$f->set('contratos.databases' => 'nowhere, postgres');
ok($f->settle('nowhere'), 'and on the list again it is served again');
$f->set('contratos.databases' => 'postgres');
ok($f->poll(q(SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'nowhere')), 'and left again');
$f->settle;

# ---- the source changes

$f->day('2026-11-21', 60);
ok($f->at('2026-11-22 06:00'), 'the next morning, early');
is($f->runs, '20 schedule succeeded, 20 recheck unchanged', 'the day is not due, but the one before has been rechecked');
my $pid = $f->worker;
$f->query(q(BEGIN; UPDATE contratos_sources SET run_at = '05:00'; ROLLBACK));
$f->query(q(UPDATE contratos_sources SET run_at = '05:00'));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-21' AND status = 'succeeded')),
	'a change of run_at wakes the worker at commit');
$f->settle;
is($f->worker, $pid, 'it is the same worker');
is(rows_of('2026-11-21'), 60, 'and the day is there');

# ---- the queue

heard($listener);
$f->day("2026-11-$_", $_) for 10 .. 13;
my $rule = $bq->rule({ kind => 'insert', nth => 2 }, { job_pending => 1 });
is($f->query(q(SELECT contratos_enqueue('2026-11-12', '2026-11-13') + contratos_enqueue('2026-11-10', '2026-11-11'))), 4, 'days are queued');
$bq->wait(rule => $rule, state => 'answered');
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker'
	AND query = 'tokens 2026-11-13: waiting for BigQuery' AND state = 'active' AND wait_event_type = 'Extension')),
	'pg_stat_activity says what the worker waits for, on its latch');
is($f->activity('backend_xid IS NULL AND backend_xmin IS NULL AND xact_start IS NULL'), 't', 'outside of any transaction');
is(rows_of('2026-11-12'), 12, 'the first day is there');
is(heard($listener), '12 succeeded 12', 'and told');
my $queue = q(cause = 'queue');
is($f->runs($queue), '12 queue succeeded, 13 queue running, 10 queue queued, 11 queue queued', 'the ledger has one running and two queued');
is($f->query(q(SELECT job_id IS NOT NULL AND finished_at IS NULL FROM contratos_runs WHERE status = 'running')), 't', 'with the job it runs');
is($f->query(q(SELECT contratos_enqueue('2026-11-10', '2026-11-13'))), 0, 'no day is queued twice');

# ---- canceled

is($f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE day = '2026-11-10')), 't', 'what is queued is taken off');
is($f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'running')), 't', 'what runs is stopped');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-11' AND status = 'succeeded')), 'the worker goes on');
$f->settle;
is($f->worker, $pid, 'and has not died of it');
is($f->runs($queue), '12 queue succeeded, 13 queue canceled, 10 queue canceled, 11 queue succeeded', 'what is canceled stays so');
is(heard($listener), '10 canceled -, 13 canceled -, 11 succeeded 11', 'and is told once');
is((grep { $_->{cancel_requested} } $bq->jobs), 1, 'its job is canceled');
is(rows_of('2026-11-13') . rows_of('2026-11-10'), '00', 'and nothing of it is there');
$f->query(q(SELECT contratos_enqueue('2026-11-13', '2026-11-13')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-13' AND status = 'succeeded')), 'it can be queued again');

# ---- asleep

sub switches
{
	my ($process) = @_;
	my ($count) = slurp_file("/proc/$process/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
	return $count;
}

SKIP:
{
	skip 'no /proc here', 2 unless -r "/proc/$$/status";
	$f->settle;
	my %sleeper = (worker => $pid, launcher => $f->query(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'contratos launcher')));
	my %before = map { $_ => switches($sleeper{$_}) } keys %sleeper;
	$f->query('CREATE TABLE other (a int); INSERT INTO other VALUES (1); DROP TABLE other; CHECKPOINT') for 1 .. 10;
	is(switches($sleeper{$_}), $before{$_}, "the $_ sleeps while others work") for sort keys %sleeper;
}

# ---- history

$f->query(
	q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded)
	  VALUES ('tokens', '2025-01-01', 'manual', 'succeeded', '2025-01-02 08:00Z', '2025-01-02 08:00Z', 1),
	         ('tokens', '2025-01-01', 'manual', 'succeeded', '2025-01-02 09:00Z', '2025-01-02 09:00Z', 2),
	         ('tokens', '2025-01-01', 'recheck', 'unchanged', '2025-01-02 10:00Z', '2025-01-02 10:00Z', NULL),
	         ('tokens', '2025-01-01', 'manual', 'failed', '2025-01-02 11:00Z', '2025-01-02 11:00Z', NULL),
	         ('tokens', '2025-12-01', 'manual', 'failed', '2025-12-02 08:00Z', '2025-12-02 08:00Z', NULL);
	  INSERT INTO contratos_rejects VALUES (currval('contratos_runs_id_seq') - 4, 1, 'name', 'x', 'old'),
	         (currval('contratos_runs_id_seq') - 3, 1, 'name', 'x', 'last')));
ok($f->at('2026-11-22 06:00:01'), 'a worker that follows');
is($f->query(q(SELECT string_agg(status || coalesce(rows_loaded::text, ''), ' ' ORDER BY id) FROM contratos_runs WHERE day < '2026-01-01')),
	'succeeded2 failed', 'old attempts are gone, but never the last success of a day');
is($f->query('SELECT string_agg(reason, $$ $$) FROM contratos_rejects'), 'last', 'and their rejects with them');
ok($f->at('2026-11-22 06:00:02', 'contratos.history_days' => 300), 'with a shorter history');
is($f->runs(q(day < '2026-01-01')), '1 manual succeeded', 'more is gone');

is($f->logged(qr/(?:WARNING|ERROR|PANIC): /), 1, 'the log complains of nothing');
is($f->logged(qr/ERROR:  canceling statement due to user request/), 1, 'but of the run that was canceled');

$listener->quit;
$f->stop;
done_testing();
