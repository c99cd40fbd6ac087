// SPDX-License-Identifier: GPL-2.0
/*
 * groups SEED MILLISECONDS: rounds of a waitgroup whose members are killed.
 *
 * In every round each member is a process with a token, which it is done with, or not;
 * or its child has it, or both. Some wait for the round meanwhile, and are sent signals.
 * All of them must come back, and agree on how many members were broken: those that had
 * not begun to be done when they were killed, and not those that were.
 */
#include <poll.h>

#include "torture.h"

#define MEMBERS	12
#define WAITERS	4

/* What a member has come to. */
enum { AT_WORK, BEGUN, DONE };

static struct team {
	int wg;
	int token[MEMBERS];
	atomic_int state[MEMBERS];
} *team;

static unsigned int rounds, deaths, broken_members;

/* Members */

static void finish(int m)
{
	int at_work = AT_WORK;

	atomic_compare_exchange_strong(&team->state[m], &at_work, BEGUN);
	if (!chanfd_token_done(team->token[m], 0))
		team->state[m] = DONE;
}

static void member(int m, int members)
{
	int i;

	for (i = 0; i < members; i++)
		if (i != m)
			close(team->token[i]);
	dawdle(2 * MSEC);
	switch (below(6)) {
	case 0:
	case 1:
		finish(m);
		break;
	case 2:			/* is seen to be broken */
		break;
	case 3:			/* a child has it, too, and only that is done with it */
		if (!fork_child()) {
			finish(m);
			_exit(0);
		}
		while (wait(NULL) < 0 && errno == EINTR)
			;
		break;
	case 4:			/* of two at a time one is late */
		if (!fork_child()) {
			finish(m);
			_exit(0);
		}
		finish(m);
		break;
	default:		/* is killed, if not before */
		pause();
	}
	_exit(0);
}

/* Waiters */

static bool round_runs(int wg)
{
	struct chanfd_waitgroup_info info;

	return !chanfd_waitgroup_info(wg, &info) && info.count;
}

/* Returns how many were broken, with the errno of it. */
static long run_wait(struct party *me)
{
	struct pollfd fd = { .fd = me->fd, .events = POLLIN };
	struct chanfd_round round = { 0 };
	struct chanfd_outcome out;
	int err;

	switch (me->value) {
	case 0:			/* the dead one by one */
		while (chanfd_wg_wait_broken(me->fd, round.broken, NULL, &round) &&
		       (errno == EINTR || errno == EOWNERDEAD) && round_runs(me->fd))
			;
		break;
	case 1:
		while (poll(&fd, 1, -1) < 0 && errno == EINTR)
			;
		break;
	case 2:
		do {
			errno = 0;
			err = chanfd_select_of(NULL, &out, CHANFD_WAIT(me->fd));
		} while (err && errno == EINTR);
		me->seq = out.number;
		errno = out.error;
		return out.size;
	}
	do {
		errno = 0;
		err = chanfd_wg_wait(me->fd, NULL, &round);
	} while (err && errno == EINTR);
	me->seq = round.number;
	return round.broken;
}

/* One round */

static void check_waiter(struct party *p, long least, long most)
{
	long broken = party_join(p);

	if (broken < 0 && errno == ETIME)
		wrong("a waiter still sleeps when the round is over");
	if (errno != (broken ? EOWNERDEAD : 0))
		wrong("a waiter was told %ld broken and errno %d", broken, errno);
	if (p->seq != rounds)
		wrong("a waiter of round %u was told of round %llu", rounds,
		      (unsigned long long)p->seq);
	if (broken < least || broken > most)
		wrong("%ld members broken, and not %ld to %ld", broken, least, most);
}

static void torment(const pid_t *pids, int members, struct party **waiters, int n)
{
	static const int signals[] = { SIGKILL, SIGSTOP, SIGCONT, SIGUSR1, SIGUSR2 };
	int i;

	for (i = below(2 * members); i; i--) {
		dawdle(MSEC);
		/* Collected only later: nobody else has the number. */
		kill(pids[below(members)], signals[below(ARRAY_SIZE(signals))]);
		if (n && !below(3))
			party_signal(waiters[below(n)], signals[3 + below(2)]);
	}
	for (i = 0; i < members; i++)
		kill(pids[i], SIGKILL);
}

static void one_round(void)
{
	int members = 1 + below(MEMBERS), n = below(WAITERS + 1), i;
	struct party *waiters[WAITERS];
	struct chanfd_waitgroup_info info;
	long least = 0, most = 0;
	pid_t pids[MEMBERS], pid;

	rounds++;
	for (i = 0; i < members; i++) {
		team->state[i] = AT_WORK;
		team->token[i] = chanfd_wg_token(team->wg, 0);
		if (team->token[i] < 0)
			err(1, "chanfd_wg_token");
	}
	for (i = 0; i < members; i++) {
		pids[i] = fork_child();
		if (!pids[i])
			member(i, members);
	}
	for (i = 0; i < members; i++)
		close(team->token[i]);
	for (i = 0; i < n; i++) {
		waiters[i] = party_new(below(2), run_wait, team->wg);
		waiters[i]->value = below(4);
		party_start(waiters[i]);
	}
	torment(pids, members, waiters, n);
	/* A member, or its child, is gone for good once its end is collected. */
	for (i = 0; i < members; ) {
		pid = waitpid(pids[i], NULL, 0);
		if (pid < 0 && errno != EINTR)
			err(1, "waitpid");
		i += pid == pids[i];
	}
	if (!eventually(!round_runs(team->wg)))
		wrong("all members are gone, and the round goes on");
	for (i = 0; i < members; i++) {
		least += team->state[i] == AT_WORK;
		most += team->state[i] != DONE;
	}
	for (i = 0; i < n; i++)
		check_waiter(waiters[i], least, most);
	chanfd_waitgroup_info(team->wg, &info);
	if (info.round != rounds || info.tokens || info.waiters || info.broken < least ||
	    info.broken > most)
		wrong("round %u: %llu, %u tokens, %u waiters, %u broken of %ld to %ld", rounds,
		      info.round, info.tokens, info.waiters, info.broken, least, most);
	while (waitpid(-1, NULL, WNOHANG) > 0)	/* children of the dead */
		;
	deaths += members;
	broken_members += info.broken;
}

int main(int argc, char **argv)
{
	uint64_t end;

	if (argc < 3)
		errx(2, "usage: groups SEED MILLISECONDS");
	seed = strtoul(argv[1], NULL, 0);
	end = now() + strtoul(argv[2], NULL, 0) * MSEC;
	become(NOBODY);
	/* Children of the dead are ours: they go when we do. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	catch_signal(SIGUSR1, SA_RESTART);
	catch_signal(SIGUSR2, 0);
	team = shared(sizeof(*team));
	team->wg = chanfd_waitgroup(0, "groups");
	if (team->wg < 0)
		err(1, "chanfd_waitgroup");
	do
		one_round();
	while (!is_enough(end, broken_members));
	printf("rounds=%u members=%u broken=%u\n", rounds, deaths, broken_members);
	return 0;
}
