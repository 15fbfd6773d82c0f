"""What stands in samples/ for people to copy works as it stands."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path

import pytest

from vsr.cli.arguments import build_parser
from vsr.jobs.batch_file import read_batch_file
from vsr.jobs.daemon import CANCEL_SECONDS, CLOSE_SECONDS, STOP_SECONDS
from vsr.jobs.entry import list_jobs
from vsr.training.recipe_file import load_recipe

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


def test_the_recipe_of_ones_own_is_that_of_film_going_on():
    """It names keys that there are, and a network into which the weights of `film` fit."""
    own, film = load_recipe(SAMPLES / "train_own_film.toml", {}), load_recipe("train-film", {})
    assert (own.name, own.run.pretrained, own.run.name) == ("train_own_film", "film", "own_film")
    for key in ("architecture", "scale", "num_features", "num_conv", "slope"):
        assert getattr(own.network, key) == getattr(film.network, key)
    assert own.degradation.kind == film.degradation.kind == "film"


def test_the_batch_names_the_clip_twice():
    """Without the settings of either film it would be one output twice, which is refused."""
    jobs = list_jobs(read_batch_file(SAMPLES / "batch.toml", {}), lambda model, scale: scale or 4)
    assert [job.source for job in jobs] == [SAMPLES / "clip.mp4"] * 2
    assert [job.output.relative_to(SAMPLES / "restored").name for job in jobs] == ["clip_x4.mp4", "clip_realtime.mp4"]
    assert [(job.settings["model"], job.settings["duration"]) for job in jobs] == [("film", 2), ("realtime", 2)]


def test_the_unit_calls_the_daemon_and_gives_it_the_time_that_it_needs():
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(SAMPLES / "vsr-watch.service")
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    options = build_parser().parse_args(arguments)
    assert (Path(program).name, options.command, options.output) == ("vsr", "watch", "/srv/films/out")
    assert options.min_free == 20 << 30
    assert service["Type"] == "notify"
    assert int(service["TimeoutStopSec"]) > STOP_SECONDS + CANCEL_SECONDS + CLOSE_SECONDS
    assert Path(options.inbox).is_relative_to(service["ReadWritePaths"])


def test_the_container_calls_the_daemon():
    lines = (SAMPLES / "Containerfile").read_text().splitlines()
    words = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if re.match("[A-Z]", line)}
    program, *arguments = [*json.loads(words["ENTRYPOINT"]), *json.loads(words["CMD"])]
    options = build_parser().parse_args(arguments)
    assert (program, options.command, options.inbox, options.output) == ("vsr", "watch", "/in", "/out")
    assert {options.inbox, options.output} < set(json.loads(words["VOLUME"]))


def test_rays_launcher_takes_the_cluster():
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'vsr[cluster]'")
    import yaml  # Ray brings it
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = yaml.safe_load((SAMPLES / "cluster.yaml").read_text(encoding="utf-8"))
    assert cluster["min_workers"] == cluster["max_workers"] == len(cluster["provider"]["worker_ips"])
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert "--disable-usage-stats" in cluster[commands][-1]
    validate_config(prepare_config(cluster))
