# Loaded days compared with BigQuery again, and days that were missed.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new;
my $bq = $f->bq;

sub rows_of { return $f->query("SELECT count(*) FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = '$_[0]'"); }

# What was done at a day, in order.
sub history { return $f->query("SELECT string_agg(cause || ' ' || status, ', ' ORDER BY id) FROM contratos_runs WHERE day = '$_[0]'"); }

sub confirmed { return $f->query("SELECT confirmed_at FROM contratos_runs WHERE day = '$_[0]' AND status = 'succeeded' ORDER BY id DESC LIMIT 1"); }

# ---- partial in the morning, replaced at noon

my $day = '2026-11-20';
$f->day($day, 30);
ok($f->at('2026-11-21 08:00'), 'a part of the day');
is(history($day), 'schedule succeeded', 'is loaded');
$f->day($day, 50);
ok($f->at('2026-11-21 13:59:59'), 'until six hours later');
is(history($day), 'schedule succeeded', 'nobody looks');
ok($f->at('2026-11-21 14:00'), 'then');
is(history($day), 'schedule succeeded, recheck succeeded', 'the day differs, and is loaded again');
is(rows_of($day), 50, 'all of it is there');
ok($f->at('2026-11-21 20:00'), 'after six hours more');
is(history($day), 'schedule succeeded, recheck succeeded, recheck unchanged', 'nothing has changed');
is(confirmed($day), '', 'but the day has ended less than 24 hours ago');
is($f->query(q(SELECT bytes_processed > 0, bytes_billed, rows_loaded, job_id IS NOT NULL FROM contratos_runs WHERE status = 'unchanged')),
	't|10485760||t', 'the ledger has what it has cost');
$f->day('2026-11-21', 40);
ok($f->at('2026-11-22 02:00'), 'in the night');
is(confirmed($day), '2026-11-22 02:00:00+00', 'it is confirmed, at its last success');

# ---- once a day from then on

my $count = $f->query('SELECT count(*) FROM contratos_runs');
ok($f->at('2026-11-23 01:59:59'), 'for a day');
is($f->query(qq(SELECT count(*) FROM contratos_runs WHERE id > $count AND day = '$day')), 0, 'a confirmed day is left alone');
ok($f->at('2026-11-23 02:00'), 'then');
is($f->query(qq(SELECT count(*) FROM contratos_runs WHERE id > $count AND day = '$day')), 1, 'it is looked at again');

# ---- upstream and the target change what was confirmed

$f->day($day, 50, seed => 7);
ok($f->at('2026-11-24 02:00'), 'as many rows, but others');
is($f->query("SELECT cause, status, rows_loaded, rows_replaced FROM contratos_runs WHERE day = '$day' ORDER BY id DESC LIMIT 1"),
	'recheck|succeeded|50|50', 'are noticed by their fingerprint');
$f->query("DELETE FROM tokens WHERE ctid IN (SELECT ctid FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = '$day' LIMIT 5)");
ok($f->at('2026-11-25 02:00'), 'rows that were deleted here');
is(rows_of($day), 50, 'are loaded again');
$f->day($day, 10);
ok($f->at('2026-11-26 02:00'), 'a day that has shrunk there');
is($f->query("SELECT cause, status FROM contratos_runs WHERE day = '$day' ORDER BY id DESC LIMIT 1"), 'recheck|refused', 'is refused');
is(rows_of($day), 50, 'the rows here are kept');

# ---- what is filtered here is not loaded for ever

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->query(q(TRUNCATE contratos_runs; TRUNCATE tokens;
	UPDATE contratos_sources SET start_date = '2026-11-25', recheck_days = 30;
	CREATE FUNCTION erase() RETURNS void LANGUAGE sql AS
	$$ DELETE FROM tokens WHERE ctid IN (SELECT ctid FROM tokens LIMIT 5) $$;
	UPDATE contratos_sources SET enabled = true));
$f->day('2026-11-25', 40);
ok($f->at('2026-11-26 08:00'), 'a day is loaded');
for my $time ('2026-11-26 14:00', '2026-11-26 20:00', '2026-11-27 02:00')
{
	$f->query('SELECT erase()');
	ok($f->at($time), "rows of it are erased, $time");
}
my $differs = qr/WARNING:  source "tokens": 2026-11-25 still differs after it was loaded again twice/;
is(history('2026-11-25'), 'schedule succeeded, recheck succeeded, recheck succeeded, recheck differs',
	'after two loads for the same difference it is reported');
is($f->logged($differs), 1, 'in the log, too');
ok($f->at('2026-11-28 01:59:59'), 'until a day later');
is($f->logged($differs), 1, 'that is all');
ok($f->at('2026-11-28 02:00'), 'then');
is($f->logged($differs), 2, 'it is reported again');
is(rows_of('2026-11-25'), 35, 'and not loaded');

# ---- missed days

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->query(q(TRUNCATE contratos_runs; TRUNCATE tokens; UPDATE contratos_sources SET start_date = '2026-11-01'));
$f->day("2026-11-$_", 20) for map { sprintf '%02d', $_ } 1 .. 30;
ok($f->at('2026-12-01 09:00'), 'a source that is disabled');
is($f->runs, '', 'is left alone');
$f->query(q(UPDATE contratos_sources SET enabled = true));
ok($f->poll(q(SELECT count(*) = 30 FROM contratos_runs WHERE status = 'succeeded')), 'enabled, it is caught up');
is($f->query(q(SELECT string_agg(extract(day FROM day)::text, ' ' ORDER BY id) FROM contratos_runs)),
	join(' ', 30, 1 .. 29), 'yesterday first, then the oldest first');
is($f->query(q(SELECT count(*), count(DISTINCT xmin::text) FROM contratos_runs)), '30|30', 'each day in a transaction of its own');
is($f->query('SELECT count(*) FROM tokens'), 600, 'all are there');
$f->settle;
$f->query(q(DELETE FROM contratos_runs WHERE day IN ('2026-11-10', '2026-11-12')));
$f->query(q(UPDATE contratos_sources SET max_shrink = max_shrink));
ok($f->poll(q(SELECT count(*) = 2 FROM contratos_runs WHERE id > 30 AND day IN ('2026-11-10', '2026-11-12') AND status = 'succeeded')), 'a gap is filled');
is($f->query('SELECT count(*) FROM tokens'), 600, 'nothing is there twice');

# ---- what was queued from before the start

$f->settle;
$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-30'));
$f->query(q(DELETE FROM contratos_runs WHERE day = '2026-11-28'; SELECT contratos_enqueue('2026-11-28', '2026-11-28')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-28' AND status = 'succeeded')), 'a day before the start');
$f->settle;
$f->day('2026-11-28', 25);
ok($f->at('2026-12-01 15:00'), 'is looked at like others');
is(history('2026-11-28'), 'queue succeeded, recheck succeeded', 'and kept right');

$f->stop;
done_testing();
