# What must not be lost without a word: a load that is asked for while a recheck waits,
# and a difference whose row is older than contratos.history_days.
use strict;
use warnings;

use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.lock_timeout = '100ms'");

sub state_of { return $f->query("SELECT state FROM contratos_days WHERE day = '$_[0]'"); }

sub day_runs { return $f->query("SELECT string_agg(cause || ' ' || status, ', ' ORDER BY id) FROM contratos_runs WHERE day = '$_[0]'"); }

# ---- a load that is asked for while a recheck waits for a lock

$f->day("2026-11-$_", 20) for 19, 20;
$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-19'));
ok($f->at('2026-11-21 08:00'), 'two days are loaded');
my $session = Contratos::Session->new($f->node);
$session->query('BEGIN; LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE');
ok($f->at('2026-11-21 14:01'), 'the worker rechecks a day of a locked table');
is(day_runs('2026-11-20') . ' ' . state_of('2026-11-20'), 'schedule succeeded, recheck waiting provisional', 'a recheck waits for a lock');
is($f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20'))), 0, 'a day that is loaded is not queued for that');
is($f->query(q(SELECT contratos_enqueue('2026-11-19', '2026-11-20', only_missing => false))), 2, 'a load that is asked for takes the place of a recheck that waits');
$session->query('COMMIT');
$session->quit;
ok($f->at('2026-11-21 14:40'), 'the lock is gone');
is(day_runs('2026-11-20') . ' ' . state_of('2026-11-20'), 'schedule succeeded, queue succeeded provisional', 'the load that was asked for is made');
is(day_runs('2026-11-19') . ' ' . state_of('2026-11-19'), 'catchup succeeded, queue succeeded confirmed', 'also of a day that was only queued');

# ---- pruning

$f->query(
	q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, accepted_by, only_cost) VALUES
	  ('tokens', '2026-11-19', 'recheck', 'differs', '2026-11-21 15:00+00', '2026-11-21 15:00+00', NULL, false),
	  ('tokens', '2026-11-19', 'recheck', 'unchanged', '2026-11-21 16:00+00', '2026-11-21 16:00+00', NULL, false),
	  ('tokens', '2026-11-20', 'recheck', 'differs', '2026-11-21 15:00+00', '2026-11-21 15:00+00', NULL, false),
	  ('tokens', '2026-11-20', 'recheck', 'differs', '2026-11-21 16:00+00', '2026-11-21 16:00+00', NULL, false),
	  ('tokens', '2026-11-20', 'verify', 'differs', '2026-11-21 17:00+00', '2026-11-21 17:00+00', NULL, true),
	  ('tokens', '2026-11-18', 'manual', 'accepted', '2026-11-21 15:00+00', '2026-11-21 15:00+00', 'someone', false);
	  UPDATE contratos_sources SET enabled = false));
my $states = q(SELECT string_agg(extract(day FROM day) || ' ' || state, ', ' ORDER BY day) FROM contratos_days WHERE day < '2026-11-21');
my $before = $f->query($states);
is($before, '18 accepted, 19 confirmed, 20 differs', 'days of each kind that is kept');
ok($f->at('2026-12-21 07:00', 'contratos.history_days' => 7), 'the worker prunes');
is($f->query($states), $before, 'pruning leaves the state of a day alone');
is(day_runs('2026-11-20'), 'queue succeeded, recheck differs', 'the last difference of a day is kept with its last success');
is(day_runs('2026-11-19'), 'queue succeeded', 'and not one that has ended');
is(day_runs('2026-11-18'), 'manual accepted', 'a day that was accepted stays so');

$f->stop;
done_testing();
