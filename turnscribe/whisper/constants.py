"""Whisper's own numbers, once (openai/whisper `audio.py`, `tokenizer.py`; Whisper paper, section 2)."""

from turnscribe.waveform import SAMPLE_RATE

WINDOW_SECONDS = 30  # the model hears as much at once
SECONDS_PER_FRAME = 0.02  # of the encoder's output; a timestamp token counts in the same steps
SAMPLES_PER_FRAME = round(SAMPLE_RATE * SECONDS_PER_FRAME)  # 320
LONGEST_PROMPT = 223  # tokens: half of Whisper's 448, less the marker before them
