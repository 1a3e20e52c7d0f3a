# What the READMEs say can be typed: their SQL is run, in order, against the
# stand-in; their configuration is known to the server, and their messages are
# ones that the source can say.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Docs;
use Contratos::DocsRun;
use Contratos::Fixture;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $readme = Contratos::Docs->new("$root/README.md");
my $portuguese = Contratos::Docs->new("$root/README.pt-BR.md");

# the sample's days lie in 2026-11; those before are empty, and say so
my $f = Contratos::Fixture->new(
	init => { extra => [ '--encoding=UTF8', '--locale=C' ] },
	conf => "shared_preload_libraries = 'contratos'\ncontratos.now = '2026-11-21 09:00:00+00'");
my $bq = $f->bq;
$bq->table(
	'bigquery-public-data.crypto_ethereum.blocks',
	schema => [ { name => 'timestamp', type => 'TIMESTAMP', mode => 'REQUIRED' }, { name => 'number', type => 'INT64', mode => 'REQUIRED' } ],
	time_partitioning => { type => 'DAY', field => 'timestamp' });

# ---- what can be typed, each page in a database of its own

sub type_page
{
	my ($page, $database, %options) = @_;
	$f->node->safe_psql('postgres', "CREATE DATABASE $database");
	my $created = 0;
	my $run = Contratos::DocsRun->new(
		node => $f->node,
		database => $database,
		# it is shown more than once: at the top, and where it is to be typed
		replace => sub { s/^CREATE EXTENSION contratos;\n//m if $created; $created ||= /^CREATE EXTENSION contratos;/m },
		not_run => {
			'script/demo' => '.ci/run runs it',
			'script/demo --stop' => '.ci/run runs it',
			'apt-get install postgresql-server-dev-15 libcurl4-openssl-dev libjansson-dev libssl-dev pkg-config gcc make' =>
				'installs packages as root; script/test has built and installed this',
			'install -o postgres -g postgres -m 0600 key.json /etc/postgresql/contratos-key.json' => 'needs root and a key',
			%{ $options{not_run} || {} }
		},
		pictures => $options{pictures} || {});
	$run->page($page);
	$run->finish;
	return;
}

type_page(
	$readme, 'readme',
	not_run => { 'script/test' => 'it is what runs this' },
	pictures => {
		'      BigQuery                                   PostgreSQL' => 1,
	});
is( $f->node->safe_psql('readme', q(SELECT count(DISTINCT day) FROM contratos_runs WHERE status = 'succeeded' AND day > '2026-11-13')),
	'7',
	'after which the last seven days are there');
type_page($portuguese, 'leiame');

# ---- settings and functions are ones there are

sub named
{
	my ($page, $regex) = @_;
	my $text = Contratos::Docs::slurp($page->file);
	return sort keys %{ { map { $_ => 1 } $text =~ /$regex/g } };
}

foreach my $page ($readme, $portuguese)
{
	my @settings = grep { !/_$/ } named($page, qr/\b(contratos\.[a-z_]+)\b(?!\()/);
	foreach my $setting (grep { !/\.(?:control|c|so)$/ } @settings)
	{
		is($f->query("SELECT count(*) FROM pg_settings WHERE name = '$setting'"), '1', $page->name . ": $setting is a setting");
	}
	foreach my $function (named($page, qr/\b(contratos_[a-z_]+)\(/))
	{
		is($f->query("SELECT count(*) FROM pg_proc WHERE proname = '$function'"), '1', $page->name . ": $function is a function");
	}
}

# ---- messages: every part of one stands in a string of the source

my $said = Contratos::Docs::messages("$root/src");

sub check_messages
{
	my ($page, $title) = @_;
	my ($column) = grep { /messag|mensagem/ } keys %{ ($page->table($title))[0] };
	my $messages = 0;
	foreach my $row ($page->table($title))
	{
		# of a single message the backticks are gone
		my @cells = $row->{$column} =~ /`([^`]+)`/g;
		foreach my $message (@cells ? @cells : $row->{$column})
		{
			is(join('; ', Contratos::Docs::unsaid($message, $said)), '', $page->name . ": can be said: $message");
			$messages++;
		}
	}
	return $messages;
}

cmp_ok(check_messages($readme, 'Troubleshooting'), '>', 20, 'the README explains messages');
cmp_ok(check_messages($portuguese, 'Quando algo não funciona'), '>', 9, 'and so does the Portuguese one');

done_testing();
