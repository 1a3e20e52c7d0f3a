# contratos_metrics and contratos_metrics_failures: each number against a ledger that is
# known, the states against contratos_days, who may read them, and what they cost.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use Test::More;

use Contratos::Fixture;
use Contratos::Seed qw(rand);

my $f = Contratos::Fixture->new(init => { allows_streaming => 1 }, conf => "shared_preload_libraries = 'contratos'\nhot_standby = on");
$f->query('SELECT contratos_setup()');

# Columns of a source at a time of 2026-11-21; a row of the ledger.
my $time = '12:00';
sub metrics { return $f->query("SET contratos.now = '2026-11-21 $time+00'; SELECT $_[0] FROM contratos_metrics WHERE source = '@{[ $_[1] // 'tokens' ]}'"); }
sub run
{
	my (%row) = (source => 'tokens', cause => 'schedule', @_);
	return $f->query(sprintf 'INSERT INTO contratos_runs (%s) VALUES (%s)', join(', ', sort keys %row), join(', ', map { "'$row{$_}'" } sort keys %row));
}
sub forget { return $f->query('DELETE FROM contratos_runs'); }

# ---- before the first success

is(metrics('enabled, worker_up, failing_steps'), '1|0|0', 'a new source is enabled, and no worker runs');
is(metrics('newest_day_age_seconds, upstream_age_seconds'), 36 * 3600 . '|' . 36 * 3600, 'before the first success, ages count from start_date');
is(metrics('late_seconds'), 4 * 3600, 'a day that is not there is late from run_at on');
is(metrics('last_success_age_seconds, last_check_age_seconds, last_load_rows, last_load_seconds, last_load_bytes_billed, last_load_rejects, budget_used_ratio'),
	'||||||', 'what has not been yet is NULL');
is(metrics('missing_days, queued_days, running_days, waiting_days, provisional_days, confirmed_days, differs_days, failed_days, empty_days, waiting_seconds'), '1|0|0|0|0|0|0|0|0|0', 'yesterday is missing');
is(metrics('loads_today, checks_today, failures_today, rows_today, load_seconds_today, bytes_billed_today, confirmed_changed_today'), '0|0|0|0|0|0|0', 'nothing has been done today');
is(metrics('next_wake_seconds'), 0, 'the worker has something to do now');
$time = '07:00';
is(metrics('late_seconds, next_wake_seconds'), '0|3600', 'an hour before run_at nothing is late, and the worker sleeps for an hour');
$time = '12:00';
is($f->query('SELECT count(*) FROM contratos_metrics_failures'), 0, 'nothing has failed');

# ---- a day that is loaded, and compared

run(day => '2026-11-20', status => 'succeeded', started_at => '2026-11-21 08:00Z', finished_at => '2026-11-21 08:01:30Z', rows_loaded => 50, values_altered => 3, bytes_billed => 10485760);
is(metrics('newest_day_age_seconds, upstream_age_seconds, late_seconds, missing_days, provisional_days, confirmed_days'), 12 * 3600 . '|' . 12 * 3600 . '|0|0|1|0', 'a day that is loaded');
is(metrics('last_success_age_seconds, last_check_age_seconds, last_load_rows, last_load_seconds, last_load_bytes_billed, last_load_rejects'), '14310||50|90|10485760|3', 'the load that succeeded last');
is(metrics('loads_today, checks_today, failures_today, rows_today, load_seconds_today, bytes_billed_today'), '1|0|0|50|90|10485760', 'what a load adds to the day');
run(day => '2026-11-20', cause => 'recheck', status => 'unchanged', started_at => '2026-11-21 11:00Z', finished_at => '2026-11-21 11:00:10Z', bytes_billed => 10485760);
is(metrics('loads_today, checks_today, rows_today, load_seconds_today, bytes_billed_today, last_check_age_seconds'), '1|1|50|90|20971520|3590', 'what a recheck adds to the day');
is($f->query(q(SET contratos.now = '2026-11-22 00:00+00'; SELECT loads_today, checks_today, rows_today, bytes_billed_today, newest_day_age_seconds, missing_days FROM contratos_metrics)),
	'0|0|0|0|86400|1', 'the counts begin anew at midnight in UTC');
run(day => '2026-11-20', cause => 'verify', status => 'differs', only_cost => 't', attempt => 0, started_at => '2026-11-21 11:30Z', finished_at => '2026-11-21 11:30Z', bytes_billed => 10485760);
is(metrics('bytes_billed_today, checks_today, differs_days, confirmed_changed_today'), '31457280|1|0|0', 'a comparison by call is billed, and that is all');

# ---- the caps of a day

is($f->query("SET contratos.max_bytes_per_day = '60MB'; SET contratos.now = '2026-11-21 12:00+00'; SELECT budget_used_ratio FROM contratos_metrics"), '0.5', 'half of the bytes of a source are used');
$f->query(q(CREATE TABLE other (LIKE tokens); INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled) VALUES ('other', 'bigquery_tokens', 'other', 'block_timestamp', false)));
is($f->query("SET contratos.max_bytes_per_day = '60MB'; SET contratos.max_bytes_per_day_total = '40MB'; SET contratos.now = '2026-11-21 12:00+00'; SELECT source, budget_used_ratio, enabled, next_wake_seconds FROM contratos_metrics ORDER BY 1"),
	"other|0.75|0|\ntokens|0.75|1|18010", 'the cap of all sources, where it is nearer; a disabled source has no next_wake_seconds');
$f->query(q(DELETE FROM contratos_sources WHERE name = 'other'));

# ---- failures by reason

forget();
my $at = '2026-11-21 09:00Z';
run(day => "2026-11-$_->[0]", status => $_->[1], started_at => $at, finished_at => $at, @$_[ 2 .. $#$_ ])
	for [ 20, 'failed', reason => 'accessDenied', sqlstate => '42501' ], [ 20, 'failed', reason => 'accessDenied', sqlstate => '42501', cause => 'recheck' ],
	[ 19, 'failed', sqlstate => '53100' ], [ 18, 'refused', sqlstate => '55000' ], [ 17, 'interrupted' ], [ 16, 'failed' ],
	[ 15, 'failed', reason => '"}, secret{x="', sqlstate => '08006' ], [ 14, 'failed', reason => 'unreachable', only_cost => 't' ];
run(day => '2026-11-13', status => 'failed', reason => 'notFound', started_at => '2026-11-20 09:00Z', finished_at => '2026-11-20 09:00Z');
is($f->query(q(SET contratos.now = '2026-11-21 12:00+00'; SELECT reason, failures_today FROM contratos_metrics_failures ORDER BY reason)),
	"08006|1\n53100|1\naccessDenied|2\ninterrupted|1\nrefused|1\nunknown|1", 'failures by reason; a reason that is no word is left out');
is(metrics('failures_today, loads_today, checks_today, failed_days'), '7|6|1|7', 'failures of both kinds, and the days that have failed');

# ---- a confirmed day that has changed

forget();
run(day => '2026-11-18', status => 'succeeded', started_at => '2026-11-19 08:00Z', finished_at => '2026-11-19 08:00Z', confirmed_at => '2026-11-20 02:00Z', rows_loaded => 5);
run(day => '2026-11-19', status => 'succeeded', started_at => '2026-11-20 08:00Z', finished_at => '2026-11-20 08:00Z', rows_loaded => 5);
run(day => "2026-11-$_", cause => 'recheck', status => 'differs', started_at => $at, finished_at => $at) for 18, 19;
is(metrics('confirmed_changed_today, differs_days'), '1|2', 'a difference of a day that was confirmed');
run(day => '2026-11-18', cause => 'reload', status => 'succeeded', started_at => $at, finished_at => $at, confirmed_at => $at, rows_loaded => 5);
is(metrics('confirmed_changed_today, differs_days, confirmed_days'), '1|1|1', 'the reload does not take it back');

# ---- waiting, and a silent upstream

forget();
run(day => '2026-11-16', status => 'succeeded', started_at => '2026-11-17 08:00Z', finished_at => '2026-11-17 08:00Z', confirmed_at => '2026-11-19 02:00Z', rows_loaded => 5);
run(day => '2026-11-17', status => 'succeeded', started_at => '2026-11-18 08:00Z', finished_at => '2026-11-18 08:00Z', rows_loaded => 0);
run(day => '2026-11-18', status => 'refused', started_at => '2026-11-19 08:00Z', finished_at => '2026-11-19 20:00Z', error => 'BigQuery has no rows of 2026-11-18 for source "tokens"');
run(day => '2026-11-19', status => 'failed', started_at => '2026-11-21 10:00Z', finished_at => '2026-11-21 10:00Z', next_attempt_at => '2026-11-21 10:01Z');
run(day => '2026-11-19', status => 'failed', started_at => '2026-11-21 10:01Z', finished_at => '2026-11-21 10:01Z', next_attempt_at => '2026-11-21 10:02Z');
run(day => '2026-11-20', status => 'waiting', started_at => '2026-11-21 10:30Z', next_attempt_at => '2026-11-21 12:15Z', error => 'BigQuery has no rows of 2026-11-20 for source "tokens"');
is(metrics('waiting_days, waiting_seconds, failed_days, empty_days, provisional_days'), '2|7200|1|3|1', 'days that wait, and days that BigQuery has nothing of');
is(metrics('newest_day_age_seconds, upstream_age_seconds'), (3 * 24 + 12) * 3600 . '|' . (4 * 24 + 12) * 3600, 'the newest day that is loaded, and the newest that has rows');
run(day => '2026-11-20', status => 'accepted', accepted_by => 'me', started_at => $at, finished_at => $at, target_rows => 1);
is(metrics('late_seconds, newest_day_age_seconds, upstream_age_seconds'), '0|43200|43200', 'a day that is accepted is there');

# ---- the states are those of contratos_days, whatever the ledger has

$f->query(
	q(CREATE TABLE whole (LIKE tokens);
	  INSERT INTO contratos_sources (name, remote_table, target_table, snapshot, start_date, enabled) VALUES ('whole', 'bigquery_tokens', 'whole', true, '2026-11-01', false);
	  UPDATE contratos_sources SET start_date = '2026-09-01' WHERE name = 'tokens'));
my $differences = q(
	SELECT string_agg(format('%s: %s', m.source, to_jsonb(m)), E'\n') FROM contratos_metrics m JOIN (
		SELECT source, count(*) FILTER (WHERE state = 'missing') AS missing, count(*) FILTER (WHERE state = 'queued') AS queued,
			count(*) FILTER (WHERE state = 'running') AS running, count(*) FILTER (WHERE state = 'waiting') AS waiting,
			count(*) FILTER (WHERE state = 'provisional') AS provisional, count(*) FILTER (WHERE state = 'confirmed') AS confirmed,
			count(*) FILTER (WHERE state = 'differs') AS differs, count(*) FILTER (WHERE state IN ('failed', 'refused')) AS failed,
			count(*) FILTER (WHERE day > newest AND (rows = 0 OR error LIKE 'BigQuery has no rows of %')) AS empty
		FROM (SELECT *, max(day) FILTER (WHERE rows > 0) OVER (PARTITION BY source) AS newest FROM contratos_days) d GROUP BY source) d USING (source)
	WHERE (m.missing_days, m.queued_days, m.running_days, m.waiting_days, m.provisional_days, m.confirmed_days, m.differs_days, m.failed_days, m.empty_days)
		<> (d.missing, d.queued, d.running, d.waiting, d.provisional, d.confirmed, d.differs, d.failed, d.empty));
my (@bad, %seen);
for my $round (1 .. 20)
{
	forget();
	my $random = rand;    # CONTRATOS_SEED repeats a run
	$f->query("SELECT setseed($random);" . q(
		INSERT INTO contratos_runs (source, day, cause, status, attempt, started_at, finished_at, rows_loaded, target_rows, confirmed_at, next_attempt_at, error, accepted_by, only_cost)
		SELECT source, day, CASE WHEN status IN ('unchanged', 'differs') OR cause < 0.2 AND status IN ('failed', 'interrupted', 'canceled') THEN 'recheck' ELSE 'schedule' END, status, 1,
			CASE WHEN started < 0.8 OR status <> 'canceled' THEN at END, at, CASE WHEN loaded < 0.3 THEN 0 ELSE 7 END, 7, CASE WHEN status = 'succeeded' AND confirmed < 0.5 THEN at END,
			CASE WHEN status IN ('failed', 'interrupted') AND next < 0.5 THEN at END, CASE WHEN next < 0.3 THEN 'BigQuery has no rows of that' END,
			CASE WHEN status = 'accepted' THEN 'me' END, cost < 0.1 AND status IN ('canceled', 'unchanged', 'differs')
		FROM (SELECT (ARRAY['tokens', 'tokens', 'whole'])[1 + floor(random() * 3)] AS source, date '2026-11-20' - floor(random() * random() * 100)::integer AS day,
				(ARRAY['succeeded', 'failed', 'refused', 'interrupted', 'canceled', 'unchanged', 'differs', 'accepted'])[1 + floor(random() * 8)] AS status,
				random() AS cause, random() AS started, random() AS loaded, random() AS confirmed, random() AS next, random() AS cost, timestamptz '2026-11-21 10:00Z' AS at
			FROM generate_series(1, 300)) r
		-- of a recheck that found nothing there was a load before
		WHERE status <> 'unchanged' OR day > '2026-11-10';
		INSERT INTO contratos_runs (source, day, cause, status, started_at, error)
		SELECT DISTINCT ON (source, day) source, day, (ARRAY['queue', 'recheck'])[1 + floor(random() * 1.3)], (ARRAY['queued', 'running', 'waiting'])[1 + floor(random() * 3)], now(),
			CASE WHEN random() < 0.5 THEN 'BigQuery has no rows of that' END
		FROM contratos_runs WHERE random() < 0.1;
		DELETE FROM contratos_runs u WHERE status = 'unchanged' AND NOT EXISTS (SELECT FROM contratos_runs s WHERE s.source = u.source AND s.day = u.day AND s.id < u.id
			AND s.status IN ('succeeded', 'accepted') AND NOT s.only_cost)));
	my $found = $f->query($differences);
	push @bad, "setseed($random): $found" if $found ne '';
	$seen{$_} = 1 for split /\n/, $f->query('SELECT DISTINCT state FROM contratos_days');
}
is(join("\n", @bad), '', 'the days in each state are as many as contratos_days has');
is(join(' ', sort keys %seen), 'accepted canceled confirmed differs failed missing provisional queued refused running waiting', 'each state came about');

# ---- numbers and names only, and who may read them

is($f->query(q(SELECT string_agg(c.relname || '.' || a.attname, ' ') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relname LIKE 'contratos_metrics%' AND a.atttypid NOT IN ('integer'::regtype, 'bigint'::regtype, 'double precision'::regtype))),
	'contratos_metrics.source contratos_metrics_failures.source contratos_metrics_failures.reason', 'all columns but the labels are numbers');
forget();
run(day => '2026-11-20', status => 'failed', started_at => $at, finished_at => $at, sqlstate => '23502', job_id => 'secret-job', error => 'null value "secret"', why => 'secret', reason => 'invalidQuery');
$f->query(q(INSERT INTO _contratos_housekeeping VALUES ('pruning', '42501', 'secret', now()); CREATE ROLE watcher; GRANT pg_monitor TO watcher; CREATE ROLE guest));
my $all = q(SET contratos.now = '2026-11-21 12:00+00'; SET ROLE watcher; SELECT to_jsonb(m) FROM contratos_metrics m; SELECT to_jsonb(m) FROM contratos_metrics_failures m);
unlike($f->query($all), qr/secret|2350|null value/, 'no text of an error, no job, no path is shown');
is($f->query(q(SET contratos.now = '2026-11-21 12:00+00'; SET ROLE watcher; SELECT failing_steps, failures_today FROM contratos_metrics WHERE source = 'tokens'; SELECT reason, failures_today FROM contratos_metrics_failures)),
	"1|1\ninvalidQuery|1", 'a member of pg_monitor reads both views');
like($f->fails("SET ROLE guest; SELECT * FROM $_"), qr/ERROR:  42501: permission denied/, "a role without privileges does not read $_") for qw(contratos_metrics contratos_metrics_failures);
like($f->fails('SET ROLE guest; SELECT * FROM _contratos_metrics()'), qr/ERROR:  42501: permission denied for function/, 'a role without privileges does not call the function behind it');
is($f->query("SET search_path = pg_catalog; BEGIN READ ONLY; SELECT count(*) FROM public.contratos_metrics; COMMIT"), 2, 'contratos_metrics works in a read-only transaction, with any search_path');
$f->query(q(UPDATE contratos_sources SET start_date = '5874897-12-31' WHERE name = 'tokens'; UPDATE contratos_sources SET start_date = '4713-01-01 BC' WHERE name = 'whole'; DELETE FROM contratos_runs));
is(metrics('newest_day_age_seconds, late_seconds, missing_days'), 12 * 3600 . '|0|0', 'a source that begins in the far future');
like(metrics('newest_day_age_seconds, missing_days', 'whole'), qr/^6\d{10}\|1$/, 'a source that began long ago');
$f->query(q(UPDATE contratos_sources SET start_date = '2014-01-01' WHERE name = 'tokens'; DELETE FROM contratos_sources WHERE name = 'whole'));

# ---- a standby

$f->node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($f->node, 'copy', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', 'SELECT source, worker_up IS NULL FROM contratos_metrics'), 'tokens|t', 'a standby needs no worker');
$standby->stop;

# ---- a ledger of 100,000 rows

$f->query(
	q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded, confirmed_at)
	  SELECT 'tokens', day, CASE n WHEN 1 THEN 'schedule' ELSE 'recheck' END, CASE n WHEN 1 THEN 'succeeded' ELSE 'unchanged' END,
		day + 1 + n * interval '1 hour', day + 1 + n * interval '1 hour', 10, CASE n WHEN 1 THEN day + 3 END
	  FROM (SELECT date '2014-01-01' + i AS day FROM generate_series(0, date '2026-11-20' - date '2014-01-01') i) d, generate_series(1, 22) n
	  ORDER BY day, n;
	  ANALYZE contratos_runs));
cmp_ok($f->query('SELECT count(*) FROM contratos_runs'), '>', 100_000, 'the ledger is large');
is(metrics('confirmed_days, missing_days, loads_today, checks_today'), '4707|0|1|21', 'the metrics of a large ledger');
# By the processor's time, as the machine may have other work; the best of several.  To read the
# whole ledger once, as text, is the measure.
sub cost
{
	my ($statement) = @_;
	my $clock = q(SELECT 'at ' || sum(s::bigint) * 10 FROM unnest((string_to_array(pg_read_file('/proc/' || pg_backend_pid() || '/stat'), ' '))[14:15]) s;);
	my @lines = split /\n/, $f->query(q(SET contratos.now = '2026-11-21 12:00+00'; ) . "$statement;" . ($clock . "$statement;" x 4) x 6 . $clock);
	my @at = map { /^at (\d+)/ ? $1 : () } @lines;
	my ($best) = sort { $a <=> $b } map { ($at[$_] - $at[ $_ - 1 ]) / 4 } 1 .. $#at;
	note("$statement: $best ms of the processor");
	return $best;
}
cmp_ok(cost('SELECT count(*) FROM contratos_metrics'), '<', cost("SELECT count(r) FROM contratos_runs r WHERE r::text <> ''"),
	'contratos_metrics is cheap with a large ledger');

$f->stop;
done_testing();
