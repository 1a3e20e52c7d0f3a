/*
 * http.h
 *	  HTTP exchanges that wait on the latch.  The only module that uses libcurl.
 *
 * A client holds a libcurl multi handle and its pool of connections; an exchange is one
 * request and its answer.  Several exchanges of one client may be in progress: each
 * receives into a fixed buffer of its own and is paused by back-pressure when that is
 * full, so that memory does not grow with the size of an answer.
 *
 * Every wait is on the process latch, with CHECK_FOR_INTERRUPTS(), so it can throw;
 * every foreign resource is released by a memory-context callback, so throwing leaks
 * nothing.  A wait of 5 s without a byte is reported by a NOTICE, once until something
 * arrives.  TLS is always verified, redirects are never followed, plain http reaches
 * loopback only (and, if a request allows it, the metadata server of the machine).
 */
#ifndef CONTRATOS_HTTP_H
#define CONTRATOS_HTTP_H

#include "lib/stringinfo.h"

#include "base/failure.h"

typedef struct HttpClient HttpClient;
typedef struct HttpExchange HttpExchange;

/* One more header of a request; name and value are ASCII, the value may be a secret. */
typedef struct HttpHeader
{
	const char *name;
	const char *value;
} HttpHeader;

typedef struct HttpRequest
{
	const char *method; /* "GET" or "POST" */
	const char *url; /* absolute, already percent-encoded */
	const char *bearer; /* access token, or NULL for none; a secret */
	const HttpHeader *headers; /* additional headers; NULL when there are none */
	int nheaders;
	const char *content_type; /* of body; NULL when there is none */
	const char *body; /* NULL: no body (POST sends length 0) */
	size_t body_len;
	const char *ca_file; /* PEM of trusted roots; NULL: the system's */
	const char *proxy; /* proxy URL; NULL or "": none, and the environment
								 * is not consulted; loopback and the
								 * metadata server never go through it */
	int connect_timeout_ms; /* name, TCP and TLS together; > 0 */
	int timeout_ms; /* limits the time spent waiting in this module; time
					 * that the caller spends between reads is free; > 0 */
	int quiet_ms; /* for so long the service was asked to wait with its answer */
	size_t max_body; /* decoded bytes; 0: no limit (streamed) */
	bool metadata; /* plain http may also reach the metadata server:
								 * metadata.google.internal, 169.254.169.254 */
	bool hide_path; /* do not log its path, at any level */
	bool *sent; /* is set once it may have reached the server; must outlive the client; or NULL */
	bool ahead; /* it is optional: started only if that leaves descriptors
				 * for required requests */
} HttpRequest;

/* A small answer, whole. */
typedef struct HttpResponse
{
	int status;
	char *body; /* NUL-terminated, in CurrentMemoryContext; if max_body is
				 * small, it may be a secret, and is overwritten with that */
	size_t len;
	int retry_after_ms; /* Retry-After, seconds or date; 0: none */
	bool google_metadata; /* it came with "Metadata-Flavor: Google" */
	int64 date_s; /* the server's clock by its Date, seconds since 1970; 0: unknown */
} HttpResponse;

/*
 * A client whose handles are released with a child of `parent`.  Raises 53000-class
 * errors when no file descriptor or memory is left for it.
 */
extern HttpClient *http_client_create(MemoryContext parent);

/* Close all connections and free the client; tolerates NULL. */
extern void http_client_close(HttpClient *client);

/*
 * Start a request without waiting.  The strings of *request are copied. Returns NULL
 * with *f set when it cannot even be started (bad URL, plain http to another host, an
 * invalid header, unreadable ca_file: 22023, 58P01, 42501; no descriptor for its
 * connection: 53000).  The exchange lives in a context of its own under `parent` until
 * http_finish(), the deletion of `parent`, or http_client_close().
 */
extern HttpExchange *http_start(HttpClient *client, const HttpRequest *request, MemoryContext parent, Failure *f);

/*
 * Wait for the status line and headers.  Returns the HTTP status, or 0 with *f set:
 * 08001 could not connect (in time), 08006 connection lost or timed out later, 58030
 * TLS, F0000 no roots in ca_file, 08P01 not HTTP, 54000 a cap was exceeded; f->retry
 * says whether a retry may help.
 */
extern int http_wait_status(HttpExchange *exchange, Failure *f);

/*
 * Return the next piece of the (decoded) body, waiting until there is at least one
 * byte.  The result is its length (> 0) with *data pointing into the exchange's buffer,
 * valid until the next call; 0 at the end of a complete body; -1 with *f set when the
 * connection was lost.
 */
extern ssize_t http_read(HttpExchange *exchange, const char **data, Failure *f);

/* Whether the request was made with that access token (NULL: without any). */
extern bool http_has_bearer(const HttpExchange *exchange, const char *token);

/* The wait that Retry-After asked for, in milliseconds (from seconds or an HTTP date), or 0. */
extern int http_retry_after(const HttpExchange *exchange);

/*
 * End an exchange; tolerates NULL.  A body read to its end leaves the
 * connection in the pool for the next request, an unfinished one closes it.
 */
extern void http_finish(HttpExchange *exchange);

/*
 * Make one small request from start to end, with the body capped by request->max_body
 * (which must not be 0).  True with *response filled for any HTTP status; false with *f
 * set when there was no complete answer.
 */
extern bool http_fetch(HttpClient *client, const HttpRequest *request, HttpResponse *response, Failure *f);

/*
 * Wait on the latch for `ms` milliseconds, interruptible: the pause between
 * two attempts.
 */
extern void http_pause(int ms);

/*
 * The host of a URL if a request may use it (`metadata` as in HttpRequest), in lower
 * case and without brackets, palloc'd.  NULL with *f set (22023).
 */
extern char *http_url_host(const char *url, bool metadata, Failure *f);

/* True for http or https to localhost, 127.0.0.0/8 or [::1]. */
extern bool http_url_is_loopback(const char *url);

/*
 * Whether a URL may be used as an endpoint: https to anywhere, http to
 * loopback; no user info, query or fragment.  False with *f set (22023).
 */
extern bool http_url_check(const char *url, Failure *f);

/* Percent-encode one path part or form value (RFC 3986 unreserved stay). */
extern char *http_escape(const char *text);

/* The same, appended to `buf`, which grows at most once: no copy is left behind. */
extern void http_append_escaped(StringInfo buf, const char *text);

/* "libcurl/7.88.1 …" as libcurl reports itself. */
extern const char *http_library_version(void);

#endif /* CONTRATOS_HTTP_H */
