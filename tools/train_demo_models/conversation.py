"""`demo/conversation.flac`: a short meeting in three of the voices, in words the demo models know."""

from __future__ import annotations

import io
import random
from pathlib import Path

from turnscribe.cli.evaluation.references import words_of, write_reference
from turnscribe.cli.evaluation.synthetic_speech import Dialogue, Utterance, place, synthesize
from turnscribe.files import write_whole
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_int16

PAUSE = 0.35  # seconds between the sentences of one turn
GAP = 0.45  # between turns
BACKCHANNEL_PAUSE = 0.75  # a turn pauses this long around a listener's "yes"

ANNA, BEN, CAROL = "slt", "rms", "en-us+f4"
TURNS = (
    (ANNA, ("hello team please listen", "today we talk about the new project", "the customer is not happy")),
    (BEN, ("hello", "i have one question", "when will we send the report")),
    (
        ANNA,
        (
            "we send the report on friday morning",
            "but the plan is not ready",
            (BEN, "yes"),
            "and i need help with the budget",
        ),
    ),
    (CAROL, ("sorry my train was not early today", "i have the paper and the new price", "where is the problem")),
    (BEN, ("the problem is the old computer in the office", "it is not fast", "maybe we can change it on monday")),
    (ANNA, ("great", "please check the number and send the answer")),
    (CAROL, ("okay", "i will call the customer again tomorrow after the meeting")),
    (BEN, ("and i bring water and coffee",)),
    (ANNA, ("thanks", "we talk again on thursday before seven", "goodbye")),
    (CAROL, ("goodbye",)),
)


def conversation() -> Dialogue:
    """The recording, with white noise 25 dB below the speech; a backchannel falls into a pause of its turn."""
    placed: list[tuple[Utterance, float]] = []
    at = 0.6
    for voice, sentences in TURNS:
        for sentence in sentences:
            if isinstance(sentence, tuple):
                listener, word = sentence
                spoken = synthesize([word], listener, rate=1.2)
                at -= PAUSE
                placed.append((spoken, at + (BACKCHANNEL_PAUSE - spoken.duration) / 2))
                at += BACKCHANNEL_PAUSE
            else:
                spoken = synthesize(sentence.split(), voice)
                placed.append((spoken, at))
                at += spoken.duration + PAUSE
        at += GAP - PAUSE
    return place(placed, duration=at + 0.5, noise_db=25.0, rng=random.Random(1))


def save_conversation(folder: Path) -> None:
    """`conversation.flac` and its reference (json, stm, rttm, txt) in `folder`."""
    dialogue = conversation()
    write_whole(folder / "conversation.flac", flac_file(dialogue.waveform))
    write_reference(folder, "conversation", words_of(dialogue.utterances))


def flac_file(waveform: Waveform) -> bytes:
    """`[samples]` in [-1, 1] at 16 kHz as a mono flac file of 16 bits."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        samples = to_int16(waveform)[None]  # [1, samples]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return buffer.getvalue()
