"""`workbench transfer`: everything that can be refused is refused before the work starts, and a stop keeps the picture."""

import argparse
import difflib
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.parser import (
    CORPUS_HELP,
    add_command,
    check_out,
    encoder_options,
    given,
    load_encoder,
    load_retriever,
    open_corpus,
)
from workbench.errors import UsageError, WorkbenchError, require
from workbench.presets import DEFAULT, PRESETS

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.corpus import Corpus, Work
    from workbench.encoders import Encoder
    from workbench.targets import StyleTarget
    from workbench.transfer import Transfer

SETTINGS = "workbench.transfer:Settings"
BLEND = "workbench.targets:blend"
TARGET = "workbench.targets:StyleTarget"
# Options that would be ignored with any other target.
ONLY_WITH = {
    "--style": ("single",),
    "--tau": ("blend", "cluster", "regions"),
    "--mask": ("regions",),
    "--retriever": ("nearest", "blend", "cluster", "regions"),
    "--weigh": ("by-hand",),
}
CHECKPOINT_EVERY = 25  # steps
LISTED = 12  # paintings named on the terminal


def declare(commands: Any) -> None:
    parser = add_command(commands, "transfer", _transfer, "paint a picture in the style of one painting, or of many")
    parser.add_argument("content", metavar="CONTENT", help="image file, or a sample photograph")
    parser.add_argument("--corpus", action="append", help=f"{CORPUS_HELP}; given several times, they are mixed")
    parser.add_argument("--share", action="append", type=float, help="of each of several corpora, in turn (default: equal)")
    parser.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE", help="only works whose metadata say so; year=1888..1890"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PAINTING", help="a work to leave out, by file or title"
    )
    parser.add_argument(
        "--preset",
        default=DEFAULT,
        help="--target and --method by one name: "
        + "; ".join(f"{name}, {preset.says}" for name, preset in PRESETS.items())
        + f" (default: {DEFAULT})",
    )
    parser.add_argument(
        "--target", help="which paintings: single, nearest, blend, cluster, regions, whole, or by-hand with --weigh"
    )
    parser.option("--combine", TARGET, "what several paintings become together")
    parser.add_argument("--style", metavar="PAINTING", help="the single painting: a work of the corpus, or any image file")
    parser.option("--tau", BLEND, "temperature of the blend: near 0 the nearest, large the whole", type=float)
    parser.add_argument("--weigh", action="append", metavar="PAINTING=WEIGHT", help="a work, for --target by-hand")
    parser.add_argument("--mask", metavar="FILE", help="regions: a picture that paints each part of CONTENT in one flat colour")
    parser.add_argument("--retriever", metavar="ENCODER", help="encoder that says which paintings fit (default: lite0)")
    parser.add_argument("-o", "--out", required=True, type=Path, help="the picture to write; .png carries its provenance")
    encoder_options(parser)
    parser.option("--method", SETTINGS, "whether places of the paintings are taken over, or statistics matched")
    parser.option("--looseness", SETTINGS, "neighbours: blur, px, through which places are compared: 0 tight", type=float)
    parser.option(
        "--palette", SETTINGS, "neighbours: how far colours move to the paintings' before places are compared", type=float
    )
    parser.option("--size", SETTINGS, "long side of the result, px", type=int)
    parser.option("--steps", SETTINGS, "evaluations at full size; neighbours take 0.4 times as many at every scale", type=int)
    parser.option("--alpha", SETTINGS, "weight of the content loss", type=float)
    parser.option("--beta", SETTINGS, "weight of the style loss", type=float)
    parser.option("--tv", SETTINGS, "weight of the total variation", type=float)
    parser.option("--style-loss", SETTINGS, "how styles are compared")
    parser.option("--softness", SETTINGS, "of the choice among paintings kept apart; 0 takes the nearest alone", type=float)
    parser.option("--bag", SETTINGS, "how many patches stand for all paintings, where patches are compared", type=int)
    parser.option("--brush", SETTINGS, "size of the paintings over that of the picture: below 1 finer strokes", type=float)
    parser.option("--strength", SETTINGS, "from the content's own style, 0, to that of the paintings, 1", type=float)
    parser.option("--colour", SETTINGS, "whose colours the result has")
    parser.option("--optimiser", SETTINGS, "what moves the pixels")
    parser.option("--init", SETTINGS, "what the optimisation starts from")
    parser.option("--draft", SETTINGS, "whether embedded makes a draft for vgg19, which is quicker")
    parser.option("--plateau", SETTINGS, "gain over 20 evaluations, as a share, below which it stops; 0 never does", type=float)
    parser.option("--seed", SETTINGS, "of all that is drawn: places of paintings, noise, patches", type=int)
    parser.add_argument(
        "--checkpoint", metavar="FILE", type=Path, help=f"write the state every {CHECKPOINT_EVERY} steps, and when stopped"
    )
    parser.add_argument("--resume", action="store_true", help="go on from --checkpoint")


def _transfer(args: argparse.Namespace) -> None:
    check_out(args.out)
    _check_checkpoint(args)
    from workbench import images, inputs, metrics
    from workbench.advance import Diverged
    from workbench.figures.files import PNG_KEY
    from workbench.transfer import Settings, Transfer, check_combination

    settings = Settings(**_preset(args))
    for option, method in (("looseness", "neighbours"), ("palette", "neighbours"), ("draft", "gram")):
        goes = settings.method == method or option not in given(args, SETTINGS)
        require(goes, f"--{option} goes with --method {method}, not with {settings.method}")
    _check_target(args)
    check_combination(given(args, TARGET).get("combine", "pooled"), settings, guided=args.target == "regions")
    source = inputs.content_path(args.content)
    _check_writes(args, source)
    _check_picture(args.out, {})
    content = images.load(source)
    encoder = load_encoder(args, style=True)
    retriever = load_retriever(args, encoder) if args.target in ONLY_WITH["--retriever"] else None
    target = _choose(args, content, encoder, retriever)
    transfer = Transfer(content, target, encoder, settings)
    target = transfer.target  # whose regions may have been joined
    print(f"{target.label}: {target.note}")
    for work, weight in list(zip(target.works, target.weights, strict=True))[:LISTED]:
        print(f"{weight:7.1%}  {work.name}  {work.title}")
    if len(target.works) > LISTED:
        print(f"         and {len(target.works) - LISTED} more")
    for guide in target.guides:
        print(guide.line)
    sys.stdout.flush()
    if args.resume:
        transfer.resume(args.checkpoint)
    _check_picture(args.out, _stamp(args, source, transfer, retriever))
    transfer.show = True
    try:
        complete = _advance(transfer, args.checkpoint)
    except Diverged as error:
        images.save(error.image, args.out, metadata=_stamp(args, source, transfer, retriever))
        raise WorkbenchError(f"{error}; the last good picture is {args.out}") from error
    done = f"step {len(transfer.history)} of {transfer.total_steps}"
    if not transfer.history:
        raise KeyboardInterrupt("interrupted before the first step; nothing was written")
    images.save(transfer.image, args.out, metadata=_stamp(args, source, transfer, retriever))
    if not complete:
        raise KeyboardInterrupt(f"interrupted at {done}; the picture so far is {args.out}")
    style = metrics.style_distance(transfer.bare, transfer.aim(), encoder)
    print(f"content {metrics.content_distance(transfer.image, content, encoder):.3g}", end="   ")
    print(f"style {style.gram:.3g}   style W2 {style.w2:.3g}   {transfer.seconds:.0f} s")
    print(args.out)
    if target.guides:
        from workbench import comparison, figures

        stamp = json.loads(_stamp(args, source, transfer, retriever)[PNG_KEY])
        print(
            *figures.save(comparison.matches(content, target), args.out.with_name(f"{args.out.stem}_regions"), stamp), sep="\n"
        )


def _preset(args: argparse.Namespace) -> dict[str, Any]:
    """The settings given, with the method of --preset where none is; --target is filled in likewise.

    Statistics that are combined or compared in some way are a matter of the method gram.
    """
    near = difflib.get_close_matches(args.preset, PRESETS, n=1)
    instead = f"did you mean {near[0]}?" if near else f"choose {', '.join(PRESETS)}"
    require(args.preset in PRESETS, f"--preset {args.preset!r}: {instead}")
    preset = PRESETS[args.preset]
    args.target = args.target or (preset.target if args.corpus or preset.target == "single" else "single")
    ways, combine = given(args, SETTINGS), given(args, TARGET).get("combine", "pooled")
    statistics = combine != "pooled" or ways.get("style_loss", "gram") != "gram" or ways.get("draft", "auto") != "auto"
    return {"method": "gram" if statistics else preset.method} | given(args, SETTINGS)


def _check_writes(args: argparse.Namespace, source: Path) -> None:
    """Refuse to write over what is read."""
    read = {"the content itself": source, "the mask": args.mask, "the painting": args.style, "the checkpoint": args.checkpoint}
    writes = [args.out]
    if args.target == "regions":
        writes += [args.out.with_name(f"{args.out.stem}_regions{suffix}") for suffix in (".png", ".pdf")]
        for out in writes[1:]:
            check_out(out)
    for out in writes:
        for what, path in read.items():
            same = path is not None and Path(path).resolve() == out.resolve()
            require(not same, f"cannot write {out}: it is {what}; choose another name for --out")


def _check_checkpoint(args: argparse.Namespace) -> None:
    require(not args.resume or args.checkpoint is not None, "--resume needs --checkpoint FILE to go on from")
    if args.checkpoint is None:
        return
    check_out(args.checkpoint)
    require(args.checkpoint.resolve() != args.out.resolve(), "--checkpoint and --out name the same file")
    require(
        not args.resume or args.checkpoint.is_file(),
        f"--resume: there is no checkpoint {args.checkpoint}; leave --resume out to start afresh",
    )


def _check_target(args: argparse.Namespace) -> None:
    """Refuse what does not go together, and fill in the style where there is a default for it."""
    import numpy as np

    from workbench import inputs, targets

    targets.check_combine(given(args, TARGET).get("combine", "pooled"))
    names = (*targets.NAMES, "by-hand")
    require(args.target in names, f"--target {args.target!r}: choose {', '.join(names)}")
    tau = given(args, BLEND).get("tau")
    values = {"--style": args.style, "--tau": tau, "--retriever": args.retriever, "--weigh": args.weigh, "--mask": args.mask}
    for flag, value in values.items():
        goes = value is None or args.target in ONLY_WITH[flag]
        require(goes, f"{flag} goes with --target {' or '.join(ONLY_WITH[flag])}, not with {args.target}")
    if tau is not None:
        targets.softmax_weights(np.zeros(1), tau)  # knows what a temperature may be
    count = len(args.corpus or ())
    shared = args.share is None or (len(args.share) == count > 1)
    require(shared, f"--share: give one for each of several --corpus, of which there are {count}")
    require(all(0 < share < float("inf") for share in args.share or ()), "--share: give positive numbers")
    require(count < 2 or args.target not in ("single", "by-hand", "regions"), f"--target {args.target} takes one --corpus")
    require(args.mask is None or Path(args.mask).is_file(), f"--mask {args.mask}: no such file")
    require(args.target != "by-hand" or bool(args.weigh), "--target by-hand needs --weigh PAINTING=WEIGHT")
    for flag, given_values in (("--where", args.where), ("--exclude", args.exclude)):
        require(not given_values or count > 0, f"{flag} needs --corpus: it says which of its works to use")
    for text in (*args.where, *(args.weigh or ())):
        require("=" in text, f"{text!r}: write NAME=VALUE")
    weights: dict[str, float] = {}
    for name, _, weight in (text.rpartition("=") for text in args.weigh or ()):
        weights[name] = weights.get(name, 0.0) + _number(weight)
    args.weigh = weights or None
    ways, combine = given(args, SETTINGS), given(args, TARGET).get("combine", "pooled")
    for flag, goes in (("softness", combine == "apart"), ("bag", combine == "bag" or ways.get("style_loss") == "patches")):
        with_what = {"softness": "--combine apart", "bag": "--combine bag and --style-loss patches"}[flag]
        require(goes or flag not in ways, f"--{flag} goes with {with_what}")
    if args.corpus is None:
        require(args.target == "single", f"--target {args.target} needs --corpus: {CORPUS_HELP}")
        require(args.style is not None, "--target single needs --style, an image file; or --corpus, to take a work from")
        require(Path(args.style).is_file(), f"--style {args.style}: no such file; give --corpus to name one of its works")
    elif args.target == "single" and args.style is None:
        try:
            args.style = inputs.striking_work(args.corpus[0])
        except UsageError as error:
            raise UsageError("--target single needs --style: a work of the corpus, by file or title") from error


def _check_picture(out: Path, metadata: dict[str, str]) -> None:
    """Save a dot as `out` is to be saved: a format without a writer, or with no room for the metadata, shows now."""
    from PIL import Image

    from workbench import images

    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, out.name)
        try:
            images.save(Image.new("RGB", (1, 1)), probe, metadata=metadata)
        except UsageError as error:
            raise UsageError(str(error).replace(str(probe), str(out))) from error


def _choose(args: argparse.Namespace, content: "Tensor", encoder: "Encoder", retriever: "Encoder | None") -> "StyleTarget":
    """The paintings that --target, --style and --corpus name."""
    from workbench import targets

    if args.corpus is None:
        return targets.single(_lone_work(Path(args.style))).combined(given(args, TARGET).get("combine", "pooled"))
    opened = [open_corpus(name, args.out, args.checkpoint) for name in args.corpus]
    for name in args.exclude:
        if not any(corpus.named(name) for corpus in opened):
            opened[0].find(name)  # which says what is near
    corpora = [_part(corpus, args) for corpus in opened]
    selections = [targets.Selection(corpus, content, encoder, retriever=retriever, show=True) for corpus in corpora]
    combine = given(args, TARGET).get("combine", "pooled")
    if args.target == "by-hand":
        return selections[0].by_hand(args.weigh).combined(combine)
    if args.target != "single":
        options = given(args, BLEND) | ({"mask": args.mask} if args.mask else {})
        chosen = [getattr(selection, args.target)(**options).combined(combine) for selection in selections]
        if len(chosen) > 1:
            chosen = [replace(target, name=corpus.name) for target, corpus in zip(chosen, corpora, strict=True)]
        shares = args.share or [1.0] * len(chosen)
        return chosen[0] if len(chosen) == 1 else targets.mix(list(zip(shares, chosen, strict=True)))
    try:
        return selections[0].single(args.style).combined(combine)
    except UsageError:
        if not Path(args.style).is_file():
            raise
        return targets.single(_lone_work(Path(args.style))).combined(combine)


def _part(corpus: "Corpus", args: argparse.Namespace) -> "Corpus":
    """The works of `corpus` that --where and --exclude leave: any of a column's values, and all of the columns."""
    criteria: dict[str, list[str]] = {}
    for text in args.where:
        column, _, value = text.partition("=")
        criteria.setdefault(column, []).append(value)
    part = corpus
    for column, values in criteria.items():
        spans = [re.fullmatch(r"(\d+)\.\.(\d+)", value) for value in values]
        found = [corpus.between(column, *map(int, span.groups())) for span in spans if span]
        plain = [value for value, span in zip(values, spans, strict=True) if not span]
        found += [corpus.select(**{column: plain})] if plain else []
        kept = {work.name for one in found for work in one}
        require(any(work.name in kept for work in part), f"no work of corpus {corpus.name!r} meets all of --where at once")
        part = replace(part, works=tuple(work for work in part if work.name in kept))
    out = [corpus.find(name) for name in args.exclude if corpus.named(name)]
    out = [work for work in out if work in part.works]
    return part.exclude(out) if out else part


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"--weigh: {text!r} is no number") from error


def _lone_work(path: Path) -> "Work":
    """An image file that belongs to no corpus."""
    from workbench import images, provenance
    from workbench.corpus import Work

    return Work(path.name, path, provenance.sha256(path), *images.read(path).image.size)


def _stamp(args: argparse.Namespace, source: Path, transfer: "Transfer", retriever: "Encoder | None") -> dict[str, str]:
    """Metadata that says what decided the picture: enough to make it again, and to tell whether it was finished."""
    from workbench import provenance as pv
    from workbench import targets
    from workbench.figures.files import PNG_KEY

    encoder, target, settings = transfer.encoder, transfer.target, transfer.settings
    parameters = {
        "content": args.content,
        "corpus": args.corpus[0] if args.corpus and len(args.corpus) == 1 else args.corpus,
        "target": args.target,
        "combine": target.combine,
        "encoder": encoder.identity,
        "device": encoder.device.type,
        **asdict(settings),
    }
    parameters |= {name: getattr(args, name) for name in ("share", "where", "exclude", "weigh", "mask") if getattr(args, name)}
    if retriever is not None:
        parameters["retriever"] = retriever.identity
    if args.target in ONLY_WITH["--tau"]:
        parameters["tau"] = given(args, BLEND).get("tau", targets.TAU)
    used = [e for e in (encoder, transfer.draft, retriever) if e is not None]
    weights = {pv.shared(e.name): e.weights_sha256 for e in used}
    inputs = {"content": source} | ({"mask": Path(args.mask)} if args.mask else {})
    made = pv.provenance(parameters, settings.seed, inputs, weights)
    works = [
        {"file": work.name, "sha256": work.sha256, "weight": weight}
        for work, weight in zip(target.works, target.weights, strict=True)
    ]
    progress = {"steps_done": len(transfer.history), "finished": transfer.finished}
    fits = {"fit": asdict(target.fit)} if target.fit else {}
    return {PNG_KEY: pv.text({"command": "transfer", **made, "works": works, **fits, **progress})}


def _advance(transfer: "Transfer", checkpoint: Path | None) -> bool:
    """Iterate to the end, or until Ctrl-C; whether the end was reached."""
    from workbench import progress

    steps = transfer.total_steps
    label = f"transfer ({transfer.target.name})"
    # Asked twice, it stops amid a step: the picture is good, but the state is not one to write to the checkpoint.
    with suppress(KeyboardInterrupt), _stop_between_steps() as asked:
        for iterate in progress.track(transfer, total=steps - len(transfer.history), label=label, show=True):
            stopping = bool(asked)  # looked at once: what comes after this line waits for the next step, and its checkpoint
            if checkpoint and (stopping or iterate.step % CHECKPOINT_EVERY == 0):
                transfer.checkpoint(checkpoint)
            if stopping:
                break
    return transfer.finished


@contextmanager
def _stop_between_steps() -> Iterator[list[int]]:
    """Yield a list that Ctrl-C, or SIGTERM, puts its number into. The second time it raises KeyboardInterrupt."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        # Not print: a signal may come while another line is being printed.
        os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")

    watched = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in watched}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
