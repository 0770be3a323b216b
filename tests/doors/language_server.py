"""A small editor: it starts a language server, opens a file and asks where a name comes from."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlparse


class LanguageServer:
    """A server on a pipe (Language Server Protocol 3.17). ``settings``: by section, what it is told when it asks for them."""

    def __init__(self, argv: Sequence[str], folder: Path, env: Mapping[str, str], settings: Mapping[str, object]) -> None:
        self._folder = folder
        self._settings = settings
        self._number = 0
        self._process = subprocess.Popen(
            argv, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> Self:
        folders = [{"uri": self._folder.as_uri(), "name": "project"}]
        able = {"workspace": {"configuration": True, "workspaceFolders": True}, "textDocument": {"definition": {}}}
        self.ask("initialize", {"processId": None, "rootUri": self._folder.as_uri(), "workspaceFolders": folders, "capabilities": able})
        self._tell("initialized", {})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def source_of(self, script: Path, name: str) -> Path:
        """The file in which the last occurrence of a name in a script is defined."""
        text = script.read_text()
        before = text[: text.rindex(name)]
        self._tell("textDocument/didOpen", {"textDocument": {"uri": script.as_uri(), "languageId": "python", "version": 1, "text": text}})
        place = {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}
        found = self.ask("textDocument/definition", {"textDocument": {"uri": script.as_uri()}, "position": place})
        assert found, f"{name} is not known"
        first = found[0] if isinstance(found, list) else found
        return Path(unquote(urlparse(first.get("targetUri") or first["uri"]).path))

    def ask(self, method: str, params: object) -> Any:
        """The answer to a request; what the server asks meanwhile is answered."""
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            message = self._receive()
            if "method" in message and "id" in message:
                items = message["params"].get("items", []) if message["method"] == "workspace/configuration" else None
                result = None if items is None else [self._settings.get(item.get("section")) for item in items]
                self._send({"id": message["id"], "result": result})
            elif message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]

    def _tell(self, method: str, params: object) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout
        length = 0
        while line := self._process.stdout.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert length, "the server has ended"
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return message
