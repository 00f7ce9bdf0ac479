"""Small figures as image arrays, without a global figure or a display."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Image = np.ndarray[Any, np.dtype[np.uint8]]


def new_figure(panels: int) -> tuple[Figure, list[Any]]:
    """Return a figure with ``panels`` axes side by side, 400 x 300 pixels each."""
    figure = Figure(figsize=(4 * panels, 3), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(1, panels, i + 1) for i in range(panels)]


def as_image(figure: Figure) -> Image:
    """Render a figure to shape (height, width, 3), uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
