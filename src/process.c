#include "process.h"

#include "base/log.h"
#include "credential/secret_source.h"

#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* Descriptors for all that is no client: upstream connections, open and kept, and files. */
#define DESCRIPTORS_BESIDE_CLIENTS ((rlim_t)256)

/* No more connections than this, however many descriptors there are. */
#define CONNECTIONS_MAX ((rlim_t)20000)

/* The variables that a platform or an operator passes secrets in. */
static const char *const secret_variables[] = {
	"MIXEDREALITY_ACCOUNT_KEY",
	"AZURE_CLIENT_SECRET",
	"AZURE_CLIENT_CERTIFICATE_PASSWORD",
	"AZURE_PASSWORD",
	"IDENTITY_HEADER",
	"MSI_SECRET",
};

void process_guard(void)
{
	const struct rlimit no_core = {0, 0};
	struct rlimit files;
	if (setrlimit(RLIMIT_CORE, &no_core) != 0)
		log_warning("cannot forbid core dumps: %m");
	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		log_warning("cannot forbid debuggers: %m");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		log_warning("cannot forbid new privileges: %m");
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files) != 0)
			log_warning("cannot raise the limit of open files: %m");
	}
}

void process_wipe_environment(void)
{
	for (size_t i = 0; i < sizeof(secret_variables) / sizeof(secret_variables[0]); i++)
		secret_source_wipe_environment(secret_variables[i]);
}

unsigned process_connection_limit(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		files.rlim_cur = DESCRIPTORS_BESIDE_CLIENTS;
	if (files.rlim_cur > CONNECTIONS_MAX + DESCRIPTORS_BESIDE_CLIENTS)
		return CONNECTIONS_MAX;
	if (files.rlim_cur > 2 * DESCRIPTORS_BESIDE_CLIENTS)
		return (unsigned)(files.rlim_cur - DESCRIPTORS_BESIDE_CLIENTS);
	return (unsigned)files.rlim_cur / 2;
}
