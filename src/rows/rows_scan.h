/*
 * rows_scan.h
 *	  The innermost loop of the decoder: it finds the end of plain text.
 *
 * A page is nearly all string contents, so this loop decides how fast it is
 * decoded.  It is a header only so that it can be inlined.
 *
 * With -DROWS_SCAN_PORTABLE the SSE2 variant is left out (the unit tests
 * build both).
 */
#ifndef CONTRATOS_ROWS_SCAN_H
#define CONTRATOS_ROWS_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && defined(__GNUC__) && !defined(ROWS_SCAN_PORTABLE)
#define ROWS_SCAN_SSE2
#include <emmintrin.h>
#endif

/* The range of the next byte of a UTF-8 sequence, and the number of bytes to come. */
typedef struct RowsUtf8
{
	unsigned char min;
	unsigned char max;
	unsigned char left; /* 0: no sequence is open */
} RowsUtf8;

/*
 * The bytes that must follow this first byte (0x80 or above) of a sequence; .left is 0
 * for an invalid first byte.  The narrow ranges after E0, ED, F0 and F4 exclude
 * overlong forms, surrogates and code points above U+10FFFF.
 */
static inline RowsUtf8
rows_utf8_lead(unsigned char c)
{
	if (c < 0xC2 || c > 0xF4)
		return (RowsUtf8){.left = 0};
	if (c < 0xE0)
		return (RowsUtf8){.min = 0x80, .max = 0xBF, .left = 1};
	if (c < 0xF0)
		return (RowsUtf8){.min = c == 0xE0 ? 0xA0 : 0x80, .max = c == 0xED ? 0x9F : 0xBF, .left = 2};
	return (RowsUtf8){.min = c == 0xF0 ? 0x90 : 0x80, .max = c == 0xF4 ? 0x8F : 0xBF, .left = 3};
}

/* Take one more byte of the open sequence; false when it is invalid. */
static inline bool
rows_utf8_next(RowsUtf8 *u, unsigned char c)
{
	if (c < u->min || c > u->max)
		return false;
	*u = (RowsUtf8){.min = 0x80, .max = 0xBF, .left = u->left - 1};
	return true;
}

/* The length of the whole, valid sequence at p; 0 if it is incomplete or invalid. */
static inline size_t
rows_utf8_length(const char *p, const char *end)
{
	RowsUtf8 u = rows_utf8_lead((unsigned char) *p);
	size_t n = 1;

	if (u.left == 0 || end - p <= u.left)
		return 0;
	while (u.left > 0)
		if (!rows_utf8_next(&u, (unsigned char) p[n++]))
			return 0;
	return n;
}

static inline bool
rows_is_plain(char c)
{
	return (unsigned char) c >= 0x20 && (unsigned char) c < 0x80 && c != '"' && c != '\\';
}

#ifdef ROWS_SCAN_SSE2

/* The first byte at or after p that is not plain ASCII text, or end. */
static inline const char *
rows_scan_plain(const char *p, const char *end)
{
	for (; end - p >= 16; p += 16)
	{
		__m128i x = _mm_loadu_si128((const __m128i *) p);
		__m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
		__m128i backslash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
		/* signed: bytes from 0x80 are negative, so below 0x20 as well */
		__m128i odd = _mm_cmplt_epi8(x, _mm_set1_epi8(0x20));
		int found = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), odd));

		if (found != 0)
			return p + __builtin_ctz((unsigned int) found);
	}
	while (p < end && rows_is_plain(*p))
		p++;
	return p;
}

#else

/* Not zero when one of the eight bytes is zero. */
static inline uint64_t
rows_any_zero(uint64_t x)
{
	return (x - UINT64_C(0x0101010101010101)) & ~x & UINT64_C(0x8080808080808080);
}

/*
 * The first byte at or after p that is not plain ASCII text, or end.  Eight bytes at a
 * time are only checked for such a byte; the byte loop finds it, so the order of bytes
 * in a word does not matter.
 */
static inline const char *
rows_scan_plain(const char *p, const char *end)
{
	for (; end - p >= 8; p += 8)
	{
		uint64_t x;

		memcpy(&x, p, 8);
		/* clearing the low five bits leaves zero for control characters only */
		if ((x & UINT64_C(0x8080808080808080)) != 0 || rows_any_zero(x & UINT64_C(0xE0E0E0E0E0E0E0E0)) != 0 ||
			rows_any_zero(x ^ UINT64_C(0x2222222222222222)) != 0 ||
			rows_any_zero(x ^ UINT64_C(0x5C5C5C5C5C5C5C5C)) != 0)
			break;
	}
	while (p < end && rows_is_plain(*p))
		p++;
	return p;
}

#endif

#ifdef ROWS_COUNT_SCANNED
/* For the test that checks that each byte is scanned once. */
extern uint64_t rows_scanned;
#define ROWS_SCANNED(n) (rows_scanned += (uint64_t) (n))
#else
#define ROWS_SCANNED(n) ((void) 0)
#endif

/*
 * The first byte at or after p that is not a regular part of the string, or end: a
 * quote, a backslash, a control character, or the start of a UTF-8 sequence that is
 * invalid or reaches beyond end.
 */
static inline const char *
rows_scan_string(const char *p, const char *end)
{
	for (;;)
	{
		const char *from = p;

		p = rows_scan_plain(from, end);
		ROWS_SCANNED(p - from);
		if (p == end || (unsigned char) *p < 0x80)
			return p;
		do
		{
			size_t n = rows_utf8_length(p, end);

			if (n == 0)
				return p;
			p += n;
		} while (p < end && (unsigned char) *p >= 0x80);
	}
}

#endif /* CONTRATOS_ROWS_SCAN_H */
