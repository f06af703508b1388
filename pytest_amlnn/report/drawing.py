"""Pictures as SVG within a page: readable on light and on dark, and without a request."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard
from xml.etree import ElementTree

from pytest_amlnn.escapes import visible

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

INK = "#010203"
"""Stands for the page's own colour of text, which is dark or light."""
GREY = "#888888"
"""Of what is no model: a floor, a frontier."""
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56a4d9"),
    *("#8c6bb1", "#7a7a7a", "#c0504d", "#4f9d9d", "#9aa336", "#a06a42"),
)
"""Of models, in this order; those of Okabe and Ito (2008) that show on both grounds first."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # words stay words: short, and found by a search
    "svg.hashsalt": "pytest-amlnn",  # the same file each time
    "path.simplify": False,
    "text.parse_math": False,  # a model may be called $x$
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
}
LEFT, RIGHT, BOTTOM, TOP = 0.62, 0.1, 0.5, 0.3
"""Margins of a drawing, in inches."""

ENLARGED = 1.4
"""Pixels of a screen for each point of a drawing."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What can be pointed at: where axes lie, and the values of lines and points on them."""

    axes: tuple[dict[str, Any], ...] = ()
    lines: tuple[dict[str, Any], ...] = ()
    """Each of one axis: model, what it is, and its values from 1 on."""
    points: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture, and the same in words."""

    title: str
    svg: str
    words: str
    """What it shows, for who cannot see it."""
    caption: str = ""
    """How to read it."""
    marks: Marks = field(default=Marks())


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of a page: each has one colour, and one switch, in all of its pictures."""

    names: tuple[str, ...]

    def colour(self, model: str) -> str:
        """Return the colour of a model."""
        return COLOURS[self.number(model) % len(COLOURS)]

    def number(self, model: str) -> int:
        """Return its place."""
        return self.names.index(model) if model in self.names else 0

    def of(self, model: str) -> dict[str, Any]:
        """Return what marks a line or point as a model's."""
        return {"color": self.colour(model), "gid": f"model-{self.number(model)}"}


@contextmanager
def own_style() -> Iterator[None]:
    """Draw as this page wants it, whatever the user has set for drawings of their own."""
    import matplotlib as mpl
    import numpy as np

    with np.errstate(all="ignore"), warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")  # of whatever numbers a record holds
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def panels(
    count: int,
    *,
    columns: int,
    width: float,
    height: float,
    gap: tuple[float, float] = (0.15, 0.4),
    left: float = LEFT,
    right: float = RIGHT,
    shared: bool = True,
) -> tuple[Drawing, list[Axes]]:
    """Return a drawing with panels of a size in inches, a row after the other.

    The margins are fixed: matplotlib's own layouts cost more than all the drawing.
    """
    from matplotlib.figure import Figure as New

    columns = min(columns, count)
    rows = -(-count // columns)
    across = left + right + columns * width + (columns - 1) * gap[0]
    up = BOTTOM + TOP + rows * height + (rows - 1) * gap[1]
    drawing = New(figsize=(across, up), dpi=72)
    axes: list[Axes] = []
    for number in range(count):
        row, column = divmod(number, columns)
        place = (
            (left + column * (width + gap[0])) / across,
            1 - (TOP + (row + 1) * height + row * gap[1]) / up,
            width / across,
            height / up,
        )
        first = axes[0] if axes and shared else None
        axes.append(drawing.add_axes(place, sharex=first, sharey=first))
        if shared:
            axes[-1].tick_params(labelleft=column == 0)
            axes[-1].tick_params(labelbottom=number + columns >= count)
    return drawing, axes


def key(axis: Axes, entries: Mapping[str, Any]) -> None:
    """Put names of lines, with their styles, into a corner."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=INK, linestyle=style, linewidth=1.2) for style in entries.values()
    ]
    axis.legend(lines, [*entries], fontsize=7, loc="upper right")


# SVG


def svg_of(drawing: Drawing, title: str) -> str:
    """Return a drawing as an SVG element; its ids begin with a digest of the title."""
    stream = io.StringIO()
    drawing.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    lines = stream.getvalue().split("\n")
    root = ElementTree.fromstring(
        "\n".join(map(visible, lines))
    )  # XML has no control characters
    for name in ("height", "version"):
        del root.attrib[name]
    width = 72 * float(drawing.get_size_inches()[0])
    root.attrib["width"] = f"{ENLARGED * width:.0f}"  # at most: it shrinks with the page
    prefix = f"f{hashlib.sha256(title.encode()).hexdigest()[:6]}-"
    clean(root, prefix, referred_to(root))
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


REFERENCE = re.compile(r"url\(#([^)]+)\)")
NUMBER = re.compile(r"(-?\d+)\.(\d)\d*")
SPACES = re.compile(r"\s*\n\s*|\s+(?=[A-Za-z])|(?<=[A-Za-z])\s+")
"""Of a path's data: only those between numbers say anything."""
DEFAULTS = {"font-family", "stroke-linejoin", "stroke-linecap"}
"""Attributes that the page sets for all."""
LINK = "{http://www.w3.org/1999/xlink}href"
USELESS = {"style", "metadata"}


def referred_to(root: Element) -> set[str]:
    """Return the ids that anything refers to."""
    nodes = [*root.iter()]
    found = {node.attrib[LINK].removeprefix("#") for node in nodes if LINK in node.attrib}
    values = (value for node in nodes for value in node.attrib.values())
    return found.union(*map(REFERENCE.findall, values))


def clean(node: Element, prefix: str, used: set[str]) -> None:
    """Make an element and all in it fit a strict page: no styles, no foreign ids, no filler.

    Groups without any attribute give way to what is in them.
    """
    node.tag = node.tag.rpartition("}")[2]
    node.attrib.update(attributes(node, prefix, used))
    if node.tag != "text":
        node.text = node.tail = None
    children: list[Element] = []
    for child in [*node]:
        clean(child, prefix, used)
        empty = child.tag in ("g", "defs") and not len(child)
        if child.tag not in USELESS and not empty:
            children += [*child] if child.tag == "g" and not child.attrib else [child]
    node[:] = children


def attributes(node: Element, prefix: str, used: set[str]) -> dict[str, str]:
    """Return the attributes that an element is to have; those that it had are taken."""
    given = {**node.attrib, **as_attributes(node.attrib.pop("style", ""))}
    node.attrib.clear()
    given.pop("style", None)
    id = given.pop("id", "")
    found = {name: value for name, value in given.items() if name not in DEFAULTS}
    if LINK in found:
        found["href"] = f"#{prefix}{found.pop(LINK).removeprefix('#')}"
    if id.startswith("model-"):
        found["class"] = id
    elif id in used:
        found["id"] = f"{prefix}{id}"
    found = {name: NUMBER.sub(shortened, value) for name, value in found.items()}
    if "d" in found:
        found["d"] = SPACES.sub("", found["d"])
    return {name: REFERENCE.sub(rf"url(#{prefix}\1)", value) for name, value in found.items()}


def shortened(number: re.Match[str]) -> str:
    """Return a number cut to a tenth, which nobody sees in a drawing."""
    return number[1] if number[2] == "0" else f"{number[1]}.{number[2]}"


def as_attributes(style: str) -> dict[str, str]:
    """Return a style as attributes of its own: a strict page allows no style in elements."""
    pairs = [part.split(":", 1) for part in style.replace(INK, "currentColor").split(";")]
    given = {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}
    if "font" in given:  # such as `8px 'DejaVu Sans', sans-serif`
        size = re.search(r"([\d.]+)px", given.pop("font"))
        given |= {"font-size": size[1]} if size else {}
    return given


# what can be pointed at


def frame(axis: Axes) -> dict[str, Any]:
    """Return where an axis lies in the SVG, in its units, and its limits."""
    drawing = axis.figure
    width, height = (72 * float(inches) for inches in drawing.get_size_inches())  # type: ignore[union-attr]
    box = axis.get_position()
    return {
        "x": [round(box.x0 * width, 1), round(box.x1 * width, 1)],
        "y": [round((1 - box.y0) * height, 1), round((1 - box.y1) * height, 1)],
        "limits": [[*map(float, axis.get_xlim())], [*map(float, axis.get_ylim())]],
        "log": [axis.get_xscale() == "log", axis.get_yscale() == "log"],
    }


def rounded(value: float | None) -> float | None:
    """Return a number in three digits, as the tables show it."""
    return None if value is None else float(f"{value:.3g}")


LARGEST = 1e30
"""Beyond this, and its inverse, axes have no numbers."""


def is_drawable(value: float | None) -> TypeGuard[float]:
    """Return whether a value has a place on an axis."""
    return value is not None and (value == 0 or 1 / LARGEST < abs(value) < LARGEST)
