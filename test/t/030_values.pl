# Values on their way through a load and through a query: what is held, what is
# altered and told, what fails.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(conf => 'contratos.page_rows = 200', init => { extra => [ '--encoding=UTF8', '--no-locale' ] });
my $bq = $f->bq;
my $json = JSON::PP->new->allow_nonref->utf8;

$f->query('SELECT contratos_setup(); CREATE SCHEMA v');

# A table there, the foreign table, the target and the source v, all anew.
# Columns: name => [ BigQuery type, column type, options of the foreign column ].
sub source
{
	my ($columns, $rows, %more) = @_;
	my @names = sort keys %$columns;
	$bq->reset(tables => 0);
	$bq->table(
		'my-data.things.v',
		schema => [ map { { name => $_, type => $columns->{$_}[0], mode => $columns->{$_}[3] // 'NULLABLE' } } @names ],
		rows => $rows);
	my $foreign = join ', ', map { "$_ $columns->{$_}[1] " . ($columns->{$_}[2] // '') } @names;
	my $local = join ', ', map { "$_ $columns->{$_}[1]" } @names;
	$foreign = $more{foreign} if $more{foreign};
	$f->query(
		qq(SET client_min_messages = warning;
		   DROP FOREIGN TABLE IF EXISTS v.remote; DROP TABLE IF EXISTS v.target; DELETE FROM contratos_sources WHERE name = 'v';
		   CREATE FOREIGN TABLE v.remote ($foreign) SERVER bigquery OPTIONS ("table" 'my-data.things.v' @{[ $more{options} // '' ]});
		   CREATE TABLE v.target ($local);
		   INSERT INTO contratos_sources (name, remote_table, target_table, max_shrink, snapshot) VALUES ('v', 'v.remote', 'v.target', 1, true)));
	return;
}

my $run = q(SELECT status, rows_loaded FROM contratos_run(source => 'v'));
my $rejects = q(SELECT count(*) FROM contratos_rejects WHERE run = (SELECT max(id) FROM contratos_runs WHERE NOT only_cost));

# ---- the whole table of values: as a load, and as a query

my %cases;
my $file = dirname(abs_path(__FILE__)) . '/../data/values.tsv';
open my $in, '<:raw', $file or die "$file: $!";
while (my $line = <$in>)
{
	next if $line =~ /^#|^$/;
	chomp $line;
	my ($remote, $local, $wire, $verdict, $expected) = split /\t/, $line, -1;
	push @{ $cases{"$remote $local"} }, { wire => $wire, verdict => $verdict, expected => $expected };
}
close $in;
cmp_ok(scalar(keys %cases), '>=', 4, 'the table of values has the types that a load knows');

# As hex of UTF-8, so that no output function or terminal has a say.
sub hex_of
{
	my ($text) = @_;
	return 'NULL' unless defined $text;
	# not Encode: its strict UTF-8 has no noncharacters such as U+FFFF
	utf8::encode($text);
	return unpack 'H*', $text;
}
my $shown = q(coalesce(encode(convert_to(x::text, 'UTF8'), 'hex'), 'NULL'));

for my $types (sort keys %cases)
{
	my ($remote, $local) = split / /, $types;
	my @cases = @{ $cases{$types} };
	my $n = 0;
	# "v" is sent as the file has it, not as Perl would write it again
	my @rows = map { [ $n++, { wire => $json->decode($_->{wire}) } ] } @cases;
	source({ n => [ 'INT64', 'bigint' ], x => [ $remote, $local ] }, [ map { [ @$_ ] } @rows ]);
	is($f->query($run), 'succeeded|' . @cases, "$types: every value is loaded");
	my @want = map {
		my $v = $_->{verdict} eq 'BAD' ? undef : $json->decode($_->{expected});
		hex_of($v)
	} @cases;
	my @got = split /\n/, $f->query("SELECT $shown FROM v.target ORDER BY n");
	my @wrong = grep { $got[$_] ne $want[$_] } 0 .. $#cases;
	is(scalar(@wrong), 0, "$types: every value is held as the table says")
	  or diag join "\n", map { "$cases[$_]{wire} $cases[$_]{verdict}: $got[$_], not $want[$_]" } @wrong;

	my @told = grep { $cases[$_]{verdict} ne 'OK' } 0 .. $#cases;
	is( $f->query(
			q(SELECT row_number, column_name FROM contratos_rejects
			  WHERE run = (SELECT max(id) FROM contratos_runs WHERE NOT only_cost) ORDER BY row_number)),
		join("\n", map { $_ + 1 . '|x' } @told),
		"$types: altered and bad values are in contratos_rejects, by row");
	is($f->query('SELECT values_altered FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), scalar(@told), "$types: altered and bad values are counted");
	my %why = map { $_->{expected} => 1 } grep { $_->{verdict} eq 'BAD' } @cases;
	is( $f->query(
			q(SELECT string_agg(DISTINCT reason, ',' ORDER BY reason) FROM contratos_rejects
			  WHERE run = (SELECT max(id) FROM contratos_runs WHERE NOT only_cost) AND reason <> 'holds U+0000')),
		join(',', sort keys %why), "$types: contratos_rejects has the reasons")
	  if %why;
	$f->query(q(ALTER FOREIGN TABLE v.remote OPTIONS (ADD on_bad_value 'null')));
	# not is(): some of them are long
	ok($f->query("SELECT $shown FROM v.remote ORDER BY n") eq join("\n", @want), "$types: a query with on_bad_value 'null' gives the same");
}

# ---- rejects

source({ n => [ 'INT64', 'bigint' ], x => [ 'STRING', 'numeric' ] },
	[ map { [ $_, $_ % 2 ? "bad $_" : $_ ] } 1 .. 2500 ]);
my ($code, $out, $err) = $f->psql(q(SELECT status, rows_loaded, translate(message, chr(10), '') FROM contratos_run(source => 'v')));
is($out, 'succeeded|2500|1250 values could not be kept as they were: see contratos_rejects',
	'a day with many bad values is loaded');
is($f->query('SELECT values_altered FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), 1250,
	'many bad values are each counted');
is($f->query($rejects), 1000, 'the first 1,000 bad values are kept');
is( $f->query(
		q(SELECT count(*) FROM contratos_rejects WHERE run = (SELECT max(id) FROM contratos_runs WHERE NOT only_cost)
		  AND raw_value = 'bad ' || row_number AND row_number < 2000)),
	1000, 'rejects have the row number and the text');
is($f->query('SELECT count(x), count(*) FROM v.target'), '1250|2500', 'bad values are NULL in the target');

my $euro = "\x{20ac}";
source({ x => [ 'STRING', 'numeric' ] }, [ [ 'x' x 8191 . $euro . 'y' x 50000 ], [ 'z' x 8192 . 'z' ], [ "a\0b$euro" ] ]);
is($f->query($run), 'succeeded|3', 'long bad values are loaded');
is( $f->query(
		q(SELECT octet_length(raw_value), right(raw_value, 1) FROM contratos_rejects
		  WHERE run = (SELECT max(id) FROM contratos_runs WHERE NOT only_cost) ORDER BY row_number)),
	"8191|x\n8192|z\n8|\xe2\x82\xac", 'rejects are cut at 8 kB, between characters');
is( $f->query(
		q(SELECT encode(convert_to(raw_value, 'UTF8'), 'hex') FROM contratos_rejects
		  WHERE run = (SELECT max(id) FROM contratos_runs WHERE NOT only_cost) AND row_number = 3)),
	hex_of("a\x{fffd}b$euro"), 'U+0000 is shown as U+FFFD in a reject');

source({ x => [ 'STRING', 'text' ] }, [ [ "a\0b" ], [ "\0" ], [ '' ], [ undef ], [ "\0\0ok" ] ]);
is($f->query($run), 'succeeded|5', 'texts with U+0000 are loaded');
is($f->query(q(SELECT coalesce('<' || x || '>', 'NULL') FROM v.target)), "<ab>\n<>\n<>\nNULL\n<ok>",
	'U+0000 is removed from a text');
is($f->query(q(SELECT DISTINCT reason FROM contratos_rejects WHERE run = (SELECT max(id) FROM contratos_runs WHERE NOT only_cost))),
	'holds U+0000', 'U+0000 in a text is a reject');

# ---- NULL where there must be none

source({ n => [ 'INT64', 'bigint' ], x => [ 'STRING', 'numeric', 'NOT NULL' ] }, [ [ 1, '5' ], [ 2, 'bad' ], [ 3, '7' ] ]);
$err = $f->fails($run);
like($err, qr/ERROR:  23502: null value in column "x" of foreign table "remote"/, 'a bad value where NULL is not allowed fails the day');
like($err, qr/DETAIL:  Row 2: /, 'the error of a bad value in a NOT NULL column names the row');
is($f->query(q(SELECT status FROM contratos_backfill(1, 'v'))), 'failed',
	'a bad value in a NOT NULL column fails its day of a backfill');
is($f->query($rejects), 0, 'a failed day leaves no rejects');
source({ x => [ 'STRING', 'text', 'NOT NULL' ] }, [ [ 'a' ], [ undef ] ]);
like($f->fails($run), qr/ERROR:  23502: .*\n.*DETAIL:  Row 2: BigQuery's value is NULL/,
	'a NULL in a NOT NULL column fails the day');
source({ x => [ 'STRING', 'text' ] }, [ [ 'a' ], [ undef ] ]);
$f->query('ALTER TABLE v.target ALTER x SET NOT NULL');
like($f->fails($run), qr/ERROR:  23502: null value in column "x" of relation "target"/, 'a NULL in a NOT NULL column of the target fails the day');

# ---- a query does not alter values in silence

for my $case (
	[ 'STRING', 'numeric', '12 apples', '22P02', '"12 apples": ' ],
	[ 'STRING', 'text', "a\0b", '22P02', '"a.*": holds U\+0000' ],
	[ 'INT64', 'bigint', { wire => '9223372036854775808' }, '22P02', '"9223372036854775808": out of range of bigint' ],
	[ 'TIMESTAMP', 'timestamptz', { wire => '1.7E9' }, '22P02', '"1.7E9": not a timestamp in microseconds' ])
{
	my ($remote, $local, $value, $state, $detail) = @$case;
	source({ x => [ $remote, $local ] }, [ [undef], [$value] ]);
	$err = $f->fails('SELECT * FROM v.remote');
	like($err, qr/ERROR:  $state: value of column "x" in row 2 cannot be stored without loss/, "$remote: a query with a bad value fails");
	like($err, qr/DETAIL:  $detail/, "$remote: the error of a query shows the bad value");
	like($err, qr/HINT: .*on_bad_value to 'null'/, "$remote: the error of a query has a hint");
	is($f->query('SELECT count(*) FROM v.remote'), 2, "$remote: a query that does not read the column succeeds");
	$f->query(q(ALTER FOREIGN TABLE v.remote OPTIONS (ADD on_bad_value 'null')));
	is($f->query(q(SELECT coalesce(x::text, 'NULL') FROM v.remote)), $local eq 'text' ? "NULL\nab" : "NULL\nNULL",
		"$remote: on_bad_value 'null' makes a bad value NULL");
}
source({ x => [ 'STRING', 'numeric' ] }, [ [ 'x' x 5000 ] ]);
$err = $f->fails('SELECT * FROM v.remote');
cmp_ok(length($err), '<', 1000, 'the error of a long bad value shows the beginning');

# ---- columns that are not there, or of another type: before a row is written

my $some = [ [ 1, 'a' ] ];
my $two = { n => [ 'INT64', 'bigint' ], x => [ 'STRING', 'text' ] };
for my $case (
	[ 'n bigint, x text, y text', '42703: BigQuery: Unrecognized name: y', 'a column that BigQuery does not have',
		'42703: column "y" of foreign table v.remote is gone from BigQuery' ],
	[ 'n timestamptz, x text', '0A000: column "n": BigQuery\'s INT64 cannot be read as timestamp with time zone', 'a column of another type' ],
	[ 'n bigint, x timetz', '0A000: column "x": BigQuery\'s STRING cannot be read as time with time zone',
		'a column of a type that cannot be read' ],
	[ q(n bigint, x text OPTIONS (type 'INT64')), '42804: column "x" of foreign table v.remote is of another type in BigQuery', 'a wrong type option' ],
	[ 'n bigint, x bytea', '0A000: column "x": BigQuery\'s STRING cannot be read as bytea', 'an unknown column type' ])
{
	my ($foreign, $message, $name, $of_load) = @$case;
	$of_load //= $message;
	source($two, $some, foreign => $foreign);
	$f->query('DROP TABLE v.target; CREATE TABLE v.target (n text, x text, y text);') if $foreign !~ /OPTIONS/;
	$f->query(q(INSERT INTO v.target (x) VALUES ('old')));
	like($f->fails($run), qr/ERROR:  (?:\Q$of_load\E|42804: column "[nx]" is of type)/, "$name: a load fails");
	like($f->fails('SELECT * FROM v.remote'), qr/ERROR:  \Q$message\E/, "$name: a query fails");
	is($f->query('SELECT x FROM v.target'), 'old', "$name: the target is not touched");
}
source({ x => [ 'STRING', 'text' ] }, [ ['x'] ]);
$bq->rule({ kind => 'results' }, { envelope => { schema => { fields => [ { name => 'x', type => 'FUTURE' } ] } } });
like(
	$f->fails($run),
	qr/ERROR:  0A000: column "x": BigQuery's FUTURE cannot be read as text\n.*HINT:  Drop the column/s,
	'an unknown BigQuery type is an error');
source({ x => [ 'STRING', 'bigint', '', 'REPEATED' ] }, [ [ ['a'] ] ]);
like($f->fails($run), qr/ERROR:  0A000: column "x": BigQuery's ARRAY<STRING> cannot be read as bigint/, 'an array in a column of another type is an error');

# ---- databases in other encodings

sub in_encoding
{
	my ($encoding) = @_;
	$f->use_database('postgres');
	$f->query("CREATE DATABASE \"$encoding\" ENCODING '$encoding' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
	$f->use_database($encoding);
	$f->query('CREATE EXTENSION contratos; SELECT contratos_setup(); CREATE SCHEMA v');
	source({ n => [ 'INT64', 'bigint' ], x => [ 'STRING', 'text' ] },
		[ [ 1, "caf\x{e9}" ], [ 2, "5 $euro" ], [ 3, 'plain' ], [ 4, "\x{1f468}\0" ] ]);
	is($f->query($run), 'succeeded|4', "$encoding: values are loaded");
	return;
}
my $bytes = q(SELECT coalesce(encode(x::bytea, 'hex'), 'NULL') FROM v.target ORDER BY n);

in_encoding('LATIN1');
is($f->query($bytes), "636166e9\nNULL\n706c61696e\nNULL",
	'LATIN1: characters that it has are converted, a value with others is NULL');
is($f->query(q(SELECT string_agg(row_number::text, ' ' ORDER BY row_number), min(reason) FROM contratos_rejects)),
	q(2 4|cannot be represented in the database's encoding), 'LATIN1: values with other characters are rejects');
is($f->query(q(SELECT raw_value FROM contratos_rejects ORDER BY row_number LIMIT 1)), '5 ?', 'LATIN1: a reject shows other characters as "?"');
like($f->fails(q(SELECT * FROM v.remote)), qr/ERROR:  22P02: value of column "x" in row 2/,
	'LATIN1: a query of a value with other characters fails');
$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => "no $euro for caf\x{e9}" });
like($f->fails($run), qr/ERROR:  42501: BigQuery: no \? for caf\xe9/, "LATIN1: BigQuery's message is converted");

source({ n => [ 'INT64', 'bigint' ], x => [ 'STRING', 'varchar(4)' ] },
	[ [ 1, "caf\x{e9}" ], [ 2, "caf\x{e9}s" ], [ 3, "\x{e9}" x 4 ], [ 4, $euro ] ]);
is($f->query($run), 'succeeded|4', 'LATIN1: varchar(n) is loaded');
is($f->query($bytes), "636166e9\nNULL\ne9e9e9e9\nNULL", 'LATIN1: varchar(n) counts characters, not bytes');
$f->query("CREATE TYPE drink AS ENUM ('caf\xe9', 'tea'); CREATE DOMAIN hot AS text CHECK (VALUE = 'caf\xe9')");
for my $type ('drink', 'hot', 'public.citext')
{
	next if $type =~ /citext/ && ($f->psql('CREATE EXTENSION citext'))[0];
	source({ n => [ 'INT64', 'bigint' ], x => [ 'STRING', $type ] }, [ [ 1, "caf\x{e9}" ], [ 2, $euro ] ]);
	is($f->query($run), 'succeeded|2', "LATIN1: $type is loaded");
	is($f->query(q(SELECT coalesce(encode(x::text::bytea, 'hex'), 'NULL') FROM v.target ORDER BY n)), "636166e9\nNULL", "LATIN1: $type is converted before it is read");
}

in_encoding('SQL_ASCII');
is($f->query($bytes), join("\n", hex_of("caf\x{e9}"), hex_of("5 $euro"), hex_of('plain'), hex_of("\x{1f468}")), 'SQL_ASCII: text is the bytes of UTF-8');

$f->stop;
done_testing();
