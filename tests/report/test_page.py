import re
from html.parser import HTMLParser

import pytest

from metaloop import InputError
from metaloop.report import figures
from metaloop.report.page import Cell, Figure, Heading, Table, Text, render, write

pytest.importorskip("matplotlib")
EVIL = "<script>alert('x')</script>\"&\x00\x1b"
VOID = {"meta", "br", "hr", "img", "path", "use"}


class Reader(HTMLParser):
    """Checks that tags nest, and collects tags, attributes and text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, k, v) for k, v in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, k, v) for k, v in attrs]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page():
    svg = figures.svg(figures.convergence([3.0, 1.0]))
    bars = figures.svg(figures.importance([EVIL], [1.0]))
    table = Table([EVIL, "n", "x"], [[EVIL, 1, 0.123456789], [Cell("no", "bad"), None, float("nan")]], EVIL)
    sections = [Heading(EVIL), Text([EVIL, "two"]), Text([EVIL], bullets=True), table, Heading("part", 3)]
    return render(EVIL, [*sections, Figure(svg, EVIL), Figure(svg, "the same again"), Figure(bars, "bars")])


def test_a_page_parses_and_shows_what_it_was_given_literally(page):
    reader = read(page)
    assert "script" not in reader.tags
    shown = "<script>alert('x')</script>\"&\ufffd\ufffd"
    body = read(page.partition("</head>")[2].removesuffix("</html>\n"))
    assert sum(shown in t for t in body.texts) == 8  # h1, h2, p, li, caption, th, td, figcaption
    assert {"h1", "h2", "h3", "table", "caption", "figure", "figcaption", "svg", "ul"} <= set(reader.tags)
    assert ("td", "class", "bad") in reader.attributes
    assert "0.123457" in reader.texts
    assert "–" in reader.texts


def test_a_page_asks_for_nothing_and_says_so(page):
    reader = read(page)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert ("meta", "content", policy) in reader.attributes
    assert ("meta", "charset", "utf-8") in reader.attributes
    assert any(k == "name" and v == "viewport" for _, k, v in reader.attributes)
    for _, key, value in reader.attributes:
        assert not key.startswith("on")
        if key in ("src", "href", "xlink:href", "style"):
            assert not re.search(r"https?:|//", value or "")
    assert not re.search(r"url\((?!#)|@import", page)
    assert "prefers-color-scheme:dark" in page


def test_ids_are_unique_and_references_find_them(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page))
    assert {a or b for a, b in used} <= set(ids)


def test_figures_have_a_text_alternative(page):
    reader = read(page)
    assert page.count('role="img"') == 3
    assert ("svg", "aria-label", "bars") in reader.attributes


def luminance(color):
    parts = (
        [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        if len(color) == 7
        else [int(c, 16) / 15 for c in color[1:]]
    )
    r, g, b = ((c / 12.92) if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_contrast_in_light_and_dark(page):
    from metaloop.report.style import DATA

    schemes = re.findall(r":root\{[^}]*\}", page)
    assert len(schemes) == 2
    for scheme in schemes:
        colors = dict(re.findall(r"--(\w+):(#[0-9a-f]+)", scheme))

        def contrast(a, b):
            low, high = sorted((luminance(a), luminance(b)))
            return (high + 0.05) / (low + 0.05)

        for name in ("ink", "soft", "good", "bad"):
            assert contrast(colors[name], colors["page"]) >= 4.5
        assert contrast(colors["ink"], colors["head"]) >= 4.5
        assert all(contrast(c, colors["page"]) >= 3 for c in DATA)


def test_write_replaces_a_page_at_once(tmp_path):
    path = write(tmp_path / "p.html", "one", [])
    write(path, "two", [Text("a single string is one paragraph")])
    assert "<h1>two</h1>" in path.read_text(encoding="utf-8")
    assert "<p>a single string is one paragraph</p>" in path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["p.html"]


@pytest.mark.parametrize(
    "section", ["text", Table(["a"], [[1, 2]]), Figure("<img>", "no svg"), None], ids=["str", "row", "svg", "none"]
)
def test_bad_sections_get_one_line(section):
    with pytest.raises(InputError):
        render("t", [section])


def test_a_missing_folder_gets_one_line(tmp_path):
    with pytest.raises(InputError, match="folder"):
        write(tmp_path / "none" / "p.html", "t", [])
