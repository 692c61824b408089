#include "base/spawn.h"

#include "child_rig.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* Whether there are children, be it one that has ended and was not waited for. */
static bool has_children(void)
{
	siginfo_t info;
	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* ---- what a program gets, and what it does not ------------------------------------------------
 */

START_TEST(gives_the_named_environment_and_no_other)
{
	struct outcome outcome;
	const char *const arguments[] = {"env", NULL};
	const char *const environment[] = {"HOME=/nowhere", "A=b=c", NULL};
	struct child_command command = command_of(arguments);
	command.environment = environment;
	ck_assert_int_eq(setenv("MIXEDREALITY_ACCOUNT_KEY", "a-secret-of-this-process", 1), 0);
	run(&command, &outcome);
	ck_assert_str_eq(outcome.output, "HOME=/nowhere\nA=b=c\n");
}
END_TEST

START_TEST(gives_no_descriptor_but_the_three)
{
	struct outcome outcome;
	loop_make();
	int low = open("/dev/zero", O_RDONLY); /* none of these is closed on exec */
	int high = fcntl(low, F_DUPFD, 900);
	ck_assert_int_ge(high, 900);
	const char *const arguments[] = {"ls", "/proc/self/fd", NULL};
	struct child_command command = command_of(arguments);
	run(&command, &outcome);
	close(low);
	close(high);
	/* 3 is that of the folder. */
	ck_assert_str_eq(outcome.output, "0\n1\n2\n3\n");
}
END_TEST

static void lack_standard_descriptors(void *argument)
{
	struct outcome outcome;
	const char *const arguments[] = {
		"sh", "-c", "readlink /proc/$$/fd/0; echo complaint >&2", NULL};
	struct child_command command = command_of(arguments);
	loop_make();
	for (int fd = 0; fd < 3; fd++)
		if ((*(unsigned *)argument & 1U << fd) != 0)
			close(fd);
	run(&command, &outcome);
	if (!outcome.has_result || outcome.status != 0 ||
		strcmp(outcome.output, "/dev/null\n") != 0 ||
		strcmp(outcome.complaint, "complaint\n") != 0)
		_exit(1);
}

START_TEST(gives_the_three_also_where_this_process_lacks_them)
{
	for (unsigned closed = 1; closed < 8; closed++)
		unit_assert_exited(unit_in_child(lack_standard_descriptors, &closed), 0);
}
END_TEST

START_TEST(resets_and_unblocks_every_signal)
{
	struct outcome outcome;
	sigset_t blocked;
	sigset_t after;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGHUP);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
	ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	const char *const arguments[] = {"cat", "/proc/self/status", NULL};
	struct child_command command = command_of(arguments);
	run(&command, &outcome);
	ck_assert_ptr_nonnull(
		strstr(outcome.output, "\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
				       "SigCgt:\t0000000000000000\n"));
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, NULL, &after), 0);
	ck_assert_int_eq(sigismember(&after, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&after, SIGUSR1), 0);
}
END_TEST

START_TEST(gives_a_session_and_a_group_of_its_own)
{
	struct outcome outcome;
	int pid;
	int group;
	int session;
	const char *const arguments[] = {"cat", "/proc/self/stat", NULL};
	struct child_command command = command_of(arguments);
	run(&command, &outcome);
	ck_assert_int_eq(
		sscanf(outcome.output, "%d (cat) %*c %*d %d %d", &pid, &group, &session), 3);
	ck_assert_int_eq(group, pid);
	ck_assert_int_eq(session, pid);
}
END_TEST

START_TEST(runs_it_in_the_directory)
{
	struct outcome outcome;
	const char *const arguments[] = {"readlink", "/proc/self/cwd", NULL};
	struct child_command command = command_of(arguments);
	command.directory = "/usr/bin";
	run(&command, &outcome);
	ck_assert_str_eq(outcome.output, "/usr/bin\n");
}
END_TEST

/* Run a program that tells that it runs, and die: it must be killed, too. */
static void die_while_it_runs(void *argument)
{
	struct outcome outcome;
	const char *const arguments[] = {"sh", "-c",
		"echo $$ >\"$1\".new; mv \"$1\".new \"$1\"; exec sleep 60", "sh", argument, NULL};
	struct child_command command = command_of(arguments);
	begin(&command, &outcome);
	wait_for_file(argument);
	raise(SIGKILL);
}

START_TEST(lets_no_program_outlive_this_process)
{
	char pid_file[256];
	snprintf(pid_file, sizeof(pid_file), "%s", path_of("pid"));
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	unit_assert_killed(unit_in_child(die_while_it_runs, pid_file), SIGKILL);
	int status;
	ck_assert_int_gt(wait(&status), 0);
	unit_assert_killed(status, SIGKILL);
}
END_TEST

/* ---- users ------------------------------------------------------------------------------------
 */

START_TEST(runs_it_as_the_user_with_the_groups_that_are_named)
{
	if (geteuid() != 0)
		return;
	struct outcome outcome;
	const char *const arguments[] = {"sh", "-c",
		"id -u; id -g; id -G; grep -E '^(Uid|Gid|Cap(Prm|Eff|Amb))' /proc/self/status",
		NULL};
	const gid_t groups[] = {1234, 4321};
	struct child_command command = command_of(arguments);
	command.uid = 65534;
	command.gid = 1234;
	command.groups = groups;
	command.group_count = UNIT_COUNT(groups);
	run(&command, &outcome);
	ck_assert_str_eq(outcome.complaint, "");
	ck_assert_str_eq(outcome.output, "65534\n1234\n1234 4321\n"
					 "Uid:\t65534\t65534\t65534\t65534\n"
					 "Gid:\t1234\t1234\t1234\t1234\n"
					 "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
					 "CapAmb:\t0000000000000000\n");
}
END_TEST

START_TEST(takes_every_group_away_when_none_is_named)
{
	if (geteuid() != 0)
		return;
	struct outcome outcome;
	const char *const arguments[] = {"id", "-G", NULL};
	struct child_command command = command_of(arguments);
	command.uid = 65534;
	command.gid = 1234;
	run(&command, &outcome);
	ck_assert_str_eq(outcome.output, "1234\n");
}
END_TEST

static void be_nobody(void *argument)
{
	(void)argument;
	struct outcome outcome;
	const char *const arguments[] = {"id", NULL};
	struct child_command command = command_of(arguments);
	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
		_exit(98);
	command.uid = 1;
	command.user = "daemon";
	run(&command, &outcome);
	if (outcome.has_result || outcome.err.code != ERR_CONFIGURATION ||
		strstr(outcome.err.message, "cannot run id as the user daemon (uid 1): this "
					    "process runs as uid ") != outcome.err.message ||
		strstr(outcome.err.message, "CAP_SETUID, CAP_SETGID and CAP_KILL") == NULL)
		_exit(1);
	/* Its own user needs no change. */
	command.uid = geteuid();
	run(&command, &outcome);
	if (!outcome.has_result || outcome.status != 0)
		_exit(2);
}

START_TEST(says_what_to_do_when_it_may_not_become_that_user)
{
	unit_assert_exited(unit_in_child(be_nobody, NULL), 0);
}
END_TEST

/* A user that is not root and may become others, as systemd's AmbientCapabilities= makes one. */
static void be_privileged_nobody(void *argument)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	const unsigned wanted = *(unsigned *)argument;
	data[0].effective = data[0].permitted = data[0].inheritable = wanted;
	if (setgroups(0, NULL) != 0 || prctl(PR_SET_KEEPCAPS, 1) != 0 ||
		setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0 ||
		syscall(SYS_capset, &header, data) != 0)
		_exit(98);
	for (unsigned capability = 0; capability < 32; capability++)
		if ((wanted & 1U << capability) != 0 &&
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0)
			_exit(97);
}

static void run_with_ambient_capabilities(void *argument)
{
	struct outcome outcome;
	be_privileged_nobody(argument);
	const char *const arguments[] = {
		"sh", "-c", "id -u; grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status", NULL};
	struct child_command command = command_of(arguments);
	const char *const none = "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
				 "CapAmb:\t0000000000000000\n";
	char expected[256];
	for (uid_t uid = 65534;; uid = 1) {
		command.uid = uid;
		command.gid = uid;
		run(&command, &outcome);
		snprintf(expected, sizeof(expected), "%u\n%s", (unsigned)uid, none);
		if (!outcome.has_result || strcmp(outcome.output, expected) != 0)
			_exit((int)(uid & 0x3f) + 1);
		if (uid == 1)
			break;
	}
}

START_TEST(gives_no_capability_that_lets_this_process_change_users)
{
	unsigned wanted = 1U << CAP_SETUID | 1U << CAP_SETGID | 1U << CAP_KILL;
	if (geteuid() == 0)
		unit_assert_exited(unit_in_child(run_with_ambient_capabilities, &wanted), 0);
}
END_TEST

static void run_what_cannot_be_killed(void *argument)
{
	struct outcome outcome;
	be_privileged_nobody(argument);
	const char *const arguments[] = {"sleep", "4", NULL};
	struct child_command command = command_of(arguments);
	command.uid = 1;
	command.gid = 1;
	command.timeout_ms = 100;
	run(&command, &outcome);
	if (outcome.has_result || outcome.err.code != ERR_TIMEOUT ||
		strstr(outcome.err.message, " is still there: Operation not permitted") == NULL)
		_exit(1);
	/* It is waited for when it ends by itself. */
	while (has_children())
		loop_run(loop, 100);
}

START_TEST(answers_in_time_also_for_a_program_that_it_may_not_kill)
{
	unsigned wanted = 1U << CAP_SETUID | 1U << CAP_SETGID;
	if (geteuid() == 0)
		unit_assert_exited(unit_in_child(run_what_cannot_be_killed, &wanted), 0);
}
END_TEST

/* ---- old kernels ------------------------------------------------------------------------------
 */

/* Make the kernel one that does not know the system calls. */
static void forget_system_calls(unsigned first, unsigned second)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, second, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = UNIT_COUNT(code), .filter = code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(98);
}

static void run_on_an_old_kernel(void *argument)
{
	(void)argument;
	struct outcome outcome;
	forget_system_calls(SYS_pidfd_open, SYS_close_range);
	const char *const arguments[] = {
		"sh", "-c", "[ -e /proc/$$/fd/900 ] && echo leaked; echo token; exit 3", NULL};
	struct child_command command = command_of(arguments);
	if (fcntl(0, F_DUPFD, 900) != 900)
		_exit(97);
	run(&command, &outcome);
	if (!outcome.has_result || strcmp(outcome.output, "token\n") != 0 ||
		WEXITSTATUS(outcome.status) != 3)
		_exit(1);
	const char *const slow[] = {"sleep", "60", NULL};
	command = command_of(slow);
	command.timeout_ms = 50;
	run(&command, &outcome);
	if (outcome.has_result || outcome.err.code != ERR_TIMEOUT)
		_exit(2);
	command.timeout_ms = 60000;
	struct child *child = begin(&command, &outcome);
	loop_run(loop, 1);
	child_cancel(child);
	/* Without a descriptor that tells its end, it may be waited for a little later. */
	while (has_children())
		loop_run(loop, 100);
	if (outcome.is_done)
		_exit(3);
}

START_TEST(does_without_pidfds_and_close_range)
{
	unit_assert_exited(unit_in_child(run_on_an_old_kernel, NULL), 0);
}
END_TEST

UNIT_MAIN("spawn", gives_the_named_environment_and_no_other, gives_no_descriptor_but_the_three,
	gives_the_three_also_where_this_process_lacks_them, resets_and_unblocks_every_signal,
	gives_a_session_and_a_group_of_its_own, runs_it_in_the_directory,
	lets_no_program_outlive_this_process, runs_it_as_the_user_with_the_groups_that_are_named,
	takes_every_group_away_when_none_is_named, says_what_to_do_when_it_may_not_become_that_user,
	gives_no_capability_that_lets_this_process_change_users,
	answers_in_time_also_for_a_program_that_it_may_not_kill,
	does_without_pidfds_and_close_range)
