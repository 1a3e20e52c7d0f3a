/*
 * clock.h
 *	  The clock for waits and durations.  Times that are written to tables come from
 *	  settings_now().
 */
#ifndef CONTRATOS_CLOCK_H
#define CONTRATOS_CLOCK_H

#include "postgres.h"

#include "portability/instr_time.h"

/* Milliseconds on a clock that only goes forward. */
static inline int64
clock_ms(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

#endif /* CONTRATOS_CLOCK_H */
