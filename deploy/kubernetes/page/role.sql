-- The role of the page, or its new password, which is psql's variable.
SELECT 'CREATE ROLE page LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'page') \gexec
ALTER ROLE page PASSWORD :'password';
GRANT pg_monitor TO page;
