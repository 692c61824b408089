#include "setup.h"

#include "base/log.h"

#include "unit.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- accounts ----------------------------------------------------------------------------------
 */

static unsigned opened;
static unsigned closed;
static const char *fails_for; /* the account whose credential cannot be opened */

static const struct credential_kind scripted_kind;

static struct credential *scripted_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	/* The settings are the configuration's, the account is the new one. */
	if (settings->kinds[0] == &scripted_kind)
		ck_assert_str_eq(settings->account_key.name, account->name);
	if (fails_for != NULL && strcmp(fails_for, account->name) == 0) {
		error_set(err, ERR_SECRET_SOURCE, "account_key: no such key");
		return NULL;
	}
	struct credential *credential = calloc(1, sizeof(*credential));
	ck_assert_ptr_nonnull(credential);
	opened++;
	return credential;
}

static void scripted_close(struct credential *credential)
{
	closed++;
	free(credential);
}

static const struct credential_kind scripted_kind = {
	.name = "scripted",
	.open = scripted_open,
	.close = scripted_close,
};

static const struct credential_kind shared_kind = {
	.name = "shared",
	.open = scripted_open,
	.close = scripted_close,
	.is_shared = true,
};

static const struct upstream upstream_one = {.kind = "one"};
static const struct upstream upstream_two = {.kind = "two"};

/* Memory that is not constant, as it is in a configuration; freed by free_accounts(). */
static void add_account(struct config *config, const char *name, const struct upstream *upstream)
{
	config->accounts = reallocarray(
		config->accounts, config->account_count + 1, sizeof(struct config_account));
	struct config_account *account = &config->accounts[config->account_count++];
	char where[64];
	snprintf(where, sizeof(where), "/etc/file.conf:%zu", config->account_count * 10);
	*account = (struct config_account){
		.settings =
			{
				.name = strdup(name),
				.kind = strdup("mixed_reality"),
				.account_id = strdup("11111111-2222-3333-4444-555555555555"),
				.account_domain = strdup("eastus.example.com"),
				.endpoint = strdup("https://sts.eastus.example.com"),
				.ca_file = config->account_count % 2 ? NULL : strdup("/ca"),
				.credential = strdup("scripted"),
				.is_required = config->account_count % 2,
			},
		.credential =
			{
				.kinds = {&scripted_kind},
				.kind_count = 1,
				.account_key =
					{
						.kind = SECRET_SOURCE_FILE,
						.name = strdup(name),
					},
			},
		.upstream = upstream,
		.where = strdup(where),
	};
}

static void free_accounts(struct config *config)
{
	for (size_t i = 0; i < config->account_count; i++) {
		account_settings_clear(&config->accounts[i].settings);
		free(config->accounts[i].credential.account_key.name);
		free(config->accounts[i].credential.account_key.where);
		free(config->accounts[i].where);
	}
	free(config->accounts);
	free(config->default_account);
}

static void three_accounts(struct config *config)
{
	add_account(config, "one", &upstream_one);
	add_account(config, "two", &upstream_two);
	add_account(config, "three", &upstream_one);
}

START_TEST(makes_the_accounts_in_their_order)
{
	struct config config = {0};
	struct setup_accounts accounts = {0};
	struct error err = ERROR_INIT;
	static const char *const names[] = {"one", "two", "three"};
	three_accounts(&config);
	config.default_account = strdup("two");
	ck_assert_int_eq(setup_accounts_open(&config, NULL, &accounts, &err), 0);
	free_accounts(&config); /* it goes, and the accounts stay */
	ck_assert_uint_eq(accounts.table->count, 3);
	for (size_t i = 0; i < 3; i++) {
		const struct account_settings *settings = &accounts.table->accounts[i]->settings;
		ck_assert_str_eq(settings->name, names[i]);
		ck_assert_str_eq(settings->kind, "mixed_reality");
		ck_assert_str_eq(settings->account_id, "11111111-2222-3333-4444-555555555555");
		ck_assert_str_eq(settings->account_domain, "eastus.example.com");
		ck_assert_str_eq(settings->endpoint, "https://sts.eastus.example.com");
		ck_assert_str_eq(settings->credential, "scripted");
		ck_assert(settings->is_required == (i % 2 == 0));
		if (i % 2 == 0)
			ck_assert_ptr_null(settings->ca_file);
		else
			ck_assert_str_eq(settings->ca_file, "/ca");
		ck_assert_ptr_nonnull(accounts.accounts[i].credential);
		ck_assert_ptr_eq(
			accounts.accounts[i].upstream, i == 1 ? &upstream_two : &upstream_one);
		ck_assert_ptr_null(atomic_load(&accounts.table->accounts[i]->snapshot));
	}
	ck_assert_ptr_eq(accounts.table->default_account, accounts.table->accounts[1]);
	setup_accounts_close(&accounts);
	ck_assert_uint_eq(opened, 3);
	ck_assert_uint_eq(closed, 3);
	ck_assert_ptr_null(accounts.table);
	ck_assert_ptr_null(accounts.accounts);
	setup_accounts_close(&accounts); /* nothing is there any more */
	ck_assert_uint_eq(closed, 3);
}
END_TEST

START_TEST(makes_no_default_account_where_none_is_named)
{
	struct config config = {0};
	struct setup_accounts accounts = {0};
	struct error err = ERROR_INIT;
	three_accounts(&config);
	ck_assert_int_eq(setup_accounts_open(&config, NULL, &accounts, &err), 0);
	ck_assert_ptr_null(accounts.table->default_account);
	setup_accounts_close(&accounts);
	free_accounts(&config);
}
END_TEST

START_TEST(makes_an_empty_table_of_no_accounts)
{
	struct config config = {0};
	struct setup_accounts accounts = {0};
	struct error err = ERROR_INIT;
	ck_assert_int_eq(setup_accounts_open(&config, NULL, &accounts, &err), 0);
	ck_assert_uint_eq(accounts.table->count, 0);
	ck_assert_ptr_null(account_table_find(accounts.table, "one"));
	setup_accounts_close(&accounts);
}
END_TEST

START_TEST(leaves_nothing_open_when_a_credential_fails)
{
	static const char *const cases[] = {"one", "two", "three"};
	struct config config = {0};
	three_accounts(&config);
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct setup_accounts accounts = {.table = (void *)-1};
		struct error err = ERROR_INIT;
		fails_for = cases[i];
		opened = closed = 0;
		ck_assert_int_eq(setup_accounts_open(&config, NULL, &accounts, &err), -1);
		ck_assert_ptr_eq(accounts.table, (void *)-1);
		ck_assert_uint_eq(opened, i);
		ck_assert_uint_eq(closed, i);
		ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
		ck_assert_ptr_nonnull(strstr(err.message, "no such key"));
	}
	free_accounts(&config);
}
END_TEST

/* With the real credential: what an operator is told when a key file is missing. */
START_TEST(tells_which_key_cannot_be_read)
{
	struct config config = {0};
	struct setup_accounts accounts = {0};
	struct error err = ERROR_INIT;
	struct secret_memory before;
	struct secret_memory after;
	char path[] = "/tmp/test_setup.XXXXXX";
	int fd = mkstemp(path);
	ck_assert_int_eq(write(fd, "TheKey=\n", 8), 8);
	close(fd);
	secret_memory_usage(&before);
	three_accounts(&config);
	for (size_t i = 0; i < 3; i++) {
		config.accounts[i].credential.kinds[0] = &credential_account_key;
		free(config.accounts[i].credential.account_key.name);
		config.accounts[i].credential.account_key.name =
			strdup(i < 2 ? path : "/nonexistent/key");
		config.accounts[i].credential.account_key.where = strdup("/etc/file.conf:32");
	}
	ck_assert_int_eq(setup_accounts_open(&config, NULL, &accounts, &err), -1);
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_ptr_nonnull(
		strstr(err.message, "/etc/file.conf:32: [account three]: account_key: "));
	ck_assert_ptr_nonnull(strstr(err.message, "/nonexistent/key"));
	ck_assert_ptr_null(strstr(err.message, "TheKey"));
	secret_memory_usage(&after);
	ck_assert_uint_eq(after.bytes_in_use, before.bytes_in_use);
	unlink(path);
	free_accounts(&config);
}
END_TEST

/* Accounts of one kind that is shared, which differ by their clients. */
static void three_shared_accounts(struct config *config, const char *const clients[3])
{
	three_accounts(config);
	for (size_t i = 0; i < 3; i++) {
		struct credential_settings *credential = &config->accounts[i].credential;
		credential->kinds[0] = &shared_kind;
		credential->client_id = strdup(clients[i]);
		/* Or they would differ by that. */
		free(credential->account_key.name);
		credential->account_key.name = strdup(i == 1 ? "two" : "one");
	}
}

static void free_shared_accounts(struct config *config)
{
	for (size_t i = 0; i < config->account_count; i++)
		free(config->accounts[i].credential.client_id);
	free_accounts(config);
}

START_TEST(gives_accounts_with_the_same_settings_one_credential)
{
	static const char *const clients[] = {"x", "y", "x"};
	struct config config = {0};
	struct setup_accounts accounts = {0};
	struct error err = ERROR_INIT;
	three_shared_accounts(&config, clients);
	ck_assert_int_eq(setup_accounts_open(&config, NULL, &accounts, &err), 0);
	ck_assert_ptr_eq(accounts.accounts[0].credential, accounts.accounts[2].credential);
	ck_assert_ptr_ne(accounts.accounts[0].credential, accounts.accounts[1].credential);
	ck_assert_uint_eq(opened, 2);
	setup_accounts_close(&accounts);
	ck_assert_uint_eq(closed, 2);
	free_shared_accounts(&config);
}
END_TEST

START_TEST(goes_on_with_the_credentials_of_before_when_their_settings_are_the_same)
{
	static const char *const clients[] = {"x", "y", "x"};
	static const char *const new_clients[] = {"x", "z", "x"};
	struct config config = {0};
	struct config new_config = {0};
	struct setup_accounts before = {0};
	struct setup_accounts after = {0};
	struct error err = ERROR_INIT;
	three_shared_accounts(&config, clients);
	three_shared_accounts(&new_config, new_clients);
	ck_assert_int_eq(setup_accounts_open(&config, NULL, &before, &err), 0);
	ck_assert_int_eq(setup_accounts_open(&new_config, before.pool, &after, &err), 0);
	ck_assert_ptr_eq(after.accounts[0].credential, before.accounts[0].credential);
	ck_assert_ptr_eq(after.accounts[2].credential, before.accounts[0].credential);
	ck_assert_ptr_ne(after.accounts[1].credential, before.accounts[1].credential);
	ck_assert_uint_eq(opened, 3);
	setup_accounts_close(&before);
	ck_assert_uint_eq(closed, 1);
	setup_accounts_close(&after);
	ck_assert_uint_eq(closed, 3);
	free_shared_accounts(&config);
	free_shared_accounts(&new_config);
}
END_TEST

START_TEST(leaves_the_credentials_of_before_as_they_are_when_a_new_one_fails)
{
	static const char *const clients[] = {"x", "y", "x"};
	static const char *const new_clients[] = {"x", "z", "x"};
	struct config config = {0};
	struct config new_config = {0};
	struct setup_accounts before = {0};
	struct setup_accounts after = {0};
	struct error err = ERROR_INIT;
	three_shared_accounts(&config, clients);
	three_shared_accounts(&new_config, new_clients);
	ck_assert_int_eq(setup_accounts_open(&config, NULL, &before, &err), 0);
	fails_for = "two";
	ck_assert_int_eq(setup_accounts_open(&new_config, before.pool, &after, &err), -1);
	ck_assert_ptr_null(after.pool);
	ck_assert_uint_eq(closed, 0);
	ck_assert_uint_eq(before.accounts[0].credential->references, 2);
	setup_accounts_close(&before);
	ck_assert_uint_eq(closed, 2);
	free_shared_accounts(&config);
	free_shared_accounts(&new_config);
}
END_TEST

START_TEST(looks_into_the_ca_file_at_once)
{
	static const struct {
		const char *content;
		bool is_taken;
	} cases[] = {
		{"", false},
		{"no certificate\n", false},
		{"# a bundle\n-----BEGIN CERTIFICATE-----\n", true},
	};
	char path[] = "/tmp/test_setup.XXXXXX";
	close(mkstemp(path));
	struct config config = {.ca_file = path};
	three_accounts(&config);
	for (size_t i = 0; i <= UNIT_COUNT(cases); i++) {
		struct setup_accounts accounts = {0};
		struct error err = ERROR_INIT;
		if (i < UNIT_COUNT(cases)) {
			FILE *file = fopen(path, "we");
			fputs(cases[i].content, file);
			fclose(file);
		} else {
			unlink(path); /* and when there is none */
		}
		opened = closed = 0;
		int result = setup_accounts_open(&config, NULL, &accounts, &err);
		if (i < UNIT_COUNT(cases) && cases[i].is_taken) {
			ck_assert_int_eq(result, 0);
			setup_accounts_close(&accounts);
			continue;
		}
		ck_assert_int_eq(result, -1);
		ck_assert_ptr_nonnull(strstr(err.message, "ca_file"));
		ck_assert_ptr_nonnull(strstr(err.message, path));
		ck_assert_uint_eq(opened, closed);
		ck_assert_ptr_null(accounts.table);
	}
	config.ca_file = NULL;
	free_accounts(&config);
}
END_TEST

/* ---- listeners ---------------------------------------------------------------------------------
 */

static char directory[64];
static struct config_listener wanted[3];
static char paths[3][96];
static const struct config listening = {.listeners = wanted, .listener_count = 3};

static void setup_directory(void)
{
	static char names[3][8] = {"one", "two", "three"};
	log_set_level((enum log_level)0);
	strcpy(directory, "/tmp/test_setup.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	for (size_t i = 0; i < 3; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/%s", directory, names[i]);
		wanted[i] = (struct config_listener){
			.name = names[i],
			.path = paths[i],
			.mode = 0600 + (mode_t)i,
			.gid = (gid_t)-1,
		};
	}
}

static void remove_directory(void)
{
	ck_assert_int_eq(rmdir(directory), 0);
}

static mode_t mode_of(const char *path)
{
	struct stat st;
	ck_assert_int_eq(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static bool is_there(const char *path)
{
	return access(path, F_OK) == 0;
}

static struct listener **open_listeners(struct listener *const *present, size_t present_count,
	struct passed_socket *passed, size_t passed_count)
{
	struct error err = ERROR_INIT;
	struct listener **listeners = setup_listeners_open(
		&listening, present, present_count, passed, passed_count, &err);
	ck_assert_msg(listeners != NULL, "%s", err.message);
	return listeners;
}

/* A listening socket as the service manager has it; its file is `path`. */
static struct passed_socket pass(const char *name, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	struct passed_socket socket_passed = {.name = strdup(name)};
	socket_passed.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(socket_passed.fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(socket_passed.fd, 5), 0);
	return socket_passed;
}

START_TEST(opens_the_listeners_in_their_order)
{
	setup_directory();
	struct listener **listeners = open_listeners(NULL, 0, NULL, 0);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_str_eq(listeners[i]->name, wanted[i].name);
		ck_assert_str_eq(listeners[i]->path, paths[i]);
		ck_assert_uint_eq(mode_of(paths[i]), 0600 + i);
	}
	setup_listeners_close(listeners, 3, NULL, 0);
	remove_directory();
}
END_TEST

START_TEST(closes_what_it_opened_when_one_fails)
{
	for (size_t failing = 0; failing < 3; failing++) {
		struct error err = ERROR_INIT;
		char words[32];
		setup_directory();
		ck_assert_int_eq(mkdir(paths[failing], 0700), 0); /* in the way */
		ck_assert_ptr_null(setup_listeners_open(&listening, NULL, 0, NULL, 0, &err));
		snprintf(words, sizeof(words), "[listener %s]", wanted[failing].name);
		ck_assert_ptr_nonnull(strstr(err.message, words));
		ck_assert_ptr_nonnull(strstr(err.message, paths[failing]));
		rmdir(paths[failing]);
		remove_directory();
	}
}
END_TEST

START_TEST(uses_again_what_is_served_already)
{
	setup_directory();
	struct listener **before = open_listeners(NULL, 0, NULL, 0);
	/* In another order, and one at a path of its own. */
	struct config_listener first = wanted[0];
	char elsewhere[96];
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", directory);
	wanted[0] = wanted[2];
	wanted[2] = first;
	wanted[1].path = elsewhere;
	struct listener **after = open_listeners(before, 3, NULL, 0);
	ck_assert_ptr_eq(after[0], before[2]);
	ck_assert_ptr_eq(after[2], before[0]);
	ck_assert_ptr_ne(after[1], before[1]);
	ck_assert(is_there(paths[1]));
	ck_assert(is_there(elsewhere));
	/* Closing the new leaves what is served. */
	setup_listeners_close(after, 3, before, 3);
	ck_assert(!is_there(elsewhere));
	for (size_t i = 0; i < 3; i++)
		ck_assert(is_there(paths[i]));
	setup_listeners_close(before, 3, NULL, 0);
	remove_directory();
}
END_TEST

START_TEST(uses_again_a_socket_whose_section_was_renamed)
{
	char name[] = "renamed";
	setup_directory();
	struct listener **before = open_listeners(NULL, 0, NULL, 0);
	wanted[1].name = name;
	struct listener **after = open_listeners(before, 3, NULL, 0);
	ck_assert_ptr_eq(after[1], before[1]);
	setup_listeners_close(after, 3, before, 3);
	setup_listeners_close(before, 3, NULL, 0);
	remove_directory();
}
END_TEST

START_TEST(leaves_what_is_served_when_one_fails)
{
	struct error err = ERROR_INIT;
	setup_directory();
	struct listener **before = open_listeners(NULL, 0, NULL, 0);
	char new_path[96];
	char bad_path[96];
	snprintf(new_path, sizeof(new_path), "%s/new", directory);
	snprintf(bad_path, sizeof(bad_path), "%s/missing/socket", directory);
	wanted[1].path = new_path;
	wanted[2].path = bad_path;
	ck_assert_ptr_null(setup_listeners_open(&listening, before, 3, NULL, 0, &err));
	ck_assert(!is_there(new_path));
	for (size_t i = 0; i < 3; i++) {
		ck_assert(is_there(paths[i]));
		ck_assert_int_ge(fcntl(before[i]->fd, F_GETFD), 0);
	}
	setup_listeners_close(before, 3, NULL, 0);
	remove_directory();
}
END_TEST

START_TEST(takes_passed_sockets_by_their_names)
{
	setup_directory();
	char aside[96];
	snprintf(aside, sizeof(aside), "%s/aside", directory);
	struct passed_socket passed[2] = {pass("nobody", aside), pass("two", paths[1])};
	int fd = passed[1].fd;
	struct listener **listeners = open_listeners(NULL, 0, passed, 2);
	ck_assert(!listeners[0]->is_passed);
	ck_assert(listeners[1]->is_passed);
	ck_assert_int_eq(listeners[1]->fd, fd);
	ck_assert(!listeners[2]->is_passed);
	ck_assert_int_eq(passed[1].fd, -1);
	ck_assert_int_ge(passed[0].fd, 0); /* still the caller's */
	setup_listeners_close(listeners, 3, NULL, 0);
	ck_assert(is_there(paths[1])); /* the service manager's */
	close(passed[0].fd);
	free(passed[0].name);
	free(passed[1].name);
	unlink(aside);
	unlink(paths[1]);
	remove_directory();
}
END_TEST

START_TEST(takes_the_only_socket_for_the_only_listener)
{
	struct error err = ERROR_INIT;
	const struct config single = {.listeners = wanted, .listener_count = 1};
	setup_directory();
	struct passed_socket passed = pass("whatever.socket", paths[0]);
	struct listener **listeners = setup_listeners_open(&single, NULL, 0, &passed, 1, &err);
	ck_assert_msg(listeners != NULL, "%s", err.message);
	ck_assert(listeners[0]->is_passed);
	ck_assert_str_eq(listeners[0]->name, "one");
	ck_assert_int_eq(passed.fd, -1);
	/* On a reload it is there already, under its name, whatever its path is said to be. */
	wanted[0].path = paths[2];
	struct listener **after = setup_listeners_open(&single, listeners, 1, &passed, 1, &err);
	ck_assert_ptr_nonnull(after);
	ck_assert_ptr_eq(after[0], listeners[0]);
	setup_listeners_close(after, 1, listeners, 1);
	setup_listeners_close(listeners, 1, NULL, 0);
	free(passed.name);
	unlink(paths[0]);
	remove_directory();
}
END_TEST

START_TEST(tells_that_a_passed_socket_is_of_no_use)
{
	struct error err = ERROR_INIT;
	int ends[2];
	setup_directory();
	ck_assert_int_eq(pipe(ends), 0);
	char name[] = "two";
	struct passed_socket passed = {.name = name, .fd = ends[0]};
	ck_assert_ptr_null(setup_listeners_open(&listening, NULL, 0, &passed, 1, &err));
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	ck_assert_ptr_nonnull(strstr(err.message, "[listener two]"));
	ck_assert_int_eq(passed.fd, ends[0]); /* still the caller's */
	ck_assert_int_ge(fcntl(ends[0], F_GETFD), 0);
	close(ends[0]);
	close(ends[1]);
	remove_directory();
}
END_TEST

START_TEST(adjusts_modes_and_leaves_what_was_passed)
{
	setup_directory();
	struct passed_socket passed = pass("two", paths[1]);
	struct listener **listeners = open_listeners(NULL, 0, &passed, 1);
	mode_t before = mode_of(paths[1]);
	wanted[0].mode = 0666;
	wanted[1].mode = 0;
	unlink(paths[2]); /* it cannot be changed: told, and nothing more */
	wanted[2].mode = 0666;
	setup_listeners_adjust(&listening, listeners);
	ck_assert_uint_eq(mode_of(paths[0]), 0666);
	ck_assert_uint_eq(mode_of(paths[1]), before);
	ck_assert_uint_eq(listeners[2]->mode, 0602);
	setup_listeners_close(listeners, 3, NULL, 0);
	free(passed.name);
	unlink(paths[1]);
	remove_directory();
}
END_TEST

UNIT_MAIN("setup", makes_the_accounts_in_their_order, makes_no_default_account_where_none_is_named,
	makes_an_empty_table_of_no_accounts, leaves_nothing_open_when_a_credential_fails,
	tells_which_key_cannot_be_read, gives_accounts_with_the_same_settings_one_credential,
	goes_on_with_the_credentials_of_before_when_their_settings_are_the_same,
	leaves_the_credentials_of_before_as_they_are_when_a_new_one_fails,
	looks_into_the_ca_file_at_once, opens_the_listeners_in_their_order,
	closes_what_it_opened_when_one_fails, uses_again_what_is_served_already,
	uses_again_a_socket_whose_section_was_renamed, leaves_what_is_served_when_one_fails,
	takes_passed_sockets_by_their_names, takes_the_only_socket_for_the_only_listener,
	tells_that_a_passed_socket_is_of_no_use, adjusts_modes_and_leaves_what_was_passed)
