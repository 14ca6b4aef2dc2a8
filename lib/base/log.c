/* SPDX-License-Identifier: BSD-3-Clause */
/* The log type of the whole program. */
#include "log.h"

RTE_LOG_REGISTER(colo_logtype, colo, NOTICE);
