/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The prompt and the script of --cmdline-file: both take the same verbs, line by line, and only
 * post requests or print views. Nothing here waits: the main loop calls colo_console_poll().
 *
 *     while (running) {
 *             colo_console_poll(&console);
 *             while (colo_control_next_event(control, &event)) {
 *                     colo_console_hide(&console);
 *                     colo_report_event(&report, &event);
 *             }
 *             usleep(10000);
 *     }
 */
#ifndef COLO_APP_CONSOLE_H
#define COLO_APP_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <termios.h>

#include <cmdline.h>
#include <cmdline_parse.h>
#include <cmdline_parse_string.h>
#include <cmdline_rdline.h>

#include "control.h"
#include "show.h"

#define COLO_PROMPT	    "colo> "
#define COLO_LINE_MAX	    511u   /**< bytes of a line, at the prompt or in a script */
#define COLO_SCRIPT_MAX	    65536u /**< bytes of a script */
#define COLO_VERB_WORDS_MAX 4u	   /**< words of the longest verb */
#define COLO_WAIT_DEFAULT_S 60u	   /**< what a `wait` without a limit waits at most */
#define COLO_WAIT_MAX_S	    86400u

struct colo_console;

/** What stood in the line; verbs of fewer words leave the others empty. */
struct colo_words {
	char word[COLO_VERB_WORDS_MAX][STR_TOKEN_SIZE];
};

struct colo_verb {
	const char *words; /**< as in help; words in capitals stand for a value */
	const char *help;
	/** Check the values and, unless c->only_check, do it. @return 0, or -1 with @p err. */
	int (*run)(struct colo_console *c, const struct colo_verb *verb, const struct colo_words *w,
		struct colo_error *err);
	int argument; /**< of run functions that serve several verbs */
};

/** A verb as librte_cmdline wants it. */
struct colo_command {
	struct colo_console *console;
	const struct colo_verb *verb;
	struct cmdline_token_string token[COLO_VERB_WORDS_MAX];
	struct cmdline_inst *inst; /* points to the tokens */
};

enum colo_wait_kind {
	COLO_WAIT_NONE,
	COLO_WAIT_EPOCHS,
	COLO_WAIT_STATE,
	COLO_WAIT_TIME
};

/** What `wait` waits for; no further line is taken until then. */
struct colo_wait {
	enum colo_wait_kind kind;
	uint64_t deadline_ms; /* monotonic */
	uint64_t seen, left;  /* EPOCHS: checkpoints of the session when last looked; to come */
	char state[STR_TOKEN_SIZE];
};

/** Main lcore only. */
struct colo_console {
	struct colo_control *control;
	struct colo_config *config; /* interval and codec are kept up to date for `show config` */
	FILE *out;
	int in;
	struct colo_command *commands; /* one a verb */
	cmdline_parse_ctx_t *context;  /* their inst pointers, NULL at the end */
	struct cmdline *parser;	       /* matches lines and completes words; prints nothing */
	struct rdline *editor;	       /* NULL: no prompt */
	struct termios saved;	       /* the terminal as it was */
	bool terminal_changed;
	bool prompt_shown;
	bool line_taken; /* the editor must begin a new line before it takes a character */
	bool ended;	 /* quit was asked for, or there is no more input */
	char input[256]; /* read and not yet taken: [next_input, n_input) */
	unsigned int n_input, next_input;
	char *script; /* NULL: none, or all of it is run */
	char *script_next;
	unsigned int script_line;
	bool script_failed;
	struct colo_wait wait;
	struct colo_stats base; /* at the last `clear stats` */
	/* of the line that is being carried out: */
	bool only_check;
	int outcome;
	struct colo_error *error;
};

/**
 * Check the script of --cmdline-file, if there is one; with --interactive show the prompt on
 * @p out and take lines from @p in. @p control and @p config must outlive this.
 * @return 0, or -1 with @p err (which names file and line) and nothing left behind.
 */
int colo_console_start(struct colo_console *c, struct colo_control *control,
	struct colo_config *config, int in, FILE *out, struct colo_error *err);

/** Take what is typed, the script's next lines, or see if a `wait` is over. Never blocks. */
void colo_console_poll(struct colo_console *c);

/** Clear the line with the prompt before something is printed; poll() draws it again. */
void colo_console_hide(struct colo_console *c);

/** A line of the script could not be carried out: the rest of it was not run. */
bool colo_console_script_failed(const struct colo_console *c);

/** Restore the terminal, free everything. Safe to call twice. */
void colo_console_stop(struct colo_console *c);

/* ---- console.c and verbs.c among themselves ---- */

extern const struct colo_verb colo_verbs[];
extern const unsigned int colo_n_verbs;

/** Monotonic. */
uint64_t colo_console_now_ms(void);

/** @return the view of the role that takes requests here: the primary's in a pair. */
void colo_console_view(const struct colo_console *c, struct colo_view *view);

#endif
