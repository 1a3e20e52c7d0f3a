/*
 * notify.h
 *	  NOTIFY contratos, so that it undoes nothing.
 *
 * PostgreSQL undoes a transaction whose NOTIFY finds no room in its queue, which
 * one session that has executed LISTEN and sleeps in a transaction can fill.
 * So what is to be told is kept here, and goes into the queue when all else is
 * done and there is room: of a call just before its commit, of the worker in a
 * transaction of its own.  What is not told is in the ledger.
 */
#ifndef CONTRATOS_NOTIFY_H
#define CONTRATOS_NOTIFY_H

/* What a message may have, in bytes; PostgreSQL's own limit is near twice that. */
#define NOTIFY_MAX_BYTES 4096

/*
 * Tell this text to who listens, when this transaction commits (and, called in
 * a subtransaction, that one has not been rolled back).  A WARNING instead when
 * the queue is nearly full, or the transaction is prepared for a two-phase commit.
 */
extern void notify_at_commit(const char *text);

/* For the worker, once: it is notify_send() that tells, and not the commit. */
extern void notify_apart(void);

/*
 * Tell what the transactions committed so far have left.  Outside of a
 * transaction.  What goes wrong in it is a WARNING, once until it goes well
 * again, and the texts are given up.
 */
extern void notify_send(void);

#endif /* CONTRATOS_NOTIFY_H */
