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
ok($f->at('2026-11-21 08:00'), 'a day fails at run_at');
my $day20 = q(source = 'tokens' AND day = '2026-11-20');
is(attempts($day20), '1 failed HV000 backendError 08:01:00', 'what may pass is to be tried again, and one can see when');
is(told(), '', 'nobody is told yet');
ok($f->at('2026-11-21 08:00:59'), 'before that time');
is(attempts($day20), '1 failed HV000 backendError 08:01:00', 'nothing is done, whatever has been reloaded');
ok($f->at('2026-11-21 08:01'), 'at that time');
is(attempts($day20), '1 failed HV000 backendError 08:01:00, 2 failed HV000 backendError 08:02:00', 'a second attempt');
ok(restart_at('2026-11-21 08:02'), 'after a restart of the server');
is( attempts($day20),
	'1 failed HV000 backendError 08:01:00, 2 failed HV000 backendError 08:02:00, 3 failed HV000 backendError',
	'the third one, and last: restarts do not make more of them');
is(told(), '20 BigQuery: no', 'the function is told once');
is($f->query('SELECT DISTINCT who, status, apart FROM told'),
	'keeper|failed|t', 'as the owner of the target, when the failure was recorded, in a transaction of its own');

# ---- taken up again at run_at

ok(restart_at('2026-11-22 07:59:59'), 'until the next run_at');
is($f->query("SELECT count(*) FROM contratos_runs WHERE $day20"), 3, 'the day rests');
jobs_fail('accessDenied');
ok(restart_at('2026-11-22 08:00'), 'at run_at');
is(attempts(q(id > 3 AND day = '2026-11-21')), '1 failed 42501 accessDenied', 'what cannot pass is final at once');
is(attempts("id > 3 AND $day20"), '1 failed 42501 accessDenied', 'the day of before is tried again, with a series of its own');
is($f->query('SELECT string_agg(extract(day FROM day)::text, \' \' ORDER BY id) FROM contratos_runs WHERE id > 3'),
	'21 20', 'yesterday first');
is(told(), '20 BigQuery: no, 21 BigQuery: no, 20 BigQuery: no', 'each failure is told');

# ---- taken up again when the source was changed

$bq->reset(tables => 0);
ok(restart_at('2026-11-22 08:05'), 'later');
is($f->query('SELECT count(*) FROM contratos_runs'), 5, 'starting up is no reason to try again');
$f->query('UPDATE contratos_sources SET max_shrink = 0.2');
ok($f->poll(q(SELECT count(*) = 2 FROM contratos_runs WHERE status = 'succeeded')), 'but a change of the source is');
is($f->runs('id > 5'), '21 schedule succeeded, 20 catchup succeeded', 'for all that has failed');
is(rows_of('2026-11-20') + rows_of('2026-11-21'), 100, 'their rows are there');

# ---- the function's own error

$f->query(q(CREATE OR REPLACE FUNCTION tell(source text, day date, error text) RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN DELETE FROM public.told; RAISE EXCEPTION 'tell has failed'; END $$));
jobs_fail('accessDenied');
ok($f->at('2026-11-23 08:00'), 'the function that is told may fail itself');
is($f->runs(q(day = '2026-11-22')), '22 schedule failed', 'the failure is recorded all the same');
ok($f->logged(qr/ERROR:  tell has failed/) > 0, 'its error is logged');
is($f->query('SELECT count(*) FROM told'), 3, 'and what it has done is undone');
$bq->reset(tables => 0);
ok($f->at('2026-11-23 08:01'), 'and the worker works on');
is($f->runs(q(day = '2026-11-22')), '22 schedule failed, 22 schedule succeeded', 'a reload of the configuration takes failed days up again');

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
ok($f->poll(q(SELECT count(*) = 3 FROM contratos_runs WHERE source = 'good' AND status = 'succeeded')), 'a source is caught up');
ok($f->poll(q(SELECT count(*) = 3 FROM contratos_runs WHERE source = 'bad' AND status = 'failed')), 'another one fails');
is($f->query(q(SELECT string_agg(source, ' ' ORDER BY id) FROM contratos_runs WHERE source IN ('bad', 'good'))),
	'bad good bad good bad good', 'by turns');
is($f->query(q(SELECT DISTINCT sqlstate, next_attempt_at IS NULL, error FROM contratos_runs WHERE source = 'bad')),
	'P0001|t|no, and no', 'what the target refuses is not tried again');

# ---- not there yet

$f->query(q(DELETE FROM contratos_sources WHERE name IN ('bad', 'good');
	UPDATE contratos_sources SET on_failure = 'public.tell', recheck_days = 0, ready_timeout = '45 min';
	TRUNCATE told;
	CREATE OR REPLACE FUNCTION tell(source text, day date, error text) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO public.told (source, day, error) VALUES ($1, $2, $3) $$));
$bq->reset(tables => 0);
$bq->delete_day(undef, '2026-11-23');
ok($f->at('2026-11-24 08:00'), 'a day that is empty');
my $day23 = q(day = '2026-11-23');
is(attempts($day23), '1 waiting 55000 08:15:00', 'waits, and one can see how long');
ok($f->at('2026-11-24 08:14:59'), 'until then');
my $before = () = $bq->requests('insert');
ok($f->at('2026-11-24 08:15'), 'when the time has come');
is(scalar(my @asked = $bq->requests('insert')), $before + 1, 'it is asked for again, not before');
is($f->query("SELECT count(*), min(status), min(to_char(next_attempt_at, 'HH24:MI')) FROM contratos_runs WHERE $day23"), '1|waiting|08:30', 'still nothing');
$f->day('2026-11-23', 50);
ok($f->at('2026-11-24 08:30'), 'the third time');
is($f->query("SELECT count(*), min(status), min(rows_loaded), count(next_attempt_at), count(error), min(to_char(started_at, 'HH24:MI')) FROM contratos_runs WHERE $day23"),
	'1|succeeded|50|0|0|08:00', 'it is there: one row tells all of it');
is(rows_of('2026-11-23'), 50, 'and is loaded');
is(told(), '', 'nothing has failed');

$bq->delete_day(undef, '2026-11-24');
ok($f->at("2026-11-25 $_"), "a day that stays empty, $_") for '08:00', '08:15', '08:30', '08:44:59';
my $day24 = q(day = '2026-11-24');
is($f->query("SELECT count(*), min(status) FROM contratos_runs WHERE $day24"), '1|waiting', 'waits');
ok($f->at('2026-11-25 08:45'), 'until ready_timeout is over');
is($f->query("SELECT count(*), min(status), count(next_attempt_at), min(sqlstate) FROM contratos_runs WHERE $day24"),
	'1|failed|0|55000', 'and has failed then');
like(told(), qr/^24 BigQuery has no rows of 2026-11-24/, 'loudly');

# ---- upstream takes a day back

$bq->delete_day(undef, '2026-11-23');
$f->query(q(TRUNCATE told; SELECT contratos_enqueue('2026-11-23', '2026-11-23', only_missing => false)));
ok($f->poll(qq(SELECT count(*) = 1 FROM contratos_runs WHERE $day23 AND status = 'refused')), 'a day that was there, and has no rows any more');
is(attempts("$day23 AND cause = 'queue'"), '1 refused 55000', 'is refused, for good');
is(rows_of('2026-11-23'), 50, 'the old rows are kept');
ok($f->poll('SELECT count(*) = 1 FROM told'), 'it is told');
like(told(), qr/^23 2026-11-23 of source "tokens" has shrunk from 50 rows to 0|^23 BigQuery has no rows/, 'in words');
ok($f->logged(qr/ERROR:  .*2026-11-23/) >= 1, 'and logged as an error');

# ---- bytes a day

$f->settle;
ok($f->at('2026-11-26 07:00', 'contratos.max_bytes_per_day' => '25MB'), 'so many bytes a day');
$bq->reset(tables => 0);
$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-26';
	SELECT contratos_enqueue('2026-11-10', '2026-11-13')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-13' AND status = 'failed')), 'are used up');
is($f->runs(q(day BETWEEN '2026-11-10' AND '2026-11-13')),
	'10 queue succeeded, 11 queue succeeded, 12 queue succeeded, 13 queue failed', 'when they are, nothing is asked any more');
is(attempts(q(day = '2026-11-13')), '0 failed 53400 08:00:00', 'as the ledger says: it comes again at run_at of the next UTC day, and has used no attempt up');
$f->settle;
is($f->query(q(SELECT state, attempts FROM contratos_days WHERE day = '2026-11-13')), 'waiting|0', 'nor is one shown');
is($f->logged(qr/2026-11-13 failed \(queue, attempt 0\)/), 1, 'or logged');
is((grep { $_->{job} && $_->{job} eq $f->query(q(SELECT job_id FROM contratos_runs WHERE day = '2026-11-13')) } $bq->requests('insert')), 0, 'nor begun');
ok($f->at('2026-11-26 07:05', 'contratos.max_bytes_per_day' => '40MB'), 'when more are allowed');
is($f->runs(q(day = '2026-11-13')), '13 queue failed, 13 queue succeeded', 'it comes at once');
is(attempts(q(day = '2026-11-13' AND status = 'succeeded')), '1 succeeded', 'for its first attempt');
$f->query(q(SELECT contratos_enqueue('2026-11-14', '2026-11-17')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-14' AND status = 'failed')), 'these are used up as well');
$f->settle;
is($f->runs(q(day BETWEEN '2026-11-14' AND '2026-11-17')), '14 queue failed, 15 queue queued, 16 queue queued, 17 queue queued',
	'one day says so, and the rest of the queue waits');
is($f->query('SELECT queued_days, next_wake FROM contratos_status'), '3|2026-11-27 08:00:00+00', 'until run_at of the next UTC day, as is shown');
is($f->query(q(SELECT string_agg(contratos_cancel(id)::text, ' ' ORDER BY id) FROM contratos_runs WHERE day IN ('2026-11-13', '2026-11-14', '2026-11-17'))),
	'false false true true', 'what is to be tried again can be taken off');
is(attempts(q(day = '2026-11-14')), '0 canceled 53400', 'for good');
$f->day('2026-11-26', 50);
ok(restart_at('2026-11-27 07:59:59'), 'the next day (UTC)');
is($f->runs(q(day IN ('2026-11-15', '2026-11-16', '2026-11-26'))), '15 queue queued, 16 queue queued', 'nothing before run_at');
ok(restart_at('2026-11-27 08:00'), 'at run_at');
is($f->runs(q(started_at >= '2026-11-27' AND day IN ('2026-11-14', '2026-11-15', '2026-11-16', '2026-11-17', '2026-11-26'))),
	'15 queue succeeded, 16 queue succeeded, 26 schedule succeeded', 'there are new ones');
is((map { $_->{body}{jobReference}{jobId} } $bq->requests('insert'))[-3], $f->query(q(SELECT job_id FROM contratos_runs WHERE day = '2026-11-26' AND status = 'succeeded')),
	'of which yesterday has the first');

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
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'keyed' AND status = 'failed')), 'a key without rights');
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
		'the worker looks around');
	return $f->settle;
}
look('2026-11-10');
is(attempts(q(source = 'keyed')), '1 failed 42501 accessDenied', 'nothing has changed');
my $key = $bq->key_file;
copy($key, "$key.new") && chmod(0600, "$key.new") or die "$key.new: $!";
rename "$key.new", $key or die "$key: $!";
look('2026-11-11');
is(attempts(q(source = 'keyed')), '1 failed 42501 accessDenied, 1 succeeded', 'a key file that was replaced is a reason to try again');

$f->stop;
done_testing();
