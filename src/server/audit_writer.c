#include "server/audit_writer.h"

#include "base/log.h"
#include "base/message_id.h"
#include "server/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct audit_writer {
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below; nothing is written while it is held */
	pthread_cond_t has_work;
	struct audit_line queue[AUDIT_QUEUE];
	unsigned first;
	unsigned count;
	uint64_t lost; /* tokens of which no line could be queued */
	bool is_ending;
};

static void write_line(const struct audit_line *line)
{
	char uid[16];
	char pid[16];
	char request[20];
	char count[24];
	char who[64];
	snprintf(uid, sizeof(uid), "%u", (unsigned)line->uid);
	snprintf(pid, sizeof(pid), "%d", (int)line->pid);
	snprintf(request, sizeof(request), "%016" PRIx64, line->request);
	snprintf(count, sizeof(count), "%" PRIu64, line->count);
	if (line->pid == 0)
		snprintf(who, sizeof(who), "further processes of uid %s", uid);
	else
		snprintf(who, sizeof(who), "uid %s, process %s", uid, pid);
	const struct log_field fields[] = {
		{"MESSAGE_ID", MESSAGE_TOKEN_HANDED_OUT},
		{"ACCOUNT", line->account},
		{"PEER_UID", uid},
		{"PEER_PID", line->pid == 0 ? NULL : pid},
		{"PEER_UNIT", line->unit[0] == '\0' ? NULL : line->unit},
		{"REQUEST_ID", request},
		{"TOKENS", count},
		{0},
	};
	if (line->is_first)
		log_event(LOG_LEVEL_INFO, fields, "account %s: gave a token to %s", line->account,
			who);
	else
		log_event(LOG_LEVEL_INFO, fields,
			"account %s: gave %s more tokens to %s within %" PRId64 " s", line->account,
			count, who, AUDIT_INTERVAL_MS / 1000);
}

static void write_lost(uint64_t lost)
{
	const struct log_field fields[] = {{"MESSAGE_ID", MESSAGE_AUDIT_LOST}, {0}};
	log_event(LOG_LEVEL_WARNING, fields,
		"the log was too slow to tell who got %" PRIu64 " tokens", lost);
}

static void *writer_main(void *context)
{
	struct audit_writer *writer = context;
	pthread_mutex_lock(&writer->lock);
	for (;;) {
		while (writer->count == 0 && writer->lost == 0 && !writer->is_ending)
			pthread_cond_wait(&writer->has_work, &writer->lock);
		if (writer->count == 0 && writer->lost == 0)
			break;
		uint64_t lost = writer->count == 0 ? writer->lost : 0;
		struct audit_line line = {0};
		if (writer->count > 0) {
			line = writer->queue[writer->first];
			writer->first = (writer->first + 1) % AUDIT_QUEUE;
			writer->count--;
		} else {
			writer->lost = 0;
		}
		pthread_mutex_unlock(&writer->lock);
		if (lost > 0)
			write_lost(lost);
		else
			write_line(&line);
		pthread_mutex_lock(&writer->lock);
	}
	pthread_mutex_unlock(&writer->lock);
	return NULL;
}

struct audit_writer *audit_writer_new(struct error *err)
{
	struct audit_writer *writer = calloc(1, sizeof(*writer));
	if (writer == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot start the audit: out of memory");
		return NULL;
	}
	pthread_mutex_init(&writer->lock, NULL);
	pthread_cond_init(&writer->has_work, NULL);
	int failed = pthread_create(&writer->thread, NULL, writer_main, writer);
	if (failed != 0) {
		error_set_errno(err, failed, "cannot start the audit's thread");
		pthread_cond_destroy(&writer->has_work);
		pthread_mutex_destroy(&writer->lock);
		free(writer);
		return NULL;
	}
	pthread_setname_np(writer->thread, "audit");
	return writer;
}

void audit_writer_put(struct audit_writer *writer, const struct audit_line *line)
{
	pthread_mutex_lock(&writer->lock);
	if (writer->count == AUDIT_QUEUE)
		writer->lost += line->count;
	else
		writer->queue[(writer->first + writer->count++) % AUDIT_QUEUE] = *line;
	pthread_cond_signal(&writer->has_work);
	pthread_mutex_unlock(&writer->lock);
}

void audit_writer_free(struct audit_writer *writer)
{
	if (writer == NULL)
		return;
	pthread_mutex_lock(&writer->lock);
	writer->is_ending = true;
	pthread_cond_signal(&writer->has_work);
	pthread_mutex_unlock(&writer->lock);
	pthread_join(writer->thread, NULL);
	pthread_cond_destroy(&writer->has_work);
	pthread_mutex_destroy(&writer->lock);
	free(writer);
}
