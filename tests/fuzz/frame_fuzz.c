/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames of a session without seals. */
#include "frame_target.h"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	frame_target_start(false);
	return 0;
}
