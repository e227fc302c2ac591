"""The parameters of a notebook, read from its source and checked before a kernel starts.

They stand in the one cell tagged `parameters`, as annotated assignments of literals: `size: int = 256  # longest side`.
The cell is read as a syntax tree and never executed. papermill's own reading is a regular expression that loses
`Literal[...]` and unions, checks no type, and lets an unknown name through with a warning.
"""

import ast
import difflib
import io
import json
import math
import tokenize
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat

from workbench.errors import UsageError, WorkbenchError

_PLAIN = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict, "tuple": tuple}
# What a bare `list`, `dict` or `tuple` may hold.
_ANY = int | float | str | bool | None | list | dict | tuple
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell. `default` has no meaning when the parameter is `required`."""

    name: str
    annotation: str  # as written, such as "int | None"
    kind: typing.Any  # the same as a type, such as int | None
    default: object
    required: bool
    comment: str  # what stands behind the assignment

    @property
    def choices(self) -> tuple | None:
        """The values that a Literal allows, None for any other annotation."""
        return typing.get_args(self.kind) if typing.get_origin(self.kind) is typing.Literal else None


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


def read(notebook: Path) -> nbformat.NotebookNode:
    """Read a notebook file as version 4. Raises WorkbenchError when it is absent or no notebook."""
    try:
        return nbformat.read(notebook, as_version=4)
    except OSError as error:
        raise WorkbenchError(f"cannot read {notebook}: {error.strerror}; give the path of a notebook") from error
    except (ValueError, AttributeError, KeyError, nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
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
    name, annotation = statement.target.id, ast.unparse(statement.annotation)
    kind = _kind(statement.annotation, where)
    if statement.value is None:
        return Parameter(name, annotation, kind, None, True, comment)
    try:
        default = ast.literal_eval(statement.value)
    except (ValueError, TypeError, SyntaxError) as error:
        raise WorkbenchError(f"{where}: the value of {name} must be a literal") from error
    try:
        default = conformed(default, kind)
    except ValueError as error:
        raise WorkbenchError(f"{where}: {name}: {annotation} has the default {default!r}: {error}") from error
    return Parameter(name, annotation, kind, default, False, comment)


def _kind(node: ast.expr, where: str) -> typing.Any:
    """The type that an annotation stands for."""
    match node:
        case ast.Constant(value=None):
            return type(None)
        case ast.Constant(value=str(quoted)):
            try:
                return _kind(ast.parse(quoted, mode="eval").body, where)
            except SyntaxError as error:
                raise WorkbenchError(f"{where}: cannot read the annotation {quoted!r}") from error
        case ast.Name(id=name) if name in _PLAIN:
            return _PLAIN[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _kind(left, where) | _kind(right, where)
        case ast.Subscript(value=ast.Name(id=name), slice=inside):
            return _generic(name, inside.elts if isinstance(inside, ast.Tuple) else [inside], node, where)
    raise WorkbenchError(f"{where}: annotation '{ast.unparse(node)}' is not one that can be checked")


def _generic(name: str, inside: list[ast.expr], node: ast.expr, where: str) -> typing.Any:
    """The type that `name[inside]` stands for."""
    if name == "Literal" and all(isinstance(item, ast.Constant) for item in inside):
        return typing.Literal[tuple(item.value for item in inside)]
    if name == "list" and len(inside) == 1:
        return list[_kind(inside[0], where)]
    if name == "dict" and len(inside) == 2 and _kind(inside[0], where) is str:
        return dict[str, _kind(inside[1], where)]
    if name == "tuple" and len(inside) == 2 and isinstance(inside[1], ast.Constant) and inside[1].value is ...:
        return tuple[_kind(inside[0], where), ...]
    if name == "tuple":
        return tuple[tuple(_kind(item, where) for item in inside)]
    raise WorkbenchError(f"{where}: annotation '{ast.unparse(node)}' is not one that can be checked")


def conformed(value: object, kind: typing.Any) -> typing.Any:
    """Return `value` as the type `kind`, or raise ValueError with the reason.

    An int serves for a float and a list for a tuple; a bool serves for nothing but a bool. Numbers must be finite.
    """
    origin, inside = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _one_of(value, inside)
    if origin is typing.Literal:
        if any(value == item and type(value) is type(item) for item in inside):
            return value
        raise ValueError(f"must be one of {', '.join(map(repr, inside))}, not {value!r}")
    if origin is tuple and isinstance(value, list):
        value = tuple(value)
    if origin is float and type(value) is int:
        value = float(value)
    if type(value) is not origin:
        raise ValueError(f"must be {_name(kind)}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {value!r}")
    if origin is dict:
        return {conformed(key, str): conformed(item, inside[1] if inside else _ANY) for key, item in value.items()}
    if origin is list:
        return [conformed(item, inside[0] if inside else _ANY) for item in value]
    if origin is tuple:
        return tuple(conformed(item, one) for item, one in zip(value, _each(value, inside), strict=True))
    return value


def _each(value: tuple, inside: tuple) -> list:
    """The type of each item of a tuple annotated with `inside`."""
    if not inside:
        return [_ANY] * len(value)
    if len(inside) == 2 and inside[1] is ...:
        return [inside[0]] * len(value)
    if len(inside) != len(value):
        raise ValueError(f"must have {len(inside)} items, not {len(value)}")
    return list(inside)


def _one_of(value: object, kinds: tuple) -> typing.Any:
    """Conform to the first of `kinds` that fits; a type that needs no conversion goes first."""
    reasons = []
    for kind in sorted(kinds, key=lambda kind: type(value) is not (typing.get_origin(kind) or kind)):
        try:
            return conformed(value, kind)
        except ValueError as error:
            reasons.append(str(error))
    fits = [kind for kind in kinds if type(value) is (typing.get_origin(kind) or kind)]
    raise ValueError(reasons[0] if fits else f"must be {' or '.join(map(_name, kinds))}, not {value!r}")


def _name(kind: typing.Any) -> str:
    if kind is type(None):
        return "None"
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind).replace("typing.", "")


def check(notebook: str | Path, values: Mapping[str, object]) -> dict[str, typing.Any]:
    """Resolve every parameter of the notebook: the given values, then the defaults.

    Raises UsageError for an unknown name (with the nearest one), a value that does not fit the annotation, and a required
    parameter without a value; WorkbenchError for a notebook whose parameters cannot be read.
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
        try:
            resolved[parameter.name] = conformed(values.get(parameter.name, parameter.default), parameter.kind)
        except ValueError as error:
            raise UsageError(f"{name}: parameter {parameter.name} {error}") from error
    return resolved


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
            values[parameter.name] = _parsed(written, parameter.kind)
        except ValueError as error:
            raise UsageError(f"{name}: parameter {parameter.name} {error}") from error
    return values


def _parsed(written: str, kind: typing.Any) -> typing.Any:
    """The value of type `kind` that a text stands for. Raises ValueError with the reason."""
    origin, inside = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        # Every text is a str, so a str goes last.
        for one in sorted(inside, key=lambda one: one is str):
            try:
                return _parsed(written, one)
            except ValueError:
                continue
        raise ValueError(f"must be {' or '.join(map(_name, inside))}, not {written!r}")
    if origin is typing.Literal:
        for item in inside:
            if written == str(item) or (not isinstance(item, str) and written.lower() == str(item).lower()):
                return item
        raise ValueError(f"must be one of {', '.join(map(repr, inside))}, not {written!r}")
    if origin is str:
        return written
    if origin is type(None) and written.lower() in ("none", "null"):
        return None
    if origin is bool and written.lower() in _BOOLEANS:
        return _BOOLEANS[written.lower()]
    if origin in (int, float):
        try:
            return conformed(origin(written), kind)
        except ValueError as error:
            raise ValueError(f"must be {_name(kind)}, not {written!r}") from error
    if origin in (list, tuple, dict):
        try:
            read_back = json.loads(written)
        except ValueError as error:
            raise ValueError(f"must be {_name(kind)} written as JSON, not {written!r}") from error
        return conformed(read_back, kind)
    raise ValueError(f"must be {_name(kind)}, not {written!r}")
