#include "server/crowd.h"

#include "unit.h"

static struct crowd crowd;

START_TEST(counts_the_connections_of_each_user)
{
	struct crowd_user *one = crowd_enter(&crowd, 1000, 0);
	ck_assert_ptr_eq(crowd_enter(&crowd, 1000, 0), one);
	/* In the same slot. */
	struct crowd_user *other = crowd_enter(&crowd, 1000 + CROWD_SLOTS, 0);
	ck_assert_ptr_ne(other, one);
	ck_assert_uint_eq(one->connections, 2);
	ck_assert_ptr_eq(crowd_greediest(&crowd), one);
	one->open -= 2;
	crowd_leave(one);
	crowd_leave(one);
	ck_assert_ptr_eq(crowd_greediest(&crowd), other);
	crowd_free(&crowd);
	ck_assert_ptr_null(crowd_greediest(&crowd));
}
END_TEST

START_TEST(who_is_alone_may_ask_as_often_as_he_likes)
{
	struct crowd_user *one = crowd_enter(&crowd, 1, 0);
	for (int i = 0; i < 10 * CROWD_REQUESTS_S; i++)
		ck_assert(crowd_takes_request(&crowd, one, 5000));
	crowd_free(&crowd);
}
END_TEST

START_TEST(beside_others_nobody_may_ask_more_often_than_the_limit)
{
	struct crowd_user *greedy = crowd_enter(&crowd, 1, 0);
	struct crowd_user *modest = crowd_enter(&crowd, 2, 0);
	ck_assert(crowd_takes_request(&crowd, modest, 5000));
	for (int i = 0; i < CROWD_REQUESTS_S; i++)
		ck_assert(crowd_takes_request(&crowd, greedy, 5001));
	for (int i = 0; i < CROWD_REQUESTS_S; i++)
		ck_assert(!crowd_takes_request(&crowd, greedy, 5999));
	ck_assert(crowd_takes_request(&crowd, modest, 5999));
	/* In the next second too, for the other may ask again in it. */
	for (int i = 0; i < CROWD_REQUESTS_S; i++)
		ck_assert(crowd_takes_request(&crowd, greedy, 6000));
	ck_assert(!crowd_takes_request(&crowd, greedy, 6500));
	/* And no longer when nobody else has asked for a whole second. */
	for (int i = 0; i < 2 * CROWD_REQUESTS_S; i++)
		ck_assert(crowd_takes_request(&crowd, greedy, 7000));
	crowd_free(&crowd);
}
END_TEST

START_TEST(to_connect_anew_does_not_forget_what_was_asked)
{
	struct crowd_user *modest = crowd_enter(&crowd, 2, 0);
	ck_assert(crowd_takes_request(&crowd, modest, 5000));
	int taken = 0;
	for (int i = 0; i < 2 * CROWD_REQUESTS_S; i++) {
		struct crowd_user *greedy = crowd_enter(&crowd, 1, 5000);
		taken += crowd_takes_request(&crowd, greedy, 5000);
		greedy->open--;
		crowd_leave(greedy);
	}
	ck_assert_int_eq(taken, CROWD_REQUESTS_S);
	crowd_free(&crowd);
}
END_TEST

START_TEST(users_who_are_gone_are_forgotten)
{
	struct crowd_user *stays = crowd_enter(&crowd, 7, 0);
	for (uid_t uid = 100; uid < 20100; uid++) {
		struct crowd_user *user = crowd_enter(&crowd, uid, (int64_t)uid * 1000);
		ck_assert(crowd_takes_request(&crowd, user, (int64_t)uid * 1000));
		user->open--;
		crowd_leave(user);
		ck_assert_uint_le(crowd.count, 64);
	}
	ck_assert_ptr_eq(crowd_enter(&crowd, 7, 0), stays);
	crowd_free(&crowd);
}
END_TEST

UNIT_MAIN("crowd", counts_the_connections_of_each_user, who_is_alone_may_ask_as_often_as_he_likes,
	beside_others_nobody_may_ask_more_often_than_the_limit,
	to_connect_anew_does_not_forget_what_was_asked, users_who_are_gone_are_forgotten)
