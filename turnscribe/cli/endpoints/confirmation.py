"""Being sure before what cannot be undone: its name is typed."""

from __future__ import annotations

from turnscribe.cli.endpoints.waiting import Tell
from turnscribe.errors import SettingsError


def confirm_deletion(name: str, what: str, tell: Tell) -> None:
    """Tells `what` will be deleted and asks for `name`. Raises `SettingsError` where anything else is answered."""
    tell(f"{what} will be deleted. This cannot be undone.")
    try:
        answer = input("Type its name to go on: ")
    except EOFError:
        answer = ""
    if answer.strip() != name:
        raise SettingsError(f"Nothing was deleted: type the name, {name}, or give --yes.")
