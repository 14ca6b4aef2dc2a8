/* SPDX-License-Identifier: BSD-3-Clause */
/* Seals: what was sealed opens, nothing else does; keys by flow and generation; both devices. */
#include <string.h>

#include <rte_bus_vdev.h>
#include <rte_cryptodev.h>

#include "seal.h"
#include "ut.h"
#include "ut_eal.h"
#include "wire.h"

#define OUTER 42u

static struct {
	struct rte_mempool *pool;
	struct colo_seal_device device;
	struct colo_seal_keys keys[2]; /* of the end that seals, of the end that opens */
	struct colo_seal_flow flow[2][2];
	struct colo_seal_core core[2];
} t;

static const uint8_t secret[COLO_SEAL_SECRET_LEN] = "a secret of 32 bytes, for tests.";

static void
begin(uint8_t shift)
{
	struct colo_error err = {""};

	memset(t.flow, 0, sizeof(t.flow));
	memset(t.keys, 0, sizeof(t.keys));
	CU_ASSERT_EQUAL_FATAL(colo_seal_device_open(&t.device, 2, 16, &err), 0);
	for (unsigned int end = 0; end < 2; end++) {
		t.keys[end].device = &t.device;
		colo_seal_keys_add(&t.keys[end], &t.flow[end][0], COLO_SEAL_PAGES, 0, end == 0);
		colo_seal_keys_add(&t.keys[end], &t.flow[end][1], COLO_SEAL_PAGES, 1, end == 0);
		CU_ASSERT_EQUAL_FATAL(colo_seal_keys_begin(&t.keys[end], secret, shift, &err), 0);
		t.core[end] =
			(struct colo_seal_core){.device = &t.device, .lane = end, .shift = shift};
	}
}

static void
end(void)
{
	colo_seal_keys_end(&t.keys[0]);
	colo_seal_keys_end(&t.keys[1]);
	if (t.device.sessions != NULL)
		CU_ASSERT_EQUAL(rte_mempool_in_use_count(t.device.sessions), 0);
	colo_seal_device_close(&t.device);
}

/* A frame with @p length bytes behind its header, and room for the tag. */
static struct rte_mbuf *
make(uint64_t packet_number, uint32_t length)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(t.pool);
	uint32_t total = OUTER + sizeof(struct colo_header) + length + COLO_SEAL_TAG_LEN;
	struct colo_header *h;
	uint8_t *at;

	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	at = (uint8_t *)rte_pktmbuf_append(m, total);
	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	for (uint32_t i = 0; i < total; i++)
		at[i] = (uint8_t)(i * 7);
	h = (struct colo_header *)(at + OUTER);
	h->packet_number = rte_cpu_to_be_64(packet_number);
	return m;
}

static bool
seal(struct rte_mbuf *m, unsigned int flow)
{
	return colo_seal_frame(&t.core[0], &t.flow[0][flow], m, OUTER);
}

static bool
open_frame(struct rte_mbuf *m, unsigned int flow)
{
	return colo_seal_open(
		&t.core[1], &t.flow[1][flow], m, OUTER, rte_pktmbuf_pkt_len(m) - OUTER);
}

static void
check_lengths(void)
{
	static const uint32_t lengths[] = {0, 1, 15, 16, 17, 1400, 4112, 8900};

	for (unsigned int i = 0; i < RTE_DIM(lengths); i++) {
		struct rte_mbuf *m = make(i + 1, lengths[i]), *plain = make(i + 1, lengths[i]);
		uint32_t body = OUTER + sizeof(struct colo_header) + lengths[i];
		uint8_t *at = rte_pktmbuf_mtod(m, uint8_t *);
		uint8_t *was = rte_pktmbuf_mtod(plain, uint8_t *);

		CU_ASSERT_TRUE(seal(m, 0));
		CU_ASSERT_EQUAL(memcmp(at, was, OUTER + sizeof(struct colo_header)), 0);
		if (lengths[i] >= 16)
			CU_ASSERT_NOT_EQUAL(memcmp(at + body - 16, was + body - 16, 16), 0);
		CU_ASSERT_NOT_EQUAL(memcmp(at + body, was + body, COLO_SEAL_TAG_LEN), 0);
		CU_ASSERT_TRUE(open_frame(m, 0));
		CU_ASSERT_EQUAL(memcmp(at, was, body), 0);
		rte_pktmbuf_free(m);
		rte_pktmbuf_free(plain);
	}
}

/* Any bit of header, contents or tag; another flow; another packet number. */
static void
check_forged(void)
{
	uint32_t length = 64, total = sizeof(struct colo_header) + length + COLO_SEAL_TAG_LEN;
	struct rte_mbuf *m;

	for (uint32_t byte = 0; byte < total; byte++) {
		m = make(77, length);
		CU_ASSERT_TRUE(seal(m, 0));
		rte_pktmbuf_mtod(m, uint8_t *)[OUTER + byte] ^= 1u << (byte % 8);
		CU_ASSERT_FALSE(open_frame(m, 0));
		rte_pktmbuf_free(m);
	}
	m = make(78, length);
	CU_ASSERT_TRUE(seal(m, 0));
	CU_ASSERT_FALSE(open_frame(m, 1));
	rte_pktmbuf_free(m);
	m = make(79, length);
	CU_ASSERT_TRUE(seal(m, 0));
	rte_pktmbuf_trim(m, 1);
	CU_ASSERT_FALSE(open_frame(m, 0));
	rte_pktmbuf_free(m);
	m = make(80, 0);
	rte_pktmbuf_trim(m, 1); /* no room for a tag */
	CU_ASSERT_FALSE(open_frame(m, 0));
	rte_pktmbuf_free(m);
}

static bool
both(uint64_t packet_number)
{
	struct rte_mbuf *m = make(packet_number, 100);
	bool good = seal(m, 1) && open_frame(m, 1);

	rte_pktmbuf_free(m);
	return good;
}

static void
renew(unsigned int end, bool due)
{
	struct colo_error err = {""};

	CU_ASSERT_EQUAL(colo_seal_keys_retire(&t.keys[end]), due);
	CU_ASSERT_EQUAL(colo_seal_keys_renew(&t.keys[end], &err), 0);
}

/* A key for 2^10 packets: the next is there when it is needed, the one before is forgotten. */
static void
check_generations(void)
{
	CU_ASSERT_TRUE(both(1023));
	renew(0, false);
	CU_ASSERT_TRUE(both(1024));
	CU_ASSERT_TRUE(both(1023));  /* late, still known */
	CU_ASSERT_FALSE(both(2048)); /* not there yet */
	renew(0, true);
	renew(1, true);
	renew(0, false);
	CU_ASSERT_TRUE(both(2048));
	CU_ASSERT_TRUE(both(1024));
	CU_ASSERT_FALSE(both(1023)); /* gone */
	CU_ASSERT_FALSE(both(3072));
	CU_ASSERT_FALSE(both(1ull << 41)); /* a generation beyond all: no key, no harm */
	for (uint64_t generation = 3; generation < 20; generation++) {
		renew(0, true);
		renew(1, true);
		CU_ASSERT_TRUE(both(generation << 10));
	}
}

static void
check_device(void)
{
	begin(COLO_SEAL_SHIFT_MIN);
	check_lengths();
	check_forged();
	check_generations();
	end();
}

static void
test_cpu(void)
{
	check_device();
	begin(COLO_SEAL_SHIFT_DEFAULT);
	CU_ASSERT_TRUE(t.device.cpu);
	CU_ASSERT_TRUE(both(1ull << 31));
	end();
}

/* A device that EAL has is taken: here one that works by queue pairs. */
static void
test_queued(void)
{
	CU_ASSERT_EQUAL_FATAL(rte_vdev_init("crypto_openssl_ut", "max_nb_queue_pairs=2"), 0);
	check_device();
	begin(COLO_SEAL_SHIFT_DEFAULT);
	CU_ASSERT_FALSE(t.device.cpu);
	CU_ASSERT_STRING_EQUAL(t.device.name, "crypto_openssl_ut");
	end();
	rte_vdev_uninit("crypto_openssl_ut");
}

static void
test_too_few_queue_pairs(void)
{
	struct colo_seal_device d = {0};
	struct colo_error err = {""};

	CU_ASSERT_EQUAL_FATAL(rte_vdev_init("crypto_openssl_ut", "max_nb_queue_pairs=2"), 0);
	CU_ASSERT_EQUAL(colo_seal_device_open(&d, 3, 16, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "max_nb_queue_pairs"));
	rte_vdev_uninit("crypto_openssl_ut");
}

/* Both devices are the same AES-GCM: sealed by one, opened by the other, by known bytes. */
static void
test_same_bytes(void)
{
	uint8_t first[200];

	for (unsigned int i = 0; i < 2; i++) {
		struct rte_mbuf *m;

		if (i == 1)
			rte_vdev_init("crypto_openssl_ut", "max_nb_queue_pairs=2");
		begin(COLO_SEAL_SHIFT_DEFAULT);
		m = make(5, 100);
		CU_ASSERT_TRUE(seal(m, 0));
		if (i == 0)
			memcpy(first, rte_pktmbuf_mtod(m, uint8_t *), rte_pktmbuf_pkt_len(m));
		else
			CU_ASSERT_EQUAL(memcmp(first, rte_pktmbuf_mtod(m, uint8_t *),
						rte_pktmbuf_pkt_len(m)),
				0);
		rte_pktmbuf_free(m);
		end();
	}
	rte_vdev_uninit("crypto_openssl_ut");
}

/* Flags of the mapping that holds @p at, as smaps shows them. */
static void
mapping_flags(const void *at, char flags[512])
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	unsigned long from = 0, to = 0, next[2];
	char line[512];

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx ", &next[0], &next[1]) == 2) {
			from = next[0];
			to = next[1];
		}
		if (strncmp(line, "VmFlags:", 8) == 0 && from <= (unsigned long)at &&
			(unsigned long)at < to)
			strcpy(flags, line);
	}
	if (maps != NULL)
		fclose(maps);
}

/* Keys as the device keeps them are in memory that is never swapped. */
static void
test_locked(void)
{
	char flags[512] = "";

	begin(COLO_SEAL_SHIFT_DEFAULT);
	mapping_flags(colo_seal_session(&t.flow[0][0], 0), flags);
	CU_ASSERT(flags[0] != '\0');
#ifndef __SANITIZE_ADDRESS__ /* which makes mlock(2) do nothing */
	CU_ASSERT(strstr(flags, " lo") != NULL || strstr(flags, " ht") != NULL);
#endif
	end();
}

static const struct ut_case cases[] = {
	{"synchronous CPU call", test_cpu},
	{"enqueue and dequeue", test_queued},
	{"too few queue pairs", test_too_few_queue_pairs},
	{"two devices, the same bytes", test_same_bytes},
	{"locked", test_locked},
};

int
main(void)
{
	ut_eal_start(256);
	t.pool = rte_pktmbuf_pool_create("ut_seal", 64, 0, 0, 9216 + 128, SOCKET_ID_ANY);
	return UT_RUN("seal", cases);
}
