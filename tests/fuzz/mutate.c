// SPDX-License-Identifier: GPL-2.0
/*
 * Making programs up, and changing them.
 *
 * Most values are sensible, as the description has them, for calls that do something;
 * some are not. What kind of descriptor is in which place is derived from the calls
 * before, as if they all succeeded.
 */
#include <limits.h>
#include <string.h>

#include "../../uapi/chanfd.h"
#include "mutate.h"

/* xorshift64*: a run is repeated by its seed. */
static uint64_t state = 1;

void seed_random(uint64_t seed)
{
	state = seed * 0x9e3779b97f4a7c15 | 1;
}

static uint64_t random64(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1d;
}

unsigned int below(unsigned int n)
{
	return n ? (unsigned int)((random64() >> 33) % n) : 0;
}

static bool one_in(unsigned int n)
{
	return !below(n);
}

static int64_t one_of(const int64_t *numbers, int nr)
{
	return numbers[below((unsigned int)nr)];
}

/* What is in a place: type and rights of a descriptor, and who made it. */
struct place {
	unsigned int type;
	unsigned int rights;
	const struct step *maker;
};

static const struct value *field_of(const struct step *s, const char *name)
{
	const struct field *fields = calls[s->call].fields;
	int i;

	for (i = 0; fields[i].name; i++)
		if (!strcmp(fields[i].name, name))
			return &s->fields[i];
	return NULL;
}

static void put_into(struct place *place, const struct step *s, const struct place *on)
{
	const struct call *call = &calls[s->call];
	const struct value *flags = call->ioctl ? field_of(s, "flags") : NULL;
	unsigned int pair = !call->ioctl && call->pair ? CHANFD_PAIR : 0;
	struct place made = { call->makes, CHANFD_READ | CHANFD_WRITE, s };

	if (call->makes == OURS) {
		made = *on;
		if (flags && flags->number & (CHANFD_READ | CHANFD_WRITE))
			made.rights &= flags->number;
	}
	if (call->makes == TOKEN)
		made.rights = CHANFD_WRITE;
	if (flags && call->pair)
		pair = flags->number & CHANFD_PAIR;
	if (flags && call->makes == CONTEXT && flags->number & CHANFD_OBSERVE)
		made.rights = CHANFD_READ;
	if (pair) {
		place[s->out[1]] = made;
		place[s->out[1]].rights = CHANFD_WRITE;
		made.rights = CHANFD_READ;
	}
	place[s->out[0]] = made;
}

/* What is where after the first @nr steps. */
static void look(const struct program *p, int nr, struct place place[NR_HANDLES])
{
	int i;

	memset(place, 0, NR_HANDLES * sizeof(*place));
	for (i = 0; i < nr; i++) {
		const struct step *s = &p->steps[i];
		struct place on = { 0 };

		if (s->on.base == HANDLE_AT)
			on = place[s->on.number];
		if (calls[s->call].makes)
			put_into(place, s, &on);
		else if (!strcmp(calls[s->call].name, "close") && s->on.base == HANDLE_AT &&
			 s->thread == 0)
			place[s->on.number].type = 0;
	}
}

/* Values */

static struct value plain(int64_t number)
{
	return (struct value){ .number = (uint64_t)number };
}

static struct value boundary(void)
{
	static const int64_t numbers[] = {
		0, 1, -1, 2, 127, 255, 256, 4095, 4096, 65535, 65536, INT_MAX, INT_MIN,
		UINT_MAX, (int64_t)UINT_MAX + 1, LLONG_MAX, LLONG_MIN,
	};
	uint64_t number = (uint64_t)one_of(numbers, ARRAY_SIZE(numbers));

	if (one_in(3))
		number = random64() >> below(64);
	return plain((int64_t)(number + below(3) - 1));
}

/* Any descriptor that fits, or sometimes any other. */
static struct value handle(const struct place *place, unsigned int types, unsigned int rights)
{
	int fitting[NR_HANDLES], nr = 0, i;

	if (types & DEVICE && one_in(types == DEVICE ? 1 : 4))
		return (struct value){ .base = DEVICE_FD };
	for (i = 0; i < NR_HANDLES; i++)
		if (place[i].type & types && (place[i].rights & rights) == rights)
			fitting[nr++] = i;
	if (nr && !one_in(12))
		return (struct value){ (uint64_t)fitting[below((unsigned int)nr)], HANDLE_AT };
	if (one_in(10))
		return one_in(2) ? boundary() : (struct value){ .base = DEVICE_FD };
	return (struct value){ below(NR_HANDLES), HANDLE_AT };
}

static struct value memory(void)
{
	static const enum base bad[] = { READ_ONLY, UNMAPPED, KERNEL, DATA_END, COLD, COLD };

	if (!one_in(6))
		return (struct value){ one_in(4) ? 65536 * below(4) : 0, DATA };
	if (one_in(8))
		return plain(0);
	if (one_in(2))
		return (struct value){ -(uint64_t)below(40), DATA_END };
	return (struct value){ one_in(2) ? 4096 - below(16) : 0, bad[below(6)] };
}

static struct value deadline(void)
{
	switch (below(8)) {
	case 0:
	case 1:
		return plain(0);
	case 2:
		return plain(1);
	case 3:
		return boundary();
	}
	return (struct value){ below(3) * 1000000 + below(1000), NOW };
}

static struct value string(void)
{
	static const int64_t lengths[] = { 0, 0, 1, 1, 1, 2, 15, 16, 63, 64 };
	uint64_t character = one_in(10) ? below(256) : 'a' + below(2);
	uint64_t length = (uint64_t)one_of(lengths, ARRAY_SIZE(lengths));

	if (!length)
		return plain(0);
	return (struct value){ character << 8 | length, one_in(20) ? GAP : TEXT };
}

/* Who does not wait does more; but some must, to be woken. */
static bool patient;

static struct value flags(const struct field *f)
{
	uint64_t set = 0;
	int i;

	for (i = 0; i < 64; i++)
		if (f->bits >> i & 1 && one_in(3))
			set |= 1ULL << i;
	if (f->bits & CHANFD_NONBLOCK && !patient && !one_in(4))
		set |= CHANFD_NONBLOCK;
	if (patient && !one_in(8))
		set &= ~(uint64_t)CHANFD_NONBLOCK;
	if (one_in(40))
		set ^= 1ULL << below(one_in(4) ? 64 : 12);
	return plain((int64_t)set);
}

/* Bytes of a message of the channel in a place. */
static uint64_t message_size(const struct value *v, const struct place *place)
{
	const struct step *maker = v->base == HANDLE_AT ? place[v->number].maker : NULL;
	const struct value *size = maker ? field_of(maker, "elem_size") : NULL;

	return size ? size->number : 8;
}

static struct value make_value(const struct field *f, const struct place *place)
{
	if (one_in(60))
		return boundary();
	switch (f->kind) {
	case OUT:
		return one_in(50) ? boundary() : plain(0);
	case NUMBER:
	case COUNT:
		return one_in(15) ? boundary() : plain(one_of(f->numbers, f->nr));
	case FLAGS:
		return flags(f);
	case OPTIONAL:
		if (!one_in(3))
			return plain(-1);
		return handle(place, f->types, f->rights);
	case HANDLE:
		return handle(place, f->types, f->rights);
	case POINTER:
		return memory();
	case ELEMENTS:
		return one_in(30) ? memory() : (struct value){ .base = ELEMENTS_AT };
	case DEADLINE:
		return deadline();
	case STRING:
		return string();
	case FDS:
		return one_in(20) ? memory() : (struct value){ .base = PARCEL_FDS };
	case BYTES:
		break;
	}
	return plain(8);
}

/* Elements */

/* The op of a case says what its descriptor must be, and its size. */
static void make_case(struct value *part, const struct place *place)
{
	static const struct {
		unsigned int types, rights;
	} what[] = {
		[CHANFD_CASE_SEND] = { CHANNEL, CHANFD_WRITE },
		[CHANFD_CASE_RECV] = { CHANNEL, CHANFD_READ },
		[CHANFD_CASE_WAIT] = { WAITGROUP, CHANFD_READ },
		[CHANFD_CASE_DONE] = { CONTEXT, CHANFD_READ },
		[CHANFD_CASE_DRAINED] = { CONTEXT, CHANFD_READ },
		[CHANFD_CASE_POLL] = { OURS | FOREIGN | EPOLL, 0 },
		[CHANFD_CASE_LOCK] = { LOCK, CHANFD_WRITE },
		[CHANFD_CASE_READ_LOCK] = { LOCK, CHANFD_READ },
		[CHANFD_CASE_CHANGED] = { CELL, CHANFD_READ },
	};
	struct value *fd = &part[0], *flags = &part[2], *buf = &part[3], *size = &part[4];
	uint64_t op = part[1].number;

	if (op < CHANFD_CASE_SEND || op > CHANFD_CASE_CHANGED || part[1].base)
		return;
	*fd = one_in(20) ? plain(-1) : handle(place, what[op].types, what[op].rights);
	if (op != CHANFD_CASE_WAIT && !one_in(30))
		*flags = plain(0);
	if (op <= CHANFD_CASE_RECV && one_in(6)) {
		*flags = plain(CHANFD_CASE_PARCEL);
		*buf = (struct value){ .base = PARCEL };
		*size = plain(0);
	} else if (op > CHANFD_CASE_RECV) {
		if (!one_in(30))
			*buf = plain(op == CHANFD_CASE_CHANGED ? below(4) : 0);
		*size = plain(op == CHANFD_CASE_POLL ? 1 + 4 * below(2) :
			      op == CHANFD_CASE_WAIT ? below(2) : 0);
	} else if (!one_in(20)) {
		*size = plain((int64_t)message_size(fd, place));
	}
}

static bool is_select(const struct step *s)
{
	return calls[s->call].ioctl == CHANFD_IOC_SELECT;
}

static void make_element(struct step *s, int n, const struct place *place)
{
	const struct field *parts = calls[s->call].parts;
	int i;

	for (i = 0; parts[i].name; i++)
		s->elements[n][i] = make_value(&parts[i], place);
	if (is_select(s))
		make_case(s->elements[n], place);
	else if (s->on.base == HANDLE_AT && one_in(2))	/* a length */
		s->elements[n][i - 1].number = calls[s->call].ioctl || one_in(2) ?
			message_size(&s->on, place) : s->elements[n][i - 1].number;
}

/* Was what it is for made with this flag? */
static bool made_with(const struct step *s, const struct place *place, unsigned int flag)
{
	const struct step *maker = s->on.base == HANDLE_AT ? place[s->on.number].maker : NULL;
	const struct value *set = maker ? field_of(maker, "flags") : NULL;

	return set && set->number & flag;
}

/* A message with descriptors comes alone, and without there is no place for them. */
static void settle_fds(struct step *s, const struct place *place)
{
	bool some = made_with(s, place, CHANFD_FDS) && !one_in(3);
	const struct field *f = calls[s->call].fields;
	int i;

	for (i = 0; f[i].name; i++) {
		if (some && f[i].kind == COUNT)
			s->fields[i] = plain(1);
		else if (!some && (f[i].kind == FDS || !strcmp(f[i].name, "nr_fds")))
			s->fields[i] = plain(0);
	}
	if (some && s->nr_elements > 1)
		s->nr_elements = 1;
}

/* Lets the number of elements, and the bytes of messages, be right; mostly. */
static void settle(struct step *s, const struct place *place)
{
	const struct call *call = &calls[s->call];
	bool transfer = call->ioctl == CHANFD_IOC_SEND || call->ioctl == CHANFD_IOC_RECV;
	bool sized = !transfer || made_with(s, place, CHANFD_VARIABLE);
	uint64_t count = 1, bytes;
	int i;

	for (i = 0; call->fields[i].name; i++) {
		const struct field *f = &call->fields[i];

		if (f->kind == ELEMENTS && !sized && !one_in(20))
			s->fields[i] = plain(0);
		if (f->kind != COUNT)
			continue;
		if (call->parts && sized && !one_in(12))
			s->fields[i] = plain(s->nr_elements);
		count = s->fields[i].number;
	}
	if (transfer && !one_in(20))
		settle_fds(s, place);
	if (call->makes == LEASE && !one_in(12))
		s->fields[0].number |= CHANFD_LEASED;
	bytes = message_size(&s->on, place) * count;
	if (transfer && sized && s->nr_elements)
		for (bytes = 0, i = 0; i < s->nr_elements; i++)
			bytes += s->elements[i][0].number;
	for (i = 0; call->fields[i].name; i++)
		if (call->fields[i].kind == BYTES && !one_in(15))
			s->fields[i] = plain((int64_t)(transfer || one_in(2) ? bytes : 2 * bytes));
}

/* Steps */

/* What is in one place that is in use, if any is. */
static unsigned int one_type(const struct place *place)
{
	unsigned int start = below(NR_HANDLES), i;

	for (i = 0; i < NR_HANDLES; i++)
		if (place[(start + i) % NR_HANDLES].type)
			return place[(start + i) % NR_HANDLES].type;
	return 0;
}

/* Often one that goes on with what is there, seldom one that there is nothing for. */
static int choose_call(const struct place *place)
{
	unsigned int types = one_in(2) ? one_type(place) : 0, total = 0;
	bool others = !types;
	int choice = 0, i;

	if (others)
		for (types = one_in(16) ? ANY : DEVICE, i = 0; i < NR_HANDLES; i++)
			types |= place[i].type;
	for (i = 0; i < nr_calls; i++) {
		unsigned int weight = (unsigned int)calls[i].weight;

		if (!(calls[i].types ? calls[i].types & types : others))
			continue;
		/* The later ones replace it so often that each has a chance of its weight. */
		total += weight;
		if (below(total) < weight)
			choice = i;
	}
	return choice;
}

/* The kernel must cope with a structure of any size, at any place. */
static void vary_argument(struct step *s)
{
	static const enum base bases[] = { ARG_END, ARG_END, READ_ONLY, UNMAPPED, KERNEL, PLAIN };
	unsigned int size = ioctl_size(&calls[s->call]);

	s->ioctl_size = size;
	s->tail = 0;
	s->arg = (struct value){ .base = ARG };
	if (!calls[s->call].ioctl)
		return;
	if (one_in(20)) {
		s->ioctl_size = below(size + 17);
		s->tail = s->ioctl_size > size && one_in(2);
	}
	if (one_in(30)) {
		s->arg.base = bases[below(6)];
		if (s->arg.base == ARG_END)
			s->arg.number = -(uint64_t)below(size + 17);
	}
}

static int unused_place(const struct place *place)
{
	int start = (int)below(NR_HANDLES), i;

	for (i = 0; i < NR_HANDLES; i++)
		if (!place[(start + i) % NR_HANDLES].type)
			return (start + i) % NR_HANDLES;
	return start;
}

static void make_step(struct step *s, int call, int thread, const struct place *place)
{
	const struct field *fields = calls[call].fields;
	int i;

	memset(s, 0, sizeof(*s));
	s->call = call;
	s->thread = thread;
	if (calls[call].types)
		s->on = handle(place, calls[call].types, calls[call].rights);
	for (i = 0; fields[i].name; i++)
		s->fields[i] = make_value(&fields[i], place);
	if (calls[call].parts) {
		s->nr_elements = (int)below(one_in(3) ? MAX_ELEMENTS + 1 : 4);
		for (i = 0; i < s->nr_elements; i++)
			make_element(s, i, place);
	}
	settle(s, place);
	vary_argument(s);
	s->out[0] = unused_place(place);
	s->out[1] = (s->out[0] + 1 + (int)below(3)) % NR_HANDLES;
	if (one_in(25))
		s->fail = 1 + (int)below(8);
}

void delete_step(struct program *p, int at)
{
	memmove(&p->steps[at], &p->steps[at + 1], (size_t)(--p->nr - at) * sizeof(p->steps[0]));
}

static struct step *insert_step(struct program *p, int at)
{
	memmove(&p->steps[at + 1], &p->steps[at], (size_t)(p->nr++ - at) * sizeof(p->steps[0]));
	return &p->steps[at];
}

static void insert_new(struct program *p, int at)
{
	struct place place[NR_HANDLES];

	look(p, at, place);
	make_step(insert_step(p, at), choose_call(place), at && !one_in(2) ?
		  p->steps[at - 1].thread : 0, place);
}

/* A program that begins with something to work on. */
void make_program(struct program *p)
{
	int length = 3 + (int)below(10), makers = 1 + (int)below(3), i;
	bool two = one_in(2);

	patient = one_in(two ? 2 : 8);
	p->collide = two && one_in(2);
	p->nr = 0;
	for (i = 0; i < length; i++) {
		struct place place[NR_HANDLES];
		int call;

		look(p, i, place);
		do
			call = choose_call(place);
		while (i < makers && !(calls[call].makes && calls[call].pair));
		make_step(&p->steps[p->nr++], call, two && i >= makers ? (int)below(2) : 0, place);
	}
}

/* Changes */

static void change_field(struct step *s, const struct place *place)
{
	const struct field *fields = calls[s->call].fields, *parts = calls[s->call].parts;
	int nr = nr_fields(fields);
	int nr_parts = s->nr_elements * nr_fields(parts);
	int i = (int)below((unsigned int)(nr + nr_parts + 1));

	if (i < nr) {
		s->fields[i] = one_in(4) ? boundary() : make_value(&fields[i], place);
		if (one_in(2))
			settle(s, place);
	} else if (i < nr + nr_parts) {
		int element = (i - nr) / nr_fields(parts), part = (i - nr) % nr_fields(parts);

		s->elements[element][part] = one_in(4) ? boundary() :
			make_value(&parts[part], place);
		if (is_select(s) && one_in(2))
			make_case(s->elements[element], place);
	} else if (calls[s->call].types) {
		s->on = handle(place, calls[s->call].types, calls[s->call].rights);
	}
}

static void change_step(struct program *p, int at)
{
	struct step *s = &p->steps[at];
	struct place place[NR_HANDLES];

	look(p, at, place);
	switch (below(10)) {
	case 0:
		s->thread ^= 1;
		break;
	case 1:
		s->fail = s->fail ? 0 : 1 + (int)below(12);
		break;
	case 2:
		vary_argument(s);
		break;
	case 3:
		if (calls[s->call].parts && s->nr_elements < MAX_ELEMENTS) {
			make_element(s, s->nr_elements++, place);
			settle(s, place);
		}
		break;
	case 4:
		make_step(s, s->call, s->thread, place);
		break;
	default:
		change_field(s, place);
	}
}

/* Its end is the other's. */
static void splice(struct program *p, const struct program *other)
{
	int from = (int)below((unsigned int)other->nr);

	p->nr = 1 + (int)below((unsigned int)p->nr);
	while (from < other->nr && p->nr < MAX_STEPS)
		p->steps[p->nr++] = other->steps[from++];
}

/**
 * mutate_program() - change a program a little
 * @p: with at least one step
 * @other: one with at least one step, to take something from
 */
void mutate_program(struct program *p, const struct program *other)
{
	patient = one_in(3);
	do {
		int at = (int)below((unsigned int)p->nr);

		switch (below(16)) {
		case 0 ... 4:
			if (p->nr < MAX_STEPS)
				insert_new(p, at + 1);
			break;
		case 5:
			if (p->nr > 1)
				delete_step(p, at);
			break;
		case 6:
			splice(p, other);
			break;
		case 7:
			if (p->nr < MAX_STEPS) {
				struct step copy = p->steps[at];

				*insert_step(p, at) = copy;
			}
			break;
		case 8:
			p->collide = !p->collide;
			break;
		default:
			change_step(p, at);
		}
	} while (!one_in(3));
}
