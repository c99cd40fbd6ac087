// SPDX-License-Identifier: GPL-2.0
/*
 * leases SEED MILLISECONDS: messages with files are received into leases by processes that
 * are killed all the time.
 *
 * A sender numbers its messages, and gives some of them files: the ends of a pipe, a
 * memfd, a handle. Receivers work on what they have leased and commit it, or drop it, or
 * are killed before. Each message must be committed exactly once, whoever was killed when,
 * and not come back after that; and when all is over no more files are open than before.
 */
#include <sys/stat.h>

#include "torture.h"

#define PROCESSES	5
#define GENERATION	(300 * MSEC)
#define MESSAGES	20000
#define FILES_TOLERATED	512		/* the kernel counts them CPU by CPU */

struct entry {
	atomic_uint came;
	atomic_bool begun;		/* to be committed */
	atomic_bool done;
};

static struct books {
	int channel;
	atomic_uint sent;
	atomic_int wrong;
	atomic_int error;
	atomic_uint messages, files, redelivered;
	struct entry entry[MESSAGES];
} *books;

enum { AGAIN = 1, UNMARKED, BAD_FILE };
static const char * const wrongs[] = {
	[AGAIN] = "a message came that had been committed",
	[UNMARKED] = "a message came again, and did not say so",
	[BAD_FILE] = "a file is not what was sent",
};

static unsigned int generations, killed;

/* A regular file's inode is its message's number. */
static int some_file(uint32_t number)
{
	int fd[2], memfd;

	switch (below(3)) {
	case 0:
		memfd = memfd_create("leases", MFD_CLOEXEC);
		if (memfd < 0 || ftruncate(memfd, number + 1))
			err(1, "memfd_create");
		return memfd;
	case 1:
		if (pipe2(fd, O_CLOEXEC))
			err(1, "pipe2");
		close(fd[0]);
		return fd[1];
	default:
		if (chanfd_channel_pair(fd, sizeof(number), 1, 0, "inside"))
			err(1, "chanfd_channel_pair");
		close(fd[0]);
		return fd[1];
	}
}

static void send_some(uint64_t end)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	uint32_t number;

	for (number = 0; number < MESSAGES && now() < end; number++) {
		int fds[3], n = below(4), i, error;

		for (i = 0; i < n; i++)
			fds[i] = some_file(number);
		opt.deadline = chanfd_deadline(BOUND);
		error = chanfd_send_fds(books->channel, &number, sizeof(number), fds, n, &opt);
		if (error)
			wrong("a message cannot be sent: %m");
		for (i = 0; i < n; i++)
			close(fds[i]);
		books->sent++;
		books->files += n;
	}
}

static void check_file(int fd, uint32_t number)
{
	struct stat st;

	if (fstat(fd, &st) || (S_ISREG(st.st_mode) && st.st_size != number + 1))
		books->wrong = BAD_FILE;
}

/* The next message, leased; the end is 0. */
static int lease_one(uint32_t *number, int *lease, const struct chanfd_opt *opt)
{
	struct chanfd_received r;
	unsigned int n = 4, i;
	int fds[4], ret;

	*lease = -1;
	if (below(2)) {
		struct chanfd_parcel p = {
			.buf = (uintptr_t)number, .size = sizeof(*number),
			.flags = CHANFD_LEASED, .lease = -1,
			.fds = (uintptr_t)fds, .nr_fds = n,
		};
		struct chanfd_outcome out;

		ret = chanfd_select_of(opt, &out, CHANFD_RECV_PARCEL(books->channel, &p));
		if (ret < 0 || out.error || !out.ok)
			return ret < 0 ? -1 : 0;
		n = p.nr_fds;
		*lease = p.lease;
		r.redelivered = p.redelivered;
	} else {
		/* Descriptors have nowhere to go where bytes have not. */
		struct chanfd_transfer t = {
			.flags = CHANFD_LEASED, .context = -1, .lease = -1, .count = 1,
			.buf = (uintptr_t)number, .size = sizeof(*number),
			.fds = (uintptr_t)fds, .nr_fds = n,
			.deadline = opt ? opt->deadline : 0,
		};

		ret = ioctl(books->channel, CHANFD_IOC_RECV, &t);
		if (ret <= 0)
			return ret;
		n = t.nr_fds;
		*lease = t.lease;
		r.redelivered = t.redelivered;
	}
	for (i = 0; i < n; i++) {
		check_file(fds[i], *number);
		close(fds[i]);
	}
	if (books->entry[*number].done)
		books->wrong = AGAIN;
	if (books->entry[*number].came && !r.redelivered)
		books->wrong = UNMARKED;
	books->redelivered += !!r.redelivered;
	books->entry[*number].came++;
	return 1;
}

static void commit_it(uint32_t number, int lease)
{
	struct entry *e = &books->entry[number];

	/* It may have been committed by one who was killed then; not by two. */
	e->begun = true;
	if (chanfd_commit(lease))
		books->error = errno;
	else
		e->done = true;
}

static pid_t begin(void)
{
	pid_t pid = fork_child();
	uint32_t number;
	int lease;

	if (pid)
		return pid;
	for (;;) {
		int ret = lease_one(&number, &lease, NULL);

		if (!ret)
			_exit(0);
		if (ret < 0) {
			if (errno != EINTR)
				books->error = errno;
			continue;
		}
		dawdle(MSEC / 5);
		if (below(4))
			commit_it(number, lease);
		close(lease);
	}
}

static unsigned long files_open(void)
{
	char text[64];

	if (!read_text("/proc/sys/fs/file-nr", text, sizeof(text)))
		err(1, "file-nr");
	return strtoul(text, NULL, 10);
}

static void audit(const pid_t *pids)
{
	struct chanfd_channel_info info;
	unsigned int i;

	for (i = 0; i < PROCESSES; i++)
		if (!eventually(waitpid(pids[i], NULL, WNOHANG) == pids[i])) {
			chanfd_channel_info(books->channel, &info);
			wrong("somebody still receives, with %u messages and %u leased", info.len,
			      info.leased);
		}
	if (books->wrong)
		wrong("%s", wrongs[books->wrong]);
	if (books->error)
		wrong("a call failed: %s", strerror(books->error));
	for (i = 0; i < books->sent; i++)
		if (!books->entry[i].begun)
			wrong("message %u of %u was never committed, and came %u times", i,
			      books->sent, books->entry[i].came);
	if (chanfd_channel_info(books->channel, &info) || info.len || info.leased || info.files ||
	    info.sent != books->sent || info.received != info.sent)
		wrong("%u sent; the channel: %llu, %llu received, %u left, %u leased, %u files",
		      books->sent, info.sent, info.received, info.len, info.leased, info.files);
}

static void generation(void)
{
	pid_t pids[PROCESSES], sender;
	unsigned long files = files_open();
	uint64_t end = now() + GENERATION;
	struct chanfd_opt soon = CHANFD_OPT_INIT;
	int i, status, lease, ret;
	uint32_t number;

	memset(books, 0, offsetof(struct books, messages));
	memset(books->entry, 0, sizeof(books->entry));
	books->channel = chanfd_channel(sizeof(number), below(2) ? 16 : 0, CHANFD_FDS, "leases");
	if (books->channel < 0)
		err(1, "chanfd_channel");
	sender = fork_child();
	if (!sender) {
		send_some(end);
		_exit(0);
	}
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
	if (waitpid(sender, &status, 0) != sender || status)
		wrong("the sender has failed");
	chanfd_close(books->channel, 0);
	/* This one too: it must not be told the end before the others are. */
	soon.deadline = chanfd_deadline(BOUND);
	while ((ret = lease_one(&number, &lease, &soon)) > 0) {
		commit_it(number, lease);
		close(lease);
	}
	if (ret)
		wrong("the end does not come: %m, with %u leased",
		      info_of(books->channel).leased);
	audit(pids);
	books->messages += books->sent;
	close(books->channel);
	if (!eventually(files_open() <= files + FILES_TOLERATED))
		wrong("%lu files are open, and not %lu", files_open(), files);
	generations++;
}

int main(int argc, char **argv)
{
	uint64_t end;

	if (argc < 3)
		errx(2, "usage: leases SEED MILLISECONDS");
	seed = strtoul(argv[1], NULL, 0);
	end = now() + strtoul(argv[2], NULL, 0) * MSEC;
	become(NOBODY);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	books = shared(sizeof(*books));
	do
		generation();
	while (!is_enough(end, books->files && books->redelivered));
	printf("generations=%u killed=%u messages=%u files=%u redelivered=%u\n", generations,
	       killed, books->messages, books->files, books->redelivered);
	return 0;
}
