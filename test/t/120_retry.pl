# Days that fail: tried again by class, told to the user's function, taken up
# again; days that upstream has not written yet; the cap on bytes.
use strict;
use warnings;

use File::Copy qw(copy);
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.retries = 2\ncontratos.max_bytes_per_day = '0'");
my $bq = $f->bq;

# A reload counts as a change, after which failed days are taken up again; a
# restart does not, so time passes by one where that matters.
sub restart_at
{
	my ($time, @settings) = @_;
	while (my ($name, $value) = splice @settings, 0, 2)
	{
		$f->node->adjust_conf('postgresql.conf', $name, "'$value'");
	}
	$f->node->adjust_conf('postgresql.conf', 'contratos.now', "'$time+00'");
	$f->node->restart;
	return $f->settle;
}

# What an attempt came to: number, status, SQLSTATE, reason, next attempt.
sub attempts
{
	my ($where) = @_;
	return $f->query(
		qq(SELECT string_agg(concat_ws(' ', attempt, status, sqlstate, reason, to_char(next_attempt_at, 'HH24:MI:SS')), ', ' ORDER BY id)
		   FROM contratos_runs WHERE $where));
}

# BigQuery takes no job from now on, for this reason.
sub jobs_fail
{
	my ($reason) = @_;
	my $status = $reason eq 'backendError' ? 503 : 403;
	$bq->reset(tables => 0);
	# Retry-After: longer than request_timeout, so there is no second try
	$bq->rule({ kind => 'insert', times => 0 },
		{ status => $status, reason => $reason, message => 'no', headers => { 'Retry-After' => '600' } });
	return;
}

sub told { return $f->query(q(SELECT string_agg(concat_ws(' ', to_char(day, 'DD'), split_part(error, E'\n', 1)), ', ' ORDER BY id) FROM told)); }
sub rows_of { return $f->query("SELECT count(*) FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = '$_[0]'"); }

# What the function sees: the failure recorded, by another transaction.
$f->query(
	q(CREATE ROLE keeper;
	  ALTER TABLE tokens OWNER TO keeper;
	  GRANT SELECT ON bigquery_tokens, contratos_runs TO keeper;
	  CREATE TABLE told (id serial, source text, day date, error text, who text, status text, apart boolean);
	  ALTER TABLE told OWNER TO keeper;
	  CREATE FUNCTION tell(source text, day date, error text) RETURNS void LANGUAGE plpgsql AS $$
	  BEGIN
		INSERT INTO public.told (source, day, error, who, status, apart)
		SELECT tell.source, tell.day, tell.error, current_user, r.status, r.xmin::text <> pg_current_xact_id()::text
		FROM public.contratos_runs r WHERE r.source = tell.source AND r.day = tell.day ORDER BY id DESC LIMIT 1;
	  END $$;
	  UPDATE contratos_sources SET on_failure = 'public.tell'));

# ---- what may pass

$f->day("2026-11-$_", 50) for 20 .. 25;
jobs_fail('backendError');
ok($f->at('2026-11-21 08:00'), 'a day fails at run_at with a transient error');
my $day20 = q(source = 'tokens' AND day = '2026-11-20');
is(attempts($day20), '1 failed HV000 backendError 08:01:00', 'a transient error is to be tried again, at a known time');
is(told(), '', 'on_failure is not called before the last attempt');
ok($f->at('2026-11-21 08:00:59'), 'the worker looks before the time of the next attempt');
is(attempts($day20), '1 failed HV000 backendError 08:01:00',
	'nothing is tried before the time of the next attempt, even after a reload');
ok($f->at('2026-11-21 08:01'), 'the worker looks at the time of the next attempt');
is(attempts($day20), '1 failed HV000 backendError 08:01:00, 2 failed HV000 backendError 08:02:00',
	'a second attempt is made');
ok(restart_at('2026-11-21 08:02'), 'the worker looks after a restart of the server');
is( attempts($day20),
	'1 failed HV000 backendError 08:01:00, 2 failed HV000 backendError 08:02:00, 3 failed HV000 backendError',
	'the third attempt is the last one, also after a restart');
is(told(), '20 BigQuery: no', 'on_failure is called once');
is($f->query('SELECT DISTINCT who, status, apart FROM told'),
	'keeper|failed|t',
		'on_failure is called as the target\'s owner, after the failure was recorded, in its own transaction');

# ---- taken up again at run_at

ok(restart_at('2026-11-22 07:59:59'), 'the worker looks a second before the next run_at');
is($f->query("SELECT count(*) FROM contratos_runs WHERE $day20"), 3,
	'a failed day is not tried before the next run_at');
jobs_fail('accessDenied');
ok(restart_at('2026-11-22 08:00'), 'the worker looks at the next run_at');
is(attempts(q(id > 3 AND day = '2026-11-21')), '1 failed 42501 accessDenied', 'a permanent error is final at once');
is(attempts("id > 3 AND $day20"), '1 failed 42501 accessDenied', 'a failed day of before is tried again at run_at, as attempt 1');
is($f->query('SELECT string_agg(extract(day FROM day)::text, \' \' ORDER BY id) FROM contratos_runs WHERE id > 3'),
	'21 20', 'yesterday is tried before older failed days');
is(told(), '20 BigQuery: no, 21 BigQuery: no, 20 BigQuery: no', 'on_failure is called for each day, and again for another error');

# ---- taken up again when the source was changed

$bq->reset(tables => 0);
ok(restart_at('2026-11-22 08:05'), 'the worker looks after a restart');
is($f->query('SELECT count(*) FROM contratos_runs'), 5, 'a restart alone tries nothing again');
$f->query('UPDATE contratos_sources SET max_shrink = 0.2');
ok($f->poll(q(SELECT count(*) = 2 FROM contratos_runs WHERE status = 'succeeded')),
	'a change of the source tries failed days again');
is($f->runs('id > 5'), '21 schedule succeeded, 20 catchup succeeded',
	'a change of the source tries all failed days again');
is(rows_of('2026-11-20') + rows_of('2026-11-21'), 100, 'days that were tried again have their rows');

# ---- the function's own error

$f->query(q(CREATE OR REPLACE FUNCTION tell(source text, day date, error text) RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN DELETE FROM public.told; RAISE EXCEPTION 'tell has failed'; END $$));
jobs_fail('accessDenied');
ok($f->at('2026-11-23 08:00'), 'a day fails whose on_failure fails');
is($f->runs(q(day = '2026-11-22')), '22 schedule failed', 'the failure is recorded although on_failure fails');
ok($f->logged(qr/ERROR:  tell has failed/) > 0, 'an error of on_failure is logged');
is($f->query('SELECT count(*) FROM told'), 3, 'an error of on_failure undoes its writes');
$bq->reset(tables => 0);
ok($f->at('2026-11-23 08:01'), 'the worker works on after an error of on_failure');
is($f->runs(q(day = '2026-11-22')), '22 schedule failed, 22 schedule succeeded', 'a reload of the configuration tries failed days again');

# ---- a source that fails does not hold up another

$f->query(
	q(UPDATE contratos_sources SET on_failure = NULL;
	  CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no, and no''; END';
	  CREATE TABLE bad (LIKE tokens);
	  CREATE TRIGGER refuse BEFORE INSERT ON bad FOR EACH ROW EXECUTE FUNCTION refuse();
	  CREATE TABLE good (LIKE tokens);
	  BEGIN;
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, start_date)
	  VALUES ('bad', 'bigquery_tokens', 'bad', 'block_timestamp', '2026-11-20'),
		('good', 'bigquery_tokens', 'good', 'block_timestamp', '2026-11-20');
	  COMMIT));
ok($f->poll(q(SELECT count(*) = 3 FROM contratos_runs WHERE source = 'good' AND status = 'succeeded')), 'a source without errors is caught up');
ok($f->poll(q(SELECT count(*) = 3 FROM contratos_runs WHERE source = 'bad' AND status = 'failed')), 'a source with errors fails its days');
is($f->query(q(SELECT string_agg(source, ' ' ORDER BY id) FROM contratos_runs WHERE source IN ('bad', 'good'))),
	'bad good bad good bad good', 'a source with errors takes turns with another');
is($f->query(q(SELECT DISTINCT sqlstate, next_attempt_at IS NULL, error FROM contratos_runs WHERE source = 'bad')),
	'P0001|t|no, and no', 'an error of the target is not tried again');

# ---- not there yet

$f->query(q(DELETE FROM contratos_sources WHERE name IN ('bad', 'good');
	UPDATE contratos_sources SET on_failure = 'public.tell', recheck_days = 0, ready_timeout = '45 min';
	TRUNCATE told;
	CREATE OR REPLACE FUNCTION tell(source text, day date, error text) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO public.told (source, day, error) VALUES ($1, $2, $3) $$));
$bq->reset(tables => 0);
$bq->delete_day(undef, '2026-11-23');
ok($f->at('2026-11-24 08:00'), 'the worker looks at a day that is empty');
my $day23 = q(day = '2026-11-23');
is(attempts($day23), '1 waiting 55000 08:15:00', 'an empty day waits, until a known time');
ok($f->at('2026-11-24 08:14:59'), 'the worker looks before the time of the next look');
my $before = () = $bq->requests('insert');
ok($f->at('2026-11-24 08:15'), 'the worker looks at the time of the next look');
is(scalar(my @asked = $bq->requests('insert')), $before + 1, 'an empty day is asked for again at its time, not before');
is($f->query("SELECT count(*), min(status), min(to_char(next_attempt_at, 'HH24:MI')) FROM contratos_runs WHERE $day23"), '1|waiting|08:30', 'a day that stays empty waits on, in the same row');
$f->day('2026-11-23', 50);
ok($f->at('2026-11-24 08:30'), 'the worker looks a third time');
is($f->query("SELECT count(*), min(status), min(rows_loaded), count(next_attempt_at), count(error), min(to_char(started_at, 'HH24:MI')) FROM contratos_runs WHERE $day23"),
	'1|succeeded|50|0|0|08:00', 'a day that was empty succeeds in the same row');
is(rows_of('2026-11-23'), 50, 'a day that was empty has its rows');
is(told(), '', 'on_failure is not called for a day that waited');

$bq->delete_day(undef, '2026-11-24');
ok($f->at("2026-11-25 $_"), "a day that stays empty, $_") for '08:00', '08:15', '08:30', '08:44:59';
my $day24 = q(day = '2026-11-24');
is($f->query("SELECT count(*), min(status) FROM contratos_runs WHERE $day24"), '1|waiting',
	'a day that stays empty waits');
ok($f->at('2026-11-25 08:45'), 'the worker looks when ready_timeout is over');
is($f->query("SELECT count(*), min(status), count(next_attempt_at), min(sqlstate) FROM contratos_runs WHERE $day24"),
	'1|failed|0|55000', 'a day that stays empty fails after ready_timeout');
like(told(), qr/^24 BigQuery has no rows of 2026-11-24/, 'on_failure is called for a day that stays empty');

# ---- upstream takes a day back

$bq->delete_day(undef, '2026-11-23');
$f->query(q(TRUNCATE told; SELECT contratos_enqueue('2026-11-23', '2026-11-23', only_missing => false)));
ok($f->poll(qq(SELECT count(*) = 1 FROM contratos_runs WHERE $day23 AND status = 'refused')), 'a queued day that has no rows any more is refused');
is(attempts("$day23 AND cause = 'queue'"), '1 refused 55000', 'a refused day is not tried again');
is(rows_of('2026-11-23'), 50, 'a refused day keeps its old rows');
ok($f->poll('SELECT count(*) = 1 FROM told'), 'on_failure is called for a refused day');
like(told(), qr/^23 2026-11-23 of source "tokens" has shrunk from 50 rows to 0|^23 BigQuery has no rows/,
	'on_failure gets the message of a refused day');
ok($f->logged(qr/ERROR:  .*2026-11-23/) >= 1, 'a refused day is logged as an error');

# ---- bytes a day

$f->settle;
ok($f->at('2026-11-26 07:00', 'contratos.max_bytes_per_day' => '25MB'), 'the worker looks with a max_bytes_per_day');
$bq->reset(tables => 0);
$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-26';
	SELECT contratos_enqueue('2026-11-10', '2026-11-13')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-13' AND status = 'failed')),
	'a queued day fails when max_bytes_per_day is used up');
is($f->runs(q(day BETWEEN '2026-11-10' AND '2026-11-13')),
	'10 queue succeeded, 11 queue succeeded, 12 queue succeeded, 13 queue failed', 'no further day is loaded when max_bytes_per_day is used up');
is(attempts(q(day = '2026-11-13')), '0 failed 53400 08:00:00', 'a day over max_bytes_per_day comes again at run_at of the next UTC day, as attempt 0');
$f->settle;
is($f->query(q(SELECT state, attempts FROM contratos_days WHERE day = '2026-11-13')), 'waiting|0',
	'contratos_days shows a day over max_bytes_per_day as waiting, without an attempt');
is($f->logged(qr/2026-11-13 failed \(queue, attempt 0\)/), 1, 'a day over max_bytes_per_day is logged as attempt 0');
is((grep { $_->{job} && $_->{job} eq $f->query(q(SELECT job_id FROM contratos_runs WHERE day = '2026-11-13')) } $bq->requests('insert')), 0, 'a day over max_bytes_per_day makes no job');
ok($f->at('2026-11-26 07:05', 'contratos.max_bytes_per_day' => '40MB'),
	'the worker looks with a higher max_bytes_per_day');
is($f->runs(q(day = '2026-11-13')), '13 queue failed, 13 queue succeeded',
	'a higher max_bytes_per_day loads the day at once');
is(attempts(q(day = '2026-11-13' AND status = 'succeeded')), '1 succeeded',
	'a day that was over max_bytes_per_day succeeds as attempt 1');
$f->query(q(SELECT contratos_enqueue('2026-11-14', '2026-11-17')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-14' AND status = 'failed')), 'the higher max_bytes_per_day is used up as well');
$f->settle;
is($f->runs(q(day BETWEEN '2026-11-14' AND '2026-11-17')), '14 queue failed, 15 queue queued, 16 queue queued, 17 queue queued',
	'one day fails over max_bytes_per_day, and the rest of the queue waits');
is($f->query('SELECT queued_days, next_wake FROM _contratos_status'), '3|2026-11-27 08:00:00+00', 'the queue over max_bytes_per_day waits until run_at of the next UTC day');
is($f->query(q(SELECT string_agg(contratos_cancel(id)::text, ' ' ORDER BY id) FROM contratos_runs WHERE day IN ('2026-11-13', '2026-11-14', '2026-11-17'))),
	'false false true true', 'a day over max_bytes_per_day can be canceled');
is(attempts(q(day = '2026-11-14')), '0 canceled 53400', 'a canceled day over max_bytes_per_day stays canceled');
$f->day('2026-11-26', 50);
ok(restart_at('2026-11-27 07:59:59'), 'the worker looks a second before run_at of the next UTC day');
is($f->runs(q(day IN ('2026-11-15', '2026-11-16', '2026-11-26'))), '15 queue queued, 16 queue queued', 'the queue over max_bytes_per_day is not loaded before run_at');
ok(restart_at('2026-11-27 08:00'), 'the worker looks at run_at of the next UTC day');
is($f->runs(q(started_at >= '2026-11-27' AND day IN ('2026-11-14', '2026-11-15', '2026-11-16', '2026-11-17', '2026-11-26'))),
	'15 queue succeeded, 16 queue succeeded, 26 schedule succeeded',
		'the queue over max_bytes_per_day is loaded at run_at');
is((map { $_->{body}{jobReference}{jobId} } $bq->requests('insert'))[-3], $f->query(q(SELECT job_id FROM contratos_runs WHERE day = '2026-11-26' AND status = 'succeeded')),
	'yesterday is loaded before the queue over max_bytes_per_day');

# ---- a new key, by the real clock: what is newer than the failure is a change

$f->query(
	q(UPDATE contratos_sources SET enabled = false;
	  CREATE TABLE keyed (LIKE tokens);
	  CREATE TABLE other (LIKE tokens)));
$f->at('', 'contratos.max_bytes_per_day' => '0', 'contratos.now' => '');
my $left = 86_400 - time % 86_400;
sleep $left + 1 if $left < 120;    # midnight would make another day due
my $yesterday = $f->query('SELECT contratos_yesterday()');
$f->day($yesterday, 10);
jobs_fail('accessDenied');
$f->query(
	qq(INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, start_date, run_at)
	   VALUES ('keyed', 'bigquery_tokens', 'keyed', 'block_timestamp', '$yesterday', '00:00')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'keyed' AND status = 'failed')), 'a day fails by a key without rights');
$f->settle;
$bq->reset(tables => 0);

# Makes the worker look at all sources: returns when it has.
sub look
{
	my ($day) = @_;
	$f->query(
		qq(INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, start_date)
		   VALUES ('other', 'bigquery_tokens', 'other', 'block_timestamp', '2100-01-01') ON CONFLICT DO NOTHING;
		   SELECT contratos_enqueue('$day', '$day', 'other')));
	ok($f->poll(qq(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'other' AND day = '$day' AND status = 'succeeded')),
		'the worker looks at all sources');
	return $f->settle;
}
look('2026-11-10');
is(attempts(q(source = 'keyed')), '1 failed 42501 accessDenied',
	'a failed day is not tried again while nothing has changed');
my $key = $bq->key_file;
copy($key, "$key.new") && chmod(0600, "$key.new") or die "$key.new: $!";
rename "$key.new", $key or die "$key: $!";
look('2026-11-11');
is(attempts(q(source = 'keyed')), '1 failed 42501 accessDenied, 1 succeeded', 'a key file that was replaced tries the failed day again');

$f->stop;
done_testing();
