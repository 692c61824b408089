/*
 * What the unit tests share: one main, children that may die, numbers that can be repeated.
 * Each test program is one file, and includes this once.
 */
#ifndef MRTOKEND_TESTS_UNIT_UNIT_H
#define MRTOKEND_TESTS_UNIT_UNIT_H

#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * AddressSanitizer and ThreadSanitizer need address space of their own at any time, and turn
 * mlock() into nothing. What limits the address space or looks at locks is left out under them.
 */
#define UNIT_HAS_SANITIZER 0
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef UNIT_HAS_SANITIZER
#define UNIT_HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef UNIT_HAS_SANITIZER
#define UNIT_HAS_SANITIZER 1
#endif
#endif

/* Let absurd sizes come back as NULL, and let signals kill: both are tested. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
__attribute__((used, visibility("default"))) const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1:handle_segv=0:handle_abort=0";
}
__attribute__((used, visibility("default"))) const char *__tsan_default_options(void)
{
	return "allocator_may_return_null=1:handle_segv=0:handle_abort=0";
}

#define UNIT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Run the tests, each in its own process, and exit with 0 when all hold. NULL is no test. */
#define UNIT_MAIN(name, ...)                                     \
	int main(void)                                           \
	{                                                        \
		const TTest *const tests[] = {__VA_ARGS__};      \
		return unit_run(name, tests, UNIT_COUNT(tests)); \
	}

/* CK_VERBOSITY, CK_TAP_LOG_FILE_NAME and the like are Check's. Returns what main() shall return. */
static inline int unit_run(const char *name, const TTest *const *tests, size_t count)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	tcase_set_timeout(tcase, 120);
	for (size_t i = 0; i < count; i++)
		if (tests[i] != NULL)
			tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK); /* whatever the environment says */
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * Run `body` in a child that leaves no core dump and checks nothing at its end. It tells what it
 * found by _exit(); when it returns, that is 0. Returns the child's status as waitpid() does.
 */
static inline int unit_in_child(void (*body)(void *), void *argument)
{
	fflush(NULL);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		body(argument);
		_exit(0);
	}
	int status = 0;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

#define unit_assert_exited(status, expected)                                                    \
	do {                                                                                    \
		int unit_status = (status);                                                     \
		ck_assert_msg(WIFEXITED(unit_status) && WEXITSTATUS(unit_status) == (expected), \
			"the child did not exit with %d, its status is %#x", (expected),        \
			(unsigned)unit_status);                                                 \
	} while (0)

#define unit_assert_killed(status, expected)                                                   \
	do {                                                                                   \
		int unit_status = (status);                                                    \
		ck_assert_msg(WIFSIGNALED(unit_status) && WTERMSIG(unit_status) == (expected), \
			"the child did not die by signal %d, its status is %#x", (expected),   \
			(unsigned)unit_status);                                                \
	} while (0)

/*
 * In a child only: let no allocation, however small, succeed from here on. Of no use under the
 * sanitizers, whose own allocators end the process then.
 */
static inline void unit_exhaust_memory(void)
{
	static void *volatile last;
	if (setrlimit(RLIMIT_AS, &(struct rlimit){0}) != 0)
		_exit(99);
	for (size_t size = (size_t)1 << 20; size >= 16; size /= 2)
		do
			last = malloc(size);
		while (last != NULL);
}

/*
 * Numbers that look random, the same in every run unless UNIT_SEED says otherwise. The seed is
 * printed, for Check runs each test in its own process.
 */
static inline uint64_t unit_seed(const char *test)
{
	const char *word = getenv("UNIT_SEED");
	uint64_t seed = word == NULL ? 20240229 : strtoull(word, NULL, 10);
	printf("%s: UNIT_SEED=%" PRIu64 "\n", test, seed);
	return seed;
}

/* A number from 0 to `below` - 1; `state` starts as the seed. */
static inline uint64_t unit_random(uint64_t *state, uint64_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*state >> 33) % below;
}

#endif
