# Logical replication: a publication of all tables does not stop the worker, and a
# subscriber that has contratos too does not load what its publisher loads.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(name => 'publisher', init => { allows_streaming => 'logical' }, conf => 'max_worker_processes = 20');
my $bq = $f->bq;
$f->day("2026-11-$_", 20) for 19 .. 21;

# ---- the publisher

# from 18 on a row that is deleted can only be published with its generated columns
my $generated = $f->node->pg_version < 18 ? '' : ' WITH (publish_generated_columns = stored)';

# old attempts, with rejects: two of one cell, as an ARRAY may have
$f->query(
	q(CREATE PUBLICATION everything FOR ALL TABLES) . $generated . q(;
	  INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, sqlstate, error)
		SELECT 'tokens', '2020-01-01', 'schedule', 'failed', '2020-01-02Z', '2020-01-02Z', '08006', 'no' FROM generate_series(1, 3);
	  INSERT INTO contratos_rejects SELECT id, 1, 'a', 'x', 'no' FROM contratos_runs, generate_series(1, 2)));
ok($f->at('2026-11-21 08:00'), 'the worker looks at a day under a publication of all tables');
is($f->runs(q(day > '2020-12-31')), '20 schedule succeeded',
	'the worker loads a day under a publication of all tables');
ok($f->at('2026-11-22 08:00'), 'the worker looks at the next day under a publication');
is($f->query(q(SELECT string_agg(day || ' ' || status, ', ' ORDER BY day) FROM contratos_runs WHERE cause = 'schedule' AND day > '2020-12-31')),
	'2026-11-20 succeeded, 2026-11-21 succeeded', 'the worker loads the next day under a publication');
is($f->query('SELECT count(*) FROM contratos_rejects'), 0, 'old rejects are deleted under a publication');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE day < '2021-01-01')), 0,
	'old runs are deleted under a publication');
is($f->query(q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2026-11-21'))), 'succeeded|20|20', 'a call replaces a day under a publication');
is($f->query(q(SELECT count(*) FROM contratos_check(NULL) WHERE status = 'failed')), 0,
	'contratos_check() has no failure under a publication');
is($f->logged(qr/ERROR|WARNING/), 0, 'the log has no errors under a publication');

# a target of one's own, which cannot be deleted from
$f->query(
	q(CREATE TABLE mine (LIKE tokens);
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled) VALUES ('mine', 'bigquery_tokens', 'mine', 'block_timestamp', false)));
like($f->fails(q(SELECT contratos_run(source => 'mine'))), qr/ERROR:  55000: cannot delete from table "mine" because it does not have a replica identity and publishes deletes\n.*HINT:  .*REPLICA IDENTITY/s,
	'a published target without a replica identity is an error');
is($f->query(q(SELECT string_agg(check_name, ' ') FROM contratos_check('mine') WHERE status = 'failed')), 'writable replica_identity', 'contratos_check() reports a published target without a replica identity');
$f->query('ALTER TABLE mine REPLICA IDENTITY FULL');
is($f->query(q(SELECT status FROM contratos_run(source => 'mine'))), 'succeeded',
	'a published target with a replica identity is loaded');

# ---- a subscriber that has contratos, with a worker

$bq->project('subscribers-project');
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->append_conf(
	'postgresql.conf', qq(
shared_preload_libraries = 'contratos'
contratos.endpoint = '@{[ $bq->url ]}'
contratos.credentials_file = '@{[ $bq->key_file ]}'
contratos.project = 'subscribers-project'
contratos.now = '2026-11-22 09:00:00+00'
max_worker_processes = 20
));
$subscriber->start;
my ($schema) = run_command([ 'pg_dump', '-h', $f->node->host, '-p', $f->node->port, '--schema-only', '--no-publications', 'postgres' ]);
$subscriber->safe_psql('postgres', $schema);
$subscriber->safe_psql('postgres', 'ALTER TABLE tokens ALTER COLUMN block DROP EXPRESSION') if $generated;
$bq->reset(tables => 0);
my $publisher = $f->node->connstr('postgres');
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION all_of_it CONNECTION \$\$$publisher\$\$ PUBLICATION everything");
$subscriber->wait_for_subscription_sync($f->node, 'all_of_it');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM contratos_sources'), 2, 'a subscriber that has contratos gets the sources');
$subscriber->append_conf('postgresql.conf', "contratos.databases = 'postgres'");
$subscriber->reload;
ok($subscriber->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND wait_event_type = 'Extension')),
	'a subscriber that has contratos has its own worker');
is($subscriber->safe_psql('postgres', q(SELECT status, hint IS NOT NULL FROM contratos_check() WHERE check_name = 'subscription')), 'warning|t', 'contratos_check() of a subscriber has a warning');
$f->day('2026-11-22', 20);
$f->query(q(SELECT contratos_enqueue('2026-11-19', '2026-11-19')));
ok($f->at('2026-11-23 08:00'), 'the publisher\'s worker goes on');
# where more would be due by the ledger
$subscriber->append_conf('postgresql.conf', "contratos.now = '2026-11-23 15:00+00'");
$subscriber->reload;
my $days = q(SELECT string_agg(day || ' ' || status, ', ' ORDER BY id) FROM contratos_runs WHERE source = 'tokens' AND cause IN ('queue', 'schedule'));
is($f->query($days), '2026-11-20 succeeded, 2026-11-21 succeeded, 2026-11-19 succeeded, 2026-11-22 succeeded', 'the publisher loads its queue and its day');
$f->node->wait_for_catchup('all_of_it');
is($subscriber->safe_psql('postgres', $days), $f->query($days), 'the subscriber has the publisher\'s runs');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM tokens'), $f->query('SELECT count(*) FROM tokens'), 'the subscriber has the publisher\'s rows');
ok($subscriber->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND wait_event_type = 'Extension')), 'the subscriber\'s worker sleeps');
is(scalar(grep { $_->{path} =~ /subscribers-project/ && !$_->{body}{configuration}{dryRun} } $bq->requests('insert')), 0, 'the subscriber asks BigQuery for nothing');
cmp_ok(scalar(grep { $_->{path} =~ /test-project/ } $bq->requests('insert')), '>=', 2,
	'the publisher asks BigQuery for its days');
like(slurp_file($subscriber->logfile), qr/LOG:  database "\w+": a subscription brings rows of contratos_sources/,
	'the subscriber logs that its sources come by subscription');

# with the loaded tables alone it may load others
$f->query('DROP PUBLICATION everything; CREATE PUBLICATION everything FOR TABLE tokens');
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION all_of_it REFRESH PUBLICATION');
is($subscriber->safe_psql('postgres', q(SELECT status FROM contratos_check() WHERE check_name = 'subscription')), 'ok', 'contratos_check() of a subscriber of the target alone is ok');

$subscriber->stop('fast');
$f->stop;
done_testing();
