/*
 * error_class.h
 *	  Error classes: whether an error is transient, whether every other day would
 *	  fail with it as well.
 */
#ifndef CONTRATOS_ERROR_CLASS_H
#define CONTRATOS_ERROR_CLASS_H

#include "utils/elog.h"

#include "base/failure.h"

/*
 * Errors that a load must not catch: those of the session, the server or the
 * transaction (cancel, shutdown, out of memory, serialization failure, deadlock).
 */
extern bool error_must_rethrow(const ErrorData *edata);

/* Whether another day would fail in the same way: credentials, privileges, names, network. */
extern bool error_fails_every_day(const ErrorData *edata);

/*
 * Whether the same attempt may succeed later without a change by the user: the
 * network, BigQuery outages, local locks and resources.
 */
extern bool error_is_transient(const ErrorData *edata);

/*
 * Whether BigQuery, or the server that gives tokens, did not answer, or only that it is
 * not available: other requests need not be tried now.
 */
extern bool error_is_unreachable(const ErrorData *edata);

/* Whether the row that was being written caused the error: its values, or a constraint. */
extern bool error_blames_row(const ErrorData *edata);

/* Whether the source's byte budget of this UTC day is exhausted: it may be queried again tomorrow. */
extern bool error_is_daily_budget(const ErrorData *edata);

/* Message and detail, for the ledger; in CurrentMemoryContext. */
extern const char *error_with_detail(const ErrorData *edata);

#endif /* CONTRATOS_ERROR_CLASS_H */
