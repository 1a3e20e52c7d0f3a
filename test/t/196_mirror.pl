# contratos_mirror(): a source for another BigQuery table in one call.
use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new;
my $bq = $f->bq;
my $eth = 'bigquery-public-data.crypto_ethereum';
my $lake = 'lab-project.lake';

sub mirror { return "SELECT source, remote_table, target_table, timestamp_column FROM contratos_mirror($_[0])"; }
sub sources { return $f->query(q(SELECT string_agg(name, ' ' ORDER BY name) FROM contratos_sources)); }
sub tables { return $f->query(q(SELECT string_agg(oid::regclass::text, ' ' ORDER BY oid::regclass::text COLLATE "C") FROM pg_class WHERE relkind IN ('r', 'f', 'i') AND relname ~ 'blocks|transactions|transfers|mine|mirrored')) }

# ---- before there is a server

like($f->fails(mirror("'$eth.blocks'")), qr/ERROR:  42704: server "bigquery" does not exist\nHINT:  CREATE SERVER bigquery FOREIGN DATA WRAPPER contratos;/, 'a mirror without a server is an error');
$f->query('CREATE SERVER bigquery FOREIGN DATA WRAPPER contratos');

# ---- one call

$bq->reset(tables => 0);
my ($code, $out, $err) = $f->psql("SELECT * FROM contratos_mirror('$eth.blocks')");
is($code, 0, 'contratos_mirror() succeeds') or diag $err;
is($out, 'blocks|public.bigquery_blocks|public.blocks|timestamp|10485760|0.00005960', 'contratos_mirror() returns the names and the estimate of a day');
is($f->requests, '1 token, 1 table_get, 1 insert', 'contratos_mirror() describes the table and estimates a day');
ok(($bq->requests('insert'))[0]{body}{configuration}{dryRun}, 'contratos_mirror() is free: its only job is a dry run');
like($err, qr/NOTICE:  00000: source "blocks" is registered and not enabled: nothing is loaded yet\nHINT:  Load a day: SELECT \* FROM contratos_run\(source => 'blocks'\); .*SET enabled = true WHERE name = 'blocks';/,
	'contratos_mirror() says what comes next');
is(tables(), 'bigquery_blocks blocks blocks_timestamp_idx', 'contratos_mirror() creates foreign table, target and index');
is($f->query(q(SELECT enabled, snapshot, start_date FROM contratos_sources WHERE name = 'blocks')), 'f|f|2026-11-20', 'a mirror is not enabled');
is($f->query(q(SELECT count(*) FROM blocks)) . $f->query('SELECT count(*) FROM contratos_runs'), '00', 'a mirror loads nothing');
is($f->query(q(SELECT string_agg(DISTINCT format('%s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull), '|')
	FROM pg_attribute a WHERE a.attrelid = 'blocks'::regclass AND a.attnum > 0
	AND NOT EXISTS (SELECT FROM pg_attribute f WHERE f.attrelid = 'bigquery_blocks'::regclass AND (f.attname, f.atttypid, f.attnotnull) = (a.attname, a.atttypid, a.attnotnull)))), '',
	'the target has the columns of the foreign table');
is($f->query(q(SELECT relreplident FROM pg_class WHERE relname = 'blocks')), 'f', 'the target can be published');
is($f->query(q(SELECT status, rows_loaded FROM contratos_run(source => 'blocks'))), 'succeeded|12', 'a day of a mirror can be loaded');
is($f->query(q(SELECT count(*), min(timestamp), sum(transaction_count) > 50, min(jsonb_array_length(withdrawals)) FROM blocks)), '12|2026-11-20 00:00:11+00|t|2', 'a mirror has the rows of the day');

# more than one, in a schema of their own
$f->query('CREATE SCHEMA eth');
is($f->query(mirror("'$eth.transactions', 'eth.transactions'")), 'transactions|eth.bigquery_transactions|eth.transactions|block_timestamp', 'a mirror in a schema');
is($f->query(mirror("'$eth.token_transfers', target => 'eth.moved', name => 'transfers', enabled => true")), 'transfers|eth.bigquery_moved|eth.moved|block_timestamp', 'a mirror under other names');
is($f->query(q(SELECT enabled FROM contratos_sources WHERE name = 'transfers')), 't', 'a mirror can be enabled at once');
is($f->query(q(SELECT count(*), bool_and(status = 'succeeded') FROM contratos_sources, contratos_backfill(5, name) WHERE name <> 'blocks')), '10|t', 'the mirrors of the sample have five days');
is($f->query(q(SELECT bool_and(t.hash IS NOT NULL), bool_and(m.value ~ '^\d+$') FROM eth.moved m LEFT JOIN eth.transactions t ON t.hash = m.transaction_hash)), 't|t',
	'transfers of the sample belong to its transactions');
is($f->query(q(SET search_path = eth; SELECT target_table FROM public.contratos_mirror('bigquery-public-data.crypto_ethereum.blocks', name => 'blocks2'))), 'eth.blocks', 'the target is created in the current schema');
$f->query(q(ALTER SERVER bigquery OPTIONS (ADD dataset_project 'bigquery-public-data')));
is($f->query(mirror("'crypto_ethereum.blocks', 'mine_a'")), 'mine_a|public.bigquery_mine_a|public.mine_a|timestamp', 'a dataset of the server\'s project needs no project');

# ---- names that BigQuery allows, and PostgreSQL's

$bq->table("$lake.2024 Orders-New", schema => [ { name => 'at', type => 'TIMESTAMP' } ], time_partitioning => { type => 'DAY', field => 'at' });
is($f->query(mirror("'$lake.2024 Orders-New'")), '_2024_orders_new|public.bigquery__2024_orders_new|public._2024_orders_new|at', 'a name with other characters becomes a plain one');
is($f->query(mirror("'$eth.blocks', '\"Mine\"', name => 'mine_b'")), 'mine_b|public."bigquery_Mine"|public."Mine"|timestamp', 'a target in double quotes keeps its case');
is($f->query(q(SELECT rows_loaded FROM contratos_run(source => 'mine_b'))), 12, 'a target in double quotes can be loaded');
like($f->fails(mirror("'$eth.blocks', '\"Mine2\"'")), qr/ERROR:  22023: "Mine2" cannot be the name of a source\n.*\nHINT:  .*name => /, 'refused: a target whose name cannot be a source\'s');
like($f->fails(mirror("'$eth.blocks', name => 'a b'")), qr/ERROR:  22023: "a b" cannot be the name of a source/, 'refused: an impossible name');
like($f->fails(mirror("'$lake." . 'x' x 60 . q('))), qr/ERROR:  22023: name "bigquery_x+" of the foreign table is too long\nHINT:  .*target => /, 'refused: a name that is too long');
like($f->fails(mirror("'$_'")), qr/ERROR:  22023: "\Q$_\E" is not the name of a BigQuery table\nDETAIL:  .*\nHINT:  Write it as 'project\.dataset\.table'\./, "refused: $_") for ("`$eth.blocks`", $eth =~ s/\./:/r . '.blocks');
like($f->fails(mirror("'$eth.blocks', 'other.public.blocks'")), qr/ERROR:  0A000: "other\.public\.blocks" is a table of another database\nHINT:  Write the target as 'schema\.table'/, 'refused: a target in another database');

# ---- what is taken

my $before = sources() . tables();
my %taken = (
	"'$eth.blocks'" => qr/ERROR:  42710: relation public\.blocks already exists\nHINT:  .*target => 'schema\.table'/,
	"'$eth.blocks', 'eth.blocks'" => qr/ERROR:  42710: relation eth\.blocks already exists/,
	"'$eth.blocks', 'other', name => 'blocks'" => qr/ERROR:  42710: source "blocks" already exists\nHINT:  .*name => /,
	"'$eth.blocks', 'taken'" => qr/ERROR:  42710: relation public\.bigquery_taken already exists\nHINT:  .*target => /,
);
$f->query('CREATE VIEW bigquery_taken AS SELECT 1');
$bq->reset(tables => 0);
like($f->fails(mirror($_)), $taken{$_}, "taken: $_") for sort keys %taken;
is($f->requests, '', 'BigQuery is not asked when a name is taken');

# ---- the column for days

my @at = ({ name => 'at', type => 'TIMESTAMP' }, { name => 'Day', type => 'DATE' }, { name => 'n', type => 'INT64' });
$bq->table("$lake.mirrored", schema => \@at, rows => [ [ '2026-11-20 10:00:00+00', '2026-11-20', 1 ], [ '2026-11-19 10:00:00+00', '2026-11-20', 2 ] ]);
$bq->table("$lake.no_days", schema => [ { name => 'n', type => 'INT64' } ], rows => [ [1], [2] ]);
$bq->table("$lake.by_number", schema => \@at, range_partitioning => { field => 'n', range => { start => 0, end => 10, interval => 1 } });
$bq->table("$lake.by_load", schema => [ { name => 'n', type => 'INT64' } ], time_partitioning => { type => 'DAY' }, rows => [ { n => 7, _PARTITIONTIME => '2026-11-20 00:00:00+00:00' } ]);
$bq->table("$lake.model", schema => \@at, type => 'MODEL');
like($f->fails(mirror("'$lake.mirrored'")),
	qr/ERROR:  22023: the column that cuts "$lake\.mirrored" into days is not known\nDETAIL:  Columns that can: at, "Day"\.\nHINT:  Name it: timestamp_column => 'at'\. Or snapshot => true/,
	'a table without partitions needs a timestamp_column');
like($f->fails(mirror("'$lake.by_number'")), qr/22023: the column that cuts .* is not known/, 'partitions of numbers do not cut days');
like($f->fails(mirror("'$lake.mirrored', timestamp_column => 'n'")), qr/ERROR:  22023: days of "$lake\.mirrored" cannot be cut by column "n"\nDETAIL:  Columns that can: at, "Day"\./, 'refused: a timestamp_column of another type');
like($f->fails(mirror("'$lake.mirrored', timestamp_column => 'nothing'")), qr/ERROR:  22023: days of .* cannot be cut by column "nothing"/, 'refused: a timestamp_column that does not exist');
like($f->fails(mirror("'$lake.no_days'")), qr/DETAIL:  It has no column of type TIMESTAMP, DATETIME or DATE\.\nHINT:  snapshot => true/, 'a table without such a column can only be a snapshot');
like($f->fails(mirror("'$lake.mirrored', timestamp_column => 'at', snapshot => true")), qr/ERROR:  22023: a full-table source has no timestamp_column/, 'refused: both timestamp_column and snapshot');
like($f->fails(mirror("'$lake.model'")), qr/NOTICE:  00000: table "model" is left out.*ERROR:  0A000: "$lake\.model" cannot be mirrored/s, 'refused: what is no table');
is(sources() . tables(), $before, 'a mirror that fails leaves nothing behind');

is($f->query(mirror("'$lake.mirrored', timestamp_column => 'Day'")), 'mirrored|public.bigquery_mirrored|public.mirrored|Day', 'a mirror cut by a DATE');
is($f->query(q(SELECT rows_loaded FROM contratos_run(source => 'mirrored'))), 2, 'a mirror cut by a DATE can be loaded');
is($f->query(mirror("'$lake.by_load'")), 'by_load|public.bigquery_by_load|public.by_load|_partitiontime', 'a mirror cut by the time of ingestion');
is($f->query(q(SELECT rows_loaded FROM contratos_run(source => 'by_load'))), 1, 'a mirror cut by the time of ingestion can be loaded');
is($f->query(mirror("'$lake.no_days', snapshot => true")), 'no_days|public.bigquery_no_days|public.no_days|', 'a snapshot');
is($f->query(q(SELECT rows_loaded FROM contratos_run(source => 'no_days'))), 2, 'a snapshot can be loaded');
is($f->query(mirror("'$eth.blocks', 'mine_c', snapshot => true")), 'mine_c|public.bigquery_mine_c|public.mine_c|', 'a snapshot of a partitioned table');
is($f->query(q(SELECT rows_loaded FROM contratos_run(source => 'mine_c'))), 60, 'a snapshot of a partitioned table can be loaded');

# ---- what does not exist, and costs

like($f->fails(mirror("'$_'")), qr/ERROR:  22023: "\Q$_\E" is not the name of a BigQuery table\nHINT:  Write it as 'project\.dataset\.table'\./, "refused: '$_'") for ('blocks', '.blocks', 'a.b.', '');
like($f->fails(mirror("'$eth.Blocks', 'mine_g'")), qr/ERROR:  HV00R: BigQuery has no table "Blocks" in dataset "$eth"\nDETAIL:  There is one named "blocks"\.\nHINT:  .*double quotes/, 'a name in another case has a hint');
$err = $f->fails(mirror("'$eth.nothing'"));
like($err, qr/ERROR:  HV00R: BigQuery has no table "nothing" in dataset "$eth"\nDETAIL:  It has: "blocks", "token_transfers", "tokens", "transactions"\.$/m, 'the error of a table that does not exist names those that do');
unlike($err, qr/double quotes/, 'the error of a table that does not exist proposes no double quotes when nothing is similar');
$err = $f->fails(qq(IMPORT FOREIGN SCHEMA "$eth" LIMIT TO (nothing) FROM SERVER bigquery INTO eth));
like($err, qr/DETAIL:  It has: "blocks"/, 'IMPORT FOREIGN SCHEMA names the tables that exist, too');
unlike($err, qr/double quotes/, 'IMPORT FOREIGN SCHEMA proposes no double quotes when nothing is similar');
$bq->dataset('lab-project.void');
like($f->fails(mirror(q('lab-project.void.x'))), qr/DETAIL:  It has: no tables\./, 'the error in an empty dataset');
$bq->table("$lake.t$_", schema => \@at) for 1 .. 20;
like($f->fails(mirror("'$lake.nothing'")), qr/DETAIL:  It has: (?:"[^"]+", ){9}"[^"]+" and \d+ more\./, 'the error in a large dataset names some tables');
like($f->fails(mirror("'$eth.blocks', 'mine_d', server => 'nowhere'")), qr/ERROR:  42704: server "nowhere" does not exist/, 'refused: a server that does not exist');
like($f->fails(mirror("'$eth.blocks', 'nowhere.blocks'")), qr/ERROR:  3F000: schema "nowhere" does not exist/, 'refused: a schema that does not exist');
like($f->fails('SET search_path = nowhere; SELECT * FROM public.contratos_mirror(' . "'$eth.blocks')"), qr/ERROR:  3F000: no schema has been selected/, 'refused: no schema to create in');
$f->query('CREATE FOREIGN DATA WRAPPER another; CREATE SERVER another FOREIGN DATA WRAPPER another');
like($f->fails(mirror("'$eth.blocks', 'mine_d', server => 'another'")), qr/ERROR:  42809: server "another" belongs to another foreign-data wrapper/, 'refused: a server of another wrapper');
like($f->fails("BEGIN READ ONLY; " . mirror("'$eth.blocks', 'mine_d'")), qr/ERROR:  25006:/, 'refused: in a read-only transaction');
like($f->fails("SELECT contratos_mirror($_)"), qr/ERROR:  22004: argument "\w+" must not be null/, "refused: $_") for ('NULL', "'a.b.c', snapshot => NULL", "'a.b.c', enabled => NULL", "'a.b.c', server => NULL");
$bq->table("$eth.blocks", bytes_processed => 2 << 30);
($code, $out, $err) = $f->psql("SELECT bytes_billed FROM contratos_mirror('$eth.blocks', 'mine_e')");
is($out, 2 << 30, 'the estimate of a mirror is that of a day');
like($err, qr/NOTICE:  00000: a load of 2026-11-20 would be refused/, 'a mirror over the byte cap is reported');
$bq->rule({ kind => 'insert' }, { hide_cost => JSON::PP::true });
is($f->query("SELECT source, bytes_billed IS NULL, price IS NULL FROM contratos_mirror('$eth.blocks', 'mine_h')"), 'mine_h|t|t', 'the estimate of a mirror is null where BigQuery hides it');

# ---- by a role with nothing but what it needs

$f->query(q(CREATE ROLE anna; CREATE SCHEMA hers; GRANT USAGE ON SCHEMA hers TO anna));
my $hers = "'$eth.transactions', 'hers.transactions', name => 'hers'";
$bq->reset(tables => 0);
like($f->fails('SET ROLE anna; ' . mirror($hers)), qr/ERROR:  42501: permission denied for function contratos_mirror/, 'contratos_mirror() is not granted to PUBLIC');
$f->query('GRANT EXECUTE ON FUNCTION contratos_mirror TO anna; GRANT EXECUTE ON FUNCTION contratos_run TO anna');
like($f->fails('SET ROLE anna; ' . mirror($hers)), qr/ERROR:  42501: permission denied to create a mirror\nDETAIL:  It needs USAGE on FOREIGN SERVER bigquery\.\nHINT:  GRANT USAGE ON FOREIGN SERVER bigquery TO anna;/, 'a mirror needs USAGE on the server');
$f->query('GRANT USAGE ON FOREIGN SERVER bigquery TO anna');
like($f->fails('SET ROLE anna; ' . mirror($hers)), qr/ERROR:  42501: permission denied to create a mirror\nDETAIL:  It needs CREATE on SCHEMA hers\.\nHINT:  GRANT CREATE ON SCHEMA hers TO anna;/, 'a mirror needs CREATE on the schema');
is($f->requests, '', 'BigQuery is not asked without these privileges');
$f->query('GRANT CREATE ON SCHEMA hers TO anna');
like($f->fails('SET ROLE anna; ' . mirror("'$eth.transactions', 'hers.mine', name => 'tokens'")),
	qr/ERROR:  42501: permission denied to register source "tokens"\nDETAIL:  It is the built-in source, and the default of all calls\.\nHINT:  .*contratos_setup\(\)/,
	'the role cannot take the name of the built-in source');
is($f->query('SET ROLE anna; ' . mirror($hers)), 'hers|hers.bigquery_transactions|hers.transactions|block_timestamp', 'a mirror of a role with EXECUTE, USAGE and CREATE');
is($f->query(q(SELECT string_agg(DISTINCT tableowner, ' ') FROM (SELECT tableowner FROM pg_tables WHERE schemaname = 'hers' UNION SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'bigquery_transactions' AND relnamespace = 'hers'::regnamespace) t)), 'anna', 'the tables belong to the role');
like($f->query(q(SET ROLE anna; SELECT status || rows_loaded FROM contratos_run(source => 'hers'))), qr/^succeeded\d+$/, 'the role can load its mirror');
is($f->query(q(BEGIN; SELECT contratos_mirror('bigquery-public-data.crypto_ethereum.transactions', 'mine_f'); ROLLBACK; SELECT count(*) FROM contratos_sources WHERE name = 'mine_f')) =~ s/.*\n//sr, 0, 'a mirror can be rolled back');

$f->stop;
done_testing();
