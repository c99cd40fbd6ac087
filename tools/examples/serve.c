// SPDX-License-Identifier: GPL-2.0
/*
 * serve: a server that stops as one would like it to.
 *
 * One epoll loop has the sockets, and beside them a channel and contexts, since those are
 * file descriptors as well. It hands requests to worker processes; should one die, its
 * request goes to another. On SIGTERM or SIGINT it takes no more of them, and those that
 * are with the workers are answered before it exits; unless that takes longer than the
 * grace period: then they are cancelled. In Go:
 *
 *	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
 *	go server.Serve(listener)
 *	<-stop.Done()
 *	grace, _ := context.WithTimeout(context.Background(), 5 * time.Second)
 *	server.Shutdown(grace)
 */
#include <chanfd.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve.h"

#define WORKERS		2
#define QUEUE		16
#define MAX_CLIENTS	1024

struct request {
	uint64_t number;
	int client;
	char name[NAME_SIZE];
};

struct answer {
	uint64_t number;	/* the request's */
	int client;
	struct reply reply;
};

static int stop;		/* context: take no more requests */
static int go_on;		/* context: with those that there are */
static int requests[2], answers[2];
static int directory, listener, events;
static struct {
	int connected;
	uint64_t request;	/* that is in work, or 0 */
} clients[MAX_CLIENTS];		/* by their descriptors */
static uint64_t last_request;
static unsigned int answered, in_work;

/* Workers */

static int read_file(int context, const char *name, char *text, uint32_t *size)
{
	chanfd_auto int fd = -1;
	ssize_t n;

	if (strchr(name, '/'))
		return EINVAL;
	fd = openat(directory, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno;
	/* A FIFO may let it wait, but not longer than there is work. */
	do {
		if (chanfd_select_of(CHANFD_OPT(context, 0, 0), NULL, CHANFD_POLL(fd, POLLIN)) < 0)
			return errno;
		n = read(fd, text + *size, TEXT_SIZE - *size);
		if (n < 0)
			return errno;
		*size += (uint32_t)n;
	} while (n && *size < TEXT_SIZE);
	return 0;
}

/*
 * A request is leased until it is answered. It may be answered twice, if the worker dies
 * in between.
 */
static int work(int context, void *arg)
{
	static struct request request;
	static struct answer answer;
	int more;

	(void)arg;
	prctl(PR_SET_NAME, "serve-worker");
	/* Ctrl-C is sent to all. It is the parent's to decide what that means. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	/* If the parent dies, this must not keep up what it had. */
	close(requests[1]);
	close(answers[0]);
	for (;;) {
		chanfd_auto int lease = -1;

		more = chanfd_recv_leased(requests[0], &request, sizeof(request), &lease, NULL,
					  NULL);
		if (more != 1)
			return more ? errno : 0;
		answer.number = request.number;
		answer.client = request.client;
		answer.reply.size = 0;
		answer.reply.error = read_file(context, request.name, answer.reply.text,
					       &answer.reply.size);
		if (chanfd_send(answers[1], &answer, offsetof(struct answer, reply) +
				reply_size(&answer.reply), NULL) || chanfd_commit(lease))
			return errno;
	}
}

/* The loop */

static void hang_up(int client)
{
	clients[client].connected = 0;
	clients[client].request = 0;
	close(client);
}

static void watch(int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(events, EPOLL_CTL_ADD, fd, &event))
		err(1, "epoll");
}

static void on_client(void)
{
	int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (client < 0)
		return;
	if (client >= MAX_CLIENTS) {
		close(client);
		return;
	}
	clients[client].connected = 1;
	watch(client);
}

static void on_request(int client)
{
	struct request request = { .number = last_request + 1, .client = client };
	struct reply busy = { .error = EBUSY };

	epoll_ctl(events, EPOLL_CTL_DEL, client, NULL);
	if (recv(client, request.name, NAME_SIZE - 1, MSG_DONTWAIT) <= 0) {
		hang_up(client);
	} else if (chanfd_put(requests[1], request, CHANFD_OPT(-1, CHANFD_NONBLOCK, 0))) {
		send(client, &busy, reply_size(&busy), MSG_DONTWAIT | MSG_NOSIGNAL);
		hang_up(client);
	} else {
		clients[client].request = ++last_request;
		in_work++;
	}
}

/* Returns false when there is no answer to come any more: the workers have ended. */
static bool on_answer(void)
{
	static struct answer answer;

	if (chanfd_get(answers[0], &answer, NULL) != 1)
		return false;
	if (clients[answer.client].request != answer.number)
		return true;		/* the second time */
	send(answer.client, &answer.reply, reply_size(&answer.reply),
	     MSG_DONTWAIT | MSG_NOSIGNAL);
	hang_up(answer.client);
	in_work--;
	answered += answer.reply.error != ECANCELED;
	return true;
}

/* Whoever has not asked yet is turned away, and the workers end when all is answered. */
static void take_no_more(void)
{
	epoll_ctl(events, EPOLL_CTL_DEL, stop, NULL);
	close(listener);
	for (int client = 0; client < MAX_CLIENTS; client++)
		if (clients[client].connected && !clients[client].request)
			hang_up(client);
	chanfd_close(requests[1], 0);
	printf("stopping, %u in work\n", in_work);
	fflush(stdout);
}

static void loop(int64_t grace_period)
{
	struct epoll_event event;
	int grace = -1;

	for (;;) {
		if (epoll_wait(events, &event, 1, -1) < 0) {
			if (errno != EINTR)
				err(1, "epoll");
		} else if (event.data.fd == listener) {
			on_client();
		} else if (event.data.fd == answers[0]) {
			if (!on_answer())
				break;
		} else if (event.data.fd == stop) {
			take_no_more();
			grace = chanfd_context_timeout(-1, grace_period);
			if (grace < 0)
				errx(1, "%s", chanfd_strerror_hint(errno));
			watch(grace);
		} else if (event.data.fd == grace) {
			epoll_ctl(events, EPOLL_CTL_DEL, grace, NULL);
			chanfd_cancel(go_on, ETIMEDOUT, "the grace period is over");
		} else {
			on_request(event.data.fd);
		}
	}
}

/* Start and end */

static void listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		errx(1, "%s: too long", path);
	memcpy(address.sun_path, path, strlen(path));
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listener, SOMAXCONN))
		err(1, "%s", path);
}

int main(int argc, char **argv)
{
	int64_t grace = argc == 4 ? (int64_t)(atof(argv[3]) * CHANFD_SECOND) : 0;
	struct chanfd_group *workers;
	struct chanfd_failure first;

	if (grace <= 0)
		errx(2, "usage: serve SOCKET DIRECTORY GRACE\n"
		     "Serves the files of DIRECTORY at the Unix socket SOCKET. SIGTERM ends it, and it\n"
		     "takes at most GRACE seconds for that.");
	directory = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		err(1, "%s", argv[2]);
	stop = chanfd_context_signals(-1, (int[]){ SIGINT, SIGTERM }, 2);
	go_on = chanfd_context(-1);
	workers = stop < 0 || go_on < 0 ? NULL : chanfd_group(go_on, CHANFD_KEEP_GOING);
	if (!workers ||
	    chanfd_channel_pair(requests, sizeof(struct request), QUEUE, 0, "requests") ||
	    chanfd_channel_pair(answers, sizeof(struct answer), QUEUE, CHANFD_VARIABLE, "answers"))
		errx(1, "%s", chanfd_strerror_hint(errno));
	for (int i = 0; i < WORKERS; i++)
		if (chanfd_group_fork(workers, work, NULL, NULL) < 0)
			err(1, "worker");
	close(requests[0]);
	close(answers[1]);

	events = epoll_create1(EPOLL_CLOEXEC);
	if (events < 0)
		err(1, "epoll");
	listen_at(argv[1]);
	watch(listener);
	watch(stop);
	watch(answers[0]);
	printf("ready\n");
	fflush(stdout);

	loop(grace);
	unlink(argv[1]);
	printf("%u answered\n", answered);
	if (chanfd_group_wait(workers, &first))
		warnx("worker %d died: %s", first.pid, strsignal(WTERMSIG(first.status)));
	if (in_work)
		warnx("%u not answered", in_work);
	if (chanfd_context_err(go_on))
		warnx("the grace period was over");
	return in_work || chanfd_context_err(go_on);
}
