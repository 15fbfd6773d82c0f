from __future__ import annotations

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP

from boards import BoardInMemory, plain_jpeg
from site_client import SiteClient


def test_both_pictures_in_one_answer(client: SiteClient, board: BoardInMemory):
    id = board.add("a.mp4")
    before, after = plain_jpeg(8, 6, "red"), plain_jpeg(32, 24, "blue")
    board.show(id, 1.25, before, after)
    answer = client.get(f"/api/jobs/{id}/preview")
    assert answer.status_code == 200
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + answer.content)
    parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
    assert parts["time"].get_content() == "1.25"
    assert parts["before"].get_content_type() == "image/jpeg"
    assert answer.content.count(before) == answer.content.count(after) == 1


def test_the_same_frame_is_not_sent_twice(client: SiteClient, board: BoardInMemory):
    id = board.add("a.mp4")
    assert client.get(f"/api/jobs/{id}/preview").status_code == 204
    board.show(id, 0.1 + 0.2, b"before", b"after")
    path = f"/api/jobs/{id}/preview?since={0.1 + 0.2}"
    assert client.get(path).status_code == 204
    board.show(id, 0.4, b"before", b"after")
    assert client.get(path).status_code == 200
