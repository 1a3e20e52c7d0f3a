/*
 * verify_internal.h
 *	  Between the files of the verify room.
 */
#ifndef CONTRATOS_VERIFY_INTERNAL_H
#define CONTRATOS_VERIFY_INTERNAL_H

#include "base/day.h"
#include "bigquery/bigquery.h"
#include "load/verify.h"

/*
 * verify_ask() of the days from first to last, by one query, as many answers.
 * Not of a snapshot.
 */
extern void verify_ask_days(const LoadPlan *plan, Bigquery *bq, DateADT first, DateADT last, VerifyJob *job,
							DayFigures *there);

#endif /* CONTRATOS_VERIFY_INTERNAL_H */
