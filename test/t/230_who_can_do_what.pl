# The tables of SECURITY.md, "Who can do what": each cell is tried as that role, and what
# other tests hold is held by a test of that name.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Docs;
use Contratos::Fixture;
use Contratos::Session;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $f = Contratos::Fixture->new(conf => "shared_preload_libraries = 'contratos'\ncontratos.retries = 0");
my $bq = $f->bq;
my $key = $bq->key_file;
$f->day("2026-11-$_", 20) for 18 .. 20;

# ---- the roles, as the page describes them

$f->query(
	q(CREATE ROLE anybody LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE ROLE reader LOGIN; CREATE ROLE loader LOGIN;
	  CREATE ROLE querier LOGIN; CREATE ROLE owner LOGIN; CREATE ROLE registrar LOGIN; CREATE ROLE files LOGIN IN ROLE pg_read_server_files;
	  CREATE ROLE dbowner LOGIN; CREATE ROLE worker LOGIN; CREATE ROLE superuser LOGIN SUPERUSER;
	  SELECT contratos_setup();
	  ALTER DATABASE postgres OWNER TO dbowner;
	  GRANT SELECT ON tokens TO reader;
	  GRANT EXECUTE ON FUNCTION contratos_run, contratos_backfill, contratos_backfill_range, contratos_enqueue, contratos_cancel, contratos_accept,
		contratos_verify, contratos_estimate, contratos_check, contratos_mirror, contratos_setup TO loader;
	  GRANT EXECUTE ON PROCEDURE contratos_load TO loader;
	  GRANT USAGE ON FOREIGN SERVER bigquery TO querier; GRANT SELECT ON bigquery_tokens TO querier;
	  ALTER TABLE tokens OWNER TO owner; ALTER FOREIGN TABLE bigquery_tokens OWNER TO owner;
	  GRANT SELECT, INSERT, UPDATE, DELETE ON contratos_sources TO registrar;
	  GRANT USAGE ON FOREIGN SERVER bigquery TO files; GRANT USAGE ON FOREIGN DATA WRAPPER contratos TO files;
	  ALTER SYSTEM SET contratos.role = 'worker'; SELECT pg_reload_conf();
	  CREATE SCHEMA free; GRANT USAGE, CREATE ON SCHEMA free TO PUBLIC;
	  CREATE SCHEMA closed; GRANT USAGE ON SCHEMA closed TO PUBLIC;
	  CREATE FUNCTION closed.hook(text, date) RETURNS void LANGUAGE sql AS ''; REVOKE EXECUTE ON FUNCTION closed.hook FROM PUBLIC));
$f->query(qq(CREATE USER MAPPING FOR postgres SERVER bigquery OPTIONS (credentials_file '$key')));

# ---- a state in which each action has something to act on

is($f->query(q(SELECT status FROM contratos_run('2026-11-20'))), 'succeeded', 'a day is loaded before the roles try');
my $queued = $f->query(q(SELECT contratos_enqueue('2026-11-19', '2026-11-19'); SELECT max(id) FROM contratos_runs WHERE status = 'queued')) =~ s/.*\n//sr;
$f->query(
	qq(INSERT INTO contratos_rejects (run, row_number, column_name, raw_value, reason) VALUES ($queued, 1, 'symbol', 'x', 'y');
	   INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, sqlstate, error)
		VALUES ('tokens', '2026-11-18', 'manual', 'failed', now(), now(), '23514', E'message\\nDETAIL:  Failing row contains (secret)')));
my $other = Contratos::Session->new($f->node);
$other->query(q(SELECT 'of others'));
my $others = $other->pid;

# ---- what is tried; each in a transaction that is rolled back, but those that end with a ;

my $yesterday = q('2026-11-20', '2026-11-20');
my %try = (
	'load a day' => q(SELECT status FROM contratos_run('2026-11-20')),
	'load days, each in a transaction of its own' => "CALL contratos_load($yesterday, only_missing => false); SELECT 1;",
	'backfill days' => q(SELECT count(*) FROM contratos_backfill(1)),
	'queue days for the worker' => q(SELECT contratos_enqueue('2026-11-18', '2026-11-18')),
	'cancel what is queued' => "SELECT contratos_cancel($queued)",
	'accept a day as it is' => q(SELECT contratos_accept('2026-11-18', why => 'w')),
	'compare days with BigQuery' => "SELECT count(*) FROM contratos_verify($yesterday)",
	'estimate costs' => "SELECT count(*) FROM contratos_estimate($yesterday)",
	'check the setup' => q(SELECT count(*) FROM contratos_check()),
	'register a source by `contratos_mirror`' => q(SELECT count(*) FROM contratos_mirror('bigquery-public-data.crypto_ethereum.blocks', 'free.blocks')),
	'query BigQuery through the foreign table' => q(SELECT count(*) FROM bigquery_tokens WHERE block_timestamp >= '2026-11-20Z'),
	'query any table that the key may read' => q[CREATE FOREIGN TABLE free.any_table (address text, block_timestamp timestamptz) SERVER bigquery
		OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens'); SELECT count(*) FROM free.any_table WHERE block_timestamp >= '2026-11-20Z'],
	'raise the caps on bytes billed' => 'SET LOCAL contratos.max_bytes_billed = 0; SET LOCAL contratos.max_bytes_per_day = 0; SELECT 1',
	'read the loaded rows' => 'SELECT count(*) FROM tokens',
	'change the loaded rows' => 'DELETE FROM tokens; SELECT 1',
	'read states of days, problems and metrics' => 'SELECT count(*) FROM contratos_status, contratos_days, contratos_problems, contratos_metrics; SELECT count(*) FROM contratos_progress',
	'read the page' => 'SELECT length(contratos_page())',
	'read an error with values of rows' => q(SELECT error FROM contratos_runs WHERE error ~ 'secret'),
	'read values that could not be kept' => 'SELECT raw_value FROM contratos_rejects',
	'read the sources' => 'SELECT name FROM contratos_sources',
	'see what queries others run' => "SELECT true FROM pg_stat_activity WHERE pid = $others AND query ~ 'of others'",
	'see which credentials file is set' => 'SHOW contratos.credentials_file',
	"see the options of others' user mappings" => q(SELECT umoptions FROM pg_user_mappings WHERE umoptions IS NOT NULL),
	'read the key' => qq(CREATE TEMP TABLE k (l text); COPY k FROM '$key' CSV QUOTE E'\\x01' DELIMITER E'\\x02'; SELECT true FROM k WHERE l ~ 'PRIVATE KEY'),
	'name a credentials file' => q(CREATE USER MAPPING FOR CURRENT_USER SERVER bigquery OPTIONS (credentials_file '/some/file'); SELECT 1),
	"use the machine's service account" => q(CREATE USER MAPPING FOR CURRENT_USER SERVER bigquery OPTIONS (credentials_file 'metadata'); SELECT 1),
	'send requests elsewhere, by a setting' => q(SET LOCAL contratos.endpoint = 'https://elsewhere.example'; SELECT 1),
	'send requests elsewhere, by a server' => q(CREATE SERVER elsewhere FOREIGN DATA WRAPPER contratos OPTIONS (endpoint 'https://elsewhere.example'); SELECT 1),
	'make a server without a key' => 'CREATE SERVER keyless FOREIGN DATA WRAPPER contratos; SELECT 1',
	'change the billed project of the server' => q(ALTER SERVER bigquery OPTIONS (ADD project 'other-project'); SELECT 1),
	'change the row filter of the foreign table' => q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (ADD row_filter 'true'); SELECT 1),
	'change a source' => q(UPDATE contratos_sources SET max_shrink = 1; SELECT 1),
	'have a load call a function that the role may not call' => q(UPDATE contratos_sources SET after_load = 'closed.hook'; SELECT 1),
	'create a trigger on the loaded table' =>
	  'CREATE TRIGGER theirs BEFORE UPDATE ON tokens FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); SELECT 1',
	'create a trigger on the ledger' =>
	  'CREATE TRIGGER theirs BEFORE UPDATE ON contratos_runs FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); SELECT 1',
	'change the ledger' => 'DELETE FROM contratos_runs; SELECT 1',
	"put an operator into the extension's schema" => 'CREATE OPERATOR public.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq); SELECT 1',
	"replace a function of the extension" => q(CREATE OR REPLACE FUNCTION contratos_yesterday() RETURNS date LANGUAGE sql AS 'SELECT current_date'; SELECT 1),
	'update the extension' => q(ALTER EXTENSION contratos UPDATE; SELECT 1),
	'drop the extension' => 'DROP EXTENSION contratos CASCADE; SELECT 1',
	"drop the extension's schema, with all that is in it" => 'DROP SCHEMA public CASCADE; SELECT 1',
	"change the worker's databases, role or key" => q(ALTER SYSTEM SET contratos.role = 'worker'; SELECT 1;),
	"cancel others' statements" => "SELECT pg_cancel_backend($others)",
	'listen to notifications' => 'LISTEN contratos; SELECT 1',
	'send a notification that looks like one' => q(NOTIFY contratos, '{}'; SELECT 1),
);

# "yes", "nothing" where it succeeds and shows nothing, or the SQLSTATE.
sub tried
{
	my ($role, $what) = @_;
	my $sql = $try{$what};
	$sql = "BEGIN; $sql; ROLLBACK;" if $sql !~ /;$/;
	local $ENV{PGUSER} = $role;
	my ($code, $out, $err) = $f->psql($sql);
	return $err =~ /ERROR:  (\w{5}):/ ? $1 : "code $code: $err" if $code;
	return $out =~ /^(?:f?|NULL)$/ ? 'nothing' : 'yes';
}

my %word = (yes => 'yes', no => '42501', '-' => 'nothing');

# ---- the first table: roles

my $page = Contratos::Docs->new("$root/SECURITY.md");
my ($described, $actions, $elsewhere) = $page->tables('Who can do what');
my @roles = map { $_->{role} } @$described;
is(join(' ', sort @roles), join(' ', sort split /\n/, $f->query(q(SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'))),
	'each role of the page is tried, and no other');
is(join(' ', sort map { tr/`//dr } grep { $_ ne 'action' } keys %{ $actions->[0] }), join(' ', sort @roles), 'the table has a column for each role');
is(join("\n", sort map { $_->{action} } @$actions), join("\n", sort keys %try), 'the table has a row for each action');
foreach my $row (@$actions)
{
	foreach my $role (@roles)
	{
		my $cell = $row->{"`$role`"} // $row->{$role};
		is(tried($role, $row->{action}), $word{$cell} // "no such word: $cell", "$role: $row->{action}: $cell");
	}
}

# ---- the second table: what is held elsewhere, by tests that have these titles

cmp_ok(scalar @$elsewhere, '>', 20, 'the second table has rows');
foreach my $row (@$elsewhere)
{
	my $what = "$row->{who} tries to $row->{'tries to'}";
	my ($number, $title) = $row->{'held by'} =~ /^(\d{3}) "(.+)"$/;
	my ($file) = glob("$root/test/t/${number}_*.pl");
	ok(defined $file && index(slurp_file($file), $title) >= 0, "$what: $number has a test \"$title\"");
}

# ---- a lock that a load takes is not to be had by SQL

my $load = Contratos::Session->new($f->node);
$load->query(q(BEGIN; SELECT contratos_run('2026-11-20')));
my $locks = $f->query(q(SELECT format('pg_try_advisory_lock(%s, %s)', classid::bigint::int, objid::bigint::int) FROM pg_locks WHERE locktype = 'advisory' AND granted));
like($locks, qr/^pg_try/, 'a load holds an advisory lock');
my @all = map { "SELECT $_" } split /\n/, $locks;
is($f->query(join '; ', 'SET SESSION AUTHORIZATION anybody', @all), join("\n", ('t') x @all), "anybody's advisory locks are others than those of a load");
$load->query('ROLLBACK');
$_->quit for $load, $other;

# ---- what upstream writes stays data, and a backup has no key

my @evil = (q['); DROP TABLE tokens; --], '<script>alert(1)</script>', "\e]0;title\a", '$$; SELECT 1; $$', '%s%n', q(\\x00), "a\nERROR:  00000: forged");
$bq->table(undef, replace_day => '2026-11-20', rows => [ map { $f->row(address => "0x$_", symbol => $evil[$_], name => $evil[$_]) } 0 .. $#evil ]);
is($f->query(q(SELECT status, rows_loaded FROM contratos_run('2026-11-20', allow_shrink => true))), 'succeeded|' . @evil, 'rows that attackers have written upstream are loaded');
is($f->query(q(SELECT string_agg(encode(convert_to(symbol, 'UTF8'), 'hex'), ',' ORDER BY address) FROM tokens WHERE block_timestamp >= '2026-11-20Z')),
	join(',', map { unpack 'H*', $_ } @evil), 'symbols that attackers have written upstream are kept, byte for byte');
my ($dump, $error) = run_command([ 'pg_dumpall', '-h', $f->node->host, '-p', $f->node->port ]);
like($dump, qr/CREATE EXTENSION IF NOT EXISTS contratos/, 'a dump of the whole server has the extension') or diag($error);
unlike($dump, qr/PRIVATE KEY|ya29/, 'a dump of the whole server has neither key nor token');

$f->stop;
done_testing();
