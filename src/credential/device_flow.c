#include "credential/device_flow.h"

#include "base/detail.h"
#include "base/json_answer.h"

#include <stdio.h>
#include <string.h>

/* RFC 8628, 3.5: with each "slow_down" the interval is longer by this, for good. */
#define SLOW_DOWN_MS (INT64_C(5) * 1000)

/* Whether the string has 1 to `max` characters, all of them printable and none of them a space. */
static bool is_word(const char *string, size_t max)
{
	if (string == NULL || string[0] == '\0' || strlen(string) > max)
		return false;
	for (; *string != '\0'; string++)
		if (*string < 0x21 || *string > 0x7e)
			return false;
	return true;
}

static bool is_sentence(const char *string, size_t max)
{
	if (string == NULL || strlen(string) > max)
		return false;
	for (; *string != '\0'; string++)
		if (*string < 0x20 || *string > 0x7e)
			return false;
	return true;
}

/*
 * What the person is told: the service's own words if they are fit to be shown and hold all that
 * is needed, else ours.
 */
static void word_message(
	struct account_login *shown, const char *message, const struct secret *device_code)
{
	if (is_sentence(message, ACCOUNT_LOGIN_MESSAGE_MAX) &&
		strstr(message, shown->user_code) != NULL &&
		strstr(message, shown->verification_uri) != NULL &&
		!detail_repeats(device_code, 0, message, strlen(message)))
		snprintf(shown->message, sizeof(shown->message), "%s", message);
	else
		snprintf(shown->message, sizeof(shown->message),
			"To log in, open %s in a web browser and enter the code %s",
			shown->verification_uri, shown->user_code);
}

/* A number of seconds between two bounds, which moves what is beyond them. */
static int read_seconds(struct json_object *answer, const char *member, int64_t min, int64_t max,
	int64_t *seconds, struct error *err)
{
	int64_t number = *seconds;
	if (json_answer_number(answer, member, &number, err) < 0)
		return -1;
	*seconds = number < min ? min : number > max ? max : number;
	return 0;
}

int device_flow_begin(struct device_flow *flow, struct json_object *answer, int64_t sent_ms,
	struct account_login *shown, struct secret **device_code, struct error *err)
{
	int64_t interval_s = DEVICE_FLOW_INTERVAL_S;
	int64_t lifetime_s = DEVICE_FLOW_LIFETIME_S;
	const char *user_code = json_answer_string(answer, "user_code");
	const char *uri = json_answer_string(answer, "verification_uri");
	if (!is_word(user_code, ACCOUNT_LOGIN_CODE_MAX))
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"the body's member user_code is no code that a person could enter");
	if (!is_word(uri, ACCOUNT_LOGIN_URI_MAX) || strncmp(uri, "https://", 8) != 0)
		return error_set(err, ERR_UPSTREAM_FORMAT,
			"the body's member verification_uri is no address with https");
	if (read_seconds(answer, "interval", DEVICE_FLOW_INTERVAL_MIN_S, DEVICE_FLOW_INTERVAL_MAX_S,
		    &interval_s, err) != 0 ||
		read_seconds(
			answer, "expires_in", 0, DEVICE_FLOW_LIFETIME_MAX_S, &lifetime_s, err) != 0)
		return -1;
	struct secret *code = json_answer_secret(answer, "device_code", err);
	if (code == NULL)
		return -1;
	*flow = (struct device_flow){
		.interval_ms = interval_s * 1000,
		.expires_ms = sent_ms + lifetime_s * 1000,
	};
	*shown = (struct account_login){
		.state = ACCOUNT_LOGIN_PENDING,
		.expires_ms = flow->expires_ms,
		.interval_s = interval_s,
		.error = ERROR_INIT,
	};
	snprintf(shown->user_code, sizeof(shown->user_code), "%s", user_code);
	snprintf(shown->verification_uri, sizeof(shown->verification_uri), "%s", uri);
	word_message(shown, json_answer_string(answer, "message"), code);
	*device_code = code;
	return 0;
}

/* At the end of the code at the latest, to say that it has come. */
static int64_t at_the_latest(const struct device_flow *flow, int64_t due_ms)
{
	return due_ms < flow->expires_ms ? due_ms : flow->expires_ms;
}

int64_t device_flow_first_ms(const struct device_flow *flow, int64_t now_ms)
{
	return at_the_latest(flow, now_ms + flow->interval_ms);
}

bool device_flow_has_expired(const struct device_flow *flow, int64_t now_ms, struct error *failure)
{
	if (now_ms < flow->expires_ms)
		return false;
	error_set(failure, ERR_TIMEOUT,
		"the code expired before anybody had signed in with it; begin again");
	return true;
}

/* How long to leave the service alone after another fault in a row. */
static int64_t fault_wait_ms(const struct device_flow *flow, const struct error *err)
{
	int64_t wait_ms = flow->interval_ms;
	for (unsigned i = 0; i < flow->faults && wait_ms < DEVICE_FLOW_FAULT_MAX_MS; i++)
		wait_ms *= 2;
	if (wait_ms > DEVICE_FLOW_FAULT_MAX_MS && flow->interval_ms < DEVICE_FLOW_FAULT_MAX_MS)
		wait_ms = DEVICE_FLOW_FAULT_MAX_MS;
	/* Beyond the code's end it says no more than that the flow ends there. */
	int64_t asked_ms = err->retry_after_s > DEVICE_FLOW_LIFETIME_MAX_S
				   ? DEVICE_FLOW_LIFETIME_MAX_S * 1000
				   : err->retry_after_s * 1000;
	return asked_ms > wait_ms ? asked_ms : wait_ms;
}

static const struct {
	const char *error;
	const char *words;
} ends[] = {
	{"authorization_declined", "the sign-in was declined"},
	{"access_denied", "the sign-in was declined"}, /* RFC 8628's word for it */
	{"expired_token", "the code expired before anybody had signed in with it; begin again"},
	{"bad_verification_code", "the service does not know the code any more; begin again"},
};

int64_t device_flow_next_ms(struct device_flow *flow, int64_t now_ms, const struct error *err,
	const struct entra_error *error, struct error *failure)
{
	if (strcmp(error->error, "authorization_pending") == 0 ||
		strcmp(error->error, "slow_down") == 0) {
		flow->faults = 0;
		if (error->error[0] == 's')
			flow->interval_ms += SLOW_DOWN_MS;
		return at_the_latest(flow, now_ms + flow->interval_ms);
	}
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		if (strcmp(error->error, ends[i].error) != 0)
			continue;
		*failure = *err;
		error_wrap(failure, "%s", ends[i].words);
		return -1;
	}
	if (error_class_of(err->code) == ERROR_CLASS_RETRY) {
		flow->faults++;
		return at_the_latest(flow, now_ms + fault_wait_ms(flow, err));
	}
	*failure = *err;
	error_wrap(failure, "the sign-in failed");
	return -1;
}
