# No setting of the server, a database or a role ends what the worker does:
# time limits, and what makes an error end the process.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

# name => the value it is pinned to; undef: left alone, for the reason there
my $source = slurp_file(abs_path(dirname(__FILE__) . '/../../src/base/settings.c'));
my %pins = $source =~ /^\t\{"(\w+)", (?|"(\w+)"|NULL())\},$/mg;
my @pinned = sort grep { $pins{$_} ne '' } keys %pins;

my $f = Contratos::Worker->new(conf => "contratos.min_parallel_load_size = 0\ncontratos.page_rows = 20\ncontratos.retries = 0\ncontratos.lock_timeout = '1h'");
my ($bq, $node) = ($f->bq, $f->node);

# ---- the list against the server

my $timeouts = q(FROM pg_settings WHERE name LIKE '%timeout%' AND name NOT LIKE 'contratos.%' AND context IN ('user', 'superuser'));
my @known = split /\n/, $f->query("SELECT name $timeouts ORDER BY name");
cmp_ok(scalar(@known), '>', 5, 'the server has timeouts that a database or role may set');
is(join(' ', grep { !exists $pins{$_} } @known), '', 'each timeout of the server is in the worker\'s list');
my %there = map { $_ => 1 } split /\n/, $f->query('SELECT name FROM pg_settings');
@pinned = grep { $there{$_} } @pinned;
cmp_ok(scalar(@pinned), '>', 4, 'most timeouts of the list are pinned');

# ---- what a load runs with, whoever says otherwise

# Ours must not end by what is set for the worker.
$ENV{PGOPTIONS} = join ' ', map { "-c $_=$pins{$_}" } @pinned;
$f->query(
	q(CREATE TABLE seen (name text, setting text);
	  CREATE FUNCTION look(source text, day date) RETURNS void LANGUAGE sql AS
	  'INSERT INTO public.seen SELECT name, setting FROM pg_settings';
	  UPDATE contratos_sources SET after_load = 'public.look'));
my %odd = map { $_ => $pins{$_} eq 'off' ? 'on' : '1s' } @pinned;
foreach my $place ('SYSTEM', 'ROLE CURRENT_USER', 'DATABASE postgres')
{
	$f->query("ALTER $place SET $_ = '$odd{$_}'") for @pinned;
}
$node->reload;
ok($f->at('2026-11-21 06:01'), 'the worker starts with odd timeouts of server, role and database');
$f->day('2026-11-01', 50);
$f->query(q(SELECT contratos_enqueue('2026-11-01', '2026-11-01')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-01' AND status NOT IN ('queued', 'running'))), 'a day with odd timeouts ends');
is($f->query(q(SELECT status FROM contratos_runs WHERE day = '2026-11-01')), 'succeeded',
	'a day with odd timeouts is loaded');
is(join(', ', split /\n/, $f->query("SELECT name || ' ' || setting FROM seen WHERE name = ANY ('{@{[ join ',', @pinned ]}}') ORDER BY name")),
	join(', ', map { "$_ " . ($_ eq 'lock_timeout' ? 3600000 : $pins{$_}) } @pinned), 'a load runs with the pinned settings, and lock_timeout by contratos.lock_timeout');

# ---- loads that take longer than any of them

# Until what the worker waits for has taken so long, or it waits no more.
my $long = q(now() - xact_start > '1.5 s');
sub lasts { return $f->poll(qq(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND query LIKE '%loading' AND NOT ($long))); }
sub how { return $f->query("SELECT string_agg(concat_ws(' ', status, sqlstate, error), ', ' ORDER BY id) FROM contratos_runs WHERE day = '2026-11-$_[0]'"); }
sub begin
{
	my ($day) = @_;
	$f->day("2026-11-$day", 50);
	$f->query("SELECT contratos_enqueue('2026-11-$day', '2026-11-$day')");
	return;
}
sub ended { return $f->poll("SELECT count(*) = 1 FROM contratos_runs WHERE day = '2026-11-$_[0]' AND status NOT IN ('queued', 'running')") && $f->settle; }

my $pid = $f->worker;
my $rule = $bq->rule({ kind => 'results', start_index => 20 }, { stall => 'mid_body' });
begin('02');
$bq->wait(rule => $rule, state => 'stalled');
ok(lasts(), 'slow rows: the load lasts longer than every timeout');
$bq->release($rule);
ok(ended('02'), 'slow rows: the load ends');
is(how('02'), 'succeeded', 'slow rows: the load succeeds at the first attempt');

my $holder = Contratos::Session->new($node);
$holder->query('BEGIN; LOCK TABLE tokens IN SHARE MODE');
begin('03');
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND query LIKE '%: waiting for a lock on public.tokens')), 'a locked table: the load waits');
ok(lasts(), 'a locked table: the load lasts longer than every timeout');
$holder->query('ROLLBACK');
ok(ended('03'), 'a locked table: the load ends after the lock');
is(how('03'), 'succeeded', 'a locked table: the load succeeds at the first attempt');

# ---- an error is a day's, and not the process's

$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'no' });
begin('04');
ok(ended('04'), 'a refused job: the day ends');
is(how('04'), "failed 42501 BigQuery: no\nDETAIL:  BigQuery's reason: accessDenied, HTTP status 403.", 'a refused job: the day fails with BigQuery\'s error');
is($f->worker, $pid, 'pinned settings keep the worker\'s process');

# ---- calls in a session that may only read

my $read_only = 'SET default_transaction_read_only = on;';
foreach my $call (q(run('2026-11-01')), q(backfill(1)), q(enqueue('2026-11-01', '2026-11-01')), q(cancel(1)))
{
	my ($name) = $call =~ /^(\w+)/;
	like($f->fails("$read_only SELECT * FROM contratos_$call"), qr/ERROR:  25006: cannot execute contratos_$name\(\) in a read-only transaction/,
		"$name is refused in a read-only transaction");
}
is($f->query("$read_only SELECT count(*) FROM contratos_$_('2026-11-01', '2026-11-01')"), 1, "$_ works in a read-only transaction") for qw(verify estimate);
cmp_ok($f->query("$read_only SELECT count(*) FROM contratos_check()"), '>', 1,
	'check works in a read-only transaction');
$f->query(q(ALTER DATABASE postgres SET default_transaction_read_only = on));
ok($f->at('2026-11-21 06:02'), 'the worker starts in a read-only database');
$f->day('2026-11-05', 50);
$f->query(q(SET default_transaction_read_only = off; SELECT contratos_enqueue('2026-11-05', '2026-11-05')));
ok(ended('05'), 'the worker\'s day ends in a read-only database');
is(how('05'), 'succeeded', 'the worker loads a day in a read-only database');

$holder->quit;
$f->stop;
done_testing();
