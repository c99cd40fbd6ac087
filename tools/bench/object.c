// SPDX-License-Identifier: GPL-2.0
/* The objects compared: how each is made and used. */
#include <chanfd.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

static void channel_open(int fd[2], unsigned int capacity)
{
	fd[0] = chanfd_make(struct message, capacity);
	fd[1] = fd[0];
	check(fd[0] >= 0, "chanfd_make");
}

static void write_message(int fd, const struct message *m)
{
	check(write(fd, m, sizeof(*m)) == sizeof(*m), "write");
}

static void read_message(int fd, struct message *m)
{
	check(read(fd, m, sizeof(*m)) == sizeof(*m), "read");
}

const struct object channel_write = {
	"chanfd-write", false, channel_open, write_message, read_message
};

static void channel_send(int fd, const struct message *m)
{
	check(!chanfd_put(fd, *m, NULL), "chanfd_put");
}

static void channel_recv(int fd, struct message *m)
{
	check(chanfd_get(fd, m, NULL) == 1, "chanfd_get");
}

const struct object channel_call = {
	"chanfd-call", false, channel_open, channel_send, channel_recv
};

static void pipe_open(int fd[2], unsigned int capacity)
{
	(void)capacity;
	check(!pipe2(fd, O_CLOEXEC), "pipe");
}

const struct object pipes = { "pipe", false, pipe_open, write_message, read_message };

static void eventfd_open(int fd[2], unsigned int capacity)
{
	(void)capacity;
	fd[0] = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
	fd[1] = fd[0];
	check(fd[0] >= 0, "eventfd");
}

static void eventfd_send(int fd, const struct message *m)
{
	uint64_t one = 1;

	(void)m;
	check(write(fd, &one, sizeof(one)) == sizeof(one), "eventfd write");
}

static void eventfd_recv(int fd, struct message *m)
{
	check(read(fd, &m->number, sizeof(m->number)) == sizeof(m->number), "eventfd read");
}

const struct object eventfds = { "eventfd", true, eventfd_open, eventfd_send, eventfd_recv };

static void mqueue_open(int fd[2], unsigned int capacity)
{
	struct mq_attr attr = { .mq_maxmsg = capacity, .mq_msgsize = MESSAGE_SIZE };

	fd[0] = mq_open("/bench", O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	fd[1] = fd[0];
	check(fd[0] >= 0, "mq_open");
	check(!mq_unlink("/bench"), "mq_unlink");
}

static void mqueue_send(int fd, const struct message *m)
{
	check(!mq_send(fd, (const char *)m, sizeof(*m), 0), "mq_send");
}

static void mqueue_recv(int fd, struct message *m)
{
	check(mq_receive(fd, (char *)m, sizeof(*m), NULL) == sizeof(*m), "mq_receive");
}

const struct object mqueues = { "mqueue", false, mqueue_open, mqueue_send, mqueue_recv };

static void seqpacket_open(int fd[2], unsigned int capacity)
{
	(void)capacity;
	check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), "socketpair");
}

const struct object seqpackets = {
	"seqpacket", false, seqpacket_open, write_message, read_message
};

/* A mailbox in shared memory: 0 empty, 1 full. Its "fd" is its index. */
static atomic_uint *mailbox;

static void futex_open(int fd[2], unsigned int capacity)
{
	static int used;

	(void)capacity;
	if (!mailbox)
		mailbox = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(mailbox != MAP_FAILED, "mmap");
	fd[0] = used++;
	fd[1] = fd[0];
}

static void futex_send(int fd, const struct message *m)
{
	(void)m;
	atomic_store(&mailbox[fd], 1);
	syscall(SYS_futex, &mailbox[fd], FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futex_recv(int fd, struct message *m)
{
	(void)m;
	while (!atomic_exchange(&mailbox[fd], 0))
		syscall(SYS_futex, &mailbox[fd], FUTEX_WAIT, 0, NULL, NULL, 0);
}

const struct object futexes = { "futex", true, futex_open, futex_send, futex_recv };
