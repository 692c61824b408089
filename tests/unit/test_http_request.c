/*
 * What a request may ask for beyond a GET by https: a form, the host itself, one certificate, other
 * times to wait.
 */
#include "base/http_client.h"

#include <stddef.h>
#define REQUESTS_MAX 4
#define REQUEST_SIZE (SECRET_MAX + 4096)

#include "base/text.h"
#include "tls_server.h"
#include "unit.h"

#include <time.h>

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static const char *const hello[] = {HELLO, NULL};
static const char *const silence[] = {NULL};

struct outcome {
	int calls;
	bool has_response;
	int status;
	char body[64];
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
	outcome->status = response->status;
	snprintf(outcome->body, sizeof(outcome->body), "%s", secret_bytes(response->body));
}

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

__attribute__((constructor)) static void clear_environment(void)
{
	static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
		"ALL_PROXY", "no_proxy", "NO_PROXY"};
	for (size_t i = 0; i < UNIT_COUNT(names); i++)
		unsetenv(names[i]);
}

static struct http_client *client_new(void)
{
	struct error err = ERROR_INIT;
	struct http_client *client = http_client_new(&clock_system, &err);
	ck_assert_ptr_nonnull(client);
	return client;
}

/* Send it with this client, and wait for its end. */
static struct outcome fetch_by(struct http_client *client, const struct http_request *request)
{
	struct outcome outcome = {0};
	struct error err = ERROR_INIT;
	if (http_client_send(client, request, on_done, &outcome, &err) == NULL) {
		for (int i = 0; i < 3; i++)
			http_client_run(client, 0);
		ck_assert_int_eq(outcome.calls, 0); /* it is told by what send() returns */
		outcome.err = err;
		return outcome;
	}
	while (outcome.calls == 0)
		http_client_run(client, 1000);
	ck_assert_int_eq(outcome.calls, 1);
	return outcome;
}

static struct outcome fetch(const struct http_request *request)
{
	struct http_client *client = client_new();
	struct outcome outcome = fetch_by(client, request);
	http_client_free(client);
	return outcome;
}

static void assert_hello(const struct outcome *outcome)
{
	ck_assert_msg(outcome->has_response, "%s", outcome->err.message);
	ck_assert_int_eq(outcome->status, 200);
	ck_assert_str_eq(outcome->body, "hello");
}

static void assert_failed(const struct outcome *outcome, enum error_code code, const char *words)
{
	ck_assert(!outcome->has_response);
	ck_assert_msg(outcome->err.code == code, "%s, not %s: %s",
		error_code_name(outcome->err.code), error_code_name(code), outcome->err.message);
	ck_assert_msg(strstr(outcome->err.message, words) != NULL, "no '%s' in: %s", words,
		outcome->err.message);
}

/* ---- forms -------------------------------------------------------------------------------------
 */

static struct server server; /* too large for a stack */

static void assert_posted(const char *bytes, size_t len)
{
	char value[256];
	char expected[32];
	struct secret *form = secret_from(bytes, len);
	server_start(&server, hello);
	struct outcome outcome = fetch(&(struct http_request){
		.url = server.origin, .form = form, .ca_file = server.ca_file, .body_max = 100});
	server_stop(&server);
	assert_hello(&outcome);
	const char *request = request_of(&server, 0);
	ck_assert_msg(strncmp(request, "POST / HTTP/1.1\r\n", 17) == 0, "%.60s", request);
	ck_assert_str_eq(
		header_of(request, "Content-Type", value), "application/x-www-form-urlencoded");
	snprintf(expected, sizeof(expected), "%zu", len);
	ck_assert_str_eq(header_of(request, "Content-Length", value), expected);
	ck_assert_uint_eq(strlen(body_of(request)), len);
	ck_assert_mem_eq(body_of(request), bytes, len);
	/* It is the caller's, and as it was. */
	ck_assert_uint_eq(secret_len(form), len);
	ck_assert_mem_eq(secret_bytes(form), bytes, len);
	secret_free(form);
}

START_TEST(posts_a_form_as_it_is)
{
	static const char form[] = "grant_type=client_credentials&client_secret=a%2Fb%00";
	assert_posted(form, sizeof(form) - 1);
	assert_posted("", 0);
}
END_TEST

START_TEST(posts_the_longest_form_that_there_is)
{
	static char form[SECRET_MAX];
	memset(form, 'f', sizeof(form));
	assert_posted(form, sizeof(form));
}
END_TEST

START_TEST(gets_again_on_the_connection_that_posted)
{
	struct secret *form = secret_from("a=b", 3);
	struct http_client *client = client_new();
	server_start(&server, hello);
	const struct http_request post = {
		.url = server.origin, .form = form, .ca_file = server.ca_file, .body_max = 100};
	const struct http_request get = {
		.url = server.origin, .ca_file = server.ca_file, .body_max = 100};
	struct outcome outcome = fetch_by(client, &post);
	assert_hello(&outcome);
	outcome = fetch_by(client, &get);
	assert_hello(&outcome);
	http_client_free(client);
	server_stop(&server);
	ck_assert_uint_eq(server.connections, 1);
	ck_assert_int_eq(strncmp(request_of(&server, 1), "GET / ", 6), 0);
	ck_assert_str_eq(body_of(request_of(&server, 1)), "");
	secret_free(form);
}
END_TEST

/* ---- the host itself ---------------------------------------------------------------------------
 */

START_TEST(knows_the_addresses_of_the_host_itself)
{
	static const char *const urls[] = {
		"http://127.0.0.1",
		"http://127.0.0.1/",
		"http://127.0.0.1:50342/oauth2/token?x=y#z",
		"https://127.0.0.1:2377",
		"HTTP://127.0.0.1",
		"HttpS://127.0.0.1",
		"http://127.255.255.254",
		"http://169.254.169.254/metadata/identity/oauth2/token",
		"http://169.254.0.1",
		"http://localhost",
		"http://LocalHost:40342/",
		"http://127.0.0.1?x",
		"http://127.0.0.1#x",
		"http://[::1]",
		"http://[::1]:8080/",
		"http://[0:0:0:0:0:0:0:1]/",
		"http://[fe80::1]/",
		"http://[febf::1]",
	};
	for (size_t i = 0; i < UNIT_COUNT(urls); i++)
		ck_assert_msg(http_url_is_of_host(urls[i]), "%s", urls[i]);
}
END_TEST

START_TEST(does_not_take_another_for_the_host_however_it_is_spelt)
{
	static const char *const urls[] = {
		"",
		"http",
		"http:",
		"http://",
		"https://",
		"http:///",
		"http://:80",
		"127.0.0.1",
		"//127.0.0.1",
		"http:/127.0.0.1",
		"http:127.0.0.1",
		" http://127.0.0.1",
		"ftp://127.0.0.1",
		"file:///etc/passwd",
		"httpx://127.0.0.1",
		"http://example.com",
		"http://10.0.0.1",
		"http://192.168.1.1",
		"http://0.0.0.0",
		"http://126.255.255.255",
		"http://128.0.0.1",
		"http://169.253.255.255",
		"http://169.255.0.1",
		"http://254.169.254.169",
		/* Names that begin or end like one. */
		"http://localhost.example.com",
		"http://localhost.",
		"http://xlocalhost",
		"http://127.0.0.1.example.com",
		"http://127.0.0.1x",
		"http://localhost%2eexample.com",
		/* Numbers in forms that parsers disagree about. */
		"http://127.1",
		"http://2130706433",
		"http://0x7f000001",
		"http://0177.0.0.1",
		"http://127.0.0.01",
		"http://127.0.0.1.",
		"http://%31%32%37.0.0.1",
		"http://[::ffff:127.0.0.1]",
		"http://[::]",
		"http://[fec0::1]",
		"http://[fe80::1%25eth0]",
		"http://[2001:db8::1]",
		/* The host in one reading, and another in the next. */
		"http://127.0.0.1@example.com",
		"http://127.0.0.1:80@example.com/",
		"http://example.com@127.0.0.1",
		"http://user:password@127.0.0.1/",
		"http://127.0.0.1\\@example.com",
		"http://127.0.0.1\\.example.com",
		"http://127.0.0.1/\\@example.com",
		"http://127.0.0.1 .example.com",
		"http://127.0.0.1\t.example.com",
		"http://127.0.0.1\r\nHost: example.com",
		"http://127.0.0.1/\r\nX: y",
		"http://[::1",
		"http://[::1]example.com",
		"http://[::1].example.com/",
		"http://[::1]@example.com",
		"http://[]",
		"http://::1/",
		("http://127.0.0.1\xe3\x80\x82" /* an ideographic full stop */
		 "example.com"),
		"http://111111111111111111111111111111111111111111111111111111111111111111111111",
	};
	for (size_t i = 0; i < UNIT_COUNT(urls); i++)
		ck_assert_msg(!http_url_is_of_host(urls[i]), "%s", urls[i]);
}
END_TEST

START_TEST(speaks_http_to_the_host_itself_when_it_may)
{
	server_start_plain(&server, hello);
	struct outcome outcome = fetch(
		&(struct http_request){.url = server.origin, .is_for_host = true, .body_max = 100});
	assert_hello(&outcome);
	outcome = fetch(&(struct http_request){.url = server.origin, .body_max = 100});
	assert_failed(&outcome, ERR_CONFIGURATION, "http");
	server_stop(&server);
	ck_assert_uint_eq(server.count, 1);
	/* And https, with its check. */
	server_start(&server, hello);
	outcome = fetch(&(struct http_request){.url = server.origin,
		.ca_file = server.ca_file,
		.is_for_host = true,
		.body_max = 100});
	assert_hello(&outcome);
	outcome = fetch(
		&(struct http_request){.url = server.origin, .is_for_host = true, .body_max = 100});
	assert_failed(&outcome, ERR_TLS, "certificate");
	server_stop(&server);
}
END_TEST

START_TEST(refuses_at_once_what_is_for_the_host_and_goes_elsewhere)
{
	static const char *const urls[] = {
		"http://example.com/",
		"https://example.com/",
		"http://127.0.0.1@example.com/",
		"http://169.254.169.254.example.com/",
	};
	for (size_t i = 0; i < UNIT_COUNT(urls); i++) {
		struct outcome outcome = fetch(&(struct http_request){
			.url = urls[i], .is_for_host = true, .body_max = 100});
		ck_assert_int_eq(outcome.calls, 0);
		assert_failed(&outcome, ERR_CONFIGURATION, urls[i]);
		assert_failed(&outcome, ERR_CONFIGURATION, "loopback or link-local");
	}
}
END_TEST

START_TEST(asks_no_proxy_for_the_host_itself)
{
	struct server *proxy = calloc(1, sizeof(*proxy));
	static const char *const refusal[] = {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", NULL};
	server_start_plain(proxy, refusal);
	setenv("http_proxy", proxy->origin, 1);
	setenv("https_proxy", proxy->origin, 1);
	setenv("all_proxy", proxy->origin, 1);
	server_start_plain(&server, hello);
	struct outcome outcome = fetch(
		&(struct http_request){.url = server.origin, .is_for_host = true, .body_max = 100});
	assert_hello(&outcome);
	server_stop(&server);
	server_start(&server, hello);
	const struct http_request request = {
		.url = server.origin, .ca_file = server.ca_file, .body_max = 100};
	struct http_request for_host = request;
	for_host.is_for_host = true;
	outcome = fetch(&for_host);
	assert_hello(&outcome);
	ck_assert_uint_eq(count_of(proxy), 0);
	/* Any other goes through it. */
	outcome = fetch(&request);
	ck_assert(!outcome.has_response);
	ck_assert_uint_eq(count_of(proxy), 1);
	server_stop(&server);
	server_stop(proxy);
	ck_assert_int_eq(strncmp(request_of(proxy, 0), "CONNECT 127.0.0.1:", 18), 0);
	free(proxy);
	clear_environment();
}
END_TEST

START_TEST(follows_no_redirect_away_from_the_host)
{
	static const char *const redirect[] = {
		"HTTP/1.1 302 Found\r\nLocation: https://example.com/\r\nContent-Length: 0\r\n\r\n",
		NULL};
	server_start_plain(&server, redirect);
	struct outcome outcome = fetch(
		&(struct http_request){.url = server.origin, .is_for_host = true, .body_max = 100});
	ck_assert_int_eq(outcome.status, 302);
	server_stop(&server);
}
END_TEST

/* ---- one certificate ---------------------------------------------------------------------------
 */

static void thumbprint_of(const struct server *of, char out[41])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	ck_assert_int_eq(X509_digest(of->certificate, EVP_sha1(), digest, &len), 1);
	for (unsigned i = 0; i < 20; i++)
		snprintf(out + (size_t)2 * i, 3, "%02X", digest[i]);
}

/* No authority knows it, and the name is another: localhost, where it says 127.0.0.1. */
static const char *url_by_name(void)
{
	static char url[64];
	snprintf(url, sizeof(url), "https://localhost:%s", strrchr(server.origin, ':') + 1);
	return url;
}

START_TEST(trusts_the_one_certificate_whatever_its_name_and_issuer)
{
	char thumbprint[41];
	server_start(&server, hello);
	thumbprint_of(&server, thumbprint);
	for (int i = 0; i < 2; i++) {
		struct outcome outcome = fetch(&(struct http_request){
			.url = url_by_name(), .server_thumbprint = thumbprint, .body_max = 100});
		assert_hello(&outcome);
		for (char *c = thumbprint; *c != '\0'; c++) /* and in small letters */
			*c = (char)(*c >= 'A' && *c <= 'F' ? *c + 32 : *c);
	}
	server_stop(&server);
}
END_TEST

START_TEST(trusts_no_other_certificate_than_the_one)
{
	char thumbprint[41];
	server_start(&server, hello);
	thumbprint_of(&server, thumbprint);
	thumbprint[39] = thumbprint[39] == '0' ? '1' : '0';
	struct outcome outcome = fetch(&(struct http_request){
		.url = server.origin, .server_thumbprint = thumbprint, .body_max = 100});
	assert_failed(&outcome, ERR_TLS, "certificate");
	/* Though an authority vouches for it. */
	outcome = fetch(&(struct http_request){.url = server.origin,
		.server_thumbprint = thumbprint,
		.ca_file = server.ca_file,
		.body_max = 100});
	assert_failed(&outcome, ERR_TLS, "certificate");
	server_stop(&server);
	ck_assert_uint_eq(server.count, 0);
}
END_TEST

START_TEST(lends_no_trust_to_requests_without_the_thumbprint)
{
	char thumbprint[41];
	struct http_client *client = client_new();
	server_start(&server, hello);
	thumbprint_of(&server, thumbprint);
	const struct http_request with = {
		.url = server.origin, .server_thumbprint = thumbprint, .body_max = 100};
	const struct http_request without = {.url = server.origin, .body_max = 100};
	for (int i = 0; i < 3; i++) {
		struct outcome outcome = fetch_by(client, &with);
		assert_hello(&outcome);
		outcome = fetch_by(client, &without);
		assert_failed(&outcome, ERR_TLS, "certificate");
	}
	http_client_free(client);
	server_stop(&server);
	ck_assert_uint_eq(server.count, 3);
}
END_TEST

START_TEST(takes_no_trust_from_a_connection_that_was_checked_otherwise)
{
	static const char wrong[] = "0123456789012345678901234567890123456789";
	struct http_client *client = client_new();
	server_start(&server, hello);
	const struct http_request usual = {
		.url = server.origin, .ca_file = server.ca_file, .body_max = 100};
	struct http_request strict = usual;
	strict.server_thumbprint = wrong;
	struct outcome outcome = fetch_by(client, &usual);
	assert_hello(&outcome);
	server_hang_up(&server); /* it serves one connection at a time */
	outcome = fetch_by(client, &strict);
	assert_failed(&outcome, ERR_TLS, "certificate");
	http_client_free(client);
	server_stop(&server);
}
END_TEST

START_TEST(refuses_a_thumbprint_that_is_none)
{
	static const char *const thumbprints[] = {
		"",
		"0",
		"012345678901234567890123456789012345678",
		"01234567890123456789012345678901234567890",
		"012345678901234567890123456789012345678g",
		"01:23:45:67:89:01:23:45:67:89:01:23:45:6",
		" 123456789012345678901234567890123456789",
		"0123456789012345678901234567890123456789012345678901234567890123",
	};
	for (size_t i = 0; i < UNIT_COUNT(thumbprints); i++) {
		struct outcome outcome = fetch(&(struct http_request){.url = "https://127.0.0.1:9/",
			.server_thumbprint = thumbprints[i],
			.body_max = 100});
		ck_assert_msg(outcome.calls == 0, "'%s'", thumbprints[i]);
		assert_failed(&outcome, ERR_CONFIGURATION, "SHA-1 as 40 hexadecimal digits");
	}
}
END_TEST

START_TEST(never_goes_without_tls_where_there_is_a_thumbprint)
{
	static const char thumbprint[] = "0123456789012345678901234567890123456789";
	server_start_plain(&server, hello);
	struct outcome outcome = fetch(&(struct http_request){.url = server.origin,
		.server_thumbprint = thumbprint,
		.is_for_host = true,
		.body_max = 100});
	assert_failed(&outcome, ERR_CONFIGURATION, "http");
	server_stop(&server);
	ck_assert_uint_eq(server.count, 0);
}
END_TEST

/* ---- times -------------------------------------------------------------------------------------
 */

START_TEST(waits_for_an_answer_no_longer_than_it_is_told)
{
	int64_t start_ms = now_ms();
	server_start(&server, silence);
	struct outcome outcome = fetch(&(struct http_request){.url = server.origin,
		.ca_file = server.ca_file,
		.total_timeout_ms = 300,
		.body_max = 100});
	assert_failed(&outcome, ERR_TIMEOUT, server.origin);
	server_stop(&server);
	ck_assert_int_ge(now_ms() - start_ms, 299);
	ck_assert_int_lt(now_ms() - start_ms, 8000); /* the usual time is 30 s */
	ck_assert_uint_eq(server.count, 1);
}
END_TEST

START_TEST(waits_for_a_connection_no_longer_than_it_is_told)
{
	/* The kernel accepts, and nobody shakes hands. */
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	char url[64];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", ntohs(address.sin_port));
	int64_t start_ms = now_ms();
	struct outcome outcome = fetch(
		&(struct http_request){.url = url, .connect_timeout_ms = 300, .body_max = 100});
	assert_failed(&outcome, ERR_TIMEOUT, url);
	ck_assert_int_ge(now_ms() - start_ms, 299);
	ck_assert_int_lt(now_ms() - start_ms, 8000); /* the usual time is 10 s */
	close(fd);
}
END_TEST

START_TEST(gives_an_answer_all_of_its_time)
{
	/* The time for a connection does not end a request whose connection is there. */
	server_start(&server, silence);
	int64_t start_ms = now_ms();
	struct outcome outcome = fetch(&(struct http_request){.url = server.origin,
		.ca_file = server.ca_file,
		.connect_timeout_ms = 300,
		.total_timeout_ms = 900,
		.body_max = 100});
	assert_failed(&outcome, ERR_TIMEOUT, server.origin);
	ck_assert_int_ge(now_ms() - start_ms, 899);
	server_stop(&server);
}
END_TEST

UNIT_MAIN("http_request", posts_a_form_as_it_is, posts_the_longest_form_that_there_is,
	gets_again_on_the_connection_that_posted, knows_the_addresses_of_the_host_itself,
	does_not_take_another_for_the_host_however_it_is_spelt,
	speaks_http_to_the_host_itself_when_it_may,
	refuses_at_once_what_is_for_the_host_and_goes_elsewhere, asks_no_proxy_for_the_host_itself,
	follows_no_redirect_away_from_the_host,
	trusts_the_one_certificate_whatever_its_name_and_issuer,
	trusts_no_other_certificate_than_the_one, lends_no_trust_to_requests_without_the_thumbprint,
	takes_no_trust_from_a_connection_that_was_checked_otherwise,
	refuses_a_thumbprint_that_is_none, never_goes_without_tls_where_there_is_a_thumbprint,
	waits_for_an_answer_no_longer_than_it_is_told,
	waits_for_a_connection_no_longer_than_it_is_told, gives_an_answer_all_of_its_time)
