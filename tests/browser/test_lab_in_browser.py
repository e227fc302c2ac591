"""The widgets in JupyterLab, with a mouse and a keyboard. See `real_lab`."""

import ast
import json
import random
import re
import time
from pathlib import Path

import pytest
import real_lab

WHY_NOT = real_lab.missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"the browser tests were NOT RUN: {WHY_NOT}")

COMPARE = """\
from workbench import images, inputs, lab
photograph = images.resize(inputs.content("china"), 240)
compare = lab.Compare({"as it is": photograph, "negative": 1 - photograph, "dark": photograph / 2})
compare"""


PREVIEW = """\
from workbench import lab
from workbench.transfer import Settings
trial = lab.Exploration(lab.Choice(corpus={corpus!r}, preview={network!r}, settings=Settings(size=96, steps=4)))
panel = lab.TransferPanel(trial)
panel"""


# Somebody at a panel, as in test_lab_state, whose hands are a mouse and a keyboard; and a map.
USER = """\
import hashlib, html, json, re, sys, traceback
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_lab_state
from workbench import methods

methods.METHODS["stamps"] = test_lab_state.Stamps()
user = test_lab_state.User(0, [Path(folder) for folder in {folders!r}])

def told():
    "What the page has to show."
    user.follow()
    panel, controls = user.panel, {{}}
    for control in panel._named.values():
        if hasattr(control, "readout_format"):
            controls[control.description] = format(control.value, control.readout_format)
        else:
            controls[control.description] = control.label if hasattr(control, "label") else control.value
    lines = [panel.message, panel.caption, panel.doubts, *panel.notes.values()]
    picture, losses = bytes(panel.image.data), len(panel.curve.series.get("total", ()))
    galleries = [panel.strip.gallery, panel.strip.offered, panel.kept]
    return json.dumps({{
        "controls": controls,
        "lines": sorted(html.unescape(re.sub("<[^>]*>", "", line.value)) for line in lines if line.value),
        "pressable": panel.buttons.enabled,
        "picture": [hashlib.sha256(picture).hexdigest() if picture else "", panel.image.alt],
        "losses": losses if losses > 1 else 0,
        "galleries": [
            [[item["key"], None if item["weight"] is None else round(100 * item["weight"], 4), item["marked"]]
             for item in gallery.items] for gallery in galleries],
        "code": panel.copying.text,
    }})

def checked():
    "What does not hold in the kernel."
    try:
        user.check()
    except AssertionError:
        return traceback.format_exc()

user.panel"""


MAP = """\
from workbench import encoders
shown = lab.CorpusMap(lab.Atlas(inputs.corpus({corpus!r}), encoders.load("embedded")))
shown.wait()
shown.atlas.select([work.name for work in shown.atlas.corpus][:3])
shown"""


# What the page shows of the panel, in the form of told().
PAGE = """async () => {
    const panel = document.querySelector(".wb-panel"), all = (selector) => [...panel.querySelectorAll(selector)];
    const controls = {};
    for (const node of all(".widget-text, .widget-dropdown, .widget-slider")) {
        const field = node.querySelector("input, select, .widget-readout");
        controls[node.querySelector(".widget-label").textContent] ??=
            field.matches("select") ? field.selectedOptions[0]?.textContent : field.value ?? field.textContent;
    }
    const image = all("img").find((node) => !node.closest(".wb-gallery"));
    const bytes = image.src ? await (await fetch(image.src)).arrayBuffer() : null;
    const sha = bytes && [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))];
    const losses = panel.querySelector(".wb-losses svg")?.getAttribute("aria-label").match(/after (\\d+)/)[1];
    const items = (label) => all(`.wb-gallery[aria-label="${label}"] .item`).map((item) => {
        const share = item.querySelector(".bar"), shown = share.parentElement.querySelector("input") ?? share;
        return [item.dataset.key, shown.style.display === "none" ? null
            : Math.round(1e4 * parseFloat(share.firstChild.style.width)) / 1e4, item.classList.contains("marked")];
    });
    return {
        controls,
        lines: all(".widget-html-content > div[role]").map((node) => node.textContent).sort(),
        pressable: [...panel.querySelector(".wb-buttons").querySelectorAll("button:not(:disabled)")]
            .map((node) => node.textContent.toLowerCase()),
        picture: [sha ? sha.map((byte) => byte.toString(16).padStart(2, "0")).join("") : "", image.alt],
        losses: Number(losses ?? 0),
        galleries: ["Paintings of the target", "Paintings to choose from", "Results"].map(items),
        code: panel.querySelector(".wb-copying textarea").value,
    };
}"""
ACTIONS = 100


class Lab:
    """One server and one browser for all tests, and the notebooks that are open."""

    def __init__(self, server, browser):
        self.server, self.browser = server, browser
        self.notebooks: list[real_lab.Notebook] = []
        self._known = 0

    def open(self, name, **context):
        context |= {"permissions": ["clipboard-read", "clipboard-write"]}
        self.notebooks.append(real_lab.Notebook(self.server, self.browser, name, **context))
        return self.notebooks[-1]

    def problems(self):
        """New errors since the last call: on the pages, and in the server and its kernels."""
        found = [f"{n.name}: {problem}" for n in self.notebooks for problem in n.problems]
        for notebook in self.notebooks:
            notebook.problems.clear()
        raised = real_lab.raised(self.server.log.read_text())
        found, self._known = found + raised[self._known :], len(raised)
        return found


@pytest.fixture(scope="module")
def lab(cache, tmp_path_factory):
    with (
        real_lab.serve(tmp_path_factory.mktemp("lab"), WORKBENCH_CACHE=str(cache)) as server,
        real_lab.browse() as browser,
    ):
        yield Lab(server, browser)


@pytest.fixture(autouse=True)
def no_unexpected_errors(lab):
    yield
    assert lab.problems() == []


@pytest.fixture(scope="module")
def start(lab):
    """Notebook 00, small, all cells run."""
    lab.server.copy("00_start_here.ipynb", size=96, steps=4)
    notebook = lab.open("00_start_here.ipynb")
    notebook.run()
    return notebook


@pytest.fixture(scope="module")
def compared(lab, two_corpora):
    """Pictures under one slider, a panel of small pictures of one colour, and a map."""
    folders, tests = [str(folder) for folder in two_corpora], str(Path(__file__).parents[1])
    lab.server.write(
        "compare.ipynb", [COMPARE, "'another cell'", USER.format(tests=tests, folders=folders), MAP.format(corpus=folders[0])]
    )
    notebook = lab.open("compare.ipynb")
    notebook.run()
    return notebook


@pytest.fixture(scope="module")
def preview(lab, two_styles, network):
    """The panel, with a network that knows the works."""
    lab.server.write("preview.ipynb", [PREVIEW.format(corpus=str(two_styles), network=str(network))])
    notebook = lab.open("preview.ipynb")
    notebook.run()
    return notebook


@pytest.fixture(scope="module")
def narrow(lab, two_styles):
    """The panel on a screen of 13 inches at 200 %, which is as wide as 640 px."""
    lab.server.write("narrow.ipynb", [PREVIEW.format(corpus=str(two_styles), network="")])
    notebook = lab.open("narrow.ipynb", viewport={"width": 640, "height": 400}, device_scale_factor=2)
    if notebook.page.locator("#jp-left-stack").is_visible():
        notebook.execute("application:toggle-left-area")
    notebook.run()
    return notebook


def until(condition, seconds=real_lab.PATIENCE):
    """Wait for `condition()` and return what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    assert found
    return found


def settled(read, seconds=0.5):
    """What `read()` gives as soon as it has given the same for so long."""
    value, since = read(), time.monotonic()
    while time.monotonic() - since < seconds:
        if (now := read()) != value:
            value, since = now, time.monotonic()
        time.sleep(0.05)
    return value


def grasp(notebook, bar, share):
    """Press the mouse on the handle of a range input, which stands at `share` of its way; returns the box of the input.

    Pictures that load above it may move it between the measuring and the pressing: a person would try again, too.
    """
    mouse = notebook.page.mouse
    for _ in range(5):
        bar.scroll_into_view_if_needed()
        box = settled(bar.bounding_box)
        mouse.move(box["x"] + 8 + share * (box["width"] - 16), box["y"] + box["height"] / 2)
        mouse.down()
        if bar.evaluate("bar => document.activeElement === bar") and bar.bounding_box() == box:
            break
        mouse.up()
    return box


def button(notebook, text):
    return notebook.find("button", has_text=re.compile(rf"^\s*{text}\s*$")).first


def slider(notebook, description):
    return notebook.find(".widget-slider", has_text=description).locator(".noUi-handle").first


def strip(notebook):
    """The works in the strip of paintings: file name -> weight, %."""
    items = notebook.find('.wb-gallery[aria-label="Paintings of the target"] .item')
    texts = items.evaluate_all("items => items.map((item) => [item.dataset.key, item.textContent])")
    return {key: float(re.search(r"([\d.]+) ?%", text)[1]) for key, text in texts}


def status(notebook):
    """The line of the panel about its run."""
    return notebook.find("[role=status]", has_text="evaluations").first.inner_text()


def evaluations(notebook):
    """The number of evaluations in that line."""
    return int(re.search(r"(\d+) evaluations", status(notebook))[1])


def picture(notebook):
    return notebook.find('img[alt^="Picture so far"]')


def drawn(image):
    """Whether an image has loaded."""
    return image.evaluate("image => image.complete && image.naturalWidth > 0")


def choose_a_long_run(notebook):
    """By its controls: some twenty seconds on two cores."""
    if not slider(notebook, "Steps").is_visible():
        notebook.find(".jupyter-widget-Collapse-header, .lm-AccordionPanel-title", has_text="Size, weights").first.click()
    notebook.find(".widget-dropdown", has_text="Size, px").locator("select").select_option("768")
    slider(notebook, "Steps").press("End")
    until(lambda: notebook.kernel_value("trial.choice.settings.steps, trial.choice.settings.size") == "(300, 768)")


def go(notebook, text="Run"):
    """Press Run, or Resume, and wait until evaluations are made."""
    button(notebook, text).click()
    until(lambda: button(notebook, "Stop").is_enabled() and "left" in status(notebook))


def stop(notebook):
    """Press Stop; returns the seconds until the panel shows that the run has stopped."""
    began = time.monotonic()
    button(notebook, "Stop").click()
    until(lambda: button(notebook, "Resume").is_enabled() and "stopped" in status(notebook))
    return time.monotonic() - began


def goes_on(notebook):
    """Wait for one more evaluation, then stop."""
    made = evaluations(notebook)
    until(lambda: evaluations(notebook) > made)
    stop(notebook)


class TestPanel:
    """The transfer panel of notebook 00."""

    def test_notebook_00_runs_from_top_to_bottom_and_shows_the_panel(self, start):
        assert button(start, "Run").is_enabled() and not button(start, "Stop").is_enabled()
        assert len(until(lambda: strip(start))) > 5
        until(lambda: drawn(start.find(".wb-gallery .item img").first))

    def test_moving_tau_changes_the_strip(self, start):
        until(lambda: strip(start))
        tau = slider(start, "τ")
        tau.press("Home")  # as small as it goes: the nearest painting alone
        narrow = until(lambda: (now := strip(start)) and next(iter(now.values())) > 75 and now)
        box, track = tau.bounding_box(), start.find(".widget-slider", has_text="τ").locator(".noUi-base").first.bounding_box()
        mouse, y = start.page.mouse, box["y"] + box["height"] / 2
        mouse.move(box["x"] + box["width"] / 2, y)
        mouse.down()
        mouse.move(track["x"] + track["width"] / 2, y, steps=5)
        mouse.move(track["x"] + track["width"], y, steps=5)
        wide = until(lambda: (now := strip(start)) and next(iter(now.values())) < 20 and now)  # before the mouse is let go
        mouse.up()
        assert next(iter(wide)) == next(iter(narrow)) and len(wide) >= len(narrow)

    def test_a_run_stops_within_a_second_and_the_kernel_lives(self, start):
        """Without the time that the kernel takes to answer at all, which depends on the load of the machine."""
        choose_a_long_run(start)
        go(start)
        taken = []
        while not taken or (min(taken) > 1 and len(taken) < 5):
            if taken:
                go(start, "Resume")
            began = time.monotonic()
            assert start.kernel_value("trial.running, 6 * 7") == "(True, 42)"  # nobody waits for the run
            answered = time.monotonic() - began
            taken.append(stop(start) - answered)
            assert start.kernel_value("trial.running, trial.resumable") == "(False, True)" and drawn(picture(start))
        assert min(taken) < 1
        go(start, "Resume")
        goes_on(start)

    def test_a_reloaded_page_finds_the_panel_as_it_was(self, start):
        choose_a_long_run(start)
        slider(start, "τ").press("Home")
        go(start)
        stop(start)
        before = (strip(start), status(start), picture(start).get_attribute("alt"))
        start.save()
        start.reload()
        picture(start).wait_for()
        until(lambda: (strip(start), status(start), picture(start).get_attribute("alt")) == before)
        until(lambda: drawn(picture(start)) and drawn(start.find(".wb-gallery .item img").first))
        go(start, "Resume")
        goes_on(start)

    def test_a_run_goes_on_while_the_page_is_reloaded(self, start):
        choose_a_long_run(start)
        start.save()
        go(start)
        start.reload()
        until(lambda: button(start, "Stop").is_enabled())
        goes_on(start)

    def test_a_painting_is_pinned_and_let_go_by_the_keyboard(self, start):
        slider(start, "τ").press("End")
        until(lambda: next(iter(strip(start).values())) < 20)
        second = list(strip(start))[1]
        pins = start.find('.wb-gallery[aria-label="Paintings of the target"] button', has_text="pin")
        pins.first.focus()
        start.page.keyboard.press("ArrowRight")
        start.page.keyboard.press("Enter")
        until(lambda: strip(start)[second] > 50 and len(strip(start)) > 5)  # it is kept, with the others
        start.page.keyboard.press("Enter")
        until(lambda: strip(start)[second] < 50)

    def test_a_run_takes_the_last_value_of_a_slider(self, start):
        """Also where the kernel has not heard of it yet: JupyterLab holds values back while the kernel is at work."""
        until(lambda: button(start, "Run").is_enabled())
        for press in ("Home", "End"):
            tau = slider(start, "τ")
            tau.press(press)
            for _ in range(7):
                tau.press("ArrowLeft" if press == "End" else "ArrowRight")
            button(start, "Run").click()
            until(lambda: start.kernel_value("trial.runner.choice == trial.choice") == "True")
            shown = float(start.find(".widget-slider", has_text="τ").locator(".widget-readout").first.inner_text())
            assert float(start.kernel_value("trial.runner.choice.tau")) == pytest.approx(shown, rel=0.04)  # a press is 12 %
            button(start, "Stop").click()
            until(lambda: button(start, "Run").is_enabled())

    def test_copying_puts_code_on_the_clipboard(self, start):
        button(start, "Copy as code").click()
        start.find(".wb-copying", has_text="copied").wait_for()
        code = start.page.evaluate("() => navigator.clipboard.readText()")
        ast.parse(code)
        assert "methods.Request" in code


class TestPreview:
    """The picture that follows the controls."""

    def test_moving_tau_and_dragging_a_weight_change_the_picture(self, preview):
        image = preview.find('img[alt^="preview by the network nobody"]')
        image.wait_for()
        until(lambda: drawn(image))
        shown = lambda: preview.kernel_value("__import__('zlib').crc32(bytes(panel.image.data))")  # noqa: E731
        source, before = image.get_attribute("src"), shown()
        slider(preview, "τ").press("End")
        until(lambda: image.get_attribute("src") != source and shown() != before and drawn(image))
        weights = settled(lambda: strip(preview))
        last, before = list(weights)[-1], shown()
        bar, mouse = preview.find(f'.wb-gallery .item[data-key="{last}"] input'), preview.page.mouse
        box = grasp(preview, bar, weights[last] / 100)
        mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2, steps=5)
        until(lambda: strip(preview)[last] > 60)  # before the mouse is let go
        assert list(strip(preview)) == list(weights)
        mouse.up()
        until(lambda: shown() != before)
        assert preview.kernel_value("trial.choice.request.target") == "'by-hand'"
        bar.press("Home")
        until(lambda: strip(preview)[last] < 1)
        assert list(strip(preview)) == list(weights)

    def test_paint_it_properly_runs_from_there(self, preview):
        button(preview, "Paint it properly").click()
        until(lambda: "done" in status(preview))
        assert preview.kernel_value("trial.kept[-1].label.endswith('from nobody')") == "True"


# What is cut off, and what leaves the panel to the right; titles below thumbnails are cut to their lines, and have a tooltip.
CLIPPED = """() => {
    const panel = document.querySelector(".wb-panel");
    const edge = panel.getBoundingClientRect().right + 1;
    const texts = panel.querySelectorAll(
        "label, .widget-label, .widget-readout, button, select, [role=status], [role=alert], b");
    return [...texts].filter((node) => node.checkVisibility() && !node.closest(".wb-gallery") && (
        node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).display !== "inline"
        || node.getBoundingClientRect().right > edge)).map((node) => node.outerHTML.slice(0, 200));
}"""


class TestSight:
    """The panel at 200 %, and where the system alone has colours."""

    def test_nothing_is_cut_off_at_200_per_cent(self, narrow):
        narrow.find(".jupyter-widget-Collapse-header, .lm-AccordionPanel-title", has_text="Size, weights").first.click()
        until(lambda: slider(narrow, "Steps").is_visible())
        assert settled(lambda: narrow.page.evaluate(CLIPPED)) == []
        content = narrow.find(".widget-text", has_text=re.compile(r"^\s*Content\s*$")).locator("input").first
        content.fill("no/such/folder/with-a-long-name-that-has-no-place-to-break/" + 6 * "nor-has-this")
        content.press("Enter")
        until(lambda: narrow.find(".wb-panel [role=alert]", has_text="no/such/folder").first.is_visible())
        assert settled(lambda: narrow.page.evaluate(CLIPPED)) == []
        content.fill("grace_hopper")
        content.press("Enter")
        until(lambda: button(narrow, "Run").is_enabled())

    def test_what_is_chosen_is_seen_where_the_system_alone_has_colours(self, narrow):
        narrow.page.emulate_media(forced_colors="active")
        picks = narrow.find('.wb-gallery[aria-label="Contents"] .pick')
        colours = {pick.evaluate("node => getComputedStyle(node).borderTopColor") for pick in picks.all()}
        assert picks.count() == 3 and len(colours) == 2
        narrow.page.emulate_media(forced_colors="none")

    def test_in_the_dark_the_arrow_of_a_list_is_drawn_once(self, narrow):
        """In lists of ipywidgets, which have one, and in others, to which the browser gives its own."""
        arrows = narrow.page.evaluate(
            """() => {
                const panel = document.querySelector(".wb-panel"), own = panel.appendChild(document.createElement("select"));
                const was = document.body.dataset.jpThemeLight;
                document.body.dataset.jpThemeLight = "false";
                const styles = [...panel.querySelectorAll("select")].map((node) => getComputedStyle(node));
                const found = styles.map((style) => [style.backgroundImage.includes("ddd"), style.backgroundRepeat]);
                own.remove();
                document.body.dataset.jpThemeLight = was;
                return found;
            }"""
        )
        ours = [repeat for drawn, repeat in arrows if drawn]
        assert len(ours) == len(arrows) - 1 > 0 and set(ours) == {"no-repeat"}

    def test_a_picture_is_uploaded_and_dropped(self, narrow, two_styles):
        picture = two_styles / "work-04.png"
        narrow.find(".wb-upload input").set_input_files(picture)
        until(lambda: narrow.kernel_value("trial.choice.content") == "'uploads/work-04.png'")
        narrow.find(".wb-upload").evaluate(
            """(node, bytes) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
                node.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
            }""",
            list((two_styles / "work-05.png").read_bytes()),
        )
        until(lambda: narrow.kernel_value("trial.choice.content") == "'uploads/dropped.png'")
        until(lambda: button(narrow, "Run").is_enabled())


class TestCompare:
    """Pictures under one slider."""

    def test_the_slider_between_two_pictures_is_dragged(self, compared):
        bar = compared.find(".wb-compare .bar")
        bar.scroll_into_view_if_needed()
        box, stage = bar.bounding_box(), compared.find(".wb-compare .stage").bounding_box()
        mouse, y = compared.page.mouse, box["y"] + 60
        mouse.move(box["x"] + box["width"] / 2, y)
        mouse.down()
        mouse.move(stage["x"] + stage["width"] / 4, y, steps=5)
        mouse.up()
        assert bar.get_attribute("aria-valuenow") == "25"
        until(lambda: float(compared.kernel_value("compare.position")) == pytest.approx(0.25, abs=0.01))

    def test_a_reloaded_page_finds_the_comparison_as_it_was(self, compared):
        compared.find(".wb-compare select").nth(1).select_option("dark")
        bar = compared.find(".wb-compare .bar")
        bar.press("Home")
        for _ in range(5):
            bar.press("ArrowRight")
        until(lambda: compared.kernel_value("compare.right, round(compare.position, 2)") == "(2, 0.1)")
        compared.save()
        compared.reload()
        until(lambda: bar.get_attribute("aria-valuenow") == "10")
        assert compared.find(".wb-compare select").nth(1).input_value() == "2"
        bar.press("ArrowRight")
        until(lambda: compared.kernel_value("round(compare.position, 2)") == "0.12")


class TestKeys:
    """The notebook's own keys."""

    @pytest.mark.parametrize(
        ("where", "selector"),
        [
            ("start", ".wb-gallery button"),
            ("compared", ".wb-compare .bar"),
        ],
    )
    def test_a_key_that_is_pressed_in_a_widget_does_not_cut_the_cell(self, where, selector, request):
        notebook = request.getfixturevalue(where)
        cells = "() => jupyterapp.shell.currentWidget.content.model.cells.length"
        before = notebook.page.evaluate(cells)
        widget = notebook.find(selector).first
        widget.wait_for()
        widget.press("x")
        after = notebook.page.evaluate(cells)
        if after != before:
            notebook.execute("notebook:undo-cell-action")
        assert after == before


class Hands:
    """What a person may do with the panel of `compared`, at random."""

    def __init__(self, notebook, folders, seed):
        self.notebook, self.random = notebook, random.Random(seed)
        self.contents = [str(path) for path in sorted(folders[0].glob("*.png"))[:2]]
        self.folders = [str(folder) for folder in folders]

    def act(self):
        """Do something, and return what."""
        name = self.random.choice([name for name in dir(self) if name.startswith("do_")])
        return f"{name.removeprefix('do_')}: {getattr(self, name)()}"

    def one(self, selector):
        """One of the parts of the panel that can be seen, or None where there is none."""
        found = self.notebook.find(f".wb-panel {selector}:visible:not(:disabled)")
        count = found.count()
        return found.nth(self.random.randrange(count)) if count else None

    def press(self, selector):
        if found := self.one(selector):
            said = found.get_attribute("title") or found.get_attribute("aria-label") or found.inner_text()
            found.click()
            return said

    def do_move_a_slider(self):
        if handle := self.one(".noUi-handle"):
            handle.press(key := self.random.choice(["Home", "End", "ArrowLeft", "ArrowRight", "PageUp"]))
            return f"{handle.get_attribute('aria-label')} {key}"

    def do_choose(self):
        of = {"Target": ["whole", "single", "blend", "nearest"], "Start": ["noise"], "Genre": ["all", "portrait", "landscape"]}
        box = self.notebook.find(".wb-panel .widget-dropdown", has_text=(name := self.random.choice(list(of)))).locator(
            "select"
        )
        if not box.is_visible():
            return f"{name}, which is not shown"
        offered = [text for text in box.locator("option").all_inner_texts() if text in of[name]]
        box.select_option(label=(label := self.random.choice(offered)))
        return f"{name} {label}"

    def do_type(self):
        right = {"Content": self.contents, "Artist": self.folders, "Encoder": ["embedded"]}
        name = self.random.choice(list(right))
        field = self.notebook.find(".wb-panel .widget-text", has_text=re.compile(rf"^\s*{name}\s*$")).locator("input").first
        field.fill(text := self.random.choice(right[name] if self.random.random() < 0.75 else ["no-such-name", ""]))
        field.press("Enter")
        return f"{name} {text}"

    def do_press_a_thumbnail(self):
        return self.press('.wb-gallery:not([aria-label="Artists"]) button')

    def do_press_a_result(self):
        return self.press('.wb-gallery[aria-label="Results"] .pick')

    def do_press_a_button(self):
        return self.press(":is(.wb-buttons, .wb-copying, .widget-hbox) > button")

    def do_press_run(self):
        return self.press(".wb-buttons button.primary")

    def do_click_on_a_weight(self):
        if bar := self.one(".wb-gallery input"):
            box = bar.bounding_box()
            bar.click(position={"x": self.random.uniform(2, box["width"] - 2), "y": box["height"] / 2})
            time.sleep(0.06)  # it is sent after 40 ms
            return bar.get_attribute("aria-label")

    def do_let_a_step_pass(self):
        return self.notebook.kernel_value("user.do_step()")

    do_press_run_again = do_press_run_once_more = do_press_run
    do_let_another_step_pass = do_let_a_step_pass


class TestActions:
    """One state, many views, in the page as well."""

    def test_the_page_shows_what_the_kernel_holds_whatever_is_done(self, compared, two_corpora):
        """A hundred actions; after each the page shows what the kernel has to tell, which is of the present choice alone."""
        compared.find(".jupyter-widget-Collapse-header, .lm-AccordionPanel-title", has_text="Size, weights").first.click()
        hands, done, read = Hands(compared, two_corpora, seed=0), [], {}

        def agree():
            read["kernel"] = json.loads(ast.literal_eval(compared.kernel_value("told()")))
            read["page"] = compared.page.evaluate(PAGE)
            return read["kernel"] == read["page"]

        for step in range(ACTIONS + 1):
            done.append(hands.act() if step else "nothing")
            try:
                until(agree, 20)
            except AssertionError:
                apart = [name for name in read["page"] if read["page"][name] != read["kernel"][name]]
                raise AssertionError(f"{[(read['page'][k], read['kernel'][k]) for k in apart]} after {done[-5:]}") from None
            assert (wrong := compared.kernel_value("checked()")) == "None", (wrong, "; ".join(done[-5:]))
        assert int(compared.kernel_value("len(user.runner.kept)")) > 2  # it was not all refusals


class TestAccess:
    """What axe-core finds. What it finds in JupyterLab itself is not ours."""

    @pytest.mark.parametrize("root", [".wb-panel", ".wb-map", ".wb-compare"])
    def test_nothing_keeps_people_out(self, compared, root):
        found = {"light": compared.barriers(root)}
        compared.theme("dark")
        found["dark"] = compared.barriers(root)
        compared.theme("light")
        compared.page.emulate_media(forced_colors="active")
        found["forced colours"] = compared.barriers(root)
        compared.page.emulate_media(forced_colors="none")
        assert not any(found.values()), found
