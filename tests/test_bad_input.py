"""Bad input gets one clear line: the parameter, what it was, what it may be."""

import pytest

import metaloop as ml

BOX = ml.Space(x=ml.Float(0, 1))
TWO = {"k": ml.Categorical(["a", "b"])}


def f(config):
    return 0.0


def minimize(**options):
    ml.minimize(**{"objective": f, "space": BOX, "budget": 2} | options)


CASES = {
    "no bounds": (lambda: minimize(space=[]), r"bounds was \[\]; it may be a list with at least one"),
    "reversed bounds": (lambda: minimize(space=[(0, 1), (1, 0)]), r"bounds\[1\] was \(1, 0\)"),
    "equal bounds": (lambda: minimize(space=[(0, 0)]), r"bounds\[0\] was \(0, 0\)"),
    "infinite bounds": (lambda: minimize(space=[(0, float("inf"))]), "two finite numbers"),
    "three bounds": (lambda: minimize(space=[(0, 1, 2)]), "a list of"),
    "no space": (lambda: minimize(space=None), "give a space"),
    "an empty space": (ml.Space, "at least one parameter"),
    "reversed float": (lambda: ml.Float(1, 0), "low, high was"),
    "log of zero": (lambda: ml.Float(0, 1, log=True), "low was 0; it may be greater than 0 when log=True"),
    "log of a negative": (lambda: ml.Float(-1, 1, log=True), "low was -1"),
    "log of a whole zero": (lambda: ml.Int(0, 5, log=True), "low was 0; it may be at least 1"),
    "a step of nothing": (lambda: ml.Float(0, 1, step=0), "step was 0"),
    "no choices": (lambda: ml.Categorical([]), "at least one choice"),
    "equal choices": (lambda: ml.Categorical(["a", "a"]), "all different"),
    "a name twice": (lambda: ml.Space({"x": ml.Float(0, 1)}, x=ml.Float(0, 1)), "given once"),
    "an unknown parent": (lambda: ml.Space(**TWO, x=ml.Float(0, 1, when={"kk": "a"})), "'kk', .*did you mean 'k'"),
    "an unknown value": (lambda: ml.Space(**TWO, x=ml.Float(0, 1, when={"k": "c"})), r"k was 'c'; .*\['a', 'b'\]"),
    "its own parent": (lambda: ml.Space(x=ml.Int(0, 1, when={"x": 1})), "free of circles"),
    "never true": (
        lambda: ml.Space(a=ml.Int(0, 1), b=ml.Int(0, 1, when={"a": 0}), c=ml.Int(0, 1, when={"a": 1, "b": 1})),
        "when of 'c' was .*never true: it needs 'a' to have two values",
    ),
    "everything forbidden": (lambda: minimize(space=ml.Space(x=ml.Float(0, 1), forbidden=["x >= 0"])), "satisfiable"),
    "all values forbidden": (
        lambda: minimize(space=ml.Space(x=ml.Int(0, 1), forbidden=["x >= 0"])),
        "all 2 configurations are forbidden",
    ),
    "a forbidden call": (lambda: ml.Space(x=ml.Float(0, 1), forbidden=["exit()"]), "forbidden"),
    "a grid without levels": (lambda: minimize(optimizer=ml.GridSearch()), "a number of levels for the continuous 'x'"),
    "a grid of one level": (lambda: ml.GridSearch(levels=1), "levels was 1"),
    "levels of an unknown": (lambda: minimize(optimizer=ml.GridSearch(levels={"y": 3})), "levels was 'y'"),
    "no budget": (lambda: minimize(budget=0), "budget was 0; it may be a whole number of trials, at least 1"),
    "a negative budget": (lambda: minimize(budget=-3), "budget was -3"),
    "a text budget": (lambda: minimize(budget="10"), "budget was '10'"),
    "an unknown optimizer": (lambda: minimize(optimizer="CMEAS"), "did you mean 'CMAES'"),
    "a class": (lambda: minimize(optimizer=ml.CMAES), r"write CMAES\(\)"),
    "no optimizer": (lambda: minimize(optimizer=3), "optimizer was 3"),
    "a negative seed": (lambda: minimize(seed=-1), "seed was -1"),
    "noisy text": (lambda: minimize(noisy="yes"), "noisy was 'yes'; it may be True, False or None"),
    "no callback": (lambda: minimize(callback=3), "callback was 3"),
    "a start outside": (lambda: minimize(start=[{"x": 2}]), "x was 2"),
    "one start": (lambda: minimize(start={"x": 0.5}), "a list of configurations"),
    "a start of numbers": (lambda: minimize(start=[3]), "a list of configurations"),
    "an unknown store": (lambda: minimize(store="x://y"), "store was 'x://y'"),
    "a text step size": (lambda: ml.CMAES(sigma0="a"), "sigma0 was 'a'; it may be a number in"),
    "a truth value": (lambda: ml.CMAES(damping=True), "damping was True"),
    "a negative kappa": (lambda: ml.GaussianProcess(kappa=-1), "kappa was -1"),
    "half a point": (lambda: ml.GaussianProcess(initial=1.5), "initial was 1.5"),
    "text members": (lambda: ml.DifferentialEvolution(population="a"), "population was 'a'"),
    "a text plan": (lambda: ml.Auto(budget="a"), "budget was 'a'"),
    "nothing to tune": (lambda: ml.tune(ml.RandomSearch(), [lambda r, s: 1.0], budget=9), "tunable fields"),
    "no tasks": (lambda: ml.tune(ml.CMAES(), [], budget=9), "tasks was"),
    "an unknown field": (lambda: ml.configure(ml.CMAES(), {"sigma": 1}), "did you mean 'sigma0'"),
    "a point outside": (lambda: ml.AskTell("CMAES", BOX).tell([{"x": 5}], [1.0]), "x was 5"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_line(case):
    call, says = CASES[case]
    with pytest.raises(ml.InputError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
