# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Watch - exporter, Prometheus and Alertmanager around a cluster, for TAP tests

=head1 SYNOPSIS

  my $watch = Contratos::Watch->new(node => $f->node, role => 'watch', rules => $text);
  ok($watch->until(sub { $watch->firing->{ContratosDayLate} }), '...');
  my @samples = $watch->samples('contratos_source_late_seconds');

Debian's packages.  Each second is scraped and evaluated.  The processes end with
the test.

=cut

package Contratos::Watch;

use strict;
use warnings;

use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

my $patience = $PostgreSQL::Test::Utils::timeout_default || 180;
my $folder = PostgreSQL::Test::Utils::tempdir;
my @all;

=head1 METHODS

=head2 new(%options)

C<node>, C<database> and C<role>: what the exporter connects to, and as whom;
C<queries>: its file; C<rules>: the text of Prometheus' rules.  Returns when
Prometheus has scraped.

=cut

sub new
{
	my ($class, %options) = @_;
	my $self = bless { database => 'postgres', processes => {}, %options }, $class;
	push @all, $self;
	$self->{port}{$_} = PostgreSQL::Test::Cluster::get_free_port() for qw(exporter prometheus alertmanager);
	append_to_file("$folder/rules.yaml", $self->{rules});
	append_to_file("$folder/alertmanager.yml", "route: {receiver: nobody, group_by: [alertname], group_wait: 0s, group_interval: 1s}\nreceivers: [{name: nobody}]\n");
	append_to_file("$folder/prometheus.yml", qq(global: {scrape_interval: 1s, evaluation_interval: 1s, scrape_timeout: 1s}
rule_files: [rules.yaml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:$self->{port}{alertmanager}"]}]}]}
scrape_configs: [{job_name: contratos, scrape_timeout: 1s, static_configs: [{targets: ["127.0.0.1:$self->{port}{exporter}"]}]}]
));
	$self->start_exporter;
	$self->_run('alertmanager', 'prometheus-alertmanager', "--config.file=$folder/alertmanager.yml", "--storage.path=$folder/alertmanager",
		"--web.listen-address=127.0.0.1:$self->{port}{alertmanager}", '--cluster.listen-address=');
	$self->_run('prometheus', 'prometheus', "--config.file=$folder/prometheus.yml", "--storage.tsdb.path=$folder/prometheus",
		"--web.listen-address=127.0.0.1:$self->{port}{prometheus}");
	$self->until(sub { $self->samples('contratos_source_enabled') }) or die 'Prometheus has no samples: ' . $self->logs;
	return $self;
}

sub start_exporter
{
	my ($self) = @_;
	local $ENV{DATA_SOURCE_NAME} = join ' ', "host=@{[ $self->{node}->host ]}", "port=@{[ $self->{node}->port ]}", "user=$self->{role}", "dbname=$self->{database}", 'sslmode=disable';
	$self->_run('exporter', 'prometheus-postgres-exporter', "--web.listen-address=127.0.0.1:$self->{port}{exporter}", '--disable-default-metrics',
		'--disable-settings-metrics', "--extend.query-path=$self->{queries}");
	return;
}

sub stop_exporter
{
	my ($self) = @_;
	return $self->_end('exporter');
}

=head2 firing()

The alerts that Alertmanager has, by name: a hash of their JSON, of one of each.

=head2 samples($expression)

What Prometheus answers: a list of { metric, value }.

=head2 until($code)

Calls it until it returns something true, which is returned, or the deadline has passed.

=head2 page()

What the exporter answers.

=cut

sub firing
{
	my ($self) = @_;
	my $alerts = $self->_get('alertmanager', '/api/v2/alerts?active=true');
	return { map { $_->{labels}{alertname} => $_ } @{ $alerts || [] } };
}

sub samples
{
	my ($self, $expression) = @_;
	my $query = $expression =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ger;
	my $answer = $self->_get('prometheus', "/api/v1/query?query=$query") or return;
	die "$expression: $answer->{error}" if $answer->{status} ne 'success';
	return map { { metric => $_->{metric}, value => $_->{value}[1] } } @{ $answer->{data}{result} };
}

sub until
{
	my ($self, $code) = @_;
	my $deadline = time + $patience;
	while (time < $deadline)
	{
		my $result = $code->();
		return $result if $result;
		sleep 0.2;
	}
	return;
}

sub page
{
	my ($self) = @_;
	return _http()->get("http://127.0.0.1:$self->{port}{exporter}/metrics")->{content};
}

sub logs
{
	my ($self) = @_;
	return join "\n", map { "$_:\n" . substr(slurp_file("$folder/$_.log"), -2000) } sort keys %{ $self->{processes} };
}

sub stop
{
	my ($self) = @_;
	$self->_end($_) for sort keys %{ $self->{processes} };
	return;
}

# Also when the test dies: before objects are destroyed, in whatever order.
END { local $?; $_->stop for @all; }

# -- inside --------------------------------------------------------------------

sub _http { return HTTP::Tiny->new(timeout => 10, proxy => undef, http_proxy => undef, https_proxy => undef); }

sub _get
{
	my ($self, $what, $path) = @_;
	my $answer = _http()->get("http://127.0.0.1:$self->{port}{$what}$path");
	return if $answer->{status} == 599; # it is not there yet
	return eval { decode_json($answer->{content}) };
}

sub _run
{
	my ($self, $name, @command) = @_;
	$self->{processes}{$name} = IPC::Run::start(\@command, '<', \undef, '>>', "$folder/$name.log", '2>&1');
	return;
}

sub _end
{
	my ($self, $name) = @_;
	my $process = delete $self->{processes}{$name} or return;
	$process->kill_kill(grace => 5);
	return;
}

1;
