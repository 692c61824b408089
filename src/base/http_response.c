#include "base/http_response.h"

#include "base/detail.h"
#include "base/text.h"

#include <string.h>
#include <time.h>

#define CORRELATION_PART_MAX 24 /* the longest part has 22 */

static void copy_header(CURL *easy, const char *name, char *out, size_t out_size)
{
	struct curl_header *header = NULL;
	out[0] = '\0';
	if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
		return;
	size_t len = strlen(header->value);
	if (len >= out_size)
		len = out_size - 1;
	memcpy(out, header->value, len);
	out[len] = '\0';
	error_make_printable(out);
}

int64_t http_retry_after_s(const char *value, int64_t now_s)
{
	int64_t seconds = -1;
	if (parse_integer(value, 0, INT32_MAX, &seconds) == 0)
		return seconds;
	time_t date = curl_getdate(value, NULL);
	if (date == -1)
		return -1;
	return date > now_s ? date - now_s : 0;
}

static int64_t read_retry_after(CURL *easy, int64_t server_date_s)
{
	char value[64];
	int64_t number;
	/* azure-core reads these three, in this order. Source: azure-protocol.md G. */
	copy_header(easy, "Retry-After", value, sizeof(value));
	int64_t now_s = server_date_s >= 0 ? server_date_s : (int64_t)time(NULL);
	if (value[0] != '\0' && http_retry_after_s(value, now_s) >= 0)
		return http_retry_after_s(value, now_s);
	copy_header(easy, "retry-after-ms", value, sizeof(value));
	if (parse_integer(value, 0, INT32_MAX, &number) == 0)
		return (number + 999) / 1000;
	copy_header(easy, "x-ms-retry-after-ms", value, sizeof(value));
	if (parse_integer(value, 0, INT32_MAX, &number) == 0)
		return (number + 999) / 1000;
	return -1;
}

void http_response_read(CURL *easy, struct http_response *response)
{
	char date[64];
	long status = 0;
	*response = (struct http_response){.server_date_s = -1};
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	response->status = (int)status;
	copy_header(easy, "Content-Type", response->content_type, sizeof(response->content_type));
	copy_header(
		easy, "MS-CV", response->correlation_vector, sizeof(response->correlation_vector));
	copy_header(easy, "WWW-Authenticate", response->challenge, sizeof(response->challenge));
	copy_header(easy, "Date", date, sizeof(date));
	if (date[0] != '\0')
		response->server_date_s = curl_getdate(date, NULL);
	response->retry_after_s = read_retry_after(easy, response->server_date_s);
}

/*
 * A correlation vector is base64 and counters, between dots, none of them long: nothing that could
 * hide a key. Source: azure-protocol.md A.
 */
static bool is_correlation_vector(const char *value)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t part = strspn(value, alphabet);
	while (part > 0 && part <= CORRELATION_PART_MAX && value[part] == '.') {
		value += part + 1;
		part = strspn(value, alphabet);
	}
	if (part == 0 || part > CORRELATION_PART_MAX)
		return false;
	return value[part] == '\0' || strcmp(value + part, "!") == 0; /* '!' ends one for good */
}

void http_response_vet(
	struct http_response *response, const struct secret *line, const struct secret *form)
{
	const char *vector = response->correlation_vector;
	size_t len = strlen(vector);
	if (!is_correlation_vector(vector) || detail_repeats(line, 0, vector, len) ||
		detail_repeats(form, 0, vector, len))
		response->correlation_vector[0] = '\0';
}
