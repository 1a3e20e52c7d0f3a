/*
 * http_internal.h
 *	  Shared by the files of the http module only.
 *
 *	  http.c        clients and exchanges: the interface, and who owns what
 *	  http_setup.c  one request as options of a libcurl handle; its body
 *	  http_header.c what the header lines of an answer say
 *	  http_wait.c   the loop on the latch, the deadlines
 *	  http_error.c  what libcurl reports as a Failure
 *	  http_url.c    which URLs may be used
 *	  http_log.c    requests in the log
 */
#ifndef CONTRATOS_HTTP_INTERNAL_H
#define CONTRATOS_HTTP_INTERNAL_H

#include "postgres.h"

#include <curl/curl.h>

#include "lib/ilist.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "http/http.h"

/* An exchange's buffer: the largest part of an answer that is in memory. */
#define HTTP_BUFFER_SIZE (256 * 1024)

/* An answer whose limit is at most this is read into memory that is allocated at the start. */
#define HTTP_SMALL_ANSWER (64 * 1024)

/* All header lines of one answer; Google's are below 2 kB. */
#define HTTP_MAX_HEADER (64 * 1024)

/* The longest time that a server may send nothing while a caller waits for it. */
#define HTTP_STALL_MS (60 * 1000)

/* Idle connections a client keeps. */
#define HTTP_MAX_IDLE 8

/*
 * The largest number of sockets watched at once.  An exchange has one, and up to three
 * while connecting (two address families and the resolver's), so this is enough for
 * some 20 exchanges.
 */
#define HTTP_MAX_SOCKETS 64

typedef struct HttpSocket
{
	curl_socket_t fd;
	int what; /* CURL_POLL_IN, _OUT or _INOUT */
} HttpSocket;

struct HttpClient
{
	MemoryContext context; /* holds this struct */
	MemoryContextCallback callback; /* releases what follows */
	CURLM *multi;
	dlist_head exchanges; /* every HttpExchange with a handle in multi */
	int nexchanges; /* their number */
	int nfds; /* AcquireExternalFD() calls to undo */

	/* written by libcurl's socket callback only */
	HttpSocket sockets[HTTP_MAX_SOCKETS];
	int nsockets;
	bool overflow; /* more sockets than fit */

	/* written by http_wait.c */
	int64 driven_ms; /* time spent waiting, for any exchange */
	bool reported_silence; /* since the last byte */
};

/* Why one of our callbacks stopped a transfer. */
typedef enum HttpCap
{
	HTTP_CAP_NONE = 0,
	HTTP_CAP_HEADER,
	HTTP_CAP_BODY
} HttpCap;

struct HttpExchange
{
	MemoryContext context; /* holds this struct and all below */
	MemoryContextCallback callback; /* releases what follows */
	HttpClient *client; /* NULL once released */
	dlist_node node; /* in client->exchanges */
	CURL *easy;
	struct curl_slist *headers; /* request headers; with the bearer token */
	char *body; /* request body; may be a secret */
	size_t body_len;

	/* the request, for messages and deadlines */
	char *host; /* of the URL, which is not kept itself: a query may hold secrets */
	int port;
	const char *method; /* "GET" or "POST" */
	char *path; /* of the URL, for the log, without the query; NULL: not logged */
	char *ca_file; /* or NULL */
	bool proxied;
	int connect_timeout_ms;
	int timeout_ms;
	int quiet_ms;
	size_t max_body;
	bool *sent; /* or NULL */

	/* written by libcurl's callbacks */
	char errbuf[CURL_ERROR_SIZE];
	int status; /* 0 until the last header line has arrived */
	size_t header_bytes;
	size_t body_bytes; /* decoded */
	uint64 activity; /* changes with every byte received */
	int retry_after_ms;
	char request_id[64]; /* the service's id of the request; "": none */
	bool google_metadata; /* Metadata-Flavor: Google was among the headers */
	int64 date_s; /* from Date; 0: none */
	HttpCap cap;
	bool paused; /* the buffer was full */
	char *buffer; /* HTTP_BUFFER_SIZE bytes */
	size_t start; /* first byte not yet handed out */
	size_t end; /* first free byte */

	/* written by http_wait.c */
	bool done; /* libcurl has finished with it */
	CURLcode result; /* if done */
	int64 waited_ms; /* time spent waiting for this exchange */
	int64 silent_ms; /* the part of it since the last byte */
	int64 driven_at_start; /* client->driven_ms when it began */
	int64 started_at; /* by the monotonic clock */

	bool logged; /* by http_log.c */
};

/* http_setup.c: set every option of exchange->easy; false with *f set. */
extern bool http_setup(HttpExchange *exchange, const HttpRequest *request, Failure *f);

/* http_header.c: one header line, or the empty one at their end (CURLOPT_HEADERFUNCTION). */
extern size_t http_on_header(char *line, size_t size, size_t nitems, void *exchange);

/* http_wait.c: record which sockets libcurl wants watched (CURLMOPT_SOCKETFUNCTION). */
extern int http_wait_record_socket(CURL *easy, curl_socket_t fd, int what, void *client, void *socketp);

/*
 * http_wait.c: wait until something happens on any exchange of the client, but no
 * longer than this exchange's next deadline.  False with *f set at a deadline.
 */
extern bool http_wait_exchange(HttpExchange *exchange, Failure *f);

/* http_wait.c: resume a paused exchange. */
extern void http_wait_resume(HttpExchange *exchange);

/*
 * http_log.c: log at debug1 the request and its outcome: method, host, path, status (0:
 * none arrived, see *f), milliseconds.  Only once; without query, headers and body,
 * which may hold secrets.
 */
extern char *http_log_path(MemoryContext context, const char *url);
extern void http_log(HttpExchange *exchange, int status, const Failure *f);

/*
 * http_log.c: a NOTICE that the exchange hangs, with or without a connection, and how
 * long it may go on: a silent wait looks like a hang of the server.
 */
extern void http_log_silence(const HttpExchange *exchange, bool connected, int64 left_ms);

/* http_error.c: set *f from libcurl's result for an exchange that is done; false. */
extern bool http_error(const HttpExchange *exchange, Failure *f);

/* http_error.c: set *f for a deadline that was missed; false. */
extern bool http_error_connect_timeout(const HttpExchange *exchange, Failure *f);
extern bool http_error_timeout(const HttpExchange *exchange, Failure *f);
extern bool http_error_silent(const HttpExchange *exchange, Failure *f);

/* http_url.c: the parts of a URL that a request may use. */
typedef struct HttpUrl
{
	bool tls;
	bool loopback;
	bool metadata; /* the host is a cloud's metadata server */
	bool has_extras; /* a query or fragment */
	int port;
	char host[256]; /* without the brackets of an IPv6 address */
} HttpUrl;

/*
 * http_url.c: false with *f set (if not NULL) for a URL that is never allowed;
 * `metadata` allows plain http to the metadata server.
 */
extern bool http_url_parse(const char *url, bool metadata, HttpUrl *parts, Failure *f);

#endif /* CONTRATOS_HTTP_INTERNAL_H */
