#include "emulator/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t written = write(fd, bytes, len);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		bytes += written;
		len -= (size_t)written;
	}
	return 0;
}

int file_write(int directory_fd, const char *name, mode_t mode, const char *bytes, size_t len,
	struct error *err)
{
	char temporary[64];
	snprintf(temporary, sizeof(temporary), ".%s.new", name);
	unlinkat(directory_fd, temporary, 0);
	int fd = openat(directory_fd, temporary,
		O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_set_errno(err, errno, "cannot make %s", temporary);
	int errnum = 0;
	if (write_all(fd, bytes, len) != 0 || fchmod(fd, mode) != 0)
		errnum = errno;
	if (close(fd) != 0 && errnum == 0)
		errnum = errno;
	if (errnum == 0 && renameat(directory_fd, temporary, directory_fd, name) != 0)
		errnum = errno;
	if (errnum == 0)
		return 0;
	unlinkat(directory_fd, temporary, 0);
	return error_set_errno(err, errnum, "cannot write %s", name);
}

ssize_t file_read(int directory_fd, const char *name, char *buffer, size_t size, mode_t *mode,
	struct error *err)
{
	int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return -1;
	if (fd < 0) {
		error_set_errno(err, errno, "cannot read %s", name);
		return -2;
	}
	ssize_t result = -2;
	size_t len = 0;
	ssize_t got = 0;
	struct stat st;
	if (fstat(fd, &st) != 0)
		error_set_errno(err, errno, "cannot read %s", name);
	else if (!S_ISREG(st.st_mode))
		error_set(err, ERR_SYSTEM, "cannot read %s: it is not a regular file", name);
	else {
		while (len < size && (got = read(fd, buffer + len, size - len)) != 0) {
			if (got < 0 && errno != EINTR)
				break;
			len += got > 0 ? (size_t)got : 0;
		}
		if (got < 0)
			error_set_errno(err, errno, "cannot read %s", name);
		else if (len >= size)
			error_set(err, ERR_SYSTEM, "cannot read %s: it is longer than %zu bytes",
				name, size - 1);
		else
			result = (ssize_t)len;
	}
	close(fd);
	if (result < 0)
		return result;
	buffer[len] = '\0';
	if (mode != NULL)
		*mode = st.st_mode & 07777;
	return result;
}
