/* SPDX-License-Identifier: BSD-3-Clause */
/* What the operator reads: lines, a progress bar; and what --json keeps. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <rte_common.h>

#include "reporter.h"
#include "wire.h"

#define BAR_WIDTH_MIN	  10
#define BAR_WIDTH_MAX	  60
#define BAR_TEXT_WIDTH	  48 /* columns that the words beside the bar may need */
#define COLUMNS_DEFAULT	  80
#define JSON_FLUSH_EPOCHS 64 /* a crash loses at most so many */

int
colo_report_open(struct colo_report *r, const struct colo_config *c, struct colo_error *err)
{
	memset(r, 0, sizeof(*r));
	r->config = c;
	r->out = stdout;
	r->tty = isatty(STDOUT_FILENO) && !c->interactive;
	r->last_step = -1;
	if (c->json[0] == '\0')
		return 0;
	r->json = fopen(c->json, "we");
	if (r->json == NULL)
		return colo_error_set(err,
			"--json %.300s: cannot be written (%s); a path to a writable file is "
			"accepted",
			c->json, strerror(errno));
	fputs("{\"epochs\": [", r->json);
	return 0;
}

/* ---- progress of precopy ---- */

static int
bar_width(const struct colo_report *r)
{
	struct winsize size = {0};
	int columns = COLUMNS_DEFAULT, width;

	if (ioctl(fileno(r->out), TIOCGWINSZ, &size) == 0 && size.ws_col != 0)
		columns = size.ws_col;
	width = columns - BAR_TEXT_WIDTH;
	return RTE_MIN(RTE_MAX(width, BAR_WIDTH_MIN), BAR_WIDTH_MAX);
}

static void
draw_bar(struct colo_report *r, int percent, const struct colo_event *e)
{
	char bar[BAR_WIDTH_MAX];
	int width = bar_width(r), full = width * percent / 100;

	memset(bar, '#', full);
	memset(&bar[full], '.', width - full);
	fprintf(r->out, "\rprecopy [%.*s] %3d %% %" PRIu64 " of %" PRIu64 " pages\033[K", width,
		bar, percent, e->done, e->total);
	r->bar_open = true;
}

/** Whatever is printed next begins on a line of its own. */
static void
end_bar(struct colo_report *r)
{
	if (r->bar_open)
		fputc('\n', r->out);
	r->bar_open = false;
}

static void
show_progress(struct colo_report *r, const struct colo_event *e)
{
	int percent = 100, step;

	if (e->total != 0 && e->done < e->total)
		percent = (double)e->done * 100 / e->total;
	step = r->tty ? percent : percent / 10;
	if (step == r->last_step)
		return;
	r->last_step = step;
	if (r->tty)
		draw_bar(r, percent, e);
	else
		fprintf(r->out, "precopy %d %%: %" PRIu64 " of %" PRIu64 " pages\n", step * 10,
			e->done, e->total);
}

/* ---- epochs ---- */

static double
ms(uint32_t us)
{
	return us / 1000.0;
}

static void
show_round(struct colo_report *r, const struct colo_epoch_report *e)
{
	fprintf(r->out,
		"precopy epoch %" PRIu32 ": %" PRIu64 " pages, %" PRIu64 " zero, %.1f MB on the "
		"wire, %.2f ms, %" PRIu64 " resent\n",
		e->epoch, e->pages, e->zero_pages, e->wire_bytes / 1e6, ms(e->transfer_us),
		e->resent);
}

static void
show_checkpoint(struct colo_report *r, const struct colo_epoch_report *e)
{
	fprintf(r->out, "epoch %" PRIu32 ": %" PRIu64 " pages, %" PRIu64 " zero, %.2f MB", e->epoch,
		e->pages, e->zero_pages, e->wire_bytes / 1e6);
	if (!e->is_secondary)
		fprintf(r->out, ", pause %.2f ms, transfer %.2f ms", ms(e->pause_us),
			ms(e->transfer_us));
	fprintf(r->out, ", commit %.2f ms, flush %.2f ms", ms(e->commit_us), ms(e->flush_us));
	if (!e->is_secondary)
		fprintf(r->out, ", %" PRIu64 " resent", e->resent);
	if (e->verified)
		fputs(e->mismatches == 0 ? ", verified" : ", DIFFERS", r->out);
	fputc('\n', r->out);
	if (e->mismatches != 0)
		fprintf(r->out,
			"WARNING: epoch %" PRIu32 ": %" PRIu32 " blocks of the secondary differ "
			"from the primary's\n",
			e->epoch, e->mismatches);
}

static void
count_checkpoint(struct colo_report *r, const struct colo_epoch_report *e)
{
	r->checkpoints++;
	r->verified += e->verified;
	r->mismatches += e->mismatches;
	r->pages += e->pages;
	r->transfer_us += e->transfer_us;
	colo_statistics_add(&r->pause_us, e->pause_us);
	colo_statistics_add(&r->transfer, e->transfer_us);
	colo_statistics_add(&r->commit_us, e->commit_us);
	colo_statistics_add(&r->flush_us, e->flush_us);
}

/** The first failed write is told once; the run goes on without the file. */
static void
check_json(struct colo_report *r)
{
	if (!ferror(r->json) || r->json_failed)
		return;
	r->json_failed = true;
	fprintf(r->out, "WARNING: --json %s: write failed (%s); the file is incomplete\n",
		r->config->json, strerror(errno));
}

static void
write_checkpoint(struct colo_report *r, const struct colo_epoch_report *e)
{
	fprintf(r->json,
		"%s\n{\"epoch\": %" PRIu32 ", \"pages\": %" PRIu64 ", \"zero_pages\": %" PRIu64
		", \"wire_bytes\": %" PRIu64 ", \"pause_us\": %" PRIu32
		", \"transfer_us\": %" PRIu32 ", \"commit_us\": %" PRIu32 ", \"flush_us\": %" PRIu32
		", \"resent\": %" PRIu64 "}",
		r->checkpoints == 1 ? "" : ",", e->epoch, e->pages, e->zero_pages, e->wire_bytes,
		e->pause_us, e->transfer_us, e->commit_us, e->flush_us, e->resent);
	if (r->checkpoints % JSON_FLUSH_EPOCHS == 0)
		fflush(r->json);
	check_json(r);
}

static void
take_epoch(struct colo_report *r, const struct colo_epoch_report *e)
{
	/* In a pair the primary's report says all that the secondary's does. */
	if (e->is_secondary != (r->config->role == COLO_ROLE_SECONDARY))
		return;
	end_bar(r);
	r->last_step = -1;
	if (e->kind != COLO_EPOCH_CHECKPOINT) {
		r->precopy_rounds++;
		r->precopy_pages += e->pages;
		r->precopy_us += e->transfer_us;
		show_round(r, e);
		return;
	}
	count_checkpoint(r, e);
	show_checkpoint(r, e);
	if (r->json != NULL && !r->json_failed)
		write_checkpoint(r, e);
}

void
colo_report_event(struct colo_report *r, const struct colo_event *event)
{
	switch (event->kind) {
	case COLO_EVENT_PROGRESS:
		show_progress(r, event);
		break;
	case COLO_EVENT_EPOCH:
		take_epoch(r, &event->report);
		break;
	case COLO_EVENT_TEXT:
	case COLO_EVENT_END:
		if (event->text[0] == '\0')
			break;
		end_bar(r);
		fprintf(r->out, "%s%s\n", event->warning ? "WARNING: " : "", event->text);
		break;
	}
	fflush(r->out);
}

/* ---- summary ---- */

static double
gbytes_per_s(const struct colo_report *r)
{
	if (r->transfer_us == 0)
		return 0;
	return (double)r->pages * COLO_PAGE_SIZE / r->transfer_us / 1000;
}

static void
show_statistics(struct colo_report *r, const char *name, const struct colo_statistics *s)
{
	fprintf(r->out, "  %-9s mean %.2f, p50 %.2f, p99 %.2f, max %.2f, stddev %.2f ms\n", name,
		s->mean / 1000, ms(colo_statistics_percentile(s, 50)),
		ms(colo_statistics_percentile(s, 99)), ms(s->max),
		colo_statistics_stddev(s) / 1000);
}

static void
show_summary(struct colo_report *r)
{
	end_bar(r);
	if (r->checkpoints == 0)
		return;
	fprintf(r->out, "%" PRIu64 " checkpoints, %" PRIu64 " verified, %" PRIu64 " mismatches\n",
		r->checkpoints, r->verified, r->mismatches);
	if (r->config->role != COLO_ROLE_SECONDARY) {
		show_statistics(r, "pause", &r->pause_us);
		show_statistics(r, "transfer", &r->transfer);
	}
	show_statistics(r, "commit", &r->commit_us);
	show_statistics(r, "flush", &r->flush_us);
	if (r->transfer_us != 0)
		fprintf(r->out, "  %.2f GB/s of pages while transferring\n", gbytes_per_s(r));
}

static void
write_statistics(FILE *json, const char *name, const struct colo_statistics *s)
{
	fprintf(json,
		"\"%s\": {\"mean\": %.3f, \"p50\": %" PRIu32 ", \"p99\": %" PRIu32
		", \"max\": %" PRIu32 ", \"stddev\": %.3f},\n",
		name, s->mean, colo_statistics_percentile(s, 50), colo_statistics_percentile(s, 99),
		s->max, colo_statistics_stddev(s));
}

static void
write_summary(struct colo_report *r)
{
	fprintf(r->json,
		"\n],\n\"summary\": {\"epochs\": %" PRIu64 ", \"verified\": %" PRIu64
		", \"mismatches\": %" PRIu64 ",\n",
		r->checkpoints, r->verified, r->mismatches);
	write_statistics(r->json, "pause_us", &r->pause_us);
	write_statistics(r->json, "transfer_us", &r->transfer);
	write_statistics(r->json, "commit_us", &r->commit_us);
	write_statistics(r->json, "flush_us", &r->flush_us);
	fprintf(r->json,
		"\"gbytes_per_s\": %.4f},\n\"precopy\": {\"rounds\": %" PRIu64
		", \"pages\": %" PRIu64 ", \"us\": %" PRIu64 "}",
		gbytes_per_s(r), r->precopy_rounds, r->precopy_pages, r->precopy_us);
}

/* ---- what became of sessions, channels and frames: of each end that there is ---- */

static const char *const end_name[] = {"primary", "secondary"};

static void
write_sessions(struct colo_report *r, const struct colo_control *control)
{
	struct colo_view view;
	const char *comma = "";

	fputs(",\n\"sessions\": [", r->json);
	for (unsigned int i = 0; i < RTE_DIM(end_name); i++) {
		memset(&view, 0, sizeof(view));
		colo_control_view(control, i != 0, &view);
		if (!view.present)
			continue;
		fprintf(r->json,
			"%s\n{\"end\": \"%s\", \"sessions\": %" PRIu64 ", \"full_copies\": %" PRIu64
			", \"resumed\": %" PRIu64 ", \"aborted\": %" PRIu64
			", \"committed\": %" PRIu32 "}",
			comma, end_name[i], view.sessions, view.full_copies, view.resumed,
			view.aborted, view.committed);
		comma = ",";
	}
	fputs("\n]", r->json);
}

/* The poll cores have ended: nobody counts any more. */
static void
write_faults(struct colo_report *r)
{
	const char *comma = "";

	fputs(",\n\"faults\": [", r->json);
	for (unsigned int i = 0; r->fault != NULL && i < RTE_DIM(end_name); i++) {
		for (unsigned int n = 0; n < r->fault[i].n_queues; n++) {
			const struct colo_fault_queue *q = &r->fault[i].queue[n];

			fprintf(r->json,
				"%s\n{\"end\": \"%s\", \"queue\": %u, \"frames\": %" PRIu64
				", \"dropped\": %" PRIu64 ", \"bursts\": %" PRIu64
				", \"duplicated\": %" PRIu64 ", \"reordered\": %" PRIu64
				", \"flipped\": %" PRIu64 "}",
				comma, end_name[i], n, q->frames, q->dropped, q->bursts,
				q->duplicated, q->reordered, q->flipped);
			comma = ",";
		}
	}
	fputs("\n]", r->json);
}

static void
write_channel(FILE *json, unsigned int channel, bool receive, const struct colo_channel_view *v,
	bool first)
{
	fprintf(json,
		"%s\n{\"channel\": %u, \"end\": \"%s\", \"port\": %u, \"queue\": %u, "
		"\"steering\": \"%s\", \"counters\": {",
		first ? "" : ",", channel, receive ? "receive" : "send", v->port, v->queue,
		v->steering != NULL ? v->steering : "");
	for (unsigned int i = 0; i < COLO_N_COUNTERS; i++)
		fprintf(json, "%s\"%s\": %" PRIu64, i == 0 ? "" : ", ", colo_counter_name[i],
			v->counters.n[i]);
	fputs("}}", json);
}

static void
write_channels(struct colo_report *r, const struct colo_control *control)
{
	struct colo_channel_view view;
	bool first = true;

	fputs(",\n\"channels\": [", r->json);
	for (unsigned int i = 0; i < 2 * r->config->channels; i++) {
		memset(&view, 0, sizeof(view));
		colo_control_channel_view(control, i / 2, i % 2, &view);
		if (!view.present)
			continue;
		write_channel(r->json, i / 2, i % 2, &view, first);
		first = false;
	}
	fputs("\n]", r->json);
}

void
colo_report_close(struct colo_report *r, const struct colo_control *control)
{
	if (r->out != NULL) {
		show_summary(r);
		fflush(r->out);
	}
	if (r->json != NULL) {
		write_summary(r);
		if (control != NULL) {
			write_sessions(r, control);
			write_channels(r, control);
			write_faults(r);
		}
		fputs("}\n", r->json);
		fflush(r->json);
		check_json(r);
		fclose(r->json);
	}
	r->json = NULL;
	r->out = NULL;
}
