# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Faults - the lines of test/faults.tsv, and by which ways each goes in

=head1 SYNOPSIS

  my $faults = Contratos::Faults->new;
  for my $fault ($faults->at('token', 'page'))
  {
      for my $way ($faults->ways($fault)) { ... $fault->{steps}, $fault->{promised}{$way} ... }
  }

A line that begins with # is a comment; any other has four columns.  C<name>.  C<where>: one of the places below.  C<what>:
steps with C< && > in between, each a word of Contratos::FaultSteps and its
argument.  C<promised>, with C< || > in between for different ways:

  loaded                     the fault is overcome: the day is the new one
  done                       the statement of a step "do" succeeds
  SQLSTATE regex             an error; the day is the old one; each alternative of the regex has a word of the message
  STATUS SQLSTATE regex      the same, with a status of the ledger that is not "failed"
  way,way: one of these      for these ways alone; without it, for all

The ways are C<call> (contratos_run in a session), C<worker> (a day that is
queued) and C<query> (the foreign table in a session).  Ways that nothing is
promised for are not gone.

=cut

package Contratos::Faults;

use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use POSIX qw(strftime);

use Contratos::FaultSteps;

my $file = abs_path(dirname(abs_path(__FILE__)) . '/../../faults.tsv');
my @ways = qw(call worker query);
my @places = qw(token job page catalog wire tls postgres process);
my $status = qr/failed|refused|interrupted|waiting|canceled/;

=head1 METHODS

=head2 new(), at(@places), ways($fault), seed(), chosen()

C<new> dies when a line is wrong: a name or a fault that comes twice, an unknown
place, word or way.  C<at> gives the faults of these places; with $CONTRATOS_FAULT those
of these names alone.  C<ways>: one or two of its ways, by $CONTRATOS_SEED
(today's date, unless it is set); all with $CONTRATOS_EVERY_WAY or
$CONTRATOS_FAULT.

=cut

sub new
{
	my ($class, $path) = @_;
	my $seed = $ENV{CONTRATOS_SEED} || strftime('%Y%m%d', gmtime);
	my $self = bless { seed => $seed, faults => [] }, $class;
	open my $lines, '<:encoding(UTF-8)', $path // $file or die "faults.tsv: $!";
	my $head = <$lines> // '';
	$head = <$lines> // '' while $head =~ /^#/;
	die "faults.tsv: not the columns: $head" unless $head eq "name\twhere\twhat\tpromised\n";
	my %seen;
	while (my $line = <$lines>)
	{
		next if $line =~ /^#/;
		chomp $line;
		my $fault = eval { parse($line) } or die "faults.tsv, line $.: $@";
		die "faults.tsv, line $.: a second $fault->{name}\n" if $seen{ $fault->{name} }++;
		my $same = $seen{ join ' ', @$fault{qw(where what)} };
		die "faults.tsv, line $.: $fault->{name} is what $same is\n" if $same;
		$seen{ join ' ', @$fault{qw(where what)} } = $fault->{name};
		push @{ $self->{faults} }, $fault;
	}
	for my $name (split ' ', $self->chosen) { die "no such fault: $name\n" unless $seen{$name}; }
	return $self;
}

sub seed { return $_[0]{seed}; }

# The names that were asked for, if any.
sub chosen { return $ENV{CONTRATOS_FAULT} // ''; }

sub at
{
	my ($self, @wanted) = @_;
	my %is_chosen = map { $_ => 1 } split ' ', $self->chosen;
	my %is_wanted = map { $_ => 1 } @wanted ? @wanted : @places;
	return grep { $is_wanted{ $_->{where} } && (!%is_chosen || $is_chosen{ $_->{name} }) } @{ $self->{faults} };
}

sub ways
{
	my ($self, $fault) = @_;
	my @may = grep { $fault->{promised}{$_} } @ways;
	return @may if $ENV{CONTRATOS_EVERY_WAY} || $self->chosen;
	my $random = hex substr md5_hex("$self->{seed} $fault->{name}"), 0, 6;
	my $first = $random % @may;
	my @taken = ($may[$first]);
	push @taken, $may[ ($first + 1) % @may ] if @may > 1 && ($random >> 8) % 8 == 0;
	return @taken;
}

sub parse
{
	my ($line) = @_;
	my ($name, $where, $what, $promised, $more) = split /\t/, $line, -1;
	die "not four columns\n" if !defined $promised || defined $more;
	die "no name: $name\n" unless $name =~ /^[a-z0-9]+(?:-[a-z0-9]+)*$/;
	die "no such place: $where\n" unless grep { $_ eq $where } @places;
	return { name => $name, where => $where, what => $what, steps => Contratos::FaultSteps::parse($what), promised => promises($promised) };
}

sub promises
{
	my ($text) = @_;
	my %promised;
	for my $part (split / \|\| /, $text)
	{
		my @for = @ways;
		if ($part =~ s/^([a-z,]+): //)
		{
			@for = split /,/, $1;
			for my $way (@for) { die "no such way: $way\n" unless grep { $_ eq $way } @ways; }
		}
		$promised{$_} = promise($part) for @for;
	}
	die "nothing is promised\n" unless %promised;
	return \%promised;
}

sub promise
{
	my ($text) = @_;
	return { is => $text } if $text =~ /^(?:loaded|done)$/;
	my ($ends, $state, $regex) = $text =~ /^(?:($status) )?([0-9A-Z]{5}|-----|\.) (.+)$/ or die "no promise: $text\n";
	for my $words (split /\|/, $regex) { die "not a word of the message: $text\n" if $words !~ /[A-Za-z]{3}/ || $words =~ /^[0-9HFPX][0-9A-Z]{4} /; }
	return { is => 'error', status => $ends // 'failed', state => $state, regex => qr/$regex/s };
}

1;
