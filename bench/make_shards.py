"""Tar shards of made images, as webdataset writes them, to try and to time `host pretrain --data`.

    python bench/make_shards.py --out shards --count 1000000 --each 10000 --side 32
    host bench pretrain --data 'shards/made-{000..099}.tar'

Each sample is a PNG and its class. The images are soft gradients with noise, a few hundred of them, repeated: they
cost as much to read and decode as others of their size, and mean nothing. Needs nothing but Python.
"""

import argparse
import io
import random
import struct
import sys
import tarfile
import zlib
from pathlib import Path

# Different images; the next ones repeat them.
DIFFERENT = 512


def png(side: int, rng: random.Random) -> bytes:
    """An RGB image, filtered by rows as encoders do (Sub), so that it packs like a photograph."""
    low = [rng.randrange(40, 120) for _ in range(3)]
    down = [rng.uniform(-1, 1) * 80 / side for _ in range(3)]
    right = [rng.uniform(-1, 1) * 80 / side for _ in range(3)]
    rows = bytearray()
    for y in range(side):
        value = lambda x, c: int(low[c] + 60 + down[c] * y + right[c] * x + rng.gauss(0, 4)) & 255
        values = [[value(x, c) for c in range(3)] for x in range(side)]
        rows.append(1)
        before = [0, 0, 0]
        for pixel in values:
            rows.extend((pixel[c] - before[c]) & 255 for c in range(3))
            before = pixel

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--count", type=int, default=10_000, help="images")
    parser.add_argument("--each", type=int, default=10_000, help="images of a shard")
    parser.add_argument("--side", type=int, default=32, help="pixels")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if min(args.count, args.each, args.side) < 1:
        print("make_shards: --count, --each and --side must be at least 1", file=sys.stderr)
        return 2
    if args.out.exists():
        print(f"make_shards: {args.out} is there already: name another folder", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True)
    rng = random.Random(args.seed)
    images = [png(args.side, rng) for _ in range(min(DIFFERENT, args.count))]
    shards = -(-args.count // args.each)
    width = max(3, len(str(shards - 1)))
    for shard in range(shards):
        with tarfile.open(args.out / f"made-{shard:0{width}}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for index in range(shard * args.each, min((shard + 1) * args.each, args.count)):
                for ending, content in (("png", images[index % len(images)]), ("cls", str(index % 10).encode())):
                    member = tarfile.TarInfo(f"{index:09}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    print(f"{args.count} images: --data '{args.out}/made-{{{0:0{width}}..{shards - 1:0{width}}}}.tar'")
    return 0


sys.exit(main())
