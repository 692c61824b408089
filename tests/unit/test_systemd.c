#include "service/systemd.h"

#include "files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

static char notify_path[80];

static int open_notify_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(notify_path, sizeof(notify_path), "%s", path_of("notify"));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", notify_path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", notify_path, 1), 0);
	return fd;
}

static void close_notify_socket(int fd)
{
	close(fd);
	unlink(notify_path);
}

/* The one message that was sent since the last time; "" when there was none. */
static const char *receive(int fd)
{
	static char message[4096];
	ssize_t len = recv(fd, message, sizeof(message) - 1, 0);
	message[len < 0 ? 0 : len] = '\0';
	return message;
}

/* ---- what is told ------------------------------------------------------------------------------
 */

START_TEST(tells_that_it_is_ready)
{
	int fd = open_notify_socket();
	service_ready("serving 2 accounts");
	ck_assert_str_eq(receive(fd), "READY=1\nSTATUS=serving 2 accounts");
	ck_assert_str_eq(receive(fd), "");
	close_notify_socket(fd);
}
END_TEST

START_TEST(tells_its_status)
{
	int fd = open_notify_socket();
	service_status("1 of 2 accounts has a valid token");
	ck_assert_str_eq(receive(fd), "STATUS=1 of 2 accounts has a valid token");
	service_status("100% sure: %s %n");
	ck_assert_str_eq(receive(fd), "STATUS=100% sure: %s %n");
	service_status("");
	ck_assert_str_eq(receive(fd), "STATUS=");
	/* And again, to the same socket: the variable stays. */
	service_status("more");
	ck_assert_str_eq(receive(fd), "STATUS=more");
	close_notify_socket(fd);
}
END_TEST

START_TEST(cuts_a_status_that_is_too_long)
{
	char status[6000];
	int fd = open_notify_socket();
	memset(status, 'x', sizeof(status) - 1);
	status[sizeof(status) - 1] = '\0';
	service_status(status);
	const char *message = receive(fd);
	ck_assert_int_eq(strncmp(message, "STATUS=xxx", 10), 0);
	ck_assert_uint_gt(strlen(message), 3000); /* as long as one may be */
	ck_assert_uint_lt(strlen(message), sizeof(status));
	close_notify_socket(fd);
}
END_TEST

static int64_t monotonic_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

START_TEST(tells_that_it_reloads_and_when)
{
	int fd = open_notify_socket();
	int64_t before = monotonic_us();
	service_reloading();
	int64_t after = monotonic_us();
	const char *message = receive(fd);
	int64_t when = 0;
	ck_assert_ptr_nonnull(strstr(message, "RELOADING=1\n"));
	ck_assert_ptr_nonnull(strstr(message, "\nSTATUS="));
	const char *time = strstr(message, "\nMONOTONIC_USEC=");
	ck_assert_msg(time != NULL, "%s", message);
	ck_assert_int_eq(sscanf(time, "\nMONOTONIC_USEC=%" SCNd64, &when), 1);
	ck_assert_int_ge(when, before);
	ck_assert_int_le(when, after);
	ck_assert_str_eq(receive(fd), "");
	close_notify_socket(fd);
}
END_TEST

START_TEST(tells_that_it_stops)
{
	int fd = open_notify_socket();
	service_stopping();
	const char *message = receive(fd);
	ck_assert_int_eq(strncmp(message, "STOPPING=1\nSTATUS=", 18), 0);
	ck_assert_str_eq(receive(fd), "");
	close_notify_socket(fd);
}
END_TEST

START_TEST(feeds_the_watchdog)
{
	int fd = open_notify_socket();
	service_feed_watchdog();
	ck_assert_str_eq(receive(fd), "WATCHDOG=1");
	ck_assert_str_eq(receive(fd), "");
	close_notify_socket(fd);
}
END_TEST

static void set_watchdog(const char *limit_us, int pid)
{
	char number[16];
	snprintf(number, sizeof(number), "%d", pid);
	setenv("WATCHDOG_USEC", limit_us, 1);
	setenv("WATCHDOG_PID", number, 1);
}

START_TEST(knows_the_watchdogs_time)
{
	capture_begin();
	unsetenv("WATCHDOG_USEC");
	ck_assert_int_eq(service_watchdog_ms(), 0);
	set_watchdog("30000000", (int)getpid());
	ck_assert_int_eq(service_watchdog_ms(), 30000);
	/* Whoever is started from here sees none of it. */
	ck_assert_ptr_null(getenv("WATCHDOG_USEC"));
	ck_assert_ptr_null(getenv("WATCHDOG_PID"));
	set_watchdog("1", (int)getpid());
	ck_assert_int_eq(service_watchdog_ms(), 1);
	set_watchdog("30000000", 1); /* another process's */
	ck_assert_int_eq(service_watchdog_ms(), 0);
	ck_assert_str_eq(capture_end(), "");
}
END_TEST

START_TEST(warns_of_a_watchdogs_time_that_is_none)
{
	static const char *const words[] = {"", "soon", "0", "-1", "1s"};
	for (size_t i = 0; i < UNIT_COUNT(words); i++) {
		set_watchdog(words[i], (int)getpid());
		capture_begin();
		ck_assert_int_eq(service_watchdog_ms(), 0);
		const char *text = capture_end();
		ck_assert_msg(strstr(text, "warning: cannot read the watchdog's time") != NULL,
			"'%s': %s", words[i], text);
	}
}
END_TEST

static void tell_all(void)
{
	service_ready("x");
	service_status("x");
	service_reloading();
	service_stopping();
}

START_TEST(tells_nobody_where_nobody_is)
{
	unsetenv("NOTIFY_SOCKET");
	capture_begin();
	tell_all();
	ck_assert_str_eq(capture_end(), "");
}
END_TEST

START_TEST(warns_when_it_cannot_tell_and_goes_on)
{
	static const char *const sockets[] = {"/nonexistent/notify", "relative", "/dev/null", ""};
	for (size_t i = 0; i < UNIT_COUNT(sockets); i++) {
		setenv("NOTIFY_SOCKET", sockets[i], 1);
		capture_begin();
		tell_all();
		const char *text = capture_end();
		unsigned warnings = 0;
		for (const char *at = text; (at = strstr(at, "cannot notify")) != NULL; at++)
			warnings++;
		ck_assert_msg(
			warnings == 4, "%u warnings for '%s': %s", warnings, sockets[i], text);
	}
}
END_TEST

/* ---- what is passed ----------------------------------------------------------------------------
 */

/* In a child, which is as the service manager would have started it. */
static void pass(int count, const char *names)
{
	char number[16];
	for (int i = 0; i < count; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (fd < 0 || dup2(fd, 3 + i) < 0)
			_exit(90);
		if (fd >= 3 + count)
			close(fd);
	}
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%d", count);
	setenv("LISTEN_FDS", number, 1);
	if (names != NULL)
		setenv("LISTEN_FDNAMES", names, 1);
	else
		unsetenv("LISTEN_FDNAMES");
}

static void expect(bool condition, int code)
{
	if (!condition)
		_exit(code);
}

static void take_two(void *argument)
{
	struct passed_socket *sockets = NULL;
	size_t count = 0;
	struct passed_socket *stored = NULL;
	size_t stored_count = 7;
	struct error err = ERROR_INIT;
	(void)argument;
	pass(2, "main:admin");
	expect(service_take_sockets(&sockets, &count, &stored, &stored_count, &err) == 0, 1);
	expect(count == 2, 2);
	expect(strcmp(sockets[0].name, "main") == 0 && sockets[0].fd == 3, 3);
	expect(strcmp(sockets[1].name, "admin") == 0 && sockets[1].fd == 4, 4);
	/* Whoever is started from here sees none of it. */
	expect(getenv("LISTEN_FDS") == NULL && getenv("LISTEN_PID") == NULL, 5);
	expect(getenv("LISTEN_FDNAMES") == NULL, 6);
	expect((fcntl(3, F_GETFD) & FD_CLOEXEC) && (fcntl(4, F_GETFD) & FD_CLOEXEC), 7);
	/* One is taken, the other is closed, and it is said so. */
	sockets[0].fd = -1;
	capture_begin();
	service_sockets_free(sockets, count);
	const char *text = capture_end();
	expect(strstr(text, "'admin'") != NULL && strstr(text, "'main'") == NULL, 8);
	expect(strstr(text, "FileDescriptorName=") != NULL, 9);
	expect(fcntl(3, F_GETFD) >= 0 && fcntl(4, F_GETFD) < 0, 10);
}

static void take_nameless(void *argument)
{
	struct passed_socket *sockets = NULL;
	size_t count = 0;
	struct passed_socket *stored = NULL;
	size_t stored_count = 7;
	struct error err = ERROR_INIT;
	(void)argument;
	pass(1, NULL);
	expect(service_take_sockets(&sockets, &count, &stored, &stored_count, &err) == 0, 1);
	expect(count == 1 && sockets[0].fd == 3 && sockets[0].name != NULL, 2);
	service_sockets_free(sockets, count);
}

static void take_none(void *argument)
{
	struct passed_socket *sockets = NULL;
	size_t count = 7;
	struct passed_socket *stored = (void *)-1;
	size_t stored_count = 7;
	struct error err = ERROR_INIT;
	if (argument != NULL) {
		pass(1, "main");
		setenv("LISTEN_PID", "1", 1); /* they are for another process */
	} else {
		unsetenv("LISTEN_PID");
		unsetenv("LISTEN_FDS");
	}
	expect(service_take_sockets(&sockets, &count, &stored, &stored_count, &err) == 0, 1);
	expect(count == 0, 2);
	capture_begin();
	service_sockets_free(sockets, count);
	expect(capture_end()[0] == '\0', 3);
}

static void take_broken(void *argument)
{
	struct passed_socket *sockets = (void *)-1;
	size_t count = 7;
	struct passed_socket *stored = (void *)-1;
	size_t stored_count = 7;
	struct error err = ERROR_INIT;
	pass(1, "main");
	setenv("LISTEN_FDS", argument, 1);
	expect(service_take_sockets(&sockets, &count, &stored, &stored_count, &err) == -1, 1);
	expect(sockets == (void *)-1 && count == 7, 2);
	expect(err.code == ERR_SYSTEM && strstr(err.message, "sockets that were passed") != NULL,
		3);
}

/* A socket, then what the process before had stored. */
static void take_stored(void *argument)
{
	struct passed_socket *sockets = NULL;
	struct passed_socket *stored = NULL;
	size_t count = 0;
	size_t stored_count = 0;
	struct error err = ERROR_INIT;
	(void)argument;
	pass(3, "main:mrtokend-tokens-4:admin");
	int memfd = memfd_create("stored", 0);
	expect(memfd >= 0 && dup2(memfd, 4) == 4, 1);
	expect(service_take_sockets(&sockets, &count, &stored, &stored_count, &err) == 0, 2);
	expect(count == 2 && stored_count == 1, 3);
	expect(strcmp(sockets[0].name, "main") == 0 && strcmp(sockets[1].name, "admin") == 0, 4);
	expect(strcmp(stored[0].name, "mrtokend-tokens-4") == 0 && stored[0].fd == 4, 5);
	expect(fcntl(4, F_GETFD) & FD_CLOEXEC, 6);
	service_stored_free(stored, stored_count);
	expect(fcntl(4, F_GETFD) < 0 && fcntl(3, F_GETFD) >= 0, 7);
	sockets[0].fd = -1;
	sockets[1].fd = -1;
	service_sockets_free(sockets, count);
}

START_TEST(tells_what_was_stored_from_sockets)
{
	unit_assert_exited(unit_in_child(take_stored, NULL), 0);
}
END_TEST

START_TEST(knows_how_much_is_stored_for_it)
{
	static const struct {
		const char *word;
		int64_t room;
	} cases[] = {{"8", 8}, {"0", 0}, {"1", 1}, {"-1", 0}, {"many", 0}, {"", 0}, {"8x", 0}};
	int fd = open_notify_socket();
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		ck_assert_int_eq(setenv("FDSTORE", cases[i].word, 1), 0);
		ck_assert_int_eq(service_store_room(), cases[i].room);
	}
	ck_assert_int_eq(setenv("FDSTORE", "8", 1), 0);
	close_notify_socket(fd);
	unsetenv("NOTIFY_SOCKET");
	ck_assert_int_eq(service_store_room(), 0);
}
END_TEST

START_TEST(knows_the_boot)
{
	unsigned char id[SERVICE_BOOT_ID_SIZE] = {0};
	char kernels[64] = "";
	char word[2 * SERVICE_BOOT_ID_SIZE + 1];
	struct error err = ERROR_INIT;
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(kernels, sizeof(kernels), file));
	fclose(file);
	/* The kernel knows better. */
	setenv("MRTOKEND_BOOT_ID", "00112233445566778899aabbccddeeff", 1);
	ck_assert_int_eq(service_boot_id(id, &err), 0);
	for (size_t i = 0; i < sizeof(id); i++)
		snprintf(word + 2 * i, 3, "%02x", id[i]);
	size_t at = 0;
	for (const char *c = kernels; *c != '\0' && *c != '\n'; c++)
		if (*c != '-')
			ck_assert_int_eq(word[at++], *c);
	ck_assert_uint_eq(at, 2 * sizeof(id));
}
END_TEST

START_TEST(takes_the_sockets_with_their_names)
{
	unit_assert_exited(unit_in_child(take_two, NULL), 0);
}
END_TEST

START_TEST(takes_a_socket_without_a_name)
{
	unit_assert_exited(unit_in_child(take_nameless, NULL), 0);
}
END_TEST

START_TEST(takes_nothing_where_nothing_is_passed)
{
	int others = 1;
	unit_assert_exited(unit_in_child(take_none, NULL), 0);
	unit_assert_exited(unit_in_child(take_none, &others), 0);
}
END_TEST

START_TEST(tells_that_what_is_passed_is_broken)
{
	char words[][8] = {"many", "-1", "1x"};
	for (size_t i = 0; i < UNIT_COUNT(words); i++)
		unit_assert_exited(unit_in_child(take_broken, words[i]), 0);
	/* More than there are. */
	char more[] = "3";
	unit_assert_exited(unit_in_child(take_broken, more), 0);
}
END_TEST

UNIT_MAIN("systemd", tells_that_it_is_ready, tells_its_status, cuts_a_status_that_is_too_long,
	tells_that_it_reloads_and_when, tells_that_it_stops, feeds_the_watchdog,
	knows_the_watchdogs_time, warns_of_a_watchdogs_time_that_is_none,
	tells_nobody_where_nobody_is, warns_when_it_cannot_tell_and_goes_on,
	takes_the_sockets_with_their_names, takes_a_socket_without_a_name,
	tells_what_was_stored_from_sockets, knows_how_much_is_stored_for_it, knows_the_boot,
	takes_nothing_where_nothing_is_passed, tells_that_what_is_passed_is_broken)
