# Copyright (c) contratos contributors; PostgreSQL licence.

=head1 NAME

Contratos::FaultSteps - the words that test/faults.tsv describes its faults with

=head1 WORDS

Before the attempt:

  since N              from PostgreSQL N on; left out before
  answer KIND[@ROW] [always|nth N] JSON   a rule of the stand-in's (test/standin/README.md); @ROW: the page from there on
  fresh-token          the next request asks for a token
  key KIND             the credentials file is missing, open, empty, cut, elliptic, unknown, or names a closed port
  option NAME=VALUE    an option of the server (in PostgreSQL): {closed}, {mute}, {http}, {https}, {stall_tls}, {elsewhere}
                       and the stand-in's bad TLS ports are URLs, {ca}, {other_ca} and {no_file} files
  set NAME=VALUE       a setting: of the session, or of the worker's configuration
  sql TEXT             a statement before; undo TEXT: one afterwards
  other TEXT           the same in a session that stays, and is rolled back afterwards
  upstream rows N | METHOD JSON       so many rows in BigQuery; a call of Contratos::Standin (restore: one afterwards)
  full PART            no room for files whose path has PART ({NAME}: of this relation)
  memory N             the process may have N kB more than it has
  do TEXT              a statement in place of the attempt

While the attempt is held:

  hold POINT           token, insert, job, page, page2 (the second), reader (its page), last, write (a row), commit
  cancel, terminate    pg_cancel_backend (contratos_cancel, in the worker), pg_terminate_backend
  stop                 SIGSTOP; SIGCONT after it was released
  kill [WHOM]          SIGKILL of the process, or of the launcher, reader or standin; the last is started again afterwards
  end WHOM             SIGTERM to the launcher or reader
  halt reader, resume  it stands still, for good or until then
  immediate, fast      the server is stopped like this, and started
  gone                 the session's client is killed
  meanwhile TEXT       a statement in another session
  drop-extension       with CASCADE; it is made again afterwards
  blocked TEXT         one that must wait for what is held, and may go on with it
  release              it goes on

=cut

package Contratos::FaultSteps;

use strict;
use warnings;

use JSON::PP ();

my $json = JSON::PP->new;
my %argument = (
	answer => qr/^\w+(?:\@\d+)?(?: always| nth \d+)? \{.*\}$/,
	'fresh-token' => qr/^$/,
	key => qr/^(?:missing|open|empty|cut|elliptic|unknown|closed)$/,
	(map { $_ => qr/^[a-z_.]+=.*$/ } qw(option set)),
	(map { $_ => qr/./ } qw(sql undo other do meanwhile blocked full)),
	upstream => qr/^(?:rows \d+|\w+ \{.*\})$/,
	restore => qr/^\w+ \{.*\}$/,
	(map { $_ => qr/^\d+$/ } qw(memory since)),
	hold => qr/^(?:token|insert|job|page|page2|reader|last|write|commit)$/,
	(map { $_ => qr/^$/ } qw(cancel terminate stop immediate fast gone release resume drop-extension)),
	kill => qr/^(?:|launcher|reader|standin)$/,
	end => qr/^(?:launcher|reader)$/,
	halt => qr/^reader$/);

# Steps of a text, each [ word, argument ]; dies on a word that is not there.
sub parse
{
	my ($text) = @_;
	my @steps;
	for my $step (split / && /, $text)
	{
		my ($word, $rest) = $step =~ /^(\S+)(?: (.*))?$/s or die "no step: $step\n";
		$rest //= '';
		my $form = $argument{$word} or die "no such word: $word\n";
		die "not an argument of $word: $rest\n" unless $rest =~ $form;
		my ($object) = $word =~ /^(?:answer|upstream|restore)$/ ? $rest =~ /(\{.*\})$/ : ();
		eval { !defined $object || $json->decode($object) } or die "not JSON: $object\n";
		push @steps, [ $word, $rest ];
	}
	die "no steps\n" unless @steps;
	return \@steps;
}

sub words { return sort keys %argument; }

1;
