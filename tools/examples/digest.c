// SPDX-License-Identifier: GPL-2.0
/*
 * digest: print what sha256sum prints for every file below some directories.
 *
 * The parent starts the walker and the workers, and then waits in one place,
 * the select in run(). Its memory is bounded: at most WINDOW files are known
 * and not yet printed. While there are more it does not receive from the
 * index, which stops the walker, and thereby the workers.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "digest.h"

#define WINDOW		256
#define MAX_WORKERS	256
#define QUEUE		64	/* paths that wait for a worker */
#define NOTHING		UINT64_MAX
#define GRACE		(2 * 1000000000LL)	/* to stop in, before SIGKILL */

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define STATUS_BAD_FILE	1	/* as with sha256sum: some could not be read */
#define STATUS_FAILED	2
#define STATUS_DEADLINE	124	/* as with timeout(1) */
#define STATUS_SIGNAL	128	/* and the signal's number, as in the shell */

static struct {
	unsigned int workers;
	int64_t deadline;		/* ns, 0 for none */
	const char *deadline_text;
	uint64_t kill;			/* the job whose worker is killed */
} option = { .kill = NOTHING };

/* A file that is known and not yet printed. */
struct slot {
	struct job job;
	bool finished;
	int error;			/* why it could not be read */
	uint8_t digest[DIGEST_SIZE];
};

static struct {
	/* The ends that the parent keeps; -1 when there is nothing more to come. */
	int index, results;		/* to receive from */
	int paths;			/* only to show it in /proc/PID/fdinfo */
	int members;			/* waitgroup, to wait for */
	int deaths;			/* the same, as long as there may be some */
	int context, cancel;		/* the two sides of the context */
	int signals;			/* signalfd */

	pid_t walker;
	pid_t worker[MAX_WORKERS];	/* 0 once reaped */

	struct slot window[WINDOW];	/* by job number modulo WINDOW */
	uint64_t printed;		/* jobs before this one are printed */
	uint64_t known;			/* and before this one are in the window */
	unsigned int broken;		/* members that died */
	bool killed;			/* what --kill-a-worker asks for was done */
	int status;			/* to exit with */
} run;

/* ------------------------------------------------------------- the output */

static bool show_progress;

/* To standard error. */
__attribute__((format(printf, 1, 2)))
static void say(const char *format, ...)
{
	va_list args;

	if (show_progress)
		fprintf(stderr, "\r\033[K");
	va_start(args, format);
	vwarnx(format, args);
	va_end(args);
}

/* Writes a path as sha256sum does, and tells whether that changed it. */
static bool escape(char to[2 * PATH_SIZE], const char *path)
{
	static const char special[] = "\\\n\r", letter[] = "\\nr";
	bool changed = false;

	for (; *path; path++) {
		const char *c = strchr(special, *path);

		if (c) {
			*to++ = '\\';
			changed = true;
		}
		*to++ = c ? letter[c - special] : *path;
	}
	*to = '\0';
	return changed;
}

static const char *escaped(const char *path)
{
	static char text[2 * PATH_SIZE];

	escape(text, path);
	return text;
}

static void print(const struct slot *slot)
{
	static char path[2 * PATH_SIZE];

	if (slot->error) {
		say("%s: %s", escaped(slot->job.path), strerror(slot->error));
		run.status = STATUS_BAD_FILE;
		return;
	}
	if (escape(path, slot->job.path))
		putchar('\\');
	for (int i = 0; i < DIGEST_SIZE; i++)
		printf("%02x", slot->digest[i]);
	printf("  %s\n", path);
}

/* -------------------------------------------------------------- the window */

static struct slot *slot_of(uint64_t number)
{
	return &run.window[number % WINDOW];
}

/* Stop everything: every process finds out in whatever it waits for. */
static void cancel(int cause, const char *text, int status)
{
	run.status = status;
	if (chanfd_cancel(run.cancel, cause, text))
		err(STATUS_FAILED, "cancel");
}

static void print_finished(void)
{
	for (; run.printed < run.known; run.printed++) {
		if (!slot_of(run.printed)->finished)
			break;
		print(slot_of(run.printed));
		if (show_progress && (run.printed + 1) % 64 == 0)
			fprintf(stderr, "\r%" PRIu64 " files", run.printed + 1);
	}
	if (ferror(stdout))
		cancel(EIO, "the output could not be written", STATUS_FAILED);
}

/* ------------------------------------------------------ what the select says */

/* What came from it until then must not pass for the whole list. */
static void walker_died(void)
{
	cancel(ECONNRESET, "the walker died", STATUS_FAILED);
}

static void on_job(const struct chanfd_outcome *out)
{
	if (out->ok) {
		slot_of(run.known++)->finished = false;
		return;
	}
	run.index = -1;
	if (out->error == ECONNRESET)
		walker_died();
	else if (out->error)
		cancel(out->error, "the walker could not go on", STATUS_FAILED);
}

static void kill_worker(const struct report *report)
{
	pid_t pid = run.worker[report->worker];

	if (!pid)
		return;		/* somebody was faster */
	say("kill -9 %d: worker %u, which has just taken file %" PRIu64,
	    pid, report->worker + 1, report->number + 1);
	kill(pid, SIGKILL);
	run.killed = true;
}

static void on_report(const struct report *report)
{
	struct slot *slot = slot_of(report->number);

	/* Who dies between the result and the commit has it done twice: no harm. */
	if (report->number < run.printed || slot->finished)
		return;
	if (report->what == TAKEN) {
		if (report->number == option.kill && !run.killed)
			kill_worker(report);
		else
			say("%s is done again", escaped(slot->job.path));
		return;
	}
	slot->finished = true;
	slot->error = report->error;
	memcpy(slot->digest, report->digest, DIGEST_SIZE);
	print_finished();
}

/* All workers have gone: true if that is because all is done. */
static bool all_done(void)
{
	if (run.index < 0 && run.printed == run.known)
		return true;
	run.results = -1;
	cancel(ECHILD, "no worker is left", STATUS_FAILED);
	return false;
}

static const char *how(int status)
{
	return WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it gave up";
}

/* A token breaks while its holder is exiting, so this does not wait for long. */
static void bury(unsigned int broken)
{
	for (unsigned int dead = run.broken; dead < broken;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);
		bool died = !WIFEXITED(status) || WEXITSTATUS(status);

		if (pid < 0)
			err(STATUS_FAILED, "wait");
		dead += died;
		if (pid == run.walker) {
			run.walker = 0;
			if (died)
				walker_died();
		}
		for (unsigned int i = 0; i < option.workers; i++) {
			if (pid != run.worker[i])
				continue;
			run.worker[i] = 0;
			if (died)
				say("the waitgroup is broken (%s): worker %u (%d) died: %s",
				    strerror(EOWNERDEAD), i + 1, pid, how(status));
		}
	}
	run.broken = broken;
}

static void on_signal(void)
{
	struct signalfd_siginfo info;
	char text[CHANFD_TEXT_LEN];

	if (read(run.signals, &info, sizeof(info)) != sizeof(info))
		err(STATUS_FAILED, "signalfd");
	snprintf(text, sizeof(text), "SIG%s", sigabbrev_np(info.ssi_signo));
	cancel(ECANCELED, text, STATUS_SIGNAL + info.ssi_signo);
}

static void on_cancelled(void)
{
	struct chanfd_context_info info;

	if (chanfd_context_info(run.context, &info))
		err(STATUS_FAILED, "context info");
	if (info.error == ETIMEDOUT) {
		run.status = STATUS_DEADLINE;
		say("stopped after %" PRIu64 " files: the deadline of %s has passed",
		    run.printed, option.deadline_text);
	} else {
		say("stopped after %" PRIu64 " files: %s (%s)", run.printed,
		    (const char *)info.text, strerror(info.cause));
	}
}

/* Returns when the workers are done, or are to stop. */
static void parent(void)
{
	const struct chanfd_opt ordered = { .context = -1, .flags = CHANFD_ORDERED };
	struct chanfd_outcome out;
	struct report report;

	for (;;) {
		bool room = run.known - run.printed < WINDOW;
		struct job *next = &slot_of(run.known)->job;
		enum { CANCELLED, SIGNAL, DEATH, JOB, REPORT };
		const struct chanfd_case cases[] = {
			[CANCELLED] = CHANFD_DONE(run.context),
			[SIGNAL] = CHANFD_POLL(run.signals, POLLIN),
			[DEATH] = CHANFD_BROKEN(run.deaths, run.broken),
			[JOB] = CHANFD_RECV(room ? run.index : -1, next),
			[REPORT] = CHANFD_RECV(run.results, &report),
		};

		switch (chanfd_select(cases, REPORT + 1, &ordered, &out)) {
		case CANCELLED:
			on_cancelled();
			return;
		case SIGNAL:
			on_signal();
			break;
		case DEATH:
			if (out.size != run.broken)
				bury(out.size);
			else
				run.deaths = -1;	/* the count is zero */
			break;
		case JOB:
			on_job(&out);
			break;
		case REPORT:
			if (out.ok)
				on_report(&report);
			else if (all_done())
				return;
			break;
		default:
			err(STATUS_FAILED, "select");
		}
	}
}

/* ---------------------------------------------------------- the processes */

/* Every end of everything, as made, before each process keeps its own. */
struct ends {
	int index[2], paths[2], results[2], members[2], context[2];
};

static void make(struct ends *e)
{
	struct chanfd_context context = CHANFD_CONTEXT_INIT;
	const char *hint;

	context.flags = CHANFD_PAIR;
	memcpy(context.name, "digest", sizeof("digest"));
	if (option.deadline)
		context.deadline = chanfd_deadline(option.deadline);
	if (chanfd_context_make(&context) ||
	    chanfd_channel_pair(e->index, sizeof(struct job), 0, CHANFD_VARIABLE, "index") ||
	    chanfd_channel_pair(e->paths, sizeof(struct job), QUEUE, CHANFD_VARIABLE, "paths") ||
	    chanfd_channel_pair(e->results, sizeof(struct report), QUEUE, 0, "results") ||
	    chanfd_waitgroup_pair(e->members, 0, "workers")) {
		hint = chanfd_strerror_hint(errno);
		warn("/dev/chanfd");
		if (hint)
			warnx("%s", hint);
		exit(STATUS_FAILED);
	}
	memcpy(e->context, context.fd, sizeof(e->context));
}

static void close_all(const int *fds)
{
	for (; *fds >= 0; fds++)
		close(*fds);
}

#define CLOSE(...) close_all((const int[]){ __VA_ARGS__, -1 })

/* Being told to stop, or that the parent is gone, is nothing to complain about. */
static bool complain(const char *who, int error)
{
	if (!error || error == ECANCELED || error == ETIMEDOUT || error == ECONNRESET)
		return false;
	errno = error;
	warn("%s", who);
	return true;
}

/* As fork(2), but the child holds a token of the waitgroup, and it does not fail. */
static pid_t fork_member(const struct ends *e, const char *name, int *token)
{
	pid_t pid;

	*token = chanfd_wg_token(e->members[1], 0);
	pid = *token < 0 ? -1 : fork();
	if (pid < 0)
		err(STATUS_FAILED, "%s", name);
	if (pid)
		close(*token);
	else
		prctl(PR_SET_NAME, name);
	return pid;
}

static pid_t start_walker(const struct ends *e, char **roots)
{
	struct walker w = {
		.roots = roots,
		.index = e->index[1],
		.paths = e->paths[1],
		.context = e->context[0],
	};
	int token;
	pid_t pid = fork_member(e, "digest-walker", &token);

	if (pid)
		return pid;
	CLOSE(e->index[0], e->paths[0], e->results[0], e->results[1],
	      e->members[0], e->members[1], e->context[1], run.signals);
	complain("walker", walk(&w));
	chanfd_token_done(token, 0);
	_exit(0);
}

static pid_t start_worker(const struct ends *e, uint32_t id)
{
	struct worker w = {
		.id = id,
		.paths = e->paths[0],
		.results = e->results[1],
		.context = e->context[0],
		.hold = option.kill,
	};
	int token;
	pid_t pid = fork_member(e, "digest-worker", &token);

	if (pid)
		return pid;
	CLOSE(e->index[0], e->index[1], e->paths[1], e->results[0],
	      e->members[0], e->members[1], e->context[1], run.signals);
	if (complain("worker", work(&w)))
		_exit(1);
	chanfd_token_done(token, 0);
	_exit(0);
}

/*
 * At every exit: nobody is left behind. Who does not stop when told to, because
 * a file of his hangs, is killed.
 */
static void end(void)
{
	struct chanfd_opt grace = CHANFD_OPT_INIT;

	chanfd_cancel(run.cancel, 0, NULL);
	grace.deadline = chanfd_deadline(GRACE);
	chanfd_wg_wait(run.members, &grace, NULL);
	if (run.walker)
		kill(run.walker, SIGKILL);
	for (unsigned int i = 0; i < option.workers; i++)
		if (run.worker[i])
			kill(run.worker[i], SIGKILL);
	while (wait(NULL) > 0)
		;
}

static void start(char **roots)
{
	struct ends e;
	sigset_t stop;

	/* Blocked before the fork, so that Ctrl-C cancels the children and kills none. */
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGHUP);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);
	run.signals = signalfd(-1, &stop, SFD_CLOEXEC);
	if (run.signals < 0)
		err(STATUS_FAILED, "signalfd");

	make(&e);
	run.index = e.index[0];
	run.paths = e.paths[0];
	run.results = e.results[0];
	run.members = e.members[0];
	run.deaths = run.members;
	run.context = e.context[0];
	run.cancel = e.context[1];

	atexit(end);
	run.walker = start_walker(&e, roots);
	for (unsigned int i = 0; i < option.workers; i++)
		run.worker[i] = start_worker(&e, i);
	CLOSE(e.index[1], e.paths[1], e.results[1], e.members[1]);
}

/* ------------------------------------------------------------ the command */

static const char usage[] =
"Usage: digest [OPTION]... PATH...\n"
"Print what sha256sum prints for every file below each PATH, sorted.\n"
"\n"
"  --workers N          how many processes hash (one per processor, at least 2)\n"
"  --deadline DUR       stop after this time: 50ms, 1.5s, 2m\n"
"  --kill-a-worker[=N]  kill -9 the worker that takes file number N (20)\n"
"  --help               this text\n"
"\n"
"Exit status: 0, all is printed; 1, but some files could not be read; 2, it\n"
"failed; 124, the deadline passed; 128 + N, signal N (as Ctrl-C) stopped it.\n";

static uint64_t parse_number(const char *text, uint64_t most)
{
	char *rest;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &rest, 10);
	if (errno || *rest || n < 1 || n > most || *text == '-')
		errx(STATUS_FAILED, "%s: not a number from 1 to %" PRIu64, text, most);
	return n;
}

static int64_t parse_duration(const char *text)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {
		{ "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 },
		{ "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 },
	};
	char *unit;
	double ns = strtod(text, &unit);

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(unit, units[i].name) && ns * units[i].ns >= 1 &&
		    ns * units[i].ns < 9e18)
			return ns * units[i].ns;
	errx(STATUS_FAILED, "%s: not a duration like 50ms, 1.5s or 2m", text);
}

static char **parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "workers", required_argument, NULL, 'w' },
		{ "deadline", required_argument, NULL, 'd' },
		{ "kill-a-worker", optional_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int c;

	option.workers = processors < 2 ? 2 : processors > MAX_WORKERS ? MAX_WORKERS : processors;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		const char *value = optarg ? optarg : "";

		switch (c) {
		case 'w':
			option.workers = parse_number(value, MAX_WORKERS);
			break;
		case 'd':
			option.deadline_text = value;
			option.deadline = parse_duration(value);
			break;
		case 'k':
			option.kill = parse_number(*value ? value : "20", NOTHING - 1) - 1;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			exit(STATUS_FAILED);
		}
	}
	if (!argv[optind]) {
		fputs(usage, stderr);
		exit(STATUS_FAILED);
	}
	if (option.kill != NOTHING && option.workers < 2)
		errx(STATUS_FAILED, "--kill-a-worker: one more must be there to go on");
	return argv + optind;
}

int main(int argc, char **argv)
{
	char **roots = parse_options(argc, argv);

	show_progress = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO) &&
			strcmp(getenv("TERM") ?: "dumb", "dumb");
	start(roots);
	parent();
	if (fflush(stdout) && !run.status)
		err(STATUS_FAILED, "the output could not be written");
	if (show_progress)
		fprintf(stderr, "\r\033[K");
	if (option.kill != NOTHING && !run.killed && !run.status)
		errx(STATUS_FAILED, "--kill-a-worker: nobody took file %" PRIu64,
		     option.kill + 1);
	return run.status;
}
