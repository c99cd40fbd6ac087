/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A program: a few objects, and for each of up to four threads a short sequence of
 * operations on them. And what happened when it ran: the outcome of every operation,
 * and the order in which operations began and ended.
 */
#ifndef _PROGRAM_H
#define _PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

enum {
	WORKERS		= 4,
	CONDUCTOR	= WORKERS,	/* who lets go those that would sleep for ever */
	THREADS		= WORKERS + 1,
	OPS		= 8,		/* of one worker */
	EXTRA		= 160,		/* of the conductor */
	CASES		= 4,
	BATCH		= 4,
	CHANNELS	= 3,
	ROOTS		= 3,		/* contexts that are there at the start */
	CONTEXTS	= ROOTS + WORKERS, /* and one that each worker may derive */
	TOKENS		= 2 * WORKERS,	/* two for each worker */
	/* Objects are numbered: channels, one each of others, contexts. */
	GROUP		= CHANNELS,
	CELL,
	LOCK,
	CONTEXT,
	DERIVED		= CONTEXT + ROOTS,
	OBJECTS		= CONTEXT + CONTEXTS,
	ALL_OPS		= WORKERS * OPS + EXTRA,
	EVENTS		= 3 * ALL_OPS,
	LARGE		= 300,		/* does not fit a ring's slot */
	LEASES		= 4,		/* receives into leases, in one program, */
	LEASED_MOST	= 2,		/* of so many messages; all of one channel */
	CAUSE_1		= 5,		/* channels are closed with, if with any */
	CAUSE_2		= 71,
};

/* What a handle may do: CHANFD_READ | CHANFD_WRITE. */
enum { R = 1, W = 2, RW = 3 };

enum kind {
	OP_NONE,
	OP_SEND,	/* count messages */
	OP_RECV,
	OP_SELECT,
	OP_CLOSE,	/* with cause arg */
	OP_KEEP,	/* of the thread's rights to obj only arg */
	OP_ADD,		/* arg members; negative with error */
	OP_TOKEN,	/* into token arg */
	OP_DONE,	/* token arg, with error */
	OP_DROP_TOKEN,
	OP_CANCEL,	/* with cause arg */
	OP_DERIVE,	/* context obj, the thread's own, from context arg */
	OP_POLL,
	OP_COMMIT,	/* the thread's lease, and close it */
	OP_DROP_LEASE,
	OP_LOAD,
	OP_STORE,
	OP_READ,	/* a cell, by its mapping */
	OP_LOCK,
	OP_UNLOCK,	/* CHANFD_SHARED, CHANFD_GIVE_UP or 0: arg */
	OP_DOWNGRADE,
	OP_DIE,		/* the thread goes on as another process */
	OP_SIGNAL,	/* to thread obj; arg: it kills */
	OP_EVENT,	/* the eventfd becomes ready */
	OP_INFO,	/* while all others sleep or are gone */
};

enum {
	NONBLOCK	= 1,
	ORDERED		= 2,
	FILE_CALL	= 4,	/* read(2) or write(2) */
	AUTO_DONE	= 8,
	KEEP_ALIVE	= 16,	/* CHANFD_KEEP */
	NOWHERE		= 32,	/* a receive that throws the message away */
	IF_VERSION	= 64,	/* a store, if it is cases[0].known */
	SWAP		= 128,	/* a store that tells the old value */
	LEASED		= 256,	/* a receive into the thread's lease */
};

enum deadline { NEVER, PAST, SOON };

enum fault {
	NO_FAULT,
	BAD_POINTER,	/* of what is sent or received */
	FAIL_COPY,	/* a copy fails once */
	FAIL_COPIES,	/* from one on all fail */
	FAIL_ALLOC,
};

/* One case of a select; a send or a receive has one, too. */
struct a_case {
	u8 op;		/* CHANFD_CASE_* */
	u8 obj;
	u8 value;	/* of the first message to send, the others count up */
	bool broken;	/* CHANFD_CASE_BROKEN, */
	u8 known;	/* and the number, or a cell's version, that is known */
	bool bad;	/* a bad pointer */
	u16 size;	/* of each message to send; room to receive */
};

/* The numbers are those of uapi/chanfd.h. */
struct op {
	u8 kind;	/* enum kind */
	u8 thread;
	u8 obj;
	u16 flags;
	u8 count;	/* messages, or cases */
	u8 deadline;
	u8 fault;
	u8 nth;		/* which copy or allocation fails */
	u8 limit;	/* context that limits it, or 0 */
	u8 tag;		/* of a value to store */
	u16 room;	/* for the old value */
	s32 arg;
	s32 error;
	struct a_case cases[CASES];

	/* outcome */
	s32 ret;	/* messages moved, 0, or -errno */
	bool done;	/* it was run */
	bool slept;	/* everybody else slept meanwhile, or had ended */
	bool told;	/* the fields below are filled in */
	bool has_number; /* number, too */
	u8 index;
	bool ok;
	bool early;	/* timed out before its deadline */
	bool garbled;	/* a message did not arrive as it was sent */
	u32 size;
	s32 failed;	/* a select's error */
	s32 status;
	u64 number;
	u8 value[BATCH];
	u16 sizes[BATCH];
	u8 returned;	/* how often the first message had come back */
	u32 info[12];
};

struct a_channel {
	u8 capacity;
	bool variable;
	u16 elem_size;
};

struct a_cell {
	u16 size;	/* at the most */
};

struct a_lock {
	bool rw;
	u16 flags;	/* CHANFD_HANDOFF, CHANFD_BARGING or 0 */
};

struct a_context {
	u8 parent;	/* or 0 */
	u8 deadline;
	u8 cause;	/* of the deadline */
	bool keep;
};

struct program {
	u64 seed;
	u8 workers;
	u8 channels;
	u8 contexts;	/* at the start */
	bool group;
	bool has_cell;
	bool has_lock;
	struct a_channel channel[CHANNELS];
	struct a_cell cell;
	struct a_lock lock;
	struct a_context context[ROOTS];
	u8 rights[THREADS][OBJECTS];
	u8 perturb;	/* one in so many steps gives up the CPU */
	u8 ops[WORKERS];
	struct op op[WORKERS][OPS];
};

enum event_type { BEGIN, END, QUIET };

/*
 * The order of events is that in which they took their number; an operation's beginning
 * takes it before it does anything, and the end afterwards.
 *
 * QUIET: all threads had ended, or slept at one and the same moment with nothing left
 * that could wake them.
 */
struct event {
	u8 type;
	u8 thread;
	u8 op;		/* BEGIN, END: which of the thread's */
	u8 asleep;	/* QUIET: mask of threads */
};

/* @program: as it ran, with its outcomes; @extra: what the conductor did. */
struct history {
	struct program program;
	struct op extra[EXTRA];
	int extras;
	struct event event[EVENTS];
	int events;
	long left;	/* pieces of memory, when all was closed */
};

static inline struct op *event_op(struct history *h, const struct event *e)
{
	return e->thread == CONDUCTOR ? &h->extra[e->op] : &h->program.op[e->thread][e->op];
}

/* Where choices come from: a generator of random numbers, or bytes. */
struct choices {
	u64 random;
	const u8 *bytes;
	size_t left;
	bool from_bytes;
};

/* generate.c */
u32 choose(struct choices *c, u32 n);
void generate(struct program *p, struct choices *c, int workers);

/* print.c */
void print_program(const struct program *p);
void print_history(struct history *h, int stuck);

/* execute.c */
void execute_start(void);
void execute(const struct program *p, struct history *h, struct choices *c);
void execute_stop(void);

/* check.c */
enum verdict { EXPLAINED, UNEXPLAINED, UNDECIDED };
enum verdict check(struct history *h, int *stuck);

#endif /* _PROGRAM_H */
