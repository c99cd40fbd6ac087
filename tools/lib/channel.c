// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Channels.
 */
#include <errno.h>

#include "call.h"
#include "race.h"

static int make(struct chanfd_channel *c, size_t elem, unsigned int cap,
		unsigned int flags, const char *name)
{
	if (elem > CHANFD_MAX_MESSAGE) {
		errno = EINVAL;
		return -1;
	}
	c->flags = flags;
	c->elem_size = elem;
	c->capacity = cap;
	chanfd_copy_name(c->name, sizeof(c->name), name);
	return chanfd_call_device(CHANFD_IOC_CHANNEL, c);
}

int chanfd_channel(size_t elem, unsigned int cap, unsigned int flags,
		   const char *name)
{
	struct chanfd_channel c = { 0 };

	if (flags & CHANFD_PAIR) {
		errno = EINVAL;
		return -1;
	}
	return make(&c, elem, cap, flags, name) ? -1 : c.fd[0];
}

int chanfd_channel_pair(int fd[2], size_t elem, unsigned int cap,
			unsigned int flags, const char *name)
{
	struct chanfd_channel c = { 0 };

	if (make(&c, elem, cap, flags | CHANFD_PAIR, name))
		return -1;
	fd[0] = c.fd[0];
	fd[1] = c.fd[1];
	return 0;
}

/* Sends or receives as @t says, but for @size and @opt. */
int chanfd_call_transfer(int ch, unsigned long request, struct chanfd_transfer *t,
			 size_t size, const struct chanfd_opt *opt, const void *caller)
{
	t->context = -1;
	if (opt) {
		t->flags |= opt->flags;
		t->context = opt->context;
		t->deadline = opt->deadline;
	}
	t->size = size < UINT32_MAX ? size : UINT32_MAX;
	if (race_detector())
		return chanfd_race_transfer(ch, request, t, caller);
	return chanfd_call(ch, request, t);
}

static int send_batch(int ch, const void *msgs, size_t size,
		      const uint32_t *sizes, unsigned int count,
		      const struct chanfd_opt *opt, uint64_t *seq,
		      const void *caller)
{
	struct chanfd_transfer t = {
		.buf = (uintptr_t)msgs,
		.sizes = (uintptr_t)sizes,
		.count = count,
	};
	int ret = chanfd_call_transfer(ch, CHANFD_IOC_SEND, &t, size, opt, caller);

	if (ret > 0 && seq)
		*seq = t.seq;
	return ret;
}

static int recv_batch(int ch, void *buf, size_t size, uint32_t *sizes,
		      unsigned int count, const struct chanfd_opt *opt,
		      struct chanfd_received *r, const void *caller)
{
	struct chanfd_transfer t = {
		.buf = (uintptr_t)buf,
		.sizes = (uintptr_t)sizes,
		.count = count,
	};
	int ret = chanfd_call_transfer(ch, CHANFD_IOC_RECV, &t, size, opt, caller);

	if (ret > 0 && r) {
		r->size = t.size;
		r->seq = t.seq;
		r->redelivered = t.redelivered;
	}
	return ret;
}

int chanfd_send_batch(int ch, const void *msgs, size_t size,
		      const uint32_t *sizes, unsigned int count,
		      const struct chanfd_opt *opt, uint64_t *seq)
{
	return send_batch(ch, msgs, size, sizes, count, opt, seq, RACE_CALLER);
}

int chanfd_recv_batch(int ch, void *buf, size_t size, uint32_t *sizes,
		      unsigned int count, const struct chanfd_opt *opt,
		      struct chanfd_received *r)
{
	return recv_batch(ch, buf, size, sizes, count, opt, r, RACE_CALLER);
}

int chanfd_send(int ch, const void *msg, size_t size,
		const struct chanfd_opt *opt)
{
	return send_batch(ch, msg, size, NULL, 1, opt, NULL, RACE_CALLER) < 0 ? -1 : 0;
}

int chanfd_recv(int ch, void *buf, size_t size, const struct chanfd_opt *opt,
		struct chanfd_received *r)
{
	return recv_batch(ch, buf, size, NULL, 1, opt, r, RACE_CALLER);
}

int chanfd_close(int ch, int cause)
{
	struct chanfd_close c = { .cause = cause };

	race_ending(ch);
	return chanfd_call(ch, CHANFD_IOC_CLOSE, &c);
}

int chanfd_close_once(int ch, int cause)
{
	int err = errno;

	if (!chanfd_close(ch, cause))
		return 1;
	if (errno != EPIPE)
		return -1;
	errno = err;
	return 0;
}

int chanfd_channel_info(int ch, struct chanfd_channel_info *info)
{
	return chanfd_call(ch, CHANFD_IOC_CHANNEL_INFO, info);
}

int chanfd_len(int ch)
{
	struct chanfd_channel_info info;

	return chanfd_channel_info(ch, &info) ? -1 : (int)info.len;
}

int chanfd_cap(int ch)
{
	struct chanfd_channel_info info;

	return chanfd_channel_info(ch, &info) ? -1 : (int)info.capacity;
}
