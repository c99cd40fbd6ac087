// SPDX-License-Identifier: GPL-2.0
/*
 * The wait engine: kmod/wait.c, for the models that include this.
 *
 * Each process runs one loop of steps (d_step). A step is what happens under a call's
 * lock, the innermost: so claims at two objects, withdrawals and walks along a queue come
 * between one another in every order. That an object's lock is taken is part of the first
 * step under it, that it is dropped of the last: what is done under that lock alone
 * commutes with all that others can do meanwhile.
 *
 * Waiters are numbered call by call, objects and lists simply. From the model that
 * includes this:
 *
 *	CALLS, CASES	how many, and the most cases of one
 *	OBJECTS, LISTS	how many; the first lists are the queues
 *	LENGTH		of the longest list
 *	OBJECT(w), QUEUE(w)	where a waiter waits
 *	USED(w)		is it one of its call's cases?
 *	PARTNER(w)	the waiter to claim next in an attempt of @w, or NONE
 *	attempt(w)	an attempt when there is no PARTNER(w), to the end
 *	meet(w, peer)	between chanfd_claim_first() and chanfd_claim_end(), to the end
 *	look(), gave_up()	something has changed; a call has withdrawn
 *	BEGIN		a step before the others, if any
 *	MAY_GIVE_UP	may a call withdraw now? true, unless defined
 *	LEFT		@call is through with w->ops->left(); true, unless defined
 */

#define NONE		255
#define WITHDRAWN	254	/* call->fired of a call that gave up */

#define WAITERS		(CALLS * CASES)
#define CALL(w)		((w) / CASES)	/* w->call */
#define CASE(call, i)	((call) * CASES + (i))
#define NAME(call)	('A' + (call))

/* What is to be shown. A counterexample ends with @what. */
#define promise(what, condition)						\
	if									\
	:: (condition)								\
	:: else ->								\
		printf("BROKEN: "); printf(what); printf("\n");			\
		assert(false)							\
	fi

/* A line that some run must come to; tests/model/run sees to it. */
#define reach									\
	c_code {								\
		static int seen;						\
		if (!seen) {							\
			seen = 1;						\
			fprintf(stderr, "reach %s:%d\n", __FILE__, __LINE__);	\
		}								\
	}

/* struct chanfd_call. What it has on its stack besides is local to its process. */
typedef call_t {
	byte fired = NONE;
	bit locked;
	bit done;
	bit poked;
	bit returned
};
call_t calls[CALLS];

/* A struct list_head: a queue's, or one of waiters that were set aside. */
typedef list_t {
	byte nr;
	byte at[LENGTH]
};
list_t lists[LISTS];

byte list_of[WAITERS] = NONE;	/* the list that w->node is on; NONE: !w->queue */
byte holder[OBJECTS];		/* who has obj->lock: a process, or 0 */

hidden byte k;			/* for one step */
hidden byte peer;
hidden byte other;

#define CAN_LOCK(obj)	(holder[obj] == 0 || holder[obj] == _pid)
#define lock(obj)	holder[obj] = _pid
#define unlock(obj)	holder[obj] = 0

inline list_add_tail(list, w) {
	lists[list].at[lists[list].nr] = w;
	lists[list].nr++;
	list_of[w] = list
}

inline list_del(w) {
	other = list_of[w];
	k = 0;
	do
	:: lists[other].at[k] != w -> k++
	:: else -> break
	od;
	lists[other].nr--;
	do
	:: k < lists[other].nr ->
		lists[other].at[k] = lists[other].at[k + 1];
		k++
	:: else -> break
	od;
	lists[other].at[k] = 0;
	list_of[w] = NONE
}

/* list_splice_tail_init() */
inline list_splice(from, to) {
	do
	:: lists[from].nr ->
		peer = lists[from].at[0];
		list_del(peer);
		list_add_tail(to, peer)
	:: else -> break
	od
}

#define FIRST(list)	(lists[list].nr -> lists[list].at[0] : NONE)

/*
 * The first waiter on @list of another call than @call, whose own can only be in front:
 * a call of two cases has at most one in the queue opposite to the other's.
 */
#ifdef MEETS_ITSELF
#define OTHER(list, call) FIRST(list)
#else
#define OTHER(list, call)							\
	(lists[list].nr > 0 && CALL(lists[list].at[0]) != call ->		\
		lists[list].at[0] :						\
		(lists[list].nr > 1 -> lists[list].at[1] : NONE))
#endif

/*
 * Where a call is. A lone case is tried once; of two any may be, any number of times,
 * since what looks ready is no more than a hint.
 */
#define TRY		0	/* chanfd_call_run(): try_choices(), private */
#define TRIED		1	/* a lone case was */
#define PARK		2	/* park_all(): one more case to park, not CASE(me, i) */
#define LIMITED_BY	9	/* likewise: call->context is parked, no case yet */
#define SCAN		3	/* attempting CASE(me, i), with the object's lock held */
#define CLAIM		4	/* likewise, with one call's lock held, too */
#define REFILL		5	/* likewise, without: a receive that lets senders in */
#define ASLEEP		6	/* until fired, or withdrawn */
#define LEAVE		7	/* leave_all() */
#define RETURNED	8
#define POKED		10	/* look_again(): is it true? */
#define LOOK		11	/* likewise, it looks so: w->ops->poked() */

#ifndef MAY_GIVE_UP
#define MAY_GIVE_UP	true
#endif
#ifndef LEFT
#define LEFT		true
#endif

#define LONE(call)	(!USED(CASE(call, 0)) || !USED(CASE(call, 1)))

/* Is a case not attempted once more when it is parked? */
#ifdef PARKS_UNTRIED
#define UNTRIED(park)	(park)
#else
#define UNTRIED(park)	false
#endif

/* LOST: another case of this call has fired; only a parked one's can. */
#ifdef CLAIM_IGNORES_OWN
#define LOST		false
#else
#define LOST		(calls[me].fired != NONE)
#endif

/* Who is locked first, where both calls are. */
#ifdef LOCKS_UNORDERED
#define LOWER(a, b)	(a)
#define HIGHER(a, b)	(b)
#else
#define LOWER(a, b)	((a) < (b) -> (a) : (b))
#define HIGHER(a, b)	((a) < (b) -> (b) : (a))
#endif

inline fire(w) {
	promise("a call fires once", calls[CALL(w)].fired == NONE);
	calls[CALL(w)].fired = w
}

/* chanfd_commit() where it succeeds: !LOST, and the call's lock is free. */
inline chanfd_commit(w) {
	fire(w);
	calls[CALL(w)].done = 1
}

/* An attempt of @w is over; the object's lock has been dropped. */
inline attempted() {
	if
	:: calls[me].fired != NONE -> phase = (parked -> ASLEEP : LEAVE); i = 0
	:: else ->
		if
#ifdef ASKS_ONE_BY_ONE
		:: !parked && !LONE(me) -> phase = (asked && i -> TRIED : TRY); asked = !i; i = 0
		:: !parked && LONE(me) -> phase = TRIED; i = 0
#else
		:: !parked -> phase = (LONE(me) -> TRIED : TRY); i = 0
#endif
		:: parked && !second && !LONE(me) -> phase = PARK; second = 1
		:: else -> phase = ASLEEP; i = 0
		fi
	fi
}

/*
 * The next waiter of chanfd_claim_first(), with the locks of its call and, if this one is
 * parked, of this one.
 */
inline claim(w) {
	peer = PARTNER(w);
	promise("nobody looks at a call that has returned", !calls[CALL(peer)].returned);
	if
	:: LOST -> reach;
		phase = SCAN
#ifndef CLAIM_IGNORES_PEER
	:: !LOST && calls[CALL(peer)].fired != NONE -> reach;
		printf("%c removes a waiter of %c, which has fired\n", NAME(me),
		       NAME(CALL(peer)));
		list_del(peer);
		phase = SCAN
#endif
	:: else ->
		list_del(peer);
		chanfd_commit(w);
		fire(peer);
		claimed = CALL(peer);
		meet(w, peer);
		attempted();
		look()
	fi
}

/*
 * A call may have a context: a case behind the others, parked before them. LIMIT(call) is
 * its number.
 */
#ifdef LIMITED
#define PARKS		(phase == LIMITED_BY)
#else
#define PARKS		(phase == TRY && !LONE(me) || phase == TRIED)
#endif

/* May the call go on to attempt case @j now, parked or not? */
#define MAY_ATTEMPT(j, park)							\
	(claimed == NONE && USED(CASE(me, j)) &&				\
	 (phase == TRY && !park || park && PARKS ||				\
	  phase == PARK && park && i != j ||					\
	  phase == SCAN && park == parked && i == j))

/* Are the locks free that come next in an attempt of @w? */
#define CAN_ATTEMPT(w, park)							\
	(CAN_LOCK(OBJECT(w)) &&							\
	 !calls[(PARTNER(w) == NONE || LOST -> me :				\
		 (park -> LOWER(me, CALL(PARTNER(w))) : CALL(PARTNER(w))))].locked)

/* w->ops->attempt() of case @j: all of it, or as far as to the next call's lock. */
inline attempt_case(j, park) {
	d_step {
		MAY_ATTEMPT(j, park) && CAN_ATTEMPT(CASE(me, j), park) ->
		lock(OBJECT(CASE(me, j)));
		i = j;
		parked = park;
		if
		:: PARTNER(CASE(me, j)) == NONE || LOST || UNTRIED(park) ->
			phase = SCAN;
			attempt(CASE(me, j))
		:: else ->
			if
			:: park -> reach;
				/* claim_lock() */
				peer = CALL(PARTNER(CASE(me, j)));
				k = LOWER(me, peer);
				calls[k].locked = 1;
				phase = CLAIM
			:: else -> reach;
				claim(CASE(me, j))
			fi
		fi
	}
}

#ifdef LIMITED
/* park_all(): done_attempt() of call->context */
inline park_limit() {
	d_step {
		claimed == NONE && (phase == TRY && !LONE(me) || phase == TRIED) &&
		CAN_LOCK(OBJECT(LIMIT(me))) && !calls[me].locked ->
		parked = 1;
#ifdef LIMIT_PARKS_UNTRIED
		if
		:: false
#else
		if
		:: cancelled -> reach;
			printf("%c finds its context done\n", NAME(me));
			chanfd_commit(LIMIT(me));
			phase = ASLEEP
#endif
		:: else -> reach;
			list_add_tail(QUEUE(LIMIT(me)), LIMIT(me));
			phase = LIMITED_BY
		fi
	}
}
#endif

/* attempt_case(), with the second lock. */
inline claim_both() {
	d_step {
		phase == CLAIM &&
		!calls[HIGHER(me, CALL(PARTNER(CASE(me, i))))].locked ->
		peer = CALL(PARTNER(CASE(me, i)));
		k = LOWER(me, peer);
		calls[k].locked = 0;
		claim(CASE(me, i))
	}
}

/* chanfd_wake(): CALL_DONE */
inline chanfd_wake(when) {
	d_step {
		claimed != NONE && (when) ->
		promise("nobody looks at a call that has returned", !calls[claimed].returned);
		calls[claimed].done = 1;
		claimed = NONE
	}
}

/*
 * chanfd_release_all(): the next on the list of the process, in a turn of the object's
 * lock of its own; the module lets some dozens go in one turn. outcome() is the model's.
 */
inline release_next(obj, list) {
	d_step {
		claimed == NONE && FIRST(list) != NONE && CAN_LOCK(obj) &&
		!calls[CALL(FIRST(list))].locked ->
		peer = FIRST(list);
		promise("nobody looks at a call that has returned", !calls[CALL(peer)].returned);
		if
#ifndef RELEASE_IGNORES_FIRED
		:: calls[CALL(peer)].fired != NONE -> reach;
			list_del(peer)
#endif
		:: else -> reach;
			printf("%c is let go\n", NAME(CALL(peer)));
			outcome(peer);
			fire(peer);
			list_del(peer);
#ifndef RELEASE_WAKES_NOBODY
			claimed = CALL(peer)
#endif
		fi
	}
}

/* withdraw(), because of -EAGAIN, a signal or the deadline */
inline withdraw() {
	d_step {
		(phase == ASLEEP || phase == TRIED) && claimed == NONE && MAY_GIVE_UP &&
#ifndef WITHDRAWS_BLINDLY
		calls[me].fired == NONE &&
#endif
		!calls[me].locked ->
		reach;
		printf("%c gives up\n", NAME(me));
		calls[me].fired = WITHDRAWN;
		phase = LEAVE;
		gave_up();
		look()
	}
}

/* wait_until_done() */
#ifdef RETURNS_EARLY
#define DONE		(calls[me].fired != NONE)
#else
#define DONE		(calls[me].done)
#endif

#define LEAVES									\
	(claimed == NONE &&							\
	 (phase == LEAVE || (phase == ASLEEP || phase == PARK || phase == LIMITED_BY) && DONE))

/* leave() */
inline leave(j) {
	d_step {
		LEAVES && list_of[CASE(me, j)] != NONE && CAN_LOCK(OBJECT(CASE(me, j))) ->
		reach;
		list_del(CASE(me, j));
		phase = LEAVE;
		i = 0
	}
}

/* It returns. */
inline come_back() {
	d_step {
		LEAVES && list_of[CASE(me, 0)] == NONE &&
#ifdef LIMITED
#ifndef LIMIT_STAYS
		list_of[LIMIT(me)] == NONE &&
#endif
#endif
#ifndef FORGETS_TO_LEAVE
		list_of[CASE(me, 1)] == NONE &&
#endif
		LEFT ->
		phase = RETURNED;
		i = 0;
		parked = 0;
		second = 0;
		calls[me].returned = 1;
		for (k : CASE(me, 0) .. CASE(me, CASES - 1)) {
			promise("a call that returns leaves no waiter", list_of[k] == NONE)
		}
	};
	break
}

inline all_returned() {
	for (c : 0 .. CALLS - 1) {
		calls[c].returned
	}
	c = 0
}

#ifndef BEGIN
#define BEGIN
#endif

/* One call: declarations, and the steps that it takes besides its object's own. */
#define CALL_STATE								\
	byte phase, i, claimed = NONE;						\
	bit parked, second, asked						\
	BEGIN

#define CALL_STEPS								\
	:: attempt_case(0, false)						\
	:: attempt_case(0, true)						\
	:: attempt_case(1, false)						\
	:: attempt_case(1, true)						\
	:: claim_both()								\
	:: chanfd_wake(phase != REFILL)						\
	:: withdraw()								\
	:: leave(0)								\
	:: leave(1)								\
	:: come_back() LIMIT_STEPS

#ifdef LIMITED
#define LIMIT_STEPS								\
	:: park_limit()								\
	:: leave(CASES - 1)
#else
#define LIMIT_STEPS
#endif
