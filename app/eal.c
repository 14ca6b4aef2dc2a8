/* SPDX-License-Identifier: BSD-3-Clause */
/* EAL's start and the lcores it gave. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>

#include "eal.h"

#define HUGEPAGES_DIR  "/sys/kernel/mm/hugepages"
#define NO_HUGE_MB     "1024"
#define EAL_ARGS_ADDED 4

int
colo_eal_split(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--") == 0)
			return i;
	return argc;
}

static bool
has_argument(int n, char **argv, const char *name)
{
	for (int i = 1; i < n; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return false;
}

static uint64_t
read_number(const char *path)
{
	unsigned long long value = 0;
	FILE *f = fopen(path, "r");

	if (f == NULL)
		return 0;
	if (fscanf(f, "%llu", &value) != 1)
		value = 0;
	fclose(f);
	return value;
}

static bool
free_hugepages(void)
{
	DIR *dir = opendir(HUGEPAGES_DIR);
	struct dirent *entry;
	bool found = false;
	char path[PATH_MAX];

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), HUGEPAGES_DIR "/%s/free_hugepages", entry->d_name);
		if (entry->d_name[0] != '.' && read_number(path) > 0)
			found = true;
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

/*
 * The same arguments without hugepages: -m comes, and --in-memory goes, as EAL refuses both. What
 * it promised stays by --no-shconf: no files that two processes of one file prefix would share, so
 * that a second one starts beside the first.
 */
static int
init_without_hugepages(int n, char **argv)
{
	char **args = calloc(n + EAL_ARGS_ADDED + 1, sizeof(*args));
	char no_huge[] = "--no-huge", no_shconf[] = "--no-shconf", m[] = "-m", mb[] = NO_HUGE_MB;
	int used = 0, rc;

	if (args == NULL)
		return -1;
	fprintf(stderr,
		"WARNING: no free hugepages: going on with --no-huge, slower; reserve some with: "
		"echo 1024 > /proc/sys/vm/nr_hugepages\n");
	for (int i = 0; i < n; i++)
		if (strcmp(argv[i], "--in-memory") != 0 &&
			strcmp(argv[i], "--single-file-segments") != 0)
			args[used++] = argv[i];
	args[used++] = no_huge;
	if (has_argument(n, argv, "--in-memory") && !has_argument(n, argv, no_shconf))
		args[used++] = no_shconf;
	if (!has_argument(n, argv, "-m")) {
		args[used++] = m;
		args[used++] = mb;
	}
	rc = rte_eal_init(used, args);
	free(args);
	return rc;
}

int
colo_eal_start(int n_eal, char **argv, struct colo_error *err)
{
	int rc;

	if (!has_argument(n_eal, argv, "--no-huge") && !free_hugepages())
		rc = init_without_hugepages(n_eal, argv);
	else
		rc = rte_eal_init(n_eal, argv);
	if (rc < 0)
		return colo_error_set(err,
			"EAL does not start (%s), its lines above say why; where hugepages are the "
			"matter: as many as -m asks for must be free (HugePages_Free in "
			"/proc/meminfo), "
			"and without --in-memory a hugetlbfs must be mounted (mount -t hugetlbfs "
			"nodev "
			"/dev/hugepages)",
			rte_strerror(rte_errno));
	return 0;
}

int
colo_eal_lcores(struct colo_lcores *l, unsigned int channels, struct colo_error *err)
{
	unsigned int lcore;

	l->n_poll = 0;
	l->control = LCORE_ID_ANY;
	RTE_LCORE_FOREACH_WORKER(lcore)
	{
		if (l->control == LCORE_ID_ANY)
			l->control = lcore;
		else
			l->poll[l->n_poll++] = lcore;
	}
	if (l->n_poll < channels)
		return colo_error_set(err,
			"too few lcores: --channels %u needs %u (main, control, one poll core a "
			"channel), EAL has %u; give it more with -l or --lcores",
			channels, channels + 2, rte_lcore_count());
	return 0;
}
