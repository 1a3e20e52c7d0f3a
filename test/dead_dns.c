/*
 * dead_dns.c
 *	  A resolver that does not answer: preloaded into a server under test.
 *
 * getaddrinfo() for the host $DEAD_DNS_HOST appends a line to $DEAD_DNS_LOG
 * and blocks until somebody opens the named pipe $DEAD_DNS_PIPE for writing;
 * then it appends another and fails.  Any other host is resolved as ever.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*Resolve)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* One write() to a file opened for appending: lines of threads do not mix. */
static void
note(const char *line)
{
	const char *path = getenv("DEAD_DNS_LOG");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

	if (fd < 0 || write(fd, line, strlen(line)) < 0)
		abort();
	close(fd);
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	const char *dead = getenv("DEAD_DNS_HOST");
	const char *pipe = getenv("DEAD_DNS_PIPE");
	Resolve resolve = (Resolve) dlsym(RTLD_NEXT, "getaddrinfo");

	if (node == NULL || dead == NULL || pipe == NULL || strcmp(node, dead) != 0)
		return resolve(node, service, hints, result);
	note("asked\n");

	int fd = open(pipe, O_RDONLY);

	if (fd >= 0)
		close(fd);
	note("answered\n");
	return EAI_AGAIN;
}
