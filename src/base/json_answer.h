/*
 * Reading what services and tools answer in JSON: strictly, bounded, with messages that say what
 * was found. Any thread. The bytes may hold a token, so no message repeats them.
 */
#ifndef MRTOKEND_BASE_JSON_ANSWER_H
#define MRTOKEND_BASE_JSON_ANSWER_H

#include "base/error.h"
#include "base/http_client.h"
#include "base/secret.h"

#include <json-c/json.h>
#include <stdint.h>

/* What a status other than success is. */
enum error_code json_answer_code_of_status(int status);

/*
 * The object that the body is, and nothing behind it.
 * Returns NULL with *err: ERR_UPSTREAM_FORMAT, ERR_NO_MEMORY. Release with json_object_put().
 */
struct json_object *json_answer_parse(const struct secret *body, struct error *err);

/*
 * As json_answer_parse(), of an answer whose Content-Type must be application/json.
 * shown  what of the request must not be repeated in a message, or NULL
 */
struct json_object *json_answer_of_response(
	const struct http_response *response, const struct secret *shown, struct error *err);

/*
 * The member, which must be a string that is not empty. A copy in secret memory.
 * Returns NULL with *err that names the member.
 */
struct secret *json_answer_secret(
	struct json_object *object, const char *member, struct error *err);

/* The member if it is a string, else NULL. Owned by the object. Never for what may be secret. */
const char *json_answer_string(struct json_object *object, const char *member);

/*
 * The member as a number from 0 on: a JSON integer, a fraction (cut), or a string of digits, as
 * services spell times.
 * Returns 0; or 1 when there is no such member or it is null; or -1 with *err that names it.
 */
int json_answer_number(
	struct json_object *object, const char *member, int64_t *number, struct error *err);

#endif
