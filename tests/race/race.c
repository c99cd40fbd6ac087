// SPDX-License-Identifier: GPL-2.0
/*
 * What ThreadSanitizer makes of programs that use libchanfd, to be built with
 * -fsanitize=thread.
 *
 * In most programs here two threads access the same variable: one before an operation
 * that happens before an operation of the other, which does so after. The detector must
 * not mind. Then the same once more, but the first thread does so after its operation: a
 * race, next to a channel that is used correctly, which must be reported. Some programs
 * are only one or the other.
 *
 * Writes TAP, with the first argument in each name.
 */
#include <chanfd.h>
#include <err.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "tsan.h"

/* What is raced for; each program has its own, so that none sees another's accesses. */
static int *data;
static int variables[128][16];

/* The first thread's access comes after its operation. */
static bool racy;

/* Handles of the program that runs. */
static int ch, other, wg, ctx, token, lock, cond, cell;

/* Of races: those for the variable, and all. */
static int reported, reports;

/*
 * The detector
 */

/* Programs share functions: the same stacks are not the same race. Names for all the
 * addresses in reports that are expected would take longer than the rest.
 */
const char *__tsan_default_options(void)
{
	return "exitcode=0:symbolize=0:suppress_equal_stacks=0:suppress_equal_addresses=0";
}

__attribute__((__no_sanitize__("thread")))
void __tsan_on_report(void *report)
{
	int tid, size, write, atomic;
	void *address = NULL, *trace[1];

	reports++;
	__tsan_get_report_mop(report, 0, &tid, &address, &size, &write, &atomic, trace, 1);
	reported += address == data;
}

/*
 * What programs are made of
 */

#define SOON	CHANFD_OPT(-1, 0, chanfd_deadline(60 * CHANFD_SECOND))

static void check(bool condition, const char *what)
{
	if (!condition)
		err(1, "%s", what);
}

#define CHECK(condition) check(condition, #condition)

/* The first thread is through; no edge. */
static bool finished;

/* The first thread's access, before its operation and after. */
static void before(void)
{
	if (!racy)
		++*data;
}

static void after(void)
{
	if (racy)
		++*data;
}

/* Waits for what the other thread does, by what gives no edge. */
#define UNTIL(condition) do {						\
	struct timespec nap = { 0, 100000 };				\
									\
	while (!(condition))						\
		nanosleep(&nap, NULL);					\
} while (0)

/* The second thread's access, after its operation. Of a race the detector sees who comes
 * later, so that must not be both.
 */
static void look(void)
{
	if (racy)
		UNTIL(__atomic_load_n(&finished, __ATOMIC_RELAXED));
	++*data;
}

static struct chanfd_channel_info info(void)
{
	struct chanfd_channel_info i;

	CHECK(!chanfd_channel_info(ch, &i));
	return i;
}

static unsigned int waiters(void)
{
	struct chanfd_waitgroup_info i;

	CHECK(!chanfd_waitgroup_info(wg, &i));
	return i.waiters;
}

static unsigned int count(void)
{
	struct chanfd_waitgroup_info i;

	CHECK(!chanfd_waitgroup_info(wg, &i));
	return i.count;
}

static void send(int fd)
{
	CHECK(!chanfd_put(fd, 1, SOON));
}

static void receive(int fd)
{
	int message;

	CHECK(chanfd_get(fd, &message, SOON) == 1);
}

/*
 * Channels
 */

static void buffered(void)
{
	ch = chanfd_make(int, 2);
}

static void unbuffered(void)
{
	ch = chanfd_make(int, 0);
}

static void full(void)
{
	ch = chanfd_make(int, 1);
	send(ch);
}

static void sends(void)
{
	before();
	send(ch);
	after();
}

static void sends_to_sleeper(void)
{
	UNTIL(info().waiting_receivers);
	sends();
}

static void receives(void)
{
	receive(ch);
	look();
}

static void receives_what_is_there(void)
{
	UNTIL(info().len);
	receives();
}

static void makes_room(void)
{
	before();
	receive(ch);
	after();
}

static void makes_room_for_sleeper(void)
{
	UNTIL(info().waiting_senders);
	makes_room();
}

/* Who is let go by this has its handle closed before it has returned, or after. */
static void receives_and_closes(void)
{
	before();
	receive(ch);
	close(ch);
	after();
}

static void needs_room(void)
{
	send(ch);
	look();
}

static void sends_to_waiting(void)
{
	UNTIL(info().waiting_receivers);
	needs_room();
}

static void uses_room(void)
{
	UNTIL(!info().len);
	needs_room();
}

static void sends_batch(void)
{
	const int messages[2] = { 1, 2 };

	before();
	CHECK(chanfd_send_batch(ch, messages, sizeof(messages), NULL, 2, SOON, NULL) == 2);
	after();
}

static void receives_batch(void)
{
	int messages[2];

	UNTIL(info().len == 2);
	CHECK(chanfd_recv_batch(ch, messages, sizeof(messages), NULL, 2, SOON, NULL) == 2);
	look();
}

static void closes(void)
{
	before();
	CHECK(!chanfd_close(ch, 0));
	after();
}

static void closes_for_sleeper(void)
{
	UNTIL(info().waiting_receivers);
	closes();
}

static void closes_with_cause(void)
{
	before();
	CHECK(chanfd_close_once(ch, EIO) == 1);
	after();
}

static void finds_end(void)
{
	int message;

	UNTIL(info().state & CHANFD_CLOSED);
	CHECK(chanfd_get(ch, &message, SOON) == 0);
	look();
}

static void sleeps_until_end(void)
{
	int message;

	CHECK(chanfd_get(ch, &message, SOON) == 0);
	look();
}

static void finds_cause(void)
{
	int message;

	CHECK(chanfd_get(ch, &message, SOON) == -1 && errno == EIO);
	look();
}

static void may_not_send(void)
{
	UNTIL(info().state & CHANFD_CLOSED);
	CHECK(chanfd_put(ch, 1, SOON) == -1 && errno == EPIPE);
	look();
}

static void reduced(void)
{
	int fd[2];

	CHECK(!chanfd_channel_pair(fd, sizeof(int), 2, 0, NULL));
	ch = fd[0];
	other = chanfd_reduce(fd[1], CHANFD_WRITE);
	close(fd[1]);
}

static void sends_to_other(void)
{
	before();
	send(other);
	after();
}

/*
 * Waitgroups
 */

static void one_member(void)
{
	wg = chanfd_waitgroup(0, NULL);
	CHECK(!chanfd_wg_add(wg, 1));
}

static void is_done(void)
{
	before();
	CHECK(!chanfd_wg_done(wg));
	after();
}

static void is_done_for_sleeper(void)
{
	UNTIL(waiters());
	is_done();
}

static void waits(void)
{
	CHECK(!chanfd_wg_wait(wg, SOON, NULL));
	look();
}

static void waits_at_zero(void)
{
	UNTIL(!count());
	waits();
}

static void two_members(void)
{
	one_member();
	CHECK(!chanfd_wg_add(wg, 1));
}

/* It is the other one that lets go who waits. */
static void is_last(void)
{
	UNTIL(count() == 1);
	CHECK(!chanfd_wg_done(wg));
	waits();
}

static void one_token(void)
{
	wg = chanfd_waitgroup(0, NULL);
	token = chanfd_wg_token(wg, CHANFD_AUTO_DONE);
}

static void token_is_done(void)
{
	before();
	CHECK(!chanfd_token_done(token, 0));
	after();
}

static void token_leaves_scope(void)
{
	before();
	chanfd_cleanup_fd(&token);
	after();
}

static void token_breaks(void)
{
	wg = chanfd_waitgroup(0, NULL);
	token = chanfd_wg_token(wg, 0);
}

static void finds_broken(void)
{
	CHECK(chanfd_wg_wait_broken(wg, 0, SOON, NULL) == -1 && errno == EOWNERDEAD);
	look();
}

/*
 * Contexts
 */

static void one_context(void)
{
	ctx = chanfd_context(-1);
}

static void derived(void)
{
	other = chanfd_context(-1);
	ctx = chanfd_context(other);
}

static void channel_and_context(void)
{
	unbuffered();
	one_context();
}

static void cancels(void)
{
	before();
	CHECK(!chanfd_cancel(ctx, 0, NULL));
	after();
}

static void cancels_parent(void)
{
	before();
	CHECK(!chanfd_cancel(other, 0, NULL));
	after();
}

static void leaves_scope(void)
{
	int copy = chanfd_reduce(ctx, CHANFD_READ | CHANFD_WRITE);

	before();
	chanfd_cleanup_cancel(&copy);
	after();
}

static void binds(void)
{
	int fd = eventfd(1, EFD_CLOEXEC);

	before();
	CHECK(!chanfd_context_bind(ctx, fd, POLLIN, 0));
	after();
	close(fd);
}

static void waits_for_cancel(void)
{
	CHECK(!chanfd_context_wait(ctx, SOON));
	look();
}

static void asks_for_cancel(void)
{
	UNTIL(chanfd_context_err(ctx) == ECANCELED);
	look();
}

static void is_stopped(void)
{
	int message;

	CHECK(chanfd_get(ch, &message, CHANFD_OPT(ctx, 0, 0)) == -1 && errno == ECANCELED);
	look();
}

static void select_is_stopped(void)
{
	CHECK(chanfd_select(NULL, 0, CHANFD_OPT(ctx, 0, 0), NULL) == -1 && errno == ECANCELED);
	look();
}

static void releases_child(void)
{
	before();
	chanfd_cleanup_fd(&ctx);
	after();
}

static void waits_for_children(void)
{
	CHECK(!chanfd_context_drained(other, SOON));
	look();
}

/*
 * Select
 */

static const int one = 1;

static void selects_to_send(void)
{
	before();
	CHECK(chanfd_select_of(SOON, NULL, CHANFD_SEND(ch, &one)) == 0);
	after();
}

static void selects_to_receive(void)
{
	int message;

	CHECK(chanfd_select_of(SOON, NULL, CHANFD_DONE(-1), CHANFD_RECV(ch, &message)) == 1);
	look();
}

static void selects_room(void)
{
	CHECK(chanfd_select_of(SOON, NULL, CHANFD_SEND(ch, &one)) == 0);
	look();
}

static void selects_to_make_room(void)
{
	UNTIL(info().waiting_senders);
	before();
	CHECK(chanfd_select_of(SOON, NULL, CHANFD_RECV(ch)) == 0);
	after();
}

static void selects_end(void)
{
	struct chanfd_outcome out;

	CHECK(chanfd_select_of(SOON, &out, CHANFD_RECV(ch)) == 0 && !out.ok);
	look();
}

static void selects_wait(void)
{
	CHECK(chanfd_select_of(SOON, NULL, CHANFD_WAIT(wg)) == 0);
	look();
}

static void selects_cancel(void)
{
	CHECK(chanfd_select_of(SOON, NULL, CHANFD_DONE(ctx), CHANFD_RECV(ch)) == 0);
	look();
}

/*
 * Messages themselves
 */

/* The buffer is the sender's again once the message was received. */
static void sends_variable(void)
{
	CHECK(!chanfd_send(ch, data, sizeof(*data), SOON));
}

static void writes_after_receive(void)
{
	UNTIL(info().waiting_senders);
	if (racy)
		++*data;
	receive(ch);
	if (!racy)
		++*data;
}

/* Who receives writes to where it receives. */
static void receives_into_variable(void)
{
	CHECK(chanfd_recv(ch, data, sizeof(*data), SOON, NULL) == 1);
	send(other);
}

static void two_channels(void)
{
	ch = chanfd_make(int, 1);
	other = chanfd_make(int, 1);
	send(ch);
}

static void reads_variable(void)
{
	if (!racy)
		receive(other);
	look();
}

/*
 * Races only
 */

/* With room for it, a send needs no receive. */
static void receives_late(void)
{
	++*data;
	receive(ch);
}

static void sends_with_room(void)
{
	send(ch);
	look();
}

/* Two receivers are not ordered by what they receive. */
static void two_messages(void)
{
	buffered();
	send(ch);
	send(ch);
}

static void receives_first(void)
{
	receive(ch);
	++*data;
}

/* A channel orders nothing that goes by another one. */
static void sends_elsewhere(void)
{
	++*data;
	send(other);
}

static void receives_then(void)
{
	UNTIL(chanfd_len(other));
	receives();
}

/* To look at a channel is not to receive. */
static void only_looks(void)
{
	UNTIL(chanfd_len(ch));
	look();
}

static void access_and_send(void)
{
	++*data;
	send(ch);
}

/* What failed has not happened. */
static void tries_in_vain(void)
{
	int message;

	UNTIL(chanfd_len(other));
	CHECK(chanfd_get(ch, &message, CHANFD_OPT(-1, CHANFD_NONBLOCK, 0)) == -1);
	look();
}

static void two_contexts(void)
{
	unbuffered();
	ctx = chanfd_context(-1);
	other = chanfd_context(-1);
}

static void cancels_other(void)
{
	++*data;
	CHECK(!chanfd_cancel(other, 0, NULL));
}

static void tries_with_context(void)
{
	int message;

	UNTIL(__atomic_load_n(&finished, __ATOMIC_RELAXED));
	CHECK(chanfd_get(ch, &message, CHANFD_OPT(ctx, CHANFD_NONBLOCK, 0)) == -1);
	++*data;
}

static void buffered_and_other(void)
{
	buffered();
	other = chanfd_make(int, 1);
}

/* A descriptor's number is no channel: the first channel is gone, the next one has it. */
static void two_empty_channels(void)
{
	ch = chanfd_make(int, 1);
	other = chanfd_make(int, 1);
}

static void sends_and_makes_another(void)
{
	int old = ch;

	++*data;
	send(old);
	close(old);
	CHECK(chanfd_make(int, 1) == old);
	send(other);
}

static void uses_another(void)
{
	UNTIL(chanfd_len(other));
	send(ch);
	receives();
}

/*
 * No races
 */

/* Who was let go may close the handle, though the other has not returned yet. */
static void closes_after_wait(void)
{
	CHECK(!chanfd_wg_wait(wg, SOON, NULL));
	close(wg);
}

/* Descriptors that the detector knows, and some that it does not, under one number. */
static void makes_and_closes(void)
{
	int i;

	for (i = 0; i < 50; i++) {
		int fd = i % 2 ? chanfd_make(int, 1) : chanfd_waitgroup(0, NULL);

		CHECK(fd >= 0 && !close(fd));
	}
}

/* A signal handler has run when the call returns EINTR. */
static volatile sig_atomic_t signals;
static pthread_t sleeper;
static int asleep;

static void on_signal(int sig)
{
	signals = sig;
}

static void no_restart(void)
{
	struct sigaction act = { .sa_handler = on_signal };

	unbuffered();
	signals = 0;
	__atomic_store_n(&asleep, 0, __ATOMIC_RELAXED);
	CHECK(!sigaction(SIGUSR1, &act, NULL));
}

static void is_interrupted(void)
{
	int message;

	sleeper = pthread_self();
	__atomic_store_n(&asleep, 1, __ATOMIC_RELEASE);
	CHECK(chanfd_get(ch, &message, SOON) == -1 && errno == EINTR);
	CHECK(signals == SIGUSR1);
}

static void interrupts(void)
{
	UNTIL(__atomic_load_n(&asleep, __ATOMIC_ACQUIRE) && info().waiting_receivers);
	CHECK(!pthread_kill(sleeper, SIGUSR1));
}

/*
 * Locks and conditions
 */

static void locked(void)
{
	lock = chanfd_rwmutex(0, "");
	CHECK(!chanfd_lock(lock, SOON));
}

static void read_locked(void)
{
	lock = chanfd_rwmutex(0, "");
	CHECK(!chanfd_rlock(lock, SOON));
}

static void unlocks(void)
{
	before();
	CHECK(!chanfd_unlock(lock));
	after();
}

static struct chanfd_lock_info lock_info(void)
{
	struct chanfd_lock_info i;

	CHECK(!chanfd_lock_info(lock, &i));
	return i;
}

static void unlocks_for_sleeper(void)
{
	UNTIL(lock_info().waiting_writers);
	unlocks();
}

static void downgrades(void)
{
	before();
	CHECK(!chanfd_downgrade(lock));
	after();
}

static void reader_unlocks(void)
{
	before();
	CHECK(!chanfd_runlock(lock));
	after();
}

static void locks(void)
{
	CHECK(!chanfd_lock(lock, SOON));
	look();
}

static void tries_to_lock(void)
{
	UNTIL(!chanfd_trylock(lock));
	look();
}

static void selects_lock(void)
{
	struct chanfd_case c = CHANFD_LOCK(lock);

	CHECK(!chanfd_select(&c, 1, SOON, NULL));
	look();
}

static void locks_to_read(void)
{
	CHECK(!chanfd_rlock(lock, SOON));
	look();
}

/* Readers are no edge to each other. */
static void access_and_read_unlock(void)
{
	++*data;
	CHECK(!chanfd_runlock(lock));
}

static void reads_later(void)
{
	UNTIL(__atomic_load_n(&finished, __ATOMIC_RELAXED));
	CHECK(!chanfd_rlock(lock, SOON));
	++*data;
}

static void fails_to_lock_later(void)
{
	UNTIL(__atomic_load_n(&finished, __ATOMIC_RELAXED));
	CHECK(chanfd_trylock(lock) && errno == EAGAIN);
	++*data;
}

static void access_and_lock(void)
{
	++*data;
	CHECK(!chanfd_unlock(lock) && !chanfd_lock(lock, SOON));
}

static void a_condition(void)
{
	lock = chanfd_mutex(0, "");
	cond = chanfd_condition(0, "");
}

static void signals_one(void)
{
	before();
	UNTIL(chanfd_signal(cond) == 1);
	after();
}

static void broadcasts(void)
{
	before();
	UNTIL(chanfd_broadcast(cond) == 1);
	after();
}

static void waits_for_signal(void)
{
	CHECK(!chanfd_lock(lock, SOON));
	CHECK(!chanfd_condition_wait(cond, lock, SOON));
	look();
}

/*
 * Cells
 */

static void empty_cell(void)
{
	cell = chanfd_cell(sizeof(int), 0, "");
}

static void stores(void)
{
	const int value = 1;

	before();
	CHECK(!chanfd_store(cell, &value, sizeof(value), NULL));
	after();
}

static void loads(void)
{
	int value;

	UNTIL(chanfd_load(cell, &value, sizeof(value), NULL) >= 0);
	look();
}

static void reads_page(void)
{
	const struct chanfd_cell_page *page = chanfd_cell_map(cell);
	int value;

	CHECK(page);
	UNTIL(chanfd_cell_read(page, &value, sizeof(value), NULL) >= 0);
	look();
	chanfd_cell_unmap(page);
}

static void waits_for_change(void)
{
	CHECK(!chanfd_cell_wait(cell, 0, SOON, NULL));
	look();
}

/*
 * All of them
 */

enum { CLEAN = 1, RACY = 2, BOTH = 3 };

static const struct program {
	const char *name;
	int kinds;
	void (*prepare)(void);
	void (*first)(void);
	void (*second)(void);
} programs[] = {
	{ "H1: send, receive at once", BOTH, buffered, sends, receives_what_is_there },
	{ "H1: send, receiver slept", BOTH, unbuffered, sends_to_sleeper, receives },
	{ "H1: batch", BOTH, buffered, sends_batch, receives_batch },
	{ "H1: another handle", BOTH, reduced, sends_to_other, receives },
	{ "H1: select", BOTH, buffered, selects_to_send, selects_to_receive },
	{ "H2: receive, send at once", BOTH, unbuffered, makes_room, sends_to_waiting },
	{ "H2: receive, sender slept", BOTH, unbuffered, makes_room_for_sleeper, needs_room },
	{ "H2: the handle is closed", BOTH, unbuffered, receives_and_closes, needs_room },
	{ "H2: select", BOTH, unbuffered, selects_to_make_room, selects_room },
	{ "H3: room, send at once", BOTH, full, makes_room, uses_room },
	{ "H3: room, sender slept", BOTH, full, makes_room_for_sleeper, needs_room },
	{ "H4: close, receive at once", BOTH, unbuffered, closes, finds_end },
	{ "H4: close, receiver slept", BOTH, unbuffered, closes_for_sleeper, sleeps_until_end },
	{ "H4: close with a cause", BOTH, unbuffered, closes_with_cause, finds_cause },
	{ "H4: close, send", BOTH, unbuffered, closes, may_not_send },
	{ "H4: select", BOTH, unbuffered, closes, selects_end },
	{ "H5: unlock, lock", BOTH, locked, unlocks, locks },
	{ "H5: unlock, who locks slept", BOTH, locked, unlocks_for_sleeper, locks },
	{ "H5: select", BOTH, locked, unlocks, selects_lock },
	{ "H6: unlock, read-lock", BOTH, locked, unlocks, locks_to_read },
	{ "H6: downgrade, read-lock", BOTH, locked, downgrades, locks_to_read },
	{ "H6: read-unlock, lock", BOTH, read_locked, reader_unlocks, locks },
	{ "H7: unlock, try", BOTH, locked, unlocks, tries_to_lock },
	{ "H9: done, wait at once", BOTH, one_member, is_done, waits_at_zero },
	{ "H9: done, who waits slept", BOTH, one_member, is_done_for_sleeper, waits },
	{ "H9: done, another is last", BOTH, two_members, is_done, is_last },
	{ "H9: token", BOTH, one_token, token_is_done, waits },
	{ "H9: token leaves its scope", BOTH, one_token, token_leaves_scope, waits },
	{ "H9: select", BOTH, one_member, is_done, selects_wait },
	{ "H10: signal, wait", BOTH, a_condition, signals_one, waits_for_signal },
	{ "H10: broadcast, wait", BOTH, a_condition, broadcasts, waits_for_signal },
	{ "H12: store, load", BOTH, empty_cell, stores, loads },
	{ "H12: store, look at the page", BOTH, empty_cell, stores, reads_page },
	{ "H12: store, wait", BOTH, empty_cell, stores, waits_for_change },
	{ "H14: cancel, wait", BOTH, one_context, cancels, waits_for_cancel },
	{ "H14: cancel, ask", BOTH, one_context, cancels, asks_for_cancel },
	{ "H14: cancel, a receive fails", BOTH, channel_and_context, cancels, is_stopped },
	{ "H14: cancel, a select fails", BOTH, one_context, cancels, select_is_stopped },
	{ "H14: cancel, select", BOTH, channel_and_context, cancels, selects_cancel },
	{ "H14: cancel a parent", BOTH, derived, cancels_parent, waits_for_cancel },
	{ "H14: leave a scope", BOTH, one_context, leaves_scope, waits_for_cancel },
	{ "H14: bind to what is ready", BOTH, one_context, binds, waits_for_cancel },
	{ "H14: drained", BOTH, derived, releases_child, waits_for_children },
	{ "H15: broken", BOTH, token_breaks, token_leaves_scope, finds_broken },
	{ "a message is read", BOTH, unbuffered, sends_variable, writes_after_receive },
	{ "a message is written", BOTH, two_channels, receives_into_variable, reads_variable },
	{ "a send with room is no edge", RACY, buffered, receives_late, sends_with_room },
	{ "two receivers", RACY, two_messages, receives_first, receives },
	{ "another channel", RACY, two_channels, sends_elsewhere, receives_then },
	{ "a look is no edge", RACY, buffered, access_and_send, only_looks },
	{ "a failure is no edge", RACY, buffered_and_other, sends_elsewhere, tries_in_vain },
	{ "readers are no edge", RACY, read_locked, access_and_read_unlock, reads_later },
	{ "a lock in vain is no edge", RACY, locked, access_and_lock, fails_to_lock_later },
	{ "another context", RACY, two_contexts, cancels_other, tries_with_context },
	{ "another channel, same number", RACY, two_empty_channels, sends_and_makes_another,
	  uses_another },
	{ "a handle is closed", CLEAN, one_member, is_done, closes_after_wait },
	{ "handles come and go", CLEAN, unbuffered, makes_and_closes, makes_and_closes },
	{ "a signal", CLEAN, no_restart, interrupts, is_interrupted },
	{ 0 }
};

static void *run_first(void *program)
{
	((const struct program *)program)->first();
	__atomic_store_n(&finished, true, __ATOMIC_RELAXED);
	return NULL;
}

static void *run_second(void *program)
{
	((const struct program *)program)->second();
	return NULL;
}

static void run(const struct program *program)
{
	pthread_t first, second;

	reported = 0;
	reports = 0;
	finished = false;
	ch = -1;
	other = -1;
	wg = -1;
	ctx = -1;
	token = -1;
	lock = -1;
	cond = -1;
	cell = -1;
	program->prepare();
	if (pthread_create(&first, NULL, run_first, (void *)program) ||
	    pthread_create(&second, NULL, run_second, (void *)program))
		errx(1, "pthread_create");
	pthread_join(first, NULL);
	pthread_join(second, NULL);
	close(ch);
	close(other);
	close(wg);
	close(ctx);
	close(token);
	close(lock);
	close(cond);
	close(cell);
}

static bool passes(const struct program *program)
{
	int *own = variables[2 * (program - programs)];
	bool ok = true;

	if (program->kinds & CLEAN) {
		racy = false;
		data = own;
		run(program);
		ok &= !reports;
		if (!ok)
			printf("# %d reports though there is no race\n", reports);
	}
	if (program->kinds & RACY) {
		racy = true;
		data = own + sizeof(variables[0]) / sizeof(int);
		run(program);
		ok &= reported > 0;
		if (!reported)
			printf("# the race is not reported\n");
	}
	return ok;
}

int main(int argc, char **argv)
{
	const char *label = argc > 1 ? argv[1] : "race";
	int failures = 0, i, n = 0;

	while (programs[n].name)
		n++;
	printf("TAP version 13\n1..%d\n", n);
	for (i = 0; i < n; i++) {
		bool ok = passes(&programs[i]);

		failures += !ok;
		printf("%sok %d %s: %s\n", ok ? "" : "not ", i + 1, label, programs[i].name);
		fflush(stdout);
	}
	return failures > 0;
}
