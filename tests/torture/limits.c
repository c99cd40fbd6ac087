// SPDX-License-Identifier: GPL-2.0
/*
 * limits SEED MILLISECONDS: an unprivileged user at every limit.
 *
 * Hogs of one user take all that they may have, of everything that is limited or that
 * somebody else might have to clear away, and let go of it again, all the time. Another
 * user makes objects meanwhile, which must always work, and sends a message back and
 * forth, which must not take much longer than it did while as many of the first user's
 * processes just used the CPUs up.
 *
 * Needs root, to be somebody else. The limit of objects is lowered, so that an emulated
 * machine reaches it in time, too.
 */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "torture.h"

#define MAX_OBJECTS	"/sys/module/chanfd/parameters/max_objects"
#define FEWER_OBJECTS	2048
#define TIMES_LONGER	20	/* half of the round trips may take */
#define SAMPLES		4096
#define MANY		900	/* descriptors, with those that a process has anyway */

enum limit { OBJECTS, BYTES, DESCRIPTORS, CASES, BINDINGS, IN_FLIGHT, LIMITS };

static struct state {
	atomic_bool go;			/* hogs, to work */
	atomic_uint reached[LIMITS];
	atomic_uint samples;
	uint64_t latency[SAMPLES];	/* the last ones */
	atomic_uint made;
	atomic_int error;		/* of making, and who made it */
	const char *what;
} *state;

static void reach(enum limit limit, int error, int expected)
{
	if (error == expected)
		state->reached[limit]++;
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
	close(ctx);
}

/* As wide as there are descriptors, cancelled over and over. */
static void hog_wide(void)
{
	int root = chanfd_context(-1), one = below(2) ? dup(root) : -1, ctx[2 * MANY], n = 0, i;

	while (n < 2 * MANY && !chanfd_context_pair(&ctx[n], root))
		n += 2;
	reach(DESCRIPTORS, errno, EMFILE);
	for (i = 0; i < 8; i++)
		chanfd_cancel(root, 0, "storm");
	while (n--)
		close(ctx[n]);
	close(one);
	close(root);
}

/* With the memory, or only with the right to it. */
static void hog_bytes(void)
{
	int flags = below(2) ? CHANFD_VARIABLE : 0, ch[64], n = 0;

	while (n < 64 && (ch[n] = chanfd_channel(256, 1 << 16, flags, NULL)) >= 0)
		n++;
	reach(BYTES, errno, EDQUOT);
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

static void hog_cpu(void)
{
}

static void (*const hogs[])(void) = {
	hog_deep, hog_wide, hog_bytes, hog_cases, hog_bindings, hog_deadlines, hog_sockets,
};

#define HOGS ARRAY_SIZE(hogs)

static void start_hogs(pid_t *pids, bool work)
{
	unsigned int i;

	for (i = 0; i < HOGS; i++) {
		pids[i] = fork_child();
		if (pids[i])
			continue;
		become(NOBODY);
		for (;;)
			(work ? hogs[i] : hog_cpu)();
	}
}

static void kill_hogs(const pid_t *pids)
{
	unsigned int i;
	int status;

	for (i = 0; i < HOGS; i++) {
		kill(pids[i], SIGKILL);
		if (waitpid(pids[i], &status, 0) != pids[i] || !WIFSIGNALED(status) ||
		    WTERMSIG(status) != SIGKILL)
			wrong("hog %u ended by itself: status %#x", i, status);
	}
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

static void measure(int to, int from)
{
	uint64_t value = 0, began;

	become(SOMEBODY);
	for (;;) {
		began = now();
		if (chanfd_put(to, value, NULL) || chanfd_get(from, &value, NULL) != 1)
			_exit(1);
		state->latency[state->samples % SAMPLES] = now() - began;
		state->samples++;
		pause_for(MSEC / 4);
	}
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
		 made(dup(chanfd_context(ctx)), "context") &&
		 !chanfd_context_bind(ctx, event, POLLIN, 0) &&
		 made(wg, "waitgroup") && made(ctx, "context"));
	_exit(1);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Half of the round trips from now until @end take less. */
static uint64_t median_until(uint64_t end)
{
	uint64_t sorted[SAMPLES];
	unsigned int n;

	state->samples = 0;
	while (now() < end || state->samples < 16) {
		if (now() > end + BOUND)
			wrong("another user's round trips took %llu ns and more",
			      (unsigned long long)(BOUND / 16));
		if (state->error)
			wrong("another user could not make a %s: %s", state->what,
			      strerror(state->error));
		pause_for(MSEC);
	}
	n = state->samples < SAMPLES ? state->samples : SAMPLES;
	memcpy(sorted, state->latency, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare);
	return sorted[n / 2];
}

static unsigned int set_max_objects(unsigned int n)
{
	FILE *file = fopen(MAX_OBJECTS, "r+");
	unsigned int before;

	if (!file || fscanf(file, "%u", &before) != 1 || fseek(file, 0, SEEK_SET) ||
	    fprintf(file, "%u", n) < 1 || fclose(file))
		err(1, MAX_OBJECTS);
	return before;
}

int main(int argc, char **argv)
{
	static const char *const names[] = {
		"objects", "bytes", "descriptors", "cases", "bindings", "in_flight",
	};
	uint64_t start = now(), quiet, busy, length;
	unsigned int before, i;
	int there, back;
	pid_t pids[HOGS];

	if (argc < 3)
		errx(2, "usage: limits SEED MILLISECONDS");
	seed = strtoul(argv[1], NULL, 0);
	length = strtoul(argv[2], NULL, 0) * MSEC;
	state = shared(sizeof(*state));
	before = set_max_objects(FEWER_OBJECTS);
	there = chanfd_channel(8, 0, 0, "there");
	back = chanfd_channel(8, 0, 0, "back");
	if (!fork_child())
		echo(there, back);
	if (!fork_child())
		measure(there, back);

	start_hogs(pids, false);
	quiet = median_until(start + length / 4);
	kill_hogs(pids);

	start_hogs(pids, true);
	if (!fork_child())
		make();
	busy = median_until(start + length);
	kill_hogs(pids);
	set_max_objects(before);

	if (busy > TIMES_LONGER * quiet)
		wrong("another user's round trip takes %llu times as long",
		      (unsigned long long)(busy / quiet));
	printf("round_trip=%.1f made=%u", (double)busy / quiet, state->made);
	for (i = 0; i < LIMITS; i++)
		printf(" %s=%u", names[i], state->reached[i]);
	printf("\n");
	return 0;
}
