"""A named model's files from its repository on the Hub, in its pinned revision.

The Hub says no in a few seconds, or it is not asked further: the packages hold the same bytes.
"""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from turnscribe.checkpoints.catalogue import NamedModel, Repository
from turnscribe.checkpoints.sources.verified import has_right_bytes

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ANSWER_SECONDS = 4.0  # in all, names and proxies included, which the timeout of the connection does not bound
log = logging.getLogger("turnscribe")


def hub_answers(repository: Repository, api: HfApi | None = None, *, seconds: float = ANSWER_SECONDS) -> bool:
    """Whether the Hub shows the repository in time; never with HF_HUB_OFFLINE."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return False
    hub = api or HfApi()
    answers: list[bool] = []

    def ask() -> None:
        try:
            hub.model_info(repository.id, revision=repository.revision, timeout=seconds, token=False)
            answers.append(True)
        except Exception as error:  # whatever it is, the packages are asked then
            log.debug("the Hub does not show %s: %s", repository.id, type(error).__name__)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return bool(answers)


def fetch_from_hub(model: NamedModel, partial: Path, destination: Path, api: HfApi | None = None) -> bool:
    """Put the model's files into `destination`; false where the Hub did not send them, or sent other bytes.

    What was begun stays in `partial`, and the next call goes on from there. Raises `OSError` where the disk is full.
    """
    from huggingface_hub import HfApi

    assert model.repository is not None
    hub = api or HfApi()
    for file in model.files:
        try:
            # a token that has expired would be refused where none is needed
            hub.hf_hub_download(
                model.repository.id, file.path, revision=model.repository.revision, local_dir=partial, token=False
            )
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None and not _of_connection(error):
                raise
            log.debug("the Hub did not send %s of %s: %s", file.path, model.name, type(error).__name__)
            return False
        if not has_right_bytes(file, partial / file.path):
            log.warning("%s of %s is another file on the Hub than it was: it is not taken.", file.path, model.name)
            shutil.rmtree(partial)
            return False
    for file in model.files:
        (destination / file.path).parent.mkdir(parents=True, exist_ok=True)
        (partial / file.path).rename(destination / file.path)
    return True


def _of_connection(error: OSError) -> bool:
    """Errors of `requests` are `OSError` too, as are those of sockets."""
    return isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.partition(".")[0] == "requests"
