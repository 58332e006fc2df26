"""What an ASR backend declares that it can do, and a request held against it.

>>> english = Capabilities(languages=frozenset({"en"}), tasks=frozenset({"transcribe"}), prompt=False)
>>> adapt(DecodingOptions(prompt="Ada"), english)[1]
('This backend takes no prompt: it had no effect.',)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from turnscribe.errors import BadParameters
from turnscribe.request import MULTI, DecodingOptions, Task

FALLBACK = ("temperature", "compression_ratio_threshold", "logprob_threshold", "no_speech_threshold")


@dataclass(frozen=True)
class Capabilities:
    """Languages by code, tasks, and which of a request's options have an effect.

    `fallback` covers the temperature and the thresholds by which a window is decoded again, `patience` is beam
    search's. `longest_window_s` is how much of a recording the model hears at once, in seconds.
    """

    languages: frozenset[str]
    tasks: frozenset[Task]
    prompt: bool = True
    fallback: bool = True
    word_times: bool = True
    beams: bool = True  # more than one
    patience: bool = True
    short_windows: bool = False  # that are not filled up to `longest_window_s`
    prefix: bool = False  # of a text, to go on after
    keywords: bool = False  # weigh while they are decoded, and not in the prompt alone
    assistant: bool = False  # one is loaded
    assisted_batch_size: int | None = None  # windows at a time with it; `None`: as many as without
    longest_window_s: float = 30.0

    @property
    def multilingual(self) -> bool:
        """Whether it knows more than one language."""
        return len(self.languages) > 1


def adapt(options: DecodingOptions, capabilities: Capabilities) -> tuple[DecodingOptions, tuple[str, ...]]:
    """The options as the backend can honour them, and a warning for each that it cannot.

    Raises `BadParameters` where the text would be another than was asked for: another language, another task, one
    beam in place of several, or no assistant.
    """
    if options.num_beams > 1 and not capabilities.beams:
        raise BadParameters(f"num_beams is {options.num_beams} and this backend has one beam: leave it out.")
    if options.assisted and not capabilities.assistant:
        raise BadParameters(
            "assisted is true and no assistant is loaded: set ASSISTANT_MODEL on the endpoint, or leave it out."
        )
    options, warnings = _adapt_languages(options, capabilities)
    if options.task not in capabilities.tasks:
        raise BadParameters(_wrong_task(options, capabilities))
    if options.assisted and capabilities.assisted_batch_size is not None:
        most = capabilities.assisted_batch_size
        if options.batch_size > most:
            options = replace(options, batch_size=most)
            noun = "one window" if most == 1 else f"{most} windows"
            warnings.append(f"This backend speculates {noun} at a time: batch_size {most} was used.")
    if not capabilities.fallback:
        defaults = DecodingOptions()
        changed = [name for name in FALLBACK if getattr(options, name) != getattr(defaults, name)]
        if changed:
            warnings.append(f"This backend decodes a window once: {' and '.join(changed)} had no effect.")
    if options.num_beams > 1 and options.patience != 1 and not capabilities.patience:
        warnings.append("This backend stops once it has num_beams texts: patience had no effect.")
    if not options.full_windows and not capabilities.short_windows:
        warnings.append("This backend encodes full windows: full_windows had no effect.")
    if not (capabilities.prefix and options.num_beams == 1):
        options = replace(options, prefix=None, guess=None)
    if options.keywords and not capabilities.keywords:
        if capabilities.prompt:
            warnings.append("This backend has keywords in the prompt alone.")
        else:
            options = replace(options, keywords=())
            warnings.append("This backend takes no keywords: they had no effect.")
    if options.prompt and not capabilities.prompt:
        options = replace(options, prompt=None)
        warnings.append("This backend takes no prompt: it had no effect.")
    if options.word_times and not capabilities.word_times:
        options = replace(options, word_times=False)
    if options.chunk_length_s > capabilities.longest_window_s:
        options = replace(options, chunk_length_s=capabilities.longest_window_s)
    return options, tuple(warnings)


def _adapt_languages(options: DecodingOptions, capabilities: Capabilities) -> tuple[DecodingOptions, list[str]]:
    """Of several languages those that the model knows; where one is left, nothing has to be judged."""
    language, known = options.language, capabilities.languages
    if language == MULTI and not capabilities.multilingual:
        language = None
    asked = options.languages if language in (None, MULTI) else (language,)
    unknown = [code for code in asked if code not in known]
    if asked and len(unknown) == len(asked):
        noun = "language" if options.language == asked[0] else "languages"
        verb = "is not one" if len(asked) == 1 else "are not among those"
        shown = ", ".join(map(repr, asked))
        raise BadParameters(f"{noun} {shown} {verb} the model knows: {', '.join(sorted(known))}.")
    left = tuple(code for code in options.languages if code in known)
    if len(left) == 1 and language in (None, MULTI):
        language = left[0]
    warnings = (
        [f"The model does not know {' and '.join(unknown)}: languages are {', '.join(left)}."] if unknown else []
    )
    return replace(options, language=language, languages=left), warnings


def _wrong_task(options: DecodingOptions, capabilities: Capabilities) -> str:
    if options.task == "translate" and not capabilities.multilingual:
        return "task is 'translate' and the model knows English only: leave task out."
    known = " or ".join(repr(task) for task in sorted(capabilities.tasks))
    return f"task is {options.task!r} and the model knows {known} only."
