/*
 * mrtoken-emulator: options, start order, signals, stop.
 */
#include "config.h"

#include "base/error.h"
#include "base/log.h"
#include "emulator/arc_keys.h"
#include "emulator/ca.h"
#include "emulator/device_codes.h"
#include "emulator/emulator.h"
#include "emulator/file.h"
#include "emulator/identities.h"
#include "emulator/options.h"
#include "emulator/refresh_tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRAM "mrtoken-emulator"
#define ENDPOINTS_NAME "endpoints.json"
#define ARC_KEYS_NAME "azcmagent-tokens"
#define EXIT_FAILED 1
#define EXIT_USAGE 2

/*
 * The directory, made if need be, for this process alone.
 * Returns a descriptor, or -1 with *err: ERR_CONFIGURATION when the option is at fault.
 */
static int open_directory(const char *path, struct error *err)
{
	if (mkdir(path, 0755) != 0 && errno != EEXIST) {
		if (errno == ENOENT || errno == ENOTDIR)
			return error_set(err, ERR_CONFIGURATION,
				"--directory %.200s: it is not there, nor is the directory above "
				"it",
				path);
		return error_set_errno(err, errno, "cannot make the directory %.200s", path);
	}
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOTDIR)
		return error_set(
			err, ERR_CONFIGURATION, "--directory %.200s: it is not a directory", path);
	if (fd < 0)
		return error_set_errno(err, errno, "cannot open the directory %.200s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	if (errno == EWOULDBLOCK)
		error_set(err, ERR_SYSTEM, "another mrtoken-emulator uses the directory %.200s",
			path);
	else
		error_set_errno(err, errno, "cannot lock the directory %.200s", path);
	close(fd);
	return -1;
}

/* Each connection takes a descriptor; the usual limit of 1,024 is too low for a load test. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/*
 * Where Azure Arc's keys go: where the option says, else where the real agent puts them, if that is
 * there for us, else below our own directory.
 */
static int make_arc_keys(
	struct emulator *emulator, const struct options *options, struct error *err)
{
	_cleanup_text_ struct text path = {0};
	const char *directory = options->arc_directory;
	if (directory == NULL && access(ARC_DIRECTORY, W_OK) == 0)
		directory = ARC_DIRECTORY;
	if (directory == NULL) {
		char *own = realpath(options->directory, NULL);
		if (own == NULL)
			return error_set_errno(
				err, errno, "cannot find the directory %.200s", options->directory);
		text_appendf(&path, "%s/" ARC_KEYS_NAME, own);
		free(own);
		directory = text_string(&path);
	}
	if (directory == NULL)
		return error_set(err, ERR_NO_MEMORY, "no memory for the keys of Azure Arc");
	emulator->arc_keys = arc_keys_new(directory, err);
	return emulator->arc_keys == NULL ? -1 : 0;
}

static int add_usual_identity(struct emulator *emulator, struct error *err)
{
	struct identity identity;
	struct json_object *json = json_object_new_object();
	json_object_object_add(json, "system_assigned", json_object_new_boolean(true));
	int result = identity_from_json(&identity, IDENTITY_DEFAULT_CLIENT_ID, json, err);
	json_object_put(json);
	return result == 0 && identities_put(emulator->identities, &identity, err) >= 0 ? 0 : -1;
}

static int start_servers(
	struct emulator *emulator, const struct ca_identity *identity, struct error *err)
{
	for (size_t i = 0; i < SERVER_COUNT; i++) {
		emulator->servers[i] =
			server_start(server_kinds[i], emulator, &emulator->stop, identity, err);
		if (emulator->servers[i] == NULL)
			return -1;
	}
	return 0;
}

/* Tell where the servers are: in the directory, and on standard output for whoever started us. */
static int publish_endpoints(const struct emulator *emulator, int directory_fd, struct error *err)
{
	_cleanup_text_ struct text line = {0};
	for (size_t i = 0; i < SERVER_COUNT; i++)
		text_appendf(&line, "%s\"%s\":\"%s://127.0.0.1:%u\"", i == 0 ? "{" : ",",
			server_kinds[i]->name, server_kinds[i]->has_tls ? "https" : "http",
			(unsigned)server_port(emulator->servers[i]));
	text_append(&line, "}\n");
	const char *string = text_string(&line);
	if (string == NULL)
		return error_set(err, ERR_NO_MEMORY, "no memory for " ENDPOINTS_NAME);
	if (file_write(directory_fd, ENDPOINTS_NAME, 0644, string, line.len, err) != 0)
		return -1;
	fputs(string, stdout);
	fflush(stdout);
	return 0;
}

static void wait_for_signal(const sigset_t *signals)
{
	int signal_number = 0;
	while (sigwait(signals, &signal_number) != 0)
		continue;
	log_notice("stopping on signal %s", strsignal(signal_number));
}

static void stop_servers(struct emulator *emulator)
{
	stop_now(&emulator->stop);
	record_stop(emulator->record);
	for (size_t i = SERVER_COUNT; i-- > 0;) {
		server_stop(emulator->servers[i]);
		emulator->servers[i] = NULL;
	}
}

/* From the directory to the signal that ends it all. */
static int serve(struct emulator *emulator, const struct options *options, const sigset_t *signals,
	struct error *err)
{
	struct ca_identity identity = {0};
	bool is_new = false;
	int directory_fd = open_directory(options->directory, err);
	if (directory_fd < 0)
		return -1;
	/* That of an earlier run leads nowhere. */
	unlinkat(directory_fd, ENDPOINTS_NAME, 0);
	int result = ca_issue(directory_fd, &identity, &is_new, err);
	if (result == 0 && !ca_identity_thumbprint(&identity, emulator->server_thumbprint))
		result = error_set(err, ERR_SYSTEM, "cannot digest the server's certificate");
	if (result == 0)
		result = make_arc_keys(emulator, options, err);
	if (result == 0)
		result = add_usual_identity(emulator, err);
	if (result == 0)
		result = start_servers(emulator, &identity, err);
	ca_identity_free(&identity);
	if (result == 0)
		result = publish_endpoints(emulator, directory_fd, err);
	if (result == 0) {
		log_notice("sts on https://127.0.0.1:%u, control on http://127.0.0.1:%u, %s "
			   "certificate authority in %.200s/ca.pem",
			(unsigned)server_port(emulator->servers[SERVER_STS]),
			(unsigned)server_port(emulator->servers[SERVER_CONTROL]),
			is_new ? "new" : "same", options->directory);
		wait_for_signal(signals);
	}
	unlinkat(directory_fd, ENDPOINTS_NAME, 0);
	stop_servers(emulator);
	close(directory_fd);
	return result;
}

static void make_all(struct emulator *emulator)
{
	settings_init(&emulator->settings);
	emulator->accounts = accounts_new();
	emulator->tenants = tenants_new();
	emulator->apps = apps_new();
	emulator->device_codes = device_codes_new();
	emulator->refresh_tokens = refresh_tokens_new();
	emulator->identities = identities_new();
	emulator->kept_tokens = kept_tokens_new();
	emulator->faults = faults_new();
	emulator->record = record_new();
}

/* And the secrets, which may fail as well. */
static bool has_all(struct emulator *emulator)
{
	return emulator->accounts != NULL && emulator->tenants != NULL && emulator->apps != NULL &&
	       emulator->device_codes != NULL && emulator->refresh_tokens != NULL &&
	       emulator->identities != NULL && identity_secrets_make(&emulator->identity_secrets) &&
	       emulator->kept_tokens != NULL && emulator->faults != NULL &&
	       emulator->record != NULL;
}

static void free_all(struct emulator *emulator)
{
	record_free(emulator->record);
	faults_free(emulator->faults);
	kept_tokens_free(emulator->kept_tokens);
	arc_keys_free(emulator->arc_keys);
	identities_free(emulator->identities);
	refresh_tokens_free(emulator->refresh_tokens);
	device_codes_free(emulator->device_codes);
	apps_free(emulator->apps);
	tenants_free(emulator->tenants);
	accounts_free(emulator->accounts);
	signing_key_free(emulator->sts_key);
	signing_key_free(emulator->entra_key);
}

static int run(int argc, char **argv, struct emulator *emulator, const sigset_t *signals)
{
	struct error err = ERROR_INIT;
	struct options options;
	if (!has_all(emulator)) {
		log_error("no memory");
		return EXIT_FAILED;
	}
	if (options_read(argc, argv, &options, emulator, &err) != 0) {
		log_error("%s", err.message);
		return EXIT_USAGE;
	}
	if (options.wants_help || options.wants_version) {
		fputs(options.wants_help ? options_help : PROGRAM " " PACKAGE_VERSION "\n", stdout);
		return fflush(stdout) == 0 ? 0 : EXIT_FAILED;
	}
	atomic_store(&emulator->settings.token_lifetime_s, options.token_lifetime_s);
	emulator->sts_key = signing_key_new(&err);
	emulator->entra_key = emulator->sts_key == NULL ? NULL : signing_key_new(&err);
	if (emulator->entra_key == NULL || serve(emulator, &options, signals, &err) != 0) {
		log_error("%s", err.message);
		return err.code == ERR_CONFIGURATION ? EXIT_USAGE : EXIT_FAILED;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct emulator emulator = {0};
	sigset_t signals;
	log_open(PROGRAM);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	/* Before any thread starts, so that they all inherit it. */
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	if (stop_init(&emulator.stop) != 0) {
		log_error("the system refuses a condition variable");
		return EXIT_FAILED;
	}
	make_all(&emulator);
	int status = run(argc, argv, &emulator, &signals);
	free_all(&emulator);
	stop_destroy(&emulator.stop);
	return status;
}
