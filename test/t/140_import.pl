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
is(import_it('LIMIT TO (events)'), '', 'one table is imported');
is(tables(), 'events', 'and only that');
is($f->requests, '1 token, 1 table_get', 'without a list of the others');
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
	'its columns, with types, NOT NULL, description, and a name where it cannot be the same');
is(options('events'), '{table=lab-project.lake.events,partition_column=At,require_filter=true}', 'its partition column');
is($f->query(qq(SELECT id, "At", "select" FROM $schema.events WHERE "At" >= '2026-11-20')), '1|2026-11-20 12:00:00+00|x', 'and its rows can be read');
like($f->fails("SELECT id FROM $schema.events"), qr/ERROR:  55000: a query of foreign table "events" needs a condition on column "At"/,
	'not without a condition');

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
is(tables(), 'other', 'what is no table cannot be named either');

# ---- what is not there

my $error = import_fails($dataset, 'LIMIT TO (other, mixed)');
like($error, qr/ERROR:  HV00R: BigQuery has no table "mixed" in dataset "lab-project\.lake"\n/, 'a table that is not there');
like($error, qr/^DETAIL:  There is one named "Mixed"\.\nHINT:  BigQuery names are case-sensitive/m, 'by the name of one that is');
is(tables(), '', 'is an error for all');
like(import_fails('lab-project.sea'), qr/ERROR:  42P01: BigQuery: Not found: Dataset lab-project:sea\nHINT:  Check the name "lab-project\.sea"/,
	'nor a dataset');
like(import_fails('lab-project.sea', 'LIMIT TO (a)'), qr/Not found: Dataset lab-project:sea/, 'whatever of it is wanted');
like(import_fails('nobody.sea'), qr/ERROR:  42501: BigQuery: Access Denied: .*\nHINT:  The service account needs roles\/bigquery\.dataViewer/,
	'nor one that may not be looked at');
like(import_fails('a b'), qr/ERROR:  22023: "a b" is not a valid dataset name/, 'nor what is no name');
$bq->dataset('lab-project.void');
fresh();
is($f->messages(statement('lab-project.void', '')), '', 'an empty one is just empty');
my $vanished = $bq->rule({ kind => 'table_get', table => "$dataset.other" }, { status => 404, reason => 'notFound', message => 'Not found' });
like(import_it('EXCEPT (model, "empty", newer)'), qr/^NOTICE:  00000: table "other" is left out\nDETAIL:  It has been dropped meanwhile\.\s*$/m,
	'nor does one that has gone meanwhile matter');
is(tables(), 'Mixed, by_load, by_range, events, ext, mview, snap, view', 'to the others');

# ---- where the dataset is

like(import_fails('lake'), qr/Not found: Dataset test-project:lake/, 'a dataset without a project is of the one billed');
fresh();
$f->query("CREATE SERVER lab FOREIGN DATA WRAPPER contratos OPTIONS (dataset_project 'lab-project', location 'EU')");
$said = plain($f->messages("IMPORT FOREIGN SCHEMA lake LIMIT TO (other, events) FROM SERVER lab INTO $schema"));
is(options('other'), '{table=lab-project.lake.other}', 'or of the one its server says');
like($said, qr/^WARNING:  01000: dataset "lab-project\.lake" is in location US, and server "lab" looks for data in EU\n/, 'another location');
like($said, qr/^HINT:  Set option "location" of the server to 'US'\.$/m, 'is told');
is(() = $said =~ /location US/g, 1, 'once');
$bq->reset(tables => 0);
my $domain = $bq->rule({ kind => 'table_get' },
	{ status => 200, body => { type => 'VIEW', schema => { fields => [ { name => 'a', type => 'INTEGER' } ] } } });
fresh();
$f->query(statement('example.com:lab.lake', 'LIMIT TO (t)'));
is(($bq->requests('table_get'))[0]{path}, '/bigquery/v2/projects/example.com%3Alab/datasets/lake/tables/t', 'a project may have a domain');
is(options('t'), '{table=example.com:lab.lake.t}', 'and keeps it');
my $long = 'd' x 80;
$bq->table("lab-project.$long.t", schema => [ { name => 'a', type => 'INT64' } ]);
like(import_fails("lab-project.$long"), qr/NOTICE:  00000: the name of the dataset may have been cut/, 'a long name is cut');
$f->query("IMPORT FOREIGN SCHEMA anything FROM SERVER bigquery INTO $schema OPTIONS (dataset 'lab-project.$long')");
is(options('t'), "{table=lab-project.$long.t}", 'but not as an option');
like($f->fails("IMPORT FOREIGN SCHEMA anything FROM SERVER bigquery INTO $schema OPTIONS (datasets 'x')"),
	qr/ERROR:  HV00D: invalid option "datasets"\nHINT:  Valid options in this context are: dataset/, 'others there are none');

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
is(tables(), join(', ', sort 'table', 'with space', $xa, $xb, 'x' x 63, encode_utf8('ünï-код'), $u), 'each under one of its own')
	or diag(tables());
is(options("\"$xa\""), "{table=$dataset.$same-a}", 'which a hash of the whole makes');
is(options("\"$xb\""), "{table=$dataset.$same-b}", 'none twice');
my ($c1, $c2) = map { cut("$columns$_", 52) } 1, 2;
is(columns("\"$u\""), join("\n", "$c1 text {name=${columns}1,type=STRING}", "$c2 text {name=${columns}2,type=STRING}",
		map { encode_utf8($_) } '"Äpfel" text {type=STRING}', '"user" text {type=STRING}', '"naïve" text {type=STRING}'), 'columns likewise');
is($f->query("SELECT * FROM $schema.\"$u\""), '1|2|3|4|5', 'all can be read');
import_it("LIMIT TO (\"$xb\", \"$u\")");
is(tables(), "$xb, $u", 'LIMIT TO takes these names');
import_it(encode_utf8("LIMIT TO (\"$wide\")"));
is(tables(), encode_utf8('ü' x 31), 'one that no other shares is imported as it is cut');
is(options('"' . encode_utf8('ü' x 31) . '"'), encode_utf8("{table=$dataset.$wide}"), 'and is that table');

$dataset = 'lab-project.two';
create($_) for "$same-a", "$same-b";
like(import_fails($dataset, "LIMIT TO (\"$same-a\")"), qr/^DETAIL:  There is one named "$xa"\.$/m, 'where several share it, that is told');

# a name depends on nothing but the name
$dataset = 'lab-project.odder';
create($_) for "$same-b", 'x' x 63, $xa;
import_it();
is(tables(), join(', ', sort $xa, $xb, 'x' x 63), 'in another company: the same names');
is(options("\"$xb\""), "{table=$dataset.$same-b}", 'for the same tables');
create("$same-a");
import_it();
is(options("\"$xa\""), "{table=$dataset.$xa}", 'who is called so keeps his name');
is(() = tables() =~ /\b${\substr $xa, 0, 53}/g, 3, 'the other has one more');

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
$said = do { fresh(); plain($f->messages(q(SET statement_timeout = '4s'; ) . statement($dataset, ''))); };
is(() = $said =~ /is left out/g, 4000, 'four thousand tables whose names begin alike are named while one waits');
$dataset = 'lab-project.wide';
$bq->table("$dataset.t", schema => [ map { { name => "${columns}_$_", type => 'INT64' } } 1 .. 1600 ]);
fresh();
$f->query(q(SET statement_timeout = '4s'; ) . statement($dataset, ''));
is($f->query("SELECT count(DISTINCT attname) FROM pg_attribute WHERE attrelid = '$schema.t'::regclass AND attnum > 0"), 1600, 'and as many columns as a table can have');

# ---- lists that do not end, and answers that no table has

$dataset = 'lab-project.odd';
for my $circle (1, 2, 5)
{
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'tables_list', nth => $_, times => 1 }, { status => 200, body => { nextPageToken => 'page' . $_ % $circle } }) for 1 .. 40;
	like(import_fails($dataset), qr/ERROR:  HV000: BigQuery's list of tables has no end: a page's token came twice/, "a list whose pages go round, $circle in all");
	cmp_ok(scalar($bq->requests('tables_list')), '<=', 20, '... is soon given up');
}
$bq->reset(tables => 0);
$bq->rule({ kind => 'tables_list' }, { status => 200, body => { tables => [ map { { type => 'MODEL', tableReference => { tableId => $_ } } } 'a', 'b' ], nextPageToken => 'x' } });
$bq->rule({ kind => 'tables_list' }, { status => 200, body => { tables => [ map { { type => 'MODEL', tableReference => { tableId => $_ } } } 'b', 'c' ] } });
$said = import_it();
is(join(' ', $said =~ /table "(.)" is left out/g), 'a b c', 'what stands on two pages counts once');
$bq->rule({ kind => 'tables_list' }, many_tables('n' x 1025));
like(import_fails($dataset), qr/ERROR:  HV000: BigQuery's answer lists a table without a name, or with one of more than 1024 bytes/, 'a name that no table has');
my @fields = map { { name => "c$_", type => 'INTEGER' } } 1 .. 10_001;
for my $schema_of ([ 'columns', @fields ], [ 'columns in columns', { name => 's', type => 'RECORD', fields => [ @fields[ 0 .. 9_999 ] ] } ])
{
	my ($name, @schema) = @$schema_of;
	$bq->rule({ kind => 'table_get' }, { status => 200, body => { type => 'TABLE', schema => { fields => \@schema } } });
	like(import_fails($dataset, 'LIMIT TO (t)'), qr/ERROR:  54000: BigQuery's answer describes more than 10000 columns/, "more $name than BigQuery has");
}
$bq->reset(tables => 0);

# ---- a table a day

$dataset = 'lab-project.shards';
create($_) for map { ("events_202611$_", "clicks_intraday_202611$_") } '08', '09', '10';
create($_) for 'clicks_20261101', 'events_20261199', 'events_2026111', 'events_log';
$said = import_it();
is(tables(), 'clicks_20261101, clicks_intraday_20261110, events_2026111, events_20261110, events_20261199, events_log', 'of a table a day, the newest');
like($said, qr/^NOTICE:  00000: only the newest of the tables "events_YYYYMMDD" is imported: "events_20261110"\nDETAIL:  There are 2 older ones/m, 'is told');
is(() = $said =~ /NOTICE/g, 2, 'where there are others');
is(import_it('LIMIT TO (events_20261108)'), '', 'one that is named');
is(tables(), 'events_20261108', 'is imported');
import_it('LIMIT TO (events, clicks_intraday_)');
is(tables(), 'clicks_intraday_, events', 'what they have in common is a name for the newest');
is(options('events'), "{table=$dataset.events_20261110}", 'of them');
import_it('EXCEPT (events_20261110)');
like(tables(), qr/events_20261109/, 'what is left out is not the newest');

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
like($err, qr/ERROR:  57014/, 'a list in the making can be cancelled');
$bq->wait(rule => $stalled, state => 'closed');
$stalled = $bq->rule({ kind => 'table_get', nth => 3 }, { stall => 'before_headers' });
$session = $f->begin(statement($dataset, ''));
$bq->wait(rule => $stalled, state => 'stalled');
$f->query(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'IMPORT%' AND pid <> pg_backend_pid()));
($code, undef, $err) = $f->finish($session);
like($err, qr/ERROR:  57014/, 'so can what follows');
$bq->reset(tables => 0);
$said = import_it();
is(() = $said =~ /is left out/g, $count, 'more tables than a page holds');
is(tables(), 't0001a', 'are all looked at');
is($f->requests, "1 token, 2 tables_list, @{[ $count + 1 ]} table_get", 'each once');

# ---- as many columns as can be

$dataset = 'lab-project.broad';
$bq->table("$dataset.t", schema => [ map { { name => "c$_", type => 'INT64' } } 1 .. 1605 ]);
like(import_it(), qr/NOTICE:  00000: everything after column 1600 of table "t" is left out/, 'columns that PostgreSQL has no room for');
is($f->query("SELECT count(*) FROM pg_attribute WHERE attrelid = '$schema.t'::regclass AND attnum > 0"), 1600, 'are left out');

# ---- rights

$f->query("CREATE ROLE anna; GRANT USAGE ON FOREIGN SERVER bigquery TO anna; CREATE ROLE bert; CREATE SCHEMA anna; GRANT ALL ON SCHEMA anna TO anna, bert");
is($f->messages('SET ROLE anna; IMPORT FOREIGN SCHEMA "lab-project.lake" LIMIT TO (other) FROM SERVER bigquery INTO anna'), '', 'who may use the server may import');
like($f->fails('SET ROLE bert; IMPORT FOREIGN SCHEMA "lab-project.lake" LIMIT TO (other) FROM SERVER bigquery INTO anna'), qr/ERROR:  42501/, 'others may not');

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
is($f->query(q(SELECT status, rows_loaded FROM contratos_run('2026-11-20', 'blocks'))), 'succeeded|5', 'a load of it');
is($f->query('SELECT string_agg(height || hash, \',\' ORDER BY height) FROM blocks'), '10x1,20x2,30x3,40x4,50x5', 'has what is left');

$f->stop;
done_testing();
