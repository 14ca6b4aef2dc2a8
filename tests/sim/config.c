/* SPDX-License-Identifier: BSD-3-Clause */
/* What a seed is: sizes, limits, clocks, codec, source, and how bad its days are. */
#include <string.h>

#include "sim.h"

static void
choose_blocks(struct sim_config *c)
{
	c->n_blocks = 2 + (unsigned int)sim_below(SIM_MAX_BLOCKS - 1);
	for (unsigned int i = 0; i + 1 < c->n_blocks; i++)
		c->block_pages[i] = (uint32_t)sim_between(1, 40);
	c->block_pages[c->n_blocks - 1] = (uint32_t)sim_between(1, 3);
	/* now and then one that ends in the middle of its second piece */
	if (sim_chance(20000))
		c->block_pages[0] = COLO_PIECE_PAGES + (uint32_t)sim_between(0, 3);
}

static void
choose_datapath(struct sim_config *c)
{
	static const uint32_t mtu[] = {1280, 1500, 1500, 4200, 9000};

	c->n_channels = (unsigned int)sim_between(1, SIM_MAX_CHANNELS);
	c->mtu = mtu[sim_below(RTE_DIM(mtu))];
	c->ip_version = sim_chance(300000) ? 6 : 4;
	c->window = COLO_WINDOW_MIN << sim_below(4);
	c->rxd = sim_chance(700000) ? 256 : 64;
	c->handover_ring = sim_chance(300000) ? 16 : COLO_HANDOVER_RING;
	c->lane_ring = sim_chance(200000) ? 4 : COLO_LANE_RING;
	c->zero_copy = sim_chance(500000);
	c->zstd = sim_chance(300000);
	c->zstd_level = (int)sim_between(0, 4) - 2;
	c->mis_steer = sim_chance(200000);
}

static void
choose_limits(struct sim_config *c)
{
	for (unsigned int end = 0; end < SIM_N_ENDS; end++) {
		c->peer_timeout_ms[end] = (uint32_t)sim_between(50, 400);
		c->hold_ms[end] = (uint32_t)sim_between(20, 300);
		c->clock_offset_us[end] = sim_below(1ull << 40);
		c->clock_ppm[end] = (int32_t)sim_between(0, 100000) - 50000;
	}
	c->interval_ms = (uint32_t)sim_between(1, 60);
	c->connect_timeout_ms = (uint32_t)sim_between(100, 2000);
	c->reconnect_ms = sim_chance(600000) ? (uint32_t)sim_between(50, 3000) : 0;
	c->precopy_rounds = (uint32_t)sim_between(1, 4);
	c->precopy_threshold = (uint32_t)sim_between(0, 20);
	c->idle_us = (uint32_t)sim_between(30, 900);
	c->tick_us = (uint32_t)sim_between(200, 8000);
}

void
sim_config_choose(uint64_t seed)
{
	struct sim_config *c = &sim.config;

	memset(c, 0, sizeof(*c));
	c->seed = seed;
	sim.random.state = seed * 0xd1342543de82ef95ull + 1;
	choose_blocks(c);
	choose_datapath(c);
	choose_limits(c);
	c->source = (enum sim_source_kind)sim_below(3);
	c->verify = sim_chance(150000);
	c->journal = sim_chance(500000);
	c->has_adapter = sim_chance(600000);
	c->failover_on_loss = c->has_adapter && sim_chance(150000);
	c->severity = (uint32_t)sim_below(4);
	c->rounds = (unsigned int)sim_between(1, 2);
	c->secure = sim_chance(200000);
	c->lockstep = sim_chance(150000);
	if (c->lockstep) {
		c->journal = false;
		c->has_adapter = true;
	}
	c->chaos_us = sim_between(200, 1200) * SIM_MS;
	c->mishap_every_us = (uint32_t)sim_between(5, 120) * SIM_MS;
}

void
sim_config_print(FILE *to)
{
	static const char *const source[] = {"todo", "staged", "feed"};
	const struct sim_config *c = &sim.config;

	fprintf(to,
		"seed %llu: %u channels, MTU %u, IPv%u, window %u, rxd %u, %s%s%s, source %s, "
		"%u pages in %u blocks, peer timeout %u/%u ms, hold %u/%u ms, interval %u ms, "
		"clocks %+d/%+d ppm, severity %u%s%s%s%s%s%s\n",
		(unsigned long long)c->seed, c->n_channels, c->mtu, c->ip_version, c->window,
		c->rxd, c->zstd ? "zstd" : "raw", c->zero_copy ? ", zero copy" : "",
		c->mis_steer ? ", badly steered" : "", source[c->source], sim_n_pages(),
		c->n_blocks, c->peer_timeout_ms[0], c->peer_timeout_ms[1], c->hold_ms[0],
		c->hold_ms[1], c->interval_ms, c->clock_ppm[0], c->clock_ppm[1], c->severity,
		c->secure ? ", secure" : "", c->verify ? ", verify" : "",
		c->journal ? ", journal" : "", c->lockstep ? ", lockstep" : "",
		c->has_adapter ? ", standby" : "", c->failover_on_loss ? ", takes over" : "");
}
