"""Checks that every crate of any build, all features on, is under a licence that goes with MIT OR Apache-2.0.

Reads `cargo tree --prefix none --format "{p}|{l}"` on standard input; prints each offender and exits with 1.
"""

import re
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0",
    "Unicode-3.0", "Unlicense", "Zlib",
    # Weak copyleft, file by file: the crate's own files stay under it, programs with them are free (serialport).
    "MPL-2.0",
}


def allowed(expression: str) -> bool:
    """Whether an SPDX expression can be met with the licences above. A slash is the old way to write OR."""
    tokens = re.findall(r"[()]|[^\s()/]+|/", expression.replace("/", " OR "))

    def any_of() -> bool:
        value = all_of()
        while tokens and tokens[0].upper() == "OR":
            tokens.pop(0)
            value = all_of() or value
        return value

    def all_of() -> bool:
        value = one()
        while tokens and tokens[0].upper() == "AND":
            tokens.pop(0)
            value = one() and value
        return value

    def one() -> bool:
        token = tokens.pop(0)
        if token == "(":
            value = any_of()
            tokens.pop(0)
            return value
        if tokens and tokens[0].upper() == "WITH":  # An exception only ever permits more.
            del tokens[:2]
        return token.removesuffix("+") in ALLOWED

    return any_of()


def self_test() -> None:
    for expression, expected in {
        "MIT": True,
        "MIT/Apache-2.0": True,
        "GPL-3.0": False,
        "GPL-3.0 OR MIT": True,
        "MIT AND GPL-3.0": False,
        "(MIT OR GPL-2.0) AND Unicode-3.0": True,
        "Apache-2.0 WITH LLVM-exception": True,
        "MIT AND (GPL-2.0 OR LGPL-2.1)": False,
    }.items():
        assert allowed(expression) == expected, expression


def main() -> int:
    self_test()
    crates = sorted({line.removesuffix(" (*)") for line in sys.stdin.read().splitlines() if line})
    if not crates:
        sys.exit("licences: no crates given")
    bad = [crate for crate in crates if not allowed(crate.rpartition("|")[2] or "none")]
    print("\n".join(bad) if bad else f"{len(crates)} crates, all licences allowed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
