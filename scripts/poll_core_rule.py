# SPDX-License-Identifier: BSD-3-Clause
"""The rule that code of poll cores neither locks nor allocates, logs or makes a system call.

It is read from the compiled objects: a graph of which function refers to which symbol, walked
from every function that runs on a poll core. Calls through pointers are not followed; what is
called that way is listed as a root in scripts/poll-core-files.
"""
import bisect
import collections
import fnmatch
import pathlib
import re
import subprocess

DENIED = {
    "allocates": r"(m|c|re|reallocarray|v|p)?(alloc)|malloc|free|posix_memalign|aligned_alloc|memalign"
                 r"|mmap(64)?|munmap|mremap|madvise|s?brk|rte_(m|z|c|re)\w*alloc\w*|rte_free"
                 r"|rte_mempool_create\w*|rte_pktmbuf_pool_create\w*|rte_memzone_\w+|numa_\w+"
                 r"|strn?dup|v?asprintf|ZSTD_(create|free)\w+|ZSTD_compress|ZSTD_decompress",
    "locks": r"pthread_(mutex|rwlock|cond|spin|barrier|once|join|create)\w*|sem_\w+|call_once|mtx_\w+",
    "logs": r"(__)?v?[fd]?printf(_chk)?|f?puts|f?putc|putchar|fwrite|fflush|perror|v?syslog"
            r"|rte_v?log|colo_log\w*|rte_exit|backtrace\w*",
    "makes a system call": r"p?(read|write)v?(64)?|open(at)?(64)?|close|ioctl|fcntl(64)?|p?poll"
            r"|p?select|epoll_\w+|send(to|m?msg)?|recv(from|m?msg)?|socket(pair)?|connect|accept4?"
            r"|bind|listen|shutdown|clock_gettime|gettimeofday|time|u?sleep|(clock_)?nanosleep"
            r"|sched_\w+|syscall|t?g?kill|raise|fork|exec\w+|_?exit|sigaction|signal|getpid|gettid"
            r"|mlock\w*|msync|fsync|fdatasync|ftruncate(64)?|unlink|f?stat(64)?|eventfd\w*|pause"
            r"|rte_delay_us_sleep|rte_thread_\w+|rte_epoll_\w+|rte_eal_\w+",
}
DENIED = {what: re.compile(rf"(?:{names})\Z") for what, names in DENIED.items()}


class Rules:
    """What scripts/poll-core-files says."""

    def __init__(self, text):
        self.roots = []
        self.exceptions = set()
        self.allowed = set()
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if words[0] == "root" and len(words) in (2, 3):
                self.roots.append((words[1], words[2] if len(words) == 3 else "*"))
            elif words[0] == "except" and len(words) == 3:
                self.exceptions.add((words[1], words[2]))
            elif words[0] == "allow" and len(words) >= 3:
                self.allowed.update((words[1], symbol) for symbol in words[2:])
            else:
                raise ValueError(f"poll-core-files, line {number}: not a rule: {line}")


def denied_for(symbol):
    """What the symbol does that poll cores must not, or None."""
    for what, names in DENIED.items():
        if names.match(symbol):
            return what
    return None


class Symbols:
    """Functions of one object, findable by section and offset (for references to statics)."""

    def __init__(self, path):
        self.by_section = collections.defaultdict(list)
        text = subprocess.run(["objdump", "-t", path], stdout=subprocess.PIPE, text=True,
                              check=True).stdout
        for line in text.splitlines():
            found = re.match(r"([0-9a-f]+) ......F (\S+)\s+[0-9a-f]+ (?:\.hidden )?(\S+)$", line)
            if found:
                self.by_section[found.group(2)].append((int(found.group(1), 16), found.group(3)))
        for symbols in self.by_section.values():
            symbols.sort()

    def at(self, section, offset):
        symbols = self.by_section.get(section, [])
        i = bisect.bisect_right(symbols, (offset, "\x7f")) - 1
        return symbols[i][1] if i >= 0 else None


def references(path):
    """@return {function: set of symbols it refers to} of one object; its cold part is part of it."""
    symbols = Symbols(path)
    refers = collections.defaultdict(set)
    text = subprocess.run(["objdump", "-dr", "--no-show-raw-insn", path], stdout=subprocess.PIPE,
                          text=True, check=True).stdout
    function = None
    for line in text.splitlines():
        found = re.match(r"[0-9a-f]+ <(\S+)>:$", line)
        if found:
            function = re.sub(r"\.(cold|part|isra|constprop)[.\d]*.*$", "", found.group(1))
            refers[function].add(found.group(1))
            continue
        found = re.search(r"R_X86_64_\w+\s+(\S+?)([+-]0x[0-9a-f]+)?$", line)
        if found and function:
            name, addend = found.group(1), int(found.group(2) or "0", 16)
            if name.startswith("."):
                name = symbols.at(name, addend + 4)
            if name:
                refers[function].add(name)
        else:
            found = re.search(r"\s(?:call|jmp)\s+[0-9a-f]+ <([^+>]+)", line)
            if found and function:
                refers[function].add(found.group(1))
    plain = {f: {re.sub(r"\.(cold|part|isra|constprop)[.\d]*.*$", "", s) for s in names}
             for f, names in refers.items()}
    return plain


def check(objects, rules):
    """@param objects {source file: object file} @return sentences, one for each violation."""
    graph = {source: references(path) for source, path in objects.items()}
    defined = collections.defaultdict(list)
    for source, functions in graph.items():
        for function in functions:
            defined[function].append(source)
    queue = []
    problems = []
    for pattern, function_pattern in rules.roots:
        hits = [(s, f) for s, functions in graph.items() for f in functions
                if (s == pattern or s.startswith(pattern.rstrip("/") + "/"))
                and fnmatch.fnmatchcase(f, function_pattern)]
        if not hits:
            problems.append(f"poll-core-files: root {pattern} {function_pattern} names nothing")
        queue += hits
    return problems + _walk(graph, defined, queue, rules)


def _walk(graph, defined, queue, rules):
    problems = []
    via = {node: None for node in queue}
    while queue:
        node = queue.pop()
        source, function = node
        if node in rules.exceptions:
            continue
        for symbol in sorted(graph[source][function]):
            if (source, symbol) in rules.allowed:
                continue
            targets = [source] if symbol in graph[source] else defined.get(symbol, [])
            what = denied_for(symbol)
            if what is not None and not (targets == [source]):
                problems.append(f"{source}: {_path(via, node)} {what}: {symbol}()")
                continue
            for target in targets:
                if (target, symbol) not in via:
                    via[(target, symbol)] = node
                    queue.append((target, symbol))
    return problems


def _path(via, node):
    names = []
    while node is not None:
        names.append(node[1])
        node = via[node]
    return " <- ".join(names)


def objects_of_build(build):
    """{source file: object file} of everything compiled from lib/ and app/."""
    objects = {}
    for directory, prefix in (("lib/libdpdk-colo.a.p", "lib/"), ("app/dpdk-colo.p", "app/")):
        for path in sorted(pathlib.Path(build, directory).glob("*.o")):
            name = path.name[:-len(".o")]
            objects[prefix + name.replace("_", "/", 1) if prefix == "lib/" else prefix + name] = path
    return objects
