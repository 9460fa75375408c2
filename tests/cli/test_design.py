import json

import pytest

from metaloop.cli import main

TEXT = """
[domain]
size = [12, 4]
element = 0.5
[[support]]
at = "x=0"
hold = "x"
[[support]]
at = {point = [12, 0]}
hold = "y"
[[load]]
at = {point = [0, 4]}
force = [0, -1]
[optimize]
radius = 0.8
iterations = 12
"""


def test_a_description_becomes_files(tmp_path, capsys):
    file = tmp_path / "beam.toml"
    file.write_text(TEXT)
    assert main(["design", str(file), "--out", str(tmp_path / "out"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["volume"] == pytest.approx(0.5, abs=1e-3)
    assert said["pieces"] >= 1
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"beam.stl", "beam.vtu", "beam.svg", "beam.png"}
    assert main(["design", str(file), "--out", str(tmp_path / "out")]) == 0
    assert "compliance: " in capsys.readouterr().out


def test_what_is_wrong_is_one_line(tmp_path, capsys):
    file = tmp_path / "beam.toml"
    file.write_text(TEXT.replace("radius", "radios"))
    assert main(["design", str(file)]) == 2
    assert "'radios'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["beam", "bracket"])
def test_the_examples_are_read(name):
    from pathlib import Path

    from metaloop.structure import read

    assert read(Path(__file__).parents[2] / "examples" / "structure" / f"{name}.toml").problem.loads.any()
