# Days compared by contratos_verify(): there, here and in the ledger.
use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

# whoever set the time zone must not matter
my $f = Contratos::Fixture->new(standin => { csv => '' }, conf => "timezone = 'America/Sao_Paulo'");
my $bq = $f->bq;

my $counts = 'day, remote_rows, target_rows, ledger_rows, agrees';

sub verify { return $f->query("SET client_min_messages = warning; SET TimeZone = 'UTC'; SELECT $_[1] FROM contratos_verify($_[0])"); }

# a day as "there|here|ledger|agrees"
sub day { return verify("'$_[0]', '$_[0]'" . ($_[1] // ''), $counts) =~ s/^\Q$_[0]\E\|//r; }

sub load { return $f->query("SELECT status FROM contratos_backfill_range('$_[0]', '$_[0]'" . ($_[1] // '') . ', allow_shrink => true)'); }

# so many rows of a day, a second apart from noon on
sub rows { my ($day, $n) = @_; return map { $f->row(address => "0x$_", block_timestamp => sprintf '%s 12:00:%02d+00:00', $day, $_) } 1 .. $n; }

sub there { my ($day, @rows) = @_; $bq->table(undef, replace_day => $day, rows => [@rows]); return; }

# ---- before anything else

like($f->fails(q(SELECT * FROM contratos_verify('2026-11-20', '2026-11-20'))),
	qr/ERROR:  42704: source "tokens" does not exist\n.*contratos_setup\(\)/, 'contratos_verify() without a source is an error');
is($f->query(q(SELECT count(*) FROM pg_foreign_server)), 0, 'contratos_verify() without a source creates nothing');
$f->query('SELECT contratos_setup()');
is(day('2026-11-20'), '0|0||t', 'an empty day on all sides agrees');

# ---- thirty days, one query

for my $number (16 .. 20)
{
	there("2026-11-$number", rows("2026-11-$number", $number));
	load("2026-11-$number");
}
$bq->reset(tables => 0);
is(verify(q('2026-10-22', '2026-11-20'), 'count(*), min(day), max(day), sum(remote_rows), sum(target_rows), sum(ledger_rows), bool_and(agrees)'),
	'30|2026-10-22|2026-11-20|90|90|90|t', 'contratos_verify() compares thirty days, loaded or empty');
is($f->requests, '1 token, 1 insert, 1 results', 'contratos_verify() makes one job');
my ($asked) = $bq->requests('insert');
my $query = $asked->{body}{configuration}{query};
is_deeply([ map { "$_->{parameterType}{type} $_->{parameterValue}{value}" } @{ $query->{queryParameters} } ],
	[ 'TIMESTAMP 2026-10-22 00:00:00.000000+00:00', 'TIMESTAMP 2026-11-21 00:00:00.000000+00:00' ], 'contratos_verify() asks for the window of all days');
is($query->{maximumBytesBilled}, 1 << 30, 'contratos_verify() has the byte cap');
# a BigQuery project may have another default time zone
like($query->{query}, qr/DATE\(`t`, 'UTC'\)/, 'contratos_verify() groups by UTC days');
is(verify(q('2026-11-18', '2026-11-20'), $counts), "2026-11-18|18|18|18|t\n2026-11-19|19|19|19|t\n2026-11-20|20|20|20|t", 'contratos_verify() returns the oldest day first');
is(verify(q('2026-11-18', '2026-11-18'), 'remote_max, target_max, ledger_max'), join('|', ('12:00:18') x 3), 'contratos_verify() has the latest timestamp of each side');
is(verify(q('2026-11-01', '2026-11-01'), 'remote_max, target_max, ledger_max'), '||', 'a day without rows has no latest timestamp');
is(verify(q('2026-11-01', '2026-11-01'), 'remote_max, target_max, ledger_max'), '||', 'a day without rows has no latest timestamp');
is($f->query('SELECT count(*) FROM contratos_runs WHERE NOT only_cost'), 5, 'contratos_verify() writes no attempt to the ledger');

# ---- what differs

$f->query(q(DELETE FROM tokens WHERE address = '0x3' AND block_number = 1 AND block_timestamp < '2026-11-19Z' AND block_timestamp >= '2026-11-18Z'));
is(verify(q('2026-11-17', '2026-11-19'), $counts), "2026-11-17|17|17|17|t\n2026-11-18|18|17|18|f\n2026-11-19|19|19|19|t", 'a row deleted in the target: the day differs');
load('2026-11-18');
is(day('2026-11-18'), '18|18|18|t', 'a row deleted in the target: the day agrees after a load');
$f->query(q(UPDATE tokens SET block_timestamp = '2026-11-18 12:00:19Z' WHERE block_timestamp = '2026-11-18 12:00:18Z'));
is(verify(q('2026-11-18', '2026-11-18'), 'remote_rows = target_rows, remote_max, target_max, agrees'), 't|12:00:18|12:00:19|f', 'a later timestamp in the target: the day differs');
load('2026-11-18');
there('2026-11-18', rows('2026-11-18', 19));
is(day('2026-11-18'), '19|18|18|f', 'a row added in BigQuery: the day differs');
load('2026-11-18');
my @changed = rows('2026-11-18', 19);
$changed[4]{symbol} = 'S';
there('2026-11-18', @changed);
is(day('2026-11-18'), '19|19|19|f', 'a value changed in BigQuery: the day differs');
is(verify(q('2026-11-18', '2026-11-18'), 'remote_max = ledger_max, remote_max = target_max, agrees'), 't|t|f', 'a value changed in BigQuery: the fingerprint alone tells');
load('2026-11-18');
is(day('2026-11-18'), '19|19|19|t', 'a value changed in BigQuery: the day agrees after a load');
$f->query(q(UPDATE contratos_runs SET fingerprint = NULL WHERE day = '2026-11-18'));
is(day('2026-11-18'), '19|19|19|t', 'a load without fingerprint is compared by the rest');
$f->query(q(UPDATE contratos_runs SET target_rows = NULL, target_max_timestamp = NULL WHERE day = '2026-11-18'));
is(day('2026-11-18'), '19|19|19|t', 'a load without target figures: the day agrees by the target\'s rows');
$f->query(q(DELETE FROM tokens WHERE block_timestamp = '2026-11-18 12:00:01Z'));
is(day('2026-11-18'), '19|18|19|f', 'a load without target figures: a row deleted in the target differs');
$f->query(q(DELETE FROM tokens WHERE block_timestamp = '2026-11-17 12:00:01Z'));
there('2026-11-17', (rows('2026-11-17', 17))[ 1 .. 16 ]);
is(day('2026-11-17'), '16|16|17|f', 'rows deleted on both sides: the ledger differs');

# ---- days that were never loaded

there('2026-11-10', rows('2026-11-10', 3));
is(day('2026-11-10'), '3|0||f', 'a day never loaded differs');
$f->query(q(INSERT INTO tokens (address, block_timestamp, block_number, block_hash)
	SELECT '0x' || s, '2026-11-10 12:00Z'::timestamptz + s * interval '1 s', 1, '0xb' FROM generate_series(1, 3) s));
is(day('2026-11-10'), '3|3||t', 'a day never loaded agrees by rows and latest timestamp');
is(verify(q('2026-11-10', '2026-11-10'), 'ledger_max IS NULL, remote_max IS NULL'), 't|f', 'a day never loaded has no ledger values');
$f->query(q(UPDATE tokens SET block_timestamp = '2026-11-10 12:00:04Z' WHERE block_timestamp = '2026-11-10 12:00:03Z'));
is(day('2026-11-10'), '3|3||f', 'a day never loaded differs by its latest timestamp');
$bq->delete_day(undef, '2026-11-10');
is(day('2026-11-10'), '0|3||f', 'a day never loaded differs when only the target has rows');
$f->query(q(DELETE FROM tokens WHERE block_timestamp >= '2026-11-10Z' AND block_timestamp < '2026-11-11Z'));
is($f->query(q(SELECT status FROM contratos_backfill(1, allow_shrink => true); UPDATE contratos_sources SET allow_empty = true)), 'succeeded', 'the last day is loaded with allow_shrink');
load('2026-11-10');
is(day('2026-11-10'), '0|0|0|t', 'a day loaded without rows agrees');

# ---- days are UTC days, to the microsecond

my @edges = ('2026-11-07 23:59:59.999999', '2026-11-08 00:00:00', '2026-11-08 23:59:59.999999', '2026-11-09 00:00:00');
$bq->table(undef, append => 1, rows => [ map { $f->row(block_timestamp => "$_+00:00") } @edges, '1969-12-31 23:59:59.999999', '1970-01-01 00:00:00' ]);
load($_) for '2026-11-07', '2026-11-08', '2026-11-09', '1969-12-31';
is(verify(q('2026-11-06', '2026-11-09'), "$counts, remote_max"),
	"2026-11-06|0|0||t|\n2026-11-07|1|1|1|t|23:59:59.999999\n2026-11-08|2|2|2|t|23:59:59.999999\n2026-11-09|1|1|1|t|00:00:00",
	'days end to the microsecond');
is($f->query(q(SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'; SELECT string_agg(target_rows::text, ' ' ORDER BY day) FROM contratos_verify('2026-11-06', '2026-11-09'))),
	'0 1 2 1', 'days are UTC days under any time zone and date style');
is(verify(q('1969-12-30', '1970-01-01'), "$counts, remote_max"), "1969-12-30|0|0||t|\n1969-12-31|1|1|1|t|23:59:59.999999\n1970-01-01|1|0||f|00:00:00", 'days before 1970 are compared');
is(verify(q('0001-01-01', '0001-01-02'), $counts), "0001-01-01|0|0||t\n0001-01-02|0|0||t",
	'days from 0001-01-01 on are compared');

# ---- a target that keeps fewer rows

$f->query(q(CREATE FUNCTION thin() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	RETURN CASE WHEN NEW.block_timestamp < '2026-11-19 12:00:11Z' THEN NEW END; END $$;
	CREATE TRIGGER thin BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION thin()));
load('2026-11-19');
is(day('2026-11-19'), '19|10|19|t', 'rows that a trigger drops are not a difference');
is(verify(q('2026-11-19', '2026-11-19'), 'remote_max, target_max, ledger_max'), '12:00:19|12:00:10|12:00:19', 'the latest row that a trigger drops is not a difference');
$f->query(q(DELETE FROM tokens WHERE block_timestamp = '2026-11-19 12:00:05Z'));
is(day('2026-11-19'), '19|9|19|f', 'a row deleted behind a trigger is a difference');
$f->query('DROP TRIGGER thin ON tokens');
$f->query(q(CREATE FUNCTION erase(source text, day date) RETURNS void LANGUAGE sql AS $$ DELETE FROM public.tokens WHERE block_timestamp = '2026-11-19 12:00:07Z' $$;
	UPDATE contratos_sources SET after_load = 'public.erase'));
load('2026-11-19');
is(day('2026-11-19'), '19|18|19|t', 'rows that after_load deletes are not a difference');
$f->query('UPDATE contratos_sources SET after_load = NULL');
load('2026-11-19');

# ---- other kinds of days

# A table there with rows, its foreign table and target here, and a source.
sub source
{
	my ($name, $timestamp, $columns, $rows, %more) = @_;
	my @fields = map { { name => $_->[0], type => $_->[1] } } grep { !$_->[3] } @$columns;
	my $local = join ', ', map { "$_->[0] $_->[2] OPTIONS (name '" . ($_->[3] // $_->[0]) . "', type '$_->[1]')" } @$columns;
	my $target = $more{target} // join ', ', map { "$_->[0] $_->[2]" } @$columns;
	my $options = $more{options} // '';
	my $column = defined $timestamp ? "'$timestamp', false" : 'NULL, true';
	$bq->table("test-project.shop.$name", schema => \@fields, rows => $rows, %{ $more{there} || {} });
	$f->query(
		qq(CREATE FOREIGN TABLE bq_$name ($local) SERVER bigquery OPTIONS ("table" 'test-project.shop.$name'$options);
		   CREATE TABLE $name ($target);
		   INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, snapshot, allow_empty)
			   VALUES ('$name', 'bq_$name', '$name', $column, true)));
	return;
}

my @clocks = ('2026-11-18 23:59:59.999999', '2026-11-19 00:00:00', '2026-11-19 23:59:59.999999', '2026-11-20 00:00:00', '2026-11-20 10:00:00');
my @dates = qw(2026-11-18 2026-11-19 2026-11-19 2026-11-20 2026-11-20);
for my $case (
	[ 'datetimes', 'DATETIME', 'timestamp', undef, \@clocks ], [ 'dates', 'DATE', 'date', undef, \@dates ],
	[ 'ingested', 'TIMESTAMP', 'timestamptz', '_PARTITIONTIME' ], [ 'ingested_date', 'DATE', 'date', '_PARTITIONDATE' ],
	[ 'stamps_as_date', 'TIMESTAMP', 'timestamptz', undef, [ map { "$_+00:00" } @clocks ], 'date' ],
	[ 'dates_as_stamp', 'DATE', 'date', undef, \@dates, 'timestamptz' ])
{
	my ($name, $remote, $local, $pseudo, $values, $target) = @$case;
	my @rows = map { { id => $_, $values ? (at => $values->[$_]) : (_PARTITIONTIME => "$dates[$_] 00:00:00+00:00") } } 0 .. $#dates;
	source(
		$name, 'at', [ [qw(id INT64 bigint)], [ 'at', $remote, $local, $pseudo ] ],
		\@rows,
		target => 'id bigint, at ' . ($target // $local),
		$pseudo ? (there => { time_partitioning => { type => 'DAY' }, require_partition_filter => JSON::PP::true }, options => ", partition_column 'at'") : ());
	load($_, ", '$name'") for qw(2026-11-18 2026-11-20);
	$f->query("INSERT INTO $name SELECT id, at FROM bq_$name WHERE at >= '2026-11-19" . ($local eq 'timestamptz' ? 'Z' : '') . "' AND at < '2026-11-20" . ($local eq 'timestamptz' ? 'Z' : '') . "'")
	  if !$target;
	$f->query("SET TimeZone = 'UTC'; INSERT INTO $name SELECT id, at FROM bq_$name WHERE at >= '2026-11-19' AND at < '2026-11-20'") if $target;
	is(verify("'2026-11-17', '2026-11-20', '$name'", $counts),
		"2026-11-17|0|0||t\n2026-11-18|1|1|1|t\n2026-11-19|2|2||t\n2026-11-20|2|2|2|t", "$name: loaded, copied and empty days agree");
	like(($bq->requests('insert'))[-1]{body}{configuration}{query}{query}, qr/TIMESTAMP\(`[^`]*`, 'UTC'\) AS `t`/, "$name: instants are UTC's") if $remote ne 'TIMESTAMP';
	$f->query("DELETE FROM $name WHERE id = 4");
	is(verify("'2026-11-17', '2026-11-20', '$name'", 'string_agg(agrees::text, $$ $$ ORDER BY day)'), 'true true true false', "$name: a day with a row deleted differs");
}

source(
	'chosen', 'at', [ [qw(customer STRING text)], [qw(at TIMESTAMP timestamptz)] ],
	[ map { [ $_ % 2 ? 'odd' : 'even', "2026-11-20 0$_:00:00+00:00", 'x' ] } 1 .. 5 ],
	options => q(, row_filter 'customer = ''odd'' -- and nothing else'),
	there => { schema => [ map { { name => $_, type => $_ eq 'at' ? 'TIMESTAMP' : 'STRING' } } qw(customer at unwanted) ] });
load('2026-11-20', q(, 'chosen'));
is(day('2026-11-20', q(, 'chosen')), '3|3|3|t', 'a row filter chooses the rows that count');
unlike(($bq->requests('insert'))[-1]{body}{configuration}{query}{query}, qr/unwanted/, 'only columns of the foreign table are compared');

# ---- a snapshot

source('rates', undef, [ [qw(code STRING text)], [qw(rate NUMERIC numeric)] ], [ map { [ "C$_", "1.$_" ] } 1 .. 9 ]);
is(day('2026-11-20', q(, 'rates')), '9|0||f', 'a full-table source that was never loaded differs');
load('2026-11-20', q(, 'rates'));
is(day('2026-11-20', q(, 'rates')), '9|9|9|t', 'a full-table source that was loaded agrees');
is(verify(q('2026-11-20', '2026-11-20', 'rates'), 'remote_max, target_max, ledger_max, agrees'), '|||t', 'a full-table source has no latest timestamp');
$bq->table('test-project.shop.rates', rows => [ map { [ "C$_", "2.$_" ] } 1 .. 9 ]);
is(day('2026-11-20', q(, 'rates')), '9|9|9|f', 'a full-table source with other values in BigQuery differs');
$f->query(q(UPDATE contratos_runs SET day = '2026-11-19' WHERE source = 'rates'));
is(day('2026-11-20', q(, 'rates')), '9|9|9|f', 'a full-table source is compared with its newest load, of whatever day');
like($f->fails(q(SELECT * FROM contratos_verify('2026-11-19', '2026-11-20', 'rates'))), qr/ERROR:  22023: source "rates" has only one day to load, 2026-11-20/,
	'an older day of a full-table source is an error');
$bq->table('test-project.shop.rates', rows => []);
$f->query('TRUNCATE rates');
load('2026-11-20', q(, 'rates'));
is(day('2026-11-20', q(, 'rates')), '0|0|0|t', 'an empty full-table source agrees');

# ---- a view that changes the time zone while it is read

$f->query(
	q(CREATE TABLE stored (id bigint, at timestamptz);
	  CREATE FUNCTION moved(at timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('timezone', 'Asia/Tokyo', false); RETURN at; END $$;
	  CREATE VIEW zoned AS SELECT id, moved(at) AS at FROM stored;
	  CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
	  CREATE TRIGGER nothing INSTEAD OF INSERT OR DELETE ON zoned FOR EACH ROW EXECUTE FUNCTION nothing();
	  CREATE FOREIGN TABLE bq_zoned (id bigint, at timestamptz) SERVER bigquery OPTIONS ("table" 'test-project.shop.zoned');
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column) VALUES ('zoned', 'bq_zoned', 'zoned', 'at');
	  INSERT INTO stored VALUES (1, '2026-11-20 23:00Z')));
$bq->table('test-project.shop.zoned', schema => [ { name => 'id', type => 'INT64' }, { name => 'at', type => 'TIMESTAMP' } ],
	rows => [ { id => 1, at => '2026-11-20 23:00:00+00:00' } ]);
my $zoned = q(SELECT agrees FROM contratos_verify('2026-11-20', '2026-11-20', 'zoned'));
like($f->fails($zoned), qr/ERROR:  55000: public\.zoned returned a row of 2026-11-21, outside the requested days 2026-11-20 to 2026-11-20\n/, 'a view that changes the time zone while it is read is an error');
$f->query(q(CREATE OR REPLACE FUNCTION moved(at timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN RETURN at; END'));
is($f->query("SET client_min_messages = warning; $zoned"), 't', 'a view that does not change the time zone agrees');

# ---- where it works

is($f->query(q(SET client_min_messages = warning; BEGIN READ ONLY; SELECT bool_and(agrees) FROM contratos_verify('2026-11-19', '2026-11-20'); COMMIT)), 't', 'contratos_verify() works in a read-only transaction');
is($f->query(q(SET client_min_messages = warning; BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT bool_and(agrees) FROM contratos_verify('2026-11-19', '2026-11-20'); COMMIT)),
	't', 'contratos_verify() works at any isolation level');
is($f->query(q(SET client_min_messages = warning; BEGIN; DELETE FROM tokens WHERE block_timestamp = '2026-11-20 12:00:02Z';
	SELECT agrees FROM contratos_verify('2026-11-20', '2026-11-20'); ROLLBACK; SELECT agrees FROM contratos_verify('2026-11-20', '2026-11-20'))), "f\nt",
	'contratos_verify() sees what its transaction has changed');
is($f->query(q(SET client_min_messages = warning; CREATE ROLE anna; GRANT EXECUTE ON FUNCTION contratos_verify TO anna; SET ROLE anna;
	SELECT agrees FROM contratos_verify('2026-11-20', '2026-11-20'))), 't', 'contratos_verify() works for a role with EXECUTE alone');
like($f->fails(q(CREATE ROLE berta; SET ROLE berta; SELECT * FROM contratos_verify('2026-11-20', '2026-11-20'))),
	qr/ERROR:  42501: permission denied for function contratos_verify/, 'contratos_verify() is not granted to PUBLIC');

# ---- bad arguments

my %wrong = (
	q('2026-11-20', '2026-11-19') => qr/ERROR:  22023: first must not be after last\nHINT:  contratos_verify\(first, last\)/,
	q('2026-11-20', '2026-11-21') => qr/ERROR:  22023: day 2026-11-21 is not over yet/,
	q('-infinity', '2026-11-20') => qr/ERROR:  22023: day is out of range/,
	q('1900-01-01', '2026-11-20') => qr/ERROR:  22023: cannot compare more than 36600 days\nDETAIL:  From first to last there are 46345\./,
	q(NULL, '2026-11-20') => qr/ERROR:  22004: argument "first" must not be null/,
	q('2026-11-20', NULL) => qr/ERROR:  22004: argument "last" must not be null/,
	q('2026-11-20', '2026-11-20', NULL) => qr/ERROR:  22004: argument "source" must not be null/,
	q('2026-11-20', '2026-11-20', 'blocks') => qr/ERROR:  42704: source "blocks" does not exist/,
);
like($f->fails("SELECT * FROM contratos_verify($_)"), $wrong{$_}, "refused: $_") for sort keys %wrong;

# ---- caps, BigQuery's errors, answers that cannot be, cancel

my $one = q(SELECT * FROM contratos_verify('2026-11-19', '2026-11-20'));
$bq->reset(tables => 0);
like($f->fails("LOAD 'contratos'; SET contratos.max_bytes_per_day = '10MB'; $one"), qr/ERROR:  53400: daily byte budget of source "tokens" is exhausted/,
	'max_bytes_per_day that is used up refuses contratos_verify()');
is($f->requests, '', 'max_bytes_per_day that is used up: BigQuery is not asked');
$bq->table(undef, append => 1, rows => [], bytes_processed => 2 << 30);
like($f->fails($one), qr/ERROR:  54000: the query would bill more than the cap of 1073741824 bytes/, 'the byte cap refuses contratos_verify()');
$bq->table(undef, append => 1, rows => [], bytes_processed => 1000);

# days that have no rows, of which BigQuery gives one
sub answers
{
	my (@row) = @_;
	$bq->rule({ kind => 'results' }, { envelope => { totalRows => '1' }, extra_rows => [ \@row ] });
	return $f->fails(q(SELECT * FROM contratos_verify('2026-11-02', '2026-11-03')));
}

my $no_day = qr/ERROR:  HV000: BigQuery returned a row outside the requested days 2026-11-02 to 2026-11-03/;
like(answers(qw(20761 1 1795132800000000 0:0)), $no_day, 'an answer with a day after the last is an error');
like(answers(qw(20758 1 1795132800000000 0:0)), $no_day, 'an answer with a day before the first is an error');
like(answers(undef, qw(1 1795132800000000 0:0)), $no_day, 'an answer without a day is an error');
like(answers(qw(20759 x 1795132800000000 0:0)), qr/ERROR:  HV000: BigQuery's answer to a recheck has no count of rows/, 'an answer without a count is an error');

my $pending = $bq->rule({ kind => 'insert' }, { job_pending => JSON::PP::true });
my $session = $f->begin($one);
$bq->wait(rule => $pending, state => 'answered');
$f->query(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT * FROM contratos_verify%' AND pid <> pg_backend_pid()));
like(($f->finish($session))[2], qr/ERROR:  57014/, 'contratos_verify() can be canceled');
is((grep { $_->{cancel_requested} } $bq->jobs), 1, 'contratos_verify() that is canceled cancels its job');

$bq->alter(undef, drop => ['symbol']);
like($f->fails($one), qr/ERROR:  42703: column "symbol" of foreign table .* is gone from BigQuery.*HINT:  ALTER FOREIGN TABLE/s, 'a column that is gone is named by contratos_verify()');
$bq->drop_table(undef);
like($f->fails($one), qr/ERROR:  42P01: BigQuery: Not found/, 'BigQuery\'s error ends contratos_verify()');

$f->stop;
done_testing();
