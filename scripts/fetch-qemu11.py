# SPDX-License-Identifier: BSD-3-Clause
"""Put QEMU 11 into the cache folder (410 MB, about a minute); print the wrapper that runs it."""
import sys

import colo_env as env
import images


def main():
    env.become_root()
    print(images.qemu11())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except env.EnvError as why:
        env.fail(why)
