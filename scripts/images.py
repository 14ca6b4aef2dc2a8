# SPDX-License-Identifier: BSD-3-Clause
"""What the scripts boot, kept in the cache folder: kernels, initramfs, QEMU 11.

Each function makes its thing once, under a lock, and returns where it is.
"""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import colo_env as env

QEMU11_SUITE = "sid"
GUEST_CMDLINE = ("console=ttyS0 quiet mitigations=off nokaslr no_timer_check tsc=reliable "
                 "nowatchdog audit=0 random.trust_cpu=on")


def _scratch():
    env.CACHE.mkdir(parents=True, exist_ok=True)
    return pathlib.Path(tempfile.mkdtemp(prefix="tmp.", dir=env.CACHE))


def _kernel_package(meta):
    """The package that holds the kernel that the meta package stands for."""
    if env.apt_lists_empty():
        env.apt_update()
    text = env.run(["apt-cache", "depends", meta])
    found = re.search(r"Depends: (linux-image-[0-9]\S+)", text)
    if found is None:
        raise env.EnvError(f"apt knows no kernel for {meta}; run `apt-get update`")
    return found.group(1)


def _unpack_package(package, where):
    """Download a package and unpack it, without installing it."""
    scratch = _scratch()
    try:
        download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", package]
        try:
            env.run(download, cwd=scratch)
        except env.EnvError:  # lists may be older than the archive
            env.apt_update()
            env.run(download, cwd=scratch)
        env.run(["dpkg-deb", "-x", next(scratch.glob("*.deb")), scratch / "x"])
        os.rename(scratch / "x", where)
    finally:
        shutil.rmtree(scratch)


def kernel(meta="linux-image-cloud-amd64"):
    """@return (vmlinuz, folder of the kernel's modules)."""
    where = env.CACHE / meta
    with env.lock(env.CACHE / "lock"):
        if not where.exists():
            _unpack_package(_kernel_package(meta), where)
    return next(where.glob("boot/vmlinuz-*")), next(where.glob("lib/modules/*"))


def pack_initramfs(tree, target):
    """Make a gzipped initramfs of a folder."""
    packed = target.with_suffix(f".{os.getpid()}")
    command = f"find . | cpio --quiet -o -H newc -R 0:0 | gzip -1 > '{packed}'"
    env.run(["sh", "-c", command], cwd=tree)
    os.rename(packed, target)


def guest_image():
    """The guest that counts: its /init is compiled from guest/counter.c. @return (kernel, initrd)."""
    vmlinuz, _ = kernel()
    source = env.ROOT / "scripts" / "guest" / "counter.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    initrd = env.CACHE / f"counter-{digest}.gz"
    with env.lock(env.CACHE / "lock"):
        if not initrd.exists():
            tree = _scratch()
            try:
                env.run(["gcc", "-O2", "-static", "-s", "-o", tree / "init", source])
                pack_initramfs(tree, initrd)
            finally:
                shutil.rmtree(tree)
    return vmlinuz, initrd


def tiny_guest():
    """The guest that needs no kernel, guest/tiny.c. @return the image for -kernel."""
    source = env.ROOT / "scripts" / "guest" / "tiny.c"
    script = source.with_suffix(".ld")
    digest = hashlib.sha256(source.read_bytes() + script.read_bytes()).hexdigest()[:16]
    image = env.CACHE / f"tiny-{digest}.bin"
    with env.lock(env.CACHE / "lock"):
        if not image.exists():
            packed = image.with_suffix(f".{os.getpid()}")
            env.run(["gcc", "-m64", "-O2", "-ffreestanding", "-fno-pic", "-fno-stack-protector",
                     "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-mno-red-zone",
                     "-mgeneral-regs-only", "-nostdlib", "-static", f"-Wl,-T,{script}",
                     "-Wl,--build-id=none", "-Wl,--oformat,binary", "-o", packed, source])
            os.rename(packed, image)
    return image


# The guest that owns an emulated NIC: DPDK's igb driver, the libraries of the program, no disk.

PMD_FOLDER = "dpdk/pmds-*"
NIC_PMDS = ["bus_pci", "bus_vdev", "mempool_ring", "net_e1000"]
NIC_MODULES = ["net/ethernet/intel/e1000/e1000.ko", "uio/uio.ko", "uio/uio_pci_generic.ko"]


def _pmds():
    """The drivers' files; only those with the whole version in their name are loaded by EAL."""
    libdir = env.run(["pkg-config", "--variable=libdir", "libdpdk"]).strip()
    folder = next(pathlib.Path(libdir).glob(PMD_FOLDER))
    return [next(folder.glob(f"librte_{name}.so.*.*")) for name in NIC_PMDS]


def _libraries(binaries):
    """Every library that they need, by the paths under which they are looked for."""
    text = "".join(env.run(["ldd", binary]) for binary in binaries)
    paths = set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", text, re.M))
    # glibc loads this one by itself when a thread is cancelled
    libgcc = next(path for path in paths if "/libc.so" in path).replace("libc.so.6", "libgcc_s.so.1")
    return sorted(paths | {libgcc})


def _copy_in(tree, path, source=None):
    target = tree / str(path).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source or path, target)


def _link_in(tree, path):
    """One file and a link to it, as on the host: EAL must not find a driver in two files."""
    real = os.path.realpath(path)
    _copy_in(tree, real)
    link = tree / str(path).lstrip("/")
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(real)


def nic_guest(program, target):
    """Make the initramfs of the NIC guest with a program in it as /bin/program. @return the kernel."""
    vmlinuz, modules = kernel("linux-image-amd64")
    pmds = _pmds()
    tree = _scratch()
    try:
        for folder in ("proc", "sys", "dev", "tmp", "modules"):
            (tree / folder).mkdir()
        _copy_in(tree, "/bin/busybox", shutil.which("busybox"))
        _copy_in(tree, "/init", env.ROOT / "scripts" / "guest" / "nic-init")
        (tree / "init").chmod(0o755)
        for name in NIC_MODULES:
            _copy_in(tree, f"/modules/{pathlib.Path(name).name}",
                     modules / "kernel" / "drivers" / name)
        _copy_in(tree, "/bin/program", program)
        for path in pmds + _libraries([program] + pmds):
            _link_in(tree, path)
        pack_initramfs(tree, target)
    finally:
        shutil.rmtree(tree)
    return vmlinuz


# QEMU 11: a Debian suite that has it, unpacked beside the host, run by its own loader.

WRAPPER = """#!/bin/sh
# QEMU 11 with its own libraries; the host is untouched.
D='{root}'
exec env QEMU_MODULE_DIR="$D/no-modules" "$D/usr/lib64/ld-linux-x86-64.so.2" \\
  --library-path "$D/usr/lib/x86_64-linux-gnu" "$D/usr/bin/qemu-system-x86_64" \\
  -L "$D/usr/share/qemu" -L "$D/usr/share/seabios" -L "$D/usr/lib/ipxe/qemu" "$@"
"""


def _install_qemu11(where):
    scratch = _scratch()
    root = scratch / "root"
    try:
        env.run(["debootstrap", "--variant=minbase",
                 "--include=qemu-system-x86,seabios,ipxe-qemu", QEMU11_SUITE, root])
        shutil.rmtree(root / "var" / "cache" / "apt", ignore_errors=True)
        (root / "no-modules").mkdir()
        os.rename(root, where)
    finally:
        for mounted in ("proc", "sys"):
            subprocess.run(["umount", "-l", root / mounted], check=False,
                           stderr=subprocess.DEVNULL)
        shutil.rmtree(scratch)


def qemu11(fetch=True):
    """@return the wrapper script, or None if it is not there and must not be fetched."""
    wrapper = env.CACHE / "qemu-system-x86_64-11"
    with env.lock(env.CACHE / "lock-qemu11"):
        where = env.CACHE / "qemu11"
        if not where.exists():
            if not fetch:
                return None
            env.ensure_packages(["debootstrap"])
            _install_qemu11(where)
        new = wrapper.with_suffix(f".{os.getpid()}")
        new.write_text(WRAPPER.format(root=where), encoding="ascii")
        new.chmod(0o755)
        os.rename(new, wrapper)
    return wrapper
