/* SPDX-License-Identifier: BSD-3-Clause */
/* Unit test of app/reporter.c: lines and JSON of made-up events. python3 checks that JSON is JSON.
 */
#include "../../app/statistics.c"
#include "../../app/reporter.c"

#include <stdlib.h>

#include "ut.h"

static struct colo_config config;
static struct colo_report report;
static struct colo_error error;
static char text[65536];
static FILE *out;

void
colo_control_channel_view(const struct colo_control *c, unsigned int channel, bool receive,
	struct colo_channel_view *view)
{
	(void)c;
	view->present = channel < 2;
	view->steering = "paired";
	view->queue = channel;
	view->counters.n[COLO_tx_packets] = receive ? 0 : 5 + channel;
}

void
colo_control_view(const struct colo_control *c, bool secondary, struct colo_view *view)
{
	(void)c;
	*view = (struct colo_view){.present = !secondary,
		.sessions = 3,
		.full_copies = 1,
		.resumed = 2,
		.aborted = 4,
		.committed = 9};
}

/** Begin with lines going to `text`. */
static void
begin(enum colo_role role, const char *json)
{
	memset(&config, 0, sizeof(config));
	memset(text, 0, sizeof(text));
	config.role = role;
	config.channels = 3;
	strcpy(config.json, json);
	CU_ASSERT_EQUAL_FATAL(colo_report_open(&report, &config, &error), 0);
	out = fmemopen(text, sizeof(text), "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(out);
	report.out = out;
	report.tty = false;
}

static void
end(const struct colo_control *control)
{
	colo_report_close(&report, control);
	fclose(out);
}

static void
checkpoint(uint32_t epoch, uint64_t pages, uint32_t us, bool secondary)
{
	struct colo_event e = {.kind = COLO_EVENT_EPOCH,
		.report = {.epoch = epoch,
			.kind = COLO_EPOCH_CHECKPOINT,
			.is_secondary = secondary,
			.pages = pages,
			.zero_pages = 3,
			.wire_bytes = 1234567,
			.resent = 2,
			.pause_us = 2 * us,
			.transfer_us = us,
			.commit_us = 40,
			.flush_us = 1500,
			.verified = true}};

	colo_report_event(&report, &e);
}

static void
says(const char *what)
{
	if (strstr(text, what) == NULL)
		printf("\n    no '%s' in:\n%s\n", what, text);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, what));
}

static void
test_checkpoint_line(void)
{
	begin(COLO_ROLE_PRIMARY, "");
	checkpoint(12, 8000, 2250, false);
	checkpoint(13, 9999, 2250, true); /* the other end's: not ours to tell */
	end(NULL);
	says("epoch 12: 8000 pages, 3 zero, 1.23 MB, pause 4.50 ms, transfer 2.25 ms, commit 0.04 "
	     "ms, flush 1.50 ms, 2 resent, verified\n");
	says("1 checkpoints, 1 verified, 0 mismatches\n");
	says("transfer  mean 2.25, p50 2.2"); /* 2250 within 1/256 */
	says("14.56 GB/s");
	CU_ASSERT_PTR_NULL(strstr(text, "epoch 13"));
}

static void
test_secondary_line(void)
{
	begin(COLO_ROLE_SECONDARY, "");
	checkpoint(12, 8000, 0, true);
	checkpoint(13, 8000, 0, false);
	end(NULL);
	says("epoch 12: 8000 pages, 3 zero, 1.23 MB, commit 0.04 ms, flush 1.50 ms, verified\n");
	CU_ASSERT_PTR_NULL(strstr(text, "epoch 13"));
	CU_ASSERT_PTR_NULL(strstr(text, "pause"));
}

static void
test_mismatch(void)
{
	struct colo_event e = {.kind = COLO_EVENT_EPOCH,
		.report = {.epoch = 4,
			.kind = COLO_EPOCH_CHECKPOINT,
			.verified = true,
			.mismatches = 2}};

	begin(COLO_ROLE_PAIR, "");
	colo_report_event(&report, &e);
	end(NULL);
	says("DIFFERS\nWARNING: epoch 4: 2 blocks");
	says("1 checkpoints, 1 verified, 2 mismatches");
}

static void
test_texts(void)
{
	struct colo_event e = {.kind = COLO_EVENT_TEXT, .text = "all is well"};
	struct colo_event w = {.kind = COLO_EVENT_TEXT, .warning = true, .text = "nothing is"};
	struct colo_event n = {.kind = COLO_EVENT_END};

	begin(COLO_ROLE_PRIMARY, "");
	colo_report_event(&report, &e);
	colo_report_event(&report, &w);
	colo_report_event(&report, &n);
	end(NULL);
	CU_ASSERT_STRING_EQUAL(text, "all is well\nWARNING: nothing is\n");
}

static void
progress(uint64_t done, uint64_t total)
{
	struct colo_event e = {.kind = COLO_EVENT_PROGRESS, .done = done, .total = total};

	colo_report_event(&report, &e);
}

static void
test_progress_lines(void)
{
	unsigned int lines = 0;

	begin(COLO_ROLE_PRIMARY, "");
	for (uint64_t done = 0; done <= 1000; done++)
		progress(done, 1000);
	end(NULL);
	for (const char *p = text; *p != '\0'; p++)
		lines += *p == '\n';
	CU_ASSERT_EQUAL(lines, 11);
	says("precopy 0 %: 0 of 1000 pages\n");
	says("precopy 10 %: 100 of 1000 pages\n");
	says("precopy 100 %: 1000 of 1000 pages\n");
}

static void
test_progress_bar(void)
{
	begin(COLO_ROLE_PRIMARY, "");
	report.tty = true;
	progress(0, 200);
	progress(1, 200); /* still 0 %: not drawn again */
	progress(100, 200);
	progress(300, 200); /* more than there were: full */
	progress(0, 0);	    /* full already: not drawn again */
	checkpoint(1, 1, 1, false);
	end(NULL);
	says("\rprecopy [................................]   0 % 0 of 200 pages\033[K\r");
	says("\rprecopy [################................]  50 % 100 of 200 pages");
	says("\rprecopy [################################] 100 % 300 of 200 pages\033[K\nepoch 1:");
}

static void
test_unwritable(void)
{
	memset(&config, 0, sizeof(config));
	strcpy(config.json, "/nonexistent/out.json");
	CU_ASSERT_EQUAL(colo_report_open(&report, &config, &error), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "--json /nonexistent/out.json: cannot"));
	colo_report_close(&report, NULL);
}

/** @p expression over the parsed file `d` must hold. */
static void
json_holds(const char *path, const char *expression)
{
	char command[1024];

	snprintf(command, sizeof(command),
		"python3 -c 'import json,sys; d=json.load(open(\"%s\")); sys.exit(not (%s))'", path,
		expression);
	CU_ASSERT_EQUAL(system(command), 0);
}

static void
test_json(void)
{
	static struct colo_fault fault[2];
	char path[] = "/tmp/reporter_ut.XXXXXX";
	struct colo_event round = {.kind = COLO_EVENT_EPOCH,
		.report = {
			.epoch = 1, .kind = COLO_EPOCH_PRECOPY, .pages = 1000, .transfer_us = 9}};
	int fd = mkstemp(path), local = 0;

	CU_ASSERT_FATAL(fd >= 0);
	begin(COLO_ROLE_PAIR, path);
	colo_report_event(&report, &round);
	for (uint32_t i = 1; i <= 200; i++) {
		checkpoint(i + 1, 100, i, false);
		checkpoint(i + 1, 100, i, true);
	}
	fault[1].n_queues = 2;
	for (unsigned int q = 0; q < 2; q++)
		fault[1].queue[q] = (struct colo_fault_queue){.frames = 700 + q,
			.dropped = 70 + q,
			.bursts = 8,
			.duplicated = 5,
			.reordered = 3,
			.flipped = 2};
	report.fault = fault;
	end((const struct colo_control *)&local); /* never looked into by the fake above */
	json_holds(path, "[e[\"epoch\"] for e in d[\"epochs\"]] == list(range(2, 202))");
	json_holds(path,
		"sorted(d[\"epochs\"][0]) == sorted([\"epoch\", \"pages\", \"zero_pages\", "
		"\"wire_bytes\", \"pause_us\", \"transfer_us\", \"commit_us\", "
		"\"flush_us\", \"resent\"])");
	json_holds(path, "d[\"epochs\"][6] == dict(epoch=8, pages=100, zero_pages=3, "
			 "wire_bytes=1234567, pause_us=14, transfer_us=7, commit_us=40, "
			 "flush_us=1500, resent=2)");
	json_holds(path, "d[\"summary\"][\"transfer_us\"] == dict(mean=100.5, p50=100, p99=198, "
			 "max=200, stddev=57.734)");
	json_holds(path,
		"d[\"summary\"][\"pause_us\"][\"max\"] == 400 and "
		"d[\"summary\"][\"epochs\"] == 200 and d[\"summary\"][\"verified\"] == 200");
	json_holds(path, "abs(d[\"summary\"][\"gbytes_per_s\"] - 200*100*4096/20100/1000) < 1e-3");
	json_holds(path, "d[\"sessions\"] == [dict(end=\"primary\", sessions=3, full_copies=1, "
			 "resumed=2, aborted=4, committed=9)]");
	json_holds(path, "[f[\"dropped\"] for f in d[\"faults\"]] == [70, 71] and "
			 "d[\"faults\"][1] == dict(end=\"secondary\", queue=1, frames=701, "
			 "dropped=71, bursts=8, duplicated=5, reordered=3, flipped=2)");
	json_holds(path, "d[\"precopy\"] == dict(rounds=1, pages=1000, us=9)");
	json_holds(path, "[(c[\"channel\"], c[\"end\"], c[\"counters\"][\"tx_packets\"]) for c in "
			 "d[\"channels\"]] == [(0, \"send\", 5), (0, \"receive\", 0), "
			 "(1, \"send\", 6), (1, \"receive\", 0)]");
	close(fd);
	unlink(path);
}

static void
test_json_empty(void)
{
	char path[] = "/tmp/reporter_ut.XXXXXX";
	int fd = mkstemp(path);

	CU_ASSERT_FATAL(fd >= 0);
	begin(COLO_ROLE_PRIMARY, path);
	end(NULL);
	colo_report_close(&report, NULL); /* twice: nothing more */
	json_holds(path, "d[\"epochs\"] == [] and d[\"summary\"][\"flush_us\"][\"mean\"] == 0 and "
			 "\"channels\" not in d and \"sessions\" not in d");
	close(fd);
	unlink(path);
}

static void
test_disk_full(void)
{
	begin(COLO_ROLE_PRIMARY, "/dev/full");
	for (uint32_t i = 1; i <= 2 * JSON_FLUSH_EPOCHS; i++)
		checkpoint(i, 1, 1, false);
	end(NULL);
	says("WARNING: --json /dev/full: write failed (No space left on device)");
	CU_ASSERT_PTR_NULL(strstr(strstr(text, "/dev/full") + 1, "/dev/full"));
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"checkpoint line", test_checkpoint_line},
		{"secondary's line", test_secondary_line},
		{"mismatch", test_mismatch},
		{"texts", test_texts},
		{"progress lines", test_progress_lines},
		{"progress bar", test_progress_bar},
		{"file unwritable", test_unwritable},
		{"JSON", test_json},
		{"JSON without epochs", test_json_empty},
		{"disk full", test_disk_full},
	};

	return UT_RUN("reporter", cases);
}
