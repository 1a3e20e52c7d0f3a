# Somebody has locked a table that the worker loads: before BigQuery is asked, while
# it answers, in the middle of the replacement, and for longer than is waited.
use strict;
use warnings;

use JSON::PP;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.lock_timeout = '300ms'\ncontratos.job_timeout = '60min'\ncontratos.request_timeout = '60min'");
my ($bq, $node) = ($f->bq, $f->node);
my $holder = Contratos::Session->new($node);

$f->query(
	q(CREATE SCHEMA dw; CREATE TABLE dw.t (LIKE tokens);
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
	  VALUES ('other', 'bigquery_tokens', 'dw.t', 'block_timestamp')));
$f->day("2026-11-$_", 100 + $_) for 15 .. 22;

sub inserts { return scalar(my @all = $bq->requests('insert')); }
sub row { return $f->query("SELECT status, attempt, sqlstate, next_attempt_at, finished_at IS NULL FROM contratos_runs WHERE source = '$_[0]' AND day = '2026-11-$_[1]' ORDER BY id DESC LIMIT 1"); }
sub until_row { return $f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE source = '$_[0]' AND day = '2026-11-$_[1]' AND status = '$_[2]'"); }

# ---- held before BigQuery is asked: nothing is asked

$holder->query('BEGIN; LOCK TABLE dw.t');
$f->at('2026-11-21 08:00');
is(row('tokens', 20), 'succeeded|1|||f', 'a source whose target is not locked is loaded');
is(row('other', 20), 'waiting|1|55P03|2026-11-21 08:15:00+00|t', 'a source whose target is locked waits for another attempt');
is(inserts(), 1, 'BigQuery is not asked for a source whose target is locked');
is($f->query(q(SELECT error FROM contratos_runs WHERE source = 'other')), 'canceling statement due to lock timeout (waiting for a lock on dw.t)',
	'the ledger names the lock that is waited for');
is($f->logged(qr/LOG:  database "postgres", source "other": 2026-11-20 waiting \(schedule, attempt 1\)[^\n]*\n[^\n]*DETAIL:  canceling statement due to lock timeout \(waiting for a lock on dw\.t\)\. The next attempt is at/),
	1, 'the log has one line on a target that is locked');
is($f->logged(qr/ERROR:[^\n]*lock timeout/), 0, 'a target that is locked is not an error in the log');

# ---- for how long, and what is seen meanwhile

$f->at('2026-11-21 08:14', 'contratos.lock_timeout' => '60min');
$f->set('contratos.now' => '2026-11-21 08:15+00');
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker'
	AND query = 'other 2026-11-20: waiting for a lock on dw.t' AND wait_event_type = 'Lock')), 'pg_stat_activity names the lock that is waited for');
$f->query(q(SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'dw.t'::regclass AND granted));
ok(until_row('other', 20, 'succeeded'), 'a day is loaded when its lock is released');
is(row('other', 20), 'succeeded|1|||f', 'a day that waited for a lock succeeds as attempt 1');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE source = 'other')), 1,
	'a day that waited for a lock has one row in the ledger');
is(inserts(), 2, 'a day that waited for a lock asks BigQuery once');
$holder = Contratos::Session->new($node);

# ---- met while BigQuery answers: its job is kept

$f->at('2026-11-21 09:00', 'contratos.lock_timeout' => '300ms');
my $before = inserts();
my $rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->query(q(SELECT contratos_enqueue('2026-11-19', '2026-11-19', 'other')));
$bq->wait(rule => $rule, state => 'answered');
ok($f->query(q(SELECT count(*) = 0 FROM pg_locks WHERE relation = 'dw.t'::regclass)), 'no lock is held on the target while BigQuery runs the job');
$holder->query('BEGIN; LOCK TABLE dw.t IN SHARE MODE');
$bq->release($rule);
ok(until_row('other', 19, 'waiting'), 'a lock taken while BigQuery runs the job makes the day wait');
is(row('other', 19), 'waiting|1|55P03|2026-11-21 09:15:00+00|t',
	'a day that meets a lock after its job has a next attempt');
my $job = $f->query(q(SELECT job_id, bytes_billed FROM contratos_runs WHERE source = 'other' AND day = '2026-11-19'));
like($job, qr/^contratos_[0-9a-f]{32}_[0-9a-f]{16}\|[1-9]\d*$/,
	'a day that meets a lock after its job keeps the job and its cost');
$f->query(q(SELECT contratos_enqueue('2026-11-17', '2026-11-17', 'tokens')));
ok(until_row('tokens', 17, 'succeeded'), 'another source is loaded while a day waits for a lock');
$f->at('2026-11-21 09:15');
is(row('other', 19), 'waiting|1|55P03|2026-11-21 09:30:00+00|t', 'a day whose lock is still held waits on');
is($f->query(q(SELECT job_id, bytes_billed FROM contratos_runs WHERE source = 'other' AND day = '2026-11-19')), $job, 'a day whose lock is still held keeps its job');
$node->restart;
ok($f->settle, 'the worker starts after a restart of the server');
$holder = Contratos::Session->new($node);
$f->at('2026-11-21 09:30');
is(row('other', 19), 'succeeded|1|||f',
	'a day that waited is loaded after the lock was released and the server restarted');
is($f->query(q(SELECT job_id, bytes_billed FROM contratos_runs WHERE source = 'other' AND day = '2026-11-19')), $job, 'a day that waited is loaded from the job it kept, billed once');
is($f->query(q(SELECT count(*) FROM dw.t WHERE block_timestamp >= '2026-11-19 00:00+00' AND block_timestamp < '2026-11-20 00:00+00')), 119, 'a day loaded from the job it kept has all its rows');

# ---- another question than the job that was kept has answered

$rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->query(q(SELECT contratos_enqueue('2026-11-16', '2026-11-16', 'other')));
$bq->wait(rule => $rule, state => 'answered');
$holder->query('BEGIN; LOCK TABLE dw.t IN SHARE MODE');
$bq->release($rule);
ok(until_row('other', 16, 'waiting'), 'a day waits for a lock before its foreign table changes');
my ($first) = $f->query(q(SELECT job_id FROM contratos_runs WHERE source = 'other' AND day = '2026-11-16'));
$holder->query('ROLLBACK');
$f->query(q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (ADD row_filter 'true')));
$f->at('2026-11-21 10:00');
is(row('other', 16), 'succeeded|1|||f', 'a day that waited is loaded after its foreign table changed');
isnt($f->query(q(SELECT job_id FROM contratos_runs WHERE source = 'other' AND day = '2026-11-16')), $first, 'a day whose foreign table changed is loaded by another job');
$f->query(q(ALTER FOREIGN TABLE bigquery_tokens OPTIONS (DROP row_filter)));

# ---- rows, and what the source's functions touch

$f->query(
	q(CREATE TABLE dw.seen (day date);
	  CREATE FUNCTION dw.note(text, date) RETURNS void LANGUAGE sql AS $$ INSERT INTO dw.seen VALUES ($2) $$;
	  UPDATE contratos_sources SET after_load = 'dw.note' WHERE name = 'other'));
$holder->query('BEGIN; LOCK TABLE dw.seen IN SHARE MODE');
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-18', 'other')));
ok(until_row('other', 18, 'waiting'), 'a lock on a table that after_load writes makes the day wait');
like($f->query(q(SELECT error FROM contratos_runs WHERE source = 'other' AND day = '2026-11-18')), qr/\(calling dw\.note\)/, 'the ledger names the after_load that met a lock');
$holder->query('ROLLBACK; BEGIN');
$f->at('2026-11-21 10:15');
is(row('other', 18), 'succeeded|1|||f', 'a day whose after_load met a lock is loaded after the lock was released');
$holder->query(q(DELETE FROM dw.t WHERE block_timestamp >= '2026-11-18 00:00+00' AND block_timestamp < '2026-11-19 00:00+00'));
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-18', 'other', only_missing => false)));
ok(until_row('other', 18, 'waiting'), 'rows of the day that another session deletes make the day wait');
like($f->query(q(SELECT error FROM contratos_runs WHERE source = 'other' AND day = '2026-11-18' ORDER BY id DESC LIMIT 1)), qr/\(deleting from dw\.t\)/, 'the ledger names the table whose rows are locked');

# ---- cancelled while it waits

is($f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'waiting')), 't', 'a day that waits can be canceled');
$f->set('contratos.lock_timeout' => '60min');
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-18', 'other', only_missing => false)));
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND query LIKE '%: deleting from dw.t' AND wait_event_type = 'Lock')),
	'a load waits for rows that another session deletes');
is($f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'running')), 't', 'a load that waits for rows can be canceled');
ok($f->settle, 'a cancel ends the load\'s wait for rows');
is(row('other', 18), 'canceled|1|57014||f', 'a canceled load that waited for rows is canceled in the ledger');
$holder->query('ROLLBACK; BEGIN; LOCK TABLE dw.t');
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-18', 'other', only_missing => false)));
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND query LIKE '%: waiting for a lock on dw.t')),
	'a load waits for a table lock before it begins');
is($f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'queued')), 't', 'a queued day can be canceled while the worker waits for a lock');
$holder->query('ROLLBACK');
ok($f->settle, 'the worker sleeps after the lock was released');
is($f->runs(q(source = 'other' AND day = '2026-11-18' AND status = 'running')), '',
	'the worker does not begin a day that was canceled while it waited');

# ---- a recheck

$f->at('2026-11-21 11:00', 'contratos.lock_timeout' => '300ms');
$holder->query('BEGIN; LOCK TABLE dw.t');
$before = inserts();
$f->at('2026-11-21 15:00');
my $recheck = q(FROM contratos_runs WHERE source = 'other' AND day = '2026-11-20' AND cause = 'recheck' ORDER BY id DESC LIMIT 1);
is($f->query("SELECT status, next_attempt_at $recheck"), 'waiting|2026-11-21 15:15:00+00', 'a recheck of a locked target waits');
is($f->query(q(SELECT count(*) > 0 FROM contratos_runs WHERE source = 'tokens' AND cause = 'recheck' AND status = 'unchanged')), 't', 'a recheck of another source does not wait');
$f->query(q(UPDATE contratos_sources SET enabled = false WHERE name = 'tokens'));
$holder->query('ROLLBACK');
$f->query(q(DELETE FROM dw.t WHERE ctid = (SELECT ctid FROM dw.t WHERE block_timestamp >= '2026-11-20 00:00+00' AND block_timestamp < '2026-11-21 00:00+00' LIMIT 1)));
my $load = $bq->rule({ kind => 'insert', nth => 2 }, { job_pending => 1 });
$f->set('contratos.now' => '2026-11-21 15:15+00');
$bq->wait(rule => $load, state => 'answered');
$holder->query('BEGIN; LOCK TABLE dw.t IN SHARE MODE');
$bq->release($load);
my $reload = $recheck =~ s/'recheck'/'reload'/r;
ok($f->poll("SELECT status = 'waiting' AND job_id LIKE 'contratos\\_%\\_%' FROM (SELECT status, job_id $reload) x"), 'a reload that meets a lock waits with its job');
$job = $f->query("SELECT job_id, bytes_billed $reload");
$holder->query('ROLLBACK');
$before = inserts();
$f->at('2026-11-21 15:30');
is($f->query("SELECT status, attempt, cause $reload"), 'succeeded|1|reload',
	'a reload that waited is loaded from its job');
is($f->query("SELECT job_id, bytes_billed $reload"), $job, 'a reload that waited is billed once');
my @since = ($bq->requests('insert'))[$before .. inserts() - 1];
is(scalar(grep { JSON::PP->new->encode($_->{body}) =~ /2026-11-21/ } @since), 1,
	'a reload of a recheck that waited does not compare again');

# ---- the job that was kept is not to be had any more

sub keep
{
	my ($day) = @_;
	my $rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
	$f->query("SELECT contratos_enqueue('2026-11-$day', '2026-11-$day', 'other', false)");
	$bq->wait(rule => $rule, state => 'answered');
	$holder->query('BEGIN; LOCK TABLE dw.t IN SHARE MODE');
	$bq->release($rule);
	until_row('other', $day, 'waiting');
	$holder->query('ROLLBACK');
	return $f->query("SELECT job_id, bytes_billed FROM contratos_runs WHERE source = 'other' AND day = '2026-11-$day' ORDER BY id DESC LIMIT 1");
}

my @gone = (
	[ '15:45', 'notFound', 404, 'Not found: Job test-project:US.x' ],
	[ '16:00', 'notFound', 404, 'Not found: Table test-project:_anon.x' ],
	[ '16:15', 'accessDenied', 403, 'Access Denied: Job x' ]);
for my $gone (@gone)
{
	my ($at, $reason, $status, $message) = @$gone;
	my ($kept, $bytes) = split /\|/, keep(17);
	$bq->rule({ kind => 'results', job => $kept }, { status => $status, reason => $reason, message => $message });
	$f->at("2026-11-21 $at");
	is(row('other', 17), 'succeeded|1|||f', "$message: the day is loaded by another job, as the same attempt");
	my ($other, $billed) = split /\|/, $f->query(q(SELECT job_id, bytes_billed FROM contratos_runs WHERE source = 'other' AND day = '2026-11-17' ORDER BY id DESC LIMIT 1));
	isnt($other, $kept, "$message: the ledger has another job");
	is($billed, 2 * $bytes, "$message: both jobs are billed");
}

# what is paid is loaded, even when nothing is left to pay
my ($kept, $bytes) = split /\|/, keep(17);
$f->at('2026-11-21 16:30', 'contratos.max_bytes_per_day' => '1MB');
is(row('other', 17), 'succeeded|1|||f', 'a day is loaded from the job it kept when max_bytes_per_day is used up');

# ---- met while a recheck compares: the comparison is billed, and no load goes on with its job

my $compare = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->set('contratos.max_bytes_per_day' => '0', 'contratos.now' => '2026-11-21 22:00+00');
$bq->wait(rule => $compare, state => 'answered');
my $compared = $f->query(q(SELECT day FROM contratos_runs WHERE source = 'other' AND status = 'running'));
$recheck = "FROM contratos_runs WHERE source = 'other' AND day = '$compared' AND cause = 'recheck' ORDER BY id DESC LIMIT 1";
$holder->query('BEGIN; LOCK TABLE dw.t');
$bq->release($compare);
ok($f->poll("SELECT status = 'waiting' FROM (SELECT status $recheck) x"), 'a recheck that meets a lock after its comparison waits');
is($f->query("SELECT bytes_billed > 0 $recheck"), 't',
	'a recheck that meets a lock after its comparison is billed for it');
$holder->query('ROLLBACK');
$f->at('2026-11-21 22:15');
is($f->query("SELECT status, attempt $recheck"), 'unchanged|1',
	'a recheck that met a lock after its comparison compares again');

# ---- what a load reaches beyond the target, by name

$f->query(
	q(CREATE TABLE dw.parts (LIKE tokens) PARTITION BY RANGE (block_timestamp);
	  CREATE TABLE dw.part PARTITION OF dw.parts FOR VALUES FROM ('2026-11-01') TO ('2026-12-01');
	  CREATE TABLE dw.one (LIKE tokens, n serial PRIMARY KEY);
	  CREATE TABLE dw.refers (n int REFERENCES dw.one ON DELETE CASCADE);
	  UPDATE contratos_sources SET enabled = false;
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, start_date)
	  VALUES ('parts', 'bigquery_tokens', 'dw.parts', 'block_timestamp', '2027-01-01'), ('one', 'bigquery_tokens', 'dw.one', 'block_timestamp', '2027-01-01')));
for my $case ([ 'parts', 'dw.part', 'ACCESS EXCLUSIVE' ], [ 'one', 'dw.refers', 'ACCESS EXCLUSIVE' ], [ 'one', 'dw.refers', 'SHARE' ])
{
	my ($source, $table, $mode) = @$case;
	$holder->query("BEGIN; LOCK TABLE $table IN $mode MODE");
	$f->set('contratos.lock_timeout' => '60min');
	$f->query("SELECT contratos_enqueue('2026-11-18', '2026-11-18', '$source', false)");
	ok($f->poll("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND state = 'active'
		AND query = '$source 2026-11-18: waiting for a lock on $table' AND wait_event_type = 'Lock'"), "pg_stat_activity names $table ($mode)");
	$holder->query('ROLLBACK');
	ok($f->settle, "$table ($mode): the worker sleeps after the lock was released");
	is(row($source, 18), 'succeeded|1|||f', "$table ($mode): the day is loaded after the lock was released");
}
$f->query(q(DELETE FROM contratos_sources WHERE name IN ('parts', 'one'); UPDATE contratos_sources SET enabled = true WHERE name = 'other'));

# ---- left by a process that has ended, and locked since

$f->at('2026-11-21 22:30', 'contratos.lock_timeout' => '300ms');
$rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->query(q(UPDATE contratos_sources SET enabled = true; SELECT contratos_enqueue('2026-11-17', '2026-11-17', 'other', false)));
$bq->wait(rule => $rule, state => 'answered');
$holder->query('BEGIN; LOCK TABLE dw.t');
$f->query(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'contratos worker'));
$f->query(q(SELECT contratos_enqueue('2026-11-16', '2026-11-16', 'tokens', false)));
ok(until_row('tokens', 16, 'succeeded'), 'other sources do not wait for a stale run\'s job to be canceled');
$holder->query('ROLLBACK');
$bq->release($rule);
ok($f->settle, 'the worker sleeps after the stale run\'s lock was released');
$f->at('2026-11-21 22:45');

# ---- for good

$f->query(q(UPDATE contratos_sources SET ready_timeout = '1h', after_load = NULL,
	on_failure = 'dw.alarm' WHERE name = 'other';
	CREATE TABLE dw.alarms (day date, error text);
	CREATE FUNCTION dw.alarm(text, date, text) RETURNS void LANGUAGE sql AS $$ INSERT INTO dw.alarms VALUES ($2, $3) $$));
$f->set('contratos.retries' => '0');
$holder->query('BEGIN; LOCK TABLE dw.t');
$f->at("2026-11-22 08:$_") for '00', '15', '30', '45';
is(row('other', 21), 'waiting|1|55P03|2026-11-22 09:00:00+00|t',
	'a day whose lock is never released waits until ready_timeout');
$f->at('2026-11-22 09:00');
is(row('other', 21), 'failed|1|55P03||f', 'a day whose lock is never released fails after ready_timeout');
is($f->query('SELECT count(*) FROM dw.alarms WHERE day = \'2026-11-21\' AND error LIKE \'%waiting for a lock on dw.t%\''), 1, 'on_failure is called for a day whose lock is never released');
$holder->query('ROLLBACK');

# what on_failure touches is locked as well: the day is told later, once
$holder->query('BEGIN; LOCK TABLE dw.alarms');
$f->query(q(UPDATE contratos_sources SET ready_timeout = '0', ready_interval = '1s' WHERE name = 'other'));
$bq->rule({ kind => 'insert', times => 1 }, { status => 403, reason => 'accessDenied', message => 'Access Denied: no' });
$f->query(q(SELECT contratos_enqueue('2026-11-14', '2026-11-14', 'other')));
ok(until_row('other', 14, 'failed'), 'a day fails while a lock holds up on_failure');
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND query = 'other 2026-11-14: calling dw.alarm')), 'on_failure is called while its table is locked');
ok($node->wait_for_log(qr/on_failure "dw\.alarm"/) && $f->settle, 'on_failure ends by lock_timeout, which is logged');
$holder->query('ROLLBACK');
ok($f->poll(q(SELECT count(*) = 1 FROM dw.alarms WHERE day = '2026-11-14')),
	'on_failure is called again when the lock is released');
ok($f->poll(q(SELECT count(*) = 0 FROM contratos_runs WHERE unreported)),
	'the ledger has no failure left without on_failure');
$f->query(q(UPDATE contratos_sources SET ready_timeout = '1h', ready_interval = '15min' WHERE name = 'other'));
$f->settle;
is($f->query(q(SELECT count(*) FROM dw.alarms WHERE day = '2026-11-14')), 1,
	'on_failure writes once for a day after a lock held it up');

# an old day waits as long, from its first attempt on
$holder->query('BEGIN; LOCK TABLE dw.t');
$f->query(q(SELECT contratos_enqueue('2026-11-15', '2026-11-15', 'other')));
$f->at('2026-11-22 09:05');
is(row('other', 15), 'waiting|1|55P03|2026-11-22 09:15:00+00|t',
	'an old day whose lock is held waits from its first attempt on') or diag(row('other', 15));
$holder->query('ROLLBACK');

$holder->quit;
$f->stop;
done_testing();
