# contratos_check() sees with the eyes of the roles that load: whose key it is, what the
# target's owner lacks, publications, and what prevents the set-up before it is tried.
use strict;
use warnings;

use JSON::PP ();
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(init => { allows_streaming => 'logical' });
my $bq = $f->bq;

# The rows of a call by source and name: "tokens target".
sub checks
{
	my ($argument, $before) = @_;
	my $out = $f->query(($before // '') . "; SELECT jsonb_agg(c) FROM contratos_check($argument) c");
	my $rows = JSON::PP->new->decode((split /\n/, $out)[-1]);
	# they are folded to the width of a terminal
	for my $row (@$rows) { tr/\n//d for grep { defined } @$row{qw(found hint)}; }
	return { map { (($_->{source} // 'server') . " $_->{check_name}" => $_) } @$rows };
}

sub says
{
	my ($check, $status, $found, $hint, $name) = @_;
	is($check->{status}, $status, $name) or diag($check->{found});
	like($check->{found}, $found, "$name: found");
	return defined $hint ? like($check->{hint}, $hint, "$name: what to do") : is($check->{hint}, undef, "$name: nothing to do");
}

sub failed
{
	my ($checks) = @_;
	return join ', ', grep { $checks->{$_}{status} eq 'failed' } sort keys %$checks;
}

# ---- an existing tokens, before contratos_setup()

my $c = checks(q('tokens'));
says($c->{'tokens target'}, 'skipped', qr/^nothing is set up yet$/, undef, 'no tokens yet');
for my $case (
	[ 'CREATE TABLE tokens (address text, block_timestamp text)', qr/^public\.tokens exists and does not fit\. symbol: missing, wanted text;.*block_timestamp: text, wanted timestamp with time zone/, qr/^Change these columns/ ],
	[ 'CREATE SEQUENCE tokens', qr/^public\.tokens exists and is not a table that can be loaded$/, qr/^Rename it/ ],
	[ 'CREATE VIEW tokens AS SELECT 1 AS address', qr/^public\.tokens exists and does not allow both INSERT and DELETE$/, qr/INSTEAD OF/ ])
{
	my ($make, $found, $hint) = @$case;
	my ($kind) = $make =~ /^CREATE (\w+)/;
	$f->query($make);
	$c = checks(q('tokens'));
	says($c->{'tokens target'}, 'failed', $found, $hint, "a $kind tokens that does not fit");
	is(failed($c), 'tokens target', "a $kind tokens that does not fit: nothing else fails");
	like($f->fails('SELECT contratos_setup()'), qr/ERROR: .*exists and /, "a $kind tokens that does not fit: contratos_setup() says so, too");
	$f->query("DROP $kind tokens");
}
$f->query(q(CREATE TABLE tokens (address varchar, symbol text, name text, decimals text, total_supply numeric, block_timestamp timestamp, block_number bigint, block_hash text, more int NOT NULL)));
says(checks(q('tokens'))->{'tokens target'}, 'failed', qr/more: not null and without a default, wanted either/, qr/^Change/, 'a tokens with another column');
$f->query('ALTER TABLE tokens ALTER more DROP NOT NULL');
says(checks(q('tokens'))->{'tokens target'}, 'ok', qr/^the existing table tokens can be used$/, undef, 'a tokens that fits');
is(failed(checks(q('tokens'))), '', 'a tokens that fits: nothing fails');

# who may set it up
$f->query('CREATE ROLE asks; GRANT EXECUTE ON FUNCTION contratos_check TO asks');
says(checks(q('tokens'), 'SET ROLE asks')->{'tokens source'}, 'failed',
	qr/^permission denied to set up source "tokens"\. Role "asks" lacks: .*ownership of public\.tokens\.$/, qr/^Have a superuser/, 'a caller who may not set up');
$f->query('DROP TABLE tokens; SELECT contratos_setup()');

# ---- two servers' keys

my $good = $bq->key_file;
my $bad = $bq->unknown_key_file;
$f->query(qq(
	CREATE ROLE owner;
	GRANT USAGE, CREATE ON SCHEMA public TO owner;
	CREATE SERVER other FOREIGN DATA WRAPPER contratos OPTIONS (project 'other-project');
	ALTER SERVER other OWNER TO owner;
	SET ROLE owner;
	CREATE FOREIGN TABLE elsewhere (address text, block_timestamp timestamptz) SERVER other OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens');
	CREATE TABLE kept (LIKE elsewhere);
	RESET ROLE;
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column) VALUES ('kept', 'elsewhere', 'kept', 'block_timestamp')));
$bq->project('other-project');
$c = checks('NULL');
says($c->{'kept credentials_file'}, 'failed', qr/^contratos\.credentials_file does not serve server "other"\. Its owner "owner" is not a superuser\.$/, qr/user mapping for role "owner"/, 'a server of an ordinary role');
is($c->{'tokens token'}{status}, 'ok', 'a server of an ordinary role: the other server\'s key is accepted');
$f->query(qq(CREATE USER MAPPING FOR owner SERVER other OPTIONS (credentials_file '$bad'); CREATE USER MAPPING FOR CURRENT_USER SERVER other OPTIONS (credentials_file '$good')));
$c = checks('NULL');
says($c->{'kept token'}, 'failed', qr/invalid_grant/, qr/./, 'the key of the target\'s owner is asked with, not the caller\'s');
is($c->{'tokens token'}{status}, 'ok', 'the key of the target\'s owner is bad: the other server\'s key is accepted');
# also when the target cannot be loaded
$f->query('ALTER TABLE kept RENAME block_timestamp TO at');
$c = checks('NULL');
is(failed($c), 'kept target, kept token', 'a target that does not fit: the key is its owner\'s nevertheless');
$f->query(qq(ALTER TABLE kept RENAME at TO block_timestamp; ALTER USER MAPPING FOR owner SERVER other OPTIONS (SET credentials_file '$good')));
$c = checks('NULL');
is(failed($c), '', 'both servers have a good key');
says($c->{'kept project'}, 'ok', qr/^other-project is billed$/, undef, 'the other server\'s project');
says($c->{'tokens project'}, 'ok', qr/^test-project is billed$/, undef, 'the built-in server\'s project');

# ---- what the target's owner lacks

my %use = (
	'a default' => [ 'ALTER TABLE kept ADD extra text DEFAULT own.f($$x$$)', 'ALTER TABLE kept DROP extra' ],
	'a generated column' => [ 'ALTER TABLE kept ADD extra text GENERATED ALWAYS AS (own.f(address)) STORED', 'ALTER TABLE kept DROP extra' ],
	'a CHECK' => [ 'ALTER TABLE kept ADD CONSTRAINT extra CHECK (own.f(address) IS NOT NULL)', 'ALTER TABLE kept DROP CONSTRAINT extra' ],
	'an index' => [ 'CREATE INDEX extra ON kept (own.f(address))', 'DROP INDEX extra' ],
	'a domain' => [ 'CREATE DOMAIN d AS text CHECK (own.f(VALUE) IS NOT NULL); ALTER TABLE kept ALTER address TYPE d', 'ALTER TABLE kept ALTER address TYPE text; DROP DOMAIN d' ]);
$f->query('CREATE SCHEMA own; CREATE FUNCTION own.f(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN $1; END$$; REVOKE EXECUTE ON FUNCTION own.f(text) FROM PUBLIC; CREATE SEQUENCE own.s');
for my $what (sort keys %use)
{
	my ($add, $drop) = @{ $use{$what} };
	# (an index is made as the owner of the table)
	$f->query("GRANT EXECUTE ON FUNCTION own.f(text) TO owner; $add; REVOKE EXECUTE ON FUNCTION own.f(text) FROM owner");
	$c = checks(q('kept'));
	says($c->{'kept writable'}, 'failed', qr/^its owner, owner, lacks EXECUTE ON FUNCTION own\.f\(text\)$/, qr/^GRANT EXECUTE ON FUNCTION own\.f\(text\) TO owner;$/, "a function of $what");
	like($f->fails(q(SELECT contratos_run('2026-11-20', 'kept'))), qr/ERROR:  42501: permission denied for function f/, "a function of $what: a load fails as contratos_check() says");
	$f->query($c->{'kept writable'}{hint});
	is(failed(checks(q('kept'))), '', "a function of $what: the hint cures it");
	is($f->query(q(SELECT status FROM contratos_run('2026-11-20', 'kept'))), 'succeeded', "a function of $what: a load succeeds after the hint");
	$f->query("$drop; REVOKE EXECUTE ON FUNCTION own.f(text) FROM owner");
}
$f->query(q(ALTER TABLE kept ADD n bigint DEFAULT nextval('own.s')));
$c = checks(q('kept'));
says($c->{'kept writable'}, 'failed', qr/lacks USAGE ON SEQUENCE own\.s$/, qr/^GRANT USAGE ON SEQUENCE own\.s TO owner;$/, 'a sequence of a default');
like($f->fails(q(SELECT contratos_run('2026-11-20', 'kept'))), qr/ERROR:  42501: permission denied for sequence s/, 'a sequence of a default: a load fails as contratos_check() says');
$f->query($c->{'kept writable'}{hint});
is(failed(checks(q('kept'))), '', 'a sequence of a default: the hint cures it');
is($f->query(q(SELECT status FROM contratos_run('2026-11-20', 'kept'))), 'succeeded', 'a sequence of a default: a load succeeds after the hint');

# ---- on_failure

$f->query(q(UPDATE contratos_sources SET on_failure = 'public.nowhere' WHERE name = 'kept'));
$c = checks(q('kept'));
says($c->{'kept on_failure'}, 'warning', qr/^function "public\.nowhere" does not exist\. It is named in on_failure of source "kept"/, qr/^Make the function/, 'an on_failure that does not exist');
is(failed($c), '', 'an on_failure that does not exist: days can be loaded');
$f->query(q(UPDATE contratos_sources SET after_load = 'public.nowhere' WHERE name = 'kept'; ALTER FOREIGN TABLE elsewhere RENAME TO hidden));
$c = checks(q('kept'));
is($c->{'kept on_failure'}{status}, 'warning', 'an on_failure that does not exist is seen beside a foreign table that does not');
$f->query(q(ALTER FOREIGN TABLE hidden RENAME TO elsewhere));
$c = checks(q('kept'));
is("$c->{'kept after_load'}{status} $c->{'kept on_failure'}{status}", 'failed warning', 'an on_failure that does not exist is seen beside an after_load that does not');
$f->query(q(CREATE FUNCTION nowhere(text, date) RETURNS void LANGUAGE sql AS ''; CREATE FUNCTION nowhere(text, date, varchar) RETURNS void LANGUAGE sql AS '';
	ALTER FUNCTION nowhere(text, date) OWNER TO owner; ALTER FUNCTION nowhere(text, date, varchar) OWNER TO owner));
$c = checks(q('kept'));
is("$c->{'kept after_load'}{status} $c->{'kept on_failure'}{status}", 'ok warning', 'an on_failure with other arguments does not exist');
$f->query(q(CREATE SCHEMA mart; CREATE PROCEDURE mart.after(source text, day date) LANGUAGE sql BEGIN ATOMIC SELECT 1; END;
	CREATE PROCEDURE mart.failed(source text, day date, error text) LANGUAGE sql BEGIN ATOMIC SELECT 1; END;
	UPDATE contratos_sources SET after_load = 'mart.after', on_failure = 'mart.failed' WHERE name = 'kept'));
$c = checks(q('kept'));
says($c->{"kept $_"}, $_ eq 'after_load' ? 'failed' : 'warning', qr/^$_ of source "kept" may not be called by role "owner"\. That role owns/, qr/^GRANT USAGE ON SCHEMA mart TO owner;$/, "$_ in a schema that the owner may not use")
	for qw(after_load on_failure);
$f->query($c->{'kept after_load'}{hint});
$c = checks(q('kept'));
unlike("$c->{'kept after_load'}{found} $c->{'kept on_failure'}{found}", qr/may not be called/, 'after_load and on_failure in a schema: the hint cures it');
$f->query(q(UPDATE contratos_sources SET after_load = NULL, on_failure = NULL));

# ---- publications

is($c->{'server publication'}{status}, 'ok', 'no publication');
$f->query('CREATE PUBLICATION of_kept FOR TABLE kept');
$c = checks('NULL');
says($c->{'kept replica_identity'}, 'failed', qr/^none on public\.kept, in publication of_kept$/, qr/^ALTER TABLE public\.kept REPLICA IDENTITY FULL;$/, 'a published target');
is(failed($c), 'kept replica_identity, kept writable', 'a published target: it cannot be written, and nothing else fails');
$f->query($c->{'kept replica_identity'}{hint});
$c = checks('NULL');
says($c->{'kept replica_identity'}, 'ok', qr/^there is one, for publication of_kept$/, undef, 'a published target after the hint');
is(failed($c), '', 'a published target: the hint cures it');
$f->query(q(ALTER TABLE kept REPLICA IDENTITY DEFAULT; ALTER PUBLICATION of_kept SET (publish = 'insert')));
is(checks(q('kept'))->{'kept replica_identity'}{status}, 'ok', 'a target whose inserts alone are published');
is($f->query(q(SELECT status FROM contratos_run('2026-11-20', 'kept'))), 'succeeded', 'a target whose inserts alone are published can be loaded');
# partitions of other days, which the DELETE of yesterday does not touch
$f->query(q(
	DROP TABLE kept; CREATE TABLE kept (LIKE elsewhere) PARTITION BY RANGE (block_timestamp); ALTER TABLE kept OWNER TO owner;
	CREATE TABLE older PARTITION OF kept FOR VALUES FROM ('2026-01-01Z') TO ('2026-11-01Z'); CREATE TABLE newer PARTITION OF kept DEFAULT;
	ALTER TABLE newer REPLICA IDENTITY FULL; DROP PUBLICATION of_kept; CREATE PUBLICATION of_kept FOR TABLE kept));
$c = checks(q('kept'));
says($c->{'kept replica_identity'}, 'failed', qr/^none on public\.older, in publication of_kept$/, qr/^ALTER TABLE public\.older REPLICA IDENTITY FULL;$/, 'a published partition');
$f->query(q(ALTER PUBLICATION of_kept SET (publish_via_partition_root = true)));
is(checks(q('kept'))->{'kept replica_identity'}{status}, 'failed', 'a partition that is published by its root');
$f->query($c->{'kept replica_identity'}{hint});
is(failed(checks(q('kept'))), '', 'a published partition: the hint cures it');
# contratos' own
$f->query('CREATE PUBLICATION everything FOR ALL TABLES');
says(checks('NULL')->{'server publication'}, 'warning', qr/^contratos' own tables are in everything$/, qr/^Publish the tables that are loaded/, 'a publication of all tables');
$f->query('DROP PUBLICATION everything; CREATE PUBLICATION one FOR TABLE contratos_runs');
is(checks('NULL')->{'server publication'}{status}, 'warning', 'a publication of the ledger');
$f->query('DROP PUBLICATION one');
is(checks('NULL')->{'server publication'}{status}, 'ok', 'a publication of a target alone');

$f->stop;
done_testing();
