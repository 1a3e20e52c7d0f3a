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
my $line = qr/LOG:  database "postgres", source "tokens": 2026-11-(\d\d (?:\w+) \(\w+, attempt \d+\)), \d+ rows, \d+ bytes received, \d+ billed, \d+\.\d{3} s\n/;
sub ends { return join ', ', slurp_file($f->node->logfile) =~ /$line/g; }

# ---- days

$bq->delete_day(undef, '2026-11-20');
ok($f->at('2026-11-21 08:00'), 'the worker looks at a day that BigQuery does not have yet');
is(ends(), '20 waiting (schedule, attempt 1)', 'a waiting day has its line in the log');
is($f->logged(qr/attempt 1\), 0 rows, \d+ bytes received, \d+ billed, .*\n.*DETAIL:  BigQuery has no rows of 2026-11-20 for source "tokens"\. The next attempt is at 2026-11-21 08:15:00\+00\.\n/),
	1, 'the line of a waiting day has the time of the next look');
is($f->logged(qr/ERROR: /), 0, 'a waiting day is not an error in the log');
$f->day('2026-11-20', 50);
ok($f->at('2026-11-21 08:15'), 'the worker looks at a day that BigQuery has by then');
is($f->logged(qr/LOG:  database "postgres", source "tokens": 2026-11-20 succeeded \(schedule, attempt 1\), 50 rows, [1-9]\d{3,4} bytes received, 10485760 billed, \d+\.\d{3} s\n/), 1,
	'the line of a loaded day has its rows, bytes and seconds');
ok($f->at('2026-11-21 14:15'), 'the worker rechecks six hours later');
is(ends(), '20 waiting (schedule, attempt 1), 20 succeeded (schedule, attempt 1), 20 unchanged (recheck, attempt 1)', 'an unchanged day has its line in the log');
$f->day('2026-11-20', 60);
ok($f->at('2026-11-21 20:15'), 'the worker rechecks a day that differs');
is($f->logged(qr/LOG:  database "postgres", source "tokens": 2026-11-20 differs \(recheck, attempt 1\), 0 rows, 0 bytes received, 10485760 billed, .*\n.*DETAIL:  BigQuery has 60 rows instead of 50.*\. The day is loaded again\.\n/), 1,
	'the line of a recheck that finds a difference says which, and that the day is loaded again');
is($f->logged(qr/LOG:  database "postgres", source "tokens": 2026-11-20 succeeded \(reload, attempt 1\), 60 rows, \d+ bytes received, 10485760 billed,/), 1,
	'a reload has a line of its own');

# ---- failures

$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'Access Denied: no' });
$f->query(q(SELECT contratos_enqueue('2026-11-10', '2026-11-10')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE status = 'failed')), 'a queued day fails');
$f->settle;
is($f->logged(qr/ERROR:  BigQuery: Access Denied: no\n/), 1, 'a failed day has one ERROR in the log');
is($f->logged(qr/CONTEXT:  source "tokens", 2026-11-10\n/), 1,
	'the ERROR of a failed day has source and day as context');
like(ends(), qr/, 10 failed \(queue, attempt 1\)$/, 'a failed day has its line in the log');
my $rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->query(q(SELECT contratos_enqueue('2026-11-11', '2026-11-11')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_progress WHERE phase = 'asking')), 'a queued day is running');
$bq->wait(rule => $rule, state => 'answered');
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'running'));
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND state = 'idle')), 'a running day is canceled');
$f->settle;
like(ends(), qr/, 11 canceled \(queue, attempt 1\)$/, 'a canceled day has its line in the log');
is( $f->query(q(SELECT count(*) FROM contratos_runs)) + 1,
	scalar(my @all = split(/, (?=\d)/, ends())),
	'the log has a line for each attempt, and one for the day that waited');

# ---- requests

my $called = $f->messages(q(SET client_min_messages = debug1; SELECT contratos_run('2026-11-20')));
my $host = qr/127\.0\.0\.1/;
like($called, qr/DEBUG:  00000: contratos: POST $host\/token: 200, \d+ ms\n/, 'DEBUG1 has the token request');
like($called, qr/DEBUG:  00000: contratos: asking for job (contratos_\w+)\n/, 'DEBUG1 has the ID of the job');
like($called, qr/DEBUG:  00000: contratos: POST $host\/bigquery\/v2\/projects\/test-project\/jobs: 200, \d+ ms\n/, 'DEBUG1 has the request for the job');
like($called, qr/DEBUG:  00000: contratos: GET $host\/bigquery\/v2\/projects\/test-project\/queries\/contratos_\w+: 200, \d+ ms\n/, 'DEBUG1 has the request for the rows');
$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'no', headers => { 'X-Request-Id' => 'abc-123; x' } });
$called = $f->fails(q(SET client_min_messages = debug1; SELECT contratos_run('2026-11-20')));
like($called, qr/contratos: POST $host\/bigquery\/v2\/projects\/test-project\/jobs: 403, \d+ ms, request id abc-123\n/, 'DEBUG1 has the request ID of BigQuery');
$bq->rule({ kind => 'insert', times => 0 }, { close => 'before_headers' });
$called = $f->fails(q(SET contratos.request_timeout = '1s'; SET client_min_messages = debug1; SELECT contratos_run('2026-11-20')));
like($called, qr/contratos: POST $host\/\S+\/jobs: no answer, \d+ ms: \w/, 'DEBUG1 has a request without an answer');
$bq->reset(tables => 0);
unlike($f->messages(q(SET client_min_messages = log; SELECT contratos_run('2026-11-20'))), qr/contratos: /, 'requests are not reported above DEBUG1');

my $log = slurp_file($f->node->logfile);
unlike($log, qr/contratos: (?:GET|POST) \S*\?/, 'the log has no query strings');
unlike($log, qr/Bearer |assertion=|PRIVATE KEY/, 'the log has no secrets');

$f->stop;
done_testing();
