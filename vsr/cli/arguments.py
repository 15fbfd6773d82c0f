"""Every command and flag: names and meanings are a promise."""

from __future__ import annotations

import argparse
import re

from vsr import __version__
from vsr.bench.request import NUM_FRAMES, NUM_RUNS, PARTS
from vsr.settings import CODECS, DECODERS, ENCODERS, ENGINES, FLOAT_PRECISIONS, PRECISIONS

__all__ = ["build_parser"]


def build_parser() -> argparse.ArgumentParser:
    """The parser of `vsr`; builds in no time, since `vsr --help` must answer at once."""
    parser = argparse.ArgumentParser(
        prog="vsr",
        description="Video super-resolution: a film goes in, the same film comes out larger.",
        epilog="`vsr COMMAND --help` tells more.",
    )
    parser.add_argument("--version", action="version", version=f"vsr {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_upscale(commands, shared)
    _add_batch(commands, shared)
    _add_watch(commands, shared)
    _add_probe(commands, shared)
    _add_models(commands, shared)
    _add_presets(commands, shared)
    _add_evaluate(commands, shared)
    _add_train(commands, shared)
    _add_export(commands, shared)
    _add_bench(commands, shared)
    _add_jobs(commands, shared)
    doctor = commands.add_parser("doctor", parents=[shared], help="what this machine can do, and what is missing")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _add_upscale(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "upscale",
        parents=[shared],
        help="make films or pictures larger",
        description="Make films or pictures larger. Sound, subtitles, chapters, attachments and tags are kept.",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="a film, a picture, or a folder of pictures")
    parser.add_argument("-o", "--output", metavar="FILE|DIR", help="default: beside the input, movie_x4.mp4")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and what it would cost")
    _add_settings(parser)
    parser.add_argument("--overwrite", action="store_true", default=None, help="replace an existing output")
    parser.add_argument(
        "--fresh", action="store_true", default=None, help="begin anew, also where an earlier run was broken off"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per output")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; warnings and errors only")


def _add_batch(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "batch",
        parents=[shared],
        help="make many films larger, and go on where it was broken off",
        description="Make many films larger: those of a folder, or those that a TOML file names. One failure does not"
        " stop the rest. Run again, what is done is skipped, what failed is tried again.",
    )
    parser.add_argument("input", metavar="FOLDER|FILE.toml", help="a folder of films, or a batch file")
    parser.add_argument("-o", "--output", metavar="DIR", help="default: FOLDER_x4 beside it, or what the file says")
    parser.add_argument("-r", "--recursive", action="store_true", help="the films of the folder's folders too")
    parser.add_argument(
        "--name", metavar="TEMPLATE",
        help="of outputs below DIR (default: {folder}/{stem}_x{scale}{suffix}); also {preset}, {model}, {number:04}",
    )  # fmt: skip
    _add_settings(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace outputs that are not of an earlier run of the batch"
    )
    parser.add_argument("--fresh", action="store_true", help="do everything again, from the first picture on")
    parser.add_argument(
        "--cluster", metavar="auto|HOST:PORT",
        help="share every film out to a cluster of Ray: the one there, or (auto) one that is here already, or else all"
        " GPUs or cores of this machine",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="list what would be done")
    parser.add_argument("--report", metavar="FILE", help="write what became of every film there, as JSON")
    parser.add_argument("--json", action="store_true", help="print what became of every film as one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table; warnings and errors only")


def _add_watch(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "watch",
        parents=[shared],
        help="make larger whatever is dropped into a folder, until told to stop",
        description="Watch a folder: films and pictures that are dropped into it come out larger in another one."
        " Originals are moved to done/ or failed/ in the folder. SIGTERM or Ctrl-C ends it; the next start goes on.",
    )
    parser.add_argument("inbox", metavar="INBOX", help="the folder to watch, with its sub-folders")
    parser.add_argument("-o", "--output", required=True, metavar="OUTBOX", help="the folder of the outputs")
    parser.add_argument(
        "--poll", type=_seconds, metavar="SECONDS",
        help="look at the folder that often, instead of being told of new files (default on network shares: 10)",
    )  # fmt: skip
    parser.add_argument(
        "--settle", type=_seconds, default=5.0, metavar="SECONDS",
        help="take a file when it has not changed for that long (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--min-free", type=_size, default="1G", metavar="SIZE",
        help="begin nothing while less is free where the outputs go, e.g. 500M, 20G (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--attempts", type=int, default=4, metavar="N",
        help="how often a film is tried whose failure may pass, such as a full disk (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--once", action="store_true", help="do what lies there, and end: status 1 if any of it failed")
    parser.add_argument("--state", metavar="DIR", help="where the daemon keeps its ledger (default: INBOX/.vsr)")
    parser.add_argument("--serve", metavar="[HOST:]PORT", help="serve a page there; 127.0.0.1 is this machine alone")
    parser.add_argument(
        "--token", metavar="FILE", help="what the page asks browsers for (or VSR_TOKEN in the environment)"
    )
    parser.add_argument(
        "--host-name", action="append", default=[], metavar="NAME", help="another name of the page's host (repeatable)"
    )
    _add_settings(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object for each event, to stdout")


def _add_probe(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "probe", parents=[shared], help="what a film holds, what a run would do to it, and what it would cost"
    )
    parser.add_argument("inputs", nargs="+", metavar="FILE")
    parser.add_argument("-o", "--output", metavar="FILE|DIR", help=argparse.SUPPRESS)
    _add_settings(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per file")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    # Every default is None: what is not given leaves the word to the preset.
    parser.add_argument("--scale", type=float, metavar="N", help="output size over input size (default: the network's)")
    parser.add_argument("--preset", metavar="NAME|FILE", help="a way of working: `vsr presets list`")
    parser.add_argument("--model", metavar="NAME|FILE", help="a network: `vsr models list`, or a weights file")
    parser.add_argument("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N, mps, or cuda:0,cuda:1")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: auto (half precision where it is fast)")
    parser.add_argument("--engine", choices=ENGINES, help="what runs the network (default: auto)")
    parser.add_argument("--decoder", choices=DECODERS, help="what decodes the film (default: auto)")
    parser.add_argument("--encoder", choices=ENCODERS, help="NVENC where it is to be had, or software (default: auto)")
    parser.add_argument(
        "--no-reuse", dest="reuse", action="store_false", default=None,
        help="compute every frame whole, also where it repeats the one before",
    )  # fmt: skip
    parser.add_argument("--tile", type=_word_or_count, metavar="auto|off|N", help="side of a tile in source pixels")
    parser.add_argument("--batch", type=_word_or_count, metavar="auto|N", help="frames per network call")
    parser.add_argument("--codec", choices=CODECS, help="default: h264")
    parser.add_argument("--crf", type=float, metavar="N", help="quality of the encoder; lower is better and larger")
    parser.add_argument("--encoder-preset", metavar="NAME", help="the encoder's speed, e.g. veryfast, medium, slow")
    parser.add_argument("--start", metavar="TIME", help="begin there: seconds, m:ss or h:mm:ss")
    parser.add_argument("--duration", metavar="TIME", help="work on that much")
    parser.add_argument(
        "--drop", action="append", metavar="N|KIND",
        help="leave out a stream: its number, or audio, subtitle, data, attachment, cover, video (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-corrupt", action="store_true", default=None, help="a damaged source is no failure: exit status 0"
    )


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("models", parents=[shared], help="networks: list, download, inspect, mix")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=[shared], help="every network that vsr knows by name")
    listing.add_argument("--json", action="store_true")
    pull = actions.add_parser("pull", parents=[shared], help="download weights now, verify and keep them")
    pull.add_argument("names", nargs="+", metavar="NAME")
    info = actions.add_parser("info", parents=[shared], help="what a network is: size, scale, licence, source")
    info.add_argument("name", metavar="NAME|FILE")
    info.add_argument("--json", action="store_true")
    blend = actions.add_parser(
        "blend",
        parents=[shared],
        help="mix two networks of one architecture, weight by weight",
        description="Mix two networks of one architecture: (1 - alpha) x A + alpha x B, weight by weight.",
    )
    blend.add_argument("first", metavar="A", help="a network's name or weights file")
    blend.add_argument("second", metavar="B")
    blend.add_argument("--alpha", type=float, required=True, metavar="SHARE", help="share of B: 0 is A, 1 is B")
    blend.add_argument("-o", "--output", required=True, metavar="FILE", help="a name ending in .safetensors")
    blend.add_argument("--overwrite", action="store_true", help="replace an existing file")


def _add_presets(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser("presets", parents=[shared], help="ways of working: list, show")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=[shared], help="every preset that comes with vsr")
    listing.add_argument("--json", action="store_true")
    show = actions.add_parser("show", parents=[shared], help="the file of a preset")
    show.add_argument("name", metavar="NAME|FILE")


def _add_evaluate(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "evaluate",
        parents=[shared],
        help="how good networks are, in figures, on pictures and films",
        description="Make pictures or films small, enlarge them with networks and filters, and compare: PSNR and SSIM"
        " on luma and RGB in 8 bits as super-resolution papers have them, of films also the flicker.",
    )
    parser.add_argument("data", nargs="*", metavar="DATA", help="a folder of pictures, a picture, or a film")
    parser.add_argument(
        "--model", action="append", metavar="NAME|FILE",
        help="a network, or bicubic, bilinear, nearest, lanczos (repeatable; default: bicubic and fast)",
    )  # fmt: skip
    parser.add_argument("--scale", type=int, metavar="N", help="default: the networks' own, 4 without one")
    parser.add_argument(
        "--kernel", default="matlab", metavar="matlab|pillow", help="bicubic that makes the input (default: matlab)"
    )
    parser.add_argument("--border", type=int, metavar="N", help="pixels left out at each edge (default: the scale)")
    parser.add_argument("--noise", type=float, default=0.0, metavar="SIGMA", help="on the input, in 8-bit levels")
    parser.add_argument("--crf", type=int, metavar="N", help="the input goes through H.264 at that quality")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    parser.add_argument(
        "--low",
        action="append",
        metavar="DIR|FILM",
        help="low-resolution input that is there already, one for each DATA",
    )
    parser.add_argument("--sequence", action="store_true", help="the pictures of a folder are the frames of a film")
    parser.add_argument("--frames", type=int, metavar="N", help="of a film, only so many from the beginning")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument(
        "--precision", default="fp32", choices=FLOAT_PRECISIONS, help="of the networks (default: fp32, as in papers)"
    )
    parser.add_argument(
        "--time", action="store_true", help="also measure each network: ms per 480x270 frame in the device's precision"
    )
    parser.add_argument("--save", metavar="DIR", help="keep the outputs: DIR/DATA/MODEL/NAME.png")
    parser.add_argument("--overwrite", action="store_true", help="replace pictures kept before")
    parser.add_argument("--verbose", action="store_true", help="a line for every picture or frame")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with every picture in it")


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "train",
        parents=[shared],
        help="train a network on pictures",
        description="Train a network on pictures: weights, checkpoints, losses and scores come into one folder.",
        epilog="Several processes: torchrun --nproc-per-node N -m vsr train ...",
    )
    parser.add_argument("recipe", metavar="RECIPE", help="train-psnr, train-esrgan, ... or a TOML file")
    parser.add_argument(
        "--data", required=True, action="append", metavar="DIR", help="pictures and films to learn from (repeatable)"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder of the run")
    parser.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="change a key of the recipe, e.g. run.steps=1000 (repeatable)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps (default: auto)"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no progress, no scores; errors only")


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "export",
        parents=[shared],
        help="a network as an ONNX file, for other programs and for TensorRT",
        description="Write a network as ONNX: any batch, height and width; RGB in 0..1 as float32, in and out. The file"
        " is run by ONNX Runtime beside the network, and left only if both agree.",
    )
    parser.add_argument("model", metavar="MODEL", help="a network: `vsr models list`, or a weights file")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="a name ending in .onnx")
    parser.add_argument("--opset", type=int, metavar="N", help="version of the ONNX operators, 13 to 21 (default: 17)")
    parser.add_argument(
        "--precision", choices=("fp32", "fp16"), default="fp32", help="of weights and features (default: fp32)"
    )
    parser.add_argument(
        "--check", action=argparse.BooleanOptionalAction, help="default: where onnxruntime is installed"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "bench",
        parents=[shared],
        help="how fast everything is on this machine",
        description="Measure what the machine can do, each network and each stage alone, a whole run, and the plain"
        " loop that the usual scripts run. Medians of several runs, with their range; let nothing else run meanwhile.",
    )
    parser.add_argument("--input", metavar="FILE", help="a film, of which the first frames count (default: synthetic)")
    parser.add_argument("--frames", type=int, default=NUM_FRAMES, metavar="N", help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=NUM_RUNS, metavar="N", help="of everything (default: %(default)s)")
    parser.add_argument(
        "--only", action="append", choices=PARTS, metavar="PART",
        help=f"measure that alone: {', '.join(PARTS)} (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--model", action="append", metavar="NAME|FILE",
        help="a network; the first is the river's and the peer's (repeatable; default: the embedded ones and fast)",
    )  # fmt: skip
    parser.add_argument("--preset", metavar="NAME|FILE", help="a way of working: `vsr presets list`")
    parser.add_argument("--scale", type=float, metavar="N", help="output size over input size (default: the network's)")
    parser.add_argument("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N, mps")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: auto (half precision where it is fast)")
    parser.add_argument("--engine", choices=ENGINES, help="what runs the network (default: auto)")
    parser.add_argument("--crf", type=float, metavar="N", help="quality of both encoders")
    parser.add_argument("--encoder-preset", metavar="NAME", help="speed of both encoders, e.g. veryfast, medium")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_jobs(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "jobs",
        parents=[shared],
        help="films that were broken off: list, clean",
        description="Films that were broken off, each with a folder of finished segments beside its output. The same"
        " `vsr upscale` goes on with one; `clean` throws what was done of it away.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for name, text in (("list", "what is unfinished (the default)"), ("clean", "remove what is unfinished")):
        action = actions.add_parser(name, parents=[shared], help=text)
        action.add_argument(
            "folders", nargs="*", metavar="DIR", help="look there (default: all that this user began on this machine)"
        )
        action.add_argument("--json", action="store_true", help="print one JSON object per film")
    parser.set_defaults(action="list", folders=[], json=False)


def _seconds(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d*)?|\.\d+", text) is None or not float(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above zero")
    return float(text)


def _size(text: str) -> int:
    """Bytes, from a number with K, M, G or T (powers of 1024) or without."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: a number of bytes, or 500M, 20G, 1.5T")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def _word_or_count(text: str) -> str | int:
    return int(text) if text.lstrip("-").isdigit() else text
