# A recheck that finds a difference ends, and the load that it calls for is another
# run with another job: the ledger has its id before it is asked for.
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
is($status, 'running', 'a reload is running');
is($job, $asked->{body}{jobReference}{jobId}, 'the job of a reload is in the ledger before BigQuery knows it');
is($billed, '', 'a reload that is running is not billed for the recheck');
is($f->query(q(SELECT status, bytes_billed > 0, rows_loaded FROM contratos_runs WHERE cause = 'recheck')), 'differs|t|',
	'the recheck has ended, with its own cost, while the reload runs');

$bq->release($second);
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE cause = 'reload' AND status = 'succeeded')), 'the reload loads the day');
is($f->query("SELECT job_id FROM contratos_runs ORDER BY id DESC LIMIT 1"), $job,
	'the reloaded day has the job of the reload');
is($f->query(q(SELECT error FROM contratos_runs WHERE cause = 'recheck')), 'BigQuery has 60 rows instead of 50, latest timestamp '
	. $f->query(q(SELECT source_max_timestamp FROM contratos_runs WHERE cause = 'reload')), 'the row of a recheck says what differs');

done_testing;
