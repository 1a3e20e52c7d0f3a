# Who may do what: an ordinary role at each door, whose key is used behind views
# and in loads, and two servers with keys, projects and locations of their own.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new;
my $bq = $f->bq;
my $run = q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2026-11-20'));
$f->day('2026-11-20', 50);
$f->query('SELECT contratos_setup(); CREATE ROLE plain LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE registrar LOGIN; CREATE ROLE owner LOGIN;
	CREATE SCHEMA own AUTHORIZATION plain; GRANT USAGE, CREATE ON SCHEMA own TO PUBLIC');

sub as { return "SET SESSION AUTHORIZATION $_[0]; $_[1]"; }

sub denied
{
	my ($role, $sql, $what, $why) = @_;
	$bq->reset(tables => 0);
	my $error = $f->fails(as($role, $sql));
	like($error, qr/ERROR:  42501: $why/, $what);
	is($f->requests, '', "$what: BigQuery is not asked");
	return $error;
}

# ---- the extension's own functions and tables

denied('plain', "SELECT $_", "$_ is not granted to PUBLIC", 'permission denied for function contratos_')
  for 'contratos_run()', 'contratos_backfill(1)', q(contratos_backfill_range('2026-11-19', '2026-11-20')),
  q(contratos_enqueue('2026-11-19', '2026-11-20')), 'contratos_cancel(1)', 'contratos_setup()';
is($f->query(as('plain', 'SELECT count(*) > 0 FROM contratos_version()')), 't',
	'contratos_version() is granted to PUBLIC');
for my $table (qw(contratos_sources contratos_runs contratos_rejects))
{
	denied('plain', "SELECT * FROM $table", "$table: SELECT is denied", "permission denied for table $table");
	denied('plain', "DELETE FROM $table", "$table: DELETE is denied", "permission denied for table $table");
}
denied('plain', q(INSERT INTO contratos_sources (name, remote_table, target_table, snapshot) VALUES ('mine', 'a.b', 'c.d', true)), 'registering a source is a privilege',
	'permission denied for table contratos_sources');
is($f->query(q(SELECT count(*) FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid JOIN pg_extension e ON e.oid = d.refobjid
	WHERE extname = 'contratos' AND d.classid = 'pg_proc'::regclass AND provolatile = 'v' AND prorettype <> 'fdw_handler'::regtype
	AND proname !~ '_validator$' AND has_function_privilege('plain', p.oid, 'EXECUTE'))), 0, 'no volatile function is granted to PUBLIC');

# ---- servers, foreign tables, settings

my $remote = q[(address text, block_timestamp timestamptz) SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens')];
denied('plain', 'CREATE SERVER mine FOREIGN DATA WRAPPER contratos', 'making a server needs USAGE on the wrapper', 'permission denied for foreign-data wrapper contratos');
denied('plain', "CREATE FOREIGN TABLE own.t $remote", 'making a foreign table needs USAGE on the server', 'permission denied for foreign server bigquery');
denied('plain', 'CREATE USER MAPPING FOR plain SERVER bigquery', 'making a user mapping needs USAGE on the server', 'permission denied for foreign server bigquery');
denied('plain', 'SELECT count(*) FROM bigquery_tokens WHERE block_timestamp > now()', 'reading a foreign table needs SELECT', 'permission denied for foreign table bigquery_tokens');
denied('plain', "SELECT FROM contratos_version(); SET $_ = 'x'", "$_ is for superusers", qq(permission denied to set parameter "$_"))
  for qw(contratos.credentials_file contratos.endpoint contratos.project contratos.ca_file contratos.proxy);
$f->query('GRANT USAGE ON FOREIGN SERVER bigquery TO plain');
$f->query(as('plain', "CREATE FOREIGN TABLE own.t $remote"));
is($f->query(as('plain', q(SELECT count(*) FROM own.t WHERE block_timestamp >= '2026-11-20Z'))), 50, 'USAGE on the server lets a role read with its key');
is($f->query(as('plain', q(SET contratos.endpoint = 'http://127.0.0.1:1'; SELECT count(*) FROM own.t WHERE block_timestamp >= '2026-11-20Z'))), 50,
	'a setting made before the library is loaded is ignored');
denied('plain', q(CREATE USER MAPPING FOR plain SERVER bigquery OPTIONS (credentials_file '/etc/passwd')), 'naming a file in a user mapping is a privilege',
	'permission denied to set option "credentials_file"');
$f->query('GRANT USAGE ON FOREIGN DATA WRAPPER contratos TO plain');
denied('plain', "CREATE SERVER mine FOREIGN DATA WRAPPER contratos OPTIONS ($_)", "$_ of a server is a privilege", 'permission denied to set option')
  for q(endpoint 'https://elsewhere.example'), q(proxy 'http://elsewhere.example:3128'), q(ca_file '/etc/passwd'), q(credentials_file '/etc/passwd');
$f->query(as('plain', 'CREATE SERVER mine FOREIGN DATA WRAPPER contratos; CREATE FOREIGN TABLE own.sly ' . $remote =~ s/SERVER bigquery/SERVER mine/r));
denied('plain', 'SELECT count(*) FROM own.sly', "another role's server does not get the setting's key", 'contratos.credentials_file does not serve server "mine"');
$f->query(q(ALTER FOREIGN TABLE own.sly OWNER TO postgres; CREATE TABLE sly (address text, block_timestamp timestamptz);
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column) VALUES ('sly', 'own.sly', 'sly', 'block_timestamp')));
denied('postgres', q(SELECT contratos_run(source => 'sly')), "another role's server does not get the setting's key when a superuser loads", 'contratos.credentials_file does not serve server "mine"');
$f->query(q(DELETE FROM contratos_sources WHERE name = 'sly'));

# ---- whoever loads, it is the target's owner who must have the rights

$f->query(q(GRANT EXECUTE ON FUNCTION contratos_run TO plain; ALTER TABLE tokens OWNER TO owner));
like(denied('plain', $run, "the target's owner needs SELECT", 'permission denied for foreign table public.bigquery_tokens'),
	qr/HINT:  GRANT SELECT ON public.bigquery_tokens TO owner;/,
		'the target\'s owner needs SELECT: the hint has the GRANT');
$f->query('GRANT SELECT ON bigquery_tokens TO owner');
is($f->query(as('plain', $run)), 'succeeded|50|0', 'a role without rights on either table loads it');
denied('plain', 'DELETE FROM tokens', 'a role that loads a table may not write it otherwise', 'permission denied for table tokens');
is($f->query(as('plain', 'SELECT count(*) FROM contratos_run()')), 1, 'a role without rights on the ledger loads');
my $dumped = $f->messages(as('plain', "SET client_min_messages = log; SET debug_print_parse = on; SET debug_print_rewritten = on; SET debug_print_plan = on; $run"));
is(() = $dumped =~ /LOG:  00000: plan:/g, 1, 'a role that loads sees the plan of its own statement only');

# ---- EXECUTE is all it takes, in whatever schema the tables are

$f->query(
	q(CREATE SCHEMA dw AUTHORIZATION owner; CREATE SCHEMA hooks AUTHORIZATION owner; CREATE ROLE loader LOGIN;
	  GRANT EXECUTE ON FUNCTION contratos_run, contratos_backfill, contratos_estimate, contratos_verify, contratos_enqueue, contratos_check TO loader;
	  CREATE TYPE dw.label AS ENUM ('a');
	  CREATE TABLE dw.t (LIKE tokens, label dw.label); ALTER TABLE dw.t OWNER TO owner;
	  CREATE FUNCTION hooks.after(text, date) RETURNS void LANGUAGE sql AS ''; ALTER FUNCTION hooks.after(text, date) OWNER TO owner;
	  CREATE FOREIGN TABLE dw.remote (address text, symbol text, name text, block_timestamp timestamptz, block_number bigint, block_hash text)
		SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens'); ALTER FOREIGN TABLE dw.remote OWNER TO owner;
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, after_load)
		VALUES ('dw', 'dw.remote', 'dw.t', 'block_timestamp', 'hooks.after')));
is($f->query(as('loader', q(SELECT status, rows_loaded FROM public.contratos_run('2026-11-20', 'dw')))), 'succeeded|50', 'a role with EXECUTE alone loads into a schema that is closed to it');
is($f->query(as('loader', q(SELECT status FROM public.contratos_backfill(1, 'dw')))), 'succeeded',
	'a role with EXECUTE alone runs a backfill');
is($f->query(as('loader', q(SELECT agrees FROM public.contratos_verify('2026-11-20', '2026-11-20', 'dw')))), 't', 'a role with EXECUTE alone runs contratos_verify()');
is($f->query(as('loader', q(SELECT count(*) FROM public.contratos_estimate('2026-11-20', '2026-11-20', 'dw')))), 1, 'a role with EXECUTE alone runs contratos_estimate()');
is($f->query(as('loader', q(SELECT check_name, translate(found, chr(10), ''), translate(hint, chr(10), '') FROM public.contratos_check('dw') WHERE status = 'failed'))), '', 'a role with EXECUTE alone runs contratos_check()');
denied('loader', "SELECT * FROM dw.$_", "a role with EXECUTE alone cannot read dw.$_", 'permission denied for schema dw') for qw(t remote);
like($f->fails(as('loader', q(SELECT public.contratos_run('2026-11-20', 'nothing')))), qr/ERROR:  42704/, 'a role with EXECUTE alone gets an error for an unknown source');
$f->query('REVOKE USAGE ON SCHEMA dw FROM owner');
like($f->fails(as('loader', q(SELECT public.contratos_run('2026-11-20', 'dw')))), qr/ERROR:  42501: permission denied for schema dw/, "the target's owner needs USAGE on the schema");
$f->query('GRANT USAGE ON SCHEMA dw TO owner');

# nor does an error tell what stands in the table
$f->query('ALTER TABLE dw.t ADD CHECK (address = $$none$$) NOT VALID');
my $run_dw = q(SELECT public.contratos_run('2026-11-20', 'dw'));
my $violates = qr/ERROR:  23514: new row for relation "t" violates check constraint "t_address_check"\n/;
like($f->fails($run_dw), qr/${violates}DETAIL:  Failing row contains \(/, 'the row that a constraint refuses is shown to a reader of the table');
my $said = $f->fails(as('loader', $run_dw));
like($said, $violates, 'a constraint\'s error is shown to a role that may not read the table');
unlike($said, qr/DETAIL|Failing row/,
	'the row that a constraint refuses is not shown to a role that may not read the table');
my (undef, $out, $warned) = $f->psql(as('loader', q(SELECT status, translate(message, chr(10), '') FROM public.contratos_backfill(1, 'dw'))));
is($out, 'failed|new row for relation "t" violates check constraint "t_address_check"',
	'a constraint\'s error in a backfill has its message only');
unlike($warned, qr/Failing row/, 'the row that a constraint refuses is not shown in a backfill\'s WARNING');
like($f->query(q(SELECT error FROM contratos_runs WHERE source = 'dw' AND NOT only_cost ORDER BY id DESC LIMIT 1)), qr/\nDETAIL:  Failing row contains \(/, 'the row that a constraint refuses is in the ledger');

# nor what it says of a value, in a load and where days are compared
$f->query(
	q(ALTER TABLE dw.t DROP CONSTRAINT t_address_check; ALTER TABLE dw.t RENAME TO kept; TRUNCATE dw.kept;
	  INSERT INTO dw.kept (address, name, block_timestamp, block_number, block_hash) VALUES ('a', '{"password": hunter2', '2026-11-20 12:00Z', 1, 'b');
	  CREATE VIEW dw.t AS SELECT * FROM dw.kept WHERE name::json IS NOT NULL; ALTER VIEW dw.t OWNER TO owner));
for my $call (q(contratos_run('2026-11-20', 'dw')), q(contratos_verify('2026-11-20', '2026-11-20', 'dw')), q(contratos_backfill(1, 'dw')))
{
	my $error = qr/22P02: .*invalid input syntax for type json/;
	my (undef, undef, $open) = $f->psql("SELECT public.$call");
	like($open, qr/${error}\nDETAIL:  Token "hunter2" is invalid\./,
		"$call shows a value in an error to a reader of the table");
	like($open, qr/CONTEXT:  JSON data, line 1: \{"password": hunter2/,
		"$call shows the context of an error to a reader of the table") if $call !~ /backfill/;
	my (undef, undef, $closed) = $f->psql(as('loader', "SELECT public.$call"));
	like($closed, $error, "$call shows the error's message to a role that may not read the table");
	unlike($closed, qr/DETAIL|hunter2/, "$call shows no value in an error to a role that may not read the table");
}
$f->query(q(DROP VIEW dw.t; DELETE FROM contratos_sources WHERE name = 'dw'));

# a source that a registrar makes loads as the owner of its target, not as him
$f->query('GRANT SELECT, INSERT ON contratos_sources TO registrar; GRANT EXECUTE ON FUNCTION contratos_run TO registrar;
	CREATE TABLE own.copy (LIKE tokens); ALTER TABLE own.copy OWNER TO owner');
$f->query(as('registrar', q(INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
	VALUES ('copy', 'public.bigquery_tokens', 'own.copy', 'block_timestamp'))));
is($f->query(as('registrar', q(SELECT status, rows_loaded FROM contratos_run('2026-11-20', 'copy')))), 'succeeded|50', 'a registrar may load the source it made');
denied('registrar', 'SELECT * FROM own.copy', 'a registrar may not read the target of the source it made', 'permission denied for table copy');
denied('registrar', q(UPDATE contratos_sources SET target_table = 'tokens'), 'a registrar with INSERT may not update sources', 'permission denied for table contratos_sources');

# ---- two servers, two keys, projects and locations, side by side

my %server = (north => { location => 'EU' }, south => { location => 'southamerica-east1' });
for my $name (sort keys %server)
{
	my $key = $bq->account($name, "$name-project");
	chmod 0600, $key;
	$bq->project("$name-project", accounts => [$name]);
	$bq->dataset("$name-project.shop", $server{$name}{location});
	$bq->table("$name-project.shop.orders", location => $server{$name}{location}, schema => [ { name => 'id', type => 'INT64' }, { name => 'who', type => 'STRING' } ],
		rows => [ map { [ $_, "$name $_" ] } 1 .. 3 ]);
	$f->query(
		qq(CREATE SERVER $name FOREIGN DATA WRAPPER contratos OPTIONS (project '$name-project', location '$server{$name}{location}');
		   CREATE USER MAPPING FOR CURRENT_USER SERVER $name OPTIONS (credentials_file '$key');
		   CREATE FOREIGN TABLE own.$name (id bigint, who text) SERVER $name OPTIONS ("table" 'shop.orders')));
}

# Of each job: account, billed project, location.
sub jobs
{
	return join ', ', sort map {
		my ($project) = $_->{path} =~ m{/projects/([^/]+)/jobs};
		join ' ', ($_->{account} // '') =~ s/@.*//r, $project, $_->{body}{jobReference}{location}
	} $bq->requests('insert');
}

my ($north, $south) = ('north north-project EU', 'south south-project southamerica-east1');
$bq->reset(tables => 0);
is($f->query('SELECT n.who, s.who FROM own.north n JOIN own.south s USING (id) ORDER BY id'), "north 1|south 1\nnorth 2|south 2\nnorth 3|south 3",
	'two servers are read in one statement');
is(jobs(), "$north, $south", 'two servers are each asked with their key, project and location');
$bq->reset(tables => 0);
is($f->query('SELECT count(*) FROM own.north; SELECT count(*) FROM own.south; SELECT count(*) FROM own.north UNION ALL SELECT count(*) FROM own.t WHERE block_timestamp >= $$2026-11-20Z$$'),
	"3\n3\n3\n50", 'three servers are read in one session');
is(jobs(), join(', ', sort $north, $north, $south, jobs() =~ /(\S+ test-project US)/),
	'three servers are each asked with their own token');
$bq->rule({ kind => 'insert', account => 'south' }, { expire_token => JSON::PP::true });
is($f->query('SELECT count(*) FROM own.north n, own.south s'), 9, 'a token that has expired is replaced by one of the same account');
my %mixed = map { ($_->{account} // '') =~ s/@.*//r => 1 } grep { $_->{path} =~ /south-project/ } $bq->requests;
is(join(' ', sort keys %mixed), 'south', 'a project gets requests of its own account only');
my $change = 'ALTER USER MAPPING FOR CURRENT_USER SERVER south OPTIONS (SET credentials_file ';
$f->query("$change'" . $bq->key_file . "')");
like($f->fails('SELECT count(*) FROM own.south'), qr/ERROR:  42501: BigQuery: Access Denied/, 'another account is refused by the project');
$f->query("$change'" . $bq->account('south', 'south-project') . "')");

# ---- whose mapping it is: of the role that the scan is checked as

sub account_of
{
	my ($sql) = @_;
	$bq->reset(tables => 0);
	$f->query($sql);
	return join ' ', map { ($_->{account} // '') =~ s/@.*//r } $bq->requests('insert');
}
$bq->project($_, accounts => [ 'north', 'south' ]) for 'north-project', 'south-project';
my ($north_key, $south_key) = map { $bq->account($_, "$_-project") } qw(north south);
$f->query(
	qq(CREATE USER MAPPING FOR owner SERVER north OPTIONS (credentials_file '$north_key');
	   CREATE USER MAPPING FOR reader SERVER north OPTIONS (credentials_file '$south_key');
	   ALTER FOREIGN TABLE own.north OWNER TO owner; GRANT SELECT ON own.north TO reader;
	   CREATE VIEW own.theirs AS SELECT * FROM own.north; ALTER VIEW own.theirs OWNER TO owner; GRANT SELECT ON own.theirs TO reader, plain;
	   CREATE VIEW own.invoked WITH (security_invoker) AS SELECT * FROM own.north; ALTER VIEW own.invoked OWNER TO owner; GRANT SELECT ON own.invoked TO reader, plain;
	   CREATE FUNCTION own.definer() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM own.north'; ALTER FUNCTION own.definer() OWNER TO owner));
is(account_of(as('reader', 'SELECT count(*) FROM own.north')), 'south', "a query uses the user's own mapping");
is(account_of(as('reader', 'SELECT count(*) FROM own.theirs')), 'north',
	"a query through a view uses the mapping of the view's owner");
is(account_of(as('plain', 'SELECT count(*) FROM own.theirs')), 'north',
	'a query through a view uses the mapping of the view\'s owner, whoever asks');
is(account_of(as('reader', 'SELECT count(*) FROM own.invoked')), 'south', "a query through a security_invoker view uses the user's own mapping");
is(account_of(as('reader', 'SELECT own.definer()')), 'north',
	"a query in a SECURITY DEFINER function uses the definer's mapping");
is(account_of(as('reader', 'SELECT (SELECT count(*) FROM own.theirs) + (SELECT count(*) FROM own.north)')) =~ /^(north south|south north)$/, 1,
	'one statement may use two mappings');
denied('plain', 'SELECT count(*) FROM own.invoked', 'without a right on the table a security_invoker view gives none', 'permission denied for foreign table north');
$f->query(q(CREATE TABLE own.loaded (id bigint, who text); ALTER TABLE own.loaded OWNER TO owner;
	INSERT INTO contratos_sources (name, remote_table, target_table, snapshot) VALUES ('north', 'own.north', 'own.loaded', true)));
is(account_of(as('plain', q(SELECT contratos_run(source => 'north')))), 'north', "a load uses the mapping of the target's owner");
is($f->query('SELECT count(*) FROM own.loaded'), 3, 'a load with the mapping of the target\'s owner has the rows');

# no key or token has been written anywhere
my $log = slurp_file($f->node->logfile);
unlike($log, qr/ya29|BEGIN PRIVATE|private_key"/, 'no secret is in the log');

$f->stop;
done_testing();
