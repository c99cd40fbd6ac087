// SPDX-License-Identifier: GPL-2.0
/*
 * Contexts that end (kmod/context.c): a tree of two, 0 and its child 1. Two processes each
 * derive one more, 2 and 3, of any that there is, and may close it again. Meanwhile one
 * process cancels any of them, another any of them, or the deadline of 1 passes; and one
 * call waits for 1 to be done, or drained, or for either, and may give up.
 */

#define CALLS		1
#define CASES		2
#define CONTEXTS	4
#define OBJECTS		CONTEXTS

/* Lists */
#define THE_WAITERS	0		/* of context 1 */
#define THE_DRAINERS	1
#define RELEASED(p)	(2 + (p))	/* set aside by a process, see leave_parent() */
#define PROCESSES	5
#define LISTS		(2 + PROCESSES)
#define LENGTH		2

/* The call's first case waits until 1 is done, the second until it is drained. */
bit used[CALLS * CASES];
#define USED(w)		used[w]
#define QUEUE(w)	(w)
#define OBJECT(w)	1
#define PARTNER(w)	NONE		/* nobody is met here */

#include "engine.pml"

inline look() { skip }
inline gave_up() { skip }
inline meet(w, peer_) { skip }

/* How a context ends: struct ending */
#define CANCELED	1
#define TIMEDOUT	2
#define OWNERDEAD	3

/* struct context */
typedef context_t {
	byte parent = NONE;
	byte error;
	byte children;		/* a bit for each on the list */
	byte nr_children;
	byte ref;
	byte pending;		/* the error to end it with, for ender_work() */
	bit queued;		/* that work is */
	bit handle;		/* somebody has one */
	bit gone		/* its memory is freed */
};
context_t contexts[CONTEXTS];
byte walk;			/* who has the mutex of the root */
byte busy = 3;			/* processes that may still end something */
bit expired;
bit was_drained[WAITERS];	/* since it waits */

#define BIT(c)		(1 << (c))

#define promise_alive(c)	promise("nobody touches a context that is gone", !contexts[c].gone)

/* end_locked(), where it is first */
inline end_locked(c, e) {
	promise_alive(c);
	promise("a context ends once", !contexts[c].error);
	printf("context %d ends, with error %d\n", c, e);
	contexts[c].error = e;
#ifndef FORGETS_WAITERS
	letting_go = (c == 1 && FIRST(THE_WAITERS) != NONE)	/* who else comes sees it */
#endif
}

#ifdef ENDS_TWICE
#define LIVE(c)		true
#else
#define LIVE(c)		(!contexts[c].error)
#endif

/* done_attempt() and drained_attempt() */
inline attempt(w) {
	if
	:: (w == 0 && contexts[1].error || w == 1 && !contexts[1].nr_children) &&
	   !UNTRIED(parked) ->
		if
		:: !LOST -> reach;
			printf("%c finds context 1 with error %d and %d children\n", NAME(me),
			       contexts[1].error, contexts[1].nr_children);
			chanfd_commit(w)
		:: else -> reach
		fi
	:: else ->
		if
		:: parked -> reach;
			promise("nobody waits for what has happened",
				(w == 0 -> !contexts[1].error : contexts[1].nr_children));
			if
			:: w == 0 -> printf("%c queues up until 1 is done\n", NAME(me))
			:: else -> printf("%c queues up until 1 is drained\n", NAME(me))
			fi;
			list_add_tail(QUEUE(w), w)
		:: else -> reach
		fi
	fi;
	unlock(1);
	attempted()
}

proctype caller(byte me) {
	CALL_STATE;

	do
	CALL_STEPS
	od
}

inline outcome(w) {
	promise("who is told that a context is drained was there then", w != 1 || was_drained[w])
}

/* chanfd_release_all(), if there is somebody: @letting_go */
inline release_all(list) {
	do
	:: !letting_go -> break
	:: letting_go ->
		if
		:: release_next(1, list)
		:: chanfd_wake(true)
		:: d_step { claimed == NONE && FIRST(list) == NONE -> letting_go = 0 }
		fi
	od
}

/* leave_parent(), of context_free() */
inline leave_parent(c) {
	d_step {
		reach;
		other = contexts[c].parent;
		promise_alive(other);
		contexts[other].children = contexts[other].children & ~BIT(c);
		contexts[other].nr_children--;
		if
		:: !contexts[other].nr_children && other == 1 -> reach;
			was_drained[1] = (list_of[1] != NONE);
#ifdef DRAINS_BY_TURNS
			letting_go = 1
#else
			letting_go = (list_of[1] == THE_DRAINERS);
			list_splice(THE_DRAINERS, RELEASED(process))
#endif
		:: else
		fi;
		contexts[c].gone = 1
	};
#ifdef DRAINS_BY_TURNS
	release_all(THE_DRAINERS)
#else
	release_all(RELEASED(process))
#endif
}

/* chanfd_object_put() of @c, which is given up; and of its parents in turn */
inline put(c) {
	do
	:: d_step {
		c != NONE ->
		promise_alive(c);
		contexts[c].ref--;
		freeing = !contexts[c].ref
	   };
		if
		:: freeing ->
			leave_parent(c);
			freeing = 0;
			c = contexts[c].parent
		:: else -> c = NONE
		fi
	:: c == NONE -> break
	od
}

/* end_leaf(): @first, if it did */
inline end_leaf(c, e) {
	d_step {
		promise_alive(c);
#ifdef ENDS_NO_CHILDREN
		first = LIVE(c);
#else
		first = !contexts[c].children && LIVE(c);
#endif
		if
		:: first -> reach; end_locked(c, e)
		:: else -> reach
		fi
	};
	release_all(THE_WAITERS)			/* after_end() */
}

/* end_tree() and end_descendants(), with root->walk held; and drops it */
inline end_tree(c, e) {
	d_step {
		promise_alive(c);
		todo = 0;
		if
		:: LIVE(c) -> reach;
			end_locked(c, e);
			contexts[c].ref++;
			todo = BIT(c)
		:: else -> reach
		fi
	};
	release_all(THE_WAITERS);			/* after_end() */
	do
	:: todo ->
		d_step {
			at = 0;
			do
			:: !(todo & BIT(at)) -> at++
			:: else -> break
			od;
			todo = todo & ~BIT(at)
		};
		do
		:: d_step {		/* take_child() */
			promise_alive(at);
			child = 0;
			do
			:: child < CONTEXTS && !(contexts[at].children & BIT(child)) -> child++
			:: else -> break
			od;
			if
			:: child < CONTEXTS ->
				contexts[at].children = contexts[at].children & ~BIT(child);
#ifndef TAKES_THE_DYING
				if
				:: !contexts[child].ref -> reach; child = NONE - 1
				:: else -> contexts[child].ref++
				fi
#else
				contexts[child].ref++
#endif
			:: else -> child = NONE
			fi
		   };
			if
			:: child == NONE -> break
			:: child == NONE - 1
			:: child < CONTEXTS ->
				d_step {
					if
					:: LIVE(child) -> reach;
						end_locked(child, e);
						todo = todo | BIT(child);
						child = NONE
					:: else -> reach
					fi
				};
				release_all(THE_WAITERS);	/* after_end() */
				put(child)
			fi
		od;
		put(at)
	:: else -> break
	od;
	child = 0;
	at = 0;
	walk = 0
}

/* chanfd_end_context() */
inline end_context(c, e) {
	end_leaf(c, e);
	if
	:: first -> first = 0
#ifdef WAITS_FOR_NO_WALK
	:: !first && contexts[c].error
#endif
	:: else ->
		d_step { !walk -> walk = _pid };	/* mutex_lock() */
		end_tree(c, e)
	fi
}

/* try_end_context(): @first, if it is done. */
inline try_end_context(c, e) {
	if
	:: contexts[c].error -> first = 1
	:: else ->
		end_leaf(c, e);
		if
		:: first
		:: else ->
			d_step {		/* mutex_trylock() */
				first = !walk;
				if
				:: first -> reach; walk = _pid
				:: else -> reach
				fi
			};
			if
			:: first -> end_tree(c, e)
			:: else
			fi
		fi
	fi
}

/* chanfd_end_context_soon() */
inline end_context_soon(c, e) {
	try_end_context(c, e);
	if
	:: first
	:: else ->
		d_step {
			if
#ifndef SOON_IS_NEVER
			:: !contexts[c].pending -> reach;
				contexts[c].pending = e;
				contexts[c].queued = 1;
				contexts[c].ref++
#endif
			:: else		/* not in these scenarios: one reason each */
			fi
		}
	fi;
	first = 0
}

#define END_STATE								\
	byte claimed = NONE, todo, at, child;					\
	bit first, freeing, letting_go

/* context_cancel() */
inline cancel(c) {
	end_context(c, CANCELED);
	d_step {
		for (other : 0 .. CONTEXTS - 1) {
			k = other;
			do
			:: k != NONE && k != c -> k = contexts[k].parent
			:: else -> break
			od;
			promise("who has cancelled a context finds it and all below done",
				k != c || !contexts[other].handle || contexts[other].error)
		}
	}
}

/* Cancels a context; or the second, expiry_work(): the deadline of 1 passes. */
proctype ender(byte process) {
	byte c;
	END_STATE;

	if
	:: c = 0
	:: c = 1
	:: d_step { contexts[2].handle -> c = 2; contexts[2].ref++ }
	:: process -> c = NONE
	fi;
	if
	:: c == NONE ->
		c = 1;
		end_context_soon(c, TIMEDOUT);
		expired = 1
	:: c == 2 ->
		cancel(c);
		put(c)
	:: else ->
		cancel(c)
	fi;
	busy--
}

/* context_new() and what comes before and after it; then perhaps, context_abandoned() */
proctype deriver(byte process; byte ctx) {
	byte parent, error;
	END_STATE;

	if
	:: d_step { contexts[0].ref++; parent = 0 }
	:: d_step { contexts[1].ref++; parent = 1 }
	:: d_step { process == 3 && contexts[2].handle -> contexts[2].ref++; parent = 2 }
	fi;
#ifdef JOINS_UNCHECKED
	error = contexts[parent].error;
#endif
	d_step {			/* join_parent() */
		promise_alive(parent);
		contexts[ctx].parent = parent;
		contexts[ctx].ref = 1;
		contexts[parent].ref++;
		contexts[parent].nr_children++;
#ifndef JOINS_UNCHECKED
		error = contexts[parent].error;
#endif
		printf("context %d becomes a child of %d\n", ctx, parent);
		if
		:: !error -> contexts[parent].children = contexts[parent].children | BIT(ctx)
		:: else -> reach
		fi
	};
	if
#ifndef JOIN_ENDS_NOTHING
	:: error -> end_context(ctx, error)
#endif
	:: else
	fi;
	error = 0;
	contexts[ctx].handle = 1;
	put(parent);
	if
	:: true
	:: d_step {
		printf("the last handle of context %d is closed\n", ctx);
		contexts[ctx].handle = 0
	   };
		end_context_soon(ctx, OWNERDEAD);
		parent = ctx;
		put(parent)
	fi;
	busy--
}

/* ender_work(), of whichever context; again a tick later where somebody walks */
proctype worker(byte process) {
	byte c;
	END_STATE;

	do
	:: d_step {
		contexts[1].queued || contexts[2].queued || contexts[3].queued ->
		c = (contexts[1].queued -> 1 : (contexts[2].queued -> 2 : 3));
		contexts[c].queued = 0;
		busy++
	   };
		do
		:: contexts[c].error || !contexts[c].children || !walk ->
			try_end_context(c, contexts[c].pending);
			if
			:: first -> first = 0; break
			:: else
			fi
		od;
		put(c);
		busy--
	:: !busy && !contexts[1].queued && !contexts[2].queued && !contexts[3].queued ->
		break
	od
}

init {
	byte c, kind;
	atomic {
		contexts[0].ref = 2;
		contexts[0].handle = 1;
		contexts[0].children = BIT(1);
		contexts[0].nr_children = 1;
		contexts[1].parent = 0;
		contexts[1].ref = 1;
		contexts[1].handle = 1;
		if
		:: used[0] = 1
		:: used[1] = 1
		:: used[0] = 1; used[1] = 1
		fi;
#if defined(TREE)
		run ender(0);
		run deriver(3, 3);
#elif defined(WAITED)
		run caller(0);
		run ender(0);
		busy--;
#elif defined(DRAINED)
		run caller(0);
		run deriver(3, 3);
		busy--;
#else
		run ender(0);
		run ender(1);
		contexts[3].parent = 1;
		contexts[3].ref = 1;
		contexts[3].handle = 1;
		contexts[1].ref = 2;
		contexts[1].children = BIT(3);
		contexts[1].nr_children = 1;
#endif
		run deriver(2, 2);
		run worker(4)
	};
	!busy && !contexts[1].queued && !contexts[2].queued && !contexts[3].queued;
	promise("who waits for the end of a context that is done is told",
		!contexts[1].error || calls[0].fired != NONE || list_of[0] == NONE);
	_nr_pr == 1;
	d_step {
		for (c : 1 .. CONTEXTS - 1) {
			promise("no child of a context that is done survives",
				contexts[c].gone || contexts[c].error ||
				contexts[c].parent == NONE || !contexts[contexts[c].parent].error)
		}
		promise("a deadline ends its context", !expired || contexts[1].error);
		c = 0
	}
}
