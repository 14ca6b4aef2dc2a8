# SPDX-License-Identifier: BSD-3-Clause
"""The picture of scripts/bench-qemu: a bar for each mean, a whisker to the 99th percentile."""
import subprocess

import colo_env as env

PACKAGES = ["gnuplot-nox", "fonts-dejavu-core"]

HEAD = """set terminal pngcairo size 1600,{height} noenhanced font "DejaVu Sans,10"
set output "{path}"
set multiplot layout {panels},1 title "How long the guest stands still at a checkpoint"
set style fill solid 0.8 border -1
set boxwidth 0.6
set yrange [0:*]
set grid ytics
set ylabel "pause, ms"
set offsets 0.5,0.5,graph 0.15,0
set bmargin 4.5
unset key
"""
COLOURS = {"qemu": 0xb22222, "nodelay": 0xdd8844, "ours": 0x2266aa, "insecure": 0x66aadd,
           "reader": 0x999999}


def _panel(title, rows):
    """@param rows [(label, kind, mean, p99)]"""
    lines = [f'"{label}" {mean:.3f} {p99:.3f} {COLOURS[kind]}' for label, kind, mean, p99 in rows]
    return "\n".join([
        f'set title "{title}: mean / 99th percentile"', "$rows << E", *lines, "E",
        "plot $rows using 0:2:4:xticlabels(1) with boxes linecolor rgb variable, "
        "'' using 0:2:2:3 with yerrorbars linecolor rgb 'black' pointtype 0, "
        "'' using 0:3:(sprintf('%.1f / %.1f', $2, $3)) with labels offset 0,0.8", ""])


def draw(path, panels):
    """@param panels [(title, rows)], see _panel()."""
    head = HEAD.format(path=str(path).replace('"', '\\"'), panels=len(panels),
                       height=60 + 400 * len(panels))
    done = subprocess.run(["gnuplot"], input=head + "".join(_panel(*p) for p in panels), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise env.EnvError(f"gnuplot could not draw {path}: {done.stdout.strip()}")
