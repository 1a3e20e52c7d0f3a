# The worker among others: it stops at once whatever it is doing, holds up
# nobody, and outlives what is done to its database, its extension, its server.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

# No time limit may end what the test holds.
my $f = Contratos::Worker->new(
	init => { allows_streaming => 1 },
	conf => q(
contratos.connect_timeout = '10min'
contratos.request_timeout = '60min'
contratos.job_timeout = '60min'));
my $bq = $f->bq;
my $node = $f->node;
my $endpoint = $bq->url;

sub status_of
{
	my ($day) = @_;
	return $f->query("SELECT string_agg(status, ' ' ORDER BY id) FROM contratos_runs WHERE day = '2026-11-$day'");
}

# Leaves a day to the worker, which is known to have looked at it by the ledger.
sub enqueue
{
	my ($day) = @_;
	$f->day("2026-11-$day", 50);
	return $f->query("SET client_min_messages = error; SELECT contratos_enqueue('2026-11-$day', '2026-11-$day', only_missing => false)");
}

sub ends
{
	my ($day, $status) = @_;
	return $f->poll("SELECT coalesce((SELECT status FROM contratos_runs WHERE day = '2026-11-$day' AND NOT only_cost ORDER BY id DESC LIMIT 1), '') = '$status'")
	  && $f->settle;
}

sub ended { return $f->poll("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $_[0]"); }

# Brings the worker to where it is held, with a day in hand.
sub hold
{
	my ($day, $match, $action, $state) = @_;
	my $rule = $bq->rule($match, $action);
	enqueue($day);
	$bq->wait(rule => $rule, state => $state // 'stalled');
	return $rule;
}

# ---- told to stop, in any phase

my $day = 1;

# $begin leaves the worker in the phase with this day in hand, $end lets go.
sub stops
{
	my ($phase, $begin, $end) = @_;
	$begin->(++$day);
	ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND state = 'active'
		AND wait_event_type = 'Extension')), "$phase: the worker waits");
	my $pid = $f->worker;
	is($f->query("SELECT pg_terminate_backend($pid)"), 't', "$phase: the worker is terminated");
	ok(ended($pid), "$phase: the worker ends");
	$end->();
	ok(ends($day, 'interrupted'), "$phase: the next worker finds the run interrupted");

	$begin->(++$day);
	ok($node->stop('fast', fail_ok => 1), "$phase: a fast shutdown does not wait for the worker");
	$end->();
	$node->start;
	ok(ends($day, 'interrupted'), "$phase: the run is interrupted after a fast shutdown");
	return;
}

my $release = sub { $bq->release };
stops('a job that runs', sub { hold($_[0], { kind => 'insert' }, { job_pending => 1 }, 'answered') }, $release);
stops('an answer that stays away', sub { hold($_[0], { kind => 'insert' }, { stall => 'before_headers' }) }, $release);
stops('rows half read', sub { hold($_[0], { kind => 'results' }, { stall => 'mid_body' }) }, $release);
stops('a pause before the next try',
	sub { hold($_[0], { kind => 'results' }, { status => 503, headers => { 'Retry-After' => '600' } }, 'answered') }, $release);
stops(
	'a handshake that never ends',
	sub {
		$f->at('2026-11-21 06:00', 'contratos.endpoint' => $bq->stall_tls_url);
		enqueue($_[0]);
		$f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%waiting for BigQuery'));
	},
	sub { $node->append_conf('postgresql.conf', "contratos.endpoint = '$endpoint'"); });
$node->reload;
$f->settle;

# ---- canceled while it has nothing to do

my $pid = $f->worker;
is($f->query("SELECT pg_cancel_backend($pid)"), 't', 'an idle worker gets a cancel');
ok($f->settle, 'a cancel does not end an idle worker');
enqueue(20);
ok(ends(20, 'succeeded'), 'a cancel does not end the next load of an idle worker');
is($f->worker, $pid, 'a cancel leaves the same worker');

# ---- a reload while it is busy; settings of the database

my $rule = hold(20, { kind => 'insert' }, { job_pending => 1 }, 'answered');
my $plainly = q(SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed');
$f->query(
	qq(ALTER DATABASE postgres SET contratos.page_rows = 10;
	   ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
	   ALTER DATABASE postgres SET default_transaction_read_only = on));
$f->set('contratos.now' => '2026-11-21 06:01+00');
is($f->worker, $pid, 'a busy worker does not end for a reload');
$bq->release($rule);
ok($f->poll("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND pid <> $pid"), 'a worker that was busy is replaced after a reload');
$f->settle;
is(status_of(20), 'succeeded succeeded', 'a busy worker finishes its day after a reload');
$f->query("$plainly; SELECT contratos_enqueue('2026-11-20', '2026-11-20', only_missing => false)");
ok($f->poll(q(SELECT count(*) = 3 FROM contratos_runs WHERE day = '2026-11-20' AND status = 'succeeded')), 'the worker after a reload loads days');
is($f->query(q(SELECT pages FROM contratos_runs WHERE day = '2026-11-20' AND NOT only_cost ORDER BY id DESC LIMIT 1)), 5, 'a worker uses the settings of the database');
$f->query("$plainly; ALTER DATABASE postgres RESET ALL");
ok($f->at('2026-11-21 06:02'), 'a worker starts without settings of the database');

# ---- whom it connects as

$f->set('contratos.now' => '2026-11-21 06:02:10+00', 'contratos.role' => 'loader');
ok($node->wait_for_log(qr/WARNING:  role "loader" of contratos\.role does not exist\n.*Database "postgres" has no worker until it does/), 'a contratos.role that does not exist is logged');
ok($f->poll(q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'contratos worker')), 'a contratos.role that does not exist: no worker is started');
$f->query('CREATE ROLE loader LOGIN SUPERUSER');
ok($f->at('2026-11-21 06:02:20'), 'a worker starts when contratos.role exists');
is($f->activity('usename'), 'loader', 'the worker connects as contratos.role');
is($f->logged(qr/role "loader" of contratos\.role does not exist/), 1,
	'a contratos.role that does not exist is logged once');
ok($f->at('2026-11-21 06:02:30', 'contratos.role' => ''), 'a worker starts without contratos.role');
is($f->activity('usename'), 'postgres', 'the worker connects as the bootstrap superuser without contratos.role');
$f->query('DROP ROLE loader');

# ---- other people's databases, and ours

$f->query('CREATE DATABASE other');
$f->query('CREATE DATABASE mine');
for my $phase ([ { kind => 'insert' }, { job_pending => 1 }, 'answered' ], [ { kind => 'results' }, { stall => 'mid_body' }, 'stalled' ])
{
	$rule = hold(19, @$phase);
	my $drop = Contratos::Session->new($node);
	is($drop->query('DROP DATABASE other')->{err}, '', 'another database is dropped while the worker is busy');
	$drop->query('CREATE DATABASE other');
	is(status_of(19) =~ s/.* //r, 'running', 'the worker stays busy while another database is dropped');
	$bq->release($rule);
	ok(ends(19, 'succeeded'), 'a day is loaded after another database was dropped');
}

$f->use_database('mine');
$f->query('CREATE EXTENSION contratos');
ok($f->at('2026-11-21 06:03', 'contratos.databases' => 'postgres, mine'), 'a second database is served');
$rule = hold(18, { kind => 'results' }, { stall => 'mid_body' });
$f->use_database('postgres');
is($f->query('DROP DATABASE mine WITH (FORCE); SELECT 1'), 1,
	'a served database can be dropped by force while its worker is busy');
$bq->release;
ok($f->settle, 'the other worker outlives DROP DATABASE WITH (FORCE)');
ok($f->poll(q(SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'mine')), 'a dropped database has no worker');
ok($node->wait_for_log(qr/LOG:  database "mine" of contratos\.databases does not exist/),
	'a dropped database is logged');
$f->at('2026-11-21 06:04', 'contratos.databases' => 'postgres');

# What PostgreSQL says of statements that want a database without sessions.
sub refused
{
	my ($who) = @_;
	foreach my $statement (
		[ 'DROP DATABASE mine' => 'database' ],
		[ 'ALTER DATABASE mine RENAME TO ours' => 'database' ],
		[ 'CREATE DATABASE copy TEMPLATE mine' => 'source database' ])
	{
		like($f->fails($statement->[0]), qr/ERROR:  55006: $statement->[1] "mine" is being accessed by other users/, "$who keeps $statement->[0] waiting, and in vain");
	}
	return;
}

$f->query('CREATE DATABASE mine');
ok($f->at('2026-11-21 06:05', 'contratos.databases' => 'postgres, mine') && $f->settle('mine'),
	'a second database has an idle worker');
my $mine = $f->worker('mine');
refused('an idle worker');
is($f->worker('mine'), $mine, 'an idle worker outlives refused statements on its database');
$f->set('contratos.databases' => 'postgres');
is($f->query('CREATE DATABASE copy TEMPLATE mine; ALTER DATABASE mine RENAME TO ours; SELECT 1'), 1, 'a database off the list can be copied and renamed');
$f->settle;
$f->set('contratos.databases' => 'postgres, ours');
ok($f->settle('ours'), 'a renamed database on the list gets a worker');
$f->set('contratos.databases' => 'postgres');
is($f->query('DROP DATABASE ours; DROP DATABASE copy; SELECT 1'), 1, 'a renamed database off the list can be dropped');
$f->settle;

# ---- databases to be copied

$f->query('CREATE DATABASE model IS_TEMPLATE true');
my $template = qr/WARNING:  database "(\w+)" of contratos\.databases is a template, and gets no worker\n/;
ok($f->at('2026-11-21 06:06', 'contratos.databases' => 'postgres, model, template1, template0'), 'templates are put on the list');
$node->reload;
ok($f->at('2026-11-21 06:07'), 'templates are on the list at another reload');
is(join(' ', sort(slurp_file($node->logfile) =~ /$template/g)), 'model template0 template1',
	'templates on the list are logged once each');
is($f->query(q(SELECT count(*) FROM pg_stat_activity WHERE datname IN ('model', 'template0', 'template1'))), 0, 'templates on the list get no worker');
is($f->query('CREATE DATABASE a; CREATE DATABASE b TEMPLATE model; DROP DATABASE a; DROP DATABASE b; SELECT 1'), 1, 'templates on the list can be copied');
is($node->safe_psql('model', q(CREATE EXTENSION contratos;
	SELECT check_name || ' ' || status || ' ' || translate(found, chr(10), '') FROM contratos_check() WHERE check_name IN ('database', 'worker'))),
	"worker skipped the database is a template\ndatabase warning contratos.databases has model, which is a template and gets no worker", 'contratos_check() reports a template on the list');
$node->safe_psql('model', 'DROP EXTENSION contratos');
$f->query('ALTER DATABASE model IS_TEMPLATE false');
$node->reload;
ok($f->settle('model'), 'a database that is not a template any more gets a worker');
$f->query('ALTER DATABASE model IS_TEMPLATE true');
ok($f->at('2026-11-21 06:08'), 'a database on the list becomes a template');
ok($f->poll(q(SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'model')),
	'a database that became a template loses its worker');
$f->at('2026-11-21 06:09', 'contratos.databases' => 'postgres');

# ---- DROP EXTENSION while it is busy

my $claims = q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid IN (25345, 25346));
my $person = Contratos::Session->new($node);
$pid = $f->worker;
$rule = hold(17, { kind => 'results' }, { stall => 'mid_body' });
ok($f->poll(q(SELECT count(*) = 1 FROM pg_locks WHERE granted AND classid = 'pg_extension'::regclass)), 'the worker\'s load is in its transaction');
$person->send('SET client_min_messages = warning; DROP EXTENSION contratos CASCADE');
ok($f->poll(q(SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND classid = 'pg_extension'::regclass)), 'DROP EXTENSION waits while rows come in');
$bq->release($rule);
is($person->finish->{err}, '', 'DROP EXTENSION succeeds after the load');
ok($f->settle, 'the worker idles after DROP EXTENSION');
is($f->query(q(SELECT count(*) FROM tokens WHERE block_timestamp >= '2026-11-17Z' AND block_timestamp < '2026-11-18Z')), 50, 'the rows outlive DROP EXTENSION');
$f->query('CREATE EXTENSION contratos');
ok($f->poll('SELECT count(*) = 1 FROM contratos_sources'), 'CREATE EXTENSION wakes the worker after DROP EXTENSION');
$f->settle;

$rule = hold(17, { kind => 'insert' }, { job_pending => 1 }, 'answered');
is($person->query('DROP EXTENSION contratos CASCADE')->{err}, '',
	'DROP EXTENSION does not wait while BigQuery runs the job');
$bq->release($rule);
ok($f->settle, 'the worker idles after DROP EXTENSION during a job');
is($f->query($claims), 0, 'the worker holds no claim after DROP EXTENSION');
$f->query('CREATE EXTENSION contratos');
ok($f->poll('SELECT count(*) = 1 FROM contratos_sources'),
	'CREATE EXTENSION wakes the worker after DROP EXTENSION during a job');
$f->settle;
enqueue(17);
ok(ends(17, 'succeeded'), 'a new extension\'s days are loaded');
is($f->worker, $pid, 'DROP EXTENSION and CREATE EXTENSION keep the worker\'s process');

# ---- ALTER EXTENSION UPDATE while it is busy, to a version the library is not of

my $versions = qr/LOG:  database "postgres": extension "contratos" is of version 1\.99, but the library is of version/;
$rule = hold(16, { kind => 'insert' }, { job_pending => 1 }, 'answered');
my ($version) = split /\n/, $f->query(q(SELECT extversion FROM pg_extension WHERE extname = 'contratos'));
$f->query(q(UPDATE pg_extension SET extversion = '1.99' WHERE extname = 'contratos'));
$bq->release($rule);
ok(ends(16, 'succeeded'), 'ALTER EXTENSION UPDATE: the worker finishes its day');
ok($node->wait_for_log($versions), 'ALTER EXTENSION UPDATE: the worker logs that versions differ');
enqueue(15);
ok($f->settle, 'ALTER EXTENSION UPDATE: the worker idles while versions differ');
is(status_of(15), 'queued', 'ALTER EXTENSION UPDATE: days stay queued while versions differ');
is($f->logged($versions), 1, 'ALTER EXTENSION UPDATE: the versions are logged once');
$f->query("UPDATE pg_extension SET extversion = '$version' WHERE extname = 'contratos'; UPDATE contratos_sources SET enabled = enabled");
ok(ends(15, 'succeeded'), 'ALTER EXTENSION UPDATE: the worker goes on when versions are equal');
is($f->worker, $pid, 'ALTER EXTENSION UPDATE keeps the worker\'s process');

# ---- a worker whose catalog cache has it that there is no extension

for my $round (1 .. 10)
{
	$f->query('DROP EXTENSION contratos CASCADE');
	$f->at('2026-11-21 06:04');
	$f->query('CREATE EXTENSION contratos');
	ok($f->poll('SELECT count(*) = 1 FROM contratos_sources'),
		"CREATE EXTENSION wakes the worker, round $round") or last;
}
$f->settle;

# ---- what it remembers is of what is there

# How many bytes of a memory context are in use, as the process itself says in the log.
sub used
{
	my ($backend_type, $context) = @_;
	my $at = -s $node->logfile;
	my $pid = $f->query("SELECT pid FROM pg_stat_activity WHERE backend_type = '$backend_type' AND (datname = 'postgres' OR datname IS NULL)");
	$f->query("SELECT pg_log_backend_memory_contexts($pid)");
	for (my $until = time + $PostgreSQL::Test::Utils::timeout_default; time < $until; select undef, undef, undef, 0.02)
	{
		my $log = slurp_file($node->logfile, $at);
		return $1 if $log =~ /\[$pid\] LOG: .*?\b$context: \d+ total in \d+ blocks; \d+ free \(\d+ chunks\); (\d+) used/;
		return -1 if $log =~ /\[$pid\] LOG: .*Grand total/;
	}
	return -1;
}

# Polls with a deadline; the last number seen.
sub until_used
{
	my ($wanted, @what) = @_;
	my $used;
	for (my $until = time + $PostgreSQL::Test::Utils::timeout_default; time < $until; select undef, undef, undef, 0.02)
	{
		$used = used(@what);
		last if $wanted->($used);
	}
	return $used;
}

my @sources = ('contratos worker', 'contratos sources');
$f->query("CREATE TABLE many_$_ (LIKE tokens)") for 1 .. 50;
my $alone = used(@sources);
cmp_ok($alone, '>', 0, "the worker's memory of one source is $alone bytes");
for my $round (1 .. 3)
{
	$f->query(join ';', map { "INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled)
		VALUES ('round_${round}_$_', 'bigquery_tokens', 'many_$_', 'block_timestamp', false)" } 1 .. 50);
	cmp_ok(until_used(sub { $_[0] > 50 * $alone / 2 }, @sources), '>', 50 * $alone / 2, "round $round: fifty more sources take more of the worker's memory");
	$f->query(q(DELETE FROM contratos_sources WHERE name LIKE 'round%'));
	cmp_ok(until_used(sub { $_[0] < 4 * $alone }, @sources), '<', 4 * $alone, "round $round: the worker frees the memory of deleted sources");
}

my @databases = ('contratos launcher', 'contratos databases');
$alone = used(@databases);
cmp_ok($alone, '>', 0, "the launcher's memory of one database is $alone bytes");
for my $round (1 .. 2)
{
	$f->set('contratos.databases' => join ', ', 'postgres', map { "round_${round}_$_" } 1 .. 50);
	cmp_ok(until_used(sub { $_[0] > 50 * 64 }, @databases), '>', 50 * 64, "round $round: fifty more databases take more of the launcher's memory");
	$f->set('contratos.databases' => 'postgres');
	cmp_ok(until_used(sub { $_[0] < 2 * $alone + 1024 }, @databases), '<', 2 * $alone + 1024, "round $round: the launcher frees the memory of removed databases");
}
$f->settle;

# ---- a standby

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', "contratos.now = '2026-11-21 08:00+00'");
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'contratos%')), 0,
	'a standby has no worker');
is($standby->safe_psql('postgres', q(SELECT count(*) > 0 FROM contratos_verify('2026-11-20', '2026-11-20'))), 't',
	'contratos_verify() works on a standby');
$f->day('2026-11-20', 70);
$bq->reset(tables => 0);
$node->stop('immediate');
is($f->requests, '', 'BigQuery is not asked for loads by a standby');
$standby->promote;
ok($standby->poll_query_until('postgres', q(SELECT count(*) = 1 FROM contratos_runs WHERE cause = 'schedule' AND status = 'succeeded')),
	'the worker of a promoted standby loads the day');
is($standby->safe_psql('postgres', q(SELECT count(*) FROM tokens WHERE block_timestamp >= '2026-11-20Z')), 70, 'a promoted standby has the day\'s rows');

$person->quit;
$standby->stop;
$bq->stop;
done_testing();
