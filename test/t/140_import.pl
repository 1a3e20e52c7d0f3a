# IMPORT FOREIGN SCHEMA: a dataset's tables as foreign tables.
use strict;
use warnings;
use utf8;

use Digest::SHA qw(sha256_hex);
use Encode qw(encode_utf8);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new;
my $bq = $f->bq;
$f->query('SELECT contratos_setup()');

my $dataset = 'lab-project.lake';
my $number = 0;
my $schema;
# for what takes a second, unless it takes hundreds
my $in_time = $ENV{CONTRATOS_SANITIZERS} ? '60s' : '4s';

# A new schema to import into.
sub fresh { $schema = 'i' . ++$number; return $f->query("CREATE SCHEMA $schema"); }

sub statement { return "IMPORT FOREIGN SCHEMA \"$_[0]\" $_[1] FROM SERVER bigquery INTO $schema"; }

# Messages without what psql and VERBOSITY add.
sub plain { my ($said) = @_; $said =~ s/^psql:<stdin>:\d+: |^LOCATION: .*(?:\n|\z)//mg; $said =~ s/\s+\z//; return $said; }

# The messages of an import of $dataset into a fresh schema.
sub import_it { fresh(); return plain($f->messages(statement($dataset, $_[0] // ''))); }

sub import_fails { fresh(); return plain($f->fails(statement($_[0], $_[1] // ''))); }

# Foreign tables of the last import.
sub tables { return $f->query("SELECT string_agg(relname, ', ' ORDER BY relname COLLATE \"C\") FROM pg_class WHERE relkind = 'f' AND relnamespace = '$schema'::regnamespace"); }

# "name type [not null] {options}" a line.
sub columns
{
	return $f->query(
		qq(SELECT concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'not null' END, attfdwoptions::text)
		   FROM pg_attribute WHERE attrelid = '$schema.$_[0]'::regclass AND attnum > 0 ORDER BY attnum));
}

sub options { return $f->query("SELECT ftoptions FROM pg_foreign_table WHERE ftrelid = '$schema.$_[0]'::regclass"); }

# What becomes of a name that cannot be kept: its beginning, of so many characters, and a hash of it all.
sub cut { my ($name, $characters) = @_; return substr($name, 0, $characters) . '_' . substr sha256_hex(encode_utf8($name)), 0, 10; }

sub create { my ($name, %more) = @_; return $bq->table("$dataset.$name", schema => [ { name => 'a', type => 'INT64' } ], %more); }

# ---- one table, as it is

$bq->table(
	"$dataset.events",
	schema => [
		{ name => 'id', type => 'INT64', mode => 'REQUIRED', description => "the number\nit's \\ \"odd\" äöü 🐘" },
		{ name => 'At', type => 'TIMESTAMP' },
		{ name => 'select', type => 'STRING', description => '' },
		{ name => 'tags', type => 'STRING', mode => 'REPEATED' },
		{ name => 'span', type => 'RANGE', rangeElementType => { type => 'DATE' } },
		{ name => 'ctid', type => 'BOOL' },
		{ name => 'who', type => 'STRUCT', fields => [ { name => 'x', type => 'FLOAT64' } ] },
		{ name => 'more', type => 'STRUCT', mode => 'REPEATED', fields => [ { name => 'y', type => 'DATE' } ] },
	],
	time_partitioning => { type => 'DAY', field => 'At' },
	rows => [ { id => 1, At => '2026-11-20 12:00:00+00:00', select => 'x', tags => [ 'p', 'q' ] } ]);
create($_) for 'other', 'Mixed';
$bq->reset(tables => 0);
is(import_it('LIMIT TO (events)'), '', 'LIMIT TO imports a table without a notice');
is(tables(), 'events', 'LIMIT TO imports no other table');
is($f->requests, '1 token, 1 table_get', 'LIMIT TO does not list the dataset\'s tables');
is(columns('events'), join("\n",
		'id bigint not null {type=INT64,"description=the number',
		'it\'s \\\\ \\"odd\\" ' . encode_utf8('äöü 🐘') . '"}',
		'"At" timestamp with time zone {type=TIMESTAMP}',
		'"select" text {type=STRING}',
		'tags text[] {type=ARRAY<STRING>}',
		$f->query("SELECT 'span ' || format_type(atttypid, -1) || ' {type=RANGE<DATE>}' FROM pg_attribute WHERE attrelid = '$schema.events'::regclass AND attname = 'span'"),
		cut('ctid', 4) . ' boolean {name=ctid,type=BOOL}',
		'who jsonb {type=STRUCT}',
		'more jsonb {type=ARRAY<STRUCT>}'),
	'an imported table has its columns, with type, NOT NULL, description and a name');
is(options('events'), '{table=lab-project.lake.events,partition_column=At,require_filter=true}', 'an imported table has its partition column');
is($f->query(qq(SELECT id, "At", "select" FROM $schema.events WHERE "At" >= '2026-11-20')), '1|2026-11-20 12:00:00+00|x', 'an imported table can be read');
like($f->fails("SELECT id FROM $schema.events"), qr/ERROR:  55000: a query of foreign table "events" needs a condition on column "At"/,
	'an imported table cannot be read without a condition on its partition column');

# ---- kinds of tables, and of partitions

my %kinds = (view => 'VIEW', mview => 'MATERIALIZED_VIEW', ext => 'EXTERNAL', snap => 'SNAPSHOT', model => 'MODEL');
create($_, type => $kinds{$_}) for sort keys %kinds;
create('by_load', time_partitioning => { type => 'HOUR' }, rows => [ { a => 7, _PARTITIONTIME => '2026-11-20 05:00:00+00:00' } ]);
create('by_range', range_partitioning => { field => 'A', range => { start => 0, end => 10, interval => 1 } }, require_partition_filter => 1);
create('empty', attributes => { schema => undef });
create('newer', attributes => { schema => { fields => [ { name => 'a', type => 'INTEGER' }, { name => 'q', type => 'QUBIT', mode => 'REPEATED' } ] } });
my $said = import_it();
is(tables(), 'Mixed, by_load, by_range, events, ext, mview, newer, other, snap, view', 'all are imported');
like($said, qr/^NOTICE:  00000: table "model" is left out\nDETAIL:  It is a MODEL\.$/m, 'but what is no table');
like($said, qr/^NOTICE:  00000: table "empty" is left out\nDETAIL:  It has no columns that could be read\.$/m, 'what has no columns');
like($said, qr/^NOTICE:  00000: column "q" of table "newer" is left out\nDETAIL:  Its type is ARRAY<QUBIT>, which has no equivalent in PostgreSQL\.$/m,
	'and columns of types nobody knows');
is(options('by_load'), '{table=lab-project.lake.by_load,partition_column=_partitiontime,require_filter=true}', 'partitions of arrival');
is(columns('by_load'), "a bigint {type=INT64}\n_partitiontime timestamp with time zone {name=_PARTITIONTIME,type=TIMESTAMP}", 'have a column');
is(options('by_range'), '{table=lab-project.lake.by_range,partition_column=a,require_filter=true}', 'those of numbers are one');
is(options('other'), '{table=lab-project.lake.other}', 'others have none');
is(import_it('EXCEPT (events, model, "empty", newer, "Mixed")'), '', 'EXCEPT leaves out');
is(tables(), 'by_load, by_range, ext, mview, other, snap, view', 'what it names');
import_it('LIMIT TO (model, other)');
is(tables(), 'other', 'LIMIT TO does not import a model');

# ---- what is not there

my $error = import_fails($dataset, 'LIMIT TO (other, mixed)');
like($error, qr/ERROR:  HV00R: BigQuery has no table "mixed" in dataset "lab-project\.lake"\n/, 'LIMIT TO a table that does not exist is an error');
like($error, qr/^DETAIL:  There is one named "Mixed"\.\nHINT:  BigQuery names are case-sensitive/m, 'the error of a missing table names one of another case');
is(tables(), '', 'LIMIT TO a table that does not exist imports nothing');
like(import_fails('lab-project.sea'), qr/ERROR:  42P01: BigQuery: Not found: Dataset lab-project:sea\nDETAIL:  BigQuery's reason: notFound, HTTP status 404\.\nHINT:  Check the name "lab-project\.sea"/,
	'a dataset that does not exist is an error');
like(import_fails('lab-project.sea', 'LIMIT TO (a)'), qr/Not found: Dataset lab-project:sea/, 'a dataset that does not exist is an error with LIMIT TO, too');
like(import_fails('nobody.sea'), qr/ERROR:  42501: BigQuery: Access Denied: .*\nDETAIL:  BigQuery's reason: accessDenied, HTTP status 403\.\nHINT:  The service account needs roles\/bigquery\.dataViewer/,
	'a dataset without access is an error');
like(import_fails('a b'), qr/ERROR:  22023: "a b" is not a valid dataset name/, 'an invalid name of a dataset is an error');
$bq->dataset('lab-project.void');
fresh();
is($f->messages(statement('lab-project.void', '')), '', 'an empty dataset is imported without a notice');
my $vanished = $bq->rule({ kind => 'table_get', table => "$dataset.other" }, { status => 404, reason => 'notFound', message => 'Not found' });
like(import_it('EXCEPT (model, "empty", newer)'), qr/^NOTICE:  00000: table "other" is left out\nDETAIL:  It has been dropped meanwhile\.\s*$/m,
	'a table that is dropped during the import is left out');
is(tables(), 'Mixed, by_load, by_range, events, ext, mview, snap, view',
	'a table that is dropped during the import does not stop the others');

# ---- where the dataset is

like(import_fails('lake'), qr/Not found: Dataset test-project:lake/, 'a dataset without a project is in the project billed');
fresh();
$f->query("CREATE SERVER lab FOREIGN DATA WRAPPER contratos OPTIONS (dataset_project 'lab-project', location 'EU')");
$said = plain($f->messages("IMPORT FOREIGN SCHEMA lake LIMIT TO (other, events) FROM SERVER lab INTO $schema"));
is(options('other'), '{table=lab-project.lake.other}',
	'a dataset without a project is in the server\'s dataset_project');
like($said, qr/^WARNING:  01000: dataset "lab-project\.lake" is in location US, and server "lab" looks for data in EU\n/, 'a dataset in another location than the server\'s is a WARNING');
like($said, qr/^HINT:  Set option "location" of the server to 'US'\.$/m, 'the WARNING of another location has a hint');
is(() = $said =~ /location US/g, 1, 'the WARNING of another location is reported once');
$bq->reset(tables => 0);
my $domain = $bq->rule({ kind => 'table_get' },
	{ status => 200, body => { type => 'VIEW', schema => { fields => [ { name => 'a', type => 'INTEGER' } ] } } });
fresh();
$f->query(statement('example.com:lab.lake', 'LIMIT TO (t)'));
is(($bq->requests('table_get'))[0]{path}, '/bigquery/v2/projects/example.com%3Alab/datasets/lake/tables/t', 'a project with a domain is asked for');
is(options('t'), '{table=example.com:lab.lake.t}', 'a project with a domain is in the table option');
my $long = 'd' x 80;
$bq->table("lab-project.$long.t", schema => [ { name => 'a', type => 'INT64' } ]);
like(import_fails("lab-project.$long"), qr/NOTICE:  00000: the name of the dataset may have been cut/, 'a long name of a dataset may have been cut');
$f->query("IMPORT FOREIGN SCHEMA anything FROM SERVER bigquery INTO $schema OPTIONS (dataset 'lab-project.$long')");
is(options('t'), "{table=lab-project.$long.t}", 'a long name of a dataset is an option of the import');
like($f->fails("IMPORT FOREIGN SCHEMA anything FROM SERVER bigquery INTO $schema OPTIONS (datasets 'x')"),
	qr/ERROR:  HV00D: invalid option "datasets"\nHINT:  Valid options in this context are: dataset/, 'an unknown option of the import is an error');

# ---- odd names

$dataset = 'lab-project.odd';
my $same = 'x' x 70;
my $wide = 'ü' x 40;
my $columns = 'c' x 70;
create($_) for "$same-a", "$same-b", 'x' x 63, "with space", 'ünï-код', 'table';
$bq->table("$dataset.$wide", schema => [ map { { name => $_, type => 'STRING' } } "${columns}1", "${columns}2", 'Äpfel', 'user', 'naïve' ],
	rows => [ [ 1 .. 5 ] ]);
is(import_it(), '', 'odd names are imported');
my ($xa, $xb) = map { cut("$same-$_", 52) } 'a', 'b';
my $u = encode_utf8(cut($wide, 26));
is(tables(), join(', ', sort 'table', 'with space', $xa, $xb, 'x' x 63, encode_utf8('ünï-код'), $u), 'tables with odd names each have a name of their own')
	or diag(tables());
is(options("\"$xa\""), "{table=$dataset.$same-a}", 'a long name that was cut ends in a hash');
is(options("\"$xb\""), "{table=$dataset.$same-b}", 'another long name that was cut has another hash');
my ($c1, $c2) = map { cut("$columns$_", 52) } 1, 2;
is(columns("\"$u\""), join("\n", "$c1 text {name=${columns}1,type=STRING}", "$c2 text {name=${columns}2,type=STRING}",
		map { encode_utf8($_) } '"Äpfel" text {type=STRING}', '"user" text {type=STRING}', '"naïve" text {type=STRING}'), 'long names of columns end in a hash');
is($f->query("SELECT * FROM $schema.\"$u\""), '1|2|3|4|5', 'a table with odd names of columns can be read');
import_it("LIMIT TO (\"$xb\", \"$u\")");
is(tables(), "$xb, $u", 'LIMIT TO takes names with a hash');
import_it(encode_utf8("LIMIT TO (\"$wide\")"));
is(tables(), encode_utf8('ü' x 31), 'LIMIT TO takes a long name as PostgreSQL cuts it');
is(options('"' . encode_utf8('ü' x 31) . '"'), encode_utf8("{table=$dataset.$wide}"),
	'a long name in LIMIT TO is that table');

$dataset = 'lab-project.two';
create($_) for "$same-a", "$same-b";
like(import_fails($dataset, "LIMIT TO (\"$same-a\")"), qr/^DETAIL:  There is one named "$xa"\.$/m, 'the error of a long name that several tables share names one of them');

# a name depends on nothing but the name
$dataset = 'lab-project.odder';
create($_) for "$same-b", 'x' x 63, $xa;
import_it();
is(tables(), join(', ', sort $xa, $xb, 'x' x 63), 'names with a hash do not depend on other tables');
is(options("\"$xb\""), "{table=$dataset.$same-b}", 'names with a hash stand for the same tables');
create("$same-a");
import_it();
is(options("\"$xa\""), "{table=$dataset.$xa}", 'a table whose own name looks like one with a hash keeps it');
is(() = tables() =~ /\b${\substr $xa, 0, 53}/g, 3, 'a table whose hashed name is taken gets another');

# in an encoding in which half a character is none
$f->query(q(CREATE DATABASE japanese ENCODING 'EUC_JP' LOCALE 'C' TEMPLATE template0));
$f->use_database('japanese');
$f->query("CREATE EXTENSION contratos; SELECT contratos_setup(); SET client_encoding = 'UTF8'");
$dataset = 'lab-project.japanese';
create('あ' x 40);
fresh();
$f->query(statement($dataset, ''));
is($f->query("SET client_encoding = 'UTF8'; SELECT relname FROM pg_class WHERE relnamespace = '$schema'::regnamespace"),
	encode_utf8(cut('あ' x 40, 26)), 'EUC_JP: cut between characters, with the hash it has in UTF8');
$f->use_database('postgres');

# ---- names that begin alike, as many as there may be

sub many_tables { my (@names) = @_; return { status => 200, body => { tables => [ map { { type => 'MODEL', tableReference => { tableId => $_ } } } @names ] } }; }

$dataset = 'lab-project.odd';
$bq->reset(tables => 0);
$bq->rule({ kind => 'tables_list' }, many_tables(map { "${same}_$_" } 1 .. 4000));
$said = do { fresh(); plain($f->messages("SET statement_timeout = '$in_time'; " . statement($dataset, ''))); };
is(() = $said =~ /is left out/g, 4000, 'four thousand tables with long names that begin alike are imported in time');
$dataset = 'lab-project.wide';
$bq->table("$dataset.t", schema => [ map { { name => "${columns}_$_", type => 'INT64' } } 1 .. 1600 ]);
fresh();
$f->query("SET statement_timeout = '$in_time'; " . statement($dataset, ''));
is($f->query("SELECT count(DISTINCT attname) FROM pg_attribute WHERE attrelid = '$schema.t'::regclass AND attnum > 0"), 1600, '1,600 columns with long names that begin alike are imported in time');

# ---- lists that do not end, and answers that no table has

$dataset = 'lab-project.odd';
for my $circle (1, 2, 5)
{
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'tables_list', nth => $_, times => 1 }, { status => 200, body => { nextPageToken => 'page' . $_ % $circle } }) for 1 .. 40;
	like(import_fails($dataset), qr/ERROR:  HV000: BigQuery's list of tables has no end: a page's token came twice/, "a list whose pages go round, $circle in all");
	cmp_ok(scalar($bq->requests('tables_list')), '<=', 20,
		"a list of tables with $circle pages in a circle is given up soon");
}
$bq->reset(tables => 0);
$bq->rule({ kind => 'tables_list' }, { status => 200, body => { tables => [ map { { type => 'MODEL', tableReference => { tableId => $_ } } } 'a', 'b' ], nextPageToken => 'x' } });
$bq->rule({ kind => 'tables_list' }, { status => 200, body => { tables => [ map { { type => 'MODEL', tableReference => { tableId => $_ } } } 'b', 'c' ] } });
$said = import_it();
is(join(' ', $said =~ /table "(.)" is left out/g), 'a b c', 'a table on two pages of the list is imported once');
$bq->rule({ kind => 'tables_list' }, many_tables('n' x 1025));
like(import_fails($dataset), qr/ERROR:  HV000: BigQuery's answer lists a table without a name, or with one of more than 1024 bytes/, 'a table name that is too long is an error');
my @fields = map { { name => "c$_", type => 'INTEGER' } } 1 .. 10_001;
for my $schema_of ([ 'columns', @fields ], [ 'columns in columns', { name => 's', type => 'RECORD', fields => [ @fields[ 0 .. 9_999 ] ] } ])
{
	my ($name, @schema) = @$schema_of;
	$bq->rule({ kind => 'table_get' }, { status => 200, body => { type => 'TABLE', schema => { fields => \@schema } } });
	like(import_fails($dataset, 'LIMIT TO (t)'), qr/ERROR:  54000: BigQuery's answer describes more than 10000 columns/, "more $name than BigQuery allows is an error");
}
$bq->reset(tables => 0);

# ---- a table a day

$dataset = 'lab-project.shards';
create($_) for map { ("events_202611$_", "clicks_intraday_202611$_") } '08', '09', '10';
create($_) for 'clicks_20261101', 'events_20261199', 'events_2026111', 'events_log';
$said = import_it();
is(tables(), 'clicks_20261101, clicks_intraday_20261110, events_2026111, events_20261110, events_20261199, events_log', 'an import has the newest of date-sharded tables');
like($said, qr/^NOTICE:  00000: only the newest of the tables "events_YYYYMMDD" is imported: "events_20261110"\nDETAIL:  There are 2 older ones/m, 'an import reports that only the newest shard is imported');
is(() = $said =~ /NOTICE/g, 2, 'an import reports only shards that have older ones');
is(import_it('LIMIT TO (events_20261108)'), '', 'LIMIT TO a shard imports without a notice');
is(tables(), 'events_20261108', 'LIMIT TO imports the shard that it names');
import_it('LIMIT TO (events, clicks_intraday_)');
is(tables(), 'clicks_intraday_, events', 'LIMIT TO takes the common prefix of shards');
is(options('events'), "{table=$dataset.events_20261110}", 'the common prefix of shards is the newest of them');
import_it('EXCEPT (events_20261110)');
like(tables(), qr/events_20261109/, 'EXCEPT of the newest shard imports the one before');

# ---- many, and cancel

$dataset = 'lab-project.many';
my $count = 1030;
create(sprintf('t%04d', $_), attributes => { schema => undef }) for 1 .. $count;
create('t0001a');
$bq->reset(tables => 0);
my $stalled = $bq->rule({ kind => 'tables_list', nth => 2 }, { stall => 'mid_body' });
fresh();
my $session = $f->begin(statement($dataset, ''));
$bq->wait(rule => $stalled, state => 'stalled');
$f->query(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'IMPORT%' AND pid <> pg_backend_pid()));
my ($code, undef, $err) = $f->finish($session);
like($err, qr/ERROR:  57014/, 'an import can be canceled while it lists tables');
$bq->wait(rule => $stalled, state => 'closed');
$stalled = $bq->rule({ kind => 'table_get', nth => 3 }, { stall => 'before_headers' });
$session = $f->begin(statement($dataset, ''));
$bq->wait(rule => $stalled, state => 'stalled');
$f->query(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'IMPORT%' AND pid <> pg_backend_pid()));
($code, undef, $err) = $f->finish($session);
like($err, qr/ERROR:  57014/, 'an import can be canceled while it gets a table');
$bq->reset(tables => 0);
$said = import_it();
is(() = $said =~ /is left out/g, $count, 'an import of more tables than a page holds');
is(tables(), 't0001a', 'an import looks at the tables of all pages');
is($f->requests, "1 token, 2 tables_list, @{[ $count + 1 ]} table_get", 'an import gets each table once');

# ---- as many columns as can be

$dataset = 'lab-project.broad';
$bq->table("$dataset.t", schema => [ map { { name => "c$_", type => 'INT64' } } 1 .. 1605 ]);
like(import_it(), qr/NOTICE:  00000: everything after column 1600 of table "t" is left out/, 'an import leaves out columns that PostgreSQL has no room for');
is($f->query("SELECT count(*) FROM pg_attribute WHERE attrelid = '$schema.t'::regclass AND attnum > 0"), 1600, 'an import keeps 1,600 columns');

# ---- rights

$f->query("CREATE ROLE anna; GRANT USAGE ON FOREIGN SERVER bigquery TO anna; CREATE ROLE bert; CREATE SCHEMA anna; GRANT ALL ON SCHEMA anna TO anna, bert");
is($f->messages('SET ROLE anna; IMPORT FOREIGN SCHEMA "lab-project.lake" LIMIT TO (other) FROM SERVER bigquery INTO anna'), '', 'a role with USAGE on the server may import');
like($f->fails('SET ROLE bert; IMPORT FOREIGN SCHEMA "lab-project.lake" LIMIT TO (other) FROM SERVER bigquery INTO anna'), qr/ERROR:  42501/, 'a role without USAGE on the server may not import');

# ---- and is loaded, columns left out and renamed

$dataset = 'lab-project.lake';
fresh();
$bq->table("$dataset.blocks",
	schema => [
		{ name => 'timestamp', type => 'TIMESTAMP', mode => 'REQUIRED' }, { name => 'number', type => 'INT64', mode => 'REQUIRED' },
		{ name => 'hash', type => 'STRING' }, { name => 'size', type => 'INT64' } ],
	time_partitioning => { type => 'DAY', field => 'timestamp' },
	rows => [ map { [ "2026-11-20 0$_:00:00+00:00", $_, "0x$_", 100 ] } 1 .. 5 ]);
$f->query(statement($dataset, 'LIMIT TO (blocks)'));
$f->query(
	qq(ALTER FOREIGN TABLE $schema.blocks DROP COLUMN size;
	ALTER FOREIGN TABLE $schema.blocks RENAME COLUMN number TO height;
	ALTER FOREIGN TABLE $schema.blocks ALTER COLUMN height OPTIONS (ADD name 'number');
	CREATE TABLE blocks (LIKE $schema.blocks);
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
	VALUES ('blocks', '$schema.blocks', 'blocks', 'timestamp')));
is($f->query(q(SELECT status, rows_loaded FROM contratos_run('2026-11-20', 'blocks'))), 'succeeded|5',
	'an imported table is loaded');
is($f->query('SELECT string_agg(height || hash, \',\' ORDER BY height) FROM blocks'), '10x1,20x2,30x3,40x4,50x5', 'an imported table loads its columns left and renamed');

$f->stop;
done_testing();
