# What passes by itself, but not while a caller waits for it: final for a call,
# tried again by the worker; and a job that is gone, for which a new one is
# asked.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.page_rows = 30\ncontratos.retry_delay = '1min'");
my $bq = $f->bq;
my $minute = 0;

# The rules of a case, instead of those of the one before.
sub rules
{
	my (@rules) = @_;
	$bq->reset(tables => 0);
	$bq->rule({ times => 0, %{ $_->[0] } }, $_->[1]) for @rules;
	return;
}

# Requests for a job, but for the one whose token the server had forgotten.
sub jobs_asked_for { return scalar grep { $_->{status} != 401 } $bq->requests('insert'); }

# The last attempt of a day: number, status, reason, when the next one is due.
sub last_attempt
{
	my ($day) = @_;
	return $f->query(
		qq(SELECT concat_ws(' ', attempt, status, reason, to_char(next_attempt_at AT TIME ZONE 'UTC', 'HH24:MI'))
		   FROM contratos_runs WHERE day = '2026-11-$day' AND NOT only_cost ORDER BY id DESC LIMIT 1));
}

sub enqueue
{
	my ($day) = @_;
	$f->query("SET client_min_messages = error; SELECT contratos_enqueue('2026-11-$day', '2026-11-$day')");
	return $f->poll("SELECT count(*) = 0 FROM contratos_runs WHERE status IN ('queued', 'running')") && $f->settle;
}

sub clock { return sprintf '06:%02d', $_[0]; }

# What a call and the worker make of it.
sub passes
{
	my ($name, $reason, $like, @rules) = @_;
	my $jobs = $rules[0][0]{kind} eq 'token' ? 0 : 1;
	my $day = sprintf '%02d', ++$minute + 1;
	$f->day("2026-11-$day", 50);
	rules(@rules);
	like($f->fails("SELECT contratos_run('2026-11-$day')"), $like, "$name: an error for a call");
	is(jobs_asked_for(), $jobs, "$name: a call does not ask again");
	ok(enqueue($day), "$name: the worker tries it");
	my $expected = join ' ', grep { $_ } 1, 'failed', $reason, clock($minute);
	is(last_attempt($day), $expected, "$name: the worker's attempt fails, with another to come");
	rules();
	ok($f->at('2026-11-21 ' . clock($minute)), "$name: the worker looks at the time of the next attempt");
	is(last_attempt($day), '2 succeeded', "$name: the day is loaded");
	return;
}

# ---- reasons of BigQuery's

for my $case (
	[ tableUnavailable => qr/HV000: BigQuery: not now.*HINT: .*later/s ],
	[ resourceInUse => qr/55006: BigQuery: not now.*HINT: .*later/s ],
	[ timeout => qr/HV000: BigQuery: not now.*HINT: .*job_timeout/s ])
{
	my ($reason, $like) = @$case;
	passes("$reason of a request", $reason, $like, [ { kind => 'insert' }, { status => 400, reason => $reason, message => 'not now' } ]);
	passes("$reason of a job", $reason, $like,
		[ { kind => 'insert' }, { job_error => { reason => $reason, message => 'not now', at => 'results' } } ]);
}

# ---- answers that are not BigQuery's

my $page = { garbage => '<html><body>Sign in to the hotel network</body></html>' };
my $unreadable = qr/HV000: BigQuery's answer cannot be read: .*HINT: .*proxy/s;
passes('a page of HTML instead of a job', '', $unreadable, [ { kind => 'insert' }, $page ]);
passes('a page of HTML instead of the result', '', $unreadable, [ { kind => 'results' }, $page ]);
passes('a page of HTML instead of a page', '', $unreadable, [ { kind => 'results', start_index => 30 }, $page ]);
passes(
	'a page of HTML instead of a token', '', qr/08P01: the token endpoint's answer holds no access token.*HINT: .*token_uri/s,
	[ { kind => 'token' }, $page ]);

# ---- a job that is gone

my $gone = { status => 404, reason => 'notFound', message => 'Not found: Job test-project:US.contratos_1' };
rules([ { kind => 'results', times => 1 }, $gone ]);
is($f->query(q(SELECT status FROM contratos_run('2026-11-02'))), 'succeeded', 'a job that is gone: a call succeeds');
is(jobs_asked_for(), 2, 'a job that is gone: a call makes a new job');
rules([ { kind => 'results' }, $gone ]);
like($f->fails(q(SELECT contratos_run('2026-11-02'))), qr/HV000: BigQuery: Not found: Job .*HINT: .*no longer exists.*try again/s,
	'jobs that go again and again: the error says so');
is(jobs_asked_for(), 3, 'jobs that go again and again: a call makes a few of them');
$f->day('2026-11-15', 50);
ok(enqueue('15'), 'jobs that go again and again: the worker tries them');
is(last_attempt('15'), '1 failed notFound ' . clock(++$minute),
	'jobs that go again and again: the day is to be tried again');
is($f->query(q(SELECT split_part(error, E'\n', 1) FROM contratos_runs WHERE day = '2026-11-15')), "BigQuery: $gone->{message}", 'jobs that go again and again: the ledger has the error');
rules();
ok($f->at('2026-11-21 ' . clock($minute)),
	'jobs that go again and again: the worker looks at the time of the next attempt');
is(last_attempt('15'), '2 succeeded', 'jobs that go again and again: the next attempt succeeds');
is($f->query(q(SELECT count(DISTINCT job_id) FROM contratos_runs WHERE day = '2026-11-15')), 2,
	'jobs that go again and again: the next attempt has another job');

# ---- what does not pass

for my $what ('Dataset x:y', 'Table x:y.z')
{
	rules([ { kind => 'insert' }, { status => 404, reason => 'notFound', message => "Not found: $what was not found in location US" } ]);
	my $day = $what =~ /Table/ ? 17 : 16;
	ok(enqueue($day), "$what not found: the worker tries it");
	is(last_attempt($day), '1 failed notFound', "$what not found: the failure is final");
}

$f->stop;
done_testing();
