# What days would cost, before they are loaded.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(standin => { csv => '' });
my $bq = $f->bq;
my ($mb, $gb) = (1 << 20, 1 << 30);

sub estimate { return $f->query("SELECT * FROM contratos_estimate($_[0])"); }

# ---- before anything else

like($f->fails(q(SELECT * FROM contratos_estimate('2026-11-20', '2026-11-20'))),
	qr/ERROR:  42704: source "tokens" does not exist\n.*contratos_setup\(\)/,
		'contratos_estimate() without a source is an error');
is($f->query(q(SELECT count(*) FROM pg_foreign_server)), 0, 'contratos_estimate() without a source creates nothing');
$f->query('SELECT contratos_setup()');

# ---- bytes and price

$f->day('2026-11-19', 40);
$bq->reset(tables => 0);
my ($bytes) = estimate(q('2026-11-19', '2026-11-19')) =~ /^2026-11-19\|(\d+)\|10485760\|0\.00005960$/;
ok($bytes, 'the estimate of a day is the minimum that is billed');
is($f->requests, '1 token, 1 insert', 'an estimate makes one request');
my ($asked) = $bq->requests('insert');
ok($asked->{body}{configuration}{dryRun}, 'an estimate is a dry run');
is(estimate(q('2026-11-18', '2026-11-19')), "2026-11-18|0|0|0.00000000\n2026-11-19|$bytes|10485760|0.00005960", 'an estimate has a row for each day');
is($f->query(q(SELECT count(*) FROM contratos_runs)), 0, 'an estimate writes nothing to the ledger');
$bq->reset(tables => 0);
is($f->query(q(SELECT rows_loaded FROM contratos_run('2026-11-19'))), 40, 'the day that was estimated is loaded');
my ($loaded) = $bq->requests('insert');
for my $field (qw(query queryParameters parameterMode))
{
	is_deeply($asked->{body}{configuration}{query}{$field}, $loaded->{body}{configuration}{query}{$field}, "the load has the estimate's $field");
}
is($f->query('SELECT bytes_processed, bytes_billed FROM contratos_runs'), "$bytes|10485760",
	'the load costs what was estimated');

# ---- what is billed

# A TiB and a byte, the cap being 1 GB.
sub cost { $bq->table(undef, bytes_processed => $_[0]); return estimate(q('2026-11-19', '2026-11-19')) =~ s/^2026-11-19\|//r; }

is(cost(10 * $mb + 1), join('|', 10 * $mb + 1, 11 * $mb, '0.00006557'), 'the estimate is rounded up to whole MB');
is(cost(1024 * $gb - 1), join('|', 1024 * $gb - 1, 1024 * $gb, '6.25000000'), 'the estimate of a TiB');
is(cost(2048 * $gb), join('|', 2048 * $gb, 2048 * $gb, '12.50000000'), 'the estimate of two TiB');
is($f->query(q(SELECT sum(price) FROM contratos_estimate('2026-11-18', '2026-11-19', price_per_tib => 5))), '20.00000000', 'the estimate at another price');
is($f->query(q(SELECT sum(price) FROM contratos_estimate('2026-11-18', '2026-11-19', 'tokens', 0))), '0.00000000', 'the estimate at a price of 0');
my $said = $f->messages(q(SELECT * FROM contratos_estimate('2026-11-18', '2026-11-19')));
like($said, qr/NOTICE:  00000: a load of 2026-11-18 would be refused\nDETAIL:  It would bill 2199023255552 bytes, and contratos\.max_bytes_billed allows 1073741824\./,
	'a day over the byte cap is reported');
is(() = $said =~ /would be refused/g, 1, 'a day over the byte cap is reported once');
like($f->messages(q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (ADD max_bytes_billed '20MB'); SELECT * FROM contratos_estimate('2026-11-19', '2026-11-19'))),
	qr/and option max_bytes_billed of foreign table "bigquery_tokens" allows 20971520/,
		'the report of a day over the byte cap names the option that sets it');

# ---- where it works

is($f->query(q(BEGIN READ ONLY; SELECT count(*) FROM contratos_estimate('2026-11-19', '2026-11-19'); COMMIT)), 1, 'contratos_estimate() works in a read-only transaction');
is($f->query(q(BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM contratos_estimate('2026-11-19', '2026-11-19'); COMMIT)), 1,
	'contratos_estimate() works at any isolation level');

# ---- bad arguments

my %wrong = (
	q('2026-11-20', '2026-11-19') => qr/ERROR:  22023: first must not be after last\nHINT:  contratos_estimate\(first, last\)/,
	q('2026-11-20', '2026-11-21') => qr/ERROR:  22023: day 2026-11-21 is not over yet/,
	q('-infinity', '2026-11-20') => qr/ERROR:  22023: day is out of range/,
	q(NULL, '2026-11-20') => qr/ERROR:  22004: argument "first" must not be null/,
	q('2026-11-20', NULL) => qr/ERROR:  22004: argument "last" must not be null/,
	q('2026-11-20', '2026-11-20', NULL) => qr/ERROR:  22004: argument "source" must not be null/,
	q('2026-11-20', '2026-11-20', 'tokens', NULL) => qr/ERROR:  22004: argument "price_per_tib" must not be null/,
	q('2026-11-20', '2026-11-20', 'tokens', -1) => qr/ERROR:  22023: price_per_tib must be between 0 and 1e\+09\nDETAIL:  It was -1\.$/m,
	q('2026-11-20', '2026-11-20', 'tokens', 'NaN') => qr/ERROR:  22023: price_per_tib must be between 0 and 1e\+09/,
	q('2026-11-20', '2026-11-20', 'blocks') => qr/ERROR:  42704: source "blocks" does not exist/,
);
like($f->fails("SELECT * FROM contratos_estimate($_)"), $wrong{$_}, "refused: $_") for sort keys %wrong;
$f->query(q(UPDATE contratos_sources SET timestamp_column = NULL, snapshot = true));
like($f->fails(q(SELECT * FROM contratos_estimate('2026-11-19', '2026-11-19'))), qr/22023: source "tokens" has only one day to load, 2026-11-20/,
	'refused: an older day of a full-table source');
$f->query(q(UPDATE contratos_sources SET timestamp_column = 'block_timestamp', snapshot = false));

# ---- BigQuery's errors, cancel, rights

$bq->drop_table(undef);
like($f->fails(q(SELECT * FROM contratos_estimate('2026-11-19', '2026-11-19'))), qr/ERROR:  42P01: BigQuery: Not found/, 'BigQuery\'s error ends contratos_estimate()');
$bq->reset;
my $stalled = $bq->rule({ kind => 'insert', nth => 2 }, { stall => 'before_headers' });
my $session = $f->begin(q(SELECT * FROM contratos_estimate('2026-11-01', '2026-11-20')));
$bq->wait(rule => $stalled, state => 'stalled');
$f->query(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT * FROM contratos_estimate%' AND pid <> pg_backend_pid()));
like(($f->finish($session))[2], qr/ERROR:  57014/, 'contratos_estimate() can be canceled');
like($f->fails(q(CREATE ROLE anna; SET ROLE anna; SELECT * FROM contratos_estimate('2026-11-19', '2026-11-19'))),
	qr/ERROR:  42501: permission denied for function contratos_estimate/,
		'contratos_estimate() is not granted to PUBLIC');

$f->stop;
done_testing();
