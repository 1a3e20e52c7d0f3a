/* extension/contratos--0.9--1.0.sql */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION contratos UPDATE TO '1.0'" to load this file. \quit

-- As in the script that creates the extension: see there.
SET LOCAL search_path = pg_catalog, pg_temp;

-- In the order in which a load comes to them, or the two could deadlock.
LOCK TABLE @extschema@.contratos_sources, @extschema@.contratos_runs, @extschema@.contratos_rejects IN ACCESS EXCLUSIVE MODE;

-- What comes below stands in contratos--1.0.sql as well; test/t/220_update_from.pl
-- compares the two, object by object.

-- A worker that is waiting for this version looks at once: the statement trigger
-- fires although there is nothing to delete.
DELETE FROM @extschema@.contratos_sources WHERE false;
