#include "cli/daemon_client.h"

#include <curl/curl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/socket_trouble.h"
#include "config.h"

static void wiping_free(void *place)
{
	if (place == NULL)
		return;
	explicit_bzero(place, malloc_usable_size(place));
	free(place);
}

static void *wiping_realloc(void *place, size_t size)
{
	if (place == NULL)
		return malloc(size);
	size_t old_size = malloc_usable_size(place);
	if (size <= old_size)
		return place;
	void *moved = malloc(size);
	if (moved == NULL)
		return NULL;
	memcpy(moved, place, old_size);
	wiping_free(place);
	return moved;
}

struct collected {
	struct daemon_answer *answer;
	bool is_too_long;
	bool has_no_memory;
};

/* Called by libcurl; returning another number than it was given ends the transfer. */
static size_t collect(char *bytes, size_t size, size_t count, void *context)
{
	struct collected *collected = context;
	struct daemon_answer *answer = collected->answer;
	size_t len = size * count;
	if (answer->secret != NULL) {
		collected->is_too_long = len > SECRET_MAX - secret_len(answer->secret);
		collected->has_no_memory =
			!collected->is_too_long && secret_append(answer->secret, bytes, len) != 0;
	} else {
		collected->is_too_long = len > DAEMON_ANSWER_MAX - answer->text.len;
		if (!collected->is_too_long)
			text_append_bytes(&answer->text, bytes, len);
		collected->has_no_memory = text_string(&answer->text) == NULL;
	}
	return collected->is_too_long || collected->has_no_memory ? 0 : len;
}

static int fail_transfer(CURL *curl, CURLcode code, const struct collected *collected,
	const struct cli_options *options, struct cli_failure *failure)
{
	const char *path = options->socket_path;
	long os_error = 0;
	long status = 0;
	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		return socket_trouble(path, (int)os_error, failure);
	case CURLE_OPERATION_TIMEDOUT:
		cli_fail(failure, CLI_EXIT_UNREACHABLE,
			"the daemon on %s gave no whole answer within %lld s", path,
			(long long)options->timeout_s);
		return cli_hint(failure, "Is it well? systemctl status mrtokend; or wait longer "
					 "with --timeout SECONDS");
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		if (status != 0)
			break;
		cli_fail(failure, CLI_EXIT_UNREACHABLE,
			"the daemon on %s closed the connection without an answer", path);
		return cli_hint(failure, "It may be stopping or have too many connections: try "
					 "again, or see: journalctl --unit mrtokend");
	case CURLE_WRITE_ERROR:
		if (collected->is_too_long)
			return cli_fail(failure, CLI_EXIT_FAILURE,
				"the daemon's answer is longer than %zu bytes",
				collected->answer->secret != NULL ? SECRET_MAX : DAEMON_ANSWER_MAX);
		if (collected->has_no_memory)
			return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the answer");
		break;
	default:
		break;
	}
	cli_fail(failure, CLI_EXIT_FAILURE, "the answer on %s is broken: %s", path,
		curl_easy_strerror(code));
	return cli_hint(failure, "Is it mrtokend that listens there?");
}

struct request {
	bool is_post; /* else GET */
	const char *path;
	const char *accept;
	int64_t wait_s; /* that the daemon may wait; 0: it may not */
};

/* Returns CURLE_OK, or why libcurl lacks something that this needs. */
static CURLcode set_up(CURL *curl, const struct cli_options *options, const char *url,
	struct curl_slist *headers, struct collected *collected)
{
	const struct {
		CURLoption option;
		const char *value;
	} strings[] = {
		{CURLOPT_URL, url}, {CURLOPT_UNIX_SOCKET_PATH, options->socket_path},
		{CURLOPT_USERAGENT, "mrtoken/" PACKAGE_VERSION}, {CURLOPT_PROTOCOLS_STR, "http"},
		{CURLOPT_PROXY, ""}, /* whatever http_proxy says */
	};
	const struct {
		CURLoption option;
		long value;
	} numbers[] = {
		{CURLOPT_PATH_AS_IS, 1}, /* an account may be named ".." */
		{CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
		{CURLOPT_FOLLOWLOCATION, 0},
		{CURLOPT_NOSIGNAL, 1},
		{CURLOPT_TIMEOUT, (long)options->timeout_s},
	};
	CURLcode code = CURLE_OK;
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]) && code == CURLE_OK; i++)
		code = curl_easy_setopt(curl, strings[i].option, strings[i].value);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && code == CURLE_OK; i++)
		code = curl_easy_setopt(curl, numbers[i].option, numbers[i].value);
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_WRITEDATA, collected);
	return code;
}

/* A POST of nothing; libcurl would give it the type of a form. */
static CURLcode set_up_post(CURL *curl)
{
	CURLcode code = curl_easy_setopt(curl, CURLOPT_POST, 1L);
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
	return code != CURLE_OK ? code : curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
}

/* The request's own headers; NULL: no memory. */
static struct curl_slist *headers_of(const struct request *request)
{
	_cleanup_text_ struct text accept = {0};
	_cleanup_text_ struct text prefer = {0};
	text_appendf(&accept, "Accept: %s", request->accept);
	text_appendf(&prefer, "Prefer: wait=%lld", (long long)request->wait_s);
	if (text_string(&accept) == NULL || text_string(&prefer) == NULL)
		return NULL;
	struct curl_slist *headers = curl_slist_append(NULL, text_string(&accept));
	bool is_whole = headers != NULL;
	if (is_whole && request->is_post)
		is_whole = curl_slist_append(headers, "Content-Type:") != NULL;
	if (is_whole && request->wait_s > 0)
		is_whole = curl_slist_append(headers, text_string(&prefer)) != NULL;
	if (is_whole)
		return headers;
	curl_slist_free_all(headers);
	return NULL;
}

static int transfer(const struct cli_options *options, const struct request *request,
	struct daemon_answer *answer, struct cli_failure *failure)
{
	char *content_type = NULL;
	_cleanup_text_ struct text url = {0};
	text_appendf(&url, "http://localhost%s", request->path);
	if (text_string(&url) == NULL)
		return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for the request");
	struct collected collected = {.answer = answer};
	struct curl_slist *headers = headers_of(request);
	CURL *curl = curl_easy_init();
	int result = -1;
	CURLcode code = CURLE_FAILED_INIT;
	if (curl != NULL && headers != NULL)
		code = set_up(curl, options, text_string(&url), headers, &collected);
	if (code == CURLE_OK && request->is_post)
		code = set_up_post(curl);
	if (code != CURLE_OK) {
		cli_fail(failure, CLI_EXIT_FAILURE, "cannot prepare the request: %s",
			curl_easy_strerror(code));
	} else if ((code = curl_easy_perform(curl)) != CURLE_OK) {
		fail_transfer(curl, code, &collected, options, failure);
	} else {
		curl_off_t retry_after = 0;
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
		curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after);
		answer->retry_after_s = retry_after > 0 ? retry_after : -1;
		curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &content_type);
		snprintf(answer->content_type, sizeof(answer->content_type), "%s",
			content_type == NULL ? "" : content_type);
		result = 0;
	}
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	return result;
}

static int send_once(const struct cli_options *options, const struct request *request,
	bool holds_token, struct daemon_answer *answer, struct cli_failure *failure)
{
	struct daemon_answer got = {.retry_after_s = -1};
	if (holds_token) {
		got.secret = secret_new((size_t)4 << 10);
		if (got.secret == NULL)
			return cli_fail(failure, CLI_EXIT_FAILURE, "no memory for a secret");
	}
	/* No TLS is spoken here, so OpenSSL stays asleep: that halves the time to start. */
	if (curl_global_init_mem(CURL_GLOBAL_NOTHING, malloc, wiping_free, wiping_realloc, strdup,
		    calloc) != CURLE_OK) {
		daemon_answer_free(&got);
		return cli_fail(failure, CLI_EXIT_FAILURE, "libcurl cannot start");
	}
	int result = transfer(options, request, &got, failure);
	curl_global_cleanup();
	if (result == 0)
		*answer = got;
	else
		daemon_answer_free(&got);
	return result;
}

/*
 * How often, and after how long, it is asked again when the daemon cannot tell the unit of a
 * process that has just started: mrtokend(8).
 */
#define YOUNG_TRIES 3
#define YOUNG_PAUSE_NS (100L * 1000 * 1000)

static bool says_too_young(const struct daemon_answer *answer)
{
	static const char code[] = "\"unit_not_known_yet\"";
	size_t len = 0;
	const char *body = answer->status == 503 ? daemon_answer_body(answer, &len) : NULL;
	return body != NULL && memmem(body, len, code, sizeof(code) - 1) != NULL;
}

static int send_request(const struct cli_options *options, const struct request *request,
	bool holds_token, struct daemon_answer *answer, struct cli_failure *failure)
{
	for (int tries = 1;; tries++) {
		struct daemon_answer got = {0};
		if (send_once(options, request, holds_token, &got, failure) != 0)
			return -1;
		if (tries == YOUNG_TRIES || !says_too_young(&got)) {
			*answer = got;
			return 0;
		}
		daemon_answer_free(&got);
		nanosleep(&(struct timespec){.tv_nsec = YOUNG_PAUSE_NS}, NULL);
	}
}

int daemon_get(const struct cli_options *options, const char *path, const char *accept,
	bool holds_token, struct daemon_answer *answer, struct cli_failure *failure)
{
	const struct request request = {.path = path, .accept = accept};
	return send_request(options, &request, holds_token, answer, failure);
}

int daemon_post(const struct cli_options *options, const char *path, const char *accept,
	int64_t wait_s, struct daemon_answer *answer, struct cli_failure *failure)
{
	const struct request request = {
		.is_post = true,
		.path = path,
		.accept = accept,
		.wait_s = wait_s,
	};
	return send_request(options, &request, false, answer, failure);
}

const char *daemon_answer_body(const struct daemon_answer *answer, size_t *len)
{
	if (answer->secret != NULL) {
		*len = secret_len(answer->secret);
		return secret_bytes(answer->secret);
	}
	*len = answer->text.len;
	return text_string(&answer->text);
}

void daemon_answer_free(struct daemon_answer *answer)
{
	secret_free(answer->secret);
	text_free(&answer->text);
	*answer = (struct daemon_answer){0};
}
