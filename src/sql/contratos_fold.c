/*
 * contratos_fold.c
 *	  Long texts in short lines, for the columns of tables in psql.
 *
 * psql shows each line of a value below the last, which keeps a table within the terminal.
 * Nothing but line feeds is added, so that the text is whole again without them.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "sql/contratos_internal.h"

/*
 * The best end of the first line, in bytes: after a space, or after what is outside of a
 * statement's literals, or after another mark, or at the width itself.
 */
static int
length_of_line(const char *text, int width)
{
	static const char *const ends[] = {" ", "(,", "/.:@_-"};
	int best[lengthof(ends)] = {0};
	int bytes = 0;

	for (int n = 0; text[bytes] != '\0'; n++)
	{
		if (n == width)
		{
			for (int i = 0; i < (int) lengthof(ends); i++)
				if (best[i] > 0)
					return best[i];
			return bytes;
		}
		if (text[bytes] == '\n')
			return bytes + 1;
		bytes += pg_mblen(text + bytes);
		for (int i = 0; i < (int) lengthof(ends); i++)
			if (strchr(ends[i], text[bytes - 1]) != NULL)
				best[i] = bytes;
	}
	return bytes;
}

char *
contratos_fold(const char *text, int width)
{
	StringInfoData folded;

	initStringInfo(&folded);
	while (*text != '\0')
	{
		int bytes = length_of_line(text, width);

		appendBinaryStringInfo(&folded, text, bytes);
		text += bytes;
		if (*text != '\0' && text[-1] != '\n')
			appendStringInfoChar(&folded, '\n');
	}
	return folded.data;
}

PG_FUNCTION_INFO_V1(contratos_fold_text);

/* For views, and executable by all: any width must end. */
Datum
contratos_fold_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(
		cstring_to_text(contratos_fold(text_to_cstring(PG_GETARG_TEXT_PP(0)), Max(PG_GETARG_INT32(1), 1))));
}
