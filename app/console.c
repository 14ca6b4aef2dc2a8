/* SPDX-License-Identifier: BSD-3-Clause */
/* The prompt and the script: where lines come from, and what becomes of them. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_common.h>

#include "console.h"

#define CLEAR_LINE "\r\033[2K"

uint64_t
colo_console_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void
colo_console_view(const struct colo_console *c, struct colo_view *view)
{
	memset(view, 0, sizeof(*view));
	colo_control_view(c->control, c->config->role == COLO_ROLE_SECONDARY, view);
}

/* ---- one line ---- */

/** librte_cmdline matched a verb. */
static void
on_command(void *words, struct cmdline *cl, void *data)
{
	struct colo_command *command = data;
	struct colo_console *c = command->console;

	RTE_SET_USED(cl);
	c->outcome = command->verb->run(c, command->verb, words, c->error);
}

/** The line's first word is known or not: say what would have been accepted. */
static int
explain_line(const char *line, struct colo_error *err)
{
	char list[COLO_ERROR_TEXT_MAX / 2] = "";
	size_t used = 0, n;

	line += strspn(line, " \t");
	n = strcspn(line, " \t#");
	for (unsigned int i = 0; i < colo_n_verbs; i++) {
		const char *words = colo_verbs[i].words;

		if (strncmp(words, line, n) == 0 && (words[n] == ' ' || words[n] == '\0') &&
			used < sizeof(list))
			used += snprintf(&list[used], sizeof(list) - used, "%s%s",
				used == 0 ? "" : ", ", words);
	}
	if (used == 0)
		return colo_error_set(err, "%.100s: no such command; `help` lists them", line);
	return colo_error_set(err, "%.100s: not a command; accepted: %s", line, list);
}

/** Carry out @p line, or only check it. @return 0 or -1 with @p err. */
static int
take_line(struct colo_console *c, const char *line, bool only_check, struct colo_error *err)
{
	char text[COLO_LINE_MAX + 2];
	int rc;

	snprintf(text, sizeof(text), "%.*s\n", (int)COLO_LINE_MAX, line);
	c->only_check = only_check;
	c->outcome = 0;
	c->error = err;
	rc = cmdline_parse(c->parser, text);
	c->error = NULL;
	c->only_check = false;
	return rc < 0 ? explain_line(line, err) : c->outcome;
}

/* ---- verbs for librte_cmdline ---- */

static bool
is_value(const char *word)
{
	return isupper((unsigned char)word[0]);
}

/** Tokens of a verb's words: a fixed string each, or any string for a value. */
static int
make_command(struct colo_command *command, struct colo_console *c, const struct colo_verb *verb)
{
	char *copy = strdup(verb->words), *rest = copy, *word;
	unsigned int n = 0;

	command->console = c;
	command->verb = verb;
	command->inst =
		calloc(1, sizeof(*command->inst) +
				  (COLO_VERB_WORDS_MAX + 1) * sizeof(command->inst->tokens[0]));
	if (copy == NULL || command->inst == NULL) {
		free(copy);
		return -1;
	}
	while ((word = strsep(&rest, " ")) != NULL) {
		command->token[n].hdr.ops = &cmdline_token_string_ops;
		command->token[n].hdr.offset = n * STR_TOKEN_SIZE;
		/* Freed by free_commands(); NULL: any string. */
		command->token[n].string_data.str = is_value(word) ? NULL : strdup(word);
		command->inst->tokens[n] = &command->token[n].hdr;
		n++;
	}
	free(copy);
	command->inst->f = on_command;
	command->inst->data = command;
	command->inst->help_str = verb->help;
	return 0;
}

static void
free_commands(struct colo_console *c)
{
	for (unsigned int i = 0; c->commands != NULL && i < colo_n_verbs; i++) {
		for (unsigned int n = 0; n < COLO_VERB_WORDS_MAX; n++)
			free((void *)(uintptr_t)c->commands[i].token[n].string_data.str);
		free(c->commands[i].inst);
	}
	free(c->commands);
	free(c->context);
	c->commands = NULL;
	c->context = NULL;
}

static int
make_parser(struct colo_console *c, struct colo_error *err)
{
	c->commands = calloc(colo_n_verbs, sizeof(c->commands[0]));
	c->context = calloc(colo_n_verbs + 1, sizeof(c->context[0]));
	if (c->commands == NULL || c->context == NULL)
		return colo_error_set(err, "prompt: out of memory");
	for (unsigned int i = 0; i < colo_n_verbs; i++) {
		if (make_command(&c->commands[i], c, &colo_verbs[i]) != 0)
			return colo_error_set(err, "prompt: out of memory");
		c->context[i] = c->commands[i].inst;
	}
	c->parser = cmdline_new(c->context, "", -1, -1);
	if (c->parser == NULL)
		return colo_error_set(err, "prompt: out of memory");
	return 0;
}

/* ---- wait ---- */

/** @return true once what is waited for has come. */
static bool
wait_is_over(struct colo_console *c)
{
	struct colo_wait *w = &c->wait;
	struct colo_view view;
	uint64_t more;

	if (w->kind == COLO_WAIT_TIME)
		return colo_console_now_ms() >= w->deadline_ms;
	colo_console_view(c, &view);
	if (w->kind == COLO_WAIT_STATE)
		return view.state != NULL && strcmp(view.state, w->state) == 0;
	/* A new session counts from 0 again. */
	more = view.checkpoints >= w->seen ? view.checkpoints - w->seen : view.checkpoints;
	w->seen = view.checkpoints;
	w->left -= RTE_MIN(more, w->left);
	return w->left == 0;
}

/** @return 1: go on with the next line; 0: not yet; -1 with @p err: too late. */
static int
check_wait(struct colo_console *c, struct colo_error *err)
{
	struct colo_wait *w = &c->wait;
	struct colo_view view;

	if (w->kind == COLO_WAIT_NONE || wait_is_over(c)) {
		w->kind = COLO_WAIT_NONE;
		return 1;
	}
	if (colo_console_now_ms() < w->deadline_ms)
		return 0;
	colo_console_view(c, &view);
	if (w->kind == COLO_WAIT_STATE)
		colo_error_set(err, "wait state %s: it is still %s", w->state,
			view.state != NULL ? view.state : "none");
	else
		colo_error_set(err, "wait epochs: %" PRIu64 " have still to come", w->left);
	w->kind = COLO_WAIT_NONE;
	return -1;
}

/* ---- script ---- */

static int
read_script(struct colo_console *c, const char *path, struct colo_error *err)
{
	FILE *f = fopen(path, "re");
	size_t n;
	int failed;

	if (f == NULL)
		return colo_error_set(
			err, "--cmdline-file %.300s: cannot be read (%s)", path, strerror(errno));
	c->script = malloc(COLO_SCRIPT_MAX + 2);
	n = c->script == NULL ? 0 : fread(c->script, 1, COLO_SCRIPT_MAX + 1, f);
	failed = ferror(f) != 0 ? errno : 0;
	fclose(f);
	if (c->script == NULL)
		return colo_error_set(err, "--cmdline-file: out of memory");
	if (failed != 0)
		return colo_error_set(
			err, "--cmdline-file %.300s: cannot be read (%s)", path, strerror(failed));
	if (n > COLO_SCRIPT_MAX || memchr(c->script, '\0', n) != NULL)
		return colo_error_set(err,
			"--cmdline-file %.300s: at most %u bytes of text are accepted", path,
			COLO_SCRIPT_MAX);
	c->script[n] = '\0';
	c->script_next = c->script;
	return 0;
}

/** Take the next line of the script into @p line. @return its length, or -1: there is none. */
static int
next_script_line(struct colo_console *c, char *line, size_t size)
{
	size_t n;

	if (c->script_next == NULL || *c->script_next == '\0')
		return -1;
	n = strcspn(c->script_next, "\n");
	snprintf(line, size, "%.*s", (int)n, c->script_next);
	line[strcspn(line, "\r")] = '\0';
	c->script_next += n + (c->script_next[n] == '\n');
	c->script_line++;
	return n;
}

static bool
has_words(const char *line)
{
	line += strspn(line, " \t");
	return *line != '\0' && *line != '#';
}

/** Every line must be a good one before anything starts. */
static int
check_script(struct colo_console *c, struct colo_error *err)
{
	char line[COLO_LINE_MAX + 1];
	struct colo_error why;
	int n, rc = 0;

	while (rc == 0 && (n = next_script_line(c, line, sizeof(line))) >= 0) {
		if (n > (int)COLO_LINE_MAX)
			rc = colo_error_set(
				&why, "at most %u bytes a line are accepted", COLO_LINE_MAX);
		else
			rc = take_line(c, line, true, &why);
	}
	if (rc != 0)
		return colo_error_set(err, "--cmdline-file %.150s:%u: %.300s",
			c->config->cmdline_file, c->script_line, why.text);
	c->script_next = c->script;
	c->script_line = 0;
	return 0;
}

static void
end_script(struct colo_console *c)
{
	free(c->script);
	c->script = NULL;
	c->script_next = NULL;
}

static void
fail_script(struct colo_console *c, const struct colo_error *why)
{
	fprintf(c->out, "WARNING: %s:%u: %s; the rest of the file is not run\n",
		c->config->cmdline_file, c->script_line, why->text);
	c->script_failed = true;
	end_script(c);
}

/** Run lines until one waits, one fails, or there are no more. */
static void
run_script(struct colo_console *c)
{
	char line[COLO_LINE_MAX + 1];
	struct colo_error why;

	while (c->script != NULL && c->wait.kind == COLO_WAIT_NONE && !c->ended) {
		if (next_script_line(c, line, sizeof(line)) < 0) {
			end_script(c);
			return;
		}
		if (!has_words(line))
			continue;
		colo_console_hide(c);
		fprintf(c->out, COLO_PROMPT "%s\n", line);
		if (take_line(c, line, false, &why) != 0)
			fail_script(c, &why);
	}
}

/* ---- the editor ---- */

static int
on_write(struct rdline *editor, char character)
{
	struct colo_console *c = rdline_get_opaque(editor);

	return fputc(character, c->out) == EOF ? -1 : 1;
}

static void
remember_line(struct rdline *editor, const char *line)
{
	const char *last = rdline_get_history_item(editor, 0);

	if (has_words(line) && (last == NULL || strcmp(last, line) != 0))
		rdline_add_history(editor, line);
}

/** RETURN was typed; the editor has gone to the next line already. */
static void
on_line(struct rdline *editor, const char *buffer, unsigned int size)
{
	struct colo_console *c = rdline_get_opaque(editor);
	char line[COLO_LINE_MAX + 1];
	struct colo_error why;

	RTE_SET_USED(size);
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(buffer, "\n"), buffer);
	remember_line(editor, line);
	c->line_taken = true;
	c->prompt_shown = false;
	if (take_line(c, line, false, &why) != 0)
		fprintf(c->out, "%s\n", why.text);
}

static int
on_complete(
	struct rdline *editor, const char *buffer, char *destination, unsigned int size, int *state)
{
	struct colo_console *c = rdline_get_opaque(editor);

	return cmdline_complete(c->parser, buffer, state, destination, size);
}

/** Characters come one by one and are echoed by the editor; Ctrl-C stays a signal. */
static void
change_terminal(struct colo_console *c)
{
	struct termios t;

	if (tcgetattr(c->in, &c->saved) != 0)
		return;
	t = c->saved;
	t.c_lflag &= ~(ICANON | ECHO);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	t.c_cc[VSUSP] = _POSIX_VDISABLE; /* stopped we would be lost for our peer */
	c->terminal_changed = tcsetattr(c->in, TCSANOW, &t) == 0;
}

static int
start_editor(struct colo_console *c, struct colo_error *err)
{
	c->editor = rdline_new(on_write, on_line, on_complete, c);
	if (c->editor == NULL)
		return colo_error_set(err, "prompt: out of memory");
	c->line_taken = true;
	change_terminal(c);
	return 0;
}

static void
end_input(struct colo_console *c)
{
	struct colo_request request = {.kind = COLO_REQUEST_QUIT};
	struct colo_error why;

	colo_console_hide(c);
	fputs("end of input: quit\n", c->out);
	if (colo_control_post(c->control, &request, &why) != 0)
		fprintf(c->out, "%s\n", why.text);
	c->ended = true;
}

/** Read what there is, if nothing is left of the last time. @return false: the input has ended. */
static bool
read_input(struct colo_console *c)
{
	struct pollfd p = {.fd = c->in, .events = POLLIN};
	ssize_t n;

	if (c->next_input < c->n_input || poll(&p, 1, 0) <= 0)
		return true;
	n = read(c->in, c->input, sizeof(c->input));
	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	c->next_input = 0;
	c->n_input = n;
	return n > 0;
}

static void
show_prompt(struct colo_console *c)
{
	if (c->prompt_shown)
		return;
	if (c->line_taken)
		rdline_newline(c->editor, COLO_PROMPT);
	else
		rdline_redisplay(c->editor);
	c->line_taken = false;
	c->prompt_shown = true;
}

/** Feed the editor until a line makes us wait or end, or nothing is left to read. */
static void
run_editor(struct colo_console *c)
{
	bool open = true;

	while (open && c->wait.kind == COLO_WAIT_NONE && !c->ended) {
		show_prompt(c);
		open = read_input(c);
		if (c->next_input == c->n_input)
			break;
		open = rdline_char_in(c->editor, c->input[c->next_input++]) != RDLINE_RES_EOF;
	}
	if (!open)
		end_input(c);
}

/* ---- for the main loop ---- */

int
colo_console_start(struct colo_console *c, struct colo_control *control, struct colo_config *config,
	int in, FILE *out, struct colo_error *err)
{
	memset(c, 0, sizeof(*c));
	c->control = control;
	c->config = config;
	c->in = in;
	c->out = out;
	if (make_parser(c, err) == 0 &&
		(config->cmdline_file[0] == '\0' ||
			(read_script(c, config->cmdline_file, err) == 0 &&
				check_script(c, err) == 0)) &&
		(!config->interactive || start_editor(c, err) == 0))
		return 0;
	colo_console_stop(c);
	return -1;
}

void
colo_console_poll(struct colo_console *c)
{
	struct colo_error why;
	int rc = check_wait(c, &why);

	if (rc < 0 && c->script != NULL) {
		colo_console_hide(c);
		fail_script(c, &why);
	} else if (rc < 0) {
		fprintf(c->out, "%s\n", why.text);
	}
	run_script(c);
	if (c->editor != NULL && c->script == NULL && c->wait.kind == COLO_WAIT_NONE)
		run_editor(c);
	fflush(c->out);
}

void
colo_console_hide(struct colo_console *c)
{
	if (c->prompt_shown)
		fputs(CLEAR_LINE, c->out);
	c->prompt_shown = false;
}

bool
colo_console_script_failed(const struct colo_console *c)
{
	return c->script_failed;
}

void
colo_console_stop(struct colo_console *c)
{
	if (c->out != NULL) {
		colo_console_hide(c);
		fflush(c->out);
	}
	if (c->terminal_changed)
		tcsetattr(c->in, TCSANOW, &c->saved);
	c->terminal_changed = false;
	rdline_free(c->editor);
	c->editor = NULL;
	if (c->parser != NULL)
		cmdline_free(c->parser);
	c->parser = NULL;
	end_script(c);
	free_commands(c);
}
