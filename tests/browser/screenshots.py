"""Pictures of the widgets as JupyterLab shows them, light and dark: python tests/browser/screenshots.py [WIDGET ...]

They go to runs/screenshots/<widget>_<light|dark>.png, at twice the size that a page has. They are free to use: the
painters are synthetic, and the photographs come with scikit-learn and matplotlib.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import real_lab

OUT = Path(__file__).parents[2] / "runs" / "screenshots"
MARGIN = 10  # px around a widget
THEMES = ("light", "dark")

SETUP = """\
SIZE = {size}
import time

from workbench import encoders, inputs, lab, runs

def explore(target="blend", run=False, steps=40, **changes):
    trial = lab.Exploration()
    trial.change(target=target, size=SIZE, steps=steps, **changes)
    if run:
        trial.start()
        trial.wait()
    else:
        trial.target()  # measured before it is shown
    return trial

def finished(*targets):
    trial = explore()
    for target in targets:
        trial.change(target=target)
        trial.start()
        trial.wait()
    return {{kept.choice.target: kept.picture for kept in trial.kept}}"""


@dataclass(frozen=True)
class Widget:
    """code: a cell that ends in the widget; press: selectors of what is clicked before the picture is taken; width: of the
    window, px.
    """

    code: str
    press: tuple[str, ...] = ()
    width: int = 1100


WIDGETS = {
    "panel": Widget("lab.TransferPanel(explore(run=True))"),
    "panel-preview": Widget("lab.TransferPanel(explore())", press=(".jupyter-widget-Collapse-header",)),
    "panel-stopped": Widget(
        """\
trial = explore(steps=300)
trial.change(size=768)
trial.start()
while len(trial.losses) < 60:
    time.sleep(0.1)
trial.stop()
lab.TransferPanel(trial)"""
    ),
    "panel-refusing": Widget(
        """\
panel = lab.TransferPanel(explore())
panel.content.value, panel.encoder.value = "~/pictures/no such file.jpg", "vgg16"
panel"""
    ),
    "panel-compared": Widget(
        """\
trial = explore(run=True)
trial.change(target="regions", colour="content", exclude=(trial.target().works[0].name,))
trial.start()
trial.wait()
panel = lab.TransferPanel(trial)
panel.compare.value = True
panel"""
    ),
    "panel-strokes": Widget(
        """\
panel = lab.TransferPanel(explore(method="strokes", strokes=1500, run=True))
panel.film.buttons.press("film")
while panel.film.making:
    time.sleep(0.1)
panel"""
    ),
    "panel-narrow": Widget("lab.TransferPanel(explore('single', run=True))", width=640),  # 1280 px at 200 %
    "strip": Widget("lab.WorksStrip(explore())"),
    "regions": Widget("lab.WorksStrip(explore('regions'))"),
    "map": Widget(
        """\
shown = lab.CorpusMap(lab.Atlas(inputs.corpus("nocturne"), encoders.load("embedded")))
shown.wait()
shown"""
    ),
    "compare": Widget("lab.Compare(finished('single', 'blend', 'whole'))", width=960),
    "runs": Widget(
        """\
for tau in (0.02, 0.08, 0.5):
    values = {"size": 192, "steps": 20, "tau": tau, "choices": ["blend"], "out": f"runs/tau-{tau}"}
    runs.run("05_comparison.ipynb", values, progress=False)
lab.RunsBrowser()""",
        press=(".wb-gallery .pick",),
    ),
}

# No animations, and nothing beside the output.
CALM = """
* { transition: none !important; animation: none !important; caret-color: transparent !important; }
.jp-Cell-inputWrapper, .jp-OutputPrompt, .jp-OutputCollapser { visibility: hidden; }
"""
# All visible pictures have come, including those that are requested late.
SHOWN = """(widget) => [...widget.querySelectorAll("img")].every(
    (image) => !image.checkVisibility() || (image.complete && image.naturalWidth > 0))"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("widgets", nargs="*", metavar="WIDGET", help=f"all, or some of: {', '.join(WIDGETS)}")
    parser.add_argument("--size", type=int, default=256, help="of the transfers in them, px (%(default)s)")
    given = parser.parse_args(arguments)
    names = given.widgets or list(WIDGETS)
    unknown = [name for name in names if name not in WIDGETS]
    if unknown:
        parser.error(f"no widget {', '.join(unknown)}: choose from {', '.join(WIDGETS)}")
    if why := real_lab.missing():
        print(f"no pictures: {why}", file=sys.stderr)
        return 1
    OUT.mkdir(parents=True, exist_ok=True)
    failed = []
    with tempfile.TemporaryDirectory() as folder, real_lab.serve(Path(folder)) as server, real_lab.browse() as browser:
        server.copy("05_comparison.ipynb")
        for name in names:
            try:
                for path in take(server, browser, name, given.size):
                    print(path)
            except Exception as error:  # the others can be taken all the same
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr)
    return 1 if failed else 0


def take(server: real_lab.Server, browser, name: str, size: int) -> list[Path]:
    """The pictures of one widget, one for each theme. AssertionError for an error of the page."""
    widget = WIDGETS[name]
    server.write(f"{name}.ipynb", [SETUP.format(size=size), widget.code])
    window = {"width": widget.width, "height": 3000}  # all of a widget is to be on it
    notebook = real_lab.Notebook(server, browser, f"{name}.ipynb", viewport=window, device_scale_factor=2)
    try:
        if notebook.page.locator("#jp-left-stack").is_visible():
            notebook.execute("application:toggle-left-area")
        notebook.page.add_style_tag(content=CALM)
        notebook.run()
        found = notebook.find(".jp-Cell").nth(1).locator(".jp-OutputArea-output > *").first
        found.wait_for()
        for selector in widget.press:
            found.locator(selector).first.click()
        paths = []
        for theme in THEMES:
            notebook.theme(theme)
            notebook.page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")  # it has a frame
            found.scroll_into_view_if_needed()
            notebook.page.wait_for_function(SHOWN, arg=found.element_handle())
            notebook.page.mouse.move(0, 0)
            paths.append(OUT / f"{name}_{theme}.png")
            notebook.page.screenshot(path=paths[-1], clip=_around(found.bounding_box()))
        assert not notebook.problems, notebook.problems
        return paths
    finally:
        notebook.close()


def _around(box: dict[str, float]) -> dict[str, float]:
    return {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN} | {side: box[side] + 2 * MARGIN for side in ("width", "height")}


if __name__ == "__main__":
    sys.exit(main())
