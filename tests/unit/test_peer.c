/*
 * Peers with real sockets and real processes. What libsystemd makes of a cgroup is put in its place
 * here; tests/system/test_service_peers.py has the real one.
 */
#include "server/peer.h"

#include "base/clock.h"

#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

int __wrap_sd_pid_get_unit(pid_t pid, char **unit);

static int unit_result;
static pid_t unit_asked; /* for this process */
static pid_t unit_kills; /* while it is read, unless 0 */

int __wrap_sd_pid_get_unit(pid_t pid, char **unit)
{
	unit_asked = pid;
	if (unit_kills != 0) {
		kill(unit_kills, SIGKILL);
		siginfo_t info;
		waitid(P_PID, (id_t)unit_kills, &info, WEXITED | WNOWAIT);
	}
	if (unit_result < 0)
		return unit_result;
	*unit = strdup("renderer.service");
	return 0;
}

static struct sockaddr_un address = {.sun_family = AF_UNIX};

static int64_t now_ms(void)
{
	return clock_boottime_ms(&clock_system);
}

/* A process starts when the clock says so in ticks of 10 ms; this is later than now by any count.
 */
static void let_a_tick_pass(void)
{
	int64_t end_ms = now_ms() + 21;
	while (now_ms() < end_ms)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static unsigned descriptors(void)
{
	unsigned count = 0;
	DIR *directory = opendir("/proc/self/fd");
	ck_assert_ptr_nonnull(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

static int listen_here(void)
{
	/* An abstract name: nothing to remove. */
	int len = snprintf(
		address.sun_path + 1, sizeof(address.sun_path) - 1, "test_peer.%d", (int)getpid());
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_gt(len, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 10), 0);
	return fd;
}

/* What a child is before it connects. */
struct identity {
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t group_count;
};

static void connect_as(const struct identity *identity)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (setgroups(identity->group_count, identity->groups) != 0 ||
		setresgid(identity->gid, identity->gid, identity->gid) != 0 ||
		setresuid(identity->uid, identity->uid, identity->uid) != 0 ||
		connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		_exit(3);
}

/* A child that has connected, and lives until it is killed. */
static pid_t start_client(const struct identity *identity)
{
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		connect_as(identity);
		for (;;)
			pause();
	}
	return child;
}

static void end_client(pid_t child)
{
	int status;
	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFSIGNALED(status), "the client could not connect");
}

static const struct identity nobody_special = {.uid = 4321, .gid = 8765};

static int accept_one(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

START_TEST(tells_user_group_process_and_supplementary_groups)
{
	const gid_t groups[] = {300, 20, 1000000, 21};
	const struct identity identity = {4321, 8765, groups, UNIT_COUNT(groups)};
	int listener = listen_here();
	pid_t child = start_client(&identity);
	int fd = accept_one(listener);
	struct peer peer;
	ck_assert_int_eq(peer_read(fd, 17, &peer), 0);
	ck_assert_uint_eq(peer.uid, 4321);
	ck_assert_uint_eq(peer.gid, 8765);
	ck_assert_int_eq(peer.pid, child);
	ck_assert_uint_eq(peer.group_count, 4);
	const gid_t sorted[] = {20, 21, 300, 1000000};
	ck_assert_mem_eq(peer.groups, sorted, sizeof(sorted));
	ck_assert_int_eq(peer.unit_state, PEER_UNIT_UNREAD);
	ck_assert_int_eq(peer.connected_after_ms, 17);
	peer_clear(&peer);
	end_client(child);
	close(fd);
	close(listener);
}
END_TEST

START_TEST(tells_hundreds_of_groups_and_none)
{
	gid_t groups[1000];
	for (size_t i = 0; i < UNIT_COUNT(groups); i++)
		groups[i] = (gid_t)(5000 - 3 * i);
	for (size_t count = 0; count <= UNIT_COUNT(groups); count += 500) {
		const struct identity identity = {4321, 8765, groups, count};
		int listener = listen_here();
		pid_t child = start_client(&identity);
		int fd = accept_one(listener);
		struct peer peer;
		ck_assert_int_eq(peer_read(fd, 0, &peer), 0);
		ck_assert_uint_eq(peer.group_count, count);
		for (size_t i = 1; i < count; i++)
			ck_assert_uint_lt(peer.groups[i - 1], peer.groups[i]);
		peer_clear(&peer);
		end_client(child);
		close(fd);
		close(listener);
	}
}
END_TEST

START_TEST(what_the_other_end_becomes_later_does_not_count)
{
	int ends[2];
	int listener = listen_here();
	ck_assert_int_eq(pipe(ends), 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		const struct identity root = {0};
		connect_as(&root);
		if (setresgid(5, 5, 5) != 0 || setresuid(5, 5, 5) != 0 ||
			write(ends[1], "", 1) != 1)
			_exit(4);
		for (;;)
			pause();
	}
	char byte;
	ck_assert_int_eq(read(ends[0], &byte, 1), 1);
	int fd = accept_one(listener);
	struct peer peer;
	ck_assert_int_eq(peer_read(fd, 0, &peer), 0);
	ck_assert_uint_eq(peer.uid, 0);
	ck_assert_uint_eq(peer.gid, 0);
	peer_clear(&peer);
	end_client(child);
	close(fd);
	close(listener);
}
END_TEST

START_TEST(nobody_is_known_of_what_is_no_unix_socket)
{
	struct peer peer = {.uid = 1};
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(peer_read(fd, 5, &peer), -1);
	ck_assert_ptr_null(peer.groups);
	ck_assert_int_eq(peer.pid, 0);
	close(fd);
	ck_assert_int_eq(peer_read(-1, 5, &peer), -1);
}
END_TEST

/* With both ways: the kernel has the first or the test is of the second alone. */
static size_t ways(enum peer_way out[2])
{
	size_t count = 0;
	if (peer_find_way() == PEER_WAY_PIDFD)
		out[count++] = PEER_WAY_PIDFD;
	ck_assert_int_ne(peer_find_way(), PEER_WAY_NONE);
	out[count++] = PEER_WAY_START_TIME;
	return count;
}

/* The unit of a client, which has run for long enough, as the way tells it. */
static struct peer ask_unit(enum peer_way way, int result, bool is_killed)
{
	int listener = listen_here();
	pid_t child = start_client(&nobody_special);
	int fd = accept_one(listener);
	unsigned before = descriptors();
	struct peer peer;
	let_a_tick_pass();
	ck_assert_int_eq(peer_read(fd, now_ms(), &peer), 0);
	unit_result = result;
	unit_asked = 0;
	unit_kills = is_killed ? child : 0;
	peer_read_unit(&peer, fd, way);
	ck_assert_int_eq(unit_asked, child);
	ck_assert_uint_eq(descriptors(), before);
	end_client(child);
	close(fd);
	close(listener);
	return peer;
}

START_TEST(tells_the_unit_and_leaves_no_descriptor)
{
	enum peer_way all[2];
	size_t count = ways(all);
	for (size_t i = 0; i < count; i++) {
		struct peer peer = ask_unit(all[i], 0, false);
		ck_assert_int_eq(peer.unit_state, PEER_UNIT_KNOWN);
		ck_assert_str_eq(peer.unit, "renderer.service");
		peer_clear(&peer);
		peer = ask_unit(all[i], -ENODATA, false);
		ck_assert_int_eq(peer.unit_state, PEER_UNIT_NONE);
		ck_assert_ptr_null(peer.unit);
		peer_clear(&peer);
		peer = ask_unit(all[i], -EACCES, false);
		ck_assert_int_eq(peer.unit_state, PEER_UNIT_UNKNOWN);
		peer_clear(&peer);
	}
}
END_TEST

START_TEST(a_process_that_ends_while_its_unit_is_read_has_none_that_is_known)
{
	enum peer_way all[2];
	size_t count = ways(all);
	for (size_t i = 0; i < count; i++) {
		struct peer peer = ask_unit(all[i], 0, true);
		ck_assert_int_eq(peer.unit_state, PEER_UNIT_UNKNOWN);
		ck_assert_ptr_null(peer.unit);
		peer_clear(&peer);
	}
}
END_TEST

START_TEST(a_unit_is_read_once)
{
	struct peer peer = {.pid = getpid(), .unit_state = PEER_UNIT_NONE};
	unit_asked = 0;
	peer_read_unit(&peer, -1, PEER_WAY_START_TIME);
	ck_assert_int_eq(unit_asked, 0);
	ck_assert_int_eq(peer.unit_state, PEER_UNIT_NONE);
}
END_TEST

START_TEST(without_a_way_no_unit_is_known)
{
	struct peer peer = {.pid = getpid()};
	unit_asked = 0;
	peer_read_unit(&peer, -1, PEER_WAY_NONE);
	ck_assert_int_eq(unit_asked, 0);
	ck_assert_int_eq(peer.unit_state, PEER_UNIT_UNKNOWN);
}
END_TEST

START_TEST(by_start_time_a_process_is_young_until_it_ran_before_it_can_have_connected)
{
	int listener = listen_here();
	int64_t before_ms = now_ms();
	pid_t child = start_client(&nobody_special);
	int fd = accept_one(listener);
	struct peer peer;
	unit_result = 0;
	const int64_t too_early_ms[] = {0, 1, before_ms - 10, before_ms};
	for (size_t i = 0; i < UNIT_COUNT(too_early_ms); i++) {
		ck_assert_int_eq(peer_read(fd, too_early_ms[i], &peer), 0);
		unit_asked = 0;
		peer_read_unit(&peer, fd, PEER_WAY_START_TIME);
		ck_assert_int_eq(peer.unit_state, PEER_UNIT_YOUNG);
		ck_assert_int_eq(unit_asked, 0);
		peer_clear(&peer);
	}
	let_a_tick_pass();
	ck_assert_int_eq(peer_read(fd, now_ms(), &peer), 0);
	peer_read_unit(&peer, fd, PEER_WAY_START_TIME);
	ck_assert_int_eq(peer.unit_state, PEER_UNIT_KNOWN);
	peer_clear(&peer);
	end_client(child);
	close(fd);
	close(listener);
}
END_TEST

/* A child with that number. Returns -1 where this process may not choose numbers. */
static pid_t fork_with_number(pid_t number)
{
	pid_t numbers[] = {number};
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)numbers,
		.set_tid_size = 1,
	};
	pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	while (child == 0)
		pause();
	return child;
}

/*
 * The attack: whoever connects ends at once, and has a process of an allowed unit get its number
 * before the daemon looks.
 */
START_TEST(a_reused_process_number_gives_nobody_the_unit_of_another)
{
	enum peer_way all[2];
	size_t count = ways(all);
	for (size_t i = 0; i < count; i++) {
		int listener = listen_here();
		int64_t quiet_ms = now_ms();
		pid_t attacker = start_client(&nobody_special);
		int fd = accept_one(listener);
		end_client(attacker);
		pid_t victim = fork_with_number(attacker);
		if (victim < 0) {
			ck_assert_int_eq(errno, EPERM);
			puts("left out: this process may not choose the number of a child");
			close(fd);
			close(listener);
			return;
		}
		ck_assert_int_eq(victim, attacker);
		struct peer peer;
		ck_assert_int_eq(peer_read(fd, quiet_ms, &peer), 0);
		ck_assert_int_eq(peer.pid, victim);
		unit_result = 0;
		peer_read_unit(&peer, fd, all[i]);
		ck_assert_int_ne(peer.unit_state, PEER_UNIT_KNOWN);
		ck_assert_ptr_null(peer.unit);
		peer_clear(&peer);
		end_client(victim);
		close(fd);
		close(listener);
	}
}
END_TEST

START_TEST(peers_are_alike_by_user_groups_and_unit)
{
	gid_t few[] = {1, 2};
	gid_t others[] = {1, 3};
	const struct peer one = {.uid = 1,
		.gid = 2,
		.pid = 3,
		.groups = few,
		.group_count = 2,
		.unit_state = PEER_UNIT_KNOWN,
		.unit = (char *)"x.service"};
	struct peer copy = {0};
	ck_assert_int_eq(peer_copy(&copy, &one), 0);
	copy.pid = 77;
	ck_assert(peer_is_alike(&one, &copy));
	peer_clear(&copy);
	struct peer variants[] = {one, one, one, one, one, one};
	variants[0].uid = 9;
	variants[1].gid = 9;
	variants[2].groups = others;
	variants[3].group_count = 1;
	variants[4].unit = (char *)"y.service";
	variants[5].unit = NULL;
	variants[5].unit_state = PEER_UNIT_NONE;
	for (size_t i = 0; i < UNIT_COUNT(variants); i++) {
		ck_assert(!peer_is_alike(&one, &variants[i]));
		ck_assert(!peer_is_alike(&variants[i], &one));
	}
}
END_TEST

UNIT_MAIN("peer", tells_user_group_process_and_supplementary_groups,
	tells_hundreds_of_groups_and_none, what_the_other_end_becomes_later_does_not_count,
	nobody_is_known_of_what_is_no_unix_socket, tells_the_unit_and_leaves_no_descriptor,
	a_process_that_ends_while_its_unit_is_read_has_none_that_is_known, a_unit_is_read_once,
	without_a_way_no_unit_is_known,
	by_start_time_a_process_is_young_until_it_ran_before_it_can_have_connected,
	a_reused_process_number_gives_nobody_the_unit_of_another,
	peers_are_alike_by_user_groups_and_unit)
