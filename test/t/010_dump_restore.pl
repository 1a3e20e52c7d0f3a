# A dump of a database with contratos in it can be restored, and nothing the
# user had made or changed is missing afterwards: in each format, by a
# superuser and by a role that may merely read everything.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

# Recent minor versions put a random key into plain dumps, unless told which.
my ($help) = run_command([ 'pg_dump', '--help' ]);
my @same_key = $help =~ /--restrict-key/ ? ('--restrict-key=contratos') : ();

my $folder = PostgreSQL::Test::Utils::tempdir;

# The cluster's superuser has the name of whoever runs this.
my $superuser = getpwuid($<);

$node->safe_psql('postgres', q{
	CREATE ROLE reader LOGIN;
	GRANT pg_read_all_data TO reader;
	CREATE ROLE loader LOGIN;
	CREATE DATABASE before;
});

# The extension lies in a schema that is not in search_path, and the user has
# changed what can be changed.
$node->safe_psql('before', q{
	CREATE SCHEMA "the House";
	CREATE EXTENSION contratos SCHEMA "the House";
	SELECT "the House".contratos_setup();
	CREATE SCHEMA data;

	ALTER TABLE "the House".tokens ADD COLUMN risk int DEFAULT 3;
	ALTER TABLE "the House".tokens ADD COLUMN block_length int GENERATED ALWAYS AS (length(block_hash)) STORED;
	CREATE INDEX tokens_symbol_idx ON "the House".tokens (symbol);
	CREATE FUNCTION data.shout() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN NEW.symbol := upper(NEW.symbol); RETURN NEW; END $$;
	CREATE TRIGGER shout BEFORE INSERT ON "the House".tokens FOR EACH ROW EXECUTE FUNCTION data.shout();
	COMMENT ON TABLE "the House".tokens IS 'ours';
	GRANT SELECT ON "the House".tokens TO loader;
	INSERT INTO "the House".tokens (address, symbol, decimals, total_supply, block_timestamp, block_number, block_hash)
	SELECT '0x' || i, E'a\tb' || chr(92) || i, i, repeat('9', 78)::numeric, '2026-11-18 23:59:59.999999+00'::timestamptz + i * interval '1 s', i, '0x' || i
	FROM generate_series(1, 100) i;

	ALTER SERVER bigquery OPTIONS (ADD project 'my-project');
	ALTER FOREIGN TABLE "the House".bigquery_tokens OPTIONS (ADD row_filter 'true');
	ALTER FOREIGN TABLE "the House".bigquery_tokens ALTER COLUMN symbol OPTIONS (ADD name 'symbol');
	CREATE USER MAPPING FOR loader SERVER bigquery OPTIONS (credentials_file '/nowhere/key.json');
	GRANT EXECUTE ON FUNCTION "the House".contratos_run(date, text, boolean, boolean) TO loader;

	CREATE TABLE data."Other" (LIKE "the House".tokens);
	INSERT INTO "the House".contratos_sources (name, remote_table, target_table, snapshot)
	VALUES ('other', '"the House".bigquery_tokens', 'data."Other"', true);
	UPDATE "the House".contratos_sources SET enabled = false WHERE name = 'tokens';

	INSERT INTO "the House".contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded, job_id)
	SELECT 'tokens', date '2026-11-01' + i, 'backfill', 'succeeded', '2026-11-19 08:00+00', '2026-11-19 08:01+00', i, 'job ' || i
	FROM generate_series(1, 5) i;
	INSERT INTO "the House".contratos_runs (source, day, cause, status, sqlstate, reason, error)
	VALUES ('tokens', '2026-11-18', 'manual', 'failed', '08006', 'backendError', E'line 1\nline 2');
	DELETE FROM "the House".contratos_runs WHERE job_id = 'job 5';
	INSERT INTO "the House".contratos_rejects
	SELECT id, 7, 'decimals', E'1\x7f8', 'not a number' FROM "the House".contratos_runs WHERE rows_loaded < 3;
});

sub dump_to
{
	my ($database, $role, $file, @options) = @_;
	return run_log([ 'pg_dump', '-d', $node->connstr($database), '-U', $role, '-f', $file, @options ]);
}

# What a superuser's pg_dump says of a database.
sub plain_dump
{
	my ($database) = @_;
	dump_to($database, $superuser, "$folder/look.sql", @same_key)
	  or BAIL_OUT("pg_dump of $database failed");
	return slurp_file("$folder/look.sql");
}

sub same_dump
{
	my ($got, $wanted, $name) = @_;
	return pass($name) if $got eq $wanted;
	append_to_file("$folder/got", $got);
	append_to_file("$folder/wanted", $wanted);
	my ($diff) = run_command([ 'diff', '-u', "$folder/wanted", "$folder/got" ]);
	diag($diff);
	return fail($name);
}

# Everything a dump has to bring, asked for by a query rather than by pg_dump.
my $state = q{
	SELECT count(*), sum(risk), min(block), max(symbol), sum(total_supply), sum(block_length) FROM "the House".tokens;
	SELECT name, remote_table, target_table, start_date, enabled FROM "the House".contratos_sources ORDER BY name;
	SELECT id, day, status, rows_loaded, error FROM "the House".contratos_runs ORDER BY id;
	SELECT run, row_number, raw_value FROM "the House".contratos_rejects ORDER BY run;
	SELECT last_value, is_called FROM "the House".contratos_runs_id_seq;
	SELECT tgname FROM pg_trigger WHERE tgrelid = '"the House".tokens'::regclass;
	SELECT srvoptions FROM pg_foreign_server;
	SELECT o FROM pg_foreign_table, unnest(ftoptions) o ORDER BY o;
	SELECT count(*) FROM pg_attribute WHERE attrelid = '"the House".bigquery_tokens'::regclass AND attfdwoptions IS NOT NULL;
	SELECT has_function_privilege('loader', '"the House".contratos_run(date, text, boolean, boolean)', 'EXECUTE'),
		has_function_privilege('loader', '"the House".contratos_setup()', 'EXECUTE');
	SELECT count(*) FROM pg_user_mappings WHERE usename = 'loader';
};
my $state_before = $node->safe_psql('before', $state);
like($state_before, qr/^100\|300\|2026-11-19 00:00:00\+00:00_0x1_1\|A\tB\\99\|/m, 'the database to be dumped has its rows');
like($state_before, qr/^6\|t$/m, 'the sequence of the database to be dumped is ahead of its rows');
my $dump_before = plain_dump('before');
like($dump_before, qr{OPTIONS \(\n\s+credentials_file '/nowhere/key.json'\n\)}, 'the mapping\'s option is dumped');

my %way = (
	'plain' => {
		dump => [],
		restore => sub { [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $_[0], '-f', $_[1] ] } },
	'plain in one transaction' => {
		dump => [],
		restore =>
		  sub { [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '--single-transaction', '-d', $_[0], '-f', $_[1] ] } },
	'custom with two jobs' => {
		dump => ['-Fc'],
		restore => sub { [ 'pg_restore', '--exit-on-error', '-j', '2', '-d', $_[0], $_[1] ] } },
	'custom in one transaction' => {
		dump => ['-Fc'],
		restore => sub { [ 'pg_restore', '--exit-on-error', '--single-transaction', '-d', $_[0], $_[1] ] } },
	'inserts' => {
		dump => ['--inserts'],
		restore => sub { [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $_[0], '-f', $_[1] ] } },
);

# PostgreSQL shows the options of user mappings to superusers and to the
# server's owner only.
sub without_mapping_options
{
	my ($dump) = @_;
	$dump =~ s/^(CREATE USER MAPPING FOR \S+ SERVER \S+) OPTIONS \(\n.*?\n\);/$1;/msg;
	return $dump;
}

my $number = 0;
foreach my $role ($superuser, 'reader')
{
	foreach my $way (sort keys %way)
	{
		my $by = $role eq 'reader' ? 'by a reader of all data' : 'by a superuser';
		my $database = 'after_' . ++$number;
		my $file = "$folder/$database";
		ok(dump_to('before', $role, $file, @{ $way{$way}{dump} }), "$way, $by: dumped");

		$node->safe_psql('postgres', "CREATE DATABASE $database");
		my ($stdout, $stderr, $exit) = ('', '');
		my $restored =
		  IPC::Run::run($way{$way}{restore}->($node->connstr($database), $file), '>', \$stdout, '2>', \$stderr);
		ok($restored, "$way, $by: restored");
		is($stderr, '', "$way, $by: the restore prints nothing");

		is($node->safe_psql($database, $state), $state_before, "$way, $by: everything is restored");
		my $wanted = $role eq 'reader' ? without_mapping_options($dump_before) : $dump_before;
		same_dump(plain_dump($database), $wanted, "$way, $by: the dump equals the original's");
	}
}

# A restored database is one to go on with.
is($node->safe_psql('after_1', q{INSERT INTO "the House".contratos_runs (source, day, cause, status)
	VALUES ('tokens', '2026-11-19', 'queue', 'queued') RETURNING id}),
	7, 'contratos_runs of a restored database goes on numbering');
is($node->safe_psql('after_1', q{SELECT "the House".contratos_setup()}), '',
	'contratos_setup() on a restored database has nothing to create');
is($node->safe_psql('after_1', $state) =~ s/^.*queued.*\n//mr =~ s/^7\|t$/6|t/mr,
	$state_before, 'contratos_setup() on a restored database changes nothing');

# DROP EXTENSION
my ($exit, $stdout, $stderr) = $node->psql('after_1', 'DROP EXTENSION contratos');
isnt($exit, 0, 'DROP EXTENSION alone stops at the user\'s server');
like($stderr, qr/server bigquery depends on foreign-data wrapper contratos/,
	'the error of DROP EXTENSION names the user\'s server');
unlike($stderr, qr/"the House"\.tokens/, 'the error of DROP EXTENSION does not name tokens');
$node->safe_psql('after_1', 'DROP EXTENSION contratos CASCADE');
is($node->safe_psql('after_1', 'SELECT count(*), max(block) FROM "the House".tokens'),
	'100|2026-11-19 00:01:39+00:00_0x100_100', 'tokens and its rows survive DROP EXTENSION');
is($node->safe_psql('after_1', q{INSERT INTO "the House".tokens (address, symbol, block_timestamp, block_number, block_hash)
	VALUES ('0x', 'new', '2026-11-20 00:00:00+00', 1, '0x') RETURNING symbol, block}),
	'NEW|2026-11-20 00:00:00+00:00_0x_1', 'tokens still works after DROP EXTENSION');

# ... and can be adopted by a new one
$node->safe_psql('after_1', q{CREATE EXTENSION contratos SCHEMA "the House"; SELECT "the House".contratos_setup()});
is($node->safe_psql('after_1', 'SELECT count(*) FROM "the House".tokens'), 101, 'a new extension adopts tokens again');

$node->stop;
done_testing();
