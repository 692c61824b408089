#include "credential/managed_identity.h"

#include "files.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

#define SCOPE "https://sts.mixedreality.azure.com//.default"
#define QUERY "?api-version=2018-02-01&resource=https%3A%2F%2Fsts.mixedreality.azure.com%2F"
#define CLIENT "11111111-2222-3333-4444-555555555555"
#define OBJECT "22222222-2222-3333-4444-555555555555"
#define RESOURCE_ID "/subscriptions/s/resourcegroups/g/providers/p/identity"
#define NOW_S INT64_C(1700000000)

static int64_t now_ms = 5000000;

static int64_t told_boottime_ms(const struct clock *clock)
{
	(void)clock;
	return now_ms;
}

static int64_t told_realtime_s(const struct clock *clock)
{
	(void)clock;
	return NOW_S;
}

static const struct clock told_clock = {told_boottime_ms, told_realtime_s};

static size_t bytes_in_use(void)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	return usage.bytes_in_use;
}

/* ---- a server that gives one scripted answer after another -------------------------------------
 */

#define REQUESTS_MAX 16
#define TOKEN "eyJ.eyJ.sig"
#define ANSWER(status, headers, body)                                                            \
	"HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n" headers \
	"\r\n" body
#define GOOD                                                               \
	ANSWER("200 OK", "",                                               \
		"{\"access_token\":\"" TOKEN "\",\"expires_in\":\"3600\"," \
		"\"token_type\":\"Bearer\"}")
#define BUSY ANSWER("429 Busy", "", "{\"error\":\"busy\"}")

struct server {
	int listen_fd;
	char origin[64];
	pthread_t thread;
	const char *const *answers; /* the last one for all that follow; NULL: none at all */
	pthread_mutex_t lock; /* guards what follows */
	unsigned count;
	char requests[REQUESTS_MAX][2048];
};

/* Read the header lines, and a body of the length that they tell. */
static void read_request(int fd, char *request, size_t size)
{
	size_t len = 0;
	request[0] = '\0';
	for (;;) {
		const char *end = strstr(request, "\r\n\r\n");
		const char *length = strcasestr(request, "\r\nContent-Length: ");
		size_t body = length == NULL ? 0 : strtoul(length + 18, NULL, 10);
		if (end != NULL && len >= (size_t)(end - request) + 4 + body)
			return;
		ssize_t got = read(fd, request + len, size - 1 - len);
		if (got <= 0)
			return;
		len += (size_t)got;
		request[len] = '\0';
	}
}

static void *serve(void *context)
{
	struct server *server = context;
	int held[REQUESTS_MAX];
	unsigned held_count = 0;
	for (;;) {
		char request[2048];
		int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			break;
		read_request(fd, request, sizeof(request));
		pthread_mutex_lock(&server->lock);
		strcpy(server->requests[server->count++ % REQUESTS_MAX], request);
		const char *answer = server->answers[0];
		if (answer != NULL && server->answers[1] != NULL)
			server->answers++;
		pthread_mutex_unlock(&server->lock);
		if (answer == NULL) {
			held[held_count++] = fd;
			continue;
		}
		ck_assert_int_eq(write(fd, answer, strlen(answer)), (ssize_t)strlen(answer));
		close(fd);
	}
	while (held_count > 0)
		close(held[--held_count]);
	return NULL;
}

static void server_start(struct server *server, const char *const *answers)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	signal(SIGPIPE, SIG_IGN);
	memset(server, 0, sizeof(*server));
	server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(server->listen_fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(getsockname(server->listen_fd, (struct sockaddr *)&address, &len), 0);
	ck_assert_int_eq(listen(server->listen_fd, 16), 0);
	snprintf(server->origin, sizeof(server->origin), "http://127.0.0.1:%u",
		ntohs(address.sin_port));
	server->answers = answers;
	pthread_mutex_init(&server->lock, NULL);
	ck_assert_int_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct server *server)
{
	shutdown(server->listen_fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->listen_fd);
	pthread_mutex_destroy(&server->lock);
}

static unsigned server_count(struct server *server)
{
	pthread_mutex_lock(&server->lock);
	unsigned count = server->count;
	pthread_mutex_unlock(&server->lock);
	return count;
}

/* The request of that number, of which the first is 0; nothing else may be under way. */
static const char *request_of(struct server *server, unsigned number)
{
	ck_assert_uint_gt(server_count(server), number);
	return server->requests[number];
}

static bool has_line(const char *request, const char *line)
{
	char whole[256];
	snprintf(whole, sizeof(whole), "\r\n%s\r\n", line);
	return strstr(request, whole) != NULL;
}

/* ---- an identity, and somebody who asks it -----------------------------------------------------
 */

struct asker {
	struct loop *loop;
	struct credential_call *call; /* NULL once it was answered */
	unsigned answers;
	bool is_asking;
	char token[64];
	const char *given_by;
	int64_t dead_at_ms;
	struct error err;
};

static void on_done(void *context, struct access_token *token, const struct error *err)
{
	struct asker *asker = context;
	ck_assert(!asker->is_asking);
	ck_assert_int_ne(token == NULL, err == NULL);
	asker->answers++;
	asker->call = NULL;
	asker->err = err == NULL ? ERROR_INIT : *err;
	asker->token[0] = '\0';
	if (token == NULL)
		return;
	snprintf(asker->token, sizeof(asker->token), "%s", secret_bytes(token->token));
	asker->dead_at_ms = token->dead_at_ms;
	asker->given_by = token->given_by;
}

static void asker_start(struct asker *asker)
{
	struct error err = ERROR_INIT;
	memset(asker, 0, sizeof(*asker));
	asker->loop = loop_new(&told_clock, &err);
	ck_assert_msg(asker->loop != NULL, "%s", err.message);
}

static void asker_ask(struct asker *asker, struct managed_identity *identity)
{
	struct error err = ERROR_INIT;
	asker->is_asking = true;
	asker->answers = 0;
	asker->call = credential_managed_identity.ask(
		&identity->credential, SCOPE, asker->loop, on_done, asker, &err);
	asker->is_asking = false;
	ck_assert_msg(asker->call != NULL, "%s", err.message);
	ck_assert_ptr_eq(asker->call->credential, &identity->credential);
	ck_assert_ptr_eq(asker->call->context, asker);
}

static void asker_wait(struct asker *asker)
{
	while (asker->answers == 0)
		loop_run(asker->loop, 1000);
	ck_assert_uint_eq(asker->answers, 1);
	for (int i = 0; i < 3; i++)
		loop_run(asker->loop, 0);
	ck_assert_uint_eq(asker->answers, 1);
}

static void ask_and_wait(struct asker *asker, struct managed_identity *identity)
{
	asker_ask(asker, identity);
	asker_wait(asker);
}

static void assert_got_token(const struct asker *asker)
{
	ck_assert_msg(asker->err.code == ERR_NONE, "%s", asker->err.message);
	ck_assert_str_eq(asker->token, TOKEN);
}

static void assert_failed(const struct asker *asker, enum error_code code, const char *part)
{
	ck_assert_str_eq(asker->token, "");
	ck_assert_msg(asker->err.code == code, "%s: %s", error_code_name(asker->err.code),
		asker->err.message);
	ck_assert_msg(strstr(asker->err.message, part) != NULL, "%s", asker->err.message);
}

static const struct account_settings no_account;

/* As the daemon opens it, in an environment of these variables: name, value, ..., NULL. */
static struct managed_identity *open_in(
	const struct credential_settings *settings, const char *const *variables)
{
	static const char *const all[] = {"IDENTITY_ENDPOINT", "IDENTITY_HEADER",
		"IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET",
		"AZURE_POD_IDENTITY_AUTHORITY_HOST", "DEFAULT_IDENTITY_CLIENT_ID",
		"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE",
		"AZURE_AUTHORITY_HOST"};
	struct error err = ERROR_INIT;
	for (size_t i = 0; i < UNIT_COUNT(all); i++)
		if (!secret_source_remembers(all[i]))
			unsetenv(all[i]);
	for (size_t i = 0; variables != NULL && variables[i] != NULL; i += 2)
		setenv(variables[i], variables[i + 1], 1);
	struct credential *credential =
		credential_open_kind(&credential_managed_identity, settings, &no_account, &err);
	ck_assert_msg(credential != NULL, "%s", err.message);
	ck_assert_ptr_eq(credential->kind, &credential_managed_identity);
	return (struct managed_identity *)credential;
}

static struct managed_identity *open_imds(
	const struct credential_settings *settings, const char *origin)
{
	const char *const variables[] = {"AZURE_POD_IDENTITY_AUTHORITY_HOST", origin, NULL};
	return open_in(settings, variables);
}

/* The settings of an account without any keys of its own. */
static const struct credential_settings no_settings;

/* ---- the kind ----------------------------------------------------------------------------------
 */

START_TEST(is_a_kind_that_accounts_share)
{
	const struct credential_kind *kind = credential_kind_find("managed_identity");
	ck_assert_ptr_eq(kind, &credential_managed_identity);
	ck_assert(kind->is_shared);
	ck_assert_str_eq(kind->keys[0], "client_id");
	ck_assert_str_eq(kind->keys[1], "object_id");
	ck_assert_str_eq(kind->keys[2], "resource_id");
	ck_assert_ptr_null(kind->keys[3]);
}
END_TEST

static void assert_check(struct credential_settings settings, const char *part)
{
	struct error err = ERROR_INIT;
	int result = credential_managed_identity.check(&settings, &err);
	ck_assert_int_eq(result, part == NULL ? 0 : -1);
	ck_assert_int_eq(err.code, part == NULL ? ERR_NONE : ERR_CONFIGURATION);
	if (part != NULL)
		ck_assert_msg(strstr(err.message, part) != NULL, "%s", err.message);
}

#define SETTINGS(...) ((struct credential_settings){__VA_ARGS__})

START_TEST(takes_one_name_of_an_identity_at_most)
{
	assert_check(no_settings, NULL);
	assert_check(SETTINGS(.client_id = (char *)CLIENT), NULL);
	assert_check(SETTINGS(.object_id = (char *)OBJECT), NULL);
	assert_check(SETTINGS(.resource_id = (char *)RESOURCE_ID), NULL);
	assert_check(SETTINGS(.client_id = (char *)CLIENT, .object_id = (char *)OBJECT),
		"both client_id and object_id name a managed identity; leave one of them out");
	assert_check(SETTINGS(.client_id = (char *)CLIENT, .resource_id = (char *)RESOURCE_ID),
		"both client_id and resource_id");
	assert_check(SETTINGS(.object_id = (char *)OBJECT, .resource_id = (char *)RESOURCE_ID),
		"both object_id and resource_id");
	/* Of a list the client_id may be the one of another credential. */
	assert_check(
		SETTINGS(.kind_count = 2, .client_id = (char *)CLIENT, .object_id = (char *)OBJECT),
		NULL);
	assert_check(SETTINGS(.kind_count = 2, .object_id = (char *)OBJECT,
			     .resource_id = (char *)RESOURCE_ID),
		"both object_id and resource_id");
}
END_TEST

/* ---- the environment ---------------------------------------------------------------------------
 */

START_TEST(wipes_the_secrets_of_the_environment_and_remembers_them)
{
	struct asker asker;
	struct server server;
	static const char *const answers[] = {GOOD, NULL};
	asker_start(&asker);
	server_start(&server, answers);
	const char *const variables[] = {"IDENTITY_ENDPOINT", server.origin, "IDENTITY_HEADER",
		"one-secret", "MSI_ENDPOINT", server.origin, "MSI_SECRET", "another", NULL};
	struct managed_identity *first = open_in(&no_settings, variables);
	ck_assert_str_eq(getenv("IDENTITY_HEADER"), "");
	ck_assert_str_eq(getenv("MSI_SECRET"), "");
	/* A second account, or a reload. */
	const char *const left[] = {"IDENTITY_ENDPOINT", server.origin, NULL};
	struct managed_identity *second = open_in(&no_settings, left);
	ck_assert_ptr_eq(first->source, &identity_app_service);
	ck_assert_ptr_eq(second->source, &identity_app_service);
	ask_and_wait(&asker, first);
	assert_got_token(&asker);
	ask_and_wait(&asker, second);
	assert_got_token(&asker);
	ck_assert(has_line(request_of(&server, 0), "X-IDENTITY-HEADER: one-secret"));
	ck_assert(has_line(request_of(&server, 1), "X-IDENTITY-HEADER: one-secret"));
	credential_close(&first->credential);
	credential_close(&second->credential);
	/* The other one is still there too. */
	const char *const older[] = {"MSI_ENDPOINT", server.origin, NULL};
	struct managed_identity *third = open_in(&no_settings, older);
	ck_assert_ptr_eq(third->source, &identity_azure_ml);
	ask_and_wait(&asker, third);
	ck_assert(has_line(request_of(&server, 2), "secret: another"));
	credential_close(&third->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(wipes_a_secret_that_no_source_takes_too)
{
	const char *const variables[] = {
		"MSI_ENDPOINT", "http://127.0.0.1:1", "IDENTITY_HEADER", "one-secret", NULL};
	struct managed_identity *identity = open_in(&no_settings, variables);
	ck_assert_ptr_eq(identity->source, &identity_cloud_shell);
	ck_assert_str_eq(getenv("IDENTITY_HEADER"), "");
	credential_close(&identity->credential);
}
END_TEST

/* What the environment makes impossible is said by ask(), not by open(). */
static void assert_trouble(const struct credential_settings *settings, const char *const *variables,
	enum error_code code, const char *part)
{
	struct asker asker;
	asker_start(&asker);
	struct managed_identity *identity = open_in(settings, variables);
	for (int i = 0; i < 2; i++) {
		ask_and_wait(&asker, identity);
		assert_failed(&asker, code, part);
	}
	asker_ask(&asker, identity);
	credential_managed_identity.cancel(asker.call);
	loop_run(asker.loop, 0);
	ck_assert_uint_eq(asker.answers, 0);
	credential_close(&identity->credential);
	loop_free(asker.loop);
}

#define TROUBLE(settings, code, part, ...) \
	assert_trouble(settings, (const char *const[]){__VA_ARGS__, NULL}, code, part)

START_TEST(fails_its_account_only_where_the_host_is_strange)
{
	TROUBLE(&no_settings, ERR_UNAVAILABLE, "no managed identity endpoint is known here",
		"IDENTITY_ENDPOINT", "http://127.0.0.1:1");
	TROUBLE(&no_settings, ERR_CONFIGURATION,
		"AZURE_POD_IDENTITY_AUTHORITY_HOST: found http://10.0.0.1/metadata/identity/oauth2/"
		"token, expected an address of this host itself",
		"AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://10.0.0.1");
	TROUBLE(&no_settings, ERR_CONFIGURATION, "MSI_ENDPOINT: found http://example.com/",
		"MSI_ENDPOINT", "http://example.com/");
	TROUBLE(&no_settings, ERR_CONFIGURATION,
		"IDENTITY_SERVER_THUMBPRINT: found 3 characters, expected SHA-1 as 40",
		"IDENTITY_ENDPOINT", "https://127.0.0.1:1", "IDENTITY_HEADER", "s",
		"IDENTITY_SERVER_THUMBPRINT", "abc");
}
END_TEST

START_TEST(refuses_a_secret_that_breaks_out_of_its_header)
{
	TROUBLE(&no_settings, ERR_SECRET_SOURCE,
		"IDENTITY_HEADER: the byte at offset 1 has no place in a header",
		"IDENTITY_ENDPOINT", "http://127.0.0.1:1", "IDENTITY_HEADER", "a\r\nHost: evil");
}
END_TEST

START_TEST(refuses_a_secret_that_is_nothing)
{
	TROUBLE(&no_settings, ERR_SECRET_SOURCE, "env:IDENTITY_HEADER is empty",
		"IDENTITY_ENDPOINT", "http://127.0.0.1:1", "IDENTITY_HEADER", " ");
}
END_TEST

START_TEST(refuses_a_user_assigned_identity_where_there_is_none)
{
	static const char thumbprint[] = "0123456789abcdefABCDEF0123456789abcdef01";
	const struct credential_settings by_client = {.client_id = (char *)CLIENT};
	const struct credential_settings by_object = {.object_id = (char *)OBJECT};
	const struct credential_settings by_resource = {.resource_id = (char *)RESOURCE_ID};
	static const char out[] = ": leave out client_id, object_id and resource_id, and "
				  "AZURE_CLIENT_ID where credential = default";
	TROUBLE(&by_client, ERR_CONFIGURATION, out, "IDENTITY_ENDPOINT", "http://127.0.0.1:1",
		"IMDS_ENDPOINT", "http://127.0.0.1:1");
	TROUBLE(&by_client, ERR_CONFIGURATION,
		"Cloud Shell has no identity but that of the user who opened it: leave out",
		"MSI_ENDPOINT", "http://127.0.0.1:1");
	TROUBLE(&by_object, ERR_CONFIGURATION,
		"Azure Machine Learning knows identities by client_id only: leave out",
		"MSI_ENDPOINT", "http://127.0.0.1:1", "MSI_SECRET", "s");
	TROUBLE(&by_resource, ERR_CONFIGURATION,
		"Service Fabric gives a service the identity that the application's manifest says",
		"IDENTITY_ENDPOINT", "https://127.0.0.1:1", "IDENTITY_HEADER", "s",
		"IDENTITY_SERVER_THUMBPRINT", thumbprint);
}
END_TEST

START_TEST(takes_the_identity_that_azure_ml_says_is_the_default)
{
	const char *const variables[] = {"MSI_ENDPOINT", "http://127.0.0.1:1", "MSI_SECRET", "s",
		"DEFAULT_IDENTITY_CLIENT_ID", CLIENT, NULL};
	struct managed_identity *identity = open_in(&no_settings, variables);
	ck_assert_int_eq(identity->selector, IDENTITY_CLIENT_ID);
	ck_assert_str_eq(identity->id, CLIENT);
	credential_close(&identity->credential);
	identity = open_in(&SETTINGS(.client_id = (char *)OBJECT), variables);
	ck_assert_str_eq(identity->id, OBJECT);
	credential_close(&identity->credential);
	const char *const imds[] = {"DEFAULT_IDENTITY_CLIENT_ID", CLIENT, NULL};
	identity = open_in(&no_settings, imds);
	ck_assert_ptr_eq(identity->source, &identity_imds);
	ck_assert_ptr_null(identity->id);
	credential_close(&identity->credential);
}
END_TEST

START_TEST(prefers_the_name_that_is_the_identitys_alone)
{
	struct managed_identity *identity =
		open_imds(&SETTINGS(.kind_count = 2, .client_id = (char *)CLIENT,
				  .object_id = (char *)OBJECT),
			"http://127.0.0.1:1");
	ck_assert_int_eq(identity->selector, IDENTITY_OBJECT_ID);
	ck_assert_str_eq(identity->id, OBJECT);
	credential_close(&identity->credential);
}
END_TEST

/* ---- asking ------------------------------------------------------------------------------------
 */

START_TEST(asks_for_the_system_assigned_identity)
{
	struct asker asker;
	struct server server;
	static const char *const answers[] = {GOOD, NULL};
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_imds(&no_settings, server.origin);
	ask_and_wait(&asker, identity);
	assert_got_token(&asker);
	ck_assert_int_eq(asker.dead_at_ms, now_ms + 3600000);
	const char *request = request_of(&server, 0);
	static const char line[] = "GET /metadata/identity/oauth2/token" QUERY " HTTP/1.1\r\n";
	ck_assert_msg(strncmp(request, line, strlen(line)) == 0, "%s", request);
	ck_assert(has_line(request, "Metadata: true"));
	ck_assert_uint_eq(server_count(&server), 1);
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(asks_for_a_user_assigned_identity_by_each_of_its_names)
{
	static const struct {
		struct credential_settings settings;
		const char *parameter;
	} cases[] = {
		{{.client_id = (char *)CLIENT}, "&client_id=" CLIENT " HTTP"},
		{{.object_id = (char *)OBJECT}, "&object_id=" OBJECT " HTTP"},
		{{.resource_id = (char *)"/a/b"}, "&msi_res_id=%2Fa%2Fb HTTP"},
	};
	static const char *const answers[] = {GOOD, NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	for (unsigned i = 0; i < UNIT_COUNT(cases); i++) {
		struct managed_identity *identity = open_imds(&cases[i].settings, server.origin);
		ask_and_wait(&asker, identity);
		assert_got_token(&asker);
		ck_assert_msg(strstr(request_of(&server, i), cases[i].parameter) != NULL, "%s",
			request_of(&server, i));
		credential_close(&identity->credential);
	}
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(asks_cloud_shell_by_a_form)
{
	static const char *const answers[] = {GOOD, NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	const char *const variables[] = {"MSI_ENDPOINT", server.origin, NULL};
	struct managed_identity *identity = open_in(&no_settings, variables);
	ask_and_wait(&asker, identity);
	assert_got_token(&asker);
	const char *request = request_of(&server, 0);
	ck_assert_int_eq(strncmp(request, "POST / HTTP/1.1\r\n", 17), 0);
	ck_assert(has_line(request, "Metadata: true"));
	ck_assert(has_line(request, "Content-Type: application/x-www-form-urlencoded"));
	ck_assert_ptr_nonnull(
		strstr(request, "\r\n\r\nresource=https%3A%2F%2Fsts.mixedreality.azure.com%2F"));
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(gives_back_its_secret_memory)
{
	static const char *const answers[] = {GOOD, NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	const char *const variables[] = {
		"IDENTITY_ENDPOINT", server.origin, "IDENTITY_HEADER", "secret", NULL};
	credential_close(&open_in(&no_settings, variables)->credential);
	size_t before = bytes_in_use();
	struct managed_identity *identity = open_in(&no_settings, variables);
	ask_and_wait(&asker, identity);
	assert_got_token(&asker);
	credential_close(&identity->credential);
	ck_assert_uint_eq(bytes_in_use(), before);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

/* ---- whether it is there -----------------------------------------------------------------------
 */

/* A member of a chain on a host without variables, whose metadata service is the test's. */
static struct managed_identity *open_probed(const char *endpoint)
{
	struct managed_identity *identity = open_in(&SETTINGS(.is_in_chain = true), NULL);
	ck_assert_ptr_eq(identity->source, &identity_imds);
	ck_assert_str_eq(
		identity->endpoint, "http://169.254.169.254/metadata/identity/oauth2/token");
	ck_assert_str_eq(identity->origin, "http://169.254.169.254");
	ck_assert(identity->is_probed);
	free(identity->endpoint);
	identity->endpoint = strdup(endpoint);
	return identity;
}

START_TEST(looks_first_whether_imds_is_there_when_it_is_in_a_chain)
{
	static const char *const answers[] = {
		ANSWER("400 Bad", "", "{\"error\":\"invalid_request\"}"), GOOD, NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_probed(server.origin);
	ask_and_wait(&asker, identity);
	assert_got_token(&asker);
	ck_assert_uint_eq(server_count(&server), 2);
	ck_assert_ptr_null(strcasestr(request_of(&server, 0), "Metadata:"));
	ck_assert(has_line(request_of(&server, 1), "Metadata: true"));
	/* Once seen, it is there. */
	ask_and_wait(&asker, identity);
	assert_got_token(&asker);
	ck_assert_uint_eq(server_count(&server), 3);
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(takes_any_answer_to_its_look_for_a_yes_and_none_for_the_token)
{
	static const char *const answers[] = {ANSWER("500 Oops", "", ""), GOOD, NULL};
	static const char *const odd[] = {ANSWER("400 Bad", "", "{}"), NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_probed(server.origin);
	ask_and_wait(&asker, identity);
	assert_got_token(&asker);
	credential_close(&identity->credential);
	server_stop(&server);
	server_start(&server, odd);
	identity = open_probed(server.origin);
	ask_and_wait(&asker, identity);
	assert_failed(&asker, ERR_UNAVAILABLE, "no identity assigned to this host");
	ck_assert_uint_eq(server_count(&server), 2);
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(is_unavailable_in_a_chain_where_nobody_answers)
{
	static const char *const silent[] = {NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	struct managed_identity *identity = open_probed("http://127.0.0.1:1/metadata");
	ask_and_wait(&asker, identity);
	assert_failed(&asker, ERR_UNAVAILABLE,
		"no managed identity endpoint here (IMDS): no answer from http://127.0.0.1:1: ");
	ck_assert(identity->is_probed); /* it may come up later */
	credential_close(&identity->credential);
	/* One that takes the connection and is silent is given a second. */
	server_start(&server, silent);
	struct timespec begin;
	struct timespec end;
	identity = open_probed(server.origin);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	ask_and_wait(&asker, identity);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_failed(&asker, ERR_UNAVAILABLE, "no managed identity endpoint here (IMDS)");
	ck_assert_int_le(end.tv_sec - begin.tv_sec, 5);
	ck_assert_uint_eq(server_count(&server), 1);
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(does_not_look_first_where_it_is_alone_or_told_where_imds_is)
{
	struct managed_identity *identity = open_in(&no_settings, NULL);
	ck_assert(!identity->is_probed);
	credential_close(&identity->credential);
	identity = open_imds(&SETTINGS(.is_in_chain = true), "http://127.0.0.1:1");
	ck_assert(!identity->is_probed);
	credential_close(&identity->credential);
	const char *const variables[] = {"MSI_ENDPOINT", "http://127.0.0.1:1", NULL};
	identity = open_in(&SETTINGS(.is_in_chain = true), variables);
	ck_assert(!identity->is_probed);
	credential_close(&identity->credential);
}
END_TEST

START_TEST(says_that_there_is_no_endpoint_where_it_is_alone)
{
	struct asker asker;
	asker_start(&asker);
	struct managed_identity *identity = open_imds(&no_settings, "http://127.0.0.1:1");
	ask_and_wait(&asker, identity);
	assert_failed(&asker, ERR_NETWORK,
		"no managed identity endpoint here (IMDS): no answer from http://127.0.0.1:1: ");
	credential_close(&identity->credential);
	const char *const variables[] = {"MSI_ENDPOINT", "http://127.0.0.1:1/x", NULL};
	identity = open_in(&no_settings, variables);
	ask_and_wait(&asker, identity);
	assert_failed(&asker, ERR_NETWORK,
		"the managed identity endpoint of Cloud Shell: no answer from "
		"http://127.0.0.1:1: ");
	credential_close(&identity->credential);
	loop_free(asker.loop);
}
END_TEST

/* ---- asking again ------------------------------------------------------------------------------
 */

/* Run until the daemon has logged that part; standard error is captured. */
static void run_until_logged(struct asker *asker, const char *part)
{
	char text[8192] = "";
	while (strstr(text, part) == NULL) {
		loop_run(asker->loop, 100);
		ssize_t got = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);
		text[got < 0 ? 0 : got] = '\0';
		ck_assert_uint_eq(asker->answers, 0);
	}
}

START_TEST(asks_again_after_the_delay_and_not_before)
{
	static const char *const answers[] = {BUSY,
		ANSWER("429 Busy", "Retry-After: 7\r\n", "{\"error\":\"busy\"}"),
		ANSWER("410 Gone", "", ""), GOOD, NULL};
	static const int delays_ms[] = {1000, 7000, 10000};
	static const int statuses[] = {429, 429, 410};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_imds(&no_settings, server.origin);
	capture_begin();
	asker_ask(&asker, identity);
	for (unsigned i = 0; i < UNIT_COUNT(delays_ms); i++) {
		char expected[64];
		snprintf(expected, sizeof(expected), "; asking again in %d ms", delays_ms[i]);
		run_until_logged(&asker, expected);
		ck_assert_uint_eq(server_count(&server), i + 1);
		now_ms += delays_ms[i] - 1;
		for (int k = 0; k < 5; k++)
			loop_run(asker.loop, 0);
		ck_assert_uint_eq(server_count(&server), i + 1);
		now_ms += 1;
	}
	asker_wait(&asker);
	const char *logged = capture_end();
	assert_got_token(&asker);
	ck_assert_uint_eq(server_count(&server), 4);
	for (unsigned i = 0; i < UNIT_COUNT(statuses); i++) {
		char expected[64];
		snprintf(expected, sizeof(expected), "answered %d with ", statuses[i]);
		ck_assert_msg(strstr(logged, expected) != NULL, "%s", logged);
	}
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(ends_with_the_last_answer_when_asking_again_was_in_vain)
{
	static const char *const answers[] = {ANSWER("500 Oops", "", "{\"error\":\"first\"}"),
		ANSWER("503 Oops", "Retry-After: 1\r\n", "{\"error\":\"last\"}"), NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_imds(&no_settings, server.origin);
	capture_begin();
	asker_ask(&asker, identity);
	while (asker.answers == 0) {
		loop_run(asker.loop, 10);
		now_ms += 1000;
	}
	capture_end();
	assert_failed(&asker, ERR_THROTTLED, "IMDS at http://127.0.0.1:");
	ck_assert_ptr_nonnull(strstr(asker.err.message, " answered 503 with last"));
	ck_assert_int_eq(asker.err.http_status, 503);
	ck_assert_int_eq(asker.err.retry_after_s, 1);
	ck_assert_uint_eq(server_count(&server), 6);
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(waits_for_a_minute_and_a_half_altogether)
{
	static const char *const answers[] = {ANSWER("429 Busy", "Retry-After: 30\r\n", ""), NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_imds(&no_settings, server.origin);
	capture_begin();
	asker_ask(&asker, identity);
	while (asker.answers == 0) {
		loop_run(asker.loop, 10);
		now_ms += 30000;
	}
	capture_end();
	assert_failed(&asker, ERR_THROTTLED, "answered 429");
	ck_assert_uint_eq(server_count(&server), 4);
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(leaves_a_long_retry_after_to_the_schedule)
{
	static const char *const answers[] = {ANSWER("429 Busy", "Retry-After: 600\r\n", ""), NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_imds(&no_settings, server.origin);
	ask_and_wait(&asker, identity);
	assert_failed(&asker, ERR_THROTTLED, "answered 429");
	ck_assert_int_eq(asker.err.retry_after_s, 600);
	ck_assert_uint_eq(server_count(&server), 1);
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(says_what_was_wrong_with_a_good_answer)
{
	static const char *const answers[] = {ANSWER("200 OK", "", "{\"expires_in\":1}"), NULL};
	static const char *const half[] = {
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_imds(&no_settings, server.origin);
	ask_and_wait(&asker, identity);
	assert_failed(&asker, ERR_UPSTREAM_FORMAT,
		" answered 200, but not with a token of use: the body has no member access_token");
	ck_assert_int_eq(asker.err.http_status, 200);
	credential_close(&identity->credential);
	server_stop(&server);
	server_start(&server, half);
	identity = open_imds(&no_settings, server.origin);
	ask_and_wait(&asker, identity);
	assert_failed(&asker, ERR_NETWORK, "no answer from http://127.0.0.1:");
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

/* ---- the challenge of Azure Arc ----------------------------------------------------------------
 */

static int keys_shown;

static struct secret *show_key(const char *challenge, struct error *err)
{
	char line[128];
	if (strcmp(challenge, "Basic realm=/the/file") != 0) {
		error_set(err, ERR_UPSTREAM_FORMAT, "the challenge is %s", challenge);
		return NULL;
	}
	snprintf(line, sizeof(line), "Authorization: Basic key%d", ++keys_shown);
	return secret_from(line, strlen(line));
}

#define CHALLENGE ANSWER("401 Who", "WWW-Authenticate: Basic realm=/the/file\r\n", "")

static struct managed_identity *open_arc(const char *origin)
{
	static struct identity_source source;
	source = identity_azure_arc;
	source.answer_challenge = show_key; /* and read no file of this host */
	const char *const variables[] = {
		"IDENTITY_ENDPOINT", origin, "IMDS_ENDPOINT", origin, NULL};
	struct managed_identity *identity = open_in(&no_settings, variables);
	ck_assert_ptr_eq(identity->source, &identity_azure_arc);
	identity->source = &source;
	return identity;
}

START_TEST(answers_a_challenge_once)
{
	static const char *const answers[] = {CHALLENGE, GOOD, CHALLENGE, CHALLENGE, NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_arc(server.origin);
	ask_and_wait(&asker, identity);
	assert_got_token(&asker);
	ck_assert_ptr_null(strcasestr(request_of(&server, 0), "Authorization:"));
	ck_assert(has_line(request_of(&server, 0), "Metadata: true"));
	ck_assert(has_line(request_of(&server, 1), "Authorization: Basic key1"));
	ck_assert(has_line(request_of(&server, 1), "Metadata: true"));
	ask_and_wait(&asker, identity);
	assert_failed(&asker, ERR_DENIED, "the agent did not take the key of its own file");
	ck_assert_uint_eq(server_count(&server), 4);
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(begins_with_the_challenge_again_when_it_asks_again)
{
	static const char *const answers[] = {
		CHALLENGE, ANSWER("500 Oops", "", ""), CHALLENGE, GOOD, NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_arc(server.origin);
	keys_shown = 0;
	capture_begin();
	asker_ask(&asker, identity);
	run_until_logged(&asker, "; asking again in 800 ms");
	now_ms += 800;
	asker_wait(&asker);
	capture_end();
	assert_got_token(&asker);
	ck_assert_ptr_null(strcasestr(request_of(&server, 2), "Authorization:"));
	ck_assert(has_line(request_of(&server, 3), "Authorization: Basic key2"));
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(ends_at_a_challenge_that_it_does_not_answer)
{
	static const char *const answers[] = {
		ANSWER("401 Who", "WWW-Authenticate: Basic realm=/etc/shadow\r\n", ""), NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_arc(server.origin);
	ask_and_wait(&asker, identity);
	assert_failed(&asker, ERR_UPSTREAM_FORMAT, "cannot answer the challenge of Azure Arc at ");
	ck_assert_int_eq(asker.err.http_status, 401);
	ck_assert_uint_eq(server_count(&server), 1);
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

START_TEST(answers_no_challenge_of_other_sources)
{
	static const char *const answers[] = {CHALLENGE, NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	server_start(&server, answers);
	struct managed_identity *identity = open_imds(&no_settings, server.origin);
	ask_and_wait(&asker, identity);
	assert_failed(&asker, ERR_DENIED, "answered 401");
	ck_assert_uint_eq(server_count(&server), 1);
	credential_close(&identity->credential);
	server_stop(&server);
	loop_free(asker.loop);
}
END_TEST

/* ---- a workload identity in its place ----------------------------------------------------------
 */

static int fake_closed;

static struct credential_call *fake_ask(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	struct access_token token = {.dead_at_ms = now_ms + 1000, .refresh_at_ms = -1};
	ck_assert_str_eq(scope, SCOPE);
	token.token = secret_from(TOKEN, strlen(TOKEN));
	return credential_answer_ready(credential, loop, &token, NULL, done, context, err);
}

static struct credential_call *fake_refuse(struct credential *credential, const char *scope,
	struct loop *loop, credential_done_fn done, void *context, struct error *err)
{
	(void)credential;
	(void)scope;
	(void)loop;
	(void)done;
	(void)context;
	error_set(err, ERR_NO_MEMORY, "fake");
	return NULL;
}

static void fake_close(struct credential *credential)
{
	fake_closed++;
	free(credential);
}

static const struct credential_kind fakes[] = {
	{.ask = fake_ask, .cancel = credential_cancel_ready, .close = fake_close},
	{.ask = fake_refuse, .close = fake_close},
};

static struct managed_identity *open_exchanged(const struct credential_kind *kind)
{
	struct managed_identity *identity = open_imds(&no_settings, "http://127.0.0.1:1");
	identity->exchanged = calloc(1, sizeof(*identity->exchanged));
	identity->exchanged->kind = kind;
	identity->exchanged->references = 1;
	return identity;
}

START_TEST(is_a_workload_identity_where_there_is_one)
{
	struct asker asker;
	struct error err = ERROR_INIT;
	asker_start(&asker);
	size_t before = bytes_in_use();
	struct managed_identity *identity = open_exchanged(&fakes[0]);
	ask_and_wait(&asker, identity);
	assert_got_token(&asker);
	ck_assert_str_eq(asker.given_by, "workload_identity");
	asker_ask(&asker, identity);
	credential_managed_identity.cancel(asker.call);
	loop_run(asker.loop, 0);
	ck_assert_uint_eq(asker.answers, 0);
	credential_close(&identity->credential);
	ck_assert_int_eq(fake_closed, 1);
	identity = open_exchanged(&fakes[1]);
	ck_assert_ptr_null(credential_managed_identity.ask(
		&identity->credential, SCOPE, asker.loop, on_done, &asker, &err));
	ck_assert_str_eq(err.message, "fake");
	credential_close(&identity->credential);
	ck_assert_int_eq(fake_closed, 2);
	ck_assert_uint_eq(bytes_in_use(), before);
	loop_free(asker.loop);
}
END_TEST

/* ---- cancelling --------------------------------------------------------------------------------
 */

static void cancel(struct asker *asker)
{
	credential_managed_identity.cancel(asker->call);
	now_ms += 1000000;
	for (int i = 0; i < 5; i++)
		loop_run(asker->loop, 0);
	ck_assert_uint_eq(asker->answers, 0);
}

START_TEST(can_be_cancelled_at_any_time)
{
	static const char *const silent[] = {NULL};
	static const char *const busy[] = {BUSY, NULL};
	static const char *const arc[] = {CHALLENGE, NULL};
	struct asker asker;
	struct server server;
	asker_start(&asker);
	size_t before = bytes_in_use();
	/* before anything went out, and while an answer is awaited */
	server_start(&server, silent);
	struct managed_identity *identity = open_imds(&no_settings, server.origin);
	asker_ask(&asker, identity);
	cancel(&asker);
	asker_ask(&asker, identity);
	while (server_count(&server) < 1)
		loop_run(asker.loop, 100);
	cancel(&asker);
	credential_close(&identity->credential);
	/* while it looks whether it is there */
	identity = open_probed(server.origin);
	asker_ask(&asker, identity);
	while (server_count(&server) < 2)
		loop_run(asker.loop, 100);
	cancel(&asker);
	credential_close(&identity->credential);
	server_stop(&server);
	/* while it waits to ask again */
	server_start(&server, busy);
	identity = open_imds(&no_settings, server.origin);
	capture_begin();
	asker_ask(&asker, identity);
	run_until_logged(&asker, "; asking again in ");
	capture_end();
	cancel(&asker);
	ck_assert_uint_eq(server_count(&server), 1);
	credential_close(&identity->credential);
	server_stop(&server);
	/* with the answer to a challenge under way */
	server_start(&server, arc);
	identity = open_arc(server.origin);
	keys_shown = 0;
	asker_ask(&asker, identity);
	while (keys_shown < 1)
		loop_run(asker.loop, 100);
	cancel(&asker);
	credential_close(&identity->credential);
	server_stop(&server);
	/* with a form */
	const char *const variables[] = {"MSI_ENDPOINT", "http://127.0.0.1:1", NULL};
	identity = open_in(&no_settings, variables);
	asker_ask(&asker, identity);
	cancel(&asker);
	credential_close(&identity->credential);
	ck_assert_uint_eq(bytes_in_use(), before);
	loop_free(asker.loop);
}
END_TEST

UNIT_MAIN("managed_identity", is_a_kind_that_accounts_share, takes_one_name_of_an_identity_at_most,
	wipes_the_secrets_of_the_environment_and_remembers_them,
	wipes_a_secret_that_no_source_takes_too, fails_its_account_only_where_the_host_is_strange,
	refuses_a_secret_that_breaks_out_of_its_header, refuses_a_secret_that_is_nothing,
	refuses_a_user_assigned_identity_where_there_is_none,
	takes_the_identity_that_azure_ml_says_is_the_default,
	prefers_the_name_that_is_the_identitys_alone, asks_for_the_system_assigned_identity,
	asks_for_a_user_assigned_identity_by_each_of_its_names, asks_cloud_shell_by_a_form,
	gives_back_its_secret_memory, looks_first_whether_imds_is_there_when_it_is_in_a_chain,
	takes_any_answer_to_its_look_for_a_yes_and_none_for_the_token,
	is_unavailable_in_a_chain_where_nobody_answers,
	does_not_look_first_where_it_is_alone_or_told_where_imds_is,
	says_that_there_is_no_endpoint_where_it_is_alone, asks_again_after_the_delay_and_not_before,
	ends_with_the_last_answer_when_asking_again_was_in_vain,
	waits_for_a_minute_and_a_half_altogether, leaves_a_long_retry_after_to_the_schedule,
	says_what_was_wrong_with_a_good_answer, answers_a_challenge_once,
	begins_with_the_challenge_again_when_it_asks_again,
	ends_at_a_challenge_that_it_does_not_answer, answers_no_challenge_of_other_sources,
	is_a_workload_identity_where_there_is_one, can_be_cancelled_at_any_time)
