/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real QEMU with a tiny guest for unit tests: 141 bytes of firmware that count. Each turn it
 * checks that 16 pages from 0x10000 on hold the counter (in a register), adds one, stores it into
 * all of them, and prints it as 8 hex digits and a newline to the debug console; a wrong page
 * prints "!" and halts.
 */
#ifndef COLO_QEMU_GUEST_H
#define COLO_QEMU_GUEST_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUEST_RAM_SIZE	 (32u << 20)
#define GUEST_BIOS_SIZE	 65536u
#define GUEST_COUNTER_AT 0x10000u
#define GUEST_PAGES	 16u

struct qemu_guest {
	pid_t pid;
	char ram[256], qmp[256], out[256];
};

static char guest_dir[128]; /* of this test program; holds all its files */

/*
 *	cli; xor ax,ax; mov ss,ax; mov sp,7000h; copy 256 bytes from f000:0 to 0800:0; jump there
 *	(ROMs are not in guest memory); mov ax,1000h; mov es,ax; xor ebx,ebx; fill 16 pages with ebx
 * turn: compare 16 pages with ebx, else bad; inc ebx; fill 16 pages with ebx
 *	print ebx to port e9h, newline; wait 200000 loops; jmp turn
 * bad: out e9h,'!'; hlt
 */
static const uint8_t guest_code[] = {0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x70,
	0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0xb8, 0x00, 0x08, 0x8e, 0xc0, 0x31, 0xf6, 0x31, 0xff, 0xb9,
	0x00, 0x01, 0xfc, 0xf3, 0xa4, 0xea, 0x23, 0x00, 0x00, 0x08, 0xb8, 0x00, 0x10, 0x8e, 0xc0,
	0x66, 0x31, 0xdb, 0xb9, 0x10, 0x00, 0x31, 0xff, 0x26, 0x66, 0x89, 0x1d, 0x81, 0xc7, 0x00,
	0x10, 0xe2, 0xf6, 0xb9, 0x10, 0x00, 0x31, 0xff, 0x26, 0x66, 0x39, 0x1d, 0x75, 0x41, 0x81,
	0xc7, 0x00, 0x10, 0xe2, 0xf4, 0x66, 0x43, 0xb9, 0x10, 0x00, 0x31, 0xff, 0x26, 0x66, 0x89,
	0x1d, 0x81, 0xc7, 0x00, 0x10, 0xe2, 0xf6, 0x66, 0x89, 0xda, 0xb9, 0x08, 0x00, 0x66, 0xc1,
	0xc2, 0x04, 0x88, 0xd0, 0x24, 0x0f, 0x04, 0x30, 0x3c, 0x3a, 0x72, 0x02, 0x04, 0x27, 0xe6,
	0xe9, 0xe2, 0xec, 0xb0, 0x0a, 0xe6, 0xe9, 0x66, 0xb9, 0x40, 0x0d, 0x03, 0x00, 0x66, 0x49,
	0x75, 0xfc, 0xeb, 0xb4, 0xb0, 0x21, 0xe6, 0xe9, 0xf4, 0xeb, 0xfd};

static inline const char *
guest_qemu(void)
{
	const char *other = getenv("COLO_TEST_QEMU");

	return other != NULL ? other : "qemu-system-x86_64";
}

/* The firmware: our code at f000:0000, and the jump to it where the CPU begins. */
static inline void
guest_make_bios(const char *path)
{
	static const uint8_t jump[] = {0xea, 0x00, 0x00, 0x00, 0xf0};
	static uint8_t image[GUEST_BIOS_SIZE];
	FILE *f = fopen(path, "w");

	memcpy(image, guest_code, sizeof(guest_code));
	memcpy(image + 0xfff0, jump, sizeof(jump));
	if (f == NULL || fwrite(image, sizeof(image), 1, f) != 1)
		abort();
	fclose(f);
}

/* @return false if there is no QEMU. */
static inline bool
guest_prepare(void)
{
	char command[512], bios[256];

	snprintf(command, sizeof(command), "%s --version >/dev/null 2>&1", guest_qemu());
	if (system(command) != 0)
		return false;
	snprintf(guest_dir, sizeof(guest_dir), "/dev/shm/colo-ut-XXXXXX");
	if (mkdtemp(guest_dir) == NULL)
		abort();
	setenv("TMPDIR", guest_dir, 1);
	snprintf(bios, sizeof(bios), "%s/bios", guest_dir);
	guest_make_bios(bios);
	return true;
}

static inline void
guest_cleanup(void)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", guest_dir);
	if (system(command) != 0)
		abort();
}

static inline void
guest_paths(struct qemu_guest *g, const char *name)
{
	snprintf(g->ram, sizeof(g->ram), "%s/%s.ram", guest_dir, name);
	snprintf(g->qmp, sizeof(g->qmp), "%s/%s.qmp", guest_dir, name);
	snprintf(g->out, sizeof(g->out), "%s/%s.out", guest_dir, name);
	unlink(g->qmp);
	unlink(g->out);
}

static inline void
guest_exec(const struct qemu_guest *g, const char *share, char *const *extra)
{
	char ram[512], qmp[512], out[512], bios[256], size[32];
	char *argv[32] = {(char *)(uintptr_t)guest_qemu(), "-accel", "tcg", "-m", size, "-object",
		ram, "-machine", "pc,memory-backend=pc.ram", "-nodefaults", "-display", "none",
		"-no-user-config", "-bios", bios, "-debugcon", out, "-qmp", qmp};
	unsigned int n = 19;
	char log[300];
	int fd;

	snprintf(size, sizeof(size), "%uM", GUEST_RAM_SIZE >> 20);
	snprintf(ram, sizeof(ram), "memory-backend-file,id=pc.ram,size=%u,mem-path=%s,share=%s",
		GUEST_RAM_SIZE, g->ram, share);
	snprintf(bios, sizeof(bios), "%s/bios", guest_dir);
	snprintf(out, sizeof(out), "file:%s", g->out);
	snprintf(qmp, sizeof(qmp), "unix:%s,server=on,wait=off", g->qmp);
	for (; *extra != NULL; extra++)
		argv[n++] = *extra;
	/* a test that gives up half-way leaves nothing running */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(log, sizeof(log), "%s.log", g->ram);
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execvp(argv[0], argv);
	_exit(127);
}

/* Start it; its QMP socket comes a little later. */
static inline void
guest_start(struct qemu_guest *g, const char *name, const char *share, char *const *extra)
{
	guest_paths(g, name);
	g->pid = fork();
	if (g->pid == 0)
		guest_exec(g, share, extra);
}

static inline void
guest_kill(struct qemu_guest *g)
{
	if (g->pid <= 0)
		return;
	kill(g->pid, SIGKILL);
	waitpid(g->pid, NULL, 0);
	g->pid = 0;
}

/* What the guest printed: how many lines, the first and the last number, and whether all is well.
 */
struct guest_output {
	unsigned int lines;
	uint32_t first, last;
	bool consecutive, complained;
};

static inline struct guest_output
guest_read(const struct qemu_guest *g)
{
	struct guest_output o = {.consecutive = true};
	FILE *f = fopen(g->out, "r");
	char line[64];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		uint32_t n = (uint32_t)strtoul(line, NULL, 16);

		if (strchr(line, '!') != NULL)
			o.complained = true;
		if (strlen(line) != 9) /* cut off by its end */
			continue;
		if (o.lines == 0)
			o.first = n;
		else if (n != o.last + 1)
			o.consecutive = false;
		o.last = n;
		o.lines++;
	}
	if (f != NULL)
		fclose(f);
	return o;
}

/* Wait until it printed a number above @p n. */
static inline bool
guest_counts_beyond(const struct qemu_guest *g, uint32_t n)
{
	for (int i = 0; i < 500; i++) {
		struct guest_output o = guest_read(g);

		if (o.lines > 0 && o.last > n)
			return true;
		usleep(10000);
	}
	return false;
}

#endif
