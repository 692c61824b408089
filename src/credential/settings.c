#include "credential/settings.h"

#include "credential/credential.h"

#include <stdlib.h>
#include <string.h>

/* Where the strings and the sources are, so that none is forgotten in one place. */
#define AT(member) offsetof(struct credential_settings, member)

enum part {
	PART_PLACE, /* where it was written */
	PART_SUBJECT, /* whose tokens they are */
	PART_MEANS, /* how they are got */
};

static const struct {
	size_t at;
	enum part part;
} strings[] = {
	{AT(where), PART_PLACE},
	{AT(ca_file), PART_MEANS},
	{AT(authority), PART_SUBJECT},
	{AT(tenant_id), PART_SUBJECT},
	{AT(client_id), PART_SUBJECT},
	{AT(client_assertion_command), PART_MEANS},
	{AT(federated_token_file), PART_MEANS},
	{AT(object_id), PART_SUBJECT},
	{AT(resource_id), PART_SUBJECT},
	{AT(run_as), PART_SUBJECT},
	{AT(refresh_token_file), PART_SUBJECT},
};

static const size_t sources[] = {
	AT(account_key),
	AT(secondary_account_key),
	AT(static_token),
	AT(client_secret),
	AT(client_certificate),
	AT(client_certificate_password),
	AT(client_assertion),
	AT(refresh_token_key),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char **string_at(struct credential_settings *settings, size_t offset)
{
	return (char **)((char *)settings + offset);
}

static struct secret_source *source_at(struct credential_settings *settings, size_t offset)
{
	return (struct secret_source *)((char *)settings + offset);
}

void credential_settings_clear(struct credential_settings *settings)
{
	for (size_t i = 0; i < COUNT(strings); i++)
		free(*string_at(settings, strings[i].at));
	for (size_t i = 0; i < COUNT(sources); i++)
		secret_source_clear(source_at(settings, sources[i]));
	*settings = (struct credential_settings){0};
}

/* Returns false when there is no memory. */
static bool copy_string(char **string)
{
	if (*string == NULL)
		return true;
	*string = strdup(*string);
	return *string != NULL;
}

int credential_settings_copy(
	struct credential_settings *copy, const struct credential_settings *settings)
{
	bool is_whole = true;
	*copy = *settings;
	/* Every pointer is replaced, also after a failure: none of the original's may stay. */
	for (size_t i = 0; i < COUNT(strings); i++)
		is_whole = copy_string(string_at(copy, strings[i].at)) && is_whole;
	for (size_t i = 0; i < COUNT(sources); i++) {
		struct secret_source *source = source_at(copy, sources[i]);
		is_whole = copy_string(&source->name) && is_whole;
		is_whole = copy_string(&source->where) && is_whole;
	}
	if (is_whole)
		return 0;
	credential_settings_clear(copy);
	return -1;
}

bool credential_settings_are_shared(const struct credential_settings *settings)
{
	for (size_t i = 0; i < settings->kind_count; i++)
		if (!settings->kinds[i]->is_shared)
			return false;
	return true;
}

/* A line for each that is set. No value has a line end: the configuration is made of lines. */
static void append_strings(
	const struct credential_settings *settings, bool has_means, struct text *out)
{
	for (size_t i = 0; i < settings->kind_count; i++)
		text_appendf(out, "%s\n", settings->kinds[i]->name);
	for (size_t i = 0; i < COUNT(strings); i++) {
		const char *string =
			*string_at((struct credential_settings *)settings, strings[i].at);
		if (string != NULL && (strings[i].part == PART_SUBJECT ||
					      (has_means && strings[i].part == PART_MEANS)))
			text_appendf(out, "%zu=%s\n", i, string);
	}
}

void credential_settings_identity(const struct credential_settings *settings, struct text *out)
{
	append_strings(settings, true, out);
	for (size_t i = 0; i < COUNT(sources); i++) {
		text_appendf(out, "%zu:", i);
		secret_source_describe(
			source_at((struct credential_settings *)settings, sources[i]), out);
		text_append(out, "\n");
	}
	text_append(out, settings->sends_certificate_chain ? "chain\n" : "");
}

void credential_settings_subject(const struct credential_settings *settings, struct text *out)
{
	append_strings(settings, false, out);
	/* Whose token that is, nothing else tells. */
	if (settings->static_token.kind != SECRET_SOURCE_NONE) {
		secret_source_describe(&settings->static_token, out);
		text_append(out, "\n");
	}
}
