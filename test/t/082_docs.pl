# What the docs say can be typed: every block of every page is run or held
# against the server, what they show is what is printed, and their links lead
# somewhere.  (083_reference.pl holds the reference against the catalog.)

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Docs;
use Contratos::DocsRun;
use Contratos::Worker;

my $root = abs_path(dirname(__FILE__) . '/../..');
my %pages = map { my $name = substr($_, length($root) + 1); ($name => Contratos::Docs->new($_)) } glob("$root/*.md"), glob("$root/docs/*.md");

# ---- links

foreach my $name (sort keys %pages)
{
	my @broken;
	foreach my $link ($pages{$name}->links)
	{
		my $target = $link->{file} eq '' ? $name : reduce(dirname($name) . "/$link->{file}");
		my $exists = -e "$root/$target";
		my $page = $pages{$target};
		push @broken, "line $link->{line}: $target#$link->{anchor}"
		  unless $exists && ($link->{anchor} eq '' || $page && $page->anchors->{ $link->{anchor} });
	}
	is(join("\n", @broken), '', "$name: its links exist");
}

# docs/../README.md is README.md
sub reduce
{
	my ($path) = @_;
	$path =~ s{^\./}{};
	1 while $path =~ s{[^/]+/\.\./}{};
	return $path;
}

# ---- what is to be typed, in a cluster whose worker serves whom a page tells it to

my $f = Contratos::Worker->new(
	unsettled => 1,
	init => { extra => [ '--encoding=UTF8', '--locale=C' ] },
	conf => "contratos.databases = ''\ncontratos.now = '2026-11-21 09:00:00+00'");
my $node = $f->node;

sub typed
{
	my ($name, %options) = @_;
	my $run = Contratos::DocsRun->new(node => $node, database => 'postgres', %options);
	$run->page($pages{$name});
	$run->finish;
	return $run;
}

# What is not SQL of a page: it is read by what would read it.
sub python
{
	my ($block, $use) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run([ $ENV{PYTHON} || 'python3', '-c', 'import ast, sys; ast.parse(sys.stdin.read())' ], '<', \$block->{text}, '>', \$out, '2>', \$err);
	ok($ok, "Python parses: $block->{name}") or diag($err);
	my ($sql) = $block->{text} =~ /sql="([^"]*)"/;
	$use->(($sql // '') =~ s/\{\{ ds \}\}/2026-11-20/r);
	return;
}

# A part of a pod, the only one that is used here.
sub yaml
{
	my ($block) = @_;
	like($block->{text}, qr/^spec:\n  securityContext: .*defaultMode: 0440\}\n/s, "a pod: $block->{name}");
	return;
}

# ---- tutorial

# What the worker does between two blocks, a person would wait for.
sub wait_for_worker
{
	my ($block) = @_;
	return unless $block->{text} =~ /cause = 'catchup'|contratos_status|contratos_days/;
	ok( $node->poll_query_until('analytics', q(SELECT count(*) = 3 FROM contratos_runs WHERE cause = 'catchup' AND status = 'succeeded')),
		'tutorial: the worker has filled the gap');
	$f->settle('analytics');
	return;
}

my %demo = ('script/demo' => '.ci/run runs it', 'script/demo --stop' => '.ci/run runs it');
typed('docs/tutorial.md', not_run => \%demo, before => \&wait_for_worker);
$f->query('ALTER SYSTEM RESET ALL');
$node->reload;

# ---- how-to, in a database with the last seven days

$f->query('CREATE DATABASE how_to');
$node->safe_psql('how_to', 'CREATE EXTENSION contratos; SELECT count(*) FROM contratos_backfill(7)');
my $how_to;
$how_to = Contratos::DocsRun->new(
	node => $node,
	database => 'how_to',
	replace => sub {
		s/createdb -h new\.example\.com analytics/createdb moved/;
		s/-h new\.example\.com -d analytics/-d moved/g;
		s/\banalytics\b(?!\.dump)/how_to/g;
	},
	not_run => {
		'install -o postgres -g postgres -m 0600 new-key.json /etc/postgresql/contratos-key.json.new' => 'needs root and a key',
		'pg_basebackup -h production.example.com -D /srv/staging/data' => 'copies a server that is not there',
		'pg_createcluster 17 staging' => 'the same',
		map { $_ => 'needs root; script/deb --upgrade does it in a root' } 'apt-get install postgresql-17 ./dist/postgresql-17-contratos_1.0.0-0contratos1_amd64.deb',
		'pg_dropcluster 17 main', 'pg_dropcluster 15 main'
	},
	pictures => {
		'LOG:  contratos worker started for database "analytics"' => 1,
		'*/5 * * * *  postgres  cd /var/www/contratos && PGCLIENTENCODING=UTF8 psql -XAt -d analytics -c "SELECT contratos_page()" >page.new && mv page.new page.html' => 1,
	},
	other => {
		python => sub { python($_[0], sub { is($how_to->query("SELECT status FROM ($_[0]) AS r"), 'succeeded', "the Python example's query runs: $_[0]") }) },
		yaml => \&yaml,
	});
$how_to->page($pages{'docs/how-to.md'});
$how_to->finish;
is($node->safe_psql('how_to', q(SELECT count(*), bool_and(d.tokens = t.tokens) FROM mart.days d
		JOIN (SELECT (block_timestamp AT TIME ZONE 'UTC')::date AS day, count(*) AS tokens FROM tokens GROUP BY 1) t USING (day)
		WHERE day BETWEEN '2026-11-14' AND '2026-11-19')),
	'6|t',
	'how-to: the mart has the days');
is($node->safe_psql('how_to', q(SELECT string_agg(DISTINCT looks_like, ' ' ORDER BY looks_like) FROM mart.lookalikes)), 'USDC USDT WETH', 'how-to: the mart finds look-alikes in the sample');
is( $node->safe_psql('how_to', q(SELECT mart.skeleton(s) FROM unnest(ARRAY[U&'USD\0422', 'usdt', U&'U\200BSDT', U&'\FF35\FF33\FF24\FF34', 'U$DT', U&'US\039FT']) s)),
	"USDT\nUSDT\nUSDT\nUSDT\nUSDT\nUSOT",
	'how-to: the mart\'s skeleton() finds look-alikes');
is( $node->safe_psql('moved', 'SELECT count(*) > 300 FROM tokens; SELECT count(*) FROM contratos_sources'),
	"t\n3", 'how-to: a moved database has its rows and sources');
$f->query('ALTER SYSTEM RESET ALL');
$node->reload;

# ---- the rest

$f->query('CREATE DATABASE reference');
$node->safe_psql('reference', 'CREATE EXTENSION contratos');
typed('docs/reference.md', database => 'reference', replace => sub { s/\banalytics\b/reference/g });
typed('docs/explanation.md', pictures => { '                       missing        the day is over, at 00:00 UTC' => 1 });

typed('ARCHITECTURE.md', pictures => { 'BigQuery ──bytes──► http ──► rows (decoder) ──► read/stream ──► read/reader ──► fdw/scan ──► values ──► executor ──► target' => 1 });
typed(
	'CONTRIBUTING.md',
	not_run => {
		'script/test' => 'it is what runs this',
		'script/test lint' => 'it is what runs this',
		'bench/run' => 'script/test runs it with --quick',
		'CONTRATOS_SEED=20261201 script/test faults' => 'script/test runs it',
		'CONTRATOS_FAULT=page-short script/test faults' => 'script/test runs all of them',
		'script/fuzz 60' => 'script/test runs it for a moment',
		"PROVE_TESTS='t/020_load.pl t/021_pages.pl' script/test tap" => 'it is what runs this',
		'CONTRATOS_SEED=20261201 PROVE_TESTS=t/034_random_types.pl script/test tap' => 'it is what runs this',
		'make format' => 'lint runs it with --check',
		'test/cluster/node bash' => 'script/cluster runs another command so',
		'test/soak/run --minutes 30' => 'takes that long',
		'CONTRATOS_LOAD_SECONDS=60 test/soak/run --load' => 'script/test load runs it, for longer',
		'script/coverage' => 'script/test coverage runs it',
	});

# ---- ARCHITECTURE.md names what there is

my $source = join '', map { slurp_file($_) } glob("$root/src/*/*.[ch]"), glob("$root/extension/*.sql");
my $architecture = slurp_file($pages{'ARCHITECTURE.md'}->file);
my @named = $architecture =~ /`([^`\n]+)`/g;
sub nowhere { my @found = glob $_[0]; return !grep { -e } @found; }
is(join("\n", grep { m{^(?:src|test|script|sql|docs)/[\w./*-]+$} && nowhere("$root/$_") } @named), '', 'ARCHITECTURE.md: its files exist');
is(join("\n", grep { /^(?!pg_)[a-z]+_[a-z_]+$/ && $source !~ /\b$_\b/ && nowhere("$root/src/*/$_.c") } @named), '', 'ARCHITECTURE.md: its functions exist');
my ($out, $err);
IPC::Run::run([ "$root/script/layers", '--drawing' ], '>', \$out, '2>', \$err);
sub uses { my ($folder, @used) = @_; return "$folder: " . (join(' ', sort grep { $_ ne 'base' } @used) || 'none'); }
is(join("\n", map { uses($_->{folder}, split /, /, $_->{'uses, besides `base`'}) } $pages{'ARCHITECTURE.md'}->table('Folders')),
	join("\n", map { /^(\w+) ->(.*)/ ? uses("src/$1", split ' ', $2) : () } split /\n/, $out),
	'ARCHITECTURE.md: the folders, and which folders each uses');

my $gcloud = 'asks Google Cloud';
typed(
	'docs/credentials.md',
	not_run => {
		'gcloud iam workload-identity-pools create-cred-config \\' => $gcloud,
		'gcloud iam service-accounts keys create contratos.json --iam-account=NAME@PROJECT.iam.gserviceaccount.com' => $gcloud,
		'install -o postgres -g postgres -m 0600 contratos.json /etc/postgresql/contratos-key.json' => 'needs root and a key',
		'gcloud auth application-default login --impersonate-service-account=NAME@PROJECT.iam.gserviceaccount.com' => $gcloud,
	});

typed(
	'docs/monitoring.md',
	not_run => {
		"DATA_SOURCE_NAME='host=/var/run/postgresql user=watch dbname=analytics' prometheus-postgres-exporter --extend.query-path=deploy/monitoring/queries.yaml" => 'script/test watch runs it',
		'kubectl create configmap contratos-queries --from-file=queries.yaml=deploy/monitoring/queries.yaml' => 'needs a cluster',
	});

my $by_script = 'needs root; script/deb or script/dist --test does it in a root';
typed(
	'docs/install.md',
	not_run => {
		'kubectl apply -k deploy/kubernetes/overlays/kind' => 'script/cluster does it on a node of its own',
		'make image' => 'script/image --test does it with Podman',
		(map { $_ => 'script/compose --test does it with podman-compose' } 'install -D -m 0600 key.json secrets/contratos-key.json', 'make watch', 'make stop'),
		map { $_ => $by_script } 'make deb RELEASES=bookworm', 'apt-get install ./dist/postgresql-15-contratos_1.0.0-0contratos1_amd64.deb', 'make dist',
		'pgxn install --pg_config /usr/lib/postgresql/15/bin/pg_config ./dist/contratos-1.0.0.zip',
		q(rpmbuild -bb --define 'pgmajor 17' rpm/contratos.spec), 'apt-get purge postgresql-15-contratos'
	});
$f->query('CREATE EXTENSION contratos'); # that page removes it
typed(
	'docs/real-service.md',
	not_run => {
		'script/real key.json my-project' => 'needs a key; test/real/test_real.py runs it with one of the stand-in',
		'script/real key.json my-project --yes' => 'the same',
		'script/real --rehearse --yes' => 'builds the extension; the same does the rest',
	});

# (080_readme.pl types the READMEs, 084_migration.pl that page)
my %own_test = map { $_ => 1 } qw(README.md README.pt-BR.md ARCHITECTURE.md CONTRIBUTING.md),
  map { "docs/$_.md" } qw(tutorial how-to reference explanation credentials install migration monitoring real-service scale);
typed($_) for grep { !$own_test{$_} } sort keys %pages;

done_testing();
