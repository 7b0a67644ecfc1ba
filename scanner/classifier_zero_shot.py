"""Load zero-shot models: a picture is compared with sentences that the calibration gives.

The sentences are turned into numbers once, and kept under the digest of everything that made them, so that a
later start loads the half of the model that sees and not the half that reads.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import tokenizers
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch.nn.functional import normalize

from scanner.classifier import Classifier
from scanner.classifier_inputs import read_inputs
from scanner.classifier_precision import choose_device, choose_precision, inspect_machine
from scanner.classifier_transformers import build_infer, library, load_weights
from scanner.errors import MalformedError
from scanner.model_files import TOKENIZER_CONFIG_NAME, TOKENIZER_NAME, read_config, read_json

if TYPE_CHECKING:
    from pathlib import Path

    from scanner.calibration import Calibration

_log = logging.getLogger(__name__)

_FORMAT: Final = 1
_CLIP: Final = "clip"
_SIGLIP: Final = "siglip"
"""SigLIP 2 of a fixed size calls itself so, too; the one of any size wants another input."""
KINDS: Final = frozenset({_CLIP, _SIGLIP})
MAX_TOKENS: Final = 256
"""Four times what the models in use read; bounds what a mistaken configuration makes of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texts:
    """What a model made of the sentences.

    Attributes:
        embeddings: Of unit length, float32 [labels, D], in the calibration's order.
        scale: By which likenesses are multiplied, float32 [1].
        bias: What is added to them, float32 [1]; 0 where the model has none.
    """

    embeddings: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor


def load_zero_shot(
    folder: Path, calibration: Calibration, *, at_once: int | None, cache_dir: Path | None
) -> Classifier:
    """Load a checked directory that holds a CLIP or SigLIP model.

    Raises:
        MalformedError: the model cannot be loaded, with the reason.
    """
    kind = read_config(folder).get("model_type")
    if kind not in KINDS:
        raise MalformedError(f"zero-shot models must be of the kinds {', '.join(sorted(KINDS))}")
    inputs = read_inputs(folder)
    texts = _find_cached(calibration, cache_dir)
    with library() as transformers:
        if texts is None:
            texts = _embed(load_weights(transformers.AutoModel, folder), folder, calibration)
            _cache(texts, calibration, cache_dir)
        seeing = {
            _CLIP: transformers.CLIPVisionModelWithProjection,
            _SIGLIP: transformers.SiglipVisionModel,
        }
        model = load_weights(seeing[kind], folder)
        version = transformers.__version__
    machine = inspect_machine()
    precision = calibration.precision or choose_precision(machine, model)
    device = choose_device(machine, precision)
    embeddings, scale, bias = (one.to(device.value) for one in (texts.embeddings, texts.scale, texts.bias))
    is_clip = kind == _CLIP

    def score(net: Any, pictures: torch.Tensor) -> torch.Tensor:
        seen = net(pixel_values=pictures)
        picture: torch.Tensor = seen.image_embeds if is_clip else seen.pooler_output
        likeness = normalize(picture.float(), dim=1) @ embeddings.t() * scale + bias
        # CLIP was trained to choose among sentences, SigLIP to judge each by itself.
        return likeness.softmax(dim=1) if is_clip else likeness.sigmoid()

    return Classifier(
        labels=tuple(calibration.prompts),
        runtime={"torch": torch.__version__, "transformers": version, "tokenizers": tokenizers.__version__},
        infer=build_infer(model, score, device=device, precision=precision),
        side=inputs.side,
        mean=inputs.mean,
        std=inputs.std,
        precision=precision,
        device=device,
        at_once=at_once,
    )


def _embed(model: Any, folder: Path, calibration: Calibration) -> Texts:
    """Turn every label's sentences into one direction: the mean of theirs."""
    tokenize = _Tokenizer(folder, model.config)
    rows = []
    with torch.inference_mode():
        for sentences in calibration.prompts.values():
            each = [model.get_text_features(input_ids=tokenize(one)) for one in sentences]
            vectors = torch.cat([_vectors(one) for one in each]).float()
            rows.append(normalize(normalize(vectors, dim=1).mean(dim=0), dim=0))
    bias = getattr(model, "logit_bias", None)
    return Texts(
        embeddings=torch.stack(rows).clone(),
        scale=model.logit_scale.detach().float().exp().reshape(1).clone(),
        bias=torch.zeros(1) if bias is None else bias.detach().float().reshape(1).clone(),
    )


def _vectors(features: Any) -> torch.Tensor:
    """Return the vectors; the library gives them bare or inside of an output, by its version."""
    vectors: torch.Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return vectors


class _Tokenizer:
    """Turn a sentence into the numbers that the model was trained with."""

    def __init__(self, folder: Path, config: Any) -> None:
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER_NAME))
        except Exception as error:  # the library raises nothing more precise
            raise MalformedError(f"{TOKENIZER_NAME} is not a tokenizer that can be read") from error
        self._is_siglip = config.model_type == _SIGLIP
        length = config.text_config.max_position_embeddings
        if not 0 < length <= MAX_TOKENS:
            raise MalformedError(f"the model reads {length} tokens; at most {MAX_TOKENS:,} are admitted")
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(length)
        if self._is_siglip:
            # It was trained on sentences filled up to the full length.
            token = read_json(folder / TOKENIZER_CONFIG_NAME).get("pad_token")
            text = token.get("content") if isinstance(token, dict) else token
            number = self._tokenizer.token_to_id(text) if isinstance(text, str) else None
            if number is None:
                raise MalformedError(f"{TOKENIZER_CONFIG_NAME} must name the token that fills sentences up")
            self._tokenizer.enable_padding(length=length, pad_id=number, pad_token=text)
        self._size = config.text_config.vocab_size

    def __call__(self, sentence: str) -> torch.Tensor:
        """Return the tokens of a sentence, int64 [1, tokens].

        Raises:
            MalformedError: the tokenizer belongs to another model.
        """
        ids = self._tokenizer.encode(sentence.lower() if self._is_siglip else sentence).ids
        if not ids or max(ids) >= self._size:
            raise MalformedError(f"{TOKENIZER_NAME} does not belong to this model")
        return torch.tensor([ids])


def _name_cached(calibration: Calibration, cache_dir: Path) -> Path:
    made_of = {
        "format": _FORMAT,
        "files": {name: digest.hex() for name, digest in calibration.files.items()},
        # In their order: it is that of the rows.
        "prompts": [[name, list(texts)] for name, texts in calibration.prompts.items()],
    }
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return cache_dir / f"texts-{digest}.safetensors"


def _find_cached(calibration: Calibration, cache_dir: Path | None) -> Texts | None:
    if cache_dir is None:
        return None
    try:
        tensors = load(_name_cached(calibration, cache_dir).read_bytes())
        texts = Texts(**tensors)
    except (OSError, SafetensorError, TypeError):
        return None
    is_whole = len(texts.embeddings) == len(calibration.prompts) and texts.embeddings.dim() == 2  # noqa: PLR2004
    return texts if is_whole and texts.scale.numel() == texts.bias.numel() == 1 else None


def _cache(texts: Texts, calibration: Calibration, cache_dir: Path | None) -> None:
    if cache_dir is None:
        return
    data = save({"embeddings": texts.embeddings, "scale": texts.scale, "bias": texts.bias})
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache_dir, delete=False) as file:
            file.write(data)
        os.replace(file.name, _name_cached(calibration, cache_dir))  # noqa: PTH105 - as one step
    except OSError as error:
        _log.warning("the text embeddings of a classifier could not be kept: %s", error.strerror)
