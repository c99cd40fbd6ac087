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

int chanfd_race_transfer(int ch, unsigned long request, struct chanfd_transfer *t,
			 const void *caller);
int chanfd_race_select(struct chanfd_select *s, const void *caller);
void chanfd_race_ending(int fd);
void chanfd_race_noticed(int fd);
void chanfd_race_reader_leaves(int lock);
void chanfd_race_locked(int lock);
void chanfd_race_context_done(void);

static inline int race_detector(void)
{
	return !!__tsan_acquire;
}

/* A call begins that may bring about what others wait for: a close, done, a cancel, a
 * store, a signal, an unlock.
 */
static inline void race_ending(int fd)
{
	if (race_detector())
		chanfd_race_ending(fd);
}

/* What another did before such a call was noticed. */
static inline void race_noticed(int fd)
{
	if (race_detector())
		chanfd_race_noticed(fd);
}

/* A reader is about to leave a lock: writers that come after notice, readers do not. */
static inline void race_reader_leaves(int lock)
{
	if (race_detector())
		chanfd_race_reader_leaves(lock);
}

/* A writer has a lock. */
static inline void race_locked(int lock)
{
	if (race_detector())
		chanfd_race_locked(lock);
}

/* A context was found done. */
static inline void race_context_done(void)
{
	if (race_detector())
		chanfd_race_context_done();
}

/* What was stored to a cell was found there. */
static inline void race_cell_seen(void)
{
	if (race_detector())
		chanfd_race_cell_seen();
}

#endif /* _CHANFD_RACE_H */
