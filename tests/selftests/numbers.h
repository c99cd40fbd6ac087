/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Channels of 64-bit numbers, which most tests use.
 */
#ifndef NUMBERS_H
#define NUMBERS_H

#include "helpers.h"

static const struct chanfd_opt nonblock = {
	.context = -1,
	.flags = CHANFD_NONBLOCK,
};

/* A channel of numbers. */
static inline int make(unsigned int cap)
{
	int ch = chanfd_channel(sizeof(uint64_t), cap, 0, "numbers");

	if (ch < 0)
		err(1, "chanfd_channel");
	return ch;
}

static inline void make_pair(int fd[2], unsigned int cap)
{
	if (chanfd_channel_pair(fd, sizeof(uint64_t), cap, 0, "numbers"))
		err(1, "chanfd_channel_pair");
}

static inline int put(int ch, uint64_t value)
{
	return chanfd_send(ch, &value, sizeof(value), NULL);
}

static inline int try_put(int ch, uint64_t value)
{
	return chanfd_send(ch, &value, sizeof(value), &nonblock);
}

static inline int get(int ch, uint64_t *value)
{
	poison(value);
	return chanfd_recv(ch, value, sizeof(*value), NULL, NULL);
}

static inline int try_get(int ch, uint64_t *value)
{
	poison(value);
	return chanfd_recv(ch, value, sizeof(*value), &nonblock, NULL);
}

static inline int transfer(int ch, unsigned long op, struct chanfd_transfer *t,
			   void *buf, size_t size, unsigned int count)
{
	*t = (struct chanfd_transfer) {
		.context = -1,
		.buf = (uintptr_t)buf,
		.size = size,
		.count = count,
		.seq = POISON64,
	};
	return ioctl(ch, op, t);
}

/* Sends @n numbers from 0. */
static inline int count_up(int ch, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		if (put(ch, i))
			return -1;
	return 0;
}

static inline long run_count(struct party *me)
{
	return count_up(me->fd, me->value);
}

/* 0 if each of them returned 0. */
static inline long join_all(struct party **p, unsigned int n)
{
	long failed = 0;

	while (n--)
		failed |= party_join(*p++);
	return failed;
}

static inline bool conserved(int ch)
{
	struct chanfd_channel_info info = info_of(ch);

	return info.sent == info.len + info.received + info.leased + info.dropped;
}

#endif /* NUMBERS_H */
