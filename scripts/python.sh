# SPDX-License-Identifier: BSD-3-Clause
# Sourced by the commands of this folder: runs COMMAND.py by Debian's own Python, whose packages
# they install; installs it first where there is none.
if [ ! -x /usr/bin/python3 ]; then
	SUDO=$([ "$(id -u)" -eq 0 ] || echo sudo)
	{ $SUDO apt-get update && $SUDO apt-get install -y --no-install-recommends python3; } >/dev/null || exit 1
fi
exec /usr/bin/python3 -B "$(readlink -f "$0").py" "$@"
