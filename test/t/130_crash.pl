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
	ok(back(), 'the server restarts after a crash');
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
		"$phase: the run is in the ledger with its job");
	my $job = job_of($day);
	crash();
	is(attempts($day), '1 interrupted 57P02 08:01', "$phase: the run is interrupted, with another attempt to come");
	like(canceled(), qr/\b\Q$job\E\b/, "$phase: the job of the ledger is canceled");
	is(rows_of($day), 0, "$phase: no row of the day is in the table");
	$bq->reset(tables => 0);
	ok($f->at("$next 08:01"), "$phase: the worker looks at the time of the next attempt");
	is(attempts($day), '1 interrupted 57P02 08:01, 2 succeeded', "$phase: the next attempt succeeds");
	is(rows_of($day), 50, "$phase: the day has its rows after the next attempt");
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
		"$way before the commit: the load waits for a lock");
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
	is($f->query("SELECT string_agg(status, ' ' ORDER BY id) FROM contratos_runs WHERE id > $before"), 'interrupted', "$way before the commit: the run is interrupted");
	is(rows_of('2026-11-22'), 50, "$way before the commit: the old day is kept");
	$f->at($way eq 'crash' ? '2026-11-23 08:03' : '2026-11-23 08:06');
	is($f->query("SELECT string_agg(status, ' ' ORDER BY id) FROM contratos_runs WHERE id > $before"),
		'interrupted succeeded', "$way before the commit: the next attempt succeeds");
	is(rows_of('2026-11-22'), 60, "$way before the commit: the next attempt has the new day");
	$f->query(q(DELETE FROM tokens WHERE address IN
		(SELECT address FROM tokens WHERE block_timestamp >= '2026-11-22Z' ORDER BY address LIMIT 10))) if $way eq 'crash';
}
$f->query('DROP TRIGGER pass ON tokens');

# ---- after the commit

$gate = Contratos::Session->new($node);
$gate->query('LISTEN contratos');
$bq->reset(tables => 0);
begin_at('2026-11-24 08:00');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-23' AND status = 'succeeded')) && $f->settle, 'a day is loaded before a crash');
like($gate->query('SELECT 1')->{out}, qr/"day": ?"2026-11-23".*"succeeded"/,
	'NOTIFY: the day that is loaded before a crash');
crash();
is(attempts('2026-11-23'), '1 succeeded', 'a crash after the commit: the day stays succeeded');
is(rows_of('2026-11-23'), 50, 'a crash after the commit: the day has its rows');
is(canceled(), '', 'a crash after the commit: no job is canceled');

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
	is(attempts($day), $so_far . $said, "the attempt at $time crashes the server");
	is($f->query('SELECT count(*) FROM told'), 0,
		'on_failure is not called while there is another attempt') if $said =~ /:\d\d$/;
}
is($f->query('SELECT day, error FROM told'), "$day|the process that loaded the day ended before it was done", 'on_failure is called after the last attempt crashed the server');
$bq->reset(tables => 0);
$node->adjust_conf('postgresql.conf', 'contratos.now', "'2026-11-26 07:59+00'");
$node->restart;
$f->settle;
is($f->requests, '', 'a day that crashed the server is not tried after its last attempt');
ok($f->at('2026-11-26 08:00'), 'the worker looks at run_at after a day crashed the server');
is($f->query("SELECT attempt, status FROM contratos_runs WHERE day = '$day' ORDER BY id DESC LIMIT 1"), '4|succeeded', 'a day that crashed the server is tried again at run_at');

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
	ok($f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-$number' AND status = 'running'"), 'a day is being loaded in its only attempt');
	is($f->query('SELECT pg_terminate_backend(' . $f->worker . ')'), 't',
		'the worker is terminated in a day\'s only attempt');
	ok($f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-$number' AND status = 'interrupted'") && $f->settle, 'the next worker finds the only attempt interrupted');
	is(attempts("2026-11-$number"), '1 interrupted 57P02', 'the ledger has no further attempt after the only one');
	$bq->reset(tables => 0);
}
is($f->query(q(SELECT string_agg(day::text, ' ') FROM told)), '2026-11-26',
	'on_failure is called for an interrupted only attempt');
is($f->query('SELECT count(*) FROM contratos_runs WHERE unreported'), 0,
	'on_failure is called or was tried for every failure');
is($f->logged(qr/ERROR:  tell has failed/), 1, 'an error of on_failure after an interruption is logged');
$f->query(q(SELECT contratos_enqueue('2026-11-25', '2026-11-25', only_missing => false)));
ok($f->poll(q(SELECT count(*) = 2 FROM contratos_runs WHERE day = '2026-11-25' AND status = 'succeeded')), 'the worker goes on after an error of on_failure');

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
	my $day = 14 - $stops;
	$holder->query('SELECT pg_advisory_lock(2)');
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'no' });
	$f->query("SELECT contratos_enqueue('2026-11-$day', '2026-11-$day', only_missing => false)");
	for (1 .. $stops)
	{
		ok($f->poll($telling), "on_failure is running, time $_ of $stops");
		ok($stop->(), "the worker is terminated during on_failure, time $_ of $stops");
	}
	ok($f->poll($telling), 'the next worker calls on_failure again') if $stops == 1;
	$holder->query('SELECT pg_advisory_unlock_all()');
	ok($f->settle, 'the worker is done with on_failure');
	is($f->query("SELECT count(*) FROM told WHERE day = '2026-11-$day'"), $stops == 1 ? 1 : 0,
		$stops == 1 ? 'on_failure is called once' : 'an on_failure that ends the worker each time is given up');
	is($f->query('SELECT count(*) FROM contratos_runs WHERE unreported'), 0, 'no failure is left without on_failure');
}
$holder->quit;

$f->stop;
done_testing();
