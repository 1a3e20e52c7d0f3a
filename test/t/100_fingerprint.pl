# The fingerprint of a day, and what the ledger keeps for a recheck besides: the
# same however the rows came, of what BigQuery sent and not of what the target
# made of it.  Whether it is the right one, the emulator judges too.
use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fingerprint qw(computed own_fingerprint own_query token_columns);
use Contratos::Fixture;
use Contratos::Standin;

my $f = Contratos::Fixture->new;
my $bq = $f->bq;
my @tokens = token_columns();
my $day = q(block_timestamp >= '2026-11-20Z' AND block_timestamp < '2026-11-21Z');

# The same data, for questions of our own: it wants no token.
my $there = Contratos::Standin->start(dense_ends => '2026-11-20', anonymous => 1);

sub ask_there
{
	my ($query) = @_;
	my $answer = HTTP::Tiny->new->post(
		$there->url . '/bigquery/v2/projects/test-project/queries',
		{
			headers => { 'Content-Type' => 'application/json' },
			content => encode_json({
				query => $query, useLegacySql => JSON::PP::false, location => 'US', parameterMode => 'NAMED',
				formatOptions => { useInt64Timestamp => JSON::PP::true },
				queryParameters => [
					map { { name => "p$_", parameterType => { type => 'TIMESTAMP' },
						parameterValue => { value => '2026-11-' . (19 + $_) . ' 00:00:00+00:00' } } } $query =~ /\@p([12])/g
				],
			})
		});
	die "$answer->{status} $answer->{content}" unless $answer->{success};
	return map { [ map { $_->{v} } @{ $_->{f} } ] } @{ decode_json($answer->{content})->{rows} // [] };
}

my $own_query = own_query($there->tokens, 'block_timestamp', \@tokens, window => 1);
sub day_there { return join '|', (ask_there($own_query))[0]->@*; }

# The same of the last run in the ledger.
my $last = 'FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1';
my $here = "SELECT rows_loaded, (extract(epoch FROM source_max_timestamp) * 1000000)::bigint, fingerprint $last";

# ---- a day

my $columns = join ', ', map { (split /:/)[0] } @tokens;
my @rows = ask_there("SELECT $columns FROM `" . $there->tokens . q(` WHERE `block_timestamp` >= @p1 AND `block_timestamp` < @p2));
my $expected = computed(\@tokens, @rows);
$f->query('SELECT contratos_run()');
my $told = $f->query($here);
is($told, day_there(), 'the ledger has the fingerprint that BigQuery computes');
is((split /\|/, $told)[2], $expected, 'the ledger has the fingerprint that Perl computes');
is($f->query("SELECT target_rows = rows_loaded, target_max_timestamp = source_max_timestamp $last"),
	't|t', 'the ledger has the rows and last timestamp of the target');

# ---- however the rows come

sub unchanged
{
	my ($name) = @_;
	is($f->query($here), $told, "the fingerprint is the same $name");
	$bq->reset(tables => 0);
	return;
}

$f->query('SET contratos.page_rows = 10; SELECT contratos_run()');
unchanged('in small pages');
$bq->rule({ kind => 'results', start_index => 20 }, { truncate_rows => 3 });
$bq->rule({ kind => 'results', start_index => 23 }, { close => { after_bytes => 2000 } });
$f->query('SET contratos.page_rows = 10; SELECT contratos_run()');
is(scalar(grep { $_->{fired} } $bq->rules), 2, 'two pages have been cut');
unchanged('in pages that break off');
$f->query('SELECT contratos_backfill(1)');
unchanged('in a backfill');
$f->query('CREATE TABLE copy (address text); CREATE RULE also AS ON INSERT TO tokens DO ALSO INSERT INTO copy VALUES (NEW.address);
	SELECT contratos_run(); DROP RULE also ON tokens');
unchanged('when a rule reads them a second time');
$f->query('CREATE RULE joined AS ON INSERT TO tokens DO ALSO
		INSERT INTO copy SELECT b.address FROM generate_series(1, 2) g LEFT JOIN LATERAL (SELECT NEW.address, g) b ON true;
	SET enable_material = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
	SELECT contratos_run(); DROP RULE joined ON tokens');
unchanged('when a rule joins them');
# the planner believes in one row: for each of the two the load's own scan starts over
$f->query('CREATE TABLE two AS SELECT 1 AS n; ANALYZE two; INSERT INTO two VALUES (2); TRUNCATE copy;
	CREATE RULE instead AS ON INSERT TO tokens DO INSTEAD INSERT INTO copy SELECT NEW.address FROM two;
	SET enable_material = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
	SELECT contratos_run(); DROP RULE instead ON tokens');
is($f->query('SELECT count(*) FROM copy'), 2 * @rows, 'a rule reads the rows twice in one scan');
is(scalar($bq->requests('results')), 2, 'a rule that reads the rows twice asks for results twice');
unchanged('when a rule reads them again and again');

# ---- of what came, not of what is kept

$f->query(q(CREATE FUNCTION filter() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF NEW.block_timestamp >= '2026-11-20 12:00Z' THEN RETURN NULL; END IF;
	NEW.name := 'another'; RETURN NEW; END $$;
	CREATE TRIGGER filter BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION filter();
	SELECT contratos_run()));
unchanged('with a trigger that takes some rows and changes others');
is( $f->query("SELECT target_rows, target_max_timestamp $last"),
	$f->query("SELECT count(*), max(block_timestamp) FROM tokens WHERE $day"),
	'target_rows is measured in the target');
isnt($f->query("SELECT target_rows = rows_loaded $last"), 't',
	'target_rows is less than rows_loaded behind a row trigger');
$f->query('DROP TRIGGER filter ON tokens');
$f->query(q(CREATE FUNCTION thin_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	DELETE FROM public.tokens WHERE block_timestamp >= '2026-11-20 18:00Z'; RETURN NULL; END $$;
	CREATE TRIGGER thin_out AFTER INSERT ON tokens FOR EACH STATEMENT EXECUTE FUNCTION thin_out();
	SELECT contratos_run()));
is( $f->query("SELECT target_rows, target_max_timestamp $last"),
	$f->query("SELECT count(*), max(block_timestamp) FROM tokens WHERE $day"),
	'target_rows is measured behind a statement trigger');
isnt($f->query("SELECT target_rows = rows_loaded $last"), 't',
	'target_rows is less than rows_loaded behind a statement trigger');
$f->query('DROP TRIGGER thin_out ON tokens');

my $row = $f->row(name => "a\0b", symbol => '', decimals => '018', total_supply => 'no number');
for my $server ($bq, $there)
{
	$server->delete_day(undef, '2026-11-20');
	$server->table(undef, append => 1, rows => [$row]);
}
$f->query(q(SELECT contratos_run(allow_shrink => true)));
is($f->query($here), day_there(), 'altered values have the fingerprint that BigQuery computes');
is($f->query("SELECT values_altered $last"), 2, 'the altered values are counted');

# ---- without rows, without success

$_->delete_day(undef, '2026-11-20') for $bq, $there;
is_deeply([ ask_there($own_query) ], [ [ '0', undef, '0:0' ] ], 'an empty day in BigQuery has an empty fingerprint');
$f->query(q(UPDATE contratos_sources SET allow_empty = true; SELECT contratos_run(allow_shrink => true)));
is($f->query("SELECT rows_loaded, source_max_timestamp, fingerprint, target_rows, target_max_timestamp $last"),
	'0||0:0|0|', 'an empty day in the ledger has an empty fingerprint');
$f->query(q(UPDATE contratos_sources SET allow_empty = false; SELECT contratos_backfill(1)));
is($f->query("SELECT status, fingerprint, target_rows, target_max_timestamp $last"), 'refused|||', 'a refused day has no fingerprint');

# ---- other tables

my @columns = qw(s:STRING i:INT64 t:TIMESTAMP d:DATE b:BOOL x:BYTES n:NUMERIC f:FLOAT64 select:STRING);
my $things = 'test-project.own.things';
my %content = (
	schema => [ map { /(.*):(.*)/; { name => $1, type => $2 } } @columns ],
	rows => [
		[ "\x{e9}", -1, '1969-12-31 23:59:59.999999+00', '2026-11-20', JSON::PP::true, '/wA=', '-1.5', '0.5', 'q' ],
		[ '', 0, '9999-12-31 23:59:59.999999+00', '0001-01-01', JSON::PP::false, '', '100', '-1', '' ], [ (undef) x 9 ]
	]);
$_->table($things, %content) for $bq, $there;
my @all = ask_there("SELECT * FROM `$things`");
my $own = own_fingerprint(\@columns, @all);
is($own, computed(\@columns, @all), 'C and Perl agree on the fingerprint of every covered type');
is_deeply([ ask_there(own_query($things, 't', \@columns)) ], [ [ 3, '253402300799999999', $own ] ],
	'the stand-in agrees on the fingerprint of every covered type');

# a snapshot, and a column of a type that no option says
$f->query(qq(
	CREATE FOREIGN TABLE things (s text, i bigint OPTIONS (type 'INT64'), t timestamptz, q text OPTIONS (name 'select'))
		SERVER bigquery OPTIONS ("table" '$things');
	CREATE TABLE local (s text, i bigint, t text, q text);
	INSERT INTO contratos_sources (name, remote_table, target_table, snapshot) VALUES ('things', 'things', 'local', true);
	SELECT contratos_run(source => 'things')));
my @some = @columns[ 0 .. 2, 8 ];
is($f->query("SELECT fingerprint $last"), own_fingerprint(\@some, map { [ @$_[ 0 .. 2, 8 ] ] } @all), 'a full-table source has its fingerprint');
is_deeply([ ask_there(own_query($things, undef, \@some)) ],
	[ [ 3, undef, $f->query("SELECT fingerprint $last") ] ],
		'a full-table source has the fingerprint that BigQuery computes');
is($f->query("SELECT target_rows, target_max_timestamp $last"), '3|',
	'a full-table source has no last timestamp in the target');

$f->stop;
$there->stop;
done_testing();
