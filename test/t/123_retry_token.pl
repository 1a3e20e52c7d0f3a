# No token to be had is no reason to give the day up: each morning begins with
# asking for one, and the network may be down just then.
use strict;
use warnings;

use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.retry_delay = '1min'");
my $bq = $f->bq;
my $last = q(SELECT status, attempt, sqlstate, next_attempt_at AT TIME ZONE 'UTC' FROM contratos_runs ORDER BY id DESC LIMIT 1);

$f->day('2026-11-20', 50);
my $down = $bq->rule({ kind => 'token', times => 0 }, { status => 503, headers => { 'Retry-After' => '600' } });
ok($f->at('2026-11-21 08:00'), 'the worker looks at run_at while the token endpoint is down');
is($f->query($last), 'failed|1|08006|2026-11-21 08:01:00', 'a day without a token is tried again');
$bq->reset(tables => 0);
ok($f->at('2026-11-21 08:01'), 'the worker looks when the token endpoint is up');
is($f->runs, '20 schedule failed, 20 schedule succeeded', 'a day is loaded when there is a token again');

$bq->reset(tables => 0);
$f->day('2026-11-21', 50);
$bq->rule({ kind => 'token', times => 0 }, { status => 400, body => { error => 'invalid_grant' } });
ok($f->at('2026-11-22 08:00', 'contratos.endpoint' => $bq->url), 'the worker looks with a key that is refused');
is($f->query($last), 'failed|1|28000|', 'a refused key is not tried again');

done_testing;
