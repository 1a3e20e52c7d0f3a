# The log: one line at the end of each day, requests for who looks for them, and
# nothing that is secret.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "log_min_messages = debug1\nlog_error_verbosity = default\ncontratos.retries = 1");
my $bq = $f->bq;

# The lines at the ends of days, in short: "20 succeeded (schedule, attempt 1)".
my $line = qr/LOG:  source "tokens": 2026-11-(\d\d (?:\w+) \(\w+, attempt \d+\)), \d+ rows, \d+ bytes received, \d+ billed, \d+\.\d{3} s\n/;
sub ends { return join ', ', slurp_file($f->node->logfile) =~ /$line/g; }

# ---- days

$bq->delete_day(undef, '2026-11-20');
ok($f->at('2026-11-21 08:00'), 'a day that is not there yet');
is(ends(), '20 waiting (schedule, attempt 1)', 'has its line');
is($f->logged(qr/attempt 1\), 0 rows, \d+ bytes received, \d+ billed, .*\n.*DETAIL:  BigQuery has no rows of 2026-11-20 for source "tokens"\. The next attempt is at 2026-11-21 08:15:00\+00\.\n/),
	1, 'which tells when it is asked for again');
is($f->logged(qr/ERROR: /), 0, 'and is no error');
$f->day('2026-11-20', 50);
ok($f->at('2026-11-21 08:15'), 'then it is there');
is($f->logged(qr/LOG:  source "tokens": 2026-11-20 succeeded \(schedule, attempt 1\), 50 rows, [1-9]\d{3,4} bytes received, 10485760 billed, \d+\.\d{3} s\n/), 1,
	'with its rows, its bytes, its seconds');
ok($f->at('2026-11-21 14:15'), 'six hours later');
is(ends(), '20 waiting (schedule, attempt 1), 20 succeeded (schedule, attempt 1), 20 unchanged (recheck, attempt 1)', 'it has not changed');
$f->day('2026-11-20', 60);
ok($f->at('2026-11-21 20:15'), 'and then it has');
is($f->logged(qr/LOG:  source "tokens": 2026-11-20 succeeded \(recheck, attempt 1\), 60 rows, \d+ bytes received, 20971520 billed,/), 1,
	'what comparing has cost is part of it');

# ---- failures

$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'Access Denied: no' });
$f->query(q(SELECT contratos_enqueue('2026-11-10', '2026-11-10')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE status = 'failed')), 'what fails');
$f->settle;
is($f->logged(qr/ERROR:  BigQuery: Access Denied: no\n/), 1, 'is reported once');
is($f->logged(qr/CONTEXT:  source "tokens", 2026-11-10\n/), 1, 'for its day');
like(ends(), qr/, 10 failed \(queue, attempt 1\)$/, 'and has its line like any other');
my $rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->query(q(SELECT contratos_enqueue('2026-11-11', '2026-11-11')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_progress WHERE phase = 'asking')), 'what is running');
$bq->wait(rule => $rule, state => 'answered');
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'running'));
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND state = 'idle')), 'and canceled');
$f->settle;
like(ends(), qr/, 11 canceled \(queue, attempt 1\)$/, 'says so');
is( $f->query(q(SELECT count(*) FROM contratos_runs)) + 1,
	scalar(my @all = split(/, (?=\d)/, ends())),
	'there is a line for each attempt, and one more for the day that waited');

# ---- requests

my $called = $f->messages(q(SET client_min_messages = debug1; SELECT contratos_run('2026-11-20')));
my $host = qr/127\.0\.0\.1/;
like($called, qr/DEBUG:  00000: contratos: POST $host\/token: 200, \d+ ms\n/, 'the request for a token');
like($called, qr/DEBUG:  00000: contratos: asking for job (contratos_\w+)\n/, 'the id of the job');
like($called, qr/DEBUG:  00000: contratos: POST $host\/bigquery\/v2\/projects\/test-project\/jobs: 200, \d+ ms\n/, 'the request for it');
like($called, qr/DEBUG:  00000: contratos: GET $host\/bigquery\/v2\/projects\/test-project\/queries\/contratos_\w+: 200, \d+ ms\n/, 'and for its rows');
$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'no', headers => { 'X-Request-Id' => 'abc-123; x' } });
$called = $f->fails(q(SET client_min_messages = debug1; SELECT contratos_run('2026-11-20')));
like($called, qr/contratos: POST $host\/bigquery\/v2\/projects\/test-project\/jobs: 403, \d+ ms, request id abc-123\n/, 'what the service calls it, if it does');
$bq->rule({ kind => 'insert', times => 0 }, { close => 'before_headers' });
$called = $f->fails(q(SET contratos.request_timeout = '1s'; SET client_min_messages = debug1; SELECT contratos_run('2026-11-20')));
like($called, qr/contratos: POST $host\/\S+\/jobs: no answer, \d+ ms: \w/, 'or that no answer came');
$bq->reset(tables => 0);
unlike($f->messages(q(SET client_min_messages = log; SELECT contratos_run('2026-11-20'))), qr/contratos: /, 'only for who wants to know');

my $log = slurp_file($f->node->logfile);
unlike($log, qr/contratos: (?:GET|POST) \S*\?/, 'queries are not told');
unlike($log, qr/Bearer |assertion=|PRIVATE KEY/, 'nor what is secret');

$f->stop;
done_testing();
