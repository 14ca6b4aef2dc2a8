/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames of a sealed session: the target seals them with the peer's keys where the input says so,
 * so that what is behind the tag is reached. */
#include "frame_target.h"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	frame_target_start(true);
	return 0;
}
