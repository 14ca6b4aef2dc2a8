# SPDX-License-Identifier: BSD-3-Clause
"""Format, licence headers, static checks, the rule of the poll cores, and the documents.

Exit status 0 if clean.
"""
import argparse
import os
import re
import subprocess
import sys

import colo_env as env
import poll_core_rule

NO_HEADER = re.compile(r"(LICENSE|(seed|grown|found)_\w+|.*\.(md|json|patch|png|svg|zst)|\.git\w+|\.clang-format|\.editorconfig)$")


def tracked_files():
    text = env.run(["git", "-c", f"safe.directory={env.ROOT}", "ls-files", "-co",
                    "--exclude-standard"], cwd=env.ROOT)
    return [name for name in text.splitlines() if (env.ROOT / name).is_file()]


def first_lines(name, count=2):
    with open(env.ROOT / name, encoding="utf-8", errors="replace") as f:
        return [f.readline() for _ in range(count)]


def is_python(name):
    return name.endswith(".py") or re.match(r"#!.*python3", first_lines(name)[0]) is not None


def is_shell(name):
    return name.endswith(".sh") or re.match(r"#!.*\b(ba)?sh$", first_lines(name)[0]) is not None


def check_headers(files):
    """The licence in the first line, or the second one after a #! line."""
    return [f"{name}: no SPDX-License-Identifier: BSD-3-Clause in its first line"
            for name in files if not NO_HEADER.match(os.path.basename(name))
            and "SPDX-License-Identifier: BSD-3-Clause" not in "".join(first_lines(name))]


def check_conflicts(files):
    """No half-merged file."""
    marker = re.compile(rb"^(<{7}|>{7}) ", re.M)
    return [f"{name}: has a conflict marker" for name in files
            if marker.search((env.ROOT / name).read_bytes())]


def check_format(files):
    sources = [n for n in files if n.endswith((".c", ".h"))]
    done = subprocess.run(["clang-format", "--dry-run", "-Werror"] + sources, cwd=env.ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    bad = sorted({line.split(":")[0] for line in done.stdout.splitlines() if "error:" in line})
    return [f"{name}: run `clang-format -i {name}`" for name in bad] if done.returncode else []


def check_scripts(files):
    """Python compiles, shell parses."""
    problems = []
    for name in files:
        if is_python(name):
            try:
                compile((env.ROOT / name).read_bytes(), name, "exec")
            except SyntaxError as why:
                problems.append(f"{name}:{why.lineno}: {why.msg}")
        elif is_shell(name):
            done = subprocess.run(["bash", "-n", name], cwd=env.ROOT, stderr=subprocess.PIPE,
                                  text=True, check=False)
            problems += done.stderr.splitlines()
    return problems


def check_static(files):
    """cppcheck over all C files but the tests, which break rules on purpose."""
    folders = sorted({os.path.dirname(n) for n in files if n.endswith(".h")})
    command = ["cppcheck", "--quiet", "--enable=warning,portability", "--inline-suppr",
               "--std=c11", "--error-exitcode=1", "--template={file}:{line}: {id}: {message}",
               "--suppress=missingInclude", "--suppress=unknownMacro", "--suppress=*:/usr/include/*",
               "--suppress=arrayIndexOutOfBoundsCond",  # does not see what strspn() returns
               "-j", str(os.cpu_count()), "-D__x86_64__", "-D_GNU_SOURCE",
               "-DCOLO_VERSION=\"0\""] + [f"-I{f}" for f in folders]
    sources = [n for n in files if n.endswith(".c") and not n.startswith("tests/")]
    done = subprocess.run(command + sources, cwd=env.ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.splitlines() if done.returncode else []


def check_poll_cores(_):
    rules = poll_core_rule.Rules((env.ROOT / "scripts" / "poll-core-files").read_text("utf-8"))
    objects = poll_core_rule.objects_of_build(env.build())
    return poll_core_rule.check(objects, rules)


def check_docs(_):
    """README's options against --help, the other documents against the tree."""
    done = subprocess.run([sys.executable, "-B", env.ROOT / "scripts" / "check-docs.py"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.splitlines() if done.returncode else []


CHECKS = {"headers": check_headers, "conflicts": check_conflicts, "format": check_format, "scripts": check_scripts,
          "static": check_static, "poll-cores": check_poll_cores,
          "docs": check_docs}


def main():
    parser = argparse.ArgumentParser(prog="scripts/check", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CHECK",
                        help=f"only these: {' '.join(CHECKS)} (default: all)")
    names = parser.parse_args().names or list(CHECKS)
    for name in names:
        if name not in CHECKS:
            env.fail(f"no check is called {name}; there are {', '.join(CHECKS)}")
    env.ensure_packages(env.BUILD_PACKAGES + env.CHECK_PACKAGES)
    files = tracked_files()
    bad = 0
    for name in names:
        problems = CHECKS[name](files)
        bad += bool(problems)
        print(f"{name}: {'ok' if not problems else f'{len(problems)} found'}", flush=True)
        for line in problems:
            print(f"  {line}")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except env.EnvError as why:
        env.fail(why)
