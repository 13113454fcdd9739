"""Headless Chromium, one process for each look at a page. Asserts nothing."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not on PATH (apt install it)")

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
    ),
)
_DARK = "--blink-settings=preferredColorScheme=0"
_LIGHT = "--blink-settings=preferredColorScheme=1"


class Browser:
    """Opens files with a profile that is thrown away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def dom(self, page: Path, view: str = "") -> str:
        """Read the page after its scripts have run."""
        return self._run(f"{page.as_uri()}{view}", "--dump-dom", _LIGHT)

    def screenshot(self, page: Path, picture: Path, width: int, height: int, *, dark: bool = False) -> Path:
        """Take a picture of a page."""
        size = f"--window-size={width},{height}"
        self._run(page.as_uri(), f"--screenshot={picture}", size, _DARK if dark else _LIGHT)
        return picture

    def _run(self, address: str, *flags: str) -> str:
        command = ["chromium", *_FLAGS, f"--user-data-dir={self._folder / 'profile'}", *flags, address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"chromium ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout
