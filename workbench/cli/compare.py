"""`workbench compare`: several contents after one artist, a row for every choice of paintings, in one figure."""

import argparse
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from workbench.cli.parser import (
    add_command,
    check_apart,
    check_out,
    encoder_options,
    given,
    index_option,
    load_encoder,
    load_retriever,
    retriever_option,
    warn,
)
from workbench.cli.transfer import (
    SETTINGS,
    content_paths,
    corpora_options,
    in_flags,
    open_corpora,
    options_option,
    settings_options,
)
from workbench.errors import UsageError, require
from workbench.names import plain
from workbench.paths import written

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.figures import Figure
    from workbench.methods import Request
    from workbench.targets import StyleTarget
    from workbench.transfer import Settings

TARGETS = ("gram:single", "nearest", "blend", "regions", "whole", "gram:blend")
DETAIL = 256
"""px. The side of a detail."""
NAMED = 2
"""Paintings that are named below a picture, the heaviest."""
ACROSS = 2
"""Pictures side by side in a column of a paper."""
COLUMN = 2.7
"""Height over width of a column of A4: 240 mm over 88 mm."""
DPI = 100
"""Dots per inch of a figure without details, whose pictures are small and many."""


def declare(commands: Any) -> None:
    parser = add_command(
        commands, "compare", _compare, "paint several pictures after one artist, target by target, in one figure"
    )
    parser.add_argument("contents", nargs="+", metavar="CONTENT", help="image files, or sample photographs")
    corpora_options(parser, required=True)
    parser.add_argument(
        "--targets",
        nargs="+",
        default=TARGETS,
        metavar="TARGET",
        help=f"rows, as TARGET, METHOD:TARGET or TARGET/COMBINE (default: {' '.join(TARGETS)})",
    )
    parser.add_argument(
        "--method",
        action="append",
        help="as of workbench transfer, for rows that do not say; given twice, each row is painted by both. A method that does "
        "not take the target of a row paints after the whole instead",
    )
    parser.add_argument("--style", metavar="PAINTING", default="", help="the painting of the target single")
    parser.add_argument(
        "--mask", metavar="FILE", type=written, help="regions: a picture that paints each part of the one CONTENT in a colour"
    )
    parser.add_argument("-o", "--out", required=True, type=written, help="the figure, as .png and .pdf, or as .jpg")
    parser.add_argument(
        "--pictures", type=written, metavar="DIR", help="keeps every result; those that are there are not made again"
    )
    parser.add_argument("--title", default="", help="of the figure (default: what it shows)")
    parser.add_argument("--labels", nargs="+", metavar="NAME", help="what the contents are called in it, one for each")
    parser.add_argument(
        "--tau",
        type=float,
        action="append",
        help="temperature of the targets that weigh paintings; several make a blend each (default: 0.1)",
    )
    parser.add_argument("--column", action="store_true", help=f"for one column of a paper: {ACROSS} pictures across")
    parser.add_argument("--detail", action="store_true", help=f"below every result {DETAIL} px of it at 100 %%")
    retriever_option(parser)
    index_option(parser)
    encoder_options(parser)
    settings_options(parser)
    options_option(parser)


def _rows(targets: list[str], methods: list[str], settings: "Settings") -> list[str]:
    """A row for every target by every method, each row once; words with a method or a combination have their own.

    Targets that a method does not take become the whole oeuvre, as for a network that knows one artist.
    """
    from workbench import methods as known
    from workbench.methods import parse

    rows: dict[tuple[str, str, str], str] = {}
    for method in methods or [""]:
        for words in targets:
            own = not method or ":" in words or parse(words, settings)[1] != "mean"
            takes = known.get(method).targets if not own else ()
            row = words if own else f"{method}:{words if not takes or words in takes else 'whole'}"
            target, combine, way = parse(row, settings)
            rows.setdefault((way.method, target, combine), row)
    return list(rows.values())


def _asked(args: argparse.Namespace, chosen: list[str], settings: "Settings") -> "list[Request]":
    """A request for each row. UsageError for what does not go together."""
    from workbench.methods import Request

    require(args.mask is None or args.mask.is_file(), f"--mask {args.mask}: no such file")
    require(args.mask is None or len(args.contents) == 1, "--mask marks the regions of one content, and there are several")
    works = {"where": tuple(args.where), "exclude": tuple(args.exclude), "shares": tuple(args.share or ())}
    mixed = "whole" if len(args.corpus) > 1 else "blend"  # the target that is asked for replaces it
    bare = Request(corpora=tuple(args.corpus), target=mixed, index=args.index, settings=settings, **works)
    asked = [bare.asking(words, style=args.style, mask=str(args.mask or "")) for words in chosen]
    for words, request in zip(chosen, asked, strict=True):
        require(not request.missing, f"{request.missing}. The row {words} asks for it; --targets names other rows")
    return asked


def _compare(args: argparse.Namespace) -> None:
    check_out(args.out, ".png", ".pdf", ".jpg")
    require(not (args.column and args.detail), "--detail needs the width of a page: leave --column out")
    from workbench import figures, images, inputs, methods, targets
    from workbench import provenance as pv
    from workbench.methods import Library
    from workbench.methods.kept import cached_picture
    from workbench.transfer import Settings

    for method in args.method or ():
        methods.get(method)
    settings = Settings(**given(args, SETTINGS))
    taus = args.tau or [targets.TAU]
    for tau in taus:
        targets.check_tau(tau)
    chosen = _rows(args.targets, args.method or [], settings)
    sources = content_paths(args, args.contents)
    try:
        asked = _asked(args, chosen, settings)
    except UsageError as error:
        raise UsageError(in_flags(str(error))) from error
    columns = args.labels or [source.stem.replace("_", " ").replace("-", " ") for source in sources]
    require(len(columns) == len(sources), f"--labels: {len(columns)} names for {len(sources)} contents")
    suffixes = (".jpg",) if args.out.suffix.lower() == ".jpg" else (".png", ".pdf")
    writes = tuple(map(args.out.with_suffix, suffixes))
    for source in sources:
        check_apart(writes, {"one of the contents": source, "the mask": args.mask})
    if args.pictures:
        check_out(args.pictures / "picture.png")
    encoder = load_encoder(args, style=True)
    corpora = open_corpora(args, *writes, args.pictures and args.pictures / "picture.png")
    asked = [replace(one, exclude=tuple(args.exclude)) for one in asked]
    if args.style and any(one.target == "single" for one in asked):
        corpora[args.corpus[0]].find(args.style)
    read = {name: pv.source(source) for name, source in zip(args.contents, sources, strict=True)}
    contents = [inputs.content(name, settings.size, sha256=read[name].sha256) for name in args.contents]
    mask = {"mask": pv.source(args.mask)} if args.mask else {}
    retriever = load_retriever(args, encoder)
    named = {str(args.mask): source for source in mask.values()}
    library = Library(
        corpora=corpora, encoders={encoder.name: encoder, retriever.name: retriever}, sources=read | named, show=True
    )
    rows: list[list[Tensor]] = [[images.resize(content, settings.size) for content in contents]]
    captions = [[""] * len(contents)]
    labels = ["Content"]
    networks: dict[str, str] = {}  # name -> SHA-256 of those that painted
    requests, made_so_far = _with_temperatures(asked, taus), 0
    for request in requests:
        request = replace(request, encoder=encoder.name, retriever=retriever.name)
        row, caption = [], []
        for name, source, content in zip(args.contents, sources, contents, strict=True):
            target = library.target(replace(request, content=name))
            made_so_far += 1
            which = f"{made_so_far} of {len(requests) * len(sources)}"
            print(f"{which}: {plain(source.stem)}, {target.label}: {target.note}", flush=True)
            method = methods.get(request.method)
            warn(*method.doubts(target, request.settings, source))
            caption.append(_named(target))
            run = method.begin(content, target, encoder, request.settings)
            networks |= methods.weights(run)
            row.append(cached_picture(run, args.pictures, source.stem, show=True))
        rows.append(row)
        captions.append(caption)
        several = f", τ = {request.temperature:g}" if _blends(request) and len(taus) > 1 else ""
        labels.append(figures.target_title(target, request.method) + several)
    corpus = args.corpus[0] if len(args.corpus) == 1 else args.corpus
    parameters = {"corpus": corpus, "targets": chosen, "single": args.style, "tau": taus, **asdict(settings)}
    parameters |= {name: list(value) for name in ("where", "exclude", "shares") if (value := getattr(asked[0], name))}
    parameters |= {"mask": str(args.mask)} if args.mask else {}
    del parameters["method"]  # every row has its own
    if args.index != "exact":
        parameters["index"] = args.index
    made = pv.provenance(
        {**parameters, "encoder": encoder.identity, "retriever": retriever.identity},
        settings.seed,
        {f"content {i}": read[name] for i, name in enumerate(args.contents, 1)} | mask,
        networks | {str(pv.shared(retriever.name)): retriever.weights_sha256},
    )
    dpi = DPI
    names = " and ".join(plain(corpus.name) for corpus in corpora.values())
    title = args.title or f"{columns[0] if len(columns) == 1 else f'{len(columns)} pictures'} after {names}"
    figure = drawn(rows, labels, columns, captions, title, detail=args.detail, narrow=args.column)
    if args.detail:  # a pixel of a detail is one of the figure
        left, right, *_ = figure.axes[0].images[-1].get_extent()  # in inches
        dpi = min(rows[-1][-1].shape[-1], DETAIL) / (right - left)
    print(*figures.save(figure, args.out.with_suffix(""), {"command": "compare", **made}, dpi=dpi, suffixes=suffixes), sep="\n")


def drawn(
    rows: list[list["Tensor"]],
    ways: list[str],
    contents: list[str],
    captions: list[list[str]],
    title: str,
    *,
    detail: bool = False,
    narrow: bool = False,
) -> "Figure":
    """The figure: `rows` of pictures (1, 3, H, W), of every way those of all contents, with a caption for each.

    It fits a page of A4, as wide as the text; or, where it is to be `narrow`, a column. UsageError where that is too much.
    """
    from workbench import figures

    if narrow:
        pictures = [row[k] for k in range(len(contents)) for row in rows]
        named = [f"{contents[k]}: {way}" if len(contents) > 1 else way for k in range(len(contents)) for way in ways]
        below = [row[k] for k in range(len(contents)) for row in captions]
        texts = [f"{name}. {caption}" if caption else name for name, caption in zip(named, below, strict=True)]
        figure = figures.contact_sheet(pictures, texts, title=title, columns=min(ACROSS, len(pictures)))
        width, height = figure.get_size_inches()
        most = int(len(pictures) * COLUMN * width / height)
        require(height <= COLUMN * width, f"--column: {len(pictures)} pictures are too many for a column; some {most} fit")
        return figure
    if detail:
        lines, rows, captions = _with_details(rows, contents, captions)
        return figures.grid(rows, lines, ways, title=title, cell_captions=captions)
    if len(contents) < len(ways):  # as wide as a page rather than as high as two
        rows, captions = ([list(row) for row in zip(*table, strict=True)] for table in (rows, captions))
        ways, contents = contents, ways
    return figures.grid(rows, ways, contents, title=title, cell_captions=captions)


def _named(target: "StyleTarget") -> str:
    """The paintings of a target in short, for a caption; and where none fits, that first."""
    works = list(zip(target.works, target.weights, strict=True))
    many = len(works) > NAMED
    if many and works[0][1] - works[-1][1] < 1e-6:
        named = f"{len(works)} paintings, evenly"
    elif len(works) == 1:
        named = works[0][0].title
    else:
        named = ", ".join(f"{weight:.0%} {work.title}" for work, weight in works[:NAMED])
        named += f" and {len(works) - NAMED} more" if many else ""
    return "; ".join(filter(None, [target.misfit.partition(":")[0], named]))  # a caption has two lines


def _blends(request: "Request") -> bool:
    """Whether several temperatures make a row each."""
    return request.target == "blend" and request.method == "neighbours"


def _with_temperatures(requests: list["Request"], taus: list[float]) -> list["Request"]:
    """A request for every row. Where there are several temperatures, rows other than a blend by neighbours take the default."""
    found = []
    for request in requests:
        each: list[float | None] = [None]
        if _blends(request) or (len(taus) == 1 and "tau" in request.options):
            each = [*taus]
        found += [replace(request, tau=tau) for tau in each]
    return found


def _with_details(
    pictures: list[list["Tensor"]], contents: list[str], captions: list[list[str]]
) -> tuple[list[str], list[list["Tensor"]], list[list[str]]]:
    """(labels, rows, captions): for every content its pictures, given row by row, and below them a detail of each."""
    from workbench import people

    labels, rows, named = [], [], []
    for k, name in enumerate(contents):
        across = [row[k] for row in pictures]
        height, width = across[0].shape[-2:]
        faces = people.faces(across[0])
        left, top, right, bottom = max(faces, key=lambda face: face.score).box if faces else (0, 0, 1, 1)
        y = int(min(max((top + bottom) / 2 * height - DETAIL / 2, 0), max(height - DETAIL, 0)))
        x = int(min(max((left + right) / 2 * width - DETAIL / 2, 0), max(width - DETAIL, 0)))
        labels += [name, "at 100 %"]
        rows += [across, [picture[..., y : y + DETAIL, x : x + DETAIL] for picture in across]]
        named += [[row[k] for row in captions], [""] * len(across)]
    return labels, rows, named
