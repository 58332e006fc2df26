"""MediaConvert's two calls that the workflow makes, at their REST paths, done by ffmpeg.

The real client checks the job's settings against its model before they come here. What comes is carried out as the
job says: codec, bit rate, channels, rate, container. Knows jobs with one input and one audio output, and no queues.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

JOBS = "/2017-08-29/jobs"


class MediaConvert:
    """`stuck`: jobs are taken and never done."""

    def __init__(self, *, s3: Any) -> None:
        self.s3 = s3
        self.stuck = False
        self.jobs: dict[str, dict[str, Any]] = {}
        self.url = ""

    def create(self, job: dict[str, Any]) -> dict[str, Any]:
        for known in self.jobs.values():
            if known["clientRequestToken"] == job["clientRequestToken"]:
                return known
        assert job["role"].startswith("arn:aws:iam::"), job["role"]
        made = {**job, "id": uuid.uuid4().hex, "status": "SUBMITTED"}
        self.jobs[made["id"]] = made
        return made

    def convert(self, job: dict[str, Any]) -> None:
        if self.stuck:
            job["status"] = "PROGRESSING"
            return
        try:
            self._convert(job["settings"])
            job["status"] = "COMPLETE"
        except subprocess.CalledProcessError as error:
            job |= {"status": "ERROR", "errorCode": 1010, "errorMessage": error.stderr.decode().strip()[-300:]}
        except Exception as error:
            job |= {"status": "ERROR", "errorCode": 1401, "errorMessage": str(error)}

    def _convert(self, settings: dict[str, Any]) -> None:
        (source,), (group,) = settings["inputs"], settings["outputGroups"]
        assert group["outputGroupSettings"]["type"] == "FILE_GROUP_SETTINGS"
        (output,) = group["outputs"]
        assert "videoDescription" not in output
        (audio,) = output["audioDescriptions"]
        assert audio["audioSourceName"] in source["audioSelectors"]
        assert audio["codecSettings"]["codec"] == "AAC"
        assert output["containerSettings"]["container"] == "MP4"
        aac = audio["codecSettings"]["aacSettings"]
        with tempfile.TemporaryDirectory() as folder:
            video, result = Path(folder, "video"), Path(folder, "audio.mp4")
            bucket, _, key = source["fileInput"].removeprefix("s3://").partition("/")
            self.s3.download_file(bucket, key, str(video))
            channels = {"CODING_MODE_2_0": "2", "CODING_MODE_1_0": "1"}[aac["codingMode"]]
            command = ["ffmpeg", "-v", "error", "-i", str(video), "-vn", "-c:a", "aac", "-ac", channels]
            subprocess.run(
                [*command, "-ar", str(aac["sampleRate"]), "-b:a", str(aac["bitrate"]), str(result)],
                check=True,
                capture_output=True,
            )
            destination = group["outputGroupSettings"]["fileGroupSettings"]["destination"]
            bucket, _, key = destination.removeprefix("s3://").partition("/")
            self.s3.upload_file(str(result), bucket, f"{key}.mp4")


@contextlib.contextmanager
def converting(*, s3: Any) -> Iterator[MediaConvert]:
    service = MediaConvert(s3=s3)
    with ThreadPoolExecutor(max_workers=1) as worker:

        class Api(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == JOBS, self.path
                job = service.create(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if job["status"] == "SUBMITTED":
                    worker.submit(service.convert, job)
                self._send(201, {"job": job})

            def do_GET(self) -> None:
                job = service.jobs.get(self.path.removeprefix(f"{JOBS}/"))
                self._send(200, {"job": job}) if job else self._send(404, {"message": "There is no such job."})

            def _send(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            service.url = f"http://127.0.0.1:{server.server_port}"
            try:
                yield service
            finally:
                server.shutdown()
