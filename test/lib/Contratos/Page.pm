# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::Page - what a page of contratos_page() says, for TAP tests

=head1 SYNOPSIS

  my $page = Contratos::Page::parse($html);    # dies unless it is well formed
  is($page->text('h1'), 'tokens', '...');

The page is read as XML, by Python, which the tests need anyway.

=cut

package Contratos::Page;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use JSON::PP;

our @EXPORT_OK = qw(parse);

# Each element as [tag, attributes, children], each text as a string.
my $reader = <<'END';
import json, sys
from xml.etree import ElementTree
def tree(e):
    children = [e.text] if e.text else []
    for child in e:
        children.append(tree(child))
        if child.tail:
            children.append(child.tail)
    return [e.tag, e.attrib, children]
print(json.dumps(tree(ElementTree.fromstring(sys.stdin.buffer.read()))))
END

=head1 METHODS

=head2 parse($html), html()

The page of a document, and the document, as the bytes that psql printed.

=cut

sub parse
{
	my ($html) = @_;
	my ($in, $out, $err) = ($html);
	utf8::encode($in) if utf8::is_utf8($in);
	IPC::Run::run([ 'python3', '-c', $reader ], '<', \$in, '>', \$out, '2>', \$err) or die "the page is not well formed: $err";
	my $self = bless { html => $html, root => JSON::PP->new->decode($out), all => [] }, __PACKAGE__;
	$self->_collect($self->{root});
	return $self;
}

sub html { return $_[0]{html}; }

sub _collect
{
	my ($self, $element) = @_;
	push @{ $self->{all} }, $element;
	ref and $self->_collect($_) for @{ $element->[2] };
	return;
}

# Elements of a tag, and perhaps of a class, or with another attribute.
sub _find
{
	my ($self, $tag, $class, $attribute, $value) = @_;
	($attribute, $value) = ('class', $class) if defined $class;
	return grep { $_->[0] eq $tag && (!defined $attribute || grep { $_ eq $value } split / /, $_->[1]{$attribute} // '') } @{ $self->{all} };
}

# The text of an element, on one line.
sub _text
{
	my ($element) = @_;
	my $text = join '', map { ref ? ($_->[0] =~ /^(?:p|li|t[dhr]|h\d|figure|section)$/ ? ' ' . _text($_) . ' ' : _text($_)) : $_ } @{ $element->[2] };
	return $text =~ s/\s+/ /gr;
}

sub _trim { return $_[0] =~ s/^ | $//gr; }

=head2 text($tag, $class, $attribute, $value), texts($tag, $class, $inner)

The text of the first element of a tag, and perhaps of a class or with an attribute;
the texts of all elements, or of those of another tag in the first.

=cut

sub text { return _trim((map { _text($_) } _find(@_))[0] // ''); }

sub texts
{
	my ($self, $tag, $class, $inner) = @_;
	my @found = $self->_find($tag, $class);
	if ($inner)
	{
		my $part = bless { all => [] }, __PACKAGE__;
		$part->_collect($found[0]) if @found;
		@found = $part->_find($inner);
	}
	return map { _trim(_text($_)) } @found;
}

=head2 tips($tag), count($tag, $attribute), elements(), attributes()

The tooltips of elements of a tag, in their order; how many elements have an attribute; the names of all
elements and attributes.

=cut

sub tips
{
	my ($self, $tag) = @_;
	return map { join '', @{ $_->[2] } } grep { ref && $_->[0] eq 'title' } map { @{ $_->[2] } } $self->_find($tag);
}

sub count { my ($self, $tag, $attribute) = @_; return scalar grep { exists $_->[1]{$attribute} } $self->_find($tag); }

sub elements { return _names(map { $_->[0] } @{ $_[0]{all} }); }

sub attributes { return _names(map { keys %{ $_->[1] } } @{ $_[0]{all} }); }

sub _names
{
	my %names = map { $_ => 1 } @_;
	return sort keys %names;
}

1;
