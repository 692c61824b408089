#include "credential/settings.h"

#include "credential/credential.h"
#include "unit.h"

static const struct credential_kind shared_kind = {.name = "shared", .is_shared = true};
static const struct credential_kind also_shared_kind = {.name = "also_shared", .is_shared = true};
static const struct credential_kind own_kind = {.name = "own"};

#define STRING(member, is_subject)                                                \
	{                                                                         \
#member, offsetof(struct credential_settings, member), is_subject \
	}

/* All of them but where they were written. */
static const struct {
	const char *name;
	size_t at;
	bool is_subject; /* says whose tokens they are */
} strings[] = {
	STRING(ca_file, false),
	STRING(authority, true),
	STRING(tenant_id, true),
	STRING(client_id, true),
	STRING(client_assertion_command, false),
	STRING(federated_token_file, false),
	STRING(object_id, true),
	STRING(resource_id, true),
	STRING(run_as, true),
	STRING(refresh_token_file, true),
};

static const struct {
	const char *name;
	size_t at;
} sources[] = {
	{"account_key", offsetof(struct credential_settings, account_key)},
	{"secondary_account_key", offsetof(struct credential_settings, secondary_account_key)},
	{"static_token", offsetof(struct credential_settings, static_token)},
	{"client_secret", offsetof(struct credential_settings, client_secret)},
	{"client_certificate", offsetof(struct credential_settings, client_certificate)},
	{"client_certificate_password",
		offsetof(struct credential_settings, client_certificate_password)},
	{"client_assertion", offsetof(struct credential_settings, client_assertion)},
	{"refresh_token_key", offsetof(struct credential_settings, refresh_token_key)},
};

static char **string_at(struct credential_settings *settings, size_t i)
{
	return (char **)(void *)((char *)settings + strings[i].at);
}

static struct secret_source *source_at(struct credential_settings *settings, size_t i)
{
	return (struct secret_source *)(void *)((char *)settings + sources[i].at);
}

static void set_source(struct secret_source *source, const char *word)
{
	secret_source_clear(source);
	ck_assert_int_eq(secret_source_parse(word, source, NULL), 0);
}

/* Each key set to something of its own. */
static void fill(struct credential_settings *settings)
{
	*settings = (struct credential_settings){.kinds = {&shared_kind}, .kind_count = 1};
	settings->where = strdup("/etc/a.conf:1");
	for (size_t i = 0; i < UNIT_COUNT(strings); i++)
		*string_at(settings, i) = strdup(strings[i].name);
	for (size_t i = 0; i < UNIT_COUNT(sources); i++) {
		char word[64];
		snprintf(word, sizeof(word), "file:/%s", sources[i].name);
		set_source(source_at(settings, i), word);
		source_at(settings, i)->where = strdup("/etc/a.conf:2");
	}
}

static char *identity_of(const struct credential_settings *settings)
{
	struct text text = {0};
	credential_settings_identity(settings, &text);
	char *identity = text_steal(&text);
	ck_assert_ptr_nonnull(identity);
	return identity;
}

static char *subject_of(const struct credential_settings *settings)
{
	struct text text = {0};
	credential_settings_subject(settings, &text);
	char *subject = text_string(&text) == NULL ? NULL : text_steal(&text);
	ck_assert_ptr_nonnull(subject);
	return subject;
}

/* Compare the filled settings with what these became. */
static void assert_same(struct credential_settings *changed, const char *what, bool same_identity,
	bool same_subject)
{
	struct credential_settings original;
	fill(&original);
	char *identities[] = {identity_of(&original), identity_of(changed)};
	char *subjects[] = {subject_of(&original), subject_of(changed)};
	ck_assert_msg((strcmp(identities[0], identities[1]) == 0) == same_identity,
		"%s: identities '%s' and '%s'", what, identities[0], identities[1]);
	ck_assert_msg((strcmp(subjects[0], subjects[1]) == 0) == same_subject,
		"%s: subjects '%s' and '%s'", what, subjects[0], subjects[1]);
	for (int i = 0; i < 2; i++) {
		free(identities[i]);
		free(subjects[i]);
	}
	credential_settings_clear(&original);
}

/* ---- identity and subject ----------------------------------------------------------------------
 */

START_TEST(is_the_same_wherever_it_was_written)
{
	struct credential_settings settings;
	fill(&settings);
	assert_same(&settings, "nothing", true, true);
	free(settings.where);
	settings.where = strdup("/etc/b.conf:99");
	for (size_t i = 0; i < UNIT_COUNT(sources); i++) {
		free(source_at(&settings, i)->where);
		source_at(&settings, i)->where = strdup("/etc/b.conf:100");
	}
	assert_same(&settings, "where", true, true);
	credential_settings_clear(&settings);
}
END_TEST

START_TEST(is_another_when_any_key_is)
{
	for (size_t i = 0; i < UNIT_COUNT(strings); i++) {
		struct credential_settings settings;
		fill(&settings);
		(*string_at(&settings, i))[0] = '!';
		assert_same(&settings, strings[i].name, false, !strings[i].is_subject);
		free(*string_at(&settings, i));
		*string_at(&settings, i) = NULL;
		assert_same(&settings, strings[i].name, false, !strings[i].is_subject);
		*string_at(&settings, i) = strdup("");
		assert_same(&settings, strings[i].name, false, !strings[i].is_subject);
		credential_settings_clear(&settings);
	}
}
END_TEST

START_TEST(is_another_when_any_secret_is_elsewhere_but_has_the_same_subject)
{
	for (size_t i = 0; i < UNIT_COUNT(sources); i++) {
		struct credential_settings settings;
		char word[64];
		/* That one says by itself whose it is. */
		bool is_token = strcmp(sources[i].name, "static_token") == 0;
		fill(&settings);
		set_source(source_at(&settings, i), "file:/elsewhere");
		assert_same(&settings, sources[i].name, false, !is_token);
		/* The same name, but of a variable. */
		snprintf(word, sizeof(word), "env:%s", sources[i].name);
		set_source(source_at(&settings, i), word);
		assert_same(&settings, sources[i].name, false, !is_token);
		secret_source_clear(source_at(&settings, i));
		assert_same(&settings, sources[i].name, false, !is_token);
		credential_settings_clear(&settings);
	}
}
END_TEST

START_TEST(is_another_when_the_certificate_is_sent_along)
{
	struct credential_settings settings;
	fill(&settings);
	settings.sends_certificate_chain = true;
	assert_same(&settings, "send_certificate_chain", false, true);
	credential_settings_clear(&settings);
}
END_TEST

START_TEST(is_another_when_the_kinds_or_their_order_are)
{
	struct credential_settings settings;
	fill(&settings);
	settings.kinds[0] = &also_shared_kind;
	assert_same(&settings, "another kind", false, false);
	settings.kinds[0] = &shared_kind;
	settings.kinds[1] = &also_shared_kind;
	settings.kind_count = 2;
	assert_same(&settings, "two kinds", false, false);
	char *before = identity_of(&settings);
	settings.kinds[0] = &also_shared_kind;
	settings.kinds[1] = &shared_kind;
	char *after = identity_of(&settings);
	ck_assert_str_ne(before, after);
	free(before);
	free(after);
	credential_settings_clear(&settings);
}
END_TEST

START_TEST(does_not_take_one_key_for_another)
{
	/* The same value under each of the keys: no two are the same. */
	char *identities[UNIT_COUNT(strings) + UNIT_COUNT(sources)];
	size_t count = 0;
	for (size_t i = 0; i < UNIT_COUNT(strings); i++) {
		struct credential_settings settings = {.kinds = {&shared_kind}, .kind_count = 1};
		*string_at(&settings, i) = strdup("file:/x");
		identities[count++] = identity_of(&settings);
		credential_settings_clear(&settings);
	}
	for (size_t i = 0; i < UNIT_COUNT(sources); i++) {
		struct credential_settings settings = {.kinds = {&shared_kind}, .kind_count = 1};
		set_source(source_at(&settings, i), "file:/x");
		identities[count++] = identity_of(&settings);
		credential_settings_clear(&settings);
	}
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			ck_assert_msg(strcmp(identities[i], identities[j]) != 0, "%zu and %zu: %s",
				i, j, identities[i]);
	for (size_t i = 0; i < count; i++)
		free(identities[i]);
}
END_TEST

/* ---- sharing -----------------------------------------------------------------------------------
 */

START_TEST(is_shared_when_all_of_its_kinds_are)
{
	static const struct {
		const struct credential_kind *kinds[3];
		size_t count;
		bool is_shared;
	} cases[] = {
		{{&shared_kind}, 1, true},
		{{&own_kind}, 1, false},
		{{&shared_kind, &also_shared_kind}, 2, true},
		{{&shared_kind, &own_kind}, 2, false},
		{{&own_kind, &shared_kind}, 2, false},
		{{&shared_kind, &also_shared_kind, &own_kind}, 3, false},
	};
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct credential_settings settings = {.kind_count = cases[i].count};
		memcpy(settings.kinds, cases[i].kinds, sizeof(cases[i].kinds));
		ck_assert_msg(
			credential_settings_are_shared(&settings) == cases[i].is_shared, "%zu", i);
	}
}
END_TEST

/* ---- copies ------------------------------------------------------------------------------------
 */

START_TEST(copies_everything)
{
	struct credential_settings settings;
	struct credential_settings copy;
	fill(&settings);
	settings.sends_certificate_chain = true;
	settings.is_in_chain = true;
	ck_assert_int_eq(credential_settings_copy(&copy, &settings), 0);
	char *before = identity_of(&settings);
	ck_assert_str_eq(copy.where, settings.where);
	ck_assert_ptr_ne(copy.where, settings.where);
	for (size_t i = 0; i < UNIT_COUNT(strings); i++)
		ck_assert_ptr_ne(*string_at(&copy, i), *string_at(&settings, i));
	for (size_t i = 0; i < UNIT_COUNT(sources); i++) {
		ck_assert_ptr_ne(source_at(&copy, i)->name, source_at(&settings, i)->name);
		ck_assert_str_eq(source_at(&copy, i)->where, source_at(&settings, i)->where);
	}
	credential_settings_clear(&settings); /* it goes, and the copy stays */
	char *after = identity_of(&copy);
	ck_assert_str_eq(before, after);
	ck_assert(copy.sends_certificate_chain && copy.is_in_chain);
	ck_assert_uint_eq(copy.kind_count, 1);
	ck_assert_ptr_eq(copy.kinds[0], &shared_kind);
	free(before);
	free(after);
	credential_settings_clear(&copy);
	credential_settings_clear(&copy);
}
END_TEST

START_TEST(copies_what_is_not_set)
{
	const struct credential_settings none = {0};
	struct credential_settings copy;
	ck_assert_int_eq(credential_settings_copy(&copy, &none), 0);
	for (size_t i = 0; i < UNIT_COUNT(strings); i++)
		ck_assert_ptr_null(*string_at(&copy, i));
	for (size_t i = 0; i < UNIT_COUNT(sources); i++)
		ck_assert_int_eq(source_at(&copy, i)->kind, SECRET_SOURCE_NONE);
	credential_settings_clear(&copy);
}
END_TEST

static void copy_without_memory(void *context)
{
	struct credential_settings copy;
	unit_exhaust_memory();
	if (credential_settings_copy(&copy, context) != -1)
		_exit(1);
	/* Nothing of the original is left in it. */
	for (size_t i = 0; i < UNIT_COUNT(strings); i++)
		if (*string_at(&copy, i) != NULL)
			_exit(2);
	for (size_t i = 0; i < UNIT_COUNT(sources); i++)
		if (source_at(&copy, i)->name != NULL)
			_exit(3);
	credential_settings_clear(&copy);
}

START_TEST(is_clear_after_a_copy_without_memory)
{
	struct credential_settings settings;
	fill(&settings);
	if (!UNIT_HAS_SANITIZER)
		unit_assert_exited(unit_in_child(copy_without_memory, &settings), 0);
	credential_settings_clear(&settings);
}
END_TEST

UNIT_MAIN("settings", is_the_same_wherever_it_was_written, is_another_when_any_key_is,
	is_another_when_any_secret_is_elsewhere_but_has_the_same_subject,
	is_another_when_the_certificate_is_sent_along, is_another_when_the_kinds_or_their_order_are,
	does_not_take_one_key_for_another, is_shared_when_all_of_its_kinds_are, copies_everything,
	copies_what_is_not_set, is_clear_after_a_copy_without_memory)
