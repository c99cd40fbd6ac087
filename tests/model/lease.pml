// SPDX-License-Identifier: GPL-2.0
/*
 * Leases (kmod/lease.c, kmod/taken.c): calls that each receive a message with a lease from
 * one channel, and then commit it, or die with it, or before they have got it; or give up
 * waiting. The channel has two messages, gets a third, and is closed.
 */

#define CALLS		3
#define CASES		2
#define OBJECTS		1
#define MESSAGES	3

/* Lists */
#define RECEIVERS	0
#define ENDING(p)	(1 + (p))	/* a process's struct end */
#define SENDER		CALLS		/* the last process */
#define LISTS		(2 + CALLS)
#define LENGTH		CALLS

/* A call has one case. */
#define USED(w)		((w) % 2 == 0)
#define QUEUE(w)	RECEIVERS
#define OBJECT(w)	0
#define PARTNER(w)	NONE		/* senders do not wait here */
#define LEFT		(FIRST(ENDING(me)) == NONE)

#include "engine.pml"

inline look() { skip }
inline gave_up() { skip }
inline meet(w, peer_) { skip }

/* struct channel */
byte sent = 2;
byte received;
byte leased;
bit closed;
byte back;			/* a bit for each message that came back */
byte boxes = 3;			/* likewise, for those in the FIFO behind them */

/* What a call has: a message, or the end. */
#define NOTHING		255
#define END		254
byte got[CALLS] = NOTHING;

bit committed[MESSAGES];	/* for comparison */

hidden byte n;
hidden byte m;

#define BIT(n)		(1 << (n))
#define HAS_MESSAGE	(back || boxes)
#ifdef ENDS_WHILE_LEASED
#define AT_END		closed
#else
#define AT_END		(closed && !leased)
#endif

/* The first message of those, in @m */
inline lowest(set) {
	m = 0;
	do
	:: set & BIT(m) -> break
	:: else -> m++
	od
}

/* take(): the first message goes to @w, and counts as leased. */
inline take(w) {
#ifdef RETURNS_LAST
	if
	:: boxes -> lowest(boxes)
	:: else -> lowest(back)
	fi;
#else
	if
	:: back -> lowest(back)
	:: else -> lowest(boxes)
	fi;
#endif
	printf("%c takes message %d out\n", NAME(CALL(w)), m);
	for (n : 0 .. MESSAGES - 1) {
		promise("the first message is taken", n >= m || !((back | boxes) & BIT(n)))
	}
	for (n : 0 .. CALLS - 1) {
		promise("a message is in one place", got[n] != m)
	}
	promise("what was committed does not come back", !committed[m]);
	back = back & ~BIT(m);
	boxes = boxes & ~BIT(m);
	leased++;
	got[CALL(w)] = m
}

inline give_end(w) {
	for (n : 0 .. sent - 1) {
		promise("the end comes when the last message has been committed", committed[n])
	}
	got[CALL(w)] = END
}

inline outcome(w) { give_end(w) }

/* chanfd_claim_first(), in @peer */
inline chanfd_claim_first() {
	do
	:: FIRST(RECEIVERS) == NONE -> break
	:: FIRST(RECEIVERS) != NONE && calls[CALL(FIRST(RECEIVERS))].fired == NONE -> break
	:: else ->
		peer = lists[RECEIVERS].at[0];
		list_del(peer)
	od;
	peer = FIRST(RECEIVERS)
}

/* The next receiver that waits gets what is there. */
inline serve_one() {
	chanfd_claim_first();
	if
	:: peer != NONE && HAS_MESSAGE -> reach;
		take(peer);
		fire(peer);
		list_del(peer);
		claimed = CALL(peer)
	:: else
	fi
}

/* chanfd_end_receivers() */
inline chanfd_end_receivers(p) {
	if
	:: !HAS_MESSAGE && AT_END -> list_splice(RECEIVERS, ENDING(p))
	:: else
	fi
}

inline unlock_channel() {
	for (n : 0 .. CALLS - 1) {
		promise("nobody waits where there is a message, or the end",
			!(HAS_MESSAGE || closed && !leased) ||
			list_of[CASE(n, 0)] != RECEIVERS ||
			calls[n].fired != NONE)
	}
	promise("sent = len + received + leased", sent == received + leased +
		(back & 1) + (back >> 1 & 1) + (back >> 2) +
		(boxes & 1) + (boxes >> 1 & 1) + (boxes >> 2));
	unlock(0)
}

/* recv_attempt() */
inline attempt(w) {
	if
	:: HAS_MESSAGE && !UNTRIED(parked) -> reach;
		chanfd_commit(w);
		take(w)
	:: !HAS_MESSAGE && AT_END && !UNTRIED(parked) -> reach;
		chanfd_commit(w);
		give_end(w)
	:: else ->
		if
		:: parked -> reach;
			printf("%c waits\n", NAME(me));
			list_add_tail(RECEIVERS, w)
		:: else -> reach
		fi
	fi;
	unlock_channel();
	attempted()
}

/* chanfd_return(): one message; more come one by one, likewise in one turn of the lock */
inline chanfd_return() {
	printf("message %d comes back\n", got[me]);
#ifndef COUNTS_TOO_SOON
	leased--;
#endif
	back = back | BIT(got[me]);
	got[me] = NOTHING;
#ifndef RETURN_WAKES_NOBODY
	serve_one();
#endif
	chanfd_end_receivers(me);
	unlock_channel()
}

/* chanfd_received() */
inline chanfd_received() {
	printf("message %d is committed\n", got[me]);
	committed[got[me]] = 1;
	got[me] = NOTHING;
	leased--;
	received++;
#ifndef COMMIT_TELLS_NOBODY
	chanfd_end_receivers(me);
#endif
	unlock_channel()
}

#define FREE	(claimed == NONE && FIRST(ENDING(me)) == NONE && CAN_LOCK(0))

proctype receiver(byte me) {
	CALL_STATE;

	do
	:: attempt_case(0, false)
	:: attempt_case(0, true)
	:: chanfd_wake(true)
	:: withdraw()
	:: leave(0)
	:: come_back()
	od;
	/* chanfd_taken_finish() that fails, or lease_abandoned(): it may be any time later */
	if
	:: d_step { got[me] < MESSAGES -> reach; chanfd_received() }
	:: d_step { got[me] < MESSAGES -> reach; printf("%c dies\n", NAME(me)) };
#ifdef COUNTS_TOO_SOON
		/* lease_empty() and chanfd_return() in two */
		d_step { leased--; received++ };
		d_step { received--; chanfd_return() }
#else
#ifndef DIES_WITH_IT
		d_step { chanfd_return() }
#endif
#endif
	:: d_step { got[me] >= MESSAGES -> skip }
	fi;
	do
	:: chanfd_wake(true)
	:: release_next(0, ENDING(me))
	:: d_step { FREE -> skip }; break
	od
}

proctype sender(byte me) {
	byte claimed = NONE;
	bit done;

	do
	:: d_step {
		FREE && sent < MESSAGES && !closed -> reach;
		printf("message %d is sent\n", sent);
		boxes = boxes | BIT(sent);
		sent++;
		serve_one();
		unlock_channel()
	   }
	:: d_step {
		FREE && !closed -> reach;
		printf("the channel is closed\n");
		closed = 1;
		chanfd_end_receivers(me);
		unlock_channel()
	   }
	:: chanfd_wake(true)
	:: release_next(0, ENDING(me))
	:: d_step { FREE && closed -> skip }; break
	od
}

init {
	byte c;
	atomic {
		for (c : 0 .. CALLS - 1) {
			run receiver(c)
		}
		run sender(SENDER);
		c = 0
	};
	(_nr_pr == 1) -> d_step {
		for (n : 0 .. sent - 1) {
			promise("a message was committed, or is in the channel",
				committed[n] != (((back | boxes) & BIT(n)) != 0))
		}
	}
}
