"""The parameters of a notebook, read from its source and checked before a kernel starts.

They stand in the one cell tagged `parameters`, as annotated assignments of literals: `size: int = 256  # longest side`.
The cell is read as a syntax tree and never executed; pydantic checks values against the annotations. papermill's own reading
is a regular expression that loses `Literal[...]` and unions, checks no type, and lets an unknown name through with a warning.
"""

import ast
import difflib
import io
import json
import sys
import tokenize
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pydantic import AllowInfNan, Strict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from workbench import storage
from workbench.errors import UsageError, WorkbenchError
from workbench.names import without_passwords

if typing.TYPE_CHECKING:
    import nbformat

TYPES = {
    "int": typing.Annotated[int, Strict()],
    "float": typing.Annotated[float, Strict(), AllowInfNan(False)],
    "str": typing.Annotated[str, Strict()],
    "bool": typing.Annotated[bool, Strict()],
    "list": list,
    "dict": dict,
    "tuple": tuple,
}
"""What annotations may name. Scalars are strict: "3" and True are no int, an int is a float, and no number is infinite."""
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
"""What a text on the command line may say for a bool."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell. `default` has no meaning when the parameter is `required`.

    annotation: as written, such as "int | None"; comment: what follows the assignment; kind: the annotation as a type.
    """

    name: str
    annotation: str
    default: object
    required: bool
    comment: str
    kind: typing.Any = field(repr=False)

    @cached_property
    def _adapter(self) -> TypeAdapter:
        return TypeAdapter(self.kind)

    @property
    def choices(self) -> tuple | None:
        """The values that a Literal allows, None for any other annotation."""
        return typing.get_args(self.kind) if typing.get_origin(self.kind) is typing.Literal else None

    def checked(self, value: object) -> typing.Any:
        """`value` as the declared type: an int for a float becomes a float, a list for a tuple a tuple.

        Raises ValueError that names the parameter, what was given and what is expected.
        """
        expected = f"one of {', '.join(map(repr, self.choices))}" if self.choices else self.annotation
        problem = f"parameter {self.name} must be {expected}, not {value!r}"
        if self.choices and not any(value == choice and type(value) is type(choice) for choice in self.choices):
            raise ValueError(problem)  # Python, and so pydantic, takes True for 1
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            inside = first["input"] is not value
            if inside or first["type"] in ("finite_number", "too_long", "too_short", "missing"):
                which = f" for {first['input']!r}" if inside else ""
                problem += f" ({first['msg'][:1].lower()}{first['msg'][1:]}{which})"
            raise ValueError(problem) from error

    def parsed(self, text: str) -> typing.Any:
        """The value that a text on the command line means: the first that fits of None, number, JSON, bool, the text itself.

        Raises ValueError as `checked` does.
        """
        readings: list[object] = [None] if text.lower() in ("none", "null") else []
        for number in (int, float):
            with suppress(ValueError):
                readings.append(number(text))
        with suppress(ValueError):
            if not isinstance(found := json.loads(text), str):  # a text stays as it is, with its quotes
                readings.append(found)
        if text.lower() in BOOLEANS:
            readings.append(BOOLEANS[text.lower()])
        for reading in (*readings, text):
            with suppress(ValueError):
                return self.checked(reading)
        containers = [reading for reading in readings if isinstance(reading, list | dict)]
        return self.checked(containers[0] if containers else text)


def parameters(notebook: str | Path) -> list[Parameter]:
    """Read the declared parameters of the notebook file, in order.

    Raises WorkbenchError when there is not exactly one cell tagged `parameters`, and, naming the line, when that cell
    holds anything but annotated assignments of literals.
    """
    notebook = Path(notebook)
    tagged = [cell for cell in read(notebook).cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise WorkbenchError(f"{notebook}: expected exactly one cell tagged 'parameters', found {len(tagged)}")
    return declared(tagged[0].source, notebook.name)


@contextmanager
def no_grammar_of_iris() -> Iterator[None]:
    """Within the block jsonschema, which nbformat needs, is loaded without its check of IRIs: notebooks have none.

    The check's grammar is compiled when its module is loaded, which takes two seconds.
    """
    name = "rfc3987_syntax"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # documented: an import of it fails, and jsonschema does without
    try:
        yield
    finally:
        del sys.modules[name]


def read(notebook: Path) -> "nbformat.NotebookNode":
    """Read a notebook file as version 4. Raises WorkbenchError when it is absent or no notebook."""
    with no_grammar_of_iris():
        import nbformat

    try:
        return nbformat.reads(storage.read_text(notebook), as_version=4)
    except OSError as error:
        raise WorkbenchError(f"cannot read {notebook}: {error.strerror}; give the path of a notebook") from error
    except (
        ValueError,
        AttributeError,
        KeyError,
        NameError,  # of nbformat itself, for a cell of no known type
        TypeError,
        RecursionError,
        nbformat.ValidationError,
        nbformat.reader.NotJSONError,
    ) as error:
        raise WorkbenchError(f"{notebook} is not a Jupyter notebook") from error


def declared(source: str, name: str) -> list[Parameter]:
    """Read the source of a parameters cell; `name` is the notebook's, for messages.

    Allowed are `name: annotation = literal`, `name: annotation` for a required parameter, a docstring, and
    `from typing import Literal`, without which such an annotation could not be executed. Annotations are int, float, str,
    bool, None, list, dict and tuple of these, Literal of constants, and unions.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise WorkbenchError(f"{name}: parameters cell, line {error.lineno}: {error.msg}") from error
    comments = _comments(source)
    found: dict[str, Parameter] = {}
    for statement in tree.body:
        where = f"{name}: parameters cell, line {statement.lineno}"
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        if isinstance(statement, ast.ImportFrom) and statement.module == "typing":
            continue
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            raise WorkbenchError(f"{where}: expected 'name: type = literal', got '{ast.unparse(statement)}'")
        parameter = _parameter(statement, comments.get(statement.end_lineno, ""), where)
        if parameter.name in found:
            raise WorkbenchError(f"{where}: {parameter.name} is declared twice")
        found[parameter.name] = parameter
    return list(found.values())


def _comments(source: str) -> dict[int, str]:
    """The comment on each line that has one, without its hash sign."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def _parameter(statement: ast.AnnAssign, comment: str, where: str) -> Parameter:
    name = statement.target.id
    annotation = statement.annotation
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError as error:
            raise WorkbenchError(f"{where}: cannot read the annotation {annotation.value!r}") from error
    written, required = ast.unparse(annotation), statement.value is None
    try:
        parameter = Parameter(name, written, None, required, comment, _type(annotation))
        _ = parameter._adapter
    except (PydanticUserError, TypeError) as error:
        raise WorkbenchError(f"{where}: annotation '{written}' is not one that can be checked") from error
    if required:
        return parameter
    try:
        default = ast.literal_eval(statement.value)
    except (ValueError, TypeError, SyntaxError) as error:
        raise WorkbenchError(f"{where}: the value of {name} must be a literal") from error
    try:
        return replace(parameter, default=parameter.checked(default))
    except ValueError as error:
        raise WorkbenchError(f"{where}: the default does not fit: {error}") from error


def _type(node: ast.expr) -> typing.Any:
    """The type that an annotation means. Raises TypeError for one that cannot be checked."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name) if name in TYPES:
            return TYPES[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return typing.Union[_type(left), _type(right)]  # noqa: UP007 - of values
        case ast.Subscript(value=ast.Name(id=name), slice=inside):
            items = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            if name == "Literal" and all(isinstance(item, ast.Constant) for item in items):
                return typing.Literal[tuple(item.value for item in items)]
            if name in ("list", "dict", "tuple"):
                return TYPES[name][tuple(... if _is_ellipsis(item) else _type(item) for item in items)]
    raise TypeError(ast.unparse(node))


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def check(notebook: str | Path, values: Mapping[str, object]) -> dict[str, typing.Any]:
    """Resolve every parameter of the notebook: the given values, then the defaults.

    Raises UsageError for an unknown name (with the nearest one), a value that does not fit the annotation or holds a password,
    and a required parameter without a value; WorkbenchError for a notebook whose parameters cannot be read.
    """
    return resolve(parameters(notebook), values, Path(notebook).name)


def resolve(known: Iterable[Parameter], values: Mapping[str, object], name: str) -> dict[str, typing.Any]:
    """Do what `check` does for parameters that were read already; `name` is the notebook's."""
    known = {parameter.name: parameter for parameter in known}
    for given in values:
        _lookup(known, given, name)
    resolved = {}
    for parameter in known.values():
        if parameter.name not in values and parameter.required:
            raise UsageError(f"{name}: parameter {parameter.name} ({parameter.annotation}) has no default; give a value")
        value = values.get(parameter.name, parameter.default)
        if _holds_password(value):
            how = "a run writes its parameters down; leave it out of the address, and set a variable such as PGPASSWORD"
            raise UsageError(f"{name}: parameter {parameter.name} holds a password or a key: {how}")
        try:
            resolved[parameter.name] = parameter.checked(value)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from error
    return resolved


def _holds_password(value: object) -> bool:
    if isinstance(value, str):
        return without_passwords(value) != value
    inside = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
    return isinstance(inside, list | tuple) and any(map(_holds_password, inside))


def _lookup(known: Mapping[str, Parameter], given: str, name: str) -> Parameter:
    if given in known:
        return known[given]
    near = difflib.get_close_matches(given, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise UsageError(f"{name} has no parameter {given!r}{hint} It has {', '.join(known) or 'none'}")


def parse(notebook: str | Path, assignments: Iterable[str]) -> dict[str, typing.Any]:
    """Read `name=value` texts, each by the annotation of its parameter.

    A str stays as it is (`corpus=123` is "123"), a bool is true/false, yes/no or 1/0, None is none or null, and lists,
    tuples and dicts are JSON. Raises UsageError for an unknown name, a name given twice and a text that does not fit.
    """
    name = Path(notebook).name
    known = {parameter.name: parameter for parameter in parameters(notebook)}
    values: dict[str, typing.Any] = {}
    for assignment in assignments:
        given, equals, written = assignment.partition("=")
        if not equals:
            raise UsageError(f"{name}: expected name=value, got {assignment!r}")
        parameter = _lookup(known, given.strip(), name)
        if parameter.name in values:
            raise UsageError(f"{name}: parameter {parameter.name} is given twice")
        try:
            values[parameter.name] = parameter.parsed(written)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from error
    return values
