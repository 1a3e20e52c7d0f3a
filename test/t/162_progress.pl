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
none('nothing runs');

# ---- the phases of a call

my $rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
my $page = hold_page();
$loader->send($run);
ok(poll_phase('asking'), 'a call asks BigQuery');
is(progress(q(pid, source, day, rows, rows_total, percent, pages, mb, rows_per_second, eta, started_at BETWEEN now() - interval '1 minute' AND now())),
	$loader->pid . '|tokens|2026-11-20|0|||0|0.0|||t', 'of which nothing is known yet');
$bq->release($rule);
$bq->wait(rule => $page, state => 'stalled');
ok(poll_phase('receiving', 'rows > 1000'), 'then it receives rows');
is(progress(q(rows % 256, rows < 3000, rows_total, percent = round(100.0 * rows / 3000, 1), pages, mb > 0, rows_per_second > 0, eta > now(), eta < now() + interval '1 hour')),
	'0|t|3000|t|2|t|t|t|t', 'so many of so many');
is( $f->query(
		q(SELECT c.datname, c.relid::regclass, c.command, c.type, c.tuples_processed = p.rows, round(c.bytes_processed / 1e6, 1) = p.mb, c.bytes_total
		  FROM pg_stat_progress_copy c JOIN contratos_progress p USING (pid))),
	'postgres|tokens|COPY FROM|CALLBACK|t|t|0', 'the view of core has the same');
$bq->release($page);
is($loader->finish->{out}, 'succeeded', 'it is done');
none('and gone from the view');

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
ok(poll_phase('deleting'), 'what the target had is deleted');
is(progress('rows, rows_total, eta'), '0|3000|', 'before anything comes');
$holder->query('SELECT pg_advisory_unlock(1)');
ok(poll_phase('finishing'), 'after the rows there is after_load');
my $rate = progress('rows, percent, pages, eta, rows_per_second');
like($rate, qr/^3000\|100\.0\|3\|\|/, 'all rows are there');
is(progress('rows, percent, pages, eta, rows_per_second'), $rate, 'and their rate is what it was');
$holder->query('SELECT pg_advisory_unlock(2)');
is($loader->finish->{out}, 'succeeded', 'it is done');
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
ok(poll_phase('receiving', 'rows > 1000'), 'a COPY and an error within a trigger do not end the report');
is(progress('pid, source, day, rows_total'), $loader->pid . '|tokens|2026-11-20|3000', 'it is told anew, whole');
$bq->release($page);
is($loader->finish->{out}, 'succeeded', 'it is done');
$f->query('DROP TRIGGER meddle ON tokens');

is( $f->query(
		qq(COPY (SELECT r.status, (SELECT string_agg(command, ',') FROM pg_stat_progress_copy WHERE pid = pg_backend_pid())
			FROM contratos_run('2026-11-20') r) TO STDOUT)),
	"succeeded\tCOPY TO", 'a COPY around the call has its own report back');

# ---- days in a row, and those that fail

$f->query(q(ALTER TABLE tokens ADD CONSTRAINT small CHECK (block_timestamp <> '2026-11-19 00:00Z')));
$f->day('2026-11-18', 1500);
$bq->table(undef, replace_day => '2026-11-19', rows => [ $f->row(block_timestamp => '2026-11-19 00:00:00+00:00') ]);
$page = hold_page();
my $last = hold_page(2);
$loader->send('BEGIN; SELECT status FROM contratos_backfill(3)');
$bq->wait(rule => $page, state => 'stalled');
ok(poll_phase('receiving', 'rows > 1000'), 'a backfill reports its days');
is(progress('day, rows_total, pages'), '2026-11-18|1500|2', 'the first of them');
$bq->release($page);
$bq->wait(rule => $last, state => 'stalled');
ok(poll_phase('receiving', q(rows > 1000)), 'a day that fails does not spoil the report of the next');
is(progress('day, rows_total, pages'), '2026-11-20|3000|2', 'which is reported in its turn');
$bq->release($last);
my $answer = $loader->finish;
is($answer->{out}, "succeeded\nfailed\nsucceeded", 'all is done');
none('though the transaction is open, nothing is reported any more');
like($answer->{err}, qr/NOTICE:  00000: backfill of source "tokens": 3 days \(2 succeeded, 1 failed\), 4500 rows, \d+\.\d MB, \d+\.\d s, \d+ rows\/s\n/,
	'the call ends with its totals');
$loader->query('ROLLBACK');
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert' }, { status => 400, reason => 'invalidQuery', message => 'no' });
like($loader->query($run)->{err}, qr/ERROR/, 'a call that fails');
none('is over');

# ---- the worker

$bq->reset(tables => 0);
$f->query('ALTER TABLE tokens DROP CONSTRAINT small');
$rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$page = hold_page();
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-18')));
ok(poll_phase('asking'), 'the worker asks');
is(progress('pid, source, day'), $f->worker . '|tokens|2026-11-18', 'for a day');
is($f->activity('backend_xid IS NULL AND backend_xmin IS NULL AND xact_start IS NULL'), 't', 'outside of any transaction');
$bq->release($rule);
$bq->wait(rule => $page, state => 'stalled');
ok(poll_phase('receiving', 'rows > 1000'), 'it receives, in one');
is(progress('day, rows_total, pages'), '2026-11-18|1500|2', 'what it has asked for');
$bq->release($page);
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE status = 'succeeded' AND cause = 'queue')), 'it is loaded');
$f->settle;
none('and gone');
$rule = $bq->rule({ kind => 'insert' }, { stall => 'before_headers', status => 400, reason => 'invalidQuery', message => 'no' });
$f->query(q(SELECT contratos_enqueue('2026-11-17', '2026-11-17')));
$bq->wait(rule => $rule, state => 'stalled');
ok(poll_phase('asking'), 'what fails outside of a transaction');
$bq->release($rule);
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE status = 'failed' AND cause = 'queue')), 'has failed');
$f->settle;
none('and is gone as well');

# ---- who sees what

$page = hold_page();
$loader->send($run);
$bq->wait(rule => $page, state => 'stalled');
ok(poll_phase('receiving'), 'of a load');
$f->query('CREATE ROLE watcher; GRANT pg_monitor TO watcher; CREATE ROLE guest; GRANT SELECT ON contratos_progress TO guest; CREATE DATABASE other');
is($f->query('SET ROLE watcher; SELECT source FROM contratos_progress'), 'tokens', 'members of pg_monitor see it');
is($f->query('SET ROLE guest; SELECT count(*) FROM contratos_progress'), 0, 'others what they could see of its session');
$f->use_database('other');
is($f->query('CREATE EXTENSION contratos; SELECT count(*) FROM contratos_progress'), 0, 'other databases see nothing of it');
$f->use_database('postgres');
$bq->release($page);
$loader->finish;

# ---- for who has called

my $told = $f->messages($run);
like($told, qr/NOTICE:  00000: load of source "tokens", 2026-11-20: 3000 rows, \d+\.\d MB, \d+\.\d s, \d+ rows\/s\n/, 'a call ends with one line');
my ($seconds) = $told =~ / MB, (\d+\.\d) s,/;
cmp_ok(scalar(() = $told =~ /NOTICE/g), '<=', 1 + $seconds, 'a short one says nothing else');
$bq->rule({ kind => 'results', start_index => $_ }, { delay_ms => 1100 }) for 1000;
is($f->messages("SET client_min_messages = warning; $run"), '', 'nothing, where no notice is wanted, however long it takes');
like($f->messages(q(SELECT status FROM contratos_backfill(3, only_missing => true))),
	qr/NOTICE:  00000: backfill of source "tokens": 3 days \(1 succeeded, 2 already loaded\), 1 rows,/, 'days that are there are counted apart');

$loader->quit;
$holder->quit;
$f->stop;
done_testing();
