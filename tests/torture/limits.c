// SPDX-License-Identifier: GPL-2.0
/*
 * limits SEED MILLISECONDS: an unprivileged user at every limit.
 *
 * Hogs of one user take all that they may have, of everything that is limited or that
 * somebody else might have to clear away, and let go of it again, all the time. Another
 * user makes objects meanwhile, which must always work, and sends a message back and
 * forth, which must not take much longer than it does while the first user keeps the
 * machine as busy with pipes, pages and timers. The two take turns, so that it does not
 * matter who else uses the machine below.
 *
 * Needs root, to be somebody else. The limits of objects and bytes are lowered, so that an
 * emulated machine reaches them in time, too.
 */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "torture.h"

#define MAX_OBJECTS	"/sys/module/chanfd/parameters/max_objects"
#define MAX_BYTES	"/sys/module/chanfd/parameters/max_bytes"
#define FEWER_OBJECTS	2048
#define FEWER_BYTES	(16 << 20)
#define TIMES_FEWER	20	/* round trips there may be */
#define TURNS		6	/* of either kind of hogs */
#define MANY		900	/* more descriptors, times two, than a process may have */

#define MADE_AT_ONCE	5	/* by the other user, one of each kind */

enum limit { OBJECTS, BYTES, DESCRIPTORS, CASES, BINDINGS, IN_FLIGHT, LIMITS };

static struct state {
	atomic_uint reached[LIMITS];
	atomic_uint trips;
	atomic_uint made;
	atomic_int error;		/* of making, and who made it */
	const char *what;
} *state;

static void reach(enum limit limit, int error, int expected)
{
	if (error == expected)
		state->reached[limit]++;
}

/* For others to find nothing left. */
static void keep(void)
{
	unsigned int before = state->made;
	uint64_t end = now() + SEC;

	while (state->made < before + MADE_AT_ONCE && now() < end)
		pause_for(MSEC);
}

/*
 * Hogs; each goes on for ever
 */

/* As deep as there are objects, with one descriptor. */
static void hog_deep(void)
{
	int ctx = chanfd_context(-1), child;

	while (ctx >= 0) {
		child = chanfd_context(ctx);
		if (child < 0)
			break;
		close(ctx);
		ctx = child;
	}
	reach(OBJECTS, errno, EDQUOT);
	keep();
	close(ctx);
}

/* As wide as there are descriptors, sometimes few or one more, cancelled over and over. */
static void hog_wide(void)
{
	static const struct rlimit descriptors[] = { { 64, 1024 }, { 65, 1024 }, { 1024, 1024 } };
	static unsigned int turn;
	int root = chanfd_context(-1), ctx[2 * MANY], n = 0, i;

	if (setrlimit(RLIMIT_NOFILE, &descriptors[turn++ % ARRAY_SIZE(descriptors)]))
		err(1, "setrlimit");
	while (n < 2 * MANY && !chanfd_context_pair(&ctx[n], root))
		n += 2;
	reach(DESCRIPTORS, errno, EMFILE);
	for (i = 0; i < 8; i++)
		chanfd_cancel(root, 0, "storm");
	while (n--)
		close(ctx[n]);
	close(root);
}

/* With the memory, or only with the right to it. */
static void hog_bytes(void)
{
	int flags = below(2) ? CHANFD_VARIABLE : 0, ch[64], n = 0;
	unsigned int capacity;

	for (capacity = 1 << 12; capacity; capacity /= 2)
		while (n < 64 && (ch[n] = chanfd_channel(256, capacity, flags, NULL)) >= 0)
			n++;
	reach(BYTES, errno, EDQUOT);
	keep();
	while (n--)
		close(ch[n]);
}

/* Many threads wait at few objects, with all cases that there may be. */
static void *wait_a_lot(void *arg)
{
	static struct chanfd_case cases[CHANFD_MAX_CASES];
	const int *ch = arg;
	int i;

	for (i = 0; i < CHANFD_MAX_CASES; i++)
		cases[i] = CHANFD_RECV(ch[i % 4]);
	for (;;)
		reach(CASES, errno_of(chanfd_select(cases, CHANFD_MAX_CASES,
						    CHANFD_OPT(-1, 0, chanfd_deadline(SEC)), NULL)),
		      EDQUOT);
	return NULL;
}

static void hog_cases(void)
{
	pthread_t thread;
	int ch[4], i;

	for (i = 0; i < 4; i++)
		ch[i] = chanfd_channel(0, 0, 0, NULL);
	for (i = 0; i < 16; i++)
		pthread_create(&thread, NULL, wait_a_lot, ch);
	for (;;)
		chanfd_send(ch[below(4)], NULL, 0, CHANFD_OPT(-1, 0, chanfd_deadline(MSEC)));
}

/* All bound to one file, which calls all of them. */
static void hog_bindings(void)
{
	int event = eventfd(0, EFD_CLOEXEC), ctx[100], i, j;

	for (i = 0; i < 100; i++) {
		ctx[i] = chanfd_context(-1);
		for (j = 0; !chanfd_context_bind(ctx[i], event, POLLIN, 0); j++)
			;
		reach(BINDINGS, errno, ENOSPC);
	}
	eventfd_write(event, 1);
	for (i = 0; i < 100; i++)
		close(ctx[i]);
	close(event);
}

/* All at the same time. */
static void hog_deadlines(void)
{
	uint64_t when = chanfd_deadline(50 * MSEC);
	int ctx[MANY], i;

	for (i = 0; i < MANY; i++)
		ctx[i] = chanfd_context_deadline(-1, when);
	for (i = 0; i < MANY; i++) {
		if (ctx[i] >= 0)
			chanfd_context_wait(ctx[i], NULL);
		close(ctx[i]);
	}
}

/* On their way, in sockets that nobody reads. */
static void hog_sockets(void)
{
	int pair[64][2], ch = chanfd_channel(8, 16, 0, NULL), fds[64], n, i;

	for (i = 0; i < 64; i++)
		fds[i] = ch;
	for (n = 0; n < 64; n++) {
		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair[n]))
			break;
		while (!chanfd_hand(pair[n][0], fds, 64, NULL))
			;
		reach(IN_FLIGHT, errno, ETOOMANYREFS);
	}
	while (n--) {
		close(pair[n][0]);
		close(pair[n][1]);
	}
	close(ch);
}

static void (*const hogs[])(void) = {
	hog_deep, hog_wide, hog_bytes, hog_cases, hog_bindings, hog_deadlines, hog_sockets,
};

#define HOGS ARRAY_SIZE(hogs)

/* What everybody can do, module or not. */

static void *sleep_a_lot(void *arg)
{
	for (;;)
		pause_for(below(MSEC));
	return NULL;
}

static void use_machine(unsigned int which)
{
	int fd[2 * MANY], n = 0;
	pthread_t thread;
	size_t size = 4 << 20;
	void *mem;

	switch (which % 3) {
	case 0:
		while (n < 2 * MANY && !pipe(&fd[n]))
			n += 2;
		while (n--)
			close(fd[n]);
		break;
	case 1:
		mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		munmap(mem, size);
		break;
	default:
		for (n = 0; n < 8; n++)
			pthread_create(&thread, NULL, sleep_a_lot, NULL);
		sleep_a_lot(NULL);
	}
}

/* They are stopped until it is their turn. */
static void start_hogs(pid_t *pids, bool work)
{
	unsigned int i;

	for (i = 0; i < HOGS; i++) {
		pids[i] = fork_child();
		if (pids[i]) {
			kill(pids[i], SIGSTOP);
			continue;
		}
		become(NOBODY);
		for (;;)
			if (work)
				hogs[i]();
			else
				use_machine(i);
	}
}

static void signal_hogs(const pid_t *pids, int sig)
{
	unsigned int i;

	for (i = 0; i < HOGS; i++)
		kill(pids[i], sig);
}

static void kill_hogs(const pid_t *pids)
{
	unsigned int i;
	int status;

	signal_hogs(pids, SIGKILL);
	for (i = 0; i < HOGS; i++)
		if (waitpid(pids[i], &status, 0) != pids[i] || !WIFSIGNALED(status) ||
		    WTERMSIG(status) != SIGKILL)
			wrong("hog %u ended by itself: status %#x", i, status);
}

/*
 * The other user
 */

static void echo(int from, int to)
{
	uint64_t value;

	become(SOMEBODY);
	while (chanfd_get(from, &value, NULL) == 1 && !chanfd_put(to, value, NULL))
		;
	_exit(1);
}

static void travel(int to, int from)
{
	uint64_t value = 0;

	become(SOMEBODY);
	while (!chanfd_put(to, value, NULL) && chanfd_get(from, &value, NULL) == 1)
		state->trips++;
	_exit(1);
}

static bool made(int fd, const char *what)
{
	if (fd < 0) {
		state->error = errno;
		state->what = what;
		return false;
	}
	close(fd);
	state->made++;
	return true;
}

static void make(void)
{
	int wg, ctx, event = eventfd(0, EFD_CLOEXEC);

	become(SOMEBODY);
	do {
		wg = chanfd_waitgroup(0, NULL);
		ctx = chanfd_context(-1);
		pause_for(MSEC);
	} while (made(chanfd_channel(8, 1000, 0, NULL), "channel") &&
		 made(chanfd_wg_token(wg, 0), "token") &&
		 made(chanfd_context(ctx), "context") &&
		 !chanfd_context_bind(ctx, event, POLLIN, 0) &&
		 made(wg, "waitgroup") && made(ctx, "context"));
	_exit(1);
}

/* How many round trips the other user makes in a turn of these hogs; some, in any case. */
static unsigned int trips_beside(const pid_t *pids, int64_t length)
{
	unsigned int before = state->trips;

	signal_hogs(pids, SIGCONT);
	pause_for(length);
	if (!eventually(state->trips > before))
		wrong("another user gets nothing done");
	if (state->error)
		wrong("another user could not make a %s: %s", state->what,
		      strerror(state->error));
	signal_hogs(pids, SIGSTOP);
	return state->trips - before;
}

/* Has what this is about happened? Descriptors have run out in the middle of a pair, too. */
static bool has_happened(void)
{
	const atomic_uint *reached = state->reached;

	return state->made && reached[OBJECTS] && reached[BYTES] && reached[BINDINGS] &&
		reached[DESCRIPTORS] > 1;
}

/* Returns what it was. */
static unsigned long set_limit(const char *parameter, unsigned long n)
{
	FILE *file = fopen(parameter, "r+");
	unsigned long before;

	if (!file || fscanf(file, "%lu", &before) != 1 || fseek(file, 0, SEEK_SET) ||
	    fprintf(file, "%lu", n) < 1 || fclose(file))
		err(1, "%s", parameter);
	return before;
}

int main(int argc, char **argv)
{
	static const char *const names[] = {
		"objects", "bytes", "descriptors", "cases", "bindings", "in_flight",
	};
	pid_t usual[HOGS], greedy[HOGS];
	unsigned int i, with_usual = 0, with_greedy = 0;
	unsigned long objects, bytes;
	int64_t length, turn;
	int there, back;
	uint64_t end;
	bool fair;

	if (argc < 3)
		errx(2, "usage: limits SEED MILLISECONDS");
	seed = strtoul(argv[1], NULL, 0);
	length = strtoul(argv[2], NULL, 0) * MSEC;
	turn = length / (2 * TURNS);
	state = shared(sizeof(*state));
	objects = set_limit(MAX_OBJECTS, FEWER_OBJECTS);
	bytes = set_limit(MAX_BYTES, FEWER_BYTES);
	there = chanfd_channel(8, 0, 0, "there");
	back = chanfd_channel(8, 0, 0, "back");
	if (!fork_child())
		echo(there, back);
	if (!fork_child())
		travel(there, back);
	if (!fork_child())
		make();
	start_hogs(usual, false);
	start_hogs(greedy, true);
	end = now() + length;
	do {
		with_usual += trips_beside(usual, turn);
		with_greedy += trips_beside(greedy, turn);
		fair = with_greedy >= with_usual / TIMES_FEWER;
	} while (!is_enough(end, fair && has_happened()));
	kill_hogs(usual);
	kill_hogs(greedy);
	set_limit(MAX_OBJECTS, objects);
	set_limit(MAX_BYTES, bytes);
	if (!fair)
		wrong("another user makes %u round trips, and with usual programs it is %u",
		      with_greedy, with_usual);
	printf("trips=%u trips_usual=%u made=%u", with_greedy, with_usual, state->made);
	for (i = 0; i < LIMITS; i++)
		printf(" %s=%u", names[i], state->reached[i]);
	printf("\n");
	return 0;
}
