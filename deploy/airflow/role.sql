-- The role that Airflow connects as: it may have days loaded, and see which
-- ones are.  It needs no privilege on `tokens`: a load runs as the table's
-- owner.  Give it a password with \password airflow, or a certificate.
CREATE ROLE airflow LOGIN;
GRANT EXECUTE ON FUNCTION contratos_run TO airflow;
GRANT SELECT ON contratos_days TO airflow;
