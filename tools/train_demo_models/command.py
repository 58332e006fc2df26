"""`python -m scripts.train_demo_models`: everything from the bank to `demo/`, or the stages that are named.

An interrupted run goes on from its checkpoints in `--work` (by default `build/demo`); every stage is deterministic in
`--seed` up to the arithmetic of the device. Run it under the oldest supported versions (`make demo-models`): a
tokenizer saved by newer ones does not load there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.train_demo_models.bank import Bank, load_or_make_bank

REPOSITORY = Path(__file__).resolve().parent.parent.parent
STAGES = ("whisper", "assistant", "diarizer", "conversation")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.train_demo_models", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"some of {', '.join(STAGES)}; all by default")
    parser.add_argument("--work", type=Path, default=Path("build/demo"), help="folder for the bank and checkpoints")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "demo", help="folder for the finished models")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--sentences", type=int, default=1600, help="sentences in the bank for each voice")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads to train with")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.stages) - set(STAGES)
    if unknown:
        parser.error(f"unknown stage {', '.join(sorted(unknown))}: name some of {', '.join(STAGES)}")
    try:
        run(arguments)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint")
        return 130
    return 0


def run(arguments: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(arguments.threads)
    stages = arguments.stages or STAGES
    if "conversation" in stages:
        from tools.train_demo_models.conversation import save_conversation

        save_conversation(arguments.output)
    if set(stages) == {"conversation"}:
        return
    bank = load_or_make_bank(arguments.work, sentences_per_voice=arguments.sentences, seed=arguments.seed)
    if "whisper" in stages or "assistant" in stages:
        _train_asr(bank, stages, arguments)
    if "diarizer" in stages:
        from tools.train_demo_models.diarizer import train_diarizer

        train_diarizer(
            bank, arguments.work, arguments.output / "diarizer", seed=arguments.seed, device=arguments.device
        )


def _train_asr(bank: Bank, stages: Sequence[str], arguments: argparse.Namespace) -> None:
    from tools.train_demo_models.asr import distil, train
    from tools.train_demo_models.export import save_whisper

    options: dict[str, Any] = {"seed": arguments.seed, "device": arguments.device}
    whisper = train(bank, arguments.work, **options)
    if "assistant" in stages:
        save_whisper(distil(whisper, bank, arguments.work, **options), arguments.output / "assistant")
    if "whisper" in stages:
        save_whisper(whisper, arguments.output / "whisper")
