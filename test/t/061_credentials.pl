# Credentials of every kind that people have: what each asks of whom, what each
# refusal says, how long a token is used, where a file may send its secrets, and
# that none of them gets out.

use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Contratos::Auth;

my $json = JSON::PP->new->canonical;
my $true = JSON::PP::true;
my $auth = Contratos::Auth->new('credentials', "contratos.project = 'test-project'");
my ($bq, $node, $day) = ($auth->bq, $auth->node, $auth->day);
my $both = 'succeeded|67 succeeded|67';
my $account = 'contratos-test@test-project.iam.gserviceaccount.com';
my $scopes = 'https://www.googleapis.com/auth';

sub works { return $auth->works(@_); }
sub fails { return $auth->fails(@_); }
sub refuses { return $auth->refuses(@_); }
sub user { return $auth->file_like($bq->user_file, @_); }
sub external { return $auth->file_like($bq->external_file, @_); }
sub impersonated { return $auth->file_like($bq->impersonated_file, @_); }
sub from { return (credential_source => {@_}); }

# A clean slate, with rules: a kind of request, what happens to it, how often.
sub rules
{
	my (@rules) = @_;
	$bq->reset;
	$bq->rule({ kind => $_->[0], times => $_->[2] // 1 }, $_->[1]) for @rules;
	return;
}

# The kinds of requests for tokens since then, in their order.
sub asked { return join ' ', grep { /^(?:token|sts|impersonate|metadata|subject)$/ } map { $_->{kind} } $bq->requests; }

# As whom BigQuery was asked.
sub asker { return ($bq->requests('insert'))[0]{account} // 'nobody'; }

# An error as token endpoints say it, and as Google's other services do.
sub oauth { return { status => $_[0], body => { error => $_[1], error_description => $_[2] } }; }
sub google { return { status => $_[0], body => { error => { code => $_[0], status => $_[1], message => $_[2] } } }; }

# ---- authorized_user: what gcloud leaves behind

rules();
works('a user\'s credentials', $bq->user_file);
is(asked(), 'token', 'a user\'s credentials take one request');
is(asker(), 'ana@example.com', 'a user\'s credentials are those of the user');
my ($request) = $bq->requests('token');
is_deeply($request->{asked}, { grant_type => 'refresh_token' },
	'a user\'s credentials are refreshed with the scopes that were granted');
for my $field (qw(client_id client_secret refresh_token))
{
	refuses("no $field", [ qr/no field "$field"/, qr/HINT/ ], user($field => undef));
}
fails('a refresh token that was revoked', '28000',
	[ qr/the token endpoint refused the credentials: invalid_grant/, qr/expired or revoked/, qr/HINT: .*gcloud auth application-default login/ ],
	user(refresh_token => '1//0a-token-that-was-revoked'));
fails('a client that is not known', '28000', [ qr/invalid_client/, qr/HINT: .*gcloud/ ], user(client_secret => 'another-client-secret'));
rules([ 'token', oauth(400, 'invalid_grant', 'bad: d-standin+client/secret'), 0 ]);
fails('an answer that quotes the client\'s secret', '28000', [ qr/^(?!.*DETAIL).*invalid_grant/s ], $bq->user_file);
rules([ 'token', { status => 503 } ]);
works('a token endpoint that answers 503 to a user\'s credentials', $bq->user_file);
is(asked(), 'token token', 'a token endpoint that answers 503 to a user\'s credentials is asked again');

# ---- quota_project_id

rules();
works('a quota project', user(quota_project_id => 'of-the-quota'));
is(join(' ', map { $_->{quota_project} // '-' } grep { exists $_->{quota_project} } $bq->requests),
	join(' ', ('of-the-quota') x grep({ exists $_->{quota_project} } $bq->requests)), 'a quota project is in the head of each request to BigQuery');
is(scalar(grep { exists $_->{quota_project} } $bq->requests) > 1, 1, 'a quota project is sent several times');
rules();
works('a user\'s credentials without a quota project', $bq->user_file);
is(join('', map { $_->{quota_project} // '' } $bq->requests), '', 'a file without a quota project sends none');
rules();
$auth->load(user(quota_project_id => 'of-the-quota'), project => '');
is(($bq->requests('insert'))[0]{body}{jobReference}{projectId}, 'of-the-quota', 'the quota project is billed where no other is set');
refuses('a quota project with a line break', [ qr/header cannot be sent/ ], user(quota_project_id => "a\r\nX-Evil: 1"));
refuses('a user, and no project', [ qr/no project is known/, qr/HINT:  Set contratos\.project/ ], $bq->user_file, project => '');

# ---- impersonated_service_account

rules();
works('a user who becomes a service account', $bq->impersonated_file);
is(asked(), 'token impersonate', 'impersonation: the user\'s token is exchanged for the account\'s');
is(asker(), $account, 'impersonation: BigQuery sees the account');
($request) = $bq->requests('impersonate');
is_deeply($request->{asked}, { scope => ["$scopes/bigquery"], lifetime => '3600s' }, 'impersonation: the token is for BigQuery only');
rules();
works('a service account that becomes one, through others',
	impersonated(delegates => [ 'a@example.com', 'b@example.com' ], source_credentials => $auth->content($bq->key_file)));
($request) = $bq->requests('impersonate');
is_deeply($request->{asked}{delegates}, [ 'a@example.com', 'b@example.com' ],
	'impersonation: delegates are named in order');
is(($bq->requests('token'))[0]{assertion}{claims}{scope}, "$scopes/iam",
	'impersonation: a source service account\'s token is for IAM only');
my $other_url = $auth->content($bq->impersonated_file)->{service_account_impersonation_url} =~ s/contratos-test/somebody-else/r;
rules();
fails('an account that one may not become', '28000',
	[ qr/impersonation of service account "somebody-else\@\S*" was refused: PERMISSION_DENIED/, qr/DETAIL: .*iam\.serviceAccounts\.getAccessToken/, qr/HINT: .*serviceAccountTokenCreator/ ],
	impersonated(service_account_impersonation_url => $other_url));
is(asked(), 'token impersonate', 'a refused impersonation is final');
rules([ 'impersonate', google(404, 'NOT_FOUND', 'Unknown service account') ]);
fails('an account that does not exist', '28000', [ qr/NOT_FOUND/, qr/HINT: .*exists/ ], $bq->impersonated_file);
rules([ 'impersonate', google(503, 'UNAVAILABLE', 'try again') ]);
works('an IAM API that answers 503', $bq->impersonated_file);
is(asked(), 'token impersonate impersonate',
	'an IAM API that answers 503 is asked again, without another source token');
rules([ 'impersonate', { garbage => '{"accessToken":""}' }, 0 ]);
fails('an answer without a token', '08P01', [ qr/IAM Credentials API's answer holds no access token/, qr/HINT: .*service_account_impersonation_url/ ],
	$bq->impersonated_file);
refuses('a source that cannot', [ qr/"source_credentials\.type"/, qr/HINT: .*authorized_user/ ],
	impersonated(source_credentials => $auth->content($bq->external_file)));
refuses('a source without its secret', [ qr/no field "source_credentials\.refresh_token"/ ],
	impersonated(source_credentials => { %{ $auth->content($bq->user_file) }, refresh_token => '' }));
refuses('no source', [ qr/no field "source_credentials\.type"/ ], impersonated(source_credentials => undef));

# ---- external_account: workload identity federation

rules();
works('federation: a token from a file', $bq->external_file);
is(asked(), 'sts', 'federation: a token from a file takes one request');
($request) = $bq->requests('sts');
is($request->{asked}{scope}, "$scopes/bigquery", 'federation: the token is for BigQuery');
like($request->{asked}{audience}, qr{^//iam\.googleapis\.com/projects/\d+/locations/global/workloadIdentityPools/}, 'federation: the audience is the pool\'s provider');
like(asker(), qr{^principal://iam\.googleapis\.com/}, 'federation: BigQuery sees the principal');
rules();
works('federation: a token from a file, then impersonation', external(service_account_impersonation_url => $auth->content($bq->impersonated_file)->{service_account_impersonation_url},
	service_account_impersonation => { token_lifetime_seconds => 1200 }));
is(asked(), 'sts impersonate', 'federation with impersonation takes two requests');
is(($bq->requests('sts'))[0]{asked}{scope}, "$scopes/iam",
	'federation with impersonation: the first token is for IAM only');
is(($bq->requests('impersonate'))[0]{asked}{lifetime}, '1200s',
	'federation with impersonation: the second token lasts as long as the file says');
is(asker(), $account, 'federation with impersonation: BigQuery sees the account');
rules();
works('a pool of people', external(workforce_pool_user_project => 'of-the-people'));
is(($bq->requests('sts'))[0]{asked}{options}, '{"userProject":"of-the-people"}',
	'federation of a workforce pool names the project');

my $subject = $auth->content($bq->external_file)->{credential_source}{file};
my $secret = slurp_file($subject);
rules();
works('a file with a line\'s end', external(from(file => $auth->file_with("$secret\n"))));
works('a file of JSON',
	external(from(file => $auth->file_with($json->encode({ id => $secret })), format => { type => 'json', subject_token_field_name => 'id' })));
works('a file that all may read', external(from(file => $auth->file_with($secret, 0644))));
my $open = $auth->file_with($secret);
chmod 0664, $open;
fails('a file that others may write', '42501', [ qr/subject token file "\S*" can be changed by other users/, qr/DETAIL: .*0664/, qr/HINT/ ], external(from(file => $open)));
my $link = $auth->dir . '/projected';
symlink $subject, $link or die $!;
works('a link to a file, as the kubelet makes them', external(from(file => $link)));
fails('no file', '58P01', [ qr/could not read subject token file/, qr/HINT: .*runs the server/ ], external(from(file => '/nowhere/token')));
fails('a directory', '42809', [ qr/subject token file .* is not a regular file/ ], external(from(file => $auth->dir)));
refuses('an empty file', [ qr/subject token file "\S*" holds no token/, qr/HINT: .*format/ ], external(from(file => $auth->file_with("\n"))));
refuses('JSON without the field', [ qr/holds no token/ ],
	external(from(file => $auth->file_with('{}'), format => { type => 'json', subject_token_field_name => 'id' })));
refuses('a file too large', [ qr/subject token file .* is larger than/ ], external(from(file => $auth->file_with('x' x 70_000))));

my $url = $bq->url . '/subject-token';
my $headers = { Metadata => 'True' };
rules();
works('a token from a URL', external(from(url => $url, headers => $headers)));
is(asked(), 'subject sts', 'a subject token from a URL is fetched and exchanged');
works('a subject token from a URL, as JSON', external(from(url => "$url?format=json", headers => $headers, format => { type => 'json', subject_token_field_name => 'access_token' })));
fails('a subject token from a URL without its header', '28000', [ qr/the source of the subject token answered with HTTP status 400/, qr/^(?!.*DETAIL)/s, qr/HINT: .*headers/ ],
	external(from(url => $url)));
rules([ 'subject', { status => 503 } ]);
works('a subject token source that answers 503', external(from(url => $url, headers => $headers)));
is(asked(), 'subject subject sts', 'a subject token source that answers 503 is asked again');
rules([ 'subject', { redirect => $bq->url . '/elsewhere' }, 0 ]);
fails('a source that redirects', '08P01', [ qr/302/, qr/HINT:  Redirects are not followed; check "credential_source\.url"/ ],
	external(from(url => $url, headers => $headers)));
is($auth->count('unknown'), 0, 'a redirect of a subject token source is not followed');
rules([ 'subject', { garbage => "\n" }, 0 ]);
fails('a source that gives nothing', '08P01', [ qr/source of the subject token gave none/ ], external(from(url => $url, headers => $headers)));
for my $case ([ Host => 'example.com' ], [ 'Content-Length' => '5' ], [ X => 5 ])
{
	refuses("a header $case->[0] of the file's", [ qr/"credential_source\.headers"/, qr/HINT/ ], external(from(url => $url, headers => {@$case})));
}
refuses('a header of two lines', [ qr/header cannot be sent/ ], external(from(url => $url, headers => { X => "a\r\nY: b" })));

rules();
$bq->subject('a-token-of-tomorrow');
fails('a token out of date', '28000', [ qr/Security Token Service refused the subject token: invalid_grant/, qr/DETAIL: .*stale/, qr/HINT: .*attribute condition/ ],
	$bq->external_file);
my $rotating = $auth->file_with('a-token-of-tomorrow');
rules([ 'sts', { expires_in => 200 }, 0 ]);
$bq->subject('a-token-of-tomorrow');
is($auth->twice(credentials_file => external(from(file => $rotating)), between => sub {
	open my $file, '>', $rotating or die $!;
	print $file 'a-token-of-later';
	close $file;
	$bq->subject('a-token-of-later');
}), $both, 'a subject token file is read anew for each exchange');
rules();
fails('a pool that does not exist', '28000', [ qr/invalid_target/, qr/HINT: .*"audience"/ ], external(audience => '//iam.googleapis.com/projects/1/nothing'));
fails('a wrong type of token', '28000', [ qr/invalid_request/, qr/HINT: .*"subject_token_type"/ ], external(subject_token_type => 'urn:ietf:params:oauth:token-type:saml2'));
rules([ 'sts', { garbage => $json->encode({ access_token => 'a' x 12_288, expires_in => 3599 }) }, 0 ]);
fails('a token as long as they may be', '28000', [ qr/BigQuery did not accept the access token/ ], $bq->external_file);
rules([ 'sts', oauth(400, 'invalid_grant', "cannot parse $secret"), 0 ]);
fails('an answer that quotes the token', '28000', [ qr/^(?!.*DETAIL).*invalid_grant/s ], $bq->external_file);

# what others can do, and this cannot
for my $case (
	[ 'AWS', '"credential_source\.environment_id".*AWS', 'key of a service account', { environment_id => 'aws1', region_url => 'http://169.254.169.254:1/x' } ],
	[ 'a program', '"credential_source\.executable".*programs', 'credential_source\.file', { executable => { command => '/bin/true' } } ],
	[ 'a certificate', '"credential_source\.certificate".*X\.509', 'file or a URL', { certificate => {} } ],
	[ 'nothing', '"credential_source".*either', 'HINT', {} ],
	[ 'file and URL', '"credential_source".*either', 'HINT', { file => '/x', url => 'https://example.com' } ],
	[ 'a relative path', '"credential_source\.file".*absolute', 'HINT', { file => 'token' } ],
	[ 'another format', '"credential_source\.format\.type"', 'text and json', { file => '/x', format => { type => 'xml' } } ],
	[ 'JSON of no field', 'no field "credential_source\.format\.subject_token_field_name"', 'HINT', { file => '/x', format => { type => 'json' } } ])
{
	refuses("a source that is $case->[0]", [ qr/$case->[1]/, qr/HINT: .*$case->[2]|HINT/ ], external(from(%{ $case->[3] })));
}
refuses('a client of OAuth\'s', [ qr/"client_id".*not supported/ ], external(client_id => 'c'));

# ---- where a file may send its secrets, and whom it may have asked

rules();
my $iam = "/v1/projects/-/serviceAccounts/$account:generateAccessToken";
for my $case (
	[ \&user, token_uri => 'https://%s/token', 'oauth2.example.com', 'sts.googleapis.com', '169.254.169.254', 'oauth2.googleapis.com.' ],
	[ \&external, token_url => 'https://%s/v1/token', 'sts.example.com', 'oauth2.googleapis.com', 'sts.googleapis.com.example.com', 'sts.a.b.googleapis.com', 'x.y.sts.googleapis.com', 'stsx.googleapis.com', 'sts-a.b.p.googleapis.com', 'metadata.google.internal' ],
	[ \&impersonated, service_account_impersonation_url => "https://%s$iam", 'iamcredentials.example.com', 'iam.googleapis.com', 'sts.googleapis.com' ])
{
	my ($like, $field, $form, @hosts) = @$case;
	for my $host (@hosts)
	{
		refuses("$field at $host", [ qr/"$field".*not one of Google's/, qr/HINT: .*googleapis\.com/ ], $like->($field => sprintf $form, $host));
	}
	refuses("$field over plain http", [ qr/"$field".*plain http/, qr/HINT: .*https/ ], $like->($field => sprintf($form, 'sts.googleapis.com') =~ s/https/http/r));
}
for my $path ("/v1/projects/-/serviceAccounts/$account:signBlob", "/v1/projects/-/serviceAccounts/:generateAccessToken", "/v1/a/b:generateAccessToken", "$iam/x")
{
	refuses("another call of IAM's, $path", [ qr/"service_account_impersonation_url".*names no service account/ ],
		impersonated(service_account_impersonation_url => "https://iamcredentials.googleapis.com$path"));
}
for my $host (qw(example.com 10.0.0.1 metadata.example.com 169.254.169.253 [fd00:ec2::254]))
{
	refuses("a subject token over plain http from $host", [ qr/"credential_source\.url".*plain http/, qr/HINT: .*169\.254\.169\.254/ ],
		external(from(url => "http://$host/token")));
}
is(scalar($bq->requests), 0, 'files with other hosts: nobody is asked');

# ---- hosts of Google's that are accepted: the proxy is asked for the way to them, and says no

my $proxy = $bq->url;
for my $case (
	[ \&user, token_uri => 'https://%s/token', qw(oauth2.googleapis.com accounts.google.com www.googleapis.com) ],
	[ \&external, token_url => 'https://%s/v1/token', qw(sts.googleapis.com us-east1-sts.googleapis.com sts.us-east1.googleapis.com us-east1.sts.googleapis.com sts-net.p.googleapis.com sts.mtls.googleapis.com STS.googleapis.com) ])
{
	my ($like, $field, $form, @hosts) = @$case;
	for my $host (@hosts)
	{
		my (undef, $err) = $auth->load($like->($field => sprintf $form, $host), proxy => $proxy);
		like($err, qr/ERROR:  (?:08001|08006|58030|08P01)/, "$field may be at $host");
	}
}
rules();
(undef, my $err) = $auth->load(external(from(url => 'http://169.254.169.254:1/x')), proxy => $bq->mute_url, connect_timeout => '100ms', request_timeout => '1s');
like($err, qr/ERROR:  (?:08001|08006|28000|08P01): /, 'a subject token may come from a metadata server');
is($auth->count('mute'), 0, 'a metadata server is not asked through the proxy');

# ---- the metadata server

rules();
works('the machine\'s own service account', 'metadata');
is(asked(), 'metadata', 'the metadata server is asked once');
is(($bq->requests('metadata'))[0]{path}, '/computeMetadata/v1/instance/service-accounts/default/token', 'the metadata server is asked for the default account\'s token');
is(asker(), $account, 'BigQuery sees the machine\'s service account');
rules();
is($auth->twice(credentials_file => 'metadata'), $both, 'metadata: two runs of a session are loaded');
is(asked(), 'metadata', 'metadata: two runs of a session use one token');
rules();
works('metadata: no project is set', 'metadata', project => '');
like(join(' ', map { $_->{path} } $bq->requests('metadata')), qr{/project/project-id},
	'metadata: the machine\'s project is asked for');
is(($bq->requests('insert'))[0]{body}{jobReference}{projectId}, 'test-project',
	'metadata: the machine\'s project is billed');
my %flavor = (headers => { 'Metadata-Flavor' => 'Google' });
rules([ 'metadata', { status => 404, body => 'not found', %flavor }, 0 ]);
fails('a machine without a service account', '28000', [ qr/metadata server knows no service account/, qr/HINT: .*Attach a service account/ ], 'metadata');
rules([ 'metadata', { status => 403, body => 'unable to generate access token', %flavor }, 0 ]);
fails('a pod that may not', '28000', [ qr/metadata server refused a token: HTTP status 403/, qr/HINT: .*workloadIdentityUser/ ], 'metadata');
rules([ 'metadata', { status => 200, body => { access_token => 'somebody-else-s' } }, 0 ]);
fails('somebody else who answers there', '08P01', [ qr/a server other than the metadata server answered/, qr/DETAIL: .*Metadata-Flavor/, qr/HINT/ ], 'metadata');
is($auth->count('insert'), 0, 'a metadata server without Metadata-Flavor: its token is not used');
rules([ 'metadata', { status => 503, %flavor } ]);
works('a metadata server that answers 503', 'metadata');
is(asked(), 'metadata metadata', 'a metadata server that answers 503 is asked again');
rules([ 'metadata', { status => 503 } ]);
works('a metadata server behind something that answers 503', 'metadata');
is(asked(), 'metadata metadata', 'a metadata server behind something that answers 503 is asked again');
rules();
works('metadata with a proxy', 'metadata', proxy => $bq->mute_url);
is($auth->count('mute'), 0, 'metadata: the proxy is not used');

# who may use it: as a file
$auth->query('CREATE ROLE plain LOGIN; GRANT USAGE ON FOREIGN DATA WRAPPER contratos TO plain');
for my $sql (q(CREATE SERVER theirs FOREIGN DATA WRAPPER contratos OPTIONS (credentials_file 'metadata')),
	q(LOAD 'contratos'; SET contratos.credentials_file = 'metadata'))
{
	(undef, $err) = $auth->query($sql, user => 'plain');
	like($err, qr/ERROR:  42501/, "refused to an ordinary role: $sql");
}
$auth->query(q(CREATE USER MAPPING FOR postgres SERVER bigquery OPTIONS (credentials_file 'metadata')));
rules();
works('a user mapping with credentials_file metadata', undef);
is(asked(), 'metadata', 'a user mapping with credentials_file metadata is used');
$auth->query('DROP USER MAPPING FOR postgres SERVER bigquery');
for my $word ('metadata.json', 'Metadata', './metadata')
{
	(undef, $err) = $auth->query("LOAD 'contratos'; SET contratos.credentials_file = '$word'");
	like($err, qr/ERROR:  22023: .*DETAIL: .*absolute path.*metadata/s, "$word is neither a path nor metadata");
}

# ---- how long tokens are used, and a file that is replaced

my %kinds = (
	user => [ $bq->user_file, 'token', 1 ],
	external => [ $bq->external_file, 'sts', 1 ],
	impersonated => [ $bq->impersonated_file, 'impersonate', 2 ],
	metadata => [ 'metadata', 'metadata', 1 ]);
for my $kind (sort keys %kinds)
{
	my ($file, $last, $requests) = @{ $kinds{$kind} };
	rules();
	is($auth->twice(credentials_file => $file), $both, "$kind: two runs");
	is(scalar(split / /, asked()), $requests, "$kind: two runs use one token");
	rules([ $last, { expires_in => 200 }, 0 ]);
	is($auth->twice(credentials_file => $file), $both, "$kind: two runs with a token about to end");
	cmp_ok(scalar(split / /, asked()), '>', $requests, "$kind: a token about to expire is replaced in time");
	rules([ 'results', { expire_token => $true } ]);
	works("$kind: a token that BigQuery no longer takes", $file);
	is(scalar(split / /, asked()), 2 * $requests, "$kind: a token that BigQuery no longer takes is replaced once");
	rules([ 'results', { expire_token => $true }, 0 ]);
	fails("$kind: a 401 that stays", '28000', [ qr/did not accept the access token/ ], $file);
	is(scalar(split / /, asked()), 2 * $requests, "$kind: a 401 that stays takes one fresh token");
}
my $replaced = user();
rules();
is($auth->twice(credentials_file => $replaced, between => sub { rename impersonated(), $replaced or die $! }), $both, 'a credentials file replaced by one of another kind: two runs');
is(asked(), 'token token impersonate', 'a credentials file replaced by one of another kind is used as that');

# ---- nobody there

my $nobody = 'http://127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
for my $case ([ \&user, token_uri => "$nobody/token" ], [ \&external, token_url => "$nobody/v1/token" ],
	[ \&impersonated, service_account_impersonation_url => "$nobody$iam" ], [ \&external, from(url => "$nobody/x") ])
{
	my ($like, %changes) = @$case;
	fails("nobody at @{[ keys %changes ]}", '08001', [ qr/could not connect/ ], $like->(%changes), request_timeout => '2s');
}

# ---- no secret anywhere

$auth->query("SELECT contratos_backfill_range('$day', '$day')");
my $user = $auth->content($bq->user_file);
$auth->no_secrets(
	'an access token' => qr/ya29\.c\.[A-Za-z0-9_-]{4}/,
	'a bearer header' => qr/Bearer +[A-Za-z0-9]/,
	'a refresh token' => qr{1//0|standin-refresh},
	'a client\'s secret' => qr/another-client-secret|\Q$user->{client_secret}\E|d-standin/,
	'a subject token' => qr/\Q$secret\E|eyJ[A-Za-z0-9_-]{8}|a-token-of-|c3RhbmRpbi1z/,
	'a private key' => qr/-----BEGIN/,
	'where a subject token comes from' => qr{/subject-token},
	'somebody else\'s' => qr/somebody-else-s/);

done_testing();
