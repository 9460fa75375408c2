import io

import numpy as np
import pytest
import trimesh

from metaloop import systems
from metaloop.errors import InputError
from metaloop.structure.voxels import check_connected
from metaloop.systems.bridge import climb, girders, judged, lightest, road_bridge, sheet
from metaloop.systems.bridge import report as module


def quiet(share, doing):
    pass


def test_the_sheet_is_the_one_that_is_described():
    p = sheet(12)
    assert p.shape == (24, 12)
    assert p.supports[:, 0].all()
    assert p.loads[0, 1, -1, 0] == -1
    assert judged(p, np.ones(p.shape)).compliance == pytest.approx(45, rel=0.05)


def test_each_class_is_at_least_as_good_as_the_one_before():
    ladder = climb(16, quiet, 25)
    values = [s.design.compliance for s in ladder.steps]
    assert values == sorted(values, reverse=True)
    assert len({s.design.cells.sum() for s in ladder.steps}) == 1
    assert [s.variables for s in ladder.steps] == [0, 10, 18, 512]
    assert values[-1] < 0.8 * values[0]
    assert 0.3 < lightest(ladder, quiet, 30) < 0.95


def test_the_road_bridge_is_symmetric_loaded_and_held():
    p = road_bridge(4)
    assert p.shape == (40, 12, 8)
    check_connected(p)
    for mask in (p.solid, p.void, p.supports[1]):
        assert np.array_equal(mask, mask[::-1])
        assert np.array_equal(mask, mask[..., ::-1])
    assert p.loads[0].sum() == pytest.approx(-1)
    assert p.loads[1].sum() == pytest.approx(-0.5)
    assert not (p.loads != 0)[:, 1, :, :3].any()
    with pytest.raises(InputError, match="fineness"):
        road_bridge(2)


def test_girders_are_built_of_the_material_given():
    p = road_bridge(4)
    count = round(0.12 * np.prod(p.shape))
    cells = girders(p, count)
    assert cells.sum() == count
    assert not cells[p.void].any()
    assert cells[p.solid].all()


def test_the_page_and_its_surface(tmp_path, monkeypatch):
    small = module.Size((12,), 15, 4, 15)
    monkeypatch.setitem(module.SIZES, "quick", small)
    report, files = systems.run("bridge", out=tmp_path)
    names = [f.name for f in files]
    assert names[0] == "bridge.html"
    assert "bridge-surface.stl" in names
    claims = {c.id: c for c in report.claims}
    assert claims["bridge-open-edges"].holds
    assert claims["shape-12"].measured <= 1
    assert "bridge-elements" not in claims
    surface = trimesh.load(io.BytesIO((tmp_path / "bridge-surface.stl").read_bytes()), file_type="stl")
    surface.merge_vertices()
    assert surface.is_watertight
    assert np.ptp(surface.vertices[:, 0]) == pytest.approx(50, abs=1.5)
