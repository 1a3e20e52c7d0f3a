/*
 * run_internal.h
 *	  What run's own files share.
 */
#ifndef CONTRATOS_RUN_INTERNAL_H
#define CONTRATOS_RUN_INTERNAL_H

#include "postgres.h"
#include "utils/date.h"

#include "ledger.h"

/* A day must be over, and one that BigQuery can express; 22023 if not. */
extern void run_check_day(const LedgerSource *source, DateADT day);

#endif /* CONTRATOS_RUN_INTERNAL_H */
