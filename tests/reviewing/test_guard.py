import pytest

from dealseg.reviewing.guard import Asked, Guard

GUARD = Guard(8765, "secret")
HOST, ORIGIN = ["127.0.0.1:8765"], ["http://127.0.0.1:8765"]
COOKIE = ["dealseg-review-8765=secret"]


def refused(method="GET", token="", **headers):
    asked = {"host": HOST, "cookie": COOKIE, **headers}
    named = {name.replace("_", "-"): value for name, value in asked.items() if value is not None}
    return GUARD.refusal(Asked(method, named, token))


def test_the_page_itself_may_ask_and_change():
    assert refused() is None
    assert refused("POST", origin=ORIGIN, sec_fetch_site=["same-origin"]) is None
    assert refused(host=["localhost:8765"], origin=["http://localhost:8765"]) is None
    assert refused(host=["LOCALHOST:8765"]) is None
    assert refused(cookie=["_xsrf=2|a{}; dealseg-review-8765=secret; other=1"]) is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        [],
        ["evil.example"],
        ["evil.example:8765"],
        ["127.0.0.1"],
        ["127.0.0.1:80"],
        ["127.0.0.1:8765.evil.example"],
        ["0.0.0.0:8765"],
        ["127.0.0.1:8765", "127.0.0.1:8765"],
        ["127.0.0.1:8765@evil.example"],
        [""],
    ],
)
def test_other_hosts_are_refused_so_that_rebinding_a_name_gains_nothing(host):
    assert "127.0.0.1 only" in refused(host=host)
    assert "127.0.0.1 only" in refused(host=host, token="secret")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1:8765",
        "http://127.0.0.1:8766",
        "http://127.0.0.1",
        "http://localhost:8765",
        "",
        "file://",
    ],
)
def test_other_origins_are_refused(method, origin):
    assert "other origins" in refused(method, origin=[origin])
    assert "other origins" in refused(method, origin=[*ORIGIN, origin])


def test_a_change_without_origin_is_refused():
    assert "must say its origin" in refused("POST")
    assert "must say its origin" in refused("POST", token="secret")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_page_embeds_or_sends_is_refused(site):
    assert "other sites" in refused(sec_fetch_site=[site])
    assert "other sites" in refused("POST", origin=ORIGIN, sec_fetch_site=[site])


@pytest.mark.parametrize(
    "cookie",
    [
        None,
        ["dealseg-review-8765=wrong"],
        ["dealseg-review-8766=secret"],
        ["dealseg-review-8765="],
        ["dealseg-review-8765"],
        ["secret"],
        ["dealseg-review-8765=secre\udcff"],
    ],
)
def test_who_does_not_know_the_token_is_refused(cookie):
    assert "open the address" in refused(cookie=cookie)
    assert "open the address" in refused(cookie=cookie, token="wrong")
    assert "open the address" in refused("POST", cookie=cookie, origin=ORIGIN)


def test_the_address_that_is_printed_lets_in_from_wherever_it_is_opened():
    assert GUARD.address == "http://127.0.0.1:8765/?token=secret"
    assert refused(cookie=None, token="secret", sec_fetch_site=["cross-site"]) is None


def test_a_browser_leaves_out_the_port_of_http():
    plain = Guard(80, "secret")
    headers = {"host": ["127.0.0.1"], "cookie": ["dealseg-review-80=secret"]}
    assert plain.refusal(Asked("POST", {**headers, "origin": ["http://127.0.0.1"]})) is None
