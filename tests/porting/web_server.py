"""An HTTP server on 127.0.0.1 that can break off, forget, change its mind or play the hub."""

import dataclasses
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclasses.dataclass
class Page:
    """A file, and how it is (mis)served; list entries are used up one per request."""

    content: bytes
    tagged: bool = True  # with an ETag, so that a download may resume
    content_type: str = "application/octet-stream"
    breaks: list[int] = dataclasses.field(default_factory=list)  # hang up after so many bytes
    statuses: list[int] = dataclasses.field(default_factory=list)  # answer with these first
    headers: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def etag(self):
        return f'"{hashlib.sha256(self.content).hexdigest()}"'


class Server(ThreadingHTTPServer):
    """`pages` by path; `log` of (method, path, Range header, bytes sent)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.log = {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()

    def add_repository(self, name, files, *, revision="main"):
        """Serves `files` as a repository of the Hugging Face hub, with one commit."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        info = {"id": name, "sha": commit, "siblings": [{"rfilename": file} for file in files]}
        tree = [
            {"type": "file", "path": file, "size": len(content), "oid": f"{i:040}"}
            for i, (file, content) in enumerate(files.items())
        ]

        def answer(value):
            return Page(json.dumps(value).encode(), content_type="application/json")

        self.pages[f"/api/models/{name}/revision/{revision}"] = answer(info)
        self.pages[f"/api/models/{name}/tree/{commit}"] = answer(tree)
        for file, content in files.items():
            self.pages[f"/{name}/resolve/{commit}/{file}"] = Page(
                content, headers={"X-Repo-Commit": commit}
            )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        path, asked = self.path.split("?")[0], self.headers.get("Range")
        page = self.server.pages.get(path)
        status = 404 if page is None else page.statuses.pop(0) if page.statuses else 200
        sent = 0
        if status != 200:
            self.send_response(status)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            sent = self.send_page(page, asked, body=body)
        self.server.log.append((self.command, path, asked, sent))

    def send_page(self, page, asked, *, body):
        content, status = page.content, 200
        same = self.headers.get("If-Range") in (None, page.etag if page.tagged else "")
        if asked and same:
            begin = int(asked.removeprefix("bytes=").split("-")[0])
            status, content = 206, content[begin:]
        self.send_response(status)
        if status == 206:
            total = len(page.content)
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        if page.tagged:
            self.send_header("ETag", page.etag)
        for name, value in {"Content-Type": page.content_type, **page.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not body:
            return 0
        if page.breaks:
            content = content[: page.breaks.pop(0)]
            self.close_connection = True
        self.wfile.write(content)
        return len(content)

    def log_message(self, *args):
        pass
