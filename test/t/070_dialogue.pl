# The dialogue with BigQuery: what is asked, and what every kind of bad answer
# leads to.  Each answer is a rule of the stand-in's; what was asked is in its log.

use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Contratos::Session;
use Contratos::Standin;

my $day = '2024-02-29';    # has 67 rows
my $bq = Contratos::Standin->start;
my $node = PostgreSQL::Test::Cluster->new('dialogue');
$node->init;
$node->append_conf(
	'postgresql.conf', qq(
contratos.endpoint = '@{[ $bq->url ]}'
contratos.credentials_file = '@{[ $bq->key_file ]}'
contratos.connect_timeout = '30s'
contratos.request_timeout = '30s'
autovacuum = off
));
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION contratos');
$node->safe_psql('postgres', 'SELECT contratos_setup()');

sub query { return $node->safe_psql('postgres', $_[0]); }

# Load the day with some settings: "succeeded|67", and what came as messages.
sub load
{
	my (%settings) = @_;
	my $set = join '', map { 'SET ' . (/^client/ ? '' : 'contratos.') . "$_ = '$settings{$_}';\n" } sort keys %settings;
	my (undef, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\n$set SELECT status || '|' || rows_loaded FROM contratos_run('$day')");
	return ($out, $err);
}

# Forget log and rules, then make rules: pairs of match and action.
sub rules
{
	my (@pairs) = @_;
	$bq->reset(tables => 0);
	my @numbers;
	while (my ($match, $action) = splice @pairs, 0, 2)
	{
		push @numbers, $bq->rule($match, $action);
	}
	return @numbers;
}

sub count { return scalar($bq->requests($_[0])); }

my $true = JSON::PP::true;

# Every row of the day, as one value (the sample has true duplicates).
sub content { return query(q(SELECT count(*) || ' ' || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM tokens t)); }
my $content;    # as the first load, undisturbed, left it

# Under these rules the day is loaded all the same, whole and once.
sub loads
{
	my ($name, $rules, %settings) = @_;
	rules(@$rules);
	my ($out, $err) = load(%settings);
	is($out, 'succeeded|67', "$name: loaded") or diag($err);
	is(content(), $content, "$name: every row once");
	return $err;
}

# Under these rules the day fails: SQLSTATE, then what the message is like.
sub fails
{
	my ($name, $rules, $state, $like, %settings) = @_;
	rules(@$rules);
	my ($out, $err) = load(%settings);
	like($err, qr/ERROR:  $state: /, "$name: SQLSTATE $state");
	like($err, $_, "$name: says why") for ref $like eq 'ARRAY' ? @$like : $like;
	is($out, '', "$name: no result");
	return $err;
}

# ---- what is asked

rules();
my ($out, $err) = load(page_rows => 30);
is($out, 'succeeded|67', 'a day is loaded');
$content = content();
like($content, qr/^67 /, 'a day is loaded with all its rows');
my ($insert) = $bq->requests('insert');
my $body = $insert->{body};
my $job = $body->{jobReference}{jobId};
my $config = $body->{configuration};
like($job, qr/^contratos_[0-9a-f]{32}$/, 'jobs.insert: a job id of our own');
is_deeply(
	$body->{jobReference},
	{ projectId => 'test-project', jobId => $job, location => 'US' },
	'jobs.insert: project, id and location');
is_deeply([ sort keys %$body ], [qw(configuration jobReference)], 'jobs.insert: nothing else');
ok(ref $config->{query}{useLegacySql} && !$config->{query}{useLegacySql}, 'jobs.insert: useLegacySql is false');
is($config->{query}{maximumBytesBilled}, '1073741824', 'jobs.insert: the byte cap');
is($config->{jobTimeoutMs}, '600000', 'jobs.insert: the job timeout');
is_deeply($config->{labels}, { app => 'contratos', source => 'tokens' }, 'jobs.insert: labels');
is($config->{query}{parameterMode}, 'NAMED', 'jobs.insert: named parameters');
my @parameters = @{ $config->{query}{queryParameters} };
is_deeply([ map { $_->{parameterType}{type} } @parameters ], [qw(TIMESTAMP TIMESTAMP)], 'jobs.insert: parameters of type TIMESTAMP');
my %value = map { $_->{name} => $_->{parameterValue}{value} } @parameters;
my %bound = $config->{query}{query} =~ /`block_timestamp` (>=|<) \@(\w+)/g;
like($value{ $bound{'>='} // '' }, qr/^2024-02-29 00:00:00(?:\.0+)?\+00:00$/, 'jobs.insert: from midnight on');
like($value{ $bound{'<'} // '' }, qr/^2024-03-01 00:00:00(?:\.0+)?\+00:00$/, 'jobs.insert: to the next midnight, exclusive');
unlike($config->{query}{query}, qr/\*|2024|'/, 'the query: no star and no value');
like($config->{query}{query}, qr/SELECT\s+`\w+`(?:,\s*`\w+`){7}\s+FROM/, 'the query: the eight columns');
like($insert->{content_type}, qr{^application/json}, 'jobs.insert: JSON');

# fetched ahead, they arrive in any order
my @pages = sort { $a->{start_index} <=> $b->{start_index} } $bq->requests('results');
is_deeply([ map { $_->{start_index} } @pages ], [ 0, 30, 60 ], 'getQueryResults: page after page');
is(query('SELECT pages FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), 3, 'the ledger counts the pages');
for my $page (@pages)
{
	my $index = $page->{start_index};
	is($page->{job}, $job, "page at $index: job");
	is($page->{query}{location}, 'US', "page at $index: location");
	is($page->{query}{'formatOptions.useInt64Timestamp'}, 'true', "page at $index: timestamps as integers");
	is($page->{query}{maxResults}, 30, "page at $index: maxResults");
	is($page->{query}{prettyPrint}, 'false', "page at $index: no prettyPrint");
	ok(!exists $page->{query}{pageToken}, "page at $index: no page token beside the index");
}
ok(!(grep { $_->{user_agent} !~ /gzip/ || $_->{accept_encoding} !~ /gzip/ } $bq->requests),
	'every request asks for gzip, twice over');
ok(!(grep { $_->{bearer} ne 'ok' } $insert, @pages), 'every request has a token');
is(count('cancel'), 0, 'a load sends no jobs.cancel');
cmp_ok(scalar(keys %{ { map { $_->{connection} => 1 } $bq->requests } }), '<=', 2, 'a load keeps its connections');

# ---- options beat settings, and of byte caps the smallest holds

sub cap_with
{
	my ($setting, $server, $table) = @_;
	query("ALTER SERVER bigquery OPTIONS (ADD max_bytes_billed '$server')");
	query("ALTER FOREIGN TABLE bigquery_tokens OPTIONS (ADD max_bytes_billed '$table')");
	rules();
	load(max_bytes_billed => $setting);
	query('ALTER SERVER bigquery OPTIONS (DROP max_bytes_billed)');
	query('ALTER FOREIGN TABLE bigquery_tokens OPTIONS (DROP max_bytes_billed)');
	return ($bq->requests('insert'))[0]{body}{configuration}{query}{maximumBytesBilled} / 2**20;
}
is(cap_with('1GB', '500MB', '700MB'), 500, 'the smallest byte cap holds: the server\'s');
is(cap_with('1GB', '700MB', '400MB'), 400, 'the smallest byte cap holds: the table\'s');
is(cap_with('300MB', '700MB', '400MB'), 300, 'the smallest byte cap holds: the setting\'s');
is(cap_with('0', '700MB', '800MB'), 700, 'the smallest byte cap holds: the server\'s, when the setting is 0');

query(q(ALTER SERVER bigquery OPTIONS (ADD job_timeout '70s')));
rules();
load(job_timeout => '1min', page_rows => 20);
is(($bq->requests('insert'))[0]{body}{configuration}{jobTimeoutMs}, 70000, 'the server\'s job_timeout beats the setting');
is_deeply([ map { $_->{query}{maxResults} } $bq->requests('results') ], [ (20) x 4 ], 'pages are of page_rows rows');
query('ALTER SERVER bigquery OPTIONS (DROP job_timeout)');

# ---- a lost answer is found again

loads('an answer of jobs.insert that is lost', [ { kind => 'insert' }, { lost_answer => $true } ]);
is(count('insert'), 2, 'a lost answer of jobs.insert: it is asked again under the same ID');
is(scalar($bq->jobs), 1, 'a lost answer of jobs.insert: there is one job');
is(($bq->requests('insert'))[1]{status}, 409, 'a lost answer of jobs.insert: the second answer is 409');

# ---- what passes is asked again

my @debug = (client_min_messages => 'debug1');
my @html = (body => '<html><title>Error</title></html>');

$err = loads(
	'503 with Retry-After',
	[ { kind => 'insert' }, { status => 503, headers => { 'Retry-After' => '1' } } ], @debug);
like($err, qr/attempt 1 failed \(.*\), next in 1000 ms/, 'Retry-After is honored for jobs.insert');
$err = loads(
	'429 with Retry-After, on a page',
	[ { kind => 'results', start_index => 40 }, { status => 429, headers => { 'Retry-After' => '1' } } ],
	page_rows => 40, @debug);
like($err, qr/attempt 1 failed \(.*\), next in 1000 ms/, 'Retry-After is honored for a page');
is(count('insert'), 1, '429 on a page makes no other job');

# an hour from now, as a date: more than there is time for
my @hour = gmtime(time + 3600);
my $date = sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', (qw(Sun Mon Tue Wed Thu Fri Sat))[ $hour[6] ], $hour[3],
  (qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[ $hour[4] ], $hour[5] + 1900, @hour[ 2, 1, 0 ];
fails(
	'Retry-After as a date', [ { kind => 'insert', times => 0 }, { status => 503, headers => { 'Retry-After' => $date } } ],
	'HV000', qr/DETAIL: .*Gave up after 1 attempt in/);
is(count('insert'), 1, 'Retry-After beyond the time left: asked once');

loads(
	'500, 502 and 504 with HTML',
	[   { kind => 'insert' }, { status => 500, @html },
		{ kind => 'results' }, { status => 502, @html },
		{ kind => 'results', start_index => 40 }, { status => 504, @html } ],
	page_rows => 40);
is(count('insert'), 2, '500 with HTML: jobs.insert is asked once more');
is(scalar($bq->jobs), 1, '500 with HTML: there is one job');
loads('rateLimitExceeded', [ { kind => 'insert' }, { reason => 'rateLimitExceeded', status => 403 } ]);
loads('backendError of a request', [ { kind => 'results' }, { reason => 'backendError' } ]);
is(count('insert'), 1, 'backendError of a request makes no other job');
loads('a connection that is cut',
	[ { kind => 'insert' }, { close => 'before_work' }, { kind => 'results' }, { close => 'before_headers' } ]);
loads('a connection that is reset', [ { kind => 'results' }, { close => { after_bytes => 3000, reset => $true } } ]);

# how long: as long as contratos.request_timeout, which the message names
for my $case ([ insert => {} ], [ results => {} ], [ results => { start_index => 40 } ])
{
	my ($kind, $more) = @$case;
	my $name = 'a request that fails and fails: ' . join ' ', $kind, %$more;
	$err = fails($name,
		[ { kind => $kind, times => 0, %$more }, { status => 500, @html, headers => { 'Retry-After' => '1' } } ],
		'HV000', [ qr/500/, qr/request_timeout/ ], request_timeout => '2400ms', page_rows => 40);
	cmp_ok(scalar(grep { ($_->{status} // 0) == 500 } $bq->requests($kind)), '>', 1,
		"$name: it is tried more than once");
	like($err, qr/Gave up after \d+ attempts/, "$name: the error says how many attempts");
}
rules({ kind => 'insert' }, { status => 503, headers => { 'Retry-After' => '5' } });
my ($late, $said) = load();
is($late, 'succeeded|67', 'a request that is answered late');
is(scalar(() = $said =~ /NOTICE: .*no answer from BigQuery yet: BigQuery/g), 1, '… says once that it is waiting, and why');
like($said, qr/HINT: .*Cancel the query.*contratos\.request_timeout/, '… and what can be done');
$err = fails('a server that is slower than request_timeout', [ { kind => 'insert', times => 0 }, { stall => 'before_work' } ],
	'08006', [ qr/no complete answer/, qr/request_timeout/ ], request_timeout => '700ms');
$bq->release;

# ---- what is final is not repeated

my $denied = 'Access Denied: Project test-project: User does not have bigquery.jobs.create permission';
for my $case (
	[ accessDenied => '42501', qr/Access Denied.*HINT: .*roles/s, $denied ],
	[ accessNotConfigured => 'HV000', qr/BigQuery: BigQuery API has not been used.*HINT: .*Enable the BigQuery API/s,
		'BigQuery API has not been used in project 1234 before or it is disabled. Enable it by visiting https://console' ],
	[ notFound => '42P01', qr/Not found.*HINT: .*location/s, 'Not found: Dataset x:y was not found in location US' ],
	[ invalidQuery => '42000', qr/Syntax error.*HINT: .*EXPLAIN/s, 'Syntax error: Unexpected keyword' ],
	[ quotaExceeded => '53400', qr/Quota exceeded.*HINT: .*quota/s, 'Quota exceeded: free query bytes scanned' ],
	[ responseTooLarge => '54000', qr/too large/, 'Response too large to return' ],
	[ billingNotEnabled => 'HV000', qr/billing.*HINT/is, 'Billing has not been enabled for this project' ],
	[ noSuchReason => 'HV000', qr/418.*it went wrong/s, 'it went wrong', 418 ])
{
	my ($reason, $state, $like, $message, $status) = @$case;
	my @status = $status ? (status => $status) : ();
	fails("$reason of a request",
		[ { kind => 'insert', times => 0 }, { reason => $reason, message => $message, @status } ], $state, $like);
	is(count('insert'), 1, "$reason of a request: asked once");
	next if $status;
	fails("$reason of a job",
		[ { kind => 'insert', times => 0 }, { job_error => { reason => $reason, message => $message, at => 'results' } } ],
		$state, $like);
	is(count('insert'), 1, "$reason of a job: one job");
	is(count('cancel'), 0, "$reason of a job: nothing to cancel");
}
fails('a job that fails at once',
	[ { kind => 'insert' }, { job_error => { reason => 'invalidQuery', message => 'Syntax error', at => 'insert' } } ],
	'42000', qr/Syntax error/);
is(count('results'), 0, 'a job that fails at once is not asked for its result');

$bq->table(undef, bytes_processed => 5 * 2**30, append => $true);
fails('too many bytes', [], '54000', [ qr/cap of 1073741824 bytes/, qr/HINT:  Raise contratos\.max_bytes_billed/ ]);
is(count('insert'), 1, 'too many bytes: asked once');
query(q(ALTER SERVER bigquery OPTIONS (ADD max_bytes_billed '200MB')));
fails('too many bytes for an option', [], '54000',
	[ qr/cap of 209715200 bytes/, qr/HINT:  Raise option max_bytes_billed of server/ ]);
query('ALTER SERVER bigquery OPTIONS (DROP max_bytes_billed)');
$bq->reset;

query(q(ALTER SERVER bigquery OPTIONS (ADD location 'EU')));
fails('another location', [], '42P01', [ qr/was not found in location EU/, qr/location/ ]);
is(($bq->requests('insert'))[0]{body}{jobReference}{location}, 'EU', 'another location: the server\'s option is sent');
query('ALTER SERVER bigquery OPTIONS (DROP location)');
fails('a project that is not ours', [], '42501', qr/Access Denied/, project => 'somebody-elses');

# ---- a job that BigQuery lost

for my $case (
	[ jobInternalError => 'results' ],
	[ jobBackendError => 'insert' ],
	[ backendError => 'results' ],
	[ jobRateLimitExceeded => 'insert' ])
{
	my ($reason, $at) = @$case;
	loads("$reason at $at", [ { kind => 'insert' }, { job_error => { reason => $reason, at => $at } } ]);
	my @ids = map { $_->{job} } $bq->jobs;
	ok(@ids == 2 && $ids[0] ne $ids[1], "$reason at $at: a new job under a new id");
}
fails('jobInternalError again and again',
	[ { kind => 'insert', times => 0 }, { job_error => { reason => 'jobInternalError', at => 'insert' } } ], 'HV000',
	qr/made to fail/, job_timeout => '3s');
cmp_ok(scalar($bq->jobs), '>', 1, 'jobInternalError again and again: more than one job');

# ---- a job that takes its time

my ($rule) = rules({ kind => 'insert' }, { job_pending => $true });
my $session = Contratos::Session->new($node);
$session->send(qq(SET contratos.request_timeout = '3s'; SELECT status, rows_loaded FROM contratos_run('$day')));
$bq->wait(kind => 'results', nth => 3, state => 'seen');
ok($session->is_waiting, 'a slow job is waited for');
$bq->release($rule);
is($session->finish->{out}, 'succeeded|67', 'a slow job is waited for longer than request_timeout');
is(count('insert'), 1, 'a slow job is not started again');
is(count('cancel'), 0, 'a slow job is not canceled');
$session->quit;

# The job would go on for ever, as far as its answers tell.
my $unfinished = { kind => 'bigquery#getQueryResultsResponse', jobComplete => JSON::PP::false };
fails('job_timeout', [ { kind => 'results', times => 0 }, { status => 200, body => $unfinished } ],
	'HV000', [ qr/did not finish within 1500 ms/, qr/HINT: .*job_timeout/ ], job_timeout => '1500ms');
is(count('cancel'), 1, 'job_timeout: the job is canceled');
# BigQuery's own limit comes first
fails('a job that BigQuery stops', [ { kind => 'insert' }, { job_pending => $true } ],
	'HV000', [ qr/timed out/, qr/HINT: .*job_timeout/ ], job_timeout => '700ms');

# ---- pages of every shape

loads('pages cut short', [ { kind => 'results', times => 0 }, { truncate_rows => 20 } ]);
loads('pages cut short by bytes', [ { kind => 'results', times => 0 }, { page_bytes => 4000 } ]);
loads('rows before the schema', [ { kind => 'results', times => 0 }, { rows_first => $true } ], page_rows => 40);
loads('chunks', [ { kind => 'results', times => 0 }, { chunked => 7 } ], page_rows => 40);
loads('gzip', [ { kind => 'any', times => 0 }, { gzip => $true } ], page_rows => 40);
loads('gzip in chunks', [ { kind => 'any', times => 0 }, { gzip => $true, chunked => 100 } ]);
loads('unknown fields at any depth',
	[   { kind => 'results', times => 0 },
		{ envelope => { aFirst => { rows => [ { f => [ { v => 'x' } ] } ] }, zLast => [ [], {}, 'rows' ] } } ]);

loads('a page that breaks off in a chunk', [ { kind => 'results', start_index => 0 }, { drop_chunk => 5000 } ],
	page_rows => 40);
loads('a later page that breaks off in a chunk', [ { kind => 'results', start_index => 40 }, { drop_chunk => 5000 } ],
	page_rows => 40);
loads('a page that is cut', [ { kind => 'results', start_index => 40 }, { close => { after_bytes => 4000 } } ],
	page_rows => 40);
my ($again) = grep { $_->{start_index} > 40 } $bq->requests('results');
ok($again, 'a page that is cut is continued at the next row');
loads('a page cut in its gzip',
	[ { kind => 'results', start_index => 40 }, { gzip => $true, close => { after_bytes => 900 } } ], page_rows => 40);
fails('a page that breaks off each time',
	[ { kind => 'results', start_index => 40, times => 0 }, { close => { after_bytes => 0 } } ], '08006',
	[ qr/broke off|ended/, qr/after row 40 of 67/ ], page_rows => 40, request_timeout => '2s');

query('UPDATE contratos_sources SET allow_empty = true');
rules();
is(query(q(SELECT status, rows_loaded FROM contratos_run('2024-06-01'))), 'succeeded|0',
	'a page without the key "rows" is an empty day');
query('UPDATE contratos_sources SET allow_empty = false');

# ---- answers that cannot be trusted

my @second = (kind => 'results', start_index => 40, times => 0);
fails('no rows while more are promised', [ {@second}, { truncate_rows => 0 } ], 'HV000',
	[ qr/ended early/, qr/after row 40 of 67/ ], page_rows => 40);
fails('no key "rows" while more are promised', [ {@second}, { no_rows_key => $true, truncate_rows => 0 } ], 'HV000', qr/ended early/,
	page_rows => 40);
my $row = [ map { "$_" } 1 .. 8 ];
fails('more rows than promised', [ { @second, start_index => 0 }, { extra_rows => [$row] } ], 'HV000',
	qr/more rows than it promised/);
fails('a row that is too short', [ {@second}, { truncate_rows => 3, extra_rows => [ ['x'] ] } ], 'HV000',
	qr/1 values for 8 columns/, page_rows => 40);
fails('no totalRows', [ { kind => 'results', times => 0 }, { envelope => { totalRows => undef } } ], 'HV000',
	qr/how many rows/);
fails('totalRows that is no number', [ { kind => 'results', times => 0 }, { envelope => { totalRows => 'many' } } ], 'HV000',
	qr/how many rows/);
fails('totalRows below 0', [ { kind => 'results', times => 0 }, { envelope => { totalRows => '-1' } } ], 'HV000',
	qr/how many rows/);
fails('no schema', [ { kind => 'results', times => 0 }, { envelope => { schema => undef } } ], '\w{5}', qr/column|schema/i);
fails('a schema of another type', [ { kind => 'results', times => 0 }, { envelope => { schema => 'none' } } ], '\w{5}',
	qr/column|schema/i);
fails('rows that are no rows',
	[ { kind => 'results', times => 0 }, { garbage => '{"schema":{"fields":[]},"totalRows":"3","rows":{"a":1}}' } ],
	'HV000', qr/cannot be read: .* at byte \d+/);

my $page = '<html><body>Sign in to the hotel network</body></html>';
fails('HTML instead of a page', [ { kind => 'results', times => 0 }, { garbage => $page } ], 'HV000',
	[ qr/cannot be read: .* at byte 0/, qr/HINT: .*endpoint/ ]);
fails('HTML instead of a later page', [ {@second}, { garbage => $page } ], 'HV000', qr/at byte 0/, page_rows => 40);
fails(
	'HTML instead of a job', [ { kind => 'insert', times => 0 }, { garbage => $page } ], '\w{5}', qr/JSON|cannot be read/);
fails('a body that is no text', [ { kind => 'results', times => 0 }, { garbage_base64 => '//4AAQ==' } ], 'HV000',
	qr/cannot be read/);
fails('an empty answer', [ { kind => 'insert', times => 0 }, { garbage => '' } ], '\w{5}', qr/JSON|cannot be read|empty/i);
fails('JSON that ends in the middle',
	[ { kind => 'results', times => 0 }, { garbage => '{"jobComplete":true,"totalRows":"67","schema":{"fie' } ], '08006',
	qr/ended in the middle/, request_timeout => '1s');
fails('bytes after the end', [ {@second}, { garbage => '{"rows":[]} {}' } ], 'HV000', qr/cannot be read/, page_rows => 40);

my $elsewhere = $bq->url . '/elsewhere';
fails('a redirect', [ { kind => 'insert', times => 0 }, { redirect => $elsewhere } ], 'HV000',
	[ qr/302/, qr/HINT:  Redirects are not followed/ ]);
is(count('insert'), 1, 'a redirect: asked once');
fails('a redirect of a page', [ {@second}, { redirect => $elsewhere } ], 'HV000', qr/302/, page_rows => 40);
is(count('unknown'), 0, 'a redirect is not followed');
fails('a huge header', [ { kind => 'insert', times => 0 }, { huge_header => 90000 } ], '54000', qr/header/);
is(count('insert'), 1, 'a huge header: asked once');
fails('a header line longer than libcurl keeps', [ { kind => 'insert', times => 0 }, { huge_header => 300000 } ], '54000', qr/header/);
fails('a huge header of a page', [ {@second}, { huge_header => 90000 } ], '54000', qr/header/, page_rows => 40);
fails('a job that is 11 MB long',
	[ { kind => 'insert', times => 0 }, { garbage => '{"kind":"' . 'k' x (11 * 2**20) . '"}' } ], '54000', qr/longer than/);
fails('a job that is 11 MB long, gzipped',
	[ { kind => 'insert', times => 0 }, { gzip => $true, garbage => '{"kind":"' . 'k' x (11 * 2**20) . '"}' } ], '54000',
	qr/longer than/);
fails('a long error text', [ { kind => 'insert', times => 0 }, { reason => 'invalidQuery', message => "\x{e9}" x 100000 } ],
	'42000', qr/BigQuery: \xc3\xa9/);
is(content(), $content, 'the day is unchanged after all failures');

# ---- TLS, and where a request goes

my @ca = (ca_file => $bq->ca_file);
rules();
($out, $err) = load(endpoint => $bq->https_url, @ca);
is($out, 'succeeded|67', 'https with ca_file') or diag($err);
ok(!(grep { !$_->{tls} } $bq->requests('insert'), $bq->requests('results')),
	'https with ca_file: each request is over TLS');
($out, $err) = load(endpoint => $bq->localhost_url, @ca);
is($out, 'succeeded|67', 'https by host name') or diag($err);
fails('https without ca_file', [], '58030', [ qr/certificate/, qr/HINT: .*ca_file/ ], endpoint => $bq->https_url);
is(count('insert'), 0, 'https without ca_file: nothing is sent');
fails('https with another authority', [], '58030', [ qr/certificate/, qr/HINT: .*ca_file/ ], endpoint => $bq->https_url,
	ca_file => $bq->other_ca_file);
fails('a ca_file that is not there', [], '58P01', qr/nowhere/, endpoint => $bq->https_url, ca_file => '/nowhere/ca.pem');
fails('a ca_file that has no certificate', [], 'F0000', qr/certificates/, endpoint => $bq->https_url, ca_file => $bq->key_file);
fails('a host that is percent-encoded', [], '22023', qr/its host must not be percent-encoded/, endpoint => 'https://2130706%3433');
fails('https where http is spoken', [], '58030', qr/TLS/, endpoint => $bq->url =~ s/^http/https/r, request_timeout => '1s',
	@ca);
fails('http where https is spoken', [], '\w{5}', qr/\S/, endpoint => $bq->https_url =~ s/^https/http/r,
	request_timeout => '1s');
for my $url ('http://bigquery.example.com', 'http://10.0.0.1:9050', 'http://127.0.0.1.example.com', 'http://[::2]')
{
	like(join('', load(endpoint => $url)), qr/ERROR:  22023: .*DETAIL|ERROR:  22023: .*https/s, "no plain http to $url");
}
my $closed = PostgreSQL::Test::Cluster::get_free_port();
fails('nobody listens', [], '08001', qr/could not connect to .* port $closed/, endpoint => "http://127.0.0.1:$closed",
	request_timeout => '1s');

# The certificate of the next stand-in is for another name.
sub certificate_for
{
	my ($name) = @_;
	my $certs = $bq->directory . '/certs';
	open my $extensions, '>', "$certs/extensions" or die $!;
	print $extensions "subjectAltName = DNS:$name\n";
	close $extensions;
	system_or_bail('sh', '-c', qq{cd '$certs' && {
		openssl req -new -key server.key -subj /CN=$name -out server.csr
		openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 2 -set_serial 77 -extfile extensions -out server.pem
	} >openssl.log 2>&1});
	$bq->restart;
	return;
}
certificate_for('bigquery.example.com');
fails('a certificate for another name', [], '58030', qr/certificate/, endpoint => $bq->https_url, @ca);
is(count('insert'), 0, 'a certificate for another name: nothing is sent');

# ---- a proxy: it is asked to CONNECT to the name, and leads to the stand-in

my $proxy_log = PostgreSQL::Test::Utils::tempdir . '/proxy_log';
my ($https_port) = $bq->https_url =~ /:(\d+)$/;

# A proxy in a process of its own; with a status it refuses.
sub start_proxy
{
	my ($status) = @_;
	require IO::Socket::INET;
	my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die "proxy: $!";
	my $pid = fork // die "fork: $!";
	if (!$pid)
	{
		$SIG{CHLD} = 'IGNORE';
		# the test's own would stop the server (PostgreSQL 18)
		$SIG{TERM} = 'DEFAULT';
		while (1)
		{
			my $client = $listener->accept or next;
			fork or serve_proxy($client, $status);
		}
	}
	return ($pid, 'http://127.0.0.1:' . $listener->sockport);
}

sub serve_proxy
{
	my ($client, $status) = @_;
	my $head = '';
	$head .= getc($client) // POSIX::_exit(0) until $head =~ /\r\n\r\n\z/;
	open my $log, '>>', $proxy_log or POSIX::_exit(1);
	syswrite $log, $head =~ s/\r\n.*//sr . ($head =~ /authorization/i ? " with a secret\n" : "\n");
	if ($status)
	{
		syswrite $client, "HTTP/1.1 $status No\r\nContent-Length: 0\r\n\r\n";
		POSIX::_exit(0);
	}
	my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $https_port) or POSIX::_exit(1);
	syswrite $client, "HTTP/1.1 200 Connection established\r\n\r\n";
	my %other = (fileno $client => $server, fileno $server => $client);
	my $select = IO::Select->new($client, $server);
	while (1)
	{
		for my $from ($select->can_read)
		{
			sysread($from, my $bytes, 65536) or POSIX::_exit(0);
			syswrite $other{ fileno $from }, $bytes;
		}
	}
}

require IO::Select;
require POSIX;
my ($proxy_pid, $proxy) = start_proxy();
rules();
($out, $err) = load(endpoint => 'https://bigquery.example.com', proxy => $proxy, @ca);
is($out, 'succeeded|67', 'a day is loaded through a proxy') or diag($err);
like(slurp_file($proxy_log), qr/\A(?:CONNECT bigquery\.example\.com:443 HTTP\/1\.1\n)+\z/,
	'a proxy sees the host name and no token');
kill 'TERM', $proxy_pid;
waitpid $proxy_pid, 0;
fails('a proxy that is down', [], '08001', qr/proxy/, endpoint => 'https://bigquery.example.com', proxy => $proxy,
	request_timeout => '1s', @ca);
for my $status (407, 403)
{
	($proxy_pid, $proxy) = start_proxy($status);
	fails("a proxy that says $status", [], '08\w{3}', qr/proxy.*$status/s, endpoint => 'https://bigquery.example.com',
		proxy => $proxy, request_timeout => '1s', @ca);
	kill 'TERM', $proxy_pid;
	waitpid $proxy_pid, 0;
}

# what the environment says about proxies is not for the server
$node->stop;
{
	local $ENV{http_proxy} = $proxy;
	local $ENV{https_proxy} = $proxy;
	local $ENV{ALL_PROXY} = $proxy;
	$node->start;
}
rules();
($out, $err) = load();
is($out, 'succeeded|67', 'a proxy of the environment is not used') or diag($err);

$node->stop;
done_testing();
