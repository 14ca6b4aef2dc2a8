/* SPDX-License-Identifier: BSD-3-Clause */
/* Unit test of config.c, help.c, options.c and config_value.c: every option, at and beyond its
 * limits. */
#include "../../app/config_value.c"
#include "../../app/options.c"
#include "../../app/help.c"
#include "../../app/config.c"

#include <fcntl.h>
#include <unistd.h>

#include "ut.h"

#define MAX_ARGS 128

static struct colo_config config;
static struct colo_error error;

/** Parse "dpdk-colo" and the words of @p line (blanks separate them). */
static int
parse(const char *line)
{
	char copy[16384], *rest = copy, *argv[MAX_ARGS] = {(char *)(uintptr_t) "dpdk-colo"};
	int argc = 1;

	CU_ASSERT_FATAL(strlen(line) < sizeof(copy));
	strcpy(copy, line);
	error.text[0] = '\0';
	while (rest != NULL && argc < MAX_ARGS - 1) {
		argv[argc] = strsep(&rest, " ");
		if (argv[argc][0] != '\0')
			argc++;
	}
	argv[argc] = NULL;
	return colo_config_parse(&config, argc, argv, &error);
}

#define PAIR	  "--role pair --source synthetic,size=1G "
#define SECONDARY "--role secondary --psk-file /k --listen 127.0.0.1:9000 --block pc.ram,size=4096 "
#define LOCKSTEP                                                                                 \
	"--role secondary --insecure --listen 127.0.0.1:9000 --block pc.ram,size=4096,guest=/g " \
	"--adapter lockstep,control=unix:/c,dirty-log=/l"
#define JOURNALED                                                           \
	"--role secondary --insecure --listen 127.0.0.1:9000 --journal /j " \
	"--block f,size=4K,guest=/g,cache=/c "
#define PRIMARY "--role primary --insecure --connect 127.0.0.1:9000 --source qmp,path=/x "

/** @p options are refused, and the sentence says @p why. */
static void
refused(const char *base, const char *more, const char *why)
{
	char line[16384];
	int rc;

	snprintf(line, sizeof(line), "%s%s", base, more);
	rc = parse(line);
	if (rc != -1 || strstr(error.text, why) == NULL)
		printf("\n    '%s': %d '%s', not '%s'\n", more, rc, error.text, why);
	CU_ASSERT_EQUAL(rc, -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, why));
}

static void
accepted(const char *base, const char *more)
{
	char line[16384];
	int rc;

	snprintf(line, sizeof(line), "%s%s", base, more);
	rc = parse(line);
	if (rc != 0)
		printf("\n    '%s': %d '%s'\n", more, rc, error.text);
	CU_ASSERT_EQUAL(rc, 0);
}

static void
test_defaults(void)
{
	accepted(PAIR, "");
	CU_ASSERT_EQUAL(config.role, COLO_ROLE_PAIR);
	CU_ASSERT_EQUAL(config.channels, 1);
	CU_ASSERT_EQUAL(config.interval_ms, 500);
	CU_ASSERT_EQUAL(config.epochs, 0);
	CU_ASSERT_EQUAL(config.codec, COLO_CODEC_RAW);
	CU_ASSERT_EQUAL(config.mtu, 4200);
	CU_ASSERT_EQUAL(config.udp_port, 17990);
	CU_ASSERT_EQUAL(config.window, 0);
	CU_ASSERT_EQUAL(config.rxd, 1024);
	CU_ASSERT_EQUAL(config.idle, COLO_IDLE_ADAPTIVE);
	CU_ASSERT_EQUAL(config.steering, COLO_STEER_AUTO);
	CU_ASSERT_TRUE(config.zero_copy);
	CU_ASSERT_FALSE(config.verify);
	CU_ASSERT_EQUAL(config.device_block_size, 4u << 20);
	CU_ASSERT_STRING_EQUAL(config.source, "synthetic,size=1G");
}

static void
test_all_options(void)
{
	accepted(SECONDARY,
		"--channels 4 --block b,size=2M,guest=/g,cache=/c --standby unix:/q,incoming=/i "
		"--mtu 9000 --idle spin --json /j --cmdline-file /f --on-peer-loss failover "
		"--peer-timeout 50 --hold 20 --port 3 --ip fd00::1 --udp-port 20000 --window 128 "
		"--rxd 64 --txd 4096 --steering flow --zero-copy off --device-state-size 64k "
		"--fault drop=5,dup=0.5,reorder=50,seed=18446744073709551615 -i -a");
	CU_ASSERT_EQUAL(config.role, COLO_ROLE_SECONDARY);
	CU_ASSERT_STRING_EQUAL(config.listen.host, "127.0.0.1");
	CU_ASSERT_EQUAL(config.listen.port, 9000);
	CU_ASSERT_EQUAL(config.n_blocks, 2);
	CU_ASSERT_STRING_EQUAL(config.block[1].name, "b");
	CU_ASSERT_EQUAL(config.block[1].size, 2u << 20);
	CU_ASSERT_STRING_EQUAL(config.block[1].guest_path, "/g");
	CU_ASSERT_STRING_EQUAL(config.block[1].cache_path, "/c");
	CU_ASSERT_STRING_EQUAL(config.standby, "unix:/q,incoming=/i");
	CU_ASSERT_EQUAL(config.mtu, 9000);
	CU_ASSERT_EQUAL(config.idle, COLO_IDLE_SPIN);
	CU_ASSERT_STRING_EQUAL(config.json, "/j");
	CU_ASSERT_STRING_EQUAL(config.cmdline_file, "/f");
	CU_ASSERT_EQUAL(config.on_peer_loss, COLO_PEER_LOSS_FAILOVER);
	CU_ASSERT_EQUAL(config.peer_timeout_ms, 50);
	CU_ASSERT_EQUAL(config.hold_ms, 20);
	CU_ASSERT_EQUAL(config.port, 3);
	CU_ASSERT_STRING_EQUAL(config.ip, "fd00::1");
	CU_ASSERT_EQUAL(config.udp_port, 20000);
	CU_ASSERT_EQUAL(config.window, 128);
	CU_ASSERT_EQUAL(config.rxd, 64);
	CU_ASSERT_EQUAL(config.txd, 4096);
	CU_ASSERT_EQUAL(config.steering, COLO_STEER_FLOW);
	CU_ASSERT_FALSE(config.zero_copy);
	CU_ASSERT_EQUAL(config.device_block_size, 65536);
	CU_ASSERT_TRUE(config.interactive && config.auto_start);
	accepted(PRIMARY, "--epochs 7 --interval 0 --codec zstd:-7 --connect-timeout 0 "
			  "--precopy-threshold 0 --precopy-rounds 1000 --verify");
	CU_ASSERT_TRUE(config.verify);
	CU_ASSERT_EQUAL(config.epochs, 7);
	CU_ASSERT_EQUAL(config.interval_ms, 0);
	CU_ASSERT_EQUAL(config.codec, COLO_CODEC_ZSTD);
	CU_ASSERT_EQUAL(config.zstd_level, -7);
	CU_ASSERT_EQUAL(config.connect_timeout_ms, 0);
	CU_ASSERT_EQUAL(config.precopy_threshold, 0);
	CU_ASSERT_EQUAL(config.precopy_rounds, 1000);
}

/** Refused at min - 1 and max + 1, accepted at min, max; the sentence names option and range. */
static void
bounds(const char *option, long long min, long long max)
{
	char text[128], range[64];

	snprintf(range, sizeof(range), "from %lld to %lld", min, max);
	snprintf(text, sizeof(text), "--%s %lld", option, min);
	accepted(PAIR, text);
	snprintf(text, sizeof(text), "--%s %lld", option, max);
	accepted(PAIR, text);
	snprintf(text, sizeof(text), "--%s %lld", option, min - 1);
	refused(PAIR, text, range);
	snprintf(text, sizeof(text), "--%s %lld", option, max + 1);
	refused(PAIR, text, range);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, option));
}

static void
test_numbers(void)
{
	bounds("channels", 1, 16);
	bounds("interval", 0, 3600000);
	bounds("epochs", 0, UINT32_MAX);
	bounds("mtu", 1280, 9000);
	bounds("peer-timeout", 50, 60000);
	bounds("hold", 10, 60000);
	bounds("connect-timeout", 0, 600000);
	bounds("precopy-threshold", 0, PRECOPY_THRESHOLD_MAX);
	bounds("precopy-rounds", 1, 1000);
	bounds("port", 0, RTE_MAX_ETHPORTS - 1);
	bounds("udp-port", 1024, 60000);
	bounds("rxd", 64, 4096);
	bounds("txd", 64, 4096);
	refused(PAIR, "--channels 2x", "number from 1 to 16");
	refused(PAIR, "--channels +2", "number from 1 to 16");
	refused(PAIR, "--channels 0x2", "number from 1 to 16");
	refused(PAIR, "--channels=", "number from 1 to 16");
	refused(PAIR, "--epochs 18446744073709551616", "number from 0");
}

static void
test_powers(void)
{
	accepted(PAIR, "--window 0");
	accepted(PAIR, "--window 64");
	accepted(PAIR, "--window 4096");
	refused(PAIR, "--window 32", "--window 32: a power of two from 64 to 4096, or 0");
	refused(PAIR, "--window 65", "power of two");
	refused(PAIR, "--window 8192", "power of two");
	refused(PAIR, "--rxd 0", "--rxd 0: a power of two from 64 to 4096 is");
	refused(PAIR, "--txd 1000", "power of two");
}

static void
test_sizes(void)
{
	uint64_t size = 0;

	CU_ASSERT(colo_parse_size("0", &size) == 0 && size == 0);
	CU_ASSERT(colo_parse_size("4096", &size) == 0 && size == 4096);
	CU_ASSERT(colo_parse_size("16k", &size) == 0 && size == 16384);
	CU_ASSERT(colo_parse_size("512M", &size) == 0 && size == 512ull << 20);
	CU_ASSERT(colo_parse_size("2G", &size) == 0 && size == 2ull << 30);
	CU_ASSERT(colo_parse_size("16777215T", &size) == 0 && size == 16777215ull << 40);
	CU_ASSERT_EQUAL(colo_parse_size("16777216T", &size), -1);
	CU_ASSERT(colo_parse_size("18446744073709551615", &size) == 0 && size == UINT64_MAX);
	CU_ASSERT_EQUAL(colo_parse_size("18446744073709551616", &size), -1);
	CU_ASSERT_EQUAL(colo_parse_size("", &size), -1);
	CU_ASSERT_EQUAL(colo_parse_size("k", &size), -1);
	CU_ASSERT_EQUAL(colo_parse_size("1 ", &size), -1);
	CU_ASSERT_EQUAL(colo_parse_size("-1", &size), -1);
	CU_ASSERT_EQUAL(colo_parse_size("1kb", &size), -1);
	CU_ASSERT_EQUAL(colo_parse_size("1x", &size), -1);
	accepted(PAIR, "--device-state-size 4096");
	accepted(PAIR, "--device-state-size 1G");
	refused(PAIR, "--device-state-size 0",
		"--device-state-size 0: a multiple of 4096 bytes from 4K to 1G");
	refused(PAIR, "--device-state-size 4095", "multiple of 4096");
	refused(PAIR, "--device-state-size 4097", "multiple of 4096");
	refused(PAIR, "--device-state-size 1048580k", "multiple of 4096");
}

static void
test_blocks(void)
{
	char line[8192], name[80];

	refused(SECONDARY, "--block b", "size is missing");
	refused(SECONDARY, "--block b,size=0", "multiple of 4096");
	refused(SECONDARY, "--block b,size=4095", "multiple of 4096");
	accepted(SECONDARY, "--block b,size=4096");
	refused(SECONDARY, "--block b,size=4097", "multiple of 4096");
	accepted(SECONDARY, "--block b,size=4T");
	refused(SECONDARY, "--block b,size=4398046515200", "from 4K to 4T");
	refused(SECONDARY, "--block ,size=4K", "--block: name ''");
	refused(SECONDARY, "--block b,size=4K,size=4K", "size is given twice");
	refused(SECONDARY, "--block b,size=4K,guest=/a,guest=/b", "guest is given twice");
	refused(SECONDARY, "--block b,size=4K,guest=", "guest=; accepted is a path of 1 to 4095");
	refused(SECONDARY, "--block b,size=4K,guest=/a,cache=/a", "two different files");
	refused(SECONDARY, "--block b,size=4K,colour=red",
		"--block b: there is no key colour; accepted are size, guest, cache");
	refused(SECONDARY, "--block b,size", "size=; accepted is a multiple");
	refused(SECONDARY, "--block pc.ram,size=4K", "given twice");
	refused(SECONDARY, "--block colo.device-state,size=4K", "reserved");
	refused(SECONDARY, "--block b,size=4K,guest=/a --block c,size=4K,cache=/a",
		"/a is also block b's");
	memset(name, 'n', sizeof(name));
	name[COLO_BLOCK_NAME_MAX] = '\0';
	snprintf(line, sizeof(line), "--block %s,size=4K", name);
	accepted(SECONDARY, line);
	name[COLO_BLOCK_NAME_MAX] = 'n';
	name[COLO_BLOCK_NAME_MAX + 1] = '\0';
	snprintf(line, sizeof(line), "--block %s,size=4K", name);
	refused(SECONDARY, line, "1 to 63 printable");
}

static void
test_too_many_blocks(void)
{
	char line[8192] = "";

	for (unsigned int i = 1; i < COLO_MAX_BLOCKS - 1; i++)
		sprintf(line + strlen(line), "--block b%u,size=4K ", i);
	accepted(SECONDARY, line);
	CU_ASSERT_EQUAL(config.n_blocks, COLO_MAX_BLOCKS - 1);
	strcat(line, "--block last,size=4K");
	refused(SECONDARY, line, "at most 31 blocks");
}

static void
test_extra_blocks(void)
{
	accepted(SECONDARY, "");
	CU_ASSERT_EQUAL(config.extra_blocks, 128 << 20);
	accepted(SECONDARY, "--extra-blocks 0");
	CU_ASSERT_EQUAL(config.extra_blocks, 0);
	accepted(SECONDARY, "--extra-blocks 4096");
	refused(SECONDARY, "--extra-blocks 4095", "a multiple of 4096 bytes from 0 to 64G");
	accepted(SECONDARY, "--extra-blocks 64G");
	refused(SECONDARY, "--extra-blocks 67108868K", "from 0 to 64G");
	refused(PAIR, "--extra-blocks 4096", "--role secondary only");
	/* what has no files cannot be recovered */
	accepted(JOURNALED, "");
	CU_ASSERT_EQUAL(config.extra_blocks, 0);
	accepted(JOURNALED, "--extra-blocks 0");
	refused(JOURNALED, "--extra-blocks 4096", "--extra-blocks is 0 with --journal");
	accepted(LOCKSTEP, "");
	CU_ASSERT_EQUAL(config.extra_blocks, 0);
	refused(LOCKSTEP, " --extra-blocks 4096", "--extra-blocks is 0 with --adapter lockstep");
}

static void
test_endpoints(void)
{
	struct colo_endpoint e;

	CU_ASSERT_EQUAL(colo_parse_endpoint("x", "[fe80::1]:65535", &e, &error), 0);
	CU_ASSERT_STRING_EQUAL(e.host, "fe80::1");
	CU_ASSERT_EQUAL(e.port, 65535);
	CU_ASSERT_EQUAL(colo_parse_endpoint("x", "0.0.0.0:1", &e, &error), 0);
	CU_ASSERT_EQUAL(e.port, 1);
	CU_ASSERT_EQUAL(colo_parse_endpoint("x", "0.0.0.0:0", &e, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_endpoint("x", "0.0.0.0:65536", &e, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_endpoint("x", "0.0.0.0", &e, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_endpoint("x", ":1", &e, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_endpoint("x", "[]:1", &e, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_endpoint("x", "fe80::1:1", &e, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_endpoint("x", "[1.2.3.4]:1", &e, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_endpoint("x", "localhost:1", &e, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_endpoint("x", "1.2.3.256:1", &e, &error), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "--x 1.2.3.256:1"));
	refused(PAIR, "--ip 1.2.3", "numeric IPv4 or IPv6");
	refused(PAIR, "--ip 0.0.0.0", "unicast");
	refused(PAIR, "--ip 224.0.0.0", "unicast");
	refused(PAIR, "--ip ::", "unicast");
	refused(PAIR, "--ip ff02::1", "unicast");
	accepted(PAIR, "--ip 223.255.255.255");
	accepted(PAIR, "--ip ::1");
	accepted(PAIR, "--ip 10.0.0.1");
}

static void
test_codecs(void)
{
	enum colo_codec codec;
	int level = 99;

	CU_ASSERT_EQUAL(colo_parse_codec("raw", &codec, &level, &error), 0);
	CU_ASSERT_EQUAL(codec, COLO_CODEC_RAW);
	CU_ASSERT_EQUAL(level, 99);
	CU_ASSERT(colo_parse_codec("zstd", &codec, &level, &error) == 0 && level == -1);
	CU_ASSERT_EQUAL(codec, COLO_CODEC_ZSTD);
	CU_ASSERT(colo_parse_codec("zstd:19", &codec, &level, &error) == 0 && level == 19);
	CU_ASSERT(colo_parse_codec("zstd:-7", &codec, &level, &error) == 0 && level == -7);
	CU_ASSERT_EQUAL(colo_parse_codec("zstd:20", &codec, &level, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_codec("zstd:-8", &codec, &level, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_codec("zstd:", &codec, &level, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_codec("zstd:-", &codec, &level, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_codec("zstd:1x", &codec, &level, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_codec("zstd:--1", &codec, &level, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_codec("zstdx", &codec, &level, &error), -1);
	CU_ASSERT_EQUAL(colo_parse_codec("", &codec, &level, &error), -1);
	refused(PAIR, "--codec lz4", "--codec lz4: raw, zstd or zstd:LEVEL");
}

static void
test_texts(void)
{
	char line[8192] = "--source synthetic,";

	refused(PAIR, "--source floppy", "name synthetic, qmp or colo");
	refused(PAIR, "--source syntheti", "name synthetic, qmp or colo");
	refused(PAIR, "--source synthetics", "name synthetic, qmp or colo");
	accepted(PAIR, "--source synthetic");
	memset(line + strlen(line), 'x', 1023 - strlen("synthetic,"));
	accepted(PAIR, line);
	strcat(line, "x");
	refused(PAIR, line, "1 to 1023 characters");
	refused(PAIR, "--json=", "1 to 4095 characters");
	refused(PAIR, "--idle lazy", "--idle lazy: spin or adaptive is accepted");
	refused(PAIR, "--steering x", "auto, rss, flow or paired is accepted");
	refused(PAIR, "--zero-copy yes", "off or on is accepted");
	refused(PAIR, "--fault drop=51", "--fault: drop=51; accepted is 0 to 50 percent");
	refused(PAIR, "--fault drop", "0 to 50");
	refused(PAIR, "--fault seed=-1", "accepted is a number");
	refused(PAIR, "--fault burn=1", "there is no key burn");
	accepted(PAIR, "--fault drop=50");
	refused(SECONDARY, "--standby tcp:/a", "unix:PATH");
	refused(SECONDARY, "--standby unix:", "unix:PATH");
	refused(SECONDARY, "--standby unix:/a,incoming", "incoming=; accepted is the path");
	refused(SECONDARY, "--standby unix:/a,incoming=/b,x=1", "there is no key x");
	accepted(SECONDARY, "--adapter standby,unix:/q,incoming=/i");
	accepted(LOCKSTEP, "");
	accepted(LOCKSTEP, ",answer=20");
	refused(LOCKSTEP, ",answer=19", "answer=19; accepted is 20 to 5000 milliseconds");
	accepted(LOCKSTEP, ",answer=5000");
	refused(LOCKSTEP, ",answer=5001", "20 to 5000");
	refused(LOCKSTEP, ",when=1", "there is no key when");
	refused(SECONDARY, "--adapter standby", "--standby : unix:PATH");
	refused(SECONDARY, "--adapter magic,unix:/q",
		"standby,unix:PATH[,incoming=PATH] or lockstep,");
	refused(SECONDARY, "--adapter lockstep", "are both needed");
	refused(SECONDARY, "--adapter lockstep,control=unix:/c", "are both needed");
	refused(SECONDARY, "--adapter lockstep,dirty-log=/l", "are both needed");
	refused(SECONDARY, "--adapter lockstep,control=/c,dirty-log=/l",
		"control=/c; accepted is unix:PATH");
	refused(SECONDARY, "--adapter lockstep,control=unix:,dirty-log=/l", "1 to 107");
	refused(LOCKSTEP, " --standby unix:/q", "one of them is accepted");
	refused(LOCKSTEP, " --journal /j", "--journal is not accepted with --adapter lockstep");
	refused(SECONDARY, "--block nofile,size=4K --adapter lockstep,control=unix:/c,dirty-log=/l",
		"needs guest=FILE for each --block");
	memset(line, 0, sizeof(line));
	strcpy(line, "--standby unix:/");
	memset(line + strlen(line), 'p', sizeof(((struct unix_path *)0)->path) - 2);
	accepted(SECONDARY, line);
	strcat(line, "p");
	refused(SECONDARY, line, "1 to 107 characters");
}

static void
test_roles(void)
{
	refused("", "", "--role is missing");
	refused("", "--role boss", "primary, secondary or pair");
	refused("", "--role none", "primary, secondary or pair");
	refused("", "--role primary --source synthetic", "needs --connect");
	refused("", "--role primary --connect 1.2.3.4:5", "needs --source");
	refused("", "--role pair", "needs --source");
	refused("", "--role secondary --block a,size=4K", "needs --listen");
	refused("", "--role secondary --listen 1.2.3.4:5", "at least one --block");
	refused(SECONDARY, "--source synthetic", "--source is accepted");
	refused(SECONDARY, "--connect 1.2.3.4:5", "--connect is accepted");
	refused(SECONDARY, "--epochs 1", "--epochs is accepted");
	refused(SECONDARY, "--on-peer-loss failover", "with --standby or --adapter only");
	refused(SECONDARY, "--interval 500", "--interval is accepted with --role primary or pair");
	refused(SECONDARY, "--codec raw", "--codec is accepted with --role primary or pair");
	refused(SECONDARY, "--verify", "--verify is accepted with --role primary or pair");
	refused(SECONDARY, "--precopy-threshold 1", "--precopy-threshold is accepted with");
	refused(SECONDARY, "--precopy-rounds 1", "--precopy-rounds is accepted with");
	refused(SECONDARY, "--reconnect 0", "--reconnect is accepted with --role primary");
	refused(SECONDARY, "--connect-timeout 0", "--connect-timeout is accepted with");
	refused(SECONDARY, "--rekey 1024", "--rekey is accepted with --role primary");
	refused(PRIMARY, "--on-peer-loss wait", "--on-peer-loss is accepted with --role secondary");
	refused(PAIR, "--on-peer-loss wait", "--on-peer-loss is accepted with --role secondary");
	accepted(PRIMARY, "--interval 500 --codec raw --verify --reconnect 0 --rekey 1024");
	accepted(SECONDARY, "--on-peer-loss wait");
	refused(PRIMARY, "--listen 1.2.3.4:5", "--listen is accepted");
	refused(PRIMARY, "--standby unix:/a", "--standby is accepted");
	refused(PRIMARY, "--adapter standby,unix:/a", "--adapter is accepted");
	refused(PAIR, "--adapter standby,unix:/a", "--adapter is accepted");
	refused(PAIR, "--listen 1.2.3.4:5", "--listen is accepted");
	refused(PAIR, "--connect 1.2.3.4:5", "--connect is accepted");
	refused(PAIR, "--standby unix:/a", "--standby is accepted");
	refused(PAIR, "-a", "with --interactive only");
	accepted("", "--role pair --source qmp,path=/x");
}

static void
test_getopt(void)
{
	refused(PAIR, "--colour", "--colour: no such option");
	refused(PAIR, "-x", "-x: no such option");
	refused(PAIR, "--channels", "--channels needs a value");
	refused(PAIR, "--verify=1", "takes no value");
	refused(PAIR, "stray", "stray: not an option");
	accepted(PAIR, "--channels 2"); /* after a refusal: getopt starts afresh */
	CU_ASSERT_EQUAL(config.channels, 2);
}

/** Standard output of parse(@p line) into @p text. */
static int
parse_to(const char *line, char *text, size_t size)
{
	FILE *file = tmpfile();
	int saved = dup(1), rc;
	size_t n;

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fflush(stdout);
	dup2(fileno(file), 1);
	rc = parse(line);
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	rewind(file);
	n = fread(text, 1, size - 1, file);
	text[n] = '\0';
	fclose(file);
	return rc;
}

static void
test_help(void)
{
	char text[16384], option[64];

	CU_ASSERT_EQUAL(parse_to("--help", text, sizeof(text)), 1);
	for (unsigned int i = 0; i < colo_n_options; i++) {
		if (colo_options[i].kind == OPTION_HEADING)
			continue;
		snprintf(option, sizeof(option), "--%s", colo_options[i].name);
		CU_ASSERT_PTR_NOT_NULL(strstr(text, option));
	}
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "1280 to 9000, default 4200"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "default made from the MAC"));
	CU_ASSERT_EQUAL(parse_to("--version", text, sizeof(text)), 1);
	CU_ASSERT_EQUAL(strncmp(text, "dpdk-colo " COLO_VERSION " (DPDK ", 17), 0);
}

static bool
early(const char *a, const char *b, const char *c)
{
	char *argv[] = {(char *)(uintptr_t) "dpdk-colo", (char *)(uintptr_t)a, (char *)(uintptr_t)b,
		(char *)(uintptr_t)c, NULL};
	int argc = 1, out = dup(1), null = open("/dev/null", O_WRONLY);
	bool printed;

	while (argv[argc] != NULL)
		argc++;
	fflush(stdout);
	dup2(null, 1);
	printed = colo_help_early(argc, argv);
	fflush(stdout);
	dup2(out, 1);
	close(out);
	close(null);
	return printed;
}

static void
test_early(void)
{
	CU_ASSERT_TRUE(early("--version", NULL, NULL));
	CU_ASSERT_TRUE(early("--no-pci", "--help", NULL));
	CU_ASSERT_TRUE(early("--no-pci", "--", "-h"));
	CU_ASSERT_TRUE(early("--", "--verify", "--version"));
	CU_ASSERT_FALSE(early("--help", "--", "--verify")); /* EAL's own */
	CU_ASSERT_FALSE(early("--no-pci", NULL, NULL));
	CU_ASSERT_FALSE(early(NULL, NULL, NULL));
}

static void
test_security(void)
{
	const char *primary = "--role primary --connect 1.2.3.4:5 --source synthetic ";
	const char *secondary = "--role secondary --listen 1.2.3.4:5 --block a,size=4K ";

	refused(primary, "", "--role primary needs --psk-file FILE");
	refused(secondary, "", "--role secondary needs --psk-file FILE");
	refused(secondary, "", "or --insecure");
	refused(secondary, "--insecure --psk-file /k", "exclude each other");
	refused(PAIR, "--insecure --psk-file /k", "exclude each other");
	refused(PAIR, "--psk-file=", "1 to 4095 characters");
	accepted(primary, "--psk-file /k");
	CU_ASSERT_STRING_EQUAL(config.psk_file, "/k");
	CU_ASSERT_FALSE(config.insecure);
	accepted(secondary, "--insecure");
	CU_ASSERT_TRUE(config.insecure);
	accepted(PAIR, "");
	accepted(PAIR, "--psk-file /k");
}

static void
test_print(void)
{
	char text[16384] = "";
	FILE *f = fmemopen(text, sizeof(text), "w");

	accepted(
		"--role secondary --psk-file /etc/key --listen [::1]:9 --block a,size=1G,guest=/g ",
		"--standby unix:/s");
	colo_config_print(&config, f);
	fclose(f);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "role                 secondary\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "listen               [::1]:9\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "connect              none\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "block                a,size=1G,guest=/g\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "codec                raw\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "window               auto\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "zero-copy            on\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "verify               off\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "standby              unix:/s\n"));
}

int
main(void)
{
	static const struct ut_case cases[] = {
		{"defaults", test_defaults},
		{"all options", test_all_options},
		{"numbers", test_numbers},
		{"powers of two", test_powers},
		{"sizes", test_sizes},
		{"blocks", test_blocks},
		{"too many blocks", test_too_many_blocks},
		{"extra blocks", test_extra_blocks},
		{"endpoints", test_endpoints},
		{"codecs", test_codecs},
		{"texts", test_texts},
		{"roles", test_roles},
		{"getopt", test_getopt},
		{"help", test_help},
		{"early", test_early},
		{"print", test_print},
		{"security", test_security},
	};

	return UT_RUN("config", cases);
}
