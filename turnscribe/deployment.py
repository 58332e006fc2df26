"""Whose settings, request defaults and models are used: the package's, or those of a repository that is deployed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from turnscribe import parameters, settings
from turnscribe.checkpoints.hub import check_available
from turnscribe.errors import SettingsError
from turnscribe.pipeline import Pipeline, load_pipeline
from turnscribe.request import Request
from turnscribe.settings import ModelSettings


class Deployment:
    """Reads settings and parameters, and loads the models once a process, when they are first asked for.

    `load` is a function of a module, or a `partial` of one: a server names it to the processes of its devices.
    `missing` says of the models that cannot be loaded why, a sentence each, without loading any.
    """

    def __init__(
        self,
        *,
        load_settings: Callable[[], ModelSettings],
        parse: Callable[[object], Request],
        load: Callable[[ModelSettings], Pipeline],
        missing: Callable[[ModelSettings], Iterable[str]] = lambda settings: (),
    ) -> None:
        self.load_settings, self.parse, self.load, self.missing = load_settings, parse, load, missing
        self._loading = threading.Lock()
        self._pipeline: Pipeline | None = None

    def pipeline(self) -> Pipeline:
        """The loaded models, the same at every call. Raises `SettingsError`."""
        with self._loading:
            if self._pipeline is None:
                self._pipeline = self.load(self.load_settings())
            return self._pipeline


def load_package_settings() -> ModelSettings:
    """The environment's, and a look at the defaults of requests, which it may have too."""
    loaded = settings.load_settings(ModelSettings)
    parameters.check_defaults()
    return loaded


def package_deployment(root: Path = Path()) -> Deployment:
    """Of the package alone: its request defaults and rules; relative model folders are looked for in `root` first."""
    return Deployment(
        load_settings=load_package_settings,
        parse=parameters.parse_parameters,
        load=partial(load_pipeline, root=root),
        missing=partial(missing_models, root=root),
    )


def missing_models(settings: ModelSettings, *, root: Path = Path()) -> Iterator[str]:
    """Of the models that the settings name, those that cannot be had: a sentence each, within seconds."""
    named = {
        "ASR_MODEL": settings.asr_model,
        "ASSISTANT_MODEL": settings.assistant_model,
        "DIARIZATION_MODEL": settings.diarization_model,
    }
    for variable, model in named.items():
        try:
            if model:
                check_available(variable, model, root)
        except SettingsError as error:
            yield str(error)
