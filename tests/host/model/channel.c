// SPDX-License-Identifier: GPL-2.0
/* Channels. */

#include "state.h"

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
	return (s->channel[ch].closed || !holders(s, ch, W)) && !s->channel[ch].leased;
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
	return (struct message){ .value = c->value + nth, .number = ch->sent++, .size = c->size };
}

/* Did the operation fail in a way that a message handed to case @k would come back? */
bool may_return(const struct op *op, int k)
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
	return finish(s, t);
}

/* The outcome of a sending case is that @n messages were sent, the first as @number. */
static bool sent(struct state *s, int t, const struct op *op, int k, int n, int number)
{
	if (!did_case(op, k) || (is_select(op) ? op->failed : op->ret != n))
		return false;
	if (op->has_number && op->number != (u64)number)
		return false;
	return finish(s, t);
}

/* The outcome of a receiving case is that these were received. */
static bool received(const struct model *m, struct state *s, int t, const struct op *op, int k,
		     const struct message *msg, int n)
{
	bool empty = !m->program->channel[op->cases[k].obj].elem_size;
	struct thread *th = &s->thread[t];
	int i;

	if (!did_case(op, k) || (is_select(op) ? op->failed || !op->ok : op->ret != n))
		return false;
	if (op->has_number && op->number != msg[0].number)
		return false;
	if (op->kind == OP_RECV && op->has_number && op->returned != msg[0].returned)
		return false;
	for (i = 0; i < n && op->told; i++)
		if (op->sizes[i] != msg[i].size ||
		    (!empty && !(op->flags & NOWHERE) && op->value[i] != msg[i].value))
			return false;
	if (op->flags & LEASED) {
		memcpy(&th->lease[th->nr_lease], msg, n * sizeof(*msg));
		th->nr_lease += n;
	}
	return finish(s, t);
}

/* Messages have been taken. */
static void consumed(struct channel *ch, const struct op *op, int n)
{
	if (op->flags & LEASED)
		ch->leased += n;
	else
		ch->received += n;
}

/* The thread gets a message that it will have to return. */
static void take_in_vain(struct state *s, int t, int ch, struct message msg)
{
	struct thread *th = &s->thread[t];

	leave_queues(s, t);
	th->phase = HANDED;
	th->visited = 0;
	th->handed[th->nr_handed++] = msg;
	th->from = ch;
}

/* Whoever waits at @at in the queue of receivers is handed a message. */
static bool hand(const struct model *m, struct state *s, int ch, int at, struct message msg)
{
	int t = s->channel[ch].receivers.at[at].thread;
	int k = s->channel[ch].receivers.at[at].index;

	consumed(&s->channel[ch], m->op[t], 1);
	if (may_return(m->op[t], k)) {
		take_in_vain(s, t, ch, msg);
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

/* Could the case be done now? */
bool channel_ready(const struct model *m, const struct state *s, int t, const struct a_case *c)
{
	const struct channel *ch = &s->channel[c->obj];

	if (c->op == CHANFD_CASE_SEND)
		return send_error(s, c->obj) || room(m, s, c->obj) ||
		       queue_first_other(&ch->receivers, t) >= 0;
	return ch->len || at_end(s, c->obj) || queue_first_other(&ch->senders, t) >= 0;
}

static bool wait_for(struct state *s, int t, const struct op *op, struct queue *q, int k)
{
	if (!may_wait(op) || s->thread[t].visited & 1 << k)
		return false;
	queue_add(q, t, k);
	s->thread[t].visited |= 1 << k;
	return true;
}

bool channel_send(const struct model *m, struct state *s, int t, int k)
{
	const struct op *op = m->op[t];
	const struct a_case *c = &op->cases[k];
	struct channel *ch = &s->channel[c->obj];
	int n = 0, number = ch->sent, error = send_error(s, c->obj), r;

	if (error)
		return ended(s, t, op, k, error);
	while (n < case_count(op) && (r = queue_first_other(&ch->receivers, t)) >= 0)
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
 * memory is not present, or the next one was not foreseen by a lease, it ends.
 */
static bool may_stop(const struct op *op)
{
	return op->fault || (op->ret == 1 && may_wait(op)) || op->flags & LEASED;
}

/* It takes what it then has to return: one message, or @most if they were to be leased. */
static bool visit_in_vain(const struct model *m, struct state *s, int t, int k, int most)
{
	const struct op *op = m->op[t];
	const struct a_case *c = &op->cases[k];
	struct channel *ch = &s->channel[c->obj];
	int n;

	if (!may_wait(op) && !(op->flags & LEASED))
		return false;
	for (n = 0; n < most; n++) {
		int peer = queue_first_other(&ch->senders, t);

		if (ch->len) {
			consumed(ch, op, 1);
			take_in_vain(s, t, c->obj, pop(ch));
			if (!refill(m, s, c->obj))
				return false;
		} else if (peer >= 0) {
			int from = ch->senders.at[peer].thread;
			int index = ch->senders.at[peer].index;
			u8 number = ch->sent;

			consumed(ch, op, 1);
			take_in_vain(s, t, c->obj, accept(ch, &m->op[from]->cases[index], 0));
			if (!sent(s, from, m->op[from], index, 1, number))
				return false;
		} else {
			break;
		}
	}
	if (n)
		return true;
	return !at_end(s, c->obj) && wait_for(s, t, op, &ch->receivers, k);
}

/*
 * @together: of what is received, bit n: after message n those who wait do not move in
 * yet, but after the next that is taken with it in one go. A buffer may have to be emptied
 * in several; about that, and so about how much of a waiting batch moves in, the contract
 * is silent.
 */
bool channel_recv(const struct model *m, struct state *s, int t, int k, int together)
{
	const struct op *op = m->op[t];
	const struct a_case *c = &op->cases[k];
	struct channel *ch = &s->channel[c->obj];
	struct message msg[BATCH + 1];
	int n = 0, peer;

	if (may_return(op, k))
		return visit_in_vain(m, s, t, k, together + 1);
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
			consumed(ch, op, 1);
			/* This call has happened: its other cases are gone. */
			leave_queues(s, t);
			if ((!(together & 1 << n++) || n == case_count(op) || !ch->len) &&
			    !refill(m, s, c->obj))
				return false;
			continue;
		}
		peer = queue_first_other(&ch->senders, t);
		if (peer < 0)
			break;
		struct a_case from = m->op[ch->senders.at[peer].thread]
					     ->cases[ch->senders.at[peer].index];
		u8 number = ch->sent;

		msg[n] = (struct message){
			.value = from.value,
			.number = number,
			.size = from.size,
		};
		if (!fits(m, op, c, msg, n))
			goto out;
		n++;
		ch->sent++;
		consumed(ch, op, 1);
		peer = queue_first_other(&ch->senders, t);
		if (!sent(s, ch->senders.at[peer].thread, m->op[ch->senders.at[peer].thread],
			  ch->senders.at[peer].index, 1, number))
			return false;
	}
out:
	if (n)
		return received(m, s, t, op, k, msg, n);
	if (ch->len || queue_first_other(&ch->senders, t) >= 0)
		return false;	/* there is one that does not fit: FAIL */
	if (at_end(s, c->obj))
		return ended(s, t, op, k, end_error(s, c->obj));
	return wait_for(s, t, op, &ch->receivers, k);
}

/* Is there a message for case @k that it can't take, which fails with @error? */
bool channel_fails(const struct model *m, const struct state *s, int t, int k, int error)
{
	const struct op *op = m->op[t];
	const struct a_case *c = &op->cases[k];
	const struct channel *ch;
	struct message msg;
	int peer;

	if (!may_return(op, k) || !(case_rights(s, t, c) & R))
		return false;
	ch = &s->channel[c->obj];
	peer = queue_first_other(&ch->senders, t);
	if (ch->len) {
		msg = ch->message[0];
	} else if (peer >= 0) {
		const struct a_case *from = &m->op[ch->senders.at[peer].thread]
						 ->cases[ch->senders.at[peer].index];
		msg = (struct message){
			.value = from->value,
			.number = ch->sent,
			.size = from->size,
		};
	} else {
		return false;
	}
	return error == EFAULT || (error == EMSGSIZE && !fits(m, op, c, &msg, 0));
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
		queue_remove(q, t, k);
		s->thread[t].released = true;
	}
	return true;
}

/* No message will come any more. */
static bool end_receivers(const struct model *m, struct state *s, int ch)
{
	return s->channel[ch].len || !at_end(s, ch) ||
	       let_go(m, s, &s->channel[ch].receivers, end_error(s, ch));
}

bool channel_close(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct channel *ch = &s->channel[op->obj];
	int error = denied(s, op, op->obj, W) ?: ch->closed ? EPIPE : 0;

	if (op->ret != -error)
		return false;
	if (!error) {
		ch->closed = true;
		ch->cause = op->arg;
		if (!let_go(m, s, &ch->senders, EPIPE) || !end_receivers(m, s, op->obj))
			return false;
	}
	return finish(s, t);
}

/* Nobody has this right to the channel any more. */
bool channel_lost(const struct model *m, struct state *s, int obj, u8 right)
{
	struct channel *ch = &s->channel[obj];

	if (right == W)
		return end_receivers(m, s, obj);
	if (!let_go(m, s, &ch->senders, ECONNRESET))
		return false;
	ch->dropped += ch->len;
	ch->len = 0;
	memset(ch->message, 0, sizeof(ch->message));
	return true;
}

/* Messages come back, and take their places before those with higher numbers. */
static bool come_back(const struct model *m, struct state *s, int obj,
		      const struct message *msg, int n)
{
	struct channel *ch = &s->channel[obj];
	int i;

	ch->returned += n;
	if (!holders(s, obj, R)) {
		ch->dropped += n;
		n = 0;
	}
	for (; n; n--, msg++) {
		for (i = ch->len; i && ch->message[i - 1].number > msg->number; i--)
			ch->message[i] = ch->message[i - 1];
		ch->message[i] = *msg;
		ch->len++;
	}
	while (ch->len && ch->receivers.len)
		if (!hand(m, s, obj, 0, pop(ch)))
			return false;
	return end_receivers(m, s, obj);
}

/* What could not be taken comes back. */
bool channel_return(const struct model *m, struct state *s, int t)
{
	struct thread *th = &s->thread[t];
	const struct op *op = m->op[t];
	struct channel *ch = &s->channel[th->from];
	struct message msg[LEASED_MOST];
	int n = th->nr_handed, from = th->from;

	if (op->ret == -EINTR && th->signal != 2)
		return false;
	if ((is_select(op) ? op->failed : -op->ret) == EMSGSIZE) {
		int k = is_select(op) ? op->index : 0;

		if (fits(m, op, &op->cases[k], &th->handed[0], 0))
			return false;
	}
	memcpy(msg, th->handed, sizeof(msg));
	memset(th->handed, 0, sizeof(th->handed));
	th->nr_handed = 0;
	th->from = 0;
	if (op->flags & LEASED)
		ch->leased -= n;
	else
		ch->received -= n;
	finish(s, t);
	return come_back(m, s, from, msg, n);
}

/* Leases: all are of the first channel */

/* Takes what is in the thread's lease; how many messages. */
static int empty_lease(struct state *s, int t, struct message *msg)
{
	struct thread *th = &s->thread[t];
	int n = th->nr_lease;

	memcpy(msg, th->lease, sizeof(th->lease));
	memset(th->lease, 0, sizeof(th->lease));
	th->nr_lease = 0;
	s->channel[0].leased -= n;
	return n;
}

bool channel_commit(const struct model *m, struct state *s, int t)
{
	struct message msg[IN_LEASES];
	int n = empty_lease(s, t, msg);

	if (m->op[t]->ret != (n ? 0 : -EBADF))
		return false;
	s->channel[0].received += n;
	finish(s, t);
	return end_receivers(m, s, 0);
}

bool channel_drop_lease(const struct model *m, struct state *s, int t)
{
	struct message msg[IN_LEASES];
	int i, n = empty_lease(s, t, msg);

	if (m->op[t]->ret != (n ? 0 : -EBADF))
		return false;
	for (i = 0; i < n; i++)
		msg[i].returned++;
	finish(s, t);
	return !n || come_back(m, s, 0, msg, n);
}

/* What must be there, and what may be there because somebody waits. */
bool channel_poll(const struct model *m, const struct state *s, const struct op *op)
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
	if (ch->closed && !ch->len && !ch->leased)
		*(quiet || holders(s, op->obj, R) ? &must : &may) |= POLLHUP;
	return (op->size & must) == must && !(op->size & ~(must | may));
}

bool channel_info(const struct state *s, const struct op *op)
{
	const struct channel *ch = &s->channel[op->obj];
	u32 senders = holders(s, op->obj, W), receivers = holders(s, op->obj, R);
	u32 state = (ch->closed ? CHANFD_CLOSED : 0) | (senders ? 0 : CHANFD_NO_SENDERS) |
		    (receivers ? 0 : CHANFD_NO_RECEIVERS);
	const u32 info[] = {
		ch->len, state, ch->cause, senders, receivers, ch->senders.len,
		ch->receivers.len, ch->sent, ch->received, ch->returned, ch->dropped,
		ch->leased,
	};

	return !memcmp(op->info, info, sizeof(info));
}
