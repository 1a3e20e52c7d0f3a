# script/release refuses a tag for each thing that is not ready, by its name, and
# prints the commands when all is.  In a repository of its own, of the checkout's
# files; needs git, and no server.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use JSON::PP;
use Test::More;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $repository = tempdir(CLEANUP => 1);
$ENV{$_} = 'release' for qw(GIT_AUTHOR_NAME GIT_COMMITTER_NAME);
$ENV{$_} = 'release@example.org' for qw(GIT_AUTHOR_EMAIL GIT_COMMITTER_EMAIL);
chdir $repository or die $!;

sub run_or_die { system(@_) == 0 or die "@_: exit code $?"; return; }

sub edit
{
	my ($file, $change) = @_;
	open my $in, '<', $file or die "$file: $!";
	local $_ = do { local $/; <$in> };
	my $before = $_;
	$change->();
	die "$file: nothing to change" if $_ eq $before;
	open my $out, '>', $file or die "$file: $!";
	print $out $_;
	close $out or die $!;
	return;
}

sub commit { run_or_die('git', 'add', '-A'); run_or_die('git', 'commit', '-qm', 'a change'); return; }

# what script/release says, and whether it would tag
sub release
{
	my ($version) = @_;
	my $said = qx(script/release $version 2>&1);
	return ($? >> 8, $said);
}

# ---- a repository that is ready: 0.9 was released, 1.0.0 is next

run_or_die('sh', '-c', qq(tar -C '$root' --exclude=./.git --exclude=./.cache --exclude=./dist -cf - . | tar -xf -));
run_or_die('git', 'init', '-q');
edit('contratos.control', sub { s/'1\.0'/'0.9'/ });
my $later = tempdir(CLEANUP => 1);
run_or_die('sh', '-c', "cp extension/*.sql $later && rm extension/*--1.0.sql && touch extension/contratos--0.9.sql");
commit();
run_or_die('git', 'tag', 'v0.9.0');

edit('contratos.control', sub { s/'0\.9'/'1.0'/ });
run_or_die('sh', '-c', "cp $later/*--1.0.sql extension/ && touch extension/contratos--0.9--1.0.sql");
# one that it names itself, whatever the remote
edit('META.json', sub { s/^   "license"/   "resources": {"repository": {"url": "https:\/\/code.example\/contratos.git", "type": "git"}},\n   "license"/m })
  unless qx(cat META.json) =~ /"resources"/;
edit('CHANGELOG.md', sub { s/^## .*/## 1.0.0 (2000-01-01)/m });
foreach my $file ('debian/changelog', 'debian/control.in', 'rpm/contratos.spec')
{
	edit($file, sub { s/\@example\.org/\@code.example/g }) if qx(cat $file) =~ /\@example\.org/;
}
commit();

my ($code, $said) = release('1.0.0');
is($code, 0, 'a repository that is ready is said to be') or diag($said);
like($said, qr/^  git tag -s -m 'contratos 1\.0\.0' v1\.0\.0$/m, 'the command that makes the tag is printed');
is(qx(git tag), "v0.9.0\n", 'no tag is made');
is((release('1.0'))[0], 2, 'a version of two numbers is refused');

# ---- all that is not, at once: each run takes seconds

# FILE after CHANGE
sub changed
{
	my ($file, $change) = @_;
	return sub { edit($file, $change); };
}

my @cases = (
	[ 'a change that is not committed', 'there are changes that are not committed',
		sub { edit('LICENSE', sub { s/2026/2027/ }) } ],
	[ 'a version in META.json', "META.json's version is 1.0.1, not 1.0.0", changed('META.json', sub { s/1\.0\.0/1.0.1/ }) ],
	[ "the extension's version in META.json", "META.json's version of the extension is 1.0.1, not 1.0.0",
		changed('META.json', sub { s/("provides".*?"version": ")1\.0\.0/${1}1.0.1/s }) ],
	[ 'a release_status', "META.json's release_status is testing, not stable", changed('META.json', sub { s/"stable"/"testing"/ }) ],
	[ 'no repository', qq(META.json has no resources.repository.url, and there is no remote "origin" at a public address: where is contratos published?),
		changed('META.json', sub { s/"repository"/"homepage"/ }) ],
	[ "Debian's version", "debian/changelog's version is 1.0.1, not 1.0.0", changed('debian/changelog', sub { s/\(1\.0\.0/(1.0.1/ }) ],
	[ "the RPM's version", "rpm/contratos.spec's version is 1.0.1, not 1.0.0", changed('rpm/contratos.spec', sub { s/^(Version: +)1\.0\.0/${1}1.0.1/m }) ],
	[ "the Dockerfile's version", "the Dockerfile's version is 1.0.1, not 1.0.0", changed('Dockerfile', sub { s/^(ARG VERSION=)1\.0\.0/${1}1.0.1/m }) ],
	[ "the library's version", "the library's version (src/ledger/extension.h) is 1.1, not 1.0",
		changed('src/ledger/extension.h', sub { s/(CONTRATOS_VERSION )"1\.0"/$1"1.1"/ }) ],
	[ "the module's version", "the module's version (src/base/compat.h) is 1.1, not 1.0",
		changed('src/base/compat.h', sub { s/(\.version = )"1\.0"/$1"1.1"/ }) ],
	[ 'a date', 'CHANGELOG.md does not begin with "## 1.0.0 (YYYY-MM-DD)"', changed('CHANGELOG.md', sub { s/^## .*/## 1.0.0 (unreleased)/m }) ],
	[ 'no update script', 'there is no extension/contratos--0.9--1.0.sql, an update from v0.9.0',
		sub { unlink 'extension/contratos--0.9--1.0.sql' } ],
	[ 'a released script', 'extension/contratos--0.9.sql is not as it was released in v0.9.0',
		changed('extension/contratos--0.9.sql', sub { $_ .= "-- changed\n" }) ],
	[ "a placeholder's address", 'debian/control.in names nobody that can be written to',
		changed('debian/control.in', sub { s/\@[\w.]+>/\@example.org>/ }) ],
	[ 'a heading of one README', "README.pt-BR.md's number of headings is " . qx(grep -c '^#' README.md) =~ s/\n//r . ', not ' . (1 + qx(grep -c '^#' README.md)),
		changed('README.md', sub { s/\z/\n## One more\n/ }) ],
	[ 'a tag that is there', 'there is a tag v1.0.0 already', sub { run_or_die('git', 'tag', 'v1.0.0', 'v0.9.0^{}') } ]);

run_or_die('git', 'branch', 'ready');
# the last one is no change of a file, the first one is not committed
$_->[2]->() for @cases[ 1 .. $#cases ];
commit();
$cases[0][2]->();
($code, $said) = release('1.0.0');
is($code, 1, 'a repository that is not ready: refused');
my %left = map { $_ => 1 } $said =~ /^not ready: (.*)\n/mg;
ok(delete $left{ $_->[1] }, "$_->[0]: it is named") || diag("not: $_->[1]\n$said") for @cases;
is(join("\n", sort keys %left), '', 'and nothing else is');

# ---- and one alone is enough

run_or_die('git', 'tag', '-d', 'v1.0.0');
run_or_die('git', 'reset', '-q', '--hard', 'ready');
run_or_die('git', 'clean', '-qfd');
edit('docs/errors.md', sub { s/^\| `extension "contratos" is not installed in this database`.*\n//m });
commit();
($code, $said) = release('1.0.0');
is($code, 1, 'a message without an entry in docs/errors.md: refused');
like($said, qr/^not ready: not ok - /m, 'a message without an entry in docs/errors.md: what script/errors says is passed on');

# ---- where it is published, in the archive of it

run_or_die('git', 'checkout', '-q', '-f', 'ready');
sub resources
{
	my $to = tempdir(CLEANUP => 1);
	run_or_die('sh', '-c', "OUT=$to script/dist >/dev/null");
	my $meta = decode_json(scalar qx(unzip -p $to/*.zip '*/META.json'));
	return $meta->{resources};
}
is(resources()->{repository}{url}, 'https://code.example/contratos.git', 'resources of META.json are kept');
edit('META.json', sub { s/^   "resources".*\n//m });
commit();
is(resources(), undef, 'without a remote there are none');
run_or_die('git', 'remote', 'add', 'origin', 'https://me:hidden@code.example/tokens.git');
is_deeply(resources(), {
	homepage => 'https://code.example/tokens', bugtracker => { web => 'https://code.example/tokens/issues' },
	repository => { url => 'https://code.example/tokens.git', web => 'https://code.example/tokens', type => 'git' } },
	'they are of the remote, without the password in its address');
is((release('1.0.0'))[0], 0, 'that is where it is published');
run_or_die('git', 'remote', 'set-url', 'origin', 'git@code.example:tokens');
is(resources()->{homepage}, 'https://code.example/tokens', 'a remote by ssh');
run_or_die('git', 'remote', 'set-url', 'origin', '/srv/tokens.git');
is(resources(), undef, 'a folder is no address');

done_testing();
