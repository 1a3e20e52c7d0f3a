# Days of a source, as the functions load them: what is there afterwards, what
# the ledger says, and what is refused.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Sample qw(sample_rows);

my $f = Contratos::Fixture->new;
my $bq = $f->bq;

# An order-free digest of all of tokens.
my $digest = q(SELECT md5(string_agg(t::text, E'\n' ORDER BY t::text)) FROM tokens t);
my $day_rows = q(SELECT count(*) FROM tokens WHERE block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z');
my $runs = 'SELECT count(*) FROM contratos_runs WHERE NOT only_cost';

# Rows of the sample's dense days, which the stand-in has from 2026-11-09 on:
# 24 February 2024 becomes 8 November.
my %sample;
for my $row (sample_rows())
{
	my ($month, $day) = $row->{block_timestamp} =~ /^2024-(0[23])-(\d\d)/ or next;
	$sample{ sprintf '2026-11-%02d', $day + ($month == 2 ? -16 : 13) }++;
}
my @week = map { "2026-11-$_" } 14 .. 20;
my $seven = join "\n", map { "$_|succeeded|$sample{$_}" } @week;

# ---- contratos_backfill(7), on a database that has nothing but the extension

is( $f->query('SELECT day, status, rows_loaded FROM contratos_backfill(7)'),
	$seven, 'backfill(7) loads the last seven complete days, oldest first');
is($f->requests, '1 token, 7 insert, 7 results', 'backfill(7) asks for one token, and makes two requests a day');
my %connections = map { $_->{connection} => 1 } $bq->requests;
is(scalar(keys %connections), 1, 'backfill(7) uses one connection');
is( $f->query(q(SELECT to_char(block_timestamp, 'YYYY-MM-DD'), 'succeeded', count(*) FROM tokens GROUP BY 1 ORDER BY 1)),
	$seven, 'backfill(7) leaves the rows of seven days in tokens');

my @jobs = map { $_->{job} } $bq->requests('results');
is($f->query('SELECT job_id FROM contratos_runs ORDER BY id'), join("\n", @jobs),
	'the ledger has the job IDs of backfill(7)');
is( $f->query(
		q(SELECT DISTINCT source, cause, status, attempt, rows_loaded = rows_inserted, rows_replaced, pages,
			bytes_processed BETWEEN 5000 AND 100000, bytes_billed,
			started_at = finished_at AND finished_at = current_setting('contratos.now')::timestamptz,
			target_rows = rows_loaded, target_max_timestamp = source_max_timestamp, fingerprint ~ '^[1-9]\d*:[1-9]\d*$',
			(confirmed_at IS NULL) = (day = contratos_yesterday()), num_nulls(next_attempt_at, sqlstate, reason, error)
		  FROM contratos_runs)),
	'tokens|backfill|succeeded|1|t|0|1|t|10485760|t|t|t|t|t|4',
	'the ledger has every figure of a successful run');
is( $f->query(
		q(SELECT count(*) FROM contratos_runs r WHERE source_max_timestamp =
			(SELECT max(block_timestamp) FROM tokens WHERE block_timestamp >= r.day::timestamp AT TIME ZONE 'UTC'
			 AND block_timestamp < (r.day + 1)::timestamp AT TIME ZONE 'UTC'))),
	7, 'the ledger has the latest timestamp of each day');

# ---- again

my $before = $f->query($digest);
is( $f->query('SELECT day, status, rows_loaded, rows_replaced, run FROM contratos_backfill(7)'),
	join("\n", map { "$_|succeeded|$sample{$_}|$sample{$_}|" . (8 + substr($_, 8, 2) - 14) } @week),
	'a second backfill(7) replaces every row');
is($f->query($digest), $before, 'a second backfill(7) leaves the same rows, each once');
is($f->query('SELECT count(*) FROM contratos_runs WHERE rows_replaced = rows_loaded'), 7,
	'the ledger has both runs of each day');

is( $f->query(q(SELECT day, status, rows_loaded FROM contratos_backfill(10, only_missing => true))),
	join("\n", map { "2026-11-$_|succeeded|" . $sample{"2026-11-$_"} } 11 .. 13),
	'only_missing loads just the days without a success');
is($f->query(q(SELECT count(*) FROM contratos_backfill(10, 'tokens', true))), 0,
	'only_missing loads nothing when no day is missing');
is( $f->query(q(SELECT day, status FROM contratos_backfill_range('2026-11-12', '2026-11-13'))),
	"2026-11-12|succeeded\n2026-11-13|succeeded", 'backfill_range includes both ends');
is($f->query('SELECT day, status FROM contratos_run()'), '2026-11-20|succeeded', 'contratos_run() means yesterday');
is($f->query('SELECT cause FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), 'manual',
	'the cause of contratos_run() is "manual"');

# ---- UTC, whatever the session says

$bq->delete_day(undef, '2026-11-20');
$bq->table(
	undef,
	append => 1,
	rows => [
		map { $f->row(address => $_->[0], block_timestamp => $_->[1]) } (
			[ 'before', '2026-11-19 23:59:59.999999+00' ], [ 'first', '2026-11-20 00:00:00+00' ],
			[ 'second', '2026-11-20 00:00:00.000001+00' ], [ 'last', '2026-11-20 23:59:59.999999+00' ],
			[ 'after', '2026-11-21 00:00:00+00' ])
	]);
for my $zone ('Pacific/Kiritimati', 'Etc/GMT+12', 'America/St_Johns')
{
	is( $f->query(
			qq(SET TimeZone = '$zone'; SET DateStyle = 'SQL, DMY';
			   SELECT rows_loaded FROM contratos_run(allow_shrink => true))),
		3, "contratos_run() loads the three rows of the UTC day in $zone");
	is( $f->query(
			q(SELECT string_agg(address, ' ' ORDER BY block_timestamp) FROM tokens
			  WHERE block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z')),
		'first second last', "the session's time zone $zone does not move the bounds of the day");
}
is( $f->query(q(SELECT to_char(source_max_timestamp, 'DD HH24:MI:SS.US') FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1)),
	'20 23:59:59.999999', 'the timestamp in the ledger has microseconds');
is( $f->query(q(SET contratos.now = '2026-11-21 00:30:00+02'; SELECT contratos_yesterday())),
	'2026-11-19', 'contratos_yesterday() is yesterday in UTC at half past midnight elsewhere');

# ---- a day that fails

$f->day('2026-11-18', 30);
$f->day('2026-11-19', 40);
$f->day('2026-11-20', 50);
my $old = $f->query($digest);
$bq->rule({ kind => 'insert', nth => 2 },
	{ job_error => { reason => 'resourcesExceeded', message => 'out of slots', at => 'results' } });
my ($code, $out, $err) =
  $f->psql(q(SELECT day, status, rows_loaded, translate(message, chr(10), ''), run IS NULL FROM contratos_backfill(3, allow_shrink => true)));
is($code, 0, 'a day that fails does not fail the call');
is( $out,
	"2026-11-18|succeeded|30||f\n2026-11-19|failed||BigQuery: out of slots|f\n2026-11-20|succeeded|50||f",
	'a failed day of a backfill is a row with its message');
like($err, qr/WARNING:  53000: 2026-11-19 of source "tokens" failed: BigQuery: out of slots/,
	'a failed day of a backfill is reported by a WARNING');
is( $f->query(
		q(SELECT day, cause, status, sqlstate, reason, split_part(error, E'\n', 1), attempt, started_at <= finished_at, job_id IS NULL, rows_loaded, pages
		  FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC OFFSET 1 LIMIT 1)),
	'2026-11-19|backfill|failed|53000|resourcesExceeded|BigQuery: out of slots|1|t|f||',
	'the ledger has the SQLSTATE and reason of a failed day');
is($f->query(q(SELECT count(*) FROM tokens WHERE block_timestamp >= '2026-11-19Z' AND block_timestamp < '2026-11-20Z')),
	$sample{'2026-11-19'}, 'a failed day keeps its old rows');
is($f->query($day_rows), 50, 'the day after a failed one is loaded');

# ---- what would fail every day

my $count = $f->query($runs);
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert', times => 0 }, { status => 403, reason => 'accessDenied', message => 'no access' });
like($f->fails('SELECT * FROM contratos_backfill(3)'),
	qr/ERROR:  42501: BigQuery: no access/, 'a permanent error on the first day fails the backfill');
is($f->requests, '1 token, 1 insert', 'a permanent error stops the backfill after the first day');
is($f->query($runs), $count, 'a backfill that fails leaves nothing in the ledger');

$bq->reset(tables => 0);
$bq->rule({ kind => 'insert', nth => 2, times => 0 }, { status => 403, reason => 'accessDenied', message => 'no access' });
($code, $out, $err) =
  $f->psql(q(SELECT day, status, rows_loaded, translate(message, chr(10), ''), run IS NULL FROM contratos_backfill(4, allow_shrink => true)));
is( $out,
	"2026-11-17|succeeded|$sample{'2026-11-17'}||f\n2026-11-18|failed||BigQuery: no access|f\n"
	  . "2026-11-19|canceled||BigQuery: no access|t\n2026-11-20|canceled||BigQuery: no access|t",
	'a permanent error after a success cancels the days that remain');
my @warnings = $err =~ /^(?:psql:\S+ )?WARNING: .*/mg;
is(scalar(@warnings), 2, 'a stopped backfill has one WARNING for the failed day and one for the rest');
like($err, qr/WARNING:  01000: backfill of source "tokens" stopped: 2 days were not tried/,
	'the WARNING of a stopped backfill says how many days were not tried');
is($f->query($runs), $count + 2, 'days that were not tried are not in the ledger');

# ---- days that are refused

$bq->reset(tables => 0);
$count = $f->query($runs);
$old = $f->query($digest);
$bq->delete_day(undef, '2026-11-20');
$err = $f->fails('SELECT contratos_run()');
like($err, qr/ERROR:  55000: BigQuery has no rows of 2026-11-20 for source "tokens"/, 'an empty day is refused');
like($err, qr/HINT: .*allow_empty = true/, 'the error of an empty day has a hint');
is($f->query($runs), $count, 'contratos_run() of an empty day leaves nothing in the ledger');
is( $f->query('SELECT day, status, rows_loaded, rows_replaced, run IS NULL FROM contratos_backfill(1)'),
	'2026-11-20|refused|||f', 'an empty day is a refused row of a backfill');
is( $f->query('SELECT status, sqlstate, error IS NULL FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'),
	'refused|55000|f', 'an empty day of a backfill is refused in the ledger');
is($f->query($digest), $old, 'an empty day keeps its old rows');
$f->query('UPDATE contratos_sources SET allow_empty = true');
like($f->fails('SELECT contratos_run()'), qr/55000: 2026-11-20 of source "tokens" has shrunk from 50 rows to 0/,
	'allow_empty does not let a day shrink');
is( $f->query('SELECT status, rows_loaded, rows_replaced FROM contratos_run(allow_shrink => true)'),
	'succeeded|0|50', 'allow_shrink loads an empty day over old rows');
is($f->query($day_rows), 0, 'an empty day that was loaded has no rows');
is($f->query('SELECT status, rows_loaded, rows_replaced FROM contratos_run()'), 'succeeded|0|0',
	'an empty day can be loaded again');
is( $f->query('SELECT source_max_timestamp IS NULL, rows_inserted FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'),
	't|0', 'an empty day has no latest timestamp in the ledger');
$f->query('UPDATE contratos_sources SET allow_empty = false');

$f->day('2026-11-20', 100);
$f->query('SELECT contratos_run()');
$f->day('2026-11-20', 89);
like($f->fails('SELECT contratos_run()'),
	qr/ERROR:  55000: 2026-11-20 of source "tokens" has shrunk from 100 rows to 89/, 'a day that has shrunk is refused');
is($f->query($day_rows), 100, 'a day that has shrunk keeps its old rows');
is($f->query('SELECT status FROM contratos_backfill(1)'), 'refused', 'a backfill refuses a day that has shrunk');
$f->day('2026-11-20', 90);
is($f->query('SELECT status FROM contratos_run()'), 'succeeded', 'a day may shrink by max_shrink');
$f->day('2026-11-20', 40);
is( $f->query('SELECT status, rows_loaded, rows_replaced FROM contratos_backfill(1, allow_shrink => true)'),
	'succeeded|40|90', 'allow_shrink loads a day that has shrunk');

# ---- calls that make no sense

for my $case (
	[ q(contratos_run('2026-11-21')), '22023', 'day 2026-11-21 is not over yet' ],
	[ q(contratos_run('2027-01-01')), '22023', 'day 2027-01-01 is not over yet' ],
	[ q(contratos_run('infinity')), '22023', 'day is out of range' ],
	[ q(contratos_run('4000-01-01 BC')), '22023', 'day is out of range' ],
	[ q(contratos_run(NULL)), '22004', 'argument "day" must not be null' ],
	[ q(contratos_run(source => NULL)), '22004', 'argument "source" must not be null' ],
	[ q(contratos_run(allow_shrink => NULL)), '22004', 'argument "allow_shrink" must not be null' ],
	[ q(contratos_run(source => 'nope')), '42704', 'source "nope" does not exist' ],
	[ q(contratos_backfill(0)), '22023', 'days must be between 1 and 3660' ],
	[ q(contratos_backfill(-1)), '22023', 'days must be between 1 and 3660' ],
	[ q(contratos_backfill(3661)), '22023', 'days must be between 1 and 3660' ],
	[ q(contratos_backfill(NULL)), '22004', 'argument "days" must not be null' ],
	[ q(contratos_backfill(1, only_missing => NULL)), '22004', 'argument "only_missing" must not be null' ],
	[ q(contratos_backfill(1, 'nope')), '42704', 'source "nope" does not exist' ],
	[ q(contratos_backfill_range('2026-11-20', '2026-11-19')), '22023', 'first must not be after last' ],
	[ q(contratos_backfill_range('2026-11-20', '2026-11-21')), '22023', 'day 2026-11-21 is not over yet' ],
	[ q(contratos_backfill_range(NULL, '2026-11-20')), '22004', 'argument "first" must not be null' ],
	[ q(contratos_backfill_range('2026-11-20', NULL)), '22004', 'argument "last" must not be null' ])
{
	my ($call, $state, $message) = @$case;
	like($f->fails("SELECT $call"), qr/ERROR:  $state: \Q$message\E/, "$call is refused: $message");
}
$bq->reset(tables => 0);
for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	for my $call ('contratos_run()', 'contratos_backfill(1)')
	{
		like($f->fails("BEGIN ISOLATION LEVEL $level; SELECT $call"),
			qr/ERROR:  25000: .*isolation level/, "$call is refused in $level");
	}
}
like($f->fails('BEGIN READ ONLY; SELECT contratos_run()'), qr/ERROR:  25006:/,
	'contratos_run() is refused in a read-only transaction');
is($f->requests, '', 'calls that are refused do not reach BigQuery');

# ---- the caller's transaction

$f->day('2026-11-20', 45);
$old = $f->query($digest);
$count = $f->query($runs);
is($f->query('BEGIN; SELECT rows_loaded FROM contratos_backfill(1); ROLLBACK'), 45,
	'a backfill in a transaction that is rolled back loads rows');
is($f->query($digest), $old, 'a backfill that is rolled back leaves no rows');
is($f->query($runs), $count, 'a backfill that is rolled back leaves nothing in the ledger');
$f->query(
	q(CREATE FUNCTION attempt(wanted date) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE state text;
	BEGIN
		PERFORM contratos_run(wanted);
		RETURN 'loaded';
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$));
$bq->rule({ kind => 'insert', nth => 2 }, { status => 400, reason => 'invalidQuery', message => 'bad' });
is( $f->query(
		q(SELECT attempt('2026-11-20'), attempt('2026-11-19'), attempt('2026-11-18'), attempt('2026-11-21'))),
	'loaded|42000|loaded|22023', 'an EXCEPTION block catches an error of contratos_run() and goes on');
is($f->query($runs), $count + 2, 'the ledger has the successes beside an exception that was caught');
is($f->query($day_rows), 45, 'the rows loaded beside an exception that was caught are kept');

# ---- a source without a timestamp column is replaced as a whole

$bq->table(
	'my-data.things.colours',
	schema => [ { name => 'name', type => 'STRING' }, { name => 'code', type => 'INT64' } ],
	rows => [ [ 'red', 1 ], [ 'green', 2 ] ]);
$f->query(
	q(CREATE FOREIGN TABLE bigquery_colours (name text, code bigint) SERVER bigquery OPTIONS ("table" 'my-data.things.colours');
	  CREATE TABLE colours (code bigint, name text, note text DEFAULT 'new');
	  INSERT INTO colours VALUES (9, 'grey'), (8, 'black'), (7, 'white');
	  INSERT INTO contratos_sources (name, remote_table, target_table, snapshot) VALUES ('colours', 'bigquery_colours', 'colours', true)));
is( $f->query(q(SELECT status, rows_loaded, rows_replaced FROM contratos_run(source => 'colours', allow_shrink => true))),
	'succeeded|2|3', 'a full-table source replaces the whole table');
is($f->query('SELECT * FROM colours ORDER BY code'), "1|red|new\n2|green|new",
	'columns of a full-table source are matched by name');
is($f->query(q(SELECT day FROM contratos_runs WHERE source = 'colours')), '2026-11-20',
	'the day of a full-table source is yesterday');
like($f->fails(q(SELECT contratos_run('2026-11-19', 'colours'))),
	qr/ERROR:  22023: source "colours" has only one day to load, 2026-11-20/,
		'contratos_run() refuses an older day of a full-table source');
like($f->fails(q(SELECT contratos_backfill(2, 'colours'))), qr/ERROR:  22023:/,
	'contratos_backfill() refuses an older day of a full-table source');

$f->stop;
done_testing();
