// SPDX-License-Identifier: GPL-2.0
/*
 * The rounds of a waitgroup (kmod/waitgroup.c): two calls that wait for the end of a
 * round, for a broken member, or for either, and may give up at any time; and two
 * processes, each with a handle, that count up and down, make a token and are done with
 * it, in any order, a few times, and die in the end.
 */

#ifndef CALLS
#define CALLS		2
#endif
#define CASES		2
#define PROCESSES	2
#ifndef OPERATIONS
#define OPERATIONS	3	/* of a process, before it dies */
#endif
#define OBJECTS		1

/* Lists */
#define THE_WAITERS	0
#define THE_WATCHERS	1
#define RELEASED(p)	(2 + (p))	/* a process's struct released */
#define LISTS		(2 + PROCESSES)
#define LENGTH		(CALLS * CASES)

/* A call's first case waits for the end of a round, the second for a broken member. */
bit used[CALLS * CASES];
#define USED(w)		used[w]
#define WATCHES(w)	((w) % 2)
#define QUEUE(w)	WATCHES(w)
#define OBJECT(w)	0
#define PARTNER(w)	NONE		/* nobody is met here */

#include "engine.pml"

inline look() { skip }
inline gave_up() { skip }
inline meet(w, peer_) { skip }

/* struct round */
typedef round_t {
	byte number;
	byte broken;
	byte error
};

/* struct waitgroup */
byte count;
byte tokens;
byte writers = PROCESSES;
round_t round;

/* struct token, of each process: the round in which it counts, or 0 */
byte token[PROCESSES];

/* Who waited when, and how rounds ended, for comparison. */
#define ROUNDS	(PROCESSES * OPERATIONS + 1)
byte parked_in[WAITERS];
round_t ended[ROUNDS];
byte orphaning;				/* who is about to say that no writer is left, from 1 */
byte died;				/* tokens of this round that were not done */

hidden byte p;

/* is_pending() */
#ifdef TOKENS_OF_ANY_ROUND
#define PENDING(p)	(token[p] && count)
#else
#define PENDING(p)	(token[p] && count && token[p] == round.number)
#endif

#ifdef WATCHES_EVERYTHING
#define WAKES_WATCHERS	true
#else
#define WAKES_WATCHERS	false
#endif

#ifdef DEATH_IS_DONE
#define DEATH_BREAKS	0
#else
#define DEATH_BREAKS	1
#endif

inline unlock_waitgroup() {
	promise("a round that nobody can end is over", !count || writers || tokens || orphaning);
	k = 0;
	for (p : 0 .. PROCESSES - 1) {
		k = k + (PENDING(p) -> 1 : 0)
	}
	promise("as many tokens count as there are", tokens == k);
	for (p : 0 .. WAITERS - 1) {
		promise("nobody waits while the count is zero", count || list_of[p] == NONE ||
			list_of[p] >= RELEASED(0) || calls[CALL(p)].fired != NONE)
	}
	unlock(0)
}

/* round_outcome() of what @r says: the waitgroup's own round, or how one ended. */
inline round_outcome(w, r) {
	promise("who waits learns how the round ended in which it began to",
		WATCHES(w) || r.number == parked_in[w] &&
		r.broken == ended[r.number].broken && r.error == ended[r.number].error);
	promise("who watches learns of a break, or the end, of its round",
		!WATCHES(w) || r.number == parked_in[w] &&
		(r.broken || r.number < round.number || !count))
}

/* wait_attempt() */
inline attempt(w) {
	if
	:: (!count || WATCHES(w) && round.broken) && !UNTRIED(parked) ->
		if
		:: !LOST -> reach;
			printf("%c finds round %d: %d members, %d broken\n", NAME(me),
			       round.number, count, round.broken);
			chanfd_commit(w);
			parked_in[w] = round.number;
			round_outcome(w, round);
			parked_in[w] = 0
		:: else -> reach
		fi
	:: else ->
		if
		:: parked -> reach;
			printf("%c waits in round %d\n", NAME(me), round.number);
			list_add_tail(QUEUE(w), w);
			parked_in[w] = round.number
		:: else -> reach
		fi
	fi;
	unlock_waitgroup();
	attempted()
}

proctype caller(byte me) {
	CALL_STATE;

	do
	CALL_STEPS
	od
}

/* What processes do, under the lock. @me is one; released is its struct released. */

/* count_up() */
inline count_up() {
	if
	:: !count ->
		round.number++;
		round.broken = 0;
		round.error = 0;
		died = 0
	:: else
	fi;
	count++
}

/* count_down() */
inline count_down(n, broken_, error_) {
	count = count - n;
	round.broken = round.broken + broken_;
	if
	:: !round.error -> round.error = error_
	:: else
	fi;
	if
	:: !count ->
		printf("round %d ends: %d broken, error %d\n", round.number, round.broken,
		       round.error);
		promise("a member that dies breaks its round", round.broken >= died);
		tokens = 0;
		list_splice(THE_WAITERS, RELEASED(me));
		ended[round.number].broken = round.broken;
		ended[round.number].error = round.error
	:: else
	fi;
	if
	:: !count || broken_ || WAKES_WATCHERS -> list_splice(THE_WATCHERS, RELEASED(me))
	:: else
	fi;
	released.number = round.number;
	released.broken = round.broken;
	released.error = round.error
}

/* end_if_stuck() */
inline end_if_stuck() {
	if
#ifndef FORGETS_STUCK
	:: count && !writers && !tokens -> reach;
		count_down(count, count, 0)
#endif
	:: else
	fi
}

/* token_done(), or token_abandoned() */
inline end_token(dead, broken_, error_) {
	if
	:: PENDING(me) -> reach;
		token[me] = 0;
		tokens--;
		died = died + dead;
		count_down(1, broken_, error_);
		end_if_stuck()
	:: else -> reach;
		token[me] = 0
	fi
}

inline outcome(w) {
#ifdef OUTCOME_OF_NOW
	round_outcome(w, round)
#else
	round_outcome(w, released)
#endif
}

/* A step of a process that has nothing to let go. */
#define FREE	(claimed == NONE && FIRST(RELEASED(me)) == NONE && CAN_LOCK(0))

proctype process(byte me) {
	byte operations, claimed = NONE;
	bit handle = 1;
	round_t released;

	do
	/* waitgroup_add() */
	:: d_step {
		FREE && operations < OPERATIONS ->
		reach;
		printf("process %d counts up\n", me);
		operations++;
		count_up();
		unlock_waitgroup()
	   }
	:: d_step {
		FREE && operations < OPERATIONS && count ->
		reach;
		printf("process %d counts down\n", me);
		operations++;
		count_down(1, 0, 0);
		unlock_waitgroup()
	   }
	/* waitgroup_token() */
	:: d_step {
		FREE && operations < OPERATIONS && !token[me] ->
		reach;
		printf("process %d makes a token\n", me);
		operations++;
		count_up();
		tokens++;
		token[me] = round.number;
		unlock_waitgroup()
	   }
	:: d_step {
		FREE && operations < OPERATIONS && token[me] ->
		reach;
		printf("process %d is done, with an error\n", me);
		operations++;
		end_token(0, 0, 1);
		unlock_waitgroup()
	   }
	/* chanfd_handle_release() of the token */
	:: d_step {
		FREE && token[me] ->
		reach;
		printf("process %d closes its token\n", me);
		operations = OPERATIONS;
		end_token(1, DEATH_BREAKS, 0);
		unlock_waitgroup()
	   }
	/* chanfd_handle_release() of the waitgroup; then, waitgroup_abandoned() */
	:: d_step {
		FREE && handle ->
		reach;
		printf("process %d closes its handle\n", me);
		operations = OPERATIONS;
		handle = 0;
		writers--;
		orphaning = (writers -> 0 : me + 1)
	   }
	:: d_step {
		FREE && orphaning == me + 1 ->
		end_if_stuck();
		orphaning = 0;
		unlock_waitgroup()
	   }
	/* let_go() */
	:: release_next(0, RELEASED(me))
	:: chanfd_wake(true)
	:: d_step {
		FREE && !handle && orphaning != me + 1 && !token[me] -> reach
	   };
		break
	od
}

/* All scenarios, but of those that differ in names only, one. */
init {
	byte c, kind;
	atomic {
		for (c : 0 .. CALLS - 1) {
			kind = 1;
			do
			:: !c && kind < 3 -> kind++
			:: break
			od;
			used[CASE(c, 0)] = kind & 1;
			used[CASE(c, 1)] = kind >> 1;
			if
			:: kind == 1 -> printf("%c is to wait for the end\n", NAME(c))
			:: kind == 2 -> printf("%c is to watch for a break\n", NAME(c))
			:: kind == 3 -> printf("%c is to do either\n", NAME(c))
			fi
		}
		kind = 0;
		for (c : 0 .. CALLS - 1) {
			run caller(c)
		}
		for (c : 0 .. PROCESSES - 1) {
			run process(c)
		}
		c = 0
	};
	all_returned();
}
