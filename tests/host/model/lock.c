// SPDX-License-Identifier: GPL-2.0
/*
 * The lock. Whether a lock that is free is handed over now and then, as an adaptive one
 * is, cannot be told from one that the first in the queue happened to get.
 *
 * A process that ends holds what it held, as a ghost, until that is noticed.
 */

#include "state.h"

static int ghost(int t)
{
	return THREADS + t;
}

static int reads(const struct lock *l)
{
	int i, n = 0;

	for (i = 0; i < HOLDERS; i++)
		n += l->reads[i];
	return n;
}

static bool is_free(const struct lock *l)
{
	return !l->writer && !l->admitted && !reads(l);
}

static bool admits_readers(const struct lock *l)
{
	return !l->writer && !l->writers.len;
}

static void take(struct lock *l, int holder, bool shared)
{
	if (!shared) {
		l->writer = holder + 1;
		return;
	}
	if (!l->reads[holder]++)
		l->reading[l->nr_reading++] = holder;
}

static void drop_reads(struct lock *l, int holder, int n)
{
	int i = 0;

	l->reads[holder] -= n;
	if (l->reads[holder])
		return;
	while (l->reading[i] != holder)
		i++;
	l->nr_reading--;
	memmove(&l->reading[i], &l->reading[i + 1], l->nr_reading - i);
	l->reading[l->nr_reading] = 0;
}

static bool is_shared(const struct op *op, int k)
{
	return op->cases[k].op == CHANFD_CASE_READ_LOCK;
}

/* The outcome of case @k is @error. */
static bool has_error(const struct op *op, int k, int error)
{
	return did_case(op, k) && (is_select(op) ? op->failed : -op->ret) == error;
}

/* May case @k be done, and undone as the task is killed? */
bool may_undo(const struct op *op, int k)
{
	u8 type = op->cases[k].op;

	return op->ret == -EINTR && (type == CHANFD_CASE_LOCK || type == CHANFD_CASE_READ_LOCK);
}

/* The outcome of case @k is that it is acquired. */
static bool acquired(const struct model *m, struct state *s, int t, int k)
{
	struct lock *l = &s->lock;
	bool undo = may_undo(m->op[t], k);

	if (!undo && !has_error(m->op[t], k, l->owner_dead ? EOWNERDEAD : 0))
		return false;
	queue_remove(is_shared(m->op[t], k) ? &l->readers : &l->writers, t, k);
	finish(s, t);
	take(l, t, is_shared(m->op[t], k));
	if (undo) {
		s->thread[t].phase = GRANTED;
		s->thread[t].from = is_shared(m->op[t], k);
	}
	return true;
}

/*
 * The thread does not wait for it any more. That others may come in now is found later, when
 * it leaves the queue.
 */
void lock_forget(struct state *s, int t)
{
	struct lock *l = &s->lock;
	int waiting = l->writers.len + l->readers.len;

	queue_remove(&l->writers, t, -1);
	queue_remove(&l->readers, t, -1);
	if (l->writers.len + l->readers.len != waiting || l->admitted & 1 << t)
		s->thread[t].leaves = true;
}

/*
 * Is somebody on the way out who had waited? Until then it may still be let in by mistake,
 * and an attempt fails that need not; and it may be counted as waiting.
 */
bool lock_is_left(const struct state *s, int t)
{
	int u;

	for (u = 0; u < THREADS; u++)
		if (u != t && s->thread[u].leaves)
			return true;
	return false;
}

/* All readers that wait come in, but who is about to do something else. */
static bool admit(const struct model *m, struct state *s)
{
	struct lock *l = &s->lock;

	while (l->readers.len) {
		int t = l->readers.at[0].thread, k = l->readers.at[0].index;

		if (did_case(m->op[t], k) ||
		    (may_undo(m->op[t], k) && s->thread[t].signal == 2)) {
			if (!acquired(m, s, t, k))
				return false;
			continue;
		}
		queue_remove(&l->readers, t, k);
		l->admitted |= 1 << t;
		s->thread[t].released = true;
	}
	return true;
}

/* Lets in who may come in; first the readers if a writer has gone. */
static bool settle(const struct model *m, struct state *s, bool readers_first)
{
	struct lock *l = &s->lock;

	if (l->lost || l->writer)
		return true;
	if ((readers_first || !l->writers.len) && !admit(m, s))
		return false;
	if (l->writers.len && is_free(l) && m->program->lock.flags & CHANFD_HANDOFF &&
	    !acquired(m, s, l->writers.at[0].thread, l->writers.at[0].index))
		return false;
	return true;
}

/* The thread has left the queue, and lets others in. */
bool lock_left(const struct model *m, struct state *s, int t)
{
	struct thread *th = &s->thread[t];

	th->leaves = false;
	if (th->phase == LEAVING)
		th->phase = FINISHED;
	s->lock.admitted &= ~(1 << t);
	return settle(m, s, false);
}

bool lock_undo(const struct model *m, struct state *s, int t)
{
	struct lock *l = &s->lock;
	bool shared = s->thread[t].from;

	if (s->thread[t].signal != 2)
		return false;
	s->thread[t].from = 0;
	finish(s, t);
	/* Unless somebody has unlocked it by now. */
	if (shared && l->reads[t])
		drop_reads(l, t, 1);
	else if (!shared && l->writer == t + 1)
		l->writer = 0;
	return settle(m, s, !shared);
}

bool lock_ready(const struct model *m, const struct state *s, int t, const struct a_case *c)
{
	const struct lock *l = &s->lock;
	int i;

	if (l->lost)
		return true;
	if (c->op == CHANFD_CASE_READ_LOCK)
		return admits_readers(l);
	if (!is_free(l))
		return false;
	/* Of those who wait, the first; and whoever just comes. */
	for (i = 1; i < l->writers.len; i++)
		if (l->writers.at[i].thread == t && l->writers.at[0].thread != t)
			return false;
	return true;
}

bool lock_visit(const struct model *m, struct state *s, int t, int k)
{
	const struct op *op = m->op[t];
	struct lock *l = &s->lock;

	if (is_shared(op, k) && !m->program->lock.rw)
		return false;
	if (l->lost)
		return has_error(op, k, ENOTRECOVERABLE) && finish(s, t);
	if (lock_ready(m, s, t, &op->cases[k]))
		return acquired(m, s, t, k);
	if (!may_wait(op) || s->thread[t].visited & 1 << k)
		return false;
	queue_add(is_shared(op, k) ? &l->readers : &l->writers, t, k);
	s->thread[t].visited |= 1 << k;
	return true;
}

/* Nobody gets it any more. */
static bool lose(const struct model *m, struct state *s, struct queue *q)
{
	while (q->len) {
		int t = q->at[0].thread, k = q->at[0].index;

		if (did_case(m->op[t], k)) {
			if (!has_error(m->op[t], k, ENOTRECOVERABLE))
				return false;
			finish(s, t);
			continue;
		}
		queue_remove(q, t, k);
		s->thread[t].released = true;
	}
	return true;
}

bool lock_unlock(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct lock *l = &s->lock;
	bool shared = op->arg == CHANFD_SHARED;
	int error = denied(s, op, LOCK, shared ? R : W);

	if (!error && (shared ? !reads(l) : !l->writer))
		error = EPERM;
	if (op->ret != -error)
		return false;
	finish(s, t);
	if (error)
		return true;
	if (shared) {
		drop_reads(l, l->reads[t] ? t : l->reading[0], 1);
		return settle(m, s, false);
	}
	l->writer = 0;
	l->owner_dead = false;
	if (op->arg != CHANFD_GIVE_UP)
		return settle(m, s, true);
	l->lost = true;
	return lose(m, s, &l->writers) && lose(m, s, &l->readers);
}

bool lock_downgrade(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct lock *l = &s->lock;
	u8 right = s->thread[t].rights[LOCK];
	int error = !right ? EBADF : !m->program->lock.rw ? EINVAL :
		    right != RW || !l->writer ? EPERM : 0;

	if (op->ret != -error)
		return false;
	finish(s, t);
	if (error)
		return true;
	take(l, l->writer - 1, true);
	l->writer = 0;
	l->owner_dead = false;
	return settle(m, s, true);
}

/* The thread's process ends. */
bool lock_die(struct state *s, int t)
{
	struct lock *l = &s->lock;
	int i;

	if (l->writer == t + 1)
		l->writer = ghost(t) + 1;
	l->reads[ghost(t)] = l->reads[t];
	l->reads[t] = 0;
	for (i = 0; i < l->nr_reading; i++)
		if (l->reading[i] == t)
			l->reading[i] = ghost(t);
	return finish(s, t);
}

static bool is_haunted(const struct lock *l, int t)
{
	return l->writer == ghost(t) + 1 || l->reads[ghost(t)];
}

/* A death is noticed. */
bool lock_bury(const struct model *m, struct state *s, int t)
{
	struct lock *l = &s->lock;
	bool wrote = l->writer == ghost(t) + 1;

	l->dead++;
	if (wrote) {
		l->writer = 0;
		l->owner_dead = true;
	}
	if (l->reads[ghost(t)])
		drop_reads(l, ghost(t), l->reads[ghost(t)]);
	return settle(m, s, wrote);
}

int lock_steps(const struct state *s, struct step *steps)
{
	int t, n = 0;

	for (t = 0; t < THREADS; t++)
		if (is_haunted(&s->lock, t))
			steps[n++] = (struct step){ BURY, t };
	return n;
}

bool lock_rests(const struct state *s)
{
	struct step steps[THREADS];

	return !s->lock.admitted && !lock_steps(s, steps);
}

bool lock_poll(const struct model *m, const struct state *s, const struct op *op)
{
	const struct lock *l = &s->lock;
	u8 right = s->thread[op->thread].rights[LOCK];
	u32 events = l->owner_dead || l->lost ? POLLERR : 0;

	if (!l->lost && right & W && is_free(l))
		events |= POLLOUT;
	if (!l->lost && right & R && m->program->lock.rw && admits_readers(l))
		events |= POLLIN;
	if (lock_is_left(s, op->thread))
		events &= op->size | POLLERR;
	return op->size == events;
}

bool lock_info(const struct state *s, const struct op *op)
{
	const struct lock *l = &s->lock;
	const u32 info[] = {
		(l->writer ? CHANFD_LOCKED : 0) | (l->owner_dead ? CHANFD_OWNER_DEAD : 0) |
		(l->lost ? CHANFD_NOT_RECOVERABLE : 0),
		l->writer, reads(l), l->writers.len, l->readers.len, l->dead,
	};

	return !memcmp(op->info, info, sizeof(info));
}
