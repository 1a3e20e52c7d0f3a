# What errors and log lines name: BigQuery's reason and the HTTP status, the database of
# the worker, the prepared transaction that is waited for, and a cure that works.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Worker;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $f = Contratos::Worker->new(conf => "max_prepared_transactions = 1\ncontratos.retries = 0");
my $bq = $f->bq;
$f->day('2026-11-20', 50);
my $run = q(SELECT status FROM contratos_run('2026-11-20'));

# ---- the reason and the status, wherever the error comes from

foreach my $case (
	[ { kind => 'insert' }, { status => 403, reason => 'accessDenied', message => 'Access Denied: no' }, "BigQuery's reason: accessDenied, HTTP status 403." ],
	[ { kind => 'insert' }, { status => 400, reason => 'invalidQuery', message => 'Syntax error' }, "BigQuery's reason: invalidQuery, HTTP status 400." ],
	[ { kind => 'insert' }, { status => 418, reason => 'somethingNew', message => 'new' }, "BigQuery's reason: somethingNew, HTTP status 418." ],
	[ { kind => 'insert' }, { status => 404, reason => 'notFound', message => 'Not found: Dataset x' }, "BigQuery's reason: notFound, HTTP status 404." ],
	[ { kind => 'insert' }, { job_error => { reason => 'resourcesExceeded', message => 'out of slots', at => 'results' } }, "BigQuery's reason: resourcesExceeded" ],
	[ { kind => 'insert' }, { job_error => { reason => 'invalidQuery', message => 'Syntax error', at => 'insert' } }, "BigQuery's reason: invalidQuery." ])
{
	my ($match, $action, $detail) = @$case;
	$bq->reset(tables => 0);
	$bq->rule({ %$match, times => 0 }, $action);
	like($f->fails($run), qr/^DETAIL:  (?:.*\n)?\Q$detail\E/m, "a call: $detail");
	like($f->fails(q(SELECT count(*) FROM bigquery_tokens WHERE block_timestamp >= '2026-11-20Z')), qr/^DETAIL:  (?:.*\n)?\Q$detail\E/m, "a query: $detail") unless $action->{job_error};
}
$bq->reset(tables => 0);
$bq->rule({ kind => 'insert', times => 0 }, { status => 403, reason => 'quotaExceeded', message => 'Quota exceeded' });
like($f->fails($run), qr/DETAIL:  BigQuery's reason: quotaExceeded, HTTP status 403\./, 'a quota: the detail has the reason');

# ---- the worker's log

$f->query(q(SELECT contratos_enqueue('2026-11-20', '2026-11-20')));
ok($f->poll(q(SELECT count(*) = 1 FROM contratos_runs WHERE status = 'failed')), 'a queued day fails');
$f->settle;
my $log = slurp_file($f->node->logfile);
like($log, qr/LOG:  database "postgres", source "tokens": 2026-11-20 failed/, 'the log line of a day names the database');
like($log, qr/ERROR:  BigQuery: Quota exceeded\n.*DETAIL:  BigQuery's reason: quotaExceeded, HTTP status 403\.\n(?:.*\n)*?.*CONTEXT:  source "tokens", 2026-11-20\n\tdatabase "postgres"\n/,
	'the error of a day names the database, and BigQuery\'s reason');
like($log, qr/LOG:  contratos worker started for database "postgres"\n/, 'a line that names the database does so once');
like($f->query('SELECT error FROM contratos_runs'), qr/^BigQuery: Quota exceeded\nDETAIL:  BigQuery's reason: quotaExceeded, HTTP status 403\.$/m, 'the ledger has the reason in the error, too');
is($f->query(q(SELECT error FROM contratos_days WHERE day = '2026-11-20')), 'BigQuery: Quota exceeded', 'the views have the message alone');
$bq->reset(tables => 0);

# ---- a prepared transaction

is($f->query("BEGIN; $run; PREPARE TRANSACTION 'held'"), 'succeeded', 'a load can be prepared');
like($f->fails("SET lock_timeout = '100ms'; $run"), qr/NOTICE:  00000: waiting for another load of source "tokens"\nDETAIL:  A prepared transaction holds it: see pg_prepared_xacts\./,
	'a load that waits for a prepared transaction says so');
$f->query(q(COMMIT PREPARED 'held'));
is($f->query('SELECT count(*) FROM tokens'), 50, 'COMMIT PREPARED commits the load');

# ---- FOR UPDATE on the foreign table costs all its columns, as how-to.md says; behind OFFSET 0 it does not

my $explain = 'EXPLAIN (VERBOSE, COSTS off) SELECT t.symbol FROM tokens t JOIN (SELECT address FROM bigquery_tokens WHERE block_timestamp >= now() %s) b USING (address) %s';
sub columns_read { return scalar(() = ($f->query(sprintf $explain, @_) =~ /GoogleSQL: SELECT (.*?) FROM/)[0] =~ /`/g) / 2; }
is(columns_read('', ''), 2, 'a join reads the columns that it uses');
is(columns_read('', 'FOR UPDATE OF t'), 8, 'FOR UPDATE of the other table reads all columns');
is(columns_read('OFFSET 0', 'FOR UPDATE OF t'), 2, 'FOR UPDATE of the other table reads the columns used of a subquery with OFFSET 0');

# ---- a key on a read-only mount: no chmod is proposed

SKIP:
{
	skip 'LD_PRELOAD is Linux', 2 if $^O ne 'linux';
	append_to_file("$dir/mount.c", <<'END');
#include <string.h>
#include <sys/statvfs.h>
int statvfs(const char *path, struct statvfs *mount) { memset(mount, 0, sizeof(*mount)); mount->f_flag = ST_RDONLY; return 0; }
int statvfs64(const char *path, struct statvfs *mount) { return statvfs(path, mount); }
END
	system_or_bail(split(' ', $ENV{CC} || 'cc'), qw(-shared -fPIC -o), "$dir/mount.so", "$dir/mount.c");
	append_to_file("$dir/key.json", '{}');
	chmod 0644, "$dir/key.json";
	my $check = "SET contratos.credentials_file = '$dir/key.json'; SELECT replace(hint, E'\\n', '') FROM contratos_check() WHERE check_name = 'credentials_file'";
	like($f->query($check), qr/^Run: chmod 0600/, 'a key that others can read: chmod is proposed');
	$f->node->stop;
	{
		local $ENV{LD_PRELOAD} = "$dir/mount.so";
		$f->node->start;
	}
	like($f->query($check), qr/^It is on a read-only mount: .*defaultMode: 0440.*fsGroup/, 'the same on a read-only mount: what Kubernetes needs is proposed');
}

$f->stop;
done_testing();
