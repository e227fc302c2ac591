"""Style transfer by optimisation: losses, objective, schedule, optimisers, and the loop that drives them."""

from workbench.transfer.loop import Diverged
from workbench.transfer.result import Iterate, Result
from workbench.transfer.settings import INITS, Settings, check_combination
from workbench.transfer.transfer import Transfer

__all__ = ["INITS", "Diverged", "Iterate", "Result", "Settings", "Transfer", "check_combination"]
