// SPDX-License-Identifier: GPL-2.0
/*
 * A lock (kmod/lock.c): processes that each acquire it a few times, as a writer or as a
 * reader, release it, or downgrade it first, give it up, or die with it; or give up
 * waiting for it, all in all a few times. It is handed over, left to the first comer, or
 * adaptive.
 *
 * What is done under the lock's spinlock is one step: the one call whose lock is taken
 * there to look at somebody else's stays locked to the end, or can have withdrawn after
 * that as well.
 */

#ifndef CALLS
#define CALLS		3
#endif
#ifndef ROUNDS
#define ROUNDS		1	/* of a process */
#endif
#ifndef DESERTERS
#define DESERTERS	2	/* calls that give up, at the most */
#endif
#define CASES		2
#define OBJECTS		1

/* Lists */
#define WRITERS		0	/* lock->waiting_writers */
#define READERS		1	/* lock->waiting_readers */
#define ADMITTED	2	/* lock->admitted */
#define NOBODY		3
#define LISTS		4
#define LENGTH		CALLS

/* A call has one case. */
bit shared[CALLS * CASES];
#define USED(w)		((w) % 2 == 0)
#define QUEUE(w)	(shared[w] -> READERS : WRITERS)
#define OBJECT(w)	0
#define PARTNER(w)	NONE		/* nobody is met here */

byte deserters;			/* calls that may still give up */
byte deaths;			/* holders that may still die */
#define MAY_GIVE_UP	(deserters > 0)
#define LEFT		(!admit && (!parked || calls[me].fired == CASE(me, 0) || left))

#include "engine.pml"

inline look() { skip }
inline gave_up() { deserters-- }
inline meet(w, peer_) { skip }

#define HANDOFF		0
#define BARGING		1
#define ADAPTIVE	2

/* struct lock */
byte mode;
bit rw;
bit owner_dead;
bit lost;
bit starving;
byte writer = NONE;
byte readers;
byte woken = NONE;

/* What was said to a call. */
#define OK		0
#define EOWNERDEAD	1
#define ENOTRECOVERABLE	2
byte error[CALLS];

/* For comparison */
#define A_READER	1
#define A_WRITER	2
byte inside[CALLS];		/* who holds it, as what, and lives */
bit broken;			/* a writer has died, and no other has released it since */
bit due[CALLS];			/* a reader that is let in before any other writer */
bit starved[CALLS];		/* a writer that has waited for a long time */

hidden byte s;			/* for one step */
hidden byte n;
hidden byte m;
hidden byte err;

#define IS_HANDED_OVER	(mode == HANDOFF || starving)
#define IS_FREE		(writer == NONE && !readers && !lists[ADMITTED].nr)

/* Is @w one of @list that still waits? */
#define WAITS(list, n)	(lists[list].nr > n && calls[CALL(lists[list].at[n])].fired == NONE)

/* The same, of those before @w, or of all if it is not there. */
inline count_waiting_before(list, w) {
	m = 0;
	n = 0;
	do
	:: n < lists[list].nr && lists[list].at[n] != w ->
		m = m + (calls[CALL(lists[list].at[n])].fired == NONE);
		n++
	:: else -> break
	od
}

/* chanfd_claim_first(), in @peer */
inline chanfd_claim_first(list) {
	do
	:: WAITS(list, 0) || !lists[list].nr -> break
	:: else ->
		peer = lists[list].at[0];
		list_del(peer)
	od;
	peer = FIRST(list)
}

inline take(w) {
	if
	:: shared[w] ->
		for (n : 0 .. CALLS - 1) {
			promise("a writer is alone", inside[n] != A_WRITER)
		}
		inside[CALL(w)] = A_READER;
		due[CALL(w)] = 0;
		readers++
	:: else ->
		for (n : 0 .. CALLS - 1) {
			promise("a writer is alone", !inside[n]);
			promise("readers that wait when a writer leaves come before the next",
				!due[n] || calls[n].fired != NONE)
		}
		if
		:: IS_HANDED_OVER ->
			count_waiting_before(WRITERS, w);
			promise("a lock is handed over in the order of arrival", !m)
		:: else
		fi;
		inside[CALL(w)] = A_WRITER;
		writer = CALL(w)
	fi;
	starved[CALL(w)] = 0;
	promise("nobody gets a lock that was given up", !lost);
	promise("who acquires learns of a dead writer until another releases it",
		owner_dead == broken);
	error[CALL(w)] = owner_dead
}

/* verdict(): may @w have it? In @err: 0, or it has to wait. */
#define LOST_IT		2	/* -ENOTRECOVERABLE */
#ifdef NEWCOMERS_PASS
#define QUEUES_UP	false
#else
#define QUEUES_UP	IS_HANDED_OVER
#endif
#ifdef GIVES_UP_QUIETLY
#define IS_LOST		false
#else
#define IS_LOST		lost
#endif

inline verdict(w) {
	if
	:: IS_LOST -> err = LOST_IT
	:: !IS_LOST && !shared[w] && (!IS_FREE || !QUEUES_UP) -> err = !IS_FREE
	:: !IS_LOST && shared[w] && writer != NONE -> err = 1
	:: else ->
#ifdef READERS_PASS_WRITERS
		err = 0
#else
		chanfd_claim_first(WRITERS);
		err = (peer != NONE)
#endif
	fi
}

/* try_take(), after verdict() */
inline try_take(w) {
	if
	:: err == LOST_IT -> reach;
		error[CALL(w)] = ENOTRECOVERABLE
	:: else -> reach;
		printf("%c takes the lock\n", NAME(CALL(w)));
		if
		:: shared[w] ->
			count_waiting_before(WRITERS, w);
			promise("a reader that comes waits for a writer that waits", !m)
		:: else
		fi;
		take(w)
	fi
}

inline hand_over(w) {
	printf("the lock is handed to %c\n", NAME(CALL(w)));
	err = starved[CALL(w)];
	take(w);
	list_del(w);
	if
	:: woken == w -> woken = NONE
	:: else
	fi;
	fire(w);
	claimed = CALL(w);
#ifndef STARVES_ON
	starving = starving && lists[WRITERS].nr && err;
#endif
	promise("starving ends with the last that waits, or one that has not for long",
		!starving || lists[WRITERS].nr && err)
}

/* Of settle() */
inline admit_readers() {
	count_waiting_before(WRITERS, NONE);
	for (n : 0 .. LENGTH - 1) {
		if
		:: WAITS(READERS, n) ->
			promise("readers come in when a writer leaves, or none waits",
				!m || due[CALL(lists[READERS].at[n])]);
			due[CALL(lists[READERS].at[n])] = 1
		:: else
		fi
	}
	list_splice(READERS, ADMITTED);
	admit = 1
}

#ifdef WRITERS_FIRST
#define READERS_FIRST	false
#else
#define READERS_FIRST	true
#endif
#ifdef READERS_FIRST_ALWAYS
#define OF_READER	true
#else
#define OF_READER	false
#endif

inline settle(readers_first) {
	if
#ifdef HANDS_OVER_TWICE
	:: lost || writer != NONE && !inside[writer]
#else
	:: lost || writer != NONE
#endif
	:: else ->
		chanfd_claim_first(WRITERS);
		s = peer;
		if
		:: (readers_first || s == NONE) && lists[READERS].nr -> reach;
			admit_readers()
		:: else
		fi;
		if
		:: s == NONE -> starving = 0
#ifdef HANDS_OVER_TWICE
		:: s != NONE && mode == HANDOFF -> hand_over(s)
#endif
		:: s != NONE && IS_FREE && IS_HANDED_OVER -> reach;
			hand_over(s)
		:: s != NONE && IS_FREE && !IS_HANDED_OVER && woken == NONE ->
			reach;
			printf("%c is poked\n", NAME(CALL(s)));
			promise("nobody looks at a call that has returned",
				!calls[CALL(s)].returned);
			woken = s;
			calls[CALL(s)].poked = 1
		:: else
		fi
	fi
}

/* lock_attempt() */
inline attempt(w) {
	verdict(w);
	if
	:: err != 1 && !UNTRIED(parked) ->
		/* Nobody fires a call of one case that is not parked yet. */
		chanfd_commit(w);
		try_take(w)
	:: else ->
		if
		:: parked -> reach;
			printf("%c waits\n", NAME(me));
			list_add_tail(QUEUE(w), w)
		:: else -> reach
		fi
	fi;
	unlock(0);
	attempted()
}

/* sleep_until_fired(), look_again() and lock_poked() */
#ifdef LOOKS_IF_FREE
#define READY(w)	IS_FREE
#else
#define READY(w)	(woken == w)
#endif

inline look_again() {
	d_step {
		phase == ASLEEP && calls[me].poked && !DONE ->
		calls[me].poked = 0;
		phase = POKED
	}
}

inline lock_poked(w) {
	if
	:: woken == w -> woken = NONE
	:: else -> reach
	fi;
	if
	:: list_of[w] == NONE -> reach
	:: list_of[w] != NONE && IS_FREE -> reach;
		verdict(w);
		chanfd_commit(w);
		try_take(w);
		/* leave() is next */
	:: else -> reach;
		printf("%c has come too late\n", NAME(me));
		starving = starving || mode == ADAPTIVE && starved[me]
	fi;
	promise("who was poked for nothing does not look again", !READY(w) ||
		calls[me].poked || calls[me].fired != NONE)
}

/* lock_left() */
inline lock_left(w) {
#ifndef LEAVES_WOKEN
	if
	:: woken == w -> reach; woken = NONE
	:: else
	fi;
#endif
#ifdef LEAVES_OTHERS
	skip;
#else
	settle(false);
#endif
	starved[me] = 0;
	left = 1
}

inline outcome(w) {
	if
	:: lost -> reach;
		error[CALL(w)] = ENOTRECOVERABLE;
		if
		:: woken == w -> woken = NONE
		:: else
		fi
	:: else -> reach;
		take(w)
	fi
}

/* For comparison: those readers are due that wait now. */
inline writer_leaves() {
	for (n : 0 .. LENGTH - 1) {
		if
		:: WAITS(READERS, n) -> due[CALL(lists[READERS].at[n])] = 1
		:: else
		fi
	}
}

/* release_read(), chanfd_lock_release() */
inline release() {
	printf("%c releases the lock\n", NAME(me));
	if
	:: inside[me] == A_READER -> reach;
		inside[me] = 0;
		readers--;
#ifdef READERS_REPAIR
		owner_dead = 0;
#endif
		settle(OF_READER)
	:: else -> reach;
		inside[me] = 0;
		writer = NONE;
		broken = 0;
		owner_dead = 0;
		writer_leaves();
		settle(READERS_FIRST)
	fi
}

/* give_up() */
inline give_up() {
	printf("%c gives the lock up\n", NAME(me));
	inside[me] = 0;
	writer = NONE;
	broken = 0;
	owner_dead = 0;
	lost = 1;
	/* chanfd_release_all() of both queues, one after the other; nobody joins them */
	list_splice(WRITERS, ADMITTED);
	list_splice(READERS, ADMITTED);
	admit = 1
}

/* downgrade_ioctl() */
inline downgrade() {
	printf("%c downgrades the lock\n", NAME(me));
	inside[me] = A_READER;
	readers++;
	writer = NONE;
	broken = 0;
	owner_dead = 0;
	writer_leaves();
	settle(READERS_FIRST)
}

/* bury_dead() */
inline bury_dead() {
	printf("%c is buried\n", NAME(me));
	if
	:: corpse == A_READER ->
		readers--;
		settle(false)
	:: else ->
		writer = NONE;
#ifndef FORGETS_THE_DEAD
		owner_dead = 1;
#endif
		writer_leaves();
		settle(READERS_FIRST)
	fi;
	corpse = 0
}

#define FREE	(claimed == NONE && !admit)
#define LETS_IN	(admit -> ADMITTED : NOBODY)

proctype process(byte me) {
	CALL_STATE;
	byte round;
	byte corpse;		/* it is dead, and held the lock as that */
	bit left;		/* w->ops->left() was called */
	bit admit;		/* wake->admit */

	do
	:: d_step {
		round < ROUNDS ->
		round++;
		calls[me].fired = NONE;
		calls[me].done = 0;
		calls[me].poked = 0;
		calls[me].returned = 0;
		phase = TRY;
		left = 0;
		due[me] = 0
	   };
		do
		:: attempt_case(0, false)
		:: attempt_case(0, true)
		:: chanfd_wake(true)
		:: release_next(0, LETS_IN)
		:: d_step { admit && !lists[ADMITTED].nr -> admit = 0 }
		:: look_again()
		:: d_step {
			phase == POKED ->
			phase = (READY(CASE(me, 0)) -> LOOK : ASLEEP)
		   }
		:: d_step {
			phase == LOOK ->
			lock_poked(CASE(me, 0));
			phase = (calls[me].fired == NONE -> POKED : ASLEEP)
		   }
		:: d_step {
			mode == ADAPTIVE && list_of[CASE(me, 0)] == WRITERS && !starved[me] -> reach;
			printf("%c has waited for long\n", NAME(me));
			starved[me] = 1
		   }
		:: withdraw()
		:: leave(0)
		:: d_step {
			phase == LEAVE && FREE && !LEFT && list_of[CASE(me, 0)] == NONE ->
			lock_left(CASE(me, 0))
		   }
		:: come_back()
		od;
		do
		:: d_step { FREE && inside[me] -> release() }
		:: d_step { FREE && inside[me] == A_WRITER && rw -> reach; downgrade() }
		:: d_step {
			FREE && inside[me] == A_WRITER && error[me] == EOWNERDEAD -> reach;
			give_up()
		   }
		:: d_step {
			FREE && inside[me] && deaths ->
			printf("%c dies\n", NAME(me));
			deaths--;
			corpse = inside[me];
			broken = broken || inside[me] == A_WRITER;
			inside[me] = 0
		   }
		:: d_step { FREE && corpse -> reach; bury_dead() }
		:: chanfd_wake(true)
		:: release_next(0, LETS_IN)
		:: d_step { admit && !lists[ADMITTED].nr -> admit = 0 }
		:: d_step { FREE && !inside[me] && !corpse -> skip }; break
		od
	:: d_step { round == ROUNDS -> skip }; break
	od
}

init {
	byte c;
	atomic {
		do
		:: mode < ADAPTIVE -> mode++
		:: break
		od;
		do
		:: deserters < DESERTERS -> deserters++
		:: break
		od;
		if
		:: deaths = 1
		:: true
		fi;
#ifdef RW
		rw = 1;
		for (c : 0 .. CALLS - 1) {
			if
			:: true
			:: (!c || shared[CASE(c - 1, 0)]) -> shared[CASE(c, 0)] = 1
			fi
		}
#endif
		for (c : 0 .. CALLS - 1) {
			if
			:: shared[CASE(c, 0)] -> printf("%c is to read\n", NAME(c))
			:: else -> printf("%c is to write\n", NAME(c))
			fi;
			run process(c)
		}
		c = 0
	};
	(_nr_pr == 1) -> d_step {
		promise("a lock that nobody holds is free", IS_FREE);
		promise("a lock that nobody waits for is not handed over for now", !starving || lost)
	}
}
