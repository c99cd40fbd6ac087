// SPDX-License-Identifier: GPL-2.0
/* What may happen next: the steps of operations, and of time. */

#include "state.h"

static bool poll_object(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	u8 right = s->thread[t].rights[op->obj];
	bool same;

	if (op->ret != (right ? 0 : -EBADF))
		return false;
	if (!right)
		return finish(s, t);
	if (op->obj < CHANNELS)
		same = channel_poll(m, s, op);
	else if (op->obj == LOCK)
		same = lock_poll(m, s, op);
	else if (!(right & R))
		same = !op->size;
	else if (op->obj == GROUP)
		same = group_poll(s, op);
	else if (op->obj == CELL)
		same = cell_poll(s, op);
	else
		same = context_poll(s, op);
	return same && finish(s, t);
}

static bool case_ready(const struct model *m, const struct state *s, int t, int k)
{
	const struct a_case *c = &m->op[t]->cases[k];

	if (!case_rights(s, t, c))
		return false;
	switch (c->op) {
	case CHANFD_CASE_SEND:
	case CHANFD_CASE_RECV:
		return channel_ready(m, s, t, c);
	case CHANFD_CASE_WAIT:
		return group_may_go(s, c);
	case CHANFD_CASE_DONE:
	case CHANFD_CASE_DRAINED:
		return context_ready(s, c);
	case CHANFD_CASE_CHANGED:
		return cell_ready(s, c);
	case CHANFD_CASE_LOCK:
	case CHANFD_CASE_READ_LOCK:
		return lock_ready(m, s, t, c);
	}
	return s->event;
}

static bool any_ready(const struct model *m, const struct state *s, int t)
{
	int k;

	for (k = 0; k < cases(m->op[t]); k++)
		if (case_ready(m, s, t, k))
			return true;
	return false;
}

/*
 * May it give up now? Not if it could go ahead; but who is let go by a close, or by what
 * else lets all go who wait, may still give up before it is told.
 */
static bool may_give_up(const struct model *m, const struct state *s, int t)
{
	const struct op *op = m->op[t];
	int k;

	if (s->thread[t].released)
		return true;
	for (k = 0; k < cases(op); k++) {
		u8 type = op->cases[k].op;

		if (gave_up(op) && (type == CHANFD_CASE_DONE || type == CHANFD_CASE_DRAINED ||
				    type == CHANFD_CASE_POLL))
			continue;
		if (type == CHANFD_CASE_LOCK && lock_is_left(s, t))
			continue;
		if (case_ready(m, s, t, k))
			return false;
	}
	return true;
}

/* Does the operation fail with @error before it looks at anything? */
static bool is_wrong(const struct model *m, const struct state *s, int t, int error)
{
	const struct op *op = m->op[t];
	int k;

	if (error == EPERM && op->limit && s->thread[t].rights[op->limit] == W)
		return true;
	for (k = 0; k < cases(op); k++) {
		const struct a_case *c = &op->cases[k];
		const struct a_channel *ch = &m->program->channel[c->obj % CHANNELS];
		u8 right = case_rights(s, t, c);
		u8 needed = c->op == CHANFD_CASE_SEND || c->op == CHANFD_CASE_LOCK ? W : R;

		if (!right) {
			/* A select's case that has no file is never ready. */
			if (!is_select(op) && error == EBADF)
				return true;
			continue;
		}
		if (error == EPERM && !(right & needed))
			return true;
		if (error == EINVAL && c->op == CHANFD_CASE_READ_LOCK && !m->program->lock.rw)
			return true;
		if (error == EBADF && op->flags & FILE_CALL && !(right & needed))
			return true;
		if (error == EFAULT && c->op == CHANFD_CASE_SEND && c->bad)
			return true;
		if (error != EMSGSIZE)
			continue;
		if (c->op == CHANFD_CASE_SEND &&
		    (ch->variable ? !c->size || c->size > ch->elem_size : c->size != ch->elem_size))
			return true;
		if (c->op == CHANFD_CASE_RECV && !ch->variable && !(op->flags & NOWHERE) &&
		    c->size < ch->elem_size)
			return true;
		if (op->flags & FILE_CALL && !ch->elem_size)
			return true;
	}
	return false;
}

/* A failure that has no effect, but for a receive at case @k. */
static bool fail(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	int k, error = -op->ret;
	bool right = is_wrong(m, s, t, error);

	if (op->fault != NO_FAULT && (error == EFAULT || error == ENOMEM || error == EINTR))
		right = true;
	if (is_select(op) && !op->ret)
		error = op->failed;
	for (k = 0; k < cases(op) && !right; k++)
		right = channel_fails(m, s, t, k, error);
	if (!right)
		return false;
	return finish(s, t);
}

static bool withdraw(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];

	if (op->early || (op->ret == -EINTR && !s->thread[t].signal))
		return false;
	if (!may_give_up(m, s, t))
		return false;
	return finish(s, t);
}

static bool visit(const struct model *m, struct state *s, struct step step)
{
	const struct op *op = m->op[step.thread];
	int t = step.thread, k = step.arg;

	if (is_wrong(m, s, t, -op->ret))
		return false;
	if (s->thread[t].visited & 1 << k && !case_ready(m, s, t, k))
		return false;
	switch (op->cases[k].op) {
	case CHANFD_CASE_SEND:
		return channel_send(m, s, t, k);
	case CHANFD_CASE_RECV:
		return channel_recv(m, s, t, k, step.together);
	case CHANFD_CASE_WAIT:
		return group_wait(m, s, t, k);
	case CHANFD_CASE_DONE:
	case CHANFD_CASE_DRAINED:
		return context_visit(m, s, t, k);
	case CHANFD_CASE_CHANGED:
		return cell_wait(m, s, t, k);
	case CHANFD_CASE_LOCK:
	case CHANFD_CASE_READ_LOCK:
		return lock_visit(m, s, t, k);
	}
	if (!s->event || !did_case(op, k) || op->failed || op->size != POLLIN)
		return false;
	return finish(s, t);
}

static bool is_info(const struct model *m, const struct state *s, const struct op *op)
{
	if (op->obj < CHANNELS)
		return channel_info(s, op);
	if (op->obj == LOCK)
		return lock_info(s, op);
	return op->obj == GROUP ? group_info(s, op) : cell_info(m, s, op);
}

static bool whole(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];

	switch (op->kind) {
	case OP_CLOSE:
		return channel_close(m, s, t);
	case OP_KEEP:
		return keep(m, s, t);
	case OP_ADD:
		return group_add(m, s, t);
	case OP_TOKEN:
		return group_token(m, s, t);
	case OP_DONE:
		return group_done(m, s, t);
	case OP_DROP_TOKEN:
		return group_drop_token(m, s, t);
	case OP_CANCEL:
		return context_cancel(m, s, t);
	case OP_DERIVE:
		return context_derive(m, s, t);
	case OP_POLL:
		return poll_object(m, s, t);
	case OP_COMMIT:
		return channel_commit(m, s, t);
	case OP_DROP_LEASE:
		return channel_drop_lease(m, s, t);
	case OP_LOAD:
		return cell_load(m, s, t);
	case OP_STORE:
		return cell_store(m, s, t);
	case OP_READ:
		return cell_read(m, s, t);
	case OP_UNLOCK:
		return lock_unlock(m, s, t);
	case OP_DOWNGRADE:
		return lock_downgrade(m, s, t);
	case OP_DIE:
		return lock_die(s, t);
	case OP_INFO:
		if (op->ret || !is_info(m, s, op))
			return false;
		break;
	case OP_SIGNAL:
		if (s->thread[op->obj].signal < 1 + op->arg)
			s->thread[op->obj].signal = 1 + op->arg;
		s->thread[op->obj].age = 0;
		break;
	case OP_EVENT:
		s->event = true;
		break;
	}
	return finish(s, t);
}

/* Does the step; false if it can't be, or was not what happened. */
bool model_step(const struct model *m, struct state *s, struct step step)
{
	const struct op *op = m->op[step.thread];

	switch (step.type) {
	case VISIT:
		return visit(m, s, step);
	case WHOLE:
		return whole(m, s, step.thread);
	case FAIL:
		return fail(m, s, step.thread);
	case WITHDRAW:
		return withdraw(m, s, step.thread);
	case LIMIT:
		if (!(s->thread[step.thread].rights[op->limit] & R) ||
		    context_error(s, op->limit) != -op->ret)
			return false;
		return finish(s, step.thread);
	case RETURN:
		return channel_return(m, s, step.thread);
	case LEFT:
		return lock_left(m, s, step.thread);
	case UNDO:
		return lock_undo(m, s, step.thread);
	case REACH:
		return context_reach(m, s, step.thread);
	case BURY:
		return lock_bury(m, s, step.thread);
	default:
		return context_step(s, step);
	}
}

/* The steps that the operation of a thread may take, and that could agree with what
 * happened; likely ones first.
 */
static int thread_steps(const struct model *m, const struct state *s, int t, struct step *steps)
{
	const struct op *op = m->op[t];
	const struct thread *th = &s->thread[t];
	int k, n = 0;

	if (th->leaves)
		steps[n++] = (struct step){ LEFT, t };
	if (th->phase == HANDED)
		steps[n++] = (struct step){ RETURN, t };
	if (th->phase == GRANTED)
		steps[n++] = (struct step){ UNDO, t };
	if (th->phase == APPLIED)
		steps[n++] = (struct step){ REACH, t };
	if (th->phase != ACTIVE)
		return n;
	if (!waits(op)) {
		steps[n++] = (struct step){ WHOLE, t };
		return n;
	}
	for (k = 0; k < cases(op); k++) {
		int together = 0;

		if (!case_rights(s, t, &op->cases[k]) ||
		    !(did_case(op, k) || may_return(op, k) || may_undo(op, k)))
			continue;
		if (op->kind == OP_RECV && op->ret > 1 && s->channel[op->obj].senders.len)
			together = (1 << (op->ret - 1)) - 1;
		if (op->flags & LEASED && may_return(op, k))
			together = op->count - 1;
		for (; together >= 0; together--)
			steps[n++] = (struct step){ VISIT, t, k, together };
	}
	if (op->ret < 0 || (is_select(op) && op->failed == EMSGSIZE))
		steps[n++] = (struct step){ FAIL, t };
	if (op->ret == -EINTR || (op->ret == -EAGAIN && op->flags & NONBLOCK) ||
	    (op->ret == -ETIMEDOUT && op->deadline != NEVER))
		steps[n++] = (struct step){ WITHDRAW, t };
	if (op->limit && (op->ret == -ECANCELED || op->ret == -ETIMEDOUT))
		steps[n++] = (struct step){ LIMIT, t };
	return n;
}

/* Does somebody receive who may find out who waits without taking a message? */
static bool somebody_probes(const struct model *m, const struct state *s)
{
	int t, k;

	for (t = 0; t < WORKERS; t++)
		for (k = 0; s->thread[t].phase == ACTIVE && k < cases(m->op[t]); k++)
			if (may_return(m->op[t], k))
				return true;
	return false;
}

/* Does somebody let those go who wait? They may give up before it is their turn. */
static bool somebody_releases(const struct model *m, const struct state *s)
{
	int t;

	for (t = 0; t < THREADS; t++)
		if (s->thread[t].phase == ACTIVE && !waits(m->op[t]))
			return true;
	return false;
}

/* Does it keep others away just by waiting? */
static bool is_pending_writer(const struct model *m, const struct a_case *c)
{
	return m->program->lock.rw &&
	       (c->op == CHANFD_CASE_LOCK || c->op == CHANFD_CASE_READ_LOCK);
}

/*
 * To wait where nothing comes of it. That matters only if others can know: all slept
 * meanwhile, or somebody found a sender and then could not take its message; or if it had
 * to be let go, and was not yet.
 */
static int idle_steps(const struct model *m, const struct state *s, struct step *steps)
{
	bool probed = somebody_probes(m, s), releases = somebody_releases(m, s);
	int t, k, n = 0;

	for (t = 0; t < WORKERS; t++) {
		const struct op *op = m->op[t];

		if (s->thread[t].phase != ACTIVE || !waits(op))
			continue;
		for (k = 0; k < cases(op); k++) {
			const struct a_case *c = &op->cases[k];

			if (case_rights(s, t, c) && !did_case(op, k) && !may_return(op, k) &&
			    !(s->thread[t].visited & 1 << k) &&
			    (op->slept || (probed && c->op == CHANFD_CASE_SEND) ||
			     (releases && gave_up(op)) || is_pending_writer(m, c)))
				steps[n++] = (struct step){ VISIT, t, k, 0 };
		}
	}
	return n;
}

/* The steps to try next: first those of a thread that is to finish, or, if all are to be
 * @quiet, those that do nothing but wait.
 */
int model_steps(const struct model *m, const struct state *s, int first, bool quiet,
		struct step *steps)
{
	int n = quiet ? idle_steps(m, s, steps) : 0, t;

	n += thread_steps(m, s, first, steps + n);

	for (t = 0; t < THREADS; t++)
		if (t != first)
			n += thread_steps(m, s, t, steps + n);
	n += context_steps(s, steps + n);
	n += lock_steps(s, steps + n);
	return quiet ? n : n + idle_steps(m, s, steps + n);
}

/* The thread begins an operation; false if that must have had another outcome. */
bool model_begin(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct thread *th = &s->thread[t];
	int error;

	th->phase = ACTIVE;
	th->visited = 0;
	th->released = false;
	/* It is pending until the end of a call: this one, if it came after the last. To send
	 * one is no call, nor to read a page or to die; to derive a context may be none.
	 */
	if (th->signal && op->kind != OP_SIGNAL && op->kind != OP_READ &&
	    op->kind != OP_DIE && op->kind != OP_DERIVE && th->age++ > 1) {
		th->signal = 0;
		th->age = 0;
	}
	if (op->garbled)
		return false;
	if (!waits(op) || !op->limit || !(s->thread[t].rights[op->limit] & R))
		return true;
	/* A call whose context is done fails before anything else is tried. */
	error = context_error(s, op->limit);
	return !error || op->ret == -error || is_wrong(m, s, t, -op->ret) ||
	       (op->fault && op->ret < 0);
}

/* May those threads sleep now, and nothing be under way? */
bool model_quiet(const struct model *m, const struct state *s, u8 asleep)
{
	int t, k;

	for (t = 0; t < WORKERS; t++) {
		const struct thread *th = &s->thread[t];
		const struct op *op = m->op[t];

		if (!(asleep & 1 << t)) {
			if (th->phase != IDLE)
				return false;
			continue;
		}
		if (th->phase != ACTIVE || th->released || any_ready(m, s, t))
			return false;
		if (op->limit && s->thread[t].rights[op->limit] & R &&
		    context_error(s, op->limit))
			return false;
		for (k = 0; k < cases(op); k++)
			if (case_rights(s, t, &op->cases[k]) && !(th->visited & 1 << k) &&
			    (op->cases[k].op == CHANFD_CASE_SEND ||
			     op->cases[k].op == CHANFD_CASE_RECV ||
			     op->cases[k].op == CHANFD_CASE_WAIT ||
			     op->cases[k].op == CHANFD_CASE_CHANGED ||
			     op->cases[k].op == CHANFD_CASE_LOCK ||
			     op->cases[k].op == CHANFD_CASE_READ_LOCK))
				return false;
	}
	return contexts_rest(s) && lock_rests(s);
}

/* The objects as they were made, and who has handles. */
void model_start(const struct program *p, struct state *s)
{
	int t;

	memset(s, 0, sizeof(*s));
	for (t = 0; t < THREADS; t++)
		memcpy(s->thread[t].rights, p->rights[t], sizeof(s->thread[t].rights));
	context_start(p, s);
}
