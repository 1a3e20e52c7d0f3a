# contratos_check(): the healthy case row by row, and each check made to fail on
# purpose.  The call itself never fails, goes on behind what is wrong, and its
# hints are the cure: statements in them are run here as they come.
use strict;
use warnings;

use JSON::PP ();
use POSIX qw(strftime);
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

# where no metadata server is
$ENV{GCE_METADATA_HOST} = '127.0.0.1:1';
my $f = Contratos::Fixture->new(conf => "contratos.request_timeout = '5s'");
my $bq = $f->bq;
my $dir = PostgreSQL::Test::Utils::tempdir;
my $shown = '';

my @server = qw(extension libraries preloaded database role worker settings housekeeping subscription publication);
my @source = qw(source enabled foreign_table target narrow_columns unfilled_columns credentials_file credentials endpoint clock token project jobs
  table columns location byte_cap budget writable replica_identity after_load on_failure index missing_days);

# The rows of a call, in their order; statements before it.
sub rows
{
	my ($argument, $before) = @_;
	my $out = $f->query(($before // '') . "; SELECT jsonb_agg(c) FROM contratos_check($argument) c");
	$shown .= $out;
	my @rows = @{ JSON::PP->new->decode((split /\n/, $out)[-1]) };
	# texts are in lines, for terminals
	foreach my $row (@rows)
	{
		$row->{$_} =~ tr/\n//d for grep { defined $row->{$_} } qw(found hint);
	}
	return @rows;
}

# Those of the built-in source, by name, and of the server.
sub checks { return { map { $_->{check_name} => $_ } rows(q('tokens'), $_[0]) }; }

# Names of the checks with that status.
sub having
{
	my ($checks, $status) = @_;
	return join ' ', grep { $checks->{$_}{status} eq $status } @server, @source;
}

sub says
{
	my ($check, $status, $found, $hint, $name) = @_;
	$name //= "$check->{check_name}: $check->{status}";
	is($check->{status}, $status, $name) or diag($check->{found});
	like($check->{found}, $found, "$name: found");
	return defined $hint ? like($check->{hint}, $hint, "$name: what to do") : is($check->{hint}, undef, "$name: nothing to do");
}

# ---- right after CREATE EXTENSION

my @rows = rows(q('tokens'));
# those of a status are in the order of the checks, and what is wrong comes last
my %at = map { $_->{check_name} => $_->{status} } @rows;
is_deeply([ map { "$_->{status} $_->{check_name}" } @rows ],
	[ map { my $status = $_; map { "$status $_" } grep { ($at{$_} // '') eq $status } @server, @source } qw(ok skipped warning failed) ],
	'contratos_check() has a row for each check, in order');
is(scalar(@rows), @server + @source, 'contratos_check() has no other rows');
is(join(' ', sort(map { $_->{check_name} } grep { !defined $_->{source} } @rows)), join(' ', sort @server), 'checks of the server have no source');
my $c = { map { $_->{check_name} => $_ } @rows };
says($c->{extension}, 'ok', qr/^version 1\.0, and the library's is the same$/);
says($c->{libraries}, 'ok', qr{^libcurl/\d[\w.-]*, OpenSSL \d[\w.]*, jansson \d[\d.]*$});
says($c->{preloaded}, 'warning', qr/no contratos: there is no worker/,
	qr/^In postgresql\.conf: shared_preload_libraries = 'contratos' and contratos\.databases = 'postgres'; then restart the server\.$/);
says($c->{database}, 'warning', qr/^contratos\.databases does not list postgres/, qr/contratos\.databases = 'postgres'; .*pg_reload_conf/);
says($c->{worker}, 'skipped', qr/not preloaded/);
says($c->{source}, 'warning', qr/nothing is set up yet; the first load or contratos_setup\(\) will do it/, qr/^SELECT contratos_setup\(\);$/);
says($c->{credentials_file}, 'ok', qr/key\.json can be read/);
says($c->{credentials}, 'ok', qr/^service_account \S+@\S+ of project test-project$/);
is(having($c, 'ok'), 'extension libraries role housekeeping subscription publication credentials_file credentials endpoint clock token project jobs table location budget',
	'before contratos_setup() the checks of the connection are ok');
is(having($c, 'failed'), '', 'before contratos_setup() no check fails');
is($f->query('SELECT (SELECT count(*) FROM pg_foreign_server), (SELECT count(*) FROM contratos_sources)'), '0|0', 'contratos_check() creates nothing');
# a second may begin between two looks at the clocks
$_->{found} =~ s/^(?:1 s (?:behind|ahead of) |the same as )(?=the endpoint's$)// for grep { $_->{check_name} eq 'clock' } @rows, my @all = rows('NULL');
is_deeply(\@all, \@rows, 'contratos_check(NULL) is that of the built-in source before contratos_setup()');
is($f->query(q(SELECT count(*) FROM contratos_check())), scalar(@rows),
	'contratos_check() without an argument is contratos_check(NULL)');

my $nowhere = sprintf q(SET contratos.endpoint = '%s'; SET contratos.ca_file = '%s'; SET contratos.credentials_file = ''), $bq->https_url, $bq->ca_file;
$c = checks($nowhere);
says($c->{credentials_file}, 'failed', qr/^no credentials for server "bigquery"/, qr/^Set contratos\.credentials_file/);
says($c->{endpoint}, 'ok', qr/^https:\S+ answers$/);
is(having($c, 'failed'), 'credentials_file', 'no credentials: one check fails');
says($c->{token}, 'skipped', qr/see credentials_file/);

@rows = rows(q('token'));
is(scalar(@rows), @server + 1, 'an unknown source: one row');
says($rows[-1], 'failed', qr/^source "token" does not exist$/, qr/contratos_setup\(\)/);
$f->query('CREATE SERVER bigquery FOREIGN DATA WRAPPER contratos OPTIONS (location $$EU$$)');
says(checks()->{location}, 'failed', qr/the table is in US, and its queries are sent to EU/, qr/contratos\.location/, 'location of a server before contratos_setup()');
$f->query('DROP SERVER bigquery');

# ---- set up and loaded

$f->query(q(SELECT contratos_setup(); SELECT contratos_run('2026-11-20')));
$c = checks();
is(having($c, 'ok'), join(' ', qw(extension libraries role housekeeping subscription publication), @source), 'after contratos_setup() all but the worker is ok');
says($c->{source}, 'ok', qr/^public\.bigquery_tokens into public\.tokens, by block_timestamp$/);
says($c->{enabled}, 'ok', qr/^due daily at 08:00 UTC, from 2026-11-20 on$/);
says($c->{foreign_table}, 'ok', qr/^public\.bigquery_tokens is BigQuery's bigquery-public-data\.crypto_ethereum\.tokens$/);
says($c->{target}, 'ok', qr/^public\.tokens takes the 8 columns/);
says($c->{clock}, 'ok', qr/endpoint's$/);
says($c->{project}, 'ok', qr/^test-project is billed$/);
says($c->{table}, 'ok', qr/tokens can be seen, a TABLE of 8 columns$/);
says($c->{columns}, 'ok', qr/^all 8 exist/);
says($c->{location}, 'ok', qr/^US$/);
says($c->{byte_cap}, 'ok', qr/^loading 2026-11-20 would bill 10 MB of at most 1024 MB$/);
says($c->{budget}, 'ok', qr/^10 MB billed today; there is no limit/);
says($c->{writable}, 'ok', qr/^by its owner, postgres$/);
says($c->{after_load}, 'ok', qr/^none$/);
says($c->{on_failure}, 'ok', qr/^none: nobody is told of a day that has failed$/);
says($c->{role}, 'ok', qr/^the bootstrap superuser, postgres$/);
says($c->{publication}, 'ok', qr/^none has contratos' own tables$/);
says($c->{replica_identity}, 'ok', qr/^not needed: no publication has its deletes$/);
says($c->{index}, 'ok', qr/^there is one on block_timestamp$/);
says($c->{missing_days}, 'ok', qr/^none from 2026-11-20 to 2026-11-20$/);
my $well = having($c, 'ok');

is(having(checks("BEGIN $_"), 'ok'), $well, "the checks are the same in a transaction: $_")
  for 'READ ONLY', 'ISOLATION LEVEL REPEATABLE READ', 'ISOLATION LEVEL SERIALIZABLE READ ONLY';
is($f->query(q(BEGIN; INSERT INTO tokens (address, block_timestamp, block_number, block_hash) VALUES ('mine', now(), 1, '');
	SELECT count(*) > 0 FROM contratos_check('nobody'); COMMIT; DELETE FROM tokens WHERE address = 'mine' RETURNING address)),
	"t\nmine", 'contratos_check() keeps what its transaction has done');
is($f->query(q(BEGIN; SELECT count(*) > 20 FROM contratos_check(); SELECT count(*) FROM pg_locks WHERE relation = 'tokens'::regclass)), "t\n0",
	'contratos_check() keeps no lock on the target');
$bq->reset(tables => 0);
checks();
is($f->requests, '1 projects_list, 1 token, 2 insert, 1 table_get',
	'contratos_check() makes one request of each kind, and two dry runs');
is(scalar($bq->jobs), 0, 'contratos_check() makes no job');

# ---- credentials

sub file_with
{
	my ($name, $text, $mode) = @_;
	open my $file, '>', "$dir/$name" or die "$dir/$name: $!";
	print $file $text;
	close $file;
	chmod $mode // 0600, "$dir/$name";
	return "SET contratos.credentials_file = '$dir/$name'";
}

$c = checks("SET contratos.credentials_file = '$dir/none.json'");
says($c->{credentials_file}, 'failed', qr/could not open credentials file ".*none\.json": No such file/, qr/on the machine that runs the server/);
is(having($c, 'failed'), 'credentials_file', 'no such file: the only row that failed');
is(having($c, 'skipped'), 'worker settings credentials token jobs table columns location byte_cap',
	'no such file: the checks that need it are skipped');

my $key = slurp_file($bq->key_file);
my $open = file_with('open.json', $key, 0644);
$c = checks($open);
says($c->{credentials_file}, 'failed', qr/is accessible to other users. Its mode is 0644\.$/, qr/^Run: (chmod 0600 '.*open\.json')$/);
my ($cure) = $c->{credentials_file}{hint} =~ /^Run: (.*)/;
is(system($cure), 0, 'a file with a wrong mode: the hint\'s command can be run');
is(having(checks($open), 'ok'), $well, 'a file with a wrong mode: the hint\'s command cures it');

$c = checks(file_with('garbage.json', 'garbage'));
says($c->{credentials}, 'failed', qr/garbage\.json" cannot be used/, qr/JSON/);
is($c->{credentials_file}{status}, 'ok', 'garbage in a file: credentials_file is ok');
$c = checks(file_with('type.json', '{"type": "toaster"}'));
says($c->{credentials}, 'failed', qr/type\.json" is of an unknown type/, qr/service_account/);
is(having($c, 'failed'), 'credentials', 'a file of an unknown type: no token is asked for');

$c = checks("SET contratos.credentials_file = '" . $bq->unknown_key_file . q('));
says($c->{token}, 'failed', qr/^the token endpoint refused the credentials: invalid_grant/, qr/clock is right/);
is(having($c, 'failed'), 'token', 'an unknown key: only the token fails');
is(having($c, 'skipped'), 'worker settings jobs table columns location byte_cap',
	'an unknown key: checks that need a token are skipped');

# other kinds
$c = checks("SET contratos.credentials_file = '" . $bq->user_file . q('));
says($c->{credentials}, 'ok', qr/^authorized_user\b/);
is(having($c, 'ok'), $well, "a user's credentials: all is ok");
$c = checks(q(SET contratos.credentials_file = 'metadata'));
says($c->{credentials_file}, 'ok', qr/^none: tokens come from the metadata server of this machine$/);
says($c->{credentials}, 'ok', qr/^metadata$/);
says($c->{token}, 'failed', qr/./, qr/Only machines of Google Cloud have a metadata server/);
is(having($c, 'failed'), 'token', 'no metadata server: only the token fails');

# an emulator
my $anonymous = Contratos::Standin->start(anonymous => 1, dense_ends => '2026-11-20');
$c = checks(sprintf q(SET contratos.credentials_file = ''; SET contratos.endpoint = '%s'), $anonymous->url);
says($c->{credentials_file}, 'ok', qr/^none, and http:\S+ needs none$/);
says($c->{token}, 'skipped', qr/^none is needed$/);
is(having($c, 'ok'), $well =~ s/ (?:credentials|token)\b//gr, 'an endpoint without credentials: all else is ok');
$anonymous->stop;

# ---- the endpoint, and its clock

$c = checks(q(SET contratos.endpoint = 'http://127.0.0.1:1'));
says($c->{endpoint}, 'failed', qr/could not connect to "127\.0\.0\.1" port 1/, qr/./);
is(having($c, 'failed'), 'endpoint', 'an endpoint that is down: only the endpoint fails');
is(having($c, 'skipped'), 'worker settings clock jobs table columns location byte_cap',
	'an endpoint that is down: checks that need it are skipped');
says(checks(qq(SET contratos.request_timeout = '500ms'; SET contratos.endpoint = '@{[ $bq->mute_url ]}'))->{endpoint},
	'failed', qr/./, qr/./, 'an endpoint that never answers');
says(checks(q(SET contratos.endpoint = 'https://127.0.0.1:1'; ALTER SERVER bigquery OPTIONS (ADD endpoint 'https://127.0.0.1:2')))->{endpoint},
	'failed', qr/port 2/, qr/./, "endpoint as the server's option");
$f->query('ALTER SERVER bigquery OPTIONS (DROP endpoint)');

my $everywhere = { kind => 'projects_list' };
sub answering { $bq->rule($everywhere, $_[0]); return checks(); }
sub date { return { headers => { Date => strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + $_[0])) } }; }
says(answering({ status => 503, message => 'down' })->{endpoint}, 'warning', qr/HTTP status 503/, qr/try again later/);
says(answering({ redirect => 'https://elsewhere' })->{endpoint}, 'failed', qr/HTTP status 302/, qr/contratos\.endpoint/);
says(answering(date(-20))->{clock}, 'ok', qr/^\d\d s ahead of the endpoint's$/);
says(answering(date(-60))->{clock}, 'warning', qr/^(?:59|6\d) s ahead of the endpoint's$/, qr/NTP/);
says(answering(date(60))->{clock}, 'warning', qr/^(?:5\d|60) s behind the endpoint's$/, qr/NTP/);
$c = answering(date(-1000));
says($c->{clock}, 'failed', qr/^10\d\d s ahead of the endpoint's: tokens will be refused$/, qr/NTP/);
is(having($c, 'failed'), 'clock', 'a clock that is off: only the clock fails');
says(answering({ headers => { Date => 'tomorrow' } })->{clock}, 'skipped', qr/does not report its time/);

# ---- rights there

$bq->project('poor', billed => 0);
$c = checks(q(SET contratos.project = 'poor'));
says($c->{jobs}, 'failed', qr/bigquery\.jobs\.create/, qr{roles/bigquery\.jobUser});
is(having($c, 'failed'), 'jobs byte_cap', 'a project without jobs: jobs and byte_cap fail');
is($c->{columns}{status}, 'ok', 'a project without jobs: columns is ok');
$bq->rule({ kind => 'table_get' }, { status => 403, reason => 'accessDenied', message => 'Access Denied: Table tokens' });
$c = checks();
says($c->{table}, 'failed', qr/Access Denied: Table tokens/, qr{roles/bigquery\.dataViewer});
is(having($c, 'failed') . '|' . having($c, 'skipped'), 'table|worker settings columns location byte_cap', 'a table without access: only the table fails');

# ---- BigQuery's table

$bq->alter(undef, drop => ['symbol']);
$c = checks();
says($c->{columns}, 'failed', qr/^column "symbol" of foreign table public\.bigquery_tokens is gone from BigQuery/,
	qr/^ALTER FOREIGN TABLE public\.bigquery_tokens DROP COLUMN symbol;/);
like($c->{byte_cap}{found}, qr/^column "symbol" .* is gone/, 'a column that is gone: byte_cap has the same error');
is($c->{writable}{status}, 'ok', 'a column that is gone: writable is ok');
$bq->alter(undef, drop => ['name']);
like(checks()->{columns}{found}, qr/And 1 more columns do not fit\.$/, 'two columns that are gone are counted');
$bq->reset;
$bq->alter(undef, change => { block_number => 'STRING' });
says(checks()->{columns}, 'failed', qr/^column "block_number" of .* is of another type in BigQuery. Its type in BigQuery is STRING/, qr/^ALTER FOREIGN TABLE/);
$bq->reset;
$bq->alter(undef, add => [ { name => 'tag', type => 'STRING' } ], change => { block_hash => { mode => 'NULLABLE' } });
$c = checks();
says($c->{columns}, 'warning', qr/tag \(STRING\) is new in BigQuery/, qr/ADD COLUMN tag text OPTIONS \(type 'STRING'\); ALTER TABLE public\.tokens ADD COLUMN IF NOT EXISTS tag text;/);
like($c->{columns}{found}, qr/block_hash may be NULL in BigQuery/, 'a column that becomes NULLABLE is reported');
is(having($c, 'failed'), '', 'new columns: no check fails');
$bq->reset;
$bq->drop_table;
$c = checks();
says($c->{table}, 'failed', qr/Not found: Table/, qr/names?\b.*case-sensitive/);
is(having($c, 'failed'), 'table', 'a table that is gone: only the table fails');
$bq->reset;

$c = checks(q(SET contratos.location = 'EU'));
says($c->{location}, 'failed', qr/the table is in US, and its queries are sent to EU/, qr/^(ALTER SERVER bigquery OPTIONS \(ADD location 'US'\);)$/);
is(having($c, 'failed'), 'location byte_cap', 'the wrong location: location and byte_cap fail');
$f->query($c->{location}{hint});
is(having(checks(q(SET contratos.location = 'EU')), 'ok'), $well, 'the wrong location: the hint cures it');
$f->query(q(ALTER SERVER bigquery OPTIONS (SET location 'EU')));
like(checks()->{location}{hint}, qr/\(SET location 'US'\)/,
	'the wrong location: the hint is SET where the option exists');
$f->query('ALTER SERVER bigquery OPTIONS (DROP location)');

# ---- what it costs

$bq->table(undef, append => JSON::PP::true, bytes_processed => 5 * 1024**3 + 1);
$c = checks();
says($c->{byte_cap}, 'failed', qr/^loading 2026-11-20 would bill 5121 MB, but 1024 MB are allowed$/, qr/^Raise contratos\.max_bytes_billed to at least '5121MB'\.$/);
is(having($c, 'failed'), 'byte_cap', 'a load over the byte cap: only byte_cap fails');
is(checks(q(SET contratos.max_bytes_billed = '5121MB'))->{byte_cap}{status}, 'ok',
	'a load over the byte cap: the hint is enough');
like(checks(q(SET contratos.max_bytes_billed = 0))->{byte_cap}{found}, qr/there is no cap/,
	'a byte cap of 0 is no cap');
$f->query(q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (ADD max_bytes_billed '100MB')));
like(checks()->{byte_cap}{hint}, qr/option max_bytes_billed of foreign table "bigquery_tokens"/, 'a load over the byte cap: the smallest cap is named');
$f->query(q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (DROP max_bytes_billed)));
$bq->reset;
says(checks(q(SET contratos.max_bytes_per_day = '10MB'))->{budget}, 'failed', qr/^10 MB billed today, and 10 MB are allowed: used up$/, qr/contratos\.max_bytes_per_day/);
says(checks(q(SET contratos.max_bytes_per_day = '19MB'))->{budget}, 'warning', qr/of 19 MB: not enough left for another load of 10 MB/, qr/contratos\.max_bytes_per_day/);
says(checks(q(SET contratos.max_bytes_per_day = '20MB'))->{budget}, 'ok', qr/^10 MB billed today of 20 MB$/);

# ---- the source and its tables

$f->query('UPDATE contratos_sources SET enabled = false');
$c = checks();
says($c->{enabled}, 'warning', qr/^disabled/, qr/^UPDATE contratos_sources SET enabled = true/);
$f->query($c->{enabled}{hint});
is(having(checks(), 'ok'), $well, 'a disabled source: the hint enables it');
like($f->query(q(SET search_path = pg_catalog; UPDATE public.contratos_sources SET enabled = false;
	SELECT hint FROM public.contratos_check() WHERE check_name = 'enabled')), qr/^UPDATE public\.contratos_sources/, 'a disabled source: the hint has the schema where it is needed');
$f->query('UPDATE contratos_sources SET enabled = true');

$f->query('ALTER TABLE tokens RENAME TO other');
$c = checks();
says($c->{target}, 'failed', qr/relation "public\.tokens" does not exist/, qr/target_table in contratos_sources/);
is(having($c, 'failed') . '|' . having($c, 'skipped'), 'target|worker settings narrow_columns unfilled_columns columns byte_cap writable replica_identity after_load on_failure index', 'no target: only the target fails');
$f->query('ALTER TABLE other RENAME TO tokens; ALTER FOREIGN TABLE bigquery_tokens RENAME TO other');
$c = checks();
says($c->{foreign_table}, 'failed', qr/relation "public\.bigquery_tokens" does not exist/, qr/remote_table in contratos_sources/);
is(having($c, 'failed'), 'foreign_table', 'no foreign table: only the foreign table fails');
says($c->{missing_days}, 'ok', qr/none/);
$f->query('ALTER FOREIGN TABLE other RENAME TO bigquery_tokens; ALTER TABLE tokens RENAME COLUMN name TO title');
says(checks()->{target}, 'failed', qr/table public\.tokens has no column "name"/, qr/Add the column/);
$f->query('ALTER TABLE tokens RENAME COLUMN title TO name');

# ---- rights here

$f->query('CREATE ROLE loader; ALTER TABLE tokens OWNER TO loader');
$c = checks();
says($c->{target}, 'failed', qr/permission denied for foreign table public\.bigquery_tokens/, qr/^GRANT SELECT ON public\.bigquery_tokens TO loader;$/);
$f->query($c->{target}{hint});
$c = checks();
says($c->{writable}, 'ok', qr/^by its owner, loader$/);
$f->query('REVOKE INSERT, DELETE ON tokens FROM loader');
$c = checks();
says($c->{writable}, 'failed', qr/^role loader, which owns public\.tokens and loads it, lacks privileges/, qr/^GRANT SELECT, INSERT, DELETE ON public\.tokens TO loader;$/);
is(having($c, 'failed'), 'writable', 'rights that are missing: only writable fails');
$f->query($c->{writable}{hint} . 'REVOKE USAGE ON SCHEMA public FROM public');
$c = checks();
says($c->{writable}, 'failed', qr/lacks privileges/, qr/^GRANT USAGE ON SCHEMA public TO loader;$/);
$f->query("$c->{writable}{hint}; ALTER TABLE tokens ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY");
$c = checks();
says($c->{writable}, 'failed', qr/^row-level security may hide rows of public\.tokens from its owner, loader$/, qr/^ALTER TABLE public\.tokens NO FORCE ROW LEVEL SECURITY;$/);
$f->query($c->{writable}{hint});
is(checks()->{writable}{status}, 'ok', 'forced row-level security: the hint cures it');
$f->query('CREATE TABLE kept (LIKE tokens); CREATE RULE keep AS ON DELETE TO tokens DO ALSO INSERT INTO kept VALUES (OLD.*); ALTER TABLE kept OWNER TO postgres;
	CREATE ROLE stranger; ALTER TABLE tokens OWNER TO stranger; GRANT SELECT ON bigquery_tokens TO stranger; GRANT USAGE ON SCHEMA public TO stranger');
says(checks()->{writable}, 'failed', qr/permission denied for table kept/, qr/^Loads run as role stranger/);
$f->query('DROP TABLE kept CASCADE; ALTER TABLE tokens OWNER TO loader; ALTER TABLE tokens ALTER symbol TYPE jsonb USING NULL');
says(checks()->{writable}, 'failed', qr/column "symbol" is of type jsonb but expression is of type text/, qr/./);
$f->query('ALTER TABLE tokens ALTER symbol TYPE text');
is(having(checks(), 'ok'), $well, 'all is ok after the target was cured');

# ---- after_load, on_failure

$f->query(q(UPDATE contratos_sources SET after_load = 'nowhere'));
$c = checks();
says($c->{after_load}, 'failed', qr/^function "nowhere" does not exist/, qr/Make the function/);
is(having($c, 'failed'), 'after_load', 'an after_load that does not exist: only after_load fails');
$f->query(q(UPDATE contratos_sources SET after_load = NULL, on_failure = 'public.told'; CREATE FUNCTION told(text, date, text) RETURNS void LANGUAGE sql AS ''));
$c = checks();
says($c->{on_failure}, 'ok', qr/^public\.told can be called$/);
$f->query('CREATE ROLE other; ALTER FUNCTION told OWNER TO other');
says(checks()->{on_failure}, 'warning', qr/may not be on_failure.*belongs to role "other"/, qr/^ALTER ROUTINE public\.told OWNER TO loader;$/);
$f->query('UPDATE contratos_sources SET on_failure = NULL');

# ---- index

$f->query('DROP INDEX tokens_block_timestamp_idx');
says(checks()->{index}, 'ok', qr/^none on block_timestamp, but there are few rows/);
$f->query(q(INSERT INTO tokens (address, block_timestamp, block_number, block_hash) SELECT '', '2001-01-01', 1, '' FROM generate_series(1, 20000);
	ANALYZE tokens));
$c = checks();
says($c->{index}, 'warning', qr/^none on block_timestamp: each load reads about 20\d\d\d rows/, qr/^CREATE INDEX CONCURRENTLY ON public\.tokens \(block_timestamp\);$/);
$f->query('CREATE INDEX ON tokens (block_timestamp) WHERE block_number = 2; CREATE INDEX ON tokens (address, block_timestamp)');
is(checks()->{index}{status}, 'warning', 'indexes that do not help: there is a warning');
$f->query($c->{index}{hint});
is(having(checks(), 'ok'), $well, 'the index of the hint: all is ok');

$f->query(q(
	ALTER TABLE tokens RENAME TO plain; CREATE TABLE tokens (LIKE plain) PARTITION BY RANGE (block_timestamp); ALTER TABLE tokens OWNER TO loader;
	CREATE TABLE rest PARTITION OF tokens DEFAULT; INSERT INTO tokens SELECT * FROM plain; ANALYZE tokens));
says(checks()->{index}, 'ok', qr/^public\.tokens is partitioned by block_timestamp$/);
$f->query(q(DROP TABLE tokens; CREATE TABLE tokens (LIKE plain) PARTITION BY LIST (block_number); ALTER TABLE tokens OWNER TO loader;
	CREATE TABLE rest PARTITION OF tokens DEFAULT; INSERT INTO tokens SELECT * FROM plain; ANALYZE tokens));
says(checks()->{index}, 'warning', qr/about 20\d\d\d rows/, qr/^CREATE INDEX ON public\.tokens \(block_timestamp\);$/);
$f->query('CREATE INDEX ON rest (block_timestamp)');
says(checks()->{index}, 'ok', qr/^there is one/);
$f->query('DROP TABLE tokens; CREATE VIEW tokens AS SELECT * FROM plain; ALTER VIEW tokens OWNER TO loader');
says(checks()->{index}, 'skipped', qr/is a view$/);
$f->query('DROP VIEW tokens; ALTER TABLE plain RENAME TO tokens');

# ---- days

$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-10'));
$c = checks();
says($c->{missing_days}, 'warning', qr/^10 of 11 days from 2026-11-10 to 2026-11-20: 2026-11-10, 2026-11-11, 2026-11-12, 2026-11-13, 2026-11-14, \.\.\.$/,
	qr/^SELECT \* FROM contratos_backfill_range\('2026-11-10', '2026-11-19', 'tokens', only_missing => true\);$/);
$f->query($c->{missing_days}{hint});
is(checks()->{missing_days}{found}, 'none from 2026-11-10 to 2026-11-20', 'missing days: the hint loads them');
$f->query(q(UPDATE contratos_sources SET start_date = '2026-12-24'));
says(checks()->{missing_days}, 'ok', qr/^no day is due before 2026-12-25$/);
$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-20'));

# ---- several sources

$f->query(q(CREATE FOREIGN TABLE snap (address text) SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens');
	CREATE TABLE snapped (address text); INSERT INTO contratos_sources (name, remote_table, target_table, start_date, snapshot) VALUES ('snap', 'snap', 'snapped', '2020-01-01', true);
	CREATE TABLE gone (x int); INSERT INTO contratos_sources (name, remote_table, target_table, snapshot) VALUES ('broken', 'snap', 'gone', true); DROP TABLE gone));
@rows = rows('NULL');
is(join(' ', sort(map { $_->{check_name} } @rows)), join(' ', sort @server, (@source) x 3),
	'all sources: each has its checks, the server one');
is(join(' ', map { $_->{source} } grep { $_->{check_name} eq 'token' } @rows), 'broken snap tokens', 'all sources are in order of name');
my %snap = map { $_->{check_name} => $_ } grep { ($_->{source} // '') eq 'snap' } @rows;
says($snap{source}, 'ok', qr/^public\.snap into public\.snapped, as a whole$/);
says($snap{index}, 'skipped', qr{as a whole});
says($snap{missing_days}, 'warning', qr/^1 of 1 days from 2026-11-20 to 2026-11-20: 2026-11-20$/, qr/contratos_backfill_range\('2026-11-20', '2026-11-20', 'snap'/);
like($snap{columns}{found}, qr/symbol \(STRING\), |symbol \(STRING\) is new in BigQuery/, 'columns that a source leaves out are reported');
@rows = rows(q('snapp'));
says($rows[-1], 'failed', qr/^source "snapp" does not exist/, qr/^Existing sources: broken, snap, tokens\.$/);
$f->query(q(DELETE FROM contratos_sources WHERE name <> 'tokens'));
$f->query('BEGIN; CREATE TEMP TABLE kept AS TABLE contratos_sources; DELETE FROM contratos_sources; COMMIT');
@rows = rows('NULL');
is_deeply([ $rows[-1]{source}, scalar @rows ], [ undef, @server + 1 ], 'no source: one row');
says($rows[-1], 'failed', qr/^there is no source$/, qr/contratos_setup\(\)/);
$f->query(q(SELECT contratos_setup()));

# ---- who may, and what is not caught

is($f->query(q(SELECT has_function_privilege('loader', 'contratos_check(text)', 'EXECUTE'))), 'f', 'contratos_check() is not granted to PUBLIC');
my $rule = $bq->rule($everywhere, { stall => 'before_headers' });
like($f->fails(q(SET statement_timeout = '300ms'; SELECT contratos_check())), qr/ERROR:  57014/, 'contratos_check() can be canceled');
$bq->release($rule);
unlike($shown, qr/BEGIN [A-Z ]*PRIVATE|eyJ|ya29|Bearer/, 'contratos_check() shows no secret');

# ---- with the worker

$f->node->append_conf('postgresql.conf', "shared_preload_libraries = 'contratos'\n");
$f->node->restart;
$c = checks();
says($c->{preloaded}, 'ok', qr/has contratos/);
says($c->{worker}, 'skipped', qr/database is not listed/);
$f->query('ALTER SYSTEM SET contratos.databases = $$template1, postgres$$; SELECT pg_reload_conf()');
ok($f->node->poll_query_until('postgres', q(SELECT status = 'ok' FROM contratos_check() WHERE check_name = 'worker')), 'the check of the worker becomes ok');
$c = checks();
is(having($c, 'ok'), join(' ', @server, @source), 'all checks are ok with the worker');
says($c->{worker}, 'ok', qr/^runs as process \d+$/);
$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-01', enabled = false));
like(checks()->{missing_days}{hint}, qr/^SELECT \* FROM contratos_backfill_range\('2026-11-01', '2026-11-09', 'tokens',/, 'missing days of a disabled source: the hint is a backfill');
$f->query(q(UPDATE contratos_sources SET enabled = true, catchup_days = 0));
like(checks()->{missing_days}{hint}, qr/^SELECT contratos_enqueue\('2026-11-01', '2026-11-09', 'tokens'\);$/, 'missing days of an enabled source: the hint is the queue');
$f->query(q(UPDATE contratos_sources SET enabled = false, catchup_days = 31));
$f->query(q(DELETE FROM contratos_runs WHERE day = '2026-11-20'; UPDATE contratos_sources SET start_date = '2026-11-19', enabled = true));
is(checks()->{missing_days}{found}, 'none from 2026-11-19 to 2026-11-19',
	'a day that the worker will load is not missing');

$f->stop;
done_testing();
