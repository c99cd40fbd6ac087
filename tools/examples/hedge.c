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
 * Here a request is a process of a group. The channel need not be buffered, as the
 * losers' sends are called off too. The servers are instances of serve.c.
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
#include <unistd.h>

#include "serve.h"

struct answer {
	const char *server;	/* the same string in all processes */
	struct reply reply;
};

static const char *file;
static int answers[2];

/* Returns 0 or errno: ECANCELED as soon as @context is done. */
static int ask(const char *server, int context, struct reply *reply)
{
	chanfd_auto int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	ssize_t size;

	strncpy(address.sun_path, server, sizeof(address.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    send(fd, file, strlen(file), MSG_NOSIGNAL) < 0 ||
	    chanfd_select_of(CHANFD_OPT(context, 0, 0), NULL, CHANFD_POLL(fd, POLLIN)) < 0)
		return errno;
	size = recv(fd, reply, sizeof(*reply), MSG_DONTWAIT);
	if (size < 0)
		return errno;
	return size ? reply->error : ECONNRESET;
}

/* A task of the group. */
static int ask_one(int context, void *server)
{
	static struct answer answer;

	prctl(PR_SET_NAME, "hedge-request");
	answer.server = server;
	answer.reply.error = ask(server, context, &answer.reply);
	return chanfd_put(answers[1], answer, CHANFD_OPT(context, 0, 0)) ? errno : 0;
}

/* Starts one request after the other until there is an answer. */
static void get_answer(struct answer *answer, struct chanfd_group *group, char **servers,
		       int64_t delay)
{
	do {
		if (*servers && chanfd_group_fork(group, ask_one, *servers++, NULL) < 0)
			err(2, "request");
		/* After the last one there is nothing more to do than to wait. */
		if (!*servers)
			chanfd_cleanup_fd(&answers[1]);
		if (chanfd_get(answers[0], answer,
			       CHANFD_OPT(-1, 0, *servers ? chanfd_deadline(delay) : 0)) < 0) {
			if (errno == ECONNRESET)
				errx(1, "no server has answered");
			if (errno != ETIMEDOUT)
				err(2, "answers");
			answer->reply.error = EAGAIN;
		} else if (answer->reply.error) {
			warnx("%s: %s", answer->server, strerror(answer->reply.error));
		}
	} while (answer->reply.error);
}

int main(int argc, char **argv)
{
	chanfd_auto_group struct chanfd_group *group = NULL;
	int64_t delay = argc > 3 ? (int64_t)(atof(argv[1]) * CHANFD_SECOND) : 0;
	static struct answer answer;
	int context;

	if (delay <= 0)
		errx(2, "usage: hedge DELAY FILE SERVER...\n"
		     "Asks the first SERVER (a socket of serve) for FILE, and after each DELAY, in\n"
		     "seconds, one more. Prints the first answer.");
	file = argv[2];
	context = chanfd_context(-1);
	group = context < 0 ? NULL : chanfd_group(context, CHANFD_KEEP_GOING);
	if (!group || chanfd_channel_pair(answers, sizeof(struct answer), 0, 0, "answers"))
		errx(2, "%s", chanfd_strerror_hint(errno));

	get_answer(&answer, group, argv + 3, delay);
	chanfd_cancel(context, 0, NULL);
	chanfd_group_wait(group, NULL);
	printf("%s says: %.*s", answer.server, (int)answer.reply.size, answer.reply.text);
	printf("%u called off\n", chanfd_group_failures(group, NULL, 0));
	return 0;
}
