# Values of every type, made by GoogleSQL on a BigQuery that is not ours, each
# into its natural column and into text; read by a query and by a load.
#
# What this emulator cannot judge: BIGNUMERIC beyond 38 digits, of which 18 are
# a fraction; what a number in a JSON looked like (2.50 comes as 2.5); NULL in
# an ARRAY, which BigQuery refuses in a result, too; how the real service writes
# a FLOAT64 (1.0E10 there, 10000000000.0 here).  Those are cases of test/t.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Emulator;

my $emulator = Contratos::Emulator->new;
my $node = $emulator->node('types', init => { extra => [ '--encoding=UTF8', '--no-locale' ] }, timezone => 'UTC');
$node->safe_psql('postgres', 'SELECT contratos_setup()');

sub query { return $node->safe_psql('postgres', $_[0]); }

# GoogleSQL; the column's type; the value as PostgreSQL writes it; as text, if
# that is something else.
my @cases = (
	[ '9223372036854775807', 'bigint', '9223372036854775807' ],
	[ '-9223372036854775808', 'bigint', '-9223372036854775808' ],
	[ q(NUMERIC '-99999999999999999999999999999.999999999'), 'numeric', '-99999999999999999999999999999.999999999' ],
	[ q(NUMERIC '0.000000001'), 'numeric', '0.000000001' ],
	[ q(BIGNUMERIC '12345678901234567890.123456789012345678'), 'numeric', '12345678901234567890.123456789012345678' ],
	[ '1.5', 'float8', '1.5' ],
	[ q(CAST('NaN' AS FLOAT64)), 'float8', 'NaN', undef ],
	[ q(CAST('-Infinity' AS FLOAT64)), 'float8', '-Infinity', undef ],
	[ '1.7976931348623157e308', 'float8', '1.7976931348623157e308', undef ],
	[ 'TRUE', 'boolean', 't', 'true' ],
	[ q('caf\u00e9 \U0001F468 "\'\\\\'), 'text', "caf\x{e9} \x{1f468} \"'\\" ],
	[ q(FROM_HEX('00ff10')), 'bytea', '\x00ff10', 'AP8Q' ],
	[ q(DATE '0001-01-01'), 'date', '0001-01-01' ],
	[ q(DATE '9999-12-31'), 'date', '9999-12-31' ],
	[ q(TIME '23:59:59.999999'), 'time', '23:59:59.999999' ],
	[ q(DATETIME '1969-12-31 23:59:59.5'), 'timestamp', '1969-12-31 23:59:59.5', undef ],
	[ q(TIMESTAMP '0001-01-01 00:00:00+00'), 'timestamptz', '0001-01-01 00:00:00+00' ],
	[ q(TIMESTAMP '9999-12-31 23:59:59.999999+00'), 'timestamptz', '9999-12-31 23:59:59.999999+00' ],
	[ q(TIMESTAMP '1969-12-31 23:59:59.999999+00'), 'timestamptz', '1969-12-31 23:59:59.999999+00' ],
	[ q(INTERVAL '1-2 3 4:5:6.789' YEAR TO SECOND), 'interval', '1 year 2 mons 3 days 04:05:06.789', undef ],
	[ q(INTERVAL '-1-2 3 -4:5:6' YEAR TO SECOND), 'interval', '-1 years -2 mons +3 days -04:05:06', undef ],
	[ q(JSON '{"b": [1, true, null, "x"], "a": {}}'), 'jsonb', '{"a": {}, "b": [1, true, null, "x"]}', undef ],
	[ q(PARSE_JSON('123456789012345678')), 'jsonb', '123456789012345678' ],
	[ q(RANGE(DATE '2024-01-01', DATE '2024-02-01')), 'daterange', '[2024-01-01,2024-02-01)' ],
	[ q(RANGE(DATETIME '2024-01-01 01:02:03', NULL)), 'tsrange', '["2024-01-01 01:02:03",)' ],
	[ q(RANGE(TIMESTAMP '2024-01-01 01:02:03+00', TIMESTAMP '2024-02-01 00:00:00.25+00')), 'tstzrange',
		'["2024-01-01 01:02:03+00","2024-02-01 00:00:00.25+00")', '["2024-01-01 01:02:03+00","2024-02-01 00:00:00.250+00")' ],
	[ '[3, 1, 2]', 'bigint[]', '{3,1,2}', '[3,1,2]' ],
	[ 'ARRAY<INT64>[]', 'bigint[]', '{}', '[]' ],
	[ 'CAST(NULL AS ARRAY<INT64>)', 'bigint[]', '{}', '[]' ],
	[ q(['', 'a,b', '"', 'NULL']), 'text[]', '{"","a,b","\"","NULL"}', '["","a,b","\"","NULL"]' ],
	[ q([TIMESTAMP '2024-01-01 00:00:00+00']), 'timestamptz[]', '{"2024-01-01 00:00:00+00"}', '["2024-01-01T00:00:00+00:00"]' ],
	[ q([NUMERIC '1.5', NUMERIC '-2']), 'jsonb', '[1.5, -2]', '[1.5,-2]' ],
	[ q([STRUCT(1 AS a, 'x' AS b), STRUCT(2, NULL)]), 'jsonb', '[{"a": 1, "b": "x"}, {"a": 2, "b": null}]',
		'[{"a":1,"b":"x"},{"a":2,"b":null}]' ],
	[ 'ARRAY(SELECT AS STRUCT 1 AS a, [STRUCT([2.5] AS b)] AS c)', 'jsonb', '[{"a": 1, "c": [{"b": [2.5]}]}]',
		'[{"a":1,"c":[{"b":[2.5]}]}]' ],
	[ q(STRUCT(9223372036854775807 AS i, NUMERIC '0.1' AS n, CAST('Infinity' AS FLOAT64) AS f, FALSE AS b, 'q"' AS s,
		FROM_HEX('ff') AS y, DATE '2024-01-01' AS d, TIME '01:02:03' AS t, DATETIME '2024-01-01 01:02:03' AS dt,
		TIMESTAMP '2024-01-01 01:02:03.5+00' AS ts, JSON '{"k": [1]}' AS j, INTERVAL '1-2 3 4:5:6' YEAR TO SECOND AS iv,
		RANGE(DATE '2024-01-01', DATE '2024-02-01') AS r)), 'jsonb',
		'{"b": false, "d": "2024-01-01", "f": "Infinity", "i": 9223372036854775807, "j": {"k": [1]}, "n": 0.1, "r": "[2024-01-01,2024-02-01)", '
		  . '"s": "q\"", "t": "01:02:03", "y": "/w==", "dt": "2024-01-01T01:02:03", "iv": "1-2 3 4:5:6", "ts": "2024-01-01T01:02:03.5+00:00"}', undef ]);

$emulator->request('POST', 'projects/test-project/datasets',
	{ datasetReference => { projectId => 'test-project', datasetId => 'types' }, location => 'US' }, may_fail => 1);
# a view: what the emulator stores in a table it also cuts (no negative INTERVAL)
$emulator->sql('DROP VIEW IF EXISTS types.every');
$emulator->sql('CREATE VIEW types.every AS SELECT ' . join ', ', map { "$cases[$_][0] AS c$_" } 0 .. $#cases);

# A foreign table of it, and its one row, column by column.
sub columns
{
	my ($name, @types) = @_;
	query("CREATE FOREIGN TABLE $name (" . join(', ', map { "c$_ $types[$_]" } 0 .. $#types)
		  . q[) SERVER bigquery OPTIONS ("table" 'test-project.types.every')]);
	return split /\n/, query("SELECT unnest(ARRAY[" . join(', ', map { "c$_\::text" } 0 .. $#types) . "]) FROM $name"), -1;
}

my @bytes = map { my $value = $_->[2]; utf8::encode($value); $value } @cases;
my @want = split /\n/, query('SELECT unnest(ARRAY[' . join(', ', map { "\$q\$$bytes[$_]\$q\$::$cases[$_][1]::text" } 0 .. $#cases) . '])'), -1;
my @typed = columns('typed', map { $_->[1] } @cases);
my @texts = columns('texts', map { 'text' } @cases);
for my $i (0 .. $#cases)
{
	my ($expression, $type, $value, @text) = @{ $cases[$i] };
	$expression =~ s/\s+/ /g;
	is($typed[$i], $want[$i], "$type: $expression");
	is($texts[$i], @text ? $text[0] : $bytes[$i], "text: $expression") if !@text || defined $text[0];
}

# ---- a day of them, all at once

query(
	q(CREATE TABLE target (LIKE typed);
	  INSERT INTO contratos_sources (name, remote_table, target_table, snapshot) VALUES ('types', 'typed', 'target', true)));
is(query(q(SELECT status, rows_loaded, message FROM contratos_run(source => 'types'))), 'succeeded|1|', 'a load of every expression succeeds');
is(query('SELECT (SELECT target FROM target)::text = (SELECT n FROM typed AS n)::text'), 't',
	'a load has the same values as a query');

$node->stop;
done_testing();
