"""The curves as one picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from bench.curves.curve import Curve, Panel, Row

COLUMNS: Final = 3
PANEL_INCHES: Final = (4.6, 3.2)


def draw(taken: dict[str, list[Row]], curves: Iterable[Curve], subtitle: str, path: Path) -> None:
    """One panel for each thing to see, as PNG or SVG by the name."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [
        (panel, taken[one.name]) for one in curves if one.name in taken for panel in one.panels
    ]
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    width, height = PANEL_INCHES
    drawing = Figure(figsize=(columns * width, lines * height), layout="constrained")
    FigureCanvasAgg(drawing)
    for number, (panel, rows) in enumerate(panels, start=1):
        _draw_panel(drawing.add_subplot(lines, columns, number), panel, rows)
    drawing.suptitle(f"How cost grows · {subtitle}", fontsize=9)
    # Letters stay letters, and the same figures make the same file: small, and fit for git.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "flashstock"}):
        said = {"Date": None, "Creator": None} if path.suffix == ".svg" else None
        drawing.savefig(path, dpi=110, metadata=said)


def _draw_panel(axes: Any, panel: Panel, rows: list[Row]) -> None:
    axes.set_title(panel.title, fontsize=10)
    axes.tick_params(labelsize=8)
    if isinstance(rows[0][panel.x], str):
        names = [str(row[panel.x]) for row in rows]
        axes.barh(names, [row[panel.ys[0]] for row in rows], color="#4c72b0")
        axes.invert_yaxis()
        axes.set_xlabel(panel.ys[0], fontsize=8)
        return
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[f"{row[panel.each]} {panel.each}" if panel.each else ""].append(row)
    for group, members in groups.items():
        for name in panel.ys:
            known = [row for row in members if row[name] is not None]
            label = f"{name} ({group})" if group else name
            axes.plot(
                [row[panel.x] for row in known], [row[name] for row in known], "o-", label=label
            )
    axes.set_xscale("log")
    if panel.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    ticks = sorted({int(row[panel.x] or 0) for row in rows})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(panel.x.replace("_", " "), fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
