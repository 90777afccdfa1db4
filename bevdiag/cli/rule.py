"""`bevdiag rule`: what a finding means, why it happens and how to fix it."""

from typing import Annotated

import typer

from bevdiag.cli.output import STDOUT, layout_for, write_output


def rule_command(
    code: Annotated[
        str | None,
        typer.Argument(metavar="CODE", help="A code such as BEV203, or a rule's name."),
    ] = None,
) -> int:
    """Explain the finding CODE; without it, list all rules."""
    from bevdiag.report.text.rule import render_rule, render_rules
    from bevdiag.rules.codes import CODES
    from bevdiag.rules.pages import find_code, rule_page

    layout = layout_for(STDOUT)
    if code is None:
        text = render_rules(tuple(rule_page(known) for known in CODES), layout)
    else:
        text = render_rule(rule_page(find_code(code).code), layout)
    write_output(text, STDOUT)
    return 0
