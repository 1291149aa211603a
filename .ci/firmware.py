"""Checks a Cortex-M firmware (argument: ELF file): its size without the model, which docs/firmware.md and
`edge::linux::boards` count on, and that what reads from the line has no call of the panic handler.

Needs readelf and llvm-objdump."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ELF = sys.argv[1]
BUFFERS = ["IMAGE", "VISIBLE", "NOISE", "IDS", "LINES"]
PANICS = "panicking|unwrap_failed|expect_failed|len_mismatch_fail|slice_index_fail|panic_already|something_went_wrong"

# The functions that turn bytes into messages and images; they are not inlined.
READING = [
    r"firmware::uart::interrupt",
    r"firmware::uart::receive",
    r"<firmware::uart::Reader as .*Read>::read",
    r"common::wire::frame::Decoder>::push",
    r"common::wire::frame::Decoder>::finish",
    r"edge::serve::Server<.*>::run",
    r"edge::serve::Server<.*>::answer",
    r"edge::serve::Server<.*>::take",
]


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def constant(name):
    text = (ROOT / "edge/src/linux/boards.rs").read_text()
    return eval(re.search(rf"pub const {name}: usize = ([\d <]+);", text)[1])


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
    """Looks for calls of the panic handler in the functions that read from the line."""
    calls, found, function = 0, set(), ""
    for line in output("llvm-objdump", "-d", "--no-show-raw-insn", "-C", ELF).splitlines():
        if begin := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            # `$t` and the like mark the kind of what follows, inside a function.
            function = function if begin[1].startswith("$") else begin[1]
            found |= {name for name in READING if re.search(name, function)}
        elif re.match(rf"\s*[0-9a-f]+:\s+b\S*\s.*<.*(?:{PANICS}).*>", line):
            calls += 1
            assert not any(re.search(name, function) for name in READING), f"{function} may panic: {line}"
    assert calls and found == set(READING), f"are their names others? {set(READING) - found or PANICS}"
    print(f"{ELF}: {calls} calls of the panic handler, none of them in what reads from the line")


sizes()
panics()
