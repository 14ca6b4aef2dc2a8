/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of the prompt and of a script, by librte_cmdline and its editor, without a terminal. The
 * input: u8 options, then what is typed (keys of the editor included), or the script.
 *
 * Checked: what is asked of the control core is within its limits, a script is checked without
 * anything being done, one that is refused is so in a sentence; nothing is left allocated.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config_value.h"
#include "console.h"
#include "fake_control.h"
#include "fuzz.h"

enum option {
	OPTION_SCRIPT = 0x01,
	OPTION_SECONDARY = 0x02,
	OPTION_REFUSE = 0x04, /* the control core takes no request */
};

#define SAY_MAX	  32768u /* bytes: a pipe takes them without being read */
#define TURNS_MAX 100000u

static struct {
	struct colo_control control;
	struct colo_config config;
	struct colo_console console;
	FILE *out;
	int script;
} t;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	t.out = fopen("/dev/null", "we");
	t.script = memfd_create("script", MFD_CLOEXEC);
	FUZZ_CHECK(t.out != NULL && t.script >= 0);
	return 0;
}

static void
begin(uint8_t options)
{
	unsigned int secondary = (options & OPTION_SECONDARY) != 0;

	memset(&t.control, 0, sizeof(t.control));
	colo_config_defaults(&t.config);
	t.config.role = secondary ? COLO_ROLE_SECONDARY : COLO_ROLE_PRIMARY;
	t.config.channels = 2;
	t.control.refuse = options & OPTION_REFUSE;
	t.control.view[secondary].present = true;
	t.control.view[secondary].state = "IDLE";
	strcpy(t.control.block.name, "pc.ram");
}

static void
check_requests(void)
{
	for (unsigned int i = 0; i < t.control.n_posted; i++) {
		const struct colo_request *r = &t.control.posted[i];

		FUZZ_CHECK(
			r->kind != COLO_REQUEST_INTERVAL || r->interval_ms <= COLO_INTERVAL_MAX_MS);
		FUZZ_CHECK(r->kind != COLO_REQUEST_CODEC ||
			   (r->codec <= COLO_CODEC_ZSTD && r->zstd_level >= -7 &&
				   r->zstd_level <= 19));
	}
	t.control.n_posted = 0;
}

/* Until nothing is left to take; time is made to pass where a line waits. */
static void
run(void)
{
	struct colo_console *c = &t.console;

	for (unsigned int turn = 0; turn < TURNS_MAX && !c->ended; turn++) {
		colo_console_poll(c);
		check_requests();
		FUZZ_CHECK(c->error == NULL && !c->only_check);
		if (c->wait.kind == COLO_WAIT_NONE && c->script == NULL && c->editor == NULL)
			return;
		FUZZ_CHECK(
			c->wait.kind == COLO_WAIT_NONE ||
			c->wait.deadline_ms <= colo_console_now_ms() + COLO_WAIT_MAX_S * 1000ull);
		if (turn % 2 != 0)
			c->wait.kind = COLO_WAIT_NONE; /* it came */
		else if (c->wait.kind != COLO_WAIT_NONE)
			c->wait.deadline_ms = 0; /* too late */
		if (turn % 16 == 0)
			colo_console_hide(c);
	}
	FUZZ_CHECK(c->ended);
}

static void
start(int in)
{
	struct colo_error err = {""};

	if (colo_console_start(&t.console, &t.control, &t.config, in, t.out, &err) != 0) {
		FUZZ_CHECK(strnlen(err.text, sizeof(err.text)) < sizeof(err.text));
		FUZZ_CHECK(err.text[0] != '\0');
		FUZZ_CHECK(t.control.n_posted == 0);
		return;
	}
	FUZZ_CHECK(t.control.n_posted == 0); /* a script is only checked */
	run();
	colo_console_stop(&t.console);
	colo_console_stop(&t.console);
}

static void
run_script(const uint8_t *bytes, size_t n)
{
	FUZZ_CHECK(ftruncate(t.script, 0) == 0);
	FUZZ_CHECK(pwrite(t.script, bytes, n, 0) == (ssize_t)n);
	snprintf(
		t.config.cmdline_file, sizeof(t.config.cmdline_file), "/proc/self/fd/%d", t.script);
	start(-1);
}

static void
type(const uint8_t *bytes, size_t n)
{
	int fd[2];

	if (n > SAY_MAX)
		n = SAY_MAX;
	FUZZ_CHECK(pipe2(fd, O_CLOEXEC) == 0);
	FUZZ_CHECK(write(fd[1], bytes, n) == (ssize_t)n);
	close(fd[1]);
	t.config.interactive = true;
	start(fd[0]);
	close(fd[0]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t options = fuzz_u8(&in);

	begin(options);
	(options & OPTION_SCRIPT ? run_script : type)(in.at, in.left);
	return 0;
}
