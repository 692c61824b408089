#include "credential/certificate.h"

#include "certificates.h"
#include "unit.h"

#include <openssl/err.h>
#include <poll.h>
#include <pty.h>
#include <time.h>

#define PASSPHRASE "correct horse battery staple"
#define WRONG_PASSPHRASE "incorrect horse"

static size_t bytes_in_use(void)
{
	struct secret_memory usage;
	secret_memory_usage(&usage);
	return usage.bytes_in_use;
}

static struct secret *secret_of(const char *string)
{
	return string == NULL ? NULL : secret_from(string, strlen(string));
}

static struct certificate *load(struct secret *file, const char *passphrase)
{
	struct error err = ERROR_INIT;
	struct secret *secret = secret_of(passphrase);
	struct certificate *certificate = certificate_load(file, secret, &err);
	ck_assert_msg(certificate != NULL, "%s", err.message);
	ck_assert_uint_eq(ERR_peek_error(), 0);
	secret_free(secret);
	secret_free(file);
	return certificate;
}

static void assert_refused(struct secret *file, const char *passphrase, const char *words)
{
	struct error err = ERROR_INIT;
	size_t before = bytes_in_use();
	struct secret *secret = secret_of(passphrase);
	ck_assert_ptr_null(certificate_load(file, secret, &err));
	secret_free(secret);
	ck_assert_uint_eq(bytes_in_use(), before);
	ck_assert_uint_eq(ERR_peek_error(), 0);
	ck_assert_msg(err.code == ERR_SECRET_SOURCE, "%s", error_code_name(err.code));
	ck_assert_msg(
		strstr(err.message, words) != NULL, "'%s' is without '%s'", err.message, words);
	ck_assert_ptr_null(strstr(err.message, "horse"));
	secret_free(file);
}

/* Whether what it signs is by that key, as JWS wants it. */
static void assert_signs_by(const struct certificate *certificate, EVP_PKEY *key)
{
	struct error err = ERROR_INIT;
	struct secret *text = secret_of("header.claims");
	struct secret *out = secret_new(16);
	ck_assert_int_eq(certificate_sign(certificate, text, out, &err), 0);
	unsigned char raw[4096];
	ssize_t len = base64_decode(secret_bytes(out), secret_len(out), raw);
	ck_assert_int_gt(len, 0);
	ck_assert_ptr_null(strpbrk(secret_bytes(out), "+/="));
	const char *digest = "SHA256";
	unsigned char *der = raw;
	size_t der_len = (size_t)len;
	if (EVP_PKEY_is_a(key, "EC")) {
		int half = (EVP_PKEY_get_bits(key) + 7) / 8;
		ck_assert_int_eq(len, 2 * half);
		digest = half == 32 ? "SHA256" : half == 48 ? "SHA384" : "SHA512";
		ECDSA_SIG *numbers = ECDSA_SIG_new();
		ECDSA_SIG_set0(
			numbers, BN_bin2bn(raw, half, NULL), BN_bin2bn(raw + half, half, NULL));
		der = NULL;
		der_len = (size_t)i2d_ECDSA_SIG(numbers, &der);
		ECDSA_SIG_free(numbers);
	}
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	ck_assert_int_eq(EVP_DigestVerifyInit_ex(context, NULL, digest, NULL, NULL, key, NULL), 1);
	ck_assert_int_eq(EVP_DigestVerify(context, der, der_len,
				 (const unsigned char *)secret_bytes(text), secret_len(text)),
		1);
	EVP_MD_CTX_free(context);
	if (der != raw)
		OPENSSL_free(der);
	secret_free(text);
	secret_free(out);
}

static void assert_loads(struct secret *file, const char *passphrase, EVP_PKEY *key)
{
	struct certificate *certificate = load(file, passphrase);
	assert_signs_by(certificate, key);
	certificate_free(certificate);
}

/* ---- PEM ---- */

START_TEST(reads_pem_with_key_and_certificate_in_any_order)
{
	EVP_PKEY *key = make_rsa_key();
	X509 *own = issue_certificate(key, 0, DAY_S);
	for (int order = 0; order < 2; order++) {
		BIO *bio = BIO_new(BIO_s_mem());
		BIO_puts(bio, "Bag Attributes\n    friendlyName: app\n");
		if (order == 0)
			write_key(bio, key, NULL);
		write_certificate(bio, own);
		if (order == 1)
			write_key(bio, key, NULL);
		assert_loads(take_bio(bio), NULL, key);
	}
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(reads_every_form_of_key)
{
	EVP_PKEY *keys[] = {make_rsa_key(), make_ec_key("P-256")};
	for (size_t i = 0; i < UNIT_COUNT(keys); i++) {
		X509 *own = issue_certificate(keys[i], 0, DAY_S);
		for (int form = 0; form < 4; form++) {
			const char *passphrase = form % 2 == 0 ? NULL : PASSPHRASE;
			BIO *bio = BIO_new(BIO_s_mem());
			write_certificate(bio, own);
			if (form < 2)
				write_key(bio, keys[i], passphrase);
			else
				write_traditional_key(bio, keys[i], passphrase);
			assert_loads(take_bio(bio), passphrase, keys[i]);
		}
		X509_free(own);
		EVP_PKEY_free(keys[i]);
	}
}
END_TEST

START_TEST(takes_no_offence_at_a_passphrase_that_is_not_needed)
{
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	assert_loads(make_pem(key, own), PASSPHRASE, key);
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(reads_a_key_behind_curve_parameters_and_line_ends_of_windows)
{
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	BIO *bio = BIO_new(BIO_s_mem());
	BIO_puts(bio, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
		      "-----END EC PARAMETERS-----\n");
	write_traditional_key(bio, key, NULL);
	write_certificate(bio, own);
	struct secret *unix_file = take_bio(bio);
	struct secret *file = secret_new(8192);
	for (size_t i = 0; i < secret_len(unix_file); i++) {
		char c = secret_bytes(unix_file)[i];
		ck_assert_int_eq(
			secret_append(file, c == '\n' ? "\r\n" : &c, c == '\n' ? 2 : 1), 0);
	}
	secret_free(unix_file);
	assert_loads(file, NULL, key);
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(finds_the_certificate_of_the_key_among_others)
{
	EVP_PKEY *key = make_ec_key("P-256");
	EVP_PKEY *issuer_key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	X509 *issuer = issue_certificate(issuer_key, 0, DAY_S);
	BIO *bio = BIO_new(BIO_s_mem());
	write_certificate(bio, issuer);
	write_key(bio, key, NULL);
	write_certificate(bio, own);
	struct certificate *certificate = load(take_bio(bio), NULL);
	assert_signs_by(certificate, key);
	struct json_object *chain = chain_of(certificate);
	ck_assert_uint_eq(json_object_array_length(chain), 2);
	X509 *expected[] = {own, issuer};
	for (size_t i = 0; i < 2; i++) {
		unsigned char der[4096];
		struct json_object *entry = json_object_array_get_idx(chain, i);
		ssize_t len = base64_decode(json_object_get_string(entry),
			(size_t)json_object_get_string_len(entry), der);
		const unsigned char *place = der;
		X509 *found = d2i_X509(NULL, &place, len);
		ck_assert_ptr_nonnull(found);
		ck_assert_int_eq(X509_cmp(found, expected[i]), 0);
		X509_free(found);
	}
	json_object_put(chain);
	certificate_free(certificate);
	X509_free(own);
	X509_free(issuer);
	EVP_PKEY_free(key);
	EVP_PKEY_free(issuer_key);
}
END_TEST

/* ---- PKCS#12 ---- */

START_TEST(reads_pkcs12_with_its_chain)
{
	EVP_PKEY *key = make_rsa_key();
	EVP_PKEY *issuer_key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	STACK_OF(X509) *others = sk_X509_new_null();
	sk_X509_push(others, issue_certificate(issuer_key, 0, DAY_S));
	static const char *const passphrases[] = {PASSPHRASE, "", NULL};
	for (size_t i = 0; i < UNIT_COUNT(passphrases); i++) {
		struct certificate *certificate =
			load(make_pkcs12(key, own, others, passphrases[i]), passphrases[i]);
		assert_signs_by(certificate, key);
		struct json_object *chain = chain_of(certificate);
		ck_assert_uint_eq(json_object_array_length(chain), 2);
		json_object_put(chain);
		certificate_free(certificate);
	}
	sk_X509_pop_free(others, X509_free);
	X509_free(own);
	EVP_PKEY_free(key);
	EVP_PKEY_free(issuer_key);
}
END_TEST

START_TEST(reads_pkcs12_as_older_tools_encrypt_it)
{
	EVP_PKEY *key = make_rsa_key();
	X509 *own = issue_certificate(key, 0, DAY_S);
	struct secret *triple_des = take_pkcs12(PKCS12_create(PASSPHRASE, "app", key, own, NULL,
		NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And3_Key_TripleDES_CBC,
		2048, 1, 0));
	assert_loads(triple_des, PASSPHRASE, key);
	OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
	OSSL_PROVIDER *usual = OSSL_PROVIDER_load(library, "default");
	OSSL_PROVIDER *legacy = OSSL_PROVIDER_load(library, "legacy");
	ck_assert_ptr_nonnull(legacy);
	for (int turn = 0; turn < 2; turn++) {
		struct secret *rc2 = take_pkcs12(PKCS12_create_ex(PASSPHRASE, "app", key, own, NULL,
			NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And40BitRC2_CBC,
			2048, 1, 0, library, NULL));
		if (turn == 0)
			assert_loads(rc2, PASSPHRASE, key);
		else
			assert_refused(rc2, WRONG_PASSPHRASE, "the passphrase does not open it");
	}
	OSSL_PROVIDER_unload(usual);
	OSSL_PROVIDER_unload(legacy);
	OSSL_LIB_CTX_free(library);
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

/* ---- what is wrong with a file ---- */

START_TEST(refuses_what_is_neither_pem_nor_pkcs12)
{
	static const char *const files[] = {
		"x",
		"0\x82\x01",
		"ssh-ed25519 AAAA nobody@nowhere",
		"-- BEGIN CERTIFICATE --",
	};
	for (size_t i = 0; i < UNIT_COUNT(files); i++)
		assert_refused(secret_of(files[i]), NULL, "it is neither PEM, which has lines of");
}
END_TEST

START_TEST(refuses_a_certificate_alone_in_der)
{
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	BIO *bio = BIO_new(BIO_s_mem());
	ck_assert_int_eq(i2d_X509_bio(bio, own), 1);
	assert_refused(take_bio(bio), NULL, "it is neither PEM, which has lines of");
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(refuses_a_file_without_a_key)
{
	static const char words[] =
		"it has a certificate but not its private key; put both into one file";
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	BIO *bio = BIO_new(BIO_s_mem());
	write_certificate(bio, own);
	assert_refused(take_bio(bio), NULL, words);
	STACK_OF(X509) *others = sk_X509_new_null();
	sk_X509_push(others, own);
	assert_refused(make_pkcs12(NULL, NULL, others, PASSPHRASE), PASSPHRASE, words);
	sk_X509_pop_free(others, X509_free);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(refuses_a_file_without_a_certificate)
{
	static const char words[] =
		"it has a private key but not its certificate; put both into one file";
	EVP_PKEY *key = make_ec_key("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	write_key(bio, key, NULL);
	assert_refused(take_bio(bio), NULL, words);
	assert_refused(make_pkcs12(key, NULL, NULL, PASSPHRASE), PASSPHRASE, words);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(refuses_pem_with_neither)
{
	assert_refused(secret_of("-----BEGIN DH PARAMETERS-----\nMAYCAQUCAQI=\n"
				 "-----END DH PARAMETERS-----\n"),
		NULL, "it has neither a certificate nor a private key");
}
END_TEST

START_TEST(refuses_a_key_of_another_certificate)
{
	static const char words[] = "its private key and its certificate do not belong together";
	EVP_PKEY *keys[] = {make_rsa_key(), make_rsa_key(), make_ec_key("P-256")};
	for (size_t i = 1; i < UNIT_COUNT(keys); i++) {
		X509 *other = issue_certificate(keys[i], 0, DAY_S);
		assert_refused(make_pem(keys[0], other), NULL, words);
		STACK_OF(X509) *others = sk_X509_new_null();
		sk_X509_push(others, other);
		assert_refused(make_pkcs12(keys[0], NULL, others, PASSPHRASE), PASSPHRASE, words);
		sk_X509_pop_free(others, X509_free);
	}
	for (size_t i = 0; i < UNIT_COUNT(keys); i++)
		EVP_PKEY_free(keys[i]);
}
END_TEST

/* The same key and certificate in every form that is encrypted. */
static struct secret *make_encrypted(EVP_PKEY *key, X509 *own, int form)
{
	if (form == 2)
		return make_pkcs12(key, own, NULL, PASSPHRASE);
	BIO *bio = BIO_new(BIO_s_mem());
	write_certificate(bio, own);
	if (form == 0)
		write_key(bio, key, PASSPHRASE);
	else
		write_traditional_key(bio, key, PASSPHRASE);
	return take_bio(bio);
}

START_TEST(refuses_a_wrong_passphrase)
{
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	for (int form = 0; form < 3; form++)
		assert_refused(make_encrypted(key, own, form), WRONG_PASSPHRASE,
			"the passphrase does not open it; correct client_certificate_password");
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(says_wrong_passphrase_whatever_it_decrypts_to)
{
	/* One in 256 leaves what looks like padding. */
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	BIO *bio = BIO_new(BIO_s_mem());
	write_certificate(bio, own);
	write_traditional_key(bio, key, PASSPHRASE);
	struct secret *file = take_bio(bio);
	for (int i = 0; i < 1024; i++) {
		char passphrase[32];
		snprintf(passphrase, sizeof(passphrase), "horse %d", i);
		assert_refused(secret_from(secret_bytes(file), secret_len(file)), passphrase,
			"the passphrase does not open it");
	}
	secret_free(file);
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(refuses_an_encrypted_key_without_a_passphrase)
{
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	for (int form = 0; form < 3; form++)
		assert_refused(make_encrypted(key, own, form), NULL,
			"it is encrypted and there is no passphrase for it; set "
			"client_certificate_password");
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(never_asks_the_terminal_for_a_passphrase)
{
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	for (int form = 0; form < 3; form++) {
		struct secret *file = make_encrypted(key, own, form);
		int terminal = -1;
		fflush(NULL);
		pid_t child = forkpty(&terminal, NULL, NULL, NULL);
		ck_assert_int_ge(child, 0);
		if (child == 0) {
			/* Secret memory is zero in a child: the bytes are needed again. */
			struct secret *again = make_encrypted(key, own, form);
			_exit(certificate_load(again, NULL, NULL) == NULL ? 0 : 1);
		}
		char asked[64];
		struct pollfd poll_fd = {.fd = terminal, .events = POLLIN};
		ck_assert_int_eq(poll(&poll_fd, 1, 60000), 1);
		ssize_t got = read(terminal, asked, sizeof(asked) - 1);
		asked[got > 0 ? got : 0] = '\0';
		ck_assert_msg(got <= 0, "it asked '%s'", asked);
		int status = 0;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		unit_assert_exited(status, 0);
		close(terminal);
		secret_free(file);
	}
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(refuses_keys_that_entra_has_no_algorithm_for)
{
	static const struct {
		const char *type;
		const char *group;
		const char *words;
	} kinds[] = {
		{"ED25519", NULL, "its private key is ED25519; expected RSA, or EC on the curve"},
		{"EC", "secp256k1", "its private key is EC secp256k1; expected RSA, or EC on"},
	};
	for (size_t i = 0; i < UNIT_COUNT(kinds); i++) {
		EVP_PKEY *key = kinds[i].group == NULL
					? EVP_PKEY_Q_keygen(NULL, NULL, kinds[i].type)
					: make_ec_key(kinds[i].group);
		X509 *own = issue_certificate(key, 0, DAY_S);
		assert_refused(make_pem(key, own), NULL, kinds[i].words);
		X509_free(own);
		EVP_PKEY_free(key);
	}
	assert_refused(secret_of("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
				 "-----END OPENSSH PRIVATE KEY-----\n"),
		NULL, "its private key is a 'OPENSSH PRIVATE KEY'; expected one for RSA or EC");
}
END_TEST

START_TEST(refuses_damaged_parts)
{
	static const char key[] = "-----BEGIN PRIVATE KEY-----\nMAYCAQUCAQI=\n"
				  "-----END PRIVATE KEY-----\n";
	static const char certificate[] = "-----BEGIN CERTIFICATE-----\nMAYCAQUCAQI=\n"
					  "-----END CERTIFICATE-----\n";
	static const char encrypted[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAYCAQUCAQI=\n"
					"-----END ENCRYPTED PRIVATE KEY-----\n";
	assert_refused(secret_of(key), NULL, "its private key is damaged");
	assert_refused(secret_of(encrypted), PASSPHRASE, "its private key is damaged");
	assert_refused(secret_of(certificate), NULL, "certificate 1 of it is damaged");
	assert_refused(secret_of("-----BEGIN CERTIFICATE-----\nMAYCAQ"), NULL,
		"a block of it is damaged or cut off");
	assert_refused(secret_of("-----BEGIN CERTIFICATE-----\n&&&&\n-----END CERTIFICATE-----\n"),
		NULL, "a block of it is damaged or cut off");
}
END_TEST

START_TEST(refuses_pkcs12_that_was_cut_off)
{
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	struct secret *file = make_pkcs12(key, own, NULL, PASSPHRASE);
	secret_truncate(file, secret_len(file) - 1);
	assert_refused(file, PASSPHRASE, "it is neither PEM");
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(survives_any_damage_of_pkcs12)
{
	uint64_t state = unit_seed("survives_any_damage_of_pkcs12");
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	/* Without a MAC, so that the damage gets further in; few turns, so that it is fast. */
	struct secret *good =
		take_pkcs12(PKCS12_create(PASSPHRASE, "app", key, own, NULL, 0, 0, 1, -1, 0));
	struct secret *passphrase = secret_of(PASSPHRASE);
	for (int i = 0; i < 2000; i++) {
		struct error err = ERROR_INIT;
		struct secret *bad = secret_new(secret_len(good));
		unsigned char *bytes = secret_extend(bad, secret_len(good));
		memcpy(bytes, secret_bytes(good), secret_len(good));
		bytes[unit_random(&state, secret_len(good))] ^=
			(unsigned char)(1 + unit_random(&state, 255));
		struct certificate *certificate = certificate_load(bad, passphrase, &err);
		ck_assert_int_eq(certificate == NULL, err.code != ERR_NONE);
		certificate_free(certificate);
		secret_free(bad);
	}
	secret_free(good);
	secret_free(passphrase);
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(refuses_a_chain_without_end)
{
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	BIO *bio = BIO_new(BIO_s_mem());
	for (int i = 0; i <= CERTIFICATE_CHAIN_MAX; i++)
		write_certificate(bio, own);
	assert_refused(take_bio(bio), NULL, "it has more than 16 certificates");
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

/* ---- how it signs ---- */

START_TEST(signs_by_every_curve_as_jws_wants_it)
{
	static const char *const curves[][2] = {
		{"P-256", "ES256"}, {"P-384", "ES384"}, {"P-521", "ES512"}};
	for (size_t i = 0; i < UNIT_COUNT(curves); i++) {
		EVP_PKEY *key = make_ec_key(curves[i][0]);
		X509 *own = issue_certificate(key, 0, DAY_S);
		struct certificate *certificate = load(make_pem(key, own), NULL);
		ck_assert_str_eq(certificate_algorithm(certificate), curves[i][1]);
		ck_assert_str_eq(certificate_thumbprint_member(certificate), "x5t#S256");
		/* Numbers with zeros at their beginning come up now and then. */
		for (int turn = 0; turn < 300; turn++)
			assert_signs_by(certificate, key);
		certificate_free(certificate);
		X509_free(own);
		EVP_PKEY_free(key);
	}
}
END_TEST

START_TEST(is_found_by_the_digest_of_its_der)
{
	EVP_PKEY *keys[] = {make_rsa_key(), make_ec_key("P-256")};
	const EVP_MD *digests[] = {EVP_sha1(), EVP_sha256()};
	for (size_t i = 0; i < UNIT_COUNT(keys); i++) {
		X509 *own = issue_certificate(keys[i], 0, DAY_S);
		unsigned char *der = NULL;
		int len = i2d_X509(own, &der);
		unsigned char digest[EVP_MAX_MD_SIZE];
		unsigned digest_len = 0;
		char expected[128];
		EVP_Digest(der, (size_t)len, digest, &digest_len, digests[i], NULL);
		base64url_encode(digest, digest_len, expected);
		struct certificate *certificate = load(make_pem(keys[i], own), NULL);
		ck_assert_str_eq(certificate_thumbprint(certificate), expected);
		ck_assert_str_eq(
			certificate_thumbprint_member(certificate), i == 0 ? "x5t" : "x5t#S256");
		ck_assert_str_eq(certificate_algorithm(certificate), i == 0 ? "RS256" : "ES256");
		certificate_free(certificate);
		OPENSSL_free(der);
		X509_free(own);
		EVP_PKEY_free(keys[i]);
	}
}
END_TEST

START_TEST(appends_its_signature_to_what_it_signs)
{
	struct error err = ERROR_INIT;
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, 0, DAY_S);
	struct certificate *certificate = load(make_pem(key, own), NULL);
	struct secret *text = secret_of("a.b");
	ck_assert_int_eq(certificate_sign(certificate, text, text, &err), 0);
	ck_assert_uint_eq(secret_len(text), 3 + 86);
	certificate_free(certificate);
	secret_free(text);
	X509_free(own);
	EVP_PKEY_free(key);
}
END_TEST

/* ---- its validity ---- */

static struct certificate *load_valid(int64_t from_s, int64_t to_s)
{
	EVP_PKEY *key = make_ec_key("P-256");
	X509 *own = issue_certificate(key, from_s, to_s);
	struct certificate *certificate = load(make_pem(key, own), NULL);
	X509_free(own);
	EVP_PKEY_free(key);
	return certificate;
}

START_TEST(is_valid_from_its_first_moment_to_its_last)
{
	struct error err = ERROR_INIT;
	struct certificate *certificate = load_valid(0, DAY_S);
	const struct certificate_validity validity = certificate_validity(certificate);
	int64_t start = validity.not_before;
	int64_t end = validity.not_after;
	ck_assert_int_eq(end - start, DAY_S);
	ck_assert_int_le(llabs(start - (int64_t)time(NULL)), 5);
	ck_assert_int_eq(certificate_check_validity(&validity, start, &err), 0);
	ck_assert_int_eq(certificate_check_validity(&validity, end, &err), 0);
	/* Made a moment ago by another host's clock. */
	ck_assert_int_eq(
		certificate_check_validity(&validity, start - CERTIFICATE_SKEW_S, &err), 0);
	certificate_free(certificate);
}
END_TEST

START_TEST(says_since_when_it_has_expired)
{
	struct error err = ERROR_INIT;
	struct certificate *certificate = load_valid(0, DAY_S);
	const struct certificate_validity validity = certificate_validity(certificate);
	int64_t end = validity.not_after;
	char date[CERTIFICATE_DATE_SIZE];
	char now[CERTIFICATE_DATE_SIZE];
	char expected[300];
	certificate_print_date(end, date);
	certificate_print_date(end + 1, now);
	snprintf(expected, sizeof(expected),
		"the certificate expired on %s (this host's clock says %s); put a new one in its "
		"place",
		date, now);
	ck_assert_int_eq(certificate_check_validity(&validity, end + 1, &err), -1);
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_str_eq(err.message, expected);
	certificate_free(certificate);
}
END_TEST

START_TEST(says_from_when_it_will_be_valid)
{
	struct error err = ERROR_INIT;
	struct certificate *certificate = load_valid(DAY_S, 2 * DAY_S);
	const struct certificate_validity validity = certificate_validity(certificate);
	int64_t start = validity.not_before;
	char date[CERTIFICATE_DATE_SIZE];
	char expected[300];
	certificate_print_date(start, date);
	snprintf(expected, sizeof(expected), "the certificate is not valid before %s (this", date);
	ck_assert_int_eq(
		certificate_check_validity(&validity, start - CERTIFICATE_SKEW_S - 1, &err), -1);
	ck_assert_int_eq(err.code, ERR_SECRET_SOURCE);
	ck_assert_msg(strncmp(err.message, expected, strlen(expected)) == 0, "%s", err.message);
	certificate_free(certificate);
}
END_TEST

static bool ends_soon(int64_t not_after, int64_t now_s)
{
	const struct certificate_validity validity = {0, not_after};
	return certificate_ends_soon(&validity, now_s);
}

START_TEST(tells_its_end_thirty_days_or_a_fifth_of_its_life_ahead)
{
	ck_assert(!ends_soon(365 * DAY_S, 335 * DAY_S));
	ck_assert(ends_soon(365 * DAY_S, 335 * DAY_S + 1));
	ck_assert(!ends_soon(10 * DAY_S, 8 * DAY_S));
	ck_assert(ends_soon(10 * DAY_S, 8 * DAY_S + 1));
	ck_assert(ends_soon(10 * DAY_S, 20 * DAY_S));
}
END_TEST

START_TEST(prints_dates_that_people_read)
{
	char date[CERTIFICATE_DATE_SIZE];
	certificate_print_date(1709337600, date);
	ck_assert_str_eq(date, "2024-03-02 00:00:00 UTC");
}
END_TEST

UNIT_MAIN("certificate", reads_pem_with_key_and_certificate_in_any_order, reads_every_form_of_key,
	takes_no_offence_at_a_passphrase_that_is_not_needed,
	reads_a_key_behind_curve_parameters_and_line_ends_of_windows,
	finds_the_certificate_of_the_key_among_others, reads_pkcs12_with_its_chain,
	reads_pkcs12_as_older_tools_encrypt_it, refuses_what_is_neither_pem_nor_pkcs12,
	refuses_a_certificate_alone_in_der, refuses_a_file_without_a_key,
	refuses_a_file_without_a_certificate, refuses_pem_with_neither,
	refuses_a_key_of_another_certificate, refuses_a_wrong_passphrase,
	says_wrong_passphrase_whatever_it_decrypts_to,
	refuses_an_encrypted_key_without_a_passphrase, never_asks_the_terminal_for_a_passphrase,
	refuses_keys_that_entra_has_no_algorithm_for, refuses_damaged_parts,
	refuses_pkcs12_that_was_cut_off, survives_any_damage_of_pkcs12, refuses_a_chain_without_end,
	signs_by_every_curve_as_jws_wants_it, is_found_by_the_digest_of_its_der,
	appends_its_signature_to_what_it_signs, is_valid_from_its_first_moment_to_its_last,
	says_since_when_it_has_expired, says_from_when_it_will_be_valid,
	tells_its_end_thirty_days_or_a_fifth_of_its_life_ahead, prints_dates_that_people_read)
