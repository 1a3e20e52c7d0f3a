# docs/migration.md is typed in a database whose table an old DAG has filled, with
# the faults that such tables have; at its end the days are BigQuery's, and the
# old DAG can go on.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;

use Contratos::Docs;
use Contratos::DocsRun;
use Contratos::Worker;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $f = Contratos::Worker->new(
	unsettled => 1,
	init => { extra => [ '--encoding=UTF8', '--locale=C' ] },
	conf => "contratos.databases = ''\ncontratos.now = '2026-11-21 09:00:00+00'");
my $node = $f->node;
# the real table has a few rows twice as well
$f->bq->table(undef, append => 1, rows => [ map { $f->row(symbol => 'TWICE', block_timestamp => '2026-11-16 12:00:00+00:00') } 1 .. 2 ]);

# ---- the table: the days of the stand-in, a plain column `block`, a narrow one, and three days that went wrong

$f->query('CREATE DATABASE analytics');
sub query { return $node->safe_psql('analytics', $_[0]); }
sub of { return "block_timestamp >= '2026-11-$_[0] 00:00+00' AND block_timestamp < '2026-11-" . ($_[0] + 1) . " 00:00+00'"; }
query(q(CREATE EXTENSION contratos; SELECT count(*) FROM contratos_backfill(7); CREATE TABLE filled AS SELECT * FROM tokens;
	CREATE TABLE upstream AS SELECT * FROM tokens; DROP EXTENSION contratos CASCADE; DROP TABLE tokens; DROP FUNCTION IF EXISTS tokens_block;
	ALTER TABLE filled RENAME TO tokens; ALTER TABLE tokens ALTER COLUMN symbol TYPE varchar(255) USING left(symbol, 255);
	CREATE INDEX ON tokens (block_timestamp)));
query('INSERT INTO tokens SELECT * FROM tokens WHERE ' . of(16));
query(q(UPDATE tokens SET symbol = coalesce(symbol, ''), name = coalesce(name, '') WHERE ) . of(17));
query(q(DELETE FROM tokens WHERE block_timestamp >= '2026-11-19 23:00+00' AND block_timestamp < '2026-11-20 00:00+00'));
cmp_ok(query('SELECT count(*) FROM tokens WHERE ' . of(17) . q( AND '' IN (symbol, name))), '>', 0, 'a day has empty texts for NULL');

# ---- the page

my $loaded = '';
my $grid = 'asks an Airflow that is not there; script/airflow runs the DAG';
my $run;
$run = Contratos::DocsRun->new(
	node => $node,
	database => 'analytics',
	before => sub {
		my ($block) = @_;
		# before the source is enabled and the columns are as the old DAG had them
		$loaded = query('SELECT count(*) FROM contratos_runs WHERE NOT only_cost') if $block->{text} =~ /^SELECT replace\(hint/;
		if ($block->{text} =~ /DROP EXPRESSION/)
		{
			is(query('SELECT count(*) FROM ((TABLE tokens EXCEPT ALL TABLE upstream) UNION ALL (TABLE upstream EXCEPT ALL TABLE tokens)) d'),
				0, 'after the switch the table has BigQuery\'s rows, to the last value');
			is(query(q(SELECT string_agg(attname || attgenerated::text || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'tokens'::regclass AND attname IN ('symbol', 'block'))),
				'symbol text, blocks text', 'after the switch the columns hold all values, and `block` is generated');
			is(query(q(SELECT string_agg(day::text, ' ') FROM contratos_days WHERE state NOT IN ('provisional', 'confirmed'))), '', 'after the switch no day is missing');
		}
	},
	not_run => { 'airflow dags pause migracao_contratos' => $grid, 'airflow dags unpause migracao_contratos' => $grid });
$run->page(Contratos::Docs->new("$root/docs/migration.md"));
$run->finish;
is($loaded, 0, 'before the switch contratos has loaded nothing');

# ---- what the old DAG does next

is(query('BEGIN; DELETE FROM tokens WHERE ' . of(20) . '; INSERT INTO tokens SELECT * FROM upstream WHERE ' . of(20)
		. '; COMMIT; SELECT count(*) FROM tokens WHERE ' . of(20) . ' AND block IS NOT NULL'),
	query('SELECT count(*) FROM upstream WHERE ' . of(20)), 'after the way back the old DAG loads a day as before');
is(query(q(SELECT enabled FROM contratos_sources)), 'f', 'after the way back no worker loads it');

$f->stop;
done_testing();
