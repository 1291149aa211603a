"""Checks the ONNX files of a model folder with the reference tools.

usage: check_onnx.py FOLDER CASES
FOLDER holds encoder*.onnx; CASES holds N.patches.npy, N.ids.npy and, for each form, N.FORM.tokens.npy and
N.FORM.mean.npy as tract computed them. Exits with 1 if anything disagrees.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

FORMS = {"f32": "encoder.onnx", "w8": "encoder.w8.onnx", "int8": "encoder.int8.onnx"}


def main(folder: Path, cases: Path) -> int:
    failed = 0
    for form, name in FORMS.items():
        model = onnx.load(folder / name)
        onnx.checker.check_model(model, full_check=True)
        print(f"{form}: onnx {onnx.__version__} accepts {name}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        if form == "w8":
            # Its optimiser would quantise the activations of these products too, which is another calculation.
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
        for patches in sorted(cases.glob("*.patches.npy")):
            case = patches.name.split(".")[0]
            inputs = {"patches": np.load(patches), "ids_keep": np.load(cases / f"{case}.ids.npy")}
            _, mean, tokens = session.run(["cls", "mean", "tokens"], inputs)
            expected = {part: np.load(cases / f"{case}.{form}.{part}.npy") for part in ("mean", "tokens")}
            assert tokens.shape == expected["tokens"].shape, (tokens.shape, expected["tokens"].shape)
            error = max(np.abs(mean - expected["mean"]).max(), np.abs(tokens - expected["tokens"]).max())
            a, b = mean.ravel(), expected["mean"].ravel()
            cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            # Exact sums, but a last bit of f32 can move an activation by one of 127 steps.
            good = cosine > 0.9995 if form == "int8" else error < 1e-4
            failed += not good
            word = "agrees" if good else "DISAGREES"
            print(
                f"{form}: onnxruntime {onnxruntime.__version__} {word} with tract on {case} patches: "
                f"largest error {error:.2e}, cosine {cosine:.6f}"
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
