"""How often reduced precision says the same: transcripts of one model in float32 and in other types of weights.

    ASR_MODEL=demo/whisper python -m scripts.precision --synthesize 1000
    ASR_MODEL=... python -m scripts.precision recordings/*.flac --dtypes float16

Recordings are files, or synthesized dialogues in the demo models' vocabulary (Debian: `flite`, `espeak-ng`). For each
type: the share of recordings whose whole text is the same, the share of words, and how far word times move. It does
not say which of two differing texts is right; `scripts.evaluate` does. Needs `jiwer`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from config import load_settings
from turnscribe.asr.registry import load_asr
from turnscribe.checkpoints.hub import available_model
from turnscribe.cli.evaluation.references import synthesized
from turnscribe.errors import TurnscribeError
from turnscribe.inputs.decode import decode_audio
from turnscribe.pipeline import best_device
from turnscribe.request import DecodingOptions
from turnscribe.transcript import Word

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Agreement:
    """Sums over recordings."""

    recordings: int = 0
    same: int = 0  # recordings with the very text
    words: int = 0
    edits: int = 0  # words substituted, deleted or inserted
    moved: tuple[float, ...] = ()  # seconds, of the starts of words in recordings with the same text

    def with_one(self, expected: Sequence[Word], got: Sequence[Word]) -> Agreement:
        import jiwer

        theirs, ours = ([word.text.strip() for word in words] for words in (expected, got))
        edits = len(theirs) + len(ours)
        if theirs and ours:
            made = jiwer.process_words(" ".join(theirs), " ".join(ours))
            edits = made.substitutions + made.deletions + made.insertions
        same = theirs == ours
        moved = [abs(a.start - b.start) for a, b in zip(expected, got, strict=True)] if same else []
        return Agreement(
            self.recordings + 1,
            self.same + same,
            self.words + len(theirs),
            self.edits + edits,
            (*self.moved, *moved),
        )

    def __str__(self) -> str:
        moved = f"{100 * np.mean(np.array(self.moved) < 0.021):.1f} %" if self.moved else "-"
        words = 100 * (1 - self.edits / max(self.words, 1))
        return f"{self.same} of {self.recordings} | {words:.2f} % of {self.words} | {moved}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path)
    parser.add_argument("--synthesize", type=int, metavar="SEED")
    parser.add_argument("--dialogues", type=int, default=20, help="synthesized ones")
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float16"], metavar="DTYPE")
    parser.add_argument("--chunk-length-s", type=float, default=15.0)
    args = parser.parse_args(argv)
    if not args.recordings and args.synthesize is None:
        parser.error("name recordings, or give --synthesize SEED.")
    try:
        settings, device = load_settings(), best_device()
        model = available_model("ASR_MODEL", settings.asr_model, ROOT)
        options = DecodingOptions(chunk_length_s=args.chunk_length_s, word_times=True)
        waveforms = [decode_audio(audio).mono for audio in _recordings(args)]
        transcripts: dict[str, list[list[Word]]] = {}
        for dtype in ("float32", *args.dtypes):
            asr = load_asr(model, token=settings.token, dtype=dtype, device=device)
            transcripts[dtype] = [
                [word for chunk in asr.transcribe(waveform, options).chunks for word in chunk.words]
                for waveform in tqdm(waveforms, desc=dtype, disable=None)
            ]
    except (TurnscribeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print("| weights | same text | same words | word starts within 20 ms |\n|---|---|---|---|")
    for dtype in args.dtypes:
        agreement = Agreement()
        for expected, got in zip(transcripts["float32"], transcripts[dtype], strict=True):
            agreement = agreement.with_one(expected, got)
        print(f"| {dtype} | {agreement} |")
    return 0


def _recordings(args: argparse.Namespace) -> Iterator[bytes]:
    for path in args.recordings:
        yield path.read_bytes()
    if args.synthesize is not None:
        made: Any = synthesized(args.synthesize, dialogues=args.dialogues, seconds=60, sentences=0, noise_db=20)
        for case in tqdm(made, desc="synthesizing", disable=None):
            yield case.load()[0]
