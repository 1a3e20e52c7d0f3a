/*
 * fingerprint.c
 *	  The extension's fingerprint without a server: what it would ask BigQuery,
 *	  and what it makes of rows.  For tests, which compare both with others'.
 *
 *	fingerprint query TABLE [-t NAME] [-w] NAME:TYPE...
 *		the query's text; -t: whose maximum is wanted; -w: in a window of it
 *	fingerprint rows NAME:TYPE...
 *		the fingerprint of the rows on standard input: a line each, its cells in
 *		hexadecimal with a space between, "-" for NULL and "." for no bytes
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "bigquery/bqtype.h"
#include "read/rowhash.h"
#include "remote/fingerprint.h"

/* --------------------------------------------------------------------------
 * What the rooms take from the server
 * -------------------------------------------------------------------------- */

MemoryContext CurrentMemoryContext = NULL;

void
MemoryContextRegisterResetCallback(MemoryContext context, MemoryContextCallback *cb)
{
}

int
pg_ultoa_n(uint32 value, char *a)
{
	char text[16];
	int len = sprintf(text, "%u", value);

	memcpy(a, text, len);
	return len;
}

bool
errstart(int elevel, const char *domain)
{
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return true;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	fprintf(stderr, "error in %s, line %d\n", filename, lineno);
	exit(1);
}

int
errcode(int sqlerrcode)
{
	return 0;
}

int
errmsg(const char *fmt, ...)
{
	return fprintf(stderr, "%s\n", fmt);
}

int
errmsg_internal(const char *fmt, ...)
{
	return fprintf(stderr, "%s\n", fmt);
}

int
errdetail(const char *fmt, ...)
{
	return 0;
}

int
errhint(const char *fmt, ...)
{
	return 0;
}

/* --------------------------------------------------------------------------
 * The program
 * -------------------------------------------------------------------------- */

/* Columns of NAME:TYPE arguments, all of them, by position. */
static RemoteTable *
read_columns(char **arguments, int n)
{
	RemoteTable *table = palloc0(sizeof(RemoteTable));

	table->ncolumns = n;
	table->columns = palloc0(sizeof(RemoteColumn) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		char *colon = strrchr(arguments[i], ':');

		if (colon == NULL)
			exit(2);
		table->columns[i].attnum = (AttrNumber) (i + 1);
		table->columns[i].remote_name = pnstrdup(arguments[i], colon - arguments[i]);
		table->columns[i].name = table->columns[i].remote_name;
		if (!bqtype_parse(colon + 1, &table->columns[i].remote_type))
			exit(2);
	}
	return table;
}

static AttrNumber *
all_numbers(const RemoteTable *table)
{
	AttrNumber *numbers = palloc(sizeof(AttrNumber) * Max(table->ncolumns, 1));

	for (int i = 0; i < table->ncolumns; i++)
		numbers[i] = table->columns[i].attnum;
	return numbers;
}

static AttrNumber
number_of(const RemoteTable *table, const char *name)
{
	for (int i = 0; name != NULL && i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return table->columns[i].attnum;
	return InvalidAttrNumber;
}

static void
print_query(int argc, char **argv)
{
	char *name = argv[0];
	char *timestamp = NULL;
	bool window = false;
	int at = 1;

	for (; at < argc && argv[at][0] == '-'; at++)
	{
		if (strcmp(argv[at], "-w") == 0)
			window = true;
		else
			timestamp = argv[++at];
	}

	RemoteTable *table = read_columns(argv + at, argc - at);
	AttrNumber number = number_of(table, timestamp);
	RemoteCondition conditions[] = {{.attnum = number, .op = ">=", .type = BQ_TIMESTAMP, .value = "low"},
									{.attnum = number, .op = "<", .type = BQ_TIMESTAMP, .value = "high"}};

	table->table = name;
	puts(fingerprint_query(table, all_numbers(table), table->ncolumns, number, conditions, window ? 2 : 0)->text);
}

/* One cell in hexadecimal, decoded in place. */
static RowsCell
read_cell(char *text)
{
	RowsCell cell = {.data = text, .kind = strcmp(text, "-") == 0 ? ROWS_NULL : ROWS_STRING};
	unsigned int byte;

	for (char *c = text; cell.kind == ROWS_STRING && sscanf(c, "%2x", &byte) == 1; c += 2)
		text[cell.len++] = (char) byte;
	return cell;
}

static void
print_fingerprint(int argc, char **argv)
{
	RemoteTable *table = read_columns(argv, argc);
	BqField *fields = palloc0(sizeof(BqField) * Max(argc, 1));
	RowsCell *cells = palloc0(sizeof(RowsCell) * Max(argc, 1));
	char text[FINGERPRINT_SIZE];
	static char line[1024 * 1024];

	for (int i = 0; i < argc; i++)
		fields[i].type = table->columns[i].remote_type.type;

	RowHash *hash = rowhash_create(fingerprint_forms(table, all_numbers(table), argc, fields));

	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		char *rest = line;

		for (int i = 0; i < argc; i++)
			cells[i] = read_cell(strsep(&rest, " \n"));
		rowhash_add(hash, cells);
	}
	rowhash_text(hash, text);
	puts(text);
}

int
main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "query") == 0)
		print_query(argc - 2, argv + 2);
	else if (argc > 1 && strcmp(argv[1], "rows") == 0)
		print_fingerprint(argc - 2, argv + 2);
	else
		return 2;
	return 0;
}
