"""One self-contained HTML file: no scripts, no requests, readable in light and dark, all text escaped.

```python
write("out.html", "A run", [Heading("Convergence"), Figure(svg(figure), "Best value so far against trials.")])
```
"""

from __future__ import annotations

import html
import itertools
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from metaloop.errors import refuse

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

_CSS = """
:root{color-scheme:light dark;--page:#fff;--ink:#1f2328;--soft:#5b626d;--line:#d8dce2;--head:#f4f6f8;
--good:#1f7a4d;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--page:#16181d;--ink:#e4e6eb;--soft:#a2a9b5;--line:#363b44;--head:#1f2329;
--good:#5cc992;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
main{max-width:50rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.8rem;line-height:1.2;margin:0 0 1.2rem;text-wrap:balance}
h2{font-size:1.25rem;line-height:1.3;margin:2.4rem 0 .6rem}
h3{font-size:1.05rem;margin:1.6rem 0 .4rem}
p{margin:0 0 .8rem;max-width:42rem}
ul{margin:0 0 1rem;padding-left:1.3rem;max-width:42rem}
li{margin:.3rem 0}
.scroll{overflow-x:auto;margin:.8rem 0 1.4rem}
table{border-collapse:collapse;font-size:.9rem;min-width:60%}
caption{text-align:left;color:var(--soft);padding:0 0 .4rem}
th,td{padding:.4rem .8rem .4rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;
overflow-wrap:normal}
th{background:var(--head);font-weight:600}
td:first-child{min-width:11rem}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.good{color:var(--good);font-weight:600}
td.bad{color:var(--bad);font-weight:600}
figure{margin:1rem 0 1.8rem}
figure .scroll{margin:0}
figure svg{display:block;max-width:100%;height:auto;color:var(--ink)}
@media(max-width:34rem){figure svg{max-width:none;width:32rem}}
figure svg text{font-family:inherit!important}
figcaption{color:var(--soft);font-size:.9rem;margin-top:.4rem;max-width:42rem}
@media print{main{max-width:none;padding:0}figure,tr{break-inside:avoid}}
"""


@dataclass(frozen=True)
class Heading:
    """A heading of level 2 (a section) or 3 (a part of one)."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text; as a list where `bullets`."""

    paragraphs: Sequence[str]
    bullets: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell whose color says more than its text does: `tone` is "good" or "bad"."""

    text: str
    tone: str


@dataclass(frozen=True)
class Table:
    """A table. Cells are strings, numbers (set right, 6 digits), None (a dash) or `Cell`.

    Attributes:
        header: one name a column.
        rows: each as long as the header.
        caption: what the table shows.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """An SVG element (as `figures.svg` gives it) and its caption, which is also its text alternative.

    Attributes:
        svg: the element; it is not escaped, so it must be of our own making.
        caption: what is seen, in a sentence or two.
        name: its file name without ending, where it is written on its own; by default its position.
    """

    svg: str
    caption: str
    name: str = ""


Section: TypeAlias = Heading | Text | Table | Figure


def render(title: str, sections: Iterable[Section], *, language: str = "en") -> str:
    """The page as a string.

    Args:
        title: the page's first heading.
        sections: what follows, in order.
        language: of the text, as HTML names it.

    Raises:
        InputError: a section of an unknown kind, or a table whose rows do not fit its header.
    """
    counter = itertools.count(1)
    body = "\n".join(_section(s, counter) for s in sections)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html>\n<html lang="{_escape(language)}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{_escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def write(path: str | Path, title: str, sections: Iterable[Section]) -> Path:
    """Write the page; an older file is replaced at once or not at all.

    Returns:
        the path.

    Raises:
        InputError: see `render`; or a folder that does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise refuse("path", str(path), "in a folder that exists")
    text = render(title, sections)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)  # mkstemp's files are private; a page is meant to be read
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _section(section: Section, counter: Any) -> str:
    match section:
        case Heading(text, level):
            tag = "h3" if level >= 3 else "h2"
            return f"<{tag}>{_escape(text)}</{tag}>"
        case Text(paragraphs, bullets):
            lines = [paragraphs] if isinstance(paragraphs, str) else list(paragraphs)
            if bullets:
                return "<ul>\n" + "\n".join(f"<li>{_escape(p)}</li>" for p in lines) + "\n</ul>"
            return "\n".join(f"<p>{_escape(p)}</p>" for p in lines)
        case Table():
            return _table(section)
        case Figure(svg, caption):
            element = _inline(svg, caption, next(counter))
            return (
                f'<figure>\n<div class="scroll">{element}</div>\n<figcaption>{_escape(caption)}</figcaption>\n</figure>'
            )
    raise refuse("section", section, "a Heading, Text, Table or Figure")


def _table(table: Table) -> str:
    columns = len(table.header)
    for row in table.rows:
        if len(row) != columns:
            raise refuse("row", list(row), f"as long as the header: {columns} cells")
    numeric = [bool(table.rows) and all(r[j] is None or _is_number(r[j]) for r in table.rows) for j in range(columns)]
    caption = f"<caption>{_escape(table.caption)}</caption>" if table.caption else ""
    head = "".join(
        f'<th scope="col"{" class=number" if numeric[j] else ""}>{_escape(name)}</th>'
        for j, name in enumerate(table.header)
    )
    rows = "\n".join(
        "<tr>" + "".join(_cell(value, numeric[j]) for j, value in enumerate(row)) + "</tr>" for row in table.rows
    )
    # A wide table scrolls within itself; tabindex lets the keyboard reach it.
    return (
        f'<div class="scroll" tabindex="0"><table>{caption}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _cell(value: Any, numeric: bool) -> str:
    if isinstance(value, Cell):
        tone = value.tone if value.tone in ("good", "bad") else ""
        return f'<td class="{tone}">{_escape(value.text)}</td>'
    if _is_number(value):
        text = str(value) if isinstance(value, int) else f"{value:.6g}"
    else:
        text = "–" if value is None else str(value)
    return f'<td class="number">{_escape(text)}</td>' if numeric else f"<td>{_escape(text)}</td>"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _inline(svg: str, caption: str, number: int) -> str:
    """The element with ids of its own on the page, and a text alternative."""
    if not svg.lstrip().startswith("<svg"):
        raise refuse("svg", svg[:40], "an SVG element, as figures.svg gives it")
    svg = re.sub(r'\bid="', f'id="f{number}-', svg)
    svg = re.sub(r"url\(#", f"url(#f{number}-", svg)
    svg = re.sub(r'href="#', f'href="#f{number}-', svg)
    return svg.lstrip().replace("<svg", f'<svg role="img" aria-label="{_escape(caption)}"', 1)


def _escape(text: object) -> str:
    """Text as HTML shows it literally; control characters, which no HTML may hold, become U+FFFD."""
    return html.escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text)), quote=True)
