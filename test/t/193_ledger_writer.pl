# The process that writes to the ledger what a call was billed: without a free slot, with a
# table that is locked, with an extension or a database that is dropped.
use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Session;

# one slot, and nobody else takes it
my $f = Contratos::Fixture->new(standin => { csv => '' }, conf => "max_worker_processes = 1\nmax_logical_replication_workers = 0");
my $bq = $f->bq;
my $run = q(SELECT status FROM contratos_run('2026-11-20'));
my $costs = q(SELECT count(*), sum(bytes_billed) FROM contratos_runs WHERE only_cost);
my $writers = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'contratos ledger writer');

sub log_has
{
	my ($regex) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	while (time < $until)
	{
		return 1 if slurp_file($f->node->logfile) =~ $regex;
		select undef, undef, undef, 0.05;
	}
	return 0;
}

$f->query('SELECT contratos_setup()');
$f->day('2026-11-20', 50);
my $session = Contratos::Session->new($f->node);
my $other = Contratos::Session->new($f->node);

# ---- it leaves by itself

$f->query("BEGIN; $run; ROLLBACK");
is($f->eventually($costs, '1|10485760'), '1|10485760', 'the process writes what was billed');
is($f->eventually($writers, 0), 0, 'and ends');
$f->query('DELETE FROM contratos_runs');

# ---- the ledger is locked

$other->query('BEGIN; LOCK TABLE contratos_runs IN SHARE MODE');
my $pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
like($f->fails("SET statement_timeout = '1s'; $run"), qr/ERROR:  57014/, 'a load is stopped while the ledger is locked');
is($f->eventually($writers, 1), 1, 'the process waits for the lock');

# the only slot is taken: the session keeps what the next call is billed
$bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
like($session->query("SET statement_timeout = '1s'; $run")->{err}, qr/ERROR:  57014/, 'a load of another session is stopped');
ok(log_has(qr/ERROR:  canceling statement due to statement timeout\n.*CONTEXT:  (?:.*\n)*?.*recording that 10485760 bytes were billed for source "tokens" \(job contratos_/), 'a lock that stays ends the process, and the log has the bytes');
is($f->eventually($writers, 0), 0, 'the process does not wait for long');
$other->query('COMMIT');
is($f->query($costs), '0|', 'nothing is written');
like($session->query("SET statement_timeout = 0; LOAD 'contratos'; SET contratos.max_bytes_per_day = '10MB'; $run")->{err}, qr/ERROR:  53400: daily byte budget/, 'the bytes that a session keeps count in it');
is($f->eventually($costs, '1|10485760'), '1|10485760', 'they are written once the call that was refused has ended');
$f->query('DELETE FROM contratos_runs');

# ---- no slot at all

sub restart { $_->quit for $session, $other; $f->node->append_conf('postgresql.conf', "max_worker_processes = $_[0]"); $f->node->restart; $session = Contratos::Session->new($f->node); $other = Contratos::Session->new($f->node); return; }

restart(0);
$session->query("BEGIN; $run; ROLLBACK");
is($f->query($costs), '0|', 'without a slot nothing is written when the transaction ends');
like($session->query(q(SET contratos.max_bytes_per_day = '10MB'; BEGIN READ ONLY; SELECT FROM contratos_verify('2026-11-20', '2026-11-20'); ROLLBACK))->{err}, qr/ERROR:  53400/,
	'what the session keeps counts in a read-only transaction, too');
$session->query('ROLLBACK; SET contratos.max_bytes_per_day = 0');
$session->query("BEGIN; $run; ROLLBACK");
is($f->query($costs), '0|', 'a call that is rolled back writes nothing of what the session keeps');
is($session->query($run)->{out}, 'succeeded', 'the next call succeeds');
is($f->query($costs), '2|20971520', 'and has written all that the session kept');
is($session->query($run)->{out}, 'succeeded', 'another call succeeds');
is($f->query(q(SELECT count(*), count(DISTINCT job_id) FROM contratos_runs)), '4|4', 'each job is in the ledger once');
$f->query('DELETE FROM contratos_runs');

# ---- a slot that is free when the session ends

restart(1);
$other->query('BEGIN; LOCK TABLE contratos_runs IN SHARE MODE');
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert', times => 0 }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
like($f->fails("SET statement_timeout = '1s'; $run"), qr/ERROR:  57014/, 'a load is stopped, and its process waits for the lock');
is($f->eventually($writers, 1), 1, 'the only slot is taken');
like($session->query("SET statement_timeout = '500ms'; $run")->{err}, qr/ERROR:  57014/, 'another load is stopped');
$other->query('COMMIT');
is($f->eventually($costs, '1|10485760'), '1|10485760', 'the first process goes on');
is($f->eventually($writers, 0), 0, 'its slot is free again');
$session->quit;
is($f->eventually($costs, '2|20971520'), '2|20971520', 'a session that ends passes on what it has kept');
$f->query('DELETE FROM contratos_runs');
$bq->reset(tables => 0);

# ---- settings of the database

$f->query(q(ALTER DATABASE postgres SET default_transaction_read_only = on; ALTER DATABASE postgres SET search_path = 'nowhere'; ALTER DATABASE postgres SET statement_timeout = '1ms'));
$f->query(q(SET statement_timeout = 0; SET search_path = public; BEGIN READ WRITE; SELECT FROM contratos_run('2026-11-20'); ROLLBACK));
is($f->eventually(q(SET statement_timeout = 0; SET search_path = public; ) . $costs, '1|10485760'), '1|10485760', 'settings of the database do not stop the process');
$f->query(q(SET statement_timeout = 0; BEGIN READ WRITE; ALTER DATABASE postgres RESET ALL; COMMIT));
$f->query('DELETE FROM contratos_runs');

# ---- the extension is dropped meanwhile

$session = Contratos::Session->new($f->node);
$pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
$session->send($run);
$bq->wait(rule => $pending, state => 'answered');
$other->query('SET client_min_messages = warning; BEGIN');
$other->send('DROP EXTENSION contratos CASCADE; DROP TABLE tokens; CREATE EXTENSION contratos; SELECT contratos_setup()');
is($f->eventually(q(SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DROP EXTENSION%' AND wait_event_type = 'Lock'), 1), 1, 'DROP EXTENSION waits for a load');
$f->query('SELECT pg_cancel_backend(' . $session->pid . ')');
like($session->finish->{err}, qr/ERROR:  57014/, 'the load is canceled');
unlike($other->finish->{err}, qr/ERROR/, 'the extension is dropped and created again');
is($f->eventually("$writers AND wait_event_type = 'Lock'", 1), 1, 'the process waits for the end of that transaction');
$other->query('COMMIT');
is($f->eventually($writers, 0), 0, 'the process has ended');
is($f->query('SELECT count(*) FROM contratos_runs'), 0, 'the new ledger has nothing of the old one');

# ---- the database is dropped

$f->query('CREATE DATABASE shop');
$f->use_database('shop');
$f->query('CREATE EXTENSION contratos');
$bq->reset(tables => 0);
$f->query("BEGIN; $run; ROLLBACK");
$f->use_database('postgres');
is($f->query('DROP DATABASE shop; SELECT 1'), 1, 'the database is dropped at once');
is($f->eventually($writers, 0), 0, 'the process has ended with it');

unlike(slurp_file($f->node->logfile), qr/background worker "contratos ledger writer" .* (?:crash|signal)/, 'no process has crashed');
$_->quit for $session, $other;
$f->stop;
done_testing();
