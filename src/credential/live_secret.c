#include "credential/live_secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/*
 * A file system tells times in steps, of a few milliseconds or of two seconds: a file that was
 * changed so shortly before it was read may have been changed since then and look the same.
 */
#define SETTLED_S 3

struct live_secret {
	const char *key;
	char *where; /* FILE:LINE, or NULL */
	char *name; /* for messages */
	struct secret_source file; /* SECRET_SOURCE_NONE: it never changes */
	struct secret *secret; /* NULL: to be read */
	bool is_binary;
	uint64_t version;
	struct stat seen; /* of the file, as it was read */
	bool is_settled; /* then: another content would have looked different */
};

static struct live_secret *no_memory(struct live_secret *live, struct error *err)
{
	live_secret_free(live);
	error_set(err, ERR_NO_MEMORY, "cannot keep a secret: out of memory");
	return NULL;
}

/* Where the file of a systemd credential is. Returns 0, or -1 with *err. */
static int find_credential(const char *name, struct secret_source *file, struct error *err)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	_cleanup_text_ struct text path = {0};
	if (directory == NULL || directory[0] != '/')
		return error_set(err, ERR_SECRET_SOURCE,
			"credential:%s needs $CREDENTIALS_DIRECTORY, which systemd sets for a unit "
			"with LoadCredential=%s:PATH or LoadCredentialEncrypted=",
			name, name);
	text_appendf(&path, "%s/%s", directory, name);
	file->name = text_steal(&path);
	if (file->name == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot keep a secret: out of memory");
	file->kind = SECRET_SOURCE_FILE;
	return 0;
}

static void describe(const struct live_secret *live, struct error *err)
{
	error_wrap(err, "%s%s%s", live->where == NULL ? "" : live->where,
		live->where == NULL ? "" : ": ", live->key);
}

static struct secret *read_now(
	const struct live_secret *live, const struct secret_source *source, struct error *err)
{
	return live->is_binary ? secret_source_read_binary(source, err)
			       : secret_source_read(source, err);
}

static struct live_secret *open_source(
	const struct secret_source *source, bool is_binary, const char *key, struct error *err)
{
	struct live_secret *live = calloc(1, sizeof(*live));
	_cleanup_text_ struct text name = {0};
	int result = 0;
	if (live == NULL)
		return no_memory(live, err);
	secret_source_describe(source, &name);
	live->key = key;
	live->is_binary = is_binary;
	live->name = text_steal(&name);
	live->where = source->where == NULL ? NULL : strdup(source->where);
	if (live->name == NULL || (source->where != NULL && live->where == NULL))
		return no_memory(live, err);
	if (source->kind == SECRET_SOURCE_CREDENTIAL) {
		result = find_credential(source->name, &live->file, err);
	} else if (source->kind == SECRET_SOURCE_FILE) {
		live->file.kind = SECRET_SOURCE_FILE;
		live->file.name = strdup(source->name);
		if (live->file.name == NULL)
			return no_memory(live, err);
	} else {
		live->secret = read_now(live, source, err);
		live->version = 1;
		result = live->secret == NULL ? -1 : 0;
	}
	if (result == 0)
		return live;
	describe(live, err);
	live_secret_free(live);
	return NULL;
}

struct live_secret *live_secret_open(
	const struct secret_source *source, const char *key, struct error *err)
{
	return open_source(source, false, key, err);
}

struct live_secret *live_secret_open_binary(
	const struct secret_source *source, const char *key, struct error *err)
{
	return open_source(source, true, key, err);
}

struct live_secret *live_secret_open_file(const char *path, const char *key, struct error *err)
{
	const struct secret_source source = {.kind = SECRET_SOURCE_FILE, .name = (char *)path};
	return live_secret_open(&source, key, err);
}

/* Whether it is the same file with the same content, as far as the file system tells. */
static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Read the file if it may be another one now. Returns 0, or -1 with *err. */
static int follow_file(struct live_secret *live, struct error *err)
{
	struct stat now;
	/* Looked at before it is read: what changes in between is read again next time. */
	if (stat(live->file.name, &now) != 0) {
		secret_source_set_errno(err, errno, live->file.name);
		return -1;
	}
	if (live->secret != NULL && live->is_settled && is_same(&now, &live->seen))
		return 0;
	struct secret *secret = read_now(live, &live->file, err);
	if (secret == NULL)
		return -1;
	time_t age_s = time(NULL) - now.st_ctim.tv_sec;
	live->seen = now;
	live->is_settled = age_s >= SETTLED_S;
	if (secret_equal(secret, live->secret)) {
		secret_free(secret);
		return 0;
	}
	secret_free(live->secret);
	live->secret = secret;
	live->version++;
	return 0;
}

const struct secret *live_secret_get(struct live_secret *live, uint64_t *version, struct error *err)
{
	if (live->file.kind == SECRET_SOURCE_FILE && follow_file(live, err) != 0) {
		describe(live, err);
		return NULL;
	}
	if (version != NULL)
		*version = live->version;
	return live->secret;
}

uint64_t live_secret_version(const struct live_secret *live)
{
	return live->version;
}

const char *live_secret_path(const struct live_secret *live)
{
	return live->file.kind == SECRET_SOURCE_FILE ? live->file.name : NULL;
}

bool live_secret_is_same(const struct live_secret *a, const struct live_secret *b)
{
	if (a->secret == NULL || b->secret == NULL)
		return a->secret == b->secret;
	return secret_equal(a->secret, b->secret);
}

const char *live_secret_name(const struct live_secret *live)
{
	return live->name;
}

void live_secret_free(struct live_secret *live)
{
	if (live == NULL)
		return;
	secret_free(live->secret);
	secret_source_clear(&live->file);
	free(live->where);
	free(live->name);
	free(live);
}
