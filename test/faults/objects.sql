-- What the faults of PostgreSQL are made of: see test/faults.tsv.
CREATE TABLE faults.only_one (n integer);
CREATE TABLE faults.known (block_number bigint PRIMARY KEY);

CREATE FUNCTION faults.gate() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(TG_ARGV[0]::bigint); RETURN NEW; END';

CREATE FUNCTION faults.raises() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no, says the trigger' USING ERRCODE = coalesce(TG_ARGV[0], 'P0001'); END $$;

CREATE FUNCTION faults.insert_one() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN INSERT INTO faults.only_one VALUES (1); RETURN NULL; END';

CREATE FUNCTION faults.more() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN NEW.block_number := NEW.block_number + 2000; RETURN NEW; END';

CREATE FUNCTION faults.less() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN IF NEW.block_number = 120 THEN NEW.symbol := NULL; END IF; RETURN NEW; END';

CREATE FUNCTION faults.longer() RETURNS trigger LANGUAGE plpgsql AS
$$ DECLARE short varchar(3); BEGIN short := 'four'; RETURN NEW; END $$;

CREATE FUNCTION faults.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';

CREATE FUNCTION faults.pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';

CREATE FUNCTION faults.loads() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM public.contratos_run('2026-11-20'); RETURN NULL; END $$;

CREATE FUNCTION faults.reads() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM count(*) FROM public.bigquery_tokens WHERE block_timestamp < '2000-01-01 00:00+00'; RETURN NULL; END $$;

CREATE FUNCTION faults.locks() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN LOCK TABLE faults.known; RETURN NULL; END';

CREATE FUNCTION faults.spills() RETURNS trigger LANGUAGE plpgsql SET work_mem = '64kB' AS
'BEGIN PERFORM count(*) FROM (SELECT x FROM generate_series(1, 200000) x ORDER BY -x OFFSET 0) s; RETURN NULL; END';

CREATE FUNCTION faults.sorts() RETURNS trigger LANGUAGE plpgsql SET work_mem = '64kB' SET temp_file_limit = '64kB' AS
'BEGIN PERFORM count(*) FROM (SELECT x FROM generate_series(1, 200000) x ORDER BY -x OFFSET 0) s; RETURN NULL; END';

-- Rows that need new pages, of the table and of an index on block_hash; not compressible, not toasted.
CREATE FUNCTION faults.random_text(n integer) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(md5(random()::text), '') FROM generate_series(1, n / 32) $$;

CREATE FUNCTION faults.wide() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN NEW.block_hash := faults.random_text(960); NEW.name := faults.random_text(800); RETURN NEW; END';

CREATE FUNCTION faults.wide_run() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN NEW.why := faults.random_text(7744); RETURN NEW; END';

CREATE FUNCTION faults.hook(text, date) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no, says the hook'; END $$;

CREATE FUNCTION faults.hook(text, date, text) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no, says the hook'; END $$;

CREATE FUNCTION faults.divides(text, date) RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM 1 / 0; END';
