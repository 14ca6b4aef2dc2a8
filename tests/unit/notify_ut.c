/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines for the operator: formatted, cut where they are too long, given to who asked for them. */
#include <stdio.h>
#include <string.h>

#include "notify.h"
#include "ut.h"

static struct {
	char text[1024];
	bool warning;
	unsigned int calls;
} last;

static void
take(void *context, bool warning, const char *text)
{
	CU_ASSERT_PTR_EQUAL(context, &last);
	snprintf(last.text, sizeof(last.text), "%s", text);
	last.warning = warning;
	last.calls++;
}

static const struct colo_notify notify = {.context = &last, .text = take};

static void
test_text(void)
{
	colo_notify_text(&notify, true, "%s is %d", "x", 5);
	CU_ASSERT_STRING_EQUAL(last.text, "x is 5");
	CU_ASSERT_TRUE(last.warning);
	colo_notify_text(&notify, false, "plain");
	CU_ASSERT_STRING_EQUAL(last.text, "plain");
	CU_ASSERT_FALSE(last.warning);
	CU_ASSERT_EQUAL(last.calls, 2);
}

static void
test_long(void)
{
	char text[900];

	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	colo_notify_text(&notify, false, "%s", text);
	CU_ASSERT_TRUE(strlen(last.text) > 100 && strlen(last.text) < sizeof(text) - 1);
	CU_ASSERT_EQUAL(strspn(last.text, "a"), strlen(last.text));
}

static const struct ut_case cases[] = {
	{"text", test_text},
	{"too long", test_long},
};

int
main(void)
{
	return UT_RUN("notify", cases);
}
