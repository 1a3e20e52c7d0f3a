-- Read by lookalikes.sql and new_tokens.sql; not to be run alone.
-- Finds the target of source tokens and its owner, and makes the schema marts for that owner:
-- after_load runs as the target's owner, and its function must belong to a role like it.

\set ON_ERROR_STOP on
\encoding UTF8
BEGIN;
SET LOCAL client_min_messages = warning;

SELECT quote_ident(n.nspname) || '.contratos_sources' AS sources
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'contratos' \gset
SELECT s.target_table AS target, pg_catalog.pg_get_userbyid(c.relowner) AS owner
FROM :sources s JOIN pg_catalog.pg_class c ON c.oid = s.target_table::pg_catalog.regclass WHERE s.name = 'tokens' \gset

CREATE SCHEMA IF NOT EXISTS marts AUTHORIZATION :"owner";
SET LOCAL ROLE :"owner";
SET LOCAL search_path = pg_catalog, pg_temp;
-- whoever owns the schema could put other functions in it
DO $$
BEGIN
	IF (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'marts') <> current_user::pg_catalog.regrole THEN
		RAISE 'schema "marts" does not belong to role "%", the owner of the target', current_user;
	END IF;
	IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
		RAISE 'the marts need a database in UTF8';
	END IF;
END $$;
