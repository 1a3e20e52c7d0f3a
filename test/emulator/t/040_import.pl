# IMPORT FOREIGN SCHEMA of a dataset that is not ours: what the emulator's
# tables.list and tables.get say, and whether the tables can then be read.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Emulator;

my $emulator = Contratos::Emulator->new;
my ($project, $dataset) = ('lake-project', "lake_$$");
my $tables = "projects/$project/datasets/$dataset/tables";

sub create
{
	my ($name, %more) = @_;
	$emulator->request('POST', $tables, { tableReference => { projectId => $project, datasetId => $dataset, tableId => $name }, %more });
	return;
}

sub insert
{
	my ($name, @rows) = @_;
	my $answer = $emulator->request('POST', "$tables/$name/insertAll", { rows => [ map { { json => $_ } } @rows ] });
	die 'rows rejected' if $answer->{insertErrors};
	return;
}

sub fields { my ($name, $type, %more) = @_; return { schema => { fields => [ { name => $name, type => $type, %more } ] } }; }

$emulator->request('POST', "projects/$project/datasets", { datasetReference => { projectId => $project, datasetId => $dataset }, location => 'US' });
create(
	'events',
	timePartitioning => { type => 'DAY', field => 'at' },
	requirePartitionFilter => \1,
	schema => {
		fields => [
			{ name => 'id', type => 'INTEGER', mode => 'REQUIRED', description => "the number's \"id\"" },
			{ name => 'at', type => 'TIMESTAMP' },
			{ name => 'Tags', type => 'STRING', mode => 'REPEATED' },
			{ name => 'parts', type => 'RECORD', mode => 'REPEATED', fields => [
				{ name => 'x', type => 'FLOAT' },
				{ name => 'deep', type => 'RECORD', fields => [ { name => 'day', type => 'DATE' } ] } ] },
			{ name => 'span', type => 'RANGE', rangeElementType => { type => 'DATE' } },
			{ name => 'sum', type => 'NUMERIC' } ]
	});
insert('events',
	{ id => 1, at => '2025-01-02 12:00:00+00:00', Tags => [ 'a', 'b' ], parts => [ { x => 1.5, deep => { day => '2025-01-01' } } ], sum => '1.25' },
	{ id => 2, at => '2025-01-03 12:00:00+00:00', Tags => [], parts => [], sum => undef });
create('arrivals', timePartitioning => { type => 'DAY' }, %{ fields('a', 'INTEGER') });
create('numbers', rangePartitioning => { field => 'a', range => { start => '0', end => '100', interval => '10' } }, %{ fields('a', 'INTEGER') });
insert('numbers', { a => 7 });
create("shard_202501$_", %{ fields('a', 'STRING') }) for '01', '02', '03';
create('seen', view => { query => "SELECT a, CAST(a AS STRING) AS said FROM `$project.$dataset.numbers`", useLegacySql => \0 });

my $node = $emulator->node('import', timezone => 'UTC');
$node->safe_psql('postgres', 'SELECT contratos_setup(); CREATE SCHEMA lake');

sub query { return $node->safe_psql('postgres', $_[0]); }

my ($code, $out, $said) = $node->psql('postgres', qq(IMPORT FOREIGN SCHEMA "$project.$dataset" FROM SERVER bigquery INTO lake));
is($code, 0, 'a dataset is imported') or diag $said;
like($said, qr/NOTICE:  only the newest of the tables "shard_YYYYMMDD" is imported: "shard_20250103"\nDETAIL:  There are 2 older ones/,
	'of a table a day the newest');
is(query(q(SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'f' AND relnamespace = 'lake'::regnamespace)),
	'arrivals events numbers seen shard_20250103', 'an import has tables and views');
is(query(q(SELECT concat_ws(' ', quote_ident(attname), CASE WHEN attnotnull THEN 'not null' END, attfdwoptions::text)
	FROM pg_attribute WHERE attrelid = 'lake.events'::regclass AND attnum > 0 ORDER BY attnum)),
	join("\n", 'id not null {type=INT64,"description=the number\'s \\"id\\""}', 'at {type=TIMESTAMP}', '"Tags" {type=ARRAY<STRING>}',
		'parts {type=ARRAY<STRUCT>}', 'span {type=RANGE<DATE>}', 'sum {type=NUMERIC}'),
			'imported tables have their columns');
is(query(q(SELECT string_agg(concat_ws(' ', ftrelid::regclass, ftoptions[2:]), ', ' ORDER BY ftrelid::regclass::text) FROM pg_foreign_table WHERE ftrelid <> 'bigquery_tokens'::regclass)),
	'lake.arrivals {partition_column=_partitiontime,require_filter=true}, lake.events {partition_column=at,require_filter=true}, '
	. 'lake.numbers {partition_column=a,require_filter=true}, lake.seen {}, lake.shard_20250103 {}',
		'imported tables have their partition columns');
is(query(q(SELECT id, "Tags", parts, sum FROM lake.events WHERE at < '2025-01-03')), '1|{a,b}|[{"x": 1.5, "deep": {"day": "2025-01-01"}}]|1.25', 'an imported nested row is read');
is(query(q(SELECT "Tags", parts, span, sum FROM lake.events WHERE at >= '2025-01-03')), '{}|[]||', 'an imported nested row of NULLs is read');
is(query(q(SELECT a, said FROM lake.seen)), '7|7', 'an imported view is read');
($code, $out, $said) = $node->psql('postgres', qq(IMPORT FOREIGN SCHEMA "$project.none" FROM SERVER bigquery INTO lake));
like($said, qr/ERROR:  BigQuery: Not found: Dataset $project:none/, 'a dataset that does not exist is an error');
($code, $out, $said) = $node->psql('postgres', qq(IMPORT FOREIGN SCHEMA "$project.$dataset" LIMIT TO (none) FROM SERVER bigquery INTO lake));
like($said, qr/ERROR:  BigQuery has no table "none" in dataset/, 'a table that does not exist is an error');

$node->stop;
done_testing();
