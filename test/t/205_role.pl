# What contratos.role needs: the least-privilege set-up of docs/how-to.md is typed, and
# the worker does everything that it ever does.  contratos_check() sees what it lacks.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP ();
use Test::More;

use Contratos::Docs;
use Contratos::Worker;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $f = Contratos::Worker->new(conf => "contratos.retries = 0\nmax_worker_processes = 20\ncontratos.min_parallel_load_size = 0\ncontratos.page_rows = 10");
$f->day("2026-11-$_", 50) for 19 .. 22;
# PUBLIC has nothing that the page does not say
$f->query('REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE ALL ON DATABASE postgres FROM PUBLIC; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC');

# A row of contratos_check().
sub checked
{
	my ($name, $before) = @_;
	my $out = $f->query(($before // '') . "; SELECT coalesce(jsonb_agg(c), '[{}]') FROM contratos_check() c WHERE check_name = '$name'");
	my $row = JSON::PP->new->decode((split /\n/, $out)[-1])->[0];
	# they are folded to the width of a terminal
	tr/\n//d for grep { defined } @$row{qw(found hint)};
	return $row;
}

sub says
{
	my ($check, $status, $found, $hint, $name) = @_;
	is($check->{status}, $status, $name) or diag($check->{found});
	like($check->{found}, $found, "$name: found");
	return defined $hint ? like($check->{hint}, $hint, "$name: what to do") : is($check->{hint}, undef, "$name: nothing to do");
}

# ---- the page, as it is typed

my $page = Contratos::Docs->new("$root/docs/how-to.md");
my ($from) = grep { $_->{title} eq 'Give the worker a role of its own' } @{ $page->{headings} };
my ($to) = grep { $_->{line} > $from->{line} } @{ $page->{headings} };
my @blocks = map { $_->{text} =~ s/\banalytics\b/postgres/gr } grep { $_->{line} > $from->{line} && $_->{line} < $to->{line} } $page->blocks;
is(scalar @blocks, 3, 'the page has a set-up, a check and the way back');
$f->query($blocks[0]);
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND usename = 'contratos_worker')), 'the worker connects as the role of the page');
is($f->query($blocks[1]), '', 'contratos_check() has no complaint about the set-up of the page');
says(checked('role'), 'ok', qr/^contratos_worker, as contratos\.role says$/, undef, 'the role of the page');
says(checked('writable'), 'ok', qr/^by its owner, tokens_owner$/, undef, 'the owner of the page');
is($f->query(q(SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = 'contratos_worker')), 'f', 'the role of the page has no attribute but LOGIN');
is($f->query(q(SELECT count(*) FROM pg_auth_members WHERE member = 'contratos_worker'::regrole)), 0, 'the role of the page is a member of no role');
is($f->query(q(SELECT has_schema_privilege('contratos_worker', 'public', 'USAGE'), has_table_privilege('contratos_worker', 'tokens', 'SELECT, INSERT, DELETE'))), 'f|f', 'the role of the page may do nothing with the tables');

# ---- all that a worker does: after_load, on_failure, a recheck that loads again, the queue, pruning

$f->query(q(
	CREATE TABLE told (what text, who text); ALTER TABLE told OWNER TO tokens_owner;
	CREATE PROCEDURE after(source text, day date) LANGUAGE sql BEGIN ATOMIC INSERT INTO told VALUES ('loaded ' || day, current_user); END;
	CREATE PROCEDURE failed(source text, day date, error text) LANGUAGE sql BEGIN ATOMIC INSERT INTO told VALUES ('failed ' || day, current_user); END;
	ALTER PROCEDURE after OWNER TO tokens_owner; ALTER PROCEDURE failed OWNER TO tokens_owner;
	UPDATE contratos_sources SET after_load = 'after', on_failure = 'failed';
	INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, error) VALUES ('tokens', '2020-01-01', 'manual', 'failed', '2020-01-01', '2020-01-01', 'old')));
ok($f->at('2026-11-21 08:00'), 'the worker looks at a day as the role of the page');
is($f->runs(q(day > '2021-01-01')), '20 schedule succeeded', 'the worker loads a day as the role of the page');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE day < '2021-01-01')), 0, 'the worker removes old attempts as the role of the page');
$f->day('2026-11-20', 60);
ok($f->at('2026-11-22 08:00'), 'the worker looks at a day that has changed as the role of the page');
is($f->query(q(SELECT count(*) FROM tokens WHERE block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z')), 60, 'a recheck loads a day again as the role of the page');
$f->query(q(SELECT contratos_enqueue('2026-11-19', '2026-11-19')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE cause = 'queue' AND status = 'succeeded')), 'the worker loads the queue as the role of the page');
$f->bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'Access Denied' });
$f->query(q(SELECT contratos_enqueue('2026-11-18', '2026-11-18')));
ok($f->poll(q(SELECT count(*) = 1 FROM told WHERE what = 'failed 2026-11-18')), 'on_failure is called as the role of the page');
$f->bq->reset(tables => 0);
is($f->query('SELECT string_agg(DISTINCT who, $$,$$) FROM told'), 'tokens_owner', 'the source\'s functions run as the owner of the target');
is($f->query('SELECT count(*) FROM _contratos_housekeeping'), 0, 'no step of the worker fails as the role of the page');
is($f->logged(qr/permission denied/), 0, 'the log has no error about a privilege');

# ---- what the role can lack, and the cures

for my $case (
	[ 'ALTER ROLE contratos_worker NOLOGIN', qr/^contratos\.role is contratos_worker, which cannot log in$/, qr/^ALTER ROLE contratos_worker LOGIN;$/ ],
	[ 'REVOKE CONNECT ON DATABASE postgres FROM contratos_worker', qr/^contratos\.role is contratos_worker, which may not connect$/, qr/^GRANT CONNECT ON DATABASE postgres TO contratos_worker;$/ ])
{
	my ($break, $found, $hint) = @$case;
	my $check = checked('role', $break);
	says($check, 'failed', $found, $hint, $break);
	$f->query($check->{hint});
	is(checked('role')->{status}, 'ok', "$break: the hint cures it");
}
$f->query(q(ALTER SYSTEM SET contratos.role = 'no one'; SELECT pg_reload_conf()));
ok($f->poll(q(SELECT status = 'failed' FROM contratos_check() WHERE check_name = 'role')), 'a role that does not exist: contratos_check() sees it');
says(checked('role'), 'failed', qr/^contratos\.role is "no one", which does not exist$/, qr/^CREATE ROLE "no one" LOGIN;$/, 'a role that does not exist');

# ---- a role that cannot set up

$f->query('DROP EXTENSION contratos CASCADE; DROP TABLE tokens, told CASCADE; CREATE EXTENSION contratos; GRANT USAGE ON SCHEMA public TO contratos_worker');
says(checked('source'), 'warning', qr/nothing is set up yet/, qr/contratos_setup/, 'no role: whoever calls sets up');
$f->query(q(ALTER SYSTEM SET contratos.role = 'contratos_worker'; SELECT pg_reload_conf()));
ok($f->poll(q(SELECT translate(found, chr(10), '') LIKE 'contratos_worker, as%' FROM contratos_check() WHERE check_name = 'role')), 'the role is back');
my $check = checked('source');
says($check, 'failed', qr/^permission denied to set up source "tokens"\. Role "contratos_worker" lacks: CREATE on schema public, USAGE on foreign-data wrapper contratos\.$/, qr/^Have a superuser, .*contratos_setup\(\)/, 'the worker\'s role cannot set up');
$f->query('SELECT contratos_setup()');
is(checked('source')->{status}, 'ok', 'the worker\'s role cannot set up: the hint cures it');

# ---- settings that only this session, or only the worker, has

ok($f->settle, 'the worker is back');
is(checked('settings')->{status}, 'ok', 'the same settings here and in the worker');
says(checked('settings', q(SET contratos.location = 'EU')), 'warning', qr/^the worker has other values of contratos\.location$/, qr/RESET/, 'a setting of this session alone');
$f->query(q(ALTER ROLE contratos_worker SET contratos.project = 'of-the-worker'));
says(checked('settings'), 'warning', qr/^the worker has other values of contratos\.project$/, qr/RESET/, 'a setting of the worker\'s role alone');
$f->query('ALTER ROLE contratos_worker RESET ALL; ALTER ROLE postgres SET contratos.page_rows = 7');
says(checked('settings'), 'warning', qr/contratos\.page_rows$/, qr/RESET/, 'a setting of this role alone');
$f->query('ALTER ROLE postgres RESET ALL');
$f->query($blocks[2]);
ok($f->poll(q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'contratos worker' AND usename = 'postgres')), 'the way back of the page leads to the bootstrap superuser');

$f->stop;
done_testing();
