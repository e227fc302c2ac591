"""All painters by name."""

from workbench.samples.nocturne import NOCTURNE
from workbench.samples.noonday import NOONDAY
from workbench.samples.painter import Painter
from workbench.samples.umber import UMBER

PAINTERS: dict[str, Painter] = {painter.name: painter for painter in (NOCTURNE, NOONDAY, UMBER)}
