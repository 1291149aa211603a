"""Checks the ONNX files of a model folder with the reference tools: onnx's checker, onnxruntime, onnx's own evaluator.

usage: check_onnx.py FOLDER CASES
FOLDER is a model folder; each *.onnx file in it is checked. CASES holds V.patches.npy, V.ids.npy and, for each form of
the folder, V.FORM.mean.npy, V.FORM.tokens.npy and, if wanted, V.FORM.cls.npy as tract computed them.
One line a check; exits with 1 if one fails, with 2 if FOLDER or CASES is unusable.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

FORMS = {"encoder.onnx": "f32", "encoder.w8.onnx": "w8", "encoder.int8.onnx": "int8"}
OUTPUTS = ["cls", "mean", "tokens"]
OPSET = 17
# f32 sums in another order stay below.
EXACT = 1e-4
RUNTIME = f"onnxruntime {onnxruntime.__version__}"
EVALUATOR = f"onnx.reference {onnx.__version__}"


def interface(model: onnx.ModelProto) -> list[str]:
    """What is wrong with the graph's inputs, outputs and operator set; docs/models.md promises them."""

    def shapes(values) -> dict:
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    inputs, outputs = shapes(model.graph.input), shapes(model.graph.output)
    wrong = []
    if list(inputs) != ["patches", "ids_keep"] or list(outputs) != OUTPUTS:
        return [f"inputs {list(inputs)}, outputs {list(outputs)}"]
    for name, shape, free in [
        ("patches", inputs["patches"], [1, "V", None]),
        ("ids_keep", inputs["ids_keep"], [1, "V"]),
        ("cls", outputs["cls"], [1, None]),
        ("mean", outputs["mean"], [1, None]),
        ("tokens", outputs["tokens"], [1, "V", None]),
    ]:
        # None stands for a number that the model fixes.
        if len(shape) != len(free) or any(
            s != f if f is not None else not isinstance(s, int) or s < 1 for s, f in zip(shape, free)
        ):
            wrong.append(f"{name} is {shape}")
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets != {"": OPSET}:
        wrong.append(f"operator sets {opsets}")
    return wrong


def session(path: Path, exact: bool) -> onnxruntime.InferenceSession:
    """One thread, all graph optimisations; `exact` keeps onnxruntime from quantising what the file leaves in float."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # A missing kernel is reported by the exception; the log would say it again.
    options.log_severity_level = 4
    if exact:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def distance(found: list, expected: dict) -> tuple[float, float]:
    """Largest absolute error and smallest cosine of a vector, over the outputs that tract's side saved."""
    error, cosine = 0.0, 1.0
    for name, array in zip(OUTPUTS, found):
        if name not in expected:
            continue
        other = expected[name]
        if array.shape != other.shape:
            return np.inf, -1.0
        a, b = (x.astype(np.float64).reshape(-1, x.shape[-1]) for x in (array, other))
        cosines = (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-30)
        # NaN anywhere must not pass: Python's max and min may drop it.
        error = float(np.max([error, np.abs(a - b).max()]))
        cosine = float(np.min([cosine, cosines.min()]))
    return error, cosine


def good(form: str, error: float, cosine: float) -> bool:
    # int8: sums are exact, but a last bit of f32 can move an activation by one of 127 steps, which moves a token.
    return cosine >= 0.9995 if form == "int8" else error <= EXACT


def load_cases(folder: Path, form: str) -> list[tuple[str, dict, dict]]:
    """Name, inputs and tract's outputs of every case, the fewest patches first."""
    cases = []
    for patches in sorted(folder.glob("*.patches.npy"), key=lambda path: int(path.name.split(".")[0])):
        name = patches.name.split(".")[0]
        inputs = {"patches": np.load(patches), "ids_keep": np.load(folder / f"{name}.ids.npy")}
        files = {part: folder / f"{name}.{form}.{part}.npy" for part in OUTPUTS}
        expected = {part: np.load(file) for part, file in files.items() if part != "cls" or file.exists()}
        # The test saves a pooled vector as [1, D] or [D].
        expected = {part: x if part == "tokens" else x.reshape(1, -1) for part, x in expected.items()}
        cases.append((name, inputs, expected))
    return cases


def check_form(path: Path, form: str, model: onnx.ModelProto, cases: list) -> int:
    """Runs one file on every case; returns how many disagree."""
    engines = []
    try:
        exact = session(path, exact=True)
        engines.append((RUNTIME, "agrees", lambda inputs: exact.run(OUTPUTS, inputs)))
    except NoKernel as error:
        if form != "int8":
            raise
        print(f"int8: {RUNTIME} has no kernel for it on this machine, {EVALUATOR} alone checks it: {error}")
    if form == "int8":
        # The standard's own evaluator: numpy sums in i32, whatever kernels this machine's onnxruntime has.
        evaluator = ReferenceEvaluator(model)
        word = "concurs" if engines else "agrees"
        engines.append((EVALUATOR, word, lambda inputs: evaluator.run(OUTPUTS, inputs)))

    failed = 0
    for engine, word, run in engines:
        exact_cases = 0
        for name, inputs, expected in cases:
            error, cosine = distance(run(inputs), expected)
            fine = good(form, error, cosine)
            failed += not fine
            exact_cases += error <= EXACT
            print(
                f"{form}: {engine} {word if fine else 'DISAGREES'} with tract on {name} patches: largest error "
                f"{error:.2e}, smallest cosine {cosine:.6f} ({', '.join(expected)})"
            )
        # Cosines alone would let another way of rounding pass; it never comes so near, the right one mostly does.
        if exact_cases * 2 < len(cases):
            failed += 1
            print(f"{form}: {engine} DISAGREES with tract: only {exact_cases} of {len(cases)} cases to {EXACT}")
    if form == "w8":
        # Its default fuses these products with DequantizeLinear and then quantises the activations too
        # (MatMulNBits, microsoft/onnxruntime#27614).
        default = session(path, exact=False)
        results = [distance(default.run(OUTPUTS, inputs), expected) for _, inputs, expected in cases]
        error, cosine = np.max([r[0] for r in results]), np.min([r[1] for r in results])
        fine = cosine >= 0.999
        failed += not fine
        print(
            f"w8: {RUNTIME} with its default options {'comes near' if fine else 'STRAYS FROM'} tract: largest error "
            f"{error:.2e}, smallest cosine {cosine:.6f}"
        )
    return failed


def main(folder: Path, cases: Path) -> int:
    files = sorted(folder.glob("*.onnx"))
    if not files:
        print(f"{folder} holds no .onnx file: give a model folder", file=sys.stderr)
        return 2
    if not any(cases.glob("*.patches.npy")):
        print(f"{cases} holds no V.patches.npy: the test tests/tests/onnx_python.rs writes them", file=sys.stderr)
        return 2
    failed = 0
    for path in files:
        form = FORMS.get(path.name)
        try:
            model = onnx.load(path)
            onnx.checker.check_model(model, full_check=True)
        except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            failed += 1
            print(f"{path.name}: onnx {onnx.__version__} REFUSES it: {' '.join(str(error).split())}")
            continue
        print(f"{form or path.name}: onnx {onnx.__version__} accepts {path.name}")
        if wrong := interface(model):
            failed += 1
            print(f"{path.name}: WRONG interface: {'; '.join(wrong)}")
            continue
        if form is None:
            failed += 1
            print(f"{path.name}: UNKNOWN form: nothing to compare it with")
            continue
        failed += check_form(path, form, model, load_cases(cases, form))
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: check_onnx.py FOLDER CASES", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
