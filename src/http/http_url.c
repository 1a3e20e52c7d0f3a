/*
 * http_url.c
 *	  The rules for URLs: https to any host, plain http to loopback and, for requests
 *	  that allow it, to the metadata server of a machine on Google Cloud.
 *
 * libcurl's own parser does the work, so that the URL that is checked is the one that
 * is connected to later.
 */
#include "postgres.h"

#include <arpa/inet.h>

#include "lib/stringinfo.h"

#include "base/failure.h"
#include "http/http_internal.h"

/* Copy one part of a URL into a fixed array; false if there is none or it is too long. */
static bool
get_part(CURLU *url, CURLUPart part, unsigned int flags, char *copy, size_t size)
{
	char *text = NULL;
	bool fits = curl_url_get(url, part, &text, flags) == CURLUE_OK && strlcpy(copy, text, size) < size;

	curl_free(text);
	return fits;
}

static bool
has_part(CURLU *url, CURLUPart part)
{
	char *text = NULL;
	bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;

	curl_free(text);
	return has;
}

/*
 * Whether there is a percent sign before the path.  libcurl decodes a host, and takes
 * what comes out for an address only when it connects.
 */
static bool
has_encoded_host(const char *url)
{
	const char *host = url + strcspn(url, ":");

	host += strspn(host, ":/\\");
	return memchr(host, '%', strcspn(host, "/\\?#")) != NULL;
}

/* Apply the rules to a URL that libcurl could parse; NULL, or the problem with it. */
static const char *
take_url_apart(CURLU *url, bool metadata, HttpUrl *parts)
{
	char scheme[8];
	char port[8];
	char *host = parts->host;
	size_t len;
	struct in_addr v4;

	if (!get_part(url, CURLUPART_SCHEME, 0, scheme, sizeof(scheme)) ||
		(strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0))
		return "it must begin with https:// (or http:// for this machine)";
	if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
		return "it must not hold a user name or password";
	if (!get_part(url, CURLUPART_HOST, 0, host, sizeof(parts->host)) ||
		!get_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port)))
		return "it names no usable host";

	/* remove the brackets around an IPv6 address */
	len = strlen(host);
	if (len >= 2 && host[0] == '[' && host[len - 1] == ']')
	{
		memmove(host, host + 1, len - 2);
		host[len - 2] = '\0';
	}
	parts->port = (int) strtol(port, NULL, 10);
	parts->tls = strcmp(scheme, "https") == 0;
	/* a host, as normalized by libcurl, that can only be this machine */
	parts->loopback = pg_strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
					  (inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127);
	/*
	 * The metadata server, where a cloud's machines learn their identity: a link-local
	 * address, answered by the physical host, which speaks only plain http.
	 */
	parts->metadata = pg_strcasecmp(host, "metadata.google.internal") == 0 || strcmp(host, "169.254.169.254") == 0;
	if (!parts->tls && !parts->loopback && !(metadata && parts->metadata))
		return "plain http is allowed to this machine only; use https";
	return NULL;
}

bool
http_url_parse(const char *url, bool metadata, HttpUrl *parts, Failure *f)
{
	CURLU *handle = curl_url();
	const char *wrong = "it is not a URL";

	memset(parts, 0, sizeof(*parts));
	if (handle != NULL && curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK)
		wrong = take_url_apart(handle, metadata, parts);
	if (wrong == NULL && has_encoded_host(url))
		wrong = "its host must not be percent-encoded";
	/* libcurl does not report an empty query, which would swallow a path that is appended */
	parts->has_extras = strpbrk(url, "?#") != NULL;
	curl_url_cleanup(handle);

	/* the URL is left out: it may hold a password, or a query with secrets */
	if (wrong != NULL && f != NULL)
	{
		failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "URL cannot be used: %s", wrong);
		f->every_day = true;
	}
	return wrong == NULL;
}

bool
http_url_is_loopback(const char *url)
{
	HttpUrl parts;

	return http_url_parse(url, false, &parts, NULL) && parts.loopback;
}

char *
http_url_host(const char *url, bool metadata, Failure *f)
{
	HttpUrl parts;

	if (!http_url_parse(url, metadata, &parts, f))
		return NULL;
	for (char *c = parts.host; *c != '\0'; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	return pstrdup(parts.host);
}

bool
http_url_check(const char *url, Failure *f)
{
	HttpUrl parts;

	if (!http_url_parse(url, false, &parts, f))
		return false;
	if (parts.has_extras)
	{
		failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "URL cannot be used: it must not hold a query or fragment");
		f->every_day = true;
		return false;
	}
	return true;
}

void
http_append_escaped(StringInfo buf, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";

	enlargeStringInfo(buf, (int) (3 * strlen(text)));
	for (const unsigned char *c = (const unsigned char *) text; *c != '\0'; c++)
	{
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
			strchr("-._~", *c) != NULL)
			appendStringInfoChar(buf, *c);
		else
		{
			appendStringInfoChar(buf, '%');
			appendStringInfoChar(buf, hex[*c >> 4]);
			appendStringInfoChar(buf, hex[*c & 15]);
		}
	}
}

char *
http_escape(const char *text)
{
	StringInfoData buf;

	initStringInfo(&buf);
	http_append_escaped(&buf, text);
	return buf.data;
}
