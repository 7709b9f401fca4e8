"""The figures as pictures: a PNG file for each part, beside `bench.json`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import LogLocator, NullFormatter

from bench.figures import Figure

mpl.use("agg")  # draws into files, and needs no screen

_OURS, _FLOOR = "tab:blue", "tab:gray"
_MOST_POINTS = 2000
"""Of a distribution: what is drawn of the others cannot be seen."""


def draw(part: str, figures: Mapping[str, Figure], folder: Path) -> Path:
    """Draw the figures of one part into `folder`; returns the file.

    Above stand the ratios, with a line where value and baseline are the same; below, for each figure that has samples,
    the share of them that was done within a time, ours beside the baseline.
    """
    distributions = {key: each for key, each in figures.items() if each.samples is not None}
    rows = 1 + (len(distributions) + 1) // 2
    picture = Picture(figsize=(11, 1.2 + 0.32 * len(figures) + 3.2 * (rows - 1)), layout="constrained")
    heights = [max(1.5, 0.45 * len(figures)), *([3.2] * (rows - 1))]
    grid = picture.add_gridspec(rows, 2, height_ratios=heights)
    _ratios(picture.add_subplot(grid[0, :]), figures)
    for number, (key, each) in enumerate(distributions.items()):
        _distribution(picture.add_subplot(grid[1 + number // 2, number % 2]), key, each)
    picture.suptitle(f"Moorage beside bare grpc.aio: {part}")
    file = folder / f"bench-{part}.png"
    folder.mkdir(parents=True, exist_ok=True)
    picture.savefig(file, dpi=110)
    return file


def _ratios(axes: Axes, figures: Mapping[str, Figure]) -> None:
    keys = list(figures)[::-1]
    ratios = [figures[key].ratio for key in keys]
    bars = axes.barh(keys, ratios, color=_OURS)
    axes.bar_label(bars, labels=[f" {each:.2f}" for each in ratios])
    axes.axvline(1, color=_FLOOR, linestyle="--")
    axes.set_xlabel("value to baseline, in the same run")
    axes.margins(x=0.1)


def _distribution(axes: Axes, key: str, figure: Figure) -> None:
    assert figure.samples is not None
    for samples, color, name in zip(figure.samples, (_OURS, _FLOOR), ("value", "baseline"), strict=True):
        axes.plot(*_shares(samples), color=color, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(figure.unit)
    axes.set_ylabel("share done within")
    axes.set_title(key)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def _shares(samples: Sequence[float]) -> tuple[list[float], list[float]]:
    ordered = sorted(samples)
    last = len(ordered) - 1
    places = sorted({round(last * each / _MOST_POINTS) for each in range(_MOST_POINTS + 1)})
    return [ordered[each] for each in places], [(each + 1) / len(ordered) for each in places]
