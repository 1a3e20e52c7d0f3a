# What BigQuery has billed reaches the ledger (or the log) also when many sessions end at once, when a
# prepared transaction is rolled back and when the server shuts down; and it counts at once.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Session;

my $f = Contratos::Fixture->new(
	standin => { csv => '' },
	conf => "max_prepared_transactions = 2\nmax_worker_processes = 4\nmax_logical_replication_workers = 0");
my ($bq, $node) = ($f->bq, $f->node);
my $sums = q(SELECT count(*), count(DISTINCT job_id), sum(bytes_billed)::bigint / 1048576 FROM contratos_runs WHERE bytes_billed > 0);

sub run { return "SELECT status FROM contratos_run('2026-11-20', '" . ($_[0] // 'tokens') . "')"; }
sub clear { $bq->reset(tables => 0); $f->query('DELETE FROM contratos_runs'); return; }

$f->query('SELECT contratos_setup()');
$f->day('2026-11-20', 50);
$f->query("CREATE TABLE t$_ (LIKE tokens); INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled)
	VALUES ('t$_', 'public.bigquery_tokens', 'public.t$_', 'block_timestamp', false)") for 1 .. 12;

# ---- more sessions than slots

my @sessions = map { Contratos::Session->new($node) } 1 .. 12;
$sessions[ $_ - 1 ]->send('BEGIN; ' . run("t$_")) for 1 .. 12;
$_->finish for @sessions;
$f->query(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'));
is($f->eventually($sums, '12|12|120'), '12|12|120', 'twelve sessions are terminated at once with three slots: the ledger has the cost of each');
clear();

# ---- a cap

my $capped = "LOAD 'contratos'; SET contratos.max_bytes_per_day = '40MB'; ";
my $session = Contratos::Session->new($node);
$session->query($capped);
my $tries = 0;
$tries++ while $tries < 20 && $session->query('BEGIN; ' . run() . '; ROLLBACK')->{err} !~ /53400/;
is($tries, 4, 'a cap acts on a session that rolls back again and again, after as many loads as it allows');
$session->quit;
clear();
my $loop = q(DO $$ BEGIN FOR i IN 1 .. 20 LOOP BEGIN PERFORM contratos_run('2026-11-20'); PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$);
like($f->fails($capped . $loop), qr/ERROR:  53400: daily byte budget/, 'a cap acts on a loop over a block with EXCEPTION');
is($f->eventually($sums, '4|4|40'), '4|4|40', 'the loop is billed for as many loads as the cap allows');
clear();
my @points = map { 'SAVEPOINT s; ' . run() . '; ROLLBACK TO s; ' } 1 .. 5;
like($f->fails("${capped}BEGIN; @points COMMIT"), qr/ERROR:  53400/, 'a cap acts on loads that are rolled back to savepoints');
is($f->eventually($sums, '4|4|40'), '4|4|40', 'as many of them are billed as the cap allows');
clear();

# ---- a ledger that is locked, a database that allows no connections

my ($caller, $locker) = map { Contratos::Session->new($node) } 1 .. 2;
$f->query(q(CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
	CREATE TRIGGER no BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION no()));
$caller->query('BEGIN; SAVEPOINT s; ' . run() . '; ROLLBACK TO s; ' . run() . '; ROLLBACK TO s');
$f->query('DROP TRIGGER no ON tokens');
$locker->query('BEGIN; LOCK TABLE contratos_runs IN SHARE MODE');
$caller->query('ROLLBACK');
is($f->eventually(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'contratos ledger writer'), 1) . $f->eventually(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'contratos ledger writer'), 0),
	'10', 'the process does not wait for long for the lock of the ledger');
$locker->query('COMMIT');
is(() = slurp_file($node->logfile) =~ /recording that 10485760 bytes were billed for source "tokens"/g, 2, 'the log has all bills that it could not write');
$f->query('CREATE DATABASE closed');
$f->use_database('closed');
$f->query('CREATE EXTENSION contratos; SELECT contratos_setup()');
my $inside = Contratos::Session->new($node, dbname => 'closed');
$f->use_database('postgres');
$f->query('ALTER DATABASE closed ALLOW_CONNECTIONS false');
$inside->query('BEGIN; ' . run() . '; ROLLBACK');
is($f->eventually($sums, '1|1|10', $inside), '1|1|10', 'a session of a database that allows no connections: the ledger has its cost');
$_->quit for $caller, $locker, $inside;
clear();

# ---- PREPARE TRANSACTION

my $prepare = 'SET client_min_messages = error; BEGIN; ' . run() . "; SELECT FROM contratos_verify('2026-11-19', '2026-11-20'); SAVEPOINT s; " . run('t1') . "; ROLLBACK TO s; PREPARE TRANSACTION 'p'";
my $ledger = q(SELECT count(*), count(DISTINCT job_id), sum(bytes_billed)::bigint / 1048576, count(*) FILTER (WHERE status = 'canceled') FROM contratos_runs WHERE bytes_billed > 0);
for my $by ('the session', 'another session')
{
	for my $end ('ROLLBACK', 'COMMIT')
	{
		$session = Contratos::Session->new($node);
		$session->query($prepare);
		like($session->query("LOAD 'contratos'; SET contratos.max_bytes_per_day_total = '20MB'; " . run('t2'))->{err}, qr/ERROR:  53400/, 'what a prepared transaction was billed counts in its session');
		($by eq 'the session' ? $session : $f)->query("$end PREPARED 'p'");
		$session->query('SELECT 1');
		my $wanted = $end eq 'COMMIT' ? '3|3|30|1' : '3|3|30|3';
		is($f->eventually($ledger, $wanted), $wanted, "what a transaction was billed is in the ledger once after $end PREPARED by $by");
		$session->quit;
		clear();
	}
}
$f->query(q(CREATE DATABASE shop));
$f->use_database('shop');
$f->query('CREATE EXTENSION contratos');
$f->query('SET client_min_messages = error; BEGIN; ' . run() . q(; DROP EXTENSION contratos CASCADE; PREPARE TRANSACTION 'p'));
$f->query(q(COMMIT PREPARED 'p'));
is($f->query('SELECT count(*) FROM tokens'), 50, 'a transaction that drops the extension after a load can be prepared');
$f->use_database('postgres');
clear();

# ---- the server shuts down

$session = Contratos::Session->new($node);
$session->query('BEGIN; ' . run());
$node->restart;
ok(slurp_file($node->logfile) =~ qr/LOG:  10485760 bytes that were billed for source "tokens" are not in the ledger\n.*DETAIL:  The session of BigQuery job contratos_[0-9a-f]+ has ended/,
	'a server that shuts down logs what it cannot record');
clear();

$f->stop;
done_testing();
