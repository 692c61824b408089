/*
 * What can be changed while the emulator runs. Any thread, without locks.
 */
#ifndef MRTOKEND_EMULATOR_SETTINGS_H
#define MRTOKEND_EMULATOR_SETTINGS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* 24 hours, as the service gives: azure-protocol.md A.5. */
#define TOKEN_LIFETIME_DEFAULT_S 86400
#define TOKEN_LIFETIME_MIN_S 1
/* Ten years: the most that a lifetime, or the distance of a clock, may be. */
#define SPAN_MAX_S ((int64_t)3650 * 86400)

/* What Entra usually gives: azure-protocol.md B.5, B.6; the virtual machine's endpoint: C. */
#define ENTRA_EXPIRES_IN_DEFAULT_S 3599
#define REFRESH_TOKEN_DEFAULT_S ((int64_t)90 * 86400)
#define DEVICE_CODE_DEFAULT_S 900
#define DEVICE_INTERVAL_DEFAULT_S 5
#define IDENTITY_EXPIRES_IN_DEFAULT_S 86400

struct settings {
	_Atomic int64_t token_lifetime_s;
	/* By how much the emulator's clock is ahead of the host's: Date, nbf, iat and exp. */
	_Atomic int64_t date_offset_s;
	_Atomic int64_t entra_expires_in_s;
	_Atomic int64_t entra_ext_expires_in_s; /* 0: the same */
	_Atomic int64_t entra_refresh_in_s; /* 0: it is not there */
	_Atomic int64_t entra_token_version;
	_Atomic int64_t refresh_token_lifetime_s;
	_Atomic int64_t device_code_lifetime_s;
	_Atomic int64_t device_code_interval_s;
	_Atomic int64_t identity_expires_in_s;
	_Atomic int64_t identity_refresh_in_s; /* 0: it is not there */
};

/* What each setting is when nobody changed it. */
void settings_init(struct settings *settings);

/* One setting by its name in JSON, and its bounds. The manual's table follows this one. */
struct setting {
	const char *name;
	size_t offset; /* in struct settings */
	int64_t min;
	int64_t max;
	int64_t usual;
};

extern const struct setting settings_known[];
extern const size_t settings_count;

static inline _Atomic int64_t *settings_place(
	struct settings *settings, const struct setting *setting)
{
	return (_Atomic int64_t *)((char *)settings + setting->offset);
}

#endif
