#include "emulator/arc_keys.h"

#include "emulator/file.h"
#include "emulator/random.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The oldest gives way. */
#define KEYS_MAX 64
#define KEY_LEN 64
#define NAME_SIZE (UUID_SIZE + 4)

struct key {
	char name[NAME_SIZE]; /* of its file; "" for none */
	char bytes[KEY_LEN + 1];
};

struct arc_keys {
	char *directory;
	int directory_fd;
	pthread_mutex_t lock; /* guards all below, and the files */
	struct key ring[KEYS_MAX];
	size_t next;
};

/* Make the directory, and the one above it. */
static int make_directory(const char *directory)
{
	char above[4096];
	if (mkdir(directory, 0750) == 0 || errno == EEXIST)
		return 0;
	snprintf(above, sizeof(above), "%s", directory);
	char *slash = strrchr(above, '/');
	if (errno != ENOENT || slash == NULL || slash == above)
		return -1;
	*slash = '\0';
	if (mkdir(above, 0755) != 0 && errno != EEXIST)
		return -1;
	return mkdir(directory, 0750);
}

struct arc_keys *arc_keys_new(const char *directory, struct error *err)
{
	struct arc_keys *keys = calloc(1, sizeof(*keys));
	if (keys == NULL || (keys->directory = strdup(directory)) == NULL) {
		free(keys);
		error_set(err, ERR_NO_MEMORY, "no memory for the keys of Azure Arc");
		return NULL;
	}
	keys->directory_fd = -1;
	if (make_directory(directory) == 0)
		keys->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (keys->directory_fd < 0) {
		error_set_errno(err, errno,
			"cannot make or open the directory %.200s for the "
			"keys of Azure Arc",
			directory);
		free(keys->directory);
		free(keys);
		return NULL;
	}
	pthread_mutex_init(&keys->lock, NULL);
	return keys;
}

static void drop(struct arc_keys *keys, struct key *key)
{
	if (key->name[0] != '\0')
		unlinkat(keys->directory_fd, key->name, 0);
	OPENSSL_cleanse(key, sizeof(*key));
}

void arc_keys_free(struct arc_keys *keys)
{
	if (keys == NULL)
		return;
	for (size_t i = 0; i < KEYS_MAX; i++)
		drop(keys, &keys->ring[i]);
	close(keys->directory_fd);
	pthread_mutex_destroy(&keys->lock);
	free(keys->directory);
	free(keys);
}

int arc_keys_challenge(struct arc_keys *keys, char *path, size_t path_size, struct error *err)
{
	char uuid[UUID_SIZE];
	int result = -1;
	pthread_mutex_lock(&keys->lock);
	struct key *key = &keys->ring[keys->next];
	drop(keys, key);
	if (!random_uuid(uuid) || !random_word(key->bytes, KEY_LEN, ALPHABET_BASE64URL)) {
		error_set(err, ERR_SYSTEM, "cannot get random bytes");
	} else {
		snprintf(key->name, sizeof(key->name), "%s.key", uuid);
		result = file_write(keys->directory_fd, key->name, 0640, key->bytes, KEY_LEN, err);
	}
	if (result == 0) {
		snprintf(path, path_size, "%s/%s", keys->directory, key->name);
		keys->next = (keys->next + 1) % KEYS_MAX;
	} else {
		drop(keys, key);
	}
	pthread_mutex_unlock(&keys->lock);
	return result;
}

bool arc_keys_take(struct arc_keys *keys, const char *given)
{
	bool is_found = false;
	size_t len = strlen(given);
	pthread_mutex_lock(&keys->lock);
	for (size_t i = 0; i < KEYS_MAX && !is_found && len == KEY_LEN; i++) {
		struct key *key = &keys->ring[i];
		is_found = key->name[0] != '\0' && CRYPTO_memcmp(key->bytes, given, len) == 0;
		if (is_found)
			drop(keys, key);
	}
	pthread_mutex_unlock(&keys->lock);
	return is_found;
}
