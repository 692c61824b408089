#include "credential/azure_arc.h"

#include "credential/identity_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* The agent's own address, where its program is installed and no variable says another. */
#define AGENT_ENDPOINT "http://localhost:40342/metadata/identity/oauth2/token"

static bool is_here(const struct identity_environment *environment)
{
	if (identity_is_set(environment->identity_endpoint))
		return identity_is_set(environment->imds_endpoint);
	return environment->has_arc_agent &&
	       !identity_is_set(environment->pod_identity_authority_host);
}

static void put_endpoint(const struct identity_environment *environment, struct text *out)
{
	text_append(out, identity_is_set(environment->identity_endpoint)
				 ? environment->identity_endpoint
				 : AGENT_ENDPOINT);
}

/* The file's path out of "Basic realm=PATH", with or without quotes. Returns 0 or -1. */
static int read_realm(const char *challenge, char *path, size_t path_size)
{
	static const char start[] = "Basic realm=";
	if (strncasecmp(challenge, start, sizeof(start) - 1) != 0)
		return -1;
	const char *realm = challenge + sizeof(start) - 1;
	size_t len = strlen(realm);
	if (len >= 2 && realm[0] == '"' && realm[len - 1] == '"') {
		realm++;
		len -= 2;
	}
	if (len == 0 || len >= path_size)
		return -1;
	memcpy(path, realm, len);
	path[len] = '\0';
	return 0;
}

const char *azure_arc_key_name(const char *directory, const char *challenge, char *path,
	size_t path_size, struct error *err)
{
	if (read_realm(challenge, path, path_size) != 0) {
		error_set(err, ERR_UPSTREAM_FORMAT,
			"found %s, expected WWW-Authenticate: Basic realm=PATH",
			challenge[0] == '\0' ? "no WWW-Authenticate" : "another WWW-Authenticate");
		return NULL;
	}
	size_t directory_len = strlen(directory);
	size_t len = strlen(path);
	const char *name = path + directory_len + 1;
	if (len > directory_len + 1 + 4 && strncmp(path, directory, directory_len) == 0 &&
		path[directory_len] == '/' && name[0] != '.' && strchr(name, '/') == NULL &&
		strcmp(path + len - 4, ".key") == 0)
		return name;
	error_set(err, ERR_UPSTREAM_FORMAT,
		"found the key file %.200s in the challenge, expected %s/NAME.key", path,
		directory);
	return NULL;
}

static int read_key(int fd, const char *path, struct secret *line, struct error *err)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return error_set_errno(err, errno, "cannot read %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERR_SECRET_SOURCE, "%s is not a regular file", path);
	size_t start = secret_len(line);
	unsigned char *room = secret_extend(line, AZURE_ARC_KEY_MAX + 1);
	if (room == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot read %s: out of memory", path);
	size_t len = 0;
	while (len <= AZURE_ARC_KEY_MAX) {
		ssize_t got = read(fd, room + len, AZURE_ARC_KEY_MAX + 1 - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(err, errno, "cannot read %s", path);
		if (got == 0)
			break;
		len += (size_t)got;
	}
	if (len == 0)
		return error_set(err, ERR_SECRET_SOURCE, "%s is empty: expected a key", path);
	if (len > AZURE_ARC_KEY_MAX)
		return error_set(err, ERR_SECRET_SOURCE,
			"%s is too long for a key: expected at most %zu bytes", path,
			AZURE_ARC_KEY_MAX);
	for (size_t i = 0; i < len; i++)
		if (room[i] < 0x20 || room[i] > 0x7e)
			return error_set(err, ERR_SECRET_SOURCE,
				"the byte at offset %zu of %s has no place in a key", i, path);
	secret_truncate(line, start + len);
	return 0;
}

/* Open the file by its name in the directory, so that no part of the path is followed elsewhere. */
static int open_key(const char *directory, const char *name, const char *path, struct error *err)
{
	int directory_fd = open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int fd = directory_fd < 0
			 ? -1
			 : openat(directory_fd, name,
				   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int errnum = errno;
	if (directory_fd >= 0)
		close(directory_fd);
	if (fd >= 0)
		return fd;
	if (errnum == ELOOP)
		error_set(err, ERR_SECRET_SOURCE, "%s is a symbolic link: expected a regular file",
			path);
	else
		error_set_errno(err, errnum, "cannot open %s%s", path,
			errnum == EACCES ? " (is the daemon's user in the group himds?)" : "");
	if (err != NULL)
		err->code = ERR_SECRET_SOURCE;
	return -1;
}

struct secret *azure_arc_answer(const char *directory, const char *challenge, struct error *err)
{
	char path[512];
	const char *name = azure_arc_key_name(directory, challenge, path, sizeof(path), err);
	int fd = name == NULL ? -1 : open_key(directory, name, path, err);
	if (fd < 0)
		return NULL;
	struct secret *line = secret_new(AZURE_ARC_KEY_MAX + 64);
	int result = -1;
	if (line == NULL || secret_append_string(line, "Authorization: Basic ") != 0)
		error_set(err, ERR_NO_MEMORY, "cannot read %s: out of memory", path);
	else
		result = read_key(fd, path, line, err);
	close(fd);
	if (result == 0)
		return line;
	if (err != NULL && err->code == ERR_SYSTEM)
		err->code = ERR_SECRET_SOURCE;
	secret_free(line);
	return NULL;
}

static struct secret *answer_challenge(const char *challenge, struct error *err)
{
	return azure_arc_answer(AZURE_ARC_KEY_DIRECTORY, challenge, err);
}

static const char *advise(const struct identity_complaint *complaint, enum error_code *code)
{
	if (*code == ERR_DENIED)
		return "the agent did not take the key of its own file: see azcmagent(1) show";
	return complaint->status == 400
		       ? "check that the machine is connected: see azcmagent(1) show"
		       : "";
}

const struct identity_source identity_azure_arc = {
	.name = "Azure Arc",
	.variable = "IDENTITY_ENDPOINT",
	.is_here = is_here,
	.put_endpoint = put_endpoint,
	.api_version = "2020-06-01",
	.refusal = "Azure Arc gives a machine its system-assigned identity, and no other",
	.sends_metadata = true,
	.retry = &identity_retry_usual,
	.answer_challenge = answer_challenge,
	.advise = advise,
};
