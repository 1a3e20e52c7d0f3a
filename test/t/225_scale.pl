# docs/scale.md: what it says can be typed is typed, at a primary, a subscriber and
# a standby.  Its statements compare with the clock of pg_partman, which is the
# server's own, so the sample lies on the last twelve days.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Docs;
use Contratos::DocsRun;
use Contratos::Fixture;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $page = Contratos::Docs->new("$root/docs/scale.md");

# a day must not end meanwhile
sleep 1 while time % 86400 > 86400 - 300;
my ($today, $yesterday) = map { strftime('%Y-%m-%d', gmtime($_)) } time, time - 86400;

my $f = Contratos::Fixture->new(
	standin => { dense_ends => $yesterday },
	init => { allows_streaming => 'logical', extra => [ '--encoding=UTF8', '--locale=C' ] },
	conf => "shared_preload_libraries = 'contratos'\ncontratos.now = '$today 00:30+00'\nmax_worker_processes = 20");
my $primary = $f->node;
$f->query('CREATE DATABASE analytics');
$primary->safe_psql('analytics', 'CREATE EXTENSION contratos; SELECT count(*) FROM contratos_setup()');

my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical', extra => [ '--encoding=UTF8', '--locale=C' ]);
$subscriber->append_conf(
	'postgresql.conf', join "\n", "shared_preload_libraries = 'contratos'", 'max_worker_processes = 20',
	map { "$_ = '" . $f->query("SHOW $_") . "'" } qw(contratos.endpoint contratos.credentials_file contratos.project contratos.now));
$subscriber->start;
$subscriber->safe_psql('postgres', 'CREATE DATABASE analytics');

# ---- who runs a block

my %at = (primary => $primary, subscriber => $subscriber);
my $run;
my $promoted = 0;

sub is_awake { return $_[0]->poll_query_until('analytics', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND wait_event_type = 'Extension')); }

# Serves the database by a worker.
sub serve
{
	my ($node) = @_;
	$node->append_conf('postgresql.conf', "contratos.databases = 'analytics'");
	$node->reload;
	return;
}

sub make_standby
{
	$primary->backup('copy');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($primary, 'copy', has_streaming => 1);
	$standby->append_conf('postgresql.conf', "contratos.databases = 'analytics'");
	$standby->start;
	$primary->wait_for_catchup($standby);
	return $standby;
}

sub before
{
	my ($block) = @_;
	return if $block->{language} eq 'text';
	my ($where) = $block->{text} =~ /^-- on the (\w+)\n/;
	$where //= 'primary';
	$at{standby} //= make_standby() if $where eq 'standby';
	$run->{node} = $at{$where};
	if ($block->{text} =~ /'subscription'/)
	{
		$subscriber->wait_for_subscription_sync($primary, 'analytics');
		$primary->wait_for_catchup('analytics');
		serve($subscriber);
		ok(is_awake($subscriber), 'a worker runs on the subscriber');
	}
	if ($block->{text} =~ /pg_promote/)
	{
		$primary->safe_psql('analytics', 'SELECT contratos_enqueue(contratos_yesterday() - 3, contratos_yesterday() - 3, only_missing => false)');
		is($at{standby}->safe_psql('analytics', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'contratos worker')), 0, 'a standby has no worker');
		$primary->wait_for_catchup($at{standby});
		$f->bq->reset(tables => 0);
		$primary->stop;
		$promoted = 1;
	}
	elsif ($promoted)
	{
		ok( $at{standby}->poll_query_until('analytics', q(SELECT count(*) = 1 FROM contratos_runs WHERE cause = 'queue' AND status = 'succeeded')),
			'the worker of a promoted standby loads what was queued on the primary');
		ok(is_awake($at{standby}), 'the worker of a promoted standby goes on');
	}
	return;
}

sub replaced
{
	my ($from, $to) = map { $_->host } $primary, $subscriber;
	s/host=primary\.example\.com/"host=$from port=" . $primary->port/e;
	s/-h replica\.example\.com/"-h $to -p " . $subscriber->port/e;
	# what docs/how-to.md says of 18
	return if $primary->pg_version < 18;
	s/publish_via_partition_root = true/$&, publish_generated_columns = stored/;
	s/^-- on the subscriber\n(?=CREATE)/$&ALTER TABLE tokens ALTER COLUMN block DROP EXPRESSION;\n/;
	return;
}

# ---- pg_partman belongs to a PostgreSQL of Debian's

my ($partitions, $after) = map { my $title = $_; map { $_->{line} } grep { $_->{title} eq $title } @{ $page->{headings} } }
  'Partitions by pg_partman', 'A read replica by logical replication';
my @blocks = $page->blocks;
my @partman = grep { $_->{line} > $partitions && $_->{line} < $after } @blocks;
cmp_ok(scalar @partman, '>', 8, 'the page has a section on pg_partman');
my $there = $f->query(q(SELECT count(*) FROM pg_available_extension_versions WHERE name = 'pg_partman' AND version LIKE '4.7.%'));
my $debian = $primary->pg_version =~ /^15\b/ && ($ENV{PG_CONFIG} // '') =~ m{/usr/lib/postgresql/15/};

sub type_page
{
	my @typed = @_;
	$run = Contratos::DocsRun->new(node => $primary, database => 'analytics', before => \&before, replace => \&replaced);
	$run->page(bless { %$page, blocks => \@typed }, ref $page);
	$run->finish;
	return;
}

if ($there)
{
	type_page(@blocks);
}
else
{
	note('without pg_partman 4.7, which is for Debian\'s PostgreSQL 15');
	type_page(grep { $_->{line} < $partitions } @blocks);
	$primary->safe_psql('analytics', q(UPDATE contratos_sources SET start_date = contratos_yesterday() - 9;
		DELETE FROM tokens WHERE block_timestamp < (contratos_yesterday() - 9)::timestamp AT TIME ZONE 'UTC'));
	type_page(grep { $_->{line} > $after } @blocks);
  SKIP:
	{
		skip 'postgresql-15-partman is not installed', 1 if $debian;
		pass('pg_partman 4.7 is not for this PostgreSQL');
	}
}

# ---- the subscriber has loaded nothing

is($subscriber->safe_psql('analytics', q(SELECT count(*) FROM contratos_runs WHERE cause NOT IN ('manual', 'backfill', 'queue', 'verify'))), 0, 'the subscriber\'s worker has loaded nothing');
like(slurp_file($subscriber->logfile), qr/LOG:  database "analytics": a subscription brings rows of contratos_sources/, 'it says why');

$at{standby}->stop;
$subscriber->stop('fast');
$f->bq->stop;
done_testing();
