# CALL contratos_load(): each day is committed, so that what is loaded stays.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Session;

my $f = Contratos::Fixture->new(standin => { csv => '' }, conf => 'restart_after_crash = on');
my ($bq, $node) = ($f->bq, $f->node);

sub fill { $f->day(sprintf('2026-11-%02d', $_), 20) for @_; return; }
sub loaded { return $f->query(q(SELECT string_agg(DISTINCT to_char(block_timestamp, 'DD'), ' ') FROM tokens)); }
sub ledger { return $f->query(q(SELECT string_agg(to_char(day, 'DD') || ' ' || status, ', ' ORDER BY id) FROM contratos_runs WHERE NOT only_cost)); }
sub clear { $f->query('DELETE FROM tokens; DELETE FROM contratos_runs'); $bq->reset(tables => 0); return; }
# The nth job from now on waits until release().
sub stall { return $bq->rule({ kind => 'insert', nth => $_[0] }, { stall => 'before_headers' }); }
sub load { return "CALL contratos_load('2026-11-" . $_[0] . "', '2026-11-" . $_[1] . q(') . ($_[2] // '') . ')'; }

fill(11 .. 20);

# ---- a plain call

my $said = $f->messages(load(11, 15));
is(loaded(), '11 12 13 14 15', 'contratos_load() loads the days, also those before the first call of all');
is($f->query('SELECT count(*), count(DISTINCT xmin::text), min(cause), min(status) FROM contratos_runs'), '5|5|backfill|succeeded', 'each day is committed with its row of the ledger');
like($said, qr/NOTICE:  00000: load of source "tokens": day 1 of 5, 2026-11-11; \d+ s left$/m, 'contratos_load() reports which day it is, and the time that is left');
like($said, qr/NOTICE:  00000: backfill of source "tokens": 5 days \(5 succeeded\), 100 rows/, 'contratos_load() ends with the totals');
$bq->reset(tables => 0);
$said = $f->messages(load(11, 17));
is($f->requests, '1 token, 2 insert, 2 results', 'days that have a success are not asked for again');
like($said, qr/day 1 of 2, 2026-11-16;/, 'days that need not be loaded do not count');
like($said, qr/7 days \(2 succeeded, 5 already loaded\)/, 'days that were loaded before are in the totals');
$f->query(load(11, 17));
is(ledger(), join(', ', map { "$_ succeeded" } 11 .. 17), 'a call that has nothing to do succeeds');
$f->query(load(17, 17, ', only_missing => false'));
like(ledger(), qr/17 succeeded, 17 succeeded$/, 'days are loaded again with only_missing => false');

# ---- where it may be called

clear();
my $atomic = qr/ERROR:  2D000: contratos_load\(\) cannot run inside a transaction block, a function or a block with EXCEPTION\nDETAIL:  It commits after each day\.\nHINT: .*contratos_backfill_range\(\)/;
my $call = load(11, 12);
$f->query(qq(
	CREATE FUNCTION by_function() RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN $call; END \$\$;
	CREATE PROCEDURE by_procedure() LANGUAGE plpgsql AS \$\$ BEGIN $call; END \$\$;
	CREATE PROCEDURE with_setting() LANGUAGE plpgsql SET work_mem = '4MB' AS \$\$ BEGIN $call; END \$\$;
	CREATE PROCEDURE as_definer() LANGUAGE plpgsql SECURITY DEFINER AS \$\$ BEGIN $call; END \$\$;
	CREATE PROCEDURE catching() LANGUAGE plpgsql AS \$\$ BEGIN $call; EXCEPTION WHEN OTHERS THEN RAISE; END \$\$;
	CREATE TABLE loops (source text); INSERT INTO loops VALUES ('tokens')));
like($f->fails($_->[1]), $atomic, "refused: $_->[0]")
  for (
	[ 'in a transaction block', "BEGIN; $call" ],
	[ 'after a savepoint', "BEGIN; SAVEPOINT s; $call" ],
	[ 'in a DO of a transaction block', "BEGIN; DO 'BEGIN CALL by_procedure(); END'" ],
	[ 'in a function', 'SELECT by_function()' ],
	[ 'in a procedure with SET', 'CALL with_setting()' ],
	[ 'in a SECURITY DEFINER procedure', 'CALL as_definer()' ],
	[ 'in a block with EXCEPTION', 'CALL catching()' ],
	[ 'in a procedure that a block with EXCEPTION calls', "DO 'BEGIN CALL by_procedure(); EXCEPTION WHEN division_by_zero THEN NULL; END'" ],
	[ 'in a loop in a block with EXCEPTION',
		"DO 'BEGIN FOR i IN 1 .. 2 LOOP CALL by_procedure(); END LOOP; EXCEPTION WHEN division_by_zero THEN NULL; END'" ]);
my (undef, undef, $err) = $node->psql('postgres', "SELECT 1\\; $call");
like($err, qr/cannot run inside a transaction block/, 'refused: together with another statement in one message');
like($f->fails("DO \$\$ DECLARE r record; BEGIN FOR r IN UPDATE loops SET source = source RETURNING source LOOP $call; END LOOP; END \$\$"),
	qr/ERROR:  55000: cannot perform transaction commands inside a cursor loop that is not read-only/, 'refused: in a loop over an UPDATE');
like($f->fails(load(@$_)), qr/ERROR:  22/, "refused: @$_") for ([ 12, 11 ], [ 20, 21 ], [ 11, 12, ', NULL' ], [ 11, 12, q(, 'tokens', NULL) ]);
like($f->fails(q(CALL contratos_load('1970-01-01', '2026-11-20'))), qr/ERROR:  22023: cannot load more than 3660 days/, 'refused: half a century');
like($f->fails("SET default_transaction_isolation = 'serializable'; $call"), qr/ERROR:  25000: contratos_load\(\) cannot run in a transaction of isolation level/, 'refused: SERIALIZABLE');
like($f->fails("SET default_transaction_read_only = on; $call"), qr/ERROR:  25006: /, 'refused: read-only');
like($f->fails("CREATE ROLE anna; SET ROLE anna; $call"), qr/ERROR:  42501: permission denied for procedure contratos_load/, 'contratos_load() is not granted to PUBLIC');
is($f->requests, '', 'a call that is refused does not reach BigQuery');
is(ledger(), '', 'a call that is refused loads nothing');

for my $where (
	[ 'a DO', "DO 'BEGIN CALL by_procedure(); END'" ],
	[ 'a procedure', 'CALL by_procedure()' ],
	[ 'a loop over a query', "DO \$\$ DECLARE r record; BEGIN FOR r IN SELECT name FROM contratos_sources LOOP CALL contratos_load('2026-11-11', '2026-11-12', r.name); END LOOP; END \$\$" ],
	[ 'a loop over a query, more than once', "DO \$\$ DECLARE r record; BEGIN FOR r IN SELECT d::date AS day FROM generate_series('2026-11-11'::date, '2026-11-12', '1 day') d LOOP CALL contratos_load(r.day, r.day); END LOOP; END \$\$" ],
	[ 'a block after one with EXCEPTION', "DO \$\$ BEGIN BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END; $call; END \$\$" ])
{
	clear();
	$f->query($where->[1]);
	is(ledger(), '11 succeeded, 12 succeeded', "contratos_load() works in $where->[0]");
}
clear();
like($f->fails("DO \$\$ BEGIN INSERT INTO loops VALUES ('kept'); $call; RAISE division_by_zero; END \$\$"), qr/division_by_zero/, 'an error after the call is raised');
is($f->query(q(SELECT count(*) FROM loops WHERE source = 'kept')) . ' ' . ledger(), '1 11 succeeded, 12 succeeded', 'an error after the call undoes neither its days nor what was done before it');
clear();
# by the extended protocol, as drivers do it
my $script = $node->basedir . '/call.sql';
append_to_file($script, "$call;\n");
$node->command_ok([ 'pgbench', '-n', '-t', '2', '-M', 'prepared', '-f', $script, 'postgres' ], 'contratos_load() works as a prepared statement');
is(ledger(), '11 succeeded, 12 succeeded', 'a prepared CALL loads the days');

# ---- cancel, timeout, crash

clear();
my $stall = stall(3);
my $session = Contratos::Session->new($node);
$session->send(load(11, 15));
$bq->wait(rule => $stall, state => 'stalled');
is(loaded(), '11 12', 'days before the one that is being loaded can be seen by others');
$f->query("SELECT pg_cancel_backend(@{[ $session->pid ]})");
my $answer = $session->finish;
like($answer->{err}, qr/ERROR:  57014: canceling statement due to user request\nDETAIL:  BigQuery job .*\nThe target is as it was before the day\. BigQuery bills \d+ bytes for the jobs of the call that ended\.\nCONTEXT:  contratos_load\(\): 2026-11-13, day 3 of 5; days loaded before it, which are kept: 2$/m,
	'the error of a canceled call says which days are kept');
is(loaded() . ', ' . ledger(), '11 12, 11 succeeded, 12 succeeded', 'a canceled call keeps what is done');
is($session->query('BEGIN; SELECT 1; COMMIT')->{out}, 1, 'the session of a canceled call can go on');
$bq->reset(tables => 0);
$f->query(load(11, 15));
is($f->requests, '1 token, 3 insert, 3 results', 'the next call goes on where the canceled one stopped');
is(loaded(), '11 12 13 14 15', 'the next call loads the days that remained');

clear();
$stall = stall(2);
like($f->fails("SET statement_timeout = '4s'; " . load(11, 15)), qr/ERROR:  57014: canceling statement due to statement timeout/, 'statement_timeout counts the whole CALL');
is($f->query('SELECT count(DISTINCT block_timestamp::date) = (SELECT count(*) FROM contratos_runs WHERE NOT only_cost) FROM tokens'), 't', 'days that were loaded before the timeout are kept');

clear();
$stall = stall(4);
$session = Contratos::Session->new($node);
$session->send(load(11, 16));
$bq->wait(rule => $stall, state => 'stalled');
kill 'KILL', $session->pid;
ok($session->finish->{ended}, 'a killed server process ends the session');
$bq->release;
ok($node->poll_query_until('postgres', 'SELECT true'), 'the server restarts');
is(loaded() . ', ' . ledger(), '11 12 13, 11 succeeded, 12 succeeded, 13 succeeded', 'three days are there after kill -9 in the fourth');
$bq->reset(tables => 0);
$f->query(load(11, 16));
is(ledger(), join(', ', map { "$_ succeeded" } 11 .. 16), 'the call after a crash loads the rest');
is($f->requests, '1 token, 3 insert, 3 results', 'the call after a crash asks for the rest only');

# ---- days that fail

clear();
my %slots = (job_error => { reason => 'resourcesExceeded', message => 'out of slots', at => 'results' });
$bq->rule({ kind => 'insert', nth => 2 }, {%slots});
$said = $f->messages(load(11, 14));
is(ledger(), '11 succeeded, 12 failed, 13 succeeded, 14 succeeded', 'a day that fails does not stop the others');
like($said, qr/WARNING:  53000: 2026-11-12 of source "tokens" failed: BigQuery: out of slots/, 'a day that fails is reported by a WARNING');

clear();
$bq->rule({ kind => 'insert', times => 0 }, {%slots});
like($f->fails(load(11, 13)), qr/ERROR:  55000: no day of source "tokens" was loaded\nDETAIL:  Days that have failed or were refused: 3\. The last error: BigQuery: out of slots\n/, 'a call of which every day fails is an error');
is(ledger(), '11 failed, 12 failed, 13 failed', 'the ledger keeps the days of a call that has failed');

clear();
like($f->messages("CALL contratos_load('2026-11-01', '2026-11-03')"), qr/WARNING:  55000: empty days of source "tokens" were refused: 2026-11-01 to 2026-11-03\n/,
	'empty days of a call are one WARNING, and no error');
is(ledger(), '01 refused, 02 refused, 03 refused', 'empty days of a call are in the ledger');
$bq->rule({ kind => 'insert', nth => 3 }, {%slots});
like($f->fails("CALL contratos_load('2026-11-09', '2026-11-11')"), qr/ERROR:  55000: no day of source "tokens" was loaded\nDETAIL:  Days that have failed or were refused: 1\. The last error: BigQuery: out of slots\n/,
	'empty days do not hide that all others have failed');

clear();
my %denied = (status => 403, reason => 'accessDenied', message => 'no access');
$bq->rule({ kind => 'insert', times => 0 }, {%denied});
like($f->fails(load(11, 15)), qr/ERROR:  42501: BigQuery: no access/, 'a permanent error on the first day fails the call');
is($f->requests, '1 token, 1 insert', 'a permanent error ends the call at once');
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert', nth => 2, times => 0 }, {%denied});
$said = $f->messages(load(11, 15));
is(ledger(), '11 succeeded, 12 failed', 'a permanent error after a success ends the call');
like($said, qr/WARNING:  01000: backfill of source "tokens" stopped: 3 days were not tried\nDETAIL:  They would fail for the same reason: BigQuery: no access/, 'a call that is ended early says how many days were not tried');

# a deferred constraint is checked with its day, not by the COMMIT that ends the call
clear();
$f->query(q(
	CREATE FUNCTION no_twelfth() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.block_timestamp >= '2026-11-12Z' AND NEW.block_timestamp < '2026-11-13Z' THEN RAISE check_violation USING MESSAGE = 'not this day'; END IF;
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER no_twelfth AFTER INSERT ON tokens DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no_twelfth()));
$said = $f->messages(load(11, 13));
is(ledger(), '11 succeeded, 12 failed, 13 succeeded', 'a deferred constraint fails its day only');
is(loaded(), '11 13', 'a day whose deferred constraint fails has no rows');
$f->query('DROP TRIGGER no_twelfth ON tokens');

# ---- others, between two days

clear();
$stall = stall(2);
$session = Contratos::Session->new($node);
$session->send(load(11, 14));
$bq->wait(rule => $stall, state => 'stalled');
my $other = $f->begin(q(SELECT status FROM contratos_run('2026-11-14')));
ok($f->said($other, qr/waiting for another load/) && $node->poll_query_until('postgres', q(SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)),
	'another load waits for the day that is being loaded');
$bq->release;
is(($f->finish($other))[1], 'succeeded', 'another load goes between two days');
$answer = $session->finish;
is($answer->{err} =~ /ERROR/ ? $answer->{err} : ledger(), '11 succeeded, 12 succeeded, 14 succeeded, 13 succeeded', 'a day that another session has loaded meanwhile is left out');
like($answer->{err}, qr/4 days \(3 succeeded, 1 already loaded\)/, 'a day that another session has loaded meanwhile is in the totals');

clear();
$stall = stall(2);
$session = Contratos::Session->new($node);
$session->send(load(11, 14));
$bq->wait(rule => $stall, state => 'stalled');
$f->query(q(DELETE FROM contratos_sources));
$bq->release;
like($session->finish->{err}, qr/ERROR:  42704: source "tokens" does not exist\n.*which are kept: 2$/sm, 'a source that is deleted meanwhile ends the call');
is(loaded(), '11 12', 'days loaded before the source was deleted are kept');
$f->query('SELECT contratos_setup()');

clear();
$stall = stall(2);
$session = Contratos::Session->new($node);
$session->send(load(11, 14));
$bq->wait(rule => $stall, state => 'stalled');
my $drop = Contratos::Session->new($node);
$drop->send('DROP EXTENSION contratos CASCADE');
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_locks WHERE pid = @{[ $drop->pid ]} AND NOT granted"), 'DROP EXTENSION waits for the day that is being loaded');
$bq->release;
$answer = $session->finish;
like($answer->{err}, qr/ERROR:  42704: extension "contratos" is not installed in this database\n.*which are kept: 2$/sm, 'DROP EXTENSION between two days ends the call');
unlike($drop->finish->{err}, qr/ERROR/, 'DROP EXTENSION succeeds between two days');
is(loaded(), '11 12', 'days loaded before DROP EXTENSION are kept');

$f->stop;
done_testing();
