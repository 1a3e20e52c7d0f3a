/*
 * connection.c
 *	  The parameters of a connection to BigQuery: endpoint, credentials and limits. They
 *	  can be copied and passed to another process.
 */
#include "postgres.h"

#include "auth/auth.h"
#include "bigquery/connection.h"

/* All its strings: a pointer that is missing from this list would dangle. */
static const size_t strings[] = {
	offsetof(BqConnection, endpoint),		  offsetof(BqConnection, project), offsetof(BqConnection, location),
	offsetof(BqConnection, credentials_file), offsetof(BqConnection, ca_file), offsetof(BqConnection, proxy),
	offsetof(BqConnection, cap_name),
};

static char **
string_at(BqConnection *connection, size_t i)
{
	return (char **) ((char *) connection + strings[i]);
}

BqConnection
connection_copy(const BqConnection *connection)
{
	BqConnection copy = *connection;

	for (size_t i = 0; i < lengthof(strings); i++)
	{
		char **text = string_at(&copy, i);

		*text = *text != NULL ? pstrdup(*text) : NULL;
	}
	return copy;
}

void
connection_put_string(StringInfo buf, const char *text)
{
	appendStringInfoChar(buf, text ? 1 : 0);
	if (text != NULL)
		appendBinaryStringInfo(buf, text, (int) strlen(text) + 1);
}

char *
connection_take_string(const char **at)
{
	char *text;

	if (*(*at)++ == 0)
		return NULL;
	text = pstrdup(*at);
	*at += strlen(*at) + 1;
	return text;
}

void
connection_put(StringInfo buf, const BqConnection *connection)
{
	BqConnection copy = *connection;

	appendBinaryStringInfo(buf, (const char *) &copy, sizeof(copy));
	for (size_t i = 0; i < lengthof(strings); i++)
		connection_put_string(buf, *string_at(&copy, i));
}

void
connection_take(const char **at, BqConnection *connection)
{
	memcpy(connection, *at, sizeof(BqConnection));
	*at += sizeof(BqConnection);
	for (size_t i = 0; i < lengthof(strings); i++)
		*string_at(connection, i) = connection_take_string(at);
}

AuthConfig
connection_auth(const BqConnection *connection, int timeout_ms)
{
	return (AuthConfig){
		.credentials_file = connection->credentials_file,
		.ca_file = connection->ca_file,
		.proxy = connection->proxy,
		.connect_timeout_ms = Min(connection->connect_timeout_ms, timeout_ms),
		.timeout_ms = timeout_ms,
	};
}
