/* SPDX-License-Identifier: BSD-3-Clause */
/* A receiving channel: made or refused when memory is short, and what it takes over at the gate. */
#include <rte_malloc.h>

#include "ut_packet.h"
#include "ut_rig.h"

static const struct ut_rig_options options = {.mtu = 1500,
	.ip_version = 4,
	.n_channels = 2,
	.window = 64,
	.n_blocks = 1,
	.block_size = {COLO_PAGE_SIZE}};

static struct ut_rig *rig;
static struct colo_receiver *r;

static void
begin(void)
{
	rig = ut_rig_new(&options);
	r = rig->receive.channel[0];
	colo_receive_poll(r);
	colo_send_poll(rig->send.channel[0]);
}

static void
phase(uint32_t session, uint32_t epoch, uint8_t kind)
{
	rig->receive.phase.session = session != 0;
	if (session != 0)
		rig->receive.phase.filter.session = session;
	rig->receive.phase.epoch = epoch;
	rig->receive.phase.kind = kind;
	colo_gate_raise(&rig->receive.gate);
	colo_receive_poll(r);
	CU_ASSERT_TRUE(colo_gate_arrived(&rig->receive.gate, &r->seat));
}

/* A zero page in epoch @p epoch, at the next slot. */
static void
place_one(uint32_t epoch)
{
	struct rte_mbuf *m;
	struct ut_packet p;

	ut_packet_init(&p, &rig->send.channel[0]->template, epoch, r->window.cum, 9);
	ut_packet_add_zero(&p, 0, 0, 1);
	ut_packet_seal(&p);
	m = ut_packet_mbuf(&p, rig->port[0].tx_pool, 0);
	CU_ASSERT_EQUAL_FATAL(rte_ring_enqueue(rig->in[1][0], m), 0);
	colo_receive_poll(r);
}

static void
test_session(void)
{
	begin();
	CU_ASSERT_TRUE(r->session);
	CU_ASSERT_EQUAL(r->epoch, 0);
	CU_ASSERT_EQUAL(r->window.credit, 64);
	CU_ASSERT_EQUAL(r->part_size, colo_part_size(1500, COLO_IPV4_UDP_LEN, false));
	CU_ASSERT_EQUAL(r->template.channel, 0);
	CU_ASSERT_EQUAL(r->template.session, UT_RIG_SESSION);
	ut_rig_free(rig);
}

/* Sums begin anew with each epoch, stay when it is closed, and slots go on. */
static void
test_epochs(void)
{
	begin();
	phase(UT_RIG_SESSION, 1, COLO_EPOCH_PRECOPY);
	place_one(1);
	place_one(1);
	CU_ASSERT_EQUAL(r->progress.pages, 2);
	CU_ASSERT_EQUAL(r->progress.zero_pages, 2);
	CU_ASSERT_EQUAL(r->progress.cum, 2);
	CU_ASSERT_EQUAL(r->progress.wire_bytes, 2 * (COLO_ETHER_LEN + COLO_IPV4_UDP_LEN + 48));
	CU_ASSERT_NOT_EQUAL(r->progress.digest, 0);
	phase(UT_RIG_SESSION, 0, COLO_EPOCH_PRECOPY);
	CU_ASSERT_EQUAL(r->progress.pages, 2);
	place_one(0);
	CU_ASSERT_EQUAL(r->progress.pages, 2);
	phase(UT_RIG_SESSION, 2, COLO_EPOCH_CHECKPOINT);
	CU_ASSERT_EQUAL(r->progress.pages, 0);
	CU_ASSERT_EQUAL(r->progress.zero_pages, 0);
	CU_ASSERT_EQUAL(r->progress.digest, 0);
	CU_ASSERT_EQUAL(r->progress.wire_bytes, 0);
	CU_ASSERT_EQUAL(r->progress.cum, 2);
	CU_ASSERT_EQUAL(r->kind, COLO_EPOCH_CHECKPOINT);
	ut_rig_free(rig);
}

/* The same epoch number in another session: everything begins anew. */
static void
test_new_session(void)
{
	begin();
	phase(UT_RIG_SESSION, 1, COLO_EPOCH_PRECOPY);
	place_one(1);
	CU_ASSERT_EQUAL(r->progress.cum, 1);
	phase(UT_RIG_SESSION + 1, 1, COLO_EPOCH_PRECOPY);
	CU_ASSERT_EQUAL(r->progress.cum, 0);
	CU_ASSERT_EQUAL(r->progress.pages, 0);
	CU_ASSERT_EQUAL(r->window.credit, 64);
	CU_ASSERT_EQUAL(r->next_packet, 0);
	place_one(1); /* of the old session */
	CU_ASSERT_EQUAL(r->progress.pages, 0);
	CU_ASSERT_EQUAL(r->counters.n[COLO_drop_session], 1);
	phase(0, 0, 0);
	place_one(1);
	CU_ASSERT_EQUAL(r->counters.n[COLO_drop_session], 2);
	ut_rig_free(rig);
}

/* With little memory left, a little more each time: refused in words, or made; never half. */
static void
test_no_memory(void)
{
	unsigned int refused = 0, made = 0;
	struct colo_error err;

	begin();
	for (size_t left = 4096; left < 1u << 20; left += 8192) {
		void *hog[64];
		unsigned int n = 0;
		struct colo_receiver *more;

		/* all there is, but for one stretch of `left` bytes that is given back */
		void *stretch = rte_malloc(NULL, left, 0);

		for (size_t size = 64u << 20; size >= 1024 && n < 64;) {
			hog[n] = rte_malloc(NULL, size, 0);
			if (hog[n] != NULL)
				n++;
			else
				size /= 2;
		}
		rte_free(stretch);
		err.text[0] = '\0';
		more = colo_receiver_new(&rig->receive, 1, &err);
		made += more != NULL;
		refused += more == NULL;
		if (more == NULL)
			CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "-m MB"));
		colo_receiver_free(more);
		while (n > 0)
			rte_free(hog[--n]);
	}
	CU_ASSERT_TRUE(refused > 0);
	CU_ASSERT_TRUE(made > 0);
	ut_rig_free(rig);
}

static const struct ut_case cases[] = {
	{"a session", test_session},
	{"epochs", test_epochs},
	{"another session", test_new_session},
	{"memory is short", test_no_memory},
};

int
main(void)
{
	ut_eal_start(64);
	return UT_RUN("receiver", cases);
}
