# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Auth - a cluster that logs all it can, to try credentials on and to search for secrets

=head1 SYNOPSIS

  my $auth = Contratos::Auth->new('auth');
  $auth->works('a good key', $auth->bq->key_file);
  $auth->fails('an empty file', '22P02', [ qr/cannot be used/ ], $auth->file_with(''));
  $auth->no_secrets('what they look like' => qr/.../);

What is tried is always the same: one day (2024-02-29, 67 rows), loaded by
C<contratos_run()>.

=cut

package Contratos::Auth;

use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Session;
use Contratos::Standin;

my $day = '2024-02-29';
my $json = JSON::PP->new->canonical;

=head1 METHODS

=head2 new($name, $conf), bq(), node(), day()

Starts a stand-in and a cluster whose log misses nothing, with the built-in
source set up; C<$conf> is more for postgresql.conf.

=cut

sub new
{
	my ($class, $name, $conf) = @_;
	my $bq = Contratos::Standin->start;
	my $node = PostgreSQL::Test::Cluster->new($name);
	# on a machine of Google Cloud's this stand-in takes the place of its metadata server, too
	local $ENV{GCE_METADATA_HOST} = $bq->url =~ s{^http://}{}r;
	$node->init;
	$node->append_conf(
		'postgresql.conf', qq(
contratos.endpoint = '@{[ $bq->url ]}'
contratos.credentials_file = '@{[ $bq->key_file ]}'
contratos.ca_file = '@{[ $bq->ca_file ]}'
contratos.connect_timeout = '30s'
contratos.request_timeout = '30s'
log_min_messages = debug5
log_min_error_statement = debug5
log_statement = all
log_duration = on
log_error_verbosity = verbose
debug_print_plan = on
autovacuum = off
@{[ $conf // '' ]}
));
	$node->start;
	my $self = bless {
		bq => $bq,
		node => $node,
		dir => PostgreSQL::Test::Utils::tempdir,
		files => 0,
		shown => '',    # all that any client was shown
	}, $class;
	$node->safe_psql('postgres', 'CREATE EXTENSION contratos');
	$node->safe_psql('postgres', 'SELECT contratos_setup()');
	return $self;
}

sub bq { return $_[0]{bq}; }
sub node { return $_[0]{node}; }
sub dir { return $_[0]{dir}; }
sub day { return $day; }

# What statements answer and say, at the most talkative; user => whose they are.
sub query
{
	my ($self, $sql, %how) = @_;
	my $user = $how{user} // 'postgres';
	my (undef, $out, $err) = $self->{node}->psql(
		'postgres',
		"\\set VERBOSITY verbose\nSET client_min_messages = debug5;\n$sql",
		connstr => $self->{node}->connstr('postgres') . " user=$user");
	$self->{shown} .= "$out\n$err\n";
	return ($out, $err);
}

# Load the day with these credentials, and perhaps other settings.
sub load
{
	my ($self, $file, %settings) = @_;
	$settings{credentials_file} = $file if defined $file;
	my $set = join '', map { "SET contratos.$_ = '$settings{$_}';\n" } sort keys %settings;
	return $self->query("$set SELECT status || '|' || rows_loaded FROM contratos_run('$day')");
}

# Requests of a kind since the last reset.
sub count { return scalar($_[0]{bq}->requests($_[1])); }

sub works
{
	my ($self, $name, $file, %settings) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 2;
	my ($out, $err) = $self->load($file, %settings);
	return is($out, 'succeeded|67', $name) || diag($err =~ s/^.*DEBUG.*\n//mgr);
}

# The call fails with this SQLSTATE; message, detail and hint are like each of the patterns.
sub fails
{
	my ($self, $name, $state, $likes, $file, %settings) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 2;
	my ($out, $err) = $self->load($file, %settings);
	my ($error) = $err =~ /(ERROR:  .*)/s;
	$error =~ s/^(?:psql:[^ ]*: )?(?:DEBUG|LOG): .*\n//mg if defined $error;
	like($error // $err, qr/^ERROR:  $state: /, "$name: SQLSTATE $state");
	like($error // $err, $_, "$name: says " . ($_ =~ /HINT/ ? 'what to do' : 'what is wrong')) for @$likes;
	is($out, '', "$name: no result");
	return;
}

# The same for what is refused by its looks (22023), of which there is much: in
# one session for all, at that session's own level of messages.
sub refuses
{
	my ($self, $name, $likes, $file, %settings) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 2;
	$self->{session} //= Contratos::Session->new($self->{node});
	$settings{credentials_file} = $file;
	my $set = join ' ', map { "SET contratos.$_ = '$settings{$_}';" } sort keys %settings;
	my $answer = $self->{session}->query("RESET ALL; $set SELECT contratos_run('$day')");
	$self->{shown} .= "$answer->{out}\n$answer->{err}\n";
	like($answer->{err}, qr/ERROR:  22023: /, "$name: refused");
	like($answer->{err}, $_, "$name: says " . ($_ =~ /HINT/ ? 'what to do' : 'what is wrong')) for @$likes;
	return;
}

# The answers of two runs in one session; between => what happens between them.
sub twice
{
	my ($self, %settings) = @_;
	my $session = Contratos::Session->new($self->{node});
	my $run = "SELECT status || '|' || rows_loaded FROM contratos_run('$day')";
	my $between = delete $settings{between} // sub { };
	$session->query(join ';', map { "SET contratos.$_ = '$settings{$_}'" } sort keys %settings) if %settings;
	my @answers = $session->query($run);
	$between->();
	push @answers, $session->query($run);
	$self->{shown} .= "$_->{out}\n$_->{err}\n" for @answers;
	$session->quit;
	return join ' ', map { $_->{out} || $_->{err} } @answers;
}

=head2 file_with($text, $mode), file_like($file, %changes)

The path of a new file, of mode 0600 unless given: with this text; with the JSON
of another file and some of its fields changed, or (undef) left out.

=cut

sub file_with
{
	my ($self, $text, $mode) = @_;
	my $path = "$self->{dir}/file" . ++$self->{files} . '.json';
	open my $file, '>', $path or die "$path: $!";
	print $file $text;
	close $file;
	chmod $mode // 0600, $path;
	return $path;
}

sub file_like
{
	my ($self, $file, %changes) = @_;
	my %content = (%{ $self->content($file) }, %changes);
	delete $content{$_} for grep { !defined $content{$_} } keys %content;
	return $self->file_with($json->encode(\%content));
}

sub content { return $json->decode(slurp_file($_[1])); }

=head2 no_secrets(%secrets)

Stops the cluster and searches its log, its tables, settings and all that clients
were shown for each of these patterns.

=cut

sub no_secrets
{
	my ($self, %secret) = @_;
	my $node = $self->{node};
	$self->{session}->quit if $self->{session};
	my %heap = ('what clients were shown' => $self->{shown});
	$heap{'the ledger'} = $node->safe_psql('postgres', join ';', map { "SELECT * FROM contratos_$_" } qw(runs rejects sources));
	$heap{'settings and activity'} = $node->safe_psql('postgres',
		q(LOAD 'contratos'; SELECT * FROM pg_settings WHERE name LIKE 'contratos.%'; SELECT * FROM pg_stat_activity));
	$node->stop;
	$heap{'the server\'s log'} = slurp_file($node->logfile);
	for my $where (sort keys %heap)
	{
		cmp_ok(length $heap{$where}, '>', 100, "$where: there is something to search");
		for my $what (sort keys %secret)
		{
			unlike(_excerpt($heap{$where}, $secret{$what}), qr/./, "$where: not $what");
		}
	}
	like($heap{'the server\'s log'}, qr/contratos_run\('$day'\)/, 'the log was searched where it matters');
	like($heap{'the server\'s log'}, qr/DEBUG/, '… with all its messages');
	return;
}

# What is around the first match, so that a failure shows the culprit and not megabytes; or nothing.
sub _excerpt
{
	my ($text, $pattern) = @_;
	return $text =~ /$pattern/ ? substr($text, $-[0] > 200 ? $-[0] - 200 : 0, 300) : '';
}

1;
