"""The page in a real browser: it opens in silence, answers the pointer, zooms and folds."""

import shutil
from pathlib import Path

import pytest

from bevdiag.report.html.report_pages import inspect_page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"
)

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, drawn, tmp_path: Path):
    path = tmp_path / "report.html"
    path.write_text(inspect_page(drawn), encoding="utf-8")
    browser.get(path.as_uri())
    return browser


def test_it_opens_without_a_word_on_the_console(page):
    assert "bevdiag" in page.title
    assert page.get_log("browser") == []


def point_at(page, share_x, share_y):
    """Move the pointer over the plot: shares of its width and height from the left and below."""
    from selenium.webdriver import ActionChains

    canvas = page.find_element("css selector", "#timeline canvas")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    size = canvas.size
    left, right, top, bottom = 76, 12, 26, 8
    x = left + share_x * (size["width"] - left - right) - size["width"] / 2
    y = size["height"] / 2 - bottom - share_y * (size["height"] - top - bottom)
    ActionChains(page).move_to_element_with_offset(canvas, round(x), round(y)).perform()
    return page.find_element("css selector", "#timeline .tooltip")


def test_pointing_at_a_band_names_its_tensor(page):
    tooltip = point_at(page, 0.5, 0.02)
    assert tooltip.is_displayed()
    assert "40.0 MiB parameter" in tooltip.text
    tooltip = point_at(page, 0.5, 0.2)
    assert "100.0 MiB activation" in tooltip.text
    assert "backbone_2d.blocks.0" in tooltip.text
    assert "lives from event 5 to event 45" in tooltip.text


def test_pointing_above_the_bands_names_nothing(page):
    assert not point_at(page, 0.5, 0.95).is_displayed()


def test_zooming_and_back(page):
    from selenium.webdriver import Keys

    canvas = page.find_element("css selector", "#timeline canvas")

    def event_under(share):
        point_at(page, share, 0.02)
        text = page.find_element("id", "timeline-detail").text
        return int(text.split()[1])

    assert event_under(0.99) == 59
    point_at(page, 0.1, 0.02)
    canvas.send_keys("+", "+")
    assert event_under(0.99) < 40
    canvas.send_keys(Keys.ESCAPE)
    assert event_under(0.99) == 59
    canvas.send_keys(Keys.HOME)
    assert "(the peak)" in page.find_element("id", "timeline-detail").text


def test_dragging_zooms_into_the_stretch(page):
    from selenium.webdriver import ActionChains

    point_at(page, 0.2, 0.5)
    ActionChains(page).click_and_hold().move_by_offset(200, 0).release().perform()
    point_at(page, 0.99, 0.02)
    assert int(page.find_element("id", "timeline-detail").text.split()[1]) < 35


def test_layers_fold(page):
    def shown():
        rows = page.find_elements("css selector", "#layers tbody tr")
        return sum(row.is_displayed() for row in rows)

    folded = shown()
    page.find_element("css selector", "[data-layers=all]").click()
    assert shown() > folded
    page.find_element("css selector", "[data-layers=all]").click()
    assert shown() == folded


def set_width(page, width):
    """Chromium's own window stops at 500 pixels; the page's width does not."""
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.fixture(params=[360, 768, 1400])
def at_width(page, request):
    set_width(page, request.param)
    page.find_element("css selector", "[data-layers=all]").click()
    yield page
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


_STICKING_OUT = """
return [...document.querySelectorAll("main, main *")]
  .filter((one) => !one.closest("svg") && one.getClientRects().length)
  .filter((one) => {
    const box = one.getBoundingClientRect();
    const clipped = one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0;
    const card = one.parentElement.matches("section, .verdict") && one.parentElement;
    const inner = card && card.getBoundingClientRect().right - parseFloat(
      getComputedStyle(card).paddingRight);
    return box.right > (inner || innerWidth) + 1 || box.left < -1 || clipped;
  })
  .map((one) => `${one.tagName} ${one.className}: ${one.textContent.slice(0, 60)}`);
"""


def test_nothing_sticks_out_or_is_clipped(at_width):
    assert at_width.execute_script(_STICKING_OUT) == []


_BROKEN_WORDS = """
const broken = [];
const words = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
for (let text; (text = words.nextNode());) {
  if (text.parentElement.closest("svg, script, code, h1")) continue;
  for (const found of text.data.matchAll(/(?<!\\S)[A-Za-z-]{2,}(?![^\\s.,:;)])/g)) {
    const range = document.createRange();
    range.setStart(text, found.index);
    range.setEnd(text, found.index + found[0].length);
    if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) broken.push(found[0]);
  }
}
return broken;
"""


def test_no_word_of_a_sentence_is_broken(at_width):
    assert at_width.execute_script(_BROKEN_WORDS) == []


def test_a_code_opens_its_rule(page):
    link = page.find_element("css selector", ".finding a.code")
    rule = page.find_element("css selector", "#" + link.get_attribute("href").partition("#")[2])
    assert not rule.is_displayed()
    page.execute_script("arguments[0].click()", link)
    assert rule.is_displayed()


def test_dark_mode_changes_the_page(page):
    def background():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    light = background()
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    assert background() != light
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
