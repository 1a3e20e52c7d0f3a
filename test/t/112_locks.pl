# Worker, sessions and a backfill on one source at the same time; two sources,
# one of which is in trouble.
use strict;
use warnings;

use JSON::PP;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.job_timeout = '60min'\ncontratos.request_timeout = '60min'");
my $bq = $f->bq;
my $node = $f->node;

my $claims = q(FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 25345);
my $done = sub { $f->poll("SELECT count(*) = $_[1] FROM contratos_runs WHERE status = 'succeeded' AND $_[0]") };

# ---- all at once

$f->day("2026-11-$_", 1000 + $_) for 10 .. 20;
my $rule = $bq->rule({ kind => 'insert' }, { job_pending => 1 });
$f->query(q(SELECT contratos_enqueue('2026-11-10', '2026-11-20')));
$bq->wait(rule => $rule, state => 'answered');

my @sessions = map { Contratos::Session->new($node) } 0 .. 3;
$sessions[$_]->send("SELECT rows_loaded FROM contratos_run('2026-11-1$_')") for 0 .. 2;
$sessions[3]->send("SELECT count(*), sum(rows_loaded) FROM contratos_backfill_range('2026-11-10', '2026-11-20') WHERE status = 'succeeded'");
ok($f->poll("SELECT count(*) = 4 $claims AND NOT granted"), 'sessions wait for the source that the worker loads');
is($f->query("SELECT pid $claims AND granted"), $f->worker, 'the worker holds the claim');
is($f->runs(q(status <> 'queued')), '20 queue running', 'the worker has one day running, yesterday');
$bq->release($rule);
my @answers = map { $_->finish } @sessions;
is_deeply([ map { $_->{out} } @answers ], [ 1010, 1011, 1012, '11|' . (11 * 1000 + 165) ], 'each session that waited gets the rows of its days');
like($answers[$_]{err}, qr/NOTICE:  00000: waiting for another load of source "tokens"\nDETAIL:  Process \d+ of user/, 'each session that waited has a NOTICE')
  for 0 .. 3;
unlike(join(' ', map { $_->{err} } @answers), qr/ERROR/, 'no session that waited fails');
# what had to wait may be what the worker was kept from: it comes back by itself
ok($done->(q(cause = 'queue'), 11), 'the worker loads all queued days beside sessions');
ok($f->settle, 'the worker is done beside sessions');
is($f->query(q(SELECT count(*), count(DISTINCT day) FROM contratos_runs WHERE status = 'succeeded')), '25|11', 'the ledger has all loads');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE status <> 'succeeded')), 0,
	'the ledger has nothing but successes');
is($f->query(q(SELECT string_agg(count::text, ' ' ORDER BY day) FROM
	(SELECT (block_timestamp AT TIME ZONE 'UTC')::date AS day, count(*) FROM tokens GROUP BY 1) x WHERE day >= '2026-11-10')),
	join(' ', 1010 .. 1020), 'each day is in the table once');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE rows_replaced NOT IN (0, rows_loaded))), 0, 'each load replaces no row or all');
is($f->query(q(SELECT count(*) FROM (SELECT 1 FROM contratos_runs WHERE rows_replaced = 0 GROUP BY day HAVING count(*) <> 1) x)), 0,
	'the first load of a day replaces no row');
is($f->query("SELECT count(*) $claims"), 0, 'no claim is held after all loads');
is($f->logged(qr/deadlock/), 0, 'no deadlock is logged');

# ---- the worker does not wait for a session

$f->query(
	q(CREATE TABLE others (LIKE tokens);
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
	  VALUES ('others', 'bigquery_tokens', 'others', 'block_timestamp')));
$rule = $bq->rule({ kind => 'results' }, { stall => 'mid_body' });
$sessions[0]->send(q(SELECT rows_loaded FROM contratos_run('2026-11-10')));
$bq->wait(rule => $rule, state => 'stalled');
$f->query(q(SELECT contratos_enqueue('2026-11-09', '2026-11-09'); SELECT contratos_enqueue('2026-11-10', '2026-11-12', 'others')));
$f->day('2026-11-09', 9);
ok($done->(q(source = 'others'), 3), 'the worker loads one source while a session loads another');
ok($f->settle, 'the worker sleeps while a session loads a source');
is($f->query("SELECT count(*) $claims AND NOT granted"), 0, 'the worker does not wait for a session\'s claim');
is($f->query(q(SELECT status FROM contratos_runs WHERE day = '2026-11-09')), 'queued',
	'a day stays queued while a session loads its source');
$bq->release($rule);
is($sessions[0]->finish->{out}, 1010, 'the session\'s load succeeds');
ok($done->(q(day = '2026-11-09'), 1), 'the worker loads the queued day after the session\'s load');
$f->settle;

# ---- one source in trouble

my $listener = Contratos::Session->new($node);
$listener->query('LISTEN contratos');

# What the worker has ended since: "others failed, tokens succeeded, ...".
sub turns
{
	my $out = $listener->query('SELECT')->{out};
	return join ', ', map { "$_->{source} $_->{status}" } map { decode_json($_) } $out =~ /with payload "(.*)" received from/g;
}

# Queues days of both sources in one transaction and waits until all have ended.
sub both
{
	my ($first, $last) = @_;
	my $before = $f->query('SELECT max(id) FROM contratos_runs');
	my $n = 2 * ($last - $first + 1);
	$f->query(
		qq(BEGIN;
		   SELECT contratos_enqueue('2026-11-$first', '2026-11-$last', 'others', only_missing => false);
		   SELECT contratos_enqueue('2026-11-$first', '2026-11-$last', 'tokens', only_missing => false);
		   COMMIT));
	return $f->poll("SELECT count(*) = $n FROM contratos_runs WHERE id > $before AND status NOT IN ('queued', 'running')") && $f->settle;
}

$f->query(
	q(CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
	  CREATE TRIGGER refuse BEFORE INSERT ON others FOR EACH ROW EXECUTE FUNCTION refuse()));
ok(both(13, 16), 'days of a source that fails and of one that does not are done');
my ($fails, $goes) = ('others failed', 'tokens succeeded');
like(turns(), qr/^(?:$goes, )?(?:$fails, $goes, ){3}$fails(?:, $goes)?$/,
	'a source that fails and one that does not take turns');
is($f->query("SELECT count(*) $claims"), 0, 'no claim is held after a failure');

# the server never ends its job: a time limit does, and the other has its turn
$f->query('DROP TRIGGER refuse ON others');
$f->at('2026-11-21 06:01', 'contratos.job_timeout' => '500ms');
turns();
$bq->rule({ kind => 'insert' }, { job_pending => 1 });
ok(both(17, 17), 'days of a stalled source and of another are done');
my @turns = split /, /, turns();
like($turns[0], qr/ failed$/, 'the day of a stalled source fails');
like($turns[1], qr/ succeeded$/, 'another source does not wait for the next attempt of a stalled one');
my ($stalled) = $turns[0] =~ /^(\S+)/;
is($f->query("SELECT source, next_attempt_at FROM contratos_runs WHERE status = 'failed' AND day = '2026-11-17'"),
	"$stalled|2026-11-21 06:02:00+00", 'the ledger has the time of the stalled source\'s next attempt');
ok($f->at('2026-11-21 06:02'), 'the worker looks at the time of the stalled source\'s next attempt');
is($f->query("SELECT status, attempt FROM contratos_runs WHERE source = '$stalled' AND day = '2026-11-17' ORDER BY id DESC LIMIT 1"),
	'succeeded|2', 'the second attempt of the stalled source succeeds');

# ---- a source that cannot be loaded, while somebody holds its queue

$f->settle;
turns();
$f->query('ALTER TABLE others RENAME TO away');
$sessions[0]->query(q(BEGIN; SELECT contratos_enqueue('2026-11-01', '2026-11-01', 'others')));
$f->day('2026-11-21', 21);
ok($f->at('2026-11-22 08:00'), 'the worker sleeps although it cannot record a failure');
cmp_ok($f->logged(qr/ERROR:  [^\n]*relation "public\.others" does not exist/), '<', 10,
	'a failure that cannot be recorded is not tried over and over');
unlike(turns(), qr/others/, 'NOTIFY: nothing on a failure that is not recorded');
$sessions[0]->query('ROLLBACK');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'others' AND day = '2026-11-21' AND sqlstate = '42P01')), 'the failure is recorded when the queue is free');
$f->settle;
like(turns(), qr/others failed/, 'NOTIFY: a failure that is recorded late');

$_->quit for @sessions, $listener;
$f->stop;
done_testing();
