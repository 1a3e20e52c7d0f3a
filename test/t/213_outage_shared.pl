# Outages that one source alone does not show: a server has answered, or has not, for
# all its sources, and whoever asked.
use strict;
use warnings;

use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.retries = 0\ncontratos.request_timeout = '1s'");
my $bq = $f->bq;

my $again = qr/LOG:  database "postgres": the server of source "\w+" can be reached again/;

# ---- a source that is disabled in an outage

$f->query(
	q(CREATE TABLE second (address text, block_timestamp timestamptz);
	  CREATE FOREIGN TABLE remote_second (address text, block_timestamp timestamptz) SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens');
	  UPDATE contratos_sources SET start_date = '2026-11-20';
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, start_date) VALUES ('second', 'public.remote_second', 'public.second', 'block_timestamp', '2026-11-20')));
$f->day("2026-11-$_", 20) for 20 .. 24;
$bq->kill;
ok($f->at('2026-11-21 08:00'), 'the worker wakes with two sources and without an endpoint');
is($f->query(q(SELECT string_agg(DISTINCT source || ' ' || reason, ', ' ORDER BY source || ' ' || reason) FROM contratos_runs)), 'second unreachable, tokens unreachable',
	'the server could not be reached for either');
$f->query(q(UPDATE contratos_sources SET enabled = false WHERE name = 'second'));
$bq->restart;
ok($f->at('2026-11-21 09:00'), 'the endpoint answers again');
ok($f->at('2026-11-22 08:00'), 'the next day is loaded');
ok($f->at('2026-11-23 08:00'), 'and the day after it');
is($f->query(q(SELECT string_agg(DISTINCT state, ' ') FROM contratos_days WHERE source = 'tokens' AND day < '2026-11-22')), 'confirmed', 'the source that is enabled has its days');
is($f->logged($again), 1, 'the end of an outage is logged once, although a disabled source has not been loaded since');
my $errors = $f->logged(qr/ERROR:  could not connect to/);
is($errors, 1, 'an outage is one ERROR, however many sources the server has');
$bq->kill;
ok($f->at('2026-11-24 08:00'), 'the worker wakes in a second outage');
is($f->logged(qr/ERROR:  could not connect to/) - $errors, 1, 'a second outage is an ERROR of its own');

# ---- next_wake knows of it, whichever source met it

like(
	$f->query(
		q(BEGIN; UPDATE contratos_sources SET enabled = true WHERE name = 'second';
		  INSERT INTO contratos_runs (id, source, day, cause, status, started_at, finished_at, rows_loaded) OVERRIDING SYSTEM VALUE
		  VALUES (-1, 'second', '2026-11-23', 'manual', 'succeeded', '2026-11-24 01:00+00', '2026-11-24 01:00+00', 1);
		  SELECT next_wake - '2026-11-24 08:00+00' FROM contratos_status WHERE source = 'second'; ROLLBACK)),
	qr/^00:0[1-9]:/m, 'next_wake of a source is when its server is tried again, whichever source could not reach it');

# ---- "no rows yet" is an answer

like(
	$f->query(
		q(BEGIN; DELETE FROM contratos_runs;
		  INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, next_attempt_at, sqlstate, reason) VALUES
		  ('tokens', '2026-11-23', 'schedule', 'failed', '2026-11-24 08:00+00', '2026-11-24 08:00+00', NULL, '08001', 'unreachable'),
		  ('tokens', '2026-11-23', 'schedule', 'waiting', '2026-11-24 08:00+00', NULL, '2026-11-24 08:15+00', 'P0002', NULL);
		  SELECT next_wake - '2026-11-24 08:00+00' FROM contratos_status WHERE source = 'tokens'; ROLLBACK)),
	qr/^00:00:00$/m, 'other days are loaded at once when the server has answered that it has no rows yet');

# ---- a gateway that answers for a server

$bq->restart;
$f->query(q(DELETE FROM contratos_sources WHERE name = 'second'));
ok($f->at('2026-11-24 14:00'), 'all days are loaded');
$bq->rule({ kind => $_, times => 0 }, { status => 503, body => '<html>' }) for qw(insert query);
for my $time ('08:00', '08:01', '14:00')
{
	ok($f->at("2026-11-25 $time"), "the worker wakes behind a gateway, $time");
}
is($f->query(q(SELECT string_agg(concat_ws(' ', extract(day FROM day), cause, status, attempt, reason), ', ' ORDER BY id) FROM contratos_runs WHERE started_at >= '2026-11-25')),
	join(', ', ('24 schedule failed 1 unreachable') x 3), 'a gateway without a server behind it is an outage: one attempt for each wake-up');
$bq->reset(tables => 0);

# ---- an answer to a person's call is one, too; the real time, without a reload

my $yesterday = $f->query(q(SELECT (now() AT TIME ZONE 'UTC')::date - 1));
my @days = map { $f->query("SELECT '$yesterday'::date - $_") } 2, 1, 0;
$f->day($_, 10) for @days;
$f->query(qq(DELETE FROM contratos_runs; UPDATE contratos_sources SET start_date = '$days[0]', run_at = '00:00', recheck_days = 0));
# (a restart of the endpoint replaces the key file, which is a change)
$bq->rule({ kind => 'any', times => 0 }, { close => 'before_headers' });
$f->set('contratos.now' => '');
ok($f->poll(qq(SELECT count(*) = 1 FROM contratos_runs WHERE day = '$yesterday' AND reason = 'unreachable' AND next_attempt_at IS NULL)), 'yesterday fails for good');
ok($f->settle, 'the worker sleeps');
is($f->runs("day >= '$days[0]'"), $f->query(qq(SELECT extract(day FROM date '$yesterday') || ' schedule failed')), 'the gaps are postponed');
$bq->reset(tables => 0);
is($f->query(qq(SELECT status FROM contratos_run('$days[0]'))), 'succeeded', 'a call is answered');
$f->query(qq(SELECT contratos_enqueue('$days[1]', '$days[1]')));
ok($f->poll(qq(SELECT bool_and(state <> 'failed') FROM contratos_days WHERE day = '$yesterday')), 'a day that has failed in the outage is loaded then');

$f->stop;
done_testing();
