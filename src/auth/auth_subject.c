/*
 * auth_subject.c
 *	  The subject token of an external account: a token in which another provider states
 *	  this server's identity, from a file that another program keeps fresh, or from a
 *	  URL.
 *
 * It is read again for each exchange.  It is never shown, and neither are the URL and
 * its answers: the URL may point to any internal host.
 *
 * The file belongs to another program: for example, the kubelet writes it, as root,
 * often readable by all users.  So its mode is judged by who can change it, not by who
 * can read it: the token is short-lived and valid for one audience only, but a user who
 * replaces it decides which identity this server has.
 */
#include "postgres.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"

#include "auth/auth_internal.h"
#include "base/failure.h"
#include "http/http.h"

#define MAX_TOKEN_FILE (64 * 1024)
#define MAX_HEADERS 16

static bool
is_json(const AuthSource *source)
{
	const char *type = auth_source_text(source, "credential_source.format.type");

	return type != NULL && strcmp(type, "json") == 0;
}

/* Sources that Google's libraries support and this extension does not; false with *f set for one of these. */
static bool
check_supported(const AuthSource *source, Failure *f)
{
	if (json_has(source->doc, "credential_source.environment_id"))
		return auth_source_wrong(source, "credential_source.environment_id", f, "AWS as a source is not supported",
								 "Use the key of a service account, or a provider whose tokens come from a file or a "
								 "URL (EKS projects an OpenID Connect token into a file).");
	if (json_has(source->doc, "credential_source.executable"))
		return auth_source_wrong(source, "credential_source.executable", f, "programs are not run",
								 "Have the program write its token into a file, and name that in "
								 "credential_source.file.");
	if (json_has(source->doc, "credential_source.certificate"))
		return auth_source_wrong(source, "credential_source.certificate", f, "X.509 certificates are not supported",
								 "Use a provider whose tokens come from a file or a URL.");
	return true;
}

static bool
check_format(const AuthSource *source, Failure *f)
{
	static const char *const name[] = {"credential_source.format.subject_token_field_name", NULL};
	const char *type = auth_source_text(source, "credential_source.format.type");

	if (is_json(source))
		return auth_source_has(source, name, f);
	if (type != NULL && strcmp(type, "text") != 0)
		return auth_source_wrong(source, "credential_source.format.type", f, "unknown format",
								 "The formats are text and json.");
	return true;
}

/* The headers must not change which request is sent. */
static bool
check_subject_headers(const AuthSource *source, Failure *f)
{
	static const char *const ours[] = {"host", "content-length", "transfer-encoding", "connection"};
	const char *name;
	const char *value;

	for (int n = 0; json_member_at(source->doc, "credential_source.headers", n, &name, &value); n++)
	{
		bool wrong = value == NULL || n == MAX_HEADERS;

		for (size_t i = 0; i < lengthof(ours); i++)
			wrong = wrong || pg_strcasecmp(name, ours[i]) == 0;
		if (wrong)
			return auth_source_wrong(source, "credential_source.headers", f, "not all of these headers can be sent",
									 "Headers are texts, 16 at most; Host, Content-Length, Transfer-Encoding and "
									 "Connection are set by this extension.");
	}
	return true;
}

bool
auth_subject_check(const AuthSource *source, Failure *f)
{
	const char *file = auth_source_text(source, "credential_source.file");
	const char *url = auth_source_text(source, "credential_source.url");
	Failure why;

	if (!check_supported(source, f) || !check_format(source, f) || !check_subject_headers(source, f))
		return false;
	if ((file == NULL) == (url == NULL))
		return auth_source_wrong(source, "credential_source", f, "it must name either a file or a URL",
								 "Have the file made by \"gcloud iam workload-identity-pools create-cred-config\".");
	if (file != NULL && !is_absolute_path(file))
		return auth_source_wrong(source, "credential_source.file", f, "it is not an absolute path",
								 "The file is on the machine that runs the server; name it from / on.");
	if (url != NULL && http_url_host(url, true, &why) == NULL)
		return auth_source_wrong(source, "credential_source.url", f, why.message,
								 "Plain http is for this machine and the metadata server (169.254.169.254) only.");
	return true;
}

/* Set *f for a token file that cannot be used, from errno. */
static bool
subject_file_failure(const char *path, Failure *f)
{
	int saved = errno;

	failure_set(f, auth_key_sqlstate(saved), "could not read subject token file \"%s\": %s", path, strerror(saved));
	failure_hint(f, "It must be on the machine that runs the server, and readable by its operating system user.");
	/* another program writes it, and may be late */
	f->retry = FAILURE_ASK_AGAIN;
	f->every_day = true;
	return false;
}

/* Whether nobody but root and the server's user can replace the token. */
static bool
check_subject_file(const char *path, const struct stat *st, Failure *f)
{
	if (!S_ISREG(st->st_mode))
		failure_set(f, ERRCODE_WRONG_OBJECT_TYPE, "subject token file \"%s\" is not a regular file", path);
	else if (st->st_size > MAX_TOKEN_FILE)
		failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "subject token file \"%s\" is larger than %d kB", path,
					MAX_TOKEN_FILE / 1024);
	else if ((st->st_uid != geteuid() && st->st_uid != 0) || (st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
	{
		failure_set(f, ERRCODE_INSUFFICIENT_PRIVILEGE, "subject token file \"%s\" can be changed by other users", path);
		failure_detail(f, "Its owner has the user id %u, its mode is %04o.", (unsigned) st->st_uid,
					   (unsigned) (st->st_mode & 07777));
		failure_hint(
			f,
			"It must belong to the user that runs the server, or to root, and no other user may be able to write it.");
	}
	else
		return true;
	f->every_day = true;
	return false;
}

/* Read the file into a buffer that is overwritten later; NULL with *f set. */
static StringInfo
read_file(const char *path, Failure *f)
{
	StringInfo text = auth_secret(MAX_TOKEN_FILE);
	struct stat st;
	ssize_t len = -1;
	/* opening a named pipe must not block, and fstat() comes later */
	int fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);

	if (fd < 0)
	{
		subject_file_failure(path, f);
		return NULL;
	}
	if (fstat(fd, &st) != 0)
		subject_file_failure(path, f);
	else if (check_subject_file(path, &st, f) && (len = read(fd, text->data, MAX_TOKEN_FILE)) < 0)
		subject_file_failure(path, f);
	CloseTransientFile(fd);
	if (len < 0)
		return NULL;
	text->len = (int) len;
	text->data[len] = '\0';
	return text;
}

/* The token in the content of the file or in the answer; NULL if there is none. */
static const char *
extract(const AuthSource *source, StringInfo text)
{
	JsonDoc *doc;
	const char *token;
	char *end;

	if (is_json(source))
	{
		/* it is freed, and overwritten, with the context in which the token is used */
		doc = json_parse_document(text->data, text->len, NULL);
		token = doc ? json_string_at(doc, auth_source_text(source, "credential_source.format.subject_token_field_name"))
					: NULL;
		return token != NULL && token[0] != '\0' ? token : NULL;
	}
	/* a line break comes from an editor and is not part of the token */
	token = text->data;
	while (isspace((unsigned char) *token))
		token++;
	end = text->data + strlen(text->data);
	while (end > token && isspace((unsigned char) end[-1]))
		*--end = '\0';
	return token[0] != '\0' ? token : NULL;
}

static const char *
from_file(const AuthSource *source, Failure *f)
{
	const char *path = auth_source_text(source, "credential_source.file");
	StringInfo text = read_file(path, f);
	const char *token = text ? extract(source, text) : NULL;

	if (text != NULL && token == NULL)
	{
		failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "subject token file \"%s\" holds no token", path);
		failure_hint(f, "Check it, and \"credential_source.format\" in the credentials file.");
		f->retry = FAILURE_ASK_AGAIN;
		f->every_day = true;
	}
	return token;
}

/* Report the status only: the rest may come from any server. */
static void
subject_refused(const AuthRefusal *refusal, Failure *f)
{
	failure_set(f, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
				"the source of the subject token answered with HTTP status %d", refusal->status);
	failure_hint(f, "Check \"credential_source\" in the credentials file: its URL and its headers.");
}

static const char *
from_url(const AuthSource *source, AuthAsker *asker, Failure *f)
{
	static const AuthEndpoint endpoint = {.name = "the source of the subject token",
										  .where = "\"credential_source.url\" in the credentials file",
										  .refused = subject_refused,
										  .silent = true};
	HttpHeader headers[MAX_HEADERS];
	HttpRequest request = {.method = "GET",
						   .url = auth_source_text(source, "credential_source.url"),
						   .headers = headers,
						   .metadata = true,
						   .hide_path = true};
	HttpResponse answer;
	StringInfo text;
	const char *token;

	while (json_member_at(source->doc, "credential_source.headers", request.nheaders, &headers[request.nheaders].name,
						  &headers[request.nheaders].value))
		if (++request.nheaders == MAX_HEADERS)
			break;
	if (!auth_ask(asker, &endpoint, &request, &answer, f))
		return NULL;
	text = auth_secret(answer.len);
	appendBinaryStringInfo(text, answer.body, (int) answer.len);
	explicit_bzero(answer.body, answer.len);
	token = extract(source, text);
	if (token == NULL)
	{
		failure_set(f, ERRCODE_PROTOCOL_VIOLATION, "the source of the subject token gave none");
		failure_hint(f, "Check \"credential_source\" in the credentials file: its URL and its format.");
		f->every_day = true;
	}
	return token;
}

bool
auth_subject_inspect(const AuthSource *source, Failure *f)
{
	return auth_source_text(source, "credential_source.file") == NULL || from_file(source, f) != NULL;
}

const char *
auth_subject_fetch(const AuthSource *source, AuthAsker *asker, Failure *f)
{
	bool is_file = auth_source_text(source, "credential_source.file") != NULL;
	const char *token = is_file ? from_file(source, f) : from_url(source, asker, f);

	if (token != NULL)
		auth_hide(asker, token);
	return token;
}
