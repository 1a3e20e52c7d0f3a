# Operators and functions that somebody has put into the extension's schema before
# CREATE EXTENSION, and that would fit better than PostgreSQL's: none of them may
# be bound into what the extension makes, nor be called.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Traps;

my $f = Contratos::Fixture->new;
$f->day('2026-11-20', 20);
$f->query('DROP EXTENSION contratos CASCADE');

# ---- the traps: of an ordinary owner of a database, whom `public` belongs to

my ($operators, $functions) = Contratos::Traps::lay($f);
cmp_ok($operators, '>', 1000, "the schema has operators as traps: $operators");
cmp_ok($functions, '>', 3000, "the schema has functions as traps: $functions");

# ---- they do work, where one steps into them

$f->query('TRUNCATE public.trapped');
$f->query('SET search_path = public; SELECT 1::bigint * interval $$1 day$$; SELECT max(1::name)');
is($f->query('SELECT DISTINCT who FROM public.trapped'), 'postgres', 'a session that searches the schema is trapped');
$f->query('TRUNCATE public.trapped');

# ---- the extension is made, and used by a superuser

$f->query('CREATE EXTENSION contratos');

# Expressions and queries of the extension: kind, object, text.
my $definitions = q(SET search_path = pg_catalog; WITH member AS (SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
		WHERE e.extname = 'contratos' AND d.deptype = 'e'),
	definition AS (
		SELECT 'pg_constraint'::regclass AS class, c.oid, pg_get_constraintdef(c.oid) AS text FROM pg_constraint c JOIN member ON objid = conrelid
		UNION ALL SELECT 'pg_attrdef'::regclass, a.oid, pg_get_expr(adbin, adrelid) FROM pg_attrdef a JOIN member ON objid = adrelid
		UNION ALL SELECT 'pg_rewrite'::regclass, r.oid, pg_get_viewdef(ev_class) FROM pg_rewrite r JOIN member ON objid = ev_class
		UNION ALL SELECT 'pg_class'::regclass, i.indexrelid, pg_get_indexdef(indexrelid) FROM pg_index i JOIN member ON objid = indrelid
		UNION ALL SELECT 'pg_trigger'::regclass, t.oid, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN member ON objid = tgrelid
		UNION ALL SELECT 'pg_proc'::regclass, p.oid, pg_get_functiondef(p.oid) FROM pg_proc p JOIN member ON objid = p.oid AND classid = 'pg_proc'::regclass));
my %there = map { split /\|/ } split /\n/, $f->query("$definitions SELECT class, count(*) FROM definition GROUP BY 1");
cmp_ok($there{$_} // 0, '>', 0, "the extension has definitions of $_") for qw(pg_constraint pg_attrdef pg_rewrite pg_class pg_trigger pg_proc);
is($f->query("$definitions SELECT text FROM definition WHERE text ~ 'OPERATOR\\('"), '', 'no definition names an operator by its schema');
# bound when it is called, not when it is made
is($f->query("$definitions SELECT proname FROM pg_proc p JOIN member ON objid = p.oid AND classid = 'pg_proc'::regclass
	WHERE prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c') AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)"), '',
	'every function of the extension is in C, or searches pg_catalog only');
is($f->query(
	"$definitions SELECT pg_describe_object(d.refclassid, d.refobjid, 0) FROM (SELECT class, oid FROM definition UNION ALL SELECT classid, objid FROM member) o
	 JOIN pg_depend d ON d.classid = o.class AND d.objid = o.oid AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)
	 LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
	 WHERE NOT EXISTS (SELECT FROM member m WHERE (m.classid, m.objid) = (d.refclassid, d.refobjid))
		AND p.pronamespace IS DISTINCT FROM 'pg_catalog'::regnamespace"), '', 'no definition depends on objects of others');

$f->query(
	q(SELECT contratos_setup(); SELECT * FROM contratos_backfill(1); UPDATE contratos_sources SET max_shrink = 0.2;
	  SELECT contratos_enqueue('2026-11-19', '2026-11-20', only_missing => false);
	  SELECT * FROM contratos_status; SELECT * FROM contratos_days; SELECT * FROM contratos_progress; SELECT * FROM contratos_check(NULL);
	  SELECT * FROM contratos_problems; SELECT * FROM contratos_metrics; SELECT * FROM contratos_metrics_failures; SELECT contratos_page();
	  SELECT * FROM contratos_verify('2026-11-19', '2026-11-20'); SELECT * FROM contratos_estimate('2026-11-19', '2026-11-20')));
is($f->query('SELECT * FROM public.trapped'), '', 'no trap is called by a superuser\'s use of the extension');

# ---- nor where the landlord lays them afterwards, and goes on to use what is his

is($f->query(q(SELECT status FROM contratos_run('2026-11-20', allow_shrink => true))), 'succeeded',
	'a load among traps succeeds');
is($f->query('SELECT * FROM public.trapped'), '', 'no trap is called by a load');

# ---- nor into those in a table of his, that is there before: a predicate of an index, a key of partitions

my $sprung = qr/code of the landlord's as postgres/;
my $spied = 0;
for my $parted ('', 'PARTITION BY RANGE ((block_number + public.spy(1)))')
{
	my $kind = $parted ? 'partitioned table' : 'table';
	$f->query(
		qq(DROP EXTENSION contratos CASCADE; DROP TABLE public.tokens; SET SESSION AUTHORIZATION landlord;
		   CREATE OR REPLACE FUNCTION public.spy(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
			\$\$ BEGIN RAISE WARNING 'code of the landlord''s as %', current_user; RETURN 1; END \$\$;
		   CREATE TABLE public.tokens (address text, symbol text, name text, decimals numeric, total_supply numeric, block_timestamp timestamptz,
			block_number bigint, block_hash text) $parted;
		   CREATE INDEX ON public.tokens (block_timestamp) WHERE public.spy(1) = 1;
		   REVOKE INSERT ON public.tokens FROM landlord)); # so that no statement of his own is planned first
	like($f->messages('CREATE EXTENSION contratos; SELECT contratos_setup()'), qr/using existing public\.tokens/, "the landlord's $kind is adopted by a superuser");
	$f->query('GRANT SELECT ON bigquery_tokens TO landlord');
	my (undef, $out) = $f->psql(q(SELECT status, translate(found, chr(10), '') FROM contratos_check() WHERE check_name IN ('target', 'index')));
	like($out, qr/^ok\|public\.tokens takes .*\nok\|[^\n]* on block_timestamp/,
		"contratos_check() passes the landlord's $kind");
	is(() = slurp_file($f->node->logfile) =~ /$sprung/g, $spied, "no code in the landlord's $kind runs");
	next if $parted;
	like($f->messages('SELECT count(*) FROM public.tokens'), $sprung,
		'a superuser\'s own query of the landlord\'s table runs its code');
	$spied = () = slurp_file($f->node->logfile) =~ /$sprung/g;
}

$f->stop;
done_testing();
