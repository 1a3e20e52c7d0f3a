# Bytes that BigQuery hides, and the limit of all sources together.
use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new(conf => 'contratos.retries = 1');
my $bq = $f->bq;
my ($mb, $gb) = (1 << 20, 1 << 30);
my $last = q(SELECT concat_ws(' ', status, bytes_processed IS NULL, bytes_billed / 1048576) FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1);

sub hide { return $bq->rule({ kind => 'insert', times => 0 }, { hide_cost => JSON::PP::true, @_ }); }

sub check
{
	my ($name, $before) = @_;
	return $f->query(($before // '') . "SELECT status || ' ' || translate(found, chr(10), '') FROM contratos_check() WHERE check_name = '$name'");
}

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->settle;
$f->day("2026-11-$_", 50) for 17 .. 20;

# ---- bytes that BigQuery hides

hide();
my $estimate = q(SELECT day, bytes_processed IS NULL, bytes_billed IS NULL, price IS NULL FROM contratos_estimate('2026-11-19', '2026-11-20'));
is($f->query("SET client_min_messages = warning; $estimate"), "2026-11-19|t|t|t\n2026-11-20|t|t|t", 'an estimate of hidden bytes is null');
my $said = $f->messages($estimate);
like($said, qr/NOTICE:  00000: BigQuery does not say what a load of source "tokens" would process\nDETAIL:  .*row access policies.*the byte cap, contratos\.max_bytes_billed\./, 'a NOTICE says that the bytes are hidden');
is(() = $said =~ /does not say/g, 1, 'a NOTICE for all days');
is(check('byte_cap'), 'warning BigQuery does not say what loading 2026-11-20 would bill; it counts as the cap, 1024 MB', 'contratos_check() warns of hidden bytes');
is(check('byte_cap', 'SET contratos.max_bytes_billed = 0; '), 'warning BigQuery does not say what loading 2026-11-20 would bill, and there is no cap', 'contratos_check() warns of hidden bytes without a cap');

is($f->query(q(SELECT status FROM contratos_run('2026-11-20'))), 'succeeded', 'a day is loaded whose cost is hidden');
is($f->query($last), 'succeeded t 1024', 'a load of hidden cost counts as the byte cap');
like($f->fails(q(SET contratos.max_bytes_per_day = '1GB'; SELECT contratos_run('2026-11-19'))), qr/ERROR:  53400: daily byte budget of source "tokens".*\nDETAIL:  1073741824 bytes were billed/,
	'a hidden cost uses max_bytes_per_day up');
is($f->query(q(SELECT bool_and(agrees) FROM contratos_verify('2026-11-20', '2026-11-20'))), 't', 'days are compared whose cost is hidden');
is($f->query(q(SELECT concat_ws(' ', cause, status, bytes_billed / 1048576) FROM contratos_runs WHERE only_cost)), 'verify unchanged 1024', 'a comparison of hidden cost counts as the byte cap');
$f->query('DELETE FROM contratos_runs WHERE only_cost');
like($f->messages(q(BEGIN READ ONLY; SELECT FROM contratos_verify('2026-11-20', '2026-11-20'); COMMIT)), qr/NOTICE:  00000: BigQuery does not say what it bills for comparing source "tokens"\n/,
	'a comparison of hidden cost that writes nothing says that it is not known');

# the worker's attempts: a load, a recheck, one that it stops waiting for
$f->query(q(SELECT contratos_enqueue('2026-11-19', '2026-11-19')));
ok($f->at('2026-11-21 07:00'), 'the worker looks');
$f->query(q(UPDATE contratos_sources SET enabled = true, start_date = '2026-11-19', run_at = '09:00'));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-19' AND status = 'succeeded')) && $f->settle, 'the worker loads a day whose cost is hidden');
is($f->query(q(SELECT concat_ws(' ', cause, bytes_processed IS NULL, bytes_billed / 1048576) FROM contratos_runs WHERE day = '2026-11-19')), 'queue t 1024', 'a load of hidden cost by the worker counts as the byte cap');
ok($f->at('2026-11-21 14:00') && $f->poll(q(SELECT count(*) > 0 FROM contratos_runs WHERE cause = 'recheck' AND status = 'unchanged')) && $f->settle, 'the worker rechecks a day');
is($f->query(q(SELECT DISTINCT concat_ws(' ', status, bytes_processed IS NULL, bytes_billed / 1048576) FROM contratos_runs WHERE cause = 'recheck')), 'unchanged t 1024', 'a recheck of hidden cost counts as the byte cap');
$bq->reset(tables => 0);
hide(job_pending => JSON::PP::true);
ok($f->at('2026-11-21 15:00', 'contratos.job_timeout' => '1s'), 'the worker looks with a short job_timeout');
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-18')));
ok($f->poll(q(SELECT count(*) > 0 FROM contratos_runs WHERE day = '2026-11-18' AND status = 'failed')) && $f->settle, 'the worker gives a job up');
is($f->query(q(SELECT concat_ws(' ', bytes_processed IS NULL, bytes_billed / 1048576) FROM contratos_runs WHERE day = '2026-11-18' ORDER BY id LIMIT 1)), 't 1024', 'a job that the worker gives up counts as the byte cap');
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE next_attempt_at IS NOT NULL));

# an attempt whose worker ends
ok($f->at('2026-11-21 16:00', 'contratos.job_timeout' => '10min'), 'the worker looks with a long job_timeout');
$bq->reset(tables => 0);
my $pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
$f->query(q(SELECT contratos_enqueue('2026-11-17', '2026-11-17')));
$bq->wait(rule => $pending, state => 'answered');
my $pid = $f->worker;
$f->query("SELECT pg_terminate_backend($pid)");
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-17' AND status = 'interrupted' AND bytes_billed = 10485760)), 'the job of a worker that has ended is canceled, and its cost recorded');
$bq->release;

# an attempt that contratos_cancel() has ended, whose worker ends before it knows the cost
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE next_attempt_at IS NOT NULL));
ok($f->settle, 'the worker has nothing to do');
$bq->reset(tables => 0, tokens => JSON::PP::false); # the worker has one
$pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
my $cancel = $bq->rule({ kind => 'cancel' }, { stall => 'before_work' });
my $day = q(day = '2026-11-16' AND NOT only_cost);
$f->query(q(SELECT contratos_enqueue('2026-11-16', '2026-11-16')));
$bq->wait(rule => $pending, state => 'answered');
$pid = $f->worker;
is($f->query("SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'running' AND $day"), 't', 'an attempt is canceled');
$bq->wait(rule => $cancel, state => 'stalled');
$f->query("SELECT pg_terminate_backend($pid)");
ok($f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE $day AND bytes_billed IS NOT NULL"), 'the job of a canceled attempt is canceled by the next worker');
is($f->query("SELECT concat_ws(' ', status, bytes_processed > 0, bytes_billed / 1048576, next_attempt_at IS NULL) FROM contratos_runs WHERE $day"), 'canceled t 10 t', 'a canceled attempt whose worker has ended: the ledger has its cost once');
$bq->release;
ok($f->settle, 'the worker is done with a canceled attempt');

# two workers end, the second one before it knows what the job of the first has cost
$bq->reset(tables => 0, tokens => JSON::PP::false);
$pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
$cancel = $bq->rule({ kind => 'cancel' }, { stall => 'before_work' });
$day = q(day = '2026-11-14' AND NOT only_cost);
$f->query(q(SELECT contratos_enqueue('2026-11-14', '2026-11-14')));
$bq->wait(rule => $pending, state => 'answered');
$f->query('SELECT pg_terminate_backend(' . $f->worker . ')');
$bq->wait(rule => $cancel, state => 'stalled');
$f->query('SELECT pg_terminate_backend(' . $f->worker . ')');
ok($f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE $day AND bytes_billed IS NOT NULL"), 'the third worker cancels the job');
is($f->query("SELECT concat_ws(' ', status, sqlstate, bytes_billed / 1048576) FROM contratos_runs WHERE $day"), 'interrupted 57P02 10', 'the cost of a job whose cancel was interrupted is in the ledger once');
$f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE next_attempt_at IS NOT NULL));
$bq->release;
ok($f->settle, 'the worker is done with an interrupted attempt');

# an attempt that contratos_cancel() has ended, whose end cannot be recorded at first
$bq->reset(tables => 0, tokens => JSON::PP::false); # the worker has one
$pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
$cancel = $bq->rule({ kind => 'cancel' }, { stall => 'before_work' });
$day = q(day = '2026-11-15' AND NOT only_cost);
$f->query(q(SELECT contratos_enqueue('2026-11-15', '2026-11-15')));
$bq->wait(rule => $pending, state => 'answered');
$f->query("SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'running' AND $day");
$bq->wait(rule => $cancel, state => 'stalled');
my $locker = Contratos::Session->new($f->node);
$locker->query('BEGIN; LOCK TABLE contratos_runs IN SHARE MODE');
$bq->release($cancel);
ok($f->poll(q(SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation = 'contratos_runs'::regclass)), 'the worker waits to record the end');
my $stopped = qr/ERROR:  canceling statement due to user request/;
my $before = $f->logged($stopped);
$f->query('SELECT pg_cancel_backend(' . $f->worker . ')');
for (my $until = time + $PostgreSQL::Test::Utils::timeout_default; $f->logged($stopped) == $before && time < $until;) { select undef, undef, undef, 0.05; }
is($f->logged($stopped), $before + 1, 'it gives that up');
$locker->quit;
ok($f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE $day AND bytes_billed IS NOT NULL") && $f->settle, 'the end is recorded later');
is($f->query("SELECT concat_ws(' ', status, sqlstate, bytes_billed / 1048576) FROM contratos_runs WHERE $day"), 'canceled 57014 10', 'an end that was recorded later has its cost once');

# ---- all sources together

$bq->reset(tables => 0);
$f->query(q(UPDATE contratos_sources SET enabled = false; DELETE FROM contratos_runs;
	CREATE TABLE other (LIKE tokens INCLUDING ALL);
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled) VALUES ('other', 'bigquery_tokens', 'other', 'block_timestamp', false)));
ok($f->at('2026-11-21 17:00', 'contratos.max_bytes_per_day_total' => '20MB', 'contratos.max_bytes_per_day' => '100MB'), 'there is a limit for all sources');
is($f->query(q(SELECT status FROM contratos_run('2026-11-20'); SELECT status FROM contratos_run('2026-11-20', 'other'))), "succeeded\nsucceeded", 'two sources are loaded');
for my $source ('tokens', 'other')
{
	like($f->fails("SELECT contratos_run('2026-11-19', '$source')"),
		qr/ERROR:  53400: daily byte budget of all sources is exhausted\nDETAIL:  20971520 bytes were billed, and contratos\.max_bytes_per_day_total allows 20971520\.\nHINT:  Raise contratos\.max_bytes_per_day_total/,
		"the limit of all sources stops $source");
}
is(check('budget'), 'failed 20 MB billed today for all sources, and 20 MB are allowed: used up', 'contratos_check() names the limit of all sources');
is(check('budget', q(SET contratos.max_bytes_per_day_total = '25MB'; )), 'warning 20 MB billed today for all sources of 25 MB: not enough left for another load of 10 MB', 'contratos_check() warns of the limit of all sources');
is(check('budget', q(SET contratos.max_bytes_per_day_total = '0'; )), 'ok 10 MB billed today of 100 MB', 'contratos_check() names the limit of the source');
like($f->fails(q(SET contratos.max_bytes_per_day = '5MB'; SET contratos.max_bytes_per_day_total = '1GB'; SELECT contratos_run('2026-11-19'))), qr/53400: daily byte budget of source "tokens"/, 'the limit of a source acts beside that of all');

# the worker: one day fails, and the rest of the queue waits
$bq->reset(tables => 0);
$f->query(q(SELECT contratos_enqueue('2026-11-17', '2026-11-19', 'other'); UPDATE contratos_sources SET enabled = true, start_date = '2026-11-20'));
ok($f->poll(q(SELECT count(*) > 0 FROM contratos_runs WHERE source = 'other' AND sqlstate = '53400')) && $f->settle, 'a queued day fails at the limit of all sources');
is($f->query(q(SELECT count(*) FILTER (WHERE sqlstate = '53400'), count(*) FILTER (WHERE status = 'queued') FROM contratos_runs WHERE source = 'other')), '1|2', 'and the rest of the queue waits');
is(scalar($bq->requests('insert')), 0, 'BigQuery is not asked at the limit of all sources');

$f->stop;
done_testing();
