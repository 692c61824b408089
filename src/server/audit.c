#include "server/audit.h"

#include "base/log.h"
#include "server/audit_writer.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 1024 /* a power of two */

/* A process, or the further ones of a user, and an account that it got tokens of. */
struct entry {
	struct entry *next_in_slot;
	struct entry
		*next; /* by the time that their intervals end: the order in which they began */
	struct audit_line line; /* what is to be told at the end of the interval */
	int64_t end_ms;
	unsigned slot;
};

struct audit {
	struct audit_writer *writer;
	struct entry *slots[SLOTS];
	struct entry *first; /* whose interval ends first */
	struct entry *last;
	struct entry *spare;
	struct entry entries[AUDIT_ENTRIES];
};

struct audit *audit_new(struct error *err)
{
	struct audit *audit = calloc(1, sizeof(*audit));
	if (audit == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot start the audit: out of memory");
		return NULL;
	}
	audit->writer = audit_writer_new(err);
	if (audit->writer == NULL) {
		free(audit);
		return NULL;
	}
	for (size_t i = 0; i < AUDIT_ENTRIES; i++) {
		audit->entries[i].next = audit->spare;
		audit->spare = &audit->entries[i];
	}
	return audit;
}

/* FNV-1a. */
static unsigned slot_of(uid_t uid, pid_t pid, const char *account)
{
	uint32_t value = UINT32_C(2166136261) ^ (uint32_t)uid;
	value = value * UINT32_C(16777619) ^ (uint32_t)pid;
	for (; *account != '\0'; account++)
		value = value * UINT32_C(16777619) ^ (unsigned char)*account;
	return (value ^ value >> 16) % SLOTS;
}

static struct entry *find(
	const struct audit *audit, unsigned slot, uid_t uid, pid_t pid, const char *account)
{
	struct entry *entry = audit->slots[slot];
	while (entry != NULL && (entry->line.uid != uid || entry->line.pid != pid ||
					strcmp(entry->line.account, account) != 0))
		entry = entry->next_in_slot;
	return entry;
}

static void append(struct audit *audit, struct entry *entry, int64_t end_ms)
{
	entry->end_ms = end_ms;
	entry->next = NULL;
	if (audit->last != NULL)
		audit->last->next = entry;
	else
		audit->first = entry;
	audit->last = entry;
}

static void tell(struct audit *audit, struct entry *entry)
{
	audit_writer_put(audit->writer, &entry->line);
	entry->line.is_first = false;
	entry->line.count = 0;
}

static struct entry *take_first(struct audit *audit)
{
	struct entry *entry = audit->first;
	audit->first = entry->next;
	if (audit->first == NULL)
		audit->last = NULL;
	return entry;
}

/* The interval of the first entry ends. It begins anew where there was something to tell. */
static void end_interval(struct audit *audit, int64_t next_end_ms, bool is_kept)
{
	struct entry *entry = take_first(audit);
	bool has_news = entry->line.count > 0;
	if (has_news)
		tell(audit, entry);
	if (has_news && is_kept) {
		append(audit, entry, next_end_ms);
		return;
	}
	struct entry **link = &audit->slots[entry->slot];
	while (*link != entry)
		link = &(*link)->next_in_slot;
	*link = entry->next_in_slot;
	entry->next = audit->spare;
	audit->spare = entry;
}

/* Whether the user has as many entries as one may have. */
static bool has_enough(const struct audit *audit, uid_t uid)
{
	unsigned count = 0;
	for (const struct entry *entry = audit->first; entry != NULL; entry = entry->next)
		count += entry->line.uid == uid;
	return count >= AUDIT_ENTRIES_OF_USER;
}

static void add(struct audit *audit, const struct caller *caller, pid_t pid, const char *account,
	uint64_t request, int64_t now_ms)
{
	struct peer *peer = caller->peer;
	if (audit->spare == NULL)
		end_interval(audit, 0, false);
	struct entry *entry = audit->spare;
	audit->spare = entry->next;
	entry->line = (struct audit_line){
		.uid = peer->uid, .pid = pid, .request = request, .count = 1, .is_first = pid != 0};
	snprintf(entry->line.account, sizeof(entry->line.account), "%s", account);
	if (pid != 0) {
		peer_read_unit(peer, caller->fd, caller->way);
		if (peer->unit_state == PEER_UNIT_KNOWN)
			snprintf(entry->line.unit, sizeof(entry->line.unit), "%s", peer->unit);
	}
	entry->slot = slot_of(peer->uid, pid, account);
	entry->next_in_slot = audit->slots[entry->slot];
	audit->slots[entry->slot] = entry;
	append(audit, entry, now_ms + AUDIT_INTERVAL_MS);
	if (pid != 0)
		tell(audit, entry);
}

void audit_note(struct audit *audit, const struct caller *caller, const char *account,
	uint64_t request, int64_t now_ms)
{
	if (!log_is_wanted(LOG_LEVEL_INFO))
		return;
	uid_t uid = caller->peer->uid;
	pid_t pid = caller->peer->pid;
	struct entry *entry = find(audit, slot_of(uid, pid, account), uid, pid, account);
	if (entry == NULL && has_enough(audit, uid)) {
		pid = 0;
		entry = find(audit, slot_of(uid, pid, account), uid, pid, account);
	}
	if (entry == NULL) {
		add(audit, caller, pid, account, request, now_ms);
		return;
	}
	entry->line.count++;
	entry->line.request = request;
}

void audit_turn(struct audit *audit, int64_t now_ms)
{
	while (audit->first != NULL && audit->first->end_ms <= now_ms)
		end_interval(audit, now_ms + AUDIT_INTERVAL_MS, true);
}

int64_t audit_next_ms(const struct audit *audit)
{
	return audit->first == NULL ? INT64_MAX : audit->first->end_ms;
}

void audit_free(struct audit *audit)
{
	if (audit == NULL)
		return;
	while (audit->first != NULL)
		end_interval(audit, 0, false);
	audit_writer_free(audit->writer);
	free(audit);
}
