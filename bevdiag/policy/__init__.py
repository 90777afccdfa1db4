"""What a project has decided: budgets, margins and silenced rules, in bevdiag.toml.

A policy stands in a file `bevdiag.toml`, or in the table `[tool.bevdiag]` of a `pyproject.toml`;
the one nearest to a config, upwards, counts.
"""

from bevdiag.policy.reading import PolicyFile, find_policy, read_policy
from bevdiag.policy.settings import IgnoredRule, Policy, Setting

__all__ = ["IgnoredRule", "Policy", "PolicyFile", "Setting", "find_policy", "read_policy"]
