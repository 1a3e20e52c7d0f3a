# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Docs - a page of the documentation, for TAP tests

=head1 SYNOPSIS

  my $page = Contratos::Docs->new("$root/docs/tutorial.md");
  for my $block ($page->blocks) { ... }      # { language, text, line, name, shown }
  is($_, undef) for map { Contratos::Docs::why_unlike($shown, $got) } ...
  my @rows = $page->table('Settings');       # of its first table, a hash a row

Everything is bytes: what is not ASCII is compared as it stands in the file.

=cut

package Contratos::Docs;

use strict;
use warnings;

use Encode qw(decode_utf8 encode_utf8);
use File::Basename qw(basename);

=head1 METHODS

=head2 new($file), name()

Reads a page.  A block that is not closed is an error, and so is one whose
fence names no language: nobody could say what is to be done with it.  One that
is merely indented is of the language C<indented>, for which nobody knows it.

=cut

sub new
{
	my ($class, $file) = @_;
	my $self = bless { file => $file, name => basename($file), blocks => [], prose => [], headings => [] }, $class;
	my ($open, $number) = (undef, 0);
	for my $line (split /^/, slurp($file))
	{
		$number++;
		if ($line =~ /^```(.*)$/)
		{
			$open = $self->_fence($open, $1, $number);
			next;
		}
		if ($open) { $open->{text} .= $line }
		else { $self->_prose($line, $number) }
	}
	die "$file: the block of line $open->{line} is not closed" if $open;
	$self->_say_what_is_shown;
	return $self;
}

sub name { return $_[0]{name}; }
sub file { return $_[0]{file}; }

=head2 blocks()

The fenced blocks in their order: C<language>, C<text>, C<line>, C<name> (page
and first line, to be found again), and C<shown>: the C<text> block that follows
with nothing but blank lines in between, which is what the block prints.

=cut

sub blocks { return @{ $_[0]{blocks} }; }

=head2 anchors(), links()

The anchors of the headings, by name; the links, C<{ line, file, anchor }> each,
of which file ('': this page) or anchor may be missing.  Links to elsewhere are
left out.

=cut

sub anchors { return { map { $_->{anchor} => 1 } @{ $_[0]{headings} } }; }

sub links
{
	my ($self) = @_;
	my @links;
	for my $line (@{ $self->{prose} })
	{
		my $text = $line->{text} =~ s/`[^`]*`//gr;
		while ($text =~ /\]\(([^)\s]+)\)/g)
		{
			my ($file, $anchor) = $1 =~ /^([^#]*)#?(.*)$/;
			push @links, { line => $line->{line}, file => $file, anchor => $anchor } unless $file =~ /^(?:https?|mailto):/;
		}
	}
	return @links;
}

=head2 sections($level), section($title)

The titles of headings of a level, as they are written, without backticks; the
prose lines below a heading, up to the next one of its level or a higher one.

=cut

sub sections
{
	my ($self, $level) = @_;
	return map { $_->{title} } grep { $_->{level} == $level } @{ $self->{headings} };
}

sub section
{
	my ($self, $title) = @_;
	my ($start) = grep { $_->{title} eq $title } @{ $self->{headings} };
	die "$self->{name} has no section \"$title\"" unless $start;
	my ($end) = grep { $_->{line} > $start->{line} && $_->{level} <= $start->{level} } @{ $self->{headings} };
	return map { $_->{text} } grep { $_->{line} > $start->{line} && (!$end || $_->{line} < $end->{line}) } @{ $self->{prose} };
}

=head2 tables($title), table($title)

The tables of a section, or its first one: a list of rows, each a hash by the
names in the table's head ('' for a column without).  Backticks around a whole
cell are left out.

=cut

sub tables
{
	my ($self, $title) = @_;
	my (@tables, $rows, $head);
	for my $line ($self->section($title))
	{
		if ($line !~ /^\|(.*)\|\s*$/) { $head = undef; next }
		my @cells = map { s/^\s+|\s+$//gr =~ s/^`([^`]*)`$/$1/r } split /(?<!\\)\|/, $1, -1;
		if (!$head)
		{
			($head, $rows) = (\@cells, []);
			push @tables, $rows;
		}
		elsif (grep { !/^:?-+:?$/ } @cells)
		{
			push @$rows, { map { $head->[$_] => $cells[$_] } 0 .. $#$head };
		}
	}
	return @tables;
}

sub table
{
	my ($self, $title) = @_;
	my ($table) = $self->tables($title);
	die "$self->{name} has no table under \"$title\"" unless $table;
	return @$table;
}

=head1 FUNCTIONS

=head2 why_unlike($shown, $got)

Undef when the output is the one that the page shows, otherwise the first line
that is not.  How wide columns are does not matter.  C<…> stands for anything
within a line; a line of its own for any number of lines.

=cut

sub why_unlike
{
	my ($shown, $got) = @_;
	my @shown = _tidy($shown);
	my $pattern = '';
	for my $i (0 .. $#shown)
	{
		$pattern .= $shown[$i] eq '…' ? '(?:[^\n]*\n)*?' : join('[^\n]*?', map { quotemeta } split /…/, $shown[$i], -1) . '\n';
		return undef if $i == $#shown && join('', map { "$_\n" } _tidy($got)) =~ /\A$pattern\z/;
		next if join('', map { "$_\n" } _tidy($got)) =~ /\A$pattern/;
		return "the page shows: $shown[$i]\nthere is:\n$got";
	}
	return "the page shows less than there is:\n$got";
}

=head2 messages($folder)

All that the source can say: the strings of the folders below, one a line, those that a compiler
would put together put together.

=cut

sub messages
{
	my ($folder) = @_;
	my $said = '';
	for my $file (sort glob "$folder/*/*.c")
	{
		my $text = slurp($file);
		# comments and characters, whose quotes are none
		$text =~ s{("(?:[^"\\]|\\.)*")|/\*.*?\*/|'(?:[^'\\]|\\.)+'}{defined $1 ? $1 : ' '}sge;
		# literals with nothing between them, or a format's name, are one
		my $literal = qr/"(?:[^"\\]|\\.)*"/;
		while ($text =~ /($literal(?:\s*(?:U?INT64_FORMAT\s*)?$literal)*)/g)
		{
			my $all = $1;
			$said .= join('', map { substr($_, 1, -1) } $all =~ /($literal)/g) . "\n";
		}
	}
	return $said =~ s/\\"/"/gr;
}

=head2 unsaid($message, $messages)

The parts of a message of the docs, between its C<…>, that no string of the
source has.  What follows "BigQuery: " is BigQuery's own.

=cut

sub unsaid
{
	my ($message, $messages) = @_;
	return () if $message =~ /^BigQuery: / && index($messages, 'BigQuery: ') >= 0;
	return grep { /\w{3}/ && index($messages, $_) < 0 } split /…/, $message;
}

sub slurp
{
	my ($file) = @_;
	open my $in, '<:raw', $file or die "$file: $!";
	local $/ = undef;
	return scalar <$in>;
}

# -- inside --------------------------------------------------------------------

sub _fence
{
	my ($self, $open, $language, $line) = @_;
	if ($open)
	{
		die "$self->{file}:$line: a fence within a block" if $language ne '';
		$open->{end} = $line;
		return undef;
	}
	die "$self->{file}:$line: a block without a language" if $language eq '';
	push @{ $self->{blocks} }, { language => $language, text => '', line => $line };
	return $self->{blocks}[-1];
}

sub _prose
{
	my ($self, $text, $line) = @_;
	$self->_indented($text, $line);
	push @{ $self->{prose} }, { text => $text, line => $line };
	return unless $text =~ /^(#+)\s+(.*?)\s*$/;
	my ($level, $title) = (length $1, $2);
	push @{ $self->{headings} }, { level => $level, title => $title =~ tr/`//dr, line => $line, anchor => _anchor($title) };
	return;
}

# Four blanks after an empty line are a block, unless they go on with a list.
sub _indented
{
	my ($self, $text, $line) = @_;
	my ($before) = grep { /\S/ } reverse map { $_->{text} } @{ $self->{prose} };
	return if $text !~ /^(?: {4}|\t)/ || !@{ $self->{prose} } || $self->{prose}[-1]{text} =~ /\S/ || $before =~ /^\s|^(?:[-*]|\d+\.) /;
	push @{ $self->{blocks} }, { language => 'indented', text => $text, line => $line, end => $line };
	return;
}

# As the sites that show Markdown make them.
sub _anchor
{
	my ($title) = @_;
	my $anchor = lc decode_utf8($title);
	$anchor =~ s/[^\w\s-]//g;
	$anchor =~ s/\s/-/g;
	return encode_utf8($anchor);
}

sub _say_what_is_shown
{
	my ($self) = @_;
	my $before;
	for my $block (@{ $self->{blocks} })
	{
		$block->{name} = "$self->{name}: " . (split /\n/, $block->{text})[0];
		if ($block->{language} eq 'text' && $before && $self->_adjacent($before, $block))
		{
			$before->{shown} = $block->{text};
			$block->{is_output} = 1;
		}
		$before = $block->{language} eq 'text' ? undef : $block;
	}
	return;
}

sub _adjacent
{
	my ($self, $before, $block) = @_;
	return !grep { $_->{line} > $before->{end} && $_->{line} < $block->{line} && $_->{text} =~ /\S/ } @{ $self->{prose} };
}

# Lines without what only makes them pretty.
sub _tidy
{
	my ($text) = @_;
	return grep { length } map { s/-{2,}/--/gr =~ s/\s+/ /gr =~ s/^ | $//gr } split /\n/, $text;
}

1;
