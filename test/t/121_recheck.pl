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
ok($f->at('2026-11-21 08:00'), 'the worker looks at a day that is incomplete');
is(history($day), 'schedule succeeded', 'an incomplete day is loaded');
$f->day($day, 50);
ok($f->at('2026-11-21 13:59:59'), 'the worker looks a second before six hours have passed');
is(history($day), 'schedule succeeded', 'a loaded day is not rechecked before six hours have passed');
ok($f->at('2026-11-21 14:00'), 'the worker looks six hours after the load');
is(history($day), 'schedule succeeded, recheck differs, reload succeeded', 'a recheck after six hours reloads a day that differs');
is(rows_of($day), 50, 'a reloaded day has all its rows');
ok($f->at('2026-11-21 20:00'), 'the worker looks six hours after the reload');
is(history($day), 'schedule succeeded, recheck differs, reload succeeded, recheck unchanged',
	'a recheck after six more hours finds the day unchanged');
is(confirmed($day), '', 'an unchanged day is not confirmed within 24 hours after its end');
is($f->query(q(SELECT bytes_processed > 0, bytes_billed, rows_loaded, job_id IS NOT NULL FROM contratos_runs WHERE status = 'unchanged')),
	't|10485760||t', 'the ledger has the cost of an unchanged recheck');
$f->day('2026-11-21', 40);
ok($f->at('2026-11-22 02:00'), 'the worker looks more than 24 hours after the day\'s end');
is(confirmed($day), '2026-11-22 02:00:00+00', 'an unchanged day is confirmed at its last success');

# ---- once a day from then on

my $count = $f->query('SELECT count(*) FROM contratos_runs');
ok($f->at('2026-11-23 01:59:59'), 'the worker looks a second before a day after the confirmation');
is($f->query(qq(SELECT count(*) FROM contratos_runs WHERE id > $count AND day = '$day')), 0, 'a confirmed day is not rechecked within a day');
ok($f->at('2026-11-23 02:00'), 'the worker looks a day after the confirmation');
is($f->query(qq(SELECT count(*) FROM contratos_runs WHERE id > $count AND day = '$day')), 1,
	'a confirmed day is rechecked after a day');

# ---- upstream and the target change what was confirmed

$f->day($day, 50, seed => 7);
ok($f->at('2026-11-24 02:00'), 'the worker looks at a day with as many, but other rows');
is($f->query("SELECT cause, status, rows_loaded, rows_replaced FROM contratos_runs WHERE day = '$day' ORDER BY id DESC LIMIT 1"),
	'reload|succeeded|50|50', 'a recheck notices other rows by their fingerprint');
$f->query("DELETE FROM tokens WHERE ctid IN (SELECT ctid FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = '$day' LIMIT 5)");
ok($f->at('2026-11-25 02:00'), 'the worker looks at a day with rows deleted in the target');
is(rows_of($day), 50, 'a recheck reloads rows deleted in the target');
$f->day($day, 10);
ok($f->at('2026-11-26 02:00'), 'the worker looks at a day that has shrunk in BigQuery');
is($f->query("SELECT cause, status FROM contratos_runs WHERE day = '$day' ORDER BY id DESC LIMIT 1"), 'reload|refused', 'a reload refuses a day that has shrunk');
is(rows_of($day), 50, 'a day whose reload is refused keeps its rows');

# ---- what is filtered here is not loaded for ever

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->query(q(TRUNCATE contratos_runs; TRUNCATE tokens;
	UPDATE contratos_sources SET start_date = '2026-11-25', recheck_days = 30;
	CREATE FUNCTION erase() RETURNS void LANGUAGE sql AS
	$$ DELETE FROM tokens WHERE ctid IN (SELECT ctid FROM tokens LIMIT 5) $$;
	UPDATE contratos_sources SET enabled = true));
$f->day('2026-11-25', 40);
ok($f->at('2026-11-26 08:00'), 'a day is loaded whose rows will be deleted in the target');
for my $time ('2026-11-26 14:00', '2026-11-26 20:00', '2026-11-27 02:00')
{
	$f->query('SELECT erase()');
	ok($f->at($time), "the worker looks at a day with rows deleted, $time");
}
my $differs = qr/WARNING:  database "postgres", source "tokens": 2026-11-25 still differs after it was loaded again twice/;
is(history('2026-11-25'), 'schedule succeeded, recheck differs, reload succeeded, recheck differs, reload succeeded, recheck differs',
	'a day that differs after two reloads is reported');
is($f->logged($differs), 1, 'a day that differs after two reloads is logged');
ok($f->at('2026-11-28 01:59:59'), 'the worker looks within a day after the report');
is($f->logged($differs), 1, 'a day that differs is logged once within a day');
ok($f->at('2026-11-28 02:00'), 'the worker looks a day after the report');
is($f->logged($differs), 2, 'a day that differs is logged again after a day');
is(rows_of('2026-11-25'), 35, 'a day that differs is not reloaded again');

# ---- missed days

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->query(q(TRUNCATE contratos_runs; TRUNCATE tokens; UPDATE contratos_sources SET start_date = '2026-11-01'));
$f->day("2026-11-$_", 20) for map { sprintf '%02d', $_ } 1 .. 30;
ok($f->at('2026-12-01 09:00'), 'the worker looks with a disabled source');
is($f->runs, '', 'a disabled source is not loaded');
$f->query(q(UPDATE contratos_sources SET enabled = true));
ok($f->poll(q(SELECT count(*) = 30 FROM contratos_runs WHERE status = 'succeeded')), 'an enabled source is caught up');
is($f->query(q(SELECT string_agg(extract(day FROM day)::text, ' ' ORDER BY id) FROM contratos_runs)),
	join(' ', 30, 1 .. 29), 'missed days are loaded yesterday first, then the oldest first');
is($f->query(q(SELECT count(*), count(DISTINCT xmin::text) FROM contratos_runs)), '30|30', 'missed days are each loaded in a transaction of their own');
is($f->query('SELECT count(*) FROM tokens'), 600, 'missed days have their rows');
$f->settle;
$f->query(q(DELETE FROM contratos_runs WHERE day IN ('2026-11-10', '2026-11-12')));
$f->query(q(UPDATE contratos_sources SET max_shrink = max_shrink));
ok($f->poll(q(SELECT count(*) = 2 FROM contratos_runs WHERE id > 30 AND day IN ('2026-11-10', '2026-11-12') AND status = 'succeeded')), 'a gap in the ledger is filled');
is($f->query('SELECT count(*) FROM tokens'), 600, 'a filled gap has each row once');

# ---- what was queued from before the start

$f->settle;
$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-30'));
$f->query(q(DELETE FROM contratos_runs WHERE day = '2026-11-28'; SELECT contratos_enqueue('2026-11-28', '2026-11-28')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-28' AND status = 'succeeded')), 'a queued day before the start date is loaded');
$f->settle;
$f->day('2026-11-28', 25);
ok($f->at('2026-12-02 15:00'), 'the worker looks at a day before the start date');
is(history('2026-11-28'), 'queue succeeded, recheck differs, reload succeeded',
	'a day before the start date is rechecked and reloaded');

$f->stop;
done_testing();
