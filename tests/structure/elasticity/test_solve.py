"""Against assembled matrices and a direct solver, and against what is known by hand."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from metaloop.errors import InputError
from metaloop.structure.elasticity import kernels, transfer
from metaloop.structure.elasticity.element import conducting, elastic
from metaloop.structure.elasticity.solve import Body


def assembled(body, moduli):
    grid, element = body.grid, body.element
    c = element.components
    numbers = grid.elements()
    dof = ((numbers[:, None, None] + grid.offsets[:, None]) + grid.size * np.arange(c)).reshape(len(numbers), -1)
    n = dof.shape[1]
    entries = moduli.ravel()[:, None, None] * element.matrix
    place = (np.repeat(dof, n, 1).ravel(), np.tile(dof, (1, n)).ravel())
    return scipy.sparse.coo_matrix((entries.ravel(), place), shape=(c * grid.size,) * 2).tocsc()


def case(shape, element, springs=False, seed=0):
    rng = np.random.default_rng(seed)
    nodes = tuple(n + 1 for n in shape)
    unknowns = (element.components, *nodes)
    fixed, stiff = np.zeros(unknowns, bool), np.zeros(unknowns)
    fixed[:, 0] = True
    fixed[(0, 3, 2) + (1,) * (len(shape) - 2)] = True  # a support in the middle that no coarser node can hold
    if springs:
        stiff[(0, -1, -1) + (0,) * (len(shape) - 2)] = 0.3
        stiff[(-1, 5, 3) + (2,) * (len(shape) - 2)] = 2.0
    moduli = rng.random(shape) + 0.05
    load = rng.normal(size=unknowns)
    return Body(element, shape, fixed, stiff), moduli, load, stiff


SHAPES = [((13, 7), elastic(2)), ((40, 27), elastic(2, 0.1)), ((9, 6, 11), elastic(3)), ((40, 27), conducting(2)),
          ((12, 9, 11), conducting(3))]  # fmt: skip


@pytest.mark.parametrize("springs", [False, True])
@pytest.mark.parametrize(("shape", "element"), SHAPES)
def test_solutions_are_those_of_the_assembled_matrix(shape, element, springs):
    body, moduli, load, stiff = case(shape, element, springs)
    found = body.set(moduli).solve(load, tolerance=1e-8)
    matrix = assembled(body, moduli) + scipy.sparse.diags(stiff.ravel()).tocsc()
    free = np.flatnonzero(~body.fixed.ravel())
    exact = np.zeros(load.size)
    exact[free] = scipy.sparse.linalg.spsolve(matrix[free][:, free], load.ravel()[free])
    assert found.converged
    assert np.abs(found.values.ravel() - exact).max() < 1e-7 * np.abs(exact).max()
    work = float(exact @ load.ravel())
    assert found.work == pytest.approx(work, rel=1e-10)
    rough = body.set(moduli).solve(load, tolerance=1e-3)
    assert rough.work == pytest.approx(work, rel=3e-6)
    assert rough.iterations < found.iterations


@pytest.mark.parametrize(
    ("shape", "element"), [((40, 27), elastic(2)), ((14, 6, 13), elastic(3)), ((60, 41), conducting(2))]
)
def test_every_level_is_the_galerkin_product(shape, element):
    body, moduli, _, _ = case(shape, element, springs=True)
    made = body.set(moduli)
    hierarchy, levels = made.hierarchy, body.plan.levels
    assert len(levels) >= 3
    c = element.components
    matrix = assembled(body, moduli / moduli.max()).toarray() + np.diag(body._flat_springs.ravel() / moduli.max())
    for depth, level in enumerate(levels):
        units = np.eye(c * level.grid.size, dtype=np.float32)
        if depth:
            below = levels[depth - 1]
            p = np.zeros((c * below.grid.size, len(units)), np.float32)
            for u, column in zip(units, p.T, strict=True):
                fine = np.zeros((c, below.grid.size), np.float32)
                transfer.prolong_add(u.reshape(c, -1), below.grid.box, level.grid.box, np.ones_like(fine), fine)
                column[:] = fine.ravel()
            given = np.random.default_rng(0).normal(size=(c, below.grid.size)).astype(np.float32)
            restricted = np.empty((c, level.grid.size), np.float32)
            transfer.restrict(given, below.grid.box, level.grid.box, restricted)
            assert np.allclose(restricted.ravel(), p.T @ given.ravel(), atol=1e-5)
            p[below.fixed.ravel()] = 0
            matrix = p.T @ matrix @ p
        if c * level.grid.size < 700:  # column by column
            free = ~level.fixed.ravel()
            out = np.empty((c, level.grid.size), np.float32)
            columns = []
            for u in units:
                hierarchy.apply(depth, np.ascontiguousarray(u.reshape(c, -1)), out)
                columns.append(out.ravel().copy())
            apart = np.abs(np.stack(columns, 1) - matrix)[np.ix_(free, free)]
            assert apart.max() < 2e-6 * np.abs(matrix).max()
            inverse = hierarchy.values[depth].inverse.ravel()
            assert np.allclose(inverse[free] * np.diag(matrix)[free], 1, rtol=1e-5)
            assert not inverse[~free].any()


def test_a_bar_in_tension_stretches_by_hand():
    # Poisson's ratio 0: u = F L / (E A), here 1 · 12 / (2 · 3), everywhere linear.
    shape = (12, 3)
    fixed, load = np.zeros((2, 13, 4), bool), np.zeros((2, 13, 4))
    fixed[0, 0] = True
    fixed[1, 0, 0] = True
    load[0, -1] = np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6])
    found = Body(elastic(2, 0.0), shape, fixed).set(np.full(shape, 2.0)).solve(load, tolerance=1e-9)
    assert np.allclose(found.values[0], np.linspace(0, 2, 13)[:, None], atol=1e-8)
    assert found.work == pytest.approx(2.0, rel=1e-9)


def test_heat_through_a_wall():
    shape = (8, 4, 4)
    fixed, load = np.zeros((1, 9, 5, 5), bool), np.zeros((1, 9, 5, 5))
    fixed[0, 0] = True
    edge = np.array([0.5, 1, 1, 1, 0.5]) / 4
    load[0, -1] = np.outer(edge, edge)
    found = Body(conducting(3), shape, fixed).set(np.ones(shape)).solve(load, tolerance=1e-9)
    assert np.allclose(found.values[0], (np.arange(9) / 16)[:, None, None], atol=1e-8)


def test_energies_add_up_to_the_work():
    body, moduli, load, _ = case((40, 27), elastic(2))
    found = body.set(moduli).solve(load, tolerance=1e-9)
    assert (moduli * body.energies(found.values, found.values)).sum() == pytest.approx(found.work, rel=1e-8)


def test_a_start_saves_iterations():
    body, moduli, load, _ = case((60, 30), elastic(2))
    first = body.set(moduli).solve(load, tolerance=1e-6)
    again = body.set(moduli * 1.01).solve(load, first.values, tolerance=1e-3)
    fresh = body.set(moduli * 1.01).solve(load, tolerance=1e-3)
    assert again.iterations <= fresh.iterations // 2
    assert again.work == pytest.approx(first.work / 1.01, rel=1e-5)


def test_threads_compute_the_same(monkeypatch):
    body, moduli, load, _ = case((14, 6, 13), elastic(3))
    one = body.set(moduli).solve(load)
    monkeypatch.setattr(kernels, "parts", lambda size, reach: 3)
    two = body.set(moduli).solve(load)
    assert two.iterations == one.iterations
    assert np.allclose(two.values, one.values, rtol=1e-4, atol=1e-6 * np.abs(one.values).max())


def test_scales_do_not_matter():
    body, moduli, load, _ = case((40, 27), elastic(2))
    one = body.set(moduli).solve(load)
    two = body.set(moduli * 2.1e11).solve(load * 1e-7)
    assert two.iterations == one.iterations
    assert np.allclose(two.values * (2.1e11 / 1e-7), one.values, rtol=1e-9, atol=1e-12 * np.abs(one.values).max())


def test_iterations_hardly_grow_with_the_mesh():
    def count(n):
        shape = (2 * n, n)
        fixed, load = np.zeros((2, 2 * n + 1, n + 1), bool), np.zeros((2, 2 * n + 1, n + 1))
        fixed[:, 0] = True
        load[1, -1, 0] = 1
        x, y = np.meshgrid(np.linspace(0, 12, 2 * n), np.linspace(0, 6, n), indexing="ij")
        moduli = 1e-9 + (1 - (np.sin(x) * np.sin(y)) ** 2) ** 6  # holes
        return Body(elastic(2), shape, fixed).set(moduli).solve(load).iterations

    counts = [count(n) for n in (32, 64, 128, 256)]
    assert max(counts) <= 30


def test_too_few_iterations_are_said():
    body, moduli, load, _ = case((40, 27), elastic(2))
    found = body.set(moduli).solve(load, tolerance=1e-6, limit=2)
    assert not found.converged
    assert "not converged after 2" in found.status
    assert found.residual > 0


@pytest.mark.parametrize(("change", "says"), [
    (lambda f: f.fill(False), "at least one"),
    (lambda f: f[1].fill(False), "shift along y"),
    (lambda f: (f.fill(False), f[:, 0, 0].fill(True)), "rotation in the plane of x and y"),
])  # fmt: skip
def test_supports_that_hold_nothing(change, says):
    fixed = np.ones((2, 5, 4), bool)
    change(fixed)
    with pytest.raises(InputError, match=says):
        Body(elastic(2), (4, 3), fixed)


@pytest.mark.parametrize(("call", "says"), [
    (lambda b, m, f: Body(elastic(2), (4, 3, 2), b.fixed), "shape"),
    (lambda b, m, f: Body(elastic(2), (4, 3), b.fixed), "fixed"),
    (lambda b, m, f: Body(elastic(2), b.grid.shape, b.fixed, -np.ones(b.unknowns)), "springs"),
    (lambda b, m, f: b.set(m[1:]), "moduli"),
    (lambda b, m, f: b.set(m * 0), "moduli"),
    (lambda b, m, f: b.set(m * np.nan), "moduli"),
    (lambda b, m, f: b.set(m).solve(f[:, 1:]), "load"),
    (lambda b, m, f: b.set(m).solve(f * np.inf), "load"),
    (lambda b, m, f: b.set(m).solve(f * b.fixed), "free"),
    (lambda b, m, f: b.set(m).solve(f, tolerance=0), "tolerance"),
])  # fmt: skip
def test_bad_input(call, says):
    body, moduli, load, _ = case((13, 7), elastic(2))
    with pytest.raises(InputError, match=says):
        call(body, moduli, load)
