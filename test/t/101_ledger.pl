# What the ledger tells while days end, how the queue behaves between sessions,
# and what its calls say when no worker is there.
use strict;
use warnings;
use utf8;

use Encode qw(decode);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(conf => q(contratos.databases = '"Mixed Case, and a comma", postgres , postgres'));
my $day = '2026-11-20';

# The payloads that a session hears which runs these statements, raw.
sub payloads
{
	my ($sql) = @_;
	my ($code, $out, $err) = $f->node->psql('postgres', "LISTEN contratos;\n$sql", on_error_stop => 0);
	return $out =~ /^Asynchronous notification "contratos" with payload "(.*)" received from/mg;
}

# The same, understood: JSON in UTF-8.
sub heard { return map { JSON::PP->new->utf8->decode($_) } payloads($_[0]); }

sub last_run { return $f->query('SELECT max(id) FROM contratos_runs WHERE NOT only_cost') + 0; }

$f->query('SELECT contratos_setup()');

# ---- settings of the worker

is($f->query('SHOW contratos.databases'), '"Mixed Case, and a comma", postgres , postgres', 'contratos.databases is shown as it was written');

# ---- the end of a day is told

$f->day($day, 50);
my @told = heard("SELECT contratos_run('$day')");
is_deeply(
	\@told,
	[ { source => 'tokens', day => $day, status => 'succeeded', rows => 50, run => last_run(), sqlstate => undef, error => undef } ],
	'NOTIFY: a load');

is_deeply([ heard("BEGIN; SELECT contratos_run('$day'); ROLLBACK") ], [],
	'NOTIFY: nothing for a load that is rolled back');
is_deeply([ heard("SELECT contratos_run('2026-11-19', allow_shrink => NULL)") ], [],
	'NOTIFY: nothing for a call that is refused');

# ---- an error of any length and contents

$f->query(
	qq(CREATE FUNCTION grumble() RETURNS trigger LANGUAGE plpgsql AS
	   'BEGIN RAISE EXCEPTION USING MESSAGE = U&''"\\005C\\000A\\0001x'' || repeat(U&''\\00E9'', 10000); END';
	   CREATE TRIGGER grumble BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION grumble()));
$f->day('2026-11-19', 5);
for my $shift (0, 1)
{
	my $source = $shift ? 'tokens2' : 'tokens';
	$f->query(
		q(CREATE TABLE tokens2 (LIKE tokens); CREATE TRIGGER grumble BEFORE INSERT ON tokens2 FOR EACH ROW EXECUTE FUNCTION grumble();
		   INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
		   VALUES ('tokens2', 'bigquery_tokens', 'tokens2', 'block_timestamp'))) if $shift;
	my ($raw) = payloads("SELECT contratos_backfill_range('2026-11-19', '$day', '$source')");
	my $length = length $raw;
	ok($length <= 4096 && $length > 4000, "NOTIFY: a long error is cut to what fits ($length bytes)");
	my $text = eval { decode('UTF-8', $raw, Encode::FB_CROAK) };
	ok(defined $text, 'NOTIFY: a long error is cut between characters');
	my $notice = JSON::PP->new->decode($text // '{}');
	like($notice->{error}, qr/\A"\\\n\x01xé{1000,}\z/, 'NOTIFY: a long error that was cut is valid JSON');
	is_deeply(
		{ %$notice, error => undef },
		{ source => $source, day => '2026-11-19', status => 'failed', rows => undef, run => last_run() - 1, sqlstate => 'P0001', error => undef },
		'NOTIFY: a long error that was cut has the other keys');
}
is($f->query(q(SELECT count(*), min(length(error)) FROM contratos_runs WHERE status = 'failed')), '4|10005', 'the ledger has a long error whole');
$f->query('DROP TRIGGER grumble ON tokens');

# ---- what is queued and canceled

like(
	$f->messages(q(SELECT contratos_enqueue('2026-11-01', '2026-11-02'))),
	qr/NOTICE:  00000: no worker is running in this database: the days stay queued\nHINT: .*shared_preload_libraries/,
	'contratos_enqueue() has a NOTICE when no worker is running');
is($f->messages(q(SELECT contratos_enqueue('2026-11-01', '2026-11-02'))), '',
	'contratos_enqueue() has no NOTICE when nothing is new');
my $run = last_run();
is_deeply([ heard("BEGIN; SELECT contratos_cancel($run); ROLLBACK") ], [],
	'NOTIFY: nothing for a cancel that is rolled back');
is_deeply(
	[ heard("SELECT contratos_cancel($run)") ],
	[ { source => 'tokens', day => '2026-11-02', status => 'canceled', rows => undef, run => $run, sqlstate => undef, error => undef } ],
	'NOTIFY: a cancel');
is_deeply([ heard("SELECT contratos_cancel($run)") ], [], 'NOTIFY: nothing for a second cancel');

# ---- sessions

# An open transaction that has queued days: it ends when finish() is called.
my $first = $f->begin(
	q(SET client_min_messages = warning;
	  BEGIN;
	  SELECT contratos_enqueue('2026-10-01', '2026-10-10');
	  DO $$ BEGIN RAISE WARNING 'first'; END $$));
ok($f->said($first, qr/first/), 'a transaction has queued days and stays open');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE day < '2026-11-01')), 0,
	'queued days are not visible before their transaction commits');

my $second = $f->begin(
	q(SET client_min_messages = error;
	  SELECT contratos_enqueue('2026-10-09', '2026-10-12')));
ok($f->node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory')),
	'queuing days of the same source waits for that transaction');
is($f->query(q(SELECT rows_loaded FROM contratos_run('2026-11-20'))), 50,
	'a load of the source does not wait for that transaction');
is($f->query(q(SELECT contratos_enqueue('2026-10-09', '2026-10-12', 'tokens2'))), 4, 'queuing days of another source does not wait for that transaction');

$first->{in} .= "COMMIT;\n";
my ($code, $out, $err) = $f->finish($first);
is($out, 10, 'the first of two transactions queues its days');
($code, $out, $err) = $f->finish($second);
is($out, 2, 'the second of two transactions queues what the first has not');
is($f->query(q(SELECT count(*), count(DISTINCT day) FROM contratos_runs WHERE source = 'tokens' AND day < '2026-11-01')),
	'12|12', 'two transactions queue each day once');

# ---- what is canceled can be queued again, in any order of the sessions

$run = $f->query(q(SELECT id FROM contratos_runs WHERE source = 'tokens' AND day = '2026-10-01'));
$first = $f->begin(
	qq(SET client_min_messages = warning;
	  BEGIN;
	  SELECT contratos_cancel($run);
	  DO \$\$ BEGIN RAISE WARNING 'first'; END \$\$));
$f->said($first, qr/first/);
$second = $f->begin("SELECT contratos_cancel($run)");
ok($f->node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')),
	'a second cancel waits for the first');
$first->{in} .= "COMMIT;\n";
($code, $out, $err) = $f->finish($first);
is($out, 't', 'the first cancel cancels the run');
($code, $out, $err) = $f->finish($second);
is($out, 'f', 'the second cancel has nothing to cancel');
$f->query(q(SET client_min_messages = error; SELECT contratos_enqueue('2026-10-01', '2026-10-01')));
is($f->query(q(SELECT string_agg(status, ' ' ORDER BY id) FROM contratos_runs WHERE source = 'tokens' AND day = '2026-10-01')),
	'canceled queued', 'a canceled day can be queued again');

$f->stop;
done_testing();
