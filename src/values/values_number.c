/*
 * values_number.c
 *	  Numbers that are not numeric, and booleans.
 *
 * An integer column accepts only integers, however they are written (a FLOAT64 with the
 * value 5 is sent as "5.0").  A floating-point column accepts a decimal number if it
 * shows the same number again; from a FLOAT64, real accepts only values that are
 * exactly a real.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/int.h"
#include "common/shortest_dec.h"
#include "utils/builtins.h"

#include "bigquery/bqtype.h"
#include "rows/rows.h"
#include "values/values_internal.h"

/* --------------------------------------------------------------------------
 * Integers
 * -------------------------------------------------------------------------- */

/* It counts down, since the range has one more number below 0. */
IntegerResult
values_parse_integer(const char *data, size_t len, int64 *value)
{
	bool negative = len > 0 && *data == '-';
	size_t i = (len > 0 && (*data == '-' || *data == '+')) ? 1 : 0;
	IntegerResult result = INTEGER_OK;
	int64 sum = 0;

	if (i == len)
		return INTEGER_MALFORMED;
	for (; i < len; i++)
	{
		if (data[i] < '0' || data[i] > '9')
			return INTEGER_MALFORMED;
		if (pg_mul_s64_overflow(sum, 10, &sum) || pg_sub_s64_overflow(sum, data[i] - '0', &sum))
			result = INTEGER_OVERFLOW;
	}
	if (!negative && pg_sub_s64_overflow(0, sum, &sum))
		result = INTEGER_OVERFLOW;
	*value = sum;
	return result;
}

ValueResult
values_read_bigint(ValueReader *reader pg_attribute_unused(), const RowsCell *cell, Datum *value, const char **reason)
{
	int64 number;

	switch (values_parse_integer(cell->data, cell->len, &number))
	{
		case INTEGER_MALFORMED:
			return values_bad(reason, "not an integer");
		case INTEGER_OVERFLOW:
			return values_bad(reason, "out of range of bigint");
		case INTEGER_OK:
			break;
	}
	*value = Int64GetDatum(number);
	return VALUE_OK;
}

/* INTEGER_MALFORMED means that it has a fraction. */
static IntegerResult
integer_of(const Decimal *d, int64 *value)
{
	size_t first, ndigits;
	int64 places, sum = 0;

	values_significant(d, &first, &ndigits, &places);
	*value = 0;
	if (places < (int64) ndigits)
		return INTEGER_MALFORMED;
	/* an int64 has at most 19 digits */
	if (places > 19)
		return INTEGER_OVERFLOW;
	for (int64 i = 0; i < places; i++)
	{
		int digit = i < (int64) ndigits ? values_digit(d, first + i) - '0' : 0;

		if (pg_mul_s64_overflow(sum, 10, &sum) || pg_sub_s64_overflow(sum, digit, &sum))
			return INTEGER_OVERFLOW;
	}
	if (!d->negative && pg_sub_s64_overflow(0, sum, &sum))
		return INTEGER_OVERFLOW;
	*value = sum;
	return INTEGER_OK;
}

static ValueResult
make_integer(ValueReader *reader, int64 number, Datum *value, const char **reason)
{
	if (reader->type == INT8OID)
		*value = Int64GetDatum(number);
	else if (reader->type == INT4OID && number >= PG_INT32_MIN && number <= PG_INT32_MAX)
		*value = Int32GetDatum((int32) number);
	else if (reader->type == INT2OID && number >= PG_INT16_MIN && number <= PG_INT16_MAX)
		*value = Int16GetDatum((int16) number);
	else
		return values_out_of_range(reader, reason);
	return VALUE_OK;
}

ValueResult
values_read_integer(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	const char *p = cell->data, *end = cell->data + cell->len;
	Decimal d = {.plain = true};
	int64 number;

	values_trim(&p, &end);
	if (!values_parse_decimal(p, end, &d))
		return values_bad(reason, values_is_special_number(p, end) ? "not a finite number" : "not a number");
	switch (integer_of(&d, &number))
	{
		case INTEGER_MALFORMED:
			return values_bad(reason, "not a whole number");
		case INTEGER_OVERFLOW:
			return values_out_of_range(reader, reason);
		case INTEGER_OK:
			break;
	}
	return make_integer(reader, number, value, reason);
}

/* --------------------------------------------------------------------------
 * Floating point
 * -------------------------------------------------------------------------- */

static bool
same_number(const Decimal *a, const char *shown, int len)
{
	Decimal b = {.plain = true};
	size_t first_a, first_b, n_a, n_b;
	int64 places_a, places_b;

	if (!values_parse_decimal(shown, shown + len, &b))
		return false;
	values_significant(a, &first_a, &n_a, &places_a);
	values_significant(&b, &first_b, &n_b, &places_b);
	if (n_a != n_b || places_a != places_b)
		return false;
	for (size_t i = 0; i < n_a; i++)
	{
		if (values_digit(a, first_a + i) != values_digit(&b, first_b + i))
			return false;
	}
	return true;
}

bool
values_parse_double(const Decimal *d, const char *text, double *number)
{
	*number = strtod(text, NULL);
	return !isinf(*number) && (*number != 0 || same_number(d, "0", 1));
}

/* d is the parsed text. */
static ValueResult
make_double(ValueReader *reader, const Decimal *d, const char *text, Datum *value, const char **reason)
{
	double number;
	char shown[DOUBLE_SHORTEST_DECIMAL_LEN];
	bool exact = reader->field->type == BQ_FLOAT64;

	if (!values_parse_double(d, text, &number))
		return values_out_of_range(reader, reason);
	if (!exact && !same_number(d, shown, double_to_shortest_decimal_bufn(number, shown)))
		return values_inexact(reader, reason);
	*value = Float8GetDatum(number);
	return VALUE_OK;
}

static ValueResult
make_real(ValueReader *reader, const Decimal *d, const char *text, Datum *value, const char **reason)
{
	float number = strtof(text, NULL);
	char shown[FLOAT_SHORTEST_DECIMAL_LEN];

	if (isinf(number) || (number == 0 && !same_number(d, "0", 1)))
		return values_out_of_range(reader, reason);

	bool held = reader->field->type == BQ_FLOAT64
					? (double) number == strtod(text, NULL)
					: same_number(d, shown, float_to_shortest_decimal_bufn(number, shown));

	if (!held)
		return values_inexact(reader, reason);
	*value = Float4GetDatum(number);
	return VALUE_OK;
}

ValueResult
values_read_float(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	const char *p = cell->data, *end = cell->data + cell->len;
	Decimal d = {.plain = true};

	values_trim(&p, &end);
	if (!values_parse_decimal(p, end, &d))
	{
		if (!values_is_special_number(p, end))
			return values_bad(reason, "not a number");

		double special = *p == 'n' || *p == 'N' ? NAN : *p == '-' ? -INFINITY : INFINITY;

		*value = reader->type == FLOAT8OID ? Float8GetDatum(special) : Float4GetDatum((float4) special);
		return VALUE_OK;
	}

	/* the server's LC_NUMERIC is always C */
	char *text = pnstrdup(p, end - p);
	ValueResult result = reader->type == FLOAT8OID ? make_double(reader, &d, text, value, reason)
												   : make_real(reader, &d, text, value, reason);

	pfree(text);
	return result;
}

/* --------------------------------------------------------------------------
 * Booleans
 * -------------------------------------------------------------------------- */

ValueResult
values_read_bool(ValueReader *reader pg_attribute_unused(), const RowsCell *cell, Datum *value, const char **reason)
{
	const char *p = cell->data, *end = cell->data + cell->len;
	bool truth;

	values_trim(&p, &end);
	if (!parse_bool_with_len(p, end - p, &truth))
		return values_bad(reason, "neither true nor false");
	*value = BoolGetDatum(truth);
	return VALUE_OK;
}
