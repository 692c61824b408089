/*
 * A configuration file: read, and where it is good, printed and read again, which must say the
 * same.
 */
#include "config/config.h"

#include "fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* Load the text as a file. Returns the configuration, or NULL when it is bad. */
static struct config *load(const char *text, size_t len)
{
	char path[64];
	struct config *config = NULL;
	_cleanup_text_ struct text problems = {0};
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	fuzz_assert(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	enum error_code result = config_load(path, &config, &problems);
	close(fd);
	fuzz_assert((result == ERR_NONE) == (config != NULL));
	fuzz_assert(result == ERR_NONE || problems.len > 0);
	return config;
}

/* Without the names of the files in front. */
static const char *sections_of(const struct text *printed)
{
	const char *sections = strstr(text_string(printed), "\n[");
	return sections == NULL ? "" : sections;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = fuzz_string(bytes, len);
	struct config *config = load(text, len);
	free(text);
	if (config == NULL)
		return 0;
	_cleanup_text_ struct text printed = {0};
	_cleanup_text_ struct text again = {0};
	config_print(config, &printed);
	config_free(config);
	config = load(printed.data, printed.len);
	fuzz_assert(config != NULL);
	config_print(config, &again);
	config_free(config);
	fuzz_assert(strcmp(sections_of(&printed), sections_of(&again)) == 0);
	return 0;
}
