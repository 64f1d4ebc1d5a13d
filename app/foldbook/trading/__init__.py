"""The domain: the order book of one account as a pure decider. No clock, no randomness, no I/O, no await."""

from foldbook.trading import refusals  # noqa: F401 - importing trading registers its codes
