/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * How the library enters the kernel.
 */
#ifndef _CHANFD_CALL_H
#define _CHANFD_CALL_H

#include <pthread.h>

#include "chanfd.h"

#define CHANFD_MAX_ERRNO	4095	/* as the kernel says */

int chanfd_call(int fd, unsigned long request, void *arg);
int chanfd_call_device(unsigned long request, void *arg);
int chanfd_call_select(struct chanfd_select *s);
int chanfd_select_one(struct chanfd_case c, const struct chanfd_opt *opt,
		      struct chanfd_outcome *out);
int chanfd_call_transfer(int ch, unsigned long request, struct chanfd_transfer *t,
			 size_t size, const struct chanfd_opt *opt, const void *caller);
void chanfd_close_quietly(int fd);
int chanfd_end_with_process(int cancel, int pid);
int chanfd_thread(pthread_t *thread, void *(*run)(void *arg), void *arg);
void chanfd_copy_name(__u8 *to, size_t room, const char *name);

#endif /* _CHANFD_CALL_H */
