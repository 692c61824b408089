#include "server/permission.h"

#include <string.h>

enum policy_verdict permission_of(const struct caller *caller, const struct account_table *table,
	const struct account *account, enum policy_action action)
{
	const struct access_rules *rules = &account->settings.rules;
	enum policy_verdict verdict = policy_decide(rules, table->has_rules, caller->peer, action);
	if (verdict != POLICY_UNIT_UNREAD)
		return verdict;
	peer_read_unit(caller->peer, caller->fd, caller->way);
	return policy_decide(rules, table->has_rules, caller->peer, action);
}

bool permission_to_see(const struct caller *caller, const struct account_table *table,
	const struct account *account)
{
	return permission_of(caller, table, account, POLICY_TOKEN) == POLICY_ALLOWED ||
	       permission_of(caller, table, account, POLICY_ADMIN) == POLICY_ALLOWED;
}
