# Tables that were there before contratos: no row of theirs is lost without a word,
# and what does not fit is told when it can still be changed.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Worker;

my $f = Contratos::Worker->new(unsettled => 1, conf => "contratos.databases = ''\n");
my $bq = $f->bq;
my $run = q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2026-11-20'));

# Who has filled it, day by day: a DAG, with a column of its own and one too narrow.
my $dag = q(CREATE TABLE tokens (address text, symbol varchar(50), name text, decimals numeric, total_supply numeric,
	block_timestamp timestamptz, block_number bigint, block_hash text, block text, loaded_by text DEFAULT 'dag');
	CREATE INDEX ON tokens (block_timestamp));
sub filled { return "INSERT INTO tokens (address, block_timestamp, block_number, block_hash, block) SELECT '0x' || i, '2026-11-$_[0] 12:00Z', i, '0xb', 'old' FROM generate_series(1, $_[1]) i"; }
$f->query("$dag; " . join '; ', map { filled(@$_) } [ 18, 1000 ], [ 19, 60 ], [ 20, 5000 ]);
$f->day($_->[0], $_->[1]) for [ '2026-11-18', 1000 ], [ '2026-11-19', 55 ], [ '2026-11-20', 49 ];

# ---- what is told at once

my $said = $f->messages('SELECT contratos_setup()');
like($said, qr/NOTICE:  00000: using existing public\.tokens/, 'contratos_setup() uses an existing table');
like($said, qr/NOTICE:  00000: table public\.tokens has columns that are narrower than those of foreign table public\.bigquery_tokens: symbol character varying\(50\) \(text\)\nHINT:  ALTER TABLE public\.tokens ALTER COLUMN symbol TYPE text;\n/,
	'contratos_setup() reports a column that may be too narrow, with a hint');
like($said, qr/NOTICE:  00000: table public\.tokens has columns that a load leaves NULL: block\nHINT:  (ALTER TABLE public\.tokens DROP COLUMN block, ADD COLUMN block text GENERATED ALWAYS AS .* STORED;)\n/,
	'contratos_setup() reports a column that a load leaves NULL, with a hint');
my ($alter) = $said =~ /HINT:  (ALTER TABLE public\.tokens DROP COLUMN block.*;)\n/;
like($said, qr/NOTICE:  00000: table public\.tokens has 6060 rows\nDETAIL:  A load of a day deletes the rows of that day and inserts those of BigQuery\.\nHINT:  Compare first: SELECT \* FROM contratos_verify\('2026-11-14', '2026-11-20', 'tokens'\);/,
	'contratos_setup() reports how many rows a table has and what a load does to them');
my $misfits = q(SELECT check_name, status, hint IS NOT NULL FROM contratos_check() WHERE check_name IN ('narrow_columns', 'unfilled_columns'));
is($f->query($misfits), "narrow_columns|warning|t\nunfilled_columns|warning|t",
	'contratos_check() reports narrow and unfilled columns');

like($f->messages('SELECT contratos_setup()'), qr/narrower than(?:.*\n)*.*leaves NULL: block\n(?:.*\n)*.* has 6060 rows\n/, 'contratos_setup() reports the same again until something is loaded');

# ---- people compare before they load

is($f->query(q(SET client_min_messages = warning; SELECT day, remote_rows, target_rows, ledger_rows, agrees FROM contratos_verify('2026-11-18', '2026-11-20'))),
	"2026-11-18|1000|1000||f\n2026-11-19|55|60||f\n2026-11-20|49|5000||f", 'contratos_verify() works before any load');

# ---- a first load does not delete what it cannot replace

my $kept = sub { return $f->query(q(SELECT string_agg(count::text, ' ' ORDER BY day) FROM (SELECT (block_timestamp AT TIME ZONE 'UTC')::date AS day, count(*) FROM tokens GROUP BY 1) d)); };
my $shrinks = qr/ERROR:  55000: a load of source "tokens", 2026-11-20, would replace 5000 rows of public\.tokens by 49\nDETAIL:  They were not loaded by contratos\. Source "tokens" allows a loss of 10 % \(max_shrink\)\. Nothing was changed\.\nHINT:  .*allow_shrink => true/;
like($f->fails($run), $shrinks, 'a first load that would lose most of a day is refused');
is($f->query(q(SET client_min_messages = error; SELECT day, status, rows_loaded, rows_replaced FROM contratos_backfill(3))),
	"2026-11-18|succeeded|1000|1000\n2026-11-19|succeeded|55|60\n2026-11-20|refused||", 'a backfill refuses only the day that would lose most of its rows');
is($kept->(), '1000 55 5000', 'a refused first load keeps the rows of the day');
like($f->query(q(SELECT error FROM contratos_runs WHERE status = 'refused')), qr/^a load of .*\nDETAIL:  They were not loaded/, 'the ledger has the refused first load');
$f->query(q(DELETE FROM contratos_runs WHERE day = '2026-11-20'; UPDATE contratos_sources SET start_date = '2026-11-20', recheck_days = 0));
$f->set('contratos.databases' => 'postgres');
ok($f->at('2026-11-21 08:00'), 'the worker looks at a day that would lose most of its rows');
is($f->runs(q(day = '2026-11-20')), '20 schedule refused',
	'the worker refuses a first load that would lose most of a day');
is($kept->(), '1000 55 5000', 'a first load that the worker refuses keeps the rows of the day');
$f->query('UPDATE contratos_sources SET enabled = false');
$f->settle;
is($f->query(q(SELECT status, rows_loaded, rows_replaced FROM contratos_run('2026-11-20', allow_shrink => true))), 'succeeded|49|5000', 'allow_shrink loads a day that would lose most of its rows');

# also later: rows that somebody has put there since
is($f->query($run), 'succeeded|49|49', 'a day that was loaded with allow_shrink is loaded again');
$f->query(filled(20, 4));
is($f->query($run), 'succeeded|49|53', 'a load may delete a few rows that others added');
$f->query(filled(20, 40));
like($f->fails($run), qr/ERROR:  55000: a load of source "tokens", 2026-11-20, would replace 89 rows of public\.tokens by 49\nDETAIL:  The last load had 49 rows\./,
	'a load that would delete many rows that others added is refused');
is($f->query(q(UPDATE contratos_sources SET max_shrink = 0.5; ) . $run), 'succeeded|49|89', 'max_shrink is the bound on rows that a load may delete');
$bq->delete_day(undef, '2026-11-17');
$f->query('UPDATE contratos_sources SET max_shrink = 0.1, allow_empty = true; ' . filled(17, 10));
like($f->fails(q(SELECT contratos_run('2026-11-17'))), qr/ERROR:  55000: .*would replace 10 rows of public\.tokens by 0/, 'allow_empty does not let a load delete rows that others added');
$f->query('UPDATE contratos_sources SET allow_empty = false');

# the hint makes `block` a generated column, and keeps the rows
$f->query(filled(16, 3));
$f->query($alter);
is($f->query(q(SELECT block, loaded_by FROM tokens WHERE block_timestamp = '2026-11-16 12:00Z' AND address = '0x1')), '2026-11-16 12:00:00+00:00_0xb_1|dag', "the hint's ALTER keeps the rows");
$f->query(q(ALTER TABLE public.tokens ALTER COLUMN symbol TYPE text));
is($f->query($misfits), "narrow_columns|ok|f\nunfilled_columns|ok|f",
	'contratos_check() reports no misfit after the hints\' statements');

# the statements of the hints work as they are, and then all is well
my $fields = 'address text, symbol text, name text, decimals numeric, total_supply numeric, block_timestamp timestamptz, block_number bigint, block_hash text';
my $made = 'block text GENERATED ALWAYS AS (block_hash || block_number::text) STORED';
sub hints_of { return [ $_[0] =~ /HINT:  (ALTER .*;)\n/g ]; }
$f->query('CREATE DOMAIN short AS varchar(4); CREATE SCHEMA "O x"');
my %fits = (
	'a generated column of it' => [ "$fields, $made", 'block_hash' => 'varchar(66)' ],
	'block of a timestamp' => [ "$fields, block varchar(50)", 'block_timestamp' => 'timestamp', 'block_hash' => 'char(66)' ],
	'block NOT NULL' => [ "$fields, block text NOT NULL" ],
	'numbers in texts' => [ $fields, 'decimals' => 'varchar(10)', 'total_supply' => 'char(50)', 'block_number' => 'varchar(19)' ],
	'a domain' => [ $fields, 'symbol' => 'short', 'name' => 'name' ],
	'numbers' => [ $fields, 'decimals' => 'smallint', 'total_supply' => 'numeric(30,2)', 'block_number' => 'integer' ]);
for my $case (sort keys %fits)
{
	my ($columns, %other) = @{ $fits{$case} };
	my $all = $columns;
	$all =~ s/\b$_ \w+(?=,|\z)/$_ $other{$_}/ for keys %other;
	$f->query(qq(CREATE TABLE "O x"."T" ($all)));
	my $hints = hints_of($f->messages(q(INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled) VALUES ('fits', 'bigquery_tokens', '"O x"."T"', 'block_timestamp', false))));
	ok(@$hints > 0, "$case: there are hints") || next;
	$f->query(q(INSERT INTO "O x"."T" (address, block_timestamp, block_number, block_hash) VALUES ('a', '2026-11-20 01:02:03.4Z', 7, repeat('b', 66)))) unless $case eq 'block NOT NULL';
	$f->query($_) for @$hints;
	unlike($f->messages(q(UPDATE contratos_sources SET target_table = target_table WHERE name = 'fits')), qr/NOTICE:.*(?:narrower|NULL)|WARNING/, "$case: the hints work, and nothing is left to report");
	is($f->query(q(SELECT block FROM "O x"."T")), '2026-11-20 01:02:03+00:00_' . 'b' x 66 . '_7', "$case: block has its usual text") if $case eq 'block of a timestamp';
	$f->query(q(DELETE FROM contratos_sources WHERE name = 'fits'; DROP TABLE "O x"."T"));
}
$f->query('CREATE FOREIGN TABLE wide (at timestamptz, texts text[], half double precision, kept bigint, list text[]) SERVER bigquery OPTIONS ("table" $$test-project.d.wide$$);
	CREATE TABLE narrow (at timestamptz, texts varchar(3)[], half numeric(5, 2), kept varchar(20), list varchar(9))');
my $narrow = $f->messages(q(INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled) VALUES ('fits', 'wide', 'narrow', 'at', false)));
like($narrow, qr/wide: texts character varying\(3\)\[\] \(text\[\]\), half numeric\(5,2\) \(double precision\), list character varying\(9\) \(text\)\n/, 'arrays, fractions and numbers written as text are reported as narrow');
$f->query($_) for @{ hints_of($narrow) };
$f->query('CREATE FOREIGN TABLE instants (at timestamptz, seen timestamptz, made timestamptz, list timestamptz[]) SERVER bigquery OPTIONS ("table" $$test-project.d.instants$$);
	CREATE TABLE rounded (at timestamptz, seen timestamp(0), made date, list timestamp(3)[])');
my $rounded = $f->messages(q(UPDATE contratos_sources SET remote_table = 'instants', target_table = 'rounded' WHERE name = 'fits'));
like($rounded, qr/HINT:  ALTER TABLE public\.rounded ALTER COLUMN seen TYPE timestamp without time zone, ALTER COLUMN made TYPE timestamp without time zone, ALTER COLUMN list TYPE timestamp without time zone\[\];\n/,
	'a column without time zone is widened without one');
$f->query($_) for @{ hints_of($rounded) };
$f->query(qq(CREATE DOMAIN never_null AS text NOT NULL; CREATE TABLE strict ($fields, more never_null)));
like($f->messages(q(UPDATE contratos_sources SET remote_table = 'bigquery_tokens', target_table = 'strict', timestamp_column = 'block_timestamp' WHERE name = 'fits')),
	qr/WARNING:  23502: source "fits" cannot be loaded: table public\.strict has columns that a load of source "fits" cannot fill: more\n/, "a domain's NOT NULL is reported before BigQuery is asked");
$f->query("CREATE TABLE stamped ($fields, block text, note text DEFAULT ''); CREATE FUNCTION stamps() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN NEW.note = 'new'; RETURN NEW; END \$\$; CREATE TRIGGER stamps BEFORE INSERT ON stamped FOR EACH ROW EXECUTE FUNCTION stamps()");
like($f->messages(q(UPDATE contratos_sources SET target_table = 'stamped' WHERE name = 'fits')), qr/NOTICE:  00000: table public\.stamped has columns that a load leaves NULL, unless a trigger fills them: block\nHINT:  ALTER TABLE public\.stamped DROP COLUMN block, /, 'a column that a trigger may fill is reported');
is($f->query(q(SELECT status FROM contratos_check('fits') WHERE check_name = 'unfilled_columns')), 'ok', 'contratos_check() does not warn of a column that a trigger may fill');
(my $hashed = $fields) =~ s/block_hash text/block_hash varchar(66)/;
$f->query(qq(CREATE TABLE by_hash ($hashed) PARTITION BY LIST (block_hash); CREATE TABLE by_hash_rest PARTITION OF by_hash DEFAULT; CREATE VIEW by_hash_view AS SELECT * FROM by_hash));
for my $case ([ 'by_hash', 'Recreate the table: public.by_hash is partitioned by one of them' ], [ 'by_hash_rest', 'Widen the columns of the table that public.by_hash_rest is part of' ], [ 'by_hash_view', 'Widen the columns of the table that public.by_hash_view shows' ])
{
	like($f->messages("UPDATE contratos_sources SET target_table = '$case->[0]' WHERE name = 'fits'"), qr/ block_hash character varying\(66\) \(text\)\nHINT:  \Q$case->[1]\E/, "no statement widens the columns of $case->[0]");
}
$f->query(q(DELETE FROM contratos_sources WHERE name = 'fits'));

# ---- targets that make more or fewer rows of a load

$f->query(
	q(CREATE TABLE doubled (LIKE tokens); CREATE TABLE halved (LIKE tokens);
	  CREATE FUNCTION doubles() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF pg_trigger_depth() = 1 THEN INSERT INTO public.doubled SELECT (NEW).*; END IF; RETURN NULL; END $$;
	  CREATE TRIGGER doubles AFTER INSERT ON doubled FOR EACH ROW EXECUTE FUNCTION doubles();
	  CREATE FUNCTION halves() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.block_number % 2 = 0 THEN NEW END; END $$;
	  CREATE TRIGGER halves BEFORE INSERT ON halved FOR EACH ROW EXECUTE FUNCTION halves();
	  INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled)
		VALUES ('doubled', 'bigquery_tokens', 'doubled', 'block_timestamp', false), ('halved', 'bigquery_tokens', 'halved', 'block_timestamp', false)));
for my $name ('doubled', 'halved')
{
	my ($here) = $f->query("SELECT contratos_run('2026-11-20', '$name'); SELECT target_rows FROM contratos_runs WHERE source = '$name'") =~ /(\d+)\z/;
	is($here, 98, 'a target that doubles its rows has 98 of 49') if $name eq 'doubled';
	is($f->query("SELECT status, rows_loaded, rows_replaced FROM contratos_run('2026-11-20', '$name')"), "succeeded|49|$here", "$name: the source is loaded again");
	$f->query("INSERT INTO $name (address, block_timestamp, block_number) SELECT 'more', '2026-11-20 13:00Z', 2 * i FROM generate_series(1, 60) i");
	like($f->fails("SELECT contratos_run('2026-11-20', '$name')"), qr/ERROR:  55000: .*would replace \d+ rows of public\.$name by 49/, "$name: a load that would delete rows that others added is refused");
	$f->query("DELETE FROM contratos_sources WHERE name = '$name'");
}

# ---- rows that triggers and rules delete, or keep out, are counted

my $two = '(address text, block_timestamp timestamptz)';
my $stood = sub { return "INSERT INTO $_[0] SELECT 'old', '2026-11-20 12:00Z' FROM generate_series(1, $_[1])"; };
my $source = sub { return "INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled) VALUES ('$_[0]', '" . ($_[2] // 'bare') . "', '$_[1]', 'block_timestamp', false)"; };
$f->query(qq(CREATE FOREIGN TABLE bare $two SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens');
	CREATE TABLE closed $two; ) . $stood->('closed', 54) . q(;
	CREATE FUNCTION keeps_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
	CREATE TRIGGER keeps_out BEFORE INSERT ON closed FOR EACH ROW EXECUTE FUNCTION keeps_out();) .
	qq(CREATE TABLE base $two; ) . $stood->('base', 200) . q(; CREATE VIEW seen AS SELECT * FROM base;
	CREATE FUNCTION by_itself() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF TG_OP = 'DELETE' THEN DELETE FROM public.base WHERE address = OLD.address; ELSE INSERT INTO public.base VALUES (NEW.*); END IF; RETURN NULL; END $$;
	CREATE TRIGGER by_itself INSTEAD OF INSERT OR DELETE ON seen FOR EACH ROW EXECUTE FUNCTION by_itself();
	CREATE TABLE marked (address text, block_timestamp timestamptz, gone boolean DEFAULT false); INSERT INTO marked SELECT 'old', '2026-11-20 12:00Z' FROM generate_series(1, 200);
	CREATE VIEW unmarked AS SELECT address, block_timestamp FROM marked WHERE NOT gone;
	CREATE RULE marks AS ON DELETE TO unmarked DO INSTEAD UPDATE marked SET gone = true WHERE NOT gone AND block_timestamp = OLD.block_timestamp;));
$f->query($source->('closed', 'closed'));
like($f->messages($source->('seen', 'seen')), qr/NOTICE:  00000: public\.seen may have rows: those of views and foreign tables are not counted\nDETAIL:  A load of a day deletes/, 'a view as target is reported to be replaced, its rows not counted');
$f->query($source->('marked', 'unmarked'));
for my $case ([ 'closed', 54, 'public.closed', 0, 'a trigger keeps all rows out', 'closed', 0 ], [ 'seen', 200, 'public.seen', 49, 'a trigger deletes by itself', 'base', 49 ], [ 'marked', 200, 'public.unmarked', 49, 'a rule marks', 'unmarked', 49 ])
{
	my ($name, $before, $target, $after, $what, $table, $left) = @$case;
	like($f->fails("SELECT contratos_run('2026-11-20', '$name')"), qr/ERROR:  55000: a load of source "$name", 2026-11-20, would replace $before rows of \Q$target\E by $after\n/, "$what: a load that would delete the rows is refused");
	is($f->query("SELECT count(*) FROM $table"), $before, "$what: a refused load keeps the rows");
	is($f->query("SELECT status, rows_replaced FROM contratos_run('2026-11-20', '$name', allow_shrink => true)"), "succeeded|$before", "$what: allow_shrink loads the day");
	is($f->query("SELECT status, rows_replaced FROM contratos_run('2026-11-20', '$name')"), "succeeded|$left", "$what: the day is loaded again without allow_shrink");
}
$f->query(q(DELETE FROM contratos_sources WHERE name IN ('closed', 'seen', 'marked')));

# ---- a snapshot is one that says so

my $remote = q[(address text, block_timestamp timestamptz) SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens')];
$f->query("CREATE FOREIGN TABLE ft $remote; CREATE TABLE t (address text, block_timestamp timestamptz); INSERT INTO t SELECT 'old', '2020-01-01Z' FROM generate_series(1, 1000)");
my $undecided = qr/55000: source "s" does not say what a load replaces\nDETAIL:  It has neither a timestamp_column, .* nor is it a snapshot, of which all rows of public\.t are replaced\.\nHINT:  UPDATE contratos_sources SET timestamp_column = '\.\.\.' WHERE name = 's'; or SET snapshot = true\.\n/;
like($f->messages(q(INSERT INTO contratos_sources (name, remote_table, target_table) VALUES ('s', 'ft', 't'))), qr/WARNING:  $undecided/, 'a source with neither timestamp_column nor snapshot is a WARNING');
like($f->fails("SELECT contratos_run(source => 's')"), qr/ERROR:  $undecided/,
	'a source with neither timestamp_column nor snapshot is not loaded');
is($f->query(q(SELECT check_name, status, translate(hint, chr(10), '') ~ 'timestamp_column' FROM contratos_check('s') WHERE status = 'failed')), 'source|failed|t', 'contratos_check() reports a source with neither timestamp_column nor snapshot');
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 's')),
	'the worker tries a source with neither timestamp_column nor snapshot');
is($f->query(q(SELECT status, sqlstate, next_attempt_at FROM contratos_runs WHERE source = 's')), 'failed|55000|', 'the worker fails a source with neither timestamp_column nor snapshot once');
is($f->query(q(SELECT count(*) FROM t)), 1000,
	'a source with neither timestamp_column nor snapshot keeps its target\'s rows');
like($f->messages(q(UPDATE contratos_sources SET snapshot = true, enabled = false WHERE name = 's')),
	qr/NOTICE:  00000: table public\.t has 1000 rows\nDETAIL:  Each load of source "s" deletes all of them and inserts those of BigQuery\.\nHINT:  Compare first: SELECT \* FROM contratos_verify\('2026-11-20', '2026-11-20', 's'\)/,
	'a full-table source is reported to delete all rows');
$bq->table('test-project.d.small', schema => [ { name => 'address', type => 'STRING' } ], rows => [ ['a'], ['b'] ]);
$f->query(q(CREATE FOREIGN TABLE small (address text) SERVER bigquery OPTIONS ("table" 'test-project.d.small'); UPDATE contratos_sources SET remote_table = 'small' WHERE name = 's'));
like($f->fails("SELECT contratos_run(source => 's')"), qr/ERROR:  55000: a load of source "s", 2026-11-20, would replace 1000 rows of public\.t by 2\n/, 'a full-table load that would lose most rows is refused');
is($f->query("SELECT status, rows_loaded, rows_replaced FROM contratos_run(source => 's', allow_shrink => true)"), 'succeeded|2|1000', 'allow_shrink loads a full-table source that would lose most rows');
like($f->fails(q(UPDATE contratos_sources SET timestamp_column = 'block_timestamp' WHERE name = 's')), qr/ERROR:  23514: .*contratos_sources_snapshot_check/, 'timestamp_column and snapshot exclude each other');

# ---- other things that are told when a source is registered

sub registered { return $f->messages("BEGIN; UPDATE contratos_sources SET $_[0] WHERE name = 's'; ROLLBACK"); }
like(registered(q(remote_table = 'ft', timestamp_column = 'when', snapshot = false)), qr/WARNING:  42703: source "s" cannot be loaded: foreign table public\.ft has no column "when"\n(?:.*\n)*.*NOTICE:  00000: table public\.t has 2 rows\n/, 'a timestamp_column that the foreign table lacks is reported, with the target\'s rows');
like(registered(q(remote_table = 'public.later')), qr/WARNING:  42P01: (?:.*\n)*.*NOTICE:  00000: table public\.t has 2 rows\n/, 'a foreign table that does not exist yet is reported, with the target\'s rows');
$f->query('CREATE FOREIGN TABLE more ' . $remote =~ s/block_timestamp timestamptz/block_timestamp timestamptz, at timestamptz/r);
like(registered(q(remote_table = 'more', timestamp_column = 'at', snapshot = false)), qr/WARNING:  42703: source "s" cannot be loaded: table public\.t has no column "at"\n/, 'a timestamp_column that the target lacks is reported');
like(registered(q(remote_table = 'ft', timestamp_column = 'address', snapshot = false)), qr/WARNING:  42P17: source "s" cannot be loaded: column "address" of foreign table public\.ft cannot/, 'a timestamp_column of another type is reported');
like(registered(q(remote_table = 't')), qr/WARNING:  42809: source "s" cannot be loaded: "t" is not a foreign table\n/, 'a table in place of the foreign table is reported');
$f->query(q(CREATE TABLE large AS SELECT '2020-01-01Z'::timestamptz AS block_timestamp, ''::text AS address FROM generate_series(1, 100002)));
like(registered(q(target_table = 'large')), qr/NOTICE:  00000: table public\.large has more than 100000 rows\n/, 'more than 100,000 rows of a target are not counted');
$f->query(q(CREATE TABLE parted (address text, block_timestamp timestamptz) PARTITION BY LIST (address); CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a'); CREATE TABLE parted_b PARTITION OF parted DEFAULT;
	INSERT INTO parted VALUES ('a'), ('b'), ('c')));
like(registered(q(target_table = 'parted')), qr/NOTICE:  00000: table public\.parted has 3 rows\n/, 'rows of a partitioned target are counted');
$f->query('CREATE ROLE registrar; GRANT SELECT, UPDATE ON contratos_sources TO registrar');
unlike($f->messages(q(BEGIN; SET ROLE registrar; UPDATE contratos_sources SET target_table = 'public.parted' WHERE name = 's'; ROLLBACK)), qr/rows/, 'a role that may not read the target is not told its rows');
unlike(registered('enabled = false'), qr/NOTICE|WARNING/, 'a source that is only disabled has no report');

# ---- two sources with one target

my $taken = qr/ERROR:  23505: table public\.tokens is the target of source "tokens" already\nDETAIL:  Two sources with one target would delete each other's rows\.\nHINT:  Give source "s" a table of its own, or delete one of the sources\./;
like($f->fails(q(UPDATE contratos_sources SET target_table = 'tokens' WHERE name = 's')), $taken, 'a second source with one target is refused');
like($f->fails(q(INSERT INTO contratos_sources (name, remote_table, target_table, snapshot) VALUES ('two', 'ft', 'parted', true), ('three', 'ft', 'parted', true))),
	qr/ERROR:  23505: table public\.parted is the target of source "(?:two|three)" already/,
		'two sources with one target in one statement are refused');
$f->query(q(INSERT INTO contratos_sources (name, remote_table, target_table, snapshot, enabled) VALUES ('parted', 'ft', 'parted', true, false)));
like($f->fails(q(UPDATE contratos_sources SET target_table = 'parted_b' WHERE name = 's')), qr/ERROR:  23505: table public\.parted_b shares rows with public\.parted, the target of source "parted"/, 'a partition of another source\'s target is refused');
$f->query(q(UPDATE contratos_sources SET target_table = 'parted_a' WHERE name = 'parted'));
is($f->query(q(UPDATE contratos_sources SET target_table = 'parted_b' WHERE name = 's' RETURNING target_table)), 'public.parted_b', 'two partitions of a table may be two sources\' targets');
like($f->fails(q(UPDATE contratos_sources SET target_table = 'parted' WHERE name = 's')), qr/ERROR:  23505: table public\.parted shares rows with public\.parted_a/, 'the parent of another source\'s target is refused');
is($f->query(q(UPDATE contratos_sources SET target_table = 'nowhere.yet' WHERE name = 's' RETURNING target_table)), 'nowhere.yet', 'a target that does not exist yet is registered');
like($f->fails(q(UPDATE contratos_sources SET target_table = 'nowhere.yet' WHERE name = 'parted')), qr/ERROR:  23505: table nowhere\.yet is the target of source "s" already/, 'a target that does not exist yet has one source only');
$f->query(q(UPDATE contratos_sources SET target_table = 't' WHERE name = 's'));

# a view of a table has its rows
$f->query("CREATE TABLE viewed $two; CREATE VIEW all_of_it AS SELECT * FROM viewed; CREATE VIEW once_more AS SELECT * FROM all_of_it; CREATE VIEW self AS SELECT * FROM viewed; CREATE OR REPLACE VIEW self AS SELECT * FROM self;
	CREATE VIEW a_part AS SELECT * FROM viewed WHERE address < 'm'; CREATE VIEW its_rest AS SELECT * FROM viewed WHERE address >= 'm'");
$f->query($source->('viewed', 'viewed'));
like($f->fails($source->('view', $_)), qr/ERROR:  23505: table public\.$_ shares rows with public\.viewed, the target of source "viewed"/, "a view of another source's target is refused: $_") for qw(all_of_it once_more a_part);
$f->query(q(UPDATE contratos_sources SET target_table = 'its_rest' WHERE name = 'viewed'));
like($f->fails($source->('view', $_)), qr/ERROR:  23505: table public\.$_ shares rows with public\.its_rest/, "a table that shares rows with another source's view is refused: $_") for qw(viewed once_more);
$f->query($source->('view', $_) . "; DELETE FROM contratos_sources WHERE name = 'view'") for qw(a_part self);
pass('two views of disjoint rows, and a view of itself, are registered');
$f->query(q(DELETE FROM contratos_sources WHERE name = 'viewed'; DROP VIEW self));

# who registers a source does not wait for who has locked its tables
my $locker = Contratos::Session->new($f->node);
for my $table (qw(large parted_a bare))
{
	$locker->query("BEGIN; LOCK TABLE $table") if $table ne 'bare';
	$locker->query('BEGIN; ALTER FOREIGN TABLE bare OPTIONS (SET "table" $$bigquery-public-data.crypto_ethereum.tokens$$)') if $table eq 'bare';
	my $target = $table eq 'bare' ? 'viewed' : $table eq 'large' ? 'large' : 'parted';
	my $before = $target eq 'parted' ? q(DELETE FROM contratos_sources WHERE name = 'parted'; ) : '';
	like($f->messages("SET statement_timeout = '60s'; BEGIN; $before" . $source->('patient', $target) . '; SHOW lock_timeout; ROLLBACK'),
		qr/WARNING:  55P03: source "patient" could not be checked now\nDETAIL:  Another session has locked/, "$table is locked: the row is stored all the same");
	$locker->query('ROLLBACK');
}
$locker->quit;

# a race, at each isolation level
for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	my @sessions = map { Contratos::Session->new($f->node) } 0, 1;
	my $insert = sub { return "INSERT INTO contratos_sources (name, remote_table, target_table, snapshot) VALUES ('racer_$_[0]', 'ft', 'large', true)"; };
	$_->query("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM contratos_sources") for @sessions;
	is($sessions[0]->query($insert->(0))->{err} =~ /ERROR/, '',
		"$level: the first of two sources at once is registered");
	$sessions[1]->send($insert->(1));
	ok($f->poll("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = " . $sessions[1]->pid), "$level: the second of two sources at once waits for the first");
	$sessions[0]->query('COMMIT');
	like($sessions[1]->finish->{err}, $level eq 'SERIALIZABLE' ? qr/ERROR:  (?:23505|40001): / : qr/ERROR:  23505: table public\.large is the target of source "racer_0" already/, "$level: the second of two sources at once is refused");
	$_->quit for @sessions;
	$f->query(q(DELETE FROM contratos_sources WHERE name LIKE 'racer%'));
}

# a dump that has two is restored; the newer one is not loaded
$f->query(q(ALTER TABLE contratos_sources DISABLE TRIGGER contratos_sources_registered;
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled) VALUES ('a_newer', 'bigquery_tokens', 'tokens', 'block_timestamp', false);
	INSERT INTO contratos_sources (name, remote_table, target_table, enabled) VALUES ('undecided', 'ft', 'parted_b', false);
	ALTER TABLE contratos_sources ENABLE TRIGGER contratos_sources_registered));
for my $how ('--inserts', '--format=plain')
{
	my ($dump) = run_command([ 'pg_dump', '-h', $f->node->host, '-p', $f->node->port, $how, 'postgres' ]);
	$f->query('CREATE DATABASE restored');
	$f->use_database('restored');
	my ($code, undef, $err) = $f->psql("\\set ON_ERROR_STOP on\n$dump");
	is($code, 0, "a dump that has two such sources can be restored ($how)") || diag($err);
	is($f->query(q(SELECT string_agg(name, ' ' ORDER BY name) FROM public.contratos_sources)), 'a_newer parted s tokens undecided', "the restored dump has all sources ($how)");
	is($f->query("SELECT status FROM public.contratos_run('2026-11-18')"), 'succeeded',
		"the older of two restored sources with one target is loaded ($how)");
	like($f->fails("SELECT public.contratos_run('2026-11-20', 'a_newer')"), qr/ERROR:  55000: table public\.tokens is the target of source "tokens" already/, "the newer of two restored sources with one target is refused ($how)");
	is($f->query(q(SELECT status, translate(hint, chr(10), '') ~ 'a table of its own' FROM public.contratos_check('a_newer') WHERE check_name = 'target')), 'failed|t', "contratos_check() reports the newer of two restored sources ($how)");
	$f->query(q(UPDATE public.contratos_sources SET max_shrink = 0.2 WHERE name = 'a_newer'));
	$f->use_database('postgres');
	$f->query('DROP DATABASE restored');
}
$f->query(q(UPDATE contratos_sources SET enabled = true, start_date = '2026-11-20' WHERE name = 'a_newer'));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE source = 'a_newer' AND status = 'failed' AND sqlstate = '55000' AND next_attempt_at IS NULL)), 'the worker does not load the newer of two sources with one target');
$f->query(q(DELETE FROM contratos_sources WHERE name IN ('a_newer', 'undecided')));

# ---- the row that a target refuses is named

my %refusing = (
	'22001 a text' => [ 'symbol varchar(5)', q(CHECK (true)), qr/^value too long for type character varying\(5\)$/, '; columns that are narrower than BigQuery\'s: symbol character varying(5) (text)', { symbol => 'far too long' } ],
	'22003 a number' => [ 'symbol text', q(CHECK (true)), qr/^smallint out of range$/, '; columns that are narrower than BigQuery\'s: block_number smallint (bigint)', { block_number => 70000 } ],
	'23502 a NULL' => [ 'symbol text NOT NULL', q(CHECK (true)), qr/^null value in column "symbol" of relation "refusing" violates not-null constraint$/, '', { symbol => undef } ],
	'23514 a CHECK' => [ 'symbol text', q(CONSTRAINT known CHECK (symbol <> 'bad')), qr/^new row for relation "refusing" violates check constraint "known"$/, '', { symbol => 'bad' } ]);
for my $case (sort keys %refusing)
{
	my ($column, $check, $message, $narrow, $bad) = @{ $refusing{$case} };
	my ($state) = split / /, $case;
	my $number = $case =~ /number/ ? 'smallint' : 'bigint';
	$bq->table(undef, replace_day => '2026-11-20', rows => [ map { $f->row(symbol => 'fine', block_number => $_, $_ == 37 ? %$bad : ()) } 1 .. 50 ]);
	$f->query(qq(DROP TABLE IF EXISTS refusing; DELETE FROM contratos_sources WHERE name = 'refusing';
		CREATE TABLE refusing (address text, name text, decimals numeric, total_supply numeric, block_timestamp timestamptz, block_hash text, block_number $number, $column, $check);
		INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, enabled) VALUES ('refusing', 'bigquery_tokens', 'refusing', 'block_timestamp', false)));
	for my $size ('-1', '0')
	{
		my $pages = "SET contratos.page_rows = 30; SET contratos.min_parallel_load_size = '$size';";
		my $error = $f->fails("$pages SELECT contratos_run('2026-11-20', 'refusing')");
		like($error, qr/ERROR:  $state: /, "$case: refused" . ($size ? '' : ', read by another process'));
		like($error, qr/\nCONTEXT:  (?:.*\n)*?row 37 of BigQuery's result\Q$narrow\E\n/, "$case: the error names the row, on the second page, and the column that may be meant");
		$f->query("SET client_min_messages = error; $pages SELECT * FROM contratos_backfill(1, 'refusing')");
		like($f->query(q(SELECT error FROM contratos_runs WHERE source = 'refusing' AND NOT only_cost ORDER BY id DESC LIMIT 1)), qr/\nCONTEXT:  row 37 of BigQuery's result\Q$narrow\E$/, "$case: the ledger names the row");
		like($f->query(q(SELECT error FROM contratos_days WHERE source = 'refusing' AND day = '2026-11-20')), $message, "$case: contratos_days has the message alone");
	}
}
# a foreign table that takes ten rows at a time refuses them later
$bq->table(undef, replace_day => '2026-11-20', rows => [ map { $f->row(block_number => $_ == 37 ? 70000 : $_) } 1 .. 50 ]);
my ($host, $port) = ($f->node->host, $f->node->port);
$f->query(qq(CREATE EXTENSION postgres_fdw; CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'postgres', batch_size '10');
	CREATE USER MAPPING FOR CURRENT_USER SERVER loopback; CREATE TABLE there (block_timestamp timestamptz, block_number smallint);
	CREATE FOREIGN TABLE here (block_timestamp timestamptz, block_number bigint) SERVER loopback OPTIONS (table_name 'there');
	CREATE FOREIGN TABLE numbers (block_timestamp timestamptz, block_number bigint) SERVER bigquery OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens'); ) . $source->('batches', 'here', 'numbers'));
like($f->fails("SELECT contratos_run('2026-11-20', 'batches')"), qr/ERROR:  22003: (?:.*\n)*.*row 41 of BigQuery's result, or one shortly before\n/, 'an error of a batch names several rows');
# a trigger at the end of the statement has no row
$f->query(q(ALTER TABLE refusing DROP CONSTRAINT known; CREATE FUNCTION at_the_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'about to'; RAISE 'not that'; END $$;
	CREATE TRIGGER at_the_end AFTER INSERT ON refusing FOR EACH STATEMENT EXECUTE FUNCTION at_the_end()));
unlike($f->fails(q(SELECT contratos_run('2026-11-20', 'refusing'))), qr/row \d+ of BigQuery/, 'an error after the last row names no row');

$f->stop;
done_testing();
