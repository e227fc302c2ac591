"""One content, one artist, one transfer at a time: the plain object behind the transfer panel, which works without it."""

import shlex
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from torch import Tensor

from workbench import encoders, inputs, progress, targets
from workbench.corpora import Corpus
from workbench.encoders import Encoder
from workbench.errors import WorkbenchError, require
from workbench.methods import parse
from workbench.targets import Selection, StyleTarget
from workbench.transfer import Settings, Transfer

EVERY_SECONDS = 0.2  # between two pictures of a running transfer
REMEMBERED = 8  # selections and targets
SLOW = ("cluster", "regions")  # targets that take more than weights


@dataclass(frozen=True, kw_only=True)
class Choice:
    """All that decides a transfer, in plain words: what the panel's controls show."""

    content: str = "grace_hopper"
    """An image file, or a sample."""
    corpus: str = "nocturne"
    """A folder of paintings, or a sample painter."""
    genre: str = ""
    """Works of this genre alone; empty takes all."""
    target: str = "blend"
    """As `methods.Request` takes it: statistics that are combined, as in "blend/barycentre", go with the method gram."""
    single: str = ""
    """The one painting of the target "single"; empty takes the sample painter's most striking one."""
    tau: float = targets.TAU
    exclude: tuple[str, ...] = ()
    """Works left out, by file name."""
    pinned: tuple[str, ...] = ()
    """Works that take all the weight, evenly, whatever the target says; none leaves it as it is."""
    encoder: str = "embedded"
    retriever: str = encoders.RETRIEVER
    """The encoder that says which works fit."""
    settings: Settings = field(default_factory=lambda: Settings(size=384))

    @property
    def chosen(self) -> str:
        """The words of the target, without the method."""
        target, combine, _ = parse(self.target, self.settings)
        return target if combine == "mean" else f"{target}/{combine}"

    @property
    def made_with(self) -> Settings:
        """The settings, with the method that goes with the target."""
        return parse(self.target, self.settings)[2]


@dataclass(frozen=True)
class Kept:
    """A result and what made it. picture: (1, 3, H, W) in [0, 1]; complete: whether it ran to its end."""

    choice: Choice
    target: StyleTarget = field(repr=False)
    picture: Tensor = field(repr=False)
    losses: tuple[dict[str, float], ...] = field(repr=False)
    seconds: float
    complete: bool

    @property
    def label(self) -> str:
        """What was chosen, in short."""
        choice = self.choice
        gram = ", gram" if choice.made_with.method == "gram" and self.target.combine == "mean" else ""
        tau = f", τ {choice.tau:.3g}" if self.target.name in ("blend", "cluster") else ""
        stopped = "" if self.complete else f", stopped after {len(self.losses)}"
        return f"{self.target.label}{gram}{tau}, {choice.settings.size} px{stopped}"


class Exploration:
    """Choose, run, stop, resume; `choice` may be changed at any time and takes effect with the next run.

    A run works in a thread of its own, so that whoever calls is free at once, and a stop takes effect within a step. Listeners
    (`listen`) are called from that thread, five times a second at most, and after the run has ended.
    """

    def __init__(self, choice: Choice | None = None):
        self.choice = choice or Choice()
        self.kept: list[Kept] = []
        self.error = ""
        self._listeners: list[Callable[[], None]] = []
        self._followers: list[Callable[[], None]] = []
        self._transfer: Transfer | None = None
        self._kept_of: Transfer | None = None  # whose result is the last one kept
        self._run_choice = self.choice
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._encoders: dict[str, Encoder] = {}
        self._corpora: dict[str, Corpus] = {}
        self._selections: dict[tuple, Selection] = {}  # the last few, the latest last
        self._targets: dict[tuple, StyleTarget] = {}  # likewise
        self._lock = threading.RLock()
        self._measuring: threading.Thread | None = None
        self._failed: tuple[tuple, str] | None = None  # what could not be measured, and why
        self._pace: deque[float] = deque(maxlen=20)  # when the last evaluations ended

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener()` whenever there is something new to show."""
        self._listeners.append(listener)

    def follow(self, follower: Callable[[], None]) -> None:
        """Call `follower()` after every change of the choice, in the thread that made it."""
        self._followers.append(follower)

    def choose(self, choice: Choice) -> None:
        """Make `choice` the present one."""
        self.choice = choice
        self._call(self._followers)

    def change(self, **changes: Any) -> Choice:
        """Change the choice: its fields, and those of its settings, by name. UsageError for a name that neither has.

        Another corpus forgets the genre, the single painting, and which works were left out or pinned; another genre, the pins.
        """
        own = {f.name for f in fields(Choice)} - {"settings"}
        numbers = {f.name for f in fields(Settings)}
        for name in changes:
            require(name in own | numbers, f"there is no {name!r} to choose: {', '.join(sorted(own | numbers))}")
        settings = replace(self.choice.settings, **{name: value for name, value in changes.items() if name in numbers})
        mine = {name: value for name, value in changes.items() if name in own}
        if mine.get("corpus", self.choice.corpus) != self.choice.corpus:
            mine = {"exclude": (), "pinned": (), "genre": "", "single": "", **mine}
        elif mine.get("genre", self.choice.genre) != self.choice.genre:
            mine = {"pinned": (), **mine}
        self.choose(replace(self.choice, settings=settings, **mine))
        return self.choice

    # What the choice comes to

    def corpus(self) -> Corpus:
        """All works of the corpus chosen."""
        return self._corpus(self.choice.corpus)

    def _corpus(self, name: str) -> Corpus:
        if name not in self._corpora:
            self._corpora[name] = inputs.corpus(name)
        return self._corpora[name]

    def known_corpus(self) -> Corpus | None:
        """The corpus chosen if it has been opened: a large folder, or a painter who has yet to paint, takes seconds."""
        return self._corpora.get(self.choice.corpus)

    def genres(self) -> list[str]:
        """The genres of the corpus's works."""
        return sorted({work.genre for work in self.corpus() if work.genre})

    def _encoder(self, name: str) -> Encoder:
        if name not in self._encoders:
            self._encoders[name] = encoders.load(name)
        return self._encoders[name]

    def target(self, choice: Choice | None = None) -> StyleTarget:
        """The works, and their weights, that a choice, or the present one, stands for: milliseconds, once a corpus is known."""
        choice = choice or self.choice
        wanted = self._wanted(choice)
        if wanted not in self._targets:
            selection = self._selected(choice)
            if choice.pinned:
                found = selection.by_hand(dict.fromkeys(choice.pinned, 1.0))
            else:
                found = selection.choose(choice.chosen, single=_single(choice), tau=choice.tau)
            _remember(self._targets, wanted, found)
        return self._targets[wanted]

    def target_soon(self) -> StyleTarget | None:
        """The target of the present choice where that takes no time; else None, and it is found in a thread of its own, after
        which listeners are called.

        Raises what is wrong with the choice, as `target` does.
        """
        choice = self.choice
        wanted = self._wanted(choice)
        if self._failed is not None and self._failed[0] == wanted:
            raise WorkbenchError(self._failed[1])
        quick = self._seen_by(choice) in self._selections and choice.chosen.partition("/")[0] not in SLOW
        if wanted in self._targets or quick:
            return self.target(choice)
        if not self.measuring:
            self._measuring = threading.Thread(target=self._measure, args=(choice,), name="measuring", daemon=True)
            self._measuring.start()
        return None

    @property
    def measuring(self) -> bool:
        """Whether paintings are being measured for `target_soon`."""
        thread = self._measuring
        return thread is not None and thread.is_alive()

    def _measure(self, choice: Choice) -> None:
        self._failed = None
        try:
            self.target(choice)
        except WorkbenchError as error:
            self._failed = (self._wanted(choice), str(error))
        except Exception as error:  # nobody else would see it: a thread has no caller
            self._failed = (self._wanted(choice), f"{type(error).__name__}: {error}")
            traceback.print_exc()
        finally:
            self._measuring = None
            self._tell()

    def _seen_by(self, choice: Choice) -> tuple:
        """What a selection depends on."""
        return (choice.content, choice.corpus, choice.genre, choice.exclude, choice.encoder, choice.retriever)

    def _wanted(self, choice: Choice) -> tuple:
        """What a target depends on."""
        return (self._seen_by(choice), choice.target, choice.single, choice.tau, choice.pinned)

    def _selected(self, choice: Choice) -> Selection:
        key = self._seen_by(choice)
        if found := self._selections.get(key):
            return found
        with self._lock:  # a run and the strip may ask for the same works at the same time
            if key not in self._selections:
                works = self._corpus(choice.corpus)
                works = works.exclude(choice.exclude) if choice.exclude else works
                works = works.select(genre=choice.genre) if choice.genre else works
                content, encoder = inputs.content(choice.content), self._encoder(choice.encoder)
                found = Selection(works, content, encoder, retriever=self._encoder(choice.retriever))
                found.blend()  # which measures the works, where nobody has yet
                _remember(self._selections, key, found)
            return self._selections[key]

    # Running

    @property
    def running(self) -> bool:
        """Whether a transfer is at work."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    @property
    def resumable(self) -> bool:
        """Whether there is a stopped transfer that can go on."""
        transfer = self._transfer
        return not self.running and transfer is not None and not transfer.finished

    @property
    def picture(self) -> Tensor | None:
        """The picture so far, (1, 3, H, W) in [0, 1]; None before the first step."""
        transfer = self._transfer
        return None if transfer is None or not transfer.history else transfer.image

    @property
    def losses(self) -> list[dict[str, float]]:
        """The losses of every evaluation so far."""
        transfer = self._transfer
        return [] if transfer is None else list(transfer.history)

    @property
    def boundaries(self) -> tuple[tuple[int, str], ...]:
        """Where stages begin, and what they are called: see `transfer.Transfer`."""
        transfer = self._transfer
        return () if transfer is None else transfer.boundaries

    @property
    def total_steps(self) -> int:
        """Evaluations of the present transfer over all its stages."""
        transfer = self._transfer
        return 0 if transfer is None else transfer.total_steps

    @property
    def done(self) -> float:
        """The share of evaluations that are made, 0 to 1."""
        transfer = self._transfer
        return 0.0 if transfer is None else len(transfer.history) / transfer.total_steps

    @property
    def seconds_left(self) -> float | None:
        """What is left at the pace of the last evaluations, later stages taking longer by their pixels; None where unknown."""
        transfer, pace = self._transfer, self._pace
        if transfer is None or len(pace) < 2 or transfer.finished:
            return None
        made, left = len(transfer.history), 0.0
        for start, stage in zip(transfer.starts, transfer.stages, strict=True):
            left += stage.size**2 * max(0, stage.evaluations - max(0, made - start))
        seconds = (pace[-1] - pace[0]) / (len(pace) - 1)
        return (
            seconds
            * left
            / max(stage.size for start, stage in zip(transfer.starts, transfer.stages, strict=True) if start < made) ** 2
        )

    def start(self) -> None:
        """Begin a new transfer of the present choice. UsageError while one is running, and for a choice that makes no sense."""
        require(not self.running, "a transfer is running: stop it first")
        self._transfer, self._run_choice = None, self.choice
        self._go()

    def resume(self) -> None:
        """Go on with the transfer that was stopped. UsageError where there is none."""
        require(self.resumable, "there is no stopped transfer to go on with")
        self._go()

    def stop(self, timeout: float = 5.0) -> bool:
        """Ask the transfer to stop, and wait for it `timeout` seconds at most; whether it has stopped."""
        self._stop.set()
        return self.wait(timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run has ended, `timeout` seconds at most; whether it has."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        return not self.running

    def _go(self) -> None:
        self._stop.clear()
        self.error = ""
        self._thread = threading.Thread(target=self._work, name="transfer", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            with progress.stoppable(self._stop):
                if self._transfer is None:
                    choice = self._run_choice
                    target, encoder = self.target(choice), self._encoder(choice.encoder)
                    self._transfer = Transfer(inputs.content(choice.content), target, encoder, choice.made_with)
                self._iterate(self._transfer)
        except progress.Stopped:
            pass  # as it was asked to: what there is is kept below
        except WorkbenchError as error:
            self.error = str(error)
        except Exception as error:  # nobody else would see it: a thread has no caller
            self.error = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        finally:
            try:
                self._keep()
            finally:
                self._thread = None
                self._tell()

    def _iterate(self, transfer: Transfer) -> None:
        last = 0.0
        self._pace.clear()
        for _ in transfer:
            self._pace.append(time.monotonic())
            if time.monotonic() - last >= EVERY_SECONDS:
                self._tell()
                last = time.monotonic()
            if self._stop.is_set():
                return

    def _keep(self) -> None:
        transfer = self._transfer
        if transfer is None or not transfer.history:
            return
        result = Kept(
            self._run_choice, transfer.target, transfer.image, tuple(transfer.history), transfer.seconds, transfer.finished
        )
        if self.kept and self._kept_of is transfer:
            self.kept.pop()  # the same transfer, stopped earlier
        self._kept_of = transfer
        self.kept.append(result)

    def _tell(self) -> None:
        self._call(self._listeners)

    @staticmethod
    def _call(views: list[Callable[[], None]]) -> None:
        for view in views:
            try:
                view()
            except Exception:  # a view that fails is no reason to lose the run
                traceback.print_exc()

    # Copying

    def code(self) -> str:
        """A cell that repeats the choice."""
        choice = self.choice
        lines = ["from workbench import encoders, inputs, targets, transfer", ""]
        lines += [f"content = inputs.content({choice.content!r})", f"works = inputs.corpus({choice.corpus!r})"]
        if choice.exclude:
            lines.append(f"works = works.exclude({list(choice.exclude)!r})")
        if choice.genre:
            lines.append(f"works = works.select(genre={choice.genre!r})")
        lines.append(f"encoder = encoders.load({choice.encoder!r})")
        other = f", retriever=encoders.load({choice.retriever!r})" if choice.retriever != encoders.RETRIEVER else ""
        lines.append(f"selection = targets.Selection(works, content, encoder{other})")
        if choice.pinned:
            lines.append(f"target = selection.by_hand({dict.fromkeys(choice.pinned, 1.0)!r})")
        else:
            single = _single(choice)
            options = f", single={single!r}" if single else ""
            lines.append(f"target = selection.choose({choice.chosen!r}{options}, tau={choice.tau!r})")
        settings = ", ".join(f"{name}={value!r}" for name, value in _changed(choice.made_with).items())
        lines += [f"settings = transfer.Settings({settings})"]
        lines += ["result = transfer.Transfer(content, target, encoder, settings).run(show=True)", "result.image"]
        return "\n".join(lines)

    def command(self) -> str:
        """The papermill command that makes the comparison of the choice with notebook 05. UsageError where it cannot say it."""
        choice = self.choice
        require(not choice.pinned, "papermill cannot be told of pinned works: copy the code instead")
        given: dict[str, Any] = {
            "content": choice.content,
            "corpus": choice.corpus,
            "encoder": choice.encoder,
            "tau": choice.tau,
        }
        if choice.retriever != encoders.RETRIEVER:
            given["retriever"] = choice.retriever
        if choice.single:
            given["single"] = choice.single
        known = ("method", "looseness", "palette", "size", "steps", "alpha", "beta", "style_loss", "brush", "strength")
        known += ("colour", "init", "seed")
        changed = asdict(choice.made_with)
        given |= {
            name: changed[name] for name in known if changed[name] != _defaults()[name] or name in ("size", "steps", "alpha")
        }
        words = [f"-p {name} {shlex.quote(str(value))}" for name, value in given.items()]
        lists = {"choices": [choice.target], "exclude": list(choice.exclude), "genres": [choice.genre] if choice.genre else []}
        words += [f"-y {shlex.quote(f'{name}: {value}')}" for name, value in lists.items() if value]
        return "papermill notebooks/05_comparison.ipynb out.ipynb " + " ".join(words)


def _single(choice: Choice) -> str:
    """The one painting of the target "single", and nothing for others."""
    if not choice.chosen.startswith("single"):
        return ""
    return choice.single or inputs.striking_work(choice.corpus)


def _remember(kept: dict, key: tuple, found: object) -> None:
    """Keep `found`, and no more than the last eight: selections hold embeddings, and targets of regions masks."""
    kept[key] = found
    for old in list(kept)[:-REMEMBERED]:
        kept.pop(old, None)


def _defaults() -> Mapping[str, Any]:
    return asdict(Settings())


def _changed(settings: Settings) -> dict[str, Any]:
    """The fields of `settings` that differ from the defaults."""
    return {name: value for name, value in asdict(settings).items() if value != _defaults()[name]}
