// SPDX-License-Identifier: GPL-2.0
/* The cell: one value, and its version. */

#include "state.h"

/* May the operation fail with @error, whatever the cell holds? */
static bool may_fail(const struct model *m, const struct state *s, const struct op *op,
		     int error)
{
	const struct a_case *c = &op->cases[0];
	bool stores = op->kind == OP_STORE;
	u8 right = s->thread[op->thread].rights[op->obj];
	const struct cell *cell = &s->cell;

	if (denied(s, op, op->obj, stores ? W : R))
		return error == denied(s, op, op->obj, stores ? W : R);
	if (stores && op->flags & SWAP && !(right & R) && error == EPERM)
		return true;
	switch (error) {
	case EFAULT:
	case ENOMEM:
		return op->fault != NO_FAULT;
	case ENODATA:
		return !stores && !cell->version;
	case EMSGSIZE:
		if (!stores)
			return cell->version && c->size < cell->size;
		return c->size > m->program->cell.size ||
		       (op->flags & SWAP && cell->version && op->room < cell->size);
	case EPROTOTYPE:
		return stores && cell->version && op->tag != cell->tag;
	case ESTALE:
		return stores && op->flags & IF_VERSION && c->known != cell->version;
	}
	return false;
}

/* Does the operation have to fail, and if not so, with what? */
static bool must_fail(const struct model *m, const struct state *s, const struct op *op)
{
	static const int errors[] = { ENODATA, EMSGSIZE, EPROTOTYPE, ESTALE, EPERM, EBADF };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errors); i++)
		if (may_fail(m, s, op, errors[i]))
			return true;
	return false;
}

/* Is what the operation was told the value that is there? */
static bool is_told(const struct op *op, const struct cell *cell)
{
	return op->sizes[0] == cell->size && (!cell->size || op->value[0] == cell->value);
}

bool cell_load(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	const struct cell *cell = &s->cell;

	if (op->ret < 0)
		return may_fail(m, s, op, -op->ret) && finish(s, t);
	if (must_fail(m, s, op))
		return false;
	s->thread[t].has_read = cell->version;
	if (op->told && (!is_told(op, cell) || op->number != cell->version ||
			 op->status != cell->tag))
		return false;
	return finish(s, t);
}

/* By a mapping of its page. */
bool cell_read(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	const struct cell *cell = &s->cell;

	if (op->ret)
		return op->ret == -ENODATA && !cell->version && finish(s, t);
	return is_told(op, cell) && op->number == cell->version && op->status == cell->tag &&
	       finish(s, t);
}

/* Those who know another version are told, and not again. */
static bool changed(const struct model *m, struct state *s)
{
	int t, k;

	for (t = 0; t < THREADS; t++) {
		for (k = 0; k < CASES; k++) {
			const struct op *op = m->op[t];

			if (!(s->thread[t].visited & 1 << k) ||
			    op->cases[k].op != CHANFD_CASE_CHANGED ||
			    op->cases[k].known == s->cell.version)
				continue;
			s->thread[t].visited &= ~(1 << k);
			if (!did_case(op, k))
				s->thread[t].released = true;
			else if (!cell_wait(m, s, t, k))
				return false;
		}
	}
	return true;
}

bool cell_store(const struct model *m, struct state *s, int t)
{
	const struct op *op = m->op[t];
	struct cell *cell = &s->cell;

	if (op->ret < 0)
		return may_fail(m, s, op, -op->ret) && finish(s, t);
	if (must_fail(m, s, op))
		return false;
	if (op->told && op->flags & SWAP && !is_told(op, cell))
		return false;
	cell->version++;
	cell->size = op->cases[0].size;
	cell->value = 0;
	if (cell->size)
		cell->value = op->cases[0].value;
	cell->tag = op->tag;
	if (op->told && op->number != cell->version)
		return false;
	finish(s, t);
	return changed(m, s);
}

bool cell_ready(const struct state *s, const struct a_case *c)
{
	return s->cell.version != c->known;
}

bool cell_wait(const struct model *m, struct state *s, int t, int k)
{
	const struct op *op = m->op[t];

	if (!cell_ready(s, &op->cases[k])) {
		if (s->thread[t].visited & 1 << k)
			return false;
		s->thread[t].visited |= 1 << k;
		return true;
	}
	return did_case(op, k) && !op->failed && op->number == s->cell.version && finish(s, t);
}

bool cell_poll(const struct state *s, const struct op *op)
{
	bool newer = s->cell.version != s->thread[op->thread].has_read;

	return op->size == (newer ? POLLIN : 0u);
}

bool cell_info(const struct model *m, const struct state *s, const struct op *op)
{
	const struct cell *cell = &s->cell;
	const u32 info[] = { cell->version, cell->size, cell->tag, m->program->cell.size };

	return !memcmp(op->info, info, sizeof(info));
}
