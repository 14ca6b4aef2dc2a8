/* SPDX-License-Identifier: BSD-3-Clause */
/* Unit test of telemetry.c: asked over the telemetry socket of a real EAL, answers read as JSON. */
#include "../../app/config_value.c"
#include "../../app/show.c"
#include "../../app/telemetry.c"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_eal.h>

#include "fake_control.h"
#include "ut.h"

static struct colo_control control;
static char answer[32768];
static int client = -1;

static void
ask(const char *command)
{
	ssize_t n;

	CU_ASSERT_EQUAL(write(client, command, strlen(command)), (ssize_t)strlen(command));
	n = read(client, answer, sizeof(answer) - 1);
	answer[n > 0 ? n : 0] = '\0';
}

static void
says(const char *what)
{
	if (strstr(answer, what) == NULL)
		printf("\n    no '%s' in:\n%s\n", what, answer);
	CU_ASSERT_PTR_NOT_NULL(strstr(answer, what));
}

static void
test_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 10};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/dpdk_telemetry.v2",
		rte_eal_get_runtime_dir());
	client = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	CU_ASSERT_EQUAL_FATAL(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	CU_ASSERT(read(client, answer, sizeof(answer)) > 0); /* version and limits */
}

static void
test_epoch(void)
{
	ask("/colo/epoch");
	says("{\"/colo/epoch\":{\"primary\":{\"state\":\"IDLE\",\"session\":7,");
	says("\"codec\":\"zstd:-1\"");
	says("\"last_epoch\":9,\"last_pages\":77,");
	CU_ASSERT_PTR_NULL(strstr(answer, "secondary"));
	control.view[1].present = true;
	ask("/colo/epoch");
	says("\"secondary\":{\"state\":\"none\"");
}

static void
test_channel(void)
{
	ask("/colo/channel");
	says("{\"/colo/channel\":[0,1]}");
	ask("/colo/channel,1");
	says("{\"/colo/channel\":{\"send\":{\"lcore\":3,\"steering\":\"flow\",");
	says("\"tx_packets\":1100,");
	CU_ASSERT_PTR_NULL(strstr(answer, "receive"));
	ask("/colo/channel,2");
	says("{\"/colo/channel\":null}");
	ask("/colo/channel,x");
	says("{\"/colo/channel\":null}");
	ask("/colo/channel,-1");
	says("{\"/colo/channel\":null}");
	ask("/colo/channel,1x");
	says("{\"/colo/channel\":null}");
}

static void
test_stats(void)
{
	control.view[1].present = false;
	ask("/colo/stats");
	says("{\"/colo/stats\":{\"send\":{\"tx_packets\":1105,");
	says("\"receive\":{\"tx_packets\":0,");
	for (unsigned int i = 0; i < COLO_N_COUNTERS; i++)
		says(colo_counter_name[i]);
	CU_ASSERT_PTR_NULL(strstr(answer, "callers"));
	control.view[1].present = true;
	control.view[1].callers.n[COLO_SESSION_tcp_evicted] = 12;
	ask("/colo/stats");
	says("\"callers\":{\"tcp_accepted\":0,");
	says("\"tcp_evicted\":12,");
	for (unsigned int i = 0; i < COLO_SESSION_N_COUNTERS; i++)
		says(colo_session_counter_name[i]);
}

static void
test_help(void)
{
	ask("/help,/colo/channel");
	says("with parameter N, both ends of channel N");
	ask("/");
	says("\"/colo/epoch\"");
	says("\"/colo/stats\"");
}

static void
test_stopped(void)
{
	colo_telemetry_stop();
	ask("/colo/stats");
	says("{\"/colo/stats\":null}");
}

static void
fill_control(void)
{
	control.view[0] = (struct colo_view){.present = true,
		.state = "IDLE",
		.session = 7,
		.codec = COLO_CODEC_ZSTD,
		.zstd_level = -1,
		.last = {.epoch = 9, .pages = 77}};
	control.channel[0][0].present = true;
	control.channel[0][0].counters.n[COLO_tx_packets] = 5;
	control.channel[1][0] =
		(struct colo_channel_view){.present = true, .lcore = 3, .steering = "flow"};
	control.channel[1][0].counters.n[COLO_tx_packets] = 1100;
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"connect", test_connect},
		{"epoch", test_epoch},
		{"channel", test_channel},
		{"stats", test_stats},
		{"help", test_help},
		{"stopped", test_stopped},
	};
	char prefix[64];
	char *argv[] = {"telemetry_ut", "--no-huge", "--no-pci", "--no-shconf", "-m", "64", "-l",
		"0", prefix, "--log-level=lib.eal:error", NULL};
	char directory[256];
	struct colo_error error;
	int rc;

	snprintf(prefix, sizeof(prefix), "--file-prefix=telemetry_ut.%d", (int)getpid());
	if (rte_eal_init(RTE_DIM(argv) - 1, argv) < 0)
		return 1;
	fill_control();
	if (colo_telemetry_start(&control, 2, &error) != 0) {
		printf("%s\n", error.text);
		return 1;
	}
	rc = UT_RUN("telemetry", cases);
	close(client);
	snprintf(directory, sizeof(directory), "%s", rte_eal_get_runtime_dir());
	rte_eal_cleanup();
	strcat(directory, "/dpdk_telemetry.v2");
	unlink(directory);
	*strrchr(directory, '/') = '\0';
	rmdir(directory);
	return rc;
}
