// SPDX-License-Identifier: GPL-2.0
/*
 * Programs from choices. Few objects of small capacities, so that threads meet; most
 * operations are valid and some are not.
 */

#include <string.h>

#include "../../uapi/chanfd.h"
#include "program.h"

/* A number below @n. */
u32 choose(struct choices *c, u32 n)
{
	u64 z;

	if (c->from_bytes) {
		if (!c->left || n < 2)
			return 0;
		c->left--;
		return *c->bytes++ % n;
	}
	z = (c->random += 0x9e3779b97f4a7c15ull);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (u32)((z ^ (z >> 31)) >> 16) % n;
}

static bool one_in(struct choices *c, u32 n)
{
	return choose(c, n) == n - 1;
}

/* One of the numbers, each as often as it is there. */
#define ONE_OF(c, ...) ({							\
	static const int __of[] = { __VA_ARGS__ };				\
										\
	__of[choose(c, ARRAY_SIZE(__of))];					\
})

/* What there is much of in a program: nothing, rounds of a waitgroup, contexts, selects
 * that fill or empty the one place of a channel, versions of a cell, or a lock.
 */
enum theme { ANY, ROUNDS, TREES, PLACE, VERSIONS, LOCKING };

/* What is known while a program is made. */
struct maker {
	struct program *p;
	struct choices *c;
	int thread;
	enum theme theme;
	u8 values;
	u8 tokens;		/* that the thread has made, */
	bool derived;		/* and a context */
	bool died;		/* it has ended once */
	bool has_lease;
	u8 leases;		/* that were asked for, by all threads */
	u8 holds;		/* CHANFD_CASE_*: how it acquired the lock */
};

static void choose_objects(struct maker *m)
{
	struct program *p = m->p;
	struct choices *c = m->c;
	int i, t;

	m->theme = ONE_OF(c, ANY, ANY, ANY, ROUNDS, TREES, PLACE, VERSIONS, LOCKING,
			  LOCKING);
	p->channels = m->theme == PLACE ? 1 : ONE_OF(c, 1, 1, 2, 2, 3);
	p->group = m->theme == ROUNDS || one_in(c, 3);
	p->has_cell = m->theme == VERSIONS || one_in(c, 5);
	p->cell.size = ONE_OF(c, 1, 8, LARGE, LARGE);
	p->has_lock = m->theme == LOCKING || one_in(c, 5);
	p->lock.rw = one_in(c, 2);
	p->lock.flags = ONE_OF(c, 0, 0, CHANFD_HANDOFF, CHANFD_BARGING);
	p->contexts = m->theme == TREES ? 1 + (int)choose(c, ROOTS) : ONE_OF(c, 0, 0, 1, 2, 3);
	for (i = 0; i < p->channels; i++) {
		p->channel[i].capacity = m->theme == PLACE ? 1 : ONE_OF(c, 0, 0, 1, 1, 2, 3);
		p->channel[i].variable = one_in(c, 4);
		p->channel[i].elem_size = p->channel[i].variable ? 8 :
					  ONE_OF(c, 4, 4, 4, 0, LARGE);
	}
	for (i = 0; i < p->contexts; i++) {
		p->context[i].parent = choose(c, i + 1) ? CONTEXT + i - 1 : 0;
		p->context[i].deadline = ONE_OF(c, NEVER, NEVER, NEVER, NEVER, SOON, PAST);
		p->context[i].cause = p->context[i].deadline != NEVER && one_in(c, 2) ? 33 : 0;
		p->context[i].keep = one_in(c, 4);
	}
	/* The conductor comes last: without it, a side may be left by all. */
	for (t = 0; t < THREADS; t++) {
		if (t >= p->workers && t != CONDUCTOR)
			continue;
		for (i = 0; i < p->channels; i++)
			p->rights[t][i] = m->theme == PLACE ? RW :
					  t == CONDUCTOR ? ONE_OF(c, RW, RW, RW, R, W, 0) :
							   ONE_OF(c, RW, RW, RW, R, W);
		if (p->group)
			p->rights[t][GROUP] = ONE_OF(c, RW, RW, RW, R, W);
		if (p->has_cell)
			p->rights[t][CELL] = ONE_OF(c, RW, RW, RW, R, W);
		if (p->has_lock)
			p->rights[t][LOCK] = ONE_OF(c, RW, RW, RW, RW, RW, R, W);
		for (i = 0; i < p->contexts; i++)
			p->rights[t][CONTEXT + i] = t == CONDUCTOR ? ONE_OF(c, RW, R) :
						    ONE_OF(c, RW, RW, R, W);
	}
	p->perturb = m->theme == PLACE ? ONE_OF(c, 1, 2, 3) : ONE_OF(c, 0, 2, 3, 5, 10, 20, 50);
}

static u8 new_values(struct maker *m, int n)
{
	u8 first = m->values + 1;

	m->values += n;
	return first;
}

static u16 message_size(struct maker *m, const struct a_channel *ch)
{
	if (ch->variable)
		return one_in(m->c, 20) ? 9 : 1 + choose(m->c, 8);
	return ch->elem_size + one_in(m->c, 40);
}

static u16 receive_room(struct maker *m, const struct a_channel *ch, int n)
{
	if (ch->variable)
		return one_in(m->c, 3) ? 1 + choose(m->c, 8) :
					     (u32)n * ch->elem_size;
	return n * ch->elem_size - (ch->elem_size && n == 1 && one_in(m->c, 40));
}

/* How many contexts the thread has; and one of them. */
static int contexts(const struct maker *m)
{
	return m->p->contexts + m->derived;
}

static u8 choose_context(struct maker *m)
{
	int i = choose(m->c, contexts(m));

	return i < m->p->contexts ? CONTEXT + i : DERIVED + m->thread;
}

static void limits(struct maker *m, struct op *op)
{
	struct choices *c = m->c;

	if (one_in(c, 4))
		op->flags |= NONBLOCK;
	op->deadline = ONE_OF(c, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, SOON, PAST);
	if (contexts(m) && one_in(c, 3))
		op->limit = choose_context(m);
}

static void faults(struct maker *m, struct op *op)
{
	if (!one_in(m->c, 12))
		return;
	op->fault = BAD_POINTER + choose(m->c, FAIL_ALLOC);
	op->nth = 1 + choose(m->c, 4);
	op->cases[0].bad = op->fault == BAD_POINTER;
	if (op->cases[0].bad)
		op->flags &= ~NOWHERE;
}

/* Most who may not send, receive, and the other way round. */
static bool sends(struct maker *m, u8 obj, bool send)
{
	u8 rights = m->p->rights[m->thread][obj];

	return rights == RW || one_in(m->c, 10) ? send : rights == W;
}

static void make_transfer(struct maker *m, struct op *op)
{
	struct a_case *k = &op->cases[0];
	const struct a_channel *ch;
	struct choices *c = m->c;
	bool file;

	op->kind = sends(m, op->obj, op->kind == OP_SEND) ? OP_SEND : OP_RECV;
	ch = &m->p->channel[op->obj];
	op->count = ONE_OF(c, 1, 1, 1, 1, 2, 3, 4);
	file = ch->elem_size && one_in(c, 3);
	if (file) {
		op->flags |= FILE_CALL;
		if (one_in(c, 4))
			op->flags |= NONBLOCK;
		if (ch->variable)
			op->count = 1;
	} else {
		limits(m, op);
	}
	k->obj = op->obj;
	if (op->kind == OP_SEND) {
		k->op = CHANFD_CASE_SEND;
		k->value = new_values(m, op->count);
		if (op->count == 1 && !file)
			k->size = message_size(m, ch);
		else
			k->size = ch->variable ? 1 + choose(c, 8) : ch->elem_size;
	} else {
		k->op = CHANFD_CASE_RECV;
		k->size = file ? op->count * ch->elem_size : receive_room(m, ch, op->count);
		if (!file && one_in(c, 20))
			op->flags |= NOWHERE;
	}
	if (ch->elem_size)
		faults(m, op);
}

static void make_lock_case(struct maker *m, struct a_case *k)
{
	bool shared = m->p->lock.rw ? one_in(m->c, 2) : one_in(m->c, 20);

	k->obj = LOCK;
	k->op = shared ? CHANFD_CASE_READ_LOCK : CHANFD_CASE_LOCK;
}

/* A receive into a lease, that is not to fail. */
static void make_leased(struct maker *m, struct op *op)
{
	const struct a_channel *ch = &m->p->channel[0];
	struct a_case *k = &op->cases[0];

	op->kind = OP_RECV;
	op->obj = 0;
	op->count = ONE_OF(m->c, 1, 1, 1, LEASED_MOST);
	op->flags |= LEASED;
	limits(m, op);
	k->op = CHANFD_CASE_RECV;
	k->size = receive_room(m, ch, op->count);
	m->leases++;
	m->has_lease = true;
}

static void make_case(struct maker *m, struct a_case *k)
{
	const struct program *p = m->p;
	struct choices *c = m->c;
	const struct a_channel *ch;

	if (m->theme == ROUNDS && one_in(c, 2))
		k->op = CHANFD_CASE_WAIT;
	else if (m->theme == VERSIONS && one_in(c, 2))
		k->op = CHANFD_CASE_CHANGED;
	else if (m->theme == LOCKING && one_in(c, 2))
		k->op = CHANFD_CASE_LOCK;
	else if (m->theme == TREES && one_in(c, 3))
		k->op = ONE_OF(c, CHANFD_CASE_DONE, CHANFD_CASE_DRAINED);
	else
		k->op = ONE_OF(c, CHANFD_CASE_SEND, CHANFD_CASE_SEND, CHANFD_CASE_SEND,
			       CHANFD_CASE_RECV, CHANFD_CASE_RECV, CHANFD_CASE_RECV,
			       CHANFD_CASE_WAIT, CHANFD_CASE_DONE, CHANFD_CASE_DRAINED,
			       CHANFD_CASE_CHANGED, CHANFD_CASE_LOCK, CHANFD_CASE_POLL);
	switch (k->op) {
	case CHANFD_CASE_WAIT:
		if (p->group) {
			k->obj = GROUP;
			k->broken = one_in(c, 3);
			k->known = choose(c, 3);
			return;
		}
		break;
	case CHANFD_CASE_CHANGED:
		if (p->has_cell) {
			k->obj = CELL;
			k->known = choose(c, 4);
			return;
		}
		break;
	case CHANFD_CASE_LOCK:
		if (p->has_lock) {
			make_lock_case(m, k);
			return;
		}
		break;
	case CHANFD_CASE_DONE:
	case CHANFD_CASE_DRAINED:
		if (contexts(m)) {
			k->obj = choose_context(m);
			return;
		}
		break;
	case CHANFD_CASE_POLL:
		if (one_in(c, 4))
			return;
		break;
	}
	k->obj = choose(c, p->channels);
	k->op = sends(m, k->obj, k->op == CHANFD_CASE_SEND) ? CHANFD_CASE_SEND :
							      CHANFD_CASE_RECV;
	ch = &p->channel[k->obj];
	k->bad = ch->elem_size && one_in(c, 40);
	if (k->op == CHANFD_CASE_SEND) {
		k->size = message_size(m, ch);
		k->value = new_values(m, 1);
	} else {
		k->size = receive_room(m, ch, 1);
	}
}

static void make_select(struct maker *m, struct op *op)
{
	int i;

	op->count = ONE_OF(m->c, 1, 2, 2, 2, 3, 3, 4);
	limits(m, op);
	if (one_in(m->c, 8))
		op->flags |= ORDERED;
	for (i = 0; i < op->count; i++)
		make_case(m, &op->cases[i]);
	if (m->theme == PLACE && op->count > 1) {
		op->cases[0] = (struct a_case){
			.op = CHANFD_CASE_SEND,
			.size = m->p->channel[0].elem_size,
			.value = new_values(m, 1),
		};
		op->cases[1] = op->cases[0];
		op->cases[choose(m->c, 2)].op = CHANFD_CASE_RECV;
	}
}

static void make_keep(struct maker *m, struct op *op)
{
	int had = op->obj < DERIVED ? m->p->rights[m->thread][op->obj] : RW;

	op->kind = OP_KEEP;
	op->arg = one_in(m->c, 8) ? RW : had & (int)choose(m->c, 4);
}

static void make_group_op(struct maker *m, struct op *op)
{
	struct choices *c = m->c;

	op->obj = GROUP;
	op->kind = ONE_OF(c, OP_ADD, OP_ADD, OP_ADD, OP_TOKEN, OP_TOKEN, OP_DONE, OP_DONE,
			  OP_DROP_TOKEN, OP_KEEP, OP_POLL);
	if (op->kind == OP_TOKEN && m->tokens == TOKENS / WORKERS)
		op->kind = OP_DONE;
	switch (op->kind) {
	case OP_ADD:
		op->arg = ONE_OF(c, 1, 1, 2, 0, -1, -1, -2);
		op->error = op->arg < 0 ? ONE_OF(c, 0, 0, 3) : 0;
		break;
	case OP_TOKEN:
		op->arg = m->thread * (TOKENS / WORKERS) + m->tokens++;
		op->flags = one_in(c, 3) ? AUTO_DONE : 0;
		break;
	case OP_DONE:
	case OP_DROP_TOKEN:
		op->arg = m->thread * (TOKENS / WORKERS) + choose(c, TOKENS / WORKERS);
		op->error = op->kind == OP_DONE ? ONE_OF(c, 0, 0, 3) : 0;
		break;
	case OP_KEEP:
		make_keep(m, op);
		break;
	}
}

static void make_cell_op(struct maker *m, struct op *op)
{
	struct choices *c = m->c;
	struct a_case *k = &op->cases[0];
	u16 most = m->p->cell.size;

	op->obj = CELL;
	op->kind = ONE_OF(c, OP_LOAD, OP_LOAD, OP_LOAD, OP_STORE, OP_STORE, OP_STORE, OP_STORE,
			  OP_READ, OP_READ, OP_POLL, OP_KEEP);
	switch (op->kind) {
	case OP_LOAD:
		k->size = one_in(c, 8) ? choose(c, most + 1) : most;
		faults(m, op);
		break;
	case OP_STORE:
		k->size = ONE_OF(c, 0, 0, 1, 1, 1, 1) ? most - choose(c, 2) : choose(c, most + 2);
		k->value = new_values(m, 1);
		k->known = choose(c, 4);
		op->tag = one_in(c, 20);
		op->flags |= one_in(c, 3) ? IF_VERSION : 0;
		op->flags |= one_in(c, 3) ? SWAP : 0;
		op->room = one_in(c, 8) ? choose(c, most + 1) : most;
		faults(m, op);
		break;
	case OP_KEEP:
		make_keep(m, op);
		break;
	}
}

/* Mostly what the thread held if all it did so far had gone well. */
static void make_lock_op(struct maker *m, struct op *op)
{
	struct choices *c = m->c;

	op->obj = LOCK;
	op->kind = ONE_OF(c, OP_LOCK, OP_LOCK, OP_LOCK, OP_LOCK, OP_LOCK, OP_UNLOCK, OP_UNLOCK,
			  OP_UNLOCK, OP_DOWNGRADE, OP_DIE, OP_POLL, OP_KEEP);
	if (op->kind == OP_LOCK && m->holds && !one_in(c, 3))
		op->kind = OP_UNLOCK;
	if (op->kind == OP_DIE && m->died)
		op->kind = OP_LOCK;
	switch (op->kind) {
	case OP_LOCK:
		op->count = 1;
		make_lock_case(m, &op->cases[0]);
		limits(m, op);
		if (one_in(c, 12)) {
			op->fault = FAIL_ALLOC;
			op->nth = 1 + choose(c, 3);
		}
		m->holds = op->cases[0].op;
		break;
	case OP_UNLOCK:
		op->arg = m->holds == CHANFD_CASE_READ_LOCK ? CHANFD_SHARED : 0;
		if (one_in(c, 8))
			op->arg = ONE_OF(c, 0, CHANFD_SHARED, CHANFD_GIVE_UP);
		m->holds = 0;
		break;
	case OP_DOWNGRADE:
		if (m->holds)
			m->holds = CHANFD_CASE_READ_LOCK;
		break;
	case OP_DIE:
		m->died = true;
		m->holds = 0;
		break;
	case OP_KEEP:
		make_keep(m, op);
		break;
	}
}

static void make_context_op(struct maker *m, struct op *op)
{
	struct choices *c = m->c;

	op->obj = choose_context(m);
	op->kind = ONE_OF(c, OP_CANCEL, OP_CANCEL, OP_DERIVE, OP_DERIVE, OP_KEEP, OP_POLL);
	if (op->kind == OP_DERIVE && m->derived)
		op->kind = OP_POLL;
	switch (op->kind) {
	case OP_CANCEL:
		op->arg = ONE_OF(c, 0, 34, 35);
		break;
	case OP_DERIVE:
		op->arg = op->obj;
		op->obj = DERIVED + m->thread;
		op->deadline = ONE_OF(c, NEVER, NEVER, NEVER, SOON, PAST);
		op->error = op->deadline != NEVER && one_in(c, 2) ? 36 : 0;
		op->flags = one_in(c, 4) ? KEEP_ALIVE : 0;
		m->derived = true;
		break;
	case OP_KEEP:
		make_keep(m, op);
		break;
	}
}

static void make_op(struct maker *m, struct op *op)
{
	struct choices *c = m->c;
	u32 n = choose(c, 32);

	op->thread = m->thread;
	op->obj = choose(c, m->p->channels);
	if (m->has_lease && one_in(c, 3)) {
		op->kind = one_in(c, 3) ? OP_COMMIT : OP_DROP_LEASE;
		m->has_lease = one_in(c, 3);
		return;
	}
	if (m->leases < LEASES && one_in(c, 10)) {
		make_leased(m, op);
		return;
	}
	if (m->p->has_lock && (n >= 26 || (m->theme == LOCKING && n >= 6)) && n < 29 &&
	    !one_in(c, 3)) {
		make_lock_op(m, op);
	} else if (m->p->has_cell && (n >= 26 || (m->theme == VERSIONS && n >= 8)) && n < 29 &&
	    !one_in(c, 3)) {
		make_cell_op(m, op);
	} else if (m->p->group && (n >= 26 || (m->theme == ROUNDS && n >= 12)) && n < 29) {
		make_group_op(m, op);
	} else if (m->p->contexts && (n >= 23 || (m->theme == TREES && n >= 14)) && n < 29) {
		make_context_op(m, op);
	} else if (n == 29) {
		op->kind = one_in(c, 2) ? OP_POLL : OP_CLOSE;
		op->arg = op->kind == OP_CLOSE ? ONE_OF(c, 0, 0, CAUSE_1, CAUSE_2) : 0;
	} else if (n == 30) {
		make_keep(m, op);
	} else if (n == 31) {
		op->kind = OP_SIGNAL;
		op->obj = choose(c, m->p->workers);
		/* A lock is to be had without the thread that it was given to. */
		op->arg = one_in(c, m->theme == LOCKING ? 2 : 4);
		if (one_in(c, 8))
			op->kind = OP_EVENT;
	} else if (n % 3 == 2 || (m->theme == PLACE && n < 8)) {
		op->kind = OP_SELECT;
		make_select(m, op);
	} else {
		op->kind = n % 3 ? OP_SEND : OP_RECV;
		make_transfer(m, op);
	}
}

/* @workers: how many threads, or 0 to choose. */
void generate(struct program *p, struct choices *c, int workers)
{
	struct maker m = { .p = p, .c = c };
	int i;

	memset(p, 0, sizeof(*p));
	p->workers = workers ?: ONE_OF(c, 2, 3, 3, 4);
	choose_objects(&m);
	for (m.thread = 0; m.thread < p->workers; m.thread++) {
		m.tokens = 0;
		m.derived = false;
		m.died = false;
		m.has_lease = false;
		m.holds = 0;
		p->ops[m.thread] = 3 + choose(c, OPS - 2);
		for (i = 0; i < p->ops[m.thread]; i++)
			make_op(&m, &p->op[m.thread][i]);
	}
}
