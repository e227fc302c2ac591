"""scikit-learn in one thread, and loaded only where it is used: that takes as long as a small transfer."""

import functools
from collections.abc import Callable
from typing import TypeVar

from threadpoolctl import threadpool_limits

Result = TypeVar("Result")


def serial(function: Callable[..., Result]) -> Callable[..., Result]:
    """Let `function`, which calls scikit-learn, run in one thread.

    Sums over several threads come in any order, and the same seed must give the same result; for a few hundred points several
    threads take longer than one.
    """

    @functools.wraps(function)
    def run(*args, **options) -> Result:
        import sklearn.cluster  # noqa: F401 - before the limit, which holds for libraries that are loaded

        with threadpool_limits(limits=1):
            return function(*args, **options)

    return run
