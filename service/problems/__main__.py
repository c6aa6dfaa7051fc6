"""``python -m arqway.service.problems``: print docs/problems.md."""

import sys

from arqway.service.problems.pages import markdown

sys.stdout.write(markdown())
