# Each alert brought about in life: a worker, the exporter, Prometheus and Alertmanager run,
# the stand-in for BigQuery misbehaves, the alert is in Alertmanager, and is gone again
# when the trouble is over.  Time is contratos.now, by which the metrics go; the rules
# are those of deploy/monitoring with shorter durations and no other difference.  Then
# the dashboard's queries are put to the Prometheus that has seen all this.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Contratos::Watch;
use Contratos::Worker;

my $root = abs_path(dirname(__FILE__) . '/../../..');
my $rules = slurp_file("$root/deploy/monitoring/rules.yaml");

# ---- the rules with durations that are 300 times shorter

my %seconds = (m => 60, h => 3600, d => 86400);
my $duration = qr/(?<=for: |.\[)(\d+)([mhd])(?=\]|$)/m;
my $shorter = $rules =~ s/$duration/int($1 * $seconds{$2} \/ 300) . 's'/ger;
is($shorter =~ s/(?<=for: |.\[)\d+s(?=\]|$)/*/mgr, $rules =~ s/$duration/*/gr, 'the rules differ in durations only');
is(scalar(() = $shorter =~ /\d[mhd]\b/g), 0, 'and each duration is shorter');

# ---- all that runs

my $f = Contratos::Worker->new(conf => 'contratos.retries = 0');
my $bq = $f->bq;
$f->day("2026-11-$_", 50) for 21 .. 26;
$f->query('CREATE ROLE watch LOGIN; GRANT pg_monitor TO watch');
ok($f->at('2026-11-21 08:00'), 'the worker loads a day');
my $watch = Contratos::Watch->new(node => $f->node, role => 'watch', queries => "$root/deploy/monitoring/queries.yaml", rules => $shorter);

# ---- the exporter's page has the view's numbers, under the names of the file

my %described;
my $namespace;
for (split /\n/, slurp_file("$root/deploy/monitoring/queries.yaml"))
{
	$namespace = $1 if /^(contratos_\w+):/;
	$described{"${namespace}_$1"} = 1 if /^    - (\w+): \{usage: GAUGE/;
}
my %view = %{ decode_json($f->query('SELECT to_jsonb(m) FROM contratos_metrics m')) };
is(join(' ', sort map { "contratos_source_$_" } grep { $_ ne 'source' } keys %view), join(' ', sort grep { /^contratos_source_/ } keys %described), 'the file has each column of contratos_metrics');
my %page = map { /^(contratos_source_\w+)\{[^}]*source="tokens"[^}]*\} (\S+)$/ ? ($1 => $2) : () } split /\n/, $watch->page;
is(join(' ', sort keys %page), join(' ', sort grep { /^contratos_source_/ } keys %described), 'the exporter has each of them');
is(join(' ', grep { $page{"contratos_source_$_"} ne 'NaN' ? $page{"contratos_source_$_"} != ($view{$_} // 'nan') : defined $view{$_} } grep { $_ ne 'source' } sort keys %view), '', 'with the numbers of the view, and NaN for NULL');

# ---- nothing fires at first

sub still
{
	my ($seconds) = @_;
	my $until = time + $seconds;
	while (time < $until)
	{
		my @names = sort keys %{ $watch->firing };
		return join ' ', @names if @names;
		sleep 0.5;
	}
	return '';
}
is(still(8), '', 'nothing fires while all is well');

# ---- each alert; what is done, and what ends it

my @table;
my %happened;

# For alerts that one trouble brings about: name => after how many seconds.
sub fires
{
	my ($how, @names) = @_;
	my $began = time;
	for my $name (@names)
	{
		my $alert = $watch->until(sub { $watch->firing->{$name} });
		ok($alert, "$name fires: $how") or diag($watch->logs, join ' ', keys %{ $watch->firing });
		my $said = join ' ', values %{ $alert->{annotations} || {} };
		unlike($said, qr/<error|<no value>|\{\{|^$/, "$name says: $said");
		$happened{$name} = 1;
		push @table, [ $name, $how, time - $began ];
	}
	return;
}

sub ends
{
	my (@names) = @_;
	my $began = time;
	for my $name (@names)
	{
		ok($watch->until(sub { !$watch->firing->{$name} }), "$name ends");
		my ($row) = grep { $_->[0] eq $name } @table;
		push @$row, time - $began;
	}
	return;
}

$bq->delete_day(undef, '2026-11-21');
ok($f->at('2026-11-22 08:00') && $f->at('2026-11-22 12:01'), 'BigQuery does not have the day at 12:01');
fires('BigQuery has no rows of yesterday at 12:01 UTC', 'ContratosDayLate');
ok($f->at('2026-11-22 14:01'), 'nor at 14:01');
fires('and at 14:01 UTC', 'ContratosWaitingTooLong');
$f->day('2026-11-21', 50);
ok($f->at('2026-11-22 14:16'), 'it is there at the next question');
ends('ContratosDayLate', 'ContratosWaitingTooLong');

my $refuses = $bq->rule({ kind => 'insert', times => 0 }, { status => 403, reason => 'accessDenied', message => 'Access Denied: no' });
ok($f->at('2026-11-23 08:00'), 'BigQuery refuses');
fires('BigQuery answers 403 accessDenied', 'ContratosDaysFailed');
is(join(' ', map { "$_->{metric}{source} $_->{metric}{reason}" } $watch->samples('contratos_reason_failures_today > 0')), 'tokens accessDenied', 'the failures by reason are there');
$bq->reset(tables => 0);
$f->day('2026-11-22', 50);
$f->query(q(SELECT contratos_run('2026-11-22')));
ends('ContratosDaysFailed');

ok($f->at('2026-11-24 08:00', 'contratos.max_bytes_per_day' => '20MB'), 'a cap of a day is set');
fires('contratos.max_bytes_per_day is 20MB', 'ContratosBudgetNearlyUsed');
$f->set('contratos.max_bytes_per_day' => '10GB');
ends('ContratosBudgetNearlyUsed');

$f->day('2026-11-20', 60);
ok($f->at('2026-11-25 08:00'), 'BigQuery has other rows of a day that was confirmed');
fires('BigQuery changes a day after it was confirmed', 'ContratosConfirmedDayChanged');
ok($f->at('2026-11-26 00:30'), 'the next day');
ends('ContratosConfirmedDayChanged');

ok($f->at('2026-11-26 08:00'), 'the worker loads a day');
$f->query(q(CREATE FUNCTION erase() RETURNS void LANGUAGE sql AS $$ DELETE FROM tokens WHERE ctid IN (SELECT ctid FROM tokens WHERE block_timestamp >= '2026-11-25Z' AND block_timestamp < '2026-11-26Z' LIMIT 1) $$));
foreach my $time ('26 15:00', '26 22:00', '27 05:00')
{
	$f->query('SELECT erase()');
	ok($f->at("2026-11-$time"), "the worker rechecks a day with a row deleted, $time");
}
fires('rows of the target are deleted after each of its loads', 'ContratosDayDiffers');
$f->query(q(SELECT contratos_run('2026-11-25')));
ends('ContratosDayDiffers');

$bq->table(undef, replace_day => '2026-11-23', rows => [ map { $f->row(address => "0x$_", block_timestamp => '2026-11-23 12:00:00+00:00', decimals => 'nonsense') } 1 .. 40 ]);
$f->query(q(SELECT contratos_run('2026-11-23', allow_shrink => true)));
fires('BigQuery has nonsense in a column of 40 rows', 'ContratosRejectsRising');
$f->day('2026-11-23', 50);
$f->query(q(SELECT contratos_run('2026-11-23', allow_shrink => true)));
ends('ContratosRejectsRising');

$f->set('contratos.databases' => '');
fires('the database is taken out of contratos.databases', 'ContratosWorkerGone');
$f->set('contratos.databases' => 'postgres');
ends('ContratosWorkerGone');

$f->query(
	q(INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at) VALUES ('tokens', '2025-01-01', 'manual', 'failed', '2025-01-02 08:00Z', '2025-01-02 08:00Z');
	  CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
	  CREATE TRIGGER refuse BEFORE DELETE ON contratos_runs FOR EACH ROW EXECUTE FUNCTION refuse()));
ok($f->at('2026-11-28 00:30'), 'the worker cannot remove old attempts');
fires('a trigger keeps the worker from removing old attempts', 'ContratosStepsFail');
$f->query('DROP TRIGGER refuse ON contratos_runs; DELETE FROM contratos_sources WHERE false');
ends('ContratosStepsFail');

$f->query(q(UPDATE contratos_sources SET enabled = false));
$f->settle;
$f->query(q(SELECT contratos_enqueue('2026-11-10', '2026-11-12')));
fires('days are queued for a source that is disabled', 'ContratosQueueStuck');
$f->query(q(UPDATE contratos_sources SET enabled = true));
ends('ContratosQueueStuck');

$bq->delete_day(undef, "2026-11-$_") for 27 .. 29;
ok($f->at($_), "BigQuery has nothing, $_") for map { ("2026-11-$_ 08:00", "2026-11-$_ 20:01") } 28, 29;
ok($f->at('2026-11-30 08:00'), 'BigQuery has nothing for three days');
fires('BigQuery has no rows of three days', 'ContratosUpstreamSilent');
$f->day("2026-11-$_", 50) for 27 .. 29;
$f->query('SELECT * FROM contratos_backfill(4)');
ends('ContratosUpstreamSilent');

$watch->stop_exporter;
fires('the exporter is stopped', 'ContratosNoMetrics');
$watch->start_exporter;
ends('ContratosNoMetrics');

is(join(' ', sort keys %happened), join(' ', sort $rules =~ /^ +- alert: (\w+)$/mg), 'each alert was brought about');
ok($watch->until(sub { !%{ $watch->firing } }), 'nothing fires at the end') or diag(join ' ', keys %{ $watch->firing });

note(sprintf '%-28s | %-60s | %6s | %6s', 'alert', 'brought about by', 'fires', 'ends');
note(sprintf '%-28s | %-60s | %4.1f s | %4.1f s', @$_) for @table;

# ---- the dashboard

my $dashboard = decode_json(slurp_file("$root/deploy/monitoring/grafana/contratos.json"));
my @queries = map { my $panel = $_; map { [ $panel->{title}, $_->{expr} ] } @{ $panel->{targets} || [] } } map { ($_, @{ $_->{panels} || [] }) } @{ $dashboard->{panels} };
cmp_ok(scalar(@queries), '>', 10, 'the dashboard has queries');
for my $query (@queries)
{
	my ($title, $expression) = @$query;
	my $asked = $expression =~ s/\$source\b/.*/gr =~ s/\$__range|\$__rate_interval|\$__interval/5m/gr;
	cmp_ok(scalar($watch->samples($asked)), '>', 0, "$title: $asked");
}

# ---- each metric is in a panel or a rule, and each that is in one exists

my %used = map { $_ => 1 } map { /\b(contratos_(?:source|reason)_\w+)/g } $rules, map { $_->[1] } @queries;
is(join(' ', sort keys %used), join(' ', sort keys %described), 'the metrics of the file are those of rules and panels');

$watch->stop;
$f->stop;
done_testing();
