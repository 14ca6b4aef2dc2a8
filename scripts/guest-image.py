# SPDX-License-Identifier: BSD-3-Clause
"""Make the guest that counts, in the cache folder; print its kernel, initramfs and command line."""
import sys

import colo_env as env
import images


def main():
    env.ensure_packages(["gcc", "libc6-dev", "cpio"])
    env.become_root()
    kernel, initrd = images.guest_image()
    print(f"kernel {kernel}\ninitrd {initrd}\ncmdline {images.GUEST_CMDLINE}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except env.EnvError as why:
        env.fail(why)
