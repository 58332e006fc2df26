"""Transcription while people speak: samples go in, events come out. Knows no transport.

Read in this order: `session.py` (what a session does, in which order), `endpoints.py` (where an utterance begins and
ends), `utterance.py` (its text, as it grows), `commit.py` (which words stay), `speakers.py` (who said it).
"""
