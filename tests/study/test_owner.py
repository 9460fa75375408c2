"""What the dead left is taken up; what the living hold is not."""

import os
import subprocess
import sys

from metaloop import Float, RandomSearch, Space, Study
from metaloop.study.owner import alive, new_owner, retire

SPACE = Space(x=Float(0, 1))


def test_an_owner_lives_until_it_retires():
    a, b = new_owner(), new_owner()
    assert a != b
    assert alive(a)
    retire(a)
    assert not alive(a)
    assert alive(b)


def test_owners_of_other_processes_live_as_long_as_these():
    code = "from metaloop.study.owner import new_owner; print(new_owner(), flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    owner = child.stdout.readline().strip()
    assert alive(owner)
    boot, namespace, pid, start = owner.rpartition("/")[0].split(":")
    assert pid == str(child.pid)
    assert not alive(f"{boot}:{namespace}:{pid}:{int(start) + 1}/0")  # a later process with the same number
    assert not alive(f"{boot}x:{namespace}:{pid}:{start}/0")  # before a reboot
    child.communicate("\n", timeout=20)
    assert not alive(owner)


def test_nonsense_is_not_alive():
    for owner in ("", "x", "a:b:c:d/0", ":::/", f":::{os.getpid()}/0"):
        assert not alive(owner)


def test_a_run_takes_up_what_a_closed_study_left_and_nothing_else(tmp_path):
    path = tmp_path / "a.db"
    with Study(path, space=SPACE, optimizer=RandomSearch()) as gone:
        left = gone.ask()
    living = Study(path)
    held = living.ask()
    other = Study(path)
    taken = other.take_up()
    assert [t.number for t in taken] == [left.number]
    assert other.take_up() == []
    assert living.take_up() == []
    assert other.tell(taken[0], 1.0).value == 1.0
    assert living.tell(held, 2.0).value == 2.0
    assert [t.value for t in other.trials] == [1.0, 2.0]
