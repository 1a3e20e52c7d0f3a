# What is pushed loses no row: conditions over nasty values, each as BigQuery
# has judged it, as it is judged here when nothing is pushed, and as a local
# copy of the rows has it.  The conditions are random: CONTRATOS_SEED repeats a run,
# CONTRATOS_CONDITIONS makes it longer.

use strict;
use warnings;
use utf8;

use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Emulator;
use Contratos::Seed qw(rand shuffle);

my $conditions = $ENV{CONTRATOS_CONDITIONS} // 60;

my $emulator = Contratos::Emulator->new;
my $node = $emulator->node('pushdown', init => { extra => [ '--encoding=UTF8', '--no-locale' ] }, timezone => 'America/Sao_Paulo');

# SQL goes to psql as bytes
sub query
{
	my ($sql) = @_;
	utf8::encode($sql);
	return $node->safe_psql('postgres', $sql);
}

# ---- the columns: BigQuery's type, ours, values of it, and others to compare with

my @days = qw(0001-01-01 0001-01-02 1582-10-10 1899-12-31 1969-12-31 1970-01-01 2000-02-29 2018-11-04 2024-02-29 2024-03-01
	9999-12-30 9999-12-31);
my @clocks = (
	(map { "$_ 00:00:00" } @days),
	'1969-12-31 23:59:59.999999', '1970-01-01 00:00:00.000001', '2018-11-03 23:59:59.999999', '2018-11-04 02:59:59.999999',
	'2018-11-04 03:00:00', '2024-02-29 12:34:56.789', '9999-12-31 23:59:59.999999');
my @strings = ('', ' ', 'a', 'A', 'a ', ' a', 'aa', 'NULL', 'null', "it's", '"q"', 'back\\slash', '\\x61', "tab\tline\r\nfeed", '$1 @p1 %s',
	"\x{e9}", "e\x{301}", "\x{e9}e", 'ß', 'ss', 'İ', 'i', 'ı', "\x{1f468}\x{200d}\x{1f469}", "\x{10ffff}", "\x{feff}", "\x{a0}", 'x' x 5000,
	'2024-02-29', '1', 'true', '{a,b}', '`', "--", '/*');

my %column = (
	small => { remote => 'INTEGER', local => 'smallint', values => [ -32768, -1, 0, 1, 7, 32767 ],
		more => { integer => [ 40000, -40000, 7 ], bigint => [ '9223372036854775807', 1 ], numeric => [ '7.0', '7.5', "'NaN'" ] } },
	mid => { remote => 'INTEGER', local => 'integer', values => [ -2147483648, -1, 0, 1, 10, 2147483647 ],
		more => { smallint => [7], bigint => [ 5000000000, -5000000000, 10 ], numeric => [ 1e20, '10.00' ] } },
	n => { remote => 'INTEGER', local => 'bigint',
		values => [ '-9223372036854775808', '-9223372036854775807', -1, 0, 1, 2, 10, '9007199254740992', '9007199254740993', '9223372036854775807' ],
		more => { smallint => [2], integer => [ 10, -1 ], numeric => [ '9223372036854775808', '9007199254740993', '0.5', "'-Infinity'", "'NaN'" ] } },
	flag => { remote => 'BOOLEAN', local => 'boolean', values => [ 'true', 'false' ] },
	day => { remote => 'DATE', local => 'date', values => \@days,
		more => { date => [ 'infinity', '-infinity', '0001-12-31 BC', '10000-01-01', '2024-02-28' ], timestamp => [ @clocks, 'infinity', '2024-02-29 00:00:00.000001' ],
			timestamptz => [ '2024-02-29 00:00:00', '2018-11-04 00:00:00' ] } },
	at => { remote => 'TIMESTAMP', local => 'timestamptz', values => [ map { "$_+00" } @clocks ],
		more => { timestamptz => [ 'infinity', '-infinity', '0001-12-31 23:59:59.999999+00 BC', '10000-01-01 00:00:00+00' ],
			timestamp => [ '2018-11-04 00:00:00', '2018-11-04 00:30:00', '2018-02-17 23:30:00', 'infinity' ], date => [ '2018-11-04', '2024-02-29', 'infinity' ] } },
	clock => { remote => 'DATETIME', local => 'timestamp', values => \@clocks,
		more => { timestamp => [ 'infinity', '-infinity', '10000-01-01 00:00:00' ], date => [ '2018-11-04', '2024-02-29', '-infinity' ],
			timestamptz => [ '2018-11-04 03:00:00+00', '2024-02-29 12:34:56.789+00' ] } },
	amount => { remote => 'NUMERIC', local => 'numeric',
		values => [ '0', '1', '-1', '0.1', '0.10', '1.000000000', '0.000000001', '-0.000000001', '12345678901234567890.123456789',
			'9999999999999999999999999999.999999999', '-9999999999999999999999999999.999999999', '10000000000000000000000000000' ],
		more => { numeric => [ "'NaN'", "'Infinity'", "'-Infinity'", '1.0000000000000000', '0.0000000010000', '0.0000000001', '-0.0000000001', '1e29', '1e40' ],
			bigint => [ 1, 0 ] } },
	big => { remote => 'BIGNUMERIC', local => 'numeric', values => [ '0', '-1.5', '0.000000000000000001', '-99999999999999999999.999999999999999999', '12345678901234567890' ],
		more => { numeric => [ "'NaN'", '1e-39', '1e38', '0.0000000000000000010' ], integer => [0] } },
	s => { remote => 'STRING', local => 'text', values => \@strings, equality => 1, more => { varchar => [ 'a', 'ss' ] } },
	v => { remote => 'STRING', local => 'varchar', values => \@strings, equality => 1, more => { text => [ 'a ', "e\x{301}" ] } });
my @names = sort keys %column;

# ---- the table there, the foreign table, the copy

my $path = 'projects/test-project/datasets';
$emulator->request('POST', $path, { datasetReference => { projectId => 'test-project', datasetId => 'nasty' } }, may_fail => 1);

# A table in BigQuery, anew: fields as name => type, rows as hashes.
sub remote_table
{
	my ($table, $types, @rows) = @_;
	$emulator->request('DELETE', "$path/nasty/tables/$table", undef, may_fail => 1);
	$emulator->request(
		'POST',
		"$path/nasty/tables",
		{
			tableReference => { projectId => 'test-project', datasetId => 'nasty', tableId => $table },
			schema => { fields => [ map { { name => $_, type => $types->{$_} } } sort keys %$types ] }
		});
	my $answer = $emulator->request('POST', "$path/nasty/tables/$table/insertAll", { rows => [ map { { json => $_ } } @rows ] });
	is($answer->{insertErrors}, undef, "BigQuery has $table");
	return;
}

# Every value somewhere, next to ever other ones; some NULL.
my @rows;
for my $id (1 .. 90)
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
	push @rows, \%row;
}
remote_table('things', { id => 'INTEGER', map { $_ => $column{$_}{remote} } @names }, shuffle @rows);

my %googlesql = (INTEGER => 'INT64', BOOLEAN => 'BOOL');
sub declared { return join ', ', 'id bigint', map { "$_ $column{$_}{local} OPTIONS (type '@{[ $googlesql{$column{$_}{remote}} // $column{$_}{remote} ]}')" } @names; }
query(q(CREATE SERVER bigquery FOREIGN DATA WRAPPER contratos OPTIONS (project 'test-project', dataset_project 'test-project');)
	  . 'CREATE FOREIGN TABLE things (' . declared() . q[) SERVER bigquery OPTIONS ("table" 'nasty.things');]
	  . 'CREATE TABLE copy AS SELECT * FROM things');
is(query('SELECT count(*) FROM copy'), 90, 'a copy of the remote table has its rows');
for my $name (@names)
{
	my %distinct = map { $_ => 1 } @{ $column{$name}{values} };
	my $least = scalar(keys %distinct) - ($name eq 'amount' ? 2 : 0);    # 0.1 and 0.10, 1 and 1.000000000
	is(query("SELECT count(DISTINCT $name), count(*) > count($name) FROM copy"), "$least|t", "$name: each value, and NULL");
}

# The WHERE that EXPLAIN shows of a query.
query(q[
CREATE FUNCTION pushed(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE) ' || query LOOP
		IF line ~ 'GoogleSQL: ' THEN
			RETURN coalesce(substring(line FROM ' WHERE (.*)'), '-');
		END IF;
	END LOOP;
	RETURN 'no scan';
END $$;
CREATE FUNCTION plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (VERBOSE, FORMAT JSON) ' || query INTO plan;
	-- psql does not print every character
	RETURN encode(convert_to((plan->0->'Plan')::jsonb::text, 'UTF8'), 'hex');
END $$]);

sub quoted { my ($text) = @_; return "'" . $text =~ s/'/''/gr . "'"; }

# A value as an SQL literal of a type; what is quoted already stays so.
sub literal
{
	my ($type, $value) = @_;
	return 'NULL' unless defined $value;
	return "$value" if $type eq 'numeric' && $value =~ /^'/;
	return quoted($value);
}

# ---- everything that is to be pushed is pushed: constants and parameters

my (@script, @expected);
for my $name (@names)
{
	my $c = $column{$name};
	my ($value, $other) = (shuffle @{ $c->{values} })[ 0, 1 ];
	my ($one, $list) = (literal($c->{local}, $value) . "::$c->{local}", "'{}'::$c->{local}\[]");
	$list = 'ARRAY[' . join(', ', map { literal($c->{local}, $_) } $value, $other) . "]::$c->{local}\[]";
	my @operators = $c->{equality} ? ('=') : qw(= < <= > >=);
	for my $how ('constant', 'parameter')
	{
		my ($x, $xs) = $how eq 'constant' ? ($one, $list) : ('$1', '$2');
		my $prepared = "PREPARE q($c->{local}, $c->{local}\[]) AS SELECT id FROM things WHERE";
		for my $case (
			(map { [ "$name $_ $x", qr/^`$name` $_ \@p1$/ ] } @operators),
			[ "$name = ANY ($xs)", qr/^`$name` IN UNNEST\(\@p1\)$/ ],
			$c->{equality} ? () : [ "$name BETWEEN $x AND $x", qr/^`$name` >= \@p1 AND `$name` <= \@p2$/ ],
			[ "$name IS NULL", qr/^`$name` IS NULL$/ ],
			[ "$name IS NOT NULL", qr/^`$name` IS NOT NULL$/ ])
		{
			my ($where, $wanted) = @$case;
			# "flag = true" is "flag", and so on
			$wanted = qr/^`flag` (?:=|<|<=|>|>=) \@p1$/ if $name eq 'flag' && $where =~ /flag = [^A]/;
			push @expected, [ "$how: $name $where" =~ s/x{100,}/x…/gr, $wanted ];
			push @script, $how eq 'constant'
			  ? "SELECT pushed(\$sql\$SELECT id FROM things WHERE $where\$sql\$);"
			  : "$prepared $where; SELECT pushed(\$sql\$EXECUTE q($one, $list)\$sql\$); DEALLOCATE q;";
		}
	}
}
my @got = split /\n/, query("SET plan_cache_mode = force_generic_plan;\n" . join "\n", @script), -1;
is(scalar(@got), scalar(@expected), 'there is a plan for each condition');
my @wrong = grep { $got[$_] !~ $expected[$_][1] } 0 .. $#expected;
is(join("\n", map { "$expected[$_][0]: $got[$_]" } @wrong), '', 'all that is to be pushed is pushed: ' . @expected . ' conditions');

# ---- each operator with each value: what is true here is true there

# The WHERE of a plan and its parameters, as [type, value or values]; undef: none.
sub plan_of
{
	my ($plan) = @_;
	my ($where) = ($plan->{GoogleSQL} // '') =~ / WHERE (.*)/s or return undef;
	my %parameters;
	for my $key (grep { /^Parameter/ } keys %$plan)
	{
		my ($list, $type, $text) = $plan->{$key} =~ /^(ARRAY<)?(\w+)>? (.*)$/s or die $plan->{$key};
		$text =~ s/^\[(.*)\]$/$1/s if $list;
		my @values = $type ne 'STRING' ? split(/, /, $text) : map { unquoted($_) } $text =~ /(?:^|, ) ?(E?'(?:[^']|\'\')*')/g;
		$parameters{ $key =~ s/.*@//r } = [ $type, $list ? \@values : $values[0] ];
	}
	return [ $where, \%parameters ];
}

sub unquoted
{
	my ($text) = @_;
	my $escaped = $text =~ s/^E//;
	$text =~ s/^'(.*)'$/$1/s;
	$text =~ s/''/'/g;
	$text =~ s/\\\\/\\/g if $escaped;
	return $text;
}

sub typed
{
	my ($name, $type, $value) = @_;
	return { name => $name, parameterType => { type => $type }, parameterValue => { value => $value } } unless ref $value;
	return { name => $name, parameterType => { type => 'ARRAY', arrayType => { type => $type } }, parameterValue => { arrayValues => [ map { { value => $_ } } @$value ] } };
}

# For which rows the WHERE of each of some plans is true there: hashes by id.
sub judged_there
{
	my (@plans) = @_;
	my (@list, @parameters);
	for my $k (0 .. $#plans)
	{
		my ($where, $named) = @{ $plans[$k] };
		$where =~ s/\@(p\d+)/\@c${k}$1/g;
		push @list, "$where AS c$k";
		push @parameters, map { typed("c$k$_", @{ $named->{$_} }) } sort keys %$named;
	}
	my $answer = $emulator->request('POST', 'projects/test-project/queries',
		{ query => 'SELECT id, ' . join(', ', @list) . ' FROM `test-project.nasty.things`', useLegacySql => JSON::PP::false(), timeoutMs => 60000,
			parameterMode => 'NAMED', queryParameters => \@parameters });
	die 'not finished' unless $answer->{jobComplete};
	my @there = map { {} } @plans;
	for my $row (@{ $answer->{rows} })
	{
		my ($id, @flags) = map { $_->{v} } @{ $row->{f} };
		($flags[$_] // '') eq 'true' and $there[$_]{$id} = 1 for 0 .. $#flags;
	}
	return @there;
}

my @all;
for my $name (@names)
{
	my $c = $column{$name};
	my %pool = ($c->{local} => $c->{values}, %{ $c->{more} // {} });
	push @{ $pool{ $c->{local} } = [ @{ $c->{values} } ] }, @{ ($c->{more} // {})->{ $c->{local} } // [] };
	push @all, "$name IS NULL", "$name IS NOT NULL";
	for my $type (sort keys %pool)
	{
		for my $value (@{ $pool{$type} })
		{
			my $literal = literal($type, $value) . "::$type";
			push @all, map { "$name $_ $literal" } $c->{equality} ? ('=') : qw(= < <= > >=);
			push @all, "$literal > $name" unless $c->{equality};
		}
		for (1 .. 4)
		{
			my @some = (shuffle @{ $pool{$type} })[ 0 .. 1 + rand 2 ];
			push @all, "$name = ANY (ARRAY[" . join(', ', map { literal($type, $_) } @some) . "]::$type\[])";
		}
	}
}
push @all, 'flag', 'NOT flag', map { "flag IS $_" } 'TRUE', 'FALSE', 'UNKNOWN', 'NOT TRUE', 'NOT FALSE', 'NOT UNKNOWN';

my $decode = JSON::PP->new->utf8->allow_nonref;
my @plans = map { plan_of($decode->decode(pack 'H*', $_)) } split /\n/,
  query(join "\n", map { "SELECT plan(\$sql\$SELECT id FROM things WHERE $_\$sql\$);" } @all);
is(scalar(@plans), scalar(@all), 'a plan for each operator with each value');
my @local = split /\n/, query('SELECT unnest(ARRAY[' . join(', ', map { "coalesce(string_agg(id::text, ',') FILTER (WHERE $_), '')" } @all) . ']) FROM copy'), -1;
my (@lost, $judged);
while (my @chunk = splice @{ $judged //= [ grep { $plans[$_] } 0 .. $#all ] }, 0, 100)
{
	my @there = judged_there(map { $plans[$_] } @chunk);
	for my $k (0 .. $#chunk)
	{
		my @missing = grep { !$there[$k]{$_} } split /,/, $local[ $chunk[$k] ];
		push @lost, "$all[$chunk[$k]] loses @missing" if @missing;
	}
}
is(join("\n", @lost[ 0 .. ($#lost > 9 ? 9 : $#lost) ]) =~ s/x{100,}/x…/gr, '', 'no row is lost by any of ' . scalar(grep { $_ } @plans) . ' conditions pushed, of ' . @all);

# ---- random conditions

# One that compares a column with something, as a constant or a parameter of
# the condition: its SQL with ? for each value, and those as [type, literal].
sub atom
{
	my $name = $names[ rand @names ];
	my $c = $column{$name};
	my $kind = rand;
	return ("$name IS NULL") if $kind < 0.05;
	return ("$name IS NOT NULL") if $kind < 0.10;
	return (("flag", "NOT flag", "flag IS TRUE", "flag IS NOT TRUE", "flag IS FALSE", "flag IS UNKNOWN")[ rand 6 ]) if $name eq 'flag' && $kind < 0.5;
	my $type = $c->{local};
	my @pool = @{ $c->{values} };
	if ($c->{more} && rand() < 0.4)
	{
		my @types = sort keys %{ $c->{more} };
		$type = $types[ rand @types ];
		@pool = @{ $c->{more}{$type} };
	}
	my $pick = sub { return rand() < 0.04 ? undef : $pool[ rand @pool ] };
	if ($kind < 0.3)
	{
		my @list = map { $pick->() } 1 .. rand 6;
		return ("$name = ANY (?)", [ "$type\[]", "ARRAY[" . join(', ', map { literal($type, $_) } @list) . "]::$type\[]" ]);
	}
	return ("$name BETWEEN ? AND ?", map { [ $type, literal($type, $pick->()) . "::$type" ] } 1, 2) if $kind < 0.4 && !$c->{equality};
	my @operators = $c->{equality} ? ('=') : qw(= < <= > >=);
	my $op = $operators[ rand @operators ];
	my $sql = rand() < 0.2 ? "? $op $name" : "$name $op ?";
	return ($sql, [ $type, literal($type, $pick->()) . "::$type" ]);
}

# A few of them, ANDed; constants, or some of them parameters.
sub condition
{
	my (@where, @plain, @types, @arguments);
	my $prepared = rand() < 0.5;
	for (0 .. rand 3)
	{
		my ($sql, @values) = atom();
		my $plain = $sql;
		for my $value (@values)
		{
			$plain =~ s/\?/$value->[1]/;
			if ($prepared && rand() < 0.8)
			{
				push @types, $value->[0];
				push @arguments, $value->[1];
				my $n = @types;
				$sql =~ s/\?/\$$n/;
			}
			else { $sql =~ s/\?/$value->[1]/; }
		}
		push @where, $sql;
		push @plain, $plain;
	}
	return { where => join(' AND ', @where), plain => join(' AND ', @plain), types => \@types, arguments => \@arguments };
}

my $ids = q(coalesce(string_agg(id::text, ',' ORDER BY id), ''));
my @cases = map { condition() } 1 .. $conditions;
Contratos::Seed::note_cases(map { $_->{where} } @cases);

# as BigQuery has judged it, and it is checked here
my @asked = map {
	@{ $_->{types} }
	  ? sprintf('PREPARE q(%s) AS SELECT %s FROM things WHERE %s; EXECUTE q(%s); DEALLOCATE q;',
		join(', ', @{ $_->{types} }), $ids, $_->{where}, join(', ', @{ $_->{arguments} }))
	  : "SELECT $ids FROM things WHERE $_->{where};"
} @cases;
my @pushed = split /\n/, query("SET plan_cache_mode = force_generic_plan;\n" . join "\n", @asked), -1;
is(scalar(@pushed), scalar(@cases), 'conditions pushed, an answer to each');

# the same rows, all of them read and nothing pushed: one scan
sub all_at_once
{
	my ($from) = @_;
	my @answers;
	# a result has 1,664 columns at most
	push @answers, split /\n/, query('SELECT unnest(ARRAY[' . join(', ', map { "coalesce(string_agg(id::text, ',' ORDER BY id) FILTER (WHERE $_->{plain}), '')" } @cases) . "]) FROM $from"), -1;
	return @answers;
}
my @here = all_at_once('things');
my @copied = map { query("SELECT $ids FROM copy WHERE $_->{plain}") } @cases;
is(query(q(SELECT pushed('SELECT count(*) FILTER (WHERE n = 1) FROM things'))), '-', 'a FILTER is not pushed');

my @differ = grep { $pushed[$_] ne $here[$_] || $pushed[$_] ne $copied[$_] } 0 .. $#cases;
is(scalar(@differ), 0, "each of @{[ scalar @cases ]} conditions has the same rows pushed, not pushed, and in a local copy");
for (@differ[ 0 .. ($#differ > 4 ? 4 : $#differ) ])
{
	my $text = "$cases[$_]{plain}\n  pushed:     $pushed[$_]\n  not pushed: $here[$_]\n  copy:       $copied[$_]" =~ s/x{100,}/x…/gr;
	utf8::encode($text);
	diag $text;
}
my $some = grep { length } @pushed;
cmp_ok($some, '>', @cases / 5, "$some of them have rows");

my $sent = query('SELECT count(*) FROM (VALUES ' . join(', ', map { "(\$sql\$SELECT id FROM things WHERE $_->{plain}\$sql\$)" } @cases) . q[) v(q) WHERE pushed(q) NOT IN ('-', 'no scan')]);
cmp_ok($sent, '>', @cases / 2, "$sent of them are pushed");

# ---- what cannot be held here is NULL here, and something there

remote_table(
	'bad', { id => 'INTEGER', n => 'INTEGER', s => 'STRING' },
	{ id => 1, n => 40000, s => "a\0b" },
	{ id => 2, n => 7, s => 'ab' },
	{ id => 3 },
	{ id => 4, n => '-9223372036854775808', s => "\0" },
	{ id => 5, n => 0, s => '' });
query(q(CREATE FOREIGN TABLE bad (id bigint, n smallint OPTIONS (type 'INT64'), s text OPTIONS (type 'STRING'))
	SERVER bigquery OPTIONS ("table" 'nasty.bad', on_bad_value 'null')));
my @bad = ('n IS NULL', 'n IS NOT NULL', 'n = 7', 'n > 0', 'n < 0', 'n IN (0, 7)', q(s = 'ab'), q(s = ''), q(s IN ('ab', '')), 's IS NULL', 's IS NOT NULL', 'n IS NULL AND s IS NULL');
for my $where (@bad)
{
	is(query("SELECT $ids FROM bad WHERE $where"), query("SELECT $ids FROM (SELECT * FROM bad OFFSET 0) b WHERE $where"), "on_bad_value 'null': $where");
}
is(query(q(SELECT string_agg(id::text, ',' ORDER BY id) FROM bad WHERE n IS NULL)), '1,3,4',
	'on_bad_value \'null\': n is NULL in three rows');

# ---- a column that is not there what it is taken for

query(q(CREATE FOREIGN TABLE taken (id bigint, clock date) SERVER bigquery OPTIONS ("table" 'nasty.things')));
my ($code, $out, $err) = $node->psql('postgres', q(SELECT count(*) FROM taken WHERE clock = '2024-02-29'), extra_params => [ '-v', 'VERBOSITY=verbose' ]);
isnt($code, 0, 'a DATETIME column declared as date fails a query');
like($err, qr/ERROR:  42804: column "clock" of foreign table "taken" is of another type in BigQuery/, 'the error of a DATETIME column declared as date names the column');
query(q(ALTER FOREIGN TABLE taken ALTER COLUMN clock OPTIONS (ADD type 'DATETIME')));
like(query(q(SELECT pushed($$SELECT 1 FROM taken WHERE clock = '2024-02-29'$$))), qr/^-$/, 'a DATETIME column declared as date is not pushed');

$node->stop;
$emulator->stop;
done_testing();
