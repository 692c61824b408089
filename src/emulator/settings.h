/*
 * What can be changed while the emulator runs. Any thread, without locks.
 */
#ifndef MRTOKEND_EMULATOR_SETTINGS_H
#define MRTOKEND_EMULATOR_SETTINGS_H

#include <stdatomic.h>
#include <stdint.h>

/* 24 hours, as the service gives: azure-protocol.md A.5. */
#define TOKEN_LIFETIME_DEFAULT_S 86400
#define TOKEN_LIFETIME_MIN_S 1
/* Ten years: the most that a lifetime, or the distance of a clock, may be. */
#define SPAN_MAX_S ((int64_t)3650 * 86400)

struct settings {
	_Atomic int64_t token_lifetime_s;
	/* By how much the emulator's clock is ahead of the host's: Date, nbf, iat and exp. */
	_Atomic int64_t date_offset_s;
};

#endif
