/*
 * A form as it is posted, application/x-www-form-urlencoded, in secret memory. Any thread.
 * Each returns 0, or -1 when there is no memory; the form may then hold a part.
 */
#ifndef MRTOKEND_BASE_FORM_H
#define MRTOKEND_BASE_FORM_H

#include "base/secret.h"

/* Append NAME=VALUE, the value percent-encoded. Nothing at all when the value is NULL. */
int form_add(struct secret *form, const char *name, const char *value);
int form_add_secret(struct secret *form, const char *name, const struct secret *value);

#endif
