// SPDX-License-Identifier: GPL-2.0
/* Programs and histories in words. */

#include <stdio.h>
#include <string.h>

#include "../../uapi/chanfd.h"
#include "program.h"

static const char *rights(u8 r)
{
	static const char *const names[] = { "-", "r", "w", "rw" };

	return names[r & RW];
}

static const char *object(u8 obj, char *buf)
{
	if (obj < CHANNELS)
		sprintf(buf, "channel%d", obj);
	else if (obj == GROUP)
		sprintf(buf, "group");
	else if (obj == CELL)
		sprintf(buf, "cell");
	else if (obj == LOCK)
		sprintf(buf, "lock");
	else
		sprintf(buf, "context%d", obj - CONTEXT);
	return buf;
}

static const char *when(u8 deadline)
{
	return deadline == SOON ? " deadline=soon" : deadline == PAST ? " deadline=past" : "";
}

static void print_case(const struct a_case *c)
{
	char buf[32];

	switch (c->op) {
	case CHANFD_CASE_SEND:
		printf("send(%s value=%d size=%d", object(c->obj, buf), c->value, c->size);
		break;
	case CHANFD_CASE_RECV:
		printf("receive(%s room=%d", object(c->obj, buf), c->size);
		break;
	case CHANFD_CASE_WAIT:
		printf("wait(");
		if (c->broken)
			printf("broken!=%d", c->known);
		break;
	case CHANFD_CASE_DONE:
		printf("done(%s", object(c->obj, buf));
		break;
	case CHANFD_CASE_DRAINED:
		printf("drained(%s", object(c->obj, buf));
		break;
	case CHANFD_CASE_CHANGED:
		printf("changed(version!=%d", c->known);
		break;
	case CHANFD_CASE_LOCK:
		printf("lock(");
		break;
	case CHANFD_CASE_READ_LOCK:
		printf("read-lock(");
		break;
	case CHANFD_CASE_POLL:
		printf("poll(eventfd");
		break;
	}
	printf("%s)", c->bad ? " bad pointer" : "");
}

static void print_op(const struct op *op)
{
	static const char *const names[] = {
		[OP_SEND] = "SEND", [OP_RECV] = "RECV", [OP_SELECT] = "SELECT",
		[OP_CLOSE] = "CLOSE", [OP_KEEP] = "keep", [OP_ADD] = "ADD", [OP_TOKEN] = "TOKEN",
		[OP_DONE] = "DONE", [OP_DROP_TOKEN] = "close token", [OP_CANCEL] = "CANCEL",
		[OP_DERIVE] = "CONTEXT", [OP_POLL] = "poll", [OP_SIGNAL] = "signal",
		[OP_EVENT] = "eventfd", [OP_LOAD] = "LOAD", [OP_STORE] = "STORE",
		[OP_READ] = "read page", [OP_LOCK] = "LOCK", [OP_UNLOCK] = "UNLOCK",
		[OP_DOWNGRADE] = "DOWNGRADE", [OP_DIE] = "die", [OP_COMMIT] = "COMMIT",
		[OP_DROP_LEASE] = "close lease", [OP_INFO] = "INFO",
	};
	static const char *const faults[] = {
		[BAD_POINTER] = "bad pointer", [FAIL_COPY] = "one copy fails",
		[FAIL_COPIES] = "copies fail", [FAIL_ALLOC] = "allocation fails",
	};
	bool file = op->flags & FILE_CALL;
	char buf[32];
	int i;

	printf("%s", file ? op->kind == OP_SEND ? "write" : "read" : names[op->kind]);
	switch (op->kind) {
	case OP_SEND:
	case OP_RECV:
	case OP_LOCK:
	case OP_SELECT:
		if (op->kind != OP_SELECT)
			printf(" %d", op->count);
		for (i = 0; i < (op->kind == OP_SELECT ? op->count : 1); i++) {
			printf(" ");
			print_case(&op->cases[i]);
		}
		printf("%s%s%s%s", op->flags & NONBLOCK ? " nonblock" : "",
		       op->flags & ORDERED ? " ordered" : "",
		       op->flags & NOWHERE ? " nowhere" : "", when(op->deadline));
		if (op->flags & LEASED)
			printf(" leased");
		if (op->limit)
			printf(" limit=%s", object(op->limit, buf));
		if (op->fault)
			printf(" (%s, %d)", faults[op->fault], op->nth);
		break;
	case OP_KEEP:
		printf(" %s of %s", rights(op->arg), object(op->obj, buf));
		break;
	case OP_ADD:
		printf(" %d error=%d", op->arg, op->error);
		break;
	case OP_TOKEN:
	case OP_DONE:
	case OP_DROP_TOKEN:
		printf(" %d error=%d%s", op->arg, op->error,
		       op->flags & AUTO_DONE ? " auto-done" : "");
		break;
	case OP_DERIVE:
		printf(" %s below", object(op->obj, buf));
		printf(" %s%s cause=%d%s", object(op->arg, buf), when(op->deadline), op->error,
		       op->flags & KEEP_ALIVE ? " keep" : "");
		break;
	case OP_LOAD:
	case OP_STORE:
		if (op->kind == OP_STORE)
			printf(" value=%d tag=%d", op->cases[0].value, op->tag);
		printf(" size=%d", op->cases[0].size);
		if (op->flags & IF_VERSION)
			printf(" version=%d", op->cases[0].known);
		if (op->flags & SWAP)
			printf(" old room=%d", op->room);
		if (op->fault)
			printf(" (%s, %d)", faults[op->fault], op->nth);
		break;
	case OP_CLOSE:
	case OP_CANCEL:
		printf(" %s cause=%d", object(op->obj, buf), op->arg);
		break;
	case OP_SIGNAL:
		printf(" thread%d%s", op->obj, op->arg ? " kill" : "");
		break;
	case OP_UNLOCK:
		printf("%s", op->arg == CHANFD_SHARED ? " shared" : op->arg ? " give up" : "");
		break;
	case OP_EVENT:
	case OP_COMMIT:
	case OP_DROP_LEASE:
	case OP_DIE:
		break;
	default:
		printf(" %s", object(op->obj, buf));
	}
}

static void print_outcome(const struct op *op)
{
	int i;

	if (op->ret < 0)
		printf("-%s", strerrorname_np(-op->ret));
	else
		printf("%d", op->ret);
	if (op->kind == OP_SELECT && !op->ret) {
		printf(" case %d", op->index);
		if (op->failed)
			printf(" error=%s", strerrorname_np(op->failed));
		printf(" ok=%d size=%u status=%d number=%llu", op->ok, op->size, op->status,
		       (unsigned long long)op->number);
		if (op->ok)
			printf(" value=%d", op->value[0]);
	} else if (op->has_number) {
		printf(" number=%llu", (unsigned long long)op->number);
	}
	for (i = 0; op->kind == OP_RECV && op->told && i < op->ret; i++)
		printf(" value=%d/%d", op->value[i], op->sizes[i]);
	if ((op->kind == OP_LOAD || op->kind == OP_READ || op->flags & SWAP) && !op->ret)
		printf(" value=%d/%d", op->value[0], op->sizes[0]);
	if (op->returned)
		printf(" returned=%d", op->returned);
	if (op->kind == OP_ADD && !op->ret)
		printf(" count=%u", op->size);
	if (op->kind == OP_POLL)
		printf(" events=%#x", op->size);
	for (i = 0; op->kind == OP_INFO && i < 12; i++)
		printf(" %u", op->info[i]);
	if (op->early)
		printf(" BEFORE ITS DEADLINE");
	if (op->garbled)
		printf(" GARBLED");
}

void print_program(const struct program *p)
{
	char buf[32];
	int i, t;

	for (i = 0; i < p->channels; i++)
		printf("# channel%d: capacity %d, %s%d bytes\n", i, p->channel[i].capacity,
		       p->channel[i].variable ? "up to " : "", p->channel[i].elem_size);
	if (p->has_lock)
		printf("# lock: %s%s\n", p->lock.rw ? "rw " : "",
		       p->lock.flags & CHANFD_HANDOFF ? "handoff" :
		       p->lock.flags & CHANFD_BARGING ? "barging" : "adaptive");
	for (i = 0; i < p->contexts; i++)
		printf("# context%d: parent %s%s cause=%d%s\n", i,
		       p->context[i].parent ? object(p->context[i].parent, buf) : "none",
		       when(p->context[i].deadline), p->context[i].cause,
		       p->context[i].keep ? " keep" : "");
	for (t = 0; t < THREADS; t++) {
		if (t >= p->workers && t != CONDUCTOR)
			continue;
		printf("# thread%d has", t);
		for (i = 0; i < OBJECTS; i++)
			if (p->rights[t][i])
				printf(" %s:%s", object(i, buf), rights(p->rights[t][i]));
		printf("\n");
		for (i = 0; t < WORKERS && i < p->ops[t]; i++) {
			if (p->op[t][i].kind == OP_NONE)
				continue;
			printf("#    ");
			print_op(&p->op[t][i]);
			printf("\n");
		}
	}
	fflush(stdout);
}

/* All events; the one numbered @stuck is marked, and is the last but for some. */
void print_history(struct history *h, int stuck)
{
	int i;

	for (i = 0; i < h->events && i < stuck + 6; i++) {
		const struct event *e = &h->event[i];

		printf("# %s%3d ", i == stuck ? "=>" : "  ", i);
		if (e->type == QUIET) {
			printf("quiet, asleep: %#x\n", e->asleep);
			continue;
		}
		printf("thread%d %s ", e->thread, e->type == BEGIN ? "{" : "}");
		print_op(event_op(h, e));
		if (e->type == END) {
			printf(" = ");
			print_outcome(event_op(h, e));
		}
		printf("\n");
	}
	fflush(stdout);
}
