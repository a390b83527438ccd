"""The page in a real browser: keys are pressed, and the file is looked at."""

import json
import time

import pytest
from chromium import NAMES, Browser, executable
from make_folder import write_folder
from review_kit import CONFIDENCE, serving, write_masks

from dealseg.data.review import read_review

READY = "document.querySelector('#photo').naturalWidth > 0 && !document.querySelector('.waiting')"
MANY = {f"{number:03d}": "cup" for number in range(150)}


def text(browser, selector):
    return browser.js(f"document.querySelector({json.dumps(selector)}).textContent")


def until(browser, selector, expected):
    browser.wait(f"document.querySelector('{selector}')?.textContent.includes({expected!r})")


def decided(server, verdicts, tags, seconds=20):
    """Wait until the file says this, and no longer than a slow machine needs."""
    end = time.monotonic() + seconds
    while True:
        found = read_review(server.store.path) if server.store.path.exists() else None
        if found and (found.verdicts, found.tags) == (verdicts, tags):
            return
        assert time.monotonic() < end, found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def browser():
    program = executable()
    if program is None:
        pytest.skip(f"there is no browser here ({', '.join(NAMES)})")
    with Browser(program) as browser:
        yield browser


@pytest.fixture
def server(tmp_path):
    data = write_folder(tmp_path / "data")
    with serving(data, write_masks(tmp_path / "masks")) as server:
        yield server


def test_a_review_is_done_with_the_keys_alone(browser, server):
    browser.problems.clear()
    browser.resize(1200, 800)
    browser.open(server.guard.address)
    until(browser, "#name", "b")  # the least sure of a to d
    browser.wait(READY)
    assert browser.js("location.search") == ""  # the token is not left in the address
    assert text(browser, "#sure") == f"confidence {CONFIDENCE['b']:.2f}"

    browser.press("a", "r")
    decided(server, {"b": "accepted", "c": "rejected"}, {})
    until(browser, "#name", "a")
    until(browser, "#counts", "1 accepted · 1 rejected · 2 open")
    until(browser, "#said", "c rejected, 2 left open")

    browser.press("k", "a", "u")
    decided(server, {"b": "accepted", "c": "rejected"}, {})
    until(browser, "#name", "c")
    browser.press("u")
    decided(server, {"b": "accepted"}, {})
    browser.press("u")
    decided(server, {}, {})
    until(browser, "#name", "b")

    browser.press("End")
    until(browser, "#name", "d")
    browser.press("t", "2", "1", "Escape")
    decided(server, {}, {"d": ("cup", "plate")})
    browser.wait("document.querySelectorAll('#classes input:checked').length === 2")
    browser.press("u")
    decided(server, {}, {"d": ("plate",)})
    until(browser, "#origin", "Edited")

    browser.press("m")
    browser.wait("document.querySelector('#layer').src.includes('/outlined')")
    browser.press("m", "d")
    browser.wait("document.querySelector('#layer').hidden")
    browser.wait("document.querySelector('#photo').src.includes('/depth')")
    browser.press("?")
    browser.wait("document.querySelector('#help').open")
    browser.press("a", "Escape")  # keys of a dialog are the dialog's
    browser.wait("!document.querySelector('#help').open")

    browser.press("g", "c", "Enter")
    until(browser, "#name", "c")
    browser.press("r")
    decided(server, {"c": "rejected"}, {"d": ("plate",)})
    assert browser.problems == []


def test_filters_and_the_grid_follow_what_was_decided(browser, server):
    browser.problems.clear()
    browser.open(server.guard.address)
    until(browser, "#name", "b")
    browser.press("v")
    browser.wait("document.querySelectorAll('#cells img[src*=thumbnail]').length === 4")
    browser.press("ArrowRight", "r", "a")
    decided(server, {"c": "rejected", "a": "accepted"}, {})
    browser.wait("document.querySelectorAll('#cells [data-verdict=rejected]').length === 1")
    choose = "const s = document.querySelector('#status'); s.value = 'open'"
    browser.js(f"{choose}; s.dispatchEvent(new Event('change'))")
    browser.wait("document.querySelectorAll('#cells li').length === 2")
    names = "[...document.querySelectorAll('#cells span')].map((e) => e.textContent).join()"
    browser.wait(f"{names} === 'b,d'")
    browser.press("v")
    browser.wait("document.querySelector('#grid').hidden")
    assert browser.problems == []


def test_an_action_that_fails_is_told_and_nothing_pretends_it_went_well(browser, server):
    browser.open(server.guard.address)
    until(browser, "#name", "b")
    server.store.path.write_text("{")
    browser.press("a")
    until(browser, "#problem", "review.json: cannot read this review")
    assert server.store.path.read_text() == "{"
    server.store.path.unlink()
    browser.press("Home", "r")
    decided(server, {"b": "rejected"}, {})
    browser.wait("document.querySelector('#problem').hidden")


def test_a_key_that_is_held_decides_one_mask_and_moves_over_many(browser, server):
    browser.resize(1200, 800)
    browser.open(server.guard.address)
    until(browser, "#name", "b")
    browser.press("r", held=3)
    decided(server, {"b": "rejected"}, {})
    until(browser, "#name", "c")
    browser.press("j", held=1)
    until(browser, "#name", "d")
    browser.press("a")
    decided(server, {"b": "rejected", "d": "accepted"}, {})


@pytest.mark.parametrize(("width", "height"), [(800, 360), (390, 844)])
def test_in_small_windows_nothing_is_cut_off(browser, server, width, height):
    browser.resize(width, height)
    browser.open(server.guard.address)
    until(browser, "#name", "b")
    wide = "(e) => e.scrollWidth > e.clientWidth"
    assert not browser.js(f"[document.querySelector('#panel')].some({wide})")
    assert not browser.js(f"[...document.querySelectorAll('.decide button')].some({wide})")
    order = "document.querySelector('#order')"
    needed = f"""((e) => {{ const c = e.cloneNode(true); e.parentNode.append(c);
        c.style = 'position: absolute; width: auto; max-width: none; padding: 4px 8px';
        const width = c.offsetWidth; c.remove(); return width; }})({order})"""
    assert browser.js(needed) <= browser.js(f"{order}.offsetWidth")
    browser.press("?")
    browser.wait("document.querySelector('#help').open")
    assert browser.js("document.querySelector('#help').scrollTop") == 0
    browser.press("Escape")


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1200, True)])
def test_the_page_fits_its_width_and_every_control_has_a_name(browser, server, width, dark):
    browser.resize(width, 844, dark=dark)
    browser.open(server.guard.address)
    until(browser, "#name", "b")
    assert browser.js("document.documentElement.scrollWidth") <= width
    nameless = """[...document.querySelectorAll('button, input, select')].filter((e) =>
        !e.textContent.trim() && !e.labels?.length && !e.getAttribute('aria-label')).length"""
    assert browser.js(nameless) == 0
    ground = browser.js("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 21, 26)" if dark else "rgb(251, 251, 250)")


def test_of_many_masks_only_those_in_sight_are_in_the_page(browser, tmp_path):
    data = write_folder(tmp_path / "data", MANY)
    masks = write_masks(tmp_path / "masks", {}, names=list(MANY))
    with serving(data, masks) as server:
        browser.resize(390, 844)
        browser.open(server.guard.address)
        until(browser, "#place", "1 of 150")
        browser.press("v")
        browser.wait("document.querySelectorAll('#cells img[src]').length > 4")
        assert browser.js("document.querySelectorAll('#cells li').length") < 40
        browser.press("End")
        until(browser, "#cells [aria-current]", "149")
        assert browser.js("document.querySelectorAll('#cells li').length") < 40
        browser.press("Enter")
        until(browser, "#place", "150 of 150")
