# SPDX-License-Identifier: BSD-3-Clause
"""The machine that the scripts and suites run on: packages, huge pages, locks, the build.

Only Python's own library is used here, so that it works before anything is installed.
"""
import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("DPDK_COLO_CACHE", "/var/cache/dpdk-colo"))
HUGE_PAGE = 2 << 20
MEMORY_LEFT = 256 << 20  # bytes that huge pages must leave to everything else
NR_HUGEPAGES = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
LEDGER = pathlib.Path("/run/dpdk-colo")

BUILD_PACKAGES = ["gcc", "libc6-dev", "pkg-config", "meson", "ninja-build", "libdpdk-dev",
                  "libzstd-dev", "zlib1g-dev", "libnuma-dev", "libssl-dev",
                  "libseccomp-dev", "libcunit1-dev"]
GUEST_PACKAGES = ["qemu-system-x86", "seabios", "cpio"]
TEST_PACKAGES = ["python3-pytest", "python3-pexpect", "python3-scapy", "busybox-static", "iproute2",
                 "procps", "debootstrap"]
CHECK_PACKAGES = ["git", "clang-format", "cppcheck", "binutils"]


class EnvError(Exception):
    """One sentence for the user: what is missing and what helps."""


def fail(text):
    """Say why, and end."""
    print(f"{pathlib.Path(sys.argv[0]).stem}: {text}", file=sys.stderr, flush=True)
    sys.exit(1)


def run(command, **kwargs):
    """Run quietly; on a failure show what the command printed."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **kwargs)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        raise EnvError(f"`{' '.join(str(c) for c in command)}` failed:\n{tail}")
    return done.stdout


def as_root(command):
    """The command, by sudo where we are not root."""
    if os.geteuid() == 0:
        return command
    if shutil.which("sudo") is None:
        raise EnvError("this needs root; run it as root or install sudo")
    return ["sudo"] + command


def become_root():
    """Start this program again by sudo, unless it is root already."""
    if os.geteuid() != 0:
        command = as_root(["--preserve-env=DPDK_COLO_CACHE", sys.executable] + sys.argv)
        os.execvp(command[0], command)


@contextlib.contextmanager
def lock(path):
    """One process at a time, parallel checkouts included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


# Packages

def missing_packages(names):
    """Those of the packages that are not installed."""
    text = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n"] + names,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=False).stdout
    there = {line.split()[0] for line in text.splitlines() if line.split()[1:2] == ["ii"]}
    return [n for n in names if n not in there]


def apt_lists_empty():
    lists = pathlib.Path("/var/lib/apt/lists")
    return not any("_Packages" in p.name for p in lists.glob("*"))


def apt_update():
    run(as_root(["apt-get", "-o", "DPkg::Lock::Timeout=300", "update"]))


def ensure_packages(names):
    """Install what is missing, and nothing if nothing is."""
    missing = missing_packages(names)
    if not missing:
        return
    print(f"installing by apt: {' '.join(missing)}", flush=True)
    install = as_root(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
                       "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"] + missing)
    if apt_lists_empty():
        apt_update()
    try:
        run(install)
    except EnvError:  # lists may be older than the archive
        apt_update()
        run(install)


# Huge pages: every run adds what it needs and takes exactly that away again. The ledger has one
# file a process, so that what a killed run left is given back by the next one.

def _process_start(pid):
    """When the process was started, in clock ticks since boot; None if there is none."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rsplit(")", 1)[1].split()[19]


def _add_hugepages(count):
    """Change the kernel's number by this many; @return what it changed by."""
    before = int(NR_HUGEPAGES.read_text(encoding="ascii"))
    NR_HUGEPAGES.write_text(str(max(0, before + count)), encoding="ascii")
    return int(NR_HUGEPAGES.read_text(encoding="ascii")) - before


def _memory_available():
    text = pathlib.Path("/proc/meminfo").read_text("ascii")
    return int(text.split("MemAvailable:")[1].split()[0]) * 1024


def _give_back_of_the_dead():
    for entry in LEDGER.glob("hugepages.*"):
        fields = entry.read_text(encoding="ascii").split()
        if len(fields) == 4 and _process_start(fields[0]) != fields[1]:
            _unmount(pathlib.Path(fields[3]))
            _add_hugepages(-int(fields[2]))
            entry.unlink()


def _unmount(path):
    subprocess.run(["umount", "-l", path], check=False, stderr=subprocess.DEVNULL)
    with contextlib.suppress(FileNotFoundError):
        path.rmdir()


class Hugepages:
    """Huge pages of our own and a hugetlbfs of our own (mount), both gone after close()."""

    def __init__(self, mib):
        self.count = (mib + 1) // 2
        self.entry = None
        if not NR_HUGEPAGES.exists():
            raise EnvError("this kernel has no 2 MiB huge pages; they are needed")
        with lock(LEDGER / "lock"):
            _give_back_of_the_dead()
            self._reserve()
            self._enter_in_ledger()
        try:
            run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "dpdk-colo", self.mount])
        except EnvError:
            self.close()
            raise

    def _reserve(self):
        # the kernel would take memory from everyone else to come as near as it can
        possible = self.count * HUGE_PAGE <= _memory_available() - MEMORY_LEFT
        got = _add_hugepages(self.count) if possible else 0
        if got < self.count:
            _add_hugepages(-got)
            raise EnvError(f"only {got} of {self.count} huge pages of 2 MiB could be reserved; free "
                           f"{self.count * 2} MiB of memory, or boot with hugepages={self.count}")

    def _enter_in_ledger(self):
        self.mount = pathlib.Path(tempfile.mkdtemp(prefix="huge.", dir=LEDGER))
        fd, name = tempfile.mkstemp(prefix="hugepages.", dir=LEDGER)
        with os.fdopen(fd, "w") as f:
            f.write(f"{os.getpid()} {_process_start(os.getpid())} {self.count} {self.mount}")
        self.entry = pathlib.Path(name)

    def close(self):
        """Give everything back. Nothing may map the mount's files any more. Safe to call twice."""
        if self.entry is None:
            return
        _unmount(self.mount)
        with lock(LEDGER / "lock"):
            _add_hugepages(-self.count)
            self.entry.unlink()
        self.entry = None


# Build

def build(directory="build", options=(), targets=(), environment=None):
    """Configure if needed, compile the targets or everything. @return the build folder.

    @p environment: of the first configuration, for example another compiler (CC).
    """
    path = ROOT / directory
    with lock(ROOT / ".build-lock"):
        if not (path / "build.ninja").exists():
            run(["meson", "setup", path, ROOT] + list(options),
                env={**os.environ, **(environment or {})})
        run(["ninja", "-C", path, *targets])
    return path


def program(directory="build"):
    return ROOT / directory / "app" / "dpdk-colo"
