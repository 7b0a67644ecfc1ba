"""Classifiers load only what was pinned, score alike every time, and never accuse.

No explicit picture is used: what a model finds in one is not tested here, only that its scores become the
right findings and that harmless pictures are left alone.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data as photographs

from scanner.calibration import Calibration, LabelRule
from scanner.classifier import Classifier, ClassifierDetector
from scanner.classifier_directory import open_directory_detector
from scanner.detector import Need, Sample
from scanner.embedded_classifier import (
    get_embedded_calibration,
    open_embedded_classifier,
    open_embedded_detector,
)
from scanner.embedded_model import LABELS, build_model
from scanner.errors import MalformedError
from scanner.labels import Category
from scanner.preprocess import PREPROCESS_VERSION, prepare
from scanner.report import Basis, Fingerprints, MediaFacts

PHOTOGRAPHS = (
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
)


def sample(pixels: NDArray[np.uint8]) -> Sample:
    fingerprints = Fingerprints(sha256=bytes(32), sha1=bytes(20), md5=bytes(16))
    facts = MediaFacts(size=1, media_type=None)
    return Sample(fingerprints=fingerprints, facts=facts, pictures=(), pixels=pixels)


def photograph(name: str) -> NDArray[np.uint8]:
    picture = Image.fromarray(getattr(photographs, name)()).convert("RGB").resize((256, 256))
    pixels = np.asarray(picture)
    assert pixels.dtype == np.uint8
    return pixels


@pytest.fixture(scope="module")
def embedded() -> Classifier:
    return open_embedded_classifier()


def test_the_embedded_classifier_answers_as_the_original_does(embedded: Classifier) -> None:
    # Source: nsfwjs 4.4.0 in TensorFlow.js 4.22.0 on the same pixels (deploy/maintainers, step `compare`).
    ramp = np.linspace(0, 255, 256, dtype=np.uint8)
    drawn = np.stack(np.broadcast_arrays(ramp[None, :], ramp[:, None], ramp[::-1, None]), axis=2)
    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    expected = np.array(
        [
            [0.857315, 0.024599, 0.111498, 0.005420, 0.001167],
            [0.085379, 0.007698, 0.882512, 0.021945, 0.002465],
        ]
    )
    assert np.abs(embedded.score(np.stack([drawn, noise])) - expected).max() < 1e-4


def test_harmless_photographs_are_left_alone() -> None:
    detector = open_embedded_detector()
    frames = np.stack([photograph(name) for name in PHOTOGRAPHS])
    assert detector.detect(sample(frames)).findings == ()


def test_the_embedded_detector_is_advisory_and_its_state_is_integers() -> None:
    detector = open_embedded_detector()
    assert detector.advisory
    assert not detector.essential
    assert detector.need is Need.PIXELS
    assert json.loads(json.dumps(detector.state, allow_nan=False)) == detector.state
    assert "0." not in json.dumps(detector.state["thresholds"])
    assert detector.state["preprocess"] == PREPROCESS_VERSION


def test_scores_do_not_depend_on_neighbours_threads_or_repetition(embedded: Classifier) -> None:
    frames = np.stack([photograph(name) for name in PHOTOGRAPHS[:4]])
    together = embedded.score(frames)
    with ThreadPoolExecutor(4) as threads:
        apart = list(threads.map(embedded.score, [frames[i : i + 1] for i in range(4)] * 3))
    for i, scores in enumerate(apart):
        np.testing.assert_array_equal(scores[0], together[i % 4])


def test_nothing_decoded_is_not_applicable() -> None:
    empty = np.empty((0, 256, 256, 3), dtype=np.uint8)
    assert open_embedded_detector().detect(sample(empty)).not_applicable


def made(answer: Callable[[torch.Tensor], torch.Tensor]) -> ClassifierDetector:
    """Build a detector over a model that looks at nothing but the picture's mean brightness."""
    labels: dict[str, LabelRule | None] = {
        "bright": LabelRule(
            category=Category.ADULT_CONTENT,
            label="bright",
            threshold_permille=600,
            false_positives_per_million=None,
            measured_on=None,
        ),
        "dark": None,
    }
    calibration = Calibration(name="made", version="1", advisory=True, files={}, labels=labels)
    classifier = Classifier(labels=("dark", "bright"), runtime={}, infer=answer, side=32)
    return ClassifierDetector(classifier, calibration)


def test_the_highest_score_of_all_frames_decides_at_the_threshold() -> None:
    detector = made(lambda x: torch.stack([1 - x.mean(), x.mean()])[None])
    for brightness, expected in ((152, []), (153, [600]), (255, [1000])):
        frames = np.stack([np.full((256, 256, 3), value, dtype=np.uint8) for value in (0, brightness, 10)])
        findings = detector.detect(sample(frames)).findings
        assert [finding.score_permille for finding in findings] == expected
        for finding in findings:
            assert finding.basis is Basis.CLASSIFIER
            assert finding.category is Category.ADULT_CONTENT
            assert finding.advisory
            assert (finding.detector, finding.version) == (detector.name, detector.version)


def test_the_score_of_every_label_that_means_something_is_told_whether_it_fires_or_not() -> None:
    detector = made(lambda x: torch.stack([1 - x.mean(), x.mean()])[None])
    for brightness, expected in ((51, 200), (255, 1000)):
        frames = np.stack([np.full((256, 256, 3), value, dtype=np.uint8) for value in (0, brightness)])
        assert detector.detect(sample(frames)).scores == (("bright", expected),)


def test_scores_that_are_no_numbers_are_a_failure_not_an_answer() -> None:
    result = made(lambda _: torch.full((1, 2), float("nan"))).detect(
        sample(np.zeros((1, 256, 256, 3), dtype=np.uint8))
    )
    assert result.failed
    assert result.findings == ()


def test_preprocessing_scales_resizes_and_normalises() -> None:
    frame = np.zeros((256, 256, 3), dtype=np.uint8)
    frame[..., 0] = np.arange(256)[None, :]
    plain = prepare(frame, side=256)
    assert tuple(plain.shape) == (1, 3, 256, 256)
    assert plain[0, 0, 0].tolist() == pytest.approx([value / 255 for value in range(256)])
    small = prepare(frame, side=16)
    # Aligned corners: the ends stay the ends.
    assert small[0, 0, 5].tolist() == pytest.approx([value / 15 for value in range(16)], abs=1e-5)
    normal = prepare(frame, side=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.5))
    assert (float(normal[0, 0, 0, 0]), float(normal[0, 1, 0, 0])) == pytest.approx((-1, -2))
    read_only = frame.copy()
    read_only.flags.writeable = False
    assert torch.equal(prepare(read_only, side=256), plain)


def test_damaged_embedded_weights_are_refused() -> None:
    for data in (b"", b"\x00" * 100, b"\xff" * 20):
        with pytest.raises(MalformedError):
            build_model(data)


def test_the_embedded_labels_are_those_of_the_calibration() -> None:
    assert set(LABELS) == set(get_embedded_calibration().labels)


LABEL_RULES: dict[str, Any] = {
    "nsfw": {"category": "adult-content", "label": "porn", "threshold_permille": 1},
    "sfw": None,
}


def write_calibration(folder: Path, **changes: object) -> None:
    names = [path.name for path in folder.iterdir() if path.suffix in {".safetensors", ".json"}]
    document: dict[str, object] = {
        "format": 1,
        "name": "tiny",
        "version": "1",
        "preprocess": PREPROCESS_VERSION,
        "files": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in sorted(names)
            if name != "calibration.json"
        },
        "labels": LABEL_RULES,
    }
    (folder / "calibration.json").write_text(json.dumps(document | changes))


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a vision transformer of two layers with seeded random weights."""
    import transformers  # noqa: PLC0415 - slow to import, and only here

    folder = tmp_path_factory.mktemp("tiny")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        id2label={0: "sfw", 1: "nsfw"},
        label2id={"sfw": 0, "nsfw": 1},
    )
    torch.manual_seed(7)
    transformers.ViTForImageClassification(config).save_pretrained(folder, safe_serialization=True)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "do_resize": True,
                "size": {"height": 32, "width": 32},
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
            }
        )
    )
    write_calibration(folder)
    return folder


@pytest.fixture
def tiny(tiny_model: Path, tmp_path: Path) -> Path:
    """Copy the tiny model, for a test that damages it."""
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_local_model_is_loaded_and_scores(tiny_model: Path) -> None:
    import transformers  # noqa: PLC0415 - slow to import, and only here

    detector = open_directory_detector(tiny_model)
    frames = np.stack([photograph("astronaut"), photograph("coffee")])
    (finding,) = detector.detect(sample(frames)).findings
    assert (finding.detector, finding.label, finding.advisory) == ("tiny", "porn", True)
    model = transformers.AutoModelForImageClassification.from_pretrained(tiny_model)
    with torch.inference_mode():
        expected = [
            model(prepare(frame, side=32, mean=(0.5,) * 3, std=(0.5,) * 3)).logits.softmax(dim=1)[0, 1].item()
            for frame in frames
        ]
    assert finding.score_permille == round(max(expected) * 1000)
    assert detector.state["files"]
    assert set(json.loads(json.dumps(detector.state))["runtime"]) == {"torch", "transformers"}


def test_the_version_changes_with_a_threshold(tiny: Path) -> None:
    before = open_directory_detector(tiny).version
    write_calibration(tiny, labels=LABEL_RULES | {"nsfw": LABEL_RULES["nsfw"] | {"threshold_permille": 2}})
    assert open_directory_detector(tiny).version != before


def replace_in(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
        if name != "calibration.json":
            write_calibration(folder)

    return damage


def flip_a_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def unpin(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        document = json.loads((folder / "calibration.json").read_text())
        del document["files"][name]
        (folder / "calibration.json").write_text(json.dumps(document))

    return damage


def pin_pickle(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"x")
    document = json.loads((folder / "calibration.json").read_text())
    document["files"]["pytorch_model.bin"] = hashlib.sha256(b"x").hexdigest()
    (folder / "calibration.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (flip_a_weight, "model.safetensors is not the file"),
        (lambda folder: (folder / "calibration.json").unlink(), "no readable calibration.json"),
        (lambda folder: (folder / "config.json").unlink(), "cannot be read"),
        (unpin("config.json"), "must pin config.json"),
        (unpin("model.safetensors"), "must pin the weights"),
        (pin_pickle, "only safetensors"),
        (replace_in("config.json", '"hidden_size": 16', '"hidden_size": 24'), "cannot be loaded"),
        (replace_in("config.json", '"num_hidden_layers": 2', '"num_hidden_layers": 3'), "do not fit"),
        (replace_in("config.json", '"model_type": "vit"', '"model_type": "unheard-of"'), "cannot be loaded"),
        (replace_in("config.json", "{", '{"auto_map": {"AutoConfig": "evil.Config"},'), "code of its own"),
        (replace_in("config.json", '"nsfw"', '"rude"'), "lacks labels of the model: rude"),
        (
            replace_in("calibration.json", '"sfw": null', '"sfw": null, "more": null'),
            "the model lacks labels",
        ),
        (replace_in("preprocessor_config.json", "[0.5, 0.5, 0.5]", "[0.5]"), "three numbers"),
        (replace_in("preprocessor_config.json", '"width": 32', '"width": 33'), "square size"),
        (replace_in("preprocessor_config.json", '"do_rescale": true', '"do_rescale": false'), "1/255"),
        (replace_in("preprocessor_config.json", "{", "["), "not JSON"),
    ],
)
def test_a_directory_that_is_not_as_pinned_is_refused(
    tiny: Path, damage: Callable[[Path], object], word: str
) -> None:
    damage(tiny)
    with pytest.raises(MalformedError) as caught:
        open_directory_detector(tiny)
    assert word in str(caught.value)


def test_unpinned_files_in_the_directory_change_nothing(tiny: Path) -> None:
    before = open_directory_detector(tiny).detect(sample(photograph("coffee")[None]))
    (tiny / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    (tiny / "modeling_evil.py").write_text("raise SystemExit")
    (tiny / "pytorch_model.bin").write_bytes(b"\x80\x04")
    assert open_directory_detector(tiny).detect(sample(photograph("coffee")[None])) == before


def test_a_relay_without_classifiers_never_imports_torch() -> None:
    program = (
        "import sys, scanner.hashlist, scanner.index, scanner.canary, scanner.classifier, "
        "scanner.calibration, scanner.embedded_classifier, scanner.classifier_directory\n"
        "scanner.embedded_classifier.get_embedded_calibration()\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
