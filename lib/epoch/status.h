/* SPDX-License-Identifier: BSD-3-Clause */
/** @file Exit statuses of the program, as the state machines decide them. */
#ifndef COLO_EPOCH_STATUS_H
#define COLO_EPOCH_STATUS_H

enum colo_exit {
	COLO_EXIT_OK = 0,
	COLO_EXIT_USAGE = 1,	   /**< bad option or environment; nothing was started */
	COLO_EXIT_UNPROTECTED = 3, /**< primary: secondary lost, the guest runs on unprotected */
	COLO_EXIT_SOURCE_GONE = 4, /**< primary: its guest is gone */
	COLO_EXIT_VERIFY = 5,	   /**< --verify found a difference */
	COLO_EXIT_TAKEOVER = 6,	   /**< secondary: the takeover failed */
};

#endif
