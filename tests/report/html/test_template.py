import base64
import hashlib
import json
import re
from dataclasses import replace

from bevdiag.report.html.report_pages import inspect_page, page_of

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m\u202egnp"


def policy_of(page):
    return re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1].replace("&#39;", "'")


def test_the_policy_admits_its_own_style_and_script_and_nothing_else(drawn):
    page = inspect_page(drawn)
    policy = policy_of(page)
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_nothing_is_fetched_and_no_handler_or_style_stands_in_the_markup(drawn, compared):
    for page in (inspect_page(drawn), page_of(compared)):
        assert not re.search(r"src\s*=", page)
        assert set(re.findall(r"href\s*=\s*(..)", page)) <= {'"#'}
        assert not re.search(r"<[^>]+\s(?:style|on\w+)\s*=", page)


def test_names_reach_neither_markup_nor_script(drawn):
    layers = (replace(drawn.layers[0], name=HOSTILE, type=HOSTILE), *drawn.layers[1:])
    alloc = drawn.blocks[1].alloc._replace(module=HOSTILE, op=HOSTILE)
    blocks = (replace(drawn.blocks[1], alloc=alloc),)
    findings = (replace(drawn.findings[0], message=HOSTILE, module=HOSTILE),)
    page = inspect_page(
        replace(drawn, config=HOSTILE, layers=layers, blocks=blocks, findings=findings)
    )
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    data = re.search(r'id="timeline-data">(.*?)</script>', page, re.DOTALL)[1]
    assert "<img src=x onerror=alert(1)>" in json.loads(data)["names"][0][0]
