/*
 * http_error.c
 *	  libcurl's errors as Failures, with messages that name the place to check.
 *
 * libcurl's own text goes into the detail.  It names hosts and files; it never contains
 * the URL's query, the headers or the body.
 */
#include "postgres.h"

#include "utils/palloc.h"

#include "base/failure.h"
#include "http/http_compat.h"
#include "http/http_internal.h"

/* libcurl's text for its last error. */
static const char *
curl_text(const HttpExchange *exchange)
{
	return exchange->errbuf[0] ? exchange->errbuf : curl_easy_strerror(exchange->result);
}

/* How far the connection had come, for a timeout's detail. */
static const char *
connect_phase(const HttpExchange *exchange)
{
	curl_off_t resolved = 0;
	long local_port = 0; /* known from the TCP connection on; the connect time only after TLS */

	curl_easy_getinfo(exchange->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
	curl_easy_getinfo(exchange->easy, CURLINFO_LOCAL_PORT, &local_port);
	if (resolved == 0)
		return "The host name had not been resolved.";
	if (local_port == 0)
		return "The TCP connection had not been accepted.";
	return exchange->proxied ? "The proxy or the TLS handshake had not finished."
							 : "The TLS handshake had not finished.";
}

bool
http_error_connect_timeout(const HttpExchange *exchange, Failure *f)
{
	failure_set(f, ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
				"could not connect to \"%s\" port %d: timeout after %d ms", exchange->host, exchange->port,
				Min(exchange->connect_timeout_ms, exchange->timeout_ms));
	failure_detail(f, "%s", connect_phase(exchange));
	failure_hint(f,
				 "Check the network between this server and \"%s\"; contratos.connect_timeout (or the server's option "
				 "connect_timeout) sets how long to wait, contratos.proxy names a proxy.",
				 exchange->host);
	f->retry = FAILURE_ASK_AGAIN;
	return false;
}

bool
http_error_timeout(const HttpExchange *exchange, Failure *f)
{
	failure_set(f, ERRCODE_CONNECTION_FAILURE, "no complete answer from \"%s\" within %d ms", exchange->host,
				exchange->timeout_ms);
	failure_detail(f, exchange->status == 0 ? "Not even its first lines had arrived." : "%zu bytes had arrived.",
				   exchange->body_bytes);
	failure_hint(f, "contratos.request_timeout (or the server's option request_timeout) sets how long to wait.");
	f->http_status = exchange->status;
	f->retry = FAILURE_ASK_AGAIN;
	return false;
}

bool
http_error_silent(const HttpExchange *exchange, Failure *f)
{
	failure_set(f, ERRCODE_CONNECTION_FAILURE, "no data received from \"%s\" for %d s", exchange->host,
				HTTP_STALL_MS / 1000);
	failure_detail(f, "The connection was closed.");
	f->http_status = exchange->status;
	f->retry = FAILURE_ASK_AGAIN;
	return false;
}

/* The certificate cannot be verified, or our list of roots cannot be used. */
static void
certificate_error(const HttpExchange *exchange, Failure *f)
{
	if (exchange->result == CURLE_SSL_CACERT_BADFILE)
		failure_set(f, ERRCODE_CONFIG_FILE_ERROR, "could not load trusted certificates from \"%s\"",
					exchange->ca_file ? exchange->ca_file : "the system's list");
	else
		failure_set(f, ERRCODE_IO_ERROR, "could not verify the TLS certificate of \"%s\"", exchange->host);
	failure_detail(f, "%s", curl_text(exchange));
	failure_hint(f, "contratos.ca_file (or the server's option ca_file) names the trusted roots, in PEM format%s.",
				 exchange->ca_file ? "" : "; unset, it is the system's list");
	f->every_day = true;
}

/* The handshake failed: permanently, unless the connection was lost. */
static void
handshake_error(const HttpExchange *exchange, Failure *f)
{
	/* libcurl has one code for both; only the text distinguishes them */
	bool broke = strstr(exchange->errbuf, "SSL_ERROR_SYSCALL") != NULL;

	failure_set(f, ERRCODE_IO_ERROR, "TLS handshake with \"%s\" port %d failed", exchange->host, exchange->port);
	failure_detail(f, "%s", curl_text(exchange));
	if (broke)
		f->retry = FAILURE_ASK_AGAIN;
	else
	{
		failure_hint(f, "Check that this port speaks TLS, version 1.2 or newer.");
		f->every_day = true;
	}
}

/* The connection could not be made. */
static void
connect_error(const HttpExchange *exchange, Failure *f)
{
	const int sqlstate = ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;

	if (exchange->result == CURLE_COULDNT_RESOLVE_HOST)
	{
		failure_set(f, sqlstate, "could not resolve host name \"%s\"", exchange->host);
		failure_hint(f, "Check the DNS of this server; if a proxy is required, name it in contratos.proxy.");
	}
	else if (exchange->result == CURLE_COULDNT_RESOLVE_PROXY)
	{
		failure_set(f, sqlstate, "could not resolve the host name of the proxy");
		failure_hint(f, "Check contratos.proxy, or the server's option proxy.");
	}
	else
	{
		long os_errno = 0;

		/* the operating system's error text if there is one, else libcurl's */
		curl_easy_getinfo(exchange->easy, CURLINFO_OS_ERRNO, &os_errno);
		failure_set(f, sqlstate, "could not connect to \"%s\" port %d%s: %s", exchange->host, exchange->port,
					exchange->proxied ? " through the proxy" : "",
					os_errno != 0 ? strerror((int) os_errno) : curl_text(exchange));
		if (exchange->proxied)
			failure_detail(f, "%s", curl_text(exchange));
		failure_hint(
			f, "The database server must be able to reach it: check the firewall, and contratos.proxy or the server's "
			   "option proxy.");
	}
	f->retry = FAILURE_ASK_AGAIN;
}

/* The connection was established, but no complete answer arrived. */
static void
broken_error(const HttpExchange *exchange, Failure *f)
{
	if (exchange->proxied && exchange->status == 0)
	{
		failure_set(f, ERRCODE_CONNECTION_FAILURE, "no answer from \"%s\" through the proxy", exchange->host);
		failure_hint(f, "Check contratos.proxy, or the server's option proxy.");
	}
	else
		failure_set(f, ERRCODE_CONNECTION_FAILURE, "connection to \"%s\" broke off", exchange->host);
	failure_detail(f, "%s", curl_text(exchange));
	f->retry = FAILURE_ASK_AGAIN;
}

/*
 * Whether libcurl gave up on a header line for its length, before it handed it over: the
 * answer had begun, and memory is not out.
 */
static bool
has_long_header_line(const HttpExchange *exchange)
{
	curl_off_t began = 0;
	void *probe;

	if (!curl_may_mean_too_large_compat(exchange->result) || exchange->status != 0 ||
		curl_easy_getinfo(exchange->easy, CURLINFO_STARTTRANSFER_TIME_T, &began) != CURLE_OK || began == 0)
		return false;
	probe = palloc_extended((Size) 4 * HTTP_MAX_HEADER, MCXT_ALLOC_NO_OOM);
	if (probe == NULL)
		return false;
	pfree(probe);
	return true;
}

static bool
header_error(const HttpExchange *exchange, Failure *f)
{
	failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "answer of \"%s\" has more than %d kB of header lines",
				exchange->host, HTTP_MAX_HEADER / 1024);
	f->http_status = exchange->status;
	return false;
}

bool
http_error(const HttpExchange *exchange, Failure *f)
{
	if (exchange->cap == HTTP_CAP_HEADER || has_long_header_line(exchange))
		return header_error(exchange, f);
	switch (exchange->result)
	{
		case CURLE_OPERATION_TIMEDOUT:
			return http_error_connect_timeout(exchange, f); /* the only timeout that libcurl enforces */
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_CACERT_BADFILE:
			certificate_error(exchange, f);
			break;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_RESOLVE_PROXY:
		case CURLE_COULDNT_CONNECT:
			connect_error(exchange, f);
			break;
		case CURLE_SSL_CONNECT_ERROR:
			handshake_error(exchange, f);
			break;
		case CURLE_WEIRD_SERVER_REPLY:
		case CURLE_UNSUPPORTED_PROTOCOL:
			failure_set(f, ERRCODE_PROTOCOL_VIOLATION, "\"%s\" port %d does not speak HTTP", exchange->host,
						exchange->port);
			failure_detail(f, "%s", curl_text(exchange));
			failure_hint(f, "Check contratos.endpoint and contratos.proxy, or the server's options of these names.");
			break;
		case CURLE_OUT_OF_MEMORY:
			failure_set(f, ERRCODE_OUT_OF_MEMORY, "out of memory in libcurl");
			break;
		default:
			/* with a cap, one of our callbacks stopped the transfer */
			if (exchange->cap == HTTP_CAP_BODY)
				failure_set(f, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "answer of \"%s\" is longer than %zu bytes",
							exchange->host, exchange->max_body);
			else
				broken_error(exchange, f);
			break;
	}
	f->http_status = exchange->status;
	return false;
}
