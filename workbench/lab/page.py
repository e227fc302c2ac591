"""The scripts of the widgets. A page loads one module for each widget, which can import nothing."""

from pathlib import Path

FOLDER = Path(__file__).parent


def script(name: str) -> str:
    """The script `name`.js behind the functions that several share, as one module."""
    return "\n".join((FOLDER / f"{part}.js").read_text(encoding="utf-8") for part in ("elements", name))
