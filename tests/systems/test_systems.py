import json
import sys
import types

import pytest

from metaloop import InputError, registry, systems
from metaloop.cli import main
from metaloop.report import Claim, SystemReport
from metaloop.report.page import Figure

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><path d="M0 0"/></svg>'


def run(options):
    options.progress(0.5, "half [done]")
    print("noise on stdout")
    high = 0.6 if options.seed == 13 else 0.5
    claim = Claim("c", "It [red]works[/red].", 0.4, (0.3, high), 5, 0.5, None, "", "ratio", "lower")
    return SystemReport("fake", options.size, [claim], 0.0, [Figure(SVG, "A figure.", "curve"), Figure(SVG, "B.")])


@pytest.fixture(autouse=True)
def table(monkeypatch):
    module = types.ModuleType("fake_system")
    module.SYSTEM = systems.System("fake", "A <fake> claim.", ("Nobody 2026",), run)
    module.OTHER = object()
    monkeypatch.setitem(sys.modules, "fake_system", module)
    table = {"fake": "fake_system:SYSTEM", "wrong": "fake_system:OTHER", "gone": "no_such_module:SYSTEM"}
    monkeypatch.setitem(registry._TABLES, "systems", table)


def test_systems_are_found_by_name():
    assert systems.names()[:3] == ["fake", "wrong", "gone"]
    assert systems.load("FAKE").claim == "A <fake> claim."


@pytest.mark.parametrize(("name", "says"), [("fak", "did you mean 'fake'"), ("wrong", "System"), ("gone", "no_such")])
def test_what_cannot_be_loaded_gets_one_line(name, says):
    with pytest.raises(InputError, match=says):
        systems.load(name)


def test_a_run_writes_its_page_and_its_figures(tmp_path):
    seen = []
    report, files = systems.run("fake", out=tmp_path / "a" / "b", progress=lambda *a: seen.append(a))
    assert [f.name for f in files] == ["fake.html", "fake-curve.svg", "fake-2.svg"]
    assert report.seconds > 0
    assert seen == [(0.5, "half [done]")]
    page = files[0].read_text(encoding="utf-8")
    assert "A &lt;fake&gt; claim." in page
    assert "Nobody 2026" in page
    assert "prefers-color-scheme" in files[1].read_text(encoding="utf-8")


@pytest.mark.parametrize("bad", [{"size": "huge"}, {"seed": -1}, {"seed": True}])
def test_bad_options_get_one_line(bad):
    with pytest.raises(InputError):
        systems.run("fake", **bad)


def test_a_folder_that_cannot_be_is_refused_before_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="out"):
        systems.run("fake", out=tmp_path / "file" / "x")


def test_the_command_line(tmp_path, capsys):
    out = str(tmp_path)
    assert main(["system", "fake", "--out", out]) == 0
    text = capsys.readouterr().out
    assert "It [red]works[/red]." in text
    assert f"{out}/fake.html" in text
    assert main(["system", "fake", "--out", out, "--seed", "13"]) == 3
    assert "no" in capsys.readouterr().out.split()


def test_json_is_one_object_whatever_the_system_prints(tmp_path, capfd):
    assert main(["system", "fake", "--json", "--full", "--out", str(tmp_path)]) == 0
    captured = capfd.readouterr()
    data = json.loads(captured.out)
    assert (data["system"], data["size"], data["claims"][0]["holds"]) == ("fake", "full", True)
    assert data["figures"] == [str(tmp_path / "fake-curve.svg"), str(tmp_path / "fake-2.svg")]
    assert "noise" in captured.err


def test_the_list_survives_what_is_broken(capsys):
    assert main(["systems", "--json"]) == 0
    found = {s["name"]: s["claim"] for s in json.loads(capsys.readouterr().out)["systems"]}
    assert found["fake"] == "A <fake> claim."
    assert "cannot be loaded" in found["gone"]
    assert main(["systems"]) == 0
    assert "A <fake> claim." in capsys.readouterr().out
    assert main(["system", "fka"]) == 2
    assert "fake" in capsys.readouterr().err
