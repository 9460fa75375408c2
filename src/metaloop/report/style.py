"""One style for every figure: it reads equally well on a light and on a dark page.

Ink (text, axes, ticks) is drawn in a sentinel color that becomes ``currentColor`` in the SVG, so the page decides.
Data colors are mid-tones with a contrast of at least 3.8 to 1 against both page backgrounds.
"""

from __future__ import annotations

import math
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from metaloop.errors import InputError

INK = "#010203"  # stands for the page's text color; nothing else is drawn in it
DATA = ("#2f7fd0", "#cf5a17", "#2a8f5c", "#8a63d2", "#1a8a96", "#d04a44")
FAILED = "#d04a44"

_RC: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "grid.linewidth": 0.8,
    "legend.edgecolor": "none",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "path.sketch": None,
    "savefig.facecolor": "none",
    "savefig.transparent": False,
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "metaloop",  # equal figures give equal files
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": INK,
    "xtick.labelsize": 9,
    "ytick.color": INK,
    "ytick.labelsize": 9,
}
_LOCK = threading.RLock()  # matplotlib's settings are global while a figure is made or written
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def need_matplotlib() -> Any:
    """The matplotlib package.

    Raises:
        InputError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise InputError("figures need matplotlib: pip install 'metaloop[plot]'") from None
    return matplotlib


@contextmanager
def applied() -> Iterator[None]:
    """The block in which figures are made and written; the user's own settings hold again after it."""
    matplotlib = need_matplotlib()
    with _LOCK, warnings.catch_warnings():
        # A name may hold characters that the font lacks; the browser shows them in another one.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": matplotlib.rcParams["backend"], **_RC}):
            yield


def literal(text: object, most: int = 40) -> str:
    """Text of a user's as matplotlib shows it: no formulas, one line, printable, at most `most` characters."""
    shown = "".join(c if c.isprintable() else " " for c in str(text))
    if len(shown) > most:
        shown = shown[: most - 1] + "…"
    return shown.replace("$", r"\$")


def power_of_ten(value: float, *, plain: bool = False) -> str:
    """A tick label of a logarithmic axis: 10⁻⁵, 3·10⁻⁵, or in plain digits."""
    if not value > 0 or not math.isfinite(value):
        return ""
    if plain:
        return f"{value:.6g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = value / 10.0**exponent
    power = "10" + str(exponent).translate(_SUPERSCRIPT)
    return power if abs(mantissa - 1) < 1e-6 else f"{mantissa:.3g}·{power}"


def for_page(svg: str) -> str:
    """Matplotlib's SVG as an element for a page: no prolog, no metadata, ink as ``currentColor``."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # names of groups repeat from figure to figure and serve nobody
    # Matplotlib names clips and markers by a hash of geometry that the layout moves in the last digits, draw by draw.
    for k, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg))):
        svg = re.sub(rf'(\bid="|url\(#|href="#){re.escape(name)}(?=["\)])', rf"\g<1>s{k}", svg)
    svg = svg.replace(INK, "currentColor")
    return svg.strip() + "\n"


def stand_alone(svg: str) -> str:
    """An element of `for_page` as a file of its own, dark on light pages and light on dark ones."""
    rule = "svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#e4e6eb}}"
    return svg.replace(">", f"><style>{rule}</style>", 1)
