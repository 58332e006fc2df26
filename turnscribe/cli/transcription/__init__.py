"""The parts of `turnscribe transcribe`."""
