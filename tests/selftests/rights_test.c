// SPDX-License-Identifier: GPL-2.0
/*
 * A handle's access mode is a capability: what each may do, that it can only
 * become less, and what a handle tells about itself.
 */
#include "numbers.h"

#include <sys/socket.h>

enum { R = CHANFD_READ, W = CHANFD_WRITE, RW = CHANFD_READ | CHANFD_WRITE };

/* A new object of a type with one handle that may do everything. */
static int object_new(unsigned int type)
{
	switch (type) {
	case CHANFD_TYPE_CHANNEL:
		return chanfd_channel(sizeof(uint64_t), 8, 0, "rights");
	case CHANFD_TYPE_WAITGROUP:
		return chanfd_waitgroup(0, "rights");
	case CHANFD_TYPE_CONTEXT:
		return chanfd_context(-1);
	default:
		return -1;
	}
}

static const unsigned int types[] = {
	CHANFD_TYPE_CHANNEL, CHANFD_TYPE_WAITGROUP, CHANFD_TYPE_CONTEXT,
};

static const unsigned int all_rights[] = { R, W, RW };

static struct chanfd_info about(int fd)
{
	struct chanfd_info info;

	poison(&info);
	if (chanfd_info(fd, &info))
		err(1, "chanfd_info");
	return info;
}

FIXTURE(rights) {
};

FIXTURE_VARIANT(rights) {
	bool process;
};

FIXTURE_VARIANT_ADD(rights, threads) {
	.process = false,
};

FIXTURE_VARIANT_ADD(rights, processes) {
	.process = true,
};

FIXTURE_SETUP(rights)
{
}

FIXTURE_TEARDOWN(rights)
{
}

/* What a party may do that was handed a channel's handle: its errno for each. */
enum {
	SEND, WRITE, SELECT_SEND, RECV, READ, SELECT_RECV, LEN, CLOSE, ATTEMPTS
};

static const char *const attempts[] = {
	"send", "write", "select send", "receive", "read", "select receive",
	"len", "close",
};

static long run_attempts(struct party *me)
{
	struct chanfd_outcome out;
	int *error = me->arg, fd = taken(me->fd);
	uint64_t v = 1;

	error[SEND] = errno_of(try_put(fd, 1));
	error[WRITE] = errno_of(write(fd, &v, sizeof(v)));
	error[SELECT_SEND] = errno_of(chanfd_select_of(&nonblock, &out,
						       CHANFD_SEND(fd, &v)));
	error[RECV] = errno_of(try_get(fd, &v));
	error[READ] = errno_of(read(fd, &v, sizeof(v)));
	error[SELECT_RECV] = errno_of(chanfd_select_of(&nonblock, &out,
						       CHANFD_RECV(fd, &v)));
	error[LEN] = errno_of(chanfd_len(fd));
	error[CLOSE] = errno_of(chanfd_close(fd, 0));
	close(fd);
	return 0;
}

TEST_F(rights, direction_rights)
{
	static const struct {
		unsigned int rights;
		int error[ATTEMPTS];
	} rows[] = {
		{ R, { EPERM, EBADF, EPERM, 0, 0, 0, 0, EPERM } },
		{ W, { 0, 0, 0, EPERM, EBADF, EPERM, 0, 0 } },
		{ RW, { 0 } },
	};
	int *error = shared(ATTEMPTS * sizeof(*error));
	int ch, fd, k, socks[2];
	unsigned int i;
	struct party *p;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks));
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		ch = object_new(CHANFD_TYPE_CHANNEL);
		ASSERT_LE(0, ch);
		EXPECT_EQ(0, count_up(ch, 4));
		fd = chanfd_reduce(ch, rows[i].rights);
		ASSERT_LE(0, fd);
		pass(socks[0], fd);
		close(fd);
		memset(error, 0xff, ATTEMPTS * sizeof(*error));
		p = party_new(variant->process, run_attempts, socks[1]);
		p->arg = error;
		EXPECT_EQ(0, party_join(party_start(p)));
		for (k = 0; k < ATTEMPTS; k++) {
			EXPECT_EQ(rows[i].error[k], error[k]) {
				TH_LOG("%s with rights %u", attempts[k],
				       rows[i].rights);
			}
		}
		EXPECT_EQ(rows[i].rights & W ? CHANFD_CLOSED : 0,
			  info_of(ch).state);
		EXPECT_EQ(rows[i].rights & W ? 7 : 4, info_of(ch).sent);
		EXPECT_EQ(rows[i].rights & R ? 3 : 0, info_of(ch).received);
		close(ch);
	}
}

/* All that one may try to get back the right to send; how many tries worked. */
static long run_regain(struct party *me)
{
	static const int modes[] = { O_RDWR, O_WRONLY, O_RDONLY };
	int fd = taken(me->fd), got, copy, socks[2], worked = 0;
	unsigned int i;
	char path[32];

	got = chanfd_reduce(fd, W);
	worked += got >= 0 || errno != EPERM;
	got = chanfd_reduce(fd, RW);
	worked += got >= 0 || errno != EPERM;

	copy = dup(fd);
	worked += try_put(copy, 1) >= 0;
	worked += chanfd_reduce(copy, RW) >= 0;
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		/* fcntl(2) says that it ignores these bits. */
		fcntl(copy, F_SETFL, modes[i]);
		worked += try_put(copy, 1) >= 0;
		worked += about(copy).rights != R;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		got = open(path, modes[i] | O_CLOEXEC);
		if (got >= 0)
			worked += try_put(got, 1) >= 0;
	}
	got = syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, getpid(), 0), fd, 0);
	worked += try_put(got, 1) >= 0;
	worked += chanfd_reduce(got, RW) >= 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks))
		return -1;
	pass(socks[0], fd);
	got = taken(socks[1]);
	worked += try_put(got, 1) >= 0;
	worked += about(got).rights != R;
	/* A file can be mapped, and would be written there. */
	worked += mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) !=
		  MAP_FAILED;
	return worked;
}

TEST_F(rights, rights_only_shrink)
{
	struct party *p;
	int fd[2], socks[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks));
	make_pair(fd, 8);
	pass(socks[0], fd[0]);
	p = party_new(variant->process, run_regain, socks[1]);
	EXPECT_EQ(0, party_join(party_start(p)));
	EXPECT_EQ(0, info_of(fd[1]).sent);
	EXPECT_EQ(1, info_of(fd[1]).senders);
}

TEST(reduce_matrix)
{
	unsigned int from, to, t, bit;
	int fd, copy, again;

	for (t = 0; t < ARRAY_SIZE(types); t++) {
		for (from = 0; from < ARRAY_SIZE(all_rights); from++) {
			unsigned int rights = all_rights[from];

			fd = object_new(types[t]);
			ASSERT_LE(0, fd);
			copy = chanfd_reduce(fd, rights);
			ASSERT_LE(0, copy);
			EXPECT_EQ(rights, about(copy).rights);
			EXPECT_EQ(types[t], about(copy).type);
			EXPECT_EQ(about(fd).id, about(copy).id);
			EXPECT_STREQ((char *)about(fd).name,
				     (char *)about(copy).name);
			EXPECT_EQ(RW, about(fd).rights);
			EXPECT_EQ(rights == R ? O_RDONLY : rights == W ?
				  O_WRONLY : O_RDWR,
				  fcntl(copy, F_GETFL) & O_ACCMODE);
			for (to = 0; to < ARRAY_SIZE(all_rights); to++) {
				again = chanfd_reduce(copy, all_rights[to]);
				if (all_rights[to] & ~rights) {
					EXPECT_EQ(EPERM, again < 0 ? errno : 0);
				} else {
					ASSERT_LE(0, again);
					EXPECT_EQ(all_rights[to],
						  about(again).rights);
					close(again);
				}
			}
			EXPECT_EQ(EINVAL, errno_of(chanfd_reduce(copy, 0)));
			for (bit = 4; bit < 32; bit++) {
				to = rights | 1U << bit;
				EXPECT_EQ(EINVAL, errno_of(chanfd_reduce(copy, to)));
			}
			close(fd);
			close(copy);
		}
	}
}

TEST(reduce_flags)
{
	int ch = object_new(CHANFD_TYPE_CHANNEL), fd;

	ASSERT_LE(0, ch);
	fd = chanfd_reduce(ch, R);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(0, fcntl(fd, F_GETFL) & O_NONBLOCK);
	fd = chanfd_reduce(ch, R | CHANFD_INHERIT);
	EXPECT_EQ(0, fcntl(fd, F_GETFD));
	EXPECT_EQ(0, fcntl(fd, F_GETFL) & O_NONBLOCK);
	fd = chanfd_reduce(ch, R | CHANFD_NONBLOCK);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(O_NONBLOCK, fcntl(fd, F_GETFL) & O_NONBLOCK);
	/* It is a handle of its own: the first one blocks as before. */
	EXPECT_EQ(0, fcntl(ch, F_GETFL) & O_NONBLOCK);
}

TEST(token_is_not_reduced)
{
	int wg = chanfd_waitgroup(0, NULL), token;

	ASSERT_LE(0, wg);
	token = chanfd_wg_token(wg, 0);
	ASSERT_LE(0, token);
	EXPECT_EQ(ENOTTY, errno_of(chanfd_reduce(token, R)));
	EXPECT_EQ(ENOTTY, errno_of(chanfd_reduce(token, W)));
}

TEST(waitgroup_rights)
{
	struct chanfd_waitgroup_info info;
	struct chanfd_outcome out;
	struct chanfd_round round;
	int fd[2];

	ASSERT_EQ(0, chanfd_waitgroup_pair(fd, 0, NULL));
	EXPECT_EQ(R, about(fd[0]).rights);
	EXPECT_EQ(W, about(fd[1]).rights);
	EXPECT_EQ(EPERM, errno_of(chanfd_wg_add(fd[0], 1)));
	EXPECT_EQ(EPERM, errno_of(chanfd_wg_done(fd[0])));
	EXPECT_EQ(EPERM, errno_of(chanfd_wg_token(fd[0], 0)));
	EXPECT_EQ(EPERM, errno_of(chanfd_wg_wait(fd[1], NULL, &round)));
	EXPECT_EQ(EPERM, errno_of(chanfd_select_of(NULL, &out,
						   CHANFD_WAIT(fd[1]))));
	EXPECT_EQ(0, chanfd_waitgroup_info(fd[0], &info));
	EXPECT_EQ(0, info.count);
	EXPECT_EQ(0, chanfd_waitgroup_info(fd[1], &info));
	EXPECT_EQ(0, chanfd_wg_add(fd[1], 1));
	EXPECT_EQ(0, chanfd_wg_done(fd[1]));
	EXPECT_EQ(0, chanfd_wg_wait(fd[0], NULL, &round));
}

TEST(context_rights)
{
	struct chanfd_context_info info;
	struct chanfd_outcome out;
	struct chanfd_opt opt = CHANFD_OPT_INIT;
	int fd[2], pipes[2], ready = make(1);
	uint64_t v;

	ASSERT_EQ(0, chanfd_context_pair(fd, -1));
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(R, about(fd[0]).rights);
	EXPECT_EQ(W, about(fd[1]).rights);

	EXPECT_EQ(EPERM, errno_of(chanfd_cancel(fd[0], 0, NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_context_bind(fd[0], pipes[0], 1, 0)));
	EXPECT_EQ(EPERM, errno_of(chanfd_context(fd[1])));
	EXPECT_EQ(EPERM, errno_of(chanfd_select_of(NULL, &out,
						   CHANFD_DONE(fd[1]))));
	EXPECT_EQ(EPERM, errno_of(chanfd_select_of(NULL, &out,
						   CHANFD_DRAINED(fd[1]))));
	EXPECT_EQ(0, put(ready, 1));
	opt.context = fd[1];
	EXPECT_EQ(EPERM, errno_of(chanfd_recv(ready, &v, 8, &opt, NULL)));
	EXPECT_EQ(EPERM, errno_of(chanfd_select_of(&opt, &out,
						   CHANFD_RECV(ready, &v))));
	EXPECT_EQ(1, info_of(ready).len);
	EXPECT_EQ(0, chanfd_context_info(fd[0], &info));
	EXPECT_EQ(0, info.error);
	EXPECT_EQ(EPERM, errno_of(chanfd_context_info(fd[1], &info)));
	EXPECT_LE(0, chanfd_context(fd[0]));
	EXPECT_EQ(0, chanfd_cancel(fd[1], 0, NULL));
	EXPECT_EQ(ECANCELED, chanfd_context_err(fd[0]));
	EXPECT_EQ(0, chanfd_select_of(NULL, &out, CHANFD_DONE(fd[0])));
}

TEST(pair_is_two_halves)
{
	int fd[2];

	make_pair(fd, 0);
	EXPECT_EQ(R, about(fd[0]).rights);
	EXPECT_EQ(W, about(fd[1]).rights);
	EXPECT_EQ(O_RDONLY, fcntl(fd[0], F_GETFL) & O_ACCMODE);
	EXPECT_EQ(O_WRONLY, fcntl(fd[1], F_GETFL) & O_ACCMODE);
	EXPECT_EQ(about(fd[0]).id, about(fd[1]).id);
}

/* Two handles are of one object if and only if the ids are equal. */
TEST_F(rights, ids)
{
	uint64_t last = about(make(0)).id;
	int i, fd, copy, socks[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks));
	for (i = 0; i < 100; i++) {
		fd = object_new(types[i % 3]);
		ASSERT_LE(0, fd);
		/* Never used again, though the one before is gone. */
		EXPECT_LT(last, about(fd).id);
		last = about(fd).id;
		copy = dup(fd);
		EXPECT_EQ(last, about(copy).id);
		close(copy);
		pass(socks[0], fd);
		close(fd);
		copy = taken(socks[1]);
		EXPECT_EQ(last, about(copy).id);
		close(copy);
	}
}

TEST(info_and_names)
{
	char longest[] = "fifteen letters";
	int wg = chanfd_waitgroup(0, "jobs"), token, fd;

	ASSERT_LE(0, wg);
	EXPECT_STREQ("jobs", (char *)about(wg).name);
	EXPECT_EQ(CHANFD_TYPE_WAITGROUP, about(wg).type);
	token = chanfd_wg_token(wg, 0);
	ASSERT_LE(0, token);
	EXPECT_EQ(CHANFD_TYPE_TOKEN, about(token).type);
	EXPECT_EQ(about(wg).id, about(token).id);
	EXPECT_STREQ("jobs", (char *)about(token).name);

	fd = chanfd_channel(1, 0, 0, longest);
	ASSERT_LE(0, fd);
	EXPECT_STREQ(longest, (char *)about(fd).name);
	fd = chanfd_channel(1, 0, 0, NULL);
	EXPECT_STREQ("", (char *)about(fd).name);
	EXPECT_EQ(CHANFD_TYPE_CHANNEL, about(fd).type);
	fd = chanfd_context(-1);
	EXPECT_STREQ("", (char *)about(fd).name);
	EXPECT_EQ(CHANFD_TYPE_CONTEXT, about(fd).type);
	EXPECT_EQ(RW, about(fd).rights);
}

/* The value of a key in a handle's fdinfo; "(none)" if it is not there. */
static const char *told(int fd, const char *key)
{
	static char text[2048];
	char path[64], start[64], *value;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (!read_text(path, text, sizeof(text)))
		err(1, "%s", path);
	snprintf(start, sizeof(start), "\nchanfd-%s:\t", key);
	value = strstr(text, start);
	if (!value)
		return "(none)";
	value += strlen(start);
	value[strcspn(value, "\n")] = '\0';
	return value;
}

TEST_F(rights, fdinfo)
{
	static const char *const words[] = { "", "r", "w", "rw" };
	static const char *const type_words[] = {
		"", "channel", "waitgroup", "token", "context",
	};
	unsigned int t, r;
	struct party *send, *recv;
	int fd, obj, pair[2];

	for (t = 0; t < ARRAY_SIZE(types); t++) {
		obj = object_new(types[t]);
		ASSERT_LE(0, obj);
		for (r = 0; r < ARRAY_SIZE(all_rights); r++) {
			fd = chanfd_reduce(obj, all_rights[r]);
			ASSERT_LE(0, fd);
			EXPECT_STREQ(type_words[types[t]], told(fd, "type"));
			EXPECT_EQ(about(fd).id,
				  strtoull(told(fd, "id"), NULL, 10));
			EXPECT_STREQ((char *)about(fd).name,
				     told(fd, "name"));
			EXPECT_STREQ(words[all_rights[r]],
				     told(fd, "rights"));
			close(fd);
		}
		if (types[t] == CHANFD_TYPE_WAITGROUP) {
			fd = chanfd_wg_token(obj, 0);
			EXPECT_STREQ("token", told(fd, "type"));
			EXPECT_EQ(about(obj).id,
				  strtoull(told(fd, "id"), NULL, 10));
		}
		close(obj);
	}

	make_pair(pair, 3);
	EXPECT_EQ(0, count_up(pair[1], 2));
	EXPECT_STREQ("8", told(pair[0], "elem-size"));
	EXPECT_STREQ("3", told(pair[0], "capacity"));
	EXPECT_STREQ("2", told(pair[0], "len"));
	EXPECT_STREQ("open", told(pair[0], "state"));
	close(pair[1]);
	EXPECT_STREQ("orphaned", told(pair[0], "state"));
	close(pair[0]);
	make_pair(pair, 0);
	EXPECT_EQ(0, chanfd_close(pair[1], 0));
	EXPECT_STREQ("closed", told(pair[0], "state"));
	close(pair[1]);
	EXPECT_STREQ("closed", told(pair[0], "state"));

	fd = make(0);
	send = party_send(variant->process, fd, 1);
	ASSERT_TRUE(senders_wait(fd, 1));
	EXPECT_STREQ("1 senders 0 receivers", told(fd, "waiting"));
	recv = party_recv(variant->process, fd);
	EXPECT_EQ(0, party_join(send));
	EXPECT_EQ(1, party_join(recv));
	recv = party_recv(variant->process, fd);
	ASSERT_TRUE(receivers_wait(fd, 1));
	EXPECT_STREQ("0 senders 1 receivers", told(fd, "waiting"));
	EXPECT_EQ(0, put(fd, 1));
	EXPECT_EQ(1, party_join(recv));
}

TEST(fdinfo_of_a_context)
{
	int ctx = chanfd_context(-1), child = chanfd_context(ctx);
	int late = chanfd_context_timeout(ctx, 0);

	EXPECT_STREQ("live", told(ctx, "state"));
	EXPECT_STREQ("(none)", told(ctx, "cause"));
	EXPECT_STREQ("(none)", told(ctx, "parent"));
	EXPECT_STREQ("2", told(ctx, "children"));
	EXPECT_EQ(about(ctx).id, strtoull(told(child, "parent"), NULL, 10));
	EXPECT_EQ(about(ctx).id, strtoull(told(late, "parent"), NULL, 10));

	EXPECT_EQ(0, chanfd_cancel(child, 1001, NULL));
	EXPECT_STREQ("cancelled", told(child, "state"));
	EXPECT_STREQ("1001", told(child, "cause"));
	EXPECT_STREQ("expired", told(late, "state"));
	EXPECT_EQ(ETIMEDOUT, atoi(told(late, "cause")));
	EXPECT_STREQ("live", told(ctx, "state"));
}

/* What "N of M" says of the user's objects, or bytes; M is in @most. */
static unsigned long told_use(int fd, const char *key, unsigned long *most)
{
	unsigned long used;
	char rest;

	if (sscanf(told(fd, key), "%lu of %lu%c", &used, most, &rest) != 2)
		errx(1, "%s: %s", key, told(fd, key));
	return used;
}

static unsigned long parameter(const char *path)
{
	char text[32];

	if (!read_text(path, text, sizeof(text)))
		err(1, "%s", path);
	return strtoul(text, NULL, 10);
}

TEST(fdinfo_of_the_user)
{
	enum { NOBODY_ELSE = 65531 };	/* who has nothing yet */
	unsigned long objects, bytes;
	int first, second, fd;

	ASSERT_EQ(0, setresuid(NOBODY_ELSE, NOBODY_ELSE, NOBODY_ELSE));
	ASSERT_EQ(0, prctl(PR_SET_DUMPABLE, 1));
	first = make(100);
	EXPECT_EQ(1, told_use(first, "user-objects", &objects));
	EXPECT_EQ(800, told_use(first, "user-bytes", &bytes));
	EXPECT_EQ(parameter("/sys/module/chanfd/parameters/max_objects"), objects);
	EXPECT_EQ(parameter("/sys/module/chanfd/parameters/max_bytes"), bytes);

	second = make(5);
	EXPECT_EQ(2, told_use(first, "user-objects", &objects));
	EXPECT_EQ(840, told_use(first, "user-bytes", &bytes));
	fd = chanfd_waitgroup(0, NULL);
	ASSERT_LE(0, fd);
	EXPECT_EQ(3, told_use(fd, "user-objects", &objects));
	EXPECT_EQ(840, told_use(fd, "user-bytes", &bytes));
	/* A handle more is no object more. */
	close(fd);
	fd = chanfd_reduce(first, CHANFD_READ);
	ASSERT_LE(0, fd);
	EXPECT_EQ(2, told_use(fd, "user-objects", &objects));
	close(second);
	EXPECT_EQ(1, told_use(fd, "user-objects", &objects));
	EXPECT_EQ(800, told_use(fd, "user-bytes", &bytes));
}

TEST_HARNESS_MAIN
