/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The reference: what the objects are, and the single steps that an operation may take,
 * as uapi/chanfd.h and Documentation/go-semantics.rst have it.
 */
#ifndef _MODEL_H
#define _MODEL_H

#include "program.h"

/* Messages that a channel may hold: its buffer's, and those that come back. */
enum { IN_LEASES = LEASES * LEASED_MOST, MESSAGES = 12 + IN_LEASES, QUEUED = WORKERS * CASES };

struct message {
	u16 size;
	u8 value;
	u8 number;
	u8 returned;	/* from a lease, so often */
	u8 unused;
};

struct queue {
	u8 len;
	struct {
		u8 thread;
		u8 index;	/* of its case */
	} at[QUEUED];
};

struct channel {
	u8 len;
	bool closed;
	u8 cause;
	u8 sent;
	u8 received;
	u8 leased;
	u8 returned;
	u8 dropped;
	struct message message[MESSAGES];
	struct queue senders;
	struct queue receivers;
};

struct group {
	u8 count;
	u8 tokens;
	u8 round;
	u8 broken;
	u8 error;
	u8 token[TOKENS];	/* the round in which it counts, 0: none */
	bool made[TOKENS];
	bool auto_done[TOKENS];
};

struct cell {
	u8 version;
	u8 value;
	u8 tag;
	u16 size;
};

enum { HOLDERS = 2 * THREADS };

struct lock {
	u8 writer;		/* holder + 1, or 0 */
	u8 reads[HOLDERS];	/* of threads, and of their ghosts */
	u8 reading[HOLDERS];	/* holders that have any, in the order of the first */
	u8 nr_reading;
	u8 dead;
	bool owner_dead;
	bool lost;
	u8 admitted;		/* mask of those who are let in, but will not come */
	struct queue writers;
	struct queue readers;
};

struct context {
	bool made;
	bool keep;
	bool gone;		/* released, and its parent told */
	bool lost;		/* nobody is left who could cancel it */
	bool soon;		/* it has a deadline that will pass */
	u8 error;		/* ECANCELED or ETIMEDOUT, once it is done */
	u8 cause;
	u8 deadline_cause;
	u8 parent;		/* or 0 */
};

enum phase {
	IDLE,
	ACTIVE,
	HANDED,		/* messages that it can't take, and must return */
	GRANTED,	/* the lock, that it must give back: it is being killed */
	APPLIED,	/* a cancel that has yet to reach all below */
	LEAVING,	/* through, but for the lock's queue */
	FINISHED,
};

struct thread {
	u8 phase;
	u8 visited;	/* cases at which it waits */
	bool released;	/* it can't sleep any more */
	bool leaves;	/* it waited for the lock, and has yet to let others in */
	u8 signal;	/* 1: may be pending; 2: and kills */
	u8 age;		/* of the signal: operations that have begun since */
	struct message handed[LEASED_MOST];
	u8 nr_handed;
	u8 nr_lease;
	struct message lease[IN_LEASES];	/* what its lease holds */
	u8 from;	/* what it must return comes from that channel */
	u8 has_read;	/* this version of the cell, by its handle */
	u8 rights[OBJECTS];
};

/* No padding may differ between equal states: it is compared as bytes. */
struct state {
	struct channel channel[CHANNELS];
	struct group group;
	struct cell cell;
	struct lock lock;
	struct context context[CONTEXTS];
	bool event;
	struct thread thread[THREADS];
};

/* What the state does not hold, as it does not depend on the order of steps. */
struct model {
	const struct program *program;
	const struct op *op[THREADS];	/* that the thread is in */
};

enum step_type {
	VISIT,		/* do case arg if it can be done, else wait for it */
	WHOLE,		/* an operation that does not wait */
	FAIL,		/* fail without an effect */
	WITHDRAW,	/* the same, while no case can be done */
	LIMIT,		/* the same, because the call's context is done */
	RETURN,		/* a message that could not be taken */
	UNDO,		/* the lock, likewise */
	LEFT,		/* the lock's queue */
	REACH,		/* a cancellation, all contexts below */
	LOSE,		/* object arg: cancelled, as nobody is left who could */
	EXPIRE,		/* object arg */
	INHERIT,	/* object arg: done as its parent is */
	LEAVE,		/* object arg: its parent has a child less */
	BURY,		/* the lock: that the thread's process has ended */
};

struct step {
	u8 type;
	u8 thread;
	u8 arg;
	u8 together;	/* messages of a batch that are received in one go */
};

enum { STEPS = 128 };

void model_start(const struct program *p, struct state *s);
bool model_begin(const struct model *m, struct state *s, int t);
int model_steps(const struct model *m, const struct state *s, int first, bool quiet,
		struct step *steps);
bool model_step(const struct model *m, struct state *s, struct step step);
bool model_quiet(const struct model *m, const struct state *s, u8 asleep);

#endif /* _MODEL_H */
