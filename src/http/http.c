/*
 * http.c
 *	  HTTP exchanges that wait on the latch: clients, exchanges, and who owns what.
 *
 * A client and each exchange live in memory contexts of their own, whose reset
 * callbacks release libcurl's side, so that an ERROR at any place leaks neither memory
 * nor descriptors.  The contexts may be reset in any order: the first unlinks itself
 * from the other.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "storage/fd.h"

#include "base/clock.h"
#include "base/failure.h"
#include "http/http_internal.h"

/*
 * Descriptors of a client in addition to one per exchange in progress: libcurl's
 * wake-up pair and an idle connection.
 */
#define CLIENT_FDS 3

/*
 * Descriptors that must be left when a request starts: the one by which it is waited
 * for; and, for an optional request, enough for another client, such as that of the
 * statement's second scan.
 */
#define WAIT_FDS 1
#define OTHERS_FDS 8

/* Initialize libcurl, once in this process and never in the postmaster. */
static void
init_libcurl(void)
{
	static bool done = false;
	char *keylog;
	CURLcode rc;

	if (done)
		return;

	/* libcurl would write the session keys of every connection to that file */
	keylog = getenv("SSLKEYLOGFILE") ? pstrdup(getenv("SSLKEYLOGFILE")) : NULL;
	unsetenv("SSLKEYLOGFILE");
	rc = curl_global_init(CURL_GLOBAL_DEFAULT);
	if (keylog != NULL)
		setenv("SSLKEYLOGFILE", keylog, 1);

	if (rc != CURLE_OK)
		ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("could not initialize libcurl")));
	done = true;
}

pg_noreturn static void out_of_memory(void);

static void
out_of_memory(void)
{
	ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
					errdetail("libcurl could not get memory or a descriptor.")));
}

/*
 * Account for `n` descriptors that libcurl is going to open.  False with *f set unless
 * that many are left, and `spare` in addition.
 */
static bool
reserve_fds(HttpClient *client, int n, int spare, Failure *f)
{
	int before = client->nfds;
	bool ok = true;

	while (ok && client->nfds < n + spare)
	{
		ok = AcquireExternalFD();
		client->nfds += ok;
	}
	for (int kept = Max(ok ? n : before, before); client->nfds > kept; client->nfds--)
		ReleaseExternalFD();
	if (ok)
		return true;
	failure_set(f, ERRCODE_INSUFFICIENT_RESOURCES, "could not open a connection: too many open files in this backend");
	failure_hint(f, "Raise the server's max_files_per_process and the limit of \"ulimit -n\".");
	return false;
}

/*
 * Release libcurl's side of an exchange and overwrite its secrets. Idempotent;
 * allocates nothing, throws nothing.  Also a context callback.
 */
static void
release_exchange(void *arg)
{
	HttpExchange *exchange = arg;

	if (exchange->client != NULL)
	{
		curl_multi_remove_handle(exchange->client->multi, exchange->easy);
		dlist_delete(&exchange->node);
		exchange->client->nexchanges--;
		exchange->client = NULL;
	}
	if (exchange->easy != NULL)
		curl_easy_cleanup(exchange->easy);
	exchange->easy = NULL;

	for (struct curl_slist *item = exchange->headers; item != NULL; item = item->next)
		explicit_bzero(item->data, strlen(item->data));
	curl_slist_free_all(exchange->headers);
	exchange->headers = NULL;
	if (exchange->body != NULL)
		explicit_bzero(exchange->body, exchange->body_len);
	/* the answer may have been a token */
	if (exchange->buffer != NULL)
		explicit_bzero(exchange->buffer, Min(exchange->body_bytes, HTTP_BUFFER_SIZE));
}

/* The same for a client, with any exchanges it still has. */
static void
release_client(void *arg)
{
	HttpClient *client = arg;
	dlist_mutable_iter iter;

	if (client->multi != NULL)
	{
		curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, NULL); /* the cleanup may call it */
		dlist_foreach_modify(iter, &client->exchanges) release_exchange(dlist_container(HttpExchange, node, iter.cur));
		curl_multi_cleanup(client->multi);
		client->multi = NULL;
	}
	for (; client->nfds > 0; client->nfds--)
		ReleaseExternalFD();
}

HttpClient *
http_client_create(MemoryContext parent)
{
	MemoryContext context;
	HttpClient *client;
	Failure f;

	init_libcurl();
	context = AllocSetContextCreate(parent, "contratos http client", ALLOCSET_SMALL_SIZES);
	client = MemoryContextAllocZero(context, sizeof(HttpClient));
	client->context = context;
	dlist_init(&client->exchanges);
	client->callback.func = release_client;
	client->callback.arg = client;
	MemoryContextRegisterResetCallback(context, &client->callback);

	if (!reserve_fds(client, CLIENT_FDS, 0, &f))
		failure_throw(&f);
	client->multi = curl_multi_init();
	if (client->multi == NULL ||
		curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, http_wait_record_socket) != CURLM_OK ||
		curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client) != CURLM_OK ||
		curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long) HTTP_MAX_IDLE) != CURLM_OK)
		out_of_memory();
	return client;
}

void
http_client_close(HttpClient *client)
{
	if (client != NULL)
		MemoryContextDelete(client->context);
}

/* Create an exchange that owns a libcurl handle, but is not in progress yet. */
static HttpExchange *
create_exchange(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "contratos http exchange", ALLOCSET_SMALL_SIZES);
	HttpExchange *exchange = MemoryContextAllocZero(context, sizeof(HttpExchange));

	exchange->context = context;
	exchange->callback.func = release_exchange;
	exchange->callback.arg = exchange;
	MemoryContextRegisterResetCallback(context, &exchange->callback);

	exchange->buffer = MemoryContextAlloc(context, HTTP_BUFFER_SIZE);
	exchange->easy = curl_easy_init();
	if (exchange->easy == NULL)
		out_of_memory();
	return exchange;
}

HttpExchange *
http_start(HttpClient *client, const HttpRequest *request, MemoryContext parent, Failure *f)
{
	HttpExchange *exchange = create_exchange(parent);

	if (!http_setup(exchange, request, f) ||
		!reserve_fds(client, CLIENT_FDS + client->nexchanges + 1, request->ahead ? OTHERS_FDS : WAIT_FDS, f))
	{
		http_finish(exchange);
		return NULL;
	}
	if (curl_multi_add_handle(client->multi, exchange->easy) != CURLM_OK)
		out_of_memory();
	exchange->client = client;
	dlist_push_tail(&client->exchanges, &exchange->node);
	client->nexchanges++;
	exchange->started_at = clock_ms();
	exchange->driven_at_start = client->driven_ms;
	return exchange;
}

int
http_wait_status(HttpExchange *exchange, Failure *f)
{
	while (exchange->status == 0)
	{
		if (exchange->done ? !http_error(exchange, f) : !http_wait_exchange(exchange, f))
		{
			http_log(exchange, 0, f);
			return 0;
		}
	}
	http_log(exchange, exchange->status, NULL);
	return exchange->status;
}

ssize_t
http_read(HttpExchange *exchange, const char **data, Failure *f)
{
	ssize_t len;

	while (exchange->start == exchange->end)
	{
		/* all was handed out, and this call ends its validity */
		exchange->start = exchange->end = 0;
		if (exchange->paused)
			http_wait_resume(exchange);
		else if (!exchange->done)
		{
			if (!http_wait_exchange(exchange, f))
				return -1;
		}
		else if (exchange->result == CURLE_OK)
			return 0;
		else
		{
			http_error(exchange, f);
			return -1;
		}
	}

	*data = exchange->buffer + exchange->start;
	len = exchange->end - exchange->start;
	exchange->start = exchange->end;
	return len;
}

bool
http_has_bearer(const HttpExchange *exchange, const char *token)
{
	static const char name[] = "Authorization: Bearer ";

	for (const struct curl_slist *header = exchange->headers; header != NULL; header = header->next)
		if (strncmp(header->data, name, sizeof(name) - 1) == 0)
			return token != NULL && strcmp(header->data + sizeof(name) - 1, token) == 0;
	return token == NULL;
}

int
http_retry_after(const HttpExchange *exchange)
{
	return exchange->retry_after_ms;
}

void
http_finish(HttpExchange *exchange)
{
	if (exchange != NULL)
		MemoryContextDelete(exchange->context);
}

/* Memory-context callback: a small answer may be a token. */
static void
wipe_answer(void *arg)
{
	StringInfo answer = arg;

	explicit_bzero(answer->data, answer->maxlen);
}

/*
 * Create the buffer for an answer.  A small one is allocated at its largest size, since
 * growing would leave a copy behind, and is overwritten when the context ends, for
 * whatever reason.
 */
static StringInfo
make_answer(const HttpRequest *request)
{
	StringInfo answer = makeStringInfo();
	MemoryContextCallback *callback;

	if (request->max_body > HTTP_SMALL_ANSWER)
		return answer;
	enlargeStringInfo(answer, (int) request->max_body);
	callback = palloc0(sizeof(MemoryContextCallback));
	callback->func = wipe_answer;
	callback->arg = answer;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return answer;
}

bool
http_fetch(HttpClient *client, const HttpRequest *request, HttpResponse *response, Failure *f)
{
	HttpExchange *exchange;
	StringInfo answer;
	const char *data;
	ssize_t len = -1; /* 0 once the whole body is in the answer */

	Assert(request->max_body != 0 && request->max_body < MaxAllocSize);
	exchange = http_start(client, request, CurrentMemoryContext, f);
	if (exchange == NULL)
		return false;

	answer = make_answer(request);
	memset(response, 0, sizeof(*response));
	response->status = http_wait_status(exchange, f);
	if (response->status != 0)
		while ((len = http_read(exchange, &data, f)) > 0)
			appendBinaryStringInfo(answer, data, (int) len);
	response->retry_after_ms = exchange->retry_after_ms;
	response->google_metadata = exchange->google_metadata;
	response->date_s = exchange->date_s;
	response->body = answer->data;
	response->len = answer->len;
	http_finish(exchange);
	return len == 0;
}

const char *
http_library_version(void)
{
	return curl_version();
}
