# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Worker - a fixture whose cluster has the worker on, for TAP tests

=head1 SYNOPSIS

  my $f = Contratos::Worker->new;
  $f->day('2026-11-20', 50);
  $f->at('2026-11-21 08:00');              # time stands still until the next at()
  $f->settle;                              # nothing is due any more

The clock is contratos.now; a reload makes an idle worker leave, and the one
that is started in its place sees the new time.

=cut

package Contratos::Worker;

use strict;
use warnings;

use parent 'Contratos::Fixture';

use PostgreSQL::Test::Utils;
use Test::More;

# Asleep: it has looked, and nothing is due.
my $asleep = q(coalesce(state, 'idle') = 'idle' AND wait_event_type = 'Extension');

=head1 METHODS

=head2 new(%options)

As Contratos::Fixture's, with the library preloaded and a worker for database
postgres, which has set up the built-in source when this returns.

=cut

sub new
{
	my ($class, %options) = @_;
	my $self = $class->SUPER::new(
		%options,
		conf => qq(
shared_preload_libraries = 'contratos'
contratos.databases = 'postgres'
@{[ $options{conf} || '' ]}));
	$self->await_source unless $options{unsettled};
	return $self;
}

# CREATE EXTENSION wakes the worker, which then sets up the built-in source.
sub await_source
{
	my ($self) = @_;
	return $self->poll('SELECT count(*) > 0 FROM contratos_sources') && $self->settle;
}

# The process of a database's worker; '' when there is none.
sub worker
{
	my ($self, $database) = @_;
	return $self->activity('pid', $database);
}

# A column of pg_stat_activity of the worker; '' when there is none.
sub activity
{
	my ($self, $column, $database) = @_;
	$database //= $self->{database};
	return $self->query("SELECT $column FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND datname = '$database'");
}

=head2 settle([$database]), poll($sql)

Waits until the worker sleeps; until a query says true.  Both say whether it
came to that, and diag() what there is otherwise.

=cut

sub settle
{
	my ($self, $database) = @_;
	$database //= $self->{database};
	return $self->poll(
		qq(SELECT count(*) = 1 FROM pg_stat_activity
		   WHERE backend_type = 'contratos worker' AND datname = '$database' AND $asleep));
}

sub poll
{
	my ($self, $sql) = @_;
	return 1 if $self->{node}->poll_query_until($self->{database}, $sql);
	diag("in vain: $sql\n", $self->query('SELECT datname, backend_type, state, query FROM pg_stat_activity'));
	return 0;
}

=head2 set(name => value, ...), at($time, ...)

Changes settings in postgresql.conf and reloads; C<at> also waits until the
worker that follows sleeps.  Time is UTC; more settings may come after it.

=cut

sub set
{
	my ($self, @settings) = @_;
	while (my ($name, $value) = splice @settings, 0, 2)
	{
		$self->{node}->append_conf('postgresql.conf', "$name = '$value'"); # the last one counts
	}
	$self->{node}->reload;
	return;
}

sub at
{
	my ($self, $time, @settings) = @_;
	my $before = $self->worker || 0;
	$self->set('contratos.now' => "$time+00", @settings);
	return $self->poll(
		qq(SELECT count(*) = 1 FROM pg_stat_activity
		   WHERE backend_type = 'contratos worker' AND datname = '$self->{database}' AND pid <> $before AND $asleep));
}

=head2 runs($where)

The ledger in short, in its order: "20 schedule succeeded, 21 ...".

=cut

sub runs
{
	my ($self, $where) = @_;
	$where //= 'true';
	return $self->query(
		qq(SELECT string_agg(concat_ws(' ', extract(day FROM day), cause, status), ', ' ORDER BY id)
		   FROM contratos_runs WHERE $where));
}

# How often the server's log has matched so far.
sub logged
{
	my ($self, $regex) = @_;
	my $log = slurp_file($self->{node}->logfile);
	my @found = $log =~ /$regex/g;
	return scalar @found;
}

1;
