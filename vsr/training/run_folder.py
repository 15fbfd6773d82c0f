"""The folder of a run: what is in it, and whether a training may begin or go on there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vsr.errors import TrainingError
from vsr.training.checkpoint import Checkpoints, remove_leftovers, replace_file
from vsr.training.recipe import Recipe, find_differences

__all__ = ["RunFolder"]


class RunFolder:
    """`run.json` (recipe and fingerprint of the data), `checkpoints/`, `losses.jsonl`, and the weights.

    Args:
        path: of the folder; it need not be there yet.
        recipe: of the run that is to begin or go on here.

    Attributes:
        checkpoints: of the run.
        weights: where they are exported to.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self._recipe = path, recipe
        self._facts = path / "run.json"
        self.checkpoints = Checkpoints(path / "checkpoints", recipe.run.keep)
        self.weights = path / f"{recipe.run.name or recipe.name}.safetensors"

    def check_vacant(self, *, resume: bool = False) -> None:
        """Refuse to begin where another run stands, unless it is to be resumed.

        Raises:
            TrainingError: there is one, or the folder is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise TrainingError(f"--out {str(self.path)!r} is a file", hint="give a folder")
        if resume:
            return
        if self._facts.is_file() or self.checkpoints.steps() or (self.path / "losses.jsonl").is_file():
            steps = self.checkpoints.steps()
            where = f"a run of {steps[-1]} steps" if steps else "a run"
            raise TrainingError(
                f"{str(self.path)!r} holds {where} already", hint="--resume goes on with it; or give another --out"
            )

    def check_facts(self, fingerprint: str) -> None:
        """Refuse to go on with another recipe or other data than those of `run.json`, where there is one.

        Raises:
            TrainingError: names what differs; or the file cannot be read.
        """
        try:
            facts = json.loads(self._facts.read_text(encoding="utf-8"))
            recipe, data = facts["recipe"], facts["data"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise TrainingError(f"{str(self._facts)!r} cannot be read: {exc}", hint="give another --out") from exc
        self.check_same(recipe, data, fingerprint)

    def check_same(self, old_recipe: Mapping[str, Any], old_fingerprint: str, fingerprint: str) -> None:
        """Refuse to go on with a recipe that trains differently than `old_recipe` (of `Recipe.as_dict`), or other data.

        Raises:
            TrainingError: names what differs.
        """
        if differences := find_differences(old_recipe, self._recipe.as_dict()):
            raise TrainingError(
                f"the run in {str(self.path)!r} had another recipe: {'; '.join(differences)}",
                hint="set these as they were, or begin anew in another --out (run.pretrained takes its weights along)",
            )
        if old_fingerprint != fingerprint:
            raise TrainingError(
                f"the run in {str(self.path)!r} learned from other pictures: their fingerprint was"
                f" {old_fingerprint[:12]}, now it is {fingerprint[:12]}",
                hint="give the same --data, or begin anew in another --out",
            )

    def claim(self, *, data: str, num_pictures: int) -> None:
        """Write `run.json`: from now on the folder belongs to this run. What a killed one left half-written goes.

        Args:
            data: fingerprint of the training pictures.

        Raises:
            TrainingError: the folder cannot be made or written.
        """
        facts = {"recipe": self._recipe.as_dict(), "data": data, "num_pictures": num_pictures}
        replace_file(self._facts, lambda file: file.write(json.dumps(facts, indent=1).encode()))
        for folder in (self.path, self.checkpoints.folder):
            remove_leftovers(folder)
