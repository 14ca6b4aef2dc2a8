/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of somebody who knows the session's id, addresses and format, and where its window is: all
 * is right, CRCs included, but for one thing. None of them may change a byte, or an epoch's fate.
 */
#include <string.h>

#include "page.h"
#include "sim.h"
#include "wire.h"

struct forged {
	uint8_t bytes[COLO_MTU_MAX + COLO_ETHER_LEN];
	struct colo_header *header;
	uint8_t *body;	 /* behind the header */
	uint32_t length; /* of UDP's payload */
	uint32_t outer;
	unsigned int channel;
};

/* Outer headers and colo_header as @p from would write them. @return false: no session is on. */
static bool
begin(struct forged *f, enum sim_end_id from, uint8_t type)
{
	const struct colo_frame_filter *filter = from == SIM_PRIMARY
							 ? &sim.secondary.receive.phase.filter
							 : &sim.primary.send.phase.filter;
	struct colo_frame_template t;
	unsigned int c =
		type == COLO_FRAME_CONTROL ? 0 : (unsigned int)sim_below(sim.config.n_channels);

	if (!sim.end[SIM_PRIMARY].up || !sim.end[SIM_SECONDARY].up || filter->session == 0)
		return false;
	memset(f, 0, sizeof(*f));
	colo_frame_template_init(&t, &filter->peer, &filter->local, filter->local.channel_port[c],
		filter->session, (uint8_t)c);
	memcpy(f->bytes, t.bytes, t.length);
	f->outer = t.length;
	f->channel = c;
	f->header = (struct colo_header *)(f->bytes + f->outer);
	f->body = (uint8_t *)(f->header + 1);
	*f->header = (struct colo_header){.version = COLO_WIRE_VERSION,
		.type = type,
		.channel = (uint8_t)c,
		.session = rte_cpu_to_be_32(filter->session),
		.packet_number = rte_cpu_to_be_64(1ull << 40)};
	f->length = sizeof(*f->header);
	return true;
}

/* Lengths and CRC, over @p covered bytes, and off it goes. */
static void
send_forged(struct forged *f, enum sim_end_id from, uint32_t covered)
{
	struct colo_frame_template t = {
		.length = (uint16_t)f->outer, .is_ipv6 = sim.config.ip_version == 6};

	if (f->header->length == 0)
		f->header->length = rte_cpu_to_be_16((uint16_t)f->length);
	f->header->crc = 0;
	f->header->crc = rte_cpu_to_be_32(colo_crc32(f->header, covered));
	memcpy(t.bytes, f->bytes, f->outer);
	colo_frame_write_outer(&t, f->bytes, (uint16_t)f->length);
	SIM_COUNT(forged_well);
	sim_wire_send(from, f->channel, f->bytes, f->outer + f->length);
}

/* ---- page packets ---- */

static void
put_record(struct forged *f, unsigned int i, struct colo_record r)
{
	memcpy(f->body + i * sizeof(r), &r, sizeof(r));
}

static struct colo_record
raw_record(uint8_t block, uint32_t page, uint16_t length)
{
	return (struct colo_record){.page = rte_cpu_to_be_32(page),
		.block = block,
		.kind = COLO_RECORD_RAW,
		.length = rte_cpu_to_be_16(length),
		.count = rte_cpu_to_be_16(1)};
}

/* One thing is wrong with the only record. */
static void
spoil_record(struct colo_record *r, unsigned int how, uint16_t length)
{
	uint32_t pages = sim.config.block_pages[r->block];

	switch (how) {
	case 0:
		r->page = rte_cpu_to_be_32(pages);
		break;
	case 1:
		r->page = rte_cpu_to_be_32(UINT32_MAX - (uint32_t)sim_below(4));
		break;
	case 2:
		r->block = (uint8_t)sim_between(sim.config.n_blocks, 255);
		break;
	case 3:
		r->kind = (uint8_t)(sim_chance(500000) ? 0 : sim_between(4, 255));
		break;
	case 4:
		r->count = rte_cpu_to_be_16(2);
		break;
	case 5:
		r->length = rte_cpu_to_be_16(length - 1);
		break;
	case 6:
		r->offset = rte_cpu_to_be_16((uint16_t)sim_between(1, 15));
		break;
	case 7: /* as much of nothing as ends behind the block */
		r->kind = COLO_RECORD_ZERO;
		r->length = 0;
		r->crc = 0;
		r->count = rte_cpu_to_be_16((uint16_t)sim_between(pages + 1, UINT16_MAX));
		break;
	case 8: /* noise is no zstd frame */
		r->kind = COLO_RECORD_ZSTD;
		break;
	default:
		r->crc ^= 1;
	}
}

/* Header or record is spoiled, not both. */
static bool
spoil_header(struct forged *f, unsigned int how, const struct colo_receiver *r)
{
	switch (how) {
	case 0: /* of an epoch that is over, while another is open or none is */
		f->header->epoch = rte_cpu_to_be_32(sim.secondary.s.opened - 1);
		return sim.secondary.s.opened > 1;
	case 1: /* of one that is to come only after more commits than can be under way */
		f->header->epoch = rte_cpu_to_be_32(sim.secondary.s.opened + 1000000);
		return true;
	case 2:
		f->header->session ^= rte_cpu_to_be_32(1);
		return true;
	case 3:
		f->header->slot =
			rte_cpu_to_be_32((uint32_t)(r->window.credit + 1000 + sim_below(1u << 20)));
		return true;
	case 4: /* longer, or shorter, than its records say */
		f->length += sim_chance(500000) ? 1 : -1;
		return true;
	case 5:
		f->header->version++;
		return true;
	case 6:
		f->header->n_records = (uint8_t)(sim_chance(500000) ? 0 : sim_between(17, 255));
		return true;
	case 7:
		f->header->type = COLO_FRAME_FEEDBACK;
		return true;
	default: /* two records that do not ascend */
		return false;
	}
}

/* Two records, the second of which is not above the first. */
static void
add_overlap(struct forged *f, const struct colo_record *r)
{
	struct colo_record second = *r;
	uint16_t n = rte_be_to_cpu_16(r->length);

	f->header->n_records = 2;
	memmove(f->body + 2 * sizeof(*r), f->body + sizeof(*r), n);
	memcpy(f->body + 2 * sizeof(*r) + n, f->body + 2 * sizeof(*r), n);
	put_record(f, 0, *r);
	put_record(f, 1, second);
	f->length += sizeof(*r) + n;
}

static void
forge_page(void)
{
	struct forged f;
	const struct colo_receiver *r;
	struct colo_record record;
	unsigned int how = (unsigned int)sim_below(19);
	uint8_t block = (uint8_t)sim_below(sim.config.n_blocks);
	uint16_t length;

	if (!begin(&f, SIM_PRIMARY, COLO_FRAME_PAGE))
		return;
	r = sim.secondary.receive.channel[f.channel];
	if (r->part_size == 0 || f.outer + sizeof(*f.header) + 2 * (sizeof(record) + r->part_size) >
					 sim.config.mtu + COLO_ETHER_LEN)
		return;
	length = (uint16_t)r->part_size;
	record = raw_record(block, (uint32_t)sim_below(sim.config.block_pages[block]), length);
	for (uint32_t i = 0; i < length; i++)
		f.body[sizeof(record) + i] = (uint8_t)sim_random();
	record.crc = rte_cpu_to_be_32(colo_crc32(f.body + sizeof(record), length));
	f.header->n_records = 1;
	f.header->epoch = rte_cpu_to_be_32(sim.secondary.s.epoch);
	f.header->slot =
		rte_cpu_to_be_32((uint32_t)(r->window.cum + sim_below(r->window.size / 2)));
	f.length += sizeof(record) + length;
	if (how < 10)
		spoil_record(&record, how, length);
	put_record(&f, 0, record);
	if (how >= 10 && !spoil_header(&f, how - 10, r))
		add_overlap(&f, &record);
	send_forged(&f, SIM_PRIMARY,
		RTE_MIN(f.length,
			(uint32_t)(sizeof(*f.header) + f.header->n_records * sizeof(record))));
}

void
sim_forge_page(unsigned int n)
{
	while (n-- > 0)
		forge_page();
}

/* ---- feedback that says what cannot be ---- */

static void
forge_feedback(void)
{
	struct forged f;
	const struct colo_send_window *w;
	struct colo_feedback *b;

	if (!begin(&f, SIM_SECONDARY, COLO_FRAME_FEEDBACK))
		return;
	w = &sim.primary.send.channel[f.channel]->window;
	b = (struct colo_feedback *)f.body;
	b->cum = rte_cpu_to_be_64(w->cum);
	b->credit = rte_cpu_to_be_64(w->credit);
	f.length += sizeof(*b);
	switch (sim_below(5)) {
	case 0: /* by far: what is sent before this arrives must not make it true */
		b->cum = rte_cpu_to_be_64(w->next_slot + (1u << 24) + sim_below(1u << 30));
		break;
	case 1:
		b->largest_packet = rte_cpu_to_be_64(w->next_packet + (1u << 24));
		break;
	case 2:
		b->credit = rte_cpu_to_be_64(w->cum + (1u << 24) + COLO_WINDOW_MAX);
		break;
	case 3:
		b->n_words = rte_cpu_to_be_16((uint16_t)sim_between(1, UINT16_MAX));
		break;
	default: /* a slot that was never used is said to be placed */
		b->n_words = rte_cpu_to_be_16(COLO_FEEDBACK_WORDS);
		b->cum = rte_cpu_to_be_64(w->next_slot);
		b->placed[COLO_FEEDBACK_WORDS - 1] = rte_cpu_to_be_64(1ull << 63);
		f.length += COLO_FEEDBACK_WORDS * sizeof(b->placed[0]);
	}
	send_forged(&f, SIM_SECONDARY, f.length);
}

void
sim_forge_feedback(unsigned int n)
{
	while (n-- > 0)
		forge_feedback();
}

/* ---- requests and answers that are none ---- */

static void
forge_control(enum sim_end_id from)
{
	struct forged f;
	struct colo_control_request *r;

	if (!begin(&f, from, COLO_FRAME_CONTROL))
		return;
	r = (struct colo_control_request *)f.body;
	r->sequence = rte_cpu_to_be_32(sim.primary.p.lane.sequence + 1);
	r->op = COLO_CONTROL_END;
	r->is_reply = from == SIM_SECONDARY;
	f.length += from == SIM_SECONDARY ? sizeof(struct colo_control_reply) : sizeof(*r);
	switch (sim_below(5)) {
	case 0:
		r->op = (uint8_t)(sim_chance(500000) ? 0 : sim_between(4, 255));
		break;
	case 1: /* ends that are not there */
		r->n = (uint8_t)sim_between(1, 255);
		f.length += from == SIM_SECONDARY;
		break;
	case 2:
		r->sequence = 0;
		break;
	case 3:
		r->is_reply ^= 1;
		break;
	default:
		f.length--;
	}
	send_forged(&f, from, f.length);
}

void
sim_forge_control(unsigned int n)
{
	while (n-- > 0)
		forge_control((enum sim_end_id)sim_below(SIM_N_ENDS));
}
