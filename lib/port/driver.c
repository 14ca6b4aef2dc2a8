/* SPDX-License-Identifier: BSD-3-Clause */
/* What drivers do besides what they say: DPDK 22.11's, each point seen on a running one. */
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_kvargs.h>

#include "driver.h"
#include "wire.h"

#define AF_PACKET_FRAMESZ  2048u /* its default */
#define AF_PACKET_HEADROOM 52u	 /* TPACKET2_HDRLEN */

bool
colo_driver_is(const char *driver, const char *name)
{
	return strcmp(driver, name) == 0;
}

bool
colo_driver_is_software(const char *driver)
{
	static const char *const drivers[] = {"net_ring", "net_memif", "net_null", "net_af_packet"};

	for (unsigned int i = 0; i < RTE_DIM(drivers); i++)
		if (strcmp(driver, drivers[i]) == 0)
			return true;
	return false;
}

bool
colo_driver_carries_any(const char *driver)
{
	return colo_driver_is_software(driver);
}

bool
colo_driver_takes_chains(const char *driver, const struct rte_eth_dev_info *info)
{
	return colo_driver_carries_any(driver) ||
	       (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
}

bool
colo_driver_argument(uint16_t id, const char *key, char *value, size_t size)
{
	struct rte_eth_dev_info info;
	const struct rte_devargs *args;
	struct rte_kvargs *list;
	const char *found;

	if (rte_eth_dev_info_get(id, &info) != 0 || info.device == NULL)
		return false;
	args = rte_dev_devargs(info.device);
	if (args == NULL || args->args == NULL)
		return false;
	list = rte_kvargs_parse(args->args, NULL);
	found = list != NULL ? rte_kvargs_get(list, key) : NULL;
	if (found != NULL)
		snprintf(value, size, "%s", found);
	rte_kvargs_free(list);
	return found != NULL;
}

bool
colo_driver_memif_zero_copy(uint16_t id)
{
	char value[8];

	return colo_driver_argument(id, "zero-copy", value, sizeof(value)) &&
	       strcmp(value, "yes") == 0;
}

/* MTU of the kernel's interface below the port; 0: there is none. */
static uint32_t
interface_mtu(const struct rte_eth_dev_info *info, char name[IF_NAMESIZE])
{
	struct ifreq request = {0};
	int fd, rc;

	if (info->if_index == 0 || if_indextoname(info->if_index, name) == NULL)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	memcpy(request.ifr_name, name, IF_NAMESIZE);
	rc = ioctl(fd, SIOCGIFMTU, &request);
	close(fd);
	return rc == 0 ? (uint32_t)request.ifr_mtu : 0;
}

int
colo_driver_af_packet_check(
	const struct colo_port *p, const struct rte_eth_dev_info *info, struct colo_error *err)
{
	char name[IF_NAMESIZE] = "", value[16];
	uint32_t frame = AF_PACKET_FRAMESZ;
	uint32_t mtu = interface_mtu(info, name);

	if (colo_driver_argument(p->id, "framesz", value, sizeof(value)))
		frame = strtoul(value, NULL, 10);
	if (mtu != 0 && mtu < p->mtu)
		return colo_error_set(err,
			"--mtu %u: interface %s below port %u takes %u; accepted: at most that, or "
			"ip link set %s mtu %u first",
			p->mtu, name, p->id, mtu, name, p->mtu);
	if (frame < p->mtu + COLO_ETHER_LEN + AF_PACKET_HEADROOM)
		return colo_error_set(err,
			"--mtu %u: frames of port %u (net_af_packet) have room for framesz=%u "
			"bytes; "
			"give its --vdev framesz=%u or more",
			p->mtu, p->id, frame, p->mtu + COLO_ETHER_LEN + AF_PACKET_HEADROOM);
	return 0;
}
