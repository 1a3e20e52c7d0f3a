# Conditions as BigQuery gets them, tables that want one, and scans that are
# read twice, side by side, half, or not to their end.
use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Session;

my $f = Contratos::Fixture->new(conf => "contratos.page_rows = 20\ncontratos.request_timeout = '1h'\ncontratos.job_timeout = '1h'",
	init => { extra => [ '--encoding=UTF8', '--no-locale' ] });
my $bq = $f->bq;

my @schema = (
	[ id => 'INTEGER', 'bigint', 'INT64' ], [ small => 'INTEGER', 'smallint', 'INT64' ], [ mid => 'INTEGER', 'integer', 'INT64' ],
	[ flag => 'BOOLEAN', 'boolean', 'BOOL' ], [ day => 'DATE', 'date', 'DATE' ], [ at => 'TIMESTAMP', 'timestamptz', 'TIMESTAMP' ],
	[ clock => 'DATETIME', 'timestamp', 'DATETIME' ], [ amount => 'NUMERIC', 'numeric', 'NUMERIC' ], [ name => 'STRING', 'text', 'STRING' ],
	[ label => 'STRING', 'varchar', 'STRING' ]);

# 60 rows, three pages: row i has i everywhere, as far as it goes.
sub row
{
	my ($i) = @_;
	my $day = sprintf '2026-%02d-%02d', 1 + $i % 12, 1 + $i % 28;
	my @values = ($i, $i % 7, $i, ($i % 2 ? JSON::PP::true() : JSON::PP::false()), $day, "$day 12:00:00.000001+00:00", "${day}T12:00:00.000001", "$i.5", "n$i", "l" . $i % 10);
	# the last ones are NULL
	return [ $i, map { $i > 55 ? undef : $_ } @values[ 1 .. $#values ] ];
}
sub table
{
	my ($name, %more) = @_;
	$bq->table("my-data.things.$name", schema => [ map { { name => $_->[0], type => $_->[1] } } @schema ], rows => [ map { row($_) } 1 .. 60 ], %more);
	return;
}
table('many');
table('others');
my $columns = join ', ', map { "$_->[0] $_->[2] OPTIONS (type '$_->[3]')" } @schema;
$f->query(qq(CREATE SERVER bigquery FOREIGN DATA WRAPPER contratos OPTIONS (dataset_project 'my-data');
	CREATE SERVER second FOREIGN DATA WRAPPER contratos OPTIONS (dataset_project 'my-data', project 'test-project');
	CREATE FOREIGN TABLE many ($columns) SERVER bigquery OPTIONS ("table" 'things.many');
	CREATE FOREIGN TABLE others ($columns) SERVER second OPTIONS ("table" 'things.others');
	CREATE FOREIGN TABLE wants ($columns) SERVER bigquery OPTIONS ("table" 'things.many', partition_column 'day', require_filter 'true')));

# Runs statements with an empty log before them; then the log can be asked.
sub logged
{
	my ($sql) = @_;
	$bq->reset(tables => 0);
	return $f->query($sql);
}

sub configurations { return map { $_->{body}{configuration} } $bq->requests('insert'); }
sub jobs { return scalar grep { !$_->{dryRun} } configurations(); }

# WHERE and parameters of the last job.
sub asked
{
	my ($query) = map { $_->{query} } reverse configurations();
	my ($where) = $query->{query} =~ / WHERE (.*)/;
	my $said = ($where // '') =~ tr/`//dr;
	for my $p (@{ $query->{queryParameters} || [] })
	{
		my ($type, $value) = @$p{qw(parameterType parameterValue)};
		my $text = $type->{type} ne 'ARRAY' ? "$type->{type} $value->{value}"
		  : "ARRAY<$type->{arrayType}{type}> " . join ',', map { $_->{value} } @{ $value->{arrayValues} };
		$said =~ s/\@$p->{name}\b/<$text>/;
	}
	return $said;
}

# ---- what goes over the wire: constants, then the same as parameters

my @types = (
	[ small => 'smallint', '3', 'INT64 3' ], [ mid => 'integer', '21', 'INT64 21' ], [ id => 'bigint', '21', 'INT64 21' ],
	[ flag => 'boolean', 'true', 'BOOL true' ], [ day => 'date', '2026-02-14', 'DATE 2026-02-14' ],
	[ at => 'timestamptz', '2026-02-14 09:00:00.000001-03', 'TIMESTAMP 2026-02-14 12:00:00.000001+00:00' ],
	[ clock => 'timestamp', '2026-02-14 12:00:00.000001', 'DATETIME 2026-02-14 12:00:00.000001' ],
	[ amount => 'numeric', '13.500', 'NUMERIC 13.5' ], [ name => 'text', 'n13', 'STRING n13' ], [ label => 'varchar', 'l3', 'STRING l3' ]);
for my $case (@types)
{
	my ($name, $type, $value, $sent) = @$case;
	my ($remote, $text) = split / /, $sent, 2;
	my @found;
	push @found, logged("SELECT string_agg(id::text, ',' ORDER BY id) FROM many WHERE $name = '$value'");
	is(asked(), "$name = <$sent>", "$type: a constant");
	like($found[0], qr/^\d/, "$type: a constant finds rows");
	push @found, logged("SET plan_cache_mode = force_generic_plan; PREPARE q($type) AS SELECT string_agg(id::text, ',' ORDER BY id) FROM many WHERE $name = \$1; EXECUTE q('$value')");
	is(asked(), "$name = <$sent>", "$type: a parameter");
	push @found, logged("SELECT string_agg(id::text, ',' ORDER BY id) FROM many WHERE $name = ANY (ARRAY['$value', NULL, '$value']::$type\[])");
	is(asked(), "$name IN UNNEST(<ARRAY<$remote> $text>)", "$type: a list");
	push @found, logged("SET plan_cache_mode = force_generic_plan; PREPARE q($type\[]) AS SELECT string_agg(id::text, ',' ORDER BY id) FROM many WHERE $name = ANY (\$1);
		EXECUTE q(ARRAY['$value']::$type\[])");
	is(asked(), "$name IN UNNEST(<ARRAY<$remote> $text>)", "$type: a list as parameter");
	is(join(' ', @found), join(' ', ($found[0]) x 4), "$type: constant, parameter and lists find the same rows");
	is(logged("SELECT count(*) FROM many WHERE $name IS NULL"), $name eq 'id' ? 0 : 5, "$type: IS NULL finds rows");
	is(asked(), "$name IS NULL", "$type: IS NULL is pushed");
	is(logged("SELECT count(*) FROM many WHERE $name IS NOT NULL AND $name = ANY (NULL::$type\[])"), 0, "$type: a list that is NULL finds no rows");
	is($f->requests, '', "$type: a list that is NULL makes no job");
}
my $it = q(name IN ('it''s', E'a\\\\b"c', '@p1', '', 'n7'));
is(logged("SELECT id FROM many WHERE $it"), 7, 'texts with special characters find their row');
is(asked(), q(name IN UNNEST(<ARRAY<STRING> ,@p1,a\b"c,it's,n7>)),
	'texts with special characters are sent as they are');
unlike((map { $_->{query}{query} } configurations())[0], qr/it's|n7/,
	'texts with special characters are not in the text of the query');

for my $case (
	[ 'id = ANY (ARRAY[]::bigint[])', 'an empty list' ], [ 'id = ANY (ARRAY[NULL]::bigint[])', 'a list of NULL' ],
	[ q(day = (SELECT NULL::date)), 'NULL' ])
{
	is(logged("SELECT count(*) FROM many WHERE $case->[0]"), 0, "$case->[1]: no rows");
	is($f->requests, '', "$case->[1]: no request");
}
my $generic = 'SET plan_cache_mode = force_generic_plan; PREPARE q(%s) AS SELECT count(*) FROM many WHERE id <= 10 AND %s; EXECUTE q(%s)';
for my $case (
	[ 'date', 'day < $1', q('infinity'), 10 ], [ 'timestamptz', 'at > $1', q('-infinity'), 10 ], [ 'timestamp', 'clock < $1', q('10000-01-01'), 10 ],
	[ 'numeric', 'amount < $1', q('NaN'), 10 ], [ 'numeric', 'amount < $1', '1e29', 10 ], [ 'numeric', 'amount > $1', '5.0000000001', 6 ],
	[ 'numeric', 'id < $1', '5.5', 5 ], [ 'bigint[]', 'mid = ANY ($1)', "'{" . join(',', 5 .. 10005) . "}'", 6 ],
	[ 'date[]', 'day = ANY ($1)', q('{infinity,2026-02-02}'), 1 ])
{
	my ($type, $where, $value, $rows) = @$case;
	is(logged(sprintf $generic, $type, $where, $value), $rows, "$where with @{[ substr $value, 0, 20 ]}: the rows are right");
	is(asked(), 'id <= <INT64 10>', "$where with a value that cannot be pushed is not pushed");
}
is(logged('SELECT count(*) FROM many WHERE mid = ANY (ARRAY(SELECT generate_series(51, 10050)))'), 5, 'a list of 10,000 finds its rows');
is(scalar(@{ (configurations())[0]{query}{queryParameters}[0]{parameterValue}{arrayValues} }), 10000,
	'a list of 10,000 is pushed');
is(logged(q(SET TimeZone = 'America/Sao_Paulo'; SELECT count(*) FROM many WHERE at >= date '2026-12-12' AND clock >= date '2026-12-12' AND day > timestamp '2026-12-11 12:00' AND day < timestamp '2027-01-01 00:00:01')), 3,
	'constants of other types find their rows');
is(asked(), 'day > <DATE 2026-12-11> AND day <= <DATE 2027-01-01> AND at >= <TIMESTAMP 2026-12-12 03:00:00.000000+00:00> AND clock >= <DATETIME 2026-12-12 00:00:00.000000>', 'constants of other types are sent as the column\'s type');

# ---- collations and encodings

SKIP:
{
	# 17 has one of ICU's collations even then
	skip 'a server without ICU has no nondeterministic collation', 3 unless $f->query(q(SELECT count(*) > 1 FROM pg_collation WHERE collprovider = 'i')) eq 't';
	$f->query(qq(CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE FOREIGN TABLE loose (id bigint, name text COLLATE loose) SERVER bigquery OPTIONS ("table" 'things.many')));
	is(logged(q(SELECT id FROM loose WHERE name = 'N7' AND id > 1)), 7, 'a nondeterministic collation finds what looks alike');
	is(asked(), 'id > <INT64 1>', 'a nondeterministic collation is not pushed');
	logged(q(SELECT id FROM loose WHERE name COLLATE "C" IN ('N7')));
	is(asked(), 'name = <STRING N7>', 'the collation of the comparison decides whether it is pushed');
}
for my $case ([ LATIN1 => '', 'could look the same' ], [ SQL_ASCII => 'name = <STRING n7>', 'are bytes' ])
{
	my ($encoding, $sent, $why) = @$case;
	$f->query("CREATE DATABASE $encoding TEMPLATE template0 ENCODING $encoding LC_COLLATE 'C' LC_CTYPE 'C'");
	$f->use_database(lc $encoding);
	$f->query(q(CREATE EXTENSION contratos; CREATE SERVER bigquery FOREIGN DATA WRAPPER contratos OPTIONS (dataset_project 'my-data');
		CREATE FOREIGN TABLE many (id bigint, name text) SERVER bigquery OPTIONS ("table" 'things.many')));
	is(logged(q(SELECT id FROM many WHERE name = 'n7')), 7, "a text in a database in $encoding finds its row");
	is(asked(), $sent, "$encoding: different texts $why");
	$f->use_database('postgres');
}

# ---- a column that is something else there

like($f->fails(q(CREATE FOREIGN TABLE taken (clock date) SERVER bigquery OPTIONS ("table" 'things.many'); SELECT * FROM taken WHERE clock > '2026-01-01')),
	qr/ERROR:  (?:42804: column "clock" of foreign table "taken" is of another type|22\w+: BigQuery|42\w+: BigQuery)/, 'a DATETIME column declared as date is an error');

# ---- a table that wants a condition on its partition column

for my $case (
	[ q(day = '2026-02-14'), 'a day' ], [ q(day >= '2026-01-01'), 'a bound' ], [ q(day IN ('2026-01-01', '2026-02-14')), 'some days' ],
	[ q(day IS NULL), 'none' ], [ q(day > (SELECT date '2026-02-01')), 'a sub-select' ], [ q(day >= current_date - interval '7 days'), 'a timestamp' ],
	[ 'day = NULL', 'nothing at all' ], [ 'day = ANY (ARRAY[]::date[])', 'no days' ])
{
	logged("SELECT count(*) FROM wants WHERE $case->[0]");
	is(scalar(grep { $_->{dryRun} } configurations()), 0, "require_filter: $case->[1] will do");
}
for my $case ([ 'true', 'no condition' ], [ 'id = 5', 'another column' ], [ 'day IS NOT NULL', 'all there is' ], [ q(day < 'infinity'), 'infinity' ],
	[ q(day < (SELECT 'infinity'::date)), 'infinity, known when it runs' ], [ q(day = '2026-01-01' OR id = 1), 'OR' ], [ 'extract(month FROM day) = 1', 'a function of it' ])
{
	$bq->reset(tables => 0);
	my $error = $f->fails("SELECT count(*) FROM wants WHERE $case->[0]");
	like($error, qr/ERROR:  55000: a query of foreign table "wants" needs a condition on column "day"/, "require_filter: $case->[1] is an error");
	like($error, qr/DETAIL:  Without one BigQuery would process, and bill, \d+ (?:bytes|kB)\./,
		"require_filter: $case->[1]: the detail has the estimate");
	like($error, qr/HINT:  Compare the column itself, as in day >= current_date - 7, or set the table's option require_filter to 'false'\./, "require_filter: $case->[1]: the hint says what to do");
	is(jobs(), 0, "require_filter: $case->[1]: no job");
	is(scalar(configurations()), 1, "require_filter: $case->[1]: one dry run");
}
is(asked(), '', 'the estimate of require_filter is that of the query');
logged("EXPLAIN (VERBOSE) SELECT count(*) FROM wants");
is($f->requests, '', 'require_filter: EXPLAIN makes no request');
like($f->fails('EXPLAIN (ANALYZE) SELECT count(*) FROM wants'), qr/ERROR:  55000: /,
	'require_filter: EXPLAIN (ANALYZE) without a condition is an error');
like($f->fails(q(SET plan_cache_mode = force_generic_plan; PREPARE q(date) AS SELECT count(*) FROM wants WHERE day <= $1;
	EXECUTE q('2026-02-01'); EXECUTE q('infinity'))), qr/ERROR:  55000: /, 'require_filter: the value of a parameter counts at execution');
is(logged('SELECT count(*) FROM wants WHERE false'), 0,
	'require_filter: a scan that is not executed needs no condition');
is($f->requests, '', 'require_filter: a scan that is not executed makes no request');
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert', times => 0 }, { status => 400, reason => 'invalid', message => 'no' });
like($f->fails('SELECT count(*) FROM wants'), qr/ERROR:  55000: .*DETAIL:  Without one BigQuery would read, and bill, the whole table\./s, 'require_filter: a query is refused when there is no estimate');
$f->query(q(CREATE FOREIGN TABLE other_type (id bigint, day text OPTIONS (type 'DATE')) SERVER bigquery OPTIONS ("table" 'things.many', partition_column 'day', require_filter 'true')));
like($f->fails(q(SELECT count(*) FROM other_type WHERE day = '2026-02-14')), qr/ERROR:  55000: .*"day".*HINT:  Declare column day of the foreign table with the type/s,
	'a foreign table on whose column nothing can be pushed');

# ---- read twice, side by side, half

my $hash = q(SET enable_nestloop = off; SET enable_mergejoin = off;);
is(logged("$hash SELECT count(*), sum(m.id) FROM many m JOIN (VALUES (3), (3), (50), (99)) v(id) ON m.id = v.id AND m.id < 55"), '3|56', 'a hash join finds its rows');
is(jobs(), 1, 'a hash join is one scan');
is(asked(), 'id < <INT64 55>', 'a hash join pushes the condition of the foreign table');
for my $material ('on', 'off')
{
	is(logged("SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = $material; SET enable_memoize = off;
		SELECT count(*) FROM (VALUES (3), (3), (50), (99)) v(id) LEFT JOIN many m ON m.id = v.id"), 4, "a nested loop with enable_material $material finds its rows");
	is(jobs(), 1, "a nested loop with enable_material $material is one job");
}
is(logged('SELECT count(*) FROM many m WHERE id IN (SELECT o.id FROM others o WHERE o.id > 30) AND id < 41'), 10, 'a sub-select of another server finds its rows');
is(jobs(), 2, 'a sub-select of another server is a job of its own');
is(logged('SELECT count(*) FROM many WHERE id > (SELECT max(id) - 5 FROM others WHERE flag)'), 10, 'a scalar sub-select finds its rows');
is(asked(), 'id > <INT64 50>', 'the value of a scalar sub-select is pushed');
is(logged('SELECT sum(n) FROM generate_series(1, 3) g, LATERAL (SELECT count(*) AS n FROM many WHERE id > g * 10) l'), 120, 'a LATERAL subquery finds its rows');
is(jobs(), 1, 'a LATERAL subquery is one job');
is(logged('SELECT count(*) FROM generate_series(1, 3) g WHERE (SELECT count(*) FROM many WHERE id > (SELECT 50) AND id > g) = 10'), 3, 'a sub-select within a sub-select finds its rows');
is(jobs(), 1, 'a sub-select within a sub-select is one job');
is((configurations())[0]{query}{query} =~ / WHERE (.*)/ && $1, '`id` > @p1', 'a sub-select within a sub-select pushes the condition that is the same for all rows');
is(logged('SELECT sum((SELECT count(*) FROM many WHERE id > (SELECT max(v) FROM (VALUES (1), (2), (3)) w(v) WHERE v <= g))) FROM generate_series(1, 3) g'), 174,
	'a sub-select with a value of each row finds its rows');
is(jobs(), 1, 'a sub-select with a value of each row is one job');
is(asked(), '', 'a sub-select with a value of each row does not push it');
is(logged('SELECT sum((SELECT count(*) FROM many WHERE id > (SELECT h - 1 + (SELECT 2 * i FROM (SELECT 0 AS i) z) FROM (SELECT g AS h) y))) FROM generate_series(1, 3) g'), 177,
	'a sub-select with a hidden value of each row finds its rows');
is(jobs(), 1, 'a sub-select with a hidden value of each row is one job');
is(logged(q(SELECT sum(s) FROM (VALUES (1), (2)) o(x), LATERAL (SELECT m.id + o.x AS s FROM many m WHERE m.id < 4 UNION ALL SELECT o.x) u)), 24,
	'a LATERAL subquery in UNION ALL finds its rows');
is(jobs(), 1, 'a LATERAL subquery in UNION ALL is one job');
my $merge = 'SET enable_hashjoin = off; SET enable_nestloop = off; SET enable_sort = on;';
is(logged("$merge SELECT count(*), sum(m.id) FROM many m JOIN others o USING (id) WHERE m.small = 3"), '8|220', 'a merge join of two servers finds its rows');
is(jobs(), 2, 'a merge join of two servers is two jobs');
is(logged('SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM many UNION ALL SELECT id FROM others UNION ALL SELECT id FROM many WHERE id < 10) u'), '129|60', 'UNION ALL finds its rows');
is(jobs(), 3, 'UNION ALL is a job for each part');
is(logged(q(BEGIN; DECLARE a CURSOR FOR SELECT id FROM many WHERE id <= 45; DECLARE b CURSOR FOR SELECT id FROM others WHERE id > 10;
	MOVE 15 a; MOVE 25 b; MOVE 20 a; FETCH 1 a; MOVE 20 b; FETCH 1 b; COMMIT)), "36\n56", 'two cursors in turn, over their pages');
is(logged(q(BEGIN READ ONLY; SELECT count(*) FROM many WHERE id < 4; COMMIT; SET default_transaction_read_only = on; SELECT count(*) FROM many WHERE id < 5)), "3\n4", 'a read-only transaction can read a foreign table');
is(logged(q(BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT count(*) FROM many WHERE id < 4; COMMIT)), 3, 'a deferrable transaction can read a foreign table');

# Descriptors of a backend that are no files: sockets, epoll.
sub sockets { my ($pid) = @_; return scalar grep { defined && !m{^/} && !/^pipe/ } map { readlink } glob "/proc/$pid/fd/*"; }
my $session = Contratos::Session->new($f->node);
$bq->reset(tables => 0);
$session->query('SELECT count(name) FROM many');
my $before = sockets($session->pid);
$session->query(q(BEGIN; DECLARE c CURSOR FOR SELECT id FROM many; FETCH 3 c; CLOSE c; COMMIT)) for 1 .. 5;
$session->query(q(BEGIN; DECLARE c CURSOR FOR SELECT id FROM many; FETCH 3 c; ROLLBACK)) for 1 .. 5;
$session->query('SELECT id FROM many LIMIT 3') for 1 .. 5;
is(sockets($session->pid), $before, 'cursors closed early leave no descriptor');
is(scalar($bq->requests('results')), 3 + 15, 'cursors closed early do not read on');

# ---- cancelled in each state

for my $phase (
	[ 'the token', { kind => 'token' }, 'before_headers' ],
	[ 'the job', { kind => 'insert' }, 'before_headers' ],
	[ 'the wait', { kind => 'results' }, 'before_headers' ],
	[ 'the first page', { kind => 'results' }, 'mid_body' ],
	[ 'another page', { kind => 'results', start_index => 20 }, 'mid_body' ],
	[ 'another page\'s beginning', { kind => 'results', start_index => 40 }, 'before_headers' ],
	[ 'the estimate', { kind => 'insert' }, 'before_headers', 'SELECT count(*) FROM wants' ])
{
	my ($name, $match, $stall, $sql) = @$phase;
	$bq->reset(tables => 0);
	utime undef, undef, $bq->key_file or die 'key file';    # asks for another token
	my $rule = $bq->rule($match, { stall => $stall });
	$session->send($sql // 'SELECT count(name) FROM many');
	$bq->wait(rule => $rule, state => 'stalled');
	$f->query('SELECT pg_cancel_backend(' . $session->pid . ')');
	like($session->finish->{err}, qr/ERROR:  57014: canceling statement due to user request/, "a query is canceled while it waits for $name");
	ok(!(grep { my %is = map { $_ => 1 } @{ $_->{states} }; ($_->{rule} // 0) == $rule && $is{answered} } $bq->requests), "a query is canceled while $name still stalls");
	$bq->wait(rule => $rule, state => 'closed');
	$bq->release;
	is($session->query('SELECT count(*) FROM many WHERE id < 4')->{out}, 3,
		"the session goes on after a query waited for $name");
	is(sockets($session->pid), $before, "no descriptor is left after a query waited for $name");
}

# ---- read only

for my $sql ('INSERT INTO many (id) VALUES (1)', 'UPDATE many SET id = 1', 'DELETE FROM many', 'TRUNCATE many', "COPY many (id) FROM STDIN;\n1\n\\.\n",
	'INSERT INTO many (id) SELECT id FROM others', 'EXPLAIN DELETE FROM many WHERE id = 1', 'WITH gone AS (DELETE FROM many RETURNING id) SELECT * FROM gone')
{
	$bq->reset(tables => 0);
	my $error = $f->fails($sql);
	like($error, qr/ERROR:  0A000: cannot (?:insert into|update|delete from|truncate) foreign table "many": BigQuery tables are read-only\nHINT:/, (split /\n/, $sql)[0]);
	is($f->requests, '', '… and no request');
}
like($f->messages('ANALYZE many'), qr/WARNING:.*skipping "many" --- cannot analyze this foreign table/, 'ANALYZE skips a foreign table');

$session->quit;
$f->stop;
done_testing();
