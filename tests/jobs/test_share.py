from __future__ import annotations

import pytest

from vsr.errors import DeviceError
from vsr.jobs.share import Share


def test_a_task_takes_a_gpu_and_its_part_of_the_cores():
    machines = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 12.0, "GPU": 1.0}, {"CPU": 64.0}]
    assert Share.of(machines, "auto") == Share(8, 1, 3)
    assert Share.of(machines, "cuda") == Share(8, 1, 3)
    assert Share.of([{"CPU": 2.0, "GPU": 4.0}], "auto") == Share(1, 1, 2)


def test_without_gpus_a_task_takes_the_cores_of_the_smallest_machine():
    assert Share.of([{"CPU": 4.0}, {"CPU": 9.0}, {"memory": 1e9}], "auto") == Share(4, 0, 3)
    assert Share.of([{"CPU": 64.0}], "cpu") == Share(8, 0, 8)
    assert Share.of([{"CPU": 16.0, "GPU": 2.0}], "cpu") == Share(8, 0, 2)


def test_what_no_machine_has_is_refused():
    with pytest.raises(DeviceError, match="'cuda'"):
        Share.of([{"CPU": 4.0}], "cuda")
    with pytest.raises(DeviceError, match="processor core"):
        Share.of([{"GPU": 0.0}], "auto")
