"""The parts of Turnscribe. Start reading at `handler.py`."""

__version__ = "0.1.0"  # the one place: the package, the server and `turnscribe --version` read it here
