# Aggregates that BigQuery computes have the results of the local ones: of nasty
# values and NULL, with conditions on them, as constants and as parameters.  The
# local results are those of the same query when nothing can be sent, and of a
# copy.  The conditions are random: CONTRATOS_SEED repeats a run, CONTRATOS_CONDITIONS
# makes it longer.

use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Emulator;
use Contratos::Seed qw(rand shuffle);

my $conditions = $ENV{CONTRATOS_CONDITIONS} // 10;

my $emulator = Contratos::Emulator->new;
my $node = $emulator->node('aggregates', init => { extra => [ '--encoding=UTF8', '--no-locale' ] }, timezone => 'America/Sao_Paulo');

sub query { return $node->safe_psql('postgres', $_[0]); }

my @days = qw(0001-01-01 1582-10-10 1969-12-31 1970-01-01 2000-02-29 2018-11-04 2024-02-29 9999-12-31);
my @clocks = ((map { "$_ 00:00:00" } @days), '1969-12-31 23:59:59.999999', '1970-01-01 00:00:00.000001', '2018-11-04 02:59:59.999999', '2018-11-04 03:00:00', '9999-12-31 23:59:59.999999');
my %column = (
	n => { remote => 'INTEGER', local => 'bigint', values => [ '-9223372036854775808', -1, 0, 1, 10, '9007199254740993', '9223372036854775807' ],
		more => { numeric => [ '0.5', '7.0', '9223372036854775808', "'NaN'" ], integer => [ 10, -1 ] } },
	flag => { remote => 'BOOLEAN', local => 'boolean', values => [ 'true', 'false' ], count => 1 },
	day => { remote => 'DATE', local => 'date', values => \@days,
		more => { date => [ 'infinity', '0001-12-31 BC' ], timestamp => [ '2024-02-29 12:00:00', '2024-02-29 00:00:00', '1969-12-31 00:00:00.000001', 'infinity' ] } },
	at => { remote => 'TIMESTAMP', local => 'timestamptz', values => [ map { "$_+00" } @clocks ],
		more => { timestamptz => [ 'infinity', '10000-01-01 00:00:00+00' ], timestamp => [ '2018-11-04 00:00:00', '2018-11-04 00:30:00' ], date => [ '2018-11-04', '2024-02-29' ] } },
	clock => { remote => 'DATETIME', local => 'timestamp', values => \@clocks, more => { timestamp => ['-infinity'], date => [ '2018-11-04', '2024-02-29' ] } },
	amount => { remote => 'NUMERIC', local => 'numeric',
		values => [ '0', '-1', '0.1', '0.10', '1.000000000', '-0.000000001', '9999999999999999999999999999.999999999', '-9999999999999999999999999999.999999999' ],
		more => { numeric => [ "'NaN'", "'Infinity'", '0.0000000001', '1e29' ], bigint => [ 1, 0 ] } },
	big => { remote => 'BIGNUMERIC', local => 'numeric', values => [ '0', '-1.5', '0.000000000000000001', '-99999999999999999999.999999999999999999', '12345678901234567890' ],
		more => { numeric => [ '1e-39', '1e38' ] } },
	x => { remote => 'FLOAT', local => 'double precision', values => [ '0', '1.5', '-1e300' ], count => 1, bare => 1 },
	t => { remote => 'TIME', local => 'time', values => [ '00:00:00', '23:59:59.999999' ], count => 1, bare => 1 });
my @names = sort keys %column;
my @compared = grep { !$column{$_}{bare} } @names;

# ---- the table there, the foreign table, the copy

my $path = 'projects/test-project/datasets';
$emulator->request('POST', $path, { datasetReference => { projectId => 'test-project', datasetId => 'sums' } }, may_fail => 1);
$emulator->request('DELETE', "$path/sums/tables/things", undef, may_fail => 1);
$emulator->request(
	'POST',
	"$path/sums/tables",
	{
		tableReference => { projectId => 'test-project', datasetId => 'sums', tableId => 'things' },
		schema => { fields => [ { name => 'id', type => 'INTEGER' }, map { { name => $_, type => $column{$_}{remote} } } @names ] }
	});
my @rows;
for my $id (1 .. 60)
{
	my %row = (id => "$id");
	for my $name (@names)
	{
		my @values = (@{ $column{$name}{values} }, undef);
		my $value = $id <= @values ? $values[ $id - 1 ] : $values[ rand @values ];
		next unless defined $value;
		$value =~ tr/ /T/ if $name eq 'clock';
		$row{$name} = $name eq 'flag' ? ($value eq 'true' ? JSON::PP::true() : JSON::PP::false()) : "$value";
	}
	push @rows, { json => \%row };
}
is($emulator->request('POST', "$path/sums/tables/things/insertAll", { rows => [ shuffle @rows ] })->{insertErrors}, undef, 'BigQuery has the rows');
my %googlesql = (INTEGER => 'INT64', BOOLEAN => 'BOOL', FLOAT => 'FLOAT64');
query(q(CREATE SERVER bigquery FOREIGN DATA WRAPPER contratos OPTIONS (project 'test-project', dataset_project 'test-project');)
	  . "CREATE FOREIGN TABLE things (id bigint OPTIONS (type 'INT64') NOT NULL, "
	  . join(', ', map { "$_ $column{$_}{local} OPTIONS (type '@{[ $googlesql{$column{$_}{remote}} // $column{$_}{remote} ]}')" } @names)
	  . q[) SERVER bigquery OPTIONS ("table" 'sums.things');]
	  . 'CREATE TABLE copy AS SELECT * FROM things');
is(query('SELECT count(*) FROM copy'), 60, 'a copy has its rows');

# Whether a query's aggregates are sent.
query(q[
CREATE FUNCTION sent(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		IF line ~ 'Relations: Aggregate' THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END $$]);

my @each = ('count(*)', 'max(id)', map { my $c = $_; ("count($c)", $column{$c}{count} ? () : ("min($c)", "max($c)")) } @names);
# as one text, since a result has 1,664 columns at most
sub text_of { my ($where) = @_; return 'ROW(' . join(', ', map { $where ? "$_ FILTER (WHERE $where)" : $_ } @each) . ')::text'; }
my $everything = text_of();

# ---- each aggregate by itself, and all at once

is(query("SELECT sent('SELECT $everything FROM things')"), 't', 'all aggregates are sent');
my $unsent = "SELECT $everything FROM things WHERE id > 0 OR random() < 0";
is(query("SELECT sent('$unsent')"), 'f', 'what they are compared with is not sent');
is(query("SELECT $everything FROM things"), query("SELECT $everything FROM copy"), 'all aggregates at once');
is(query("SELECT $everything FROM things"), query($unsent), 'all aggregates at once, and over rows that were read');
is(query("SELECT $everything FROM things WHERE id < 0"), query("SELECT $everything FROM copy WHERE id < 0"), 'all aggregates of no rows');
for my $name (@compared)
{
	is(query("SELECT $everything FROM things WHERE $name IS NULL"), query("SELECT $everything FROM copy WHERE $name IS NULL"), "$name IS NULL");
	is(query("SELECT sent('SELECT count(*) FROM things WHERE $name IS NULL')"), 't', "$name IS NULL is sent");
}

# ---- random conditions, as constants and as parameters

sub literal { my ($type, $value) = @_; return !defined $value ? "NULL::$type" : $value =~ /^'/ ? "$value\::$type" : "'$value'::$type"; }

sub atom
{
	my $name = $compared[ rand @compared ];
	my $c = $column{$name};
	my $kind = rand;
	return ("$name IS NULL") if $kind < 0.08;
	return ("$name IS NOT NULL") if $kind < 0.16;
	my ($type, @pool) = ($c->{local}, @{ $c->{values} });
	if ($c->{more} && rand() < 0.4)
	{
		my @types = sort keys %{ $c->{more} };
		$type = $types[ rand @types ];
		@pool = @{ $c->{more}{$type} };
	}
	my $pick = sub { return rand() < 0.04 ? undef : $pool[ rand @pool ] };
	return ("$name = ANY (?)", [ "$type\[]", 'ARRAY[' . join(', ', map { literal($type, $pick->()) } 1 .. 1 + rand 4) . "]::$type\[]" ]) if $kind < 0.3;
	return ("$name " . (qw(= < <= > >=))[ rand 5 ] . ' ?', [ $type, literal($type, $pick->()) ]);
}

my (@plain, @asked);
for (1 .. $conditions)
{
	my (@constants, @where, @types, @values);
	for (0 .. rand 2)
	{
		my ($sql, $value) = atom();
		push @constants, $value ? $sql =~ s/\?/$value->[1]/r : $sql;
		push @types, $value->[0] and push @values, $value->[1] if $value;
		my $number = @types;
		push @where, $sql =~ s/\?/\$$number/r;
	}
	push @plain, join ' AND ', @constants;
	my ($types, $values) = map { @$_ ? '(' . join(', ', @$_) . ')' : '' } \@types, \@values;
	push @asked, "SELECT $everything FROM things WHERE $plain[-1];"
	  . "PREPARE q$types AS SELECT $everything FROM things WHERE " . join(' AND ', @where) . "; EXECUTE q$values; DEALLOCATE q;";
}
Contratos::Seed::note_cases(@asked);
my @got = split /\n/, query("SET plan_cache_mode = force_generic_plan;\n" . join "\n", @asked), -1;
is(scalar(@got), 2 * @plain, 'an answer to each query');
# one scan of all rows
my @here = split /\n/, query('SELECT unnest(ARRAY[' . join(', ', map { text_of($_) } @plain) . ']) FROM things'), -1;
is(query("SELECT sent('SELECT count(*) FILTER (WHERE flag) FROM things')"), 'f', 'a FILTER is not sent');
my @copied = split /\n/, query(join "\n", map { "SELECT $everything FROM copy WHERE $_;" } @plain), -1;
my @differ = grep { $got[ 2 * $_ ] ne $copied[$_] || $got[ 2 * $_ + 1 ] ne $copied[$_] || $here[$_] ne $copied[$_] } 0 .. $#plain;
is(scalar(@differ), 0, 'each of ' . @plain . ' conditions has the same aggregates from BigQuery, from rows that were read, and from a copy');
diag "$plain[$_]\n  constants:  $got[2 * $_]\n  parameters: $got[2 * $_ + 1]\n  read:       $here[$_]\n  copy:       $copied[$_]" for @differ[ 0 .. ($#differ > 4 ? 4 : $#differ) ];
my $sent = query('SELECT count(*) FROM (VALUES ' . join(', ', map { "(\$sql\$SELECT count(*) FROM things WHERE $_\$sql\$)" } @plain) . ') v(q) WHERE sent(q)');
cmp_ok($sent, '>', @plain / 3, "$sent of them are sent as constants");

$node->stop;
$emulator->stop;
done_testing();
