// SPDX-License-Identifier: GPL-2.0
/*
 * trees SEED MILLISECONDS: trees of contexts that are cancelled while they grow, and
 * deadlines while somebody else sets the clock.
 *
 * Threads and processes derive contexts from each other's, wait for them and with them,
 * and drop them. Then the root is cancelled, or all are killed who could. From then on
 * everything that was derived must be done, everybody who waited must be told, and
 * what was made to live on must live.
 *
 * Meanwhile some wait until a deadline, in a time namespace too: it must not pass before
 * its time, and must pass some time, whatever happens to the wall clock.
 */
#include <sched.h>

#include "torture.h"

#define GROWERS	4
#define KEPT	24		/* contexts of each */
#define SLEEPERS 4

static struct tree {
	int root[2];		/* the second one may cancel it */
	atomic_uint begun;	/* growers who have derived one */
	atomic_uint cancelled;
} *tree;

static int empty;		/* a channel that nobody sends to */
static int stop;		/* a context for the sleepers */
static unsigned int trees, derived, shifted;

/* Why a party is not content: its errno says it in short, and this in full. */
static long complain(int error)
{
	errno = error;
	return -1;
}

/*
 * Those who derive
 */

static int derive(int parent, bool *apart)
{
	*apart = false;
	switch (below(8)) {
	case 0:
		return chanfd_context_timeout(parent, 3600 * SEC);
	case 1:
		return chanfd_context_timeout(parent, below(3 * MSEC));
	case 2:
		return chanfd_context_value(parent, "key", "value", 5);
	case 3:
		*apart = true;
		return chanfd_context_without_cancel(parent);
	}
	return chanfd_context(parent);
}

static bool is_done(int ctx)
{
	return chanfd_context_err(ctx) > 0;
}

/* Or will it be by then? */
static bool is_done_by(int ctx, uint64_t when)
{
	bool done;

	while (!(done = is_done(ctx)) && now() < when)
		pause_for(MSEC);
	return done;
}

/* Returns how many contexts it has derived; EUCLEAN for one that is not done. */
static long run_grow(struct party *me)
{
	int kept[KEPT], i, n = 0;
	bool apart[KEPT];
	long count = 0, ret = 0;
	uint64_t late;

	seed = me->value;
	do {
		int from = n ? (int)below(n + 1) - 1 : -1, slot = n < KEPT ? n : (int)below(KEPT);
		bool is_apart;
		int ctx = derive(from < 0 ? tree->root[0] : kept[from], &is_apart);

		if (ctx < 0)
			return -1;
		if (from >= 0 && apart[from])
			is_apart = true;
		if (n < KEPT)
			n++;
		else
			close(kept[slot]);
		kept[slot] = ctx;
		apart[slot] = is_apart;
		if (!count++)
			tree->begun++;
	} while (!tree->cancelled);
	/* Before others say that we do not come back. */
	late = now() + (me->opt.flags ? BOUND / 2 : 0);
	for (i = 0; i < n; i++) {
		if (!apart[i] && !is_done_by(kept[i], late))
			ret = complain(EUCLEAN);
		close(kept[i]);
	}
	return ret ?: count;
}

/* Waits with the root, or with a context below it, for what does not come. */
static long run_wait(struct party *me)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	uint64_t value;
	int ctx, got;

	seed = me->value;
	ctx = below(2) ? chanfd_context(tree->root[0]) : dup(tree->root[0]);
	opt.context = ctx;
	do {
		got = below(2) ? chanfd_get(empty, &value, &opt) :
			chanfd_select_of(NULL, NULL, CHANFD_DONE(ctx), CHANFD_RECV(empty, &value));
	} while (got < 0 && errno == EINTR);
	close(ctx);
	return !got || errno == ECANCELED ? 0 : -1;
}

static long run_hold(struct party *me)
{
	return pause();
}

static void check_party(struct party *p, const char *what)
{
	if (party_join(p) >= 0 || errno == EOWNERDEAD)
		return;
	if (errno == ETIME)
		wrong("%s does not end", what);
	if (errno == EUCLEAN)
		wrong("a context lives on, and its root was cancelled");
	wrong("%s: %m", what);
}

static struct party *growers[GROWERS], *waiters[GROWERS];
static int nr_growers, nr_waiters;

static void let_grow(bool by_death)
{
	int i;

	tree->begun = 0;
	tree->cancelled = 0;
	nr_growers = 1 + below(GROWERS);
	nr_waiters = below(GROWERS);
	for (i = 0; i < nr_waiters; i++) {
		waiters[i] = party_new(below(2), run_wait, -1);
		waiters[i]->value = rand_r(&seed);
		party_start(waiters[i]);
	}
	for (i = 0; i < nr_growers; i++) {
		growers[i] = party_new(below(2), run_grow, -1);
		growers[i]->value = rand_r(&seed);
		growers[i]->opt.flags = by_death;	/* the end may come a moment later */
		party_start(growers[i]);
	}
	/* If somebody fails it is seen to later. */
	eventually(tree->begun == (unsigned int)nr_growers);
	dawdle(4 * MSEC);
	for (i = 0; i < nr_waiters; i++)
		party_signal(waiters[i], below(2) ? SIGUSR1 : SIGUSR2);
}

/* It has been cancelled. */
static void audit(void)
{
	struct chanfd_opt soon = CHANFD_OPT_INIT;
	int i;

	if (growers[0]->process && !below(3))
		party_kill(growers[0]);
	tree->cancelled = 1;
	for (i = 0; i < nr_growers; i++) {
		check_party(growers[i], "who derives");
		derived += growers[i]->result > 0 ? growers[i]->result : 0;
	}
	for (i = 0; i < nr_waiters; i++)
		check_party(waiters[i], "who waits with a context that is done");
	if (!eventually(is_done(tree->root[0])))
		wrong("the root is not done");
	soon.deadline = chanfd_deadline(BOUND);
	if (chanfd_context_drained(tree->root[0], &soon))
		wrong("contexts are left of which nobody has a handle: %m");
}

static void one_tree(void)
{
	bool by_death = !below(3);
	struct party *heir = NULL;

	if (chanfd_context_pair(tree->root, -1))
		err(1, "chanfd_context_pair");
	/* Only the heir can cancel it, if all others come later. */
	if (by_death) {
		heir = party_start(party_new(true, run_hold, -1));
		close(tree->root[1]);
	}
	let_grow(by_death);
	if (heir)
		party_kill(heir);
	else if (chanfd_cancel(tree->root[1], EIO, "torture"))
		wrong("cancel: %m");
	audit();
	close(tree->root[0]);
	if (!heir)
		close(tree->root[1]);
	trees++;
}

/*
 * Those who sleep until a deadline
 */

/* Until the end; sometimes one sleep is that long. EUCLEAN if a time came too early. */
static long sleep_and_look(struct party *me)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	uint64_t value, until;
	int error;

	while (!is_done(stop)) {
		until = chanfd_deadline(below(16) ? below(20 * MSEC) : 3600 * SEC);
		opt.context = chanfd_context_deadline(stop, below(2) ? until : until + SEC);
		opt.deadline = below(2) ? until : 0;
		error = errno_of(chanfd_get(empty, &value, &opt));
		if (error == ETIMEDOUT && now() < until)
			return complain(EUCLEAN);
		if (error != ETIMEDOUT && error != EINTR && error != ECANCELED)
			return complain(error);
		close(opt.context);
		me->seq += error == ETIMEDOUT;
	}
	return 0;
}

/* From now on children have another monotonic clock. */
static bool shift_clock(void)
{
	static const char offset[] = "monotonic 100000 0\n";
	bool ok;
	int fd;

	if (unshare(CLONE_NEWUSER | CLONE_NEWTIME))
		return false;
	prctl(PR_SET_DUMPABLE, 1);
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	ok = write(fd, offset, strlen(offset)) > 0;
	close(fd);
	return ok;
}

static long run_sleep(struct party *me)
{
	int status;
	pid_t pid;

	seed = me->value;
	if (below(2) || !shift_clock())
		return sleep_and_look(me);
	me->fd = 1;
	pid = fork_child();
	if (!pid)
		_exit(sleep_and_look(me) ? errno : 0);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status ? complain(WIFEXITED(status) ? WEXITSTATUS(status) : EINTR) : 0;
}

static unsigned int deadlines_of(struct party **sleepers)
{
	unsigned int i, n = 0;

	for (i = 0; i < SLEEPERS; i++)
		n += sleepers[i]->seq;
	return n;
}

static void check_sleeper(struct party *p)
{
	if (party_join(p) && errno == EUCLEAN)
		wrong("a deadline has passed before its time");
	else if (p->result && errno == ETIME)
		wrong("a deadline does not pass");
	else if (p->result)
		wrong("who sleeps: %m");
	shifted += p->fd > 0;
}

int main(int argc, char **argv)
{
	struct party *sleepers[SLEEPERS];
	uint64_t end;
	int i;

	if (argc < 3)
		errx(2, "usage: trees SEED MILLISECONDS");
	seed = strtoul(argv[1], NULL, 0);
	end = now() + strtoul(argv[2], NULL, 0) * MSEC;
	become(NOBODY);
	catch_signal(SIGUSR1, SA_RESTART);
	catch_signal(SIGUSR2, 0);
	tree = shared(sizeof(*tree));
	empty = chanfd_channel(sizeof(uint64_t), 0, 0, "empty");
	stop = chanfd_context(-1);
	if (empty < 0 || stop < 0)
		err(1, "chanfd_context");
	for (i = 0; i < SLEEPERS; i++) {
		sleepers[i] = party_new(true, run_sleep, -1);
		sleepers[i]->value = rand_r(&seed);
		party_start(sleepers[i]);
	}
	do {
		one_tree();
		party_signal(sleepers[below(SLEEPERS)], below(2) ? SIGUSR1 : SIGUSR2);
	} while (!is_enough(end, derived && deadlines_of(sleepers)));
	if (chanfd_cancel(stop, 0, NULL))
		wrong("cancel: %m");
	for (i = 0; i < SLEEPERS; i++)
		check_sleeper(sleepers[i]);
	printf("trees=%u contexts=%u deadlines=%u other_clocks=%u\n", trees, derived,
	       deadlines_of(sleepers), shifted);
	return 0;
}
