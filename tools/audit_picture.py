"""The top of an audit's page as a picture, for README.md: `python -m tools.audit_picture quickstart`.

`make tutorial` makes it of the quickstart that it runs.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tools.chromium import CHROMIUM, colours, open_page, size

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "audit.png"
# Of the directory that `quickstart` leaves.
AUDIT_PAGE = Path("scores-max-disagreement-0.01", "_audit", "audit.html")
WIDTH = 1200
# More than the top of a page has.
_ENOUGH_HEIGHT = 3000
_MARGIN = 24
# What stands below the first figures goes, so that nothing is cut through.
_TOP_ALONE = "<style>.figures ~ *, section ~ section, footer { display: none; }</style></head>"
_COLOURS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("quickstart", type=Path, help="what `fastbert-jobs quickstart` left")
    take_picture(parser.parse_args().quickstart / AUDIT_PAGE, PICTURE)


def take_picture(page: Path, picture: Path) -> None:
    """Show the verdict, the key figures and the first figures of a page, in light, as a PNG."""
    if CHROMIUM is None:
        print(f"there is no Chromium here: {picture} stays as it was")
        return
    with tempfile.TemporaryDirectory() as scratch_dir:
        scratch = Path(scratch_dir)
        top, shot = scratch / "top.html", scratch / "shot.png"
        html = page.read_text(encoding="utf-8")
        top.write_text(html.replace("</head>", _TOP_ALONE, 1), encoding="utf-8")
        flags = (colours(is_dark=False), size(WIDTH, _ENOUGH_HEIGHT), f"--screenshot={shot}")
        open_page(top, scratch, *flags)
        with Image.open(shot) as taken:
            cut_below(taken.convert("RGB")).quantize(_COLOURS).save(picture, optimize=True)


def cut_below(picture: Image.Image) -> Image.Image:
    """Return a picture without the empty rows at its end, but for a margin."""
    pixels = np.asarray(picture)
    is_empty = (pixels == pixels[-1, 0]).all(axis=(1, 2))
    if is_empty.all():
        raise ValueError("nothing is to be seen")
    last = int(np.flatnonzero(~is_empty)[-1])
    return picture.crop((0, 0, picture.width, min(last + 1 + _MARGIN, picture.height)))


if __name__ == "__main__":
    main()
