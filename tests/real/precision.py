"""What 8-bit products change, one kind after the other: why some products of `ASR_DTYPE=int8` have more bits.

    python -m tests.real.precision

whisper-base decodes two minutes of real English speech in float32. Then the same tokens go through it once for each
choice of products: how far the encoder's output moves, how far the probabilities of the next token do (the mean and
the largest Kullback-Leibler divergence, in nats), and how often another token is the likeliest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from tests.real.models import fetch_models
from tests.real.recordings import fetch
from tests.real.sources import recordings
from tests.real.speed import speech
from turnscribe.asr.whisper_loading import load_whisper
from turnscribe.engine.linear import Linear, Precision, linear, multiplies_int8
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.engine.models import Models
from turnscribe.engine.weights import DecoderWeights, EncoderWeights
from turnscribe.inputs.decode import decode_audio
from turnscribe.waveform import SAMPLE_RATE

WINDOWS = 4
WINDOW = 30 * SAMPLE_RATE
INITIAL = (50258, 50259, 50359)  # of whisper-base: the start, English, transcribe
END, FIRST_TIME, LONGEST = 50257, 50364, 100


@dataclass(frozen=True)
class Choice:
    """Encoder and decoder, with some of their products changed."""

    name: str
    encoder: Encoder
    decoder: Decoder


def main() -> int:
    if not multiplies_int8():
        print("error: this processor has no instructions for products of 8-bit integers.", file=sys.stderr)
        return 1
    model = str(fetch_models() / "whisper-base")
    loaded = load_whisper(model, assistant=None, token=None, device="cpu", dtype="float32", modules=False)
    exact, product = (Models.of(loaded.model, loaded.tokenizer, int8=int8) for int8 in (False, True))
    waveform = decode_audio(speech(recordings(fetch()), WINDOWS * 30).audio).mono
    with torch.inference_mode():
        windows = [exact.log_mel([waveform[i * WINDOW : (i + 1) * WINDOW]]) for i in range(WINDOWS)]
        encoded = [exact.encoder(window) for window in windows]
        tokens = [_decoded(exact.decoder, one) for one in encoded]
        expected = [_logprobs(exact.decoder, one, of) for one, of in zip(encoded, tokens, strict=True)]
        print("| products | encoder's output moves | divergence: mean, largest | other tokens |\n|---|---|---|---|")
        for choice in tqdm(list(_choices(exact, product, loaded.model.state_dict())), disable=None, leave=False):
            moved, divergences, others = 0.0, [], 0
            for window, one, of, before in zip(windows, encoded, tokens, expected, strict=True):
                found = choice.encoder(window)
                moved += float((found - one).norm() / one.norm()) / WINDOWS
                after = _logprobs(choice.decoder, found, of)
                divergences.append((before.exp() * (before - after)).sum(-1))
                others += int((before.argmax(-1) != after.argmax(-1)).sum())
            all_of_them = torch.cat(divergences)
            sizes = f"{all_of_them.mean():.5f}, {all_of_them.max():.4f}"
            print(f"| {choice.name} | {100 * moved:.1f} % | {sizes} | {others} of {len(all_of_them)} |")
    return 0


def _choices(exact: Models, product: Models, tensors: Any) -> Iterator[Choice]:
    eights = _encoder_of(exact.encoder.weights, tensors)
    for index in range(len(eights.layers)):
        layers = [*exact.encoder.weights.layers]
        layers[index] = eights.layers[index]
        yield Choice(f"encoder's layer {index} int8", Encoder(_with(exact.encoder.weights, layers)), exact.decoder)
    yield Choice("the whole encoder int8", Encoder(eights), exact.decoder)
    yield Choice("the encoder as it is", product.encoder, exact.decoder)
    for precision in ("int8", "fine", "half"):
        vocabulary = linear(tensors["proj_out.weight"], precision=precision)
        changed: DecoderWeights = replace(exact.decoder.weights, vocabulary=vocabulary)
        yield Choice(f"output layer {precision}", exact.encoder, Decoder(changed))
    yield Choice("the decoder as it is", exact.encoder, product.decoder)
    yield Choice("encoder and decoder as they are", product.encoder, product.decoder)


def _encoder_of(weights: EncoderWeights, tensors: Any, precision: Precision = "int8") -> EncoderWeights:
    """All products of the encoder's layers in that precision."""
    layers = []
    for index, layer in enumerate(weights.layers):
        prefix = f"model.encoder.layers.{index}."
        parts = {
            "query_key_value": [f"self_attn.{name}_proj" for name in "qkv"],
            "attention_out": ["self_attn.out_proj"],
            "fc1": ["fc1"],
            "fc2": ["fc2"],
        }
        assert {field.name for field in fields(layer) if isinstance(getattr(layer, field.name), Linear)} == set(parts)
        products = {
            name: linear(
                torch.cat([tensors[f"{prefix}{part}.weight"] for part in of]),
                getattr(layer, name).bias,
                precision=precision,
            )
            for name, of in parts.items()
        }
        layers.append(replace(layer, **products))
    return _with(weights, layers)


def _with(weights: EncoderWeights, layers: list[Any]) -> EncoderWeights:
    return replace(weights, layers=tuple(layers))


def _decoded(decoder: Decoder, encoded: Tensor) -> Tensor:
    """The tokens `[1, N]` of a window, greedily, with timestamps as it likes them."""
    tokens = torch.tensor([[*INITIAL, FIRST_TIME]])
    while tokens.shape[1] < LONGEST and tokens[0, -1] != END:
        following = _logprobs(decoder, encoded, tokens)[-1].argmax()
        tokens = torch.cat([tokens, following[None, None]], dim=1)
    return tokens


def _logprobs(decoder: Decoder, encoded: Tensor, tokens: Tensor) -> Tensor:
    """Of what comes after each token from the first timestamp on: `[N, V]`."""
    cache = decoder.cache(1, frames=encoded.shape[1], slack=1, fixed=False)
    rows = slice(0, 1)
    decoder.load_audio(encoded, cache, rows)
    positions = torch.arange(tokens.shape[1])[None]
    hidden = decoder(tokens, positions, cache, rows, reach=tokens.shape[1])
    return decoder.weights.vocabulary(hidden)[0, len(INITIAL) :].float().log_softmax(-1)


if __name__ == "__main__":
    sys.exit(main())
