# count, min and max that BigQuery computes: what is sent, that the result is
# the local one, and what makes the local plan compute it after all.
use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Session;

my $f = Contratos::Fixture->new(conf => 'contratos.page_rows = 20', init => { extra => [ '--encoding=UTF8', '--no-locale' ] });
my $bq = $f->bq;

my @schema = (
	[ id => 'INTEGER', 'bigint', 'INT64' ], [ n => 'INTEGER', 'bigint', 'INT64' ], [ flag => 'BOOLEAN', 'boolean', 'BOOL' ], [ day => 'DATE', 'date', 'DATE' ],
	[ at => 'TIMESTAMP', 'timestamptz', 'TIMESTAMP' ], [ clock => 'DATETIME', 'timestamp', 'DATETIME' ], [ amount => 'NUMERIC', 'numeric', 'NUMERIC' ],
	[ big => 'BIGNUMERIC', 'numeric', 'BIGNUMERIC' ], [ x => 'FLOAT', 'double precision', 'FLOAT64' ], [ t => 'TIME', 'time', 'TIME' ],
	[ name => 'STRING', 'text', 'STRING' ], [ small => 'INTEGER', 'smallint', 'INT64' ]);

# 60 rows, three pages; the last five are NULL, and the order is not that of the texts.
sub row
{
	my ($i) = @_;
	my $day = sprintf '2026-%02d-%02d', 1 + $i % 12, 1 + $i % 28;
	my @values = ($i, ($i % 7) * 1000 - 3000, ($i % 2 ? JSON::PP::true() : JSON::PP::false()), $day, "$day 12:00:00.000001+00:00", "${day}T12:00:00.000001",
		($i - 30) . '.50', ($i - 9) . '.000000000000000001', $i == 7 ? 'NaN' : "$i.25", '10:00:00', $i % 2 ? "n$i" : "N$i", $i);
	return [ $i, map { $i > 55 ? undef : $_ } @values[ 1 .. $#values ] ];
}
$bq->table('my-data.things.many', schema => [ map { { name => $_->[0], type => $_->[1] } } @schema ], rows => [ map { row($_) } 1 .. 60 ]);
my $columns = join ', ', map { "$_->[0] $_->[2] OPTIONS (type '$_->[3]')" } @schema;
$f->query(qq(CREATE SERVER bigquery FOREIGN DATA WRAPPER contratos OPTIONS (dataset_project 'my-data');
	CREATE FOREIGN TABLE many ($columns) SERVER bigquery OPTIONS ("table" 'things.many');
	CREATE TABLE copy AS SELECT * FROM many));

# Runs statements with an empty log before them; then the log can be asked.
sub logged
{
	my ($sql) = @_;
	$bq->reset(tables => 0);
	return $f->query($sql);
}

# The text of each job's query, without the table.
sub texts { return map { $_->{body}{configuration}{query}{query} =~ s/ FROM `\S+`//r =~ tr/`//dr } $bq->requests('insert'); }
sub asked { return join ' | ', texts(); }

# What a query gives when BigQuery computes its aggregates, and from a copy; FROM many is read from either.
sub both
{
	my ($sql) = @_;
	my $copied = $f->query($sql =~ s/\bmany\b/copy/gr);
	return (logged($sql), $copied);
}
sub sent
{
	my ($sql, $wanted, $name) = @_;
	my ($got, $copied) = both($sql);
	is(asked(), $wanted, "$name is sent");
	is($got, $copied, "$name has the result of a local copy");
	return;
}
sub not_sent
{
	my ($sql, $name) = @_;
	my ($got, $copied) = both($sql);
	unlike(asked(), qr/COUNT|MIN|MAX|ANY_VALUE/, "$name is not sent");
	is($got, $copied, "$name has the result of a local copy");
	return;
}

# ---- each type

for my $case (grep { $_->[0] !~ /^(?:name|small|flag|x|t)$/ } @schema)
{
	my ($c, undef, $type) = @$case;
	sent("SELECT count(*), count($c), min($c), max($c) FROM many", "SELECT COUNT(*), COUNT($c), MIN($c), MAX($c)", "count, min and max of $case->[3]");
	is((logged("SELECT pg_typeof(max($c)) FROM many") =~ s/ with.*//r), { timestamptz => 'timestamp', timestamp => 'timestamp without time zone' =~ s/ with.*//r }->{$type} // $type,
		"max of $case->[3] has the column's type");
	my $value = $f->query("SELECT max($c) FROM copy WHERE id < 20");
	for my $op ('=', '<', '<=', '>', '>=')
	{
		my ($got, $copied) = both("SELECT count(*), min($c) FROM many WHERE $c $op '$value'");
		is(asked(), "SELECT COUNT(*), MIN($c) WHERE $c $op \@p1", "$case->[3] $op is a condition that is sent");
		is($got, $copied, "$case->[3] $op has the result of a local copy");
	}
}
sent('SELECT count(flag), count(x), count(t) FROM many', 'SELECT COUNT(flag), COUNT(x), COUNT(t), ANY_VALUE(flag), ANY_VALUE(x), ANY_VALUE(t)', 'count of BOOL, FLOAT64 and TIME');
for my $case (
	[ 'flag', 'flag = @p1' ], [ 'NOT flag', 'flag = @p1' ], [ 'n IS NULL', 'n IS NULL' ], [ 'day IS NOT NULL', 'day IS NOT NULL' ], [ 'n IN (1000, 2000, NULL)', 'n IN UNNEST(@p1)' ],
	[ 'id BETWEEN 5 AND 15', 'id >= @p1 AND id <= @p2' ], [ 'id = 7.0', 'id = @p1' ], [ q(at >= date '2026-06-01'), 'at >= @p1' ],
	[ q(day < timestamp '2026-06-06 12:00'), 'day <= @p1' ], [ q(day <= timestamp '2026-06-06 12:00'), 'day <= @p1' ],
	[ q(day > timestamp '2026-06-06 12:00'), 'day > @p1' ], [ q(day >= timestamp '2026-06-06 12:00'), 'day > @p1' ],
	[ q(day >= timestamp '2026-06-06 00:00'), 'day >= @p1' ])
{
	my ($column) = $case->[1] =~ /^(\w+)/;
	sent("SELECT count(*) FROM many WHERE $case->[0]", "SELECT COUNT(*), ANY_VALUE($column) WHERE $case->[1]", "count with $case->[0]");
}
is(logged(q(SELECT count(*) FROM many WHERE day = ANY (ARRAY[timestamp '2026-06-06 12:00']))), 0, 'a day is not equal to its noon');
is($f->requests, '', 'a list of no midnights makes no request');
sent(q(SELECT min(amount), max(n) FROM many WHERE id > 1000), 'SELECT MIN(amount), MAX(n), ANY_VALUE(id) WHERE id > @p1', 'an aggregate over no rows');
sent(q(SELECT count(*), count(n) FROM many WHERE id > 1000), 'SELECT COUNT(*), COUNT(n), ANY_VALUE(id), ANY_VALUE(n) WHERE id > @p1', 'a count of no rows');

# ---- around the aggregates

for my $case (
	[ q(SELECT count(*) + 1, max(at)::date, max(n) - min(n), 'x' || count(*), count(*) FROM many), 'SELECT COUNT(*), MAX(at), MAX(n), MIN(n)', 'expressions' ],
	[ 'SELECT count(1), count(*), count(true) FROM many', 'SELECT COUNT(*)', 'count of a constant' ],
	[ 'SELECT max(n) FROM many HAVING count(*) > 59', 'SELECT MAX(n), COUNT(*)', 'HAVING that is true' ],
	[ 'SELECT max(n) FROM many HAVING count(*) > 60', 'SELECT MAX(n), COUNT(*)', 'HAVING that is false' ],
	[ 'SELECT count(*) FROM many LIMIT 0', '', 'LIMIT 0' ], [ 'SELECT count(*) FROM many ORDER BY 1 LIMIT 5', 'SELECT COUNT(*)', 'ORDER BY and LIMIT' ],
	[ 'SELECT count(*) FROM (SELECT * FROM many WHERE id < 9) s WHERE n > 0', 'SELECT COUNT(*), ANY_VALUE(id), ANY_VALUE(n) WHERE id < @p1 AND n > @p2', 'a subquery' ],
	[ 'SELECT * FROM (SELECT count(*) AS c FROM many) a, (SELECT max(id) AS m FROM many) b WHERE c = m', 'SELECT COUNT(*) | SELECT MAX(id)', 'aggregates that are joined' ],
	[ 'WITH c AS MATERIALIZED (SELECT max(id) AS m FROM many) SELECT * FROM c, c d', 'SELECT MAX(id)', 'WITH' ],
	[ 'SELECT count(*) FROM many WHERE id > (SELECT max(id) - 5 FROM many WHERE flag)', 'SELECT MAX(id), ANY_VALUE(flag) WHERE flag = @p1 | SELECT COUNT(*), ANY_VALUE(id) WHERE id > @p1', 'a value of a sub-select' ],
	[ 'SELECT g, (SELECT count(*) + g FROM many WHERE id < 9) FROM generate_series(1, 3) g', 'SELECT COUNT(*), ANY_VALUE(id) WHERE id < @p1', 'a sub-select for each row, but one job' ],
	[ 'SELECT g, c FROM generate_series(1, 3) g, LATERAL (SELECT count(*) * g AS c FROM many) l', 'SELECT COUNT(*)', 'LATERAL that only computes with the row' ],
	[ 'SELECT count(*), (SELECT 7) FROM many', 'SELECT COUNT(*)', 'a sub-select beside it' ],
	[ 'SELECT (SELECT count(*) FROM copy c WHERE c.id <= max(m.id) - 5 AND c.n < max(m.n)) FROM many m', 'SELECT MAX(id), MAX(n)', 'a sub-select that takes the aggregates' ],
	[ 'SELECT max(n) FROM many HAVING max(n) = (SELECT max(n) FROM copy) AND count(*) IN (SELECT id FROM copy)', 'SELECT MAX(n), COUNT(*)', 'HAVING with sub-selects' ],
	[ q(SELECT 'local', count(*), max(at) FROM copy UNION ALL SELECT 'bigquery', count(*), max(at) FROM many), 'SELECT COUNT(*), MAX(at)', 'UNION ALL' ],
	[ 'SELECT count(*) FROM many UNION SELECT count(n) FROM many EXCEPT SELECT count(*) - 5 FROM many', undef, 'UNION and EXCEPT' ],
	[ 'SELECT DISTINCT count(*) FROM many', 'SELECT COUNT(*)', 'SELECT DISTINCT' ])
{
	my ($sql, $wanted, $name) = @$case;
	if (defined $wanted) { sent($sql, $wanted, $name) }
	else
	{
		my ($got, $copied) = both($sql);
		is($got, $copied, "$name: the result of a local copy");
		is(scalar(grep { /COUNT/ } texts()), 3, "$name: each part is sent");
	}
}
is(logged('SELECT max(id) FROM many'), 60, 'one row is received');
is(scalar($bq->requests('results')), 1, 'one page is read');

# ---- what is not sent

for my $case (
	[ 'SELECT min(name COLLATE "C"), max(name) FROM many', 'min of a text' ], [ 'SELECT count(name) FROM many', 'count of a text' ], [ 'SELECT count(small), min(small) FROM many', 'an aggregate of smallint' ],
	[ 'SELECT max(x), min(x) FROM many', 'max of FLOAT64' ], [ 'SELECT max(t) FROM many', 'max of TIME' ], [ 'SELECT sum(n) FROM many', 'sum' ], [ 'SELECT count(*), avg(n) FROM many', 'avg beside count' ],
	[ 'SELECT count(DISTINCT n) FROM many', 'DISTINCT' ], [ 'SELECT count(*) FILTER (WHERE flag) FROM many', 'FILTER' ], [ 'SELECT max(n ORDER BY id) FROM many', 'ORDER BY in an aggregate' ],
	[ 'SELECT flag, count(*) FROM many GROUP BY flag ORDER BY 1', 'GROUP BY' ], [ 'SELECT count(*) FROM many GROUP BY ()', 'GROUP BY ()' ], [ 'SELECT flag, count(*) FROM many GROUP BY ROLLUP (flag) ORDER BY 1', 'ROLLUP' ],
	[ 'SELECT count(*), count(*) OVER () FROM many', 'a window function' ], [ 'SELECT max(n + 0), min(-n) FROM many', 'max of an expression' ], [ 'SELECT count((n, id)) FROM many', 'count of a row' ],
	[ 'SELECT count(many) FROM many', 'count of whole rows' ], [ 'SELECT count(NULL) FROM many', 'count of NULL' ], [ 'SELECT count(*), generate_series(1, 2) FROM many', 'a function that returns a set' ],
	[ q(SELECT count(*) FROM many WHERE name = 'n7'), 'a condition on a text' ], [ 'SELECT count(*) FROM many WHERE small = 7', 'a condition on smallint' ], [ 'SELECT count(*) FROM many WHERE id = 7 OR n = 1000', 'OR' ],
	[ 'SELECT count(*) FROM many WHERE id > 7 AND id <> 9', 'a condition that is not pushed beside one that is' ], [ 'SELECT count(*) FROM many WHERE id > 7 OR random() < 0', 'a volatile condition' ],
	[ q(SELECT count(*) FROM many WHERE day < 'infinity'), 'infinity' ], [ 'SELECT count(*) FROM many WHERE amount < 1.0000000001', 'a constant with too many digits' ],
	[ 'SELECT count(*) FROM many WHERE id < 7.5', 'a fraction' ], [ 'SELECT count(*) FROM many WHERE x < 7.5', 'a condition on FLOAT64' ],
	[ 'SELECT count(*) FROM many a, many b WHERE a.id = b.id', 'a join' ], [ 'SELECT count(*) FROM (SELECT * FROM many OFFSET 0) s', 'an OFFSET below' ], [ 'SELECT count(*) FROM (SELECT * FROM many LIMIT 100) s', 'a LIMIT below' ],
	[ 'SELECT count(*) FROM (SELECT * FROM many UNION ALL SELECT * FROM many) u', 'an aggregate over UNION ALL' ],
	[ 'SELECT g, (SELECT count(*) FROM many WHERE id > g) FROM generate_series(1, 3) g', 'a condition with the row of the outer query' ])
{
	not_sent(@$case);
}
is(logged('SELECT count(*), max(id) FROM many WHERE false'), '0|', 'a condition that is false');
is($f->requests, '', 'a condition that is false makes no request');
is(logged('SELECT count(*) FROM many WHERE (SELECT false)'), 0, 'a condition of the statement only');
is($f->requests, '', 'a condition of the statement only makes no request');
is(logged('SELECT count(*) FROM many WHERE (SELECT true)'), 60, 'a condition of the statement only, which is true');

# ---- known at execution only

my $generic = 'SET plan_cache_mode = force_generic_plan; PREPARE q(%s) AS SELECT count(*), max(n) FROM many WHERE %s;';
for my $case (
	[ 'date', 'day < $1', q('2026-06-06'), q('infinity') ], [ 'timestamptz', 'at > $1', q('2026-06-06Z'), q('-infinity') ], [ 'timestamp', 'clock < $1', q('2026-06-06'), q('10000-01-01') ],
	[ 'numeric', 'amount < $1', '5.5', '1.0000000001' ], [ 'numeric', 'amount < $1', '0', q('NaN') ], [ 'numeric', 'id < $1', '8', '7.5' ], [ 'date[]', 'day = ANY ($1)', q('{2026-02-02}'), q('{infinity,2026-02-02}') ])
{
	my ($type, $where, $value, $other) = @$case;
	my $sql = sprintf $generic, $type, $where;
	my ($got, $copied) = both("$sql EXECUTE q($value)");
	like(asked(), qr/^SELECT COUNT\(\*\), MAX\(n\), ANY_VALUE\(\w+\) WHERE /, "$where as a parameter is sent");
	is($got, $copied, "$where as a parameter: the result of a local copy");
	($got, $copied) = both("$sql EXECUTE q($other); EXECUTE q($value); EXECUTE q(NULL)");
	is(join('', map { /COUNT/ ? 'a' : 'r' } texts()), 'ra', "$where with $other: the rows are read, and with the next value they are not");
	is($got, $copied, "$where with $other: the results of a local copy");
}
my $last = $f->query(q(SELECT count(*) FROM copy WHERE at >= now() - interval '100 years'));
is(logged(q(SELECT count(*) FROM many WHERE at >= now() - interval '100 years')), $last, 'now()');
is(asked(), 'SELECT COUNT(*), ANY_VALUE(at) WHERE at >= @p1', 'now() is sent as its value');
is(logged('SELECT count(*), max(n) FROM many WHERE id = (SELECT NULL::bigint)'), '0|', 'NULL as a value of a sub-select');
is($f->requests, '', 'NULL as a value of a sub-select makes no request');
is(logged(q(BEGIN; DECLARE c SCROLL CURSOR FOR SELECT count(*) FROM many; FETCH c; MOVE ABSOLUTE 0 c; FETCH c; FETCH c; COMMIT)), "60\n60", 'a cursor that scrolls');
is(asked(), 'SELECT COUNT(*)', 'a cursor that scrolls is one job');
my ($got, $copied) = both(q(SELECT g, (SELECT count(*) FROM many WHERE id > (SELECT 50) AND day < (SELECT 'infinity'::date)) + g FROM generate_series(1, 3) g));
is($got, $copied, 'the local plan is executed again for each row');
is(asked(), 'SELECT id, day WHERE id > @p1', 'the local plan is one job for all rows');

# ---- NOT NULL, other types: BigQuery's table is not as the foreign table says

$f->query(q(CREATE FOREIGN TABLE strict (id bigint OPTIONS (type 'INT64') NOT NULL, n bigint OPTIONS (type 'INT64') NOT NULL, day date) SERVER bigquery OPTIONS ("table" 'things.many')));
is(logged('SELECT max(id), count(*) FROM strict'), '60|60', 'a column that is NOT NULL');
is(asked(), 'SELECT MAX(id), COUNT(*), COUNT(id)', 'a column that is NOT NULL is counted besides');
is(logged('SELECT max(n) FROM strict WHERE n > 0'), 3000, 'a column that is NOT NULL, compared');
is(asked(), 'SELECT MAX(n) WHERE n > @p1', 'a column that is NOT NULL and compared is not counted');
like($f->fails('SELECT max(n) FROM strict'), qr/ERROR:  23502: null value in column "n" of foreign table "strict"/, 'NULL in a column that is NOT NULL is an error');
like($f->fails('SELECT count(n) FROM strict WHERE id > 50'), qr/ERROR:  23502: /, 'NULL in a column that is NOT NULL and counted is an error');
is(logged('SELECT count(n), max(day) FROM strict WHERE id < 50'), $f->query('SELECT count(n), max(day) FROM copy WHERE id < 50'), 'NULL in rows that the conditions leave out is no error');
is(scalar(texts()), 1, 'NULL in rows that the conditions leave out: one job');
is($f->query('SELECT count(*) FROM strict'), 60, 'NULL in a column that is not read is no error');

$f->query(q(CREATE FOREIGN TABLE taken (clock date, name bigint, day bigint OPTIONS (type 'INT64'), amount bigint) SERVER bigquery OPTIONS ("table" 'things.many')));
for my $case (
	[ q(count(*) FROM taken WHERE clock >= '2026-01-01'), qr/42804: column "clock" of foreign table "taken" is of another type in BigQuery/, 'a condition on a column of another type' ],
	[ 'max(day) FROM taken', qr/42804: column "day" of foreign table public.taken is of another type in BigQuery/, 'a column of another type than its option says' ],
	[ 'count(day) FROM taken', qr/42804: column "day" of foreign table public.taken is of another type in BigQuery/, 'a counted column of another type than its option says' ],
	[ 'count(name) FROM taken', qr/22P02: value of column "name" in row \d+ cannot be stored without loss/, 'a counted column without the option' ],
	[ 'min(amount) FROM taken', qr/22P02: value of column "amount" in row \d+ cannot be stored without loss/, 'the minimum of a column without the option' ])
{
	my ($sql, $error, $name) = @$case;
	like($f->fails("SELECT $sql"), qr/ERROR:  $error/, "$name: the error of a scan");
}
$f->query(q(ALTER FOREIGN TABLE taken OPTIONS (ADD on_bad_value 'null')));
is($f->query('SELECT count(name), max(amount) FROM taken'), '0|', 'a column of another type may be NULL locally');
is($f->query('SELECT count(small) = 3 FROM (SELECT small FROM many WHERE id < 4) s'), 't', 'a smallint is counted locally');
$bq->reset(tables => 0);
$bq->rule({ kind => 'results' }, { envelope => { schema => { fields => [ { name => 'f0_', type => 'TIMESTAMP', timestampPrecision => '12' } ] } } });
is($f->query('SELECT max(at) = (SELECT max(at) FROM copy) FROM many'), 't', 'a TIMESTAMP of picoseconds');
is(asked(), 'SELECT MAX(at) | SELECT at', 'a TIMESTAMP of picoseconds is compared locally');

# ---- what the service answers is not believed

for my $case (
	[ 'no row', { truncate_rows => 0, envelope => { totalRows => '0' } } ], [ 'two rows', { extra_rows => [ ['1'] ], envelope => { totalRows => '2' } } ], [ 'no number', { truncate_rows => 0, extra_rows => [ ['x'] ] } ],
	[ 'NULL', { truncate_rows => 0, extra_rows => [ [undef] ] } ], [ 'a negative number', { truncate_rows => 0, extra_rows => [ ['-1'] ] } ])
{
	my ($name, $action) = @$case;
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'results' }, $action);
	like($f->fails('SELECT count(*) FROM many'), qr/ERROR:  HV000: BigQuery's answer has no values of the aggregates that it was asked for\nDETAIL:  The job is contratos_\w+/, "an answer with $name is an error");
}
$bq->reset(tables => 0);
$bq->rule({ kind => 'results' }, { envelope => { schema => { fields => [ map { { name => "f$_", type => 'INTEGER' } } 0, 1 ] } } });
like($f->fails('SELECT count(*) FROM many'), qr/ERROR:  HV000: /, 'an answer with two columns is an error');
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert' }, { status => 400, reason => 'invalidQuery', message => 'MAX is not defined' });
like($f->fails('SELECT max(n) FROM many'), qr/ERROR:  \w+: BigQuery: MAX is not defined/, "BigQuery's error is the query's");

# ---- options, privileges, views

$f->query(qq(CREATE FOREIGN TABLE wants ($columns) SERVER bigquery OPTIONS ("table" 'things.many', partition_column 'day', require_filter 'true');
	CREATE FOREIGN TABLE part ($columns) SERVER bigquery OPTIONS ("table" 'things.many', row_filter 'n > 0 -- some', max_bytes_billed '20MB')));
is(logged(q(SELECT count(*) FROM wants WHERE day >= '2026-01-01')), 55, 'require_filter: a condition will do');
is(asked(), 'SELECT COUNT(*), ANY_VALUE(day) WHERE day >= @p1', 'require_filter: the aggregate is sent');
like($f->fails('SELECT count(*) FROM wants'), qr/ERROR:  55000: a query of foreign table "wants" needs a condition on column "day"/, 'require_filter: no condition is an error');
like($f->fails(q(SET plan_cache_mode = force_generic_plan; PREPARE q(date) AS SELECT count(*) FROM wants WHERE day < $1; EXECUTE q('infinity'))), qr/ERROR:  55000: /, 'require_filter: infinity is an error');
is(logged('SELECT count(*), min(n) FROM part WHERE id < 20'), $f->query('SELECT count(*), min(n) FROM copy WHERE id < 20 AND n > 0'), 'row_filter limits the rows');
like(asked(), qr/^SELECT COUNT\(\*\), MIN\(n\), ANY_VALUE\(id\) WHERE id < \@p1 AND \(\nn > 0 -- some\n\)$/, 'row_filter is sent with the aggregate');
is((map { $_->{body}{configuration}{query}{maximumBytesBilled} } $bq->requests('insert'))[0], 20971520, 'the byte cap is sent with the aggregate');

my $wrong = $bq->unknown_key_file;
$f->query(qq(CREATE ROLE analyst; CREATE ROLE keyless; CREATE VIEW seen AS SELECT * FROM many WHERE id < 30; GRANT SELECT ON seen TO analyst, keyless;
	CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM many WHERE id < 30; GRANT SELECT ON barrier TO analyst;
	GRANT SELECT (id) ON many TO analyst; CREATE USER MAPPING FOR keyless SERVER bigquery OPTIONS (credentials_file '$wrong')));
like($f->fails('SET ROLE analyst; SELECT count(n) FROM many'), qr/ERROR:  42501: permission denied for foreign table many/, 'a column without SELECT privilege');
like($f->fails('SET ROLE analyst; SELECT count(*) FROM many WHERE n > 1'), qr/ERROR:  42501: /, 'a condition without SELECT privilege');
is(logged('SET ROLE analyst; SELECT max(id) FROM many'), 60, 'a column with SELECT privilege');
is(logged('SET ROLE keyless; SELECT count(*), max(n) FROM seen WHERE n > 0'), $f->query('SELECT count(*), max(n) FROM copy WHERE n > 0 AND id < 30'), "a view is read with its owner's key");
is(asked(), 'SELECT COUNT(*), MAX(n), ANY_VALUE(id) WHERE id < @p1 AND n > @p2', 'an aggregate of a view is sent');
like($f->fails('RESET ROLE; GRANT SELECT ON many TO keyless; SET ROLE keyless; SELECT count(*) FROM many'), qr/ERROR:  28000: /, "a user mapping's key is used");
is(logged('SET ROLE analyst; SELECT count(*) FROM barrier WHERE n > 0'), $f->query('SELECT count(*) FROM copy WHERE n > 0 AND id < 30'), 'a view with a security barrier');

$f->query(q(CREATE TABLE parent (LIKE copy); CREATE FOREIGN TABLE child () INHERITS (parent) SERVER bigquery OPTIONS ("table" 'things.many'); INSERT INTO parent SELECT * FROM copy WHERE id < 4;
	CREATE TABLE more () INHERITS (child); INSERT INTO more SELECT * FROM copy WHERE id < 3));
is($f->query('SELECT count(*), max(id), (SELECT count(*) FROM child), (SELECT count(*) FROM ONLY child) FROM parent'), '65|60|62|60', 'tables that inherit');
is(logged('SET enable_partitionwise_aggregate = on; SELECT count(*) FROM child'), 62, 'a foreign table with children');

# ---- EXPLAIN

my $plan = logged('EXPLAIN (VERBOSE, COSTS OFF) SELECT max(n) + 1, count(*) FROM many WHERE id < 9 HAVING count(*) > 1');
is($f->requests, '', 'EXPLAIN makes no request');
is($plan, q(Foreign Scan
  Output: ((max(n)) + 1), (count(*))
  Filter: ((count(*)) > 1)
  Relations: Aggregate on (public.many)
  GoogleSQL: SELECT MAX(`n`), COUNT(*), ANY_VALUE(`id`) FROM `my-data.things.many` WHERE `id` < @p1
  Parameter @p1: INT64 9), 'EXPLAIN (VERBOSE) shows the query');
is($f->query('EXPLAIN (COSTS OFF) SELECT count(*) FROM many'), "Foreign Scan\n  Relations: Aggregate on (many)", 'EXPLAIN');
like($f->query(q(SET plan_cache_mode = force_generic_plan; PREPARE q(date) AS SELECT count(*) FROM many WHERE day < $1; EXPLAIN (VERBOSE) EXECUTE q('2026-01-01'))), qr/Parameter \@p1: DATE \(known at execution\)/, 'EXPLAIN of a parameter');
my $quiet = 'COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF';
$plan = logged("EXPLAIN (ANALYZE, $quiet) SELECT max(n) FROM many");
my ($job) = map { $_->{job} } $bq->requests('results');
like($plan, qr/\AForeign Scan \(actual rows=1(?:\.00)? loops=1\)\n  Relations: Aggregate on \(many\)\n  BigQuery Job: $job\n  Bytes Processed: \d+ B\n  Bytes Billed: \d+ B\n  Pages: 1\n  Bytes Received: \d+ B\z/, 'EXPLAIN (ANALYZE) shows the job');
$plan = logged("SET plan_cache_mode = force_generic_plan; PREPARE q(date) AS SELECT count(*) FROM many WHERE day < \$1; EXPLAIN (ANALYZE, VERBOSE, $quiet) EXECUTE q('infinity')");
like($plan, qr/\AForeign Scan [^\n]*\n  Output: [^\n]*\n  Relations: Aggregate on \(public\.many\)\n  ->  Aggregate \(actual.*\n        ->  Foreign Scan on public\.many \(actual rows=55.*GoogleSQL: SELECT `day` FROM.*BigQuery Job: /s, 'EXPLAIN (ANALYZE) shows the local plan when it is used');
SKIP:
{
	skip 'a server without auto_explain', 1 if ($f->psql("LOAD 'auto_explain'"))[0];
	like($f->query("LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on; SELECT count(*) FROM many"), qr/^60$/, 'auto_explain does not harm');
}

# Descriptors of a backend that are no files: sockets, epoll.
sub sockets { my ($pid) = @_; return scalar grep { defined && !m{^/} && !/^pipe/ } map { readlink } glob "/proc/$pid/fd/*"; }
my $session = Contratos::Session->new($f->node);
$session->query('SELECT count(*) FROM many');
my $before = sockets($session->pid);
$session->query("EXPLAIN (ANALYZE) SELECT count(*), max(n) FROM many; SELECT g, (SELECT count(*) FROM many) FROM generate_series(1, 3) g; SELECT max(n) FROM many WHERE day < (SELECT 'infinity'::date)") for 1 .. 3;
$session->query('SELECT max(n) FROM strict') for 1 .. 2;
is(sockets($session->pid), $before, 'no descriptor is left');
$session->quit;

# ---- loads, and the check of the README

my $window = q(block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z');
$f->day('2026-11-20', 50);
$f->query(q(SELECT contratos_setup()));
$f->query(qq(CREATE TABLE noted (n bigint, m timestamptz); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
	INSERT INTO public.noted SELECT count(*), max(block_timestamp) FROM public.bigquery_tokens WHERE $window; RETURN NULL; END \$\$;
	CREATE TRIGGER note AFTER INSERT ON tokens FOR EACH STATEMENT EXECUTE FUNCTION note()));
my $odd = q(INSERT INTO tokens (address, block_timestamp, block_number, block_hash) VALUES ('old', '2026-11-20 01:00Z', 1, '0x'));
is(logged(qq($odd; SELECT status FROM contratos_run('2026-11-20'); SELECT count(*), count(DISTINCT m) FROM noted; SELECT count(*) FROM noted WHERE n = 50)), "succeeded\n2|1\n2", 'a trigger with a plan of before the load');
is(join('', map { /COUNT/ ? 'a' : 'r' } texts()), 'ar', "within the load the trigger reads the load's job");
$f->query('DROP TRIGGER note ON tokens');
my ($local, $remote) = split /\n/, logged(qq(SELECT max(block_timestamp), count(*) FROM tokens WHERE $window UNION ALL SELECT max(block_timestamp), count(*) FROM bigquery_tokens WHERE $window));
is($remote, $local, 'both sides are equal');
like($remote, qr/\|50$/, 'both sides have all rows');
is(asked(), 'SELECT MAX(block_timestamp), COUNT(*) WHERE block_timestamp >= @p1 AND block_timestamp < @p2', 'the other side is one row');

$f->stop;
done_testing();
