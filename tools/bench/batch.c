// SPDX-License-Identifier: GPL-2.0
/* 32 messages sent by one call and received by another, one thread. */
#include <chanfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"

#define BATCH	32
#define ROUNDS	5000

struct method {
	const char *name;
	const struct object *object;
	void (*send)(int fd, struct message m[BATCH]);
	void (*recv)(int fd, struct message m[BATCH]);
};

static void rounds(const struct method *by, const int fd[2], unsigned int count)
{
	struct message out[BATCH] = {}, in[BATCH];

	for (unsigned int i = 0; i < count; i++) {
		for (unsigned int k = 0; k < BATCH; k++)
			message_set(&out[k], i * BATCH + k);
		by->send(fd[1], out);
		by->recv(fd[0], in);
		for (unsigned int k = 0; k < BATCH; k++)
			message_check(by->object, &in[k], i * BATCH + k);
	}
}

static void batch(const void *arg)
{
	const struct method *by = arg;
	int fd[2];

	by->object->open(fd, BATCH);
	rounds(by, fd, ROUNDS / 10);
	clock_start();
	rounds(by, fd, ROUNDS);
	clock_stop();
	result(ROUNDS * BATCH);
}

static void write_all(int fd, struct message m[BATCH])
{
	check(write(fd, m, BATCH * sizeof(*m)) == BATCH * sizeof(*m), "write");
}

static void read_all(int fd, struct message m[BATCH])
{
	check(read(fd, m, BATCH * sizeof(*m)) == BATCH * sizeof(*m), "read");
}

static void channel_send(int fd, struct message m[BATCH])
{
	check(chanfd_send_batch(fd, m, BATCH * sizeof(*m), NULL, BATCH, NULL, NULL) == BATCH,
	      "chanfd_send_batch");
}

static void channel_recv(int fd, struct message m[BATCH])
{
	check(chanfd_recv_batch(fd, m, BATCH * sizeof(*m), NULL, BATCH, NULL, NULL) == BATCH,
	      "chanfd_recv_batch");
}

static void vector(struct iovec iov[BATCH], struct message m[BATCH])
{
	for (unsigned int k = 0; k < BATCH; k++)
		iov[k] = (struct iovec){ &m[k], sizeof(m[k]) };
}

static void send_vector(int fd, struct message m[BATCH])
{
	struct iovec iov[BATCH];

	vector(iov, m);
	check(writev(fd, iov, BATCH) == BATCH * sizeof(*m), "writev");
}

static void recv_vector(int fd, struct message m[BATCH])
{
	struct iovec iov[BATCH];

	vector(iov, m);
	check(readv(fd, iov, BATCH) == BATCH * sizeof(*m), "readv");
}

static void headers(struct mmsghdr head[BATCH], struct iovec iov[BATCH], struct message m[BATCH])
{
	vector(iov, m);
	for (unsigned int k = 0; k < BATCH; k++)
		head[k].msg_hdr = (struct msghdr){ .msg_iov = &iov[k], .msg_iovlen = 1 };
}

static void send_packets(int fd, struct message m[BATCH])
{
	struct mmsghdr head[BATCH];
	struct iovec iov[BATCH];

	headers(head, iov, m);
	check(sendmmsg(fd, head, BATCH, 0) == BATCH, "sendmmsg");
}

static void recv_packets(int fd, struct message m[BATCH])
{
	struct mmsghdr head[BATCH];
	struct iovec iov[BATCH];

	headers(head, iov, m);
	check(recvmmsg(fd, head, BATCH, 0, NULL) == BATCH, "recvmmsg");
}

void measure_batches(void)
{
	static const struct method all[] = {
		{ "chanfd-write", &channel_write, write_all, read_all },
		{ "chanfd-call", &channel_call, channel_send, channel_recv },
		{ "pipe-vector", &pipes, send_vector, recv_vector },
		{ "pipe-stream", &pipes, write_all, read_all },
		{ "seqpacket", &seqpackets, send_packets, recv_packets },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		measure(batch, &all[i], "batch", all[i].name, 0);
}
