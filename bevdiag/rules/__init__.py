"""Rules by topic: each a function, named as the table of codes names it, that yields its findings.

A rule's docstring is its page: one sentence, then the parts that `bevdiag.rules.pages` lists. A
module with rules of the config's stage imports no torch.
"""
