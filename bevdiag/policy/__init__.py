"""What a project has decided: budgets, margins and silenced rules, in bevdiag.toml.

A policy stands in a file `bevdiag.toml`, or in the table `[tool.bevdiag]` of a `pyproject.toml`;
the one nearest to a config, upwards, counts.
"""

from bevdiag.policy.policy_file import Policy, PolicyFile, Setting, find_policy, read_policy

__all__ = ["Policy", "PolicyFile", "Setting", "find_policy", "read_policy"]
