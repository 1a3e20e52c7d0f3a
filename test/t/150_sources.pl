# Sources whose day is cut by a DATETIME, a DATE, the time of ingestion, or not
# at all: the window on each side, what the ledger has of it, and rechecks.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

# whoever set the cluster's and a role's time zone must not matter
my $f = Contratos::Worker->new(conf => "timezone = 'America/Sao_Paulo'\ncontratos.page_rows = 2");
my $bq = $f->bq;
my $project = 'test-project.shop';

# A table there with rows, its foreign table and target here, and a source.
# columns: name => [type there, type here]
sub source
{
	my ($name, $timestamp, $columns, $rows, %more) = @_;
	my (@fields, @local, @target);
	for my $column (@$columns)
	{
		my ($field, $remote, $local) = @$column;
		my $option = $column->[3] // $field;
		push @fields, { name => $option, type => $remote } unless $option =~ /^_/;
		push @local, "$field $local OPTIONS (name '$option', type '$remote')";
		push @target, "$field $local";
	}
	$bq->table("$project.$name", schema => \@fields, rows => $rows, %{ $more{remote} || {} });
	my $local = join ', ', @local;
	my $target = $more{target} // join ', ', @target;
	my $options = join '', map { ", $_ '$more{options}{$_}'" } sort keys %{ $more{options} || {} };
	$f->query(
		qq(CREATE SCHEMA IF NOT EXISTS shop;
		   CREATE FOREIGN TABLE shop.bq_$name ($local) SERVER bigquery OPTIONS ("table" '$project.$name'$options);
		   CREATE TABLE shop.$name ($target);
		   INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, snapshot, start_date, enabled, catchup_days)
			   VALUES ('$name', 'shop.bq_$name', 'shop.$name', @{[ defined $timestamp ? "'$timestamp', false" : 'NULL, true' ]}, '2026-11-20', false, 0)));
	return;
}

sub run { return $f->query("SET TimeZone = '$_[2]'; SELECT status, rows_loaded, rows_replaced FROM contratos_run('$_[1]', '$_[0]')"); }

# the parameters of the last job
sub asked
{
	my ($request) = ($bq->requests('insert'))[-1];
	my $query = $request->{body}{configuration}{query};
	return join ' ', map { "$_->{parameterType}{type} $_->{parameterValue}{value}" } @{ $query->{queryParameters} };
}

sub text { return ($bq->requests('insert'))[-1]{body}{configuration}{query}{query}; }

sub maxima
{
	return $f->query(
		qq(SET TimeZone = 'UTC'; SELECT source_max_timestamp, target_max_timestamp, target_rows FROM contratos_runs
		   WHERE source = '$_[0]' AND status = 'succeeded' ORDER BY id DESC LIMIT 1));
}

# Let the worker recheck the source's last day, six hours later each time.
my $hour = 8;
my $date = '2026-11-21';

sub recheck
{
	my ($name) = @_;
	$f->query("UPDATE contratos_runs SET confirmed_at = NULL; UPDATE contratos_sources SET enabled = (name = '$name')");
	$hour += 6;
	($hour, $date) = ($hour - 24, '2026-11-22') if $hour >= 24;
	ok($f->at(sprintf '%s %02d:00', $date, $hour), "the worker rechecks $name");
	$f->query("UPDATE contratos_sources SET enabled = false");
	return $f->query(qq(SELECT cause || ' ' || status FROM contratos_runs WHERE source = '$name' AND cause IN ('recheck', 'reload') ORDER BY id DESC LIMIT 1));
}

# ---- DATETIME: no zone at all; a day is what its text says

source(
	'orders', 'at',
	[ [qw(id INT64 bigint)], [ 'at', 'DATETIME', 'timestamp' ], [qw(what STRING text)] ],
	[
		[ 1, '2026-11-19T23:59:59.999999', 'before' ], [ 2, '2026-11-20T00:00:00', 'first' ],
		[ 3, '2026-11-20T12:00:00.5', 'noon' ], [ 4, '2026-11-20T23:59:59.999999', 'last' ], [ 5, '2026-11-21T00:00:00', 'after' ]
	]);
is(run('orders', '2026-11-20', 'Asia/Tokyo'), 'succeeded|3|0', 'a day by DATETIME is loaded');
is(asked(), 'DATETIME 2026-11-20 00:00:00.000000 DATETIME 2026-11-21 00:00:00.000000',
	'a day by DATETIME is asked for by DATETIME');
is($f->query('SELECT string_agg(what, $$ $$ ORDER BY at) FROM shop.orders'), 'first noon last',
	'a day by DATETIME is exact to the microsecond');
is(maxima('orders'), '2026-11-20 23:59:59.999999+00|2026-11-20 23:59:59.999999+00|3',
	'a day by DATETIME has its latest in the ledger');
is(run('orders', '2026-11-20', 'America/Los_Angeles'), 'succeeded|3|3',
	'a day by DATETIME is replaced, whatever the time zone');
is(run('orders', '2026-11-19', 'Pacific/Kiritimati'), 'succeeded|1|0', 'another day by DATETIME is loaded');
is($f->query('SELECT count(*) FROM shop.orders'), 4, 'another day by DATETIME replaces nothing');
is(recheck('orders'), 'recheck unchanged', 'a recheck by DATETIME finds the day unchanged');
like(text(), qr/MAX\(`t`\)/, 'a recheck by DATETIME compares the maximum');
$bq->table("$project.orders", append => 1, rows => [ [ 6, '2026-11-20T18:00:00', 'late' ] ]);
is(recheck('orders'), 'reload succeeded', 'a recheck by DATETIME reloads a day with late rows');
is(maxima('orders'), '2026-11-20 23:59:59.999999+00|2026-11-20 23:59:59.999999+00|4',
	'a day by DATETIME has late rows after the recheck');

# ---- DATE

source(
	'sales', 'day',
	[ [ 'day', 'DATE', 'date' ], [qw(amount NUMERIC numeric)] ],
	[ [ '2026-11-18', '1' ], [ '2026-11-19', '2.5' ], [ '2026-11-20', '3' ], [ '2026-11-20', '3' ], [ '2026-11-21', '4' ] ]);
is(run('sales', '2026-11-20', 'Asia/Tokyo'), 'succeeded|2|0', 'a day by DATE is loaded');
is(asked(), 'DATE 2026-11-20 DATE 2026-11-21', 'a day by DATE is asked for by DATE');
is(maxima('sales'), '2026-11-20 00:00:00+00|2026-11-20 00:00:00+00|2', 'a day by DATE has its latest in the ledger');
is(run('sales', '2026-11-20', 'America/Los_Angeles'), 'succeeded|2|2',
	'a day by DATE is replaced, whatever the time zone');
is(run('sales', '2026-11-19', 'UTC'), 'succeeded|1|0', 'another day by DATE is loaded');
is($f->query('SELECT day, count(*), sum(amount) FROM shop.sales GROUP BY 1 ORDER BY 1'), "2026-11-19|1|2.5\n2026-11-20|2|6", 'two days by DATE have their rows');
$f->query(q(DELETE FROM shop.sales WHERE ctid = (SELECT max(ctid) FROM shop.sales WHERE day = '2026-11-20')));
is(recheck('sales'), 'reload succeeded', 'a recheck by DATE reloads a day with rows deleted');
is(recheck('sales'), 'recheck unchanged', 'a recheck by DATE finds a reloaded day unchanged');
like($f->fails(q(SELECT contratos_run('2026-11-17', 'sales'))), qr/ERROR:  55000: BigQuery has no rows of 2026-11-17/,
	'an empty day by DATE is refused');
$f->query(q(UPDATE contratos_sources SET allow_empty = true WHERE name = 'sales'));
is(run('sales', '2026-11-17', 'Asia/Tokyo'), 'succeeded|0|0', 'an empty day by DATE is loaded with allow_empty');
is(maxima('sales'), '||0', 'an empty day by DATE has no latest');

# ---- another type in the target, where it keeps each row in its day

for my $case (
	[ 'a', 'TIMESTAMP', 'timestamptz', 'date' ], [ 'b', 'TIMESTAMP', 'timestamptz', 'timestamp' ],
	[ 'c', 'DATETIME', 'timestamp', 'timestamptz' ], [ 'd', 'DATE', 'date', 'timestamptz' ],
	[ 'e', 'TIMESTAMP', 'timestamptz', 'shop.instant' ])
{
	my ($name, $remote, $local, $target) = @$case;
	my @times = $remote eq 'DATE' ? ('2026-11-19', '2026-11-20') : map { "2026-11-$_" . ($remote eq 'TIMESTAMP' ? '+00:00' : '') }
	  ('19 23:59:59.999999', '20 00:00:00', '20 23:59:59.999999', '21 00:00:00');
	$f->query('DROP DOMAIN IF EXISTS shop.instant; CREATE DOMAIN shop.instant AS timestamptz') if $target =~ /^shop/;
	source($name, 't', [ [ 't', $remote, $local ] ], [ map { [$_] } @times ], target => "t $target");
	my $rows = $remote eq 'DATE' ? 1 : 2;
	is(run($name, '2026-11-20', 'Asia/Tokyo'), "succeeded|$rows|0", "$remote into $target: a day is loaded");
	is(run($name, '2026-11-20', 'America/Los_Angeles'), "succeeded|$rows|$rows",
		"$remote into $target: a day is replaced");
	is(run($name, '2026-11-19', 'Pacific/Kiritimati'), 'succeeded|1|0',
		"$remote into $target: the day before is loaded");
	is(recheck($name), 'recheck unchanged', "$remote into $target: a recheck finds the day unchanged") if $name eq 'a';
}
$f->query('ALTER TABLE shop.b ALTER t TYPE timestamp(0)');
like($f->fails(q(SELECT contratos_run('2026-11-20', 'b'))),
	qr/ERROR:  42804: column "t" of table shop.b rounds a day's last rows into the next day.*DETAIL:  It is timestamp\(0\) without.*HINT:  ALTER TABLE shop.b ALTER COLUMN t TYPE timestamp without time zone;/s,
	'a timestamp column whose type rounds is refused');
$f->query('ALTER TABLE shop.b ALTER t TYPE text');
$bq->reset(tables => 0);
like($f->fails(q(SELECT contratos_run('2026-11-20', 'b'))), qr/ERROR:  42804: column "t" of table shop.b cannot be used as timestamp_column/, 'a timestamp column of type text is refused');
is($f->requests, '', 'a refused type of the timestamp column: BigQuery is not asked');
$f->query('ALTER FOREIGN TABLE shop.bq_b ALTER t TYPE timestamp');
like($f->fails(q(SELECT contratos_run('2026-11-20', 'b'))), qr/ERROR:  42P17: column "t" of foreign table shop.bq_b cannot be used as timestamp_column/,
	'a TIMESTAMP column declared as timestamp is refused');

# ---- ingestion time: pseudo-columns, which a result cannot have by their names

for my $case ([ 'ingested', '_PARTITIONTIME', 'TIMESTAMP', 'timestamptz' ], [ 'ingested_date', '_PARTITIONDATE', 'DATE', 'date' ])
{
	my ($name, $pseudo, $remote, $local) = @$case;
	source(
		$name, 'loaded',
		[ [qw(id INT64 bigint)], [ 'loaded', $remote, $local, $pseudo ] ],
		[ map { { id => $_, _PARTITIONTIME => "2026-11-" . (18 + $_) . " 00:00:00+00:00" } } 1 .. 3 ],
		remote => { time_partitioning => { type => 'DAY' }, require_partition_filter => JSON::PP::true },
		options => { partition_column => 'loaded', require_filter => 'true' });
	is(run($name, '2026-11-20', 'Asia/Tokyo'), 'succeeded|1|0', "a day by $pseudo is loaded");
	like(text(), qr/^SELECT `id`, `$pseudo` AS `pseudo$pseudo` FROM .* WHERE `$pseudo` >= \@p1 AND `$pseudo` < \@p2$/, "a day by $pseudo has an alias in the result");
	is(run($name, '2026-11-20', 'America/Los_Angeles'), 'succeeded|1|1', "a day by $pseudo is replaced");
	is($f->query("SET TimeZone = 'UTC'; SELECT id, loaded FROM shop.$name"), '2|2026-11-20' . ($remote eq 'DATE' ? '' : ' 00:00:00+00'), "a day by $pseudo is in the column that stands for it");
	is(maxima($name), '2026-11-20 00:00:00+00|2026-11-20 00:00:00+00|1',
		"a day by $pseudo has its latest in the ledger");
	is(recheck($name), 'recheck unchanged', "a recheck by $pseudo finds the day unchanged");
	is($f->query("SET TimeZone = 'UTC'; SELECT count(*), max(loaded)::date FROM shop.bq_$name WHERE loaded >= '2026-11-20'"), '2|2026-11-21', "a query by $pseudo has its rows");
}

# ---- a subset of the columns, renamed; rows chosen by the table's owner

source(
	'chosen', 'at',
	[ [ '"Quem é"', 'STRING', 'text', 'customer' ], [ 'at', 'TIMESTAMP', 'timestamptz', 'created' ] ],
	[ map { [ $_ % 2 ? 'odd' : 'even', "2026-11-20 0$_:00:00+00:00", 'x' ] } 1 .. 6 ],
	options => { row_filter => 'customer = \'\'odd\'\' -- and nothing else' },
	remote => { schema => [ { name => 'customer', type => 'STRING' }, { name => 'created', type => 'TIMESTAMP' }, { name => 'unwanted', type => 'STRING' } ] });
is(run('chosen', '2026-11-20', 'UTC'), 'succeeded|3|0', 'a row filter chooses the rows of a load');
unlike(text(), qr/unwanted/, 'columns that are not in the foreign table are not asked for');
is($f->query('SELECT DISTINCT "Quem é" FROM shop.chosen'), 'odd',
	'columns of the foreign table may have other names than in BigQuery');
is(recheck('chosen'), 'recheck unchanged', 'a row filter holds in a recheck');
is($f->query(q(SELECT count(*) FROM shop.bq_chosen WHERE at >= '2026-11-20Z')), 3, 'a row filter holds in a query');

# ---- snapshots: no day at all

source('rates', undef, [ [qw(code STRING text)], [qw(rate NUMERIC numeric)] ], [ map { [ "C$_", "1.$_" ] } 1 .. 20 ]);
is($f->query(q(SELECT status, rows_loaded, rows_replaced FROM contratos_backfill(1, 'rates'))), 'succeeded|20|0', 'a full-table source is loaded whole');
unlike(text(), qr/WHERE/, 'a full-table source has no condition');
is(maxima('rates'), '||20', 'a full-table source has no latest');
$bq->table("$project.rates", append => 1, rows => [ [ 'C21', '2' ] ]);
my ($yesterday) = $f->query('SELECT contratos_yesterday()');
is($f->query(q(SELECT status, rows_loaded, rows_replaced FROM contratos_run(source => 'rates'))), 'succeeded|21|20', 'a full-table source is replaced whole');
like($f->fails(q(SELECT contratos_run('2026-11-18', 'rates'))), qr/ERROR:  22023: source "rates" has only one day to load, $yesterday/, 'contratos_run() of an older day of a full-table source is an error');
like($f->fails(q(SELECT contratos_backfill(2, 'rates'))), qr/ERROR:  22023: source "rates" has only one day/, 'contratos_backfill() of an older day of a full-table source is an error');
like($f->fails(q(SELECT contratos_enqueue('2026-11-18', '2026-11-18', 'rates'))), qr/ERROR:  22023: source "rates" has only one day/, 'contratos_enqueue() of an older day of a full-table source is an error');
is(recheck('rates'), 'recheck unchanged', 'a recheck of a full-table source finds it unchanged');
$bq->table("$project.rates", append => 1, rows => [ [ 'C22', '2' ] ]);
is(recheck('rates'), 'reload succeeded', 'a recheck of a full-table source reloads it');
is($f->query('SELECT count(*) FROM shop.rates'), 22, 'a reloaded full-table source has each row once');

# the guard compares with what would be lost, whatever day it was loaded for
$bq->table("$project.rates", rows => [ [ 'C1', '1' ] ]);
$f->query(q(UPDATE contratos_sources SET enabled = (name = 'rates')));
$f->at('2026-11-23 09:00');
is($f->query(q(SELECT day, cause, status FROM contratos_runs WHERE source = 'rates' AND cause = 'schedule')), '2026-11-22|schedule|refused',
	'a full-table source that has shrunk is refused on the next day');
is($f->query('SELECT count(*) FROM shop.rates'), 22, 'a full-table source that has shrunk keeps its rows');
$f->query(q(UPDATE contratos_sources SET enabled = false));
like($f->fails(q(SELECT contratos_run(source => 'rates'))), qr/ERROR:  55000: 2026-11-22 of source "rates" has shrunk from 22 rows to 1/, 'contratos_run() refuses a full-table source that has shrunk');
is($f->query(q(SELECT status, rows_replaced FROM contratos_run(source => 'rates', allow_shrink => true))), 'succeeded|22', 'allow_shrink loads a full-table source that has shrunk');

# days that the server was down for are gone: there is no catch-up
$f->query(q(UPDATE contratos_sources SET enabled = (name = 'rates'), start_date = '2026-11-01', catchup_days = 31 WHERE name = 'rates'));
$f->at('2026-11-26 09:00');
is($f->query(q(SELECT string_agg(day || ' ' || cause || ' ' || status, ', ' ORDER BY id) FROM contratos_runs WHERE source = 'rates' AND day > '2026-11-22')),
	'2026-11-25 schedule succeeded', 'a full-table source catches up with yesterday only');

# one that was queued when it was yesterday's is not today's
$f->query(
	q(UPDATE contratos_sources SET enabled = false;
	  SELECT contratos_enqueue(contratos_yesterday(), contratos_yesterday(), 'rates', only_missing => false)));
$f->at('2026-11-27 07:00');
$bq->reset(tables => 0);
$f->query(q(UPDATE contratos_sources SET enabled = (name = 'rates'), recheck_days = 0, catchup_days = 0, run_at = '20:00' WHERE name = 'rates'));
ok($f->poll(q(SELECT count(*) = 0 FROM contratos_runs WHERE status IN ('queued', 'running'))), 'a queued day of a full-table source that is not yesterday any more ends');
is($f->query(q(SELECT day, status, sqlstate, error ~ 'has only one day to load, 2026-11-26', next_attempt_at FROM contratos_runs
	WHERE source = 'rates' AND cause = 'queue')), '2026-11-25|failed|22023|t|', 'a queued day of a full-table source that is not yesterday any more fails');
is($f->query(q(SELECT count(*) FROM contratos_runs WHERE source = 'rates' AND day = '2026-11-25' AND status = 'succeeded')), 1, 'a queued day of a full-table source that failed has its one success of before');

$f->stop;
done_testing();
