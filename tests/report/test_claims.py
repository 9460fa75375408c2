import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaloop import InputError
from metaloop.report import Claim, SystemReport
from metaloop.report.page import render

NUMBERS = st.floats(-1e9, 1e9)


def claim(**changes):
    values = {"id": "half", "says": "Half the trials.", "measured": 0.4, "ci": (0.3, 0.5), "n": 20, "target": 0.5,
              "reference": 1.0, "peer": "Optuna 4.1, same run", "unit": "ratio", "better": "lower"}  # fmt: skip
    return Claim(**{**values, **changes})


@pytest.mark.parametrize(
    ("ci", "better", "holds"),
    [
        ((0.3, 0.5), "lower", True),
        ((0.3, 0.51), "lower", False),
        ((0.5, 0.6), "higher", True),
        ((0.49, 0.6), "higher", False),
    ],
)
def test_a_claim_holds_if_its_whole_interval_does(ci, better, holds):
    assert claim(measured=sum(ci) / 2, ci=ci, better=better).holds is holds


@given(st.lists(NUMBERS, min_size=3, max_size=3).map(sorted), NUMBERS, st.sampled_from(["lower", "higher"]))
def test_holding_is_about_every_point_of_the_interval(interval, target, better):
    low, measured, high = interval
    found = claim(measured=measured, ci=(low, high), target=target, better=better)
    right = [(v <= target) if better == "lower" else (v >= target) for v in (low, measured, high)]
    assert found.holds == all(right)
    # The mirrored claim about the mirrored numbers is the same claim.
    other = {"lower": "higher", "higher": "lower"}[better]
    assert claim(measured=-measured, ci=(-high, -low), target=-target, better=other).holds == found.holds


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": " "}, {"id": ""}, {"says": ""}, {"better": "less"}, {"n": 0}, {"n": 1.5}, {"n": True},
        {"measured": float("nan")}, {"target": float("inf")}, {"ci": (0.5, 0.3)}, {"ci": (0.45, 0.5)}, {"ci": 0.4},
        {"ci": (0.3, float("inf"))}, {"peer": ""}, {"reference": "1"}, {"measured": None},
    ],
    ids=str,
)  # fmt: skip
def test_bad_claims_get_one_line_that_names_the_field(changes):
    with pytest.raises(InputError, match=next(iter(changes))) as caught:
        claim(**changes)
    assert "\n" not in str(caught.value)


def test_holds_cannot_be_said():
    with pytest.raises(TypeError):
        claim(holds=True)


def test_a_claim_without_a_peer():
    assert claim(reference=None, peer="").as_dict()["reference"] is None


def test_the_json_object_is_that_of_the_design():
    report = SystemReport("choosing", "quick", [claim()], 1.23456)
    data = json.loads(json.dumps(report.as_dict(["out/choosing-1.svg"]), allow_nan=False))
    assert list(data) == ["system", "size", "claims", "seconds", "figures"]
    assert list(data["claims"][0]) == [
        "id", "says", "measured", "ci", "n", "target", "reference", "peer", "unit", "better", "holds"
    ]  # fmt: skip
    assert data["claims"][0]["ci"] == [0.3, 0.5]
    assert data["claims"][0]["holds"] is True
    assert (data["seconds"], data["figures"]) == (1.235, ["out/choosing-1.svg"])


def test_a_report_as_a_page():
    bad = claim(id="b", says="<b>Fails</b>", ci=(0.3, 0.6))
    report = SystemReport("choosing", "quick", [claim(), bad], 1.0, text=["The digits data."])
    text = render("t", report.sections())
    assert "&lt;b&gt;Fails&lt;/b&gt;" in text
    assert '<td class="good">yes</td>' in text
    assert '<td class="bad">no</td>' in text
    assert "≤ 0.5 ratio" in text
    assert not report.holds


@pytest.mark.parametrize("bad", [{"size": "big"}, {"claims": [claim(), claim()]}])
def test_bad_reports_get_one_line(bad):
    with pytest.raises(InputError):
        SystemReport(**{"system": "s", "size": "full", "claims": [], "seconds": 1.0, **bad})
