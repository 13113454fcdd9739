"""`python -m bench.plot LATEST_JSON PNG`: wall and CPU of every tool in every case, as a share of the slowest peer's.

Reads only the file, so that matplotlib can live in an environment of its own.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]

mpl.use("Agg")
from matplotlib import pyplot as plt  # type: ignore[import-not-found,unused-ignore]

_FIGURES: Final = (("wall_seconds", "wall, s"), ("cpu_seconds", "client CPU, s"), ("peak_rss_mib", "peak RSS, MiB"))
_COLOURS: Final = ("#d1495b", "#30638e", "#8d99ae", "#66a182", "#edae49")


def main(source: Path, png: Path) -> None:
    """Draw the plot."""
    results = json.loads(source.read_text())
    cases = [case for case in results["cases"] if any(tool["runs"] for tool in case["tools"])]
    tools = list(dict.fromkeys(tool["tool"] for case in cases for tool in case["tools"]))
    figure, rows = plt.subplots(
        len(_FIGURES), len(cases), figsize=(2.4 * len(cases), 6.5), squeeze=False, layout="constrained"
    )
    for column, case in enumerate(cases):
        for row, (name, label) in enumerate(_FIGURES):
            _draw(rows[row][column], case, name, tools)
            if column == 0:
                rows[row][column].set_ylabel(label)
        rows[0][column].set_title(f"{case['case']}, {case['size_bytes'] / 1e6:,.0f} MB", fontsize=10)
    machine = results["machine"]
    figure.suptitle(f"{machine['date']}, {machine['cpus']}; medians of {results['rounds']} rounds", fontsize=10)
    figure.savefig(png, dpi=130)


def _draw(axes: Any, case: dict[str, Any], figure: str, tools: list[str]) -> None:
    for tool in case["tools"]:
        if not tool["runs"] or tool["problem"] is not None:
            continue
        value = statistics.median(run[figure] for run in tool["runs"])
        colour = _COLOURS[tools.index(tool["tool"]) % len(_COLOURS)]
        bars = axes.bar(tool["tool"], value, color=colour)
        axes.bar_label(bars, fmt="%.2f" if value < 10 else "%.0f", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelrotation=30, labelsize=8)
    axes.margins(y=0.18)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
