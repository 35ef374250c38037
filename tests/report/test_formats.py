"""The report as HTML, LaTeX and Markdown: whole, balanced, and text never taken for markup."""

import html.parser
import re

import pytest

from mdhr_jax.report import html as html_writer
from mdhr_jax.report import latex, markdown
from mdhr_jax.report.document import Bullets, Cell, Grid, Heading, Paragraph
from tests.report.made_report import of_model

AWKWARD = r"""a|b *c* _d_ <e> [f](g) `h` 50 % & $x$ #1 {i} \j ~ ^ "k" −1 –"""


class Page(html.parser.HTMLParser):
    """Checks that tags close in order and collects what is in them."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.ids, self.tables, self.captions, self.unscoped = [], [], [], 0, 0, 0

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.unscoped += tag == "th" and "scope" not in attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_its_tables_are_named(made):
    _, out = made
    text = (out / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.tables == page.captions > 10
    assert page.unscoped == 0
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#R") and link[1:] in page.ids for link in page.links)
    assert "http" not in text.replace("</html>", "")
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')


def test_latex_is_balanced_and_its_rows_fit_their_columns(made):
    _, out = made
    text = (out / "report.tex").read_text()
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    tables = re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(tables) > 5
    for columns, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) > 1
        assert all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)
    assert r"\usepackage{booktabs}" in text
    assert not re.search(r"(?<!\\)[#$]|(?<!\\)_", text.partition(r"\begin{document}")[2])
    # Nothing is wider than the page, and no caption has a number before that of the paper's table.
    assert text.count(r"\resizebox{\ifdim\width>\linewidth") == len(tables)
    assert r"\renewcommand{\@makecaption}" in text
    assert "−" not in text


def test_print_names_the_runs_of_its_numbers_and_what_they_are(made):
    content, out = made
    text = (out / "report.tex").read_text()
    plain = re.sub(r"\\([_#&])", r"\1", re.sub(r"\{\\scriptsize ([^{}]*)\}", r"\1", text))
    backbone = of_model(content, "tiny")["means"]["f1"]["runs"]
    assert f" {', '.join(backbone)} " in plain
    lines = plain.splitlines()
    for run in content["runs"]:
        (line,) = [line for line in lines if line.startswith(f"{run['id']} & {run['directory']} & ")]
        if run["used"]:
            assert f" & {run['config_hash']} & 40 & is gone " in line
        else:
            assert f" & {run['state']} & " in line


def test_a_table_too_wide_for_print_has_its_intervals_below_and_a_high_one_is_several():
    number = Cell("12.3 (4.5 to 67.8) *", ("R1", "R2"))
    wide = Grid("wide", ("Row", *["Measure (95 %)"] * 8), ((Cell("one"), *[number] * 8),) * 2)
    text = latex.write([wide])
    assert " & ".join([r"one", *[r"12.3 \textasteriskcentered{}"] * 8]) + r" \\" in text
    assert text.count(r"{\scriptsize (4.5 to 67.8)}") == text.count(r"{\scriptsize R1, R2}") == 16
    assert text.count(r"\begin{table}") == 1
    narrow = latex.write([Grid("narrow", ("Row", "F1"), ((Cell("one"), number),))])
    assert r"one & 12.3 (4.5 to 67.8) \textasteriskcentered{} {\scriptsize R1, R2} \\" in narrow
    high = latex.write([Grid("high", ("Row",), tuple((Cell(f"x{n}y"),) for n in range(60)), notes=("seen",))])
    assert [f"({n} of 2)" in high for n in (1, 2)] == [True, True]
    assert [high.count(f"x{n}y") for n in range(60)] == [1] * 60
    assert high.count("seen") == 1
    rows = tuple((Cell(f"x{n}y"), *[number] * 9) for n in range(17))
    tall = latex.write([Grid("tall", ("Row", *["Measure"] * 9), rows)])
    assert tall.count(r"\begin{table}") == 2
    middle = tall.index(r"\end{table}")
    assert tall.index("x8y") < middle < tall.index("x9y")
    lone = Grid("lone", ("Row", *["AU"] * 13), ((Cell("one"), *[Cell("4.5 to 67.8")] * 13),))
    text = latex.write([lone])
    assert text.count(r"{\scriptsize 4.5 to}") == text.count(r"{\scriptsize 67.8}") == 13
    assert high.index("x29y") < high.index(r"\end{table}") < high.index("x30y")


def test_tables_for_print_are_in_print_only():
    grid = Grid("for paper", ("A",), ((Cell("x"),),), where="print")
    assert "for paper" in latex.write([grid])
    assert "for paper" not in markdown.write([grid]) + html_writer.write([grid])


def test_text_is_never_markup():
    grid = Grid(AWKWARD, ("A", AWKWARD), ((Cell(AWKWARD), Cell(AWKWARD)),), notes=(AWKWARD,))
    blocks = [Heading(1, AWKWARD), Paragraph(AWKWARD), Bullets((AWKWARD,)), grid]
    page = Page()
    page.feed(html_writer.write(blocks))
    assert page.open == []
    assert html_writer.html.escape(AWKWARD) in html_writer.write(blocks)
    lines = markdown.write(blocks).splitlines()
    assert r"a\|b \*c\* \_d\_ \<e\> \[f\](g) \`h\` 50 % & $x$ \#1" in lines[0]
    (row,) = [line for line in lines if line.startswith(r"| a\|b")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    text = latex.write(blocks)
    assert r"50 \% \& \$x\$ \#1 \{i\} \textbackslash{}j \textasciitilde{} \textasciicircum{}" in text
    assert r"\ensuremath{-}1 --" in text


def test_a_row_that_does_not_fit_its_table_is_refused():
    with pytest.raises(ValueError, match="has 2 columns, a row has 1"):
        Grid("t", ("A", "B"), ((Cell("x"),),))


def test_headings_without_anything_to_print_are_left_out():
    runs = Grid("r", ("A",), ((Cell("x"),),), where="screen")
    text = latex.write(
        [
            Heading(1, "one"),
            Heading(2, "two"),
            runs,
            Heading(2, "three"),
            Paragraph("p"),
            Heading(2, "four"),
            runs,
        ]
    )
    assert "two" not in text
    assert "four" not in text
    assert text.index("one") < text.index("three") < text.index("\np\n")
