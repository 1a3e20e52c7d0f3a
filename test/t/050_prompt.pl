# Cancel, terminate, timeouts, shutdown and DROP DATABASE never wait for the
# network.  Tested by order and not by the clock: each returns while the other
# side still stalls, and the stall is released only afterwards.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use Contratos::Session;
use Contratos::Standin;

plan skip_all => 'LD_PRELOAD and /proc are Linux' if $^O ne 'linux';

# ---- a resolver that never answers, loaded into the server

my $dir = PostgreSQL::Test::Utils::tempdir;
my $source = __FILE__ =~ s{[^/]*$}{../dead_dns.c}r;
my @compiler = split ' ', $ENV{CC} || 'cc';
system_or_bail(@compiler, qw(-shared -fPIC -O1 -o), "$dir/dead_dns.so", $source, '-ldl');
system_or_bail('mkfifo', "$dir/resolver");

my $bq = Contratos::Standin->start;
my $node = PostgreSQL::Test::Cluster->new('prompt');
$node->init;
# No timeout of ours may end what a test is to end.
$node->append_conf(
	'postgresql.conf', qq(
contratos.endpoint = '@{[ $bq->url ]}'
contratos.credentials_file = '@{[ $bq->key_file ]}'
contratos.ca_file = '@{[ $bq->ca_file ]}'
contratos.connect_timeout = '10min'
contratos.request_timeout = '1h'
contratos.job_timeout = '1h'
contratos.page_rows = 30
autovacuum = off
));
start_node();
$node->safe_psql('postgres', 'CREATE EXTENSION contratos');

sub start_node
{
	local $ENV{LD_PRELOAD} = "$dir/dead_dns.so";
	local $ENV{DEAD_DNS_HOST} = 'dead.example';
	local $ENV{DEAD_DNS_PIPE} = "$dir/resolver";
	local $ENV{DEAD_DNS_LOG} = "$dir/dns_log";
	$node->start;
	return;
}

# 67 rows: three pages
my $run = q{SELECT status, rows_loaded FROM contratos_run('2024-02-29')};
my $loaded = 'succeeded|67';

# ---- the phases of a fetch: how each is made to stall, and known to

# A function that is true once `condition` is, and waits for it.
sub await
{
	my ($condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($condition->())
	{
		return 0 if time > $deadline;
		sleep 0.02;
	}
	return 1;
}

# A phase that a rule of the stand-in stalls.
sub stalled_by
{
	my ($match, $action) = @_;
	my $rule;
	return (
		stall => sub { $rule = $bq->rule($match, $action) },
		reached => sub { $bq->wait(rule => $rule, state => 'stalled') },
		is_held => sub { is_held(grep { ($_->{rule} // 0) == $rule } $bq->requests) },
		left => sub { $bq->wait(rule => $rule, state => 'closed') });
}

# A phase whose endpoint stalls by itself; `kind` is what the log calls it.
sub stalled_at
{
	my ($kind, $url) = @_;
	return (
		settings => "SET contratos.endpoint = '$url'",
		stall => sub { },
		reached => sub { $bq->wait(kind => $kind, state => 'stalled') },
		is_held => sub { is_held($bq->requests($kind)) },
		left => sub { $bq->wait(kind => $kind, state => 'closed') });
}

# The other side had begun to stall and has not given its answer.
sub is_held
{
	my (@entries) = @_;
	return @entries > 0 && !grep { my %is = map { $_ => 1 } @{ $_->{states} }; !$is{stalled} || $is{answered} } @entries;
}

my $pid;    # of the backend under test

# Lines of one kind in what the resolver noted.
sub dns_notes
{
	my ($what) = @_;
	return -e "$dir/dns_log" ? scalar(() = slurp_file("$dir/dns_log") =~ /^$what$/mg) : 0;
}

sub release_dns
{
	return if dns_notes('asked') == dns_notes('answered');
	# for reading too: that does not block when the backend that asked is gone
	open my $pipe, '+<', "$dir/resolver" or die "resolver: $!";
	await(sub { !-e "/proc/$pid" || dns_notes('answered') == dns_notes('asked') }) or die 'the resolver was not released';
	close $pipe;
	unlink "$dir/dns_log";
	return;
}

# Whether a backend is in a wait of ours (no other wait of theirs is of this type).
sub is_waiting_outside
{
	my ($pid) = @_;
	return $node->safe_psql('postgres', "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid") eq 'Extension';
}

my @phases = (
	{ name => 'a TLS handshake that never ends', stalled_at(stall_tls => $bq->stall_tls_url) },
	{ name => 'a server that never answers', stalled_at(mute => $bq->mute_url) },
	{   name => 'a dead resolver',
		settings => q{SET contratos.endpoint = 'https://dead.example'},
		stall => sub { },
		reached => sub { await(sub { dns_notes('asked') && is_waiting_outside($pid) }) or die 'the resolver was not asked' },
		is_held => sub { dns_notes('asked') > 0 && dns_notes('answered') == 0 },
		left => sub { }
	},
	{ name => 'a token request', stalled_by({ kind => 'token' }, { stall => 'before_headers' }) },
	{ name => 'jobs.insert', stalled_by({ kind => 'insert' }, { stall => 'before_headers' }), canceled => 1 },
	{   name => 'a pending job',
		canceled => 1,
		stall => sub { $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true }) },
		reached => sub { $bq->wait(kind => 'results', state => 'seen') },
		is_held => sub { grep { $_->{held} || $_->{cancel_requested} } $bq->jobs },
		left => sub { }
	},
	{   name => 'the first answer with rows, before its headers',
		stalled_by({ kind => 'results' }, { stall => 'before_headers' })
	},
	{   name => 'the middle of the first page, in a load',
		stalled_by({ kind => 'results' }, { stall => 'mid_body' }),
		finished => 1
	},
	{   name => 'the middle of the second page, in a load',
		stalled_by({ kind => 'results', start_index => 30 }, { stall => 'mid_body' }),
		finished => 1
	},
	{   name => 'a pause before another try',
		stall => sub { $bq->rule({ kind => 'insert' }, { status => 503, headers => { 'Retry-After' => '3000' } }) },
		reached => sub {
			$bq->wait(kind => 'insert', state => 'answered');
			await(sub { is_waiting_outside($pid) }) or die 'there was no pause';
		},
		is_held => sub { $bq->requests('insert') == 1 },
		left => sub { }
	});

# Wait until the backend sleeps for good: libcurl's first timers wake it, and a
# command that just then slips through would prove nothing.  While it looks up
# a name libcurl wakes up all the time; that is not waited for.
sub settle
{
	my ($last, $same, $polls) = ('', 0, 0);
	return await(
		sub {
			my ($now) = slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s*(\d+)/m;
			$same = $now eq $last ? $same + 1 : 0;
			$last = $now;
			return $same >= 20 || ++$polls >= 100;
		});
}

# ---- what must not be left over

# Descriptors that are no files: sockets, pipes, epoll.
sub foreign_fds
{
	my @fds = map { readlink } glob "/proc/$pid/fd/*";
	return join ' ', sort map { s/\d+//gr } grep { defined && !m{^/} } @fds;
}

# Threads: a resolver's may stay until its resolver answers.
sub threads { return scalar(() = glob "/proc/$pid/task/*"); }

sub jobs_canceled { return scalar grep { $_->{cancel_requested} } $bq->jobs; }

sub rows_here { return $node->safe_psql('postgres', 'SELECT count(*) FROM tokens'); }

# ---- the tests themselves

my $session;

sub connect_session
{
	$session = Contratos::Session->new($node);
	$pid = $session->pid;
	return;
}

# Everything up to the fetch.
sub prepare
{
	my ($phase) = @_;
	$bq->reset(tables => 0);
	# The stand-in has forgotten the session's token; for a file that has changed
	# it asks for another, and no request is spent on a 401.
	utime undef, undef, $bq->key_file or die "key file: $!";
	my $answer = $session->query($phase->{settings} // 'RESET contratos.endpoint');
	die $answer->{err} if $answer->{err};
	$phase->{stall}->();
	return;
}

# Begin a fetch and return when it stalls.
sub begin
{
	my ($phase) = @_;
	release_dns();
	prepare($phase);
	$session->send($run);
	$phase->{reached}->();
	return;
}

# Let everybody go on, the stall having done its work.
sub end
{
	$bq->release;
	release_dns();
	return;
}

sub check_job
{
	my ($phase, $what) = @_;
	# the backend itself waits for that answer no longer than it must
	$bq->wait(kind => 'cancel', state => 'answered') if $phase->{canceled};
	is(jobs_canceled(), 1, "$what: the job was canceled") if $phase->{canceled};
	is(scalar($bq->requests('cancel')), 0, "$what: a job that had finished was not canceled") if $phase->{finished};
	return;
}

sub test_drop_database
{
	my ($phase) = @_;
	$node->safe_psql('postgres', 'CREATE DATABASE other');
	begin($phase);
	settle();
	my ($code, undef, $err) = $node->psql('postgres', 'DROP DATABASE other', timeout => 30, timed_out => \my $late);
	ok(!$late && $code == 0, "$phase->{name}: DROP DATABASE of another database returns") or diag($err);
	ok($phase->{is_held}->(), "$phase->{name}: DROP DATABASE returns while it stalls");
	ok($session->is_waiting, "$phase->{name}: the fetch goes on after DROP DATABASE");
	return;
}

# The fetch that test_drop_database() left.
sub test_cancel
{
	my ($phase, $fds) = @_;
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
	my $answer = $session->finish;
	like($answer->{err}, qr/ERROR:  57014: canceling statement due to user request/, "$phase->{name}: pg_cancel_backend ends the fetch");
	ok($phase->{is_held}->(), "$phase->{name}: pg_cancel_backend works while it stalls");
	$phase->{left}->();
	check_job($phase, $phase->{name});
	is(rows_here(), 67, "$phase->{name}: a canceled load leaves the old day");

	$answer = $session->query("RESET contratos.endpoint; $run");
	is($answer->{out}, $loaded, "$phase->{name}: the session goes on working") or diag($answer->{err});
	end();
	ok(await(sub { foreign_fds() eq $fds && threads() == 1 }), "$phase->{name}: no descriptor or thread is left")
	  or diag(foreign_fds(), ' instead of ', $fds, ', threads: ', threads());
	return;
}

# A statement_timeout that is long enough to reach the stall.
sub test_statement_timeout
{
	my ($phase) = @_;
	for my $ms (800, 5000, 30000)
	{
		end();
		prepare($phase);
		my $answer = $session->query("SET statement_timeout = $ms;\n$run");
		$session->query('RESET statement_timeout');
		next if !$phase->{is_held}->() && $ms < 30000;
		like($answer->{err}, qr/57014: canceling statement due to statement timeout/, "$phase->{name}: statement_timeout ends the fetch");
		ok($phase->{is_held}->(), "$phase->{name}: statement_timeout works while it stalls");
		check_job($phase, "$phase->{name}, statement_timeout");
		last;
	}
	end();
	return;
}

sub test_terminate
{
	my ($phase) = @_;
	begin($phase);
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	my $answer = $session->finish;
	like($answer->{err}, qr/FATAL:  57P01: terminating connection/,
		"$phase->{name}: pg_terminate_backend ends the fetch");
	ok($answer->{ended}, "$phase->{name}: pg_terminate_backend ends the session");
	ok(await(sub { !-e "/proc/$pid" }), "$phase->{name}: pg_terminate_backend ends the process");
	ok($phase->{is_held}->(), "$phase->{name}: pg_terminate_backend works while it stalls");
	$phase->{left}->();
	is(scalar($bq->requests('cancel')), 0, "$phase->{name}: pg_terminate_backend sends no jobs.cancel");
	end();
	connect_session();
	return;
}

sub test_shutdown
{
	my ($phase) = @_;
	begin($phase);
	$node->stop('fast');
	ok($phase->{is_held}->(), "$phase->{name}: a fast shutdown works while it stalls");
	$phase->{left}->();
	end();
	$session->quit;
	start_node();
	connect_session();
	return;
}

connect_session();
is($session->query($run)->{out}, $loaded, 'a day is loaded');
my $fds = foreign_fds();
for my $phase (@phases)
{
	test_drop_database($phase);
	test_cancel($phase, $fds);
	test_statement_timeout($phase);
	test_terminate($phase);
}

# a reader who has had enough does not wait for the rest either
my $rule = do
{
	release_dns();
	prepare({ stall => sub { } });
	$bq->rule({ kind => 'results' }, { stall => 'mid_body' });
};
my $window = q(block_timestamp >= '2024-02-29Z' AND block_timestamp < '2024-03-01Z');
like($session->query("SELECT address FROM bigquery_tokens WHERE $window LIMIT 1")->{out}, qr/^0x\w+$/,
	'a query with a LIMIT gives its row');
# It may have gone before the stand-in wrote down that the page stalls, so this
# asks for how it ended: nobody has released the page.
$bq->wait(rule => $rule, state => 'closed');
my ($page) = grep { ($_->{rule} // 0) == $rule } $bq->requests;
ok(!grep({ $_ eq 'answered' } @{ $page->{states} }), 'a query with a LIMIT returns while the page stalls');
$bq->release;

test_shutdown($_) for grep { $_->{name} =~ /resolver|pending|second page|pause/ } @phases;
is($session->query($run)->{out}, $loaded, 'a day is loaded after all that');
$session->quit;
$node->stop;
done_testing();
