# The foreign table by itself: what a query asks BigQuery for, how often, and
# what EXPLAIN says about it.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(conf => 'contratos.page_rows = 20');
my $bq = $f->bq;

my $window = q(block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z');

$f->day('2026-11-19', 30);
$f->day('2026-11-20', 50);
$f->query('SELECT contratos_setup()');

# Runs statements with an empty log before them; then the log can be asked.
sub logged
{
	my ($sql) = @_;
	$bq->reset(tables => 0);
	return $f->query($sql);
}

sub inserts { return map { $_->{body}{configuration}{query} } $bq->requests('insert'); }
sub texts { return join "\n", map { $_->{query} } inserts(); }

# Columns and parameters of the one job there was.
sub columns
{
	my ($query) = inserts();
	my ($list) = $query->{query} =~ /^SELECT (.*?) FROM/;
	return $list =~ tr/`//dr;
}

sub parameters
{
	my ($query) = inserts();
	my @where = $query->{query} =~ /`block_timestamp` (\S+) @(\w+)/g;
	my %value = map { $_->{name} => "$_->{parameterType}{type} $_->{parameterValue}{value}" } @{ $query->{queryParameters} || [] };
	my @said;
	push @said, "$where[0] $value{$where[1]}" and splice @where, 0, 2 while @where;
	return join ', ', @said;
}

# ---- only the columns that are needed

for my $case (
	[ 'symbol', 'symbol, block_timestamp' ],
	[ 'address, block_number', 'address, block_timestamp, block_number' ],
	[ 'count(*)', 'COUNT(*), ANY_VALUE(block_timestamp)' ],
	[ '1', 'block_timestamp' ],
	[ 'count(symbol)', 'symbol, block_timestamp' ],
	[ 'length(block_hash)', 'block_timestamp, block_hash' ],
	[ 'bigquery_tokens', 'address, symbol, name, decimals, total_supply, block_timestamp, block_number, block_hash' ],
	[ '*', 'address, symbol, name, decimals, total_supply, block_timestamp, block_number, block_hash' ])
{
	my ($list, $columns) = @$case;
	logged("SELECT $list FROM bigquery_tokens WHERE $window");
	is(columns(), $columns, "SELECT $list: the columns asked for");
}
is(logged("SELECT count(*) FROM bigquery_tokens WHERE $window AND decimals = 18"), 40, 'a condition that is not pushed is checked locally');
is(columns(), 'decimals, block_timestamp', 'a condition that is not pushed has its column read');
is(logged("SELECT count(*), max(block_timestamp) FILTER (WHERE address ~ '^0x'), count(DISTINCT address) FROM bigquery_tokens WHERE $window"),
	'50|' . $f->query("SELECT max(block_timestamp) FROM bigquery_tokens WHERE $window") . '|50',
		'aggregates of a foreign table');
is(logged("SELECT count(b), bool_and(b.symbol = (b).symbol) FROM bigquery_tokens b WHERE $window"), '50|t', 'whole rows of a foreign table');
is(logged("SELECT tableoid::regclass, count(*) FROM bigquery_tokens WHERE $window GROUP BY 1"), 'bigquery_tokens|50', 'tableoid of a foreign table');

# ---- conditions on the timestamp, pushed as parameters

my $from = 'TIMESTAMP 2026-11-20 00:00:00.000000+00:00';
my $to = 'TIMESTAMP 2026-11-21 00:00:00.000000+00:00';
for my $case (
	[ 'constants', $window, ">= $from, < $to", 50 ],
	[ 'the other way round', q('2026-11-20Z'::timestamptz <= block_timestamp AND '2026-11-21Z'::timestamptz > block_timestamp), ">= $from, < $to", 50 ],
	[ 'equality', q(block_timestamp = '2026-11-20Z'), "= $from", 1 ],
	[ 'microseconds', q(block_timestamp > '2026-11-20 00:00:00.000001Z' AND block_timestamp < '2026-11-21Z'),
		"> TIMESTAMP 2026-11-20 00:00:00.000001+00:00, < $to", 49 ],
	[ 'BETWEEN', q(block_timestamp BETWEEN '2026-11-20Z' AND '2026-11-21Z'), ">= $from, <= $to", 50 ],
	[ 'dates', q(block_timestamp >= date '2026-11-20' AND block_timestamp < date '2026-11-21'), ">= $from, < $to", 50 ],
	[ 'timestamps', q(block_timestamp >= timestamp '2026-11-20 00:00' AND block_timestamp < timestamp '2026-11-21 00:00'), ">= $from, < $to", 50 ],
	[ 'an expression', q(block_timestamp >= '2026-11-19Z'::timestamptz + interval '1 day' AND block_timestamp < '2026-11-21Z'), ">= $from, < $to", 50 ],
	[ 'a sub-select', q(block_timestamp >= (SELECT '2026-11-20Z'::timestamptz) AND block_timestamp < (SELECT date '2026-11-21')), ">= $from, < $to", 50 ],
	[ 'the same twice', q(block_timestamp >= '2026-11-20Z' AND block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z'), ">= $from, < $to", 50 ],
	[ 'infinity', q(block_timestamp < 'infinity' AND block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z'), ">= $from, < $to", 50 ],
	[ 'a year that BigQuery has not', q(block_timestamp < '20000-01-01Z' AND block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z'), ">= $from, < $to", 50 ],
	[ 'more than can be pushed', "$window AND extract(hour FROM block_timestamp) < 12 AND (block_timestamp < '2026-11-20 01:00Z' OR symbol IS NULL)", ">= $from, < $to", 3 ])
{
	my ($name, $where, $parameters, $rows) = @$case;
	my $got = logged("SELECT count(address) FROM bigquery_tokens WHERE $where");
	is(parameters(), $parameters, "$name: the conditions are pushed");
	is($got, $rows, "$name: the rows are right");
	unlike(texts(), qr/2026|20000|infinity/i, "$name: no value is in the text of the query");
}
is(logged(q(SET TimeZone = 'America/Sao_Paulo'; SELECT count(*) FROM bigquery_tokens
	WHERE block_timestamp >= date '2026-11-20' AND block_timestamp < '2026-11-21Z')) > 0, 1, 'a date in another time zone finds rows');
is(parameters(), ">= TIMESTAMP 2026-11-20 03:00:00.000000+00:00, < $to",
	'a date in another time zone means midnight there');

# what the service sends besides is not believed
$bq->reset(tables => 0);
$bq->rule({ kind => 'results' },
	{ envelope => { totalRows => '1' }, truncate_rows => 0, extra_rows => [ [ '0x', '1500000000000000' ] ] });
is($f->query("SELECT count(address) FROM bigquery_tokens WHERE $window"), 0, 'conditions are checked locally as well');

# ---- parameters of prepared statements, now()

is( logged(
		q(SET plan_cache_mode = force_generic_plan;
		  PREPARE p(timestamptz, date) AS SELECT count(*) FROM bigquery_tokens WHERE block_timestamp >= $1 AND block_timestamp < $2;
		  EXECUTE p('2026-11-20Z', '2026-11-21'); EXECUTE p('2026-11-19Z', '2026-11-20'))),
	"50\n30", 'a prepared statement with a generic plan finds rows');
is(parameters(), ">= $from, < $to", 'the parameters of a prepared statement are pushed');
is(scalar(inserts()), 2, 'a prepared statement makes a job for each execution');
like(
	logged(q(SET plan_cache_mode = force_generic_plan; PREPARE p(timestamptz) AS SELECT count(*) FROM bigquery_tokens WHERE block_timestamp >= $1;
		  EXPLAIN (VERBOSE) EXECUTE p('2026-11-20Z'))),
	qr/Parameter \@p1: TIMESTAMP (?:2026-11-20 00:00:00.000000\+00:00|\(known at execution\))/,
		'EXPLAIN shows the parameters of a prepared statement');
logged(q(SELECT count(*) FROM bigquery_tokens WHERE block_timestamp >= now()));
like(parameters(), qr/^>= TIMESTAMP 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00$/, 'now() is pushed as its value');
is(logged(q(SELECT count(*) FROM bigquery_tokens WHERE block_timestamp >= '2026-11-20Z' AND block_timestamp < clock_timestamp() - interval '100 years')), 0,
	'a volatile condition is checked locally');
is(parameters(), ">= $from", 'a volatile condition is not pushed');

# ---- NULL, and what would be a job for each row

is(logged(q(SELECT count(*) FROM bigquery_tokens WHERE block_timestamp >= (SELECT NULL::timestamptz))), 0, 'a condition that is NULL finds no rows');
is($f->requests, '', 'a condition that is NULL makes no job');
is(logged(q(SELECT d, (SELECT count(*) FROM bigquery_tokens b WHERE b.block_timestamp >= '2026-11-19Z' AND b.block_timestamp < '2026-11-21Z'
		AND b.block_timestamp >= d AND b.block_timestamp < d + 1 AND address ~ '^0x[0-9a-f]{40}$')
	FROM unnest(ARRAY['2026-11-19', '2026-11-20', '2026-11-21']::date[]) d)),
	"2026-11-19|30\n2026-11-20|50\n2026-11-21|0", 'a correlated subquery finds its rows');
is(scalar(inserts()), 1, 'a correlated subquery is one job, read again for each row');
is(logged(q(SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
	SELECT count(b) FROM (VALUES (6), (18), (6), (7)) v(d) LEFT JOIN bigquery_tokens b ON b.decimals = v.d
	AND b.block_timestamp >= '2026-11-20Z' AND b.block_timestamp < '2026-11-21Z')), 60, 'a nested loop finds its rows');
# pages asked for ahead come in any order
is(join(' ', sort { $a <=> $b } map { $_->{start_index} // 0 } $bq->requests('results')), join(' ', (0) x 4, (20) x 4, (40) x 4), 'a nested loop reads the pages for each row');
is(scalar(inserts()), 1, 'a nested loop is one job');
is(logged(q(SELECT count(*), sum(n) FROM generate_series(1, 3) g, LATERAL (SELECT count(*) + 0 * g AS n FROM bigquery_tokens
	WHERE block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z' AND decimals > g) l)), '3|150', 'a LATERAL subquery finds its rows');
is(scalar(inserts()), 1, 'a LATERAL subquery is one job');
is(logged(q(BEGIN; DECLARE c SCROLL CURSOR FOR SELECT count(*) OVER (), address FROM bigquery_tokens
	WHERE block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z' ORDER BY block_timestamp;
	MOVE ALL c; MOVE ABSOLUTE 0 c; FETCH 1 c; COMMIT)) =~ /^50\|0x/, 1, 'a cursor that scrolls finds its rows');
is(scalar(inserts()), 1, 'a cursor that scrolls is one job');
is(logged(qq(BEGIN; DECLARE c CURSOR FOR SELECT address FROM bigquery_tokens WHERE $window;
	FETCH 3 c; CLOSE c; SELECT 'closed'; COMMIT)) =~ /closed$/, 1, 'a cursor can be closed early');
cmp_ok(scalar($bq->requests('results')), '<=', 2, 'a cursor that is closed early does not read on');
is(logged("SELECT count(*) FROM (SELECT 1 FROM bigquery_tokens WHERE $window LIMIT 5) l"), 5, 'LIMIT gives its rows');
is(scalar($bq->requests('results')), 1, 'LIMIT reads one page');
is(logged(q(SELECT count(*) FROM bigquery_tokens a JOIN bigquery_tokens b USING (address)
	WHERE a.block_timestamp >= '2026-11-20Z' AND a.block_timestamp < '2026-11-21Z'
	AND b.block_timestamp >= '2026-11-19Z' AND b.block_timestamp < '2026-11-21Z')), 50,
		'two scans in one statement find their rows');
is(scalar(inserts()), 2, 'two scans in one statement are two jobs');
is(logged(qq(BEGIN; DECLARE a CURSOR FOR SELECT address FROM bigquery_tokens WHERE $window;
	DECLARE b CURSOR FOR SELECT block_hash FROM bigquery_tokens WHERE $window;
	MOVE 25 a; MOVE 45 b; MOVE 25 a; FETCH a; FETCH 5 b; SELECT 'both'; COMMIT)) =~ /^(0x\w+\n){5}both$/, 1, 'two cursors read at once find their rows');

like(logged(qq(BEGIN; DECLARE c CURSOR FOR SELECT address FROM bigquery_tokens WHERE $window;
	MOVE 5 c; SAVEPOINT s; MOVE 20 c; FETCH 1 c; ROLLBACK TO s; MOVE 20 c; FETCH ALL c; SELECT 'end'; COMMIT)),
	qr/^(0x\w+\n){5}end$/, 'a cursor outlives a savepoint that it was read in');
is(logged(qq(BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT address FROM bigquery_tokens WHERE $window; COMMIT; MOVE 49 c; FETCH ALL c)) =~ /^0x\w+$/, 1,
	'a cursor WITH HOLD outlives its transaction');
is(logged(qq(BEGIN; SAVEPOINT s; DECLARE c CURSOR FOR SELECT address FROM bigquery_tokens WHERE $window; FETCH 1 c; ROLLBACK TO s;
	SELECT count(*) FROM bigquery_tokens WHERE $window; COMMIT)) =~ /^0x\w+\n50$/, 1, 'a scan that a rollback ends does not harm the next');

# ---- the options of the foreign table

like($f->fails('SELECT count(*) FROM bigquery_tokens'), qr/ERROR:  55000: a query of foreign table "bigquery_tokens" needs a condition on column "block_timestamp"/,
	'require_filter: a query without a condition is an error');
like($f->fails("SELECT count(*) FROM bigquery_tokens WHERE address = '0x'"), qr/ERROR:  55000: /, 'require_filter: a condition on another column is an error');
like($f->query('EXPLAIN SELECT count(*) FROM bigquery_tokens'), qr/Foreign Scan/,
	'require_filter: EXPLAIN needs no condition');
$f->query(q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (SET require_filter 'false')));
cmp_ok(logged('SELECT count(*) FROM (SELECT FROM bigquery_tokens OFFSET 0) b'), '>', 800,
	'a foreign table without require_filter is read whole');
is(columns(), '1 AS _1', 'rows without columns and conditions ask for no column');
$f->query(q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (SET require_filter 'true', ADD row_filter 'decimals = ''6'' -- six')));
is(logged("SELECT count(*) FROM bigquery_tokens WHERE $window"), 10, 'row_filter limits the rows');
like(texts(), qr/ AND \(\ndecimals = '6' -- six\n\)$/, 'row_filter is part of the text of the query');
$f->query(q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (DROP row_filter)));

for my $sql (
	q(INSERT INTO bigquery_tokens (address, block_timestamp, block_number, block_hash) VALUES ('0x', now(), 1, '0x')),
	"UPDATE bigquery_tokens SET symbol = 'x' WHERE $window",
	"DELETE FROM bigquery_tokens WHERE $window")
{
	my ($verb) = $sql =~ /^(\w+)/;
	$bq->reset(tables => 0);
	like($f->fails($sql), qr/ERROR:  0A000/, "$verb of a foreign table is an error");
	is($f->requests, '', "$verb of a foreign table makes no request");
}

# ---- EXPLAIN

my $explain = "SELECT symbol FROM bigquery_tokens WHERE $window";
my $plan = logged("EXPLAIN (VERBOSE) $explain");
is($f->requests, '', 'EXPLAIN makes no request');
like($plan, qr/GoogleSQL: SELECT `symbol`, `block_timestamp` FROM `bigquery-public-data\.crypto_ethereum\.tokens` WHERE `block_timestamp` >= \@p1 AND `block_timestamp` < \@p2$/m,
	'EXPLAIN (VERBOSE) shows the GoogleSQL');
like($plan, qr/Parameter \@p1: \Q$from\E$/m, 'EXPLAIN (VERBOSE) shows the first parameter');
like($plan, qr/Parameter \@p2: \Q$to\E$/m, 'EXPLAIN (VERBOSE) shows the second parameter');
unlike($plan, qr/key\.json|private|token_uri|gserviceaccount|Bearer|127\.0\.0\.1/,
	'EXPLAIN (VERBOSE) shows nothing of the credentials');
unlike(logged("EXPLAIN $explain"), qr/GoogleSQL/, 'EXPLAIN without VERBOSE does not show the GoogleSQL');
is($f->requests, '', 'EXPLAIN without VERBOSE makes no request');
like(logged(q(EXPLAIN (VERBOSE) SELECT symbol FROM bigquery_tokens WHERE block_timestamp >= (SELECT now()))), qr/Parameter \@p1: TIMESTAMP \(known at execution\)/,
	'EXPLAIN (VERBOSE) shows a parameter that is known at execution');
$bq->kill;
like($f->query("EXPLAIN (VERBOSE, FORMAT JSON) $explain"), qr/"GoogleSQL": "SELECT `symbol`/, 'EXPLAIN works while BigQuery is down');
$bq->restart;

$plan = logged("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) $explain");
my ($job) = map { $_->{job} } $bq->requests('results');
like($plan, qr/BigQuery Job: $job$/m, 'EXPLAIN (ANALYZE) shows the job');
like($plan, qr/Bytes Processed: \d{3,} B$/m, 'EXPLAIN (ANALYZE) shows the bytes processed');
like($plan, qr/Bytes Billed: 10485760 B$/m, 'EXPLAIN (ANALYZE) shows the bytes billed');
like($plan, qr/Pages: 3$/m, 'EXPLAIN (ANALYZE) shows the pages');
like($plan, qr/Bytes Received: \d{4,} B$/m, 'EXPLAIN (ANALYZE) shows the bytes received');
like($plan, qr/rows=50/, 'EXPLAIN (ANALYZE) shows the rows');
unlike(logged("EXPLAIN (ANALYZE) $explain LIMIT 1"), qr/-\d+ B/,
	'EXPLAIN (ANALYZE) does not show bytes that are not known');

# ---- where and as whom

$bq->table(
	'eu-data.things.notes',
	location => 'EU',
	schema => [ { name => 'note', type => 'STRING' }, { name => "Gr\x{f6}\x{df}e", type => 'INT64' } ],
	rows => [ [ 'here', 7 ] ]);
$f->query(
	qq(CREATE SERVER eu FOREIGN DATA WRAPPER contratos OPTIONS (project 'test-project', location 'EU', dataset_project 'eu-data');
	   CREATE FOREIGN TABLE notes (remark text OPTIONS (name 'note'), size bigint OPTIONS (name 'Größe')) SERVER eu OPTIONS ("table" 'things.notes');
	   SELECT 1));
is(logged(q(SET contratos.project = 'nobody'; SET contratos.location = 'asia'; SELECT * FROM notes)), 'here|7', 'a foreign table with its server\'s project and location is read');
is(join('|', map { "$_->{project} $_->{location}" } $bq->jobs), 'test-project EU',
	'a job has its server\'s project and location');
like($f->fails(q(ALTER SERVER eu OPTIONS (SET location 'US'); SELECT * FROM notes)), qr/ERROR:  42P01: BigQuery: Not found/, 'a wrong location of the server is an error');
$f->query(q(ALTER SERVER eu OPTIONS (SET location 'EU', SET project 'other-project')));
like($f->fails(q(SELECT * FROM notes)), qr/ERROR:  42501: BigQuery: Access Denied/,
	'a project without access is an error');
$f->query(q(ALTER SERVER eu OPTIONS (SET project 'test-project')));

my $key = $bq->key_file;
my $wrong = $bq->unknown_key_file;
$f->query(
	qq(CREATE ROLE analyst; GRANT SELECT ON notes TO analyst; GRANT SELECT ON bigquery_tokens TO analyst;
	   CREATE USER MAPPING FOR analyst SERVER eu OPTIONS (credentials_file '$wrong');
	   CREATE VIEW all_notes AS SELECT * FROM notes; GRANT SELECT ON all_notes TO analyst));
like($f->fails('SET ROLE analyst; SELECT * FROM notes'), qr/ERROR:  28000: /, "a user mapping's key is used");
is($f->query('SELECT * FROM notes'), 'here|7', 'a user mapping\'s key is used for its role only');
is($f->query('SET ROLE analyst; SELECT * FROM all_notes'), 'here|7', "a view is read with its owner's key");
$f->query("ALTER USER MAPPING FOR analyst SERVER eu OPTIONS (SET credentials_file '$key')");
is($f->query('SET ROLE analyst; SELECT * FROM notes'), 'here|7', 'another key in a user mapping works at once');
$f->query(q(GRANT USAGE ON FOREIGN DATA WRAPPER contratos TO analyst; GRANT CREATE ON SCHEMA public TO analyst; SET ROLE analyst;
	CREATE SERVER mine FOREIGN DATA WRAPPER contratos OPTIONS (project 'test-project', dataset_project 'eu-data', location 'EU');
	CREATE FOREIGN TABLE mine (note text) SERVER mine OPTIONS ("table" 'things.notes')));
like($f->fails('SET ROLE analyst; SELECT * FROM mine'), qr/ERROR:  42501: contratos.credentials_file does not serve server "mine"/,
	"the setting's key does not serve another role's server");
like($f->fails("SET ROLE analyst; CREATE USER MAPPING FOR analyst SERVER mine OPTIONS (credentials_file '$key')"), qr/ERROR:  42501: /,
	'a role may not name a key in its own user mapping');
$f->query("CREATE USER MAPPING FOR analyst SERVER mine OPTIONS (credentials_file '$key')");
is($f->query('SET ROLE analyst; SELECT * FROM mine'), 'here', 'a superuser may name the key of a role\'s user mapping');

$f->stop;
done_testing();
