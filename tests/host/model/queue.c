// SPDX-License-Identifier: GPL-2.0
/* Queues of those who wait at an object. */

#include "state.h"

void queue_add(struct queue *q, int t, int index)
{
	q->at[q->len].thread = t;
	q->at[q->len++].index = index;
}

/* The thread leaves a queue, as case @index or, if that is -1, altogether. */
void queue_remove(struct queue *q, int t, int index)
{
	int i, n = 0;

	for (i = 0; i < q->len; i++)
		if (q->at[i].thread != t || (index >= 0 && q->at[i].index != index))
			q->at[n++] = q->at[i];
	memset(&q->at[n], 0, (q->len - n) * sizeof(q->at[0]));
	q->len = n;
}

void leave_queues(struct state *s, int t)
{
	int i;

	for (i = 0; i < CHANNELS; i++) {
		queue_remove(&s->channel[i].senders, t, -1);
		queue_remove(&s->channel[i].receivers, t, -1);
	}
	lock_forget(s, t);
}

/* The first in the queue that is not of thread @t; -1: none. */
int queue_first_other(const struct queue *q, int t)
{
	int i;

	for (i = 0; i < q->len; i++)
		if (q->at[i].thread != t)
			return i;
	return -1;
}

bool finish(struct state *s, int t)
{
	leave_queues(s, t);
	s->thread[t].phase = s->thread[t].leaves ? LEAVING : FINISHED;
	s->thread[t].visited = 0;
	return true;
}
