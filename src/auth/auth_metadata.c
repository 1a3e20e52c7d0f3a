/*
 * auth_metadata.c
 *	  The keyword metadata: on a machine on Google Cloud (a VM, a GKE pod with workload
 *	  identity) the metadata server issues tokens of the machine's own service account.
 *	  There is no file and no secret to keep.
 *
 * It speaks plain http, on a link-local address that never leaves the physical host.
 * GCE_METADATA_HOST, Google's own convention, in the environment the server was started
 * with, may name its other name, its address, or this machine (a stand-in, an agent);
 * any other host is refused.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "auth/auth_internal.h"
#include "base/failure.h"
#include "base/settings.h"
#include "http/http.h"

#define HOST "metadata.google.internal"
#define HOST_VARIABLE "GCE_METADATA_HOST"
#define ROOT "/computeMetadata/v1/"

/* Outside Google Cloud no server may answer at that address: wait as long as Google's libraries do. */
#define CONNECT_TIMEOUT_MS 3000

static const char *
host_named(void)
{
	const char *host = getenv(HOST_VARIABLE);

	return host != NULL && host[0] != '\0' ? host : HOST;
}

static bool
metadata_check(const AuthSource *source pg_attribute_unused(), Failure *f)
{
	const char *named = host_named();
	char *url = psprintf("http://%s/", named);
	Failure why;
	/* plain http: the host must be this machine or the metadata server */
	bool usable = strpbrk(named, "/?#@\\") == NULL && http_url_host(url, true, &why) != NULL;

	if (usable)
		return true;
	failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE,
				"environment variable \"" HOST_VARIABLE "\" does not name a metadata server");
	failure_hint(f, "Start the server without it, or with " HOST
					", 169.254.169.254 or this machine, optionally with a port.");
	f->every_day = true;
	return false;
}

static void
metadata_refused(const AuthRefusal *refusal, Failure *f)
{
	if (refusal->status == 404)
	{
		failure_set(f, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
					"the metadata server knows no service account for this machine");
		failure_hint(f, "Attach a service account to the VM, with the access scope cloud-platform or bigquery.");
		return;
	}
	failure_set(f, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, "the metadata server refused a token: HTTP status %d",
				refusal->status);
	failure_hint(f,
				 "On GKE, check that the pod's Kubernetes service account may act as the service account it is bound "
				 "to (roles/iam.workloadIdentityUser).");
}

static const AuthEndpoint endpoint = {.name = "the metadata server",
									  .where = HOST_VARIABLE " in the server's environment",
									  .token_field = "access_token",
									  .refused = metadata_refused,
									  .google_metadata = true};

static const HttpHeader flavor = {"Metadata-Flavor", "Google"};

static HttpRequest
make_metadata_request(const char *path)
{
	return (HttpRequest){.method = "GET",
						 .url = psprintf("http://%s" ROOT "%s", host_named(), path),
						 .headers = &flavor,
						 .nheaders = 1,
						 .connect_timeout_ms = CONNECT_TIMEOUT_MS,
						 .metadata = true};
}

/* Add to *f that the metadata server was not reached: most likely there is none. */
static void
metadata_explain(Failure *f)
{
	if (f->http_status == 0)
		failure_hint(f,
					 "Only machines of Google Cloud have a metadata server; elsewhere set contratos.credentials_file "
					 "to a file with credentials.");
}

static bool
metadata_fetch(AuthSource *source pg_attribute_unused(), AuthAsker *asker, AuthToken *token, Failure *f)
{
	/* the scope is only a request: the scopes of a VM are fixed */
	HttpRequest request =
		make_metadata_request(psprintf("instance/service-accounts/default/token?scopes=%s", http_escape(asker->scope)));
	bool ok = auth_ask_token(asker, &endpoint, &request, token, f);

	if (!ok)
		metadata_explain(f);
	return ok;
}

char *
auth_metadata_project(AuthAsker *asker, Failure *f)
{
	static char *project = NULL; /* the project of a machine does not change */
	HttpRequest request = make_metadata_request("project/project-id");
	HttpResponse answer;

	if (project != NULL)
		return pstrdup(project);
	if (!auth_ask(asker, &endpoint, &request, &answer, f))
	{
		metadata_explain(f);
		return NULL;
	}
	if (answer.len == 0 || answer.len > 255 ||
		strspn(answer.body, "abcdefghijklmnopqrstuvwxyz0123456789.:-") != answer.len)
	{
		failure_set(f, ERRCODE_PROTOCOL_VIOLATION, "the metadata server's answer holds no project id");
		failure_hint(f, "Set contratos.project or the option project of the server.");
		return NULL;
	}
	project = MemoryContextStrdup(TopMemoryContext, answer.body);
	return pstrdup(project);
}

static char *
metadata_principal(const AuthSource *source pg_attribute_unused())
{
	return NULL;
}

const AuthKind auth_metadata = {
	.name = SETTINGS_METADATA, .check = metadata_check, .fetch = metadata_fetch, .principal = metadata_principal};
