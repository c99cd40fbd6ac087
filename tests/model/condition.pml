// SPDX-License-Identifier: GPL-2.0
/*
 * A condition (kmod/condition.c): processes that wait for it, each holding a lock until it
 * has a ticket, and may be killed at any time, or give up because of a deadline; and two
 * that signal, one or all. The lock is that of lock.pml, in brief.
 */

#ifndef CALLS
#define CALLS		3
#endif
#define CASES		2
#define OBJECTS		1
#ifndef SIGNALLERS
#define SIGNALLERS	1
#endif
#define SIGNALS		2	/* in all */
#define KILLS		1

/* Lists */
#define WAITERS_LIST	0
#define LISTS		1
#define LENGTH		CALLS

/* A call has one case, and is parked without an attempt. */
#define USED(w)		((w) % 2 == 0)
#define QUEUE(w)	WAITERS_LIST
#define OBJECT(w)	0
#define PARTNER(w)	NONE		/* nobody is met here */

#define MAY_GIVE_UP	(parked && !releases)
#define LEFT		(!releases)

#include "engine.pml"

inline look() { skip }
inline gave_up() { waits[me] = 0 }
inline meet(w, peer_) { skip }

byte mutex;			/* who has the lock, from 1 */

/* struct condition, and what waiters have of it */
byte tickets;
byte ticket[CALLS];
bit alone[CALLS];		/* the signal was for this one */

/* For comparison */
bit waits[CALLS];		/* it has released the lock, and no signal */
byte given;			/* signals for one that woke somebody */
byte seen;			/* those that somebody returned with */
byte dropped;			/* those of the dead that nobody waited for any more */
byte signals = SIGNALS;
byte kills = KILLS;

hidden byte n;

#define LIVE(n)		(lists[WAITERS_LIST].nr > n &&				\
			 calls[CALL(lists[WAITERS_LIST].at[n])].fired == NONE)

/* chanfd_claim_first(), in @peer */
inline chanfd_claim_first() {
	do
	:: LIVE(0) || !lists[WAITERS_LIST].nr -> break
	:: else ->
		peer = lists[WAITERS_LIST].at[0];
		list_del(peer)
	od;
#ifdef WAKES_THE_LAST
	peer = (lists[WAITERS_LIST].nr ->
		lists[WAITERS_LIST].at[lists[WAITERS_LIST].nr - 1] : NONE)
#else
	peer = FIRST(WAITERS_LIST)
#endif
}

/* What wake_waiters() does in a turn of the lock: one, where the module wakes some dozens. */
inline wake_one() {
	chanfd_claim_first();
	if
	:: peer != NONE && ticket[CALL(peer)] > last -> reach; peer = NONE
	:: else
	fi;
	if
	:: peer != NONE -> reach;
		printf("%c is woken\n", NAME(CALL(peer)));
		promise("nobody looks at a call that has returned", !calls[CALL(peer)].returned);
		promise("who comes after a signal does not get it",
			ticket[CALL(peer)] <= begun);
		for (n : 0 .. CALLS - 1) {
			promise("who waits longest is woken first",
				!waits[n] || n == CALL(peer) || ticket[n] > ticket[CALL(peer)])
		}
		fire(peer);
		list_del(peer);
		waits[CALL(peer)] = 0;
		alone[CALL(peer)] = !all;
		claimed = CALL(peer)
	:: else
	fi;
	unlock(0)
}

inline done_waking() {
	for (n : 0 .. CALLS - 1) {
		promise("who waits is woken", !waits[n] || ticket[n] > begun)
	}
}

#ifdef WAKES_NEWCOMERS
#define LAST		255
#else
#define LAST		tickets
#endif

inline begin_to_wake(for_all) {
	all = for_all;
	last = LAST;
	begun = tickets
}

/* wait_attempt(): the first half */
inline attempt(w) {
	printf("%c waits\n", NAME(me));
	tickets++;
	ticket[me] = tickets;
	list_add_tail(WAITERS_LIST, w);
	waits[me] = !mutex_first;
	releases = !mutex_first;
	unlock(0);
	phase = ASLEEP
}

proctype process(byte me) {
	CALL_STATE;
	byte last, begun;
	bit all, releases, killed, mutex_first;

	d_step { !mutex -> mutex = me + 1; phase = TRIED };
#ifdef RELEASES_FIRST
	d_step { mutex_first = 1; mutex = 0; waits[me] = 1; ticket[me] = tickets + 1 };
#endif
	do
	:: attempt_case(0, true)
	/* the second half: chanfd_lock_release() */
	:: d_step { releases -> mutex = 0; releases = 0 }
	:: withdraw()
	:: d_step {
		kills && !killed && parked -> reach;
		printf("%c is killed\n", NAME(me));
		kills--;
		killed = 1
	   }
	:: leave(0)
	:: come_back()
	od;
	/* chanfd_lock_again() */
	if
	:: d_step { !mutex -> reach; mutex = me + 1 }
	:: d_step { killed -> reach }
	fi;
	d_step {
#ifndef KEEPS_THE_SIGNAL
		if
		:: killed && alone[me] -> reach;
			begin_to_wake(false);
			wake_one();
			dropped = dropped + (claimed == NONE)
		:: else ->
			seen = seen + alone[me]
		fi
#else
		seen = seen + (alone[me] && !killed)
#endif
	};
	chanfd_wake(true) unless { claimed == NONE };
	d_step {
		if
		:: mutex == me + 1 -> mutex = 0		/* or it dies with it */
		:: else
		fi
	}
}

proctype signaller() {
	byte last, begun, claimed = NONE;
	bit all, busy;

	do
	:: d_step {
		claimed == NONE && !busy && signals && CAN_LOCK(0) -> reach;
		printf("one is signalled\n");
		signals--;
		begin_to_wake(false);
		wake_one();
		given = given + (claimed != NONE);
		if
		:: claimed == NONE -> reach; done_waking()
		:: else
		fi
	   }
	:: d_step {
		claimed == NONE && !busy && signals && CAN_LOCK(0) -> reach;
		printf("all are signalled\n");
		signals--;
		begin_to_wake(true);
		wake_one();
		busy = (claimed != NONE)
	   }
	:: d_step {
		claimed == NONE && busy && CAN_LOCK(0) ->
#ifndef WAKES_SOME
		wake_one();
#endif
		busy = (claimed != NONE);
		if
		:: !busy -> reach; done_waking()
		:: else
		fi
	   }
	:: chanfd_wake(true)
	:: d_step { claimed == NONE && !busy && !signals -> reach }; break
	od
}

init {
	byte c;
	atomic {
		for (c : 0 .. CALLS - 1) {
			run process(c)
		}
		for (c : 1 .. SIGNALLERS) {
			run signaller()
		}
		c = 0
	};
	(_nr_pr == 1) -> d_step {
		promise("a signal is seen, or there is nobody left to see it",
			given == seen + dropped)
	}
}
