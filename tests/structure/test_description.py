import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.description import read
from metaloop.structure.problem import beam
from metaloop.structure.topology import optimize

BEAM = """
[domain]
size = [30, 10]
element = 0.5
[[support]]
at = "x=0"
hold = "x"
[[support]]
at = {point = [30, 0]}
hold = "y"
[[load]]
at = {point = [0, 10]}
force = [0, -1]
[optimize]
fraction = 0.5
radius = 1.2
filter = "sensitivity"
iterations = 30
"""


def test_a_file_says_the_beam(tmp_path):
    path = tmp_path / "beam.toml"
    path.write_text(BEAM)
    found = read(path)
    known = beam(60, 20)
    assert found.problem.shape == known.shape
    assert np.array_equal(found.problem.supports, known.supports)
    assert np.array_equal(found.problem.loads, known.loads)
    assert found.recipe.radius == pytest.approx(2.4)
    assert found.recipe.iterations == 30
    assert optimize(found.problem, found.recipe).compliance < 230


def plan(**changes):
    base = {
        "domain": {"size": [8, 4, 4], "element": 1.0},
        "support": [{"at": "x=0"}],
        "load": [{"at": {"box": [[8, 0, 0], [8, 0, 4]]}, "force": [0, -5, 0]}],
        "optimize": {"fraction": 0.4},
    }
    return {k: v for k, v in (base | changes).items() if v is not None}


def test_regions_in_space():
    found = read(
        plan(void=[{"at": {"cylinder": ["z", [4, 2, 0], 1.2]}}], solid=[{"at": {"sphere": [[7.5, 0.5, 0.5], 0.6]}}])
    )
    p = found.problem
    assert p.loads[0, 1, 8, 0].sum() == pytest.approx(-5)
    assert p.supports[:, 0].all()
    assert p.void.sum() == 4 * 4
    assert p.solid.sum() == 1


def test_cases_act_apart_and_symmetry_and_weights_are_read():
    loads = [
        {"at": "x=max", "force": [0, -1, 0], "case": "down"},
        {"at": "x=max", "force": [0, 0, 2], "case": "aside"},
        {"at": {"point": [8, 4, 4]}, "force": [1, 0, 0], "case": "down"},
    ]
    p = read(plan(load=loads, optimize={"fraction": 0.4, "weights": [1, 2], "symmetry": ["z"]})).problem
    assert len(p.loads) == 2
    assert p.symmetry == (2,)
    assert p.loads[1].sum((1, 2, 3)) == pytest.approx([1, -1, 0])
    assert p.loads[0].sum((1, 2, 3)) == pytest.approx([0, 0, 2])


def test_surfaces_and_images_say_where(tmp_path):
    import trimesh
    from PIL import Image

    trimesh.creation.box(extents=[6, 4, 4]).apply_translation([3, 2, 2]).export(tmp_path / "part.stl")
    text = """
[domain]
size = [8, 4, 4]
element = 1.0
surface = "part.stl"
[[support]]
at = "x=0"
[[load]]
at = {point = [6, 0, 2]}
force = [0, -1, 0]
"""
    (tmp_path / "a.toml").write_text(text)
    p = read(tmp_path / "a.toml").problem
    assert p.void[6:].all()
    assert not p.void[:6].any()
    Image.fromarray(np.pad(np.zeros((10, 20), np.uint8), ((0, 10), (0, 0)), constant_values=255)).save(
        tmp_path / "i.png"
    )
    (tmp_path / "b.toml").write_text(BEAM + '[[solid]]\nimage = "i.png"\n')
    (tmp_path / "c.toml").write_text(BEAM.replace("fraction = 0.5", "fraction = 0.8") + '[[solid]]\nimage = "i.png"\n')
    solid = read(tmp_path / "c.toml").problem.solid
    assert solid[:, 10:].all()  # the dark half is the upper one
    assert not solid[:, :10].any()


@pytest.mark.parametrize(("change", "says"), [
    ({"suport": []}, "'support'"), ({"domain": {"size": [8, 4]}}, "element"), ({"support": [{"at": "w=0"}]}, "face"),
    ({"support": [{"at": "x=0", "hold": "q"}]}, "hold"), ({"load": [{"at": "x=max"}]}, "force"),
    ({"load": [{"at": "x=max", "force": [1, 2]}]}, "3 numbers"), ({"support": None}, "supports"),
    ({"optimize": {"fracton": 0.4}}, "fraction"),
    ({"void": [{"at": {"box": [[20, 0, 0], [21, 1, 1]]}}]}, "at least one"),
    ({"domain": {"size": [8000, 4000, 4000], "element": 1.0}}, "GB"),
    ({"load": [{"at": {"ball": 3}, "force": [0, 0, 1]}]}, "face"),
    ({"void": [{"at": {"box": [[3, 0, 0], [5, 4, 4]]}}]}, "cuts off"), ({"optimize": {"symmetry": ["w"]}}, "symmetry"),
])  # fmt: skip
def test_bad_descriptions(change, says):
    with pytest.raises(InputError, match=says):
        read(plan(**change))


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[domain")
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "bad.toml")
