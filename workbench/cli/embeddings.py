"""`workbench embed`, `workbench search` and `workbench clusters`: a corpus by what it shows and how it is painted."""

import argparse
from typing import TYPE_CHECKING, Any

from workbench.cli.parser import (
    CORPUS_HELP,
    LOAD,
    add_command,
    check_apart,
    check_out,
    count,
    encoder_options,
    figure_files,
    given,
    index_option,
    load_encoder,
    open_corpus,
    warn,
)
from workbench.errors import UsageError, require
from workbench.names import plain, plural, without_passwords
from workbench.paths import written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from workbench.corpora import Corpus
    from workbench.figures import Figure
    from workbench.retrieval.clusters import Clustering
    from workbench.retrieval.index import Match

WORKERS = "workbench.retrieval.workers:embed"
EMBED = "workbench.retrieval.embeddings:embed"
CLUSTER = "workbench.retrieval.clusters:cluster"
SEARCH = "workbench.retrieval.centred:CentredIndex.search"
FOUND_SIZE = 480
"""px. Long side of the pictures on a contact sheet of what a search found."""
SHEET_LIMIT = 24
"""Works of each cluster on a contact sheet, at most: three rows."""


def declare(commands: Any) -> None:
    embed = add_command(commands, "embed", _embed, "embed a corpus; vectors in the cache are not computed again")
    embed.option("--kind", EMBED, "what the vectors describe: content, what is shown; style and gram, how", required=True)
    embed.option("--size", EMBED, "long side at which works are described, px (default: what suits the encoder)", type=int)
    embed.add_argument("-o", "--out", type=written, help="write names, hashes and vectors, .npz")
    text = "embed in parts, each a file of FOLDER, by several processes: for corpora of many thousands"
    embed.add_argument("--shards", type=written, metavar="FOLDER", help=text)
    embed.option("--workers", WORKERS, "processes that make the shards (default: one for each core)", type=count)
    embed.option("--on", WORKERS, "where they run: here; ray, on this machine; or ray:ADDRESS, a cluster")
    index_option(embed)
    text = "take out of the index what it holds of a corpus of this name that is no work of it now"
    embed.add_argument("--prune", action="store_true", help=text)
    search = add_command(commands, "search", _search, "find the paintings that show most nearly what a picture shows")
    search.option("-k", SEARCH, "how many", type=count)
    search.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE", help="only works whose metadata say so; year=1888..1890"
    )
    index_option(search)
    search.add_argument(
        "-o", "--out", metavar="SHEET", type=written, help="draw a contact sheet of what is found, as .png and .pdf"
    )
    clusters = add_command(commands, "clusters", _clusters, "divide a corpus into clusters of style")
    clusters.option("-k", CLUSTER, "how many; chosen by silhouette and stability when not given", type=count)
    clusters.option("--kind", EMBED, "what the clusters are made of; style unless given")
    clusters.option("--seed", CLUSTER, "of k-means and of the subsamples", type=int)
    clusters.add_argument("-o", "--out", metavar="SHEET", type=written, help="draw a contact sheet, as .png and .pdf")
    for parser in (embed, clusters):
        parser.add_argument("corpus", metavar="CORPUS", help=CORPUS_HELP)
    text = f"{CORPUS_HELP}; several are searched as one. Or the STORE of an --index, for all that it holds"
    search.add_argument("corpus", metavar="CORPUS", nargs="+", help=text)
    encoder_options(search, retrieves="lite0")
    for parser in (embed, clusters):
        encoder_options(parser, retrieves="lite0 for --kind content, else embedded")
    search.add_argument("content", metavar="CONTENT", help="image file, or a sample photograph")


def _embed(args: argparse.Namespace) -> None:
    if args.out:
        check_out(args.out, ".npz")
    import numpy as np

    from workbench import encoders, images, storage
    from workbench.retrieval import embeddings, stores
    from workbench.retrieval.shards import MANIFEST

    options, parts = given(args, EMBED), given(args, WORKERS)
    _check_kind(options["kind"])
    stores.parse(args.index)
    is_indexed = args.index != "exact"
    require(bool(args.shards) or not parts, "--workers and --on are about --shards FOLDER, which is not given")
    require(is_indexed or not args.prune, "--prune is about an --index, which is not given")
    require(not (args.shards and args.out), "--shards and -o both say where vectors go; give one of them")
    at_default = options["kind"] == "content" and "size" not in options
    require(not is_indexed or at_default, "an --index holds vectors of --kind content at the encoder's own size")
    if "size" in options:
        images.check_size(options["size"])
    encoder = load_encoder(args, style=options["kind"] != "content")
    corpus = open_corpus(args.corpus, args.out, args.shards and args.shards / MANIFEST)
    found = None
    if args.shards:
        from workbench.retrieval import workers

        loaded = {"encoder": encoders.RETRIEVER if options["kind"] == "content" else "embedded"}
        named = {"encoder" if name == "name" else name: value for name, value in given(args, LOAD).items()}
        found = workers.embed(corpus, args.shards, **loaded | named, **options, **parts, show=True)
        print(args.shards / MANIFEST)
    if is_indexed:
        from workbench.retrieval import filling

        index = stores.open_index(args.index)
        filling.fill(index, [corpus], encoder, descriptors=found, show=True)
        outdated = filling.outdated(index, [corpus])
        if args.prune:
            index.delete(outdated)
        elif outdated:
            of = f"of a corpus {plain(corpus.name)} and no work of it now"
            warn(f"{len(outdated)} points of the index are {of}: --prune removes them")
        print(f"{len(index)} works in {without_passwords(args.index)}")
    if found or (is_indexed and not args.out):
        return
    space = embeddings.embed(corpus, encoder, **options, show=True)
    print(f"{plural(len(space.raw), 'work')}, {space.raw.shape[1]} numbers each: {space.kind} by {encoder.identity}")
    if args.out:
        with storage.atomic(args.out) as temporary:
            hashes = [work.sha256 for work in corpus]
            np.savez(temporary, names=space.names, sha256=hashes, vectors=space.raw, kind=space.kind, encoder=encoder.identity)
        print(args.out)


def _check_kind(kind: str) -> None:
    from workbench.retrieval.embeddings import KINDS

    require(kind in KINDS, f"--kind {kind!r}: choose {', '.join(KINDS)}")


def _search(args: argparse.Namespace) -> None:
    if args.out:
        check_out(args.out, ".png", ".pdf")
    from workbench import images, inputs
    from workbench.corpora import told_apart
    from workbench.methods import Request
    from workbench.methods.library import parts
    from workbench.retrieval import descriptors, filling, stores
    from workbench.retrieval.centred import K
    from workbench.retrieval.index import where_of

    held = [name for name in args.corpus if name.partition(":")[0] in stores.STORES]
    words = held[0] if held else args.index
    stores.parse(words)
    require(
        not (held and args.out),
        f"-o draws pictures, and {without_passwords(words)} has none: name the corpora, and it as --index",
    )
    alone = not held or (len(args.corpus) == 1 and args.index == "exact")
    require(
        alone, f"{without_passwords(words)} is searched by itself; to add works to it, name their corpora, and it as --index"
    )
    options = {"k": K, "where": where_of(args.where)} | given(args, SEARCH)
    check_apart(figure_files(args.out), {"the content itself": inputs.content_path(args.content)})
    source = inputs.source(args.content)
    content = inputs.content(args.content, inputs.COMPARED, sha256=source.sha256)
    encoder = load_encoder(args, style=False)
    corpora = [open_corpus(name, *figure_files(args.out)) for name in args.corpus if not held]
    index = stores.open_index(words, filled=bool(held))
    names = told_apart(corpora)
    described = descriptors.describe(images.resize(content, encoder.embedding_size).to(encoder.device), encoder, "content")
    if held:
        matches = index.search(described - filling.centre(index, encoder), **options)
    else:
        matches = filling.fill(index, corpora, encoder, show=True).search(described, **options)
    if args.where and not matches:
        if corpora:  # which say what there is in its place
            parts(corpora, Request(corpora=tuple(args.corpus), target="whole", where=tuple(args.where)))
        raise UsageError(f"no work meets {' '.join(f'--where {text}' for text in args.where)}")
    known = {id: names[place] for id, (_, place) in filling.works_of(corpora).items()}
    for match in matches:
        work = match.metadata
        if held or len(corpora) > 1:
            titled = ", ".join(filter(None, (work["title"], work.get("artist"))))
            print(f"{match.similarity:+.3f}  {known.get(match.id, work['corpus'])}/{work['file']}  {titled}")
        else:
            print(f"{match.similarity:+.3f}  {work['file']}  {work['title']}")
    if args.out:
        from workbench import figures
        from workbench import provenance as pv

        parameters = {"corpora": args.corpus, "encoder": encoder.identity, "content": args.content, "where": args.where}
        inputs_read = {
            "content": source,
            **{f"corpus {name}": c.root for name, c in zip(names, corpora, strict=True)},
        }
        made = pv.provenance(parameters, None, inputs_read, {pv.shared(encoder.name): encoder.weights_sha256})
        sheet = _found_sheet(content, matches, corpora)
        print(*figures.save(sheet, args.out.with_suffix(""), {"command": "search", **made}), sep="\n")


def _found_sheet(content: "Tensor", matches: "Sequence[Match]", corpora: "Sequence[Corpus]") -> "Figure":
    """A contact sheet of the content and of the works that were found, the most similar first."""
    from workbench import figures, images
    from workbench.corpora import told_apart
    from workbench.retrieval import filling

    known = filling.works_of(corpora)
    pictures, captions = [images.to_pil(images.resize(content, FOUND_SIZE))], ["The picture that was asked about"]
    for match in matches:
        work, _ = known[match.id]
        artist = match.metadata.get("artist", "") if len(corpora) > 1 else ""
        pictures.append(images.to_pil(work.load(FOUND_SIZE)))
        captions.append(f"{match.similarity:+.2f} {', '.join(filter(None, (work.title, artist)))}")
    return figures.contact_sheet(pictures, captions, title=f"Nearest works of {', '.join(told_apart(corpora))}")


def _clusters(args: argparse.Namespace) -> None:
    if args.out:
        check_out(args.out, ".png", ".pdf")
    from workbench.retrieval import clusters, embeddings

    options = given(args, CLUSTER)
    kind = given(args, EMBED).get("kind", "style")
    _check_kind(kind)
    encoder = load_encoder(args, style=kind != "content")
    corpus = open_corpus(args.corpus, *figure_files(args.out))
    found = clusters.cluster(embeddings.embed(corpus, encoder, kind, show=True), **options)
    _print_clusters(found, corpus)
    if args.out:
        from workbench import figures
        from workbench import provenance as pv

        parameters = {"corpus": args.corpus, "encoder": encoder.identity, "kind": kind, **options}
        weights = {pv.shared(encoder.name): encoder.weights_sha256}
        made = pv.provenance(parameters, options.get("seed"), {"corpus": corpus.root}, weights)
        paths = figures.save(_sheet(found, corpus), args.out.with_suffix(""), {"command": "clusters", **made})
        print(*paths, sep="\n")


def _print_clusters(found: "Clustering", corpus: "Corpus") -> None:
    print(found.chosen_because)
    if found.silhouette:
        print("   k  silhouette  stability")
    for k, silhouette in found.silhouette.items():
        print(f"{k:4}  {silhouette:10.2f}  {found.stability[k]:9.2f}")
    for label, medoid in enumerate(found.medoids):
        print(f"cluster {label + 1}: {plural(len(found.members(label)), 'work')}, medoid {medoid}  {corpus[medoid].title}")
    genres = [work.genre or "(none)" for work in corpus]
    if any(work.genre for work in corpus):
        names, table, information = found.crosstab(genres)
        print("cluster  " + "  ".join(names))
        for label, row in enumerate(table):
            print(f"{label + 1:7}  " + "  ".join(f"{works:{len(name)}}" for works, name in zip(row, names, strict=True)))
        print(f"normalised mutual information with genre {information:.2f}")


def _sheet(found: "Clustering", corpus: "Corpus") -> "Figure":
    """A contact sheet of the clusters, medoids first."""
    from workbench import figures, images, progress
    from workbench.figures import THUMBNAIL

    works = progress.track(corpus, total=len(corpus), label="contact sheet", show=True)
    thumbnails = {work.name: images.to_pil(work.load(THUMBNAIL)) for work in works}
    groups = []
    for label in range(found.k):
        names = found.members(label)
        groups.append((f"Cluster {label + 1}", [thumbnails[name] for name in names], [corpus[name].title for name in names]))
    return figures.cluster_sheets(groups, title=f"{corpus.name}: {found.chosen_because}", limit=SHEET_LIMIT)
