# Upstream drops a column, or changes its type: known before a row is written,
# named, with the statements that put it right, which are run here as they come.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(unsettled => 1);
my $bq = $f->bq;
my $there = 'test-project.shop.orders';
my $run = q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2026-11-20', 'orders'));
$f->settle;

# Both tables as they were, and the day loaded once.
sub anew
{
	my @fields = map { { name => $_->[0], type => $_->[1], mode => $_->[2] // 'NULLABLE' } }
	  ([ 'id', 'INT64', 'REQUIRED' ], [ 'code', 'STRING', 'REQUIRED' ], [ 'amount', 'INT64' ], [ 'made', 'TIMESTAMP', 'REQUIRED' ]);
	$bq->reset(tables => 0);
	$bq->table($there, schema => \@fields, rows => [ map { [ $_, "c$_", 10 * $_, "2026-11-20 0$_:00:00+00:00" ] } 1 .. 5 ]);
	$f->query(
		qq(DROP SCHEMA IF EXISTS "Old Shop" CASCADE; CREATE SCHEMA "Old Shop";
		   CREATE FOREIGN TABLE "Old Shop".bq (id bigint OPTIONS (type 'INT64') NOT NULL, code text OPTIONS (type 'STRING') NOT NULL,
				amount bigint OPTIONS (type 'INT64'), made timestamptz OPTIONS (type 'TIMESTAMP') NOT NULL)
			SERVER bigquery OPTIONS ("table" '$there');
		   CREATE TABLE "Old Shop".orders (id bigint NOT NULL, code text NOT NULL, amount bigint, made timestamptz NOT NULL);
		   -- at once: a worker that found both empty would make the built-in source
		   BEGIN; DELETE FROM contratos_sources; DELETE FROM contratos_runs;
		   INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, start_date, enabled, catchup_days)
			VALUES ('orders', '"Old Shop".bq', '"Old Shop".orders', 'made', '2026-11-20', false, 0); COMMIT));
	is($f->query($run), 'succeeded|5|0', 'the day is loaded before upstream changes');
	return;
}

sub kept { return is($f->query('SELECT count(*), sum(amount) FROM "Old Shop".orders'), '5|150', $_[0] // 'the rows of the target are kept'); }

# The statements of an error's hint, up to the first alternative.
sub cure
{
	my ($error) = @_;
	my ($hint) = $error =~ /HINT:  (.*)/;
	my ($sql) = $hint =~ /^((?:ALTER [^;]*; ?)+)/;
	return $sql;
}

# ---- a column is gone

anew();
$bq->alter($there, drop => ['amount']);
$bq->reset(tables => 0);
my $error = $f->fails($run);
like($error, qr/ERROR:  42703: column "amount" of foreign table "Old Shop".bq is gone from BigQuery/, 'a dropped column: the error names it');
like($error, qr/DETAIL:  BigQuery: Unrecognized name: amount at \[1:/,
	'a dropped column: the detail has BigQuery\'s message');
unlike($error, qr/SELECT|WHERE/, 'a dropped column: the error does not have the query');
is(scalar($bq->requests('insert')), 1, 'a dropped column: BigQuery is asked once');
kept();
like($f->fails(q(SELECT contratos_backfill(3, 'orders'))), qr/ERROR:  42703: column "amount".*is gone/, 'a dropped column: a backfill ends at once');
is(scalar($bq->requests('insert')), 2, 'a dropped column: a backfill asks BigQuery once');
is(cure($error), 'ALTER FOREIGN TABLE "Old Shop".bq DROP COLUMN amount; ',
	'a dropped column: the hint has the statement');
$f->query(cure($error));
is($f->query($run), 'succeeded|5|5', 'a dropped column: the hint\'s statement cures it');
is($f->query('SELECT count(*), count(amount) FROM "Old Shop".orders'), '5|0', "a dropped column: the target's column gets its default");

# one that the target cannot do without
anew();
$bq->alter($there, drop => ['code']);
$error = $f->fails($run);
is(cure($error), 'ALTER FOREIGN TABLE "Old Shop".bq DROP COLUMN code; ALTER TABLE "Old Shop".orders ALTER COLUMN code DROP NOT NULL; ',
	'a dropped column that the target requires: the hint alters both tables');
like($error, qr/ Or, if it has another name now: ALTER FOREIGN TABLE "Old Shop".bq ALTER COLUMN code OPTIONS \(ADD name '\.\.\.'\);/, 'a dropped column: the hint has the statement for a renamed one');
kept();
$f->query('ALTER FOREIGN TABLE "Old Shop".bq DROP COLUMN code');
$bq->reset(tables => 0);
$error = $f->fails($run);
like($error, qr/ERROR:  23502: table "Old Shop".orders has columns that a load of source "orders" cannot fill: code/, 'a column dropped from the foreign table alone that the target requires is an error');
is($f->requests, '', 'a column that the target requires is missing: BigQuery is not asked');
$f->query('ALTER TABLE "Old Shop".orders ALTER COLUMN code DROP NOT NULL');
is($f->query($run), 'succeeded|5|5', 'a dropped column that the target requires: both statements cure it');

# one that was renamed, where BigQuery guesses; in a backfill whose first day was loaded
anew();
$bq->rule({ kind => 'insert', nth => 2 },
	{ job_error => { reason => 'invalidQuery', message => 'Unrecognized name: `code`; Did you mean coda? at [1:14]', at => 'insert' } });
$f->query('UPDATE contratos_sources SET allow_empty = true');
my ($code, $out, $err) = $f->psql(q(SELECT day, status, translate(message, chr(10), '') FROM contratos_backfill_range('2026-11-17', '2026-11-20', 'orders')));
my $gone = 'column "code" of foreign table "Old Shop".bq is gone from BigQuery';
is($out, "2026-11-17|succeeded|\n2026-11-18|failed|$gone\n2026-11-19|canceled|$gone\n2026-11-20|canceled|$gone", 'a renamed column: a backfill stops at it');
like($err, qr/OPTIONS \(ADD name 'coda'\);/, 'a renamed column: the hint has BigQuery\'s guess');
is($f->query('SELECT status, sqlstate, reason, error FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'),
	"failed|42703|invalidQuery|$gone\nDETAIL:  BigQuery: Unrecognized name: `code`; Did you mean coda? at [1:14]", 'a renamed column: the ledger has the error');
kept();

# the column that a day is cut by
anew();
$bq->alter($there, drop => ['made']);
like($f->fails($run), qr/ERROR:  42703: column "made" of .*HINT:  It is the timestamp_column of source "orders": name another in contratos_sources/s,
	'a dropped timestamp column: the hint is to name another');

# not ours: the row filter's
anew();
$f->query(q(ALTER FOREIGN TABLE "Old Shop".bq OPTIONS (ADD row_filter 'colour = 1')));
like($f->fails($run), qr/ERROR:  42\d+: BigQuery: Unrecognized name: colour/, 'a name of the row filter that is unknown is BigQuery\'s error');

# ---- a column is of another type

anew();
$bq->alter($there, change => { amount => 'STRING' });
$error = $f->fails($run);
like($error, qr/ERROR:  42804: column "amount" of foreign table "Old Shop".bq is of another type in BigQuery.*DETAIL:  Its type in BigQuery is STRING, and the column's option type says INT64\./s,
	'a changed type: the error names the column');
kept();
is(cure($error), q(ALTER FOREIGN TABLE "Old Shop".bq ALTER COLUMN amount TYPE text, ALTER COLUMN amount OPTIONS (SET type 'STRING'); )
	  . 'ALTER TABLE "Old Shop".orders ALTER COLUMN amount TYPE text USING amount::text::text;', 'a changed type: the hint alters both tables');
$f->query(cure($error));
is($f->query($run), 'succeeded|5|5', 'a changed type: the hint\'s statements cure it');
is($f->query('SELECT string_agg(amount, $$ $$ ORDER BY id) FROM "Old Shop".orders'), '10 20 30 40 50',
	'a changed type: the target has the values');

# a type that the target takes as it is
anew();
$bq->alter($there, change => { amount => 'NUMERIC' });
$error = $f->fails($run);
is(cure($error), q(ALTER FOREIGN TABLE "Old Shop".bq ALTER COLUMN amount TYPE numeric, ALTER COLUMN amount OPTIONS (SET type 'NUMERIC');),
	'a changed type that the target takes: the hint alters the foreign table only');
$f->query(cure($error));
is($f->query($run), 'succeeded|5|5', 'a changed type that the target takes: the hint\'s statement cures it');

# mode REPEATED
anew();
$bq->alter($there, change => { code => { mode => 'REPEATED' } });
$error = $f->fails($run);
like($error, qr/ERROR:  42804: column "code" of foreign table "Old Shop".bq is of another type in BigQuery.*Its type in BigQuery is ARRAY<STRING>/s,
	'a column that becomes REPEATED: the error names it');
kept();

# the timestamp column: BigQuery itself refuses the comparison
anew();
$bq->rule({ kind => 'insert' },
	{ job_error => { reason => 'invalidQuery', at => 'insert',
		message => 'No matching signature for operator >= for argument types: DATE, TIMESTAMP. Supported signature: ANY >= ANY at [1:80]' } });
$error = $f->fails($run);
like($error, qr/ERROR:  42804: column "made" of .* is of another type.*Its type in BigQuery is DATE, .*says TIMESTAMP.*ALTER COLUMN made TYPE date, ALTER COLUMN made OPTIONS \(SET type 'DATE'\);/s,
	'a changed type of the timestamp column: the error names it');
kept();

# ---- in the worker

anew();
$bq->alter($there, drop => ['amount']);
$f->query(q(DELETE FROM contratos_runs; UPDATE contratos_sources SET enabled = true;
	CREATE TABLE told (day date, error text); CREATE FUNCTION tell(source text, day date, error text) RETURNS void
		LANGUAGE sql AS 'INSERT INTO public.told VALUES (day, error)';
	UPDATE contratos_sources SET on_failure = 'tell'));
ok($f->at('2026-11-21 08:00'), 'the worker looks at a day with a dropped column');
is($f->query(q(SELECT cause, status, attempt, sqlstate, next_attempt_at, error ~ '^column "amount" of .* is gone' FROM contratos_runs)),
	'schedule|failed|1|42703||t', 'the worker tries a day with a dropped column once');
is($f->query(q(SELECT day, error ~ 'amount' FROM told)), '2026-11-20|t', 'the worker calls on_failure, found without its schema');
kept();
$f->query('ALTER FOREIGN TABLE "Old Shop".bq DROP COLUMN amount');
ok($f->at('2026-11-21 08:30'), 'the worker looks after the foreign table was altered');
is($f->query(q(SELECT string_agg(status, ' ' ORDER BY id) FROM contratos_runs)), 'failed succeeded', 'the worker loads the day after the foreign table was altered');

# rechecks ask with functions of the columns' types
anew();
$f->query(q(UPDATE contratos_sources SET enabled = true));
$bq->rule({ kind => 'insert' },
	{ job_error => { reason => 'invalidQuery', at => 'insert',
		message => 'No matching signature for function BYTE_LENGTH for argument types: INT64. Supported signatures: BYTE_LENGTH(STRING); BYTE_LENGTH(BYTES) at [1:'
		  . index_of_code() . ']' } });
ok($f->at('2026-11-21 14:30'), 'the worker rechecks a column of another type');
is($f->query(q(SELECT cause, status, sqlstate, error ~ '^column "code" of foreign table .* is of another type in BigQuery\nDETAIL:  Its type in BigQuery is INT64' FROM contratos_runs
	ORDER BY id DESC LIMIT 1)), 'recheck|failed|42804|t', 'a recheck of a column of another type fails and names it');
kept();

# Where the recheck's query has its BYTE_LENGTH(`code`): as BigQuery counts, from 1.
sub index_of_code
{
	my $sum = q{CAST(IFNULL(SUM(CAST(CONCAT('0x', SUBSTR(`h`, %d, 8)) AS INT64)), 0) AS STRING)};
	my $list = sprintf "SELECT COUNT(*) AS `n`, MAX(`t`) AS `m`, CONCAT($sum, ':', $sum) AS `f` FROM (SELECT `made` AS `t`, ", 1, 9;
	$list .= q{TO_HEX(SHA256(CONCAT('', IFNULL(CONCAT(CAST(`id` AS STRING), ':'), '-'), IFNULL(CONCAT(CAST(};
	return length($list) + 1;
}

# ---- columns that the target has besides

anew();
$f->query(
	q(ALTER TABLE "Old Shop".orders ADD loaded_by text NOT NULL DEFAULT 'us', ADD note text, ADD n int GENERATED ALWAYS AS IDENTITY,
		ADD twice bigint GENERATED ALWAYS AS (amount * 2) STORED));
is($f->query($run), 'succeeded|5|5', 'a target with columns that are not loaded is loaded');
is($f->query('SELECT count(loaded_by), count(note), count(DISTINCT n), sum(twice) FROM "Old Shop".orders'), '5|0|5|300', 'columns that are not loaded get their defaults');
$f->query('ALTER TABLE "Old Shop".orders ADD "Must be" text, ADD too int; UPDATE "Old Shop".orders SET "Must be" = $$$$, too = 0;
	ALTER TABLE "Old Shop".orders ALTER "Must be" SET NOT NULL, ALTER too SET NOT NULL');
like($f->fails($run), qr/ERROR:  23502: table "Old Shop".orders has columns that a load of source "orders" cannot fill: "Must be", too/,
	'columns that a load cannot fill are named');
$f->query(
	q(CREATE FUNCTION "Old Shop".fill() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW."Must be" := ''it is''; NEW.too := 1; RETURN NEW; END';
	  CREATE TRIGGER fill BEFORE INSERT ON "Old Shop".orders FOR EACH ROW EXECUTE FUNCTION "Old Shop".fill()));
is($f->query($run), 'succeeded|5|5', 'columns that a load cannot fill may be filled by a trigger');
$f->query('ALTER FOREIGN TABLE "Old Shop".bq ADD n bigint');
like($f->fails($run), qr/ERROR:  428C9: column "n" of table "Old Shop".orders is generated.*HINT:  ALTER TABLE "Old Shop".orders ALTER COLUMN n SET GENERATED BY DEFAULT;/s,
	'a GENERATED ALWAYS column is an error');

$f->stop;

# ---- a database whose encoding is another than BigQuery's

$f = Contratos::Worker->new(name => 'latin', init => { extra => [ '--encoding=LATIN1', '--no-locale' ] });
$bq = $f->bq;
# named where there is no transaction, and where there is one
$f->query('DELETE FROM contratos_sources');
$f->at('2026-11-21 08:00');
for my $case ([ 'is gone from', drop => ['amount'] ], [ 'is of another type in', change => { amount => 'STRING' } ])
{
	my ($what, @change) = @$case;
	anew();
	$bq->alter($there, @change);
	$f->query('DELETE FROM contratos_runs; UPDATE contratos_sources SET enabled = true');
	ok($f->poll(qq(SELECT EXISTS (SELECT FROM contratos_runs WHERE status = 'failed' AND error ~ '^column "amount" of foreign table "Old Shop".bq $what BigQuery'))),
		"LATIN1: the worker names a column that $what BigQuery");
	kept();
}
$f->stop;
done_testing();
