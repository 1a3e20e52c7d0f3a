# What the README says can be typed: its SQL is run, in order, against the
# stand-in, and its messages are ones that the source can say.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Standin;

my $root = abs_path(dirname(__FILE__) . '/../..');

sub read_file
{
	my ($name) = @_;
	open(my $file, '<', $name) or die "$name: $!";
	local $/;
	return <$file>;
}

my $readme = read_file("$root/README.md");

# ---- its SQL

my $bq = Contratos::Standin->start(dense_ends => '2026-11-20');
$bq->table(
	'bigquery-public-data.crypto_ethereum.blocks',
	schema => [ { name => 'timestamp', type => 'TIMESTAMP', mode => 'REQUIRED' }, { name => 'number', type => 'INT64', mode => 'REQUIRED' } ],
	time_partitioning => { type => 'DAY', field => 'timestamp' });
my $node = PostgreSQL::Test::Cluster->new('readme');
# its mart folds letters of Unicode
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf(
	'postgresql.conf', qq(
contratos.endpoint = '@{[ $bq->url ]}'
contratos.credentials_file = '@{[ $bq->key_file ]}'
contratos.now = '2026-11-21 09:00:00+00'
));
$node->start;

my @blocks = $readme =~ /^```sql\n(.*?)^```$/msg;
cmp_ok(scalar @blocks, '>=', 4, 'the README has SQL');

# The first two statements are shown twice: at the top and in step 4.
my $created = 0;
foreach my $block (@blocks)
{
	$block =~ s/^CREATE EXTENSION contratos;\n//m if $created;
	# the sample's days lie in 2026-11; those before are empty, and say so
	my ($code, $out, $err) = $node->psql('postgres', $block, on_error_stop => 1);
	is($code, 0, 'runs: ' . (split /\n/, $block)[0]) or diag($err);
	$created = 1;
}
is( $node->safe_psql('postgres', q(SELECT count(DISTINCT day) FROM contratos_runs WHERE status = 'succeeded' AND day > '2026-11-13')),
	'7',
	'after which the last seven days are there');

is( $node->safe_psql('postgres', q(SELECT count(*), bool_and(d.tokens = t.tokens) FROM mart.days d
		JOIN (SELECT (block_timestamp AT TIME ZONE 'UTC')::date AS day, count(*) AS tokens FROM tokens GROUP BY 1) t USING (day))),
	'7|t',
	'and its mart with them');
is( $node->safe_psql('postgres', q(SELECT mart.skeleton(s) FROM unnest(ARRAY[U&'USD\0422', 'usdt', U&'U\200BSDT', U&'\FF35\FF33\FF24\FF34', 'U$DT', U&'US\039FT']) s)),
	"USDT\nUSDT\nUSDT\nUSDT\nUSDT\nUSOT",
	'which sees what looks alike');

# The same of the Portuguese one, whose extension is there by now.
foreach my $block (read_file("$root/README.pt-BR.md") =~ /^```sql\n(.*?)^```$/msg)
{
	$block =~ s/^CREATE EXTENSION contratos;\n//m;
	my ($code, $out, $err) = $node->psql('postgres', $block, on_error_stop => 1);
	is($code, 0, 'em português: ' . (split /\n/, $block)[0]) or diag($err);
}

# ---- its settings and functions are ones there are

# (a library's settings are there once it is loaded)
my $load = 'SET client_min_messages = error; DO $$ BEGIN PERFORM contratos_version(); END $$;';
foreach my $setting (sort keys %{ { map { $_ => 1 } $readme =~ /`(contratos\.[a-z_]+)`/g } })
{
	is( $node->safe_psql('postgres', "$load SELECT count(*) FROM pg_settings WHERE name = '$setting'"),
		'1', "$setting is a setting");
}
is( $node->safe_psql(
		'postgres', "$load SELECT string_agg(name, ' ' ORDER BY name) FROM pg_settings WHERE name LIKE 'contratos.%'"),
	join(' ', sort keys %{ { map { $_ => 1 } $readme =~ /^\| `(contratos\.[a-z_]+)` \|/mg } }),
	'and its table has all of them');
foreach my $function (sort keys %{ { map { $_ => 1 } $readme =~ /`(contratos_[a-z_]+)\(/g } })
{
	is( $node->safe_psql('postgres', "SELECT count(*) FROM pg_proc WHERE proname = '$function'"),
		'1', "$function is a function");
}

# ---- its messages: every part of one stands in a string of the source

my $strings = '';
foreach my $file (glob("$root/src/*.c"))
{
	my $text = read_file($file);
	# comments and characters, whose quotes are none
	$text =~ s{("(?:[^"\\]|\\.)*")|/\*.*?\*/|'(?:[^'\\]|\\.)+'}{defined $1 ? $1 : ' '}sge;
	# literals with nothing between them, or a format's name, are one
	my $literal = qr/"(?:[^"\\]|\\.)*"/;
	while ($text =~ /($literal(?:\s*(?:U?INT64_FORMAT\s*)?$literal)*)/g)
	{
		my $said = $1;
		$strings .= join('', map { substr($_, 1, -1) } $said =~ /($literal)/g) . "\n";
	}
}
$strings =~ s/\\"/"/g;
my ($table) = $readme =~ /^## Troubleshooting\n(.*?)^## /ms;
my $messages = 0;
foreach my $row ($table =~ /^\| (`.*?) \|/mg)
{
	foreach my $message ($row =~ /`([^`]+)`/g)
	{
		my @parts = grep { /\w{3}/ } split /…/, $message;
		# what BigQuery itself says is not in our source
		@parts = ('BigQuery: ') if $message =~ /^BigQuery: /;
		is_deeply([ grep { index($strings, $_) < 0 } @parts ], [], "can be said: $message");
		$messages++;
	}
}
cmp_ok($messages, '>', 20, 'the README explains messages');

done_testing();
