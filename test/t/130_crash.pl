# The worker is killed in each phase of a load: the table has the old day or the
# new one, the ledger tells the truth, and the next attempt is made.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "restart_after_crash = on\ncontratos.retries = 2");
my $bq = $f->bq;
my $node = $f->node;
my $gate = Contratos::Session->new($node);

# Whether the server answers again after a crash.
sub back
{
	$gate->quit if $gate;
	$gate = undef;
	return $node->poll_query_until('postgres', 'SELECT true');
}

# kill -9 of the worker: the postmaster ends all sessions and starts anew.
sub crash
{
	my $pid = $f->worker;
	kill 'KILL', $pid or die "could not kill $pid: $!";
	# the session outlives neither; its end is seen before the new start is asked for
	$gate->query('SELECT pg_sleep(600)');
	ok(back(), 'the server has restarted itself');
	return $f->settle;
}

# The ledger of a day: number and status of each attempt, the next one.
sub attempts
{
	my ($day) = @_;
	return $f->query(
		qq(SELECT string_agg(concat_ws(' ', attempt, status, sqlstate, to_char(next_attempt_at, 'HH24:MI')), ', ' ORDER BY id)
		   FROM contratos_runs WHERE day = '$day'));
}

sub rows_of { return $f->query("SELECT count(*) FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = '$_[0]'"); }
sub job_of { return $f->query("SELECT job_id FROM contratos_runs WHERE day = '$_[0]' ORDER BY id LIMIT 1"); }

# Which jobs it was asked to cancel.
sub canceled { return join ' ', map { $_->{path} =~ m{/jobs/([^/?]+)/cancel} } $bq->requests('cancel'); }

$f->query('UPDATE contratos_sources SET recheck_days = 0');
$f->day("2026-11-$_", 50) for 20 .. 27;

# Starts what is due at a time and does not wait for it.
sub begin_at
{
	my ($time) = @_;
	$gate //= Contratos::Session->new($node);
	$f->set('contratos.now' => "$time+00");
	return;
}

my @phases = (
	[ 20, 'before the job is there', { kind => 'insert' }, { stall => 'before_work' } ],
	[ 21, 'while the job runs', { kind => 'insert' }, { job_pending => JSON::PP::true } ],
	[ 22, 'in the middle of a page', { kind => 'results' }, { stall => 'mid_body' } ]);
for my $case (@phases)
{
	my ($number, $phase, $match, $action) = @$case;
	my $day = "2026-11-$number";
	my $next = sprintf '2026-11-%02d', $number + 1;
	$bq->reset(tables => 0);
	my $rule = $bq->rule($match, $action);
	begin_at("$next 08:00");
	$bq->wait(rule => $rule, state => $action->{stall} ? 'stalled' : 'answered');
	ok($f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE day = '$day' AND status = 'running' AND job_id IS NOT NULL"),
		"$phase: the ledger says so");
	my $job = job_of($day);
	crash();
	is(attempts($day), '1 interrupted 57P02 08:01', "$phase: interrupted, and to be tried again");
	like(canceled(), qr/\b\Q$job\E\b/, 'its job is cancelled by the id in the ledger');
	is(rows_of($day), 0, 'nothing of the day is there');
	$bq->reset(tables => 0);
	ok($f->at("$next 08:01"), 'the next attempt');
	is(attempts($day), '1 interrupted 57P02 08:01, 2 succeeded', 'succeeds');
	is(rows_of($day), 50, 'and the day is there');
}

# ---- before the commit: an old day is there, its replacement waits for a lock

$f->query(
	q(CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS
	  'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
	  CREATE TRIGGER pass AFTER INSERT ON tokens FOR EACH STATEMENT EXECUTE FUNCTION pass()));
$gate = Contratos::Session->new($node);
$f->day('2026-11-22', 60);
for my $way ('crash', 'immediate')
{
	my $before = $f->query(q(SELECT max(id) FROM contratos_runs));
	$gate //= Contratos::Session->new($node);
	$gate->query('SELECT pg_advisory_lock(1)');
	$f->query(q(SELECT contratos_enqueue('2026-11-22', '2026-11-22', only_missing => false)));
	ok($f->poll(q(SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 1)),
		"$way before the commit: all rows are in");
	if ($way eq 'crash')
	{
		crash();
	}
	else
	{
		$node->stop('immediate');
		# only now: it holds the lock
		$gate->quit;
		$gate = undef;
		$node->start;
		$f->settle;
	}
	is($f->query("SELECT string_agg(status, ' ' ORDER BY id) FROM contratos_runs WHERE id > $before"), 'interrupted', 'interrupted');
	is(rows_of('2026-11-22'), 50, 'the old day stands as it was');
	$f->at($way eq 'crash' ? '2026-11-23 08:03' : '2026-11-23 08:06');
	is($f->query("SELECT string_agg(status, ' ' ORDER BY id) FROM contratos_runs WHERE id > $before"),
		'interrupted succeeded', 'the next attempt succeeds');
	is(rows_of('2026-11-22'), 60, 'the new day stands');
	$f->query(q(DELETE FROM tokens WHERE address IN
		(SELECT address FROM tokens WHERE block_timestamp >= '2026-11-22Z' ORDER BY address LIMIT 10))) if $way eq 'crash';
}
$f->query('DROP TRIGGER pass ON tokens');

# ---- after the commit

$gate = Contratos::Session->new($node);
$gate->query('LISTEN contratos');
$bq->reset(tables => 0);
begin_at('2026-11-24 08:00');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-23' AND status = 'succeeded')) && $f->settle, 'a day is there');
like($gate->query('SELECT 1')->{out}, qr/"day": ?"2026-11-23".*"succeeded"/, 'and was told');
crash();
is(attempts('2026-11-23'), '1 succeeded', 'after the commit: it stays');
is(rows_of('2026-11-23'), 50, 'with its rows');
is(canceled(), '', 'no job is cancelled');

# ---- a day that always crashes

$f->query(
	q(CREATE TABLE told (day date, error text);
	  CREATE FUNCTION tell(source text, day date, error text) RETURNS void LANGUAGE sql AS 'INSERT INTO public.told VALUES ($2, $3)';
	  UPDATE contratos_sources SET on_failure = 'public.tell'));
$f->settle;
my $day = '2026-11-24';
for my $case ([ '08:00', '1 interrupted 57P02 08:01' ], [ '08:01', ', 2 interrupted 57P02 08:03' ], [ '08:03', ', 3 interrupted 57P02' ])
{
	my ($time, $said) = @$case;
	my $so_far = attempts($day);
	$bq->reset(tables => 0);
	my $rule = $bq->rule({ kind => 'insert' }, { stall => 'before_work' });
	begin_at("2026-11-25 $time");
	$bq->wait(rule => $rule, state => 'stalled');
	crash();
	is(attempts($day), $so_far . $said, "a day that takes the server down at $time");
	is($f->query('SELECT count(*) FROM told'), 0, 'nobody is told: there is another attempt') if $said =~ /:\d\d$/;
}
is($f->query('SELECT day, error FROM told'), "$day|the process that loaded the day ended before it was done", 'the last one fails it, and that is told');
$bq->reset(tables => 0);
$node->adjust_conf('postgresql.conf', 'contratos.now', "'2026-11-26 07:59+00'");
$node->restart;
$f->settle;
is($f->requests, '', 'rests after the last attempt');
ok($f->at('2026-11-26 08:00'), 'until run_at');
is($f->query("SELECT attempt, status FROM contratos_runs WHERE day = '$day' ORDER BY id DESC LIMIT 1"), '4|succeeded', 'then it has one');

# ---- told to end in its last attempt

$f->query(
	q(TRUNCATE told;
	  UPDATE contratos_sources SET start_date = '2026-11-26';
	  CREATE OR REPLACE FUNCTION tell(source text, day date, error text) RETURNS void LANGUAGE plpgsql AS
	  $$ BEGIN INSERT INTO public.told VALUES ($2, $3); IF day = '2026-11-27' THEN RAISE 'tell has failed'; END IF; END $$));
$node->append_conf('postgresql.conf', 'contratos.retries = 0');
for my $number (26, 27)
{
	my $next = sprintf '2026-11-%02d', $number + 1;
	my $rule = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true });
	begin_at("$next 08:00");
	$bq->wait(rule => $rule, state => 'answered');
	ok($f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-$number' AND status = 'running'"), 'a day is being loaded');
	is($f->query('SELECT pg_terminate_backend(' . $f->worker . ')'), 't', 'its worker is told to end');
	ok($f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-$number' AND status = 'interrupted'") && $f->settle, 'the next one finds it');
	is(attempts("2026-11-$number"), '1 interrupted 57P02', 'with no attempt left');
	$bq->reset(tables => 0);
}
is($f->query(q(SELECT string_agg(day::text, ' ') FROM told)), '2026-11-26', 'which is told');
is($f->query('SELECT count(*) FROM contratos_runs WHERE untold'), 0, 'or has been tried to be');
is($f->logged(qr/ERROR:  tell has failed/), 1, 'what goes wrong in that is logged');
$f->query(q(SELECT contratos_enqueue('2026-11-25', '2026-11-25', only_missing => false)));
ok($f->poll(q(SELECT count(*) = 2 FROM contratos_runs WHERE day = '2026-11-25' AND status = 'succeeded')), 'and the worker goes on');

# ---- told to end while it tells

$f->query(
	q(TRUNCATE told;
	  CREATE OR REPLACE FUNCTION tell(source text, day date, error text) RETURNS void LANGUAGE plpgsql AS
	  $$ BEGIN INSERT INTO public.told VALUES ($2, $3); PERFORM pg_advisory_xact_lock(2); END $$));
my $telling = q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND wait_event = 'advisory');
my $stop = sub { my $pid = $f->worker; $f->query("SELECT pg_terminate_backend($pid)"); return $f->poll("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"); };
my $holder = Contratos::Session->new($node);
for my $stops (1, 2)
{
	my $day = 23 - $stops;
	$holder->query('SELECT pg_advisory_lock(2)');
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'no' });
	$f->query("SELECT contratos_enqueue('2026-11-$day', '2026-11-$day', only_missing => false)");
	for (1 .. $stops)
	{
		ok($f->poll($telling), "a day is told, time $_ of $stops");
		ok($stop->(), 'which the end of the process cuts short');
	}
	ok($f->poll($telling), 'the next one tells it again') if $stops == 1;
	$holder->query('SELECT pg_advisory_unlock_all()');
	ok($f->settle, 'then it is over');
	is($f->query("SELECT count(*) FROM told WHERE day = '2026-11-$day'"), $stops == 1 ? 1 : 0,
		$stops == 1 ? 'it is told once' : 'what ends the process each time is not called for ever');
	is($f->query('SELECT count(*) FROM contratos_runs WHERE untold'), 0, 'and nothing is left to be told');
}
$holder->quit;

$f->stop;
done_testing();
