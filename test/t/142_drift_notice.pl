# Columns that upstream adds or changes are told of, once, by the daily recheck.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new;
my $bq = $f->bq;

sub drifts { return $f->query(q(SELECT string_agg(concat_ws(' ', day, status), ', ' ORDER BY id) FROM contratos_runs WHERE reason = 'schemaDrift')); }

sub looks { return scalar(() = $bq->requests('table_get')); }

# What becomes of a name that cannot be kept, as IMPORT FOREIGN SCHEMA has it.
sub cut { my ($name) = @_; return substr($name, 0, 52) . '_' . substr sha256_hex($name), 0, 10; }

my $warning = qr/WARNING:  database "postgres", source "tokens": BigQuery's table/;

# ---- as it should be

$f->day("2026-11-$_", 30) for 19 .. 27;
$f->query(q(UPDATE contratos_sources SET start_date = '2026-11-19'));
ok($f->at('2026-11-21 08:00'), 'two days are loaded');
is(looks(), 0, 'a load does not compare the columns');
ok($f->at('2026-11-21 14:00'), 'the worker rechecks');
is($f->runs(q(cause = 'recheck')), '20 recheck unchanged', 'the day that was not confirmed by its load is unchanged');
is(looks(), 1, 'the first recheck of a day compares the columns once');
is(drifts(), '', 'equal columns record no drift');
ok($f->at('2026-11-21 20:00'), 'the worker rechecks the second time that day');
is(looks(), 1, 'the second recheck of a day does not compare the columns');

# ---- new columns

$bq->alter(undef, add => [ { name => 'logo', type => 'STRING' }, { name => 'Rate', type => 'FLOAT64' } ]);
ok($f->at('2026-11-22 08:30'), 'the worker rechecks the next day');
is(looks(), 2, 'the columns are compared again the next day');
is($f->logged($warning), 1, 'new columns are logged');
is($f->logged(qr/WARNING:  database "postgres", source "tokens": BigQuery's table bigquery-public-data\.crypto_ethereum\.tokens has other columns than foreign table public\.bigquery_tokens: logo \(STRING\) is new in BigQuery, "Rate" \(FLOAT64\) is new in BigQuery\n/),
	1, 'the log has name and type of new columns');
is($f->logged(qr/HINT:  ALTER FOREIGN TABLE public\.bigquery_tokens ADD COLUMN logo text OPTIONS \(type 'STRING'\); ALTER TABLE public\.tokens ADD COLUMN IF NOT EXISTS logo text; ALTER/),
	1, 'the log of new columns has a hint');
my $row = $f->query(q(SELECT status, error FROM contratos_runs WHERE reason = 'schemaDrift'));
like($row, qr/^unchanged\|BigQuery's table .*: logo \(STRING\) is new in BigQuery.* ALTER FOREIGN TABLE public\.bigquery_tokens ADD COLUMN logo text/, 'the ledger has it too');
is($f->runs(q(cause = 'recheck' AND status NOT IN ('unchanged', 'succeeded'))), '', 'the recheck is none the worse');
ok($f->at('2026-11-23 14:00'), 'a day later');
is(looks(), 3, 'they are looked at');
is($f->logged($warning), 1, 'but the same is not said twice');
is(drifts(), $f->query(q(SELECT day FROM contratos_runs WHERE reason = 'schemaDrift')) . ' unchanged', 'nor recorded');

# ---- follow the hint

my ($statements) = $row =~ /\. (ALTER .*)/s;
$f->query($statements);
is($f->query(q(SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'tokens'::regclass AND attnum > 9)),
	'logo Rate', 'the statements of the hint can be run');
$f->query(q(DELETE FROM contratos_runs WHERE reason = 'schemaDrift'));
ok($f->at('2026-11-24 14:00'), 'the worker rechecks after the hint');
is(drifts(), '', 'no drift is recorded after the hint');

# ---- changes

$f->query(q(ALTER FOREIGN TABLE bigquery_tokens DROP COLUMN "Rate"; ALTER FOREIGN TABLE bigquery_tokens ADD COLUMN "Rate" text OPTIONS (type 'JSON')));
$bq->alter(undef, change => { block_hash => { mode => 'NULLABLE' } }, add => [ map { { name => "n$_", type => 'INT64' } } 1 .. 25 ]);
ok($f->at('2026-11-25 14:00'), 'the worker rechecks with changed columns');
my $error = $f->query(q(SELECT error FROM contratos_runs WHERE reason = 'schemaDrift'));
like($error, qr/: block_hash may be NULL in BigQuery, "Rate" is FLOAT64 in BigQuery, not JSON, n1 \(INT64\) is new/, 'changed columns are recorded');
like($error, qr/ALTER FOREIGN TABLE public\.bigquery_tokens ALTER COLUMN block_hash DROP NOT NULL; ALTER TABLE public\.tokens ALTER COLUMN block_hash DROP NOT NULL; ALTER FOREIGN TABLE public\.bigquery_tokens ALTER COLUMN "Rate" OPTIONS \(SET type 'FLOAT64'\);/,
	'with what to do');
like($error, qr/n18 \(INT64\) is new in BigQuery, and 7 more\. ALTER/, 'at most twenty columns are recorded');

# ---- a day that is loaded again, and one that differs, tell as well

$f->query(q(DELETE FROM contratos_runs WHERE reason = 'schemaDrift';
	ALTER FOREIGN TABLE bigquery_tokens DROP COLUMN "Rate"));
$bq->table(undef, append => 1, rows => [ map { $f->row(block_timestamp => "2026-11-$_ 12:00:00+00:00") } 19 .. 25 ]);
ok($f->at('2026-11-26 14:00'), 'the worker rechecks a day that differs');
like(drifts(), qr/^2026-11-\d\d differs$/, 'the recheck of a day that differs records its drift');

# ---- the columns cannot be looked at

$f->query(q(DELETE FROM contratos_runs WHERE reason = 'schemaDrift'));
my $refused = $bq->rule({ kind => 'table_get', times => 0 },
	{ status => 403, reason => 'accessDenied', message => 'Access Denied: no metadata for you' });
my $before = $f->query(q(SELECT max(id) FROM contratos_runs));
ok($f->at('2026-11-27 14:00'), 'the worker rechecks without access to the columns');
is($f->logged(qr/LOG:  database "postgres", source "tokens": could not look for new columns: BigQuery: Access Denied: no metadata for you\n/), 1, 'no access to the columns is logged');
is($f->query(qq(SELECT count(*) FILTER (WHERE status NOT IN ('unchanged', 'succeeded')), count(*) > 0 FROM contratos_runs WHERE cause = 'recheck' AND id > $before)),
	'0|t', 'no access to the columns does not fail the recheck');

# ---- statements that bring it about, to the letter: the next load loses nothing

$f->query(q(DELETE FROM contratos_runs WHERE reason = 'schemaDrift';
	ALTER TABLE tokens DROP block; ALTER TABLE tokens ALTER block_hash SET NOT NULL, DROP COLUMN IF EXISTS logo, DROP COLUMN IF EXISTS "Rate"; ALTER FOREIGN TABLE bigquery_tokens DROP COLUMN logo;
	ALTER FOREIGN TABLE bigquery_tokens RENAME symbol TO logo; ALTER FOREIGN TABLE bigquery_tokens ALTER logo OPTIONS (ADD name 'symbol');
	ALTER TABLE tokens RENAME symbol TO logo));
$bq->reset(tables => 0);
ok($f->at('2026-11-28 14:00'), 'the worker reloads days with other columns');
$f->query(q(DELETE FROM contratos_runs WHERE reason = 'schemaDrift'));
$bq->alter(undef, drop => [ map { "n$_" } 1 .. 25 ], add => [ { name => 'ctid', type => 'INT64' }, { name => 'y' x 80, type => 'DATE' } ],
	change => { block_number => 'STRING' });
ok($f->at('2026-11-29 14:30'), 'the worker rechecks with name conflicts and changed types');
($statements) = $f->query(q(SELECT error FROM contratos_runs WHERE reason = 'schemaDrift' ORDER BY id DESC LIMIT 1)) =~ /\. (ALTER .*)/s;
$f->query($statements);
is($f->query(q(SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, -1), array_to_string(attfdwoptions, ',')), '; ' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = 'bigquery_tokens'::regclass AND (attname IN ('block_number', 'Rate') OR attname ~ '^(logo|ctid|y+)_'))),
	"block_number text type=STRING; @{[ cut('logo') ]} text name=logo,type=STRING; Rate double precision type=FLOAT64; @{[ cut('ctid') ]} bigint name=ctid,type=INT64; "
	  . cut('y' x 80) . ' date name=' . 'y' x 80 . ',type=DATE', 'the hint\'s statements alter the foreign table');
is($f->query(q(SELECT format_type(atttypid, -1), attnotnull FROM pg_attribute WHERE attrelid = 'tokens'::regclass AND attname = 'block_number')),
	'text|t', 'the hint\'s statements alter the target');
is($f->query(q(SELECT attnotnull FROM pg_attribute WHERE attrelid = 'tokens'::regclass AND attname = 'block_hash')), 'f', 'the hint\'s statements drop NOT NULL of the target');
$bq->table(undef, append => 1, rows => [ { address => '0xnew', block_timestamp => '2026-11-25 12:00:00+00:00', block_number => 'one million', block_hash => undef } ]);
is($f->query(q(SELECT status, translate(message, chr(10), '') FROM contratos_run('2026-11-25'))), 'succeeded|', 'the next load loses nothing');
is($f->query(q(SELECT block_number, block_hash IS NULL FROM tokens WHERE address = '0xnew')), 'one million|t', 'of what is new in BigQuery');

$f->stop;
done_testing();
