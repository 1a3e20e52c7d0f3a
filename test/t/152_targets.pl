# More kinds of targets, each loaded twice (what 023_targets.pl has is not here).
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(conf => 'contratos.page_rows = 20');
my $bq = $f->bq;
my $columns = 'address, symbol, name, decimals, total_supply, block_timestamp, block_number, block_hash';
my $like = 'CREATE TABLE t.target (LIKE tokens)';

$f->day($_, 50) for '2026-11-19', '2026-11-20';
$f->query('SELECT contratos_setup()');

# A table that stands in for tokens in one test.
sub target
{
	my ($sql, %more) = @_;
	my $table = $more{table} // 't.target';
	$f->query(
		"DROP SCHEMA IF EXISTS t CASCADE; CREATE SCHEMA t; $sql;
		 UPDATE contratos_sources SET target_table = \$q\$$table\$q\$ WHERE name = 'tokens'; DELETE FROM contratos_runs");
	$bq->reset(tables => 0);
	return;
}

sub run { return $f->query(qq(SELECT status, rows_loaded, rows_replaced FROM contratos_run('@{[ $_[0] // '2026-11-20' ]}'))); }
sub fails { return $f->fails(qq(SELECT contratos_run('@{[ $_[0] // '2026-11-20' ]}'))); }

# Twice, and what is there then is what BigQuery has, once.
sub twice
{
	my ($what, $from, %more) = @_;
	is(run(), 'succeeded|50|' . ($more{before} // 0), "$what: loaded");
	is(run(), 'succeeded|50|50', "$what: loaded again");
	is($f->query("SELECT count(*) FROM (SELECT $columns FROM $from EXCEPT ALL SELECT $columns FROM bigquery_tokens
		WHERE block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z') x"), $more{others} // 0, "$what: there is nothing else");
	is($f->query("SELECT count(*) FROM (SELECT $columns FROM bigquery_tokens
		WHERE block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z' EXCEPT ALL SELECT $columns FROM $from) x"), 0, "$what: nothing is missing");
	is($f->query('SELECT rows_loaded, rows_inserted, target_rows, target_max_timestamp = source_max_timestamp FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'),
		$more{ledger} // '50|50|50|t', "$what: the ledger has the figures");
	return;
}

# ---- partitions

target(
	"CREATE TABLE t.target (LIKE tokens) PARTITION BY RANGE (block_timestamp);
	 CREATE TABLE t.rest PARTITION OF t.target DEFAULT;
	 CREATE TABLE t.day PARTITION OF t.target FOR VALUES FROM ('2026-11-20Z') TO ('2026-11-21Z') PARTITION BY HASH (address);
	 CREATE TABLE t.day0 PARTITION OF t.day FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	 CREATE TABLE t.day1 PARTITION OF t.day FOR VALUES WITH (MODULUS 2, REMAINDER 1)");
twice('a table with sub-partitions', 't.day');
is($f->query('SELECT count(*) > 0 FROM t.day0 UNION ALL SELECT count(*) > 0 FROM t.day1 UNION ALL SELECT count(*) = 0 FROM t.rest'), "t\nt\nt", 'each row is in its sub-partition');
is(run('2026-11-19'), 'succeeded|50|0', 'a day without a partition of its own is loaded');
is(run('2026-11-19'), 'succeeded|50|50', 'a day without a partition of its own is replaced');
is($f->query('SELECT count(*) FROM t.rest'), 50, 'a day without a partition of its own is in the default partition');
$f->query(q(ALTER TABLE t.day DETACH PARTITION t.day1));
like(fails(), qr/ERROR:  23514: no partition of relation "day" found for row/, 'a missing partition fails the day');
is($f->query(q(SELECT status, translate(message, chr(10), '') FROM contratos_backfill(2) ORDER BY day)), "succeeded|\nfailed|no partition of relation \"day\" found for row", 'a missing partition fails no other day');
is($f->query('SELECT (SELECT count(*) FROM t.day0) + (SELECT count(*) FROM t.day1)'), 50,
	'a missing partition: the old rows are kept');

target(
	"$like; CREATE TABLE t.child () INHERITS (t.target); CREATE TABLE t.other () INHERITS (t.target);
	 INSERT INTO t.child (address, block_timestamp, block_number, block_hash) VALUES ('old', '2026-11-20 01:00Z', 1, '0x'), ('older', '2026-11-19 01:00Z', 1, '0x')");
twice('a table with children', 'ONLY t.target', before => 1);
is($f->query('SELECT string_agg(address, $$ $$) FROM t.child'), 'older', 'a load deletes the day\'s rows in child tables as well');

# ---- views and triggers in place of rows

target(
	"CREATE TABLE t.base (LIKE tokens); CREATE VIEW t.target AS SELECT $columns FROM t.base;
	 CREATE FUNCTION t.instead() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
		IF TG_OP = 'DELETE' THEN DELETE FROM t.base WHERE address = OLD.address AND block_timestamp = OLD.block_timestamp; RETURN OLD; END IF;
		INSERT INTO t.base ($columns) VALUES (NEW.address, NEW.symbol, NEW.name, NEW.decimals, NEW.total_supply, NEW.block_timestamp, NEW.block_number, NEW.block_hash);
		RETURN NEW; END \$\$;
	 CREATE TRIGGER instead INSTEAD OF INSERT OR DELETE ON t.target FOR EACH ROW EXECUTE FUNCTION t.instead()");
twice('a view with INSTEAD OF triggers', 't.base');

target(
	"$like; ALTER TABLE t.target RENAME TO base;
	 CREATE VIEW t.target AS SELECT $columns FROM t.base WHERE block_number > 0 WITH CHECK OPTION");
twice('a view WITH CHECK OPTION', 't.base');
$f->query("CREATE OR REPLACE VIEW t.target AS SELECT $columns FROM t.base WHERE decimals <> 6 WITH CHECK OPTION");
like(fails(), qr/ERROR:  44000: new row violates check option for view "target"/, 'rows that violate WITH CHECK OPTION fail the day');
is($f->query('SELECT count(*) FROM t.base'), 50, 'rows that violate WITH CHECK OPTION: the old rows are kept');

target("CREATE VIEW t.target AS SELECT $columns FROM tokens GROUP BY $columns");
like(fails(), qr/ERROR:  42809: t.target does not allow both INSERT and DELETE/,
	'a view that cannot be written is an error');
is($f->requests, '', 'a view that cannot be written: BigQuery is not asked');
target("CREATE MATERIALIZED VIEW t.target AS SELECT $columns FROM tokens");
like(fails(), qr/ERROR:  42809: t.target is a materialized view and cannot be loaded.*HINT:  Load a table, and refresh the view in the source's after_load/s,
	'a materialized view is an error');
is($f->requests, '', 'a materialized view: BigQuery is not asked');
target('SELECT 1', table => 'pg_catalog.pg_class');
like(fails(), qr/ERROR:  42703: table pg_catalog.pg_class has no column "address"/, 'a system catalog as target lacks the columns');
target('CREATE FOREIGN TABLE t.relname (relname text) SERVER bigquery OPTIONS ("table" \'a.b.c\');
	UPDATE contratos_sources SET remote_table = \'t.relname\', timestamp_column = NULL, snapshot = true', table => 'pg_catalog.pg_class');
like($f->fails('SELECT contratos_run()'), qr/ERROR:  42809: pg_catalog.pg_class is a system catalog and cannot be loaded/, 'a system catalog as target is an error');
$f->query(q(UPDATE contratos_sources SET remote_table = 'bigquery_tokens', timestamp_column = 'block_timestamp', snapshot = false));
target('CREATE SEQUENCE t.target');
like(fails(), qr/ERROR:  42(809|703): /, 'a sequence as target is an error');
target('SELECT 1', table => 'bigquery_tokens');
like(fails(), qr/ERROR:  42809: public.bigquery_tokens does not allow both INSERT and DELETE/, 'the foreign table itself as target is an error');
like($f->fails(q(CREATE TEMP TABLE here (x int); UPDATE contratos_sources SET target_table = 'here')), qr/ERROR:  42P16: .*temporary/, 'a temporary table as target is an error');

# ---- constraints

target(
	"CREATE TABLE t.target (LIKE tokens, PRIMARY KEY (address));
	 CREATE TABLE t.seen (address text REFERENCES t.target ON DELETE CASCADE)");
is(run(), 'succeeded|50|0', 'a table that others refer to is loaded');
$f->query('INSERT INTO t.seen SELECT address FROM t.target LIMIT 3');
is(run(), 'succeeded|50|50', 'a table that others refer to is loaded again');
is($f->query('SELECT count(*) FROM t.seen'), 0, 'ON DELETE CASCADE takes the referring rows along');
my $refer = 'ALTER TABLE t.seen DROP CONSTRAINT seen_address_fkey, ADD FOREIGN KEY (address) REFERENCES t.target';
$f->query("$refer; INSERT INTO t.seen SELECT address FROM t.target LIMIT 3");
like(fails(), qr/ERROR:  23503: update or delete on table "target" violates foreign key constraint/,
	'a foreign key that is not deferred fails the day');
$f->query("$refer DEFERRABLE INITIALLY DEFERRED");
is(run(), 'succeeded|50|50', 'a deferred foreign key lets a day be replaced by the same rows');
is($f->query('SELECT count(*) FROM t.seen JOIN t.target USING (address)'), 3,
	'a deferred foreign key: referring rows stay');
$f->day('2026-11-20', 50, seed => 3);
like(fails(), qr/ERROR:  23503: update or delete on table "target" violates foreign key constraint/, 'a deferred foreign key: rows that do not come again fail the day');
is($f->query('SELECT count(*) FROM t.seen JOIN t.target USING (address)'), 3,
	'a deferred foreign key: a failed day loses nothing');
$f->day('2026-11-20', 50);

target("CREATE TABLE t.hashes (hash text PRIMARY KEY); CREATE TABLE t.target (LIKE tokens, FOREIGN KEY (block_hash) REFERENCES t.hashes);
	INSERT INTO t.hashes SELECT DISTINCT block_hash FROM bigquery_tokens WHERE block_timestamp >= '2026-11-20Z'");
twice('a table that refers to another', 't.target');
$f->query('TRUNCATE t.target; DELETE FROM t.hashes WHERE hash = (SELECT min(hash) FROM t.hashes)');
like(fails(), qr/ERROR:  23503: insert or update on table "target" violates foreign key constraint/, 'a row that violates a foreign key fails the day');
is($f->query('SELECT count(*) FROM t.target'), 0, 'a row that violates a foreign key: no row of the day is loaded');

target("CREATE TABLE t.target (LIKE tokens); CREATE UNIQUE INDEX ON t.target (decimals)");
like(fails(), qr/ERROR:  23505: duplicate key/, 'a unique index fails a day with duplicates');
target("$like; ALTER TABLE t.target ADD EXCLUDE (address WITH =)");
twice('an exclusion constraint', 't.target');

# ---- columns

target(
	"CREATE TABLE t.target (LIKE tokens, n bigint GENERATED BY DEFAULT AS IDENTITY (START 1000), always int GENERATED ALWAYS AS IDENTITY,
	 hour int GENERATED ALWAYS AS (extract(hour FROM block_timestamp AT TIME ZONE 'UTC')) STORED, made timestamptz DEFAULT now())");
twice('identity and generated columns', 't.target');
is($f->query('SELECT count(DISTINCT n), min(n), count(DISTINCT always), min(hour), max(hour), count(made) FROM t.target'), '50|1050|50|0|23|50', 'identity and generated columns are filled');

target('CREATE UNLOGGED TABLE t.target (LIKE tokens)');
twice('an unlogged table', 't.target');

# ---- row security: the owner sees all rows, or there is an error

target(
	"$like; ALTER TABLE t.target ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON t.target USING (decimals = 6);
	 CREATE ROLE boss; GRANT USAGE ON SCHEMA t TO boss; GRANT SELECT ON bigquery_tokens TO boss; ALTER TABLE t.target OWNER TO boss");
twice('a table with row security', 't.target');

# ---- a table that is elsewhere

$f->query(
	'CREATE EXTENSION postgres_fdw; CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host \'' . $f->node->host . '\', port \''
	  . $f->node->port . '\', dbname \'postgres\'); CREATE USER MAPPING FOR CURRENT_USER SERVER loopback');
target(
	"$like; ALTER TABLE t.target RENAME TO there;
	 CREATE FOREIGN TABLE t.target (address text, symbol text, name text, decimals numeric, total_supply numeric, block_timestamp timestamptz,
		block_number bigint, block_hash text) SERVER loopback OPTIONS (schema_name 't', table_name 'there', batch_size '20')");
twice('a foreign table of postgres_fdw', 't.there');
like($f->messages(q(SET TimeZone = 'Asia/Tokyo'; SET client_min_messages = debug1; SELECT contratos_run('2026-11-19'))), qr/^/, 'a load in another time zone into a foreign table of postgres_fdw');
is($f->query('SELECT count(*), count(*) FILTER (WHERE block_timestamp < $$2026-11-20Z$$) FROM t.there'), '100|50', 'a foreign table of postgres_fdw has the day before, too');
$f->query("ALTER TABLE t.there ADD CHECK (block_timestamp < '2026-11-20 12:00Z') NOT VALID");
like(fails(), qr/ERROR:  23514: new row for relation "there" violates check constraint/, 'a CHECK constraint of the remote table fails the day');
is($f->query('SELECT count(*) FROM t.there'), 100, 'a CHECK constraint of the remote table: its rows are kept');

target(
	"CREATE TABLE t.target (LIKE tokens) PARTITION BY RANGE (block_timestamp); CREATE TABLE t.there (LIKE tokens);
	 CREATE FOREIGN TABLE t.day PARTITION OF t.target FOR VALUES FROM ('2026-11-20Z') TO ('2026-11-21Z')
		SERVER loopback OPTIONS (schema_name 't', table_name 'there')");
twice('a partition that is elsewhere', 't.there');

# ---- names

my $odd = '"Ünï codé"."t""x"';
$f->query(
	qq(CREATE SCHEMA "Ünï codé";
	   CREATE TABLE $odd ("select" text, "a""b" text, "Name" text, "from" numeric, "user" numeric, "timestamp" timestamptz, "order" bigint, "çé \$1" text,
		"all" text DEFAULT 'kept');
	   CREATE FOREIGN TABLE "Ünï codé"."bq""x" ("select" text OPTIONS (name 'address'), "a""b" text OPTIONS (name 'symbol'), "Name" text OPTIONS (name 'name'),
		"from" numeric OPTIONS (name 'decimals', type 'STRING'), "user" numeric OPTIONS (name 'total_supply', type 'STRING'),
		"timestamp" timestamptz OPTIONS (name 'block_timestamp'), "order" bigint OPTIONS (name 'block_number'), "çé \$1" text OPTIONS (name 'block_hash'))
		SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens', partition_column 'timestamp', require_filter 'true');
	   CREATE FUNCTION "Ünï codé"."after ""it"""(source text, day date) RETURNS void LANGUAGE sql AS 'UPDATE $odd SET "all" = source';
	   UPDATE contratos_sources SET remote_table = '"Ünï codé"."bq""x"', timestamp_column = 'timestamp', after_load = '"Ünï codé"."after ""it"""'));
target('SELECT 1', table => $odd);
is(run(), 'succeeded|50|0', 'a target with odd names is loaded');
is(run(), 'succeeded|50|50', 'a target with odd names is loaded again');
is($f->query(qq(SELECT count(*), count("select"), count("a""b"), count("Name"), max("from"), count("user"), max("timestamp") < '2026-11-21Z', count("order"),
	min(length("çé \$1")), min("all") FROM $odd)), '50|50|50|50|18|50|t|50|66|tokens',
		'a target with odd names has each value in its column');
$f->query(qq(ALTER TABLE $odd DROP "çé \$1"));
like(fails(), qr/ERROR:  42703: table "Ünï codé"."t""x" has no column "çé \$1"/,
	'an error names a target with an odd name as it is');

$f->stop;
done_testing();
