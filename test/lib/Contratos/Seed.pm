# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Seed - random cases that one number repeats, for TAP tests

=head1 SYNOPSIS

  use Contratos::Seed qw(rand shuffle);
  ...
  my @cases = map { condition() } 1 .. 60;
  Contratos::Seed::note_cases(@cases);

=head1 DESCRIPTION

The seed is C<CONTRATOS_SEED>, by default today's date (UTC), and so another one each
day.  It is noted at the start; if the test fails, the command is printed that runs it
again with the same cases.

The numbers come from a generator of its own: whoever else calls Perl's rand(), a
module or the test's cluster for its port, takes none of them.

=cut

package Contratos::Seed;

use strict;
use warnings;

use Digest::MD5 ();
use Exporter 'import';
use FindBin ();
use POSIX ();
use Test::More;

our @EXPORT_OK = qw(rand shuffle);

my $seed = $ENV{CONTRATOS_SEED} || POSIX::strftime('%Y%m%d', gmtime);
$seed =~ /^[0-9]{1,15}$/ or die "CONTRATOS_SEED is not a number of at most 15 digits: $seed\n";
my $state = $seed;
note("CONTRATOS_SEED=$seed");

# 31 bits: the high half of a linear congruence of 64 bits
sub draw
{
	use integer;
	$state = $state * 6364136223846793005 + 1442695040888963407;
	return ($state >> 33) & 0x7FFFFFFF;
}
draw() for 1 .. 4;    # seeds that are neighbors begin alike

=head1 FUNCTIONS

=head2 rand, rand $below

As Perl's own, with 53 bits.

=cut

sub rand(;$)
{
	my ($below) = @_;
	my ($high, $low) = (draw(), draw() & 0x3FFFFF);
	return ($high * 2**22 + $low) / 2**53 * ($below || 1);
}

=head2 shuffle @list

The list in another order.

=cut

sub shuffle
{
	my @list = @_;
	for my $i (reverse 1 .. $#list)
	{
		my $j = int Contratos::Seed::rand($i + 1);
		@list[ $i, $j ] = @list[ $j, $i ];
	}
	return @list;
}

=head2 note_cases @texts

Notes how many cases there are, and a hash that two runs with the same cases share.

=cut

sub note_cases
{
	my $text = join "\0", map { $_ // 'NULL' } @_;
	utf8::encode($text);
	note(scalar(@_) . ' random cases, ' . substr Digest::MD5::md5_hex($text), 0, 12);
	return;
}

END
{
	my $status = $?;
	unless (Test::More->builder->is_passing && $status == 0)
	{
		my $command = $FindBin::Bin =~ m{/emulator/t$} ? 'script/test emulator' : "PROVE_TESTS=t/$FindBin::Script script/test tap";
		diag("the same random cases again: CONTRATOS_SEED=$seed $command");
	}
	$? = $status;
}

1;
