"""A request as it would be sent, printed in its place with the secrets masked.

huggingface_hub makes the request itself, so that what is printed is what a real run sends; only the session's last
step is taken out. Knows of requests and httpx that both send with `session.post(url, headers=, json=)`, and of the
API that secrets are in the body's `model`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from turnscribe.cli.endpoints.request import MASK
from turnscribe.cli.endpoints.waiting import Tell


def dry_run(send: Callable[[], Any], tell: Tell) -> int:
    with sent_nowhere() as sent, suppress(_Caught):
        send()
    method, url, body = sent
    tell(f"{method} {url}, not sent:")
    if secrets := body.get("model", {}).get("secrets"):
        body["model"]["secrets"] = dict.fromkeys(secrets, MASK)
    tell(json.dumps(body, indent=2, ensure_ascii=False), result=True)
    return 0


class _Caught(Exception):
    """In place of the answer to a request that was not sent."""


@contextmanager
def sent_nowhere() -> Iterator[list[Any]]:
    """Inside, what huggingface_hub would post or put lands in the list: method, URL, body."""
    from huggingface_hub.utils import get_session

    sent: list[Any] = []
    session = get_session()

    def catcher(method: str) -> Callable[..., Any]:
        def caught(url: str, *, json: Any = None, **_: Any) -> Any:
            sent[:] = [method, url, json]
            raise _Caught

        return caught

    for method in ("post", "put", "delete"):
        setattr(session, method, catcher(method.upper()))
    try:
        yield sent
    finally:
        for method in ("post", "put", "delete"):
            delattr(session, method)
