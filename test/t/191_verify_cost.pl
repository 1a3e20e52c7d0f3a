# A comparison by contratos_verify() has a row of the ledger: its cost counts, and nothing else of it.
use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(standin => { csv => '' });
my $bq = $f->bq;
my $rows = q(SELECT string_agg(concat_ws(' ', first_day, day, cause, status, attempt, bytes_billed), ', ' ORDER BY id) FROM contratos_runs WHERE only_cost);
my $days = q(SELECT string_agg(concat_ws(' ', to_char(day, 'DD'), state, rows, attempts, error, confirmed_at IS NULL, next_attempt_at), ', ' ORDER BY day) FROM contratos_days);
my $status = q(SELECT last_success, last_day, lag_days, missing_days, provisional_days, failed_days, waiting_days, rows_this_month, last_error, next_wake, next_day FROM _contratos_status);

sub verify { return $f->query("SELECT bool_and(agrees) FROM contratos_verify('2026-11-$_[0]', '2026-11-$_[1]')"); }

$f->query('SELECT contratos_setup()');
$f->day("2026-11-$_", 10 + $_) for 18 .. 20;
$f->query(q(SELECT contratos_backfill_range('2026-11-18', '2026-11-19')));
# days that the worker will try again, one of them older than what it catches up with
$f->query(q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, next_attempt_at, error, sqlstate)
	VALUES ('tokens', '2026-11-17', 'queue', 'failed', '2026-11-21 05:00Z', '2026-11-21 05:00Z', '2026-11-21 07:00Z', 'no', 'HV000'),
	('tokens', '2026-07-17', 'queue', 'failed', '2026-11-21 05:00Z', '2026-11-21 05:00Z', '2026-11-21 06:30Z', 'no', 'HV000')));

my @before = ($f->query($days), $f->query($status));
my $begun = $f->query(q(SELECT bytes_billed_this_month FROM _contratos_status));
is(verify(18, 19), 't', 'days that agree are compared');
is($f->query($rows), '2026-11-18 2026-11-19 verify unchanged 0 10485760', 'the ledger has the comparison, with its range');
is(verify(20, 20), 'f', 'a day that was never loaded is compared');
is(verify(17, 20), 'f', 'several days are compared, and one differs');
is($f->query($rows), '2026-11-18 2026-11-19 verify unchanged 0 10485760, 2026-11-20 verify differs 0 10485760, 2026-11-17 2026-11-20 verify differs 0 10485760',
	'the ledger has each comparison');
# nothing of that day is billed
is(verify(17, 17), 't', 'a day that is to be tried again is compared');
is($f->query(q(SELECT agrees FROM contratos_verify('2026-07-17', '2026-07-17'))), 't', 'an old day that is to be tried again is compared');
$f->day('2026-11-18', 29);
is(verify(18, 18), 'f', 'a loaded day that differs is compared');
$f->day('2026-11-18', 28);
is($f->query($days), $before[0], 'comparisons change no day');
is($f->query($status), $before[1], 'comparisons change nothing in the status but the bytes');
is($f->query(q(SELECT bytes_billed_this_month FROM _contratos_status)), $begun + 4 * 10485760, 'the status has the bytes of comparisons');
is($f->query(q(SELECT bool_and(job_id IS NOT NULL AND bytes_processed >= 0 AND finished_at IS NOT NULL AND rows_loaded IS NULL AND error IS NULL) FROM contratos_runs WHERE only_cost)), 't',
	'the row of a comparison has its job and its cost');
is($f->query(q(SELECT status FROM contratos_backfill_range('2026-11-19', '2026-11-20', only_missing => true))), 'succeeded', 'a day that was only compared is missing for only_missing');
is($f->query(q(SELECT contratos_cancel(max(id)) FROM contratos_runs WHERE only_cost)), 'f', 'a comparison cannot be canceled later');
is($f->query(q(SELECT contratos_cancel(id) FROM contratos_runs WHERE day = '2026-11-17' AND NOT only_cost)), 't', 'a day to be tried again can be canceled after a comparison');

# ---- its cost counts

my $spent = $f->query(q(SELECT sum(bytes_billed) / 1048576 FROM contratos_runs));
like($f->fails("LOAD 'contratos'; SET contratos.max_bytes_per_day = '${spent}MB'; SELECT contratos_run('2026-11-20')"), qr/ERROR:  53400: daily byte budget/, 'comparisons count for max_bytes_per_day');
is($f->query("LOAD 'contratos'; SET contratos.max_bytes_per_day = '@{[ $spent + 1 ]}MB'; SELECT bool_and(agrees) FROM contratos_verify('2026-11-19', '2026-11-20')"), 't',
	'a comparison is made while something is left');

# ---- where nothing can be written

my $count = $f->query('SELECT count(*) FROM contratos_runs');
like($f->messages(q(BEGIN READ ONLY; SELECT FROM contratos_verify('2026-11-19', '2026-11-20'); COMMIT)),
	qr/NOTICE:  00000: BigQuery bills 10485760 bytes for comparing source "tokens"\nDETAIL:  In a read-only transaction and on a standby they are not in the ledger/,
	'in a read-only transaction a NOTICE tells the cost');
is($f->messages(q(SELECT FROM contratos_verify('2026-11-19', '2026-11-20'))), '', 'a comparison that the ledger has needs no NOTICE');
is($f->query('SELECT count(*) FROM contratos_runs'), $count + 1, 'a read-only transaction writes nothing to the ledger');
is($f->query(q(BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT bool_and(agrees) FROM contratos_verify('2026-11-19', '2026-11-20'); COMMIT)), 't', 'a comparison works at any isolation level');
is($f->query('SELECT count(*) FROM contratos_runs'), $count + 2, 'and is in the ledger');

# ---- ends badly

$f->query('DELETE FROM contratos_runs WHERE only_cost');
$f->query(q(BEGIN; SELECT FROM contratos_verify('2026-11-19', '2026-11-20'); ROLLBACK));
is($f->eventually($rows, '2026-11-19 2026-11-20 verify canceled 0 10485760'), '2026-11-19 2026-11-20 verify canceled 0 10485760', 'a comparison that is rolled back: the ledger has its cost');
$f->query('DELETE FROM contratos_runs WHERE only_cost');
$bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true, bill_failed => JSON::PP::true });
like($f->fails(q(SET statement_timeout = '1s'; SELECT FROM contratos_verify('2026-11-20', '2026-11-20'))), qr/ERROR:  57014/, 'a comparison is stopped');
is($f->eventually($rows, '2026-11-20 verify canceled 0 10485760'), '2026-11-20 verify canceled 0 10485760', 'a comparison that is stopped: the ledger has its cost');

# ---- who calls

$f->query('DELETE FROM contratos_runs WHERE only_cost');
$f->query(q(CREATE ROLE anna; GRANT EXECUTE ON FUNCTION contratos_verify TO anna));
is($f->query(q(SET ROLE anna; SELECT bool_and(agrees) FROM contratos_verify('2026-11-20', '2026-11-20'))), 't', 'a role with EXECUTE alone compares');
is($f->query($rows), '2026-11-20 verify unchanged 0 10485760', 'the ledger has the comparison of a role without rights on it');

$f->stop;
done_testing();
