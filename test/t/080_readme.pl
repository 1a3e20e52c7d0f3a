# What the READMEs say can be typed: their SQL is run, in order, against the
# stand-in; their configuration is known to the server, and their messages are
# ones that the source can say.  The two are equals, and short.

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

# ---- what can be typed, each page in a database of its own

sub type_page
{
	my ($page, $database, $picture) = @_;
	$f->node->safe_psql('postgres', "CREATE DATABASE $database");
	my $run = Contratos::DocsRun->new(
		node => $f->node,
		database => $database,
		not_run => {
			'script/demo' => '.ci/run runs it',
			'script/demo --stop' => '.ci/run runs it',
			'apt-get install ./dist/postgresql-15-contratos_1.0.0-0contratos1_amd64.deb' => 'script/deb installs it in a root',
			'apt-get install postgresql-server-dev-15 libcurl4-openssl-dev libjansson-dev libssl-dev pkg-config gcc make' =>
				'installs packages as root; script/test has built and installed this',
			'install -o postgres -g postgres -m 0600 key.json /etc/postgresql/contratos-key.json' => 'needs root and a key',
		},
		pictures => { $picture => 1 });
	$run->page($page);
	$run->finish;
	return;
}

type_page($readme, 'readme', ' 00:00 UTC      08:00 (run_at)         every 6 hours            24 h after its end');
is( $f->node->safe_psql('readme', q(SELECT count(DISTINCT day) FROM contratos_runs WHERE status = 'succeeded' AND day > '2026-11-13')),
	'7',
	'README.md: its statements leave the last seven days loaded');
type_page($portuguese, 'leiame', ' 00:00 UTC      08:00 (run_at)         a cada 6 horas           24 h depois do fim');

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
		is($f->query("SELECT count(*) FROM pg_settings WHERE name = '$setting'"), '1', $page->name . ": the setting $setting exists");
	}
	foreach my $function (named($page, qr/\b(contratos_[a-z_]+)\(/))
	{
		is($f->query("SELECT count(*) FROM pg_proc WHERE proname = '$function'"), '1', $page->name . ": the function $function exists");
	}
}

# ---- the settings of the table are ones there are, and the page shows how each is set

sub check_settings
{
	my ($page, $title) = @_;
	my @settings = map { $_->{ (grep { $_ ne '' } keys %$_)[0] } } $page->table($title);
	my $ini = join '', map { $_->{text} } grep { $_->{language} eq 'ini' } $page->blocks;
	foreach my $setting (@settings)
	{
		is($f->query("SELECT count(*) FROM pg_settings WHERE name = '$setting'"), '1', $page->name . ": $setting of its table of settings exists");
		like($ini, qr/^\Q$setting\E = /m, $page->name . ": shows how to set $setting");
	}
	return "@settings";
}

my $settings = check_settings($readme, 'Settings');
is($settings, 'contratos.credentials_file shared_preload_libraries contratos.databases', 'README.md: the settings that one must set');
is(check_settings($portuguese, 'Configurações'), $settings, 'README.pt-BR.md: the same settings');

# ---- messages: every part of one stands in a string of the source, and docs/errors.md explains it

my $said = Contratos::Docs::messages("$root/src");
my $explained = Contratos::Docs::slurp("$root/docs/errors.md");

sub check_messages
{
	my ($page, $title) = @_;
	my ($column) = grep { /messag|mensagem/ } keys %{ ($page->table($title))[0] };
	my @messages;
	foreach my $row ($page->table($title))
	{
		# of a single message the backticks are gone
		my @cells = $row->{$column} =~ /`([^`]+)`/g;
		foreach my $message (@cells ? @cells : $row->{$column})
		{
			is(join('; ', Contratos::Docs::unsaid($message, $said)), '', $page->name . ": can be said: $message");
			my $known = $message =~ s/^(BigQuery: [^:]*).*/$1/r =~ s/^BigQuery: //r;
			ok(index($explained, "`$known") >= 0, $page->name . ": is explained in docs/errors.md: $message");
			push @messages, $message;
		}
	}
	return "@messages";
}

is(scalar(my @rows = $readme->table('Errors')), 6, 'README.md: six errors');
is(check_messages($portuguese, 'Erros'), check_messages($readme, 'Errors'), 'README.pt-BR.md explains the same messages');

# ---- the two are equals: the same headings, blocks and links, and what is typed is the same but for names and comments

sub outline
{
	my ($page) = @_;
	my $text = Contratos::Docs::slurp($page->file);
	return join ' ', $text =~ /^(#+ |```\w*)/mg;
}

is(outline($portuguese), outline($readme), 'README.pt-BR.md has the headings and blocks of README.md');
is(join("\n", sort map { "$_->{file}#$_->{anchor}" } grep { $_->{file} !~ /^README/ } $portuguese->links),
	join("\n", sort map { "$_->{file}#$_->{anchor}" } grep { $_->{file} !~ /^README/ } $readme->links), 'README.pt-BR.md has the links of README.md');
is(join("\n", map { $_->{text} =~ s/#.*//gr } grep { $_->{language} =~ /^(?:sh|ini)$/ } $portuguese->blocks),
	join("\n", map { $_->{text} =~ s/#.*//gr } grep { $_->{language} =~ /^(?:sh|ini)$/ } $readme->blocks), 'README.pt-BR.md has the commands of README.md');

# ---- somebody who opens it sees how to install and what to type first, and reads to the end

foreach my $page ($readme, $portuguese)
{
	my ($first) = grep { $_->{language} eq 'sql' } $page->blocks;
	like($first->{text}, qr/^CREATE EXTENSION contratos;\nSELECT /, $page->name . ': the first SQL is CREATE EXTENSION and a query');
	cmp_ok($first->{end}, '<=', 60, $page->name . ': the first SQL ends within 60 lines');
	cmp_ok(scalar(my @words = split ' ', Contratos::Docs::slurp($page->file)), '<=', 2200, $page->name . ': it is short');
}

done_testing();
