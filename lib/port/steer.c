/* SPDX-License-Identifier: BSD-3-Clause */
/* Make channel i's frames land on queue i: chosen UDP ports, flow rules, or paired queues. */
#include <string.h>

#include <rte_thash.h>

#include "log.h"
#include "steer.h"

/* A queue of 16 is hit once in 16 ports on average: this many tries cannot fail by bad luck. */
#define RSS_PORT_TRIES 8192u

const char *
colo_steer_name(enum colo_steer how)
{
	static const char *const names[] = {
		[COLO_STEERED_PAIRED] = "paired",
		[COLO_STEERED_RSS] = "rss",
		[COLO_STEERED_FLOW] = "flow",
	};

	return names[how];
}

static bool
can_flow(const struct colo_port *p)
{
	struct rte_flow_error error;
	struct rte_flow_attr attr = {.ingress = 1};
	struct rte_flow_item_udp udp = {.hdr.dst_port = RTE_BE16(1)};
	struct rte_flow_item_udp mask = {.hdr.dst_port = RTE_BE16(0xffff)};
	struct rte_flow_item pattern[] = {
		{.type = RTE_FLOW_ITEM_TYPE_ETH},
		{.type = RTE_FLOW_ITEM_TYPE_IPV4},
		{.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &udp, .mask = &mask},
		{.type = RTE_FLOW_ITEM_TYPE_END},
	};
	struct rte_flow_action_queue queue = {.index = 0};
	struct rte_flow_action actions[] = {
		{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue},
		{.type = RTE_FLOW_ACTION_TYPE_END},
	};

	return rte_flow_validate(p->id, &attr, pattern, actions, &error) == 0;
}

int
colo_steer_choose(struct colo_steering *s, const struct colo_port *p, const char *wanted,
	struct colo_error *err)
{
	memset(s, 0, sizeof(*s));
	if (wanted == NULL) {
		s->how = p->rss_offloads != 0		  ? COLO_STEERED_RSS
			 : p->n_queues > 1 && can_flow(p) ? COLO_STEERED_FLOW
							  : COLO_STEERED_PAIRED;
	} else if (strcmp(wanted, "rss") == 0) {
		s->how = COLO_STEERED_RSS;
		if (p->rss_offloads == 0)
			return colo_error_set(err,
				"--steering rss: port %u (%s, %u queues) offers no RSS on UDP; "
				"accepted: auto, paired",
				p->id, p->driver, p->n_queues);
	} else if (strcmp(wanted, "flow") == 0) {
		s->how = COLO_STEERED_FLOW;
		if (!can_flow(p))
			return colo_error_set(err,
				"--steering flow: port %u (%s) takes no UDP rule; accepted: auto, "
				"paired",
				p->id, p->driver);
	} else {
		s->how = COLO_STEERED_PAIRED;
	}
	COLO_LOG(NOTICE, "port %u: channels are steered to queues by %s", p->id,
		s->how == COLO_STEERED_RSS    ? "RSS (UDP ports chosen by rte_thash)"
		: s->how == COLO_STEERED_FLOW ? "rte_flow rules"
					      : "paired queues");
	return 0;
}

static uint32_t
be32_at(const uint8_t *bytes)
{
	uint32_t word;

	memcpy(&word, bytes, sizeof(word));
	return rte_be_to_cpu_32(word);
}

uint16_t
colo_steer_rss_queue(const struct colo_port *p, const struct colo_address *peer,
	const struct colo_address *local, uint16_t port)
{
	unsigned int words = peer->ip_version == 6 ? 4 : 1;
	uint32_t tuple[9]; /* source address, destination address, ports: host order */
	unsigned int n = 0;

	for (unsigned int i = 0; i < words; i++)
		tuple[n++] = be32_at(peer->ip + 4 * i);
	for (unsigned int i = 0; i < words; i++)
		tuple[n++] = be32_at(local->ip + 4 * i);
	tuple[n++] = (uint32_t)peer->source_port << 16 | port;
	return p->reta[rte_softrss(tuple, n, p->rss_key) % p->reta_size];
}

static int
choose_rss_ports(const struct colo_port *p, uint16_t base, const struct colo_address *peer,
	struct colo_address *local, struct colo_error *err)
{
	uint32_t port = base;

	for (unsigned int c = 0; c < p->n_queues; c++) {
		unsigned int tries;

		for (tries = 0; tries < RSS_PORT_TRIES && port <= UINT16_MAX; tries++, port++)
			if (colo_steer_rss_queue(p, peer, local, port) == c)
				break;
		if (tries == RSS_PORT_TRIES || port > UINT16_MAX)
			return colo_error_set(err,
				"no UDP port from %u up leads to queue %u of port %u by RSS: its "
				"table does not use that queue, or --udp-port is too high",
				base, c, p->id);
		local->channel_port[c] = port++;
	}
	return 0;
}

static int
install_flow(struct colo_steering *s, const struct colo_port *p, unsigned int channel,
	const struct colo_address *local, struct colo_error *err)
{
	struct rte_flow_error error = {0};
	struct rte_flow_attr attr = {.ingress = 1};
	struct rte_flow_item_udp udp = {
		.hdr.dst_port = rte_cpu_to_be_16(local->channel_port[channel])};
	struct rte_flow_item_udp mask = {.hdr.dst_port = RTE_BE16(0xffff)};
	struct rte_flow_item pattern[] = {
		{.type = RTE_FLOW_ITEM_TYPE_ETH},
		{.type = local->ip_version == 6 ? RTE_FLOW_ITEM_TYPE_IPV6
						: RTE_FLOW_ITEM_TYPE_IPV4},
		{.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &udp, .mask = &mask},
		{.type = RTE_FLOW_ITEM_TYPE_END},
	};
	struct rte_flow_action_queue queue = {.index = channel};
	struct rte_flow_action actions[] = {
		{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue},
		{.type = RTE_FLOW_ACTION_TYPE_END},
	};

	s->flow[channel] = rte_flow_create(p->id, &attr, pattern, actions, &error);
	if (s->flow[channel] == NULL)
		return colo_error_set(err, "port %u takes no rule for channel %u: %s", p->id,
			channel, error.message != NULL ? error.message : "no reason given");
	return 0;
}

int
colo_steer_ports(struct colo_steering *s, const struct colo_port *p, uint16_t base,
	const struct colo_address *peer, struct colo_address *local, struct colo_error *err)
{
	colo_steer_clear(s, p);
	if (s->how == COLO_STEERED_RSS)
		return choose_rss_ports(p, base, peer, local, err);
	if (base + p->n_queues - 1u > UINT16_MAX)
		return colo_error_set(err,
			"--udp-port %u: %u channels need the ports from it up; accepted: at most "
			"%u",
			base, p->n_queues, UINT16_MAX - p->n_queues + 1u);
	for (unsigned int c = 0; c < p->n_queues; c++) {
		local->channel_port[c] = base + c;
		if (s->how == COLO_STEERED_FLOW && install_flow(s, p, c, local, err) != 0)
			return -1;
	}
	return 0;
}

void
colo_steer_clear(struct colo_steering *s, const struct colo_port *p)
{
	for (unsigned int c = 0; c < COLO_MAX_CHANNELS; c++) {
		if (s->flow[c] != NULL)
			rte_flow_destroy(p->id, s->flow[c], NULL);
		s->flow[c] = NULL;
	}
}
