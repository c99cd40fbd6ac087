/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Running programs.
 */
#ifndef FUZZ_EXECUTE_H
#define FUZZ_EXECUTE_H

#include <stdint.h>

#include "../../uapi/chanfd.h"
#include "program.h"

#define NR_THREADS	2

void executor_start(void);
const char *execute(const struct program *p);
const uint64_t *executor_trace(int thread);

/* What is more than a system call: see interface.c. */
int open_proc(const char *dir, int fd, int flags);
long pass_descriptor(int fd);
long close_descriptor(int fd);
long fork_child(void);
long signal_other(void);
long evict_cold(void);
long write_descriptors(const int *fds, int nr);
long write_parcel(const struct chanfd_parcel *parcel);
long overwrite_other(int offset, uint64_t value);

#endif /* FUZZ_EXECUTE_H */
