/*
 * values_numeric.c
 *	  Decimal text → numeric.
 *
 * What is a number is decided here, by one grammar on every version: blanks,
 * sign, digits with at most one point, exponent, blanks; or NaN and the
 * infinities in any case.  That is what PostgreSQL 15's numeric_in() accepts;
 * the hexadecimal, octal, binary and underscored numbers of 16 and later are
 * refused, or a value would depend on the server's version.  So are blanks
 * between an E and its exponent, which 15 lets pass and 16 does not.
 *
 * numeric_in() throws on what it does not like, so it only ever sees what is
 * known to be well-formed and within range.  Plain numbers of up to 256 digits
 * before the point and 63 after it do not even go there: they are written as
 * numeric.c stores them on disk (its "short" format), which is what makes a
 * load with a numeric column as fast as one without.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "values_internal.h"

/* What numeric can hold: NUMERIC_WEIGHT_MAX and NUMERIC_DSCALE_MAX of numeric.c */
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

/* A number taken apart; the pointers point into its text. */
typedef struct Decimal
{
	bool negative;
	bool plain; /* neither blanks nor exponent */
	const char *before; /* digits before the point, from the first that is
						 * not 0 */
	size_t nbefore;
	const char *after; /* digits after the point */
	size_t nafter;
	int64 exponent;
} Decimal;

/* isspace() of the C locale, whatever the server's. */
static bool
is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
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

/* NaN, Infinity, inf, the latter two with a sign. */
static bool
is_special(const char *p, const char *end)
{
	static const char *const names[] = {"nan", "infinity", "+infinity", "-infinity", "inf", "+inf", "-inf"};

	for (size_t i = 0; i < lengthof(names); i++)
	{
		if ((size_t) (end - p) == strlen(names[i]) && pg_strncasecmp(p, names[i], end - p) == 0)
			return true;
	}
	return false;
}

/* The rest after the E; an exponent beyond what fits is kept beyond the bounds. */
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

/* Take a number without blanks around it apart; false when it is none. */
static bool
parse_decimal(const char *p, const char *end, Decimal *d)
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

/* How many places before the point the number has: 0 for 0.5, -2 for 0.005. */
static int64
places_before(const Decimal *d)
{
	size_t zeros = 0;

	if (d->nbefore > 0)
		return (int64) d->nbefore + d->exponent;
	while (zeros < d->nafter && d->after[zeros] == '0')
		zeros++;
	/* nothing but zeros is small, whatever its exponent */
	return zeros == d->nafter ? 0 : d->exponent - (int64) zeros;
}

static bool
is_in_range(const Decimal *d)
{
	/* numeric_in() refuses such an exponent even of 0 */
	if (d->exponent >= INT_MAX / 2 || d->exponent <= -(INT_MAX / 2))
		return false;
	return places_before(d) <= MAX_DIGITS_BEFORE && (int64) d->nafter - d->exponent <= MAX_DIGITS_AFTER;
}

/* Four digits from p on, the last ones being 0 where the text ends. */
static int16
group_of(const char *p, const char *end)
{
	int group = 0;

	for (int i = 0; i < 4; i++)
		group = group * 10 + (p + i < end ? p[i] - '0' : 0);
	return (int16) group;
}

/*
 * The base-10000 digits of a number, leading zeros left out.  *weight becomes
 * the power of the first one.  Returns how many there are.
 */
static int
make_groups(const Decimal *d, int16 *groups, int *weight)
{
	const char *p = d->before;
	const char *end = d->before + d->nbefore;
	int n = 0;

	*weight = (int) (d->nbefore + 3) / 4 - 1;
	/* the first group is what four does not divide, and never 0 */
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

/* A number that fits the short format, as numeric.c's make_result() writes it. */
static Datum
write_short(const Decimal *d)
{
	int16 groups[SHORT_MAX_GROUPS];
	int weight;
	int n = make_groups(d, groups, &weight);

	while (n > 0 && groups[n - 1] == 0)
		n--;

	uint16 header = SHORT_HEADER | (uint16) (d->nafter << SHORT_DSCALE_SHIFT);

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

/* Of text known to be well-formed and in range. */
static Datum
by_numeric_in(const char *data, size_t len)
{
	char *text = pnstrdup(data, len);
	Datum value =
		DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

	pfree(text);
	return value;
}

/* Written by hand, these must be what the server itself makes of them. */
bool
values_numeric_layout_known(void)
{
	static const char *const samples[] = {"0.00", "-12345678.0009", "0.00000000125", "10000"};

	for (size_t i = 0; i < lengthof(samples); i++)
	{
		Decimal d = {.plain = true};
		Datum theirs = by_numeric_in(samples[i], strlen(samples[i]));

		if (!parse_decimal(samples[i], samples[i] + strlen(samples[i]), &d))
			return false;

		Datum ours = write_short(&d);

		if (VARSIZE(DatumGetPointer(ours)) != VARSIZE(DatumGetPointer(theirs)) ||
			memcmp(DatumGetPointer(ours), DatumGetPointer(theirs), VARSIZE(DatumGetPointer(ours))) != 0)
			return false;
	}
	return true;
}

ValueResult
values_read_numeric(const char *data, size_t len, bool by_hand, Datum *value, const char **reason)
{
	const char *p = data;
	const char *end = data + len;

	while (p < end && is_blank(*p))
		p++;
	while (p < end && is_blank(end[-1]))
		end--;

	Decimal d = {.plain = (size_t) (end - p) == len};

	if (parse_decimal(p, end, &d))
	{
		if (!is_in_range(&d))
		{
			*reason = "out of range of numeric";
			return VALUE_BAD;
		}
		*value = by_hand && fits_short(&d) ? write_short(&d) : by_numeric_in(p, end - p);
		return VALUE_OK;
	}
	if (!is_special(p, end))
	{
		*reason = "not a number";
		return VALUE_BAD;
	}
	*value = by_numeric_in(p, end - p);
	return VALUE_OK;
}
