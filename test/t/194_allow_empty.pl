# Days that BigQuery has no rows of: accepted by an argument of the calls, and
# reported by one WARNING with their range.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Fixture;

my $f = Contratos::Fixture->new(standin => { csv => '' });
my $bq = $f->bq;

# Days as a backfill reports them, and its WARNINGs, each with DETAIL and HINT.
sub backfill
{
	my ($arguments) = @_;
	my ($code, $out, $err) = $f->psql("SELECT day, status, rows_loaded FROM contratos_backfill_range($arguments)");
	die "failed: $err" if $code;
	my @warnings = $err =~ /^(?:psql:\S+ )?(WARNING: .*(?:\n(?:DETAIL|HINT): .*)*)/mg;
	return ($out, @warnings);
}

$f->day("2026-11-$_", 20) for (5, 10, 11, 20);

# ---- one WARNING for all empty days

my ($out, @warnings) = backfill(q('2026-11-03', '2026-11-15'));
is($out, join("\n", map { sprintf '2026-11-%02d|%s', $_, $_ == 5 || $_ == 10 || $_ == 11 ? 'succeeded|20' : 'refused|' } 3 .. 15),
	'a backfill returns empty days as refused rows');
is(scalar(@warnings), 1, 'a backfill over empty days has one WARNING');
is($warnings[0], <<'END' =~ s/\n\z//r, 'the WARNING of empty days has their ranges');
WARNING:  55000: empty days of source "tokens" were refused: 2026-11-03 to 2026-11-04, 2026-11-06 to 2026-11-09, 2026-11-12 to 2026-11-15
DETAIL:  BigQuery has no rows of them. Rows that were loaded before are kept.
HINT:  contratos_backfill_range() loads days that are really empty with allow_empty => true.
END
is($f->query(q(SELECT count(*), count(DISTINCT error), min(sqlstate) FROM contratos_runs WHERE status = 'refused')), '10|10|55000',
	'the ledger has the error of each empty day');
(undef, @warnings) = backfill(q('2026-11-12', '2026-11-12'));
like($warnings[0], qr/empty days of source "tokens" were refused: 2026-11-12$/m, 'the WARNING of one empty day has the day');

# days that failed for other reasons keep a WARNING of their own
$bq->rule({ kind => 'insert', nth => 2 }, { job_error => { reason => 'resourcesExceeded', message => 'out of slots', at => 'results' } });
(undef, @warnings) = backfill(q('2026-11-12', '2026-11-14'));
is(scalar(@warnings), 2, 'a failed day between empty ones has a WARNING of its own');
like($warnings[0], qr/2026-11-13 of source "tokens" failed: BigQuery: out of slots/, 'the WARNING of a failed day comes first');
like($warnings[1], qr/empty days of source "tokens" were refused: 2026-11-12, 2026-11-14$/m, 'a failed day parts the range of empty days');

# every second day is empty: the WARNING does not grow without bounds
$f->day(sprintf('2026-09-%02d', 2 * $_), 1) for 1 .. 15;
$f->day(sprintf('2026-10-%02d', 2 * $_), 1) for 1 .. 15;
(undef, @warnings) = backfill(q('2026-09-01', '2026-10-31'));
is(scalar(@warnings), 1, 'many ranges of empty days are one WARNING');
like($warnings[0], qr/empty days of source "tokens" were refused: 2026-09-01, .*, 2026-10-09, and others$/m, 'the WARNING names the first ranges of many');

# days that were loaded and are empty now
$bq->delete_day(undef, $_) for ('2026-11-10', '2026-11-11');
($out, @warnings) = backfill(q('2026-11-09', '2026-11-12'));
like($warnings[0], qr/empty days of source "tokens" were refused: 2026-11-09 to 2026-11-12$/m, 'days that have become empty are in the range');
is($f->query(q(SELECT count(*) FROM tokens WHERE block_timestamp >= '2026-11-10Z' AND block_timestamp < '2026-11-12Z')), 40, 'days that have become empty keep their rows');

# ---- allow_empty

my $err = $f->fails(q(SELECT contratos_run('2026-11-12')));
like($err, qr/HINT: .*load it with allow_empty => true\. .*UPDATE contratos_sources SET allow_empty = true WHERE name = 'tokens';/,
	'the hint of an empty day names the argument and the column');
is($f->query(q(SELECT day, status, rows_loaded, rows_replaced, message FROM contratos_run('2026-11-12', allow_empty => true))), '2026-11-12|succeeded|0|0|',
	'contratos_run(allow_empty => true) loads an empty day');
is($f->query(q(SELECT status, rows_loaded, target_rows, fingerprint, sqlstate, error FROM contratos_runs WHERE NOT only_cost ORDER BY id DESC LIMIT 1)), 'succeeded|0|0|0:0||',
	'the ledger has a success of 0 rows for an empty day');
is($f->query(q(SELECT state, rows FROM contratos_days WHERE day = '2026-11-12')), 'confirmed|0', 'an empty day is loaded with allow_empty');
is($f->query(q(SELECT allow_empty FROM contratos_sources)), 'f', 'allow_empty of a call does not change the source');
like($f->fails(q(SELECT contratos_run('2026-11-13'))), qr/has no rows of 2026-11-13/, 'allow_empty of a call does not hold for the next one');

($out, @warnings) = backfill(q('2026-11-12', '2026-11-15', only_missing => true, allow_empty => true));
is($out, join("\n", map { "2026-11-$_|succeeded|0" } 13 .. 15), 'a backfill with allow_empty loads empty days, and those that were accepted before are not missing');
is(scalar(@warnings), 0, 'a backfill with allow_empty has no WARNING');
is($f->query(q(SELECT status, rows_loaded FROM contratos_backfill(2, allow_empty => true))), "succeeded|0\nsucceeded|20", 'contratos_backfill() takes allow_empty');

# rows that would be lost need allow_shrink as well
$err = $f->fails(q(SELECT contratos_run('2026-11-10')));
like($err, qr/load it with allow_empty => true, allow_shrink => true\./, 'the hint of a day that has become empty names both arguments');
like($f->fails(q(SELECT contratos_run('2026-11-10', allow_empty => true))), qr/55000: 2026-11-10 of source "tokens" has shrunk from 20 rows to 0/,
	'allow_empty does not let a day lose its rows');
like($f->fails(q(SELECT contratos_run('2026-11-10', allow_shrink => true))), qr/55000: BigQuery has no rows of 2026-11-10/, 'allow_shrink does not accept an empty day');
is($f->query(q(SELECT status, rows_replaced FROM contratos_run('2026-11-10', allow_empty => true, allow_shrink => true))), 'succeeded|20',
	'a day that has become empty is loaded with both arguments');

# ---- one signature each, so that calls by position or name stay unambiguous

is($f->query(q(SELECT string_agg(proname || ' ' || pronargs, ', ' ORDER BY proname) FROM pg_proc
	WHERE proname IN ('contratos_run', 'contratos_backfill', 'contratos_backfill_range'))),
	'contratos_backfill 5, contratos_backfill_range 6, contratos_run 4', 'no call that loads is overloaded');
like($f->fails("SELECT $_"), qr/ERROR:  22004: argument "allow_empty" must not be null/, "refused: $_")
	for ('contratos_run(allow_empty => NULL)', 'contratos_backfill(1, allow_empty => NULL)', q(contratos_backfill_range('2026-11-20', '2026-11-20', allow_empty => NULL)));

# ---- the length of a range

$bq->reset(tables => 0);
for my $call ([ 'backfill_range', 'load' ], [ 'estimate', 'estimate' ])
{
	my ($function, $verb) = @$call;
	like($f->fails("SELECT contratos_$function('1970-01-01', '2026-11-20')"), qr/ERROR:  22023: cannot $verb more than 3660 days\nDETAIL:  From first to last there are 20778\.\nHINT:  Use several calls\./,
		"contratos_$function() refuses half a century");
	like($f->fails("SELECT contratos_$function(contratos_yesterday() - 3660, contratos_yesterday())"), qr/DETAIL:  From first to last there are 3661\./,
		"contratos_$function() refuses 3661 days");
}
is($f->requests, '', 'BigQuery is not asked for a range that is too long');
$bq->rule({ kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'no access' });
like($f->fails("SELECT contratos_estimate(contratos_yesterday() - 3659, contratos_yesterday())"), qr/no access/, '3660 days are not too many');

$f->stop;
done_testing();
