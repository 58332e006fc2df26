"""Whisper and pyannote folders of the true shapes with random weights: nothing is downloaded, nothing is understood.

What a benchmark needs of weights is that all programs do the same work on them, so the folders are made for that:
- Each 30 s window gives one timestamp and then words, `new_tokens` tokens in all: the end token is suppressed and the
  length is limited. Whisper's rules force the timestamp at the start; elsewhere timestamps and special tokens have
  logits far below every word's.
- The likeliest token is clearly the likeliest, so that float32 implementations agree on the greedy path.
- The tokenizer is synthetic and has the true number of entries: 50,257 of text, Whisper's specials, 1,501 times.

It does not know who reads the folders or how long that takes. Acceptance of the assistants' drafts is whatever these
weights give, and says nothing about trained ones.
"""

from __future__ import annotations

import json
import math
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.benchmarks.tokenizer import (
    SPACE,
    TEXT_TOKENS,
    TIMESTAMPS,
    WORDS,
    special_tokens,
    write_json,
    write_tokenizer,
)

if TYPE_CHECKING:
    from torch import Tensor

RECIPE = 2  # raise it when the same arguments give other weights or settings
INITIAL_TOKENS = 3  # <|startoftranscript|><|en|><|transcribe|>


@dataclass(frozen=True)
class WhisperShape:
    """The sizes that `WhisperConfig` knows under the same names."""

    name: str
    d_model: int
    encoder_layers: int
    decoder_layers: int
    attention_heads: int
    num_mel_bins: int = 80
    languages: int = 99

    @property
    def ffn_dim(self) -> int:
        return 4 * self.d_model

    @property
    def first_timestamp(self) -> int:
        """The id of <|0.00|>: after the text, the end, the start, the languages and six more."""
        return TEXT_TOKENS + 2 + self.languages + 6

    @property
    def vocab_size(self) -> int:
        """51,865, or 51,866 with the hundredth language."""
        return self.first_timestamp + TIMESTAMPS


_ORIGINALS = (
    WhisperShape("test", 64, 2, 2, 2),
    WhisperShape("tiny", 384, 4, 4, 6),
    WhisperShape("base", 512, 6, 6, 8),
    WhisperShape("small", 768, 12, 12, 12),
    WhisperShape("medium", 1024, 24, 24, 16),
    WhisperShape("large-v3", 1280, 32, 32, 20, num_mel_bins=128, languages=100),
    WhisperShape("large-v3-turbo", 1280, 32, 4, 20, num_mel_bins=128, languages=100),
)


def distilled(shape: WhisperShape) -> WhisperShape:
    """Distil-Whisper's shape: the encoder as it is, two decoder layers."""
    return replace(shape, name=f"distil-{shape.name}", decoder_layers=2)


SHAPES: Mapping[str, WhisperShape] = {
    shape.name: shape for original in _ORIGINALS for shape in (original, distilled(original))
}


def make_whisper(shape: WhisperShape, folder: Path, *, seed: int = 0, new_tokens: int = 100) -> Path:
    """A complete model folder of `shape`; made once, then found. Float32, so four bytes a parameter on the disk.

    `new_tokens` is at most 224: half of Whisper's 448, which is as far as CTranslate2 generates. Raises `ValueError`
    where `folder` holds something else.
    """

    def fill(partial: Path) -> None:
        _save_weights(random_weights(shape, seed), partial)
        write_beside_weights(shape, partial, new_tokens)

    made_of = {"shape": asdict(shape), "seed": seed, "new_tokens": new_tokens, "recipe": RECIPE}
    return _made_once(folder, made_of, fill)


def make_assistant(shape: WhisperShape, main_folder: Path, folder: Path) -> Path:
    """Distil-Whisper's draft model for the Whisper of `shape` in `main_folder`.

    Its encoder, and of its decoder the first and the last layer; `shape` is the main model's.
    """
    main = json.loads((main_folder / MADE_OF).read_text())

    def fill(partial: Path) -> None:
        _save_weights(_distilled_weights(shape, main_folder), partial)
        write_beside_weights(distilled(shape), partial, main["new_tokens"])

    return _made_once(folder, {"shape": asdict(distilled(shape)), "main": main}, fill)


def make_diarizer(folder: Path, *, seed: int = 0) -> Path:
    """A pyannote pipeline folder: PyanNet and ResNet34 of the true shapes, for pyannote.audio 3.4 and 4.x.

    The random features are shifted and scaled by what they are on the demo conversation, so that speech gives turns
    of several speakers, some at once, and silence between; who is said to speak has nothing to do with the audio.
    """

    from tools.benchmarks.random_diarizer import DIARIZER_CONFIG, write_diarizer

    made_of = {"diarizer": DIARIZER_CONFIG, "seed": seed, "recipe": RECIPE}
    return _made_once(folder, made_of, lambda partial: write_diarizer(partial, seed))


MADE_OF = "benchmark.json"  # what a folder was made of; in complete folders only


def _made_once(folder: Path, made_of: dict[str, Any], fill: Callable[[Path], None]) -> Path:
    """`folder`, filled beside its place and moved there whole: an interrupted run leaves nothing that looks done."""
    if (folder / MADE_OF).is_file():
        found = json.loads((folder / MADE_OF).read_text())
        if found != made_of:
            raise ValueError(f"{folder} was made of {found}, not of {made_of}: delete it or name another folder.")
        return folder
    if folder.exists():
        raise ValueError(f"{folder} is no folder of the benchmark: delete it or name another folder.")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    fill(partial)
    (partial / MADE_OF).write_text(json.dumps(made_of, indent=2))
    partial.rename(folder)
    return folder


# Weights ---------------------------------------------------------------------------------------------

# A position's logits have about this standard deviation over the vocabulary: the last layer norm multiplies by it
# over the embeddings' length. Seen with the base shape: the likeliest word is 0.9 ahead of the next in the median.
LOGIT_STD = 6.0
# How far timestamps and special tokens lie below the words: the sum of the 1,501 is compared with the best word.
BELOW = 40.0
# The token and its position outweigh what the layers add, or the text is the same few words again and again.
EMBEDDING_STD = 1.0
POSITION_STD = 1.5
# The decoder's middle layers speak softly, so that a draft of the first and the last one is often right.
MIDDLE_GAIN = 0.1


def random_weights(shape: WhisperShape, seed: int = 0) -> dict[str, Tensor]:
    """The state dict of `WhisperForConditionalGeneration`, each tensor from a seed of its own."""
    import torch

    weights = {}
    for name, size in _parameter_sizes(shape).items():
        generator = torch.Generator().manual_seed(seed << 32 | zlib.crc32(name.encode()))
        weights[name] = _random(name, size, shape, generator)
    return weights


def _parameter_sizes(shape: WhisperShape) -> dict[str, Any]:
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    with torch.device("meta"):
        model = WhisperForConditionalGeneration(WhisperConfig(**_config(shape)))
    # proj_out is embed_tokens.
    return {name: value.shape for name, value in model.state_dict().items() if name != "proj_out.weight"}


def _random(name: str, size: Any, shape: WhisperShape, generator: Any) -> Tensor:
    import torch

    values = torch.empty(size, dtype=torch.float32)
    kind = name.rsplit(".", 1)[-1]
    if name == "model.encoder.embed_positions.weight":
        return _sinusoids(*size)
    if name == "model.decoder.layer_norm.weight":
        # Both signs: the embeddings are also the output matrix, and with one sign every token would follow itself.
        values.bernoulli_(0.5, generator=generator).mul_(2.0).sub_(1.0)
        values.mul_(LOGIT_STD / (EMBEDDING_STD * math.sqrt(shape.d_model)))
        values[0] = 0.0
        return values
    if name == "model.decoder.layer_norm.bias":
        values.zero_()
        values[0] = BELOW  # the first dimension of an embedding is -1 for all but words
        return values
    if "layer_norm" in name:
        return values.fill_(1.0 if kind == "weight" else 0.0)
    if kind == "bias":
        return values.normal_(0.0, 0.02, generator=generator)
    if name == "model.decoder.embed_tokens.weight":
        values.normal_(0.0, EMBEDDING_STD, generator=generator)
        values[:, 0] = 0.0
        values[: WORDS.start, 0] = values[WORDS.stop :, 0] = -1.0
        return values
    if name == "model.decoder.embed_positions.weight":
        return values.normal_(0.0, POSITION_STD, generator=generator)
    fan_in = math.prod(size[1:])
    return values.normal_(0.0, _gain(name, shape) / math.sqrt(fan_in), generator=generator)


def _gain(name: str, shape: WhisperShape) -> float:
    """What a matrix multiplies the standard deviation by."""
    if "conv" in name:
        return math.sqrt(2.0)  # He et al. 2015, for half-wave activations
    if name.endswith(("q_proj.weight", "k_proj.weight")):
        return 1.5  # attention that looks somewhere
    if name.endswith(("out_proj.weight", "fc2.weight")):
        parts = name.split(".")
        if parts[1] == "decoder" and 0 < int(parts[3]) < shape.decoder_layers - 1:
            return MIDDLE_GAIN / math.sqrt(shape.decoder_layers - 2)
    return 1.0


def _sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's encoder positions `[length, channels]`: wavelengths from 2 pi to 10,000 times that."""
    import torch

    rates = torch.exp(-math.log(10_000) / (channels // 2 - 1) * torch.arange(channels // 2))
    angles = torch.arange(length)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _distilled_weights(shape: WhisperShape, main_folder: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    prefix, last = "model.decoder.layers.", shape.decoder_layers - 1
    weights = {}
    with safe_open(main_folder / "model.safetensors", "pt") as file:
        for name in file.keys():  # noqa: SIM118 (it is no dict)
            if not name.startswith(prefix):
                weights[name] = file.get_tensor(name)
                continue
            layer, rest = name.removeprefix(prefix).split(".", 1)
            if int(layer) in (0, last):
                weights[f"{prefix}{min(int(layer), 1)}.{rest}"] = file.get_tensor(name)
    return weights


def _save_weights(weights: dict[str, Tensor], folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


# Everything beside the weights -----------------------------------------------------------------------
# Written as plain JSON: what one version of transformers saves, an older one may not load.


def write_beside_weights(shape: WhisperShape, folder: Path, new_tokens: int) -> None:
    from transformers import WhisperFeatureExtractor

    write_json(folder / "config.json", _config(shape) | {"model_type": "whisper", "torch_dtype": "float32"})
    write_json(folder / "generation_config.json", generation_settings(shape, new_tokens))
    WhisperFeatureExtractor(feature_size=shape.num_mel_bins).save_pretrained(folder)
    write_tokenizer(shape, folder)


def whisper_config(shape: WhisperShape) -> Any:
    """The `WhisperConfig` of a shape."""
    from transformers import WhisperConfig

    return WhisperConfig(**_config(shape))


def _config(shape: WhisperShape) -> dict[str, Any]:
    end = TEXT_TOKENS
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "d_model": shape.d_model,
        "encoder_layers": shape.encoder_layers,
        "decoder_layers": shape.decoder_layers,
        "encoder_attention_heads": shape.attention_heads,
        "decoder_attention_heads": shape.attention_heads,
        "encoder_ffn_dim": shape.ffn_dim,
        "decoder_ffn_dim": shape.ffn_dim,
        "num_mel_bins": shape.num_mel_bins,
        "vocab_size": shape.vocab_size,
        "max_source_positions": 1500,
        "max_target_positions": 448,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": end + 1,
    }


def generation_settings(shape: WhisperShape, new_tokens: int) -> dict[str, Any]:
    """What goes into the shape's `GenerationConfig`, for windows of `new_tokens` tokens."""
    names = special_tokens(shape)
    ids = {name: TEXT_TOKENS + index for index, name in enumerate(names)}
    unspoken = ("<|endoftext|>", "<|startoftranscript|>", *names[-6:])  # with the end: windows fill up
    return {
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|endoftext|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "decoder_start_token_id": ids["<|startoftranscript|>"],
        "suppress_tokens": [ids[name] for name in unspoken],
        "begin_suppress_tokens": [SPACE, ids["<|endoftext|>"]],
        "max_new_tokens": new_tokens,
        "max_initial_timestamp_index": 50,
        "alignment_heads": [[shape.decoder_layers - 1, head] for head in range(min(6, shape.attention_heads))],
        "is_multilingual": True,
        "lang_to_id": {name: ids[name] for name in names[2 : 2 + shape.languages]},
        "task_to_id": {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "return_timestamps": False,
    }
