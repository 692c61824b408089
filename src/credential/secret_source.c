#include "credential/secret_source.h"

#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
	const char *prefix;
	enum secret_source_kind kind;
} prefixes[] = {
	{"credential:", SECRET_SOURCE_CREDENTIAL},
	{"file:", SECRET_SOURCE_FILE},
	{"env:", SECRET_SOURCE_ENVIRONMENT},
};

#define PREFIX_COUNT (sizeof(prefixes) / sizeof(prefixes[0]))

/* The variables read so far, which are no longer in the environment. */
static struct remembered {
	struct remembered *next;
	struct secret *value;
	char name[];
} * remembered;

static bool is_variable_name(const char *name)
{
	if (isdigit((unsigned char)name[0]))
		return false;
	for (const char *c = name; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && *c != '_')
			return false;
	return name[0] != '\0';
}

static int check_name(enum secret_source_kind kind, const char *name, struct error *err)
{
	switch (kind) {
	case SECRET_SOURCE_CREDENTIAL:
		/* What systemd takes for a name is wider; this is what is no key by mistake. */
		if (name[0] == '\0' || name[0] == '.' || strlen(name) > 64 ||
			name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					  "0123456789._-")] != '\0')
			return error_set(err, ERR_CONFIGURATION,
				"credential: wants the name of a systemd credential, of up to 64 "
				"letters, "
				"digits, '.', '_' and '-'");
		return 0;
	case SECRET_SOURCE_FILE:
		if (name[0] != '/')
			return error_set(err, ERR_CONFIGURATION,
				"file: wants an absolute path, such as "
				"file:/etc/mrtokend/anchors.key");
		return 0;
	case SECRET_SOURCE_ENVIRONMENT:
		if (!is_variable_name(name))
			return error_set(err, ERR_CONFIGURATION,
				"env: wants the name of an environment variable");
		return 0;
	case SECRET_SOURCE_NONE:
		break;
	}
	return error_set(err, ERR_CONFIGURATION, "no source of a secret");
}

int secret_source_parse(const char *word, struct secret_source *source, struct error *err)
{
	for (size_t i = 0; i < PREFIX_COUNT; i++) {
		size_t len = strlen(prefixes[i].prefix);
		if (strncmp(word, prefixes[i].prefix, len) != 0)
			continue;
		if (check_name(prefixes[i].kind, word + len, err) != 0)
			return -1;
		char *name = strdup(word + len);
		if (name == NULL)
			return error_set(err, ERR_NO_MEMORY, "out of memory");
		*source = (struct secret_source){.kind = prefixes[i].kind, .name = name};
		return 0;
	}
	return error_set(err, ERR_CONFIGURATION,
		"a secret never stands in the configuration itself (the value is not shown here); "
		"put it in a file and write credential:NAME, file:/PATH or env:NAME");
}

void secret_source_describe(const struct secret_source *source, struct text *out)
{
	for (size_t i = 0; i < PREFIX_COUNT; i++)
		if (prefixes[i].kind == source->kind)
			text_appendf(out, "%s%s", prefixes[i].prefix, source->name);
}

void secret_source_clear(struct secret_source *source)
{
	free(source->name);
	free(source->where);
	*source = (struct secret_source){0};
}

static struct secret *read_descriptor(int fd, const char *path, struct error *err)
{
	struct stat st;
	if (fstat(fd, &st) != 0) {
		error_set_errno(err, errno, "cannot read %s", path);
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		error_set(err, ERR_SECRET_SOURCE, "%s is not a regular file", path);
		return NULL;
	}
	if (st.st_mode & (S_IROTH | S_IWOTH))
		log_warning("%s holds a secret and can be %s by every user: chmod o-rw it", path,
			st.st_mode & S_IROTH ? "read" : "changed");
	struct secret *secret = secret_new(4096);
	size_t len = 0;
	while (secret != NULL && len <= SECRET_SOURCE_MAX) {
		const size_t step = 2048;
		unsigned char *room = secret_extend(secret, step);
		if (room == NULL) {
			secret_free(secret);
			secret = NULL;
			break;
		}
		ssize_t got = read(fd, room, step);
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got < 0) {
			error_set_errno(err, errno, "cannot read %s", path);
			err->code = ERR_SECRET_SOURCE;
			secret_free(secret);
			return NULL;
		} else if (got == 0) {
			secret_truncate(secret, len);
			return secret;
		}
		len += (size_t)got;
		secret_truncate(secret, len);
	}
	if (secret == NULL)
		error_set(err, ERR_NO_MEMORY, "cannot read %s: out of memory", path);
	else
		error_set(err, ERR_SECRET_SOURCE,
			"%s is too long for a secret: expected at most %zu bytes", path,
			SECRET_SOURCE_MAX);
	secret_free(secret);
	return NULL;
}

void secret_source_set_errno(struct error *err, int errnum, const char *path)
{
	bool is_of_host = errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM || errnum == EIO;
	error_set_errno(err, errnum, "cannot open %s", path);
	if (!is_of_host)
		err->code = ERR_SECRET_SOURCE;
}

static struct secret *read_file(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		secret_source_set_errno(err, errno, path);
		return NULL;
	}
	struct secret *secret = read_descriptor(fd, path, err);
	close(fd);
	return secret;
}

static struct secret *read_credential(const char *name, struct error *err)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	if (directory == NULL || directory[0] != '/') {
		error_set(err, ERR_SECRET_SOURCE,
			"credential:%s needs $CREDENTIALS_DIRECTORY, which systemd sets for a unit "
			"with "
			"LoadCredential=%s:PATH or LoadCredentialEncrypted=",
			name, name);
		return NULL;
	}
	_cleanup_text_ struct text path = {0};
	text_appendf(&path, "%s/%s", directory, name);
	if (text_string(&path) == NULL) {
		error_set(err, ERR_NO_MEMORY, "out of memory");
		return NULL;
	}
	return read_file(text_string(&path), err);
}

static struct secret *read_environment(const char *name, struct error *err)
{
	for (struct remembered *r = remembered; r != NULL; r = r->next) {
		if (strcmp(r->name, name) != 0)
			continue;
		struct secret *copy = secret_from(secret_bytes(r->value), secret_len(r->value));
		if (copy == NULL)
			error_set(err, ERR_NO_MEMORY, "cannot read %s: out of memory", name);
		return copy;
	}
	char *value = getenv(name);
	if (value == NULL) {
		error_set(err, ERR_SECRET_SOURCE, "the environment variable %s is not set", name);
		return NULL;
	}
	size_t len = strlen(value);
	struct remembered *entry = malloc(sizeof(*entry) + strlen(name) + 1);
	struct secret *kept = secret_from(value, len);
	struct secret *secret = secret_from(value, len);
	if (entry == NULL || kept == NULL || secret == NULL) {
		free(entry);
		secret_free(kept);
		secret_free(secret);
		error_set(err, ERR_NO_MEMORY, "cannot read %s: out of memory", name);
		return NULL;
	}
	/* The bytes are wiped where they stand, and the variable stays, empty: unsetenv() would
	 * move the others, which another thread may be reading. */
	explicit_bzero(value, len);
	strcpy(entry->name, name); // NOLINT(clang-analyzer-security.insecureAPI.strcpy)
	entry->value = kept;
	entry->next = remembered;
	remembered = entry;
	return secret;
}

bool secret_source_remembers(const char *name)
{
	for (const struct remembered *r = remembered; r != NULL; r = r->next)
		if (strcmp(r->name, name) == 0)
			return true;
	return false;
}

void secret_source_wipe_environment(const char *name)
{
	char *value = getenv(name);
	struct secret *secret =
		value == NULL || *value == '\0' ? NULL : read_environment(name, NULL);
	if (secret == NULL && value != NULL)
		explicit_bzero(value, strlen(value)); /* no memory to remember it */
	secret_free(secret);
}

void secret_source_forget_environment(void)
{
	while (remembered != NULL) {
		struct remembered *entry = remembered;
		remembered = entry->next;
		secret_free(entry->value);
		free(entry);
	}
}

static struct secret *read_source(
	const struct secret_source *source, bool is_binary, struct error *err)
{
	struct secret *secret = NULL;
	switch (source->kind) {
	case SECRET_SOURCE_CREDENTIAL:
		secret = read_credential(source->name, err);
		break;
	case SECRET_SOURCE_FILE:
		secret = read_file(source->name, err);
		break;
	case SECRET_SOURCE_ENVIRONMENT:
		secret = read_environment(source->name, err);
		break;
	case SECRET_SOURCE_NONE:
		error_set(err, ERR_CONFIGURATION, "no source of a secret");
		break;
	}
	if (secret == NULL)
		return NULL;
	if (!is_binary)
		secret_trim(secret);
	size_t len = secret_len(secret);
	if (len > 0 && len <= SECRET_SOURCE_MAX)
		return secret;
	_cleanup_text_ struct text where = {0};
	secret_source_describe(source, &where);
	const char *found = text_string(&where) == NULL ? "it" : text_string(&where);
	if (len == 0)
		error_set(err, ERR_SECRET_SOURCE, "%s is empty: expected a secret in it", found);
	else
		error_set(err, ERR_SECRET_SOURCE,
			"%s is too long for a secret: expected at most %zu bytes", found,
			SECRET_SOURCE_MAX);
	secret_free(secret);
	return NULL;
}

struct secret *secret_source_read(const struct secret_source *source, struct error *err)
{
	return read_source(source, false, err);
}

struct secret *secret_source_read_binary(const struct secret_source *source, struct error *err)
{
	return read_source(source, true, err);
}
