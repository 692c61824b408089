#include "base/http_origin.h"

#include "base/json_answer.h"
#include "base/log.h"
#include "base/message_id.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* How long the part of `url` is that names the origin; the usual port is no part of it. */
static size_t name_len(const char *url)
{
	static const char usual[] = ":443";
	const char *host = strstr(url, "://");
	if (host == NULL)
		return strlen(url);
	size_t len = (size_t)(host - url) + 3 + strcspn(host + 3, "/?#");
	size_t port_len = sizeof(usual) - 1;
	if (strncasecmp(url, "https:", 6) == 0 && len > port_len &&
		memcmp(url + len - port_len, usual, port_len) == 0)
		len -= port_len;
	return len;
}

struct http_origin *http_origin_of(
	struct http_origin **list, const struct http_request *request, const struct clock *clock)
{
	size_t len = name_len(request->url);
	for (struct http_origin *o = *list; o != NULL; o = o->next)
		if (strlen(o->name) == len && strncasecmp(o->name, request->url, len) == 0 &&
			o->has_circuit == !request->is_for_host)
			return o;
	struct http_origin *origin = calloc(1, sizeof(*origin));
	if (origin == NULL)
		return NULL;
	origin->name = strndup(request->url, len);
	if (origin->name == NULL) {
		free(origin);
		return NULL;
	}
	for (char *c = origin->name; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c |= 0x20;
	origin->clock = clock;
	origin->has_circuit = !request->is_for_host;
	origin->last = ERROR_INIT;
	origin->last_waiting = &origin->first_waiting;
	origin->next = *list;
	*list = origin;
	return origin;
}

void http_origin_free(struct http_origin *origin)
{
	free(origin->name);
	free(origin);
}

enum circuit_verdict http_origin_ask(struct http_origin *origin, uint64_t *probe)
{
	*probe = 0;
	if (!origin->has_circuit)
		return CIRCUIT_PASS;
	return circuit_ask(&origin->circuit, clock_boottime_ms(origin->clock), probe);
}

/* A moment of CLOCK_BOOTTIME for people, in UTC by what this host believes now. */
static void write_time(const struct http_origin *origin, int64_t at_ms, char out[32])
{
	int64_t away_ms = at_ms - clock_boottime_ms(origin->clock);
	time_t at_s = (time_t)(clock_realtime_s(origin->clock) + away_ms / 1000);
	struct tm at;
	if (gmtime_r(&at_s, &at) == NULL || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &at) == 0)
		snprintf(out, 32, "an unknown time");
}

bool http_origin_refuses(const struct http_origin *origin, struct error *err)
{
	const struct circuit *circuit = &origin->circuit;
	const struct error *last = &origin->last;
	int64_t now_ms = clock_boottime_ms(origin->clock);
	char since[32];
	char until[32];
	if (!origin->has_circuit || !circuit_refuses(circuit, now_ms))
		return false;
	int64_t left_ms = circuit->until_ms - now_ms;
	write_time(origin, circuit->since_ms, since);
	write_time(origin, circuit->until_ms, until);
	error_set(err, last->code,
		"nothing is sent to %s until %s, in %.1f s, for the last %u requests to it have "
		"failed, since %s; then one request will show whether it answers again; the last "
		"failure: %s",
		origin->name, until, (double)left_ms / 1000, circuit->failures, since,
		last->message);
	err->http_status = last->http_status;
	memcpy(err->correlation_vector, last->correlation_vector, sizeof(err->correlation_vector));
	memcpy(err->upstream_code, last->upstream_code, sizeof(err->upstream_code));
	memcpy(err->correlation_id, last->correlation_id, sizeof(err->correlation_id));
	err->retry_after_s = (left_ms + 999) / 1000;
	err->spread_ms = circuit->spread_ms;
	return true;
}

static void origin_succeeded(struct http_origin *origin)
{
	int64_t since_ms = origin->circuit.since_ms;
	unsigned failures = origin->circuit.failures;
	const struct log_field fields[] = {
		{"MESSAGE_ID", MESSAGE_CIRCUIT_CLOSED},
		{"UPSTREAM", origin->name},
		{0},
	};
	if (circuit_succeeded(&origin->circuit))
		log_event(LOG_LEVEL_NOTICE, fields,
			"%s answers again, after %.1f s and %u requests that failed: requests are "
			"sent to it as they come",
			origin->name, (double)(clock_boottime_ms(origin->clock) - since_ms) / 1000,
			failures);
}

void http_origin_failed(struct http_origin *origin, uint64_t probe, const struct error *err)
{
	struct circuit *circuit = &origin->circuit;
	int64_t now_ms = clock_boottime_ms(origin->clock);
	if (!origin->has_circuit)
		return;
	origin->last = *err;
	if (!circuit_failed(circuit, now_ms, probe, err->retry_after_s, random_part()))
		return;
	const struct log_field fields[] = {
		{"MESSAGE_ID", MESSAGE_CIRCUIT_OPENED},
		{"UPSTREAM", origin->name},
		{"ERROR_CODE", error_code_name(err->code)},
		{"MS_CV", err->correlation_vector[0] == '\0' ? NULL : err->correlation_vector},
		{0},
	};
	double wait_s = (double)(circuit->until_ms - now_ms) / 1000;
	if (circuit->openings == 1)
		log_event(LOG_LEVEL_WARNING, fields,
			"%s: %u requests in a row have failed; further ones fail at once, until "
			"one is sent in %.1f s to see whether it answers again; the last failure: "
			"%s",
			origin->name, circuit->failures, wait_s, err->message);
	else
		log_event(LOG_LEVEL_INFO, fields + 1,
			"%s still fails, for %.1f s now and %u requests; the next one is sent in "
			"%.1f s; the last failure: %s",
			origin->name, (double)(now_ms - circuit->since_ms) / 1000,
			circuit->failures, wait_s, err->message);
}

void http_origin_answered(
	struct http_origin *origin, uint64_t probe, const struct http_response *response)
{
	struct error err = ERROR_INIT;
	if (!origin->has_circuit)
		return;
	if (response->status < 500) {
		origin_succeeded(origin);
		return;
	}
	error_set(&err, json_answer_code_of_status(response->status), "%s answered %d%s%s%s%s",
		origin->name, response->status, response->upstream_code[0] == '\0' ? "" : " ",
		response->upstream_code, response->correlation_vector[0] == '\0' ? "" : ", MS-CV ",
		response->correlation_vector);
	err.http_status = response->status;
	err.retry_after_s = response->retry_after_s;
	memcpy(err.correlation_vector, response->correlation_vector,
		sizeof(err.correlation_vector));
	memcpy(err.upstream_code, response->upstream_code, sizeof(err.upstream_code));
	http_origin_failed(origin, probe, &err);
}

bool http_origin_abandoned(struct http_origin *origin, uint64_t probe)
{
	return circuit_abandoned(&origin->circuit, clock_boottime_ms(origin->clock), probe);
}
