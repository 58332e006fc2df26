"""Saves a trained Whisper or assistant as a folder that `transformers` loads, in every supported version."""

from __future__ import annotations

from pathlib import Path

import torch

from tools.train_demo_models.asr_model import GUIDED_HEADS, Trainee
from tools.train_demo_models.tokenizer import TokenIds, save_tokenizer, special_tokens


def save_whisper(trainee: Trainee, folder: Path) -> None:
    """Weights in float16, tokenizer, feature extractor and a complete generation configuration."""
    import transformers
    from transformers import GenerationConfig, WhisperFeatureExtractor

    if int(transformers.__version__.split(".")[0]) > 4:
        raise SystemExit("save under transformers 4.51.3: a tokenizer saved by 5.x does not load there")
    trainee.settle()
    model = trainee.whisper
    ids = TokenIds()
    by_name = ids.by_name
    model.generation_config = GenerationConfig(
        bos_token_id=ids.end,
        eos_token_id=ids.end,
        pad_token_id=ids.end,
        decoder_start_token_id=ids.start,
        begin_suppress_tokens=[by_name["\u0120"], ids.end],
        suppress_tokens=[ids.previous, by_name["<|startoflm|>"], ids.no_speech],
        max_length=448,
        # Whisper allows 1 s before the first word; the demo models were taught any time.
        max_initial_timestamp_index=1500,
    )
    for name, value in {
        "alignment_heads": [[len(model.model.decoder.layers) - 1, head] for head in GUIDED_HEADS],
        "is_multilingual": True,
        "lang_to_id": {name: by_name[name] for name in special_tokens()[2:101]},
        "task_to_id": {"transcribe": ids.transcribe, "translate": ids.translate},
        "no_timestamps_token_id": ids.no_timestamps,
        "prev_sot_token_id": ids.previous,
        "return_timestamps": False,
    }.items():
        setattr(model.generation_config, name, value)
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.float16).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    save_tokenizer(folder)
