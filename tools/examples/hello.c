// SPDX-License-Identifier: GPL-2.0 OR MIT
#include <chanfd.h>
#include <err.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	int jobs = chanfd_make(int, 0), stop = chanfd_context(-1), job = 0;

	if (jobs < 0 || stop < 0)
		errx(1, "%s", chanfd_strerror_hint(errno));
	if (!fork()) {
		for (job = 1; job <= 3; job++)
			chanfd_put(jobs, job, NULL);
		return chanfd_cancel(stop, 0, NULL);
	}
	while (chanfd_select_of(NULL, NULL, CHANFD_RECV(jobs, &job), CHANFD_DONE(stop)) == 0)
		printf("job %d\n", job);
}
