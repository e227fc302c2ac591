"""What every test shares: a cache of its own, one thread, and the real corpora when they lie beside the checkout.

On tensors as small as those of the tests a second thread costs more than it brings.
"""

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image
from vector_servers import Servers

from workbench import encoders, images, inputs
from workbench.corpora import ingest
from workbench.generative import trained
from workbench.generative.artist import Artist, Options
from workbench.generative.training import Plan, Training
from workbench.runs.declarations import no_grammar_of_iris

with no_grammar_of_iris():  # or every process of the tests loads it
    import nbformat  # noqa: F401

# No example is held to a time: a machine that does other things as well may be slow at any of them.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

SHARED = Path(os.environ.get("WORKBENCH_SHARED", Path(__file__).parents[2] / "shared"))


_cache = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config):
    """One cache for all processes of this run, so that no test reads what an earlier version of the code wrote."""
    gc.disable()  # until all is loaded: see `pytest_collection_finish`
    if "WORKBENCH_CACHE" not in os.environ:
        config.stash[_cache] = tempfile.TemporaryDirectory(prefix="workbench-tests-", ignore_cleanup_errors=True)
        os.environ["WORKBENCH_CACHE"] = config.stash[_cache].name


def pytest_collection_finish(session):
    """What is loaded by now stays, so garbage is not looked for in it: otherwise a tenth of the time goes there."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_unconfigure(config):
    if _cache in config.stash:
        config.stash[_cache].cleanup()
        del os.environ["WORKBENCH_CACHE"]


@pytest.fixture(scope="session", autouse=True)
def cache():
    """The folder of the cache."""
    torch.set_num_threads(1)
    return Path(os.environ["WORKBENCH_CACHE"])


@pytest.fixture(scope="session")
def servers():
    """Servers of vector stores, each started when it is first asked for."""
    started = Servers()
    yield started
    started.stop()


@pytest.fixture
def ctrl_c():
    """Ctrl-C as a terminal gives it: it is heard here, and by the processes that the test starts.

    A shell without job control, such as one that runs a script, starts `make test &` with SIGINT ignored. That is handed down
    to every process started from there, and a Python that finds it so installs no handler.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def ray():
    """A Ray on this machine with two cores. Tests are skipped, by name, where it is not installed."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'artist-workbench[cluster]'")
    folders = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    seen = {"env_vars": {"PYTHONPATH": os.pathsep.join(folders)}}  # modules of the tests, where a task is imported
    for left in (2, 1, 0):
        try:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=seen)
            break
        except Exception:  # a bare one, where it has not started after thirty seconds
            ray.shutdown()
            if not left:
                raise
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def shared():
    """The folder with the real corpora and weights; tests that need it are skipped, visibly, where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real corpora at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def two_styles(tmp_path_factory):
    """A folder of 12 small pictures by two hands: warm diagonal stripes (genre portrait), cool dots (genre landscape)."""
    folder = tmp_path_factory.mktemp("two-styles")
    rows = ["file_name,artist,title,year,genre,series"]
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    for i in range(12):
        phase = generator.uniform(0, 6, 3)
        warm = i % 2 == 0
        pattern = np.sin((x + y) * 0.7 + phase[0]) if warm else np.sin(x * 1.1 + phase[0]) * np.sin(y * 1.1 + phase[1])
        tint = np.array([0.8, 0.4, 0.2] if warm else [0.2, 0.4, 0.8]) + generator.uniform(-0.05, 0.05, 3)
        pixels = (pattern[..., None] * 0.2 + tint).clip(0, 1) * 255
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"work-{i:02}.png")
        rows.append(f"work-{i:02}.png,Nobody,Work {i},19{i:02},{'portrait' if warm else 'landscape'},series-{i // 4}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def corpus(two_styles):
    """`two_styles`, opened."""
    return ingest(two_styles)


@pytest.fixture(scope="session")
def two_corpora(two_styles, tmp_path_factory):
    """`two_styles`, and a folder of five of its works under other names."""
    other = tmp_path_factory.mktemp("other")
    for k, path in enumerate(sorted(two_styles.glob("*.png"))[:5]):
        shutil.copy(path, other / f"other-{k}.png")
    return two_styles, other


@pytest.fixture(scope="session")
def encoder():
    """The encoder that needs no weights, on the CPU."""
    return encoders.load("embedded", device="cpu", precision="float32")


@pytest.fixture(scope="session")
def portraits(two_styles, tmp_path_factory):
    """A corpus of two portraits, of one sitter in two lights, and of two of the patterns in `two_styles`."""
    folder = tmp_path_factory.mktemp("portraits")
    sitter = images.resize(inputs.content("grace_hopper"), 256)
    images.save(sitter, folder / "sitter.png")
    images.save((sitter.flip(3) * torch.tensor([1.0, 0.8, 0.6]).view(1, 3, 1, 1)), folder / "by-candle.png")
    for name in ("work-00.png", "work-01.png"):
        shutil.copy(two_styles / name, folder)
    return ingest(folder)


@pytest.fixture(scope="session")
def network(corpus, encoder, tmp_path_factory):
    """The file of an artist network that knows the works of `corpus`, trained for four steps."""
    options = Options(crop=48, batch=2, size=64, widths=(4, 6, 8), blocks=1)
    training = Training(Artist(corpus.works, corpus.works[:8], corpus.works[8:], encoder, options), Plan(steps=4))
    for _ in training:
        pass
    path = tmp_path_factory.mktemp("network") / "nobody.safetensors"
    trained.save(training, path)
    return path


def pytest_collection_modifyitems(items):
    """The notebooks first: one process runs their whole file, for which the others would wait at the end."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")
