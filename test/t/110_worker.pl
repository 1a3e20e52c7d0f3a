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
	'1|', 'the launcher runs, in no database');
is($f->query(q(SELECT count(*), min(datname), min(application_name) FROM pg_stat_activity WHERE backend_type = 'contratos worker')),
	'1|postgres|contratos worker', 'a worker runs in the database that exists');
my $missing = qr/LOG:  database "nowhere" of contratos\.databases does not exist/;
is($f->logged($missing), 1, 'the log has one line on a database that does not exist');
is($f->logged(qr/LOG:  contratos worker started for database "postgres"\n.*DETAIL:  BigQuery project: test-project/),
	1, 'the log has the database and project of a worker that starts');
is($f->query('SELECT name, start_date FROM contratos_sources'), 'tokens|2026-11-20', 'CREATE EXTENSION wakes the worker: the source is set up');

# ---- a database that is made later

$node->reload;
ok($f->at('2026-11-21 07:00'), 'a worker starts after a reload');
is($f->logged($missing), 1, 'a database that does not exist is logged once');
$f->query('CREATE DATABASE nowhere');
my $absent = qr/LOG:  extension "contratos" is not installed in database "nowhere"/;
$node->reload;
ok($f->settle('nowhere'), 'a database that was created later gets a worker');
is($f->logged($absent), 1, 'a database without the extension is logged');
$f->use_database('nowhere');
$f->query('CREATE EXTENSION contratos');
ok($f->poll('SELECT count(*) = 1 FROM contratos_sources'), 'CREATE EXTENSION wakes the worker of a later database');
ok($f->settle, 'the worker of a later database sleeps after setup');
is($f->logged($absent), 1, 'a database without the extension is logged once');

# ---- every morning, in both

$f->day('2026-11-20', 50);
$f->use_database('postgres');
my $listener = Contratos::Session->new($node);
$listener->query('LISTEN contratos');
ok($f->at('2026-11-21 07:59:59'), 'the worker looks a second before run_at');
is($f->runs, '', 'nothing is loaded before run_at');
is($f->requests, '', 'nothing is asked before run_at');
ok($f->at('2026-11-21 08:00'), 'the worker looks at run_at');
is($f->runs, '20 schedule succeeded', 'yesterday is loaded at run_at');
is(rows_of('2026-11-20'), 50, 'yesterday\'s rows are in the table');
is(heard($listener), '20 succeeded 50', 'a listener is notified of the day');
$f->use_database('nowhere');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE status = 'succeeded')),
	'the other database loads the day, too');
$f->settle;

# ---- the list changes

$f->use_database('postgres');
$f->set('contratos.databases' => 'postgres');
ok($f->poll(q(SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'nowhere')),
	'a database off the list loses its worker');
ok($f->settle, 'a database on the list keeps its worker');
$f->set('contratos.databases' => 'nowhere, postgres');
ok($f->settle('nowhere'), 'a database on the list again gets a worker');
$f->set('contratos.databases' => 'postgres');
ok($f->poll(q(SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'nowhere')),
	'a database off the list again loses its worker');
$f->settle;

# ---- the source changes

$f->day('2026-11-21', 60);
ok($f->at('2026-11-22 06:00'), 'the worker looks early the next morning');
is($f->runs, '20 schedule succeeded, 20 recheck unchanged', 'a day is not due before run_at, but the day before it is rechecked');
my $pid = $f->worker;
$f->query(q(BEGIN; UPDATE contratos_sources SET run_at = '05:00'; ROLLBACK));
$f->query(q(UPDATE contratos_sources SET run_at = '05:00'));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-21' AND status = 'succeeded')),
	'a change of run_at wakes the worker at commit');
$f->settle;
is($f->worker, $pid, 'a change of run_at keeps the worker\'s process');
is(rows_of('2026-11-21'), 60, 'a change of run_at: the day\'s rows are in the table');

# ---- the queue

heard($listener);
$f->day("2026-11-$_", $_) for 10 .. 13;
my $rule = $bq->rule({ kind => 'insert', nth => 2 }, { job_pending => 1 });
is($f->query(q(SELECT contratos_enqueue('2026-11-12', '2026-11-13') + contratos_enqueue('2026-11-10', '2026-11-11'))), 4, 'days are queued');
$bq->wait(rule => $rule, state => 'answered');
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker'
	AND query = 'tokens 2026-11-13: waiting for BigQuery' AND state = 'active' AND wait_event_type = 'Extension')),
	'pg_stat_activity says what the worker waits for, on its latch');
is($f->activity('backend_xid IS NULL AND backend_xmin IS NULL AND xact_start IS NULL'), 't', 'the worker waits for BigQuery outside of any transaction');
is(rows_of('2026-11-12'), 12, 'the first queued day has its rows');
is(heard($listener), '12 succeeded 12', 'a listener is notified of the first queued day');
my $queue = q(cause = 'queue');
is($f->runs($queue), '12 queue succeeded, 13 queue running, 10 queue queued, 11 queue queued', 'the ledger has one running day and two queued ones');
is($f->query(q(SELECT job_id IS NOT NULL AND finished_at IS NULL FROM contratos_runs WHERE status = 'running')), 't', 'the ledger has the job of a running day');
is($f->query(q(SELECT contratos_enqueue('2026-11-10', '2026-11-13'))), 0, 'no day is queued twice');

# ---- canceled

is($f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE day = '2026-11-10')), 't', 'a queued day can be canceled');
is($f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'running')), 't',
	'a running day can be canceled');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-11' AND status = 'succeeded')), 'the worker goes on after a cancel');
$f->settle;
is($f->worker, $pid, 'a cancel does not end the worker');
is($f->runs($queue), '12 queue succeeded, 13 queue canceled, 10 queue canceled, 11 queue succeeded', 'canceled days stay canceled');
is(heard($listener), '10 canceled -, 13 canceled -, 11 succeeded 11',
	'a listener is notified of each canceled day once');
is((grep { $_->{cancel_requested} } $bq->jobs), 1, 'the job of a canceled day is canceled');
is(rows_of('2026-11-13') . rows_of('2026-11-10'), '00', 'canceled days have no rows');
$f->query(q(SELECT contratos_enqueue('2026-11-13', '2026-11-13')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-13' AND status = 'succeeded')), 'a canceled day can be queued again');

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
	q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded, confirmed_at)
	  VALUES ('tokens', '2025-01-01', 'manual', 'succeeded', '2025-01-02 08:00Z', '2025-01-02 08:00Z', 1, NULL),
	         ('tokens', '2025-01-01', 'manual', 'succeeded', '2025-01-02 09:00Z', '2025-01-02 09:00Z', 2, '2025-01-04'),
	         ('tokens', '2025-01-01', 'recheck', 'unchanged', '2025-01-02 10:00Z', '2025-01-02 10:00Z', NULL, NULL),
	         ('tokens', '2025-01-01', 'manual', 'failed', '2025-01-02 11:00Z', '2025-01-02 11:00Z', NULL, NULL),
	         ('tokens', '2025-12-01', 'manual', 'failed', '2025-12-02 08:00Z', '2025-12-02 08:00Z', NULL, NULL);
	  INSERT INTO contratos_rejects VALUES (currval('contratos_runs_id_seq') - 4, 1, 'name', 'x', 'old'),
	         (currval('contratos_runs_id_seq') - 3, 1, 'name', 'x', 'last')));
ok($f->at('2026-11-22 06:00:01'), 'a worker looks at an old history');
is($f->query(q(SELECT string_agg(status || coalesce(rows_loaded::text, ''), ' ' ORDER BY id) FROM contratos_runs WHERE day < '2026-01-01')),
	'succeeded2 failed', 'old attempts are deleted, except for the last success of a day');
is($f->query('SELECT string_agg(reason, $$ $$) FROM contratos_rejects'), 'last',
	'rejects are deleted with their attempts');
ok($f->at('2026-11-22 06:00:02', 'contratos.history_days' => 300), 'a worker looks with a shorter history_days');
is($f->runs(q(day < '2026-01-01')), '1 manual succeeded', 'a shorter history_days deletes more');

is($f->logged(qr/(?:WARNING|ERROR|PANIC): /), 1, 'the log has no other warnings or errors');
is($f->logged(qr/ERROR:  canceling statement due to user request/), 1, 'the log has the error of the canceled run');

$listener->quit;
$f->stop;
done_testing();
