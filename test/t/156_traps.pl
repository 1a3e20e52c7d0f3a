# Operators and functions that somebody has put into the extension's schema before
# CREATE EXTENSION, and that would fit better than PostgreSQL's: none of them may
# be bound into what the extension makes, nor be called.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new;
$f->day('2026-11-20', 20);
$f->query('DROP EXTENSION contratos CASCADE');

# ---- the traps: of an ordinary owner of a database, whom `public` belongs to

my $types = q(smallint integer bigint numeric real float8 text name date timestamp timestamptz time interval bool);
$f->query(
	qq(CREATE ROLE landlord LOGIN CREATEDB; ALTER DATABASE postgres OWNER TO landlord; ALTER SCHEMA public OWNER TO landlord;
	   SET SESSION AUTHORIZATION landlord;
	   CREATE TABLE public.trapped (who name, what text); GRANT INSERT ON public.trapped TO PUBLIC;
	   CREATE FUNCTION public.trap(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO public.trapped VALUES (current_user, what)';
	   CREATE TABLE public.types AS SELECT t::regtype AS type FROM unnest(string_to_array('$types', ' ')) t));

# Every operator that compares or counts, for each pair of types that has none of its own in pg_catalog.
my $operators = $f->query(
	q(SET SESSION AUTHORIZATION landlord;
	  DO $do$
	  DECLARE
		o record;
	  BEGIN
		FOR o IN
			SELECT name, a.type AS a, b.type AS b, name IN ('+', '-', '*', '/', '||') AS counts,
				format('trap_%s', row_number() OVER ()) AS function
			FROM unnest(ARRAY['=', '<>', '<', '<=', '>', '>=', '~', '+', '-', '*', '/', '||']) name, public.types a, public.types b
			WHERE NOT EXISTS (SELECT FROM pg_operator p WHERE p.oprnamespace = 'pg_catalog'::regnamespace
				AND p.oprname = name AND p.oprleft = a.type AND p.oprright = b.type)
		LOOP
			EXECUTE format('CREATE FUNCTION public.%I(%s, %s) RETURNS %s IMMUTABLE LANGUAGE plpgsql AS
				$$ BEGIN PERFORM public.trap(%L); RETURN %s; END $$', o.function, o.a, o.b,
				CASE WHEN o.counts THEN o.a::text ELSE 'bool' END, o.a || o.name || o.b, CASE WHEN o.counts THEN '$1' ELSE 'true' END);
			EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.%I)', o.name, o.a, o.b, o.function);
		END LOOP;
	  END $do$;
	  SELECT count(*) FROM pg_operator WHERE oprnamespace = 'public'::regnamespace));
cmp_ok($operators, '>', 1000, "the schema has operators as traps: $operators");

# Every function of PostgreSQL's that the script could mean, for each type that it does not take as it is.
my $functions = $f->query(
	q(SET SESSION AUTHORIZATION landlord;
	  DO $do$
	  DECLARE
		o record;
	  BEGIN
		FOR o IN
			WITH name AS (SELECT DISTINCT p.proname AS name FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind <> 'p'
					AND p.proname IN ('abs', 'count', 'max', 'min', 'sum', 'round', 'length', 'isfinite', 'array_agg', 'extract', 'timezone', 'date_trunc',
						'hashtextextended', 'generate_series', 'clock_timestamp', 'to_timestamp', 'pg_stat_get_progress_info', 'lower', 'split_part',
						'string_agg', 'strpos', 'current_database', 'now', 'has_table_privilege', 'make_interval', 'left', 'substr', 'position',
						'pg_extension_config_dump', 'pg_get_serial_sequence')),
				signature AS (SELECT ARRAY[a.type::oid] AS args FROM public.types a
					UNION ALL SELECT ARRAY[a.type::oid, b.type::oid] FROM public.types a, public.types b)
			SELECT name, (SELECT string_agg(t::regtype::text, ', ') FROM unnest(args) t) AS args FROM name, signature
			WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = name
				AND p.proargtypes::text = array_to_string(args, ' '))
		LOOP
			EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM public.trap(%L); RETURN 1; END $$',
				o.name, o.args, o.name || '(' || o.args || ')');
		END LOOP;
	  END $do$;
	  SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname !~ '^trap'));
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
is($f->query("$definitions SELECT prosrc FROM pg_proc p JOIN member ON objid = p.oid WHERE prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c')"), '',
	'every function of the extension is in C');
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
