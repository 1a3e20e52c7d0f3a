/*
 * auth_key.c
 *	  The credentials file: its owner and mode.
 *
 * The rules for mode and owner are those of PostgreSQL for its own TLS key. A symbolic
 * link is followed: mounted secrets usually are links.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "storage/fd.h"

#include "auth/auth_internal.h"
#include "base/failure.h"

/* A service account's key is about 2.4 kB, other kinds are shorter. */
#define MAX_KEY_FILE (64 * 1024)

int
auth_key_sqlstate(int error)
{
	if (error == ENOENT || error == ENOTDIR)
		return ERRCODE_UNDEFINED_FILE;
	return error == EACCES || error == EPERM ? ERRCODE_INSUFFICIENT_PRIVILEGE : ERRCODE_IO_ERROR;
}

/* Set *f for a file that could not be opened or read, from errno. */
static void
key_file_failure(const char *action, const char *path, Failure *f)
{
	int saved = errno;
	int sqlstate = auth_key_sqlstate(saved);

	failure_set(f, sqlstate, "could not %s credentials file \"%s\": %s", action, path, strerror(saved));
	if (sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE)
		failure_hint(f, "The operating system user that runs the server must be able to read it, and to enter the "
						"folders above it.");
	else if (sqlstate == ERRCODE_UNDEFINED_FILE)
		failure_hint(f, "Put the JSON file with the credentials at that path, on the machine that runs the server.");
	f->every_day = true;
}

/*
 * What to do about its owner or mode; chown and chmod fail on a mount that is read-only,
 * as that of a Kubernetes secret.
 */
static void
hint_at_mode(const char *path, const char *otherwise, Failure *f)
{
	struct statvfs mount;

	if (statvfs(path, &mount) == 0 && (mount.f_flag & ST_RDONLY))
		failure_hint(f, "It is on a read-only mount: set its owner and mode where it comes from. A Kubernetes secret "
						"needs defaultMode: 0440, and the pod fsGroup: the group of the user that runs the server.");
	else
		failure_hint(f, "%s", otherwise);
}

/* Whether nobody but root and the server's user can read or change the file. */
static bool
check_mode(const char *path, const struct stat *st, Failure *f)
{
	/* root's file may be readable by the server's group, or the server could not read it */
	bool ours = st->st_uid == geteuid();
	mode_t forbidden = ours ? S_IRWXG | S_IRWXO : S_IWGRP | S_IXGRP | S_IRWXO;

	if (!ours && st->st_uid != 0)
	{
		failure_set(f, ERRCODE_INSUFFICIENT_PRIVILEGE, "credentials file \"%s\" belongs to another user", path);
		failure_detail(f, "Its owner has the user id %u.", (unsigned) st->st_uid);
		hint_at_mode(path, "It must belong to the user that runs the server, or to root (see chown).", f);
	}
	else if (st->st_mode & forbidden)
	{
		failure_set(f, ERRCODE_INSUFFICIENT_PRIVILEGE, "credentials file \"%s\" is accessible to other users", path);
		failure_detail(f, "Its mode is %04o.", (unsigned) (st->st_mode & 07777));
		if (ours)
			hint_at_mode(path, psprintf("Run: chmod 0600 '%s'", path), f);
		else /* so that the server can still read root's file */
			hint_at_mode(path, psprintf("Run: chgrp %u '%s' && chmod 0640 '%s'", (unsigned) getegid(), path, path), f);
	}
	else
		return true;
	f->every_day = true;
	return false;
}

/* Whether the open file may be used as it is. */
static bool
check_key_file(const char *path, const struct stat *st, Failure *f)
{
	if (!S_ISREG(st->st_mode))
	{
		failure_set(f, ERRCODE_WRONG_OBJECT_TYPE, "credentials file \"%s\" is not a regular file", path);
		failure_hint(f, "Name the JSON file itself, not its directory.");
	}
	else if (st->st_size > MAX_KEY_FILE)
		failure_set(f, ERRCODE_INVALID_PARAMETER_VALUE, "credentials file \"%s\" is larger than %d kB", path,
					MAX_KEY_FILE / 1024);
	else
		return check_mode(path, st, f);
	f->every_day = true;
	return false;
}

/* Open the file and check it; returns -1 with *f set. */
static int
open_key(const char *path, AuthFileId *id, Failure *f)
{
	struct stat st;
	/* opening a named pipe must not block, and fstat() comes later */
	int fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);

	if (fd < 0)
	{
		key_file_failure("open", path, f);
		return -1;
	}
	if (fstat(fd, &st) != 0)
		key_file_failure("look at", path, f);
	else if (check_key_file(path, &st, f))
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
		key_file_failure("read", path, f);
	CloseTransientFile(fd);
	if (len < 0)
		return NULL;

	doc = json_parse_document(text, len, &why);
	explicit_bzero(text, len);
	pfree(text);
	if (doc == NULL)
	{
		failure_set(f, why.sqlstate, "credentials file \"%s\" cannot be used: %s", path, why.message);
		failure_hint(f, "It must be the JSON key file of a service account, as it was downloaded, or another "
						"credentials file from Google Cloud.");
		f->every_day = true;
	}
	return doc;
}
