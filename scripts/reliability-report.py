# SPDX-License-Identifier: BSD-3-Clause
"""Print what the tests did to the program, in figures: the table of docs/reliability.md.

Without --from it runs them: simulation, mutations, fuzz targets and the suites about loss, death and
hostility. Exit status 1 if anything failed, or was not run.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import colo_env as env
import mutate

PAGE = env.ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: scripts/reliability-report --write -->", "<!-- end of the figures -->"
SUITES = [name for name in ("crash", "lossy", "resume", "hostile", "peer_loss", "takeover", "endpoint_loss",
                            "lockstep", "session")
          if (env.ROOT / "dts" / f"TestSuite_{name}.py").exists()]
# what the simulation counts (tests/sim/sim.h) that is a death, or a fault, of its own
SIM_KILLS = {"kills_primary": "primary", "kills_secondary": "secondary"}
SIM_KILLS_WITHIN = {"kills_inside": "in the middle of a turn", "kills_flush": "in the middle of a flush"}
SIM_FORGED = {"replayed": "old ones sent again", "forged": "garbage, or a CRC that does not fit",
              "forged_well": "a CRC that fits, one field wrong",
              "poisoned": "other contents and a CRC that fits"}
# what TestSuite_crash calls the places where its secondary dies, and suites who dies anywhere
PLACES = {"start": "secondary, at its start", "first_copy": "secondary, in precopy",
          "recover": "secondary, while it recovers", "flush": "secondary, in a flush",
          "receive": "secondary, in a checkpoint", "idle": "secondary, between checkpoints",
          "primary": "primary, at random", "secondary": "secondary, at random",
          "guest": "guest, at random", "hypervisor": "hypervisor, at random"}
SIM_FAULTS = ["lost", "duplicated", "flipped", "late", "overflowed", "cuts", "tcp_cuts", "tcp_resets",
              "rogues", "ambushes", "stalls", "freezes", "driver_stalls", "droughts", "hypervisors",
              "operator", "source_failures"]


class Results:
    """What one run of scripts/test left in its --results folder."""

    def __init__(self, folder):
        self.missing = []
        self.total = self._json(folder, "total.json")
        self.simulation = self._json(folder, "simulation.json")
        self.mutations = self._json(folder, "mutations.json")
        self.fuzz = self._json(folder, "fuzz.json")
        self.sums = collections.defaultdict(collections.Counter)  # kind -> {name: sum}
        for name in SUITES:
            self._suite(folder / f"TestSuite_{name}.xml")

    def _json(self, folder, name):
        try:
            return json.loads((folder / name).read_text("utf-8"))
        except (OSError, ValueError):
            self.missing.append(name)
            return {}

    def _suite(self, path):
        """Properties of the tests that passed: `kind.name` and a number."""
        try:
            root = xml.etree.ElementTree.parse(path).getroot()
        except (OSError, xml.etree.ElementTree.ParseError):
            self.missing.append(path.name)
            return
        for case in root.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                continue
            for entry in case.iter("property"):
                kind, _, name = entry.get("name", "").partition(".")
                if entry.get("value", "").isdigit():
                    self.sums[kind][name or kind] += int(entry.get("value"))

    def simulated(self, name):
        return self.simulation.get("counts", {}).get(name, {}).get("value", 0)

    def words(self, name):
        return self.simulation.get("counts", {}).get(name, {}).get("what", name)

    def failed(self):
        """Of the whole run: a seed, a mutation that survived, a crash is a test that failed."""
        return self.total.get("failed", 0)


def number(n):
    return f"{n:,}"


def table(heads, rows):
    """Markdown, numbers to the right."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * (len(heads) - 1) + "---:|"]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def overview(r):
    broken = r.failed()
    return table(["", "figure"], [
        ("seeds simulated", number(r.simulation.get("seeds", 0))),
        ("epochs committed, simulated", number(r.simulated("commits"))),
        ("sessions, simulated", number(r.simulated("sessions"))),
        ("... resumed without a full copy", number(r.simulated("resumed"))),
        ("... by TLS, with sealed frames", number(r.simulated("secured"))),
        ("epochs committed, real processes", number(r.sums["epochs"]["committed"])),
        ("takeovers, real processes", number(r.sums["takeovers"]["takeovers"])),
        ("inputs of the fuzz targets", number(r.fuzz.get("executions", 0))),
        ("mutations caught", f"{len(r.mutations.get('caught', []))} of "
                             f"{sum(len(r.mutations.get(k, [])) for k in ('caught', 'survived', 'failed'))}"),
        ("tests passed", number(r.total.get("passed", 0))),
        ("**invariants broken, tests failed, crashes**", f"**{number(broken)}**")])


def named(counter, words=None):
    """Rows of names and numbers; two names that mean the same are one row."""
    sums = collections.Counter()
    for name, n in counter.items():
        sums[(words or {}).get(name, name)] += n
    return [(name, number(n)) for name, n in sorted(sums.items()) if n]


def kills(r):
    rows = [("simulated", what, number(r.simulated(name))) for name, what in SIM_KILLS.items()]
    rows += [("simulated", f"... {what}", number(r.simulated(name)))
             for name, what in SIM_KILLS_WITHIN.items()]
    rows += [("SIGKILL", *row) for row in named(r.sums["kills"], PLACES)]
    rows += [("SIGSTOP", *row) for row in named(r.sums["hangs"], PLACES)]
    return table(["how", "who and where", "survived"], rows)


def faults(r):
    rows = [("simulated", r.words(name), number(r.simulated(name))) for name in SIM_FAULTS]
    return table(["where", "fault", "injected"], rows + [("real", *row) for row in named(r.sums["faults"])])


def forged(r):
    rows = [("simulated", what, number(r.simulated(name))) for name, what in SIM_FORGED.items()]
    rows += [("real frames", name.replace("_", " "), n) for name, n in named(r.sums["forged"])]
    rows += [("real callers", *row) for row in named(r.sums["callers"])]
    return table(["where", "kind", "sent"], rows)


def fuzzed(r):
    return table(["target", "executions"],
                 [(row["target"], number(row["executions"])) for row in r.fuzz.get("targets", [])])


def mutated(r):
    of = {m.name: m.invariant for m in mutate.load()}
    caught = collections.Counter(of.get(name) for name in r.mutations.get("caught", []))
    all_of = collections.Counter(of.values())
    return table(["invariant broken on purpose", "mutations caught"],
                 [(f"{n} {name}", f"{caught[n]} of {all_of[n]}") for n, name in mutate.INVARIANTS.items()])


def render(r):
    """All of it, as it stands in the page."""
    parts = [("", overview), ("Kills survived, by place", kills), ("Faults injected, by kind", faults),
             ("Frames and callers forged, by kind", forged), ("Fuzz targets", fuzzed),
             ("Mutations", mutated)]
    lines = []
    for title, part in parts:
        lines += ([f"### {title}", ""] if title else []) + part(r) + [""]
    return "\n".join(lines).rstrip() + "\n"


def write(text):
    """Between the marks of docs/reliability.md."""
    page = PAGE.read_text("utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise env.EnvError(f"{PAGE.name}: the marks for the figures are missing")
    PAGE.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", "utf-8")


def run_tests(folder):
    """The parts and suites that the figures come from."""
    names = ["simulation", "mutations", "fuzz"] + SUITES
    command = [env.ROOT / "scripts" / "test", "--results", folder]
    for name in names:
        command += ["--suite", name]
    subprocess.run([str(word) for word in command], check=False, stdout=sys.stderr)


def main():
    parser = argparse.ArgumentParser(prog="scripts/reliability-report", description=__doc__)
    parser.add_argument("--from", dest="folder", metavar="DIR", type=pathlib.Path,
                        help="run nothing: read what `scripts/test --results DIR` left there")
    parser.add_argument("--write", action="store_true", help="put it into docs/reliability.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dpdk-colo-results.") as scratch:
        folder = args.folder or pathlib.Path(scratch)
        if not folder.is_dir():
            env.fail(f"{folder}: there is no such folder")
        if not args.folder:
            run_tests(folder)
        results = Results(folder)
    text = render(results)
    print(text, end="")
    for name in results.missing:
        print(f"reliability-report: {name} is missing: it was not run", file=sys.stderr)
    good = not results.missing and results.failed() == 0
    if not good:
        print(f"reliability-report: {results.failed()} failed, {len(results.missing)} not run"
              + ("; nothing is written" if args.write else ""), file=sys.stderr)
    elif args.write:
        write(text)
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except env.EnvError as why:
        env.fail(why)
    except KeyboardInterrupt:
        sys.exit(130)
