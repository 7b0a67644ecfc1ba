"""Zero-shot models and ONNX graphs score as their makers' own code does, and nothing unpinned is read."""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from scanner import classifier_onnx
from scanner.calibration import parse_calibration
from scanner.classifier import model_of
from scanner.classifier_directory import open_directory_classifier, open_directory_detector
from scanner.classifier_int8 import MAX_FEATURES, Int8Linear, quantize_linears
from scanner.classifier_precision import Device, Machine, Precision, choose_device, choose_precision
from scanner.errors import MalformedError
from scanner.model_files import read_calibration
from scanner.preprocess import prepare
from tests.images import photograph
from tests.scanner.models import PROMPTS, SIDE, pin, write_onnx, write_vit, write_zero_shot

HALF = (0.5, 0.5, 0.5)


def frames() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    pictures = [photograph(name).convert("RGB").resize((256, 256)) for name in ("astronaut", "coffee")]
    return np.stack([np.asarray(one, dtype=np.uint8) for one in pictures])


def pictures() -> torch.Tensor:
    return torch.cat([prepare(frame, side=SIDE, mean=HALF, std=HALF) for frame in frames()])


def scores_of(
    folder: Path, cache_dir: Path | None = None
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return open_directory_classifier(folder, read_calibration(folder), cache_dir=cache_dir).score(frames())


def test_clip_chooses_among_the_sentences_as_the_library_does(tmp_path: Path) -> None:
    import transformers  # noqa: PLC0415 - slow to import, and only here

    write_zero_shot(tmp_path, "clip")
    prompts = {"nsfw": ["a lewd drawing"], "sfw": ["a photo of a harbour"]}
    pin(tmp_path, prompts=prompts, precision="fp32")
    model = transformers.CLIPModel.from_pretrained(tmp_path)
    ids = [torch.tensor([[0, 3, 4, 5, 1]]), torch.tensor([[0, 3, 6, 7, 3, 8, 1]])]
    with torch.inference_mode():
        logits = torch.cat(
            [model(input_ids=one, pixel_values=pictures()).logits_per_image for one in ids], dim=1
        )
    np.testing.assert_allclose(scores_of(tmp_path), logits.softmax(dim=1).numpy(), atol=1e-5)


def test_siglip_judges_every_sentence_by_itself_as_the_library_does(tmp_path: Path) -> None:
    import transformers  # noqa: PLC0415 - slow to import, and only here

    write_zero_shot(tmp_path, "siglip")
    prompts = {"nsfw": ["A lewd drawing"], "sfw": ["a photo of a harbour"]}
    pin(tmp_path, prompts=prompts, precision="fp32")
    model = transformers.SiglipModel.from_pretrained(tmp_path)
    ids = torch.tensor([[0, 3, 4, 5, 1] + [2] * 7, [0, 3, 6, 7, 3, 8, 1] + [2] * 5])
    with torch.inference_mode():
        logits = model(input_ids=ids, pixel_values=pictures()).logits_per_image
    np.testing.assert_allclose(scores_of(tmp_path), logits.sigmoid().numpy(), atol=1e-5)


def test_sentences_are_turned_into_numbers_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, cache = tmp_path / "model", tmp_path / "cache"
    model.mkdir()
    write_zero_shot(model, "clip")
    pin(model, prompts=PROMPTS)
    first = scores_of(model, cache)
    (kept,) = cache.iterdir()

    def refuse(*_: object) -> None:
        raise AssertionError("the sentences were read again")

    with monkeypatch.context() as patch:
        patch.setattr("scanner.classifier_zero_shot._embed", refuse)
        np.testing.assert_array_equal(scores_of(model, cache), first)
    # Other sentences are other numbers, and what was kept badly is made again.
    pin(model, prompts={**PROMPTS, "sfw": ["a drawing"]})
    assert not np.array_equal(scores_of(model, cache), first)
    assert len(list(cache.iterdir())) == 2
    kept.write_bytes(b"torn")
    pin(model, prompts=PROMPTS)
    np.testing.assert_array_equal(scores_of(model, cache), first)


def test_sentences_are_part_of_the_state_and_of_the_version(tmp_path: Path) -> None:
    write_zero_shot(tmp_path, "clip")
    pin(tmp_path, prompts=PROMPTS)
    before = open_directory_detector(tmp_path)
    pin(tmp_path, prompts={**PROMPTS, "sfw": ["a drawing"]})
    after = open_directory_detector(tmp_path)
    assert before.state["prompts"] != after.state["prompts"]
    assert model_of(before.version) != model_of(after.version)


def test_an_onnx_graph_scores_as_it_says(tmp_path: Path) -> None:
    write_onnx(tmp_path)
    pin(tmp_path)
    weights = np.random.default_rng(5).normal(0, 0.02, (3 * SIDE * SIDE, 2)).astype(np.float32)
    logits = pictures().reshape(2, -1).numpy() @ weights
    expected = torch.from_numpy(logits).softmax(dim=1).numpy()
    np.testing.assert_allclose(scores_of(tmp_path), expected, atol=1e-5)
    assert set(open_directory_detector(tmp_path).state["runtime"]) == {"onnxruntime", "torch", "int8"}  # type: ignore[call-overload]


def test_weights_beside_the_graph_are_read_if_they_are_pinned(tmp_path: Path) -> None:
    write_onnx(tmp_path)
    pin(tmp_path)
    inside = scores_of(tmp_path)
    write_onnx(tmp_path, external="model.onnx_data")
    pin(tmp_path)
    np.testing.assert_array_equal(scores_of(tmp_path), inside)
    document = json.loads((tmp_path / "calibration.json").read_text())
    del document["files"]["model.onnx_data"]
    (tmp_path / "calibration.json").write_text(json.dumps(document))
    with pytest.raises(MalformedError, match="external data must be pinned"):
        scores_of(tmp_path)


def damage_data(folder: Path) -> None:
    write_onnx(folder, external="model.onnx_data")
    pin(folder)
    (folder / "model.onnx_data").write_bytes(b"\0" * (folder / "model.onnx_data").stat().st_size)


def point_outside(folder: Path) -> None:
    write_onnx(folder, external="../elsewhere")
    (folder.parent / "elsewhere").write_bytes((folder / "model.onnx_data").read_bytes())
    pin(folder)


def point_absolutely(folder: Path) -> None:
    write_onnx(folder, external="model.onnx_data")
    write_onnx(folder, external=str(folder / "model.onnx_data"))
    pin(folder)


def link_outside(folder: Path) -> None:
    write_onnx(folder, external="link.onnx_data")
    (folder / "model.onnx_data").rename(folder.parent / "elsewhere")
    (folder / "link.onnx_data").symlink_to("../elsewhere")
    pin(folder, files=json.loads((pin(folder), (folder / "calibration.json").read_text())[1])["files"])
    (folder.parent / "elsewhere").write_bytes(b"something else")


def ask_for_code(folder: Path) -> None:
    write_onnx(folder)
    (folder / "config.json").write_text('{"auto_map": {}, "id2label": {"0": "sfw", "1": "nsfw"}}')
    pin(folder)


def cut(folder: Path) -> None:
    write_onnx(folder)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:200])
    pin(folder)


def mix(folder: Path) -> None:
    write_onnx(folder)
    (folder / "model.safetensors").write_bytes(b"x")
    pin(folder)


def pin_code(folder: Path) -> None:
    write_onnx(folder)
    (folder / "modeling.py").write_text("raise SystemExit")
    pin(folder)


def written(**options: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_onnx(folder, **options)  # type: ignore[arg-type]
        pin(folder)

    return write


def without_names(folder: Path) -> None:
    write_onnx(folder)
    (folder / "config.json").write_text('{"id2label": {"1": "sfw", "2": "nsfw"}}')
    pin(folder)


def of_another_size(folder: Path) -> None:
    write_onnx(folder, side=64)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": 32, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    pin(folder)


def test_a_graph_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_onnx, "_MAX_RUN", timedelta(milliseconds=200))
    write_onnx(tmp_path)
    model = onnx.load(str(tmp_path / "model.onnx"))
    rows, go_on = helper.make_tensor_value_info, TensorProto.BOOL
    inner = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Identity", ["row"], ["rows"])],
        "again",
        [
            rows("round", TensorProto.INT64, []),
            rows("go", go_on, []),
            rows("row", TensorProto.FLOAT, ["batch", 2]),
        ],
        [rows("goes", go_on, []), rows("rows", TensorProto.FLOAT, ["batch", 2])],
    )
    model.graph.node[-1].output[0] = "once"
    model.graph.node.append(helper.make_node("Loop", ["", "yes", "once"], ["logits"], body=inner))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))  # noqa: FBT003 - a scalar
    onnx.save(model, str(tmp_path / "model.onnx"))
    pin(tmp_path)
    with pytest.raises(MalformedError, match="longer than a minute"):
        open_directory_detector(tmp_path)


def test_sums_that_would_not_fit_stay_in_floats() -> None:
    wide = torch.nn.Sequential(torch.nn.Linear(MAX_FEATURES - MAX_FEATURES % 8 + 8, 64, bias=False))
    assert quantize_linears(wide) == 0
    most = torch.nn.Linear(MAX_FEATURES - MAX_FEATURES % 8, 64, bias=False)
    with torch.no_grad():
        most.weight.fill_(1.0)
    exact = most(torch.ones(1, most.in_features))
    assert torch.allclose(Int8Linear(most)(torch.ones(1, most.in_features)), exact)


def without_end(folder: Path) -> None:
    write_onnx(folder)
    pin(folder)
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("/dev/zero")


def with_a_pipe(folder: Path) -> None:
    write_onnx(folder)
    os.mkfifo(folder / "calibration.json")


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (without_end, "is no plain file"),
        (with_a_pipe, "no readable calibration.json"),
        (damage_data, "model.onnx_data is not the file"),
        (point_outside, "external data must be pinned"),
        (point_absolutely, "external data must be pinned"),
        (link_outside, "link.onnx_data is not the file"),
        (ask_for_code, "code of its own"),
        (cut, "cannot be loaded"),
        (mix, "but not both"),
        (pin_code, "pins modeling.py"),
        (written(operator="Evil", domain="org.evil"), "cannot be loaded"),
        (written(outputs=3), "must give 2 scores"),
        (without_names, "from 0 on"),
        (of_another_size, "of the shape [N, 3, 32, 32]"),
    ],
)
def test_a_hostile_or_broken_graph_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], word: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    damage(folder)
    with pytest.raises(MalformedError) as caught:
        open_directory_detector(folder)
    assert word in str(caught.value)


def claim_a_giant(folder: Path) -> None:
    write_vit(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 1 << 40}))
    pin(folder)


def unread(folder: Path) -> None:
    write_zero_shot(folder, "clip")
    (folder / "tokenizer.json").unlink()
    pin(folder, prompts=PROMPTS)


def of_no_kind(folder: Path) -> None:
    write_vit(folder)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    pin(folder, prompts=PROMPTS)


def with_anothers_tokenizer(folder: Path) -> None:
    write_zero_shot(folder, "clip")
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace('"lewd": 4', '"lewd": 4000'))
    pin(folder, prompts=PROMPTS)


def with_a_torn_tokenizer(folder: Path) -> None:
    write_zero_shot(folder, "clip")
    (folder / "tokenizer.json").write_text("{")
    pin(folder, prompts=PROMPTS)


def without_filling(folder: Path) -> None:
    write_zero_shot(folder, "siglip")
    (folder / "tokenizer_config.json").write_text("{}")
    pin(folder, prompts=PROMPTS)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (claim_a_giant, "cannot be loaded"),
        (unread, "must pin tokenizer.json"),
        (of_no_kind, "must be of the kinds clip, siglip"),
        (with_anothers_tokenizer, "does not belong to this model"),
        (with_a_torn_tokenizer, "not a tokenizer"),
        (without_filling, "fills sentences up"),
    ],
)
def test_a_hostile_or_broken_model_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], word: str
) -> None:
    damage(tmp_path)
    with pytest.raises(MalformedError) as caught:
        open_directory_detector(tmp_path)
    assert word in str(caught.value)


@pytest.mark.parametrize(("precision", "bits"), [("bf16", 2e-2), ("int8", 2e-2)])
def test_faster_arithmetic_scores_almost_alike_and_says_so(
    tmp_path: Path, precision: str, bits: float
) -> None:
    write_vit(tmp_path)
    pin(tmp_path, precision="fp32")
    exact, plain = scores_of(tmp_path), open_directory_detector(tmp_path)
    pin(tmp_path, precision=precision)
    fast, faster = scores_of(tmp_path), open_directory_detector(tmp_path)
    assert np.abs(fast - exact).max() < bits
    assert not np.array_equal(fast, exact)
    assert faster.state["precision"] == precision
    assert model_of(faster.version) != model_of(plain.version)


def test_the_machine_decides_where_the_calibration_does_not() -> None:
    linear = torch.nn.Linear(64, 64)
    folded = torch.nn.Conv2d(3, 8, 3)
    fast = Machine(device=Device.CPU, has_int8=True, has_bf16=True)
    assert choose_precision(fast, linear) is Precision.INT8
    assert choose_precision(fast, folded) is Precision.BF16
    slow = Machine(device=Device.CPU, has_int8=False, has_bf16=False)
    assert choose_precision(slow, linear) is Precision.FP32
    graphics = Machine(device=Device.CUDA, has_int8=True, has_bf16=True)
    assert choose_precision(graphics, linear) is Precision.BF16
    assert choose_device(graphics, Precision.BF16) is Device.CUDA
    # Thresholds that were measured in small integers stay with the processor, wherever the model moves.
    assert choose_device(graphics, Precision.INT8) is Device.CPU


def test_a_threshold_changes_the_version_but_not_the_model(tmp_path: Path) -> None:
    write_onnx(tmp_path)
    pin(tmp_path)
    before = open_directory_detector(tmp_path).version
    rules = {"nsfw": {"category": "adult-content", "threshold_permille": 2}, "sfw": None}
    pin(tmp_path, labels=rules)
    after = open_directory_detector(tmp_path).version
    assert before != after
    assert model_of(before) == model_of(after)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"precision": "fp4"}, "`precision` must be"),
        ({"precision": 8}, "`precision` must be"),
        ({"prompts": {"nsfw": ["a"]}}, "exactly the labels"),
        ({"prompts": {"nsfw": [], "sfw": ["a"]}}, "1 to 64 sentences"),
        ({"prompts": {"nsfw": ["a" * 257], "sfw": ["a"]}}, "printable"),
        ({"prompts": {"nsfw": "a", "sfw": ["a"]}}, "1 to 64 sentences"),
    ],
)
def test_a_calibration_says_what_is_wrong_with_it(
    tmp_path: Path, changes: dict[str, object], word: str
) -> None:
    pin(tmp_path, files={"model.onnx": "00" * 32}, **changes)
    with pytest.raises(MalformedError, match=word):
        parse_calibration((tmp_path / "calibration.json").read_bytes())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no graphics processor for torch")
def test_a_graphics_processor_scores_almost_as_the_processor_does(tmp_path: Path) -> None:
    write_vit(tmp_path)
    pin(tmp_path, precision="fp32")
    classifier = open_directory_classifier(tmp_path, read_calibration(tmp_path))
    assert classifier.device is Device.CUDA
    import transformers  # noqa: PLC0415 - slow to import, and only here

    model = transformers.ViTForImageClassification.from_pretrained(tmp_path)
    with torch.inference_mode():
        expected = model(pixel_values=pictures()).logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(classifier.score(frames()), expected, atol=5e-3)


def test_pictures_of_any_size_are_brought_to_the_models(tmp_path: Path) -> None:
    write_onnx(tmp_path)
    pin(tmp_path)
    small = np.asarray(Image.new("RGB", (256, 256), (200, 10, 10)), dtype=np.uint8)[None]
    classifier = open_directory_classifier(tmp_path, read_calibration(tmp_path))
    assert classifier.score(small).shape == (1, 2)
    assert classifier.score(small[:0]).shape == (0, 2)
