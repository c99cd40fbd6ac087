// SPDX-License-Identifier: GPL-2.0
/*
 * cells SEED MILLISECONDS: cells that are stored to, swapped, loaded, read from the page
 * and waited for by processes that are killed all the time.
 *
 * A value says who stored it and which of theirs it is, and all its words follow from
 * that: so one that is torn is seen, and so is one that was never stored. Versions never
 * go back, neither for one who reads by turns in all ways that there are, nor for one who
 * begins when another has read. In the end the version counts the stores that were made,
 * and one number that everybody adds to by compare-and-store is the sum of it.
 */
#include "torture.h"

#define PROCESSES	5
#define GENERATION	(300 * MSEC)
#define WORDS		2000	/* of a value at the most */

struct value {
	uint32_t words;		/* all of them */
	uint32_t number;
	uint32_t filler[WORDS - 2];
};

static struct books {
	int cell, sum;
	const struct chanfd_cell_page *page;
	atomic_ulong seen;	/* the newest version that somebody has read */
	atomic_uint begun, stored;
	atomic_uint adding, added;
	atomic_bool stop;
	atomic_int wrong;
	atomic_int error;
	atomic_uint reads, mapped, waits;
} *books;

enum { TORN = 1, BACK };
static const char * const wrongs[] = {
	[TORN] = "a value is torn",
	[BACK] = "a version goes back",
};

static unsigned int generations, killed, stored;

static uint32_t filler_of(const struct value *v, unsigned int i)
{
	return (v->number + i) * 2654435761U;
}

static size_t make_value(struct value *v)
{
	unsigned int i;

	/* Some fit the page, some do not. */
	v->words = 2 + below(below(4) ? 1000 : WORDS - 2);
	v->number = below(1 << 30);
	for (i = 0; i < v->words - 2; i++)
		v->filler[i] = filler_of(v, i);
	return v->words * sizeof(uint32_t);
}

static void check_value(const struct value *v, size_t size)
{
	unsigned int i;

	if (size < 2 * sizeof(uint32_t) || v->words * sizeof(uint32_t) != size) {
		books->wrong = TORN;
		return;
	}
	for (i = 0; i < v->words - 2; i++)
		if (v->filler[i] != filler_of(v, i))
			books->wrong = TORN;
}

/* @version was read, by a read that began when everybody had read up to @seen. */
static void have_read(uint64_t version, uint64_t seen)
{
	if (version < seen)
		books->wrong = BACK;
	for (seen = books->seen; seen < version;)
		if (atomic_compare_exchange_weak(&books->seen, &seen, version))
			break;
}

static void be_wrong(void)
{
	if (errno != EAGAIN && errno != EINTR && errno != ENODATA && errno != ETIMEDOUT)
		books->error = errno;
}

static void read_value(void)
{
	static struct value v;
	uint64_t seen = books->seen, version;
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	ssize_t n = -1;

	switch (below(3)) {
	case 0:
		n = chanfd_cell_read(books->page, &v, sizeof(v), &version);
		books->mapped += n > 0;
		break;
	case 1:
		n = chanfd_load(books->cell, &v, sizeof(v), &version);
		break;
	default:
		opt.deadline = chanfd_deadline(5 * MSEC);
		if (chanfd_cell_wait(books->cell, seen, &opt, &version)) {
			be_wrong();
			return;
		}
		books->waits++;
		have_read(version, seen);
		return;
	}
	if (n < 0) {
		be_wrong();
		return;
	}
	books->reads++;
	check_value(&v, n);
	have_read(version, seen);
}

static void store_value(void)
{
	static struct value v, old;
	uint64_t seen = books->seen, version;
	size_t size = make_value(&v);
	ssize_t n = 0;
	int err = 0;

	books->begun++;
	if (below(2)) {
		err = chanfd_store(books->cell, &v, size, &version);
	} else {
		n = chanfd_swap(books->cell, &v, size, &old, sizeof(old), &version);
		if (n > 0)
			check_value(&old, n);
		err = n < 0;
	}
	if (err) {
		be_wrong();
		return;
	}
	books->stored++;
	have_read(version, seen + 1);
}

static void add_one(void)
{
	uint64_t version, sum;

	if (chanfd_load(books->sum, &sum, sizeof(sum), &version) < 0) {
		be_wrong();
		return;
	}
	sum++;
	books->adding++;
	if (!chanfd_compare_and_store(books->sum, version, &sum, sizeof(sum), NULL)) {
		books->added++;
		return;
	}
	books->adding--;
	if (errno != ESTALE)
		be_wrong();
}

static pid_t begin(void)
{
	pid_t pid = fork_child();

	if (pid)
		return pid;
	while (!books->stop) {
		switch (below(4)) {
		case 0:
			store_value();
			break;
		case 1:
			add_one();
			break;
		default:
			read_value();
		}
	}
	_exit(0);
}

static void audit(const pid_t *pids)
{
	struct chanfd_cell_info info;
	uint64_t sum = 0;
	int i;

	books->stop = true;
	for (i = 0; i < PROCESSES; i++)
		if (!eventually(waitpid(pids[i], NULL, WNOHANG) == pids[i]))
			wrong("somebody does not come back from a cell");
	if (books->wrong)
		wrong("%s", wrongs[books->wrong]);
	if (books->error)
		wrong("a call failed: %s", strerror(books->error));
	if (chanfd_cell_info(books->cell, &info) || info.version < books->stored ||
	    info.version > books->begun || info.waiters)
		wrong("the version is %llu after %u to %u stores, %u wait",
		      info.version, books->stored, books->begun, info.waiters);
	if (chanfd_load(books->sum, &sum, sizeof(sum), NULL) < 0 || sum < books->added ||
	    sum > books->adding)
		wrong("the sum is %llu, and not %u to %u", (unsigned long long)sum, books->added,
		      books->adding);
}

static void generation(void)
{
	uint64_t end = now() + GENERATION, zero = 0;
	pid_t pids[PROCESSES];
	int i;

	memset(books, 0, offsetof(struct books, reads));
	books->cell = chanfd_cell(sizeof(struct value), 0, "cells");
	books->sum = chanfd_cell(sizeof(uint64_t), 0, "sum");
	books->page = chanfd_cell_map(books->cell);
	if (books->cell < 0 || books->sum < 0 || !books->page ||
	    chanfd_store(books->sum, &zero, sizeof(zero), NULL))
		err(1, "cells");
	for (i = 0; i < PROCESSES; i++)
		pids[i] = begin();
	do {
		pause_for(below(5 * MSEC));
		i = below(PROCESSES);
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		killed++;
		pids[i] = begin();
	} while (now() < end);
	audit(pids);
	stored += books->stored;
	chanfd_cell_unmap(books->page);
	close(books->cell);
	close(books->sum);
	generations++;
}

int main(int argc, char **argv)
{
	uint64_t end;

	if (argc < 3)
		errx(2, "usage: cells SEED MILLISECONDS");
	seed = strtoul(argv[1], NULL, 0);
	end = now() + strtoul(argv[2], NULL, 0) * MSEC;
	become(NOBODY);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	books = shared(sizeof(*books));
	do
		generation();
	while (!is_enough(end, stored && books->mapped && books->waits));
	printf("generations=%u killed=%u stored=%u reads=%u mapped=%u waits=%u\n", generations,
	       killed, stored, books->reads, books->mapped, books->waits);
	return 0;
}
