# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::FaultRun - brings about the faults of test/faults.tsv, and holds contratos to what is promised

=head1 SYNOPSIS

  Contratos::FaultRun->go('token', 'page');

A day of 50 rows is in the table, and BigQuery has 50 others of it.  The fault is
brought about, the day is loaded or queried, and what is left is looked at; then
the fault is taken away, and the next attempt must succeed.

=cut

package Contratos::FaultRun;

use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::MD5 qw(md5_hex);
use File::Copy qw(copy);
use JSON::PP ();
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Contratos::Faults;
use Contratos::Session;
use Contratos::Standin;
use Contratos::Worker;

my $day = '2026-11-20';
my $rows = 50;
my $json = JSON::PP->new;
my @columns = qw(address symbol name decimals total_supply block_timestamp block_number block_hash);
my $columns = join ', ', @columns;

# An error comes within so many seconds; a fault that is overcome, too.
my $deadline = 25;
# What a process may have more after all of its faults than after three loads.  Measured: up to 1.1 MB, what OpenSSL and
# the caches of the catalog keep, and no more with more faults.
my $tolerance_kb = 2048;
# What malloc keeps, once, of an answer that was as large as is read at most (16 MB), and the caches of another
# statement than the attempt (contratos_check: 3 MB).
my $largest_kb = 20 * 1024;

# What tokens, keys and assertions look like, those of the stand-in included.
my @secrets = (qr/ya29\./, qr/PRIVATE KEY/, qr/Bearer [\w.-]{8}/, qr/assertion=/, qr/eyJ[\w-]{10}/, qr{1//0standin}, qr/d-standin/);

# A source that is claimed, and a gate of ours.
my $claim = q(locktype = 'advisory' AND (objsubid = 25345 OR objid IN (7701, 7702)));

my %gate = (write => 7701, commit => 7702);

=head1 METHODS

=head2 go(@places)

Runs the faults of these places, seven tests or more for each way that one goes in.

=cut

sub go
{
	my ($class, @places) = @_;
	my $faults = Contratos::Faults->new;
	my @faults = $faults->at(@places);
	plan(skip_all => 'another fault was asked for') unless @faults;
	note("to replay: CONTRATOS_SEED=$faults->{seed}", $faults->chosen ? ' CONTRATOS_FAULT=' . $faults->chosen : '');
	my $self = $class->new($faults);
	for my $fault (@faults)
	{
		my ($since) = map { $_->[0] eq 'since' ? $_->[1] : () } @{ $fault->{steps} };
		if ($since && $since > $self->{version})
		{
			note("$fault->{name} is of PostgreSQL $since and later");
			next;
		}
		$self->one($fault, $_) for $faults->ways($fault);
	}
	$self->stop;
	done_testing();
	return;
}

sub new
{
	my ($class, $faults) = @_;
	my $self = bless { seed => $faults->seed, turn => 0, growth => {}, known => {} }, $class;
	local $ENV{LD_PRELOAD} = full_disk();
	local $ENV{FULL_DISK} = $self->{full} = PostgreSQL::Test::Utils::tempdir . '/full';
	$self->{elsewhere} = Contratos::Standin->start(csv => '');
	$self->{f} = Contratos::Worker->new(
		unsettled => 1,
		standin => { csv => '', bad_tls => 1 },
		conf => qq(
contratos.page_rows = 10
contratos.parallel_pages = 1
contratos.connect_timeout = '1s'
contratos.request_timeout = '2500ms'
contratos.job_timeout = '4s'
contratos.retries = 0
contratos.lock_timeout = '300ms'
deadlock_timeout = '100ms'
restart_after_crash = on
autovacuum = off
log_min_messages = debug1
));
	$self->{bq} = $self->{f}->bq;
	$self->{node} = $self->{f}->node;
	$self->set_up;
	return $self;
}

sub set_up
{
	my ($self) = @_;
	$self->connect;
	$self->{version} = $self->query("SELECT current_setting('server_version_num')::integer / 10000");
	$self->set_up_source;
	$self->query('CREATE SCHEMA faults; CREATE ROLE keeper');
	my ($key) = slurp_file($self->{bq}->key_file) =~ /BEGIN PRIVATE KEY-----\\n([^\\]{40})/ or die 'no key';
	$self->{secrets} = [ @secrets, qr/\Q$key\E/ ];
	for my $turn (0, 1)
	{
		# not by way of contratos: what a good day is
		$self->query("CREATE TABLE faults.good$turn AS SELECT $columns FROM tokens WITH NO DATA");
		my @values = map { my $row = $_; '(' . join(', ', map { "'$row->{$_}'" } @columns) . ')' } rows_of($turn);
		$self->query("INSERT INTO faults.good$turn VALUES " . join ', ', @values);
		$self->{good}[$turn] = $self->digest("faults.good$turn");
	}
	$self->query(slurp_file(abs_path(__FILE__) =~ s{[^/]*$}{../../faults/objects.sql}r));
	$self->{target} = $self->query("SELECT 'tokens'::regclass::oid");
	# each process has done once what it keeps memory and connections for
	for my $way (qw(call query worker)) { $self->clean($way) for 1 .. 3; }
	return;
}

sub set_up_source
{
	my ($self) = @_;
	$self->query("SELECT contratos_setup(); UPDATE contratos_sources SET start_date = '2030-01-01', recheck_days = 0");
	return;
}

# The library that makes a disk full.
sub full_disk
{
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $source = abs_path(__FILE__) =~ s{[^/]*$}{../../full_disk.c}r;
	my @compiler = split ' ', $ENV{CC} || 'cc';
	system_or_bail(@compiler, qw(-shared -fPIC -O1 -o), "$dir/full_disk.so", $source, '-ldl');
	return "$dir/full_disk.so";
}

# The rows that BigQuery has, by turns.
sub rows_of
{
	my ($turn) = @_;
	return map {
		my $hash = md5_hex("$turn $_");
		+{  address => "0x$hash", symbol => "S$turn$_", name => qq(token $_ "\\), decimals => $_ % 19, total_supply => 1000 * $_ + $turn,
			block_timestamp => sprintf("%s %02d:%02d:00+00:00", $day, $_ % 24, $_), block_number => 100 + $_, block_hash => "0xb$hash" }
	} 1 .. $rows;
}

# ---------------------------------------------------------------- connections

# The sessions that look on, that is tried in, and that holds locks; and those that have ended anew.
sub connect
{
	my ($self) = @_;
	for my $name (qw(admin call other))
	{
		next if $self->{$name} && $self->{$name}{harness} && $self->{$name}->query('SELECT 1')->{out} eq '1';
		$self->{$name}->quit if $self->{$name};
		$self->{$name} = Contratos::Session->new($self->{node});
		next if $name eq 'call';
		$self->{$name}->query('SET statement_timeout = 0; SET default_transaction_read_only = off; SET client_min_messages = error');
	}
	# loads the library, so that its settings are known
	$self->{call}->query("LOAD 'contratos'");
	return;
}

# After a crash: the server answers again.
sub reconnect
{
	my ($self) = @_;
	$self->{node}->poll_query_until('postgres', 'SELECT true') or die 'the server does not answer';
	$self->connect;
	return;
}

sub query
{
	my ($self, $sql) = @_;
	my $answer = $self->{admin}->query($sql);
	die "failed: $sql\n$answer->{err}" if $answer->{ended} || $answer->{err} =~ /ERROR|FATAL/;
	return $answer->{out};
}

# Whether it comes true in time.
sub until_true
{
	my ($self, $check, $seconds) = @_;
	my $until = time + ($seconds // $deadline);
	while (1)
	{
		return 1 if $check->();
		return 0 if time > $until;
		sleep 0.02;
	}
}

sub digest
{
	my ($self, $table) = @_;
	return $self->query("SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM (SELECT $columns FROM $table AS x ($columns)) t");
}

sub worker_pid
{
	my ($self) = @_;
	return $self->query(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'contratos worker'));
}

sub settled
{
	my ($self) = @_;
	return $self->until_true(sub { $self->query(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND coalesce(state, 'idle') = 'idle' AND wait_event_type = 'Extension')) eq '1' });
}

# The process that a way is tried in.
sub pid
{
	my ($self, $way) = @_;
	return $way eq 'worker' ? $self->worker_pid : $self->{call}->pid;
}

# ---------------------------------------------------------------- an attempt

my %statement = (
	call => "SELECT status || ' ' || rows_loaded FROM contratos_run('$day')",
	query => "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM (SELECT $columns FROM bigquery_tokens WHERE block_timestamp >= '$day 00:00+00' AND block_timestamp < '2026-11-21 00:00+00') t");

# BigQuery has the other rows from now on; the table has the old ones.
sub turn
{
	my ($self) = @_;
	$self->{turn} = 1 - $self->{turn};
	$self->upstream($rows);
	$self->{before} = $self->query('SELECT coalesce(max(id), 0) FROM contratos_runs');
	$self->{old} = $self->digest('tokens');
	$self->{log_from} = -s $self->{node}->logfile;
	return;
}

sub upstream
{
	my ($self, $count) = @_;
	my @rows = rows_of($self->{turn});
	$self->{bq}->table(undef, replace_day => $day, rows => [ @rows[ 0 .. $count - 1 ] ]);
	return;
}

# Begins it; does not wait.
sub begin
{
	my ($self, $way, $sql) = @_;
	$self->{began} = time;
	$self->{pid} = $self->pid($way);
	if ($way eq 'worker')
	{
		$self->query("SELECT contratos_enqueue('$day', '$day', only_missing => false)");
	}
	else
	{
		$self->{call}->send($sql // $statement{$way});
	}
	return;
}

# What became of it: out, err, status and SQLSTATE; nothing when the deadline has passed.
sub outcome
{
	my ($self, $way) = @_;
	if ($way ne 'worker')
	{
		$self->until_true(sub { !$self->{call}->is_waiting }) or return;
		my $answer = $self->{call}->finish;
		my ($state, $message) = $answer->{err} =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}): (.*)/s;
		($state, $message) = ('-----', $answer->{err}) if $answer->{ended} && !$state;
		return { %$answer, state => $state // '', message => $message // '' };
	}
	if ($self->{is_dropped})
	{
		# without a ledger, it is the log that says so
		my $message;
		$self->until_true(sub { ($message) = $self->log_since =~ /(extension "contratos" was dropped.*)/ }) or return;
		$self->settled or return;
		return { out => '', err => '', state => '42704', message => $message };
	}
	my $open = "FROM contratos_runs WHERE id > $self->{before}";
	$self->until_true(
		sub {
			my $answer = $self->{admin}->query("SELECT count(*) > 0 AND count(*) FILTER (WHERE status IN ('queued', 'running')) = 0 $open");
			$self->reconnect if $answer->{ended};
			return $answer->{out} eq 't';
		}) or return;
	$self->settled or return;
	my ($status, $state, $message) = split /\|/, $self->query("SELECT status, coalesce(sqlstate, ''), translate(coalesce(error, ''), E'\\n', ' ') $open AND NOT only_cost ORDER BY id DESC LIMIT 1"), 3;
	return { out => $status, err => '', status => $status, state => $state, message => $message };
}

# An attempt that nothing disturbs; whether it succeeded.
sub clean
{
	my ($self, $way) = @_;
	$self->{bq}->reset(tables => 0, tokens => 0);
	$self->turn;
	return $self->try_clean($way);
}

sub try_clean
{
	my ($self, $way) = @_;
	$self->begin($way);
	my $got = $self->outcome($way) // { message => 'no end', state => '', out => '' };
	my $good = $self->{good}[ $self->{turn} ];
	my $came = $way eq 'query' ? $got->{out} : $self->digest('tokens');
	$self->know($way);
	return 1 if $came eq $good && $got->{state} eq '';
	$self->{complaint} = "$came instead of $good; $got->{out} $got->{state} $got->{message}";
	return 0;
}

# A process that has loaded twice has all that it keeps.
sub know
{
	my ($self, $way) = @_;
	my $pid = $self->pid($way) || return;
	return if ++$self->{loads}{$pid} != 3;
	$self->{known}{$pid} = $self->memory_of($pid);
	$self->{open}{$pid} = foreign_fds($pid);
	return;
}

# ---------------------------------------------------------------- one fault

sub one
{
	my ($self, $fault, $way) = @_;
	my $promise = $fault->{promised}{$way};
	my $name = "$fault->{name}, $way";
	my $got;
	$self->{undo} = [];
	$self->{blocked} = [];
	$self->{statement} = undef;
	$self->{bq}->reset(tables => 0, tokens => 0);
	$self->turn;
	$self->{is_killed} = $self->{is_begun} = $self->{is_dropped} = 0;
	my $went = eval {
		for my $step (@{ $fault->{steps} })
		{
			my ($word, $argument) = @$step;
			# the first word that is about what goes on begins it
			my $method = 'step_' . $word =~ tr/-/_/r;
			$self->$method($argument, $way);
		}
		$self->begin_once($way);
		$got = $self->outcome($way);
		1;
	} or diag("$name: $@");
	my $took = time - ($self->{began} // time);

	$self->check_outcome($name, $promise, $got, $took);
	$self->reconnect if $self->{is_killed} || ($got && $got->{ended});
	$self->check_jobs($name, $promise);
	$self->release;
	$self->end_blocked;
	$self->check_day($name, $promise, $way, $got);
	$self->check_ledger($name, $promise, $way, $got, $fault);
	$self->check_secrets($name, $got, $fault);
	$self->{is_out} = !$got || $got->{state} =~ /^(?:08|58|HV)/;
	$self->undo($way);
	$self->check_next($name, $way, $fault);
	return;
}

sub begin_once
{
	my ($self, $way) = @_;
	return if $self->{is_begun}++;
	$self->{bq_pid} = $self->{bq}->pid;
	$self->begin($way, $self->{statement});
	return;
}

# Whoever waited has what it waited for, and leaves.
sub end_blocked
{
	my ($self) = @_;
	for my $session (splice @{ $self->{blocked} })
	{
		$session->finish;
		$session->quit;
	}
	return;
}

# Everything that was changed is as it was.
sub undo
{
	my ($self, $way) = @_;
	for my $step (reverse @{ $self->{undo} })
	{
		eval { $step->(); 1 } or diag("undo: $@");
	}
	$self->{undo} = [];
	$self->reconnect if $self->{is_killed};
	$self->{other}->query('ROLLBACK; SELECT pg_advisory_unlock_all()');
	$self->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status IN ('queued', 'waiting')));
	$self->{bq}->reset(tables => 0, tokens => 0);
	if ($way eq 'worker')
	{
		# after an outage it would wait before it asks again; a reload says that something has changed
		$self->pass_time if $self->{is_out};
		$self->settled;
	}
	return;
}

# Each time later than the last: see contratos.retry_delay.
sub pass_time
{
	my ($self) = @_;
	my $hours = ++$self->{hours};
	$self->reload("ALTER SYSTEM SET contratos.now = '" . strftime('%Y-%m-%d %H:%M', gmtime(1795240800 + 3600 * 7 * $hours)) . "+00'");
	return;
}

sub later { push @{ $_[0]{undo} }, $_[1]; return; }

# Holds end; what was held goes on.
sub release
{
	my ($self) = @_;
	$self->{bq}->release if $self->{bq}->pid;
	$self->{other}->query('ROLLBACK; SELECT pg_advisory_unlock_all()');
	return;
}

# ---------------------------------------------------------------- what is promised

sub check_outcome
{
	my ($self, $name, $promise, $got, $took) = @_;
	my $is_right = 0;
	if ($got && $promise->{is} eq 'error')
	{
		$is_right = $got->{state} eq $promise->{state} && $got->{message} =~ $promise->{regex} && (!defined $got->{status} || $got->{status} eq $promise->{status});
	}
	elsif ($got)
	{
		$is_right = $got->{state} eq '' && !$got->{ended};
	}
	note(sprintf '%s: after %.1f s %s', $name, $took, $got ? "$got->{state} $got->{message}" =~ s/\s+/ /gr : 'no end');
	ok($is_right && $took < $deadline, "$name: ends as promised, in time")
	  or diag("seed $self->{seed}, ", sprintf 'after %.1f s: %s', $took, $got ? "$got->{state} " . ($got->{status} // '') . " $got->{out} $got->{message}" : 'no end');
	return;
}

sub check_jobs
{
	my ($self, $name, $promise) = @_;
	# a stand-in that was killed has none
	return pass("$name: no job is left") unless $self->{bq}->pid;
	# who was canceled cancels; of a process that has ended, a job ends at its own time limit
	my $is_canceled = ($promise->{state} // '') eq '57014';
	my $is_left = sub { $_[0]{state} ne 'DONE' || $is_canceled && ($_[0]{error}{message} // '') =~ /timed out/ };
	my @left;
	my $none = $self->until_true(sub { @left = grep { $is_left->($_) } $self->{bq}->jobs; !@left }, 6);
	ok($none, "$name: no job is left running") or diag(join ' ', map { $_->{job} } @left);
	return;
}

sub check_day
{
	my ($self, $name, $promise, $way, $got) = @_;
	if (!$self->query("SELECT count(*) FROM pg_class WHERE oid = $self->{target}"))
	{
		is($self->query("SELECT coalesce(to_regclass('tokens')::text, 'none')"), 'none', "$name: the table that was dropped is not made again");
		$self->later(sub { $self->{target} = $self->query("SELECT 'tokens'::regclass::oid") });
		unshift @{ $self->{undo} }, pop @{ $self->{undo} };
		return;
	}
	my $there = eval { $self->digest($self->query("SELECT $self->{target}::regclass")) } // $@;
	my $good = $self->{good}[ $self->{turn} ];
	my $wanted = $promise->{is} eq 'loaded' && $way ne 'query' ? $good : $self->{old};
	is($there, $wanted, "$name: the day is " . ($wanted eq $good ? 'the new one' : 'the old one') . ', as a whole');
	is($got ? $got->{out} : 'no end', $good, "$name: the query has the right rows") if $way eq 'query' && $promise->{is} eq 'loaded';
	return;
}

# What the ledger says since, in short.
sub check_ledger
{
	my ($self, $name, $promise, $way, $got, $fault) = @_;
	my $wanted = '';
	return is($self->query("SELECT coalesce(to_regclass('contratos_runs')::text, 'none')"), 'none', "$name: the ledger that was dropped is not made again") if $self->{is_dropped};
	if ($way eq 'worker')
	{
		$wanted = $promise->{is} eq 'loaded' ? "succeeded $rows" : "$promise->{status} $promise->{state}";
	}
	elsif ($way eq 'call' && $promise->{is} eq 'loaded')
	{
		$wanted = "succeeded $rows";
	}
	my $since = "FROM contratos_runs WHERE id > $self->{before}";
	my $said = eval { $self->query("SELECT string_agg(concat_ws(' ', status, sqlstate, CASE WHEN status = 'succeeded' THEN rows_loaded END), ', ' ORDER BY id) $since AND NOT only_cost") } // $@;
	is($said, $wanted, "$name: the ledger is true");
	my $twice = eval { $self->query("SELECT string_agg(job_id, ' ') FROM (SELECT job_id $since AND job_id IS NOT NULL GROUP BY job_id HAVING count(*) > 1) x") } // $@;
	is($twice, '', "$name: no job is in the ledger twice") if $twice ne '';
	return;
}

sub check_secrets
{
	my ($self, $name, $got, $fault) = @_;
	my $told = join "\n", $self->log_since, $got ? ($got->{out}, $got->{err}, $got->{message}) : (),
	  eval { $self->query("SELECT string_agg(concat_ws(' ', error, reason, why), ' ') FROM contratos_runs WHERE id > $self->{before}") } // '',
	  eval { $self->query(q(SELECT string_agg(query, ' ') FROM pg_stat_activity WHERE pid <> pg_backend_pid())) } // '';
	my @found = grep { $told =~ $_ } @{ $self->{secrets} };
	my @sent = grep { ($_->{bearer} // 'missing') ne 'missing' || $_->{assertion} } $self->{elsewhere}->requests;
	$self->{elsewhere}->reset;
	# the administrator's own word
	@sent = () if grep { $_->[1] eq 'endpoint={elsewhere}' } @{ $fault->{steps} };
	ok(!@found && !@sent, "$name: no secret is told, or sent elsewhere") or diag("@found ", map { "$_->{kind} " } @sent);
	return;
}

sub log_since
{
	my ($self) = @_;
	open my $log, '<', $self->{node}->logfile or return '';
	seek $log, $self->{log_from}, 0;
	local $/ = undef;
	return <$log> // '';
}

# Without the fault it succeeds, and the process is as it was.
sub check_next
{
	my ($self, $name, $way, $fault) = @_;
	my $ok = eval { $self->try_clean($way) };
	ok($ok, "$name: the next attempt succeeds, with the right rows") or diag($@ || $self->{complaint});
	# what is in the table is still what BigQuery had before
	$self->{turn} = 1 - $self->{turn} if $way eq 'query';
	my $pid = $self->pid($way);
	my $grown = $self->memory_of($pid) - ($self->{known}{$pid} // $self->memory_of($pid));
	$self->{growth}{$way} = $grown if $grown > ($self->{growth}{$way} // 0);
	if ($grown > $tolerance_kb && $grown < $largest_kb && grep { $_->[0] eq 'do' || $_->[1] =~ /"swell"/ } @{ $fault->{steps} })
	{
		$self->{known}{$pid} += $grown;
		$grown = 0;
	}
	# the worker may just look for what is due
	my ($open, $locks);
	my $look = sub {
		$open = foreign_fds($pid) - ($self->{open}{$pid} // foreign_fds($pid));
		$locks = $self->query("SELECT string_agg(concat_ws(' ', locktype, mode, relation::regclass), ', ') FROM pg_locks WHERE pid = $pid AND locktype NOT IN ('virtualxid', 'advisory') OR $claim");
		return $open == 0 && $locks eq '';
	};
	my $is_free = $self->until_true($look, 5);
	ok($is_free && $grown <= $tolerance_kb && !files_of_ours($pid), "$name: descriptors, locks and memory are back")
	  or diag("descriptors more: $open; kB more: $grown; locks: $locks; files: ", files_of_ours($pid));
	return;
}

# RssAnon of a process, in kB.
sub memory_of
{
	my ($self, $pid) = @_;
	my ($kb) = (-e "/proc/$pid/status" ? slurp_file("/proc/$pid/status") : '') =~ /^RssAnon:\s+(\d+)/m;
	return $kb // 0;
}

# The number of its descriptors that are no files: sockets, pipes, epoll.
sub foreign_fds
{
	my ($pid) = @_;
	return scalar grep { !m{^/} } map { readlink($_) // () } glob "/proc/$pid/fd/*";
}

# Files that are not PostgreSQL's: keys and certificates.
sub files_of_ours
{
	my ($pid) = @_;
	return join ' ', grep { /standin/ } map { readlink($_) // '' } glob "/proc/$pid/fd/*";
}

sub report
{
	my ($self) = @_;
	note("$_: at most $self->{growth}{$_} kB more") for sort keys %{ $self->{growth} };
	return;
}

sub stop
{
	my ($self) = @_;
	$self->report;
	$_->quit for grep { defined } @$self{qw(admin call other)};
	$self->{elsewhere}->stop;
	$self->{f}->stop;
	return;
}

# ---------------------------------------------------------------- the words: before

sub step_answer
{
	my ($self, $text) = @_;
	my ($kind, $row, $times, $action) = $text =~ /^(\w+)(?:\@(\d+))?(?: (always|nth \d+))? (\{.*\})$/ or die $text;
	my %match = (kind => $kind);
	$match{start_index} = $row + 0 if defined $row;
	$match{times} = 0 if ($times // '') eq 'always';
	$match{nth} = $1 + 0 if ($times // '') =~ /nth (\d+)/;
	$action =~ s/\{elsewhere\}/$self->{elsewhere}->url/ge;
	$self->{bq}->rule(\%match, $json->decode($action));
	return;
}

sub step_fresh_token
{
	my ($self) = @_;
	utime undef, undef, $self->{bq}->key_file or die "key file: $!";
	return;
}

sub step_key
{
	my ($self, $kind) = @_;
	my $path = $self->{bq}->directory . "/certs/$kind-of-a-fault.json";
	my $content = slurp_file($self->{bq}->key_file);
	unlink $path;
	$content = '' if $kind eq 'empty';
	$content = substr $content, 0, 500 if $kind eq 'cut';
	$content =~ s{http://127\.0\.0\.1:\d+/token}{$self->closed . '/token'}e if $kind eq 'closed';
	$path = $self->{bq}->ec_key_file if $kind eq 'elliptic';
	$path = $self->{bq}->unknown_key_file if $kind eq 'unknown';
	if ($kind =~ /^(?:open|empty|cut|closed)$/)
	{
		append_to_file($path, $content);
		chmod $kind eq 'open' ? 0644 : 0600, $path or die "$path: $!";
	}
	$self->step_option("credentials_file=$path");
	return;
}

# A port that nobody listens on.
sub closed
{
	my ($self) = @_;
	$self->{closed} //= PostgreSQL::Test::Cluster::get_free_port();
	return "http://127.0.0.1:$self->{closed}";
}

sub filled
{
	my ($self, $text) = @_;
	my $bq = $self->{bq};
	my %url = (
		closed => sub { $self->closed }, mute => sub { $bq->mute_url }, http => sub { $bq->url }, https => sub { $bq->https_url },
		https_of_http => sub { $bq->url =~ s/^http/https/r }, http_of_https => sub { $bq->https_url =~ s/^https/http/r },
		stall_tls => sub { $bq->stall_tls_url }, elsewhere => sub { $self->{elsewhere}->url }, ca => sub { $bq->ca_file }, other_ca => sub { $bq->other_ca_file },
		no_file => sub { $bq->directory . '/certs/no-such-file.pem' }, key => sub { $bq->key_file },
		map { my $name = $_; $name => sub { $bq->bad_url($name) } } qw(expired wrong_name old_tls cut_tls not_tls));
	$text =~ s/\{(\w+)\}/($url{$1} or die "no such place: $1\n")->()/ge;
	return $text;
}

sub step_option
{
	my ($self, $text) = @_;
	my ($name, $value) = split /=/, $self->filled($text), 2;
	$self->query("ALTER SERVER bigquery OPTIONS (ADD $name '$value')");
	$self->later(sub { $self->query("ALTER SERVER bigquery OPTIONS (DROP $name)") });
	return;
}

sub step_set
{
	my ($self, $text, $way) = @_;
	my ($name, $value) = split /=/, $self->filled($text), 2;
	if ($way ne 'worker')
	{
		my $answer = $self->{call}->query("SET $name = '$value'");
		die $answer->{err} if $answer->{err};
		$self->later(sub { $self->{call}->query("RESET $name") });
		return;
	}
	$self->reload("ALTER SYSTEM SET $name = '$value'");
	$self->later(sub { $self->reload("ALTER SYSTEM RESET $name") });
	return;
}

# A change of the configuration: the worker leaves, and another one sees it.
sub reload
{
	my ($self, $sql) = @_;
	my $before = $self->worker_pid || 0;
	$self->query($sql);
	$self->query('SELECT pg_reload_conf()');
	$self->until_true(sub { my $now = $self->worker_pid; $now ne '' && $now != $before }) or die 'no other worker';
	$self->settled or die 'the other worker does not settle';
	return;
}

sub step_sql { my ($self, $text) = @_; $self->query($text); return; }

sub step_undo { my ($self, $text) = @_; $self->later(sub { $self->query($text) }); return; }

sub step_other
{
	my ($self, $text) = @_;
	my $answer = $self->{other}->query($text);
	die "$text: $answer->{err}" if $answer->{err} =~ /ERROR/;
	return;
}

sub step_upstream
{
	my ($self, $text) = @_;
	if ($text =~ /^rows (\d+)$/)
	{
		$self->upstream($1);
		$self->later(sub { $self->upstream($rows) });
		return;
	}
	my ($method, $arguments) = split / /, $text, 2;
	my %arguments = %{ $json->decode($arguments) };
	$self->{bq}->$method(undef, %arguments);
	return;
}

sub step_restore
{
	my ($self, $text) = @_;
	$self->later(sub { $self->step_upstream($text); $self->upstream($rows) });
	return;
}

sub step_full
{
	my ($self, $part) = @_;
	$part =~ s/\{(\w+)\}/$self->query("SELECT pg_relation_filepath('$1')")/ge;
	append_to_file($self->{full}, $part);
	$self->later(sub { unlink $self->{full} });
	return;
}

sub step_memory
{
	my ($self, $kb, $way) = @_;
	my $pid = $self->pid($way);
	my ($size) = slurp_file("/proc/$pid/status") =~ /^VmSize:\s+(\d+)/m;
	system_or_bail('prlimit', '--pid', $pid, '--as=' . ($size + $kb) * 1024 . ':unlimited');
	$self->later(sub { system_or_bail('prlimit', '--pid', $pid, '--as=unlimited:unlimited') if -e "/proc/$pid" });
	return;
}

sub step_do { my ($self, $text) = @_; $self->{statement} = $text; return; }

# ---------------------------------------------------------------- the words: meanwhile

my %held = (
	token => [ { kind => 'token' }, { stall => 'before_headers' } ],
	insert => [ { kind => 'insert' }, { stall => 'before_work' } ],
	job => [ { kind => 'insert' }, { job_pending => JSON::PP::true } ],
	page => [ { kind => 'results' }, { stall => 'mid_body' } ],
	page2 => [ { kind => 'results', start_index => 10 }, { stall => 'mid_body' } ],
	reader => [ { kind => 'results', start_index => 20 }, { stall => 'mid_body' } ],
	last => [ { kind => 'results', start_index => 40 }, { stall => 'mid_body' } ]);

sub step_hold
{
	my ($self, $point, $way) = @_;
	if (my $lock = $gate{$point})
	{
		my $when = $point eq 'write' ? 'BEFORE INSERT ON tokens' : 'AFTER INSERT ON tokens DEFERRABLE INITIALLY DEFERRED';
		my $kind = $point eq 'write' ? 'TRIGGER' : 'CONSTRAINT TRIGGER';
		$self->query("CREATE $kind gate $when FOR EACH ROW EXECUTE FUNCTION faults.gate($lock)");
		$self->later(sub { $self->query('DROP TRIGGER gate ON tokens') });
		$self->{other}->query("SELECT pg_advisory_lock($lock)");
		$self->begin_once($way);
		$self->until_true(sub { $self->query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $lock AND NOT granted") eq '1' }) or die "nobody is held at $point";
		return;
	}
	$self->step_fresh_token if $point eq 'token';
	my $rule = $self->{bq}->rule(@{ $held{$point} });
	$self->begin_once($way);
	$self->{bq}->wait(rule => $rule, state => $point eq 'job' ? 'answered' : 'stalled', timeout => $deadline);
	# where the job's answer is read, and its end is waited for
	$self->{bq}->wait(kind => 'results', state => 'seen', timeout => $deadline) if $point eq 'job';
	$self->process('reader') if $point eq 'reader';
	return;
}

sub step_cancel
{
	my ($self, $argument, $way) = @_;
	$self->query($way eq 'worker' ? q(SELECT contratos_cancel(id) FROM contratos_runs WHERE status = 'running') : "SELECT pg_cancel_backend($self->{pid})");
	return;
}

sub step_terminate { my ($self) = @_; $self->query("SELECT pg_terminate_backend($self->{pid})"); return; }

sub step_stop
{
	my ($self) = @_;
	my $pid = $self->{pid};
	kill 'STOP', $pid or die "STOP: $!";
	$self->until_true(sub { slurp_file("/proc/$pid/stat") =~ /\) T / }) or die 'it does not stop';
	$self->release;
	$self->{bq}->wait(kind => 'insert', state => 'answered', timeout => $deadline) if $self->{bq}->requests('insert');
	kill 'CONT', $pid or die "CONT: $!";
	return;
}

# Processes by their title.
sub process
{
	my ($self, $whom) = @_;
	my $title = $whom eq 'reader' ? "contratos reader for process $self->{pid}" : 'contratos launcher';
	my @found;
	$self->until_true(
		sub {
			my $port = $self->{node}->data_dir;
			@found = grep { ($self->{node} && slurp_or_nothing("/proc/$_/cmdline") =~ /\Q$title\E/) && is_of($_, slurp_file("$port/postmaster.pid")) }
			  map { m{(\d+)} } glob '/proc/[0-9]*';
			return @found == 1;
		}) or die "no $whom";
	return $found[0];
}

sub slurp_or_nothing { my ($path) = @_; open my $file, '<', $path or return ''; local $/ = undef; return <$file> // ''; }

sub is_of { my ($pid, $file) = @_; my ($parent) = slurp_or_nothing("/proc/$pid/stat") =~ /\) \w (\d+) /; return $parent && $file =~ /^$parent\b/; }

sub step_kill
{
	my ($self, $whom) = @_;
	if ($whom eq 'standin')
	{
		$self->{bq}->kill;
		$self->later(sub { $self->{bq}->restart });
		return;
	}
	my $pid = $whom ? $self->process($whom) : $self->{pid};
	$self->{is_killed} = 1;
	kill 'KILL', $pid or die "KILL: $!";
	$self->until_true(sub { !-e "/proc/$pid" });
	return;
}

sub step_end
{
	my ($self, $whom) = @_;
	my $pid = $self->process($whom);
	kill 'TERM', $pid or die "TERM: $!";
	$self->until_true(sub { !-e "/proc/$pid" });
	# another one is started, some seconds later
	$self->later(sub { $self->process($whom) }) if $whom eq 'launcher';
	return;
}

# Stands still until it is to resume, or until the end.
sub step_halt
{
	my ($self, $whom) = @_;
	my $pid = $self->{halted} = $self->process($whom);
	kill 'STOP', $pid or die "STOP: $!";
	$self->later(sub { $self->step_resume });
	return;
}

sub step_resume { my ($self) = @_; my $pid = delete $self->{halted}; kill 'CONT', $pid if $pid; return; }

sub restart_server
{
	my ($self, $mode) = @_;
	$self->{is_killed} = 1;
	$self->{node}->stop($mode);
	local $ENV{LD_PRELOAD} = full_disk();
	local $ENV{FULL_DISK} = $self->{full};
	$self->{node}->start;
	return;
}

sub step_immediate { $_[0]->restart_server('immediate'); return; }

sub step_fast { $_[0]->restart_server('fast'); return; }

sub step_gone
{
	my ($self) = @_;
	$self->{call}->quit;
	$self->release;
	my $pid = $self->{pid};
	$self->until_true(sub { !-e "/proc/$pid" }) or die 'the session stays';
	return;
}

sub step_meanwhile { my ($self, $text) = @_; $self->query("SET lock_timeout = '5s'; $text; RESET lock_timeout"); return; }

sub step_blocked
{
	my ($self, $text) = @_;
	my $session = Contratos::Session->new($self->{node});
	$session->query('SET client_min_messages = error');
	$session->send($text);
	$self->until_true(sub { $self->query('SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = ' . $session->pid) ne '0' }, 5) or die "nothing blocks $text";
	push @{ $self->{blocked} }, $session;
	return;
}

sub step_drop_extension
{
	my ($self) = @_;
	$self->query("SET lock_timeout = '5s'; DROP EXTENSION contratos CASCADE; RESET lock_timeout");
	$self->{is_dropped} = 1;
	$self->later(
		sub {
			$self->query('CREATE EXTENSION contratos');
			$self->until_true(sub { $self->query('SELECT count(*) FROM contratos_sources') }) or die 'the worker does not set up its source';
			$self->settled or die 'the worker does not settle';
			$self->set_up_source;
			$self->{is_dropped} = $self->{before} = 0;
		});
	return;
}

sub step_release { $_[0]->release; return; }

# See go.
sub step_since { return; }

1;
