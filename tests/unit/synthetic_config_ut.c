/* SPDX-License-Identifier: BSD-3-Clause */
/* synthetic_config.c: every key, in any order, at its limits, and wrong. */
#include <string.h>

#include "synthetic_config.h"
#include "ut.h"

static struct colo_synthetic_config c;

static int
parse(const char *args)
{
	struct colo_error err = {.text = ""};
	int result = colo_synthetic_config_parse(&c, args, &err);

	CU_ASSERT_EQUAL(result != 0, err.text[0] != '\0');
	if (result != 0)
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "--source synthetic"));
	return result;
}

static void
defaults(void)
{
	CU_ASSERT_EQUAL(parse(""), 0);
	CU_ASSERT_EQUAL(c.size, 1ull << 30);
	CU_ASSERT_EQUAL(c.dirty, 600);
	CU_ASSERT_EQUAL(c.seed, 1);
	CU_ASSERT_EQUAL(c.zero, 360000);
	CU_ASSERT_EQUAL(c.dirty_zero, 0);
	CU_ASSERT_EQUAL(c.compress, 500000);
	CU_ASSERT_EQUAL(c.device, 13000);
	CU_ASSERT_FALSE(c.clustered);
	CU_ASSERT_STRING_EQUAL(c.image, "");
}

static void
every_key(void)
{
	CU_ASSERT_EQUAL(parse("pattern=clustered,device=1k,mix=25,image=/x,compress=1.5,"
			      "dirty-zero=2,zero=3,seed=9,dirty=8000,size=2G"),
		0);
	CU_ASSERT_EQUAL(c.size, 2ull << 30);
	CU_ASSERT_EQUAL(c.dirty, 8000);
	CU_ASSERT_EQUAL(c.seed, 9);
	CU_ASSERT_EQUAL(c.zero, 30000);
	CU_ASSERT_EQUAL(c.dirty_zero, 20000);
	CU_ASSERT_EQUAL(c.compress, 15000);
	CU_ASSERT_EQUAL(c.mix, 250000);
	CU_ASSERT_EQUAL(c.device, 1024);
	CU_ASSERT_TRUE(c.clustered);
	CU_ASSERT_TRUE(c.has_size);
	CU_ASSERT_STRING_EQUAL(c.image, "/x");
	CU_ASSERT_EQUAL(parse("pattern=random"), 0);
	CU_ASSERT_FALSE(c.clustered);
}

static void
presets(void)
{
	CU_ASSERT_EQUAL(parse("preset=load"), 0);
	CU_ASSERT_EQUAL(c.dirty, 7800);
	CU_ASSERT_EQUAL(parse("preset=idle"), 0);
	CU_ASSERT_EQUAL(c.dirty, 600);
	CU_ASSERT_EQUAL(parse("preset=load,dirty=5"), 0);
	CU_ASSERT_EQUAL(c.dirty, 5);
	CU_ASSERT_EQUAL(parse("dirty=0,preset=load"), 0);
	CU_ASSERT_EQUAL(c.dirty, 0);
	CU_ASSERT_EQUAL(parse("preset=heavy"), -1);
}

static void
limits(void)
{
	CU_ASSERT_EQUAL(parse("size=4095"), -1);
	CU_ASSERT_EQUAL(parse("size=4096"), 0);
	CU_ASSERT_EQUAL(parse("size=4097"), -1);
	CU_ASSERT_EQUAL(parse("size=0"), -1);
	CU_ASSERT_EQUAL(parse("size=4T"), 0);
	CU_ASSERT_EQUAL(parse("size=4398046515200"), -1); /* 4T + 4k */
	CU_ASSERT_EQUAL(parse("dirty=4294967295"), 0);
	CU_ASSERT_EQUAL(parse("dirty=4294967296"), -1);
	CU_ASSERT_EQUAL(parse("zero=100"), 0);
	CU_ASSERT_EQUAL(parse("zero=100.0001"), -1);
	CU_ASSERT_EQUAL(parse("dirty-zero=101"), -1);
	CU_ASSERT_EQUAL(parse("compress=-1"), -1);
	CU_ASSERT_EQUAL(parse("seed=-1"), -1);
	CU_ASSERT_EQUAL(parse("seed=18446744073709551615"), 0);
}

static void
wrong(void)
{
	CU_ASSERT_EQUAL(parse("sise=1G"), -1);
	CU_ASSERT_EQUAL(parse("size"), -1);
	CU_ASSERT_EQUAL(parse("image="), -1);
	CU_ASSERT_EQUAL(parse("pattern=even"), -1);
	CU_ASSERT_EQUAL(parse("mix=5"), -1); /* of what image? */
	CU_ASSERT_EQUAL(parse("seed=1,seed=2"), -1);
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"defaults", defaults},
		{"every key", every_key},
		{"presets", presets},
		{"limits", limits},
		{"wrong keys and values", wrong},
	};

	return UT_RUN("synthetic_config", cases);
}
