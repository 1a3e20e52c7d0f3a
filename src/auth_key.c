/*
 * auth_key.c
 *	  The credentials file: who may read it, and what must be in it.
 *
 * The rules for mode and owner are those PostgreSQL has for its own TLS key.
 * A symbolic link is followed: mounted secrets usually are links.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"

#include "auth_key.h"
#include "http.h"

/* A service account's key is about 2.4 kB. */
#define MAX_KEY_FILE (64 * 1024)

/* *f for a file that could not be opened or read; errno says why. */
static void
file_failure(const char *action, const char *path, Failure *f)
{
	int saved = errno;
	int sqlstate = ERRCODE_IO_ERROR;

	if (saved == ENOENT || saved == ENOTDIR)
		sqlstate = ERRCODE_UNDEFINED_FILE;
	else if (saved == EACCES || saved == EPERM)
		sqlstate = ERRCODE_INSUFFICIENT_PRIVILEGE;
	failure_set(f, sqlstate, "could not %s credentials file \"%s\": %s", action, path, strerror(saved));
	if (sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE)
		failure_hint(f, "The operating system user that runs the server must be able to read it.");
	else if (sqlstate == ERRCODE_UNDEFINED_FILE)
		failure_hint(f, "Put the service account's JSON key there, on the machine that runs the server.");
	f->every_day = true;
}

/* Whether nobody but root and the server's user can read or change the file. */
static bool
check_mode(const char *path, const struct stat *st, Failure *f)
{
	/* root's file may be readable by the server's group: the server needs some way in */
	bool ours = st->st_uid == geteuid();
	mode_t forbidden = ours ? S_IRWXG | S_IRWXO : S_IWGRP | S_IXGRP | S_IRWXO;

	if (!ours && st->st_uid != 0)
	{
		failure_set(f, ERRCODE_INSUFFICIENT_PRIVILEGE, "credentials file \"%s\" belongs to another user", path);
		failure_detail(f, "Its owner has the user id %u.", (unsigned) st->st_uid);
		failure_hint(f, "It must belong to the user that runs the server, or to root (see chown).");
	}
	else if (st->st_mode & forbidden)
	{
		failure_set(f, ERRCODE_INSUFFICIENT_PRIVILEGE, "credentials file \"%s\" is accessible to other users", path);
		failure_detail(f, "Its mode is %04o.", (unsigned) (st->st_mode & 07777));
		failure_hint(f, "Run: chmod %s '%s'", ours ? "0600" : "0640", path);
	}
	else
		return true;
	f->every_day = true;
	return false;
}

/* Whether the open file may be used as it is. */
static bool
check_file(const char *path, const struct stat *st, Failure *f)
{
	if (!S_ISREG(st->st_mode))
		failure_set(f, ERRCODE_WRONG_OBJECT_TYPE, "credentials file \"%s\" is not a regular file", path);
	else if (st->st_size > MAX_KEY_FILE)
		failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "credentials file \"%s\" is larger than %d kB", path,
					MAX_KEY_FILE / 1024);
	else
		return check_mode(path, st, f);
	f->every_day = true;
	return false;
}

/* Open the file and check it; -1 with *f set. */
static int
open_key(const char *path, AuthFileId *id, Failure *f)
{
	struct stat st;
	/* not to hang on a named pipe before fstat() can tell */
	int fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);

	if (fd < 0)
	{
		file_failure("open", path, f);
		return -1;
	}
	if (fstat(fd, &st) != 0)
		file_failure("look at", path, f);
	else if (check_file(path, &st, f))
	{
		*id = (AuthFileId){.device = st.st_dev,
						   .inode = st.st_ino,
						   .size = st.st_size,
						   .mtime_s = st.st_mtim.tv_sec,
						   .mtime_ns = st.st_mtim.tv_nsec};
		return fd;
	}
	CloseTransientFile(fd);
	return -1;
}

bool
auth_key_identify(const char *path, AuthFileId *id, Failure *f)
{
	int fd = open_key(path, id, f);

	if (fd < 0)
		return false;
	CloseTransientFile(fd);
	return true;
}

JsonDoc *
auth_key_load(const char *path, AuthFileId *id, Failure *f)
{
	char *text = palloc(MAX_KEY_FILE);
	JsonDoc *doc = NULL;
	Failure why;
	int fd = open_key(path, id, f);
	ssize_t len;

	if (fd < 0)
		return NULL;
	len = read(fd, text, MAX_KEY_FILE);
	if (len < 0)
		file_failure("read", path, f);
	CloseTransientFile(fd);
	if (len < 0)
		return NULL;

	doc = json_parse_document(text, len, &why);
	explicit_bzero(text, len);
	pfree(text);
	if (doc == NULL)
	{
		failure_set(f, why.sqlstate, "credentials file \"%s\" cannot be used: %s", path, why.message);
		failure_hint(f, "It must be the JSON key file of a service account, as it was downloaded.");
		f->every_day = true;
	}
	return doc;
}

/* The type must be one we can use; false with *f set. */
static bool
check_type(const JsonDoc *doc, const char *path, Failure *f)
{
	static const char *const later[] = {"authorized_user", "external_account", "external_account_authorized_user",
										"impersonated_service_account", "gdch_service_account"};
	const char *type = json_string_at(doc, "type");

	if (type != NULL && strcmp(type, "service_account") == 0)
		return true;

	/* an unknown type is not repeated: who knows what file this is */
	failure_set(
		f, ERRCODE_INVALID_PARAMETER_VALUE,
		type ? "credentials file \"%s\" is of an unknown type" : "credentials file \"%s\" has no field \"type\"", path);
	for (size_t i = 0; type != NULL && i < lengthof(later); i++)
		if (strcmp(type, later[i]) == 0)
			failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE,
						"credentials file \"%s\" is of type \"%s\", which is not supported yet", path, later[i]);
	failure_hint(f, "Use the JSON key of a service account (type \"service_account\").");
	f->every_day = true;
	return false;
}

bool
auth_key_check(const JsonDoc *doc, const char *path, Failure *f)
{
	static const char *const fields[] = {"client_email", "private_key", "private_key_id", "token_uri"};
	Failure why;

	if (!check_type(doc, path, f))
		return false;
	for (size_t i = 0; i < lengthof(fields); i++)
	{
		const char *value = json_string_at(doc, fields[i]);

		if (value != NULL && value[0] != '\0')
			continue;
		failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "credentials file \"%s\" has no field \"%s\"", path, fields[i]);
		failure_hint(f, "Create a new key for the service account and use its JSON file unchanged.");
		f->every_day = true;
		return false;
	}
	if (!http_url_check(json_string_at(doc, "token_uri"), &why))
	{
		failure_set(f, why.sqlstate, "field \"token_uri\" of credentials file \"%s\": %s", path, why.message);
		f->every_day = true;
		return false;
	}
	return true;
}
