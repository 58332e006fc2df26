"""What went wrong at Hugging Face, in one sentence that says what would be right.

Knows the statuses and the words of the Inference Endpoints API, and that huggingface_hub speaks by requests or by
httpx. Does not know what was tried, beyond its command line, and never retries.
"""

from __future__ import annotations

import argparse
import re
from typing import Any

from turnscribe.checkpoints.hub import HUB

PAGES = "https://ui.endpoints.huggingface.co"
PRICES = f"{HUB}/docs/inference-endpoints/pricing"


class Refused(Exception):
    """The API said no, or the endpoint failed; one sentence."""


def explained(error: Exception, args: argparse.Namespace) -> str | None:
    """One sentence for an error of huggingface_hub; `None` for any other. The API's own words end it."""
    from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

    if isinstance(error, LocalTokenNotFoundError):
        return "There is no token: set HF_TOKEN, name a file with --token-file, or log in with `hf auth login`."
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and an endpoint cannot be managed offline: unset it."
    if isinstance(error, ValueError) and "namespace" in str(error):
        return "The token belongs to no user, so whose endpoint is meant is unknown: give --namespace."
    response = getattr(error, "response", None)  # 0.30's whoami raises an error of requests itself
    if response is None:
        reached = f"Hugging Face cannot be reached ({type(error).__name__}): check the network."
        return reached if is_network(error) else None
    status = response.status_code
    message = one_line(getattr(error, "server_message", None) or "")
    return f"{_reason(status, message.lower(), args)}{f' The API said: {message}' if message else ''}"


def _reason(status: int, message: str, args: argparse.Namespace) -> str:
    """The first that fits. Statuses tell little: a missing instance is a 400, a gated repository may be a 500."""
    whose, repository = args.namespace or "your account", getattr(args, "repository", None) or "the repository"
    reasons: tuple[tuple[Any, str], ...] = (
        (status == 401, f"The token is not valid: make one at {HUB}/settings/tokens and set HF_TOKEN."),
        (
            "quota" in message,
            f"The quota of {whose} is used up: take a smaller instance or ask for more at {PAGES}.",
        ),
        ("gated" in message, f"{repository} is gated: accept its terms on its page with the account of the token."),
        (
            status == 402 or re.search("payment|billing|credit", message),
            f"{whose} cannot pay for it: add a payment method at {HUB}/settings/billing.",
        ),
        (
            status == 409 or re.search("already (exist|in use|taken)", message),
            f"{whose} has an endpoint {args.name} already: choose another name, or use `update {args.name}`.",
        ),
        (
            re.search("(instance|compute|accelerator|region|vendor).*not (found|available)", message),
            f"There is no such instance at this vendor and region: {PRICES} lists what there is.",
        ),
        (
            status == 403,
            f"The token may not do this for {whose}: give it the right to manage Inference Endpoints at "
            f"{HUB}/settings/tokens.",
        ),
        (
            status == 404 and args.command == "create",
            f"{whose} or {repository} was not found: check the names, and that the token may see them.",
        ),
        (status == 404, f"{whose} has no endpoint {args.name}: check the name and --namespace."),
        (
            status == 429 or status >= 500,
            f"Hugging Face failed ({status}): check that the token may read {repository}, and try again later.",
        ),
    )
    return next((sentence for fits, sentence in reasons if fits), f"The API refused ({status}).")


def one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:297] + "..."


def is_network(error: BaseException) -> bool:
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in ("httpx", "httpx2", "requests")
