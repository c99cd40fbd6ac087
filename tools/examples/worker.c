// SPDX-License-Identifier: GPL-2.0
/* A worker: takes paths, hashes the files, sends the results. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "digest.h"

/* Returns 0 or the file's errno. A done context ends it early with ECANCELED. */
static int hash_file(const char *path, int context, uint8_t digest[DIGEST_SIZE])
{
	chanfd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	static uint8_t block[128 * 1024];
	EVP_MD_CTX *hash;
	ssize_t size;
	int err = 0;

	if (fd < 0)
		return errno;
	hash = EVP_MD_CTX_new();
	if (!hash || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL))
		err = ENOMEM;
	while (!err && (size = read(fd, block, sizeof(block)))) {
		if (size < 0)
			err = errno;
		else if (chanfd_context_err(context))
			err = ECANCELED;
		else if (!EVP_DigestUpdate(hash, block, size))
			err = EIO;
	}
	if (!err && !EVP_DigestFinal_ex(hash, digest, NULL))
		err = EIO;
	EVP_MD_CTX_free(hash);
	return err;
}

static int do_job(const struct worker *w, const struct job *job, unsigned int redelivered,
		  const struct chanfd_opt *opt)
{
	struct report report = { .worker = w->id, .number = job->number };
	bool hold = job->number == w->hold && !redelivered;

	report.what = TAKEN;
	if ((hold || redelivered) && chanfd_send(w->results, &report, sizeof(report), opt))
		return errno;
	if (hold)
		chanfd_context_wait(w->context, NULL);

	report.what = DONE;
	report.error = hash_file(job->path, w->context, report.digest);
	if (chanfd_send(w->results, &report, sizeof(report), opt))
		return errno;
	return 0;
}

/* Whoever dies before the commit gives the job back, at worst after it was done. */
int work(const struct worker *w)
{
	static struct job job;
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	struct chanfd_received received;
	int lease, ret, err;

	opt.context = w->context;
	for (;;) {
		lease = -1;
		ret = chanfd_recv_leased(w->paths, &job, sizeof(job), &lease, &opt, &received);
		if (ret <= 0)
			return ret ? errno : 0;
		err = do_job(w, &job, received.redelivered, &opt);
		if (!err)
			chanfd_commit(lease);
		close(lease);
		if (err)
			return err;
	}
}
