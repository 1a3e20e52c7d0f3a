# Values made of values: ARRAY, STRUCT, JSON and RANGE, into arrays, jsonb,
# json, text and ranges; by cases, and by random schemas and values against
# what PostgreSQL makes of the same written in SQL.
use strict;
use warnings;

use JSON::PP;
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Seed qw(rand);

my $f = Contratos::Fixture->new(init => { extra => [ '--encoding=UTF8', '--no-locale' ] });
my $bq = $f->bq;
my $json = JSON::PP->new->allow_nonref->canonical;

$f->query('SELECT contratos_setup(); CREATE SCHEMA v');

# A field of a schema: TYPE or TYPE[] (an ARRAY of it), RANGE<TYPE>, or
# [ fields… ] and [ fields… ], 1 (an ARRAY of STRUCT).
sub field
{
	my ($name, $type, $repeated) = @_;
	my %field = (name => $name, mode => 'NULLABLE');
	if (ref $type)
	{
		return { %field, type => 'RECORD', mode => $repeated ? 'REPEATED' : 'NULLABLE', fields => $type };
	}
	$field{mode} = 'REPEATED' if $type =~ s/\[\]$//;
	return { %field, type => 'RANGE', rangeElementType => { type => $1 } } if $type =~ /^RANGE<(\w+)>$/;
	return { %field, type => $type };
}

# A table there and a foreign table v.remote of it: columns n and those of
# [ field, column type ], rows of cells as they go over the wire.
sub remote
{
	my ($columns, $rows, %more) = @_;
	$bq->reset(tables => 0);
	my $n = 0;
	my @rows = map { my $row = $_; [ ++$n, map { { wire => $_ } } @$row ] } @$rows;
	$bq->table('my-data.things.v', schema => [ field(n => 'INT64'), map { $_->[0] } @$columns ], rows => \@rows);
	my $local = join '', map { qq(, "$_->[0]{name}" $_->[1]) } @$columns;
	$f->query(
		qq(SET client_min_messages = warning;
		   DROP FOREIGN TABLE IF EXISTS v.remote; DROP TABLE IF EXISTS v.target; DELETE FROM contratos_sources WHERE name = 'v';
		   CREATE FOREIGN TABLE v.remote (n bigint$local) SERVER bigquery OPTIONS ("table" 'my-data.things.v' @{[ $more{options} // '' ]});
		   CREATE TABLE v.target (LIKE v.remote);
		   INSERT INTO contratos_sources (name, remote_table, target_table, max_shrink, snapshot) VALUES ('v', 'v.remote', 'v.target', 1, true)));
	return;
}

my $run = q(SELECT status, rows_loaded FROM contratos_run(source => 'v'));

# ---- cells

# Every scalar goes as a string.
sub v { return map { { v => defined $_ && !ref $_ ? "$_" : $_ } } @_; }
sub array { return [ v(@_) ]; }
sub struct { return { f => [ v(@_) ] }; }

# As SQL has it.
sub quoted
{
	my ($text) = @_;
	return 'NULL' unless defined $text;
	$text =~ s/'/''/g;
	utf8::encode($text);
	return $text =~ s/\\/\\\\/g ? "E'$text'" : "'$text'";
}

# ---- what becomes of what: wire, OK or ALTERED or BAD, and the value in SQL or the reason

sub check_cases
{
	my ($name, $field, $type, @cases) = @_;
	remote([ [ $field, $type ] ], [ map { [ $_->[0] ] } @cases ]);
	is($f->query($run), 'succeeded|' . @cases, "$name: every value is loaded");
	my @sql = map { $_->[1] eq 'BAD' ? 'NULL' : quoted($_->[2]) } @cases;
	my @want = split /\n/, $f->query(join ' UNION ALL ', map { "SELECT coalesce(($_)::$type\::text, 'NULL')" } @sql);
	my @got = split /\n/, $f->query(q(SELECT coalesce(x::text, 'NULL') FROM v.target ORDER BY n));
	for my $i (0 .. $#cases)
	{
		is($got[$i], $want[$i], "$name: $cases[$i][1] " . substr($json->ascii->encode($cases[$i][0]), 0, 80));
	}
	my @told = split /\n/, $f->query(
		q(SELECT row_number || ' ' || reason FROM contratos_rejects
		  WHERE run = (SELECT max(id) FROM contratos_runs WHERE NOT only_cost) ORDER BY row_number));
	is( join("\n", @told),
		join("\n", map { $_ + 1 . ' ' . $cases[$_][-1] } grep { $cases[$_][1] ne 'OK' } 0 .. $#cases),
		"$name: altered and bad values are rejects, with the reason");
	$f->query(q(ALTER FOREIGN TABLE v.remote OPTIONS (ADD on_bad_value 'null')));
	is($f->query(q(SELECT coalesce(x::text, 'NULL') FROM v.remote ORDER BY n)), join("\n", @got), "$name: a query gives the same");
	return;
}

check_cases(
	'ARRAY<INT64>', field(x => 'INT64[]'), 'bigint[]',
	[ [], 'OK', '{}' ],
	[ array(1 .. 3), 'OK', '{1,2,3}' ],
	[ array("1", undef, "-9223372036854775808"), 'OK', '{1,NULL,-9223372036854775808}' ],
	[ array(undef), 'OK', '{NULL}' ],
	[ undef, 'OK', undef ],
	[ array(1, 'x'), 'BAD', 'not an integer' ],
	[ array(1, '9223372036854775808'), 'BAD', 'out of range of bigint' ],
	[ array([]), 'BAD', 'not a string' ],
	[ [ { v => 1 } ], 'BAD', 'not a string' ],
	[ '1', 'BAD', 'not an array' ],
	[ { f => [] }, 'BAD', '"f" is not an array' ],
	[ [1], 'BAD', 'a cell is not an object' ]);
check_cases(
	'ARRAY<STRING>', field(x => 'STRING[]'), 'text[]',
	[ array('', 'NULL', undef, 'a,b', '{}', "\"\\", " ", "\x{1f468}"), 'OK', "{\"\",\"NULL\",NULL,\"a,b\",\"{}\",\"\\\"\\\\\",\" \",\x{1f468}}" ],
	[ array("a\0b", "\0"), 'ALTERED', '{ab,""}', 'holds U+0000' ]);
check_cases(
	'ARRAY<STRING> as varchar(3)[]', field(x => 'STRING[]'), 'varchar(3)[]',
	[ array('abc', ''), 'OK', '{abc,""}' ],
	[ array('abc', 'abcd'), 'BAD', 'too long for character varying(3)' ],
	[ array('abc '), 'BAD', 'too long for character varying(3)' ]);
check_cases(
	'ARRAY<NUMERIC> as numeric(5,2)[]', field(x => 'NUMERIC[]'), 'numeric(5,2)[]',
	[ array('1.5', '-999.99', undef), 'OK', '{1.50,-999.99,NULL}' ],
	[ array('1.234'), 'BAD', 'more digits than numeric(5,2) can hold' ],
	[ array('1000'), 'BAD', 'out of range of numeric(5,2)' ]);
check_cases(
	'ARRAY<TIMESTAMP>', field(x => 'TIMESTAMP[]'), 'timestamptz[]',
	[ array('0', '-62135596800000000', '253402300799999999'), 'OK', '{1970-01-01Z,0001-01-01Z,9999-12-31 23:59:59.999999Z}' ]);
check_cases('ARRAY<BOOL>', field(x => 'BOOL[]'), 'bool[]', [ array('true', 'false', undef), 'OK', '{t,f,NULL}' ], [ array('x'), 'BAD', 'neither true nor false' ]);
check_cases(
	'ARRAY<JSON>', field(x => 'JSON[]'), 'jsonb[]',
	[ array('{"a": 1}', 'null', undef), 'OK', '{"{\"a\": 1}","null",NULL}' ],
	[ array('{'), 'BAD', 'not JSON: ends too early' ]);
check_cases('ARRAY<RANGE>', { %{ field(x => 'RANGE<DATE>') }, mode => 'REPEATED' }, 'daterange[]',
	[ array('[2024-01-01, UNBOUNDED)', undef), 'OK', '{"[2024-01-01,)",NULL}' ]);
my $pair = [ field(a => 'INT64'), field(b => 'STRING') ];
check_cases('ARRAY<STRUCT> as jsonb[]', field(x => $pair, 1), 'jsonb[]',
	[ array(struct(1, 'x'), undef), 'OK', '{"{\"a\":1,\"b\":\"x\"}",NULL}' ]);

my %everything = (
	i => [ 'INT64', '9223372036854775807', '9223372036854775807' ],
	n => [ 'NUMERIC', '-0.123456789', '-0.123456789' ],
	bn => [ 'BIGNUMERIC', '578960446186580977117854925043439539266.34992332820282019728792003956564819967',
		'578960446186580977117854925043439539266.34992332820282019728792003956564819967' ],
	f1 => [ 'FLOAT64', '1.0E10', '1e10' ],
	f2 => [ 'FLOAT64', 'NaN', '"NaN"' ],
	f3 => [ 'FLOAT64', '-Infinity', '"-Infinity"' ],
	f4 => [ 'FLOAT64', '0.1', '0.1' ],
	f5 => [ 'FLOAT64', '1.7976931348623157E308', '1.7976931348623157e308' ],
	f6 => [ 'FLOAT64', '4.9E-324', '5e-324' ],
	f7 => [ 'FLOAT64', 'Infinity', '"Infinity"' ],
	bo => [ 'BOOL', 'true', 'true' ],
	s => [ 'STRING', "q\"b\\s/\n\t\x01\x{e9}\x{1f468}", "\"q\\\"b\\\\s/\\n\\t\\u0001\x{e9}\x{1f468}\"" ],
	by => [ 'BYTES', '//8=', '"//8="' ],
	d => [ 'DATE', '0001-01-01', '"0001-01-01"' ],
	t => [ 'TIME', '23:59:59.999999', '"23:59:59.999999"' ],
	dt => [ 'DATETIME', '2026-11-19T01:02:03.5', '"2026-11-19T01:02:03.5"' ],
	ts => [ 'TIMESTAMP', '1699528360500000', '"2023-11-09T11:12:40.5+00:00"' ],
	t0 => [ 'TIMESTAMP', '-62135596800000000', '"0001-01-01T00:00:00+00:00"' ],
	j => [ 'JSON', '{"b": [1, 2.50, 1e2, "\u00e9"], "a": null}', '{"b": [1, 2.50, 1e2, "\u00e9"], "a": null}' ],
	g => [ 'GEOGRAPHY', 'POINT(1 2)', '"POINT(1 2)"' ],
	iv => [ 'INTERVAL', '1-2 3 4:5:6.789', '"1-2 3 4:5:6.789"' ],
	r => [ 'RANGE<TIMESTAMP>', '[UNBOUNDED, 1699528360500000)', '"(,\"2023-11-09 11:12:40.500+00\")"' ],
	z => [ 'STRING', undef, 'null' ],
	a => [ 'INT64[]', array(1, undef), '[1,null]' ],
	e => [ 'STRING[]', [], '[]' ]);
my @names = sort keys %everything;
my $whole = '{' . join(',', map { "\"$_\":$everything{$_}[2]" } @names) . '}';
my @fields = map { field($_, $everything{$_}[0]) } @names;
my $struct = struct(map { $everything{$_}[1] } @names);

for my $type ('jsonb', 'json', 'text', 'varchar(4000)')
{
	my $same = $type eq 'jsonb';
	# what text has is compact and in the schema's order; the shortest number is the one with few zeros
	my $text = $whole =~ s/"f1":1e10/"f1":10000000000/r;
	check_cases(
		"STRUCT of every type as $type", field(x => \@fields), $type,
		[ $struct, 'OK', $same ? $whole : $text ],
		[ undef, 'OK', undef ],
		[ struct(map { $everything{$_}[0] =~ /\[/ ? [] : undef } @names), 'OK',
			'{' . join(',', map { "\"$_\":" . ($everything{$_}[0] =~ /\[/ ? '[]' : 'null') } @names) . '}' ],
		[ struct(1), 'BAD', 'not as many fields as the schema has' ],
		[ [], 'BAD', 'a row is not an object' ],
		[ 'x', 'BAD', 'not a STRUCT' ],
		[ {}, 'BAD', 'a row without "f"' ]);
}
check_cases('ARRAY<STRUCT> as jsonb', field(x => $pair, 1), 'jsonb',
	[ array(struct(1, 'x'), struct(undef, undef), undef), 'OK', '[{"a":1,"b":"x"},{"a":null,"b":null},null]' ],
	[ [], 'OK', '[]' ],
	[ array(struct(1, "a\0b")), 'ALTERED', '[{"a":1,"b":"ab"}]', 'holds U+0000' ],
	[ array(struct('1.5', '')), 'BAD', 'not an integer of 64 bits' ],
	[ array(struct({}, '')), 'BAD', 'not a string' ]);
check_cases('ARRAY<STRUCT> as text', field(x => $pair, 1), 'text',
	[ array(struct('+007', 'x')), 'OK', '[{"a":7,"b":"x"}]' ],
	[ array(struct(1, "a\0b")), 'OK', '[{"a":1,"b":"a\u0000b"}]' ]);
check_cases('ARRAY<INT64> as jsonb', field(x => 'INT64[]'), 'jsonb', [ array(1, undef), 'OK', '[1,null]' ], [ [], 'OK', '[]' ]);
check_cases('ARRAY<STRING> as text', field(x => 'STRING[]'), 'text', [ array('a"', undef), 'OK', '["a\"",null]' ]);
check_cases('ARRAY<STRING> as varchar(7)', field(x => 'STRING[]'), 'varchar(7)', [ array('abc'), 'OK', '["abc"]' ],
	[ array('abcd'), 'BAD', 'too long for character varying(7)' ]);
check_cases('fields without a name', field(x => [ field('', 'INT64'), field(b => 'INT64'), field('', 'INT64') ]), 'jsonb',
	[ struct(1, 2, 3), 'OK', '{"_field_1":1,"b":2,"_field_3":3}' ]);
check_cases('numbers as they are not written in JSON', field(x => 'NUMERIC[]'), 'text',
	[ array('.5', '5.', '-.5', '+5', '005', '1E3', '1e-3', '-0', '0.00', '1.50'), 'OK', '[0.5,5,-0.5,5,5,1e3,1e-3,-0,0.00,1.50]' ],
	[ array('NaN'), 'BAD', 'not a number' ],
	[ array('1 '), 'BAD', 'not a number' ]);

# ---- as deep as BigQuery's schemas go

my ($deep, $wire, $expected) = (field(x => 'INT64[]'), array(1, undef), '[1,null]');
for my $level (1 .. 15)
{
	$deep = field(x => [$deep], $level % 2);
	($wire, $expected) = (struct($wire), "{\"x\":$expected}");
	($wire, $expected) = (array($wire, undef), "[$expected,null]") if $level % 2;
}
check_cases("15 levels as $_", $deep, $_, [ $wire, 'OK', $expected ]) for 'jsonb', 'json', 'text';

# ---- JSON

my $digits = '1234567890' x 12;
my @documents = (
	[ '{"b":1,"a":[true,false,null,"x"]}', 'OK' ],
	[ ' [ 1 , 2 ] ', 'OK' ],
	[ 'null', 'OK' ], [ '"x"', 'OK' ], [ '-0.50', 'OK' ], [ 'true', 'OK' ], [ '[]', 'OK' ], [ '{}', 'OK' ], [ '""', 'OK' ],
	[ "[$digits.$digits, 1e-300, 1E+300]", 'OK' ],
	[ '"\u00e9\ud83d\ude00\"\\\\\/\b\f\n\r\t\u0001"', 'OK' ],
	[ '[' x 500 . ']' x 500, 'OK' ],
	[ '{"a":' x 499 . '{"":0}' . '}' x 499, 'OK' ],
	[ undef, 'OK' ]);
my @malformed = (
	[ '[' x 501 . ']' x 501, 'BAD', 'not JSON: nested too deeply' ],
	[ '[' x 100_000, 'BAD', 'not JSON: nested too deeply' ],
	[ '"\ud800"', 'BAD', 'not JSON: lone surrogate in a string' ],
	[ '', 'BAD', 'not JSON: ends too early' ],
	[ '{"a":1', 'BAD', 'not JSON: ends too early' ],
	[ '{a:1}', 'BAD', 'not JSON: unexpected character' ],
	[ '01', 'BAD', 'not JSON: invalid number' ],
	[ "\"a\nb\"", 'BAD', 'not JSON: control character in a string' ],
	[ "\"a\0b\"", 'BAD', 'not JSON: control character in a string' ],
	[ { f => [] }, 'BAD', 'not a string' ]);
check_cases("$_ as jsonb", field(x => $_), 'jsonb',
	(map { [ $_->[0], $_->[1], $_->[0] ] } @documents),
	[ '{"a":1,"b":2,"a":3}', 'ALTERED', '{"a":3,"b":2}', 'holds a key twice' ],
	[ '[{"a\u0000":1,"x":"\u0000y\u0000"}]', 'ALTERED', '[{"a":1,"x":"y"}]', 'holds U+0000' ],
	[ '1e131071', 'OK', '1e131071' ],
	[ '1e131072', 'BAD', 'out of range of numeric' ],
	[ '[1e-20000]', 'BAD', 'out of range of numeric' ],
	@malformed) for 'JSON', 'STRING';
check_cases('JSON as json', field(x => 'JSON'), 'json',
	(map { [ $_->[0], $_->[1], $_->[0] ] } @documents),
	(map { [ $_, 'OK', $_ ] } '{"a":1,"b":2,"a":3}', '"a\u0000b"', '1e131072'),
	@malformed);
check_cases('JSON in a STRUCT as jsonb', field(x => [ field(j => 'JSON') ]), 'jsonb',
	(map { [ struct($_->[0]), 'OK', '{"j":' . ($_->[0] // 'null') . '}' ] } @documents),
	[ struct('{"a":1,"a":2}'), 'ALTERED', '{"j":{"a":2}}', 'holds a key twice' ],
	[ struct('{"a"}'), 'BAD', 'not JSON: unexpected character' ]);
check_cases('JSON in a STRUCT as json', field(x => [ field(j => 'JSON'), field(k => 'JSON') ]), 'json',
	(map { [ struct($_->[0], undef), 'OK', '{"j":' . ($_->[0] // 'null') . ',"k":null}' ] } @documents),
	[ struct('{"a"}', '1'), 'BAD', 'not JSON: unexpected character' ]);

# ---- RANGE

my $backwards = 'lower bound of the range is not below the upper one';
check_cases('RANGE<DATE>', field(x => 'RANGE<DATE>'), 'daterange',
	[ '[2024-01-01, 2024-02-01)', 'OK', '[2024-01-01,2024-02-01)' ],
	[ '[UNBOUNDED, 2024-02-01)', 'OK', '(,2024-02-01)' ],
	[ '[2024-01-01, NULL)', 'OK', '[2024-01-01,)' ],
	[ '[UNBOUNDED, UNBOUNDED)', 'OK', '(,)' ],
	[ '[0001-01-01, 9999-12-31)', 'OK', '[0001-01-01,9999-12-31)' ],
	[ undef, 'OK', undef ],
	[ '[2024-02-01, 2024-01-01)', 'BAD', $backwards ],
	[ '[2024-02-01, 2024-02-01)', 'BAD', $backwards ],
	[ '[2024-01-01, 2024-02-31)', 'BAD', 'not a date as YYYY-MM-DD' ],
	[ '[2024-01-01,2024-02-01)', 'BAD', 'not a range' ],
	[ '[2024-01-01, 2024-02-01]', 'BAD', 'not a range' ],
	[ '(2024-01-01, 2024-02-01)', 'BAD', 'not a range' ],
	[ '[2024-01-01)', 'BAD', 'not a range' ],
	[ '[, )', 'BAD', 'not a date as YYYY-MM-DD' ],
	[ '', 'BAD', 'not a range' ],
	[ '[,)', 'BAD', 'not a range' ],
	[ [], 'BAD', 'not a string' ]);
check_cases('RANGE<DATETIME>', field(x => 'RANGE<DATETIME>'), 'tsrange',
	[ '[2024-01-01T00:00:00, 2024-01-01T00:00:00.000001)', 'OK', '[2024-01-01,"2024-01-01 00:00:00.000001")' ],
	[ '[2024-01-02T00:00:00, 2024-01-01T00:00:00)', 'BAD', $backwards ]);
check_cases('RANGE<TIMESTAMP>', field(x => 'RANGE<TIMESTAMP>'), 'tstzrange',
	[ '[-1, 1699528360500000)', 'OK', '["1969-12-31 23:59:59.999999Z","2023-11-09 11:12:40.5Z")' ],
	[ '[1, 0)', 'BAD', $backwards ]);
check_cases('RANGE<TIMESTAMP> as text', field(x => 'RANGE<TIMESTAMP>'), 'text',
	[ '[-1, 1699528360500000)', 'OK', '["1969-12-31 23:59:59.999999+00","2023-11-09 11:12:40.500+00")' ],
	[ '[UNBOUNDED, UNBOUNDED)', 'OK', '(,)' ],
	[ '[1, 0)', 'BAD', $backwards ]);
check_cases('RANGE<DATETIME> as text', field(x => 'RANGE<DATETIME>'), 'text',
	[ '[2024-01-01T01:02:03, NULL)', 'OK', '["2024-01-01 01:02:03",)' ]);
check_cases('RANGE<DATE> as text', field(x => 'RANGE<DATE>'), 'text', [ '[2024-01-01, 2024-02-01)', 'OK', '[2024-01-01,2024-02-01)' ]);

# ---- what is refused, before the first row

for my $case (
	[ field(x => 'INT64[]'), 'bigint', 'ARRAY<INT64> cannot be read as bigint', 'bigint[] or text' ],
	[ field(x => 'STRING[]'), 'inet', 'ARRAY<STRING> cannot be read as inet', 'text[]' ],
	[ field(x => 'STRING[]'), 'name', 'ARRAY<STRING> cannot be read as name', 'text[]' ],
	[ field(x => 'BOOL[]'), 'interval[]', 'ARRAY<BOOL> cannot be read as interval[]', 'boolean[] or text' ],
	[ field(x => 'INT64'), 'bigint[]', 'INT64 cannot be read as bigint[]', 'bigint or text' ],
	[ field(x => 'DATE'), 'text[]', 'DATE cannot be read as text[]', 'date or text' ],
	[ field(x => 'JSON'), 'jsonb[]', 'JSON cannot be read as jsonb[]', 'jsonb or text' ],
	[ field(x => $pair), 'v.pair', 'STRUCT cannot be read as v.pair', 'jsonb or text' ],
	[ field(x => $pair, 1), 'v.pair[]', 'ARRAY<STRUCT> cannot be read as v.pair[]', 'jsonb or text' ],
	[ field(x => $pair), 'jsonb[]', 'STRUCT cannot be read as jsonb[]', 'jsonb or text' ],
	[ field(x => $pair), 'bigint', 'STRUCT cannot be read as bigint', 'jsonb or text' ],
	[ field(x => 'RANGE<DATE>'), 'tsrange', 'RANGE<DATE> cannot be read as tsrange', 'daterange or text' ],
	[ field(x => 'RANGE<DATE>'), 'date', 'RANGE<DATE> cannot be read as date', 'daterange or text' ],
	[ field(x => 'RANGE<DATE>'), 'jsonb', 'RANGE<DATE> cannot be read as jsonb', 'daterange or text' ])
{
	my ($field, $type, $message, $hint) = @$case;
	$f->query('CREATE TYPE v.pair AS (a bigint, b text)') if $type eq 'v.pair';
	remote([ [ $field, $type ] ], [ [undef] ]);
	my $err = $f->fails('SELECT * FROM v.remote');
	like($err, qr/ERROR:  0A000: column "x": BigQuery's \Q$message\E\n/, "refused: $message");
	like($err, qr/HINT:  Declare the column of the foreign table as \Q$hint\E/,
		"refused: $message: the error has a hint");
	like($f->fails($run), qr/0A000: column "x"/, "refused: $message: a load fails, too");
}
remote([ [ field(x => [ field(a => 'INT64'), field(a => 'INT64') ]), 'jsonb' ] ], [ [undef] ]);
like($f->fails($run), qr/ERROR:  0A000: column "x": BigQuery's STRUCT has two fields "a"/, 'refused: two fields of one name');

# ---- what a query says of a bad value

remote([ [ field(x => $pair, 1), 'jsonb' ] ], [ [ array(struct(1, 'x')) ], [ array(struct('one', 'x')) ] ]);
my $err = $f->fails('SELECT * FROM v.remote');
like($err, qr/ERROR:  22P02: value of column "x" in row 2 cannot be stored without loss/, 'a query with a bad nested value fails');
like($err, qr/DETAIL:  "\[\{.*one.*": not an integer of 64 bits/, 'and shows it as it came');

# ---- domains

$f->query(q(CREATE DOMAIN v.small AS bigint CHECK (value < 10); CREATE DOMAIN v.there AS bigint NOT NULL;
			CREATE DOMAIN v.two AS bigint[] CHECK (array_length(value, 1) = 2); CREATE DOMAIN v.object AS jsonb CHECK (value ? 'a')));
check_cases('ARRAY of a domain', field(x => 'INT64[]'), 'v.small[]', [ array(1, undef), 'OK', '{1,NULL}' ],
	[ array(1, 10), 'BAD', 'value for domain v.small violates check constraint "small_check"' ]);
check_cases('ARRAY of a domain without NULL', field(x => 'INT64[]'), 'v.there[]', [ array(1), 'OK', '{1}' ],
	[ array(1, undef), 'BAD', q(the array's elements cannot be NULL) ]);
check_cases('a domain over an array', field(x => 'INT64[]'), 'v.two', [ array(1, 2), 'OK', '{1,2}' ],
	[ array(1), 'BAD', 'value for domain v.two violates check constraint "two_check"' ]);
check_cases('a domain over jsonb', field(x => $pair), 'v.object', [ struct(1, 2), 'OK', '{"a":1,"b":"2"}' ]);

# ---- random schemas and values: what is loaded is what PostgreSQL makes of the same in SQL

# (CONTRATOS_SEED repeats a run)

sub pick { return $_[ int rand @_ ]; }
sub digits { return join '', map { int rand 10 } 1 .. $_[0]; }

# Without zeros at its end, of which nobody is said to keep any.
sub decimal
{
	my ($before, $after) = @_;
	my $whole = digits(1 + int rand $before) =~ s/^0+(?=.)//r;
	my $fraction = digits(int rand $after + 1) =~ s/0+$//r;
	return pick('', '-') . ($whole eq '0' ? '1' : $whole) . (length $fraction ? ".$fraction" : '');
}

sub text
{
	return join '',
	  map { pick('a' .. 'z', ' ', '"', '\\', '/', "'", '{', '}', ',', "\n", "\t", "\x01", "\x7f", "\x{e9}", "\x{20ac}", "\x{1f468}", "\x{10ffff}", 'NULL', '\\u0041') }
	  1 .. rand 12;
}

sub json_string { return $json->encode($_[0]); }

sub document
{
	my ($depth) = @_;
	my $kind = $depth > 0 ? int rand 7 : int rand 5;
	return pick('null', 'true', 'false') if $kind == 0;
	return json_string(text()) if $kind < 3;
	return decimal(40, 40) . pick('', '', 'e5', 'E-12') if $kind < 5;
	return '[' . join(pick(',', ' , '), map { document($depth - 1) } 1 .. rand 4) . ']' if $kind == 5;
	return '{' . join(', ', map { json_string("k$_" . text()) . ' : ' . document($depth - 1) } 1 .. rand 4) . '}';
}

sub date { return sprintf '%04d-%02d-%02d', 1 + int rand 9999, 1 + int rand 12, 1 + int rand 28; }
sub clock { return sprintf '%02d:%02d:%02d%s', int rand 24, int rand 60, int rand 60, pick('', '.' . digits(5) . '1'); }

# What a moment is called: micros since 1970, ISO.
sub moment
{
	my $seconds = int(rand 315_537_897_599) - 62_135_596_800;
	my $micros = pick('000000', digits(6));
	my ($s, $m, $h, $d, $mon, $y) = gmtime $seconds;
	my $iso = sprintf '%04d-%02d-%02dT%02d:%02d:%02d.%s', $y + 1900, $mon + 1, $d, $h, $m, $s, $micros;
	$iso =~ s/\.?0+$// if $iso =~ /\./;
	return ($seconds * 1_000_000 + $micros, "$iso+00:00");
}

# Of a type: the wire's text, its JSON, and what an array's element is in SQL.
my %scalar = (
	INT64 => sub { my $n = pick(0, '9223372036854775807', '-9223372036854775808', int(rand 2**50) - 2**49); return ($n, $n, $n); },
	NUMERIC => sub { my $n = decimal(29, 9); return ($n, $n, $n); },
	BIGNUMERIC => sub { my $n = decimal(38, 38); return ($n, $n, $n); },
	FLOAT64 => sub {
		return map { my $n = $_; ($n, "\"$n\"", $n) } pick('NaN', 'Infinity', '-Infinity') if rand() < 0.1;
		my $n = decimal(7, 7);
		# else a zero at its end would be one behind the point, which only a numeric keeps; and beyond 2^53 a
		# value may lie in the middle of two doubles, which PostgreSQL writes with a digit more
		$n .= pick('', '', 'E8', $n =~ /0$/ ? () : 'E-300', 'E290');
		return ($n, $n, $n);
	},
	BOOL => sub { my $b = pick('true', 'false'); return ($b, $b, $b); },
	STRING => sub { my $s = text(); return ($s, json_string($s), $s); },
	GEOGRAPHY => sub { my $s = 'POINT(' . decimal(2, 3) . ' 0)'; return ($s, "\"$s\"", $s); },
	BYTES => sub {
		my $bytes = join '', map { chr int rand 256 } 1 .. rand 9;
		my $base64 = encode_base64($bytes, '');
		return ($base64, "\"$base64\"", '\\x' . unpack 'H*', $bytes);
	},
	DATE => sub { my $d = date(); return ($d, "\"$d\"", $d); },
	TIME => sub { my $t = clock(); return ($t, "\"$t\"", $t); },
	DATETIME => sub { my $t = date() . 'T' . clock(); return ($t, "\"$t\"", $t); },
	TIMESTAMP => sub { my ($micros, $iso) = moment(); return ($micros, "\"$iso\"", $iso); },
	INTERVAL => sub { my $i = join ' ', int(rand 9) . '-' . int(rand 12), int rand 30, '4:5:6'; return ($i, "\"$i\"", $i); },
	JSON => sub { my $j = document(3); return ($j, $j, $j); },
	'RANGE<DATE>' => sub {
		my ($low, $high) = sort map { date() } 1 .. 2;
		$high = '9999-12-31' if $low eq $high;
		($low, $high) = (pick($low, ''), pick($high, ''));
		my $range = ($low eq '' ? '(' : '[') . "$low,$high)";
		return ('[' . ($low || 'UNBOUNDED') . ', ' . ($high || pick('UNBOUNDED', 'NULL')) . ')', "\"$range\"", $range);
	});
my %natural = (
	INT64 => 'bigint', NUMERIC => 'numeric', BIGNUMERIC => 'numeric', FLOAT64 => 'float8', BOOL => 'boolean', STRING => 'text',
	GEOGRAPHY => 'text', BYTES => 'bytea', DATE => 'date', TIME => 'time', DATETIME => 'timestamp', TIMESTAMP => 'timestamptz',
	INTERVAL => 'interval', JSON => 'jsonb', 'RANGE<DATE>' => 'daterange');
my @types = sort keys %scalar;

# A random field; STRUCTs go down to the level asked for in one place, and where chance has it.
sub random_field
{
	my ($name, $levels, $down) = @_;
	my $repeated = rand() < 0.3;
	return field($name, pick(@types), 0) if !$repeated && !($levels && $down) && rand() < 0.6;
	my $scalar = pick(@types);
	my $field = $levels && ($down || rand() < 0.4)
	  ? field($name, [ map { random_field(pick('a', 'K', "\x{e9}", 'two words', "q'\"")  . $_, $levels - 1, $down && $_ == 1) } 1 .. 1 + rand 3 ])
	  : field($name, $scalar);
	$field->{mode} = 'REPEATED' if $repeated;
	return $field;
}

sub key_of
{
	my ($field) = @_;
	return $field->{type} eq 'RANGE' ? "RANGE<$field->{rangeElementType}{type}>" : $field->{type};
}

# A value of a field: wire and JSON.
sub random_value
{
	my ($field, $element) = @_;
	if ($field->{mode} eq 'REPEATED' && !$element)
	{
		my @values = map { [ random_value($field, 1) ] } 1 .. rand 3;
		return (array(map { $_->[0] } @values), '[' . join(',', map { $_->[1] } @values) . ']');
	}
	return (undef, 'null') if rand() < 0.1;
	return ($scalar{ key_of($field) }->())[ 0, 1 ] unless $field->{fields};
	my @values = map { [ random_value($_) ] } @{ $field->{fields} };
	return (struct(map { $_->[0] } @values),
		'{' . join(',', map { json_string($field->{fields}[$_]{name}) . ':' . $values[$_][1] } 0 .. $#values) . '}');
}

my ($rounds, $wrong, @cases) = (25, 0);
for my $round (1 .. $rounds)
{
	# one column of whatever depth three times over, and an array
	my $field = random_field('x', pick(1, 2, 3, 15), 1);
	my $type = pick(@types);
	my @columns = ((map { [ { %$field, name => $_->[0] }, $_->[1] ] } [ j => 'jsonb' ], [ k => 'json' ], [ t => 'text' ]),
		[ field(a => "$type\[]"), "$natural{$type}\[]" ]);
	$columns[3][0] = { %{ field(a => $type) }, mode => 'REPEATED' };
	my (@rows, @want);
	for (1 .. 4)
	{
		my ($wire, $value) = random_value($field);
		my @elements = map { rand() < 0.2 ? [ undef, undef, undef ] : [ $scalar{$type}->() ] } 1 .. rand 4;
		push @rows, [ ($wire) x 3, array(map { $_->[0] } @elements) ];
		my $json = $wire ? quoted($value) . '::jsonb::text' : 'NULL';
		push @want, "SELECT $json, $json, $json, ARRAY[" . join(',', map { quoted($_->[2]) } @elements) . "]::$natural{$type}\[]::text";
	}
	push @cases, @want;
	remote(\@columns, \@rows);
	my $want = $f->query('SET timezone = UTC; ' . join ' UNION ALL ', @want);
	my $got = $f->query('SET timezone = UTC; SELECT j::text, k::jsonb::text, t::jsonb::text, a::text FROM v.remote ORDER BY n');
	next if $got eq $want;
	$wrong++;
	diag("round $round: ", $json->encode($field), "\n$got\nis not\n$want");
}
Contratos::Seed::note_cases(@cases);
is($wrong, 0, "$rounds random schemas with random values are what PostgreSQL makes of the same");

# ---- large ones, and memory

remote([ [ field(x => 'JSON[]'), 'jsonb' ], [ field(y => 'INT64[]'), 'jsonb' ] ],
	[ [ array('"' . 'x' x 1_000_000 . '"'), [] ], [ [], array(1 .. 200_000) ] ]);
is($f->query(q(SELECT length(x::text), jsonb_array_length(y) FROM v.remote ORDER BY n)), "1000004|0\n2|200000", 'large nested values are read');

# Memory at the 1,000th row is that at the last.
my $rec = array(struct(1, "caf\x{e9} \\n \x{1f468}"), struct(undef, 'x' x 100));
my $doc = '{"key": [1.5, "\u00e9", {"a": null}]}';
my @some = ([ $rec, $rec, $doc, array(map { "word $_" } 1 .. 9), '[2024-01-01, 2024-02-01)' ]) x 20_000;
remote(
	[ [ field(a => $pair, 1), 'jsonb' ], [ field(b => $pair, 1), 'text' ], [ field(c => 'JSON'), 'jsonb' ], [ field(d => 'STRING[]'), 'text[]' ],
		[ field(e => 'RANGE<DATE>'), 'daterange' ] ],
	\@some);
my $used = 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';
my ($first, $last) = split /\n/, $f->query(
	qq(BEGIN; DECLARE c CURSOR FOR SELECT a, b, c, d, e FROM v.remote;
	   MOVE 1000 IN c; $used; MOVE 19000 IN c; $used));
cmp_ok($last - $first, '<', 1_000_000, 'nested values leave no memory behind');

# ---- databases in other encodings

for my $encoding ('LATIN1', 'SQL_ASCII')
{
	my $latin = $encoding eq 'LATIN1';
	$f->use_database('postgres');
	$f->query("CREATE DATABASE \"$encoding\" ENCODING '$encoding' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
	$f->use_database($encoding);
	$f->query('CREATE EXTENSION contratos; SELECT contratos_setup(); CREATE SCHEMA v');
	my @names = map { [ field($_ => [ field("\x{e9}", 'STRING'), field(j => 'JSON') ]), $_ eq 'a' ? 'jsonb' : $_ eq 'b' ? 'json' : 'text' ] } 'a' .. 'c';
	my @values = map { struct(@$_) }[ "caf\x{e9}", "\"\x{e9}\"" ], [ "5 \x{20ac}", '1' ], [ 'x', '"\u20ac"' ], [ 'x', '"\u00e9"' ];
	remote([ @names, [ field(d => 'STRING[]'), 'text[]' ] ], [ map { [ ($_) x 3, array("\x{e9}", $_->{f}[0]{v}) ] } @values ]);
	is($f->query($run), 'succeeded|4', "$encoding: nested values are loaded");
	my $e = $latin ? 'e9' : 'c3a9';
	my $euro = 'e282ac';
	# as bytes: in SQL_ASCII those of UTF-8
	my $shown = join ', ', map { "coalesce(encode(textsend($_), 'hex'), 'NULL')" } q((SELECT value FROM jsonb_each_text(a) WHERE key <> 'j')), q(a ->> 'j'), q(d[2]);
	is( $f->query("SELECT $shown FROM v.target ORDER BY n"),
		join("\n",
			"636166$e|$e|636166$e",
			$latin ? 'NULL|NULL|NULL' : "3520$euro|31|3520$euro",
			$latin ? 'NULL|NULL|78' : "78|$euro|78",
			"78|$e|78"),
		"$encoding: characters that it has are converted, a value with others is NULL");
	is($f->query(q(SELECT count(*) FROM v.target WHERE b IS NULL OR c IS NULL)), $latin ? 1 : 0,
		"$encoding: an escape in a JSON text is a character of any encoding");
	is($f->query(q(SELECT string_agg(DISTINCT reason, ',') FROM contratos_rejects)),
		$latin ? q(cannot be represented in the database's encoding) : '',
			"$encoding: values with other characters are rejects");
}
$f->use_database('postgres');

$f->stop;
done_testing();
