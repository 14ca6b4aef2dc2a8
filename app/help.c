/* SPDX-License-Identifier: BSD-3-Clause */
/* --help and --version. */
#include <inttypes.h>
#include <string.h>

#include <rte_version.h>

#include "help.h"
#include "options.h"

static void
print_choices(const struct colo_option *o, FILE *f)
{
	for (int i = 0; o->choices[i] != NULL; i++)
		fprintf(f, "%s%s", i == 0 ? "" : "|", o->choices[i]);
}

/** The default as colo_option_show() prints it, without the name. @return NULL: none worth a word.
 */
static const char *
default_of(const struct colo_config *defaults, const struct colo_option *o, char *line, size_t size)
{
	FILE *memory = fmemopen(line, size, "w");

	if (memory == NULL)
		return NULL;
	colo_option_show(defaults, o, memory);
	fclose(memory);
	line[strcspn(line, "\n")] = '\0';
	if (o->kind == OPTION_FLAG || strlen(line) <= COLO_OPTION_NAME_WIDTH + 1 ||
		strcmp(&line[COLO_OPTION_NAME_WIDTH + 1], "none") == 0)
		return NULL;
	return &line[COLO_OPTION_NAME_WIDTH + 1];
}

static void
print_range(const struct colo_config *defaults, const struct colo_option *o, FILE *f)
{
	bool range = o->kind == OPTION_NUMBER || o->kind == OPTION_POWER;
	char line[128] = "";
	const char *text = default_of(defaults, o, line, sizeof(line));

	if (range)
		fprintf(f, " (%" PRIu64 " to %" PRIu64, o->min, o->max);
	if (text != NULL)
		fprintf(f, "%sdefault %s", range ? ", " : " (", text);
	if (range || text != NULL)
		fputc(')', f);
}

static void
print_help_of(const struct colo_config *defaults, const struct colo_option *o, FILE *f)
{
	if (o->kind == OPTION_HEADING) {
		fprintf(f, "\n%s:\n", o->help);
		return;
	}
	if (o->letter != 0)
		fprintf(f, "  -%c, --%s", o->letter, o->name);
	else
		fprintf(f, "  --%s", o->name);
	if (o->kind != OPTION_FLAG)
		fputc(' ', f);
	if (o->kind == OPTION_CHOICE)
		print_choices(o, f);
	else if (o->value != NULL)
		fputs(o->value, f);
	fprintf(f, "\n        %s", o->help);
	print_range(defaults, o, f);
	fputc('\n', f);
}

void
colo_help_print(FILE *f)
{
	struct colo_config defaults;

	fputs("dpdk-colo keeps a second host's copy of a running VM one checkpoint behind the "
	      "first.\n\n"
	      "Usage: dpdk-colo [EAL options] -- --role primary|secondary|pair [options]\n",
		f);
	colo_config_defaults(&defaults);
	for (unsigned int i = 0; i < colo_n_options; i++)
		print_help_of(&defaults, &colo_options[i], f);
	fputs("  -h, --help\n        this text\n  --version\n        name and versions\n\n"
	      "SIZE is in bytes, or with suffix K, M, G or T.\n",
		f);
}

void
colo_version_print(FILE *f)
{
	fprintf(f, "dpdk-colo %s (%s)\n", COLO_VERSION, rte_version());
}

/** @return true if @p word asked for it and it is printed. */
static bool
answer(const char *word)
{
	bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;

	if (help)
		colo_help_print(stdout);
	else if (strcmp(word, "--version") == 0)
		colo_version_print(stdout);
	else
		return false;
	return true;
}

bool
colo_help_early(int argc, char **argv)
{
	int first = 1;

	for (int i = 1; i < argc && first == 1; i++)
		if (strcmp(argv[i], "--") == 0)
			first = i + 1;
	for (int i = first; i < argc; i++)
		if (answer(argv[i]))
			return true;
	return false;
}
