"""What to mirror, as people declare it: the model, and the strict reader of the file."""

from pullahead.rules.load import load_rules
from pullahead.rules.problems import Problem, RulesError

__all__ = ["Problem", "RulesError", "load_rules"]
