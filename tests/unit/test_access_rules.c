#include "token/access_rules.h"

#include "unit.h"

START_TEST(a_list_finds_what_it_holds_and_nothing_else)
{
	struct access_list list = {0};
	const uint32_t ids[] = {1000, 0, 33, 4294967294U, 33};
	ck_assert_int_eq(access_list_set(&list, "many", ids, NULL, UNIT_COUNT(ids), NULL), 0);
	for (size_t i = 0; i < UNIT_COUNT(ids); i++)
		ck_assert(access_list_has_id(&list, ids[i]));
	const uint32_t others[] = {1, 32, 34, 999, 1001, 4294967295U};
	for (size_t i = 0; i < UNIT_COUNT(others); i++)
		ck_assert(!access_list_has_id(&list, others[i]));
	const char *const units[] = {"b.service", "a.service", "a@.service"};
	ck_assert_int_eq(access_list_set(&list, "units", NULL, units, 3, NULL), 0);
	ck_assert_str_eq(list.written, "units");
	ck_assert(access_list_has_unit(&list, "a.service"));
	ck_assert(access_list_has_unit(&list, "b.service"));
	ck_assert(!access_list_has_unit(&list, "a@1.service"));
	ck_assert(!access_list_has_unit(&list, "A.service"));
	ck_assert(!access_list_has_unit(&list, ""));
	struct access_rules rules = {.deny.units = list};
	access_rules_clear(&rules);
	ck_assert(!access_list_has_unit(&rules.deny.units, "a.service"));
}
END_TEST

START_TEST(any_list_is_a_rule)
{
	const uint32_t id = 5;
	const char *const unit = "x.service";
	struct access_rules rules = {0};
	ck_assert(!access_rules_exist(&rules));
	struct access_set *const sets[] = {&rules.deny, &rules.allow, &rules.admin};
	for (size_t i = 0; i < UNIT_COUNT(sets); i++) {
		ck_assert_int_eq(access_list_set(&sets[i]->users, "5", &id, NULL, 1, NULL), 0);
		ck_assert(access_rules_exist(&rules));
		ck_assert(!access_rules_name_units(&rules));
		access_rules_clear(&rules);
		ck_assert_int_eq(access_list_set(&sets[i]->groups, "5", &id, NULL, 1, NULL), 0);
		ck_assert(access_rules_exist(&rules));
		ck_assert(!access_rules_name_units(&rules));
		access_rules_clear(&rules);
		ck_assert_int_eq(access_list_set(&sets[i]->units, unit, NULL, &unit, 1, NULL), 0);
		ck_assert(access_rules_exist(&rules));
		ck_assert(access_rules_name_units(&rules));
		access_rules_clear(&rules);
		ck_assert(!access_rules_exist(&rules));
	}
}
END_TEST

START_TEST(a_copy_is_whole_and_its_own)
{
	const uint32_t ids[] = {2, 1};
	const char *const units[] = {"x.service", "y@.service"};
	struct access_rules rules = {0};
	struct access_rules copy = {0};
	ck_assert_int_eq(access_list_set(&rules.allow.users, "b, a", ids, NULL, 2, NULL), 0);
	ck_assert_int_eq(access_list_set(&rules.deny.groups, "a", ids, NULL, 1, NULL), 0);
	ck_assert_int_eq(access_list_set(&rules.admin.units, "x, y", NULL, units, 2, NULL), 0);
	ck_assert_int_eq(access_rules_copy(&copy, &rules), 0);
	access_rules_clear(&rules);
	ck_assert(access_list_has_id(&copy.allow.users, 1));
	ck_assert(access_list_has_id(&copy.allow.users, 2));
	ck_assert(access_list_has_id(&copy.deny.groups, 2));
	ck_assert(!access_list_has_id(&copy.deny.groups, 1));
	ck_assert(access_list_has_unit(&copy.admin.units, "y@.service"));
	ck_assert_str_eq(copy.allow.users.written, "b, a");
	ck_assert(!access_rules_exist(&rules));
	ck_assert_uint_eq(copy.allow.groups.count, 0);
	access_rules_clear(&copy);
}
END_TEST

UNIT_MAIN("access_rules", a_list_finds_what_it_holds_and_nothing_else, any_list_is_a_rule,
	a_copy_is_whole_and_its_own)
