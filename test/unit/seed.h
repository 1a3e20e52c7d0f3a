/*
 * seed.h
 *	  The seed of whatever is random in a run: CONTRATOS_SEED, or today's date in UTC.
 */
#ifndef CONTRATOS_TEST_SEED_H
#define CONTRATOS_TEST_SEED_H

#include <stdlib.h>
#include <time.h>

/* Printed with the seed when a test has failed. */
#define SEED_AGAIN "the same random cases again: CONTRATOS_SEED=%llu make -C test/unit check"

static inline unsigned long long
seed_of_run(void)
{
	const char *given = getenv("CONTRATOS_SEED");
	time_t now = time(NULL);
	struct tm *utc = gmtime(&now);

	if (given != NULL && *given != '\0')
		return strtoull(given, NULL, 10);
	return (unsigned long long) ((utc->tm_year + 1900) * 100 + utc->tm_mon + 1) * 100 + (unsigned) utc->tm_mday;
}

#endif /* CONTRATOS_TEST_SEED_H */
