"""matplotlib's SVG as a part of an HTML page: its colours are the page's, its ids nobody else's."""

import re
from xml.etree import ElementTree

from markupsafe import Markup

from jobs.report.palette import COLOURS, INK
from model.messages import printable

# Ink is that of the text around the plot.
_CSS = {colour.drawn: "currentColor" if colour is INK else colour.css for colour in COLOURS}
_DRAWN = re.compile("|".join(_CSS))
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_FAMILY = re.compile(r"font-family:[^;]*;?\s*")
_DROPPED = ("metadata", "style", "title")


def inline_svg(svg: bytes, name: str, description: str) -> Markup:
    """Return a plot for a page.

    Args:
        svg: as matplotlib writes it, drawn in placeholders of `palette.py`.
        name: of the plot, of letters, digits and dashes; no other on the page has it.
        description: what it shows, for who does not see it.
    """
    root = ElementTree.fromstring(svg)
    _plain_names(root)
    _own_ids(root, name)
    for element in root.iter():
        if style := element.get("style"):
            in_page = _DRAWN.sub(lambda found: _CSS[found[0]], _FAMILY.sub("", style))
            element.set("style", in_page)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title"}
    title = ElementTree.Element("title", {"id": f"{name}-title"})
    title.text = printable(description)
    root.insert(0, title)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _plain_names(root: ElementTree.Element) -> None:
    """Take the namespaces off, which HTML knows by itself, and drop what a page has of its own."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag.rpartition("}")[2] in _DROPPED:
                parent.remove(child)
        parent.tag = parent.tag.rpartition("}")[2]
        for key in list(parent.attrib):
            if key.startswith("{"):
                parent.set(key.rpartition("}")[2], parent.attrib.pop(key))


def _own_ids(root: ElementTree.Element, name: str) -> None:
    """Put the plot's name before the ids that are referred to, and drop the others."""
    used = set()
    for element in root.iter():
        for key, value in element.items():
            if key == "href" and value.startswith("#"):
                used.add(value[1:])
                element.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                used.update(_REFERENCE.findall(value))
                element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))
    for element in root.iter():
        if (own := element.attrib.pop("id", None)) in used:
            element.set("id", f"{name}-{own}")
