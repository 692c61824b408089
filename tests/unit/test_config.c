#include "config/config.h"

#include "files.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>

/* ---- an allocation that fails ------------------------------------------------------------------
 */

/* How many more succeed before one fails; below 0: all of them. */
static int allocations_left = -1;

#if !UNIT_HAS_SANITIZER

static bool has_failed_allocation(void)
{
	if (allocations_left < 0 || allocations_left-- > 0)
		return false;
	errno = ENOMEM;
	return true;
}

/* glibc's own, under the names that it exports for those who put theirs in front. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);

void *malloc(size_t size)
{
	return has_failed_allocation() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return has_failed_allocation() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *pointer, size_t size)
{
	return has_failed_allocation() ? NULL : __libc_realloc(pointer, size);
}

#endif

/* ---- loading -----------------------------------------------------------------------------------
 */

#define ID "0a1b2c3d-0000-4000-8000-00000000abcd"
#define OTHER_ID "0a1b2c3d-0000-4000-8000-00000000dcba"
#define DOMAIN "eastus2.mixedreality.azure.com"

/* An account with all that it must have. */
#define ACCOUNT(name)                                                            \
	"[account " name "]\naccount_id = " ID "\naccount_domain = " DOMAIN "\n" \
	"account_key = file:/key\n"

/* Stands for the path of the file in what is expected. */
#define FILE_MARK "\x01"

/* What the host has set must not decide a test. */
__attribute__((constructor)) static void clear_environment(void)
{
	static const char *const names[] = {"MIXEDREALITY_ACCOUNT_DOMAIN",
		"MIXEDREALITY_ACCOUNT_ID", "MIXEDREALITY_ACCOUNT_KEY",
		"MIXEDREALITY_ACCOUNT_KEY_FILE", "SSL_CERT_FILE"};
	for (size_t i = 0; i < UNIT_COUNT(names); i++)
		unsetenv(names[i]);
}

static void drop_in(const char *name, const char *content)
{
	char path[128];
	mkdir(path_of("m.conf.d"), 0755);
	snprintf(path, sizeof(path), "m.conf.d/%s", name);
	write_file(path, content);
}

static struct config *load_path(const char *path)
{
	_cleanup_text_ struct text problems = {0};
	struct config *config = NULL;
	enum error_code result = config_load(path, &config, &problems);
	ck_assert_msg(result == 0, "%s", text_string(&problems));
	ck_assert_ptr_nonnull(config);
	ck_assert_str_eq(text_string(&problems), "");
	return config;
}

static struct config *load(const char *content)
{
	return load_path(write_file("m.conf", content));
}

/* `expected` with the file's path in each of its marks. */
static void expand(const char *expected, const char *path, struct text *out)
{
	for (const char *c = expected; *c != '\0'; c++) {
		if (*c == FILE_MARK[0])
			text_append(out, path);
		else
			text_append_bytes(out, c, 1);
	}
}

static void assert_path_problems(const char *path, const char *expected)
{
	_cleanup_text_ struct text problems = {0};
	_cleanup_text_ struct text whole = {0};
	struct config *config = (struct config *)&problems; /* any pointer: it is not touched */
	ck_assert_int_eq(config_load(path, &config, &problems), ERR_CONFIGURATION);
	ck_assert_ptr_eq(config, (struct config *)&problems);
	expand(expected, path, &whole);
	ck_assert_str_eq(text_string(&problems), text_string(&whole));
}

static void assert_problems(const char *content, const char *expected)
{
	assert_path_problems(write_file("m.conf", content), expected);
}

/* ---- what is understood ------------------------------------------------------------------------
 */

START_TEST(reads_every_key)
{
	struct config *config = load("[daemon]\n"
				     "default_account = rendering\n"
				     "ca_file = /etc/ca.pem\n"
				     "log_level = debug\n"
				     "[listener main]\n"
				     "path = /run/a.sock\n"
				     "mode = 0600\n"
				     "group = root\n"
				     "[account anchors]\n"
				     "kind = mixed_reality\n"
				     "account_id = " ID "\n"
				     "account_domain = " DOMAIN "\n"
				     "endpoint = https://127.0.0.1:4443/\n"
				     "credential = account_key\n"
				     "account_key = credential:anchors-key\n"
				     "secondary_account_key = env:SECOND\n"
				     "required = no\n"
				     "[account rendering]\n"
				     "account_id = " OTHER_ID "\n"
				     "account_domain = mixedreality.azure.com\n"
				     "account_key = file:/key\n");
	ck_assert_str_eq(config->default_account, "rendering");
	ck_assert_str_eq(config->ca_file, "/etc/ca.pem");
	ck_assert_int_eq(config->log_level, LOG_LEVEL_DEBUG);
	ck_assert_uint_eq(config->listener_count, 1);
	const struct config_listener *listener = &config->listeners[0];
	ck_assert_str_eq(listener->name, "main");
	ck_assert_str_eq(listener->path, "/run/a.sock");
	ck_assert_uint_eq(listener->mode, 0600);
	ck_assert_str_eq(listener->group, "root");
	ck_assert_uint_eq(listener->gid, 0);
	ck_assert_uint_eq(config->account_count, 2);
	const struct config_account *account = &config->accounts[0];
	ck_assert_str_eq(account->settings.name, "anchors");
	ck_assert_str_eq(account->settings.kind, "mixed_reality");
	ck_assert_str_eq(account->settings.account_id, ID);
	ck_assert_str_eq(account->settings.account_domain, DOMAIN);
	ck_assert_str_eq(account->settings.endpoint, "https://127.0.0.1:4443");
	ck_assert_str_eq(account->settings.ca_file, "/etc/ca.pem");
	ck_assert_str_eq(account->settings.credential, "account_key");
	ck_assert(!account->settings.is_required);
	ck_assert_ptr_eq(account->upstream, &upstream_mixed_reality);
	ck_assert_ptr_eq(account->credential.kinds[0], &credential_account_key);
	ck_assert_int_eq(account->credential.account_key.kind, SECRET_SOURCE_CREDENTIAL);
	ck_assert_str_eq(account->credential.account_key.name, "anchors-key");
	ck_assert_int_eq(account->credential.secondary_account_key.kind, SECRET_SOURCE_ENVIRONMENT);
	ck_assert_str_eq(account->credential.secondary_account_key.name, "SECOND");
	account = &config->accounts[1];
	ck_assert_str_eq(account->settings.name, "rendering");
	ck_assert_str_eq(account->settings.endpoint, "https://sts.mixedreality.azure.com");
	config_free(config);
	config_free(NULL);
}
END_TEST

START_TEST(completes_what_is_not_set)
{
	struct config *config = load(ACCOUNT("anchors"));
	ck_assert_str_eq(config->default_account, "anchors");
	ck_assert_ptr_null(config->ca_file);
	ck_assert_int_eq(config->log_level, LOG_LEVEL_INFO);
	ck_assert_uint_eq(config->listener_count, 1);
	ck_assert_str_eq(config->listeners[0].name, "main");
	ck_assert_str_eq(config->listeners[0].path, RUNSTATEDIR "/mrtokend/mrtokend.sock");
	ck_assert_uint_eq(config->listeners[0].mode, 0660);
	ck_assert_ptr_null(config->listeners[0].group);
	ck_assert_uint_eq(config->listeners[0].gid, (gid_t)-1);
	const struct config_account *account = &config->accounts[0];
	ck_assert_str_eq(account->settings.kind, "mixed_reality");
	ck_assert_str_eq(account->settings.endpoint, "https://sts." DOMAIN);
	ck_assert_str_eq(account->settings.credential, "account_key");
	ck_assert_ptr_null(account->settings.ca_file);
	ck_assert(account->settings.is_required);
	ck_assert_int_eq(account->credential.secondary_account_key.kind, SECRET_SOURCE_NONE);
	char where[300];
	snprintf(where, sizeof(where), "%s:1", path_of("m.conf"));
	ck_assert_str_eq(account->where, where);
	config_free(config);
}
END_TEST

START_TEST(has_no_default_account_where_two_could_be_it)
{
	struct config *config = load(ACCOUNT("one") ACCOUNT("two"));
	ck_assert_ptr_null(config->default_account);
	config_free(config);
}
END_TEST

START_TEST(joins_the_parts_of_a_section)
{
	struct config *config =
		load("[account a]\naccount_id = " ID "\n[daemon]\nlog_level = error\n"
		     "[account a]\naccount_domain = " DOMAIN "\naccount_key = file:/key\n");
	ck_assert_uint_eq(config->account_count, 1);
	ck_assert_str_eq(config->accounts[0].settings.account_domain, DOMAIN);
	config_free(config);
}
END_TEST

START_TEST(keeps_the_order_of_the_file)
{
	struct config *config = load(ACCOUNT("c") "[listener z]\npath = /z\n" ACCOUNT(
		"a") "[listener y]\npath = /y\n" ACCOUNT("b"));
	ck_assert_uint_eq(config->account_count, 3);
	ck_assert_str_eq(config->accounts[0].settings.name, "c");
	ck_assert_str_eq(config->accounts[1].settings.name, "a");
	ck_assert_str_eq(config->accounts[2].settings.name, "b");
	ck_assert_uint_eq(config->listener_count, 2);
	ck_assert_str_eq(config->listeners[0].path, "/z");
	ck_assert_str_eq(config->listeners[1].path, "/y");
	config_free(config);
}
END_TEST

START_TEST(takes_names_of_forty_letters_for_every_section)
{
	char content[1024];
	char name[41];
	memset(name, 'n', 40);
	name[40] = '\0';
	snprintf(content, sizeof(content),
		"[listener %s]\npath = /a\n[account %s]\naccount_id = " ID
		"\naccount_domain = " DOMAIN "\naccount_key = file:/key\n",
		name, name);
	struct config *config = load(content);
	ck_assert_str_eq(config->listeners[0].name, name);
	ck_assert_str_eq(config->accounts[0].settings.name, name);
	config_free(config);
}
END_TEST

START_TEST(loads_two_thousand_accounts)
{
	enum { COUNT = 2000 };
	_cleanup_text_ struct text content = {0};
	for (int i = 0; i < COUNT; i++)
		text_appendf(&content,
			"[account a%d]\naccount_id = %08x-0000-4000-8000-000000000000\n"
			"account_domain = " DOMAIN "\naccount_key = file:/keys/%d\n",
			i, (unsigned)i, i);
	struct config *config = load(content.data);
	ck_assert_uint_eq(config->account_count, COUNT);
	for (int i = 0; i < COUNT; i++) {
		char name[16];
		snprintf(name, sizeof(name), "a%d", i);
		ck_assert_str_eq(config->accounts[i].settings.name, name);
	}
	config_free(config);
}
END_TEST

/* ---- drop-ins ----------------------------------------------------------------------------------
 */

START_TEST(lets_drop_ins_replace_values_in_the_order_of_their_names)
{
	drop_in("20-b.conf", "[account a]\naccount_domain = second.example\nrequired = no\n");
	drop_in("10-a.conf", "[account a]\naccount_domain = first.example\n"
			     "[daemon]\nlog_level = warning\n");
	drop_in("30-c.conf", "[account b]\naccount_id = " OTHER_ID
			     "\naccount_domain = b.example\naccount_key = file:/b\n");
	struct config *config = load("[daemon]\nlog_level = error\n" ACCOUNT("a"));
	ck_assert_uint_eq(config->account_count, 2);
	ck_assert_str_eq(config->accounts[0].settings.account_domain, "second.example");
	ck_assert_str_eq(config->accounts[0].settings.endpoint, "https://sts.second.example");
	ck_assert_str_eq(config->accounts[0].settings.account_id, ID);
	ck_assert(!config->accounts[0].settings.is_required);
	ck_assert_str_eq(config->accounts[1].settings.name, "b");
	ck_assert_int_eq(config->log_level, LOG_LEVEL_WARNING);
	_cleanup_text_ struct text expected = {0};
	expand(FILE_MARK "\n" FILE_MARK ".d/10-a.conf\n" FILE_MARK ".d/20-b.conf\n" FILE_MARK
			 ".d/30-c.conf\n",
		path_of("m.conf"), &expected);
	ck_assert_str_eq(text_string(&config->sources), text_string(&expected));
	config_free(config);
}
END_TEST

START_TEST(lets_a_drop_in_complete_an_account)
{
	drop_in("key.conf", "[account a]\naccount_key = file:/key\n");
	struct config *config =
		load("[account a]\naccount_id = " ID "\naccount_domain = " DOMAIN "\n");
	ck_assert_str_eq(config->accounts[0].credential.account_key.name, "/key");
	config_free(config);
}
END_TEST

START_TEST(passes_over_what_is_no_drop_in)
{
	static const char *const names[] = {".hidden.conf", ".conf", "a.conf~", "a.conf.bak",
		"a.conf.dpkg-new", "aconf", "README", "a.CONF"};
	for (size_t i = 0; i < UNIT_COUNT(names); i++)
		drop_in(names[i], "this is no configuration\n");
	struct config *config = load(ACCOUNT("a"));
	ck_assert_uint_eq(config->account_count, 1);
	config_free(config);
}
END_TEST

START_TEST(tells_the_drop_in_that_has_the_problem)
{
	drop_in("x.conf", "[account a]\n\nrequired = perhaps\n");
	assert_problems(ACCOUNT("a"), FILE_MARK
		".d/x.conf:3: [account a]: required: found 'perhaps', expected yes or no\n");
}
END_TEST

START_TEST(tells_of_a_drop_in_that_cannot_be_read)
{
	write_file("m.conf", ACCOUNT("a"));
	mkdir(path_of("m.conf.d"), 0755);
	ck_assert_int_eq(mkdir(path_of("m.conf.d/directory.conf"), 0755), 0);
	ck_assert_int_eq(symlink("nowhere", path_of("m.conf.d/link.conf")), 0);
	assert_path_problems(path_of("m.conf"),
		"cannot read " FILE_MARK ".d/directory.conf: expected a regular file\n"
		"cannot open " FILE_MARK ".d/link.conf: No such file or directory\n");
}
END_TEST

static void load_with_unreadable_directory(void *path)
{
	_cleanup_text_ struct text problems = {0};
	_cleanup_text_ struct text expected = {0};
	struct config *config = NULL;
	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
		_exit(99);
	if (config_load(path, &config, &problems) == 0)
		_exit(1);
	expand("cannot read the directory " FILE_MARK ".d: Permission denied\n", path, &expected);
	if (strcmp(text_string(&problems), text_string(&expected)) != 0)
		_exit(2);
}

START_TEST(tells_of_a_directory_of_drop_ins_that_cannot_be_read)
{
	const char *path = write_file("m.conf", ACCOUNT("a"));
	ck_assert_int_eq(chmod(path, 0644), 0);
	ck_assert_int_eq(mkdir(path_of("m.conf.d"), geteuid() == 0 ? 0700 : 0), 0);
	unit_assert_exited(unit_in_child(load_with_unreadable_directory, (void *)path), 0);
	ck_assert_int_eq(chmod(path_of("m.conf.d"), 0700), 0); /* so that it can be removed */
}
END_TEST

START_TEST(tells_of_a_directory_of_drop_ins_that_is_none)
{
	write_file("m.conf.d", "");
	assert_problems(
		ACCOUNT("a"), "cannot read the directory " FILE_MARK ".d: Not a directory\n");
}
END_TEST

/* ---- problems ----------------------------------------------------------------------------------
 */

START_TEST(tells_of_a_file_that_is_not_there)
{
	assert_path_problems(
		path_of("missing.conf"), "cannot open " FILE_MARK ": No such file or directory\n");
}
END_TEST

START_TEST(tells_where_each_problem_of_one_line_is)
{
	static const struct {
		const char *content;
		const char *expected;
	} cases[] = {
		{"[deamon]\n" ACCOUNT("a"),
			FILE_MARK ":1: unknown section [deamon]; did you mean [daemon]?\n"},
		{"[acount a]\n" ACCOUNT("a"),
			FILE_MARK ":1: unknown section [acount]; did you mean [account]?\n"},
		{"[Listener a]\npath = /a\n" ACCOUNT("a"),
			FILE_MARK ":1: unknown section [Listener]; did you mean [listener]?\n"},
		{"[servers]\n" ACCOUNT("a"), FILE_MARK
			":1: unknown section [servers]; expected [daemon], [listener NAME] "
			"or [account NAME]\n"},
		{"[]\n" ACCOUNT("a"),
			FILE_MARK ":1: unknown section []; expected [daemon], [listener NAME] or "
				  "[account NAME]\n"},
		{"[daemon main]\n" ACCOUNT("a"),
			FILE_MARK ":1: [daemon] has no name, found 'main'\n"},
		{"[account]\n",
			FILE_MARK ":1: found [account], expected [account NAME] with a name "
				  "of up to 40 letters, digits, '.', '_' and '-'\n"},
		{"[account a b]\n", FILE_MARK
			":1: found [account a b], expected [account NAME] with a name of up "
			"to 40 letters, digits, '.', '_' and '-'\n"},
		{"[listener ../x]\n", FILE_MARK
			":1: found [listener ../x], expected [listener NAME] with a name of "
			"up to 40 letters, digits, '.', '_' and '-'\n"},
		{"[account -a]\n",
			FILE_MARK ":1: found [account -a], expected [account NAME] with a "
				  "name of up to 40 letters, digits, '.', '_' and '-'\n"},
		{"[account 01234567890123456789012345678901234567890]\n", FILE_MARK
			":1: found [account 01234567890123456789012345678901234567890], "
			"expected [account NAME] with a name of up to 40 letters, digits, "
			"'.', '_' and '-'\n"},
		{"[account a\xff]\n", FILE_MARK
			":1: found [account a?], expected [account NAME] with a name of up "
			"to 40 letters, digits, '.', '_' and '-'\n"},
		{"[daemon]\nloglevel = debug\n" ACCOUNT("a"), FILE_MARK
			":2: [daemon]: unknown key 'loglevel'; did you mean 'log_level'?\n"},
		{"[listener main]\npaht = /a\n" ACCOUNT("a"), FILE_MARK
			":2: [listener main]: unknown key 'paht'; did you mean 'path'?\n"},
		{ACCOUNT("a") "tenant = x\n",
			FILE_MARK ":5: [account a]: unknown key 'tenant'; mrtokend.conf(5) lists "
				  "the keys\n"},
		{ACCOUNT("a") "tenant_id = x\n", FILE_MARK
			":5: [account a]: tenant_id: it has no effect with kind = mixed_reality "
			"and credential = account_key; drop the line\n"},
		{ACCOUNT("a") "scope = https://x/.default\n", FILE_MARK
			":5: [account a]: scope: it has no effect with kind = mixed_reality "
			"and credential = account_key; drop the line\n"},
		{ACCOUNT("a") "required = yes\nrequired = no\n", FILE_MARK
			":6: [account a]: 'required' is set twice in this file; keep one of "
			"them\n"},
		{ACCOUNT("a") "[daemon]\nlog_level = info\n[daemon]\nlog_level = info\n", FILE_MARK
			":8: [daemon]: 'log_level' is set twice in this file; keep one of "
			"them\n"},
		{ACCOUNT("a") "endpoint =\n", FILE_MARK
			":5: [account a]: 'endpoint' has no value; write one, or drop the "
			"line\n"},
		{ACCOUNT("a") "endpoint = ; nothing\n", FILE_MARK
			":5: [account a]: 'endpoint' has no value; write one, or drop the "
			"line\n"},
		{"log_level = info\n" ACCOUNT("a"),
			FILE_MARK ":1: found a key before the first section, expected a [SECTION] "
				  "above it\n"},
		{ACCOUNT("a") "required\n", FILE_MARK
			":5: found a line that is neither [SECTION], nor key = value, nor a "
			"comment\n"},
		{"[listener l]\nmode = 640\n" ACCOUNT("a"), FILE_MARK
			":2: [listener l]: mode: found '640', expected an octal mode of four "
			"digits with its leading zero, such as 0660\n"},
		{"[listener l]\nmode = 0888\n" ACCOUNT("a"),
			FILE_MARK ":2: [listener l]: mode: found '0888', expected an octal mode of "
				  "four digits with its leading zero, such as 0660\n"},
		{"[listener l]\ngroup = no-such-group-here\n" ACCOUNT("a"), FILE_MARK
			":2: [listener l]: group: found 'no-such-group-here', expected a "
			"group that exists: create it (groupadd --system no-such-group-here) "
			"or name another\n"},
		{"[listener l]\npath = run/x\n" ACCOUNT("a"), FILE_MARK
			":2: [listener l]: path: found 'run/x', expected an absolute path, "
			"beginning with /\n"},
		{"[account a]\naccount_id = anchors\n", FILE_MARK
			":2: [account a]: account_id: found 'anchors', expected the account's "
			"identifier as the portal shows it, a UUID such as "
			"00000000-0000-0000-0000-000000000000\n"},
		{"[account a]\naccount_domain = https://x.example\n", FILE_MARK
			":2: [account a]: account_domain: found 'https://x.example', expected "
			"a host name such as eastus2.mixedreality.azure.com, without https:// "
			"before it and without a path behind it\n"},
		{"[account a]\nendpoint = http://x.example\n",
			FILE_MARK ":2: [account a]: endpoint: found 'http://x.example', expected "
				  "https://HOST or https://HOST:PORT, nothing behind it\n"},
		{"[account a]\nendpoint = https://x.example/sts\n", FILE_MARK
			":2: [account a]: endpoint: found 'https://x.example/sts', expected "
			"https://HOST or https://HOST:PORT, nothing behind it\n"},
		{"[account a]\nendpoint = https://user@x.example\n", FILE_MARK
			":2: [account a]: endpoint: found 'https://user@x.example', expected "
			"https://HOST or https://HOST:PORT, nothing behind it\n"},
		{"[account a]\nkind = azure\n",
			FILE_MARK ":2: [account a]: kind: found 'azure', expected mixed_reality, "
				  "entra\n"},
		{"[account a]\nkind = entra\nscope = x/.default\n",
			FILE_MARK ":1: [account a]: kind = entra takes no account_key, which the "
				  "credential is unless another is set; write credential = "
				  "managed_identity, client_certificate, default or another of "
				  "mrtokend.conf(5)\n"},
		{"[account a]\nkind = entra\ncredential = default\n",
			FILE_MARK ":1: [account a]: 'scope' is missing: what an Entra token is "
				  "asked for, such as https://storage.azure.com/.default\n"},
		{"[account a]\ncredential = default, default\n",
			FILE_MARK ":2: [account a]: credential: found default twice; keep one of "
				  "them\n"},
		{"[account a]\nrequired = perhaps\n", FILE_MARK
			":2: [account a]: required: found 'perhaps', expected yes or no\n"},
		{"[daemon]\nlog_level = loud\n",
			FILE_MARK ":2: [daemon]: log_level: found 'loud', expected error, warning, "
				  "notice, info or debug\n"},
		{"[daemon]\nca_file = ca.pem\n", FILE_MARK
			":2: [daemon]: ca_file: found 'ca.pem', expected an absolute path, "
			"beginning with /\n"},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
		assert_problems(cases[i].content, cases[i].expected);
}
END_TEST

START_TEST(tells_what_an_account_lacks)
{
	assert_problems("[account a]\n",
		FILE_MARK ":1: [account a]: 'account_id' is missing: the account's identifier, a "
			  "UUID\n" FILE_MARK ":1: [account a]: 'account_domain' is missing: the "
			  "account's domain, such as eastus2.mixedreality.azure.com\n" FILE_MARK
			  ":1: [account a]: 'account_key' is missing: where the account's key is: "
			  "credential:NAME, file:/PATH or env:NAME\n");
	assert_problems(ACCOUNT("a") "[account b]\naccount_id = " ID "\naccount_domain = " DOMAIN
				     "\nsecondary_account_key = file:/key\n",
		FILE_MARK ":5: [account b]: 'account_key' is missing: where the account's key is: "
			  "credential:NAME, file:/PATH or env:NAME\n");
}
END_TEST

START_TEST(tells_what_a_listener_lacks)
{
	assert_problems(ACCOUNT("a") "[listener main]\nmode = 0600\n",
		FILE_MARK ":5: [listener main]: 'path' is missing: the socket's path\n");
}
END_TEST

START_TEST(refuses_two_listeners_with_one_path)
{
	assert_problems(
		ACCOUNT("a") "[listener one]\npath = /run/a\n[listener two]\npath = /run/b\n"
			     "[listener three]\npath = /run/a\n",
		FILE_MARK
		":10: [listener three]: path: found /run/a, which is the path of [listener "
		"one] already; each needs its own\n");
}
END_TEST

START_TEST(refuses_a_default_account_that_is_none)
{
	assert_problems("[daemon]\ndefault_account = b\n" ACCOUNT("a"),
		FILE_MARK ":2: [daemon]: default_account: found 'b', expected the name of an "
			  "[account NAME]\n");
	assert_problems("[daemon]\ndefault_account = A\n" ACCOUNT("a"),
		FILE_MARK ":2: [daemon]: default_account: found 'A', expected the name of an "
			  "[account NAME]\n");
}
END_TEST

START_TEST(refuses_a_configuration_without_accounts)
{
	static const char *const contents[] = {"", "[daemon]\n", "[listener a]\npath = /a\n"};
	for (size_t i = 0; i < UNIT_COUNT(contents); i++)
		assert_problems(contents[i],
			FILE_MARK ": no account: write an [account NAME] section, or set "
				  "MIXEDREALITY_ACCOUNT_DOMAIN, MIXEDREALITY_ACCOUNT_ID and "
				  "MIXEDREALITY_ACCOUNT_KEY_FILE\n");
}
END_TEST

START_TEST(tells_all_problems_at_once_in_the_order_of_the_file)
{
	drop_in("x.conf", "[nothing]\nignored = 1\n[daemon]\nlog_level = 9\n");
	assert_problems(
		"[daemon]\nlogs = 1\n[account a]\naccount_id = x\nrequired = x\n[account b\n"
		"account_id = y\n",
		FILE_MARK
		":2: [daemon]: unknown key 'logs'; mrtokend.conf(5) lists the keys\n" FILE_MARK
		":4: [account a]: account_id: found 'x', expected the account's identifier "
		"as the portal shows it, a UUID such as "
		"00000000-0000-0000-0000-000000000000\n" FILE_MARK
		":5: [account a]: required: found 'x', expected yes or no\n" FILE_MARK
		":6: found '[' without its ']', expected [SECTION]\n" FILE_MARK
		".d/x.conf:1: unknown section [nothing]; expected [daemon], [listener NAME] "
		"or [account NAME]\n" FILE_MARK
		".d/x.conf:4: [daemon]: log_level: found '9', expected error, warning, "
		"notice, info or debug\n");
}
END_TEST

START_TEST(never_shows_a_key_that_stands_in_the_file)
{
	/* As users write it who have not read the manual. */
	static const char *const lines[] = {
		"account_key = Zm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
		"secondary_account_key = Zm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
		"account_key = key:Zm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
		"account_key = env:Zm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
		"account_key = file:Zm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
		"account_key = credential:Zm9vYmFy/2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
		"account_key = file:/x\nZm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
		"account_key = file:/x\nZm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTAx\n",
		"account_key = file:/x\n Zm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
		"credential = Zm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
		"required = Zm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
		"account_key = file:/x\nZm9v+mFy/2V5=\n",
		"account_key = file:/x\n[Zm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n",
	};
	for (size_t i = 0; i < UNIT_COUNT(lines); i++) {
		_cleanup_text_ struct text content = {0};
		_cleanup_text_ struct text problems = {0};
		struct config *config = NULL;
		text_appendf(&content,
			"[account a]\naccount_id = " ID "\naccount_domain = " DOMAIN "\n%s",
			lines[i]);
		const char *path = write_file("m.conf", content.data);
		ck_assert_msg(
			config_load(path, &config, &problems) == ERR_CONFIGURATION, "%s", lines[i]);
		ck_assert_ptr_nonnull(strstr(text_string(&problems), path));
		ck_assert_msg(strstr(text_string(&problems), "Zm9v") == NULL, "%s",
			text_string(&problems));
		ck_assert_msg(strstr(text_string(&problems), "MDEy") == NULL, "%s",
			text_string(&problems));
	}
}
END_TEST

START_TEST(says_what_to_write_in_place_of_a_key)
{
	assert_problems("[account a]\naccount_key = Zm9vYmFy\n", FILE_MARK
		":2: [account a]: account_key: a secret never stands in the configuration "
		"itself (the value is not shown here); put it in a file and write "
		"credential:NAME, file:/PATH or env:NAME\n");
	assert_problems("[account a]\nZm9vYmFyS2V5T2ZUaGVBY2NvdW50MDEyMzQ1Njc4OTA=\n", FILE_MARK
		":2: [account a]: found what is no name of a key, and may be a secret, so "
		"it is not shown; mrtokend.conf(5) lists the keys\n");
}
END_TEST

START_TEST(writes_problems_in_printable_ascii)
{
	assert_problems("[account a]\nrequired = x\xffy\n",
		FILE_MARK ":2: [account a]: required: found 'x?y', expected yes or no\n");
}
END_TEST

/* ---- the environment ---------------------------------------------------------------------------
 */

START_TEST(needs_no_section_where_the_environment_has_an_account)
{
	setenv("MIXEDREALITY_ACCOUNT_DOMAIN", DOMAIN, 1);
	setenv("MIXEDREALITY_ACCOUNT_ID", ID, 1);
	setenv("MIXEDREALITY_ACCOUNT_KEY", "Zm9vYmFy", 1);
	struct config *config = load("");
	ck_assert_uint_eq(config->account_count, 1);
	ck_assert_str_eq(config->default_account, "default");
	const struct config_account *account = &config->accounts[0];
	ck_assert_str_eq(account->settings.name, "default");
	ck_assert_str_eq(account->settings.account_id, ID);
	ck_assert_str_eq(account->settings.account_domain, DOMAIN);
	ck_assert_str_eq(account->settings.endpoint, "https://sts." DOMAIN);
	ck_assert_str_eq(account->where, "the environment");
	ck_assert_int_eq(account->credential.account_key.kind, SECRET_SOURCE_ENVIRONMENT);
	ck_assert_str_eq(account->credential.account_key.name, "MIXEDREALITY_ACCOUNT_KEY");
	ck_assert_uint_eq(config->listener_count, 1);
	/* Secrets are not read yet. */
	ck_assert_str_eq(getenv("MIXEDREALITY_ACCOUNT_KEY"), "Zm9vYmFy");
	_cleanup_text_ struct text printed = {0};
	config_print(config, &printed);
	ck_assert_ptr_nonnull(strstr(text_string(&printed),
		"# read the environment variables MIXEDREALITY_ACCOUNT_* and "
		"AZURE_*\n"));
	ck_assert_ptr_null(strstr(text_string(&printed), "Zm9v"));
	config_free(config);
}
END_TEST

START_TEST(takes_a_file_for_the_key_of_the_environment)
{
	setenv("MIXEDREALITY_ACCOUNT_DOMAIN", DOMAIN, 1);
	setenv("MIXEDREALITY_ACCOUNT_ID", ID, 1);
	setenv("MIXEDREALITY_ACCOUNT_KEY_FILE", "/run/secrets/key", 1);
	struct config *config = load("[listener a]\npath = /a\n[daemon]\nlog_level = debug\n");
	ck_assert_int_eq(config->accounts[0].credential.account_key.kind, SECRET_SOURCE_FILE);
	ck_assert_str_eq(config->accounts[0].credential.account_key.name, "/run/secrets/key");
	ck_assert_uint_eq(config->listener_count, 1);
	ck_assert_str_eq(config->listeners[0].path, "/a");
	config_free(config);
}
END_TEST

START_TEST(needs_no_file_where_the_environment_has_an_account)
{
	/* Not on a host where the file is there. */
	if (access(SYSCONFDIR "/mrtokend/mrtokend.conf", F_OK) == 0 ||
		access(SYSCONFDIR "/mrtokend/mrtokend.conf.d", F_OK) == 0)
		return;
	setenv("MIXEDREALITY_ACCOUNT_DOMAIN", DOMAIN, 1);
	setenv("MIXEDREALITY_ACCOUNT_ID", ID, 1);
	setenv("MIXEDREALITY_ACCOUNT_KEY", "Zm9vYmFy", 1);
	struct config *config = load_path(NULL);
	ck_assert_uint_eq(config->account_count, 1);
	ck_assert_str_eq(text_string(&config->sources),
		"the environment variables MIXEDREALITY_ACCOUNT_* and AZURE_*\n");
	config_free(config);
	clear_environment();
	_cleanup_text_ struct text problems = {0};
	ck_assert_int_eq(config_load(NULL, &config, &problems), ERR_CONFIGURATION);
	ck_assert_str_eq(text_string(&problems), SYSCONFDIR
		"/mrtokend/mrtokend.conf: no account: write an [account NAME] section, or "
		"set MIXEDREALITY_ACCOUNT_DOMAIN, MIXEDREALITY_ACCOUNT_ID and "
		"MIXEDREALITY_ACCOUNT_KEY_FILE\n");
}
END_TEST

START_TEST(tells_which_variables_are_missing_or_wrong)
{
	static const char domain_is_missing[] =
		"environment variable MIXEDREALITY_ACCOUNT_DOMAIN is "
		"not set; set it to the account's domain\n";
	static const char id_is_missing[] = "environment variable MIXEDREALITY_ACCOUNT_ID is not "
					    "set; set it to the account's identifier\n";
	static const char key_is_missing[] = "neither MIXEDREALITY_ACCOUNT_KEY_FILE nor "
					     "MIXEDREALITY_ACCOUNT_KEY is set; set one of them, "
					     "or the AZURE_* variables of a credential of "
					     "Microsoft Entra ID (for a managed identity "
					     "AZURE_TOKEN_CREDENTIALS="
					     "ManagedIdentityCredential)\n";
	static const char keys_are_two[] = "both MIXEDREALITY_ACCOUNT_KEY and "
					   "MIXEDREALITY_ACCOUNT_KEY_FILE are set; set only one of "
					   "them\n";
	static const char domain_is_wrong[] = "environment variable MIXEDREALITY_ACCOUNT_DOMAIN: "
					      "found 'https://x', expected a host "
					      "name such as eastus2.mixedreality.azure.com, "
					      "without https:// before it and without "
					      "a path behind it\n";
	static const char id_is_wrong[] =
		"environment variable MIXEDREALITY_ACCOUNT_ID: found 'x', expected the account's "
		"identifier as the portal shows it, a UUID such as "
		"00000000-0000-0000-0000-000000000000\n";
	static const char key_file_is_wrong[] =
		"environment variable MIXEDREALITY_ACCOUNT_KEY_FILE: found no absolute path (and "
		"maybe "
		"the key, so it is not shown), expected one such as /run/secrets/anchors-key\n";
	static const struct {
		const char *values[4]; /* domain, id, key, key file */
		const char *expected[3];
	} cases[] = {
		{{DOMAIN, ID, NULL, NULL}, {key_is_missing}},
		{{DOMAIN, NULL, "Zm9v", NULL}, {id_is_missing}},
		{{NULL, ID, "Zm9v", NULL}, {domain_is_missing}},
		{{NULL, ID, NULL, "/key"}, {domain_is_missing}},
		{{NULL, NULL, "Zm9v", NULL}, {domain_is_missing, id_is_missing}},
		{{DOMAIN, NULL, NULL, NULL}, {id_is_missing, key_is_missing}},
		{{NULL, ID, NULL, NULL}, {domain_is_missing, key_is_missing}},
		{{DOMAIN, ID, "Zm9v", "/key"}, {keys_are_two}},
		{{NULL, NULL, "Zm9v", "/key"}, {domain_is_missing, id_is_missing, keys_are_two}},
		{{"https://x", ID, "Zm9v", NULL}, {domain_is_wrong}},
		{{DOMAIN, "x", "Zm9v", NULL}, {id_is_wrong}},
		{{DOMAIN, ID, NULL, "Zm9vYmFy"}, {key_file_is_wrong}},
		{{"https://x", "x", NULL, ""}, {domain_is_wrong, id_is_wrong, key_file_is_wrong}},
	};
	static const char *const names[] = {"MIXEDREALITY_ACCOUNT_DOMAIN",
		"MIXEDREALITY_ACCOUNT_ID", "MIXEDREALITY_ACCOUNT_KEY",
		"MIXEDREALITY_ACCOUNT_KEY_FILE"};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		_cleanup_text_ struct text expected = {0};
		clear_environment();
		for (size_t j = 0; j < UNIT_COUNT(names); j++)
			if (cases[i].values[j] != NULL)
				setenv(names[j], cases[i].values[j], 1);
		for (size_t j = 0; j < 3 && cases[i].expected[j] != NULL; j++)
			text_append(&expected, cases[i].expected[j]);
		assert_problems("", expected.data);
	}
}
END_TEST

START_TEST(takes_the_accounts_of_the_file_before_those_of_the_environment)
{
	setenv("MIXEDREALITY_ACCOUNT_DOMAIN", "environment.example", 1);
	setenv("MIXEDREALITY_ACCOUNT_ID", OTHER_ID, 1);
	setenv("MIXEDREALITY_ACCOUNT_KEY", "Zm9v", 1);
	struct config *config = load(ACCOUNT("anchors"));
	ck_assert_uint_eq(config->account_count, 1);
	ck_assert_str_eq(config->accounts[0].settings.name, "anchors");
	ck_assert_str_eq(config->accounts[0].settings.account_domain, DOMAIN);
	config_free(config);
	setenv("MIXEDREALITY_ACCOUNT_KEY_FILE", "wrong too", 1);
	config = load(ACCOUNT("anchors"));
	config_free(config);
}
END_TEST

START_TEST(takes_authorities_from_the_file_then_from_ssl_cert_file)
{
	setenv("SSL_CERT_FILE", "/environment.pem", 1);
	struct config *config = load(ACCOUNT("a") ACCOUNT("b"));
	ck_assert_str_eq(config->ca_file, "/environment.pem");
	ck_assert_str_eq(config->accounts[0].settings.ca_file, "/environment.pem");
	ck_assert_str_eq(config->accounts[1].settings.ca_file, "/environment.pem");
	config_free(config);
	config = load("[daemon]\nca_file = /file.pem\n" ACCOUNT("a"));
	ck_assert_str_eq(config->ca_file, "/file.pem");
	ck_assert_str_eq(config->accounts[0].settings.ca_file, "/file.pem");
	config_free(config);
	static const char *const useless[] = {"", "relative.pem"};
	for (size_t i = 0; i < UNIT_COUNT(useless); i++) {
		setenv("SSL_CERT_FILE", useless[i], 1);
		config = load(ACCOUNT("a"));
		ck_assert_ptr_null(config->ca_file);
		config_free(config);
	}
}
END_TEST

/* ---- printing ----------------------------------------------------------------------------------
 */

/* What was printed, without the lines that tell what was read. */
static const char *body_of(const struct text *printed)
{
	const char *body = text_string(printed);
	while (strncmp(body, "# read ", 7) == 0)
		body = strchr(body, '\n') + 1;
	return body;
}

START_TEST(prints_what_it_understood_with_every_default)
{
	drop_in("x.conf", "[account b]\nrequired = no\n");
	struct config *config = load("[daemon]\nca_file = /ca.pem\n" ACCOUNT("a") ACCOUNT(
		"b") "secondary_account_key = env:B2\nendpoint = https://127.0.0.1:4443\n");
	_cleanup_text_ struct text printed = {0};
	_cleanup_text_ struct text expected = {0};
	config_print(config, &printed);
	expand("# read " FILE_MARK "\n"
	       "# read " FILE_MARK ".d/x.conf\n"
	       "\n[daemon]\nca_file = /ca.pem\nlog_level = info\n"
	       "\n[listener main]\npath = " RUNSTATEDIR "/mrtokend/mrtokend.sock\nmode = 0660\n"
	       "\n[account a]\nkind = mixed_reality\naccount_id = " ID "\naccount_domain = " DOMAIN
	       "\nendpoint = https://sts." DOMAIN "\ncredential = account_key\n"
	       "account_key = file:/key\nrequired = yes\n"
	       "\n[account b]\nkind = mixed_reality\naccount_id = " ID "\naccount_domain = " DOMAIN
	       "\nendpoint = https://127.0.0.1:4443\ncredential = account_key\n"
	       "account_key = file:/key\nsecondary_account_key = env:B2\nrequired = no\n",
		path_of("m.conf"), &expected);
	ck_assert_str_eq(text_string(&printed), text_string(&expected));
	config_free(config);
}
END_TEST

START_TEST(reads_back_what_it_printed)
{
	static const char *const contents[] = {
		ACCOUNT("a"), ACCOUNT("a") ACCOUNT("b") "required = off\n",
		"[daemon]\ndefault_account = b\nca_file = /a b.pem\nlog_level = notice\n" ACCOUNT(
			"a") ACCOUNT("b") "secondary_account_key = credential:second\n",
		"[listener one]\npath = /run/one\nmode = 0600\ngroup = root\n[listener two]\n"
		"path = /run/two\nmode = 0777\n" ACCOUNT(
			"a") "endpoint = HTTPS://127.0.0.1:8443/\n",
		"[listener main]\npath = /with space/and#hash\n" ACCOUNT("a.b_c-d"),
		"", /* the environment */
	};
	setenv("MIXEDREALITY_ACCOUNT_DOMAIN", DOMAIN, 1);
	setenv("MIXEDREALITY_ACCOUNT_ID", ID, 1);
	setenv("MIXEDREALITY_ACCOUNT_KEY", "Zm9vYmFy", 1);
	for (size_t i = 0; i < UNIT_COUNT(contents); i++) {
		_cleanup_text_ struct text first = {0};
		_cleanup_text_ struct text second = {0};
		struct config *config = load(contents[i]);
		config_print(config, &first);
		config_free(config);
		config = load(text_string(&first));
		config_print(config, &second);
		config_free(config);
		ck_assert_str_eq(body_of(&first), body_of(&second));
	}
}
END_TEST

/* ---- no memory, any bytes ----------------------------------------------------------------------
 */

static void load_without_memory(void *path)
{
	struct text problems = {0};
	struct config *config = NULL;
	unit_exhaust_memory();
	if (config_load(path, &config, &problems) == 0 || config != NULL)
		_exit(1);
}

START_TEST(refuses_when_there_is_no_memory)
{
	const char *path = write_file("m.conf", ACCOUNT("a"));
	if (!UNIT_HAS_SANITIZER)
		unit_assert_exited(unit_in_child(load_without_memory, (void *)path), 0);
}
END_TEST

START_TEST(refuses_or_understands_all_when_any_allocation_fails)
{
	_cleanup_text_ struct text reference = {0};
	if (UNIT_HAS_SANITIZER)
		return;
	drop_in("x.conf", "[daemon]\nlog_level = debug\n");
	const char *path = write_file("m.conf", "[listener l]\npath = /a\n" ACCOUNT("a"));
	setenv("SSL_CERT_FILE", "/ca.pem", 1);
	struct config *config = load_path(path);
	config_print(config, &reference);
	config_free(config);
	int refused = 0;
	bool has_failed = true;
	for (int successes = 0; has_failed; successes++) {
		_cleanup_text_ struct text problems = {0};
		_cleanup_text_ struct text printed = {0};
		config = NULL;
		allocations_left = successes;
		enum error_code result = config_load(path, &config, &problems);
		has_failed = allocations_left < 0;
		allocations_left = -1;
		ck_assert_msg((result == 0) == (config != NULL), "after %d", successes);
		if (result != 0) {
			/* The advice would be wrong: there is one, but no memory for it. */
			ck_assert(text_string(&problems) == NULL ||
				  strstr(problems.data, "no account") == NULL);
			refused++;
			continue;
		}
		config_print(config, &printed);
		ck_assert_msg(strcmp(body_of(&printed), body_of(&reference)) == 0, "after %d: %s",
			successes, text_string(&printed));
		config_free(config);
	}
	ck_assert_int_gt(refused, 30);
}
END_TEST

START_TEST(makes_no_half_account_of_the_environment_when_an_allocation_fails)
{
	if (UNIT_HAS_SANITIZER)
		return;
	setenv("MIXEDREALITY_ACCOUNT_DOMAIN", DOMAIN, 1);
	setenv("MIXEDREALITY_ACCOUNT_ID", ID, 1);
	setenv("MIXEDREALITY_ACCOUNT_KEY_FILE", "/key", 1);
	const char *path = write_file("m.conf", "");
	bool has_failed = true;
	for (int successes = 0; has_failed; successes++) {
		_cleanup_text_ struct text problems = {0};
		struct config *config = NULL;
		allocations_left = successes;
		enum error_code result = config_load(path, &config, &problems);
		has_failed = allocations_left < 0;
		allocations_left = -1;
		ck_assert_msg((result == 0) == (config != NULL), "after %d", successes);
		if (result != 0)
			continue;
		const struct config_account *account = &config->accounts[0];
		ck_assert_str_eq(account->settings.account_id, ID);
		ck_assert_str_eq(account->settings.endpoint, "https://sts." DOMAIN);
		ck_assert_str_eq(account->credential.account_key.name, "/key");
		ck_assert_str_eq(config->default_account, "default");
		ck_assert_str_eq(config->listeners[0].name, "main");
		config_free(config);
	}
}
END_TEST

START_TEST(survives_any_pieces_in_any_order)
{
	static const char *const pieces[] = {"[daemon]", "[listener l]", "[account a]",
		"[account b]", "[account", "]", "\n", "\n", "\n", " = ", "=", "log_level",
		"default_account", "path", "mode", "account_id", "account_key", "required",
		"endpoint", "yes", "0660", "a", "file:/key", ID, DOMAIN, "https://x", ";", "#", " ",
		"\xff"};
	uint64_t state = unit_seed("survives_any_pieces_in_any_order");
	int loaded = 0;
	for (int round = 0; round < 3000; round++) {
		_cleanup_text_ struct text content = {0};
		_cleanup_text_ struct text problems = {0};
		struct config *config = NULL;
		text_append(&content, unit_random(&state, 2) == 0 ? ACCOUNT("a") : "");
		for (uint64_t count = unit_random(&state, 12); count > 0; count--)
			text_append(&content, pieces[unit_random(&state, UNIT_COUNT(pieces))]);
		const char *path = write_file("m.conf", content.len == 0 ? "" : content.data);
		if (config_load(path, &config, &problems) == 0) {
			loaded++;
			ck_assert_str_eq(text_string(&problems), "");
			config_free(config);
		} else {
			ck_assert_ptr_null(config);
			ck_assert_uint_gt(problems.len, 0);
			ck_assert_int_eq(problems.data[problems.len - 1], '\n');
		}
	}
	ck_assert_int_gt(loaded, 0);
}
END_TEST

UNIT_MAIN("config", reads_every_key, completes_what_is_not_set,
	has_no_default_account_where_two_could_be_it, joins_the_parts_of_a_section,
	keeps_the_order_of_the_file, takes_names_of_forty_letters_for_every_section,
	loads_two_thousand_accounts, lets_drop_ins_replace_values_in_the_order_of_their_names,
	lets_a_drop_in_complete_an_account, passes_over_what_is_no_drop_in,
	tells_the_drop_in_that_has_the_problem, tells_of_a_drop_in_that_cannot_be_read,
	tells_of_a_directory_of_drop_ins_that_cannot_be_read,
	tells_of_a_directory_of_drop_ins_that_is_none, tells_of_a_file_that_is_not_there,
	tells_where_each_problem_of_one_line_is, tells_what_an_account_lacks,
	tells_what_a_listener_lacks, refuses_two_listeners_with_one_path,
	refuses_a_default_account_that_is_none, refuses_a_configuration_without_accounts,
	tells_all_problems_at_once_in_the_order_of_the_file,
	never_shows_a_key_that_stands_in_the_file, says_what_to_write_in_place_of_a_key,
	writes_problems_in_printable_ascii, needs_no_section_where_the_environment_has_an_account,
	takes_a_file_for_the_key_of_the_environment,
	needs_no_file_where_the_environment_has_an_account,
	tells_which_variables_are_missing_or_wrong,
	takes_the_accounts_of_the_file_before_those_of_the_environment,
	takes_authorities_from_the_file_then_from_ssl_cert_file,
	prints_what_it_understood_with_every_default, reads_back_what_it_printed,
	refuses_when_there_is_no_memory, refuses_or_understands_all_when_any_allocation_fails,
	makes_no_half_account_of_the_environment_when_an_allocation_fails,
	survives_any_pieces_in_any_order)
