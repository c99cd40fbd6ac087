// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz: run random programs on the module, guided by what they execute in it.
 *
 * A program that executes something in the module that none did before is kept, and
 * others are made from it. "Something" is a step from one basic block to another (KCOV
 * tells their addresses; only the module is built to tell), or a new error of a call.
 *
 * Before a program is run its text is written to a ring in memory that outlives the
 * machine (a device of QEMU's whose memory is a file of the host's), so whatever happens,
 * it can be repeated.
 *
 * The work is done by a child, so that what is wrong with it ends the child only; and by
 * a new one now and then, as the end of a process is of interest, too.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "execute.h"
#include "mutate.h"

#define SIGNALS		(64 << 10)
#define MAX_TEXT	(512 << 10)	/* bytes of the module */
#define POOL		(64 << 20)	/* bytes of the corpus */
#define MAX_CORPUS	10000
#define PROGRAMS	1000		/* of one worker */
#define HANG		90		/* seconds without a program that ended */
#define REPORT		10		/* seconds between two reports */

/* Exit status of ours, and of a worker. */
enum { DONE = 0, WRONG = 3, HANGS = 4 };

/* The ring: see ring() in run, which reads it. */
#define RING_SLOTS	64
struct ring {
	uint64_t next;			/* of the next program; they count from 0 */
	char reserved[4096 - 8];
	char slot[RING_SLOTS][TEXT_SIZE];
};

/* What workers leave to those who come after them. */
static struct shared {
	uint64_t programs;
	uint64_t blocks;
	uint64_t signals;
	bool lets_fail;			/* the program that is run */
	size_t loaded_at;		/* what is next of the programs that were given */
	uint64_t end;
	int nr_corpus;
	size_t pool_used;
	size_t corpus[MAX_CORPUS];	/* where it is in the pool */
	uint8_t seen[SIGNALS];
	uint8_t covered[MAX_TEXT];
	char wrong[1024];
	char pool[POOL];
} *shared;

static struct ring *ring;
static char *loaded = "";		/* programs that were given */
static uint64_t text_start, text_size;
static int corpus_file = -1;
static long times;			/* to repeat what was given; 0: to fuzz */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Coverage */

/* The signals of the last run, each once. */
static uint32_t stamp[SIGNALS], run;
static int hits[SIGNALS], nr_hits;

static void hit(uint64_t what)
{
	unsigned int signal = (unsigned int)((what * 0x9e3779b97f4a7c15) >> 48);

	if (stamp[signal] == run)
		return;
	stamp[signal] = run;
	hits[nr_hits++] = (int)signal;
}

static void follow(const uint64_t *trace)
{
	uint64_t n = __atomic_load_n(&trace[0], __ATOMIC_RELAXED), i, last = 0;

	for (i = 1; i <= n; i++) {
		uint64_t at = trace[i] - text_start;

		if (at >= text_size)
			continue;
		if (!shared->covered[at]) {
			shared->covered[at] = 1;
			shared->blocks++;
		}
		hit(last << 20 | at);
		last = at;
	}
}

static void put_in_ring(const struct program *p)
{
	static char text[TEXT_SIZE];

	print_program(p, text);
	memcpy(ring->slot[ring->next % RING_SLOTS], text, strlen(text) + 1);
	__atomic_store_n(&ring->next, ring->next + 1, __ATOMIC_RELEASE);
}

/* Runs a program, and ends the worker if anything is wrong then. */
static void run_program(const struct program *p)
{
	const char *wrong;
	int i;

	put_in_ring(p);
	shared->lets_fail = false;
	for (i = 0; i < p->nr; i++)
		shared->lets_fail |= p->steps[i].fail;
	wrong = execute(p);
	shared->programs++;
	if (wrong) {
		snprintf(shared->wrong, sizeof(shared->wrong), "%s", wrong);
		_exit(WRONG);
	}
	run++;
	nr_hits = 0;
	for (i = 0; i < NR_THREADS; i++)
		if (executor_trace(i))
			follow(executor_trace(i));
}

/* The corpus */

static void keep(const struct program *p)
{
	char *text = shared->pool + shared->pool_used;
	size_t len;

	if (shared->nr_corpus == MAX_CORPUS || POOL - shared->pool_used < TEXT_SIZE)
		return;
	print_program(p, text);
	len = strlen(text);
	shared->corpus[shared->nr_corpus++] = shared->pool_used;
	shared->pool_used += len + 1;
	if (corpus_file >= 0 && (write(corpus_file, text, len) < 0 ||
				 write(corpus_file, "\n", 1) < 0))
		err(2, "corpus");
}

static bool has_all(const int *signals, int nr)
{
	while (nr--)
		if (stamp[signals[nr]] != run)
			return false;
	return true;
}

/* Leaves out what it does not need to do what is new. */
static void minimise(struct program *p, const int *news, int nr)
{
	int i;

	for (i = p->nr - 1; i >= 0 && p->nr > 1; i--) {
		struct program shorter = *p;

		delete_step(&shorter, i);
		run_program(&shorter);
		if (has_all(news, nr))
			*p = shorter;
	}
}

static void run_and_judge(struct program *p)
{
	static int news[SIGNALS];
	int nr = 0, i;

	run_program(p);
	for (i = 0; i < nr_hits; i++)
		if (!shared->seen[hits[i]])
			news[nr++] = hits[i];
	if (!nr)
		return;
	for (i = 0; i < nr; i++)
		shared->seen[news[i]] = 1;
	shared->signals += (uint64_t)nr;
	minimise(p, news, nr);
	keep(p);
}

/* What is new is more likely to lead on. */
static void choose(struct program *p)
{
	unsigned int nr = (unsigned int)shared->nr_corpus, back = below(nr);

	if (!below(3))
		back %= 32;
	parse_program(shared->pool + shared->corpus[nr - 1 - back], p);
}

static void fuzz(void)
{
	static struct program p, other;
	int i;

	for (i = 0; i < PROGRAMS && now() < (double)shared->end; i++) {
		if (loaded[shared->loaded_at]) {
			const char *text = loaded + shared->loaded_at;

			text = parse_program(text, &p);
			/* Who breaks off here must not begin with the same one again. */
			shared->loaded_at = (size_t)(text - loaded);
			if (!p.nr)
				continue;
		} else if (!shared->nr_corpus || !below(5)) {
			make_program(&p);
		} else {
			choose(&p);
			choose(&other);
			mutate_program(&p, &other);
		}
		run_and_judge(&p);
	}
}

static void repeat(void)
{
	static struct program p;
	const char *text;
	long i;

	for (i = 0; i < times && now() < (double)shared->end; i++)
		for (text = loaded; *text;) {
			text = parse_program(text, &p);
			if (p.nr)
				run_program(&p);
		}
}

/* Workers */

static pid_t start_worker(uint64_t seed)
{
	pid_t pid = fork();

	if (pid < 0)
		err(2, "fork");
	if (pid)
		return pid;
	seed_random(seed);
	executor_start();
	if (times)
		repeat();
	else
		fuzz();
	_exit(DONE);
}

static void report(double start)
{
	double t = now() - start;

	printf("# %4.0f s: %llu programs, %.0f/s, %llu blocks, %llu signals, corpus %d\n",
	       t, (unsigned long long)shared->programs, (double)shared->programs / t,
	       (unsigned long long)shared->blocks, (unsigned long long)shared->signals,
	       shared->nr_corpus);
	fflush(stdout);
}

/* Says to the console who is where, which ends the machine if so configured. */
static void show_blocked_tasks(void)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY);

	if (fd >= 0 && (write(fd, "l", 1) < 0 || write(fd, "w", 1) < 0))
		warn("sysrq");
}

/* Waits for the worker; its exit status, or HANGS. */
static int watch(pid_t pid, double start)
{
	const struct timespec tick = { .tv_nsec = 100000000 };
	static double said;
	uint64_t programs = shared->programs;
	double alive = now();
	int status;

	if (said < start)
		said = start;

	while (!waitpid(pid, &status, WNOHANG)) {
		nanosleep(&tick, NULL);
		if (programs != shared->programs) {
			programs = shared->programs;
			alive = now();
		}
		if (now() - alive > HANG) {
			show_blocked_tasks();
			snprintf(shared->wrong, sizeof(shared->wrong),
				 "a program does not end");
			kill(pid, SIGKILL);
			return HANGS;
		}
		if (now() - said > REPORT) {
			report(start);
			said = now();
		}
	}
	/* A signal came just when the kernel was to let something fail: its frame. */
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV && shared->lets_fail)
		return DONE;
	if (WIFSIGNALED(status)) {
		snprintf(shared->wrong, sizeof(shared->wrong), "the worker died of signal %d",
			 WTERMSIG(status));
		return WRONG;
	}
	return WEXITSTATUS(status);
}

/* Setting up */

static void *map(size_t size, int fd)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	if (p == MAP_FAILED)
		err(2, "mmap");
	return p;
}

static bool says(const char *dir, const char *file, const char *what)
{
	char path[256], text[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(text, sizeof(text), f))
		*text = 0;
	fclose(f);
	return !strcmp(text, what);
}

/* The memory that outlives the machine: of the device ivshmem-plain. */
static void find_ring(void)
{
	glob_t dirs = { 0 };
	char path[256];
	int fd = -1;
	size_t i;

	glob("/sys/bus/pci/devices/*", 0, NULL, &dirs);
	for (i = 0; i < dirs.gl_pathc && fd < 0; i++) {
		if (!says(dirs.gl_pathv[i], "device", "0x1110\n"))
			continue;
		snprintf(path, sizeof(path), "%s/resource2", dirs.gl_pathv[i]);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	globfree(&dirs);
	ring = map(sizeof(*ring), fd);
}

static void find_module(void)
{
	FILE *modules = fopen("/proc/modules", "re");
	FILE *text = fopen("/sys/module/chanfd/sections/.text", "re");
	char line[512];

	while (modules && fgets(line, sizeof(line), modules))
		sscanf(line, "chanfd %lu", &text_size);
	if (!text || fscanf(text, "%lx", &text_start) != 1 || !text_size)
		errx(2, "the module is not loaded");
	fclose(text);
	fclose(modules);
	if (text_size > MAX_TEXT)
		text_size = MAX_TEXT;
}

static char *load(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	if (!f)
		err(2, "%s", path);
	if (getdelim(&text, &size, 0, f) < 0)
		text = strdup("");
	fclose(f);
	return text;
}

static void write_covered(const char *path)
{
	FILE *f = fopen(path, "we");
	size_t i;

	if (!f)
		err(2, "%s", path);
	for (i = 0; i < text_size; i++)
		if (shared->covered[i])
			fprintf(f, "%zx\n", i);
	fclose(f);
}

/* Every ioctl, and every structure's member and its size, that is described. */
static void list(void)
{
	const struct field *f;
	int i;

	for (i = 0; i < nr_calls; i++) {
		if (nr_fields(calls[i].fields) > MAX_FIELDS ||
		    nr_fields(calls[i].parts) > MAX_PARTS)
			errx(2, "%s has too many fields", calls[i].name);
		if (calls[i].define)
			printf("%s 0\n", calls[i].define);
		for (f = calls[i].fields; f->name; f++)
			if (f->of)
				printf("%s.%s %zu\n", f->of, f->name, f->size);
		for (f = calls[i].parts; f && f->name; f++)
			if (f->of)
				printf("%s.%s %zu\n", f->of, f->name, f->size);
	}
}

static void explain(void)
{
	errx(2, "usage: --list, or [--seconds N] [--seed N] [--out DIR] [--corpus FILE],\n"
	     "or --repeat FILE [--times N] [--seconds N]");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "list", no_argument, NULL, 'l' },
		{ "seconds", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 's' },
		{ "out", required_argument, NULL, 'o' },
		{ "corpus", required_argument, NULL, 'c' },
		{ "repeat", required_argument, NULL, 'r' },
		{ "times", required_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	const char *out = NULL;
	double start, seconds = 60;
	uint64_t seed = 1;
	char path[256];
	int option, status;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 'l':
			list();
			return DONE;
		case 't':
			seconds = atof(optarg);
			break;
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'o':
			out = optarg;
			break;
		case 'r':
			times = times ? times : 1;
			loaded = load(optarg);
			break;
		case 'c':
			loaded = load(optarg);
			break;
		case 'n':
			times = atol(optarg);
			break;
		default:
			explain();
		}
	}
	if (optind < argc)
		explain();
	find_module();
	find_ring();
	shared = map(sizeof(*shared), -1);
	if (out && !times) {
		snprintf(path, sizeof(path), "%s/corpus", out);
		corpus_file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	}
	start = now();
	shared->end = (uint64_t)(start + seconds);
	do
		status = watch(start_worker(seed++ * 1000003), start);
	while (!status && !times && now() < (double)shared->end);
	report(start);
	if (out) {
		snprintf(path, sizeof(path), "%s/covered", out);
		write_covered(path);
	}
	if (status)
		printf("wrong: %s\n", shared->wrong);
	return status;
}
