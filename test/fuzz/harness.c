/*
 * harness.c
 *	  See harness.h.
 */
#include "harness.h"

/* the server's own are not linked in */
#undef fprintf
#undef vfprintf

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int result = fuzz_input(data, size);

	end_input();
	return result;
}

char *
copy_of(const uint8_t *data, size_t size)
{
	char *copy = palloc(size + 1);

	memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

void
property(bool holds, const char *format, ...)
{
	va_list args;

	if (holds)
		return;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

/* By the ranges of RFC 3629. */
bool
is_utf8(const char *text)
{
	const unsigned char *c = (const unsigned char *) text;

	while (*c != '\0')
	{
		int more = *c < 0x80 ? 0 : *c >= 0xC2 && *c <= 0xDF ? 1 : *c >= 0xE0 && *c <= 0xEF ? 2 : 3;

		if (*c >= 0x80 && (*c < 0xC2 || *c > 0xF4))
			return false;
		if ((c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xED && c[1] > 0x9F) || (c[0] == 0xF0 && c[1] < 0x90) ||
			(c[0] == 0xF4 && c[1] > 0x8F))
			return false;
		for (c++; more > 0; more--, c++)
			if ((*c & 0xC0) != 0x80)
				return false;
	}
	return true;
}

void
check_failure(const Failure *f)
{
	property(f->sqlstate != 0, "a refusal without SQLSTATE: %s", f->message);
	property(f->message[0] != '\0', "a refusal without a message");
	property(memchr(f->message, '\0', sizeof(f->message)) != NULL &&
				 memchr(f->detail, '\0', sizeof(f->detail)) != NULL && memchr(f->hint, '\0', sizeof(f->hint)) != NULL &&
				 memchr(f->reason, '\0', sizeof(f->reason)) != NULL,
			 "a text without an end");
	property(is_utf8(f->message) && is_utf8(f->detail) && is_utf8(f->hint) && is_utf8(f->reason),
			 "not UTF-8: %s\n%s\n%s\n%s", f->message, f->detail, f->hint, f->reason);
}

void
check_failure_hides(const Failure *f, const char *secret)
{
	check_failure(f);
	property(strstr(f->message, secret) == NULL && strstr(f->detail, secret) == NULL &&
				 strstr(f->hint, secret) == NULL && strstr(f->reason, secret) == NULL,
			 "it shows \"%s\": %s\n%s\n%s\n%s", secret, f->message, f->detail, f->hint, f->reason);
}
