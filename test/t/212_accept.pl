# contratos_accept(): what the target has of a day is to stay.
use strict;
use warnings;

use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new;
my $bq = $f->bq;

sub state_of { return $f->query("SELECT state FROM contratos_days WHERE day = '$_[0]'"); }

sub rows_of { return $f->query("SELECT count(*) FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = '$_[0]'"); }

sub day_runs { return $f->query("SELECT string_agg(cause || ' ' || status, ', ' ORDER BY id) FROM contratos_runs WHERE day = '$_[0]'"); }

# ---- a day that BigQuery will never have

$f->day('2026-11-19', 30);
$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-19', ready_timeout = '1h'));
$bq->delete_day(undef, '2026-11-20');
ok($f->at('2026-11-21 08:00'), 'the worker looks at a day that BigQuery does not have');
is(state_of('2026-11-20'), 'waiting', 'a day that BigQuery does not have waits');
my $run = $f->query(q(SELECT contratos_accept('2026-11-20', why => 'the chain was halted')));
is($f->query("SELECT status, cause, accepted_by, why, rows_loaded, target_rows, started_at = finished_at FROM contratos_runs WHERE id = $run"),
	'accepted|manual|postgres|the chain was halted||0|t', 'the ledger has who accepted the day, and why');
is(day_runs('2026-11-20'), 'schedule canceled, manual accepted', 'what waits for an accepted day is canceled');
is(state_of('2026-11-20'), 'accepted', 'an accepted day is accepted');
is($f->query('SELECT missing_days, waiting_days, failed_days, lag_days, last_error FROM _contratos_status'), '0|0|0|0|', 'an accepted day is neither missing nor failed');
ok($f->at('2026-11-21 14:00'), 'the worker looks at an accepted day');
is(day_runs('2026-11-20'), 'schedule canceled, manual accepted', 'an accepted day is not loaded');
is($f->query(q(SELECT contratos_enqueue('2026-11-19', '2026-11-20'))), 0, 'an accepted day is not missing to contratos_enqueue()');
is($f->query(q(SELECT count(*) FROM contratos_backfill_range('2026-11-19', '2026-11-20', only_missing => true))), 0,
	'an accepted day is not missing to a backfill');
is($f->query(q(SELECT contratos_accept('2026-11-20'))) - $run > 0 ? 1 : 0, 1, 'a day can be accepted again');

# ---- the next check stores the baseline, a later one compares with it

ok($f->at('2026-11-22 15:00'), 'the worker rechecks an accepted day');
is($f->query(q(SELECT rows_loaded, fingerprint FROM contratos_runs WHERE status = 'accepted' ORDER BY id DESC LIMIT 1)), '0|0:0',
	'the first recheck stores what BigQuery has as the baseline');
is(day_runs('2026-11-20'), 'schedule canceled, manual accepted, manual accepted, recheck unchanged', 'the first recheck of an accepted day finds no difference');
is(state_of('2026-11-20'), 'accepted', 'a recheck that finds the baseline leaves the day accepted');
$f->day('2026-11-20', 25);
ok($f->at('2026-11-23 15:00'), 'the worker rechecks an accepted day that BigQuery has by then');
is(state_of('2026-11-20'), 'differs', 'an accepted day differs when BigQuery has changed');
is(rows_of('2026-11-20'), 0, 'an accepted day that differs is not loaded by itself');
is($f->logged(qr/WARNING:  database "postgres", source "tokens": 2026-11-20 differs from what was accepted\n.*DETAIL:  BigQuery has 25 rows instead of 0/), 1,
	'an accepted day that differs is logged');
is($f->query(q(SELECT check_error ~ '^BigQuery has 25 rows', error FROM contratos_days WHERE day = '2026-11-20')), 't|', 'contratos_days has what differs from an accepted day');
is($f->query(q(SELECT status FROM contratos_run('2026-11-20'))), 'succeeded', 'an accepted day is loaded by a call');
is(state_of('2026-11-20'), 'confirmed', 'a success ends the acceptance');

# ---- a day that was refused, and one with rows erased

$f->day('2026-11-21', 40);
ok($f->at('2026-11-23 15:01'), 'the worker loads another day');
$f->day('2026-11-21', 5);
ok($f->at('2026-11-24 15:30'), 'the worker rechecks a day that has shrunk in BigQuery');
is(state_of('2026-11-21'), 'refused', 'a reload of a day that has shrunk is refused');
$f->query(q(SELECT contratos_accept('2026-11-21', 'tokens', 'BigQuery has lost rows')));
is(state_of('2026-11-21') . ' ' . rows_of('2026-11-21'), 'accepted 40', 'a refused day is accepted with the rows that stand');
is($f->query(q(SELECT rows, last_loaded, error FROM contratos_days WHERE day = '2026-11-21')), '40||', 'contratos_days has the rows of an accepted day');
is($f->query(q(SELECT rows_in_target FROM (SELECT target_rows AS rows_in_target FROM contratos_runs WHERE status = 'accepted' AND day = '2026-11-21') x)), 40,
	'the ledger has the rows of the target');
ok($f->at('2026-11-25 15:31'), 'the worker rechecks an accepted day with rows');
is(state_of('2026-11-21'), 'accepted', 'what BigQuery has lost is not a difference once it is the baseline');
$f->query(q(DELETE FROM tokens WHERE ctid IN (SELECT ctid FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = '2026-11-21' LIMIT 1)));
ok($f->at('2026-11-26 15:32'), 'the worker rechecks an accepted day with a row deleted');
is(state_of('2026-11-21') . ' ' . rows_of('2026-11-21'), 'differs 39', 'an accepted day differs when the target has changed');
like($f->query(q(SELECT agrees FROM contratos_verify('2026-11-21', '2026-11-21'))), qr/^f$/, 'contratos_verify() compares an accepted day with what was accepted');
$f->query(q(SELECT contratos_accept('2026-11-21')));
is($f->query(q(SELECT status FROM contratos_backfill_range('2026-11-21', '2026-11-21'))), 'refused', 'a load of an accepted day may be refused');
is(state_of('2026-11-21'), 'accepted', 'a refused load leaves an accepted day accepted');

# ---- a failed day

$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-19'));
$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'no' });
$f->day('2026-11-26', 10);
ok($f->at('2026-11-27 08:00'), 'a day fails');
is(state_of('2026-11-26'), 'failed', 'a day has failed');
$bq->reset(tables => 0);
$f->query(q(SELECT contratos_accept('2026-11-26')));
ok($f->at('2026-11-28 08:00'), 'the worker looks at a failed day that was accepted');
is(rows_of('2026-11-26'), 0, 'a failed day that was accepted is not tried again');

# ---- what is not accepted

like($f->fails(q(SELECT contratos_accept('2026-11-19'))), qr/ERROR:  55000: 2026-11-19 of source "tokens" is loaded, and there is nothing to accept/, 'a day that is loaded is not accepted');
like($f->fails(q(SELECT contratos_accept('2026-11-28'))), qr/ERROR:  22023: day 2026-11-28 is not over yet/, 'a day that is not over is not accepted');
like($f->fails(q(SELECT contratos_accept(NULL))), qr/ERROR:  22004/, 'the day must not be NULL');
like($f->fails(q(SELECT contratos_accept('2026-11-26', 'nothing'))), qr/ERROR:  42704/, 'the source must exist');
like($f->fails(q(BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT contratos_accept('2026-11-26'))), qr/ERROR:  25000/, 'a day is not accepted with an old snapshot');
like($f->fails(q(BEGIN READ ONLY; SELECT contratos_accept('2026-11-26'))), qr/ERROR:  25006/, 'a day is not accepted in a read-only transaction');
$f->query(q(CREATE ROLE guest; CREATE ROLE clerk; GRANT EXECUTE ON FUNCTION contratos_accept TO clerk));
like($f->fails(q(SET ROLE guest; SELECT contratos_accept('2026-11-26'))), qr/ERROR:  42501: permission denied for function contratos_accept/, 'not everybody may accept a day');
like($f->query(q(SET ROLE clerk; SELECT contratos_accept('2026-11-26'))), qr/^\d+$/, 'EXECUTE is enough to accept a day');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE status = 'running')), 0, 'nothing is left running');

$f->stop;
done_testing();
