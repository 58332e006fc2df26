"""Shared fixtures. The demo models are loaded once a session; nothing here needs a network or a token."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")
