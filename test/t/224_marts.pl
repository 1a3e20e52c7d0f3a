# deploy/marts: what its page says is what is found in the sample, a day that is
# loaded again is replaced in the marts, too, and a mart that fails undoes the day.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Docs;
use Contratos::DocsRun;
use Contratos::Fixture;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $marts = "$root/deploy/marts";
my $f = Contratos::Fixture->new(init => { extra => [ '--encoding=UTF8', '--locale=C' ] });
my $node = $f->node;

sub install
{
	my ($file, @options) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), @options, '-f', "$marts/$file" ], '>', \$out, '2>', \$err);
	return ($ok ? 1 : 0, $out, $err);
}

# ---- before there is a source

my ($ok, $out, $err) = install('lookalikes.sql');
is($ok, 0, 'without a source a mart is not installed');
is($f->query(q(SELECT count(*) FROM pg_namespace WHERE nspname = 'marts')), 0, 'without a source nothing is left behind');

# ---- the page

$f->query('SELECT count(*) FROM contratos_setup()');
my $page = Contratos::Docs->new("$marts/README.md");
my $run = Contratos::DocsRun->new(
	node => $node,
	database => 'postgres',
	replace => sub { s{-d analytics -f deploy/marts/}{-f $marts/}g });
$run->page($page);
$run->finish;
is(join("\n", grep { !-e "$marts/$_" } map { $_->{file} } $page->links), '', 'the links of the page exist');
is($f->query(q(SELECT after_load FROM contratos_sources)), 'marts.after_load', 'the marts are after_load of the source');

# ---- again

my $everything = q(SELECT md5(string_agg(r, E'\n' ORDER BY r COLLATE "C")), count(*) FROM (SELECT l::text FROM marts.lookalikes l
	UNION ALL SELECT n::text FROM marts.new_tokens n UNION ALL SELECT b::text FROM marts.bursts b) AS x(r));
my $before = $f->query($everything);
$f->query('SELECT count(*) FROM contratos_backfill(12)');
is($f->query($everything), $before, 'days that are loaded again leave the marts as they were');
$f->query(q(DELETE FROM marts.well_known WHERE symbol = 'DAI'; UPDATE marts.limits SET burst_contracts = 4));
is((install($_))[0], 1, "$_ is installed again") for 'lookalikes.sql', 'new_tokens.sql';
is($f->query(q(SELECT count(*) FROM marts.well_known WHERE symbol = 'DAI')), 0, 'a mart that is installed again keeps what the team has edited');
is($f->query(q(SELECT burst_contracts FROM marts.limits)), 4, 'it keeps the limits');
is($f->query($everything), $before, 'a mart that is installed again keeps its rows');
$f->query(q(UPDATE marts.limits SET burst_contracts = DEFAULT; INSERT INTO marts.well_known VALUES ('DAI', '0x6b175474e89094c44da98b954eedeac495271d0f')));

# ---- each way to look alike

my @ways = (
	q('USDC') => 'USDC', q('usdt') => 'USDT', q('U S D T') => 'USDT', q(U&'\0055\0405DT') => 'USDT', q(U&'US\200BDT') => 'USDT',
	q(U&'\202EUSDT') => 'USDT', q(U&'\FF35\FF33\FF24\FF34') => 'USDT', q(U&'\+01D414\+01D412\+01D403\+01D413') => 'USDT',
	q('U$D₮') => 'USDT', q('5HIB') => 'SHIB', q('ÙŚDT') => 'USDT', q('DAl') => 'DAI', q('L1NK') => 'LINK', q('ᎳETH') => 'WETH',
	q('ꓴꓢꓓꓔ') => 'USDT', q('ᴜꜱᴅᴛ') => 'USDT', q('WВТС') => 'WBTC', q('ΡΕΡΕ') => 'PEPE', q('🚀DAI🚀') => 'DAI', q('steth') => 'stETH',
	q('USDTC') => '', q('') => '', q('代币') => '', q(repeat(U&'\200B', 200000)) => '', q('NULL') => '');
my (@got, @wanted);
while (my ($symbol, $like) = splice @ways, 0, 2)
{
	push @got, "$symbol " . $f->query("SELECT symbol FROM marts.well_known WHERE marts.skeleton(symbol) = marts.skeleton($symbol) AND marts.skeleton(symbol) <> ''");
	push @wanted, "$symbol $like";
}
is(join("\n", @got), join("\n", @wanted), 'each way to look like a well-known symbol is seen');

# ---- a day with what is looked for, in numbers that can be counted by hand

my @rows = map { $f->row(address => "0xa$_", symbol => "S$_", decimals => '18', total_supply => (1 + $_ % 7) . '0' x 24, block_number => $_, block_timestamp => sprintf('2026-11-20 %02d:%02d:00+00:00', $_ / 2, 30 * ($_ % 2))) } 0 .. 39;
push @rows, map { $f->row(address => "0xb$_", symbol => "B$_", decimals => '18', total_supply => '3' . '0' x 24, block_number => 500, block_timestamp => "2026-11-20 23:10:1$_+00:00") } 1 .. 7;
push @rows, $f->row(address => '0xc1', symbol => 'BIG', decimals => '0', total_supply => '9' x 70, block_number => 600, block_timestamp => '2026-11-20 23:30:00+00:00'),
  $f->row(address => '0xc2', symbol => 'ODD', decimals => '9' x 300, total_supply => '1', block_number => 601, block_timestamp => '2026-11-20 23:40:00+00:00'),
  $f->row(address => '0xc3', symbol => 'USDT', decimals => '6', total_supply => '0', block_number => 602, block_timestamp => '2026-11-20 23:50:00+00:00'),
  $f->row(address => '0xc3', symbol => 'USDT', decimals => '6', total_supply => '0', block_number => 602, block_timestamp => '2026-11-20 23:50:00+00:00'),
  $f->row(address => '0xDAC17F958D2EE523A2206206994597C13D831EC7', symbol => 'USDT', block_number => 603, block_timestamp => '2026-11-20 23:55:00+00:00'),
  # too long for an index, and a name that is code
  $f->row(address => '0xc4', symbol => 'USDC' . join('', map { chr(0xe0100 + $_ ** 3 % 65521 % 239) } 1 .. 5000), block_number => 604, block_timestamp => '2026-11-20 23:56:00+00:00'),
  $f->row(address => '0xc5', symbol => q{DAI'); DROP TABLE tokens;--}, block_number => 605, block_timestamp => '2026-11-20 23:57:00+00:00');
$f->bq->table(undef, replace_day => '2026-11-20', rows => \@rows);
is($f->query(q(SELECT status, rows_loaded FROM contratos_run('2026-11-20', allow_shrink => true))), 'succeeded|' . @rows, 'a day of made-up tokens is loaded');
is($f->query(q(SELECT address, looks_like, how, count(*) FROM marts.lookalikes WHERE day = '2026-11-20' GROUP BY 1, 2, 3 ORDER BY 1)),
	"0xc3|USDT|{\"same symbol\"}|2\n0xc4|USDC|{\"invisible characters\"}|1", 'its look-alikes, and not the real one');
is($f->query(q(SELECT count(*), count(magnitude), string_agg(symbol, ' ') FILTER (WHERE unusual_supply) FROM marts.new_tokens WHERE day = '2026-11-20')),
	(@rows - 1) . '|48|BIG', 'its new tokens, and the one of an unusual supply');
is($f->query(q(SELECT per, block_number, starts, contracts, usual, score FROM marts.bursts WHERE day = '2026-11-20' ORDER BY per)),
	"block|500|2026-11-20 23:10:11+00|7|1|6\nminute||2026-11-20 23:10:00+00|7|1|6", 'its burst, by block and by minute');

# what earlier days have is not new
$f->query(q(INSERT INTO tokens (address, block_timestamp, block_number, block_hash) VALUES ('0xc1', '2026-11-19Z', 1, 'x')));
$f->query(q(SELECT * FROM contratos_run('2026-11-20')));
is($f->query(q(SELECT count(*), count(*) FILTER (WHERE unusual_supply) FROM marts.new_tokens WHERE day = '2026-11-20')), (@rows - 2) . '|0',
	'a contract that an earlier day has is not new');

# ---- one that fails

$before = $f->query($everything);
$f->bq->table(undef, replace_day => '2026-11-20', rows => [ @rows[ 0 .. 46 ], map { $f->row(address => "0xd$_", symbol => 'W3TH') } 1 .. 9 ]);
$f->query(q(ALTER TABLE marts.bursts ADD CONSTRAINT not_that_day CHECK (day <> '2026-11-20') NOT VALID));
like($f->fails(q(SELECT * FROM contratos_run('2026-11-20'))), qr/ERROR:  23514: new row for relation "bursts" violates check constraint "not_that_day"/, 'a mart that fails fails the day');
is($f->query($everything), $before, 'a mart that fails leaves the marts as they were');
is($f->query(q(SELECT count(*) FROM tokens WHERE address ~ '^0xd[0-9]$')), 0, 'a mart that fails leaves the day as it was');
$f->query('ALTER TABLE marts.bursts DROP CONSTRAINT not_that_day');
is($f->query(q(SELECT status FROM contratos_run('2026-11-20'))), 'succeeded', 'it is loaded when nothing fails');
is($f->query(q(SELECT count(*) FROM marts.lookalikes WHERE day = '2026-11-20')), 9, 'its look-alikes are replaced');

# ---- one without the other, and a hook that was there before

$f->query('DROP PROCEDURE marts.refresh_lookalikes(date); DELETE FROM marts.lookalikes');
is($f->query(q(SELECT status FROM contratos_run('2026-11-20'))), 'succeeded', 'without a mart the other goes on');
is($f->query(q(SELECT (SELECT count(*) FROM marts.lookalikes), count(*) > 0 FROM marts.bursts WHERE day = '2026-11-20')), '0|t', 'the mart that was dropped is not filled');
$f->query(
	q(CREATE PROCEDURE public.mine(source text, day date) LANGUAGE plpgsql AS $$ BEGIN CALL marts.after_load(source, day); END $$;
	  UPDATE contratos_sources SET after_load = 'public.mine'));
($ok, $out) = install('lookalikes.sql');
is("$ok $out", "1 public.mine\n", 'a hook that was there stays');
is($f->query(q(SELECT status FROM contratos_run('2026-11-20'))), 'succeeded', 'a hook that calls the marts succeeds');
is($f->query(q(SELECT count(*) FROM marts.lookalikes WHERE day = '2026-11-20')), 9, 'a hook that calls the marts fills them');

# ---- a target of a role that is not the one who installs, in a schema of another name

$f->query(
	q(DROP SCHEMA marts CASCADE; UPDATE contratos_sources SET after_load = NULL; CREATE ROLE keeper; CREATE SCHEMA "Data" AUTHORIZATION keeper;
	  ALTER TABLE tokens OWNER TO keeper; ALTER TABLE tokens SET SCHEMA "Data"; ALTER FOREIGN TABLE bigquery_tokens OWNER TO keeper;
	  GRANT USAGE ON FOREIGN SERVER bigquery TO keeper; UPDATE contratos_sources SET target_table = '"Data".tokens'));
($ok, undef, $err) = install($_) and is("$ok $err", '1 ', "$_ is installed for the owner of the target") for 'lookalikes.sql', 'new_tokens.sql';
is($f->query(q(SELECT status FROM contratos_run('2026-11-20'))), 'succeeded', 'a target of another role is loaded');
is($f->query(q(SELECT count(*), (SELECT tableowner FROM pg_tables WHERE tablename = 'lookalikes') FROM marts.lookalikes)), '9|keeper', 'the marts are of the owner of the target');
$f->query('DROP SCHEMA marts CASCADE; UPDATE contratos_sources SET after_load = NULL; CREATE ROLE stranger; CREATE SCHEMA marts AUTHORIZATION stranger');
($ok, undef, $err) = install('lookalikes.sql');
like("$ok $err", qr/^0 .*schema "marts" does not belong to role "keeper", the owner of the target/s, 'a schema of somebody else is refused');

$f->stop;
done_testing();
