"""`workbench transfer`: everything that can be refused is refused before the work starts, and a stop keeps the picture."""

import argparse
import difflib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.parser import (
    CORPUS_HELP,
    LOAD,
    add_command,
    check_apart,
    check_out,
    encoder_options,
    figure_files,
    given,
    index_option,
    load_encoder,
    load_retriever,
    open_corpus,
    retriever_option,
    warn,
)
from workbench.cli.presets import DEFAULT, PRESETS
from workbench.cli.stopping import CHECKPOINT_EVERY, advance
from workbench.errors import UsageError, WorkbenchError, require
from workbench.paths import is_file, written

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.corpora import Corpus
    from workbench.encoders import Encoder
    from workbench.methods import Method, Request, Run
    from workbench.provenance import Source
    from workbench.transfer import Settings

SETTINGS = "workbench.transfer:Settings"
REQUEST = "workbench.methods:Request"
FLAGS = {"weights": "--weigh", "shares": "--share"}
"""Fields of a request whose flag has another name."""
LISTED = 12
"""Paintings named on the terminal."""


def works_options(parser: Any) -> None:
    """Which works of a corpus are taken."""
    parser.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE", help="only works whose metadata say so; year=1888..1890"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PAINTING", help="a work to leave out, by file or title"
    )


def corpora_options(parser: Any, **options: Any) -> None:
    """The corpora, how much each counts, and which of their works are taken; `options`: of --corpus."""
    parser.add_argument("--corpus", action="append", help=f"{CORPUS_HELP}; given several times, they are mixed", **options)
    parser.add_argument(
        "--share",
        action="append",
        type=float,
        help="mixing weight of each of several --corpus, in their order (default: equal)",
    )
    works_options(parser)
    parser.add_argument("--without-copies", action="store_true", help="of works that are probably copies, the largest alone")


def open_corpora(args: argparse.Namespace, *writes: Path | None) -> "dict[str, Corpus]":
    """The corpora of `corpora_options` by name. Works left out as copies are added to `args.exclude`."""
    opened = {name: open_corpus(name, *writes) for name in args.corpus or ()}
    if args.without_copies:
        copies = [work.name for corpus in opened.values() for work in set(corpus) - set(corpus.without_copies())]
        args.exclude += sorted(copies)
    return opened


def content_paths(args: argparse.Namespace, names: Sequence[str]) -> list[Path]:
    """The files of contents. UsageError for a content or a corpus that is not there.

    Asked first, since who mistyped a corpus is not helped by hearing that a target needs one of its works.
    """
    from workbench import inputs

    for name in args.corpus or ():
        inputs.corpus_path(name)
    return [inputs.content_path(name) for name in names]


def options_option(parser: Any) -> None:
    """Options that a method has of its own."""
    parser.option(
        "--options",
        SETTINGS,
        "NAME=VALUE, of strokes: strokes=4000 objective=gram hand=default bristles=0 picture=4096 (long side of the picture "
        "that is written); of a LoRA: how it restyles, such as noise=.4 guidance=4",
        action="extend",
        nargs="+",
    )


def settings_options(parser: Any) -> None:
    """The settings of a transfer, without its method."""
    parser.option(
        "--looseness", SETTINGS, "neighbours: blur, px, through which places are compared: 0 does not blur", type=float
    )
    parser.option(
        "--palette", SETTINGS, "neighbours: how far colours move to the paintings' before places are compared", type=float
    )
    parser.option("--size", SETTINGS, "long side of the result, px", type=int)
    parser.option("--steps", SETTINGS, "evaluations at full size; neighbours take 0.4 times as many at every scale", type=int)
    parser.option("--alpha", SETTINGS, "weight of the content loss", type=float)
    parser.option("--beta", SETTINGS, "weight of the style loss", type=float)
    parser.option("--tv", SETTINGS, "weight of the total variation", type=float)
    parser.option("--style-loss", SETTINGS, "how styles are compared")
    parser.option(
        "--softness", SETTINGS, "combine softmin: temperature among the paintings; 0 takes the nearest alone", type=float
    )
    parser.option("--bag", SETTINGS, "how many patches stand for all paintings, where patches are compared", type=int)
    parser.option("--brush", SETTINGS, "size of the paintings over that of the picture: below 1 finer strokes", type=float)
    parser.option("--strength", SETTINGS, "from the content's own style, 0, to that of the paintings, 1", type=float)
    parser.option("--colour", SETTINGS, "whose colours the result has")
    parser.option("--optimiser", SETTINGS, "what moves the pixels")
    parser.option("--init", SETTINGS, "what it starts from: content, noise, or a method that paints at once, such as artist")
    parser.option("--draft", SETTINGS, "whether embedded makes a draft for vgg19, which is quicker")
    parser.option("--plateau", SETTINGS, "gain over 20 evaluations, as a share, below which it stops; 0 never does", type=float)
    parser.option("--seed", SETTINGS, "random seed: of places of paintings, noise, patches", type=int)


def declare(commands: Any) -> None:
    parser = add_command(commands, "transfer", _transfer, "paint a picture in the style of one painting, or of many")
    parser.add_argument("content", metavar="CONTENT", help="image file, or a sample photograph")
    corpora_options(parser)
    parser.add_argument(
        "--preset",
        default=DEFAULT,
        help="--target and --method by one name: "
        + "; ".join(f"{name}, {preset.says}" for name, preset in PRESETS.items())
        + f" (default: {DEFAULT})",
    )
    parser.names(parser.add_argument("--target", help="which paintings"), "workbench.targets:TARGETS")
    parser.option("--combine", REQUEST, "how statistics of several paintings are combined: mean, barycentre, softmin, patches")
    parser.add_argument("--style", metavar="PAINTING", help="the single painting: a work of the corpus, or any image file")
    parser.add_argument(
        "--tau", type=float, help="temperature of the blend: near 0 the nearest, large the whole (default: 0.1)"
    )
    parser.add_argument("--weigh", action="append", metavar="PAINTING=WEIGHT", help="a work, for --target by-hand")
    parser.add_argument(
        "--mask", metavar="FILE", type=_written, help="regions: a picture that paints each part of CONTENT in one flat colour"
    )
    retriever_option(parser)
    index_option(parser)
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        type=written,
        action="append",
        help="the picture to write; .png carries its provenance. --method strokes also writes .svg, .gif and .mp4 (films of "
        "the picture being painted), .csv and .parquet (the strokes). Several -o write several files",
    )
    encoder_options(parser)
    parser.option(
        "--method",
        SETTINGS,
        "neighbours takes over places of the paintings, gram matches statistics, colours only colours, strokes paints in brush "
        "strokes; artist is a network in the package that knows the works, decoder one for any, NAME one that train made",
    )
    settings_options(parser)
    options_option(parser)
    parser.add_argument(
        "--checkpoint", metavar="FILE", type=written, help=f"write the state every {CHECKPOINT_EVERY} steps, and when stopped"
    )
    parser.add_argument("--resume", action="store_true", help="go on from --checkpoint")


def _written(text: str) -> str:
    return str(written(text))


def _transfer(args: argparse.Namespace) -> None:
    outs = list(dict.fromkeys(args.out))
    args.out = outs[0]
    for out in outs:
        check_out(out)
    _check_checkpoint(args, outs)
    from workbench import figures, inputs, methods, metrics, progress, provenance
    from workbench.figures.files import PNG_KEY
    from workbench.transfer import Diverged, Settings

    _rename_former_words(args)
    settings = Settings(**_preset(args))
    method = methods.get(settings.method)
    require(method.has_steps or args.checkpoint is None, f"--checkpoint: the method {settings.method} paints in one step")
    (source,) = content_paths(args, [args.content])
    request = _request(args, settings)
    for option in given(args, SETTINGS):
        others = [other.name for other in methods.METHODS.values() if option not in other.ignores]
        others += ["the file of a LoRA"] if option == "options" else []
        flag = f"--{option.replace('_', '-')}"
        goes = option not in method.ignores
        require(goes, f"{flag} goes with --method {' or '.join(others)}, not with {settings.method}")
    _check_writes(args, outs, source)
    for out in outs:
        _check_file(out, {}, method)
    read = {args.content: provenance.source(source)} | ({args.mask: provenance.source(Path(args.mask))} if args.mask else {})
    content = inputs.content(args.content, settings.size, sha256=read[args.content].sha256)
    encoder = load_encoder(args, style=True)
    retrieves = request.target in methods.RETRIEVED
    retriever = load_retriever(args, encoder) if retrieves else None
    opened = open_corpora(args, *outs, args.checkpoint)
    request = replace(request, exclude=tuple(args.exclude))
    library = methods.Library(
        corpora=opened,
        encoders={request.encoder: encoder, **({request.retriever: retriever} if retriever is not None else {})},
        sources=read,
        show=True,
    )
    run = method.begin(content, library.target(request), encoder, settings)
    target = run.target  # whose regions may have been joined
    print(f"{target.label}: {target.note}")
    for work, weight in list(zip(target.works, target.weights, strict=True))[:LISTED]:
        print(f"{weight:7.1%}  {work.name}  {work.title}")
    if len(target.works) > LISTED:
        print(f"         and {len(target.works) - LISTED} more")
    for guide in target.guides:
        print(guide.line)
    sys.stdout.flush()
    warn(*method.doubts(target, settings, source))
    if args.resume:
        run.resume(args.checkpoint)

    def stamp() -> dict[str, str]:
        return _stamp(args, request, library.sources(request), run, retriever)

    for out in outs:
        _check_file(out, stamp(), method)
    run.show = True
    with progress.uninterrupted() as held:
        try:
            complete, unwritten = advance(run, args.checkpoint)
        except Diverged as error:
            _write(run, error.image, outs, stamp())
            raise WorkbenchError(f"{error}; the last good picture is {args.out}") from error
        if not run.history:
            raise KeyboardInterrupt("interrupted before the first step; nothing was written")
        _write(run, run.image, outs, stamp())
    if not complete:
        done = f"step {len(run.history)} of {run.total_steps}"
        raise KeyboardInterrupt(f"interrupted at {done}; the picture so far is {args.out}")
    if held:
        raise KeyboardInterrupt(f"interrupted; the picture is {args.out}")
    if unwritten is not None:
        raise WorkbenchError(f"{unwritten}; the picture is {args.out}")
    style = metrics.style_distance(run.optimised, run.style_moments(), encoder)
    print(f"content {metrics.content_distance(run.image, content, encoder):.3g}", end="   ")
    print(f"style {style.gram:.3g}   style W2 {style.w2:.3g}   {run.seconds:.0f} s")
    print(*outs, sep="\n")
    if target.guides:
        matched = figures.region_matches(content, target)
        stem = args.out.with_name(f"{args.out.stem}_regions")
        print(*figures.save(matched, stem, json.loads(stamp()[PNG_KEY])), sep="\n")


def _rename_former_words(args: argparse.Namespace) -> None:
    """Put the present word in the place of a former one; targets.combination says so."""
    from workbench.targets import combination

    if "combine" in given(args, REQUEST):
        setattr(args, f"{REQUEST} combine", combination(given(args, REQUEST)["combine"]))


def _request(args: argparse.Namespace, settings: "Settings") -> "Request":
    """The request of the command line. `Request` checks it; messages about its fields name the flags instead."""
    from workbench.encoders import RETRIEVER
    from workbench.methods import RETRIEVED, Request

    retrieves = args.retriever is None or args.target in RETRIEVED
    require(retrieves, f"--retriever goes with --target {' or '.join(RETRIEVED)}, not with {args.target}")
    looks = args.index == "exact" or args.target in RETRIEVED
    require(looks, f"--index goes with --target {' or '.join(RETRIEVED)}, not with {args.target}")
    require(args.mask is None or is_file(args.mask), f"--mask {args.mask}: no such file")
    ways, combine = given(args, SETTINGS), given(args, REQUEST).get("combine", "mean")
    for flag, words, goes in (("softness", ("softmin",), ()), ("bag", ("patches",), ("patches",))):
        with_what = {"softness": "--combine softmin", "bag": "--combine patches or --style-loss patches"}[flag]
        goes_with = combine in words or ways.get("style_loss") in goes
        require(goes_with or flag not in ways, f"--{flag} goes with {with_what}")
    try:
        request = Request(
            content=args.content,
            corpora=tuple(args.corpus or ()),
            shares=tuple(args.share or ()),
            where=tuple(args.where),
            exclude=tuple(args.exclude),
            target=args.target,
            style=args.style or "",
            tau=args.tau,
            weights=_weights(args.weigh or ()),
            mask=args.mask or "",
            encoder=given(args, LOAD).get("name", "embedded"),
            retriever=args.retriever or RETRIEVER,
            index=args.index,
            settings=settings,
            **given(args, REQUEST),
        )
        require(not request.missing, request.missing)
        return request
    except UsageError as error:
        raise UsageError(in_flags(str(error))) from error


def in_flags(message: str) -> str:
    """`message` about fields of a request, with the flags that a command line has for them."""
    message = re.sub(
        r"^(target|tau|style|mask|where|exclude|shares|weights)\b", lambda m: FLAGS.get(m[1], f"--{m[1]}"), message
    )
    for words, flags in (
        (" with target ", " with --target "),
        ("needs style", "needs --style"),
        ("several corpora", "several --corpus"),
        ("needs a corpus", "needs --corpus"),
        ("needs weights: ", "needs --weigh PAINTING=WEIGHT: "),
        ("give a corpus", "give --corpus"),
    ):
        message = message.replace(words, flags)
    return message


def _preset(args: argparse.Namespace) -> dict[str, Any]:
    """The settings given, with the method of --preset where none is; --target is filled in likewise, as the method takes it.

    Statistics that are combined or compared in some way are a matter of the method gram.
    """
    from workbench import methods

    chosen = args.target
    near = difflib.get_close_matches(args.preset, PRESETS, n=1)
    instead = f"did you mean {near[0]}?" if near else f"choose {', '.join(PRESETS)}"
    require(args.preset in PRESETS, f"--preset {args.preset!r}: {instead}")
    preset = PRESETS[args.preset]
    ways, combine = given(args, SETTINGS), given(args, REQUEST).get("combine", "mean")
    args.target = args.target or (preset.target if args.corpus or preset.target == "single" else "single")
    if not chosen and "method" in ways and (takes := methods.get(ways["method"]).targets) and args.target not in takes:
        args.target = "whole"  # a network that knows one artist paints after all of him
    statistics = combine != "mean" or ways.get("style_loss", "gram") != "gram" or ways.get("draft", "auto") != "auto"
    return {"method": "gram" if statistics else preset.method} | given(args, SETTINGS)


def _check_writes(args: argparse.Namespace, outs: list[Path], source: Path) -> None:
    """Refuse to write over what is read."""
    style = Path(args.style) if args.style else None
    read = {"the content itself": source, "the mask": args.mask and Path(args.mask), "the painting": style}
    writes = list(outs)
    if args.target == "regions":
        writes += figure_files(args.out.with_name(f"{args.out.stem}_regions.png"))
        for out in writes[len(outs) :]:
            check_out(out)
    check_apart(writes, read | {"the checkpoint": args.checkpoint})
    if args.checkpoint:
        check_apart([args.checkpoint], read, "--checkpoint")
        require(
            args.resume or not args.checkpoint.exists(),
            f"--checkpoint {args.checkpoint}: there is such a file; --resume goes on from it, or give another name",
        )


def _check_checkpoint(args: argparse.Namespace, outs: list[Path]) -> None:
    require(not args.resume or args.checkpoint is not None, "--resume needs --checkpoint FILE to go on from")
    if args.checkpoint is None:
        return
    check_out(args.checkpoint)
    same = any(args.checkpoint.resolve() == out.resolve() for out in outs)
    require(not same, "--checkpoint and --out name the same file")
    require(
        not args.resume or args.checkpoint.is_file(),
        f"--resume: there is no checkpoint {args.checkpoint}; leave --resume out to start afresh",
    )


def _weights(texts: list[str] | tuple[()]) -> tuple[tuple[str, float], ...]:
    """(work, weight) of every PAINTING=WEIGHT; a painting that is named twice has the sum."""
    weights: dict[str, float] = {}
    for text in texts:
        require("=" in text, f"{text!r}: write PAINTING=WEIGHT")
        name, _, number = text.rpartition("=")
        try:
            weights[name] = weights.get(name, 0.0) + float(number)
        except ValueError as error:
            raise UsageError(f"--weigh: {number!r} is no number") from error
    return tuple(weights.items())


def _write(run: "Run", image: "Tensor", outs: list[Path], metadata: dict[str, str]) -> None:
    """Write `image`, or what else a run has to show for itself, to `outs`."""
    from workbench import images

    for out in outs:
        if hasattr(run, "write"):
            run.write(out, metadata)
        else:
            images.save(image, out, metadata=metadata)


def _check_file(out: Path, metadata: dict[str, str], method: "Method") -> None:
    """Save a dot as `out` is to be saved: a format without a writer, or with no room for the metadata, shows now."""
    from PIL import Image

    from workbench import images, storage

    if out.suffix.lower() in method.suffixes:
        method.check_file(out)
        return
    with storage.temporary_folder() as folder:
        probe = folder / out.name
        try:
            images.save(Image.new("RGB", (1, 1)), probe, metadata=metadata)
        except UsageError as error:
            raise UsageError(str(error).replace(str(probe), str(out))) from error


def _stamp(
    args: argparse.Namespace, request: "Request", sources: "dict[str, Source]", run: "Run", retriever: "Encoder | None"
) -> dict[str, str]:
    """Metadata that says what decided the picture: enough to make it again, and to tell whether it was finished.

    `sources`: the content and the mask as they were when they were read.
    """
    from workbench import methods
    from workbench import provenance as pv
    from workbench.figures.files import PNG_KEY

    encoder, target, settings = run.encoder, run.target, run.settings
    parameters = {
        "content": args.content,
        "corpus": args.corpus[0] if args.corpus and len(args.corpus) == 1 else args.corpus,
        "target": args.target,
        "combine": target.combine,
        "encoder": encoder.identity,
        "device": encoder.device.type,
        **asdict(settings),
    }
    parameters |= {name: getattr(args, name) for name in ("share", "where", "exclude", "mask") if getattr(args, name)}
    if request.weights:
        parameters["weigh"] = dict(request.weights)
    if retriever is not None:
        parameters["retriever"] = retriever.identity
    if request.index != "exact":
        parameters["index"] = request.index
    if "tau" in request.options:
        parameters["tau"] = request.temperature
    made = pv.provenance(parameters, settings.seed, sources, methods.weights(run, retriever))
    works = [
        {"file": work.name, "sha256": work.sha256, "weight": weight}
        for work, weight in zip(target.works, target.weights, strict=True)
    ]
    progress = {"steps_done": len(run.history), "finished": run.finished}
    fits = {"fit": asdict(target.fit)} if target.fit else {}
    return {PNG_KEY: pv.text({"command": "transfer", **made, "works": works, **fits, **progress})}
