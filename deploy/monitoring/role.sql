-- The role of the exporter, or its new password: psql runs this in the database's
-- container, where the password is a file.
\set password `cat /run/secrets/watch-password`
SELECT 'CREATE ROLE watch LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'watch') \gexec
ALTER ROLE watch PASSWORD :'password';
GRANT pg_monitor TO watch;
