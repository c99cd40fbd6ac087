// SPDX-License-Identifier: GPL-2.0
/*
 * hands SEED MILLISECONDS: handles that go from hand to hand, through forks and execs.
 *
 * Couriers take handles from sockets, use them, pass them on or drop them, fork children
 * that have them, too, execute programs with them, and are killed all the time. Some
 * handles are on their way in sockets that are themselves on their way. When the last
 * courier is dead and the last socket closed no handle may be left: every channel has
 * come to its end, with the messages in it that its senders know of, and the tokens that
 * nobody was done with are broken.
 *
 * hands exec FD OTHER: what is executed. FD is a channel; OTHER was to be closed.
 */
#include <poll.h>
#include <sys/socket.h>

#include "torture.h"

#define CHANNELS	8
#define TOKENS		16
#define SOCKETS		4		/* pairs */
#define COURIERS	5
#define GENERATION	(300 * MSEC)

static struct books {
	atomic_uint begun[CHANNELS];	/* messages that may be sent */
	atomic_uint acked[CHANNELS];	/* and that were */
	atomic_uint done_begun, done;	/* tokens, likewise */
	atomic_uint passed, forks, execs;
	atomic_bool kept;		/* a handle has survived exec that should not */
} *books;

static int ends[2 * SOCKETS];
static const char *self;
static unsigned int generations, killed, received[CHANNELS], messages, broken;

/*
 * Couriers
 */

static int index_of(const struct chanfd_info *info)
{
	return info->name[0] - '0';
}

static void send_one(int fd, int i)
{
	uint64_t value = i;

	books->begun[i]++;
	if (chanfd_send(fd, &value, sizeof(value), CHANFD_OPT(-1, CHANFD_NONBLOCK, 0)))
		books->begun[i]--;
	else
		books->acked[i]++;
}

static void be_done(int token)
{
	books->done_begun++;
	if (chanfd_token_done(token, 0))
		books->done_begun--;
	else
		books->done++;
}

/* Two children, that have two children ... */
static void bomb(int fd, int i, int depth)
{
	int child;

	for (child = 0; child < 2; child++) {
		books->forks++;
		if (!fork_child()) {
			send_one(fd, i);
			if (depth)
				bomb(fd, i, depth - 1);
			_exit(0);
		}
	}
	dawdle(2 * MSEC);
}

static void execute(int fd, int i)
{
	char inherited[16], closed[16];
	int status, copy;
	pid_t pid;

	books->execs++;
	books->begun[i]++;
	pid = fork_child();
	if (!pid) {
		copy = chanfd_reduce(fd, CHANFD_WRITE | CHANFD_NONBLOCK | CHANFD_INHERIT);
		snprintf(inherited, sizeof(inherited), "%d", copy);
		snprintf(closed, sizeof(closed), "%d", fd);
		execl(self, self, "exec", inherited, closed, NULL);
		_exit(1);
	}
	while (waitpid(pid, &status, 0) != pid)
		;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		books->acked[i]++;
	else if (WIFEXITED(status))
		books->begun[i]--;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
		books->kept = true;
}

static int executed(int fd, int other)
{
	uint64_t value = 0;

	if (fcntl(other, F_GETFD) >= 0)
		return 3;
	return write(fd, &value, sizeof(value)) == sizeof(value) ? 0 : 2;
}

static void pass_on(int fd)
{
	/* Its own other end goes along at times. */
	int end = below(2 * SOCKETS), both[2] = { fd, ends[below(2) ? end ^ 1 : end] };

	books->passed += !chanfd_hand(ends[end], both, 1 + !below(4), NULL);
}

static void use(int fd)
{
	struct chanfd_info info;

	if (chanfd_info(fd, &info))	/* a socket */
		goto out_close;
	if (info.type == CHANFD_TYPE_TOKEN) {
		if (!below(32))
			be_done(fd);
	} else {
		send_one(fd, index_of(&info));
		if (!below(32))
			bomb(fd, index_of(&info), 2);
		if (!below(32))
			execute(fd, index_of(&info));
	}
	if (below(64))
		pass_on(fd);
out_close:
	if (below(32))		/* else it has it until it dies */
		close(fd);
}

static void courier(void)
{
	int fds[2], n, i;

	for (;;) {
		struct pollfd end = { .fd = ends[below(2 * SOCKETS)], .events = POLLIN };

		n = chanfd_take(end.fd, fds, ARRAY_SIZE(fds), NULL);
		for (i = 0; i < n; i++)
			use(fds[i]);
		if (n < 0 && errno == EMFILE)
			_exit(0);
		if (n <= 0)
			poll(&end, 1, 1);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

/*
 * The first process
 */

static void give_away(int fd)
{
	while (chanfd_hand(ends[below(2 * SOCKETS)], &fd, 1, NULL))
		if (errno != EAGAIN)	/* another one has room */
			err(1, "chanfd_hand");
	close(fd);
}

/* Receives all that is there; why it could not receive more. */
static int drain(int ch, int i)
{
	uint64_t value;

	while (chanfd_get(ch, &value, CHANFD_OPT(-1, CHANFD_NONBLOCK, 0)) == 1) {
		if (value != (uint64_t)i && value)
			wrong("a message of another channel");
		received[i]++;
	}
	return errno;
}

/* A socket that is closed makes the kernel look for those that are only on their way. */
static void collect_sockets(void)
{
	close(socket(AF_UNIX, SOCK_DGRAM, 0));
}

static void audit(const int *ch, int wg)
{
	struct chanfd_round round;
	struct chanfd_channel_info info;
	unsigned int most = TOKENS - books->done, least = TOKENS - books->done_begun;
	int i;

	collect_sockets();
	for (i = 0; i < CHANNELS; i++) {
		if (!eventually(drain(ch[i], i) == ECONNRESET))
			wrong("all couriers are dead, and a channel has %u senders",
			      info_of(ch[i]).senders);
		info = info_of(ch[i]);
		if (received[i] < books->acked[i] || received[i] > books->begun[i] ||
		    info.sent != received[i] || info.received != received[i] || info.dropped)
			wrong("received %u of %u to %u sent; the channel counts %llu and %llu",
			      received[i], books->acked[i], books->begun[i], info.sent,
			      info.received);
		messages += received[i];
	}
	if (chanfd_wg_wait(wg, CHANFD_OPT(-1, 0, chanfd_deadline(BOUND)), &round) &&
	    errno != EOWNERDEAD)
		wrong("all couriers are dead, and tokens are left: %m");
	if (round.broken < least || round.broken > most)
		wrong("%u tokens are broken, and not %u to %u", round.broken, least, most);
	if (books->kept)
		wrong("a handle has survived exec");
	broken += round.broken;
}

static void generation(void)
{
	int ch[CHANNELS], fd[2], wg, token, i;
	uint64_t end = now() + GENERATION;
	pid_t couriers[COURIERS];
	char name[2] = "0";

	memset(received, 0, sizeof(received));
	memset(books, 0, offsetof(struct books, passed));
	for (i = 0; i < SOCKETS; i++)
		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, &ends[2 * i]))
			err(1, "socketpair");
	wg = chanfd_waitgroup(0, "hands");
	for (i = 0; i < CHANNELS; i++) {
		name[0] = '0' + i;
		if (chanfd_channel_pair(fd, sizeof(uint64_t), 16, 0, name))
			err(1, "chanfd_channel_pair");
		ch[i] = fd[0];
		if (!i)		/* one of them in any case */
			execute(fd[1], i);
		give_away(fd[1]);
	}
	for (i = 0; i < TOKENS; i++) {
		token = chanfd_wg_token(wg, 0);
		if (token < 0)
			err(1, "chanfd_wg_token");
		give_away(token);
	}
	for (i = 0; i < COURIERS; i++) {
		couriers[i] = fork_child();
		if (!couriers[i])
			courier();
	}
	do {
		for (i = 0; i < CHANNELS; i++)
			drain(ch[i], i);
		pause_for(below(10 * MSEC));
		i = below(COURIERS);
		kill(couriers[i], SIGKILL);
		waitpid(couriers[i], NULL, 0);
		killed++;
		couriers[i] = fork_child();
		if (!couriers[i])
			courier();
	} while (now() < end);
	for (i = 0; i < COURIERS; i++)
		kill(couriers[i], SIGKILL);
	while (wait(NULL) > 0 || errno == EINTR)	/* and their children */
		;
	for (i = 0; i < 2 * SOCKETS; i++)
		close(ends[i]);
	audit(ch, wg);
	for (i = 0; i < CHANNELS; i++)
		close(ch[i]);
	close(wg);
	generations++;
}

int main(int argc, char **argv)
{
	uint64_t end;

	if (argc == 4 && !strcmp(argv[1], "exec"))
		return executed(atoi(argv[2]), atoi(argv[3]));
	if (argc < 3)
		errx(2, "usage: hands SEED MILLISECONDS");
	self = argv[0];
	seed = strtoul(argv[1], NULL, 0);
	end = now() + strtoul(argv[2], NULL, 0) * MSEC;
	become(NOBODY);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	books = shared(sizeof(*books));
	do
		generation();
	while (!is_enough(end, books->passed && messages));
	printf("generations=%u killed=%u passed=%u forks=%u execs=%u messages=%u broken=%u\n",
	       generations, killed, books->passed, books->forks, books->execs, messages, broken);
	return 0;
}
