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
ok($f->said($second, qr/NOTICE: /), 'a second load of the source waits, and says so');
like($second->{err}, qr/NOTICE:  00000: waiting for another load of source "tokens"/, 'which source it is');
my $pid = $f->query(q(SELECT pid FROM pg_stat_activity WHERE application_name = 'the first'));
like($second->{err}, qr/DETAIL:  Process $pid of user "[^"]+" \(application "the first"\) holds it/, 'and for whom');
ok($f->node->poll_query_until('postgres', $waiting), 'on a lock');

like($f->fails(q(SET lock_timeout = '100ms'; SELECT contratos_run('2026-11-19'))),
	qr/ERROR:  55P03: /, 'lock_timeout ends the wait, for another day as well');
like($f->fails(q(SET statement_timeout = '300ms'; SELECT contratos_backfill(1))), qr/ERROR:  57014: /, 'and so does statement_timeout');

$bq->release($rule);
my ($code, $out, $err) = $f->finish($first);
is($out, '50|0', 'the first goes on');
($code, $out, $err) = $f->finish($second);
is($out, '50|50', 'and then the second, which sees what the first has loaded');
is($f->query($day_rows), 50, 'the day is there once');
is($f->query('SELECT count(*) FROM contratos_runs'), 2, 'the ledger has both');

# ---- another source does not wait

$f->query(
	q(CREATE TABLE others (LIKE tokens);
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column)
	  VALUES ('others', 'bigquery_tokens', 'others', 'block_timestamp')));
$bq->reset(tables => 0);
$rule = $bq->rule({ kind => 'results' }, { stall => 'mid_body' });
$first = $f->begin(q(SELECT rows_loaded FROM contratos_run('2026-11-20')));
$bq->wait(rule => $rule, state => 'stalled');
is($f->query(q(SELECT rows_loaded FROM contratos_run('2026-11-20', 'others'))), 50, 'another source does not wait');
is($f->query($day_rows), 50, 'nor does who reads the table: the old rows are there until the end');
$bq->release;
($code, $out, $err) = $f->finish($first);
is($out, 50, 'and the first ends well');

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
cmp_ok(scalar(@said), '>=', 2, 'a load that takes longer than a second tells how far it is');
cmp_ok(scalar(@said), '<=', time - $began, 'not more than once a second');
like($_, $form, $_) for @said;
my @shares = map { [ $_ =~ $form ] } @said;
ok((!grep { abs($_->[1] - $_->[0] / 10) > 0.51 } @shares), 'the share is that of the rows');
ok((grep { $_->[0] > 300 && $_->[0] <= 600 } @shares) && $shares[-1][0] > 600, 'of those received by then');

$f->day('2026-11-19', 600);
$bq->reset(tables => 0);
$bq->rule({ kind => 'results', start_index => 300, nth => 2 }, { delay_ms => 1100 });
my @days = notices($f->messages(q(SET contratos.page_rows = 300; SELECT contratos_backfill(2))));
ok((grep { /^tokens 2026-11-20: / } @days), 'in a backfill, too');

$f->stop;
done_testing();
