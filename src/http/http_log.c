/*
 * http_log.c
 *	  Requests in the log, for diagnosing network problems.
 *
 * One line per request at debug1, when its answer begins.  A path may be logged, since
 * it names projects, tables and jobs; the query after it may not.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/failure.h"
#include "http/http_internal.h"

/* The path of a URL, or NULL when it will not be logged. */
char *
http_log_path(MemoryContext context, const char *url)
{
	const char *rest;
	const char *path;
	char *copy;

	if (!message_level_is_interesting(DEBUG1))
		return NULL;
	rest = strstr(url, "://");
	path = strchr(rest != NULL ? rest + 3 : url, '/');
	copy = MemoryContextStrdup(context, path != NULL ? path : "/");
	copy[strcspn(copy, "?#")] = '\0';
	return copy;
}

void
http_log(HttpExchange *exchange, int status, const Failure *f)
{
	char outcome[32] = "no answer";
	const char *id = exchange->request_id;

	if (exchange->logged || exchange->path == NULL)
		return;
	exchange->logged = true;
	if (status != 0)
		snprintf(outcome, sizeof(outcome), "%d", status);
	ereport(DEBUG1,
			(errmsg_internal("contratos: %s %s%s: %s, " INT64_FORMAT " ms%s%s%s%s", exchange->method, exchange->host,
							 exchange->path, outcome, clock_ms() - exchange->started_at, id[0] ? ", request id " : "",
							 id, status == 0 ? ": " : "", status == 0 ? f->message : "")));
}

void
http_log_silence(const HttpExchange *exchange, bool connected, int64 left_ms)
{
	ereport(
		NOTICE,
		(errmsg("no answer from %s yet", exchange->host),
		 connected
			 ? errdetail("It is connected, but sends nothing. The wait ends after %d s more.", (int) (left_ms / 1000))
			 : errdetail("There is no connection yet. This try ends after %d s more.", (int) (left_ms / 1000)),
		 errhint("Cancel the query to stop waiting. A firewall may be dropping packets, or a proxy be needed: see "
				 "contratos.proxy.")));
}
