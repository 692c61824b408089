/*
 * The daemon's main: options, start order, signals, reload, stop. See mrtokend(8).
 */
#include "base/log.h"
#include "config/config.h"
#include "refresher.h"
#include "server/server.h"
#include "service/cache_store.h"
#include "service/systemd.h"
#include "setup.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "config.h"

/* sysexits.h's EX_CONFIG: nothing helps but a change of the configuration. */
#define EXIT_CONFIGURATION 78
#define EXIT_USAGE 2

/* The main thread's place among the epoch's readers. */
#define EPOCH_READER 1

/* How long open answers may take to finish at the end. */
#define GRACE_MS 5000

/* How often the status line is looked at again without a reason: a token may have expired. */
#define STATUS_MS 30000

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

struct daemon {
	const char *config_path; /* NULL: the default */
	struct registry registry;
	struct refresher *refresher;
	struct credential_pool *pool; /* of the configuration in force */
	struct server *server;
	struct cache_store store; /* of tokens, for the next process */
	int signal_fd;
	int change_fd; /* written to when an account's state may have changed */
	size_t bytes_unlocked; /* of memory for secrets, as last warned of */
	char reload_error[160]; /* why the last reload failed, or "" */
	char status[512];
};

static void on_change(void *context)
{
	const struct daemon *self = context;
	const uint64_t one = 1;
	/* A counter that is full has been written to, which is all that matters. */
	ssize_t written = write(self->change_fd, &one, sizeof(one));
	(void)written;
}

/* Say how many accounts have a valid token, which one to look at, and why a reload failed. */
static void describe_state(struct daemon *self, char *out, size_t out_size)
{
	size_t valid = 0;
	size_t failing = 0;
	const char *first_failing = NULL;
	char detail[96] = "";
	int64_t now_ms = clock_boottime_ms(&clock_system);
	epoch_enter(&self->registry.epoch, EPOCH_READER);
	const struct account_table *table = atomic_load(&self->registry.table);
	for (size_t i = 0; i < table->count; i++) {
		const struct account *account = table->accounts[i];
		const struct snapshot *snapshot = atomic_load(&account->snapshot);
		const struct account_report *report = atomic_load(&account->report);
		valid += snapshot_is_valid(snapshot, now_ms);
		if (report->error.code == ERR_NONE)
			continue;
		failing++;
		if (first_failing == NULL) {
			first_failing = account->settings.name;
			snprintf(detail, sizeof(detail), "%s (%s)", first_failing,
				error_code_name(report->error.code));
		}
	}
	int len = snprintf(
		out, out_size, "%zu of %zu accounts have a valid token", valid, table->count);
	if (failing > 0 && len > 0 && (size_t)len < out_size)
		snprintf(out + len, out_size - (size_t)len, "; refresh fails for %zu: %s%s",
			failing, detail, failing > 1 ? ", ..." : "");
	if (self->reload_error[0] != '\0' && strlen(out) < out_size)
		snprintf(out + strlen(out), out_size - strlen(out),
			"; reload failed, the old configuration is in force: %s",
			self->reload_error);
	epoch_leave(&self->registry.epoch, EPOCH_READER);
}

/* Warn where the kernel let secrets into memory that may be swapped out, and when it is more. */
static void check_memory_lock(struct daemon *self)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	if (usage.bytes_unlocked > self->bytes_unlocked)
		log_warning("%zu of %zu bytes of memory for secrets could not be locked and may be "
			    "swapped out; raise RLIMIT_MEMLOCK (LimitMEMLOCK= of the unit)",
			usage.bytes_unlocked, usage.bytes_mapped);
	self->bytes_unlocked = usage.bytes_unlocked;
}

static void update_status(struct daemon *self)
{
	char status[sizeof(self->status)];
	describe_state(self, status, sizeof(status));
	check_memory_lock(self);
	if (strcmp(status, self->status) == 0)
		return;
	memcpy(self->status, status, sizeof(status));
	service_status(status);
}

/* Log each line of the problems. */
static void log_problems(const struct text *problems)
{
	const char *line = text_string(problems);
	while (line != NULL && *line != '\0') {
		size_t len = strcspn(line, "\n");
		log_error("%.*s", (int)len, line);
		line += len + (line[len] == '\n');
	}
}

/* Load it, or log all its problems; *err is the first. */
static struct config *load_config(const char *path, struct error *err)
{
	struct config *config = NULL;
	_cleanup_text_ struct text problems = {0};
	if (config_load(path, &config, &problems) == 0)
		return config;
	const char *first = text_string(&problems);
	log_problems(&problems);
	error_set(err, ERR_CONFIGURATION, "%.*s", first == NULL ? 0 : (int)strcspn(first, "\n"),
		first == NULL ? "" : first);
	return NULL;
}

static int check_config(const char *path)
{
	struct config *config = NULL;
	_cleanup_text_ struct text problems = {0};
	_cleanup_text_ struct text understood = {0};
	if (config_load(path, &config, &problems) != 0) {
		fputs(text_string(&problems) == NULL ? "out of memory\n" : problems.data, stderr);
		return EXIT_CONFIGURATION;
	}
	config_print(config, &understood);
	config_free(config);
	if (text_string(&understood) == NULL || fputs(understood.data, stdout) == EOF ||
		fflush(stdout) != 0) {
		fprintf(stderr, "mrtokend: cannot write: %m\n");
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

/* As many as there are descriptors for; where there are few, every second one is for a client. */
static unsigned connection_limit(void)
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

static int start(struct daemon *self, const struct config *config, struct error *err)
{
	struct setup_accounts accounts = {0};
	struct passed_socket *passed = NULL;
	struct passed_socket *stored = NULL;
	size_t passed_count = 0;
	size_t stored_count = 0;
	if (setup_accounts_open(config, NULL, &accounts, err) != 0)
		return -1;
	if (service_take_sockets(&passed, &passed_count, &stored, &stored_count, err) != 0) {
		setup_accounts_close(&accounts);
		return -1;
	}
	cache_store_open(&self->store);
	cache_store_take(&self->store, stored, stored_count, accounts.table, &server_answer_maker,
		clock_boottime_ms(&clock_system));
	service_stored_free(stored, stored_count);
	struct listener **listeners =
		setup_listeners_open(config, NULL, 0, passed, passed_count, err);
	service_sockets_free(passed, passed_count);
	if (listeners == NULL) {
		setup_accounts_close(&accounts);
		return -1;
	}
	const struct refresher_options refresher_options = {
		.registry = &self->registry,
		.answer_maker = &server_answer_maker,
		.clock = &clock_system,
		.on_change = on_change,
		.context = self,
	};
	const struct server_options server_options = {
		.registry = &self->registry,
		.clock = &clock_system,
		.connection_limit = connection_limit(),
	};
	self->refresher = refresher_start(&refresher_options, err);
	if (self->refresher == NULL ||
		refresher_adopt(self->refresher, accounts.table, accounts.accounts, err) != 0) {
		setup_accounts_close(&accounts);
		setup_listeners_close(listeners, config->listener_count, NULL, 0);
		return -1;
	}
	self->pool = accounts.pool;
	self->server = server_start(&server_options, listeners, config->listener_count, err);
	if (self->server == NULL) {
		setup_listeners_close(listeners, config->listener_count, NULL, 0);
		return -1;
	}
	return 0;
}

/* Put the whole new configuration in place, or nothing of it, if there is memory for the last step.
 */
static int reload(struct daemon *self, const struct config *config, struct error *err)
{
	struct setup_accounts accounts = {0};
	size_t present_count = 0;
	struct listener *const *present = server_listeners(self->server, &present_count);
	if (setup_accounts_open(config, self->pool, &accounts, err) != 0)
		return -1;
	struct listener **listeners =
		setup_listeners_open(config, present, present_count, NULL, 0, err);
	if (listeners == NULL) {
		setup_accounts_close(&accounts);
		return -1;
	}
	if (refresher_adopt(self->refresher, accounts.table, accounts.accounts, err) != 0) {
		setup_accounts_close(&accounts);
		setup_listeners_close(listeners, config->listener_count, present, present_count);
		return -1;
	}
	credential_pool_free(self->pool);
	self->pool = accounts.pool;
	if (server_set_listeners(self->server, listeners, config->listener_count, err) != 0) {
		setup_listeners_close(listeners, config->listener_count, present, present_count);
		return -1;
	}
	setup_listeners_adjust(config, listeners);
	return 0;
}

/* Have the service manager keep what changed since the last time. */
static void keep_tokens(struct daemon *self)
{
	epoch_enter(&self->registry.epoch, EPOCH_READER);
	cache_store_write(
		&self->store, atomic_load(&self->registry.table), clock_boottime_ms(&clock_system));
	epoch_leave(&self->registry.epoch, EPOCH_READER);
}

static void handle_reload(struct daemon *self)
{
	struct error err = ERROR_INIT;
	service_reloading();
	struct config *config = load_config(self->config_path, &err);
	self->reload_error[0] = '\0';
	if (config != NULL && reload(self, config, &err) == 0) {
		log_set_level(config->log_level);
		cache_store_changed(&self->store, true, clock_boottime_ms(&clock_system));
		log_notice("reloaded the configuration: accounts: %zu", config->account_count);
	} else {
		if (config != NULL)
			log_error("%s", err.message);
		log_error("the new configuration is bad; the old one stays in force");
		snprintf(self->reload_error, sizeof(self->reload_error), "%.150s", err.message);
	}
	config_free(config);
	describe_state(self, self->status, sizeof(self->status));
	check_memory_lock(self);
	/* Ready again either way: the daemon serves as before. */
	service_ready(self->status);
}

/* How long to wait without a signal or a change: for the status, or for tokens to be kept. */
static int time_to_wait(const struct daemon *self)
{
	int64_t due_ms = cache_store_due_ms(&self->store);
	int64_t now_ms = clock_boottime_ms(&clock_system);
	if (due_ms <= now_ms)
		return 0;
	return due_ms - now_ms < STATUS_MS ? (int)(due_ms - now_ms) : STATUS_MS;
}

/* Wait for signals and changes until it is time to stop. Returns the signal. */
static int run(struct daemon *self)
{
	struct pollfd polls[2] = {
		{.fd = self->signal_fd, .events = POLLIN},
		{.fd = self->change_fd, .events = POLLIN},
	};
	for (;;) {
		struct signalfd_siginfo info;
		uint64_t changes;
		if (poll(polls, 2, time_to_wait(self)) < 0 && errno != EINTR)
			log_error("cannot wait for signals: %m");
		if (read(self->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
			if (info.ssi_signo != SIGHUP)
				return (int)info.ssi_signo;
			handle_reload(self);
		}
		bool has_changed = read(self->change_fd, &changes, sizeof(changes)) > 0;
		int64_t now_ms = clock_boottime_ms(&clock_system);
		bool is_due = cache_store_due_ms(&self->store) <= now_ms;
		if (has_changed || polls[1].revents == 0)
			update_status(self);
		if (is_due)
			keep_tokens(self);
		/* Without a change: a token may have expired, and need not be kept any longer. */
		else if (has_changed || polls[1].revents == 0)
			cache_store_changed(&self->store, false, now_ms);
	}
}

static int open_descriptors(struct daemon *self, struct error *err)
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	/* Blocked before any thread starts, so that they come through the descriptor alone. */
	/* SIGCHLD may be ignored by whoever started this; then nobody would learn how programs end.
	 */
	if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
		signal(SIGCHLD, SIG_DFL) == SIG_ERR)
		return error_set_errno(err, errno, "cannot set up signals");
	self->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	self->change_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self->signal_fd < 0 || self->change_fd < 0)
		return error_set_errno(err, errno, "cannot set up signals");
	return 0;
}

/* No core dump, no debugger of the same user, no new privileges, all descriptors there are. */
static void guard_process(void)
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

static int serve(const char *config_path)
{
	struct daemon self = {.config_path = config_path, .signal_fd = -1, .change_fd = -1};
	struct error err = ERROR_INIT;
	guard_process();
	struct config *config = load_config(config_path, &err);
	if (config == NULL)
		return EXIT_CONFIGURATION;
	/* Also where no account uses them, and nobody will ever read them. */
	for (size_t i = 0; i < sizeof(secret_variables) / sizeof(secret_variables[0]); i++)
		secret_source_wipe_environment(secret_variables[i]);
	log_set_level(config->log_level);
	registry_init(&self.registry);
	int result = open_descriptors(&self, &err);
	if (result == 0)
		result = start(&self, config, &err);
	size_t account_count = config->account_count;
	config_free(config);
	if (result == 0) {
		check_memory_lock(&self);
		describe_state(&self, self.status, sizeof(self.status));
		log_notice(
			PACKAGE_NAME " " PACKAGE_VERSION " is ready, accounts: %zu", account_count);
		service_ready(self.status);
		int signal_number = run(&self);
		keep_tokens(
			&self); /* first, for whoever ends this before it has stopped in order */
		service_stopping();
		log_notice("stopping: %s", strsignal(signal_number));
	} else {
		log_error("%s", err.message);
	}
	server_stop(self.server, GRACE_MS);
	refresher_stop(self.refresher);
	if (result == 0)
		keep_tokens(&self);
	credential_pool_free(self.pool);
	registry_destroy(&self.registry);
	secret_source_forget_environment();
	if (self.signal_fd >= 0)
		close(self.signal_fd);
	if (self.change_fd >= 0)
		close(self.change_fd);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void print_help(FILE *out)
{
	fputs("Usage: mrtokend [OPTION]...\n"
	      "Hold the credentials of Azure Mixed Reality accounts and serve their access "
	      "tokens.\n"
	      "\n"
	      "  -c, --config FILE   read FILE and FILE.d/*.conf instead of\n"
	      "                      " SYSCONFDIR "/mrtokend/mrtokend.conf\n"
	      "      --check-config  print what the configuration was understood to be, and exit\n"
	      "  -h, --help          print this, and exit\n"
	      "  -V, --version       print the version, and exit\n"
	      "\n"
	      "Exit status: 0 stopped in order, 1 failed, 2 wrong usage, 78 bad configuration.\n"
	      "SIGHUP reloads the configuration. The manual is mrtokend(8).\n",
		out);
}

int main(int argc, char **argv)
{
	enum { OPTION_CHECK_CONFIG = 256 };
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, OPTION_CHECK_CONFIG},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	const char *config_path = NULL;
	bool is_check = false;
	int option;
	while ((option = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			config_path = optarg;
			break;
		case OPTION_CHECK_CONFIG:
			is_check = true;
			break;
		case 'h':
			print_help(stdout);
			return EXIT_SUCCESS;
		case 'V':
			puts(PACKAGE_NAME " " PACKAGE_VERSION);
			return EXIT_SUCCESS;
		default:
			fputs("Try 'mrtokend --help'.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"mrtokend: found '%s', expected options only\nTry 'mrtokend --help'.\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	if (is_check)
		return check_config(config_path);
	log_open("mrtokend");
	return serve(config_path);
}
