# SPDX-License-Identifier: BSD-3-Clause
"""The documentation against what it describes. Exit status 0 if they agree.

README.md's table of options must be what `dpdk-colo --help` says; every file that the documentation
names must exist; docs/architecture.md must mention every .c file of lib/ and app/; docs/telemetry.md
every counter. --write brings the table of options up to date.
"""
import argparse
import re
import sys

import colo_env as env

BEGIN, END = "<!-- options: scripts/check-docs --write makes this table -->", "<!-- options end -->"
HEADING = re.compile(r"^(\S.*):$")
OPTION = re.compile(r"^  (?:-(\w), )?--([\w-]+)(?: (.+))?$")
WORDS = re.compile(r"^        (.+?)(?: \(([^()]*)\))?$")
# a path in backquotes, or in brackets of a link; lib/x/{a,b}.c stands for two
PATH = re.compile(r"`((?:lib|app|scripts|tests|dts|docs|drivers-config)/[\w./{},-]*)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
COUNTER = re.compile(r"^\tX\((\w+), \"", re.M)


def documents():
    return sorted([env.ROOT / "README.md", env.ROOT / "CONTRIBUTING.md",
                   *(env.ROOT / "docs").glob("*.md"), *(env.ROOT / "drivers-config").glob("*.md")])


def table_of(help_text):
    """--help as rows of a table. Its form is the program's: app/help.c."""
    rows = ["| option | value | range, default | meaning |", "|---|---|---|---|"]
    pending = None
    for line in help_text.splitlines():
        heading, option, words = HEADING.match(line), OPTION.match(line), WORDS.match(line)
        if heading:
            rows.append(f"| **{heading.group(1)}** | | | |")
        elif option:
            pending = option
        elif words and pending:
            letter, name, value = pending.groups()
            names = (f"`-{letter}`, " if letter else "") + f"`--{name}`"
            value = "`" + value.replace("|", "\\|") + "`" if value else ""
            rows.append(f"| {names} | {value} | {words.group(2) or ''} | {words.group(1)} |")
            pending = None
    return "\n".join(rows)


def split_readme():
    """(before, table, after) of README.md."""
    text = (env.ROOT / "README.md").read_text("utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise env.EnvError(f"README.md: the lines {BEGIN} and {END} must be there once")
    before, rest = text.split(BEGIN)
    table, after = rest.split(END)
    return before, table.strip(), after


def check_options(build):
    wanted = table_of(env.run([build / "app" / "dpdk-colo", "--help"]))
    if len(wanted.splitlines()) < 10:
        return ["--help was not understood: scripts/check-docs.py and app/help.c must fit"]
    have = split_readme()[1]
    if have == wanted:
        return []
    lines = set(have.splitlines()) ^ set(wanted.splitlines())
    return ["README.md: the table of options differs from --help; scripts/check-docs --write mends it"
            ] + [f"  {line}" for line in sorted(lines)]


def write_options(build):
    before, _, after = split_readme()
    table = table_of(env.run([build / "app" / "dpdk-colo", "--help"]))
    (env.ROOT / "README.md").write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", "utf-8")


def expand(path):
    """lib/x/{a,b}.c -> lib/x/a.c, lib/x/b.c."""
    found = re.match(r"(.*)\{([^}]*)\}(.*)$", path)
    return [found.group(1) + name + found.group(3) for name in found.group(2).split(",")] \
        if found else [path]


def named_files(document):
    """Paths from the top of the tree that a document names."""
    text = document.read_text("utf-8")
    names = [name for path in PATH.findall(text) for name in expand(path)]
    for target in LINK.findall(text):
        names.append(str((document.parent / target).resolve().relative_to(env.ROOT)))
    return names


def check_files(_):
    problems = []
    for document in documents():
        for name in named_files(document):
            if not (env.ROOT / name).exists():
                problems.append(f"{document.relative_to(env.ROOT)}: there is no {name}")
    return problems


def check_architecture(_):
    named = set(named_files(env.ROOT / "docs" / "architecture.md"))
    sources = [str(p.relative_to(env.ROOT)) for folder in ("lib", "app")
               for p in sorted((env.ROOT / folder).rglob("*.c"))]
    return [f"docs/architecture.md does not mention {name}" for name in sources if name not in named]


def check_counters(_):
    text = (env.ROOT / "docs" / "telemetry.md").read_text("utf-8")
    counters = []
    for header in ("lib/channel/counters.h", "lib/session/session.h"):
        found = COUNTER.findall((env.ROOT / header).read_text("utf-8"))
        if not found:
            return [f"{header} was not understood"]
        counters += found
    listed = set(re.findall(r"^\| `(\w+)` \|", text, re.M))
    return [f"docs/telemetry.md does not list the counter {name}" for name in counters
            if name not in listed]


CHECKS = [check_options, check_files, check_architecture, check_counters]


def problems_of(build):
    """What scripts/check asks as well."""
    return [line for check in CHECKS for line in check(build)]


def main():
    parser = argparse.ArgumentParser(prog="scripts/check-docs", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="bring README.md's table up to date")
    args = parser.parse_args()
    env.ensure_packages(env.BUILD_PACKAGES)
    build = env.build()
    if args.write:
        write_options(build)
    problems = problems_of(build)
    print("\n".join(problems) if problems else "docs: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except env.EnvError as why:
        env.fail(why)
