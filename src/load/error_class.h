/*
 * error_class.h
 *	  What an error means for a day: whether it is transient, whether every other
 *	  day would fail with it as well.
 */
#ifndef CONTRATOS_ERROR_CLASS_H
#define CONTRATOS_ERROR_CLASS_H

#include "utils/elog.h"

#include "base/failure.h"

/*
 * Not for a load to catch: the session's, the server's or the transaction's
 * (cancel, shutdown, out of memory, serialization failure, deadlock).
 */
extern bool error_must_rethrow(const ErrorData *edata);

/* Whether another day would fail just the same: key, rights, names, network. */
extern bool error_fails_every_day(const ErrorData *edata);

/*
 * Whether the same attempt may succeed later without anybody changing
 * anything: the network, BigQuery's own trouble, locks and resources here.
 */
extern bool error_is_transient(const ErrorData *edata);

/* Whether the row that was being written is to blame: its values, or a constraint. */
extern bool error_blames_row(const ErrorData *edata);

/* Whether the source's bytes of this UTC day are used up: it may be asked again tomorrow. */
extern bool error_is_daily_budget(const ErrorData *edata);

/* Message and detail, for the ledger; in CurrentMemoryContext. */
extern const char *error_with_detail(const ErrorData *edata);

#endif /* CONTRATOS_ERROR_CLASS_H */
