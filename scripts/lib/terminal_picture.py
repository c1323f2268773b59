"""Writes the text of a terminal, with its escape sequences, as an SVG picture. rich, which the agent-server brings, draws it."""

import io
import re
import sys

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

WIDTH = 100

console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
console.print(Text.from_ansi(sys.stdin.read().strip()), soft_wrap=True)
# A picture fetches no fonts.
form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace("Fira Code", "monospace")
print(console.export_svg(title="openhands-runner", code_format=form, unique_id="run"))
