# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Session - a psql that stays open, for TAP tests

=head1 SYNOPSIS

  my $session = Contratos::Session->new($node);
  $session->send(q{SELECT contratos_run('2024-03-01')});    # does not wait
  ...                                                       # something else
  my $answer = $session->finish;                            # waits
  like($answer->{err}, qr/canceling statement/);
  is($session->query('SELECT 1')->{out}, '1');

PostgreSQL's own background_psql() has changed its shape between versions and
keeps output and errors apart only in the newer ones.

=cut

package Contratos::Session;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;

=head1 METHODS

=head2 new($node, dbname => ..., user => ...)

Connects; C<pid> is the backend's.

=cut

sub new
{
	my ($class, $node, %options) = @_;
	my $dbname = $options{dbname} // 'postgres';
	my $self = bless { in => '', out => '', err => '', number => 0 }, $class;
	my @user = defined $options{user} ? ('-U', $options{user}) : ();
	$self->{harness} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr($dbname), @user ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err},
		$self->{deadline} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$self->{pid} = $self->query('SELECT pg_backend_pid()')->{out};
	return $self;
}

# The backend's process.
sub pid { return $_[0]{pid}; }

=head2 send($sql), finish(), query($sql)

C<finish> waits for what was sent and returns C<< { out, err, ended } >>, the
last of them true when psql has ended, as it does when its connection is lost.
C<query> does both.

=cut

sub send
{
	my ($self, $sql) = @_;
	my $mark = $self->mark(++$self->{number});
	# for each statement anew, not for the session's whole life
	$self->{deadline}->start;
	# to both: they are different pipes, and each must be known to be read
	$self->{in} .= "$sql;\n\\echo $mark\n\\warn $mark\n";
	$self->{harness}->pump_nb while length $self->{in} && $self->{harness}->pumpable;
	return;
}

sub finish
{
	my ($self) = @_;
	my $mark = $self->mark($self->{number});
	my $done = sub { $self->{out} =~ /^$mark$/m && $self->{err} =~ /^$mark$/m };
	until ($done->())
	{
		last unless $self->{harness}->pumpable;
		# dies when the last pipe closes under it, which the next turn sees
		eval { $self->{harness}->pump; 1 } or $self->rethrow($@);
	}
	my %answer = (ended => !$done->());
	for my $stream (qw(out err))
	{
		($answer{$stream} = $self->{$stream}) =~ s/^$mark$//m;
		$answer{$stream} =~ s/\s+\z//;
		$self->{$stream} = '';
	}
	return \%answer;
}

sub query
{
	my ($self, $sql) = @_;
	$self->send($sql);
	return $self->finish;
}

=head2 is_waiting()

Whether the answer to what was sent is still outstanding.

=cut

sub is_waiting
{
	my ($self) = @_;
	my $mark = $self->mark($self->{number});
	$self->{harness}->pump_nb if $self->{harness}->pumpable;
	return $self->{harness}->pumpable && $self->{err} !~ /^$mark$/m;
}

# Ends psql, whatever it is doing.
sub quit
{
	my ($self) = @_;
	my $harness = delete $self->{harness} or return;
	$harness->kill_kill;
	return;
}

sub mark { return "== $_[1] is done =="; }

sub rethrow
{
	my ($self, $problem) = @_;
	die $problem if $problem =~ /timeout/ || $self->{harness}->pumpable;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	$self->quit;
	return;
}

1;
