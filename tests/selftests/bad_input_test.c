// SPDX-License-Identifier: GPL-2.0
/*
 * Bad input: every ioctl, with structures too short and too long, unknown flags,
 * non-zero reserved fields, wrong handles, wild pointers and absurd numbers. A
 * call that fails has its errno, leaves the object as it was, and its outputs
 * unwritten.
 */
#include "numbers.h"

#include <poll.h>
#include <stddef.h>

/* What an ioctl can be called on. */
enum target {
	DEVICE, CHANNEL, WAITGROUP, TOKEN, CONTEXT, LOCK, CONDITION, CELL, FILE_OF_OTHERS,
	NO_FILE, TARGETS
};

#define ON(target) (1U << (target))
#define ON_HANDLES (ON(CHANNEL) | ON(WAITGROUP) | ON(TOKEN) | ON(CONTEXT) | \
		    ON(LOCK) | ON(CONDITION) | ON(CELL))

#define NOWHERE (-1)

/**
 * struct call - an ioctl
 * @on:		ON() what it can be called
 * @target:	what the tests here call it on
 * @flags:	the flags that it knows
 * @flags_at:	offset of the flags, or NOWHERE
 * @reserved_at: offset of the field that has to be 0, or NOWHERE
 * @makes:	a handle, as its result or in fd[] at @fd_at
 */
static const struct call {
	const char *name;
	unsigned int cmd;
	unsigned int on;
	enum target target;
	uint32_t flags;
	int flags_at;
	int reserved_at;
	int fd_at;
} calls[] = {
#define IOC(name) #name, CHANFD_IOC_##name
#define AT(type, field) ((int)offsetof(struct chanfd_##type, field))
	{ IOC(CHANNEL), ON(DEVICE), DEVICE,
	  CHANFD_PAIR | CHANFD_NONBLOCK | CHANFD_INHERIT | CHANFD_VARIABLE | CHANFD_FDS,
	  AT(channel, flags), AT(channel, reserved), AT(channel, fd) },
	{ IOC(WAITGROUP), ON(DEVICE), DEVICE, CHANFD_PAIR | CHANFD_INHERIT,
	  AT(waitgroup, flags), AT(waitgroup, reserved), AT(waitgroup, fd) },
	{ IOC(CONTEXT), ON(DEVICE) | ON(CONTEXT), DEVICE,
	  CHANFD_PAIR | CHANFD_INHERIT | CHANFD_OBSERVE | CHANFD_KEEP |
	  CHANFD_WITHOUT_CANCEL,
	  AT(context, flags), NOWHERE, AT(context, fd) },
	{ IOC(LOCK_NEW), ON(DEVICE), DEVICE,
	  CHANFD_PAIR | CHANFD_INHERIT | CHANFD_RW | CHANFD_HANDOFF | CHANFD_BARGING,
	  AT(lock, flags), AT(lock, reserved), AT(lock, fd) },
	{ IOC(CONDITION), ON(DEVICE), DEVICE, CHANFD_PAIR | CHANFD_INHERIT,
	  AT(condition, flags), AT(condition, reserved), AT(condition, fd) },
	{ IOC(CELL), ON(DEVICE), DEVICE, CHANFD_PAIR | CHANFD_INHERIT, AT(cell, flags),
	  NOWHERE, AT(cell, fd) },
	{ IOC(LOAD), ON(CELL), CELL, 0, AT(load, flags), AT(load, reserved), NOWHERE },
	{ IOC(STORE), ON(CELL), CELL, CHANFD_IF_VERSION | CHANFD_SWAP, AT(store, flags),
	  NOWHERE, NOWHERE },
	{ IOC(CELL_INFO), ON(CELL), CELL, 0, NOWHERE, NOWHERE, NOWHERE },
	{ IOC(LOCK), ON(LOCK), LOCK, CHANFD_NONBLOCK | CHANFD_SHARED,
	  AT(acquire, flags), NOWHERE, NOWHERE },
	{ IOC(UNLOCK), ON(LOCK), LOCK, CHANFD_SHARED | CHANFD_GIVE_UP, 0, NOWHERE,
	  NOWHERE },
	{ IOC(LOCK_INFO), ON(LOCK), LOCK, 0, NOWHERE, NOWHERE, NOWHERE },
	{ IOC(CONDITION_INFO), ON(CONDITION), CONDITION, 0, NOWHERE, NOWHERE, NOWHERE },
	{ IOC(SELECT), ON(DEVICE) | ON_HANDLES, DEVICE,
	  CHANFD_NONBLOCK | CHANFD_ORDERED, AT(select, flags), NOWHERE, NOWHERE },
	{ IOC(INFO), ON_HANDLES, TOKEN, 0, NOWHERE, NOWHERE, NOWHERE },
	{ IOC(REDUCE), ON_HANDLES & ~ON(TOKEN), WAITGROUP,
	  CHANFD_READ | CHANFD_WRITE | CHANFD_NONBLOCK | CHANFD_INHERIT,
	  0, NOWHERE, NOWHERE },
	{ IOC(SEND), ON(CHANNEL), CHANNEL, CHANFD_NONBLOCK,
	  AT(transfer, flags), AT(transfer, reserved), NOWHERE },
	{ IOC(RECV), ON(CHANNEL), CHANNEL, CHANFD_NONBLOCK | CHANFD_LEASED,
	  AT(transfer, flags), AT(transfer, reserved), NOWHERE },
	{ IOC(CLOSE), ON(CHANNEL), CHANNEL, 0, NOWHERE, AT(close, reserved),
	  NOWHERE },
	{ IOC(CHANNEL_INFO), ON(CHANNEL), CHANNEL, 0, NOWHERE, NOWHERE, NOWHERE },
	{ IOC(ADD), ON(WAITGROUP), WAITGROUP, 0, NOWHERE, NOWHERE, NOWHERE },
	{ IOC(TOKEN), ON(WAITGROUP), WAITGROUP, CHANFD_INHERIT | CHANFD_AUTO_DONE,
	  0, NOWHERE, NOWHERE },
	{ IOC(DONE), ON(TOKEN), TOKEN, 0, NOWHERE, AT(done, reserved), NOWHERE },
	{ IOC(WAITGROUP_INFO), ON(WAITGROUP), WAITGROUP, 0, NOWHERE, NOWHERE,
	  NOWHERE },
	{ IOC(CANCEL), ON(CONTEXT), CONTEXT, 0, NOWHERE, AT(cancel, reserved),
	  NOWHERE },
	{ IOC(BIND), ON(CONTEXT), CONTEXT, 0, NOWHERE, AT(bind, reserved), NOWHERE },
	{ IOC(VALUE), ON(CONTEXT), CONTEXT, 0, NOWHERE, AT(value, reserved),
	  NOWHERE },
	{ IOC(CONTEXT_INFO), ON(CONTEXT), CONTEXT, 0, NOWHERE, NOWHERE, NOWHERE },
#undef IOC
#undef AT
};

#define for_each_call(c) \
	for (c = calls; c < calls + ARRAY_SIZE(calls); c++)

static const struct call *call_of(unsigned int cmd)
{
	const struct call *c;

	for_each_call(c)
		if (c->cmd == cmd)
			return c;
	errx(1, "no such call");
}

/* Bytes of its argument as it was published first. */
static unsigned int least_size(const struct call *c)
{
	switch (c->cmd) {
	case CHANFD_IOC_SEND:
	case CHANFD_IOC_RECV:
		return offsetof(struct chanfd_transfer, fds);
	case CHANFD_IOC_CHANNEL_INFO:
		return offsetof(struct chanfd_channel_info, leased);
	default:
		return _IOC_SIZE(c->cmd);
	}
}

static bool is_struct(const struct call *c)
{
	return _IOC_SIZE(c->cmd) > sizeof(uint32_t);
}

static bool is_input(const struct call *c)
{
	return _IOC_DIR(c->cmd) & _IOC_WRITE;
}

static unsigned int resized(const struct call *c, unsigned int size)
{
	return _IOC(_IOC_DIR(c->cmd), _IOC_TYPE(c->cmd), _IOC_NR(c->cmd), size);
}

/* New objects for every call, in a state in which each call succeeds. */
struct objects {
	int fd[TARGETS];
	int pipe[2];
	uint64_t message;
	char value[8];
	struct chanfd_case one_case;
};

static const char key[CHANFD_KEY_LEN] = "a key";

static void objects_free(struct objects *o)
{
	int i;

	for (i = 0; i < TARGETS; i++)
		close(o->fd[i]);
	close(o->pipe[1]);
}

static void objects_new(struct objects *o)
{
	struct chanfd_context c = {
		.parent = -1,
		.value = (uintptr_t)"value",
		.value_size = 5,
	};

	if (pipe2(o->pipe, O_CLOEXEC))
		err(1, "pipe2");
	memcpy(c.key, key, sizeof(c.key));
	o->fd[DEVICE] = chanfd_device();
	if (o->fd[DEVICE] < 0 || ioctl(o->fd[DEVICE], CHANFD_IOC_CONTEXT, &c))
		err(1, "CHANFD_IOC_CONTEXT");
	o->fd[CONTEXT] = c.fd[0];
	o->fd[CHANNEL] = make(4);
	if (put(o->fd[CHANNEL], 17) || put(o->fd[CHANNEL], 18))
		err(1, "chanfd_send");
	o->fd[WAITGROUP] = chanfd_waitgroup(0, NULL);
	o->fd[TOKEN] = chanfd_wg_token(o->fd[WAITGROUP], 0);
	if (o->fd[TOKEN] < 0)
		err(1, "chanfd_wg_token");
	o->fd[LOCK] = chanfd_rwmutex(0, NULL);
	if (chanfd_rlock(o->fd[LOCK], NULL))
		err(1, "chanfd_rlock");
	o->fd[CONDITION] = chanfd_condition(0, NULL);
	o->fd[CELL] = chanfd_cell(sizeof(o->message), 0, NULL);
	if (chanfd_store(o->fd[CELL], &o->message, sizeof(o->message), NULL))
		err(1, "chanfd_store");
	o->fd[FILE_OF_OTHERS] = o->pipe[0];
	o->fd[NO_FILE] = -1;
	o->one_case = CHANFD_POLL(o->pipe[1], POLLOUT);
}

FIXTURE(bad_input) {
	struct objects o;
};

FIXTURE_SETUP(bad_input)
{
	objects_new(&self->o);
}

FIXTURE_TEARDOWN(bad_input)
{
	objects_free(&self->o);
}

/* Arguments with which the call succeeds, and does not block. */
static union argument valid(struct objects *o, const struct call *c)
{
	union argument a;

	memset(&a, 0, sizeof(a));
	switch (c->cmd) {
	case CHANFD_IOC_CHANNEL:
		a.channel.elem_size = 8;
		break;
	case CHANFD_IOC_CONTEXT:
		a.context.parent = -1;
		break;
	case CHANFD_IOC_SELECT:
		a.select.context = -1;
		a.select.cases = (uintptr_t)&o->one_case;
		a.select.count = 1;
		break;
	case CHANFD_IOC_REDUCE:
		a.number = CHANFD_READ;
		break;
	case CHANFD_IOC_SEND:
	case CHANFD_IOC_RECV:
		a.transfer.context = -1;
		a.transfer.buf = (uintptr_t)&o->message;
		a.transfer.size = sizeof(o->message);
		a.transfer.count = 1;
		break;
	case CHANFD_IOC_LOCK:
		a.acquire.flags = CHANFD_SHARED;
		a.acquire.context = -1;
		break;
	case CHANFD_IOC_LOAD:
		a.load.buf = (uintptr_t)&o->message;
		a.load.size = sizeof(o->message);
		break;
	case CHANFD_IOC_STORE:
		a.store.buf = (uintptr_t)&o->message;
		a.store.size = sizeof(o->message);
		break;
	case CHANFD_IOC_UNLOCK:
		a.number = CHANFD_SHARED;
		break;
	case CHANFD_IOC_ADD:
		a.add.delta = 1;
		break;
	case CHANFD_IOC_BIND:
		a.bind.fd = o->pipe[0];
		a.bind.events = POLLIN;
		break;
	case CHANFD_IOC_VALUE:
		memcpy(a.value.key, key, sizeof(a.value.key));
		a.value.buf = (uintptr_t)o->value;
		a.value.size = sizeof(o->value);
		break;
	}
	return a;
}

/* Everything that can be seen of the objects. */
struct state {
	struct chanfd_channel_info channel;
	struct chanfd_waitgroup_info waitgroup;
	struct chanfd_context_info context;
	struct chanfd_lock_info lock;
	struct chanfd_condition_info condition;
	struct chanfd_cell_info cell;
	long handles;
};

static struct state state_of(struct objects *o)
{
	struct state s;

	memset(&s, 0, sizeof(s));
	s.channel = info_of(o->fd[CHANNEL]);
	if (ioctl(o->fd[WAITGROUP], CHANFD_IOC_WAITGROUP_INFO, &s.waitgroup) ||
	    ioctl(o->fd[CONTEXT], CHANFD_IOC_CONTEXT_INFO, &s.context) ||
	    ioctl(o->fd[LOCK], CHANFD_IOC_LOCK_INFO, &s.lock) ||
	    ioctl(o->fd[CONDITION], CHANFD_IOC_CONDITION_INFO, &s.condition) ||
	    ioctl(o->fd[CELL], CHANFD_IOC_CELL_INFO, &s.cell))
		err(1, "info");
	s.handles = handles_open();
	return s;
}

/*
 * The errno of a call that should fail. One that succeeds, or does not leave
 * alone what it should, is none that any test expects.
 */
enum { SUCCEEDED = 10000, CHANGED_OBJECT, WROTE_OUTPUT };

static int failure(struct objects *o, enum target on,
		   unsigned int cmd, const union argument *argument)
{
	struct state before = state_of(o), after;
	union argument a = *argument;
	int error = errno_of(ioctl(o->fd[on], cmd, &a));

	if (!error)
		return SUCCEEDED;
	after = state_of(o);
	if (memcmp(&before, &after, sizeof(before)))
		return CHANGED_OBJECT;
	if (memcmp(a.bytes, argument->bytes, sizeof(a.bytes)))
		return WROTE_OUTPUT;
	return error;
}

/* The table itself is right: what is not spoilt works. */
TEST_F(bad_input, what_is_valid_succeeds)
{
	const struct call *c;
	union argument a;

	for_each_call(c) {
		a = valid(&self->o, c);
		EXPECT_EQ(0, errno_of(ioctl(self->o.fd[c->target], c->cmd, &a))) {
			TH_LOG("%s", c->name);
		}
		objects_free(&self->o);
		objects_new(&self->o);
	}
}

/* Sizes. */

TEST_F(bad_input, too_short)
{
	const struct call *c;
	union argument a;
	int size;

	for_each_call(c) {
		a = valid(&self->o, c);
		for (size = least_size(c) - 1; size >= 0; size--) {
			EXPECT_EQ(ENOTTY, failure(&self->o, c->target,
						  resized(c, size), &a)) {
				TH_LOG("%s with %d bytes", c->name, size);
			}
		}
	}
}

/* What was published first works for good, and nothing behind it is touched. */
TEST_F(bad_input, as_short_as_at_first)
{
	const struct call *c;
	union argument a, b;
	unsigned int size;

	for_each_call(c) {
		size = least_size(c);
		a = valid(&self->o, c);
		memset(a.bytes + size, 0xa5, sizeof(a) - size);
		b = a;
		EXPECT_EQ(0, errno_of(ioctl(self->o.fd[c->target], resized(c, size), &b))) {
			TH_LOG("%s with %u bytes", c->name, size);
		}
		EXPECT_EQ(0, memcmp(a.bytes + size, b.bytes + size, sizeof(a) - size));
		objects_free(&self->o);
		objects_new(&self->o);
	}
}

TEST_F(bad_input, longer_with_a_zero_tail)
{
	static const unsigned int more[] = { 1, 4, 8, 500 };
	const struct call *c;
	union argument a;
	unsigned int i;

	for_each_call(c) {
		if (!is_struct(c))
			continue;
		for (i = 0; i < ARRAY_SIZE(more); i++) {
			unsigned int cmd = resized(c, _IOC_SIZE(c->cmd) + more[i]);

			a = valid(&self->o, c);
			EXPECT_EQ(0, errno_of(ioctl(self->o.fd[c->target], cmd, &a))) {
				TH_LOG("%s with %u bytes more", c->name, more[i]);
			}
			objects_free(&self->o);
			objects_new(&self->o);
		}
	}
}

TEST_F(bad_input, longer_with_something_in_the_tail)
{
	static const unsigned int more[] = { 1, 4, 8, 500 };
	const struct call *c;
	union argument a;
	unsigned int i;

	for_each_call(c) {
		if (!is_struct(c) || !is_input(c))
			continue;
		for (i = 0; i < ARRAY_SIZE(more); i++) {
			unsigned int size = _IOC_SIZE(c->cmd) + more[i];

			a = valid(&self->o, c);
			a.bytes[size - 1] = 1;
			EXPECT_EQ(E2BIG, failure(&self->o, c->target,
						 resized(c, size), &a)) {
				TH_LOG("%s with %u bytes more", c->name, more[i]);
			}
			a.bytes[size - 1] = 0;
			a.bytes[_IOC_SIZE(c->cmd)] = 0x80;
			EXPECT_EQ(E2BIG, failure(&self->o, c->target,
						 resized(c, size), &a)) {
				TH_LOG("%s with %u bytes more", c->name, more[i]);
			}
		}
	}
}

/* Fields. */

TEST_F(bad_input, unknown_flags)
{
	const struct call *c;
	union argument a;
	uint32_t flags;
	int bit;

	for_each_call(c) {
		if (c->flags_at == NOWHERE)
			continue;
		for (bit = 0; bit < 32; bit++) {
			if (c->flags & 1U << bit)
				continue;
			a = valid(&self->o, c);
			memcpy(&flags, a.bytes + c->flags_at, sizeof(flags));
			flags |= 1U << bit;
			memcpy(a.bytes + c->flags_at, &flags, sizeof(flags));
			EXPECT_EQ(EINVAL, failure(&self->o, c->target, c->cmd, &a)) {
				TH_LOG("%s with flag %#x", c->name, 1U << bit);
			}
		}
	}
}

/* Flags that it knows, but that contradict each other. */
TEST_F(bad_input, contradicting_flags)
{
	union argument a = valid(&self->o, call_of(CHANFD_IOC_CONTEXT));

	a.context.flags = CHANFD_PAIR | CHANFD_OBSERVE;
	EXPECT_EQ(EINVAL, failure(&self->o, DEVICE, CHANFD_IOC_CONTEXT, &a));
	a = valid(&self->o, call_of(CHANFD_IOC_LOCK_NEW));
	a.lock.flags = CHANFD_HANDOFF | CHANFD_BARGING;
	EXPECT_EQ(EINVAL, failure(&self->o, DEVICE, CHANFD_IOC_LOCK_NEW, &a));
	a.number = CHANFD_SHARED | CHANFD_GIVE_UP;
	EXPECT_EQ(EINVAL, failure(&self->o, LOCK, CHANFD_IOC_UNLOCK, &a));
}

TEST_F(bad_input, reserved_fields)
{
	const struct call *c;
	union argument a;
	int bit;

	for_each_call(c) {
		if (c->reserved_at == NOWHERE)
			continue;
		for (bit = 0; bit < 32; bit++) {
			a = valid(&self->o, c);
			a.bytes[c->reserved_at + bit / 8] |= 1 << bit % 8;
			EXPECT_EQ(EINVAL, failure(&self->o, c->target, c->cmd, &a)) {
				TH_LOG("%s, bit %d", c->name, bit);
			}
		}
	}
}

TEST_F(bad_input, garbage)
{
	static const uint8_t fillings[] = { 0xff, 0xa5, 0x80, 0x7f };
	const struct call *c;
	union argument a;
	int error;
	unsigned int i;

	for_each_call(c) {
		if (!is_input(c))
			continue;
		for (i = 0; i < ARRAY_SIZE(fillings); i++) {
			memset(&a, fillings[i], sizeof(a));
			error = failure(&self->o, c->target, c->cmd, &a);
			/* A waitgroup's count may be what is out of range. */
			if (c->cmd == CHANFD_IOC_ADD &&
			    (error == ERANGE || error == EOVERFLOW))
				continue;
			EXPECT_EQ(EINVAL, error) {
				TH_LOG("%s full of %#x", c->name, fillings[i]);
			}
		}
	}
}

/* One number that is out of range, everything else as it should be. */
TEST_F(bad_input, numbers)
{
	const struct {
		const char *name;
		unsigned int call;
		int at;
		uint32_t number;
		int error;
	} rows[] = {
#define ROW(call, type, field, number, error) \
	{ #call " " #field " " #number, CHANFD_IOC_##call, \
	  offsetof(struct chanfd_##type, field), number, error }
		ROW(SEND, transfer, count, 0, EINVAL),
		ROW(SEND, transfer, count, CHANFD_MAX_BATCH + 1, EINVAL),
		ROW(SEND, transfer, count, UINT32_MAX, EINVAL),
		ROW(SEND, transfer, count, 1U << 29, EINVAL),
		ROW(SEND, transfer, count, 2, EMSGSIZE),
		ROW(SEND, transfer, size, 0, EMSGSIZE),
		ROW(SEND, transfer, size, 7, EMSGSIZE),
		ROW(SEND, transfer, size, 16, EMSGSIZE),
		ROW(SEND, transfer, size, UINT32_MAX, EMSGSIZE),
		ROW(SEND, transfer, size, 0x80000008, EMSGSIZE),
		ROW(SEND, transfer, context, 9999, EBADF),
		ROW(SEND, transfer, context, INT32_MAX, EBADF),
		ROW(SEND, transfer, sizes, 8, EINVAL),
		ROW(RECV, transfer, count, 0, EINVAL),
		ROW(RECV, transfer, count, CHANFD_MAX_BATCH + 1, EINVAL),
		ROW(RECV, transfer, count, UINT32_MAX, EINVAL),
		ROW(RECV, transfer, size, 0, EMSGSIZE),
		ROW(RECV, transfer, size, 7, EMSGSIZE),
		ROW(RECV, transfer, context, 9999, EBADF),
		ROW(RECV, transfer, sizes, 8, EINVAL),
		ROW(CLOSE, close, cause, -1, EINVAL),
		ROW(CLOSE, close, cause, 512, EINVAL),
		ROW(CLOSE, close, cause, 4095, EINVAL),
		ROW(CLOSE, close, cause, 4096, EINVAL),
		ROW(CLOSE, close, cause, INT32_MAX, EINVAL),
		ROW(CLOSE, close, cause, INT32_MIN, EINVAL),
		ROW(ADD, add, delta, -2, ERANGE),
		ROW(ADD, add, delta, INT32_MIN, ERANGE),
		ROW(ADD, add, delta, INT32_MAX, EOVERFLOW),
		ROW(DONE, done, error, -1, EINVAL),
		ROW(DONE, done, error, 4096, EINVAL),
		ROW(CONTEXT, context, value_size, CHANFD_MAX_VALUE + 1, EINVAL),
		ROW(CONTEXT, context, value_size, UINT32_MAX, EINVAL),
		ROW(CONTEXT, context, parent, 9999, EBADF),
		ROW(VALUE, value, key, 1, ENOENT),
		ROW(VALUE, value, size, 4, EMSGSIZE),
		ROW(VALUE, value, size, 0, EMSGSIZE),
		ROW(BIND, bind, fd, -1, EBADF),
		ROW(BIND, bind, fd, 9999, EBADF),
		ROW(CELL, cell, size, CHANFD_MAX_CELL + 1, EINVAL),
		ROW(LOAD, load, size, 7, EMSGSIZE),
		ROW(STORE, store, size, 9, EMSGSIZE),
		ROW(STORE, store, size, UINT32_MAX, EMSGSIZE),
		ROW(STORE, store, tag, 1, EPROTOTYPE),
		ROW(STORE, store, flags, CHANFD_IF_VERSION, ESTALE),
		ROW(LOCK, acquire, context, 9999, EBADF),
		ROW(LOCK, acquire, flags, CHANFD_NONBLOCK, EAGAIN),
		ROW(SELECT, select, count, CHANFD_MAX_CASES + 1, E2BIG),
		ROW(SELECT, select, count, UINT32_MAX, E2BIG),
		ROW(SELECT, select, count, 0x10000001, E2BIG),
		ROW(SELECT, select, context, 9999, EBADF),
#undef ROW
	};
	const struct call *c;
	union argument a;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		c = call_of(rows[i].call);
		a = valid(&self->o, c);
		memcpy(a.bytes + rows[i].at, &rows[i].number, sizeof(uint32_t));
		EXPECT_EQ(rows[i].error, failure(&self->o, c->target, c->cmd, &a)) {
			TH_LOG("%s", rows[i].name);
		}
	}
}

/* Pointers. */

TEST_F(bad_input, wild_argument)
{
	void *wild[] = {
		NULL, (void *)1, bad_pointer(), (void *)-1L, (void *)-4096L,
		(void *)0xffff888000000000UL, (void *)0x8000000000000000UL,
	};
	struct state before = state_of(&self->o), after;
	const struct call *c;
	unsigned int i;

	for_each_call(c) {
		for (i = 0; i < ARRAY_SIZE(wild); i++) {
			EXPECT_EQ(EFAULT, errno_of(ioctl(self->o.fd[c->target],
							 c->cmd, wild[i]))) {
				TH_LOG("%s, %p", c->name, wild[i]);
			}
		}
	}
	after = state_of(&self->o);
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
}

/* The end of the structure is on a page that is not there. */
TEST_F(bad_input, half_an_argument)
{
	char *page = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct state before = state_of(&self->o), after;
	const struct call *c;
	union argument a;

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, mprotect(page + getpagesize(), getpagesize(), PROT_NONE));
	for_each_call(c) {
		char *at = page + getpagesize() - _IOC_SIZE(c->cmd) + 1;

		a = valid(&self->o, c);
		memcpy(at, &a, _IOC_SIZE(c->cmd) - 1);
		EXPECT_EQ(EFAULT, errno_of(ioctl(self->o.fd[c->target], c->cmd, at))) {
			TH_LOG("%s", c->name);
		}
	}
	after = state_of(&self->o);
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
}

/*
 * The arguments can be read, but the results not be written. Either the call
 * notices that before it does anything, or it is done and says so.
 */
TEST_F(bad_input, read_only_argument)
{
	union argument *page = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct state before, after;
	const struct call *c;
	int error;

	ASSERT_NE(MAP_FAILED, page);
	for_each_call(c) {
		if (!(_IOC_DIR(c->cmd) & _IOC_READ))
			continue;
		before = state_of(&self->o);
		ASSERT_EQ(0, mprotect(page, getpagesize(), PROT_READ | PROT_WRITE));
		*page = valid(&self->o, c);
		ASSERT_EQ(0, mprotect(page, getpagesize(), PROT_READ));
		error = errno_of(ioctl(self->o.fd[c->target], c->cmd, page));
		after = state_of(&self->o);
		if (error) {
			EXPECT_EQ(EFAULT, error) {
				TH_LOG("%s", c->name);
			}
			EXPECT_EQ(0, memcmp(&before, &after, sizeof(before))) {
				TH_LOG("%s", c->name);
			}
		} else {
			/* What has no other result cannot succeed like that. */
			EXPECT_TRUE(c->cmd == CHANFD_IOC_SEND ||
				    c->cmd == CHANFD_IOC_ADD) {
				TH_LOG("%s", c->name);
			}
		}
		objects_free(&self->o);
		objects_new(&self->o);
	}
}

TEST_F(bad_input, wild_pointers_inside)
{
	void *wild[] = {
		NULL, (void *)1, bad_pointer(), (void *)-1L, (void *)-4096L,
		(void *)0xffff888000000000UL, (void *)0x8000000000000000UL,
	};
	static const struct {
		unsigned int cmd;
		int at;
	} rows[] = {
		{ CHANFD_IOC_SEND, offsetof(struct chanfd_transfer, buf) },
		{ CHANFD_IOC_RECV, offsetof(struct chanfd_transfer, buf) },
		{ CHANFD_IOC_VALUE, offsetof(struct chanfd_value, buf) },
		{ CHANFD_IOC_CONTEXT, offsetof(struct chanfd_context, value) },
		{ CHANFD_IOC_SELECT, offsetof(struct chanfd_select, cases) },
	};
	const struct call *c;
	union argument a;
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		c = call_of(rows[i].cmd);
		for (k = 0; k < ARRAY_SIZE(wild); k++) {
			/* There it has a meaning. */
			if (!wild[k] && c->cmd == CHANFD_IOC_RECV)
				continue;
			a = valid(&self->o, c);
			if (c->cmd == CHANFD_IOC_CONTEXT) {
				memcpy(a.context.key, key, sizeof(key));
				a.context.value_size = 4;
			}
			memcpy(a.bytes + rows[i].at, &wild[k], sizeof(wild[k]));
			EXPECT_EQ(EFAULT, failure(&self->o, c->target, c->cmd, &a)) {
				TH_LOG("%s, %p", c->name, wild[k]);
			}
		}
	}
}

/* As many bytes as fit into the number, at a place where not all of them are. */
TEST_F(bad_input, huge_sizes)
{
	static char buf[65536];
	union argument a = { 0 };
	int zero = chanfd_channel(0, 1, 0, NULL);
	int big = chanfd_channel(CHANFD_MAX_MESSAGE, 1, 0, NULL);
	int var = chanfd_channel(CHANFD_MAX_MESSAGE, 4, CHANFD_VARIABLE, NULL);
	uint32_t sizes[4] = { 0x80000000, 0x80000000, 1, 1 };

	ASSERT_LE(0, zero);
	ASSERT_LE(0, big);
	ASSERT_LE(0, var);
	a.transfer.context = -1;
	a.transfer.buf = (uintptr_t)buf;

	/* The count times the size is 2^32 times something, which is not 0. */
	a.transfer.count = 1024;
	a.transfer.size = 0;
	EXPECT_EQ(EMSGSIZE, errno_of(ioctl(big, CHANFD_IOC_SEND, &a)));
	a.transfer.size = 1024 * 65536U;
	EXPECT_EQ(EFAULT, errno_of(ioctl(big, CHANFD_IOC_SEND, &a)));
	a.transfer.size = 1;
	EXPECT_EQ(EMSGSIZE, errno_of(ioctl(zero, CHANFD_IOC_SEND, &a)));

	/* Sizes whose sum is right only in 32 bits. */
	a.transfer.count = 4;
	a.transfer.size = 2;
	a.transfer.sizes = (uintptr_t)sizes;
	EXPECT_EQ(EMSGSIZE, errno_of(ioctl(var, CHANFD_IOC_SEND, &a)));
	/* Without them nobody knows where one ends. */
	a.transfer.sizes = 0;
	EXPECT_EQ(EINVAL, errno_of(ioctl(var, CHANFD_IOC_SEND, &a)));
	EXPECT_EQ(EINVAL, errno_of(ioctl(var, CHANFD_IOC_RECV, &a)));
	EXPECT_EQ(0, info_of(big).sent);
	EXPECT_EQ(0, info_of(zero).sent);
	EXPECT_EQ(0, info_of(var).sent);

	/* More room than there is memory is no harm. */
	EXPECT_EQ(0, chanfd_send(var, "x", 1, NULL));
	a.transfer.count = 1;
	a.transfer.size = UINT32_MAX;
	EXPECT_EQ(1, ioctl(var, CHANFD_IOC_RECV, &a));
	EXPECT_EQ(1, a.transfer.size);
	EXPECT_EQ('x', buf[0]);

	EXPECT_EQ(EFAULT, errno_of(write(self->o.fd[CHANNEL], bad_pointer(), 1 << 20)));
	EXPECT_EQ(2, info_of(self->o.fd[CHANNEL]).sent);
}

/* Handles. */

TEST_F(bad_input, wrong_handle)
{
	const struct call *c;
	enum target on;
	union argument a;

	for_each_call(c) {
		for (on = 0; on < TARGETS; on++) {
			if (c->on & ON(on))
				continue;
			a = valid(&self->o, c);
			EXPECT_EQ(on == NO_FILE ? EBADF : ENOTTY,
				  failure(&self->o, on, c->cmd, &a)) {
				TH_LOG("%s on %d", c->name, on);
			}
		}
	}
}

/* A handle, but not of a context, where a context should be. */
TEST_F(bad_input, wrong_handle_inside)
{
	static const unsigned int cmds[] = {
		CHANFD_IOC_SEND, CHANFD_IOC_RECV, CHANFD_IOC_SELECT,
		CHANFD_IOC_CONTEXT,
	};
	static const int at[] = {
		offsetof(struct chanfd_transfer, context),
		offsetof(struct chanfd_transfer, context),
		offsetof(struct chanfd_select, context),
		offsetof(struct chanfd_context, parent),
	};
	const struct call *c;
	union argument a;
	enum target on;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		c = call_of(cmds[i]);
		for (on = DEVICE; on <= FILE_OF_OTHERS; on++) {
			if (on == CONTEXT)
				continue;
			a = valid(&self->o, c);
			memcpy(a.bytes + at[i], &self->o.fd[on], sizeof(int));
			EXPECT_EQ(EINVAL, failure(&self->o, c->target, c->cmd, &a)) {
				TH_LOG("%s with %d", c->name, on);
			}
		}
	}
}

static bool is_known(unsigned int nr)
{
	const struct call *c;

	for_each_call(c)
		if (_IOC_NR(c->cmd) == nr)
			return true;
	/* Not in the table: it has to wait to succeed. See condition_test. */
	return nr == _IOC_NR(CHANFD_IOC_CONDITION_WAIT);
}

TEST_F(bad_input, unknown_commands)
{
	unsigned int nr, cmd;
	enum target on;
	union argument a;

	memset(&a, 0, sizeof(a));
	for (on = DEVICE; on < FILE_OF_OTHERS; on++) {
		for (nr = 0; nr < 256; nr++) {
			cmd = _IOWR(CHANFD_IOC_MAGIC, nr, a);
			/* Those that there are, of another driver. */
			if (is_known(nr))
				cmd = _IOWR('Q', nr, a);
			EXPECT_EQ(ENOTTY, failure(&self->o, on, cmd, &a)) {
				TH_LOG("%#x on %d", cmd, on);
			}
		}
	}
}

/* What a handle has no right to. */
TEST_F(bad_input, wrong_rights)
{
	static const struct {
		unsigned int cmd;
		uint32_t needs;
	} rows[] = {
		{ CHANFD_IOC_SEND, CHANFD_WRITE },
		{ CHANFD_IOC_RECV, CHANFD_READ },
		{ CHANFD_IOC_CLOSE, CHANFD_WRITE },
		{ CHANFD_IOC_ADD, CHANFD_WRITE },
		{ CHANFD_IOC_TOKEN, CHANFD_WRITE },
		{ CHANFD_IOC_CANCEL, CHANFD_WRITE },
		{ CHANFD_IOC_BIND, CHANFD_WRITE },
		{ CHANFD_IOC_VALUE, CHANFD_READ },
	};
	struct state before, after;
	const struct call *c;
	union argument a;
	unsigned int i;
	int reduced;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		c = call_of(rows[i].cmd);
		reduced = chanfd_reduce(self->o.fd[c->target], rows[i].needs ^
					(CHANFD_READ | CHANFD_WRITE));
		ASSERT_LE(0, reduced);
		before = state_of(&self->o);
		a = valid(&self->o, c);
		EXPECT_EQ(EPERM, errno_of(ioctl(reduced, c->cmd, &a))) {
			TH_LOG("%s", c->name);
		}
		after = state_of(&self->o);
		EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
		close(reduced);
	}
}

TEST_HARNESS_MAIN
