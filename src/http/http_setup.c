/*
 * http_setup.c
 *	  One request as options of a libcurl handle, and the callback that
 *	  receives the body of its answer.
 *
 * Everything that libcurl would take from its environment (variables, .netrc, built-in
 * paths) is set explicitly, so that only our own settings count. The callback records
 * and returns: no palloc, no ereport, no interrupts.
 */
#include "postgres.h"

#include <ctype.h>
#include <unistd.h>

#include "base/failure.h"
#include "http/http_compat.h"
#include "http/http_internal.h"

/*
 * The size of libcurl's reads.  While we are not ready for more, libcurl keeps at most
 * 64 MB of unpacked data; gzip expands one byte to at most 1032, so with this size and
 * no other encoding (the others have no such bound) it stays well below.
 */
#define RECEIVE_SIZE (16 * 1024)

/* Set one option; true if libcurl accepted it. */
#define SET(exchange, option, value) (curl_easy_setopt((exchange)->easy, (option), (value)) == CURLE_OK)

/* CURLOPT_WRITEFUNCTION: keep the data if it fits, else pause the transfer. */
static size_t
on_body(char *data, size_t size, size_t nmemb, void *arg)
{
	HttpExchange *exchange = arg;
	size_t len = size * nmemb;

	if (len > HTTP_BUFFER_SIZE - exchange->end)
	{
		exchange->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (exchange->max_body != 0 && len > exchange->max_body - exchange->body_bytes)
	{
		exchange->cap = HTTP_CAP_BODY;
		return 0;
	}
	memcpy(exchange->buffer + exchange->end, data, len);
	exchange->end += len;
	exchange->body_bytes += len;
	exchange->activity++;
	return len;
}

/* All options but those of the request itself: callbacks, connection, TLS and proxy. */
static bool
set_transport(HttpExchange *exchange, const HttpUrl *url, const char *proxy)
{
	bool ok = SET(exchange, CURLOPT_PRIVATE, exchange) && SET(exchange, CURLOPT_ERRORBUFFER, exchange->errbuf) &&
			  SET(exchange, CURLOPT_HEADERFUNCTION, http_on_header) && SET(exchange, CURLOPT_HEADERDATA, exchange) &&
			  SET(exchange, CURLOPT_WRITEFUNCTION, on_body) && SET(exchange, CURLOPT_WRITEDATA, exchange);

	/* the connection: HTTP/1.1 over TCP, no redirects, nothing stored */
	ok = ok && SET(exchange, CURLOPT_NOSIGNAL, 1L) && curl_quick_exit_compat(exchange->easy) == CURLE_OK &&
		 curl_http_only_compat(exchange->easy, url->tls) == CURLE_OK && SET(exchange, CURLOPT_FOLLOWLOCATION, 0L) &&
		 SET(exchange, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1) && SET(exchange, CURLOPT_TCP_NODELAY, 1L) &&
		 SET(exchange, CURLOPT_TCP_KEEPALIVE, 1L) && SET(exchange, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED) &&
		 SET(exchange, CURLOPT_ACCEPT_ENCODING, "gzip") && SET(exchange, CURLOPT_USERAGENT, "contratos/1.0 (gzip)") &&
		 SET(exchange, CURLOPT_BUFFERSIZE, (long) RECEIVE_SIZE) &&
		 SET(exchange, CURLOPT_CONNECTTIMEOUT_MS, (long) exchange->connect_timeout_ms);

	/*
	 * TLS is always verified.  With the user's ca_file, the built-in directory of roots
	 * is switched off, or else both would be trusted.
	 */
	ok = ok && SET(exchange, CURLOPT_SSL_VERIFYPEER, 1L) && SET(exchange, CURLOPT_SSL_VERIFYHOST, 2L) &&
		 SET(exchange, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	if (ok && exchange->ca_file != NULL)
		ok = SET(exchange, CURLOPT_CAINFO, exchange->ca_file) && SET(exchange, CURLOPT_CAPATH, NULL) &&
			 SET(exchange, CURLOPT_PROXY_CAINFO, exchange->ca_file) && SET(exchange, CURLOPT_PROXY_CAPATH, NULL);

	/*
	 * An empty proxy keeps libcurl from consulting the environment, and so does an empty
	 * no-proxy list.  The headers of the proxy's answer to CONNECT are not passed to our
	 * callbacks.
	 */
	return ok && SET(exchange, CURLOPT_PROXY, exchange->proxied ? proxy : "") && SET(exchange, CURLOPT_NOPROXY, "") &&
		   SET(exchange, CURLOPT_HTTPPROXYTUNNEL, exchange->proxied ? 1L : 0L) &&
		   SET(exchange, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) &&
		   SET(exchange, CURLOPT_HEADEROPT, (long) CURLHEADER_SEPARATE);
}

/* Append one request header; our own copy of the line, the only one, is overwritten. */
static bool
add_header(HttpExchange *exchange, const char *name, const char *scheme, const char *value)
{
	/* psprintf() would start with a smaller buffer and leave a copy behind */
	size_t size = strlen(name) + strlen(scheme) + strlen(value) + sizeof(": ");
	char *line = palloc(size);
	struct curl_slist *list;

	snprintf(line, size, "%s: %s%s", name, scheme, value);
	list = curl_slist_append(exchange->headers, line);

	explicit_bzero(line, strlen(line));
	pfree(line);
	if (list != NULL)
		exchange->headers = list;
	return list != NULL;
}

/* Whether a header from the caller is one line with a name and a value. */
static bool
check_header(const HttpHeader *header, Failure *f)
{
	bool sane = header->name[0] != '\0' && header->value[0] != '\0';

	for (const char *c = header->name; *c != '\0'; c++)
		sane = sane && (isalnum((unsigned char) *c) || strchr("-_", *c) != NULL) && !IS_HIGHBIT_SET(*c);
	for (const char *c = header->value; *c != '\0'; c++)
		sane = sane && *c >= ' ' && *c <= '~';
	if (!sane)
	{
		failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "a header cannot be sent as it is");
		failure_detail(f, "Its name may have letters, digits, hyphens and underscores, its value ASCII in one line.");
		f->every_day = true;
	}
	return sane;
}

static bool
set_headers(HttpExchange *exchange, const HttpRequest *request)
{
	struct curl_slist *list;

	for (int i = 0; i < request->nheaders; i++)
		if (!add_header(exchange, request->headers[i].name, "", request->headers[i].value))
			return false;
	if (!add_header(exchange, "Accept", "", "application/json"))
		return false;
	if (request->content_type != NULL && !add_header(exchange, "Content-Type", "", request->content_type))
		return false;
	if (request->bearer != NULL && !add_header(exchange, "Authorization", "Bearer ", request->bearer))
		return false;
	/* without this header, a body of more than 1 MB would wait a round trip for "100 Continue" */
	list = curl_slist_append(exchange->headers, "Expect:");
	if (list == NULL)
		return false;
	exchange->headers = list;
	return SET(exchange, CURLOPT_HTTPHEADER, exchange->headers);
}

static bool
set_method(HttpExchange *exchange, const HttpRequest *request)
{
	if (strcmp(request->method, "GET") == 0)
		return SET(exchange, CURLOPT_HTTPGET, 1L);

	Assert(strcmp(request->method, "POST") == 0);
	exchange->body_len = request->body ? request->body_len : 0;
	exchange->body = MemoryContextAllocHuge(exchange->context, exchange->body_len + 1);
	if (exchange->body_len > 0)
		memcpy(exchange->body, request->body, exchange->body_len);
	return SET(exchange, CURLOPT_POST, 1L) && SET(exchange, CURLOPT_POSTFIELDS, exchange->body) &&
		   SET(exchange, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) exchange->body_len);
}

/* Whether the file of trusted roots can be read. */
static bool
check_ca_readable(const char *path, Failure *f)
{
	int sqlstate;

	if (path == NULL || access(path, R_OK) == 0)
		return true;
	sqlstate = errno == ENOENT	 ? ERRCODE_UNDEFINED_FILE
			   : errno == EACCES ? ERRCODE_INSUFFICIENT_PRIVILEGE
								 : ERRCODE_IO_ERROR;
	failure_set(f, sqlstate, "could not read the trusted certificates in \"%s\": %s", path, strerror(errno));
	failure_hint(
		f, "contratos.ca_file (or the server's option ca_file) must name a file that the server's user can read.");
	f->every_day = true;
	return false;
}

bool
http_setup(HttpExchange *exchange, const HttpRequest *request, Failure *f)
{
	HttpUrl url;

	if (!http_url_parse(request->url, request->metadata, &url, f) || !check_ca_readable(request->ca_file, f))
		return false;
	for (int i = 0; i < request->nheaders; i++)
		if (!check_header(&request->headers[i], f))
			return false;

	exchange->host = MemoryContextStrdup(exchange->context, url.host);
	exchange->port = url.port;
	exchange->method = strcmp(request->method, "GET") == 0 ? "GET" : "POST";
	exchange->path = request->hide_path ? NULL : http_log_path(exchange->context, request->url);
	exchange->ca_file = request->ca_file ? MemoryContextStrdup(exchange->context, request->ca_file) : NULL;
	/* through a proxy, loopback would be the proxy itself, and the metadata server that of its machine */
	exchange->proxied = request->proxy != NULL && request->proxy[0] != '\0' && !url.loopback && !url.metadata;
	exchange->connect_timeout_ms = request->connect_timeout_ms;
	exchange->timeout_ms = request->timeout_ms;
	exchange->quiet_ms = request->quiet_ms;
	exchange->max_body = request->max_body;
	exchange->sent = request->sent;

	if (!set_transport(exchange, &url, request->proxy) || !set_headers(exchange, request) ||
		!set_method(exchange, request) || !SET(exchange, CURLOPT_URL, request->url))
		return failure_set(f, ERRCODE_OUT_OF_MEMORY, "libcurl did not take the options of a request");
	return true;
}
