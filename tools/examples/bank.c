// SPDX-License-Identifier: GPL-2.0
/*
 * bank: a lock whose holder may die.
 *
 * Processes move money between accounts in shared memory, under a lock. When one of them
 * is killed in the middle of a transfer, the money has left one account and has not come
 * to the other. The next one to get the lock is told, finds in the journal what was going
 * on, and takes it back.
 *
 * In Go it is a sync.Mutex, and no goroutine dies alone. Between processes, a semaphore
 * or a file that is used as a lock stays locked for good or opens as if all were well.
 */
#include <chanfd.h>
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ACCOUNTS	4
#define MONEY		1000L	/* on each in the beginning */

/* Volatile, as it matters what was written first when the writer has died. */
static volatile struct {
	long account[ACCOUNTS];
	struct {
		int open;	/* a transfer has begun and not ended */
		int from, to;
		long from_had, to_had;
	} journal;
	int undone;
} *bank;

static void lock_bank(int lock)
{
	if (!chanfd_lock(lock, NULL))
		return;
	if (errno != EOWNERDEAD)
		errx(1, "lock: %s", chanfd_strerror_hint(errno));
	if (!bank->journal.open)
		return;
	bank->account[bank->journal.from] = bank->journal.from_had;
	bank->account[bank->journal.to] = bank->journal.to_had;
	bank->undone++;
	bank->journal.open = 0;
}

static void transfer(int lock, int from, int to, int die)
{
	lock_bank(lock);
	bank->journal.from = from;
	bank->journal.to = to;
	bank->journal.from_had = bank->account[from];
	bank->journal.to_had = bank->account[to];
	bank->journal.open = 1;
	bank->account[from]--;
	if (die)
		kill(getpid(), SIGKILL);
	bank->account[to]++;
	bank->journal.open = 0;
	if (chanfd_unlock(lock))
		err(1, "unlock");
}

static void work(int lock, long transfers, long die)
{
	long n;

	prctl(PR_SET_NAME, "bank-worker");
	for (n = 1; n <= transfers; n++)
		transfer(lock, (int)(n % ACCOUNTS), (int)((n + 1 + n % 3) % ACCOUNTS), n == die);
	_exit(0);
}

int main(int argc, char **argv)
{
	int workers = argc > 2 ? atoi(argv[1]) : 0, lock, status, died = 0, i;
	long transfers = argc > 2 ? atol(argv[2]) : 0, die = argc > 3 ? atol(argv[3]) : 0;
	long sum = 0;

	if (workers <= 0 || transfers <= 0)
		errx(2, "usage: bank WORKERS TRANSFERS [N]\n"
		     "WORKERS processes make TRANSFERS each. The first one dies in its Nth.");
	lock = chanfd_mutex(0, "bank");
	if (lock < 0)
		errx(1, "%s", chanfd_strerror_hint(errno));
	bank = mmap(NULL, sizeof(*bank), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		    -1, 0);
	if (bank == MAP_FAILED)
		err(1, "memory");
	for (i = 0; i < ACCOUNTS; i++)
		bank->account[i] = MONEY;

	for (i = 0; i < workers; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "worker");
		if (!pid)
			work(lock, transfers, i ? 0 : die);
	}
	while (wait(&status) > 0)
		died += WIFSIGNALED(status);

	lock_bank(lock);
	for (i = 0; i < ACCOUNTS; i++)
		sum += bank->account[i];
	printf("%d accounts hold %ld\n", ACCOUNTS, sum);
	if (died)
		printf("workers that died: %d, transfers undone: %d\n", died, bank->undone);
	return sum != ACCOUNTS * MONEY;
}
