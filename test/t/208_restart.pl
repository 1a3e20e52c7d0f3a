# A worker that is being started again is no missing worker; and a worker outlives its
# launcher: the next one knows it.
use strict;
use warnings;

use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(conf => 'log_min_messages = debug1');
my $bq = $f->bq;
$f->day("2026-11-$_", 20) for 17 .. 20;

sub launcher { return $f->query(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'contratos launcher')); }
sub check_of_worker { return $f->query(q(SELECT status, found FROM contratos_check() WHERE check_name = 'worker')); }
my $missing = qr/NOTICE:  00000: no worker is running in this database/;
my $problem = q(SELECT count(*) FROM contratos_problems WHERE problem = 'worker');

# ---- between the end of an idle worker, at a reload, and its next start

my $launcher = launcher();
kill 'STOP', $launcher;
$f->node->reload;
ok($f->poll(q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'contratos worker')), 'an idle worker leaves at a reload');
unlike($f->messages(q(SELECT contratos_enqueue('2026-11-17', '2026-11-17'))), $missing, 'contratos_enqueue() does not say that there is no worker while it restarts');
is(check_of_worker(), 'ok|is being started', 'contratos_check() is content with a worker that restarts');
is($f->query($problem), 0, 'a worker that restarts is no problem');
is($f->query('SELECT worker FROM _contratos_status'), '', '_contratos_status has no process of a worker that restarts');
kill 'CONT', $launcher;
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-17' AND status = 'succeeded')), 'the worker that was restarted loads the day');
like(check_of_worker(), qr/^ok\|runs as process \d+$/, 'contratos_check() has the process of the worker again');

# ---- a worker that is terminated again soon, and so is started again a little later

for my $time (1 .. 3)
{
	ok($f->settle, "there is a worker before its end no. $time");
	unlike($f->messages(q(SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE backend_type = 'contratos worker'; SELECT pg_sleep(0.3);
		SELECT contratos_enqueue('2026-11-17', '2026-11-17', only_missing => false))), $missing, "contratos_enqueue() does not say that there is no worker after its end no. $time");
}
ok($f->settle, 'the worker is back');
ok($f->poll(q(SELECT count(*) = 0 FROM contratos_runs WHERE status IN ('queued', 'running', 'waiting'))), 'the days are loaded');

# ---- a launcher that is terminated while its worker is busy

my $started = qr/starting background worker process "contratos worker for postgres"/;
my $rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-18')));
$bq->wait(rule => $rule, state => 'answered');
my $worker = $f->worker;
my $before = $f->logged($started);
$f->query("SELECT pg_terminate_backend($launcher)");
ok($f->poll(qq(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos launcher' AND pid <> $launcher AND wait_event_type = 'Extension')), 'a launcher that was terminated is started again');
is($f->worker, $worker, 'a worker outlives its launcher');
is($f->logged($started), $before, 'the new launcher starts no second worker');
$bq->release($rule);
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-18' AND status = 'succeeded')), 'a worker that has outlived its launcher finishes its day');
is($f->worker, $worker, 'a worker that has outlived its launcher goes on');

# the new launcher sees its end, and starts the next
$f->query("SELECT pg_terminate_backend($worker)");
ok($f->poll(qq(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND pid <> $worker)), 'the new launcher starts a worker in place of one that it did not start');

# ---- the new launcher ends a worker that it has not started

$rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->query(q(SELECT contratos_enqueue('2026-11-19', '2026-11-19')));
$bq->wait(rule => $rule, state => 'answered');
$launcher = launcher();
$f->query("SELECT pg_terminate_backend($launcher)");
ok($f->poll(qq(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos launcher' AND pid <> $launcher AND wait_event_type = 'Extension')), 'another launcher is started');
$f->set('contratos.databases' => '');
ok($f->poll(q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'contratos worker')), 'a worker whose database is taken out of the list is ended by a launcher that has not started it');
$bq->release($rule);
like($f->messages(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20'))), $missing, 'contratos_enqueue() says that there is no worker when there is to be none');
is($f->query($problem), 1, 'no worker is a problem');
is((split /\|/, check_of_worker())[0], 'skipped', 'contratos_check() knows that there is to be no worker');

# and the same if it was taken out while there was no launcher
$f->set('contratos.databases' => 'postgres');
ok($f->settle, 'there is a worker again');
ok($f->poll(q(SELECT count(*) = 0 FROM contratos_runs WHERE status IN ('queued', 'running'))), 'the days that were stopped are loaded');
$rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->query(q(SELECT contratos_enqueue('2026-11-19', '2026-11-19', only_missing => false)));
$bq->wait(rule => $rule, state => 'answered');
$launcher = launcher();
kill 'STOP', $launcher;
$f->set('contratos.databases' => '');
$f->query("SELECT pg_terminate_backend($launcher)");
kill 'CONT', $launcher;
ok($f->poll(q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'contratos worker')), 'a worker whose database was taken out of the list while there was no launcher is ended by the next');
$bq->release($rule);

$f->stop;
done_testing();
