// SPDX-License-Identifier: GPL-2.0
/*
 * The reference.
 *
 * One step is one instant: it changes the state as the contract says, and an operation
 * that is finished by it must have had, when the program ran, the outcome that it has
 * here. If it had another one the step returns false, and so does a step that is not
 * possible now. The state after it is of no use then.
 *
 * An operation that waits does one of its cases, which is known from its outcome. Only
 * there it matters whether and since when it waits, unless it slept while everybody else
 * did: then it waits at all of its cases.
 */

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "../../uapi/chanfd.h"
#include "model.h"

static bool finish(struct state *s, int t)
{
	s->thread[t].phase = FINISHED;
	s->thread[t].visited = 0;
	return true;
}

static bool is_select(const struct op *op)
{
	return op->kind == OP_SELECT;
}

static bool waits(const struct op *op)
{
	return op->kind == OP_SEND || op->kind == OP_RECV || is_select(op);
}

static bool gave_up(const struct op *op)
{
	return op->ret == -EINTR || op->ret == -ETIMEDOUT;
}

/* Handles */

static int holders(const struct state *s, int obj, int right)
{
	int t, n = 0;

	for (t = 0; t < THREADS; t++)
		n += !!(s->thread[t].rights[obj] & right);
	return n;
}

/* What the thread may do with the object of a case. */
static u8 case_rights(const struct state *s, int t, const struct a_case *c)
{
	return c->op == CHANFD_CASE_POLL ? RW : s->thread[t].rights[c->obj];
}

/* The error of an operation that needs a right. */
static int denied(const struct state *s, const struct op *op, int obj, int right)
{
	u8 rights = s->thread[op->thread].rights[obj];

	return !rights ? EBADF : rights & right ? 0 : EPERM;
}

/* Queues */

static void enqueue(struct queue *q, int t, int index)
{
	q->at[q->len].thread = t;
	q->at[q->len++].index = index;
}

/* The thread leaves a queue, as case @index or, if that is -1, altogether. */
static void dequeue(struct queue *q, int t, int index)
{
	int i, n = 0;

	for (i = 0; i < q->len; i++)
		if (q->at[i].thread != t || (index >= 0 && q->at[i].index != index))
			q->at[n++] = q->at[i];
	memset(&q->at[n], 0, (q->len - n) * sizeof(q->at[0]));
	q->len = n;
}

static void leave_queues(struct state *s, int t)
{
	int i;

	for (i = 0; i < CHANNELS; i++) {
		dequeue(&s->channel[i].senders, t, -1);
		dequeue(&s->channel[i].receivers, t, -1);
	}
}

/* The first in the queue that is not of thread @t; -1: none. */
static int first_other(const struct queue *q, int t)
{
	int i;

	for (i = 0; i < q->len; i++)
		if (q->at[i].thread != t)
			return i;
	return -1;
}

/* Channels */

static int room(const struct model *m, const struct state *s, int ch)
{
	int left = m->program->channel[ch].capacity - s->channel[ch].len;

	return left > 0 ? left : 0;
}

static int send_error(const struct state *s, int ch)
{
	if (s->channel[ch].closed)
		return EPIPE;
	return holders(s, ch, R) ? 0 : ECONNRESET;
}

static bool at_end(const struct state *s, int ch)
{
	return s->channel[ch].closed || !holders(s, ch, W);
}

static int end_error(const struct state *s, int ch)
{
	return s->channel[ch].closed ? s->channel[ch].cause : ECONNRESET;
}

static struct message pop(struct channel *ch)
{
	struct message first = ch->message[0];

	ch->len--;
	memmove(ch->message, ch->message + 1, ch->len * sizeof(first));
	memset(&ch->message[ch->len], 0, sizeof(first));
	return first;
}

/* Messages are numbered as they are accepted. */
static struct message accept(struct channel *ch, const struct a_case *c, int nth)
{
	return (struct message){ c->value + nth, ch->sent++, c->size };
}

/* Did the operation fail in a way that a message handed to case @k would come back? */
static bool may_return(const struct op *op, int k)
{
	const struct a_case *c = &op->cases[k];

	if (c->op != CHANFD_CASE_RECV)
		return false;
	if (op->ret == -EFAULT)
		return is_select(op) ? c->bad : op->fault != NO_FAULT;
	if (op->ret == -EINTR)
		return true;
	if (is_select(op))
		return !op->ret && op->index == k && op->failed == EMSGSIZE;
	return op->ret == -EMSGSIZE;
}

/* Is it case @k that the operation did? */
static bool did_case(const struct op *op, int k)
{
	if (is_select(op))
		return !op->ret && op->index == k;
	return op->ret >= 0 || op->ret == -EPIPE || op->ret == -ECONNRESET ||
	       op->ret == -CAUSE_1 || op->ret == -CAUSE_2;
}

/* The outcome of case @k is an error, or an end if that is 0. */
static bool ended(struct state *s, int t, const struct op *op, int k, int error)
{
	if (is_select(op)) {
		if (op->told && (op->failed != error || op->ok))
			return false;
	} else if (op->ret != -error) {
		return false;
	}
	if (!did_case(op, k))
		return false;
	leave_queues(s, t);
	return finish(s, t);
}

/* The outcome of a sending case is that @n messages were sent, the first as @number. */
static bool sent(struct state *s, int t, const struct op *op, int k, int n, int number)
{
	if (!did_case(op, k) || (is_select(op) ? op->failed : op->ret != n))
		return false;
	if (op->has_number && op->number != (u64)number)
		return false;
	leave_queues(s, t);
	return finish(s, t);
}

/* The outcome of a receiving case is that these were received. */
static bool received(const struct model *m, struct state *s, int t, const struct op *op, int k,
		     const struct message *msg, int n)
{
	bool empty = !m->program->channel[op->cases[k].obj].elem_size;
	int i;

	if (!did_case(op, k) || (is_select(op) ? op->failed || !op->ok : op->ret != n))
		return false;
	if (op->has_number && op->number != msg[0].number)
		return false;
	for (i = 0; i < n && op->told; i++)
		if (op->sizes[i] != msg[i].size ||
		    (!empty && !(op->flags & NOWHERE) && op->value[i] != msg[i].value))
			return false;
	leave_queues(s, t);
	return finish(s, t);
}

/* Whoever waits at @at in the queue of receivers is handed a message. */
static bool hand(const struct model *m, struct state *s, int ch, int at, struct message msg)
{
	int t = s->channel[ch].receivers.at[at].thread;
	int k = s->channel[ch].receivers.at[at].index;
	struct thread *th = &s->thread[t];

	s->channel[ch].received++;
	if (may_return(m->op[t], k)) {
		leave_queues(s, t);
		th->phase = HANDED;
		th->visited = 0;
		th->handed = msg;
		th->from = ch;
		return true;
	}
	return received(m, s, t, m->op[t], k, &msg, 1);
}

/* How many messages one case moves at the most. */
static int case_count(const struct op *op)
{
	return is_select(op) ? 1 : op->count;
}

/* There is room: those who wait longest move in, with as many as fit. */
static bool refill(const struct model *m, struct state *s, int ch)
{
	struct channel *c = &s->channel[ch];

	while (c->senders.len && room(m, s, ch)) {
		int t = c->senders.at[0].thread, k = c->senders.at[0].index, n;
		const struct op *op = m->op[t];
		u8 number = c->sent;

		for (n = 0; n < case_count(op) && room(m, s, ch); n++)
			c->message[c->len++] = accept(c, &op->cases[k], n);
		if (!sent(s, t, op, k, n, number))
			return false;
	}
	return true;
}

static bool may_wait(const struct op *op)
{
	return !(op->flags & NONBLOCK) || (is_select(op) && op->count > 1);
}

static bool wait_for(struct state *s, int t, const struct op *op, struct queue *q, int k)
{
	if (!may_wait(op) || s->thread[t].visited & 1 << k)
		return false;
	enqueue(q, t, k);
	s->thread[t].visited |= 1 << k;
	return true;
}

static bool visit_send(const struct model *m, struct state *s, int t, int k)
{
	const struct op *op = m->op[t];
	const struct a_case *c = &op->cases[k];
	struct channel *ch = &s->channel[c->obj];
	int n = 0, number = ch->sent, error = send_error(s, c->obj), r;

	if (error)
		return ended(s, t, op, k, error);
	while (n < case_count(op) && (r = first_other(&ch->receivers, t)) >= 0)
		if (!hand(m, s, c->obj, r, accept(ch, c, n++)))
			return false;
	while (n < case_count(op) && room(m, s, c->obj))
		ch->message[ch->len++] = accept(ch, c, n++);
	if (n)
		return sent(s, t, op, k, n, number);
	return wait_for(s, t, op, &ch->senders, k);
}

/* The room that a receive has left for the next message. */
static bool fits(const struct model *m, const struct op *op, const struct a_case *c,
		 const struct message *msg, int n)
{
	const struct a_channel *ch = &m->program->channel[c->obj];
	int i, used = 0;

	if (op->flags & NOWHERE || !ch->variable)
		return true;
	for (i = 0; i < n; i++)
		used += msg[i].size;
	return used + msg[n].size <= c->size;
}

/* May a batch be received in part? A call that had to wait is given one message; where
 * memory is not present it ends.
 */
static bool may_stop(const struct op *op)
{
	return op->fault || (op->ret == 1 && may_wait(op));
}

/*
 * @together: bit n: after message n those who wait do not move in yet, but after the next
 * that is taken with it in one go. A buffer may have to be emptied in several; about that,
 * and so about how much of a waiting batch moves in, the contract is silent.
 */
static bool visit_recv(const struct model *m, struct state *s, int t, int k, int together)
{
	const struct op *op = m->op[t];
	const struct a_case *c = &op->cases[k];
	struct channel *ch = &s->channel[c->obj];
	struct message msg[BATCH + 1];
	int n = 0, peer;

	if (may_return(op, k)) {
		/* It takes what it then has to return. */
		if (!may_wait(op))
			return false;
		if (ch->len) {
			enqueue(&ch->receivers, t, k);
			return hand(m, s, c->obj, ch->receivers.len - 1, pop(ch)) &&
			       refill(m, s, c->obj);
		}
		peer = first_other(&ch->senders, t);
		if (peer >= 0) {
			int from = ch->senders.at[peer].thread;
			int index = ch->senders.at[peer].index;
			u8 number = ch->sent;

			enqueue(&ch->receivers, t, k);
			return hand(m, s, c->obj, ch->receivers.len - 1,
				    accept(ch, &m->op[from]->cases[index], 0)) &&
			       sent(s, from, m->op[from], index, 1, number);
		}
		if (at_end(s, c->obj))
			return false;
		return wait_for(s, t, op, &ch->receivers, k);
	}
	while (n < case_count(op)) {
		if (n && n == op->ret && may_stop(op)) {
			if (!refill(m, s, c->obj))
				return false;
			break;
		}
		if (ch->len) {
			msg[n] = ch->message[0];
			if (!fits(m, op, c, msg, n))
				goto out;
			pop(ch);
			ch->received++;
			/* This call has happened: its other cases are gone. */
			leave_queues(s, t);
			if ((!(together & 1 << n++) || n == case_count(op) || !ch->len) &&
			    !refill(m, s, c->obj))
				return false;
			continue;
		}
		peer = first_other(&ch->senders, t);
		if (peer < 0)
			break;
		struct a_case from = m->op[ch->senders.at[peer].thread]
					     ->cases[ch->senders.at[peer].index];
		u8 number = ch->sent;

		msg[n] = (struct message){ from.value, number, from.size };
		if (!fits(m, op, c, msg, n))
			goto out;
		n++;
		ch->sent++;
		ch->received++;
		peer = first_other(&ch->senders, t);
		if (!sent(s, ch->senders.at[peer].thread, m->op[ch->senders.at[peer].thread],
			  ch->senders.at[peer].index, 1, number))
			return false;
	}
out:
	if (n)
		return received(m, s, t, op, k, msg, n);
	if (ch->len || first_other(&ch->senders, t) >= 0)
		return false;	/* there is one that does not fit: FAIL */
	if (at_end(s, c->obj))
		return ended(s, t, op, k, end_error(s, c->obj));
	return wait_for(s, t, op, &ch->receivers, k);
}

/* All in a queue are let go, with an error; in whose turn does not matter. */
static bool let_go(const struct model *m, struct state *s, struct queue *q, int error)
{
	while (q->len) {
		int t = q->at[0].thread, k = q->at[0].index;
		const struct op *op = m->op[t];

		if (did_case(op, k)) {
			if (!ended(s, t, op, k, error))
				return false;
			continue;
		}
		/* It may still do something else, or withdraw, but not sleep on. */
		dequeue(q, t, k);
		s->thread[t].released = true;
	}
	return true;
}

static bool close_channel(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct channel *ch = &s->channel[op->obj];
	int error = denied(s, op, op->obj, W) ?: ch->closed ? EPIPE : 0;

	if (op->ret != -error)
		return false;
	if (!error) {
		ch->closed = true;
		ch->cause = op->arg;
		if (!let_go(m, s, &ch->senders, EPIPE) ||
		    !let_go(m, s, &ch->receivers, ch->cause))
			return false;
	}
	return finish(s, t);
}

/* Nobody has this right to the channel any more. */
static bool channel_lost(const struct model *m, struct state *s, int obj, u8 right)
{
	struct channel *ch = &s->channel[obj];

	if (right == W)
		return let_go(m, s, &ch->receivers, ECONNRESET);
	if (!let_go(m, s, &ch->senders, ECONNRESET))
		return false;
	ch->dropped += ch->len;
	ch->len = 0;
	memset(ch->message, 0, sizeof(ch->message));
	return true;
}

/* A message that could not be taken takes its place before those with higher numbers. */
static bool return_message(const struct model *m, struct state *s, int t)
{
	struct thread *th = &s->thread[t];
	const struct op *op = m->op[t];
	struct channel *ch = &s->channel[th->from];
	int i;

	if (op->ret == -EINTR && th->signal != 2)
		return false;
	if ((is_select(op) ? op->failed : -op->ret) == EMSGSIZE) {
		int k = is_select(op) ? op->index : 0;

		if (fits(m, op, &op->cases[k], &th->handed, 0))
			return false;
	}
	for (i = ch->len; i && ch->message[i - 1].number > th->handed.number; i--)
		ch->message[i] = ch->message[i - 1];
	ch->message[i] = th->handed;
	ch->len++;
	ch->received--;
	ch->returned++;
	memset(&th->handed, 0, sizeof(th->handed));
	while (ch->len && ch->receivers.len)
		if (!hand(m, s, th->from, 0, pop(ch)))
			return false;
	th->from = 0;
	return finish(s, t);
}

/* Waitgroups */

static bool may_go(const struct state *s, const struct a_case *c)
{
	return !s->group.count || (c->broken && c->known != s->group.broken);
}

static bool visit_wait(const struct model *m, struct state *s, int t, int k)
{
	const struct op *op = m->op[t];
	const struct group *g = &s->group;

	if (!may_go(s, &op->cases[k])) {
		if (s->thread[t].visited & 1 << k)
			return false;
		s->thread[t].visited |= 1 << k;
		return true;
	}
	if (!did_case(op, k) || op->failed != (g->broken ? EOWNERDEAD : 0) ||
	    op->size != g->broken || op->status != g->error || op->number != g->round)
		return false;
	leave_queues(s, t);
	return finish(s, t);
}

/* Whoever waited for this is told now, and not again. */
static bool group_changed(const struct model *m, struct state *s)
{
	int t, k;

	for (t = 0; t < THREADS; t++) {
		for (k = 0; k < CASES; k++) {
			const struct op *op = m->op[t];

			if (!(s->thread[t].visited & 1 << k) ||
			    op->cases[k].op != CHANFD_CASE_WAIT ||
			    !may_go(s, &op->cases[k]))
				continue;
			s->thread[t].visited &= ~(1 << k);
			if (!did_case(op, k))
				s->thread[t].released = true;
			else if (!visit_wait(m, s, t, k))
				return false;
		}
	}
	return true;
}

static bool count_up(struct group *g, int n)
{
	if (!g->count && n) {
		g->round++;
		g->broken = 0;
		g->error = 0;
	}
	g->count += n;
	return true;
}

static void count_down(struct group *g, int n, int broken, int error)
{
	g->count -= n;
	g->broken += broken;
	if (!g->error)
		g->error = error;
	if (!g->count) {
		g->tokens = 0;
		memset(g->token, 0, sizeof(g->token));
	}
}

/* A round that nobody is left to end has ended, and all that is owed is broken. */
static void end_if_stuck(struct state *s)
{
	struct group *g = &s->group;

	if (g->count && !holders(s, GROUP, W) && !g->tokens)
		count_down(g, g->count, g->count, 0);
}

static bool add(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct group *g = &s->group;
	int error = denied(s, op, GROUP, W) ?: g->count + op->arg < 0 ? ERANGE : 0;

	if (op->ret != -error)
		return false;
	if (!error && op->arg >= 0)
		count_up(g, op->arg);
	else if (!error)
		count_down(g, -op->arg, 0, op->error);
	if (!error && op->size != g->count)
		return false;
	finish(s, t);
	return group_changed(m, s);
}

static bool make_token(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct group *g = &s->group;
	int error = denied(s, op, GROUP, W);

	if (op->ret != -error)
		return false;
	if (!error) {
		count_up(g, 1);
		g->tokens++;
		g->token[op->arg] = g->round;
		g->made[op->arg] = true;
		g->auto_done[op->arg] = op->flags & AUTO_DONE;
	}
	return finish(s, t);
}

static bool token_done(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct group *g = &s->group;
	int error = !g->made[op->arg] ? EBADF : !g->token[op->arg] ? ERANGE : 0;

	if (op->ret != -error)
		return false;
	finish(s, t);
	if (error)
		return true;
	g->token[op->arg] = 0;
	g->tokens--;
	count_down(g, 1, 0, op->error);
	end_if_stuck(s);
	return group_changed(m, s);
}

static bool drop_token(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct group *g = &s->group;
	bool pending = g->token[op->arg];

	if (op->ret != (g->made[op->arg] ? 0 : -EBADF))
		return false;
	g->made[op->arg] = false;
	g->token[op->arg] = 0;
	finish(s, t);
	if (!pending)
		return true;
	g->tokens--;
	count_down(g, 1, !g->auto_done[op->arg], 0);
	end_if_stuck(s);
	return group_changed(m, s);
}

/* Contexts */

static struct context *context(struct state *s, int obj)
{
	return &s->context[obj - CONTEXT];
}

static const struct context *see_context(const struct state *s, int obj)
{
	return &s->context[obj - CONTEXT];
}

static void end_context(struct context *c, int error, int cause)
{
	if (c->error)
		return;
	c->error = error;
	c->cause = cause;
}

/* Is its parent done, and it is not? */
static bool can_inherit(const struct state *s, int obj)
{
	const struct context *c = see_context(s, obj);

	return c->made && !c->gone && !c->error && c->parent &&
	       see_context(s, c->parent)->error;
}

static void inherit(struct state *s, int obj)
{
	struct context *parent = context(s, context(s, obj)->parent);

	end_context(context(s, obj), parent->error, parent->cause);
}

static bool is_below(const struct state *s, int obj, int root)
{
	while (obj && obj != root)
		obj = see_context(s, obj)->parent;
	return obj == root;
}

static int children(const struct state *s, int obj)
{
	int i, n = 0;

	for (i = 0; i < CONTEXTS; i++)
		n += s->context[i].made && !s->context[i].gone && s->context[i].parent == obj;
	return n;
}

/* Does nobody refer to it any more? */
static bool can_leave(const struct state *s, int obj)
{
	const struct context *c = see_context(s, obj);

	return c->made && !c->gone && !holders(s, obj, RW) && !children(s, obj);
}

static bool visit_context(const struct model *m, struct state *s, int t, int k)
{
	const struct op *op = m->op[t];
	const struct a_case *c = &op->cases[k];
	const struct context *ctx = context(s, c->obj);
	bool ready = c->op == CHANFD_CASE_DONE ? ctx->error : !children(s, c->obj);

	if (!ready || !did_case(op, k) || op->failed)
		return false;
	if (c->op == CHANFD_CASE_DONE && op->status != ctx->cause)
		return false;
	leave_queues(s, t);
	return finish(s, t);
}

static bool cancel(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	int error = denied(s, op, op->obj, W);

	if (op->ret != -error)
		return false;
	if (error)
		return finish(s, t);
	end_context(context(s, op->obj), ECANCELED, op->arg ?: ECANCELED);
	s->thread[t].phase = APPLIED;
	return true;
}

/* All that is below a context that is done; of a new one, itself if it was born late. */
static bool reach(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	bool more = true;
	int c;

	while (more) {
		more = false;
		for (c = CONTEXT; c < OBJECTS; c++) {
			if (can_inherit(s, c) && is_below(s, c, op->obj)) {
				inherit(s, c);
				more = true;
			}
		}
	}
	if (op->kind == OP_DERIVE && op->deadline == PAST)
		end_context(context(s, op->obj), ETIMEDOUT, op->error ?: ETIMEDOUT);
	return finish(s, t);
}

static void make_context(struct state *s, int obj, const struct a_context *a)
{
	*context(s, obj) = (struct context){
		.made = true,
		.keep = a->keep,
		.soon = a->deadline == SOON,
		.deadline_cause = a->cause ?: ETIMEDOUT,
		.parent = a->parent,
	};
	if (can_inherit(s, obj))
		inherit(s, obj);
}

static bool derive(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct a_context a = {
		.parent = op->arg,
		.deadline = op->deadline,
		.cause = op->error,
		.keep = op->flags & KEEP_ALIVE,
	};
	int error = denied(s, op, op->arg, R);

	if (op->ret != -error)
		return false;
	if (error)
		return finish(s, t);
	make_context(s, op->obj, &a);
	s->thread[t].rights[op->obj] = RW;
	s->thread[t].phase = APPLIED;
	return true;
}

/* Handles */

/* What follows if nobody has a right to an object any more. */
static bool lost(const struct model *m, struct state *s, int obj, u8 right)
{
	if (obj < CHANNELS)
		return channel_lost(m, s, obj, right);
	if (right == R)
		return true;
	if (obj == GROUP) {
		end_if_stuck(s);
		return group_changed(m, s);
	}
	context(s, obj)->lost = !context(s, obj)->keep;
	return true;
}

static bool keep(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	u8 *rights = &s->thread[t].rights[op->obj], had = *rights;
	int right, error = !had ? EBADF : op->arg & ~had ? EPERM : 0;

	if (op->ret != -error)
		return false;
	finish(s, t);
	if (error)
		return true;
	*rights = op->arg;
	for (right = R; right <= W; right++)
		if (had & ~op->arg & right && !holders(s, op->obj, right) &&
		    !lost(m, s, op->obj, right))
			return false;
	return true;
}

/* All that looks */

/* What must be there, and what may be there because somebody waits. */
static bool poll_channel(const struct model *m, const struct state *s, const struct op *op)
{
	const struct channel *ch = &s->channel[op->obj];
	u8 right = s->thread[op->thread].rights[op->obj];
	bool quiet = op->thread == CONDUCTOR;
	u32 must = 0, may = 0;

	if (right & R) {
		bool in = ch->len || at_end(s, op->obj);

		must |= in || (quiet && ch->senders.len) ? POLLIN : 0;
		may |= quiet ? 0 : POLLIN;
		must |= at_end(s, op->obj) && !ch->closed ? POLLERR : 0;
	}
	if (right & W) {
		bool out = room(m, s, op->obj) || send_error(s, op->obj);

		must |= out || (quiet && ch->receivers.len) ? POLLOUT : 0;
		may |= quiet ? 0 : POLLOUT;
		must |= !holders(s, op->obj, R) ? POLLERR : 0;
	}
	/* Who drops the last receiving handle may not have emptied it yet. */
	if (ch->closed && !ch->len)
		*(quiet || holders(s, op->obj, R) ? &must : &may) |= POLLHUP;
	return (op->size & must) == must && !(op->size & ~(must | may));
}

static bool poll_object(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	u8 right = s->thread[t].rights[op->obj];
	bool same;

	if (op->ret != (right ? 0 : -EBADF))
		return false;
	if (!right)
		return finish(s, t);
	if (op->obj < CHANNELS) {
		same = poll_channel(m, s, op);
	} else if (!(right & R)) {
		same = !op->size;
	} else if (op->obj == GROUP) {
		same = op->size == (u32)((s->group.count ? 0 : POLLIN) |
					 (s->group.broken ? POLLERR : 0));
	} else {
		const struct context *c = context(s, op->obj);

		same = op->size == (u32)(!c->error ? 0 : POLLIN | POLLHUP |
					 (c->cause == EOWNERDEAD ? POLLERR : 0));
	}
	return same && finish(s, t);
}

static bool info_channel(const struct state *s, const struct op *op)
{
	const struct channel *ch = &s->channel[op->obj];
	u32 senders = holders(s, op->obj, W), receivers = holders(s, op->obj, R);
	u32 state = (ch->closed ? CHANFD_CLOSED : 0) | (senders ? 0 : CHANFD_NO_SENDERS) |
		    (receivers ? 0 : CHANFD_NO_RECEIVERS);
	const u32 info[] = {
		ch->len, state, ch->cause, senders, receivers, ch->senders.len,
		ch->receivers.len, ch->sent, ch->received, ch->returned, ch->dropped,
	};

	return !memcmp(op->info, info, sizeof(info));
}

static bool info_group(const struct state *s, const struct op *op)
{
	const struct group *g = &s->group;
	const u32 info[] = { g->round - !!g->count, g->count, g->tokens, g->broken, g->error };

	return !memcmp(op->info, info, sizeof(info));
}

/* Steps */

static bool case_ready(const struct model *m, const struct state *s, int t, int k)
{
	const struct a_case *c = &m->op[t]->cases[k];
	const struct channel *ch = &s->channel[c->obj % CHANNELS];

	if (!case_rights(s, t, c))
		return false;
	switch (c->op) {
	case CHANFD_CASE_SEND:
		return send_error(s, c->obj) || room(m, s, c->obj) ||
		       first_other(&ch->receivers, t) >= 0;
	case CHANFD_CASE_RECV:
		return ch->len || at_end(s, c->obj) || first_other(&ch->senders, t) >= 0;
	case CHANFD_CASE_WAIT:
		return may_go(s, c);
	case CHANFD_CASE_DONE:
		return see_context(s, c->obj)->error;
	case CHANFD_CASE_DRAINED:
		return !children(s, c->obj);
	}
	return s->event;
}

static int cases(const struct op *op)
{
	return is_select(op) ? op->count : 1;
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
		u8 needed = c->op == CHANFD_CASE_SEND ? W : R;

		if (!right) {
			/* A select's case that has no file is never ready. */
			if (!is_select(op) && error == EBADF)
				return true;
			continue;
		}
		if (error == EPERM && !(right & needed))
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
	for (k = 0; k < cases(op) && !right; k++) {
		const struct a_case *c = &op->cases[k];
		const struct channel *ch = &s->channel[c->obj % CHANNELS];
		int peer = first_other(&ch->senders, t);
		struct message msg;

		if (!may_return(op, k) || !(case_rights(s, t, c) & R))
			continue;
		if (ch->len) {
			msg = ch->message[0];
		} else if (peer >= 0) {
			const struct a_case *from = &m->op[ch->senders.at[peer].thread]
							 ->cases[ch->senders.at[peer].index];
			msg = (struct message){ from->value, ch->sent, from->size };
		} else {
			continue;
		}
		right = error == EFAULT || (error == EMSGSIZE && !fits(m, op, c, &msg, 0));
	}
	if (!right)
		return false;
	leave_queues(s, t);
	return finish(s, t);
}

static bool withdraw(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];

	if (op->early || (op->ret == -EINTR && !s->thread[t].signal))
		return false;
	if (!may_give_up(m, s, t))
		return false;
	leave_queues(s, t);
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
		return visit_send(m, s, t, k);
	case CHANFD_CASE_RECV:
		return visit_recv(m, s, t, k, step.together);
	case CHANFD_CASE_WAIT:
		return visit_wait(m, s, t, k);
	case CHANFD_CASE_DONE:
	case CHANFD_CASE_DRAINED:
		return visit_context(m, s, t, k);
	}
	if (!s->event || !did_case(op, k) || op->failed || op->size != POLLIN)
		return false;
	leave_queues(s, t);
	return finish(s, t);
}

static bool whole(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];

	switch (op->kind) {
	case OP_CLOSE:
		return close_channel(m, s, t);
	case OP_KEEP:
		return keep(m, s, t);
	case OP_ADD:
		return add(m, s, t);
	case OP_TOKEN:
		return make_token(m, s, t);
	case OP_DONE:
		return token_done(m, s, t);
	case OP_DROP_TOKEN:
		return drop_token(m, s, t);
	case OP_CANCEL:
		return cancel(m, s, t);
	case OP_DERIVE:
		return derive(m, s, t);
	case OP_POLL:
		return poll_object(m, s, t);
	case OP_INFO:
		if (op->ret || !(op->obj == GROUP ? info_group(s, op) : info_channel(s, op)))
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
		    context(s, op->limit)->error != -op->ret)
			return false;
		leave_queues(s, step.thread);
		return finish(s, step.thread);
	case RETURN:
		return return_message(m, s, step.thread);
	case REACH:
		return reach(m, s, step.thread);
	case LOSE:
		end_context(context(s, step.arg), ECANCELED, EOWNERDEAD);
		return true;
	case EXPIRE:
		end_context(context(s, step.arg), ETIMEDOUT,
			    context(s, step.arg)->deadline_cause);
		return true;
	case INHERIT:
		inherit(s, step.arg);
		return true;
	case LEAVE:
		context(s, step.arg)->gone = true;
		return true;
	}
	return false;
}

/* The steps that the operation of a thread may take, and that could agree with what
 * happened; likely ones first.
 */
static int thread_steps(const struct model *m, const struct state *s, int t, struct step *steps)
{
	const struct op *op = m->op[t];
	const struct thread *th = &s->thread[t];
	int k, n = 0;

	if (th->phase == HANDED)
		steps[n++] = (struct step){ RETURN, t };
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

		if (!case_rights(s, t, &op->cases[k]) || !(did_case(op, k) || may_return(op, k)))
			continue;
		if (op->kind == OP_RECV && op->ret > 1 && s->channel[op->obj].senders.len)
			together = (1 << (op->ret - 1)) - 1;
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
			     (releases && gave_up(op))))
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
	int n = quiet ? idle_steps(m, s, steps) : 0, t, c;

	n += thread_steps(m, s, first, steps + n);

	for (t = 0; t < THREADS; t++)
		if (t != first)
			n += thread_steps(m, s, t, steps + n);
	for (c = CONTEXT; c < OBJECTS; c++) {
		const struct context *ctx = see_context(s, c);

		if (!ctx->made)
			continue;
		if (can_inherit(s, c))
			steps[n++] = (struct step){ INHERIT, 0, c };
		if (!ctx->error && ctx->lost)
			steps[n++] = (struct step){ LOSE, 0, c };
		if (!ctx->error && ctx->soon)
			steps[n++] = (struct step){ EXPIRE, 0, c };
		if (can_leave(s, c))
			steps[n++] = (struct step){ LEAVE, 0, c };
	}
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
	 * one is no call, nor may it be to derive a context.
	 */
	if (th->signal && op->kind != OP_SIGNAL && op->kind != OP_DERIVE && th->age++ > 1) {
		th->signal = 0;
		th->age = 0;
	}
	if (op->garbled)
		return false;
	if (!waits(op) || !op->limit || !(s->thread[t].rights[op->limit] & R))
		return true;
	/* A call whose context is done fails before anything else is tried. */
	error = context(s, op->limit)->error;
	return !error || op->ret == -error || is_wrong(m, s, t, -op->ret) ||
	       (op->fault && op->ret < 0);
}

/* May those threads sleep now, and nothing be under way? */
bool model_quiet(const struct model *m, const struct state *s, u8 asleep)
{
	int t, k, c;

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
		    see_context(s, op->limit)->error)
			return false;
		for (k = 0; k < cases(op); k++)
			if (case_rights(s, t, &op->cases[k]) && !(th->visited & 1 << k) &&
			    (op->cases[k].op == CHANFD_CASE_SEND ||
			     op->cases[k].op == CHANFD_CASE_RECV ||
			     op->cases[k].op == CHANFD_CASE_WAIT))
				return false;
	}
	for (c = CONTEXT; c < OBJECTS; c++) {
		const struct context *ctx = see_context(s, c);

		if (!ctx->made)
			continue;
		if (can_inherit(s, c) || can_leave(s, c) ||
		    (!ctx->error && (ctx->lost || ctx->soon)))
			return false;
	}
	return true;
}

/* It, or what it is derived from: whose deadline comes first is what counts. */
static bool may_expire(const struct state *s, int obj)
{
	for (; obj; obj = see_context(s, obj)->parent)
		if (see_context(s, obj)->soon)
			return true;
	return false;
}

/* The objects as they were made, and who has handles. */
void model_start(const struct program *p, struct state *s)
{
	int t, c;

	memset(s, 0, sizeof(*s));
	for (t = 0; t < THREADS; t++)
		memcpy(s->thread[t].rights, p->rights[t], sizeof(s->thread[t].rights));
	for (c = 0; c < p->contexts; c++) {
		make_context(s, CONTEXT + c, &p->context[c]);
		s->context[c].soon |= p->context[c].deadline == PAST;
		if (p->context[c].deadline == PAST && !may_expire(s, p->context[c].parent))
			end_context(&s->context[c], ETIMEDOUT, s->context[c].deadline_cause);
		s->context[c].lost = !p->context[c].keep && !holders(s, CONTEXT + c, W);
	}
}
