"""What gets installed is whole: the wheel carries code, presets and weights, and runs from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Ways of working; the training recipes beside them are listed by `vsr train --help`.
PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.toml") if not path.stem.startswith("train-"))


def run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    """Run a command without the network in mind; its output, or a failure that shows what it said."""
    environment = {**os.environ, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment.pop("PYTHONPATH", None)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the tools of the environment (no isolation, so no network)."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def editable_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install --editable` installs."""
    folder = tmp_path_factory.mktemp("editable")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel:editable", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh folder with the wheel installed in it, and nothing of the working copy."""
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    run(*pip, "--target", folder, wheel, cwd=folder)
    return folder


def test_wheel_holds_every_file_of_the_package(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("vsr/")}
    kinds = ("*.py", "*.safetensors", "py.typed", "page/static/*")
    code = {path.relative_to(ROOT).as_posix() for kind in kinds for path in (ROOT / "vsr").rglob(kind)}
    presets = {f"vsr/presets/{path.name}" for path in (ROOT / "presets").iterdir()}
    assert held >= code | presets
    assert "vsr/py.typed" in held
    assert "vsr/page/static/index.html" in held
    assert any(name.startswith("vsr/model/embedded/") and name.endswith(".safetensors") for name in held)


def test_wheel_holds_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"vsr", "vsr-0.1.0.dist-info"}
    assert not [name for name in names if "__pycache__" in name]


def test_wheel_carries_its_licence_and_command(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        assert b"MIT License" in archive.read("vsr-0.1.0.dist-info/licenses/LICENSE")
        assert b"vsr = vsr.cli:main" in archive.read("vsr-0.1.0.dist-info/entry_points.txt")


def test_installed_wheel_finds_its_presets(installed: Path, tmp_path: Path):
    listed = run(sys.executable, "-m", "vsr", "presets", "list", cwd=tmp_path, path=installed)
    assert [name for name in PRESETS if name not in listed] == []
    origin = run(sys.executable, "-c", "import vsr; print(vsr.__file__)", cwd=tmp_path, path=installed)
    assert Path(origin.strip()).is_relative_to(installed)


def test_installed_command_answers(installed: Path, tmp_path: Path):
    command = installed / ("Scripts/vsr.exe" if os.name == "nt" else "bin/vsr")
    assert "upscale" in run(command, "--help", cwd=tmp_path, path=installed)


def test_editable_install_reads_the_working_copy(editable_wheel: Path, tmp_path: Path):
    """No second copy of code or presets that could grow old: just a pointer to the folder."""
    with zipfile.ZipFile(editable_wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        pointers = [archive.read(name).decode().strip() for name in names]
    assert [Path(name).suffix for name in names] == [".pth"]
    assert [Path(pointer) for pointer in pointers] == [ROOT]
    listed = run(sys.executable, "-m", "vsr", "presets", "list", cwd=tmp_path, path=ROOT)
    assert [name for name in PRESETS if name not in listed] == []
