# Two sessions that call contratos_setup() for the first time at once: the
# second waits for the first and then finds everything there.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION contratos');

# A psql that is fed bit by bit; output of both kinds goes to one place.
sub session
{
	my %session = (in => '', out => '');
	$session{harness} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$session{in}, '>', \$session{out}, '2>&1',
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%session;
}

sub run_in
{
	my ($session, $sql) = @_;
	$session->{in} .= "$sql\n\\echo == done\n";
	return;
}

sub finish
{
	my ($session) = @_;
	$session->{harness}->pump until $session->{out} =~ /^== done$/m;
	my ($said) = $session->{out} =~ /\A(.*)^== done$/ms;
	$session->{out} = '';
	return $said;
}

my $first = session();
my $second = session();

run_in($first, 'BEGIN; SELECT contratos_setup();');
like(finish($first), qr/created table public\.tokens\n.*registered source tokens/,
	'the first contratos_setup() creates tokens');

run_in($second, 'SELECT contratos_setup();');
$second->{harness}->pump_nb;
ok( $node->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_locks
		WHERE NOT granted AND locktype = 'object' AND classid = 'pg_extension'::regclass}),
	'the second contratos_setup() waits for the first');
is($second->{out}, '', 'the second contratos_setup() prints nothing while it waits');

run_in($first, 'COMMIT;');
finish($first);
unlike(finish($second), qr/\S/, 'the second contratos_setup() has nothing to do after the first has committed');
is($node->safe_psql('postgres', 'SELECT count(*) FROM contratos_sources'), 1,
	'two calls of contratos_setup() register one source');

# after a rollback it is the second that makes it
$node->safe_psql('postgres', 'DROP EXTENSION contratos CASCADE; DROP TABLE tokens; CREATE EXTENSION contratos');
run_in($first, 'BEGIN; SELECT contratos_setup();');
finish($first);
run_in($second, 'SELECT contratos_setup();');
$second->{harness}->pump_nb;
ok( $node->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_locks
		WHERE NOT granted AND locktype = 'object' AND classid = 'pg_extension'::regclass}),
	'the second contratos_setup() waits for a transaction that will be rolled back');
run_in($first, 'ROLLBACK;');
finish($first);
like(finish($second), qr/created table public\.tokens\n.*registered source tokens/,
	'the second contratos_setup() creates what the first has rolled back');

# DROP EXTENSION waits for a transaction that uses the extension
run_in($first, 'BEGIN; SELECT contratos_setup();');
finish($first);
run_in($second, 'DROP EXTENSION contratos CASCADE;');
$second->{harness}->pump_nb;
ok( $node->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_locks
		WHERE NOT granted AND locktype = 'object' AND classid = 'pg_extension'::regclass}),
	'DROP EXTENSION waits');
run_in($first, 'SELECT contratos_setup(); COMMIT;');
unlike(finish($first), qr/ERROR/, 'the transaction that DROP EXTENSION waits for meets no deadlock');
like(finish($second), qr/drop cascades/, 'DROP EXTENSION succeeds after that transaction has committed');

$_->{in} .= "\\q\n" for $first, $second;
$_->{harness}->finish for $first, $second;
$node->stop;
done_testing();
