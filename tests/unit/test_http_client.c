#include "base/http_client.h"
#include "base/http_response.h"

#include "base/text.h"
#include "base/wiping_heap.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

/* ---- certificates ------------------------------------------------------------------------------
 */

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

/* An identity that `issuer` vouches for, or that vouches for itself and others (NULL). */
static struct identity identity_new(
	const struct identity *issuer, const char *name, const char *alternative, long valid_for_s)
{
	struct identity made = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
	X509 *certificate = made.certificate;
	X509V3_CTX context;
	static long serial;
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
	X509_set_version(certificate, 2);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -86400);
	X509_gmtime_adj(X509_getm_notAfter(certificate), valid_for_s);
	X509_set_pubkey(certificate, made.key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
		(const unsigned char *)name, -1, -1, 0);
	X509 *signer = issuer == NULL ? certificate : issuer->certificate;
	X509_set_issuer_name(certificate, X509_get_subject_name(signer));
	X509V3_set_ctx(&context, signer, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context,
		issuer == NULL ? NID_basic_constraints : NID_subject_alt_name,
		issuer == NULL ? "critical,CA:TRUE" : alternative);
	ck_assert_ptr_nonnull(extension);
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	ck_assert_int_gt(
		X509_sign(certificate, issuer == NULL ? made.key : issuer->key, EVP_sha256()), 0);
	return made;
}

static void identity_free(struct identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->certificate);
}

static void write_ca_file(const struct identity *authority, const char *path)
{
	FILE *file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(PEM_write_X509(file, authority->certificate), 1);
	ck_assert_int_eq(fclose(file), 0);
}

/* ---- a TLS server that does as it is told, a thread for each connection ------------------------
 */

#define CONNECTIONS_MAX 64

struct server;

/* A connection as its handler sees it: tls is NULL when the handshake is the handler's own. */
struct link {
	struct server *server;
	pthread_t thread;
	int fd;
	SSL *tls;
	char request[4096]; /* the last one */
};

typedef void (*handler)(struct link *link);

struct server {
	struct identity authority;
	struct identity identity;
	SSL_CTX *context;
	char directory[64];
	char ca_file[80];
	char origin[64];
	handler handle;
	const char *answer; /* for the handlers that take one */
	int listen_fd;
	pthread_t thread;
	struct link *links[CONNECTIONS_MAX];
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	unsigned connections; /* ever */
	unsigned open;
	unsigned most_open;
	unsigned requests;
	unsigned answers; /* sent by answer_when_released() */
	unsigned released; /* how many requests may be answered, where the handler asks */
	char last_request[4096];
};

/* How much belongs to the request: its head, and as much behind it as that says; 0: no head yet. */
static size_t request_len(const char *request)
{
	const char *end = strstr(request, "\r\n\r\n");
	const char *length = strcasestr(request, "\r\nContent-Length: ");
	return end == NULL ? 0
			   : (size_t)(end + 4 - request) +
				     (length == NULL ? 0 : strtoul(length + 18, NULL, 10));
}

/* Reads one request. Returns whether there was one. */
static bool read_request(struct link *link)
{
	size_t len = 0;
	while (len < sizeof(link->request) - 1) {
		int got = SSL_read(
			link->tls, link->request + len, (int)(sizeof(link->request) - 1 - len));
		if (got <= 0)
			return false;
		len += (size_t)got;
		link->request[len] = '\0';
		if (request_len(link->request) == 0 || len < request_len(link->request))
			continue;
		struct server *server = link->server;
		pthread_mutex_lock(&server->lock);
		server->requests++;
		strcpy(server->last_request, link->request);
		pthread_cond_broadcast(&server->changed);
		pthread_mutex_unlock(&server->lock);
		return true;
	}
	return false;
}

static void send_text(struct link *link, const char *text)
{
	size_t len = strlen(text);
	if (len > 0)
		SSL_write(link->tls, text, (int)len);
}

static void send_hello(struct link *link)
{
	send_text(link, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
}

/* Wait until the test lets another request be answered. */
static void wait_for_release(struct server *server)
{
	pthread_mutex_lock(&server->lock);
	while (server->released == 0)
		pthread_cond_wait(&server->changed, &server->lock);
	if (server->released != UINT32_MAX)
		server->released--;
	pthread_mutex_unlock(&server->lock);
}

static void release(struct server *server, unsigned count)
{
	pthread_mutex_lock(&server->lock);
	server->released = count;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
}

static void *serve_link(void *context)
{
	struct link *link = context;
	struct server *server = link->server;
	server->handle(link);
	if (link->tls != NULL)
		SSL_free(link->tls);
	pthread_mutex_lock(&server->lock);
	server->open--;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
	shutdown(link->fd, SHUT_RDWR); /* server_stop() closes it, so that the number stays ours */
	return NULL;
}

static void *accept_links(void *context)
{
	struct server *server = context;
	for (;;) {
		int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0)
			return NULL;
		struct link *link = calloc(1, sizeof(*link));
		link->server = server;
		link->fd = fd;
		pthread_mutex_lock(&server->lock);
		server->links[server->connections++] = link;
		if (++server->open > server->most_open)
			server->most_open = server->open;
		bool is_full = server->connections == CONNECTIONS_MAX;
		pthread_cond_broadcast(&server->changed);
		pthread_mutex_unlock(&server->lock);
		if (pthread_create(&link->thread, NULL, serve_link, link) != 0)
			abort();
		if (is_full)
			return NULL;
	}
}

static bool shake_hands(struct link *link)
{
	link->tls = SSL_new(link->server->context);
	SSL_set_fd(link->tls, link->fd);
	return SSL_accept(link->tls) == 1;
}

static void answer_all(struct link *link)
{
	if (!shake_hands(link))
		return;
	while (read_request(link))
		send_text(link, link->server->answer);
}

static void server_listen(struct server *server)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(server->listen_fd, 0);
	ck_assert_int_eq(bind(server->listen_fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(getsockname(server->listen_fd, (struct sockaddr *)&address, &len), 0);
	ck_assert_int_eq(listen(server->listen_fd, 128), 0);
	snprintf(server->origin, sizeof(server->origin), "https://127.0.0.1:%u",
		ntohs(address.sin_port));
}

/* A server that does not run yet. */
static void server_prepare(struct server *server, handler handle, const char *answer,
	const char *alternative, long valid_for_s)
{
	signal(SIGPIPE, SIG_IGN);
	memset(server, 0, sizeof(*server));
	server->authority = identity_new(NULL, "Authority of the test", NULL, 86400);
	server->identity = identity_new(&server->authority, "the server", alternative, valid_for_s);
	server->context = SSL_CTX_new(TLS_server_method());
	ck_assert_int_eq(SSL_CTX_use_certificate(server->context, server->identity.certificate), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(server->context, server->identity.key), 1);
	SSL_CTX_set_session_cache_mode(server->context, SSL_SESS_CACHE_OFF);
	strcpy(server->directory, "/tmp/test_http_client.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(server->directory));
	snprintf(server->ca_file, sizeof(server->ca_file), "%s/ca.pem", server->directory);
	write_ca_file(&server->authority, server->ca_file);
	server->handle = handle;
	server->answer = answer;
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->changed, NULL);
	server_listen(server);
}

static void server_run(struct server *server)
{
	ck_assert_int_eq(pthread_create(&server->thread, NULL, accept_links, server), 0);
}

static void server_start(struct server *server, handler handle, const char *answer)
{
	server_prepare(server, handle, answer, "IP:127.0.0.1", 86400);
	server_run(server);
}

static void server_free(struct server *server)
{
	close(server->listen_fd);
	SSL_CTX_free(server->context);
	identity_free(&server->identity);
	identity_free(&server->authority);
	pthread_mutex_destroy(&server->lock);
	pthread_cond_destroy(&server->changed);
	unlink(server->ca_file);
	rmdir(server->directory);
}

static void server_stop(struct server *server)
{
	release(server, UINT32_MAX);
	shutdown(server->listen_fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	for (unsigned i = 0; i < server->connections; i++) {
		shutdown(server->links[i]->fd, SHUT_RDWR);
		pthread_join(server->links[i]->thread, NULL);
		close(server->links[i]->fd);
		free(server->links[i]);
	}
	server_free(server);
}

static unsigned requests_of(struct server *server)
{
	pthread_mutex_lock(&server->lock);
	unsigned requests = server->requests;
	pthread_mutex_unlock(&server->lock);
	return requests;
}

static unsigned connections_of(struct server *server)
{
	pthread_mutex_lock(&server->lock);
	unsigned connections = server->connections;
	pthread_mutex_unlock(&server->lock);
	return connections;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

struct outcome {
	int calls;
	bool has_response;
	struct http_response response; /* without its body */
	char body[4096];
	size_t body_len;
	struct error err;
};

static void on_done(void *context, struct http_response *response, const struct error *err)
{
	struct outcome *outcome = context;
	outcome->calls++;
	outcome->has_response = response != NULL;
	if (response == NULL) {
		outcome->err = *err;
		return;
	}
	ck_assert_ptr_null(err);
	outcome->response = *response;
	outcome->response.body = NULL;
	outcome->body_len = secret_len(response->body);
	ck_assert_uint_lt(outcome->body_len, sizeof(outcome->body));
	memcpy(outcome->body, secret_bytes(response->body), outcome->body_len);
}

static struct http_client *client_new(void)
{
	struct error err = ERROR_INIT;
	struct http_client *client = http_client_new(&clock_system, &err);
	ck_assert_ptr_nonnull(client);
	return client;
}

static struct http_flight *get_with(struct http_client *client, const struct http_request *request,
	http_done_fn done, void *context)
{
	struct error err = ERROR_INIT;
	struct http_flight *flight = http_client_send(client, request, done, context, &err);
	ck_assert_ptr_nonnull(flight);
	return flight;
}

static struct http_flight *get(
	struct http_client *client, const struct server *server, struct outcome *outcome)
{
	char url[128];
	snprintf(url, sizeof(url), "%s/path?query=1", server->origin);
	const struct http_request request = {
		.url = url, .ca_file = server->ca_file, .body_max = sizeof(outcome->body) - 1};
	return get_with(client, &request, on_done, outcome);
}

static void finish(struct http_client *client, const struct outcome *outcome)
{
	while (outcome->calls == 0)
		http_client_run(client, 1000);
	ck_assert_int_eq(outcome->calls, 1);
}

/* The same client until it has what it waits for on the server's side. */
static void run_until_requests(struct http_client *client, struct server *server, unsigned count)
{
	while (requests_of(server) < count)
		http_client_run(client, 5);
}

static void fetch(struct server *server, struct outcome *outcome)
{
	struct http_client *client = client_new();
	*outcome = (struct outcome){0};
	get(client, server, outcome);
	finish(client, outcome);
	http_client_free(client);
}

static void fetch_answer(const char *answer, struct outcome *outcome)
{
	struct server server;
	server_start(&server, answer_all, answer);
	fetch(&server, outcome);
	server_stop(&server);
}

static void assert_failed(
	const struct outcome *outcome, enum error_code code, const char *in_message)
{
	ck_assert(!outcome->has_response);
	ck_assert_msg(outcome->err.code == code, "%s, not %s: %s",
		error_code_name(outcome->err.code), error_code_name(code), outcome->err.message);
	ck_assert_msg(strstr(outcome->err.message, in_message) != NULL, "no '%s' in: %s",
		in_message, outcome->err.message);
	ck_assert_int_eq(outcome->err.http_status, 0);
	ck_assert_int_eq(outcome->err.retry_after_s, -1);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

START_TEST(gives_status_headers_and_body)
{
	struct outcome outcome;
	fetch_answer("HTTP/1.1 200 OK\r\n"
		     "content-type: application/json; charset=utf-8\r\n"
		     "ms-cv: GGGGGGGGGGGGGGGGGGGGGG.0\r\n"
		     "www-authenticate: Bearer error=\"invalid_token\"\r\n"
		     "Date: Fri, 01 Mar 2024 00:00:00 GMT\r\n"
		     "Content-Length: 5\r\n\r\nhello",
		&outcome);
	ck_assert(outcome.has_response);
	ck_assert_int_eq(outcome.response.status, 200);
	ck_assert_str_eq(outcome.response.content_type, "application/json; charset=utf-8");
	ck_assert_str_eq(outcome.response.correlation_vector, "GGGGGGGGGGGGGGGGGGGGGG.0");
	ck_assert_str_eq(outcome.response.challenge, "Bearer error=\"invalid_token\"");
	ck_assert_int_eq(outcome.response.server_date_s, 1709251200);
	ck_assert_int_eq(outcome.response.retry_after_s, -1);
	ck_assert_uint_eq(outcome.body_len, 5);
	ck_assert_mem_eq(outcome.body, "hello", 5);
}
END_TEST

START_TEST(gives_every_status_as_an_answer)
{
	static const int statuses[] = {201, 204, 304, 400, 401, 403, 404, 429, 500, 503, 599};
	for (size_t i = 0; i < UNIT_COUNT(statuses); i++) {
		struct outcome outcome;
		char answer[128];
		bool has_body = statuses[i] != 204 && statuses[i] != 304;
		snprintf(answer, sizeof(answer), "HTTP/1.1 %d Any words\r\n%s\r\n%s", statuses[i],
			has_body ? "Content-Length: 2\r\n" : "", has_body ? "{}" : "");
		fetch_answer(answer, &outcome);
		ck_assert(outcome.has_response);
		ck_assert_int_eq(outcome.response.status, statuses[i]);
		ck_assert_uint_eq(outcome.body_len, has_body ? 2 : 0);
	}
}
END_TEST

START_TEST(leaves_empty_what_the_answer_does_not_say)
{
	struct outcome outcome;
	fetch_answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &outcome);
	ck_assert(outcome.has_response);
	ck_assert_str_eq(outcome.response.content_type, "");
	ck_assert_str_eq(outcome.response.correlation_vector, "");
	ck_assert_str_eq(outcome.response.challenge, "");
	ck_assert_int_eq(outcome.response.server_date_s, -1);
	ck_assert_int_eq(outcome.response.retry_after_s, -1);
	ck_assert_uint_eq(outcome.body_len, 0);
}
END_TEST

START_TEST(cuts_long_headers_and_shows_no_control_character)
{
	char answer[4096];
	char letters[1001];
	struct outcome outcome;
	memset(letters, 'x', 1000);
	letters[1000] = '\0';
	snprintf(answer, sizeof(answer),
		"HTTP/1.1 401 No\r\nContent-Type: %s\r\nMS-CV: a\033[2Jb\x7f\xc3\xa4\r\n"
		"WWW-Authenticate: %s\r\nDate: yesterday\r\nContent-Length: 0\r\n\r\n",
		letters, letters);
	fetch_answer(answer, &outcome);
	ck_assert(outcome.has_response);
	letters[sizeof(outcome.response.challenge) - 1] = '\0';
	ck_assert_str_eq(outcome.response.challenge, letters);
	letters[sizeof(outcome.response.content_type) - 1] = '\0';
	ck_assert_str_eq(outcome.response.content_type, letters);
	ck_assert_str_eq(outcome.response.correlation_vector, ""); /* it is none */
	ck_assert_int_eq(outcome.response.server_date_s, -1);
}
END_TEST

static const char *vetted(const char *vector, const struct secret *line, const struct secret *form)
{
	static struct http_response response;
	ck_assert_uint_lt(strlen(vector), sizeof(response.correlation_vector));
	strcpy(response.correlation_vector, vector);
	http_response_vet(&response, line, form);
	return response.correlation_vector;
}

START_TEST(keeps_a_correlation_vector_that_is_one)
{
	static const char *const good[] = {"", "CvCvCvCvCvCvCvCvCvCvCv.0", "c/+9.1", "a",
		"CvCvCvCvCvCvCvCvCvCvCv.12.345.6!", "CvCvCvCvCvCvCvCvCvCvCvCv.0"};
	static const char *const bad[] = {"a.", ".a", "a..b", "a b", "a?[2Jb", "a!.b", "!",
		"abc8Q~de",
		"Zm9vYmFyRmlyc3RLZXkrLz0rLz0rLz0rLz0rLz0rLz0=", "CvCvCvCvCvCvCvCvCvCvCvCvC.0",
		"a.CvCvCvCvCvCvCvCvCvCvCvCvC"};
	for (size_t i = 0; i < UNIT_COUNT(good); i++)
		ck_assert_str_eq(vetted(good[i], NULL, NULL), good[i]);
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		ck_assert_str_eq(vetted(bad[i], NULL, NULL), "");
}
END_TEST

START_TEST(withholds_a_correlation_vector_that_repeats_what_was_sent)
{
	_cleanup_secret_ struct secret *line =
		secret_from("Authorization: Bearer id:keyOfTheAccount", 40);
	_cleanup_secret_ struct secret *form = secret_from("client_secret=wordOfTheApp%2B1", 30);
	ck_assert_str_eq(vetted("keyOfTheAccount.0", line, form), "");
	ck_assert_str_eq(vetted("1.KeyOfTheAccount", line, form), "");
	ck_assert_str_eq(vetted("x.wordOfTheApp+1", line, form), "");
	ck_assert_str_eq(vetted("x.wordOfTheApp+1", line, NULL), "x.wordOfTheApp+1");
	ck_assert_str_eq(
		vetted("CvCvCvCvCvCvCvCvCvCvCv.0", line, form), "CvCvCvCvCvCvCvCvCvCvCv.0");
}
END_TEST

START_TEST(reads_retry_after_in_all_its_forms)
{
	static const struct {
		const char *headers;
		int64_t expected_s;
	} cases[] = {
		{"Retry-After: 7\r\n", 7},
		{"Retry-After: 0\r\n", 0},
		{"retry-after:  42 \r\n", 42},
		/* A date is seen from the server's own, whatever this host's clock says. */
		{"Date: Fri, 01 Mar 2024 00:00:00 GMT\r\n"
		 "Retry-After: Fri, 01 Mar 2024 00:02:00 GMT\r\n",
			120},
		{"Date: Fri, 01 Mar 2024 00:00:00 GMT\r\n"
		 "Retry-After: Thu, 29 Feb 2024 00:00:00 GMT\r\n",
			0},
		{"Retry-After: Thu, 29 Feb 2024 00:00:00 GMT\r\n", 0},
		{"retry-after-ms: 1\r\n", 1},
		{"retry-after-ms: 1000\r\n", 1},
		{"retry-after-ms: 1001\r\n", 2},
		{"x-ms-retry-after-ms: 2500\r\n", 3},
		{"x-ms-retry-after-ms: 0\r\n", 0},
		/* The order of the three. */
		{"x-ms-retry-after-ms: 1000\r\nretry-after-ms: 2000\r\nRetry-After: 9\r\n", 9},
		{"x-ms-retry-after-ms: 1000\r\nretry-after-ms: 2000\r\n", 2},
		/* What says nothing leaves it to the next. */
		{"Retry-After: soon\r\nretry-after-ms: 3000\r\n", 3},
		{"Retry-After: \r\nretry-after-ms: x\r\nx-ms-retry-after-ms: 4000\r\n", 4},
		{"Retry-After: soon\r\n", -1},
		{"retry-after-ms: -1\r\n", -1},
		{"x-ms-retry-after-ms: 1.5\r\n", -1},
		{"Retry-After: 99999999999999999999\r\n", -1},
	};
	struct server server;
	char answer[512] = "";
	server_start(&server, answer_all, answer);
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct outcome outcome;
		snprintf(answer, sizeof(answer),
			"HTTP/1.1 429 Slow down\r\n%sContent-Length: 0\r\n\r\n", cases[i].headers);
		fetch(&server, &outcome);
		ck_assert(outcome.has_response);
		ck_assert_msg(outcome.response.retry_after_s == cases[i].expected_s,
			"%s gave %" PRId64, cases[i].headers, outcome.response.retry_after_s);
	}
	server_stop(&server);
}
END_TEST

START_TEST(words_of_a_retry_after)
{
	static const struct {
		const char *value;
		int64_t now_s;
		int64_t expected_s;
	} cases[] = {
		{"0", 0, 0},
		{"1", 0, 1},
		{"120", INT64_C(1) << 40, 120},
		{"2147483647", 0, INT32_MAX},
		{"Fri, 01 Mar 2024 00:00:00 GMT", 1709251200, 0},
		{"Fri, 01 Mar 2024 00:00:00 GMT", 1709251199, 1},
		{"Fri, 01 Mar 2024 00:00:00 GMT", 1709251201, 0},
		{"Fri, 01 Mar 2024 00:00:00 GMT", 0, 1709251200},
		{"Friday, 01-Mar-24 00:00:00 GMT", 1709251190, 10}, /* RFC 850 */
		{"Fri Mar  1 00:00:00 2024", 1709251190, 10}, /* asctime */
		{"", 0, -1},
		{"soon", 0, -1},
		{"-1", 0, -1},
		{"-120", 0, -1},
		{"+5", 0, -1},
		{"1.5", 0, -1},
		{"0x10", 0, -1},
		{"1e3", 0, -1},
		{"5 seconds", 0, -1},
		{"12:30", 0, -1},
		{"99999999999999999999", 0, -1},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		int64_t found_s = http_retry_after_s(cases[i].value, cases[i].now_s);
		ck_assert_msg(found_s == cases[i].expected_s, "'%s' gave %" PRId64, cases[i].value,
			found_s);
	}
}
END_TEST

static void take_body(void *context, struct http_response *response, const struct error *err)
{
	struct secret **body = context;
	ck_assert_ptr_null(err);
	*body = response->body;
	response->body = NULL;
}

START_TEST(lets_the_body_be_taken)
{
	struct server server;
	struct secret *body = NULL;
	server_start(&server, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	struct http_client *client = client_new();
	const struct http_request request = {
		.url = server.origin, .ca_file = server.ca_file, .body_max = 100};
	get_with(client, &request, take_body, &body);
	while (body == NULL)
		http_client_run(client, 1000);
	http_client_free(client);
	ck_assert_str_eq(secret_bytes(body), "hello");
	secret_free(body);
	server_stop(&server);
}
END_TEST

START_TEST(accepts_an_answer_of_body_max_and_no_byte_more)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		"4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n",
	};
	for (size_t i = 0; i < UNIT_COUNT(answers); i++) {
		struct server server;
		server_start(&server, answer_all, answers[i]);
		for (size_t body_max = 8; body_max <= 11; body_max++) {
			struct outcome outcome = {0};
			struct http_client *client = client_new();
			const struct http_request request = {.url = server.origin,
				.ca_file = server.ca_file,
				.body_max = body_max};
			get_with(client, &request, on_done, &outcome);
			finish(client, &outcome);
			http_client_free(client);
			if (body_max >= 10) {
				ck_assert(outcome.has_response);
				ck_assert_uint_eq(outcome.body_len, 10);
				ck_assert_mem_eq(outcome.body, "0123456789", 10);
			} else {
				char words[32];
				snprintf(words, sizeof(words), "more than the %zu bytes", body_max);
				assert_failed(&outcome, ERR_UPSTREAM_FORMAT, words);
				assert_failed(&outcome, ERR_UPSTREAM_FORMAT, server.origin);
			}
		}
		server_stop(&server);
	}
}
END_TEST

static void end_by_closing(struct link *link)
{
	if (!shake_hands(link) || !read_request(link))
		return;
	send_text(link, "HTTP/1.1 200 OK\r\n\r\nto the end");
	SSL_shutdown(link->tls);
}

START_TEST(takes_the_close_for_the_end_of_a_body_without_length)
{
	struct server server;
	struct outcome outcome;
	server_start(&server, end_by_closing, NULL);
	fetch(&server, &outcome);
	ck_assert(outcome.has_response);
	ck_assert_uint_eq(outcome.body_len, 10);
	ck_assert_mem_eq(outcome.body, "to the end", 10);
	server_stop(&server);
}
END_TEST

START_TEST(follows_no_redirect)
{
	struct server target;
	struct server server;
	struct outcome outcome;
	char answer[256];
	server_start(&target, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	snprintf(answer, sizeof(answer),
		"HTTP/1.1 302 Found\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n", target.origin);
	server_start(&server, answer_all, answer);
	fetch(&server, &outcome);
	ck_assert(outcome.has_response);
	ck_assert_int_eq(outcome.response.status, 302);
	ck_assert_uint_eq(requests_of(&server), 1);
	ck_assert_uint_eq(connections_of(&target), 0);
	server_stop(&server);
	server_stop(&target);
}
END_TEST

START_TEST(reads_the_last_of_several_answers_to_a_request)
{
	struct outcome outcome;
	fetch_answer("HTTP/1.1 100 Continue\r\nMS-CV: wrong\r\n\r\n"
		     "HTTP/1.1 200 OK\r\nMS-CV: right\r\nTransfer-Encoding: chunked\r\n"
		     "Trailer: Date\r\n\r\n5\r\nhello\r\n0\r\nDate: x\r\n\r\n",
		&outcome);
	ck_assert_msg(outcome.has_response, "%s", outcome.err.message);
	ck_assert_int_eq(outcome.response.status, 200);
	ck_assert_str_eq(outcome.response.correlation_vector, "right");
	ck_assert_mem_eq(outcome.body, "hello", 5);
}
END_TEST

/* ---- what is sent ------------------------------------------------------------------------------
 */

static unsigned count_lines(const char *request, const char *start)
{
	unsigned count = 0;
	for (const char *at = request; (at = strcasestr(at, start)) != NULL; at++)
		count += at == request || at[-1] == '\n';
	return count;
}

START_TEST(sends_a_get_with_the_headers_that_it_was_given)
{
	struct server server;
	struct outcome outcome = {0};
	struct secret *line = secret_from("Authorization: Bearer id:a+b/c==", 32);
	char url[128];
	char header[] = "X-MRC-CV: abc";
	server_start(&server, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	snprintf(url, sizeof(url), "%s/Accounts/a%%2Fb/token?v=1", server.origin);
	const char *headers[] = {"Accept: application/json", header, "User-Agent: test/1", NULL};
	struct http_client *client = client_new();
	struct http_request request = {
		.url = url,
		.headers = headers,
		.secret_line = line,
		.ca_file = server.ca_file,
		.body_max = 1,
	};
	get_with(client, &request, on_done, &outcome);
	/* All but the secret is copied. */
	memset(url, 'z', sizeof(url) - 1);
	memset(header, 'z', sizeof(header) - 1);
	memset(headers, 0, sizeof(headers));
	memset(&request, 0, sizeof(request));
	finish(client, &outcome);
	ck_assert(outcome.has_response);
	http_client_free(client);
	ck_assert_str_eq(secret_bytes(line), "Authorization: Bearer id:a+b/c==");
	secret_free(line);
	server_stop(&server);
	const char *got = server.last_request;
	ck_assert_msg(
		strncmp(got, "GET /Accounts/a%2Fb/token?v=1 HTTP/1.1\r\n", 40) == 0, "%s", got);
	ck_assert_ptr_nonnull(strstr(got, "\r\nAuthorization: Bearer id:a+b/c==\r\n"));
	ck_assert_ptr_nonnull(strstr(got, "\r\nAccept: application/json\r\n"));
	ck_assert_ptr_nonnull(strstr(got, "\r\nX-MRC-CV: abc\r\n"));
	ck_assert_ptr_nonnull(strstr(got, "\r\nUser-Agent: test/1\r\n"));
	ck_assert_uint_eq(count_lines(got, "Authorization:"), 1);
	ck_assert_uint_eq(count_lines(got, "Accept:"), 1);
	ck_assert_uint_eq(count_lines(got, "User-Agent:"), 1);
	ck_assert_uint_eq(count_lines(got, "Host:"), 1);
	ck_assert_uint_eq(count_lines(got, "Content-Length:"), 0);
}
END_TEST

START_TEST(sends_no_authorization_without_a_secret_line)
{
	struct server server;
	struct outcome outcome;
	server_start(&server, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	fetch(&server, &outcome);
	server_stop(&server);
	ck_assert_uint_eq(count_lines(server.last_request, "Authorization:"), 0);
}
END_TEST

#if WIPING_HEAP_IS_THERE
/* How often the secret's bytes stand in memory that this process can write to. */
static unsigned count_copies(const struct secret *secret)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned count = 0;
	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		uintptr_t start;
		uintptr_t end;
		char permissions[5];
		ck_assert_int_eq(
			sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &start, &end, permissions),
			3);
		if (permissions[0] != 'r' || permissions[1] != 'w')
			continue;
		const char *at = (const char *)start; // NOLINT(performance-no-int-to-ptr)
		const char *stop = (const char *)end; // NOLINT(performance-no-int-to-ptr)
		while ((at = memmem(at, (size_t)(stop - at), secret_bytes(secret),
				secret_len(secret))) != NULL) {
			count++;
			at++;
		}
	}
	fclose(maps);
	return count;
}

/* In a process of its own, so that what the server keeps is not found: tell of each request. */
static pid_t serve_in_child(struct server *server, int tell_fd, int go_fd)
{
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child != 0)
		return child;
	struct link link = {.server = server};
	char byte = 1;
	link.fd = accept(server->listen_fd, NULL, NULL);
	if (!shake_hands(&link))
		_exit(1);
	while (read_request(&link)) {
		if (write(tell_fd, &byte, 1) != 1 || read(go_fd, &byte, 1) != 1)
			_exit(2);
		send_hello(&link);
	}
	_exit(0);
}

/* Of the secret header line, or of the form. */
static void assert_no_copy_is_kept(bool is_form)
{
	struct server server;
	int told[2];
	int go[2];
	server_prepare(&server, NULL, NULL, "IP:127.0.0.1", 86400);
	ck_assert_int_eq(pipe(told), 0);
	ck_assert_int_eq(pipe(go), 0);
	pid_t child = serve_in_child(&server, told[1], go[0]);
	struct secret *line = secret_new(64);
	/* Letters that stand nowhere else, in the program's own constants neither. */
	secret_append_string(line, "X: ");
	unsigned char random[16];
	ck_assert_int_eq(getrandom(random, sizeof(random), 0), (int)sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		secret_append(line, &"abcdefghijklmnop"[random[i] % 16], 1);
	struct http_client *client = client_new();
	for (int round = 0; round < 3; round++) {
		struct outcome outcome = {0};
		struct pollfd poll_fd = {.fd = told[0], .events = POLLIN};
		char byte;
		const struct http_request request = {.url = server.origin,
			.secret_line = is_form ? NULL : line,
			.form = is_form ? line : NULL,
			.ca_file = server.ca_file,
			.body_max = 100};
		get_with(client, &request, on_done, &outcome);
		while (poll(&poll_fd, 1, 0) == 0)
			http_client_run(client, 5);
		ck_assert_int_eq(read(told[0], &byte, 1), 1);
		/* libcurl sends from a buffer of its own, which goes with the request. */
		ck_assert_uint_le(count_copies(line), 2);
		ck_assert_int_eq(write(go[1], &byte, 1), 1);
		finish(client, &outcome);
		ck_assert(outcome.has_response);
		ck_assert_uint_eq(count_copies(line), 1);
	}
	http_client_free(client);
	ck_assert_uint_eq(count_copies(line), 1);
	secret_free(line);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	unit_assert_exited(status, 0);
	server_free(&server);
}

START_TEST(keeps_no_copy_of_the_secret_line)
{
	assert_no_copy_is_kept(false);
}
END_TEST

START_TEST(keeps_no_copy_of_the_form)
{
	assert_no_copy_is_kept(true);
}
END_TEST
#else
#define keeps_no_copy_of_the_secret_line NULL
#define keeps_no_copy_of_the_form NULL
#endif

/* ---- trust -------------------------------------------------------------------------------------
 */

static void refuse_certificate(const char *alternative, long valid_for_s, bool is_trusted)
{
	struct server server;
	struct outcome outcome;
	server_prepare(&server, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		alternative, valid_for_s);
	server_run(&server);
	if (!is_trusted) {
		struct identity other = identity_new(NULL, "Another authority", NULL, 86400);
		write_ca_file(&other, server.ca_file);
		identity_free(&other);
	}
	fetch(&server, &outcome);
	ck_assert_uint_eq(requests_of(&server), 0); /* no byte of a request left */
	assert_failed(&outcome, ERR_TLS, server.origin);
	server_stop(&server);
}

START_TEST(refuses_a_certificate_of_an_unknown_authority)
{
	refuse_certificate("IP:127.0.0.1", 86400, false);
}
END_TEST

START_TEST(refuses_a_certificate_of_another_host)
{
	refuse_certificate("DNS:sts.example.com,IP:127.0.0.2", 86400, true);
}
END_TEST

START_TEST(refuses_an_expired_certificate)
{
	refuse_certificate("IP:127.0.0.1", -60, true);
}
END_TEST

/*
 * OpenSSL itself would refuse it under Debian's own rules; they are put aside, so that it is the
 * client's floor that is seen. The server proves that it can be reached by who accepts 1.1.
 */
START_TEST(refuses_tls_older_than_1_2)
{
	struct server server;
	struct outcome outcome;
	char conf[] = "/tmp/test_http_client.XXXXXX";
	FILE *file = fdopen(mkstemp(conf), "w");
	ck_assert_ptr_nonnull(file);
	fputs("openssl_conf = o\n[o]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\n"
	      "MinProtocol = TLSv1\nCipherString = DEFAULT:@SECLEVEL=0\n",
		file);
	ck_assert_int_eq(fclose(file), 0);
	setenv("OPENSSL_CONF", conf, 1);
	server_prepare(&server, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"IP:127.0.0.1", 86400);
	SSL_CTX_set_security_level(server.context, 0);
	ck_assert_int_eq(SSL_CTX_set_min_proto_version(server.context, TLS1_1_VERSION), 1);
	ck_assert_int_eq(SSL_CTX_set_max_proto_version(server.context, TLS1_1_VERSION), 1);
	server_run(&server);
	fetch(&server, &outcome);
	assert_failed(&outcome, ERR_TLS, server.origin);
	ck_assert_uint_eq(requests_of(&server), 0);

	struct sockaddr_in address = {.sin_family = AF_INET};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)atoi(strrchr(server.origin, ':') + 1));
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *tls = SSL_new(context);
	SSL_set_fd(tls, fd);
	ck_assert_int_eq(SSL_connect(tls), 1);
	ck_assert_int_eq(SSL_version(tls), TLS1_1_VERSION);
	SSL_free(tls);
	SSL_CTX_free(context);
	close(fd);
	unlink(conf);
	server_stop(&server);
}
END_TEST

START_TEST(takes_tls_1_2_and_1_3)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	for (size_t i = 0; i < UNIT_COUNT(versions); i++) {
		struct server server;
		struct outcome outcome;
		server_prepare(&server, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"IP:127.0.0.1", 86400);
		SSL_CTX_set_min_proto_version(server.context, versions[i]);
		SSL_CTX_set_max_proto_version(server.context, versions[i]);
		server_run(&server);
		fetch(&server, &outcome);
		ck_assert_msg(outcome.has_response, "%s", outcome.err.message);
		server_stop(&server);
	}
}
END_TEST

static void send_one(const char *url, const char *ca_file, struct outcome *outcome)
{
	struct http_client *client = client_new();
	const struct http_request request = {.url = url, .ca_file = ca_file, .body_max = 100};
	*outcome = (struct outcome){0};
	get_with(client, &request, on_done, outcome);
	finish(client, outcome);
	http_client_free(client);
}

START_TEST(refuses_a_url_that_is_not_https)
{
	struct server server;
	static const char *const schemes[] = {"http", "ftp", "file", "gopher"};
	server_start(&server, answer_all, "");
	for (size_t i = 0; i < UNIT_COUNT(schemes); i++) {
		struct outcome outcome;
		char url[128];
		snprintf(url, sizeof(url), "%s%s/", schemes[i], strchr(server.origin, ':'));
		send_one(url, server.ca_file, &outcome);
		assert_failed(&outcome, ERR_CONFIGURATION, schemes[i]);
	}
	ck_assert_uint_eq(connections_of(&server), 0);
	server_stop(&server);
}
END_TEST

START_TEST(names_a_ca_file_that_is_missing_or_of_no_use)
{
	struct server server;
	struct outcome outcome;
	server_start(&server, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	FILE *file = fopen(server.ca_file, "we");
	fputs("no certificate\n", file);
	fclose(file);
	fetch(&server, &outcome);
	assert_failed(&outcome, ERR_CONFIGURATION, server.ca_file);
	unlink(server.ca_file);
	fetch(&server, &outcome);
	assert_failed(&outcome, ERR_CONFIGURATION, server.ca_file);
	assert_failed(&outcome, ERR_CONFIGURATION, "ca_file");
	ck_assert_uint_eq(requests_of(&server), 0);
	server_stop(&server);
}
END_TEST

/* ---- trouble on the way ------------------------------------------------------------------------
 */

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

START_TEST(tells_at_once_that_nobody_listens)
{
	struct server server;
	struct outcome outcome = {0};
	server_prepare(&server, NULL, NULL, "IP:127.0.0.1", 86400);
	close(server.listen_fd);
	struct http_client *client = client_new();
	get(client, &server, &outcome);
	int64_t start_ms = now_ms();
	while (outcome.calls == 0)
		http_client_run(client, 60000); /* it must not be the time-out that ends it */
	ck_assert_int_lt(now_ms() - start_ms, 20000);
	assert_failed(&outcome, ERR_NETWORK, server.origin);
	http_client_free(client);
	server.listen_fd = -1;
	server_free(&server);
}
END_TEST

START_TEST(tells_at_once_what_fails_at_once)
{
	struct outcome outcome = {0};
	struct http_client *client = client_new();
	const struct http_request request = {.url = "http://127.0.0.1:1/", .body_max = 100};
	int64_t start_ms = now_ms();
	get_with(client, &request, on_done, &outcome);
	while (outcome.calls == 0)
		http_client_run(client, 60000);
	ck_assert_int_lt(now_ms() - start_ms, 20000);
	http_client_free(client);
}
END_TEST

/* How far the server goes before it closes. */
static void close_at_connect(struct link *link)
{
	(void)link;
}

static void close_in_handshake(struct link *link)
{
	char bytes[100];
	ck_assert_int_gt(recv(link->fd, bytes, sizeof(bytes), 0), 0);
}

static void close_after_handshake(struct link *link)
{
	shake_hands(link);
}

static void close_after(struct link *link)
{
	if (shake_hands(link) && read_request(link))
		send_text(link, link->server->answer);
}

static void close_orderly_after(struct link *link)
{
	close_after(link);
	SSL_shutdown(link->tls);
}

START_TEST(fails_when_the_server_closes_at_any_stage)
{
	static const struct {
		handler handle;
		const char *answer;
		enum error_code code;
	} stages[] = {
		/* libcurl tells a broken handshake and a refused one apart by its words only. */
		{close_at_connect, NULL, ERR_TLS},
		{close_in_handshake, NULL, ERR_TLS},
		{close_after_handshake, NULL, ERR_NETWORK},
		{close_after, "", ERR_NETWORK},
		{close_after, "HTTP/1.1 200", ERR_NETWORK},
		{close_after, "HTTP/1.1 200 OK\r\nContent-Le", ERR_NETWORK},
		{close_after, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", ERR_NETWORK},
		{close_after, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ERR_NETWORK},
		{close_after, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", ERR_NETWORK},
		{close_after, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
			ERR_NETWORK},
		{close_after, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
			ERR_NETWORK},
	};
	for (size_t i = 0; i < UNIT_COUNT(stages); i++) {
		bool can_be_orderly = stages[i].handle == close_after;
		for (int is_orderly = 0; is_orderly <= can_be_orderly; is_orderly++) {
			struct server server;
			struct outcome outcome;
			server_start(&server, is_orderly ? close_orderly_after : stages[i].handle,
				stages[i].answer);
			fetch(&server, &outcome);
			ck_assert_msg(!outcome.has_response, "stage %zu, orderly %d: an answer", i,
				is_orderly);
			ck_assert_msg(outcome.err.code == stages[i].code,
				"stage %zu, orderly %d: %s, %s", i, is_orderly,
				error_code_name(outcome.err.code), outcome.err.message);
			assert_failed(&outcome, stages[i].code, server.origin);
			server_stop(&server);
		}
	}
}
END_TEST

START_TEST(refuses_what_is_not_http)
{
	static const char *const answers[] = {
		"220 mail.example.com ESMTP\r\n",
		"<html>this is no HTTP at all</html>\n\n",
		"\r\n\r\n\r\n\r\n",
	};
	for (size_t i = 0; i < UNIT_COUNT(answers); i++) {
		struct server server;
		struct outcome outcome;
		server_start(&server, close_orderly_after, answers[i]);
		fetch(&server, &outcome);
		assert_failed(&outcome, ERR_UPSTREAM_FORMAT, server.origin);
		server_stop(&server);
	}
}
END_TEST

/* ---- many at a time ----------------------------------------------------------------------------
 */

static void answer_when_released(struct link *link)
{
	if (!shake_hands(link))
		return;
	while (read_request(link)) {
		wait_for_release(link->server);
		send_hello(link);
		pthread_mutex_lock(&link->server->lock);
		link->server->answers++;
		pthread_cond_broadcast(&link->server->changed);
		pthread_mutex_unlock(&link->server->lock);
	}
}

/* They lie ready, all of them, by the time that the client looks again. */
static void wait_for_answers(struct server *server, unsigned count)
{
	pthread_mutex_lock(&server->lock);
	while (server->answers < count)
		pthread_cond_wait(&server->changed, &server->lock);
	pthread_mutex_unlock(&server->lock);
}

START_TEST(uses_no_more_connections_to_an_origin_than_it_may)
{
	struct server server;
	struct outcome outcomes[40] = {0};
	server_start(&server, answer_when_released, NULL);
	struct http_client *client = client_new();
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
		get(client, &server, &outcomes[i]);
	run_until_requests(client, &server, HTTP_CONNECTIONS_PER_ORIGIN);
	release(&server, UINT32_MAX);
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++) {
		finish(client, &outcomes[i]);
		ck_assert(outcomes[i].has_response);
	}
	http_client_free(client);
	server_stop(&server);
	ck_assert_uint_eq(server.requests, UNIT_COUNT(outcomes));
	ck_assert_uint_eq(server.most_open, HTTP_CONNECTIONS_PER_ORIGIN);
	ck_assert_uint_eq(server.connections, HTTP_CONNECTIONS_PER_ORIGIN);
}
END_TEST

START_TEST(sends_waiting_requests_in_their_order)
{
	struct server server;
	struct outcome outcomes[20] = {0};
	server_start(&server, answer_when_released, NULL);
	struct http_client *client = client_new();
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
		get(client, &server, &outcomes[i]);
	run_until_requests(client, &server, HTTP_CONNECTIONS_PER_ORIGIN);
	for (unsigned done = 1; done <= UNIT_COUNT(outcomes); done++) {
		release(&server, 1);
		unsigned ended;
		do {
			http_client_run(client, 5);
			ended = 0;
			for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
				ended += outcomes[i].calls == 1;
		} while (ended < done);
		ck_assert_uint_eq(ended, done);
		/* Those that ended are among the first that could be under way. */
		for (size_t i = done - 1 + HTTP_CONNECTIONS_PER_ORIGIN; i < UNIT_COUNT(outcomes);
			i++)
			ck_assert_int_eq(outcomes[i].calls, 0);
	}
	http_client_free(client);
	server_stop(&server);
}
END_TEST

START_TEST(is_not_held_up_by_another_origin_that_hangs)
{
	struct server hanging;
	struct server server;
	struct outcome stuck[HTTP_CONNECTIONS_PER_ORIGIN + 4] = {0};
	struct outcome outcomes[20] = {0};
	server_start(&hanging, answer_when_released, NULL);
	server_start(&server, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	struct http_client *client = client_new();
	for (size_t i = 0; i < UNIT_COUNT(stuck); i++)
		get(client, &hanging, &stuck[i]);
	run_until_requests(client, &hanging, HTTP_CONNECTIONS_PER_ORIGIN);
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
		get(client, &server, &outcomes[i]);
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++) {
		finish(client, &outcomes[i]);
		ck_assert(outcomes[i].has_response);
	}
	for (size_t i = 0; i < UNIT_COUNT(stuck); i++)
		ck_assert_int_eq(stuck[i].calls, 0);
	release(&hanging, UINT32_MAX);
	for (size_t i = 0; i < UNIT_COUNT(stuck); i++)
		finish(client, &stuck[i]);
	http_client_free(client);
	server_stop(&server);
	server_stop(&hanging);
}
END_TEST

START_TEST(goes_on_with_those_that_wait_when_the_first_fail)
{
	struct server server;
	struct outcome outcomes[30] = {0};
	server_start(&server, close_after, "");
	struct http_client *client = client_new();
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
		get(client, &server, &outcomes[i]);
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++) {
		finish(client, &outcomes[i]);
		ck_assert_int_eq(outcomes[i].err.code, ERR_NETWORK);
		ck_assert_ptr_nonnull(strstr(outcomes[i].err.message, server.origin));
		/* Those under way when the circuit opens, which is at the fifth, find out. */
		if (i < 5)
			ck_assert_int_eq(outcomes[i].err.spread_ms, 0);
		if (i >= 5 + HTTP_CONNECTIONS_PER_ORIGIN)
			ck_assert_int_gt(outcomes[i].err.spread_ms, 0);
	}
	http_client_free(client);
	server_stop(&server);
}
END_TEST

START_TEST(uses_a_connection_again)
{
	struct server server;
	server_start(&server, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	struct http_client *client = client_new();
	for (int i = 0; i < 10; i++) {
		struct outcome outcome = {0};
		get(client, &server, &outcome);
		finish(client, &outcome);
		ck_assert(outcome.has_response);
	}
	http_client_free(client);
	server_stop(&server);
	ck_assert_uint_eq(server.requests, 10);
	ck_assert_uint_eq(server.connections, 1);
}
END_TEST

struct again {
	struct http_client *client;
	struct server *server;
	struct outcome outcome;
	unsigned left;
};

static void get_again(void *context, struct http_response *response, const struct error *err)
{
	struct again *again = context;
	ck_assert_ptr_nonnull(response);
	(void)err;
	if (--again->left == 0)
		return;
	const struct http_request request = {
		.url = again->server->origin, .ca_file = again->server->ca_file, .body_max = 100};
	get_with(again->client, &request, get_again, again);
}

START_TEST(lets_a_done_function_send_another)
{
	struct server server;
	server_start(&server, answer_all, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	struct again again = {.client = client_new(), .server = &server, .left = 5};
	const struct http_request request = {
		.url = server.origin, .ca_file = server.ca_file, .body_max = 100};
	get_with(again.client, &request, get_again, &again);
	while (again.left > 0)
		http_client_run(again.client, 1000);
	http_client_free(again.client);
	server_stop(&server);
	ck_assert_uint_eq(server.requests, 5);
}
END_TEST

/* ---- ends --------------------------------------------------------------------------------------
 */

/* Cancels those named, of 24 requests with 8 under way; the others must end as if nothing was. */
static void cancel_some(const unsigned *cancelled, size_t count)
{
	struct server server;
	struct outcome outcomes[24] = {0};
	struct http_flight *flights[24];
	bool is_cancelled[24] = {false};
	server_start(&server, answer_when_released, NULL);
	struct http_client *client = client_new();
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
		flights[i] = get(client, &server, &outcomes[i]);
	run_until_requests(client, &server, HTTP_CONNECTIONS_PER_ORIGIN);
	for (size_t i = 0; i < count; i++) {
		http_client_cancel(client, flights[cancelled[i]]);
		is_cancelled[cancelled[i]] = true;
	}
	struct outcome late = {0};
	get(client, &server, &late);
	release(&server, UINT32_MAX);
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
		if (!is_cancelled[i])
			finish(client, &outcomes[i]);
	finish(client, &late);
	for (int i = 0; i < 10; i++)
		http_client_run(client, 0);
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
		ck_assert_int_eq(outcomes[i].calls, is_cancelled[i] ? 0 : 1);
	http_client_free(client);
	server_stop(&server);
}

START_TEST(ends_a_request_that_waits)
{
	/* The first, the last, one in between, neighbours. */
	static const unsigned cancelled[] = {8, 23, 15, 16, 22, 9};
	cancel_some(cancelled, UNIT_COUNT(cancelled));
}
END_TEST

START_TEST(ends_all_requests_that_wait)
{
	unsigned cancelled[16];
	for (unsigned i = 0; i < 16; i++)
		cancelled[i] = 23 - i;
	cancel_some(cancelled, 16);
	for (unsigned i = 0; i < 16; i++)
		cancelled[i] = 8 + i;
	cancel_some(cancelled, 16);
}
END_TEST

START_TEST(ends_a_request_under_way)
{
	static const unsigned cancelled[] = {0, 7, 3};
	cancel_some(cancelled, UNIT_COUNT(cancelled));
}
END_TEST

START_TEST(ends_all_requests)
{
	unsigned cancelled[24];
	for (unsigned i = 0; i < 24; i++)
		cancelled[i] = i;
	cancel_some(cancelled, 24);
}
END_TEST

START_TEST(ends_a_request_before_anything_was_sent)
{
	struct server server;
	struct outcome outcome = {0};
	server_start(&server, answer_all, "");
	struct http_client *client = client_new();
	http_client_cancel(client, get(client, &server, &outcome));
	for (int i = 0; i < 10; i++)
		http_client_run(client, 0);
	ck_assert_int_eq(outcome.calls, 0);
	http_client_free(client);
	server_stop(&server);
}
END_TEST

#define MEMBERS 12

struct group;

struct member {
	struct group *group;
	struct http_flight *flight;
};

struct group {
	struct http_client *client;
	struct member members[MEMBERS];
	unsigned calls;
};

/* Whoever ends first takes all others with it. */
static void cancel_the_others(
	void *context, struct http_response *response, const struct error *err)
{
	struct member *self = context;
	struct group *group = self->group;
	(void)response;
	(void)err;
	group->calls++;
	for (size_t i = 0; i < MEMBERS; i++)
		if (&group->members[i] != self)
			http_client_cancel(group->client, group->members[i].flight);
}

START_TEST(lets_a_done_function_end_all_the_others)
{
	struct server server;
	struct group group = {.client = client_new()};
	server_start(&server, answer_when_released, NULL);
	const struct http_request request = {
		.url = server.origin, .ca_file = server.ca_file, .body_max = 100};
	for (size_t i = 0; i < MEMBERS; i++) {
		group.members[i].group = &group;
		group.members[i].flight =
			get_with(group.client, &request, cancel_the_others, &group.members[i]);
	}
	run_until_requests(group.client, &server, HTTP_CONNECTIONS_PER_ORIGIN);
	release(&server, UINT32_MAX);
	wait_for_answers(&server, HTTP_CONNECTIONS_PER_ORIGIN);
	while (group.calls == 0)
		http_client_run(group.client, 1000);
	for (int i = 0; i < 10; i++)
		http_client_run(group.client, 0);
	ck_assert_uint_eq(group.calls, 1);
	http_client_free(group.client);
	server_stop(&server);
}
END_TEST

START_TEST(is_freed_with_requests_under_way_and_waiting)
{
	struct secret_memory before;
	struct secret_memory after;
	struct server server;
	struct outcome outcomes[20] = {0};
	secret_memory_usage(&before);
	server_start(&server, answer_when_released, NULL);
	struct http_client *client = client_new();
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
		get(client, &server, &outcomes[i]);
	run_until_requests(client, &server, HTTP_CONNECTIONS_PER_ORIGIN);
	http_client_free(client);
	release(&server, UINT32_MAX);
	for (size_t i = 0; i < UNIT_COUNT(outcomes); i++)
		ck_assert_int_eq(outcomes[i].calls, 0);
	/* The server sees every connection end. */
	pthread_mutex_lock(&server.lock);
	while (server.open > 0)
		pthread_cond_wait(&server.changed, &server.lock);
	pthread_mutex_unlock(&server.lock);
	server_stop(&server);
	secret_memory_usage(&after);
	ck_assert_uint_eq(after.bytes_in_use, before.bytes_in_use);
}
END_TEST

START_TEST(keeps_no_secret_memory_after_a_request)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
	};
	struct secret_memory before;
	struct secret_memory after;
	secret_memory_usage(&before);
	for (size_t i = 0; i < UNIT_COUNT(answers); i++) {
		struct server server;
		struct outcome outcome;
		server_start(&server, close_after, answers[i]);
		fetch(&server, &outcome);
		ck_assert_int_eq(outcome.has_response, i == 0);
		server_stop(&server);
	}
	secret_memory_usage(&after);
	ck_assert_uint_eq(after.bytes_in_use, before.bytes_in_use);
}
END_TEST

START_TEST(can_be_freed_when_null)
{
	http_client_free(NULL);
	http_client_free(client_new());
}
END_TEST

static void *wake(void *context)
{
	http_client_wake(context);
	return NULL;
}

START_TEST(is_woken_by_another_thread)
{
	struct http_client *client = client_new();
	int64_t start_ms = now_ms();
	for (int i = 0; i < 20; i++) {
		pthread_t thread;
		ck_assert_int_eq(pthread_create(&thread, NULL, wake, client), 0);
		http_client_run(client, 60000);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
	}
	ck_assert_int_lt(now_ms() - start_ms, 20000);
	http_client_free(client);
}
END_TEST

START_TEST(is_woken_by_what_came_before_the_wait)
{
	struct http_client *client = client_new();
	int64_t start_ms = now_ms();
	http_client_wake(client);
	http_client_run(client, 60000);
	ck_assert_int_lt(now_ms() - start_ms, 20000);
	http_client_free(client);
}
END_TEST

START_TEST(waits_no_longer_than_it_is_told)
{
	struct http_client *client = client_new();
	int64_t start_ms = now_ms();
	http_client_run(client, 0);
	http_client_run(client, 50);
	int64_t took_ms = now_ms() - start_ms;
	ck_assert_int_ge(took_ms, 49);
	ck_assert_int_lt(took_ms, 20000);
	http_client_free(client);
}
END_TEST

UNIT_MAIN("http_client", gives_status_headers_and_body, gives_every_status_as_an_answer,
	leaves_empty_what_the_answer_does_not_say, cuts_long_headers_and_shows_no_control_character,
	keeps_a_correlation_vector_that_is_one,
	withholds_a_correlation_vector_that_repeats_what_was_sent,
	reads_retry_after_in_all_its_forms, words_of_a_retry_after, lets_the_body_be_taken,
	accepts_an_answer_of_body_max_and_no_byte_more,
	takes_the_close_for_the_end_of_a_body_without_length, follows_no_redirect,
	reads_the_last_of_several_answers_to_a_request,
	sends_a_get_with_the_headers_that_it_was_given,
	sends_no_authorization_without_a_secret_line, keeps_no_copy_of_the_secret_line,
	keeps_no_copy_of_the_form, refuses_a_certificate_of_an_unknown_authority,
	refuses_a_certificate_of_another_host, refuses_an_expired_certificate,
	refuses_tls_older_than_1_2, takes_tls_1_2_and_1_3, refuses_a_url_that_is_not_https,
	names_a_ca_file_that_is_missing_or_of_no_use, tells_at_once_that_nobody_listens,
	tells_at_once_what_fails_at_once, fails_when_the_server_closes_at_any_stage,
	refuses_what_is_not_http, uses_no_more_connections_to_an_origin_than_it_may,
	sends_waiting_requests_in_their_order, is_not_held_up_by_another_origin_that_hangs,
	goes_on_with_those_that_wait_when_the_first_fail, uses_a_connection_again,
	lets_a_done_function_send_another, ends_a_request_that_waits, ends_all_requests_that_wait,
	ends_a_request_under_way, ends_all_requests, ends_a_request_before_anything_was_sent,
	lets_a_done_function_end_all_the_others, is_freed_with_requests_under_way_and_waiting,
	keeps_no_secret_memory_after_a_request, can_be_freed_when_null, is_woken_by_another_thread,
	is_woken_by_what_came_before_the_wait, waits_no_longer_than_it_is_told)
