"""The demo conversation by the demo models: what can be shown where nothing can be fetched."""

from __future__ import annotations

from tools.demo.answers import REPOSITORY, answered, readable

RECORDING = REPOSITORY / "demo" / "conversation.flac"
CHUNK_LENGTH_S = 15  # in longer windows the demo Whisper now and then repeats a phrase (demo/README.md)
NOTICE = """\
These are demo models: they were trained from nothing for this demonstration and know about 130 words, listed in
demo/vocabulary.txt, in eight synthetic voices, and nothing else. For real speech name real models: docs/models.md."""


def run() -> int:
    print(NOTICE, end="\n\n")
    print(
        f"Loading demo/whisper and demo/diarizer, transcribing {RECORDING.relative_to(REPOSITORY)} ...\n", flush=True
    )
    answer = answered(
        RECORDING.read_bytes(),
        {"chunk_length_s": CHUNK_LENGTH_S},
        asr_model="demo/whisper",
        diarization_model="demo/diarizer",
    )
    print(readable(answer))
    return 0
