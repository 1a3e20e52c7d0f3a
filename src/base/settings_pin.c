/*
 * settings_pin.c
 *	  What no configuration file, ALTER DATABASE or ALTER ROLE may change for our
 *	  own processes: settings that end a transaction, or the process.
 *
 * They are meant for sessions.  A load may take longer than any of them, and
 * what waits in it has limits of its own.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "base/settings.h"

/* A setting, and its value in our processes; NULL: it is left alone. */
typedef struct Pin
{
	const char *name;
	const char *value;
} Pin;

/*
 * Every timeout that a database or role may set, of all versions, pinned or not
 * (a test compares), and what else ends a process.
 */
static const Pin pins[] = {
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	/* after how long a deadlock is looked for: it ends nothing else */
	{"deadlock_timeout", NULL},
	/* of connections to clients and standbys: there is none */
	{"tcp_user_timeout", NULL},
	{"wal_sender_timeout", NULL},
	{"wal_receiver_timeout", NULL},
	/* makes of a day's error the end of the process */
	{"exit_on_error", "off"},
};

void
settings_pin(void)
{
	/* file, database and role are sources of lower priority: what they say is ignored from now on */
	for (int i = 0; i < (int) lengthof(pins); i++)
		if (pins[i].value != NULL && GetConfigOption(pins[i].name, true, false) != NULL)
			SetConfigOption(pins[i].name, pins[i].value, PGC_SUSET, PGC_S_OVERRIDE);
}
