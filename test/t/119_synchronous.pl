# Under a synchronous standby that does not answer: a commit waits, and so does
# what it was for; a wait that is canceled leaves what was committed.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new(init => { allows_streaming => 1 }, conf => "contratos.job_timeout = '60min'");
my ($bq, $node) = ($f->bq, $f->node);
my $waits = sub { $f->poll("SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $_[0] AND wait_event = 'SyncRep'") };
my $warning = qr/WARNING:  01000: canceling wait for synchronous replication due to user request\nDETAIL:  The transaction has already committed locally/;

# whoever says nothing else does not wait for it, the worker too
$f->query(q(ALTER DATABASE postgres SET synchronous_commit = local));
$f->query(q(UPDATE contratos_sources SET enabled = false; SELECT contratos_enqueue('2026-11-10', '2026-11-11')));
ok($f->at('2026-11-21 06:01', 'synchronous_standby_names' => 'gone'),
	'the worker starts with a synchronous standby that is gone');
my $session = Contratos::Session->new($node);
my $pid = $session->pid;
$session->query('SET synchronous_commit = on');

sub cancel { $session->send("SELECT contratos_cancel(id) FROM contratos_runs WHERE day = '2026-11-$_[0]' AND status IN ('queued', 'running')"); return; }
sub status_of { return $f->query("SELECT string_agg(status, ' ' ORDER BY id) FROM contratos_runs WHERE day = '2026-11-$_[0]'"); }

# ---- canceling a day

cancel(10);
ok($waits->($pid), 'contratos_cancel() waits for the standby');
is(status_of(10), 'queued', 'a cancel that waits for the standby is not visible');
is($f->query("SELECT pg_cancel_backend($pid)"), 't', 'the wait of contratos_cancel() is canceled');
my $answer = $session->finish;
is($answer->{out}, 't', 'contratos_cancel() returns true after its wait was canceled');
like($answer->{err}, $warning, 'contratos_cancel() has PostgreSQL\'s warning after its wait was canceled');
is(status_of(10), 'canceled', 'a day is canceled although the wait was canceled');

my $rule = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true });
$f->query('UPDATE contratos_sources SET enabled = true');
$bq->wait(rule => $rule, state => 'answered');
is(status_of(11), 'running', 'a day is being loaded');
cancel(11);
ok($waits->($pid), 'the cancel of a running day waits for the standby');
is(status_of(11), 'running', 'a load goes on while its cancel waits for the standby');
is($f->query("SELECT pg_cancel_backend($pid)"), 't', 'the wait of a running day\'s cancel is canceled');
like($session->finish->{err}, $warning, 'the cancel of a running day has PostgreSQL\'s warning');
ok($f->poll(q(SELECT count(*) = 0 FROM contratos_progress)) && $f->settle,
	'the load is stopped after the wait of its cancel');
is(status_of(11), 'canceled', 'a running day is canceled although the wait was canceled');
is((grep { $_->{cancel_requested} } $bq->jobs), 1, 'the job of a canceled day is canceled');

# ---- who notifies and waits keeps all others from it

$bq->reset(tables => 0);
$f->day("2026-11-$_", 50) for 12 .. 13;
$session->send('BEGIN; CREATE TABLE t (); NOTIFY other; COMMIT');
ok($waits->($pid), 'a NOTIFY waits for the standby');
$f->query(q(SELECT contratos_enqueue('2026-11-12', '2026-11-13')));
ok($f->poll(q(SELECT count(*) = 2 FROM contratos_runs WHERE status = 'succeeded')),
	'the worker loads its days while a NOTIFY waits');
ok($f->settle, 'the worker goes on while a NOTIFY waits');
is($f->logged(qr/WARNING:  database "postgres": nobody is notified: canceling statement due to lock timeout/), 1, 'the worker warns that nobody is notified while a NOTIFY waits');
is($f->query("SELECT pg_cancel_backend($pid)"), 't', 'the wait of a NOTIFY is canceled');
like($session->finish->{err}, $warning, 'a NOTIFY has PostgreSQL\'s warning');

# ---- the worker itself

$f->query('ALTER DATABASE postgres RESET synchronous_commit');
$f->day('2026-11-14', 50);
ok($f->at('2026-11-21 06:02'), 'the worker starts with synchronous_commit');
$f->query(q(SET synchronous_commit = local; SELECT contratos_enqueue('2026-11-14', '2026-11-14')));
ok($waits->($f->worker), 'the worker waits for the standby');
$f->set('synchronous_standby_names' => '');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-14' AND status = 'succeeded')), 'the worker goes on when there is no synchronous standby');

$session->quit;
$f->stop;
done_testing();
