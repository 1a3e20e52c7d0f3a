# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::DocsRun - types what a page of the documentation says can be typed

=head1 SYNOPSIS

  my $run = Contratos::DocsRun->new(node => $node, database => 'analytics',
      not_run => { 'script/demo' => 'CI runs it' });
  $run->page(Contratos::Docs->new("$root/docs/tutorial.md"));
  $run->finish;

Every block is a test: C<sql> is run, C<ini> is held against the settings there
are, C<sh> is run unless the test says why not; what follows as C<text> is
compared with what was printed.  Other languages fail, unless C<other> has a
function for them.

=cut

package Contratos::DocsRun;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Docs;

my $patience = $PostgreSQL::Test::Utils::timeout_default || 180;

=head1 METHODS

=head2 new(%options)

C<node>, C<database>; C<not_run>: first line of a C<sh> block to the reason why
only its syntax is checked; C<pictures>: first lines of C<text> blocks that are
nobody's output; C<replace>: a function that changes a statement's or command's
text in $_, for names of the page that are others here; C<before>: called with
the block before each; C<other>: language to a function that is given the block.

=cut

sub new
{
	my ($class, %options) = @_;
	my $self = bless { not_run => {}, pictures => {}, other => {}, seen => {}, folder => PostgreSQL::Test::Utils::tempdir, %options }, $class;
	return $self;
}

=head2 page($page), finish()

Runs the blocks of a page, in their order; then, after the last page, says
whether each exception that the test has made was one.

=cut

my %how = (sql => \&_sql, ini => \&_ini, sh => \&_sh, text => \&_text);

sub page
{
	my ($self, $page) = @_;
	for my $block ($page->blocks)
	{
		my $run = $self->{other}{ $block->{language} } || $how{ $block->{language} };
		if (!$run)
		{
			fail("$block->{name}: nobody knows what to do with $block->{language}");
			next;
		}
		$self->{before}->($block) if $self->{before};
		$run->($self->{other}{ $block->{language} } ? $block : ($self, $block));
	}
	return;
}

sub finish
{
	my ($self) = @_;
	my @made = (keys %{ $self->{not_run} }, keys %{ $self->{pictures} });
	is(join("\n", grep { !$self->{seen}{$_} } sort @made), '', 'no exception for what is not there');
	return;
}

=head2 query($sql), psql($text)

What a query returns; exit code, output as a person sees it, and messages, of
whatever psql takes.

=cut

sub query
{
	my ($self, $sql) = @_;
	return $self->{node}->safe_psql($self->{database}, $sql);
}

sub psql
{
	my ($self, $text) = @_;
	return $self->_ran($text, 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-P', 'pager=off', '-d',
		$self->{node}->connstr($self->{database}), '-f', '-');
}

# -- inside --------------------------------------------------------------------

sub _ran
{
	my ($self, $in, @command) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run(\@command, '<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout($patience));
	return ($? >> 8 || $?, $out, $err);
}

sub _first { return (split /\n/, $_[0]{text})[0]; }

# The text of a block as it is typed here.
sub _typed
{
	my ($self, $block) = @_;
	local $_ = $block->{text};
	$self->{replace}->() if $self->{replace};
	return $_;
}

sub _shows
{
	my ($block, $out) = @_;
	return unless defined $block->{shown};
	is(Contratos::Docs::why_unlike($block->{shown}, $out), undef, "shows: $block->{name}");
	return;
}

sub _sql
{
	my ($self, $block) = @_;
	my $text = $self->_typed($block);
	my ($code, $out, $err) = $self->psql($text);
	# what is shown may be an error; psql does not say in which line of its input when that is a person
	my $fails = ($block->{shown} // '') =~ /^ERROR: /m;
	is($code, $fails ? 3 : 0, ($fails ? 'is refused' : 'runs') . ": $block->{name}") or diag($err);
	note($out, $err);
	_shows($block, $fails ? $out . $err =~ s/^psql:<stdin>:\d+: //mgr : $out);
	# psql's own, and what follows on the page is typed there
	$self->{database} = $1 if $text =~ /^\\c (\w+)$/m;
	return;
}

# The server itself reads it, and says what is wrong with it.
sub _ini
{
	my ($self, $block) = @_;
	my $node = $self->{node};
	my $file = $node->data_dir . '/docs.conf';
	if (!$self->{includes})
	{
		$node->append_conf('postgresql.conf', "include_if_exists 'docs.conf'");
		$self->{includes} = 1;
	}
	append_to_file($file, $self->_typed($block));
	my $wrong = $self->query(
		q(SELECT string_agg(concat_ws(' ', name, setting, error), '; ') FROM pg_file_settings
		  WHERE sourcefile LIKE '%/docs.conf' AND error IS NOT NULL));
	is($wrong, '', "is configuration: $block->{name}");
	my $said = () = $block->{text} =~ /^\s*[\w.]+\s*=/mg;
	is($self->query(q(SELECT count(DISTINCT name) FROM pg_file_settings WHERE sourcefile LIKE '%/docs.conf')), $said, "all of it: $block->{name}");
	unlink $file;
	return;
}

sub _sh
{
	my ($self, $block) = @_;
	my $text = $self->_typed($block);
	my $first = _first($block);
	if ($self->{not_run}{$first})
	{
		$self->{seen}{$first} = 1;
		my ($code, undef, $err) = $self->_ran($text, 'bash', '-n');
		is($code, 0, "can be typed ($self->{not_run}{$first}): $block->{name}") or diag($err);
		return;
	}
	local $ENV{PGHOST} = $self->{node}->host;
	local $ENV{PGPORT} = $self->{node}->port;
	local $ENV{PGDATABASE} = $self->{database};
	local $ENV{HOME} = $self->{folder};
	my ($code, $out, $err) = $self->_ran("cd '$self->{folder}'\n$text", 'bash', '-eu', '-o', 'pipefail');
	is($code, 0, "runs: $block->{name}") or diag($err);
	note($out, $err);
	_shows($block, $out);
	return;
}

sub _text
{
	my ($self, $block) = @_;
	return if $block->{is_output};
	my $first = _first($block);
	ok($self->{pictures}{$first}, "is a picture, or follows what prints it: $block->{name}");
	$self->{seen}{$first} = 1;
	return;
}

1;
