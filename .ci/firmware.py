"""Checks a Cortex-M firmware (argument: ELF file): its size without the model, which docs/firmware.md and
`edge::linux::boards` count on, and that what reads from the line has no call of the panic handler.

Needs readelf, llvm-objdump and llvm-addr2line."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ELF = sys.argv[1]
BUFFERS = ["IMAGE", "VISIBLE", "NOISE", "IDS", "LINES"]
PANICS = "panicking|unwrap_failed|expect_failed|len_mismatch_fail|slice_index_fail|panic_already|something_went_wrong"


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def constant(name):
    text = (ROOT / "edge/src/linux/boards.rs").read_text()
    return eval(re.search(rf"pub const {name}: usize = ([\d <]+);", text)[1])


def lines_of(path, begin, end):
    """Numbers of the lines from the first with `begin` to the next with `end`."""
    lines = (ROOT / path).read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if begin in line)
    last = next((i for i, line in enumerate(lines) if i > first and end in line), len(lines))
    return range(first + 1, last + 1)


def sections():
    for line in output("readelf", "-SW", ELF).splitlines():
        found = re.match(r"\s*\[ *\d+\] (\S+)\s+(PROGBITS|NOBITS)\s+\w+ \w+ (\w+) \d\d\s+(\w*A\w*)", line)
        if found:
            yield found[1], found[2], int(found[3], 16)


def sizes():
    model = (ROOT / "models/cifar-pico-32/encoder.native").stat().st_size
    flash = sum(size for _, kind, size in sections() if kind == "PROGBITS") - model
    buffers = 0
    for line in output("readelf", "-sW", ELF).splitlines():
        words = line.split()
        if len(words) == 8 and words[3] == "OBJECT" and any(words[7].endswith(f"{len(b)}{b}") for b in BUFFERS):
            buffers += int(words[2], 0)
    ram = sum(size for name, _, size in sections() if name in (".data", ".bss", ".uninit")) - buffers
    stack = int(re.search(r"STACK : ORIGIN = \w+, LENGTH = (\d+)K", board_script())[1]) * 1024
    print(f"{ELF}: {flash} bytes of flash and {ram + stack} of RAM ({stack} of them stack) beside the model's")
    assert buffers > 100_000, f"buffers of {buffers} bytes: are they still called {BUFFERS}?"
    assert flash <= constant("PROGRAM_FLASH"), "more flash than boards.rs says"
    assert ram + stack <= constant("PROGRAM_RAM"), "more RAM than boards.rs says"


def board_script():
    return (ROOT / f"edge/firmware/cortex-m/boards/{Path(ELF).stem}.x").read_text()


def panics():
    frame, serve = "common/src/wire/frame.rs", "edge/src/serve.rs"
    reading = {
        "src/wire/frame.rs": lines_of(frame, "impl Decoder {", "#[cfg(test)]"),
        "edge/src/serve.rs": lines_of(serve, "    pub fn run<", "    /// Patches that are encoded with"),
    }
    calls = re.findall(
        rf"^\s*([0-9a-f]+):\s+b\S*\s.*<.*(?:{PANICS}).*>", output("llvm-objdump", "-d", "--no-show-raw-insn", "-C", ELF), re.M
    )
    assert calls, "no call of the panic handler at all: did its names change?"
    where = output("llvm-addr2line", "-a", "-i", "-f", "-C", "-e", ELF, *(f"0x{call}" for call in calls))
    bad = []
    for call in re.split(r"^0x", where, flags=re.M)[1:]:
        # Innermost first; frames of the standard library belong to who called them.
        frames = [frame for frame in call.splitlines()[2::2] if "/library/" not in frame]
        innermost = frames[0] if frames else ""
        decoding = re.search(r"/(postcard-\S+/src/de/|cobs-\S+/src/dec\.rs)", innermost)
        for file, lines in reading.items():
            found = re.search(rf"{re.escape(file)}:(\d+)", innermost)
            decoding = decoding or (found and int(found[1]) in lines)
        if decoding:
            bad.append(call)
    print(f"{ELF}: {len(calls)} calls of the panic handler, {len(bad)} of them in what reads from the line")
    assert not bad, "\n".join(bad)


sizes()
panics()
