# SPDX-License-Identifier: BSD-3-Clause
"""The tree passes scripts/check; and the rule of the poll cores finds what it must find.

For that, small C files are compiled and checked by scripts/poll_core_rule.py.
"""
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))
import poll_core_rule  # noqa: E402

CHECK = pathlib.Path(__file__).resolve().parent.parent / "scripts" / "check"
CLEAN = "int add(int a, int b); int turn(int a) { return add(a, 1); }"
DIRECT = "#include <stdlib.h>\nvoid *turn(void) { return malloc(7); }"
INDIRECT = "void helper(void); void turn(void) { helper(); }"
HELPER_LOCKS = ("#include <pthread.h>\npthread_mutex_t m; void helper(void) "
                "{ pthread_mutex_lock(&m); } int add(int a, int b) { return a + b; }")
STATIC = ("#include <stdio.h>\nstatic void __attribute__((noinline)) say(int n) "
          "{ printf(\"%d\", n); } void turn(int n) { if (n > 7) say(n); }")
POINTER = ("#include <unistd.h>\nstatic void quiet(void) { sleep(1); }\n"
           "void (*turn(void))(void) { return quiet; }")
IDLE = "#include <sched.h>\nvoid turn(void) { sched_yield(); }"


@pytest.mark.parametrize("name", ["headers", "conflicts", "format", "scripts", "static", "poll-cores"])
def test_tree(name):
    """Step: scripts/check on the whole tree. Verify: clean."""
    done = subprocess.run([CHECK, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout


def problems(tmp_path, sources, rules="root lib/poll"):
    """Compile {name: text} as lib/NAME and apply the rules."""
    objects = {}
    for name, text in sources.items():
        path = tmp_path / name.replace("/", "_")
        path.write_text(text, encoding="ascii")
        objects[f"lib/{name}"] = path.with_suffix(".o")
        subprocess.run(["gcc", "-O2", "-c", "-o", path.with_suffix(".o"), path], check=True)
    return poll_core_rule.check(objects, poll_core_rule.Rules(rules))


def test_clean_code_passes(tmp_path):
    """Step: a function that calls a clean one in another folder. Verify: no problem."""
    helper = "int add(int a, int b) { return a + b; }"
    assert problems(tmp_path, {"poll/a.c": CLEAN, "base/b.c": helper}) == []


@pytest.mark.parametrize("source,word", [(DIRECT, "allocates"), (STATIC, "logs"),
                                         (POINTER, "system call"), (IDLE, "system call")])
def test_direct_use_is_found(tmp_path, source, word):
    """Step: what poll cores must not do, directly, in a static, behind a pointer. Verify: found."""
    found = problems(tmp_path, {"poll/a.c": source})
    assert len(found) == 1 and word in found[0]


def test_use_through_another_folder_is_found(tmp_path):
    """Step: the poll code is clean, what it calls locks. Verify: found, only the way it is used."""
    found = problems(tmp_path, {"poll/a.c": INDIRECT, "base/b.c": HELPER_LOCKS})
    assert len(found) == 1 and "locks" in found[0] and "turn" in found[0]
    assert problems(tmp_path, {"poll/a.c": CLEAN, "base/b.c": HELPER_LOCKS}) == []


def test_allowed_and_excepted(tmp_path):
    """Step: the two ways to permit something. Verify: they permit exactly that."""
    rules = "root lib/poll\nallow lib/poll/a.c sched_yield"
    assert problems(tmp_path, {"poll/a.c": IDLE}, rules) == []
    assert problems(tmp_path, {"poll/b.c": IDLE}, rules) != []
    rules = "root lib/poll\nexcept lib/poll/a.c turn"
    assert problems(tmp_path, {"poll/a.c": DIRECT}, rules) == []


def test_root_that_names_nothing_is_found(tmp_path):
    """Step: a root that no longer exists. Verify: it is reported, not passed over."""
    assert problems(tmp_path, {"poll/a.c": IDLE}, "root lib/gone") != []
