import json
from dataclasses import replace

import pytest

from metaloop import systems
from metaloop.cli.output import plain
from metaloop.systems import RunOptions
from metaloop.systems.choosing import SYSTEM, Size, measure

pytest.importorskip("matplotlib")
SMALL = Size(((2, 3), (3, 2)), (2, 3), 20, {"svm-digits": 4}, (0, None), (4, 8))


@pytest.fixture(scope="module")
def found():
    seen = []
    report = measure(SMALL, RunOptions(seed=3, progress=lambda share, doing: seen.append((share, doing))))
    return report, seen


def test_it_is_in_the_registry():
    assert systems.load("choosing") is SYSTEM


def test_a_small_run_has_all_claims_and_figures(found):
    report, seen = found
    ids = [c.id for c in report.claims]
    assert ids == ["grid-cost", "grid-misses", "distinct-values", "widest-gap", "random-law",
                   "exact-signal-svm-digits", "lucky-draw-svm-digits"]  # fmt: skip
    by_id = {c.id: c for c in report.claims}
    assert by_id["grid-misses"].measured == 0
    assert by_id["grid-cost"].measured == 9
    assert by_id["distinct-values"].measured == 64
    assert by_id["random-law"].ci[0] == 0, "some frequency contradicts the law"
    assert [f.name for f in report.figures] == ["grid-and-random", "law-of-random-search", "crossover-svm-digits",
                                               "ghost-peak-svm-digits", "auto-svm-digits"]  # fmt: skip
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1


def test_it_is_one_json_object_of_the_house_format(found):
    data = json.loads(json.dumps(plain(found[0].as_dict(["a.svg"])), allow_nan=False))
    assert set(data) == {"system", "size", "claims", "seconds", "figures"}
    for claim in data["claims"]:
        assert set(claim) == {
            "id", "says", "measured", "ci", "n", "target", "reference", "peer", "unit", "better", "holds"
        }  # fmt: skip
        assert claim["unit"]
        assert claim["ci"][0] <= claim["measured"] <= claim["ci"][1]


def test_equal_seeds_give_equal_reports_and_others_do_not(found):
    again = measure(SMALL, RunOptions(seed=3))
    assert [c.as_dict() for c in again.claims] == [c.as_dict() for c in found[0].claims]
    assert [f.svg for f in again.figures] == [f.svg for f in found[0].figures]
    other = measure(SMALL, RunOptions(seed=4))
    assert [c.measured for c in other.claims] != [c.measured for c in again.claims]


def test_the_full_size_adds_its_claim():
    report = measure(replace(SMALL, budgets=(4, 12)), RunOptions(size="full"))
    ids = {"ghost-peak-svm-digits", "crossover-svm-digits", "auto-regret-svm-digits"}
    assert ids <= {c.id for c in report.claims}
