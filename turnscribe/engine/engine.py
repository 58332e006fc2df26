"""The engine: a Whisper and its draft, ready to decode. It makes batches and decodings, and encodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turnscribe.devices import Device, Running, device_of
from turnscribe.engine.batch import Batch
from turnscribe.engine.beams import BeamBatch
from turnscribe.engine.decode import Decoding, WindowSource
from turnscribe.engine.draft import Draft, DraftDecoder
from turnscribe.engine.draft_length import DraftLength
from turnscribe.engine.graphs import SWITCH, Graphs, switched_off
from turnscribe.engine.keywords import Automaton, KeywordBias, automaton
from turnscribe.engine.lookup import LookupDraft
from turnscribe.engine.models import Models
from turnscribe.engine.rows import WindowT
from turnscribe.engine.rules import Rules
from turnscribe.waveform import Waveform

ENCODE_AT_ONCE = {"cpu": 1, "cuda": 16}  # windows; a CPU gains nothing from more, and needs memory for them


@dataclass(frozen=True)
class SharedOptions:
    """What all windows of one decoding have in common."""

    assisted: bool
    word_times: bool
    end_loops: bool
    num_beams: int = 1
    frames: int | None = None  # that the encoder makes of a window; `None`: Whisper's 1500 for 30 s
    urgent: bool = False  # a step of these comes before one of others
    guessed: bool = False  # prompts may have guesses; not with an assistant, or with beams
    keywords: tuple[tuple[int, ...], ...] = ()  # each as its tokens


class Engine:
    """One Whisper and its draft, and what decodes with them.

    On a GPU the batch with its recorded passes is kept from one decoding to the next, and all callers have to
    be on the same stream.
    """

    def __init__(
        self,
        models: Models,
        *,
        draft_length: int | None = None,
        device: Device | None = None,
        graphs: bool = True,
        reason: str | None = None,
    ) -> None:
        """`draft_length` is how many tokens to draft at a time; `None` is what suits the share that is accepted.

        The device is by default that of the weights. Without `graphs` no pass is recorded, and `reason` says why.
        """
        self.models = models
        self.device = device or device_of(models.device)
        self._graphs, self._reason = graphs, reason
        self.rules = Rules(models.config, timestamps=True, device=models.device, vocabulary=models.vocabulary)
        self._draft_length = draft_length
        self._kept: dict[tuple[int, bool], Batch] = {}  # by the frames of their windows, and whether they are urgent

    @property
    def running(self) -> Running:
        """How this engine runs."""
        on_gpu, reason = self.device.kind == "cuda", self._reason
        if on_gpu and switched_off():
            reason = " ".join(filter(None, [reason, f"{SWITCH} is 0."]))
        return Running(
            device=self.device.name,
            dtype="int8" if self.models.int8 else str(self.models.dtype).removeprefix("torch."),
            graphs=on_gpu and self._graphs and not switched_off(),
            reason=reason,
        )

    def decoding(self, options: SharedOptions, rows: int, source: WindowSource[WindowT]) -> Decoding[WindowT]:
        """A decoding with at least `rows` rows."""
        return Decoding(
            self.batch(
                rows,
                assisted=options.assisted,
                beams=options.num_beams,
                frames=options.frames,
                urgent=options.urgent,
                guessed=options.guessed,
                keywords=options.keywords,
            ),
            source,
            heads=self.models.heads if options.word_times else (),
            draft_length=self.draft_length(options) if options.assisted or options.guessed else None,
            end_loops=options.end_loops,
            encode_at_once=ENCODE_AT_ONCE.get(self.device.kind, 1),
        )

    def encode(self, waveforms: Sequence[Waveform], options: SharedOptions) -> tuple[Tensor, Tensor | None]:
        """The encoder's output `[B, T, D]`, and that of the draft's own encoder where it has one and is used.

        With `frames` the waveforms have to fit into them, at 20 ms each.
        """
        features = self.models.log_mel(waveforms)
        if options.frames is not None:
            features = features[..., : 2 * options.frames]
        draft_encoder = self.models.draft_encoder if options.assisted else None
        return self.models.encoder(features), None if draft_encoder is None else draft_encoder(features)

    def batch(
        self,
        rows: int,
        *,
        assisted: bool,
        beams: int = 1,
        frames: int | None = None,
        urgent: bool = False,
        guessed: bool = False,
        keywords: tuple[tuple[int, ...], ...] = (),
    ) -> Batch:
        """A batch with room for at least `rows` rows of `beams` each, and for so many frames of audio in each.

        An urgent one is another than one that is not: both may be in the middle of their windows.
        """
        frames = frames or self.models.frames
        key = (frames, urgent)
        kept = self._kept.get(key)
        draft = self._draft_type(assisted=assisted, guessed=guessed)
        terms = automaton(keywords) if keywords else None
        if kept is not None and kept.rows >= rows and kept.beams == beams and type(kept.draft) is draft:
            if terms is not None and kept.keywords is not None and kept.keywords.fits(terms):
                kept.keywords.load(terms)
                return kept
            if terms is None and kept.keywords is None:
                return kept
        kept = None
        self._kept.pop(key, None)  # its memory is free before more is asked for
        try:
            return self._made(rows, draft, terms, beams=beams, key=key)
        except torch.OutOfMemoryError:
            if not self._kept:
                raise
        self.forget_batch()  # of the other windows; only here: the error holds on to what it was raised in
        return self._made(rows, draft, terms, beams=beams, key=key)

    def _draft_type(self, *, assisted: bool, guessed: bool) -> type[DraftDecoder | LookupDraft | None]:
        if assisted and self.models.draft is not None:
            return DraftDecoder
        return LookupDraft if guessed else type(None)

    def _made(
        self,
        rows: int,
        drafts: type[DraftDecoder | LookupDraft | None],
        terms: Automaton | None,
        *,
        beams: int,
        key: tuple[int, bool],
    ) -> Batch:
        frames, _ = key
        models = self.models
        keywords = None
        if terms is not None:
            keywords = KeywordBias(terms, vocabulary=models.vocabulary, device=models.device)
        graphs = Graphs(self.device, allowed=self._graphs)
        draft: Draft | None = None
        if drafts is DraftDecoder:
            assert models.draft is not None
            draft = DraftDecoder(models.draft, self.rules, rows=rows, frames=frames, fixed=graphs.enabled)
        elif drafts is LookupDraft:
            draft = LookupDraft(self.rules, rows=rows, room=models.decoder.positions)
        if beams > 1:
            assert draft is None, "beam search does not speculate"
            made: Batch = BeamBatch(
                models.decoder, self.rules, rows=rows, frames=frames, beams=beams, graphs=graphs, keywords=keywords
            )
        else:
            made = Batch(
                models.decoder, self.rules, rows=rows, frames=frames, draft=draft, graphs=graphs, keywords=keywords
            )
        if graphs.enabled:
            self._kept[key] = made
        return made

    def forget_batch(self) -> None:
        """Free what was kept for the next decoding."""
        self._kept.clear()
        self.device.empty_cache()

    def draft_length(self, options: SharedOptions) -> DraftLength | int:
        """How many tokens the draft proposes at a time."""
        models = self.models
        if self._draft_length is not None:
            return self._draft_length
        draft = models.draft if options.assisted else None  # a guess costs nothing
        return DraftLength(models.decoder, draft, frames=models.frames, kind=self.device.kind)
