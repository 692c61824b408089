#include "base/random.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

int random_bytes(void *out, size_t len, struct error *err)
{
	unsigned char *at = out;
	while (len > 0) {
		ssize_t got = getrandom(at, len, 0);
		if (got < 0 && errno != EINTR)
			return error_set_errno(err, errno, "the kernel gives no random bytes");
		if (got > 0) {
			at += got;
			len -= (size_t)got;
		}
	}
	return 0;
}

int random_uuid(char out[RANDOM_UUID_SIZE], struct error *err)
{
	unsigned char b[16];
	if (random_bytes(b, sizeof(b), err) != 0)
		return -1;
	b[6] = (b[6] & 0x0f) | 0x40; /* version 4 */
	b[8] = (b[8] & 0x3f) | 0x80; /* RFC 4122's variant */
	snprintf(out, RANDOM_UUID_SIZE,
		"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		b[15]);
	return 0;
}

double random_part(void)
{
	uint32_t number = 0;
	if (random_bytes(&number, sizeof(number), NULL) != 0)
		return 0;
	return (double)number / 4294967296.0;
}
