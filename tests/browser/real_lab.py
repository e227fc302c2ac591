"""A JupyterLab server and a browser, for the tests and the pictures of the widgets.

The server listens on 127.0.0.1 alone, has folders of its own for all that Jupyter reads and writes, and ends with its
kernels when the `with` block ends.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import psutil

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 120
"""Seconds until a wait is given up: the machine may be slow and busy."""
FORGOTTEN = 600
"""Seconds after which an unused server ends by itself, in case the tests were killed."""

CONFIGURATION = {
    "ServerApp": {"ip": "127.0.0.1", "open_browser": False, "allow_root": True, "shutdown_no_activity_timeout": FORGOTTEN},
    "MappingKernelManager": {"cull_idle_timeout": FORGOTTEN, "cull_connected": True},
    "LabApp": {
        "expose_app_in_browser": True,
        "news_url": None,
        "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "extension_manager": "readonly",  # the other one sends requests to PyPI
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Light", "adaptive-theme": False},
}

# Errors that JupyterLab itself writes to the console.
KNOWN: tuple[re.Pattern[str], ...] = ()


def missing() -> str:
    """Why there is no browser; empty where there is one."""
    if executable() is None:
        return f"no Chromium: apt-get install chromium, or put one of {', '.join(BROWSERS)} on the PATH"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "no Playwright: pip install playwright"
    return ""


def executable() -> str | None:
    """The browser of the system; a stub without a browser behind it does not count."""
    found = (path for name in BROWSERS if (path := shutil.which(name)))
    return next((p for p in found if subprocess.run([p, "--version"], capture_output=True).returncode == 0), None)


@dataclass(frozen=True)
class Server:
    """A running JupyterLab. root: the folder it shows."""

    url: str
    token: str = field(repr=False)
    root: Path
    log: Path

    def write(self, name: str, cells: list[str]) -> None:
        """Put a notebook of these code cells into the root."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata.kernelspec = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }  # else JupyterLab opens a dialogue
        nbformat.write(notebook, self.root / name)

    def copy(self, name: str, **parameters: Any) -> None:
        """Put a notebook of the workbench into the root, with other values in its parameters cell."""
        notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
        (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
        for parameter, value in parameters.items():
            line = re.compile(rf"^({parameter}: [^=]+ = ).*$", re.MULTILINE)
            cell.source, count = line.subn(lambda found, value=value: f"{found[1]}{value!r}", cell.source)
            assert count == 1, f"{name} has {count} parameters {parameter!r}"
        nbformat.write(notebook, self.root / name)


@contextmanager
def serve(folder: Path, **environment: str) -> Iterator[Server]:
    """JupyterLab with all its files in `folder`; `environment` goes to it and to its kernels."""
    root, places = folder / "root", {}
    for name in ("config", "data", "runtime"):
        places[f"JUPYTER_{name.upper()}_DIR"] = str(folder / name)
        (folder / name / "labconfig").mkdir(parents=True)
    root.mkdir()
    config = CONFIGURATION | {"LabApp": CONFIGURATION["LabApp"] | _lab_places(folder)}
    (folder / "config" / "jupyter_server_config.json").write_text(json.dumps(config))
    (folder / "config" / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    token, log = secrets.token_hex(24), folder / "log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER_", "JPY_"))}
    places |= {"JUPYTER_TOKEN": token, "IPYTHONDIR": str(folder / "ipython")}  # every user can read a command line
    places |= {"OMP_NUM_THREADS": "1"}  # the browser needs a core, too
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}", f"--ServerApp.port={_free_port()}"]
    with log.open("wb") as out:
        process = psutil.Popen(
            command, cwd=root, env=inherited | places | environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        yield Server(_address(process, folder / "runtime", token, log), token, root, log)
    finally:
        _end(process)


TRACEBACK = re.compile(r"Traceback \(most recent call last\).*\n(?:[ \t]+.*\n)*(\S.*)\n")
GONE = ("tornado.websocket.WebSocketClosedError", "tornado.iostream.StreamClosedError")
"""What the server logs where a page is loaded again while a message is on its way to it."""


def raised(log: str) -> list[str]:
    """The tracebacks of a server's log, but for those of a page that is gone."""
    return [found[0] for found in TRACEBACK.finditer(log) if not found[1].startswith(GONE)]


def _lab_places(folder: Path) -> dict[str, str]:
    return {"user_settings_dir": str(folder / "settings"), "workspaces_dir": str(folder / "workspaces")}


def _free_port() -> int:
    """Free now; should another process take it first, the server takes the next."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _address(process: psutil.Popen, runtime: Path, token: str, log: Path) -> str:
    """Where the server listens, as soon as it answers."""
    record = runtime / f"jpserver-{process.pid}.json"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError, ValueError):
            url = json.loads(record.read_text())["url"]
            request = urllib.request.Request(f"{url}api/status", headers={"Authorization": f"token {token}"})
            with urllib.request.urlopen(request, timeout=10):
                return url
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-4000:]}")


def _end(process: psutil.Popen) -> None:
    """End the server and its kernels, after 15 seconds by force."""
    family = [process]
    with suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
        process.terminate()
    _, alive = psutil.wait_procs(family, timeout=15)
    for other in alive:
        with suppress(psutil.NoSuchProcess):
            other.kill()
    process.wait()


@contextmanager
def browse() -> Iterator["Browser"]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=executable(),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
            ignore_default_args=["--hide-scrollbars"],  # people see them
        )
        try:
            yield browser
        finally:
            browser.close()


class Notebook:
    """A notebook open in JupyterLab, in a page of its own."""

    def __init__(self, server: Server, browser: "Browser", name: str, **context: Any):
        """`context`: what `Browser.new_context` takes, such as viewport and device_scale_factor."""
        self.server, self.name = server, name
        self.problems: list[str] = []
        """Unexpected errors of the page: on the console, uncaught, and requests to other servers."""
        self.page: Page = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | context)).new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._problem(f"uncaught: {error.stack or error}"))
        self.page.on("request", self._request)
        workspace = name.removesuffix(".ipynb")  # of its own, for a shared one brings back what was open before
        self.page.goto(f"{server.url}lab/workspaces/{workspace}/tree/{name}?token={server.token}")
        self._ready()

    def _console(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self._problem(f"console: {message.text} ({message.location.get('url', '')})")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.server.url, "data:", "blob:")):
            self._problem(f"request to another server: {request.url}")

    def _problem(self, text: str) -> None:
        if not any(known.search(text) for known in KNOWN):
            self.problems.append(text)

    def _ready(self) -> None:
        self.page.wait_for_function(
            """() => {
                const panel = window.jupyterapp?.shell.currentWidget;
                return panel?.context?.isReady && panel.sessionContext?.isReady
                    && panel.sessionContext.session?.kernel?.status === "idle";
            }"""
        )

    def wait_for(self, promise: str, argument: Any = None, seconds: float = PATIENCE) -> Any:
        """The value that the function `promise` of the page resolves to for `argument`; an Error after `seconds`."""
        return self.page.evaluate(
            f"""([argument, seconds]) => Promise.race([({promise})(argument), new Promise((_, fail) => setTimeout(
                () => fail(new Error(`nothing within ${{seconds}} s`)), 1000 * seconds))])""",
            [argument, seconds],
        )

    def execute(self, command: str, seconds: float = PATIENCE, **arguments: Any) -> None:
        """Execute a command of JupyterLab."""
        self.wait_for("([command, given]) => jupyterapp.commands.execute(command, given)", [command, arguments], seconds)

    def run(self) -> None:
        """Run all cells to the end. AssertionError, with the trace, if one raises."""
        self.execute("notebook:run-all-cells", seconds=5 * PATIENCE)
        errors = self.page.evaluate(
            """() => [...jupyterapp.shell.currentWidget.content.model.cells].flatMap(
                (cell) => (cell.type === "code" ? cell.toJSON().outputs : []))
                .filter((output) => output.output_type === "error").map((output) => output.traceback.join("\\n"))"""
        )
        assert not errors, f"{self.name}: " + re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(errors))

    def kernel_value(self, expression: str) -> str:
        """The value of an expression in the kernel, as text; runs no cell."""
        return self.wait_for(
            """async (expression) => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute(
                    { code: "", silent: true, store_history: false, user_expressions: { it: expression } });
                const it = (await future.done).content.user_expressions.it;
                return it.status === "ok" ? it.data["text/plain"] : `${it.ename}: ${it.evalue}`;
            }""",
            expression,
        )

    def find(self, selector: str, **keywords: Any) -> "Locator":
        """A locator inside the notebook."""
        return self.page.locator(".jp-Notebook").locator(selector, **keywords)

    def barriers(self, selector: str) -> list[str]:
        """What axe-core finds of serious or critical impact in the elements of `selector`: a line for each.

        What lies outside of them is JupyterLab's own.
        """
        from axe_playwright_python.sync_playwright import Axe

        self.page.locator(selector).first.scroll_into_view_if_needed()
        found = Axe().run(self.page, selector).response["violations"]
        return [
            f"{rule['help']} ({rule['impact']}): {node['html']}"
            for rule in found
            for node in rule["nodes"]
            if rule["impact"] in ("serious", "critical")
        ]

    def save(self) -> None:
        """Save the notebook."""
        self.execute("docmanager:save")

    def reload(self) -> None:
        """Load the page again, as with F5; the kernel goes on.

        ipywidgets waits four seconds for the widgets of the kernel. On a busy machine they may come later and are then missing
        from the page, with an error, until it is loaded again: this tries three times.
        """
        for _ in range(3):
            self.page.reload()
            self._ready()
            self.page.wait_for_function("() => !document.querySelector('.jp-Notebook').textContent.includes('Loading widget')")
            if not self.page.get_by_text("Error displaying widget").count():
                break
            self.problems[:] = [problem for problem in self.problems if "widget model not found" not in problem]

    def theme(self, name: str) -> None:
        """ "light" or "dark"."""
        title = f"JupyterLab {name.title()}"
        self.execute("apputils:change-theme", theme=title)
        self.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=title)
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def close(self) -> None:
        """Close the page and end the kernel: memory and cores are few."""
        self.wait_for("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.context.close()
