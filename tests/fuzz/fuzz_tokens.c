/*
 * Whatever an upstream answers with: a JWT, a JSON object with a token and times, an error's words;
 * and what mrtoken makes of such a body. The first byte says which.
 */
#include "base/detail.h"
#include "base/json_answer.h"
#include "cli/token_answer.h"
#include "token/jwt.h"

#include "fuzz.h"

#define SHOWN "Authorization: Bearer id:a-key-that-must-not-be-repeated"
#define SHOWN_OFFSET 25

static void read_jwt(const struct secret *token)
{
	struct error err = ERROR_INIT;
	int64_t expires_on = -1;
	if (jwt_expiry(token, &expires_on, &err) == 0)
		fuzz_assert(expires_on > 0 && expires_on <= INT64_C(1) << 53);
	else
		fuzz_assert_told(&err);
}

static void read_answer(const struct secret *body)
{
	static const char *const members[] = {
		"access_token", "expires_in", "expires_on", "AccessToken"};
	struct error err = ERROR_INIT;
	struct json_object *root = json_answer_parse(body, &err);
	if (root == NULL) {
		fuzz_assert_told(&err);
		return;
	}
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		int64_t number = -1;
		err = ERROR_INIT;
		int found = json_answer_number(root, members[i], &number, &err);
		fuzz_assert(found != 0 || number >= 0);
		if (found < 0)
			fuzz_assert_told(&err);
		json_answer_string(root, members[i]);
		err = ERROR_INIT;
		struct secret *secret = json_answer_secret(root, members[i], &err);
		if (secret == NULL)
			fuzz_assert_told(&err);
		secret_free(secret);
	}
	json_object_put(root);
}

static void read_detail(const struct secret *body)
{
	char words[DETAIL_MAX];
	struct secret *shown = secret_from(SHOWN, sizeof(SHOWN) - 1);
	fuzz_assert(shown != NULL);
	detail_of_body(shown, SHOWN_OFFSET, body, words, sizeof(words));
	fuzz_assert(strlen(words) < sizeof(words));
	fuzz_assert(strstr(words, "must-not-be-repeated") == NULL);
	for (const char *c = words; *c != '\0'; c++)
		fuzz_assert((unsigned char)*c >= 0x20 && *c != 0x7f);
	secret_free(shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len == 0)
		return 0;
	size_t before = fuzz_secret_bytes();
	struct secret *body = secret_from(bytes + 1, len - 1);
	if (body == NULL)
		return 0;
	switch (bytes[0] % 4) {
	case 0:
		read_jwt(body);
		break;
	case 1:
		read_answer(body);
		break;
	case 2:
		read_detail(body);
		break;
	default:
		token_answer_fault(body, (enum token_form)(bytes[0] / 4 % 3));
	}
	secret_free(body);
	fuzz_assert(fuzz_secret_bytes() == before);
	return 0;
}
