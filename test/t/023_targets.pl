# What the target of a load may be and have: triggers, rules, partitions,
# constraints, views, other owners, odd names.  The load is a plain DELETE and
# INSERT, so all of it works; what would make it read twice or lose rows does not.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(conf => 'contratos.page_rows = 20');
my $bq = $f->bq;

my @columns = qw(address symbol name decimals total_supply block_timestamp block_number block_hash);
my $columns = join ', ', @columns;
my $run = q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2026-11-20'));
my $ledger = 'SELECT rows_loaded, rows_inserted FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1';

$f->day('2026-11-20', 50);
$f->query('SELECT contratos_setup()');

# A table that stands in for tokens in one test.
sub target
{
	my ($sql, %more) = @_;
	my $reset = "DROP SCHEMA IF EXISTS t CASCADE; CREATE SCHEMA t;";
	my $table = $more{table} // 't.target';
	local $SIG{__WARN__} = sub { };
	$f->query("$reset $sql; UPDATE contratos_sources SET target_table = \$\$$table\$\$ WHERE name = 'tokens'");
	$bq->reset(tables => 0);
	return;
}

my $like = 'CREATE TABLE t.target (LIKE tokens)';

# ---- triggers

target(
	"$like;
	CREATE FUNCTION t.filter() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
		IF NEW.decimals = 6 THEN RETURN NULL; END IF; NEW.symbol := lower(NEW.symbol); RETURN NEW; END';
	CREATE TRIGGER filter BEFORE INSERT ON t.target FOR EACH ROW EXECUTE FUNCTION t.filter()");
my ($code, $out, $err) = $f->psql(q(SELECT status, rows_loaded, translate(message, chr(10), '') FROM contratos_run('2026-11-20')));
is($out, q(succeeded|50|the target's triggers or rules took 40 of the rows), 'a BEFORE ROW trigger drops rows');
is($f->query($ledger), '50|40', 'the ledger has the rows loaded and the rows a trigger let through');
is($f->query('SELECT count(*), count(*) FILTER (WHERE symbol = lower(symbol)) FROM t.target'), '40|40', 'a BEFORE ROW trigger changes rows');

target(
	"$like; CREATE TABLE t.log (said text);
	CREATE FUNCTION t.row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO t.log VALUES (NEW.address); RETURN NULL; END';
	CREATE FUNCTION t.statement() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
		INSERT INTO t.log SELECT TG_OP || count(*) FROM changed; RETURN NULL; END';
	CREATE TRIGGER r AFTER INSERT ON t.target FOR EACH ROW EXECUTE FUNCTION t.row();
	CREATE TRIGGER s AFTER INSERT ON t.target REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION t.statement();
	CREATE TRIGGER d AFTER DELETE ON t.target REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION t.statement()");
is($f->query($run), 'succeeded|50|0', 'a target with AFTER triggers is loaded');
is($f->query(q(SELECT count(DISTINCT said) FILTER (WHERE said LIKE '0x%'), count(*) FILTER (WHERE said LIKE '0x%'),
	string_agg(said, ' ' ORDER BY said) FILTER (WHERE said !~ '^0x') FROM t.log)),
	'50|50|DELETE0 INSERT50', 'AFTER triggers fire once a row and once a statement');

target(
	"$like;
	CREATE FUNCTION t.nosy() RETURNS trigger LANGUAGE plpgsql AS \$\$ DECLARE n bigint; BEGIN
		SELECT count(*) INTO n FROM public.bigquery_tokens WHERE block_timestamp >= '2026-11-01Z'; RETURN NEW; END \$\$;
	CREATE TRIGGER nosy BEFORE INSERT ON t.target FOR EACH ROW EXECUTE FUNCTION t.nosy()");
like($f->fails($run), qr/ERROR:  0A000: a load reads other rows of foreign table "bigquery_tokens" than those it requested from BigQuery/,
	'a trigger that reads other rows of the foreign table is an error');
is(scalar($bq->requests('insert')), 1, 'a trigger that reads other rows causes no second job');
is($f->query('SELECT count(*) FROM t.target'), 0, 'a trigger that reads other rows: nothing is loaded');

target(
	"$like;
	CREATE FUNCTION t.fails() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
		IF NEW.block_number % 2 = 0 THEN RAISE 'not this one' USING ERRCODE = 'P0042'; END IF; RETURN NEW; END \$\$;
	CREATE TRIGGER fails BEFORE INSERT ON t.target FOR EACH ROW EXECUTE FUNCTION t.fails()");
like($f->fails($run), qr/ERROR:  P0042: not this one/, 'an error of a trigger fails contratos_run()');
is($f->query(q(SELECT status FROM contratos_backfill(1))), 'failed',
	'an error of a trigger fails its day of a backfill');
is($f->query('SELECT sqlstate, reason IS NULL FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), 'P0042|t', 'the ledger has the SQLSTATE of a trigger\'s error');

# a load within a load, before the outer one has read its first row
target(
	"$like; CREATE TABLE t.other (LIKE tokens);
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
		VALUES ('other', 'bigquery_tokens', 't.other', 'block_timestamp') ON CONFLICT DO NOTHING;
	CREATE FUNCTION t.nested() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
		PERFORM public.contratos_run('2026-11-19', 'other'); RETURN NULL; END \$\$;
	CREATE TRIGGER nested BEFORE INSERT ON t.target FOR EACH STATEMENT EXECUTE FUNCTION t.nested()");
like($f->fails($run), qr/ERROR:  55006: a load cannot begin while another one replaces rows/, 'a trigger may not load another source');
is(scalar($bq->requests('insert')), 1, 'a refused load within a load does not ask BigQuery');
is($f->query($run =~ s/2026-11-20'/2026-11-19', 'other'/r) =~ /^succeeded/, 1,
	'a source can be loaded after a load within a load was refused');
$f->query(q(DELETE FROM contratos_sources WHERE name = 'other'));

# ---- rules

target(
	"$like; CREATE TABLE t.copy (address text);
	CREATE RULE also AS ON INSERT TO t.target DO ALSO INSERT INTO t.copy VALUES (NEW.address)");
is($f->query($run), 'succeeded|50|0', 'a target with a DO ALSO rule is loaded');
is($f->query('SELECT count(DISTINCT address), count(*) FROM t.copy'), '50|50', 'a DO ALSO rule gets every row once');
is(scalar($bq->requests('insert')), 1, 'a DO ALSO rule reads the rows of the same job');
is(join(' ', sort { $a <=> $b } map { $_->{start_index} // 0 } $bq->requests('results')), '0 0 20 20 40 40', 'a DO ALSO rule reads each page again');
is($f->query('SELECT values_altered, rows_inserted, pages FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), '0|50|3', 'a DO ALSO rule does not change the figures in the ledger');

target("$like; CREATE RULE nothing AS ON INSERT TO t.target DO INSTEAD NOTHING");
like($f->fails($run), qr/ERROR:  HV000: only 0 of 50 rows were read for table t.target/, 'a rule DO INSTEAD NOTHING is an error');

target("$like; CREATE RULE few AS ON INSERT TO t.target WHERE NEW.decimals = 6 DO INSTEAD NOTHING");
is($f->query($run), 'succeeded|50|0', 'a target with a conditional DO INSTEAD rule is loaded');
is($f->query($ledger), '50|40', 'the ledger has the rows that a conditional rule let through');

# ---- generated columns, defaults, constraints, partitions

target(
	"CREATE TABLE t.target (LIKE tokens INCLUDING GENERATED, id int GENERATED ALWAYS AS IDENTITY, loaded_by text DEFAULT current_user,
	 len int GENERATED ALWAYS AS (length(block_hash)) STORED, CHECK (len = 66))");
is($f->query($run), 'succeeded|50|0', 'a target with generated columns, identity and defaults is loaded');
is($f->query(q(SELECT count(DISTINCT id), count(loaded_by), min(len), min(block) ~ '^2026-11-20 00:00:00\+00:00_0x[0-9a-f]{64}_\d+$' FROM t.target)),
	'50|50|66|t', 'generated columns, identity and defaults are filled');

target("$like; ALTER TABLE t.target ADD CONSTRAINT morning CHECK (block_timestamp < '2026-11-20 12:00Z')");
$f->query(q(INSERT INTO t.target (address, block_timestamp, block_number, block_hash) VALUES ('old', '2026-11-20 01:00Z', 1, '0x')));
like($f->fails($run), qr/ERROR:  23514: .*morning/, 'a CHECK constraint fails the day');
is($f->query(q(SELECT day, status FROM contratos_backfill(2))), "2026-11-19|succeeded\n2026-11-20|failed", 'a CHECK constraint fails no other day');
is($f->query(q(SELECT address FROM t.target WHERE block_timestamp >= '2026-11-20Z')), 'old', 'a CHECK constraint: the old row is kept');

# a day that fails in the middle of a page leaves nothing behind for the next
$f->day('2026-11-18', 50);
$f->day('2026-11-19', 50);
target("$like; ALTER TABLE t.target ADD CHECK (block_timestamp NOT BETWEEN '2026-11-19 12:30Z' AND '2026-11-19 23:00Z')");
is($f->query('SELECT status, rows_loaded FROM contratos_backfill(3, allow_shrink => true)'), "succeeded|50\nfailed|\nsucceeded|50",
	'a day that fails in the middle of a page fails alone');
is($f->query('SELECT count(*), count(DISTINCT address) FROM t.target'), '100|100',
	'a day that fails in the middle of a page leaves no rows to the next');

target("CREATE TABLE t.target (gone int, LIKE tokens); ALTER TABLE t.target DROP gone;
	CREATE FOREIGN TABLE t.remote (gone int, address text, gone2 int, block_timestamp timestamptz, block_number bigint, gone3 text, block_hash text)
		SERVER bigquery OPTIONS (\"table\" 'bigquery-public-data.crypto_ethereum.tokens');
	ALTER FOREIGN TABLE t.remote DROP gone, DROP gone2, DROP gone3;
	UPDATE contratos_sources SET remote_table = 't.remote'");
is($f->query($run), 'succeeded|50|0', 'a target and a foreign table with dropped columns');
is($f->query(q(SELECT count(*), count(block_hash), bool_and(address ~ '^0x'), max(block_timestamp) < '2026-11-21Z' FROM t.target)), '50|50|t|t',
	'dropped columns: each value is in its column');
$f->query(q(UPDATE contratos_sources SET remote_table = 'bigquery_tokens'));

target(
	"CREATE TABLE t.target (LIKE tokens) PARTITION BY RANGE (block_timestamp);
	CREATE TABLE t.p19 PARTITION OF t.target FOR VALUES FROM ('2026-11-19Z') TO ('2026-11-20Z');
	CREATE TABLE t.p20a PARTITION OF t.target FOR VALUES FROM ('2026-11-20Z') TO ('2026-11-20 12:00Z');
	CREATE TABLE t.p20b PARTITION OF t.target FOR VALUES FROM ('2026-11-20 12:00Z') TO ('2026-11-21Z')");
is($f->query(q(SELECT status, rows_loaded > 0 FROM contratos_backfill(2))), "succeeded|t\nsucceeded|t", 'a partitioned target is loaded');
is($f->query('SELECT count(*) FROM t.p20a UNION ALL SELECT count(*) FROM t.p20b'), "25\n25", 'rows of a partitioned target are in their partitions');
is($f->query($run), 'succeeded|50|50', 'rows of a partitioned target are replaced');
like($f->fails(q(SELECT contratos_run('2026-11-18'))), qr/ERROR:  23514: no partition/, 'a day without a partition fails');

target(
	"CREATE TABLE t.base (LIKE tokens, tenant text NOT NULL DEFAULT 'us');
	CREATE VIEW t.target AS SELECT $columns FROM t.base WHERE tenant = 'us';
	INSERT INTO t.base (address, block_timestamp, block_number, block_hash, tenant) VALUES ('theirs', '2026-11-20 01:00Z', 1, '0x', 'them')");
is($f->query($run), 'succeeded|50|0', 'an updatable view is loaded');
is($f->query($run), 'succeeded|50|50', 'a load of an updatable view replaces the rows it shows');
is($f->query('SELECT tenant, count(*) FROM t.base GROUP BY 1 ORDER BY 1'), "them|1\nus|50",
	'a load of an updatable view leaves other rows alone');

target(
	"$like; ALTER TABLE t.target ADD settings text DEFAULT
		concat_ws(' | ', current_setting('TimeZone'), current_setting('DateStyle'), current_setting('search_path'))");
is($f->query("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET search_path = public, t; $run; SHOW TimeZone; SHOW search_path"),
	"succeeded|50|0\nAsia/Tokyo\npublic, t", 'the session keeps its settings');
is($f->query('SELECT DISTINCT settings FROM t.target'), 'UTC | ISO, DMY | pg_catalog, pg_temp',
	'a load has its own settings');

# ---- names, and columns that do not fit

target(
	qq(CREATE TABLE t."the Target; --" (LIKE tokens);
	   ALTER TABLE t."the Target; --" RENAME block_timestamp TO "when \$1";
	   CREATE FOREIGN TABLE t."Remote ""x""" (address text, "when \$1" timestamptz OPTIONS (name 'block_timestamp'),
		block_number bigint, block_hash text) SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens');
	   UPDATE contratos_sources SET remote_table = 't."Remote ""x"""', timestamp_column = 'when \$1'),
	table => 't."the Target; --"');
is($f->query($run), 'succeeded|50|0', 'a target with odd names is loaded');
is($f->query($run), 'succeeded|50|50', 'a target with odd names is loaded twice');
is($f->query(q(SELECT count("when $1"), count(symbol) FROM t."the Target; --")), '50|0', 'a load fills only the columns of the foreign table');
$f->query(q(UPDATE contratos_sources SET remote_table = 'bigquery_tokens', timestamp_column = 'block_timestamp'));

target('CREATE TABLE t.target (LIKE tokens); ALTER TABLE t.target DROP COLUMN decimals');
like($f->fails($run), qr/ERROR:  42703: table t.target has no column "decimals"/,
	'a target without one of the columns is an error');
target('CREATE TABLE t.target (LIKE tokens); ALTER TABLE t.target ALTER COLUMN decimals TYPE bytea USING NULL');
like($f->fails($run), qr/ERROR:  42804: column "decimals" is of type bytea/,
	'a target with a column of another type is an error');
target('CREATE TABLE t.target (LIKE tokens); DROP TABLE t.target; SELECT 1');
like($f->fails($run), qr/ERROR:  42P01: relation "t.target" does not exist\n.*HINT:  Put it back, or correct target_table in contratos_sources/s, 'a target that does not exist is an error');

# ---- rows that the caller must not overlook

target("$like; ALTER TABLE t.target ENABLE ROW LEVEL SECURITY; CREATE ROLE boss; GRANT USAGE, CREATE ON SCHEMA t TO boss;
	ALTER TABLE t.target OWNER TO boss; ALTER TABLE t.target FORCE ROW LEVEL SECURITY;
	CREATE POLICY none ON t.target USING (false); GRANT SELECT ON bigquery_tokens TO boss");
like($f->fails($run), qr/ERROR:  42501: query would be affected by row-level security policy/,
	'rows that a policy hides from the owner are an error, not half a DELETE');

# ---- somebody else's table: the load runs as its owner

target(
	"$like; CREATE ROLE owner; CREATE ROLE loader LOGIN;
	GRANT USAGE, CREATE ON SCHEMA t TO owner; GRANT USAGE ON SCHEMA t TO loader;
	CREATE TABLE t.who (name text, session text); GRANT INSERT ON t.who TO owner;
	CREATE FUNCTION t.who() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO t.who VALUES (current_user, session_user); RETURN NULL; END';
	CREATE TRIGGER who AFTER INSERT ON t.target FOR EACH STATEMENT EXECUTE FUNCTION t.who();
	ALTER TABLE t.target OWNER TO owner;
	GRANT EXECUTE ON FUNCTION contratos_run(date, text, boolean, boolean) TO loader");
my $as_loader = 'SET SESSION AUTHORIZATION loader;';
$err = $f->fails("$as_loader $run");
like($err, qr/ERROR:  42501: permission denied for foreign table public.bigquery_tokens/, 'an owner who may not read the foreign table is an error');
like($err, qr/HINT:  GRANT SELECT ON public.bigquery_tokens TO owner;/,
	'an owner who may not read the foreign table: the hint has the GRANT');
is($f->requests, '', 'an owner who may not read the foreign table: BigQuery is not asked');
$f->query('GRANT SELECT ON bigquery_tokens TO owner');
is($f->query("$as_loader $run"), 'succeeded|50|0', 'a role without privileges on the table may load it');
is($f->query('SELECT * FROM t.who'), 'owner|loader', 'a load runs as the owner of the table');
like($f->fails("$as_loader DELETE FROM t.target"), qr/ERROR:  42501/,
	'the caller of a load has no privileges on the table otherwise');
$f->query("CREATE USER MAPPING FOR owner SERVER bigquery OPTIONS (credentials_file '@{[ $bq->unknown_key_file ]}')");
like($f->fails($run), qr/ERROR:  28000: /, "a load uses the user mapping of the owner, whoever calls");
$f->query('DROP USER MAPPING FOR owner SERVER bigquery');
$f->query(
	q(CREATE OR REPLACE FUNCTION t.who() RETURNS trigger LANGUAGE plpgsql AS
	  'BEGIN SET ROLE loader; RETURN NULL; END'));
like($f->fails("$as_loader $run"), qr/ERROR:  42501: cannot set parameter "role" within security-restricted operation/,
	'a trigger runs inside of a security-restricted operation');
is($f->query("$as_loader SELECT current_user"), 'loader', 'the caller is current_user again after an error');
like($f->fails("$as_loader SELECT contratos_backfill(1)"), qr/ERROR:  42501: permission denied for function/,
	'a function that was not granted may not be called');

# a temporary table cannot deceive a load
target($like);
is($f->query("CREATE TEMP TABLE tokens (x int); CREATE TEMP TABLE target (x int); CREATE TEMP TABLE bigquery_tokens (x int); $run"),
	'succeeded|50|0', 'temporary tables of the same names are ignored by a load');

$f->stop;
done_testing();
