"""A logarithmic slider that shows a value without changing it."""

from math import ceil, isclose, log10

import ipywidgets as widgets


class LogSlider(widgets.FloatLogSlider):
    """A slider from 10**low to 10**high, widened to its value where that lies outside; its steps pass through the value.

    Otherwise the page would round the value to the nearest step and report that as a change.
    """

    def __init__(self, description: str, low: float, high: float, step: float, value: float = 1.0, **options):
        self.low, self.high = low, high
        options = {"readout_format": ".3f", **options}
        super().__init__(description=description, min=low, max=high, step=step, value=10**low, **options)
        self.place(value)

    def place(self, value: float) -> None:
        """Show `value`; what is more than a step below 10**low is shown as that."""
        if value < 10 ** (self.low - self.step):
            value = 10**self.low
        if not self.moved(self.value, value):
            return  # which a hand may be moving
        at = log10(value)
        with self.hold_trait_notifications():
            self.min = at - ceil((at - self.low) / self.step - 1e-9) * self.step
            self.max = max(self.high, at)
            self.value = value

    @staticmethod
    def moved(value: float, before: float) -> bool:
        """Whether `value` is another one than `before`, and not the same one rounded."""
        return not any(isclose(found, before, rel_tol=1e-6) for found in (value, LogSlider.rounded(value)))

    @staticmethod
    def rounded(value: float) -> float:
        """`value` to three significant digits: a place on a slider says no more."""
        return float(f"{value:.3g}")
