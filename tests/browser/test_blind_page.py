"""The page of a blind study in a browser, opened as a file: what is recorded, what survives, who can use it. See `real_lab`."""

import json
import re
import time

import pytest
import real_lab
from PIL import Image, ImageDraw

from workbench.study import blind

WHY_NOT = real_lab.missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"the browser tests were NOT RUN: {WHY_NOT}")

CONTRAST = 4.5
"""Of text and its ground, at least (WCAG 2.2, 1.4.3)."""
# Texts in view whose contrast is too low, and controls without a name or smaller than 24 px (WCAG 2.2, 2.5.8).
FAULTS = """(least) => {
  const levels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = levels(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const faults = [];
  for (const node of document.querySelectorAll("main *")) {
    if (!node.checkVisibility()) continue;
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (own && !node.disabled) {
      const [a, b] = [light(levels(getComputedStyle(node).color)), light(ground(node))].sort((a, b) => a - b);
      if ((b + 0.05) / (a + 0.05) < least) faults.push(`contrast ${((b + 0.05) / (a + 0.05)).toFixed(1)}: ${node.textContent}`);
    }
    if (node.matches("button, input, textarea, canvas")) {
      const labels = [...(node.labels || [])].map((label) => label.textContent).join();
      if (!(node.getAttribute("aria-label") || node.textContent || labels).trim()) faults.push(`no name: ${node.id}`);
    }
    if (node.matches("button") && node.getBoundingClientRect().height < 24) faults.push(`small: ${node.textContent}`);
    if (node.matches("img") && node.getAttribute("alt") === null) faults.push("a picture without alt");
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push("wider than the window");
  return faults;
}"""


@pytest.fixture(scope="module")
def browser():
    with real_lab.browse() as browser:
        yield browser


def drawing(path, colour, mark):
    picture = Image.new("RGB", (120, 90), colour)
    ImageDraw.Draw(picture).text((50, 35), mark, "white")
    picture.save(path)
    return str(path)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Two methods, two contents, one check, in two versions: three pairs for every rater."""
    folder = tmp_path_factory.mktemp("pictures")
    contents = {name: drawing(folder / f"{name}.png", "gray", name) for name in ("one", "two")}
    items = [
        blind.Item(method, "nobody", name, 0, drawing(folder / f"{method}-{name}.png", colour, name))
        for method, colour in (("gatys", "firebrick"), ("blend", "navy"))
        for name in contents
    ]
    works = [drawing(folder / f"work-{k}.png", "darkgreen", str(k)) for k in range(7)]
    checks = [blind.Check("nobody", "one", works[6], contents["one"])]
    return blind.plan(
        items, contents=contents, references={"nobody": works[:6]}, checks=checks, repeats=0, ties=True, versions=2
    )


@pytest.fixture(scope="module")
def file(plan, tmp_path_factory):
    path = tmp_path_factory.mktemp("sent") / "study.html"
    path.write_text(blind.page(plan, contact="Ada, ada@example.org"), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, file):
    """Open the page with options of a context; it may ask for nothing and report no error."""
    contexts, problems = [], []

    def open_page(number=1, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(real_lab.PATIENCE * 1000)
        page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request", lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else problems.append(asked.url)
        )
        page.goto(f"{file.as_uri()}#{number}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def begin(page):
    """From the welcome to the first pair, with both digits read."""
    assert page.get_by_role("button", name="Begin").is_disabled()
    page.get_by_label("agree to take part").check()
    page.get_by_role("button", name="Begin").click()
    for name in ("dark", "light"):
        page.get_by_label(f"Digit in the {name} panel").fill(page.evaluate("name => digits[name]", name))
    page.get_by_role("button", name="Start with the pairs").click()
    ready(page)


def until(page, condition, seconds=real_lab.PATIENCE):
    """Wait until a condition of the page holds. Its policy lets no other script look again and again."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def ready(page):
    """Wait until the pair may be answered."""
    until(page, "since !== null && performance.now() - since > PAUSE")


def asked(page):
    """(id of the trial, question) that the page asks about now."""
    return page.evaluate("() => [steps[state.answers.length][0][0], steps[state.answers.length][1]]")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_study_is_answered_by_the_keyboard_and_its_file_is_read(opened, plan, tmp_path, scheme):
    page = opened(2, color_scheme=scheme, accept_downloads=True)
    faults = page.evaluate(FAULTS, CONTRAST)
    begin(page)
    faults += page.evaluate(FAULTS, CONTRAST)
    given = []
    while page.locator("#pairs").is_visible():
        until(page, "since !== null && performance.now() - since > 600")  # whoever is faster does not count
        trial, question = asked(page)
        side = plan.versions[1].by_id[trial].correct(question) or ("tie", "right")[len(given) % 2]
        page.keyboard.press({"left": "ArrowLeft", "right": "ArrowRight", "tie": "ArrowDown"}[side])
        given.append((trial, question, side))
        until(page, f"state.answers.length === {len(given)}")
        until(page, "at('pairs').hidden || (since !== null && performance.now() - since > PAUSE)")
    faults += page.evaluate(FAULTS, CONTRAST)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save my answers").click()
    download.value.save_as(tmp_path / download.value.suggested_filename)
    ballot = blind.read(tmp_path / download.value.suggested_filename, plan)
    assert [(answer.trial, answer.question, answer.side) for answer in ballot.answers] == given
    assert (
        len(given) == 6 and ballot.number == 2 and ballot.fault() == "" and ballot.rater in page.locator("#code").inner_text()
    )
    assert json.loads(page.locator("#text").input_value())["display"]["theme"] == scheme
    assert all(0.2 < answer.seconds < real_lab.PATIENCE for answer in ballot.answers)
    assert faults == []


def test_answers_survive_a_reload_can_be_taken_back_and_deleted(opened):
    page = opened()
    begin(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # the same pair: a slip
    until(page, "state.answers.length === 1")
    rater = page.evaluate("state.rater")
    page.reload()
    page.get_by_label("agree to take part").check()
    page.get_by_role("button", name="Go on where I stopped").click()
    ready(page)
    assert page.evaluate("[state.rater, state.answers.length]") == [rater, 1]
    page.keyboard.press("u")
    until(page, "state.answers.length === 0")
    page.get_by_role("button", name="Pause or stop").click()
    page.get_by_role("button", name="Delete my answers").click()
    page.get_by_role("button", name="Yes, delete them").click()
    assert page.evaluate("localStorage.length") == 0
    assert page.get_by_text("Your answers are deleted").is_visible() and page.get_by_role("button", name="Begin").is_disabled()


def test_who_reads_no_digit_is_asked_twice_and_then_recorded(opened):
    page = opened()
    page.get_by_label("agree to take part").check()
    page.get_by_role("button", name="Begin").click()
    for _ in range(2):
        page.get_by_role("button", name="Start with the pairs").click()
    ready(page)
    assert page.evaluate("[state.display.dark, state.display.light]") == [False, False]


def test_fingers_on_a_narrow_screen_answer_pictures_side_by_side(opened):
    page = opened(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    begin(page)
    boxes = [page.get_by_label(f"Choose the {side} picture").bounding_box() for side in ("left", "right")]
    assert boxes[0]["y"] == boxes[1]["y"] and all(box["width"] > 150 for box in boxes)
    assert boxes[0]["y"] + boxes[0]["height"] < 844
    page.get_by_label("Choose the right picture").tap()
    until(page, "state.answers.length === 1")
    assert page.evaluate("state.answers[0].side") == "right"
    ready(page)
    assert page.evaluate(FAULTS, CONTRAST) == []


def test_versions_are_drawn_and_the_page_names_no_method(opened, file):
    page = opened("")
    drawn = page.evaluate("() => [...Array(40)].map(() => fresh()).map((one) => [one.version, one.rater])")
    assert {version for version, _ in drawn} == {1, 2} and len({rater for _, rater in drawn}) == 40
    begin(page)
    shown = re.sub(r"base64,[\w+/=]+", "", page.evaluate("document.documentElement.outerHTML"))
    assert not re.search(r"\b(gatys|blend)\b", re.sub(r'"pictures":\{.*?\}', "", shown))
