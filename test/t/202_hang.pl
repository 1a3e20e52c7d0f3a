# A request that hangs says so after five seconds, wherever it hangs; Ctrl-C ends it
# within the two seconds that canceling the job may take, and says what it undoes and
# what that has cost.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Contratos::Fixture;

# no timeout may end what is to hang, nor a page be fetched before it is stalled
my $f = Contratos::Fixture->new(conf => "contratos.connect_timeout = '10min'\ncontratos.request_timeout = '1h'\ncontratos.job_timeout = '1h'
contratos.page_rows = 30\ncontratos.parallel_pages = 1");
my $bq = $f->bq;
$f->day("2026-11-$_", 100) for 18 .. 20;
$f->query('SELECT contratos_setup()');
my $run = q(SELECT status FROM contratos_run('2026-11-20'));

# Cancels what hangs; the seconds it took to end, and its error.
sub canceled
{
	my ($session) = @_;
	my $began = time;
	$f->query(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ 'contratos_(run|backfill)|bigquery_tokens' AND pid <> pg_backend_pid()));
	my (undef, undef, $error) = $f->finish($session);
	return (time - $began, $error);
}

my $silence = qr/NOTICE:  00000: no answer from \S+ yet\nDETAIL:  (.*)\nHINT:  Cancel the query to stop waiting\./;

foreach my $case (
	[ 'a token', { kind => 'token' }, 'before_headers' ],
	[ 'the insert of a job', { kind => 'insert' }, 'before_headers' ],
	[ 'a page', { kind => 'results', start_index => 30 }, 'before_headers' ],
	[ 'the middle of a page', { kind => 'results', start_index => 30 }, 'mid_body' ],
	[ 'a page of the reader worker', { kind => 'results', start_index => 30 }, 'before_headers', 0 ])
{
	my ($name, $match, $stall, $size) = @$case;
	$bq->reset(tables => 0);
	my $rule = $bq->rule({ %$match, times => 0 }, { stall => $stall });
	my $session = $f->begin(sprintf('SET contratos.min_parallel_load_size = %d; %s', $size // -1, $run));
	ok($f->said($session, $silence), "$name hangs: a NOTICE says so") or diag($session->{err});
	like($session->{err}, qr/DETAIL:  (?:It is connected, but sends nothing\. The wait ends after \d+ s more|The reader worker has received nothing for 5 s)\./, "$name hangs: the NOTICE says how long it may last");
	my ($seconds, $error) = canceled($session);
	like($error, qr/ERROR:  57014: canceling statement due to user request\nDETAIL:  (?:.*\n)?The target is as it was before the call\. BigQuery bills \d+ bytes/, "$name hangs: a cancel says what it has cost");
	cmp_ok($seconds, '<', 10, "$name hangs: a cancel ends it");
	unlike($error, qr/no answer.*no answer/s, "$name hangs: the NOTICE comes once");
	$bq->reset(tables => 0);
}

# ---- a firewall: no connection is made

my $session = $f->begin(sprintf q(SET contratos.endpoint = '%s'; %s), $bq->stall_tls_url, $run);
ok($f->said($session, $silence), 'no connection: a NOTICE says so') or diag($session->{err});
like($session->{err}, qr/DETAIL:  There is no connection yet\. This try ends after \d+ s more\./, 'no connection: the NOTICE says what is missing');
canceled($session);

# ---- a job that runs, and whose cancel hangs as well

$bq->rule({ kind => 'results', times => 0 }, { stall => 'before_headers' });
my $stalled = $bq->rule({ kind => 'cancel', times => 0 }, { stall => 'before_headers' });
$session = $f->begin($run);
$bq->wait(kind => 'results', state => 'stalled');
my ($seconds, $error) = canceled($session);
cmp_ok($seconds, '<', 2 + 8, 'a job whose cancel hangs: a cancel of the query does not');
like($error, qr/DETAIL:  BigQuery has not answered to the cancel of job contratos_\w+, which may run on, and be billed\.\nThe target is/, 'a job whose cancel hangs: the error names the job');
$bq->reset(tables => 0);
$bq->rule({ kind => 'results', times => 0 }, { stall => 'before_headers' });
$session = $f->begin($run);
$bq->wait(kind => 'results', state => 'stalled');
(undef, $error) = canceled($session);
like($error, qr/DETAIL:  BigQuery job contratos_\w+ was canceled; bytes that it has read may be billed\.\nThe target is/, 'a job that is canceled: the error names it');
$bq->reset(tables => 0);
$bq->rule({ kind => 'results', times => 0 }, { stall => 'before_headers' });
$session = $f->begin(q(SELECT count(*) FROM bigquery_tokens WHERE block_timestamp >= '2026-11-20Z'));
$bq->wait(kind => 'results', state => 'stalled');
(undef, $error) = canceled($session);
like($error, qr/ERROR:  57014: .*\nDETAIL:  BigQuery job contratos_\w+ was canceled; bytes that it has read may be billed\.$/m, 'a query of the foreign table: the error names the job, too');
$bq->reset(tables => 0);

# ---- a job that has ended, without having told what it has read

$bq->rule({ kind => 'results', times => 0 }, { stall => 'mid_body' });
$bq->rule({ kind => 'get', times => 0 }, { stall => 'before_headers' });
$session = $f->begin($run);
$bq->wait(kind => 'results', state => 'stalled');
ok($f->said($session, $silence), 'a first page that breaks off hangs: a NOTICE says so');
($seconds, $error) = canceled($session);
like($error, qr/BigQuery bills 1073741824 bytes at most for the jobs/, 'a job whose cost is not known: the error has the byte cap, as such');
$bq->reset(tables => 0);

# ---- a backfill: two days are undone with the third

$bq->rule({ kind => 'insert', nth => 3, times => 0 }, { stall => 'before_headers' });
$session = $f->begin('SELECT * FROM contratos_backfill(3)');
$bq->wait(kind => 'insert', nth => 3, state => 'stalled');
(undef, $error) = canceled($session);
like($error, qr/DETAIL:  .*\nThe target is as it was before the call: 2 days that it had loaded are undone\. BigQuery bills 20971520 bytes for the jobs of the call that ended\./,
	'a backfill that is canceled says how many days it undoes, and their cost');
is($f->query('SELECT count(*) FROM tokens'), 0, 'a backfill that is canceled has loaded nothing');

$f->stop;
done_testing();
