"""onnxruntime's side of `host bench encode`, which starts this program and tells it what to run, line by line.

Requests and answers are one JSON object a line, on standard input and output:

{"op": "load", "onnx": FILE, "folder": DIR, "inputs": [{"visible": V, "patches": FILE, "ids_keep": [..]}, ..]}
    -> {"forms": {NAME: FILE, ..}, "version": TEXT}; FILE of patches: V * P little-endian f32, normalised
{"op": "run", "form": NAME, "visible": V, "repeat": N} -> {"ms": MEAN}: one run that is not timed, then N that are
{"op": "feature", "form": NAME, "visible": V}          -> {"values": [..]}: the output `mean`

An answer {"error": TEXT} is a failure. One thread; models are made from the float one by onnxruntime.quantization.
"""

import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path

# Libraries print: the answers go to a descriptor of their own.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

try:
    import numpy as np
    import onnx
    import onnxruntime
    from onnxruntime import quantization
except ImportError as missing:
    print(json.dumps({"error": f"{missing}: pip install -r bench/requirements.txt"}), file=answers)
    sys.exit(1)


class Calibration(quantization.CalibrationDataReader):
    """The bench's own inputs, the most visible patches first."""

    def __init__(self, inputs: dict):
        self.rest = [inputs[visible] for visible in sorted(inputs, reverse=True)]

    def get_next(self):
        return self.rest.pop(0) if self.rest else None


def quantized(onnx_file: Path, folder: Path, inputs: dict) -> dict[str, Path]:
    forms = {
        "f32": folder / "f32.onnx",
        "dynamic int8": folder / "dynamic.onnx",
        "QOperator": folder / "qoperator.onnx",
        "QOperator matmul": folder / "qoperator-matmul.onnx",
    }
    # Written anew by onnx: rten does not read packed lists of numbers, which the original has.
    onnx.save(onnx.load(onnx_file), forms["f32"])
    # 8-bit weights signed: the faster of the two here.
    quantization.quantize_dynamic(onnx_file, forms["dynamic int8"], weight_type=quantization.QuantType.QInt8)
    for name, operators in [("QOperator", None), ("QOperator matmul", ["MatMul"])]:
        quantization.quantize_static(
            onnx_file,
            forms[name],
            Calibration(inputs),
            quant_format=quantization.QuantFormat.QOperator,
            op_types_to_quantize=operators,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    return forms


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Server:
    def load(self, request: dict) -> dict:
        self.inputs = {}
        for one in request["inputs"]:
            ids_keep = np.array([one["ids_keep"]], np.int64)
            patches = np.fromfile(one["patches"], "<f4").reshape(1, ids_keep.size, -1)
            self.inputs[one["visible"]] = {"patches": patches, "ids_keep": ids_keep}
        forms = quantized(Path(request["onnx"]), Path(request["folder"]), self.inputs)
        self.sessions = {name: session(path) for name, path in forms.items()}
        return {"forms": {name: str(path) for name, path in forms.items()}, "version": f"onnxruntime {onnxruntime.__version__}"}

    def run(self, request: dict) -> dict:
        run, given = self.sessions[request["form"]].run, self.inputs[request["visible"]]
        run(["mean"], given)
        begun = time.perf_counter()
        for _ in range(request["repeat"]):
            run(["mean"], given)
        return {"ms": (time.perf_counter() - begun) * 1e3 / request["repeat"]}

    def feature(self, request: dict) -> dict:
        (mean,) = self.sessions[request["form"]].run(["mean"], self.inputs[request["visible"]])
        return {"values": mean[0].tolist()}


def main():
    server = Server()
    operations = {"load": server.load, "run": server.run, "feature": server.feature}
    for line in sys.stdin:
        try:
            request = json.loads(line)
            answer = operations[request["op"]](request)
        except Exception as error:  # every failure is the asker's to tell
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
        print(json.dumps(answer), file=answers)


main()
