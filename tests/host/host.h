/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module in user space: its system calls, and what tests may do to those who make
 * them. Threads are pthreads; whatever they call with this header runs kmod/ as it is,
 * on the shims in shim/.
 *
 * Like system calls these return -errno when they fail. What would be a bug in a kernel
 * (sleeping with a spinlock held, locks taken in two orders, a reference count below
 * zero, memory that is left over) says so and aborts.
 */
#ifndef _HOST_H
#define _HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct task_struct;
struct vm_area_struct;
struct pid;

/* Loads the module; unloads it, and aborts if a file is open or memory left. */
void host_init(void);
void host_exit(void);

/* A parameter of the module; aborts if there is none of this name. */
void host_set_param(const char *name, unsigned long value);

/* Opens /dev/chanfd. */
int host_open(int flags);

long host_ioctl(int fd, unsigned int cmd, void *arg);
ssize_t host_read(int fd, void *buf, size_t size);
ssize_t host_write(int fd, const void *buf, size_t size);
ssize_t host_readv(int fd, const struct iovec *iov, int n);
ssize_t host_writev(int fd, const struct iovec *iov, int n);
int host_dup(int fd);
int host_close(int fd);
void host_close_all(void);

/* F_SETFL, which knows O_NONBLOCK. */
int host_fcntl_setfl(int fd, int flags);

/* What poll(2) would say at once, and once one of @events (or an error) is there. */
int host_poll(int fd);
int host_poll_wait(int fd, int events);

/* mmap(2) of @size bytes with PROT_*, and where they are then. */
int host_mmap(int fd, size_t size, int prot, struct vm_area_struct **map);
const void *host_mapped(const struct vm_area_struct *map);
void host_munmap(struct vm_area_struct *map);

/* Reads /proc/self/fdinfo/@fd, as far as the module writes it. */
ssize_t host_fdinfo(int fd, char *buf, size_t size);

/* A file of another's, to be polled and bound: POLLIN as long as @count is not 0. */
int host_eventfd(unsigned int count);
int host_eventfd_set(int fd, unsigned int count);

/* The calling thread, to others; valid until it ends. */
struct task_struct *host_self(void);

/*
 * Sends a signal, or SIGKILL. It stays pending until the end of the call that @task is
 * in, or of its next one: if that would sleep it fails with -EINTR instead.
 */
void host_signal(struct task_struct *task);
void host_kill(struct task_struct *task);

/*
 * The process that the calling thread is of: every thread begins as one of its own. It may
 * join another, or leave its own and go on as a new one; what all threads have left has
 * ended. Descriptors are everybody's: they stay open.
 */
struct pid *host_process(void);
int host_process_number(const struct pid *process);
void host_join(struct pid *process);
void host_leave(void);

/*
 * 0 if @task is awake, or is being woken; else a number that counts its sleeps, and what it
 * did before that one can be looked at.
 */
unsigned int host_asleep(const struct task_struct *task);

/* Who the calling thread is. The first, 0, is root: it may go past limits. */
void host_set_user(unsigned int uid);

/*
 * In the calling thread's next call, and no further, fails the nth copy from or to user
 * memory, counted from 1 (and all that come after it if this is @lasting), or the nth
 * allocation. A copy under a lock that fails once is one whose page was not present.
 * Page zero is never there.
 */
void host_fault(unsigned int nth, bool lasting);
void host_fail_alloc(unsigned int nth);

/* Did it come to that in the last call? */
bool host_failed(void);

/* Waits until the module has no work queued. */
void host_settle(void);

/* How many pieces of memory the module has: none when all files are closed and it has
 * settled.
 */
long host_allocations(void);

/* For the module's random choices in the calling thread. */
void host_seed(unsigned int seed);

/* Let all threads give up the CPU before one in @n steps that others can see; 0: never. */
void host_perturb(unsigned int n);

#endif /* _HOST_H */
