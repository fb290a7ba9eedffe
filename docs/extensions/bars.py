"""Bar charts as SVG, whose colours and fonts are those of the page (``docs/_static/site.css``)."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH = 640
_BAR_HEIGHT = 12
_ROW_HEIGHT = 38
_HEAD_HEIGHT = 30
#: What is left free beside the longest bar, for its value.
_VALUE_WIDTH = 100


class Bar(NamedTuple):
    """A bar.

    :param label: what was measured
    :param value: the length, more than 0
    :param text: the value as it is shown
    :param is_ours: whether it is drawn in the colour of this package
    """

    label: str
    value: float
    text: str
    is_ours: bool


class Group(NamedTuple):
    """Bars with a common heading."""

    title: str
    bars: Sequence[Bar]


def chart(title: str, groups: Sequence[Group], *, is_logarithmic: bool = False) -> str:
    """Return a chart.

    :param title: its text for those who cannot see it
    :param groups: the groups, from top to bottom
    :param is_logarithmic: whether a step of one length is a factor, for values that differ greatly
    """
    values = [bar.value for group in groups for bar in group.bars]
    low = 10 ** math.floor(math.log10(min(values)))

    def length(value: float) -> float:
        room = WIDTH - _VALUE_WIDTH
        if is_logarithmic:
            return room * math.log(value / low) / math.log(max(values) / low)
        return room * value / max(values)

    parts = []
    top = 0
    for group in groups:
        if group.title:
            parts.append(f'<text class="plot-group" x="0" y="{top + 18}">{escape(group.title)}</text>')
            top += _HEAD_HEIGHT
        for bar in group.bars:
            kind = 'plot-ours' if bar.is_ours else 'plot-other'
            width = max(2, length(bar.value))
            parts.append(f'<text x="0" y="{top + 13}">{escape(bar.label)}</text>')
            parts.append(
                f'<rect class="{kind}" x="0" y="{top + 18}" width="{width:.1f}" height="{_BAR_HEIGHT}" rx="2"/>'
            )
            parts.append(f'<text class="plot-value" x="{width + 8:.1f}" y="{top + 29}">{escape(bar.text)}</text>')
            top += _ROW_HEIGHT
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {top}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
