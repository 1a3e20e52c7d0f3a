# What a worker's first line in the log says of who is billed, so that a restored clone
# with a production key is noticed.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $f = Contratos::Worker->new(conf => "contratos.project = ''");
my ($bq, $node) = ($f->bq, $f->node);
my ($key, $user) = ($bq->key_file, $bq->user_file);

# The detail of the start of the next worker; what is done before.
my $minute = 1;
sub start
{
	my (@settings) = @_;
	my $at = -s $node->logfile;
	$f->at(sprintf('2026-11-21 06:%02d', $minute++), @settings);
	return slurp_file($node->logfile, $at) =~ /LOG:  contratos worker started for database "postgres"\n(?:[^\n]*DETAIL:  ((?:[^\n]*\n\t)*[^\n]*))?/ ? $1 : 'no start';
}

is(start(), "BigQuery project: test-project; credentials: $key.", 'the project that the key names, and its file');
is(start('contratos.project' => 'set-project'), "BigQuery project: set-project; credentials: $key.", 'the project that is set, and the file');
unlike(slurp_file($node->logfile), qr/PRIVATE KEY|ya29\./, 'the log has no secret');

# a server and a key of another source
$f->query(qq(
	CREATE SERVER other FOREIGN DATA WRAPPER contratos OPTIONS (project 'of-the-server');
	CREATE USER MAPPING FOR CURRENT_USER SERVER other OPTIONS (credentials_file '$user');
	CREATE FOREIGN TABLE elsewhere (address text, block_timestamp timestamptz) SERVER other OPTIONS ("table" 'bigquery-public-data.crypto_ethereum.tokens');
	CREATE TABLE kept (LIKE elsewhere); CREATE TABLE more (LIKE elsewhere);
	INSERT INTO contratos_sources (name, remote_table, target_table, timestamp_column, start_date) VALUES
		('kept', 'elsewhere', 'kept', 'block_timestamp', '2026-12-24'), ('more', 'elsewhere', 'more', 'block_timestamp', '2026-12-24')));
is(start(), "BigQuery project: of-the-server; credentials: $user.\n\tBigQuery project: set-project; credentials: $key.", 'each project and key of the sources, once');
$f->query(qq(ALTER SERVER other OPTIONS (SET project 'set-project'); ALTER USER MAPPING FOR CURRENT_USER SERVER other OPTIONS (SET credentials_file '$key.')));
like(start(), qr/credentials: \Q$key\E\.\.\n.*credentials: \Q$key\E\.$/, 'a key whose name begins with that of another: both are named');
$f->query(qq(ALTER SERVER other OPTIONS (SET project 'of-the-server'); ALTER USER MAPPING FOR CURRENT_USER SERVER other OPTIONS (SET credentials_file '$user')));
$f->query('DROP TABLE more; ALTER SERVER other OPTIONS (DROP project)');
like(start(), qr/^BigQuery project: [^;]+; credentials: \Q$user\E\.\n/, 'a source whose target is gone does not hide the others');
$f->query(q(UPDATE contratos_sources SET enabled = false WHERE name <> 'tokens'));
is(start(), "BigQuery project: set-project; credentials: $key.", 'disabled sources are not billed');

# credentials that cannot be used
is(start('contratos.project' => '', 'contratos.credentials_file' => '/nowhere/key.json'),
	'BigQuery project: unknown, as the credentials cannot be used; credentials: /nowhere/key.json.', 'a key that is not there: the file is named');
is(start('contratos.credentials_file' => 'metadata'), 'BigQuery project: as the credentials say; credentials: metadata.', 'the metadata server: nothing is asked');
is(start('contratos.credentials_file' => ''), 'BigQuery project: none; credentials: none.', 'an emulator: neither');

# without the extension the settings are what a restore will meet
$f->query('DROP EXTENSION contratos CASCADE');
is(start('contratos.credentials_file' => $key), "BigQuery project: test-project; credentials: $key.", 'without the extension: what the settings say');

$f->stop;
done_testing();
