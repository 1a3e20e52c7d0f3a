# Types that are read by their own input functions, and domains: what these may do
# without harm to the statement, the transaction or the session.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(conf => 'contratos.page_rows = 10000');
my $bq = $f->bq;

$f->query(
	q(SELECT contratos_setup(); CREATE SCHEMA v;
	  CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
	  CREATE TABLE v.seen (what text);
	  CREATE FUNCTION v.judge(what text) RETURNS bool LANGUAGE plpgsql AS $$
	  BEGIN
	  	CASE what
	  		WHEN 'deadlock' THEN RAISE 'a deadlock' USING ERRCODE = '40P01';
	  		WHEN 'serialization' THEN RAISE 'a conflict' USING ERRCODE = '40001';
	  		WHEN 'memory' THEN RAISE 'no memory' USING ERRCODE = '53200';
	  		WHEN 'disk' THEN RAISE 'no disk' USING ERRCODE = '58030';
	  		WHEN 'shutdown' THEN RAISE 'going down' USING ERRCODE = '57P01';
	  		WHEN 'rights' THEN RAISE 'not yours' USING ERRCODE = '42501';
	  		WHEN 'bug' THEN RAISE 'a bug' USING ERRCODE = 'XX000';
	  		WHEN 'slow' THEN PERFORM pg_sleep(600);
	  		WHEN 'zero' THEN PERFORM 1 / 0;
	  		ELSE INSERT INTO v.seen VALUES (what);
	  	END CASE;
	  	RETURN what <> 'bad';
	  END $$;
	  CREATE DOMAIN judged AS text CHECK (v.judge(VALUE));
	  CREATE DOMAIN needed AS mood NOT NULL;
	  CREATE DOMAIN thing AS text CHECK (VALUE IS NOT NULL);
	  CREATE DOMAIN short AS varchar(3);
	  CREATE DOMAIN shorter AS short CHECK (length(VALUE) < 3)));

# A table there of one STRING column, and the foreign table, target and source v.
sub source
{
	my ($type, @values) = @_;
	$bq->table('my-data.things.v', schema => [ { name => 'n', type => 'INT64' }, { name => 'x', type => 'STRING' } ],
		rows => [ map { [ $_, $values[$_] ] } 0 .. $#values ]);
	$f->query(
		qq(SET client_min_messages = warning;
		   DROP FOREIGN TABLE IF EXISTS v.remote; DROP TABLE IF EXISTS v.target; DELETE FROM contratos_sources WHERE name = 'v';
		   CREATE FOREIGN TABLE v.remote (n bigint, x $type) SERVER bigquery OPTIONS ("table" 'my-data.things.v');
		   CREATE TABLE v.target (n bigint, x text);
		   INSERT INTO contratos_sources (name, remote_table, target_table, max_shrink, snapshot) VALUES ('v', 'v.remote', 'v.target', 1, true)));
	return;
}
my $run = q(SELECT status, rows_loaded FROM contratos_run(source => 'v'));
my $allow = q(ALTER FOREIGN TABLE v.remote OPTIONS (ADD on_bad_value 'null'));
my $shown = q(SELECT string_agg(coalesce(x::text, 'NULL'), ' ' ORDER BY n));

# ---- what a check throws

source('judged', 'good', 'bad', 'zero', 'fine');
is($f->query($run), 'succeeded|4', 'a domain whose check throws is loaded');
is($f->query("$shown FROM v.target"), 'good NULL NULL fine', 'values that a check refuses or throws at are bad values');
is( $f->query(q(SELECT string_agg(reason, ', ' ORDER BY row_number) FROM contratos_rejects)),
	'value for domain public.judged violates check constraint "judged_check", division by zero',
	'the reason of a bad value is the message of the check\'s error');
is($f->query(q(SELECT string_agg(what, ' ') FROM v.seen)), 'good fine', 'writes of a check are undone for values it refused only');

for my $case (
	[ 'deadlock', '40P01' ],
	[ 'serialization', '40001' ],
	[ 'memory', '53200' ],
	[ 'disk', '58030' ],
	[ 'shutdown', '57P01' ],
	[ 'rights', '42501' ],
	[ 'bug', 'XX000' ])
{
	my ($what, $state) = @$case;
	source('judged', 'good', $what);
	$f->query($allow);
	like($f->fails('SELECT x FROM v.remote'), qr/ERROR:  $state: /, "$what: an error of this class is the statement's");
}
source('judged', 'slow');
$f->query($allow);
like($f->fails(q(SET statement_timeout = '200ms'; SELECT x FROM v.remote)),
	qr/ERROR:  57014: canceling statement/, 'a check can be canceled');
source('judged', 'good');
like($f->fails(q(BEGIN READ ONLY; SELECT x FROM v.remote)), qr/ERROR:  25006: /, 'a check that writes fails in a read-only transaction');

# ---- long ones

source('mood', 'x' x 1_000_000, "\x{e9}" x 1_000_000);
is($f->query($run), 'succeeded|2', 'long texts that are not a label are loaded as bad values');
is($f->query(q(SELECT max(octet_length(reason)) < 500, min(right(reason, 3)) FROM contratos_rejects WHERE reason ~ 'enum')), 't|...', 'the reason of a long text that is not a label is short');
source('inet', 'x' x 1_000_000);
is($f->query($run), 'succeeded|1', 'a long text that is not an address is loaded as a bad value');
is($f->query(q(SELECT max(octet_length(reason)) < 500 FROM contratos_rejects WHERE reason ~ 'inet')), 't', 'the reason of a long text that is not an address is short');
$f->query(q(BEGIN; ALTER TYPE mood ADD VALUE 'new'; COMMIT));
source('mood', 'new', 'newer');
$f->query($allow);
is($f->query("$shown FROM v.remote"), 'new NULL', 'a new label of an enum is read');
like($f->query(q(BEGIN; ALTER TYPE mood ADD VALUE 'newer'; ) . "$shown FROM v.remote; ROLLBACK"), qr/^new NULL$/, 'a label that is not committed is a bad value');

# ---- NULL

for my $domain ('needed', 'thing')
{
	source($domain, 'ok', undef);
	my $err = $f->fails('SELECT x FROM v.remote');
	like($err, qr/ERROR:  23502: null value in column "x" of foreign table "remote"/, "$domain: NULL is an error");
	like($err, qr/HINT:  The column's domain does not allow NULL/, "$domain: the error of NULL has a hint");
	$f->query($allow);
	like($f->fails('SELECT x FROM v.remote'), qr/ERROR:  23502: /,
		"$domain: NULL is an error with on_bad_value 'null', too");
	like($f->fails($run), qr/ERROR:  23502: .*\n.*DETAIL:  Row 2: BigQuery's value is NULL/,
		"$domain: NULL fails a load");
	source($domain, 'ok', 'sad');
	is($f->query("$shown FROM v.remote"), 'ok sad', "$domain: values other than NULL are read");
}
source('needed', 'ok', 'angry');
like($f->fails($run), qr/ERROR:  23502: .*\n.*DETAIL:  Row 2: invalid input value for enum public\.mood: "angry"/,
	'a bad value that cannot become NULL fails the day');
source('judged', undef, 'good');
is($f->query("$shown FROM v.remote"), 'NULL good', 'NULL is read where the check allows it');

# ---- a domain over a domain

source('shorter', 'ab', 'abc', 'ab  ');
$f->query($allow);
is($f->query("$shown FROM v.remote"), 'ab NULL NULL', 'a domain over a domain is checked, with its length');
source('short', 'abc', 'abcd');
like($f->fails('SELECT x FROM v.remote'), qr/DETAIL:  "abcd": too long for character varying\(3\)/, 'the length of a domain is checked');

# ---- where a statement may stand

source('mood', 'ok', 'angry', 'sad', undef);
$f->query($allow);
my $all = 'ok NULL sad NULL';
is($f->query("BEGIN READ ONLY; $shown FROM v.remote; COMMIT"), $all, 'a bad value is NULL in a read-only transaction');
is($f->query("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; $shown FROM v.remote; COMMIT"), $all, 'a bad value is NULL in a deferrable transaction');
is($f->query("BEGIN; SAVEPOINT a; $shown FROM v.remote; ROLLBACK TO a; $shown FROM v.remote; COMMIT"), "$all\n$all", 'a bad value is NULL within savepoints');
is($f->query('BEGIN; DECLARE c CURSOR FOR SELECT x FROM v.remote ORDER BY n; FETCH 2 FROM c; SAVEPOINT a; FETCH 1 FROM c; RELEASE a; FETCH 1 FROM c; CLOSE c; COMMIT'),
	"ok\n\nsad\n", 'a bad value is NULL in a cursor');
is($f->query("BEGIN; DECLARE c CURSOR FOR SELECT x FROM v.remote; FETCH 1 FROM c; SAVEPOINT a; FETCH 1 FROM c; ROLLBACK TO a; FETCH 1 FROM c; COMMIT"),
	"ok\n\nsad", 'a bad value is NULL in a cursor that outlives a savepoint');
is($f->query("PREPARE p AS $shown FROM v.remote; EXECUTE p; EXECUTE p"), "$all\n$all",
	'a bad value is NULL in a prepared statement');
is($f->query(q(SET client_min_messages = notice;
	DO $$ BEGIN PERFORM x FROM v.remote; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END $$; SELECT 1)), 1, 'a bad value is NULL in an exception block');
is($f->query(q(SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; SELECT count(x) FROM v.remote; SHOW DateStyle; SHOW TimeZone)),
	"2\nSQL, DMY\nAsia/Tokyo", "reading bad values keeps the session's settings");
is($f->query("SET TimeZone = 'Asia/Tokyo'; BEGIN; SET LOCAL DateStyle = 'German'; $shown FROM v.remote; SHOW DateStyle; COMMIT; SHOW TimeZone"),
	"$all\nGerman, DMY\nAsia/Tokyo", 'reading bad values keeps the transaction\'s settings');

# ---- in a plan with parallel workers

my $parallel = q(SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SET max_parallel_workers_per_gather = 2; SET enable_mergejoin = off; SET enable_nestloop = off;);
my $join = q(FROM v.remote r JOIN v.here h USING (n));
$f->query('CREATE TABLE v.here AS SELECT g AS n FROM generate_series(0, 50000) g; ANALYZE v.here');
like($f->query("$parallel EXPLAIN SELECT x $join"), qr/Gather/, 'the plan has workers');
my $version = $f->query('SHOW server_version_num');
is($f->query("$parallel $shown $join"), $all, 'an enum in a parallel plan is checked by its labels');
source('inet', '::1', 'angry', '::2', undef);
$f->query($allow);
if ($version >= 160000)
{
	is($f->query("$parallel $shown $join"), '::1/128 NULL ::2/128 NULL', 'an inet in a parallel plan has soft errors');
}
else
{
	my $err = $f->fails("$parallel SELECT x $join");
	like($err, qr/ERROR:  22P02: value of column "x" cannot be stored without loss/, 'a bad value in it is an error');
	like($err, qr/DETAIL:  invalid input syntax for type inet: "angry"\./, 'that says why');
	like($err, qr/HINT: .*SET max_parallel_workers_per_gather = 0/, 'and what to do');
}
source('shorter', 'ab', 'abc', undef);
$f->query($allow);
if ($version >= 170000)
{
	is($f->query("$parallel $shown $join"), 'ab NULL NULL',
		'a domain in a parallel plan is checked, with subtransactions');
}
else
{
	like($f->fails("$parallel SELECT x $join"), qr/HINT: .*SET max_parallel_workers_per_gather = 0/, 'a bad domain value in a parallel plan is an error with a hint');
}
source('shorter', 'ab', 'b', undef);
is($f->query("$parallel $shown $join"), 'ab b NULL', 'valid values of a domain are read in a parallel plan');
source('needed', 'ok', 'sad');
is($f->query("$parallel $shown $join"), 'ok sad', 'a NOT NULL domain is read in a parallel plan');

# ---- memory

$bq->table('my-data.things.many', generate => { day => '2026-11-20', rows => 60000, seed => 1 });
$f->query(
	q(CREATE DOMAIN never AS text CHECK (repeat(VALUE, 10) IS NULL);
	  CREATE DOMAIN always AS text CHECK (repeat(VALUE, 10) IS NOT NULL);
	  CREATE FOREIGN TABLE v.many (address always, symbol never) SERVER bigquery
	  	OPTIONS ("table" 'my-data.things.many', on_bad_value 'null');
	  CREATE FOREIGN TABLE v.moods (address mood) SERVER bigquery OPTIONS ("table" 'my-data.things.many', on_bad_value 'null')));
my $bytes = q(SELECT sum(total_bytes) FROM pg_backend_memory_contexts);
for my $case ([qw(address many)], [qw(symbol many)], [qw(address moods)])
{
	my ($column, $table) = @$case;
	my @sizes = split /\n/,
	  $f->query("BEGIN; DECLARE c CURSOR FOR SELECT $column FROM v.$table; MOVE 15000 FROM c; $bytes; MOVE 15000 FROM c; $bytes; MOVE 25000 FROM c; $bytes; COMMIT");
	is(scalar(@sizes), 3, "$column of $table: memory was measured three times");
	cmp_ok($sizes[2] - $sizes[1], '<', 200_000, "$column of $table: memory does not grow with the rows") or diag("@sizes");
}

# ---- nothing was left open

my $log = PostgreSQL::Test::Utils::slurp_file($f->node->logfile);
unlike($log, qr/leak|still referenced|WARNING:  .*(?:snapshot|resource)/i, 'the log has no leak');

$f->stop;
done_testing();
