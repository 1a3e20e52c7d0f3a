/*
 * auth_source.c
 *	  The content of a credentials file: its kind, its fields, and the hosts it may
 *	  name.
 *
 * A user who can write such a file, or choose one, decides where keys and tokens are
 * sent, and which hosts this server contacts.  So the URLs in it may name only Google's
 * hosts for the purpose in question, over https, and this machine: a stand-in in tests,
 * an agent that issues tokens.  SECURITY.md explains the reasons.
 */
#include "postgres.h"

#include "auth/auth_internal.h"
#include "base/failure.h"
#include "base/settings.h"
#include "http/http.h"

#define UNIVERSE "googleapis.com"

static const AuthKind *const kinds[] = {&auth_service_account, &auth_user, &auth_external, &auth_impersonate};

#define KNOWN_KINDS "service_account, authorized_user, external_account and impersonated_service_account"

const char *
auth_source_text(const AuthSource *source, const char *field)
{
	char path[128];
	const char *text;

	snprintf(path, sizeof(path), "%s%s", source->prefix, field);
	text = json_string_at(source->doc, path);
	return text != NULL && text[0] != '\0' ? text : NULL;
}

bool
auth_source_wrong(const AuthSource *source, const char *field, Failure *f, const char *problem, const char *hint)
{
	failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "field \"%s%s\" of credentials file \"%s\": %s", source->prefix,
				field, source->file, problem);
	failure_hint(f, "%s", hint);
	f->every_day = true;
	return false;
}

bool
auth_source_has(const AuthSource *source, const char *const *fields, Failure *f)
{
	for (; *fields != NULL; fields++)
	{
		if (auth_source_text(source, *fields) != NULL)
			continue;
		failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "credentials file \"%s\" has no field \"%s%s\"", source->file,
					source->prefix, *fields);
		failure_hint(f, "Use the JSON file unchanged, as Google Cloud gave it; if it is, have a new one made.");
		f->every_day = true;
		return false;
	}
	return true;
}

/* Whether text is one label of a host name: not empty, and without a dot. */
static bool
is_label(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '.')
			return false;
	return len > 0;
}

/*
 * Whether a host is `service`.googleapis.com or one of its regional, private and
 * mutual-TLS forms, with exactly one label in place of the star:
 * *.service, service.*, *-service, service-*.p
 */
static bool
is_service_host(const char *host, const char *service)
{
	size_t len = strlen(host);
	size_t name = strlen(service);
	static const char *const domains[] = {".mtls." UNIVERSE, "." UNIVERSE};

	for (size_t i = 0; i < lengthof(domains); i++)
	{
		size_t rest = strlen(domains[i]);

		if (len <= rest || strcmp(host + len - rest, domains[i]) != 0)
			continue;
		len -= rest;
		if (len == name && strncmp(host, service, name) == 0)
			return true;
		if (len < name + 2)
			return false;
		if (strncmp(host, service, name) == 0 && host[name] == '.')
			return is_label(host + name + 1, len - name - 1);
		if (strncmp(host, service, name) == 0 && host[name] == '-' && len > 2 && strncmp(host + len - 2, ".p", 2) == 0)
			return is_label(host + name + 1, len - name - 3);
		if (strncmp(host + len - name, service, name) == 0 && strchr(".-", host[len - name - 1]) != NULL)
			return is_label(host, len - name - 1);
		return false;
	}
	return false;
}

static bool
is_allowed(const char *host, AuthHosts hosts)
{
	switch (hosts)
	{
		case AUTH_HOSTS_OAUTH:
			/* the older names are in keys that were made years ago */
			return strcmp(host, "oauth2.googleapis.com") == 0 || strcmp(host, "accounts.google.com") == 0 ||
				   strcmp(host, "www.googleapis.com") == 0;
		case AUTH_HOSTS_STS:
			return is_service_host(host, "sts");
		case AUTH_HOSTS_IAM:
			return is_service_host(host, "iamcredentials");
	}
	return false;
}

bool
auth_source_url_check(const AuthSource *source, const char *field, AuthHosts hosts, Failure *f)
{
	static const char *const names[] = {"oauth2", "sts", "iamcredentials"};
	const char *url = auth_source_text(source, field);
	char hint[256];
	Failure why;

	snprintf(hint, sizeof(hint),
			 "It must be an https URL at %s." UNIVERSE "; secrets are sent to it, so no other host is accepted.",
			 names[hosts]);
	if (!http_url_check(url, &why))
		return auth_source_wrong(source, field, f, why.message, hint);
	if (!http_url_is_loopback(url) && !is_allowed(http_url_host(url, false, &why), hosts))
		return auth_source_wrong(source, field, f, "URL cannot be used: its host is not one of Google's for this",
								 hint);
	return true;
}

/* Other universes are separate clouds, with other hosts and other tokens. */
static bool
check_universe(const AuthSource *source, Failure *f)
{
	const char *universe = auth_source_text(source, "universe_domain");

	if (universe == NULL || strcmp(universe, UNIVERSE) == 0)
		return true;
	return auth_source_wrong(source, "universe_domain", f, "only the universe " UNIVERSE " is supported",
							 "Use credentials of the public Google Cloud.");
}

/* The kind that the file's type names; NULL with *f set. */
static const AuthKind *
find_kind(const AuthSource *source, Failure *f)
{
	static const char *const others[] = {"external_account_authorized_user", "gdch_service_account"};
	const char *type = auth_source_text(source, "type");

	for (size_t i = 0; type != NULL && i < lengthof(kinds); i++)
		if (strcmp(type, kinds[i]->name) == 0)
			return kinds[i];

	/* an unknown type is not quoted: the file may be of any kind */
	failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE,
				type ? "credentials file \"%s\" is of an unknown type"
					 : "credentials file \"%s\" has no field \"type\"",
				source->file);
	for (size_t i = 0; type != NULL && i < lengthof(others); i++)
		if (strcmp(type, others[i]) == 0)
			failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE,
						"credentials file \"%s\" is of type \"%s\", which is not supported", source->file, others[i]);
	failure_hint(f, "The types that work are " KNOWN_KINDS
					"; on machines on Google Cloud credentials_file = '" SETTINGS_METADATA "' needs no file.");
	f->every_day = true;
	return NULL;
}

bool
auth_source_open(const AuthConfig *config, AuthSource *source, AuthFileId *id, Failure *f)
{
	*source = (AuthSource){.file = config->credentials_file, .prefix = ""};
	memset(id, 0, sizeof(*id));
	if (strcmp(config->credentials_file, SETTINGS_METADATA) == 0)
		source->kind = &auth_metadata;
	else
	{
		source->doc = auth_key_load(config->credentials_file, id, f);
		if (source->doc == NULL)
			return false;
		source->kind = find_kind(source, f);
	}
	if (source->kind != NULL && (source->doc == NULL || check_universe(source, f)) && source->kind->check(source, f))
		return true;
	auth_source_close(source);
	return false;
}

void
auth_source_close(AuthSource *source)
{
	json_free_document(source->doc);
	source->doc = NULL;
}
