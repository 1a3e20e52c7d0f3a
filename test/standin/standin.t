# Contratos::Standin drives the stand-in: start, rules, waiting, tables, kill, restart, stop.
#   prove test/standin/standin.t
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Contratos::Standin;
use HTTP::Tiny;
use JSON::PP ();
use POSIX ();
use Test::More;

my $bq = Contratos::Standin->start(generate => '2026-11-01:10', dense_ends => '2026-11-20', anonymous => 1);
my $row = [ '0xaa', 'S', undef, '18', '1', '2026-11-20 12:00:00+00', 1, '0xbb' ];

ok(-r $bq->$_, "$_ is there")
  for qw(ca_file other_ca_file key_file unknown_key_file ec_key_file user_file external_file subject_token_file impersonated_file log_file);
is((stat $bq->key_file)[2] & 07777, 0600, 'the key file is private');
is($bq->table(undef, append => 1, rows => [$row]), 923, 'rows are added to the tokens');

my $rule = $bq->rule({ kind => 'get' }, { stall => 'before_headers' });
my $pid = fork // die "could not fork: $!";
if (!$pid)
{
	HTTP::Tiny->new->get($bq->url . '/bigquery/v2/projects/test-project/jobs/x?location=US');
	POSIX::_exit(0);
}
is($bq->wait(rule => $rule, state => 'stalled')->{kind}, 'get', 'the request is stalled');
kill 'KILL', $pid;
waitpid $pid, 0;
is($bq->wait(rule => $rule, state => 'closed')->{kind}, 'get', 'the stand-in sees the client go');
$bq->release($rule);
is(scalar(my @got = $bq->requests('get')), 1, 'the log has one request');
is(scalar(@got = $bq->rules), 1, 'the stand-in has one rule');
is(scalar(@got = $bq->jobs), 0, 'the stand-in has no job');

my $url = $bq->url;
$bq->kill;
ok(!eval { $bq->jobs; 1 }, 'a killed stand-in answers nothing');
like($@, qr/not running/, 'the error of a killed stand-in says so');
$bq->restart;
is($bq->url, $url, 'a restart keeps the port');
is($bq->delete_day(undef, '2026-11-01'), 913, 'a restart keeps the tables');
$bq->reset;
is($bq->table(undef, append => 1), 922, 'a reset puts the tables back');

# The API's answer to a call; the server asks for no token here.
sub api { return JSON::PP::decode_json(HTTP::Tiny->new->get($bq->url . "/bigquery/v2/projects/$_[0]")->{content}); }

$bq->table('own.d.t', schema => [ { name => 'a', type => 'INT64' }, { name => 'l', type => 'STRING', mode => 'REPEATED' } ],
	rows => [ [ 1, [ 'x', undef ] ] ], time_partitioning => { type => 'DAY' }, require_partition_filter => 1,
	partition => '2026-11-20', location => 'EU', description => 'mine');
is($bq->alter('own.d.t', add => [ { name => 'b', type => 'DATE' } ], change => { a => 'STRING' }), 1, 'a table is altered');
$bq->dataset('own.empty', 'EU');
$bq->table('own.d.gone', schema => [ { name => 'a', type => 'INT64' } ]);
$bq->drop_table('own.d.gone');
my $key = $bq->account('other', 'other-project');
$bq->project('other-project', accounts => ['other']);
$bq->restart;
my $got = api('own/datasets/d/tables/t');
is("@{[ map { $_->{type} } @{ $got->{schema}{fields} } ]}", 'STRING STRING DATE', 'a restart keeps an altered schema');
is("$got->{location} $got->{description} $got->{requirePartitionFilter}", 'EU mine 1',
	'a restart keeps location, description and partition filter');
is(api('own/datasets/d/tables')->{totalItems}, 1, 'a dropped table is gone');
is(api('own/datasets/empty/tables')->{totalItems}, 0, 'an empty dataset is there');
is((stat $key)[2] & 07777, 0600, 'the key of another account is private');
like(api('other-project/datasets/x/tables')->{error}{message}, qr/^Access Denied/,
	'the project of another account denies access');
$bq->project('other-project');
like(api('other-project/datasets/x/tables')->{error}{message}, qr/^Not found/,
	'a project that is opened allows access');

ok(!eval { $bq->rule({}, { nonsense => 1 }); 1 }, 'a rule with an unknown key is refused');
like($@, qr/unknown key in rule: nonsense/, 'the error of a refused rule names the key');
ok(!eval { $bq->wait(kind => 'cancel', timeout => 0.1); 1 }, 'a wait has a deadline');
like($@, qr/not reached within/, 'the error of a wait says that its deadline passed');

my ($directory, $server) = ($bq->directory, $bq->pid);
undef $bq;
ok(!-e $directory, 'the directory goes with the object');
ok(!kill(0, $server), 'the server goes with the object');

ok(!eval { Contratos::Standin->start(csv => '/nonexistent'); 1 }, 'a server that cannot start is an error');
like($@, qr/did not start.*nonexistent/s, 'the error of a server that cannot start has its output');

done_testing;
