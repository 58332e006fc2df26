"""The parts of Turnscribe. Start reading at `handler.py`."""
