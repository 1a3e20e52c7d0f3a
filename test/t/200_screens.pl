# What fits a terminal: psql prints the views and the functions' results as they come,
# aligned and without a pager, in at most 120 columns; \d tokens in at most 160.
use strict;
use warnings;

use Encode qw(decode);
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(conf => 'contratos.retries = 0');
my $bq = $f->bq;

# The lines that psql prints, by its defaults.
sub screen
{
	my ($sql) = @_;
	local $ENV{PAGER} = '';
	my ($out, $err) = PostgreSQL::Test::Utils::run_command([ 'psql', '-X', '-P', 'pager=off', '-d', $f->node->connstr('postgres'), '-c', $sql ]);
	note("$sql\n$out\n$err");
	return split /\n/, decode('UTF-8', $out);
}

sub fits
{
	my ($width, $name, @lines) = @_;
	my $widest = max(0, map { length } @lines);
	cmp_ok($widest, '<=', $width, "$name: at most $width columns") or diag(join "\n", @lines);
	return ok(@lines > 3, "$name: has rows");
}

# ---- values as they are in life: long names, an account, a failed day, microseconds

my $year = join ' ', map { sprintf '2026-11-%02d', $_ } 13 .. 20;
$f->day($_, 30) for split / /, $year;
$f->query(q(
	CREATE SCHEMA warehouse;
	CREATE TABLE warehouse.token_transfers (LIKE tokens);
	CREATE FOREIGN TABLE bigquery_token_transfers (block_timestamp timestamptz) SERVER bigquery
		OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.token_transfers');
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, start_date, enabled)
		VALUES ('token_transfers', 'bigquery_token_transfers', 'warehouse.token_transfers', 'block_timestamp', '2026-11-20', false);
	SELECT contratos_backfill(7)));
$f->query(q(UPDATE contratos_runs SET finished_at = '2026-11-21 06:00:00.123456+00', source_max_timestamp = source_max_timestamp + interval '1 microsecond',
	rows_loaded = 18345678, rows_replaced = 18345612, target_rows = 18345678));

fits(120, 'contratos_status', screen('SELECT * FROM contratos_status'));
fits(120, 'contratos_status under a time zone with minutes', screen(q(SET TimeZone = 'Asia/Kolkata'; SELECT * FROM contratos_status WHERE source = 'tokens')));

fits(120, 'contratos_version', screen('SELECT * FROM contratos_version()'));
fits(120, 'contratos_verify', screen(q(SELECT * FROM contratos_verify('2026-11-14', '2026-11-20'))));
fits(120, 'contratos_estimate', screen(q(SELECT * FROM contratos_estimate('2026-11-14', '2026-11-20'))));

# ---- a backfill, with a day that is refused and one that fails

$bq->delete_day(undef, '2026-11-16');
$f->query(q(CREATE FUNCTION lint() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF NEW.block_timestamp >= '2026-11-18Z' AND NEW.block_timestamp < '2026-11-19Z' THEN
		RAISE 'the row of contract % in block % was refused by the rules of the warehouse for the block chain', NEW.address, NEW.block_hash;
	END IF; RETURN NEW; END $$;
	CREATE TRIGGER lint BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION lint()));
my @backfill = screen('SELECT * FROM contratos_backfill(7, allow_shrink => true)');
fits(120, 'contratos_backfill', @backfill);
like("@backfill", qr/failed.*the row of contract/, 'contratos_backfill: the message is there, in lines');
$f->query(q(DELETE FROM contratos_runs WHERE day = '2026-11-18' AND status = 'succeeded'));
fits(120, 'contratos_status with a failed day', screen('SELECT * FROM contratos_status'));
fits(120, 'contratos_status with a failed day under a time zone with minutes', screen(q(SET TimeZone = 'Asia/Kolkata'; SELECT * FROM contratos_status)));
like($f->query(q(SELECT replace(last_error, E'\n', '') FROM contratos_status WHERE source = 'tokens')), qr/^2026-11-18: the row of contract \S+ in block \S+ was refused by the rules of the warehouse for the block chain$/,
	'contratos_status: last_error has the day, and the message whole');
fits(120, 'contratos_problems', screen('SELECT * FROM contratos_problems'));
$f->query(q(UPDATE contratos_sources SET enabled = true, start_date = '2026-10-01', catchup_days = 3));
my @problems = screen('SELECT * FROM contratos_problems');
fits(120, 'contratos_problems of several sources', @problems);
like("@problems", qr/token_transfers.*contratos_enqueue/, 'contratos_problems: a statement is there, in lines');
is($f->query(q(SELECT hint FROM contratos_problems WHERE source = 'token_transfers' AND problem = 'missing') . " \\gexec\nSELECT count(*) FROM contratos_runs WHERE source = 'token_transfers' AND cause = 'queue'"), "47\n47",
	'contratos_problems: a statement in lines can be run as it is');
$f->query(q(UPDATE contratos_sources SET enabled = false WHERE name <> 'tokens'; DELETE FROM contratos_runs WHERE status = 'queued'));

# ---- contratos_check(): as it is, with everything wrong, and the words whole

my @check = screen('SELECT * FROM contratos_check()');
fits(120, 'contratos_check', @check);
fits(120, 'contratos_check of all sources', screen('SELECT * FROM contratos_check(NULL)'));
fits(120, 'contratos_check without credentials', screen(q(SET contratos.credentials_file = '/etc/postgresql/keys/production/bigquery-service-account.json';
	SELECT * FROM contratos_check())));
fits(120, 'contratos_check of a source with a long name', screen(q(BEGIN; UPDATE contratos_sources SET name = 'ethereum_token_transfers' WHERE name = 'token_transfers';
	SET contratos.credentials_file = '/etc/postgresql/keys/production/bigquery-service-account.json'; SELECT * FROM contratos_check('ethereum_token_transfers'))));
my $statuses = q(SELECT string_agg(status, ' ' ORDER BY n) FROM (SELECT n, status, lag(status) OVER (ORDER BY n) AS before
	FROM contratos_check(%s) WITH ORDINALITY c(source, check_name, status, found, hint, n)) s WHERE status IS DISTINCT FROM before);
is($f->query(sprintf "SET contratos.credentials_file = '/nowhere/key.json'; $statuses", 'NULL'), 'ok skipped warning failed', 'contratos_check() has what fails last');
is($f->query(q(SELECT count(*) FILTER (WHERE hint IS NOT NULL), count(*) > 10 FROM contratos_check() WHERE status = 'ok')), '0|t', 'contratos_check() has no hint where it is ok');
$f->query(q(UPDATE contratos_sources SET enabled = false WHERE name = 'tokens'));
is($f->query(q(SELECT hint FROM contratos_check() WHERE check_name = 'enabled') . " \\gexec\nSELECT enabled FROM contratos_sources WHERE name = 'tokens'"),
	't', 'contratos_check(): a statement in lines can be run as it is');

done_testing();
