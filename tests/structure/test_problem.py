import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.problem import beam, cantilever, empty


def test_beam_and_cantilever_are_loaded_and_held():
    assert beam(6, 2).loads.sum() == -1
    p = cantilever((4, 3, 2))
    assert p.loads.sum() == pytest.approx(-1)
    assert p.supports[:, 0].all()
    assert p.supports.sum() == 3 * 4 * 3


def block(p, where):
    mask = np.zeros(p.shape, bool)
    mask[where] = True
    return mask


@pytest.mark.parametrize(("change", "says"), [
    ({"fraction": 0}, "fraction"), ({"fraction": 1.2}, "fraction"), ({"shape": (3,)}, "shape"),
    ({"supports": np.zeros((2, 7, 3), bool)}, "supports"), ({"supports": np.zeros((2, 3, 3), bool)}, "supports"),
    ({"loads": np.zeros((2, 7, 3))}, "load case 0"), ({"loads": np.ones((2, 3, 3))}, "loads"),
    ({"solid": np.ones((2, 2), bool)}, "solid"), ({"solid": np.ones((6, 2), bool)}, "solid"),
    ({"void": np.ones((6, 2), bool)}, "void"), ({"weights": [1.0, 2.0]}, "weights"), ({"weights": "best"}, "weights"),
    ({"weights": [-1.0]}, "weights"), ({"symmetry": (2,)}, "symmetry"), ({"size": 0}, "size"),
    ({"gravity": [1.0]}, "gravity"), ({"springs": np.ones(3)}, "springs"),
])  # fmt: skip
def test_bad_problems(change, says):
    with pytest.raises(InputError, match=says):
        beam(6, 2).with_(**change)


def test_loads_in_the_void_or_on_supports_are_refused():
    p = beam(6, 2)
    with pytest.raises(InputError, match=r"node \(0, 2\), in the void"):
        p.with_(void=block(p, (0, 1)))
    supports, load = empty((6, 2))
    supports[:, 0] = True
    load[1, 0, 0] = 1
    with pytest.raises(InputError, match="on supports alone"):
        p.with_(supports=supports, loads=load)
    with pytest.raises(InputError, match="overlap"):
        p.with_(solid=block(p, (3, 0)), void=block(p, (3, 0)))
