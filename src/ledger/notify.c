/*
 * notify.c
 *	  NOTIFY contratos without the risk of an abort; see notify.h.
 *
 * The free space in the queue is checked just before the texts are passed on.
 * Other sessions can still fill the queue between that and the commit; a tenth of
 * the queue is left for them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "fmgr.h"
#include "lib/ilist.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/failure.h"
#include "base/settings.h"
#include "ledger/notify.h"

#define CHANNEL "contratos"

/* Size of PostgreSQL's header of a message: AsyncQueueEntry's four numbers. */
#define ENTRY_HEAD (4 * sizeof(int))

/* Before PostgreSQL 17, whose max_notify_queue_pages has the same default. */
#define QUEUE_PAGES 1048576

/*
 * In the worker: the timeout for the lock that all sessions which notify take at
 * their commit, one at a time; one that holds it while it waits for a standby
 * delays the others.
 */
#define SEND_LOCK_TIMEOUT "5s"

typedef struct Message
{
	dlist_node node;
	SubTransactionId subtransaction; /* InvalidSubTransactionId: it has committed */
	char text[FLEXIBLE_ARRAY_MEMBER];
} Message;

/* In the order of the calls. */
static dlist_head messages = DLIST_STATIC_INIT(messages);

static bool is_apart = false;
static bool has_warned = false; /* in the worker, since the last success */

/* Drop those of a (sub)transaction. */
static void
drop(SubTransactionId subtransaction)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &messages)
	{
		Message *message = dlist_container(Message, node, iter.cur);

		if (message->subtransaction != subtransaction)
			continue;
		dlist_delete(iter.cur);
		pfree(message);
	}
}

/* Move those of a subtransaction to another one. */
static void
hand_on(SubTransactionId from, SubTransactionId to)
{
	dlist_iter iter;

	dlist_foreach (iter, &messages)
	{
		Message *message = dlist_container(Message, node, iter.cur);

		if (message->subtransaction == from)
			message->subtransaction = to;
	}
}

/* The number of messages of a (sub)transaction, and their size in bytes. */
static int
count(SubTransactionId subtransaction, int64 *bytes)
{
	dlist_iter iter;
	int n = 0;

	*bytes = 0;
	dlist_foreach (iter, &messages)
	{
		const Message *message = dlist_container(Message, node, iter.cur);

		if (message->subtransaction != subtransaction)
			continue;
		n++;
		*bytes += ENTRY_HEAD + sizeof(CHANNEL) + strlen(message->text) + 1;
	}
	return n;
}

/* Pass the messages to PostgreSQL, in this transaction; false, with a WARNING, when the queue has no room. */
static bool
enqueue(SubTransactionId subtransaction)
{
	int64 bytes;
	int n = count(subtransaction, &bytes);
	const char *setting = GetConfigOption("max_notify_queue_pages", true, false);
	double pages = setting != NULL ? strtod(setting, NULL) : QUEUE_PAGES;
	double usage;
	dlist_iter iter;

	if (n == 0)
		return true;
	usage = DatumGetFloat8(OidFunctionCall0(F_PG_NOTIFICATION_QUEUE_USAGE));
	/* whether they fit, with some room left; no message crosses the end of a page: at worst each is half empty */
	if (usage + (2.0 * bytes / BLCKSZ + 1) / pages >= settings_notify_limit)
	{
		if (!has_warned)
			ereport(WARNING,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("nobody is notified: the NOTIFY queue is %.0f%% full", usage * 100),
					 errdetail("%d messages do not go into it. The ledger, contratos_runs, has their contents.", n),
					 errhint("A session that has executed LISTEN has been in a transaction for long: pg_stat_activity "
							 "shows those that are idle in one. The queue cannot be emptied until it ends.")));
		return false;
	}
	dlist_foreach (iter, &messages)
	{
		const Message *message = dlist_container(Message, node, iter.cur);

		if (message->subtransaction == subtransaction)
			Async_Notify(CHANNEL, message->text);
	}
	return true;
}

static void
warn_of_prepare(void)
{
	int64 bytes;
	int n = count(TopSubTransactionId, &bytes);

	if (n > 0)
		ereport(WARNING, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						  errmsg("nobody is notified of what a prepared transaction has done"),
						  errdetail("PostgreSQL allows no NOTIFY in it, so %d messages are dropped.", n),
						  errhint("After COMMIT PREPARED look into contratos_runs.")));
}

static void
notify_at_transaction(XactEvent event, void *arg pg_attribute_unused())
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (!is_apart)
			{
				(void) enqueue(TopSubTransactionId);
				drop(TopSubTransactionId);
			}
			break;
		case XACT_EVENT_COMMIT: /* allocates nothing, raises nothing */
			hand_on(TopSubTransactionId, InvalidSubTransactionId);
			break;
		case XACT_EVENT_PRE_PREPARE:
			warn_of_prepare();
			drop(TopSubTransactionId);
			break;
		case XACT_EVENT_ABORT:
			drop(TopSubTransactionId);
			break;
		default:
			break;
	}
}

static void
notify_at_subtransaction(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
						 void *arg pg_attribute_unused())
{
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		hand_on(id, parent);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		drop(id);
}

void
notify_at_commit(const char *text)
{
	static bool registered = false;
	Message *message = MemoryContextAlloc(TopMemoryContext, offsetof(Message, text) + strlen(text) + 1);

	if (!registered)
	{
		RegisterXactCallback(notify_at_transaction, NULL);
		RegisterSubXactCallback(notify_at_subtransaction, NULL);
		registered = true;
	}
	message->subtransaction = GetCurrentSubTransactionId();
	strcpy(message->text, text);
	dlist_push_tail(&messages, &message->node);
}

void
notify_apart(void)
{
	is_apart = true;
}

/* In a transaction of its own, which writes nothing and so waits for no standby. */
static void
send_all(void *arg pg_attribute_unused())
{
	bool sent;

	StartTransactionCommand();
	(void) set_config_option("lock_timeout", SEND_LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
							 false);
	sent = enqueue(InvalidSubTransactionId);
	CommitTransactionCommand();
	has_warned = !sent;
}

void
notify_send(void)
{
	ErrorData *edata;

	if (dlist_is_empty(&messages))
		return;
	edata = catch_with_transactions(send_all, NULL, NULL);
	if (edata != NULL && !has_warned)
		ereport(WARNING, (errcode(edata->sqlerrcode), errmsg("nobody is notified: %s", edata->message),
						  edata->detail ? errdetail("%s", edata->detail) : 0));
	has_warned |= edata != NULL;
	drop(InvalidSubTransactionId);
}
