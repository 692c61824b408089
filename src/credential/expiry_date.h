/*
 * Dates by which some managed identity endpoints say until when a token lives, where others give
 * seconds. Pure. Source: azure-protocol.md C.3.
 */
#ifndef MRTOKEND_CREDENTIAL_EXPIRY_DATE_H
#define MRTOKEND_CREDENTIAL_EXPIRY_DATE_H

#include <stdint.h>

/*
 * Read one of the forms
 *
 *   06/20/2029 02:57:58 +00:00       of App Service's 2017 interface on Linux
 *   1/16/2030 5:24:12 AM +00:00      likewise, on Windows
 *   2029-06-20T02:57:58.1234567Z     ISO 8601, with Z or an offset, with a fraction or without
 *
 * unix_s  set on success only; a fraction is cut
 *
 * Returns 0, or -1 when it is none of them, names no day of the calendar, or lies before 1970.
 * Any thread. Allocates nothing.
 */
int expiry_date_parse(const char *words, int64_t *unix_s);

#endif
