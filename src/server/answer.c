#include "server/answer.h"

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

/* The object as one line, for free(); NULL: no memory. `body` is released. */
static char *line_of(struct json_object *body)
{
	const char *string = json_object_to_json_string_ext(
		body, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	struct text line = {0};
	if (string != NULL) {
		text_append(&line, string);
		text_append(&line, "\n");
	}
	json_object_put(body);
	return string == NULL ? NULL : text_steal(&line);
}

struct answer *answer_new_json(unsigned status, struct json_object *body)
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

static enum MHD_Result send_json_with(struct request *request, unsigned status,
	struct json_object *body, const char *const *extra)
{
	char *line = line_of(body);
	enum MHD_Result result =
		line == NULL ? MHD_NO : send_text(request, status, line, JSON_TYPE, extra);
	free(line);
	return result;
}

enum MHD_Result answer_send_json(struct request *request, unsigned status, struct json_object *body)
{
	const char *const nothing[] = {NULL};
	return send_json_with(request, status, body, nothing);
}

#define EXTRA_MAX 7

/* The error object; and its headers as name, value, name, ..., NULL. */
static struct json_object *error_object(const struct answer_error *error,
	const char *extra[EXTRA_MAX], char *seconds, size_t seconds_size)
{
	struct json_object *root = json_object_new_object();
	struct json_object *object = json_object_new_object();
	size_t extras = 0;
	json_object_object_add(root, "error", object);
	json_object_object_add(object, "code", json_object_new_string(error->code));
	json_object_object_add(object, "message", json_object_new_string(error->message));
	json_object_object_add(object, "account",
		error->account == NULL ? NULL : json_object_new_string(error->account));
	json_object_object_add(object, "retry_after",
		error->retry_after_s < 0 ? NULL : json_object_new_int64(error->retry_after_s));
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
	return root;
}

enum MHD_Result answer_send_error(struct request *request, const struct answer_error *error)
{
	const char *extra[EXTRA_MAX];
	char seconds[24];
	struct json_object *body = error_object(error, extra, seconds, sizeof(seconds));
	return send_json_with(request, error->status, body, extra);
}

struct answer *answer_new_error(const struct answer_error *error)
{
	const char *extra[EXTRA_MAX];
	char seconds[24];
	struct json_object *body = error_object(error, extra, seconds, sizeof(seconds));
	struct answer *answer = answer_new_json(error->status, body);
	for (size_t i = 0; answer != NULL && extra[i] != NULL; i += 2) {
		if (MHD_add_response_header(answer->response, extra[i], extra[i + 1]) != MHD_YES) {
			answer_free(answer);
			answer = NULL;
		}
	}
	return answer;
}
