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
sub status { return $f->query("SELECT $_[0] FROM _contratos_status WHERE source = '@{[ $_[1] // 'tokens' ]}'"); }
sub day { return $f->query("SELECT $_[1] FROM contratos_days WHERE source = 'tokens' AND day = '2026-11-$_[0]'"); }
sub poll_day { return $f->poll("SELECT state = '$_[1]' FROM contratos_days WHERE source = 'tokens' AND day = '2026-11-$_[0]'"); }

# ---- at first

is(states(), '20 missing', 'the first day is missing');
is(status(q(enabled, worker, next_wake, next_day, last_success, last_day, lag_days, running_day)),
	join('|', 't', $f->worker, '2026-11-21 08:00:00+00', '2026-11-20', '', '', '', ''),
		'the first day will be loaded at run_at');
is(status('missing_days, provisional_days, failed_days, queued_days, rows_this_month, bytes_billed_this_month, last_error, last_error_at'),
	'1|0|0|0|0|0||', 'contratos_status counts nothing before the first load');

# ---- waiting for upstream, provisional, confirmed

$bq->delete_day(undef, '2026-11-20');
ok($f->at('2026-11-21 08:00'), 'the worker looks at a day that BigQuery does not have yet');
is(states(), '20 waiting', 'a day that BigQuery does not have yet is waiting');
is(day(20, q(rows, attempts, last_loaded, next_attempt_at, error ~ '^BigQuery has no rows of 2026-11-20')),
	'|1||2026-11-21 08:15:00+00|t', 'contratos_days has time and reason of a waiting day');
is(status(q(next_wake, next_day, last_error, last_error_at, missing_days, waiting_days)),
	'2026-11-21 08:15:00+00|2026-11-20|||0|1', 'contratos_status has the waiting day as next, and not as an error');

is($f->query(q(SET contratos.now = '2026-11-21 10:00+00'; SELECT next_wake, next_day FROM _contratos_status)), '2026-11-21 10:00:00+00|2026-11-20',
	'next_wake is not before now');

$f->day('2026-11-20', 50);
ok($f->at('2026-11-21 08:15'), 'the worker looks at a day that BigQuery has by then');
is(states(), '20 provisional', 'a loaded day is provisional');
is(day(20, 'rows, attempts, last_loaded, confirmed_at, next_attempt_at, error'), '50|1|2026-11-21 08:15:00+00|||', 'contratos_days has rows and time of a loaded day');
is(status('next_wake, next_day, last_success, last_day, lag_days, provisional_days, rows_this_month, bytes_billed_this_month, last_error, last_error_at'),
	'2026-11-21 14:15:00+00|2026-11-20|2026-11-21 08:15:00+00|2026-11-20|0|1|50|10485760||', 'contratos_status has the recheck in six hours as next');

ok($f->at('2026-11-21 14:14:59'), 'the worker looks a second before the recheck');
is($f->query('SELECT count(*) FROM contratos_runs'), 1, 'the worker does nothing before next_wake');
$f->day('2026-11-21', 40);
ok($f->at('2026-11-22 08:00'), 'the worker looks at the next morning');
is(states(), '20 confirmed, 21 provisional', 'a day found unchanged a day after its end is confirmed');
is(day(20, 'confirmed_at, attempts, rows'), '2026-11-22 08:00:00+00|1|50',
	'a confirmation is no attempt in contratos_days');

# ---- refused, and come right again

$f->query('UPDATE contratos_sources SET enabled = false');
$f->settle;
is(status('enabled, next_wake, next_day'), 'f||', 'a disabled source has no next_wake');
$f->day('2026-11-21', 5);
is($f->query('SELECT status FROM contratos_backfill(1)'), 'refused', 'a backfill refuses a day that has shrunk');
is(states(), '20 confirmed, 21 refused', 'a day that has shrunk is refused');
is(day(21, q(rows, attempts, last_loaded IS NOT NULL, error ~ 'has shrunk from 40 rows to 5')), '40|2|t|t', 'contratos_days has the rows and the error of a refused day');
is(status(q(failed_days, last_day, last_error ~ 'has shrunk')), '1|2026-11-21|t',
	'contratos_status counts a refused day as failed');
$f->query(q(SELECT contratos_enqueue('2026-11-21', '2026-11-21', only_missing => false)));
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'queued'));
is(day(21, 'state'), 'refused', 'a canceled queue entry leaves a day refused');
$f->query(q(SELECT contratos_run('2026-11-21', allow_shrink => true)));
is(states() . status('failed_days, last_error, last_error_at'), '20 confirmed, 21 provisional0||', 'a refused day that is loaded is provisional again');
is(status('rows_this_month'), 95, 'rows_this_month counts rows loaded again');

# ---- queued, canceled, running, waiting for another attempt, failed

$f->query(q(SELECT contratos_enqueue('2026-11-10', '2026-11-12')));
is(states(), '10 queued, 11 queued, 12 queued, 20 confirmed, 21 provisional', 'days before the start show once the ledger knows them');
is(status('queued_days, missing_days'), '3|0', 'contratos_status counts queued days, not missing ones');
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE day = '2026-11-11'));
$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', only_missing => false)));
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE day = '2026-11-20' AND status = 'queued'));
is(states(), '10 queued, 11 canceled, 12 queued, 20 confirmed, 21 provisional', 'a canceled day is canceled, unless it is loaded');

$f->day("2026-11-$_", $_) for 10 .. 12;
my $pending = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
my $busy = $bq->rule({ kind => 'insert', nth => 2, times => 0 },
	{ status => 503, reason => 'backendError', message => 'no', headers => { 'Retry-After' => '600' } });
$f->query(q(UPDATE contratos_sources SET enabled = true));
ok(poll_day(10, 'running'), 'a day that the worker loads is running');
is(status(q(running_day, next_wake, next_day, queued_days)), '2026-11-10|2026-11-22 08:00:00+00|2026-11-10|1', 'contratos_status has the running day');
$bq->release($pending);
ok(poll_day(10, 'confirmed'), 'a day that the worker has loaded a day after its end is confirmed');
ok(poll_day(12, 'waiting'), 'a day with a transient error is waiting');
$f->settle;
is(day(12, q(attempts, next_attempt_at, error ~ 'no')), '1|2026-11-22 08:01:00+00|t',
	'contratos_days has the time of the next attempt');
is(status(q(next_wake, next_day, running_day, failed_days, last_error_at)), '2026-11-22 08:01:00+00|2026-11-12||0|', 'contratos_status has the time of the next attempt');
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert', times => 0 }, { status => 403, reason => 'accessDenied', message => 'Access Denied: no' });
ok($f->at('2026-11-22 08:01'), 'the worker meets a permanent error');
is(day(12, q(state, attempts, next_attempt_at, error ~ 'Access Denied')), 'failed|2||t',
	'a day with a permanent error has failed');
is(status(q(failed_days, next_day, next_wake, last_error ~ 'Access Denied')), '1|2026-11-21|2026-11-22 14:00:00+00|t', 'contratos_status has another day as next after a permanent error');
$bq->reset(tables => 0);

# ---- a run that was cut off, one that still differs

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->settle;
$f->query(q(DELETE FROM contratos_runs WHERE day < '2026-11-21'; UPDATE contratos_sources SET start_date = '2026-11-21', run_at = '09:00', recheck_days = 30));
is(states(), '21 provisional', 'a day that the ledger does not have is not shown');
$f->query(
	q(CREATE FUNCTION erase() RETURNS void LANGUAGE sql AS $$ DELETE FROM tokens WHERE ctid IN (SELECT ctid FROM tokens
		WHERE block_timestamp >= '2026-11-21Z' LIMIT 1) $$));
$f->query(q(UPDATE contratos_sources SET enabled = true));
foreach my $time ('2026-11-22 14:30', '2026-11-22 21:00', '2026-11-23 04:00')
{
	$f->query('SELECT erase()');
	ok($f->at($time), "the worker rechecks a day with a row deleted, $time");
}
is(states(), '21 differs, 22 missing', 'a day that differs after reloads is differs');
is(status(q(missing_days, provisional_days, failed_days, lag_days, last_error)), '1|0|0|1|', 'a day that differs is not a failed one');
is(day(21, q(check_error ~ 'rows', checked_at)), 't|2026-11-23 04:00:00+00', 'contratos_days has the difference that the last recheck found');
my $held = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->day('2026-11-22', 30);
$f->set('contratos.now' => '2026-11-23 09:00+00');
ok(poll_day(22, 'running'), 'a day that the worker loads at run_at is running');
$bq->wait(rule => $held, state => 'answered');
$f->query("SELECT pg_cancel_backend(@{[ $f->worker ]})");
ok(poll_day(22, 'waiting'), 'an interrupted day is waiting');
is(day(22, q(next_attempt_at, error)), '2026-11-23 09:01:00+00|canceling statement due to user request', 'contratos_days has the next attempt of an interrupted day');
$bq->release($held);
ok($f->at('2026-11-23 09:01'), 'the worker looks at the time of the interrupted day\'s next attempt');
is(states(), '21 differs, 22 provisional', 'an interrupted day is provisional after the next attempt');

# ---- by construction

is( $f->query(
		q(SELECT s.missing_days = count(*) FILTER (WHERE state = 'missing') AND s.provisional_days = count(*) FILTER (WHERE state = 'provisional')
			AND s.failed_days = count(*) FILTER (WHERE state IN ('failed', 'refused')) AND s.waiting_days = count(*) FILTER (WHERE state = 'waiting') AND s.last_success = max(d.last_loaded)
		  FROM _contratos_status s JOIN contratos_days d USING (source)
		  GROUP BY s.source, s.missing_days, s.provisional_days, s.failed_days, s.waiting_days, s.last_success)),
	't', 'the numbers of a source in contratos_status are those of its days');

# ---- times that are none; a month's end; a snapshot

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->settle;
is($f->query(q(SET contratos.now = '2026-12-01 00:00+00'; SELECT rows_this_month, bytes_billed_this_month, lag_days FROM _contratos_status)), '0|0|8', 'a month of contratos_status begins in UTC');
$f->query(
	q(CREATE TABLE never (LIKE tokens); CREATE TABLE whole (LIKE tokens);
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, snapshot, start_date, enabled)
	  VALUES ('never', 'bigquery_tokens', 'never', 'block_timestamp', false, '5874897-12-31', true),
	         ('whole', 'bigquery_tokens', 'whole', NULL, true, '2026-11-01', false)));
is(status('next_wake, next_day, missing_days, lag_days', 'never'), '||0|',
	'a start date out of range has no next_wake');
is($f->query(q(SELECT count(*) FROM contratos_status WHERE next_wake IN ('infinity', '-infinity'))), 0, 'next_wake is never infinite');
is(states('whole'), '22 missing', 'a full-table source has only yesterday missing');
$f->query(
	q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded)
	  SELECT 'whole', date '2026-11-18' + i, 'schedule', 'succeeded', now(), now(), 7 FROM generate_series(0, 2) i));
is(states('whole'), '20 provisional, 22 missing', 'a full-table source has only its last load loaded');

# ---- who may read

$f->query(q(CREATE ROLE watcher; GRANT pg_monitor TO watcher; CREATE ROLE nobody; CREATE ROLE guest; GRANT SELECT ON contratos_status TO guest));
my $all = q(SELECT count(*) > 0 FROM contratos_status; SELECT count(*) > 0 FROM contratos_days; SELECT count(*) FROM contratos_progress);
is($f->query("SET ROLE watcher; $all"), "t\nt\n0", 'members of pg_monitor read the three views');
like($f->fails("SET ROLE watcher; SELECT * FROM $_"), qr/ERROR:  42501: permission denied/, "members of pg_monitor do not read $_")
	for qw(contratos_sources contratos_runs contratos_rejects _contratos_days);
like($f->fails("SET ROLE nobody; SELECT * FROM $_"), qr/ERROR:  42501: permission denied for view $_/, "roles without privileges do not read $_")
	for qw(contratos_status contratos_days contratos_progress);
is($f->query('SET ROLE guest; SELECT count(*) > 0 FROM contratos_status'), 't',
	'a role with SELECT reads contratos_status');
my $functions = q(SELECT (_contratos_next('tokens')).next_day, _contratos_worker());
$f->query(q(UPDATE contratos_sources SET enabled = true WHERE name = 'tokens'));
$f->settle;
my $asked = $f->query($functions);
like($asked, qr/^2026-11-2\d\|@{[ $f->worker ]}$/, 'the functions of the view return the worker and the next day');
is($f->query("SET ROLE $_; $functions"), $asked, "the functions of the view return the same to $_") for 'watcher', 'guest';
is($f->query("SET ROLE nobody; $functions"), '|',
	'the functions of the view return nothing to a role that may not read it');
$f->query(
	q(UPDATE contratos_sources SET enabled = false;
	  INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, sqlstate, error)
	  VALUES ('tokens', '2026-11-22', 'schedule', 'refused', now(), now(), '23502', E'null value\nDETAIL:  Failing row contains (secret).')));
is($f->query(q(SET ROLE watcher; SELECT error FROM contratos_days WHERE source = 'tokens' AND day = '2026-11-22'; RESET ROLE; SELECT last_error FROM _contratos_status WHERE source = 'tokens')),
	"null value\n2026-11-22: null value", 'an error in the views has no detail');
$f->query(q(UPDATE contratos_runs SET error = 'could not open credentials file "/etc/postgresql/key.json": no' WHERE sqlstate = '23502'));
is($f->query(q(SET ROLE watcher; SELECT error FROM contratos_days WHERE source = 'tokens' AND day = '2026-11-22'; SELECT replace(last_error, E'\\n', '') FROM contratos_status WHERE source = 'tokens')),
	qq(could not open credentials file "...": no\n2026-11-22: could not open credentials file "...": no), 'an error in the views has no path of a file');
is($f->query(q(SET DateStyle = 'German, DMY'; SELECT left(last_error, 12) FROM _contratos_status WHERE source = 'tokens')), '2026-11-22: ', 'last_error names the day whatever DateStyle is');
is($f->query(q(SET ROLE watcher; SELECT _contratos_fold('abc', 0), _contratos_fold('abc', -1) IS NULL, _contratos_fold(NULL, 1))), "a\nb\nc|f|", 'a width of zero is one');
$f->query(q(DELETE FROM contratos_runs WHERE sqlstate = '23502'));
is($f->query("BEGIN READ ONLY; $all; COMMIT"), "t\nt\n0", 'the views work in a read-only transaction');
is($f->query("SET search_path = pg_catalog; SELECT count(*) > 0 FROM public.contratos_status"), 't', 'the views work with any search_path');
is($f->query(q(SELECT count(*) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relname IN ('contratos_status', 'contratos_days', 'contratos_progress')
	AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid) IS NULL))), 0,
		'every column of the views has a comment');

# ---- a standby

$f->node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($f->node, 'copy', has_streaming => 1);
$standby->start;
$f->node->wait_for_catchup($standby, 'replay');
my $same = q(SELECT source, enabled, next_wake, next_day, last_success, missing_days, last_error FROM _contratos_status ORDER BY 1; SELECT * FROM contratos_days ORDER BY 1, 2);
is($standby->safe_psql('postgres', $same), $f->query($same), 'the views are the same on a standby');
is($standby->safe_psql('postgres', "SELECT DISTINCT worker IS NULL FROM _contratos_status"), 't',
	'contratos_status has no worker on a standby');
$standby->stop('immediate');

$f->stop;
done_testing();
