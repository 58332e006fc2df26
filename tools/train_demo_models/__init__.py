"""Trains the demo models from nothing: a bank of synthetic speech, Whisper, its assistant, the diarizer."""
