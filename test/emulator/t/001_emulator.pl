# The whole way, against a BigQuery that is not ours: the emulator runs our
# GoogleSQL for real, so it judges what the stand-in only recognises.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Emulator;
use Contratos::Sample qw(sample_days sample_file);

my $tokens = '`bigquery-public-data.crypto_ethereum.tokens`';
my $emulator = Contratos::Emulator->new;
$emulator->seed;

my $node = $emulator->node('emulator');

# What a statement fails with: its exit code and what it wrote about it.
sub fails
{
	my ($sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql, on_error_stop => 1);
	isnt($code, 0, "fails: $sql");
	return $err;
}

sub query { return $node->safe_psql('postgres', $_[0]); }

# A row for the emulator's table; only what matters is said.
sub row
{
	my (%args) = @_;
	return {
		address => '0xe',
		block_timestamp => '2025-01-02 12:00:00+00:00',
		block_number => '1',
		block_hash => '0xb',
		%args
	};
}

# ---- one day, and one that is empty

is( query(q(SELECT day, status, rows_loaded, rows_replaced FROM contratos_run('2024-02-29'))),
	'2024-02-29|succeeded|67|0',
	'contratos_run loads a day');
is( query(q(SELECT count(*), min(block_timestamp) AT TIME ZONE 'UTC', max(block_timestamp) AT TIME ZONE 'UTC' FROM tokens)),
	'67|2024-02-29 00:00:00|2024-02-29 23:59:59.999999',
	'contratos_run() loads the UTC day, and nothing else');
is( query(q(SELECT status, cause, rows_loaded, rows_inserted, pages FROM contratos_runs)),
	'succeeded|manual|67|67|1',
	'the ledger has the run');

my $before = query('SELECT count(*) FROM contratos_runs');
like(fails(q(\set VERBOSITY verbose
SELECT contratos_run('2024-06-01'))), qr/ERROR:  55000:/, 'an empty day is refused');
is(query('SELECT count(*) FROM contratos_runs'), $before, 'a refused empty day leaves nothing in the ledger');
is( query(q(SELECT day, status, rows_loaded FROM contratos_backfill_range('2024-03-07', '2024-03-08'))),
	"2024-03-07|succeeded|65\n2024-03-08|refused|",
	'an empty day is a refused row of a backfill');

# ---- the edges of a day, to the microsecond

$emulator->insert(
	row(address => 'before', block_timestamp => '2025-01-01 23:59:59.999999+00:00'),
	row(address => 'first', block_timestamp => '2025-01-02 00:00:00+00:00'),
	row(address => 'second', block_timestamp => '2025-01-02 00:00:00.000001+00:00'),
	row(address => 'last', block_timestamp => '2025-01-02 23:59:59.999999+00:00'),
	row(address => 'after', block_timestamp => '2025-01-03 00:00:00+00:00'));
query(q(SELECT contratos_run('2025-01-02')));
is( query(
		q(SELECT address, to_char(block_timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')
		  FROM tokens WHERE block_timestamp >= '2025-01-01Z' ORDER BY block_timestamp)),
	"first|2025-01-02 00:00:00.000000\nsecond|2025-01-02 00:00:00.000001\nlast|2025-01-02 23:59:59.999999",
	'a day is half-open, to the microsecond');

# ---- text that is out to break something

my @hostile = (
	"it's", '"quoted"', 'back\\slash', '\\N', '\\.', 'NULL', "tab\tline\r\nfeed\x0b\x0c\x08",
	"\x01\x1f\x7f\x{85}", "'; DROP TABLE tokens; --", '$$ $1 @day %s {0}', ',;|', '',
	" \x{a0}\x{3000} ", "e\x{301} \x{e9}", "\x{202e}rtl\x{200b}", "\x{1f468}\x{200d}\x{1f469}", "\x{10ffff}\x{fffd}\x{feff}",
	'</script>&amp;', '0x', 'x' x 100_000);
my $n = 0;
$emulator->insert(
	map { row(address => sprintf('h%02d', $n++), symbol => $_, name => $_, block_timestamp => '2025-02-01 12:00:00+00:00') }
	  @hostile);
is(query(q(SELECT rows_loaded FROM contratos_run('2025-02-01'))), scalar(@hostile), 'hostile text: every row');
my @hex = map { my $bytes = $_; utf8::encode($bytes); unpack 'H*', $bytes } @hostile;
is( query(q(SELECT encode(convert_to(symbol, 'UTF8'), 'hex') FROM tokens WHERE address ~ '^h\d\d$' ORDER BY address)),
	join("\n", @hex),
	'hostile text: every byte');
is(query(q(SELECT count(*) FROM tokens WHERE address ~ '^h\d\d$' AND name IS DISTINCT FROM symbol)), 0, 'hostile text: both columns have it');

$emulator->insert(row(address => 'nul', symbol => "a\0b", name => "\0", block_timestamp => '2025-02-02 12:00:00+00:00'));
is( query(q(SELECT status FROM contratos_run('2025-02-02'))), 'succeeded', 'U+0000 in a text does not fail the day');
is(query(q(SELECT symbol || '|' || name FROM tokens WHERE address = 'nul')), 'ab|', 'U+0000 is removed from a text');
is( query(q(SELECT values_altered, count(*), string_agg(column_name, ',' ORDER BY column_name)
			FROM contratos_runs r JOIN contratos_rejects j ON j.run = r.id WHERE day = '2025-02-02' GROUP BY 1)),
	'2|2|name,symbol',
	'U+0000 in a text is counted and a reject');

# ---- upstream replaces a day

$emulator->delete_day('2025-01-02');
$emulator->insert(row(address => 'new1'), row(address => 'new2'), row(address => 'new3'), row(address => 'new4'));
is( query(q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2025-01-02'))),
	'succeeded|4|3',
	'a day that upstream replaced is replaced');
is(query(q(SELECT string_agg(address, ',' ORDER BY address) FROM tokens WHERE block_timestamp >= '2025-01-02Z' AND block_timestamp < '2025-01-03Z')),
	'new1,new2,new3,new4', 'a replaced day has no old rows');
is( query(q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2025-01-02'))),
	'succeeded|4|4',
	'a day that is loaded again is replaced, not doubled');
$emulator->delete_day('2025-01-02');
$emulator->insert(row(address => 'alone'));
like(fails(q(\set VERBOSITY verbose
SELECT contratos_run('2025-01-02'))), qr/ERROR:  55000:/, 'a day that has shrunk too far is refused');
is( query(q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2025-01-02', allow_shrink => true))),
	'succeeded|1|4',
	'allow_shrink loads a day that has shrunk too far');

# ---- the whole sample, row by row

my $last = query('SELECT max(id) FROM contratos_runs');
my $array = join ',', map { "'$_'" } sample_days();
is( query(qq(SELECT status, count(*), sum(rows_loaded) FROM unnest(ARRAY[$array]::date[]) AS d,
			 LATERAL contratos_backfill_range(d, d) GROUP BY 1)),
	'succeeded|' . scalar(sample_days()) . '|912',
	'every day of the sample is loaded');
$node->safe_psql(
	'postgres', q(
CREATE TABLE sample (address text, symbol text, name text, decimals text, total_supply text,
	block_timestamp timestamptz, block_number bigint, block_hash text, origin text);
CREATE FUNCTION as_numeric(value text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	-- what numeric takes in PostgreSQL 15; what later versions read besides (0x, _) is none
	IF value ~* '^\s*([-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|nan|[-+]?inf(inity)?)\s*$' THEN
		RETURN value::numeric;
	END IF;
	RETURN NULL;
EXCEPTION WHEN data_exception THEN
	RETURN NULL;
END $$;));
$node->safe_psql('postgres', "\\copy sample FROM '" . sample_file() . "' (FORMAT csv, HEADER)");
# numeric as text: 1.5 and 1.50 are equal, but not the same
my $there = q(SELECT address, symbol, name, as_numeric(decimals)::text, as_numeric(total_supply)::text,
	block_timestamp, block_number, block_hash FROM sample);
my $here = q(SELECT address, symbol, name, decimals::text, total_supply::text,
	block_timestamp, block_number, block_hash FROM tokens WHERE block_timestamp < '2025-01-01Z');
is(query("SELECT count(*) FROM sample"), 912, 'the sample was read');
is(query("($there) EXCEPT ALL ($here)"), '', 'every row of the sample is in tokens unaltered');
is(query("($here) EXCEPT ALL ($there)"), '', 'tokens has no other rows');
is( query("SELECT sum(values_altered) FROM contratos_runs WHERE id > $last"),
	query(q(SELECT count(*) FILTER (WHERE decimals IS NOT NULL AND as_numeric(decimals) IS NULL)
		+ count(*) FILTER (WHERE total_supply IS NOT NULL AND as_numeric(total_supply) IS NULL) FROM sample)),
	'values that are not numbers are each counted');

# ---- the foreign table by itself

my $plan = query(q(EXPLAIN (VERBOSE) SELECT symbol FROM bigquery_tokens
	WHERE block_timestamp >= '2024-03-01Z' AND block_timestamp < '2024-03-02Z'));
like($plan, qr/Foreign Scan/, 'EXPLAIN: a foreign scan');
like($plan, qr/SELECT\b.*`symbol`.*\bFROM\b.*`bigquery-public-data\.crypto_ethereum\.tokens`/s, 'EXPLAIN (VERBOSE): the GoogleSQL');
like($plan, qr/`block_timestamp` *>= *\@/, 'EXPLAIN (VERBOSE): the condition has a parameter');
unlike($plan, qr/total_supply/, 'EXPLAIN (VERBOSE): only the columns used');
my ($theirs) = $emulator->sql(
	"SELECT COUNT(*), COUNT(symbol) FROM $tokens WHERE block_timestamp >= '2024-03-01' AND block_timestamp < '2024-03-02'");
is( query(q(SELECT count(*), count(symbol) FROM bigquery_tokens
			WHERE block_timestamp >= '2024-03-01Z' AND block_timestamp < '2024-03-02Z')),
	join('|', @$theirs),
	'a query returns what BigQuery has');
my $analyzed = query(q(EXPLAIN (ANALYZE) SELECT symbol FROM bigquery_tokens
	WHERE block_timestamp >= '2024-03-01Z' AND block_timestamp < '2024-03-02Z'));
like($analyzed, qr/\b[Jj]ob\b/, 'EXPLAIN (ANALYZE): the job');
like($analyzed, qr/\b[Pp]ages: 1\b/, 'EXPLAIN (ANALYZE): the pages');

$node->stop;
$emulator->stop;
done_testing();
