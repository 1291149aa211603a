"""Makes image files of many kinds, and what Pillow reads of them, for tests/tests/images_python.rs.

usage: make_images.py FOLDER
       make_images.py --few FOLDER
Writes FOLDER/files/*, FOLDER/prepared/* (each file upright, in RGB and 32x32, by Pillow), FOLDER/pillow/* (raw
pixels, rows by columns by channels) and FOLDER/cases.tsv: for each case its label, the file, channels, what Pillow cut
out (left, top, width, height; empty for the whole), the size it was resized to (height, width), the largest difference
that is allowed, and the raw file. The smallest side is 1, the largest 224; everything is made from formulas. With
--few: the files of tests/images, one of a kind, and beside them, in right/, what Pillow reads as PNG.
"""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

BICUBIC = Image.Resampling.BICUBIC
SIZES = [(48, 64), (37, 53), (1, 1), (2, 3), (17, 16), (5, 131), (16, 33)]


def photo(height, width, seed=0):
    """Gradients, waves, a disk and some noise; every value of 8 bits is there."""
    y, x = np.mgrid[0:height, 0:width]
    random = np.random.default_rng(seed)
    planes = [x * 255 / width, y * 255 / height, 128 + 120 * np.sin((x + 2 * y + seed) / 5)]
    image = np.stack(planes, -1) + random.normal(0, 12, (height, width, 3))
    image[(y - height // 3) ** 2 + (x - width // 4) ** 2 < 60] = random.integers(0, 255, 3)
    return image.clip(0, 255).astype(np.uint8)


# A small JPEG encoder, for the samplings that Pillow does not write: the tables are those of annex K of the standard.

DC = ([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], list(range(12)))


def flat_ac():
    """All run and size pairs with codes of 8 and 9 bits: no good code, but a valid one."""
    symbols = [0x00, 0xF0] + [run << 4 | size for run in range(16) for size in range(1, 11)]
    counts = [0] * 16
    counts[7], counts[8] = 160, len(symbols) - 160
    return counts, symbols


def codes(counts, symbols):
    """The code and its length of each symbol."""
    found, code, at = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[at : at + count]:
            found[symbol] = (code, length)
            code += 1
        at += count
        code <<= 1
    return found


ZIGZAG = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14,
    21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60,
    61, 54, 47, 55, 62, 63,
]  # fmt: skip


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + bytes(content)


def jpeg(image, sampling, quant=6, restart=0, separate=False, jfif=True):
    """A baseline JPEG with the sampling factors [(h, v), ...]; `separate`: a scan for each component."""
    height, width = image.shape[:2]
    converted = Image.fromarray(image).convert("YCbCr" if len(sampling) == 3 else "L")
    components = np.asarray(converted).reshape(height, width, -1)
    most = max(h for h, _ in sampling), max(v for _, v in sampling)
    mcus = -(-height // (8 * most[1])), -(-width // (8 * most[0]))
    k = np.arange(8)
    basis = np.cos((2 * k[None] + 1) * k[:, None] * np.pi / 16) * np.where(k == 0, 8**-0.5, 0.5)[:, None]
    blocks = []
    for index, (h, v) in enumerate(sampling):
        plane = Image.fromarray(np.ascontiguousarray(components[..., index]))
        size = -(-width * h // most[0]), -(-height * v // most[1])
        plane = np.asarray(plane.resize(size, Image.Resampling.BOX) if size != plane.size else plane)
        rows, columns = mcus[0] * v * 8, mcus[1] * h * 8
        plane = np.pad(plane, ((0, rows - plane.shape[0]), (0, columns - plane.shape[1])), "edge").astype(float) - 128
        tiles = plane.reshape(rows // 8, 8, columns // 8, 8).transpose(0, 2, 1, 3)
        blocks.append(np.round(basis @ tiles @ basis.T / quant).astype(int))
    dc, ac = codes(*DC), codes(*flat_ac())

    def scan(parts):
        out, bits, count, predicted = bytearray(), 0, 0, dict.fromkeys(parts, 0)

        def put(value, length):
            nonlocal bits, count
            bits, count = bits << length | value, count + length
            while count >= 8:
                byte = bits >> (count - 8) & 255
                out.append(byte)
                if byte == 255:
                    out.append(0)
                count -= 8
            bits &= (1 << count) - 1

        def number(value):
            size = int(abs(value)).bit_length()
            return size, int(value) if value >= 0 else int(value) + (1 << size) - 1

        def block(part, row, column):
            values = blocks[part][row, column].reshape(64)[ZIGZAG]
            size, value = number(values[0] - predicted[part])
            predicted[part] = values[0]
            put(*dc[size])
            put(value, size)
            zeros = 0
            for value in values[1:]:
                if value == 0:
                    zeros += 1
                    continue
                for _ in range(zeros // 16):
                    put(*ac[0xF0])
                size, value = number(value)
                put(*ac[zeros % 16 << 4 | size])
                put(value, size)
                zeros = 0
            if zeros:
                put(*ac[0])

        if len(parts) > 1:
            inside = [(p, x, y) for p in parts for y in range(sampling[p][1]) for x in range(sampling[p][0])]
            places = [(row, column) for row in range(mcus[0]) for column in range(mcus[1])]
            mcu = lambda row, column: [(p, row * sampling[p][1] + y, column * sampling[p][0] + x) for p, x, y in inside]
            order = [mcu(row, column) for row, column in places]
        else:
            h, v = sampling[parts[0]]
            rows, columns = -(-(-(-height * v // most[1])) // 8), -(-(-(-width * h // most[0])) // 8)
            order = [[(parts[0], r, c)] for r in range(rows) for c in range(columns)]
        for index, mcu in enumerate(order):
            if restart and index and index % restart == 0:
                put((1 << -count % 8) - 1, -count % 8)
                out.extend([0xFF, 0xD0 + (index // restart - 1) % 8])
                predicted = dict.fromkeys(parts, 0)
            for place in mcu:
                block(*place)
        put((1 << -count % 8) - 1, -count % 8)
        header = [len(parts)] + [byte for part in parts for byte in (part + 1, 0)] + [0, 63, 0]
        return segment(0xDA, header) + bytes(out)

    frame = struct.pack(">BHHB", 8, height, width, len(sampling))
    frame += bytes(byte for index, (h, v) in enumerate(sampling) for byte in (index + 1, h << 4 | v, 0))
    scans = [[index] for index in range(len(sampling))] if separate else [list(range(len(sampling)))]
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") if jfif else b"",
            segment(0xDB, [0] + [quant] * 64),
            segment(0xC0, frame),
            segment(0xC4, [0x00, *DC[0], *DC[1]]),
            segment(0xC4, [0x10, *flat_ac()[0], *flat_ac()[1]]),
            segment(0xDD, struct.pack(">H", restart)) if restart else b"",
            *[scan(parts) for parts in scans],
            b"\xff\xd9",
        ]
    )


def without(data, marker):
    """A JPEG without its segments of one kind."""
    out, at = bytearray(data[:2]), 2
    while data[at + 1] != 0xDA:
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        if data[at + 1] != marker:
            out += data[at:end]
        at = end
    return bytes(out) + data[at:]


def png(pixels):
    """A PNG of 16 bits, which Pillow does not write in colour."""
    height, width = pixels.shape[:2]
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2]], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(pixels, order="<", photometric=None, planes=False, dtype="u2", sample_format=1):
    """A TIFF without compression, of 8 or 16 bits, in either order of bytes, also plane by plane."""
    height, width, channels = pixels.shape
    data = (pixels.transpose(2, 0, 1) if planes else pixels).astype(order + dtype).tobytes()
    photometric = {1: 1, 3: 2}[channels] if photometric is None else photometric
    parts = channels if planes else 1
    bits, size, at = np.dtype(dtype).itemsize * 8, len(data) // parts, 8 + 2 + 11 * 12 + 4
    extra = b""

    def entry(tag, kind, values):
        nonlocal extra
        code = {3: "H", 4: "I"}[kind]
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 4:
            place = at + len(extra)
            extra += packed
            packed = struct.pack(order + "I", place)
        return struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")

    start = at + channels * 2 * 2 + (8 * parts if parts > 1 else 0)
    entries = [
        entry(256, 4, [width]), entry(257, 4, [height]), entry(258, 3, [bits] * channels), entry(259, 3, [1]),
        entry(262, 3, [photometric]), entry(273, 4, [start + index * size for index in range(parts)]),
        entry(277, 3, [channels]), entry(278, 4, [height]), entry(279, 4, [size] * parts),
        entry(284, 3, [2 if planes else 1]), entry(339, 3, [sample_format] * channels),
    ]  # fmt: skip
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + b"\0" * 4
    return (head + directory + extra).ljust(start, b"\0") + data


class Cases:
    def __init__(self, folder):
        self.folder, self.rows, self.files = folder, [], 0
        (folder / "files").mkdir(parents=True, exist_ok=True)
        (folder / "pillow").mkdir(exist_ok=True)
        (folder / "prepared").mkdir(exist_ok=True)

    def file(self, data, extension):
        name = f"{self.files:04}.{extension}"
        self.files += 1
        (self.folder / "files" / name).write_bytes(data)
        return name

    def saved(self, image, extension, **options):
        data = io.BytesIO()
        image.save(data, **options)
        return self.file(data.getvalue(), extension)

    def add(self, label, name, mode="RGB", box=None, size=None, bound=0, expected=None):
        """`expected`: instead of what Pillow makes of the file."""
        channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode]
        image = expected
        prepared = self.folder / "prepared" / f"{name}.png"
        if expected is not None and not prepared.exists():
            expected.convert("RGB").resize((32, 32), BICUBIC).save(prepared)
        if image is None:
            if not prepared.exists():
                upright = ImageOps.exif_transpose(Image.open(self.folder / "files" / name)).convert("RGB")
                upright.resize((32, 32), BICUBIC).save(prepared)
            image = ImageOps.exif_transpose(Image.open(self.folder / "files" / name)).convert(mode)
        if size:
            corners = box and (box[0], box[1], box[0] + box[2], box[1] + box[3])
            # Band by band: of a whole image with alpha, Pillow weighs colours by it.
            bands = [band.resize((size[1], size[0]), BICUBIC, corners) for band in image.split()]
            image = Image.merge(mode, bands)
        raw = f"{len(self.rows):04}.raw"
        (self.folder / "pillow" / raw).write_bytes(image.tobytes())
        box, size = box or [""] * 4, size or image.size[::-1]
        row = [label, name, channels, *box, *size, bound, raw]
        self.rows.append("\t".join(map(str, row)))


def main(folder):
    cases = Cases(folder)
    for number, (height, width) in enumerate(SIZES):
        pixels = photo(height, width, number)
        image = Image.fromarray(pixels)
        for sampling in ("4:4:4", "4:2:2", "4:2:0"):
            for quality in (40, 75, 95):
                name = cases.saved(image, "jpg", format="JPEG", quality=quality, subsampling=sampling)
                cases.add(f"JPEG, baseline, {sampling}", name)
                cases.add("JPEG, colour to grey", name, "L")
            name = cases.saved(image, "jpg", format="JPEG", progressive=True, subsampling=sampling)
            cases.add("JPEG, progressive", name)
            name = cases.saved(image, "jpg", format="JPEG", restart_marker_blocks=2, subsampling=sampling)
            cases.add("JPEG, restart markers", name)
            options = {"progressive": True, "restart_marker_rows": 1, "subsampling": sampling}
            name = cases.saved(image, "jpg", format="JPEG", **options)
            cases.add("JPEG, restart markers", name)
        for label, sampling in {
            "4:4:0": [(1, 2), (1, 1), (1, 1)],
            "4:1:1": [(4, 1), (1, 1), (1, 1)],
            "4:1:0": [(4, 2), (1, 1), (1, 1)],
            "4:4:1": [(1, 4), (1, 1), (1, 1)],
            "of two kinds of chroma": [(2, 2), (2, 1), (1, 2)],
            "4:2:0": [(2, 2), (1, 1), (1, 1)],
        }.items():
            cases.add(f"JPEG, baseline, {label}", cases.file(jpeg(pixels, sampling), "jpg"))
            cases.add("JPEG, a scan for each colour", cases.file(jpeg(pixels, sampling, separate=True), "jpg"))
            cases.add("JPEG, restart markers", cases.file(jpeg(pixels, sampling, restart=3), "jpg"))
        cases.add("JPEG, grey", cases.file(jpeg(pixels, [(2, 2)]), "jpg"), "L")
        for mode in ("L", "RGB"):
            cases.add("JPEG, grey", cases.saved(image.convert("L"), "jpg", format="JPEG"), mode)
            cases.add("JPEG, grey", cases.saved(image.convert("L"), "jpg", format="JPEG", progressive=True), mode)
        for progressive in (False, True):
            options = {"format": "JPEG", "progressive": progressive}
            cases.add("JPEG, RGB-coded", cases.saved(image, "jpg", keep_rgb=True, **options))
            for mode in ("L", "RGB"):
                cases.add("JPEG, CMYK", cases.saved(image.convert("CMYK"), "jpg", **options), mode)
        standard = io.BytesIO()
        image.save(standard, format="JPEG")
        cases.add("JPEG without Huffman tables", cases.file(without(standard.getvalue(), 0xC4), "jpg"))
        # Pillow refuses some of the former.
        whole, label = Image.open(standard).convert("RGB"), "JPEG without end marker, or with more behind it"
        cases.add(label, cases.file(standard.getvalue()[:-2], "jpg"), expected=whole)
        cases.add(label, cases.file(standard.getvalue() + b"more" * 9, "jpg"))
        name = cases.saved(image, "jpg", format="MPO", save_all=True, append_images=[image])
        cases.add("JPEG, several in one file (MPO)", name)
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[274] = orientation
            for extension, options in {
                "jpg": {"format": "JPEG"},
                "png": {"format": "PNG"},
                "webp": {"format": "WEBP", "lossless": True},
                "tif": {"format": "TIFF"},
            }.items():
                cases.add("EXIF orientation", cases.saved(image, extension, exif=exif, **options))
        grey, alpha = image.convert("L"), Image.fromarray(photo(height, width, 50)).convert("L")
        rgba, la = image.copy(), Image.merge("LA", (grey, alpha))
        rgba.putalpha(alpha)
        palette, two = image.quantize(40), image.convert("1")
        lossless = {
            "png": [{"format": "PNG"}],
            "webp": [{"format": "WEBP", "lossless": True, "exact": True}],
            "bmp": [{"format": "BMP"}],
            "tif": [
                {"format": "TIFF", "compression": name}
                for name in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")
            ],
        }
        for extension, ways in lossless.items():
            for options in ways:
                for mode in ("L", "RGB"):
                    label = extension.upper().replace("TIF", "TIFF")
                    cases.add(f"{label}, RGB", cases.saved(image, extension, **options), mode)
                    if extension != "webp":
                        cases.add(f"{label}, grey", cases.saved(grey, extension, **options), mode)
                        cases.add(f"{label}, black and white", cases.saved(two, extension, **options), mode)
                        cases.add(f"{label}, palette", cases.saved(palette, extension, **options), mode)
                    if extension != "bmp":
                        cases.add("alpha", cases.saved(rgba, extension, **options), mode)
                        cases.add("alpha", cases.saved(rgba, extension, **options), "RGBA")
                    if extension in ("png", "tif"):
                        cases.add("alpha", cases.saved(la, extension, **options), mode)
        for mode in ("L", "RGB"):
            for quality in (30, 80):
                cases.add("WebP, lossy", cases.saved(image, "webp", format="WEBP", quality=quality), mode)
            cases.add("TIFF, CMYK", cases.saved(image.convert("CMYK"), "tif", format="TIFF"), mode)
            cases.add("TIFF of JPEGs", cases.saved(image, "tif", format="TIFF", compression="jpeg"), mode)
            cases.add("TIFF of JPEGs", cases.saved(grey, "tif", format="TIFF", compression="jpeg"), mode)
            name = cases.saved(image, "tif", format="TIFF", save_all=True, append_images=[grey])
            cases.add("TIFF, several pages", name, mode)
            cases.add("PNM", cases.saved(image, "ppm", format="PPM"), mode)
            cases.add("PNM", cases.saved(grey, "pgm", format="PPM"), mode)
            cases.add("PNM", cases.saved(two, "pbm", format="PPM"), mode)
            cases.add("name and content differ", cases.saved(image, "png", format="JPEG"), mode)
            cases.add("name and content differ", cases.saved(image, "jpg", format="PNG"), mode)
        # The upper eight bits are right; Pillow cuts grey of 16 bits off at 255.
        wide = photo(height, width, 3)[..., 0].astype(np.uint16) * 257
        upper = Image.fromarray((wide >> 8).astype(np.uint8))
        for extension, name in (("png", "PNG"), ("tif", "TIFF")):
            saved = cases.saved(Image.fromarray(wide), extension, format=name)
            cases.add(f"{name}, grey of 16 bits", saved, "L", expected=upper)
            cases.add(f"{name}, grey of 16 bits", saved, "RGB", expected=upper.convert("RGB"))
        colours = np.stack([wide, wide[::-1], wide[:, ::-1]], -1)
        cases.add("PNG, RGB of 16 bits", cases.file(png(colours), "png"))
        cases.add("PNG, RGB of 16 bits", cases.file(png(colours), "png"), "L")
        right, inverted = Image.fromarray((colours >> 8).astype(np.uint8)), Image.fromarray(255 - np.asarray(upper))
        for order in "<>":
            for planes in (False, True):
                name = cases.file(tiff(colours, order, planes=planes), "tif")
                cases.add("TIFF, RGB of 16 bits", name, expected=right)
                data = tiff(colours >> 8, order, planes=planes, dtype="u1")
                cases.add("TIFF, RGB, planes", cases.file(data, "tif"))
            cases.add("TIFF, grey of 16 bits", cases.file(tiff(wide[..., None], order), "tif"), "L", expected=upper)
            name = cases.file(tiff(wide[..., None] >> 8, order, 0, dtype="u1"), "tif")
            cases.add("TIFF, grey, white is 0", name, "L", expected=inverted)
            name = cases.file(tiff(wide[..., None], order, 0), "tif")
            cases.add("TIFF, grey, white is 0", name, "L", expected=inverted)
    for number, (height, width) in enumerate([(96, 131), (131, 96), (64, 64), (13, 7), (33, 200)]):
        for mode in ("L", "LA", "RGB", "RGBA"):
            pixels = photo(height, width, number)
            alpha = Image.fromarray(photo(height, width, 9)[..., 2])
            image = Image.merge("RGBA", [*Image.fromarray(pixels).split(), alpha])
            # Stripes of black and white overshoot most.
            if number == 2:
                stripes = np.mgrid[0:height, 0:width].sum(0) // 3 % 2 * 255
                image = Image.fromarray(stripes.astype(np.uint8)).convert("RGBA")
            name = cases.saved(image.convert(mode), "png", format="PNG")
            sizes = [(32, 32), (64, 48), (31, 33), (8, 90), (150, 20), (96, 96), (1, 1), (224, 224)]
            for size in [*sizes, (height, 32), (32, width)]:
                cases.add("resized" if mode != "L" else "resized, grey", name, mode, size=size, bound=1)
                box = (0.1 * width, 0.25 * height, 0.6 * width + 0.37, 0.5 * height)
                cases.add("resized part", name, mode, box=box, size=size, bound=1)
                box = (width // 3, height // 4, width // 2, height // 2)
                cases.add("resized part", name, mode, box=box, size=size, bound=1)
    (folder / "cases.tsv").write_text("\n".join(cases.rows) + "\n")


def few(folder):
    """Writes one file of a kind, and what Pillow reads."""
    pixels = photo(24, 40, 7)
    image = Image.fromarray(pixels)
    wide = (pixels.astype(np.uint16) * 257)[..., :1]
    grey, exif = image.convert("L"), Image.Exif()
    exif[274] = 6
    rgba = image.copy()
    rgba.putalpha(grey.point(lambda value: 0 if value < 128 else value))

    def saved(source, **options):
        data = io.BytesIO()
        source.save(data, **options)
        return data.getvalue()

    plain = saved(image, format="JPEG", quality=85)
    cmyk = saved(image.convert("CMYK"), format="JPEG")
    adobe = cmyk.index(b"Adobe") + 11
    files = {
        "baseline.jpg": plain,
        "half-wide.jpg": saved(image, format="JPEG", subsampling="4:2:2"),
        "full.jpg": saved(image, format="JPEG", subsampling="4:4:4"),
        "half-high.jpg": jpeg(pixels, [(1, 2), (1, 1), (1, 1)]),
        "separate.jpg": jpeg(pixels, [(2, 2), (1, 1), (1, 1)], separate=True),
        "progressive.jpg": saved(image, format="JPEG", progressive=True),
        "restarts.jpg": saved(image, format="JPEG", restart_marker_blocks=1),
        "grey.jpg": saved(grey, format="JPEG"),
        "rgb.jpg": saved(image, format="JPEG", keep_rgb=True),
        "cmyk.jpg": cmyk,
        "ycck.jpg": cmyk[:adobe] + b"\2" + cmyk[adobe + 1 :],
        "no-tables.jpg": without(plain, 0xC4),
        "several.jpg": saved(image, format="MPO", save_all=True, append_images=[grey]),
        "turned.jpg": saved(image, format="JPEG", exif=exif),
        "turned.png": saved(image, format="PNG", exif=exif),
        "turned.webp": saved(image, format="WEBP", lossless=True, exif=exif),
        "turned.tif": saved(image, format="TIFF", exif=exif),
        "rgb.png": saved(image, format="PNG"),
        "alpha.png": saved(rgba, format="PNG"),
        "palette.png": saved(image.quantize(9), format="PNG"),
        "two.png": saved(image.convert("1"), format="PNG"),
        "wide.png": saved(Image.fromarray(wide[..., 0]), format="PNG"),
        "wide-rgb.png": png(pixels.astype(np.uint16) * 257),
        "rgb.tif": saved(image, format="TIFF", compression="tiff_lzw"),
        "deflated.tif": saved(image, format="TIFF", compression="tiff_adobe_deflate"),
        "packed.tif": saved(grey, format="TIFF", compression="packbits"),
        "wide.tif": tiff(wide, ">"),
        "wide-rgb.tif": tiff(pixels.astype(np.uint16) * 257),
        "planes.tif": tiff(pixels, ">", planes=True, dtype="u1"),
        "alpha.tif": saved(rgba, format="TIFF"),
        "palette.tif": saved(image.quantize(9), format="TIFF"),
        "two.tif": saved(image.convert("1"), format="TIFF"),
        "cmyk.tif": saved(image.convert("CMYK"), format="TIFF"),
        "jpegs.tif": saved(image, format="TIFF", compression="jpeg"),
        "pages.tif": saved(image, format="TIFF", save_all=True, append_images=[grey]),
        "lossy.webp": saved(image, format="WEBP"),
        "alpha.webp": saved(rgba, format="WEBP", lossless=True, exact=True),
        "rgb.bmp": saved(image, format="BMP"),
        "rgb.ppm": saved(image, format="PPM"),
        "grey.pgm": saved(grey, format="PPM"),
        "two.pbm": saved(image.convert("1"), format="PPM"),
        # Without a partner in right/: they are refused.
        "float.tif": tiff(wide, dtype="f4", sample_format=3),
        "first.gif": saved(image.quantize(9), format="GIF"),
    }
    (folder / "right").mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
        right = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if name in ("wide.png", "wide.tif"):
            right = Image.fromarray((wide[..., 0] >> 8).astype(np.uint8))
        if name == "wide-rgb.tif":
            right = image
        if name not in ("float.tif", "first.gif"):
            right.convert("RGB").save(folder / "right" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--few":
        few(Path(sys.argv[2]))
    elif len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        sys.exit(__doc__)
