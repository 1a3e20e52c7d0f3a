# contratos_page in a browser: what is drawn, what the mouse finds, and that nothing is
# asked for, run, too wide or too pale.  What the page says: test/t/221_page.pl.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use List::Util qw(min);
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $here = abs_path(dirname(__FILE__) . '/..');
my $script = slurp_file("$here/look.js");
my $f = Contratos::Fixture->new;
$f->query('SELECT contratos_setup(); UPDATE contratos_sources SET enabled = false');

# The page of the source now, in each of some views; a list of what was seen.
my $number = 0;
sub look
{
	my ($views, %job) = @_;
	my $base = PostgreSQL::Test::Utils::tempdir . '/page' . ++$number;
	append_to_file("$base.html", $f->query('SET client_encoding = UTF8; SELECT contratos_page()'));
	append_to_file("$base.json", JSON::PP->new->encode({ page => "$base.html", views => [ map { { script => $script, %$_ } } @$views ], %job }));
	my ($out, $err) = run_command([ 'python3', "$here/browser.py", "$base.json" ]);
	die "no page was looked at: $err" if $out eq '';
	return @{ JSON::PP->new->decode($out) };
}

my @views = map { my $width = $_; map { { width => $width, scheme => $_ } } qw(light dark) } 360, 1280;
sub called { return "$_[0]{scheme}, $_[0]{width} px"; }

# What holds of every page.
sub is_sound
{
	my ($name, $view, $seen) = @_;
	my $value = $seen->{value};
	my $of = "$name, " . called($view);
	is_deeply($seen->{requests}, [], "$of: nothing is asked for");
	is_deeply($seen->{complaints}, [], "$of: the browser has nothing to complain of");
	cmp_ok($value->{wide}, '<=', 0, "$of: nothing is wider than the window");
	is_deeply($value->{scrolled}, [], "$of: no part is wider than its box");
	cmp_ok($value->{texts}, '>', 10, "$of: there are texts");
	is_deeply($value->{pale}, [], "$of: each text has a contrast of 4.5 to its ground");
	is($value->{drawn}, $value->{marks}, "$of: each mark is large enough to be pointed at");
	is_deeply([ grep { ($_->[0] // '') ne 'img' || !$_->[1] } @{ $value->{labels} } ], [], "$of: each image has a label");
	return;
}

# ---- each state, with messages that are markup

my $message = q(<script>window.hit = 1</script><img src=x onerror="window.hit = 1"> "'> <svg onload="window.hit = 1"> </style></title><b>no</b>);
my $long = 'x' x 300;
$f->query(
	qq(UPDATE contratos_sources SET start_date = '2026-11-10';
	INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded, confirmed_at, accepted_by, error, bytes_processed, bytes_billed)
	SELECT 'tokens', date '2026-11-10' + day, cause, status, '2026-11-21 05:00+00', CASE WHEN status NOT IN ('queued', 'running', 'waiting') THEN '2026-11-21 05:00:03+00'::timestamptz END,
		CASE status WHEN 'succeeded' THEN 50 END, CASE day WHEN 1 THEN now() END, CASE status WHEN 'accepted' THEN 'me' END,
		CASE WHEN status IN ('failed', 'refused', 'differs') THEN \$\$$message\$\$ WHEN status = 'waiting' THEN '$long' END, 1e7, 10485760
	FROM (VALUES (1, 'schedule', 'succeeded'), (2, 'schedule', 'succeeded'), (3, 'manual', 'accepted'), (4, 'schedule', 'running'), (5, 'queue', 'queued'),
		(6, 'schedule', 'waiting'), (7, 'schedule', 'canceled'), (8, 'schedule', 'refused'), (9, 'schedule', 'failed'), (10, 'schedule', 'succeeded'),
		(10, 'recheck', 'differs')) AS s (day, cause, status);
	UPDATE contratos_sources SET enabled = true));
my @seen = look([ map { { %$_, hover => '.month use[href="#m-confirmed"]' } } @views ], bypass_csp => JSON::PP::true);
for my $i (0 .. $#views)
{
	my $value = $seen[$i]{value};
	my $of = called($views[$i]);
	is_sound('each state', $views[$i], $seen[$i]);
	is($value->{marks}, 11, "$of: the calendar has a mark for each day");
	is($value->{hovered}, "2026-11-11: confirmed\nrows 50, attempts 1\nnever checked", "$of: the mouse finds the tooltip of a day");
	is_deeply($value->{foreign}, [], "$of: messages that are markup become no elements");
	is($value->{hit}, 'undefined', "$of: messages that are markup run no script, even without the page's policy");
	cmp_ok(scalar(grep { index($_, $message) >= 0 } @{ $value->{said} }), '>=', 3, "$of: messages that are markup are text");
	is("$value->{heading}, $value->{title}, $value->{lang}, $value->{mode}", 'tokens, tokens - contratos, en, CSS1Compat', "$of: the page has a title, a heading and a language");
}
is(scalar(keys %{ { map { $_->{value}{ground} => 1 } @seen } }), 2, 'light and dark have different grounds');

# ---- a policy that holds

$f->query(q(UPDATE contratos_sources SET enabled = false));
my ($kept) = look([ { width => 1280, scheme => 'light',
		script => q((() => { const s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.body.append(s);
			const i = new Image(); i.src = '/elsewhere.png'; document.body.append(i); return typeof window.hit; })()) } ]);
is($kept->{value}, 'undefined', 'the policy of the page lets no script run');
is_deeply($kept->{served}, [], 'the policy of the page lets nothing be asked for');

# ---- 1,100 days

$f->query(q(DELETE FROM contratos_runs; UPDATE contratos_sources SET start_date = date '2026-11-20' - 1099, enabled = true;
	INSERT INTO contratos_runs (source, day, cause, status, started_at, finished_at, rows_loaded, confirmed_at, bytes_billed)
	SELECT 'tokens', day, 'schedule', 'succeeded', day + 1, day + 1, 1000000 + day - date '2026-01-01', now(), 10485760
	FROM (SELECT date '2026-11-20' - i AS day FROM generate_series(0, 1099) i) d));
@seen = look([ (map { @views } 1 .. 2) ]);
for my $i (0 .. $#views)
{
	is_sound('1,100 days', $views[$i], $seen[$i]);
	is($seen[$i]{value}{marks}, 1100, called($views[$i]) . ': the calendar has a mark for each of 1,100 days');
}
# of a processor, as other programs run, too
my ($loaded, $busy) = map { my $what = $_; min(map { $_->{$what} } @seen) } qw(loaded busy);
cmp_ok($busy, '<', 1000, 'the page of 1,100 days is loaded within a second');
cmp_ok($busy, '>', 1, 'the time of the browser is measured');
diag(sprintf 'the page of 1,100 days was loaded in %.0f ms, %.0f ms of a processor', $loaded, $busy) if $ENV{CONTRATOS_TIMES};

# ---- a source without days

$f->query(q(DELETE FROM contratos_runs; UPDATE contratos_sources SET start_date = '2027-01-01'));
@seen = look(\@views);
is_sound('no days', $views[$_], $seen[$_]) for 0 .. $#views;
is($seen[0]{value}{marks}, 0, 'a source without days has no marks');

$f->stop;
done_testing();
