# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Fixture - a cluster with contratos and a stand-in BigQuery, for TAP tests

=head1 SYNOPSIS

  my $f = Contratos::Fixture->new;
  $f->day('2026-11-20', 50);               # 50 made-up rows in BigQuery
  is($f->query('SELECT ...'), ..., '...');
  my $error = $f->fails(q(SELECT contratos_run('2026-11-20')));

"Now" is 06:00 UTC on 2026-11-21 (contratos.now), so that 2026-11-20 is the
last complete day, which is also where the sample's dense days end.

=cut

package Contratos::Fixture;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Standin;

my $patience = $PostgreSQL::Test::Utils::timeout_default || 180;

=head1 METHODS

=head2 new(%options)

C<standin>: options of the stand-in; C<conf>: more for postgresql.conf;
C<init>: options of init().  The extension is created in database postgres, in
C<version>, by default the newest.

=cut

sub new
{
	my ($class, %options) = @_;
	my $bq = Contratos::Standin->start(dense_ends => '2026-11-20', %{ $options{standin} || {} });
	my $node = PostgreSQL::Test::Cluster->new($options{name} || 'main');
	$node->init(%{ $options{init} || {} });
	$node->append_conf(
		'postgresql.conf', qq(
contratos.endpoint = '@{[ $bq->url ]}'
contratos.credentials_file = '@{[ $bq->key_file ]}'
contratos.project = 'test-project'
contratos.now = '2026-11-21 06:00:00+00'
timezone = 'UTC'
@{[ $options{conf} || '' ]}
));
	$node->start;
	my $self = bless { bq => $bq, node => $node, database => 'postgres' }, $class;
	$self->query('CREATE EXTENSION contratos' . ($options{version} ? " VERSION '$options{version}'" : ''));
	return $self;
}

sub bq { return $_[0]{bq}; }
sub node { return $_[0]{node}; }

# Statements go to this database from now on.
sub use_database { $_[0]{database} = $_[1]; return; }

# What a statement returns; dies when it fails.
sub query
{
	my ($self, $sql) = @_;
	my ($code, $out, $err) = $self->psql($sql);
	die "failed: $sql\n$err" if $code;
	return $out;
}

# Repeats a query until it returns what is wanted, or the deadline has passed; its last
# result.  In $session (a Contratos::Session), if there is one.
sub eventually
{
	my ($self, $sql, $wanted, $session) = @_;
	my $until = time + $patience;
	my $got;
	while (1)
	{
		$got = $session ? $session->query($sql)->{out} : $self->query($sql);
		last if $got eq $wanted || time >= $until;
		select undef, undef, undef, 0.05;
	}
	return $got;
}

# Exit code, output and messages (with SQLSTATE) of statements.
sub psql
{
	my ($self, $sql) = @_;
	my ($code, $out, $err) = $self->{node}->psql($self->{database}, "\\set VERBOSITY verbose\n$sql", on_error_stop => 1);
	return ($code, $out, $err);
}

# What statements say besides their result; dies when they fail.
sub messages
{
	my ($self, $sql) = @_;
	my ($code, $out, $err) = $self->psql($sql);
	die "failed: $sql\n$err" if $code;
	return $err;
}

# The error of statements that must fail: a failed test, and '', when they do not.
sub fails
{
	my ($self, $sql) = @_;
	my ($code, $out, $err) = $self->psql($sql);
	return $err if $code;
	fail("fails: $sql");
	return '';
}

=head2 day($day, $rows, %more)

Lets BigQuery have so many made-up rows of a day, and no others of that day.

=cut

sub day
{
	my ($self, $day, $rows, %more) = @_;
	$self->{bq}->table(undef, replace_day => $day, generate => { day => $day, rows => $rows, %more });
	return;
}

# A row of tokens as the stand-in takes it; only what matters is said.
sub row
{
	my ($self, %values) = @_;
	return {
		address => '0xe',
		block_timestamp => '2026-11-20 12:00:00+00:00',
		block_number => 1,
		block_hash => '0xb',
		%values
	};
}

# Kinds of the requests logged since the last reset, counted: "1 token, 2 insert".
sub requests
{
	my ($self) = @_;
	my (%count, @order);
	for my $request ($self->{bq}->requests)
	{
		push @order, $request->{kind} unless $count{ $request->{kind} }++;
	}
	return join ', ', map { "$count{$_} $_" } @order;
}

=head2 begin($sql), finish($session)

Runs statements in a psql of their own; waits for it and gives its exit code,
output and messages.  In between: C<said($session, $regex)> waits until its
messages match.

=cut

sub begin
{
	my ($self, $sql) = @_;
	my %session = (in => "\\set VERBOSITY verbose\n$sql;\n", out => '', err => '');
	$session{harness} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $self->{node}->connstr($self->{database}), '-f', '-' ],
		'<', \$session{in}, '>', \$session{out}, '2>', \$session{err},
		IPC::Run::timeout($patience));
	$session{harness}->pump_nb while length $session{in};
	return \%session;
}

sub finish
{
	my ($self, $session) = @_;
	$session->{harness}->finish;
	chomp $session->{out};
	return ($session->{harness}->result(0), $session->{out}, $session->{err});
}

sub said
{
	my ($self, $session, $regex) = @_;
	$session->{harness}->pump while $session->{err} !~ $regex && $session->{harness}->pumpable;
	return $session->{err} =~ $regex;
}

sub stop
{
	my ($self) = @_;
	$self->{node}->stop;
	$self->{bq}->stop;
	return;
}

1;
