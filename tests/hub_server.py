"""A server that speaks the protocol of the Hugging Face Hub, as far as fetching and pushing a model needs it.

Source: huggingface.co/docs/hub/api, and the git-lfs batch API. Repositories live in memory; a push needs the token
``hf_right``. Run as a program it prints its port.
"""

import base64
import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_right"


class Hub(ThreadingHTTPServer):
    """``commits[repository]`` are the commits of main, each its files by name; ``asked`` are all requests so far."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.private: dict[str, bool] = {}
        self.size = 0  # what it says of every file, where that is not the truth

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self, repository, revision):
        """Hash and files of a revision; None where there is none."""
        commits = self.commits.get(repository, [])
        hashes = [sha(repository, number) for number in range(len(commits))]
        if revision == "main" and commits:
            return hashes[-1], commits[-1]
        return (revision, commits[hashes.index(revision)]) if revision in hashes else None


def sha(repository, number):
    return hashlib.sha1(f"{repository}/{number}".encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def missing(self, code):
        self.answer(404, {"error": code}, X_Error_Code=code)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append(f"{self.command} {self.path}")
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            repository, kind, revision = (
                "/".join(parts[2:4]),
                (parts[4:] or ["revision"])[0],
                (parts[5:] or ["main"])[0],
            )
        elif "resolve" in parts:
            repository, kind, revision = "/".join(parts[:2]), "resolve", parts[3]
        else:
            return self.missing("EntryNotFound")
        if repository not in self.server.commits:
            return self.missing("RepoNotFound")
        found = self.server.files(repository, revision)
        if found is None:
            return self.missing("RevisionNotFound")
        commit, files = found
        if kind == "revision":
            siblings = [{"rfilename": name, "size": self.server.size or len(files[name])} for name in files]
            return self.answer(200, {"id": repository, "sha": commit, "siblings": siblings})
        if kind == "tree":
            return self.answer(200, [_entry(name, content) for name, content in files.items()])
        name = "/".join(parts[4:])
        if name not in files:
            return self.missing("EntryNotFound")
        etag = f'"{hashlib.sha1(files[name]).hexdigest()}"'
        return self.answer(200, files[name], ETag=etag, X_Repo_Commit=commit)

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.objects[hashlib.sha256(content).hexdigest()] = content
        self.answer(200)

    def do_POST(self):
        self.server.asked.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and not path.startswith("/lfs"):
            return self.answer(401, {"error": "Invalid username or password."})
        parts = path.strip("/").split("/")
        if path == "/api/validate-yaml":  # of the card's front matter
            front = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            return self.answer(200, {"errors": [] if front["license"] else ["license"], "warnings": []})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.server.address}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        repository = "/".join(parts[2:4])
        if parts[4] == "preupload":
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": modes})
        return self.commit(repository, [json.loads(line) for line in body.splitlines()])

    def create(self, wanted):
        repository = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
        url = {"url": f"{self.server.address}/{repository}", "id": repository}
        if repository in self.server.commits:
            return self.answer(409, url)
        self.server.commits[repository] = [{".gitattributes": b""}]
        self.server.private[repository] = wanted.get("private") or wanted.get("visibility") == "private"
        return self.answer(200, url)

    def commit(self, repository, lines):
        files = dict(self.server.commits[repository][-1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        self.server.commits[repository].append(files)
        commit = sha(repository, len(self.server.commits[repository]) - 1)
        url = f"{self.server.address}/{repository}/commit/{commit}"
        self.answer(200, {"success": True, "commitOid": commit, "commitUrl": url})


def _entry(name, content):
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


if __name__ == "__main__":
    hub = Hub()
    print(hub.server_address[1], flush=True)
    try:
        hub.serve_forever()
    except KeyboardInterrupt:
        sys.exit()
