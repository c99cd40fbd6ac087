// SPDX-License-Identifier: GPL-2.0
/*
 * Channels: what attempts do in kmod/chan.c, for the models that include this. A call
 * sends or receives one message.
 *
 * A message is named by the waiter that sends it, so nothing is lost, made up or changed
 * without notice; its number is the channel's, as the module gives it out. From the model
 * that includes this: CHANNELS and ROOM, the most messages in one.
 */

byte op[CALLS * CASES] = 255;	/* of a case: the queue where it waits; or NONE */

/* What is no such queue is that of a call's context, behind them. */
#define USED(w)		(op[w] < 2 * CHANNELS)
#define QUEUE(w)	op[w]
#define OBJECT(w)	(op[w] / 2)

#define SENDERS(ch)	(2 * (ch))
#define RECEIVERS(ch)	(2 * (ch) + 1)
#define CHANNEL(w)	(op[w] / 2)
#define SENDS(w)	(op[w] % 2 == 0)
#define room(ch)	(channels[ch].nr < channels[ch].capacity)

#ifdef SENDS_AFTER_CLOSE
#define SEES_CLOSE(ch)	(channels[ch].closed && parked)
#else
#define SEES_CLOSE(ch)	channels[ch].closed
#endif

#ifdef STORES_PAST_RECEIVERS
#define OVERTAKES(ch)	room(ch)
#else
#define OVERTAKES(ch)	false
#endif

/* What is claimed next in an attempt of @w. */
#define PARTNER(w)								\
	(SENDS(w) ->								\
		(SEES_CLOSE(CHANNEL(w)) || OVERTAKES(CHANNEL(w)) -> NONE :	\
			OTHER(RECEIVERS(CHANNEL(w)), me)) :			\
		(channels[CHANNEL(w)].nr -> NONE :				\
			OTHER(SENDERS(CHANNEL(w)), me)))

#include "engine.pml"

/* A message that was there before: one in each channel at the most. */
#define OLD(ch)		(WAITERS + (ch))
#define MESSAGES	(WAITERS + CHANNELS)

/* Outcomes: got[w] */
#define NOTHING		255
#define END		254

/* struct channel; the FIFO is ring and boxes in one. */
typedef channel_t {
	byte capacity;
	bit closed;
	byte nr;
	byte message[ROOM];
	byte sent;
	byte received
};
channel_t channels[CHANNELS];

byte number[MESSAGES] = NONE;	/* of what a waiter sent or received */
byte got[WAITERS] = NOTHING;	/* a receiver's message, or END; a sender's END */

hidden byte first;		/* for one step */
hidden byte at;
hidden byte n;
hidden byte m;
hidden byte ch;
hidden byte senders_wait;
hidden byte receivers_wait;
hidden byte pair_waits;

inline say_case(w) {
	if
	:: SENDS(w) -> printf("send on channel %d", CHANNEL(w))
	:: else -> printf("receive on channel %d", CHANNEL(w))
	fi
}

/* What kmod/chan.c promises whenever the lock is free. */
inline unlock_channel(ch) {
	senders_wait = 0;
	receivers_wait = 0;
	pair_waits = 0;
	for (n : 0 .. LENGTH - 1) {
		if
		:: n < lists[SENDERS(ch)].nr &&
		   calls[CALL(lists[SENDERS(ch)].at[n])].fired == NONE ->
			senders_wait = 1;
			for (m : 0 .. LENGTH - 1) {
				if
				:: m < lists[RECEIVERS(ch)].nr &&
				   calls[CALL(lists[RECEIVERS(ch)].at[m])].fired == NONE &&
				   CALL(lists[RECEIVERS(ch)].at[m]) !=
				   CALL(lists[SENDERS(ch)].at[n]) ->
					pair_waits = 1
				:: else
				fi
			}
		:: else
		fi;
		if
		:: n < lists[RECEIVERS(ch)].nr &&
		   calls[CALL(lists[RECEIVERS(ch)].at[n])].fired == NONE ->
			receivers_wait = 1
		:: else
		fi
	}
	promise("a sender and a receiver do not both wait", !pair_waits);
	promise("a sender waits only if there is no room", !(senders_wait && room(ch)));
	promise("a receiver waits only if there is no message",
		!(receivers_wait && channels[ch].nr));
	promise("nobody waits at a closed channel",
		!channels[ch].closed || !senders_wait && !receivers_wait);
	promise("sent = len + received",
		channels[ch].sent == channels[ch].nr + channels[ch].received);
	unlock(ch);
	look()
}

/* accepted() and store(): the message of @s goes to the end of the FIFO. */
inline store(ch, s) {
	printf("%c sends to the buffer of channel %d\n", NAME(CALL(s)), ch);
	promise("a closed channel accepts nothing", !channels[ch].closed);
	number[s] = channels[ch].sent;
	channels[ch].sent++;
	channels[ch].message[channels[ch].nr] = s;
	channels[ch].nr++
}

/* The message @msg goes to the receiver @r: given() or consumed(). */
inline give(ch, r, msg) {
	promise("messages are received in order", number[msg] == channels[ch].received);
#ifndef HANDS_OVER_NOTHING
	got[r] = msg;
#endif
#ifdef MISNUMBERS
	number[r] = channels[ch].sent;
#else
	number[r] = number[msg];
#endif
	channels[ch].received++
}

/* The end for @w, as in end_outcome(). */
inline give_end(ch, w) {
	promise("the end comes after the last message", SENDS(w) || !channels[ch].nr);
	got[w] = END
}

/* recv_first() or take(): the first message goes to @r. */
inline take(ch, r) {
#ifdef TAKES_THE_LAST
	first = channels[ch].message[channels[ch].nr - 1];
#else
	first = channels[ch].message[0];
#endif
	printf("%c receives from the buffer of channel %d\n", NAME(CALL(r)), ch);
	give(ch, r, first);
#ifndef TAKES_A_COPY
	channels[ch].nr--;
#endif
	for (at : 0 .. ROOM - 2) {
		channels[ch].message[at] = channels[ch].message[at + 1]
	}
	channels[ch].message[ROOM - 1] = 0
}

/* hand_over() or recv_from() */
inline hand_over(ch, s, r) {
	promise("a closed channel accepts nothing", !channels[ch].closed);
	number[s] = channels[ch].sent;
	channels[ch].sent++;
	give(ch, r, s)
}

/* What follows from that claim. */
inline meet(w, peer_) {
	if
	:: SENDS(w) -> reach;
		printf("%c sends on channel %d to %c, which waits\n", NAME(me), CHANNEL(w),
		       NAME(CALL(peer_)));
		hand_over(CHANNEL(w), w, peer_)
	:: else -> reach;
		printf("%c receives on channel %d from %c, which waits\n", NAME(me),
		       CHANNEL(w), NAME(CALL(peer_)));
		hand_over(CHANNEL(w), peer_, w)
	fi;
	unlock_channel(CHANNEL(w))
}

#ifdef CLOSE_DROPS
#define ENDS_AT_ONCE(ch)	channels[ch].closed
#else
#define ENDS_AT_ONCE(ch)	false
#endif

#ifdef STORES_UNCOMMITTED
#define MAY_STORE	true
#else
#define MAY_STORE	(!LOST)
#endif

inline park_or_not(w) {
	if
	:: parked -> reach;
		printf("%c queues up to ", NAME(me));
		say_case(w);
		printf("\n");
		list_add_tail(QUEUE(w), w)
	:: else -> reach
	fi;
	unlock_channel(CHANNEL(w));
	attempted()
}

/* send_attempt(), but for claims */
inline send_attempt(ch, w) {
	if
	:: SEES_CLOSE(ch) ->
		if
		:: !LOST -> reach;
			printf("%c finds channel %d closed\n", NAME(me), ch);
			chanfd_commit(w);
			give_end(ch, w)
		:: else -> reach
		fi;
		unlock_channel(ch);
		attempted()
	:: !SEES_CLOSE(ch) && room(ch) && MAY_STORE && !UNTRIED(parked) -> reach;
		chanfd_commit(w);
		store(ch, w);
		unlock_channel(ch);
		attempted()
	:: else ->
		park_or_not(w)
	fi
}

/* recv_attempt(), that is recv_now(), or if parked recv_parked(); but for claims */
inline recv_attempt(ch, w) {
	if
	:: channels[ch].nr && !UNTRIED(parked) && !ENDS_AT_ONCE(ch) ->
		if
		:: !LOST -> reach;
			chanfd_commit(w);
			take(ch, w);
#ifndef NO_REFILL
			phase = (FIRST(SENDERS(ch)) == NONE -> SCAN : REFILL)
#endif
		:: else -> reach
		fi;
		if
		:: phase == SCAN ->
			unlock_channel(ch);
			attempted()
		:: else
		fi
	:: channels[ch].closed && (!channels[ch].nr || ENDS_AT_ONCE(ch)) ->
		if
		:: !LOST -> reach;
			printf("%c finds the end of channel %d\n", NAME(me), ch);
			chanfd_commit(w);
			give_end(ch, w)
		:: else -> reach
		fi;
		unlock_channel(ch);
		attempted()
	:: else ->
		park_or_not(w)
	fi
}

inline attempt(w) {
	if
	:: SENDS(w) -> send_attempt(CHANNEL(w), w)
	:: else -> recv_attempt(CHANNEL(w), w)
	fi
}

/* refill(): there is room, those who wait longest move in. */
inline refill() {
	d_step {
		phase == REFILL &&
		!(FIRST(SENDERS(CHANNEL(CASE(me, i)))) != NONE &&
		  calls[CALL(FIRST(SENDERS(CHANNEL(CASE(me, i)))))].locked) ->
		ch = CHANNEL(CASE(me, i));
		peer = FIRST(SENDERS(ch));
		if
		:: peer != NONE && room(ch) && calls[CALL(peer)].fired == NONE -> reach;
			fire(peer);
			store(ch, peer);
			list_del(peer);
			claimed = CALL(peer);
			look()
		:: peer != NONE && room(ch) && calls[CALL(peer)].fired != NONE -> reach;
#ifdef REFILLS_WITHDRAWN
			store(ch, peer);
#endif
			list_del(peer)
		:: else
		fi;
		if
		:: FIRST(SENDERS(ch)) == NONE || !room(ch) ->
			unlock_channel(ch);
			attempted()
		:: else -> reach
		fi
	}
}

inline say_scenario() {
	for (n : 0 .. CHANNELS - 1) {
		printf("channel %d has %d of %d messages\n", n, channels[n].nr,
		       channels[n].capacity)
	}
	for (n : 0 .. CALLS - 1) {
		printf("%c is to ", NAME(n));
		say_case(CASE(n, 0));
		if
		:: USED(CASE(n, 1)) -> printf(", or "); say_case(CASE(n, 1))
		:: else
		fi;
		printf("\n")
	}
}

/* A message that nobody of the model sends. */
inline preload(ch) {
	channels[ch].message[0] = OLD(ch);
	channels[ch].nr = 1;
	channels[ch].sent = 1;
	number[OLD(ch)] = 0
}

/*
 * When all calls have returned: what was sent is in one place, and sender and receiver
 * agree. A call that gave up has no part in it.
 */
inline check_messages() {
	for (m : 0 .. MESSAGES - 1) {
		n = 0;				/* places where it is */
		for (at : 0 .. WAITERS - 1) {
			if
			:: got[at] == m ->
				n++;
				promise("both know a message by its number",
					number[at] == number[m])
			:: else
			fi
		}
		for (ch : 0 .. CHANNELS - 1) {
			for (at : 0 .. ROOM - 1) {
				if
				:: at < channels[ch].nr && channels[ch].message[at] == m -> n++
				:: else
				fi
			}
		}
		if
		:: m < WAITERS && USED(m) && SENDS(m) && calls[CALL(m)].fired == m &&
		   got[m] != END || m >= WAITERS && number[m] != NONE ->
			promise("what was sent is in one place", n == 1)
		:: else ->
			promise("what was not sent is nowhere", n == 0)
		fi
	}
}
