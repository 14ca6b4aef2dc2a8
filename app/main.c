/* SPDX-License-Identifier: BSD-3-Clause */
/* dpdk-colo: boot order, the main lcore's loop, and the end in reverse order. */
#include <errno.h>
#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_kvargs.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include "config.h"
#include "confine.h"
#include "console.h"
#include "control_core.h"
#include "eal.h"
#include "ends.h"
#include "fault.h"
#include "guardian.h"
#include "help.h"
#include "keeper.h"
#include "log.h"
#include "page.h"
#include "poll_core.h"
#include "privileges.h"
#include "reporter.h"
#include "secret_heap.h"
#include "telemetry.h"
#include "tls.h"

#define MAIN_TURN_US 10000 /* how late the main lcore sees a key, a signal, an event */

struct colo_app {
	struct colo_config config;
	int guardian; /* of a guest driven by QMP */
	int keeper;   /* of a guest that streams to us */
	bool eal;
	struct colo_lcores lcores;
	struct colo_tls *tls; /* NULL: --insecure, or a pair */
	struct colo_seal_device seal;
	struct colo_primary_end primary;
	struct colo_secondary_end secondary;
	bool primary_on, secondary_on;
	struct colo_fault fault[2]; /* of the primary's port, of the secondary's */
	struct colo_poll_core poll_core[COLO_MAX_CHANNELS * 2];
	unsigned int n_poll_cores;
	struct colo_control control;
	struct colo_report report;
	struct colo_console console;
	_Atomic bool stop;
};

/* Set by signal handlers, read by the main loop. */
static volatile sig_atomic_t quit_signal, user_signal;

static void
on_quit_signal(int number)
{
	quit_signal = number;
}

static void
on_user_signal(int number)
{
	user_signal = number;
}

static void
catch_signals(void)
{
	struct sigaction quit = {.sa_handler = on_quit_signal};
	struct sigaction user = {.sa_handler = on_user_signal};

	sigaction(SIGINT, &quit, NULL);
	sigaction(SIGTERM, &quit, NULL);
	sigaction(SIGUSR1, &user, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- boot, step by step ---- */

/* Guardian and keeper fork, so they come before EAL; only a live guest needs one. */
static int
start_helper(struct colo_app *app, struct colo_error *err)
{
	const char *source = app->config.source;
	bool qmp = strncmp(source, "qmp,", 4) == 0;
	bool confined = app->config.privileges == COLO_PRIVILEGES_DROP;
	struct rte_kvargs *args;
	const char *path;

	if (!qmp && strncmp(source, "colo,", 5) != 0)
		return 0;
	args = rte_kvargs_parse(strchr(source, ',') + 1, NULL);
	path = args != NULL ? rte_kvargs_get(args, qmp ? "path" : "qmp") : NULL;
	/* a bad list is the source's to complain about */
	if (path != NULL && qmp)
		app->guardian = colo_guardian_start(path, confined, err);
	else if (path != NULL)
		app->keeper = colo_keeper_start(path, app->config.hold_ms, confined, err);
	rte_kvargs_free(args);
	return app->guardian < 0 || app->keeper < 0 ? -1 : 0;
}

/* After the guardian has forked: it has no use for a key. Nothing has called OpenSSL before. */
static int
start_tls(struct colo_app *app, struct colo_error *err)
{
	struct colo_error why;

	if (app->config.insecure)
		COLO_LOG(WARNING, "WARNING: --insecure: frames and session are neither "
				  "authenticated nor encrypted");
	if (app->config.psk_file[0] == '\0')
		return 0;
	if (colo_secret_heap_start(&why) != 0)
		COLO_LOG(WARNING, "%s", why.text);
	/* keys of frames lie in DPDK's memory as well: with a key there are no core files at all */
	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		return colo_error_set(err, "core files cannot be turned off: %s", strerror(errno));
	app->tls = colo_tls_new(app->config.psk_file, err);
	return app->tls != NULL ? 0 : -1;
}

/* Where there is a key frames are sealed: one queue pair for each channel and end. */
static int
start_seals(struct colo_app *app, struct colo_error *err)
{
	const struct colo_config *c = &app->config;
	unsigned int ends = c->role == COLO_ROLE_PAIR ? 2 : 1;

	if (app->tls == NULL)
		return 0;
	if (colo_seal_device_open(&app->seal, (uint16_t)(c->channels * ends),
		    ends * COLO_SEAL_KEYS(c->channels), err) != 0)
		return -1;
	/* what keys are made from; where it cannot be locked the secret heap could not either,
	 * which says so */
	(void)mlock(&app->primary.primary.seals, sizeof(app->primary.primary.seals));
	(void)mlock(&app->secondary.secondary.seals, sizeof(app->secondary.secondary.seals));
	app->primary.seal = &app->seal;
	app->secondary.seal = &app->seal;
	app->secondary.seal_lane = (uint16_t)(c->channels * (ends - 1));
	return 0;
}

static int
start_ends(struct colo_app *app, struct colo_error *err)
{
	struct colo_config *c = &app->config;
	struct colo_block_spec specs[COLO_MAX_BLOCKS - 1];
	uint16_t ids[2] = {c->port, c->port};
	unsigned int n = 0;

	if (c->role == COLO_ROLE_PAIR &&
		colo_port_pair(c->channels, COLO_WINDOW_MAX * 2, ids, err) != 0)
		return -1;
	app->primary.tls = app->tls;
	app->secondary.tls = app->tls;
	if (c->role != COLO_ROLE_SECONDARY) {
		app->primary_on = true;
		app->primary.source.guardian = app->guardian;
		app->primary.source.keeper = app->keeper;
		app->primary.source.interrupt = &quit_signal;
		if (colo_primary_end_start(&app->primary, c, ids[0], &app->control.notify, err) !=
			0)
			return -1;
	}
	if (c->role == COLO_ROLE_PRIMARY)
		return 0;
	app->secondary_on = true;
	if (c->role == COLO_ROLE_SECONDARY)
		return colo_secondary_end_start(&app->secondary, c, c->block, c->n_blocks, ids[0],
			&app->control.notify, err);
	/* a pair's secondary has the blocks of its primary, in memory of its own */
	memset(specs, 0, sizeof(specs));
	for (; n + 1 < app->primary.blocks.n; n++) {
		memcpy(specs[n].name, app->primary.blocks.block[n].name, sizeof(specs[n].name));
		specs[n].size = app->primary.blocks.block[n].size;
	}
	if (colo_secondary_end_start(
		    &app->secondary, c, specs, n, ids[1], &app->control.notify, err) != 0)
		return -1;
	app->primary.primary.verify.peer = &app->secondary.blocks;
	app->primary.primary.config.host = "127.0.0.1";
	app->primary.primary.config.port = colo_session_port(app->secondary.session);
	/* both ends' addresses would be made from MACs that net_ring leaves alike */
	app->secondary.secondary.local.ip[15 * (app->secondary.secondary.local.ip_version == 6) +
					  3 * (app->secondary.secondary.local.ip_version == 4)] ^=
		1;
	return 0;
}

/*
 * Channel i runs on poll core i: both ends of it in a pair, where a page is then still in the
 * core's cache when it is received. With a core to spare for each end they are split.
 */
static void
assign_poll_cores(struct colo_app *app)
{
	const struct colo_config *c = &app->config;
	bool split = c->role == COLO_ROLE_PAIR && app->lcores.n_poll >= 2 * c->channels;
	struct colo_poll_core *core;

	app->n_poll_cores = split ? 2 * c->channels : c->channels;
	for (unsigned int i = 0; i < app->n_poll_cores; i++) {
		core = &app->poll_core[i];
		core->lcore = app->lcores.poll[i];
		core->stop = &app->stop;
		core->idler.adaptive = c->idle == COLO_IDLE_ADAPTIVE;
		core->send_job = app->primary_on ? &app->primary.job : NULL;
		core->receive_job = app->secondary_on ? &app->secondary.job : NULL;
	}
	for (unsigned int i = 0; i < c->channels; i++) {
		core = &app->poll_core[i];
		if (app->primary_on)
			core->sender[core->n_senders++] = app->primary.send.channel[i];
		core = &app->poll_core[split ? c->channels + i : i];
		if (app->secondary_on)
			core->receiver[core->n_receivers++] = app->secondary.receive.channel[i];
	}
}

static int
install_faults(struct colo_app *app, struct colo_error *err)
{
	struct colo_fault_config config;

	if (app->config.fault[0] == '\0')
		return 0;
	if (colo_fault_parse(app->config.fault, &config, err) != 0)
		return -1;
	COLO_LOG(WARNING, "--fault %s: frames are damaged on purpose", app->config.fault);
	if (app->primary_on && colo_fault_install(&app->fault[0], app->primary.port.id,
				       app->config.channels, &config, err) != 0)
		return -1;
	if (app->secondary_on && colo_fault_install(&app->fault[1], app->secondary.port.id,
					 app->config.channels, &config, err) != 0)
		return -1;
	return 0;
}

static int
start_control(struct colo_app *app, struct colo_error *err)
{
	struct colo_control *c = &app->control;

	c->lcore = app->lcores.control;
	c->has_primary = app->primary_on;
	c->has_secondary = app->secondary_on;
	c->primary = &app->primary;
	c->secondary = &app->secondary;
	c->auto_start = !app->config.interactive || app->config.auto_start;
	c->poll_cores = app->poll_core;
	c->n_poll_cores = app->n_poll_cores;
	c->idler.adaptive = app->config.idle == COLO_IDLE_ADAPTIVE;
	c->stop = &app->stop;
	if (colo_report_open(&app->report, &app->config, err) != 0 ||
		colo_console_start(&app->console, c, &app->config, STDIN_FILENO, stdout, err) !=
			0 ||
		colo_telemetry_start(c, app->config.channels, err) != 0)
		return -1;
	if (app->config.fault[0] != '\0')
		app->report.fault = app->fault;
	return 0;
}

static int
launch(struct colo_app *app, struct colo_error *err)
{
	for (unsigned int i = 0; i < app->n_poll_cores; i++)
		if (rte_eal_remote_launch(
			    colo_poll_run, &app->poll_core[i], app->poll_core[i].lcore) != 0)
			return colo_error_set(
				err, "lcore %u does not start", app->poll_core[i].lcore);
	colo_control_show_blocks(&app->control);
	if (rte_eal_remote_launch(colo_control_run, &app->control, app->control.lcore) != 0)
		return colo_error_set(err, "lcore %u does not start", app->control.lcore);
	return 0;
}

/* Everything that needs a privilege is there now; the lcores' threads wait for their loops. */
static void
confine(const struct colo_app *app)
{
	const struct colo_port *ports[2];
	unsigned int n = 0;

	if (app->primary_on)
		ports[n++] = &app->primary.port;
	if (app->secondary_on)
		ports[n++] = &app->secondary.port;
	colo_confine(&app->config, ports, n);
}

static int
boot(struct colo_app *app, int n_eal, char **argv, struct colo_error *err)
{
	colo_privileges_private_files();
	if (start_helper(app, err) != 0 || start_tls(app, err) != 0)
		return -1;
	catch_signals(); /* a Ctrl-C while EAL starts ends the program once it stands */
	/* naps of poll cores are 30 us, not 80: inherited by all lcores */
	prctl(PR_SET_TIMERSLACK, 1);
	if (colo_eal_start(n_eal, argv, err) != 0)
		return -1;
	app->eal = true;
	colo_page_init(NULL);
	COLO_LOG(NOTICE, "page operations: %s", colo_page.name);
	if (colo_eal_lcores(&app->lcores, app->config.channels, err) != 0 ||
		colo_control_init(&app->control, err) != 0 || start_seals(app, err) != 0 ||
		start_ends(app, err) != 0 || install_faults(app, err) != 0)
		return -1;
	assign_poll_cores(app);
	if (start_control(app, err) != 0)
		return -1;
	confine(app);
	return launch(app, err);
}

/* ---- the main lcore's loop ---- */

static void
post(struct colo_app *app, enum colo_request_kind kind)
{
	struct colo_request request = {.kind = kind};
	struct colo_error err;

	if (colo_control_post(&app->control, &request, &err) != 0)
		fprintf(stderr, "%s\n", err.text);
}

static void
take_signals(struct colo_app *app)
{
	if (quit_signal != 0) {
		quit_signal = 0;
		post(app, COLO_REQUEST_QUIT);
	}
	/* a cluster manager's word: a secondary takes over, a primary lets its guest go on alone */
	if (user_signal != 0) {
		user_signal = 0;
		post(app, app->secondary_on ? COLO_REQUEST_FAILOVER : COLO_REQUEST_STOP);
	}
}

static int
main_loop(struct colo_app *app)
{
	struct colo_event event;

	for (;;) {
		take_signals(app);
		colo_console_poll(&app->console);
		while (colo_control_next_event(&app->control, &event)) {
			colo_console_hide(&app->console);
			colo_report_event(&app->report, &event);
			if (event.kind == COLO_EVENT_END)
				return event.exit_status;
		}
		usleep(MAIN_TURN_US);
	}
}

/* ---- the end, in reverse order ---- */

static void
shut_down(struct colo_app *app)
{
	atomic_store(&app->stop, true);
	if (app->eal)
		rte_eal_mp_wait_lcore();
	colo_telemetry_stop();
	colo_console_stop(&app->console);
	colo_report_close(&app->report, app->n_poll_cores > 0 ? &app->control : NULL);
	/* what they hold may be the other end's: both before either end frees its frames */
	for (unsigned int i = 0; i < RTE_DIM(app->fault); i++)
		colo_fault_remove(&app->fault[i]);
	colo_rings_free(&app->primary.send.lane, app->primary.send.handover);
	colo_rings_free(&app->secondary.receive.lane, app->secondary.receive.handover);
	if (app->primary_on)
		colo_primary_end_stop(&app->primary);
	if (app->secondary_on)
		colo_secondary_end_stop(&app->secondary);
	colo_tls_free(app->tls);
	colo_seal_device_close(&app->seal);
	colo_control_fini(&app->control);
	if (app->guardian > 0)
		colo_guardian_release(app->guardian);
	if (app->keeper > 0)
		colo_keeper_end(app->keeper);
	if (app->eal)
		rte_eal_cleanup();
}

/* Not calloc(): what poll cores and control core share has cache lines of its own, which calloc()'s
 * 16-byte alignment would break. */
static struct colo_app *
new_app(void)
{
	struct colo_app *app = aligned_alloc(alignof(struct colo_app), sizeof(*app));

	if (app != NULL)
		memset(app, 0, sizeof(*app));
	return app;
}

int
main(int argc, char **argv)
{
	int n_eal = colo_eal_split(argc, argv);
	int n_own = n_eal < argc ? argc - n_eal : 1;
	struct colo_app *app;
	struct colo_error err = {""};
	int status = COLO_EXIT_USAGE, rc;

	if (colo_help_early(argc, argv))
		return COLO_EXIT_OK;
	app = new_app();
	if (app == NULL)
		return COLO_EXIT_USAGE;
	rc = colo_config_parse(&app->config, n_own, n_eal < argc ? argv + n_eal : argv, &err);
	if (rc == 0 && boot(app, n_eal, argv, &err) == 0) {
		colo_config_print(&app->config, stdout);
		status = main_loop(app);
		if (status == 0 && colo_console_script_failed(&app->console))
			status = COLO_EXIT_USAGE;
	} else if (quit_signal != 0) {
		status = COLO_EXIT_OK; /* told to end before there was anything to run */
	}
	shut_down(app);
	if (err.text[0] != '\0')
		fprintf(stderr, "dpdk-colo: %s\n", err.text);
	free(app);
	return status;
}
