# What the other side can make a backend use: memory for a value, for a row and
# for what is made of them; for an answer; connections where descriptors are few.
use strict;
use warnings;

use JSON::PP;
use List::Util qw(min);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use Contratos::Fixture;
use Contratos::Session;

# as many rows as ten pages: any day that has more is read by a process beside
my $f = Contratos::Fixture->new(conf => "contratos.page_rows = 10\ncontratos.min_parallel_load_size = 0");
my $bq = $f->bq;
my $node = $f->node;
my $day = '2026-11-20';

# What docs/reference.md promises, and what comes on top of it: buffers, what
# libcurl unpacks, the rest of the statement.  Several times that was it once.
my $text_mb = 128;
my $making_mb = 256;
my $some_mb = 40;
# a server with assertions is seen to take a copy more while a buffer grows
my $assertions_mb = 0;
# AddressSanitizer has a memory of its own: nothing is said of that of a process then
my $measured = !$ENV{CONTRATOS_SANITIZERS};

# The private memory of a process in MB, 0 when it is gone.
sub private_mb
{
	my ($pid) = @_;
	open my $status, '<', "/proc/$pid/status" or return 0;
	my ($kb) = join('', <$status>) =~ /^RssAnon:\s+(\d+) kB/m;
	return ($kb // 0) / 1024;
}

# The process that reads for a backend, told by its title; 0: there is none.
sub reader_of
{
	my ($pid) = @_;
	for my $file (glob '/proc/[0-9]*/cmdline')
	{
		open my $title, '<', $file or next;
		local $/ = undef;
		return $1 if (<$title> // '') =~ /contratos reader for process $pid\b/ && $file =~ /(\d+)/;
	}
	return 0;
}

# Runs statements in a session of their own: what they gave and said, and by how
# much memory grew at most: the backend's, and that of the process beside it.
sub measure
{
	my ($sql) = @_;
	my $session = Contratos::Session->new($node);
	my $pid = $session->pid;
	my ($most, $beside, $reader) = (0, 0, 0);
	$session->query(q(SELECT FROM bigquery_tokens WHERE block_timestamp > '2026-11-20'));
	my $idle = private_mb($pid);
	$session->send($sql);
	while ($session->is_waiting)
	{
		my $now = private_mb($pid) - $idle;
		$most = $now if $now > $most;
		$reader ||= reader_of($pid);
		$now = $reader ? private_mb($reader) : 0;
		$beside = $now if $now > $beside;
		sleep 0.002;
	}
	my $answer = $session->finish;
	$session->quit;
	$answer->{err} =~ s/^LOCATION:.*\n?//mg;
	$most = 0 unless $measured;
	$beside = min($beside, $some_mb + 1) unless $measured;
	return { %$answer, mb => int $most, beside => int $beside };
}

# The answers of this kind have the text in the place of each mark, so many times (0: without end).
sub swell
{
	my ($match, $mark, $with, $times, %more) = @_;
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'results', times => 0, %$match }, { %more, swell => { mark => $mark, with => $with, times => $times } });
	return;
}

$f->query('SELECT contratos_setup()');
$assertions_mb = $text_mb if $f->query('SHOW debug_assertions') eq 'on';
$f->query(q(CREATE FOREIGN TABLE odd_bq (id bigint, body text OPTIONS (name 'Body'), list bigint[], doc jsonb, at timestamptz)
		SERVER bigquery OPTIONS ("table" 'test-project.d.odd');
	CREATE FOREIGN TABLE as_text_bq (list text, doc text) SERVER bigquery OPTIONS ("table" 'test-project.d.odd');
	CREATE FOREIGN TABLE as_jsonb_bq (list jsonb) SERVER bigquery OPTIONS ("table" 'test-project.d.odd');
	CREATE TABLE odd (LIKE odd_bq);
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column) VALUES ('odd', 'odd_bq', 'odd', 'at')));

# So many rows, the one of this number with something else in it.
sub odd_rows
{
	my ($n, $number, %odd) = @_;
	my @rows = map { { id => $_, Body => "body $_", list => [ 1, 2 ], doc => '[1]', at => "$day 00:00:00+00:00" } } 1 .. $n;
	$rows[ $number - 1 ] = { %{ $rows[ $number - 1 ] }, %odd };
	$bq->table('test-project.d.odd', rows => \@rows, schema => [
		{ name => 'id', type => 'INTEGER' }, { name => 'Body', type => 'STRING' }, { name => 'list', type => 'INTEGER', mode => 'REPEATED' },
		{ name => 'doc', type => 'JSON' }, { name => 'at', type => 'TIMESTAMP' } ]);
	return;
}

# ---- a value without end: kept once, up to the limit, and named

sub endless
{
	my ($name, $sql, $error) = @_;
	my $got = measure($sql);
	like($got->{err}, qr/^ERROR:  54000: $error$/m, "$name: an error that names row and column") or diag($got->{out});
	cmp_ok($got->{mb}, '<', $text_mb + $some_mb + $assertions_mb, "$name: $got->{mb} MB");
	return $got;
}

my $too_long = sub { my ($row, $column) = @_; return qr/value of column "$column" in row $row of BigQuery's result is longer than 128 MB/; };
odd_rows(40, 3, Body => '@@');
swell({}, '@@', 'x', 0);
my $got = endless('a string', 'SELECT count(body) FROM odd_bq', $too_long->(3, 'Body'));
like($got->{err}, qr/^DETAIL:  It came after row 2 of 40 of job contratos_\w+\.\nHINT:  Leave such a column out/m, 'the error of a string has the job and a hint');
swell({}, '@@', '\u00e9\n', 0);
endless('a string of escapes', 'SELECT count(body) FROM odd_bq', $too_long->(3, 'Body'));
swell({}, '@@', 'x', 0, gzip => JSON::PP::true);
endless('a string that is compressed', 'SELECT count(body) FROM odd_bq', $too_long->(3, 'Body'));
swell({}, '@@', 'x', 0);
endless('a string beside other columns', 'SELECT count(id), count(body) FROM odd_bq',
	qr/row 3 of BigQuery's result is longer than 128 MB, as far as column "Body"/);
odd_rows(40, 1, Body => '@@');
swell({}, '@@', 'x', 0);
endless('a string in the first row', 'SELECT count(body) FROM odd_bq', $too_long->(1, 'Body'));
swell({}, '@@', 'x', 0, rows_first => JSON::PP::true);
endless('a string before the columns are known', 'SELECT count(body) FROM odd_bq', $too_long->(1, 'number 1'));
odd_rows(40, 2, list => { wire => [ '@@', { v => '1' } ] }, doc => { wire => '[@@1]' });
swell({}, '"@@",', '{"v":"1"},', 0);
endless('an array', 'SELECT count(list) FROM odd_bq', $too_long->(2, 'list'));
swell({}, '@@', '1,', 0);
endless('a document', 'SELECT count(doc) FROM odd_bq', $too_long->(2, 'doc'));

# ---- a row of many values

odd_rows(40, 2, Body => '@@', doc => { wire => '"@@"' });
swell({}, '@@', 'x', 100_000_000);
endless('two values of 100 MB', 'SELECT count(body), count(doc) FROM odd_bq', qr/row 2 of BigQuery's result is longer than 128 MB, as far as column "doc"/);
$bq->reset(tables => 0);
$bq->rule({ kind => 'results', times => 0 },
	{ swell => { mark => '{"f":[{"v":"body 9"}', with => '{"x":"' . 'x' x 100 . '"', times => 0 } });
like(measure('SELECT count(body) FROM odd_bq')->{err}, qr/HV000: BigQuery's answer cannot be read: unexpected character/, 'an object without end that is no row is an error');
$bq->reset(tables => 0);
$bq->rule({ kind => 'results', times => 0 }, { swell => { mark => '"body 9"', with => ' ', times => 0 } });
$got = endless('spaces without end', 'SELECT count(body) FROM odd_bq', qr/row 9 of BigQuery's result takes more than 512 MB of JSON, as far as column "Body"/);
cmp_ok($got->{mb}, '<', $some_mb, 'spaces without end are not kept');

# ---- what is as long as may be comes through

odd_rows(40, 3, Body => '@@');
swell({}, '@@', 'x', 120_000_000);
is(measure('SELECT max(length(body)) FROM odd_bq')->{out}, 120_000_000, 'a string of 120 MB is read');

# ---- in the process that reads beside

odd_rows(40, 25, Body => '@@');
swell({ start_index => 20 }, '@@', 'x', 0);
$got = measure("SELECT contratos_run('$day', 'odd')");
like($got->{err}, qr/^ERROR:  54000: row 25 of BigQuery's result is longer than 128 MB, as far as column "Body"$/m, 'a load with a reader worker fails with the same error');
cmp_ok($got->{beside}, '>', $some_mb, 'the row without end is read by a reader worker');
cmp_ok($got->{beside}, '<', $text_mb + $some_mb, "the reader worker of a row without end takes $got->{beside} MB");
cmp_ok($got->{mb}, '<', $some_mb, "the backend of a row without end takes $got->{mb} MB");
swell({ start_index => 20 }, '@@', 'x', 100_000_000);
$got = measure("SELECT rows_loaded FROM contratos_run('$day', 'odd')");
is($got->{out}, 40, 'a row of 100 MB is loaded') or diag($got->{err});
cmp_ok($got->{beside}, '<', $text_mb + $some_mb,
	"the reader worker has one copy of a row of 100 MB: $got->{beside} MB");
is($f->query('SELECT count(*), max(length(body)) FROM odd'), '40|100000000', 'a row of 100 MB is whole in the table');
my $fingerprint = $f->query('SELECT fingerprint FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1');
$f->query("SET contratos.min_parallel_load_size = -1; SELECT contratos_run('$day', 'odd')");
is($f->query('SELECT fingerprint FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), $fingerprint, 'a row of 100 MB has the same fingerprint without a reader worker');
$f->query('TRUNCATE odd');

# ---- in the answer to a comparison, a row for each day

my $days = join ',', map { sprintf '{"f":[{"v":"%d"},{"v":"50"},{"v":"%d"},{"v":"@@"}]}', 20775 + $_, (20775 + $_) * 86400 * 1_000_000 } 0 .. 2;
my $types = join ',', map { "{\"name\":\"c\",\"type\":\"$_\"}" } qw(INTEGER INTEGER TIMESTAMP STRING);
swell({}, '@@', 'x', 100_000_000, garbage => "{\"jobComplete\":true,\"totalRows\":\"3\",\"schema\":{\"fields\":[$types]},\"rows\":[$days]}");
$got = measure("SELECT count(*) FROM contratos_verify('2026-11-18', '2026-11-20')");
is($got->{out}, 3, 'contratos_verify() reads fingerprints of 100 MB') or diag($got->{err});
cmp_ok($got->{mb}, '<', $text_mb + $some_mb, "fingerprints of 100 MB are not kept: $got->{mb} MB");

# ---- values made of many parts

my $too_much = 'takes more than 256 MB to be put together';

# Whether a value with so many parts is made, or is too much, within the bound.
sub parts
{
	my ($name, $sql, $expected) = @_;
	my $got = measure($sql);
	if (defined $expected) { is($got->{out}, $expected, $name) or diag($got->{err}); }
	else { like($got->{err}, qr/ERROR:  22P02: value of column "\w+" in row 2 cannot be stored without loss\nDETAIL:  ".*": $too_much\.$/m, $name) or diag($got->{out}); }
	# while it grows, what there is of it is there twice
	return cmp_ok($got->{mb}, '<', $text_mb + 1.5 * $making_mb, "$name: $got->{mb} MB");
}

odd_rows(4, 2, list => { wire => [ '@@', { v => '1' } ] });
swell({}, '"@@",', '{"v":"1"},', 12_000_000);
parts('an array of 12 million', 'SELECT max(cardinality(list)) FROM odd_bq', 12_000_001);
parts('the array of 12 million as jsonb', 'SELECT count(list) FROM as_jsonb_bq');
parts('the array of 12 million as text', 'SELECT max(length(list)) FROM as_text_bq', 24_000_003);
swell({}, '"@@",', '{"v":null},', 11_000_000);
parts('an array of NULLs', 'SELECT max(cardinality(list)) FROM odd_bq', 11_000_001);
odd_rows(4, 2, doc => { wire => '[@@1]' });
for my $with ('1,', '[],', '{},', '{\"a\":1},', 'null,', '\"\",')
{
	swell({}, '@@', $with, int(120_000_000 / length $with));
	parts("a document of $with", 'SELECT count(doc) FROM odd_bq');
}
is(measure('SELECT max(length(doc)) > 50000000 FROM as_text_bq')->{out}, 't',
	'a document as text has no bound on its parts');

# names of fields make a STRUCT many times as long as it came
my $long = 'n' x 290;
$f->query(q(CREATE FOREIGN TABLE named_bq (s text) SERVER bigquery OPTIONS ("table" 'test-project.d.named');
	CREATE FOREIGN TABLE named_jsonb_bq (s jsonb) SERVER bigquery OPTIONS ("table" 'test-project.d.named')));
$bq->table('test-project.d.named', rows => [ map { { s => { wire => [ $_ == 2 ? '@@' : (), { v => { f => [ { v => '1' } ] } } ] } } } 1 .. 3 ],
	schema => [ { name => 's', type => 'RECORD', mode => 'REPEATED', fields => [ { name => $long, type => 'INTEGER' } ] } ]);
swell({}, '"@@",', '{"v":{"f":[{"v":"1"}]}},', 4_000_000);
parts('long names as text', 'SELECT count(s) FROM named_bq');
parts('long names as jsonb', 'SELECT count(s) FROM named_jsonb_bq');

# what a load does with such a value
odd_rows(4, 2, doc => { wire => '[@@1]' });
swell({}, '@@', '{},', 10_000_000);
$got = measure("SELECT status, rows_loaded FROM contratos_run('$day', 'odd', allow_shrink => true)");
is($got->{out}, 'succeeded|4', 'a load goes on without a value of too many parts') or diag($got->{err});
is($f->query('SELECT row_number, column_name, reason FROM contratos_rejects'), "2|doc|$too_much", 'contratos_rejects has the value of too many parts');

# ---- answers

for my $with ('[],', '{},', '1,', '\"\",', '{\"a\":1},')
{
	(my $json = $with) =~ s/\\//g;
	$bq->reset(tables => 0);
	$bq->rule({ kind => 'table_get', times => 0 }, { garbage => '{"a":[@@0]}', swell => { mark => '@@', with => $json, times => int(10_000_000 / length $json) } });
	$got = measure('IMPORT FOREIGN SCHEMA "bigquery-public-data.crypto_ethereum" LIMIT TO (tokens) FROM SERVER bigquery INTO public');
	like($got->{err}, qr/^ERROR:  54000: a JSON document has more than 500000 values$/m,
		"an answer of $json is refused");
	cmp_ok($got->{mb}, '<', $some_mb, "an answer of $json is not parsed: $got->{mb} MB");
}
swell({}, '"kind":"bigquery#getQueryResultsResponse",', '"k":[],', 2_000_000);
$got = endless('many values before the rows', 'SELECT count(body) FROM odd_bq', qr/a JSON document has more than 500000 values/);
cmp_ok($got->{mb}, '<', 2 * $some_mb, 'many values before the rows are not parsed');
swell({}, '"@@",', '[],', 5_000_000, envelope => { x => [ '@@', 0 ] });
$got = measure('SELECT count(body) FROM odd_bq');
is($got->{out}, 4, 'a query ignores values behind the rows');
cmp_ok($got->{mb}, '<', 2 * $some_mb, 'many values behind the rows are not parsed');
swell({}, '"cacheHit":false', '"x":"' . 'x' x 1000 . '",', 17_000);
endless('17 MB beside the rows', 'SELECT count(body) FROM odd_bq', qr/BigQuery's answer has more than 16 MB besides its rows/);

# ---- connections: as many as there are descriptors for

$bq->reset(tables => 0);
$f->day($day, 300);
my $select = "SELECT address FROM bigquery_tokens WHERE block_timestamp >= '$day' AND block_timestamp < '2026-11-21'";
my $rows = $f->query("SET contratos.parallel_pages = 0; $select");
is(scalar(split /\n/, $rows), 300, 'thirty pages are read one after the other');
# as few as the server starts with, which hangs on how many it was given open
$node->append_conf('postgresql.conf', 'contratos.parallel_pages = 16');
$node->stop;
my $files = 64;
do { $node->append_conf('postgresql.conf', 'max_files_per_process = ' . ++$files); } until $node->start(fail_ok => 1) || $files == 120;
$bq->reset(tables => 0);
is($f->query($select), $rows, 'few descriptors: the same rows');
is(scalar($bq->requests('results')), 30, 'few descriptors: each page is asked for once');
$bq->reset(tables => 0);
my $held = $bq->rule({ kind => 'results', start_index => 10 }, { stall => 'before_headers' });
my $session = Contratos::Session->new($node);
$session->send($select);
$bq->wait(rule => $held, state => 'stalled');
cmp_ok(scalar($bq->requests('results')), '<', 16, 'few descriptors: fewer than sixteen pages are under way');
$bq->release($held);
is($session->finish->{out}, $rows, 'few descriptors: all rows are read after a stall');
$session->quit;
is($f->query("SELECT count(*), count(DISTINCT a.address) FROM ($select) a JOIN ($select) b USING (address)") =~ s/\|.*//r, 300, 'few descriptors: two scans of a statement')
	or diag($f->query("SELECT count(*) FROM ($select) a"));
is($f->query("SELECT status, rows_loaded FROM contratos_run('$day')"), 'succeeded|300', 'few descriptors: a load');

$f->stop;
done_testing();
