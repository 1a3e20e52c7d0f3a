# A recheck that finds a difference goes on with a second job: the ledger has
# its id before it is asked for, and the bytes of both.
use strict;
use warnings;

use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new;
my $bq = $f->bq;

$f->day('2026-11-20', 50);
ok($f->at('2026-11-21 08:00'), 'the day is loaded');
$f->day('2026-11-20', 60, seed => 1);
$bq->reset(tables => 0);
my $second = $bq->rule({ kind => 'insert', nth => 2 }, { stall => 'before_work' });
$f->set('contratos.now' => '2026-11-21 14:00+00');
my $asked = $bq->wait(rule => $second, state => 'stalled');

my ($status, $job, $billed) = split /\|/, $f->query('SELECT status, job_id, bytes_billed FROM contratos_runs ORDER BY id DESC LIMIT 1');
is($status, 'running', 'the recheck goes on with a load');
is($job, $asked->{body}{jobReference}{jobId}, 'the job of a reload is in the ledger before BigQuery knows it');
cmp_ok($billed || 0, '>', 0, 'the ledger has the cost of the recheck\'s query while the reload runs');

$bq->release($second);
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE cause = 'recheck' AND status = 'succeeded')), 'the recheck reloads the day');
is($f->query("SELECT job_id FROM contratos_runs ORDER BY id DESC LIMIT 1"), $job,
	'the reloaded day has the job of the reload');
cmp_ok($f->query('SELECT bytes_billed FROM contratos_runs ORDER BY id DESC LIMIT 1'), '>', $billed, 'the bytes billed of a recheck and its reload add up');

done_testing;
