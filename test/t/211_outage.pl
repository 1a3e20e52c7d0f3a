# An outage of three days: what is loaded keeps its state, each missing day is
# reported once, and all is made up for by itself when the server answers again.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new;
my $bq = $f->bq;

sub states { return $f->query("SELECT string_agg(extract(day FROM day) || ' ' || state, ', ' ORDER BY day) FROM contratos_days WHERE source = 'tokens'"); }

sub status { return $f->query("SELECT $_[0] FROM _contratos_status WHERE source = 'tokens'"); }

# The log since the last call: entries about sources, and lines, without those of
# statements and of the start and end of processes.
my $read = 0;

sub lines
{
	my $log = substr slurp_file($f->node->logfile), $read;
	$read += length $log;
	my @entries = split /^(?=\d{4}-\d\d-\d\d )/m, $log;
	# a DETAIL is an entry of its own process and time
	my (@kept, $keep);
	for my $entry (@entries)
	{
		$keep = $entry !~ /statement:|worker started|parameter "|received SIGHUP|launcher|background worker|checkpoint|terminating/
		  if $entry !~ /\] (?:\S+ )?(?:DETAIL|HINT|CONTEXT|STATEMENT):/;
		push @kept, $entry if $keep;
	}
	return @kept;
}

# ---- a week by hand, of which six days lie before start_date

$f->query(
	q(CREATE TABLE alarms (at serial, day date, error text);
	  CREATE FUNCTION alarm(source text, day date, error text) RETURNS void LANGUAGE sql AS 'INSERT INTO public.alarms (day, error) VALUES ($2, $3)';
	  UPDATE contratos_sources SET on_failure = 'public.alarm', start_date = '2026-11-20'));
$f->day("2026-11-$_", 20) for 14 .. 27;
ok($f->at('2026-11-21 07:00'), 'the worker looks before the first run_at');
$f->query(q(SET contratos.now = '2026-11-21 07:30+00'; SELECT contratos_backfill(7)));
is(states(), '14 confirmed, 15 confirmed, 16 confirmed, 17 confirmed, 18 confirmed, 19 confirmed, 20 provisional',
	'days that were loaded a day after their end are confirmed, also before start_date');
is($f->query(q(SELECT count(*) FROM contratos_runs)), 7, 'a backfill of seven days has run seven jobs');
ok($f->at('2026-11-21 13:30'), 'the worker rechecks the day that is provisional');
is($f->runs(q(cause = 'recheck')), '20 recheck unchanged', 'days that are confirmed are not rechecked within a day');

# ---- three days without the endpoint

my $before = states();
my $rows = $f->query('SELECT count(*), max(block_timestamp) FROM tokens');
$bq->kill;
lines();
my @log;
my $wakes = 0;
for my $date (22, 23, 24)
{
	for my $time ('08:00', '08:01', '08:02', '08:03', '14:00', '20:00')
	{
		my $runs = $f->query('SELECT count(*) FROM contratos_runs');
		ok($f->at("2026-11-$date $time", 'contratos.request_timeout' => '1s'), "the worker wakes without an endpoint, 2026-11-$date $time");
		$wakes++;
		cmp_ok($f->query('SELECT count(*) FROM contratos_runs'), '<=', $runs + 1, "a wake-up without an endpoint makes one attempt, 2026-11-$date $time");
		note($f->query(qq(SELECT string_agg(concat_ws(' ', extract(day FROM day), cause, status, attempt, started_at::time, next_attempt_at::time, reason), '; ' ORDER BY id) FROM contratos_runs WHERE id > $runs)));
		my @new = lines();
		push @log, @new;
	}
	my $missing = join ', ', map { "$_ failed" } 21 .. $date - 1;
	is(states(), "$before, $missing", "days that are loaded keep their state, 2026-11-$date");
}
is($f->query(q(SELECT string_agg(day::text, ' ' ORDER BY at) FROM alarms)), '2026-11-21 2026-11-22 2026-11-23',
	'on_failure is called once for each day without rows');
cmp_ok(scalar(@log), '<=', 20, 'an outage of three days is at most twenty lines in the log') or diag(@log);
cmp_ok(scalar(grep { /ERROR:/ } @log), '==', 1, 'an outage is one ERROR in the log');
is(status(q(failed_days, missing_days, last_error ~ '^2026-11-23: ')), '3|0|t', 'contratos_status has the days that failed, and the last of them');
is($f->query('SELECT count(*), max(block_timestamp) FROM tokens'), $rows, 'the rows of loaded days stand through an outage');
is($f->query(q(SELECT DISTINCT reason FROM contratos_runs WHERE status = 'failed')), 'unreachable', 'the ledger has the reason of an outage');
cmp_ok($f->query(q(SELECT count(*) FROM contratos_runs WHERE status = 'failed')), '<=', $wakes, 'an outage has at most one row for each wake-up');

# ---- it is there again

$bq->restart;
ok($f->at('2026-11-24 23:00'), 'the worker wakes when the endpoint answers again');
like(states(), qr/, 21 confirmed, 22 confirmed, 23 provisional$/, 'days that failed in an outage are loaded when it is over');
is(status('failed_days, missing_days, last_error'), '0|0|', 'after an outage nothing has failed and nothing is missing');
is(join(' ', map { /LOG:  database "postgres": (the server of .*)/ ? $1 : () } lines()), 'the server of source "tokens" can be reached again', 'the end of an outage is logged');
ok($f->at('2026-11-25 08:00'), 'the next day is loaded');
ok($f->at('2026-11-26 14:01'), 'the worker looks a day later');
is($f->query(q(SELECT string_agg(DISTINCT state, ' ') FROM contratos_days WHERE day < '2026-11-25')), 'confirmed', 'after an outage every day is confirmed by itself');
is($f->query(q(SELECT count(*) FROM contratos_days WHERE check_error IS NOT NULL)), 0, 'after an outage no recheck has failed last');
is($f->query('SELECT count(*) FROM alarms'), 3, 'on_failure is not called when an outage is over');

# ---- several sources of one server, and one of another

$f->query(q(CREATE SERVER other FOREIGN DATA WRAPPER contratos OPTIONS (project 'test-project');
	CREATE TABLE second (LIKE tokens); ALTER TABLE second DROP COLUMN block; CREATE TABLE third (LIKE second);
	CREATE FOREIGN TABLE remote_second (address text, block_timestamp timestamptz) SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens');
	CREATE FOREIGN TABLE remote_third (address text, block_timestamp timestamptz) SERVER other OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens');
	ALTER TABLE second DROP COLUMN block_number, DROP COLUMN block_hash; ALTER TABLE third DROP COLUMN block_number, DROP COLUMN block_hash;
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, start_date, recheck_days) VALUES
	('second', 'public.remote_second', 'public.second', 'block_timestamp', '2026-11-26', 0), ('third', 'public.remote_third', 'public.third', 'block_timestamp', '2026-11-26', 0)));
$f->day('2026-11-26', 20);
$bq->kill;
ok($f->at('2026-11-27 08:00', 'contratos.request_timeout' => '1s'), 'the worker wakes with three sources and without an endpoint');
is($f->query(q(SELECT count(DISTINCT source) FROM contratos_runs WHERE day = '2026-11-26' AND status = 'failed')), 3, 'yesterday is tried for each source');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE started_at >= '2026-11-27 08:00+00' AND cause = 'recheck')), 0, 'rechecks are postponed for each of them');
$bq->restart;
$f->set('contratos.request_timeout' => '30s');
ok($f->at('2026-11-27 08:01'), 'the worker wakes when the endpoint answers again');
is($f->query(q(SELECT count(DISTINCT source) FROM contratos_runs WHERE day = '2026-11-26' AND status = 'succeeded')), 3, 'yesterday is loaded for each source');

$f->stop;
done_testing();
