"""Checks a run's TensorBoard event files with TensorBoard's own reader, against the run's steps.csv.

usage: check_events.py RUN
Exits with 1 if a point is missing, doubled or different, or a picture is not there.
"""

import csv
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SCALARS = {"loss": "loss", "lr": "lr", "images_per_second": "images_per_second"}


def main(run: Path) -> int:
    with open(run / "steps.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # 0: keep everything.
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    wrong = []
    # The parts of a loss that has any.
    parts = {name: name for name in ["reconstruction", "joint"] if rows and name in rows[0]}
    if parts:
        with open(run / "metrics.csv", newline="") as file:
            epochs = list(csv.DictReader(file))
        for tag in ["feature_std", "feature_rank"]:
            found = [(event.step, event.value) for event in events.Scalars(tag)]
            expected = [(int(row["step"]), float(row[tag])) for row in epochs]
            if len(found) != len(expected) or any(a[0] != b[0] or abs(a[1] - b[1]) > 0.006 for a, b in zip(found, expected)):
                wrong.append(f"{tag}: {found} instead of {expected}")
    for tag, column in (SCALARS | parts).items():
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        expected = [(int(row["step"]), float(row[column])) for row in rows]
        # The file has six decimals, events are f32; speeds have one decimal.
        near = all(abs(a[1] - b[1]) <= 0.06 if tag == "images_per_second" else abs(a[1] - b[1]) <= 1e-6 + 1e-6 * abs(b[1])
                   for a, b in zip(found, expected))
        if [step for step, _ in found] != [step for step, _ in expected] or not near:
            wrong.append(f"{tag}: {found} instead of {expected}")
    for tag in ["images/original", "images/visible", "images/reconstruction"]:
        if tag not in events.Tags()["images"]:
            wrong.append(f"there is no {tag}")
            continue
        for image in events.Images(tag):
            if not image.encoded_image_string.startswith(b"\x89PNG") or min(image.width, image.height) < 1:
                wrong.append(f"{tag} at step {image.step} is no picture")
    print("\n".join(wrong) or f"{len(rows)} points agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: check_events.py RUN", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(Path(sys.argv[1])))
