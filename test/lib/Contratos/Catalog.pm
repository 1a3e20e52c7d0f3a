# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Catalog - what the extension consists of in a database, for TAP tests

=head1 SYNOPSIS

  my $fresh = Contratos::Catalog->new($node, 'fresh');
  my $updated = Contratos::Catalog->new($node, 'updated');
  is($fresh->difference($updated), '', 'an update makes what CREATE EXTENSION makes');

catalog.sql says what is compared.

=cut

package Contratos::Catalog;

use strict;
use warnings;

use File::Basename qw(dirname);
use IPC::Run;

my $sql = dirname(__FILE__) . '/catalog.sql';

=head1 METHODS

=head2 new($node, $database, $before), lines()

Reads the catalogs, after these statements, which are rolled back.

=cut

sub new
{
	my ($class, $node, $database, $before) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', '-' ],
		'<', \("BEGIN;\n" . ($before // '') . ";\n\\i $sql\nROLLBACK;\n"), '>', \$out, '2>', \$err)
	  or die "$database: $err";
	return bless { lines => [ sort split /\n/, $out ] }, $class;
}

sub lines { return @{ $_[0]{lines} }; }

=head2 difference($other)

The lines that only one of the two has, with - if it is this one and + if it is
the other one; '' if they are equal.

=cut

sub difference
{
	my ($self, $other) = @_;
	my %count;
	$count{$_}++ for $other->lines;
	$count{$_}-- for $self->lines;
	return join '', map { ($count{$_} < 0 ? '-' : '+') . " $_\n" } grep { $count{$_} } sort keys %count;
}

1;
