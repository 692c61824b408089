#include "emulator/settings.h"

#define SETTING(member, min, max, usual)                                    \
	{                                                                   \
#member, offsetof(struct settings, member), min, max, usual \
	}

const struct setting settings_known[] = {
	SETTING(token_lifetime_s, TOKEN_LIFETIME_MIN_S, SPAN_MAX_S, TOKEN_LIFETIME_DEFAULT_S),
	SETTING(date_offset_s, -SPAN_MAX_S, SPAN_MAX_S, 0),
	SETTING(entra_expires_in_s, 1, SPAN_MAX_S, ENTRA_EXPIRES_IN_DEFAULT_S),
	SETTING(entra_ext_expires_in_s, 0, SPAN_MAX_S, 0),
	SETTING(entra_refresh_in_s, 0, SPAN_MAX_S, 0),
	SETTING(entra_token_version, 1, 2, 1),
	SETTING(refresh_token_lifetime_s, 1, SPAN_MAX_S, REFRESH_TOKEN_DEFAULT_S),
	SETTING(device_code_lifetime_s, 1, SPAN_MAX_S, DEVICE_CODE_DEFAULT_S),
	SETTING(device_code_interval_s, 1, 3600, DEVICE_INTERVAL_DEFAULT_S),
	SETTING(identity_expires_in_s, 1, SPAN_MAX_S, IDENTITY_EXPIRES_IN_DEFAULT_S),
	SETTING(identity_refresh_in_s, 0, SPAN_MAX_S, 0),
};
const size_t settings_count = sizeof(settings_known) / sizeof(settings_known[0]);

void settings_init(struct settings *settings)
{
	for (size_t i = 0; i < settings_count; i++)
		atomic_init(settings_place(settings, &settings_known[i]), settings_known[i].usual);
}
