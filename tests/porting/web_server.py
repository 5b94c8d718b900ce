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

    def add_repository(self, name, files, *, revision="main", commit=None):
        """Serves `files` as a repository of the Hugging Face hub, with one commit."""
        commit = commit or hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
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
        path = self.path.split("?")[0]
        page = self.server.pages.get(path)
        status = 404 if page is None else page.statuses.pop(0) if page.statuses else 200
        content, headers = b"", {"X-Error-Code": "RepoNotFound"}
        asked = self.headers.get("Range")
        if status == 200:
            status, content, headers = self.choose(page, asked)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            content = b""
        elif page is not None and page.breaks:
            content = content[: page.breaks.pop(0)]
            self.close_connection = True
        # Before the last byte goes out: the client may look at the log as soon as it has it.
        self.server.log.append((self.command, path, asked, len(content)))
        self.wfile.write(content)

    def choose(self, page, asked):
        """Status, content and headers for a page: a part of it if the client holds the rest."""
        headers = {"Content-Type": page.content_type, **page.headers}
        if page.tagged:
            headers["ETag"] = page.etag
        if not asked or self.headers.get("If-Range") not in (None, headers.get("ETag")):
            return 200, page.content, headers
        begin, total = int(asked.removeprefix("bytes=").split("-")[0]), len(page.content)
        headers["Content-Range"] = f"bytes {begin}-{total - 1}/{total}"
        return 206, page.content[begin:], headers

    def log_message(self, *args):
        pass
