/* SPDX-License-Identifier: BSD-3-Clause */
/* The device state in its block: stored by the primary's source, found again at the secondary. */
#include <inttypes.h>
#include <string.h>

#include <rte_byteorder.h>

#include "device_state.h"

/* Write @p length bytes at @p offset of the block; only pages that differ are touched and marked.
 */
static void
store_changed(struct colo_block *block, uint64_t offset, const uint8_t *bytes, uint64_t length)
{
	while (length > 0) {
		uint8_t *at = block->guest.addr + offset;
		uint64_t n = COLO_PAGE_SIZE - offset % COLO_PAGE_SIZE;

		if (n > length)
			n = length;
		if (memcmp(at, bytes, n) != 0) {
			memcpy(at, bytes, n);
			colo_dirty_set(&block->todo, (uint32_t)(offset >> COLO_PAGE_SHIFT));
		}
		offset += n;
		bytes += n;
		length -= n;
	}
}

int
colo_device_state_store(struct colo_block *block, const char *machine, const void *bytes,
	uint64_t length, struct colo_error *err)
{
	size_t name = strlen(machine);
	struct colo_device_state head = {
		.magic = rte_cpu_to_be_64(COLO_DEVICE_STATE_MAGIC),
		.length = rte_cpu_to_be_64(length),
	};

	if (name > COLO_MACHINE_NAME_MAX)
		return colo_error_set(err,
			"machine type's name has %zu bytes, at most %u are accepted", name,
			COLO_MACHINE_NAME_MAX);
	if (block->size < sizeof(head) || length > block->size - sizeof(head))
		return colo_error_set(err,
			"the device state has %" PRIu64 " bytes, its block takes at most %" PRIu64,
			length, block->size < sizeof(head) ? 0 : block->size - sizeof(head));
	memcpy(head.machine, machine, name);
	store_changed(block, 0, (const uint8_t *)&head, sizeof(head));
	store_changed(block, sizeof(head), bytes, length);
	return 0;
}

static bool
is_name(const char machine[COLO_MACHINE_NAME_MAX + 1])
{
	size_t length = strnlen(machine, COLO_MACHINE_NAME_MAX + 1);

	for (size_t i = 0; i < length; i++)
		if (machine[i] <= ' ' || machine[i] > '~')
			return false;
	return length <= COLO_MACHINE_NAME_MAX;
}

const uint8_t *
colo_device_state_load(const uint8_t *memory, uint64_t size, const char **machine, uint64_t *length,
	struct colo_error *err)
{
	struct colo_device_state head;
	uint64_t n;

	*length = 0;
	if (size < sizeof(head)) {
		colo_error_set(err,
			"a device state needs %zu bytes at least, its block has %" PRIu64,
			sizeof(head), size);
		return NULL;
	}
	memcpy(&head, memory, sizeof(head));
	if (head.magic != rte_cpu_to_be_64(COLO_DEVICE_STATE_MAGIC)) {
		colo_error_set(err,
			"no device state has arrived: its block begins with %016" PRIx64
			", not with %016llx",
			rte_be_to_cpu_64(head.magic), COLO_DEVICE_STATE_MAGIC);
		return NULL;
	}
	n = rte_be_to_cpu_64(head.length);
	if (n > size - sizeof(head)) {
		colo_error_set(err,
			"the device state is damaged: it claims %" PRIu64
			" bytes, its block takes at most %" PRIu64,
			n, size - sizeof(head));
		return NULL;
	}
	if (!is_name(head.machine)) {
		colo_error_set(err, "the device state is damaged: its machine type is no name");
		return NULL;
	}
	*length = n;
	if (machine != NULL)
		*machine = (const char *)memory + offsetof(struct colo_device_state, machine);
	return memory + sizeof(head);
}
