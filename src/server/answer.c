#include "server/answer.h"

#include "base/log.h"
#include "base/text.h"
#include "server/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_ID_HEADER "X-Request-Id"
#define REQUEST_ID_LEN 16

#define JSON_TYPE "application/json; charset=utf-8"

/*
 * A ready answer is one response that all its requests share. Its identifier header has a fixed
 * width, and its value lies in memory of libmicrohttpd that `request_id` points to; writing there
 * just before the response is queued gives each request its own, because libmicrohttpd copies the
 * headers into the connection's buffer before it comes back to the event loop, on the one server
 * thread. The test `every_answer_has_its_own_request_id` holds libmicrohttpd to that.
 */
struct answer {
	struct MHD_Response *response;
	char *request_id;
	unsigned status;
};

static void write_request_id(uint64_t number, char *out)
{
	static const char digits[] = "0123456789abcdef";
	for (int i = REQUEST_ID_LEN - 1; i >= 0; i--) {
		out[i] = digits[number & 15];
		number >>= 4;
	}
}

/* The headers of every answer. Returns whether there was memory for them. */
static bool add_common_headers(struct MHD_Response *response, const char *content_type)
{
	return MHD_add_response_header(response, "Content-Type", content_type) == MHD_YES &&
	       MHD_add_response_header(response, "Cache-Control", "no-store") == MHD_YES &&
	       MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES;
}

void answer_free(struct answer *answer)
{
	if (answer == NULL)
		return;
	MHD_destroy_response(answer->response);
	free(answer);
}

/* `response` is taken over, and may be NULL; `etag` may be NULL. Returns NULL: no memory. */
static struct answer *answer_new(
	struct MHD_Response *response, unsigned status, const char *content_type, const char *etag)
{
	struct answer *answer = response == NULL ? NULL : calloc(1, sizeof(*answer));
	if (answer == NULL) {
		if (response != NULL)
			MHD_destroy_response(response);
		return NULL;
	}
	answer->response = response;
	answer->status = status;
	if (!add_common_headers(response, content_type) ||
		(etag != NULL &&
			(MHD_add_response_header(response, "ETag", etag) != MHD_YES ||
				MHD_add_response_header(response, "Vary", "Accept") != MHD_YES)) ||
		MHD_add_response_header(response, REQUEST_ID_HEADER, "0000000000000000") !=
			MHD_YES) {
		answer_free(answer);
		return NULL;
	}
	answer->request_id = (char *)MHD_get_response_header(response, REQUEST_ID_HEADER);
	return answer;
}

static void free_body(void *body)
{
	secret_free(body);
}

static void *answer_make(enum representation representation, struct secret *body, const char *etag)
{
	static const char *const content_types[REPRESENTATION_COUNT] = {
		[REPRESENTATION_JSON] = JSON_TYPE,
		[REPRESENTATION_TEXT] = "text/plain; charset=utf-8",
		[REPRESENTATION_HEADER] = "text/plain; charset=utf-8",
		[REPRESENTATION_STS] = JSON_TYPE,
	};
	struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
		secret_len(body), (void *)secret_bytes(body), free_body, body);
	if (response == NULL)
		secret_free(body);
	return answer_new(response, MHD_HTTP_OK, content_types[representation], etag);
}

static void answer_release(void *object)
{
	answer_free(object);
}

const struct answer_maker server_answer_maker = {
	.make = answer_make,
	.release = answer_release,
};

enum MHD_Result answer_send_ready(struct request *request, struct answer *answer)
{
	write_request_id(request->number, answer->request_id);
	return MHD_queue_response(request->connection, answer->status, answer->response);
}

struct answer *answer_new_no_memory(void)
{
	static char body[] =
		"{\"error\":{\"code\":\"no_memory\",\"message\":\"the daemon is out of memory; "
		"ask again\",\"account\":null,\"retry_after\":1}}\n";
	struct answer *answer = answer_new(
		MHD_create_response_from_buffer(sizeof(body) - 1, body, MHD_RESPMEM_PERSISTENT),
		MHD_HTTP_SERVICE_UNAVAILABLE, JSON_TYPE, NULL);
	if (answer == NULL ||
		MHD_add_response_header(answer->response, "Retry-After", "1") == MHD_YES)
		return answer;
	answer_free(answer);
	return NULL;
}

enum MHD_Result answer_send_no_memory(struct request *request)
{
	log_error("out of memory: request %016" PRIx64 " was answered with 503 no_memory",
		request->number);
	return answer_send_ready(request, request->no_memory);
}

/* Make and queue an answer for this request alone; `extra` is name, value, name, ..., NULL. */
static enum MHD_Result send_text(struct request *request, unsigned status, const char *body,
	const char *content_type, const char *const *extra)
{
	char id[REQUEST_ID_LEN + 1] = {0};
	write_request_id(request->number, id);
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(body), (void *)body, MHD_RESPMEM_MUST_COPY);
	if (response == NULL)
		return MHD_NO;
	bool is_complete = add_common_headers(response, content_type) &&
			   MHD_add_response_header(response, REQUEST_ID_HEADER, id) == MHD_YES;
	for (size_t i = 0; extra[i] != NULL; i += 2)
		is_complete = is_complete &&
			      MHD_add_response_header(response, extra[i], extra[i + 1]) == MHD_YES;
	enum MHD_Result result =
		is_complete ? MHD_queue_response(request->connection, status, response) : MHD_NO;
	MHD_destroy_response(response);
	return result;
}

/* The JSON as one line, for free(); NULL: no memory. `body` is empty then. */
static char *line_of(struct json_out *body)
{
	text_append(&body->text, "\n");
	char *line = text_steal(&body->text);
	text_free(&body->text);
	return line;
}

struct answer *answer_new_json(unsigned status, struct json_out *body)
{
	char *line = line_of(body);
	if (line == NULL)
		return NULL;
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(line), line, MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		free(line);
	return answer_new(response, status, JSON_TYPE, NULL);
}

static enum MHD_Result send_json_with(
	struct request *request, unsigned status, struct json_out *body, const char *const *extra)
{
	char *line = line_of(body);
	enum MHD_Result result =
		line == NULL ? MHD_NO : send_text(request, status, line, JSON_TYPE, extra);
	free(line);
	return result == MHD_YES ? result : answer_send_no_memory(request);
}

enum MHD_Result answer_send_json(struct request *request, unsigned status, struct json_out *body)
{
	const char *const nothing[] = {NULL};
	return send_json_with(request, status, body, nothing);
}

#define EXTRA_MAX 7

/* The error object; and its headers as name, value, name, ..., NULL. */
static void put_error(struct json_out *body, const struct answer_error *error,
	const char *extra[EXTRA_MAX], char *seconds, size_t seconds_size)
{
	size_t extras = 0;
	json_out_begin(body, NULL, '{');
	json_out_begin(body, "error", '{');
	json_out_string(body, "code", error->code);
	json_out_string(body, "message", error->message);
	json_out_string(body, "account", error->account);
	json_out_number(body, "retry_after", error->retry_after_s >= 0, error->retry_after_s);
	json_out_end(body, '}');
	json_out_end(body, '}');
	if (error->retry_after_s >= 0) {
		snprintf(seconds, seconds_size, "%" PRId64, error->retry_after_s);
		extra[extras++] = "Retry-After";
		extra[extras++] = seconds;
	}
	if (error->allow != NULL) {
		extra[extras++] = "Allow";
		extra[extras++] = error->allow;
	}
	if (error->is_last) {
		extra[extras++] = "Connection";
		extra[extras++] = "close";
	}
	extra[extras] = NULL;
}

enum MHD_Result answer_send_error(struct request *request, const struct answer_error *error)
{
	const char *extra[EXTRA_MAX];
	char seconds[24];
	struct json_out body = {0};
	put_error(&body, error, extra, seconds, sizeof(seconds));
	return send_json_with(request, error->status, &body, extra);
}

struct answer *answer_new_error(const struct answer_error *error)
{
	const char *extra[EXTRA_MAX];
	char seconds[24];
	struct json_out body = {0};
	put_error(&body, error, extra, seconds, sizeof(seconds));
	struct answer *answer = answer_new_json(error->status, &body);
	for (size_t i = 0; answer != NULL && extra[i] != NULL; i += 2) {
		if (MHD_add_response_header(answer->response, extra[i], extra[i + 1]) != MHD_YES) {
			answer_free(answer);
			answer = NULL;
		}
	}
	return answer;
}
