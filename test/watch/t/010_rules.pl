# The alert rules by promtool: each of them silent and firing, and all of them silent over
# what a worker's metrics are in life: a healthy day, an outage shorter than a retry, and
# a backfill.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Docs;
use Contratos::Worker;

my $root = abs_path(dirname(__FILE__) . '/../../..');
my $rules = "$root/deploy/monitoring/rules.yaml";
my $folder = PostgreSQL::Test::Utils::tempdir;

sub promtool
{
	my (@arguments) = @_;
	my $out = '';
	my $ok = IPC::Run::run([ 'promtool', @arguments ], '>', \$out, '2>&1');
	return $ok ? '' : $out;
}

is(promtool('check', 'rules', $rules), '', 'promtool finds nothing wrong with the rules');
is(promtool('test', 'rules', "$root/test/watch/rules_test.yaml"), '', 'each rule is silent and fires when it should');
my @alerts = slurp_file($rules) =~ /^ +- alert: (\w+)$/mg;
my %tested = map { $_ => 1 } slurp_file("$root/test/watch/rules_test.yaml") =~ /alertname="(\w+)"/g;
is(join(' ', sort keys %tested), join(' ', sort @alerts), 'each alert has a test in which it fires');

is(join(' ', sort map { $_->{alert} } Contratos::Docs->new("$root/docs/monitoring.md")->table('Alerts')), join(' ', sort @alerts), 'each alert is documented, and there are no others');

# What Prometheus would have scraped: [ minutes, { metric => value } ], ...
my @recorded;
my $f = Contratos::Worker->new(conf => "contratos.max_bytes_per_day = '10GB'");
sub record
{
	my ($minutes) = @_;
	push @recorded, [ $minutes, map { decode_json($_) } $f->query('SELECT to_jsonb(m) FROM contratos_metrics m') ];
	return;
}

# The tests file for promtool: nothing fires.  With $more, a metric that is something else.
sub firing
{
	my ($title, %more) = @_;
	my (%series, $minutes);
	for my $sample (@recorded)
	{
		my ($length, $row) = @$sample;
		$minutes += $length;
		for my $metric (grep { $_ ne 'source' } keys %$row)
		{
			my $value = $more{$metric} // $row->{$metric};
			push @{ $series{$metric} }, defined $value ? "${value}x@{[ $length - 1 ]}" : ('_') x $length;
		}
	}
	append_to_file("$folder/$title.yaml", join "\n", "rule_files: [$rules]", 'evaluation_interval: 1m', 'tests:', '  - interval: 1m', '    input_series:',
		(map { "      - {series: 'contratos_source_$_\{source=\"tokens\"\}', values: '@{[ join ' ', @{ $series{$_} } ]}'}" } sort keys %series),
		'    promql_expr_test:', qq(      - {expr: 'count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[${minutes}m]))', eval_time: @{[ $minutes - 1 ]}m, exp_samples: []}), '');
	return promtool('test', 'rules', "$folder/$title.yaml") =~ /got:\s*(\S.*)/ ? $1 : $minutes;
}

# ---- a day, as it is every two hours

ok($f->at('2026-11-21 08:00'), 'the worker loads a day');
$f->day('2026-11-21', 50);
for my $hour (map { 7 + 2 * $_ } 1 .. 13)
{
	$f->at(sprintf '2026-11-%d %02d:00', 21 + int($hour / 24), $hour % 24) or last;
	record(120);
}
is($f->runs(q(cause IN ('schedule', 'recheck') AND status IN ('succeeded', 'unchanged'))), $f->runs, 'the day was a healthy one');
is(firing('healthy'), 26 * 60, 'nothing fires in 26 hours of a healthy source');
like(firing('control', failed_days => 1), qr/ContratosDaysFailed/, 'what would have fired is seen');

# ---- an outage that the first retry does not meet any more

@recorded = ();
$f->day('2026-11-22', 50);
$f->bq->rule({ kind => 'insert' }, { status => 503, reason => 'backendError', message => 'no' , headers => { 'Retry-After' => '600' } });
ok($f->at('2026-11-23 08:00'), 'the worker meets an outage');
is($f->query(q(SELECT state FROM contratos_days WHERE day = '2026-11-22')), 'waiting', 'the day is to be tried again');
record(1);
ok($f->at("2026-11-23 08:0$_"), "the worker goes on, minute $_") && record(1) for 1 .. 3;
is($f->query(q(SELECT state FROM contratos_days WHERE day = '2026-11-22')), 'provisional', 'the next attempt has loaded it');
$recorded[-1][0] = 30;
is(firing('outage'), 33, 'nothing fires in an outage that is shorter than a retry');

# ---- a backfill: each time that it has moved on is taken for a minute

@recorded = ();
$f->day(sprintf('2026-10-%02d', $_), 20) for 1 .. 20;
my $hold = $f->bq->rule({ kind => 'insert', times => 0 }, { delay_ms => 150 });
$f->query(q(SELECT contratos_enqueue('2026-10-01', '2026-10-20')));
my $left = 20;
while ($left > 0)
{
	$left = $f->query(q(SELECT count(*) FROM contratos_runs WHERE cause = 'queue' AND status IN ('queued', 'running')));
	record(1);
}
cmp_ok(scalar(grep { $_->[1]{queued_days} > 0 } @recorded), '>', 5, 'the queue was seen while it became shorter');
$recorded[-1][0] = 60;
cmp_ok(firing('backfill'), '>', 60, 'nothing fires in a backfill');

$f->stop;
done_testing();
