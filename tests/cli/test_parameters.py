import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaloop import Categorical, Float, InputError, Int, Space
from metaloop.cli.parameters import parse_all


def one(text):
    (found,) = parse_all([text]).values()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr=float(1e-5,1e-1,log)", Float(1e-5, 1e-1, log=True)),
        (" lr = float( -1 , .5 , step=0.25 ) ", Float(-1, 0.5, step=0.25)),
        ("k=int(1,9)", Int(1, 9)),
        ("k=int(1,1e3,log)", Int(1, 1000, log=True)),
        ("k=INT(0,10,step=5)", Int(0, 10, step=5)),
        ("c=cat(rbf,poly)", Categorical(["rbf", "poly"])),
        ("c=cat(1,2.5,-3e2,1.2.3,nan)", Categorical([1, 2.5, -300.0, "1.2.3", "nan"])),
        ("c=cat(s,m,l,ordered)", Categorical(["s", "m", "l"], ordered=True)),
        ('c=cat("a,b","ordered","1",\'x"y\',"")', Categorical(["a,b", "ordered", "1", 'x"y', ""])),
        ("c=cat(f(x),g=1)", Categorical(["f(x)", "g=1"])),
        ("b=bool", Categorical([False, True])),
    ],
)
def test_kinds(text, expected):
    assert one(text) == expected


def test_conditions_mean_the_values_of_their_parents():
    found = parse_all(
        [
            "degree=int(2,5,when:kernel=poly)",  # a parent may come later
            "kernel=cat(rbf,poly,sigmoid)",
            "coef=float(0,1,when:kernel=poly|sigmoid,when:flag=true)",
            "flag=bool",
            "size=cat(1,'2')",
            "extra=bool(when:size=2)",
            "a.b=cat(x,y,when:size=1)",
        ]
    )
    space = Space(found)
    assert found["degree"].when == (("kernel", ("poly",)),)
    assert found["coef"].when == (("kernel", ("poly", "sigmoid")), ("flag", (True,)))
    assert found["extra"].when == (("size", ("2",)),)
    assert found["a.b"].when == (("size", (1,)),)
    assert list(found) == ["degree", "kernel", "coef", "flag", "size", "extra", "a.b"]
    assert space.dim == 7


def test_conditions_may_name_parameters_of_a_file():
    found = parse_all(["degree=int(2,5,when:kernel=poly)"], {"kernel": Categorical(["rbf", "poly"])})
    assert list(found) == ["kernel", "degree"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr", "NAME=KIND"),
        ("=float(1,2)", "NAME=KIND"),
        ("lr=flot(1,2)", "did you mean 'float'"),
        ("lr=float(1,2", "float\\(LOW,HIGH\\)"),
        ("lr=float(1)", "two bounds"),
        ("lr=float(2,1)", "low < high"),
        ("lr=float(0,1,log)", "greater than 0"),
        ("lr=float(1,2,lgo)", "did you mean 'log'"),
        ("lr=float(a,2)", "'a'"),
        ("lr=float(1,2,step=x)", "'x'"),
        ("k=int(1,2.5)", "whole number"),
        ("c=cat()", "at least one"),
        ("c=cat(a,a)", "all different"),
        ("c=cat(a,,b)", "empty"),
        ("c=cat('a,b)", "not closed"),
        ("b=bool(1)", "bool"),
        ("k=int(1,2,when:kernel)", "when:PARENT=VALUE"),
        ("k=int(1,2,when:kernel=a)", "no parameter"),
    ],
)
def test_errors_are_one_line_that_names_the_parameter(text, says):
    with pytest.raises(InputError, match=says) as caught:
        parse_all([text])
    message = str(caught.value)
    assert "\n" not in message
    assert repr(text.partition("=")[0].strip()) in message or "--param" in message


def test_a_name_is_given_once():
    with pytest.raises(InputError, match="twice"):
        parse_all(["k=int(1,2)", "k=int(1,3)"])


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_floats_survive_the_text(low, width):
    assert one(f"x=float({low!r},{low + width!r})") == Float(low, low + width)


@given(st.text(max_size=60))
def test_any_text_is_a_parameter_or_an_input_error(text):
    for candidate in (f"x={text}", f"x=cat({text})", f"x=float({text})"):
        with contextlib.suppress(InputError):
            parse_all([candidate])
