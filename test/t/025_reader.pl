# Rows of a large day come from a process beside: the same rows, the same
# fingerprint, the same errors; and a load that does without when it has to.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Session;

# as many rows as ten pages: any day that has more is large
my $f = Contratos::Fixture->new(conf => "contratos.page_rows = 10\ncontratos.min_parallel_load_size = 0");
my $bq = $f->bq;
my $node = $f->node;
my $day = '2026-11-20';
my $run = "SELECT status, rows_loaded FROM contratos_run('$day')";
my $alone = "SET contratos.min_parallel_load_size = -1; $run";

# What a load has left: the rows, and what the ledger says of them.
my $left = q(SELECT md5(string_agg(t::text, E'\n' ORDER BY t::text)),
	(SELECT concat_ws('|', rows_loaded, values_altered, fingerprint, source_max_timestamp, bytes_processed, bytes_billed)
	FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1) FROM tokens t);

sub starts { return join ' ', sort { $a <=> $b } map { $_->{start_index} // 0 } $bq->requests('results'); }
sub tens { return join ' ', map { 10 * $_ } 0 .. $_[0]; }

# Processes that read for a backend; the one told by its title.
sub readers
{
	my ($pid) = @_;
	my @found;
	for my $file (glob '/proc/[0-9]*/cmdline')
	{
		open my $title, '<', $file or next;
		local $/ = undef;
		push @found, $file =~ /(\d+)/ if (<$title> // '') =~ /contratos reader for process $pid\b/;
	}
	return @found;
}

# Polls with a deadline; whether it came true.
sub eventually
{
	my ($check) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	while (!$check->())
	{
		return 0 if time > $until;
		select undef, undef, undef, 0.02;
	}
	return 1;
}

$f->query('SELECT contratos_setup()');
$f->day($day, 120);
$f->query($alone);
my $expected = $f->query($left);
$bq->reset(tables => 0);

# ---- the same, however it is read

like($f->messages("SET client_min_messages = debug1; $run"), qr/rows from 10 on of job \S+ are read by another process/, 'a large day is read by a reader worker');
is($f->query($left), $expected, 'a reader worker makes the same rows, fingerprint and cost');
is(starts(), tens(11), 'a reader worker asks for each page once');
is($f->query('SELECT pages FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1'), 12,
	'pages read by a reader worker are counted');

for my $fault (
	[ 'a refusal',        { status => 503, reason => 'backendError' } ],
	[ 'a broken answer',  { close  => { after_bytes => 700 } } ],
	[ 'a lost answer',    { close  => 'before_headers' } ],
	[ 'a short page',     { truncate_rows => 4 } ],
	[ 'a missing end',    { no_end => JSON::PP::true } ],
	[ 'an expired token', { status => 401, reason => 'authError' } ])
{
	my ($name, $action) = @$fault;
	for my $start (0, 10, 40)
	{
		$bq->reset(tables => 0);
		$bq->rule({ kind => 'results', start_index => $start }, $action);
		is($f->query($run), 'succeeded|120', "$name of the page from row $start: the load succeeds");
		is($f->query($left), $expected, "$name of the page from row $start: the same rows");
	}
}

$f->query('CREATE TABLE copied (address text); CREATE RULE also AS ON INSERT TO tokens DO ALSO INSERT INTO copied VALUES (NEW.address)');
is($f->query($run), 'succeeded|120', 'a target whose DO ALSO rule reads the rows again is loaded');
is($f->query('SELECT count(*), count(DISTINCT address) FROM copied'), '120|120',
	'a DO ALSO rule gets each row of a reader worker once');
is($f->query($left), $expected, 'a fingerprint counts rows that a rule reads again once');
$f->query('DROP TABLE copied CASCADE');

# ---- texts of all kinds, larger than the queue, nested

$f->query("CREATE FOREIGN TABLE odd_bq (a text, n numeric, j jsonb, l bigint[], t timestamptz NOT NULL) SERVER bigquery
	OPTIONS (\"table\" 'test-project.d.odd');
	CREATE TABLE odd (LIKE odd_bq);
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column) VALUES ('odd', 'odd_bq', 'odd', 't')");
my @odd = map { { a => $_ % 3 ? ($_ % 5 ? "row $_ \x{e9}\"\\\n" : '') : undef, n => $_ % 7 ? "0x$_" : "$_.5", j => "{\"k\":[$_]}",
	l => [ map { "$_" } 1 .. $_ % 4 ], t => "$day 00:00:00+00:00" } } 1 .. 60;
$odd[50]{a} = 'x' x 3_000_000;
$odd[59]{a} = 'y' x 1_100_000;
$bq->table('test-project.d.odd', rows => \@odd, schema => [
	{ name => 'a', type => 'STRING' }, { name => 'n', type => 'STRING' }, { name => 'j', type => 'JSON' },
	{ name => 'l', type => 'INTEGER', mode => 'REPEATED' }, { name => 't', type => 'TIMESTAMP' } ]);
my $odd_left = q(SELECT md5(string_agg(o::text, E'\n' ORDER BY o::text)), (SELECT rows_loaded || ' ' || values_altered FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1),
	(SELECT md5(string_agg(concat_ws(':', row_number, column_name, raw_value, reason), ',' ORDER BY row_number, column_name)) FROM contratos_rejects
	WHERE run = (SELECT max(id) FROM contratos_runs WHERE NOT only_cost)) FROM odd o);
$f->query("SET contratos.min_parallel_load_size = -1; SELECT contratos_run('$day', 'odd')");
my $odd_expected = $f->query($odd_left);
like($odd_expected, qr/\|60 52\|/, 'a day with rejects is loaded without a reader worker');
like($f->messages("SET client_min_messages = debug1; SELECT contratos_run('$day', 'odd')"), qr/read by another process/, 'a day with rejects is read by a reader worker');
is($f->query($odd_left), $odd_expected, 'a reader worker makes the same rows and rejects');

# ---- tuples made beside: each type that can be, with what is and what is not as usual

my @wire = (
	[ text => 'STRING', 'text', "caf\x{e9} \x{20ac}", '', 'x' x 126, 'x' x 127, 'x' x 5000, 'x' x 1_100_000, 'y' x 3_000_000, 'z' x 17_000_000, "\x{0}", "a\x{0}b", undef ],
	[ vchar => 'STRING', 'varchar', 'short', '  ', undef, "\x{0}" ],
	[ short => 'STRING', 'varchar(3)', 'abc', "\x{e9}\x{e9}\x{e9}", 'abcd', undef ],
	[ doc => 'JSON', 'text', '{"a": [1, "\u0000"]}', 'null', undef ],
	[ geo => 'GEOGRAPHY', 'text', 'POINT(1 2)', undef ],
	[ big => 'INTEGER', 'bigint', '0', '-1', '9223372036854775807', '-9223372036854775808', '9223372036854775808', ' 1', '', '1.0', undef ],
	[ int => 'INTEGER', 'integer', '0', '-2147483648', '2147483647', '2147483648', 'x', undef ],
	[ count => 'INTEGER', 'numeric', '7', '-0', '10000', undef ],
	[ amount => 'NUMERIC', 'numeric', '0', '0.00', '-12345678.000900', '.5', '5.', '1e3', ' 2 ', 'NaN', '9' x 256, '9' x 257, '0.' . '1' x 63, '0.' . '1' x 64, '-', undef ],
	[ large => 'BIGNUMERIC', 'numeric', '1' x 38 . '.' . '2' x 38, '-0.0001', undef ],
	[ said => 'STRING', 'numeric', '1000000000000000000000000', '0x10', 'Infinity', '1 000', '', "1\x{0}", undef ],
	[ ratio => 'FLOAT', 'double precision', '0.0', '-0.0', '1.7976931348623157E308', '4.9E-324', '1E400', '1E-400', 'NaN', '-Infinity', '0.1', ' 1.5', '1' x 80, '', undef ],
	[ truth => 'BOOLEAN', 'boolean', 'true', 'false', 'TRUE', 't', '', undef ],
	[ born => 'DATE', 'date', '2024-02-29', '0001-01-01', '9999-12-31', '2023-02-29', '2024-1-1', '', undef ],
	[ met => 'TIMESTAMP', 'timestamptz', '0', '-1', '253402300799999999', '-62135596800000000', '9223372036854775807', '1.5', undef ],
	[ local => 'DATETIME', 'timestamp', '2024-01-01T00:00:00', '2024-01-01T23:59:59.999999', '2024-01-01 01:02:03', '2024-01-01T24:00:00', '2024-01-01', '2024-01-01T00:00:00.1234567', undef ],
);
my @odd_ones = (
	[ small => 'INTEGER', 'smallint', '5', '70000', undef ],
	[ list => 'INTEGER', 'bigint[]', undef ],
);

# A table of these columns, and what there is to read of it in rows that have
# something else in one column each.
sub table_of
{
	my ($name, @columns) = @_;
	my @usual = map { { wire => $_->[3] } } @columns;
	my $at = "$day 00:00:00";
	my @rows = ([ "$at+00:00", @usual ]);
	for my $i (0 .. $#columns)
	{
		for my $value (@{ $columns[$i] }[ 3 .. $#{ $columns[$i] } ])
		{
			my @row = @usual;
			$row[$i] = defined $value ? { wire => $value } : undef;
			push @rows, [ sprintf('%s.%06d+00:00', $at, scalar @rows), @row ];
		}
	}
	$bq->table("test-project.d.$name", rows => \@rows, schema => [ { name => 'at', type => 'TIMESTAMP', mode => 'REQUIRED' },
		map { { name => $_->[0], type => $_->[1], $_->[2] =~ /\[\]/ ? (mode => 'REPEATED') : () } } @columns ]);
	my $list = join ', ', map { "$_->[0] $_->[2]" } @columns;
	$f->query(qq(CREATE FOREIGN TABLE ${name}_bq (at timestamptz NOT NULL, gone int, $list) SERVER bigquery OPTIONS ("table" 'test-project.d.$name');
		ALTER FOREIGN TABLE ${name}_bq DROP COLUMN gone;
		CREATE TABLE $name (LIKE ${name}_bq);
		INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column) VALUES ('$name', '${name}_bq', '$name', 'at')));
	return scalar @rows;
}

sub left_of
{
	my ($name) = @_;
	return $odd_left =~ s/FROM odd o/FROM $name o/r =~ s/\(SELECT rows_loaded/(SELECT concat_ws(' ', source_max_timestamp, fingerprint, '') || rows_loaded/r;
}

# Both ways; the result.
sub same_rows
{
	my ($name, $what, $tuples) = @_;
	my $load = "SELECT contratos_run('$day', '$name')";
	$f->query("SET contratos.min_parallel_load_size = -1; $load");
	my $here = $f->query(left_of($name));
	my $messages = $f->messages("SET client_min_messages = debug1; $load");
	like($messages, $tuples ? qr/read by another process, and made tuples/ : qr/read by another process$/m, "$what: read by a reader worker, " . ($tuples ? 'as tuples' : 'as cells'));
	is($f->query(left_of($name)), $here, "$what: the same rows, rejects, fingerprint and last timestamp");
	return $here;
}

my @simple = grep { $_->[0] ne 'short' } @wire;
my $rows = table_of('simple', @simple);
like(same_rows('simple', 'all simple types', 1), qr/2026-11-20 00:00:00\.000\d+\+00 $rows [1-9]/, 'all simple types: some values are altered');
is($f->query('SELECT count(*) FROM simple WHERE length(text) = 5000 AND pg_column_size(text) < 5000'), 1, 'a long text made by a reader worker is compressed');

table_of('limited', grep { $_->[0] =~ /^(?:short|big)$/ } @wire);
same_rows('limited', 'a column with a limit', 0);
table_of('mixed', (grep { $_->[0] =~ /^(?:text|big)$/ } @wire), @odd_ones);
same_rows('mixed', 'a column of another type', 0);

# what stands between the tuple and its table
$f->query('ALTER TABLE simple ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) STORED, ADD COLUMN filled int DEFAULT 3');
same_rows('simple', 'a generated column and a default', 1);
$f->query(q(CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.text := upper(NEW.text); RETURN NEW; END $$;
	CREATE TRIGGER shout BEFORE INSERT ON simple FOR EACH ROW EXECUTE FUNCTION shout()));
like(same_rows('simple', 'a trigger', 1), qr/./, 'a trigger: the load has rows');
is($f->query("SELECT count(*) > 90 AND bool_and(text = upper(text)) FROM simple WHERE text <> ''"), 't', 'a trigger on the target changes tuples of a reader worker');
$f->query(q(CREATE TABLE parts (LIKE simple_bq) PARTITION BY LIST (truth);
	CREATE TABLE parts_f PARTITION OF parts FOR VALUES IN (false);
	CREATE TABLE parts_d (extra int, LIKE simple_bq); ALTER TABLE parts_d DROP COLUMN extra, DROP COLUMN met; ALTER TABLE parts_d ADD COLUMN met timestamptz;
	ALTER TABLE parts ATTACH PARTITION parts_d DEFAULT;
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column) VALUES ('parts', 'simple_bq', 'parts', 'at')));
same_rows('parts', 'partitions, one of another shape', 1);
$f->query('ALTER FOREIGN TABLE simple_bq ALTER COLUMN vchar SET NOT NULL');
my $missing = $f->fails("SELECT contratos_run('$day', 'simple')");
my $missing_here = $f->fails("SET contratos.min_parallel_load_size = -1; SELECT contratos_run('$day', 'simple')");
s/psql:\S+|LOCATION.*//g for $missing, $missing_here;
like($missing, qr/ERROR:  23502: null value in column "vchar" of foreign table "simple_bq"/,
	'a NULL in a NOT NULL column is an error with a reader worker');
is($missing, $missing_here, 'a NULL in a NOT NULL column is the same error without a reader worker');

# the noted value of a day that is a date
$f->query('CREATE FOREIGN TABLE dated_bq (d date, n bigint) SERVER bigquery OPTIONS ("table" $$test-project.d.dated$$); CREATE TABLE dated (n bigint, d date);
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column) VALUES ($$dated$$, $$dated_bq$$, $$dated$$, $$d$$)');
$bq->table('test-project.d.dated', rows => [ map { { d => $day, n => "$_" } } 1 .. 40 ], schema => [ { name => 'd', type => 'DATE' }, { name => 'n', type => 'INTEGER' } ]);
like(same_rows('dated', 'columns in another order, a date', 1), qr/2026-11-20 00:00:00\+00 \S+ 40 0/, 'a date column: the day is the last timestamp');

# a database whose texts are not UTF-8
$f->query(q(CREATE DATABASE western ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0));
$f->use_database('western');
$f->query('CREATE EXTENSION contratos; SELECT contratos_setup()');
table_of('limited', [ a => 'STRING', 'text', "caf\x{e9}", "\x{20ac}" ], [ n => 'INTEGER', 'bigint', map { "$_" } 1 .. 20 ]);
like(same_rows('limited', 'LATIN1', 0), qr/ 23 1/, 'LATIN1: texts of a reader worker are converted') or diag($f->query('SELECT row_number, column_name, raw_value, reason FROM contratos_rejects LIMIT 3'));
table_of('numbers', [ n => 'INTEGER', 'bigint', map { "$_" } 1 .. 20 ]);
same_rows('numbers', 'LATIN1, no text', 1);
$f->use_database('postgres');
$bq->reset(tables => 0);

# ---- errors

my $bad = [ { kind => 'results', start_index => 50, times => 0 }, { status => 403, reason => 'quotaExceeded', message => 'Quota exceeded: too much' } ];
$bq->reset(tables => 0);
$bq->rule(@$bad);
my $error = $f->fails($alone);
like($error, qr/ERROR:  \w{5}: .*Quota exceeded: too much.*It came after row 50 of 120/s, 'a refused page is an error without a reader worker');
$bq->reset(tables => 0);
$bq->rule(@$bad);
my $beside = $f->fails($run);
is(scalar(grep { ($_->{start_index} // 0) == 50 } $bq->requests('results')), 1,
	'a page that was refused to a reader worker is not asked for again');
s/job contratos_\w+|psql:\S+|LOCATION.*//g for $error, $beside;
is($beside, $error, 'a refused page is the same error with a reader worker');
is($f->query($left), $expected =~ s/\|.*//r . '|' . $f->query(q(SELECT concat_ws('|', rows_loaded, values_altered, fingerprint, source_max_timestamp, bytes_processed, bytes_billed) FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1)), 'a refused page leaves the day as it was');
like($f->fails('SELECT contratos_backfill(1)'), qr/Quota exceeded: too much/, 'a backfill ends with an error that every day would meet');
$bq->reset(tables => 0);

# ---- the process ends with the load, whatever it waits for

my $log_at = -s $node->logfile;
for my $way (qw(cancel terminate))
{
	my $session = Contratos::Session->new($node);
	my $pid = $session->pid;
	my $held = $bq->rule({ kind => 'results', start_index => 50 }, { stall => { after_bytes => 300 } });
	$session->send($run);
	$bq->wait(rule => $held, state => 'stalled');
	is(scalar(readers($pid)), 1, "$way: a reader worker waits in the middle of a page");
	is($f->query("SELECT pg_${way}_backend($pid)"), 't', "$way: the load gets the signal");
	$session->finish;
	ok(eventually(sub { !readers($pid) }), "$way: the reader worker is gone while the stall lasts");
	$bq->wait(rule => $held, state => 'closed');
	$bq->reset(tables => 0);
	$session->quit;
}
unlike(slurp_file($node->logfile, $log_at), qr/contratos reader.*(?:FATAL|ERROR|exited with exit code 1)|FATAL: .*background worker/, 'a reader worker that is ended leaves nothing in the log');

# ---- doing without

sub stalled_reader
{
	my ($session) = @_;
	my $held = $bq->rule({ kind => 'results', start_index => 50 }, { stall => { after_bytes => 300 } });
	$session->send("SET client_min_messages = debug1; $run");
	$bq->wait(rule => $held, state => 'stalled');
	return readers($session->pid);
}

my $session = Contratos::Session->new($node);
my ($reader) = stalled_reader($session);
is(kill('TERM', $reader), 1, 'a reader worker is terminated in the middle of a page');
my $answer = $session->finish;
like($answer->{out}, qr/^succeeded\|120$/m, 'a load reads the rest after its reader worker was terminated');
like($answer->{err}, qr/the reader worker ended before its last row/, 'a load reports that its reader worker is gone');
is($f->query($left), $expected, 'a load without its reader worker has the same rows and fingerprint');
$session->quit;
$bq->reset(tables => 0);

$session = Contratos::Session->new($node);
$session->query($alone);
my $tokens = $bq->requests('token');
$bq->rule({ kind => 'token', times => 0 }, { status => 400, body => { error => 'invalid_grant' } });
$answer = $session->query("RESET contratos.min_parallel_load_size; $run");
is($answer->{out}, 'succeeded|120', 'a load whose token is valid succeeds without a reader worker that gets none') or diag($answer->{err});
is($bq->requests('token') - $tokens, 1, 'a reader worker that gets no token asks for one once');
is($f->query($left), $expected, 'a load whose reader worker gets no token has the same rows');
$session->quit;
$bq->reset(tables => 0);

unlike($f->messages("SET client_min_messages = debug1; SET contratos.min_parallel_load_size = 1; $run"), qr/another process/, 'a day smaller than min_parallel_load_size is read without a reader worker');
unlike($f->messages('SET client_min_messages = debug1; SELECT address FROM bigquery_tokens WHERE block_timestamp >= \'2026-11-20 00:00+00\''), qr/another process/, 'a query is read without a reader worker');
is($f->query("SELECT FROM contratos_version(); SELECT boot_val, unit FROM pg_settings WHERE name = 'contratos.min_parallel_load_size'") =~ s/\n//gr, '32|MB', 'min_parallel_load_size is 32 MB by default');
$f->day($day, 10);
$bq->reset(tables => 0);
unlike($f->messages("SET client_min_messages = debug1; SELECT contratos_run('$day', allow_shrink => true)"), qr/another process/, 'a day of one page is read without a reader worker');
is($f->requests, '1 token, 1 insert, 1 results', 'a day of one page takes no more requests');
$f->day($day, 120);

$node->append_conf('postgresql.conf', 'dynamic_shared_memory_type = mmap');
$node->restart;
my $segments = $node->data_dir . '/pg_dynshmem';
chmod 0500, $segments;
my $said = $f->messages("SET client_min_messages = debug1; $run");
chmod 0700, $segments;
like($said, qr/DEBUG: .*all rows are read by this process: could not (?:open|create) shared memory segment/, 'a day is read without a reader worker when there is no shared memory');
unlike($said, qr/WARNING|another process/, 'no shared memory: there is no WARNING');
is($f->query($left), $expected, 'no shared memory: the load has the same rows');

$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
unlike($f->messages("SET client_min_messages = debug1; $run"), qr/another process/, 'a day is read without a reader worker when no worker process is free');
is($f->query($left), $expected, 'no free worker process: the load has the same rows');

done_testing();
