# The worker on a machine of Google Cloud's: no file of credentials to look at,
# and a metadata server that is not ready when the machine starts.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use Test::More;

use Contratos::Worker;

my $port = PostgreSQL::Test::Cluster::get_free_port();
$ENV{GCE_METADATA_HOST} = "127.0.0.1:$port";
my $f = Contratos::Worker->new(
	standin => { http_port => $port },
	conf => "contratos.credentials_file = 'metadata'\ncontratos.project = ''\ncontratos.request_timeout = '1s'");
my $bq = $f->bq;
my $last = q(SELECT status, attempt, sqlstate, next_attempt_at AT TIME ZONE 'UTC' FROM contratos_runs ORDER BY id DESC LIMIT 1);

$f->day('2026-11-20', 50);
$bq->rule({ kind => 'metadata', times => 0 }, { status => 503, headers => { 'Metadata-Flavor' => 'Google' } });
ok($f->at('2026-11-21 08:00'), 'the worker sees a metadata server that is not ready');
is($f->query($last), 'failed|1|08006|2026-11-21 08:01:00', 'a metadata server that is not ready is retried');
$bq->reset(tables => 0);
ok($f->at('2026-11-21 08:01', 'contratos.request_timeout' => '30s'), 'the worker runs a minute later');
is($f->runs, '20 schedule failed, 20 schedule succeeded', 'the day is loaded when the metadata server is ready');
is(($bq->requests('insert'))[0]{body}{jobReference}{projectId}, 'test-project', 'the machine\'s project is billed');

$bq->reset(tables => 0);
$f->day('2026-11-21', 50);
$bq->rule({ kind => 'metadata', times => 0 }, { status => 404, body => 'not found', headers => { 'Metadata-Flavor' => 'Google' } });
ok($f->at('2026-11-22 08:00'), 'the worker sees a machine without a service account');
is($f->query($last), 'failed|1|28000|', 'a machine without a service account is not retried');

$ENV{GCE_METADATA_HOST} = 'metadata.example.com';
$f->node->restart;
like($f->fails(q(SELECT contratos_run('2026-11-21'))), qr/22023: environment variable "GCE_METADATA_HOST" does not name a metadata server.*HINT: .*metadata\.google\.internal/s,
	'another host that the environment names is refused');

$f->stop;
done_testing();
