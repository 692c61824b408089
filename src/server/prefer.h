/*
 * The header Prefer of RFC 7240, as far as this server heeds it: `wait`. Pure.
 */
#ifndef MRTOKEND_SERVER_PREFER_H
#define MRTOKEND_SERVER_PREFER_H

#include <stdint.h>

/*
 * For how many seconds whoever sent this value wants to wait at most, or -1 when it does not say.
 * What is not understood is passed over, as the RFC wants (section 2); of several, the first
 * counts. A number of any length is taken; one of more than thirty years may come out smaller.
 */
int64_t prefer_wait_s(const char *value);

#endif
