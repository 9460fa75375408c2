"""Study files that are damaged, foreign, replaced or gone: refused in one line that names them, or read whole."""

import itertools
import os
import sqlite3
from pathlib import Path

import invariants
import pytest
from extent import ALL, seeds, some
from lab import Lab, drawn
from objectives import SPACE, bowl

from metaloop import CMAES, InputError, RandomSearch, StoreError, Study, cli, minimize

BUDGET = 12


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A study's file, and its trials."""

    def objective(c):
        return None if c["kind"] == "c" else bowl(c)

    path = tmp_path_factory.mktemp("whole") / "study" / "study.db"
    path.parent.mkdir()
    result = minimize(objective, SPACE, budget=BUDGET, store=path, optimizer=CMAES())
    result.study.close()
    return path.read_bytes(), result.trials


@pytest.fixture(scope="session")
def unclosed(tmp_path_factory, nest):
    """The files of a study whose process was killed: the log holds what the file does not."""
    lab = Lab(tmp_path_factory.mktemp("unclosed"), nest)
    lab.run(optimizer="CMAES", budget=BUDGET, strike=["callback", BUDGET])
    return {p.name: p.read_bytes() for p in lab.store.parent.iterdir()}


def put(lab, **files):
    for ending, data in files.items():
        name = "study.db" + (f"-{ending}" if ending != "db" else "")
        (lab.store.parent / name).write_bytes(data)


def commands(path):
    return [["show", path], ["why", path], ["export", path], ["show", "--json", path]]


def refused(lab, capsys, *, run=True):
    """Every way in is refused in one line that names the file."""
    with pytest.raises((StoreError, InputError)) as caught:
        Study(lab.store, readonly=True)
    check_line(str(caught.value), lab.store)
    if run:
        with pytest.raises((StoreError, InputError)) as caught:
            minimize(bowl, SPACE, budget=BUDGET + 2, optimizer=CMAES(), store=lab.store)
        check_line(str(caught.value), lab.store)
    for command in commands(lab.store):
        assert cli.main([str(c) for c in command]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        check_line(captured.err.rstrip("\n"), lab.store)


def check_line(text, path):
    assert len(text.splitlines()) == 1, text
    assert any(name in text for name in (str(path), repr(str(path)), repr(str(path))[1:-1])), text
    assert "failed:" not in text, f"not said in words: {text}"


def read_or_refused(lab, capsys, trials):
    """Either what is read is what was written, and a run goes on with it, or every way in is refused."""
    try:
        with Study(lab.store, readonly=True) as study:
            assert study.trials == trials[: len(study.trials)]
            assert len(study.trials) == len(trials)
            assert not study._fold.diverged
    except (StoreError, InputError):
        refused(lab, capsys)
        return "refused"
    try:
        minimize(bowl, SPACE, budget=BUDGET + 2, optimizer=CMAES(), store=lab.store).study.close()
    except StoreError as error:  # one may read it and not write
        check_line(str(error), lab.store)
        return "read"
    assert invariants.check(lab.store, table=False)[: len(trials)] == trials
    return "written"


@pytest.mark.fault("study file cut short", "truncated at drawn lengths and at page boundaries")
@pytest.mark.parametrize("seed", seeds(200, 8))
def test_truncated(lab, capsys, whole, seed):
    data, trials = whole
    at = (seed // 2 * 4096 if seed % 2 else int(drawn(seed, 1, len(data)))) % len(data)
    put(lab, db=data[:at])
    if at:
        assert read_or_refused(lab, capsys, trials) == "refused"


@pytest.mark.fault("study file with a flipped bit", "one bit of one byte, drawn; the first 100 bytes more often")
@pytest.mark.parametrize("seed", seeds(1000, 12))
def test_flipped(lab, capsys, whole, seed):
    data, trials = bytearray(whole[0]), whole[1]
    at = int(drawn(seed, 0, 100 if seed % 5 == 0 else len(data)))
    data[at] ^= 1 << (seed % 8)
    put(lab, db=bytes(data))
    read_or_refused(lab, capsys, trials)


@pytest.mark.fault("study file with a block of zeros or noise", "512 bytes overwritten at a drawn place")
@pytest.mark.parametrize("seed", seeds(100, 2))
def test_overwritten(lab, capsys, whole, seed):
    data, trials = bytearray(whole[0]), whole[1]
    at = int(drawn(seed, 0, len(data) - 512))
    data[at : at + 512] = bytes(512) if seed % 2 else os.urandom(512)
    put(lab, db=bytes(data))
    read_or_refused(lab, capsys, trials)


@pytest.mark.fault("empty file", "0 bytes")
def test_empty(lab, capsys):
    put(lab, db=b"")
    refused(lab, capsys, run=False)
    minimize(bowl, SPACE, budget=2, store=lab.store, optimizer=CMAES()).study.close()
    lab.check(2, full=True)


@pytest.mark.fault("file of another program", "text, an image, a database, a database without tables")
@pytest.mark.parametrize("kind", ["text", "binary", "database", "bare database"])
def test_another_programs_file(lab, capsys, kind):
    if "database" in kind:
        db = sqlite3.connect(lab.store)
        db.execute("PRAGMA application_id = 77")
        db.execute("PRAGMA user_version = 3")
        if kind == "database":
            db.execute("CREATE TABLE theirs (x)")
        db.commit()
        db.close()
    else:
        put(lab, db=b"hello\n" * 999 if kind == "text" else bytes(range(256)) * 20)
    before = lab.store.read_bytes()
    refused(lab, capsys)
    assert lab.store.read_bytes() == before
    assert [p.name for p in lab.store.parent.iterdir()] == ["study.db"]


@pytest.mark.fault("path that is no file", "a folder, a missing folder, a device, a loop of links, a name too long")
def test_no_file(lab, capsys):
    folder = lab.store.parent
    (folder / "file").write_text("")
    (folder / "loop").symlink_to(folder / "loop")
    for path in (
        folder, folder / "nowhere" / "a.db", Path("/dev/full"), folder / "loop", folder / ("x" * 300),
        folder / "file" / "a.db", Path("a\0b.db"), Path(""),
    ):  # fmt: skip
        lab.store = path
        refused(lab, capsys)


ODD_NAMES = [
    "a ?mode=ro#%20\"'\n.db", os.fsdecode(b"\xff\xfe.db"), "x" * 240, "a b", "a?mode=ro", "a#b", "50%20.db", "it's",
    "a\nb", "ü€.db", "-rf",
]  # fmt: skip


@pytest.mark.fault("path with odd characters", "spaces, quotes, ?, #, %, newline, not UTF-8, long")
@pytest.mark.parametrize("name", some(ODD_NAMES, *ODD_NAMES[:3]), ids=ascii)
def test_odd_names(lab, capsys, name):
    lab.store = lab.store.parent / name
    lab.run(optimizer="RandomSearch", budget=3, strike=["callback", 2])
    lab.check(3)
    lab.run(optimizer="RandomSearch", budget=3).result()
    lab.check(3, full=True)
    for command in commands(lab.store):
        assert cli.main([str(c) for c in command]) == 0
        capsys.readouterr()


@pytest.mark.fault("link to a study file", "a symbolic link, written and read through, killed in between")
@pytest.mark.parametrize("relative", some([True, False], True))
def test_link(lab, relative):
    real = lab.folder / "elsewhere" / "real.db"
    real.parent.mkdir()
    lab.store.symlink_to(os.path.relpath(real, lab.store.parent) if relative else real)
    job = {"optimizer": "CMAES", "budget": 8}
    lab.run(**job, strike=["callback", 5])
    with Study(lab.store, readonly=True) as study:
        assert study.finished == 5
    lab.run(**job).result()
    with Study(lab.store, readonly=True) as study:
        assert study.finished == 8
    assert invariants.check(real, lab.log)


@pytest.mark.fault("another space, seed, optimizer or direction; a newer format", "one of them changed")
def test_another_study(lab, capsys, whole):
    put(lab, db=whole[0])
    others = {
        "space": {"space": [(0, 1)]},
        "seed": {"seed": 5},
        "optimizer": {"optimizer": RandomSearch()},
        "maximize": {"maximize": True},
    }
    for what, other in others.items():
        with pytest.raises(InputError, match=f"another {what}") as caught:
            Study(lab.store, **{"space": SPACE, **other})
        assert len(str(caught.value).splitlines()) == 1
    db = sqlite3.connect(lab.store)
    db.execute("PRAGMA user_version = 99")
    db.close()
    refused(lab, capsys)


# --- what a dead process leaves ----------------------------------------------------------------------------------


@pytest.mark.fault("log of a dead process, its index missing or damaged", "-shm kept, removed, zeroed, cut, noise")
@pytest.mark.parametrize("shm", some(["kept", "missing", "zeroed", "cut", "empty", "noise"], "missing", "noise"))
def test_left_behind(lab, unclosed, shm):
    log, index = unclosed["study.db-wal"], unclosed["study.db-shm"]
    assert log
    files = {
        "kept": index, "missing": None, "zeroed": bytes(len(index)), "cut": index[:100], "empty": b"",
        "noise": os.urandom(len(index)),
    }  # fmt: skip
    put(lab, db=unclosed["study.db"], wal=log, **({"shm": files[shm]} if files[shm] is not None else {}))
    before = lab.check(BUDGET, full=True)
    minimize(bowl, SPACE, budget=BUDGET + 2, optimizer=CMAES(), store=lab.store).study.close()
    assert lab.check(BUDGET + 2, full=True)[:BUDGET] == before


@pytest.mark.fault("log of a dead process, cut short or with a flipped bit", "-wal changed at a drawn place")
@pytest.mark.parametrize("seed", seeds(200, 2))
def test_damaged_log(lab, capsys, unclosed, seed):
    """SQLite takes what comes after the damage for a commit that never ended: what is before it is whole."""
    put(lab, db=unclosed["study.db"], wal=unclosed["study.db-wal"])
    everything = lab.check(BUDGET, full=True)
    log = bytearray(unclosed["study.db-wal"])
    at = int(drawn(seed, 0, len(log)))
    if seed % 2:
        log = log[:at]
    else:
        log[at] ^= 1 << (seed // 2 % 8)
    for file in lab.store.parent.iterdir():
        file.unlink()
    put(lab, db=unclosed["study.db"], wal=bytes(log))
    left = lab.check(BUDGET)
    assert [t.config for t in left] == [t.config for t in everything[: len(left)]]
    minimize(bowl, SPACE, budget=BUDGET, optimizer=CMAES(), store=lab.store).study.close()
    after = lab.check(BUDGET, full=True)
    assert [t.config for t in after] == [t.config for t in everything]


# --- while a run has it open --------------------------------------------------------------------------------------


@pytest.mark.fault("study file or its log deleted or replaced while open", "by the objective, serial and with workers")
@pytest.mark.parametrize(
    ("act", "options"),
    some(
        itertools.product(["deletes_the_study", "replaces_the_study", "deletes_the_log"], [{}, {"workers": 2}]),
        ("deletes_the_study", {"workers": 2}),
        ("replaces_the_study", {}),
        ("deletes_the_log", {}),
    ),
    ids=str,
)
def test_gone_while_open(lab, act, options):
    ended = lab.run(optimizer="RandomSearch", budget=12, acts=["", "", "", "", act], **options)
    assert ended.status == 1
    last = ended.err.rstrip("\n").splitlines()[-1]
    assert "StoreError" in last
    check_line(last, lab.store)
    assert "deleted or replaced" in last
    assert not lab.marked()


@pytest.mark.fault("all files of the main process closed", "by a serial objective, then the same run again")
@pytest.mark.skipif(not ALL, reason="only in `make faults`: SQLite waits for 10 s")
def test_closed_files(lab):
    job = {"optimizer": "CMAES", "budget": 12}
    ended = lab.run(**job, acts=["", "", "", "", "closes_all_files"], busy=1.0)  # SQLite says busy: it has no lock
    assert ended.status != 0
    lab.log.unlink()
    before = lab.check(12)
    assert len(before) >= 5
    lab.run(**job).result()
    lab.check(12, full=True)


@pytest.mark.fault("fork of the main process, both go on", "by a serial objective")
@pytest.mark.parametrize("act", some(["forks_and_both_return", "forks_and_the_child_raises"], "forks_and_both_return"))
def test_forked(lab, act):
    lab.run(optimizer="CMAES", budget=12, acts=["", "", "", "", act], hold=0.05).result()
    trials = lab.check(12, full=True)
    assert all(t.value >= 0 for t in trials)
