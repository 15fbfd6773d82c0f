"""The networks that vsr knows by name: where their weights are, and how to have them whole and correct on this machine.

Weights are looked for in this order: inside the package; in the folders of VSR_MODELS (for machines without a
network: put the files there by hand); in the cache folder, where downloads go. Whatever is found is checked against
its size and sha256 each time: that takes a fifth of a second for the largest of them.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vsr import places
from vsr.errors import DownloadError, ModelError, WeightsError
from vsr.model.download import Progress, Refused, download_file, find_fault

__all__ = ["Entry", "cache_folder", "entries", "fetch", "find", "locate", "resolve"]

_SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True, slots=True)
class Entry:
    """One network of the catalogue.

    Attributes:
        name: what `--model` takes.
        scale: the network's own factor.
        architecture: network class and size, for people.
        description: what it is good for, in one line.
        licence: of the weights (SPDX).
        file_name: as published.
        num_bytes, sha256: of that file.
        url: where it can be downloaded; None where it comes inside the package, or from the user's hand.
        is_embedded: whether it comes inside the package.
    """

    name: str
    scale: int
    architecture: str
    description: str
    licence: str
    file_name: str
    num_bytes: int
    sha256: str
    url: str | None = None
    is_embedded: bool = False


_GITHUB = "https://github.com"
_REAL_ESRGAN = f"{_GITHUB}/xinntao/Real-ESRGAN/releases/download"
_KAIR = f"{_GITHUB}/cszn/KAIR/releases/download/v1.0"


def _published(
    name: str, scale: int, architecture: str, url: str, num_bytes: int, sha256: str, licence: str, description: str
) -> Entry:
    return Entry(name, scale, architecture, description, licence, url.rpartition("/")[2], num_bytes, sha256, url)


def _embedded(
    name: str, scale: int, architecture: str, file_name: str, num_bytes: int, sha256: str, description: str
) -> Entry:
    return Entry(name, scale, architecture, description, "MIT", file_name, num_bytes, sha256, is_embedded=True)


_ENTRIES = (
    _embedded(
        "fast",
        4,
        "SRVGGNetCompact 32x16",
        "vsr-fast-x4.safetensors",
        659808,
        "d33362a9434f147db727445e2ef8c9a0fc27714f932a4a1ffcf7389252f3d247",
        "clean film on any machine; comes with vsr",
    ),
    _embedded(
        "fast-x2",
        2,
        "SRVGGNetCompact 32x8",
        "vsr-fast-x2.safetensors",
        319360,
        "def35a08f43b756aff618474d7a287b5915d41a27c351443d0fa87b0b95722f9",
        "as fast, twice the size; taken by itself up to --scale 2",
    ),
    _embedded(
        "realtime",
        4,
        "SRVGGNetCompact 32x4",
        "vsr-realtime-x4.safetensors",
        211568,
        "9a8db023d720a71fe685bfd188e22754a4e276e64b07d278652a1c20b98001b6",
        "the least work: small machines, previews",
    ),
    _embedded(
        "film",
        4,
        "SRVGGNetCompact 32x16",
        "vsr-film-x4.safetensors",
        660040,
        "bb4fab5f610a5edd3381fdd13a994e7a69a42b70fc20ecd9089caa9ec1a87716",
        "old film: compressed, noisy, soft",
    ),
    _embedded(
        "quality",
        4,
        "SRVGGNetCompact 64x16",
        "vsr-quality-x4.safetensors",
        2492544,
        "822b0c27e801ae6f2d47e4625f6430f01149fa0df70f0eaee149a3408e546261",
        "clean film: the most faithful of the embedded, three times the work of fast",
    ),
    _published(
        "realesrgan-x4plus",
        4,
        "RRDBNet 64x23",
        f"{_REAL_ESRGAN}/v0.1.0/RealESRGAN_x4plus.pth",
        67040989,
        "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        "BSD-3-Clause",
        "degraded photographs and film: much detail is invented, very slow",
    ),
    _published(
        "realesrgan-x2plus",
        2,
        "RRDBNet 64x23",
        f"{_REAL_ESRGAN}/v0.2.1/RealESRGAN_x2plus.pth",
        67061725,
        "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        "BSD-3-Clause",
        "as realesrgan-x4plus, twice the size, a quarter of the work",
    ),
    _published(
        "realesrgan-x4plus-anime",
        4,
        "RRDBNet 64x6",
        f"{_REAL_ESRGAN}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",
        17938799,
        "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        "BSD-3-Clause",
        "drawings and animation, still pictures above all",
    ),
    _published(
        "realesr-animevideov3",
        4,
        "SRVGGNetCompact 64x16",
        f"{_REAL_ESRGAN}/v0.2.5.0/realesr-animevideov3.pth",
        2504012,
        "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        "BSD-3-Clause",
        "animated film",
    ),
    _published(
        "realesr-general-x4v3",
        4,
        "SRVGGNetCompact 64x32",
        f"{_REAL_ESRGAN}/v0.2.5.0/realesr-general-x4v3.pth",
        4885111,
        "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        "BSD-3-Clause",
        "degraded film of any kind, cleans strongly",
    ),
    _published(
        "realesr-general-wdn-x4v3",
        4,
        "SRVGGNetCompact 64x32",
        f"{_REAL_ESRGAN}/v0.2.5.0/realesr-general-wdn-x4v3.pth",
        4885111,
        "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
        "BSD-3-Clause",
        "as realesr-general-x4v3, keeps more of the grain and noise",
    ),
    _published(
        "bsrgan-x4",
        4,
        "RRDBNet 64x23",
        f"{_KAIR}/BSRGAN.pth",
        67046751,
        "5d505a0766160921e0388d76e1ddf08cb114303990f9080432bf2b1c988b1c54",
        "Apache-2.0",
        "degraded photographs, softer than realesrgan-x4plus, very slow",
    ),
    _published(
        "bsrgan-x2",
        2,
        "RRDBNet 64x23",
        f"{_KAIR}/BSRGANx2.pth",
        66894171,
        "614f68bcafcf123a1ea51cc75ae5741640a8b1d49dd75757ad3ad531f772c736",
        "Apache-2.0",
        "as bsrgan-x4, twice the size",
    ),
    Entry(
        name="esrgan-x4",
        scale=4,
        architecture="RRDBNet 64x23",
        description="the ESRGAN of the paper: clean pictures; has no lasting address, get the file yourself",
        licence="Apache-2.0",
        file_name="4x-ESRGAN.pth",
        num_bytes=66952991,
        sha256="545805ce2d861ee90972b5fa50b851f19ee4bb35dedd2eb090be1f7c935b6b00",
    ),
)


# Names ---------------------------------------------------------------------------------------------------------------


def entries() -> tuple[Entry, ...]:
    """All networks of the catalogue, the default first."""
    return _ENTRIES


def find(name: str) -> Entry:
    """The entry called `name`.

    Raises:
        ModelError: there is none; the nearest names are given.
    """
    for entry in _ENTRIES:
        if entry.name == name:
            return entry
    names = [entry.name for entry in _ENTRIES]
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    raise ModelError(
        f"there is no model called {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}; or give a weights file",
    )


def resolve(name_or_path: str | os.PathLike[str], scale: float | None = None) -> tuple[Entry, None] | tuple[None, Path]:
    """What the user means: an entry of the catalogue, or else a file (which may turn out not to exist).

    Args:
        scale: wanted by the user. Of an entry that has a sister for smaller scales (`fast` has `fast-x2`), the one
            that need not be shrunk after: less work, and sharper.

    Raises:
        ModelError: a plain name that is neither in the catalogue nor in a folder of VSR_MODELS.
    """
    if not isinstance(name_or_path, str):
        return None, Path(name_or_path)
    for entry in _ENTRIES:
        if entry.name == name_or_path:
            return _choose_sister(entry, scale), None
    path = places.expand(name_or_path)
    if path.is_file():
        return None, path
    has_folder = path.name != name_or_path
    if not has_folder:
        for folder in _model_folders():
            for candidate in (folder / path.name, *(folder / (path.name + suffix) for suffix in _SUFFIXES)):
                if candidate.is_file():
                    return None, candidate
    if has_folder or path.suffix.lower() in _SUFFIXES:
        return None, path
    find(name_or_path)  # raises, with the nearest names
    raise AssertionError("unreachable")


def _choose_sister(entry: Entry, scale: float | None) -> Entry:
    if scale is None:
        return entry
    sisters = [other for other in _ENTRIES if other.name == f"{entry.name}-x{other.scale}"]
    fitting = [other for other in (*sisters, entry) if other.scale >= scale]
    return min(fitting, key=lambda other: other.scale, default=entry)


# Places --------------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where downloads are kept: models in vsr's cache folder."""
    return places.cache_folder() / "models"


def _model_folders() -> list[Path]:
    return [places.expand(part) for part in os.environ.get("VSR_MODELS", "").split(os.pathsep) if part]


def locate(entry: Entry) -> Path | None:
    """The file of `entry` on this machine, not yet verified; None where it is not there."""
    if entry.is_embedded:
        return Path(__file__).parent / "embedded" / entry.file_name
    by_hand = (entry.file_name, *(entry.name + suffix for suffix in _SUFFIXES))
    candidates = [folder / name for folder in _model_folders() for name in by_hand]
    candidates.append(cache_folder() / entry.file_name)
    return next((path for path in candidates if path.is_file()), None)


# Having it -----------------------------------------------------------------------------------------------------------


def fetch(
    entry: Entry,
    *,
    download: bool = True,
    progress: Progress | None = None,
    timeout: float = 30.0,
    attempts: int = 5,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """The verified weights file of `entry`, downloaded to the cache folder if it is nowhere on this machine.

    A download goes to a temporary name, continues where an earlier one broke off, and gets its final name only
    when size and sha256 are right. Processes that want the same file at once wait for the first.

    Args:
        entry: of `entries()`.
        download: False forbids the network.
        progress: called with (bytes done, bytes in all).
        timeout: seconds without a single byte after which the connection counts as broken.
        attempts: tries in all, with growing pauses between them.
        sleep: makes those pauses; tests pass their own.

    Raises:
        DownloadError: it is not here, and could not or must not be downloaded; names the address, the reason, and the
            way by hand.
        WeightsError: the file is here, but is not the one that was published.
    """
    path = locate(entry)
    if path is not None:
        reason = find_fault(path, entry)
        if reason is None:
            return path
        if entry.url is None or path.parent != cache_folder():  # never touch what the user put there
            raise WeightsError(
                f"{path} is not the published file of {entry.name}: {reason}",
                hint="get it again, or name it otherwise and give its path to use it as it is",
            )
        if not download:
            raise WeightsError(
                f"the cached weights of {entry.name} are damaged: {path}: {reason}",
                hint=f"vsr models pull {entry.name}",
            )
    by_hand = f"put {entry.file_name} into a folder and set VSR_MODELS to that folder"
    if entry.url is None:
        raise DownloadError(
            f"the weights of {entry.name} cannot be downloaded by vsr: they have no lasting address",
            hint=f"{by_hand} (sha256 {entry.sha256})",
        )
    if not download:
        raise DownloadError(
            f"the weights of {entry.name} are not on this machine", hint=f"vsr models pull {entry.name}; or {by_hand}"
        )
    target = cache_folder() / entry.file_name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(target.name + ".lock")):
            if not target.is_file() or find_fault(target, entry) is not None:
                download_file(
                    entry.url, entry, target, progress=progress, timeout=timeout, attempts=attempts, sleep=sleep
                )
    except Refused as exc:
        raise DownloadError(
            f"cannot download {entry.name} from {entry.url}: {exc}", hint=f"download it by hand, {by_hand}"
        ) from exc
    except OSError as exc:
        raise DownloadError(
            f"cannot keep the download of {entry.name} at {target}: {exc.strerror or exc}",
            hint="make room there, or set VSR_CACHE to a folder that can be written to",
        ) from exc
    return target


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path`, waiting for other processes. It stays behind, empty: removing it would race."""
    with path.open("ab") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # gives up by itself after ten seconds
                    break
                except OSError:
                    continue
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back
