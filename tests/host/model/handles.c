// SPDX-License-Identifier: GPL-2.0
/* Handles, and what follows when the last of a kind goes. */

#include "state.h"

int holders(const struct state *s, int obj, int right)
{
	int t, n = 0;

	for (t = 0; t < THREADS; t++)
		n += !!(s->thread[t].rights[obj] & right);
	return n;
}

/* What the thread may do with the object of a case. */
u8 case_rights(const struct state *s, int t, const struct a_case *c)
{
	return c->op == CHANFD_CASE_POLL ? RW : s->thread[t].rights[c->obj];
}

/* The error of an operation that needs a right. */
int denied(const struct state *s, const struct op *op, int obj, int right)
{
	u8 rights = s->thread[op->thread].rights[obj];

	return !rights ? EBADF : rights & right ? 0 : EPERM;
}

/* What follows if nobody has a right to an object any more. */
static bool lost(const struct model *m, struct state *s, int obj, u8 right)
{
	if (obj < CHANNELS)
		return channel_lost(m, s, obj, right);
	if (right == R)
		return true;
	if (obj == GROUP)
		return group_lost(m, s);
	if (obj >= CONTEXT)
		context_lost(s, obj);
	return true;
}

bool keep(const struct model *m, struct state *s, int t)
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
	if (op->obj == CELL)
		s->thread[t].has_read = 0;	/* by the new one */
	for (right = R; right <= W; right++)
		if (had & ~op->arg & right && !holders(s, op->obj, right) &&
		    !lost(m, s, op->obj, right))
			return false;
	return true;
}
