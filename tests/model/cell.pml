// SPDX-License-Identifier: GPL-2.0
/*
 * A cell (kmod/cell.c) and its page: two processes that store, plainly or only where the
 * version is still the one that they know; two that read, from the page or by a call, in
 * any mixture; and a call that waits for another version than it knows, and may give up.
 *
 * A value is two words, of which a torn one would have different ones, and is known by its
 * number. What a lockless reader can see in between is a step of its own.
 */

#define CALLS		1
#define CASES		2
#define OBJECTS		1
#define STORERS		2
#ifndef STORES
#define STORES		1	/* of each storer */
#endif
#ifndef READS
#define READS		2	/* of each reader */
#endif

/* Lists */
#define THE_WAITERS	0
#define RELEASED(s)	(1 + (s))	/* set aside by a storer */
#define LISTS		(1 + STORERS)
#define LENGTH		2

#define USED(w)		((w) % 2 == 0)
#define QUEUE(w)	THE_WAITERS
#define OBJECT(w)	0
#define PARTNER(w)	NONE		/* nobody is met here */

#include "engine.pml"

inline look() { skip }
inline gave_up() { skip }
inline meet(w, peer_) { skip }

#define VALUES		(STORERS * STORES + 1)

/* struct value; its number is its version. */
typedef value_t {
	byte word[2];
	bit freed
};
value_t values[VALUES];

byte current;			/* the value that cell->value points to */

/* struct chanfd_cell_page */
typedef page_t {
	byte sequence;
	byte version;
	byte word[2]
};
page_t page;

byte known;			/* to the call that waits */
byte told;			/* to all: no read or wait that begins later says less */
byte in_rcu;			/* the value that a reader looks at, or 0 */
byte second_word;		/* the second word that a reader has copied */

#define MAX(a, b)	((a) > (b) -> (a) : (b))

/* change_attempt() */
inline attempt(w) {
	if
	:: current != known && !UNTRIED(parked) ->
		if
		:: !LOST -> reach;
			printf("%c finds version %d\n", NAME(me), current);
			chanfd_commit(w)
		:: else
		fi
	:: else ->
		if
		:: parked -> reach;
			printf("%c waits for another version than %d\n", NAME(me), known);
			list_add_tail(QUEUE(w), w)
		:: else -> reach
		fi
	fi;
	promise("nobody waits while there is another version than it knows",
		list_of[w] != THE_WAITERS || current == known);
	unlock(0);
	attempted()
}

proctype caller(byte me) {
	CALL_STATE;

	do
	CALL_STEPS
	od
}

inline outcome(w) {
	promise("who is told of a change knew another version", version != known)
}

/*
 * cell_store(), @if_version or not: what can be seen without the lock comes step by step.
 * Inside the odd sequence nobody believes the page; so the value that a call loads may
 * change there, and neither way to read is ahead of the other.
 */

proctype storer(byte me) {
	byte stores, claimed = NONE;
	byte version;		/* of the value to come */
	byte old;		/* the value before */
	byte expected;		/* the version it has to be, or NONE for any */
	byte at;

	do
	:: d_step {
		!at && stores < STORES ->
		stores++;
		expected = NONE;
		at = 1
	   }
	:: d_step {
		!at && stores < STORES ->
		stores++;
		expected = current;	/* as a load says */
		at = 1
	   }
	:: d_step {
		at == 1 && CAN_LOCK(0) ->
		lock(0);
#ifdef COMPARES_UNLOCKED
		if
		:: false
#else
		if
		:: expected != NONE && current != expected -> reach;
			printf("storer %d: version %d is stale\n", me, expected);
			unlock(0);
			at = 0; expected = 0
#endif
		:: else -> reach;
			old = current;
			version = current + 1;
			promise("a value replaces the one that its storer knew",
				expected == NONE || current == expected);
			values[version].word[0] = version;
			values[version].word[1] = version;
#ifdef PUBLISHES_FIRST
			current = version;
#endif
			at = 2
		fi
	   }
#ifdef COMPARES_UNLOCKED
	:: d_step { at == 1 && expected != NONE && current != expected -> at = 0 }
#endif
	:: d_step {
		at == 2 ->
#ifndef EVEN_SEQUENCE
		page.sequence++;
#endif
		at = 3
	   }
	:: d_step {
		at == 3 ->
#ifndef PUBLISHES_FIRST
#ifndef PUBLISHES_LAST
		current = version;
#endif
#endif
		at = 4
	   }
	:: d_step { at == 4 -> page.version = version; at = 5 }
	:: d_step { at == 5 -> page.word[0] = version; at = 6 }
	:: d_step { at == 6 -> page.word[1] = version; at = 7 }
	:: d_step {
		at == 7 -> reach;
#ifdef EVEN_SEQUENCE
		page.sequence = page.sequence + 2;
#else
		page.sequence++;
#endif
		at = 8
	   }
	:: d_step {
		at == 8 ->
#ifdef PUBLISHES_LAST
		current = version;
#endif
#ifndef STORE_FORGETS_WAITERS
		list_splice(THE_WAITERS, RELEASED(me));
#endif
		promise("nobody waits while there is another version than it knows",
			list_of[CASE(0, 0)] != THE_WAITERS);
		unlock(0);
		at = 9
	   }
	/* wake_waiters() */
	:: release_next(0, RELEASED(me))
	:: chanfd_wake(true)
	/* kfree_rcu() of the old value, after all who may look at it */
	:: d_step {
		at == 9 && claimed == NONE && FIRST(RELEASED(me)) == NONE &&
#ifndef FREES_AT_ONCE
		(!old || in_rcu != old) &&
#endif
		true -> reach;
		values[old].freed = (old > 0);
		told = MAX(told, version);
		at = 0; version = 0; old = 0; expected = 0
	   }
	:: d_step { !at && stores == STORES && claimed == NONE -> reach };
		break
	od
}

/* A value was read: its version, and both words. */
inline have_read(version_, word0, word1) {
	promise("a value is read as a whole", word0 == version_ && word1 == version_);
	promise("versions do not go back", version_ >= floor);
	told = MAX(told, version_);
	at = 0;
	sequence = 0; version = 0; first_word = 0; floor = 0
}

active proctype reader() {
	byte reads, at;
	byte floor;		/* that was told when this read began */
	byte sequence, version, first_word;

	do
	/* chanfd_cell_read() of the library */
	:: d_step {
		!at && reads < READS ->
		reads++;
		floor = told;
		at = 1
	   }
	:: d_step {
		at == 1 && page.sequence % 2 == 0 ->
		sequence = page.sequence;
		at = 2
	   }
	:: d_step { at == 2 -> version = page.version; at = 3 }
	:: d_step { at == 3 -> first_word = page.word[0]; at = 4 }
	:: d_step {
		at == 4 ->
		/* The second word, and the sequence, are looked at in two steps. */
		second_word = page.word[1];
		at = 5
	   }
	:: d_step {
		at == 5 ->
		if
#ifndef BELIEVES_ANYTHING
		:: page.sequence != sequence -> reach;
			at = 1;
			sequence = 0; version = 0; first_word = 0
#endif
		:: else -> reach;
			have_read(version, first_word, second_word)
		fi;
		second_word = 0
	   }
	/* cell_load() */
	:: d_step {
		!at && reads < READS ->
		reads++;
		floor = told;
		at = 6
	   }
	:: d_step { at == 6 -> in_rcu = current; at = 7 }
	:: d_step {
		at == 7 ->
		promise("nobody looks at a value that is gone", !values[in_rcu].freed);
		first_word = values[in_rcu].word[0];
		at = 8
	   }
	:: d_step {
		at == 8 -> reach;
		promise("nobody looks at a value that is gone", !values[in_rcu].freed);
		version = in_rcu;
		have_read(version, first_word, values[in_rcu].word[1]);
		in_rcu = 0
	   }
	:: d_step { !at && reads == READS -> reach };
		break
	od
}

init {
	byte c;
	atomic {
		if
		:: known = 0
		:: known = 1
		fi;
		run caller(0);
		run storer(0);
		run storer(1)
	};
	all_returned();
}
