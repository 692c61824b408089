/*
 * The tokens that the process before kept, as whoever can may have forged them: any bytes in a
 * sealed memfd, with a digest that fits where the first byte is odd.
 */
#include "fuzz.h"
#include "unit.h"

/* Check's own end the program where no test of it runs. */
#undef ck_assert
#undef ck_assert_int_eq
#undef ck_assert_ptr_nonnull
#define ck_assert(holds) fuzz_assert(holds)
#define ck_assert_int_eq(a, b) fuzz_assert((a) == (b))
#define ck_assert_ptr_nonnull(pointer) fuzz_assert((pointer) != NULL)

#include "cache_scene.h"

static int sealed(const uint8_t *bytes, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fuzz_assert(fd >= 0);
	fuzz_assert(write(fd, bytes, len) == (ssize_t)len);
	fuzz_assert(fcntl(fd, F_ADD_SEALS, CACHE_IMAGE_SEALS) == 0);
	return fd;
}

static void take(const struct cache_image *image)
{
	struct account_table *table =
		scene_table(scene_account("anchors", NULL), scene_account("storage", "scope"));
	struct cache_takeover takeover;
	cache_image_take(image, &scene_moment, table, &scene_maker, &takeover);
	if (takeover.unfit > 0)
		fuzz_assert_told(&takeover.first_err);
	account_table_free(table);
	fuzz_assert(scene_answers == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len < 1 + CACHE_IMAGE_HEADER_SIZE + CACHE_DIGEST_SIZE)
		return 0;
	size_t before = fuzz_secret_bytes();
	struct scene_bytes forged = {(unsigned char *)fuzz_string(bytes + 1, len - 1), len - 1};
	if (bytes[0] % 2 == 1) {
		memcpy(forged.at + CACHE_IMAGE_BOOT_AT, scene_moment.boot, CACHE_IMAGE_BOOT_SIZE);
		cache_put_64(forged.at + CACHE_IMAGE_SIZE_AT, forged.len);
		scene_seal_digest(forged);
	}
	int fd = sealed(forged.at, forged.len);
	struct error err = ERROR_INIT;
	struct cache_image *image = cache_image_open(fd, &scene_moment, &err);
	close(fd);
	if (image == NULL)
		fuzz_assert_told(&err);
	else
		take(image);
	cache_image_close(image);
	free(forged.at);
	fuzz_assert(fuzz_secret_bytes() == before);
	return 0;
}
