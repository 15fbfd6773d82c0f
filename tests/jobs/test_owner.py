from __future__ import annotations

import subprocess
import sys

from vsr.jobs.owner import is_alive, name_owner


def test_this_process_lives_and_one_with_its_number_but_another_start_does_not() -> None:
    me = name_owner()
    assert is_alive(me)
    assert me == name_owner()
    host, process, _ = me.rsplit(":", 2)
    assert not is_alive(f"{host}:{process}:long-ago")


def test_a_process_that_ended_is_dead_before_and_after_its_parent_looks() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = name_owner(child.pid)
    assert is_alive(owner)
    child.kill()
    while not is_zombie(child.pid):
        pass
    assert not is_alive(owner)
    child.communicate()
    assert not is_alive(owner)


def is_zombie(process: int) -> bool:
    with open(f"/proc/{process}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_nobody_can_tell_of_another_machine() -> None:
    assert is_alive("another-host:1:0")
