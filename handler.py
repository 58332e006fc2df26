"""The endpoint: what Hugging Face Inference Endpoints imports, as `EndpointHandler(path)(data)`.

Read it top-down. Loading: a recogniser, its assistant and a diarizer, as `ModelSettings` says. A request: parameters,
audio, a transcript with its speakers merged, the answer. What is this endpoint's own is in `config.py` and
`diarization_utils.py`; how each step works is in `turnscribe`, beginning with `turnscribe/pipeline.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# One of the two serving containers loads this file by its path alone, with nothing of it on the path of imports.
HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from config import load_settings, parse_config  # noqa: E402
from diarization_utils import Diarizer, assign_speakers, diarize, group_turns, load_diarizer  # noqa: E402
from turnscribe.answer import to_answer  # noqa: E402
from turnscribe.asr.protocol import Asr  # noqa: E402
from turnscribe.asr.registry import load_asr  # noqa: E402
from turnscribe.errors import BadAudio  # noqa: E402
from turnscribe.incidents import incidents  # noqa: E402
from turnscribe.inputs.limits import check_size  # noqa: E402
from turnscribe.inputs.read import read_input  # noqa: E402
from turnscribe.instances import each_instance, has_instances, read_instances  # noqa: E402
from turnscribe.pipeline import Pipeline, best_device  # noqa: E402
from turnscribe.request import Request  # noqa: E402
from turnscribe.settings import ModelSettings  # noqa: E402
from turnscribe.threads import limit_threads  # noqa: E402


class EndpointHandler:
    """A loaded set of models, called with one request at a time or from several threads.

    `path` is the repository's folder: model folders in the settings are looked for there first. The models may be
    passed in; what is not passed is loaded as `settings` (by default the environment) say. Raises `SettingsError`.
    """

    def __init__(
        self,
        path: str = "",
        settings: ModelSettings | None = None,
        *,
        asr: Asr | None = None,
        diarizer: Diarizer | None = None,
    ) -> None:
        self.settings = settings = settings or load_settings()
        root = Path(path) if path else HERE
        device = best_device()
        limit_threads(device)
        if asr is None:
            asr = load_asr(
                settings.asr_model,
                assistant=settings.assistant_model,
                token=settings.token,
                device=device,
                backend=settings.asr_backend,
                dtype=settings.asr_dtype,
                root=root,
            )
        if diarizer is None and settings.diarization_model:
            diarizer = load_diarizer(
                settings.diarization_model,
                token=settings.token,
                device=device,
                root=root,
                effort=settings.diarization_effort,
            )
        self.pipeline = Pipeline(
            settings,
            asr,
            diarizer,
            device=device,
            diarize=diarize,
            assign_speakers=assign_speakers,
            group_turns=group_turns,
        )

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """`{"inputs": ..., "parameters": {...}}` to the answer, a JSON object of plain values.

        `{"instances": [...]}`, as Vertex AI sends it, to `{"predictions": [...]}` (`turnscribe/instances.py`). All
        instances are read before the first is transcribed, and are together at most as large as one input may be; one
        that is wrong is an error of the whole request.
        Raises `RequestError` (`BadAudio`, `BadParameters`) for what the caller can mend, and `InferenceFailed`
        with an id for anything else; the log holds the details under that id.
        """
        with incidents(secret=self.settings.token):
            if not has_instances(data):
                return self._answer(self._read(data))
            read: list[tuple[bytes, Request]] = []
            for one in each_instance(read_instances(data), self._read):
                read.append(one)
                check_size(sum(len(audio) for audio, _ in read), self.settings.limits)
            return {"predictions": list(each_instance(read, self._answer))}

    def _read(self, data: object) -> tuple[bytes, Request]:
        if not isinstance(data, Mapping) or data.get("inputs") is None:
            raise BadAudio("inputs is missing: send the audio as base64 in inputs, or as the body.")
        request = parse_config(data.get("parameters"))
        limits, allow_urls = self.settings.limits, self.settings.allow_url_inputs
        return read_input(data["inputs"], limits=limits, allow_urls=allow_urls), request

    def _answer(self, read: tuple[bytes, Request]) -> dict[str, Any]:
        audio, request = read
        return to_answer(self.pipeline.transcribe(audio, request), request)
