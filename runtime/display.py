"""What a person sees while things start and run: steps with their time, reports, and the way in."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from city.settings import Settings


class Display:
    """Speaks Chinese and English; a spinner on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._done = 0

    @contextmanager
    def step(self, chinese: str, english: str) -> Iterator[None]:
        """Show a step while the block runs, and how long it took."""
        began = time.monotonic()
        self._done += 1
        text = f"[{self._done}/{self._steps}] {chinese} · {english}"
        try:
            if self._console.is_terminal:
                with self._console.status(escape(text)):
                    yield
            else:
                yield
        except BaseException:
            self._console.print(f"[red]✗[/red] {escape(text)}", highlight=False)
            raise
        took = f"[dim]{time.monotonic() - began:.1f} s[/dim]"
        self._console.print(f"[green]✓[/green] {escape(text)} {took}", highlight=False)

    def report(self, text: str) -> None:
        """Something went wrong, or came right again, while running."""
        self._console.print(
            f"[dim]{datetime.now(UTC):%H:%M:%SZ}[/dim] {escape(text)}", highlight=False, soft_wrap=True
        )

    def secret(self, name: str, secret: str) -> None:
        """Show the first account at once: the database has only its digest, and what follows may fail."""
        lines = [
            f"登录 log in as  {name}",
            f"一次性密码 one-time secret  {secret}",
            "只显示这一次，登录后请修改 · shown only once; change it at log-in",
        ]
        title = "第一个账号 · the first account"
        self._console.print(Panel("\n".join(lines), title=title, expand=False), highlight=False)

    def way_in(self, settings: Settings, log_folder: Path, newcomer: str | None) -> None:
        """The addresses and who may log in; ``newcomer``: the account made at this start, else None."""
        base = address(settings)
        lines = [
            f"大屏 wall  {base}/wall",
            f"坐席 desk  {base}/desk",
            f"接口 API   {base}/docs",
            "",
        ]
        if newcomer is not None:
            lines.append(f"登录：{newcomer}，密码见上 · log in as {newcomer} with the secret above")
        else:
            lines.append("登录：使用已有账号 · log in with the account you have")
        lines += ["", f"日志 logs  {escape(str(log_folder))}", "Ctrl-C 停止 · stops everything"]
        self._console.print(
            Panel("\n".join(lines), title="城市运行指挥中心 · city command centre", expand=False)
        )


def address(settings: Settings) -> str:
    """Where a browser on this machine finds the centre."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared, not bound
    return f"http://{everywhere.get(settings.http_host, settings.http_host)}:{settings.http_port}"
