#include "base/child.h"

#include "base/spawn.h"
#include "base/turns.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_STEP ((size_t)4096)
/* More than a pipe holds: who writes more than that after the program's end is not waited for. */
#define DRAIN_STEPS 32
/* How often an end is looked for where no descriptor tells. */
#define LOOK_MS 20
/* How long cancelling waits for a process that was killed: a few hundred times what it takes. */
#define CANCEL_MS 100

enum phase {
	PHASE_QUEUED, /* no process yet; its timer is set to when its turn came, or to never */
	PHASE_RUNNING, /* until its time is over */
	PHASE_TERMINATED, /* until it has had time to obey SIGTERM */
	PHASE_KILLED, /* SIGKILL was sent; until nothing is expected of it any more */
	PHASE_LEFT, /* answered or cancelled, only to be waited for */
};

struct child {
	struct loop *loop;
	child_done_fn done;
	void *context;
	struct turn turn; /* from child_start() until its process was waited for */
	enum phase phase;
	struct loop_timer timer; /* what ends the phase */
	struct loop_timer look; /* only where there is no pidfd */
	struct spawned process;
	struct loop_watch watches[4];
	struct secret *output;
	struct secret *complaint;
	struct error failure; /* ERR_NONE as long as nothing went wrong */
	int kill_errnum; /* why the last signal could not be sent, or 0 */
	struct child_command *command; /* a copy */
};

enum {
	WATCH_OUTPUT,
	WATCH_COMPLAINT,
	WATCH_REPORT,
	WATCH_END,
};

static struct turns turns = {.most = CHILD_COUNT_MAX};

/* ---- its end --------------------------------------------------------------------------------- */

static void stop_watch(struct child *child, int which)
{
	struct loop_watch *watch = &child->watches[which];
	if (watch->ready == NULL)
		return;
	loop_watch_stop(child->loop, watch);
	close(watch->fd);
	watch->ready = NULL;
}

static void wipe(struct child *child)
{
	stop_watch(child, WATCH_OUTPUT);
	stop_watch(child, WATCH_COMPLAINT);
	stop_watch(child, WATCH_REPORT);
	secret_free(child->output);
	secret_free(child->complaint);
	child->output = child->complaint = NULL;
}

static void child_free(struct child *child)
{
	wipe(child);
	stop_watch(child, WATCH_END);
	loop_timer_cancel(child->loop, &child->timer);
	loop_timer_cancel(child->loop, &child->look);
	free(child->command);
	free(child);
}

/* Say what came of it. The output and the complaint live until `done` returns. */
static void answer(struct child *child, int status)
{
	child_done_fn done = child->done;
	child->done = NULL;
	if (child->failure.code != ERR_NONE) {
		done(child->context, NULL, &child->failure);
		return;
	}
	struct child_result result = {
		.status = status, .output = child->output, .complaint = child->complaint};
	done(child->context, &result, NULL);
	child->output = result.output;
}

/* Nothing more is expected of it, but it must still be waited for. */
static void leave(struct child *child)
{
	wipe(child);
	loop_timer_cancel(child->loop, &child->timer);
	child->phase = PHASE_LEFT;
}

static void fail(struct child *child, const struct error *err)
{
	if (child->failure.code == ERR_NONE)
		child->failure = *err;
}

/* Move on: send a signal, and give it some time. */
static void enter_phase(struct child *child, enum phase phase, int signal_number)
{
	child->phase = phase;
	child->kill_errnum = spawn_kill(child->process.pid, signal_number) == 0 ? 0 : errno;
	/* It is set, or has just fired: there is room for it. */
	(void)loop_timer_set(child->loop, &child->timer, loop_now_ms(child->loop) + CHILD_GRACE_MS);
}

static void kill_for(struct child *child, const struct error *err)
{
	fail(child, err);
	if (child->phase != PHASE_KILLED)
		enter_phase(child, PHASE_KILLED, SIGKILL);
}

/* ---- what it prints -------------------------------------------------------------------------- */

/*
 * Read once. Returns how much came, 0 at the end, -1 when there is nothing now, -2 with *err.
 */
static ssize_t read_output(struct child *child, struct error *err)
{
	size_t len = secret_len(child->output);
	size_t room = child->command->output_max + 1 - len;
	unsigned char *bytes = secret_extend(child->output, room < READ_STEP ? room : READ_STEP);
	if (bytes == NULL) {
		error_set(err, ERR_NO_MEMORY, "cannot keep what %s prints: out of memory",
			child->command->arguments[0]);
		return -2;
	}
	ssize_t got = read(child->watches[WATCH_OUTPUT].fd, bytes, secret_len(child->output) - len);
	int errnum = errno;
	secret_truncate(child->output, len + (got > 0 ? (size_t)got : 0));
	if (secret_len(child->output) > child->command->output_max) {
		error_set(err, ERR_UPSTREAM_FORMAT,
			"%s printed more than %zu bytes, and was killed",
			child->command->arguments[0], child->command->output_max);
		return -2;
	}
	if (got < 0 && errnum != EAGAIN && errnum != EINTR) {
		error_set_errno(
			err, errnum, "cannot read what %s prints", child->command->arguments[0]);
		return -2;
	}
	return got;
}

/* As read_output; what is beyond the beginning is thrown away. */
static ssize_t read_complaint(struct child *child, struct error *err)
{
	unsigned char rest[READ_STEP];
	size_t len = secret_len(child->complaint);
	unsigned char *bytes = len < CHILD_COMPLAINT_MAX
				       ? secret_extend(child->complaint, CHILD_COMPLAINT_MAX - len)
				       : NULL;
	ssize_t got = read(child->watches[WATCH_COMPLAINT].fd, bytes == NULL ? rest : bytes,
		bytes == NULL ? sizeof(rest) : CHILD_COMPLAINT_MAX - len);
	int errnum = errno;
	if (bytes != NULL)
		secret_truncate(child->complaint, len + (got > 0 ? (size_t)got : 0));
	else
		explicit_bzero(rest, sizeof(rest));
	if (got < 0 && errnum != EAGAIN && errnum != EINTR) {
		error_set_errno(err, errnum, "cannot read what %s complains of",
			child->command->arguments[0]);
		return -2;
	}
	return got;
}

static void output_ready(void *context)
{
	struct child *child = context;
	struct error err;
	ssize_t got = read_output(child, &err);
	if (got == 0 || got == -2)
		stop_watch(child, WATCH_OUTPUT);
	if (got == -2)
		kill_for(child, &err);
}

static void complaint_ready(void *context)
{
	struct child *child = context;
	struct error err;
	ssize_t got = read_complaint(child, &err);
	if (got == 0 || got == -2)
		stop_watch(child, WATCH_COMPLAINT);
	if (got == -2)
		kill_for(child, &err);
}

static void report_ready(void *context)
{
	struct child *child = context;
	struct error err;
	int result = spawn_read_report(child->command, child->watches[WATCH_REPORT].fd, &err);
	if (result == 1)
		return;
	stop_watch(child, WATCH_REPORT);
	if (result != 0)
		fail(child, &err); /* it is about to end by itself */
}

/* Read what it left in its pipes; they may be open still, held by what it started. */
static void drain(struct child *child)
{
	struct error err;
	ssize_t got = 1;
	if (child->watches[WATCH_REPORT].ready != NULL)
		report_ready(child);
	while (child->failure.code == ERR_NONE && child->watches[WATCH_OUTPUT].ready != NULL &&
		got > 0)
		got = read_output(child, &err);
	if (got == -2)
		fail(child, &err);
	got = 1;
	for (int i = 0; i < DRAIN_STEPS && got > 0 && child->watches[WATCH_COMPLAINT].ready != NULL;
		i++)
		got = read_complaint(child, &err);
	if (got == -2)
		fail(child, &err);
}

/* ---- its life -------------------------------------------------------------------------------- */

/*
 * Whether it has ended, 1 or 0, without waiting for it, so that its number stays its own; -1 when
 * it is no child of this process any more.
 */
static int has_ended(const struct child *child)
{
	siginfo_t info = {0};
	if (waitid(P_PID, (id_t)child->process.pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
		return errno == EINTR ? 0 : -1;
	return info.si_pid != 0;
}

/* Let nothing be left of its group, and wait for it. It has ended. */
static int reap(const struct child *child)
{
	int status = 0;
	spawn_kill(child->process.pid, SIGKILL);
	while (waitpid(child->process.pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void end_ready(void *context)
{
	struct child *child = context;
	int ended = has_ended(child);
	if (ended == 0)
		return;
	if (child->phase != PHASE_LEFT)
		drain(child);
	int status = ended > 0 ? reap(child) : 0;
	if (ended < 0) {
		struct error err;
		error_set(&err, ERR_SYSTEM,
			"cannot tell how %s ended: something else has waited for it",
			child->command->arguments[0]);
		fail(child, &err);
	}
	turns_give_back(&turns, &child->turn);
	if (child->phase != PHASE_LEFT)
		answer(child, status);
	child_free(child);
}

static void look(void *context)
{
	struct child *child = context;
	/* Just fired, it is not in the heap: there is room for it. */
	(void)loop_timer_set(child->loop, &child->look, loop_now_ms(child->loop) + LOOK_MS);
	end_ready(child);
}

/* It hangs in the kernel, or may not be killed: it keeps its turn, so that there are never more. */
static void give_up(struct child *child)
{
	struct error why;
	error_set_errno(&why, child->kill_errnum == 0 ? EBUSY : child->kill_errnum,
		"process %ld is still there", (long)child->process.pid);
	struct error failure = child->failure;
	error_set(&child->failure, failure.code, "%s; %s", failure.message, why.message);
	answer(child, 0);
	leave(child);
}

static void start(struct child *child);

static void timer_fires(void *context)
{
	struct child *child = context;
	struct error err;
	switch (child->phase) {
	case PHASE_QUEUED:
		start(child);
		return;
	case PHASE_RUNNING:
		error_set(&err, ERR_TIMEOUT, "%s did not end within %g s, and was stopped",
			child->command->arguments[0], (double)child->command->timeout_ms / 1000);
		fail(child, &err);
		enter_phase(child, PHASE_TERMINATED, SIGTERM);
		return;
	case PHASE_TERMINATED:
		if (child->failure.code == ERR_TIMEOUT)
			error_set(&child->failure, ERR_TIMEOUT,
				"%s did not end within %g s, nor when it was asked to by SIGTERM, "
				"and was "
				"killed",
				child->command->arguments[0],
				(double)child->command->timeout_ms / 1000);
		enter_phase(child, PHASE_KILLED, SIGKILL);
		return;
	case PHASE_KILLED:
		give_up(child);
		return;
	case PHASE_LEFT:
		return;
	}
}

static void watch(struct child *child, int which, int fd, void (*ready)(void *))
{
	child->watches[which] =
		(struct loop_watch){.fd = fd, .events = POLLIN, .ready = ready, .context = child};
	loop_watch_start(child->loop, &child->watches[which]);
}

static void start(struct child *child)
{
	struct error err = ERROR_INIT;
	int64_t now_ms = loop_now_ms(child->loop);
	child->output = secret_new(READ_STEP);
	child->complaint = secret_new(CHILD_COMPLAINT_MAX);
	if (child->output == NULL || child->complaint == NULL ||
		loop_timer_set(child->loop, &child->timer, now_ms + child->command->timeout_ms) !=
			0 ||
		loop_timer_set(child->loop, &child->look, INT64_MAX) != 0)
		error_set(&err, ERR_NO_MEMORY, "cannot run %s: out of memory",
			child->command->arguments[0]);
	if (err.code != ERR_NONE || spawn_start(child->command, &child->process, &err) != 0) {
		fail(child, &err);
		turns_give_back(&turns, &child->turn);
		answer(child, 0);
		child_free(child);
		return;
	}
	child->phase = PHASE_RUNNING;
	watch(child, WATCH_OUTPUT, child->process.output_fd, output_ready);
	watch(child, WATCH_COMPLAINT, child->process.complaint_fd, complaint_ready);
	watch(child, WATCH_REPORT, child->process.report_fd, report_ready);
	if (child->process.pidfd >= 0)
		watch(child, WATCH_END, child->process.pidfd, end_ready);
	else
		(void)loop_timer_set(child->loop, &child->look, now_ms + LOOK_MS);
}

/* ---- for callers ----------------------------------------------------------------------------- */

struct child *child_start(struct loop *loop, const struct child_command *command,
	child_done_fn done, void *context, struct error *err)
{
	struct child *child = calloc(1, sizeof(*child));
	if (child != NULL) {
		child->loop = loop;
		child->done = done;
		child->context = context;
		child->failure = ERROR_INIT;
		child->process.pidfd = -1;
		child->timer.fire = timer_fires;
		child->timer.context = child;
		child->look.fire = look;
		child->look.context = child;
	}
	if (child == NULL || (child->command = child_command_copy(command)) == NULL ||
		turns_ask(&turns, &child->turn, loop, &child->timer) != 0) {
		if (child != NULL)
			child_free(child);
		error_set(
			err, ERR_NO_MEMORY, "cannot run %s: out of memory", command->arguments[0]);
		return NULL;
	}
	return child;
}

void child_cancel(struct child *child)
{
	if (child->phase == PHASE_QUEUED) {
		turns_give_back(&turns, &child->turn);
		child_free(child);
		return;
	}
	leave(child);
	spawn_kill(child->process.pid, SIGKILL);
	struct pollfd end = {.fd = child->process.pidfd, .events = POLLIN};
	poll(&end, 1, child->process.pidfd < 0 ? LOOK_MS : CANCEL_MS);
	end_ready(child);
}
