# Rows of tokens that are not what they should be: a query of all columns of the built-in
# foreign table reads them, a load reports them, and conditions are sent as before.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

# the sample, which has decimals and supplies that are no numbers
my $f = Contratos::Fixture->new;
$f->query('SELECT contratos_setup()');
my $week = q(block_timestamp >= '2026-11-14Z' AND block_timestamp < '2026-11-21Z');

my ($rows, $decimals, $supplies) = split /\|/, $f->query("SELECT count(*), count(decimals), count(total_supply) FROM (SELECT * FROM bigquery_tokens WHERE $week OFFSET 0) t");
cmp_ok($rows, '>', 300, 'SELECT * FROM bigquery_tokens reads all rows of the week');
$f->query('SELECT contratos_backfill(7)');
is($f->query(q(SELECT count(*), count(decimals), count(total_supply) FROM tokens)), "$rows|$decimals|$supplies", 'the query gives what a load keeps');
is($f->query(q(SELECT string_agg(DISTINCT column_name, ' ' ORDER BY column_name) FROM contratos_rejects)), 'decimals total_supply', 'the load has reported them');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE values_altered > 0)) > 0, 1, 'the ledger counts them');

my $sent = sub { $f->query("EXPLAIN (VERBOSE, COSTS off) SELECT address FROM bigquery_tokens WHERE $week AND $_[0]") =~ /GoogleSQL: .* WHERE (.*)/ ? $1 : '' };
like($sent->(q(symbol = 'USDT')), qr/`symbol` = \@/, 'a condition on a text is sent');
unlike($sent->(q(decimals = 18)), qr/decimals/, 'a condition on a number that is text in BigQuery is not sent');

# ---- the option of a column against that of its table

$f->query(q(CREATE FOREIGN TABLE own (symbol text OPTIONS (on_bad_value 'null'), name text, decimals numeric OPTIONS (type 'STRING', on_bad_value 'error'), block_timestamp timestamptz)
	SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens', partition_column 'block_timestamp', on_bad_value 'null')));
like($f->fails("SELECT decimals FROM own WHERE $week"), qr/ERROR:  22P02: value of column "decimals" .*\n.*\nHINT:  Set the column's or the foreign table's option on_bad_value to 'null'/, 'a column with error in a table with null');
$f->query(q(ALTER FOREIGN TABLE own ALTER COLUMN decimals OPTIONS (DROP on_bad_value)));
is($f->query("SELECT count(*) FROM (SELECT decimals FROM own WHERE $week OFFSET 0) t"), $rows, 'a column without the option has that of its table');
$f->query(q(ALTER FOREIGN TABLE own OPTIONS (SET on_bad_value 'error')));
my $of = sub { $f->query("EXPLAIN (VERBOSE, COSTS off) SELECT name FROM own WHERE $week AND $_[0]") =~ /GoogleSQL: .* WHERE (.*)/ ? $1 : '' };
unlike($of->(q(symbol = 'x')), qr/`symbol` =/, 'a condition on a text column with null is not sent');
like($of->(q(name = 'x')), qr/`name` =/, 'a condition on a text column of a table with error is sent');
like($f->fails(q(ALTER FOREIGN TABLE own ALTER COLUMN name OPTIONS (ADD on_bad_value 'ignore'))), qr/ERROR:  22023: invalid value for option "on_bad_value"\nDETAIL:  It is 'error' or 'null'\./, 'a column: another value is refused');

$f->stop;
done_testing();
