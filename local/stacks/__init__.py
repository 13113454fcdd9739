"""CloudFormation as `sam deploy` uses it: stacks, change sets, updates in place, roll-backs, deletions.

moto's own makes stacks and does not change them rightly: conditions are not looked at again, an update forgets
outputs, and what it cannot make it leaves out without a word. So the stacks of the local AWS are kept here, and only
the resources themselves are moto's.
"""

from local.stacks.service import install, uninstall

__all__ = ["install", "uninstall"]
