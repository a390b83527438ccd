import json
import socket
import threading
from urllib.error import HTTPError
from urllib.request import Request, build_opener

import pytest
from review_kit import ask, serving, write_both

from dealseg.cli import main
from dealseg.data.review import Review, read_review, write_review
from dealseg.reviewing import ReviewServer


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return write_both(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def server(both):
    with serving(*both) as server:
        yield server


def test_the_printed_address_lets_a_browser_in_and_a_cookie_keeps_it_in(server):
    with build_opener().open(server.guard.address, timeout=30) as page:
        assert page.status == 200
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert page.headers["X-Content-Type-Options"] == "nosniff"
    address = f"http://127.0.0.1:{server.server_port}/api/session"
    asked = Request(address, headers={"Cookie": cookie})
    with build_opener().open(asked, timeout=30) as answer:
        assert json.load(answer)["counts"]["all"] == 4
    with pytest.raises(HTTPError, match="403"):
        build_opener().open(address, timeout=30)


def test_it_listens_on_this_machine_alone(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "rebound.example:8765"}, {"Origin": "http://evil.example"},
     {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Cookie": None},
     {"Cookie": "dealseg-review=guess"}],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_other_hosts_origins_and_sites_get_nothing(server, method, headers):
    target = "/api/act/0" if method == "POST" else "/api/session"
    body = {"verdict": "accepted"} if method == "POST" else None
    response, data = ask(server, method, target, body, headers)
    assert response.status == 403
    assert b"cup" not in data
    assert server.store.review == Review()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused_and_no_other_origin_is_allowed(server, method):
    response, data = ask(server, method, "/api/act/0")
    assert response.status == 501
    assert method in json.loads(data)["error"]
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    ["/../../../../../../etc/passwd", "/static/../../data/tags.csv", "/..%2f..%2fetc/passwd",
     "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/picture/0/../../../tags.csv", "/masks/a.png"],
)  # fmt: skip
def test_paths_out_of_the_data_lead_nowhere_on_the_wire_either(server, path):
    response, data = ask(server, "GET", path)
    assert response.status == 404
    assert json.loads(data) == {"error": "there is nothing here"}


@pytest.mark.parametrize("length", ["-1", "70000", "1e3", "", "٣".encode().decode("latin-1")])
def test_a_body_of_unbearable_or_unknown_length_is_not_read(server, length):
    response, _ = ask(server, "POST", "/api/act/0", headers={"Content-Length": length})
    assert response.status == 413


def test_a_head_has_the_headers_of_a_get_and_no_body(server):
    response, data = ask(server, "HEAD", "/picture/0/image")
    assert (response.status, data) == (200, b"")
    assert int(response.headers["Content-Length"]) > 100


def test_a_client_that_hangs_up_harms_nobody(server, capfd):
    with socket.create_connection(("127.0.0.1", server.server_port)) as hasty:
        hasty.sendall(b"POST /api/act/0 HTTP/1.1\r\nContent-Length: 50\r\n\r\n{")
    with socket.create_connection(("127.0.0.1", server.server_port)) as rude:
        rude.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        rude.recv(1000)
    assert ask(server, "GET", "/api/session")[0].status == 200
    assert capfd.readouterr().err == ""


def test_a_mistake_of_ours_is_one_answer_and_not_the_end(server, monkeypatch, caplog):
    monkeypatch.setattr(server.app, "answer", lambda _: 1 / 0)
    response, data = ask(server, "GET", "/")
    assert response.status == 500
    assert b"mistake" in data
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert ask(server, "GET", "/api/session")[0].status == 200


def test_two_tabs_at_once_lose_nothing(tmp_path):
    data, masks = write_both(tmp_path)
    verdicts = {0: "accepted", 1: "rejected", 2: "accepted", 3: "rejected"}
    with serving(data, masks) as server:

        def tab(tag):
            for place, verdict in verdicts.items():
                ask(server, "POST", f"/api/act/{place}", {"tag": tag, "present": place != 0})
                ask(server, "POST", f"/api/act/{place}", {"verdict": verdict})

        tabs = [threading.Thread(target=tab, args=(tag,)) for tag in ("cup", "plate")]
        for each in tabs:
            each.start()
        for each in tabs:
            each.join()
    review = read_review(masks / "review.json")
    assert review.verdicts == dict(zip("abcd", verdicts.values(), strict=True))
    assert review.tags == {"a": (), "c": ("cup", "plate"), "d": ("cup", "plate")}  # b has both


def reviewed(monkeypatch, during):
    """Let the command serve until `during` is through, then press Ctrl-C."""
    serve = ReviewServer.serve_forever

    def until(self, poll_interval):
        thread = threading.Thread(target=serve, args=(self, 0.02))
        thread.start()
        try:
            during(self)
        finally:
            self.shutdown()
            thread.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(ReviewServer, "serve_forever", until)


def test_the_command_serves_until_ctrl_c_and_says_what_was_decided(tmp_path, capsys, monkeypatch):
    data, masks = write_both(tmp_path)
    write_review(masks / "review.json", Review({"b": "rejected"}))
    reviewed(monkeypatch, lambda s: ask(s, "POST", "/api/act/0", {"verdict": "accepted"}))
    assert main(["review", str(masks), str(data), "--open", "false", "--port", "0"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"4 masks, least sure first; decisions go to {masks}/review.json\n" in out
    assert "open http://127.0.0.1:" in out
    assert out.endswith(f"{masks}/review.json: 1 accepted, 1 rejected, 2 open, 0 edited\n")
    assert read_review(masks / "review.json").verdicts == {"a": "accepted", "b": "rejected"}


def test_a_foreign_folder_of_masks_is_reviewed_into_a_file_of_its_own(
    tmp_path, capsys, monkeypatch
):
    data, masks = write_both(tmp_path)
    (masks / "labels.json").unlink()
    (masks / "masks/d.png").rename(masks / "masks/elsewhere.png")
    out = tmp_path / "mine/decided.json"
    reviewed(monkeypatch, lambda s: ask(s, "POST", "/api/act/2", {"verdict": "rejected"}))
    words = ["review", str(masks), str(data), "--open=false", "--port=0", "--out", str(out)]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert f"3 masks (1 left out: {data} has no image for them), by name, for want of" in told
    assert read_review(out).verdicts == {"c": "rejected"}
    assert not (masks / "review.json").exists()


def test_the_browser_is_opened_where_there_is_a_screen(tmp_path, monkeypatch):
    data, masks = write_both(tmp_path)
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    reviewed(monkeypatch, lambda _: None)
    words = ["review", str(masks), str(data), "--port", "0"]
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(words) == 0
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    assert main([*words, "--open", "false"]) == 0
    assert opened == []
    assert main(words) == 0
    assert opened[0].startswith("http://127.0.0.1:")


def test_a_corrupt_review_is_refused_with_a_way_out_and_never_overwritten(both, tmp_path, capsys):
    out = tmp_path / "review.json"
    out.write_text('{"format": "dealseg-review", "version": 1, "verdicts": {"a": "fine"}}')
    before = out.read_bytes()
    words = ["review", str(both[1]), str(both[0]), "--open=false", "--port=0", "--out", str(out)]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "verdict of image 'a': expected accepted or rejected, got 'fine'; mend it, or" in err
    assert out.read_bytes() == before


def test_a_port_that_is_taken_is_told_if_asked_for_and_passed_over_if_not(both, capsys, tmp_path):
    data, masks = both
    with serving(data, masks, out=tmp_path / "a.json") as first:
        port = first.server_port
        assert main(["review", str(masks), str(data), "--open=false", f"--port={port}"]) == 2
        assert f"--port {port}: cannot be had" in capsys.readouterr().err
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dealseg.reviewing.server.PORT", port)
            with serving(data, masks, out=tmp_path / "b.json", port=None) as second:
                assert second.server_port not in (0, port)
    assert main(["review", str(masks), str(data), "--port", "70000"]) == 2
    assert "--port must be in [0, 65535], got 70000" in capsys.readouterr().err
