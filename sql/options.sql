--
-- Settings and options: what may be set, where, by whom, to what.
-- Nothing here reaches a network or a file.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS contratos;
RESET client_min_messages;
CREATE ROLE regress_contratos_super SUPERUSER;
CREATE ROLE regress_contratos_plain;
CREATE ROLE regress_contratos_files;
GRANT pg_read_server_files TO regress_contratos_files;
CREATE SCHEMA options_test;
SET ROLE regress_contratos_super;
GRANT ALL ON SCHEMA options_test TO regress_contratos_plain, regress_contratos_files;
GRANT USAGE ON FOREIGN DATA WRAPPER contratos TO regress_contratos_plain, regress_contratos_files;
SET search_path = options_test, public;

--
-- Settings
--
LOAD 'contratos';
SELECT name, boot_val, unit, context, min_val, max_val
FROM pg_settings WHERE name LIKE 'contratos.%' ORDER BY name COLLATE "C";

-- units and ranges
SET contratos.connect_timeout = '2s';
SHOW contratos.connect_timeout;
SET contratos.request_timeout = '1min';
SHOW contratos.request_timeout;
SET contratos.job_timeout = '1s';
SHOW contratos.job_timeout;
SET contratos.max_bytes_billed = '20GB';
SHOW contratos.max_bytes_billed;
SET contratos.max_bytes_billed = 0;
SET contratos.page_rows = 1;
SET contratos.page_rows = 1000000;
\set VERBOSITY sqlstate
SET contratos.connect_timeout = '99ms';
SET contratos.connect_timeout = '11min';
SET contratos.request_timeout = 0;
SET contratos.request_timeout = '61min';
SET contratos.job_timeout = -1;
SET contratos.job_timeout = '25h';
SET contratos.max_bytes_billed = -1;
SET contratos.page_rows = 0;
SET contratos.page_rows = 1000001;
SET contratos.page_rows = '1MB';
\set VERBOSITY default
RESET contratos.connect_timeout;
RESET contratos.request_timeout;
RESET contratos.job_timeout;
RESET contratos.max_bytes_billed;
RESET contratos.page_rows;

-- what a value must look like; '' is none; the message does not repeat it
SET contratos.credentials_file = '/etc/contratos/key.json';
SET contratos.credentials_file = '';
SET contratos.credentials_file = 'key.json';
SET contratos.credentials_file = 'metadata';
SET contratos.ca_file = '/etc/contratos/ca.pem';
SET contratos.ca_file = '../ca.pem';
SET contratos.project = 'my-project';
SET contratos.project = 'example.com:my-project';
SET contratos.project = 'my project';
SET contratos.project = 'my.project';
SET contratos.project = ':p';
SET contratos.project = 'example.com:';
SET contratos.location = 'southamerica-east1';
SET contratos.location = 'US/EU';
SET contratos.endpoint = 'https://bigquery.example.com:8443/path';
SET contratos.endpoint = 'http://[::1]:9050';
SET contratos.endpoint = 'bigquery.example.com';
SET contratos.endpoint = 'ftp://bigquery.example.com';
SET contratos.endpoint = 'https://';
SET contratos.endpoint = 'https://user@bigquery.example.com';
SET contratos.endpoint = 'https://bigquery.example.com/?key=1';
SET contratos.proxy = 'http://proxy.example.com:3128';
SET contratos.proxy = 'socks5h://proxy.example.com';
SET contratos.proxy = 'proxy.example.com:3128';
SET contratos.proxy = 'http://user:password@proxy.example.com';
RESET contratos.credentials_file;
RESET contratos.ca_file;
RESET contratos.project;
RESET contratos.location;
RESET contratos.endpoint;
RESET contratos.proxy;

-- the worker's are the server's (all of these are refused, so nothing is written)
SET contratos.retries = 1;
ALTER SYSTEM SET contratos.databases = 'one, "two';
ALTER SYSTEM SET contratos.databases = 'one, ';
ALTER SYSTEM SET contratos.databases = 'one, ""';
ALTER SYSTEM SET contratos.databases = 'one two';
ALTER SYSTEM SET contratos.databases = 'one, a123456789b123456789c123456789d123456789e123456789f123456789g123456789';
ALTER SYSTEM SET contratos.role = 'a123456789b123456789c123456789d123456789e123456789f123456789g123456789';
\set VERBOSITY sqlstate
ALTER SYSTEM SET contratos.retries = -1;
ALTER SYSTEM SET contratos.retry_delay = 0;
ALTER SYSTEM SET contratos.retry_delay = '25h';
ALTER SYSTEM SET contratos.retry_delay = '1 fortnight';
ALTER SYSTEM SET contratos.history_days = 0;
SET contratos.max_bytes_per_day = -1;
\set VERBOSITY default
SET contratos.max_bytes_per_day = '2TB';
SHOW contratos.max_bytes_per_day;
RESET contratos.max_bytes_per_day;

-- no others
SET contratos.credential_file = '/etc/contratos/key.json';

-- connection and cost are not for everyone, tuning is
SET ROLE regress_contratos_plain;
\set VERBOSITY sqlstate
SET contratos.credentials_file = '/etc/contratos/key.json';
SET contratos.project = 'other';
SET contratos.location = 'EU';
SET contratos.endpoint = 'https://bigquery.example.com';
SET contratos.ca_file = '/etc/contratos/ca.pem';
SET contratos.proxy = 'http://proxy.example.com';
SET contratos.max_bytes_billed = '1TB';
SET contratos.max_bytes_per_day = '1TB';
SET contratos.now = '2024-01-01';
SHOW contratos.credentials_file;
SHOW contratos.ca_file;
\set VERBOSITY default
SET contratos.page_rows = 10;
SET contratos.job_timeout = '20min';
RESET contratos.page_rows;
RESET contratos.job_timeout;
SET ROLE regress_contratos_super;

-- the pretended time is judged when it is used
SET contratos.now = '2024-03-01 00:00:00+00';
SELECT contratos_yesterday();
SET contratos.now = '2024-02-29 23:30:00-01';
SELECT contratos_yesterday();
SET contratos.now = 'soon';
SELECT contratos_yesterday();
SET contratos.now = 'infinity';
SELECT contratos_yesterday();
SET contratos.now = '';
SELECT contratos_yesterday() = (now() AT TIME ZONE 'UTC')::date - 1 AS real_clock;

--
-- Options of the wrapper: none
--
ALTER FOREIGN DATA WRAPPER contratos OPTIONS (ADD project 'p');

--
-- Options of a server
--
CREATE SERVER s FOREIGN DATA WRAPPER contratos OPTIONS (
	project 'my-project', dataset_project 'bigquery-public-data', location 'US',
	endpoint 'https://bigquery.example.com', ca_file '/etc/contratos/ca.pem',
	credentials_file '/etc/contratos/key.json', proxy 'http://proxy.example.com:3128',
	max_bytes_billed '2GB', connect_timeout '5s', request_timeout '60s',
	job_timeout '15min');
ALTER SERVER s OPTIONS (SET ca_file '', SET proxy '', SET credentials_file '');
ALTER SERVER s OPTIONS (DROP ca_file, DROP credentials_file, DROP proxy, DROP endpoint);
ALTER SERVER s OPTIONS (ADD projekt 'p');
ALTER SERVER s OPTIONS (ADD table 'd.t');
ALTER SERVER s OPTIONS (SET project '');
ALTER SERVER s OPTIONS (SET project 'my`project');
ALTER SERVER s OPTIONS (SET dataset_project 'a.b');
ALTER SERVER s OPTIONS (SET location 'U S');
ALTER SERVER s OPTIONS (ADD endpoint '');
ALTER SERVER s OPTIONS (ADD endpoint 'localhost:9050');
ALTER SERVER s OPTIONS (ADD endpoint 'https://a b');
ALTER SERVER s OPTIONS (ADD ca_file 'ca.pem');
ALTER SERVER s OPTIONS (ADD proxy 'http://user:password@proxy.example.com');
ALTER SERVER s OPTIONS (SET max_bytes_billed '0');
ALTER SERVER s OPTIONS (SET max_bytes_billed '100kB');
ALTER SERVER s OPTIONS (SET max_bytes_billed '1 gigabyte');
ALTER SERVER s OPTIONS (SET max_bytes_billed '-1');
ALTER SERVER s OPTIONS (SET connect_timeout '99ms');
ALTER SERVER s OPTIONS (SET connect_timeout '11min');
ALTER SERVER s OPTIONS (SET request_timeout '61min');
ALTER SERVER s OPTIONS (SET request_timeout '1 fortnight');
ALTER SERVER s OPTIONS (SET job_timeout '25h');
SELECT unnest(srvoptions) FROM pg_foreign_server WHERE srvname = 's';

-- a key that went astray does not turn up in the message
ALTER SERVER s OPTIONS (ADD credentials_file '{"private_key": "SECRET"}');

-- plain http leaves this machine for nobody
ALTER SERVER s OPTIONS (ADD endpoint 'http://localhost:9050');
\set VERBOSITY sqlstate
ALTER SERVER s OPTIONS (SET endpoint 'http://bigquery.example.com');
\set VERBOSITY default
ALTER SERVER s OPTIONS (DROP endpoint);

--
-- Options of a user mapping
--
CREATE USER MAPPING FOR regress_contratos_plain SERVER s
	OPTIONS (credentials_file '/etc/contratos/key.json');
ALTER USER MAPPING FOR regress_contratos_plain SERVER s OPTIONS (SET credentials_file 'key.json');
ALTER USER MAPPING FOR regress_contratos_plain SERVER s OPTIONS (ADD password 'x');
DROP USER MAPPING FOR regress_contratos_plain SERVER s;

--
-- Options of a foreign table and its columns
--
CREATE FOREIGN TABLE t (
	a text OPTIONS (name 'remote_a', type 'string', description 'its name'),
	b bigint OPTIONS (type 'INTEGER'),
	c timestamptz OPTIONS (description '')
) SERVER s OPTIONS (table 'example.com:my-project.dataset.table', partition_column 'c',
	row_filter 'b > 0 -- only those', require_filter 'on', on_bad_value 'null',
	max_bytes_billed '100MB');
ALTER FOREIGN TABLE t OPTIONS (SET table 'p.d.t');
ALTER FOREIGN TABLE t OPTIONS (SET table 'd.t');
ALTER FOREIGN TABLE t OPTIONS (SET table 'd.events_*');
ALTER FOREIGN TABLE t OPTIONS (SET table 'd.with space-and-hyphen');
ALTER FOREIGN TABLE t OPTIONS (SET on_bad_value 'error');
ALTER FOREIGN TABLE t OPTIONS (SET table 't');
ALTER FOREIGN TABLE t OPTIONS (SET table '.t');
ALTER FOREIGN TABLE t OPTIONS (SET table 'd.');
ALTER FOREIGN TABLE t OPTIONS (SET table '.d.t');
ALTER FOREIGN TABLE t OPTIONS (SET table 'p..t');
ALTER FOREIGN TABLE t OPTIONS (SET table 'o.p.d.t');
ALTER FOREIGN TABLE t OPTIONS (SET table 'p.d-d.t');
ALTER FOREIGN TABLE t OPTIONS (SET table '`p.d.t`');
ALTER FOREIGN TABLE t OPTIONS (SET table E'p.d.t\nWHERE');
ALTER FOREIGN TABLE t OPTIONS (SET row_filter '');
ALTER FOREIGN TABLE t OPTIONS (SET row_filter 'true); DROP TABLE d.t; SELECT (1');
ALTER FOREIGN TABLE t OPTIONS (SET require_filter 'perhaps');
ALTER FOREIGN TABLE t OPTIONS (SET on_bad_value 'ignore');
ALTER FOREIGN TABLE t OPTIONS (SET max_bytes_billed '0');
ALTER FOREIGN TABLE t OPTIONS (SET partition_column '');
ALTER FOREIGN TABLE t OPTIONS (ADD project 'p');
ALTER FOREIGN TABLE t OPTIONS (DROP table);
ALTER FOREIGN TABLE t OPTIONS (DROP partition_column);
ALTER FOREIGN TABLE t OPTIONS (DROP partition_column, SET require_filter 'off');
CREATE FOREIGN TABLE untabled (a text) SERVER s;

ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type 'FLOAT'), ALTER a OPTIONS (SET name 'full size 1');
ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type 'varchar');
ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type '');
-- of arrays and ranges, the whole type
ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type 'array< Integer >');
ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type 'ARRAY<RANGE<DATE>>');
ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type 'RANGE<INT64>');
ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type 'ARRAY<ARRAY<INT64>>');
ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type 'ARRAY<');
ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type 'STRUCT<a INT64>');
ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type 'ARRAY<STRUCT>');
ALTER FOREIGN TABLE t ALTER b OPTIONS (SET type 'FLOAT');
ALTER FOREIGN TABLE t ALTER a OPTIONS (SET name '');
ALTER FOREIGN TABLE t ALTER a OPTIONS (SET name 'a`, secret, `b');
ALTER FOREIGN TABLE t ALTER a OPTIONS (SET name 'a.b');
ALTER FOREIGN TABLE t ALTER a OPTIONS (ADD collation 'und:ci');

--
-- Options that name a file, or choose where a key is sent
--
SET ROLE regress_contratos_plain;
CREATE SERVER mine FOREIGN DATA WRAPPER contratos OPTIONS (project 'my-project');
ALTER SERVER mine OPTIONS (ADD credentials_file '/etc/contratos/key.json');
ALTER SERVER mine OPTIONS (ADD ca_file '/etc/contratos/ca.pem');
ALTER SERVER mine OPTIONS (ADD endpoint 'https://bigquery.example.com');
ALTER SERVER mine OPTIONS (ADD proxy '');
CREATE USER MAPPING FOR CURRENT_USER SERVER mine OPTIONS (credentials_file '/etc/contratos/key.json');
CREATE USER MAPPING FOR CURRENT_USER SERVER mine;
-- what a privileged role has set cannot be bent by the owner
SET ROLE regress_contratos_super;
ALTER SERVER mine OPTIONS (ADD endpoint 'https://bigquery.example.com');
SET ROLE regress_contratos_plain;
ALTER SERVER mine OPTIONS (SET project 'other');
SET ROLE regress_contratos_super;
ALTER SERVER mine OPTIONS (DROP endpoint);
SET ROLE regress_contratos_files;
CREATE SERVER theirs FOREIGN DATA WRAPPER contratos OPTIONS (
	credentials_file '/etc/contratos/key.json', ca_file '/etc/contratos/ca.pem',
	endpoint 'https://bigquery.example.com', proxy 'http://proxy.example.com');
CREATE USER MAPPING FOR CURRENT_USER SERVER theirs OPTIONS (credentials_file '/etc/contratos/key.json');
SET ROLE regress_contratos_super;

--
-- What does not make sense together, or has no key, is said before anything is asked
--
ALTER FOREIGN TABLE t OPTIONS (ADD partition_column 'nosuch');
SELECT * FROM t;
ALTER FOREIGN TABLE t OPTIONS (SET partition_column 'c');
ALTER FOREIGN TABLE t ALTER a OPTIONS (SET name 'B');
SELECT * FROM t;
ALTER FOREIGN TABLE t ALTER a OPTIONS (DROP name);
ALTER FOREIGN TABLE t ALTER b OPTIONS (DROP type);

SET contratos.endpoint = 'https://bigquery.googleapis.com';
SET contratos.credentials_file = '';
SELECT * FROM t;
-- the setting serves only servers of superusers
SET contratos.credentials_file = '/etc/contratos/key.json';
SET ROLE regress_contratos_plain;
CREATE FOREIGN TABLE u (a text) SERVER mine OPTIONS (table 'd.t');
SELECT * FROM u;
SET ROLE regress_contratos_super;
-- an endpoint of the setting is judged when it is used
SET contratos.endpoint = 'http://bigquery.example.com';
\set VERBOSITY sqlstate
SELECT * FROM t;
\set VERBOSITY default

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA options_test CASCADE;
DROP SERVER s CASCADE;
DROP SERVER mine CASCADE;
DROP SERVER theirs CASCADE;
RESET ROLE;
REVOKE ALL ON FOREIGN DATA WRAPPER contratos FROM regress_contratos_plain, regress_contratos_files;
DROP ROLE regress_contratos_super, regress_contratos_plain, regress_contratos_files;
