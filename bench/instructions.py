"""Instructions that one encode executes on an ARM processor, counted under QEMU; prints JSON.

    python3 bench/instructions.py --model DIR --edge PROGRAM [--tract-edge PROGRAM] [--cpu CPU...] [--visible V...]

PROGRAM is `edge` built for aarch64-unknown-linux-gnu (docs/building.md). The count is exact and the same every time:
`edge bench` runs each contender with two numbers of rounds, and the difference of the counts, divided by the difference of
the rounds, leaves out the start, loading and the first encode. It includes cutting the patches out of the image.
Instructions are not time: it says nothing of caches, of memory or of how many instructions a core starts at once.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
SYSROOT = "/usr/aarch64-linux-gnu"
# Kernels to count on each processor: those that it has, except the slower ones of a better processor.
KERNELS = {"cortex-a53": ["neon"], "cortex-a72": ["neon"], "cortex-a76": ["neon", "dotprod"], "max": ["dotprod", "i8mm"]}


def count(plugin, cpu, command, kind=None):
    """Instructions that `command` executes in all."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRACT_CPU")}
    if kind:
        environment["TRACT_CPU_AARCH64_KIND"] = kind
    emulated = ["qemu-aarch64", "-cpu", cpu, "-L", SYSROOT, "-plugin", str(plugin), "-d", "plugin"]
    done = subprocess.run([*emulated, *command], env=environment, capture_output=True, text=True)
    found = re.search(r"^instructions (\d+)$", done.stderr, re.MULTILINE)
    if done.returncode or not found:
        sys.exit(f"{' '.join(command)} failed on {cpu}: {done.stderr.strip()[-300:]}")
    return int(found[1]), json.loads(done.stdout)


def per_encode(plugin, cpu, edge, model, visible, options, kind=None):
    """Instructions of one encode of `visible` patches."""
    spec = (pathlib.Path(model) / "model.toml").read_text()
    height, width, patch = (int(re.search(rf"^{name} = (\d+)", spec, re.MULTILINE)[1])
                            for name in ["image_height", "image_width", "patch_size"])
    patches = (height // patch) * (width // patch)
    if not 1 <= visible <= patches:
        sys.exit(f"--visible must be 1 to {patches}, not {visible}")
    # Half a patch more, so that rounding down gives the number.
    keep = 1 if visible == patches else (visible + 0.5) / patches
    counts = []
    for rounds in [1, 3]:
        command = [edge, "bench", "--json", "--model", model, "--keep", str(keep), "--rounds", str(rounds), *options]
        total, report = count(plugin, cpu, command, kind)
        if [row["visible"] for row in report] != [visible]:
            sys.exit(f"{' '.join(command)} encoded {[row['visible'] for row in report]} patches, not {visible}")
        counts.append(total)
    return (counts[1] - counts[0]) / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a model folder with the forms f32, int8 and native")
    parser.add_argument("--edge", required=True, help="the program, for aarch64 Linux")
    parser.add_argument("--tract-edge", help="another one for the runs in tract, if the first was built without it")
    parser.add_argument("--cpu", nargs="+", default=["cortex-a53", "cortex-a76"], choices=KERNELS)
    parser.add_argument("--visible", nargs="+", type=int, default=[16, 49, 64, 196])
    args = parser.parse_args()
    tract = args.tract_edge or args.edge

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plugin = pathlib.Path(folder) / "count.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", plugin, HERE / "qemu" / "count.c"], check=True)
        for cpu in args.cpu:
            contenders = [(f"native {name}", args.edge, ["--kernels", name], None) for name in KERNELS[cpu]]
            # QEMU shows tract the host's /proc/cpuinfo, so that it takes its kernels for any ARMv8 processor; on an A53
            # it would take those for the A53, which have more instructions that go in pairs.
            kinds = [("", None), (" for the A53", "a53")] if cpu == "cortex-a53" else [("", None)]
            for precision in ["f32", "int8"]:
                options = ["--precision", precision]
                contenders += [(f"tract {precision}{name}", tract, options, kind) for name, kind in kinds]
            for visible in args.visible:
                counts = {}
                for name, edge, options, kind in contenders:
                    if edge is args.edge and options[0] == "--kernels":
                        options = ["--runtime", "native", *options]
                    counts[name] = per_encode(plugin, cpu, edge, args.model, visible, options, kind)
                for name, instructions in counts.items():
                    rows.append({"cpu": cpu, "visible": visible, "contender": name, "instructions": instructions,
                                 "of_tract_f32": round(instructions / counts["tract f32"], 4)})
    print(json.dumps({"model": args.model, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
