-- What the extension contratos consists of in this database, a line of text for
-- each property: to be run by `psql -XAtq -f`, sorted, and compared with another
-- database's.
--
-- Members are what CREATE EXTENSION or ALTER EXTENSION UPDATE has made, and what
-- belongs to these (columns, defaults, constraints, indexes, triggers, rules, types,
-- sequences).  Of each, the whole row in its catalog is shown, whatever columns this
-- version of PostgreSQL gives it, with names for OIDs and SQL for trees; then
-- comments, privileges (those of PUBLIC and the owner, too, where nothing was
-- granted), dependencies, and what pg_dump takes for the initial privileges.  Left
-- out are OIDs, sizes, and how old rows come by a column's default.
--
-- Also shown is what users have attached to members: privileges, triggers, indexes.
-- Views and functions that merely use them are not.

\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET search_path = pg_catalog;

CREATE TEMPORARY TABLE belongs AS
WITH RECURSIVE member(classid, objid) AS (
	SELECT 'pg_extension'::regclass::oid, oid FROM pg_extension WHERE extname = 'contratos'
	UNION
	SELECT d.classid, d.objid FROM pg_depend d JOIN member m ON d.refclassid = m.classid AND d.refobjid = m.objid
	WHERE d.deptype IN ('e', 'i', 'a', 'P', 'S'))
SELECT classid, objid FROM member;

-- One query for each catalog.
WITH satellite(catalog, class, key, identity) AS (
	-- those whose rows have no OID, or are no objects of their own
	VALUES ('pg_attribute', 'pg_class', 'attrelid', 'format($$column %s of %s$$, c.attnum, pg_describe_object(b.classid, b.objid, 0))'),
		('pg_index', 'pg_class', 'indexrelid', NULL),
		('pg_sequence', 'pg_class', 'seqrelid', NULL),
		('pg_foreign_table', 'pg_class', 'ftrelid', NULL),
		('pg_inherits', 'pg_class', 'inhrelid', NULL),
		('pg_partitioned_table', 'pg_class', 'partrelid', NULL),
		('pg_aggregate', 'pg_proc', 'aggfnoid', NULL),
		('pg_range', 'pg_type', 'rngtypid', NULL),
		('pg_enum', 'pg_type', 'enumtypid', 'format($$label %s of %s$$, c.enumlabel, pg_describe_object(b.classid, b.objid, 0))'),
		('pg_ts_config_map', 'pg_ts_config', 'mapcfg', NULL)
	UNION ALL
	SELECT DISTINCT classid::regclass::text, classid::regclass::text, 'oid', NULL FROM pg_temp.belongs
), left_out(catalog, name) AS (
	VALUES ('pg_class', 'relfilenode'), ('pg_class', 'relpages'), ('pg_class', 'reltuples'), ('pg_class', 'relallvisible'),
		('pg_class', 'relallfrozen'), ('pg_class', 'relfrozenxid'), ('pg_class', 'relminmxid'),
		('pg_attribute', 'atthasmissing'), ('pg_attribute', 'attmissingval'), ('pg_attribute', 'attcacheoff'),
		('pg_index', 'indcheckxmin'), ('pg_rewrite', 'ev_qual'),
		-- shown_privilege has them
		('pg_class', 'relacl'), ('pg_attribute', 'attacl'), ('pg_proc', 'proacl'), ('pg_type', 'typacl'), ('pg_namespace', 'nspacl'),
		('pg_foreign_data_wrapper', 'fdwacl')
), rewritten(catalog, name, expression) AS (
	-- a tree that is not here is shown as it is, with OIDs, and so is always a difference
	VALUES ('pg_attribute', 'attoptions', $$(SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(c.attoptions) o WHERE o !~ '^pg_attver=')$$), -- a stamp of PostgreSQL's own
		('pg_attrdef', 'adbin', 'pg_get_expr(c.adbin, c.adrelid)'),
		('pg_class', 'relpartbound', 'pg_get_expr(c.relpartbound, c.oid)'),
		('pg_constraint', 'conbin', 'pg_get_constraintdef(c.oid)'),
		('pg_index', 'indexprs', 'pg_get_indexdef(c.indexrelid)'),
		('pg_index', 'indpred', 'pg_get_expr(c.indpred, c.indrelid)'),
		('pg_partitioned_table', 'partexprs', 'pg_get_partkeydef(c.partrelid)'),
		('pg_policy', 'polqual', 'pg_get_expr(c.polqual, c.polrelid)'),
		('pg_policy', 'polwithcheck', 'pg_get_expr(c.polwithcheck, c.polrelid)'),
		('pg_proc', 'proargdefaults', 'pg_get_function_arguments(c.oid)'),
		('pg_proc', 'prosqlbody', 'pg_get_function_sqlbody(c.oid)'),
		('pg_rewrite', 'ev_action', 'pg_get_ruledef(c.oid)'),
		('pg_statistic_ext', 'stxexprs', 'pg_get_statisticsobjdef(c.oid)'),
		('pg_trigger', 'tgqual', 'pg_get_triggerdef(c.oid)')
), reference AS (
	SELECT fktable, fkcols[1] AS name, pktable, is_array FROM pg_get_catalog_foreign_keys() WHERE cardinality(fkcols) = 1
), property AS (
	SELECT s.catalog, s.class, s.key, coalesce(s.identity, 'pg_describe_object(b.classid, b.objid, 0)') AS identity, a.attnum,
		format('(%L, %s)', a.attname, CASE
			WHEN t.expression IS NOT NULL THEN format('CASE WHEN c.%I IS NOT NULL THEN %s END', a.attname, t.expression)
			WHEN r.is_array THEN format('(SELECT string_agg(pg_describe_object(%L::regclass, u.o::oid, 0), $$, $$ ORDER BY u.n) FROM unnest(c.%I) WITH ORDINALITY u(o, n))',
				r.pktable::regclass, a.attname)
			WHEN r.pktable IS NOT NULL THEN format('CASE WHEN c.%1$I::oid <> 0 THEN pg_describe_object(%2$L::regclass, c.%1$I::oid, 0) END',
				a.attname, r.pktable::regclass)
			ELSE format('c.%I::text', a.attname) END) AS pair
	FROM satellite s
	JOIN pg_attribute a ON a.attrelid = s.catalog::regclass AND a.attnum > 0 AND a.attname <> 'oid'
	LEFT JOIN reference r ON r.fktable = a.attrelid AND r.name = a.attname
	LEFT JOIN rewritten t ON t.catalog = s.catalog AND t.name = a.attname
	WHERE NOT EXISTS (SELECT FROM left_out l WHERE l.catalog = s.catalog AND l.name = a.attname)
)
SELECT format('CREATE TEMPORARY VIEW shown_%s AS SELECT %s AS object, p.name, p.value FROM %I c JOIN pg_temp.belongs b ON b.classid = %L::regclass AND b.objid = c.%I
	CROSS JOIN LATERAL (VALUES %s) p(name, value)%s', catalog, identity, catalog, class, key, string_agg(pair, ', ' ORDER BY attnum),
	CASE catalog WHEN 'pg_attribute' THEN ' WHERE c.attnum > 0' END)
FROM property GROUP BY catalog, class, key, identity
\gexec

CREATE TEMPORARY VIEW shown_comment AS
SELECT pg_describe_object(d.classoid, d.objoid, d.objsubid) AS object, 'comment' AS name, d.description AS value
FROM pg_description d JOIN pg_temp.belongs b ON b.classid = d.classoid AND b.objid = d.objoid;

CREATE TEMPORARY VIEW shown_label AS
SELECT pg_describe_object(l.classoid, l.objoid, l.objsubid) AS object, 'label of ' || l.provider AS name, l.label AS value
FROM pg_seclabel l JOIN pg_temp.belongs b ON b.classid = l.classoid AND b.objid = l.objoid;

CREATE TEMPORARY VIEW shown_depends AS
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) AS object, concat('depends ', d.deptype) AS name,
	pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) AS value
FROM pg_depend d JOIN pg_temp.belongs b ON b.classid = d.classid AND b.objid = d.objid;

CREATE TEMPORARY VIEW shown_privilege AS
WITH acl AS (
	SELECT b.classid, b.objid, 0 AS objsubid, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl, '' AS initial
	FROM pg_temp.belongs b JOIN pg_class c ON b.classid = 'pg_class'::regclass AND c.oid = b.objid AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S')
	UNION ALL SELECT b.classid, b.objid, a.attnum, a.attacl, ''
	FROM pg_temp.belongs b JOIN pg_attribute a ON b.classid = 'pg_class'::regclass AND a.attrelid = b.objid
	UNION ALL SELECT b.classid, b.objid, 0, coalesce(p.proacl, acldefault('f', p.proowner)), ''
	FROM pg_temp.belongs b JOIN pg_proc p ON b.classid = 'pg_proc'::regclass AND p.oid = b.objid
	UNION ALL SELECT b.classid, b.objid, 0, coalesce(t.typacl, acldefault('T', t.typowner)), ''
	FROM pg_temp.belongs b JOIN pg_type t ON b.classid = 'pg_type'::regclass AND t.oid = b.objid
	UNION ALL SELECT b.classid, b.objid, 0, coalesce(n.nspacl, acldefault('n', n.nspowner)), ''
	FROM pg_temp.belongs b JOIN pg_namespace n ON b.classid = 'pg_namespace'::regclass AND n.oid = b.objid
	UNION ALL SELECT b.classid, b.objid, 0, coalesce(w.fdwacl, acldefault('F', w.fdwowner)), ''
	FROM pg_temp.belongs b JOIN pg_foreign_data_wrapper w ON b.classid = 'pg_foreign_data_wrapper'::regclass AND w.oid = b.objid
	UNION ALL SELECT b.classid, b.objid, i.objsubid, i.initprivs, 'initial '
	FROM pg_temp.belongs b JOIN pg_init_privs i ON i.classoid = b.classid AND i.objoid = b.objid
)
SELECT pg_describe_object(a.classid, a.objid, a.objsubid) AS object, a.initial || 'privilege' AS name,
	concat_ws(' ', e.privilege_type, 'for', CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END,
		CASE WHEN e.is_grantable THEN 'with grant option' END, 'by', e.grantor::regrole) AS value
FROM acl a CROSS JOIN LATERAL aclexplode(a.acl) e;

-- Names that PostgreSQL makes of OIDs are not compared.
SELECT string_agg(format($$SELECT regexp_replace(concat_ws(' | ', object, name, replace(value, E'\n', '\n')), '(pg_toast|RI_ConstraintTrigger_[ac])_\d+', '\1_N', 'g')
	FROM pg_temp.%I WHERE value IS NOT NULL$$, relname), E'\nUNION ALL ') AS everything
FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'v'
\gset
:everything ORDER BY 1;
