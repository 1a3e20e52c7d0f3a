# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Standin - the stand-in BigQuery server, for TAP tests

=head1 SYNOPSIS

  my $bq = Contratos::Standin->start(dense_ends => '2026-11-20');
  $node->append_conf('postgresql.conf',
      "contratos.endpoint = '" . $bq->url . "'\n"
    . "contratos.credentials_file = '" . $bq->key_file . "'\n");

  my $rule = $bq->rule({ kind => 'results', start_index => 50000 }, { stall => 'mid_body' });
  ...                                      # a query in the background
  $bq->wait(rule => $rule, state => 'stalled');
  ...                                      # cancel it
  $bq->wait(rule => $rule, state => 'closed');
  $bq->release($rule);

Every call dies with a message when the server refuses it or a deadline
passes.  The server ends with the object, or with this process.

=cut

package Contratos::Standin;

use strict;
use warnings;

use Cwd qw(abs_path);
use Errno qw(EINTR);
use File::Basename qw(dirname);
use File::Temp;
use HTTP::Tiny;
use JSON::PP;
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

my $here = dirname(abs_path(__FILE__));
my $server = abs_path("$here/../../standin/server.py");
my $patience = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180;
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

=head1 METHODS

=head2 start(%options)

Starts a server in a directory of its own and returns when it listens.
Options: C<dense_ends>, C<shift_days>, C<csv>, C<generate> ("day:rows"),
C<project>; true or false: C<anonymous>, C<bad_tls>, C<token_tls>, C<verbose>.

=cut

sub start
{
	my ($class, %options) = @_;
	my $self = bless {
		options => \%options,
		directory => File::Temp->newdir('standin-XXXXXX', TMPDIR => 1),
		ports => {},
		changes => [],
		owner => $$,
	}, $class;
	$self->_launch;
	return $self;
}

# The directory with keys, certificates and the server's output.
sub directory { return "$_[0]{directory}"; }

# http://127.0.0.1:port, to be used as the endpoint; over TLS; by host name.
sub url { return "http://127.0.0.1:$_[0]{ports}{http_port}"; }
sub https_url { return "https://127.0.0.1:$_[0]{ports}{https_port}"; }
sub localhost_url { return "https://localhost:$_[0]{ports}{https_port}"; }

# An endpoint whose TLS handshake never ends, and one that never answers.
sub stall_tls_url { return "https://127.0.0.1:$_[0]{ports}{stall_tls_port}"; }
sub mute_url { return "http://127.0.0.1:$_[0]{ports}{mute_port}"; }

# An endpoint of those that --bad-tls adds: expired, wrong_name, old_tls, cut_tls, not_tls.
sub bad_url { return "https://127.0.0.1:$_[0]{ports}{ $_[1] . '_port' }"; }

# Files: the authority that signed the server's certificate and one that did
# not; the key file that is accepted, one with another key, one of another kind.
sub ca_file { return $_[0]->directory . '/certs/ca.pem'; }
sub other_ca_file { return $_[0]->directory . '/certs/other_ca.pem'; }
sub key_file { return $_[0]->directory . '/certs/key.json'; }
sub unknown_key_file { return $_[0]->directory . '/certs/unknown_key.json'; }
sub ec_key_file { return $_[0]->directory . '/certs/ec_key.json'; }

# Credentials of other kinds: a user's, federation's (with the file of its
# subject token), a service account by impersonation.
sub user_file { return $_[0]->directory . '/certs/user.json'; }
sub external_file { return $_[0]->directory . '/certs/external.json'; }
sub subject_token_file { return $_[0]->directory . '/certs/subject_token'; }
sub impersonated_file { return $_[0]->directory . '/certs/impersonated.json'; }

# The server's process, while it runs.
sub pid { return $_[0]{pid}; }

# What the server wrote to its standard error.
sub log_file { return $_[0]->directory . '/log'; }

=head2 rule(\%match, \%action)

The number of a new rule; see test/standin/README.md for both.

=head2 release($rule), release()

Lets what one rule holds go on; without a number, what all rules hold.

=head2 wait(%wanted)

The log entry of the request that is waited for: C<< rule => number >> or
C<< kind => ..., nth => ... >>, and C<state> (seen, stalled, closed, answered).

=head2 requests($kind), jobs(), rules()

Lists of hashes: the log (of one kind of request), the jobs, the rules.

=head2 reset(tables => 0|1, tokens => 0|1)

Forgets log, rules and jobs, and (unless told otherwise) tokens, and puts the
tables back to what they were at the start.

=head2 table($name, %content), delete_day($name, $day)

Creates a table or replaces its rows: C<schema>, C<rows>, C<generate>,
C<replace_day>, C<append>, C<bytes_processed>; what tables.get says of it:
C<type>, C<description>, C<time_partitioning>, C<range_partitioning>,
C<require_partition_filter>, C<partition_column>, C<last_modified>,
C<attributes>; C<partition>, C<location>.  C<$name> undef: the tokens.

=head2 alter($name, %how), drop_table($name), dataset($name, $location)

Changes a table's schema while its rows stay: C<add> (fields), C<drop> (names),
C<change> (by column a type, or attributes of the field).  Drops a table.
Creates an empty dataset, 'project.dataset', or moves it.

=cut

sub rule
{
	my ($self, $match, $action) = @_;
	return $self->_control('POST', 'rule', { match => $match, action => $action })->{id};
}

sub release
{
	my ($self, $rule) = @_;
	$self->_control('POST', 'release', { rule => $rule });
	return;
}

sub wait
{
	my ($self, %wanted) = @_;
	return $self->_control('POST', 'wait', { timeout => $patience, %wanted })->{request};
}

sub requests
{
	my ($self, $kind) = @_;
	my $name = defined $kind ? "requests?kind=$kind" : 'requests';
	return @{ $self->_control('GET', $name)->{requests} };
}

sub jobs { return @{ $_[0]->_control('GET', 'jobs')->{jobs} }; }
sub rules { return @{ $_[0]->_control('GET', 'rules')->{rules} }; }

sub reset
{
	my ($self, %what) = @_;
	my $tables = $what{tables} // 1;
	# An account's key is known for good.
	$self->{changes} = [ grep { $_->[1] eq 'account' } @{ $self->{changes} } ] if $tables;
	my %body = (tables => $tables, tokens => $what{tokens} // 1);
	$self->_control('POST', 'reset', { map { $_ => $body{$_} ? JSON::PP::true : JSON::PP::false } keys %body });
	return;
}

sub table
{
	my ($self, $name, %content) = @_;
	return $self->_change('POST', 'table', { table => $name // $self->tokens, %content })->{rows};
}

sub delete_day
{
	my ($self, $name, $day) = @_;
	return $self->_change('DELETE', 'table', { table => $name // $self->tokens, day => $day })->{rows};
}

sub alter
{
	my ($self, $name, %how) = @_;
	return $self->_change('POST', 'schema', { table => $name // $self->tokens, %how })->{rows};
}

sub drop_table
{
	my ($self, $name) = @_;
	$self->_change('DELETE', 'table', { table => $name // $self->tokens });
	return;
}

sub dataset
{
	my ($self, $name, $location) = @_;
	$self->_change('POST', 'dataset', { dataset => $name, location => $location // 'US' });
	return;
}

sub account
{
	my ($self, $name, $project) = @_;
	my %body = (account => $name, defined $project ? (project => $project) : ());
	return $self->_change('POST', 'account', \%body)->{key_file};
}

sub subject
{
	my ($self, $token) = @_;
	$self->_control('POST', 'subject', { token => $token });
	return;
}

sub project
{
	my ($self, $name, %who) = @_;
	$who{billed} = $who{billed} ? JSON::PP::true : JSON::PP::false if exists $who{billed};
	$self->_change('POST', 'project', { project => $name, %who });
	return;
}

# The full name of the tokens table.
sub tokens { return $_[0]{ready}{table}; }

=head2 account($name, $project), project($name, %who)

Makes the server know one more service account; gives the path of its key file,
whose project is C<$project>.  Opens a project: C<accounts> (names; all unless
given), C<billed> (true unless given: it may have jobs).  Both go with a reset
of the tables, but key files stay good.

=head2 subject($token)

Until the next reset the subject token is another: the URL gives it, and it alone
can be exchanged.

=head2 kill(), restart()

Ends the server with SIGKILL; starts it again on the same ports, with the same
keys and tables, but without its jobs, tokens, rules and log.

=cut

sub kill
{
	my ($self) = @_;
	$self->_end('KILL');
	return;
}

sub restart
{
	my ($self) = @_;
	$self->_end('TERM');
	$self->_launch;
	$self->_control(@$_) for @{ $self->{changes} };
	return;
}

sub stop { $_[0]->_end('TERM'); return; }

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@, $!);
	# A fork of the test must not end the server of its parent.
	$self->_end('TERM') if ($self->{owner} // 0) == $$;
	return;
}

# -- inside --------------------------------------------------------------------

sub _change
{
	my ($self, $method, $call, $body) = @_;
	my $answer = $self->_control($method, $call, $body);
	# Remembered for restart(), which finds a server without them.
	push @{ $self->{changes} }, [ $method, $call, $body ];
	return $answer;
}

sub _command
{
	my ($self) = @_;
	my @command = ($ENV{PYTHON} || 'python3', $server, '--certs', $self->directory . '/certs',
		'--ready-file', $self->directory . '/ready', '--with-parent');
	for my $name (sort keys %{ $self->{options} })
	{
		my $value = $self->{options}{$name};
		my $option = '--' . $name =~ tr/_/-/r;
		my $switch = $name =~ /^(?:anonymous|bad_tls|token_tls|verbose)$/;
		push @command, $switch ? ($value ? $option : ()) : ($option, $value);
	}
	for my $name (grep { /_port$/ } sort keys %{ $self->{ports} })
	{
		push @command, '--' . $name =~ tr/_/-/r, $self->{ports}{$name};
	}
	return @command;
}

sub _launch
{
	my ($self) = @_;
	my @command = $self->_command;
	unlink $self->directory . '/ready';
	my $pid = fork;
	die "could not fork: $!" unless defined $pid;
	if (!$pid)
	{
		# Output in a file: a server that holds the test's own would keep prove waiting.
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $self->log_file;
		open STDERR, '>&', \*STDOUT;
		exec { $command[0] } @command or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	$self->_await_ready;
	return;
}

sub _await_ready
{
	my ($self) = @_;
	my $deadline = time + $patience;
	until (-e $self->directory . '/ready')
	{
		my $ended = waitpid($self->{pid}, WNOHANG) == $self->{pid};
		if ($ended || time > $deadline)
		{
			delete $self->{pid} if $ended;
			die 'the stand-in did not start: ' . _slurp($self->log_file);
		}
		sleep 0.02;
	}
	$self->{ready} = $json->decode(_slurp($self->directory . '/ready'));
	$self->{ports} = { map { $_ => $self->{ready}{$_} } grep { /_port$/ } keys %{ $self->{ready} } };
	return;
}

sub _end
{
	my ($self, $signal) = @_;
	my $pid = delete $self->{pid} or return;
	CORE::kill($signal, $pid);
	1 while waitpid($pid, 0) == -1 && $! == EINTR;
	return;
}

sub _control
{
	my ($self, $method, $name, $body) = @_;
	die 'the stand-in is not running' unless $self->{pid};
	# A proxy of the environment is not for us.
	my $http = HTTP::Tiny->new(timeout => $patience + 10, proxy => undef, http_proxy => undef, https_proxy => undef);
	my %request = defined $body ? (content => $json->encode($body)) : ();
	my $answer = $http->request($method, $self->url . "/_control/$name", \%request);
	die "stand-in: $method $name: $answer->{status} $answer->{content}" unless $answer->{success};
	return $json->decode($answer->{content});
}

sub _slurp
{
	my ($path) = @_;
	open my $file, '<', $path or return "(no $path)";
	local $/;
	return scalar <$file>;
}

1;
