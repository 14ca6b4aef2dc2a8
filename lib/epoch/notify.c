/* SPDX-License-Identifier: BSD-3-Clause */
/* A line for the operator, made on the control core. */
#include <stdarg.h>
#include <stdio.h>

#include "notify.h"

void
colo_notify_text(const struct colo_notify *n, bool warning, const char *format, ...)
{
	char text[320];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	n->text(n->context, warning, text);
}
