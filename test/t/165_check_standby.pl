# contratos_check() on a standby: it says what it is, and all else as on the primary.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(init => { allows_streaming => 1 }, conf => "shared_preload_libraries = 'contratos'\ncontratos.databases = 'postgres'");
$f->node->poll_query_until('postgres', q(SELECT EXISTS (SELECT FROM contratos_sources))) or BAIL_OUT('the worker sets nothing up');
$f->query(q(SELECT contratos_run('2026-11-20')));
my $rows = q(SELECT string_agg(check_name || ' ' || status, ', ' ORDER BY check_name) FROM contratos_check());
my $here = $f->query($rows);
unlike($here, qr/warning|failed|skipped/, 'all checks are ok on the primary');

$f->node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($f->node, 'base', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', $rows), $here =~ s/(worker|settings) ok/$1 skipped/gr,
	'all checks but those of the worker are ok on a standby');
is($standby->safe_psql('postgres', q(SELECT translate(found, chr(10), '') FROM contratos_check() WHERE check_name = 'worker')),
	'this server is a standby: the worker runs on the primary',
		'the check of the worker names the primary on a standby');
$standby->stop;
$f->stop;
done_testing();
