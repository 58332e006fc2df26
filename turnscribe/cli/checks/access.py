"""What the Hub lets this token read: whether it can be asked at all, the token's rights, and the gates.

Fetches files of a few kilobytes and no weights. Does not know what is in a model, nor what it is for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from turnscribe.checkpoints.hub import HUB, explain
from turnscribe.cli.checks.named import NO_ACCOUNT
from turnscribe.cli.checks.results import Result
from turnscribe.diarization.diarizer import is_open
from turnscribe.diarization.pyannote import ALSO_GATED, COMMUNITY

TIMEOUT = 15  # seconds for an answer of the Hub


def unreachable(api: Any) -> str | None:
    """Why the Hub cannot be asked, or `None`. Any answer at all is an answer."""
    from huggingface_hub.utils import get_session

    try:
        get_session().get(f"{api.endpoint}/api/models/openai/whisper-tiny", timeout=TIMEOUT)
    except Exception as error:
        if type(error).__name__ == "OfflineModeIsEnabled":
            return "HF_HUB_OFFLINE is set"
        return f"the Hub cannot be reached ({type(error).__name__})"
    return None


def check_token(token: str | None, api: Any, *, needed: bool, offline: str | None = None) -> Result:
    tokens = f"{HUB}/settings/tokens"
    if token is None:
        return Result("HF_TOKEN", "ok", "not set; only gated and private models need one")
    if offline or not needed:
        return Result("HF_TOKEN", "ok", "set, not checked: " + (offline or "every model is a folder"))
    try:
        me = api.whoami(token=token)
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            return Result("HF_TOKEN", "FAILED", "the Hub does not know this token", f"make a read token at {tokens}")
        return Result("HF_TOKEN", "warning", f"not checked ({type(error).__name__})", "try again later")
    access = (me.get("auth") or {}).get("accessToken") or {}
    role, rights = access.get("role"), access.get("fineGrained") or {}
    whose = f"of {me.get('name')}, {role or 'of an unknown kind'}"
    if role == "fineGrained" and not rights.get("canReadGatedRepos"):
        advice = f"where a model is gated, tick 'Read access to public gated repos' at {tokens}"
        return Result("HF_TOKEN", "warning", f"{whose}, may not read gated models", advice)
    if role == "write":
        return Result(
            "HF_TOKEN", "warning", f"{whose}, may do more than an endpoint needs", f"make a read token at {tokens}"
        )
    return Result("HF_TOKEN", "ok", whose)


def gates(diarizer: str, pyannote: str) -> list[str]:
    """Repositories beside the diarizer's own that loading it fetches from, each with conditions to accept.

    pyannote.audio 4 takes its PLDA from the community pipeline, whatever it loads, unless a folder brings one. The
    open diarizer needs nothing else.
    """
    if is_open(Path(diarizer)):
        return []
    found = [ALSO_GATED[diarizer]] if diarizer in ALSO_GATED else []
    if pyannote.split(".")[0] not in ("", "3") and diarizer != COMMUNITY:
        folder = Path(diarizer).parent if diarizer.endswith(".yaml") else Path(diarizer)
        file = folder / "config.yaml"
        if not (file.is_file() and "plda" in file.read_text()):
            found.append(COMMUNITY)
    return found


def check_gate(repository: str, api: Any) -> Result:
    name = f"gate {repository.split('/')[-1]}"
    from huggingface_hub.errors import GatedRepoError

    try:
        hub_file(api, repository, "config.yaml")
    except GatedRepoError:
        page = f"{HUB}/{repository}"
        advice = f"{NO_ACCOUNT}; or accept its conditions at {page}, with the token's account"
        return Result(name, "FAILED", f"{repository} is gated", advice)
    except Exception as error:
        detail, _, advice = str(explain(error, "DIARIZATION_MODEL", repository)).partition(": ")
        return Result(name, "FAILED", detail.removeprefix("DIARIZATION_MODEL "), advice)
    return Result(name, "ok", f"{repository} may be read")


def hub_file(api: Any, model: str, file: str) -> bytes:
    """A small file, past the cache: reading one is what a gate forbids."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(model, file, endpoint=api.endpoint)
    answer = get_session().get(url, headers=build_hf_headers(token=api.token), timeout=TIMEOUT)
    hf_raise_for_status(answer)
    return bytes(answer.content)
