#include "emulator/options.h"

#include "base/text.h"
#include "emulator/settings.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

const char options_help[] =
	"Usage: mrtoken-emulator --directory DIR [OPTION]...\n"
	"Stand in for the Mixed Reality security token service, Microsoft Entra ID and the\n"
	"managed identity endpoints, on loopback.\n"
	"\n"
	"  --directory DIR            where ca.pem and endpoints.json are written; it is made\n"
	"                             if it is not there\n"
	"  --account ID:KEY[:SECOND]  an account and its keys; once for each account\n"
	"  --tenant ID[:DOMAIN]       a tenant of Entra; once for each tenant\n"
	"  --app ID:SECRET            an app of Entra and its client secret; once for each app\n"
	"  --arc-directory DIR        where Azure Arc's key files are written\n"
	"  --token-lifetime SECONDS   how long tokens live (86400)\n"
	"  --help                     show this text\n"
	"  --version                  show the version\n"
	"\n"
	"Once it answers, its addresses are in DIR/endpoints.json, and on standard output in a "
	"line.\n"
	"See mrtoken-emulator(1).\n";

enum option_code {
	OPTION_DIRECTORY = 1,
	OPTION_ACCOUNT,
	OPTION_TENANT,
	OPTION_APP,
	OPTION_ARC_DIRECTORY,
	OPTION_TOKEN_LIFETIME,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option known[] = {
	{"directory", required_argument, NULL, OPTION_DIRECTORY},
	{"account", required_argument, NULL, OPTION_ACCOUNT},
	{"tenant", required_argument, NULL, OPTION_TENANT},
	{"app", required_argument, NULL, OPTION_APP},
	{"arc-directory", required_argument, NULL, OPTION_ARC_DIRECTORY},
	{"token-lifetime", required_argument, NULL, OPTION_TOKEN_LIFETIME},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{NULL, 0, NULL, 0},
};
#define KNOWN_COUNT (sizeof(known) / sizeof(known[0]) - 1)

/* Which --account it was is told by its place, since what was given may be a key. */
static int read_account(
	const char *value, size_t place, struct accounts *accounts, struct error *err)
{
	char id[ACCOUNT_ID_LEN + 1] = "";
	struct account_key keys[ACCOUNT_KEYS_MAX + 1];
	size_t count = 0;
	size_t id_len = strcspn(value, ":");
	if (id_len == ACCOUNT_ID_LEN)
		memcpy(id, value, ACCOUNT_ID_LEN);
	if (!is_uuid(id))
		return error_set(err, ERR_CONFIGURATION,
			"--account number %zu: expected ID:KEY or ID:KEY:SECOND_KEY, and what "
			"stands "
			"before the first ':' (%zu characters) is not a UUID",
			place, id_len);
	const char *rest = value + id_len;
	while (*rest == ':' && count <= ACCOUNT_KEYS_MAX) {
		keys[count] = (struct account_key){rest + 1, strcspn(rest + 1, ":")};
		rest += 1 + keys[count++].len;
	}
	if (count == 0)
		return error_set(err, ERR_CONFIGURATION,
			"--account %s: expected ID:KEY or ID:KEY:SECOND_KEY, and there is no key",
			id);
	if (count > ACCOUNT_KEYS_MAX)
		return error_set(err, ERR_CONFIGURATION,
			"--account %s: expected ID:KEY or ID:KEY:SECOND_KEY, and there are more "
			"than "
			"two keys",
			id);
	int added = accounts_put(accounts, id, keys, count, err);
	if (added == 0)
		return error_set(err, ERR_CONFIGURATION, "--account %s is given twice", id);
	return added == 1 ? 0 : error_wrap(err, "--account %s", id);
}

/* The identifier before the first ':'. Returns what is behind it, or NULL when it is no UUID. */
static const char *read_identifier(const char *value, char id[UUID_SIZE])
{
	size_t len = strcspn(value, ":");
	if (len != UUID_SIZE - 1)
		return NULL;
	memcpy(id, value, len);
	id[len] = '\0';
	return is_uuid(id) ? value + len : NULL;
}

static int read_tenant(const char *value, struct tenants *tenants, struct error *err)
{
	char id[UUID_SIZE];
	const char *domain = read_identifier(value, id);
	if (domain == NULL)
		return error_set(err, ERR_CONFIGURATION,
			"--tenant %.60s: expected ID or ID:DOMAIN, and ID is not a UUID", value);
	int added = tenants_put(tenants, id, *domain == ':' ? domain + 1 : domain, err);
	if (added == 0)
		return error_set(err, ERR_CONFIGURATION, "--tenant %s is given twice", id);
	return added == 1 ? 0 : error_wrap(err, "--tenant %s", id);
}

/* Which --app it was is told by its place, since what was given may be a secret. */
static int read_app(const char *value, size_t place, struct apps *apps, struct error *err)
{
	char id[UUID_SIZE];
	const char *secret = read_identifier(value, id);
	if (secret == NULL || *secret != ':')
		return error_set(err, ERR_CONFIGURATION,
			"--app number %zu: expected ID:SECRET with a UUID as ID", place);
	struct app *app = app_with_secret(id, secret + 1, err);
	if (app == NULL)
		return error_wrap(err, "--app %s", id);
	int added = apps_put(apps, app, err);
	if (added == 0)
		return error_set(err, ERR_CONFIGURATION, "--app %s is given twice", id);
	return added == 1 ? 0 : error_wrap(err, "--app %s", id);
}

/* What getopt did not understand: argv[optind - 1] has it, with the value if there was one. */
static int unknown_option(char **argv, struct error *err)
{
	const char *names[KNOWN_COUNT];
	char word[48];
	const char *given = argv[optind - 1];
	size_t len = strcspn(given, "=");
	snprintf(word, sizeof(word), "%.*s", len < 47 ? (int)len : 47, given);
	for (size_t i = 0; i < KNOWN_COUNT; i++)
		names[i] = known[i].name;
	const char *nearest = nearest_word(word + strspn(word, "-"), names, KNOWN_COUNT);
	return error_set(err, ERR_CONFIGURATION, "unknown option %s%s%s%s", word,
		nearest == NULL ? "" : " (did you mean --", nearest == NULL ? "" : nearest,
		nearest == NULL ? "; see --help" : "?)");
}

static const char *name_of(int code)
{
	for (size_t i = 0; i < KNOWN_COUNT; i++)
		if (known[i].val == code)
			return known[i].name;
	return "?";
}

int options_read(int argc, char **argv, struct options *options, struct emulator *emulator,
	struct error *err)
{
	size_t account_count = 0;
	size_t app_count = 0;
	char first[UUID_SIZE];
	int code;
	*options = (struct options){.token_lifetime_s = TOKEN_LIFETIME_DEFAULT_S};
	/* The ':' in front keeps getopt from printing what it finds, which may be a key. */
	while ((code = getopt_long(argc, argv, "+:", known, NULL)) != -1) {
		switch (code) {
		case OPTION_DIRECTORY:
			if (*optarg == '\0')
				return error_set(err, ERR_CONFIGURATION,
					"--directory is empty: expected the path of a directory");
			options->directory = optarg;
			break;
		case OPTION_ACCOUNT:
			if (read_account(optarg, ++account_count, emulator->accounts, err) != 0)
				return -1;
			break;
		case OPTION_TENANT:
			if (read_tenant(optarg, emulator->tenants, err) != 0)
				return -1;
			break;
		case OPTION_APP:
			if (read_app(optarg, ++app_count, emulator->apps, err) != 0)
				return -1;
			break;
		case OPTION_ARC_DIRECTORY:
			if (*optarg != '/')
				return error_set(err, ERR_CONFIGURATION,
					"--arc-directory %.200s: expected a path that begins "
					"with '/'",
					optarg);
			options->arc_directory = optarg;
			break;
		case OPTION_TOKEN_LIFETIME:
			if (parse_integer(optarg, TOKEN_LIFETIME_MIN_S, SPAN_MAX_S,
				    &options->token_lifetime_s) != 0)
				return error_set(err, ERR_CONFIGURATION,
					"--token-lifetime %.40s: expected whole seconds, from %d "
					"to %lld",
					optarg, TOKEN_LIFETIME_MIN_S, (long long)SPAN_MAX_S);
			break;
		case OPTION_HELP:
			options->wants_help = true;
			return 0;
		case OPTION_VERSION:
			options->wants_version = true;
			return 0;
		case ':':
			return error_set(
				err, ERR_CONFIGURATION, "--%s needs a value", name_of(optopt));
		default:
			if (optopt >= OPTION_HELP && optopt <= OPTION_VERSION)
				return error_set(err, ERR_CONFIGURATION, "--%s takes no value",
					name_of(optopt));
			return unknown_option(argv, err);
		}
	}
	if (optind < argc)
		return error_set(err, ERR_CONFIGURATION,
			"unexpected argument number %d: there are only options; see --help",
			optind);
	if (options->directory == NULL)
		return error_set(err, ERR_CONFIGURATION,
			"--directory is missing: expected the path of a directory; see --help");
	if (!tenants_find(emulator->tenants, "organizations", first) &&
		tenants_put(emulator->tenants, TENANT_DEFAULT_ID, TENANT_DEFAULT_DOMAIN, err) < 0)
		return -1;
	return 0;
}
