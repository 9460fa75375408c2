import meshio
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from metaloop.errors import InputError
from metaloop.structure.export import mesh, printability, write
from metaloop.structure.voxels import from_surface, memory


def ball(n=20, radius=7.0):
    x = np.stack(np.meshgrid(*(np.arange(n) + 0.5 - n / 2,) * 3, indexing="ij"))
    return np.clip(radius - np.sqrt((x**2).sum(0)) + 0.5, 0, 1)


def test_a_ball_has_its_volume_and_closes():
    found = mesh(ball(), size=0.5)
    assert found.is_watertight
    assert found.volume == pytest.approx(ball().sum() / 8, rel=2e-3)
    assert found.area == pytest.approx(4 * np.pi * 3.5**2, rel=0.02)
    assert np.allclose(found.centroid, 5, atol=1e-3)


@given(st.integers(0, 2**16), st.floats(0.1, 0.9))
@settings(max_examples=25, deadline=None)
def test_any_blob_closes(seed, share):
    density = (np.random.default_rng(seed).random((6, 5, 4)) < share).astype(float)
    density[2, 2, 2] = 1
    found = mesh(density)
    assert found.is_watertight
    assert found.volume > 0


def test_plates_are_extruded():
    density = np.zeros((20, 10))
    density[4:16, 2:8] = 1
    found = mesh(density, size=2.0, thickness=3.0)
    assert found.is_watertight
    assert found.volume == pytest.approx(12 * 6 * 4 * 3, rel=0.01)
    assert np.ptp(found.vertices[:, 2]) == pytest.approx(3.0, rel=0.35)


@pytest.mark.parametrize("suffix", [".stl", ".3mf", ".obj"])
def test_files_read_back(tmp_path, suffix):
    path = write(tmp_path / f"ball{suffix}", ball(), size=0.5)
    again = trimesh.load(path, force="mesh")
    again.merge_vertices()
    assert again.is_watertight
    assert again.volume == pytest.approx(mesh(ball(), size=0.5).volume, rel=1e-5)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2)])
def test_cells_read_back(tmp_path, shape):
    density = np.random.default_rng(0).random(shape)
    u = np.random.default_rng(1).random((len(shape), *(n + 1 for n in shape)))
    path = write(tmp_path / "a.vtu", density, size=2.0, fields={"displacement": u, "energy": density * 2})
    again = meshio.read(path)
    assert np.allclose(again.cell_data["density"][0], density.ravel())
    assert np.allclose(again.cell_data["energy"][0], 2 * density.ravel())
    assert np.allclose(again.point_data["displacement"][:, 1], u[1].ravel())
    corner = again.points[again.cells[0].data[-1]]
    assert np.allclose(corner.mean(0)[: len(shape)], (np.array(shape) - 0.5) * 2)


def test_surfaces_become_elements_and_back():
    box = trimesh.creation.box(extents=[6, 4, 3])
    assert from_surface(box, size=0.5).all()
    assert from_surface(box, size=0.5).shape == (12, 8, 6)
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=10)
    mask = from_surface(sphere, size=1.0)
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * 1000, rel=0.01)
    assert np.array_equal(mask, mask[::-1])
    assert np.array_equal(from_surface(mesh(mask.astype(float)), size=1.0, shape=mask.shape, origin=np.zeros(3)), mask)


def test_open_surfaces_are_refused():
    box = trimesh.creation.box(extents=[6, 4, 3])
    open_ = trimesh.Trimesh(box.vertices, box.faces[1:])
    with pytest.raises(InputError, match="3 open edges"):
        from_surface(open_, size=1.0)


def test_what_a_printer_asks():
    cells = np.zeros((20, 12, 8))
    cells[2:18, 0:8, 2:6] = 1
    cells[8:12, 2:6, 3:5] = 0  # a hollow, closed
    found = printability(cells)
    assert (found.components, found.cavities) == (1, 1)
    assert found.volume == cells.sum()
    cells[8:12, 2:6, 2:6] = 0  # open to the sides
    assert printability(cells).cavities == 0
    table = np.zeros((30, 10))
    table[:, 8:] = 1
    table[14:16] = 1
    assert printability(table).overhang > 0.8
    assert printability(table).components == 1
    assert printability(np.flip(table, 1)).overhang == 0
    assert printability(table, size=2.0).thinnest == pytest.approx(2.0 * 2, abs=2.1)


def test_memory_grows_with_the_mesh():
    assert memory((160, 80, 80)) < 2e9
    assert memory((320, 160, 160)) > 6 * (memory((160, 80, 80)) - 2e8)


@pytest.mark.parametrize(("call", "says"), [
    (lambda t: write(t / "a.step", ball()), "path"), (lambda t: mesh(ball() * 3), "density"),
    (lambda t: mesh(ball() * 0.1), "material"), (lambda t: mesh(ball(), size=0), "size"),
    (lambda t: write(t / "a.vtu", ball(), fields={"x": np.ones(3)}), "field"),
    (lambda t: printability(np.zeros((3, 3))), "cells"), (lambda t: printability(np.ones((3, 3)), axis=2), "axis"),
    (lambda t: from_surface(t / "none.stl", size=1.0), "cannot be read"),
])  # fmt: skip
def test_bad_input(tmp_path, call, says):
    with pytest.raises(InputError, match=says):
        call(tmp_path)
