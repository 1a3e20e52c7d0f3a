-- Run once, in the database POSTGRES_DB, when the volume is empty.
CREATE EXTENSION contratos;
