"""Notebooks as they are committed: without outputs, counts, and the metadata that an execution leaves."""

from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.runs.declarations import parameters, read
from workbench.storage import write_text

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
"""Metadata of the kernel in every committed notebook."""


def stripped(notebook: str | Path) -> list[str]:
    """Say what keeps a notebook from being committed; an empty list when nothing does."""
    notebook = Path(notebook)
    problems = []
    node = read(notebook)
    for number, cell in enumerate(node.cells, start=1):
        if cell.get("outputs"):
            problems.append(f"cell {number} has outputs")
        if cell.get("execution_count") is not None:
            problems.append(f"cell {number} has an execution count")
        if extra := set(cell.metadata) - {"tags"}:
            problems.append(f"cell {number} has metadata: {', '.join(sorted(extra))}")
        if "injected-parameters" in cell.metadata.get("tags", []):
            problems.append(f"cell {number} was injected by papermill")
    if extra := set(node.metadata) - {"kernelspec", "language_info"}:
        problems.append(f"the notebook has metadata: {', '.join(sorted(extra))}")
    if extra := set(node.metadata.get("language_info", {})) - {"name"}:
        problems.append(f"the notebook's language_info has {', '.join(sorted(extra))}")
    if node.metadata.get("kernelspec", {}).get("name") != KERNEL["name"]:
        problems.append("the kernel is not python3")
    try:
        parameters(notebook)
    except WorkbenchError as error:
        problems.append(str(error))
    return problems


def strip(notebook: str | Path) -> Path:
    """Rewrite a notebook as it is committed; the same notebook gives the same bytes. Returns the path."""
    notebook = Path(notebook)
    node = read(notebook)
    node.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    node.cells = [cell for cell in node.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for cell in node.cells:
        cell.metadata = {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    import nbformat  # loaded by `read`

    return write_text(notebook, nbformat.writes(node) + "\n")
