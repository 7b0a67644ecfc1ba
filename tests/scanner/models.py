"""Tiny models of real architectures, with seeded random weights, as they lie in directories."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import tokenizers
import torch
from onnx import TensorProto, helper, numpy_helper

from scanner.preprocess import PREPROCESS_VERSION

SIDE = 32
LABELS = ("sfw", "nsfw")
RULES = {"nsfw": {"category": "adult-content", "label": "porn", "threshold_permille": 1}, "sfw": None}
PROMPTS = {"nsfw": ["a lewd drawing", "a lewd photo"], "sfw": ["a photo of a harbour"]}
_WORDS = ("a", "lewd", "drawing", "photo", "of", "harbour")


def pin(folder: Path, **changes: object) -> None:
    """Write a calibration that pins whatever of the model lies in a folder."""
    document: dict[str, object] = {
        "format": 1,
        "name": "tiny",
        "version": "1",
        "preprocess": PREPROCESS_VERSION,
        "files": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.iterdir())
            if path.is_file() and path.name != "calibration.json"
        },
        "labels": RULES,
    }
    (folder / "calibration.json").write_text(json.dumps(document | changes))


def write_preprocessor(folder: Path) -> None:
    document = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(document))


def write_vit(folder: Path, *, width: int = 64) -> None:
    """Write a vision transformer whose linear layers are wide enough for small integers."""
    import transformers  # noqa: PLC0415 - slow to import, and only here

    config = transformers.ViTConfig(
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        image_size=SIDE,
        patch_size=8,
        id2label=dict(enumerate(LABELS)),
        label2id={name: column for column, name in enumerate(LABELS)},
    )
    torch.manual_seed(7)
    transformers.ViTForImageClassification(config).save_pretrained(folder, safe_serialization=True)
    write_preprocessor(folder)


def write_zero_shot(folder: Path, kind: str) -> None:
    """Write a `clip` or `siglip` model with a tokenizer of six words."""
    import transformers  # noqa: PLC0415 - slow to import, and only here

    text = {
        "vocab_size": 12,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 12,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    vision = {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 8,
    }
    torch.manual_seed(11)
    if kind == "clip":
        text["projection_dim"] = vision["projection_dim"] = 24
        clip = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
        transformers.CLIPModel(clip).save_pretrained(folder)
    else:
        siglip = transformers.SiglipConfig(text_config=text, vision_config=vision)
        transformers.SiglipModel(siglip).save_pretrained(folder)
    words = {"<s>": 0, "</s>": 1, "<pad>": 2, **{word: 3 + place for place, word in enumerate(_WORDS)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>"}))
    write_preprocessor(folder)


def write_onnx(
    folder: Path,
    *,
    outputs: int = 2,
    operator: str = "MatMul",
    domain: str = "",
    external: str | None = None,
    side: int = SIDE,
) -> None:
    """Write a graph that flattens a picture and multiplies it by seeded weights.

    Args:
        folder: Where to.
        outputs: Columns that it gives.
        operator: What stands in place of the multiplication.
        domain: Whose operator that is.
        external: Where the graph says that its weights lie; None inside of it.
        side: Of the pictures that it takes.
    """
    weights = np.random.default_rng(5).normal(0, 0.02, (3 * side * side, outputs)).astype(np.float32)
    tensor = numpy_helper.from_array(weights, "weights")
    if external is not None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        place = tensor.external_data.add()
        place.key, place.value = "location", external
        (folder / "model.onnx_data").write_bytes(weights.tobytes())
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixel_values"], ["flat"]),
            helper.make_node(operator, ["flat", "weights"], ["logits"], domain=domain),
        ],
        "tiny",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])],
        initializer=[tensor],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(folder / "model.onnx"))
    config = {"id2label": {str(column): name for column, name in enumerate(LABELS)}}
    (folder / "config.json").write_text(json.dumps(config))
    write_preprocessor(folder)
