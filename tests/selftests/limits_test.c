// SPDX-License-Identifier: GPL-2.0
/*
 * Limits: what one user may have, what happens when descriptors run out, and
 * what a name may be. Every limit has its errno, and a call that meets one
 * leaves nothing behind.
 */
#include "numbers.h"

#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

enum { SOMEBODY = 65534, SOMEBODY_ELSE = 65533 };

#define PARAMETERS "/sys/module/chanfd/parameters/"

static bool set_parameter(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) > 0;

	close(fd);
	return ok;
}

/* An unprivileged user: there is no way back, so it takes a process. */
static void become(uid_t uid)
{
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) ||
	    setresuid(uid, uid, uid))
		err(1, "become");
	/* That was a change of credentials, which undoes it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/**
 * struct user - a party that makes objects for an unprivileged user
 * @ask:	gets a request, one of the following
 * @answer:	gets the errno
 * @bound:	a file that is never ready
 * @fd:		handles that it has
 * @n:		how many
 *
 * With MAKE_BUFFER above, the rest of the request is a capacity. VARIABLE and LARGE
 * are channels of 8192 bytes without the heads of messages. SELECT_FEW and SELECT_MANY
 * would wait for nothing, WAIT_TO_SEND at a channel that was asked for before, but
 * their time is up. STORE and MAP are about the last CELL, of CELL_SIZE bytes; USE_LOCK
 * is about the last LOCK.
 */
struct user {
	uid_t uid;
	int ask;
	int answer;
	int bound;
	int fd[64];
	int n;
};

enum {
	CHANNEL, PAIR, GROUP, CONTEXT, TOKEN, REDUCED, BINDING, CANCEL, CLOSE_ONE,
	VARIABLE, LARGE, SELECT_FEW, SELECT_MANY, WAIT_TO_SEND,
	NEW_NAMESPACE, CELL, STORE, MAP, LOCK, USE_LOCK, MAKE_BUFFER
};

enum { CELL_SIZE = 16384, STORES = 1000 };

enum { FEW = 8, MANY = 1000, MUCH = 1000 };

static int select_nothing(unsigned int cases)
{
	static struct chanfd_case c[MANY];
	unsigned int i;

	for (i = 0; i < cases; i++)
		c[i] = chanfd_case_of(-1, CHANFD_CASE_RECV, 0, NULL, 0);
	return errno_of(chanfd_select(c, cases, CHANFD_OPT(-1, 0, 1), NULL));
}

/* MUCH messages, and the channel has no room. */
static int wait_to_send(int ch)
{
	static uint64_t values[MUCH];
	struct chanfd_transfer t = {
		.context = -1,
		.deadline = 1,
		.buf = (uintptr_t)values,
		.size = sizeof(values),
		.count = MUCH,
	};

	return ioctl(ch, CHANFD_IOC_SEND, &t) < 0 ? errno : 0;
}

/* As fast as it goes. */
static int store_often(int cell)
{
	static char value[CELL_SIZE];
	int i;

	for (i = 0; i < STORES; i++)
		if (chanfd_store(cell, value, sizeof(value), NULL))
			return errno;
	return 0;
}

static int user_makes(struct user *u, uint64_t what)
{
	int *fd = &u->fd[u->n];

	switch (what) {
	case CHANNEL:
		fd[0] = chanfd_channel(8, 0, 0, NULL);
		break;
	case PAIR:
		if (chanfd_channel_pair(fd, 8, 0, 0, NULL))
			return errno;
		close(fd[1]);
		break;
	case GROUP:
		fd[0] = chanfd_waitgroup(0, NULL);
		break;
	case CONTEXT:
		fd[0] = chanfd_context(-1);
		break;
	case TOKEN:
		fd[0] = chanfd_wg_token(u->fd[0], 0);
		break;
	case REDUCED:
		fd[0] = chanfd_reduce(u->fd[0], CHANFD_READ);
		break;
	case BINDING:
		return chanfd_context_bind(u->fd[0], u->bound, POLLIN, 0) ? errno : 0;
	case CANCEL:
		return chanfd_cancel(u->fd[0], 0, NULL) ? errno : 0;
	case CLOSE_ONE:
		return close(u->fd[--u->n]) ? errno : 0;
	case VARIABLE:
		fd[0] = chanfd_channel(8, 1024, CHANFD_VARIABLE, NULL);
		break;
	case LARGE:
		fd[0] = chanfd_channel(512, 16, 0, NULL);
		break;
	case SELECT_FEW:
		return select_nothing(FEW);
	case SELECT_MANY:
		return select_nothing(MANY);
	case WAIT_TO_SEND:
		return wait_to_send(u->fd[0]);
	case NEW_NAMESPACE:
		return unshare(CLONE_NEWUSER) ? errno : 0;
	case CELL:
		fd[0] = chanfd_cell(CELL_SIZE, 0, NULL);
		break;
	case STORE:
		return store_often(u->fd[u->n - 1]);
	case MAP:
		return chanfd_cell_map(u->fd[u->n - 1]) ? 0 : errno;
	case LOCK:
		fd[0] = chanfd_mutex(0, NULL);
		break;
	case USE_LOCK:
		if (chanfd_lock(u->fd[u->n - 1], NULL))
			return errno;
		return chanfd_unlock(u->fd[u->n - 1]) ? errno : 0;
	default:
		fd[0] = chanfd_channel(8, what - MAKE_BUFFER, 0, NULL);
	}
	if (fd[0] < 0)
		return errno;
	u->n++;
	return 0;
}

static long run_user(struct party *me)
{
	struct user *u = me->arg;
	uint64_t what;

	become(u->uid);
	while (get(u->ask, &what) == 1)
		if (put(u->answer, user_makes(u, what)))
			return -1;
	return 0;
}

/* The next test must not find what they have left. */
static struct party *users[4];
static int nr_users;

static void kill_users(void)
{
	while (nr_users)
		party_kill(users[--nr_users]);
}

static struct user *user_start(uid_t uid)
{
	struct party *p = party_new(true, run_user, -1);
	struct user *u = shared(sizeof(*u));

	u->uid = uid;
	u->ask = make(0);
	u->answer = make(0);
	u->bound = eventfd(0, EFD_CLOEXEC);
	p->arg = u;
	users[nr_users++] = party_start(p);
	return u;
}

static int asked(struct user *u, uint64_t what)
{
	uint64_t error;

	if (put(u->ask, what) || get(u->answer, &error) != 1)
		err(1, "asked");
	return error;
}

/* The parameters are the machine's: they are put back in any case. */
FIXTURE(user_limits) {
	char max_objects[32];
	char max_bytes[32];
};

FIXTURE_SETUP(user_limits)
{
	ASSERT_TRUE(read_text(PARAMETERS "max_objects", self->max_objects,
			      sizeof(self->max_objects)));
	ASSERT_TRUE(read_text(PARAMETERS "max_bytes", self->max_bytes,
			      sizeof(self->max_bytes)));
}

FIXTURE_TEARDOWN(user_limits)
{
	kill_users();
	set_parameter(PARAMETERS "max_objects", self->max_objects);
	set_parameter(PARAMETERS "max_bytes", self->max_bytes);
}

TEST_F(user_limits, objects)
{
	static const int kinds[] = { CHANNEL, PAIR, GROUP, CONTEXT, CELL };
	struct user *u = user_start(SOMEBODY), *same = user_start(SOMEBODY);
	struct user *other = user_start(SOMEBODY_ELSE);
	long before;
	int ch;
	unsigned int k, i;

	ASSERT_TRUE(set_parameter(PARAMETERS "max_objects", "3"));
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (i = 0; i < 3; i++) {
			EXPECT_EQ(0, asked(u, kinds[k]));
		}
		before = handles_open();
		for (i = 0; i < ARRAY_SIZE(kinds); i++) {
			EXPECT_EQ(EDQUOT, asked(u, kinds[i]));
		}
		EXPECT_EQ(before, handles_open());

		/* It is the user's limit, not the process's, nor everybody's. */
		EXPECT_EQ(EDQUOT, asked(same, kinds[k]));
		EXPECT_EQ(0, asked(other, kinds[k]));
		EXPECT_EQ(0, asked(other, CLOSE_ONE));
		ch = make(0);
		close(ch);

		/* A handle more is no object more. */
		EXPECT_EQ(0, asked(u, REDUCED));
		EXPECT_EQ(0, asked(u, CLOSE_ONE));

		/* What is closed is given back at once. */
		EXPECT_EQ(0, asked(u, CLOSE_ONE));
		EXPECT_EQ(0, asked(same, kinds[k]));
		EXPECT_EQ(EDQUOT, asked(u, kinds[k]));
		EXPECT_EQ(0, asked(same, CLOSE_ONE));
		EXPECT_EQ(0, asked(u, kinds[k]));
		for (i = 0; i < 3; i++) {
			EXPECT_EQ(0, asked(u, CLOSE_ONE));
		}
	}
}

TEST_F(user_limits, tokens_count)
{
	struct user *u = user_start(SOMEBODY);
	struct chanfd_waitgroup_info info;
	int token, wg;

	ASSERT_TRUE(set_parameter(PARAMETERS "max_objects", "3"));
	EXPECT_EQ(0, asked(u, GROUP));
	EXPECT_EQ(0, asked(u, TOKEN));
	EXPECT_EQ(0, asked(u, TOKEN));
	EXPECT_EQ(EDQUOT, asked(u, TOKEN));
	EXPECT_EQ(EDQUOT, asked(u, CHANNEL));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));
	EXPECT_EQ(0, asked(u, TOKEN));

	/* Root is counted, but not refused. */
	ASSERT_TRUE(set_parameter(PARAMETERS "max_objects", "0"));
	wg = chanfd_waitgroup(0, NULL);
	ASSERT_LE(0, wg);
	token = chanfd_wg_token(wg, 0);
	ASSERT_LE(0, token);
	ASSERT_EQ(0, chanfd_waitgroup_info(wg, &info));
	EXPECT_EQ(1, info.count);
	EXPECT_EQ(EDQUOT, asked(u, CHANNEL));
}

TEST_F(user_limits, bindings_count)
{
	static const int ends[] = { CANCEL, CLOSE_ONE };
	struct user *u = user_start(SOMEBODY);
	unsigned int i, k;

	ASSERT_TRUE(set_parameter(PARAMETERS "max_objects", "4"));
	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		EXPECT_EQ(0, asked(u, CONTEXT));
		for (k = 0; k < 3; k++) {
			EXPECT_EQ(0, asked(u, BINDING));
		}
		EXPECT_EQ(EDQUOT, asked(u, BINDING));
		EXPECT_EQ(EDQUOT, asked(u, CHANNEL));

		/* Given back when they are of no use any more. */
		EXPECT_EQ(0, asked(u, ends[i]));
		for (k = 0; k < 3; k++) {
			EXPECT_EQ(0, asked(u, CHANNEL));
		}
		EXPECT_EQ(ends[i] == CANCEL ? EDQUOT : 0, asked(u, CHANNEL));
		for (k = 0; k < 4; k++) {
			EXPECT_EQ(0, asked(u, CLOSE_ONE));
		}
	}
}

/* Gone with its maker, however he ended. */
TEST_F(user_limits, death_gives_back)
{
	struct user *u = user_start(SOMEBODY), *next = user_start(SOMEBODY);
	struct party *p = party_new(true, run_user, -1);
	struct user *victim = shared(sizeof(*victim));
	uint64_t error;
	int i;

	ASSERT_TRUE(set_parameter(PARAMETERS "max_objects", "2"));
	*victim = (struct user){ .uid = SOMEBODY, .ask = make(0),
				 .answer = make(0) };
	p->arg = victim;
	party_start(p);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, put(victim->ask, GROUP));
		EXPECT_EQ(1, get(victim->answer, &error));
		EXPECT_EQ(0, error);
	}
	EXPECT_EQ(EDQUOT, asked(u, CHANNEL));
	party_kill(p);
	EXPECT_EQ(0, asked(u, CHANNEL));
	EXPECT_EQ(0, asked(next, CHANNEL));
	EXPECT_EQ(EDQUOT, asked(next, CHANNEL));
}

/*
 * A cell is counted for its size, whatever is in it. Stores are not, however fast they
 * follow each other: neither what they copy in nor what they replace.
 */
TEST_F(user_limits, cells)
{
	struct user *u = user_start(SOMEBODY);
	long page = getpagesize();
	char most[32];
	int i;

	snprintf(most, sizeof(most), "%ld", 2 * CELL_SIZE + page);
	ASSERT_TRUE(set_parameter(PARAMETERS "max_bytes", most));
	EXPECT_EQ(0, asked(u, CELL));
	EXPECT_EQ(0, asked(u, CELL));
	EXPECT_EQ(EDQUOT, asked(u, CELL));
	EXPECT_EQ(0, asked(u, STORE));
	EXPECT_EQ(EDQUOT, asked(u, CELL));

	/* Whoever maps it first pays for the page, and as long as the cell exists. */
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, asked(u, MAP));
	}
	EXPECT_EQ(EDQUOT, asked(u, MAKE_BUFFER + 1));
	EXPECT_EQ(0, asked(u, STORE));
	snprintf(most, sizeof(most), "%d", 2 * CELL_SIZE);
	ASSERT_TRUE(set_parameter(PARAMETERS "max_bytes", most));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));
	EXPECT_EQ(EDQUOT, asked(u, CELL));	/* it is still mapped */
	EXPECT_EQ(0, asked(u, STORE));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));
	EXPECT_EQ(0, asked(u, MAKE_BUFFER + 1));
}

/* Without room for the page there is no mapping, and everything else works. */
TEST_F(user_limits, cell_without_page)
{
	struct user *u = user_start(SOMEBODY);
	char most[32];

	snprintf(most, sizeof(most), "%d", CELL_SIZE);
	ASSERT_TRUE(set_parameter(PARAMETERS "max_bytes", most));
	EXPECT_EQ(0, asked(u, CELL));
	EXPECT_EQ(EDQUOT, asked(u, MAP));
	EXPECT_EQ(0, asked(u, STORE));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));
	EXPECT_EQ(0, asked(u, CELL));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));
}

/* A process that uses a lock is remembered, which takes memory, until it or the lock ends. */
TEST_F(user_limits, lock_users)
{
	struct user *u = user_start(SOMEBODY);
	struct party *p = party_new(true, run_user, -1);
	struct user *victim = shared(sizeof(*victim));
	uint64_t error;
	int n;

	ASSERT_TRUE(set_parameter(PARAMETERS "max_bytes", "8"));
	EXPECT_EQ(0, asked(u, LOCK));
	EXPECT_EQ(EDQUOT, asked(u, USE_LOCK));
	EXPECT_EQ(EDQUOT, asked(u, USE_LOCK));
	ASSERT_TRUE(set_parameter(PARAMETERS "max_bytes", "4096"));
	for (n = 0; n < 60 && !asked(u, USE_LOCK); n++) {
		EXPECT_EQ(0, asked(u, USE_LOCK));	/* that is no more */
		EXPECT_EQ(0, asked(u, LOCK));
	}
	EXPECT_LT(1, n);
	EXPECT_GT(60, n);
	EXPECT_EQ(EDQUOT, asked(u, USE_LOCK));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));
	EXPECT_EQ(0, asked(u, USE_LOCK));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));	/* with that user of it */
	EXPECT_EQ(0, asked(u, LOCK));
	EXPECT_EQ(0, asked(u, USE_LOCK));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));

	/* The lock stays, its user dies. */
	*victim = (struct user){ .uid = SOMEBODY, .ask = make(0), .answer = make(0) };
	victim->fd[victim->n++] = chanfd_mutex(0, NULL);
	p->arg = victim;
	party_start(p);
	EXPECT_EQ(0, put(victim->ask, USE_LOCK));
	EXPECT_EQ(1, get(victim->answer, &error));
	EXPECT_EQ(0, error);
	EXPECT_EQ(0, asked(u, LOCK));
	EXPECT_EQ(EDQUOT, asked(u, USE_LOCK));
	party_kill(p);
	EXPECT_TRUE(eventually(!asked(u, USE_LOCK)));
}

TEST_F(user_limits, bytes)
{
	struct user *u = user_start(SOMEBODY), *other = user_start(SOMEBODY_ELSE);
	long before;

	ASSERT_TRUE(set_parameter(PARAMETERS "max_bytes", "65536"));
	EXPECT_EQ(EDQUOT, asked(u, MAKE_BUFFER + 8193));
	EXPECT_EQ(0, asked(u, MAKE_BUFFER + 8000));
	before = handles_open();
	EXPECT_EQ(EDQUOT, asked(u, MAKE_BUFFER + 193));
	EXPECT_EQ(before, handles_open());
	EXPECT_EQ(0, asked(u, MAKE_BUFFER + 192));
	EXPECT_EQ(EDQUOT, asked(u, MAKE_BUFFER + 1));
	/* Without a buffer it needs none of it. */
	EXPECT_EQ(0, asked(u, CHANNEL));
	EXPECT_EQ(0, asked(u, GROUP));
	EXPECT_EQ(0, asked(other, MAKE_BUFFER + 8192));
	EXPECT_LE(0, make(100000));

	EXPECT_EQ(0, asked(u, CLOSE_ONE));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));
	EXPECT_EQ(EDQUOT, asked(u, MAKE_BUFFER + 1));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));
	EXPECT_EQ(EDQUOT, asked(u, MAKE_BUFFER + 193));
	EXPECT_EQ(0, asked(u, MAKE_BUFFER + 192));
}

/* A message with a buffer of its own, be it small, has a head that counts as well. */
TEST_F(user_limits, heads_count)
{
	static const int kinds[] = { VARIABLE, LARGE };
	struct user *u = user_start(SOMEBODY);
	unsigned int k;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		ASSERT_TRUE(set_parameter(PARAMETERS "max_bytes", "8192"));
		EXPECT_EQ(EDQUOT, asked(u, kinds[k]));
		/* The ring of small ones of one size has no heads. */
		EXPECT_EQ(0, asked(u, MAKE_BUFFER + 1024));
		EXPECT_EQ(0, asked(u, CLOSE_ONE));

		ASSERT_TRUE(set_parameter(PARAMETERS "max_bytes", "131072"));
		EXPECT_EQ(0, asked(u, kinds[k]));
		EXPECT_EQ(EDQUOT, asked(u, MAKE_BUFFER + (131072 - 8192) / 8));
		EXPECT_EQ(0, asked(u, CLOSE_ONE));
		EXPECT_EQ(0, asked(u, MAKE_BUFFER + 131072 / 8));
		EXPECT_EQ(0, asked(u, CLOSE_ONE));
	}
}

/* Who makes a user namespace has all capabilities there, and none here. */
TEST_F(user_limits, namespace_is_no_way_out)
{
	struct user *u = user_start(SOMEBODY), *same = user_start(SOMEBODY);
	int error = asked(u, NEW_NAMESPACE);

	if (error == EPERM || error == ENOSPC)
		SKIP(return, "users may not make namespaces here");
	ASSERT_EQ(0, error);
	ASSERT_TRUE(set_parameter(PARAMETERS "max_objects", "1"));
	EXPECT_EQ(0, asked(u, CHANNEL));
	EXPECT_EQ(EDQUOT, asked(u, CHANNEL));
	/* It is the same user, too. */
	EXPECT_EQ(EDQUOT, asked(same, CHANNEL));
}

/* What a call holds while it waits is the user's, too, if it is much. */
TEST_F(user_limits, waiting_calls)
{
	struct user *u = user_start(SOMEBODY), *other = user_start(SOMEBODY_ELSE);

	EXPECT_EQ(0, asked(u, CHANNEL));
	EXPECT_EQ(ETIMEDOUT, asked(u, SELECT_MANY));
	EXPECT_EQ(ETIMEDOUT, asked(u, WAIT_TO_SEND));

	ASSERT_TRUE(set_parameter(PARAMETERS "max_bytes", "4096"));
	EXPECT_EQ(EDQUOT, asked(u, SELECT_MANY));
	EXPECT_EQ(EDQUOT, asked(u, WAIT_TO_SEND));
	EXPECT_EQ(ETIMEDOUT, asked(u, SELECT_FEW));
	EXPECT_EQ(EDQUOT, asked(other, SELECT_MANY));

	/* What they held has been given back, or one of these would be too much. */
	ASSERT_TRUE(set_parameter(PARAMETERS "max_bytes", "300000"));
	EXPECT_EQ(0, asked(u, MAKE_BUFFER + 12500));
	EXPECT_EQ(ETIMEDOUT, asked(u, SELECT_MANY));
	EXPECT_EQ(ETIMEDOUT, asked(u, SELECT_MANY));
	EXPECT_EQ(0, asked(u, MAKE_BUFFER + 12500));
	EXPECT_EQ(EDQUOT, asked(u, SELECT_MANY));
	EXPECT_EQ(0, asked(u, CLOSE_ONE));
	EXPECT_EQ(ETIMEDOUT, asked(u, SELECT_MANY));
}

/* Bytes of the user who made @fd, as fdinfo has them. */
static unsigned long user_bytes(int fd)
{
	char path[32], text[1024], *line;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (!read_text(path, text, sizeof(text)))
		err(1, "%s", path);
	line = strstr(text, "chanfd-user-bytes:");
	if (!line)
		errx(1, "%s: no bytes", path);
	return strtoul(line + strlen("chanfd-user-bytes:"), NULL, 10);
}

static long run_select_many(struct party *me)
{
	static struct chanfd_case c[MANY];
	unsigned int i;

	for (i = 0; i < MANY; i++)
		c[i] = chanfd_case_of(me->fd, CHANFD_CASE_RECV, 0, NULL, 0);
	return chanfd_select(c, MANY, NULL, NULL) < 0 ? -1 : 0;
}

TEST(waiting_calls_show)
{
	int process;

	for (process = 0; process < 2; process++) {
		int ch = make(0);
		unsigned long before = user_bytes(ch);
		struct party *p = party_start(party_new(process, run_select_many, ch));

		EXPECT_TRUE(receivers_wait(ch, MANY));
		/* As many cases of at least a list's links each, and not a page each. */
		EXPECT_LE(before + MANY * 16, user_bytes(ch));
		EXPECT_GE(before + MANY * 4096, user_bytes(ch));
		EXPECT_EQ(0, put(ch, 1));
		EXPECT_EQ(0, party_join(p));
		EXPECT_EQ(before, user_bytes(ch));
		close(ch);
	}
}

/* The device is for everybody, and root's limits are nobody's. */
TEST_F(user_limits, unprivileged_may)
{
	struct user *u = user_start(SOMEBODY);

	EXPECT_EQ(0, asked(u, CHANNEL));
	EXPECT_EQ(0, asked(u, PAIR));
	EXPECT_EQ(0, asked(u, GROUP));
	EXPECT_EQ(0, asked(u, CONTEXT));
}

/* No descriptor is free. */

/* Allow just @n more descriptors; a negative number: many. */
static void leave_room_for(int n)
{
	struct rlimit files;
	int lowest;

	if (getrlimit(RLIMIT_NOFILE, &files))
		err(1, "getrlimit");
	files.rlim_cur = files.rlim_max;
	if (n >= 0) {
		lowest = dup(0);
		if (lowest < 0)
			err(1, "dup");
		close(lowest);
		files.rlim_cur = lowest + n;
	}
	if (setrlimit(RLIMIT_NOFILE, &files))
		err(1, "setrlimit");
}

TEST(no_descriptor_free)
{
	struct chanfd_waitgroup w = { .fd = { -5, -5 } };
	struct chanfd_context x = { .parent = -1, .fd = { -5, -5 } };
	struct chanfd_channel c = { .elem_size = 8, .fd = { -5, -5 } };
	int device = chanfd_device(), wg = chanfd_waitgroup(0, NULL);
	uint32_t flags = CHANFD_READ;
	struct chanfd_waitgroup_info info;
	int ch = make(1), room;
	long before;

	ASSERT_LE(0, device);
	ASSERT_LE(0, wg);
	before = handles_open();
	/* With room for one a pair must not leave half of itself. */
	for (room = 1; room >= 0; room--) {
		leave_room_for(-1);
		leave_room_for(room);
		c.flags = room ? CHANFD_PAIR : 0;
		w.flags = c.flags;
		x.flags = c.flags;
		EXPECT_EQ(EMFILE, errno_of(ioctl(device, CHANFD_IOC_CHANNEL, &c)));
		EXPECT_EQ(EMFILE, errno_of(ioctl(device, CHANFD_IOC_WAITGROUP, &w)));
		EXPECT_EQ(EMFILE, errno_of(ioctl(device, CHANFD_IOC_CONTEXT, &x)));
	}
	EXPECT_EQ(EMFILE, errno_of(ioctl(ch, CHANFD_IOC_REDUCE, &flags)));
	flags = 0;
	EXPECT_EQ(EMFILE, errno_of(ioctl(wg, CHANFD_IOC_TOKEN, &flags)));
	leave_room_for(-1);

	EXPECT_EQ(before, handles_open());
	EXPECT_EQ(-5, c.fd[0]);
	EXPECT_EQ(-5, c.fd[1]);
	EXPECT_EQ(1, info_of(ch).senders);
	EXPECT_EQ(1, info_of(ch).receivers);
	EXPECT_EQ(0, chanfd_waitgroup_info(wg, &info));
	EXPECT_EQ(0, info.count);
	EXPECT_EQ(0, info.tokens);
	/* What exists works on. */
	EXPECT_EQ(0, put(ch, 1));
	EXPECT_EQ(1, chanfd_len(ch));
}

/* Names. */

TEST(names)
{
	static const struct {
		char name[CHANFD_NAME_LEN];
		int error;
	} rows[] = {
		{ "", 0 },
		{ "a", 0 },
		{ "with a space", 0 },
		{ "~!@#$%^&*()", 0 },
		{ "fifteen letters", 0 },
		{ { 's', 'i', 'x', 't', 'e', 'e', 'n', ' ', 'l', 'e', 't', 't',
		    'e', 'r', 's', '!' }, EINVAL },
		{ "line\n", EINVAL },
		{ "\ttab", EINVAL },
		{ "bell\a", EINVAL },
		{ "\x1b[31m", EINVAL },
		{ "del\x7f", EINVAL },
		{ "\x01", EINVAL },
	};
	int device = chanfd_device();
	unsigned int i;
	long before;

	ASSERT_LE(0, device);
	before = handles_open();
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct chanfd_channel c = { .elem_size = 1 };
		struct chanfd_waitgroup w = { 0 };
		struct chanfd_context x = { .parent = -1 };

		memcpy(c.name, rows[i].name, sizeof(c.name));
		memcpy(w.name, rows[i].name, sizeof(w.name));
		memcpy(x.name, rows[i].name, sizeof(x.name));
		EXPECT_EQ(rows[i].error,
			  errno_of(ioctl(device, CHANFD_IOC_CHANNEL, &c))) {
			TH_LOG("row %u", i);
		}
		EXPECT_EQ(rows[i].error,
			  errno_of(ioctl(device, CHANFD_IOC_WAITGROUP, &w)));
		EXPECT_EQ(rows[i].error,
			  errno_of(ioctl(device, CHANFD_IOC_CONTEXT, &x)));
		if (!rows[i].error) {
			close(c.fd[0]);
			close(w.fd[0]);
			close(x.fd[0]);
		}
	}
	EXPECT_EQ(before, handles_open());
}

TEST_HARNESS_MAIN
