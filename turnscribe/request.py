"""Everything one request asks for, in one frozen object that all layers pass on.

A field is a parameter of the request: its type says which values are right, its `Doc` how to say so to whoever sent a
wrong one (`parameters.py` reads both). `DecodingOptions` are those that reach an ASR backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from typing_extensions import Doc

from turnscribe.subtitle_limits import SubtitleLimits

PROMPT_CHARACTERS = 10_000
MOST_KEYWORDS = 200
KEYWORD_CHARACTERS = 100
MOST_STRETCHES = 100_000
FOR_BEAMS = ("length_penalty", "patience")
FOR_THE_DETECTOR = ("vad_threshold", "vad_min_speech_duration_ms")
MULTI = "multi"  # as `language`: every window has its own
Task: TypeAlias = Literal["transcribe", "translate"]
Milliseconds: TypeAlias = Annotated[int, Ge(0), Le(3_600_000), Doc("milliseconds from 0 to 3600000")]
Margin: TypeAlias = Annotated[int, Ge(0), Le(2_000), Doc("milliseconds from 0 to 2000")]
SpeakerCount: TypeAlias = Annotated[int | None, Ge(1), Le(100), Doc("a whole number from 1 to 100")]


@dataclass(frozen=True)
class DecodingOptions:
    """How one recording becomes text; `chunk_length_s` is the longest window in seconds, at most 30.

    A window is decoded again, each time 0.2 warmer than `temperature` up to 1, while its text is compressed by more
    than `compression_ratio_threshold` or its mean log-probability is below `logprob_threshold`; unlikely text
    where silence is likelier than `no_speech_threshold` is dropped. `None` turns a threshold off. The defaults are
    Whisper's (openai/whisper `transcribe.py`). `word_times` is no parameter: words are timed wherever the backend
    can, since by their times text is believed or not.

    With `num_beams` above 1 and a temperature of 0 the text is found by beam search: `num_beams * patience` texts are
    finished, and the best by its log-probability, divided by its number of tokens to the power of `length_penalty`,
    is taken.

    Without `full_windows`, windows of a recording that has none over 8 s are filled up with silence to 10 s, and not
    to the 30 s that Whisper was trained on.

    `language` is a code of Whisper's, `MULTI` where every window has its own, `None` where it is judged once;
    `languages` are the codes it is judged among, all the model's where none are given. With `vad`, speech is what a
    detector of voices finds likelier than `vad_threshold` for `vad_min_speech_duration_ms`; a pause of
    `vad_min_silence_duration_ms` or longer is not decoded but for `vad_speech_pad_ms` at each of its ends. Where
    speech is known already, `speech` has it, and the detector is not asked.

    `prefix` is what the text of the first window is known to begin with; decoding goes on after it. `guess` is what
    may come after it: the text is the same with it, and sooner there where it is right. Without `fallback` a window
    is decoded once, and a phrase over and over is no text. What is `urgent` comes before what is not, and has no more
    tokens than can be said in its time. With `token_logprobs` words have their tokens. None is a parameter: the last
    is for OpenAI's `include`, the others are for who transcribes while people speak.
    """

    task: Annotated[Task, Doc("'transcribe' or 'translate'")] = "transcribe"
    language: Annotated[
        str | None, Doc("a language code such as 'en', a name such as 'english', 'auto' or 'multi'")
    ] = None
    languages: Annotated[
        tuple[str, ...], Doc("language codes or names such as 'en', as a list or with commas between them")
    ] = ()
    batch_size: Annotated[int, Ge(1), Le(512), Doc("a whole number from 1 to 512")] = 24
    chunk_length_s: Annotated[float, Ge(1), Le(30), Doc("seconds from 1 to 30 (Whisper hears 30 at once)")] = 30.0
    assisted: Annotated[bool, Doc("true or false")] = False
    prompt: Annotated[
        str | None, MaxLen(PROMPT_CHARACTERS), Doc(f"text of at most {PROMPT_CHARACTERS} characters")
    ] = None
    keywords: Annotated[
        tuple[Annotated[str, MaxLen(KEYWORD_CHARACTERS)], ...],
        MaxLen(MOST_KEYWORDS),
        Doc(
            f"at most {MOST_KEYWORDS} names or terms of at most {KEYWORD_CHARACTERS} characters, as a list or with "
            "commas between them"
        ),
    ] = ()
    temperature: Annotated[float, Ge(0), Le(1), Doc("a number from 0 to 1")] = 0.0
    compression_ratio_threshold: Annotated[
        float | None, Gt(0), Doc("a number above 0 (a large one turns it off)")
    ] = 2.4
    logprob_threshold: Annotated[float | None, Le(0), Doc("a number of at most 0 (-1000 turns it off)")] = -1.0
    no_speech_threshold: Annotated[float | None, Ge(0), Le(1), Doc("a number from 0 to 1 (1 turns it off)")] = 0.6
    num_beams: Annotated[int, Ge(1), Le(10), Doc("a whole number from 1 to 10 (1 is greedy)")] = 1
    length_penalty: Annotated[float, Ge(0), Le(2), Doc("a number from 0 to 2")] = 1.0
    patience: Annotated[float, Gt(0), Le(10), Doc("a number above 0 and at most 10")] = 1.0
    vad: Annotated[bool, Doc("true or false")] = True
    vad_threshold: Annotated[float, Gt(0), Lt(1), Doc("a number between 0 and 1")] = 0.5
    vad_min_speech_duration_ms: Milliseconds = 60
    vad_min_silence_duration_ms: Milliseconds = 2000
    vad_speech_pad_ms: Margin = 200
    speech: Annotated[
        tuple[tuple[float, float], ...] | None,
        MaxLen(MOST_STRETCHES),
        Doc("pairs of seconds in order, such as [[0.5, 2.5], [4, 7.25]], or nothing"),
    ] = None
    full_windows: Annotated[bool, Doc("true or false")] = True
    word_times: bool = True
    prefix: str | None = None
    guess: str | None = None
    fallback: bool = True
    token_logprobs: bool = False
    urgent: bool = False


@dataclass(frozen=True)
class SubtitleOptions(SubtitleLimits):
    """`SubtitleLimits` as a request may set them."""

    max_line_width: Annotated[int, Ge(10), Le(1000), Doc("a whole number from 10 to 1000")] = (
        SubtitleLimits.max_line_width
    )
    max_line_count: Annotated[int, Ge(1), Le(10), Doc("a whole number from 1 to 10")] = SubtitleLimits.max_line_count
    max_cue_duration_s: Annotated[float, Ge(1), Le(60), Doc("seconds from 1 to 60")] = (
        SubtitleLimits.max_cue_duration_s
    )
    max_characters_per_second: Annotated[
        float | None, Ge(1), Le(100), Doc("a number from 1 to 100, or nothing (cues end with their words)")
    ] = SubtitleLimits.max_characters_per_second
    min_cue_gap_s: Annotated[float, Ge(0), Le(2), Doc("seconds from 0 to 2")] = SubtitleLimits.min_cue_gap_s


@dataclass(frozen=True)
class Request:
    """What is done with one recording: how it is read, decoded and diarized, and how the answer looks.

    `sampling_rate` (Hz) is the rate the input is decoded at before the models' 16 kHz, and that of headerless PCM.
    `audio_track=None` is the first that can be decoded and is not silent. `diarize=None` diarizes where a diarizer is
    loaded. `known_speakers` are files with people's voices, by name: who sounds like one of them gets that name, and
    with `known_voices` who sounds like somebody in the operator's folder of voices does.
    `response_format` is one of `formats.FORMATS`, and `subtitles` are the limits of those that are subtitles.
    `ignored` names what was sent and is not known.
    """

    decoding: DecodingOptions = DecodingOptions()
    sampling_rate: Annotated[int, Ge(4_000), Le(192_000), Doc("hertz from 4000 to 192000")] = 16_000
    encoding: Annotated[
        Literal["pcm_s16le"] | None, Doc("'pcm_s16le' (headerless PCM) or nothing (anything with a header)")
    ] = None
    channels: Annotated[Literal["mix", "split"], Doc("'mix' or 'split'")] = "mix"
    audio_track: Annotated[int | None, Ge(1), Le(100), Doc("a whole number from 1, the first track, to 100")] = None
    diarize: Annotated[bool | None, Doc("true, false or nothing (as a diarizer is loaded)")] = None
    num_speakers: SpeakerCount = None
    min_speakers: SpeakerCount = None
    max_speakers: SpeakerCount = None
    known_voices: Annotated[bool, Doc("true or false")] = True
    timestamps: Annotated[Literal["segment", "word"], Doc("'segment' or 'word'")] = "segment"
    response_format: Annotated[str | None, Doc("the name of a format")] = None
    subtitles: SubtitleOptions = SubtitleOptions()
    known_speakers: Mapping[str, bytes] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def speaker_counts(self) -> dict[str, int]:
        """Those of `num_speakers`, `min_speakers`, `max_speakers` that were given."""
        counts = {name: getattr(self, name) for name in ("num_speakers", "min_speakers", "max_speakers")}
        return {name: count for name, count in counts.items() if count is not None}

    @property
    def without_effect(self) -> tuple[str, ...]:
        """A warning for what was sent and is not known, and one for what says nothing beside the rest."""
        warnings = []
        if self.ignored:
            warnings.append(f"Unknown parameters were ignored: {', '.join(self.ignored)}.")
        if not self.decoding.vad:
            changed = [name for name in _changed(self.decoding) if name.startswith("vad_")]
            if changed:
                warnings.append(f"{' and '.join(changed)} had no effect: vad is false.")
        elif self.decoding.speech is not None:
            changed = [name for name in FOR_THE_DETECTOR if name in _changed(self.decoding)]
            if changed:
                warnings.append(f"{' and '.join(changed)} had no effect: speech was sent.")
        if self.decoding.num_beams == 1:
            changed = [name for name in FOR_BEAMS if name in _changed(self.decoding)]
            if changed:
                warnings.append(f"{' and '.join(changed)} had no effect: num_beams is 1.")
        return tuple(warnings)

    @property
    def word_times(self) -> bool:
        """Whether the answer has `words`."""
        return self.timestamps == "word"


def _changed(options: DecodingOptions) -> list[str]:
    """The options that are not at their defaults."""
    return [field.name for field in fields(options) if getattr(options, field.name) != field.default]
