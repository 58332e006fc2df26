"""From a new process to the first transcript: the model is loaded from a folder, proves itself, and hears 8 s.

    python -m tools.benchmarks.cuda.cold_start FOLDER --device cuda

prints what took how long, as JSON. `measured` makes the folder, with the weights of the benchmark, and runs this.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.benchmarks.cuda.bare import stand_in_for_missing
from tools.benchmarks.cuda.report import Row

SECTION = "From a cold start"
SECONDS = 8.0  # of audio


def measured(model: Any, shape: Any, tokens: int, device: str, *, seconds: float) -> list[Row]:
    """Two starts on a GPU: with recorded passes and without. Each ends by itself after so many `seconds`."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_model(model, shape, tokens, Path(folder))
        starts = (("with CUDA graphs", "1"), ("without", "0"))
        for name, graphs in starts if device.startswith("cuda") else starts[:1]:
            command = [sys.executable, "-m", "tools.benchmarks.cuda.cold_start", folder, "--device", device]
            environment = os.environ | {"TURNSCRIBE_CUDA_GRAPHS": graphs}
            began = time.perf_counter()
            try:
                done = subprocess.run(
                    command, env=environment, capture_output=True, text=True, timeout=seconds, cwd=_repository()
                )
            except subprocess.TimeoutExpired:
                rows.append(Row(SECTION, name, passed=False, note=f"not over after {seconds:.0f} s"))
                continue
            taken = time.perf_counter() - began
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
                rows.append(Row(SECTION, name, passed=False, note=last[:300]))
                continue
            said = json.loads(done.stdout.splitlines()[-1])
            parts = ", ".join(f"{part} {length:.1f} s" for part, length in said["seconds"].items())
            note = f"{parts}; {said['running']}"
            rows.append(Row(SECTION, name, seconds=taken, gigabytes=said["gigabytes"], note=note))
    return rows


def write_model(model: Any, shape: Any, tokens: int, folder: Path) -> None:
    """A complete model folder of what lies on the device."""
    from safetensors.torch import save_file

    from tools.benchmarks.shapes import write_beside_weights

    weights = {
        name: value.contiguous().cpu() for name, value in model.state_dict().items() if name != "proj_out.weight"
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_beside_weights(shape, folder, tokens)


def main(argv: Sequence[str] | None = None) -> int:
    began = time.perf_counter()
    parser = argparse.ArgumentParser(prog="cold_start")
    parser.add_argument("folder")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(argv)
    stand_in_for_missing()
    import torch

    from tools.benchmarks.cuda.diarization import noise
    from tools.fake_gpu import FakeGpu
    from turnscribe.asr.registry import load_asr
    from turnscribe.request import DecodingOptions

    imported = time.perf_counter()
    on_gpu = options.device.startswith("cuda")
    device = options.device if on_gpu else FakeGpu()
    asr = load_asr(options.folder, device=device, dtype="auto" if on_gpu else "float32")
    loaded = time.perf_counter()
    with torch.inference_mode():
        asr.transcribe(noise(SECONDS), DecodingOptions(language="en", word_times=False, vad=False))
    ended = time.perf_counter()
    seconds = {"imports": imported - began, "model and proof": loaded - imported, "transcript": ended - loaded}
    gigabytes = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None
    running = asr.running  # type: ignore[attr-defined]
    told = f"{running.dtype}, {'graphs' if running.graphs else 'no graphs'}" + (
        f" ({running.reason})" if running.reason else ""
    )
    print(json.dumps({"seconds": seconds, "gigabytes": gigabytes, "running": told}))
    return 0


def _repository() -> Path:
    return Path(__file__).resolve().parents[3]


if __name__ == "__main__":
    sys.exit(main())
