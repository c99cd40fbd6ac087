/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What a race detector is told, where the program has one. See race.c.
 */
#ifndef _CHANFD_RACE_H
#define _CHANFD_RACE_H

#include "chanfd.h"

/* The caller of the library, for reports. */
#define RACE_CALLER	__builtin_return_address(0)

#pragma GCC visibility push(default)
/* ThreadSanitizer's, if the program was built with it. */
void __attribute__((__weak__)) __tsan_acquire(void *address);
void __attribute__((__weak__)) __tsan_release(void *address);
void __attribute__((__weak__)) __tsan_read_range_pc(const void *address, unsigned long size,
						    const void *pc);
void __attribute__((__weak__)) __tsan_write_range_pc(void *address, unsigned long size,
						     const void *pc);
#pragma GCC visibility pop

/**
 * struct race - what is to be remembered of a case until it was done
 * @edges:	of its object; NULL if there is none
 * @capacity:	of a channel to send to
 *
 * The handle may be closed when the call returns, by somebody else whom it let go.
 */
struct race {
	__u64 *edges;
	__u32 capacity;
};

void chanfd_race_before(struct race *races, const struct chanfd_case *cases,
			unsigned int n, const void *caller);
void chanfd_race_after(const struct race *race, const struct chanfd_case *c,
		       const struct chanfd_outcome *out, const void *caller);
void chanfd_race_ending(int fd);
void chanfd_race_context_done(void);

static inline int race_detector(void)
{
	return !!__tsan_acquire;
}

/* A call about @cases begins: all of them, since any may be the one. */
static inline void race_before(struct race *races, const struct chanfd_case *cases,
			       unsigned int n, const void *caller)
{
	if (race_detector())
		chanfd_race_before(races, cases, n, caller);
}

/* The case @c was done, with the outcome @out. */
static inline void race_after(const struct race *race, const struct chanfd_case *c,
			      const struct chanfd_outcome *out, const void *caller)
{
	if (race_detector())
		chanfd_race_after(race, c, out, caller);
}

/* A call begins that may bring about what others wait for: a close, done, a cancel. */
static inline void race_ending(int fd)
{
	if (race_detector())
		chanfd_race_ending(fd);
}

/* A context was found done. */
static inline void race_context_done(void)
{
	if (race_detector())
		chanfd_race_context_done();
}

/* A call has failed; because its context is done? */
static inline void race_failed(int context)
{
	if (context >= 0 && (errno == ECANCELED || errno == ETIMEDOUT))
		race_context_done();
}

#endif /* _CHANFD_RACE_H */
