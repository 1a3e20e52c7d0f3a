# A day's fingerprint for tests: computed here in Perl, which knows nothing of
# the extension's C, and the extension's own without a server (the program
# test/unit/fingerprint, built when it is first wanted).
#
# Columns are strings "name:TYPE", rows lists of cells as the wire has them,
# NULL as undef.
package Contratos::Fingerprint;

use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::SHA qw(sha256);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp ();

our @EXPORT_OK = qw(computed own_query own_fingerprint token_columns);

my $unit = abs_path(dirname(__FILE__) . '/../../unit');

sub token_columns
{
	return map { $_ . ':' . ({ block_timestamp => 'TIMESTAMP', block_number => 'INT64' }->{$_} // 'STRING') }
	  qw(address symbol name decimals total_supply block_timestamp block_number block_hash);
}

# "a:b" of the rows, in Perl.
sub computed
{
	my ($columns, @rows) = @_;
	my @sums = (0, 0);
	for my $row (@rows)
	{
		my $text = '';
		for my $i (0 .. $#$columns)
		{
			my $value = $row->[$i];
			my $type = (split /:/, $columns->[$i])[-1];
			next if $type !~ /^(?:STRING|INT64|TIMESTAMP|DATE|BOOL|BYTES|NUMERIC)$/;
			utf8::encode($value) if defined $value;
			$text .= !defined $value ? '-' : $type =~ /^(?:INT64|TIMESTAMP)$/ ? "$value:" : length($value) . ":$value";
		}
		my @halves = unpack 'N2', sha256($text);
		$sums[$_] += $halves[$_] for 0, 1;
	}
	return "$sums[0]:$sums[1]";
}

my $program;

# What the program says to these arguments and this input.
sub _program
{
	my ($input, @arguments) = @_;
	if (!$program)
	{
		my $said = `make -s -C '$unit' fingerprint PG_CONFIG='$ENV{PG_CONFIG}' 2>&1`;
		die "test/unit/fingerprint was not built: $said" if $? != 0;
		$program = "$unit/fingerprint";
	}
	my $file = File::Temp->new(TMPDIR => 1);
	print $file $input;
	close $file;
	my $pid = open my $out, '-|';
	die "could not fork: $!" unless defined $pid;
	if (!$pid)
	{
		open STDIN, '<', "$file" or die "$file: $!";
		exec $program, @arguments or die "$program: $!";
	}
	chomp(my $text = do { local $/; <$out> });
	close $out or die "@arguments: ended with $?";
	utf8::decode($text);
	return $text;
}

# The extension's query; window => 1: of the days from @p1 to @p2.
sub own_query
{
	my ($table, $timestamp, $columns, %args) = @_;
	return _program('', 'query', $table, ($timestamp ? ('-t', $timestamp) : ()), ($args{window} ? '-w' : ()), @$columns);
}

# "a:b" of the rows, by the extension.
sub own_fingerprint
{
	my ($columns, @rows) = @_;
	my $input = '';
	for my $row (@rows)
	{
		my @cells = map {
			my $value = $_;
			utf8::encode($value) if defined $value;
			!defined $value ? '-' : length $value ? unpack('H*', $value) : '.'
		} @$row;
		$input .= join(' ', @cells) . "\n";
	}
	return _program($input, 'rows', @$columns);
}

1;
