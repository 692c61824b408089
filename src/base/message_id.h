/*
 * The events that deserve an alert: values of the journal's field MESSAGE_ID. They never change,
 * for people's alerts name them. Each is described in systemd/mrtokend.catalog and mrtokend(8),
 * which tests/whole/test_message_ids.py compares with this. A new one is made by systemd-id128 new.
 */
#ifndef MRTOKEND_BASE_MESSAGE_ID_H
#define MRTOKEND_BASE_MESSAGE_ID_H

/* An account's refresh failed. The first of these that fits. */
#define MESSAGE_LOGIN_NEEDED "5628b805dfec4d449a0c2a33e886de74"
#define MESSAGE_CREDENTIAL_REFUSED "6164cc1a714f48bfb18e9537484d7aef"
#define MESSAGE_REFRESH_FAILED_WITHOUT_TOKEN "8f969fb851c5402485d615fb8e8bff67"
#define MESSAGE_REFRESH_FAILED_WITH_TOKEN "03128913a3474c2c8a2a76b27bccc6fc"

/* It worked, but someone must do something before it does no more. */
#define MESSAGE_KEY_FALLBACK "629804583b6e41feafd3d7d7ab983425"
#define MESSAGE_KEY_IN_USE "8d185ca4eec04cff91e044778dd99a8b"
#define MESSAGE_CERTIFICATE_EXPIRES "985680b65a73421faf40f43225cedf76"
#define MESSAGE_STATIC_TOKEN_EXPIRES "2a4628f8b6ce4ce381193b57110a9b9d"

/* A service fails for all who ask it; it answers again. */
#define MESSAGE_CIRCUIT_OPENED "41823eb747be454c883e171b202c7f4f"
#define MESSAGE_CIRCUIT_CLOSED "5133882b51d74fe4962d2135aaeff5ed"

/* The daemon itself. */
#define MESSAGE_RELOAD_FAILED "715b1d40f00042e98cde7bf115767738"
#define MESSAGE_THREAD_HANGS "0f0c12801f15439e8fdbcd976727da5d"
#define MESSAGE_FILES_UNWATCHED "e0feb0f5b19b46ac9198e7dc866c553e"
#define MESSAGE_MEMORY_UNLOCKED "098ac9718a42439a9611c3dd5bac0b6e"
#define MESSAGE_KEPT_TOKENS_REFUSED "e8952982db09428f9c709810797019e9"

/* Who got tokens; and that it could not be told. */
#define MESSAGE_TOKEN_HANDED_OUT "366fa5fa9d12471f833e363444f25e6f"
#define MESSAGE_AUDIT_LOST "347492e8ced74b8dbfbb012e83d0b390"

#endif
