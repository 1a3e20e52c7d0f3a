# The fingerprint of a day: what the ledger has of a load equals what the
# emulator computes, from the extension's own query and from one that was
# written for this test, and what Perl computes.

use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);

use Contratos::Emulator;
use Contratos::Fingerprint qw(computed own_fingerprint own_query token_columns);
use Contratos::Sample qw(sample_columns sample_days);

my $tokens = '`bigquery-public-data.crypto_ethereum.tokens`';
my %plain = map { $_ => 1 } qw(block_timestamp block_number);

my $emulator = Contratos::Emulator->new;
$emulator->seed;

my $node = $emulator->node('fingerprint');

sub query { return $node->safe_psql('postgres', $_[0]); }

# Of all days: day → [count, µs of the largest timestamp, fingerprint], there.
sub days_there
{
	my @texts = map {
		my $text = $_ eq 'block_timestamp' ? "CAST(UNIX_MICROS($_) AS STRING)"
		  : $_ eq 'block_number' ? "CAST($_ AS STRING)" : $_;
		my $length = $plain{$_} ? "$text || ':'" : "CAST(BYTE_LENGTH($_) AS STRING) || ':' || $text";
		"CASE WHEN $_ IS NULL THEN '-' ELSE $length END"
	} sample_columns();
	my $row = join ' || ', @texts;
	my $half = q{CAST(SUM(CAST(CONCAT('0x', SUBSTR(h, %d, 8)) AS INT64)) AS STRING)};
	my $sql = "SELECT CAST(d AS STRING), COUNT(*), UNIX_MICROS(MAX(t)), "
	  . sprintf($half, 1) . " || ':' || " . sprintf($half, 9)
	  . " FROM (SELECT DATE(block_timestamp) AS d, block_timestamp AS t, TO_HEX(SHA256($row)) AS h FROM $tokens) "
	  . 'GROUP BY d';
	return map { $_->[0] => [ @$_[ 1 .. 3 ] ] } $emulator->sql($sql);
}

# The same of what the ledger has: each day's last run.
sub days_here
{
	my $rows = query(q(SELECT DISTINCT ON (day) day, rows_loaded,
			(extract(epoch FROM source_max_timestamp) * 1000000)::bigint, fingerprint
		FROM contratos_runs WHERE status = 'succeeded' ORDER BY day, id DESC));
	return map { my ($day, @rest) = split /\|/; $day => [@rest] } split /\n/, $rows;
}

# Rows as they were put in, as the wire has them.
sub cells
{
	return map { my $row = $_; [ map { $_ eq 'block_timestamp' ? $row->{micros} : $row->{$_} } sample_columns() ] } @_;
}

# By the extension's own query.
my $own_query = own_query('bigquery-public-data.crypto_ethereum.tokens', 'block_timestamp', [token_columns()], window => 1);

sub own_there
{
	my ($day) = @_;
	my ($row) = $emulator->sql($own_query, p1 => "$day 00:00:00+00:00", p2 => next_day($day) . ' 00:00:00+00:00');
	return $row;
}

sub day_text { my @t = gmtime $_[0]; return sprintf '%04d-%02d-%02d', $t[5] + 1900, $t[4] + 1, $t[3]; }

sub next_day
{
	my ($year, $month, $day) = split /-/, $_[0];
	return day_text(timegm(0, 0, 0, $day, $month - 1, $year) + 86_400);
}

# ---- the whole sample, by day

my $array = join ',', map { "'$_'" } sample_days();
is( query(qq(SELECT count(*) FROM unnest(ARRAY[$array]::date[]) AS d,
			 LATERAL contratos_backfill_range(d, d) WHERE status = 'succeeded')),
	scalar(sample_days()),
	'every day of the sample is loaded');
my %there = days_there();
my %here = days_here();
is(scalar(keys %here), scalar(sample_days()), 'every day has its line in the ledger');
is_deeply(\%here, \%there, 'count, largest timestamp and fingerprint of every day are what the emulator has');
isnt($here{'2024-02-29'}[2], '0:0', 'the fingerprints are not empty');
my %own = map { $_ => own_there($_) } sample_days();
is_deeply(\%here, \%own, 'the extension\'s own query gives the same in the emulator');

# ---- nasty days: what must differ, and what must not

my $noon = 12 * 3_600_000_000;
my $uint256 = '115792089237316195423570985008687907853269984665640564039457584007913129639935';
my $row = { address => '0xa', symbol => 'S', name => 'N', decimals => '18', total_supply => '1', block_number => '7',
	block_hash => '0xb' };

# A day is a list of rows; a row says what differs, `later` in microseconds.
my @nasty = (
	[ 'as it is' => {} ],
	[ 'NULL' => { symbol => undef } ],
	[ q(an empty text) => { symbol => '' } ],
	[ q(a text that looks like NULL's mark) => { symbol => '-' } ],
	[ 'NULL in the next column' => { name => undef } ],
	[ 'text moved over the border' => { symbol => 'SN', name => '' } ],
	[ 'and the other way' => { symbol => '', name => 'SN' } ],
	[ 'a forged length' => { symbol => 'S1:N', name => undef } ],
	[ 'a forged end' => { symbol => 'S1', name => ':N' } ],
	[ 'a forged NULL' => { symbol => 'S-', name => undef } ],
	[ 'a composed accent' => { symbol => "\x{e9}" } ],
	[ 'a decomposed one' => { symbol => "e\x{301}" } ],
	[ 'bidi' => { symbol => "\x{202e}abc\x{202c}\x{200f}" } ],
	[ 'beyond the BMP' => { symbol => "\x{1f468}\x{200d}\x{10ffff}\x{feff}" } ],
	[ 'control characters' => { symbol => "\x01\x08\t\n\x0b\x0c\r\x1f\x7f\x{85}", name => '\\"/' } ],
	[ 'U+0000' => { symbol => "a\0b", name => "\0" } ],
	[ 'without U+0000' => { symbol => 'ab', name => '' } ],
	[ '70 kB of text' => { name => "x\x{e9}" x 35_000 } ],
	[ '2^256-1' => { total_supply => $uint256, decimals => $uint256 } ],
	[ 'numbers that do not read back' => { decimals => '018', total_supply => ' 1e3' } ],
	[ 'the largest INT64' => { block_number => '9223372036854775807' } ],
	[ 'the smallest INT64' => { block_number => '-9223372036854775808' } ],
	[ 'a microsecond later' => { later => 1 } ],
	[ 'swapped columns' => { symbol => 'N', name => 'S' } ],
	[ 'twice' => {}, {} ],
	[ 'three times' => {}, {}, {} ],
	[ 'two in an order' => { address => '0x1' }, { address => '0x2' } ],
	[ 'two in the other' => { address => '0x2' }, { address => '0x1' } ],
	[ 'spaces at the end' => { symbol => 'S ' } ]);

# each case on a day of its own, as if it were the same: the timestamp counts
my $first = 1_714_521_600;    # 2024-05-01
my (%day_of, %rows_of);
for my $number (0 .. $#nasty)
{
	my ($name, @changes) = @{ $nasty[$number] };
	$day_of{$name} = day_text($first + $number * 86_400);
	for my $change (@changes)
	{
		my $later = $change->{later} // 0;
		push @{ $rows_of{$name} },
		  {
			%$row, %$change,
			micros => ($first + $number * 86_400) * 1_000_000 + $noon + $later,
			block_timestamp => sprintf('%s 12:00:00.%06d+00:00', $day_of{$name}, $later)
		  };
	}
}
$emulator->insert(map { @{ $rows_of{$_} } } sort keys %rows_of);
my ($from, $to) = @day_of{ $nasty[0][0], $nasty[-1][0] };
is( query("SELECT count(*) FROM contratos_backfill_range('$from', '$to') WHERE status = 'succeeded'"),
	scalar(@nasty), 'nasty days are loaded');
%there = days_there();
%here = days_here();
is_deeply($here{ $day_of{$_} }, $there{ $day_of{$_} }, "$_: equal in the emulator and in the ledger") for map { $_->[0] } @nasty;
is_deeply($here{ $day_of{$_} }, own_there($day_of{$_}), "$_: equal by the extension's query") for map { $_->[0] } @nasty;
is($here{ $day_of{$_} }[2], computed([token_columns()], cells(@{ $rows_of{$_} })), "$_: equal as Perl computes it")
  for map { $_->[0] } @nasty;

# Were they of one day, they would still differ: all but the order of rows.
my %seen;
for my $case (@nasty)
{
	my @same_day = map { { %$_, micros => ($_->{micros} - $noon) % 86_400_000_000 } } @{ $rows_of{ $case->[0] } };
	push @{ $seen{ computed([token_columns()], cells(@same_day)) } }, $case->[0];
}
is_deeply([ grep { @$_ > 1 } values %seen ], [ [ 'two in an order', 'two in the other' ] ], 'the order of rows does not change the fingerprint');

# ---- what does not depend on how the rows came

my $before = $here{'2024-02-29'}[2];
query(q(SET contratos.page_rows = 7; SELECT contratos_run('2024-02-29')));
is({ days_here() }->{'2024-02-29'}[2], $before, 'page sizes do not change the fingerprint');
is( query(q(SELECT target_rows, target_max_timestamp = source_max_timestamp FROM contratos_runs
		WHERE day = '2024-02-29' ORDER BY id DESC LIMIT 1)),
	'67|t', 'the ledger has the figures of the target');

# ---- an empty day

query(q(UPDATE contratos_sources SET allow_empty = true; SELECT contratos_run('2024-06-15')));
is( query(q(SELECT rows_loaded, source_max_timestamp IS NULL, fingerprint, target_rows, target_max_timestamp IS NULL
		FROM contratos_runs WHERE day = '2024-06-15')),
	'0|t|0:0|0|t', 'an empty day in the ledger has no rows, no timestamp and 0:0');

is_deeply(own_there('2024-06-15'), [ '0', undef, '0:0' ],
	'an empty day in the emulator has no rows, no timestamp and 0:0');

# ---- types that the tokens have not

my @project = ('test-project', 'main');
my @columns = qw(s:STRING i:INT64 t:TIMESTAMP d:DATE b:BOOL x:BYTES n:NUMERIC f:FLOAT64);
my %legacy = (INT64 => 'INTEGER', BOOL => 'BOOLEAN', FLOAT64 => 'FLOAT');
# one that somebody else has started may have it already
$emulator->request('DELETE', "projects/$project[0]/datasets/$project[1]/tables/types", undef, may_fail => 1);
$emulator->request('POST', "projects/$project[0]/datasets/$project[1]/tables",
	{
		tableReference => { projectId => $project[0], datasetId => $project[1], tableId => 'types' },
		schema => { fields => [ map { my ($name, $type) = split /:/; { name => $name, type => $legacy{$type} // $type } } @columns ] }
	});
$emulator->request('POST', "projects/$project[0]/datasets/$project[1]/tables/types/insertAll",
	{
		rows => [
			map { { json => $_ } } { s => 'x', i => '-1', t => '1969-12-31 23:59:59.999999+00:00', d => '0001-01-01', b => JSON::PP::true,
				x => '/wA=', n => '1.5', f => 0.1 },
			{ s => '', i => '0', t => '9999-12-31 23:59:59.999999+00:00', d => '9999-12-31', b => JSON::PP::false, x => '', n => '-12345678901234567890.000000001' },
			{ n => '100' }, { n => '0' }, {}, {}
		]
	});
my @rows = $emulator->sql('SELECT ' . join(', ', map { (split /:/)[0] } @columns) . ' FROM main.types');
my $own = own_fingerprint(\@columns, @rows);
is($own, computed(\@columns, @rows), 'C and Perl agree on the fingerprint of every covered type');
is_deeply([ $emulator->sql(own_query("$project[0].$project[1].types", 't', \@columns)) ],
	[ [ '6', '253402300799999999', $own ] ], 'the emulator agrees on the fingerprint of every covered type');
for my $column (@columns)
{
	my $alone = own_fingerprint([$column], map { [ $_ ] } map { my $i = $_; map { $_->[$i] } @rows } grep { $columns[$_] eq $column } 0 .. $#columns);
	is(($emulator->sql(own_query("$project[0].$project[1].types", undef, [$column])))[0][2], $alone,
		"$column alone has the same fingerprint");
}

$node->stop;
$emulator->stop;
done_testing();
