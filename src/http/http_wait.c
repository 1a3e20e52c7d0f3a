/*
 * http_wait.c
 *	  The loop: libcurl's sockets and the process latch in one wait.
 *
 * It does not use curl_multi_poll(): a backend that sleeps in that function neither
 * notices a cancel nor takes part in a ProcSignalBarrier, and so blocks DROP DATABASE
 * of any database.  The wait event set is built anew for each wait (events cannot be
 * removed from one), as WaitLatchOrSocket() does.
 *
 * Deadlines count only the time spent in this file.  The executor may take as long as
 * it likes with the rows between two reads.
 */
#include "postgres.h"

#include <signal.h>

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/snapmgr.h"

#include "base/clock.h"
#include "base/failure.h"
#include "http/http_internal.h"

/* After this time without a byte the user is told what is waited for. */
#define HTTP_REPORT_MS 5000

/* Events taken from one wait; the next wait finds the rest. */
#define MAX_EVENTS 8

static uint32
wait_event_id(void)
{
	static uint32 id = 0;

	if (id == 0)
		id = wait_event_compat("ContratosHttp");
	return id;
}

int
http_wait_record_socket(CURL *easy pg_attribute_unused(), curl_socket_t fd, int what, void *client,
						void *socketp pg_attribute_unused())
{
	HttpClient *c = client;
	int i = 0;

	while (i < c->nsockets && c->sockets[i].fd != fd)
		i++;
	if (what == CURL_POLL_REMOVE)
	{
		if (i < c->nsockets)
			c->sockets[i] = c->sockets[--c->nsockets];
		return 0;
	}
	if (i == HTTP_MAX_SOCKETS)
	{
		c->overflow = true;
		return -1;
	}
	c->sockets[i] = (HttpSocket){.fd = fd, .what = what};
	if (i == c->nsockets)
		c->nsockets++;
	return 0;
}

/* Record which exchanges libcurl has finished with. */
static void
collect_finished(HttpClient *client)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(client->multi, &left)) != NULL)
	{
		HttpExchange *exchange = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		if (curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **) &exchange) != CURLE_OK || exchange == NULL)
			continue;
		exchange->done = true;
		exchange->result = msg->data.result;
	}
}

/* Whether the exchange's connection was made, so that the request was sent. */
static bool
may_have_arrived(const HttpExchange *exchange)
{
	curl_off_t when = 0;

	return curl_easy_getinfo(exchange->easy, CURLINFO_PRETRANSFER_TIME_T, &when) == CURLE_OK && when > 0;
}

/* At once, because a wait may end with an error. */
static void
note_sent(HttpClient *client)
{
	dlist_iter iter;

	dlist_foreach (iter, &client->exchanges)
	{
		const HttpExchange *exchange = dlist_container(HttpExchange, node, iter.cur);

		if (exchange->sent != NULL && may_have_arrived(exchange))
			*exchange->sent = true;
	}
}

/*
 * Let libcurl work on one socket, or on its timers (CURL_SOCKET_TIMEOUT).
 *
 * Signals are blocked meanwhile: libcurl may start its resolver thread in this call,
 * which inherits the mask, and PostgreSQL's handlers must only ever run in the main
 * thread.
 */
static void
drive(HttpClient *client, curl_socket_t fd, int mask)
{
	sigset_t saved;
	int running;
	CURLMcode rc;

	sigprocmask(SIG_SETMASK, &BlockSig, &saved);
	rc = curl_multi_socket_action(client->multi, fd, mask, &running);
	sigprocmask(SIG_SETMASK, &saved, NULL);
	note_sent(client);

	if (client->overflow)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("too many HTTP connections at once"),
						errhint("Lower contratos.parallel_pages.")));
	if (rc != CURLM_OK)
		ereport(ERROR, (errcode(rc == CURLM_OUT_OF_MEMORY ? ERRCODE_OUT_OF_MEMORY : ERRCODE_INTERNAL_ERROR),
						errmsg("libcurl failed: %s", curl_multi_strerror(rc))));
	collect_finished(client);
}

void
http_wait_resume(HttpExchange *exchange)
{
	sigset_t saved;
	CURLcode rc;

	exchange->paused = false;

	/* this may call the write callback, for data that was held back */
	sigprocmask(SIG_SETMASK, &BlockSig, &saved);
	rc = curl_easy_pause(exchange->easy, CURLPAUSE_CONT);
	sigprocmask(SIG_SETMASK, &saved, NULL);
	if (rc != CURLE_OK)
	{
		exchange->done = true;
		exchange->result = rc;
	}
}

/* Add the latch and all of libcurl's sockets into a wait event set. */
static void
fill_set(WaitEventSet *set, const HttpClient *client)
{
	if (IsUnderPostmaster) /* single-user mode has no postmaster */
		AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	for (int i = 0; i < client->nsockets; i++)
	{
		uint32 events = 0;

		if (client->sockets[i].what & CURL_POLL_IN)
			events |= WL_SOCKET_READABLE;
		if (client->sockets[i].what & CURL_POLL_OUT)
			events |= WL_SOCKET_WRITEABLE;
		if (events != 0)
			AddWaitEventToSet(set, events, client->sockets[i].fd, NULL, NULL);
	}
}

/* One wait of at most `ms`; the number of events, 0 on timeout. */
static int
wait_for_events(const HttpClient *client, long ms, WaitEvent *events)
{
	WaitEventSet *set = CreateWaitEventSet_compat(client->nsockets + 2);
	volatile int n = 0;

	PG_TRY();
	{
		fill_set(set, client);
		n = WaitEventSetWait(set, ms, events, MAX_EVENTS, wait_event_id());
	}
	PG_FINALLY();
	{
		FreeWaitEventSet(set);
	}
	PG_END_TRY();
	return n;
}

/* Wait at most `max_ms` for something to happen and let libcurl act on it. */
static void
wait_once(HttpClient *client, int64 max_ms)
{
	WaitEvent events[MAX_EVENTS];
	long due = -1;
	int n;

	/* if a stream is always readable, the wait never reports the latch */
	CHECK_FOR_INTERRUPTS();
	/* inside a transaction, do not hold up vacuum because of our catalog lookups */
	InvalidateCatalogSnapshotConditionally();

	/*
	 * Asked each time instead of recorded by CURLMOPT_TIMERFUNCTION, which is not
	 * called again for a timer that fired a rounded millisecond early.
	 */
	curl_multi_timeout(client->multi, &due);
	if (due < 0 || due > max_ms)
		due = max_ms;

	n = wait_for_events(client, due, events);
	for (int i = 0; i < n; i++)
	{
		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
		else
			drive(client, events[i].fd,
				  ((events[i].events & WL_SOCKET_READABLE) ? CURL_CSELECT_IN : 0) |
					  ((events[i].events & WL_SOCKET_WRITEABLE) ? CURL_CSELECT_OUT : 0));
	}
	if (n == 0)
		drive(client, CURL_SOCKET_TIMEOUT, 0);
}

/* Whether name lookup, TCP and TLS are done. */
static bool
is_connected(const HttpExchange *exchange)
{
	return exchange->status != 0 || exchange->done || may_have_arrived(exchange);
}

/*
 * libcurl measures its connect timeout by elapsed time; add the time in which we did
 * not call libcurl, so that it could not connect.
 */
static void
extend_connect_timeouts(HttpClient *client)
{
	int64 now = clock_ms();
	dlist_iter iter;

	dlist_foreach (iter, &client->exchanges)
	{
		HttpExchange *exchange = dlist_container(HttpExchange, node, iter.cur);
		int64 away = (now - exchange->started_at) - (client->driven_ms - exchange->driven_at_start);

		if (!is_connected(exchange))
			curl_easy_setopt(exchange->easy, CURLOPT_CONNECTTIMEOUT_MS,
							 (long) Min(exchange->connect_timeout_ms + Max(away, 0), INT_MAX));
	}
}

/* Milliseconds until the exchange's next deadline; false with *f set when it is past. */
static bool
next_deadline(const HttpExchange *exchange, int64 *left, Failure *f)
{
	*left = exchange->timeout_ms - exchange->waited_ms;
	if (*left <= 0)
		return is_connected(exchange) ? http_error_timeout(exchange, f) : http_error_connect_timeout(exchange, f);

	if (is_connected(exchange))
	{
		*left = Min(*left, HTTP_STALL_MS - exchange->silent_ms);
		return *left > 0 || http_error_silent(exchange, f);
	}
	*left = Min(*left, exchange->connect_timeout_ms - (exchange->client->driven_ms - exchange->driven_at_start));
	return *left > 0 || http_error_connect_timeout(exchange, f);
}

/* Milliseconds until the wait must be reported; not above `left`. */
static int64
until_report(const HttpExchange *exchange, int64 left)
{
	int64 waited = is_connected(exchange) ? exchange->silent_ms : exchange->waited_ms;

	if (exchange->client->reported_silence)
		return left;
	return Min(left, HTTP_REPORT_MS + exchange->quiet_ms - waited);
}

bool
http_wait_exchange(HttpExchange *exchange, Failure *f)
{
	HttpClient *client = exchange->client;
	uint64 activity = exchange->activity;
	int64 entered = clock_ms();
	int64 left;
	int64 elapsed;

	if (!next_deadline(exchange, &left, f))
		return false;
	if (until_report(exchange, left) <= 0)
	{
		client->reported_silence = true;
		http_log_silence(exchange, is_connected(exchange), left);
	}
	extend_connect_timeouts(client);
	wait_once(client, until_report(exchange, left));

	elapsed = clock_ms() - entered;
	client->driven_ms += elapsed;
	exchange->waited_ms += elapsed;
	if (activity != exchange->activity)
		client->reported_silence = false;
	if (activity != exchange->activity || !is_connected(exchange))
		exchange->silent_ms = 0;
	else
		exchange->silent_ms += elapsed;
	return true;
}

void
http_pause(int ms)
{
	int64 until = clock_ms() + ms;

	for (;;)
	{
		int64 left = until - clock_ms();

		CHECK_FOR_INTERRUPTS();
		if (left <= 0)
			return;
		InvalidateCatalogSnapshotConditionally();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left, wait_event_id());
		ResetLatch(MyLatch);
	}
}
