# after_load: called at the end of each load, in its transaction, as the owner of
# the target; its error is the day's.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new;
my $bq = $f->bq;
my $run = q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2026-11-20'));
$f->query(q(UPDATE contratos_sources SET enabled = false; CREATE SCHEMA mart;
	CREATE TABLE mart.calls (source text, day date, rows bigint, who name, session name, path text, zone text, at timestamptz DEFAULT now())));
$f->day($_, 50) for '2026-11-18', '2026-11-19', '2026-11-20';

sub after { $f->query("UPDATE contratos_sources SET after_load = \$x\$$_[0]\$x\$ WHERE name = 'tokens'"); $bq->reset(tables => 0); return; }
sub rows_of { return $f->query("SELECT count(*) FROM tokens WHERE (block_timestamp AT TIME ZONE 'UTC')::date = '$_[0]'"); }

# ---- functions and procedures, by calls of all kinds

my $body = q(INSERT INTO mart.calls SELECT source, day, count(*), current_user, session_user, current_setting('search_path'),
	current_setting('TimeZone') FROM public.tokens WHERE block_timestamp >= day AND block_timestamp < day + 1);
$f->query(
	qq(CREATE FUNCTION mart.in_sql(source text, day date) RETURNS void LANGUAGE sql AS \$\$ $body \$\$;
	   CREATE FUNCTION mart.in_sql(source text, day timestamp) RETURNS void LANGUAGE sql AS 'SELECT 1/0';
	   CREATE PROCEDURE mart."In PL"(text, date) LANGUAGE plpgsql AS \$\$ DECLARE source text := \$1; day date := \$2; BEGIN $body; END \$\$));
after('mart.in_sql');
is($f->query("SET TimeZone = 'Asia/Tokyo'; $run; SHOW TimeZone"), "succeeded|50|0\nAsia/Tokyo",
	'a load with a function as after_load succeeds');
is($f->query('SELECT source, day, rows, path, zone FROM mart.calls'), 'tokens|2026-11-20|50|pg_catalog, pg_temp|UTC',
	'after_load is called with the rows in place and the load\'s settings');
is($f->query('SELECT target_rows FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), 50,
	'the ledger has the figures of a load with after_load');
after('mart."In PL"');
is($f->query($run), 'succeeded|50|50', 'a load with a procedure as after_load succeeds');
is($f->query('SELECT count(*), count(DISTINCT at) FROM mart.calls WHERE rows = 50'), '2|2',
	'a procedure as after_load is called');
$f->query('TRUNCATE mart.calls');
is($f->query('SELECT count(*) FROM contratos_backfill(3) WHERE status = $$succeeded$$'), 3,
	'a backfill with after_load succeeds');
is($f->query('SELECT string_agg(day::text, $$ $$ ORDER BY day) FROM mart.calls'), '2026-11-18 2026-11-19 2026-11-20', 'a backfill calls after_load for each day');
is($f->query('BEGIN; TRUNCATE mart.calls; SELECT count(*) FROM contratos_run(); ROLLBACK; SELECT count(*) FROM mart.calls'), "1\n3",
	'writes of after_load are rolled back with the load');
$f->query('CREATE FUNCTION short(text, date) RETURNS int LANGUAGE sql AS $$ INSERT INTO mart.calls (source) VALUES (\'short\') RETURNING 1 $$');
after('short');
is($f->query(q(SELECT after_load FROM contratos_sources)), 'public.short', 'after_load without a schema gets the schema that its name has for the registrar');
$f->query(q(CREATE FUNCTION mart.short(text, date) RETURNS void LANGUAGE sql AS 'SELECT 1/0'));
is($f->query("SET search_path = mart, public; $run"), 'succeeded|50|50',
	'a load with after_load succeeds under any search_path');
is($f->query(q(SELECT count(*) FROM mart.calls WHERE source = 'short')), 1,
	'after_load is found by its schema under any search_path');
like($f->messages(q(BEGIN; UPDATE contratos_sources SET on_failure = 'nobody'; ROLLBACK)),
	qr/WARNING:  42883: function "nobody", on_failure of a source, does not exist\nDETAIL:  It is called with \(source text, day date, error text\)\.\nHINT:  Write it as schema\.function/,
	'an on_failure that does not exist is a WARNING');

# ---- its error is the day's

$f->query(
	q(CREATE FUNCTION mart.fails(source text, day date) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO mart.calls (source, day) VALUES ('fails', day);
		IF day <> '2026-11-19' THEN RAISE 'not this one' USING ERRCODE = 'P0042'; END IF; END $$;
	  TRUNCATE mart.calls; DELETE FROM tokens; DELETE FROM contratos_runs));
after('mart.fails');
my $error = $f->fails($run);
like($error, qr/ERROR:  P0042: not this one/, 'an error of after_load fails contratos_run()');
like($error, qr/after_load "mart.fails"/, 'an error of after_load names the function');
is(rows_of('2026-11-20'), 0, 'an error of after_load: no row of the day is loaded');
is($f->query('SELECT day, status, translate(message, chr(10), \'\') FROM contratos_backfill(3)'), "2026-11-18|failed|not this one\n2026-11-19|succeeded|\n2026-11-20|failed|not this one",
	'an error of after_load fails its day of a backfill');
is(join(' ', map { rows_of("2026-11-$_") } 18 .. 20), '0 50 0',
	'an error of after_load: the other days have their rows');
is($f->query('SELECT string_agg(day::text, $$ $$) FROM mart.calls'), '2026-11-19',
	'an error of after_load: writes for the other days stay');
is($f->query(q(SELECT sqlstate, reason IS NULL FROM contratos_runs WHERE status = 'failed' LIMIT 1)), 'P0042|t', 'the ledger has the SQLSTATE of after_load\'s error');

# what it may not do
my %refused = (
	'COMMIT' => '2D000: invalid transaction termination',
	'ROLLBACK' => '2D000: invalid transaction termination',
	q(PERFORM public.contratos_run('2026-11-18')) => '55006: a load cannot begin while another one replaces rows',
	q(PERFORM public.contratos_backfill(1)) => '55006: a load cannot begin while another one replaces rows');
for my $statement (sort keys %refused)
{
	$f->query("CREATE OR REPLACE PROCEDURE mart.naughty(source text, day date) LANGUAGE plpgsql AS \$\$ BEGIN $statement; END \$\$");
	after('mart.naughty');
	like($f->fails($run), qr/ERROR:  $refused{$statement}/, "$statement in after_load is refused");
	is(scalar($bq->requests('insert')), 1, "$statement in after_load: no further job is made");
	is(rows_of('2026-11-20'), 0, "$statement in after_load: the day has no rows");
}
$f->query(q(CREATE OR REPLACE PROCEDURE mart.naughty(source text, day date) LANGUAGE plpgsql AS $$ BEGIN
	PERFORM public.contratos_enqueue(day - 9, day - 9, source); END $$));
after('mart.naughty');
is($f->query($run), 'succeeded|50|0', 'after_load may queue another day');
is($f->query(q(DELETE FROM contratos_runs WHERE status = 'queued' RETURNING day)), '2026-11-11',
	'the day that after_load queued is in the queue');

# ---- what cannot be called is known before BigQuery is asked

for my $case (
	[ 'mart.nowhere', '42883: function "mart.nowhere" does not exist' ],
	[ 'nowhere.at_all', '42883: function "nowhere.at_all" does not exist' ],
	[ 'nowhere', '42883: function "nowhere" does not exist' ],
	[ 'a b', '42602: invalid name syntax' ],
	[ 'mart.other', '42883: function "mart.other" does not exist' ],
	[ 'mart.sums', '42809: after_load of source "tokens" is neither a function nor a procedure: mart.sums' ])
{
	$f->query(
		q(CREATE OR REPLACE FUNCTION mart.other(text, text) RETURNS void LANGUAGE sql AS '';
		  CREATE OR REPLACE FUNCTION mart.step(int, text, date) RETURNS int LANGUAGE sql AS 'SELECT 1';
		  CREATE OR REPLACE AGGREGATE mart.sums(text, date) (SFUNC = mart.step, STYPE = int)));
	after($case->[0]);
	like($f->fails($run), qr/ERROR:  \Q$case->[1]/, "contratos_run() with after_load $case->[0]: $case->[1]");
	like($f->fails('SELECT contratos_backfill(2)'), qr/ERROR:  \Q$case->[1]/,
		"contratos_backfill() with after_load $case->[0] fails at once");
	is($f->requests, '', "after_load $case->[0]: BigQuery is not asked");
}

# ---- rows that it changes in the target are what the ledger measures

$f->query(q(CREATE FUNCTION mart.thin(source text, d date) RETURNS void LANGUAGE sql AS
	'DELETE FROM public.tokens WHERE decimals = 6 AND block_timestamp >= d AND block_timestamp < d + 1'));
after('mart.thin');
is($f->query($run), 'succeeded|50|50', 'an after_load that deletes rows succeeds');
is($f->query('SELECT rows_inserted, target_rows FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), '50|40', 'the ledger has the rows that after_load left');

# ---- in the worker

$f->query(q(CREATE FUNCTION mart.told(source text, day date, error text) RETURNS void LANGUAGE sql AS
	'INSERT INTO mart.calls (source, day, path) VALUES (''told'', day, error)'; TRUNCATE mart.calls; DELETE FROM contratos_runs;
	UPDATE contratos_sources SET start_date = '2026-11-20', catchup_days = 0, recheck_days = 7, on_failure = 'mart.told'));
after('mart.in_sql');
$f->query('UPDATE contratos_sources SET enabled = true');
ok($f->at('2026-11-21 08:00'), 'the worker looks at a day with after_load');
is($f->query(q(SELECT string_agg(cause || ' ' || status, ' ') FROM contratos_runs)), 'schedule succeeded', 'the worker loads a day with after_load');
is($f->query('SELECT day, rows FROM mart.calls'), '2026-11-20|50', 'the worker calls after_load');
ok($f->at('2026-11-21 14:00'), 'the worker rechecks a day with after_load');
is($f->query('SELECT count(*) FROM mart.calls'), 1, 'a recheck that loads nothing does not call after_load');
$f->day('2026-11-20', 60);
ok($f->at('2026-11-21 20:00'), 'the worker rechecks a day that differs');
is($f->query('SELECT max(rows), count(*) FROM mart.calls'), '60|2', 'a recheck that reloads the day calls after_load');
after('mart.thin');
$f->day('2026-11-20', 65);
ok($f->at('2026-11-22 02:00'), 'the worker reloads a day whose after_load deletes rows');
ok($f->at('2026-11-22 07:59'), 'the worker rechecks a day whose after_load deletes rows');
is($f->query(q(SELECT string_agg(status, ' ' ORDER BY id) FROM contratos_runs)), 'succeeded unchanged differs succeeded differs succeeded', 'rows that after_load deletes are not a difference');
after('mart.fails');
$f->day('2026-11-21', 50);
ok($f->at('2026-11-22 08:01'), 'the worker looks at a day whose after_load fails');
is($f->query(q(SELECT status, sqlstate, next_attempt_at, attempt FROM contratos_runs WHERE day = '2026-11-21')), 'failed|P0042||1', 'a day whose after_load fails is not tried again');
is($f->query(q(SELECT day, path FROM mart.calls WHERE source = 'told')), '2026-11-21|not this one',
	'on_failure is called with the error of after_load');
is(rows_of('2026-11-21'), 0, 'a day whose after_load fails has no rows');
$f->query('TRUNCATE mart.calls');
after('mart.nowhere');
ok($f->at('2026-11-22 08:02'), 'the worker looks at a source whose after_load does not exist');
is($f->query(q(SELECT day, split_part(path, E'\n', 1) FROM mart.calls)), '2026-11-21|function "mart.nowhere" does not exist', 'on_failure is called for an after_load that does not exist');
$f->query('UPDATE contratos_sources SET enabled = false');
$f->set('contratos.now' => '2026-11-21 06:00:00+00');
$f->settle;

# ---- as the owner of the target, whoever calls

$f->query(
	q(CREATE ROLE owner; CREATE ROLE loader LOGIN; CREATE ROLE sneak LOGIN;
	  GRANT USAGE ON SCHEMA mart TO owner; GRANT INSERT ON mart.calls TO owner; GRANT SELECT ON bigquery_tokens TO owner;
	  GRANT EXECUTE ON FUNCTION contratos_run TO loader; ALTER TABLE tokens OWNER TO owner; TRUNCATE mart.calls));
after('mart.in_sql');
my $as_loader = 'SET SESSION AUTHORIZATION loader;';
is($f->query("$as_loader $run"), 'succeeded|65|52', 'a role without rights on after_load loads');
is($f->query('SELECT who, session FROM mart.calls'), 'owner|loader', 'after_load is called as the owner of the target');
$f->query('REVOKE EXECUTE ON FUNCTION mart.in_sql(text, date) FROM PUBLIC');
$error = $f->fails("$as_loader $run");
like($error, qr/ERROR:  42501: after_load of source "tokens" may not be called by role "owner".*HINT:  GRANT EXECUTE ON ROUTINE mart.in_sql TO owner;/s,
	'the owner of the target needs EXECUTE on after_load');
$f->query('GRANT EXECUTE ON FUNCTION mart.in_sql(text, date) TO owner');
$f->query(q(CREATE FUNCTION mart.role(text, date) RETURNS void LANGUAGE plpgsql AS 'BEGIN SET ROLE postgres; END'));
after('mart.role');
like($f->fails("$as_loader $run"), qr/ERROR:  42501: cannot set parameter "role" within security-restricted operation/, 'after_load runs in a security-restricted operation');

# who may register a source gets no further than that
$f->query(
	q(GRANT SELECT, INSERT, UPDATE ON contratos_sources TO sneak; GRANT EXECUTE ON FUNCTION contratos_run TO sneak;
	  CREATE SCHEMA sneaky AUTHORIZATION sneak; GRANT USAGE ON SCHEMA sneaky TO PUBLIC));
$error = $f->fails(
	q(SET SESSION AUTHORIZATION sneak;
	  CREATE FUNCTION sneaky.mine(text, date) RETURNS void LANGUAGE sql AS 'DELETE FROM public.tokens';
	  UPDATE contratos_sources SET after_load = 'sneaky.mine';) . $run);
like($error, qr/ERROR:  42501: sneaky.mine may not be after_load of source "tokens".*It would run as role "owner", the owner of public.tokens, but belongs to role "sneak"/s,
	'after_load of a role without the privileges of the target\'s owner is refused');

# ---- BigQuery's reason goes with BigQuery's error alone

$f->query(
	q(CREATE FOREIGN TABLE missing_there (x text) SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.nosuch'); GRANT SELECT ON missing_there TO PUBLIC; GRANT USAGE ON FOREIGN SERVER bigquery TO PUBLIC;
	  CREATE FUNCTION mart.catches(source text, day date) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_catalog AS $$ BEGIN
		BEGIN PERFORM count(*) FROM missing_there; EXCEPTION WHEN undefined_table THEN NULL; END;
		PERFORM 1 FROM local_missing; END $$;
	  CREATE FUNCTION mart.lets_go(source text, day date) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_catalog AS $$ BEGIN
		PERFORM count(*) FROM missing_there; END $$;
	  CREATE FUNCTION mart.raises_again(source text, day date) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_catalog AS $$ BEGIN
		PERFORM count(*) FROM missing_there; EXCEPTION WHEN undefined_table THEN RAISE; END $$));
my $ended = q(SELECT concat_ws(' ', sqlstate, coalesce(reason, 'no reason'), split_part(error, E'\n', 1)) FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1);
my %reason = (
	'mart.catches' => qr/^42P01 no reason relation "local_missing" does not exist$/,
	'mart.lets_go' => qr/^42P01 notFound /,
	'mart.raises_again' => qr/^42P01 notFound /);
for my $hook (sort keys %reason)
{
	after($hook);
	$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20', only_missing => false); UPDATE contratos_sources SET enabled = true));
	ok($f->poll(q(SELECT status = 'failed' FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1)), "$hook: a day of the worker's fails");
	$f->query('UPDATE contratos_sources SET enabled = false');
	$f->settle;
	like($f->query($ended), $reason{$hook}, "$hook: the ledger has the reason of the error that ended the day");
	$f->query(q(UPDATE contratos_sources SET after_load = NULL; SELECT count(*) FROM contratos_run('2026-11-20')));
	after($hook);
}
after('mart.in_sql');

$f->stop;
done_testing();
