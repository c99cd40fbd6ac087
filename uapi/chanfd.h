/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * chanfd: Go's concurrency primitives as file descriptors.
 *
 * This header is the contract between the kernel module and its users.
 *
 * A handle is an open file description that refers to one object (a channel,
 * a waitgroup, a token, a context, a lock, a condition, a cell or a lease). Its
 * access mode is a capability:
 *
 *	object		O_RDONLY may		O_WRONLY may
 *	channel		receive			send, close
 *	waitgroup	wait			add, done, make tokens
 *	context		observe, derive		cancel, bind
 *	lock		read-lock, read-unlock	lock, unlock
 *	condition	wait			signal
 *	cell		load			store
 *
 * and O_RDWR may do both. An operation that the handle has no right to fails
 * with EPERM, or EBADF for read(2) and write(2).
 *
 * Rules that hold for every call:
 *  - Structures are extended only at their end. The size is part of the ioctl
 *    number: a shorter structure than the kernel knows is completed with
 *    zeroes, a longer one is accepted if the unknown tail is zero, else E2BIG.
 *    Shorter than the first published version is ENOTTY.
 *  - Unknown flags and non-zero reserved fields are EINVAL.
 *  - A call that fails leaves the object as it was, and its outputs unwritten.
 *  - A call that makes a handle fails with EMFILE or ENFILE (no descriptor is free),
 *    ENOMEM, or EDQUOT (the user's limit of objects or of memory).
 *  - A deadline is an absolute CLOCK_MONOTONIC time in nanoseconds; 0 is none.
 *  - A context of -1 is none. A context that is done makes the call fail with
 *    ECANCELED or ETIMEDOUT, before anything else is tried.
 *  - A signal before the call has taken effect restarts it (SA_RESTART) or
 *    ends it with EINTR; afterwards the call reports success.
 */
#ifndef _UAPI_CHANFD_H
#define _UAPI_CHANFD_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define CHANFD_NAME_LEN		16	/* name of an object, NUL included */
#define CHANFD_TEXT_LEN		64	/* text of a cause, NUL included */
#define CHANFD_KEY_LEN		16	/* key of a context's value */
#define CHANFD_MAX_VALUE	4096	/* bytes of a context's value */
#define CHANFD_MAX_MESSAGE	65536	/* bytes of a message */
#define CHANFD_MAX_CAPACITY	(1 << 20) /* messages in a channel's buffer */
#define CHANFD_MAX_BATCH	1024	/* messages moved by one call */
#define CHANFD_MAX_BYTES	262144	/* a batch ends with the message that reaches it;
					 * held by one select to send
					 */
#define CHANFD_MAX_CASES	4096	/* cases of one select */
#define CHANFD_MAX_CELL		65536	/* bytes of a cell's value */
#define CHANFD_MAX_FDS		16	/* file descriptors in one message */
#define CHANFD_MAX_BINDINGS	16	/* file descriptors bound to one context */

/* What a handle may do; also the argument of CHANFD_IOC_REDUCE. */
#define CHANFD_READ		(1U << 0)
#define CHANFD_WRITE		(1U << 1)

/* Flags of the calls that make handles. */
#define CHANFD_NONBLOCK		(1U << 2) /* O_NONBLOCK; also per call, see below */
#define CHANFD_INHERIT		(1U << 3) /* not O_CLOEXEC */
#define CHANFD_PAIR		(1U << 4) /* fd[0] has CHANFD_READ, fd[1] CHANFD_WRITE */

/* Further flags of CHANFD_IOC_CHANNEL. */
#define CHANFD_VARIABLE		(1U << 8) /* elem_size is the most, not the size */
#define CHANFD_FDS		(1U << 9) /* messages may carry file descriptors */

/* Further flags of CHANFD_IOC_CONTEXT. */
#define CHANFD_OBSERVE		(1U << 8) /* one handle, and nobody can cancel it alone */
#define CHANFD_KEEP		(1U << 9) /* live on when the last canceller is gone */
#define CHANFD_WITHOUT_CANCEL	(1U << 10) /* the parent's values, not its end */

/* Further flag of CHANFD_IOC_TOKEN. */
#define CHANFD_AUTO_DONE	(1U << 8) /* closing the token is done, not broken */

/* Further flags of CHANFD_IOC_LOCK_NEW; without the last two a lock is adaptive. */
#define CHANFD_RW		(1U << 8) /* many readers, or one writer */
#define CHANFD_HANDOFF		(1U << 9) /* a released lock is the first waiter's */
#define CHANFD_BARGING		(1U << 10) /* it is the first comer's */

/* Flags of the calls that wait: CHANFD_NONBLOCK, and for select only: */
#define CHANFD_ORDERED		(1U << 8) /* first ready case wins, not a random one */

/* For CHANFD_IOC_RECV only: */
#define CHANFD_LEASED		(1U << 9) /* the message stays the channel's until committed */

/* For CHANFD_IOC_LOCK and CHANFD_IOC_UNLOCK only: */
#define CHANFD_SHARED		(1U << 8) /* as a reader */

/* For CHANFD_IOC_UNLOCK only: */
#define CHANFD_GIVE_UP		(1U << 9) /* what it protects can't be repaired */

/* For CHANFD_IOC_STORE only: */
#define CHANFD_IF_VERSION	(1U << 8) /* only if the version is the one given */
#define CHANFD_SWAP		(1U << 9) /* tell the old value */

enum {
	CHANFD_TYPE_CHANNEL	= 1,
	CHANFD_TYPE_WAITGROUP	= 2,
	CHANFD_TYPE_TOKEN	= 3,
	CHANFD_TYPE_CONTEXT	= 4,
	CHANFD_TYPE_LOCK	= 5,
	CHANFD_TYPE_CONDITION	= 6,
	CHANFD_TYPE_CELL	= 7,
	CHANFD_TYPE_LEASE	= 8,
};

/**
 * struct chanfd_channel - make a channel (CHANFD_IOC_CHANNEL on /dev/chanfd)
 * @flags:	CHANFD_PAIR, CHANFD_NONBLOCK, CHANFD_INHERIT, CHANFD_VARIABLE,
 *		CHANFD_FDS
 * @elem_size:	bytes of every message (of the longest, with CHANFD_VARIABLE),
 *		0 to CHANFD_MAX_MESSAGE; not 0 with CHANFD_VARIABLE
 * @capacity:	messages held while no receiver waits, 0 (a send waits for its
 *		receiver) to CHANFD_MAX_CAPACITY
 * @reserved:	0
 * @name:	for people; printable, NUL-terminated, may be empty
 * @fd:		out: the handles; without CHANFD_PAIR, fd[0] may do everything
 *		and fd[1] is -1
 * @id:		out: never used again for another object
 */
struct chanfd_channel {
	__u32 flags;
	__u32 elem_size;
	__u32 capacity;
	__u32 reserved;
	__u8  name[CHANFD_NAME_LEN];
	__s32 fd[2];
	__u64 id;
};

/**
 * struct chanfd_waitgroup - make a waitgroup (CHANFD_IOC_WAITGROUP on /dev/chanfd)
 * @flags:	CHANFD_PAIR, CHANFD_INHERIT
 * @reserved:	0
 * @name:	as for a channel
 * @fd:		out: as for a channel; fd[0] waits, fd[1] adds
 * @id:		out
 */
struct chanfd_waitgroup {
	__u32 flags;
	__u32 reserved;
	__u8  name[CHANFD_NAME_LEN];
	__s32 fd[2];
	__u64 id;
};

/**
 * struct chanfd_context - make or derive a context (CHANFD_IOC_CONTEXT on /dev/chanfd
 *	or on a context's handle)
 * @flags:	CHANFD_PAIR or CHANFD_OBSERVE, CHANFD_INHERIT, CHANFD_KEEP,
 *		CHANFD_WITHOUT_CANCEL
 * @parent:	handle (CHANFD_READ) of the context to derive from; -1 for a root
 * @name:	as for a channel
 * @deadline:	done with ETIMEDOUT then, unless the parent's deadline is
 *		earlier; 0 for none
 * @deadline_cause: cause to report when @deadline passes; 0 means ETIMEDOUT
 * @value_size:	bytes at @value, 0 to CHANFD_MAX_VALUE
 * @value:	pointer to the value that @key stands for from here on down
 * @key:	all zero: no value
 * @fd:		out: fd[0] observes, fd[1] cancels with CHANFD_PAIR; otherwise
 *		fd[0] does what it can and fd[1] is -1
 * @id:		out
 */
struct chanfd_context {
	__u32 flags;
	__s32 parent;
	__u8  name[CHANFD_NAME_LEN];
	__u64 deadline;
	__s32 deadline_cause;
	__u32 value_size;
	__u64 value;
	__u8  key[CHANFD_KEY_LEN];
	__s32 fd[2];
	__u64 id;
};

/**
 * struct chanfd_lock - make a lock (CHANFD_IOC_LOCK_NEW on /dev/chanfd)
 * @flags:	CHANFD_PAIR, CHANFD_INHERIT, CHANFD_RW, CHANFD_HANDOFF or
 *		CHANFD_BARGING
 * @reserved:	0
 * @name:	as for a channel
 * @fd:		out: as for a channel; fd[0] read-locks, fd[1] locks
 * @id:		out
 */
struct chanfd_lock {
	__u32 flags;
	__u32 reserved;
	__u8  name[CHANFD_NAME_LEN];
	__s32 fd[2];
	__u64 id;
};

/**
 * struct chanfd_condition - make a condition (CHANFD_IOC_CONDITION on /dev/chanfd)
 * @flags:	CHANFD_PAIR, CHANFD_INHERIT
 * @reserved:	0
 * @name:	as for a channel
 * @fd:		out: as for a channel; fd[0] waits, fd[1] signals
 * @id:		out
 */
struct chanfd_condition {
	__u32 flags;
	__u32 reserved;
	__u8  name[CHANFD_NAME_LEN];
	__s32 fd[2];
	__u64 id;
};

/**
 * struct chanfd_cell - make a cell (CHANFD_IOC_CELL on /dev/chanfd)
 * @flags:	CHANFD_PAIR, CHANFD_INHERIT
 * @size:	bytes of its value at the most, 0 to CHANFD_MAX_CELL
 * @name:	as for a channel
 * @fd:		out: as for a channel; fd[0] loads, fd[1] stores
 * @id:		out
 */
struct chanfd_cell {
	__u32 flags;
	__u32 size;
	__u8  name[CHANFD_NAME_LEN];
	__s32 fd[2];
	__u64 id;
};

/**
 * struct chanfd_transfer - move messages (CHANFD_IOC_SEND, CHANFD_IOC_RECV)
 * @flags:	CHANFD_NONBLOCK; RECV: CHANFD_LEASED
 * @context:	handle of a context, or -1
 * @deadline:	or 0
 * @buf:	pointer to the messages, one behind the other; 0 with
 *		CHANFD_IOC_RECV throws them away
 * @sizes:	pointer to a __u32 for every message of a CHANFD_VARIABLE channel,
 *		read by SEND, written by RECV; 0 where @count is 1, and always
 *		on a channel of fixed size
 * @size:	bytes at @buf: SEND, all of them are sent; RECV, the room there,
 *		and out: what was filled
 * @count:	messages to move at the most, 1 to CHANFD_MAX_BATCH
 * @seq:	out: the channel's number of the first message moved, from 0; what
 *		one call moves is one run of the queue (received, a number may be
 *		missing where a message had come back and is gone again)
 * @fds:	pointer to a __s32 for every file descriptor of the message, on a
 *		CHANFD_FDS channel and with a @count of 1
 * @nr_fds:	SEND: how many, 0 to CHANFD_MAX_FDS; RECV: room at @fds, and out:
 *		how many the message had
 * @lease:	RECV with CHANFD_LEASED: a lease of this channel's to add the messages
 *		to, or -1 to make one, and out: that lease; else 0
 * @redelivered: RECV, out: how often the (first) message has come back from a lease
 *		before
 * @reserved:	0
 *
 * Waits until at least one message can be moved, and returns how many were; the one
 * that reaches CHANFD_MAX_BYTES together is the last.
 * CHANFD_IOC_RECV returns 0 when the channel is closed and drained.
 *
 * Fails with EMSGSIZE (SEND: @size is not that of @count messages, or one is longer
 * than allowed; RECV: there is no room for one, it stays in the channel),
 * EAGAIN, ETIMEDOUT, ECANCELED, EINTR, EFAULT, ENOMEM, EPERM, EINVAL;
 * CHANFD_IOC_SEND with EPIPE (closed), ECONNRESET (no receiver is left) or EDQUOT
 * (it would wait, with more in its hands than the user's limit of memory allows);
 * CHANFD_IOC_RECV with ECONNRESET (drained; the senders are gone, none had
 * closed the channel) or with the cause that it was closed with.
 *
 * With @fds, SEND also with EBADF, EOPNOTSUPP (one is of a kind that can't be sent),
 * ELOOP (one could receive from a CHANFD_FDS channel) or ETOOMANYREFS (the user has
 * RLIMIT_NOFILE files in messages); RECV with EMSGSIZE (less than the message has; if
 * @buf and @nr_fds are 0 they are thrown away with it), EMFILE or ENFILE.
 * With CHANFD_LEASED also with EMFILE, ENFILE, EDQUOT, EBADF or EINVAL (@lease),
 * ERANGE (it is committed) or EOVERFLOW (it would have more than CHANFD_MAX_BATCH
 * messages). What was not received is the channel's again.
 */
struct chanfd_transfer {
	__u32 flags;
	__s32 context;
	__u64 deadline;
	__u64 buf;
	__u64 sizes;
	__u32 size;
	__u32 count;
	__u64 seq;
	__u64 fds;
	__u32 nr_fds;
	__s32 lease;
	__u32 redelivered;
	__u32 reserved;
};

/*
 * A lease holds messages that were received with CHANFD_LEASED. They count as leased
 * until CHANFD_IOC_COMMIT on it, and are received then; they go back to the front of
 * the channel when its last copy is closed without that, as when its process dies. A
 * closed channel is not at its end while messages are leased.
 */

/**
 * struct chanfd_close - close a channel for good (CHANFD_IOC_CLOSE)
 * @cause:	errno, below 512, that receivers get once they have drained the
 *		channel; 0 for the normal end
 * @reserved:	0
 *
 * Fails with EPIPE if the channel is closed already.
 */
struct chanfd_close {
	__s32 cause;
	__u32 reserved;
};

/**
 * struct chanfd_add - change a waitgroup's count (CHANFD_IOC_ADD)
 * @delta:	what to add
 * @error:	with a negative @delta: errno of the task that is done, or 0;
 *		the first of a round is reported to those who wait
 * @count:	out: the new count
 *
 * Fails with ERANGE (below zero) or EOVERFLOW (above INT_MAX).
 */
struct chanfd_add {
	__s32 delta;
	__s32 error;
	__u64 count;
};

/*
 * CHANFD_IOC_TOKEN on a waitgroup takes the flags CHANFD_INHERIT and
 * CHANFD_AUTO_DONE, adds one, and returns a token: a handle that counts down
 * once, by CHANFD_IOC_DONE on it, or as broken when its last copy is closed.
 */

/**
 * struct chanfd_done - a token's task is done (CHANFD_IOC_DONE on a token)
 * @error:	errno of the task, or 0
 * @reserved:	0
 *
 * Fails with ERANGE if the token was done before.
 */
struct chanfd_done {
	__s32 error;
	__u32 reserved;
};

/**
 * struct chanfd_cancel - cancel a context (CHANFD_IOC_CANCEL)
 * @cause:	errno or any number of the caller's own; 0 means ECANCELED
 * @reserved:	0
 * @text:	says more, NUL-terminated, may be empty
 *
 * Every context derived from this one is done when the call returns. The first
 * cancellation wins; later ones succeed and change nothing.
 */
struct chanfd_cancel {
	__s32 cause;
	__u32 reserved;
	__u8  text[CHANFD_TEXT_LEN];
};

/**
 * struct chanfd_bind - cancel when a file becomes ready (CHANFD_IOC_BIND on a context)
 * @fd:		what to watch; the context keeps the file open
 * @events:	poll(2) events; POLLERR and POLLHUP are always among them
 * @cause:	as in struct chanfd_cancel
 * @reserved:	0
 *
 * Pipes, sockets, pidfds, eventfds, timerfds, epoll instances and the like can be
 * bound. Fails with EOPNOTSUPP for a file that could hold this context open (a Unix
 * socket, an io_uring, a chanfd handle: watch it through an epoll instance), whose
 * readiness depends on who asks (a signalfd), or that is a device's or a file
 * system's; EPERM for one that cannot be polled, ENOSPC beyond CHANFD_MAX_BINDINGS.
 */
struct chanfd_bind {
	__s32 fd;
	__u32 events;
	__s32 cause;
	__u32 reserved;
};

/**
 * struct chanfd_value - look up a value (CHANFD_IOC_VALUE on a context)
 * @key:	of the value; the nearest ancestor that has one answers
 * @buf:	pointer to where it goes
 * @size:	the room there; out: the value's size
 * @reserved:	0
 *
 * Fails with ENOENT (no such key) or EMSGSIZE (no room: nothing was written).
 */
struct chanfd_value {
	__u8  key[CHANFD_KEY_LEN];
	__u64 buf;
	__u32 size;
	__u32 reserved;
};

/**
 * struct chanfd_acquire - acquire a lock (CHANFD_IOC_LOCK)
 * @flags:	CHANFD_NONBLOCK, CHANFD_SHARED
 * @context:	handle of a context, or -1
 * @deadline:	or 0
 *
 * The lock is the calling process's then, whichever handle it was acquired by and
 * whoever has copies of it, until somebody unlocks it or the process dies.
 *
 * Fails with EAGAIN, ETIMEDOUT, ECANCELED, EINTR, EFAULT, ENOMEM, EPERM, EINVAL,
 * EDQUOT (a process's first use of a lock counts against the user's limit of memory),
 * EOVERFLOW (too many readers), ENOTRECOVERABLE (a holder had died, and who came next
 * gave up).
 * EOWNERDEAD is no failure: the lock is acquired, but a holder that was not a reader has
 * died, and since then nobody but readers has unlocked it.
 */
struct chanfd_acquire {
	__u32 flags;
	__s32 context;
	__u64 deadline;
};

/**
 * struct chanfd_lock_info - a lock now (CHANFD_IOC_LOCK_INFO)
 */
struct chanfd_lock_info {
	__u32 flags;		/* CHANFD_RW, CHANFD_HANDOFF, CHANFD_BARGING */
	__u32 state;		/* CHANFD_LOCKED, ... */
	__s32 holder;		/* process id, unless readers hold it; 0: none, or not
				 * one of the caller's pid namespace
				 */
	__u32 readers;		/* that hold it */
	__u32 waiting_writers;
	__u32 waiting_readers;
	__u32 dead;		/* holders that died, readers too */
	__u32 reserved;
};

/* State of a lock. */
#define CHANFD_LOCKED		(1U << 0) /* by other than readers */
#define CHANFD_OWNER_DEAD	(1U << 1) /* who acquires it gets EOWNERDEAD */
#define CHANFD_NOT_RECOVERABLE	(1U << 2)
#define CHANFD_STARVING		(1U << 3) /* adaptive: it is handed over for now */

/**
 * struct chanfd_lock_page - a lock, mapped (mmap(2) of a handle with CHANFD_READ, one
 *	page, PROT_READ)
 * @busy:	not 0 while an attempt to lock would fail; a hint, for those who spin
 */
struct chanfd_lock_page {
	__u32 busy;
	__u32 reserved;
};

/**
 * struct chanfd_condition_wait - wait for a signal (CHANFD_IOC_CONDITION_WAIT)
 * @flags:	0
 * @lock:	handle (CHANFD_WRITE) of a lock that the caller holds
 * @context:	handle of a context, or -1
 * @reserved:	0
 * @deadline:	or 0
 *
 * Joins those who wait, releases the lock, waits, and acquires the lock again, all in
 * one call. Whatever it returns but EPERM, EINVAL, EBADF, EFAULT, ENOMEM and EDQUOT
 * (then nothing was done) or ENOTRECOVERABLE, the lock is held again.
 *
 * Fails with ETIMEDOUT, ECANCELED, EINTR: no signal was used up. EINTR is never
 * restarted: a signal of the condition may have been missed meanwhile, look again.
 * EOWNERDEAD as for struct chanfd_acquire: the lock is held.
 */
struct chanfd_condition_wait {
	__u32 flags;
	__s32 lock;
	__s32 context;
	__u32 reserved;
	__u64 deadline;
};

/**
 * struct chanfd_condition_info - a condition now (CHANFD_IOC_CONDITION_INFO)
 */
struct chanfd_condition_info {
	__u32 waiters;
	__u32 reserved;
};

/**
 * struct chanfd_load - what a cell holds (CHANFD_IOC_LOAD)
 * @flags:	0
 * @tag:	out: of the value
 * @buf:	pointer to where the value goes; may be 0 where @size is
 * @size:	the room there; out: the value's size
 * @reserved:	0
 * @version:	out: 1 for the first value, one more for each
 *
 * Never waits. The handle has read up to @version then: poll(2) finds it readable when
 * the cell's is newer.
 *
 * Fails with ENODATA (no value yet) or EMSGSIZE (no room).
 */
struct chanfd_load {
	__u32 flags;
	__u32 tag;
	__u64 buf;
	__u32 size;
	__u32 reserved;
	__u64 version;
};

/**
 * struct chanfd_store - a new value for a cell (CHANFD_IOC_STORE)
 * @flags:	CHANFD_IF_VERSION, CHANFD_SWAP (which loads, too: it needs both rights)
 * @tag:	the caller's own; the cell's first value fixes it (rule V2)
 * @buf:	pointer to the value
 * @old:	with CHANFD_SWAP, pointer to where the old value goes
 * @size:	bytes at @buf
 * @old_size:	with CHANFD_SWAP, the room at @old; out: bytes of the old value, 0 if
 *		there was none
 * @version:	with CHANFD_IF_VERSION, what the cell's has to be, 0 for no value yet;
 *		out: of the new value
 *
 * Fails with EMSGSIZE (@size is more than the cell's, or there is no room at @old),
 * EPROTOTYPE (another tag than the cell's), ESTALE (another version), ENOMEM.
 */
struct chanfd_store {
	__u32 flags;
	__u32 tag;
	__u64 buf;
	__u64 old;
	__u32 size;
	__u32 old_size;
	__u64 version;
};

/**
 * struct chanfd_cell_info - a cell now (CHANFD_IOC_CELL_INFO)
 */
struct chanfd_cell_info {
	__u64 version;		/* 0: no value yet */
	__u32 size;		/* of the value */
	__u32 tag;
	__u32 max;		/* bytes of a value at the most */
	__u32 waiters;
};

#define CHANFD_CELL_INLINE	4032

/**
 * struct chanfd_cell_page - a cell, mapped (mmap(2) of a handle with CHANFD_READ, one
 *	page, PROT_READ)
 * @sequence:	odd while the rest changes; if it is the same before and after, what was
 *		read in between belongs together
 * @version:	of the value; 0: none yet
 * @size:	of the value
 * @tag:	of the value
 * @reserved:	0
 * @data:	the value, if @size is not more than CHANFD_CELL_INLINE
 */
struct chanfd_cell_page {
	__u64 sequence;
	__u64 version;
	__u32 size;
	__u32 tag;
	__u64 reserved[5];
	__u8  data[CHANFD_CELL_INLINE];
};

/* What a case of a select waits for. */
enum {
	CHANFD_CASE_SEND	= 1,	/* a channel takes the message */
	CHANFD_CASE_RECV	= 2,	/* a channel gives a message, or is at its end */
	CHANFD_CASE_WAIT	= 3,	/* a waitgroup is at zero */
	CHANFD_CASE_DONE	= 4,	/* a context is done */
	CHANFD_CASE_DRAINED	= 5,	/* all contexts derived from one are released */
	CHANFD_CASE_POLL	= 6,	/* any file is ready, as poll(2) says */
	CHANFD_CASE_LOCK	= 7,	/* a lock is acquired */
	CHANFD_CASE_READ_LOCK	= 8,	/* likewise, as a reader */
	CHANFD_CASE_CHANGED	= 9,	/* a cell has another version than @buf */
};

/* Flag of CHANFD_CASE_WAIT: also while the number of broken members is not @size. */
#define CHANFD_CASE_BROKEN	(1U << 0)

/* Flag of CHANFD_CASE_SEND and CHANFD_CASE_RECV: @buf points to a struct chanfd_parcel. */
#define CHANFD_CASE_PARCEL	(1U << 1)

/**
 * struct chanfd_parcel - a message of a case that is more than bytes
 * @buf:	as of the case
 * @fds:	as in struct chanfd_transfer
 * @size:	as of the case, whose own is 0
 * @flags:	RECV: CHANFD_LEASED, or 0
 * @nr_fds:	as in struct chanfd_transfer, also out
 * @lease:	likewise
 * @redelivered: likewise
 * @reserved:	0
 *
 * Outputs are written if the case is the one that was done.
 */
struct chanfd_parcel {
	__u64 buf;
	__u64 fds;
	__u32 size;
	__u32 flags;
	__u32 nr_fds;
	__s32 lease;
	__u32 redelivered;
	__u32 reserved;
};

/**
 * struct chanfd_case - one case
 * @fd:		what it is about; negative: the case is never ready
 * @op:		CHANFD_CASE_*
 * @flags:	CHANFD_CASE_BROKEN, CHANFD_CASE_PARCEL or 0
 * @buf:	SEND: pointer to the message; RECV: to where it goes, or 0;
 *		CHANGED: the version that is known, not a pointer
 * @size:	SEND: bytes of the message; RECV: room at @buf;
 *		WAIT: broken members known already, with CHANFD_CASE_BROKEN;
 *		POLL: events
 * @reserved:	0
 */
struct chanfd_case {
	__s32 fd;
	__u16 op;
	__u16 flags;
	__u64 buf;
	__u32 size;
	__u32 reserved;
};

/**
 * struct chanfd_select - do exactly one of many (CHANFD_IOC_SELECT on any handle
 *	or on /dev/chanfd)
 * @flags:	CHANFD_NONBLOCK, CHANFD_ORDERED
 * @context:	handle of a context, or -1
 * @deadline:	or 0
 * @cases:	pointer to the cases
 * @count:	how many, 0 to CHANFD_MAX_CASES
 * @index:	out: the case that was done
 * @error:	out: what that operation would have failed with, alone; or 0
 * @ok:		out: RECV: 1 for a message, 0 for the end
 * @size:	out: RECV: bytes received; WAIT: members broken in the round;
 *		POLL: events that are ready
 * @status:	out: WAIT: first error of the round; DONE: the cause
 * @number:	out: SEND, RECV: the message's number; WAIT: the round's, from 1;
 *		CHANGED: the cell's version
 *
 * If several cases can go ahead one of them is chosen at random. Without any,
 * waits; with CHANFD_NONBLOCK fails with EAGAIN, which means that at one
 * instant none could.
 *
 * Fails with E2BIG (too many cases, or more than CHANFD_MAX_BYTES to send in all
 * of them), EBADF, EINVAL, EPERM, EMSGSIZE, EFAULT (each found in any case, before
 * any is tried; EFAULT also where the message that was chosen has nowhere to go:
 * it stays in the channel), ENOMEM, EDQUOT (it would wait, and has more cases and
 * messages in its hands than the user's limit of memory allows), EAGAIN, ETIMEDOUT,
 * ECANCELED, EINTR.
 */
struct chanfd_select {
	__u32 flags;
	__s32 context;
	__u64 deadline;
	__u64 cases;
	__u32 count;
	__s32 index;
	__s32 error;
	__u32 ok;
	__u32 size;
	__s32 status;
	__u64 number;
};

/**
 * struct chanfd_info - what every handle can tell (CHANFD_IOC_INFO)
 * @type:	CHANFD_TYPE_*
 * @rights:	CHANFD_READ, CHANFD_WRITE of this handle
 * @id:		of the object; a token has its waitgroup's
 * @name:	of the object
 */
struct chanfd_info {
	__u32 type;
	__u32 rights;
	__u64 id;
	__u8  name[CHANFD_NAME_LEN];
};

/* State of a channel. */
#define CHANFD_CLOSED		(1U << 0)
#define CHANFD_NO_SENDERS	(1U << 1) /* no handle with CHANFD_WRITE is left */
#define CHANFD_NO_RECEIVERS	(1U << 2) /* no handle with CHANFD_READ is left */

/**
 * struct chanfd_channel_info - a channel now (CHANFD_IOC_CHANNEL_INFO)
 *
 * Everything may have changed by the time it is read, and those who are about to stop
 * waiting may still be counted. @sent counts messages
 * that were accepted; each is in @len, or received, or leased, or dropped because
 * no receiver was left: sent = len + received + leased + dropped. @returned counts
 * those that came back because a receiver could not take them, or did not commit its
 * lease, each time.
 */
struct chanfd_channel_info {
	__u32 flags;		/* CHANFD_VARIABLE */
	__u32 elem_size;
	__u32 capacity;
	__u32 len;
	__u32 state;		/* CHANFD_CLOSED, ... */
	__s32 cause;		/* given when it was closed */
	__u32 senders;		/* handles with CHANFD_WRITE */
	__u32 receivers;	/* handles with CHANFD_READ */
	__u32 waiting_senders;
	__u32 waiting_receivers;
	__u64 sent;
	__u64 received;
	__u64 returned;
	__u64 dropped;
	__u32 leased;		/* messages */
	__u32 files;		/* that messages carry */
};

/**
 * struct chanfd_waitgroup_info - a waitgroup now (CHANFD_IOC_WAITGROUP_INFO)
 */
struct chanfd_waitgroup_info {
	__u64 round;		/* rounds that have ended */
	__u32 count;
	__u32 tokens;		/* live ones */
	__u32 broken;		/* members that ended without being done, this round
				 * or, while the count is zero, the last one
				 */
	__s32 error;		/* first error, likewise */
	__u32 waiters;
	__u32 reserved;
};

/**
 * struct chanfd_context_info - a context now (CHANFD_IOC_CONTEXT_INFO)
 */
struct chanfd_context_info {
	__s32 error;		/* 0, ECANCELED or ETIMEDOUT; once set, it stays */
	__s32 cause;		/* 0 while @error is */
	__u64 deadline;		/* the earliest one that applies, 0 for none */
	__u32 children;		/* contexts derived from this one that still exist */
	__u32 cancellers;	/* handles with CHANFD_WRITE */
	__u32 waiters;
	__u32 reserved;
	__u8  text[CHANFD_TEXT_LEN];
};

#define CHANFD_IOC_MAGIC	0xC7

/* On /dev/chanfd. */
#define CHANFD_IOC_CHANNEL	_IOWR(CHANFD_IOC_MAGIC, 0x00, struct chanfd_channel)
#define CHANFD_IOC_WAITGROUP	_IOWR(CHANFD_IOC_MAGIC, 0x01, struct chanfd_waitgroup)
#define CHANFD_IOC_CONTEXT	_IOWR(CHANFD_IOC_MAGIC, 0x02, struct chanfd_context)
#define CHANFD_IOC_LOCK_NEW	_IOWR(CHANFD_IOC_MAGIC, 0x03, struct chanfd_lock)
#define CHANFD_IOC_CONDITION	_IOWR(CHANFD_IOC_MAGIC, 0x04, struct chanfd_condition)
#define CHANFD_IOC_CELL		_IOWR(CHANFD_IOC_MAGIC, 0x05, struct chanfd_cell)

/* On any handle; CHANFD_IOC_SELECT also on /dev/chanfd. */
#define CHANFD_IOC_SELECT	_IOWR(CHANFD_IOC_MAGIC, 0x10, struct chanfd_select)
#define CHANFD_IOC_INFO		_IOR(CHANFD_IOC_MAGIC, 0x11, struct chanfd_info)
/* Takes CHANFD_READ | CHANFD_WRITE | CHANFD_NONBLOCK | CHANFD_INHERIT, returns
 * a new handle with these rights; more than this one has is EPERM. Not on a token or a
 * lease.
 */
#define CHANFD_IOC_REDUCE	_IOW(CHANFD_IOC_MAGIC, 0x12, __u32)

/* On a channel. */
#define CHANFD_IOC_SEND		_IOWR(CHANFD_IOC_MAGIC, 0x20, struct chanfd_transfer)
#define CHANFD_IOC_RECV		_IOWR(CHANFD_IOC_MAGIC, 0x21, struct chanfd_transfer)
#define CHANFD_IOC_CLOSE	_IOW(CHANFD_IOC_MAGIC, 0x22, struct chanfd_close)
#define CHANFD_IOC_CHANNEL_INFO	_IOR(CHANFD_IOC_MAGIC, 0x23, struct chanfd_channel_info)

/* On a lease. ERANGE if it was committed before. */
#define CHANFD_IOC_COMMIT	_IO(CHANFD_IOC_MAGIC, 0x24)

/* On a waitgroup, and CHANFD_IOC_DONE on a token. */
#define CHANFD_IOC_ADD		_IOWR(CHANFD_IOC_MAGIC, 0x30, struct chanfd_add)
#define CHANFD_IOC_TOKEN	_IOW(CHANFD_IOC_MAGIC, 0x31, __u32)
#define CHANFD_IOC_DONE		_IOW(CHANFD_IOC_MAGIC, 0x32, struct chanfd_done)
#define CHANFD_IOC_WAITGROUP_INFO _IOR(CHANFD_IOC_MAGIC, 0x33, struct chanfd_waitgroup_info)

/* On a context, like CHANFD_IOC_CONTEXT. */
#define CHANFD_IOC_CANCEL	_IOW(CHANFD_IOC_MAGIC, 0x40, struct chanfd_cancel)
#define CHANFD_IOC_BIND		_IOW(CHANFD_IOC_MAGIC, 0x41, struct chanfd_bind)
#define CHANFD_IOC_VALUE	_IOWR(CHANFD_IOC_MAGIC, 0x42, struct chanfd_value)
#define CHANFD_IOC_CONTEXT_INFO	_IOR(CHANFD_IOC_MAGIC, 0x43, struct chanfd_context_info)

/* On a lock. */
#define CHANFD_IOC_LOCK		_IOW(CHANFD_IOC_MAGIC, 0x50, struct chanfd_acquire)
/* Takes CHANFD_SHARED, or CHANFD_GIVE_UP or 0. Whoever has a handle may unlock (rule M1).
 * EPERM if the lock is not held in that way.
 */
#define CHANFD_IOC_UNLOCK	_IOW(CHANFD_IOC_MAGIC, 0x51, __u32)
/* From a writer to a reader, with nobody in between. Needs both rights. */
#define CHANFD_IOC_DOWNGRADE	_IO(CHANFD_IOC_MAGIC, 0x52)
#define CHANFD_IOC_LOCK_INFO	_IOR(CHANFD_IOC_MAGIC, 0x53, struct chanfd_lock_info)

/* On a condition. */
#define CHANFD_IOC_CONDITION_WAIT _IOW(CHANFD_IOC_MAGIC, 0x60, struct chanfd_condition_wait)
/* Takes the number of waiters to wake, in the order in which they came; ~0 for all.
 * Returns how many there were.
 */
#define CHANFD_IOC_SIGNAL	_IOW(CHANFD_IOC_MAGIC, 0x61, __u32)
#define CHANFD_IOC_CONDITION_INFO _IOR(CHANFD_IOC_MAGIC, 0x62, struct chanfd_condition_info)

/* On a cell. */
#define CHANFD_IOC_LOAD		_IOWR(CHANFD_IOC_MAGIC, 0x70, struct chanfd_load)
#define CHANFD_IOC_STORE	_IOWR(CHANFD_IOC_MAGIC, 0x71, struct chanfd_store)
#define CHANFD_IOC_CELL_INFO	_IOR(CHANFD_IOC_MAGIC, 0x72, struct chanfd_cell_info)

#endif /* _UAPI_CHANFD_H */
