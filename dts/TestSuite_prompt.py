# SPDX-License-Identifier: BSD-3-Clause
"""The prompt and its script: every verb, completion, wrong lines, and the ways out."""
import json
import re
import signal
import subprocess
import time

import pytest

import colo_env as env
from framework import eal
from framework.prompt import Prompt
from framework.run import BUILD
from framework.telemetry import Telemetry

SOURCE = "synthetic,size=16M,dirty=100,seed=11"
PAIR = ["--role", "pair", "--source", SOURCE, "--interval", "100"]
VERBS = ["start", "stop", "quit", "help", "show config", "show port", "show channel", "show block",
         "show epoch", "show stats", "checkpoint now", "set interval", "set codec", "verify",
         "failover", "clear stats"]


@pytest.fixture
def prompt(start_run):
    """A pair that waits for `start`."""
    p = Prompt(start_run(), eal.pair(1), PAIR)
    p.ready()
    return p


def start(p):
    p.type("start")
    p.wait_for("PROTECTED")
    p.wait_for(r"epoch \d+: ")


def counter(text, name):
    """(sending end, receiving end) of a line of `show stats`, zeros if it has none."""
    found = re.search(rf"^{name} +(\d+) +(\d+)", text, re.M)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def test_help_lists_every_verb(prompt):
    """Step: help. Verify: each verb with a sentence."""
    text = prompt.type("help")
    for verb in VERBS:
        assert re.search(rf"^{verb}.* {{2,}}\S.*\.", text, re.M), verb


def test_nothing_happens_before_start(prompt):
    """Step: wait, then show epoch. Verify: no session, no epoch."""
    time.sleep(0.5)
    text = prompt.type("show epoch")
    assert "primary: state STOPPED" in text and "secondary: state LISTEN" in text
    assert "0 sessions" in text and "no epoch yet" in text


def test_show(prompt):
    """Step: start, each show. Verify: each names what it shows."""
    start(prompt)
    for what, words in {"config": ["role +pair", "interval +100", f"source +{SOURCE}"],
                        "port": ["port 0: .*net_ring", "port 1: ", "rx queues", "link up"],
                        "channel": ["channel 0 send: lcore", "channel 0 receive: lcore",
                                    "steering paired", "tx_packets +[1-9]", "rx_placed +[1-9]"],
                        "block": [r"primary block 0 pc\.ram: 16M, 4096 pages",
                                  r"secondary block 1 colo\.device-state", "cache +(2 MiB|4 KiB)"],
                        "epoch": ["primary: state [A-Z]+", "committed [1-9]", "1 sessions",
                                  "1 full copies", "last epoch [1-9]"],
                        "stats": ["tx_pages_zero +[1-9]", "flush_pages"]}.items():
        text = prompt.type(f"show {what}")
        for word in words:
            assert re.search(word, text), f"show {what}: {word}\n{text}"


def test_set_codec_and_interval(prompt):
    """Step: set both while it runs. Verify: pages go compressed, checkpoints come faster."""
    start(prompt)
    assert counter(prompt.type("show stats all"), "tx_pages_zstd") == (0, 0)
    prompt.type("set codec zstd:1")
    prompt.wait_for(r"epoch \d+: ")
    prompt.wait_for(r"epoch \d+: ")
    assert counter(prompt.type("show stats"), "tx_pages_zstd")[0] >= 100
    prompt.type("set interval 10000")
    assert "interval 10000 ms, codec zstd:1" in prompt.type("show epoch")
    before = int(re.search(r"(\d+) checkpoints in this", prompt.type("show epoch")).group(1))
    time.sleep(1)
    after = int(re.search(r"(\d+) checkpoints in this", prompt.type("show epoch")).group(1))
    assert after <= before + 1


def test_checkpoint_now(prompt):
    """Step: a long interval, then `checkpoint now`. Verify: one comes, at once."""
    prompt.type("set interval 60000")
    prompt.type("start")
    prompt.wait_for("PROTECTED")
    began = time.monotonic()
    prompt.type("checkpoint now")
    prompt.wait_for(r"epoch \d+: ")
    assert time.monotonic() - began < 5


def test_verify(prompt):
    """Step: verify. Verify: the checkpoint after it says so, others do not."""
    start(prompt)
    assert "verified" not in prompt.seen()
    prompt.type("verify")
    assert prompt.wait_for(r"epoch \d+: [^\r\n]*verified")
    assert "differ" not in prompt.seen().lower()


def test_clear_stats(prompt):
    """Step: stop, clear stats, show. Verify: nothing left of what was; more comes after."""
    start(prompt)
    prompt.type("stop")
    prompt.wait_for("in order")
    time.sleep(0.2)
    assert counter(prompt.type("show stats"), "tx_packets")[0] > 0
    prompt.type("clear stats")
    assert counter(prompt.type("show stats all"), "tx_packets") == (0, 0)
    start(prompt)
    assert counter(prompt.type("show stats"), "tx_packets")[0] > 0


def test_stop_and_start_again(prompt):
    """Step: start and stop three times. Verify: a session each, but for the first without a full copy."""
    for i in range(1, 4):
        start(prompt)
        prompt.type("stop")
        prompt.wait_for("in order")
        time.sleep(0.2)
        text = prompt.type("show epoch")
        assert f"{i} sessions, 1 full copies, {i - 1} resumed without one" in text


def test_failover_without_standby(prompt):
    """Step: failover in a pair. Verify: a sentence why not; the pair goes on."""
    start(prompt)
    prompt.type("failover")
    prompt.wait_for("no takeover: there is no --standby")
    prompt.wait_for(r"epoch \d+: ")


@pytest.mark.parametrize("line,says", [
    ("frob", "frob: no such command"),
    ("show", "accepted: show config"),
    ("show frob", "show config"),
    ("set interval", "set interval"),
    ("set interval x", "from 0 to 3600000 is accepted"),
    ("set interval 3600001", "from 0 to 3600000 is accepted"),
    ("set interval -1", "from 0 to 3600000 is accepted"),
    ("set codec lz4", "raw, zstd or zstd:LEVEL"),
    ("set codec zstd:20", "from -7 to 19"),
    ("checkpoint", "checkpoint now"),
    ("start now", "start"),
    ("x" * 300, "")])
def test_wrong_lines(prompt, line, says):
    """Step: a wrong line. Verify: one sentence that says what is accepted; nothing changed."""
    assert says in prompt.type(line)
    assert "interval 100 ms, codec raw" in prompt.type("show epoch")


def test_checkpoint_before_start(prompt):
    """Step: checkpoint now, verify and stop without a session. Verify: it says something, lives on."""
    for line in ("checkpoint now", "verify", "stop"):
        prompt.type(line)
    start(prompt)


def test_completion(prompt):
    """Step: TAB. Verify: words are completed, choices are listed with their help."""
    prompt.child.send("sh\tep\t\n")
    prompt.wait_for("primary: state STOPPED")
    prompt.ready()
    prompt.child.send("show \t\t")
    prompt.wait_for(r"channel .*Channels: lcore")
    prompt.child.send("\x15\n")


def test_history(prompt):
    """Step: cursor up. Verify: the last line comes again."""
    prompt.type("show epoch")
    prompt.child.send("\x1b[A\n")
    prompt.wait_for("primary: state STOPPED")


@pytest.mark.parametrize("way", ["quit", "ctrl-c", "ctrl-d", "sigterm"])
@pytest.mark.parametrize("running", [False, True])
def test_ways_out(prompt, way, running):
    """Step: end it in each way, before and after start. Verify: exit status 0."""
    if running:
        start(prompt)
    if way == "sigterm":
        prompt.child.kill(signal.SIGTERM)
    else:
        prompt.child.send({"quit": "quit\n", "ctrl-c": "\x03", "ctrl-d": "\x04"}[way])
    assert prompt.end() == 0
    if running:
        assert "0 mismatches" in prompt.seen()


# ---- the same verbs from a file ----

def run_script(run, lines, options=(), name="script"):
    path = run.dir / f"{name}.txt"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return run.program(name, eal.pair(1), [*PAIR, "--cmdline-file", path, *options])


def test_script(start_run):
    """Step: verbs from --cmdline-file, with waits. Verify: done in order, exit status 0."""
    run = start_run()
    p = run_script(run, ["# a comment", "", "show epoch", "wait epochs 2 20", "set codec zstd",
                         "set interval 50", "verify", "checkpoint now", "wait epochs 2 20",
                         "show stats", "clear stats", "show config", "show port", "show channel",
                         "show block", "help", "wait seconds 1", "quit"],
                   ["--json", run.dir / "out.json"])
    assert p.wait(60) == 0, p.output()
    assert counter(p.output(), "tx_pages_zstd")[0] > 0
    assert "verified" in p.output()
    assert run.json("out.json")["summary"]["mismatches"] == 0


def test_script_then_prompt(start_run):
    """Step: a script that starts, stops and starts, with -i. Verify: the prompt comes after it."""
    run = start_run()
    path = run.dir / "script.txt"
    path.write_text("start\nwait epochs 1\nstop\nwait state STOPPED\nstart\nwait epochs 1\n",
                    encoding="ascii")
    p = Prompt(run, eal.pair(1), [*PAIR, "--cmdline-file", path])
    for _ in range(2):
        p.wait_for("PROTECTED")
    p.wait_for(r"epoch \d+: ")
    assert "2 sessions, 1 full copies, 1 resumed" in p.type("show epoch")
    p.child.send("quit\n")
    assert p.end() == 0


@pytest.mark.parametrize("line,says", [("frob", "frob"), ("set interval x", "0 to 3600000"),
                                       ("wait epochs 0", "epochs 0"), ("show", "show")])
def test_wrong_script(start_run, line, says):
    """Step: a script with a wrong line. Verify: refused, with the line's number, exit status 1."""
    p = run_script(start_run(), ["show epoch", "# second", line, "quit"])
    assert p.wait(20) == 1
    assert says in p.output()
    assert re.search(r"\b3\b", p.output().splitlines()[-1]), p.output()


def test_script_that_waits_in_vain(start_run):
    """Step: wait for what does not come. Verify: it is said, the guest stays protected, status 1."""
    p = run_script(start_run(), ["wait epochs 1000 1", "quit"], ["--interval", "200"])
    p.wait_for(r"script\.txt:1: wait epochs: \d+ have still to come")
    p.wait_for(r"^epoch \d+: ", after=len(p.output()))
    assert p.stop() == 1


# ---- telemetry ----

def test_telemetry(start_run):
    """Step: ask the endpoints while it runs. Verify: answers that fit, and help texts."""
    run = start_run()
    p = run.program("colo", eal.pair(1), PAIR)
    p.wait_for(r"^epoch \d+: ")
    telemetry = Telemetry(p.pid)
    run.keep(telemetry.close)
    endpoints = telemetry.ask("/")
    for name in ("/colo/epoch", "/colo/channel", "/colo/stats"):
        assert name in endpoints
        assert len(telemetry.ask(f"/help,{name}")[name]) > 10
    assert "primary" in json.dumps(telemetry.ask("/colo/epoch"))
    stats = dict(telemetry.numbers("/colo/stats"))
    assert "tx_packets" in stats and stats["rx_placed"] > 0
    assert "lcore" in json.dumps(telemetry.ask("/colo/channel,0"))
    for wrong in ("/colo/channel,99", "/colo/channel,x", "/colo/channel"):
        telemetry.ask(wrong)
    assert p.alive()
    assert p.stop() == 0


def test_no_terminal(start_run):
    """Step: -i with standard input from /dev/null. Verify: it ends, or runs on; it does not spin."""
    run = start_run()
    done = subprocess.run([env.program(BUILD), *eal.pair(1), "--", *PAIR, "-i"], timeout=30,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                          stderr=subprocess.STDOUT, cwd=run.dir)
    assert done.returncode == 0
