/*
 * notify.h
 *	  NOTIFY contratos without the risk of an abort.
 *
 * PostgreSQL aborts a transaction whose NOTIFY finds the queue full, and one
 * session that has executed LISTEN and stays in a transaction is enough to fill
 * it.  So this module keeps the messages, and puts them into the queue at the end
 * if it has room: those of a call just before its commit, those of the worker in a
 * transaction of its own.  Messages that are dropped can be read in the ledger.
 */
#ifndef CONTRATOS_NOTIFY_H
#define CONTRATOS_NOTIFY_H

/* Maximum size of a message in bytes; PostgreSQL's own limit is nearly twice that. */
#define NOTIFY_MAX_BYTES 4096

/*
 * Send this text to the listening sessions, when this transaction commits (and, if
 * called in a subtransaction, unless that is rolled back).  A WARNING instead when
 * the queue is nearly full, or the transaction is prepared for a two-phase commit.
 */
extern void notify_at_commit(const char *text);

/* Called once by the worker: messages are sent by notify_send(), and not at commit. */
extern void notify_apart(void);

/*
 * Send the messages of the transactions committed so far.  Outside a transaction.
 * An error is reported as a WARNING, once until the next success, and the messages
 * are dropped.
 */
extern void notify_send(void);

#endif /* CONTRATOS_NOTIFY_H */
