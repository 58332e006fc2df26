"""What k6's WebSockets make of realtime sessions: of each of two users at once, the events, as JSON.

    python realtime_k6.py URL KEY RECORDING

The recording is a wav file: one channel, 16 bits, 24 kHz. Knows no test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

url, key, recording = sys.argv[1:4]

USERS = 2
SCRIPT = Path(__file__).with_suffix(".js")

with tempfile.TemporaryDirectory() as folder, wave.open(recording) as file:
    pcm, said = Path(folder, "pcm"), Path(folder, "said")
    pcm.write_bytes(file.readframes(file.getnframes()))
    address = f"{url.replace('http', 'ws', 1)}/v1/realtime?intent=transcription"
    users = ["--vus", str(USERS), "--iterations", str(USERS)]
    quiet = ["--quiet", "--no-usage-report", "--no-summary", "--log-format", "raw", "--console-output", str(said)]
    subprocess.run(
        [str(Path(sys.executable).with_name("k6")), "run", *users, *quiet, str(SCRIPT)],
        env=os.environ | {"PCM": str(pcm), "KEY": key, "URL": address},
        check=True,
        stdout=sys.stderr,
    )
    print(json.dumps([json.loads(line) for line in said.read_text().splitlines()]))
