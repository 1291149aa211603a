#!/usr/bin/env python3
"""Who may call whom (docs/architecture.md): arrows between the rooms of `host` go down only, and no two files of any crate
import each other, directly or around. A folder's mod.rs stands for the folder and is left out of the second count, and so
are tests."""
import pathlib
import re
import sys

# From the street to the ground; rooms of a line may call each other as long as there is no circle.
FLOORS = [
    "cli",
    "ablate explore bench report evaluate pictures figure serve flash",
    "train",
    "run preset objective model data formats export device link",
    "tensors files lines progress clock stream",
]
CRATES = "common/src common/console/src common/imaging/src edge/src host/kernels/src host/src " \
    "edge/firmware/cortex-m/src edge/firmware/raspberry-pi/src".split()


def code(file):
    """The file without comments and tests."""
    text = re.sub(r"//[^\n]*", "", file.read_text())
    return text.split("#[cfg(test)]\nmod tests")[0]


def tree(text):
    """`a::{b, c::d}` as paths."""
    head, brace, rest = text.strip().partition("{")
    if not brace:
        return [head]
    parts, depth, part = [], 0, ""
    for char in rest[: rest.rindex("}")]:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    return [head + path for part in [*parts, part] if part.strip() for path in tree(part)]


def paths(text):
    """All paths that begin with `crate` or `super`."""
    use = re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?use\s+([\w:{}*,\s]+);", re.M)
    uses = use.findall(text)
    found = [re.sub(r"\s", "", path.split(" as ")[0]) for use in uses for path in tree(use)]
    found += re.findall(r"\b(?:crate|super)(?:::[A-Za-z_0-9]+)+", use.sub("", text))
    return [path.split("::") for path in found if path.startswith(("crate::", "super::"))]


def modules(root):
    """Each module of a crate by its path, and the absolute paths that it imports."""
    found = {}
    for file in sorted(root.rglob("*.rs")):
        module = list(file.relative_to(root).with_suffix("").parts)
        if "tests" in file.stem or module in (["lib"], ["main"]):
            continue
        if module[-1] == "mod":
            module.pop()
        imports = []
        for path in paths(code(file)):
            if path[0] == "crate":
                imports.append(path[1:])
            else:
                ups = sum(1 for step in path if step == "super")
                imports.append(module[: len(module) - ups] + path[ups:])
        found[tuple(module)] = (file, imports)
    return found


def target(known, path):
    """The longest prefix of a path that is a module."""
    return next((tuple(path[:n]) for n in range(len(path), 0, -1) if tuple(path[:n]) in known), None)


def circles(graph):
    """Sets of nodes that reach each other (Tarjan)."""
    index, low, stack, result = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            circle = []
            while not circle or circle[-1] != node:
                circle.append(stack.pop())
            if len(circle) > 1:
                result.append(sorted(circle))

    for node in graph:
        if node not in index:
            visit(node)
    return result


def main():
    sys.setrecursionlimit(10_000)
    wrong = []
    floor = {room: level for level, rooms in enumerate(FLOORS) for room in rooms.split()}
    for crate in CRATES:
        known = modules(pathlib.Path(crate))
        rooms, files = {}, {}
        for module, (file, imports) in known.items():
            for path in imports:
                other = target(known, path)
                if other is None or other == module:
                    continue
                if module[0] != other[0]:
                    rooms.setdefault(module[0], set()).add(other[0])
                    if crate == "host/src":
                        if not {module[0], other[0]} <= floor.keys():
                            wrong.append(f"{file}: {module[0]} or {other[0]} has no floor in .ci/rooms.py")
                        elif floor[module[0]] > floor[other[0]]:
                            wrong.append(f"{file}: {module[0]} calls {other[0]}, which is above it")
                if known[other][0].name != "mod.rs" and file.name != "mod.rs":
                    files.setdefault("::".join(module), set()).add("::".join(other))
        wrong += [f"{crate}: a circle of rooms: {', '.join(circle)}" for circle in circles(rooms)]
        wrong += [f"{crate}: a circle of files: {', '.join(circle)}" for circle in circles(files)]
    print("\n".join(wrong) or "no import goes up or round")
    return 1 if wrong else 0


sys.exit(main())
