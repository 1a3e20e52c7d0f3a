# Every scalar type into every type it may be read as: test/data/types.tsv as one
# load, as queries, and held against the docs.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $root = dirname(abs_path(__FILE__)) . '/../..';
my $f = Contratos::Fixture->new(init => { extra => [ '--encoding=UTF8', '--no-locale' ] });
my $bq = $f->bq;
my $json = JSON::PP->new->allow_nonref->utf8;

sub slurp
{
	my ($file) = @_;
	open my $in, '<:raw', "$root/$file" or die "$file: $!";
	local $/ = undef;
	my $text = <$in>;
	close $in;
	return $text;
}

# ---- what the table's types need

$f->query(
	q(SELECT contratos_setup(); CREATE SCHEMA v;
	  CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
	  CREATE TYPE pair AS (a int, b int);
	  CREATE DOMAIN positive AS bigint CHECK (VALUE > 0);
	  CREATE DOMAIN cents AS numeric(6,2) CHECK (VALUE >= 0);
	  CREATE DOMAIN zip AS varchar(10) CHECK (VALUE ~ '^[0-9]{5}-[0-9]{3} *$');
	  CREATE DOMAIN weekday AS date CHECK (extract(isodow FROM VALUE) < 6);
	  CREATE DOMAIN plain AS varchar(3);
	  CREATE DOMAIN needed AS text NOT NULL;
	  CREATE DOMAIN needed_too AS citizen CHECK (VALUE IS NOT NULL)) =~ s/citizen/positive/r);
my %missing;
for my $extension (qw(citext ltree hstore cube))
{
	my ($code) = $f->psql("CREATE EXTENSION $extension");
	$missing{$extension} = 1 if $code;
}
my ($no_xml) = $f->psql(q(SELECT '<a/>'::xml));
$missing{xml} = 1 if $no_xml;
note("without: @{[ sort keys %missing ]}") if %missing;

# ---- the table of types

my (@held, @refused, %lines);
my %held;
for my $line (split /\n/, slurp('test/data/types.tsv'))
{
	next if $line =~ /^#|^$/;
	my ($remote, $local, $wire, $verdict, $expected) = split /\t/, $line, -1;
	$lines{$remote}{$local}{$verdict}++;
	next if $missing{$local};
	if ($verdict eq 'REFUSED')
	{
		push @refused, { remote => $remote, local => $local };
		next;
	}
	my $pair = $held{"$remote $local"};
	push @held, $pair = $held{"$remote $local"} = { remote => $remote, local => $local, cases => [] } unless $pair;
	push @{ $pair->{cases} }, { wire => $json->decode($wire), said => $wire, verdict => $verdict, expected => $expected };
}
$held[$_]{name} = "c$_" for 0 .. $#held;

# Values made of values have a table of their own.
my %nested = map { $_ => 1 } qw(STRUCT RANGE);
my @known = grep { !$nested{$_} } slurp('src/bigquery/bqtype.c') =~ /\.name = "(\w+)"/g;
cmp_ok(scalar(@known), '>=', 14, 'the source code has the types that a schema may name');
is(join(' ', grep { !$lines{$_} } sort @known), '', 'each type has lines in the table');
is(join(' ', grep { !$lines{$_}{text} } sort @known), '', 'each type can be text');

# A table of BigQuery and the foreign table of its columns [ name, BigQuery type, column type ].
sub remote
{
	my ($name, $columns, $rows, $options) = @_;
	$bq->table(
		"my-data.things.$name",
		schema => [ map { { name => $_->[0], type => $_->[1], mode => 'NULLABLE' } } @$columns ],
		rows => $rows);
	my $list = join ', ', map { "$_->[0] $_->[2]" } @$columns;
	$f->query(qq(DROP FOREIGN TABLE IF EXISTS v.$name;
		CREATE FOREIGN TABLE v.$name ($list) SERVER bigquery OPTIONS ("table" 'my-data.things.$name' @{[ $options // '' ]})));
	return $list;
}

sub source
{
	my ($name, $columns, $rows) = @_;
	my $list = remote($name, $columns, $rows);
	$f->query(qq(DROP TABLE IF EXISTS v.target_$name; CREATE TABLE v.target_$name ($list);
		INSERT INTO contratos_sources (name, remote_table, target_table, max_shrink, snapshot) VALUES ('$name', 'v.$name', 'v.target_$name', 1, true)));
	return;
}

sub hex_of
{
	my ($text) = @_;
	return 'NULL' unless defined $text;
	utf8::encode($text);
	return unpack 'H*', $text;
}

# A column's values as hex of their text, in the order of n; char(n) keeps its blanks in no cast.
sub texts
{
	my ($table, @pairs) = @_;
	my $each = join ' UNION ALL ', map {
		my $text = $_->{local} =~ /^char/ ? "format('%s', $_->{name})" : "$_->{name}::text";
		"SELECT '$_->{name}', string_agg(CASE WHEN $_->{name} IS NULL THEN 'NULL' ELSE encode(convert_to($text, 'UTF8'), 'hex') END, ',' ORDER BY n) FROM $table"
	} @pairs;
	return map { split /\|/, $_, 2 } split /\n/, $f->query($each);
}

# ---- as a load: one row a line, one column a pair

my $height = 0;
for my $pair (@held)
{
	my $n = @{ $pair->{cases} };
	$height = $n if $n > $height;
}
sub cell
{
	my ($pair, $row) = @_;
	my $case = $pair->{cases}[$row];
	return $case ? { wire => $case->{wire} } : undef;
}
my @tall = ([ 'n', 'INT64', 'bigint' ], map { [ $_->{name}, $_->{remote}, $_->{local} ] } @held);
my @rows = map { my $row = $_; [ $row, map { cell($_, $row) } @held ] } 0 .. $height - 1;
source('tall', \@tall, \@rows);
is($f->query(q(SELECT status, rows_loaded FROM contratos_run(source => 'tall'))), "succeeded|$height", 'a load of every value of the table succeeds');

sub wanted
{
	my ($pair) = @_;
	my @want = map { hex_of($_->{verdict} eq 'BAD' ? undef : $json->decode($_->{expected})) } @{ $pair->{cases} };
	push @want, 'NULL' while @want < $height;
	return @want;
}

sub compare
{
	my ($what, %got) = @_;
	for my $pair (@held)
	{
		my @want = wanted($pair);
		my @found = split /,/, $got{ $pair->{name} };
		my @wrong = grep { $found[$_] ne $want[$_] } 0 .. $height - 1;
		is(scalar(@wrong), 0, "$pair->{remote} as $pair->{local}: $what")
		  or diag join "\n", map { ($pair->{cases}[$_]{said} // 'null') . ": $found[$_] (" . pack('H*', $found[$_] =~ /[^0-9a-f]/ ? '' : $found[$_]) . "), not $want[$_]" } @wrong;
	}
	return;
}
compare('values in a load', texts('v.target_tall', @held));

my %told;
for (split /\n/, $f->query(q(SELECT column_name, row_number - 1, encode(convert_to(reason, 'UTF8'), 'hex') FROM contratos_rejects)))
{
	my ($column, $row, $reason) = split /\|/;
	# a load's search_path has no schema of the user's
	$told{$column}{$row} = pack('H*', $reason) =~ s/\b(domain|enum) public\./$1 /r;
}
for my $pair (@held)
{
	my @wrong;
	for my $row (0 .. $#{ $pair->{cases} })
	{
		my $case = $pair->{cases}[$row];
		my $reason = $case->{verdict} eq 'OK' ? '' : $case->{verdict} eq 'ALTERED' ? 'holds U+0000' : $case->{expected};
		my $told = $told{ $pair->{name} }{$row} // '';
		push @wrong, "$case->{said}: '$told', not '$reason'" if $told ne $reason;
	}
	is(scalar(@wrong), 0, "$pair->{remote} as $pair->{local}: values not held are in contratos_rejects, with the reason")
	  or diag join "\n", @wrong;
}

# ---- as a query, whatever the session has set

$f->query(q(ALTER FOREIGN TABLE v.tall OPTIONS (ADD on_bad_value 'null')));
my $copied = join ', ', 'n', map { $_->{name} } @held;
$f->query(qq(SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard'; SET TimeZone = 'America/Sao_Paulo';
	SET extra_float_digits = -5; SET bytea_output = 'escape';
	CREATE TABLE v.copied AS SELECT $copied FROM v.tall));
compare('values in a query under odd settings', texts('v.copied', @held));

# ---- a query fails with the first value that is not held; one column a line

my @bad;
for my $pair (@held)
{
	push @bad, map { { %$pair, case => $_ } } grep { $_->{verdict} ne 'OK' } @{ $pair->{cases} };
}
$bad[$_]{name} = "b$_" for 0 .. $#bad;
remote('wide', [ map { [ $_->{name}, $_->{remote}, $_->{local} ] } @bad ], [ [ map { { wire => $_->{case}{wire} } } @bad ] ]);
$f->query(
	q(CREATE TABLE v.errors (name text, state text, message text, detail text);
	  CREATE FUNCTION v.try(relation regclass) RETURNS void LANGUAGE plpgsql AS $$
	  DECLARE a record; s text; m text; d text;
	  BEGIN
	  	FOR a IN SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
	  			 WHERE attrelid = relation AND attnum > 0 ORDER BY attnum LOOP
	  		BEGIN
	  			EXECUTE format('SELECT %I FROM %s', a.attname, relation);
	  			EXECUTE format('SELECT count(%I::text) FROM %s', a.attname, relation);
	  			INSERT INTO v.errors VALUES (a.attname, '', '', '');
	  		EXCEPTION WHEN OTHERS THEN
	  			GET STACKED DIAGNOSTICS s = RETURNED_SQLSTATE, m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL;
	  			INSERT INTO v.errors VALUES (a.attname, s, replace(m, a.type, 'TYPE'), d);
	  		END;
	  	END LOOP;
	  END $$));
sub errors
{
	my ($table) = @_;
	$f->query("TRUNCATE v.errors; SELECT v.try('v.$table')");
	my %errors;
	for (split /\n/, $f->query(q(SELECT name, state, encode(convert_to(message, 'UTF8'), 'hex'), encode(convert_to(detail, 'UTF8'), 'hex') FROM v.errors)))
	{
		my ($name, $state, $message, $detail) = split /\|/, $_, -1;
		$errors{$name} = { state => $state, message => pack('H*', $message), detail => pack('H*', $detail) };
	}
	return \%errors;
}
my $errors = errors('wide');
is(scalar(keys %$errors), scalar(@bad), 'there is one query for each value that is not held');
my @wrong;
for my $line (@bad)
{
	my $error = $errors->{ $line->{name} };
	my $reason = $line->{case}{verdict} eq 'BAD' ? $line->{case}{expected} : 'holds U+0000';
	next
	  if $error->{state} eq '22P02'
	  && $error->{message} eq qq(value of column "$line->{name}" in row 1 cannot be stored without loss)
	  && $error->{detail} =~ /: \Q$reason\E\.$/;
	push @wrong, "$line->{remote} as $line->{local}: $line->{case}{said}: $error->{state} $error->{message} $error->{detail}";
}
is(scalar(@wrong), 0, 'each query of a value that is not held fails with the reason') or diag join "\n", @wrong;

# ---- pairs of types that are refused before the first row

$refused[$_]{name} = "r$_" for 0 .. $#refused;
remote('refused', [ map { [ $_->{name}, $_->{remote}, $_->{local} ] } @refused ], [ [ map { undef } @refused ] ]);
$errors = errors('refused');
@wrong = grep {
	my $error = $errors->{ $_->{name} };
	$error->{state} ne '0A000' || $error->{message} ne qq(column "$_->{name}": BigQuery's $_->{remote} cannot be read as TYPE)
} @refused;
is(scalar(@wrong), 0, 'refused pairs of types are errors, even without a value')
  or diag join "\n", map { "$_->{remote} as $_->{local}: $errors->{$_->{name}}{state} $errors->{$_->{name}}{message}" } @wrong;

# ---- the docs say the same

my %documented;
for my $row (grep { /^\| `/ } split /\n/, slurp('docs/types.md'))
{
	my (undef, $remotes, $natural, $also, $not) = split /\s*\|\s*/, $row;
	for my $remote ($remotes =~ /`([^`]+)`/g)
	{
		$documented{$remote}{$_} = 'OK' for "$natural $also" =~ /`([^`]+)`/g;
		$documented{$remote}{$_} = 'REFUSED' for ($not // '') =~ /`([^`]+)`/g;
		$documented{$remote}{natural} = [ $natural =~ /`([^`]+)`/ ];
	}
}
is(join(' ', grep { !$documented{$_} } sort @known), '', 'the docs name each type');
my @unproved;
for my $remote (grep { !$nested{$_} } sort keys %documented)
{
	for my $type (grep { $_ ne 'natural' } sort keys %{ $documented{$remote} })
	{
		(my $pattern = quotemeta $type) =~ s/\\\(([pns]\\?,?)+\\\)/\\(-?\\d+(,-?\\d+)?\\)/;
		my $verdict = $documented{$remote}{$type};
		next if $remote eq 'JSON' && $type eq 'jsonb';
		push @unproved, "$remote as $type ($verdict)"
		  unless grep { /^$pattern$/ && $lines{$remote}{$_}{$verdict} } keys %{ $lines{$remote} };
	}
}
is(join("\n", @unproved), '', 'each pair that the docs name has a line in the table');
my ($hint) = $f->fails('SELECT r0 FROM v.refused') =~ /HINT:  (.*)/;
is($hint, 'Declare the column of the foreign table as boolean or text.',
	'the hint of a refused pair names the natural type');
for my $pair (@refused)
{
	my $natural = $documented{ $pair->{remote} }{natural}[0];
	next if $pair->{remote} ne 'BOOL' && $pair->{seen};
	next if $documented{ $pair->{remote} }{hinted}++;
	my $err = $f->fails("SELECT $pair->{name} FROM v.refused");
	my $full = $f->query("SELECT '$natural'::regtype");
	my $either = $full eq 'text' ? 'text' : "$full or text";
	like($err, qr/HINT:  Declare the column of the foreign table as \Q$either\E\./, "$pair->{remote}: the hint names the docs' natural type");
}

$f->stop;
done_testing();
