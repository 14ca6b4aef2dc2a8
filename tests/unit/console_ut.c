/* SPDX-License-Identifier: BSD-3-Clause */
/* Unit test of console.c, verbs.c and show.c: lines through a pseudo terminal, pipes and scripts.
 */
#include "../../app/config_value.c"
#include "../../app/options.c"
#include "../../app/help.c"
#include "../../app/config.c"
#include "../../app/show.c"
#include "../../app/verbs.c"
#include "../../app/console.c"

#include <fcntl.h>
#include <pty.h>

#include "fake_control.h"
#include "ut.h"

static struct colo_control control;
static struct colo_config config;
static struct colo_console console;
static struct colo_error error;
static char text[131072]; /* what the console printed */
static FILE *out;
static int input; /* our end of what the console reads */

static void
reset(enum colo_role role)
{
	memset(&control, 0, sizeof(control));
	colo_config_defaults(&config);
	config.role = role;
	config.channels = 2;
	control.view[role == COLO_ROLE_SECONDARY].present = true;
	control.view[role == COLO_ROLE_SECONDARY].state = "IDLE";
	memset(text, 0, sizeof(text));
	out = fmemopen(text, sizeof(text), "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(out);
}

/** A prompt that reads from a pipe. */
static void
begin(enum colo_role role)
{
	int fd[2];

	reset(role);
	config.interactive = true;
	CU_ASSERT_EQUAL_FATAL(pipe(fd), 0);
	input = fd[1];
	CU_ASSERT_EQUAL_FATAL(
		colo_console_start(&console, &control, &config, fd[0], out, &error), 0);
	colo_console_poll(&console);
}

static void
end(void)
{
	int in = console.in;

	colo_console_stop(&console);
	colo_console_stop(&console);
	fclose(out);
	if (input >= 0)
		close(input);
	close(in);
}

static void
type(const char *line)
{
	CU_ASSERT_EQUAL(write(input, line, strlen(line)), (ssize_t)strlen(line));
	colo_console_poll(&console);
}

static void
says(const char *what)
{
	if (strstr(text, what) == NULL)
		printf("\n    no '%s' in:\n%s\n", what, text);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, what));
}

static void
says_not(const char *what)
{
	CU_ASSERT_PTR_NULL(strstr(text, what));
}

static void
test_requests(void)
{
	static const struct {
		const char *line;
		enum colo_request_kind kind;
	} lines[] = {
		{"start\n", COLO_REQUEST_START},
		{"stop\r", COLO_REQUEST_STOP},
		{"  checkpoint   now # soon\n", COLO_REQUEST_CHECKPOINT},
		{"verify\n", COLO_REQUEST_VERIFY},
		{"failover\n", COLO_REQUEST_FAILOVER},
		{"set interval 0\n", COLO_REQUEST_INTERVAL},
		{"set codec raw\n", COLO_REQUEST_CODEC},
		{"quit\n", COLO_REQUEST_QUIT},
	};

	begin(COLO_ROLE_PRIMARY);
	for (unsigned int i = 0; i < RTE_DIM(lines); i++) {
		type(lines[i].line);
		CU_ASSERT_EQUAL_FATAL(control.n_posted, i + 1);
		CU_ASSERT_EQUAL(control.posted[i].kind, lines[i].kind);
	}
	type("start\n"); /* after quit nothing is taken */
	CU_ASSERT_EQUAL(control.n_posted, RTE_DIM(lines));
	end();
}

static void
test_set(void)
{
	begin(COLO_ROLE_PRIMARY);
	type("set interval 3600000\nset codec zstd:3\n");
	CU_ASSERT_EQUAL(control.n_posted, 2);
	CU_ASSERT_EQUAL(control.posted[0].interval_ms, 3600000);
	CU_ASSERT_EQUAL(control.posted[1].codec, COLO_CODEC_ZSTD);
	CU_ASSERT_EQUAL(control.posted[1].zstd_level, 3);
	CU_ASSERT_EQUAL(config.interval_ms, 3600000);
	type("show config\n");
	says("interval             3600000");
	says("codec                zstd:3");
	type("set interval 3600001\n");
	says("\ninterval 3600001: a number from 0 to 3600000 is accepted");
	type("set codec lz4\n");
	says("codec lz4: raw, zstd or zstd:LEVEL");
	control.refuse = true;
	type("set interval 7\n");
	says("the secondary does not take it");
	CU_ASSERT_EQUAL(config.interval_ms, 3600000);
	CU_ASSERT_EQUAL(control.n_posted, 2);
	end();
}

static void
test_bad_lines(void)
{
	char line[COLO_LINE_MAX + 100];

	begin(COLO_ROLE_PRIMARY);
	type("frobnicate\n");
	says("frobnicate: no such command; `help` lists them");
	type("set foo 3\n");
	says("set foo 3: not a command; accepted: set interval MS, set codec CODEC");
	type("start now\n");
	says("start now: not a command; accepted: start\n");
	type("\n   \n# a comment\n");
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	type(line);
	type("\n");
	says("xxx: no such command");
	CU_ASSERT_EQUAL(control.n_posted, 0);
	type("start\n");
	CU_ASSERT_EQUAL(control.n_posted, 1);
	end();
}

static void
test_help(void)
{
	begin(COLO_ROLE_PRIMARY);
	type("help\n");
	for (unsigned int i = 0; i < colo_n_verbs; i++) {
		says(colo_verbs[i].words);
		says(colo_verbs[i].help);
	}
	end();
}

static void
test_show(void)
{
	begin(COLO_ROLE_PAIR);
	control.view[1] = (struct colo_view){.present = true, .state = "COLO", .committed = 41};
	control.view[0].last = (struct colo_epoch_report){.epoch = 9, .pages = 77};
	control.channel[1][0] = (struct colo_channel_view){
		.present = true, .steering = "rss", .queue = 1, .next_slot = 1234};
	control.channel[1][0].counters.n[COLO_tx_packets] = 1100;
	control.channel[0][1].present = true;
	control.channel[0][1].counters.n[COLO_drop_short] = 5;
	control.block = (struct colo_block_view){.name = "pc.ram",
		.size = 1 << 20,
		.n_pages = 256,
		.extra = true,
		.guest = {.page_size = 4096, .path = "/dev/shm/guest"},
		.cache = {.page_size = 2 << 20}};
	type("show epoch\n");
	says("primary: state IDLE");
	says("last epoch 9: 77 pages");
	says("secondary: state COLO");
	says("committed 41");
	type("show channel\n");
	says("channel 1 send: lcore 0, port 0 queue 1, steering rss");
	says("next slot 1234");
	says("channel 0 receive:");
	says_not("channel 0 send");
	type("show block\n");
	says("secondary block 0 pc.ram: 1M, 256 pages, of the primary's list\n"
	     "  guest  4 KiB pages, /dev/shm/guest\n  cache  2 MiB pages, unnamed");
	control.block.extra = false;
	type("show block\n");
	says("secondary block 0 pc.ram: 1M, 256 pages\n");
	type("show port\n");
	says("no port");
	end();
}

static void
test_stats(void)
{
	begin(COLO_ROLE_PRIMARY);
	type("show stats\n");
	says("all counters are 0");
	control.channel[0][0].present = control.channel[1][0].present = true;
	control.channel[0][0].counters.n[COLO_tx_packets] = 100;
	control.channel[1][0].counters.n[COLO_tx_packets] = 23;
	type("show stats\n");
	says("tx_packets                          123              0  page packets sent");
	says_not("drop_short");
	says_not("refused");
	control.channel[1][0].counters.n[COLO_drop_foreign] = 9; /* harmless */
	type("show stats\n");
	says_not("refused");
	control.channel[1][0].counters.n[COLO_drop_fragment] = 3;
	control.channel[0][0].counters.n[COLO_drop_seal] = 4;
	control.channel[1][0].counters.n[COLO_drop_handover_full] = 1;
	type("show stats\n");
	says("\n8 frames refused: 3 fragment, 4 seal, 1 handover_full\n");
	type("clear stats\n");
	control.channel[1][0].counters.n[COLO_tx_packets] += 4;
	type("show stats\n");
	says("tx_packets                            4              0");
	type("show stats all\n");
	says("drop_short                            0              0");
	says_not("tcp_");
	control.view[1].present = true;
	control.view[1].callers.n[COLO_SESSION_tcp_late] = 7;
	type("show stats\n");
	says("tcp_late                                             7  callers that sent no whole");
	says_not("tcp_busy");
	says("\n7 callers refused: 7 late\n");
	type("clear stats\n");
	type("show stats\n");
	says("all counters are 0");
	type("show stats all\n");
	says("tcp_busy                                             0");
	end();
}

static void
test_end_of_input(void)
{
	begin(COLO_ROLE_PRIMARY);
	type("stop\nsta");
	close(input);
	input = -1;
	colo_console_poll(&console);
	colo_console_poll(&console);
	CU_ASSERT_EQUAL(control.n_posted, 2);
	CU_ASSERT_EQUAL(control.posted[1].kind, COLO_REQUEST_QUIT);
	says("end of input: quit\n");
	end();
}

static void
test_ctrl_d(void)
{
	begin(COLO_ROLE_PRIMARY);
	type("st\004op\n"); /* within a line it deletes to the right: nothing */
	CU_ASSERT_EQUAL(control.n_posted, 1);
	type("\004");
	CU_ASSERT_EQUAL(control.n_posted, 2);
	CU_ASSERT_EQUAL(control.posted[1].kind, COLO_REQUEST_QUIT);
	end();
}

static void
test_wait_epochs(void)
{
	begin(COLO_ROLE_PRIMARY);
	control.view[0].checkpoints = 10;
	type("wait epochs 3\nstop\n");
	CU_ASSERT_EQUAL(control.n_posted, 0);
	control.view[0].checkpoints = 12;
	colo_console_poll(&console);
	CU_ASSERT_EQUAL(control.n_posted, 0);
	control.view[0].checkpoints = 0; /* a new session */
	colo_console_poll(&console);
	CU_ASSERT_EQUAL(control.n_posted, 0);
	control.view[0].checkpoints = 1;
	colo_console_poll(&console);
	CU_ASSERT_EQUAL(control.n_posted, 1);
	end();
}

static void
test_wait_state(void)
{
	begin(COLO_ROLE_SECONDARY);
	type("wait state COLO 1\nstop\n");
	CU_ASSERT_EQUAL(control.n_posted, 0);
	control.view[1].state = "COLO";
	colo_console_poll(&console);
	CU_ASSERT_EQUAL(control.n_posted, 1);
	type("wait state DONE 1\n");
	usleep(1010000);
	colo_console_poll(&console);
	says("wait state DONE: it is still COLO\n");
	type("wait seconds 0\n");
	says("seconds 0: a number from 1 to 86400");
	type("wait epochs 0\n");
	says("epochs 0: a number from 1");
	type("wait seconds 1\nstop\n");
	CU_ASSERT_EQUAL(control.n_posted, 1);
	usleep(1010000);
	colo_console_poll(&console);
	CU_ASSERT_EQUAL(control.n_posted, 2);
	end();
}

/** An event's line does not mix with what is being typed. */
static void
test_redraw(void)
{
	begin(COLO_ROLE_PRIMARY);
	type("sto");
	colo_console_hide(&console);
	colo_console_hide(&console); /* nothing to hide any more */
	fputs("epoch 1\n", out);
	colo_console_poll(&console);
	says("colo> sto\r\033[2Kepoch 1\n");
	CU_ASSERT_PTR_NOT_NULL(strstr(strstr(text, "epoch 1"), "colo> sto"));
	type("p\n");
	CU_ASSERT_EQUAL(control.n_posted, 1);
	CU_ASSERT_EQUAL(control.posted[0].kind, COLO_REQUEST_STOP);
	end();
}

static void
test_completion_and_history(void)
{
	begin(COLO_ROLE_PRIMARY);
	type("fail\t\n");
	CU_ASSERT_EQUAL(control.n_posted, 1);
	CU_ASSERT_EQUAL(control.posted[0].kind, COLO_REQUEST_FAILOVER);
	type("set i\t9\n");
	CU_ASSERT_EQUAL(control.n_posted, 2);
	CU_ASSERT_EQUAL(control.posted[1].interval_ms, 9);
	type("\033[A\033[A\n"); /* up, up */
	CU_ASSERT_EQUAL(control.n_posted, 3);
	CU_ASSERT_EQUAL(control.posted[2].kind, COLO_REQUEST_FAILOVER);
	type("check?");
	says("Take a checkpoint without waiting");
	end();
}

/** Ctrl-C must stay a signal, Ctrl-Z must not stop us, and the terminal comes back. */
static void
test_terminal(void)
{
	struct termios before = {0}, during = {0}, after = {0};
	int master, slave;

	reset(COLO_ROLE_PRIMARY);
	config.interactive = true;
	CU_ASSERT_EQUAL_FATAL(openpty(&master, &slave, NULL, NULL, NULL), 0);
	tcgetattr(slave, &before);
	CU_ASSERT_EQUAL_FATAL(
		colo_console_start(&console, &control, &config, slave, out, &error), 0);
	tcgetattr(slave, &during);
	CU_ASSERT_EQUAL(during.c_lflag & (ICANON | ECHO), 0);
	CU_ASSERT_NOT_EQUAL(during.c_lflag & ISIG, 0);
	CU_ASSERT_EQUAL(during.c_cc[VSUSP], _POSIX_VDISABLE);
	input = master;
	type("start\r");
	CU_ASSERT_EQUAL(control.n_posted, 1);
	colo_console_stop(&console);
	tcgetattr(slave, &after);
	CU_ASSERT_EQUAL(memcmp(&before, &after, sizeof(before)), 0);
	console.in = slave;
	end();
}

/* ---- scripts ---- */

static char path[] = "/tmp/console_ut.XXXXXX";

/** Start with @p script. @return what colo_console_start() does. */
static int
begin_script(const char *script, size_t length)
{
	int fd;

	reset(COLO_ROLE_PRIMARY);
	strcpy(path, "/tmp/console_ut.XXXXXX");
	fd = mkstemp(path);
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, script, length), (ssize_t)length);
	close(fd);
	strcpy(config.cmdline_file, path);
	input = -1;
	return colo_console_start(
		&console, &control, &config, open("/dev/null", O_RDONLY), out, &error);
}

static void
end_script_test(void)
{
	end();
	unlink(path);
}

static void
run_lines(const char *script)
{
	CU_ASSERT_EQUAL_FATAL(begin_script(script, strlen(script)), 0);
	colo_console_poll(&console);
}

static void
test_script(void)
{
	run_lines("# first\n\nset interval 5 # ms\r\nstart\nwait epochs 1\nshow epoch\nstop");
	CU_ASSERT_EQUAL(control.n_posted, 2);
	control.view[0].checkpoints = 1;
	colo_console_poll(&console);
	CU_ASSERT_EQUAL(control.n_posted, 3);
	CU_ASSERT_EQUAL(control.posted[2].kind, COLO_REQUEST_STOP);
	says("colo> set interval 5 # ms\ncolo> start\ncolo> wait epochs 1\ncolo> show epoch\n");
	colo_console_poll(&console);
	CU_ASSERT_EQUAL(control.n_posted, 3); /* the end of a script is not quit */
	CU_ASSERT_FALSE(colo_console_script_failed(&console));
	end_script_test();
}

static void
script_refused(const char *script, size_t length, const char *why)
{
	CU_ASSERT_EQUAL(begin_script(script, length), -1);
	if (strstr(error.text, why) == NULL)
		printf("\n    no '%s' in '%s'\n", why, error.text);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, why));
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, path));
	CU_ASSERT_EQUAL(control.n_posted, 0);
	end_script_test();
}

static void
test_script_refused(void)
{
	static char big[COLO_SCRIPT_MAX + 1];
	char line[COLO_LINE_MAX + 2];

	script_refused("start\n\nfrob\n", 12, ":3: frob: no such command");
	script_refused("set interval x", 14, ":1: interval x: a number");
	script_refused("start\0stop", 10, "bytes of text");
	memset(big, '\n', sizeof(big));
	script_refused(big, sizeof(big), "at most 65536 bytes");
	CU_ASSERT_EQUAL(begin_script(big, sizeof(big) - 1), 0);
	end_script_test();
	memset(line, '#', sizeof(line));
	line[COLO_LINE_MAX + 1] = '\0';
	script_refused(line, COLO_LINE_MAX + 1, ":1: at most 511 bytes a line");
	CU_ASSERT_EQUAL(begin_script(line, COLO_LINE_MAX), 0);
	end_script_test();
	reset(COLO_ROLE_PRIMARY);
	strcpy(config.cmdline_file, "/nonexistent");
	CU_ASSERT_EQUAL(colo_console_start(&console, &control, &config, -1, out, &error), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "--cmdline-file /nonexistent: cannot be read"));
	fclose(out);
	reset(COLO_ROLE_PRIMARY);
	strcpy(config.cmdline_file, "/");
	CU_ASSERT_EQUAL(colo_console_start(&console, &control, &config, -1, out, &error), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "--cmdline-file /: cannot be read"));
	fclose(out);
}

static void
test_script_fails(void)
{
	run_lines("set interval 5\nwait seconds 1\nstart\nstop\n");
	control.refuse = true;
	usleep(1010000);
	colo_console_poll(&console);
	colo_console_poll(&console);
	says(":3: the secondary does not take it; the rest of the file is not run\n");
	says_not("colo> stop");
	CU_ASSERT_TRUE(colo_console_script_failed(&console));
	end_script_test();
}

static void
test_script_wait_fails(void)
{
	run_lines("start\nwait state NEVER 1\nstop\n");
	usleep(1010000);
	colo_console_poll(&console);
	says(":2: wait state NEVER: it is still IDLE; the rest");
	CU_ASSERT_EQUAL(control.n_posted, 1);
	end_script_test();
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"requests", test_requests},
		{"set", test_set},
		{"bad lines", test_bad_lines},
		{"help", test_help},
		{"show", test_show},
		{"stats", test_stats},
		{"end of input", test_end_of_input},
		{"ctrl-d", test_ctrl_d},
		{"wait epochs", test_wait_epochs},
		{"wait state and seconds", test_wait_state},
		{"redraw", test_redraw},
		{"completion and history", test_completion_and_history},
		{"terminal", test_terminal},
		{"script", test_script},
		{"script refused", test_script_refused},
		{"script fails", test_script_fails},
		{"script's wait fails", test_script_wait_fails},
	};

	return UT_RUN("console", cases);
}
