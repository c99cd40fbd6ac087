// SPDX-License-Identifier: GPL-2.0
/* Contexts. */

#include "state.h"

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

bool context_ready(const struct state *s, const struct a_case *c)
{
	return c->op == CHANFD_CASE_DONE ? see_context(s, c->obj)->error : !children(s, c->obj);
}

bool context_visit(const struct model *m, struct state *s, int t, int k)
{
	const struct op *op = m->op[t];
	const struct a_case *c = &op->cases[k];
	const struct context *ctx = context(s, c->obj);

	if (!context_ready(s, c) || !did_case(op, k) || op->failed)
		return false;
	if (c->op == CHANFD_CASE_DONE && op->status != ctx->cause)
		return false;
	return finish(s, t);
}

bool context_cancel(const struct model *m, struct state *s, int t)
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
bool context_reach(const struct model *m, struct state *s, int t)
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

bool context_derive(const struct model *m, struct state *s, int t)
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

/* It, or what it is derived from: whose deadline comes first is what counts. */
static bool may_expire(const struct state *s, int obj)
{
	for (; obj; obj = see_context(s, obj)->parent)
		if (see_context(s, obj)->soon)
			return true;
	return false;
}

void context_start(const struct program *p, struct state *s)
{
	int c;

	for (c = 0; c < p->contexts; c++) {
		make_context(s, CONTEXT + c, &p->context[c]);
		s->context[c].soon |= p->context[c].deadline == PAST;
		if (p->context[c].deadline == PAST && !may_expire(s, p->context[c].parent))
			end_context(&s->context[c], ETIMEDOUT, s->context[c].deadline_cause);
		s->context[c].lost = !p->context[c].keep && !holders(s, CONTEXT + c, W);
	}
}

/* Nobody is left who could cancel it. */
void context_lost(struct state *s, int obj)
{
	context(s, obj)->lost = !context(s, obj)->keep;
}

int context_error(const struct state *s, int obj)
{
	return see_context(s, obj)->error;
}

bool context_poll(const struct state *s, const struct op *op)
{
	const struct context *c = see_context(s, op->obj);

	return op->size == (u32)(!c->error ? 0 : POLLIN | POLLHUP |
				 (c->cause == EOWNERDEAD ? POLLERR : 0));
}

/* What contexts do by themselves. */
int context_steps(const struct state *s, struct step *steps)
{
	int c, n = 0;

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
	return n;
}

bool context_step(struct state *s, struct step step)
{
	struct context *c = context(s, step.arg);

	switch (step.type) {
	case LOSE:
		end_context(c, ECANCELED, EOWNERDEAD);
		return true;
	case EXPIRE:
		end_context(c, ETIMEDOUT, c->deadline_cause);
		return true;
	case INHERIT:
		inherit(s, step.arg);
		return true;
	case LEAVE:
		c->gone = true;
		return true;
	}
	return false;
}

/* Is there nothing that they would do by themselves? */
bool contexts_rest(const struct state *s)
{
	struct step steps[4 * CONTEXTS];

	return !context_steps(s, steps);
}
