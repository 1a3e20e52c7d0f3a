# A ledger of years: what the worker and the views ask of it in each round stays cheap.
use strict;
use warnings;

use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new;
$f->query(
	q(SELECT contratos_setup(); UPDATE contratos_sources SET start_date = '2014-01-01';
	  INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded, confirmed_at)
	  SELECT 'tokens', day, CASE n WHEN 1 THEN 'schedule' ELSE 'recheck' END, CASE n WHEN 1 THEN 'succeeded' ELSE 'unchanged' END,
		day + 1 + n, day + 1 + n, 10, CASE n WHEN 1 THEN day + 3 END
	  FROM (SELECT date '2014-01-01' + i AS day FROM generate_series(0, date '2026-11-20' - date '2014-01-01') i) d, generate_series(1, 12) n
	  ORDER BY day + n, day;
	  INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, sqlstate, reason)
	  SELECT 'tokens', date '2015-01-01' + i, 'recheck', 'failed', '2026-11-19 01:00+00', '2026-11-19 01:00+00', '08001', 'unreachable'
	  FROM generate_series(0, 1999) i;
	  ANALYZE contratos_runs));
cmp_ok($f->query('SELECT count(*) FROM contratos_runs'), '>', 55_000, 'the ledger is large');

my $plans = $f->messages(
	q(LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET auto_explain.log_analyze = on;
	  SET jit_above_cost = 0; SET client_min_messages = log; SELECT _contratos_next('tokens')));
my @plans = grep { /^Query Text: SELECT (?:name, |r\.id)/ } split /(?=^Query Text:)/m, $plans;
cmp_ok(scalar(@plans), '>=', 2, 'the statements that find the next action are seen');
is(scalar(grep { /^JIT:/m } @plans), 0, 'they are not compiled');
is(scalar(grep { /SubPlan/ } @plans), 0, 'and ask the ledger nothing for each of its rows');
my ($next) = $f->query('SELECT next_day FROM _contratos_status');
is($next, '2015-01-01', 'old days whose recheck has failed are found');

done_testing();
