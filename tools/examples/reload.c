// SPDX-License-Identifier: GPL-2.0
/*
 * reload: new configuration for processes that are at work.
 *
 *	           requests
 *	stdin --------------> workers, which look into the configuration at each request
 *	SIGHUP --> reads the file again --> cell --> their snapshots
 *
 * In Go:
 *
 *	var config atomic.Pointer[Config]	// config.Load() at each request
 *	config.Store(&fresh)			// on SIGHUP
 *
 * Here the workers are processes, and the look costs them no system call. A request sees
 * one version, old or new, and never a mixture. The file's second line is a switch: with
 * "degraded" all workers do less than they could, from their next request on.
 */
#include <chanfd.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define WORKERS		2
#define MAX_REQUEST	256

struct config {
	char greeting[64];
	int degraded;
};

static int requests[2], cell;

/* Returns 0 or -1, and then says why. */
static int read_config(const char *path, struct config *config)
{
	FILE *file = fopen(path, "re");
	char line[64] = "";

	*config = (struct config){ 0 };
	if (!file) {
		warn("%s", path);
		return -1;
	}
	if (fgets(config->greeting, sizeof(config->greeting), file) &&
	    fgets(line, sizeof(line), file))
		config->degraded = !strcmp(line, "degraded\n");
	fclose(file);
	if (!*config->greeting || (*line && !config->degraded)) {
		warnx("%s: not a greeting, and then nothing or \"degraded\"", path);
		return -1;
	}
	config->greeting[strcspn(config->greeting, "\n")] = 0;
	return 0;
}

/* Tasks return 0 or errno. */

static int work(int context, void *arg)
{
	struct chanfd_snapshot *snapshot = chanfd_snapshot_open(cell);
	const struct chanfd_copy *copy = snapshot ? chanfd_snapshot_get(snapshot) : NULL;
	char name[MAX_REQUEST];
	int more;

	(void)arg;
	prctl(PR_SET_NAME, "reload-worker");
	close(requests[1]);
	if (!copy)
		return errno;
	while ((more = chanfd_recv(requests[0], name, sizeof(name), CHANFD_OPT(context, 0, 0),
				   NULL)) == 1) {
		const struct config *config;

		copy = chanfd_snapshot_renew(snapshot, copy);
		config = copy->data;
		if (config->degraded)
			dprintf(STDOUT_FILENO, "%s\n", config->greeting);
		else
			dprintf(STDOUT_FILENO, "%s, %s\n", config->greeting, name);
	}
	chanfd_snapshot_put(copy);
	chanfd_snapshot_close(snapshot);
	return more ? errno : 0;
}

/* In the parent, as a thread. */
static int read_requests(int context, void *arg)
{
	const struct chanfd_opt opt = { .context = context };
	char name[MAX_REQUEST];

	(void)arg;
	setvbuf(stdin, NULL, _IONBF, 0);	/* so that it has nothing that poll can't see */
	for (;;) {
		if (chanfd_select_of(&opt, NULL, CHANFD_POLL(STDIN_FILENO, POLLIN)) < 0)
			return errno;
		if (!fgets(name, sizeof(name), stdin))
			break;
		name[strcspn(name, "\n")] = 0;
		if (chanfd_send(requests[1], name, strlen(name) + 1, &opt))
			return errno;
	}
	return chanfd_close(requests[1], 0) ? errno : 0;
}

static void on_hangup(int hangups, const char *path)
{
	struct signalfd_siginfo info;
	struct config config;
	uint64_t version;

	if (read(hangups, &info, sizeof(info)) != sizeof(info))
		err(1, "signalfd");
	if (read_config(path, &config))
		return;		/* what was there stays */
	if (chanfd_store(cell, &config, sizeof(config), &version))
		err(1, "store");
	warnx("version %" PRIu64, version);
}

int main(int argc, char **argv)
{
	chanfd_auto_group struct chanfd_group *group = NULL;
	struct config config;
	sigset_t hangup;
	int hangups, i;

	if (argc != 2)
		errx(2, "usage: reload FILE <NAMES");
	cell = chanfd_cell(sizeof(config), 0, "config");
	group = chanfd_group(-1, 0);
	if (cell < 0 || !group ||
	    chanfd_channel_pair(requests, MAX_REQUEST, 0, CHANFD_VARIABLE, "requests"))
		errx(1, "%s", chanfd_strerror_hint(errno));
	if (read_config(argv[1], &config) || chanfd_store(cell, &config, sizeof(config), NULL))
		return 1;
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	sigprocmask(SIG_BLOCK, &hangup, NULL);
	hangups = signalfd(-1, &hangup, SFD_CLOEXEC);
	if (hangups < 0)
		err(1, "signalfd");

	for (i = 0; i < WORKERS; i++)
		if (chanfd_group_fork(group, work, NULL, NULL) < 0)
			err(1, "worker");
	if (chanfd_group_go(group, read_requests, NULL, NULL))
		err(1, "thread");
	while (chanfd_select_of(NULL, NULL, CHANFD_POLL(hangups, POLLIN),
				CHANFD_WAIT(chanfd_group_waitgroup(group))) == 0)
		on_hangup(hangups, argv[1]);
	if (chanfd_group_wait(group, NULL))
		errx(1, "%s", chanfd_strerror_hint(errno));
	return 0;
}
