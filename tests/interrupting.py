"""An engine that something stops after a number of evaluations, as Ctrl-C does."""

from workbench.transfer.loop import Plain


class Interrupting(Plain):
    """The plain engine; `error` is raised once, after `evaluations`."""

    def __init__(self, evaluations: int, error: type[BaseException] = KeyboardInterrupt):
        self.left = evaluations
        self.error = error

    def advance(self, descents, count, found):
        for _ in range(count):
            self.left -= 1
            if self.left == -1:
                raise self.error
            super().advance(descents, 1, found)
