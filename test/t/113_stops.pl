# What is left of the worker's manners: it stops in the middle of an INSERT and
# under a resolver that never answers, is not there in a binary upgrade, fills
# what a stopped server has missed, and starts no job that the ledger does not
# know of.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use Contratos::Session;
use Contratos::Worker;

plan skip_all => 'LD_PRELOAD is Linux' if $^O ne 'linux';

# A resolver that never answers for one host, loaded into the server.
my $dir = PostgreSQL::Test::Utils::tempdir;
my $source = __FILE__ =~ s{[^/]*$}{../dead_dns.c}r;
my @compiler = split ' ', $ENV{CC} || 'cc';
system_or_bail(@compiler, qw(-shared -fPIC -O1 -o), "$dir/dead_dns.so", $source, '-ldl');
system_or_bail('mkfifo', "$dir/resolver");
$ENV{DEAD_DNS_HOST} = 'dead.example';
$ENV{DEAD_DNS_PIPE} = "$dir/resolver";
$ENV{DEAD_DNS_LOG} = "$dir/dns_log";

my $f = Contratos::Worker->new(
	conf => q(
contratos.connect_timeout = '10min'
contratos.request_timeout = '60min'
contratos.retry_delay = '1min'));
my ($bq, $node) = ($f->bq, $f->node);
my $endpoint = $bq->url;

sub start
{
	local $ENV{LD_PRELOAD} = "$dir/dead_dns.so";
	$node->start;
	return;
}

sub enqueue
{
	my ($day) = @_;
	$f->day("2026-11-$day", 20);
	return $f->query("SET client_min_messages = error; SELECT contratos_enqueue('2026-11-$day', '2026-11-$day', only_missing => false)");
}

sub ends
{
	my ($day, $status) = @_;
	return $f->poll("SELECT coalesce((SELECT status FROM contratos_runs WHERE day = '2026-11-$day' AND NOT only_cost ORDER BY id DESC LIMIT 1), '') = '$status'");
}

sub ended { return $f->poll("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $_[0]"); }

# The jobs that BigQuery has taken since the last reset (for a day).
sub jobs_asked_for
{
	my ($day) = @_;
	my @asked = grep { $_->{status} == 200 } $bq->requests('insert');
	@asked = grep { JSON::PP->new->encode($_->{body}) =~ /"$day / } @asked if $day;
	return join ' ', map { $_->{job} } @asked;
}

# The resolver is asked, and has answered nobody.  (It runs in a thread, so its
# note may come a little after the worker has begun to wait.)
sub asked
{
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $notes = sub { -e "$dir/dns_log" ? slurp_file("$dir/dns_log") : '' };
	until ($notes->() =~ /^asked$/m)
	{
		return 0 if time > $deadline;
		sleep 0.02;
	}
	return $notes->() !~ /^answered$/m;
}

# ---- in the middle of the INSERT: a trigger waits for a lock that is held here

$f->query(
	q(CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS
	  'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(77); RETURN NEW; END';
	  CREATE TRIGGER gate BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION public.gate()));
my $waits = q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND wait_event = 'advisory');
my $gate = Contratos::Session->new($node);
$gate->query('SELECT pg_advisory_lock(77)');
enqueue('03');
ok($f->poll($waits), 'INSERT: the worker is in the middle of it');
my $pid = $f->worker;
is($f->query("SELECT pg_terminate_backend($pid)"), 't', 'INSERT: the worker is terminated');
ok(ended($pid), 'INSERT: the worker ends while its lock is still held');
is($f->query(q(SELECT count(*) FROM tokens WHERE block_timestamp >= '2026-11-03Z' AND block_timestamp < '2026-11-04Z')), 0,
	'INSERT: the interrupted day has no rows');
ok(ends('03', 'interrupted'), 'INSERT: the next worker finds the run interrupted');
enqueue('04');
ok($f->poll($waits), 'INSERT: another one is under way');
ok($node->stop('fast', fail_ok => 1), 'INSERT: a fast shutdown does not wait for it');

# ---- under a resolver that never answers

my $looks_up = q(SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%waiting for BigQuery');
start();
$f->query('DROP TRIGGER gate ON tokens');
ok(ends('04', 'interrupted'), 'INSERT: the run is interrupted after a fast shutdown');
$f->settle;
$f->at('2026-11-21 06:00', 'contratos.endpoint' => 'https://dead.example');
enqueue('05');
ok($f->poll($looks_up), 'resolver: the worker waits for a look-up without an answer');
ok($f->poll(
		q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND wait_event_type = 'Extension' AND state = 'active')),
	'resolver: the worker waits on its latch');
ok(asked(), 'resolver: it was asked');
$pid = $f->worker;
is($f->query("SELECT pg_terminate_backend($pid)"), 't', 'resolver: the worker is terminated');
ok(ended($pid), 'resolver: the worker ends');
ok(asked(), 'resolver: it has not answered when the worker ends');
ok(ends('05', 'interrupted'), 'resolver: the next worker finds the run interrupted');
unlink "$dir/dns_log";
enqueue('06');
ok($f->poll($looks_up) && asked(), 'resolver: another look-up gets no answer');
ok($node->stop('fast', fail_ok => 1), 'resolver: a fast shutdown does not wait for the worker');
ok(asked(), 'resolver: a fast shutdown does not wait for its answer');
$node->append_conf('postgresql.conf', "contratos.endpoint = '$endpoint'\nlog_min_messages = debug1");

# ---- a binary upgrade

my $registered = qr/registering background worker "contratos launcher"/;
system_or_bail('pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-b', 'start');
is($f->query(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'contratos%')), 0, 'binary upgrade: no launcher and no worker runs');
system_or_bail('pg_ctl', '-w', '-D', $node->data_dir, '-m', 'fast', 'stop');
is($f->logged($registered), 0, 'binary upgrade: no launcher is registered');

# ---- a server that was down for days

$f->day("2026-11-$_", 10 + $_) for 21 .. 24;
$bq->reset(tables => 0);
$node->append_conf('postgresql.conf', "contratos.now = '2026-11-25 09:00+00'");
$node->start;
ok($f->logged($registered), 'a usual start registers the launcher');
ok($f->poll(q(SELECT count(*) = 4 FROM contratos_runs WHERE day >= '2026-11-21' AND status = 'succeeded')), 'a server that was down loads missed days at its start');
is( $f->query(
		q(SELECT string_agg(concat_ws(' ', extract(day FROM day), cause, rows_loaded), ', ' ORDER BY id)
		  FROM contratos_runs WHERE day >= '2026-11-21' AND status = 'succeeded')),
	'24 schedule 34, 21 catchup 31, 22 catchup 32, 23 catchup 33',
	'missed days are loaded yesterday first, then oldest first');
$f->settle;

# ---- a job that BigQuery loses: the next one has a row of its own

my $lost = q(day = '2026-11-24' AND cause = 'queue' AND status = 'failed');
$f->day('2026-11-24', 40);
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert', times => 0 }, { job_error => { reason => 'jobInternalError', message => 'lost', at => 'results' } });
$f->query(q(SELECT contratos_enqueue('2026-11-24', '2026-11-24', only_missing => false)));
ok($f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE $lost"), 'a lost job: the attempt fails');
is($f->query("SELECT attempt, reason, next_attempt_at AT TIME ZONE 'UTC' FROM contratos_runs WHERE $lost"),
	'1|jobInternalError|2026-11-25 09:01:00', 'a lost job: the ledger has the reason and the next attempt');
is($f->query("SELECT job_id FROM contratos_runs WHERE $lost"), jobs_asked_for(), 'a lost job: one job was made, the one in the ledger');
$bq->reset(tables => 0);
ok($f->at('2026-11-25 09:01'), 'a lost job: the worker looks a minute later');
ok(ends('24', 'succeeded'), 'a lost job: the next attempt succeeds');
is($f->query(q(SELECT attempt, rows_loaded FROM contratos_runs WHERE day = '2026-11-24' AND NOT only_cost ORDER BY id DESC LIMIT 1)), '2|40', 'a lost job: the next attempt has all rows');
is($f->query(q(SELECT job_id FROM contratos_runs WHERE day = '2026-11-24' AND NOT only_cost ORDER BY id DESC LIMIT 1)),
	jobs_asked_for('2026-11-24'), 'a lost job: the next attempt has a job and a row of its own');

$f->stop;
done_testing();
