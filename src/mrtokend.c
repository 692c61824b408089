/*
 * The daemon's main: options, start order, signals, reload, stop. See mrtokend(8).
 */
#include "base/log.h"
#include "base/message_id.h"
#include "config/config.h"
#include "process.h"
#include "refresher.h"
#include "server/peer.h"
#include "server/server.h"
#include "service/cache_store.h"
#include "service/systemd.h"
#include "service/watchdog.h"
#include "setup.h"
#include "status_line.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
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

/* How often the status line is looked at again without a reason: a token may have expired, and the
 * next refresh comes nearer. */
#define STATUS_MS 30000

struct daemon {
	const char *config_path; /* NULL: the default */
	struct registry registry;
	struct refresher *refresher;
	struct credential_pool *pool; /* of the configuration in force */
	struct server *server;
	struct cache_store store; /* of tokens, for the next process */
	int signal_fd;
	int change_fd; /* written to when an account's state may have changed */
	struct watchdog watchdog;
	size_t bytes_unlocked; /* of memory for secrets, as last warned of */
	char reload_error[ERROR_MESSAGE_SIZE]; /* why the last reload failed, or "" */
	struct status_line status; /* as last told */
	int64_t status_due_ms; /* CLOCK_BOOTTIME when to look at all of it again */
};

static void on_change(void *context)
{
	const struct daemon *self = context;
	const uint64_t one = 1;
	/* A counter that is full has been written to, which is all that matters. */
	ssize_t written = write(self->change_fd, &one, sizeof(one));
	(void)written;
}

/* Warn where the kernel let secrets into memory that may be swapped out, and when it is more. */
static void check_memory_lock(struct daemon *self)
{
	const struct log_field fields[] = {{"MESSAGE_ID", MESSAGE_MEMORY_UNLOCKED}, {0}};
	struct secret_memory usage;
	secret_memory_usage(&usage);
	if (usage.bytes_unlocked > self->bytes_unlocked)
		log_event(LOG_LEVEL_WARNING, fields,
			"%zu of %zu bytes of memory for secrets could not be locked and may be "
			"swapped out; raise RLIMIT_MEMLOCK (LimitMEMLOCK= of the unit)",
			usage.bytes_unlocked, usage.bytes_mapped);
	self->bytes_unlocked = usage.bytes_unlocked;
}

/* Have self->status say how it is now. */
static void describe_state(struct daemon *self)
{
	int64_t now_ms = clock_boottime_ms(&clock_system);
	status_line_describe(
		&self->registry, EPOCH_READER, now_ms, self->reload_error, &self->status);
	self->status_due_ms = now_ms + STATUS_MS;
}

/* Tell the status if it is another: at once what has changed, and what time changes when it is due.
 */
static void update_status(struct daemon *self)
{
	const struct status_line before = self->status;
	int64_t due_ms = self->status_due_ms;
	describe_state(self);
	check_memory_lock(self);
	bool is_due = self->status_due_ms - STATUS_MS >= due_ms;
	bool has_changed = strcmp(self->status.state, before.state) != 0;
	if (!has_changed && !is_due) {
		self->status = before;
		self->status_due_ms = due_ms;
		return;
	}
	char status[STATUS_LINE_SIZE];
	status_line_join(&self->status, status);
	if (has_changed || strcmp(self->status.next, before.next) != 0)
		service_status(status);
}

/* Tell that the daemon serves, as it did before if it was reloaded. */
static void tell_ready(struct daemon *self)
{
	char status[STATUS_LINE_SIZE];
	check_memory_lock(self);
	describe_state(self);
	status_line_join(&self->status, status);
	service_ready(status);
}

/* Also while this thread waits for another one, which may be the one that hangs. */
static void turn_watchdog(void *context)
{
	watchdog_turn(context);
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
	enum error_code failure = config_load(path, &config, &problems);
	if (failure == ERR_NONE)
		return config;
	const char *first = text_string(&problems);
	log_problems(&problems);
	error_set(err, failure, "%.*s", first == NULL ? 0 : (int)strcspn(first, "\n"),
		first == NULL ? "" : first);
	return NULL;
}

static int check_config(const char *path)
{
	struct config *config = NULL;
	_cleanup_text_ struct text problems = {0};
	_cleanup_text_ struct text understood = {0};
	enum error_code failure = config_load(path, &config, &problems);
	if (failure != ERR_NONE) {
		fputs(text_string(&problems) == NULL ? "out of memory\n" : problems.data, stderr);
		return failure == ERR_NO_MEMORY ? EXIT_FAILURE : EXIT_CONFIGURATION;
	}
	config_print(config, &understood);
	config_free(config);
	text_appendf(&understood, "\n# the systemd units of peers are told %s\n",
		peer_way_text(peer_find_way()));
	if (text_string(&understood) == NULL || fputs(understood.data, stdout) == EOF ||
		fflush(stdout) != 0) {
		fprintf(stderr, "mrtokend: cannot write: %m\n");
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
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
		.meanwhile = {turn_watchdog, &self->watchdog},
	};
	const struct server_options server_options = {
		.registry = &self->registry,
		.clock = &clock_system,
		.connection_limit = process_connection_limit(),
		.meanwhile = {turn_watchdog, &self->watchdog},
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
	const struct log_field fields[] = {{"MESSAGE_ID", MESSAGE_RELOAD_FAILED}, {0}};
	struct error err = ERROR_INIT;
	service_reloading();
	struct config *config = load_config(self->config_path, &err);
	self->reload_error[0] = '\0';
	if (config != NULL && reload(self, config, &err) == 0) {
		log_set_level(config->log_level);
		/* At once: the token of an account that is gone is not to lie there. */
		cache_store_changed(&self->store, true, clock_boottime_ms(&clock_system));
		keep_tokens(self);
		log_notice("reloaded the configuration: accounts: %zu", config->account_count);
	} else {
		if (config != NULL)
			log_error("%s", err.message);
		log_event(LOG_LEVEL_ERROR, fields,
			"the new configuration is bad; the old one stays in force");
		snprintf(self->reload_error, sizeof(self->reload_error), "%s", err.message);
	}
	config_free(config);
	/* Either way: the daemon serves as before. */
	tell_ready(self);
}

/* For how many milliseconds there is nothing to do unless something happens. */
static int time_to_wait(const struct daemon *self)
{
	int64_t due_ms = watchdog_due_ms(&self->watchdog);
	if (self->status_due_ms < due_ms)
		due_ms = self->status_due_ms;
	if (cache_store_due_ms(&self->store) < due_ms)
		due_ms = cache_store_due_ms(&self->store);
	int64_t wait_ms = due_ms - clock_boottime_ms(&clock_system);
	return wait_ms > 0 ? (int)wait_ms : 0;
}

/* Wait for signals and changes until it is time to stop. Returns the signal. */
static int run(struct daemon *self)
{
	struct pollfd polls[] = {
		{.fd = self->signal_fd, .events = POLLIN},
		{.fd = self->change_fd, .events = POLLIN},
		{.fd = self->watchdog.fd, .events = POLLIN},
	};
	for (;;) {
		struct signalfd_siginfo info;
		uint64_t changes;
		if (poll(polls, sizeof(polls) / sizeof(polls[0]), time_to_wait(self)) < 0 &&
			errno != EINTR)
			log_error("cannot wait for signals: %m");
		watchdog_turn(&self->watchdog);
		if (read(self->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
			if (info.ssi_signo != SIGHUP)
				return (int)info.ssi_signo;
			handle_reload(self);
		}
		bool has_changed = read(self->change_fd, &changes, sizeof(changes)) > 0;
		int64_t now_ms = clock_boottime_ms(&clock_system);
		/* Without a change: a token may have expired, and is not kept any longer. */
		if (has_changed || now_ms >= self->status_due_ms) {
			update_status(self);
			cache_store_changed(&self->store, false, now_ms);
		}
		if (now_ms >= cache_store_due_ms(&self->store))
			keep_tokens(self);
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
	return watchdog_open(
		&self->watchdog, &clock_system, service_watchdog_ms(), service_feed_watchdog, err);
}

static int serve(const char *config_path)
{
	struct daemon self = {
		.config_path = config_path,
		.signal_fd = -1,
		.change_fd = -1,
		.watchdog = {.fd = -1},
	};
	struct error err = ERROR_INIT;
	process_guard();
	struct config *config = load_config(config_path, &err);
	if (config == NULL)
		return err.code == ERR_NO_MEMORY ? EXIT_FAILURE : EXIT_CONFIGURATION;
	process_wipe_environment();
	log_set_level(config->log_level);
	registry_init(&self.registry);
	int result = open_descriptors(&self, &err);
	if (result == 0)
		result = start(&self, config, &err);
	size_t account_count = config->account_count;
	config_free(config);
	if (result == 0) {
		log_notice(
			PACKAGE_NAME " " PACKAGE_VERSION " is ready, accounts: %zu", account_count);
		watchdog_watch(&self.watchdog, refresher_heartbeat(self.refresher));
		watchdog_watch(&self.watchdog, server_heartbeat(self.server));
		tell_ready(&self);
		int signal_number = run(&self);
		service_stopping();
		/* Now, in case that somebody ends this before it has stopped in order. */
		keep_tokens(&self);
		log_notice("stopping: %s", strsignal(signal_number));
	} else {
		log_error("%s", err.message);
	}
	server_stop(self.server, GRACE_MS);
	refresher_stop(self.refresher);
	watchdog_close(&self.watchdog); /* after those who may still answer it */
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
