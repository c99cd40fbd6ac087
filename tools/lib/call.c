// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * How the library enters the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "call.h"

/*
 * glibc declares ioctl() as a leaf function: the compiler may assume that it
 * changes no static variable of the caller's file, and keep one in a register
 * across it. With link-time optimisation this reaches the user's variables,
 * which other threads do change while this one waits.
 */
int chanfd_call(int fd, unsigned long request, void *arg)
{
	int ret;

	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ret = ioctl(fd, request, arg);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return ret;
}

void chanfd_close_quietly(int fd)
{
	int err = errno;

	close(fd);
	errno = err;
}

int chanfd_device(void)
{
	return open("/dev/chanfd", O_RDWR | O_CLOEXEC);
}

/*
 * A descriptor kept for all calls would have to survive programs that close
 * everything or put another file under its number. Opening costs a tenth of
 * what making a handle does, and is right.
 */
int chanfd_call_device(unsigned long request, void *arg)
{
	int cancel;
	int dev;
	int ret;

	/* open() and close() are cancellation points; a new handle would leak. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	dev = chanfd_device();
	ret = dev;
	if (dev >= 0) {
		ret = chanfd_call(dev, request, arg);
		chanfd_close_quietly(dev);
	}
	pthread_setcancelstate(cancel, NULL);
	return ret;
}

void chanfd_copy_name(__u8 *to, size_t room, const char *name)
{
	size_t len = name ? strnlen(name, room - 1) : 0;

	memset(to, 0, room);
	memcpy(to, name ? name : "", len);
}

/* A thread of the library's own: signals are for the program's. Returns an errno. */
int chanfd_thread(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}
