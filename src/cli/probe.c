#include "cli/probe.h"

#include "base/clock.h"
#include "base/loop.h"
#include "cli/duration.h"
#include "cli/output.h"
#include "credential/shared_token.h"
#include "upstream/upstream.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct probe {
	const struct config_account *account;
	struct loop *loop;
	int64_t end_ms;
	bool is_done;
	bool has_token;
	int64_t life_ms;
	char notice[256];
	struct error err;
};

static int say(struct cli_failure *failure, const char *what, const char *words)
{
	_cleanup_text_ struct text line = {0};
	text_appendf(&line, "%s: %s\n", what, words);
	return output_text(&line, failure);
}

static void on_token(void *context, struct access_token *token, const struct error *err)
{
	struct probe *probe = context;
	probe->is_done = true;
	probe->has_token = token != NULL;
	if (token == NULL) {
		probe->err = *err;
		return;
	}
	probe->life_ms = token->is_account_key ? -1 : token->dead_at_ms - loop_now_ms(probe->loop);
	memcpy(probe->notice, token->notice, sizeof(probe->notice));
}

static void on_exchange(void *context, struct upstream_token *token, const struct error *err)
{
	struct probe *probe = context;
	probe->is_done = true;
	probe->has_token = token != NULL;
	if (token == NULL)
		probe->err = *err;
	else if (token->dead_at_ms != 0)
		probe->life_ms = token->dead_at_ms - loop_now_ms(probe->loop);
	else
		probe->life_ms = 1000 * (token->expires_on -
						(token->server_date_s >= 0
								? token->server_date_s
								: clock_realtime_s(&clock_system)));
}

/* Run the loop until something is done. Returns whether it was, within the time. */
static bool wait_until_done(struct probe *probe)
{
	int64_t left_ms;
	while (!probe->is_done && (left_ms = probe->end_ms - loop_now_ms(probe->loop)) > 0)
		loop_run(probe->loop, left_ms);
	if (!probe->is_done)
		error_set(&probe->err, ERR_TIMEOUT,
			"there was no answer in time; --timeout SECONDS waits longer");
	return probe->is_done;
}

/* Did this credential give a token? It says so, or why not. */
static bool ask_credential(
	struct probe *probe, struct credential *credential, struct cli_failure *failure)
{
	char what[64];
	char words[512];
	struct token_wait *wait;
	const char *scope = probe->account->settings.scope;
	snprintf(what, sizeof(what), "credential %s", credential->kind->name);
	probe->is_done = probe->has_token = false;
	probe->err = ERROR_INIT;
	wait = shared_token_ask(credential, scope == NULL ? "" : scope, true, probe->loop, on_token,
		probe, &probe->err);
	if (wait != NULL && !wait_until_done(probe))
		shared_token_cancel(wait);
	if (!probe->has_token) {
		_cleanup_text_ struct text line = {0};
		text_appendf(&line, "%s: %s",
			probe->err.code == ERR_UNAVAILABLE ? "not available here" : "failed",
			probe->err.message);
		say(failure, what, text_string(&line) == NULL ? "failed" : text_string(&line));
		return false;
	}
	char life[DURATION_WORDS_SIZE];
	duration_words(probe->life_ms / 1000, "no time", life);
	if (probe->life_ms < 0)
		snprintf(words, sizeof(words), "there is a key");
	else
		snprintf(words, sizeof(words), "gave a token%s%.256s that is valid for %s",
			scope == NULL ? "" : " for ", scope == NULL ? "" : scope, life);
	say(failure, what, words);
	if (probe->notice[0] != '\0')
		say(failure, what, probe->notice);
	return true;
}

/* What the upstream makes of it. The credential remembers its token, and is not asked again. */
static bool ask_upstream(
	struct probe *probe, struct credential *credential, struct cli_failure *failure)
{
	const struct config_account *account = probe->account;
	char what[320];
	char words[128];
	char life[DURATION_WORDS_SIZE];
	snprintf(what, sizeof(what), "upstream %s%s%.256s", account->upstream->kind,
		account->settings.endpoint == NULL ? "" : " at ",
		account->settings.endpoint == NULL ? "" : account->settings.endpoint);
	probe->is_done = probe->has_token = false;
	probe->err = ERROR_INIT;
	struct upstream_exchange *exchange = account->upstream->start(
		&account->settings, credential, probe->loop, on_exchange, probe);
	if (exchange != NULL && !wait_until_done(probe))
		account->upstream->cancel(exchange);
	if (!probe->has_token) {
		_cleanup_text_ struct text line = {0};
		text_appendf(&line, "failed: %s", probe->err.message);
		say(failure, what, text_string(&line) == NULL ? "failed" : text_string(&line));
		return false;
	}
	duration_words(probe->life_ms / 1000, "no time", life);
	snprintf(words, sizeof(words), "gave a token that is valid for %s", life);
	say(failure, what, words);
	return true;
}

/* The daemon would run it as its own user, which root is not. */
static bool would_run_as_root(const struct probe *probe, const struct credential *member)
{
	const struct credential_settings *settings = &probe->account->credential;
	return geteuid() == 0 && settings->run_as == NULL &&
	       (member->kind->is_developer_tool ||
		       (member->kind == &credential_client_assertion &&
			       settings->client_assertion_command != NULL));
}

static void say_not_tried(const struct credential *member, struct cli_failure *failure)
{
	char what[64];
	snprintf(what, sizeof(what), "credential %s", member->kind->name);
	say(failure, what,
		"not tried: it runs a program as the daemon's own user, and this is root; run this "
		"as that user, such as by sudo -u mrtokend, or set run_as");
}

static int run_probe(
	struct probe *probe, struct credential *credential, struct cli_failure *failure)
{
	struct credential *const alone[] = {credential};
	struct credential *const *members = alone;
	size_t count = 1;
	if (credential->kind->members != NULL)
		members = credential->kind->members(credential, &count);
	for (size_t i = 0; i < count; i++) {
		if (would_run_as_root(probe, members[i])) {
			say_not_tried(members[i], failure);
			continue;
		}
		if (ask_credential(probe, members[i], failure)) {
			if (ask_upstream(probe, members[i], failure))
				return 0;
			break;
		}
		if (count > 1 && !credential->kind->goes_on(credential, members[i], &probe->err))
			break;
	}
	return cli_fail(failure, CLI_EXIT_NO_TOKEN, "account %s gets no token",
		probe->account->settings.name);
}

static const struct config_account *find_account(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->account_count; i++)
		if (strcmp(config->accounts[i].settings.name, name) == 0)
			return &config->accounts[i];
	return NULL;
}

int probe_account(const struct config *config, const char *name, int64_t timeout_s,
	struct cli_failure *failure)
{
	struct error err = ERROR_INIT;
	struct probe probe = {.account = find_account(config, name)};
	if (probe.account == NULL)
		return cli_fail(failure, CLI_EXIT_NO_ACCOUNT,
			"the configuration has no account \"%s\"", name);
	/* It holds a daemon's secrets for a moment: no core dump, no debugger. */
	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		return cli_fail(failure, CLI_EXIT_FAILURE, "cannot forbid core dumps: %m");
	struct credential *credential =
		credential_open(&probe.account->credential, &probe.account->settings, &err);
	if (credential == NULL)
		return cli_fail(failure, CLI_EXIT_CONFIGURATION, "%s", err.message);
	int result = -1;
	probe.loop = loop_new(&clock_system, &err);
	if (probe.loop == NULL) {
		cli_fail(failure, CLI_EXIT_FAILURE, "%s", err.message);
	} else {
		probe.end_ms = loop_now_ms(probe.loop) + timeout_s * 1000;
		result = run_probe(&probe, credential, failure);
	}
	credential_close(credential);
	loop_free(probe.loop);
	return result;
}
