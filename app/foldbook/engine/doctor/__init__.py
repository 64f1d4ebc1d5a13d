"""What ``foldbook doctor`` tells an operator: facts by section, and what is wrong, why it matters, what mends it."""
