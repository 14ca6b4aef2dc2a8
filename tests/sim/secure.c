/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The key and the crypto device of seeds whose session speaks TLS and whose frames are sealed.
 * Bytes differ from run to run there, and nothing else does: neither lengths nor what happens.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"
#include "secure.h"

#define LANES SIM_MAX_CHANNELS /* of each end */
#define KEYS  512u

struct sim_secure sim_secure;

static void
must(bool condition, const char *why)
{
	if (condition)
		return;
	fprintf(stderr, "colo-sim: %s\n", why);
	exit(1);
}

void
sim_secure_make(void)
{
	static const char key[] = "00112233445566778899aabbccddeeff"
				  "00112233445566778899aabbccddeeff\n";
	char path[] = "/tmp/colo-sim.XXXXXX";
	struct colo_error err = {""};
	int fd = mkstemp(path); /* 0600, as a key must be */

	must(fd >= 0 && write(fd, key, strlen(key)) == (ssize_t)strlen(key), "no file for a key");
	close(fd);
	sim_secure.tls = colo_tls_new(path, &err);
	unlink(path);
	must(sim_secure.tls != NULL, err.text);
	must(colo_seal_device_open(&sim_secure.device, SIM_N_ENDS * LANES, KEYS, &err) == 0,
		err.text);
}

void
sim_secure_primary(void)
{
	struct colo_primary *p = &sim.primary.p;

	if (!sim.config.secure)
		return;
	colo_session_use_tls(sim.end[SIM_PRIMARY].session, sim_secure.tls);
	p->seals.shift = COLO_SEAL_SHIFT_MIN; /* keys change while we look */
	p->seals.keys.device = &sim_secure.device;
	for (unsigned int c = 0; c < sim.config.n_channels; c++)
		colo_seal_end_add(&sim.primary.send.channel[c]->seal, &p->seals.keys, (uint8_t)c,
			true, (uint16_t)c);
}

void
sim_secure_secondary(void)
{
	struct colo_secondary *s = &sim.secondary.s;

	if (!sim.config.secure)
		return;
	colo_session_use_tls(sim.end[SIM_SECONDARY].session, sim_secure.tls);
	s->seals.keys.device = &sim_secure.device;
	for (unsigned int c = 0; c < sim.config.n_channels; c++)
		colo_seal_end_add(&sim.secondary.receive.channel[c]->seal, &s->seals.keys,
			(uint8_t)c, false, (uint16_t)(LANES + c));
}

/* A process is gone, and its keys with it. */
void
sim_secure_forget(enum sim_end_id end)
{
	struct colo_seals *seals =
		end == SIM_PRIMARY ? &sim.primary.p.seals : &sim.secondary.s.seals;

	if (sim.config.secure && seals->keys.device != NULL)
		colo_seals_end(seals);
}

void
sim_secure_check(void)
{
	SIM_CHECK(rte_mempool_in_use_count(sim_secure.device.sessions) == 0,
		"both ends have ended, and %u keys are left",
		rte_mempool_in_use_count(sim_secure.device.sessions));
}
