// SPDX-License-Identifier: GPL-2.0
/*
 * The text of programs.
 */
#include <ctype.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "program.h"

#define MAX_LINE	4096

static const char *const base_names[NR_BASES] = {
	[HANDLE_AT] = "h", [DEVICE_FD] = "device", [NOW] = "now", [ARG] = "arg",
	[ARG_END] = "argend", [ELEMENTS_AT] = "elements",
	[PARCEL] = "parcel", [PARCEL_FDS] = "fds", [DATA] = "data",
	[DATA_END] = "dataend", [COLD] = "cold", [READ_ONLY] = "readonly",
	[UNMAPPED] = "unmapped", [KERNEL] = "kernel", [TEXT] = "text:", [GAP] = "gap:",
};

/* The size in its number, as it is published. */
unsigned int ioctl_size(const struct call *call)
{
	return _IOC_SIZE(call->ioctl);
}

/* Printing is done before every run, so it does without printf(3). */

static char *put(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	return at;
}

static char *put_number(char *at, int64_t number)
{
	uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
	char digits[24];
	int n = 0;

	if (number < 0)
		*at++ = '-';
	do {
		digits[n++] = (char)('0' + left % 10);
		left /= 10;
	} while (left);
	while (n)
		*at++ = digits[--n];
	return at;
}

static char *put_hex(char *at, uint64_t number)
{
	int shift = 60;

	at = put(at, "0x");
	while (shift && !(number >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		*at++ = "0123456789abcdef"[number >> shift & 15];
	return at;
}

static char *put_value(char *at, const struct value *v)
{
	int64_t number = (int64_t)v->number;

	if (v->base == PLAIN)
		return put_number(at, number);
	at = put(at, base_names[v->base]);
	if (v->base == HANDLE_AT)
		return put_number(at, number);
	if (v->base == TEXT || v->base == GAP)
		return put_hex(at, v->number);
	if (number > 0)
		*at++ = '+';
	return number ? put_number(at, number) : at;
}

static char *put_field(char *at, const char *name, const struct value *v)
{
	if (v->base == PLAIN && !v->number)
		return at;
	*at++ = ' ';
	at = put(at, name);
	*at++ = '=';
	return put_value(at, v);
}

static char *put_setting(char *at, const char *name, int64_t number)
{
	const struct value v = { .number = (uint64_t)number };

	return put_field(at, name, &v);
}

static char *put_step(char *at, const struct step *s)
{
	const struct call *call = &calls[s->call];
	int i, j;

	*at++ = (char)('0' + s->thread);
	*at++ = ' ';
	at = put(at, call->name);
	if (call->types) {
		*at++ = ' ';
		at = put_value(at, &s->on);
	}
	for (i = 0; call->fields[i].name; i++)
		at = put_field(at, call->fields[i].name, &s->fields[i]);
	for (i = 0; i < s->nr_elements; i++) {
		at = put(at, " {");
		for (j = 0; call->parts[j].name; j++)
			at = put_field(at, call->parts[j].name, &s->elements[i][j]);
		at = put(at, " }");
	}
	if (call->ioctl && s->ioctl_size != ioctl_size(call))
		at = put_setting(at, "ioctl_size", s->ioctl_size);
	if (s->arg.base != ARG || s->arg.number)
		at = put_field(at, "arg", &s->arg);
	at = put_setting(at, "tail", s->tail);
	at = put_setting(at, "fail", s->fail);
	if (call->makes) {
		at = put(at, " -> h");
		at = put_number(at, s->out[0]);
		at = put(at, " h");
		at = put_number(at, s->out[1]);
	}
	*at++ = '\n';
	return at;
}

void print_program(const struct program *p, char text[TEXT_SIZE])
{
	char *at = text;
	int i;

	if (p->collide)
		at = put(at, "collide\n");
	for (i = 0; i < p->nr; i++)
		at = put_step(at, &p->steps[i]);
	*at = 0;
}

/* Parsing */

static struct value parse_value(const char *word)
{
	struct value v = { 0 };
	size_t best = 0;
	char *end;
	int base;

	for (base = 1; base < NR_BASES; base++) {
		size_t len = strlen(base_names[base]);

		if (len > best && !strncmp(word, base_names[base], len)) {
			best = len;
			v.base = base;
		}
	}
	v.number = strtoull(word + best, &end, 0);
	if (*end || (v.base == HANDLE_AT && v.number >= NR_HANDLES))
		errx(2, "not a value: %s", word);
	return v;
}

static void set_field(const struct field *fields, struct value *values, const char *name,
		      const struct value *v)
{
	int i;

	for (i = 0; fields && fields[i].name; i++) {
		if (!strcmp(fields[i].name, name)) {
			values[i] = *v;
			return;
		}
	}
	errx(2, "no such field: %s", name);
}

/* Handles "name=value". */
static void parse_field(struct step *s, char *word, int element)
{
	const struct call *call = &calls[s->call];
	char *value = strchr(word, '=');
	struct value v;

	if (!value)
		errx(2, "neither a field nor a value: %s", word);
	*value++ = 0;
	v = parse_value(value);
	if (element >= 0)
		set_field(call->parts, s->elements[element], word, &v);
	else if (!strcmp(word, "ioctl_size"))
		s->ioctl_size = (unsigned int)v.number;
	else if (!strcmp(word, "arg"))
		s->arg = v;
	else if (!strcmp(word, "tail"))
		s->tail = (int)v.number;
	else if (!strcmp(word, "fail"))
		s->fail = (int)v.number;
	else
		set_field(call->fields, s->fields, word, &v);
}

static char *next_word(char **line)
{
	return strtok_r(NULL, " \t", line);
}

static void parse_step(char *line, struct step *s)
{
	const char *name;
	char *word;

	*s = (struct step){ .thread = atoi(line) & 1, .out = { 0, 1 }, .arg.base = ARG };
	strtok_r(line, " \t", &line);
	name = next_word(&line);
	s->call = name ? find_call(name) : -1;
	if (s->call < 0)
		errx(2, "no such call: %s", name ? name : "nothing");
	if (calls[s->call].ioctl)
		s->ioctl_size = ioctl_size(&calls[s->call]);
	if (calls[s->call].types) {
		word = next_word(&line);
		s->on = parse_value(word ? word : "nothing");
	}
	while ((word = next_word(&line))) {
		if (*word == '{') {
			if (s->nr_elements == MAX_ELEMENTS)
				errx(2, "too many elements");
			while ((word = next_word(&line)) && *word != '}')
				parse_field(s, word, s->nr_elements);
			s->nr_elements++;
		} else if (!strcmp(word, "->")) {
			int i;

			for (i = 0; i < 2 && (word = next_word(&line)); i++)
				s->out[i] = (int)parse_value(word).number % NR_HANDLES;
		} else {
			parse_field(s, word, -1);
		}
	}
}

/* Copies a line, with braces as words of their own. */
static void split_braces(char *to, const char *from, size_t len)
{
	for (; len--; from++) {
		bool brace = *from == '{' || *from == '}';

		if (brace)
			*to++ = ' ';
		*to++ = *from;
		if (brace)
			*to++ = ' ';
	}
	*to = 0;
}

/**
 * parse_program() - read a program
 * @text: of one or more
 * @p: what to fill in; no steps: there was none
 *
 * Return: what follows it in the text.
 */
const char *parse_program(const char *text, struct program *p)
{
	p->collide = false;
	p->nr = 0;
	while (*text) {
		size_t len = strcspn(text, "\n");
		char line[3 * MAX_LINE + 1];

		if (len > MAX_LINE)
			errx(2, "a line is too long");
		split_braces(line, text, len);
		text += len + (text[len] == '\n');
		if (!len && p->nr)
			break;
		if (!strcmp(line, "collide")) {
			p->collide = true;
		} else if (isdigit((unsigned char)*line)) {
			if (p->nr == MAX_STEPS)
				errx(2, "too many steps");
			parse_step(line, &p->steps[p->nr++]);
		} else if (len && *line != '#') {
			errx(2, "neither a call nor a comment: %s", line);
		}
	}
	return text;
}
