/*
 * Every request that a server of the emulator received, to be read back by a test.
 *
 * Bounded: the newest RECORD_MAX requests are kept, or fewer where they are large. Numbers count
 * from 1 through the life of the program; clearing does not set them back. Any thread may call any
 * of it.
 */
#ifndef MRTOKEND_EMULATOR_RECORD_H
#define MRTOKEND_EMULATOR_RECORD_H

#include <json-c/json.h>
#include <stdint.h>

#define RECORD_MAX 20000
/* What they may take together, roughly. */
#define RECORD_BYTES_MAX ((size_t)128 * 1024 * 1024)

struct record;
struct request;

/* Returns NULL when there is no memory. */
struct record *record_new(void);
void record_free(struct record *record);

/*
 * Add a request as received.
 *
 * server     static, such as "sts"
 * fault      static name of the fault that it meets, or NULL
 * complaint  why it would be refused, or NULL when it is as it should be; copied
 *
 * Returns its number, or 0 when there was no memory to keep it.
 */
uint64_t record_add(struct record *record, const char *server, const struct request *request,
	const char *fault, const char *complaint);

/* The status with which it is answered; until then, and when the connection is cut instead, it is
 * 0. */
void record_answered(struct record *record, uint64_t number, int status);

/*
 * The requests after number `after`, as a JSON array, oldest first, to be put. If there are none
 * yet, waits up to `wait_ms` for one.
 */
struct json_object *record_list(struct record *record, uint64_t after, int64_t wait_ms);

/* Forget them. Returns how many. */
size_t record_clear(struct record *record);

/* Wake those who wait in record_list(), and let none wait any more. */
void record_stop(struct record *record);

#endif
