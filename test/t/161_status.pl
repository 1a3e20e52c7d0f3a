# How sources and days stand, for people: each state of a day comes about as it
# does in life, and what the views say is what the worker then does.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new(
	init => { allows_streaming => 1 },
	conf => "contratos.retries = 2\nhot_standby = on");
my $bq = $f->bq;

# The days in short: "20 missing, 21 waiting".
sub states
{
	my ($source) = @_;
	$source //= 'tokens';
	return $f->query(
		qq(SELECT string_agg(to_char(day, 'DD') || ' ' || state, ', ' ORDER BY day) FROM contratos_days WHERE source = '$source'));
}

# Columns of the row of a source, or of a day.
sub status { return $f->query("SELECT $_[0] FROM contratos_status WHERE source = '@{[ $_[1] // 'tokens' ]}'"); }
sub day { return $f->query("SELECT $_[1] FROM contratos_days WHERE source = 'tokens' AND day = '2026-11-$_[0]'"); }
sub poll_day { return $f->poll("SELECT state = '$_[1]' FROM contratos_days WHERE source = 'tokens' AND day = '2026-11-$_[0]'"); }

# ---- at first

is(states(), '20 missing', 'the first day is missing');
is(status(q(enabled, worker, next_wake, next_day, last_success, last_day, lag_days, running_day)),
	join('|', 't', $f->worker, '2026-11-21 08:00:00+00', '2026-11-20', '', '', '', ''), 'and will be loaded at run_at');
is(status('missing_days, provisional_days, failed_days, queued_days, rows_this_month, bytes_billed_this_month, last_error, last_error_at'),
	'1|0|0|0|0|0||', 'nothing has happened yet');

# ---- waiting for upstream, provisional, confirmed

$bq->delete_day(undef, '2026-11-20');
ok($f->at('2026-11-21 08:00'), 'upstream has nothing yet');
is(states(), '20 waiting', 'the day waits');
is(day(20, q(rows, attempts, last_loaded, next_attempt_at, error ~ '^BigQuery has no rows of 2026-11-20')),
	'|1||2026-11-21 08:15:00+00|t', 'until when, and why, is said');
is(status(q(next_wake, next_day, last_error ~ '^BigQuery has no rows', last_error_at, missing_days, waiting_days)),
	'2026-11-21 08:15:00+00|2026-11-20|t|2026-11-21 08:00:00+00|0|1', 'the worker wakes for it, and it is what is wrong');

is($f->query(q(SET contratos.now = '2026-11-21 10:00+00'; SELECT next_wake, next_day FROM contratos_status)), '2026-11-21 10:00:00+00|2026-11-20',
	'what has been due for a while is due now');

$f->day('2026-11-20', 50);
ok($f->at('2026-11-21 08:15'), 'then it is there');
is(states(), '20 provisional', 'a loaded day is provisional');
is(day(20, 'rows, attempts, last_loaded, confirmed_at, next_attempt_at, error'), '50|1|2026-11-21 08:15:00+00|||', 'of so many rows, since then');
is(status('next_wake, next_day, last_success, last_day, lag_days, provisional_days, rows_this_month, bytes_billed_this_month, last_error, last_error_at'),
	'2026-11-21 14:15:00+00|2026-11-20|2026-11-21 08:15:00+00|2026-11-20|0|1|50|10485760||', 'in six hours it is looked at again; nothing is wrong');

ok($f->at('2026-11-21 14:14:59'), 'a second before');
is($f->query('SELECT count(*) FROM contratos_runs'), 1, 'the worker sleeps, as was said');
$f->day('2026-11-21', 40);
ok($f->at('2026-11-22 08:00'), 'the next morning');
is(states(), '20 confirmed, 21 provisional', 'a day that was found equal a day after its end is confirmed');
is(day(20, 'confirmed_at, attempts, rows'), '2026-11-22 08:00:00+00|1|50', 'then; comparing was no attempt at it');

# ---- refused, and come right again

$f->query('UPDATE contratos_sources SET enabled = false');
$f->settle;
is(status('enabled, next_wake, next_day'), 'f||', 'a disabled source never wakes anybody');
$f->day('2026-11-21', 5);
is($f->query('SELECT status FROM contratos_backfill(1)'), 'refused', 'a day that has shrunk');
is(states(), '20 confirmed, 21 refused', 'is refused');
is(day(21, q(rows, attempts, last_loaded IS NOT NULL, error ~ 'has shrunk from 40 rows to 5')), '40|2|t|t', 'and what was loaded stands');
is(status(q(failed_days, last_day, last_error ~ 'has shrunk')), '1|2026-11-21|t', 'which is for somebody to look at');
$f->query(q(SELECT contratos_enqueue('2026-11-21', '2026-11-21', only_missing => false)));
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'queued'));
is(day(21, 'state'), 'refused', 'taking it off the queue changes nothing');
$f->query(q(SELECT contratos_run('2026-11-21', allow_shrink => true)));
is(states() . status('failed_days, last_error, last_error_at'), '20 confirmed, 21 provisional0||', 'until it has come right');
is(status('rows_this_month'), 95, 'what was loaded again counts again');

# ---- queued, canceled, running, waiting for another attempt, failed

$f->query(q(SELECT contratos_enqueue('2026-11-10', '2026-11-12')));
is(states(), '10 queued, 11 queued, 12 queued, 20 confirmed, 21 provisional', 'days before the start show once the ledger knows them');
is(status('queued_days, missing_days'), '3|0', 'they are counted');
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE day = '2026-11-11'));
$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', only_missing => false)));
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE day = '2026-11-20' AND status = 'queued'));
is(states(), '10 queued, 11 canceled, 12 queued, 20 confirmed, 21 provisional', 'what is taken off the queue is canceled, unless it is there');

$f->day("2026-11-$_", $_) for 10 .. 12;
my $pending = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
my $busy = $bq->rule({ kind => 'insert', nth => 2, times => 0 },
	{ status => 503, reason => 'backendError', message => 'no', headers => { 'Retry-After' => '600' } });
$f->query(q(UPDATE contratos_sources SET enabled = true));
ok(poll_day(10, 'running'), 'the worker takes one up: it is running');
is(status(q(running_day, next_wake, next_day, queued_days)), '2026-11-10|2026-11-22 08:00:00+00|2026-11-10|1', 'what it is at shows, and is due now');
$bq->release($pending);
ok(poll_day(10, 'provisional'), 'and then loaded');
ok(poll_day(12, 'waiting'), 'another cannot be loaded now');
$f->settle;
is(day(12, q(attempts, next_attempt_at, error ~ 'no')), '1|2026-11-22 08:01:00+00|t', 'it waits for its next attempt');
is(status(q(next_wake, next_day, running_day, failed_days, last_error_at)), '2026-11-22 08:01:00+00|2026-11-12||0|2026-11-22 08:00:00+00', 'as does the worker');
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert', times => 0 }, { status => 403, reason => 'accessDenied', message => 'Access Denied: no' });
ok($f->at('2026-11-22 08:01'), 'what cannot pass');
is(day(12, q(state, attempts, next_attempt_at, error ~ 'Access Denied')), 'failed|2||t', 'has failed');
is(status(q(failed_days, next_day, next_wake, last_error ~ 'Access Denied')), '1|2026-11-21|2026-11-22 14:00:00+00|t', 'and is not what the worker wakes for next');
$bq->reset(tables => 0);

# ---- a run that was cut off, one that still differs

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->settle;
$f->query(q(DELETE FROM contratos_runs WHERE day < '2026-11-21'; UPDATE contratos_sources SET start_date = '2026-11-21', run_at = '09:00', recheck_days = 30));
is(states(), '21 provisional', 'what the ledger does not know any more is gone');
$f->query(
	q(CREATE FUNCTION erase() RETURNS void LANGUAGE sql AS $$ DELETE FROM tokens WHERE ctid IN (SELECT ctid FROM tokens
		WHERE block_timestamp >= '2026-11-21Z' LIMIT 1) $$));
$f->query(q(UPDATE contratos_sources SET enabled = true));
foreach my $time ('2026-11-22 14:30', '2026-11-22 21:00', '2026-11-23 04:00')
{
	$f->query('SELECT erase()');
	ok($f->at($time), "a row is erased, $time");
}
is(states(), '21 differs, 22 missing', 'a day that will not become equal differs');
is(status(q(missing_days, provisional_days, failed_days, lag_days, last_error ~ 'rows')), '1|0|0|1|t', 'and is what is wrong; yesterday is missing');
my $held = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->day('2026-11-22', 30);
$f->set('contratos.now' => '2026-11-23 09:00+00');
ok(poll_day(22, 'running'), 'yesterday is being loaded');
$bq->wait(rule => $held, state => 'answered');
$f->query("SELECT pg_cancel_backend(@{[ $f->worker ]})");
ok(poll_day(22, 'waiting'), 'what is interrupted is tried again');
is(day(22, q(next_attempt_at, error)), '2026-11-23 09:01:00+00|canceling statement due to user request', 'a minute later');
$bq->release($held);
ok($f->at('2026-11-23 09:01'), 'then');
is(states(), '21 differs, 22 provisional', 'it is loaded');

# ---- by construction

is( $f->query(
		q(SELECT s.missing_days = count(*) FILTER (WHERE state = 'missing') AND s.provisional_days = count(*) FILTER (WHERE state = 'provisional')
			AND s.failed_days = count(*) FILTER (WHERE state IN ('failed', 'refused')) AND s.waiting_days = count(*) FILTER (WHERE state = 'waiting') AND s.last_success = max(d.last_loaded)
		  FROM contratos_status s JOIN contratos_days d USING (source)
		  GROUP BY s.source, s.missing_days, s.provisional_days, s.failed_days, s.waiting_days, s.last_success)),
	't', 'the numbers of a source are those of its days');

# ---- times that are none; a month's end; a snapshot

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->settle;
is($f->query(q(SET contratos.now = '2026-12-01 00:00+00'; SELECT rows_this_month, bytes_billed_this_month, lag_days FROM contratos_status)), '0|0|8', 'a month begins in UTC');
$f->query(
	q(CREATE TABLE never (LIKE tokens); CREATE TABLE whole (LIKE tokens);
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, snapshot, start_date, enabled)
	  VALUES ('never', 'bigquery_tokens', 'never', 'block_timestamp', false, '5874897-12-31', true),
	         ('whole', 'bigquery_tokens', 'whole', NULL, true, '2026-11-01', false)));
is(status('next_wake, next_day, missing_days, lag_days', 'never'), '||0|', 'a day that no time can tell wakes nobody');
is($f->query(q(SELECT count(*) FROM contratos_status WHERE next_wake IN ('infinity', '-infinity'))), 0, 'nobody wakes at infinity');
is(states('whole'), '22 missing', 'of a snapshot only yesterday can be missing');
$f->query(
	q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded)
	  SELECT 'whole', date '2026-11-18' + i, 'schedule', 'succeeded', now(), now(), 7 FROM generate_series(0, 2) i));
is(states('whole'), '20 provisional, 22 missing', 'and only what was loaded last is there');

# ---- who may read

$f->query(q(CREATE ROLE watcher; GRANT pg_monitor TO watcher; CREATE ROLE nobody; CREATE ROLE guest; GRANT SELECT ON contratos_status TO guest));
my $all = q(SELECT count(*) > 0 FROM contratos_status; SELECT count(*) > 0 FROM contratos_days; SELECT count(*) FROM contratos_progress);
is($f->query("SET ROLE watcher; $all"), "t\nt\n0", 'members of pg_monitor read all three');
like($f->fails("SET ROLE watcher; SELECT * FROM $_"), qr/ERROR:  42501: permission denied/, "but not $_")
	for qw(contratos_sources contratos_runs contratos_rejects _contratos_days);
like($f->fails("SET ROLE nobody; SELECT * FROM $_"), qr/ERROR:  42501: permission denied for view $_/, "others do not read $_")
	for qw(contratos_status contratos_days contratos_progress);
is($f->query('SET ROLE guest; SELECT count(*) > 0 FROM contratos_status'), 't', 'unless they are told they may');
my $functions = q(SELECT (_contratos_next('tokens')).next_day, _contratos_worker());
$f->query(q(UPDATE contratos_sources SET enabled = true WHERE name = 'tokens'));
$f->settle;
my $asked = $f->query($functions);
like($asked, qr/^2026-11-2\d\|@{[ $f->worker ]}$/, 'what the view asks the server');
is($f->query("SET ROLE $_; $functions"), $asked, "$_ may ask, too") for 'watcher', 'guest';
is($f->query("SET ROLE nobody; $functions"), '|', 'who may not read the view gets nothing by it');
$f->query(
	q(UPDATE contratos_sources SET enabled = false;
	  INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, sqlstate, error)
	  VALUES ('tokens', '2026-11-22', 'schedule', 'failed', now(), now(), '23502', E'null value\nDETAIL:  Failing row contains (secret).')));
is($f->query(q(SET ROLE watcher; SELECT error FROM contratos_days WHERE source = 'tokens' AND day = '2026-11-22'; SELECT last_error FROM contratos_status WHERE source = 'tokens')),
	"null value\nnull value", 'an error in the views is its message, without the detail, which may quote a row');
$f->query(q(DELETE FROM contratos_runs WHERE sqlstate = '23502'));
is($f->query("BEGIN READ ONLY; $all; COMMIT"), "t\nt\n0", 'a read-only transaction will do');
is($f->query("SET search_path = pg_catalog; SELECT count(*) > 0 FROM public.contratos_status"), 't', 'and any search_path');
is($f->query(q(SELECT count(*) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relname IN ('contratos_status', 'contratos_days', 'contratos_progress')
	AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid) IS NULL))), 0, 'every column is explained');

# ---- a standby

$f->node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($f->node, 'copy', has_streaming => 1);
$standby->start;
$f->node->wait_for_catchup($standby, 'replay');
my $same = q(SELECT source, enabled, next_wake, next_day, last_success, missing_days, last_error FROM contratos_status ORDER BY 1; SELECT * FROM contratos_days ORDER BY 1, 2);
is($standby->safe_psql('postgres', $same), $f->query($same), 'a standby says the same');
is($standby->safe_psql('postgres', "SELECT DISTINCT worker IS NULL FROM contratos_status"), 't', 'and has no worker');
$standby->stop('immediate');

$f->stop;
done_testing();
