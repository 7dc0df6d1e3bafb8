"""From a page to a PDF, through a Chromium that is there already.

Owns where Chromium is looked for and how it is asked. Knows nothing of what is on the page; how it
breaks into sheets is said in its style sheet.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from quantseq.errors import ConfigError, RunError
from quantseq.files import atomic_path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 120.0
"""Seconds after which Chromium is given up."""


def print_pdf(page: Path) -> Path:
    """Print a page into a PDF of the same name beside it.

    Returns
    -------
    Path
        Of the PDF.

    Raises
    ------
    ConfigError
        If there is no Chromium.
    RunError
        If it fails.
    StorageError
        If the folder is not writable.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ConfigError(
            f"--pdf needs one of {', '.join(BROWSERS)} on the PATH and found none. Install Chromium "
            "(Debian: apt-get install chromium), or print report.html from any browser."
        )
    target = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile, atomic_path(target) as written:
        words = [browser, "--headless", "--disable-gpu", f"--user-data-dir={profile}"]
        words += ["--disable-background-networking", "--no-first-run", "--no-pdf-header-footer"]
        if os.geteuid() == 0:
            words.append("--no-sandbox")  # Chromium refuses to be sandboxed as root
        words += [f"--print-to-pdf={written}", page.absolute().as_uri()]
        try:
            done = subprocess.run(  # noqa: S603  (a browser from the PATH, and our own page)
                words, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunError(f"Chromium did not print {str(page)!r}: {error}.") from error
        if done.returncode or not written.stat().st_size:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise RunError(
                f"Chromium ({browser}) left with {done.returncode} and printed nothing; it said: {said}"
            )
    return target
