"""What live sessions showed, and when, as OmniSTEval (0.1.10) reads it: it reckons LongYAAL, the delay of words that
the field compares (arXiv 2509.17349).

    python -m tests.real.live --minutes 3 --log build/real/latency
    omnisteval longform --speech_segmentation build/real/latency/segments.yaml --word_level --no_quality \\
        --ref_sentences_file build/real/latency/references.txt --hypothesis_file build/real/latency/shown.jsonl

Segments and their times are those of the whole recording's transcript, as a word's end is in `tests.real.live`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from turnscribe.transcript import Transcript


class LatencyLog:
    """Files in a folder, written anew; nothing where there is none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._recordings = folder, 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("segments.yaml", "references.txt", "shown.jsonl"):
                (folder / name).write_text("")

    def add(self, shown: Sequence[tuple[float, str]], whole: Transcript) -> None:
        """The words of one session with the second in which each was shown, and the whole recording's transcript."""
        segments = [chunk for chunk in whole.chunks if chunk.text.strip()]
        if self._folder is None or not segments:
            return
        name = f"{self._recordings:04d}.wav"
        self._recordings += 1
        for chunk in segments:
            segment = {"wav": name, "offset": chunk.start, "duration": chunk.end - chunk.start}
            self._append("segments.yaml", f"- {json.dumps(segment)}")
            self._append("references.txt", " ".join(chunk.text.split()))
        length = whole.duration * 1000
        came = [1000 * at for at, _ in shown]
        words = {"source": [name], "source_length": length, "prediction": " ".join(word for _, word in shown)}
        heard = [min(at, length) for at in came]
        self._append("shown.jsonl", json.dumps({**words, "delays": heard, "elapsed": came}))

    def _append(self, name: str, line: str) -> None:
        assert self._folder is not None
        with (self._folder / name).open("a") as file:
            file.write(line + "\n")
