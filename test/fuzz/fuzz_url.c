/*
 * fuzz_url.c
 *	  libFuzzer target: a URL, as a setting, an option or a credentials file names it.
 *
 * A URL that is refused yields no host, plain http reaches this machine and the metadata
 * server only, and the URL that libcurl makes of it has the same host, port and scheme.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <netdb.h>

#include "base/settings.h"
#include "http/http_internal.h"

/* Whether a host, which is not a name, is an address of this machine; by the C library. */
static bool
is_this_machine(const char *host)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;
	bool local;

	if (getaddrinfo(host, NULL, &hints, &found) != 0)
		return strcmp(host, "localhost") == 0;
	if (found->ai_family == AF_INET)
		local = (ntohl(((struct sockaddr_in *) found->ai_addr)->sin_addr.s_addr) >> 24) == 127;
	else
		local = IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *) found->ai_addr)->sin6_addr);
	freeaddrinfo(found);
	return local;
}

/* As libcurl writes it when it connects. */
static char *
written_by_libcurl(const char *url)
{
	CURLU *handle = curl_url();
	char *text = NULL;
	char *copy = NULL;

	if (curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK &&
		curl_url_get(handle, CURLUPART_URL, &text, 0) == CURLUE_OK)
		copy = pstrdup(text);
	curl_free(text);
	curl_url_cleanup(handle);
	return copy;
}

static void
check_parts(const char *url, bool metadata, const HttpUrl *parts)
{
	char *again = written_by_libcurl(url);
	HttpUrl same;
	Failure f;

	property(parts->host[0] != '\0' && strpbrk(parts->host, "/\\@#? \t\r\n") == NULL, "host %s", parts->host);
	property(parts->port >= 0 && parts->port <= 65535, "port %d", parts->port);
	property(parts->tls || parts->loopback || (metadata && parts->metadata), "plain http to %s", parts->host);
	property(again != NULL && http_url_parse(again, metadata, &same, &f), "libcurl's own form is refused: %s", again);
	property(strcspn(strstr(again, "://") + 3, "@") >= strcspn(strstr(again, "://") + 3, "/?#"), "a user in %s", again);
	property(strcmp(parts->host, same.host) == 0 && parts->port == same.port && parts->tls == same.tls &&
				 parts->loopback == same.loopback && parts->metadata == same.metadata,
			 "not the same as %s: %s, %s", again, parts->host, same.host);
}

/* Percent-encoded, a text has its own characters and no other's meaning. */
static void
check_escape(const char *text)
{
	char *escaped = http_escape(text);
	int len;
	char *back = curl_easy_unescape(NULL, escaped, (int) strlen(escaped), &len);

	property(strspn(escaped, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~%") == strlen(escaped),
			 "escaped as %s", escaped);
	property(len == (int) strlen(text) && strcmp(back, text) == 0, "%s comes back as %s", escaped, back);
	curl_free(back);
}

int
fuzz_input(const uint8_t *data, size_t size)
{
	HttpUrl parts, with_metadata;
	Failure f = {0}, ignored;

	const char *url = copy_of(data, size);
	bool usable = http_url_parse(url, false, &parts, &f);
	char *host = http_url_host(url, false, &ignored);
	bool endpoint = http_url_check(url, &ignored);

	property(usable == (host != NULL), "usable %d, host %s", usable, host);
	if (!usable)
	{
		check_failure(&f);
		property(!endpoint && !http_url_is_loopback(url), "refused, and an endpoint or loopback");
	}
	else
	{
		check_parts(url, false, &parts);
		property(pg_strcasecmp(host, parts.host) == 0, "hosts %s and %s", host, parts.host);
		property(http_url_is_loopback(url) == parts.loopback, "loopback or not: %s", host);
		property(is_this_machine(host) == parts.loopback, "this machine or not: %s", host);
		property(endpoint == !parts.has_extras, "an endpoint with a query, or none without");
		property(http_url_parse(url, true, &with_metadata, NULL), "refused where more is allowed");
	}
	if (!endpoint)
		check_failure(&ignored);
	if (http_url_parse(url, true, &with_metadata, NULL))
		check_parts(url, true, &with_metadata);

	/* what is appended to an endpoint is a path */
	if (endpoint)
	{
		char *longer = written_by_libcurl(psprintf("%s/bigquery", url));

		property(longer != NULL && strlen(longer) > 9 && strcmp(longer + strlen(longer) - 9, "/bigquery") == 0 &&
					 strpbrk(longer, "?#") == NULL,
				 "with a path it becomes %s", longer);
	}

	/* a setting's own check comes first, and knows nothing of libcurl */
	if (settings_endpoint_problem(url) == NULL)
		property(!usable || (endpoint && strchr(url, '@') == NULL), "a setting, and no endpoint: %s", url);
	(void) settings_proxy_problem(url);
	(void) settings_project_problem(url);
	(void) settings_location_problem(url);
	check_escape(url);
	return 0;
}
