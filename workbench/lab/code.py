"""The code and the command that repeat a choice."""

import json
import shlex
from dataclasses import fields
from typing import Any

from workbench import methods
from workbench.errors import require
from workbench.lab.choice import Choice
from workbench.methods import Request
from workbench.transfer import Settings

NOTEBOOK = "notebooks/05_comparison.ipynb"
SETTINGS = (
    *("size", "steps", "looseness", "palette", "alpha", "beta", "style_loss", "brush", "strength"),
    *("colour", "init", "seed"),
)
"""Settings that the notebook has parameters for."""
STOPS_EARLY = ("plateau",)
"""Settings that the notebook lacks, but that decide only how soon a run may end."""


def code(choice: Choice) -> str:
    """A notebook cell that repeats the picture of `choice`: `result.image`."""
    request = choice.request
    settings = ", ".join(f"{name}={value!r}" for name, value in _changed(request.settings).items())
    given = {name: repr(value) for name, value in _changed(request).items() if name != "settings"}
    given |= {name: repr(getattr(request, name)) for name in ("content", "corpora", "target")}
    ordered = [f.name for f in fields(Request) if f.name in given]
    return "\n".join(
        [
            "from workbench import methods, transfer",
            "",
            "request = methods.Request(",
            *(f"    {name}={given[name]}," for name in ordered),
            f"    settings=transfer.Settings({settings}),",
            ")",
            "result = methods.get(request.method).stylise(request, show=True)",
            "result.image",
        ]
    )


def command(choice: Choice) -> str:
    """The papermill command that paints `choice` in notebook 05. Raises UsageError where its parameters cannot say it."""
    request = choice.request
    require(not request.missing, request.missing)
    by_hand = "weighted" if choice.weights else "pinned" if choice.pinned else ""
    require(not by_hand, f"the notebook has no parameter for {by_hand} works: copy the code instead")
    changed = _changed(request.settings)
    ignored = methods.get(request.method).ignores
    missing = [name for name in changed if name not in (*SETTINGS, *STOPS_EARLY, "method", "options", *ignored)]
    require(not missing, f"the notebook has no parameter {', '.join(missing)}: copy the code instead")
    given: dict[str, Any] = {"content": choice.content, "corpus": choice.corpus, "encoder": choice.encoder, "tau": choice.tau}
    given |= {name: value for name, value in _changed(choice).items() if name in ("retriever", "single")}
    always = ("size", "steps", "alpha")
    given |= {name: getattr(request.settings, name) for name in SETTINGS if name in changed or name in always}
    words = [f"-p {name} {shlex.quote(str(value))}" for name, value in given.items()]
    lists = {"choices": [request.words], "exclude": list(choice.exclude), "genres": [choice.genre] if choice.genre else []}
    lists["options"] = [] if "options" in ignored else list(request.settings.options)
    words += [f"-y {shlex.quote(f'{name}: {json.dumps(value, ensure_ascii=False)}')}" for name, value in lists.items() if value]
    return f"papermill {NOTEBOOK} out.ipynb " + " ".join(words)


def _changed(values: Choice | Request | Settings) -> dict[str, Any]:
    """The fields of `values` that differ from the defaults of its class."""
    defaults = type(values)()
    pairs = ((f.name, getattr(values, f.name)) for f in fields(values))
    return {name: value for name, value in pairs if value != getattr(defaults, name)}
