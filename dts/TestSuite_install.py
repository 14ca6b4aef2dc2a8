# SPDX-License-Identifier: BSD-3-Clause
"""What `meson install` leaves behind is enough for a program of somebody else's."""
import os
import subprocess

import colo_env as env

PROGRAM = """
#include <stdio.h>
#include <page.h>
#include <wire.h>

int main(void)
{
	colo_page_init("portable");
	printf("%s %u %zu\\n", colo_page.name, colo_part_size(1500, COLO_IPV4_UDP_LEN, true),
		sizeof(struct colo_header));
	return 0;
}
"""


def output(command, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_library_headers_and_pkg_config(tmp_path):
    """Step: install to a folder, compile and run a program by its pkg-config file.

    Verify: the program knows the frames; the installed dpdk-colo says its version.
    """
    output(["meson", "install", "-C", str(env.ROOT / "build"), "--no-rebuild", "--destdir",
            str(tmp_path)])
    [pc] = tmp_path.rglob("dpdk-colo.pc")
    prefix = pc.parents[3]
    text = pc.read_text(encoding="utf-8").splitlines()
    pc.write_text("\n".join([f"prefix={prefix}"] + text[1:]) + "\n", encoding="utf-8")
    source = tmp_path / "program.c"
    source.write_text(PROGRAM, encoding="utf-8")
    environment = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent))
    flags = output(["pkg-config", "--cflags", "--libs", "dpdk-colo"], env=environment).split()
    output(["cc", str(source), "-o", str(tmp_path / "program"), *flags])
    assert output([str(tmp_path / "program")]) == "portable 1408 32\n"
    assert output([str(prefix / "bin" / "dpdk-colo"), "--version"]).startswith("dpdk-colo 0.1")
