/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keeper with real QEMUs in COLO, primary and secondary, and a relay between them that hangs
 * at a chosen message, as a hanging dpdk-colo does. Skipped where there is no QEMU 11 or later.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "fake_qmp.h"
#include "keeper.h"
#include "qemu_guest.h"
#include "qmp.h"
#include "ut.h"

#define SKIPPED	   77 /* what meson takes for it */
#define QEMU_11	   "/var/cache/dpdk-colo/qemu-system-x86_64-11"
#define HOLD_MS	   150u
#define LONG_MS	   20000u
#define PAIRS_MAX  8
#define HANG_AFTER 100000u /* bytes of precopy: in the middle of RAM */

/* Where the relay hangs: from then on it reads nothing more, of no connection. */
enum hang {
	IN_PRECOPY = -1,
	AT_REPLY = 2,	 /* checkpoint is asked for, no answer comes */
	AT_RAM = 3,	 /* answered; of what QEMU sends, nothing is read: its main loop waits */
	AT_RECEIVED = 5, /* device state is sent, no answer comes */
	AT_LOADED = 6,
};

struct relay {
	enum hang hang;
	char path[160], target[160];
	int listen_fd;
	int near[PAIRS_MAX], far[PAIRS_MAX]; /* near: the primary's */
	unsigned int n;
	uint64_t bytes;	     /* of the main channel, from the primary */
	unsigned int loaded; /* checkpoints */
	_Atomic bool hangs, quit;
	pthread_t thread;
};

static bool
send_whole(int fd, const uint8_t *bytes, size_t length)
{
	return send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* From primary to secondary. @return false: closed. */
static bool
forth(struct relay *r, unsigned int i)
{
	static uint8_t bytes[65536];
	ssize_t n = recv(r->near[i], bytes, sizeof(bytes), 0);

	if (n <= 0)
		return false;
	r->bytes += i == 0 ? (size_t)n : 0;
	if (r->hang == IN_PRECOPY && r->bytes > HANG_AFTER)
		r->hangs = true;
	return r->hangs || send_whole(r->far[i], bytes, (size_t)n);
}

/* One message of the return path: 8 bytes, or COLO's be32. @return false: closed. */
static bool
back(struct relay *r, unsigned int i)
{
	uint8_t m[8];
	size_t length = 4;

	if (recv(r->far[i], m, 2, MSG_WAITALL) != 2)
		return false;
	length = m[0] != 0 || m[1] != 0 ? 8 : 4;
	if (recv(r->far[i], m + 2, length - 2, MSG_WAITALL) != (ssize_t)length - 2)
		return false;
	if (length == 4 && r->loaded > 0) { /* not the first one */
		r->hangs = m[3] == (uint8_t)r->hang || (r->hang == AT_RAM && m[3] == AT_REPLY);
		if (r->hangs && r->hang != AT_RAM)
			return true;
	}
	r->loaded += length == 4 && m[3] == AT_LOADED;
	return send_whole(r->near[i], m, length);
}

static void
take_pair(struct relay *r)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, r->target);
	r->near[r->n] = accept(r->listen_fd, NULL, NULL);
	r->far[r->n] = socket(AF_UNIX, SOCK_STREAM, 0);
	if (r->n == PAIRS_MAX - 1 || connect(r->far[r->n], (void *)&address, sizeof(address)) != 0)
		abort();
	r->n++;
}

static void *
relay_thread(void *arg)
{
	struct relay *r = arg;

	while (!r->quit) {
		struct pollfd p[1 + 2 * PAIRS_MAX] = {{.fd = r->listen_fd, .events = POLLIN}};
		bool open = true;

		for (unsigned int i = 0; i < r->n; i++) {
			p[1 + 2 * i] = (struct pollfd){.fd = r->near[i], .events = POLLIN};
			p[2 + 2 * i] = (struct pollfd){.fd = r->far[i], .events = POLLIN};
		}
		if (r->hangs || poll(p, 1 + 2 * r->n, 5) == 0) {
			usleep(1000);
			continue;
		}
		for (unsigned int i = 0; open && i < r->n; i++) {
			open = p[1 + 2 * i].revents == 0 || forth(r, i);
			open = open && (r->hangs || p[2 + 2 * i].revents == 0 || back(r, i));
		}
		if (p[0].revents != 0)
			take_pair(r);
		if (!open)
			break;
	}
	return NULL;
}

/* Primary, secondary, relay, keeper. */
struct rig {
	struct qemu_guest primary, secondary;
	char observer[280]; /* the primary's other QMP socket */
	struct relay relay;
	struct colo_qmp qmp;
	int keeper;
};

static struct rig rig;

/* Fills 128 pages from 0x10000 on with a number, adds one, again. */
static const uint8_t fill_code[] = {0xfa, 0x31, 0xc0, 0x66, 0x31, 0xdb, 0x66, 0x43, 0xb8, 0x00,
	0x10, 0x8e, 0xc0, 0x31, 0xff, 0xb9, 0x10, 0x00, 0x26, 0x66, 0x89, 0x1d, 0x81, 0xc7, 0x00,
	0x10, 0xe2, 0xf6, 0x05, 0x00, 0x10, 0x3d, 0x00, 0x90, 0x75, 0xe7, 0xeb, 0xe0};

static void
make_fill_bios(char *path, size_t size)
{
	static const uint8_t jump[] = {0xea, 0x00, 0x00, 0x00, 0xf0};
	static uint8_t image[GUEST_BIOS_SIZE];
	FILE *f;

	snprintf(path, size, "%s/fill", guest_dir);
	memcpy(image, fill_code, sizeof(fill_code));
	memcpy(image + 0xfff0, jump, sizeof(jump));
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fwrite(image, sizeof(image), 1, f), 1);
	fclose(f);
}

static void
command(struct colo_qmp *q, const char *name, const char *arguments)
{
	struct colo_error err = {{0}};

	if (colo_qmp_command(q, name, arguments, colo_deadline(LONG_MS), NULL, &err) != 0)
		printf("%s ", err.text);
	CU_ASSERT_STRING_EQUAL_FATAL(err.text, "");
}

static void
connect_to(struct colo_qmp *q, const char *path)
{
	uint64_t deadline = colo_deadline(LONG_MS);

	while (colo_qmp_open(q, path, COLO_NO_ABORT, deadline, NULL) != 0 &&
		colo_deadline_left(deadline) > 0)
		usleep(10000);
	CU_ASSERT_FATAL(q->fd >= 0);
}

static void
configure(struct colo_qmp *q, unsigned int channels)
{
	char text[256];

	snprintf(text, sizeof(text),
		"{\"capabilities\":[{\"capability\":\"x-colo\",\"state\":true},"
		"{\"capability\":\"return-path\",\"state\":true},"
		"{\"capability\":\"multifd\",\"state\":%s}]}",
		channels > 0 ? "true" : "false");
	command(q, "migrate-set-capabilities", text);
	snprintf(text, sizeof(text),
		"{\"max-bandwidth\":21474836480,\"x-checkpoint-delay\":100,\"multifd-channels\":%"
		"u}",
		channels > 0 ? channels : 2);
	command(q, "migrate-set-parameters", text);
}

static void
start_secondary(unsigned int channels)
{
	static struct colo_qmp q;
	char bios[160], text[256];
	char *extra[] = {"-bios", bios, "-incoming", "defer", NULL};

	make_fill_bios(bios, sizeof(bios));
	guest_start(&rig.secondary, "s", "on", extra);
	connect_to(&q, rig.secondary.qmp);
	configure(&q, channels);
	snprintf(text, sizeof(text), "{\"uri\":\"unix:%s\"}", rig.relay.target);
	command(&q, "migrate-incoming", text);
	colo_qmp_close(&q);
}

static void
start_primary(unsigned int channels)
{
	char bios[160], qmp[320];
	char *extra[] = {"-bios", bios, "-qmp", qmp, NULL};

	make_fill_bios(bios, sizeof(bios));
	snprintf(rig.observer, sizeof(rig.observer), "%s/observer", guest_dir);
	snprintf(qmp, sizeof(qmp), "unix:%s,server=on,wait=off", rig.observer);
	guest_start(&rig.primary, "p", "on", extra);
	connect_to(&rig.qmp, rig.observer);
	configure(&rig.qmp, channels);
}

static void
start_relay(enum hang hang)
{
	memset(&rig.relay, 0, sizeof(rig.relay));
	rig.relay.hang = hang;
	snprintf(rig.relay.path, sizeof(rig.relay.path), "%s/relay", guest_dir);
	snprintf(rig.relay.target, sizeof(rig.relay.target), "%s/in", guest_dir);
	rig.relay.listen_fd = fake_listen(rig.relay.path);
	pthread_create(&rig.relay.thread, NULL, relay_thread, &rig.relay);
}

static void
stop_relay(void)
{
	rig.relay.quit = true;
	pthread_join(rig.relay.thread, NULL);
	for (unsigned int i = 0; i < rig.relay.n; i++) {
		close(rig.relay.near[i]);
		close(rig.relay.far[i]);
	}
	close(rig.relay.listen_fd);
	unlink(rig.relay.path);
	unlink(rig.relay.target);
}

/* Protect the guest until the relay hangs. */
static void
migrate_until_hang(unsigned int channels, enum hang hang)
{
	struct colo_error err = {{0}};
	char text[256];

	start_relay(hang);
	start_secondary(channels);
	snprintf(text, sizeof(text), "{\"uri\":\"unix:%s\"}", rig.relay.path);
	command(&rig.qmp, "migrate", text);
	usleep(20000); /* as the source does: once it has read the stream's head */
	CU_ASSERT_EQUAL(colo_keeper_watch(rig.keeper, LONG_MS, &err), 0);
	for (int i = 0; i < 20000 && !rig.relay.hangs; i++)
		usleep(1000);
	CU_ASSERT_TRUE(rig.relay.hangs);
	usleep(100000); /* QEMU gets to where it waits */
}

static void
rig_start(unsigned int channels, uint32_t hold_ms)
{
	struct colo_error err = {{0}};

	rig.primary.pid = rig.secondary.pid = 0;
	start_primary(channels);
	rig.keeper = colo_keeper_start(rig.primary.qmp, hold_ms, true, &err);
	CU_ASSERT_FATAL(rig.keeper > 2);
}

static void
rig_stop(void)
{
	colo_keeper_end(rig.keeper);
	stop_relay();
	colo_qmp_close(&rig.qmp);
	guest_kill(&rig.primary);
	guest_kill(&rig.secondary);
}

static uint32_t
counter(void)
{
	uint32_t n = 0;
	int fd = open(rig.primary.ram, O_RDONLY);

	CU_ASSERT_EQUAL(pread(fd, &n, sizeof(n), GUEST_COUNTER_AT), sizeof(n));
	close(fd);
	return n;
}

static bool
guest_counts(uint32_t wait_ms)
{
	uint32_t before = counter();

	for (uint32_t i = 0; i < wait_ms && counter() == before; i++)
		usleep(1000);
	return counter() != before;
}

/* Where a migration stands: its status, and the run state. */
static bool
qemu_says(const char *migration, const char *status)
{
	char is[COLO_QMP_STATUS_MAX] = "";
	struct colo_json reply;
	bool running;

	if (colo_qmp_command(
		    &rig.qmp, "query-migrate", NULL, colo_deadline(LONG_MS), &reply, NULL) != 0 ||
		colo_json_member_string(&reply, "status", is, sizeof(is)) < 0)
		return false;
	if (strcmp(is, migration) == 0 &&
		colo_qmp_status(&rig.qmp, colo_deadline(LONG_MS), is, &running, NULL) == 0 &&
		strcmp(is, status) == 0)
		return true;
	printf("%s ", is);
	return false;
}

/* Freed, it can be protected again; the second time its primary is content. */
static void
expect_protected_again(unsigned int channels)
{
	struct colo_error err = {{0}};

	stop_relay();
	guest_kill(&rig.secondary);
	migrate_until_hang(channels, AT_LOADED);
	CU_ASSERT_EQUAL(colo_keeper_free(rig.keeper, LONG_MS, &err), 0);
	CU_ASSERT_TRUE(guest_counts(5000));
}

static void
run_free(unsigned int channels, enum hang hang, bool stands_still)
{
	struct colo_error err = {{0}};
	uint64_t began;

	rig_start(channels, LONG_MS);
	migrate_until_hang(channels, hang);
	CU_ASSERT_EQUAL(guest_counts(100), !stands_still);
	began = colo_monotonic_us();
	CU_ASSERT_EQUAL(colo_keeper_free(rig.keeper, 5000, &err), 0);
	printf("%s%u us ", err.text, (unsigned int)(colo_monotonic_us() - began));
	CU_ASSERT_TRUE(guest_counts(5000));
	CU_ASSERT_TRUE(qemu_says(hang == IN_PRECOPY ? "failed" : "completed", "running"));
	/* again is fine, and changes nothing */
	CU_ASSERT_EQUAL(colo_keeper_free(rig.keeper, 5000, &err), 0);
	CU_ASSERT_TRUE(guest_counts(5000));
}

static void
test_free(void)
{
	run_free(0, IN_PRECOPY, false);
	rig_stop();
	run_free(0, AT_REPLY, false);
	rig_stop();
	run_free(0, AT_RAM, true);
	expect_protected_again(0);
	rig_stop();
	run_free(4, AT_RECEIVED, true);
	expect_protected_again(4);
	rig_stop();
}

/* An operator's pause stays one. */
static void
test_paused(void)
{
	struct colo_error err = {{0}};

	rig_start(0, HOLD_MS);
	usleep(300000); /* it has dirtied its memory */
	command(&rig.qmp, "stop", NULL);
	migrate_until_hang(0, IN_PRECOPY);
	usleep(3000 * HOLD_MS);
	CU_ASSERT_TRUE(qemu_says("active", "paused"));
	CU_ASSERT_EQUAL(colo_keeper_free(rig.keeper, 5000, &err), 0);
	CU_ASSERT_TRUE(qemu_says("failed", "paused"));
	CU_ASSERT_FALSE(guest_counts(100));
	rig_stop();
}

/* The primary hangs: nothing but the keeper can help. */
static void
run_hang(unsigned int channels, enum hang hang, bool told)
{
	struct colo_error err = {{0}};

	rig_start(channels, HOLD_MS);
	migrate_until_hang(channels, hang);
	colo_keeper_paused(rig.keeper, told);
	CU_ASSERT_TRUE(guest_counts(5000));
	CU_ASSERT_TRUE(qemu_says("completed", "running"));
	usleep(200000); /* the keeper looks again, and is content */
	/* the primary comes back */
	colo_keeper_paused(rig.keeper, false);
	CU_ASSERT_EQUAL(colo_keeper_free(rig.keeper, 5000, &err), 0);
	CU_ASSERT_TRUE(guest_counts(5000));
	rig_stop();
}

static void
test_hang(void)
{
	run_hang(0, AT_RAM, false);
	run_hang(4, AT_RAM, true);
	run_hang(0, AT_LOADED, true);
}

/* The keeper just started, which became our child. */
static pid_t
youngest_child(void)
{
	char path[64];
	pid_t pid, last = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	while (fscanf(f, "%d", &pid) == 1)
		last = pid;
	fclose(f);
	return last;
}

/* The primary is killed: its sockets close with it, and its keeper's. */
static void
run_kill(unsigned int channels, enum hang hang)
{
	pid_t keeper;
	int status;

	rig_start(channels, LONG_MS);
	keeper = youngest_child();
	migrate_until_hang(channels, hang);
	CU_ASSERT_FALSE(guest_counts(100));
	close(rig.keeper);
	rig.keeper = -1;
	/* it ends when it is content */
	CU_ASSERT(waitpid(keeper, &status, 0) == keeper && WIFEXITED(status));
	CU_ASSERT_TRUE(guest_counts(5000));
	CU_ASSERT_TRUE(qemu_says("completed", "running"));
	rig_stop();
}

static void
test_kill(void)
{
	run_kill(0, AT_LOADED);
	run_kill(4, AT_RAM);
}

/* @return false: it is older, or does not run. */
static bool
is_qemu_11(void)
{
	char line[128] = "", text[300];
	FILE *f;
	int major = 0;

	if (access(QEMU_11, X_OK) == 0)
		setenv("COLO_TEST_QEMU", QEMU_11, 0);
	snprintf(text, sizeof(text), "%s --version 2>/dev/null", guest_qemu());
	f = popen(text, "r");
	if (f != NULL && fgets(line, sizeof(line), f) != NULL)
		(void)sscanf(line, "QEMU emulator version %d", &major);
	if (f != NULL)
		pclose(f);
	return major >= 11;
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"free", test_free},
		{"a guest that its operator paused", test_paused},
		{"primary hangs", test_hang},
		{"primary is killed", test_kill},
	};
	int result;

	if (!is_qemu_11() || !guest_prepare()) {
		printf("skipped: %s is not QEMU 11 or later\n", guest_qemu());
		return SKIPPED;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	result = UT_RUN("keeper: real QEMUs in COLO", cases);
	guest_cleanup();
	return result;
}
