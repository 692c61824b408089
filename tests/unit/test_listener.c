#include "server/listener.h"

#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

/* Some user and group that is not the test's own. */
#define OTHER_ID 65534

static char directory[64];
static char path[80];
static char lock_file[96];

static void setup_directory(void)
{
	strcpy(directory, "/tmp/test_listener.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/socket", directory);
	snprintf(lock_file, sizeof(lock_file), "%s.lock", path);
}

/* The socket and its lock are gone, or the directory would stay. */
static void remove_directory(void)
{
	ck_assert_int_eq(rmdir(directory), 0);
}

static struct listener *open_at(const char *where, mode_t mode, gid_t gid)
{
	struct error err = ERROR_INIT;
	struct listener *listener = listener_open("main", where, mode, gid, &err);
	ck_assert_msg(listener != NULL, "%s", err.message);
	return listener;
}

static void assert_refused(const char *where, const char *words)
{
	struct error err = ERROR_INIT;
	ck_assert_ptr_null(listener_open("main", where, 0660, (gid_t)-1, &err));
	ck_assert_int_eq(err.code, ERR_SYSTEM);
	ck_assert_msg(strstr(err.message, where) != NULL, "%s", err.message);
	ck_assert_msg(strstr(err.message, words) != NULL, "no '%s' in: %s", words, err.message);
	ck_assert_int_ne(access(lock_file, F_OK), 0);
}

static int connect_to(const char *where)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", where);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_ge(fd, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	int failed = errno;
	close(fd);
	errno = failed;
	return -1;
}

/* A socket of somebody else at the path. */
static int bind_at(const char *where, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", where);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static struct stat stat_of(const char *where)
{
	struct stat st;
	ck_assert_int_eq(lstat(where, &st), 0);
	return st;
}

/* ---- what the socket's file is like while it is made -------------------------------------------
 */

static unsigned listens;
static mode_t mode_at_listen;
static unsigned mode_changes;
static gid_t gid_at_mode_change;

/* In place of the library's, for the whole program. */
int listen(int fd, int backlog)
{
	struct stat st;
	if (path[0] != '\0' && lstat(path, &st) == 0) {
		listens++;
		mode_at_listen = st.st_mode & 07777;
	}
	return (int)syscall(SYS_listen, fd, backlog);
}

int chmod(const char *where, mode_t mode)
{
	struct stat st;
	/* It may come by a link of /proc. */
	if (stat(where, &st) == 0 && S_ISSOCK(st.st_mode)) {
		mode_changes++;
		gid_at_mode_change = st.st_gid;
	}
	return (int)syscall(SYS_fchmodat, AT_FDCWD, where, mode);
}

START_TEST(lets_nobody_in_before_group_and_mode_are_there)
{
	static const mode_t umasks[] = {0, 077, 022, 0777};
	gid_t gid = getuid() == 0 ? OTHER_ID : getgid();
	setup_directory();
	for (size_t i = 0; i < UNIT_COUNT(umasks); i++) {
		listens = mode_changes = 0;
		umask(umasks[i]);
		struct listener *listener = open_at(path, 0666, gid);
		ck_assert_uint_eq(umask(022), umasks[i]);
		ck_assert_uint_eq(listens, 1);
		ck_assert_uint_eq(mode_at_listen, 0);
		ck_assert_uint_eq(mode_changes, 1);
		ck_assert_uint_eq(gid_at_mode_change, gid);
		listener_close(listener);
	}
	remove_directory();
}
END_TEST

START_TEST(gives_the_socket_its_mode_whatever_the_umask)
{
	static const mode_t umasks[] = {0, 077, 0777};
	static const mode_t modes[] = {0660, 0600, 0666, 0777, 0640, 0};
	setup_directory();
	for (size_t i = 0; i < UNIT_COUNT(umasks); i++) {
		for (size_t j = 0; j < UNIT_COUNT(modes); j++) {
			umask(umasks[i]);
			struct listener *listener = open_at(path, modes[j], (gid_t)-1);
			ck_assert_uint_eq(umask(022), umasks[i]);
			struct stat st = stat_of(path);
			ck_assert(S_ISSOCK(st.st_mode));
			ck_assert_uint_eq(st.st_mode & 07777, modes[j]);
			ck_assert_uint_eq(listener->mode, modes[j]);
			listener_close(listener);
		}
	}
	remove_directory();
}
END_TEST

START_TEST(gives_the_socket_its_group)
{
	gid_t gid = getuid() == 0 ? OTHER_ID : getgid();
	setup_directory();
	struct listener *listener = open_at(path, 0660, gid);
	ck_assert_uint_eq(stat_of(path).st_gid, gid);
	ck_assert_uint_eq(stat_of(path).st_uid, getuid());
	ck_assert_uint_eq(listener->gid, gid);
	listener_close(listener);
	remove_directory();
}
END_TEST

/* Another user where the test is root, so that the permissions count. */
static void become_somebody(void)
{
	if (getuid() == 0 &&
		(setgroups(0, NULL) != 0 || setresgid(OTHER_ID, OTHER_ID, OTHER_ID) != 0 ||
			setresuid(OTHER_ID, OTHER_ID, OTHER_ID) != 0))
		_exit(90);
}

static void open_with_a_foreign_group(void *argument)
{
	struct error err = ERROR_INIT;
	(void)argument;
	become_somebody();
	umask(0);
	if (listener_open("main", path, 0660, 1, &err) != NULL)
		_exit(1);
	if (err.code != ERR_SYSTEM || strstr(err.message, "group") == NULL ||
		strstr(err.message, path) == NULL)
		_exit(2);
}

START_TEST(refuses_a_group_that_it_may_not_give)
{
	setup_directory();
	chmod(directory, 0777);
	unit_assert_exited(unit_in_child(open_with_a_foreign_group, NULL), 0);
	remove_directory(); /* and leaves nothing behind */
}
END_TEST

/* ---- open and close ----------------------------------------------------------------------------
 */

START_TEST(listens_until_it_is_closed)
{
	setup_directory();
	for (int round = 0; round < 3; round++) {
		struct listener *listener = open_at(path, 0660, (gid_t)-1);
		ck_assert_str_eq(listener->name, "main");
		ck_assert_str_eq(listener->path, path);
		ck_assert(!listener->is_passed);
		ck_assert_int_ne(access(lock_file, F_OK), 0);
		ck_assert(fcntl(listener->fd, F_GETFD) & FD_CLOEXEC);
		ck_assert(fcntl(listener->fd, F_GETFL) & O_NONBLOCK);
		int client = connect_to(path);
		ck_assert_int_ge(client, 0);
		int server = accept(listener->fd, NULL, NULL);
		ck_assert_int_ge(server, 0);
		close(server);
		close(client);
		listener_close(listener);
		ck_assert_int_ne(access(path, F_OK), 0);
		ck_assert_int_eq(connect_to(path), -1);
		ck_assert_int_eq(errno, ENOENT);
	}
	remove_directory();
}
END_TEST

START_TEST(holds_many_who_wait)
{
	setup_directory();
	struct listener *listener = open_at(path, 0660, (gid_t)-1);
	int clients[200];
	for (size_t i = 0; i < UNIT_COUNT(clients); i++) {
		clients[i] = connect_to(path);
		ck_assert_int_ge(clients[i], 0);
	}
	for (size_t i = 0; i < UNIT_COUNT(clients); i++)
		close(clients[i]);
	listener_close(listener);
	remove_directory();
}
END_TEST

START_TEST(can_be_closed_when_null)
{
	listener_close(NULL);
}
END_TEST

START_TEST(stops_new_arrivals_and_keeps_those_that_wait)
{
	setup_directory();
	struct listener *listener = open_at(path, 0660, (gid_t)-1);
	int client = connect_to(path);
	ck_assert_int_ge(client, 0);
	listener_unlink(listener);
	ck_assert_int_eq(connect_to(path), -1);
	int server = accept(listener->fd, NULL, NULL);
	ck_assert_int_ge(server, 0);
	close(server);
	close(client);
	/* Whatever stands there afterwards is not its own. */
	struct listener *next = open_at(path, 0660, (gid_t)-1);
	listener_unlink(listener);
	listener_close(listener);
	ck_assert_int_eq(access(path, F_OK), 0);
	listener_close(next);
	remove_directory();
}
END_TEST

START_TEST(removes_only_its_own_socket)
{
	char aside[96];
	setup_directory();
	snprintf(aside, sizeof(aside), "%s/aside", directory);
	/* Another socket in its place. Its own is moved aside, so that the inode is not used again.
	 */
	struct listener *listener = open_at(path, 0660, (gid_t)-1);
	ck_assert_int_eq(rename(path, aside), 0);
	int other = bind_at(path, SOCK_STREAM);
	struct stat before = stat_of(path);
	listener_close(listener);
	ck_assert_uint_eq(stat_of(path).st_ino, before.st_ino);
	close(other);
	unlink(path);
	unlink(aside);
	/* A file in its place. */
	listener = open_at(path, 0660, (gid_t)-1);
	ck_assert_int_eq(rename(path, aside), 0);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	listener_close(listener);
	ck_assert(S_ISREG(stat_of(path).st_mode));
	close(fd);
	unlink(path);
	unlink(aside);
	/* Nothing in its place. */
	listener = open_at(path, 0660, (gid_t)-1);
	unlink(path);
	listener_close(listener);
	remove_directory();
}
END_TEST

/* ---- what stands at the path -------------------------------------------------------------------
 */

START_TEST(replaces_a_stale_socket)
{
	setup_directory();
	close(bind_at(path, SOCK_STREAM));
	chmod(path, 0);
	struct listener *listener = open_at(path, 0660, (gid_t)-1);
	int client = connect_to(path);
	ck_assert_int_ge(client, 0);
	close(client);
	listener_close(listener);
	remove_directory();
}
END_TEST

START_TEST(refuses_a_live_socket)
{
	setup_directory();
	int other = bind_at(path, SOCK_STREAM);
	ck_assert_int_eq(listen(other, 1), 0);
	struct stat before = stat_of(path);
	assert_refused(path, "another process listens there");
	ck_assert_uint_eq(stat_of(path).st_ino, before.st_ino);
	int client = connect_to(path);
	ck_assert_int_ge(client, 0);
	close(client);
	close(other);
	unlink(path);
	remove_directory();
}
END_TEST

START_TEST(refuses_a_live_socket_that_is_busy)
{
	setup_directory();
	int other = bind_at(path, SOCK_STREAM);
	ck_assert_int_eq(listen(other, 0), 0);
	int clients[16];
	size_t count = 0;
	while ((clients[count] = connect_to(path)) >= 0)
		ck_assert_uint_lt(++count, UNIT_COUNT(clients));
	ck_assert_int_eq(errno, EAGAIN);
	assert_refused(path, "another process listens there");
	while (count-- > 0)
		close(clients[count]);
	close(other);
	unlink(path);
	remove_directory();
}
END_TEST

/* It does not speak the same, and it is no stale one either. */
START_TEST(refuses_a_live_datagram_socket)
{
	setup_directory();
	int other = bind_at(path, SOCK_DGRAM);
	assert_refused(path, "another process listens there");
	ck_assert(S_ISSOCK(stat_of(path).st_mode));
	close(other);
	unlink(path);
	remove_directory();
}
END_TEST

START_TEST(refuses_and_leaves_what_is_no_socket)
{
	char target[96];
	setup_directory();
	snprintf(target, sizeof(target), "%s/target", directory);
	for (int kind = 0; kind < 5; kind++) {
		if (kind == 0) {
			int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
			ck_assert_int_eq(write(fd, "dear", 4), 4);
			close(fd);
		} else if (kind == 1) {
			ck_assert_int_eq(mkdir(path, 0750), 0);
		} else if (kind == 2) {
			ck_assert_int_eq(mkfifo(path, 0640), 0);
		} else if (kind == 3) {
			ck_assert_int_eq(symlink("nowhere", path), 0);
		} else {
			/* Even to a stale socket. */
			close(bind_at(target, SOCK_STREAM));
			ck_assert_int_eq(symlink("target", path), 0);
		}
		struct stat before = stat_of(path);
		assert_refused(path, "no socket stands there");
		struct stat after = stat_of(path);
		ck_assert_uint_eq(after.st_ino, before.st_ino);
		ck_assert_uint_eq(after.st_mode, before.st_mode);
		ck_assert_int_eq(after.st_size, before.st_size);
		ck_assert_int_eq(kind == 1 ? rmdir(path) : unlink(path), 0);
	}
	ck_assert(S_ISSOCK(stat_of(target).st_mode));
	unlink(target);
	remove_directory();
}
END_TEST

START_TEST(refuses_a_directory_that_is_not_there)
{
	char where[128];
	setup_directory();
	snprintf(where, sizeof(where), "%s/missing/socket", directory);
	assert_refused(where, "No such file or directory");
	snprintf(where, sizeof(where), "%s/file", directory);
	close(open(where, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	strcat(where, "/socket");
	assert_refused(where, "Not a directory");
	where[strlen(where) - strlen("/socket")] = '\0';
	unlink(where);
	remove_directory();
}
END_TEST

static void open_without_permission(void *argument)
{
	struct error err = ERROR_INIT;
	(void)argument;
	become_somebody();
	if (listener_open("main", path, 0660, (gid_t)-1, &err) != NULL)
		_exit(1);
	if (err.code != ERR_SYSTEM || strstr(err.message, "Permission denied") == NULL ||
		strstr(err.message, path) == NULL)
		_exit(2);
}

START_TEST(refuses_a_directory_that_it_may_not_write_to)
{
	setup_directory();
	chmod(directory, 0555);
	unit_assert_exited(unit_in_child(open_without_permission, NULL), 0);
	chmod(directory, 0700);
	remove_directory();
}
END_TEST

/* ---- the lock ----------------------------------------------------------------------------------
 */

START_TEST(takes_no_notice_of_an_old_lock_file)
{
	setup_directory();
	close(open(lock_file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	struct listener *listener = open_at(path, 0660, (gid_t)-1);
	ck_assert_int_ne(access(lock_file, F_OK), 0);
	listener_close(listener);
	remove_directory();
}
END_TEST

START_TEST(follows_no_symlink_to_its_lock_file)
{
	char target[96];
	setup_directory();
	snprintf(target, sizeof(target), "%s/target", directory);
	ck_assert_int_eq(symlink(target, lock_file), 0);
	struct error err = ERROR_INIT;
	ck_assert_ptr_null(listener_open("main", path, 0660, (gid_t)-1, &err));
	ck_assert_ptr_nonnull(strstr(err.message, lock_file));
	ck_assert_int_ne(access(target, F_OK), 0);
	ck_assert_int_ne(access(path, F_OK), 0);
	unlink(lock_file);
	remove_directory();
}
END_TEST

START_TEST(gives_up_on_a_lock_that_is_held)
{
	setup_directory();
	int fd = open(lock_file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	struct error err = ERROR_INIT;
	ck_assert_ptr_null(listener_open("main", path, 0660, (gid_t)-1, &err));
	ck_assert_int_eq(err.code, ERR_SYSTEM);
	ck_assert_ptr_nonnull(strstr(err.message, "locked by another process"));
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_int_eq(access(lock_file, F_OK), 0); /* it is the other's */
	close(fd);
	unlink(lock_file);
	remove_directory();
}
END_TEST

START_TEST(refuses_a_lock_file_of_another_user)
{
	if (getuid() != 0)
		return; /* only root can make one */
	setup_directory();
	close(open(lock_file, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	ck_assert_int_eq(chown(lock_file, OTHER_ID, OTHER_ID), 0);
	struct error err = ERROR_INIT;
	ck_assert_ptr_null(listener_open("main", path, 0660, (gid_t)-1, &err));
	ck_assert_ptr_nonnull(strstr(err.message, "belongs to another user"));
	ck_assert_int_eq(access(lock_file, F_OK), 0);
	unlink(lock_file);
	remove_directory();
}
END_TEST

static void replace_an_unborn_socket(void *argument)
{
	struct error err = ERROR_INIT;
	(void)argument;
	become_somebody(); /* root could connect to it, and would be refused like anybody else */
	int fd = bind_at(path, SOCK_STREAM);
	if (chmod(path, 0) != 0)
		_exit(1);
	close(fd);
	struct listener *listener = listener_open("main", path, 0660, (gid_t)-1, &err);
	if (listener == NULL)
		_exit(2);
	listener_close(listener);
}

START_TEST(replaces_what_a_killed_start_left)
{
	setup_directory();
	chmod(directory, 0777);
	unit_assert_exited(unit_in_child(replace_an_unborn_socket, NULL), 0);
	remove_directory();
}
END_TEST

#define RACERS 12

/* The winner stays until the others have tried. Exits with 1 for a loss, 2 for anything else. */
static void race(int start_fd, int end_fd)
{
	struct error err = ERROR_INIT;
	char byte;
	if (read(start_fd, &byte, 1) != 0)
		_exit(3);
	struct listener *listener = listener_open("main", path, 0660, (gid_t)-1, &err);
	if (listener == NULL)
		_exit(strstr(err.message, "another process listens there") != NULL ? 1 : 2);
	if (read(end_fd, &byte, 1) != 0)
		_exit(3);
	_exit(0); /* without closing: it leaves a stale socket to the next round */
}

START_TEST(lets_one_of_many_win)
{
	setup_directory();
	for (int round = 0; round < 10; round++) {
		int start[2];
		int end[2];
		pid_t racers[RACERS];
		unsigned outcomes[4] = {0};
		ck_assert_int_eq(pipe2(start, O_CLOEXEC), 0);
		ck_assert_int_eq(pipe2(end, O_CLOEXEC), 0);
		for (int i = 0; i < RACERS; i++) {
			racers[i] = fork();
			ck_assert_int_ge(racers[i], 0);
			if (racers[i] == 0) {
				close(start[1]);
				close(end[1]);
				race(start[0], end[0]);
			}
		}
		close(start[0]);
		close(end[0]);
		close(start[1]); /* off */
		for (int i = 0; i < RACERS; i++) {
			int status;
			if (i == RACERS - 1)
				close(end[1]); /* the winner is the one who is left */
			ck_assert_int_gt(waitpid(-1, &status, 0), 0);
			ck_assert(WIFEXITED(status) && WEXITSTATUS(status) < 4);
			outcomes[WEXITSTATUS(status)]++;
		}
		ck_assert_uint_eq(outcomes[0], 1);
		ck_assert_uint_eq(outcomes[1], RACERS - 1);
		ck_assert_int_ne(access(lock_file, F_OK), 0);
	}
	unlink(path);
	remove_directory();
}
END_TEST

/* ---- sockets that were passed ------------------------------------------------------------------
 */

START_TEST(takes_a_listening_socket)
{
	struct error err = ERROR_INIT;
	setup_directory();
	int fd = bind_at(path, SOCK_STREAM);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFD, 0), 0);
	mode_t mode = stat_of(path).st_mode;
	struct listener *listener = listener_take("main", "/as/configured", fd, &err);
	ck_assert_msg(listener != NULL, "%s", err.message);
	ck_assert_int_eq(listener->fd, fd);
	ck_assert(listener->is_passed);
	ck_assert_str_eq(listener->name, "main");
	ck_assert_str_eq(listener->path, "/as/configured");
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	ck_assert_uint_eq(stat_of(path).st_mode, mode);
	/* The file is the service manager's. */
	listener_unlink(listener);
	ck_assert_int_eq(access(path, F_OK), 0);
	listener_close(listener);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	unlink(path);
	remove_directory();
}
END_TEST

static void refuse_descriptor(int fd)
{
	struct error err = ERROR_INIT;
	int flags = fcntl(fd, F_GETFL);
	int descriptor_flags = fcntl(fd, F_GETFD);
	ck_assert_ptr_null(listener_take("side", "/path", fd, &err));
	ck_assert_int_eq(err.code, ERR_CONFIGURATION);
	ck_assert_ptr_nonnull(strstr(err.message, "[listener side]"));
	ck_assert_ptr_nonnull(strstr(err.message, "ListenStream="));
	/* It stays the caller's, as it was. */
	ck_assert_int_eq(fcntl(fd, F_GETFL), flags);
	ck_assert_int_eq(fcntl(fd, F_GETFD), descriptor_flags);
	close(fd);
}

START_TEST(refuses_any_other_descriptor)
{
	int ends[2];
	setup_directory();
	refuse_descriptor(-1);
	refuse_descriptor(open("/dev/null", O_RDONLY));
	ck_assert_int_eq(pipe(ends), 0);
	refuse_descriptor(ends[0]);
	close(ends[1]);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	refuse_descriptor(ends[0]);
	close(ends[1]);
	refuse_descriptor(bind_at(path, SOCK_STREAM)); /* bound, but it does not listen */
	unlink(path);
	refuse_descriptor(bind_at(path, SOCK_DGRAM));
	unlink(path);
	int fd = bind_at(path, SOCK_SEQPACKET);
	ck_assert_int_eq(listen(fd, 5), 0);
	refuse_descriptor(fd);
	unlink(path);
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	refuse_descriptor(fd);
	remove_directory();
}
END_TEST

/* ---- changes -----------------------------------------------------------------------------------
 */

START_TEST(changes_mode_and_group)
{
	struct error err = ERROR_INIT;
	gid_t gid = getuid() == 0 ? OTHER_ID : getgid();
	setup_directory();
	struct listener *listener = open_at(path, 0660, (gid_t)-1);
	umask(0777);
	ck_assert_int_eq(listener_change(listener, 0606, gid, &err), 0);
	umask(022);
	ck_assert_uint_eq(stat_of(path).st_mode & 07777, 0606);
	ck_assert_uint_eq(stat_of(path).st_gid, gid);
	ck_assert_uint_eq(listener->mode, 0606);
	ck_assert_uint_eq(listener->gid, gid);
	ck_assert_int_eq(listener_change(listener, 0600, (gid_t)-1, &err), 0);
	ck_assert_uint_eq(stat_of(path).st_gid, gid); /* as it was */
	/* It is still its own. */
	listener_close(listener);
	remove_directory();
}
END_TEST

START_TEST(changes_nothing_that_is_not_its_own)
{
	char other[96];
	setup_directory();
	snprintf(other, sizeof(other), "%s/other", directory);
	for (int kind = 0; kind < 4; kind++) {
		struct error err = ERROR_INIT;
		struct listener *listener = open_at(path, 0660, (gid_t)-1);
		ck_assert_int_eq(rename(path, other), 0); /* so that the inode stays taken */
		if (kind == 1)
			close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0640));
		else if (kind == 2)
			ck_assert_int_eq(symlink(other, path), 0);
		else if (kind == 3)
			close(bind_at(path, SOCK_STREAM));
		mode_t other_mode = stat_of(other).st_mode;
		mode_t mode = kind == 0 ? 0 : stat_of(path).st_mode;
		ck_assert_int_eq(listener_change(listener, 0606, getgid(), &err), -1);
		ck_assert_int_eq(err.code, ERR_SYSTEM);
		ck_assert_msg(strstr(err.message, path) != NULL, "%s", err.message);
		ck_assert_uint_eq(listener->mode, 0660);
		ck_assert_uint_eq(listener->gid, (gid_t)-1);
		ck_assert_uint_eq(stat_of(other).st_mode, other_mode);
		if (kind > 0)
			ck_assert_uint_eq(stat_of(path).st_mode, mode);
		listener_close(listener);
		unlink(path);
		unlink(other);
	}
	remove_directory();
}
END_TEST

static void change_to_a_foreign_group(void *argument)
{
	struct error err = ERROR_INIT;
	(void)argument;
	become_somebody();
	struct listener *listener = listener_open("main", path, 0660, (gid_t)-1, &err);
	if (listener == NULL)
		_exit(1);
	if (listener_change(listener, 0666, 1, &err) != -1)
		_exit(2);
	if (strstr(err.message, "group") == NULL || strstr(err.message, path) == NULL)
		_exit(3);
	/* Not the mode without the group either. */
	if ((stat_of(path).st_mode & 07777) != 0660 || listener->mode != 0660)
		_exit(4);
	listener_close(listener);
}

START_TEST(changes_no_mode_without_the_group)
{
	setup_directory();
	chmod(directory, 0777);
	unit_assert_exited(unit_in_child(change_to_a_foreign_group, NULL), 0);
	remove_directory();
}
END_TEST

UNIT_MAIN("listener", lets_nobody_in_before_group_and_mode_are_there,
	gives_the_socket_its_mode_whatever_the_umask, gives_the_socket_its_group,
	refuses_a_group_that_it_may_not_give, listens_until_it_is_closed, holds_many_who_wait,
	can_be_closed_when_null, stops_new_arrivals_and_keeps_those_that_wait,
	removes_only_its_own_socket, replaces_a_stale_socket, refuses_a_live_socket,
	refuses_a_live_socket_that_is_busy, refuses_a_live_datagram_socket,
	refuses_and_leaves_what_is_no_socket, refuses_a_directory_that_is_not_there,
	refuses_a_directory_that_it_may_not_write_to, takes_no_notice_of_an_old_lock_file,
	follows_no_symlink_to_its_lock_file, gives_up_on_a_lock_that_is_held,
	refuses_a_lock_file_of_another_user, replaces_what_a_killed_start_left,
	lets_one_of_many_win, takes_a_listening_socket, refuses_any_other_descriptor,
	changes_mode_and_group, changes_nothing_that_is_not_its_own,
	changes_no_mode_without_the_group)
