# docs/reference.md against a running server, both ways: nothing is documented
# that is not there, and nothing is there that is not documented.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Docs;
use Contratos::Fixture;
use Contratos::Session;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $page = Contratos::Docs->new("$root/docs/reference.md");
my $f = Contratos::Fixture->new(conf => "shared_preload_libraries = 'contratos'");
my $said = Contratos::Docs::messages("$root/src");

# Titles of the sections below a heading of the second level.
sub titles_in
{
	my ($chapter) = @_;
	return map { /^### (.*?)\s*$/ ? $1 =~ tr/`//dr : () } $page->section($chapter);
}

# Of a query a list of rows, each a list of columns.
sub rows { return map { [ split /\t/, $_, -1 ] } split /\n/, $f->query("\\pset fieldsep '\\t'\n$_[0]"); }

# A table's column as one text to be compared.
sub column
{
	my ($name, @rows) = @_;
	return join "\n", map { $_->{$name} } @rows;
}

sub lines { return join "\n", map { join ' ', map { defined && length ? $_ : () } @$_ } @_; }

# ---- limits, by the constants that they are

sub constant
{
	my ($name, $file) = reverse split /:/, $_[0];
	my ($text) = map { slurp_file($_) =~ /^#define $name (.*?)(?: \/\*.*)?$/m ? $1 : () } glob "$root/src/*/" . ($file // '*.[ch]');
	return eval($text =~ s/\b([A-Z]\w+)\b/constant($1)/ger);
}

sub bytes { return constant($_[0]) / 1024 / 1024 . ' MB'; }
sub count { return scalar reverse join ',', reverse(constant($_[0])) =~ /\d{1,3}/g; }

my ($limits) = $page->tables('Limits');
is(column('limit', @$limits), join("\n", (map { bytes($_) } qw(ROWS_MAX_TEXT ROWS_MAX_ROW VALUES_MAX_MEMORY)), count('MESSAGE_MAX_FIELDS'),
		(map { bytes($_) } qw(ROWS_MAX_ENVELOPE request.c:MAX_ANSWER)), (map { count($_) } qw(JSON_MAX_VALUES BIGQUERY_MAX_TABLES)), 'one, and `parallel_pages`'),
	'the limits documented are those of the source');

# ---- functions

my $internal = q(obj_description(p.oid, 'pg_proc') LIKE 'internal:%');
my $functions = qq(pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'contratos' WHERE NOT $internal);
is(join(' ', sort(titles_in('Functions'))), join(' ', map { $_->[0] } rows("SELECT proname FROM $functions ORDER BY proname COLLATE \"C\"")),
	'functions: each is documented, and there are no others');
is($f->query(qq(SELECT string_agg(proname, ' ') FROM pg_proc p WHERE $internal AND proname ~ '^contratos_' AND pronargs > 2)), '', 'functions: internal ones have at most two arguments');

foreach my $function (titles_in('Functions'))
{
	my @tables = $page->tables($function);
	my $of = "pg_proc p WHERE proname = '$function'";
	my ($arguments) = grep { @$_ && exists $_->[0]{argument} } @tables;
	my ($result) = grep { @$_ && exists $_->[0]{column} } @tables;
	my @names = rows(
		qq(SELECT proargnames[i], format_type(proargtypes[i - 1], NULL), replace(pg_get_function_arg_default(p.oid, i), '::text', '')
		   FROM pg_proc p, generate_series(1, pronargs) i WHERE proname = '$function' ORDER BY i));
	is(lines(map { [ @{$_}{qw(argument type default)} ] } @{ $arguments || [] }), lines(@names), "$function: arguments, types, defaults");
	my @columns = rows(
		qq(SELECT proargnames[i], format_type(proallargtypes[i], NULL)
		   FROM pg_proc p, generate_subscripts(proallargtypes, 1) i WHERE proname = '$function' AND proargmodes[i] IN ('t', 'o') ORDER BY i));
	is(lines(map { [ @{$_}{qw(column type)} ] } @{ $result || [] }), lines(@columns), "$function: columns of the result");
	my $text = join '', $page->section($function);
	my ($returns) = $text =~ /^Returns `(\w+)`/m;
	is($returns // 'record', $f->query("SELECT format_type(prorettype, NULL) FROM $of"), "$function: what it returns");
	like($text, @names ? qr/^\| argument/m : qr/^No arguments\./m, "$function: \"No arguments\" where it has none");
	my $public = $f->query("SELECT proacl IS NULL OR EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0) FROM $of") eq 't';
	like($text, $public ? qr/^May be called by: everybody\./m : qr/^May be called by: the owner of the extension, and whom EXECUTE is granted\./m,
		"$function: who may call it");
}

# ---- views and tables

sub relations
{
	my ($kind) = @_;
	return map { $_->[0] } rows(
		qq(SELECT relname FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e' AND d.classid = 'pg_class'::regclass
		   JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'contratos' WHERE relkind = '$kind' AND relname !~ '^_' ORDER BY relname));
}

my @views = grep { $_ eq 'Views' } $page->sections(2);
is(join(' ', sort(map { titles_in($_) } @views)), join(' ', relations('v')), 'views: each is documented, and there are no others');
is(join(' ', sort(titles_in('Tables'))), join(' ', relations('r')), 'tables: each is documented, and there are no others');
foreach my $relation (map { titles_in($_) } @views, 'Tables')
{
	my @documented = $page->table($relation);
	my @columns = rows(
		qq(SELECT attname, format_type(atttypid, atttypmod), coalesce(regexp_replace(pg_get_expr(adbin, adrelid), '::[a-z ]+\$', ''), '')
		   FROM pg_attribute a LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		   WHERE attrelid = '$relation'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum));
	is(lines(map { [ @{$_}{qw(column type)} ] } @documented), lines(map { [ @$_[ 0, 1 ] ] } @columns), "$relation: columns and types");
	is(join("\n", map { $_->{column} } grep { ($_->{''} // '') eq '' } @documented), '', "$relation: says what each column is");
	next unless exists $documented[0]{default};
	is(column('default', @documented), join("\n", map { $_->[2] } @columns), "$relation: defaults");
}
is($f->query("SELECT count(*) FROM unnest(ARRAY[@{[ join ', ', map { \"'$_'\" } relations('v') ]}]::text[]) v WHERE NOT has_table_privilege('pg_monitor', v, 'SELECT')"),
	'0', 'views: pg_monitor may read them');

# ---- values of status and cause, as the table's constraints have them

my %values = map { exists $_->[0]{status} ? (status => $_) : (cause => $_) } $page->tables('Values of status and cause');
foreach my $what (qw(status cause))
{
	my $check = $f->query("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'contratos_runs_${what}_check'");
	is(join(' ', sort(map { $_->{$what} } @{ $values{$what} })), join(' ', sort($check =~ /'(\w+)'/g)), "each $what is documented, and there are no others");
}

# ---- what the checks, the states and the phases are called

my ($checks) = grep { @$_ && exists $_->[0]{check} } $page->tables('contratos_check');
is(join(' ', sort(map { $_->{check} } @$checks)), join(' ', sort(map { $_->[0] } rows('SELECT check_name FROM contratos_check()'))), 'checks: each is documented, and there are no others');

# Words that a view may put into a column.
sub words_of { return $f->query("SELECT pg_get_viewdef('$_[0]'::regclass)") =~ /(?:THEN|ELSE) '(\w+)'/g; }
my ($states) = grep { @$_ && exists $_->[0]{state} } $page->tables('contratos_days');
# an open attempt gives its own status
my %states = map { $_ => 1 } words_of('_contratos_days'), qw(queued running waiting);
is(join(' ', sort(map { $_->{state} } @$states)), join(' ', sort keys %states), 'states: each is documented, and there are no others');
my ($phase) = grep { $_->{column} eq 'phase' } $page->table('contratos_progress');
is(join(' ', sort($phase->{''} =~ /`(\w+)`/g)), join(' ', sort(words_of('contratos_progress'))), 'phases: each is documented, and there are no others');

# ---- settings

my %unit = (B => 1, kB => 2**10, MB => 2**20, GB => 2**30, TB => 2**40, ms => 1, s => 1e3, min => 6e4, h => 3.6e6, d => 8.64e7);

# A number in a setting's own unit.
sub in_unit
{
	my ($text, $unit) = @_;
	return $text unless $unit && $text =~ /^(-?[\d.]+)([a-zA-Z]+)$/;
	return $1 * $unit{$2} / $unit{$unit};
}

my %who = (superuser => 'superuser', everybody => 'user', configuration => 'sighup');
my @settings = $page->table('Settings');
my %known = map { $_->[0] => $_ } rows(
	q(SELECT name, coalesce(boot_val, ''), coalesce(unit, ''), context, coalesce(min_val, ''), coalesce(max_val, '')
	  FROM pg_settings WHERE name LIKE 'contratos.%'));
is(join("\n", sort(map { $_->{setting} } @settings)), join("\n", sort keys %known), 'settings: each is documented, and there are no others');
foreach my $setting (@settings)
{
	my (undef, $default, $unit, $context, $min, $max) = @{ $known{ $setting->{setting} } || next };
	is(in_unit($setting->{default}, $unit), $default, "$setting->{setting}: default");
	is($who{ $setting->{'who may set'} }, $context, "$setting->{setting}: who may set it");
	my @range = map { in_unit($_, $unit) } split /\s*…\s*/, $setting->{range};
	is("@range", $min eq '' ? '' : "$min $max", "$setting->{setting}: range");
}

# ---- options: the hint of the validator has them all

sub options_of
{
	my ($statement) = @_;
	my ($hint) = $f->fails("SET ROLE NONE; $statement") =~ /Valid options in this context are: (.*)/;
	return join ' ', sort split /, /, $hint // '';
}

$f->query('CREATE SERVER elsewhere FOREIGN DATA WRAPPER contratos');
my %refused = (
	'Options of a server' => q(ALTER SERVER elsewhere OPTIONS (nonsense '1')),
	'Options of a user mapping' => q(CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (nonsense '1')),
	'Options of a foreign table' => q(CREATE FOREIGN TABLE away (a int) SERVER elsewhere OPTIONS (nonsense '1')),
	'Options of a column' => q(CREATE FOREIGN TABLE away (a int OPTIONS (nonsense '1')) SERVER elsewhere OPTIONS ("table" 'p-1.d.t')));
is(join(', ', titles_in('Options')), join(', ', sort { index(join(' ', titles_in('Options')), $a) <=> index(join(' ', titles_in('Options')), $b) } keys %refused), 'options: each kind of object is documented');
foreach my $title (sort keys %refused)
{
	is(join(' ', sort(map { $_->{option} } $page->table($title))), options_of($refused{$title}), "$title: each is documented, and there are no others");
}
my @private = map { my $title = $_; map { "$title: $_->{option}" } grep { $_->{''} =~ /^\*/ } $page->table($title) } sort keys %refused;
$f->query('CREATE ROLE stranger; GRANT USAGE ON FOREIGN DATA WRAPPER contratos TO stranger; GRANT CREATE ON DATABASE postgres TO stranger');
my @denied;
# (a value that is wrong by its looks is refused to anybody)
my %value = (endpoint => 'https://bigquery.example', ca_file => '/ca', credentials_file => '/key', proxy => 'http://proxy.example:1');
foreach my $option ($page->table('Options of a server'))
{
	my ($code, undef, $err) = $f->psql("SET ROLE stranger; CREATE SERVER of_$option->{option} FOREIGN DATA WRAPPER contratos OPTIONS ($option->{option} '" . ($value{ $option->{option} } // 'x') . "')");
	push @denied, "Options of a server: $option->{option}" if $err =~ /42501/;
}
is(join("\n", grep { /of a server/ } @private), join("\n", @denied), 'options: those marked are refused to strangers');

# ---- NOTIFY

$f->day('2026-11-20', 5);
my $listener = Contratos::Session->new($f->node);
$listener->query('LISTEN contratos');
$f->query(q(SELECT contratos_run('2026-11-20')));
my ($payload) = $listener->query('SELECT')->{out} =~ /with payload "(.*)" received from/;
is(join(' ', sort(map { $_->{key} } $page->table('NOTIFY'))), join(' ', sort keys %{ decode_json($payload // '{}') }), 'NOTIFY: the payload\'s keys are documented');

# ---- log lines

foreach my $line ($page->table('Log lines'))
{
	is(join('; ', Contratos::Docs::unsaid($line->{message}, $said)), '', "log line in the source: $line->{message}");
	like($line->{level}, qr/^(?:LOG|WARNING|DEBUG1)$/, "log line with a level: $line->{message}");
}

done_testing();
