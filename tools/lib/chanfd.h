/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * libchanfd: Go's channels, waitgroups, contexts, locks, conditions and atomic values as
 * file descriptors, and what is made of them: groups of tasks, workers, semaphores, maps
 * and more.
 *
 * A handle is a file descriptor of an object in the kernel. Threads share it,
 * children inherit it, chanfd_hand() and chanfd_exec() give it to programs that
 * are not related; close(2) gives it back. What <linux/chanfd.h> says about
 * rights, ends and limits is the contract; this library adds no rules to it.
 *
 * What holds for every function
 *
 * Result: 0 or more, or -1 with the kernel's errno. A call that failed has
 * changed nothing and written nothing, except where its description says so.
 *
 * Wrong handles: EBADF (not an open descriptor; -1 too: Go would block on a nil
 * channel for good, rule C8, and hide the bug), ENOTTY (not a handle, not one
 * of the right type, or the module is older than this header; what waits for a
 * waitgroup, a context or one of several cases, or derives from a context, says
 * EINVAL to that, and so does every call whose struct chanfd_opt has it as the
 * context), EPERM (the handle has no right to that). These are not
 * repeated below. Nor is EFAULT (a pointer of yours leads nowhere).
 *
 * Making a handle needs /dev/chanfd, which is opened and closed again in the
 * call: the library keeps no descriptor that a program which closes or reuses
 * numbers could break. It fails with "the errors of making": ENOENT or ENXIO
 * (no such device: the module is not loaded), EACCES or EPERM (no permission
 * to open it), EMFILE or ENFILE (no descriptor is free; while it works the call
 * needs one more than it returns), ENOMEM, EDQUOT (the user's limit of objects
 * or of memory is reached). chanfd_strerror_hint() says what to do about them.
 *
 * Waiting: a function that takes a struct chanfd_opt may sleep. It fails with
 * "the errors of waiting": EAGAIN (it would have to sleep, with CHANFD_NONBLOCK;
 * or on a channel's handle that is O_NONBLOCK, except in a select), ETIMEDOUT
 * (the deadline passed, or that of the context did), ECANCELED (the context is
 * cancelled), EINTR (a signal handler without SA_RESTART ran before the call had
 * taken effect; afterwards the call reports success), ENOMEM, EDQUOT (a send or a
 * select that has more than 4 KiB of messages and cases in its hands, and the user's
 * limit of memory is reached). A context that is done wins over everything else,
 * even over a message that is there (rule A2).
 * No other function sleeps, unless it says so.
 *
 * Threads and signals: every function may be called from any thread at any
 * time, and, where it does not say otherwise, from a signal handler and between
 * fork(2) and execve(2). The library has no threads, no locks, no state and
 * no signal handlers, except for groups, for what runs after a context, and for
 * contexts that signals end, which are neither for signal handlers nor for the
 * child that another thread's process forks. It never causes SIGPIPE. Nothing that sleeps for a
 * handle is a cancellation point of pthread_cancel(3); that is what contexts
 * are for. A successful call orders memory as Go's operation of the same name
 * does (rules H1 to H16); for the compiler, every call is a barrier. A program
 * built with -fsanitize=thread has its race detector told of that order, see
 * Documentation/race-detector.
 *
 * Rules like C10, S8, W3 or X9 are those of Documentation/go-semantics.
 */
#ifndef _CHANFD_H
#define _CHANFD_H

#include <errno.h>
#include <linux/chanfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Nanoseconds, for chanfd_deadline() and chanfd_context_timeout(). */
#define CHANFD_MILLISECOND	INT64_C(1000000)
#define CHANFD_SECOND		INT64_C(1000000000)

/*
 * How to wait
 */

/**
 * struct chanfd_opt - how a call waits
 * @context:	handle of a context that ends the wait when it is done; -1: none
 * @flags:	CHANFD_NONBLOCK: fail with EAGAIN rather than sleep;
 *		CHANFD_ORDERED, chanfd_select() only: the first case that is
 *		ready wins, instead of one chosen at random
 * @deadline:	when to give up: CLOCK_MONOTONIC in nanoseconds, 0: never
 *
 * NULL in its place means CHANFD_OPT_INIT: wait for as long as it takes. Mind
 * that one filled with zeroes names descriptor 0 as the context.
 */
struct chanfd_opt {
	int context;
	unsigned int flags;
	uint64_t deadline;
};

#define CHANFD_OPT_INIT	{ -1, 0, 0 }

#ifndef __cplusplus
/**
 * CHANFD_OPT() - a struct chanfd_opt where it is needed (C only)
 *
 *	chanfd_get(jobs, &job, CHANFD_OPT(context, 0, 0));
 */
#define CHANFD_OPT(context, flags, deadline) \
	(&(const struct chanfd_opt){ (context), (flags), (deadline) })
#endif

/**
 * chanfd_deadline() - a moment from now, as deadlines are given
 * @ns:		nanoseconds from now; 0 or less: a moment that has passed
 *
 * An absolute time is right for a call that a signal restarts, and for several
 * calls that share one budget.
 *
 * Return: CLOCK_MONOTONIC in nanoseconds, 1 to INT64_MAX: never 0, which would
 * mean no deadline. Cannot fail.
 */
uint64_t chanfd_deadline(int64_t ns);

/**
 * chanfd_device() - open /dev/chanfd
 *
 * Only for ioctls that this library has no function for.
 *
 * Return: a new descriptor, O_CLOEXEC, that the caller closes; or -1 with the
 * errno of open(2): ENOENT, ENXIO, ENODEV, EACCES, EPERM, EMFILE, ENFILE.
 */
int chanfd_device(void);

/**
 * chanfd_strerror_hint() - what to do about an error, in a sentence
 * @err:	errno of a call of this library that failed
 *
 * Meant for the first call that a program makes, which is where an absent
 * module, a missing permission and a wrong version show. It looks at the
 * machine as it is now, so ENOENT is not blamed on the device when that is
 * there. errno is preserved.
 *
 *	errx(1, "cannot make a channel: %s", chanfd_strerror_hint(errno));
 *
 * Return: a string without a newline, that nobody frees; strerror(3)'s if there
 * is nothing better, so never NULL.
 */
const char *chanfd_strerror_hint(int err);

/*
 * All handles
 */

/**
 * chanfd_info() - what a handle is
 * @fd:		a handle of any type
 * @info:	out: type, rights, id, name
 *
 * Two handles are of the same object if and only if the ids are equal
 * (rule C4). Check a handle that somebody gave you with this.
 *
 * Return: 0.
 */
int chanfd_info(int fd, struct chanfd_info *info);

/**
 * chanfd_reduce() - a new handle that may do less
 * @fd:		handle of any type but a token or a lease
 * @rights:	CHANFD_READ, CHANFD_WRITE or both, and if wanted CHANFD_NONBLOCK
 *		and CHANFD_INHERIT, which are not taken over from @fd
 *
 * Rights can only become fewer (rule C7). @fd stays as it is and counts as a
 * user of the object on its own: close it if only the new one is to count.
 *
 * Return: the new handle, O_CLOEXEC without CHANFD_INHERIT. EPERM (more than
 * @fd has), EINVAL (no right, or unknown flags), ENOTTY (a token, a lease), EMFILE,
 * ENFILE, ENOMEM.
 */
int chanfd_reduce(int fd, unsigned int rights);

/*
 * Channels
 */

/**
 * chanfd_channel() - make a channel with one handle that may do everything
 * @elem:	bytes of every message, 0 to CHANFD_MAX_MESSAGE; with
 *		CHANFD_VARIABLE of the longest, at least 1
 * @cap:	messages that it holds while no receiver waits, 0 to
 *		CHANFD_MAX_CAPACITY; with 0 a send waits for its receiver
 * @flags:	CHANFD_VARIABLE (messages of any length up to @elem),
 *		CHANFD_FDS (messages may have descriptors),
 *		CHANFD_NONBLOCK (the handle is O_NONBLOCK),
 *		CHANFD_INHERIT (the handle is not O_CLOEXEC)
 * @name:	for people, printable; NULL: none; cut to 15 bytes as prctl(2)
 *		does with PR_SET_NAME
 *
 * Size and capacity are fixed for life (rules C1 to C3). While this handle is
 * open both sides of the channel have a user, so neither can see the other go:
 * between processes use chanfd_channel_pair().
 *
 * Return: the handle. EINVAL (a number out of range, unknown flags, or
 * CHANFD_PAIR), the errors of making.
 */
int chanfd_channel(size_t elem, unsigned int cap, unsigned int flags,
		   const char *name);

/**
 * chanfd_channel_pair() - make a channel with a handle for either side
 * @fd:		out: fd[0] receives, fd[1] sends and closes, as with pipe(2)
 * @elem:	as in chanfd_channel()
 * @cap:	likewise
 * @flags:	likewise, for both handles
 * @name:	likewise
 *
 * When the last handle that can send is gone and none had closed the channel,
 * receivers get ECONNRESET after the last message; when the last one that can
 * receive is gone, senders get ECONNRESET (rule Z3).
 *
 * Return: 0. EINVAL and the errors of making, as chanfd_channel().
 */
int chanfd_channel_pair(int fd[2], size_t elem, unsigned int cap,
			unsigned int flags, const char *name);

/**
 * chanfd_send() - send one message
 * @ch:		handle with CHANFD_WRITE
 * @msg:	the message, copied before anything else happens (rule C9)
 * @size:	its bytes: exactly the channel's element size; with
 *		CHANFD_VARIABLE 1 to that; @msg may be NULL if 0
 * @opt:	how to wait, or NULL
 *
 * Waits until a receiver takes the message (capacity 0, rule C10) or there is
 * room (rule C11). Those who wait are served in their order (rule C22).
 *
 * Return: 0, the message is sent. EPIPE (the channel is closed, or was while
 * this call waited; rules C13, C28; never SIGPIPE), ECONNRESET (no handle that
 * could receive is left), EMSGSIZE (@size is not what the channel takes), the
 * errors of waiting.
 */
int chanfd_send(int ch, const void *msg, size_t size,
		const struct chanfd_opt *opt);

/**
 * struct chanfd_received - more about what was received
 * @size:	bytes in all
 * @seq:	the channel's number of the (first) message, from 0
 * @redelivered: how often the (first) message has come back from a lease before
 */
struct chanfd_received {
	size_t size;
	uint64_t seq;
	unsigned int redelivered;
};

/**
 * chanfd_recv() - receive one message
 * @ch:		handle with CHANFD_READ
 * @buf:	where to; NULL throws the message away (rule C19)
 * @size:	room there, in bytes
 * @opt:	how to wait, or NULL
 * @r:		out, with a result of 1: size and number; may be NULL
 *
 * Waits for a message (rule C15). A message that cannot be copied to @buf stays
 * in the channel.
 *
 * Return: 1 for a message; 0 if the channel is closed and drained, any number
 * of times (rules C16, C17; unlike Go, @buf keeps its contents). EMSGSIZE (the
 * next message is longer than @size), the errors of waiting. Once drained, also
 * ECONNRESET (no handle that could send is left and none had closed the
 * channel) or whatever cause it was closed with.
 */
int chanfd_recv(int ch, void *buf, size_t size, const struct chanfd_opt *opt,
		struct chanfd_received *r);

/**
 * chanfd_send_batch() - send several messages with one call
 * @ch:		handle with CHANFD_WRITE
 * @msgs:	the messages, one behind the other
 * @size:	bytes of all of them: with a fixed size, @count times that
 * @sizes:	bytes of each on a CHANFD_VARIABLE channel, where it may be NULL
 *		if @count is 1; NULL with a fixed size
 * @count:	how many, 1 to CHANFD_MAX_BATCH
 * @opt:	how to wait, or NULL
 * @seq:	out: number of the first one; the others follow without a gap;
 *		may be NULL
 *
 * Waits until at least one can be sent, and then sends as many as can go at
 * once, but none after the one that reaches CHANFD_MAX_BYTES: if fewer than
 * @count, call again for the rest.
 *
 * Return: how many were sent, 1 to @count. Errors as chanfd_send(), and EINVAL
 * (@count out of range); EMSGSIZE also if @sizes do not add up to @size.
 */
int chanfd_send_batch(int ch, const void *msgs, size_t size,
		      const uint32_t *sizes, unsigned int count,
		      const struct chanfd_opt *opt, uint64_t *seq);

/**
 * chanfd_recv_batch() - receive several messages with one call
 * @ch:		handle with CHANFD_READ
 * @buf:	where to, one behind the other; NULL throws them away
 * @size:	room there, in bytes
 * @sizes:	out: bytes of each; room for @count; NULL with a fixed size
 * @count:	how many at the most, 1 to CHANFD_MAX_BATCH
 * @opt:	how to wait, or NULL
 * @r:		out, with a result above 0: bytes in all, number of the first;
 *		may be NULL
 *
 * Waits for at least one message, and takes what is there and fits: one run of
 * the queue. A number may be missing in it where a message had come back from a
 * receiver that could not take it. The call may end early, with fewer than there
 * are: after the one that reaches CHANFD_MAX_BYTES, where memory at @buf is not
 * present, and with one if it had to sleep.
 *
 * Return: how many were received, 1 to @count; 0 if the channel is closed and
 * drained. Errors as chanfd_recv(), and EINVAL (@count out of range).
 */
int chanfd_recv_batch(int ch, void *buf, size_t size, uint32_t *sizes,
		      unsigned int count, const struct chanfd_opt *opt,
		      struct chanfd_received *r);

/**
 * chanfd_close() - close a channel for good: Go's close, not close(2)
 * @ch:		handle with CHANFD_WRITE; stays open
 * @cause:	errno, 1 to 511, for receivers once they have drained the channel;
 *		0 for the normal end
 *
 * All receivers that wait wake up (rule C27), all senders that wait fail and
 * their messages are dropped (rule C28), what is in the channel stays to be
 * received (rule C31). There is no way back.
 *
 * Return: 0. EPIPE (it is closed already, rule C29), EINVAL (@cause is not 0 to
 * 511).
 */
int chanfd_close(int ch, int cause);

/**
 * chanfd_close_once() - close a channel unless somebody else has
 * @ch:		as in chanfd_close()
 * @cause:	likewise
 *
 * For when several senders share the duty to close. However many call it, one
 * of them gets 1.
 *
 * Return: 1 if this call closed the channel, 0 if it was closed already.
 * EINVAL (@cause is not 0 to 511).
 */
int chanfd_close_once(int ch, int cause);

/**
 * chanfd_channel_info() - a channel's state and counters
 * @ch:		handle with any right
 * @info:	out
 *
 * Out of date as soon as it is there (rules C26, C32): good for people, tests
 * and statistics, wrong for deciding whether an operation would wait.
 *
 * Return: 0.
 */
int chanfd_channel_info(int ch, struct chanfd_channel_info *info);

/**
 * chanfd_len() - Go's len
 * @ch:		handle of a channel, with any right
 *
 * Return: messages in the buffer now, as out of date as all of
 * chanfd_channel_info(); always 0 without a buffer, whoever waits (rule C26).
 */
int chanfd_len(int ch);

/**
 * chanfd_cap() - Go's cap
 * @ch:		handle of a channel, with any right
 *
 * Return: the capacity that the channel was made with.
 */
int chanfd_cap(int ch);

/*
 * File descriptors in messages
 *
 * A channel that is made with CHANFD_FDS takes messages with up to CHANFD_MAX_FDS
 * descriptors: other channels (rule C5), so a request can carry where to reply, and
 * files. The files are kept open by the message until it is received; whoever
 * receives it has descriptors of its own, as after dup(2), and all O_CLOEXEC.
 *
 * Not every file can be sent, so that none can keep itself open for good. These can:
 * regular files (a memfd, too), directories, FIFOs and pipes, IPv4 and IPv6 sockets,
 * O_PATH descriptors, eventfds, timerfds, signalfds, pidfds, and handles. But not a
 * lease, and no handle that could receive from a CHANFD_FDS channel: send one that
 * chanfd_reduce() has made of it.
 */

/**
 * chanfd_send_fds() - send a message with descriptors
 * @ch:		handle with CHANFD_WRITE, of a channel made with CHANFD_FDS
 * @msg:	as in chanfd_send()
 * @size:	likewise
 * @fds:	the descriptors; they stay open here
 * @n:		how many, 0 to CHANFD_MAX_FDS
 * @opt:	how to wait, or NULL
 *
 * Return: 0, the message is sent. Errors as chanfd_send(), and EINVAL (too many, or the
 * channel takes none), EBADF (one is not open), ELOOP (one could receive from a channel
 * made with CHANFD_FDS), EOPNOTSUPP (one is of a kind that cannot be sent),
 * ETOOMANYREFS (more files of this user are in messages than one process may open,
 * RLIMIT_NOFILE).
 */
int chanfd_send_fds(int ch, const void *msg, size_t size, const int *fds,
		    unsigned int n, const struct chanfd_opt *opt);

/**
 * chanfd_recv_fds() - receive a message with descriptors
 * @ch:		handle with CHANFD_READ, of a channel made with CHANFD_FDS
 * @buf:	as in chanfd_recv()
 * @size:	likewise
 * @fds:	out: the descriptors, O_CLOEXEC, for the caller to close
 * @n:		room at @fds; out, with a result of 1: how many the message had
 * @opt:	how to wait, or NULL
 * @r:		as in chanfd_recv()
 *
 * A message of which something cannot be received stays in the channel as it is.
 * chanfd_recv() on such a channel is for messages without descriptors: others are
 * EMSGSIZE to it, or are thrown away with all that they carry if @buf is NULL.
 *
 * Return: 1 for a message, 0 for the end. Errors as chanfd_recv(); EMSGSIZE also if the
 * next message has more descriptors than @n; EMFILE (no more can be opened), and what
 * a security module says to one of them.
 */
int chanfd_recv_fds(int ch, void *buf, size_t size, int *fds, unsigned int *n,
		    const struct chanfd_opt *opt, struct chanfd_received *r);

/**
 * chanfd_send_memfd() - send memory that nobody can change any more
 * @ch:		handle with CHANFD_WRITE, of a channel made with CHANFD_FDS for messages
 *		of 0 bytes
 * @data:	what to send
 * @size:	its bytes
 * @opt:	how to wait, or NULL
 *
 * For what is too large for a message, or has many receivers: it is copied once, to a
 * sealed memfd (memfd_create(2)), which receivers map.
 *
 * Return: 0. Errors as chanfd_send_fds() and of memfd_create(2) and write(2): EMFILE,
 * ENFILE, ENOMEM, ENOSPC.
 */
int chanfd_send_memfd(int ch, const void *data, size_t size,
		      const struct chanfd_opt *opt);

/**
 * chanfd_recv_memfd() - receive memory that nobody can change any more
 * @ch:		handle with CHANFD_READ, of a channel as in chanfd_send_memfd()
 * @data:	out: where it is, read-only, for the caller to munmap(2); NULL if there
 *		are no bytes
 * @size:	out: its bytes
 * @opt:	how to wait, or NULL
 *
 * Return: 1 for a message, 0 for the end. Errors as chanfd_recv_fds(); ENOMEM, the
 * message is the channel's again. EBADMSG: what came was not sealed memory, and is thrown
 * away.
 */
int chanfd_recv_memfd(int ch, const void **data, size_t *size,
		      const struct chanfd_opt *opt);

/*
 * Leases: at least once
 *
 * A message that is received is gone if its receiver dies with it: at most once. One that
 * is received into a lease is gone only with chanfd_commit(). When the last copy of the
 * lease is closed without that, as when its process dies at whatever instruction, the
 * message is the first in the channel again, and whoever receives it is told so. A closed
 * channel is not at its end while messages are leased: there may be more to come.
 */

/**
 * chanfd_recv_leased() - receive one message into a lease
 * @ch:		as in chanfd_recv()
 * @buf:	likewise; NULL: the message's bytes do not matter
 * @size:	likewise
 * @lease:	-1: out, with a result of 1: a new lease, O_CLOEXEC, that the caller
 *		closes; or a lease of this channel's, to add the message to
 * @opt:	how to wait, or NULL
 * @r:		as in chanfd_recv()
 *
 * With descriptors, and as one of several things to wait for: CHANFD_RECV_PARCEL().
 *
 * Return: 1 for a message, 0 for the end. Errors as chanfd_recv(); EBADF or EINVAL
 * (@lease is not open, or is no lease of this channel's), ERANGE (it is committed),
 * EOVERFLOW (it has CHANFD_MAX_BATCH messages), EMFILE, ENFILE, ENOMEM, EDQUOT (the user's
 * limit of objects or of memory is reached): the message is the channel's again.
 */
int chanfd_recv_leased(int ch, void *buf, size_t size, int *lease,
		       const struct chanfd_opt *opt, struct chanfd_received *r);

/**
 * chanfd_commit() - the messages of a lease are received for good
 * @lease:	stays open, and is of no more use
 *
 * Return: 0. ERANGE (it was committed before).
 */
int chanfd_commit(int lease);

/*
 * Waitgroups
 */

/**
 * chanfd_waitgroup() - make a waitgroup with one handle that may do everything
 * @flags:	CHANFD_INHERIT (the handle is not O_CLOEXEC)
 * @name:	as in chanfd_channel()
 *
 * The count is zero, so nobody would wait (rule W1).
 *
 * Return: the handle. EINVAL (unknown flags, or CHANFD_PAIR), the errors of
 * making.
 */
int chanfd_waitgroup(unsigned int flags, const char *name);

/**
 * chanfd_waitgroup_pair() - make a waitgroup with a handle for either side
 * @fd:		out: fd[0] waits; fd[1] adds, is done and makes tokens
 * @flags:	as in chanfd_waitgroup(), for both handles
 * @name:	likewise
 *
 * Return: 0. Errors as chanfd_waitgroup().
 */
int chanfd_waitgroup_pair(int fd[2], unsigned int flags, const char *name);

/**
 * chanfd_wg_add() - Go's Add
 * @wg:		handle with CHANFD_WRITE
 * @n:		what to add to the count; may be negative
 *
 * At zero all who wait go on, and a new round begins with the next add. It may
 * begin before they have run: each waits for its own round (rules W3, W6).
 * A process that dies owes what it added; where that can happen use tokens.
 *
 * Return: 0. ERANGE (the count would fall below zero, rule W4), EOVERFLOW (or
 * rise above INT_MAX, rule W5).
 */
int chanfd_wg_add(int wg, int n);

/**
 * chanfd_wg_done() - Go's Done: add -1
 * @wg:		handle with CHANFD_WRITE
 *
 * Anybody with the right may (rule W2).
 *
 * Return: 0. ERANGE (the count is zero).
 */
int chanfd_wg_done(int wg);

/**
 * chanfd_wg_done_error() - done, with the task's result
 * @wg:		handle with CHANFD_WRITE
 * @err:	errno of the task, 0 for success; the first one of a round is
 *		reported to those who wait, others are dropped (rules E1, E3)
 *
 * Return: 0. ERANGE (the count is zero), EINVAL (@err is no errno).
 */
int chanfd_wg_done_error(int wg, int err);

/**
 * chanfd_wg_token() - add one, and get the duty to be done as a handle
 * @wg:		handle with CHANFD_WRITE
 * @flags:	CHANFD_INHERIT (the token is not O_CLOEXEC), CHANFD_AUTO_DONE
 *		(closing the token counts as done)
 *
 * Give one to every worker. If its last copy is closed before it was done, by
 * the end of its process for one, the count goes down all the same but the
 * round is broken: an abnormal end never looks like completion (rules W8, W9).
 *
 * Return: the token. EINVAL (unknown flags), EOVERFLOW (the count is INT_MAX),
 * EMFILE, ENFILE, ENOMEM, EDQUOT.
 */
int chanfd_wg_token(int wg, unsigned int flags);

/**
 * chanfd_token_done() - a token's task is done
 * @token:	the token; stays open, close(2) it too
 * @err:	as in chanfd_wg_done_error()
 *
 * Return: 0. ERANGE (done before), EINVAL (@err is no errno).
 */
int chanfd_token_done(int token, int err);

/**
 * struct chanfd_round - how a round of a waitgroup stands
 * @number:	of the round, from 1; 0: there was none yet
 * @broken:	members that ended without being done
 * @error:	first error that one was done with, or 0
 */
struct chanfd_round {
	uint64_t number;
	unsigned int broken;
	int error;
};

/**
 * chanfd_wg_wait() - Go's Wait
 * @wg:		handle with CHANFD_READ
 * @opt:	how to wait, or NULL
 * @round:	out, also with EOWNERDEAD: the round that ended; may be NULL
 *
 * Waits until the count is zero; at once if it is (rules W1, W7).
 *
 * Return: 0; look at @round->error for what members reported. EOWNERDEAD (the
 * round ended, but members died without being done, or nobody was left who
 * could end it), the errors of waiting.
 */
int chanfd_wg_wait(int wg, const struct chanfd_opt *opt,
		   struct chanfd_round *round);

/**
 * chanfd_wg_wait_broken() - wait for the end of a round or for a dead member
 * @wg:		handle with CHANFD_READ
 * @known:	broken members of the round that are known already: 0 to begin
 *		with, then the last @round->broken
 * @opt:	how to wait, or NULL
 * @round:	out, also with EOWNERDEAD; may be NULL
 *
 * For whoever replaces the dead instead of waiting for the living first.
 *
 * Return: 0, the round ended and nobody died; or, with a @known above 0, it is
 * a new one, see @round->number. EOWNERDEAD (members are broken, not @known of
 * them or the round ended: chanfd_waitgroup_info() has the count), the errors of
 * waiting.
 */
int chanfd_wg_wait_broken(int wg, unsigned int known,
			  const struct chanfd_opt *opt,
			  struct chanfd_round *round);

/**
 * chanfd_waitgroup_info() - a waitgroup's state
 * @wg:		handle with any right
 * @info:	out; out of date as soon as it is there
 *
 * Return: 0.
 */
int chanfd_waitgroup_info(int wg, struct chanfd_waitgroup_info *info);

/*
 * Contexts
 */

/**
 * chanfd_context() - Go's WithCancel
 * @parent:	handle with CHANFD_READ to derive from; -1: none, a root
 *
 * Done when it is cancelled or @parent is done, whichever comes first (rule
 * X2); at once if @parent is done (rule X6). When the last handle that could
 * cancel it is closed it is cancelled, with EOWNERDEAD as the cause: cancel
 * cannot be forgotten (rules X13, X20).
 *
 * Return: a handle that observes, derives and cancels, O_CLOEXEC. Do not give
 * this one to workers: use chanfd_context_pair() or chanfd_reduce(). EBADF,
 * EPERM or EINVAL (@parent), the errors of making.
 */
int chanfd_context(int parent);

/**
 * chanfd_context_pair() - a context and, apart from it, the right to cancel it
 * @fd:		out: fd[0] observes and derives, fd[1] cancels (rule X3)
 * @parent:	as in chanfd_context()
 *
 * Return: 0. Errors as chanfd_context().
 */
int chanfd_context_pair(int fd[2], int parent);

/**
 * chanfd_context_deadline() - Go's WithDeadline
 * @parent:	as in chanfd_context()
 * @deadline:	done with ETIMEDOUT then: CLOCK_MONOTONIC in nanoseconds, not 0;
 *		at once if it has passed (rule X11)
 *
 * A deadline shrinks only: an earlier one of @parent stays (rule X10).
 *
 * Return: as chanfd_context(). EINVAL (@deadline is 0).
 */
int chanfd_context_deadline(int parent, uint64_t deadline);

/**
 * chanfd_context_timeout() - Go's WithTimeout
 * @parent:	as in chanfd_context()
 * @ns:		nanoseconds from now; 0 or less: done at once
 *
 * Return: as chanfd_context().
 */
int chanfd_context_timeout(int parent, int64_t ns);

/**
 * chanfd_context_value() - Go's WithValue
 * @parent:	as in chanfd_context()
 * @key:	string of 1 to CHANFD_KEY_LEN bytes, NUL not counted; unrelated
 *		programs share the tree, so choose one that is yours alone
 * @value:	copied; NULL if @size is 0
 * @size:	its bytes, 0 to CHANFD_MAX_VALUE
 *
 * Hides a value of the same key further up (rule X15).
 *
 * Return: a handle that observes and derives; it is done when @parent is.
 * EINVAL (@key or @size), otherwise as chanfd_context().
 */
int chanfd_context_value(int parent, const char *key, const void *value,
			 size_t size);

/**
 * chanfd_context_without_cancel() - Go's WithoutCancel
 * @parent:	handle with CHANFD_READ
 *
 * Return: a handle that has @parent's values but neither its end nor its
 * deadline (rule X14). Errors as chanfd_context().
 */
int chanfd_context_without_cancel(int parent);

/* A struct chanfd_context to fill in: a root, nothing asked for. */
#define CHANFD_CONTEXT_INIT \
	{ 0, -1, { 0 }, 0, 0, 0, 0, { 0 }, { -1, -1 }, 0 }

/**
 * chanfd_context_make() - a context with any combination of what there is
 * @c:		what to make, begun with CHANFD_CONTEXT_INIT; see <linux/chanfd.h>
 *		for the fields; out: fd, id
 *
 * Return: 0. EINVAL, and errors as chanfd_context().
 */
int chanfd_context_make(struct chanfd_context *c);

/**
 * chanfd_cancel() - cancel a context
 * @ctx:	handle with CHANFD_WRITE
 * @cause:	an errno or any number of your own; 0 means ECANCELED
 * @text:	says more; NULL: nothing; cut to 63 bytes
 *
 * Every context derived from it is done when the call returns, none beside or
 * above it (rules X4, X5). The first cancellation wins; later ones succeed and
 * change nothing (rules X2, X9).
 *
 * Return: 0.
 */
int chanfd_cancel(int ctx, int cause, const char *text);

/**
 * chanfd_context_err() - Go's Err
 * @ctx:	handle with CHANFD_READ
 *
 * Return: 0 while the context is not done; then ECANCELED or ETIMEDOUT, for
 * good (rules X7, X8).
 */
int chanfd_context_err(int ctx);

/**
 * chanfd_context_info() - a context's state, with Go's Cause
 * @ctx:	handle with CHANFD_READ
 * @info:	out
 *
 * Return: 0.
 */
int chanfd_context_info(int ctx, struct chanfd_context_info *info);

/**
 * chanfd_value() - Go's Value
 * @ctx:	handle with CHANFD_READ
 * @key:	as in chanfd_context_value()
 * @buf:	where to
 * @size:	room there, in bytes; CHANFD_MAX_VALUE is always enough
 *
 * The nearest context upwards that has @key answers (rule X15).
 *
 * Return: bytes of the value. ENOENT (none has it), EMSGSIZE (longer than
 * @size; nothing was written), EINVAL (@key).
 */
ssize_t chanfd_value(int ctx, const char *key, void *buf, size_t size);

/**
 * struct chanfd_metadata - one piece of a request's metadata
 * @key:	string that is not empty
 * @value:	bytes, not aligned; to change metadata also NULL: there is no such key
 *		any more
 * @size:	of them; 0 without
 */
struct chanfd_metadata {
	const char *key;
	const void *value;
	size_t size;
};

/**
 * chanfd_context_metadata() - a context whose metadata are the parent's, changed
 * @parent:	as in chanfd_context()
 * @changes:	what to set, and what to take away, each key once
 * @n:		how many
 *
 * Metadata travel with a request: who it is for, what traces it. Those who have @parent,
 * or other contexts derived from it, see no change. All of a context's metadata are one
 * value of it (chanfd_context_value()), of CHANFD_MAX_VALUE bytes at the most, of which
 * each key needs 4 more than it has.
 *
 * Return: a handle that observes and derives; it is done when @parent is. E2BIG (too
 * much), EINVAL (a key), EBADMSG (@parent's are not metadata), otherwise as
 * chanfd_context().
 */
int chanfd_context_metadata(int parent, const struct chanfd_metadata *changes,
			    unsigned int n);

/**
 * chanfd_metadata() - look up one piece of metadata
 * @ctx:	handle of a context, with CHANFD_READ
 * @key:	which
 * @buf:	where to
 * @size:	room there, in bytes
 *
 * Return: bytes of the value. ENOENT (there is none), EMSGSIZE (longer than @size;
 * nothing was written), EBADMSG (these are not metadata).
 */
ssize_t chanfd_metadata(int ctx, const char *key, void *buf, size_t size);

/**
 * chanfd_metadata_each() - go through all metadata of a context
 * @ctx:	handle with CHANFD_READ
 * @visit:	called for each, in no particular order; another result than 0 is the end
 * @arg:	for @visit
 *
 * What @visit is shown lasts until it returns.
 *
 * Return: 0, or the result of the last @visit. EBADMSG (these are not metadata).
 */
int chanfd_metadata_each(int ctx, int (*visit)(const struct chanfd_metadata *m, void *arg),
			 void *arg);

/**
 * chanfd_context_wait() - wait until a context is done
 * @ctx:	handle with CHANFD_READ
 * @opt:	how to wait, or NULL; its context is another one that may end the
 *		wait
 *
 * Return: 0, it is done. The errors of waiting.
 */
int chanfd_context_wait(int ctx, const struct chanfd_opt *opt);

/**
 * chanfd_context_drained() - wait until every context derived from one is gone
 * @ctx:	handle with CHANFD_READ
 * @opt:	how to wait, or NULL
 *
 * Done says that the workers were told to stop; drained, that they have.
 *
 * Return: 0, nothing is derived from it now. The errors of waiting.
 */
int chanfd_context_drained(int ctx, const struct chanfd_opt *opt);

/**
 * chanfd_context_bind() - cancel a context when a file becomes ready
 * @ctx:	handle with CHANFD_WRITE
 * @fd:		what to watch: a pidfd, a socket, a timerfd, a handle, ...
 * @events:	of poll(2), such as POLLIN; POLLERR and POLLHUP always count
 * @cause:	as in chanfd_cancel()
 *
 * Nothing undoes it; a call that fails has no effect. Not for signal handlers.
 * The context keeps the file open, so @fd may be closed afterwards; but not that
 * of a Unix socket, an io_uring or a handle: these could hold the context open
 * in turn, so they are watched through an epoll instance, and the binding ends
 * when the last descriptor of the file is closed (rule X18).
 *
 * Return: 0. EOPNOTSUPP (a signalfd, whose readiness depends on who looks; a
 * device's or a file system's file), EPERM (cannot be polled), ENOSPC
 * (CHANFD_MAX_BINDINGS are reached), EDQUOT (the binding counts as an object of
 * the user), EBADF, EINVAL, ENOMEM; with an epoll instance also EMFILE, ENFILE
 * and ENOSPC (of epoll_ctl(2)).
 */
int chanfd_context_bind(int ctx, int fd, short events, int cause);

/*
 * What else ends a context
 */

/* Contexts of a process that signals end, at a time. */
#define CHANFD_MAX_WATCHES	32

/**
 * chanfd_context_signals() - a context that signals cancel: Go's NotifyContext
 * @parent:	as in chanfd_context()
 * @signals:	which
 * @n:		how many, at least 1
 *
 * The first that arrives cancels it, with EINTR as the cause and its name, such as
 * "SIGTERM", as the text. Nothing else happens then; without this, the signal would
 * have ended the program. A handler is installed, with SA_RESTART: calls that wait
 * with the context end with ECANCELED, others go on. Several contexts may watch one
 * signal.
 *
 *	chanfd_auto_cancel int context =
 *		chanfd_context_signals(-1, (int[]){ SIGINT, SIGTERM }, 2);
 *
 * A forked child watches nothing and has the dispositions from before; Ctrl-C, which
 * a terminal sends to parent and child, would end it.
 *
 * Return: as chanfd_context(). EINVAL (@n is 0, or no signal that can be caught),
 * ENOSPC (CHANFD_MAX_WATCHES are in use).
 */
int chanfd_context_signals(int parent, const int *signals, unsigned int n);

/**
 * chanfd_context_signals_stop() - signals do no longer end the context
 * @context:	of chanfd_context_signals()
 *
 * If none is left that watches it, a signal has the disposition from before again,
 * unless somebody has changed it meanwhile. The context itself goes on, and has to
 * be closed after this: until then the library has a handle of its own of it.
 *
 * Return: 0. ENOENT (no signals end it).
 */
int chanfd_context_signals_stop(int context);

/**
 * chanfd_context_process() - a context that ends with a process
 * @parent:	as in chanfd_context()
 * @pid:	of any process that is visible here
 *
 * Cancelled with EOWNERDEAD as the cause when the process ends, however it does; at
 * once if there is none of that number.
 *
 * Return: as chanfd_context(). EINVAL (@pid is not above 0, or is only a thread's),
 * and the errors of chanfd_context_bind().
 */
int chanfd_context_process(int parent, pid_t pid);

/**
 * chanfd_context_parent_process() - a context that ends with the parent process
 * @parent:	as in chanfd_context()
 * @pid:	of the parent: what getpid(2) had told it before it forked
 *
 * As chanfd_context_process(), and also right if the parent is gone already and its
 * number another process's.
 *
 * Return: as chanfd_context_process().
 */
int chanfd_context_parent_process(int parent, pid_t pid);

/**
 * chanfd_context_hangup() - a context that ends with a client's connection
 * @parent:	as in chanfd_context()
 * @socket:	that is connected; or a pipe
 *
 * Cancelled with ECONNRESET as the cause when the peer closes or resets the
 * connection, or shuts down its sending side (a Unix socket: either side). Data that
 * waits to be read neither hides that nor counts. @socket may be closed afterwards,
 * except for the last descriptor of a Unix socket: then its hang-up goes unnoticed.
 *
 * Return: as chanfd_context(), and the errors of chanfd_context_bind().
 */
int chanfd_context_hangup(int parent, int socket);

/**
 * chanfd_context_budget() - a context with a share of the time that is left
 * @parent:	as in chanfd_context()
 * @ns:		nanoseconds from now at the most; INT64_MAX: as much as there is
 * @percent:	1 to 100, of the time until @parent's deadline, if it has one
 *
 * For one of several attempts, or for a call that must leave time for what comes
 * after it.
 *
 * Return: as chanfd_context(). EINVAL (@percent).
 */
int chanfd_context_budget(int parent, int64_t ns, unsigned int percent);

/**
 * chanfd_after() - run a function when a context is done: Go's AfterFunc
 * @context:	handle with CHANFD_READ; may be closed afterwards
 * @fn:		runs once, at once if @context is done; in a thread of its own, where
 *		all signals are blocked
 * @arg:	for @fn
 *
 * Several for one context are independent (rule X16). Until it is joined it counts as
 * a context derived from @context: that is drained when all these functions are over.
 * A forked child has no such thread: there, stopping does nothing, and joining only frees.
 *
 * Return: what to give to chanfd_after_join(), once; or NULL with EBADF, EPERM or
 * EINVAL (@context), EAGAIN (pthread_create(3)), the errors of making.
 */
struct chanfd_after *chanfd_after(int context, void (*fn)(void *arg), void *arg);

/**
 * chanfd_after_stop() - do not run it
 * @after:	of chanfd_after()
 *
 * Neither waits for a function that runs, nor frees anything. May be called by @fn.
 *
 * Return: 1 if this call prevented the run; 0 if it runs, has run, or was stopped
 * before.
 */
int chanfd_after_stop(struct chanfd_after *after);

/**
 * chanfd_after_join() - wait until it has run or was stopped, and free it
 * @after:	of chanfd_after(); gone afterwards
 *
 * To be rid of it, stop it first. Waits for as long as it takes: for the context, if
 * it was not stopped, and for the function.
 *
 * Return: 1 if the function ran, 0 if it was stopped. EDEADLK (called by the function
 * itself; nothing was done).
 */
int chanfd_after_join(struct chanfd_after *after);

/*
 * Locks
 */

/**
 * chanfd_mutex() - make a mutex: Go's sync.Mutex, between processes
 * @flags:	CHANFD_INHERIT (the handle is not O_CLOEXEC), and how a released lock
 *		finds its next owner: CHANFD_HANDOFF (it is the first waiter's, strictly
 *		in order), CHANFD_BARGING (whoever comes first; fastest, and unfair), or
 *		neither: barging until somebody has waited for more than a millisecond,
 *		then handed over until the queue calms (rules M3 to M5)
 * @name:	as in chanfd_channel()
 *
 * A lock is held by the process that acquired it, by whichever of its threads and
 * handles: it is not reentrant, any thread and any other process that has a handle
 * may unlock it (rule M1), closing handles and execve(2) release nothing, and a child
 * made by fork(2) holds nothing. When the process dies, the next owner is told:
 * see chanfd_lock(). A handle with CHANFD_WRITE locks and unlocks; one with
 * CHANFD_READ alone can be looked at.
 *
 * poll(2): a handle with CHANFD_WRITE is writable while chanfd_lock() would not wait,
 * one with CHANFD_READ of a chanfd_rwmutex() is readable while chanfd_rlock() would
 * not; somebody else may be faster. POLLERR while EOWNERDEAD or ENOTRECOVERABLE is
 * what they would say.
 *
 * Return: the handle. EINVAL (both or unknown flags), the errors of making.
 */
int chanfd_mutex(unsigned int flags, const char *name);

/**
 * chanfd_rwmutex() - make a lock for many readers or one writer: Go's sync.RWMutex
 * @flags:	as in chanfd_mutex()
 * @name:	likewise
 *
 * Readers and writers take turns: while a writer waits no reader comes in (rule R2:
 * who holds it as a reader must not ask for it again), and a writer that unlocks lets
 * in all readers that have waited, before any other writer (rule R4). A handle
 * with CHANFD_READ locks and unlocks as a reader, one with CHANFD_WRITE as a writer.
 *
 * Return: the handle. EINVAL (flags), the errors of making.
 */
int chanfd_rwmutex(unsigned int flags, const char *name);

/**
 * chanfd_rwmutex_pair() - as chanfd_rwmutex(), with a handle for either side
 * @fd:		out: fd[0] may lock as a reader, fd[1] as a writer
 * @flags:	as in chanfd_mutex()
 * @name:	likewise
 *
 * Return: 0. EINVAL (flags), the errors of making.
 */
int chanfd_rwmutex_pair(int fd[2], unsigned int flags, const char *name);

/**
 * chanfd_lock() - Go's Lock
 * @lock:	handle with CHANFD_WRITE
 * @opt:	how to wait, or NULL
 *
 * Return: 0, the lock is held. EOWNERDEAD: the lock is held here too, but a process
 * died that held it as a writer, and no writer has unlocked it since: repair what it
 * protects and unlock, or give up by chanfd_unlock_lost() (rule M11). ENOTRECOVERABLE
 * (somebody gave up; it is not held), the errors of waiting, EDQUOT and ENOMEM also
 * without having to wait (a process's first use of a lock takes some memory).
 */
int chanfd_lock(int lock, const struct chanfd_opt *opt);

/**
 * chanfd_trylock() - Go's TryLock
 * @lock:	handle with CHANFD_WRITE
 *
 * Return: 0 or EOWNERDEAD, the lock is held. EAGAIN (somebody else holds it, or has it
 * handed over; rules M8, R6), ENOTRECOVERABLE, EDQUOT, ENOMEM, as chanfd_lock().
 */
int chanfd_trylock(int lock);

/**
 * chanfd_rlock() - Go's RLock
 * @lock:	handle with CHANFD_READ of a chanfd_rwmutex()
 * @opt:	how to wait, or NULL
 *
 * What a reader that dies held is released (rule R9), and counted.
 *
 * Return: as chanfd_lock(). EINVAL (not a lock with readers), EOVERFLOW (there are
 * 1 << 30 readers; rule R7).
 */
int chanfd_rlock(int lock, const struct chanfd_opt *opt);

/**
 * chanfd_tryrlock() - Go's TryRLock
 * @lock:	handle with CHANFD_READ of a chanfd_rwmutex()
 *
 * Return: as chanfd_trylock(); EAGAIN if a writer holds the lock or waits for it
 * (rule R6). EINVAL, EOVERFLOW, as chanfd_rlock().
 */
int chanfd_tryrlock(int lock);

/**
 * chanfd_unlock() - Go's Unlock
 * @lock:	handle with CHANFD_WRITE
 *
 * Return: 0. EPERM (also: no writer holds it; nothing has changed, rule M2).
 */
int chanfd_unlock(int lock);

/**
 * chanfd_runlock() - Go's RUnlock
 * @lock:	handle with CHANFD_READ of a chanfd_rwmutex()
 *
 * Takes from the calling process's own readers, if it has any, else from another's.
 *
 * Return: 0. EPERM (also: no reader holds it; rule R7).
 */
int chanfd_runlock(int lock);

/**
 * chanfd_unlock_lost() - unlock what is beyond repair
 * @lock:	handle with CHANFD_WRITE
 *
 * Everybody who waits for the lock, and everybody who tries from now on, gets
 * ENOTRECOVERABLE.
 *
 * Return: 0. EPERM (also: no writer holds it).
 */
int chanfd_unlock_lost(int lock);

/**
 * chanfd_downgrade() - from a writer to a reader, with no writer in between
 * @lock:	handle with CHANFD_READ and CHANFD_WRITE of a chanfd_rwmutex()
 *
 * The process that held the lock as a writer holds it as a reader then, and the
 * readers that have waited come in as well. It counts as a writer's unlock to those
 * who are told EOWNERDEAD.
 *
 * Return: 0. EINVAL (not a lock with readers), EPERM (also: no writer holds it).
 */
int chanfd_downgrade(int lock);

/**
 * chanfd_lock_info() - a lock now
 * @lock:	a handle
 * @info:	out: mode, state, who holds it and how many wait
 *
 * Return: 0.
 */
int chanfd_lock_info(int lock, struct chanfd_lock_info *info);

/**
 * chanfd_lock_map() - a page that says whether a lock is busy
 * @lock:	handle with CHANFD_READ
 *
 * Return: the page, read-only, for chanfd_lock_unmap(); or NULL with EACCES (the
 * handle has no CHANFD_READ), ENODEV (not a handle of a lock), EBADF, ENOMEM, EDQUOT.
 */
const struct chanfd_lock_page *chanfd_lock_map(int lock);

/**
 * chanfd_lock_unmap() - give back what chanfd_lock_map() returned
 * @page:	the page; NULL is ignored. errno is preserved.
 */
void chanfd_lock_unmap(const struct chanfd_lock_page *page);

/**
 * chanfd_lock_spin() - as chanfd_lock(), but first look a while whether it gets free
 * @lock:	handle with CHANFD_WRITE
 * @page:	the lock's page
 * @opt:	how to wait, or NULL
 *
 * Worth it where a lock is held for less time than it takes to sleep and wake
 * up, and on more than one CPU (rule M6); on one it does not spin.
 *
 * Return: as chanfd_lock().
 */
int chanfd_lock_spin(int lock, const struct chanfd_lock_page *page,
		     const struct chanfd_opt *opt);

/*
 * Conditions
 */

/**
 * chanfd_condition() - make a condition: Go's sync.Cond
 * @flags:	CHANFD_INHERIT (the handle is not O_CLOEXEC)
 * @name:	as in chanfd_channel()
 *
 * Return: the handle. EINVAL (flags), the errors of making.
 */
int chanfd_condition(unsigned int flags, const char *name);

/**
 * chanfd_condition_pair() - as chanfd_condition(), with a handle for either side
 * @fd:		out: fd[0] may wait, fd[1] may signal
 * @flags:	as in chanfd_condition()
 * @name:	as in chanfd_channel()
 *
 * Return: 0. EINVAL (flags), the errors of making.
 */
int chanfd_condition_pair(int fd[2], unsigned int flags, const char *name);

/**
 * chanfd_condition_wait() - Go's Wait
 * @cond:	handle with CHANFD_READ
 * @lock:	handle with CHANFD_WRITE of a lock that the caller holds as a writer
 * @opt:	how to wait, or NULL; no flags
 *
 * Joins those who wait, unlocks, sleeps until it is signalled, and locks again before
 * it returns, whatever ended the sleep (rule D1). Nothing wakes it without a signal,
 * but another may have been faster with the lock: check in a loop what is waited for.
 *
 * Return: 0, signalled; or ETIMEDOUT, ECANCELED, EINTR (even with SA_RESTART: the
 * call can't wait again without missing signals), no signal was used up: the lock
 * is held. EOWNERDEAD: it is held too, see chanfd_lock(). ENOTRECOVERABLE: it is not. If
 * nothing was done, and the lock is as it was: EPERM (also: no writer holds it), EINVAL
 * (@lock is not a lock's handle, or there are flags), EBADF, ENOMEM, EDQUOT.
 */
int chanfd_condition_wait(int cond, int lock, const struct chanfd_opt *opt);

/**
 * chanfd_signal() - wake who has waited longest: Go's Signal
 * @cond:	handle with CHANFD_WRITE
 *
 * In the order in which they came (rule D2). If the one that is woken is killed
 * before it returns, the next one is woken in its place (rule D4). Who signals need
 * not hold the lock.
 *
 * Return: 1, or 0: nobody was waiting, and nothing is remembered.
 */
int chanfd_signal(int cond);

/**
 * chanfd_broadcast() - wake all who wait: Go's Broadcast
 * @cond:	handle with CHANFD_WRITE
 *
 * Exactly those who wait when the call begins (rule D3).
 *
 * Return: how many.
 */
int chanfd_broadcast(int cond);

/**
 * chanfd_condition_info() - a condition now
 * @cond:	a handle
 * @info:	out: how many wait
 *
 * Return: 0.
 */
int chanfd_condition_info(int cond, struct chanfd_condition_info *info);

/*
 * Cells
 */

/**
 * chanfd_cell() - make a cell, Go's atomic.Value, with one handle that may do everything
 * @size:	bytes of a value at the most, 0 to CHANFD_MAX_CELL
 * @flags:	CHANFD_INHERIT (the handle is not O_CLOEXEC)
 * @name:	as in chanfd_channel()
 *
 * It holds one value, replaced as a whole, and the version of it: 1 for the first, one
 * more for each, 0 while there is none. All operations on all cells happen in one order
 * that everybody sees (rule H12). A cell has no end: the value stays when who stored it
 * is gone. poll(2) reports POLLIN on a handle that may load while the cell has a newer
 * version than was loaded by it; what was read from a mapping does not count.
 *
 * Return: the handle. EINVAL (@size, unknown flags, or CHANFD_PAIR), the errors of
 * making.
 */
int chanfd_cell(size_t size, unsigned int flags, const char *name);

/**
 * chanfd_cell_pair() - make a cell with a handle for either side
 * @fd:		out: fd[0] loads and waits, fd[1] stores
 * @size:	as in chanfd_cell()
 * @flags:	likewise, for both handles
 * @name:	likewise
 *
 * Return: 0. Errors as chanfd_cell().
 */
int chanfd_cell_pair(int fd[2], size_t size, unsigned int flags, const char *name);

/**
 * chanfd_load() - Go's Load
 * @cell:	handle with CHANFD_READ
 * @buf:	where to; may be NULL if @size is 0
 * @size:	room there, in bytes; the cell's own size is always enough
 * @version:	out: of the value; may be NULL
 *
 * The value is whole (rule V1), and what @buf holds is the caller's: later stores do not
 * change it. Never sleeps, and waits for nobody who stores, except that pages at @buf
 * that are not present are made so.
 *
 * Return: bytes of the value. ENODATA (nothing was stored yet), EMSGSIZE (longer than
 * @size; nothing was written).
 */
ssize_t chanfd_load(int cell, void *buf, size_t size, uint64_t *version);

/**
 * chanfd_store() - Go's Store
 * @cell:	handle with CHANFD_WRITE
 * @buf:	the value, copied before anything can be seen of it; may be NULL if
 *		@size is 0
 * @size:	its bytes, 0 to the size that the cell was made with
 * @version:	out: the value's; may be NULL
 *
 * Wakes all who wait for a change. Never sleeps.
 *
 * Return: 0. EMSGSIZE (@size is more than the cell's), EPROTOTYPE (the values of this
 * cell have a tag, see chanfd_cell_store()), ENOMEM.
 */
int chanfd_store(int cell, const void *buf, size_t size, uint64_t *version);

/**
 * chanfd_swap() - Go's Swap: store, and load what was there before
 * @cell:	handle with CHANFD_READ and CHANFD_WRITE
 * @buf:	as in chanfd_store()
 * @size:	likewise
 * @old:	where the old value goes; may be NULL if @old_size is 0
 * @old_size:	room there, in bytes
 * @version:	out: of the new value; the old one's is one less; may be NULL
 *
 * Return: bytes of the old value; 0 also if there was none (rule V3), @version is 1
 * then. Errors as chanfd_store(); EMSGSIZE also if the old value is longer than @old_size.
 * Then, and if @old leads nowhere (EFAULT), nothing was stored.
 */
ssize_t chanfd_swap(int cell, const void *buf, size_t size, void *old, size_t old_size,
		    uint64_t *version);

/**
 * chanfd_compare_and_store() - Go's CompareAndSwap, by version
 * @cell:	handle with CHANFD_WRITE
 * @expected:	version that the cell has to have; 0: no value yet
 * @buf:	as in chanfd_store()
 * @size:	likewise
 * @version:	out: of the new value; may be NULL
 *
 * Go compares values. A version is never used again, so that nothing that happened in
 * between is missed (the ABA problem); who wants to compare bytes loads, compares them,
 * and gives the version that was loaded:
 *
 *	do {
 *		size = chanfd_load(cell, &value, sizeof(value), &version);
 *		if (size < 0 || memcmp(&value, &wanted, sizeof(wanted)))
 *			return -1;
 *	} while (chanfd_compare_and_store(cell, version, &fresh, sizeof(fresh), NULL) &&
 *		 errno == ESTALE);
 *
 * Return: 0. ESTALE (it has another version), errors as chanfd_store().
 */
int chanfd_compare_and_store(int cell, uint64_t expected, const void *buf, size_t size,
			     uint64_t *version);

/**
 * chanfd_cell_load() - load with everything there is to tell
 * @cell:	handle with CHANFD_READ
 * @l:		buf and size, the rest 0; out: tag, size, version; see
 *		struct chanfd_load
 *
 * Return: 0. Errors as chanfd_load().
 */
int chanfd_cell_load(int cell, struct chanfd_load *l);

/**
 * chanfd_cell_store() - store with any combination of what there is
 * @cell:	handle with CHANFD_WRITE; with CHANFD_SWAP also CHANFD_READ
 * @s:		what to store, the rest 0; out: version, and old_size with CHANFD_SWAP;
 *		see struct chanfd_store
 *
 * The first value's tag is the cell's type for good (rule V2): any number, such as a hash
 * of the name of a C type. All stores need the same one; the other functions use 0.
 *
 * Return: 0. EPROTOTYPE (another tag; this is looked at before the version), ESTALE (with
 * CHANFD_IF_VERSION), EINVAL (unknown flags, or an old without CHANFD_SWAP), errors as
 * chanfd_store() and chanfd_swap().
 */
int chanfd_cell_store(int cell, struct chanfd_store *s);

/**
 * chanfd_cell_wait() - wait until a cell has another version
 * @cell:	handle with CHANFD_READ
 * @known:	version that is known; 0: none
 * @opt:	how to wait, or NULL
 * @version:	out: that it has then; may be NULL
 *
 * Versions in between may be missed: the latest is what counts. All who wait go on with
 * each store.
 *
 * Return: 0. The errors of waiting.
 */
int chanfd_cell_wait(int cell, uint64_t known, const struct chanfd_opt *opt,
		     uint64_t *version);

/**
 * chanfd_cell_info() - a cell's state
 * @cell:	handle with any right
 * @info:	out; out of date as soon as it is there
 *
 * Return: 0.
 */
int chanfd_cell_info(int cell, struct chanfd_cell_info *info);

/**
 * chanfd_cell_map() - map a cell, to read it without system calls
 * @cell:	handle with CHANFD_READ
 *
 * Inherited by fork(2). The mapping can't be made writable, and keeps the cell and this
 * handle in existence, also when @cell is closed.
 *
 * Return: for chanfd_cell_read() and chanfd_cell_unmap(); or NULL. EACCES (no right),
 * ENODEV (not a handle that can be mapped), EDQUOT (who maps it first pays for a page),
 * ENOMEM.
 */
const struct chanfd_cell_page *chanfd_cell_map(int cell);

/**
 * chanfd_cell_unmap() - end a mapping
 * @page:	what chanfd_cell_map() returned
 */
void chanfd_cell_unmap(const struct chanfd_cell_page *page);

/* A fence, in programs built for a race detector, which knows none. */
void chanfd_race_cell_seen(void);

/*
 * Snapshots
 */

struct chanfd_snapshot;

/**
 * struct chanfd_copy - what a cell held at one version; nobody changes it
 * @data:	aligned as of malloc(3)
 * @size:	bytes
 * @version:	of the cell
 */
struct chanfd_copy {
	const void *data;
	size_t size;
	uint64_t version;
};

/**
 * chanfd_snapshot_open() - keep copies of what a cell holds, to read it all the time
 * @cell:	handle with CHANFD_READ; may be closed afterwards
 *
 * For configuration and the like: read at every step, replaced as a whole now and then
 * (copy-on-write), by chanfd_store() of any process. Readers neither wait for who stores
 * nor for each other, and whoever has a copy may keep it. One snapshot serves all threads
 * of a process; a child of fork(2) has one of its own then. Memory is allocated, so none
 * of these functions is for signal handlers.
 *
 * Return: the snapshot, or NULL. ENOMEM, EDQUOT, EMFILE, ENFILE (it takes a handle and a
 * mapping).
 */
struct chanfd_snapshot *chanfd_snapshot_open(int cell);

/**
 * chanfd_snapshot_close() - the end of a snapshot
 * @s:		that nobody uses any more: every copy was put; may be NULL
 */
void chanfd_snapshot_close(struct chanfd_snapshot *s);

/**
 * chanfd_snapshot_get() - the newest copy
 * @s:		the snapshot
 *
 * A system call only for the first of all threads that finds a new version.
 *
 * Return: a copy that stays as it is until the caller gives it to chanfd_snapshot_put();
 * or NULL. ENODATA (nothing was stored yet), ENOMEM (only if there is no older copy that
 * could be had instead).
 */
const struct chanfd_copy *chanfd_snapshot_get(struct chanfd_snapshot *s);

/**
 * chanfd_snapshot_renew() - exchange a copy for the newest, if it is not that
 * @s:		the snapshot
 * @copy:	of the caller's; put, unless it is what is returned
 *
 * For loops. While nothing has changed this is one look at shared memory.
 *
 * Return: as chanfd_snapshot_get(), but never NULL.
 */
const struct chanfd_copy *chanfd_snapshot_renew(struct chanfd_snapshot *s,
						const struct chanfd_copy *copy);

/**
 * chanfd_snapshot_put() - give a copy back
 * @copy:	from chanfd_snapshot_get() or _renew(); not to be used any more
 */
void chanfd_snapshot_put(const struct chanfd_copy *copy);

/*
 * Maps
 *
 * Go's sync.Map, between processes. A map is a cell, whose value is all keys and what they
 * stand for: chanfd_cell() makes one, chanfd_store(map, NULL, 0, NULL) clears it (and no
 * other store is of use), chanfd_cell_wait() waits for any change, and what is said about
 * cells holds. A key takes 4 bytes more than it has, and its value. Each operation copies
 * the whole map, so maps are for what many read, and few change. None of these functions
 * is for signal handlers.
 */

/**
 * struct chanfd_map_value - what a key of a map stands for
 * @data:	bytes, not aligned; NULL: the key is not there
 * @size:	of them
 */
struct chanfd_map_value {
	const void *data;
	size_t size;
};

/**
 * chanfd_map_load() - Go's Load
 * @map:	handle of a cell, with CHANFD_READ
 * @key:	string
 * @buf:	where to; may be NULL if @size is 0
 * @size:	room there, in bytes
 *
 * Never sleeps.
 *
 * Return: bytes of the value. ENOENT (the key is not there), EMSGSIZE (longer than @size;
 * nothing was written), EBADMSG (the cell holds no map), ENOMEM.
 */
ssize_t chanfd_map_load(int map, const char *key, void *buf, size_t size);

/**
 * chanfd_map_store() - Go's Store and Delete
 * @map:	handle of a cell, with CHANFD_READ and CHANFD_WRITE
 * @key:	string that is not empty
 * @value:	copied; NULL: the key is not there any more
 * @size:	its bytes, 0 if @value is NULL
 *
 * Never sleeps.
 *
 * Return: 0. EINVAL (@key), E2BIG (the map would be larger than its cell), EBADMSG (the
 * cell holds no map), ENOMEM.
 */
int chanfd_map_store(int map, const char *key, const void *value, size_t size);

/**
 * chanfd_map_update() - change what a key stands for at one instant: Go's LoadOrStore,
 *	LoadAndDelete, Swap, CompareAndSwap, CompareAndDelete, and whatever else
 * @map:	as in chanfd_map_store()
 * @key:	likewise
 * @change:	is given what @key stands for, and replaces it by what it shall stand for.
 *		Returns 0; 1, and the map stays as it is; or -1, and errno. Called again,
 *		with what there is then, if somebody else was faster
 * @arg:	for @change
 *
 *	static int count(struct chanfd_map_value *value, void *arg)
 *	{
 *		int *n = arg;
 *
 *		*n = 0;
 *		if (value->data)
 *			memcpy(n, value->data, sizeof(*n));
 *		++*n;
 *		*value = (struct chanfd_map_value){ n, sizeof(*n) };
 *		return 0;
 *	}
 *
 * Of several at the same time one always succeeds (rule K1). Never sleeps.
 *
 * Return: 0; 1 if @change has returned it. Errors as chanfd_map_store(), and those of
 * @change.
 */
int chanfd_map_update(int map, const char *key,
		      int (*change)(struct chanfd_map_value *value, void *arg), void *arg);

/**
 * chanfd_map_each() - Go's Range
 * @map:	handle of a cell, with CHANFD_READ
 * @visit:	called for each key, in no particular order, and may use the map; another
 *		result than 0 is the end
 * @arg:	for @visit
 *
 * Shows all of the map as it was at one instant, in the call (rule K2). What @visit is
 * shown lasts until it returns.
 *
 * Return: 0, or the result of the last @visit. EBADMSG (the cell holds no map), ENOMEM.
 */
int chanfd_map_each(int map,
		    int (*visit)(const char *key, const struct chanfd_map_value *value,
				 void *arg), void *arg);

/*
 * Select
 */

/**
 * struct chanfd_outcome - what the case that was done came to
 * @index:	of the case
 * @error:	what the operation would have failed with, alone; or 0
 * @ok:		CHANFD_RECV: 1 for a message, 0 for the end of the channel
 * @status:	CHANFD_WAIT: first error of the round; CHANFD_DONE: the cause
 * @size:	CHANFD_RECV: bytes received; CHANFD_WAIT: members broken;
 *		CHANFD_POLL: events that are ready
 * @number:	CHANFD_SEND, CHANFD_RECV: of the message, from 0; CHANFD_WAIT: of
 *		the round, from 1 (0: there was none yet); CHANFD_CHANGED: the cell's
 *		version
 */
struct chanfd_outcome {
	int index;
	int error;
	int ok;
	int status;
	size_t size;
	uint64_t number;
};

/**
 * chanfd_select() - do exactly one of many things
 * @cases:	what; made with CHANFD_SEND() and so on; one with a negative
 *		descriptor is never ready, which switches it off (rule S7)
 * @n:		how many, 0 to CHANFD_MAX_CASES; without any that can become
 *		ready it sleeps until the deadline, the context or a signal
 *		(rule S6)
 * @opt:	how to wait, or NULL; CHANFD_NONBLOCK is Go's default case
 *		(rule S5): EAGAIN says that at one instant none was ready (rule
 *		S4)
 * @out:	out: what came of it; NULL if the index says enough
 *
 * If several cases can go ahead one of them is chosen at random, each with the
 * same chance (rules S2, S3), a done context and a message alike (rule S17).
 * Buffers of the others stay untouched (rule S12). A send to a closed channel
 * can always go ahead: it fails if chosen (rule S8).
 *
 * Return: index of the case that was done. If its operation failed, for example
 * with EPIPE, that is @out->error; without @out the call then fails with it.
 * Before any case is tried: E2BIG (too many cases, or more than CHANFD_MAX_BYTES
 * to send in all of them), EBADF, EINVAL (not a handle of the type that the case
 * is about), EPERM, EMSGSIZE, EFAULT (a message to send), found in any of them.
 * EFAULT also if a receive was chosen and its message has nowhere to go: it stays
 * in the channel, and no case was done. The errors of waiting. If no case and no
 * context is a handle, the errors of making.
 */
int chanfd_select(const struct chanfd_case *cases, unsigned int n,
		  const struct chanfd_opt *opt, struct chanfd_outcome *out);

/*
 * Groups
 *
 * A group is of the process that made it: its functions may be called from any thread
 * there, the tasks included, and fail with EPERM in a forked child. Tasks are functions
 *
 *	int task(int context, void *arg)
 *
 * that return 0, an errno, or -1 for what errno says. @context observes the group's
 * context; it stays open as long as the group. A task cannot be started outside a
 * group, and no task outlives its group.
 */

/* Flag of chanfd_group(): errors do not cancel the other tasks. */
#define CHANFD_KEEP_GOING	0x10000U

/* Failures that a group remembers one by one. */
#define CHANFD_MAX_FAILURES	64

/**
 * struct chanfd_failure - a task that failed
 * @error:	errno: what it returned; EOWNERDEAD if it ended without returning
 * @status:	a process: its wait status, see waitpid(2); 0 if the program has it
 *		taken elsewhere
 * @pid:	of the process; 0: it was a thread
 * @arg:	of the task
 */
struct chanfd_failure {
	int error;
	int status;
	pid_t pid;
	void *arg;
};

/**
 * chanfd_group() - make a group of tasks: Go's errgroup.WithContext
 * @parent:	as in chanfd_context(), for the group's context
 * @flags:	CHANFD_KEEP_GOING, or 0
 *
 * The first task that fails cancels the context with its error as the cause (rule E2),
 * at once, whoever waits for what. With CHANFD_KEEP_GOING it does not. Should the
 * process die, the context is cancelled with EOWNERDEAD, and so tasks that are
 * processes are told.
 *
 * Return: the group, or NULL. EINVAL (flags), errors as chanfd_context(), EDQUOT.
 */
struct chanfd_group *chanfd_group(int parent, unsigned int flags);

/**
 * chanfd_group_free() - the end of a group
 * @g:		the group; NULL: nothing happens
 *
 * Cancels the context, waits until no task is left, and frees the group. Not from a
 * task of the group, which would wait for itself. In a forked child only the child's
 * copy goes. errno is preserved.
 */
void chanfd_group_free(struct chanfd_group *g);

/**
 * chanfd_group_context() - the context that tasks get
 * @g:		the group
 *
 * Return: a handle that observes and derives, the group's: do not close it.
 */
int chanfd_group_context(const struct chanfd_group *g);

/**
 * chanfd_group_waitgroup() - the tasks, as a waitgroup
 * @g:		the group
 *
 * To wait for them with a deadline, or as one of several cases (CHANFD_WAIT()). When its
 * count is zero chanfd_group_wait() does not have to wait.
 *
 * Return: a handle that waits, the group's: do not close it.
 */
int chanfd_group_waitgroup(const struct chanfd_group *g);

/**
 * chanfd_group_limit() - Go's SetLimit
 * @g:		the group
 * @n:		tasks at a time, 0 (none may start) to CHANFD_MAX_CAPACITY; negative:
 *		any number, as at the beginning (rule E6)
 *
 * Return: 0. EBUSY (tasks are there, or about to start: rule E8), EINVAL (@n), the
 * errors of making.
 */
int chanfd_group_limit(struct chanfd_group *g, int n);

/**
 * chanfd_group_degrade() - what may turn failures into successes
 * @g:		the group
 * @hook:	called when a task has failed, in a thread of the task's and perhaps
 *		several at a time. Returns 0 if there is a fallback for what the task
 *		should have done, and then the group has seen no failure; otherwise the
 *		error to fail with, such as that of the task. NULL: none
 * @arg:	for @hook
 *
 * Return: 0. EBUSY (tasks are there, or about to start).
 */
int chanfd_group_degrade(struct chanfd_group *g,
			 int (*hook)(const struct chanfd_failure *failure, void *arg),
			 void *arg);

/**
 * chanfd_group_go() - start a task as a thread: Go's Go, and TryGo
 * @g:		the group
 * @fn:		the task
 * @arg:	for it
 * @opt:	how to wait for a slot at the group's limit (rule E4), or NULL; with
 *		CHANFD_NONBLOCK this is TryGo
 *
 * If the task ends by pthread_exit(3) or pthread_cancel(3) it fails with EOWNERDEAD: an
 * abnormal end does not look like completion (rule W8). It begins with the signal mask
 * of the caller.
 *
 * Return: 0, the task has begun or will. EAGAIN (the limit is reached, with
 * CHANFD_NONBLOCK; or as pthread_create(3)), ENOMEM, the errors of waiting.
 */
int chanfd_group_go(struct chanfd_group *g, int (*fn)(int context, void *arg), void *arg,
		    const struct chanfd_opt *opt);

/**
 * chanfd_group_fork() - start a task as a child process
 * @g:		the group
 * @fn:		the task; what it returns is the end of the child, by _exit(2)
 * @arg:	for it
 * @opt:	as in chanfd_group_go()
 *
 * The child has copies of all that the parent has, as after fork(2), with the signal
 * mask of the caller. It can observe the group's context but not end it. If the parent
 * has threads, of which this call makes one, fork(2) says what the child may do; it is
 * best if @fn flushes what it prints.
 *
 * A child that crashes, is killed, or exits in any other way than by returning from
 * @fn is a failure with EOWNERDEAD, at once (rule E9). A thread of the parent collects it.
 * A program may also wait for all its children, or ignore SIGCHLD: then only the status
 * of the failure is lost.
 *
 * Return: the child's id. EAGAIN and ENOMEM (also as fork(2)), otherwise as
 * chanfd_group_go().
 */
pid_t chanfd_group_fork(struct chanfd_group *g, int (*fn)(int context, void *arg), void *arg,
			const struct chanfd_opt *opt);

/**
 * chanfd_group_wait() - wait until no task is left: Go's Wait
 * @g:		the group
 * @first:	out, if it fails with the error of a task: which; may be NULL
 *
 * Threads and processes of all tasks are gone then, and the context is done: with the
 * first error as the cause, or with ECANCELED if there was none (rule E2). Not
 * interrupted by signals, and not from a task of the group; see
 * chanfd_group_waitgroup() for other ways to wait.
 *
 * Return: 0, all that ever were in the group have succeeded. Otherwise the first error
 * (rules E1, E3); EPERM also if @g was made by another process.
 */
int chanfd_group_wait(struct chanfd_group *g, struct chanfd_failure *first);

/**
 * chanfd_group_failures() - all that went wrong
 * @g:		the group
 * @list:	out: the first failures, in their order
 * @max:	room there
 *
 * At most CHANFD_MAX_FAILURES are remembered, whatever @max is.
 *
 * Return: how many tasks have failed so far. 0 with EPERM in a forked child.
 */
unsigned int chanfd_group_failures(struct chanfd_group *g, struct chanfd_failure *list,
				   unsigned int max);

/**
 * chanfd_cleanup_group() - chanfd_group_free(*g), see chanfd_auto_group
 * @g:		a group; NULL afterwards
 */
void chanfd_cleanup_group(struct chanfd_group **g);

/*
 * Workers
 */

/* Flag of struct chanfd_work: workers are child processes, not threads. */
#define CHANFD_PROCESSES	0x20000U

/* Workers of one channel at a time. */
#define CHANFD_MAX_WORKERS	65536

/**
 * struct chanfd_work - what workers do
 * @channel:	handle with CHANFD_READ that they receive from; stays open until the last
 *		has ended
 * @flags:	CHANFD_PROCESSES; CHANFD_LEASED: a message is committed when @fn has
 *		returned 0, otherwise the channel has it again
 * @restarts:	how many processes that die are replaced, in all; the next is a failure
 *		of the group. Without CHANFD_LEASED, their messages are lost
 * @fn:		called with each message; @context is the group's. Returns 0, an errno,
 *		or -1 for what errno says; an error ends the worker, as a failure of the
 *		group
 * @arg:	for @fn
 */
struct chanfd_work {
	int channel;
	unsigned int flags;
	unsigned int restarts;
	int (*fn)(int context, void *message, const struct chanfd_received *r, void *arg);
	void *arg;
};

/**
 * chanfd_workers() - start workers, as tasks of a group
 * @g:		the group
 * @work:	what they do; copied
 * @n:		how many, 0 to CHANFD_MAX_WORKERS
 *
 * They end without an error when the channel is closed and drained; with one when it
 * ends in another way (see chanfd_recv()), when the group's context is done (ECANCELED,
 * ETIMEDOUT), or when @work->fn returns one. All have ended when chanfd_group_wait()
 * returns. A limit of the group counts them.
 *
 * Return: the workers, which go with the group; or NULL. EINVAL (flags, @n), errors as
 * chanfd_group_go() and chanfd_group_fork(), the errors of making: workers that had
 * begun end as if told by chanfd_workers_resize().
 */
struct chanfd_workers *chanfd_workers(struct chanfd_group *g, const struct chanfd_work *work,
				      unsigned int n);

/**
 * chanfd_workers_resize() - have more or fewer of them
 * @w:		the workers
 * @n:		how many, 0 to CHANFD_MAX_WORKERS
 *
 * Who is told to go finishes its message first; those who have none go before others.
 * This call does not wait for that. One that is started at the end of the channel ends
 * at once.
 *
 * Return: 0. EINVAL (@n), errors as chanfd_group_go() and chanfd_group_fork(): some may
 * have begun.
 */
int chanfd_workers_resize(struct chanfd_workers *w, unsigned int n);

/**
 * chanfd_workers_waitgroup() - the workers, as a waitgroup
 * @w:		the workers
 *
 * To wait for these workers rather than for all of the group: its count is how many there
 * are. Between the stages of a pipeline, whoever closes the next channel waits for it.
 *
 * Return: a handle that waits, the group's: do not close it.
 */
int chanfd_workers_waitgroup(const struct chanfd_workers *w);

/*
 * Scope, see chanfd_auto
 */

/**
 * chanfd_cleanup_fd() - close(2) *fd if it is not negative; errno is preserved
 * @fd:		a descriptor; -1 afterwards
 */
void chanfd_cleanup_fd(int *fd);

/**
 * chanfd_cleanup_cancel() - chanfd_cancel(*ctx, 0, NULL), then chanfd_cleanup_fd()
 * @ctx:	handle of a context, with CHANFD_WRITE; -1 afterwards
 */
void chanfd_cleanup_cancel(int *ctx);

/*
 * Handing over
 */

/* Handles that one message or one exec can carry. */
#define CHANFD_HAND_MAX		64

/**
 * chanfd_hand() - give descriptors to the process at the other end of a socket
 * @socket:	a connected Unix socket of any type
 * @fds:	what to give; stays open here
 * @n:		how many, 1 to CHANFD_HAND_MAX
 * @names:	@n strings of at most 15 bytes that tell the receiver which is
 *		which; an entry, or all of it, may be NULL
 *
 * One message with SCM_RIGHTS, see unix(7). A socket that is full makes it
 * wait, unless it is O_NONBLOCK. Between the call and chanfd_take() the handles
 * count as alive (rule Z3). The message is 8 bytes "chanfd\0\1" and then
 * CHANFD_HAND_MAX names of 16 bytes, padded with zeroes. A cancellation point.
 *
 * Return: 0. EINVAL (@n, or a name is too long), EBADF (an entry of @fds),
 * EPIPE or ECONNRESET (nobody is there; never SIGPIPE), EAGAIN, EINTR, ENOBUFS,
 * ENOMEM, ETOOMANYREFS (too many descriptors are on their way), ENOTCONN,
 * ENOTSOCK.
 */
int chanfd_hand(int socket, const int *fds, unsigned int n,
		const char *const *names);

/**
 * chanfd_take() - take what chanfd_hand() gives
 * @socket:	a Unix socket
 * @fds:	out: the descriptors, O_CLOEXEC
 * @max:	room there
 * @names:	out: their names, NUL-terminated, as the sender wrote them and
 *		not otherwise checked; NULL if not wanted
 *
 * Waits for the message, unless the socket is O_NONBLOCK. All or nothing: if
 * the call fails no descriptor that came is left open. What they refer to is
 * the sender's word: see chanfd_info(). A cancellation point.
 *
 * Return: how many, 1 to @max; 0 if the peer has shut down. EBADMSG (not a
 * message of chanfd_hand(); close the socket), EMSGSIZE (more than @max; the
 * message is gone), EMFILE (more than the process may open; likewise), EAGAIN,
 * EINTR, ECONNRESET, ENOTCONN, ENOTSOCK, ENOMEM.
 */
int chanfd_take(int socket, int *fds, unsigned int max,
		char names[][CHANFD_NAME_LEN]);

/**
 * chanfd_exec() - execve(2) that passes descriptors on under names
 * @path:	as execve(2)
 * @argv:	likewise
 * @envp:	likewise; LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES are replaced
 * @fds:	what to pass; in the new program they are 3, 4, ... in this order
 * @n:		how many, 1 to CHANFD_HAND_MAX
 * @names:	as in chanfd_hand(), but without ':'; where NULL, "unknown"
 *
 * Call it in the child after fork(2) or vfork(2); it allocates nothing. What is
 * open at 3 to @n + 2 is replaced, whatever it was. The protocol is that of
 * sd_listen_fds(3), so it is for programs of any kind.
 *
 * Return: only if it fails, with descriptors 3 and up in an unknown state: call
 * _exit(2). EINVAL (@n or a name), EBADF, EMFILE, E2BIG, errors of execve(2).
 */
int chanfd_exec(const char *path, char *const argv[], char *const envp[],
		const int *fds, unsigned int n, const char *const *names);

/**
 * chanfd_listen_fd() - descriptor that this program was started with
 * @name:	under which chanfd_exec() or the service manager passed it
 *
 * Reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES as sd_listen_fds(3) does and
 * leaves them as they are; a child of this process does not see them as its
 * own. Sets FD_CLOEXEC. If several have the name, the first counts. Not while
 * another thread changes the environment.
 *
 * Return: the descriptor, always the same. ENOENT (nothing was passed to this
 * process, or nothing of that name), EINVAL (the variables are malformed, or
 * @name is NULL), EBADF (it is not open).
 */
int chanfd_listen_fd(const char *name);

/*
 * Object pools
 */

/* Bytes of an object of a pool at the most. */
#define CHANFD_POOL_MAX_SIZE	(1U << 26)

/* Flag of chanfd_pool(). */
#define CHANFD_POOL_CHECK	(1U << 8) /* slower, and finds objects put back twice */

/**
 * chanfd_pool() - make an object pool: Go's sync.Pool
 * @size:	bytes of an object, 1 to CHANFD_POOL_MAX_SIZE; objects begin on cache
 *		lines of their own
 * @flags:	CHANFD_POOL_CHECK: find every wrong use of chanfd_pool_put()
 * @init:	Go's New: makes the object that it is given ready for use, whose content
 *		until then is like that of malloc(3): what it has not written is anything,
 *		and may be something else when it is read again; NULL: nothing needs to be
 *		done
 *
 * For objects that are memory, and that take some work to make ready: they keep their
 * content in the pool, or lose it and are made ready again. There is nothing that is
 * told when an object loses its content, so it should not have a descriptor, or memory
 * of its own.
 *
 * Each CPU keeps at most 1 MiB of objects, or 16, that are ready. The memory of all others
 * that are in the pool is the kernel's whenever it needs some (MADV_FREE), which it
 * can take only in whole pages. A pool has up to 2^24 objects and 64 GiB, for which it
 * reserves address space; memory is used for those that have been handed out.
 *
 * A pool is one process's. After fork(2) the child has a copy, with copies of all
 * objects. Not in a child of vfork(2), whose memory is its parent's.
 *
 * Return: the pool, that chanfd_pool_free() frees; NULL with EINVAL (@size, or unknown
 * flags) or ENOMEM.
 */
struct chanfd_pool *chanfd_pool(size_t size, unsigned int flags,
				void (*init)(void *object));

/**
 * chanfd_pool_get() - Go's Get
 * @pool:	the pool
 *
 * Any object that is there, or a new one, whoever had it before (rule P1); nobody else
 * has it until it is put back (rule P4). What was done to it before that is seen (rule
 * H11). Nobody waits for anybody in here, so it may be called from a signal handler, if
 * @init may.
 *
 * Return: the object, on a cache line's boundary; NULL with ENOMEM.
 */
void *chanfd_pool_get(struct chanfd_pool *pool);

/**
 * chanfd_pool_put() - Go's Put
 * @pool:	the pool
 * @object:	from chanfd_pool_get(), and not used any more; NULL: nothing is done
 *
 * It may come from another thread than the one that got it. errno is preserved, if it
 * does not fail.
 *
 * Return: 0. EINVAL (not an object of this pool; with CHANFD_POOL_CHECK also: one that
 * is not handed out). Without that flag, an object that is put back twice is not always
 * found, and then handed out twice; nor is a wrong pointer into the pool.
 */
int chanfd_pool_put(struct chanfd_pool *pool, void *object);

/**
 * chanfd_pool_trim() - what a garbage collection does to Go's pools
 * @pool:	the pool
 *
 * Objects that were in the pool at the last call already, and still are, lose their
 * content: each survives one call, and not two (rule P3). Call it now and then, for
 * example when there is memory pressure; a pool that grows and shrinks much bounds
 * itself, see chanfd_pool().
 */
void chanfd_pool_trim(struct chanfd_pool *pool);

/**
 * struct chanfd_pool_info - where the objects of a pool are
 * @lent:	handed out
 * @cached:	in the pool, ready
 * @blank:	in the pool, to be made ready when they are handed out
 */
struct chanfd_pool_info {
	uint64_t lent;
	uint64_t cached;
	uint64_t blank;
};

/**
 * chanfd_pool_info() - where the objects of a pool are
 * @pool:	the pool
 * @info:	out; while other threads use the pool, not quite right
 */
void chanfd_pool_info(struct chanfd_pool *pool, struct chanfd_pool_info *info);

/**
 * chanfd_pool_free() - give back a pool and all objects, also those that are handed out
 * @pool:	the pool, which nobody uses any more; NULL: nothing is done
 *
 * errno is preserved.
 */
void chanfd_pool_free(struct chanfd_pool *pool);

/*
 * Once, single flight, semaphores
 *
 * They are made of locks, cells and channels, and their structures hold the handles of
 * these: the fields of type int, which other processes inherit, or are given by
 * chanfd_hand() and put into a structure of their own. Whoever has the handles can do
 * anything with them, so give them to those who use these functions.
 *
 * They are not for signal handlers.
 */

/* Flag of chanfd_once(). */
#define CHANFD_STICKY	(1U << 8) /* what failed is not tried again */

/**
 * struct chanfd_once - something that is done once, in all processes that have it
 * @lock:	held by who does it
 * @cell:	has the result, when it is done
 * @flags:	CHANFD_STICKY or 0
 * @leader:	the library's
 * @page:	likewise
 */
struct chanfd_once {
	int lock;
	int cell;
	unsigned int flags;
	int leader;
	const struct chanfd_cell_page *page;
};

/**
 * chanfd_once() - Go's sync.Once and sync.OnceValue, between processes
 * @once:	out; in one place, that the threads of a process share
 * @size:	bytes of the result at the most, 0 to CHANFD_MAX_CELL
 * @flags:	CHANFD_STICKY: a function that fails, or whose process dies, is not called
 *		again, and everybody gets that error (rules O2, O3: as in Go); without it
 *		the next caller calls its function;
 *		CHANFD_INHERIT (the handles are not O_CLOEXEC)
 * @name:	as in chanfd_channel()
 *
 * Return: 0. EINVAL (@size, or unknown flags), the errors of making.
 */
int chanfd_once(struct chanfd_once *once, size_t size, unsigned int flags, const char *name);

/**
 * chanfd_once_open() - use what another process has made
 * @once:	out
 * @lock:	its handle; belongs to @once if the call succeeds, as @cell does
 * @cell:	likewise
 * @flags:	CHANFD_STICKY or 0, the same in all processes
 *
 * Return: 0. EINVAL (unknown flags), errors of chanfd_cell_map().
 */
int chanfd_once_open(struct chanfd_once *once, int lock, int cell, unsigned int flags);

/**
 * chanfd_once_do() - Go's Do
 * @once:	what
 * @f:		does it: puts a result of @size bytes at the most at @buf and returns how
 *		many, or returns -1 with errno; errno is EOWNERDEAD when it is called if a
 *		process has died in it before, and 0 otherwise
 * @arg:	for @f
 * @buf:	out: the result, whoever got it
 * @size:	room there, in bytes
 * @opt:	how to wait while another one does it, or NULL
 *
 * However many call this, of however many processes: one runs @f, and all return after
 * it is done (rules O1, H8). When it is done already that takes no system call, if the
 * result is not longer than CHANFD_CELL_INLINE, and @opt does not matter. If the thread is
 * cancelled or exits in @f, that is a failure with ECANCELED.
 *
 * Return: bytes of the result. The errno of @f: with CHANFD_STICKY, for good. Without it
 * only its caller gets that, and another one who waits calls its own @f. EDEADLK (@f calls
 * this for the same @once), EMSGSIZE (it is done, and the result is longer than @size),
 * EOWNERDEAD (with CHANFD_STICKY), the errors of waiting. After a call of @f also EMSGSIZE
 * (its result is longer than that of @once may be), ENOMEM, EDQUOT: it is not done.
 */
ssize_t chanfd_once_do(struct chanfd_once *once,
		       ssize_t (*f)(void *arg, void *buf, size_t size), void *arg,
		       void *buf, size_t size, const struct chanfd_opt *opt);

/**
 * chanfd_once_close() - close the handles
 * @once:	that no thread of this process uses any more
 */
void chanfd_once_close(struct chanfd_once *once);

/* Executions at a time, and bytes of a key, NUL included. */
#define CHANFD_FLIGHT_SLOTS	16
#define CHANFD_FLIGHT_KEY	64

/**
 * struct chanfd_flight - executions that callers with the same key share
 * @directory:	a cell: which keys are being executed where
 * @lock:	of each slot, held by who executes
 * @cell:	of each slot, for the result
 *
 * Nothing but handles, CHANFD_FLIGHT_SLOTS * 2 + 1: it can be handed over as an array.
 */
struct chanfd_flight {
	int directory;
	int lock[CHANFD_FLIGHT_SLOTS];
	int cell[CHANFD_FLIGHT_SLOTS];
};

/**
 * chanfd_flight() - Go's singleflight.Group, between processes
 * @flight:	out
 * @size:	bytes of a result at the most, 0 to CHANFD_MAX_CELL - 4
 * @flags:	CHANFD_INHERIT (the handles are not O_CLOEXEC)
 * @name:	as in chanfd_channel()
 *
 * Return: 0. EINVAL (@size, or unknown flags), the errors of making.
 */
int chanfd_flight(struct chanfd_flight *flight, size_t size, unsigned int flags,
		  const char *name);

/**
 * chanfd_flight_do() - singleflight's Do
 * @flight:	the group
 * @key:	what is executed: a string of less than CHANFD_FLIGHT_KEY bytes
 * @f:		does it: puts a result of @size bytes at the most at @buf, which is memory
 *		of its own, and returns how many; or returns -1 with errno
 * @arg:	for @f
 * @buf:	out: the result, whoever got it
 * @size:	room there, in bytes
 * @shared:	out, with the result of an @f: there were others who waited for it; may
 *		be NULL
 * @opt:	how to wait for another one's result, or until there are less than
 *		CHANFD_FLIGHT_SLOTS executions; or NULL
 *
 * If nobody is executing @key this runs @f (rule F1), and others that come with the same
 * key until it is over wait for the result, which is theirs, too: bytes, or errno. One
 * whose wait ends otherwise leaves the rest as it is. How long @f takes is its
 * own affair: @opt does not matter any more then.
 *
 * If the process that runs an @f dies, or the thread is cancelled or exits, those who wait
 * start over: one of them runs its own (rule F3).
 *
 * Return: bytes of the result. The errno of @f; EINVAL (@key), EMSGSIZE (the result is
 * longer than @size), ENOMEM, EDQUOT, the errors of waiting. If the result cannot be left for
 * the others, because it is longer than the group's or there is no memory, they start over.
 */
ssize_t chanfd_flight_do(const struct chanfd_flight *flight, const char *key,
			 ssize_t (*f)(void *arg, void *buf, size_t size), void *arg,
			 void *buf, size_t size, bool *shared, const struct chanfd_opt *opt);

/**
 * chanfd_flight_forget() - singleflight's Forget
 * @flight:	the group
 * @key:	as in chanfd_flight_do()
 *
 * Who comes later does not wait for an execution that has begun, but starts another one.
 * Who waits already gets the result of the first (rule F2).
 *
 * Return: 0, also if nobody executes it. EINVAL (@key), ENOMEM, EDQUOT.
 */
int chanfd_flight_forget(const struct chanfd_flight *flight, const char *key);

/**
 * chanfd_flight_close() - close the handles
 * @flight:	that no thread of this process uses any more
 */
void chanfd_flight_close(struct chanfd_flight *flight);

/**
 * struct chanfd_semaphore - tokens that processes share
 * @lock:	held by the first of those who wait
 * @tokens:	a channel that holds those that are free, see chanfd_len()
 * @size:	how many there are: chanfd_cap() of @tokens
 */
struct chanfd_semaphore {
	int lock;
	int tokens;
	unsigned int size;
};

/**
 * chanfd_semaphore() - Go's semaphore.Weighted, between processes
 * @sem:	out
 * @size:	tokens, 1 to CHANFD_MAX_CAPACITY
 * @flags:	CHANFD_INHERIT (the handles are not O_CLOEXEC)
 * @name:	as in chanfd_channel()
 *
 * Return: 0. EINVAL (@size, or unknown flags), the errors of making.
 */
int chanfd_semaphore(struct chanfd_semaphore *sem, unsigned int size, unsigned int flags,
		     const char *name);

/**
 * chanfd_semaphore_acquire() - Acquire; with CHANFD_NONBLOCK, TryAcquire
 * @sem:	the semaphore
 * @n:		tokens, 1 to its size, and to CHANFD_MAX_BATCH
 * @opt:	how to wait, or NULL
 *
 * First come, first served, however many tokens each wants (rule A1). With
 * CHANFD_NONBLOCK it fails if there are not @n tokens, if anybody waits, and also if
 * somebody is acquiring at this very moment. A context that is done makes it fail (rule
 * A2). Who gives up lets the next ones try (rule A3).
 *
 * The tokens are free again when the permit is closed: by close(2), chanfd_auto or
 * chanfd_cleanup_fd() (the latter tell the race detector), by all who have a copy, such as
 * children, or by the death of its holder. So nobody can release more than it has (rule
 * A5).
 *
 * Return: the permit, a descriptor, O_CLOEXEC. EINVAL (@n: it could never succeed, rule
 * A4), EMFILE, ENFILE, EPIPE (somebody has closed the channel), the errors of waiting,
 * ENOMEM and EDQUOT also without having to wait (a permit is an object of the user's).
 */
int chanfd_semaphore_acquire(const struct chanfd_semaphore *sem, unsigned int n,
			     const struct chanfd_opt *opt);

/**
 * chanfd_semaphore_close() - close the handles
 * @sem:	that no thread of this process uses any more; its permits stay as they are
 */
void chanfd_semaphore_close(struct chanfd_semaphore *sem);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

/*
 * Messages of a C type
 */

/*
 * The size of a type or of an expression. One that no message can have does not
 * compile, nor does a C++ class that is more than its bytes.
 */
#define chanfd_sizeof(x) \
	(sizeof(x) + chanfd_zero_if(chanfd_is_message(__typeof__(x))))
#define chanfd_zero_if(condition)	(sizeof(char[(condition) ? 1 : -1]) - 1)

#ifdef __cplusplus
#define chanfd_is_message(type) \
	(__is_trivially_copyable(type) && sizeof(type) <= CHANFD_MAX_MESSAGE)
#else
#define chanfd_is_message(type)	(sizeof(type) <= CHANFD_MAX_MESSAGE)
#endif

/* What a pointer points to. For an array, which has more, it does not compile. */
#define chanfd_sizeof_target(type)	chanfd_sizeof(*(type)0)

/**
 * chanfd_make() - a channel of a C type: Go's make(chan type, cap)
 * @type:	of its messages, at most CHANFD_MAX_MESSAGE bytes; also its name
 * @cap:	as in chanfd_channel()
 *
 * Return: as chanfd_channel().
 */
#define chanfd_make(type, cap) \
	chanfd_channel(chanfd_sizeof(type), (cap), 0, #type)

/**
 * chanfd_put() - send a value: Go's ch <- value
 * @ch:		as in chanfd_send()
 * @value:	expression of any type but an array; its type is what counts: to
 *		a channel of long send 1L, for 1 is an int
 * @opt:	how to wait, or NULL
 *
 * Return: as chanfd_send(); EMSGSIZE if the type is not the channel's in size.
 */
#define chanfd_put(ch, value, opt) (__extension__ ({			\
	const __typeof__(value) chanfd_value_ = (value);		\
	chanfd_send((ch), &chanfd_value_, chanfd_sizeof(chanfd_value_), (opt)); }))

/**
 * chanfd_get() - receive a value: Go's value, ok = <-ch
 * @ch:		as in chanfd_recv()
 * @ptr:	to a variable of the type; not to void, and not an array: &array
 * @opt:	how to wait, or NULL
 *
 *	while (chanfd_get(jobs, &job, NULL) == 1)	(rule C33)
 *
 * Return: as chanfd_recv(): 1 for a value, 0 for the end; EMSGSIZE if the type
 * is smaller than the channel's.
 */
#define chanfd_get(ch, ptr, opt) \
	chanfd_recv((ch), (ptr), chanfd_sizeof_target(__typeof__(ptr)), (opt), NULL)

/*
 * Mapped cells
 */

/* Is the program built for ThreadSanitizer? */
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define CHANFD_HAS_DETECTOR
#endif
#elif defined(__SANITIZE_THREAD__)
#define CHANFD_HAS_DETECTOR
#endif

/**
 * chanfd_cell_read() - load from a mapped cell, without a system call
 * @page:	what chanfd_cell_map() returned
 * @buf:	where to; written to also if the call fails
 * @size:	room there, in bytes
 * @version:	out: of the value; may be NULL
 *
 * A load like chanfd_load(), and part of the same order of all operations (rule H12). It
 * looks a few times and does not wait: while the value is just being replaced, or if it
 * is longer than CHANFD_CELL_INLINE bytes, that function is the way.
 *
 * Whether the version is the one known takes less than that:
 * __atomic_load_n(&page->version, __ATOMIC_SEQ_CST).
 *
 * Return: bytes of the value. EAGAIN (use chanfd_load()), ENODATA (nothing was stored
 * yet), EMSGSIZE (longer than @size).
 */
static inline ssize_t chanfd_cell_read(const struct chanfd_cell_page *page, void *buf,
				       size_t size, uint64_t *version)
{
	int tries;

	for (tries = 0; tries < 32; tries++) {
		/* One of the loads that C11 has in one order. The kernel's side is
		 * CELL_PAGE and CELL_ORDER in kmod/cell.c.
		 */
		uint64_t sequence = __atomic_load_n(&page->sequence, __ATOMIC_SEQ_CST);
		uint64_t found = __atomic_load_n(&page->version, __ATOMIC_RELAXED);
		uint32_t bytes = __atomic_load_n(&page->size, __ATOMIC_RELAXED);

		if (sequence & 1)
			continue;
		if (bytes == size && bytes <= CHANFD_CELL_INLINE)
			__builtin_memcpy(buf, page->data, size); /* often a constant */
		else if (bytes < size && bytes <= CHANFD_CELL_INLINE)
			__builtin_memcpy(buf, page->data, bytes);
#ifdef CHANFD_HAS_DETECTOR
		chanfd_race_cell_seen();
#else
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
		if (__atomic_load_n(&page->sequence, __ATOMIC_RELAXED) != sequence)
			continue;	/* torn */
		if (!found) {
			errno = ENODATA;
			return -1;
		}
		if (bytes > CHANFD_CELL_INLINE)
			break;
		if (bytes > size) {
			errno = EMSGSIZE;
			return -1;
		}
		if (version)
			*version = found;
		return bytes;
	}
	errno = EAGAIN;
	return -1;
}

/*
 * Cases of a select
 */

static inline struct chanfd_case chanfd_case_of(int fd, unsigned int op,
						unsigned int flags,
						const void *buf, size_t size)
{
	struct chanfd_case c = { 0, 0, 0, 0, 0, 0 };

	c.fd = fd;
	c.op = (__u16)op;
	c.flags = (__u16)flags;
	c.buf = (uintptr_t)buf;
	c.size = size < UINT32_MAX ? (__u32)size : UINT32_MAX;
	return c;
}

/* Picks by the number of arguments, one to three. */
#define CHANFD_BY_COUNT(a, b, c, name, ...) name

/**
 * CHANFD_SEND() - case: send a message, as chanfd_send()
 *
 *	CHANFD_SEND(ch, &message)	of the type that it has
 *	CHANFD_SEND(ch, bytes, size)
 *	CHANFD_SEND(ch)			of no bytes, on a channel of such
 *
 * Out: error (EPIPE, ECONNRESET), number.
 */
#define CHANFD_SEND(...) \
	(CHANFD_BY_COUNT(__VA_ARGS__, CHANFD_SEND3, CHANFD_SEND2, CHANFD_SEND1, 0) \
	 (__VA_ARGS__))
#define CHANFD_SEND1(fd)	CHANFD_SEND3(fd, NULL, 0)
#define CHANFD_SEND2(fd, ptr) \
	CHANFD_SEND3(fd, ptr, chanfd_sizeof_target(__typeof__(ptr)))
#define CHANFD_SEND3(fd, ptr, size) \
	chanfd_case_of(fd, CHANFD_CASE_SEND, 0, ptr, size)

/**
 * CHANFD_RECV() - case: receive a message, as chanfd_recv()
 *
 *	CHANFD_RECV(ch, &message)	of the type that it has
 *	CHANFD_RECV(ch, buffer, room)
 *	CHANFD_RECV(ch)			and throw it away
 *
 * Out: ok, size, number, error (ECONNRESET, the cause it was closed with;
 * EMSGSIZE, where messages vary).
 */
#define CHANFD_RECV(...) \
	(CHANFD_BY_COUNT(__VA_ARGS__, CHANFD_RECV3, CHANFD_RECV2, CHANFD_RECV1, 0) \
	 (__VA_ARGS__))
#define CHANFD_RECV1(fd)	CHANFD_RECV3(fd, NULL, 0)
#define CHANFD_RECV2(fd, ptr) \
	CHANFD_RECV3(fd, ptr, chanfd_sizeof_target(__typeof__(ptr)))
#define CHANFD_RECV3(fd, ptr, room) \
	chanfd_case_of(fd, CHANFD_CASE_RECV, 0, ptr, room)

/**
 * CHANFD_SEND_PARCEL() - case: send what a struct chanfd_parcel says: bytes and
 *	descriptors, as chanfd_send_fds()
 *
 * Out: error (EPIPE, ECONNRESET), number.
 */
#define CHANFD_SEND_PARCEL(ch, parcel) \
	chanfd_case_of(ch, CHANFD_CASE_SEND, CHANFD_CASE_PARCEL, parcel, 0)

/**
 * CHANFD_RECV_PARCEL() - case: receive where a struct chanfd_parcel says, as
 *	chanfd_recv_fds(), or as chanfd_recv_leased() with CHANFD_LEASED in its flags
 *
 * Out: as CHANFD_RECV(); more in the parcel; error also as those two.
 */
#define CHANFD_RECV_PARCEL(ch, parcel) \
	chanfd_case_of(ch, CHANFD_CASE_RECV, CHANFD_CASE_PARCEL, parcel, 0)

/**
 * CHANFD_WAIT() - case: a waitgroup is at zero, as chanfd_wg_wait()
 *
 * Out: size (members broken), status (first error), number, error (EOWNERDEAD).
 */
#define CHANFD_WAIT(fd)		chanfd_case_of(fd, CHANFD_CASE_WAIT, 0, NULL, 0)

/**
 * CHANFD_BROKEN() - case: as CHANFD_WAIT(), or not @known members of the
 *	waitgroup's round are broken, but some more; as chanfd_wg_wait_broken()
 */
#define CHANFD_BROKEN(fd, known) \
	chanfd_case_of(fd, CHANFD_CASE_WAIT, CHANFD_CASE_BROKEN, NULL, known)

/**
 * CHANFD_DONE() - case: a context is done
 *
 * Out: status (the cause).
 */
#define CHANFD_DONE(fd)		chanfd_case_of(fd, CHANFD_CASE_DONE, 0, NULL, 0)

/** CHANFD_DRAINED() - case: no context is derived from this one any more */
#define CHANFD_DRAINED(fd)	chanfd_case_of(fd, CHANFD_CASE_DRAINED, 0, NULL, 0)

static inline struct chanfd_case chanfd_case_changed(int fd, uint64_t known)
{
	struct chanfd_case c = chanfd_case_of(fd, CHANFD_CASE_CHANGED, 0, NULL, 0);

	c.buf = known;
	return c;
}

/**
 * CHANFD_CHANGED() - case: a cell has another version than @known, as
 *	chanfd_cell_wait()
 *
 * Out: number (the version).
 */
#define CHANFD_CHANGED(fd, known)	chanfd_case_changed(fd, known)

/**
 * CHANFD_LOCK() - case: a lock is acquired, as chanfd_lock()
 *
 * Out: error (EOWNERDEAD: the lock is held; ENOTRECOVERABLE: it is not).
 */
#define CHANFD_LOCK(fd)		chanfd_case_of(fd, CHANFD_CASE_LOCK, 0, NULL, 0)

/** CHANFD_RLOCK() - case: likewise as a reader, as chanfd_rlock() */
#define CHANFD_RLOCK(fd)	chanfd_case_of(fd, CHANFD_CASE_READ_LOCK, 0, NULL, 0)

/**
 * CHANFD_POLL() - case: any file is ready, as poll(2) says
 *
 * A hint, as poll(2) is: somebody else may be faster with what it announces.
 *
 * Out: size (events that are ready).
 */
#define CHANFD_POLL(fd, events)	chanfd_case_of(fd, CHANFD_CASE_POLL, 0, NULL, events)

/**
 * chanfd_select_of() - chanfd_select() over the cases in its arguments
 * @opt:	as in chanfd_select()
 * @out:	likewise
 *
 *	switch (chanfd_select_of(NULL, &out, CHANFD_RECV(jobs, &job),
 *				 CHANFD_DONE(context))) {
 *	case 0:		out.ok ? work(&job) : finish();
 *	case 1:		stop(out.status);
 *	}
 *
 * Return: as chanfd_select(): index of the case, or -1.
 */
#define chanfd_select_of(opt, out, ...) (__extension__ ({		\
	const struct chanfd_case chanfd_cases_[] = { __VA_ARGS__ };	\
	chanfd_select(chanfd_cases_, sizeof(chanfd_cases_) /		\
		      sizeof(chanfd_cases_[0]), (opt), (out)); }))

/**
 * chanfd_auto - a descriptor that is closed at the end of its scope
 * chanfd_auto_cancel - a context that is cancelled and closed there: Go's
 *	defer cancel()
 * chanfd_auto_group - a group that is cancelled, waited for and freed there
 *
 *	chanfd_auto int jobs = chanfd_make(struct job, 8);
 *	chanfd_auto_cancel int context = chanfd_context(parent);
 *
 * Goes with every way out: return, break, goto; in C++ also exceptions. Not
 * with exit(3), and not where the variable has been set to -1 to keep what it
 * held. errno is preserved. After fork(2) the child runs them too: there,
 * leave with _exit(2).
 */
#define chanfd_auto		__attribute__((__cleanup__(chanfd_cleanup_fd)))
#define chanfd_auto_cancel	__attribute__((__cleanup__(chanfd_cleanup_cancel)))
#define chanfd_auto_group	__attribute__((__cleanup__(chanfd_cleanup_group)))

#endif /* _CHANFD_H */
