/*
 * The certificate of an app registration: its key signs an assertion, which is shown to Entra. The
 * file is read again when it changes; its key is plain only while it signs. Source:
 * azure-protocol.md B.2, B.3.
 */
#include "base/message_id.h"
#include "credential/assertion.h"
#include "credential/assertion_grant.h"
#include "credential/credential.h"
#include "credential/entra_app.h"
#include "credential/live_secret.h"

#include <stdio.h>
#include <stdlib.h>

static const char key_name[] = "client_certificate";

struct client_certificate {
	struct credential credential;
	struct entra_app app;
	bool sends_chain;
	struct live_secret *file;
	struct live_secret *passphrase; /* or NULL */

	struct secret *assertion; /* or NULL: to be made */
	int64_t made_ms; /* when it was, CLOCK_BOOTTIME */
	uint64_t file_version; /* of what */
	uint64_t passphrase_version;
	struct certificate_validity validity; /* of the certificate that signed it */

	/* What Entra's clock said when it found an assertion outside its validity; 0: not yet. */
	int64_t server_date_s;
	int64_t server_date_ms; /* when it said so, CLOCK_BOOTTIME */
};

/* Unix time: Entra's, as it judges assertions, where it is known to be another than this host's. */
static int64_t unix_time_s(const struct client_certificate *self, const struct loop *loop)
{
	if (self->server_date_s > 0)
		return self->server_date_s + (loop_now_ms(loop) - self->server_date_ms) / 1000;
	return clock_realtime_s(loop_clock(loop));
}

static void forget_assertion(struct client_certificate *self)
{
	secret_free(self->assertion);
	self->assertion = NULL;
}

static void client_certificate_close(struct credential *credential)
{
	struct client_certificate *self = (struct client_certificate *)credential;
	forget_assertion(self);
	live_secret_free(self->file);
	live_secret_free(self->passphrase);
	entra_app_clear(&self->app);
	free(self);
}

static struct credential *client_certificate_open(const struct credential_settings *settings,
	const struct account_settings *account, struct error *err)
{
	const struct secret_source *passphrase = &settings->client_certificate_password;
	struct client_certificate *self = calloc(1, sizeof(*self));
	(void)account;
	if (self == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot make a credential: out of memory");
		return NULL;
	}
	self->sends_chain = settings->sends_certificate_chain;
	int result = entra_app_open(&self->app, settings, err);
	if (result == 0) {
		/* PKCS#12 may end in a byte that looks like white space. */
		self->file = live_secret_open_binary(&settings->client_certificate, key_name, err);
		result = self->file == NULL ? -1 : 0;
	}
	if (result == 0 && passphrase->kind != SECRET_SOURCE_NONE) {
		self->passphrase = live_secret_open(passphrase, "client_certificate_password", err);
		result = self->passphrase == NULL ? -1 : 0;
	}
	if (result == 0)
		return &self->credential;
	client_certificate_close(&self->credential);
	return NULL;
}

/* Read the certificate, and sign an assertion by it. Returns 0, or -1 with *err. */
static int make_assertion(struct client_certificate *self, const struct loop *loop,
	const struct secret *file, const struct secret *passphrase, struct error *err)
{
	_cleanup_certificate_ struct certificate *certificate =
		certificate_load(file, passphrase, err);
	if (certificate == NULL)
		return -1;
	self->validity = certificate_validity(certificate);
	char *endpoint = entra_app_token_endpoint(&self->app);
	if (endpoint == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot make an assertion: out of memory");
	const struct assertion_claims claims = {
		.audience = endpoint,
		.client_id = self->app.client_id,
		.now_s = unix_time_s(self, loop),
		.sends_chain = self->sends_chain,
	};
	self->assertion = assertion_make(certificate, &claims, err);
	self->made_ms = loop_now_ms(loop);
	free(endpoint);
	return self->assertion == NULL ? -1 : 0;
}

/* An assertion that is good for a while: the present one, or a new one. Returns 0, or -1. */
static int have_assertion(
	struct client_certificate *self, const struct loop *loop, bool is_anew, struct error *err)
{
	uint64_t file_version = 0;
	uint64_t passphrase_version = 0;
	const struct secret *passphrase = NULL;
	const struct secret *file = live_secret_get(self->file, &file_version, err);
	if (file == NULL)
		return -1;
	if (self->passphrase != NULL) {
		passphrase = live_secret_get(self->passphrase, &passphrase_version, err);
		if (passphrase == NULL)
			return -1;
	}
	if (is_anew || file_version != self->file_version ||
		passphrase_version != self->passphrase_version ||
		loop_now_ms(loop) - self->made_ms >= INT64_C(1000) * ASSERTION_REUSE_S)
		forget_assertion(self);
	self->file_version = file_version;
	self->passphrase_version = passphrase_version;
	if ((self->assertion == NULL && make_assertion(self, loop, file, passphrase, err) != 0) ||
		certificate_check_validity(&self->validity, unix_time_s(self, loop), err) != 0)
		return error_wrap(err, "%s: %s", key_name, live_secret_name(self->file));
	return 0;
}

static int get(struct assertion_grant *grant, bool is_anew, struct error *err)
{
	struct client_certificate *self = (struct client_certificate *)grant->call.credential;
	if (is_anew && grant->server_date_s > 0) {
		self->server_date_s = grant->server_date_s;
		self->server_date_ms = loop_now_ms(grant->loop);
	}
	if (have_assertion(self, grant->loop, is_anew, err) != 0)
		return -1;
	return assertion_grant_send(grant, self->assertion, err);
}

static void refused(struct credential *credential)
{
	forget_assertion((struct client_certificate *)credential);
}

/* Say ahead that its end is near. */
static void describe(struct credential *credential, struct loop *loop, struct access_token *token)
{
	const struct client_certificate *self = (const struct client_certificate *)credential;
	char date[CERTIFICATE_DATE_SIZE];
	if (!certificate_ends_soon(&self->validity, unix_time_s(self, loop)))
		return;
	certificate_print_date(self->validity.not_after, date);
	token->notice_id = MESSAGE_CERTIFICATE_EXPIRES;
	snprintf(token->notice, sizeof(token->notice),
		"the certificate expires on %s: register a new one with the app, and put it in "
		"%.120s",
		date, live_secret_name(self->file));
}

static const struct assertion_origin origin = {
	.get = get,
	.refused = refused,
	.describe = describe,
};

static struct credential_call *client_certificate_ask(struct credential *credential,
	const char *scope, struct loop *loop, credential_done_fn done, void *context,
	struct error *err)
{
	struct client_certificate *self = (struct client_certificate *)credential;
	return assertion_grant_start(
		credential, &origin, &self->app, scope, loop, done, context, err);
}

static void client_certificate_secrets(
	const struct credential *credential, credential_secret_fn visit, void *context)
{
	const struct client_certificate *self = (const struct client_certificate *)credential;
	visit(context, self->file, SECRET_IS_ROTATED);
	if (self->passphrase != NULL)
		visit(context, self->passphrase, SECRET_IS_ROTATED);
}

static const char *const keys[] = {"!tenant_id", "!client_id", "!client_certificate",
	"client_certificate_password", "send_certificate_chain", "authority", NULL};

const struct credential_kind credential_client_certificate = {
	.name = "client_certificate",
	.keys = keys,
	.open = client_certificate_open,
	.ask = client_certificate_ask,
	.cancel = assertion_grant_cancel,
	.secrets = client_certificate_secrets,
	.close = client_certificate_close,
	.is_shared = true,
};
