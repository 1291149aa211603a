"""`host bench pretrain` against bench/pytorch_mae.py in one call: the same losses first, then speed and memory.

Every round runs each program once, one after the other, so that slow drifts of the machine meet all of them; ratios
are taken within a round. Exit codes: 0 done, 1 losses disagree or a program failed, 2 misused.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RIVAL = ROOT / "bench" / "pytorch_mae.py"
# How an environment is named in the table, in the order of the rows.
TUNES = {
    "plain": "as installed",
    "malloc": "allocator that keeps its memory",
    "best": "same, and MKL's AVX-512 kernels on AMD",
}
# MKL asks this whether the processor is Intel's, and on others keeps to AVX2.
OVERRIDE = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"


def stop(message: str, code: int):
    print(f"compare: {message}", file=sys.stderr)
    sys.exit(code)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/compare.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", nargs="+", metavar="P", default=None, help="[default: pico-32 tiny-32]")
    parser.add_argument("--config", metavar="FILE", type=Path, help="a preset file of your own, instead of --preset")
    parser.add_argument("--threads", nargs="+", metavar="T", type=positive, help="[default: all, then 1]")
    parser.add_argument("--batch-size", metavar="N", type=positive, default=128)
    parser.add_argument("--rounds", metavar="R", type=positive, default=3)
    parser.add_argument("--steps", metavar="N", type=positive, default=10, help="at least this many timed steps")
    parser.add_argument("--seconds", metavar="S", type=float, default=3.0, help="... for at least this long")
    parser.add_argument("--modes", nargs="+", choices=["eager", "compile"], default=["eager", "compile"])
    parser.add_argument("--tune", nargs="+", choices=list(TUNES), default=list(TUNES), help="PyTorch's environments")
    ways = ["faster", "sdpa", "sdpa-math", "products"]
    parser.add_argument("--attention", choices=ways, default="faster", help="PyTorch's [default: try two, keep one]")
    parser.add_argument(
        "--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: host in bf16, PyTorch in f32 and in bf16 autocast"
    )
    parser.add_argument("--plain-ops", action="store_true", help="also `host --plain-ops`")
    parser.add_argument("--python", metavar="PY", help="Python with PyTorch [default: MAE_TORCH_PYTHON, .venv, python3]")
    parser.add_argument("--host", metavar="BIN", type=Path, default=ROOT / "target" / "release" / "host")
    parser.add_argument("--json", action="store_true", help="print all figures of all rounds instead of tables")
    args = parser.parse_args()
    if args.preset and args.config:
        parser.error("--preset and --config exclude each other")
    return args


def find_python(given: str | None) -> str:
    candidates = [given] if given else [os.environ.get("MAE_TORCH_PYTHON"), ROOT / ".venv/bin/python", "python3"]
    reason = "no such program"
    for python in filter(None, candidates):
        try:
            check = subprocess.run([python, "-c", "import torch, safetensors"], capture_output=True, text=True)
        except OSError as error:
            reason = error.strerror
            continue
        if check.returncode == 0:
            return str(python)
        reason = check.stderr.strip().splitlines()[-1] if check.stderr.strip() else f"exit code {check.returncode}"
    tried = ", ".join(str(python) for python in candidates if python)
    stop(f"no Python with PyTorch (tried {tried}: {reason}): pip install -r bench/requirements.txt, or --python PY", 2)


def find_host(path: Path) -> str:
    if not path.is_file():
        stop(f"{path} does not exist: cargo build --release -p host, or --host BIN", 2)
    return str(path)


# ---- PyTorch's environments


def library(*names: str) -> str | None:
    folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib", *map(str, Path("/usr/lib").glob("*-linux-gnu"))]
    paths = (Path(folder) / name for name in names for folder in folders)
    return next((str(path) for path in paths if path.exists()), None)


def malloc() -> tuple[dict, str]:
    """The recommended tuning of PyTorch on CPUs: memory that is freed stays with the process."""
    if found := library("libjemalloc.so.2"):
        return {"LD_PRELOAD": found, "MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1"}, "jemalloc"
    if found := library("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"):
        return {"LD_PRELOAD": found}, "tcmalloc"
    tunables = {"mmap_max": 0, "trim_threshold": 1 << 34, "top_pad": 1 << 28, "hugetlb": 1}
    value = ":".join(f"glibc.malloc.{name}={value}" for name, value in tunables.items())
    return {"GLIBC_TUNABLES": value}, "glibc's tunables"


def environments(wanted: list[str], folder: Path) -> tuple[dict, list[str]]:
    """The extra variables of each environment that this machine can have, and remarks."""
    kept, name = malloc()
    found, remarks = {}, []
    if "plain" in wanted:
        found["plain"] = {}
    if "malloc" in wanted:
        found["malloc"] = kept
        remarks.append(f"`malloc` is {name}")
    if "best" in wanted:
        cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        compiler = shutil.which("cc")
        if "AuthenticAMD" not in cpu or "avx512f" not in cpu:
            remarks.append("no `best`: MKL needs no override here (not an AMD processor with AVX-512)")
        elif not compiler:
            remarks.append("no `best`: the MKL override needs a C compiler (cc)")
        else:
            source, override = folder / "override.c", folder / "liboverride.so"
            source.write_text(OVERRIDE)
            subprocess.run([compiler, "-shared", "-fPIC", "-o", str(override), str(source)], check=True)
            preload = ":".join(filter(None, [str(override), kept.get("LD_PRELOAD")]))
            found["best"] = {**kept, "LD_PRELOAD": preload}
    return found, remarks


# ---- running


def call(command: list[str], extra: dict | None = None, code: int = 0) -> dict:
    """Runs a program that prints JSON last; ends this one if it fails, or exits otherwise than with 0 or `code`."""
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(extra or {})})
    lines = result.stdout.strip().splitlines()
    if result.returncode not in (0, code) or not lines:
        stop(f"`{' '.join(command)}` failed ({result.returncode}): {result.stderr.strip()[-2000:]}", 1)
    return json.loads(lines[-1])


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Case:
    """One preset on so many threads."""

    def __init__(self, args, source: list[str], name: str, threads: int, host: str, python: str):
        self.args, self.name, self.threads, self.host, self.python = args, name, threads, host, python
        self.common = [*source, "--batch-size", str(args.batch_size), "--threads", str(threads), "--json"]
        self.timing = ["--seconds", str(args.seconds)]

    def run_host(self, plain: bool) -> dict:
        precision = ["--precision", self.args.precision]
        command = [self.host, "bench", "pretrain", "--device", "cpu", *self.common, *self.timing, *precision]
        return call([*command, "--rounds", str(self.args.steps), *(["--plain-ops"] if plain else [])])

    def run_rival(self, mode: str, precision: str, attention: str, extra: dict, quick: bool = False) -> dict:
        timing = ["--steps", "5"] if quick else ["--steps", str(self.args.steps), *self.timing]
        compiled = ["--compile"] if mode == "compile" else []
        options = [*self.common, *timing, *compiled, "--precision", precision, "--attention", attention]
        return call([self.python, str(RIVAL), *options], extra)

    def exchange(self, folder: Path, plain: bool) -> bool:
        """Whether ten steps from the same weights on the same images and masks give the same losses."""
        command = [self.host, "bench", "pretrain", "--device", "cpu", *self.common, "--exchange", str(folder)]
        command += ["--precision", "fp32"]
        call([*command, "--steps", "10", *(["--plain-ops"] if plain else [])])
        rival = [self.python, str(RIVAL), "--exchange", str(folder), "--threads", str(self.threads), "--json"]
        found = call(rival, code=1)
        kind = "plain" if plain else "fused"
        print(
            f"{self.name}: {found['steps']} steps, host ({kind}) against PyTorch {found['torch']}: losses "
            f"{'agree' if found['agrees'] else 'DISAGREE'}, largest difference {found['max_difference']:.1e} (at most "
            f"{found['tolerance']:.0e}); weights apart by {found['weights_apart']:.1e} of how far they moved (at most "
            f"{found['weights_tolerance']:.0e})",
            file=sys.stderr if self.args.json else sys.stdout,
            flush=True,
        )
        return found["agrees"]

    def precisions(self) -> list[str]:
        """PyTorch's: autocast is not always faster."""
        return ["fp32", "bf16"] if self.args.precision == "bf16" else ["fp32"]

    def rounds(self, tunes: dict) -> dict:
        """All reports of all rounds by row: host first, then (mode, tune)."""
        args = self.args
        best = tunes.get("best", tunes.get("malloc", {}))
        attention = {}
        rivals = [(mode, precision) for precision in self.precisions() for mode in args.modes]
        for mode, precision in rivals:
            if args.attention != "faster":
                attention[mode, precision] = args.attention
                continue
            speed = {}
            for way in ("sdpa", "products"):
                note(f"{self.name}, {self.threads} threads: trying {mode} {precision} with {way}")
                speed[way] = self.run_rival(mode, precision, way, best, quick=True)["images_per_second"]["median"]
            attention[mode, precision] = max(speed, key=speed.get)
        rows = {}
        for number in range(1, args.rounds + 1):
            for plain in [False, True] if args.plain_ops else [False]:
                note(f"{self.name}, {self.threads} threads, round {number}: host{' --plain-ops' if plain else ''}")
                rows.setdefault("host plain ops" if plain else "host", []).append(self.run_host(plain))
            for mode, precision in rivals:
                label = mode if precision == "fp32" else f"{mode} {precision}"
                for tune, extra in tunes.items():
                    note(f"{self.name}, {self.threads} threads, round {number}: PyTorch {label}, {tune}")
                    rows.setdefault(f"PyTorch {label}, {tune}", []).append(
                        self.run_rival(mode, precision, attention[mode, precision], extra)
                    )
        return rows


# ---- the table


def middle(values) -> float:
    return statistics.median(values)


def table(case: Case, rows: dict) -> str:
    host = rows["host"]
    gflop = host[0]["gflops"]["gflop_per_step"]
    peak = max(report["gflops"]["matrix_peak"] for reports in rows.values() for report in reports)
    mib = 2**20
    lines = [
        f"{case.name}, {case.args.batch_size} images a step, host in {case.args.precision}, {case.threads} threads, "
        f"{len(host)} rounds; matrix peak {peak:.0f} GFLOP/s",
        f"{'':<26} images/s  (min   max)  ms/step  GFLOP/s  of peak    MiB  above base   speed ratio (rounds)  memory ratio",
    ]
    for name, reports in rows.items():
        speed = [r["images_per_second"]["median"] for r in reports]
        low = min(r["images_per_second"]["min"] for r in reports)
        high = max(r["images_per_second"]["max"] for r in reports)
        ms = middle([r["ms"]["median"] for r in reports])
        memory = middle([r["peak_memory_bytes"] for r in reports]) / mib
        above = middle([r["peak_memory_bytes"] - r["base_memory_bytes"] for r in reports]) / mib
        rate = gflop / ms * 1e3
        ours = [r["images_per_second"]["median"] for r in host]
        ratios = [a / b for a, b in zip(ours, speed)]
        memories = [a["peak_memory_bytes"] / b["peak_memory_bytes"] for a, b in zip(host, reports)]
        compared = "" if name == "host" else (
            f"   {middle(ratios):>5.2f}  ({min(ratios):.2f}..{max(ratios):.2f})   {middle(memories):>12.2f}"
        )
        lines.append(
            f"{name:<26} {middle(speed):>8.0f}  ({low:<5.0f} {high:>5.0f}) {ms:>7.1f}  {rate:>7.0f}  {rate / peak:>7.2f}  "
            f"{memory:>5.0f}  {above:>10.0f}{compared}"
        )
    loading = middle([report["loading_ratio"] for report in host])
    ways = ", ".join(f"{n.split(',')[0]}: {r[0]['attention']}" for n, r in rows.items() if "attention" in r[0])
    lines.append("ratios: host over the row, median and spread of the rounds; memory is the peak of the whole process")
    lines.append(f"host with loading and augmenting: {loading:.3f} of its bare rate")
    lines.append("attention: " + ", ".join(dict.fromkeys(ways.split(", "))))
    return "\n".join(lines)


def main() -> int:
    args = arguments()
    host, python = find_host(args.host), find_python(args.python)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = args.threads or sorted({processors, 1}, reverse=True)
    if max(threads) > processors:
        stop(f"--threads {max(threads)}: from 1 to {processors} on this machine", 2)
    sources = [(["--config", str(args.config)], args.config.stem)] if args.config else [
        (["--preset", preset], preset) for preset in args.preset or ["pico-32", "tiny-32"]
    ]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        tunes, remarks = environments(args.tune, folder)
        cases = [Case(args, source, name, t, host, python) for source, name in sources for t in threads]
        for case in cases:
            if case.threads == threads[0]:
                for plain in [False, True] if args.plain_ops else [False]:
                    if not case.exchange(folder / f"{case.name}-{plain}", plain):
                        return 1
        every = {}
        for case in cases:
            rows = case.rounds(tunes)
            every[f"{case.name}, {case.threads} threads"] = rows
            if not args.json:
                print("\n" + table(case, rows), flush=True)
    if args.json:
        print(json.dumps(every))
    else:
        print("\nPyTorch " + "; ".join([f"{tune}: {TUNES[tune]}" for tune in tunes] + remarks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
