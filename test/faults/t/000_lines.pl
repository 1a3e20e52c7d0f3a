# test/faults.tsv itself: every line is read and is gone by one of the files here;
# a wrong one is refused.
use strict;
use warnings;

use File::Basename qw(dirname);
use File::Temp;
use Test::More;

use Contratos::Faults;

delete local @ENV{qw(CONTRATOS_FAULT CONTRATOS_EVERY_WAY CONTRATOS_SEED)};
my $faults = Contratos::Faults->new;
my %lines;
$lines{ $_->{where} }++ for $faults->at;
my %files;
for my $file (glob dirname(__FILE__) . '/*.pl')
{
	open my $source, '<', $file or die "$file: $!";
	local $/ = undef;
	$files{$_}++ for map { split } <$source> =~ /->go\(qw\(([^)]*)\)\)/g;
}
is_deeply({ map { $_ => 1 } keys %lines }, \%files, 'each place of a fault belongs to one file');
cmp_ok(scalar(my @all = $faults->at), '>=', 150, 'there are 150 faults or more');

my $one = ($faults->at)[0];
$ENV{CONTRATOS_SEED} = '2026-01-01';
my @days = map { local $ENV{CONTRATOS_SEED} = "2026-01-$_"; my $f = Contratos::Faults->new; join ',', map { join '+', $f->ways($_) } $f->at } 10 .. 12;
is($days[0], do { local $ENV{CONTRATOS_SEED} = '2026-01-10'; my $f = Contratos::Faults->new; join ',', map { join '+', $f->ways($_) } $f->at },
	'the same seed goes by the same ways');
isnt($days[0], $days[1], 'another seed goes by other ways');
{
	local $ENV{CONTRATOS_EVERY_WAY} = 1;
	is(join(' ', Contratos::Faults->new->ways($one)), 'call worker query', 'every way is gone when that is asked for');
}

for my $case (
	[ "a\ttoken\tfresh-token\tloaded\na\ttoken\thold job\tloaded", qr/line 3: a second a/, 'a name that comes twice' ],
	[ "a\ttoken\tfresh-token\tloaded\nb\ttoken\tfresh-token\tloaded", qr/line 3: b is what a is/, 'a fault that comes twice' ],
	[ "a\tmoon\tfresh-token\tloaded", qr/no such place: moon/, 'an unknown place' ],
	[ "a\ttoken\tboil tea\tloaded", qr/no such word: boil/, 'an unknown word' ],
	[ "a\ttoken\thold breath\tloaded", qr/not an argument of hold: breath/, 'an unknown argument' ],
	[ "a\ttoken\tanswer token {no}\tloaded", qr/not JSON/, 'an answer that is no JSON' ],
	[ "a\ttoken\tfresh-token\tboat: loaded", qr/no such way: boat/, 'an unknown way' ],
	[ "a\ttoken\tfresh-token\tall is well", qr/no promise: all is well/, 'an unknown promise' ],
	[ "a\ttoken\tfresh-token\tHV000 .", qr/not a word of the message/, 'a promise of any message' ],
	[ "a\ttoken\tfresh-token\tHV000 broke off|08006 broke off", qr/not a word of the message/, 'a second SQLSTATE in a promise' ],
	[ "a\ttoken\tsince then\tloaded", qr/not an argument of since/, 'a version that is no number' ],
	[ "# a\nb\tmoon\tfresh-token\tloaded", qr/line 3: no such place: moon/, 'a wrong line after a comment' ],
	[ "a\ttoken\tfresh-token", qr/not four columns/, 'a line of three columns' ],
	[ "A b\ttoken\tfresh-token\tloaded", qr/no name: A b/, 'a name that is none' ])
{
	my ($lines, $error, $name) = @$case;
	my $file = File::Temp->new;
	print {$file} "name\twhere\twhat\tpromised\n$lines\n";
	close $file;
	ok(!eval { Contratos::Faults->new("$file"); 1 }, "$name is refused");
	like($@, $error, "$name: the error says so");
}
local $ENV{CONTRATOS_FAULT} = 'no-such-fault';
ok(!eval { Contratos::Faults->new; 1 }, 'a fault that is asked for and is not there is refused');

done_testing();
