"""A small Hub on loopback: what huggingface_hub asks of the real one to publish a folder and fetch it by revision."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "hf_of_the_tests"
LARGE = (".onnx", ".safetensors", ".model", ".png", ".woff2")  # what the Hub stores apart


@dataclass
class Repository:
    """Its commits in order, each a hash and the files by path, and what it was made with."""

    made_with: dict
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """A commit by its hash, the last one for main."""
        if revision == "main":
            return self.commits[-1] if self.commits else ("0" * 40, {})
        return next((commit for commit in self.commits if commit[0] == revision), None)


@contextmanager
def served(routes: list[Route]) -> Iterator[str]:
    """The address on loopback where these routes answer while the context lasts."""
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive(), "the server did not come up"
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


class Hub:
    """Repositories by kind and name, e.g. ("model", "me/tiny")."""

    def __init__(self):
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.stored: dict[str, bytes] = {}
        api, name = "/api/{kind:str}s/{owner}/{name}", "/{owner}/{name}"
        self.url = ""  # while it is served
        self.routes = [
            Route("/api/repos/create", self._create, methods=["POST"]),
            Route("/api/validate-yaml", lambda _: JSONResponse({}), methods=["POST"]),
            Route(api + "/preupload/{revision}", self._preupload, methods=["POST"]),
            Route(api + "/commit/{revision}", self._commit, methods=["POST"]),
            Route(api + "/revision/{revision}", self._info),
            Route(api + "/tree/{revision}", self._tree),
            Route(api, self._info),
            Route("/spaces" + name + ".git/info/lfs/objects/batch", self._batch, methods=["POST"]),
            Route(name + ".git/info/lfs/objects/batch", self._batch, methods=["POST"]),
            Route("/stored/{oid}", self._store, methods=["PUT"]),
            Route(name + "/resolve/{revision}/{path:path}", self._resolve),
        ]

    async def _create(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"error": "Invalid username or password."}, 401)
        wanted = await request.json()
        name = f"{wanted['organization']}/{wanted['name']}"
        url = self._address(wanted["type"], name)
        if (wanted["type"], name) in self.repositories:
            return JSONResponse({"error": "You already created this repo", "url": url}, 409)
        self.repositories[wanted["type"], name] = Repository(wanted)
        return JSONResponse({"url": url})

    async def _preupload(self, request: Request) -> Response:
        files = (await request.json())["files"]
        told = [{"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False} for f in files]
        return JSONResponse({"files": told})

    async def _batch(self, request: Request) -> Response:
        objects = (await request.json())["objects"]
        for each in objects:
            each["actions"] = {"upload": {"href": f"{self.url}/stored/{each['oid']}"}}
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def _store(self, request: Request) -> Response:
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != request.path_params["oid"]:
            return Response(status_code=400)
        self.stored[request.path_params["oid"]] = content
        return Response()

    async def _commit(self, request: Request) -> Response:
        repository = self._find(request)
        files = dict(repository.at("main")[1])
        for line in (await request.body()).splitlines():
            step = json.loads(line)
            path = step["value"].get("path")
            if step["key"] == "file":
                files[path] = base64.b64decode(step["value"]["content"])
            elif step["key"] == "lfsFile":
                files[path] = self.stored[step["value"]["oid"]]
            elif step["key"] == "deletedFile":
                del files[path]
        oid = hashlib.sha1(repr((len(repository.commits), sorted(files))).encode()).hexdigest()
        repository.commits.append((oid, files))
        kind, name = request.path_params["kind"], "{owner}/{name}".format(**request.path_params)
        return JSONResponse({"commitUrl": f"{self._address(kind, name)}/commit/{oid}", "commitOid": oid})

    def _address(self, kind: str, name: str) -> str:
        return f"{self.url}/{'spaces/' if kind == 'space' else ''}{name}"

    def _find(self, request: Request) -> Repository | None:
        place = request.path_params
        return self.repositories.get((place.get("kind", "model"), f"{place['owner']}/{place['name']}"))

    def _at(self, request: Request) -> tuple[str, dict[str, bytes]] | Response:
        repository = self._find(request)
        if repository is None:
            return JSONResponse({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        found = repository.at(request.path_params.get("revision", "main"))
        return found or JSONResponse({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})

    async def _info(self, request: Request) -> Response:
        if isinstance(found := self._at(request), Response):
            return found
        name = "{owner}/{name}".format(**request.path_params)
        return JSONResponse({"id": name, "sha": found[0], "siblings": [{"rfilename": path} for path in found[1]]})

    async def _tree(self, request: Request) -> Response:
        if isinstance(found := self._at(request), Response):
            return found
        return JSONResponse([
            {"type": "file", "path": path, "size": len(content), "oid": _etag(content)}
            for path, content in found[1].items()
        ])  # fmt: skip

    async def _resolve(self, request: Request) -> Response:
        if isinstance(found := self._at(request), Response):
            return found
        content = found[1][request.path_params["path"]]
        return Response(content, headers={"ETag": f'"{_etag(content)}"', "X-Repo-Commit": found[0]})


def _mode(path: str) -> str:
    return "lfs" if path.endswith(LARGE) else "regular"


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
