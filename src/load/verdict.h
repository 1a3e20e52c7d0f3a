/*
 * verdict.h
 *	  What an error means for a day: whose it is, whether it may pass, whether
 *	  every other day would meet it too.
 */
#ifndef CONTRATOS_VERDICT_H
#define CONTRATOS_VERDICT_H

#include "utils/elog.h"

#include "base/failure.h"

/*
 * Not for a load to catch: the session's, the server's or the transaction's
 * (cancel, shutdown, out of memory, serialization failure, deadlock).
 */
extern bool verdict_must_rethrow(const ErrorData *edata);

/* Whether another day would fail just the same: key, rights, names, network. */
extern bool verdict_every_day(const ErrorData *edata);

/*
 * Whether the same attempt may succeed later without anybody changing
 * anything: the network, BigQuery's own trouble, locks and resources here.
 */
extern bool verdict_may_pass(const ErrorData *edata);

/* Whether the row that was being written is to blame: its values, or a constraint. */
extern bool verdict_blames_row(const ErrorData *edata);

/* Whether the source's bytes of this UTC day are used up: it may be asked again tomorrow. */
extern bool verdict_tomorrow(const ErrorData *edata);

/* Message and detail, for the ledger; in CurrentMemoryContext. */
extern const char *verdict_text(const ErrorData *edata);

#endif /* CONTRATOS_VERDICT_H */
