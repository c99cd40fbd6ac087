// SPDX-License-Identifier: GPL-2.0
/*
 * serve: a server that stops as one would like it to.
 *
 * One epoll loop has the sockets, and beside them a channel and contexts, since those are
 * file descriptors as well. It hands requests to worker processes. On SIGTERM or SIGINT
 * it takes no more of them, and the ones that are with the workers are answered before it
 * exits; unless that takes longer than the grace period: then they are cancelled. In Go:
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

/* A client's socket is not closed while it is in work: nobody else gets its number. */
struct request {
	int client;
	char name[NAME_SIZE];
};

struct answer {
	int client;
	struct reply reply;
};

static int stop;		/* context: take no more requests */
static int work[2];		/* context: go on with those that there are */
static int requests;		/* channel, to send to */
static int answers;		/* channel, to receive from */
static int listener, events;
static enum { NOBODY, IDLE, IN_WORK } clients[MAX_CLIENTS];
static unsigned int answered, in_work;

/* Workers */

static int read_file(int directory, const char *name, char *text, uint32_t *size)
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
		if (chanfd_select_of(CHANFD_OPT(work[0], 0, 0), NULL, CHANFD_POLL(fd, POLLIN)) < 0)
			return errno;
		n = read(fd, text + *size, TEXT_SIZE - *size);
		if (n < 0)
			return errno;
		*size += (uint32_t)n;
	} while (n && *size < TEXT_SIZE);
	return 0;
}

static void start_worker(int directory, int requests_in, int answers_out)
{
	static struct request request;
	static struct answer answer;
	pid_t pid = fork();

	if (pid < 0)
		err(1, "worker");
	if (pid)
		return;
	prctl(PR_SET_NAME, "serve-worker");
	/* Ctrl-C is sent to all. It is the parent's to decide what that means. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	/* What is to end with the parent must not be kept by its children. */
	close(requests);
	close(answers);
	close(work[1]);
	close(stop);
	while (chanfd_get(requests_in, &request, NULL) == 1) {
		answer.client = request.client;
		answer.reply.size = 0;
		answer.reply.error = read_file(directory, request.name, answer.reply.text,
					       &answer.reply.size);
		if (chanfd_send(answers_out, &answer, offsetof(struct answer, reply) +
				reply_size(&answer.reply), NULL))
			break;
	}
	_exit(0);
}

/* The loop */

static void hang_up(int client)
{
	clients[client] = NOBODY;
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
	clients[client] = IDLE;
	watch(client);
}

static void on_request(int client)
{
	struct request request = { .client = client };
	struct reply busy = { .error = EBUSY };

	epoll_ctl(events, EPOLL_CTL_DEL, client, NULL);
	if (recv(client, request.name, NAME_SIZE - 1, MSG_DONTWAIT) <= 0) {
		hang_up(client);
	} else if (chanfd_put(requests, request, CHANFD_OPT(-1, CHANFD_NONBLOCK, 0))) {
		send(client, &busy, reply_size(&busy), MSG_DONTWAIT | MSG_NOSIGNAL);
		hang_up(client);
	} else {
		clients[client] = IN_WORK;
		in_work++;
	}
}

/* Returns false when there is no answer to come any more: the workers have ended. */
static bool on_answer(void)
{
	static struct answer answer;

	if (chanfd_get(answers, &answer, NULL) != 1)
		return false;
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
		if (clients[client] == IDLE)
			hang_up(client);
	chanfd_close(requests, 0);
	printf("stopping, %u in work\n", in_work);
	fflush(stdout);
}

static void loop(double grace_seconds)
{
	struct epoll_event event;
	int grace = -1;

	for (;;) {
		if (epoll_wait(events, &event, 1, -1) < 0) {
			if (errno != EINTR)
				err(1, "epoll");
		} else if (event.data.fd == listener) {
			on_client();
		} else if (event.data.fd == answers) {
			if (!on_answer())
				break;
		} else if (event.data.fd == stop) {
			take_no_more();
			grace = chanfd_context_timeout(-1, (int64_t)(grace_seconds * CHANFD_SECOND));
			if (grace < 0)
				errx(1, "%s", chanfd_strerror_hint(errno));
			watch(grace);
		} else if (event.data.fd == grace) {
			epoll_ctl(events, EPOLL_CTL_DEL, grace, NULL);
			chanfd_cancel(work[1], ETIMEDOUT, "the grace period is over");
		} else {
			on_request(event.data.fd);
		}
	}
}

/* Start and end */

/* chanfd_cancel() may be called here. */
static void on_signal(int number)
{
	(void)number;
	chanfd_cancel(stop, 0, NULL); /* NOLINT(bugprone-signal-handler) */
}

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
	int to_workers[2], from_workers[2], directory;
	double grace = argc == 4 ? atof(argv[3]) : 0;

	if (grace <= 0)
		errx(2, "usage: serve SOCKET DIRECTORY GRACE\n"
		     "Serves the files of DIRECTORY at the Unix socket SOCKET. SIGTERM ends it, and it\n"
		     "takes at most GRACE seconds for that.");
	directory = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		err(1, "%s", argv[2]);
	stop = chanfd_context(-1);
	if (stop < 0 || chanfd_context_pair(work, -1) ||
	    chanfd_channel_pair(to_workers, sizeof(struct request), QUEUE, 0, "requests") ||
	    chanfd_channel_pair(from_workers, sizeof(struct answer), QUEUE, CHANFD_VARIABLE,
				"answers"))
		errx(1, "%s", chanfd_strerror_hint(errno));
	requests = to_workers[1];
	answers = from_workers[0];
	for (int i = 0; i < WORKERS; i++)
		start_worker(directory, to_workers[0], from_workers[1]);
	close(to_workers[0]);
	close(from_workers[1]);

	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	events = epoll_create1(EPOLL_CLOEXEC);
	if (events < 0)
		err(1, "epoll");
	listen_at(argv[1]);
	watch(listener);
	watch(stop);
	watch(answers);
	printf("ready\n");
	fflush(stdout);

	loop(grace);
	unlink(argv[1]);
	while (wait(NULL) > 0)
		;
	if (!chanfd_context_err(stop))
		errx(1, "all workers died");
	printf("%u answered\n", answered);
	if (chanfd_context_err(work[0]))
		errx(1, "the grace period was over");
	if (in_work)
		errx(1, "%u were with a worker that died", in_work);
	return 0;
}
