# contratos_problems: a row for each thing that a person should look at, brought about as
# in life; what its hints do; and who may read it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(init => { allows_streaming => 1 }, conf => "contratos.retries = 0\nhot_standby = on");
my $bq = $f->bq;

# The rows in short: "tokens late 2026-11-20|...".
sub problems { return $f->query(($_[0] // '') . q(; SELECT concat_ws(' ', source, problem, replace(found, E'\n', '')) FROM contratos_problems)); }
sub hint { return $f->query("SELECT replace(hint, E'\\n', '') FROM contratos_problems WHERE problem = '$_[0]'"); }
# The same time for the views, when nothing is to be done by the worker.
sub seen_at { return problems("SET contratos.now = '$_[0]+00'"); }

# ---- all is well, and late

is(problems(), '', 'a new source: no problem');
is(seen_at('2026-11-21 11:59'), '', 'yesterday is not late before four hours after run_at');
is(seen_at('2026-11-21 12:00'), 'tokens late 2026-11-20', 'yesterday is late four hours after run_at');
$bq->delete_day(undef, '2026-11-20');
ok($f->at('2026-11-21 12:00'), 'the worker looks at a day that BigQuery does not have');
is(problems(), 'tokens late 2026-11-20: BigQuery has no rows of 2026-11-20 for source "tokens"', 'a day that is waited for is late');
$f->query(q(UPDATE contratos_sources SET enabled = false));
is(problems(), '', 'a disabled source has no problem');
$f->query(q(UPDATE contratos_sources SET enabled = true));
$f->settle;
ok($f->at('2026-11-21 20:01'), 'the worker looks again when ready_timeout is over');
is(problems(), 'tokens empty 2026-11-20', 'a day that stays empty is a problem');
like(hint('empty'), qr(^/\* if it is really empty: \*/ UPDATE contratos_sources SET allow_empty = true WHERE name = 'tokens';$), 'an empty day: what to do');
$f->query(hint('empty'));
ok($f->at('2026-11-21 20:02'), 'the worker looks after the hint');
is(problems(), '', 'an empty day: the hint cures it');
$f->query('UPDATE contratos_sources SET allow_empty = false');

# ---- failed, without the path of the key; one row for an outage

$f->day("2026-11-$_", 40) for 20 .. 26;
$bq->rule({ kind => 'insert', times => 0 }, { status => 403, reason => 'accessDenied', message => 'Access Denied: no' });
ok($f->at("2026-11-$_ 08:00"), "the worker is refused on the $_") for 22 .. 24;
like(problems(), qr/^tokens failed \d days, 2026-11-2\d to 2026-11-23: BigQuery: Access Denied: no(?:\ntokens checks [^\n]*)?$/, 'an outage of three days is one row, and perhaps one for its checks');
like(hint('failed'), qr/^SELECT found, hint FROM contratos_check\('tokens'\)/, 'a failed day: what to do');
$f->query(hint('failed'));
$bq->reset(tables => 0);
$f->query('SELECT * FROM contratos_backfill(4)');
$f->query(q(UPDATE contratos_sources SET enabled = true));
$f->settle;
is(problems(), '', 'after the outage: no problem');
ok($f->at('2026-11-25 08:00', 'contratos.credentials_file' => '/nowhere/key.json'), 'the worker looks for a key that is not there');
like(problems(), qr/^tokens failed [^:]*2026-11-24: could not open credentials file "\.\.\."/m, 'a failed day: the path of the key is not shown');
unlike(problems(), qr/nowhere/, 'no row has the path of the key');
ok($f->at('2026-11-25 08:01', 'contratos.credentials_file' => $bq->key_file), 'the worker has its key again');
$f->query(q(SELECT contratos_run('2026-11-24')));
is(problems(), '', 'after the key is back: no problem');

# ---- a detail that may quote a row

$f->query(q(ALTER TABLE tokens ADD CONSTRAINT few CHECK (block_number < 0) NOT VALID));
ok($f->at('2026-11-26 08:00'), 'the worker loads into a table that refuses the rows');
like(problems(), qr/^tokens failed 2026-11-25: new row for relation "tokens" violates check constraint "few"$/m, 'a failed day: no detail');
$f->query(q(ALTER TABLE tokens DROP CONSTRAINT few; SELECT contratos_run('2026-11-25')));

# ---- refused, differs

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->settle;
$f->day('2026-11-25', 4);
is($f->query('SELECT status FROM contratos_backfill(1)'), 'refused', 'a day that has shrunk is refused');
$f->query(q(UPDATE contratos_sources SET enabled = true));
like(problems(), qr/^tokens refused 2026-11-25: .*shrunk from 40 rows to 4$/m, 'a refused day');
is(hint('refused'), q(/* if BigQuery is right: */ SELECT * FROM contratos_run('2026-11-25', 'tokens', allow_shrink => true);), 'a refused day: what to do');
$f->query(hint('refused'));
$f->settle;
is(problems(), '', 'a refused day: the hint cures it');
# a trigger lets go of rows: the target never has what it should
$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->settle;
$f->query(q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, error) VALUES ('tokens', '2026-11-23', 'recheck', 'differs', now(), now(), 'it has 3 rows');
	UPDATE contratos_sources SET enabled = true, recheck_days = 0));
like(problems(), qr/^tokens differs 2026-11-23: it has 3 rows$/m, 'a day that differs');
is(hint('differs'), q(SELECT * FROM contratos_verify('2026-11-23', '2026-11-23', 'tokens');), 'a day that differs: what to do');
$f->query(hint('differs'));
$f->query(q(DELETE FROM contratos_runs WHERE status = 'differs'; UPDATE contratos_sources SET recheck_days = 7));
$f->settle;

# ---- missing further back than the worker looks

$f->query(q(UPDATE contratos_sources SET catchup_days = 3, start_date = '2026-11-18'));
$f->settle;
is(problems(), 'tokens missing 2 days, 2026-11-18 to 2026-11-19', 'days that the worker does not look for');
is(hint('missing'), q(SELECT contratos_enqueue('2026-11-18', '2026-11-19', 'tokens');), 'missing days: what to do');
$f->day("2026-11-$_", 5) for 18, 19;
$f->query(hint('missing'));
ok($f->poll('SELECT count(*) = 0 FROM contratos_problems'), 'missing days: the hint loads them');
like($f->query(q(UPDATE contratos_sources SET start_date = '2026-11-17'; SET search_path = pg_catalog; SELECT replace(hint, E'\n', '') FROM public.contratos_problems)), qr/^SELECT public\.contratos_enqueue/, 'a hint has the schema where it is needed');
$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-18', catchup_days = 31));
$f->settle;

# ---- the bytes of the day

$f->day('2026-11-26', 40);
ok($f->at('2026-11-27 08:00', 'contratos.max_bytes_per_day' => '1MB'), 'the worker has loaded a day');
$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', only_missing => false)));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_problems WHERE problem = 'budget')), 'days that the byte limit has stopped');
like(hint('budget'), qr/^Raise contratos\.max_bytes_per_day/, 'the byte limit: what to do');
ok($f->at('2026-11-27 08:01', 'contratos.max_bytes_per_day' => '0'), 'the limit is gone');
ok($f->poll(q(SELECT count(*) = 0 FROM contratos_problems)), 'the limit is gone: no problem');

# ---- upstream has died

$bq->delete_day(undef, "2026-11-$_") for 27 .. 30;
for my $day (28 .. 30)
{
	ok($f->at("2026-11-$day 08:00"), "BigQuery has nothing on the $day");
	ok($f->at("2026-11-$day 20:01"), "BigQuery has nothing on the evening of the $day");
	is(problems(), $day < 30 ? ($day == 28 ? 'tokens empty 2026-11-27' : 'tokens empty 2 days, 2026-11-27 to 2026-11-28') : 'tokens upstream BigQuery has no rows since 2026-11-26',
		$day < 30 ? "BigQuery has nothing on the $day: an empty day" : 'BigQuery has nothing for three days: upstream, and that alone');
}
like(hint('upstream'), qr/^Ask who fills the BigQuery table; if nobody/, 'upstream: what to do');
$f->query('UPDATE contratos_sources SET allow_empty = true');
ok($f->at('2026-11-30 20:02'), 'the worker looks where empty days are allowed');
is($f->query(q(SELECT string_agg(DISTINCT rows::text, ',') FROM contratos_days WHERE day > '2026-11-26')), 0, 'the empty days are loaded as such');
is(problems(), 'tokens upstream BigQuery has no rows since 2026-11-26', 'upstream has died: also where empty days are loaded');
$f->day('2026-11-29', 3);
$f->query(q(SELECT contratos_run('2026-11-29')));
is(problems(), '', 'BigQuery has rows again: no problem');
is(seen_at('2026-12-30 06:00') =~ /upstream/ ? 1 : 0, 0, 'a server that has not asked says nothing of upstream');

# ---- checks that fail

$f->query(q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, error)
	VALUES ('tokens', '2026-11-20', 'recheck', 'failed', '2026-11-30 21:00Z', '2026-11-30 21:00Z', E'could not connect\nDETAIL:  secret')));
unlike(seen_at('2026-11-30 21:00'), qr/checks/, 'a check that fails once');
like(seen_at('2026-12-03 21:00'), qr/^tokens checks loaded days are not compared: could not connect$/m, 'checks that fail for a day');
$f->query(q(DELETE FROM contratos_runs WHERE error LIKE 'could not connect%'));

# ---- the worker

$f->query(q(INSERT INTO _contratos_housekeeping VALUES ('pruning', '42501', E'permission denied for "/etc/key"\nDETAIL:  x', now())));
is(problems(), 'housekeeping pruning fails: permission denied for "..."', 'a step of the worker that fails');
$f->query(hint('housekeeping'));
$f->query('DELETE FROM _contratos_housekeeping');
$f->query('CREATE ROLE watcher; GRANT pg_monitor TO watcher; CREATE ROLE guest; CREATE ROLE granted; GRANT SELECT ON contratos_problems TO granted');
is($f->query("SET ROLE $_; SELECT count(*) FROM contratos_problems"), 0, "$_ reads contratos_problems, and sees the worker") for qw(watcher granted);
like($f->fails('SET ROLE guest; SELECT * FROM contratos_problems'), qr/ERROR:  42501/, 'an ordinary role does not read contratos_problems');
is($f->query('BEGIN READ ONLY; SELECT count(*) FROM contratos_problems; COMMIT'), 0, 'contratos_problems works in a read-only transaction');

$f->node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($f->node, 'base', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', 'SELECT count(*) FROM contratos_problems'), 0, 'a standby needs no worker');
$standby->stop;

$f->set('contratos.databases' => '');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_problems WHERE source IS NULL AND problem = 'worker')), 'no worker is a problem, and one row');
like(hint('worker'), qr/^SELECT found, hint FROM contratos_check\(\) WHERE status <> 'ok';$/, 'no worker: what to do');
like($f->query(hint('worker')) =~ tr/\n//dr, qr/contratos\.databases does not list postgres/, 'no worker: the statement of the hint says why');
$f->set('contratos.databases' => 'elsewhere');
ok($f->poll(q(SELECT hint LIKE '%elsewhere%' FROM contratos_check() WHERE check_name = 'database')), 'no worker: another database has one');
$f->query($_) for split /(?<=;) /, $f->query(q(SELECT replace(hint, E'\n', '') FROM contratos_check() WHERE check_name = 'database'));
ok($f->poll('SELECT count(*) = 0 FROM contratos_problems'), 'no worker: the hint of contratos_check() cures it');
is($f->query('SHOW contratos.databases'), 'elsewhere, postgres', 'no worker: the hint leaves the other databases');
$f->query('ALTER SYSTEM RESET contratos.databases');
$f->set('contratos.databases' => '');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_problems WHERE problem = 'worker')), 'no worker again');
$f->query('UPDATE contratos_sources SET enabled = false');
is(problems(), '', 'no worker is no problem where no source is enabled');

$f->stop;
done_testing();
