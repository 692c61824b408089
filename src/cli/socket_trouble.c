#include "cli/socket_trouble.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RUNNING_HINT                                                                               \
	"Is mrtokend running? systemctl status mrtokend; or name another socket with --socket or " \
	"MRTOKEN_SOCKET"

static void group_words(gid_t gid, struct text *words)
{
	const struct group *group = getgrgid(gid);
	if (group != NULL)
		text_appendf(words, "group \"%s\"", group->gr_name);
	else
		text_appendf(words, "group %lu, which has no name", (unsigned long)gid);
}

/* The mode of `path`, which `st` is of, keeps this user out; `bit` is the group's that would not.
 */
static int fail_by_mode(const char *socket_path, const char *path, const struct stat *st,
	mode_t bit, struct cli_failure *failure)
{
	_cleanup_text_ struct text group = {0};
	group_words(st->st_gid, &group);
	cli_fail(failure, CLI_EXIT_NOT_ALLOWED, "permission denied on the daemon's socket %s",
		socket_path);
	if (text_string(&group) == NULL)
		return -1;
	if ((st->st_mode & bit) == 0)
		return cli_hint(failure,
			"%s has mode %04o, so not even its %s may pass: set mode and group of the "
			"listener in the daemon's configuration",
			path, (unsigned)st->st_mode & 07777, text_string(&group));
	return cli_hint(failure,
		"%s is for its owner and %s: ask for membership of that group, then log in again",
		path, text_string(&group));
}

/* stat() of the socket was refused: find the directory on the way that does not let us through. */
static int fail_by_directory(const char *socket_path, struct cli_failure *failure)
{
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
	if (snprintf(directory, sizeof(directory), "%s", socket_path) < (int)sizeof(directory)) {
		for (char *slash = strchr(directory + 1, '/'); slash != NULL;
			slash = strchr(slash + 1, '/')) {
			struct stat st;
			*slash = '\0';
			if (stat(directory, &st) == 0 && access(directory, X_OK) != 0)
				return fail_by_mode(socket_path, directory, &st, S_IXGRP, failure);
			*slash = '/';
		}
	}
	cli_fail(failure, CLI_EXIT_NOT_ALLOWED, "permission denied on the way to %s", socket_path);
	return cli_hint(failure, "Look at the modes of its directories: namei -l %s", socket_path);
}

int socket_trouble(const char *path, int errnum, struct cli_failure *failure)
{
	struct stat st;
	if (stat(path, &st) != 0) {
		int why = errno;
		if (why == EACCES)
			return fail_by_directory(path, failure);
		if (why == ENOENT || why == ENOTDIR)
			cli_fail(failure, CLI_EXIT_UNREACHABLE,
				"cannot reach the daemon: there is no socket %s", path);
		else
			cli_fail(failure, CLI_EXIT_UNREACHABLE, "cannot reach the daemon on %s: %s",
				path, strerror(why));
		return cli_hint(failure, RUNNING_HINT);
	}
	if (!S_ISSOCK(st.st_mode)) {
		cli_fail(failure, CLI_EXIT_UNREACHABLE,
			"cannot reach the daemon: %s is not a socket", path);
		return cli_hint(failure, "Name its socket with --socket or MRTOKEN_SOCKET");
	}
	if (errnum == EACCES || errnum == EPERM || (access(path, W_OK) != 0 && errno == EACCES))
		return fail_by_mode(path, path, &st, S_IWGRP, failure);
	if (errnum != 0 && errnum != ECONNREFUSED)
		cli_fail(failure, CLI_EXIT_UNREACHABLE, "cannot reach the daemon on %s: %s", path,
			strerror(errnum));
	else
		cli_fail(failure, CLI_EXIT_UNREACHABLE,
			"cannot reach the daemon: nobody listens on %s any more", path);
	return cli_hint(failure, RUNNING_HINT);
}
