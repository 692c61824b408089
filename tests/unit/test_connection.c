#include "server/connection.h"

#include "unit.h"

#include <errno.h>
#include <sys/socket.h>

#define NOW_MS INT64_C(1000000)

/* A connection, and the socket of whoever is at its other end. */
struct other_end {
	struct connection *connection;
	int fd;
};

static struct connections all;
static const char door_a;
static const char door_b;

static struct other_end peer_new(const void *owner, int64_t now_ms)
{
	int ends[2];
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	struct other_end peer = {
		.connection = connection_new(&all, ends[0], owner, now_ms), .fd = ends[1]};
	ck_assert_ptr_nonnull(peer.connection);
	return peer;
}

static void peer_free(struct other_end *peer)
{
	close(peer->connection->fd);
	connection_free(&all, peer->connection);
	close(peer->fd);
}

/* Whether it was shut down, as its other end sees it. */
static bool is_shut_down(const struct other_end *peer)
{
	char byte;
	ssize_t got = recv(peer->fd, &byte, 1, MSG_PEEK);
	ck_assert(got == 0 || (got < 0 && errno == EAGAIN));
	return got == 0;
}

/* The lists hold what the counts say, in both directions, each in its phase. */
static void assert_lists_are_whole(void)
{
	for (int phase = 0; phase < CONNECTION_PHASE_COUNT; phase++) {
		unsigned count = 0;
		const struct connection *previous = NULL;
		for (const struct connection *c = all.first[phase]; c != NULL; c = c->next) {
			ck_assert_ptr_eq(c->previous, previous);
			ck_assert_int_eq(c->phase, phase);
			if (previous != NULL)
				ck_assert_int_le(previous->deadline_ms, c->deadline_ms);
			previous = c;
			count++;
		}
		ck_assert_ptr_eq(all.last[phase], previous);
		ck_assert_uint_eq(all.count[phase], count);
	}
}

static void assert_counts(unsigned fresh, unsigned busy, unsigned kept, unsigned closing)
{
	assert_lists_are_whole();
	ck_assert_uint_eq(all.count[CONNECTION_FRESH], fresh);
	ck_assert_uint_eq(all.count[CONNECTION_BUSY], busy);
	ck_assert_uint_eq(all.count[CONNECTION_KEPT], kept);
	ck_assert_uint_eq(all.count[CONNECTION_CLOSING], closing);
	ck_assert_uint_eq(connections_open(&all), fresh + busy + kept);
}

/* ---- lists and phases --------------------------------------------------------------------------
 */

START_TEST(begins_fresh_with_the_time_of_a_request)
{
	assert_counts(0, 0, 0, 0);
	struct other_end peer = peer_new(&door_a, NOW_MS);
	ck_assert_int_eq(peer.connection->phase, CONNECTION_FRESH);
	ck_assert_int_eq(peer.connection->deadline_ms, NOW_MS + CONNECTION_REQUEST_MS);
	ck_assert_ptr_eq(peer.connection->owner, &door_a);
	assert_counts(1, 0, 0, 0);
	peer_free(&peer);
	assert_counts(0, 0, 0, 0);
}
END_TEST

START_TEST(has_in_each_phase_a_time_of_its_own)
{
	struct other_end peer = peer_new(&door_a, NOW_MS);
	connection_enter(&all, peer.connection, CONNECTION_BUSY, NOW_MS + 5);
	ck_assert_int_eq(peer.connection->deadline_ms, NOW_MS + 5 + CONNECTION_ANSWER_MS);
	assert_counts(0, 1, 0, 0);
	connection_enter(&all, peer.connection, CONNECTION_KEPT, NOW_MS + 7);
	ck_assert_int_eq(peer.connection->deadline_ms, NOW_MS + 7 + CONNECTION_IDLE_MS);
	assert_counts(0, 0, 1, 0);
	connection_enter(&all, peer.connection, CONNECTION_FRESH, NOW_MS + 9);
	ck_assert_int_eq(peer.connection->deadline_ms, NOW_MS + 9 + CONNECTION_REQUEST_MS);
	assert_counts(1, 0, 0, 0);
	connection_enter(&all, peer.connection, CONNECTION_CLOSING, NOW_MS + 9);
	ck_assert_int_eq(connections_next_ms(&all), INT64_MAX); /* not its own time any more */
	assert_counts(0, 0, 0, 1);
	ck_assert(!is_shut_down(&peer)); /* entering does nothing to it */
	peer_free(&peer);
}
END_TEST

START_TEST(lists_stay_whole_whatever_comes_and_goes)
{
	struct other_end peers[32];
	bool is_there[32] = {false};
	uint64_t seed = unit_seed("lists_stay_whole_whatever_comes_and_goes");
	int64_t now_ms = NOW_MS;
	for (int step = 0; step < 2000; step++) {
		size_t i = unit_random(&seed, UNIT_COUNT(peers));
		now_ms += (int64_t)unit_random(&seed, 3);
		if (!is_there[i]) {
			peers[i] = peer_new(&door_a, now_ms);
			is_there[i] = true;
		} else if (unit_random(&seed, 4) == 0) {
			peer_free(&peers[i]);
			is_there[i] = false;
		} else {
			connection_enter(&all, peers[i].connection,
				(enum connection_phase)unit_random(&seed, CONNECTION_CLOSING),
				now_ms);
		}
		if (step % 10 == 0)
			assert_lists_are_whole();
	}
	for (size_t i = 0; i < UNIT_COUNT(peers); i++)
		if (is_there[i])
			peer_free(&peers[i]);
	assert_counts(0, 0, 0, 0);
}
END_TEST

/* ---- time --------------------------------------------------------------------------------------
 */

START_TEST(tells_when_the_next_is_due)
{
	ck_assert_int_eq(connections_next_ms(&all), INT64_MAX);
	struct other_end kept = peer_new(&door_a, NOW_MS);
	connection_enter(&all, kept.connection, CONNECTION_KEPT, NOW_MS);
	ck_assert_int_eq(connections_next_ms(&all), NOW_MS + CONNECTION_IDLE_MS);
	struct other_end busy = peer_new(&door_a, NOW_MS);
	connection_enter(&all, busy.connection, CONNECTION_BUSY, NOW_MS);
	ck_assert_int_eq(connections_next_ms(&all), NOW_MS + CONNECTION_ANSWER_MS);
	struct other_end fresh = peer_new(&door_a, NOW_MS);
	struct other_end later = peer_new(&door_a, NOW_MS + 1);
	ck_assert_int_eq(connections_next_ms(&all), NOW_MS + CONNECTION_REQUEST_MS);
	peer_free(&fresh);
	ck_assert_int_eq(connections_next_ms(&all), NOW_MS + 1 + CONNECTION_REQUEST_MS);
	peer_free(&later);
	peer_free(&busy);
	peer_free(&kept);
	ck_assert_int_eq(connections_next_ms(&all), INT64_MAX);
}
END_TEST

START_TEST(shuts_down_those_whose_time_is_over)
{
	static const int64_t times_ms[] = {
		CONNECTION_REQUEST_MS, CONNECTION_ANSWER_MS, CONNECTION_IDLE_MS};
	for (int phase = 0; phase < CONNECTION_CLOSING; phase++) {
		struct other_end peers[4];
		for (int i = 0; i < 4; i++) {
			peers[i] = peer_new(&door_a, NOW_MS);
			connection_enter(&all, peers[i].connection, (enum connection_phase)phase,
				NOW_MS + 10 * i);
		}
		connections_expire(&all, NOW_MS + times_ms[phase] - 1);
		for (int i = 0; i < 4; i++)
			ck_assert(!is_shut_down(&peers[i]));
		connections_expire(&all, NOW_MS + times_ms[phase] + 10);
		for (int i = 0; i < 4; i++)
			ck_assert(is_shut_down(&peers[i]) == (i < 2));
		ck_assert_uint_eq(all.count[phase], 2);
		ck_assert_uint_eq(all.count[CONNECTION_CLOSING], 2);
		ck_assert_int_eq(connections_next_ms(&all), NOW_MS + times_ms[phase] + 20);
		connections_expire(&all, INT64_MAX / 4);
		for (int i = 0; i < 4; i++)
			ck_assert(is_shut_down(&peers[i]));
		assert_counts(0, 0, 0, 4);
		for (int i = 0; i < 4; i++)
			peer_free(&peers[i]);
	}
}
END_TEST

START_TEST(expires_each_phase_by_itself)
{
	struct other_end peers[3];
	for (int i = 0; i < 3; i++) {
		peers[i] = peer_new(&door_a, NOW_MS);
		connection_enter(&all, peers[i].connection, (enum connection_phase)i, NOW_MS);
	}
	connections_expire(&all, NOW_MS + CONNECTION_REQUEST_MS);
	ck_assert(is_shut_down(&peers[0]) && !is_shut_down(&peers[1]) && !is_shut_down(&peers[2]));
	connections_expire(&all, NOW_MS + CONNECTION_ANSWER_MS);
	ck_assert(is_shut_down(&peers[1]) && !is_shut_down(&peers[2]));
	connections_expire(&all, NOW_MS + CONNECTION_IDLE_MS);
	ck_assert(is_shut_down(&peers[2]));
	for (int i = 0; i < 3; i++)
		peer_free(&peers[i]);
}
END_TEST

START_TEST(has_nothing_to_do_when_nobody_is_there)
{
	connections_expire(&all, INT64_MAX);
	connections_shut_down(&all, CONNECTION_FRESH, &door_a);
	assert_counts(0, 0, 0, 0);
}
END_TEST

/* ---- shutting down -----------------------------------------------------------------------------
 */

START_TEST(shuts_down_one)
{
	struct other_end one = peer_new(&door_a, NOW_MS);
	struct other_end other = peer_new(&door_a, NOW_MS);
	connection_shut_down(&all, one.connection);
	ck_assert(is_shut_down(&one));
	ck_assert(!is_shut_down(&other));
	ck_assert_int_eq(send(one.fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_counts(1, 0, 0, 1);
	connection_shut_down(&all, one.connection); /* twice is no harm */
	assert_counts(1, 0, 0, 1);
	peer_free(&one);
	peer_free(&other);
}
END_TEST

START_TEST(shuts_down_those_of_an_owner_in_a_phase)
{
	struct other_end peers[12];
	for (int i = 0; i < 12; i++) {
		peers[i] = peer_new(i % 2 == 0 ? &door_a : &door_b, NOW_MS);
		connection_enter(
			&all, peers[i].connection, (enum connection_phase)(i / 2 % 3), NOW_MS);
	}
	connections_shut_down(&all, CONNECTION_KEPT, &door_a);
	for (int i = 0; i < 12; i++)
		ck_assert(is_shut_down(&peers[i]) == (i % 2 == 0 && i / 2 % 3 == CONNECTION_KEPT));
	assert_counts(4, 4, 2, 2);
	connections_shut_down(&all, CONNECTION_KEPT, &all); /* nobody's */
	assert_counts(4, 4, 2, 2);
	for (int i = 0; i < 12; i++)
		peer_free(&peers[i]);
}
END_TEST

START_TEST(makes_room_by_the_one_that_was_idle_for_longest)
{
	struct other_end busy = peer_new(&door_a, NOW_MS);
	connection_enter(&all, busy.connection, CONNECTION_BUSY, NOW_MS);
	struct other_end fresh = peer_new(&door_a, NOW_MS);
	struct other_end kept[2];
	for (int i = 0; i < 2; i++) {
		kept[i] = peer_new(&door_a, NOW_MS);
		connection_enter(&all, kept[i].connection, CONNECTION_KEPT, NOW_MS + i);
	}
	struct other_end newcomer = peer_new(&door_b, NOW_MS + 5);
	connections_make_room(&all, newcomer.connection, NULL);
	ck_assert(is_shut_down(&kept[0]) && !is_shut_down(&kept[1]));
	connections_make_room(&all, newcomer.connection, NULL);
	ck_assert(is_shut_down(&kept[1]) && !is_shut_down(&fresh));
	connections_make_room(&all, newcomer.connection, NULL);
	ck_assert(is_shut_down(&fresh) && !is_shut_down(&newcomer));
	/* Nobody is left but who is being answered. */
	connections_make_room(&all, newcomer.connection, NULL);
	ck_assert(is_shut_down(&newcomer) && !is_shut_down(&busy));
	ck_assert_uint_eq(all.count[CONNECTION_CLOSING], 4);
	ck_assert_uint_eq(connections_open(&all), 1);
	peer_free(&busy);
	peer_free(&fresh);
	peer_free(&kept[0]);
	peer_free(&kept[1]);
	peer_free(&newcomer);
	assert_counts(0, 0, 0, 0);
}
END_TEST

/* When all others are being answered, it is the newcomer, whatever list it stands in by then. */
START_TEST(turns_the_newcomer_away_when_all_are_busy)
{
	struct other_end busy[3];
	for (int i = 0; i < 3; i++) {
		busy[i] = peer_new(&door_a, NOW_MS);
		connection_enter(&all, busy[i].connection, CONNECTION_BUSY, NOW_MS);
	}
	struct other_end newcomer = peer_new(&door_a, NOW_MS);
	connections_make_room(&all, newcomer.connection, NULL);
	ck_assert(is_shut_down(&newcomer));
	assert_counts(0, 3, 0, 1);
	for (int i = 0; i < 3; i++) {
		ck_assert(!is_shut_down(&busy[i]));
		peer_free(&busy[i]);
	}
	peer_free(&newcomer);
}
END_TEST

/* ---- users --------------------------------------------------------------------------------------
 */

static struct crowd crowd;

static struct other_end peer_of(uid_t uid, enum connection_phase phase, int64_t now_ms)
{
	struct other_end peer = peer_new(&door_a, now_ms);
	peer.connection->user = crowd_enter(&crowd, uid, now_ms);
	ck_assert_ptr_nonnull(peer.connection->user);
	if (phase != CONNECTION_FRESH)
		connection_enter(&all, peer.connection, phase, now_ms);
	return peer;
}

static void make_room(const struct other_end *newcomer)
{
	connections_make_room(&all, newcomer->connection, crowd_greediest(&crowd));
}

START_TEST(the_greediest_user_makes_room_for_others)
{
	struct other_end modest = peer_of(1, CONNECTION_KEPT, NOW_MS - 1000);
	struct other_end greedy[] = {peer_of(2, CONNECTION_BUSY, NOW_MS),
		peer_of(2, CONNECTION_BUSY, NOW_MS + 1), peer_of(2, CONNECTION_FRESH, NOW_MS),
		peer_of(2, CONNECTION_KEPT, NOW_MS)};
	struct other_end newcomer = peer_of(1, CONNECTION_FRESH, NOW_MS);
	/* As long as the greedy user has more than the other: idle ones, first requests, answers.
	 */
	const int order[] = {3, 2};
	for (size_t i = 0; i < UNIT_COUNT(order); i++) {
		make_room(&newcomer);
		ck_assert(is_shut_down(&greedy[order[i]]));
		ck_assert(!is_shut_down(&modest) && !is_shut_down(&newcomer));
	}
	struct other_end third = peer_of(3, CONNECTION_FRESH, NOW_MS);
	peer_free(&modest);
	make_room(&third);
	ck_assert(is_shut_down(&greedy[0]) && !is_shut_down(&greedy[1]));
	for (size_t i = 0; i < UNIT_COUNT(greedy); i++)
		peer_free(&greedy[i]);
	peer_free(&newcomer);
	peer_free(&third);
	ck_assert_ptr_null(crowd_greediest(&crowd));
	crowd_free(&crowd);
}
END_TEST

START_TEST(the_greediest_user_gets_no_room_from_others)
{
	struct other_end modest = peer_of(1, CONNECTION_KEPT, NOW_MS - 1000);
	struct other_end greedy[] = {
		peer_of(2, CONNECTION_BUSY, NOW_MS), peer_of(2, CONNECTION_BUSY, NOW_MS)};
	struct other_end newcomer = peer_of(2, CONNECTION_FRESH, NOW_MS);
	make_room(&newcomer);
	ck_assert(is_shut_down(&newcomer));
	ck_assert(!is_shut_down(&modest));
	ck_assert(!is_shut_down(&greedy[0]) && !is_shut_down(&greedy[1]));
	ck_assert_uint_eq(modest.connection->user->open, 1);
	ck_assert_uint_eq(greedy[0].connection->user->open, 2);
	peer_free(&modest);
	peer_free(&greedy[0]);
	peer_free(&greedy[1]);
	peer_free(&newcomer);
	crowd_free(&crowd);
}
END_TEST

UNIT_MAIN("connection", begins_fresh_with_the_time_of_a_request,
	has_in_each_phase_a_time_of_its_own, lists_stay_whole_whatever_comes_and_goes,
	tells_when_the_next_is_due, shuts_down_those_whose_time_is_over,
	expires_each_phase_by_itself, has_nothing_to_do_when_nobody_is_there, shuts_down_one,
	shuts_down_those_of_an_owner_in_a_phase, makes_room_by_the_one_that_was_idle_for_longest,
	turns_the_newcomer_away_when_all_are_busy, the_greediest_user_makes_room_for_others,
	the_greediest_user_gets_no_room_from_others)
