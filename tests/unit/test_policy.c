#include "server/policy.h"

#include "unit.h"

#include <time.h>

#define UID 1000
#define GID 100
#define GROUP 44

static gid_t own_groups[] = {7, GROUP, 1234};
static char own_unit[] = "renderer@7.service";

static struct peer own_peer(enum peer_unit_state state)
{
	return (struct peer){
		.uid = UID,
		.gid = GID,
		.pid = 4711,
		.groups = own_groups,
		.group_count = UNIT_COUNT(own_groups),
		.unit_state = state,
		.unit = state == PEER_UNIT_KNOWN ? own_unit : NULL,
	};
}

/* How a list is written: not, with others alone, or with others and the peer. */
enum written { WRITTEN_NOT, WRITTEN_OTHERS, WRITTEN_PEER, WRITTEN_COUNT };

static void set_ids(struct access_list *list, enum written written, uint32_t own)
{
	const uint32_t ids[] = {9, 5555, own};
	if (written != WRITTEN_NOT)
		ck_assert_int_eq(access_list_set(list, "ids", ids, NULL,
					 written == WRITTEN_PEER ? 3 : 2, NULL),
			0);
}

static void set_units(struct access_list *list, enum written written, const char *own)
{
	const char *const units[] = {"other.service", "renderer.service", own};
	if (written != WRITTEN_NOT)
		ck_assert_int_eq(access_list_set(list, "units", NULL, units,
					 written == WRITTEN_PEER ? 3 : 2, NULL),
			0);
}

/* One way to write all nine keys. */
struct scheme {
	enum written deny[3]; /* users, groups, units */
	enum written allow[3];
	enum written admin[3];
};

static void set_set(struct access_set *set, const enum written written[3], bool by_primary)
{
	set_ids(&set->users, written[0], UID);
	set_ids(&set->groups, written[1], by_primary ? GID : GROUP);
	set_units(&set->units, written[2], by_primary ? "renderer@.service" : own_unit);
}

/* The rule book once more, told another way: what the verdict has to be. */
static enum policy_verdict expected(
	const struct scheme *scheme, enum peer_unit_state state, enum policy_action action)
{
	const enum written *wanted = action == POLICY_ADMIN ? scheme->admin : scheme->allow;
	bool is_known = state == PEER_UNIT_KNOWN;
	bool is_open = state == PEER_UNIT_UNREAD || state == PEER_UNIT_YOUNG;
	enum policy_verdict open =
		state == PEER_UNIT_UNREAD ? POLICY_UNIT_UNREAD : POLICY_UNIT_YOUNG;
	if (scheme->deny[0] == WRITTEN_PEER)
		return POLICY_DENIED_USER;
	if (scheme->deny[1] == WRITTEN_PEER)
		return POLICY_DENIED_GROUP;
	if (scheme->deny[2] != WRITTEN_NOT && is_open)
		return open;
	if (scheme->deny[2] != WRITTEN_NOT && state == PEER_UNIT_UNKNOWN)
		return POLICY_DENIED_UNIT_UNKNOWN;
	if (scheme->deny[2] == WRITTEN_PEER && is_known)
		return POLICY_DENIED_UNIT;
	if (wanted[0] == WRITTEN_PEER || wanted[1] == WRITTEN_PEER)
		return POLICY_ALLOWED;
	if (wanted[2] == WRITTEN_PEER && is_known)
		return POLICY_ALLOWED;
	if (wanted[2] != WRITTEN_NOT && is_open)
		return open;
	return action == POLICY_ADMIN ? POLICY_NOT_ADMIN : POLICY_NOT_ALLOWED;
}

static enum written digit(unsigned *number)
{
	enum written written = (enum written)(*number % WRITTEN_COUNT);
	*number /= WRITTEN_COUNT;
	return written;
}

/* All ways to write nine keys, all that can be known of a unit, both actions: 3^9 * 5 * 2. */
START_TEST(every_combination_of_rules_decides_as_the_rule_book_says)
{
	for (unsigned number = 0; number < 19683; number++) {
		unsigned rest = number;
		struct scheme scheme;
		struct access_rules rules = {0};
		for (int i = 0; i < 3; i++) {
			scheme.deny[i] = digit(&rest);
			scheme.allow[i] = digit(&rest);
			scheme.admin[i] = digit(&rest);
		}
		bool by_primary = number % 2 == 0;
		set_set(&rules.deny, scheme.deny, by_primary);
		set_set(&rules.allow, scheme.allow, by_primary);
		set_set(&rules.admin, scheme.admin, !by_primary);
		for (int state = PEER_UNIT_UNREAD; state <= PEER_UNIT_UNKNOWN; state++) {
			const struct peer peer = own_peer((enum peer_unit_state)state);
			for (int action = POLICY_TOKEN; action <= POLICY_ADMIN; action++)
				ck_assert_int_eq(policy_decide(&rules, true, &peer,
							 (enum policy_action)action),
					expected(&scheme, (enum peer_unit_state)state,
						(enum policy_action)action));
		}
		access_rules_clear(&rules);
	}
}
END_TEST

START_TEST(without_any_rule_everybody_may_do_everything)
{
	const struct access_rules none = {0};
	for (int state = PEER_UNIT_UNREAD; state <= PEER_UNIT_UNKNOWN; state++) {
		const struct peer peer = own_peer((enum peer_unit_state)state);
		ck_assert_int_eq(policy_decide(&none, false, &peer, POLICY_TOKEN), POLICY_ALLOWED);
		ck_assert_int_eq(policy_decide(&none, false, &peer, POLICY_ADMIN), POLICY_ALLOWED);
	}
}
END_TEST

START_TEST(a_rule_of_another_account_closes_this_one)
{
	const struct access_rules none = {0};
	const struct peer peer = own_peer(PEER_UNIT_KNOWN);
	ck_assert_int_eq(policy_decide(&none, true, &peer, POLICY_TOKEN), POLICY_NOT_ALLOWED);
	ck_assert_int_eq(policy_decide(&none, true, &peer, POLICY_ADMIN), POLICY_NOT_ADMIN);
}
END_TEST

START_TEST(root_is_not_above_the_rules)
{
	struct access_rules rules = {0};
	const struct peer root = {.unit_state = PEER_UNIT_NONE};
	set_ids(&rules.allow.users, WRITTEN_PEER, UID);
	ck_assert_int_eq(policy_decide(&rules, true, &root, POLICY_TOKEN), POLICY_NOT_ALLOWED);
	ck_assert_int_eq(policy_decide(&rules, true, &root, POLICY_ADMIN), POLICY_NOT_ADMIN);
	access_rules_clear(&rules);
	set_ids(&rules.allow.users, WRITTEN_PEER, 0);
	ck_assert_int_eq(policy_decide(&rules, true, &root, POLICY_TOKEN), POLICY_ALLOWED);
	access_rules_clear(&rules);
}
END_TEST

static bool unit_matches(const char *rule, const char *unit)
{
	struct access_rules rules = {0};
	struct peer peer = {.unit_state = PEER_UNIT_KNOWN, .unit = (char *)unit};
	ck_assert_int_eq(access_list_set(&rules.allow.units, rule, NULL, &rule, 1, NULL), 0);
	bool matches = policy_decide(&rules, true, &peer, POLICY_TOKEN) == POLICY_ALLOWED;
	access_rules_clear(&rules);
	return matches;
}

START_TEST(units_match_by_their_whole_name_or_by_their_template)
{
	ck_assert(unit_matches("x.service", "x.service"));
	ck_assert(unit_matches("x@.service", "x@1.service"));
	ck_assert(unit_matches("x@.service", "x@a.b@c.service"));
	ck_assert(unit_matches("x@1.service", "x@1.service"));
	ck_assert(unit_matches("x@.service", "x@.service"));
	ck_assert(unit_matches("a\\x2db.service", "a\\x2db.service"));
	ck_assert(!unit_matches("x@1.service", "x@2.service"));
	ck_assert(!unit_matches("x@.service", "x.service"));
	ck_assert(!unit_matches("x.service", "x@1.service"));
	ck_assert(!unit_matches("x@.service", "xy@1.service"));
	ck_assert(!unit_matches("x@.service", "x@1.socket"));
	ck_assert(!unit_matches("x.service", "x.service.scope"));
	ck_assert(!unit_matches("x.service", "X.service"));
	ck_assert(!unit_matches("x.service", "x"));
	ck_assert(!unit_matches("x@.service", "x@"));
}
END_TEST

START_TEST(a_unit_whose_name_is_as_long_as_it_may_be_matches_its_template)
{
	char unit[256];
	memset(unit, 'i', sizeof(unit));
	memcpy(unit, "x@", 2);
	memcpy(unit + 255 - strlen(".service"), ".service", sizeof(".service"));
	ck_assert_uint_eq(strlen(unit), 255);
	ck_assert(unit_matches("x@.service", unit));
	ck_assert(unit_matches(unit, unit));
}
END_TEST

/* Lists of any lengths: whichever of both is gone through, the answer is whether they meet. */
START_TEST(groups_are_found_however_long_the_lists_are)
{
	uint64_t state = unit_seed("groups");
	for (int round = 0; round < 2000; round++) {
		gid_t groups[40];
		uint32_t ids[40];
		size_t group_count = unit_random(&state, 40);
		size_t id_count = 1 + unit_random(&state, 39);
		gid_t next = 0;
		bool is_meant = false;
		for (size_t i = 0; i < group_count; i++)
			groups[i] = next += 1 + (gid_t)unit_random(&state, 30);
		for (size_t i = 0; i < id_count; i++) {
			ids[i] = (uint32_t)unit_random(&state, 1000);
			for (size_t j = 0; j < group_count; j++)
				is_meant = is_meant || groups[j] == ids[i];
		}
		struct access_rules rules = {0};
		const struct peer peer = {
			.uid = 1, .gid = 100000, .groups = groups, .group_count = group_count};
		ck_assert_int_eq(
			access_list_set(&rules.allow.groups, "x", ids, NULL, id_count, NULL), 0);
		ck_assert_int_eq(policy_decide(&rules, true, &peer, POLICY_TOKEN),
			is_meant ? POLICY_ALLOWED : POLICY_NOT_ALLOWED);
		access_rules_clear(&rules);
	}
}
END_TEST

START_TEST(every_verdict_has_words_that_name_nobody)
{
	for (int verdict = POLICY_ALLOWED; verdict < POLICY_VERDICT_COUNT; verdict++) {
		const char *text = policy_verdict_text((enum policy_verdict)verdict);
		ck_assert_ptr_nonnull(text);
		ck_assert_uint_gt(strlen(text), 5);
	}
	ck_assert_ptr_nonnull(strstr(policy_verdict_text(POLICY_DENIED_USER), "deny_users"));
	ck_assert_ptr_nonnull(strstr(policy_verdict_text(POLICY_DENIED_GROUP), "deny_groups"));
	ck_assert_ptr_nonnull(strstr(policy_verdict_text(POLICY_DENIED_UNIT), "deny_units"));
	ck_assert_ptr_nonnull(
		strstr(policy_verdict_text(POLICY_DENIED_UNIT_UNKNOWN), "deny_units"));
	ck_assert_ptr_nonnull(strstr(policy_verdict_text(POLICY_NOT_ALLOWED), "allow_users"));
	ck_assert_ptr_nonnull(strstr(policy_verdict_text(POLICY_NOT_ADMIN), "admin_users"));
}
END_TEST

/* Full lists everywhere, and a verdict that needs all of them. */
START_TEST(a_verdict_takes_less_than_a_microsecond)
{
	const int64_t most_ns = UNIT_HAS_SANITIZER ? 20000 : 1000;
	uint32_t ids[128];
	const char *units[128];
	char names[128][40];
	struct access_rules rules = {0};
	const struct peer peer = own_peer(PEER_UNIT_KNOWN);
	volatile int verdicts = 0;
	for (uint32_t i = 0; i < 128; i++) {
		ids[i] = 100000 + i;
		snprintf(names[i], sizeof(names[i]), "renderer@%u.service", 100 + i);
		units[i] = names[i];
	}
	struct access_set *const sets[] = {&rules.deny, &rules.allow};
	for (size_t i = 0; i < UNIT_COUNT(sets); i++) {
		ck_assert_int_eq(access_list_set(&sets[i]->users, "x", ids, NULL, 128, NULL), 0);
		ck_assert_int_eq(access_list_set(&sets[i]->groups, "x", ids, NULL, 128, NULL), 0);
		ck_assert_int_eq(access_list_set(&sets[i]->units, "x", NULL, units, 128, NULL), 0);
	}
	int64_t best_ns = INT64_MAX;
	for (int round = 0; round < 20; round++) {
		struct timespec start;
		struct timespec end;
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
		for (int i = 0; i < 2000; i++)
			verdicts += (int)policy_decide(&rules, true, &peer, POLICY_TOKEN);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
		int64_t ns = ((end.tv_sec - start.tv_sec) * INT64_C(1000000000) + end.tv_nsec -
				     start.tv_nsec) /
			     2000;
		if (ns < best_ns)
			best_ns = ns;
	}
	ck_assert_int_eq(verdicts, 20 * 2000 * (int)POLICY_NOT_ALLOWED);
	printf("a verdict: %" PRId64 " ns\n", best_ns);
	ck_assert_int_lt(best_ns, most_ns);
	access_rules_clear(&rules);
}
END_TEST

UNIT_MAIN("policy", every_combination_of_rules_decides_as_the_rule_book_says,
	without_any_rule_everybody_may_do_everything, a_rule_of_another_account_closes_this_one,
	root_is_not_above_the_rules, units_match_by_their_whole_name_or_by_their_template,
	a_unit_whose_name_is_as_long_as_it_may_be_matches_its_template,
	groups_are_found_however_long_the_lists_are, every_verdict_has_words_that_name_nobody,
	a_verdict_takes_less_than_a_microsecond)
