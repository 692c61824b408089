/*
 * A user's name and password: a kind that has no name in the configuration, only for what the
 * environment describes. Settings: authority, tenant_id (NULL: of users), client_id.
 */
#ifndef MRTOKEND_CREDENTIAL_USER_PASSWORD_H
#define MRTOKEND_CREDENTIAL_USER_PASSWORD_H

#include "credential/credential.h"

#define USER_NAME_VARIABLE "AZURE_USERNAME"
#define USER_PASSWORD_VARIABLE "AZURE_PASSWORD"

extern const struct credential_kind credential_user_password;

#endif
