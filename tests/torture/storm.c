// SPDX-License-Identifier: GPL-2.0
/*
 * storm SEED MILLISECONDS [CGROUP]: channels, whose users are killed, stopped and sent
 * signals all the time; with CGROUP, in a memory cgroup that is too small.
 *
 * Gangs of processes, of two threads each, send, receive and select on two channels in
 * every way that there is. A message is known by its sender's number and its own, and
 * there is an entry for it in shared memory. Whoever receives it writes that down there;
 * and it is received straight into shared memory, so if its receiver is killed before it
 * has written anything down it is found in the dead one's hands. So the books balance
 * exactly, whoever was killed when: every message that its sender knows to be sent was
 * received once, on one channel.
 *
 * Now and then all are held where they are: those who do not sleep in a call are made to
 * sleep outside. Then nobody may be asleep who could go on.
 */
#include <poll.h>

#include "torture.h"

#define GANGS	3
#define GANG	3		/* processes */
#define THREADS	2		/* of each */
#define PROCS	(GANGS * GANG)
#define PLACES	(PROCS * THREADS)
#define IDS	4096		/* senders: who has used a number up gets another one */
#define EACH	256		/* messages of each, from 1 */
#define BATCH	8
#define ROOM	65536

struct message {
	uint32_t id;
	uint32_t n;		/* from 1 */
	uint32_t channel;
	uint32_t size;		/* of it all; words */
	uint32_t filler[];	/* filler_of() it, all of them */
};

/**
 * struct entry - of one message
 * @times:	that it was received
 * @channel:	where
 * @seq:	its number there, plus one; 0 where that is not known
 */
struct entry {
	atomic_uint times;
	uint32_t channel;
	uint64_t seq;
};

/**
 * struct id - of one sender
 * @begun:	messages that may be sent
 * @acked:	messages that were
 */
struct id {
	atomic_uint begun;
	atomic_uint acked;
	struct entry entry[EACH + 1];
};

enum role { SENDER, RECEIVER, PEER };

/**
 * struct place - of a thread
 * @role:	of whoever is there
 * @tid:	who is; 0 for nobody yet, -1 for nobody at all
 * @finished:	sends no more
 * @error:	errno that it did not expect
 * @damaged:	messages that it received
 * @back:	how often a number was smaller than the one before
 * @in:		where it receives: of a page that is not present nothing is written
 * @out:	what it sends, to either channel
 */
struct place {
	uint8_t in[ROOM] __attribute__((aligned(4096)));
	uint8_t out[2][ROOM];
	enum role role;
	atomic_int tid;
	atomic_bool finished;
	atomic_int error;
	atomic_uint damaged;
	atomic_uint back;
};

static struct storm {
	int channel[2];
	unsigned int capacity[2];
	bool variable;
	unsigned int elem;
	atomic_uint held;
	atomic_bool over;	/* nobody shall send any more */
	atomic_uint ids;
	struct place place[PLACES];
	struct id id[IDS];
} *storm;

static pid_t pids[PROCS];
static pid_t pgids[GANGS];
static const char *cgroup;
static unsigned int killed, in_hands, holds;

/*
 * What the threads do
 */

/**
 * struct me - a thread
 * @place:	where
 * @id:		under which it sends
 * @last:	number received, on either channel
 * @ended:	channels
 */
struct me {
	struct place *place;
	uint32_t id;
	uint64_t last[2];
	bool ended[2];
};

static unsigned int size_of(uint32_t id, uint32_t n)
{
	unsigned int least = sizeof(struct message);

	if (!storm->variable)
		return storm->elem;
	return least + (id * 7919 + n * 977) % (storm->elem - least + 1) / 4 * 4;
}

static uint32_t filler_of(const struct message *msg)
{
	return (msg->id * EACH + msg->n) * 2654435761U;
}

static struct id *id_of(struct me *me)
{
	return &storm->id[me->id];
}

/* A sender's number with messages left. The last one of all is never used up. */
static bool get_id(struct me *me)
{
	if (me->id && id_of(me)->acked + BATCH <= EACH)
		return true;
	if (storm->ids >= IDS - PLACES)
		return false;
	me->id = ++storm->ids;
	return true;
}

static unsigned int write_message(struct me *me, uint8_t *to, int channel, uint32_t n)
{
	struct message *msg = (struct message *)to;
	unsigned int i;

	msg->id = me->id;
	msg->n = n;
	msg->channel = channel;
	msg->size = size_of(me->id, n);
	for (i = 0; i < (msg->size - sizeof(*msg)) / 4; i++)
		msg->filler[i] = filler_of(msg);
	return msg->size;
}

static bool is_intact(const struct message *msg)
{
	size_t i;

	if (!msg->id || msg->id >= IDS || !msg->n || msg->n > EACH || msg->channel > 1 ||
	    msg->size != size_of(msg->id, msg->n))
		return false;
	for (i = 0; i < (msg->size - sizeof(*msg)) / 4; i++)
		if (msg->filler[i] != filler_of(msg))
			return false;
	return true;
}

static void empty_hands(struct place *p)
{
	int i;

	for (i = 0; i < (storm->variable ? 1 : BATCH); i++)
		((struct message *)(p->in + i * storm->elem))->id = 0;
}

/* @n messages of @bytes in all are here; the first one's number plus one is @seq, or 0. */
static void write_down(struct me *me, int n, size_t bytes, int channel, uint64_t seq)
{
	struct place *p = me->place;
	int i;

	for (i = 0; i < n; i++) {
		const struct message *msg = (struct message *)(p->in + i * storm->elem);
		struct entry *e;

		if (!is_intact(msg) || msg->size != bytes / n ||
		    msg->channel != (uint32_t)channel) {
			p->damaged++;
			continue;
		}
		e = &storm->id[msg->id].entry[msg->n];
		e->channel = channel;
		e->seq = i ? 0 : seq;
		e->times++;
	}
	if (seq) {
		p->back += seq < me->last[channel];
		me->last[channel] = seq;
	}
}

/* A way to wait. If it has a context that is to be closed afterwards. */
static struct chanfd_opt some_opt(void)
{
	struct chanfd_opt opt = CHANFD_OPT_INIT;

	switch (below(8)) {
	case 0:
		opt.flags = CHANFD_NONBLOCK;
		break;
	case 1:
		opt.deadline = chanfd_deadline(below(2 * MSEC));
		break;
	case 2:
		opt.context = chanfd_context_timeout(-1, below(2 * MSEC));
		break;
	}
	return opt;
}

static void wait_for(int channel, short events)
{
	struct pollfd fd = { .fd = channel, .events = events };

	poll(&fd, 1, 1);
}

/* May a call fail like this? The end of a channel only comes when nobody sends. */
static void failed(struct me *me)
{
	switch (errno) {
	case EAGAIN:
	case EINTR:
	case ETIMEDOUT:
		return;
	case ENOMEM:
	case EMFILE:
		if (cgroup)
			return;
	}
	me->place->error = errno;
}

static void sent(struct me *me, int n)
{
	if (n < 0)
		failed(me);
	else
		id_of(me)->acked += n;
	id_of(me)->begun = id_of(me)->acked;
}

static void received(struct me *me, int n, size_t bytes, int channel, uint64_t seq)
{
	if (n > 0)
		write_down(me, n, bytes, channel, seq);
	else if (!n)
		me->ended[channel] = true;
	else
		failed(me);
}

static void send_some(struct me *me, const struct chanfd_opt *opt)
{
	uint8_t *out = me->place->out[0];
	uint32_t n = id_of(me)->acked + 1;
	int c = below(2), ch = storm->channel[c], i, count = 1;
	unsigned int size = 0;

	if (!storm->variable && !below(3))
		count = 2 + below(BATCH - 1);
	for (i = 0; i < count; i++)
		size += write_message(me, out + size, c, n + i);
	id_of(me)->begun += count;
	if (count > 1) {
		sent(me, chanfd_send_batch(ch, out, size, NULL, count, opt, NULL));
	} else if (below(2)) {
		sent(me, chanfd_send(ch, out, size, opt) ? -1 : 1);
	} else {
		if (below(2))
			wait_for(ch, POLLOUT);
		sent(me, write(ch, out, size) < 0 ? -1 : 1);
	}
}

static void recv_some(struct me *me, const struct chanfd_opt *opt)
{
	int c = below(2), n;
	struct chanfd_received r;
	uint8_t *in = me->place->in;
	ssize_t bytes;

	c = me->ended[c] ? !c : c;
	switch (below(3)) {
	case 0:
		n = chanfd_recv(storm->channel[c], in, storm->elem, opt, &r);
		received(me, n, r.size, c, r.seq + 1);
		break;
	case 1:
		if (below(2))
			wait_for(storm->channel[c], POLLIN);
		bytes = read(storm->channel[c], in, storm->elem);
		received(me, bytes > 0 ? 1 : bytes, bytes, c, 0);
		break;
	case 2:
		n = storm->variable ? 1 : BATCH;
		n = chanfd_recv_batch(storm->channel[c], in, (size_t)n * storm->elem, NULL, n,
				      opt, &r);
		received(me, n, r.size, c, r.seq + 1);
		break;
	}
}

/* All that the role allows, in one call. */
static void select_some(struct me *me, const struct chanfd_opt *opt, bool send, bool recv)
{
	struct place *p = me->place;
	uint32_t n = id_of(me)->acked + 1;
	struct chanfd_outcome out;
	struct chanfd_case all[4];
	int i;

	for (i = 0; i < 2; i++) {
		int from = recv && !me->ended[i] ? storm->channel[i] : -1;
		int to = send ? storm->channel[i] : -1;

		all[i] = CHANFD_RECV(from, p->in, storm->elem);
		all[2 + i] = CHANFD_SEND(to, p->out[i], write_message(me, p->out[i], i, n));
	}
	if (send)
		id_of(me)->begun++;
	switch (chanfd_select(all, 4, opt, &out)) {
	case 0:
	case 1:
		errno = out.error;
		received(me, out.error ? -1 : out.ok, out.size, out.index, out.number + 1);
		break;
	case 2:
	case 3:
		errno = out.error;
		sent(me, out.error ? -1 : 1);
		return;
	default:
		failed(me);
	}
	if (send)
		id_of(me)->begun--;
}

static void *thread(void *arg)
{
	struct me me = { .place = arg };
	struct place *p = me.place;
	struct chanfd_opt opt;

	seed = storm->ids * PLACES + (p - storm->place);
	p->tid = gettid();
	while (!p->error && !(me.ended[0] && me.ended[1])) {
		bool may_send = p->role != RECEIVER && !storm->over && get_id(&me);

		while (storm->held)
			futex_wait(&storm->held, 1);
		p->finished = !may_send;
		if (!may_send && p->role == SENDER)
			break;
		empty_hands(p);
		opt = some_opt();
		if (p->role == PEER || !below(3))
			select_some(&me, &opt, may_send, p->role != SENDER);
		else if (p->role == SENDER)
			send_some(&me, &opt);
		else
			recv_some(&me, &opt);
		close(opt.context);
	}
	p->finished = true;
	return NULL;
}

static void join_cgroup(void)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (write(fd, "0", 1) != 1)
		err(1, "%s", path);
	close(fd);
	become(NOBODY);
}

static void process(int proc)
{
	struct place *p = &storm->place[proc * THREADS];
	pthread_t other;

	if (cgroup)
		join_cgroup();
	if (pthread_create(&other, NULL, thread, p + 1)) {
		p[1].tid = -1;
		p[1].finished = true;
		thread(p);
	} else {
		thread(p);
		pthread_join(other, NULL);
	}
	_exit(0);
}

/*
 * What is done to them
 */

static void start(int proc)
{
	int gang = proc / GANG, i;

	for (i = 0; i < THREADS; i++) {
		storm->place[proc * THREADS + i].tid = 0;
		storm->place[proc * THREADS + i].finished = false;
	}
	pids[proc] = fork_child();
	if (!pids[proc])
		process(proc);
	/* If nobody is left of the gang it gets a new name. */
	if (!pgids[gang] || setpgid(pids[proc], pgids[gang])) {
		setpgid(pids[proc], 0);
		pgids[gang] = pids[proc];
	}
}

/*
 * What the dead have in their hands, and nobody has written down, is received. A message
 * longer than a page may be there in part: then it is the channel's.
 */
static void search(struct place *p)
{
	int i;

	for (i = 0; i < (storm->variable ? 1 : BATCH); i++) {
		struct message *msg = (struct message *)(p->in + i * storm->elem);
		struct entry *e;

		if (!is_intact(msg))
			continue;
		e = &storm->id[msg->id].entry[msg->n];
		if (!e->times) {
			e->times = 1;
			e->channel = msg->channel;
			e->seq = 0;
			in_hands++;
		}
		msg->id = 0;
	}
}

/* A receiver who is not in the cgroup: there may be nobody else who has memory. */
static void drain(void)
{
	static struct me me;
	static struct place mine;
	struct chanfd_received r;
	int c;

	me.place = &mine;
	for (c = 0; c < 2; c++)
		while (chanfd_recv(storm->channel[c], mine.in, ROOM,
				   CHANFD_OPT(-1, CHANFD_NONBLOCK, 0), &r) == 1)
			write_down(&me, 1, r.size, c, r.seq + 1);
	if (mine.damaged)
		wrong("a message was damaged");
}

/* Buries the dead, and replaces those who were killed; true if there is nobody left. */
static bool bury(void)
{
	int status, i, t;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; pids[i] != pid; i++)
			;
		for (t = 0; t < THREADS; t++)
			search(&storm->place[i * THREADS + t]);
		pids[i] = 0;
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
			killed++;
			if (cgroup)
				drain();
			start(i);
		} else if (status) {
			wrong("a process ended with status %#x", status);
		}
	}
	return pid < 0;
}

static void check_places(void)
{
	int i;

	for (i = 0; i < PLACES; i++) {
		const struct place *p = &storm->place[i];

		if (p->error)
			wrong("a call failed with errno %d (%s), role %d", p->error,
			      strerror(p->error), p->role);
		if (p->damaged)
			wrong("a message was damaged");
	}
}

static void hit(int proc, int sig)
{
	if (pids[proc])
		kill(pids[proc], sig);
}

static void hit_all(int sig)
{
	int i;

	for (i = 0; i < PROCS; i++)
		hit(i, sig);
}

/* For people: who does what. */
static void show_places(void)
{
	static const char *const roles[] = { "sender", "receiver", "peer" };
	char path[64], text[512];
	int i;

	for (i = 0; i < PLACES; i++) {
		const struct place *p = &storm->place[i];

		snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pids[i / THREADS], p->tid);
		if (!read_text(path, text, 40))
			text[0] = '\0';
		printf("%s%s: %s\n", roles[p->role], p->finished ? ", finished" : "", text);
	}
}

/* Everybody sleeps, and has nothing to do but that? */
static bool all_sleep(void)
{
	int i;

	bury();
	check_places();
	for (i = 0; i < PLACES; i++)
		if (pids[i / THREADS] && storm->place[i].tid >= 0 &&
		    !thread_sleeps(pids[i / THREADS], storm->place[i].tid))
			return false;
	return true;
}

/* Why somebody should not be asleep, given that all are; NULL if they may. */
static const char *why_awake(const struct chanfd_channel_info *info)
{
	if (info->waiting_receivers && info->len)
		return "a receiver sleeps, and there is a message";
	if (info->waiting_senders && info->len < info->capacity)
		return "a sender sleeps, and there is room";
	/* One may be a select that does both, and does not meet itself. */
	if (info->waiting_receivers && info->waiting_senders &&
	    info->waiting_receivers + info->waiting_senders > 2)
		return "a sender and a receiver sleep";
	return NULL;
}

/* What nobody can change who sleeps, but for those whose time has come. */
static bool at_rest(const char **why)
{
	struct chanfd_channel_info before[2], after[2];
	int i;

	for (i = 0; i < 2; i++)
		before[i] = info_of(storm->channel[i]);
	*why = "somebody does not come to rest";
	if (!all_sleep())
		return false;
	*why = NULL;
	for (i = 0; i < 2; i++) {
		after[i] = info_of(storm->channel[i]);
		*why = *why ?: why_awake(&after[i]);
	}
	return !memcmp(before, after, sizeof(before)) && !*why;
}

static void hold(void)
{
	const char *why;

	storm->held = 1;
	if (below(4))	/* what those who die then leave behind must be seen to, too */
		kill(-pgids[below(GANGS)], SIGKILL);
	hit_all(SIGCONT);
	if (!eventually(at_rest(&why))) {
		show_places();
		wrong("%s", why ?: "the numbers change while all sleep");
	}
	storm->held = 0;
	futex_wake(&storm->held);
	holds++;
}

static void rage(void)
{
	static const int harmless[] = { SIGUSR1, SIGUSR2 };
	int proc = below(PROCS), gang = below(GANGS);

	switch (below(16)) {
	case 0:
		kill(-pgids[gang], SIGKILL);
		break;
	case 1:
	case 2:
		hit(proc, SIGKILL);
		break;
	case 3:
		kill(-pgids[gang], SIGSTOP);
		break;
	case 4:
		hit(proc, SIGSTOP);
		break;
	case 5:
	case 6:
		hit_all(SIGCONT);
		break;
	case 7:
		if (!cgroup)
			hold();
		break;
	case 8:
		kill(-pgids[gang], harmless[below(2)]);
		break;
	default:
		hit(proc, harmless[below(2)]);
	}
	bury();
	check_places();
	pause_for(below(8 * MSEC));
}

/* How often the cgroup was. */
static unsigned long at_limit(void)
{
	char path[256], text[512];
	const char *max;

	snprintf(path, sizeof(path), "%s/memory.events", cgroup);
	if (!read_text(path, text, sizeof(text)))
		err(1, "%s", path);
	max = strstr(text, "max ");
	return max ? strtoul(max + strlen("max "), NULL, 10) : 0;
}

static bool all_finished(void)
{
	int i;

	bury();
	check_places();
	for (i = 0; i < PLACES; i++)
		if (!storm->place[i].finished)
			return false;
	return true;
}

static const char *unrest(void)
{
	static char text[256];
	struct chanfd_channel_info a = info_of(storm->channel[0]), b = info_of(storm->channel[1]);

	snprintf(text, sizeof(text),
		 "channels of %u and %u with %u and %u messages, waiting to send %u and %u, to receive %u and %u",
		 a.capacity, b.capacity, a.len, b.len, a.waiting_senders, b.waiting_senders,
		 a.waiting_receivers, b.waiting_receivers);
	return text;
}

/*
 * The books
 */

static void audit_id(const struct id *id, unsigned int count[2], uint8_t *had[2],
		     const uint64_t sent[2])
{
	uint64_t last[2] = { 0 };
	unsigned int n;

	if (id->begun > EACH)
		wrong("the books are damaged");
	for (n = 1; n <= EACH; n++) {
		const struct entry *e = &id->entry[n];

		if (e->times > 1)
			wrong("a message was received %u times", e->times);
		if (e->times && n > id->begun)
			wrong("a message that nobody sent");
		if (!e->times && n <= id->acked)
			wrong("a message that was sent is gone");
		if (!e->times)
			continue;
		count[e->channel]++;
		if (!e->seq)
			continue;
		if (e->seq > sent[e->channel])
			wrong("a number that the channel does not know");
		if (had[e->channel][e->seq - 1]++)
			wrong("a number was given twice");
		if (e->seq <= last[e->channel])
			wrong("a sender's order was not kept");
		last[e->channel] = e->seq;
	}
}

static void audit(void)
{
	struct chanfd_channel_info info[2];
	unsigned int count[2] = { 0 }, back = 0, i;
	uint64_t sent[2];
	uint8_t *had[2];

	for (i = 0; i < 2; i++) {
		info[i] = info_of(storm->channel[i]);
		sent[i] = info[i].sent;
		had[i] = calloc(1, sent[i] + 1);
		if (!had[i])
			err(1, "calloc");
	}
	for (i = 1; i < IDS; i++)
		audit_id(&storm->id[i], count, had, sent);
	for (i = 0; i < 2; i++) {
		if (info[i].len || info[i].waiting_senders || info[i].waiting_receivers ||
		    info[i].dropped)
			wrong("the end of a channel: %s", unrest());
		if (info[i].sent != count[i] || info[i].received != count[i])
			wrong("the channel counts %llu sent and %llu received, the books %u",
			      info[i].sent, info[i].received, count[i]);
		free(had[i]);
	}
	for (i = 0; i < PLACES; i++)
		back += storm->place[i].back;
	if (back > info[0].returned + info[1].returned)
		wrong("numbers went back %u times, and %llu messages had come back", back,
		      info[0].returned + info[1].returned);
	printf("messages=%u killed=%u returned=%llu in_hands=%u holds=%u\n",
	       count[0] + count[1], killed, info[0].returned + info[1].returned, in_hands,
	       holds);
}

static void choose(void)
{
	static const unsigned int capacities[] = { 0, 0, 1, 4, 64 };
	static const unsigned int elems[] = { 16, 64, 512, 6000 };
	int i;
	int senders = 1 + below(PLACES - 3), peers = below(4) ? 0 : below(PLACES);

	if (cgroup)	/* to fill the channels */
		senders = PLACES - 3;

	storm->elem = cgroup ? ROOM : elems[below(ARRAY_SIZE(elems))];
	storm->variable = cgroup || storm->elem == 6000;
	for (i = 0; i < 2; i++) {
		storm->capacity[i] = cgroup ? 256 : capacities[below(ARRAY_SIZE(capacities))];
		storm->channel[i] = chanfd_channel(storm->elem, storm->capacity[i],
						   storm->variable ? CHANFD_VARIABLE : 0, "storm");
		if (storm->channel[i] < 0)
			err(1, "chanfd_channel");
	}
	/* Both roles in every process, and never only one of them. */
	for (i = 0; i < PLACES; i++)
		storm->place[i * 7 % PLACES].role = i < senders ? SENDER :
			i < senders + peers && i < PLACES - 1 ? PEER : RECEIVER;
}

int main(int argc, char **argv)
{
	unsigned long at_first = 0;
	uint64_t end;
	int i;

	if (argc < 3)
		errx(2, "usage: storm SEED MILLISECONDS [CGROUP]");
	seed = strtoul(argv[1], NULL, 0);
	end = now() + strtoul(argv[2], NULL, 0) * MSEC;
	cgroup = argv[3];
	if (!cgroup)
		become(NOBODY);
	storm = shared(sizeof(*storm));
	if (cgroup)	/* it is not to be paid for there */
		memset(storm, 0, sizeof(*storm));
	if (cgroup)
		at_first = at_limit();
	choose();
	catch_signal(SIGUSR1, SA_RESTART);
	catch_signal(SIGUSR2, 0);
	for (i = 0; i < PROCS; i++)
		start(i);
	do
		rage();
	while (storm->ids < IDS - PLACES &&
	       !is_enough(end, killed && (cgroup ? at_limit() > at_first : holds)));
	storm->over = true;
	hit_all(SIGCONT);
	if (!eventually(all_finished())) {
		show_places();
		wrong("senders do not end: %s", unrest());
	}
	for (i = 0; i < 2; i++)
		if (chanfd_close(storm->channel[i], 0))
			wrong("close: %m");
	if (!eventually(bury()))
		wrong("receivers do not end: %s", unrest());
	if (cgroup)
		drain();
	check_places();
	audit();
	return 0;
}
