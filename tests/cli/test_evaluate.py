from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from config import parse_config
from tests.fakes import FakePipeline, deployed
from turnscribe.cli.evaluate import AT_LEAST, AT_MOST, listed, main, table, unmet
from turnscribe.cli.evaluation import references
from turnscribe.cli.evaluation.draft_agreement import draft_agreement
from turnscribe.cli.evaluation.measures import (
    Figures,
    Ratio,
    align,
    boundary_errors,
    compare,
    cp_errors,
    diarization_errors,
    heard_words,
    right_speakers,
    speaker_mapping,
    total,
    values,
)
from turnscribe.cli.evaluation.references import (
    BadReference,
    Reference,
    SpokenWord,
    normalise,
    read_reference,
    reference_of,
    turns_of,
    write_reference,
)
from turnscribe.errors import BadAudio, Cancelled
from turnscribe.files import write_whole
from turnscribe.listener import Listener
from turnscribe.request import Request
from turnscribe.transcript import Chunk, Speculation, Transcript, Turn, Word
from turnscribe.waveform import to_wav

ROOT = Path(__file__).resolve().parents[2]

# Anna says "hello team", Ben answers "yes please", half a second apart: 1.0 s of speech.
SAID = (
    Word("Hello", 0.0, 0.3, speaker="anna"),
    Word("team,", 0.3, 0.5, speaker="anna"),
    Word("yes", 1.0, 1.2, speaker="ben"),
    Word("please.", 1.2, 1.5, speaker="ben"),
)
# Heard: one word wrong, one too many, boundaries off by 0, 0.1, 0.05 and 0.05 s, Ben's first word given to Anna.
HEARD = (
    Word(" Hello", 0.0, 0.4, speaker="S0"),
    Word(" steam", 0.4, 0.5, speaker="S0"),
    Word(" yes", 1.05, 1.25, speaker="S0"),
    Word(" please", 1.2, 1.5, speaker="S1"),
    Word(" um", 1.5, 1.6, speaker="S1"),
)
TURNS = (Turn("S0", 0.0, 0.5), Turn("S0", 1.0, 1.25), Turn("S1", 1.25, 1.75))


def transcript(words: tuple[Word, ...] = HEARD, turns: tuple[Turn, ...] = TURNS, **more: Any) -> Transcript:
    chunks = (Chunk("".join(word.text for word in words), 0.0, 2.0, words),) if words else ()
    return Transcript("", chunks, 2.0, turns=turns, **more)


def said(text: str, speaker: str | None = None) -> SpokenWord:
    return SpokenWord(text, speaker=speaker)


# --- Words --------------------------------------------------------------------------------------------------


def test_normalising_lowers_case_and_drops_punctuation() -> None:
    assert normalise("Don't PANIC: it’s 9:30 – a “well-known” hour, £5!") == (
        "dont panic its 9 30 a well known hour 5".split()
    )
    assert normalise("ÜBER e\u0301te\u0301") == ["über", "été"]
    assert normalise(" … -- ") == []


def test_a_transcripts_words_are_normalised_and_keep_times_only_where_they_are_known() -> None:
    words = (Word(" Well-known", 0.0, 0.5, speaker="S0"), Word(" --", 0.5, 0.6), Word(" Hi!", 0.6, 0.9))
    spoken = transcript(words)
    spoken = replace(spoken, chunks=(*spoken.chunks, Chunk(" no times", 1.0, 2.0, speaker="S1")))
    assert heard_words(spoken) == [
        SpokenWord("well", None, "S0"),
        SpokenWord("known", None, "S0"),
        SpokenWord("hi", (0.6, 0.9), None),
        SpokenWord("no", None, "S1"),
        SpokenWord("times", None, "S1"),
    ]


def test_alignment_pairs_equal_words_and_counts_the_others() -> None:
    aligned = align("a b c d".split(), "a x c d e".split())
    assert aligned.equal == ((0, 0), (2, 2), (3, 3))
    assert (aligned.substitutions, aligned.deletions, aligned.insertions) == (1, 0, 1)
    aligned = align("a b c".split(), ["c"])
    assert (aligned.equal, aligned.deletions) == (((2, 0),), 2)
    assert align([], ["a"]).insertions == align(["a"], []).deletions == 1
    assert align([], []).equal == ()


def test_boundary_errors_are_of_starts_and_ends_where_both_times_are_known() -> None:
    pairs = [
        (SpokenWord("a", (1.0, 2.0)), SpokenWord("a", (1.25, 1.5))),
        (SpokenWord("b", (2.0, 3.0)), SpokenWord("b")),
        (SpokenWord("c"), SpokenWord("c", (3.0, 4.0))),
    ]
    assert boundary_errors(pairs) == (0.25, 0.5)


# --- Speakers -----------------------------------------------------------------------------------------------


def pairs_of(*counts: tuple[str | None, str | None, int]) -> list[tuple[SpokenWord, SpokenWord]]:
    return [(said("w", true), said("w", found)) for true, found, count in counts for _ in range(count)]


def test_the_best_mapping_is_of_all_speakers_together() -> None:
    # S0 taken for anna alone would be 3 words; S0 for ben and S1 for anna are 2 + 2.
    pairs = pairs_of(("anna", "S0", 3), ("ben", "S0", 2), ("anna", "S1", 2))
    assert speaker_mapping(pairs) == {"S0": "ben", "S1": "anna"}
    assert right_speakers(pairs) == Ratio(4, 7)


def test_a_word_without_a_speaker_or_of_a_speaker_too_many_is_wrong() -> None:
    pairs = pairs_of(("anna", "S0", 5), ("anna", "S1", 1), ("anna", None, 2))
    assert speaker_mapping(pairs) == {"S0": "anna"}
    assert right_speakers(pairs) == Ratio(5, 8)
    assert right_speakers(pairs_of(("anna", None, 2))) == Ratio(0, 2)
    assert right_speakers([]) == Ratio(0, 0)


def test_cpwer_joins_each_speakers_words() -> None:
    reference = [said("a", "anna"), said("d", "ben"), said("b", "anna"), said("e", "ben"), said("c", "anna")]
    heard = [said("d", "S0"), said("a", "S1"), said("b", "S1"), said("e", "S0")]
    assert cp_errors(reference, heard) == Ratio(1, 5)
    assert cp_errors(reference, [said(word.text, "S0") for word in reference]) == Ratio(4, 5)  # 2 deleted, 2 inserted
    assert cp_errors(reference, []) == Ratio(5, 5)


def test_diarization_errors_are_seconds_of_the_references_speech() -> None:
    # 4 s of speech; 0.5 s missed, 1 s said by another, 0.25 s heard in silence.
    reference = (Turn("anna", 0.0, 2.0), Turn("ben", 2.0, 4.0))
    turns = (Turn("S0", 0.5, 3.0), Turn("S1", 3.0, 4.25))
    assert diarization_errors(reference, turns, 5.0) == (Ratio(0.5, 4), Ratio(0.25, 4), Ratio(1, 4))


def test_overlapped_speech_counts_for_each_who_speaks() -> None:
    reference = (Turn("anna", 0.0, 2.0), Turn("ben", 1.0, 2.0))
    assert diarization_errors(reference, (Turn("S0", 0.0, 2.0),), 2.0) == (Ratio(1, 3), Ratio(0, 3), Ratio(0, 3))
    assert diarization_errors((), (Turn("S0", 0.0, 2.0),), 3.0) == (Ratio(0, 0), Ratio(2, 0), Ratio(0, 0))


def test_the_sum_over_recordings_is_pyannotes_own() -> None:
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    metric, measured = DiarizationErrorRate(collar=0.0, skip_overlap=False), []
    rng = np.random.default_rng(0)
    for _ in range(5):
        sides = []
        for names in ("ab", "xyz"):
            cuts = [0.0, *np.sort(rng.uniform(0, 10, 6)).tolist(), 10.0]
            sides.append([Turn(rng.choice([*names]), s, e) for s, e in zip(cuts[::2], cuts[1::2], strict=True)])
        missed, false_alarm, confusion = diarization_errors(*sides, 10.0)
        measured.append(Figures(missed=missed, false_alarm=false_alarm, confusion=confusion))
        annotations = []
        for turns in sides:
            annotations.append(Annotation())
            for turn in turns:
                annotations[-1][Segment(turn.start, turn.end)] = turn.speaker
        metric(*annotations, uem=Timeline([Segment(0, 10)]))
    assert values(total(measured))["der"] == pytest.approx(abs(metric))


# --- A recording --------------------------------------------------------------------------------------------


def test_a_recording_is_measured_in_every_way() -> None:
    figures = compare(reference_of(SAID), transcript())
    assert figures.wer == Ratio(2, 4)
    assert [figures.substitutions, figures.deletions, figures.insertions] == [Ratio(1, 4), Ratio(0, 4), Ratio(1, 4)]
    assert figures.boundaries == pytest.approx((0, 0.1, 0.05, 0.05, 0, 0))
    assert figures.speaker == Ratio(2, 3)  # hello and please; yes is anna's here
    assert figures.cpwer == Ratio(4, 4)  # steam for team and yes too many; um for yes and please in another order
    assert figures.missed == Ratio(0, 1)
    assert figures.false_alarm == Ratio(0.25, 1)
    assert figures.confusion == Ratio(0.25, 1)
    assert (figures.speakers, figures.speakers_found) == (Ratio(1, 1), Ratio(2, 2))
    assert (figures.recordings, figures.seconds, figures.took) == (1, 2.0, 0.0)


def test_what_a_reference_lacks_is_not_measured() -> None:
    plain = compare(Reference(words=tuple(references.spoken("hello team yes please"))), transcript())
    assert plain.wer == Ratio(2, 4)
    assert plain.boundaries == ()
    assert {plain.cpwer, plain.speaker, plain.der, plain.speakers} == {None}
    turns_only = compare(Reference(turns=reference_of(SAID).turns), transcript())
    assert (turns_only.wer, turns_only.cpwer, turns_only.speaker) == (None, None, None)
    assert turns_only.der == Ratio(0.5, 1)
    assert turns_only.speakers == Ratio(1, 1)


def test_without_a_diarizer_speakers_are_not_measured_and_with_one_that_hears_nobody_they_are() -> None:
    words = tuple(replace(word, speaker=None) for word in HEARD)
    off = compare(reference_of(SAID), transcript(words, ()))
    assert off.wer == Ratio(2, 4)
    assert {off.cpwer, off.speaker, off.der, off.speakers} == {None}
    deaf = compare(reference_of(SAID), transcript(words, (), timings={"diarization": 0.1}))
    assert deaf.der == Ratio(1.0, 1.0)
    assert deaf.speaker == Ratio(0, 3)
    assert deaf.speakers_found == Ratio(0, 2)


def test_channels_that_are_speakers_are_measured_without_turns() -> None:
    figures = compare(reference_of(SAID), transcript(turns=()))
    assert figures.der is None
    assert (figures.speaker, figures.speakers) == (Ratio(2, 3), Ratio(1, 1))


def test_words_heard_in_silence_are_insertions_of_nothing() -> None:
    silence = compare(Reference((), ()), transcript())
    assert silence.wer == Ratio(5, 0)
    assert silence.wer.value is None
    none = Ratio(0, 10)
    assert total([silence, Figures(substitutions=none, deletions=none, insertions=none)]).wer == Ratio(5, 10)


# --- All recordings -----------------------------------------------------------------------------------------


def test_errors_are_summed_before_they_are_divided() -> None:
    short = Figures(1, 10.0, 2.0, substitutions=Ratio(1, 2), boundaries=(0.4,), speakers=Ratio(1, 1))
    long = Figures(1, 90.0, 3.0, substitutions=Ratio(1, 18), boundaries=(0.1, 0.2, 0.3), draft=Ratio(3, 4))
    summed = values(total([short, long]))
    assert summed["wer"] == 2 / 20
    assert summed["speed"] == 100 / 5
    assert summed["boundary"] == pytest.approx(0.25)
    assert summed["boundary90"] == pytest.approx(0.37)  # 0.3 + 0.7 * 0.1
    assert (summed["recordings"], summed["audio_seconds"], summed["seconds"]) == (2, 100.0, 5.0)
    assert (summed["draft"], summed["speakers"], summed["der"], summed["live"]) == (0.75, 1.0, None, None)
    assert summed["counts"] == {"wer": [2, 20], "substitutions": [2, 20], "speakers": [1, 1], "draft": [3, 4]}
    assert values(Figures())["wer"] is None


def test_the_table_has_a_column_for_each_group() -> None:
    figures = replace(compare(reference_of(SAID), transcript()), took=0.5, live=Ratio(3, 4))
    lines = table({"talks": figures, "all": Figures(recordings=1)}).splitlines()
    assert lines[0].split() == ["talks", "all"]
    found = {line[:32].strip(): line[32:].split("  ") for line in lines[1:]}
    cells = {label: [cell.strip() for cell in line if cell.strip()] for label, line in found.items()}
    assert cells == {
        "recordings": ["1", "1"],
        "audio": ["00:00:02", "00:00:00"],
        "speed, times real time": ["4.0x", "-"],
        "WER": ["50.0 %", "-"],
        "substituted, deleted, inserted": ["1 0 1 of 4", "-"],
        "cpWER": ["100.0 %", "-"],
        "tcpWER": ["100.0 %", "-"],
        "word boundaries, median": ["0.025 s", "-"],
        "90th percentile": ["0.075 s", "-"],
        "DER": ["50.0 %", "-"],
        "missed, false alarm, confused": ["0.0 % 25.0 % 25.0 %", "- - -"],
        "words with the right speaker": ["66.7 %", "-"],
        "right number of speakers": ["1 of 1", "-"],
        "speakers found": ["2 of 2", "-"],
        "draft accepted, word for word": ["-", "-"],
        "draft accepted, live": ["75.0 %", "-"],
    }
    assert len(listed("a.wav", figures, 9)) == len(listed("recording", None, 9))


def test_a_required_figure_that_is_worse_or_missing_is_told() -> None:
    figures = Figures(1, 10.0, 2.0, substitutions=Ratio(1, 10), speaker=Ratio(9, 10))
    assert unmet({"wer": 0.1, "speaker": 0.9, "speed": 5.0}, figures) == []
    assert unmet({"wer": 0.05, "speaker": 0.95, "der": 0.1}, figures) == [
        "wer is 0.1: at most 0.05 is required.",
        "speaker is 0.9: at least 0.95 is required.",
        "der was not measured and 0.1 is required.",
    ]
    assert {*AT_MOST, *AT_LEAST} <= values(figures).keys()


# --- References ---------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_reference(tmp_path, "a talk", SAID[::-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a talk.json",
        "a talk.rttm",
        "a talk.stm",
        "a talk.txt",
    ]
    recording = tmp_path / "a talk.wav"
    reference = read_reference(recording)
    assert reference == reference_of(SAID)
    assert reference.turns == (Turn("anna", 0.0, 0.5), Turn("ben", 1.0, 1.5))
    assert (tmp_path / "a talk.stm").read_text() == (
        "a_talk 1 anna 0.000 0.500 Hello team,\na_talk 1 ben 1.000 1.500 yes please.\n"
    )
    assert (tmp_path / "a talk.rttm").read_text().splitlines()[1] == (
        "SPEAKER a_talk 1 1.000 0.500 <NA> <NA> ben <NA> <NA>"
    )
    assert (tmp_path / "a talk.txt").read_text() == "Hello team, yes please.\n"

    (tmp_path / "a talk.json").unlink()  # the stm's words have speakers and no times
    words = tuple(SpokenWord(word.text, None, word.speaker) for word in reference.words or ())
    assert read_reference(recording) == Reference(words, reference.turns)
    (tmp_path / "a talk.stm").unlink()  # the text has neither, and turns come from the rttm
    words = tuple(SpokenWord(word.text) for word in words)
    assert read_reference(recording) == Reference(words, reference.turns)
    (tmp_path / "a talk.rttm").unlink()
    assert read_reference(recording) == Reference(words)


def test_a_turn_ends_at_a_pause_whoever_speaks_meanwhile() -> None:
    words = [
        Word("a", 0.0, 0.5, speaker="anna"),
        Word("yes", 0.4, 0.6, speaker="ben"),
        Word("b", 0.6, 0.8, speaker="anna"),
        Word("c", 1.0, 1.2, speaker="anna"),
    ]
    assert turns_of(words) == [
        (Turn("anna", 0.0, 0.8), ["a", "b"]),
        (Turn("ben", 0.4, 0.6), ["yes"]),
        (Turn("anna", 1.0, 1.2), ["c"]),
    ]


def test_json_words_may_lack_times_and_speakers(tmp_path: Path) -> None:
    entries = [{"word": "Two", "start": 1, "end": 2, "speaker": 7}, {"word": "one", "start": None, "speaker": 7}]
    (tmp_path / "a.json").write_text(json.dumps({"words": entries}))
    words = (SpokenWord("two", (1.0, 2.0), "7"), SpokenWord("one", None, "7"))
    assert read_reference(tmp_path / "a.wav") == Reference(words)


def test_an_stm_may_be_of_several_recordings_and_has_comments_labels_and_gaps(tmp_path: Path) -> None:
    (tmp_path / "a.stm").write_text(
        ";; a comment\n\n"
        "b 1 carol 0 9 not this one\n"
        "a 1 ben 3 4 <o,f0,male> two three\n"
        "a 1 anna 1.0 2.5 One,\n"
        "a 1 inter_segment_gap 2.5 3 <o,,unknown>\n"
    )
    assert read_reference(tmp_path / "a.wav") == Reference(
        (SpokenWord("one", None, "anna"), SpokenWord("two", None, "ben"), SpokenWord("three", None, "ben")),
        (Turn("anna", 1.0, 2.5), Turn("ben", 3.0, 4.0)),
    )


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".json", '{"text": "an answer of the endpoint"}'),
        (".json", '{"words": ["hello"]}'),
        (".json", '{"words": [{"word": "a", "start": -1, "end": 2}]}'),
        (".json", "words"),
        (".stm", "a 1 anna 0"),
        (".stm", "a 1 anna zero one hello"),
        (".stm", "a 1 anna 0 1 IGNORE_TIME_SEGMENT_IN_SCORING"),
        (".stm", "b 1 anna 0 1 hello\nc 1 anna 0 1 hello"),
        (".rttm", "SPEAKER a 1 0.0 nan <NA> <NA> anna <NA> <NA>"),
        (".rttm", "SPEAKER a 1 0.0"),
    ],
)
def test_a_reference_that_is_none_is_one_sentence(tmp_path: Path, suffix: str, text: str) -> None:
    (tmp_path / f"a{suffix}").write_text(text)
    with pytest.raises(BadReference, match=rf"^a{suffix} cannot be used: [^\n]+\.$"):
        read_reference(tmp_path / "a.wav")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(b"before")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a.wav", b"after")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_a_wav_file_decodes_to_its_samples() -> None:
    from turnscribe.inputs.decode import decode_audio

    waveform = np.linspace(-1, 1, 1600, dtype=np.float32)
    assert decode_audio(to_wav(waveform)).mono == pytest.approx(waveform, abs=1e-4)


# --- The assistant ------------------------------------------------------------------------------------------

END, START, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS = 100, 101, 102, 103, 104
FIRST = NO_TIMESTAMPS + 1
VOCABULARY = FIRST + 1501


def features(waveforms: list[np.ndarray], **_: Any) -> Any:
    import torch

    return SimpleNamespace(input_features=torch.zeros(len(waveforms), 80, 3000))


class Says:
    """A decoder whose best next token after any tokens is looked up by their number."""

    def __init__(self, best: list[int], *, whole: bool) -> None:
        self.best = best
        self.config = SimpleNamespace(is_encoder_decoder=whole, eos_token_id=END)
        self.asked: list[dict[str, Any]] = []

    def __call__(self, *, use_cache: bool, **inputs: Any) -> Any:
        import torch

        self.asked.append(inputs)
        tokens = inputs.get("decoder_input_ids", inputs.get("input_ids"))
        logits = torch.nn.functional.one_hot(torch.tensor(self.best), VOCABULARY)[None, : tokens.shape[1]]
        return SimpleNamespace(logits=logits)

    def get_decoder(self) -> Any:
        import torch

        return torch.nn.Identity()


class MainModel(Says):
    """Generates two windows' tokens: a prompt, the initial ones, text, an end and padding."""

    def __init__(self) -> None:
        import torch

        # After the prompt, START, ENGLISH and TRANSCRIBE: a timestamp, two letters, a timestamp, the end.
        super().__init__([0, 0, 0, 0, FIRST, 7, 8, FIRST + 40, END], whole=True)
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.generation_config = SimpleNamespace(
            is_multilingual=True,
            lang_to_id={"<|en|>": ENGLISH},
            no_timestamps_token_id=NO_TIMESTAMPS,
            decoder_start_token_id=START,
        )

    def get_encoder(self) -> Any:
        return lambda features: SimpleNamespace(last_hidden_state=features)

    def generate(self, **_: Any) -> Any:
        import torch

        initial = [99, 5, START, ENGLISH, TRANSCRIBE]
        long = [*initial, FIRST, 7, 8, FIRST + 40, END]
        return torch.tensor([long, [*initial, FIRST, END, END, END, END]])


@pytest.mark.parametrize("whole", [False, True])
def test_the_draft_is_compared_at_each_token_and_at_the_end(whole: bool) -> None:
    from turnscribe.asr.transformers_backend import TransformersAsr

    # Says 9 for the second letter and another time; in the short window the end comes where both would say 7.
    assistant = Says([1, 1, 1, 1, FIRST, 7, 9, FIRST + 41, END], whole=whole)
    tokenizer = SimpleNamespace(decode=lambda ids, **_: "".join(chr(97 + token) for token in ids if token < END))
    asr = TransformersAsr(MainModel(), tokenizer, features, assistant)
    config = parse_config({"language": "en", "chunk_length_s": 1})
    agreed = draft_agreement(asr, to_wav(np.full(32_000, 0.1, np.float32)), config)
    assert agreed == Ratio(3 + 2, 5 + 2)
    assert {"input_features" if whole else "encoder_outputs"} < assistant.asked[0].keys()
    assert [tuple(inputs.values())[-1 if whole else 0].shape[1] for inputs in assistant.asked] == [9, 6]


@pytest.fixture(scope="module")
def tiny() -> Any:
    """A random Whisper of two layers and width 16, and the configuration for more of them."""
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    config = {
        "vocab_size": VOCABULARY,
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "init_std": 0.5,
        "pad_token_id": END,
        "bos_token_id": END,
        "eos_token_id": END,
        "decoder_start_token_id": START,
        "begin_suppress_tokens": None,
        "suppress_tokens": None,
    }
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(**config)).eval()
    model.generation_config = GenerationConfig(
        is_multilingual=False,
        no_timestamps_token_id=NO_TIMESTAMPS,
        decoder_start_token_id=START,
        eos_token_id=END,
        pad_token_id=END,
        max_length=30,
        return_timestamps=True,
        max_initial_timestamp_index=50,
    )
    return SimpleNamespace(model=model, config=config)


def assistant_of(tiny: Any, *, layers: int) -> Any:
    """The main decoder's first layers, as distil-whisper's assistants are saved."""
    from transformers import WhisperConfig, WhisperForCausalLM

    assistant = WhisperForCausalLM(WhisperConfig(**{**tiny.config, "decoder_layers": layers})).eval()
    weights = {k: v for k, v in tiny.model.model.decoder.state_dict().items() if k in _names(assistant)}
    assistant.model.decoder.load_state_dict(weights)
    assistant.proj_out.weight = assistant.model.decoder.embed_tokens.weight
    return assistant


def _names(assistant: Any) -> set[str]:
    return set(assistant.model.decoder.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["same", "shallow", "whole"])
def test_real_decoders_agree_as_one_token_at_a_time(tiny: Any, kind: str) -> None:
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    from turnscribe.asr.transformers_backend import TransformersAsr

    if kind == "whole":
        other = {**tiny.config, "decoder_layers": 1, "encoder_layers": 2}
        assistant = WhisperForConditionalGeneration(WhisperConfig(**other)).eval()
        assistant.model.decoder.load_state_dict(tiny.model.model.decoder.state_dict(), strict=False)
    else:
        assistant = assistant_of(tiny, layers=2 if kind == "same" else 1)
    batches: list[tuple[Any, Any]] = []

    class Noted:
        def __getattr__(self, name: str) -> Any:
            return getattr(tiny.model, name)

        def __call__(self, **inputs: Any) -> Any:
            return tiny.model(**inputs)

        def get_encoder(self) -> Any:
            def encode(features: Any) -> Any:
                batches.append((features, None))
                return tiny.model.get_encoder()(features)

            return encode

        def generate(self, **arguments: Any) -> Any:
            sequences = tiny.model.generate(**arguments)
            batches[-1] = (batches[-1][0], sequences)
            return sequences

    tokenizer = SimpleNamespace(decode=lambda ids, **_: "".join(chr(token) for token in ids if token < END))
    asr = TransformersAsr(Noted(), tokenizer, WhisperFeatureExtractor(feature_size=80), assistant)
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    agreed = draft_agreement(asr, to_wav(noise), parse_config({"chunk_length_s": 2, "batch_size": 2}))

    right = count = 0
    with torch.inference_mode():
        for heard, sequences in batches:
            for sound, row in zip(heard, sequences.tolist(), strict=True):
                encoded = tiny.model.model.encoder(sound[None]).last_hidden_state
                for position in range(1, row.index(END) + 1 if END in row else len(row)):
                    prefix = torch.tensor([row[:position]])
                    main_says = tiny.model(encoder_outputs=(encoded,), decoder_input_ids=prefix).logits
                    if kind == "whole":
                        draft_says = assistant(input_features=sound[None], decoder_input_ids=prefix).logits
                    else:
                        draft_says = assistant(input_ids=prefix, encoder_outputs=(encoded,)).logits
                    right += int(main_says[0, -1].argmax() == draft_says[0, -1].argmax())
                    count += 1
    assert agreed == Ratio(right, count)
    assert count > 10
    assert right == count if kind == "same" else 0 < right < count


# --- The command --------------------------------------------------------------------------------------------


class Pipeline(FakePipeline):
    """Hears `HEARD` in everything; `meanwhile` comes first."""

    def __init__(self, meanwhile: Callable[[bytes, Listener], None] | None = None) -> None:
        super().__init__(self._say)
        self.meanwhile = meanwhile

    def _say(self, audio: bytes, request: Request, listener: Listener) -> Transcript:
        if self.meanwhile:
            self.meanwhile(audio, listener)
        listener.on_progress(1.0)
        return transcript(speculation=Speculation(4, 3), warnings=("it ends early.",))


def run(*argv: object, pipeline: Pipeline | None = None) -> int:
    return main([str(arg) for arg in argv], deployment=deployed(pipeline or Pipeline()))


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """a.wav and deep/b.mp3 with references, c.wav without."""
    folder = tmp_path / "talks"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.wav", "deep/b.mp3", "c.wav"):
        (folder / name).write_bytes(name.encode())
    write_reference(folder, "a", SAID)
    (folder / "deep" / "b.txt").write_text("Hello steam yes please. Um?")
    return folder


def test_a_folder_is_measured_and_its_figures_are_written(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline, report = Pipeline(), tmp_path / "new" / "figures.json"
    assert run(talks, "--json", report, "--per-file", "--language", "en", pipeline=pipeline) == 0
    assert pipeline.recordings == [b"a.wav", b"deep/b.mp3"]
    assert pipeline.calls[0][1] == parse_config({"language": "en", "timestamps": "word"})
    printed = capsys.readouterr()
    heading, first, second, *lines = printed.out.splitlines()
    assert heading.split()[0] == "recording"
    assert first.replace(" %", "").split()[:9] == "a.wav 50.0 100.0 0.025 s 50.0 66.7 2/2 - 75.0".split()[:9]
    assert second.replace(" %", "").split()[:5] == ["deep/b.mp3", "0.0", "-", "-", "-"]
    assert next(line for line in lines if line.startswith("WER")).split()[1:] == ["22.2", "%"]
    assert f"note: {talks / 'c.wav'} has no reference beside it and is left out." in printed.err
    assert printed.err.count("it ends early.") == 1

    written = json.loads(report.read_text())
    assert written["complete"] is True
    assert (written["failed"], written["missed"]) == ([], [])
    assert written["figures"].keys() == {str(talks)}
    assert written["figures"][str(talks)]["counts"]["wer"] == [2, 9]
    assert [entry["name"] for entry in written["recordings"]] == ["a.wav", "deep/b.mp3"]
    assert written["command"].endswith("--per-file --language en")
    assert written["request"] == {"language": "en", "timestamps": "word"}
    assert {"python", "jiwer", "meeteval"} <= written["versions"].keys()
    assert written["machine"]["cpus"] == os.cpu_count()
    assert written["warnings"] == ["it ends early."]


def test_a_recording_that_fails_is_told_and_the_others_are_measured(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def behave(audio: bytes, listener: Listener) -> None:
        if audio == b"a.wav":
            raise BadAudio("The input is not audio; send a wav.")

    (talks / "c.json").write_text("{}")
    gone = tmp_path / "gone.wav"
    assert run(talks, gone, "--json", tmp_path / "f.json", pipeline=Pipeline(behave)) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert errors == [
        "error: a.wav: The input is not audio; send a wav.",
        "error: c.wav: c.json cannot be used: it is not of the form described in --help.",
        f"error: gone.wav: No such file or directory ({gone}).",
    ]
    written = json.loads((tmp_path / "f.json").read_text())
    assert [entry["name"] for entry in written["recordings"]] == ["deep/b.mp3"]
    assert [entry["name"] for entry in written["failed"]] == ["a.wav", "c.wav", "gone.wav"]


def test_required_figures_decide_the_exit_status(talks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(talks / "a.wav", "--require", "wer=0.5", "boundary=0.03", "live=0.75") == 0
    assert run(talks / "a.wav", "--require", "wer=0.05", "draft=0.7", "--require", "der=0.5") == 1
    missed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("missed:")]
    assert missed == [
        "missed: wer is 0.5: at most 0.05 is required.",
        "missed: draft was not measured and 0.7 is required.",
    ]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--sentences", "3"],
        ["{}", "--save", "x"],
        ["{}", "--require", "wit=1"],
        ["{}", "--require", "wer=nan"],
        ["{}", "--require", "wer"],
        ["--synthesize", "-1"],
        ["{}/c.wav"],
        ["--synthesize", "1", "--dialogues", "0"],
    ],
)
def test_wrong_usage_is_2(talks: Path, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(*[arg.replace("{}", str(talks)) for arg in argv])
    assert stopped.value.code == 2


def test_ctrl_c_prints_what_was_measured(talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def behave(audio: bytes, listener: Listener) -> None:
        if audio == b"deep/b.mp3":
            os.kill(os.getpid(), signal.SIGINT)
            deadline = time.monotonic() + 5
            while not listener.should_stop():
                assert time.monotonic() < deadline
            raise Cancelled("Stopped.")

    assert run(talks, "--json", tmp_path / "f.json", pipeline=Pipeline(behave)) == 130
    assert next(line for line in capsys.readouterr().out.splitlines() if "recordings" in line).split()[-1] == "1"
    written = json.loads((tmp_path / "f.json").read_text())
    assert (written["complete"], len(written["recordings"])) == (False, 1)


def test_synthesized_speech_is_saved_with_its_references_and_measures_the_same_again(
    tmp_path: Path, needs_program: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    needs_program("flite")
    needs_program("espeak-ng")
    options = ["--synthesize", "3", "--dialogues", "1", "--seconds", "6", "--sentences", "1"]
    pipeline = Pipeline()
    assert run(*options, "--save", tmp_path, "--json", tmp_path / "first.json", pipeline=pipeline) == 0
    names = ("dialogue-3", "sentence-3-0")
    expected = {f"{name}.{suffix}" for name in names for suffix in "wav json stm rttm txt".split()}
    assert expected | {"first.json"} == {path.name for path in tmp_path.iterdir()}
    assert [(tmp_path / f"{name}.wav").read_bytes() for name in names] == pipeline.recordings
    assert run(tmp_path, "--json", tmp_path / "again.json") == 0
    first, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("first", "again"))
    assert list(first["figures"]) == ["dialogues", "sentences", "all"]
    counts = [report["figures"][group]["counts"] for report, group in ((first, "all"), (again, str(tmp_path)))]
    assert counts[0].keys() == counts[1].keys()
    for name, count in counts[0].items():
        assert count == pytest.approx(counts[1][name], abs=0.05), name
    assert first["figures"]["all"]["counts"]["wer"][1] > 3


def test_it_runs_as_a_file() -> None:
    command = [sys.executable, "scripts/evaluate.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--synthesize SEED" in done.stdout
    assert "name.stm" in done.stdout
