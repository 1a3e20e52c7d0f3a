# NOTIFY contratos undoes nothing and shows nothing: what becomes of it when
# PostgreSQL's queue is full, in subtransactions and prepared transactions; what
# a stranger hears of a private table.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $version = `pg_config --version` =~ /(\d+)/ ? $1 : 0;
my $small = $version >= 17 ? 'max_notify_queue_pages = 64' : '';
my $f = Contratos::Worker->new(conf => "max_prepared_transactions = 2\ncontratos.retries = 0\n$small");
my ($bq, $node) = ($f->bq, $f->node);
$f->query('CREATE ROLE stranger LOGIN; UPDATE contratos_sources SET enabled = true, recheck_days = 0');

my $listener = Contratos::Session->new($node, user => 'stranger');
$listener->query('LISTEN contratos');

# What was heard since: the raw texts; "20 succeeded, ...".
sub payloads { return $listener->query('SELECT')->{out} =~ /notification "contratos" with payload "(.*)" received from/g; }
sub heard { return join ', ', map { substr($_->{day}, 8) . " $_->{status}" } map { decode_json($_) } payloads(); }

sub enqueue
{
	my ($first, $last) = @_;
	$last //= $first;
	$f->query("SELECT contratos_enqueue('2026-11-$first', '2026-11-$last', only_missing => false)");
	return $f->poll(q(SELECT count(*) = 0 FROM contratos_runs WHERE status IN ('queued', 'running'))) && $f->settle;
}

sub rows_of { return $f->query("SELECT count(*) FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = '2026-11-$_[0]'"); }
sub status_of { return $f->query("SELECT string_agg(status, ' ' ORDER BY id) FROM contratos_runs WHERE day = '2026-11-$_[0]'"); }

# ---- what a stranger hears of a private table

$f->query(
	q(REVOKE ALL ON tokens FROM PUBLIC;
	  ALTER TABLE tokens ADD CONSTRAINT no_such_name CHECK (name <> 'only for us'), ALTER COLUMN symbol SET NOT NULL));
my $row = sub { my ($day, %more) = @_; $bq->table(undef, replace_day => "2026-11-$day", rows => [ $f->row(block_timestamp => "2026-11-$day 12:00:00+00:00", name => 'x', symbol => 'Y', %more) ]); };
$row->('01', name => 'only for us', total_supply => '31337');
$row->('02', symbol => undef, name => 'only for us, too');
like($f->fails('SET ROLE stranger; SELECT * FROM tokens'), qr/42501/, 'the table is not readable by everybody');
foreach my $way (
	[ 'the worker', sub { enqueue('01', '02') } ],
	[ 'a backfill', sub { $f->query(q(SELECT * FROM contratos_backfill_range('2026-11-01', '2026-11-02'))) } ])
{
	my ($who, $load) = @$way;
	$load->();
	my @raw = payloads();
	my @told = map { decode_json($_) } @raw;
	is(join(', ', map { substr($_->{day}, 8) . " $_->{status} $_->{sqlstate}" } @told), '01 failed 23514, 02 failed 23502', "$who: NOTIFY has the days that fail");
	is($told[0]{error}, 'new row for relation "tokens" violates check constraint "no_such_name"', "$who: NOTIFY has the message of a CHECK violation");
	is($told[1]{error}, 'null value in column "symbol" of relation "tokens" violates not-null constraint', "$who: NOTIFY has the message of a NOT NULL violation");
	unlike("@raw", qr/only for us|31337|Failing row|DETAIL|HINT|CONTEXT/, "$who: NOTIFY has no values of the row");
}
is($f->query(q{SELECT count(*) FROM contratos_runs WHERE error LIKE E'%violates%\nDETAIL:  Failing row contains (%only for us%'}), 4, 'the ledger has the details of the errors');
$f->query('ALTER TABLE tokens DROP CONSTRAINT no_such_name, ALTER COLUMN symbol DROP NOT NULL');
$f->day("2026-11-$_", 50) for '01' .. '19';
$f->query(q(SELECT contratos_run('2026-11-01')));
my ($well) = map { decode_json($_) } payloads();
ok(exists $well->{sqlstate} && !defined $well->{sqlstate} && !defined $well->{error}, 'NOTIFY of a success has null as SQLSTATE and error');

# ---- subtransactions

my $session = Contratos::Session->new($node);
$session->query(
	q(BEGIN;
	  SELECT contratos_run('2026-11-01');
	  SAVEPOINT a; SELECT contratos_run('2026-11-02'); ROLLBACK TO a;
	  SAVEPOINT b; SELECT contratos_run('2026-11-03'); SAVEPOINT c; SELECT contratos_run('2026-11-04'); RELEASE b;
	  SAVEPOINT d; SELECT contratos_run('2026-11-05'); SAVEPOINT e; SELECT contratos_run('2026-11-06'); RELEASE e; ROLLBACK TO d;
	  DO $$ BEGIN PERFORM contratos_run('2026-11-07'); RAISE 'no'; EXCEPTION WHEN raise_exception THEN PERFORM contratos_run('2026-11-08'); END $$));
is(heard(), '', 'NOTIFY: nothing before the commit');
$session->query('COMMIT');
is(heard(), '01 succeeded, 03 succeeded, 04 succeeded, 08 succeeded', 'NOTIFY: at the commit all that was not rolled back');
$session->query(q(BEGIN; SELECT contratos_run('2026-11-01'); ROLLBACK));
$session->query(q(BEGIN; SELECT contratos_run('2026-11-01'); SELECT 1/0; COMMIT));
$session->query('BEGIN; SAVEPOINT a; SAVEPOINT b; SAVEPOINT c; SAVEPOINT d; RELEASE a; COMMIT');
is(heard(), '', 'NOTIFY: nothing of transactions that were rolled back');
$f->query(q(SELECT contratos_run('2026-11-09')));
is(heard(), '09 succeeded', 'NOTIFY: nothing later of transactions that were rolled back');

# ---- prepared transactions

my $prepared = $session->query(q(BEGIN; SELECT contratos_run('2026-11-10'); PREPARE TRANSACTION 'later'));
like($prepared->{err}, qr/WARNING:  0A000: nobody is notified of what a prepared transaction has done\nDETAIL:  .* 1 messages/, 'PREPARE TRANSACTION after a load warns that nobody is notified');
unlike($prepared->{err}, qr/ERROR/, 'PREPARE TRANSACTION after a load succeeds');
$f->query(q(COMMIT PREPARED 'later'));
is(rows_of(10) . status_of(10), '50succeeded', 'COMMIT PREPARED of a load succeeds');
is($session->query('BEGIN; CREATE TABLE t (); PREPARE TRANSACTION $$other$$; COMMIT PREPARED $$other$$; DROP TABLE t')->{err}, '', 'PREPARE TRANSACTION of other work has no warning');
is(heard(), '', 'NOTIFY: nothing of prepared transactions');
$f->query(q(BEGIN; SELECT contratos_enqueue('2026-11-10', '2026-11-10', only_missing => false); PREPARE TRANSACTION 'queued'; COMMIT PREPARED 'queued'));
is(status_of(10), 'succeeded queued', 'days can be queued in a prepared transaction');
$f->query('UPDATE contratos_sources SET enabled = enabled');
ok($f->poll(q(SELECT count(*) = 2 FROM contratos_runs WHERE day = '2026-11-10' AND status = 'succeeded')), 'a change of the source wakes the worker for days queued in a prepared transaction');
$f->settle;
my $rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->query(q(SELECT contratos_enqueue('2026-11-19', '2026-11-19')));
$bq->wait(rule => $rule, state => 'answered');
$session->query(q(BEGIN; SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'running'; PREPARE TRANSACTION 'stop'));
$bq->release($rule);
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND wait_event_type = 'Lock')),
	'a run canceled by a prepared transaction waits for it at its end');
$f->query(q(COMMIT PREPARED 'stop'));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-19' AND status = 'canceled')) && $f->settle, 'COMMIT PREPARED cancels the run');
is(rows_of(19), 0, 'a run canceled by a prepared transaction leaves no rows');
heard();

# ---- a queue that is full, as far as we are concerned

my $full = qr/WARNING:  54000: nobody is notified: the NOTIFY queue is \d+% full\n/;
my $said = $f->messages(q(SET contratos.notify_limit = 0; SELECT contratos_run('2026-11-11')));
like($said, qr/${full}DETAIL:  1 messages .*\nHINT:  .*pg_stat_activity/, 'notify_limit 0: a load warns');
is(rows_of(11) . status_of(11), '50succeeded', 'notify_limit 0: a load loads its day');
$said = $f->messages(q(SET contratos.notify_limit = 0; SELECT contratos_backfill_range('2026-11-11', '2026-11-13')));
is(scalar(() = $said =~ /$full/g), 1, 'notify_limit 0: a backfill warns once');
like($said, qr/DETAIL:  3 messages/, 'notify_limit 0: the warning of a backfill counts its days');
$f->query(q(UPDATE contratos_sources SET enabled = false; SELECT contratos_enqueue('2026-11-14', '2026-11-14')));
like($f->messages(q(SET contratos.notify_limit = 0; SELECT contratos_cancel(id) FROM contratos_runs WHERE day = '2026-11-14')), $full, 'notify_limit 0: a cancel warns');
is(status_of(14), 'canceled', 'notify_limit 0: a cancel cancels its day');
$f->query(q(UPDATE contratos_sources SET enabled = true));
is(heard(), '', 'notify_limit 0: nobody is notified by calls');
my $warnings = sub { $f->logged(qr/WARNING:  database "postgres": nobody is notified: the NOTIFY queue is/) };
my $warned = $warnings->();
ok($f->at('2026-11-21 06:01', 'contratos.notify_limit' => 0), 'notify_limit 0: the worker starts');
enqueue(11, 14);
is(join(' ', map { rows_of($_) } 11 .. 14), '50 50 50 50', 'notify_limit 0: the worker loads its days');
is($warnings->(), $warned + 1, 'notify_limit 0: the worker warns once');
is(heard(), '', 'notify_limit 0: nobody is notified by the worker');
ok($f->at('2026-11-21 06:02', 'contratos.notify_limit' => 0.9), 'the worker starts with a notify_limit of 0.9');
enqueue(14);
is(heard(), '14 succeeded', 'NOTIFY: the next day when there is room, and none of before');

# ---- one that is

# Only from PostgreSQL 17 on can the queue be made small; before it has 8 GB, which no test fills.
if ($small)
{
	my $usage = q(SELECT round(pg_notification_queue_usage()::numeric, 1));
	my $fill = sub {
		$listener->query('BEGIN');
		$f->fails("DO \$\$ BEGIN LOOP PERFORM pg_notify('other', repeat('x', $_)); COMMIT; END LOOP; END \$\$") for 7000, 500, 1;
		return $f->query($usage);
	};
	my $empty = sub { heard() if $listener->query('COMMIT'); return $f->query($usage); };
	my $pid = $f->worker;

	is($fill->(), '1.0', 'a sleeping listener fills the NOTIFY queue');
	like($f->messages(q(SELECT contratos_run('2026-11-15'))), $full, 'full queue: a load warns');
	is(rows_of(15) . status_of(15), '50succeeded', 'full queue: a load loads its day');
	$warned = $warnings->();
	enqueue(16, 18);
	is(join(' ', map { rows_of($_) . status_of($_) } 16 .. 18), '50succeeded 50succeeded 50succeeded', 'full queue: the worker loads its days');
	is($warnings->(), $warned + 1, 'full queue: the worker warns once');
	is($empty->(), '0.0', 'the NOTIFY queue is empty when the listener wakes up');
	enqueue(16);
	is(heard(), '16 succeeded', 'NOTIFY: the day after the queue was full');
	$fill->();
	enqueue(17);
	is($warnings->(), $warned + 2, 'the worker warns again when the queue is full again');
	is($f->worker, $pid, 'full queues keep the worker\'s process');
	$empty->();

	ok($f->at('2026-11-21 06:03', 'contratos.notify_limit' => 2),
		'the worker starts with a notify_limit that is never reached');
	$fill->();
	enqueue(16, 17);
	is(join(' ', map { status_of($_) =~ s/.* //r } 16 .. 17), 'succeeded succeeded',
		'a queue that is full at the commit: the worker\'s days stay loaded');
	is($f->logged(qr/WARNING:  database "postgres": nobody is notified: too many notifications in the NOTIFY queue/), 1,
		'a queue that is full at the commit: the worker warns once');
	$empty->();
	enqueue(18);
	is(heard(), '18 succeeded', 'NOTIFY: the day after the queue was full at a commit');
	is($f->logged(qr/ERROR: .*NOTIFY/), 9, 'a full queue is an error only for those who fill it');
}

$_->quit for $session, $listener;
$f->stop;
done_testing();
