"""The critical lines: what would be wrong, and not noticed, if the named test was not there."""

from __future__ import annotations

from tests.mutants.of_the_log import LOG
from tests.mutants.of_the_product import PRODUCT

CRITICAL = [*LOG, *PRODUCT]
