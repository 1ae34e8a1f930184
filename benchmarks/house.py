"""The house in figures: files, sizes, rooms, names defined twice, circles, what the checkers find.

    uv run python -m benchmarks.house [--quick]

Product is flows, tasks, models, monitoring and liftloop without migrations. A circle is a ring of
modules that import each other at import time. ``--quick`` leaves the type checker and vulture out.
Functions registered as typer commands are not counted by their parameters: those are the command's
options; nor are flows: theirs are the interface of a deployment.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PRODUCT = ("flows", "tasks", "models", "monitoring", "liftloop")
MOST_PARAMETERS, MOST_FILES = 6, 14


def files(*roots: str) -> list[Path]:
    """Python files below the roots, without generated migrations."""
    found = [path for root in roots for path in sorted((TOP / root).rglob("*.py"))]
    return [path for path in found if "versions" not in path.parts]


def lines(paths: list[Path]) -> list[int]:
    """Lines of each file."""
    return [len(path.read_text().splitlines()) for path in paths]


def module_of(path: Path) -> str:
    """The dotted name."""
    parts = list(path.relative_to(TOP).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, known: set[str]) -> set[str]:
    """Modules of ours that a file imports when it is imported."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & known


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, the first again at the end; [] where none do."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def registers(node: ast.AST) -> bool:
    """Whether this is ``app.command(...)(function)`` or a callback registered in the same way."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Call)):
        return False
    maker = node.func.func
    return isinstance(maker, ast.Attribute) and maker.attr in ("command", "callback")


def commands(tree: ast.AST) -> set[str]:
    """Functions registered as typer commands: those named where a function registers commands."""
    return {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and any(map(registers, ast.walk(node)))
        for name in ast.walk(node)
        if isinstance(name, ast.Name)
    }


def parameters(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each function with its number of parameters, ``self`` and ``cls`` not counted; without
    functions registered as typer commands, and flows."""
    asked = commands(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in asked:
            if any(ast.unparse(made).startswith("flow(") for made in node.decorator_list):
                continue
            given = node.args
            names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            yield node.name, len([n for n in names if n not in ("self", "cls")])


def ran(*command: str) -> str:
    """What a checker prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TOP)
    return done.stdout + done.stderr


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--names", action="store_true", help="and name what is over a limit")
    asked = parser.parse_args()
    product, tests = files(*PRODUCT), files("tests")
    sizes = lines(product)
    folders = Counter(path.parent.relative_to(TOP) for path in product)
    folders = Counter({k: v - (TOP / k / "__init__.py").exists() for k, v in folders.items()})
    trees = {path: ast.parse(path.read_text()) for path in product}
    wide = [
        f"{path.relative_to(TOP)}:{name} ({count})"
        for path, tree in trees.items()
        for name, count in parameters(tree)
        if count > MOST_PARAMETERS
    ]
    classes = Counter(
        node.name
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    twice = sorted(name for name, count in classes.items() if count > 1)
    known = {module_of(path) for path in product}
    graph = {module_of(path): imported(path, known) - {module_of(path)} for path in product}
    ring = circle(graph)
    skips = sum(path.read_text().count("# fmt: skip") for path in product + tests)
    full = [f"{folder} ({count})" for folder, count in folders.most_common() if count > MOST_FILES]
    biggest = max(range(len(sizes)), key=sizes.__getitem__)
    print(f"product files {len(product)}, lines {sum(sizes)}; tests {sum(lines(tests))} lines")
    print(
        f"median file {statistics.median(sizes):.0f} lines, largest {sizes[biggest]} "
        f"({product[biggest].relative_to(TOP)})"
    )
    print(f"folders with more than {MOST_FILES} files: {len(full)}: {', '.join(full)}")
    print(f"functions with more than {MOST_PARAMETERS} parameters: {len(wide)}")
    print(f"public class names defined more than once: {len(twice)}")
    print(f"# fmt: skip: {skips}")
    print(f"import circle: {' -> '.join(ring) or 'none'}")
    if asked.names:
        print("\n".join(wide))
        print("twice:", ", ".join(twice))
    if not asked.quick:
        typed = ran(sys.executable, "-m", "mypy")
        print(f"mypy --strict: {typed.strip().splitlines()[-1]}")
        dead = ran(sys.executable, "-m", "vulture", *PRODUCT, "--min-confidence", "80")
        print(f"vulture: {len(re.findall(r'unused', dead))} findings")


if __name__ == "__main__":
    main()
