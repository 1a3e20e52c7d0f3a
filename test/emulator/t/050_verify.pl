# contratos_verify() against a BigQuery that runs its GoogleSQL for real: every
# day of the sample agrees once it is here, and one that is damaged does not.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Emulator;
use Contratos::Sample qw(sample_days sample_rows);

my $emulator = Contratos::Emulator->new;
$emulator->seed;

my $node = $emulator->node('verify');

sub query { return $node->safe_psql('postgres', "SET client_min_messages = warning; $_[0]"); }

# ---- the whole sample

my @days = sample_days();
my $all = "contratos_verify('$days[0]', '$days[-1]')";
query('SELECT contratos_setup()');
my %rows;
$rows{ substr $_->{block_timestamp}, 0, 10 }++ for sample_rows();
is(query("SELECT string_agg(day || ' ' || remote_rows, ', ' ORDER BY day) FROM $all WHERE remote_rows > 0"),
	join(', ', map { "$_ $rows{$_}" } @days), 'each day of the sample has its rows in the emulator');
is(query("SELECT bool_or(agrees) FROM $all WHERE remote_rows > 0"), 'f', 'days not loaded do not agree');
is(query("SELECT bool_and(agrees) FROM $all WHERE remote_rows = 0"), 't', 'days without rows agree');

# by hand: the ledger has nothing of it
query(q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (ADD on_bad_value 'null')));
query("INSERT INTO tokens (address, symbol, name, decimals, total_supply, block_timestamp, block_number, block_hash)
	SELECT * FROM bigquery_tokens WHERE block_timestamp >= '$days[0]Z'");
is(query("SELECT count(*) FILTER (WHERE remote_rows > 0), bool_and(agrees), bool_and(ledger_rows IS NULL) FROM $all"), @days . '|t|t', 'copied days agree');

# some of them, which is faster: of the fingerprint of all another test knows
my @some = ((grep { !($_ % 12) } 0 .. $#days), $#days);
my $array = join ',', map { "'$days[$_]'" } @some;
is( query(qq(SELECT count(*) FROM unnest(ARRAY[$array]::date[]) AS d, LATERAL contratos_backfill_range(d, d) WHERE status = 'succeeded')),
	scalar(@some), 'some days are loaded');
is(query("SELECT count(*) FROM $all WHERE NOT agrees"), 0, 'all days agree after loads');
is( query(qq(SELECT count(*), bool_and(remote_rows = target_rows AND remote_rows = ledger_rows AND remote_max = target_max
		AND remote_max = ledger_max AND agrees) FROM $all WHERE ledger_rows IS NOT NULL)),
	@some . '|t', 'loaded days agree in rows, latest timestamp and fingerprint');

# ---- one that is damaged

sub differing { return query("SELECT string_agg(day::text, ' ' ORDER BY day) FROM $all WHERE NOT agrees"); }

my $day = '2024-02-29';
query("DELETE FROM tokens WHERE ctid = (SELECT min(ctid) FROM tokens WHERE block_timestamp >= '${day}Z' AND block_timestamp < '2024-03-01Z')");
is(differing(), $day, 'a row deleted in the target differs');
query("SELECT contratos_run('$day')");
is(differing(), '', 'a row deleted in the target: the day agrees after a load');
$emulator->sql("UPDATE `bigquery-public-data.crypto_ethereum.tokens` SET symbol = CONCAT(IFNULL(symbol, ''), 'x') WHERE DATE(block_timestamp) = '$day'");
is(differing(), $day, 'other values in the emulator differ');
is(query("SELECT remote_rows = ledger_rows, remote_max = ledger_max, agrees FROM contratos_verify('$day', '$day')"),
	't|t|f', 'other values in the emulator differ by the fingerprint alone');

# ---- days of DATETIME and DATE, before and after 1970

my @project = ('test-project', 'main');
for my $case ([ 'moments', 'DATETIME', 'timestamp', ' 23:59:59.999999', ' 00:00:00' ], [ 'dates', 'DATE', 'date', '', '' ])
{
	my ($name, $remote, $local, @times) = @$case;
	# one that somebody else has started may have it already
	$emulator->request('DELETE', "projects/$project[0]/datasets/$project[1]/tables/$name", undef, may_fail => 1);
	$emulator->request('POST', "projects/$project[0]/datasets/$project[1]/tables",
		{
			tableReference => { projectId => $project[0], datasetId => $project[1], tableId => $name },
			schema => { fields => [ { name => 'at', type => $remote }, { name => 's', type => 'STRING' } ] }
		});
	$emulator->request('POST', "projects/$project[0]/datasets/$project[1]/tables/$name/insertAll",
		{ rows => [ map { { json => { at => $_, s => 'x' } } } "1969-12-30$times[0]", "1969-12-31$times[1]", "1969-12-31$times[0]", "1970-01-01$times[1]" ] });
	query(
		qq(CREATE FOREIGN TABLE bq_$name (at $local OPTIONS (type '$remote'), s text) SERVER bigquery OPTIONS ("table" '$project[0].$project[1].$name');
		   CREATE TABLE $name (at $local, s text);
		   INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column) VALUES ('$name', 'bq_$name', '$name', 'at');
		   SELECT contratos_backfill_range('1969-12-30', '1970-01-01', '$name')));
	is(query("SELECT string_agg(concat_ws(' ', remote_rows, target_rows, ledger_rows, agrees), ', ' ORDER BY day) FROM contratos_verify('1969-12-29', '1970-01-01', '$name')"),
		'0 0 t, 1 1 1 t, 2 2 2 t, 1 1 1 t', "days of $remote agree");
}

$node->stop;
$emulator->stop;
done_testing();
