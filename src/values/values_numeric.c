/*
 * values_numeric.c
 *	  Decimal text → numeric.
 *
 * This file decides what a number is, by one grammar for every version: blanks, sign,
 * digits with at most one point, exponent, blanks; or NaN and the infinities in any
 * case.  PostgreSQL 15's numeric_in() accepts the same; the hexadecimal, octal, binary
 * and underscored numbers of 16 and later are rejected, or a value would depend on the
 * server's version.  So are blanks between an E and its exponent, which 15 accepts and
 * 16 does not.
 *
 * numeric_in() throws on invalid input, so it is only called with texts known to be
 * well-formed and in range.  Plain numbers of up to 256 digits before the point and 63
 * after it do not go through it at all: they are written in the format in which
 * numeric.c stores them on disk (its "short" format), which makes a load with a numeric
 * column as fast as one without.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "rows/rows.h"
#include "values/values_internal.h"

/* The limits of numeric: NUMERIC_WEIGHT_MAX and NUMERIC_DSCALE_MAX of numeric.c */
#define MAX_DIGITS_BEFORE 131072
#define MAX_DIGITS_AFTER 16383

/*
 * numeric.c's short format: one header word, then the digits in base 10000
 * without leading and trailing zeros.
 */
#define SHORT_HEADER 0x8000
#define SHORT_NEGATIVE 0x2000
#define SHORT_DSCALE_SHIFT 7
#define SHORT_DSCALE_MAX 0x3F
#define SHORT_WEIGHT_MASK 0x7F /* seven bits, two's complement */
#define SHORT_WEIGHT_MAX 0x3F
#define SHORT_DIGITS_BEFORE ((SHORT_WEIGHT_MAX + 1) * 4)
#define SHORT_MAX_GROUPS (SHORT_WEIGHT_MAX + 1 + (SHORT_DSCALE_MAX + 3) / 4)

bool
values_is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

void
values_trim(const char **p, const char **end)
{
	while (*p < *end && values_is_blank(**p))
		(*p)++;
	while (*p < *end && values_is_blank((*end)[-1]))
		(*end)--;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *
skip_digits(const char *p, const char *end)
{
	while (p < end && is_digit(*p))
		p++;
	return p;
}

bool
values_is_special_number(const char *p, const char *end)
{
	static const char *const names[] = {"nan", "infinity", "+infinity", "-infinity", "inf", "+inf", "-inf"};

	for (size_t i = 0; i < lengthof(names); i++)
	{
		if ((size_t) (end - p) == strlen(names[i]) && pg_strncasecmp(p, names[i], end - p) == 0)
			return true;
	}
	return false;
}

/* Parse the part after the E; an exponent out of range is clamped. */
static bool
parse_exponent(const char *p, const char *end, int64 *exponent)
{
	bool negative = p < end && *p == '-';
	int64 value = 0;

	if (p < end && (*p == '-' || *p == '+'))
		p++;
	if (p == end)
		return false;
	for (; p < end; p++)
	{
		if (!is_digit(*p))
			return false;
		value = Min(value * 10 + (*p - '0'), INT_MAX);
	}
	*exponent = negative ? -value : value;
	return true;
}

bool
values_parse_decimal(const char *p, const char *end, Decimal *d)
{
	d->negative = p < end && *p == '-';
	if (p < end && (*p == '-' || *p == '+'))
		p++;

	const char *digits = p;

	p = skip_digits(p, end);

	size_t ndigits = p - digits;

	while (digits < p && *digits == '0')
		digits++;
	d->before = digits;
	d->nbefore = p - digits;
	if (p < end && *p == '.')
		p++;
	d->after = p;
	if (p > d->before + d->nbefore)
		p = skip_digits(p, end);
	d->nafter = p - d->after;
	d->exponent = 0;
	if (ndigits + d->nafter == 0)
		return false;
	if (p == end)
		return true;
	d->plain = false;
	return (*p == 'e' || *p == 'E') && parse_exponent(p + 1, end, &d->exponent);
}

char
values_digit(const Decimal *d, size_t i)
{
	return i < d->nbefore ? d->before[i] : d->after[i - d->nbefore];
}

void
values_significant(const Decimal *d, size_t *first, size_t *ndigits, int64 *places)
{
	size_t end = d->nbefore + d->nafter;

	*first = 0;
	while (end > 0 && values_digit(d, end - 1) == '0')
		end--;
	while (*first < end && values_digit(d, *first) == '0')
		(*first)++;
	*ndigits = end - *first;
	*places = *ndigits == 0 ? 0 : (int64) d->nbefore - (int64) *first + d->exponent;
}

static bool
is_in_range(const Decimal *d)
{
	/* numeric_in() rejects such an exponent even for 0 */
	if (d->exponent >= INT_MAX / 2 || d->exponent <= -(INT_MAX / 2))
		return false;

	size_t first, ndigits;
	int64 places;

	values_significant(d, &first, &ndigits, &places);
	return places <= MAX_DIGITS_BEFORE && (int64) d->nafter - d->exponent <= MAX_DIGITS_AFTER;
}

/* Four digits from p on, filled up with zeros at the end of the text. */
static int16
group_of(const char *p, const char *end)
{
	int group = 0;

	for (int i = 0; i < 4; i++)
		group = group * 10 + (p + i < end ? p[i] - '0' : 0);
	return (int16) group;
}

/*
 * Write the base-10000 digits of a number, without leading zeros.  *weight becomes the
 * power of the first one.  Returns the number of digits.
 */
static int
make_groups(const Decimal *d, int16 *groups, int *weight)
{
	const char *p = d->before;
	const char *end = d->before + d->nbefore;
	int n = 0;

	*weight = (int) (d->nbefore + 3) / 4 - 1;
	/* the first group has the remaining digits (not a multiple of four), and is never 0 */
	if (d->nbefore % 4 != 0)
	{
		int first = 0;

		for (size_t i = 0; i < d->nbefore % 4; i++)
			first = first * 10 + (*p++ - '0');
		groups[n++] = (int16) first;
	}
	for (; p < end; p += 4)
		groups[n++] = group_of(p, end);
	end = d->after + d->nafter;
	for (p = d->after; p < end; p += 4)
	{
		groups[n] = group_of(p, end);
		if (n == 0 && groups[0] == 0)
			(*weight)--;
		else
			n++;
	}
	return n;
}

static bool
fits_short(const Decimal *d)
{
	return d->plain && d->nbefore <= SHORT_DIGITS_BEFORE && d->nafter <= SHORT_DSCALE_MAX;
}

/*
 * A number that fits the short format, as numeric.c's make_result() writes it; shown
 * with `dscale` digits after the point, which must be at least as many as it has.
 */
static Datum
write_short(const Decimal *d, size_t dscale)
{
	int16 groups[SHORT_MAX_GROUPS];
	int weight;
	int n = make_groups(d, groups, &weight);

	while (n > 0 && groups[n - 1] == 0)
		n--;

	uint16 header = SHORT_HEADER | (uint16) (dscale << SHORT_DSCALE_SHIFT);

	/* 0 has neither sign nor weight */
	if (n > 0)
		header |= (d->negative ? SHORT_NEGATIVE : 0) | (weight & SHORT_WEIGHT_MASK);

	Size size = VARHDRSZ + sizeof(header) + n * sizeof(int16);
	char *result = palloc(size);

	SET_VARSIZE(result, size);
	memcpy(result + VARHDRSZ, &header, sizeof(header));
	memcpy(result + VARHDRSZ + sizeof(header), groups, n * sizeof(int16));
	return PointerGetDatum(result);
}

bool
values_write_numeric(const char *data, size_t len, Datum *value)
{
	Decimal d = {.plain = true};

	if (!values_parse_decimal(data, data + len, &d) || !fits_short(&d))
		return false;
	*value = write_short(&d, d.nafter);
	return true;
}

/* For text known to be well-formed and in range. */
static Datum
by_numeric_in(const char *data, size_t len, int32 typmod)
{
	char *text = pnstrdup(data, len);
	Datum value =
		DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(typmod));

	pfree(text);
	return value;
}

/* Numbers to compare: written by hand, they must equal the results of the server. */
bool
values_numeric_layout_known(void)
{
	static const char *const samples[] = {"0.00", "-12345678.0009", "0.00000000125", "10000"};

	for (size_t i = 0; i < lengthof(samples); i++)
	{
		Decimal d = {.plain = true};
		Datum theirs = by_numeric_in(samples[i], strlen(samples[i]), -1);

		if (!values_parse_decimal(samples[i], samples[i] + strlen(samples[i]), &d))
			return false;

		Datum ours = write_short(&d, d.nafter);

		if (VARSIZE(DatumGetPointer(ours)) != VARSIZE(DatumGetPointer(theirs)) ||
			memcmp(DatumGetPointer(ours), DatumGetPointer(theirs), VARSIZE(DatumGetPointer(ours))) != 0)
			return false;
	}
	return true;
}

/*
 * A number with a typmod has exactly the number of decimal places that it says, and
 * must not be rounded to it.  The scale may be negative: then as many digits before the
 * point must be 0.
 */
static ValueResult
make_with_typmod(ValueReader *reader, const char *p, const char *end, Decimal *d, Datum *value, const char **reason)
{
	/* in the encoding of numeric.c */
	int precision = ((reader->typmod - VARHDRSZ) >> 16) & 0xffff;
	int scale = (((reader->typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	size_t dscale = Max(scale, 0);
	size_t first, ndigits;
	int64 places;

	values_significant(d, &first, &ndigits, &places);
	if (ndigits > 0 && places > precision - scale)
		return values_out_of_range(reader, reason);
	if (ndigits > 0 && (int64) ndigits - places > scale)
		return values_inexact(reader, reason);
	/* only zeros are cut off */
	if (reader->by_hand && fits_short(d) && dscale <= SHORT_DSCALE_MAX)
	{
		d->nafter = Min(d->nafter, dscale);
		*value = write_short(d, dscale);
	}
	else
		*value = by_numeric_in(p, end - p, reader->typmod);
	return VALUE_OK;
}

ValueResult
values_read_numeric(ValueReader *reader, const RowsCell *cell, Datum *value, const char **reason)
{
	const char *p = cell->data, *end = cell->data + cell->len;

	values_trim(&p, &end);

	Decimal d = {.plain = (size_t) (end - p) == cell->len};

	if (!values_parse_decimal(p, end, &d))
	{
		if (!values_is_special_number(p, end))
			return values_bad(reason, "not a number");
		/* any numeric can be NaN, but only one without typmod an infinity */
		if (reader->typmod >= (int32) VARHDRSZ && *p != 'n' && *p != 'N')
			return values_out_of_range(reader, reason);
		*value = by_numeric_in(p, end - p, -1);
		return VALUE_OK;
	}
	if (!is_in_range(&d))
		return values_bad(reason, "out of range of numeric");
	if (reader->typmod >= (int32) VARHDRSZ)
		return make_with_typmod(reader, p, end, &d, value, reason);
	*value = reader->by_hand && fits_short(&d) ? write_short(&d, d.nafter) : by_numeric_in(p, end - p, -1);
	return VALUE_OK;
}
