// SPDX-License-Identifier: GPL-2.0
/*
 * Three calls at one channel that is closed meanwhile: every plain operation, and every
 * select of two cases, of each of them, in any mixture; any may give up at any time. The
 * channel is unbuffered, or has room for one or two messages, and may have one already.
 */

#define CALLS		3
#define CASES		2
#define CHANNELS	1
#define OBJECTS		CHANNELS
#define ENDING		(2 * CHANNELS)		/* the list struct end, of the closer */
#define LISTS		(ENDING + 1)
#define LENGTH		(2 * CALLS)
#define ROOM		2

#include "channel.pml"

inline look() { skip }
inline gave_up() { skip }

proctype caller(byte me) {
	CALL_STATE;

	do
	CALL_STEPS
	:: refill()
	od
}

/* end_outcome() */
inline outcome(w) {
	give_end(0, w)
}

/* channel_close() */
active proctype closer() {
	byte claimed = NONE;

	d_step {
		CAN_LOCK(0) ->
		printf("channel 0 is closed\n");
		lock(0);
		channels[0].closed = 1;
#ifndef CLOSE_FORGETS_SENDERS
		list_splice(SENDERS(0), ENDING);
#endif
#ifndef CLOSE_FORGETS_RECEIVERS
		list_splice(RECEIVERS(0), ENDING);
#endif
		unlock_channel(0)
	};
	do
	:: release_next(0, ENDING)
	:: chanfd_wake(true)
	:: d_step {
		claimed == NONE && FIRST(ENDING) == NONE -> reach
	   };
		break
	od
}

/* Cases in the order of 5 kinds of call: 2 operations alone, and 3 pairs of them. */
#define FIRST_CASE(kind)	(kind < 2 -> kind : (kind < 4 -> 0 : 1))
#define SECOND_CASE(kind)	(kind < 2 -> NONE : (kind < 4 -> kind - 2 : 1))

/* All scenarios, but of those that differ in names only, one. */
init {
	byte c, kind;
	atomic {
		if
		:: channels[0].capacity = 2; preload(0)
		:: channels[0].capacity = 1; preload(0)
		:: channels[0].capacity = 1
		:: true
		fi;
		for (c : 0 .. CALLS - 1) {
			do
			:: kind < 4 -> kind++
			:: break
			od;
			op[CASE(c, 0)] = FIRST_CASE(kind);
			op[CASE(c, 1)] = SECOND_CASE(kind)
		}
		kind = 0;
		say_scenario();
		for (c : 0 .. CALLS - 1) {
			run caller(c)
		}
		c = 0
	};
	all_returned();
	d_step { check_messages() }
}
