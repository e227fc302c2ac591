"""`workbench evaluate lora`: which checkpoint of an artist's LoRA is good, by numbers, pictures, and a rule."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.parser import (
    CORPUS_HELP,
    Parser,
    add_command,
    check_apart,
    check_out,
    encoder_options,
    given,
    load_encoder,
    open_corpus,
)
from workbench.errors import UsageError, require
from workbench.paths import written

if TYPE_CHECKING:
    from workbench.corpora import Work
    from workbench.diffusion.checkpoints import Painter
    from workbench.encoders import Encoder
    from workbench.study.choosing import Evaluation

ASKED = "workbench.diffusion.checkpoints:Asked"
WHAT = ("lora",)
"""What can be evaluated."""
FIGURE = (".jpg", ".pdf")
"""Suffixes of the figure."""


def declare(commands: Any) -> None:
    parser: Parser = add_command(
        commands, "evaluate", _evaluate, "say which checkpoint of an artist's LoRA is good: nearest to him, without copying"
    )
    parser.add_argument("what", choices=WHAT, help="what is evaluated")
    parser.add_argument("lora", metavar="FILE|FOLDER", help="checkpoints of one training: .safetensors files, of any trainer")
    parser.add_argument(
        "--base",
        required=True,
        metavar="MODEL",
        help="Stable Diffusion, a folder or a name on the hub; small: what comes with the package",
    )
    parser.add_argument("--download", action="store_true", help="fetch the base from the hub if it is not here")
    parser.add_argument("--corpus", required=True, help=f"{CORPUS_HELP}: the artist's works, those learnt from and others")
    parser.add_argument("--contents", nargs="+", required=True, metavar="CONTENT", help="photographs: files, or samples")
    parser.add_argument(
        "--others",
        nargs="*",
        default=[],
        metavar="CORPUS",
        help="by others (default: sample painters and scenes)",
    )
    parser.add_argument(
        "--seen",
        type=written,
        metavar="FILE",
        help="works that were learnt from, where the LoRA does not say: names, or a split",
    )
    parser.add_argument("--token", default="", metavar="WORD", help="the artist's word, where the LoRA does not say it")
    parser.add_argument("--noun", default="", metavar="WORD", help="the class noun, likewise (default: painting)")
    parser.option("--size", ASKED, "side of pictures, px (default: what the base was made for)", type=int)
    parser.option("--seeds", ASKED, "pictures of every photograph", type=int)
    parser.option("--samples", ASKED, "pictures from the word alone", type=int)
    parser.option("--strength", ASKED, "how much of the way to noise is gone with a photograph", type=float)
    parser.option("--steps", ASKED, "of the way from noise to a picture", type=int)
    parser.option("--guidance", ASKED, "weight of the words", type=float)
    parser.option("--weight", ASKED, "of the LoRA", type=float)
    parser.add_argument("-o", "--out", required=True, type=written, metavar="FOLDER", help="pictures, a table and a figure")
    encoder_options(parser)


def _evaluate(args: argparse.Namespace) -> None:
    from workbench import inputs
    from workbench.diffusion import base, checkpoints
    from workbench.study import choosing

    try:
        asked = checkpoints.Asked(**given(args, ASKED))
    except UsageError as error:
        raise UsageError(f"--{error}") from error
    writes = [args.out / f"checkpoints{suffix}" for suffix in (".csv", *FIGURE)]
    check_out(writes[0])
    check_apart(writes, {"the list of works that were learnt from": args.seen})
    for name in args.contents:
        check_apart(writes, {"one of the contents": inputs.content_path(name)})
    found = checkpoints.find(args.lora)
    corpus = open_corpus(args.corpus, *writes)
    seen = None if args.seen is None else checkpoints.seen_in(args.seen)
    works = checkpoints.split(corpus.works, found, seen=seen, token=args.token, noun=args.noun)
    paths = [inputs.content_path(name).absolute() for name in args.contents]
    require(len({path.resolve() for path in paths}) == len(paths), "one of --contents is given twice")
    others = _others(args, corpus.name, writes)
    contents = {name: inputs.content(words) for name, words in zip(_told_apart(paths), args.contents, strict=True)}
    encoder = load_encoder(args, style=True)
    model = base.load(args.base, device=encoder.device, download=args.download)
    painter = checkpoints.Painter(model, contents, works, asked, args.out / "pictures")
    size = min(choosing.SIZE, painter.size)
    yardstick = choosing.Yardstick(encoder, works.seen, works.held_out, others, size=size, show=True)
    auc = f"the probe's area under the ROC curve {yardstick.auc:.3f}"
    print(f"{len(works.seen)} works seen, {len(works.held_out)} held out; {auc}")
    evaluation = None
    try:
        for evaluation in choosing.evaluate(found, painter, yardstick, args.out, show=True):
            print(_line(evaluation), flush=True)
    except KeyboardInterrupt as stop:
        done = 0 if evaluation is None else len(evaluation.rows)
        raise KeyboardInterrupt(
            f"interrupted; {done} of {len(found)} checkpoints are measured, and the same command goes on from there"
        ) from stop
    assert evaluation is not None  # there is at least one checkpoint
    print(evaluation.recommendation)
    print(args.out / "checkpoints.csv", *_drawn(args, evaluation, painter, encoder), sep="\n")


def _told_apart(paths: list[Path]) -> list[str]:
    """The names of files; those that are alike keep their suffix, and as many of the folders above as tell them apart."""
    names = [path.stem for path in paths]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        longer = ["/".join(path.parts[-depth:]) for path in paths]
        names = [more if names.count(name) > 1 else name for name, more in zip(names, longer, strict=True)]
    return names


def _others(args: argparse.Namespace, artist: str, writes: list[Path]) -> list["Work"]:
    """Works by others, and photographs; `writes`: see `open_corpus`."""
    from workbench import samples
    from workbench.generative import scenes
    from workbench.generative.families import SCENES

    if args.others:
        return [work for name in args.others for work in open_corpus(name, *writes)]
    painters = [open_corpus(name) for name in samples.PAINTERS if name != artist]
    return [work for corpus in (*painters, scenes.photographs(SCENES // 6, show=True)) for work in corpus]


def _line(evaluation: "Evaluation") -> str:
    """The numbers of the checkpoint that was measured last."""
    row = evaluation.rows[-1]
    return (
        f"{row.label}  log-odds {row.odds:.2f} (base alone {evaluation.alone.odds:.2f})  leak {row.leak:.3f} (at most "
        f"{evaluation.most_leak:.3f})  content {row.content:.3f}  coverage {row.coverage:.2f}  variety {row.variety:.2f}  "
        f"held-out loss {row.held_out:.4g}"
    )


def _drawn(args: argparse.Namespace, evaluation: "Evaluation", painter: "Painter", encoder: "Encoder") -> list[Path]:
    """The figure, written with its provenance."""
    from workbench import figures
    from workbench import provenance as pv

    named = ("base", "corpus", "contents", "others", "seen", "token", "noun")
    parameters = {name: value for name in named if (value := getattr(args, name))} | given(args, ASKED)
    weights = {pv.shared(encoder.name): encoder.weights_sha256, "base": painter.base.identity}
    made = pv.provenance(parameters, None, {"lora": Path(args.lora)}, weights)
    figure = figures.checkpoints(evaluation, painter.contents, painter.works.held_out)
    return figures.save(figure, args.out / "checkpoints", {"command": "evaluate", **made}, suffixes=FIGURE)
