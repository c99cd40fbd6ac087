// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Messages with descriptors, and messages that are leased.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "race.h"

int chanfd_send_fds(int ch, const void *msg, size_t size, const int *fds,
		    unsigned int n, const struct chanfd_opt *opt)
{
	struct chanfd_transfer t = {
		.buf = (uintptr_t)msg,
		.count = 1,
		.fds = (uintptr_t)fds,
		.nr_fds = n,
	};

	return chanfd_call_transfer(ch, CHANFD_IOC_SEND, &t, size, opt, RACE_CALLER) < 0 ? -1 : 0;
}

static int recv_transfer(int ch, struct chanfd_transfer *t, size_t size,
			 const struct chanfd_opt *opt, struct chanfd_received *r,
			 const void *caller)
{
	int ret;

	t->count = 1;
	ret = chanfd_call_transfer(ch, CHANFD_IOC_RECV, t, size, opt, caller);
	if (ret > 0 && r) {
		r->size = t->size;
		r->seq = t->seq;
		r->redelivered = t->redelivered;
	}
	return ret;
}

int chanfd_recv_fds(int ch, void *buf, size_t size, int *fds, unsigned int *n,
		    const struct chanfd_opt *opt, struct chanfd_received *r)
{
	struct chanfd_transfer t = {
		.buf = (uintptr_t)buf,
		.fds = (uintptr_t)fds,
		.nr_fds = *n,
	};
	int ret = recv_transfer(ch, &t, size, opt, r, RACE_CALLER);

	if (ret > 0)
		*n = t.nr_fds;
	return ret;
}

int chanfd_recv_leased(int ch, void *buf, size_t size, int *lease,
		       const struct chanfd_opt *opt, struct chanfd_received *r)
{
	struct chanfd_transfer t = {
		.flags = CHANFD_LEASED,
		.buf = (uintptr_t)buf,
		.lease = *lease,
	};
	int ret = recv_transfer(ch, &t, size, opt, r, RACE_CALLER);

	if (ret > 0)
		*lease = t.lease;
	return ret;
}

int chanfd_commit(int lease)
{
	return chanfd_call(lease, CHANFD_IOC_COMMIT, NULL);
}

#define SEALS	(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int write_all(int fd, const char *data, size_t size)
{
	ssize_t n;

	for (; size; data += n, size -= (size_t)n) {
		n = write(fd, data, size);
		if (n < 0 && errno != EINTR)
			return -1;
		if (n < 0)
			n = 0;
	}
	return 0;
}

int chanfd_send_memfd(int ch, const void *data, size_t size,
		      const struct chanfd_opt *opt)
{
	int fd = memfd_create("chanfd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int ret;

	if (fd < 0)
		return -1;
	ret = write_all(fd, data, size);
	if (!ret)
		ret = fcntl(fd, F_ADD_SEALS, SEALS);
	if (!ret)
		ret = chanfd_send_fds(ch, NULL, 0, &fd, 1, opt);
	chanfd_close_quietly(fd);
	return ret;
}

/* Maps what came. A failure that is not the message's own may be over next time. */
static int map(int fd, const void **data, size_t *size)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *mem;

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st)) {
		errno = EBADMSG;
		return -1;
	}
	*size = (size_t)st.st_size;
	*data = NULL;
	if (!st.st_size)
		return 0;
	mem = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
	*data = mem;
	return mem == MAP_FAILED ? -1 : 0;
}

int chanfd_recv_memfd(int ch, const void **data, size_t *size,
		      const struct chanfd_opt *opt)
{
	/* Room for all that anybody may send: what does not fit would be in the way for ever. */
	int fds[CHANFD_MAX_FDS];
	struct chanfd_parcel p = {
		.fds = (uintptr_t)fds,
		.flags = CHANFD_LEASED,
		.nr_fds = CHANFD_MAX_FDS,
		.lease = -1,
	};
	struct chanfd_outcome out;
	int ret;

	if (chanfd_select_one(CHANFD_RECV_PARCEL(ch, &p), opt, &out) < 0)
		return -1;
	if (!out.ok) {
		errno = out.error;
		return out.error ? -1 : 0;
	}
	ret = map(p.nr_fds == 1 ? fds[0] : -1, data, size);
	if (!ret || errno == EBADMSG)
		chanfd_commit(p.lease);
	while (p.nr_fds)
		chanfd_close_quietly(fds[--p.nr_fds]);
	chanfd_close_quietly(p.lease);
	return ret ? -1 : 1;
}
