"""A page looked at by headless Chromium: what overflows, what it complains of, what it asks a network for."""

import json
import re
from dataclasses import dataclass
from html import escape, unescape
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from tools.chromium import CHROMIUM, colours, open_page, size

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

WIDTHS = (360, 1200)
_HEIGHT = 1000
# What lies beyond the page and is not in a box of its own that scrolls.
_PROBE = """
<script>
addEventListener("load", () => {
  const width = document.documentElement.clientWidth;
  const scrolls = e => e && (getComputedStyle(e).overflowX === "auto" || scrolls(e.parentElement));
  const beyond = [...document.body.querySelectorAll("*")].filter(
    e => e.getBoundingClientRect().right > width + 1 && !scrolls(e)
  ).map(e => e.outerHTML.slice(0, 120));
  if (document.documentElement.scrollWidth > width) beyond.push("the page");
  const dark = getComputedStyle(document.body).backgroundColor;
  parent.postMessage({name: window.name, beyond, background: dark}, "*");
});
</script>
"""
_COLLECT = """
<pre id="found"></pre>
<script>
const found = {};
addEventListener("message", ({data}) => {
  found[data.name] = data;
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>
"""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """How a page looks somewhere.

    Attributes:
        beyond: elements that stick out of the page.
        background: colour of the page.
    """

    beyond: list[str]
    background: str


def look(page: Path, scratch: Path, *, is_dark: bool) -> dict[int, Screen]:
    """Return how a page looks at each of `WIDTHS`, in light or in dark."""
    html = re.sub("<meta http-equiv=[^>]*>", "", page.read_text()).replace("</body>", f"{_PROBE}</body>")
    frames = "".join(
        f'<iframe name="{width}" srcdoc="{escape(html)}" width="{width}" height="{_HEIGHT}"></iframe>'
        for width in WIDTHS
    )
    wrapper = scratch / "wrapper.html"
    wrapper.write_text(f"<!doctype html><meta charset=utf-8>{_COLLECT}{frames}")
    dumped = open_page(wrapper, scratch, "--dump-dom", colours(is_dark=is_dark)).stdout
    found = json.loads(unescape(re.search(r'<pre id="found">(.*?)</pre>', dumped, re.DOTALL)[1]))
    return {
        width: Screen(beyond=found[str(width)]["beyond"], background=found[str(width)]["background"])
        for width in WIDTHS
    }


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What a page did when it was opened.

    Attributes:
        console: lines that it left in the console.
        requests: URLs that it asked for, but itself.
        picture: (height, width, channels), in [0, 1].
    """

    console: list[str]
    requests: list[str]
    picture: np.ndarray


def visit(page: Path, scratch: Path, *, window: tuple[int, int] = (1200, 1600)) -> Visit:
    """Open a page as it is, from the disk."""
    log, shot = scratch / "net.json", scratch / "shot.png"
    done = open_page(page, scratch, f"--log-net-log={log}", f"--screenshot={shot}", size(*window))
    return Visit(
        console=[line for line in done.stderr.splitlines() if "CONSOLE" in line],
        requests=sorted(_requests(log.read_text()) - {page.resolve().as_uri()}),
        picture=image.imread(BytesIO(shot.read_bytes())),
    )


def _requests(log: str) -> set[str]:
    """URLs that a page asked for; what the browser wants for itself has no origin."""
    asked = re.findall(r'"initiator":"([^"]*)".*?"url":"([^"]*)"', log)
    return {url for origin, url in asked if origin != "not an origin" and not url.startswith("data:")}
