/*
 * options_connection.c
 *	  The connection of a foreign table: the result of its options, those of its server
 *	  and of the user mapping, and the settings.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_user_mapping.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/connection.h"
#include "bigquery/request.h"
#include "http/http.h"
#include "remote/options_internal.h"

/* The places of an option, the nearest first. */
typedef struct Layers
{
	List *mapping; /* options of the user mapping; NIL: none */
	ForeignServer *server;
} Layers;

/*
 * The options of the user mapping of userid, or else of PUBLIC.  GetUserMapping()
 * cannot be used: it throws when there is none.
 */
static List *
mapping_options(Oid userid, Oid serverid)
{
	HeapTuple tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(userid), ObjectIdGetDatum(serverid));

	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid), ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		return NIL;

	bool isnull;
	Datum options = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	List *list = isnull ? NIL : untransformRelOptions(options);

	ReleaseSysCache(tuple);
	return list;
}

/* The nearest value of an option, or NULL if only the setting is left. */
static const char *
nearest(const Layers *layers, const char *name)
{
	const char *value = options_find(layers->mapping, name);

	return value != NULL ? value : options_find(layers->server->options, name);
}

/* The same including the setting; NULL if the nearest value is ''. */
static char *
nearest_text(const Layers *layers, const char *name, const char *setting)
{
	const char *value = nearest(layers, name);

	if (value == NULL)
		value = setting;
	return (value && *value) ? pstrdup(value) : NULL;
}

static int
nearest_ms(const Layers *layers, const char *name, int setting)
{
	const char *value = nearest(layers, name);
	int number;

	return (value && parse_int(value, &number, GUC_UNIT_MS, NULL)) ? number : setting;
}

/* Lower the cap to that of `options`, if they have one and it is lower. */
static void
apply_cap(BqConnection *connection, List *options, const char *kind, const char *name)
{
	const char *value = options_find(options, "max_bytes_billed");
	int megabytes;

	if (value == NULL || !parse_int(value, &megabytes, GUC_UNIT_MB, NULL))
		return;

	int64 bytes = (int64) megabytes * 1024 * 1024;

	if (connection->max_bytes_billed != 0 && connection->max_bytes_billed <= bytes)
		return;
	connection->max_bytes_billed = bytes;
	connection->cap_name = psprintf("option max_bytes_billed of %s \"%s\"", kind, name);
}

/* https://host/ and https://host are the same; paths are appended with a slash. */
static void
set_endpoint(BqConnection *connection, const Layers *layers)
{
	char *url = nearest_text(layers, "endpoint", settings_endpoint);
	Failure f;

	if (url == NULL)
		url = pstrdup(SETTINGS_DEFAULT_ENDPOINT);
	for (size_t len = strlen(url); len > 0 && url[len - 1] == '/'; len--)
		url[len - 1] = '\0';
	if (!http_url_check(url, &f))
	{
		if (f.hint[0] == '\0')
			failure_hint(&f, "Change option \"endpoint\" of server \"%s\" or setting \"contratos.endpoint\".",
						 layers->server->servername);
		failure_throw(&f);
	}
	connection->endpoint = url;
}

/*
 * USAGE on a server allows reading everything that its key may read, and anyone with
 * USAGE on the wrapper can create a server: so the setting does not serve all servers.
 */
static void
set_credentials(BqConnection *connection, const Layers *layers, Oid userid)
{
	const char *option = nearest(layers, "credentials_file");
	const char *server = layers->server->servername;

	connection->credentials_file = nearest_text(layers, "credentials_file", settings_credentials_file);
	if (connection->credentials_file == NULL)
	{
		/* on this machine, unencrypted, so it expects no secret */
		bool emulator =
			pg_strncasecmp(connection->endpoint, "http://", 7) == 0 && http_url_is_loopback(connection->endpoint);

		if (!emulator)
			ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
							errmsg("no credentials for server \"%s\"", server),
							errhint("Set contratos.credentials_file, or option \"credentials_file\" of a user mapping "
									"for role \"%s\", to a file with credentials.",
									GetUserNameFromId(userid, false))));
	}
	else if (option == NULL && !superuser_arg(layers->server->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("contratos.credentials_file does not serve server \"%s\"", server),
				 errdetail("Its owner \"%s\" is not a superuser.", GetUserNameFromId(layers->server->owner, false)),
				 errhint("A superuser or a member of the role pg_read_server_files can set option "
						 "\"credentials_file\" of a user mapping for role \"%s\".",
						 GetUserNameFromId(userid, false))));
}

/* `table` NULL: a server before it has one. */
static BqConnection *
connection_from(ForeignTable *table, ForeignServer *server, Oid userid, bool with_credentials)
{
	Layers layers = {
		.mapping = mapping_options(userid, server->serverid),
		.server = server,
	};
	BqConnection *connection = palloc0(sizeof(BqConnection));

	set_endpoint(connection, &layers);
	if (with_credentials)
		set_credentials(connection, &layers, userid);

	/* a cap is a limit, not a preference: the smallest applies, not the nearest */
	connection->max_bytes_billed = (int64) settings_max_bytes_billed * 1024 * 1024;
	connection->cap_name = pstrdup("contratos.max_bytes_billed");
	apply_cap(connection, server->options, "server", server->servername);
	if (table != NULL)
		apply_cap(connection, table->options, "foreign table", get_rel_name(table->relid));

	connection->project = nearest_text(&layers, "project", settings_project);
	connection->location = nearest_text(&layers, "location", settings_location);
	if (connection->location == NULL)
		connection->location = pstrdup(SETTINGS_DEFAULT_LOCATION);
	connection->ca_file = nearest_text(&layers, "ca_file", settings_ca_file);
	connection->proxy = nearest_text(&layers, "proxy", settings_proxy);
	connection->connect_timeout_ms = nearest_ms(&layers, "connect_timeout", settings_connect_timeout);
	connection->request_timeout_ms = nearest_ms(&layers, "request_timeout", settings_request_timeout);
	connection->job_timeout_ms = nearest_ms(&layers, "job_timeout", settings_job_timeout);
	connection->page_rows = settings_page_rows;
	connection->parallel_pages = settings_parallel_pages;
	return connection;
}

/* A server as contratos_setup() creates it. */
static ForeignServer *
new_server(const char *name, Oid owner)
{
	ForeignServer *server = palloc0(sizeof(ForeignServer));

	server->servername = pstrdup(name);
	server->owner = owner;
	return server;
}

BqConnection *
options_connection(Oid relid, Oid userid)
{
	ForeignTable *table = options_foreign_table(relid);

	return connection_from(table, GetForeignServer(table->serverid), userid, true);
}

BqConnection *
options_server_connection(Oid serverid, Oid userid)
{
	return connection_from(NULL, GetForeignServer(serverid), userid, true);
}

BqConnection *
options_new_server_connection(const char *name, Oid userid)
{
	return connection_from(NULL, new_server(name, userid), userid, true);
}

BqConnection *
options_route(Oid relid, Oid serverid, const char *name, Oid userid)
{
	ForeignTable *table = OidIsValid(relid) ? options_foreign_table(relid) : NULL;

	if (table != NULL)
		serverid = table->serverid;
	return connection_from(table, OidIsValid(serverid) ? GetForeignServer(serverid) : new_server(name, userid), userid,
						   false);
}
