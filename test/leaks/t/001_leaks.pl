# Two hundred days in one backend, and in one worker, with one fault after the
# other: what memory and descriptors each has after the first days, it has at
# the end.
use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use Contratos::Session;
use Contratos::Worker;

plan skip_all => '/proc is Linux' if $^O ne 'linux';

# In the first turns caches fill.  From then to the end PostgreSQL's caches take up to
# 40 kB more, of which 33 are a hash table that doubles, what a round of the worker
# reads some bytes for each day of the ledger, and all other contexts nothing.  Private
# memory grows by up to 250 kB, most of it when a block of a context is new.  A leak
# of 50 bytes for each day, or of 500 for each request, is more than these bounds.
my $turns = 17;
my $warm_turns = 3;
my $more_used = 96 * 1024;
my $more_elsewhere = 4 * 1024;
my $more_private = 512 * 1024;
my $caches = qr/^(?:CacheMemoryContext|index info|relation rules|CachedPlan\w*|MdSmgr|PgStat.*|contratos worker)$/;

my $f = Contratos::Worker->new(
	conf => q(
contratos.page_rows = 10
contratos.retries = 0
log_statement = none));
my ($bq, $node) = ($f->bq, $f->node);
$f->query(
	q(UPDATE contratos_sources SET recheck_days = 0, catchup_days = 0;
	  ALTER TABLE tokens ADD CHECK (address <> '0xforbidden')));
$f->settle;

# ---- what there is of a process

# In bytes: what its memory contexts use, all and by name, and its private memory;
# how many contexts there are, and descriptors, but for files of the database.
sub measure
{
	my ($pid) = @_;
	my $from = -s $node->logfile;
	$f->query("SELECT pg_log_backend_memory_contexts($pid)");
	$node->wait_for_log(qr/\[$pid\].*Grand total: \d+/, $from);
	my %now = (used => 0, elsewhere => 0, contexts => 0, names => {});
	for my $line (split /\n/, slurp_file($node->logfile, $from))
	{
		next if $line !~ /\[$pid\]/;
		$now{used} = $1 if $line =~ /Grand total: .* (\d+) used/;
		next if $line !~ /level: \d+; (.*?): .* (\d+) used/;
		$now{contexts}++;
		$now{names}{$1} += $2;
		$now{elsewhere} += $2 if $1 !~ $caches;
	}
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;
	$now{private} = $kb * 1024;
	$now{files} = grep { defined && !m{^/} } map { readlink } glob "/proc/$pid/fd/*";
	return \%now;
}

# Compares two measures of a process.
sub has_not_grown
{
	my ($who, $then, $now) = @_;
	my $sum = sub { my ($what) = @_; return "$then->{$what}, then $now->{$what}"; };
	note("$who: bytes of contexts ", $sum->('used'), '; of those that are no caches ', $sum->('elsewhere'), '; private ', $sum->('private'), '; descriptors ', $sum->('files'), '; contexts ', $sum->('contexts'));
	my $same = 1;
	$same &= cmp_ok($now->{used} - $then->{used}, '<', $more_used, "$who: memory contexts do not grow");
	$same &= cmp_ok($now->{elsewhere} - $then->{elsewhere}, '<', $more_elsewhere, "$who: nothing but caches grows in memory contexts");
	$same &= cmp_ok($now->{private} - $then->{private}, '<', $more_private, "$who: private memory does not grow");
	$same &= cmp_ok($now->{files}, '<=', $then->{files}, "$who: there are no more sockets and other descriptors");
	$same &= cmp_ok($now->{contexts}, '<=', $then->{contexts} + 2, "$who: there are no more memory contexts");
	return if $same;
	for my $name (sort keys %{ $now->{names} })
	{
		my $more = $now->{names}{$name} - ($then->{names}{$name} // 0);
		diag("$name: $more bytes more") if $more > 0;
	}
	return;
}

# ---- a turn

# A row of the day, with something else in it.
sub with_row
{
	my ($day, %odd) = @_;
	$bq->table(undef, append => JSON::PP::true, rows => [ $f->row(block_timestamp => "$day 23:00:00+00:00", %odd) ]);
	return;
}

# Name; what is done before; what is said then.
my @turn = (
	[ 'nothing', sub { }, 'succeeded' ],
	[ 'a refused page', sub { rule({ start_index => 20 }, { status => 503, reason => 'backendError' }) }, 'succeeded' ],
	[ 'a page that breaks off', sub { rule({ start_index => 10 }, { close => { after_bytes => 700 } }) }, 'succeeded' ],
	[ 'a short page', sub { rule({ start_index => 0 }, { truncate_rows => 4 }) }, 'succeeded' ],
	[ 'a page that cannot be read', sub { rule({ start_index => 20, times => 0 }, { garbage => '{"rows":[nonsense]}' }) }, 'HV000' ],
	[ 'values that cannot be kept', sub { with_row($_[0], symbol => "a\0b") }, 'succeeded' ],
	[ 'a cancel', sub { rule({ start_index => 20 }, { stall => 'mid_body' }) }, '57014', 'cancel' ],
	[ 'a dropped column', sub { $bq->alter(undef, drop => ['decimals']) }, '42703' ],
	[ 'a violated constraint', sub { with_row($_[0], address => '0xforbidden') }, '23514' ],
	[ 'a refused job', sub { rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'no' }) }, '42501' ],
	[ 'a lost answer', sub { rule({ kind => 'insert' }, { lost_answer => JSON::PP::true }) }, 'succeeded' ],
	[ 'an expired token', sub { rule({ start_index => 20 }, { expire_token => JSON::PP::true }) }, 'succeeded' ]);

sub rule
{
	my ($match, $action) = @_;
	return $bq->rule({ kind => 'results', %$match }, $action);
}

# Goes through the days of all turns: $load->($day, $cancel) gives what became of one
# (status or SQLSTATE), $cancel being the rule to wait for before a cancel; the
# measures after each turn.
sub go_through
{
	my ($who, $pid, $load) = @_;
	my (%ends, @measures);
	my $number = 0;
	for (1 .. $turns)
	{
		for my $part (@turn)
		{
			my ($name, $prepare, $expected, $cancel) = @$part;
			my $day = $f->query('SELECT date $$2026-11-19$$ - ' . $number++);
			$bq->reset(tables => 0);
			$f->day($day, 40);
			my $rule = $prepare->($day);
			my $end = $load->($day, $cancel ? $rule : undef);
			$ends{$name}{ $end =~ /^(?:$expected)$/ ? 'as expected' : $end }++;
			$bq->delete_day(undef, $day);
			$bq->reset if $name eq 'a dropped column';
		}
		push @measures, measure($pid->());
	}
	is_deeply($ends{ $_->[0] }, { 'as expected' => $turns }, "$who: $_->[0] ends as expected") or diag(explain($ends{ $_->[0] })) for @turn;
	note("$who: bytes used after each turn: ", join ' ', map { $_->{used} } @measures);
	note("$who: private bytes after each turn: ", join ' ', map { $_->{private} } @measures);
	has_not_grown($who, $measures[ $warm_turns - 1 ], $measures[-1]);
	return;
}

# ---- a backend

my $session = Contratos::Session->new($node);
my $others = q(
	SELECT count(*) FROM contratos_check();
	SELECT count(*) FROM contratos_verify('%1$s', '%1$s');
	SELECT count(*) FROM contratos_estimate('%1$s', '%1$s');
	SELECT address FROM bigquery_tokens WHERE block_timestamp >= '%1$s' LIMIT 3;
	SELECT symbol, count(*) FROM bigquery_tokens WHERE block_timestamp >= '%1$s' GROUP BY 1;
	CREATE SCHEMA there;
	IMPORT FOREIGN SCHEMA "bigquery-public-data.crypto_ethereum" LIMIT TO (tokens) FROM SERVER bigquery INTO there;
	DROP SCHEMA there CASCADE);
$session->query('SET client_min_messages = error');
go_through(
	'backend',
	sub { $session->pid },
	sub {
		my ($day, $stalled) = @_;
		my $size = $day =~ /[05]$/ ? 0 : 32; # with a reader worker, or without
		$session->send("SET contratos.min_parallel_load_size = $size; SELECT status FROM contratos_run('$day')");
		if (defined $stalled)
		{
			$bq->wait(rule => $stalled, state => 'stalled');
			$f->query('SELECT pg_cancel_backend(' . $session->pid . ')');
		}
		my $answer = $session->finish;
		$session->query(sprintf $others, $day) if $day =~ /[37]$/;
		return $answer->{err} =~ /ERROR:  (\w{5}):/ ? $1 : $answer->{out};
	});
cmp_ok($f->query('SELECT count(*) FROM contratos_rejects'), '>=', $turns, 'backend: values that cannot be kept are in contratos_rejects');
$session->quit;

# ---- a worker

$f->query('TRUNCATE tokens');
my $worker = $f->worker;
go_through(
	'worker',
	sub { $worker },
	sub {
		my ($day, $stalled) = @_;
		my $last = $f->query('SELECT max(id) FROM contratos_runs');
		$f->query("SELECT contratos_enqueue('$day', '$day', only_missing => false)");
		if (defined $stalled)
		{
			$bq->wait(rule => $stalled, state => 'stalled');
			$f->query("SELECT pg_cancel_backend($worker)");
		}
		my $ended = "FROM contratos_runs WHERE id > $last AND NOT only_cost AND status NOT IN ('queued', 'running')";
		$f->poll("SELECT count(*) = 1 $ended");
		return $f->query("SELECT coalesce(sqlstate, status) $ended");
	});
$f->settle;
is($f->worker, $worker, 'worker: it is the same process from the first day to the last');

$f->stop;
done_testing();
