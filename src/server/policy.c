#include "server/policy.h"

#include <stdio.h>
#include <string.h>

static bool has_group(const struct peer *peer, gid_t gid)
{
	size_t low = 0;
	size_t high = peer->group_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (peer->groups[middle] == gid)
			return true;
		if (peer->groups[middle] < gid)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* The shorter of both lists is gone through, and the longer one searched. */
static bool names_group(const struct access_list *list, const struct peer *peer)
{
	if (list->count == 0)
		return false;
	if (access_list_has_id(list, peer->gid))
		return true;
	if (list->count < peer->group_count) {
		for (size_t i = 0; i < list->count; i++)
			if (has_group(peer, list->ids[i]))
				return true;
	} else {
		for (size_t i = 0; i < peer->group_count; i++)
			if (access_list_has_id(list, peer->groups[i]))
				return true;
	}
	return false;
}

/* Of "x@y.service", "x@.service". Returns whether the unit is an instance. */
static bool template_of(const char *unit, char *out, size_t size)
{
	const char *at = strchr(unit, '@');
	const char *dot = strrchr(unit, '.');
	if (at == NULL || dot == NULL || dot < at)
		return false;
	int len = snprintf(out, size, "%.*s%s", (int)(at + 1 - unit), unit, dot);
	return len > 0 && (size_t)len < size;
}

static bool names_unit(const struct access_list *list, const struct peer *peer)
{
	char all_instances[256]; /* the longest name of a unit, and its end */
	if (list->count == 0 || peer->unit_state != PEER_UNIT_KNOWN)
		return false;
	return access_list_has_unit(list, peer->unit) ||
	       (template_of(peer->unit, all_instances, sizeof(all_instances)) &&
		       access_list_has_unit(list, all_instances));
}

static bool is_unsettled(const struct peer *peer)
{
	return peer->unit_state == PEER_UNIT_UNREAD || peer->unit_state == PEER_UNIT_YOUNG;
}

static enum policy_verdict ask_again(const struct peer *peer)
{
	return peer->unit_state == PEER_UNIT_UNREAD ? POLICY_UNIT_UNREAD : POLICY_UNIT_YOUNG;
}

static enum policy_verdict decide_denial(const struct access_set *deny, const struct peer *peer)
{
	if (access_list_has_id(&deny->users, peer->uid))
		return POLICY_DENIED_USER;
	if (names_group(&deny->groups, peer))
		return POLICY_DENIED_GROUP;
	if (deny->units.count == 0)
		return POLICY_ALLOWED;
	if (names_unit(&deny->units, peer))
		return POLICY_DENIED_UNIT;
	if (is_unsettled(peer))
		return ask_again(peer);
	/* Else to end in time would be the way round the rule. */
	return peer->unit_state == PEER_UNIT_UNKNOWN ? POLICY_DENIED_UNIT_UNKNOWN : POLICY_ALLOWED;
}

enum policy_verdict policy_decide(const struct access_rules *rules, bool any_rules,
	const struct peer *peer, enum policy_action action)
{
	const struct access_set *wanted = action == POLICY_ADMIN ? &rules->admin : &rules->allow;
	if (!any_rules)
		return POLICY_ALLOWED;
	enum policy_verdict denial = decide_denial(&rules->deny, peer);
	if (denial != POLICY_ALLOWED)
		return denial;
	if (access_list_has_id(&wanted->users, peer->uid) || names_group(&wanted->groups, peer) ||
		names_unit(&wanted->units, peer))
		return POLICY_ALLOWED;
	if (wanted->units.count > 0 && is_unsettled(peer))
		return ask_again(peer);
	return action == POLICY_ADMIN ? POLICY_NOT_ADMIN : POLICY_NOT_ALLOWED;
}

const char *policy_verdict_text(enum policy_verdict verdict)
{
	static const char *const texts[POLICY_VERDICT_COUNT] = {
		[POLICY_ALLOWED] = "allowed",
		[POLICY_DENIED_USER] = "its deny_users names your user",
		[POLICY_DENIED_GROUP] = "its deny_groups names a group of yours",
		[POLICY_DENIED_UNIT] = "its deny_units names the systemd unit of your process",
		[POLICY_DENIED_UNIT_UNKNOWN] =
			"it has deny_units, and the systemd unit of your process cannot be told",
		[POLICY_NOT_ALLOWED] =
			"none of its allow_users, allow_groups and allow_units names you",
		[POLICY_NOT_ADMIN] =
			"to refresh it or to log in is for those whom its admin_users, "
			"admin_groups or admin_units name, and none of them names you",
		[POLICY_UNIT_UNREAD] = "the systemd unit of your process is not known yet",
		[POLICY_UNIT_YOUNG] = "your process has just started, so that its systemd unit "
				      "cannot be told for certain; connect once more",
	};
	return texts[verdict];
}
