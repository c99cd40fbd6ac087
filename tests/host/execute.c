// SPDX-License-Identifier: GPL-2.0
/*
 * Runs programs: each of their threads does its operations, one after the other, and
 * writes down how they ended. The conductor, who is the caller, waits until all have
 * ended or sleep; of those who sleep it then lets somebody go, until none is left.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../../uapi/chanfd.h"
#include "host.h"
#include "program.h"

/* Nothing that moves for this long will not move any more. */
#define STUCK_SECONDS	60

#define BAD_ADDRESS	8

/* Beyond a message's bytes in a buffer. */
#define UNTOUCHED	0xee

/*
 * Descriptors of a thread; -1 where it has none. Its own, but for the conductor, who
 * looks at them while all others sleep.
 */
struct handles {
	_Atomic int of[OBJECTS];
	_Atomic int token[TOKENS];
	_Atomic int lease;
};

struct worker {
	pthread_t thread;
	struct task_struct *task;
	sem_t go;
	struct op *_Atomic op;	/* that it is in */
	_Atomic bool idle;
	_Atomic int process;	/* its number */
};

static struct worker workers[WORKERS];
static struct handles handles[THREADS];
static struct vm_area_struct *cell_page;
static struct program *program;	/* that of the history */
static struct history *history;
static _Atomic u64 ends_at[OBJECTS];	/* deadlines of contexts */
static _Atomic int events;
static _Atomic int ready;		/* workers that may begin */
static _Atomic bool stopping;
static int device, event_file;

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void record(u8 type, int thread, int op, u8 asleep)
{
	history->event[events++] = (struct event){ type, thread, op, asleep };
}

/* A deadline, most of them near enough to meet others that come. */
static u64 deadline(u8 how)
{
	if (how == SOON)
		return now() + (now() & 0x1ffff);
	return how == PAST ? 1 : 0;
}

static void fill(u8 *buf, u8 value, u32 size)
{
	u32 i;

	for (i = 0; i < size; i++)
		buf[i] = value + i;
}

static bool is_filled(const u8 *buf, u8 value, u32 size)
{
	u32 i;

	for (i = 0; i < size; i++)
		if (buf[i] != (u8)(value + i))
			return false;
	return true;
}

static bool is_untouched(const u8 *buf, u32 size)
{
	u32 i;

	for (i = 0; i < size; i++)
		if (buf[i] != UNTOUCHED)
			return false;
	return true;
}

/* Fails what the operation says in the next call. */
static void arm_fault(const struct op *op)
{
	if (op->fault == FAIL_COPY || op->fault == FAIL_COPIES)
		host_fault(op->nth, op->fault == FAIL_COPIES);
	if (op->fault == FAIL_ALLOC)
		host_fail_alloc(op->nth);
}

static int limit_of(const struct op *op)
{
	return op->limit ? handles[op->thread].of[op->limit] : -1;
}

/* Messages of an operation, and room for one more than there may be. */
struct buffer {
	u8 bytes[(BATCH + 1) * (LARGE + 1)];
	u32 sizes[BATCH];
};

/* What arrived in @b: as many as the operation says, of these sizes together. */
static void look_at(struct op *op, const struct a_channel *ch, const struct buffer *b, u32 total)
{
	const u8 *at = b->bytes;
	u32 size;
	int i;

	for (i = 0; i < op->ret; i++) {
		size = !ch->variable ? ch->elem_size : op->count > 1 ? b->sizes[i] : total;
		if (size > LARGE) {
			op->garbled = true;
			return;
		}
		op->sizes[i] = size;
		op->value[i] = *at;
		if (!(op->flags & NOWHERE) && !is_filled(at, *at, size))
			op->garbled = true;
		at += size;
	}
	if (at - b->bytes != total)
		op->garbled = true;
	if (!(op->flags & NOWHERE) &&
	    !is_untouched(b->bytes + total, sizeof(b->bytes) - total))
		op->garbled = true;
}

static void transfer(struct op *op)
{
	const struct a_channel *ch = &program->channel[op->obj];
	const struct a_case *c = &op->cases[0];
	struct buffer b;
	struct chanfd_transfer t = {
		.flags = (op->flags & NONBLOCK ? CHANFD_NONBLOCK : 0) |
			 (op->flags & LEASED ? CHANFD_LEASED : 0),
		.lease = op->flags & LEASED ? handles[op->thread].lease : 0,
		.context = limit_of(op),
		.deadline = deadline(op->deadline),
		.buf = c->bad ? BAD_ADDRESS : op->flags & NOWHERE ? 0 : (uintptr_t)b.bytes,
		.sizes = ch->variable && op->count > 1 ? (uintptr_t)b.sizes : 0,
		.size = c->size,
		.count = op->count,
	};
	int fd = handles[op->thread].of[op->obj], i;
	bool sends = op->kind == OP_SEND;

	memset(b.bytes, UNTOUCHED, sizeof(b.bytes));
	for (i = 0; i < op->count; i++)
		b.sizes[i] = c->size;
	if (sends) {
		for (i = 0; i < op->count; i++)
			fill(b.bytes + i * c->size, c->value + i, c->size);
		t.size *= op->count;
	}
	arm_fault(op);
	op->ret = host_ioctl(fd, sends ? CHANFD_IOC_SEND : CHANFD_IOC_RECV, &t);
	op->told = op->ret >= 0 && !host_failed();
	if (op->ret == -ETIMEDOUT && t.deadline && !op->limit && now() < t.deadline)
		op->early = true;
	if (op->flags & LEASED && op->ret > 0)
		handles[op->thread].lease = t.lease;
	op->returned = op->ret > 0 ? t.redelivered : 0;
	op->number = t.seq;
	op->has_number = op->told && op->ret > 0;
	if (!sends && op->told)
		look_at(op, ch, &b, t.size);
}

/* read(2) and write(2) */
static void file_call(struct op *op)
{
	const struct a_channel *ch = &program->channel[op->obj];
	const struct a_case *c = &op->cases[0];
	int fd = handles[op->thread].of[op->obj], i;
	struct buffer b;
	void *buf = c->bad ? (void *)BAD_ADDRESS : b.bytes;
	long ret;

	memset(b.bytes, UNTOUCHED, sizeof(b.bytes));
	if (op->flags & NONBLOCK)
		host_fcntl_setfl(fd, O_NONBLOCK);
	if (op->kind == OP_SEND) {
		for (i = 0; i < op->count; i++)
			fill(b.bytes + i * c->size, c->value + i, c->size);
		arm_fault(op);
		ret = host_write(fd, buf, c->size * op->count);
	} else {
		arm_fault(op);
		ret = host_read(fd, buf, c->size);
	}
	op->told = ret >= 0 && !host_failed();
	if (op->flags & NONBLOCK)
		host_fcntl_setfl(fd, 0);
	op->ret = ret;
	if (ret <= 0)
		return;
	op->ret = ch->variable ? 1 : ret / ch->elem_size;
	if (op->kind == OP_RECV && op->told)
		look_at(op, ch, &b, ret);
	if (op->kind == OP_SEND && ret != op->ret * c->size)
		op->garbled = true;
}

static void select_of(struct op *op)
{
	struct chanfd_case cases[CASES] = {};
	struct buffer b[CASES];
	struct chanfd_select s = {
		.flags = (op->flags & NONBLOCK ? CHANFD_NONBLOCK : 0) |
			 (op->flags & ORDERED ? CHANFD_ORDERED : 0),
		.context = limit_of(op),
		.deadline = deadline(op->deadline),
		.cases = (uintptr_t)cases,
		.count = op->count,
	};
	int i;

	for (i = 0; i < op->count; i++) {
		const struct a_case *c = &op->cases[i];
		struct chanfd_case *u = &cases[i];
		bool poll = c->op == CHANFD_CASE_POLL;

		u->fd = poll ? event_file : handles[op->thread].of[c->obj];
		u->op = c->op;
		memset(b[i].bytes, UNTOUCHED, LARGE + 1);
		if (c->op == CHANFD_CASE_SEND || c->op == CHANFD_CASE_RECV) {
			u->buf = c->bad ? BAD_ADDRESS : (uintptr_t)b[i].bytes;
			u->size = c->size;
		}
		if (c->op == CHANFD_CASE_SEND)
			fill(b[i].bytes, c->value, c->size);
		if (c->op == CHANFD_CASE_CHANGED)
			u->buf = c->known;
		if (c->op == CHANFD_CASE_WAIT) {
			u->flags = c->broken ? CHANFD_CASE_BROKEN : 0;
			u->size = c->broken ? c->known : 0;
		}
		if (poll)
			u->size = POLLIN;
	}
	op->ret = host_ioctl(device, CHANFD_IOC_SELECT, &s);
	/* Killed with a message in its hands: no program would see this outcome. */
	if (!op->ret && s.error == EINTR)
		op->ret = -EINTR;
	op->told = !op->ret;
	op->index = s.index;
	op->failed = s.error;
	op->ok = s.ok;
	op->size = s.size;
	op->status = s.status;
	op->number = s.number;
	if (op->ret == -ETIMEDOUT && s.deadline && !op->limit && now() < s.deadline)
		op->early = true;
	for (i = 0; i < op->count; i++) {
		const struct a_case *c = &op->cases[i];
		bool this = op->told && s.index == i && !s.error;
		u32 got = this && s.ok ? s.size : 0;

		if (this && (c->op == CHANFD_CASE_SEND || (c->op == CHANFD_CASE_RECV && s.ok)))
			op->has_number = true;
		if (c->op != CHANFD_CASE_RECV)
			continue;
		if (got > LARGE || !is_untouched(b[i].bytes + got, LARGE + 1 - got) ||
		    !is_filled(b[i].bytes, b[i].bytes[0], got))
			op->garbled = true;
		if (this) {
			op->sizes[0] = got;
			op->value[0] = b[i].bytes[0];
		}
	}
	if (op->told && s.index >= op->count)
		op->garbled = true;
}

/* What was told of a cell, @size bytes in @b, where @room was. */
static void look_at_value(struct op *op, const struct buffer *b, u32 size, u32 room)
{
	op->sizes[0] = size;
	op->value[0] = b->bytes[0];
	if (size > room || !is_filled(b->bytes, b->bytes[0], size) ||
	    !is_untouched(b->bytes + size, LARGE + 1 - size))
		op->garbled = true;
}

static void load(struct op *op, int fd)
{
	const struct a_case *c = &op->cases[0];
	struct buffer b;
	struct chanfd_load l = {
		.buf = c->bad ? BAD_ADDRESS : (uintptr_t)b.bytes,
		.size = c->size,
	};

	memset(b.bytes, UNTOUCHED, sizeof(b.bytes));
	arm_fault(op);
	op->ret = host_ioctl(fd, CHANFD_IOC_LOAD, &l);
	op->told = !op->ret && !host_failed();
	op->number = l.version;
	op->has_number = op->told;
	op->status = l.tag;
	if (op->told)
		look_at_value(op, &b, l.size, c->size);
}

static void store(struct op *op, int fd)
{
	const struct a_case *c = &op->cases[0];
	struct buffer new, old;
	struct chanfd_store s = {
		.flags = (op->flags & IF_VERSION ? CHANFD_IF_VERSION : 0) |
			 (op->flags & SWAP ? CHANFD_SWAP : 0),
		.tag = op->tag,
		.buf = c->bad ? BAD_ADDRESS : (uintptr_t)new.bytes,
		.size = c->size,
		.old = op->flags & SWAP ? (uintptr_t)old.bytes : 0,
		.old_size = op->flags & SWAP ? op->room : 0,
		.version = op->flags & IF_VERSION ? c->known : 0,
	};

	fill(new.bytes, c->value, c->size);
	memset(old.bytes, UNTOUCHED, sizeof(old.bytes));
	arm_fault(op);
	op->ret = host_ioctl(fd, CHANFD_IOC_STORE, &s);
	op->told = !op->ret && !host_failed();
	op->number = s.version;
	op->has_number = op->told;
	if (op->told && op->flags & SWAP)
		look_at_value(op, &old, s.old_size, op->room);
}

/* As a library would, without a system call; races, and then reads again. */
static void __attribute__((no_sanitize("thread"))) read_page(struct op *op)
{
	const volatile struct chanfd_cell_page *page = host_mapped(cell_page);
	struct buffer b;
	u64 before, after;
	u32 size, i;

	memset(b.bytes, UNTOUCHED, sizeof(b.bytes));
	do {
		before = page->sequence;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		op->number = page->version;
		op->status = page->tag;
		size = page->size;
		/* A store that comes meanwhile is to be noticed. */
		if (program->perturb)
			sched_yield();
		for (i = 0; i < size && i < LARGE; i++)
			b.bytes[i] = page->data[i];
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		after = page->sequence;
		if (before != after || before & 1)
			sched_yield();
	} while (before != after || before & 1);
	op->has_number = true;
	op->told = true;
	op->ret = op->number ? 0 : -ENODATA;
	op->sizes[0] = size;
	op->value[0] = b.bytes[0];
	if (size > LARGE || !is_filled(b.bytes, b.bytes[0], size))
		op->garbled = true;
}

static void release(struct op *op, int fd)
{
	u32 how = op->arg;

	op->ret = host_ioctl(fd, CHANFD_IOC_UNLOCK, &how);
}

static void acquire(struct op *op, int fd)
{
	struct chanfd_acquire a = {
		.flags = op->flags & NONBLOCK ? CHANFD_NONBLOCK : 0,
		.context = limit_of(op),
		.deadline = deadline(op->deadline),
	};

	if (op->cases[0].op == CHANFD_CASE_READ_LOCK)
		a.flags |= CHANFD_SHARED;
	arm_fault(op);
	op->ret = host_ioctl(fd, CHANFD_IOC_LOCK, &a);
	if (op->ret == -ETIMEDOUT && a.deadline && !op->limit && now() < a.deadline)
		op->early = true;
}

/* Another descriptor of the same with these rights instead of the one in @fd. */
static int keep(_Atomic int *fd, u32 rights)
{
	int fewer = -1, had = *fd;

	if (had >= 0 && rights) {
		fewer = host_ioctl(had, CHANFD_IOC_REDUCE, &rights);
		if (fewer < 0)
			return fewer;
	}
	*fd = fewer;
	return host_close(had);
}

static void add(struct op *op, struct handles *h)
{
	struct chanfd_add a = { .delta = op->arg, .error = op->error };

	op->ret = host_ioctl(h->of[GROUP], CHANFD_IOC_ADD, &a);
	op->size = a.count;
}

static void make_token(struct op *op, struct handles *h)
{
	u32 flags = op->flags & AUTO_DONE ? CHANFD_AUTO_DONE : 0;
	int fd = host_ioctl(h->of[GROUP], CHANFD_IOC_TOKEN, &flags);

	op->ret = fd < 0 ? fd : 0;
	if (fd >= 0)
		h->token[op->arg] = fd;
}

static int drop(_Atomic int *fd)
{
	int had = *fd;

	*fd = -1;
	return host_close(had);
}

/* Context @obj, derived from the one behind @parent. */
static int make_context(int obj, int parent, const struct a_context *a)
{
	struct chanfd_context c = {
		.flags = a->keep ? CHANFD_KEEP : 0,
		.parent = parent,
		.deadline = deadline(a->deadline),
		.deadline_cause = a->cause,
	};
	int ret;

	ends_at[obj] = c.deadline;
	ret = host_ioctl(device, CHANFD_IOC_CONTEXT, &c);
	return ret ?: c.fd[0];
}

static void derive(struct op *op, struct handles *h)
{
	struct a_context a = {
		.deadline = op->deadline,
		.cause = op->error,
		.keep = op->flags & KEEP_ALIVE,
	};
	int fd = -EBADF;

	/* Without a parent it would be the root of a tree of its own. */
	if (h->of[op->arg] >= 0)
		fd = make_context(op->obj, h->of[op->arg], &a);
	op->ret = fd < 0 ? fd : 0;
	if (fd >= 0)
		h->of[op->obj] = fd;
}

static void do_poll(struct op *op, int fd)
{
	int ret = host_poll(fd);

	op->ret = ret < 0 ? ret : 0;
	op->size = ret & (POLLIN | POLLOUT | POLLERR | POLLHUP);
}

static void send_signal(struct op *op)
{
	if (op->arg)
		host_kill(workers[op->obj].task);
	else
		host_signal(workers[op->obj].task);
}

/* Somebody's descriptor that has a right, or any. */
static int any_handle(int obj, u32 right)
{
	struct chanfd_info i;
	int t, fd;

	for (t = 0; t < THREADS; t++) {
		fd = handles[t].of[obj];
		if (fd >= 0 && !host_ioctl(fd, CHANFD_IOC_INFO, &i) && (i.rights & right) == right)
			return fd;
	}
	return -1;
}

/* The holder as its thread + 1; what is not a matter of the contract is left out. */
static void tell_lock(struct op *op, const struct chanfd_lock_info *l)
{
	int t;

	op->info[0] = l->state & ~CHANFD_STARVING;
	op->info[1] = l->holder;
	for (t = 0; t < WORKERS; t++)
		if (l->holder && l->holder == workers[t].process)
			op->info[1] = t + 1;
	op->info[2] = l->readers;
	op->info[3] = l->waiting_writers;
	op->info[4] = l->waiting_readers;
	op->info[5] = l->dead;
}

static void info(struct op *op)
{
	int fd = any_handle(op->obj, 0);
	struct chanfd_waitgroup_info g;
	struct chanfd_channel_info c;
	struct chanfd_cell_info cell;
	struct chanfd_lock_info lock;

	if (op->obj == LOCK) {
		op->ret = host_ioctl(fd, CHANFD_IOC_LOCK_INFO, &lock);
		tell_lock(op, &lock);
		return;
	}
	if (op->obj == CELL) {
		op->ret = host_ioctl(fd, CHANFD_IOC_CELL_INFO, &cell);
		op->info[0] = cell.version;
		op->info[1] = cell.size;
		op->info[2] = cell.tag;
		op->info[3] = cell.max;
		return;
	}
	if (op->obj == GROUP) {
		op->ret = host_ioctl(fd, CHANFD_IOC_WAITGROUP_INFO, &g);
		op->info[0] = g.round;
		op->info[1] = g.count;
		op->info[2] = g.tokens;
		op->info[3] = g.broken;
		op->info[4] = g.error;
		return;
	}
	op->ret = host_ioctl(fd, CHANFD_IOC_CHANNEL_INFO, &c);
	op->info[0] = c.len;
	op->info[1] = c.state;
	op->info[2] = c.cause;
	op->info[3] = c.senders;
	op->info[4] = c.receivers;
	op->info[5] = c.waiting_senders;
	op->info[6] = c.waiting_receivers;
	op->info[7] = c.sent;
	op->info[8] = c.received;
	op->info[9] = c.returned;
	op->info[10] = c.dropped;
	op->info[11] = c.leased;
}

static void forget_outcome(struct op *op)
{
	memset((char *)op + offsetof(struct op, ret), 0, sizeof(*op) - offsetof(struct op, ret));
}

/* Operation number @n of its thread. */
static void run(struct op *op, int n)
{
	struct handles *h = &handles[op->thread];

	forget_outcome(op);
	record(BEGIN, op->thread, n, 0);
	switch (op->kind) {
	case OP_SEND:
	case OP_RECV:
		if (op->flags & FILE_CALL)
			file_call(op);
		else
			transfer(op);
		break;
	case OP_SELECT:
		select_of(op);
		break;
	case OP_CLOSE:
		op->ret = host_ioctl(h->of[op->obj], CHANFD_IOC_CLOSE,
				     &(struct chanfd_close){ .cause = op->arg });
		break;
	case OP_KEEP:
		op->ret = keep(&h->of[op->obj], op->arg);
		break;
	case OP_ADD:
		add(op, h);
		break;
	case OP_TOKEN:
		make_token(op, h);
		break;
	case OP_DONE:
		op->ret = host_ioctl(h->token[op->arg], CHANFD_IOC_DONE,
				     &(struct chanfd_done){ .error = op->error });
		break;
	case OP_DROP_TOKEN:
		op->ret = drop(&h->token[op->arg]);
		break;
	case OP_COMMIT:
		op->ret = host_ioctl(h->lease, CHANFD_IOC_COMMIT, NULL);
		drop(&h->lease);
		break;
	case OP_DROP_LEASE:
		op->ret = drop(&h->lease);
		break;
	case OP_CANCEL:
		op->ret = host_ioctl(h->of[op->obj], CHANFD_IOC_CANCEL,
				     &(struct chanfd_cancel){ .cause = op->arg });
		break;
	case OP_DERIVE:
		derive(op, h);
		break;
	case OP_POLL:
		do_poll(op, h->of[op->obj]);
		break;
	case OP_LOAD:
		load(op, h->of[CELL]);
		break;
	case OP_STORE:
		store(op, h->of[CELL]);
		break;
	case OP_READ:
		read_page(op);
		break;
	case OP_LOCK:
		acquire(op, h->of[LOCK]);
		break;
	case OP_UNLOCK:
		release(op, h->of[LOCK]);
		break;
	case OP_DOWNGRADE:
		op->ret = host_ioctl(h->of[LOCK], CHANFD_IOC_DOWNGRADE, NULL);
		break;
	case OP_DIE:
		host_leave();
		workers[op->thread].process = host_process_number(host_process());
		break;
	case OP_SIGNAL:
		send_signal(op);
		break;
	case OP_EVENT:
		op->ret = host_eventfd_set(event_file, 1);
		break;
	case OP_INFO:
		info(op);
		break;
	}
	op->done = true;
	record(END, op->thread, n, 0);
}

/* Threads */

static void *work(void *arg)
{
	struct worker *w = arg;
	int t = w - workers, i;

	w->task = host_self();
	w->process = host_process_number(host_process());
	for (;;) {
		w->idle = true;
		while (sem_wait(&w->go))
			;
		if (stopping)
			return NULL;
		/* A signal may be left from the last run: a call takes it away. */
		host_poll(-1);
		host_seed(program->seed + t);
		ready++;
		while (ready < program->workers)
			sched_yield();
		for (i = 0; i < program->ops[t]; i++) {
			w->op = &program->op[t][i];
			if (program->op[t][i].kind != OP_NONE)
				run(&program->op[t][i], i);
		}
	}
}

void execute_start(void)
{
	int i;

	host_init();
	for (i = 0; i < WORKERS; i++) {
		sem_init(&workers[i].go, 0, 0);
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			abort();
		while (!workers[i].idle)
			sched_yield();
	}
}

void execute_stop(void)
{
	int i;

	stopping = true;
	for (i = 0; i < WORKERS; i++) {
		sem_post(&workers[i].go);
		pthread_join(workers[i].thread, NULL);
	}
	host_exit();
}

/* Objects */

static int must(long ret)
{
	if (ret < 0) {
		fprintf(stderr, "cannot make an object: %ld\n", ret);
		abort();
	}
	return ret;
}

static int make_object(int obj)
{
	struct chanfd_channel c = {};
	struct chanfd_waitgroup g = {};
	struct chanfd_cell cell = { .size = program->cell.size };
	struct chanfd_lock lock = {
		.flags = program->lock.flags | (program->lock.rw ? CHANFD_RW : 0),
	};

	if (obj < CHANNELS) {
		c.flags = program->channel[obj].variable ? CHANFD_VARIABLE : 0;
		c.elem_size = program->channel[obj].elem_size;
		c.capacity = program->channel[obj].capacity;
		must(host_ioctl(device, CHANFD_IOC_CHANNEL, &c));
		return c.fd[0];
	}
	if (obj == CELL) {
		must(host_ioctl(device, CHANFD_IOC_CELL, &cell));
		return cell.fd[0];
	}
	if (obj == LOCK) {
		must(host_ioctl(device, CHANFD_IOC_LOCK_NEW, &lock));
		return lock.fd[0];
	}
	must(host_ioctl(device, CHANFD_IOC_WAITGROUP, &g));
	return g.fd[0];
}

/* Everybody's handle of what is behind @fd. */
static void share(int fd, int obj)
{
	int t;

	for (t = 0; t < THREADS; t++) {
		u32 rights = program->rights[t][obj];

		if (rights)
			handles[t].of[obj] = must(host_ioctl(fd, CHANFD_IOC_REDUCE, &rights));
	}
}

static void make_objects(void)
{
	int full[OBJECTS], n = 0, i, t;

	for (t = 0; t < THREADS; t++) {
		for (i = 0; i < OBJECTS; i++)
			handles[t].of[i] = -1;
		for (i = 0; i < TOKENS; i++)
			handles[t].token[i] = -1;
		handles[t].lease = -1;
	}
	for (i = 0; i < OBJECTS; i++)
		ends_at[i] = 0;
	device = must(host_open(O_RDWR));
	event_file = must(host_eventfd(0));
	for (i = 0; i < program->channels; i++) {
		full[n++] = make_object(i);
		share(full[n - 1], i);
	}
	if (program->group) {
		full[n++] = make_object(GROUP);
		share(full[n - 1], GROUP);
	}
	if (program->has_lock) {
		full[n++] = make_object(LOCK);
		share(full[n - 1], LOCK);
	}
	if (program->has_cell) {
		full[n++] = make_object(CELL);
		share(full[n - 1], CELL);
		must(host_mmap(full[n - 1], sizeof(struct chanfd_cell_page), PROT_READ,
			       &cell_page));
	}
	for (i = 0; i < program->contexts; i++) {
		int parent = program->context[i].parent;

		/* A parent comes just before. */
		full[n] = must(make_context(CONTEXT + i, parent ? full[n - 1] : -1,
					    &program->context[i]));
		share(full[n++], CONTEXT + i);
	}
	while (n--)
		host_close(full[n]);
}

/* The conductor */

static void conduct(u8 kind, u8 obj, s32 arg)
{
	struct op *op;

	if (history->extras == EXTRA) {
		fprintf(stderr, "somebody sleeps who cannot be woken\n");
		history->events = events;
		print_program(program);
		print_history(history, events);
		abort();
	}
	op = &history->extra[history->extras];
	memset(op, 0, sizeof(*op));
	op->kind = kind;
	op->thread = CONDUCTOR;
	op->obj = obj;
	op->arg = arg;
	run(op, history->extras++);
}

/* What tells that a worker sleeps, or is through; 0: it is awake. */
static unsigned int rest(const struct worker *w)
{
	const struct op *op = w->op;

	if (w->idle)
		return UINT_MAX;
	/* Who will wake up by itself is not asleep. */
	return op && op->deadline == NEVER ? host_asleep(w->task) : 0;
}

/* Have deadlines of contexts passed that somebody may still observe, or do they have none? */
static bool contexts_rest(void)
{
	int i, fd;

	for (i = CONTEXT; i < OBJECTS; i++) {
		fd = ends_at[i] ? any_handle(i, R) : -1;
		if (fd >= 0 && !(host_poll(fd) & POLLIN))
			return false;
	}
	return true;
}

/* Does everybody rest, at one moment? Who does in @asleep. */
static bool all_rest(u8 *asleep)
{
	unsigned int before[WORKERS] = {};
	int t;

	*asleep = 0;
	for (t = 0; t < program->workers; t++) {
		before[t] = rest(&workers[t]);
		if (!before[t])
			return false;
		if (before[t] != UINT_MAX)
			*asleep |= 1 << t;
	}
	if (!contexts_rest())
		return false;
	host_settle();
	for (t = 0; t < program->workers; t++)
		if (rest(&workers[t]) != before[t])
			return false;
	return true;
}

static void look_around(void)
{
	int i;

	for (i = 0; i < OBJECTS; i++) {
		if (handles[CONDUCTOR].of[i] >= 0)
			conduct(OP_POLL, i, 0);
		if (i < CONTEXT && any_handle(i, 0) >= 0)
			conduct(OP_INFO, i, 0);
	}
}

/* Lets somebody go, if it can be done by what was chosen; at last by a signal. */
static void let_somebody_go(struct choices *c, u8 asleep)
{
	int obj = choose(c, OBJECTS), t = choose(c, WORKERS);

	if (history->extras < EXTRA / 2 && handles[CONDUCTOR].of[obj] >= 0 && choose(c, 2)) {
		if (choose(c, 4) == 0)
			conduct(OP_KEEP, obj, obj >= CONTEXT || choose(c, 2) ? R : 0);
		else if (obj < CHANNELS)
			conduct(OP_CLOSE, obj, 0);
		else if (obj == GROUP)
			conduct(OP_ADD, obj, -1);
		else if (obj == CELL)
			conduct(OP_STORE, obj, 0);
		else if (obj == LOCK)
			conduct(OP_UNLOCK, obj, choose(c, 2) ? CHANFD_SHARED : 0);
		else
			conduct(OP_CANCEL, obj, 0);
		return;
	}
	while (!(asleep & 1 << t))
		t = (t + 1) % WORKERS;
	conduct(OP_SIGNAL, t, choose(c, 4) == 0);
}

static void conduct_all(struct choices *c)
{
	u64 started = now();
	u8 asleep;
	int t;

	for (;;) {
		if (all_rest(&asleep)) {
			for (t = 0; t < program->workers; t++)
				if (asleep & 1 << t)
					workers[t].op->slept = true;
			record(QUIET, CONDUCTOR, 0, asleep);
			if (history->extras < EXTRA / 2)
				look_around();
			if (!asleep)
				return;
			let_somebody_go(c, asleep);
			continue;
		}
		sched_yield();
		if (now() - started > STUCK_SECONDS * 1000000000ull) {
			fprintf(stderr, "somebody neither ends nor sleeps\n");
			print_program(program);
			abort();
		}
	}
}

/* Runs the program; what happened is in @h. */
void execute(const struct program *p, struct history *h, struct choices *c)
{
	long before = host_allocations();
	int t;

	history = h;
	h->program = *p;
	program = &h->program;
	h->extras = 0;
	events = 0;
	host_perturb(p->perturb);
	host_seed(p->seed);
	make_objects();
	for (t = 0; t < p->workers; t++) {
		workers[t].op = NULL;
		workers[t].idle = false;
	}
	ready = 0;
	for (t = 0; t < p->workers; t++)
		sem_post(&workers[t].go);
	conduct_all(c);
	h->events = events;
	if (p->has_cell)
		host_munmap(cell_page);
	host_close_all();
	host_settle();
	h->left = host_allocations() - before;
}
