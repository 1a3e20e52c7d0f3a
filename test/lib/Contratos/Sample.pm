# The token sample as Perl sees it.
#
# A CSV reader of our own: the difference between NULL (nothing between the
# commas) and '' (a pair of quotes) is what the usual ones lose.
package Contratos::Sample;

use strict;
use warnings;

use Exporter qw(import);
use File::Basename qw(dirname);
use Cwd qw(abs_path);

our @EXPORT_OK = qw(sample_file sample_columns sample_rows sample_days);

my $data = abs_path(dirname(__FILE__) . '/../../data');

sub sample_file { return "$data/tokens_sample.csv"; }

# The columns of the BigQuery table: those of the file without `origin`.
sub sample_columns
{
	return qw(address symbol name decimals total_supply block_timestamp
	  block_number block_hash);
}

# All rows as hashes, in the file's order; NULL is undef.
sub sample_rows
{
	open my $in, '<:raw', sample_file() or die sample_file() . ": $!";
	my $text = do { local $/; <$in> };
	close $in;
	# not the :encoding layer: it takes noncharacters such as U+10FFFF for errors
	utf8::decode($text) or die sample_file() . ' is not UTF-8';

	my (@rows, @fields, @names);
	while ($text =~ /\G(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|\z)/gc)
	{
		my ($quoted, $plain, $end) = ($1, $2, $3);
		if (defined $quoted)
		{
			$quoted =~ s/""/"/g;
			push @fields, $quoted;
		}
		else
		{
			push @fields, length $plain ? $plain : undef;
		}
		next if $end eq ',';
		if (!@names)
		{
			@names = @fields;
		}
		elsif (@fields == @names)
		{
			my %row;
			@row{@names} = @fields;
			push @rows, \%row;
		}
		@fields = ();
		last if pos $text == length $text;
	}
	die sample_file() . ' cannot be read to its end' if pos $text != length $text;
	return @rows;
}

# Its UTC days, sorted.
sub sample_days
{
	my %days = map { substr($_->{block_timestamp}, 0, 10) => 1 } sample_rows();
	my @days = sort keys %days;
	return @days;
}

1;
