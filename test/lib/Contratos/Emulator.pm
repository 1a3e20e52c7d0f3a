# The BigQuery emulator as the tests use it: an independent judge of our
# GoogleSQL, reached over REST.
#
# It runs as whoever may run it: with CONTRATOS_EMULATOR_URL set somebody else
# has started it (a test as the user postgres cannot enter another user's
# Python); otherwise it is started here, on free ports with a fresh data
# folder, and stopped when the object goes.
package Contratos::Emulator;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use HTTP::Tiny;
use JSON::PP ();

use Contratos::Sample qw(sample_columns sample_rows);

my $program = abs_path(dirname(__FILE__) . '/../../emulator/emulator');

# What an insertAll holds at most.
my $rows_per_request = 2000;

my @dataset = ('bigquery-public-data', 'crypto_ethereum');
my $table = 'tokens';

# new(url => …): one that runs; new(): CONTRATOS_EMULATOR_URL's, or its own.
sub new
{
	my ($class, %args) = @_;
	my $self = bless {
		url => $args{url} // $ENV{CONTRATOS_EMULATOR_URL},
		http => HTTP::Tiny->new(timeout => 120),
		json => JSON::PP->new->utf8->canonical,
	}, $class;
	if (!defined $self->{url})
	{
		$self->{folder} = File::Temp->newdir('contratos-emulator-XXXXXX', TMPDIR => 1);
		chomp($self->{url} = `'$program' start '$self->{folder}'`);
		die "the emulator did not start" if $? != 0;
	}
	return $self;
}

sub url { return $_[0]->{url}; }

sub stop
{
	my ($self) = @_;
	system($program, 'stop', $self->{folder}) if $self->{folder};
	delete $self->{folder};
	return;
}

sub DESTROY
{
	# a test's exit code is its own
	local $?;
	$_[0]->stop;
	return;
}

# A cluster with the extension, which asks here; init: more for its init().  Who
# calls it uses PostgreSQL::Test::Cluster: whoever only fills the emulator need not.
sub node
{
	my ($self, $name, %args) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%{ $args{init} // {} });
	$node->append_conf(
		'postgresql.conf', qq(
contratos.endpoint = '$self->{url}'
contratos.project = 'test-project'
timezone = '@{[ $args{timezone} // 'Pacific/Kiritimati' ]}'
));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION contratos');
	return $node;
}

# One request below /bigquery/v2; the decoded answer, dies unless it is 2xx
# (or $args{may_fail}: then undef).
sub request
{
	my ($self, $method, $path, $body, %args) = @_;
	my $answer = $self->{http}->request(
		$method,
		"$self->{url}/bigquery/v2/$path",
		{
			headers => { 'Content-Type' => 'application/json' },
			defined $body ? (content => $self->{json}->encode($body)) : (),
		});
	if (!$answer->{success})
	{
		return if $args{may_fail};
		die "$method $path: $answer->{status} $answer->{content}";
	}
	return length $answer->{content} ? $self->{json}->decode($answer->{content}) : {};
}

# An empty tokens table, whatever was there before.
sub create
{
	my ($self) = @_;
	my ($project, $dataset) = @dataset;
	$self->request('POST', "projects/$project/datasets",
		{ datasetReference => { projectId => $project, datasetId => $dataset }, location => 'US' },
		may_fail => 1);
	$self->request('DELETE', "projects/$project/datasets/$dataset/tables/$table", undef, may_fail => 1);
	my %type = (block_timestamp => 'TIMESTAMP', block_number => 'INTEGER');
	my %required = map { $_ => 1 } qw(address block_timestamp block_number block_hash);
	$self->request(
		'POST',
		"projects/$project/datasets/$dataset/tables",
		{
			tableReference => { projectId => $project, datasetId => $dataset, tableId => $table },
			timePartitioning => { type => 'DAY', field => 'block_timestamp' },
			schema => {
				fields => [
					map {
						{
							name => $_,
							type => $type{$_} // 'STRING',
							mode => $required{$_} ? 'REQUIRED' : 'NULLABLE'
						}
					} sample_columns()
				]
			}
		});
	return;
}

# Rows (hashes; what has no column is left out) into it.  No insertId: equal
# rows are wanted twice.
sub insert
{
	my ($self, @rows) = @_;
	while (my @some = splice @rows, 0, $rows_per_request)
	{
		my @json = map { my $row = $_; { json => { map { $_ => $row->{$_} } sample_columns() } } } @some;
		my $answer = $self->request('POST', "projects/$dataset[0]/datasets/$dataset[1]/tables/$table/insertAll",
			{ rows => \@json });
		# rejected rows come with HTTP 200
		die 'rows rejected: ' . $self->{json}->encode($answer->{insertErrors}) if $answer->{insertErrors};
	}
	return;
}

# The table with the token sample in it, and nothing else.
sub seed
{
	my ($self) = @_;
	$self->create;
	$self->insert(sample_rows());
	return;
}

# GoogleSQL, now, with TIMESTAMP parameters by name; the rows as lists of text
# as the extension gets them, NULL as undef.
sub sql
{
	my ($self, $query, %parameters) = @_;
	my $answer = $self->request(
		'POST',
		'projects/test-project/queries',
		{
			query => $query,
			useLegacySql => JSON::PP::false,
			timeoutMs => 60000,
			formatOptions => { useInt64Timestamp => JSON::PP::true },
			parameterMode => 'NAMED',
			queryParameters => [
				map {
					{
						name => $_,
						parameterType => { type => 'TIMESTAMP' },
						parameterValue => { value => $parameters{$_} }
					}
				} sort keys %parameters
			],
		});
	die "not finished: $query" unless $answer->{jobComplete};
	return map { [ map { $_->{v} } @{ $_->{f} } ] } @{ $answer->{rows} // [] };
}

# A UTC day out of the table, as upstream does before it loads it again.
sub delete_day
{
	my ($self, $day) = @_;
	my $name = join '.', @dataset, $table;
	$self->sql("DELETE FROM `$name` WHERE DATE(block_timestamp) = \"$day\"");
	return;
}

1;
