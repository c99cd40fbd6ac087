// SPDX-License-Identifier: GPL-2.0
/*
 * A cell (kmod/cell.c) and its page: two processes that store, plainly or only where the
 * version is still the one that they know; one that reads, from the page or by a call; and
 * a call that waits for another version than it knows, and may give up. With STRANGER the
 * second one stores to another cell.
 *
 * A value is two words, of which a torn one would have different ones: its version. Where
 * it is can be used again as soon as nobody has a reference. What a lockless reader can see
 * in between is a step of its own.
 */

#define CALLS		1
#define CASES		2
#define OBJECTS		1
#define STORERS		2
#ifndef STORES
#define STORES		1	/* of each storer */
#endif
#ifndef READS
#define READS		2
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

#define VALUES		3	/* at a time */
#define ELSEWHERE	99	/* the version of another cell's value */

/* struct cell_value, where the slab has it */
typedef value_t {
	byte ref;
	byte version;
	byte word[2];
	bit used
};
value_t values[VALUES];

byte current;			/* cell->value */
byte newest;			/* cell->version */

/* struct chanfd_cell_page */
typedef page_t {
	byte sequence;
	byte version;
	byte word[2]
};
page_t page;

byte known;			/* to the call that waits */
byte told;			/* to all: no read or wait that begins later says less */
byte second_word;		/* the second word that a reader has copied */

#define MAX(a, b)	((a) > (b) -> (a) : (b))

#define HAS_PLACE	(!values[0].used || !values[1].used || !values[2].used)

/* value_new(): a place that is free, in @v */
inline value_new(v) {
	v = 0;
	do
	:: values[v].used -> v++
	:: else -> break
	od;
	values[v].used = 1
}

inline value_put(v) {
	promise("nobody looks at a value that is gone", values[v].ref);
	values[v].ref--;
	if
#ifndef FREES_AT_ONCE
	:: values[v].ref -> reach
#endif
	:: else -> reach;
#ifndef FREES_AT_ONCE
		values[v].used = 0;	/* else it shows at once, too */
#endif
		values[v].ref = 0;
		values[v].version = 0;
		values[v].word[0] = 0;
		values[v].word[1] = 0
	fi
}

/* change_attempt() */
inline attempt(w) {
	if
	:: newest != known && !UNTRIED(parked) ->
		if
		:: !LOST -> reach;
			printf("%c finds version %d\n", NAME(me), newest);
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
		list_of[w] != THE_WAITERS || newest == known);
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
	byte new = VALUES;	/* the value to come */
	byte version;		/* of it */
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
		expected = newest;	/* as a load says */
		at = 1
	   }
	:: d_step { at == 1 && new == VALUES && HAS_PLACE -> value_new(new) }
	:: d_step {
		at == 1 && new < VALUES && CAN_LOCK(0) ->
		lock(0);
#ifdef COMPARES_UNLOCKED
		if
		:: false
#else
		if
		:: expected != NONE && newest != expected -> reach;
			printf("storer %d: version %d is stale\n", me, expected);
			unlock(0);
			values[new].used = 0;
			new = VALUES;
			at = 0; expected = 0
#endif
		:: else -> reach;
			old = current;
			promise("a value replaces the one that its storer knew",
				expected == NONE || newest == expected);
			newest++;
			version = newest;
			values[new].version = version;
			values[new].word[0] = version;
			values[new].word[1] = version;
			values[new].ref = 1;
#ifdef PUBLISHES_FIRST
			current = new;
#endif
			at = 2
		fi
	   }
#ifdef COMPARES_UNLOCKED
	:: d_step { at == 1 && expected != NONE && newest != expected -> at = 0 }
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
		current = new;
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
		current = new;
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
	:: d_step {
		at == 9 && claimed == NONE && FIRST(RELEASED(me)) == NONE -> reach;
		value_put(old);
		told = MAX(told, version);
		new = VALUES;
		at = 0; version = 0; old = 0; expected = 0
	   }
	:: d_step { !at && stores == STORES && claimed == NONE -> reach };
		break
	od
}

#ifdef STRANGER
/* Another cell's storer: that one's value is soon replaced, too. */
proctype stranger() {
	byte v;

	do
	:: d_step {
		HAS_PLACE -> reach;
		value_new(v);
		values[v].version = ELSEWHERE;
		values[v].word[0] = ELSEWHERE;
		values[v].word[1] = ELSEWHERE;
		values[v].ref = 1
	   };
		d_step { value_put(v) }
	:: break
	od
}
#endif

/* A value was read: its version, and both words. */
inline have_read(version_, word0, word1) {
	promise("a value is read as a whole", word0 == version_ && word1 == version_);
	promise("versions do not go back", version_ >= floor);
	told = MAX(told, version_);
	at = 0;
	sequence = 0; version = 0; first_word = 0; floor = 0
}

proctype reader() {
	byte reads, at;
	byte floor;		/* that was told when this read began */
	byte sequence, version, first_word;
	byte v;			/* the value that is looked at */

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
	/* current_value(): CELL_REUSE */
	:: d_step { at == 6 -> v = current; at = 7 }
	:: d_step {
		at == 7 ->
		if
		:: !values[v].ref -> reach; at = 6
		:: else -> values[v].ref++; at = 8
		fi
	   }
	:: d_step {
		at == 8 ->
		if
#ifndef LOOKS_ONCE
		:: v != current -> reach; value_put(v); at = 6
#endif
		:: else -> at = 9
		fi
	   }
	:: d_step {
		at == 9 ->
		promise("nobody looks at a value that is gone", values[v].ref);
		first_word = values[v].word[0];
		at = 10
	   }
	:: d_step {
		at == 10 -> reach;
		promise("nobody looks at a value that is gone", values[v].ref);
		promise("a load finds a value of its own cell", values[v].version != ELSEWHERE);
		version = values[v].version;
		second_word = values[v].word[1];
		value_put(v);
		v = 0;
		have_read(version, first_word, second_word);
		second_word = 0
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
		values[0].used = 1;
		values[0].ref = 1;
		run caller(0);
		run storer(0);
#ifdef STRANGER
		run stranger();
#else
		run storer(1);
#endif
		run reader()
	};
	all_returned();
}
