# late_checks: a day is rechecked 14, 30 and 60 days after its end, and only if asked for.
use strict;
use warnings;

use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new;

# When the day was rechecked, as days of the year 2026.
sub checked { return $f->query(q(SELECT string_agg(to_char(finished_at AT TIME ZONE 'UTC', 'MM-DD'), ' ' ORDER BY id) FROM contratos_runs WHERE day = '2026-11-20' AND cause = 'recheck')); }

$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-20', recheck_days = 0, catchup_days = 0));
$f->day('2026-11-20', 50);
ok($f->at('2026-11-21 08:00'), 'the worker loads a day');
ok($f->at('2026-11-22 08:30'), 'the worker confirms it');
is(checked(), '11-22', 'a day is rechecked until it is confirmed');
ok($f->at('2026-12-05 08:30'), 'the worker looks 14 days after its end');
is(checked(), '11-22', 'without late_checks a confirmed day is not rechecked later');
$f->query(q(UPDATE contratos_sources SET late_checks = true, enabled = false));
ok($f->at('2026-12-05 07:59'), 'late_checks are asked for');
$f->query(q(UPDATE contratos_sources SET enabled = true));
ok($f->settle, 'the worker looks a minute before run_at of the 14th day');
is(checked(), '11-22', 'a late check waits for run_at');
my $billed = $f->query(q(SELECT sum(bytes_billed) FROM contratos_runs WHERE day = '2026-11-20'));
ok($f->at('2026-12-05 08:00'), 'the worker looks at run_at of the 14th day');
is(checked(), '11-22 12-05', 'a day is rechecked 14 days after its end');
cmp_ok($f->query(q(SELECT sum(bytes_billed) FROM contratos_runs WHERE day = '2026-11-20')), '>', $billed, 'a late check is billed, and in the ledger');
ok($f->at('2026-12-20 08:00'), 'the worker looks between two late checks');
is(checked(), '11-22 12-05', 'late checks are more and more seldom');
$f->day('2026-11-20', 60);
ok($f->at('2026-12-21 08:00'), 'the worker looks 30 days after the day\'s end');
is($f->query(q(SELECT string_agg(cause || ' ' || status, ', ' ORDER BY id) FROM contratos_runs WHERE day = '2026-11-20' AND finished_at > '2026-12-21')), 'recheck differs, reload succeeded',
	'what upstream has changed after a month is loaded by a late check');
ok($f->at('2027-01-20 08:00'), 'the worker looks 60 days after the day\'s end');
is(checked(), '11-22 12-05 12-21 01-20', 'the last late check is 60 days after the day\'s end');
ok($f->at('2027-03-20 08:00'), 'the worker looks much later');
is(checked(), '11-22 12-05 12-21 01-20', 'there are no more late checks');

$f->stop;
done_testing();
