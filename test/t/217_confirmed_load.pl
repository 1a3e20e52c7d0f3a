# A load that begins a day or more after the day's end is confirmed by itself: a month's backfill costs a month.
use strict;
use warnings;

use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new;

$f->query(q(UPDATE contratos_sources SET start_date = '2026-12-01', recheck_days = 2));
$f->day(sprintf('2026-%s', $_), 5) for (map { sprintf '10-%02d', $_ } 31), (map { sprintf '11-%02d', $_ } 1 .. 30), (map { sprintf '12-%02d', $_ } 1 .. 8);
$f->query(q(SET contratos.now = '2026-12-01 12:00+00'; SELECT contratos_backfill(31)));
is($f->query('SELECT count(*), count(DISTINCT job_id), count(confirmed_at) FROM contratos_runs'), '31|31|30', 'a backfill of 31 days runs 31 jobs, and confirms all but yesterday');
is($f->query('SELECT state, count(*) FROM contratos_days GROUP BY 1 ORDER BY 1'), "confirmed|30\nprovisional|1", 'the days of a backfill are confirmed');
my $billed = $f->query('SELECT sum(bytes_billed) FROM contratos_runs');
for my $day (2 .. 8)
{
	ok($f->at(sprintf '2026-12-%02d 12:00', $day), "the worker looks on the following week's day $day");
}
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE cause NOT IN ('backfill', 'schedule') AND day < '2026-11-30')), 0,
	'in the following week no day of the backfill is asked for again but the last');
is($f->query(q(SELECT sum(bytes_billed) FROM contratos_runs WHERE day < '2026-11-30')), $billed / 31 * 30, 'nor billed');
is($f->query(q(SELECT count(*) FROM contratos_days WHERE day < '2026-12-07' AND state <> 'confirmed')), 0, 'all are confirmed');

$f->stop;
done_testing();
