"""One rule a file, named as the table of codes names it; `check` yields its findings.

A rule's docstring is its page: one sentence, then the parts that `bevdiag.rules.pages` lists. A
rule of the config's stage imports no torch.
"""
