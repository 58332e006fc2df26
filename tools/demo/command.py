"""`make demo`: a recording through `EndpointHandler`, as an endpoint answers it, printed for people.

The recording is the telephone call that pyannote.audio packages, and the models are real. Where they cannot be
fetched, it is the demo conversation, with the demo models of this repository.
"""

from __future__ import annotations

import sys

from tools.demo import real, synthetic
from turnscribe.errors import SettingsError


def main() -> int:
    """The exit status: 0, or 130 after Ctrl-C."""
    try:
        try:
            models = real.fetch_models()
        except SettingsError as error:
            print(f"The real models cannot be had ({str(error).rstrip('.')}), so the demo models speak.\n")
            return synthetic.run()
        return real.run(models)
    except KeyboardInterrupt:
        print("\ninterrupted: what was fetched is kept, and `make demo` goes on from there", file=sys.stderr)
        return 130
