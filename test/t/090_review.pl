# Loads among triggers that interfere: a cursor left open, a load in a load, a
# peek at the first row.  Besides, jobs that never end, what a failure costs, and
# the guard's arithmetic.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new;
my $bq = $f->bq;

my $day = q(block_timestamp >= '2026-11-20 00:00Z' AND block_timestamp < '2026-11-21 00:00Z');
my $run = q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2026-11-20'));
my $count = "SELECT count(*), count(DISTINCT address) FROM tokens WHERE $day";

$f->day('2026-11-20', 50);
is($f->query($run), 'succeeded|50|0', 'a day is loaded before triggers are added');

# A trigger of tokens for one test: when it fires, declarations and body.
sub trigger
{
	my ($when, $declare, $body, $test) = @_;
	$f->query("CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS
		\$\$ DECLARE $declare BEGIN $body; RETURN NULL; END \$\$;
		CREATE TRIGGER act $when ON tokens FOR EACH STATEMENT EXECUTE FUNCTION act()");
	$bq->reset(tables => 0);
	$test->();
	$f->query('DROP FUNCTION act CASCADE');
	return;
}

# ---- scans of the foreign table besides the load's own

my $open = "OPEN c FOR SELECT address FROM bigquery_tokens WHERE $day; FETCH c INTO r";
for my $when ('BEFORE INSERT', 'AFTER INSERT')
{
	trigger(
		$when, "c refcursor := 'peek'; r record;",
		$open,
		sub {
			is($f->query($run), 'succeeded|50|50', "$when: a cursor on the foreign table is left open");
			like(
				$f->fails("BEGIN; $run; FETCH peek"),
				qr/ERROR:  55000: the load whose rows this scan of foreign table "bigquery_tokens" reads is over/,
				"$when: the open cursor cannot be read when the load is over");
			is($f->query("BEGIN; $run; CLOSE peek; COMMIT"), 'succeeded|50|50',
				"$when: the open cursor can be closed when the load is over");
			is(scalar($bq->requests('insert')), 3, "$when: one job for each load");
		});
}

trigger(
	'BEFORE INSERT', 'r record; n int := 0;',
	"BEGIN
		FOR r IN SELECT * FROM bigquery_tokens WHERE $day LOOP n := n + 1; IF n = 3 THEN RAISE division_by_zero; END IF; END LOOP;
	EXCEPTION WHEN division_by_zero THEN NULL; END",
	sub {
		is($f->query($run), 'succeeded|50|50', 'a subtransaction may end with a scan half read');
	});

# ---- a load in a load

for my $when ('AFTER DELETE', 'AFTER INSERT')
{
	trigger(
		$when, '', q(PERFORM contratos_run('2026-11-20')),
		sub {
			like($f->fails($run), qr/ERROR:  55006: a load cannot begin while another one replaces rows/,
				"$when: a load within a load is refused");
			is($f->query($count), '50|50', "$when: a refused load within a load does not double the day");
			is(scalar($bq->requests('insert')), 1, "$when: a refused load within a load does not ask BigQuery");
		});
}
is($f->query("$run; $run"), "succeeded|50|50\nsucceeded|50|50", 'one load after another in one session succeeds');

# ---- rows read twice are reported once

$f->query('CREATE TABLE copy (address text, n int)');
$bq->table(undef, replace_day => '2026-11-20', rows => [ map
	{ ["0x$_", "s\0$_", 'n', '18', '1', "2026-11-20 00:00:0$_", 1, '0xh'] } 1 .. 3 ]);
$f->query('CREATE RULE twice AS ON INSERT TO tokens DO INSTEAD
	INSERT INTO copy SELECT new.address, n FROM generate_series(1, 2) n WHERE length(new.symbol) > 0');
$f->query(q(SET enable_material = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
	SELECT FROM contratos_run('2026-11-20', allow_shrink => true)));
is($f->query('SELECT rows_loaded, rows_inserted, values_altered FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'),
	'3|6|3', 'a rule that reads the rows twice: figures in the ledger');
is($f->query('SELECT count(*) FROM contratos_rejects WHERE run = (SELECT max(id) FROM contratos_runs WHERE NOT only_cost)'), 3, 'a rule that reads the rows twice: each reject once');
$f->query('DROP TABLE copy CASCADE');

# ---- a job that never ends, and one that need not be asked for

$bq->reset(tables => 0);
$bq->rule({ kind => 'results', times => 0 },
	{ envelope => { jobComplete => JSON::PP::false, rows => undef, schema => undef, totalRows => undef } });
like($f->fails("SET contratos.job_timeout = '1s'; $run"), qr/BigQuery job did not finish within 1000 ms/, 'job_timeout ends a load');
is(scalar($bq->requests('cancel')), 1, 'job_timeout cancels the job');
$bq->reset(tables => 0);

$f->query(q(CREATE TABLE snapshot (LIKE tokens);
	INSERT INTO contratos_sources (name, remote_table, target_table, snapshot) VALUES ('snapshot', 'public.bigquery_tokens', 'public.snapshot', true)));
like($f->fails(q(SELECT contratos_run(source => 'snapshot'))),
	qr/ERROR:  42P17: a load of source "snapshot" would read the whole BigQuery table/, 'require_filter refuses a load of the whole table');
is(scalar($bq->requests('insert')), 0, 'require_filter: no job is made');

# ---- a day that fails has been billed as well

$f->day('2026-11-20', 50);
trigger(
	'AFTER INSERT', '', q(RAISE 'no'),
	sub {
		is($f->query('SELECT status FROM contratos_backfill(1)'), 'failed',
			'an AFTER trigger fails a day whose rows are all there');
		is($f->query('SELECT bytes_billed FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), 10485760, 'a failed day has its cost in the ledger');
	});

# ---- the guard's arithmetic: (1 - 0.18) * 1000 is more than 820 in binary

$f->query(q(UPDATE contratos_sources SET max_shrink = 0.18 WHERE name = 'tokens'));
$f->day('2026-11-20', 1000);
$f->query($run);
$f->day('2026-11-20', 820);
is($f->query($run), 'succeeded|820|1000', 'a day that has shrunk by max_shrink is loaded');
$f->day('2026-11-20', 672);
like($f->fails($run), qr/has shrunk from 820 rows to 672/, 'a day that has shrunk by one row more is refused');

done_testing();
