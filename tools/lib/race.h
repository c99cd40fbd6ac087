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

static inline int race_detector(void)
{
	return !!__tsan_acquire;
}

void chanfd_race_before(const struct chanfd_case *cases, unsigned int n, const void *caller);
void chanfd_race_after(const struct chanfd_case *c, const struct chanfd_outcome *out,
		       const void *caller);
void chanfd_race_ending(int fd);
void chanfd_race_ended(int fd);

/* A call about @cases begins: all of them, since any may be the one. */
static inline void race_before(const struct chanfd_case *cases, unsigned int n,
			       const void *caller)
{
	if (race_detector())
		chanfd_race_before(cases, n, caller);
}

/* The case @c was done, with the outcome @out. */
static inline void race_after(const struct chanfd_case *c, const struct chanfd_outcome *out,
			      const void *caller)
{
	if (race_detector())
		chanfd_race_after(c, out, caller);
}

/* A call begins that may bring about what others wait for: a close, done, a cancel. */
static inline void race_ending(int fd)
{
	if (race_detector())
		chanfd_race_ending(fd);
}

/* The end of the object behind @fd was seen. Nothing if @fd is negative. */
static inline void race_ended(int fd)
{
	if (race_detector())
		chanfd_race_ended(fd);
}

#endif /* _CHANFD_RACE_H */
