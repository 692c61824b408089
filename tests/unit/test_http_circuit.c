/*
 * The circuits of the HTTP client: which requests are sent, and what the others are told.
 */
#include "base/circuit.h"
#include "base/http_client.h"

#include "tls_server.h"
#include "unit.h"

#include <arpa/inet.h>

#define TODAY_S INT64_C(1709251200) /* 2024-03-01T00:00:00Z */
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define FAULT "HTTP/1.1 500 No\r\nContent-Length: 0\r\nMS-CV: vector.1\r\n\r\n"
#define BUSY "HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: 40\r\nMS-CV: vector.2\r\n\r\n"
#define TEN "0123456789"
#define TOO_LONG \
	"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "x"
#define THROTTLED "HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n"

static const char *const ok[] = {OK, NULL};
static const char *const fault[] = {FAULT, NULL};
static const char *const silence[] = {NULL};

static int64_t boottime_ms = 5000000;

static int64_t read_boottime(const struct clock *clock)
{
	(void)clock;
	return boottime_ms;
}

static int64_t read_realtime(const struct clock *clock)
{
	(void)clock;
	return TODAY_S + (boottime_ms - 5000000) / 1000;
}

static const struct clock stage_clock = {read_boottime, read_realtime};

static struct server server; /* too large for a stack */
static struct http_client *client;

struct outcome {
	int calls;
	int status; /* 0: none */
	struct error err;
};

__attribute__((constructor)) static void clear_environment(void)
{
	static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
		"ALL_PROXY", "no_proxy", "NO_PROXY"};
	for (size_t i = 0; i < UNIT_COUNT(names); i++)
		unsetenv(names[i]);
}

static void begin(const char *const *answers)
{
	struct error err = ERROR_INIT;
	server_start(&server, answers);
	client = http_client_new(&stage_clock, &err);
	ck_assert_ptr_nonnull(client);
}

static void end(void)
{
	http_client_free(client);
	server_stop(&server);
}

static void answer_with(const char *const *answers)
{
	pthread_mutex_lock(&server.lock);
	server.answers = answers;
	pthread_mutex_unlock(&server.lock);
}

static void on_done(void *context, struct http_response *response, const struct error *err)
{
	struct outcome *outcome = context;
	outcome->calls++;
	if (response != NULL)
		outcome->status = response->status;
	else
		outcome->err = *err;
}

/* NULL: refused, and then outcome->err says why. */
static struct http_flight *send_to(const char *url, struct outcome *outcome)
{
	const struct http_request request = {
		.url = url, .ca_file = server.ca_file, .body_max = 100};
	*outcome = (struct outcome){.err = ERROR_INIT};
	return http_client_send(client, &request, on_done, outcome, &outcome->err);
}

static void finish(const struct outcome *outcome)
{
	while (outcome->calls == 0)
		http_client_run(client, 1000);
	ck_assert_int_eq(outcome->calls, 1);
}

static struct outcome fetch_from(const char *url)
{
	struct outcome outcome;
	if (send_to(url, &outcome) != NULL)
		finish(&outcome);
	return outcome;
}

static struct outcome fetch(void)
{
	return fetch_from(server.origin);
}

static void run_until_requests(unsigned count)
{
	while (count_of(&server) < count)
		http_client_run(client, 5);
}

/* Five answers of that status, sent. */
static void open_circuit(int status)
{
	for (int i = 0; i < CIRCUIT_FAILURES; i++)
		ck_assert_int_eq(fetch().status, status);
	ck_assert_uint_eq(count_of(&server), CIRCUIT_FAILURES);
}

static void assert_refused(const struct outcome *outcome, enum error_code code)
{
	ck_assert_int_eq(outcome->calls, 0);
	ck_assert_int_eq(outcome->err.code, code);
	ck_assert_int_gt(outcome->err.spread_ms, 0);
}

START_TEST(sends_nothing_after_five_failures_in_a_row_and_says_why)
{
	static const char *const answers[] = {FAULT, FAULT, FAULT, FAULT, BUSY, NULL};
	begin(answers);
	for (int i = 0; i < CIRCUIT_FAILURES; i++) {
		ck_assert_int_ne(fetch().status, 0);
		boottime_ms += 3000;
	}
	struct outcome outcome = fetch();
	assert_refused(&outcome, ERR_THROTTLED);
	ck_assert_uint_eq(count_of(&server), CIRCUIT_FAILURES);
	ck_assert_int_eq(outcome.err.http_status, 503);
	ck_assert_str_eq(outcome.err.correlation_vector, "vector.2");
	/* The Retry-After, of which 3 s are over, and its tenth. */
	ck_assert_int_ge(outcome.err.retry_after_s, 37);
	ck_assert_int_le(outcome.err.retry_after_s, 41);
	const char *const words[] = {"nothing is sent to https://127.0.0.1:", server.origin,
		"until 2024-03-01T00:00:5", "the last 5 requests", "since 2024-03-01T00:00:00Z",
		"answered 503, MS-CV vector.2"};
	for (size_t i = 0; i < UNIT_COUNT(words); i++)
		ck_assert_msg(strstr(outcome.err.message, words[i]) != NULL, "no '%s' in: %s",
			words[i], outcome.err.message);
	end();
}
END_TEST

START_TEST(sends_one_probe_and_the_others_once_it_was_answered)
{
	struct outcome probe;
	struct outcome others[20];
	begin(fault);
	open_circuit(500);
	boottime_ms += CIRCUIT_SPAN_FIRST_MS;
	answer_with(silence);
	ck_assert_ptr_nonnull(send_to(server.origin, &probe));
	for (size_t i = 0; i < UNIT_COUNT(others); i++)
		ck_assert_ptr_nonnull(send_to(server.origin, &others[i]));
	run_until_requests(CIRCUIT_FAILURES + 1);
	for (int i = 0; i < 20; i++)
		http_client_run(client, 5);
	ck_assert_uint_eq(count_of(&server), CIRCUIT_FAILURES + 1);
	/* It fails, and so do those that wait, unsent. */
	/* libcurl tries once more where a kept connection breaks; then amid an answer too. */
	server_hang_up(&server);
	while (probe.calls == 0 && count_of(&server) < CIRCUIT_FAILURES + 2)
		http_client_run(client, 5);
	server_hang_up(&server);
	finish(&probe);
	unsigned count = count_of(&server);
	ck_assert_uint_le(count, CIRCUIT_FAILURES + 2);
	ck_assert_int_eq(probe.err.code, ERR_NETWORK);
	ck_assert_int_eq(probe.err.spread_ms, 0);
	for (size_t i = 0; i < UNIT_COUNT(others); i++) {
		finish(&others[i]);
		ck_assert_int_gt(others[i].err.spread_ms, 0);
		ck_assert_int_eq(others[i].err.code, ERR_NETWORK);
	}
	ck_assert_uint_eq(count_of(&server), count);
	/* The next probe is answered. */
	boottime_ms += 2 * CIRCUIT_SPAN_FIRST_MS;
	answer_with(ok);
	ck_assert_ptr_nonnull(send_to(server.origin, &probe));
	ck_assert_ptr_nonnull(send_to(server.origin, &others[0]));
	finish(&probe);
	finish(&others[0]);
	ck_assert_int_eq(probe.status, 200);
	ck_assert_int_eq(others[0].status, 200);
	ck_assert_int_eq(fetch().status, 200);
	end();
}
END_TEST

START_TEST(lets_another_be_the_probe_when_it_was_cancelled)
{
	struct outcome first;
	struct outcome second;
	begin(fault);
	open_circuit(500);
	boottime_ms += CIRCUIT_SPAN_FIRST_MS;
	answer_with(silence);
	struct http_flight *flight = send_to(server.origin, &first);
	ck_assert_ptr_nonnull(flight);
	ck_assert_ptr_nonnull(send_to(server.origin, &second));
	run_until_requests(CIRCUIT_FAILURES + 1);
	answer_with(ok);
	http_client_cancel(client, flight);
	finish(&second);
	ck_assert_int_eq(second.status, 200);
	ck_assert_int_eq(first.calls, 0);
	end();
}
END_TEST

START_TEST(is_not_opened_by_what_is_no_fault_of_the_origin)
{
	static const char *const answers[] = {THROTTLED,
		"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", TOO_LONG, TOO_LONG, TOO_LONG,
		TOO_LONG, TOO_LONG, TOO_LONG, THROTTLED, NULL};
	begin(answers);
	for (int i = 0; i < 20; i++) {
		struct outcome outcome = fetch();
		ck_assert_int_eq(outcome.calls, 1);
	}
	struct outcome outcome = {.err = ERROR_INIT};
	const struct http_request without_authority = {
		.url = server.origin, .ca_file = "/nowhere/at/all", .body_max = 100};
	server_hang_up(&server); /* it serves one connection at a time */
	for (int i = 0; i < 20; i++) {
		outcome.calls = 0;
		ck_assert_ptr_nonnull(http_client_send(
			client, &without_authority, on_done, &outcome, &outcome.err));
		finish(&outcome);
		ck_assert_int_eq(outcome.err.code, ERR_CONFIGURATION);
	}
	ck_assert_int_eq(fetch().status, 429);
	end();
}
END_TEST

START_TEST(counts_failures_in_a_row_only)
{
	static const char *const answers[] = {FAULT, FAULT, FAULT, FAULT, THROTTLED, FAULT, FAULT,
		FAULT, FAULT, OK, FAULT, FAULT, FAULT, FAULT, FAULT, NULL};
	begin(answers);
	for (size_t i = 0; answers[i] != NULL; i++)
		ck_assert_int_ne(fetch().status, 0);
	struct outcome outcome = fetch();
	assert_refused(&outcome, ERR_UPSTREAM_FAULT);
	end();
}
END_TEST

/* An https address of this host where nobody listens, while the socket is there. */
static int reserve_port(char url[64])
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	snprintf(url, 64, "https://127.0.0.1:%u/a", ntohs(address.sin_port));
	return fd;
}

START_TEST(is_opened_by_an_origin_that_nobody_listens_at_and_is_that_origins_own)
{
	char url[64];
	char other[80];
	begin(ok);
	int fd = reserve_port(url);
	for (int i = 0; i < CIRCUIT_FAILURES; i++) {
		struct outcome outcome = fetch_from(url);
		ck_assert_int_eq(outcome.err.code, ERR_NETWORK);
		ck_assert_int_eq(outcome.err.spread_ms, 0);
	}
	struct outcome outcome = fetch_from(url);
	assert_refused(&outcome, ERR_NETWORK);
	snprintf(other, sizeof(other), "HTTPS%s?b", url + 5);
	outcome = fetch_from(other); /* the same, spelled otherwise */
	assert_refused(&outcome, ERR_NETWORK);
	ck_assert_int_eq(fetch().status, 200);
	close(fd);
	end();
}
END_TEST

START_TEST(has_none_for_the_host_itself)
{
	struct error err = ERROR_INIT;
	server_start_plain(&server, fault);
	client = http_client_new(&stage_clock, &err);
	const struct http_request request = {
		.url = server.origin, .is_for_host = true, .body_max = 100};
	for (int i = 0; i < 20; i++) {
		struct outcome outcome = {0};
		ck_assert_ptr_nonnull(
			http_client_send(client, &request, on_done, &outcome, &outcome.err));
		finish(&outcome);
		ck_assert_int_eq(outcome.status, 500);
	}
	end();
}
END_TEST

START_TEST(sends_again_when_it_is_forgiven)
{
	struct outcome waiting;
	begin(fault);
	open_circuit(500);
	struct outcome outcome = fetch();
	assert_refused(&outcome, ERR_UPSTREAM_FAULT);
	http_client_forgive(client);
	for (int i = 0; i < CIRCUIT_FAILURES; i++)
		ck_assert_int_eq(fetch().status, 500);
	outcome = fetch();
	assert_refused(&outcome, ERR_UPSTREAM_FAULT);
	/* Those that wait for a probe need not wait for it any more. */
	boottime_ms += CIRCUIT_SPAN_FIRST_MS;
	answer_with(silence);
	ck_assert_ptr_nonnull(send_to(server.origin, &outcome));
	ck_assert_ptr_nonnull(send_to(server.origin, &waiting));
	run_until_requests(2 * CIRCUIT_FAILURES + 1);
	answer_with(ok);
	http_client_forgive(client);
	http_client_run(client, 0);
	/* The server has one connection at a time, and the probe may come first once more. */
	server_hang_up(&server);
	for (bool freed = false; waiting.calls == 0;) {
		http_client_run(client, 5);
		if (outcome.calls != 0 && waiting.calls == 0 && !freed) {
			server_hang_up(&server);
			freed = true;
		}
	}
	ck_assert_int_eq(waiting.status, 200);
	end();
}
END_TEST

UNIT_MAIN("http_circuit", sends_nothing_after_five_failures_in_a_row_and_says_why,
	sends_one_probe_and_the_others_once_it_was_answered,
	lets_another_be_the_probe_when_it_was_cancelled,
	is_not_opened_by_what_is_no_fault_of_the_origin, counts_failures_in_a_row_only,
	is_opened_by_an_origin_that_nobody_listens_at_and_is_that_origins_own,
	has_none_for_the_host_itself, sends_again_when_it_is_forgiven)
