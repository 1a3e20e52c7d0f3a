# Pages that break off, come short or lie: every row exactly once, or the day
# as it was before.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(conf => 'contratos.page_rows = 10');
my $bq = $f->bq;
my $day = '2026-11-20';

my $digest = q(SELECT md5(string_agg(t::text, E'\n' ORDER BY t::text)) FROM tokens t);
my $runs = 'SELECT count(*) FROM contratos_runs WHERE NOT only_cost';

# Every test begins with a day that was loaded and that BigQuery has changed
# since: what is left of the old one, and what there is of the new, can be told.
my $seed = 0;
my $old;

sub renew
{
	$bq->reset(tables => 0);
	$f->day($day, 50, seed => ++$seed);
	$f->query("SELECT contratos_run('$day')");
	$old = $f->query($digest);
	$f->day($day, 50, seed => ++$seed);
	$bq->reset(tables => 0);
	return;
}

sub is_old { return is($f->query($digest), $old, $_[0]); }

# The rows as the stand-in has them, read without any fault.
sub is_new
{
	my ($name) = @_;
	my $seen = $f->query($digest);
	$bq->reset(tables => 0);
	$f->query("SELECT contratos_run('$day')");
	isnt($seen, $old, "$name: not the old rows");
	return is($seen, $f->query($digest), "$name: each row once");
}

# First rows of the pages asked for; ahead of time they go out in any order.
sub starts { return join ' ', sort { $a <=> $b } map { $_->{start_index} // 0 } $bq->requests('results'); }

# ---- pages

renew();
is($f->query("SELECT rows_loaded, rows_replaced FROM contratos_run('$day')"), '50|50', 'a day of five pages is loaded');
is(starts(), '0 10 20 30 40', 'five pages are each asked for by their first row');
is_deeply([ map { $_->{query}{maxResults} } $bq->requests('results') ], [ (10) x 5 ],
	'five pages are each asked for ten rows');
is($f->query('SELECT pages FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), 5, 'the ledger has five pages');
is_new('five pages');

renew();
$bq->rule({ kind => 'results', start_index => 10 }, { truncate_rows => 3 });
$bq->rule({ kind => 'results', start_index => 13 }, { truncate_rows => 1 });
is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50,
	'pages that the service cuts short: all rows are loaded');
is(starts(), '0 10 13 14 20 30 40', 'pages that the service cuts short are continued where they ended');
is_deeply([ map { $_->{query}{maxResults} } grep { ($_->{start_index} // 0) =~ /1[34]/ } $bq->requests('results') ], [ 7, 6 ],
	'pages that the service cuts short are asked for the missing rows only');
is_new('short pages');

renew();
$bq->rule({ kind => 'results' }, { page_bytes => 1 });
is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50, 'a first page of one row: all rows are loaded');
is_new('a first page of one row');

# ---- a page that breaks off: in its head, between rows, inside a row, at its end

for my $where (0, 1, 300, 700, 1500, 2500, 3500, { after_bytes => 2600, reset => 1 }, 'before_headers', 'after_headers')
{
	my $name = ref $where ? 'RST after 2600 bytes' : "cut off: $where" . ($where =~ /^\d/ ? ' bytes' : '');
	renew();
	$bq->rule({ kind => 'results', start_index => 20 },
		{ close => !ref $where && $where =~ /^\d/ ? { after_bytes => $where } : $where });
	is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50, "$name: all rows are loaded");
	# none, when only the end behind the last row was missing
	my @again = grep { !/^(0|10|30|40)$/ } split ' ', starts() =~ s/\b20\b//r;
	cmp_ok(scalar(@again), '<=', 1, "$name: asked for again once at most");
	ok(!(grep { $_ < 20 || $_ >= 30 } @again), "$name: from the next row of that page on");
	is_deeply([ grep { /^(0|10|30|40)$/ } split ' ', starts() ], [ 0, 10, 30, 40 ], "$name: the other pages once");
	is(scalar($bq->requests('insert')), 1, "$name: of the same job");
	is_new($name);
}

renew();
$bq->rule({ kind => 'results', start_index => 20 }, { close => { after_bytes => 2600 } });
$bq->rule({ kind => 'results', nth => 4 }, { close => { after_bytes => 1500 } });
is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50, 'a page that breaks off twice: all rows are loaded');
is_new('a page that breaks off twice');

renew();
$bq->rule({ kind => 'results' }, { close => { after_bytes => 1500 } });
is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50, 'a first page that breaks off: all rows are loaded');
is_new('a first page that breaks off');

renew();
$bq->rule({ kind => 'results', start_index => 30 }, { drop_chunk => 2000, chunked => 100 });
is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50, 'a chunk that breaks off: all rows are loaded');
is_new('a chunk that breaks off');

# ---- rows that are whole, in a body that is not: its last byte or its last chunk never comes

for my $how ('', 'chunked')
{
	for my $start (0, 20, 40)
	{
		my $name = "the page from row $start, " . ($how || 'plain') . ', whole but for its end';
		my $last = $start + 9;
		renew();
		$bq->rule({ kind => 'results', start_index => $start }, { no_end => JSON::PP::true, $how ? ($how => 1000) : () });
		is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50, "$name: all rows are loaded");
		is(starts(), join(' ', sort { $a <=> $b } 0, 10, 20, 30, 40, $last), "$name: its last row is asked for once more");
		is_deeply([ map { $_->{query}{maxResults} } grep { ($_->{start_index} // 0) == $last } $bq->requests('results') ], [1], "$name: no other row is asked for");
		is_new($name);
	}
}

renew();
$bq->rule({ kind => 'results', start_index => 20 }, { no_end => JSON::PP::true, truncate_rows => 4 });
is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50, 'a short page without its end: all rows are loaded');
is(starts(), '0 10 20 24 30 40', 'a short page without its end is completed');
is_new('a short page without its end');

renew();
$bq->rule({ kind => 'results', start_index => 20 }, { no_end => JSON::PP::true });
$bq->rule({ kind => 'results', start_index => 29 }, { no_end => JSON::PP::true });
$bq->rule({ kind => 'results', start_index => 29, nth => 2 }, { close => { after_bytes => 400 } });
is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50,
	'an end that is missing three times: all rows are loaded');
is(starts(), '0 10 20 29 29 29 30 40', 'a last row without its end is asked for until it comes whole');
is_new('an end that is missing three times');

renew();
$bq->rule({ kind => 'results', start_index => 49 }, { no_rows_key => 1 });
$bq->rule({ kind => 'results', start_index => 40 }, { no_end => JSON::PP::true });
like($f->fails("SELECT contratos_run('$day')"), qr/ERROR:  HV000: BigQuery's result ended early/, 'a last row that is gone when it is asked for again is an error');
is_old('a last row that is gone: the old rows are kept');

renew();
$bq->rule({ kind => 'results', start_index => 40 }, { no_end => JSON::PP::true });
$bq->rule({ kind => 'results', start_index => 49, times => 0 }, { no_end => JSON::PP::true });
like($f->fails("SET contratos.request_timeout = '2s'; SELECT contratos_run('$day')"),
	qr/ERROR:  08006: connection to "127\.0\.0\.1" broke off.*^DETAIL: .*after row 50 of 50 of job/ms, 'an end that never comes is an error');
is_old('an end that never comes: the old rows are kept');

# no row would be no news: an answer that is not whole does not say so
$f->day('2026-11-19', 0);
for my $how ('', 'chunked')
{
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'results' }, { no_end => JSON::PP::true, $how ? ($how => 1000) : () });
	like($f->fails(q(SELECT contratos_run('2026-11-19'))), qr/ERROR:  55000/, 'an answer without rows and its end, ' . ($how || 'plain') . ': the day is refused');
	is(starts(), '0 0', 'an answer without rows and its end is asked for again');
}

renew();
$bq->rule({ kind => 'results', start_index => 30 }, { status => 503, reason => 'backendError', headers => { 'Retry-After' => '1' } });
is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50,
	'a page that is refused once for the time being: all rows are loaded');
is_new('a page that is refused once');

renew();
$bq->rule({ kind => 'results', times => 0 }, { rows_first => 1 });
is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50, 'rows before the schema are loaded');
is_new('rows before the schema');

renew();
$bq->rule({ kind => 'insert' }, { lost_answer => 1 });
is($f->query("SELECT rows_loaded FROM contratos_run('$day')"), 50,
	'a load whose answer to jobs.insert is lost succeeds');
is(scalar($bq->jobs), 1, 'a job whose answer was lost is found again: there is one job');
is_new('a lost answer to jobs.insert');

# ---- totals that are wrong, pages that are no pages

for my $case (
	[ 'a row too many on the last page', { start_index => 40 }, { extra_rows => [ [ ('x') x 8 ] ] },
		'HV000: BigQuery sent more rows than it promised' ],
	[ 'a row too many on the first page', {},
		{ extra_rows => [ [ '0xe', undef, undef, undef, undef, '1795168800000000', '1', '0xb' ] ] },
		'HV000: BigQuery sent more rows than were asked for' ],
	[ 'a total that is too large', {}, { envelope => { totalRows => '51' } }, q(HV000: BigQuery's result ended early) ],
	[ 'a total that is too small', {}, { envelope => { totalRows => '49' } }, 'HV000: BigQuery sent more rows than it promised' ],
	[ 'no total', {}, { envelope => { totalRows => 'many' } }, q(HV000: BigQuery's answer does not say how many rows there are) ],
	[ 'a row of three values', { start_index => 40 }, { truncate_rows => 9, extra_rows => [ [ ('x') x 3 ] ] },
		'HV000: BigQuery sent a row of 3 values for 8 columns' ],
	[ 'no rows in the middle', { start_index => 20, times => 0 }, { no_rows_key => 1 }, q(HV000: BigQuery's result ended early) ],
	[ 'a page that is no JSON', { start_index => 20 }, { garbage => '{"rows": [{"f": [{"v": tru}]}]}' },
		q(HV000: BigQuery's answer cannot be read: .* at byte 2\d) ],
	[ 'a page of HTML', { start_index => 20 }, { garbage => '<html>Welcome to the hotel</html>' },
		q(HV000: BigQuery's answer cannot be read: .* at byte 0) ])
{
	my ($name, $match, $action, $message) = @$case;
	renew();
	my $count = $f->query($runs);
	$bq->rule({ kind => 'results', %$match }, $action);
	my ($code, $out, $err) = $f->psql("SELECT contratos_run('$day')");
	isnt($code, 0, "$name: the load fails");
	like($err, qr/ERROR:  $message/, "$name: the error says what is wrong");
	like($err, qr/DETAIL: .*job contratos_\w+/, "$name: the detail names the job") if $message =~ /more|early|values/;
	is_old("$name: the old rows are all there");
	is($f->query($runs), $count, "$name: nothing in the ledger");
}

# ---- the stand-in is killed in the middle of page 3

# request_timeout: nobody wants to wait for the four minutes that are usual
my $patience = q(SET contratos.request_timeout = '2s');

sub kill_in_page_3
{
	my ($sql) = @_;
	my $rule = $bq->rule({ kind => 'results', start_index => 20 }, { stall => 'mid_body' });
	my $session = $f->begin("$patience; $sql");
	$bq->wait(rule => $rule, state => 'stalled');
	$bq->kill;
	return $f->finish($session);
}

renew();
my $count = $f->query($runs);
my ($code, $out, $err) = kill_in_page_3("SELECT contratos_run('$day')");
isnt($code, 0, 'killed in page 3: contratos_run() fails');
like($err, qr/ERROR:  08\d\d\d: /, 'killed in page 3: the error says that the connection is gone');
like($err, qr/DETAIL:.*after row \d+ of 50 of job contratos_\w+/,
	'killed in page 3: the detail says how far the load came');
is_old('killed in page 3: the old rows are kept');
is($f->query($runs), $count, 'killed in page 3: nothing is left in the ledger');
$bq->restart;

# with a day before that works
$f->day('2026-11-19', 15, seed => ++$seed);
$f->day($day, 50, seed => ++$seed);
($code, $out, $err) = kill_in_page_3('SELECT day, status, rows_loaded, run IS NULL FROM contratos_backfill(2)');
is($code, 0, 'killed in page 3 of the second day: contratos_backfill() returns');
is($out, "2026-11-19|succeeded|15|f\n2026-11-20|failed||f",
	'killed in page 3 of the second day: there is a row for each day');
like($err, qr/WARNING:  08\d\d\d: 2026-11-20 of source "tokens" failed: /,
	'killed in page 3 of the second day: a WARNING reports it');
is($f->query(q(SELECT day, status, left(sqlstate, 2), error ~ 'after row 2\d of 50', rows_loaded, job_id ~ '^contratos_'
	FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 2)),
	"2026-11-20|failed|08|t||t\n2026-11-19|succeeded|||15|t",
		'killed in page 3 of the second day: the ledger has the failure');
is($f->query("SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM tokens t WHERE block_timestamp >= '${day}Z'"), $old,
	'killed in page 3 of the second day: its old rows are kept');
$bq->restart;
is($f->query('SELECT status, rows_loaded, rows_replaced FROM contratos_backfill(1)'), 'succeeded|50|50',
	'the next backfill loads the day that was killed');

$f->stop;
done_testing();
