"""Pages looked at by headless Chromium, which asks no network for anything of its own."""

import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--enable-logging=stderr",
)  # fmt: skip


def open_page(page: Path, scratch: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Open a page from the disk, as nobody who was here before.

    Args:
        page: a file.
        scratch: an existing directory.
        more: flags that say what to do with the page.
    """
    profile = scratch / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    args = [str(CHROMIUM), *_FLAGS, f"--user-data-dir={profile}", *more, page.resolve().as_uri()]
    return subprocess.run(args, capture_output=True, text=True, timeout=120, check=True)


def colours(*, is_dark: bool) -> str:
    """Return the flag for a system that is set to light or dark."""
    return f"--blink-settings=preferredColorScheme={0 if is_dark else 1}"


def size(width: int, height: int) -> str:
    """Return the flag for a window of so many pixels."""
    return f"--window-size={width},{height}"
