"""Draws docs/architecture.svg from the code's own imports: a module stands above all that it imports.

An arrow that a longer way implies is left out.

python docs/architecture.py
"""

import ast
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parent.parent
DOORS = ("app", "train", "__main__")
SERVING, TRAINING = "#2f6f5e", "#8a5a2b"


def modules() -> dict[str, Path]:
    """Every module of the project by the name under which it is drawn; lstm/web is one room."""
    found = {path.stem: path for path in (ROOT / "lstm").glob("*.py") if path.stem != "__init__"}
    return found | {"app.py": ROOT / "app.py", "train.py": ROOT / "train.py"}


def imported(path: Path, door: bool = False) -> set[str]:
    """Names of the project's modules that a file imports at its top; of a door, those inside its functions too."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in ast.walk(tree) if door else tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lstm":
            parts = node.module.split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return names


def graph() -> dict[str, set[str]]:
    """Each module with those it imports."""
    edges = {name: imported(path, path.stem in DOORS) for name, path in modules().items()}
    edges["web"] = {name for path in (ROOT / "lstm" / "web").glob("*.py") for name in imported(path)} - {"web"}
    edges["python -m lstm"] = edges.pop("__main__", set())
    return {name: {other for other in others if other in edges and other != name} for name, others in edges.items()}


def floors(edges: dict[str, set[str]]) -> dict[str, int]:
    """How high a module stands: one above the highest that it imports."""
    heights: dict[str, int] = {}

    def height(name: str) -> int:
        if name not in heights:
            heights[name] = 1 + max((height(other) for other in edges[name]), default=-1)
        return heights[name]

    for name in edges:
        height(name)
    return heights


def reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    """Everything that a module needs, itself included."""
    seen, waiting = set(), [start]
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += edges[name]
    return seen


def direct(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """The edges without those that a longer way implies."""
    below = {name: set().union(*(reachable(edges, other) - {other} for other in edges[name])) for name in edges}
    return {name: others - below[name] for name, others in edges.items()}


def draw(target: Path) -> None:
    """Write the picture."""
    edges = graph()
    heights = floors(edges)
    served = reachable(edges, "app.py")
    rows: dict[int, list[str]] = {}
    for name in sorted(edges, key=lambda n: (n not in served, n)):
        rows.setdefault(heights[name], []).append(name)
    places = {n: ((k + 0.5) * 12 / len(row), h * 1.25) for h, row in rows.items() for k, n in enumerate(row)}

    figure = Figure(figsize=(12, 1.25 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots()
    for name, others in direct(edges).items():
        for other in sorted(others):
            (x, y), (u, v) = places[name], places[other]
            line = {"arrowstyle": "-|>", "color": "#8a8a8a", "lw": 0.9, "shrinkA": 14, "shrinkB": 16}
            axes.annotate("", (u, v), (x, y), arrowprops=line, zorder=1)
    for name, (x, y) in places.items():
        colour = SERVING if name in served else TRAINING
        axes.add_patch(
            FancyBboxPatch((x - 0.55, y - 0.17), 1.1, 0.34, "round,pad=0.06", fc="white", ec=colour, zorder=2)
        )
        axes.text(x, y, name, ha="center", va="center", fontsize=9, color=colour, zorder=3)
    axes.text(0, -0.75, "green: what the page needs, without torch", color=SERVING, fontsize=9)
    axes.text(4, -0.75, "brown: training", color=TRAINING, fontsize=9)
    axes.set(xlim=(-0.2, 12.2), ylim=(-0.9, 1.25 * max(rows) + 0.5))
    axes.axis("off")
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "architecture"}):  # the same file every time
        figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else {})


if __name__ == "__main__":
    draw(ROOT / "docs" / "architecture.svg")
