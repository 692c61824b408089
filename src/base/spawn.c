#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What a child does before it is another program, and what can fail of it. */
enum step {
	STEP_SESSION,
	STEP_DESCRIPTORS,
	STEP_GROUPS,
	STEP_USER,
	STEP_CAPABILITIES,
	STEP_LIFE,
	STEP_DIRECTORY,
	STEP_EXECUTE,
	STEP_INTERPRETER, /* the program is there, what its first line names is not */
};

struct report {
	enum step step;
	int errnum;
};

/* All that the child needs, made before the fork: after it, nothing may allocate. */
struct plan {
	const struct child_command *command;
	char **candidates; /* paths to execute, in order, ended by NULL; one block of memory */
	bool changes_user;
	pid_t parent;
	int input_fd;
	int output_fd;
	int complaint_fd;
	int report_fd;
};

/* ---- in the child: async-signal-safe functions only ---------------------------------------- */

/* glibc's own functions for these are made for whole processes, and take locks. */
#ifdef SYS_setgroups32
#define SYS_SETGROUPS SYS_setgroups32
#define SYS_SETRESGID SYS_setresgid32
#define SYS_SETRESUID SYS_setresuid32
#else
#define SYS_SETGROUPS SYS_setgroups
#define SYS_SETRESGID SYS_setresgid
#define SYS_SETRESUID SYS_setresuid
#endif

static _Noreturn void give_up(int report_fd, enum step step)
{
	struct report report = {.step = step, .errnum = errno};
	/* A pipe takes so little as a whole; when nobody reads it any more, nobody cares. */
	ssize_t written = write(report_fd, &report, sizeof(report));
	_exit(written == (ssize_t)sizeof(report) ? 127 : 126);
}

/*
 * All of them, by the kernel's own call: glibc keeps two to itself that signal() will not touch,
 * and that a parent such as make may have left ignored.
 */
static void reset_signals(void)
{
	static const unsigned long default_action[8]; /* the kernel's struct, all zero: SIG_DFL */
	for (int number = 1; number < NSIG; number++)
		syscall(SYS_rt_sigaction, number, default_action, NULL, (size_t)8);
}

/* Close whatever is open from `first` on. Returns 0 or -1. */
static int close_from(unsigned first)
{
	if (syscall(SYS_close_range, first, ~0U, 0) == 0)
		return 0;
	if (errno != ENOSYS && errno != EPERM)
		return -1;
	struct rlimit
		limit; /* a kernel before 5.9, or a filter of system calls that does not know it */
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return -1;
	for (rlim_t fd = first; fd < limit.rlim_max && fd < 1U << 20; fd++)
		close((int)fd);
	return 0;
}

static _Noreturn void execute(const struct plan *plan)
{
	const struct child_command *command = plan->command;
	int errnum = ENOENT;
	for (char **path = plan->candidates; *path != NULL; path++) {
		execve(*path, (char *const *)command->arguments,
			(char *const *)command->environment);
		if (errno == ENOENT && access(*path, F_OK) == 0)
			give_up(3, STEP_INTERPRETER);
		if (errno == EACCES)
			errnum = EACCES; /* tell, unless a later one is found */
		else if (errno != ENOENT && errno != ENOTDIR)
			give_up(3, STEP_EXECUTE);
	}
	errno = errnum;
	give_up(3, STEP_EXECUTE);
}

static _Noreturn void become(const struct plan *plan)
{
	const struct child_command *command = plan->command;
	int report_fd = plan->report_fd;
	reset_signals();
	if (setsid() < 0)
		give_up(report_fd, STEP_SESSION);
	/* None of these is below 3, so that none is overwritten before it was put in place. */
	if (dup2(plan->input_fd, 0) < 0 || dup2(plan->output_fd, 1) < 0 ||
		dup2(plan->complaint_fd, 2) < 0 ||
		(report_fd != 3 && dup3(report_fd, 3, O_CLOEXEC) < 0))
		give_up(report_fd, STEP_DESCRIPTORS);
	report_fd = 3;
	if (close_from(4) != 0)
		give_up(report_fd, STEP_DESCRIPTORS);
	if (plan->changes_user) {
		if (syscall(SYS_SETGROUPS, command->group_count, command->groups) != 0)
			give_up(report_fd, STEP_GROUPS);
		if (syscall(SYS_SETRESGID, command->gid, command->gid, command->gid) != 0 ||
			syscall(SYS_SETRESUID, command->uid, command->uid, command->uid) != 0)
			give_up(report_fd, STEP_USER);
	}
	/* What lets the daemon run programs as others is not for those programs. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL)
		give_up(report_fd, STEP_CAPABILITIES);
	/* After the change of user, which takes it back. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		give_up(report_fd, STEP_LIFE);
	if (getppid() != plan->parent)
		_exit(126); /* the daemon has gone before it could be told to kill */
	if (chdir(command->directory) != 0)
		give_up(report_fd, STEP_DIRECTORY);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execute(plan);
}

/* ---- in the parent --------------------------------------------------------------------------- */

/* Whether the entry of a path from `start` to `end` may be searched: never the present directory.
 */
static bool is_searched(const char *start, const char *end)
{
	return end > start && *start == '/';
}

/*
 * List the paths that the program may be at: a name with a slash is one itself.
 * Returns NULL when there is no memory. Free with free().
 */
static char **list_candidates(const char *program, const char *path)
{
	bool is_path = strchr(program, '/') != NULL;
	if (is_path || path == NULL)
		path = "";
	size_t count = 2; /* and the NULL */
	for (const char *c = path; *c != '\0'; c++)
		count += *c == ':';
	size_t room = strlen(program) + 2; /* its slash and NUL */
	char **candidates = malloc(count * (sizeof(char *) + room) + strlen(path));
	if (candidates == NULL)
		return NULL;
	char *next = (char *)(candidates + count);
	size_t used = 0;
	if (is_path) {
		strcpy(next, program); // NOLINT: there is room for it
		candidates[used++] = next;
	}
	for (const char *start = path; *start != '\0';) {
		const char *end = strchrnul(start, ':');
		if (is_searched(start, end)) {
			candidates[used++] = next;
			next = mempcpy(next, start, (size_t)(end - start));
			*next++ = '/';
			next = stpcpy(next, program) + 1; // NOLINT: there is room for it
		}
		start = *end == '\0' ? end : end + 1;
	}
	candidates[used] = NULL;
	return candidates;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Move a descriptor out of the way of 0, 1 and 2, should one of those be free. Returns 0 or -1. */
static int lift_fd(int *fd)
{
	if (*fd > 2)
		return 0;
	int lifted = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
	if (lifted < 0)
		return -1;
	close(*fd);
	*fd = lifted;
	return 0;
}

/* A pipe that the parent reads without waiting, and the child writes to as any program does. */
static int make_pipe(int *read_fd, int *write_fd)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) != 0)
		return -1;
	*read_fd = fds[0];
	*write_fd = fds[1];
	if (lift_fd(read_fd) != 0 || lift_fd(write_fd) != 0)
		return -1;
	return fcntl(*read_fd, F_SETFL, O_NONBLOCK);
}

static int open_all(struct plan *plan, struct spawned *spawned)
{
	plan->input_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (plan->input_fd < 0 || lift_fd(&plan->input_fd) != 0)
		return -1;
	if (make_pipe(&spawned->output_fd, &plan->output_fd) != 0 ||
		make_pipe(&spawned->complaint_fd, &plan->complaint_fd) != 0)
		return -1;
	return make_pipe(&spawned->report_fd, &plan->report_fd);
}

static void close_plan(struct plan *plan)
{
	close_fd(&plan->input_fd);
	close_fd(&plan->output_fd);
	close_fd(&plan->complaint_fd);
	close_fd(&plan->report_fd);
	free(plan->candidates);
}

/* Fork; the child does not return. No signal reaches it before it has handlers of its own. */
static pid_t fork_quietly(const struct plan *plan)
{
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0)
		become(plan);
	int errnum = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = errnum;
	return pid;
}

/* Where SIGCHLD is ignored, processes vanish by themselves, and their numbers become others'. */
static bool are_children_lost(void)
{
	struct sigaction action;
	return sigaction(SIGCHLD, NULL, &action) == 0 &&
	       (action.sa_handler == SIG_IGN || (action.sa_flags & SA_NOCLDWAIT) != 0);
}

int spawn_start(const struct child_command *command, struct spawned *spawned, struct error *err)
{
	const char *program = command->arguments[0];
	if (are_children_lost())
		return error_set(err, ERR_SYSTEM,
			"cannot run %s: this process ignores SIGCHLD, and would not learn how it "
			"ended",
			program);
	struct plan plan = {
		.command = command,
		.candidates = list_candidates(program, command->path),
		.changes_user = command->uid != geteuid(),
		.parent = getpid(),
		.input_fd = -1,
		.output_fd = -1,
		.complaint_fd = -1,
		.report_fd = -1,
	};
	struct spawned made = {
		.pid = -1, .pidfd = -1, .output_fd = -1, .complaint_fd = -1, .report_fd = -1};
	if (plan.candidates == NULL)
		return error_set(err, ERR_NO_MEMORY, "cannot run %s: out of memory", program);
	if (open_all(&plan, &made) != 0)
		error_set_errno(err, errno, "cannot run %s: no descriptors for it", program);
	else if ((made.pid = fork_quietly(&plan)) < 0)
		error_set_errno(err, errno, "cannot run %s: no process for it", program);
	close_plan(&plan);
	if (made.pid < 0) {
		close_fd(&made.output_fd);
		close_fd(&made.complaint_fd);
		close_fd(&made.report_fd);
		return -1;
	}
	/* It is not waited for yet, so the number is still its own. */
	made.pidfd = (int)syscall(SYS_pidfd_open, made.pid, 0);
	*spawned = made;
	return 0;
}

static int explain_execute(
	const struct child_command *command, const struct report *report, struct error *err)
{
	const char *program = command->arguments[0];
	bool is_path = strchr(program, '/') != NULL;
	if (report->step == STEP_INTERPRETER)
		return error_set(err, ERR_UNAVAILABLE,
			"cannot run %s: it is there, but what its first line (#!) or its header "
			"names to "
			"run it is not",
			program);
	if (report->errnum == ENOENT || report->errnum == ENOTDIR)
		return is_path ? error_set(err, ERR_UNAVAILABLE, "there is no program %s", program)
			       : error_set(err, ERR_UNAVAILABLE,
					 "there is no program %s in PATH (%.300s)", program,
					 command->path == NULL ? "" : command->path);
	error_set_errno(err, report->errnum, "cannot run %s%s%s", program,
		command->user == NULL ? "" : " as the user ",
		command->user == NULL ? "" : command->user);
	if (report->errnum == EACCES || report->errnum == ENOEXEC)
		err->code = ERR_UNAVAILABLE;
	return -1;
}

static int explain_user(const struct child_command *command, int errnum, struct error *err)
{
	const char *program = command->arguments[0];
	const char *user = command->user == NULL ? "of another number" : command->user;
	if (errnum != EPERM)
		return error_set_errno(err, errnum, "cannot run %s as the user %s (uid %u)",
			program, user, (unsigned)command->uid);
	return error_set(err, ERR_CONFIGURATION,
		"cannot run %s as the user %s (uid %u): this process runs as uid %u and may not "
		"become "
		"another; run it as that user, or give it the capabilities CAP_SETUID, CAP_SETGID "
		"and "
		"CAP_KILL",
		program, user, (unsigned)command->uid, (unsigned)geteuid());
}

static int explain(
	const struct child_command *command, const struct report *report, struct error *err)
{
	const char *program = command->arguments[0];
	switch (report->step) {
	case STEP_GROUPS:
	case STEP_USER:
		return explain_user(command, report->errnum, err);
	case STEP_DIRECTORY:
		return error_set_errno(err, report->errnum, "cannot run %s in the directory %s",
			program, command->directory);
	case STEP_EXECUTE:
	case STEP_INTERPRETER:
		return explain_execute(command, report, err);
	case STEP_SESSION:
	case STEP_DESCRIPTORS:
	case STEP_CAPABILITIES:
	case STEP_LIFE:
		break;
	}
	return error_set_errno(err, report->errnum,
		"cannot run %s: preparing its process failed at step %d", program,
		(int)report->step);
}

int spawn_read_report(const struct child_command *command, int report_fd, struct error *err)
{
	struct report report;
	ssize_t got = read(report_fd, &report, sizeof(report));
	if (got == (ssize_t)sizeof(report))
		return explain(command, &report, err);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	return 0;
}

int spawn_kill(pid_t pid, int signal_number)
{
	/* Until it has made its session, it has no group of its own: it is alone then. */
	if (kill(-pid, signal_number) == 0 ||
		(errno == ESRCH && (kill(pid, signal_number) == 0 || errno == ESRCH)))
		return 0;
	return -1;
}
