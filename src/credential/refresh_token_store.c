#include "credential/refresh_token_store.h"

#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* More than any image has: what is longer is none, and refresh_token_decode() says so. */
#define IMAGE_MAX (REFRESH_TOKEN_MAX + 1024)

/* The file for the next image, beside the one that it replaces. */
#define NEW_SUFFIX ".new"

static void close_descriptor(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_fd_ __attribute__((cleanup(close_descriptor)))

/* The system said no to the file; errno says why. Returns -1. */
static int fail_file(const char *what, const char *path, struct error *err)
{
	struct error found = ERROR_INIT;
	error_set_errno(&found, errno, "refresh_token_file: cannot %s %s", what, path);
	return error_set(err, found.code == ERR_SYSTEM ? ERR_SECRET_SOURCE : found.code, "%s",
		found.message);
}

/* Whether it is a file that nobody else could read or change. */
static int check_file(int fd, const char *path, struct error *err)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return fail_file("read", path, err);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERR_SECRET_SOURCE,
			"refresh_token_file: %s is not a regular file", path);
	if ((st.st_mode & 07777 & ~0600) != 0)
		return error_set(err, ERR_SECRET_SOURCE,
			"refresh_token_file: %s has mode %04o, expected 0600: see who could have "
			"changed it, then chmod 600",
			path, (unsigned)st.st_mode & 07777);
	return 0;
}

/* The whole file, or its beginning if it is too long. */
static int read_image(int fd, const char *path, struct text *image, struct error *err)
{
	char part[4096];
	while (image->len <= IMAGE_MAX) {
		ssize_t got = read(fd, part, sizeof(part));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_file("read", path, err);
		if (got == 0)
			break;
		text_append_bytes(image, part, (size_t)got);
	}
	/* An empty one has no bytes, and is not out of memory. */
	if (image->has_failed)
		return error_set(err, ERR_NO_MEMORY,
			"refresh_token_file: cannot read %s: out of memory", path);
	return 0;
}

int refresh_token_load(const char *path, const struct secret *key,
	const struct refresh_token_owner *owner, struct secret **token, struct error *err)
{
	_cleanup_text_ struct text image = {0};
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0 && errno == ELOOP)
		return error_set(err, ERR_SECRET_SOURCE,
			"refresh_token_file: %s is a symbolic link, expected the file itself",
			path);
	if (fd < 0)
		return fail_file("open", path, err);
	if (check_file(fd, path, err) != 0 || read_image(fd, path, &image, err) != 0)
		return -1;
	struct error why = ERROR_INIT;
	struct secret *found =
		refresh_token_decode(image.len == 0 ? "" : image.data, image.len, key, owner, &why);
	if (found == NULL)
		return error_set(err, why.code,
			"refresh_token_file: %s: %s; the file is left as it is: correct that, or "
			"move it away and log in again",
			path, why.message);
	*token = found;
	return 0;
}

static int write_all(int fd, const struct text *image)
{
	for (size_t written = 0; written < image->len;) {
		ssize_t count = write(fd, image->data + written, image->len - written);
		if (count < 0 && errno != EINTR)
			return -1;
		if (count > 0)
			written += (size_t)count;
	}
	return 0;
}

/*
 * Open the directory of the file, and lock it against others who would write there. Only who owns
 * it writes there, or root in its own: another owner could put a link in root's way.
 * Returns the descriptor and the file's name in it, or -1 with *err.
 */
static int open_directory_of(const char *path, const char **name, struct error *err)
{
	_cleanup_text_ struct text directory = {0};
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 0 : (size_t)(slash - path);
	struct stat st;
	text_append_bytes(&directory, path, len);
	if (len == 0)
		text_append(&directory, slash == NULL ? "." : "/");
	if (text_string(&directory) == NULL)
		return error_set(err, ERR_NO_MEMORY,
			"refresh_token_file: cannot write %s: out of memory", path);
	int fd = open(directory.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail_file("write", path, err);
	if (fstat(fd, &st) != 0 || flock(fd, LOCK_EX | LOCK_NB) != 0)
		fail_file("write", path, err);
	else if (st.st_uid != geteuid())
		error_set(err, ERR_SECRET_SOURCE,
			"refresh_token_file: cannot write %s: its directory belongs to user %u, "
			"expected user %u, who writes there",
			path, (unsigned)st.st_uid, (unsigned)geteuid());
	else {
		*name = slash == NULL ? path : slash + 1;
		return fd;
	}
	close(fd);
	return -1;
}

/* Write the image beside the file, and rename it. Returns 0, or -1 with errno. */
static int replace(int directory, const char *name, const char *new_name, const struct text *image)
{
	/* Of an attempt that the power ended. */
	if (unlinkat(directory, new_name, 0) != 0 && errno != ENOENT)
		return -1;
	int fd = openat(
		directory, new_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	int result = write_all(fd, image);
	if (result == 0)
		result = fsync(fd);
	int errnum = errno;
	if (close(fd) != 0 && result == 0) {
		result = -1;
		errnum = errno;
	}
	if (result == 0 && renameat(directory, new_name, directory, name) != 0) {
		result = -1;
		errnum = errno;
	}
	if (result != 0) {
		unlinkat(directory, new_name, 0);
		errno = errnum;
		return -1;
	}
	/* What a directory holds is on the disk once the directory is. */
	return fsync(directory);
}

int refresh_token_save(const char *path, const struct secret *token, const struct secret *key,
	const struct refresh_token_owner *owner, struct error *err)
{
	unsigned char fresh[REFRESH_TOKEN_FRESH_SIZE];
	_cleanup_secret_ struct secret *present = NULL;
	_cleanup_text_ struct text image = {0};
	_cleanup_text_ struct text new_name = {0};
	const char *name = "";
	/* Whatever is there and is not this login may be dear to somebody. */
	if (refresh_token_load(path, key, owner, &present, err) < 0)
		return -1;
	_cleanup_fd_ int directory = open_directory_of(path, &name, err);
	if (directory < 0)
		return -1;
	text_appendf(&new_name, "%s" NEW_SUFFIX, name);
	if (random_bytes(fresh, sizeof(fresh), err) != 0 ||
		refresh_token_encode(token, key, owner, fresh, &image, err) != 0)
		return error_wrap(err, "refresh_token_file: %s", path);
	if (text_string(&new_name) == NULL)
		return error_set(err, ERR_NO_MEMORY,
			"refresh_token_file: cannot write %s: out of memory", path);
	return replace(directory, name, new_name.data, &image) == 0 ? 0
								    : fail_file("write", path, err);
}

int refresh_token_remove(const char *path, struct error *err)
{
	const char *name = "";
	struct stat st;
	if (lstat(path, &st) != 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	_cleanup_fd_ int directory = open_directory_of(path, &name, err);
	if (directory < 0)
		return -1;
	if (unlinkat(directory, name, 0) != 0 && errno != ENOENT)
		return fail_file("remove", path, err);
	return fsync(directory) == 0 ? 0 : fail_file("remove", path, err);
}
