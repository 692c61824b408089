#include "base/turns.h"

#include "unit.h"

/* Whoever wants a turn: it notes when it got it. */
struct one {
	struct turn turn;
	struct loop_timer timer;
	bool has_turn;
};

static struct loop *loop;
static struct turns turns;

static void get_turn(void *context)
{
	struct one *one = context;
	ck_assert(!one->has_turn);
	one->has_turn = true;
}

static void make_turns(unsigned most)
{
	struct error err;
	loop = loop_new(&clock_system, &err);
	ck_assert_ptr_nonnull(loop);
	turns = (struct turns){.most = most};
}

static void ask(struct one *one)
{
	*one = (struct one){.timer = {.fire = get_turn, .context = one}};
	ck_assert_int_eq(turns_ask(&turns, &one->turn, loop, &one->timer), 0);
	ck_assert(!one->has_turn);
}

static void give_back(struct one *one)
{
	loop_timer_cancel(loop, &one->timer);
	turns_give_back(&turns, &one->turn);
}

/* Which of up to 32 have had a turn, as bits, once nothing more happens. */
static unsigned who_has(const struct one *all, size_t count)
{
	unsigned bits = 0;
	for (int i = 0; i < 4; i++)
		loop_run(loop, 0);
	for (size_t i = 0; i < count; i++)
		bits |= (unsigned)all[i].has_turn << i;
	return bits;
}

START_TEST(gives_as_many_turns_as_there_are_and_the_others_in_order)
{
	struct one all[5];
	make_turns(2);
	for (size_t i = 0; i < UNIT_COUNT(all); i++)
		ask(&all[i]);
	ck_assert_uint_eq(who_has(all, 5), 0x03);
	give_back(&all[1]);
	ck_assert_uint_eq(who_has(all, 5), 0x07);
	give_back(&all[0]);
	ck_assert_uint_eq(who_has(all, 5), 0x0f);
	give_back(&all[3]);
	ck_assert_uint_eq(who_has(all, 5), 0x1f);
	give_back(&all[2]);
	give_back(&all[4]);
	ck_assert_uint_eq(turns.taken, 0);
	loop_free(loop);
}
END_TEST

START_TEST(lets_anyone_leave_the_queue_wherever_it_stands)
{
	for (size_t leaver = 1; leaver < 5; leaver++) {
		struct one all[5];
		struct one late;
		make_turns(1);
		for (size_t i = 0; i < UNIT_COUNT(all); i++)
			ask(&all[i]);
		give_back(&all[leaver]);
		ask(&late);
		ck_assert_uint_eq(who_has(all, 5), 0x01);
		for (size_t i = 0; i < UNIT_COUNT(all); i++)
			if (i != leaver) {
				ck_assert(who_has(all, 5) & 1U << i);
				give_back(&all[i]);
			}
		ck_assert_uint_eq(who_has(&late, 1), 1);
		ck_assert(!all[leaver].has_turn);
		give_back(&late);
		ck_assert_uint_eq(turns.taken, 0);
		loop_free(loop);
	}
}
END_TEST

START_TEST(passes_a_turn_on_that_was_never_used)
{
	struct one all[2];
	make_turns(1);
	ask(&all[0]);
	ask(&all[1]);
	give_back(&all[0]); /* before its timer fired */
	ck_assert_uint_eq(who_has(all, 2), 0x02);
	give_back(&all[1]);
	ask(&all[0]);
	ck_assert_uint_eq(who_has(all, 1), 0x01);
	give_back(&all[0]);
	loop_free(loop);
}
END_TEST

static void ask_without_memory(void *argument)
{
	(void)argument;
	struct one one = {.timer = {.fire = get_turn, .context = &one}};
	make_turns(1);
	unit_exhaust_memory();
	if (turns_ask(&turns, &one.turn, loop, &one.timer) != -1 || turns.taken != 0 ||
		turns.first != NULL)
		_exit(1);
}

START_TEST(asks_for_nothing_when_there_is_no_memory)
{
	if (!UNIT_HAS_SANITIZER)
		unit_assert_exited(unit_in_child(ask_without_memory, NULL), 0);
}
END_TEST

UNIT_MAIN("turns", gives_as_many_turns_as_there_are_and_the_others_in_order,
	lets_anyone_leave_the_queue_wherever_it_stands, passes_a_turn_on_that_was_never_used,
	asks_for_nothing_when_there_is_no_memory)
