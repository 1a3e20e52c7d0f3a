# Two sessions on one source, and what a caller sees while a load runs.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Contratos::Fixture;

my $f = Contratos::Fixture->new;
my $bq = $f->bq;
my $day_rows = q(SELECT count(*) FROM tokens WHERE block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z');
my $waiting = q(SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory');

$f->query('SELECT contratos_setup()');

# ---- the second waits for the first

$f->day('2026-11-20', 50);
my $rule = $bq->rule({ kind => 'results' }, { stall => 'before_headers' });
my $first = $f->begin(q(SET application_name = 'the first'; SELECT rows_loaded, rows_replaced FROM contratos_run('2026-11-20')));
$bq->wait(rule => $rule, state => 'stalled');
my $second = $f->begin(q(SELECT rows_loaded, rows_replaced FROM contratos_run('2026-11-20')));
ok($f->said($second, qr/NOTICE: /), 'a second load of the source waits, with a NOTICE');
like($second->{err}, qr/NOTICE:  00000: waiting for another load of source "tokens"/,
	'the NOTICE names the source that is waited for');
my $pid = $f->query(q(SELECT pid FROM pg_stat_activity WHERE application_name = 'the first'));
like($second->{err}, qr/DETAIL:  Process $pid of user "[^"]+" \(application "the first"\) holds it/,
	'the NOTICE names the process that is waited for');
ok($f->node->poll_query_until('postgres', $waiting), 'a second load of the source waits on an advisory lock');

like($f->fails(q(SET lock_timeout = '100ms'; SELECT contratos_run('2026-11-19'))),
	qr/ERROR:  55P03: /, 'lock_timeout ends the wait for the source, for another day as well');
like($f->fails(q(SET statement_timeout = '300ms'; SELECT contratos_backfill(1))), qr/ERROR:  57014: /, 'statement_timeout ends the wait for the source');

$bq->release($rule);
my ($code, $out, $err) = $f->finish($first);
is($out, '50|0', 'the first of two loads succeeds');
($code, $out, $err) = $f->finish($second);
is($out, '50|50', 'the second of two loads replaces the rows of the first');
is($f->query($day_rows), 50, 'two loads at once leave the day\'s rows once');
is($f->query('SELECT count(*) FROM contratos_runs WHERE NOT only_cost'), 2, 'the ledger has both of two loads at once');

# ---- another source does not wait

$f->query(
	q(CREATE TABLE others (LIKE tokens);
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
	  VALUES ('others', 'bigquery_tokens', 'others', 'block_timestamp')));
$bq->reset(tables => 0);
$rule = $bq->rule({ kind => 'results' }, { stall => 'mid_body' });
$first = $f->begin(q(SELECT rows_loaded FROM contratos_run('2026-11-20')));
$bq->wait(rule => $rule, state => 'stalled');
is($f->query(q(SELECT rows_loaded FROM contratos_run('2026-11-20', 'others'))), 50,
	'a load of another source does not wait');
is($f->query($day_rows), 50, 'a reader of the target sees the old rows during a load');
$bq->release;
($code, $out, $err) = $f->finish($first);
is($out, 50, 'a load succeeds beside one of another source');

# ---- progress

sub notices
{
	my ($err) = @_;
	return $err =~ /NOTICE:  00000: (tokens .*)/g;
}

my $form = qr/^tokens 2026-11-20: (\d+) of 1000 rows \((\d+) %\), \d+\.\d MB, \d+ rows\/s, \d+ s left$/;
$f->day('2026-11-20', 1000);
$bq->reset(tables => 0);
# one page after the other, so that both delays are waited for
$bq->rule({ kind => 'results', start_index => $_ }, { delay_ms => 1100 }) for 300, 600;
my $began = time;
my @said = notices($f->messages(q(SET contratos.page_rows = 300; SET contratos.parallel_pages = 0; SELECT contratos_run('2026-11-20'))));
cmp_ok(scalar(@said), '>=', 2, 'a load that takes longer than a second reports its progress');
cmp_ok(scalar(@said), '<=', time - $began, 'progress is reported not more than once a second');
like($_, $form, "progress has the usual form: $_") for @said;
my @shares = map { [ $_ =~ $form ] } @said;
ok((!grep { abs($_->[1] - $_->[0] / 10) > 0.51 } @shares), 'the percentage of progress is that of the rows');
ok((grep { $_->[0] > 300 && $_->[0] <= 600 } @shares) && $shares[-1][0] > 600,
	'progress counts the rows received by then');

$f->day('2026-11-19', 600);
$bq->reset(tables => 0);
$bq->rule({ kind => 'results', start_index => 300, nth => 2 }, { delay_ms => 1100 });
my @days = notices($f->messages(q(SET contratos.page_rows = 300; SELECT contratos_backfill(2))));
ok((grep { /^tokens 2026-11-20: / } @days), 'a backfill reports the progress of its days');

$f->stop;
done_testing();
