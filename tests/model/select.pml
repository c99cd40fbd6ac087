// SPDX-License-Identifier: GPL-2.0
/*
 * Three calls at two channels: every plain operation, and every select of two cases, of
 * each of them, in any mixture; any of them may be unable to wait, or give up at any
 * time because of a signal or its deadline. The channels are unbuffered, or buffered with
 * one place, full or empty.
 *
 * INSTANT: call A has to be right if it gives up. LIMITED: two calls, each with the same
 * context, which is cancelled.
 */

#ifdef LIMITED
#define CALLS		2
#define CASES		3
#define LIMIT(call)	CASE(call, 2)
#else
#define CALLS		3
#define CASES		2
#endif
#define CHANNELS	2
#define OBJECTS		(CHANNELS + 1)		/* a context */
#define LISTS		(2 * CHANNELS + 1)	/* those who wait for it */
#define LENGTH		6
#define ROOM		1

#ifdef INSTANT
#define BEGIN		; begin()
#endif

bit cancelled;			/* the context */

#include "channel.pml"

#ifdef INSTANT
/*
 * Call A gives up only if there was an instant in which it could not go ahead, whichever
 * way it gives up. What is done to a channel's buffer counts from when its lock is dropped.
 * Once there was one, or A has fired, there is nothing more to see.
 */
#define WATCHING	provided (!instant && calls[0].fired == NONE)
bit begun;
bit instant;
byte before[CHANNELS];

#define WAITS(list, n)								\
	(lists[list].nr > n && CALL(lists[list].at[n]) != 0 &&			\
	 calls[CALL(lists[list].at[n])].fired == NONE)

#define ANY_WAITS(list)								\
	(WAITS(list, 0) || WAITS(list, 1) || WAITS(list, 2) || WAITS(list, 3) ||	\
	 WAITS(list, 4) || WAITS(list, 5))

#define COULD(w)								\
	(USED(w) && (SENDS(w) ->						\
		before[CHANNEL(w)] < channels[CHANNEL(w)].capacity ||		\
		ANY_WAITS(RECEIVERS(CHANNEL(w))) :				\
		before[CHANNEL(w)] > 0 || ANY_WAITS(SENDERS(CHANNEL(w)))))

inline look() {
	for (n : 0 .. CHANNELS - 1) {
		if
		:: !holder[n] -> before[n] = channels[n].nr
		:: else
		fi
	}
	if
	:: begun && !instant && !COULD(0) && !COULD(1) -> instant = 1
	:: else
	fi
}

inline begin() {
	d_step {
		if
		:: me == 0 -> begun = 1; look()
		:: else
		fi
	}
}

inline gave_up() {
	promise("who gives up could not go ahead, at one instant", me != 0 || instant)
}
#else
#define WATCHING
inline look() { skip }
inline gave_up() { skip }
#endif

proctype caller(byte me) WATCHING
{
	CALL_STATE;

	do
	CALL_STEPS
	:: refill()
	od
}

#ifdef LIMITED
#define TOLD(w)	(list_of[w] == NONE || calls[CALL(w)].fired != NONE)

/* done_outcome() */
inline outcome(w) { skip }

/* chanfd_end_context(): end_locked() and after_end() */
active proctype canceller() {
	byte claimed = NONE;

	d_step {
		CAN_LOCK(CHANNELS) ->
		printf("the context is done\n");
		cancelled = 1
	};
	do
	:: release_next(CHANNELS, 2 * CHANNELS)
	:: chanfd_wake(true)
	:: d_step { claimed == NONE && FIRST(2 * CHANNELS) == NONE -> cancelled = 1 };
		break
	od;
	promise("nobody waits whose context is done", TOLD(LIMIT(0)) && TOLD(LIMIT(1)))
}
#endif

/* Cases in the order of 14 kinds of call: 4 operations alone, and 10 pairs of them. */
#define FIRST_CASE(kind)							\
	(kind < 4 -> kind : (kind < 8 -> 0 : (kind < 11 -> 1 : (kind < 13 -> 2 : 3))))
#define SECOND_CASE(kind)							\
	(kind < 4 -> NONE : (kind < 8 -> kind - 4 : (kind < 11 -> kind - 7 :	\
		(kind < 13 -> kind - 9 : 3))))

/* All scenarios, but of those that differ in names only, one. */
init {
	byte c, kind;
	atomic {
		if
#ifdef PARKS_UNTRIED
		:: true		/* first, to see two that wait for each other */
#endif
		:: channels[0].capacity = 1; channels[1].capacity = 1; preload(1)
		:: channels[0].capacity = 1; channels[1].capacity = 1
		:: channels[0].capacity = 1; channels[1].capacity = 1; preload(0); preload(1)
		:: channels[1].capacity = 1
		:: channels[1].capacity = 1; preload(1)
		:: true
		fi;
		for (c : 0 .. CALLS - 1) {
#ifdef INSTANT
			if
			:: c == 1 -> kind = 0
			:: else
			fi;
#endif
			do
			:: kind < 13 -> kind++
			:: break
			od;
			op[CASE(c, 0)] = FIRST_CASE(kind);
			op[CASE(c, 1)] = SECOND_CASE(kind);
#ifdef LIMITED
			op[LIMIT(c)] = 2 * CHANNELS
#endif
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
