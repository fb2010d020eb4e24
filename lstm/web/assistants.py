"""What a language-model assistant may ask of the page, by the Model Context Protocol: what programs may.

It comes through the door, and keeps no session: each call is one request with one answer.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple

import gradio as gr
from gradio.utils import get_function_description
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from starlette.requests import Request
from starlette.types import ASGIApp

from lstm.config import Refused
from lstm.web import api, guard
from lstm.web.frames import encode
from lstm.web.guests import Endpoint, address
from lstm.web.library import Library

ABOUT = "A small language model, {name}, that writes on from a text. It takes no instructions and knows no facts."
KINDS = {str: "string", int: "integer", float: "number"}


class _Tool(NamedTuple):
    function: Callable
    checks: dict[str, guard.Check]
    endpoint: Endpoint

    def described(self) -> Tool:
        """The tool as an assistant reads of it: what it does, and each parameter's type, meaning and default."""
        about, meanings, _ = get_function_description(self.function)
        kinds = inspect.signature(self.function).parameters
        fields = {
            name: {"type": KINDS[kinds[name].annotation], "description": meanings[name], "default": default}
            for name, default in self.endpoint.parameters.items()
        }
        schema = {"type": "object", "properties": fields, "additionalProperties": False}
        hints = ToolAnnotations(read_only_hint=True, open_world_hint=False)
        return Tool(name=self.endpoint.name, description=about.strip(), input_schema=schema, annotations=hints)


@asynccontextmanager
async def answering(library: Library, endpoints: list[Endpoint]) -> AsyncIterator[ASGIApp]:
    """The application that answers assistants, while it is open. Its requests bring the door's guests with them."""
    named = {endpoint.name: endpoint for endpoint in endpoints}
    tools = {
        function.__name__: _Tool(function, checks, named[function.__name__])
        for function, checks in api.functions(library)
    }
    reading = asyncio.Lock()  # a reader takes one text at a time, and others of the page want their threads

    async def tell(_: ServerRequestContext, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[tool.described() for tool in tools.values()])

    async def call(context: ServerRequestContext, asked: CallToolRequestParams) -> CallToolResult:
        try:
            if asked.name not in tools:
                raise Refused(f"There is no tool {asked.name[:64]!r}: choose one of {', '.join(tools)}.")
            return await _answer(tools[asked.name], asked.arguments or {}, context.request, reading)
        except Refused as refusal:
            sentence = str(refusal)
        except gr.Error as refusal:
            sentence = refusal.message
        return CallToolResult(content=[TextContent(text=sentence)], is_error=True)

    server = Server("jungle-lstm", instructions=ABOUT.format(name=library.first), on_list_tools=tell, on_call_tool=call)
    manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
    async with manager.run():
        yield manager.handle_request


async def _answer(tool: _Tool, asked: dict, request: Request, reading: asyncio.Lock) -> CallToolResult:
    """A tool's answer to whoever asks, counted among what his address has open. Raises Refused and gr.Error."""
    values, guests = tool.endpoint.values(asked), request.state.guests
    guard.check(tool.checks, values)
    call = guests.ask(address(request.client.host if request.client else ""), tool.endpoint, "")
    try:
        if tool.endpoint.streams:
            call.heard.set()  # whoever asks waits for the answer: the door ends the work when he hangs up
            request.state.call = call
            text = ""
            async with aclosing(tool.function(*values, request)) as growing:
                async for answer in growing:
                    text = answer
            return CallToolResult(content=[TextContent(text=text)])
        async with reading:
            told = await tool.function(*values)
        return CallToolResult(content=[TextContent(text=encode(told))], structured_content=told)
    finally:
        guests.close(call)
