#!/usr/bin/env bash
# `host` against PyTorch on this machine, side by side: bench/compare.sh --help
# Needs target/release/host (cargo build --release -p host) and a Python with PyTorch (bench/requirements.txt).
set -euo pipefail
exec python3 "$(dirname "$0")/compare.py" "$@"
