// SPDX-License-Identifier: GPL-2.0
/*
 * locks SEED MILLISECONDS: locks and conditions, whose users are killed all the time.
 *
 * Each process has two threads. One acquires a lock in every way that there is, as a
 * writer or as a reader, and looks around inside: a writer must be alone, and may find
 * traces of a dead one only if it is told so. The other thread makes things, or takes
 * them, under a mutex and a condition. When all is over nobody may be asleep at a lock
 * that is free, or at a condition while there is something to take.
 */
#include "torture.h"

#define PROCESSES	5
#define LIVES		800	/* processes in a generation at the most */
#define GENERATION	(300 * MSEC)

static struct books {
	int lock, other, mutex, condition;
	bool rw;
	atomic_bool stop;
	atomic_bool enough;		/* nothing is made any more */
	/* Under the lock; a life's number from 1. */
	atomic_int writer;
	atomic_uint plain[2];		/* equal unless a writer is inside */
	atomic_bool reads[LIVES + 1];
	atomic_bool killed[LIVES + 1];	/* or about to be */
	atomic_uint acquired, deaths;
	/* Under the mutex */
	atomic_uint things;
	atomic_uint made, taken, waits;
	atomic_int wrong;
	atomic_int error;
} *books;

enum { NOT_ALONE = 1, UNTOLD, READ_BESIDE, HALF };
static const char * const wrongs[] = {
	[NOT_ALONE] = "two writers have the lock",
	[UNTOLD] = "a writer died, and the next was not told",
	[READ_BESIDE] = "a reader has the lock, and a writer",
	[HALF] = "what a dead writer left was taken for good",
};

static pid_t pids[PROCESSES];
static int lives[PROCESSES], last_life;
static unsigned int generations, killed;

/* The first one counts: others may come of it. */
static void report(int what)
{
	int none = 0;

	atomic_compare_exchange_strong(&books->wrong, &none, what);
}

/* Another call may fail only like this. */
static bool failed(int error)
{
	if (error != EAGAIN && error != EINTR && error != ETIMEDOUT && error != ECANCELED)
		books->error = error;
	return true;
}

/* 0 or EOWNERDEAD: it is held; or -1. */
static int acquire(bool shared)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	struct chanfd_outcome out;
	int err;

	switch (below(6)) {
	case 0:
		err = shared ? chanfd_tryrlock(books->lock) : chanfd_trylock(books->lock);
		break;
	case 1:
		err = chanfd_select_of(NULL, &out, shared ? CHANFD_RLOCK(books->lock) :
				       CHANFD_LOCK(books->lock),
				       CHANFD_RECV(books->other, NULL, 0));
		if (!err && out.error) {
			errno = out.error;
			err = -1;
		}
		break;
	case 2:
		opt.deadline = chanfd_deadline(below(2 * MSEC));
		err = shared ? chanfd_rlock(books->lock, &opt) : chanfd_lock(books->lock, &opt);
		break;
	default:
		err = shared ? chanfd_rlock(books->lock, NULL) : chanfd_lock(books->lock, NULL);
	}
	if (!err)
		return 0;
	if (errno == EOWNERDEAD)
		return EOWNERDEAD;
	failed(errno);
	return -1;
}

static void write_inside(int life, int told)
{
	int before = atomic_exchange(&books->writer, life), i;

	if (before && !books->killed[before])
		report(NOT_ALONE);
	if (before && !told)
		report(UNTOLD);
	for (i = 1; i <= LIVES; i++)
		if (books->reads[i] && !books->killed[i])
			report(READ_BESIDE);
	if (books->plain[0] != books->plain[1] && !told)
		report(HALF);
	books->deaths += !!told;
	books->plain[1] = books->plain[0];
	books->plain[0]++;
	dawdle(MSEC / 10);
	if (!books->enough && !below(64)) {
		books->killed[life] = true;
		raise(SIGKILL);
	}
	books->plain[1]++;
	if (books->writer != life)
		report(NOT_ALONE);
	books->writer = 0;
}

static void read_inside(int life)
{
	int writer;

	books->reads[life] = true;
	writer = books->writer;
	if (writer && !books->killed[writer])
		report(READ_BESIDE);
	dawdle(MSEC / 10);
	books->reads[life] = false;
}

static void use_lock(int life)
{
	while (!books->stop) {
		bool shared = books->rw && below(2);
		int told = acquire(shared);

		if (told < 0)
			continue;
		books->acquired++;
		if (shared) {
			read_inside(life);
			chanfd_runlock(books->lock);
			continue;
		}
		write_inside(life, told);
		if (!books->rw || below(8)) {
			chanfd_unlock(books->lock);
		} else {
			chanfd_downgrade(books->lock);
			read_inside(life);
			chanfd_runlock(books->lock);
		}
	}
}

/* Who follows a dead one tells all others: it may have died instead of doing so. */
static void have_mutex(int told)
{
	if (told && errno == EOWNERDEAD)
		chanfd_broadcast(books->condition);
}

static void lock_mutex(void)
{
	have_mutex(chanfd_lock(books->mutex, NULL));
}

static void make(void)
{
	lock_mutex();
	books->things++;
	books->made++;
	chanfd_signal(books->condition);	/* else it could die before */
	chanfd_unlock(books->mutex);
}

static void take(void)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;

	opt.deadline = chanfd_deadline(MSEC);
	lock_mutex();
	while (!books->things && !books->stop) {
		books->waits++;
		have_mutex(chanfd_condition_wait(books->condition, books->mutex,
						 below(4) ? NULL : &opt));
	}
	if (books->things) {
		books->things--;
		books->taken++;
	}
	chanfd_unlock(books->mutex);
}

static void *be_busy(void *arg)
{
	int life = (intptr_t)arg;

	seed = life;
	while (!books->stop) {
		if (life % 2 == 0)
			take();
		else if (!books->enough)
			make();
		pause_for(below(MSEC / 4));
	}
	return NULL;
}

/* Somebody new; of the same kind as who was there: two make, and three take. */
static void begin(int i)
{
	pthread_t thread;
	int life;

	do
		life = ++last_life;
	while (life % 2 != i % 2);
	lives[i] = life;
	pids[i] = fork_child();
	if (pids[i])
		return;
	if (pthread_create(&thread, NULL, be_busy, (void *)(intptr_t)life))
		err(1, "pthread_create");
	use_lock(life);
	pthread_join(thread, NULL);
	_exit(0);
}

static void check_books(void)
{
	if (books->wrong)
		wrong("%s", wrongs[books->wrong]);
	if (books->error)
		wrong("a call failed: %s", strerror(books->error));
}

/* Who died with the mutex may have no other follower. */
static void follow_dead(void)
{
	struct chanfd_opt soon = CHANFD_OPT_INIT;
	int err;

	soon.deadline = chanfd_deadline(BOUND);
	err = chanfd_lock(books->mutex, &soon);
	if (err && errno != EOWNERDEAD)
		wrong("somebody sleeps, and we can't have the mutex: %m");
	have_mutex(err);
	chanfd_unlock(books->mutex);
}

/* Those who died by themselves. */
static void replace_dead(void)
{
	int i;

	for (i = 0; i < PROCESSES; i++) {
		if (waitpid(pids[i], NULL, WNOHANG) != pids[i])
			continue;
		begin(i);
		follow_dead();
	}
}

static void audit(void)
{
	struct chanfd_lock_info info;
	int i;

	check_books();
	/* From here on nobody dies but who is about to. */
	books->enough = true;
	follow_dead();
	if (!eventually((replace_dead(), !books->things)))
		wrong("there is something to take, and somebody sleeps");
	books->stop = true;
	for (i = 0; i < PROCESSES; i++) {
		if (eventually((chanfd_broadcast(books->condition),
				waitpid(pids[i], NULL, WNOHANG) == pids[i])))
			continue;
		chanfd_lock_info(books->lock, &info);
		wrong("somebody sleeps, and the lock has state %u, %u readers, waiting %u and %u",
		      info.state, info.readers, info.waiting_writers, info.waiting_readers);
	}
	check_books();
	if (chanfd_lock_info(books->lock, &info) || info.state & CHANFD_LOCKED || info.readers ||
	    info.waiting_writers || info.waiting_readers)
		wrong("all are gone, and the lock has state %u, %u readers, %u and %u waiting",
		      info.state, info.readers, info.waiting_writers, info.waiting_readers);
}

static void generation(void)
{
	static const unsigned int modes[] = { CHANFD_HANDOFF, CHANFD_BARGING, 0 };
	unsigned int mode = modes[below(3)];
	uint64_t end = now() + GENERATION;
	int i;

	memset(books, 0, offsetof(struct books, acquired));
	books->things = 0;
	last_life = 0;
	books->rw = below(2);
	books->lock = books->rw ? chanfd_rwmutex(mode, "locks") : chanfd_mutex(mode, "locks");
	books->mutex = chanfd_mutex(modes[below(3)], "mutex");
	books->condition = chanfd_condition(0, "condition");
	books->other = chanfd_channel(1, 0, 0, "other");
	if (books->lock < 0 || books->mutex < 0 || books->condition < 0 || books->other < 0)
		err(1, "locks");
	for (i = 0; i < PROCESSES; i++)
		begin(i);
	do {
		pause_for(below(5 * MSEC));
		i = below(PROCESSES);
		books->killed[lives[i]] = true;
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		killed++;
		begin(i);
	} while (now() < end && last_life < LIVES - 4 * PROCESSES);
	audit();
	close(books->lock);
	close(books->mutex);
	close(books->condition);
	close(books->other);
	generations++;
}

int main(int argc, char **argv)
{
	uint64_t end;

	if (argc < 3)
		errx(2, "usage: locks SEED MILLISECONDS");
	seed = strtoul(argv[1], NULL, 0);
	end = now() + strtoul(argv[2], NULL, 0) * MSEC;
	become(NOBODY);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	books = shared(sizeof(*books));
	do
		generation();
	while (!is_enough(end, books->deaths && books->taken && books->waits));
	printf("generations=%u killed=%u acquired=%u deaths=%u made=%u taken=%u waits=%u\n",
	       generations, killed, books->acquired, books->deaths, books->made, books->taken,
	       books->waits);
	return 0;
}
