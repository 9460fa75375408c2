"""The archive forgets what is settled and ranks what is infeasible."""

import numpy as np

from metaloop.optimizers.archive import Archive
from metaloop.optimizers.protocol import FAILED, PENDING, RELEASED, Observation


def test_pending_points_are_a_multiset():
    archive = Archive.empty(2)
    row = np.array([[0.5, np.nan]])
    archive.pend(np.concatenate([row, row]))
    archive.add(row, [Observation((1.0,))])
    assert len(archive.pending) == 1
    archive.add(row, [RELEASED])
    assert len(archive.pending) == 0
    assert len(archive) == 1
    archive.add(row, [PENDING])
    assert len(archive.pending) == 1


def test_merit_puts_infeasible_points_last_by_violation():
    archive = Archive.empty(1)
    pairs = [(5.0, ()), (-9.0, (2.0,)), (-9.0, (0.5, 0.5)), (1.0, (-1.0,))]
    told = [Observation((value,), constraints) for value, constraints in pairs]
    archive.add(np.zeros((5, 1)), [*told, FAILED])
    merit = archive.merit()
    assert np.argsort(merit).tolist() == [3, 0, 2, 1, 4]
    assert merit[0] == 5.0
    assert np.isnan(merit[4])


def test_merit_without_any_feasible_point():
    archive = Archive.empty(1)
    archive.add(np.zeros((2, 1)), [Observation((0.0,), (2.0,)), Observation((0.0,), (1.0,))])
    assert archive.merit()[1] < archive.merit()[0]
