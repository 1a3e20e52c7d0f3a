-- Read by lookalikes.sql and new_tokens.sql; not to be run alone.
-- Makes the function that calls each mart that is installed, and has source tokens call it.

-- A name in its body is looked up when its line is reached, so each mart can be installed without the other.
CREATE OR REPLACE PROCEDURE marts.after_load(source text, day date) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF pg_catalog.to_regprocedure('marts.refresh_lookalikes(date)') IS NOT NULL THEN
		CALL marts.refresh_lookalikes(day);
	END IF;
	IF pg_catalog.to_regprocedure('marts.refresh_new_tokens(date)') IS NOT NULL THEN
		CALL marts.refresh_new_tokens(day);
	END IF;
END $$;
COMMENT ON PROCEDURE marts.after_load(text, date) IS 'after_load of source tokens: replaces a day in each mart that is installed';

RESET ROLE;
-- a hook of your own stays: call marts.after_load from it
UPDATE :sources SET after_load = 'marts.after_load' WHERE name = 'tokens' AND after_load IS NULL;
SELECT after_load AS "tokens calls" FROM :sources WHERE name = 'tokens';
COMMIT;
