# How far a load is: for other sessions while it runs, by call and by the
# worker; for who has called.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.page_rows = 1000\ncontratos.parallel_pages = 0\ncontratos.retries = 0");
my $bq = $f->bq;
my $loader = Contratos::Session->new($f->node);
my $run = q(SELECT status FROM contratos_run('2026-11-20'));

# What another session sees of the running loads; waits until one is in that phase.
sub progress { return $f->query("SELECT $_[0] FROM contratos_progress"); }
sub poll_phase { return $f->poll(qq(SELECT count(*) = 1 FROM contratos_progress WHERE phase = '$_[0]' AND @{[ $_[1] // 'true' ]})); }
sub none { return is(progress('count(*)'), 0, $_[0]); }

# Holds the second page in its middle; the load has begun with it then.
sub hold_page { return $bq->rule({ kind => 'results', start_index => 1000, nth => $_[0] // 1 }, { stall => 'mid_body' }); }

$f->day('2026-11-20', 3000);
none('contratos_progress is empty at first');

# ---- the phases of a call

my $rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
my $page = hold_page();
$loader->send($run);
ok(poll_phase('asking'), 'a call is in phase asking');
is(progress(q(pid, source, day, rows, rows_total, percent, pages, mb, rows_per_second, eta, started_at BETWEEN now() - interval '1 minute' AND now())),
	$loader->pid . '|tokens|2026-11-20|0|||0|0.0|||t', 'a call in phase asking has no figures yet');
$bq->release($rule);
$bq->wait(rule => $page, state => 'stalled');
ok(poll_phase('receiving', 'rows > 1000'), 'a call is in phase receiving');
is(progress(q(rows % 256, rows < 3000, rows_total, percent = round(100.0 * rows / 3000, 1), pages, mb > 0, rows_per_second > 0, eta > now(), eta < now() + interval '1 hour')),
	'0|t|3000|t|2|t|t|t|t', 'a call in phase receiving has its figures');
is( $f->query(
		q(SELECT c.datname, c.relid::regclass, c.command, c.type, c.tuples_processed = p.rows, round(c.bytes_processed / 1e6, 1) = p.mb, c.bytes_total
		  FROM pg_stat_progress_copy c JOIN contratos_progress p USING (pid))),
	'postgres|tokens|COPY FROM|CALLBACK|t|t|0', 'pg_stat_progress_copy has the figures of contratos_progress');
$bq->release($page);
is($loader->finish->{out}, 'succeeded', 'the call with progress succeeds');
none('contratos_progress is empty after a call');

# ---- deleting, finishing

$f->query(
	q(CREATE FUNCTION hold_delete() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock_shared(1); RETURN NULL; END $$;
	  CREATE TRIGGER hold_delete AFTER DELETE ON tokens FOR EACH STATEMENT EXECUTE FUNCTION hold_delete();
	  CREATE FUNCTION hold_after(source text, day date) RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_lock_shared(2) $$;
	  UPDATE contratos_sources SET after_load = 'hold_after'));
$f->settle;
my $holder = Contratos::Session->new($f->node);
$holder->query('SELECT pg_advisory_lock(1), pg_advisory_lock(2)');
$loader->send($run);
ok(poll_phase('deleting'), 'a call that replaces rows is in phase deleting');
is(progress('rows, rows_total, eta'), '0|3000|', 'a call in phase deleting has no rows yet');
$holder->query('SELECT pg_advisory_unlock(1)');
ok(poll_phase('finishing'), 'a call in after_load is in phase finishing');
my $rate = progress('rows, percent, pages, eta, rows_per_second');
like($rate, qr/^3000\|100\.0\|3\|\|/, 'a call in phase finishing has all rows');
is(progress('rows, percent, pages, eta, rows_per_second'), $rate, 'a call in phase finishing keeps its rate');
$holder->query('SELECT pg_advisory_unlock(2)');
is($loader->finish->{out}, 'succeeded', 'the call with all phases succeeds');
$f->query('DROP TRIGGER hold_delete ON tokens; UPDATE contratos_sources SET after_load = NULL');
$f->settle;

# ---- what a trigger does in between

$f->query(
	q(CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
	  BEGIN
		EXECUTE 'COPY (SELECT 1) TO ''/dev/null''';
		BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END;
		RETURN NEW;
	  END $$;
	  CREATE SEQUENCE nth;
	  CREATE TRIGGER meddle BEFORE INSERT ON tokens FOR EACH ROW WHEN (nextval('nth') < 1200) EXECUTE FUNCTION meddle()));
$page = hold_page();
$loader->send($run);
$bq->wait(rule => $page, state => 'stalled');
ok(poll_phase('receiving', 'rows > 1000'), 'a COPY and an error within a trigger do not end the progress report');
is(progress('pid, source, day, rows_total'), $loader->pid . '|tokens|2026-11-20|3000',
	'a COPY within a trigger leaves the whole progress report');
$bq->release($page);
is($loader->finish->{out}, 'succeeded', 'the call with a COPY within a trigger succeeds');
$f->query('DROP TRIGGER meddle ON tokens');

is( $f->query(
		qq(COPY (SELECT r.status, (SELECT string_agg(command, ',') FROM pg_stat_progress_copy WHERE pid = pg_backend_pid())
			FROM contratos_run('2026-11-20') r) TO STDOUT)),
	"succeeded\tCOPY TO", 'a COPY around the call gets its own progress report back');

# ---- days in a row, and those that fail

$f->query(q(ALTER TABLE tokens ADD CONSTRAINT small CHECK (block_timestamp <> '2026-11-19 00:00Z')));
$f->day('2026-11-18', 1500);
$bq->table(undef, replace_day => '2026-11-19', rows => [ $f->row(block_timestamp => '2026-11-19 00:00:00+00:00') ]);
$page = hold_page();
my $last = hold_page(2);
$loader->send('BEGIN; SELECT status FROM contratos_backfill(3)');
$bq->wait(rule => $page, state => 'stalled');
ok(poll_phase('receiving', 'rows > 1000'), 'a backfill reports the progress of its first day');
is(progress('day, rows_total, pages'), '2026-11-18|1500|2', 'contratos_progress has the first day of a backfill');
$bq->release($page);
$bq->wait(rule => $last, state => 'stalled');
ok(poll_phase('receiving', q(rows > 1000)), 'a day that fails does not spoil the progress report of the next');
is(progress('day, rows_total, pages'), '2026-11-20|3000|2', 'contratos_progress has the last day of a backfill');
$bq->release($last);
my $answer = $loader->finish;
is($answer->{out}, "succeeded\nfailed\nsucceeded", 'the backfill with progress ends');
none('contratos_progress is empty after a backfill in an open transaction');
like($answer->{err}, qr/NOTICE:  00000: backfill of source "tokens": 3 days \(2 succeeded, 1 failed\), 4500 rows, \d+\.\d MB, \d+\.\d s, \d+ rows\/s\n/,
	'a backfill ends with a NOTICE of its totals');
$loader->query('ROLLBACK');
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert' }, { status => 400, reason => 'invalidQuery', message => 'no' });
like($loader->query($run)->{err}, qr/ERROR/, 'a call fails in phase asking');
none('contratos_progress is empty after a call that failed');

# ---- the worker

$bq->reset(tables => 0);
$f->query('ALTER TABLE tokens DROP CONSTRAINT small');
$rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$page = hold_page();
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-18')));
ok(poll_phase('asking'), 'the worker is in phase asking');
is(progress('pid, source, day'), $f->worker . '|tokens|2026-11-18', 'contratos_progress has the worker and its day');
is($f->activity('backend_xid IS NULL AND backend_xmin IS NULL AND xact_start IS NULL'), 't', 'the worker in phase asking is outside of any transaction');
$bq->release($rule);
$bq->wait(rule => $page, state => 'stalled');
ok(poll_phase('receiving', 'rows > 1000'), 'the worker is in phase receiving');
is(progress('day, rows_total, pages'), '2026-11-18|1500|2', 'contratos_progress has the figures of the worker\'s day');
$bq->release($page);
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE status = 'succeeded' AND cause = 'queue')),
	'the worker with progress loads its day');
$f->settle;
none('contratos_progress is empty after the worker\'s day');
$rule = $bq->rule({ kind => 'insert' }, { stall => 'before_headers', status => 400, reason => 'invalidQuery', message => 'no' });
$f->query(q(SELECT contratos_enqueue('2026-11-17', '2026-11-17')));
$bq->wait(rule => $rule, state => 'stalled');
ok(poll_phase('asking'), 'the worker is in phase asking before it fails');
$bq->release($rule);
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE status = 'failed' AND cause = 'queue')),
	'the worker\'s day fails in phase asking');
$f->settle;
none('contratos_progress is empty after the worker\'s day failed');

# ---- who sees what

$page = hold_page();
$loader->send($run);
$bq->wait(rule => $page, state => 'stalled');
ok(poll_phase('receiving'), 'a load is in phase receiving while others look');
$f->query('CREATE ROLE watcher; GRANT pg_monitor TO watcher; CREATE ROLE guest; GRANT SELECT ON contratos_progress TO guest; CREATE DATABASE other');
is($f->query('SET ROLE watcher; SELECT source FROM contratos_progress'), 'tokens',
	'members of pg_monitor see the progress of another\'s load');
is($f->query('SET ROLE guest; SELECT count(*) FROM contratos_progress'), 0, 'a role without privileges does not see the progress of another\'s load');
$f->use_database('other');
is($f->query('CREATE EXTENSION contratos; SELECT count(*) FROM contratos_progress'), 0, 'another database does not see the progress of a load');
$f->use_database('postgres');
$bq->release($page);
$loader->finish;

# ---- for who has called

my $told = $f->messages($run);
like($told, qr/NOTICE:  00000: load of source "tokens", 2026-11-20: 3000 rows, \d+\.\d MB, \d+\.\d s, \d+ rows\/s\n/, 'a call ends with a NOTICE of its totals');
my ($seconds) = $told =~ / MB, (\d+\.\d) s,/;
cmp_ok(scalar(() = $told =~ /NOTICE/g), '<=', 1 + $seconds, 'a short call has no other NOTICE');
$bq->rule({ kind => 'results', start_index => $_ }, { delay_ms => 1100 }) for 1000;
is($f->messages("SET client_min_messages = warning; $run"), '', 'a call has no NOTICE under client_min_messages = warning');
like($f->messages(q(SELECT status FROM contratos_backfill(3, only_missing => true))),
	qr/NOTICE:  00000: backfill of source "tokens": 3 days \(1 succeeded, 2 already loaded\), 1 rows,/, 'the NOTICE of a backfill counts days already loaded apart');

$loader->quit;
$holder->quit;
$f->stop;
done_testing();
