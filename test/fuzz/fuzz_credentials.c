/*
 * fuzz_credentials.c
 *	  libFuzzer target: a credentials file, the file with a subject token that it may name,
 *	  and the answers to token requests.
 *
 * The input is their texts, separated by NUL bytes; the first byte of an answer is its
 * HTTP status, as an index.  Of what is in the files no message shows anything that
 * must be hidden; a secret is sent to Google's hosts and to this machine only; and a
 * token can be put into a header line.
 */
#include "harness.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/auth_internal.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "http/http.h"
#include "http/http_internal.h"
#include "storage/fd.h"

#define CREDENTIALS "/credentials.json"

/* What no text of the corpus has but secrets, and all of them have. */
#define SECRET "SECRET!!"

static struct
{
	const char *file, *subject, *answers;
	size_t file_len, subject_len, answers_len;
} given;

/* --------------------------------------------------------------------------
 * Files and network
 * -------------------------------------------------------------------------- */

int
OpenTransientFile(const char *fileName, int fileFlags)
{
	static int file = -1, subject = -1;
	bool first = strcmp(fileName, CREDENTIALS) == 0;
	int *fd = first ? &file : &subject;
	const char *text = first ? given.file : given.subject;
	size_t len = first ? given.file_len : given.subject_len;

	if (*fd < 0)
	{
		*fd = memfd_create("fuzz", 0);
		fchmod(*fd, 0600);
	}
	property(fileName[0] == '/', "opens %s", fileName);
	if (ftruncate(*fd, 0) != 0 || pwrite(*fd, text, len, 0) != (ssize_t) len || lseek(*fd, 0, SEEK_SET) != 0)
		abort();
	return *fd;
}

int
CloseTransientFile(int fd)
{
	return 0;
}

void
http_pause(int ms)
{
	property(ms > 0, "a pause of %d ms", ms);
}

bool
jwt_sign(const char *pem, const char *kid, const char *claims, StringInfo out, Failure *f)
{
	json_t *object = json_loads(claims, 0, NULL);

	property(json_is_object(object), "claims %s", claims);
	json_decref(object);
	if (strstr(pem, "BEGIN") == NULL)
		return failure_set(f, ERRCODE_CONFIG_FILE_ERROR, "its private key cannot be read");
	appendStringInfoString(out, "eyJ");
	return true;
}

static bool
ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && strcmp(text + len - n, end) == 0;
}

/* Each has its host checked by libcurl's parser, in its own form. */
bool
http_fetch(HttpClient *client, const HttpRequest *request, HttpResponse *response, Failure *f)
{
	static const int statuses[] = {200, 400, 401, 403, 404, 302, 429, 500, 503, 504};
	HttpUrl parts;
	const char *end = memchr(given.answers, '\0', given.answers_len);
	size_t len = end ? (size_t) (end - given.answers) : given.answers_len;
	bool google;

	if (!http_url_parse(request->url, request->metadata, &parts, f))
	{
		property(false, "requests %s", request->url);
		return false;
	}
	for (char *c = parts.host; *c != '\0'; c++)
		*c = (char) pg_ascii_tolower((unsigned char) *c);
	google = ends_with(parts.host, ".googleapis.com") || strcmp(parts.host, "accounts.google.com") == 0;
	/* the URL of a subject token is anybody's, and gets nothing but what the file says */
	property(google || parts.loopback || (request->body == NULL && request->bearer == NULL), "sends a secret to %s",
			 parts.host);
	property(google ? parts.tls : true, "plain http to %s", parts.host);

	*response = (HttpResponse){.status = 200, .body = pstrdup("")};
	if (len > 0)
	{
		response->status = statuses[((unsigned char) given.answers[0] + 2) % lengthof(statuses)] /* '0' is the first */;
		response->body = pnstrdup(given.answers + 1, len - 1);
		response->len = len - 1;
	}
	/* the last answer is given again and again */
	if (end != NULL)
	{
		given.answers_len -= len + 1;
		given.answers = end + 1;
	}
	return true;
}

/* --------------------------------------------------------------------------
 * Properties
 * -------------------------------------------------------------------------- */

static void
check_token(const AuthToken *token)
{
	property(token->text[0] != '\0' && strlen(token->text) <= 14 * 1024, "a token of %zu bytes", strlen(token->text));
	for (const char *c = token->text; *c != '\0'; c++)
		property(*c > ' ' && *c <= '~', "a token with the byte %d", *c);
	property(token->life_s >= 0 && token->life_s <= 24 * 3600, "a token for " INT64_FORMAT " s", token->life_s);
}

/* Texts that `asker` hides are in no text of the failure. */
static void
check_hidden(const AuthAsker *asker, const Failure *f)
{
	ListCell *cell;

	/* others may be words of our own messages by chance */
	foreach (cell, asker->hidden)
	{
		if (strstr(lfirst(cell), SECRET) != NULL)
			check_failure_hides(f, lfirst(cell));
	}
}

int
fuzz_input(const uint8_t *data, size_t size)
{
	static const AuthConfig config = {.credentials_file = CREDENTIALS, .connect_timeout_ms = 1000, .timeout_ms = 10000};
	AuthAsker asker = {.config = &config, .scope = AUTH_SCOPE_BIGQUERY, .hidden = NIL};
	AuthSource source;
	AuthFileId id;
	AuthToken token;
	Failure f = {0};
	const char *end, *rest;

	/* three texts, the last two may be missing */
	given.file = copy_of(data, size);
	rest = given.file + size;
	end = memchr(given.file, '\0', size + 1);
	given.file_len = end - given.file;
	given.subject = end < rest ? end + 1 : rest;
	end = given.subject + strnlen(given.subject, rest - given.subject);
	given.subject_len = end - given.subject;
	given.answers = end < rest ? end + 1 : rest;
	given.answers_len = rest - given.answers;

	if (!auth_source_open(&config, &source, &id, &f))
	{
		check_failure_hides(&f, SECRET);
		property(f.hint[0] != '\0' && f.every_day && f.retry == FAILURE_FINAL, "a file that is refused: %s", f.message);
		property(source.doc == NULL, "a refused file's content is kept");
		return 0;
	}

	/* the name of a file is no secret: errors show it */
	const char *path = json_string_at(source.doc, "credential_source.file");

	if (path != NULL && strstr(path, SECRET) != NULL)
	{
		auth_source_close(&source);
		return 0;
	}

	char *principal = source.kind->principal(&source);

	property(principal == NULL || is_utf8(principal), "the account's name");
	if (source.kind->inspect != NULL && !source.kind->inspect(&source, &f))
		check_failure_hides(&f, SECRET);

	asker.until = clock_ms() + config.timeout_ms;
	if (source.kind->fetch(&source, &asker, &token, &f))
		check_token(&token);
	else
	{
		check_failure(&f);
		check_hidden(&asker, &f);
	}
	auth_source_close(&source);
	return 0;
}
