"""Strokes in the panel: their number, the film of the picture being painted, and the files besides pictures."""

import xml.etree.ElementTree as ET

import pytest
from waiting import PATIENCE, until

from workbench import figures
from workbench.errors import UsageError, WorkbenchError
from workbench.lab.choice import Choice
from workbench.lab.exploration import Exploration
from workbench.lab.panel import TransferPanel
from workbench.strokes import files
from workbench.transfer import Settings

STROKES = Settings(method="strokes", size=48, steps=2, plateau=0, options=("strokes=40", "hand=default"))


@pytest.fixture(scope="module")
def painted(two_styles):
    """A panel with a result in strokes."""
    exploration = Exploration(Choice(corpus=str(two_styles), target="whole", preview="", settings=STROKES))
    panel = TransferPanel(exploration)
    until(lambda: panel.buttons.enabled == ["run"])
    panel.buttons.press("run")
    assert exploration.wait(PATIENCE) and not exploration.error
    until(lambda: panel.buttons.enabled == ["run"])
    yield panel
    until(lambda: not exploration.measuring and not panel.film.making)


def visible(widget):
    return widget.layout.display != "none"


def film(panel):
    """Have the film made anew."""
    panel.film.made = None
    panel.film.refresh()
    panel.film.buttons.press("film")
    until(lambda: "is being made" not in panel.film.message.value)


def test_the_number_of_strokes_is_a_control_of_this_method_alone(two_styles):
    exploration = Exploration(Choice(corpus=str(two_styles), target="whole", preview=""))
    panel = TransferPanel(exploration)
    assert not visible(panel.strokes)
    with pytest.raises(UsageError, match="goes with the method strokes"):
        exploration.change(strokes=100)
    panel.method.value = "strokes"
    assert visible(panel.strokes) and panel.strokes.value == 4000 and exploration.choice.settings.options == ()
    before = exploration.choice.key
    panel.strokes.value = 10**1.05
    assert panel.strokes.value == 11 and exploration.choice.settings.options == ("strokes=11",)
    assert "11 strokes" in exploration.choice.label and "options=('strokes=11',)" in exploration.code()
    panel.strokes.value = 4000
    assert exploration.choice.key == before
    exploration.change(options=("bristles=0.0", "strokes=7"))
    assert panel.strokes.value == 7
    panel.strokes.value = 100
    assert exploration.choice.stroke_options.bristles == 0 and exploration.choice.stroke_options.strokes == 100
    for change in ({"target": "gram:blend"}, {"target": "blend", "method": "gram"}):
        exploration.change(**change)
        assert not visible(panel.strokes)
    assert exploration.choice.settings.options == ()
    until(lambda: not exploration.measuring)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_the_film_is_made_when_asked_for_and_shown_with_its_result_alone(painted, suffix, monkeypatch):
    if suffix == ".gif":
        monkeypatch.setattr(files, "find_spec", lambda name: None if name == "av" else True)
    painted.film.made = None
    painted.film.refresh()
    assert painted.film.buttons.enabled == ["film", "svg"] and painted.film.video not in painted.film.children
    film(painted)
    assert painted.film.buttons.enabled == ["save", "svg"] and not painted.film.message.value
    video, moving = bytes(painted.film.video.value), bytes(painted.film.moving.data)
    assert (video[4:8], moving) == (b"ftyp", b"") if suffix == ".mp4" else (video, moving[:3]) == (b"", b"GIF")
    painted.strokes.value = 50
    assert not visible(painted.film)
    painted.exploration.open(painted.runner.kept[0])
    assert visible(painted.film) and painted.film.children[2:] == (
        (painted.film.video if suffix == ".mp4" else painted.film.moving),
    )
    painted.method.value = "neighbours"
    assert not visible(painted.film)
    painted.exploration.open(painted.runner.kept[0])


def test_film_and_strokes_are_saved(painted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if painted.film.made is None:
        film(painted)
    for name in ("save", "svg", "svg"):
        painted.film.buttons.press(name)
        assert "saved as" in painted.film.message.value
    assert len(list(tmp_path.glob("*after*.svg"))) == 2
    (saved,) = tmp_path.glob(f"*after*{painted.film.made.suffix}")
    assert saved.read_bytes() == painted.film.made.data
    root = ET.parse(next(tmp_path.glob("*.svg"))).getroot()
    assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) <= 40
    assert "strokes=40" in root.find("{http://www.w3.org/2000/svg}metadata").text
    assert figures.read_provenance(painted.exploration.save(painted.runner.kept[0]))["parameters"]["settings"]["options"]


def test_a_film_that_cannot_be_made_is_reported(painted, monkeypatch):
    def fail(*given, **options):
        raise WorkbenchError("the disk is full")

    monkeypatch.setattr(painted.exploration, "save", fail)
    film(painted)
    assert "the disk is full" in painted.film.message.value and painted.film.buttons.enabled == ["film", "svg"]


def test_a_run_that_begins_ends_a_film(painted, monkeypatch):
    laid = files.painting

    def endless(*given, **options):
        while True:
            yield from laid(*given, **options)

    painted.film.made = None
    painted.film.refresh()
    monkeypatch.setattr(files, "painting", endless)
    painted.film.buttons.press("film")
    assert painted.film.making and "is being made" in painted.film.message.value and painted.film.buttons.enabled == ["svg"]
    painted.strokes.value = 30
    painted.buttons.press("run")
    until(lambda: not painted.film.making)
    assert painted.exploration.wait(PATIENCE) and painted.film.made is None
