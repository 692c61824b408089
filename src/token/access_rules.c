#include "token/access_rules.h"

#include <stdlib.h>
#include <string.h>

static void list_clear(struct access_list *list)
{
	for (size_t i = 0; list->units != NULL && i < list->count; i++)
		free(list->units[i]);
	free(list->units);
	free(list->ids);
	free(list->written);
	*list = (struct access_list){0};
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a;
	uint32_t two = *(const uint32_t *)b;
	return one < two ? -1 : one > two;
}

static int compare_units(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int out_of_memory(struct access_list *list, struct error *err)
{
	list_clear(list);
	return error_set(err, ERR_NO_MEMORY, "out of memory");
}

int access_list_set(struct access_list *list, const char *written, const uint32_t *ids,
	const char *const *units, size_t count, struct error *err)
{
	struct access_list made = {.written = strdup(written)};
	if (made.written == NULL)
		return out_of_memory(&made, err);
	if (ids != NULL) {
		made.ids = calloc(count + 1, sizeof(*made.ids));
		if (made.ids == NULL)
			return out_of_memory(&made, err);
		memcpy(made.ids, ids, count * sizeof(*ids));
		made.count = count;
		qsort(made.ids, count, sizeof(*made.ids), compare_ids);
	} else {
		made.units = calloc(count + 1, sizeof(char *));
		if (made.units == NULL)
			return out_of_memory(&made, err);
		for (; made.count < count; made.count++) {
			made.units[made.count] = strdup(units[made.count]);
			if (made.units[made.count] == NULL)
				return out_of_memory(&made, err);
		}
		qsort(made.units, count, sizeof(char *), compare_units);
	}
	list_clear(list);
	*list = made;
	return 0;
}

bool access_list_has_id(const struct access_list *list, uint32_t id)
{
	return list->count > 0 &&
	       bsearch(&id, list->ids, list->count, sizeof(id), compare_ids) != NULL;
}

bool access_list_has_unit(const struct access_list *list, const char *unit)
{
	return list->count > 0 &&
	       bsearch(&unit, list->units, list->count, sizeof(char *), compare_units) != NULL;
}

static bool set_exists(const struct access_set *set)
{
	return set->users.count > 0 || set->groups.count > 0 || set->units.count > 0;
}

bool access_rules_exist(const struct access_rules *rules)
{
	return set_exists(&rules->deny) || set_exists(&rules->allow) || set_exists(&rules->admin);
}

bool access_rules_name_units(const struct access_rules *rules)
{
	return rules->deny.units.count > 0 || rules->allow.units.count > 0 ||
	       rules->admin.units.count > 0;
}

static int list_copy(struct access_list *to, const struct access_list *from)
{
	if (from->written == NULL)
		return 0;
	return access_list_set(
		to, from->written, from->ids, (const char *const *)from->units, from->count, NULL);
}

static int set_copy(struct access_set *to, const struct access_set *from)
{
	return list_copy(&to->users, &from->users) != 0 ||
			       list_copy(&to->groups, &from->groups) != 0 ||
			       list_copy(&to->units, &from->units) != 0
		       ? -1
		       : 0;
}

int access_rules_copy(struct access_rules *to, const struct access_rules *from)
{
	if (set_copy(&to->deny, &from->deny) == 0 && set_copy(&to->allow, &from->allow) == 0 &&
		set_copy(&to->admin, &from->admin) == 0)
		return 0;
	access_rules_clear(to);
	return -1;
}

static void set_clear(struct access_set *set)
{
	list_clear(&set->users);
	list_clear(&set->groups);
	list_clear(&set->units);
}

void access_rules_clear(struct access_rules *rules)
{
	set_clear(&rules->deny);
	set_clear(&rules->allow);
	set_clear(&rules->admin);
}
