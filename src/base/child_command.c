#include "base/child.h"

#include <stdlib.h>
#include <string.h>

static char *copy_string(char **room, const char *string)
{
	char *copy = *room;
	*room = stpcpy(copy, string) + 1; // NOLINT: there is room for it
	return copy;
}

static size_t list_size(const char *const *list, size_t *count)
{
	size_t size = 0;
	for (*count = 0; list[*count] != NULL; (*count)++)
		size += strlen(list[*count]) + 1;
	return size;
}

/* Returns where the copy of the list was put, and moves both places on. */
static const char *const *copy_list(const char *const *list, char ***places, char **room)
{
	char **copy = *places;
	for (; *list != NULL; list++)
		*(*places)++ = copy_string(room, *list);
	*(*places)++ = NULL;
	return (const char *const *)copy;
}

struct child_command *child_command_copy(const struct child_command *command)
{
	size_t argument_count;
	size_t variable_count;
	const char *path = command->path == NULL ? "" : command->path;
	size_t strings_size = list_size(command->arguments, &argument_count) +
			      list_size(command->environment, &variable_count) + strlen(path) + 1 +
			      strlen(command->directory) + 1 +
			      (command->user == NULL ? 0 : strlen(command->user) + 1);
	size_t lists_size = (argument_count + variable_count + 2) * sizeof(char *);
	size_t groups_size = command->group_count * sizeof(gid_t);
	struct child_command *copy =
		malloc(sizeof(*copy) + lists_size + groups_size + strings_size);
	if (copy == NULL)
		return NULL;
	char **places = (char **)(copy + 1);
	gid_t *groups = (gid_t *)(places + argument_count + variable_count + 2);
	char *room = (char *)(groups + command->group_count);
	*copy = *command;
	copy->arguments = copy_list(command->arguments, &places, &room);
	copy->environment = copy_list(command->environment, &places, &room);
	copy->path = copy_string(&room, path);
	copy->directory = copy_string(&room, command->directory);
	if (command->user != NULL)
		copy->user = copy_string(&room, command->user);
	if (groups_size > 0)
		memcpy(groups, command->groups, groups_size);
	copy->groups = groups;
	return copy;
}
