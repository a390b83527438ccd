import json
import re

import numpy as np
import pytest
from make_folder import save_palette, scene, write_folder
from review_kit import get, make_app, pixels, post, told, write_masks

from dealseg.data import open_dataset
from dealseg.data.mask_set import open_masks
from dealseg.data.review import read_review
from dealseg.errors import DataError
from dealseg.reviewing import Album, drawing


@pytest.fixture
def made(tmp_path):
    return make_app(tmp_path)


@pytest.fixture
def app(made):
    return made[0]


def test_the_page_brings_its_own_and_allows_nothing_else(app):
    page = get(app, "/?token=secret", cookie=[])
    assert page.headers["Set-Cookie"].startswith("dealseg-review-8765=secret; Path=/; HttpOnly")
    assert "SameSite=Strict" in page.headers["Set-Cookie"]
    text = page.body.decode()
    assert not re.search(r"<script[^>]*>[^<]|<style|\sstyle=|\son\w+=|https?://", text)
    for address in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert get(app, address).status == 200


def test_scripts_and_styles_load_nothing_from_elsewhere_and_each_import_is_there(app):
    todo, seen = ["review.js", "review.css", "house.css"], set()
    while todo:
        name = todo.pop()
        seen.add(name)
        response = get(app, f"/static/{name}")
        assert response.status == 200
        text = response.body.decode()
        assert not re.search(r"https?://|innerHTML|eval\(|@import|url\(", text)
        todo += [each for each in re.findall(r'from "\./([^"]+)"', text) if each not in seen]
    assert len(seen) == 9


@pytest.mark.parametrize(("path", "cookie"), [("/", []), ("/api/order", None)])
def test_a_query_of_many_parameters_is_a_mistake_of_who_asks(app, path, cookie):
    target = f"{path}?{'&'.join(f'a{number}=1' for number in range(21))}"
    response = get(app, target) if cookie is None else get(app, target, cookie=cookie)
    assert (response.status, json.loads(response.body)) == (400, {"error": "too many parameters"})


@pytest.mark.parametrize(
    "path",
    ["/static/app.py", "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py",
     "/static//etc/passwd", "/static/", "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
     "//etc/passwd", "/picture/../../masks/a.png", "/picture/0/../../../data/tags.csv",
     "/picture/0/%2e%2e", "/picture/%30/image", "/picture/-1/image", "/picture/0/image/",
     "/picture/a/image", "/picture/0/review.json", "/picture/00x0/image", "/picture/0\\..\\x",
     "/masks/a.png", "/review.json", "/api/items/../../x", "http://127.0.0.1:8765/api/session",
     "/picture/0/image%00.png", "/picture/4/image", "/picture/999999999/image", "/api/facts/4",
     "/picture/٣/image", ""],
)  # fmt: skip
def test_no_path_leads_to_a_file(app, path):
    response = get(app, path)
    assert response.status == 404
    assert len(response.body) < 100


def test_the_session_says_what_there_is(made):
    app, masks = made
    assert told(app, "/api/session") == {
        "folder": str(masks),
        "file": str(masks / "review.json"),
        "classes": ["cup", "plate"],
        "colours": [[128, 0, 0], [0, 128, 0]],
        "confidence": True,
        "counts": {"all": 4, "open": 4, "accepted": 0, "rejected": 0, "edited": 0},
    }


def test_masks_are_listed_least_sure_first_and_described_by_id(app):
    ids = told(app, "/api/order")["ids"]
    assert ids == [1, 2, 0, 3]
    items = told(app, f"/api/items?ids={ids[0]},{ids[3]},77")["items"]
    assert [(item["id"], item["name"], item["confidence"]) for item in items] == [
        (1, "b", 0.3), (3, "d", None),
    ]  # fmt: skip
    assert items[0]["tags"] == ["cup", "plate"]
    assert items[1]["tags"] == []
    assert told(app, "/api/order?tag=plate&order=name")["ids"] == [1, 2]
    assert told(app, "/api/order?tag=-")["ids"] == [3]
    assert told(app, "/api/find?text=C")["id"] == 2
    assert told(app, "/api/find?text=C&tag=cup")["id"] is None


@pytest.mark.parametrize(
    "target",
    ["/api/order?status=new", "/api/order?order=size", "/api/items", "/api/items?ids=1,x",
     "/api/items?ids=-1", "/api/items?ids=" + ",".join(["1"] * 201)],
)  # fmt: skip
def test_malformed_questions_are_answered_in_one_line(app, target):
    response = get(app, target)
    assert response.status == 400
    assert "must be" in json.loads(response.body)["error"]


def test_every_action_is_on_disk_before_it_is_answered(made):
    app, masks = made
    steps = [
        ({"verdict": "rejected"}, {"a": "rejected"}, {}),
        ({"tag": "plate", "present": True}, {"a": "rejected"}, {"a": ("cup", "plate")}),
        ({"verdict": "accepted"}, {"a": "accepted"}, {"a": ("cup", "plate")}),
        ({"tags": None}, {"a": "accepted"}, {}),
        ({"verdict": None}, {}, {}),
    ]
    for action, verdicts, tags in steps:
        response = post(app, "/api/act/0", action)
        assert response.status == 200
        review = read_review(masks / "review.json")
        assert (review.verdicts, review.tags) == (verdicts, tags)
        item = json.loads(response.body)["item"]
        assert item["verdict"] == verdicts.get("a")
        assert item["edited"] == bool(tags)
        assert item == told(app, "/api/items?ids=0")["items"][0]
        assert json.loads(response.body)["counts"]["open"] == 4 - len(verdicts)


def test_filters_follow_the_review(app):
    post(app, "/api/act/1", {"verdict": "accepted"})
    post(app, "/api/act/3", {"tag": "cup", "present": True})
    assert told(app, "/api/order?status=open&order=name")["ids"] == [0, 2, 3]
    assert told(app, "/api/order?status=edited")["ids"] == [3]
    assert told(app, "/api/order?tag=cup&order=name")["ids"] == [0, 1, 3]


@pytest.mark.parametrize(
    ("target", "content", "status"),
    [
        ("/api/act/0", {"verdict": "good"}, 400),
        ("/api/act/0", {"tag": "bowl", "present": True}, 400),
        ("/api/act/0", b"{", 400),
        ("/api/act/0", b"\xff", 400),
        ("/api/act/0", b"[" * 60000, 400),
        ("/api/act/0", b" " * 70000, 413),
        ("/api/act/4", {"verdict": "accepted"}, 404),
        ("/api/act/a", {"verdict": "accepted"}, 404),
        ("/api/act/../act/0", {"verdict": "accepted"}, 404),
        ("/", {"verdict": "accepted"}, 404),
    ],
)
def test_what_is_no_action_changes_nothing(made, target, content, status):
    app, masks = made
    response = post(app, target, content)
    assert response.status == status
    assert json.loads(response.body)["error"]
    assert not (masks / "review.json").exists()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": ["http://evil.example"]}, 403),
        ({"origin": []}, 403),
        ({"host": ["evil.example:8765"], "origin": ["http://evil.example:8765"]}, 403),
        ({"sec-fetch-site": ["cross-site"]}, 403),
        ({"cookie": []}, 403),
        ({"content-type": ["text/plain"]}, 415),
        ({"content-type": ["application/x-www-form-urlencoded"]}, 415),
        ({"content-type": []}, 415),
    ],
)
def test_changes_that_another_page_could_send_are_refused(made, headers, status):
    app, masks = made
    assert post(app, "/api/act/0", {"verdict": "accepted"}, **headers).status == status
    assert not (masks / "review.json").exists()


def test_no_address_but_the_page_s_own_takes_the_token(app):
    assert get(app, "/api/session?token=secret", cookie=[]).status == 403
    assert get(app, "/picture/0/image?token=secret", cookie=[]).status == 403
    assert get(app, "/static/review.js", cookie=[]).status == 403


def test_pictures_are_those_of_the_image_and_its_mask(tmp_path, app):
    dataset = open_dataset(tmp_path / "data")
    mask = scene(0, value=1)[2]
    assert (pixels(get(app, "/picture/0/filled").body) == drawing.filled(mask)).all()
    assert (pixels(get(app, "/picture/0/outlined").body) == drawing.outlined(mask)).all()
    image = dataset.image(1).permute(1, 2, 0).contiguous().numpy()
    shown = pixels(get(app, "/picture/1/image").body)
    assert (shown == pixels(drawing.jpeg(image))).all()
    depth, valid = dataset.depth(1)
    expected = drawing.coloured_depth(depth[0].numpy(), valid[0].numpy())
    assert (pixels(get(app, "/picture/1/depth").body) == expected).all()


def test_what_is_in_a_mask_is_told_in_shares_of_its_pixels(app):
    facts = told(app, "/api/facts/2")
    assert (facts["height"], facts["width"], facts["depth"]) == (24, 32, True)
    assert facts["shares"] == [[0, pytest.approx(1 - 48 / 768)], [2, pytest.approx(48 / 768)]]


def test_pictures_are_kept_by_the_browser_until_image_or_mask_change(made):
    app, masks = made
    state = told(app, "/api/items?ids=0")["items"][0]["state"]
    for kind in ("image", "filled", "thumbnail"):
        first = get(app, f"/picture/0/{kind}?state={state}")
        assert "immutable" in first.headers["Cache-Control"]
        again = get(app, f"/picture/0/{kind}", **{"if-none-match": [first.headers["ETag"]]})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["Cache-Control"] == "no-cache"
    before = get(app, "/picture/0/thumbnail").body
    save_palette(masks / "masks/a.png", np.full((24, 32), 2, np.uint8))
    assert told(app, "/api/items?ids=0")["items"][0]["state"] != state
    late = get(app, f"/picture/0/thumbnail?state={state}", **{"if-none-match": [f'"{state}"']})
    assert (late.status, late.headers["Cache-Control"]) == (200, "no-cache")
    assert late.body != before


def test_a_thumbnail_is_drawn_once_and_then_read(app, monkeypatch):
    first = get(app, "/picture/1/thumbnail").body
    monkeypatch.setattr(drawing, "thumbnail", None)
    assert get(app, "/picture/1/thumbnail").body == first


def test_an_image_without_depth_says_so(made, tmp_path):
    (tmp_path / "data/depth/a.png").unlink()
    app, _ = make_app(tmp_path / "other")
    (tmp_path / "other/data/depth/a.png").write_bytes(b"no picture")
    assert told(app, "/api/facts/0")["depth"] is False
    data = open_dataset(tmp_path / "data")
    album = Album(open_masks(made[1]), data)
    app._album = album
    assert told(app, "/api/facts/0")["depth"] is False
    assert get(app, "/picture/0/depth").status == 404


@pytest.mark.parametrize("kind", ["image", "filled", "thumbnail"])
def test_a_file_that_cannot_be_shown_is_named_and_the_others_still_are(made, tmp_path, kind):
    app, masks = made
    (masks / "masks/a.png").write_bytes(b"half a picture")
    (tmp_path / "data/images/a.jpg").write_bytes(b"half a picture")
    response = get(app, f"/picture/0/{kind}")
    assert response.status == 409
    assert re.search(r"a\.(png|jpg): ", json.loads(response.body)["error"])
    assert get(app, f"/picture/1/{kind}").status == 200
    assert get(app, "/api/items?ids=0").status == 200
    (masks / "masks/a.png").unlink()
    assert get(app, f"/picture/0/{kind}").status == 409
    assert get(app, "/api/items?ids=0").status == 200


def test_a_mask_of_another_size_than_its_image_is_told(made):
    app, masks = made
    save_palette(masks / "masks/a.png", np.zeros((5, 6), np.uint8))
    response = get(app, "/api/facts/0")
    assert response.status == 409
    assert "the mask is 6x5, the image 32x24" in json.loads(response.body)["error"]


def test_a_link_out_of_the_data_gives_its_pixels_if_it_is_a_picture_and_never_its_bytes(tmp_path):
    app, _ = make_app(tmp_path)
    secret = tmp_path / "secret.txt"
    secret.write_text("the password")
    linked = tmp_path / "data/images/a.jpg"
    elsewhere = linked.rename(tmp_path / "elsewhere.jpg")
    linked.symlink_to(elsewhere)
    assert pixels(get(app, "/picture/0/image").body).shape == (24, 32, 3)
    linked.unlink()
    linked.symlink_to(secret)
    for kind in ("image", "thumbnail"):
        response = get(app, f"/picture/0/{kind}")
        assert response.status == 409
        assert b"password" not in response.body


def test_a_review_damaged_meanwhile_is_told_and_kept(made):
    app, masks = made
    (masks / "review.json").write_text("{")
    for response in (get(app, "/api/session"), post(app, "/api/act/0", {"verdict": "accepted"})):
        assert response.status == 409
        assert "review.json: cannot read" in json.loads(response.body)["error"]
    assert (masks / "review.json").read_text() == "{"


def test_masks_without_image_are_left_out_and_images_without_mask_are_not_reviewed(tmp_path):
    dataset = open_dataset(write_folder(tmp_path / "data"))
    masks = write_masks(tmp_path / "masks", names="bcxyz")
    album = Album(open_masks(masks), dataset)
    assert [entry.name for entry in album.entries] == ["b", "c"]
    assert album.without_image == 3
    assert album.in_mask(1) == ["plate"]


def test_masks_of_other_data_are_refused(tmp_path):
    dataset = open_dataset(write_folder(tmp_path / "data"))
    masks = write_masks(tmp_path / "masks", names="xyz")
    with pytest.raises(DataError, match=r"no mask here has the name of an image of .*such as a;"):
        Album(open_masks(masks), dataset)
