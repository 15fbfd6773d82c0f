"""The plan of the house, held by its import statements: who may know whom, and what must stay light."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vsr"
FILES = sorted(PACKAGE.rglob("*.py"))

# Rooms (files and folders straight under vsr/) and the rooms that each may import. A new room needs a line here.
GROUND = {"errors", "settings"}
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "progress": GROUND,
    "places": set(),
    "lock": GROUND,
    "video": GROUND,
    "model": GROUND | {"planar", "places", "__init__"},  # its version
    "metrics": GROUND,
    "chroma": GROUND,
    "planar": GROUND,
    "codes": GROUND | {"video", "chroma"},
    "pixels": GROUND | {"video", "chroma", "planar", "codes"},
    "stills": GROUND | {"video", "pixels"},
    "pipeline": GROUND
    | {"progress", "places", "lock", "video", "model", "planar", "pixels", "stills", "metrics", "__init__"},
    "api": GROUND | {"progress", "model", "pipeline", "stills"},
    "bench": GROUND | {"video", "model", "pixels", "metrics", "pipeline", "api", "__init__"},  # its version
    "page": GROUND | {"video"},  # how a finished file gets its name
    "jobs": GROUND | {"lock", "progress", "video", "model", "stills", "pipeline", "api", "__init__"},  # its version
    "evaluation": GROUND | {"progress", "video", "model", "pixels", "stills", "metrics", "pipeline"},
    "training": GROUND | {"progress", "video", "model", "pixels", "stills", "metrics", "__init__"},  # its version
}
UPPER = set(ARROWS)
ARROWS["cli"] = UPPER | {"__init__"}
ARROWS["__init__"] = UPPER
ARROWS["__main__"] = {"cli"}

TORCH_WORLD = {"torch", "torchvision", "spandrel", "safetensors"}
HEAVY = {"torch", "torchvision", "spandrel", "safetensors", "av", "numpy", "PIL"}
ATTIC = re.compile(r"utils?|helpers?|common|misc|managers?")


def module_name(path: Path) -> str:
    """vsr/video/probe.py -> vsr.video.probe; a package is named without its __init__."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """vsr.video.probe -> video; vsr itself -> __init__."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


MODULES = {module_name(path) for path in FILES}


@cache
def imports(path: Path, *, of_types: bool = True, inside_functions: bool = True) -> frozenset[str]:
    """Absolute names of the modules that a file imports; `from package import module` counts as the module."""
    found: set[str] = set()
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]

    def visit(node: ast.AST) -> None:
        match node:
            case ast.Import():
                found.update(alias.name for alias in node.names)
            case ast.ImportFrom():
                base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
                origin = ".".join(part for part in (base, node.module) if part)
                for alias in node.names:
                    member = f"{origin}.{alias.name}"
                    found.add(member if member in MODULES else origin)
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")) if not of_types:
                for child in node.orelse:
                    visit(child)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if not inside_functions:
                pass
            case _:
                for child in ast.iter_child_nodes(node):
                    visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))
    return frozenset(found)


def libraries(path: Path, *, of_types: bool = True) -> set[str]:
    return {name.split(".")[0] for name in imports(path, of_types=of_types)}


by_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def test_there_is_a_house():
    assert len(FILES) > 3


@by_file
def test_arrows(path: Path):
    """Rooms import only what the plan allows; nothing imports cli."""
    here = room(module_name(path))
    assert here in ARROWS, f"{here} is a new room: draw its arrows in {Path(__file__).name} and in the README's map"
    known = {room(name) for name in imports(path) if name.split(".")[0] == "vsr"} - {here}
    assert known <= ARROWS[here], f"{here} must not know {', '.join(sorted(known - ARROWS[here]))}"


@by_file
def test_video_and_model_are_strangers(path: Path):
    """video/ has no torch, model/ no PyAV, and one file alone has both libraries."""
    here = room(module_name(path))
    if here == "video":
        assert not libraries(path) & TORCH_WORLD
    elif here == "model":
        assert "av" not in libraries(path)
    elif here != "pixels":
        assert not {"av", "torch"} <= libraries(path, of_types=False), "only pixels knows both libraries"


def test_no_import_goes_round_in_circles():
    graph = {
        module_name(path): {name for name in imports(path, of_types=False, inside_functions=False) if name in MODULES}
        - {module_name(path)}
        for path in FILES
    }
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as exc:
        pytest.fail(" -> ".join(exc.args[1]))


def test_no_attic():
    folders = [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir()), ROOT / "tests"]
    names = {path.stem for folder in folders for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert [name for name in sorted(names) if ATTIC.fullmatch(name)] == []


def test_every_folder_is_a_package():
    folders = {path.parent for path in FILES}
    assert sorted(str(folder) for folder in folders if not (folder / "__init__.py").is_file()) == []


@by_file
def test_pickles_are_opened_as_weights_only(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads"):
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert options.get("weights_only") == "True", f"line {node.lineno}: {ast.unparse(node)}"


def loaded_after(statements: str) -> set[str]:
    """Names of the heavy libraries in memory after `statements` ran in a fresh interpreter."""
    report = "print(*sys.modules, sep='\\n', file=sys.stderr)"
    code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{statements}\n{report}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(done.stderr.split())


def test_importing_vsr_is_light():
    assert loaded_after("import vsr") == set()


def test_help_is_light():
    run = "import runpy\nsys.argv = ['vsr', '--help']\ntry:\n    runpy.run_module('vsr', run_name='__main__')\n"
    assert loaded_after(f"{run}except SystemExit as exc:\n    assert not exc.code, exc.code") == set()


README_FILE = re.compile(r"(?<![\w.])(\w+\.py)\b")


def test_map_names_every_file():
    """The README's map of the house has each file of vsr/ by name (twice where two files share one)."""
    named = Counter(README_FILE.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    standing = Counter(path.name for path in FILES if path.name not in ("__init__.py", "__main__.py"))
    assert sorted((standing - named).elements()) == []


def test_map_names_no_file_that_is_gone():
    named = set(README_FILE.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    folders = ("vsr", "tests", "samples")
    assert sorted(named - {path.name for folder in folders for path in (ROOT / folder).rglob("*.py")}) == []
