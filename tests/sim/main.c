/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * colo-sim --seeds N [--first S] [--minutes M] [--until-failure] [--json FILE]
 * colo-sim --seed S [--trace]
 *
 * Runs seeds one after the other and says how many held. A batch of seeds counts as one test.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "page.h"
#include "sim.h"
#include "ports.h"
#include "secure.h"
#include "../unit/ut_eal.h"

#define BATCH	     100u
#define FAILURES_MAX 20u /* enough to look at: stalls take their time */

struct options {
	uint64_t first, seeds;
	double minutes;
	const char *failed; /* a file of seeds that failed once: they come first */
	const char *json;   /* where the figures are written */
	bool trace, one, until_failure;
};

struct tally {
	uint64_t seeds, failures, passed, failed, batch;
	bool batch_failed;
};

/* ---- places where an end may die: pages that are half copied ---- */

static struct colo_page_ops real_page;

static void
hooked_copy(void *dst, const void *src)
{
	if (sim.kill.armed && sim.kill.end == sim.running && sim.kill.countdown == 1)
		memcpy(dst, src, COLO_PAGE_SIZE / 2);
	sim_hook();
	real_page.copy(dst, src);
}

static void
hooked_copy2(void *dst1, void *dst2, const void *src)
{
	sim_hook();
	real_page.copy2(dst1, dst2, src);
}

static void
hooked_zero(void *dst)
{
	sim_hook();
	real_page.zero(dst);
}

static void
hook_pages(void)
{
	real_page = colo_page;
	colo_page.copy = hooked_copy;
	colo_page.copy2 = hooked_copy2;
	colo_page.zero = hooked_zero;
}

/* ---- memory that must not be written ---- */

static void
on_fault(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (sim.in_seed && sim_memory_is_ours(info->si_addr))
		sim_fail("memory was written that must not change, or lies behind a block");
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

static void
catch_faults(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigaction(SIGSEGV, &action, NULL);
}

/* ---- seeds ---- */

static void
end_batch(struct tally *t)
{
	if (t->batch == 0)
		return;
	t->passed += !t->batch_failed;
	t->failed += t->batch_failed;
	t->batch = 0;
	t->batch_failed = false;
}

static void
run_seed(struct tally *t, uint64_t seed)
{
	t->seeds++;
	if (!sim_seed(seed)) {
		t->failures++;
		t->batch_failed = true;
		printf("seed %" PRIu64 " FAILED: %s\n  ", seed, sim.failure);
		sim_config_print(stdout);
		fflush(stdout);
	}
	if (++t->batch == BATCH)
		end_batch(t);
}

static void
run_failed(struct tally *t, const char *path)
{
	char line[256];
	FILE *f = path != NULL ? fopen(path, "r") : NULL;

	if (path != NULL && f == NULL)
		fprintf(stderr, "colo-sim: cannot read %s\n", path);
	t->failed += path != NULL && f == NULL;
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (line[0] >= '0' && line[0] <= '9')
			run_seed(t, strtoull(line, NULL, 10));
	end_batch(t);
	if (f != NULL)
		fclose(f);
}

/* The same seed is the same life, turn by turn. */
static void
run_again(struct tally *t, uint64_t seed)
{
	uint64_t digest;

	sim_seed(seed);
	digest = sim.digest;
	sim_seed(seed + 1);
	sim_seed(seed);
	if (digest == sim.digest) {
		t->passed++;
		return;
	}
	t->failed++;
	printf("seed %" PRIu64 " does not replay\n", seed);
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + now.tv_nsec / 1e9;
}

static void
summary(const struct tally *t, double took)
{
	static const char *const what[] = {
#define X(name, text) [SIM_##name] = text,
		SIM_COUNTS(X)
#undef X
	};

	for (unsigned int i = 0; i < SIM_N_COUNTS; i++)
		printf("%12" PRIu64 "  %s\n", sim.count[i], what[i]);
	printf("%12.0f  ms, the longest until checkpoints came again\n",
		sim.longest_calm_us / 1000.0);
	printf("%12.0f  ms, the longest transfer in a session that nothing happened to\n",
		sim.longest_transfer_us / 1000.0);
	printf("%" PRIu64 " seeds, %" PRIu64 " epochs committed, %" PRIu64 " failures, %.1f s\n",
		t->seeds, sim.count[SIM_commits], t->failures, took);
}

/* Each figure by its name in SIM_COUNTS. @return 0, or 1 if it could not be written. */
static int
write_json(const struct tally *t, const char *path)
{
	static const struct {
		const char *name, *text;
	} counts[] = {
#define X(name, text) {#name, text},
		SIM_COUNTS(X)
#undef X
	};
	FILE *f = fopen(path, "w");

	if (f == NULL) {
		fprintf(stderr, "colo-sim: cannot write %s\n", path);
		return 1;
	}
	fprintf(f, "{\"seeds\": %" PRIu64 ", \"failures\": %" PRIu64 ",\n \"counts\": {", t->seeds,
		t->failures);
	for (unsigned int i = 0; i < SIM_N_COUNTS; i++)
		fprintf(f, "%s\n  \"%s\": {\"what\": \"%s\", \"value\": %" PRIu64 "}",
			i == 0 ? "" : ",", counts[i].name, counts[i].text, sim.count[i]);
	fprintf(f, "\n }}\n");
	return fclose(f) != 0;
}

static int
run_all(const struct options *o)
{
	struct tally t = {0};
	double begin = seconds();

	if (!o->one) {
		run_failed(&t, o->failed);
		run_again(&t, o->first);
	}
	for (uint64_t i = 0; i < o->seeds; i++) {
		if (o->minutes > 0 && seconds() - begin > o->minutes * 60)
			break;
		if (t.failures >= (o->until_failure ? 1 : FAILURES_MAX))
			break;
		run_seed(&t, o->first + i);
	}
	end_batch(&t);
	if (o->one)
		printf("digest %016" PRIx64 "\n", sim.digest);
	summary(&t, seconds() - begin);
	if (o->json != NULL)
		t.failed += write_json(&t, o->json);
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", t.passed, t.failed);
	return t.failed == 0 ? 0 : 1;
}

static void
usage(void)
{
	fprintf(stderr, "usage: colo-sim --seeds N [--first S] [--minutes M] [--failed FILE] "
			"[--until-failure] [--json FILE]\n"
			"       colo-sim --seed S [--trace]\n");
	exit(1);
}

static uint64_t
number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0')
		usage();
	return n;
}

static void
parse(struct options *o, int argc, char **argv)
{
	static const struct option known[] = {
		{"seeds", required_argument, NULL, 'n'},
		{"first", required_argument, NULL, 'f'},
		{"minutes", required_argument, NULL, 'm'},
		{"failed", required_argument, NULL, 'x'},
		{"seed", required_argument, NULL, 's'},
		{"trace", no_argument, NULL, 't'},
		{"until-failure", no_argument, NULL, 'u'},
		{"json", required_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'n':
			o->seeds = number(optarg);
			break;
		case 'f':
			o->first = number(optarg);
			break;
		case 'm':
			o->minutes = strtod(optarg, NULL);
			break;
		case 'x':
			o->failed = optarg;
			break;
		case 's':
			o->one = true;
			o->first = number(optarg);
			o->seeds = 1;
			break;
		case 't':
			o->trace = true;
			break;
		case 'u':
			o->until_failure = true;
			break;
		case 'j':
			o->json = optarg;
			break;
		default:
			usage();
		}
	}
	if (o->seeds == 0 || optind != argc)
		usage();
}

int
main(int argc, char **argv)
{
	struct options o = {.first = 1};

	parse(&o, argc, argv);
	ut_eal_start(256);
	sim.trace = o.trace;
	sim_ports_make();
	sim_secure_make();
	hook_pages();
	catch_faults();
	return run_all(&o);
}
