/*
 * settings_pin.c
 *	  Settings that end a transaction, or the process: no configuration file, ALTER
 *	  DATABASE or ALTER ROLE may change them for our own processes.
 *
 * They are meant for sessions.  A load may take longer than any of them, and the waits
 * in it have limits of their own.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "base/settings.h"

/* A setting, and its value in our processes; NULL leaves it alone. */
typedef struct Pin
{
	const char *name;
	const char *value;
} Pin;

/*
 * Every timeout that a database or role may set, in all versions, pinned or not (a test
 * compares), and the other settings that end a process.
 */
static const Pin pins[] = {
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	/* the time before a check for deadlocks: it ends nothing else */
	{"deadlock_timeout", NULL},
	/* these are for connections to clients and standbys, and our processes have none */
	{"tcp_user_timeout", NULL},
	{"wal_sender_timeout", NULL},
	{"wal_receiver_timeout", NULL},
	/* would make a day's error end the process */
	{"exit_on_error", "off"},
};

void
settings_pin(void)
{
	/* file, database and role are sources of lower priority: their values are ignored from now on */
	for (int i = 0; i < (int) lengthof(pins); i++)
		if (pins[i].value != NULL && GetConfigOption(pins[i].name, true, false) != NULL)
			SetConfigOption(pins[i].name, pins[i].value, PGC_SUSET, PGC_S_OVERRIDE);
}
