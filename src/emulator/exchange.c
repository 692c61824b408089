#include "emulator/exchange.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void set_date(struct emulator *emulator, struct answer *answer)
{
	char date[40];
	struct tm utc;
	time_t now = (time_t)emulator_now_s(emulator);
	if (gmtime_r(&now, &utc) != NULL &&
		strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc) > 0)
		answer_set_header(answer, "Date", date);
}

bool exchange_begin(
	struct exchange *exchange, const char *account, bool gives_token, const char *complaint)
{
	struct emulator *emulator = exchange->emulator;
	struct answer *answer = exchange->answer;
	struct fault *fault = faults_take(emulator->faults, exchange->server, account, gives_token);
	exchange->fault = fault;
	answer->log_note = complaint;
	answer->log_fault = fault == NULL ? NULL : fault->name;
	exchange->number = record_add(emulator->record, server_kinds[exchange->server]->name,
		exchange->request, answer->log_fault, complaint);
	if (fault != NULL && fault->delay_ms > 0 && stop_wait(&emulator->stop, fault->delay_ms))
		answer->delivery = DELIVERY_NONE;
	else if (fault != NULL && fault->action == FAULT_RESET && fault->at == FAULT_AT_HEADERS)
		answer->delivery = DELIVERY_RESET;
	else
		set_date(emulator, answer);
	return answer->delivery == DELIVERY_WHOLE;
}

bool exchange_is_scripted(const struct exchange *exchange)
{
	return exchange->fault != NULL && fault_replaces_answer(exchange->fault);
}

int64_t exchange_lifetime_s(const struct exchange *exchange, int64_t usual_s)
{
	return exchange->fault != NULL && exchange->fault->action == FAULT_TOKEN
		       ? exchange->fault->lifetime_s
		       : usual_s;
}

bool exchange_repeats_token(const struct exchange *exchange)
{
	return exchange->fault != NULL && exchange->fault->action == FAULT_SAME_TOKEN;
}

static void apply_fault(const struct fault *fault, struct answer *answer)
{
	static const enum delivery deliveries[] = {
		[FAULT_RESET] = DELIVERY_RESET_MID,
		[FAULT_TRUNCATE] = DELIVERY_TRUNCATED,
		[FAULT_SLOW_BODY] = DELIVERY_SLOW,
		[FAULT_OVERSIZE] = DELIVERY_PADDED,
		[FAULT_TOKEN] = DELIVERY_WHOLE, /* the last: gives the table its size */
	};
	if ((fault->members & FAULT_HAS_BODY) != 0) {
		text_free(&answer->body);
		text_append_bytes(&answer->body, fault->body.data, fault->body.len);
		answer_set_header(answer, "Content-Type", "application/json; charset=utf-8");
	}
	answer->delivery = deliveries[fault->action];
	answer->padded_len = (uint64_t)fault->size;
	answer->pause_ms = fault->pause_ms;
	if (fault->content_type != NULL)
		answer_set_header(answer, "Content-Type", fault->content_type);
	else if (fault->action == FAULT_WRONG_TYPE)
		answer_set_header(answer, "Content-Type", "text/html; charset=utf-8");
	for (size_t i = 0; i < fault->header_count; i++)
		answer_set_header(answer, fault->headers[i].name, fault->headers[i].value);
}

void exchange_end(struct exchange *exchange)
{
	struct answer *answer = exchange->answer;
	if (answer->delivery == DELIVERY_WHOLE) {
		if (exchange->fault != NULL)
			apply_fault(exchange->fault, answer);
		record_answered(exchange->emulator->record, exchange->number, answer->status);
	}
	fault_unref(exchange->fault);
	exchange->fault = NULL;
}

bool exchange_resets(struct emulator *emulator, enum server_index server)
{
	return faults_take_connection(emulator->faults, server);
}

const char *exchange_check_protocol(const struct request *request)
{
	size_t hosts = 0;
	const char *host = request_header(request, "Host", &hosts);
	if (strcmp(request->version, "HTTP/1.1") != 0)
		return "The protocol is not HTTP/1.1.";
	if (hosts != 1 || *host == '\0')
		return "There is not exactly one Host header.";
	return NULL;
}

const char *exchange_check_no_body(const struct request *request)
{
	size_t count = 0;
	const char *length = request_header(request, "Content-Length", &count);
	if (count > 1 || (count == 1 && strcmp(length, "0") != 0) || request->body.len > 0 ||
		request->body_is_cut || request_header(request, "Transfer-Encoding", NULL) != NULL)
		return "The request has a body.";
	return NULL;
}
