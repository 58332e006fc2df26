"""`make demo`: a real telephone call by real models, or, where those cannot be had, the demo conversation."""

from tools.demo.command import main

__all__ = ["main"]
