"""Measure WhisperLiveKit (0.2.26) as `tests.real.live` measures the product: real recordings, Whisper base.

    python -m tests.real.live_peer                                   AlignAtt in its decoder, 3 minutes
    python -m tests.real.live_peer --policy localagreement           its other way, with faster-whisper
    python -m tests.real.live_peer --minutes 10

Its server runs in .venv-evaluation, on the same weights (in openai-whisper's names for its decoder, as they are for
its encoder, which is faster-whisper's), without speakers. Each recording is a connection of its own. A word counts as
shown once it is in `lines`; what its server shows as a buffer may change. A word that was in `lines` and is not any
more is counted as taken back. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from websockets.sync.client import ClientConnection, connect

from tests.real.latency_log import LatencyLog
from tests.real.live import ENGLISH, PIECE, chosen, delays, word_errors
from tests.real.models import fetch_models
from tests.real.peers import openai_model
from tests.real.scoring import normalise
from turnscribe.inputs.decode import decode_audio
from turnscribe.pipeline import load_pipeline
from turnscribe.settings import ModelSettings, load_settings
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_int16, to_wav

POLICIES = ("simulstreaming", "localagreement")
WARM_UP_S = 10
START_S, ANSWER_S = 120.0, 60.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Shown:
    """What a connection showed, and when, in seconds since its first piece."""

    words: list[tuple[float, str]] = field(default_factory=list)
    text: str = ""
    taken_back: int = 0

    def see(self, at: float, text: str) -> None:
        """All that is in `lines` now."""
        before, now = self.text.split(), text.split()
        same = next(
            (index for index, (one, other) in enumerate(zip(before, now, strict=False)) if one != other),
            min(len(before), len(now)),
        )
        self.taken_back += len(before) - same
        del self.words[same:]
        self.words += [(at, word) for word in now[same:]]
        self.text = text


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="live_peer", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--policy", choices=POLICIES, default=POLICIES[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="of recordings (default: 3)")
    parser.add_argument("--log", type=Path, metavar="FOLDER", help="for OmniSTEval, see tests/real/latency_log.py")
    options = parser.parse_args(argv)
    log = LatencyLog(options.log)
    model = fetch_models() / "whisper-base"
    pipeline = load_pipeline(load_settings(ModelSettings, asr_model=str(model)))
    late: list[float] = []
    words = errors = taken_back = 0
    seconds = 0.0
    talks = [(spoken.text or "", decode_audio(spoken.audio).mono) for _, spoken in chosen(options.minutes * 60)]
    with server(model, options.policy) as (url, process):
        streamed(url, talks[0][1][: WARM_UP_S * SAMPLE_RATE])
        before = processor_seconds(process)
        for text, waveform in tqdm(talks, disable=None, leave=False):
            shown = streamed(url, waveform)
            whole = pipeline.transcribe(to_wav(waveform), ENGLISH)
            log.add(shown.words, whole)
            late += delays(shown.words, whole)
            reference = normalise(text, "en")
            words += len(reference)
            errors += word_errors(reference, shown.text)
            taken_back += shown.taken_back
            seconds += len(waveform) / SAMPLE_RATE
        worked = processor_seconds(process) - before
    print("| WhisperLiveKit | a word: median, 95 % | word errors | words taken back | processor, a second of audio |")
    print("|---|---|---|---|---|")
    print(
        f"| {options.policy} | {np.median(late):.2f}, {np.quantile(late, 0.95):.2f} s | {100 * errors / words:.1f} % "
        f"| {taken_back} of {words} | {worked / seconds:.2f} s |"
    )
    return 0


@contextmanager
def server(model: Path, policy: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its URL and process. Raises `RuntimeError` where it does not start."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [sys.executable, "-m", "whisperlivekit.basic_server", *_options(model, policy, port, Path(folder))],
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            until = time.monotonic() + START_S
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if process.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise RuntimeError(f"The server did not start: {log.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.2)
            yield f"ws://127.0.0.1:{port}/asr", process
        finally:
            process.terminate()


def _options(model: Path, policy: str, port: int, folder: Path) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", str(port), "--language", "en", "--pcm-input", "--log-level", "ERROR"]
    options += ["--backend-policy", policy]
    if policy == "localagreement":
        return [*options, "--backend", "faster-whisper", "--model_dir", str(model)]
    import whisper

    loaded = openai_model(model.parent)
    decoder = folder / "base.pt"
    torch.save({"dims": asdict(loaded.dims), "model_state_dict": loaded.state_dict()}, decoder)
    heads = whisper._ALIGNMENT_HEADS["base"].decode()
    own = ["--decoder-model-path", str(decoder), "--encoder-model-path", str(model)]
    return [*options, *own, "--custom-alignment-heads", heads]


def streamed(url: str, waveform: Waveform) -> Shown:
    """A recording, sent as a microphone would."""
    shown, began = Shown(), time.perf_counter()
    with connect(url, max_size=None) as websocket:
        json.loads(websocket.recv(ANSWER_S))  # its configuration
        began = time.perf_counter()
        speaker = threading.Thread(target=_send, args=(websocket, waveform, began))
        speaker.start()
        while True:
            said = json.loads(websocket.recv(ANSWER_S))
            if said.get("type") == "ready_to_stop":
                break
            lines = [line.get("text") or "" for line in said.get("lines", ())]
            shown.see(time.perf_counter() - began, " ".join(lines))
        speaker.join()
    return shown


def _send(websocket: ClientConnection, waveform: Waveform, began: float) -> None:
    data, size = to_int16(waveform).astype("<i2").tobytes(), round(PIECE * SAMPLE_RATE) * 2
    for start in range(0, len(data), size):
        stop = min(start + size, len(data))
        time.sleep(max(began + stop / 2 / SAMPLE_RATE - time.perf_counter(), 0))
        websocket.send(data[start:stop])
    websocket.send(b"")


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """That it has had, of all processors."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    sys.exit(main())
