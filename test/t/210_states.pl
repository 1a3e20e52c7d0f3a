# The states of a day, and what changes them: the table in docs/reference.md, each
# state and each event, against the view.
use strict;
use warnings;

use File::Basename qw(dirname);
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new;
$f->query('SELECT contratos_setup()');

# ---- rows of the ledger: (cause, status, and what else is known of them)

# The rows that make a day what it is.
my %made = (
	missing     => [],
	queued      => [ [qw(queue queued)] ],
	running     => [ [qw(schedule running)] ],
	waiting     => [ [qw(schedule waiting)] ],
	provisional => [ [qw(manual succeeded)] ],
	confirmed   => [ [qw(manual succeeded confirmed)] ],
	differs     => [ [qw(manual succeeded)], [qw(recheck differs)] ],
	failed      => [ [qw(schedule failed)] ],
	refused     => [ [qw(schedule refused)] ],
	accepted    => [ [qw(manual accepted)] ],
	canceled    => [ [qw(schedule canceled)] ],
);

# The rows that an event adds; the first takes the place of an open row.
my %adds = (
	'`contratos_enqueue`'                                  => [ [qw(queue queued)] ],
	'a load begins'                                        => [ [qw(schedule running)] ],
	'a load succeeds'                                      => [ [qw(schedule succeeded)] ],
	q(a load that began 24 h after the day's end succeeds) => [ [qw(schedule succeeded confirmed)] ],
	'a load has to wait, for rows or a lock'               => [ [qw(schedule waiting)] ],
	'a load fails, and is to be retried'                   => [ [qw(schedule failed retried)] ],
	'a load fails for good'                                => [ [qw(schedule failed)] ],
	q(a load's process dies in its last attempt)           => [ [qw(schedule interrupted)] ],
	'a load is refused'                                    => [ [qw(schedule refused)] ],
	'`contratos_cancel`, during a load'                    => [ [qw(schedule canceled)] ],
	'a recheck finds the day equal'                        => [ [qw(recheck unchanged)] ],
	q(the same 24 h after the day's end)                   => [ [qw(recheck unchanged confirms)] ],
	'a recheck calls for a reload'                         => [ [qw(recheck differs)], [qw(reload running)] ],
	'a recheck finds a difference that no load cures'      => [ [qw(recheck differs)] ],
	'a recheck fails'                                      => [ [qw(recheck failed)] ],
	'`contratos_accept`'                                   => [ [qw(manual accepted)] ],
);

my $number = 0;

# Statements that put the rows of a day into the ledger.
sub statements
{
	my ($day, $open, @rows) = @_;
	my $sql = '';
	for my $row (@rows)
	{
		my ($cause, $status, $more) = (@$row, '');
		my $is_open = $status =~ /^(?:queued|running|waiting)$/;
		$sql .= "UPDATE contratos_runs SET confirmed_at = now() WHERE day = $day AND status = 'succeeded';\n" if $more eq 'confirms';
		# the worker goes on with the open row; what is queued already is not queued twice
		next if $open && $cause eq 'queue';
		my $id = $open ? "(SELECT max(id) FROM contratos_runs WHERE day = $day)" : ++$number;
		$sql .= "DELETE FROM contratos_runs WHERE id = $id;\n" if $open;
		$id = ++$number if $open;
		$open = 0;
		$sql .= sprintf "INSERT INTO contratos_runs (id, source, day, cause, status, started_at, finished_at, next_attempt_at, rows_loaded, confirmed_at, accepted_by, error)"
		  . " OVERRIDING SYSTEM VALUE VALUES (%s, 'tokens', %s, '%s', '%s', %s, %s, %s, %s, %s, %s, %s);\n",
		  $id, $day, $cause, $status,
		  $status eq 'queued' ? 'NULL' : 'now()', $is_open ? 'NULL' : 'now()', $more eq 'retried' ? 'now()' : 'NULL',
		  $status eq 'succeeded' ? 1 : 'NULL', $more eq 'confirmed' ? 'now()' : 'NULL', $status eq 'accepted' ? "'me'" : 'NULL',
		  $status =~ /^(?:failed|refused|differs)$/ ? "'the error of $cause'" : 'NULL';
	}
	return $sql;
}

# ---- the table

my $docs = $ENV{CONTRATOS_DOCS} // dirname(__FILE__) . '/../../docs';
open my $file, '<', "$docs/reference.md" or die $!;
my @lines = <$file>;
close $file;
my @table = grep { $_ } map { /^\| (.*) \|$/ ? [ split / \| /, $1 ] : undef } @lines;
my ($at) = grep { $table[$_][0] eq 'event' } 0 .. $#table;
my @states = map { s/`//gr } @{ $table[$at] }[ 1 .. $#{ $table[$at] } ];
my @events;
for my $row (@table[ $at + 1 .. $#table ])
{
	last if @$row != @states + 1;
	push @events, $row;
}
is_deeply([ sort @states ], [ sort keys %made ], 'the table in reference.md has each state');
is_deeply([ sort map { $_->[0] } @events ], [ sort keys %adds ], 'the table in reference.md has each event');
my ($listed) = join('', @lines) =~ /\n\| state \| \|\n\|---\|---\|\n(.*?)\n\n/s;
is_deeply([ sort $listed =~ /^\| `(\w+)`/mg ], [ sort keys %made ], 'the list of states in reference.md has each state');

# ---- each state, each event: a day each, far from each other's

my ($sql, $day, %expected, %name) = ('', 0);
for my $i (0 .. $#states)
{
	my $state = $states[$i];
	my $open = $state =~ /^(?:queued|running|waiting)$/;
	for my $event ([ 'nothing happens', (undef) x $i, $state ], @events)
	{
		my $next = $event->[0] eq 'nothing happens' ? $state : $event->[ $i + 1 ];
		next if $next eq '-';
		my $date = sprintf q(date '2020-01-01' + %d), $day;
		$sql .= statements($date, 0, @{ $made{$state} });
		$sql .= statements($date, $open, @{ $adds{ $event->[0] } }) if $adds{ $event->[0] };
		$expected{$day} = $next;
		$name{$day} = "$state, $event->[0]: $next";
		$day++;
	}
}
$f->query("UPDATE contratos_sources SET enabled = false, start_date = '2020-01-01'; BEGIN; $sql COMMIT");
my %got = map { split /\|/ } split /\n/, $f->query("SELECT day - date '2020-01-01', state FROM contratos_days WHERE day < date '2020-01-01' + $day");
is($got{$_}, $expected{$_}, $name{$_}) for sort { $a <=> $b } keys %expected;
cmp_ok($day, '>', 140, 'the table has what happens to most states');

# ---- what the views say of them

my ($failed) = $f->query(q(SELECT count(*) FILTER (WHERE state IN ('failed', 'refused')) FROM contratos_days));
is($f->query('SELECT failed_days FROM contratos_status'), $failed, 'failed_days counts days that are failed or refused');
like($f->query('SELECT last_error FROM contratos_status'), qr/^2020-\d\d-\d\d: the error of \nschedule$/, 'last_error is of a day that is failed, and names it');
is($f->query(q(SELECT DISTINCT check_error FROM contratos_days WHERE check_error IS NOT NULL)), 'the error of recheck',
	'check_error is what a recheck said');
is($f->query(q(SELECT count(*) FROM contratos_days WHERE state IN ('provisional', 'confirmed') AND check_error IS NOT NULL AND error IS NOT NULL)), 0,
	'the error of a recheck is not that of the load');

done_testing();
