# The table of docs/types.md about values made of values: what it says a column
# may be can be read, and of all types that the page names no other can.
# (032_nested.pl has what becomes of the values.)

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Docs;
use Contratos::Fixture;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $page = Contratos::Docs->new("$root/docs/types.md");
my $f = Contratos::Fixture->new(init => { extra => [ '--encoding=UTF8', '--no-locale' ] });
$f->query(q(SELECT contratos_setup(); CREATE SCHEMA v; CREATE TYPE v.pair AS (a bigint, b text)));

# Types of a cell of the table, with lengths that can be declared; those of
# extensions are held by 031_types.pl, where there are any.
my %elsewhere = map { $_ => 1 } qw(citext ltree hstore cube xml);
sub types
{
	my ($cell) = @_;
	return grep { !$elsewhere{$_} } map { s/\(n\)/(6)/r =~ s/\(p,s\)/(20,5)/r } $cell =~ /`([^`]+)`/g;
}

# Of a cell that is a single type, table() has taken the backticks.
sub cell { return $_[0] =~ /`/ ? $_[0] : "`$_[0]`"; }

my %scalar = map { $_->{BigQuery} => $_ } $page->table('Types');
my @everything = sort { $a cmp $b }
  keys %{ { map { $_ => 1 } 'v.pair', 'daterange', 'tsrange', 'tstzrange', 'json[]', 'varchar[]', map { my $row = $_; map { types(cell($_)) } @{$row}{qw(natural also refused)} } values %scalar } };
cmp_ok(scalar @everything, '>', 50, 'docs/types.md names types');

# A table of BigQuery with a column of a field's type for each of the types.
my $tables = 0;
sub remote
{
	my ($field, $empty, @types) = @_;
	my $name = 't' . ++$tables;
	my @fields = map { { %$field, name => "c$_" } } 0 .. $#types;
	$f->bq->table("my-data.things.$name", schema => \@fields, rows => [ [ map { $empty } @types ] ]);
	return $name;
}

sub can_all_be_read
{
	my ($what, $field, $empty, @types) = @_;
	my $name = remote($field, $empty, @types);
	my $list = join ', ', map { "c$_ $types[$_]" } 0 .. $#types;
	my ($code, $out, $err) = $f->psql(
		qq(CREATE FOREIGN TABLE v.$name ($list) SERVER bigquery OPTIONS ("table" 'my-data.things.$name');
		   SELECT @{[ join ', ', map { "c$_" } 0 .. $#types ]} FROM v.$name));
	is($code, 0, "$what: can be read as @types") or diag($err);
	return;
}

# Those of the types that can be read all the same.
sub none_can_be_read
{
	my ($what, $field, $empty, @types) = @_;
	my $name = remote($field, $empty, @types);
	my $each = join ', ', map { "'$_'" } @types;
	my $err = $f->messages(
		qq(DO \$\$
		   DECLARE types text[] := ARRAY[$each]; i int;
		   BEGIN
			FOR i IN 1 .. cardinality(types) LOOP
				BEGIN
					EXECUTE format('CREATE FOREIGN TABLE v.one (c%s %s) SERVER bigquery OPTIONS ("table" ''my-data.things.$name'')', i - 1, types[i]);
					EXECUTE format('SELECT c%s FROM v.one', i - 1);
					RAISE NOTICE 'can be read as %', types[i];
				EXCEPTION WHEN feature_not_supported THEN NULL;
				END;
				DROP FOREIGN TABLE IF EXISTS v.one;
			END LOOP;
		   END \$\$));
	is(join(', ', $err =~ /can be read as (.*)/g), '', "$what: can be read as nothing else");
	return;
}

sub others { my %may = map { $_ => 1 } @_; return grep { !$may{$_} } @everything; }

my %rows = map { $_->{BigQuery} => $_ } $page->table('ARRAY, STRUCT, RANGE and JSON');
is(join('; ', sort keys %rows), 'ARRAY of STRUCT; ARRAY of T; RANGE of DATE, DATETIME, TIMESTAMP; STRUCT', 'the table of nested types has its four rows');
my @pair = ({ name => 'a', type => 'INT64', mode => 'NULLABLE' }, { name => 'b', type => 'STRING', mode => 'NULLABLE' });

# ---- ARRAY of T: an array of what T may be, or text

my @text = types(cell($rows{'ARRAY of T'}{also}));
foreach my $type (sort keys %scalar)
{
	my @elements = grep { !/\[/ } types(cell($scalar{$type}{natural})), types(cell($scalar{$type}{also}));
	my $field = { type => $type, mode => 'REPEATED' };
	can_all_be_read("ARRAY of $type", $field, [], @text, map { "$_\[]" } @elements);
	next unless $type =~ /^(?:INT64|STRING|DATE)$/;
	# what its elements may be is the other table's
	my %refused = map { ("$_\[]" => 1) } types(cell($scalar{$type}{refused}));
	none_can_be_read("ARRAY of $type", $field, [], grep { !/\[\]$/ || $refused{$_} } others(@text));
}

# ---- STRUCT, and ARRAY of it

foreach my $what ('STRUCT', 'ARRAY of STRUCT')
{
	my $repeated = $what ne 'STRUCT';
	my $field = { type => 'RECORD', mode => $repeated ? 'REPEATED' : 'NULLABLE', fields => \@pair };
	my @types = map { types(cell($_)) } @{ $rows{$what} }{qw(natural also)};
	can_all_be_read($what, $field, $repeated ? [] : undef, @types);
	none_can_be_read($what, $field, $repeated ? [] : undef, others(@types), 'v.pair[]');
}

# ---- RANGE

my $range = $rows{'RANGE of DATE, DATETIME, TIMESTAMP'};
my @natural = types($range->{natural});
foreach my $type (qw(DATE DATETIME TIMESTAMP))
{
	my $field = { type => 'RANGE', mode => 'NULLABLE', rangeElementType => { type => $type } };
	my @types = (shift @natural, types($range->{also}));
	can_all_be_read("RANGE of $type", $field, undef, @types);
	none_can_be_read("RANGE of $type", $field, undef, others(@types));
}

done_testing();
