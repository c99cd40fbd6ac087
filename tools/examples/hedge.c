// SPDX-License-Identifier: GPL-2.0
/*
 * hedge: ask a server; when it is slow ask another one as well; take the first answer and
 * call off the rest. ("The Tail at Scale", Dean and Barroso, 2013.)
 *
 * In Go: a goroutine for each request, a channel for the answers that is buffered, so
 * that losers don't wait for good, a timer in the select, and
 *
 *	ctx, cancel := context.WithCancel(parent)
 *	defer cancel()
 *
 * Here a request is a process. The channel need not be buffered, as the losers' sends
 * are called off too. The servers are instances of serve.c.
 */
#include <chanfd.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve.h"

struct answer {
	int server;
	struct reply reply;
};

/* Returns 0 or errno: ECANCELED as soon as @context is done. */
static int ask(const char *server, const char *name, int context, struct reply *reply)
{
	chanfd_auto int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	ssize_t size;

	strncpy(address.sun_path, server, sizeof(address.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    send(fd, name, strlen(name), MSG_NOSIGNAL) < 0 ||
	    chanfd_select_of(CHANFD_OPT(context, 0, 0), NULL, CHANFD_POLL(fd, POLLIN)) < 0)
		return errno;
	size = recv(fd, reply, sizeof(*reply), MSG_DONTWAIT);
	if (size < 0)
		return errno;
	return size ? reply->error : ECONNRESET;
}

/* Exits with 1 if it was called off. */
static void start_request(int server, char **argv, int answers, const int context[2])
{
	static struct answer answer;
	pid_t pid = fork();

	if (pid < 0)
		err(2, "request");
	if (pid)
		return;
	prctl(PR_SET_NAME, "hedge-request");
	close(context[1]);
	answer.server = server;
	answer.reply.error = ask(argv[server], argv[2], context[0], &answer.reply);
	_exit(chanfd_put(answers, answer, CHANFD_OPT(context[0], 0, 0)) && errno == ECANCELED);
}

int main(int argc, char **argv)
{
	int64_t delay = argc > 3 ? (int64_t)(atof(argv[1]) * CHANFD_SECOND) : 0;
	int context[2], answers[2], next = 3, called_off = 0, status;
	static struct answer answer;

	if (delay <= 0)
		errx(2, "usage: hedge DELAY FILE SERVER...\n"
		     "Asks the first SERVER (a socket of serve) for FILE, and after each DELAY, in\n"
		     "seconds, one more. Prints the first answer.");
	if (chanfd_context_pair(context, -1) ||
	    chanfd_channel_pair(answers, sizeof(struct answer), 0, 0, "answers"))
		errx(2, "%s", chanfd_strerror_hint(errno));

	for (answer.reply.error = -1; answer.reply.error;) {
		if (next < argc) {
			start_request(next++, argv, answers[1], context);
			if (next == argc)
				close(answers[1]);
		}
		/* After the last one there is nothing more to do than to wait. */
		if (chanfd_get(answers[0], &answer, CHANFD_OPT(-1, 0, next < argc ?
			       chanfd_deadline(delay) : 0)) == 1) {
			if (answer.reply.error)
				warnx("%s: %s", argv[answer.server], strerror(answer.reply.error));
		} else if (errno == ECONNRESET) {
			errx(1, "no server has answered");
		} else if (errno != ETIMEDOUT) {
			err(2, "answers");
		}
	}

	/* All that could still send an answer gives up, and has when wait(2) is through. */
	chanfd_cancel(context[1], 0, NULL);
	while (wait(&status) > 0)
		called_off += WIFEXITED(status) && WEXITSTATUS(status) == 1;
	printf("%s says: %.*s", argv[answer.server], (int)answer.reply.size, answer.reply.text);
	printf("%d called off\n", called_off);
	return 0;
}
