# Random values of each type, compared with what PostgreSQL's own input functions
# make of the same text.  CONTRATOS_SEED repeats a run.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;
use Contratos::Seed qw(rand);

my $f = Contratos::Fixture->new(init => { extra => [ '--encoding=UTF8', '--no-locale' ] });
my $bq = $f->bq;
my $json = JSON::PP->new->allow_nonref->ascii;
my $values = 500;

# ---- what to choose from

sub any { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }
sub digits { my ($n) = @_; return join '', map { int rand 10 } 1 .. $n; }
sub between { my ($low, $high) = @_; return $low + int rand($high - $low + 1); }

sub integer
{
	my $bits = any(8, 15, 16, 31, 32, 53, 62, 63);
	my $near = 2**$bits;
	return any('', '-') . digits(between(1, 19)) if chance(0.4);
	return any('9223372036854775807', '-9223372036854775808', '9223372036854775808', '-9223372036854775809') if chance(0.1);
	return sprintf('%s%.0f', any('', '-'), $near + between(-2, 2));
}

sub decimal
{
	my ($before, $after) = @_;
	my $text = any('', '-') . (chance(0.3) ? '0' : digits(between(1, $before)));
	$text .= '.' . digits(between(1, $after)) if chance(0.7);
	$text .= '0' x between(0, 3) if $text =~ /[.]/;
	return $text;
}

sub double
{
	return any('NaN', 'Infinity', '-Infinity', '0.0', '-0.0', '1.7976931348623157E308', '4.9E-324') if chance(0.1);
	return unpack('f', pack 'f', rand 1000) if chance(0.2);
	return between(-40_000, 40_000) . '.0' if chance(0.2);
	return any('', '-') . sprintf('%.' . between(0, 16) . 'E', rand(10)) =~ s/E.*//r . 'E' . between(-320, 310);
}

sub date { return sprintf '%04d-%02d-%02d', any(between(1, 9999), between(1950, 2030)), between(1, 12), between(1, 28 + (chance(0.2) ? 4 : 0)); }

sub fraction
{
	return '' if chance(0.3);
	return '.' . digits(between(1, 6));
}
sub clock { return sprintf('%02d:%02d:%02d', between(0, chance(0.05) ? 25 : 23), between(0, 59), between(0, chance(0.05) ? 61 : 59)) . fraction(); }
sub micros { return any(int(rand(253402300799)) . digits(6), '-' . int(rand(62135596799)) . digits(6), between(-86400, 86400) . '000000'); }

sub interval
{
	return sprintf '%s%d-%d %s%d %s%d:%d:%d%s', any('', '-'), between(0, 10000), between(0, 11), any('', '-'), between(0, 3660000),
	  any('', '-'), between(0, 87840000), between(0, 59), between(0, 59), fraction();
}
sub text { return join '', map { any('a', 'Z', ' ', ' ', "\x{e9}", "\x{20ac}", "\x{1f600}", "'", '\\', "\n", '"') } 1 .. between(0, 8); }
sub uuid { my $hex = join '', map { any(0 .. 9, 'a' .. 'f', 'A' .. 'F') } 1 .. (chance(0.1) ? 31 : 32); $hex =~ s/^(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/ if chance(0.7); return $hex; }
sub base64 { my $text = any('encode', 'other') eq 'encode' ? encoded() : join '', map { any('A' .. 'Z', '=', '+', '/') } 1 .. 4; return $text; }

sub encoded
{
	my $bytes = join '', map { chr int rand 256 } 1 .. between(0, 12);
	require MIME::Base64;
	return MIME::Base64::encode_base64($bytes, '');
}

# ---- what they should be: SQL on the text t; NULL where the value is bad

# A number only where the text is one and the type shows it as the same number.
sub number
{
	my ($type) = @_;
	return "CASE WHEN pg_temp.reads(t, '$type') AND t::numeric = t::${type}::text::numeric THEN t::$type END";
}
my $stamp = q(timestamptz 'epoch' + t::numeric::bigint / 1000000 * interval '1 s' + t::numeric::bigint % 1000000 * interval '1 us');
my $clock = q(CASE WHEN pg_temp.reads(t, 'time') AND t::time < '24:00' AND t !~ ':6[0-9]' THEN t::time END);

# A sign of its own for each part is what IntervalStyle postgres needs said.
my $spelled = q(regexp_replace(t, '^(-?)(\d+)-(\d+) (-?\d+) (-?)(.*)$', '\1\2 years \1\3 mons \4 days \5\6')::interval);

my @pairs = (
	[ 'INT64', 'bigint', \&integer, q(CASE WHEN pg_temp.reads(t, 'bigint') THEN t::bigint END) ],
	[ 'INT64', 'integer', \&integer, q(CASE WHEN pg_temp.reads(t, 'integer') THEN t::integer END) ],
	[ 'INT64', 'smallint', \&integer, q(CASE WHEN pg_temp.reads(t, 'smallint') THEN t::smallint END) ],
	[ 'INT64', 'double precision', \&integer, number('double precision') ],
	[ 'INT64', 'real', \&integer, number('real') ],
	[ 'INT64', 'numeric(12,-2)', sub { chance(0.5) ? integer() : any('', '-') . digits(between(1, 11)) . '00' }, q(CASE WHEN pg_temp.reads(t, 'numeric(12,-2)') AND t::numeric(12,-2) = t::numeric THEN t::numeric(12,-2) END) ],
	[ 'NUMERIC', 'numeric', sub { decimal(29, 9) }, 't::numeric' ],
	[ 'NUMERIC', 'numeric(10,2)', sub { decimal(9, 3) }, q(CASE WHEN pg_temp.reads(t, 'numeric(10,2)') AND t::numeric(10,2) = t::numeric THEN t::numeric(10,2) END) ],
	[ 'NUMERIC', 'numeric(3,5)', sub { '0.00' . digits(between(1, 4)) }, q(CASE WHEN pg_temp.reads(t, 'numeric(3,5)') AND t::numeric(3,5) = t::numeric THEN t::numeric(3,5) END) ],
	[ 'NUMERIC', 'bigint', sub { decimal(20, 2) }, q(CASE WHEN pg_temp.reads(t, 'numeric(19,0)') AND t::numeric = trunc(t::numeric) AND pg_temp.reads(trunc(t::numeric)::text, 'bigint') THEN t::numeric::bigint END) ],
	[ 'NUMERIC', 'double precision', sub { decimal(10, 9) }, number('double precision') ],
	[ 'NUMERIC', 'real', sub { decimal(4, 4) }, number('real') ],
	[ 'BIGNUMERIC', 'numeric', sub { decimal(38, 38) }, 't::numeric' ],
	[ 'BIGNUMERIC', 'numeric(76,38)', sub { decimal(38, 39) }, q(CASE WHEN t::numeric = t::numeric(76,38) THEN t::numeric(76,38) END) ],
	[ 'BIGNUMERIC', 'numeric(60,50)', sub { decimal(9, 30) }, 't::numeric(60,50)' ],
	[ 'FLOAT64', 'double precision', \&double, q(CASE WHEN pg_temp.reads(t, 'double precision') THEN t::double precision END) ],
	[ 'FLOAT64', 'real', \&double, q(CASE WHEN pg_temp.reads(t, 'double precision') AND pg_temp.reads(t, 'real') AND t::double precision = t::real::double precision THEN t::real END) ],
	[ 'FLOAT64', 'numeric', \&double, 't::numeric' ],
	[ 'FLOAT64', 'smallint', \&double, q(CASE WHEN t !~ '[NI]' AND t::numeric = trunc(t::numeric) AND abs(t::numeric) < 32768 THEN t::numeric::smallint END) ],
	[ 'BOOL', 'boolean', sub { any(qw(true false TRUE f yes 1 x oN Off)) }, q(CASE WHEN pg_temp.reads(t, 'boolean') THEN t::boolean END) ],
	[ 'DATE', 'date', \&date, q(CASE WHEN pg_temp.reads(t, 'date') THEN t::date END) ],
	[ 'DATE', 'timestamp', \&date, q(CASE WHEN pg_temp.reads(t, 'date') THEN t::date::timestamp END) ],
	[ 'TIME', 'time', \&clock, $clock ],
	[ 'TIME', 'time(2)', \&clock, "CASE WHEN ($clock)::time(2) = ($clock) THEN ($clock)::time(2) END" ],
	[ 'DATETIME', 'timestamp', sub { date() . any('T', ' ') . clock() }, q(CASE WHEN pg_temp.reads(t, 'timestamp') AND t !~ ':6[0-9]|[T ]24:' THEN t::timestamp END) ],
	[ 'DATETIME', 'timestamp(1)', sub { date() . 'T' . clock() }, q(CASE WHEN pg_temp.reads(t, 'timestamp') AND t !~ ':6[0-9]|[T ]24:' AND t::timestamp = t::timestamp(1) THEN t::timestamp(1) END) ],
	[ 'DATETIME', 'date', sub { date() . 'T' . any('00:00:00', '00:00:00.000', '00:00:01') }, q(CASE WHEN pg_temp.reads(t, 'timestamp') AND t ~ '0[.0]*$' THEN t::timestamp::date END) ],
	[ 'TIMESTAMP', 'timestamptz', \&micros, $stamp ],
	[ 'TIMESTAMP', 'timestamptz(3)', \&micros, "CASE WHEN ($stamp)::timestamptz(3) = $stamp THEN ($stamp)::timestamptz(3) END" ],
	[ 'TIMESTAMP', 'timestamp', \&micros, "($stamp) AT TIME ZONE 'UTC'" ],
	[ 'TIMESTAMP', 'date', \&micros, "(($stamp) AT TIME ZONE 'UTC')::date" ],
	[ 'INTERVAL', 'interval', \&interval, $spelled ],
	[ 'INTERVAL', 'interval(2)', \&interval, "CASE WHEN ($spelled)::interval(2)::text = ($spelled)::text THEN ($spelled)::interval(2) END" ],
	[ 'BYTES', 'bytea', \&base64, q(CASE WHEN pg_temp.decodes(t) AND encode(decode(t, 'base64'), 'base64') = t THEN decode(t, 'base64') END) ],
	[ 'STRING', 'text', \&text, 't' ],
	[ 'STRING', 'varchar(5)', \&text, 'CASE WHEN length(t) <= 5 THEN t::varchar(5) END' ],
	[ 'STRING', 'char(5)', \&text, 'CASE WHEN length(t) <= 5 THEN t::char(5) END' ],
	[ 'STRING', 'uuid', \&uuid, q(CASE WHEN pg_temp.reads(t, 'uuid') THEN t::uuid END) ],
	[ 'STRING', 'double precision', sub { any(\&double, \&integer, sub { decimal(10, 15) })->() }, q(CASE WHEN t ~ '[NI]' THEN t::double precision ELSE ) . number('double precision') . ' END' ],
	[ 'STRING', 'inet', sub { join('.', map { between(0, 260) } 1 .. 4) . any('', '/' . between(0, 33)) }, q(CASE WHEN pg_temp.reads(t, 'inet') THEN t::inet END) ],
);

# ---- both, compared

$f->query('SELECT contratos_setup()');
my @columns = map { "c$_" } 0 .. $#pairs;
my @rows = map { my $n = $_; [ $n, map { '' . $_->[2]->() } @pairs ] } 1 .. $values;
Contratos::Seed::note_cases(map { @$_ } @rows);
$bq->table(
	'my-data.things.r',
	schema => [ { name => 'n', type => 'INT64' }, map { { name => "c$_", type => $pairs[$_][0] } } 0 .. $#pairs ],
	rows => [ map { my ($n, @cells) = @$_; [ $n, map { { wire => $_ } } @cells ] } @rows ]);
my $list = join ', ', 'n bigint', map { "c$_ $pairs[$_][1]" } 0 .. $#pairs;
$f->query(qq(CREATE FOREIGN TABLE remote ($list) SERVER bigquery OPTIONS ("table" 'my-data.things.r', on_bad_value 'null');
	SET TimeZone = 'America/Sao_Paulo'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard';
	CREATE TABLE held AS SELECT * FROM remote));

(my $given = $json->encode(\@rows)) =~ s/'/''/g;
my $tools = q(SET TimeZone = 'UTC';
	CREATE FUNCTION pg_temp.reads(t text, type text) RETURNS bool LANGUAGE plpgsql AS $$
	BEGIN EXECUTE format('SELECT %L::%s', t, type); RETURN true; EXCEPTION WHEN data_exception THEN RETURN false; END $$;
	CREATE FUNCTION pg_temp.decodes(t text) RETURNS bool LANGUAGE plpgsql AS $$
	BEGIN PERFORM decode(t, 'base64'); RETURN true; EXCEPTION WHEN data_exception THEN RETURN false; END $$;);
$f->query("CREATE TABLE given AS SELECT (r->>0)::bigint AS n, r FROM jsonb_array_elements('$given') r");
for my $i (0 .. $#pairs)
{
	my ($remote, $local, undef, $expected) = @{ $pairs[$i] };
	my $name = "$remote as $local";
	# as text: interval and char(n) call different values equal
	my $shown = $local =~ /^char/ ? q(format('%s', x)) : 'x::text';
	my ($held, $want) = map { my $x = $_; $shown =~ s/\bx\b/$x/r } 'h', 'w';
	my $wrong = $f->query(
		qq($tools SELECT to_json(t), coalesce(to_json($held)::text, 'bad') || ' not ' || coalesce(to_json($want)::text, 'bad')
		   FROM (SELECT t, h, $expected AS w FROM (SELECT r->>(@{[ $i + 1 ]}) AS t, c$i AS h FROM given JOIN held USING (n) OFFSET 0) a OFFSET 0) b
		   WHERE $held IS DISTINCT FROM $want LIMIT 5));
	is($wrong, '', "$name: equal to what PostgreSQL reads");
	cmp_ok($f->query("SELECT count(c$i) FROM held"), '>', 0, "$name: some values are held");
}

$f->stop;
done_testing();
