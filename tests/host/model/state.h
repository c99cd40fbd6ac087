/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the reference have in common. Each object has a file of its own; it
 * knows which steps there are at that object, and what a step does. steps.c knows what an
 * operation may do next.
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
#ifndef _MODEL_STATE_H
#define _MODEL_STATE_H

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "../../../uapi/chanfd.h"
#include "../model.h"

/* Operations */

static inline bool is_select(const struct op *op)
{
	return op->kind == OP_SELECT;
}

static inline bool waits(const struct op *op)
{
	return op->kind == OP_SEND || op->kind == OP_RECV || op->kind == OP_LOCK ||
	       is_select(op);
}

static inline int cases(const struct op *op)
{
	return is_select(op) ? op->count : 1;
}

static inline bool may_wait(const struct op *op)
{
	return !(op->flags & NONBLOCK) || (is_select(op) && op->count > 1);
}

static inline bool gave_up(const struct op *op)
{
	return op->ret == -EINTR || op->ret == -ETIMEDOUT;
}

/* Is it case @k that the operation did? */
static inline bool did_case(const struct op *op, int k)
{
	if (is_select(op))
		return !op->ret && op->index == k;
	if (op->kind == OP_LOCK)
		return !op->ret || op->ret == -EOWNERDEAD || op->ret == -ENOTRECOVERABLE;
	return op->ret >= 0 || op->ret == -EPIPE || op->ret == -ECONNRESET ||
	       op->ret == -CAUSE_1 || op->ret == -CAUSE_2;
}

/* The thread's operation has happened; it waits nowhere any more. */
bool finish(struct state *s, int t);

/* handles.c */
int holders(const struct state *s, int obj, int right);
u8 case_rights(const struct state *s, int t, const struct a_case *c);
int denied(const struct state *s, const struct op *op, int obj, int right);
bool keep(const struct model *m, struct state *s, int t);

/* queue.c */
void queue_add(struct queue *q, int t, int index);
void queue_remove(struct queue *q, int t, int index);
int queue_first_other(const struct queue *q, int t);
void leave_queues(struct state *s, int t);

/* channel.c */
bool channel_ready(const struct model *m, const struct state *s, int t, const struct a_case *c);
bool channel_send(const struct model *m, struct state *s, int t, int k);
bool channel_recv(const struct model *m, struct state *s, int t, int k, int together);
bool channel_fails(const struct model *m, const struct state *s, int t, int k, int error);
bool channel_close(const struct model *m, struct state *s, int t);
bool channel_lost(const struct model *m, struct state *s, int obj, u8 right);
bool channel_return(const struct model *m, struct state *s, int t);
bool channel_poll(const struct model *m, const struct state *s, const struct op *op);
bool channel_info(const struct state *s, const struct op *op);
bool channel_commit(const struct model *m, struct state *s, int t);
bool channel_drop_lease(const struct model *m, struct state *s, int t);
bool may_return(const struct op *op, int k);

/* group.c */
bool group_may_go(const struct state *s, const struct a_case *c);
bool group_wait(const struct model *m, struct state *s, int t, int k);
bool group_add(const struct model *m, struct state *s, int t);
bool group_token(const struct model *m, struct state *s, int t);
bool group_done(const struct model *m, struct state *s, int t);
bool group_drop_token(const struct model *m, struct state *s, int t);
bool group_lost(const struct model *m, struct state *s);
bool group_poll(const struct state *s, const struct op *op);
bool group_info(const struct state *s, const struct op *op);

/* cell.c */
bool cell_load(const struct model *m, struct state *s, int t);
bool cell_read(const struct model *m, struct state *s, int t);
bool cell_store(const struct model *m, struct state *s, int t);
bool cell_ready(const struct state *s, const struct a_case *c);
bool cell_wait(const struct model *m, struct state *s, int t, int k);
bool cell_poll(const struct state *s, const struct op *op);
bool cell_info(const struct model *m, const struct state *s, const struct op *op);

/* lock.c */
bool lock_ready(const struct model *m, const struct state *s, int t, const struct a_case *c);
bool lock_visit(const struct model *m, struct state *s, int t, int k);
bool lock_unlock(const struct model *m, struct state *s, int t);
bool lock_downgrade(const struct model *m, struct state *s, int t);
bool lock_die(struct state *s, int t);
bool lock_undo(const struct model *m, struct state *s, int t);
bool may_undo(const struct op *op, int k);
bool lock_is_left(const struct state *s, int t);
void lock_forget(struct state *s, int t);
bool lock_left(const struct model *m, struct state *s, int t);
int lock_steps(const struct state *s, struct step *steps);
bool lock_bury(const struct model *m, struct state *s, int t);
bool lock_rests(const struct state *s);
bool lock_poll(const struct model *m, const struct state *s, const struct op *op);
bool lock_info(const struct state *s, const struct op *op);

/* context.c */
void context_start(const struct program *p, struct state *s);
bool context_ready(const struct state *s, const struct a_case *c);
bool context_visit(const struct model *m, struct state *s, int t, int k);
bool context_cancel(const struct model *m, struct state *s, int t);
bool context_derive(const struct model *m, struct state *s, int t);
bool context_reach(const struct model *m, struct state *s, int t);
void context_lost(struct state *s, int obj);
bool context_poll(const struct state *s, const struct op *op);
int context_error(const struct state *s, int obj);
int context_steps(const struct state *s, struct step *steps);
bool context_step(struct state *s, struct step step);
bool contexts_rest(const struct state *s);

#endif /* _MODEL_STATE_H */
