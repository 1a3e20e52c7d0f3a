/*
 * options_validate.c
 *	  The options that exist, where each may be set, and its valid values.
 *
 * An option that names a file on this machine or decides where a key is sent is
 * reserved for roles that may read the server's files anyway, as in file_fdw. Since the
 * validator always receives all options of an object, no other role can change an
 * object that has such an option.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/failure.h"
#include "base/settings.h"
#include "bigquery/bqtype.h"
#include "bigquery/message.h"
#include "http/http.h"
#include "remote/options.h"

/* Where an option may be set */
#define ON_SERVER 0x01
#define ON_MAPPING 0x02
#define ON_TABLE 0x04
#define ON_COLUMN 0x08

/* Properties of an option */
#define PRIVILEGED 0x01 /* reads a file, or decides where a key is sent */
#define MAY_BE_EMPTY 0x02 /* '' has a meaning */

typedef struct OptionDef
{
	const char *name;
	int where;
	int traits;
	/* the problem with a value, as a sentence, or NULL */
	const char *(*problem)(const char *value);
} OptionDef;

/* Whether text has a character that is unsafe in a name even if quoted. */
static bool
has_control_character(const char *text)
{
	for (; *text; text++)
	{
		if ((unsigned char) *text < ' ' || *text == 0x7f)
			return true;
	}
	return false;
}

static bool
is_dataset(const char *name, size_t len)
{
	return len > 0 && len <= 1024 &&
		   strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") >= len;
}

/*
 * The name is split at its last dots: the domain of a project may contain dots, the
 * other two names may not.
 */
static const char *
table_problem(const char *value)
{
	const char *malformed = "A table is named 'project.dataset.table' or 'dataset.table'.";
	char *names = pstrdup(value);
	char *table = strrchr(names, '.');

	if (table == NULL || has_control_character(names) || strpbrk(names, "`\\\"'"))
		return malformed;
	*table++ = '\0';

	char *dataset = strrchr(names, '.');

	if (dataset != NULL)
		*dataset++ = '\0';
	else
		dataset = names;
	if (*table == '\0' || strlen(table) > 1024 || !is_dataset(dataset, strlen(dataset)))
		return malformed;
	if (dataset != names)
		return *names == '\0' ? malformed : settings_project_problem(names);
	return NULL;
}

const char *
options_dataset_problem(const char *name)
{
	const char *dot = strrchr(name, '.');
	const char *dataset = dot ? dot + 1 : name;

	if (!is_dataset(dataset, strlen(dataset)))
		return "A dataset is named 'project.dataset' or 'dataset', with letters, digits and underscores.";
	return dot ? settings_project_problem(pnstrdup(name, dot - name)) : NULL;
}

static const char *
column_problem(const char *value)
{
	if (strlen(value) > 4 * 300 || has_control_character(value) || strpbrk(value, "!\"$()*,./;?@[\\]^`{}~"))
		return "This is not a name a BigQuery column can have.";
	return NULL;
}

/* Without a semicolon it can be neither a second statement nor a script. */
static const char *
filter_problem(const char *value)
{
	if (strchr(value, ';'))
		return "A row filter is one GoogleSQL condition; a semicolon in a string is written \\x3b.";
	return NULL;
}

static const char *
type_problem(const char *value)
{
	BqColumnType ignored;

	if (!bqtype_parse(value, &ignored))
		return "BigQuery has no type of that name; a STRUCT is named without its fields.";
	return NULL;
}

static const char *
boolean_problem(const char *value)
{
	bool ignored;

	return parse_bool(value, &ignored) ? NULL : "It is a Boolean: true or false.";
}

static const char *
on_bad_value_problem(const char *value)
{
	return options_parse_on_bad_value(value, NULL) ? NULL : "It is 'error' or 'null'.";
}

/* The parser's own hint (on units) is more informative than the range. */
static const char *
integer_problem(const char *value, int flags, int min, int max)
{
	const char *hint = NULL;
	const char *unit = (flags & GUC_UNIT_TIME) ? " ms" : " MB";
	int number;

	if (!parse_int(value, &number, flags, &hint))
		return hint ? hint : "It is not a number.";
	if (number < min || number > max)
		return psprintf("It is outside the valid range of %d%s to %d%s.", min, unit, max, unit);
	return NULL;
}

static const char *
connect_timeout_problem(const char *value)
{
	return integer_problem(value, GUC_UNIT_MS, SETTINGS_MIN_TIMEOUT, SETTINGS_MAX_CONNECT_TIMEOUT);
}

static const char *
request_timeout_problem(const char *value)
{
	return integer_problem(value, GUC_UNIT_MS, SETTINGS_MIN_TIMEOUT, SETTINGS_MAX_REQUEST_TIMEOUT);
}

static const char *
job_timeout_problem(const char *value)
{
	return integer_problem(value, GUC_UNIT_MS, SETTINGS_MIN_TIMEOUT, SETTINGS_MAX_JOB_TIMEOUT);
}

/*
 * 0 is not accepted: an option cannot lift the cap of the setting, and would only seem
 * to.  This also keeps '100kB' from being rounded to no cap at all.
 */
static const char *
max_bytes_problem(const char *value)
{
	return integer_problem(value, GUC_UNIT_MB, 1, INT_MAX);
}

/* Check its form, and then the rules of the http module, which will use it. */
static const char *
endpoint_problem(const char *value)
{
	const char *looks = settings_endpoint_problem(value);
	Failure f;

	if (looks != NULL || http_url_check(value, &f))
		return looks;
	return psprintf("%s.", f.message);
}

static const OptionDef option_defs[] = {
	{"project", ON_SERVER, 0, settings_project_problem},
	{"dataset_project", ON_SERVER, 0, settings_project_problem},
	{"location", ON_SERVER, 0, settings_location_problem},
	{"endpoint", ON_SERVER, PRIVILEGED, endpoint_problem},
	{"ca_file", ON_SERVER, PRIVILEGED | MAY_BE_EMPTY, settings_path_problem},
	{"credentials_file", ON_SERVER | ON_MAPPING, PRIVILEGED | MAY_BE_EMPTY, settings_credentials_problem},
	{"proxy", ON_SERVER, PRIVILEGED | MAY_BE_EMPTY, settings_proxy_problem},
	{"table", ON_TABLE, 0, table_problem},
	{"partition_column", ON_TABLE, 0, NULL},
	{"row_filter", ON_TABLE, 0, filter_problem},
	{"require_filter", ON_TABLE, 0, boolean_problem},
	{"on_bad_value", ON_TABLE | ON_COLUMN, 0, on_bad_value_problem},
	{"max_bytes_billed", ON_SERVER | ON_TABLE, 0, max_bytes_problem},
	{"connect_timeout", ON_SERVER, 0, connect_timeout_problem},
	{"request_timeout", ON_SERVER, 0, request_timeout_problem},
	{"job_timeout", ON_SERVER, 0, job_timeout_problem},
	{"name", ON_COLUMN, 0, column_problem},
	{"type", ON_COLUMN, 0, type_problem},
	{"description", ON_COLUMN, MAY_BE_EMPTY, NULL},
};

static int
where_of(Oid catalog)
{
	switch (catalog)
	{
		case ForeignServerRelationId:
			return ON_SERVER;
		case UserMappingRelationId:
			return ON_MAPPING;
		case ForeignTableRelationId:
			return ON_TABLE;
		case AttributeRelationId:
			return ON_COLUMN;
		default:
			return 0; /* the wrapper itself has no options */
	}
}

static const OptionDef *
find_def(const char *name, int where)
{
	for (size_t i = 0; i < lengthof(option_defs); i++)
	{
		if ((option_defs[i].where & where) && strcmp(option_defs[i].name, name) == 0)
			return &option_defs[i];
	}
	return NULL;
}

static void
refuse_unknown_option(const char *name, int where)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (size_t i = 0; i < lengthof(option_defs); i++)
	{
		if (option_defs[i].where & where)
			appendStringInfo(&valid, "%s%s", valid.len > 0 ? ", " : "", option_defs[i].name);
	}
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errmsg("invalid option \"%s\"", name),
					valid.len > 0 ? errhint("Valid options in this context are: %s", valid.data)
								  : errhint("There are no valid options in this context.")));
}

static void
check_privilege(const OptionDef *def, const char *value)
{
	/* the machine's token is not in a file, so the right to read files does not matter for it */
	bool metadata = strcmp(def->name, "credentials_file") == 0 && strcmp(value, SETTINGS_METADATA) == 0;

	if (!(def->traits & PRIVILEGED) ||
		has_privs_of_role(GetUserId(), metadata ? ROLE_PG_EXECUTE_SERVER_PROGRAM : ROLE_PG_READ_SERVER_FILES))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to set option \"%s\"", def->name),
			 metadata ? errdetail("It uses the token that any program on the database server can obtain.")
					  : errdetail("It names a file of the database server or decides where a key is sent."),
			 errhint("Only superusers and members of the role %s may create or change an object with this option.",
					 metadata ? "pg_execute_server_program" : "pg_read_server_files")));
}

/* The value stays out of the message: it may be a key that was entered by mistake. */
static void
check_value(const OptionDef *def, const char *value)
{
	const char *problem = NULL;

	if (*value == '\0')
		problem = (def->traits & MAY_BE_EMPTY) ? NULL : "It cannot be empty.";
	else if (def->problem)
		problem = def->problem(value);
	if (problem)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid value for option \"%s\"", def->name),
						errdetail_internal("%s", problem)));
}

/* Check the options of a foreign table together. */
static void
check_table(List *options)
{
	const char *require_filter = options_find(options, "require_filter");
	bool required = false;

	if (options_find(options, "table") == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
						errmsg("option \"table\" is required for foreign tables of contratos"),
						errhint("Name the BigQuery table: OPTIONS (table 'project.dataset.table').")));
	if (require_filter != NULL)
		(void) parse_bool(require_filter, &required);
	if (required && options_find(options, "partition_column") == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
						errmsg("option \"require_filter\" needs option \"partition_column\""),
						errhint("Name the column that queries must have a condition on.")));
}

void
options_validate(Datum options, Oid catalog)
{
	int where = where_of(catalog);
	List *list = untransformRelOptions(options);
	ListCell *cell;

	foreach (cell, list)
	{
		DefElem *option = lfirst_node(DefElem, cell);
		const OptionDef *def = find_def(option->defname, where);

		if (def != NULL)
		{
			check_privilege(def, defGetString(option));
			check_value(def, defGetString(option));
		}
		else
			refuse_unknown_option(option->defname, where);
	}
	if (where == ON_TABLE)
		check_table(list);
}
