// SPDX-License-Identifier: GPL-2.0
/* The waitgroup. */

#include "state.h"

bool group_may_go(const struct state *s, const struct a_case *c)
{
	return !s->group.count || (c->broken && c->known != s->group.broken);
}

bool group_wait(const struct model *m, struct state *s, int t, int k)
{
	const struct op *op = m->op[t];
	const struct group *g = &s->group;

	if (!group_may_go(s, &op->cases[k])) {
		if (s->thread[t].visited & 1 << k)
			return false;
		s->thread[t].visited |= 1 << k;
		return true;
	}
	if (!did_case(op, k) || op->failed != (g->broken ? EOWNERDEAD : 0) ||
	    op->size != g->broken || op->status != g->error || op->number != g->round)
		return false;
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
			    !group_may_go(s, &op->cases[k]))
				continue;
			s->thread[t].visited &= ~(1 << k);
			if (!did_case(op, k))
				s->thread[t].released = true;
			else if (!group_wait(m, s, t, k))
				return false;
		}
	}
	return true;
}

static void count_up(struct group *g, int n)
{
	if (!g->count && n) {
		g->round++;
		g->broken = 0;
		g->error = 0;
	}
	g->count += n;
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

bool group_add(const struct model *m, struct state *s, int t)
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

bool group_token(const struct model *m, struct state *s, int t)
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

bool group_done(const struct model *m, struct state *s, int t)
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

bool group_drop_token(const struct model *m, struct state *s, int t)
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

bool group_info(const struct state *s, const struct op *op)
{
	const struct group *g = &s->group;
	const u32 info[] = { g->round - !!g->count, g->count, g->tokens, g->broken, g->error };

	return !memcmp(op->info, info, sizeof(info));
}

/* Nobody is left who may count. */
bool group_lost(const struct model *m, struct state *s)
{
	end_if_stuck(s);
	return group_changed(m, s);
}

bool group_poll(const struct state *s, const struct op *op)
{
	const struct group *g = &s->group;

	return op->size == (u32)((g->count ? 0 : POLLIN) | (g->broken ? POLLERR : 0));
}
