# ALTER EXTENSION UPDATE, by scripts that only this test has: while rows come
# in, while BigQuery thinks, while the worker is idle; to a version that the
# library is not of, and to its own; and that a dump of the result is complete.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my ($share) = run_command([ $ENV{PG_CONFIG} || 'pg_config', '--sharedir' ]);
plan skip_all => "no update script can be put into $share/extension" unless -w "$share/extension";

# As a release would have it: a column more in each table.  Only pg_catalog is
# searched, the tables are locked first, in the order in which a load comes to
# them (or the two could deadlock), and the worker is woken last.
my $begin = 'SET LOCAL search_path = pg_catalog, pg_temp;
LOCK TABLE @extschema@.contratos_sources, @extschema@.contratos_runs, @extschema@.contratos_rejects IN ACCESS EXCLUSIVE MODE;';
my $wake = 'DELETE FROM @extschema@.contratos_sources WHERE false;';
my %columns = (contratos_sources => 'remark text', contratos_runs => "weather text NOT NULL DEFAULT 'fair'", contratos_rejects => 'remark text');
my %scripts = (
	"$share/extension/contratos--1.0--1.0.1.sql" => join("\n", $begin, (map { "ALTER TABLE \@extschema\@.$_ ADD COLUMN $columns{$_};" } sort keys %columns), $wake),
	"$share/extension/contratos--1.0.1--1.0.sql" =>
	  join("\n", $begin, (map { "ALTER TABLE \@extschema\@.$_ DROP COLUMN $1;" if $columns{$_} =~ /(\w+)/ } sort keys %columns), $wake));

# also when the test is stopped
local $SIG{INT} = local $SIG{TERM} = sub { exit 1 };
END { unlink keys %scripts; }
unlink keys %scripts;
append_to_file($_, "$scripts{$_}\n") for sort keys %scripts;

my $f = Contratos::Worker->new(
	conf => q(
contratos.connect_timeout = '10min'
contratos.request_timeout = '60min'
contratos.job_timeout = '60min'));
my ($bq, $node) = ($f->bq, $f->node);
my $pid = $f->worker;
my $person = Contratos::Session->new($node);
$person->query('SET client_min_messages = error');

sub enqueue
{
	my ($day) = @_;
	return $f->query("SET client_min_messages = error; SELECT contratos_enqueue('2026-11-$day', '2026-11-$day', only_missing => false)");
}

# Brings the worker to where it is held, with a day in hand.
sub hold
{
	my ($day, $match, $action, $state) = @_;
	my $rule = $bq->rule($match, $action);
	enqueue($day);
	$bq->wait(rule => $rule, state => $state);
	return $rule;
}

sub ends
{
	my ($day, $status) = @_;
	return $f->poll("SELECT coalesce((SELECT status FROM contratos_runs WHERE day = '2026-11-$day' AND NOT only_cost ORDER BY id DESC LIMIT 1), '') = '$status'")
	  && $f->settle;
}

# What a day's last attempt has come to, in both tables.
sub outcome
{
	my ($day) = @_;
	return $f->query(
		qq(SELECT status, rows_loaded, values_altered, (SELECT count(*) FROM contratos_rejects WHERE run = r.id),
			(SELECT count(*) FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = r.day)
		  FROM contratos_runs r WHERE day = '2026-11-$day' AND NOT only_cost ORDER BY id DESC LIMIT 1));
}

# One more row of a day, with a value that cannot be kept.
sub add_reject
{
	my ($day) = @_;
	$bq->table(undef, append => 1, rows => [ $f->row(decimals => '0x12', block_timestamp => "2026-11-$day 12:00:00+00:00") ]);
	return;
}

sub version { return $f->query(q(SELECT extversion FROM pg_extension WHERE extname = 'contratos')); }

my $update = 'ALTER EXTENSION contratos UPDATE TO';
my $says = qr/LOG:  database "postgres": extension "contratos" is of version 1\.0\.1, but the library is of version 1\.0\n/;

# ---- while rows come in

$f->day('2026-11-17', 50);
add_reject('17');
my $rule = hold('17', { kind => 'results' }, { stall => 'mid_body' }, 'stalled');
ok($f->poll(q(SELECT count(*) = 1 FROM pg_locks WHERE granted AND classid = 'pg_extension'::regclass)), 'update while rows come in: the load is in its transaction');
$person->send("$update '1.0.1'");
ok($f->poll(q(SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation = 'contratos_runs'::regclass)), 'update while rows come in: it waits for the load');
$bq->release($rule);
is($person->finish->{err}, '', 'update while rows come in: it succeeds after the load');
ok(ends('17', 'succeeded'), 'update while rows come in: the load succeeds');
is(outcome('17'), 'succeeded|51|1|1|51', 'update while rows come in: the load has its rows and rejects');
is(version(), '1.0.1', 'update while rows come in: the extension has the new version');
is($f->query(q(SELECT weather FROM contratos_runs WHERE day = '2026-11-17')), 'fair',
	'update while rows come in: the ledger has the new column');
ok($node->wait_for_log($says), 'update while rows come in: the worker logs that the library is older');

# ---- the older library, in a session and in the worker

$f->day('2026-11-15', 50);
add_reject('15');
is($person->query(q(SELECT status, rows_loaded FROM contratos_run('2026-11-15')))->{out}, 'succeeded|51', 'an older library loads a day in a session');
is(outcome('15'), 'succeeded|51|1|1|51', 'an older library records the load of a session');
is($person->query(q(SELECT count(*) FROM contratos_backfill_range('2026-11-15', '2026-11-16', only_missing => true)))->{out}, '1', 'an older library reads the ledger');
$f->query(q(DELETE FROM contratos_runs WHERE day = '2026-11-16'; DELETE FROM tokens WHERE block_timestamp >= '2026-11-16Z' AND block_timestamp < '2026-11-17Z'));
$f->day('2026-11-16', 50);
is(enqueue('16'), 1, 'an older library queues a day');
ok($f->settle, 'an older library\'s worker looks at the queue');
is($f->query(q(SELECT status FROM contratos_runs WHERE day = '2026-11-16')), 'queued',
	'an older library\'s worker leaves the day queued');
is($f->logged($says), 1, 'an older library is logged once');
my $warned = qr/WARNING:  55000: extension "contratos" is of version 1\.0\.1, but the library is of version 1\.0\nHINT:  Run ALTER EXTENSION contratos UPDATE; .*restart the server/;
my $versions = q(SET client_min_messages = warning; SELECT string_agg(version, ' ') FROM contratos_version() WHERE component IN ('extension', 'library'));
my $told = $person->query($versions);
is($told->{out}, '1.0.1 1.0', 'contratos_version() has both versions');
like($told->{err}, $warned, 'contratos_version() warns that versions differ');

# ---- to the library's own version

is($person->query("$update '1.0'")->{err}, '', 'an update does not wait for an idle worker');
ok(ends('16', 'succeeded'), 'an update to the library\'s version wakes the worker');
is(outcome('16'), 'succeeded|50|0|0|50', 'an update to the library\'s version: the day is loaded');

$told = $person->query($versions);
is("$told->{out}$told->{err}", '1.0 1.0', 'contratos_version() has no warning when versions are equal');
$person->query('SET client_min_messages = error');

# ---- while BigQuery thinks

$f->day('2026-11-14', 50);
add_reject('14');
$rule = hold('14', { kind => 'insert' }, { job_pending => 1 }, 'answered');
is($person->query("$update '1.0.1'")->{err}, '', 'an update does not wait while BigQuery runs the job');
is($f->query(q(SELECT status FROM contratos_runs WHERE day = '2026-11-14')), 'running',
	'update during a job: the load is under way');
$bq->release($rule);
ok(ends('14', 'succeeded'), 'update during a job: the load succeeds');
is(outcome('14'), 'succeeded|51|1|1|51', 'update during a job: the load has its rows and rejects');
is($f->logged($says), 2, 'update during a job: the worker logs that the library is older');
is($f->worker, $pid, 'updates keep the worker\'s process');

# ---- a dump of the updated extension

my $sums = q(SELECT count(*), md5(string_agg(r::text, ',' ORDER BY id)) FROM contratos_runs r UNION ALL
	SELECT count(*), md5(string_agg(r::text, ',' ORDER BY run, row_number)) FROM contratos_rejects r UNION ALL
	SELECT count(*), md5(string_agg(s::text, ',')) FROM contratos_sources s UNION ALL
	SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM tokens t);
my $file = PostgreSQL::Test::Utils::tempdir . '/dump';
$f->query(q(UPDATE contratos_runs SET weather = 'rain' WHERE id % 2 = 0; UPDATE contratos_rejects SET remark = 'seen'; UPDATE contratos_sources SET remark = 'ours'));
my $expected = $f->query($sums);
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('postgres') ], 'an updated extension is dumped');
$f->query('CREATE DATABASE copy');
$f->use_database('copy');
$f->query(q(CREATE EXTENSION contratos VERSION '1.0.1'));
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $file ], 'an updated extension is restored where it has that version');
is($f->query($sums), $expected, 'an updated extension is restored with each row and new column');
is($f->query(q(SET client_min_messages = error; SELECT status, rows_loaded, rows_replaced FROM contratos_run('2026-11-16'))), 'succeeded|50|50', 'days can be loaded after an updated extension was restored');

$person->quit;
$f->stop;
done_testing();
