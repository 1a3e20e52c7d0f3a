/*
 * full_disk.c
 *	  A disk without room for some files: preloaded into a server under test.
 *
 * While the file $FULL_DISK exists, whatever makes a file longer whose path has the
 * text in it fails with ENOSPC, as on a disk that is full.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static bool
is_full(int fd, off_t end)
{
	const char *flag = getenv("FULL_DISK");
	char part[1024];
	char link[64];
	char path[4096];
	struct stat st;
	ssize_t n;
	int file = flag ? open(flag, O_RDONLY) : -1;

	if (file < 0)
		return false;
	n = read(file, part, sizeof(part) - 1);
	close(file);
	if (n <= 0)
		return false;
	part[n] = '\0';
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	return strstr(path, part) != NULL && fstat(fd, &st) == 0 && end > st.st_size;
}

ssize_t
pwrite64(int fd, const void *buf, size_t n, off64_t offset)
{
	ssize_t (*real)(int, const void *, size_t, off64_t) =
		(ssize_t(*)(int, const void *, size_t, off64_t)) dlsym(RTLD_NEXT, "pwrite64");
	int saved = errno;

	if (is_full(fd, offset + (off64_t) n))
	{
		errno = ENOSPC;
		return -1;
	}
	errno = saved;
	return real(fd, buf, n, offset);
}

ssize_t
pwrite(int fd, const void *buf, size_t n, off_t offset)
{
	return pwrite64(fd, buf, n, offset);
}

ssize_t
pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
	ssize_t (*real)(int, const struct iovec *, int, off64_t) =
		(ssize_t(*)(int, const struct iovec *, int, off64_t)) dlsym(RTLD_NEXT, "pwritev64");
	int saved = errno;

	if (count > 0 && is_full(fd, offset + (off64_t) iov[0].iov_len))
	{
		errno = ENOSPC;
		return -1;
	}
	errno = saved;
	return real(fd, iov, count, offset);
}

ssize_t
pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	return pwritev64(fd, iov, count, offset);
}

int
posix_fallocate64(int fd, off64_t offset, off64_t n)
{
	int (*real)(int, off64_t, off64_t) = (int (*)(int, off64_t, off64_t)) dlsym(RTLD_NEXT, "posix_fallocate64");

	return is_full(fd, offset + n) ? ENOSPC : real(fd, offset, n);
}

int
posix_fallocate(int fd, off_t offset, off_t n)
{
	return posix_fallocate64(fd, offset, n);
}
