"""Where a click's time goes, and whether another runtime would be quicker than PyTorch: the networks side by side.

    python benchmarks/click_runtimes.py [--model DIR] [--size 512x512] [--threads 2] [--repeat 20]

Exports encoder, head and refiner to ONNX and times each in PyTorch (as the product runs it: channels-last, oneDNN),
ONNX Runtime and OpenVINO, in turns, on one drawn image. A runtime that is not installed is left out:

    pip install onnx onnxscript onnxruntime openvino
"""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flywheel.data.fabric import draw_sample
from flywheel.defect_click.clicker import WINDOW, Clicker
from flywheel.defect_click.network import Features
from flywheel.defect_click.prompts import Click

Run = Callable[[], object]
ROUNDS, PAUSE = 4, 0.3  # turns of each runtime; s between them


class Encodes(nn.Module):
    """The encoder with its answer as a plain tuple, which exporters understand."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.encoder(pictures))


class Heads(nn.Module):
    """The head with its features as plain arguments."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.head(Features(*tensors[:-1]), tensors[-1])


def parts_of(clicker: Clicker, rgb: np.ndarray) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """Each network with inputs of the shapes that an image of this size gives."""
    features = clicker.set_image(rgb).features
    height, width = (2 * side for side in features.half.shape[2:])
    channels = 3 + clicker.net.config.reference
    pictures = torch.randn(1, channels, height, width).contiguous(memory_format=torch.channels_last)
    window = torch.randn(1, channels, WINDOW, WINDOW).contiguous(memory_format=torch.channels_last)
    prompts = torch.rand(1, 3, height, width)
    local = torch.rand(1, 3 + clicker.net.config.points, WINDOW, WINDOW)
    return {
        "encoder": (Encodes(clicker.net.encoder), (pictures,)),
        "head": (Heads(clicker.net.head), (*features, prompts)),
        "refiner": (clicker.net.refiner, (window, torch.randn(1, 1, WINDOW, WINDOW), local)),
    }


def in_torch(module: nn.Module, inputs: tuple[Tensor, ...]) -> Run:
    def run() -> object:
        with torch.inference_mode():
            return module(*inputs)

    return run


def in_onnxruntime(path: Path, inputs: tuple[Tensor, ...], threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    feed = {name: np.ascontiguousarray(value.numpy()) for name, value in zip(names, inputs, strict=True)}
    return lambda: session.run(None, feed)


def in_openvino(path: Path, inputs: tuple[Tensor, ...], threads: int) -> Run:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    arrays = [np.ascontiguousarray(value.numpy()) for value in inputs]
    return lambda: compiled(arrays)


def timed(runs: dict[str, Run], repeat: int) -> dict[str, float]:
    """Median ms of each, in turns of several runs: a runtime's threads spin for a while after its last one."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            time.sleep(PAUSE)
            run()
            for _ in range(-(-repeat // ROUNDS)):
                began = time.perf_counter()
                run()
                taken[name].append(1000 * (time.perf_counter() - began))
    return {name: float(np.median(values)) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--size", default="512x512")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    width, height = (int(part) for part in arguments.size.split("x"))
    clicker = Clicker.load(arguments.model)
    rgb = draw_sample(0, 0, size=(height, width), classes=(1,)).image
    state = clicker.set_image(rgb)
    clicks = [Click(height // 2, width // 2, True)]
    whole = timed(
        {"look": lambda: clicker.set_image(rgb), "click": lambda: clicker.click(state, clicks)}, arguments.repeat
    )
    print("| part | PyTorch ms | ONNX Runtime ms | OpenVINO ms | largest difference |\n|---|---|---|---|---|")
    total: dict[str, float] = {}
    for name, (module, inputs) in parts_of(clicker, rgb).items():
        runs = {"torch": in_torch(module.eval(), inputs)}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.onnx"
            if importlib.util.find_spec("onnxscript"):
                torch.onnx.export(module.eval(), inputs, str(path), dynamo=True, verbose=False)
            for runtime, load in (("onnxruntime", in_onnxruntime), ("openvino", in_openvino)):
                if path.exists() and importlib.util.find_spec(runtime):
                    runs[runtime] = load(path, inputs, arguments.threads)
            found = timed(runs, arguments.repeat)
            gap = largest_difference([run() for run in runs.values()])
        total[name] = found["torch"]
        cells = [
            f"{found[key]:.1f}" if key in found else "not installed" for key in ("torch", "onnxruntime", "openvino")
        ]
        print(f"| {name} | {' | '.join(cells)} | {gap:.1e} |")
    print(f"look at the image: {whole['look']:.1f} ms, of which the encoder {total['encoder'] / whole['look']:.0%}")
    networks = total["head"] + total["refiner"]
    print(f"click: {whole['click']:.1f} ms, of which head and refiner {networks / whole['click']:.0%}")


def largest_difference(answers: Sequence[Any]) -> float:
    """Of every runtime's first output to PyTorch's, which comes first."""
    first = [np.asarray(one if isinstance(one, Tensor) else one[0]) for one in answers]
    return max((float(np.abs(one - first[0]).max()) for one in first[1:]), default=0.0)


if __name__ == "__main__":
    main()
