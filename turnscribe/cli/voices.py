"""Keep the voices of people who are to be known by name, and see how well they are told apart.

    turnscribe voices add "Ann Lee" ann1.wav ann2.mp3
    turnscribe voices list
    turnscribe voices remove "Ann Lee"
    turnscribe voices test clips

`add` hears one person alone in each clip, 2 s of speech or more, and keeps numbers that tell the voice, not the
audio; a person who is there already is replaced. `VOICES_FOLDER` or `--folder` names the folder. Who runs a
server, an endpoint or `turnscribe transcribe` with the same `VOICES_FOLDER` and `DIARIZATION_MODEL` gets these
names for speakers who sound like somebody in it. `test` wants a folder with a folder for each person, with two
clips or more in each; it compares each clip with each other one, and says how often one person was taken for
two, and two for one.

Results go to stdout. Exit status: 0 done, 1 a clip or a voice could not be used, 2 wrong usage, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from turnscribe.diarization.diarizer import Diarizer, diarize, embed, load_diarizer
from turnscribe.diarization.known_speakers import SHORTEST_CLIP, unit, voice_of
from turnscribe.diarization.voice_folder import VoiceFolder, known_voice
from turnscribe.errors import BadAudio, BadParameters, TurnscribeError
from turnscribe.files import printable
from turnscribe.inputs.decode import decode_audio
from turnscribe.inputs.limits import Limits
from turnscribe.inputs.suffixes import is_recording
from turnscribe.settings import FROM_ENVIRONMENT, load_settings
from turnscribe.waveform import Waveform

CLIP_LIMITS = Limits(max_seconds=600, max_bytes=2**28)
SECOND_VOICE = 0.2  # of a clip's speech: more is another person, less a cough or a laugh
HERE = Path()


class VoiceSettings(BaseSettings):
    """What the environment says of voices."""

    model_config = FROM_ENVIRONMENT

    voices_folder: Path = Path("voices")
    diarization_model: str = Field(default="open", min_length=1)
    speaker_similarity: float | None = Field(default=None, gt=0, lt=1)
    hf_token: SecretStr | None = None


@dataclass(frozen=True)
class Told:
    """How clips were told apart at a threshold: of pairs of one person those below it, of two people those above."""

    people: int
    clips: int
    threshold: float
    same: int  # pairs of clips of one person
    rejected: int
    different: int
    accepted: int
    equal_error: float  # the share of both at the threshold at which they are as many, and that threshold
    equal_threshold: float


def main(
    argv: Sequence[str] | None = None,
    *,
    prog: str = "voices",
    load: Callable[[VoiceSettings], Diarizer] | None = None,
) -> int:
    """`load` gets the diarizer, by default the one that the settings name."""
    args, load = build_parser(prog).parse_args(argv), load or _diarizer
    try:
        given = {"voices_folder": args.folder, "diarization_model": args.diarization_model}
        settings = load_settings(VoiceSettings, **{name: value for name, value in given.items() if value})
        folder = VoiceFolder(settings.voices_folder)
        if args.action == "remove":
            folder.remove(args.name)
        elif args.action == "list":
            _list(folder)
        elif args.action == "add":
            _add(folder, args.name, args.clips, load(settings))
        else:
            told = compare(args.clips, load(settings), settings.speaker_similarity)
            print(json.dumps(asdict(told), indent=2) if args.json else _shown(told))
    except KeyboardInterrupt:
        return 130
    except (TurnscribeError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 1
    return 0


def build_parser(prog: str) -> argparse.ArgumentParser:
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        prog=prog,
        description=lines[0],
        epilog="\n".join(lines[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--folder", type=Path, metavar="FOLDER", help="the voices' folder (default: VOICES_FOLDER)")
    shared.add_argument(
        "--diarization-model", metavar="MODEL", help="whose ears they are (default: DIARIZATION_MODEL, else open)"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    adding = actions.add_parser("add", parents=[shared], help="keep a person's voice")
    adding.add_argument("name", metavar="NAME")
    adding.add_argument("clips", metavar="CLIP", nargs="+", type=Path)
    actions.add_parser("list", parents=[shared], help="who is known")
    removing = actions.add_parser("remove", parents=[shared], help="forget a person's voice")
    removing.add_argument("name", metavar="NAME")
    testing = actions.add_parser("test", parents=[shared], help="see how well clips of people are told apart")
    testing.add_argument("clips", metavar="FOLDER", type=Path, help="with a folder of clips for each person")
    testing.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


def compare(clips: Path, diarizer: Diarizer, threshold: float | None = None) -> Told:
    """How well the clips in the folders of `clips`, a person's each, are told apart; what cannot be used is said.

    Raises `BadParameters` where there is nothing to compare.
    """
    heard = []
    for person in sorted(path for path in clips.iterdir() if path.is_dir()):
        for path in sorted(path for path in person.iterdir() if is_recording(path.name)):
            try:
                heard.append((person.name, unit(embed(diarizer, alone(path, diarizer)))))
            except BadAudio as error:
                print(f"warning: {printable(str(error))}", file=sys.stderr)
    pairs = [(first == second, float(one @ other)) for (first, one), (second, other) in combinations(heard, 2)]
    same = np.array([likeness for is_same, likeness in pairs if is_same])
    different = np.array([likeness for is_same, likeness in pairs if not is_same])
    if not len(same) or not len(different):
        raise BadParameters(f"{clips} has no two people with two clips each: make a folder of clips for each person.")
    least = threshold or diarizer.speaker_similarity
    equal_error, equal_threshold = _equal_error(same, different)
    return Told(
        people=len({name for name, _ in heard}),
        clips=len(heard),
        threshold=least,
        same=len(same),
        rejected=int((same < least).sum()),
        different=len(different),
        accepted=int((different >= least).sum()),
        equal_error=equal_error,
        equal_threshold=equal_threshold,
    )


def alone(path: Path, diarizer: Diarizer) -> Waveform:
    """The speech `[samples]` of the one person in a clip. Raises `BadAudio`."""
    try:
        waveform = decode_audio(path.read_bytes(), limits=CLIP_LIMITS).mono
    except TurnscribeError as error:
        raise BadAudio(f"{path}: {error}") from None
    turns = diarize(diarizer, waveform)
    seconds: dict[str, float] = {}
    for turn in turns:
        seconds[turn.speaker] = seconds.get(turn.speaker, 0.0) + turn.end - turn.start
    speakers = sorted(seconds, key=lambda speaker: -seconds[speaker])
    if len(speakers) > 1 and seconds[speakers[1]] > SECOND_VOICE * sum(seconds.values()):
        raise BadAudio(f"{path} has more than one voice: give clips in which the person speaks alone.")
    if not speakers or seconds[speakers[0]] < SHORTEST_CLIP:
        raise BadAudio(f"{path} has less than {SHORTEST_CLIP:g} s of speech: give a longer clip of the person.")
    return voice_of(waveform, turns, speakers[0])


def _add(folder: VoiceFolder, name: str, clips: Sequence[Path], diarizer: Diarizer) -> None:
    heard = [alone(path, diarizer) for path in clips]
    for (first, one), (second, other) in combinations(zip(clips, heard, strict=True), 2):
        likeness = float(unit(embed(diarizer, one)) @ unit(embed(diarizer, other)))
        if likeness < diarizer.speaker_similarity:
            print(f"warning: {first} and {second} sound like two people ({likeness:.2f}).", file=sys.stderr)
    voice = known_voice(name, heard, partial(embed, diarizer))
    folder.add(voice)
    print(f"{printable(name)}: {voice.seconds:.1f} s of speech from {voice.clips} {_clips(voice.clips)}")


def _list(folder: VoiceFolder) -> None:
    for voice in folder.voices():
        print(f"{printable(voice.name)}\t{voice.seconds:.1f} s from {voice.clips} {_clips(voice.clips)}")


def _diarizer(settings: VoiceSettings) -> Diarizer:
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    return load_diarizer(settings.diarization_model, token=token, root=HERE)


def _equal_error(same: NDArray[np.float64], different: NDArray[np.float64]) -> tuple[float, float]:
    """The share of errors, and the threshold, at which as many of `same` are below as of `different` are not."""
    thresholds = np.unique(np.concatenate([same, different]))
    rejected = (same[:, None] < thresholds).mean(0)
    accepted = (different[:, None] >= thresholds).mean(0)
    place = int(np.abs(rejected - accepted).argmin())
    return float((rejected[place] + accepted[place]) / 2), float(thresholds[place])


def _shown(told: Told) -> str:
    return "\n".join(
        [
            f"{told.people} people, {told.clips} clips",
            f"taken for two people at {told.threshold:.2f}: {told.rejected} of {told.same} pairs of one person "
            f"({told.rejected / told.same:.1%})",
            f"taken for one: {told.accepted} of {told.different} pairs of two ({told.accepted / told.different:.1%})",
            f"as often the one as the other at {told.equal_threshold:.2f}: {told.equal_error:.1%}",
        ]
    )


def _clips(count: int) -> str:
    return "clip" if count == 1 else "clips"
