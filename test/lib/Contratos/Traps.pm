# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Traps - operators and functions that fit better than PostgreSQL's, for TAP tests

=head1 SYNOPSIS

  my ($operators, $functions) = Contratos::Traps::lay($f);
  ...
  is($f->query('SELECT * FROM public.trapped'), '', 'no trap is called');

=cut

package Contratos::Traps;

use strict;
use warnings;

=head1 FUNCTIONS

=head2 lay($fixture)

Gives the database that the fixture's statements go to and its schema C<public>
to a new ordinary role, C<landlord>, which puts traps there: whoever steps into
one is noted in C<public.trapped>.  Returns how many operators and functions
there are.

=cut

sub lay
{
	my ($f) = @_;
	my $types = q(smallint integer bigint numeric real float8 text name date timestamp timestamptz time interval bool);
	$f->query(
		qq(CREATE ROLE landlord LOGIN CREATEDB; ALTER DATABASE :"DBNAME" OWNER TO landlord; ALTER SCHEMA public OWNER TO landlord;
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
	return ($operators, $functions);
}

1;
