#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	enum error_class class;
} codes[ERR_CODE_COUNT] = {
	[ERR_NONE] = {"none", ERROR_CLASS_RETRY},
	[ERR_SYSTEM] = {"system", ERROR_CLASS_SYSTEM},
	[ERR_NO_MEMORY] = {"no_memory", ERROR_CLASS_SYSTEM},
	[ERR_CONFIGURATION] = {"configuration", ERROR_CLASS_CONFIGURATION},
	[ERR_SECRET_SOURCE] = {"secret_source", ERROR_CLASS_CREDENTIAL},
	[ERR_NETWORK] = {"network", ERROR_CLASS_RETRY},
	[ERR_TLS] = {"tls", ERROR_CLASS_UPSTREAM},
	[ERR_TIMEOUT] = {"timeout", ERROR_CLASS_RETRY},
	[ERR_THROTTLED] = {"throttled", ERROR_CLASS_RETRY},
	[ERR_UPSTREAM_FAULT] = {"upstream_fault", ERROR_CLASS_RETRY},
	[ERR_UNAVAILABLE] = {"unavailable", ERROR_CLASS_RETRY},
	[ERR_DENIED] = {"denied", ERROR_CLASS_CREDENTIAL},
	[ERR_REFUSED] = {"refused", ERROR_CLASS_CONFIGURATION},
	[ERR_UPSTREAM_FORMAT] = {"upstream_format", ERROR_CLASS_UPSTREAM},
};

void error_make_printable(char *string)
{
	for (; *string != '\0'; string++)
		if (*string < 0x20 || *string > 0x7e)
			*string = '?';
}

__attribute__((format(printf, 4, 0))) static void set_message(struct error *err,
	enum error_code code, const char *suffix, const char *format, va_list args)
{
	char message[sizeof(err->message)];
	int len = vsnprintf(message, sizeof(message), format, args);
	if (len < 0)
		message[0] = '\0';
	if (suffix != NULL && len >= 0 && (size_t)len < sizeof(message))
		snprintf(message + len, sizeof(message) - (size_t)len, ": %s", suffix);
	error_make_printable(message);
	*err = ERROR_INIT;
	err->code = code;
	memcpy(err->message, message, sizeof(message));
}

int error_set(struct error *err, enum error_code code, const char *format, ...)
{
	if (err == NULL)
		return -1;
	va_list args;
	va_start(args, format);
	set_message(err, code, NULL, format, args);
	va_end(args);
	return -1;
}

int error_set_errno(struct error *err, int errnum, const char *format, ...)
{
	if (err == NULL)
		return -1;
	char words[128];
	const char *text = strerror_r(errnum, words, sizeof(words));
	va_list args;
	va_start(args, format);
	set_message(err, errnum == ENOMEM ? ERR_NO_MEMORY : ERR_SYSTEM, text, format, args);
	va_end(args);
	return -1;
}

int error_wrap(struct error *err, const char *format, ...)
{
	if (err == NULL)
		return -1;
	char message[sizeof(err->message)];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (len < 0)
		return -1;
	size_t used = (size_t)len < sizeof(message) ? (size_t)len : sizeof(message) - 1;
	int rest = snprintf(message + used, sizeof(message) - used, ": %s", err->message);
	if (rest < 0)
		return -1;
	error_make_printable(message);
	memcpy(err->message, message, sizeof(message));
	return -1;
}

const char *error_code_name(enum error_code code)
{
	return (unsigned)code < ERR_CODE_COUNT ? codes[code].name : "unknown";
}

enum error_class error_class_of(enum error_code code)
{
	return (unsigned)code < ERR_CODE_COUNT ? codes[code].class : ERROR_CLASS_SYSTEM;
}
