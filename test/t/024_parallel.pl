# Pages asked for ahead: as many as contratos.parallel_pages says, read in
# order, and a page that fails is asked for again alone.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Session;

my $f = Contratos::Fixture->new(conf => 'contratos.page_rows = 10');
my $bq = $f->bq;
my $day = '2026-11-20';
my $select = "SELECT block_number FROM bigquery_tokens WHERE block_timestamp >= '$day' AND block_timestamp < '2026-11-21'";

sub starts { return map { $_->{start_index} // 0 } $bq->requests('results'); }
sub sorted { return join ' ', sort { $a <=> $b } starts(); }
sub tens { return join ' ', map { 10 * $_ } 0 .. $_[0]; }

# Waits until so many pages have been asked for: they arrive in any order.
sub asked_for
{
	my ($n) = @_;
	$bq->wait(kind => 'results', nth => $n, state => 'seen');
	return sorted();
}

sub numbers { return [ split /\n/, $_[0] ]; }

$f->day($day, 120);
$f->query('SELECT contratos_setup()');
$bq->reset(tables => 0);

# ---- one after the other, as a measure of the rest

my $in_order = numbers($f->query("SET contratos.parallel_pages = 0; $select"));
is(scalar(@$in_order), 120, 'no pages ahead: all rows');
is(join(' ', starts()), tens(11), 'no pages ahead: each page is asked for in its turn');

# ---- a window

for my $ahead (1, 4, 16)
{
	$bq->reset(tables => 0);
	is_deeply(numbers($f->query("SET contratos.parallel_pages = $ahead; $select")), $in_order, "$ahead pages ahead: the same rows, in the same order");
	is(sorted(), tens(11), "$ahead pages ahead: each page is asked for once");
}

$bq->reset(tables => 0);
my $held = $bq->rule({ kind => 'results', start_index => 10 }, { stall => 'before_headers' });
my $session = Contratos::Session->new($f->node);
$session->send($select);
is(asked_for(6), tens(5), 'four pages are asked for ahead of the one that is waited for');
$bq->release($held);
is_deeply(numbers($session->finish->{out}), $in_order, 'pages that came ahead are read in their turn');
is(sorted(), tens(11), 'pages that came ahead are asked for once');

# ---- the setting

like($f->fails(q(LOAD 'contratos'; SET contratos.parallel_pages = 17)), qr/parallel_pages.*0 \.\. 16/s, 'seventeen parallel pages are too many');

# ---- who wants a few rows asks for no more

$bq->reset(tables => 0);
is(scalar(@{ numbers($f->query("$select LIMIT 3")) }), 3, 'LIMIT 3 gives three rows');
is(sorted(), '0', 'LIMIT 3 asks for one page');

# ---- a page that fails is asked for again alone

for my $fault (
	[ 'a refusal',        { status => 503, reason => 'backendError' } ],
	[ 'a broken answer',  { close  => { after_bytes => 700 } } ],
	[ 'a lost answer',    { close  => 'before_headers' } ],
	[ 'a short page',     { truncate_rows => 4 } ],
	[ 'a missing end',    { no_end => JSON::PP::true } ],
	[ 'an expired token', { status => 401, reason => 'authError' } ])
{
	my ($name, $action) = @$fault;
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'results', start_index => 40 }, $action);
	is_deeply(numbers($f->query($select)), $in_order, "$name of a page ahead: the same rows");
	is(scalar(starts()), 13, "$name: it takes one more request");
	is(join(' ', grep { $_ !~ /^4\d$/ } split ' ', sorted()), join(' ', grep { $_ != 40 } split ' ', tens(11)), "$name: the other pages are asked for once");
}

# ---- every one of them fails once

$bq->reset(tables => 0);
$bq->rule({ kind => 'results', start_index => 10 * $_ }, { close => { after_bytes => 300 * $_ } }) for 1 .. 11;
is_deeply(numbers($f->query($select)), $in_order, 'every page breaks off once: the same rows');

# ---- who has refused a token is not asked again for each piece of a page

$bq->reset(tables => 0);
$f->day('2026-11-19', 40_000);
$bq->rule({ kind => 'token', times => 2 }, { expires_in => 200 });
$bq->rule({ kind => 'token', nth => 3, times => 0 }, { status => 400, body => { error => 'invalid_grant' } });
like($f->fails("SET contratos.page_rows = 30000; SELECT * FROM bigquery_tokens WHERE block_timestamp >= '2026-11-19' AND block_timestamp < '2026-11-20'"),
	qr/refused the credentials: invalid_grant/,
		'a token that expires within a large page, with no other to be had, is an error');
is(sorted(), '0', 'a token that expires within a large page: the page itself is read');
cmp_ok(scalar($bq->requests('token')), '<=', 5,
	'a token that expires within a large page is asked for a few times only');
$bq->delete_day(undef, '2026-11-19');

# ---- what is under way ends with the statement

$bq->reset(tables => 0);
$held = $bq->rule({ kind => 'results', start_index => 10, times => 0 }, { stall => 'before_headers' });
$session->send($select);
asked_for(6);
my $pid = $session->pid;
is($f->query("SELECT pg_cancel_backend($pid)"), 't', 'a query with pages under way can be canceled');
like($session->finish->{err}, qr/canceling statement/, 'a query with pages under way ends when it is canceled');
$bq->wait(rule => $held, state => 'closed');
pass('connections of a canceled query are closed while the stall lasts');
$bq->release;

# ---- a page that came ahead, was refused, and is given up in the pause before it is asked for again

my $run = "SELECT status, rows_loaded FROM contratos_run('$day')";
for my $turn (1 .. 3)
{
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'results', start_index => 40, times => 0 }, { status => 503, reason => 'backendError' });
	$session->send($run);
	# nine, up to those ahead, and one of them again: its first answer was seen
	$bq->wait(kind => 'results', nth => 10, state => 'answered');
	$f->query("SELECT pg_cancel_backend($pid)");
	like($session->finish->{err}, qr/canceling statement/, "a load is canceled while a page that was refused is tried again, turn $turn");
	$bq->reset(tables => 0);
	is($session->query($run)->{out}, 'succeeded|120', "its session loads all rows afterwards, turn $turn");
}
is($session->query('SELECT pg_backend_pid()')->{out}, $pid, 'and is the same one');
$session->quit;

done_testing();
