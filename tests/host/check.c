// SPDX-License-Identifier: GPL-2.0
/*
 * The checker: is there an order of steps of the reference, each between the beginning
 * and the end of its operation, in which all have the outcomes that they had? This is
 * linearizability, with operations that may take more than one step; the search is that
 * of Wing and Gong, with Lowe's memory of where it has been.
 *
 * It goes through the events in their order, and takes a step only when an event needs
 * one: the end of an operation, that the operation has finished; a quiet moment, that
 * those who sleep may sleep.
 */

#include <string.h>

#include "model.h"

/* Places visited in one search, beyond which it gives up. */
enum { SEEN = 1 << 17, PATIENCE = SEEN / 2 };

struct memory {
	u64 seen[SEEN];
	u32 used[PATIENCE + 1];
};

struct search {
	struct history *history;
	struct memory *memory;
	u32 places;
	int furthest;
	bool gave_up;
};

static u64 hash(const struct state *s, int event)
{
	const u8 *bytes = (const u8 *)s;
	u64 h = 0x9e3779b97f4a7c15ull * (event + 1), word;
	size_t i;

	for (i = 0; i + sizeof(word) <= sizeof(*s); i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		h = (h ^ word) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	for (; i < sizeof(*s); i++)
		h = (h ^ bytes[i]) * 0xc4ceb9fe1a85ec53ull;
	h ^= h >> 29;
	return h ?: 1;
}

/* Was the search here before? Remembers it. */
static bool seen(struct search *search, const struct state *s, int event)
{
	struct memory *memory = search->memory;
	u64 h = hash(s, event);
	u32 i = h % SEEN;

	while (memory->seen[i]) {
		if (memory->seen[i] == h)
			return true;
		i = (i + 1) % SEEN;
	}
	memory->seen[i] = h;
	memory->used[search->places++] = i;
	return false;
}

static bool explain(struct search *search, struct model m, struct state s, int event)
{
	struct history *h = search->history;
	struct step steps[STEPS];
	int i, n, first = 0;

	for (; event < h->events; event++) {
		const struct event *e = &h->event[event];

		first = e->thread;
		if (e->type == BEGIN) {
			m.op[e->thread] = event_op(h, e);
			if (!model_begin(&m, &s, e->thread))
				return false;
		} else if (e->type == END) {
			if (s.thread[e->thread].phase != FINISHED)
				break;
			s.thread[e->thread].phase = IDLE;
		} else if (!model_quiet(&m, &s, e->asleep)) {
			break;
		}
	}
	if (event > search->furthest)
		search->furthest = event;
	if (event == h->events)
		return true;
	if (seen(search, &s, event))
		return false;
	if (search->places == PATIENCE) {
		search->gave_up = true;
		return false;
	}
	n = model_steps(&m, &s, first, h->event[event].type == QUIET, steps);
	for (i = 0; i < n && !search->gave_up; i++) {
		struct state next = s;

		if (model_step(&m, &next, steps[i]) && explain(search, m, next, event))
			return true;
	}
	return false;
}

/* Does anybody sleep on who was sent a signal in the same operation? Returns when, or 0. */
static int slept_on(struct history *h)
{
	bool signalled[WORKERS] = {};
	int i, t;

	for (i = 0; i < h->events; i++) {
		const struct event *e = &h->event[i];
		const struct op *op = event_op(h, e);

		if (e->type == BEGIN && e->thread < WORKERS)
			signalled[e->thread] = false;
		for (t = 0; e->type == QUIET && t < WORKERS; t++)
			if (signalled[t] && e->asleep & 1 << t)
				return i;
		if (e->type == BEGIN && op->kind == OP_SIGNAL)
			signalled[op->obj] = true;
	}
	return 0;
}

/* @stuck: the event that no order explains, if there is none. */
enum verdict check(struct history *h, int *stuck)
{
	static struct memory memory;
	struct search search = { .history = h, .memory = &memory };
	struct model m = { .program = &h->program };
	struct state s;
	bool found;

	*stuck = slept_on(h);
	if (*stuck)
		return UNEXPLAINED;
	model_start(&h->program, &s);
	found = explain(&search, m, s, 0);
	while (search.places)
		memory.seen[memory.used[--search.places]] = 0;
	*stuck = search.furthest;
	return found ? EXPLAINED : search.gave_up ? UNDECIDED : UNEXPLAINED;
}
