import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from metaloop import InputError
from metaloop.report import figures
from metaloop.report.style import DATA, literal, power_of_ten

pytest.importorskip("matplotlib")
NAN = float("nan")


def texts(svg):
    return [e.text for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture(scope="module")
def every():
    values = np.array([3.0, NAN, 0.004, 500.0])
    return {
        "convergence": figures.svg(figures.convergence(values, y_label="error (ratio)")),
        "runs": figures.svg(figures.convergence({"ours": values, "theirs": -values}, maximize=True)),
        "importance": figures.svg(figures.importance(["lr", "depth"], [0.7, NAN])),
        "slices": figures.svg(
            figures.slices(
                ["lr", "kernel", "degree"],
                [[1e-5, 1e-3, 1e-1, 1e-2], ["rbf", "poly", None, "rbf"], [None, 2, NAN, 3]],
                values,
                log=["lr"],
            )
        ),
    }


@pytest.mark.parametrize("which", ["convergence", "runs", "importance", "slices"])
def test_an_svg_takes_its_ink_from_the_page(every, which):
    svg = every[which]
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    colors = set(re.findall(r"#[0-9a-f]{6}\b", svg))
    assert colors <= set(DATA), "anything else would be invisible on one of the two backgrounds"
    # Every text says its color: without one it would be black.
    for tag in re.findall(r"<text [^>]*>", svg):
        assert "fill: currentColor" in tag
    assert not re.search(r"<rect|fill: (white|black)", svg.split("<defs>")[0])


def test_equal_figures_are_equal_text_and_drawing_twice_changes_nothing():
    figure = figures.convergence([3.0, 1.0, 2.0])
    first = figures.svg(figure)
    assert figures.svg(figure) == first == figures.svg(figures.convergence([3.0, 1.0, 2.0]))
    assert "date" not in first.lower()


@pytest.mark.parametrize(("maximize", "expected"), [(False, [NAN, 3, 3, 1, 1]), (True, [NAN, 3, 5, 5, 5])])
def test_the_best_so_far(maximize, expected):
    values = np.array([NAN, 3.0, 5.0, 1.0, np.inf])
    np.testing.assert_array_equal(figures.best_so_far(values, maximize=maximize), expected)


def test_convergence_draws_what_it_is_given():
    figure = figures.convergence([4.0, NAN, 2.0], y_label="loss (nats)")
    (axes,) = figure.axes
    dots, crosses = axes.collections
    np.testing.assert_array_equal(dots.get_offsets(), [[1, 4], [3, 2]])
    np.testing.assert_array_equal(crosses.get_offsets()[:, 0], [2])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [4, 4, 2])
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("trial", "loss (nats)", "linear")


@pytest.mark.parametrize(("values", "scale"), [([1, 9], "linear"), ([0.01, 99], "log"), ([-0.01, 99], "linear")])
def test_the_scale_is_logarithmic_only_for_positive_values_over_a_decade(values, scale):
    assert figures.convergence(values).axes[0].get_yscale() == scale


@pytest.mark.parametrize("values", [[], [NAN, NAN], [np.inf], {}, [7.0]])
def test_convergence_with_hardly_anything_to_show(values):
    assert figures.svg(figures.convergence(values)).startswith("<svg")


def test_importance_puts_the_largest_on_top():
    figure = figures.importance(["a", "b", "c"], [0.1, 0.7, NAN])
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["b", "a", "c"]
    assert axes.yaxis_inverted()
    assert [round(p.get_width()) for p in axes.patches] == [70, 10, 0]
    assert "unknown" in [t.get_text().strip() for t in axes.texts]


def test_slices_leave_out_what_is_inactive_and_ring_the_best():
    figure = figures.slices(["k", "c"], [[1, 2, 3], ["a", None, "b"]], [5.0, 1.0, NAN], log=["k"])
    k, c = figure.axes
    assert k.get_xscale() == "log"
    assert len(k.collections[0].get_offsets()) == 2
    np.testing.assert_allclose(k.collections[1].get_offsets(), [[2, 1]])
    assert len(c.collections) == 1, "the best trial has no `c`"
    assert len(c.collections[0].get_offsets()) == 1


def test_names_are_shown_as_they_are(every):
    svg = figures.svg(figures.slices(["$x^2$", "a<b&c"], [[1.0, 2.0], ["<script>", "$\\frac"]], [1.0, 2.0]))
    shown = texts(svg)
    assert {"$x^2$", "a<b&c", "<script>", "$\\frac"} <= set(shown)
    assert literal("a\n\x1b[31m\0b") == "a  [31m b"
    assert len(literal("x" * 500)) == 40
    figures.svg(figures.convergence([1.0], y_label="\N{PILE OF POO}"))  # a glyph the font lacks is no warning


def test_labels_of_logarithmic_axes():
    assert [power_of_ten(v) for v in (1e-5, 3e-7, 1e10, 0.0)] == ["10⁻⁵", "3·10⁻⁷", "10¹⁰", ""]
    assert power_of_ten(0.01, plain=True) == "0.01"
    figure = figures.convergence([1e-5, 1e-1])
    assert "10⁻⁵" in texts(figures.svg(figure))


@pytest.mark.parametrize(("ending", "begins"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_save(tmp_path, ending, begins):
    figure = figures.convergence([2.0, 1.0])
    path = tmp_path / f"f.{ending}"
    figures.save(figure, path)
    first = path.read_bytes()
    assert first.startswith(begins)
    figures.save(figure, path)
    assert path.read_bytes() == first or ending != "svg"


def test_bad_arguments_get_one_line(tmp_path):
    figure = figures.convergence([1.0])
    for call in (
        lambda: figures.save(figure, tmp_path / "f.exe"),
        lambda: figures.save(figure, tmp_path / "none" / "f.svg"),
        lambda: figures.convergence([[1.0]]),
        lambda: figures.convergence(["a"]),
        lambda: figures.importance(["a"], [0.5, 0.5]),
        lambda: figures.slices(["a"], [[1.0]], [1.0, 2.0]),
        lambda: figures.slices(["a", "b"], [[1.0]], [1.0]),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_without_matplotlib_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'metaloop\[plot\]'"):
        figures.convergence([1.0])


def test_settings_of_the_user_hold_again_afterwards():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.svg(figures.convergence([1.0, 2.0]))
    assert dict(matplotlib.rcParams) == before


def test_a_logarithmic_axis_within_a_decade_has_labels():
    figure = figures.convergence([0.06, 0.6, 0.3])
    figures.svg(figure)
    low, high = figure.axes[0].get_ylim()
    shown = [t for t in figure.axes[0].yaxis.get_ticklocs() if low <= t <= high]
    assert len(shown) >= 3
